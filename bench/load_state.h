/* The load's memory, shared by the files load*.c and nobody else. */
#ifndef RILL_BENCH_LOAD_STATE_H
#define RILL_BENCH_LOAD_STATE_H

#include <event2/event.h>
#include <uthash.h>

#include "bench/load.h"
#include "bench/mobile_money.h"
#include "channel/channel.h"
#include "ledger/client.h"
#include "wire/link.h"

#define NO_FLIGHT UINT32_MAX

/* A payment, from its making until both sides have seen its end. */
enum flight_state {
    FLIGHT_FREE,
    FLIGHT_PAY,    /* waits to be signed by the payer */
    FLIGHT_SENT,   /* signed; the receipt has not come */
    FLIGHT_UNLOCK, /* the payer has the receipt of a locked one: its unlock waits to be signed */
    FLIGHT_CANCEL, /* the hub failed the lock: its cancel waits to be signed */
    FLIGHT_OVER    /* the payer has nothing left to do */
};

struct flight {
    uint8_t state; /* enum flight_state */
    bool locked;
    bool received; /* the payee has the money */
    bool failed;   /* the money is, or will be, back with the payer */
    uint32_t payer, payee;
    uint32_t next_waiting, next_reveal, next_of_condition; /* lists, by index */
    uint64_t started_us;                                   /* open loop: when it was meant to start */
    uint64_t lock_id;                                      /* the payer's */
    struct amount amount, fee;
    struct payment_id id, payee_id;
    struct hash condition;
    uint8_t secret[32];
};

/* A list of flights, first in, first out. */
struct flight_list {
    uint32_t first, last;
    uint32_t count;
};

enum player_stage { PLAYER_WAITS, PLAYER_CONNECTING, PLAYER_SHOWN, PLAYER_ONLINE };

struct player {
    struct load *load;
    const struct load_player *who;
    struct address address;
    struct link *link;
    struct channel *channel;
    uint8_t stage; /* enum player_stage */
    bool touched, ack_due;
    uint32_t under_way; /* payments without receipt */
    uint32_t turn;      /* MARKET: who is paid next */
    struct flight_list waiting, reveals;
    uint64_t deposit, paid, fees, received;
    struct player *next_touched;
    UT_hash_handle hh; /* by the channel's id */
};

/* PEOPLE: one payment of the day. */
struct errand {
    uint32_t payer, payee;
    uint64_t amount;
};

struct load {
    struct load_settings settings;
    struct load_share *share;
    struct event_base *base;
    struct ledger *ledger;
    struct event *turn, *poll, *arrival;
    struct domain domain;
    struct ledger_head head;
    struct terms terms;
    const struct asset_terms *asset; /* of `terms` */

    struct player *players, *by_channel, *touched;
    uint32_t next_to_connect, connecting, online, funded;

    struct load_plan plan;
    uint32_t round;
    bool drawing; /* new payments are made */
    bool failed, leaving;
    struct mobile_money_random random;
    struct errand *errands;
    size_t errand_count, errand_next;
    uint64_t round_started;   /* payments made in this round */
    uint64_t next_arrival_us; /* open loop */
    uint32_t next_payer;

    struct flight *flights;
    uint32_t flight_count, flight_capacity, first_free, open_flights, under_way;
    uint32_t *by_condition; /* heads of lists */
    uint32_t condition_mask;
    uint8_t secret_prefix[24];
    uint64_t secret_counter;

    struct decoder *decoder;
    struct buffer body;
    struct pending_lock *pending; /* room for one per operation */
    struct revealed *revealed;    /* room for a message's */
};

/* ---- load.c ---- */

/* The first reason is kept; nothing more is done after it. */
void load_fail(struct load *load, const char *format, ...) PRINTF_LIKE(2, 3);
/* A client's turn is over once the loop has worked off what came in: then it signs and answers once for all of it. */
void load_touch(struct player *player);
void load_player_online(struct player *player);
struct channel_view load_view(const struct load *load);

/* ---- load_player.c ---- */

void player_connect(struct player *player);
/* Signs what waits, acknowledges, reveals. */
void player_turn(struct player *player);

/* ---- load_flights.c ---- */

void flights_init(struct load *load);
/* Makes a payment; the payee makes up its secret, the payer learns the hash, and it waits for the payer's turn. */
void flight_start(struct player *payer, uint32_t payee, uint64_t amount, bool locked, uint64_t started_us);
struct flight *flight_by_id(struct load *load, const struct payment_id *id, const struct player *payer);
struct flight *flight_by_condition(struct load *load, const struct hash *condition,
                                   const struct player *payee);
void flight_append(struct load *load, struct flight_list *list, struct flight *flight, bool reveal);
struct flight *flight_take(struct load *load, struct flight_list *list, bool reveal);
/* The payer has the receipt: the payment is made. */
void flight_receipted(struct load *load, struct flight *flight);
/* It failed: the payer keeps its money. */
void flight_failed(struct load *load, struct flight *flight, uint64_t code);
/* Frees it if neither side has anything left to do. */
void flight_end(struct load *load, struct flight *flight);

/* ---- load_plan.c ---- */

/* Takes the round's plan and makes the first payments. */
void plan_begin(struct load *load);
/* The payer has one less under way: makes the next payments, if it is time. */
void plan_next(struct player *payer);
void plan_arrival(struct load *load);

#endif
