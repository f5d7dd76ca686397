/* A world for the pure engine: one hub on a memory journal, clients that run the real channel machine, a
 * ledger that is a handful of events, and everything that the engine lets out, checked against what is
 * durable. */
#ifndef RILL_TESTS_HUB_ENGINE_WORLD_H
#define RILL_TESTS_HUB_ENGINE_WORLD_H

#include "hub/engine.h"
#include "store/memory_journal.h"

#define WORLD_CLIENTS_MAX 4
#define WORLD_INBOX_MAX   256
#define WORLD_BOOK_MAX    128
#define WORLD_CALLS_MAX   64
#define WORLD_TOWER       77 /* the seed of the tower's key */

struct world_client {
    struct secret_key key;
    struct address address;
    struct channel *channel;
    uint64_t peer;                        /* 0: offline */
    struct buffer inbox[WORLD_INBOX_MAX]; /* frames that came, oldest first */
    size_t inbox_count;
    /* what the client made of them: the first WORLD_BOOK_MAX of each kind */
    struct payment_id revealed[WORLD_BOOK_MAX], failed[WORLD_BOOK_MAX];
    struct witness witness[WORLD_BOOK_MAX];
    uint64_t fail_code[WORLD_BOOK_MAX], refund_code[WORLD_BOOK_MAX];
    struct payment_id refunded[WORLD_BOOK_MAX], received[WORLD_BOOK_MAX];
    struct operation received_operation[WORLD_BOOK_MAX];
    size_t revealed_count, failed_count, refunded_count, received_count;
    uint64_t error_code;
    size_t errors, disconnects, settled_count, funded_count, channel_count, proposals;
    uint8_t settled_outcome;
    struct settlement proposal;
    bool refuse_settlement;
    bool mute;            /* takes updates, but does not acknowledge them */
    bool mute_settlement; /* takes proposals, but does not answer until world_sign */
};

struct world_appointment {
    size_t tower; /* index: its key is WORLD_TOWER plus this */
    struct hash channel, digest;
    uint64_t nonce;
    bool has_choice;
};

struct world_call {
    enum engine_call call;
    uint64_t reference;
    struct buffer data;
};

struct world {
    struct secret_key hub_key;
    struct address hub;
    struct domain domain;
    struct engine *engine;
    struct journal *journal;
    struct decoder *decoder, *bodies;
    struct world_client clients[WORLD_CLIENTS_MAX];
    uint64_t now, block, batches, next_peer, registered_time;
    struct hash registered_condition;
    struct buffer waiting; /* frames whose sequence is not durable yet: sequence, peer, length, bytes */
    size_t finds;          /* single looks into the archive */
    struct buffer call;    /* the last transaction asked for */
    size_t calls;
    enum engine_call last_call;
    struct world_call log[WORLD_CALLS_MAX]; /* all of them */
    struct world_appointment appointments[64];
    size_t appointment_count;
    void (*change)(struct engine_settings *settings); /* before each start; NULL: nothing */
};

void world_open(struct world *world);
void world_open_with(struct world *world, void (*change)(struct engine_settings *settings));
void world_close(struct world *world);
/* Everything durable, delivered and answered, until nothing moves any more. */
void world_settle_down(struct world *world);
/* The hub's process dies with everything that is not durable, and starts again from the journal. Links are
 * gone. */
void world_crash(struct world *world);
/* How many messages of a type wait for this client now. */
size_t world_waiting(const struct world *world, unsigned client, enum message_type type);
/* Signs the newest proposal; what was signed already is sent again. */
void world_sign(struct world *world, unsigned client);
/* Answers the newest proposal with ERROR 60. */
void world_refuse(struct world *world, unsigned client);
/* The tower's receipt for an appointment. */
void world_receipt(struct world *world, const struct world_appointment *appointment);
/* A channel of the client, deposited and funded by the hub. */
void world_fund(struct world *world, unsigned client, uint64_t deposit, uint64_t by_hub);
/* The events of another one of its, in the next block. */
void world_open_another(struct world *world, unsigned client, uint64_t salt, uint64_t deposit,
                        uint64_t by_hub);
void world_fund_another(struct world *world, unsigned client, uint64_t salt, uint64_t deposit,
                        uint64_t by_hub);
void world_connect(struct world *world, unsigned client);
void world_disconnect(struct world *world, unsigned client);
void world_head(struct world *world, uint64_t seconds);
/* The client's operations as one signed update to the hub. */
void world_send(struct world *world, unsigned client, const struct operation *operations, size_t count);
void world_pay(struct world *world, unsigned from, unsigned to, uint64_t amount, uint8_t id, bool locked);
void world_reveal(struct world *world, unsigned client, uint8_t id, const struct payment_id *payment);
void world_message(struct world *world, unsigned client, const struct message *message);
struct witness world_secret(uint8_t id);
struct payment_id world_id(uint8_t id);
struct secret_key world_key(uint8_t seed);
struct channel_view world_view(const struct world *world);

#endif
