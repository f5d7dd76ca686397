/* The demo: real processes on loopback, forty wallets and four merchants in this one, a shop behind rill-merchantd, a market
 * day, a cheat, an audit.
 *
 * demo_main.c holds the story, act after act; each act is a function here that returns false after demo_fail has noted
 * why. Only the first reason is kept.
 */
#ifndef RILL_BENCH_DEMO_H
#define RILL_BENCH_DEMO_H

#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>

#include "bench/mobile_money.h"
#include "bench/spawn.h"
#include "crypto/key.h"
#include "ledger/client.h"
#include "rill.h"

#define DEMO_WALLETS 40
#define DEMO_DEPOSITORS                                                                                      \
    28 /* of the wallets: their channels begin with their own money; the others' with the hub's */
#define DEMO_MERCHANTS   5
#define DEMO_CLIENTS     (DEMO_WALLETS + DEMO_MERCHANTS)
#define DEMO_SHOP        DEMO_WALLETS /* the merchant whose wallet rill-merchantd holds */
#define DEMO_SYMBOL      "SHIL"
#define DEMO_DECIMALS    6
#define DEMO_COIN        1000000u  /* units */
#define DEMO_SUPPLY      10000000u /* coins */
#define DEMO_BASE_FEE    1u
#define DEMO_FEE_PPM     1000u
#define DEMO_DIRECT_MAX  (4 * DEMO_COIN) /* payments from here up are locked */
#define DEMO_LOCK_MIN    DEMO_COIN
#define DEMO_CHALLENGE_S 8
#define DEMO_PATH        1024
#define DEMO_KEY_MAX     128
#define DEMO_HOME        "ada" /* the home of a customer's wallet, made for whoever stays after the day */

enum payment_state { PAYMENT_PLANNED, PAYMENT_SENT, PAYMENT_PAID, PAYMENT_FAILED };

/* What the demo itself knows of a payment: the books that the audit holds against the wallets, the hub, the ledger. */
struct demo_payment {
    size_t payer, payee;
    uint64_t amount, fee;
    enum payment_state state;
    enum rill_mode mode;
    bool locked, received, may_fail;
    int code;          /* FAILED: why */
    unsigned attempts; /* tries that failed with the payee offline are repeated */
    uint8_t secret_hash[32];
    char *invoice; /* NULL: made when it is sent */
};

struct demo;

struct demo_client {
    struct demo *demo;
    size_t index;
    char name[32];
    struct secret_key key;
    struct address address;
    struct rill_wallet *wallet; /* NULL: switched off, or the shop's */
    bool merchant, deposits;
    bool ready, funded, asked, withdrawing;
    uint64_t deposit_units;                   /* own money to begin with */
    uint64_t room_units;                      /* the hub's money to begin with */
    uint64_t paid, fees, received, withdrawn; /* units, by the demo's own books */
    size_t *queue;                            /* payments, by index, one after another */
    size_t queue_length, queue_next, queue_capacity;
    bool paying, retrying; /* retrying: soon again, from the tick */
    uint32_t troubles;
};

/* What the ledger said, event by event. */
struct demo_events {
    uint64_t batches, returns, funds, skipped, paid_out, hub_funded, hub_returned, opened, challenged;
    bool close_started, cheat_challenged, fraud, finished;
    uint64_t close_deadline; /* of challenges, block time */
    uint64_t penalty, bounty, to_client, to_hub, held;
    struct address challenger;
    struct hash watched; /* the cheat's channel */
};

/* The main shop's server, and what its API has told. */
struct demo_shop {
    struct child child;
    uint16_t port;
    char key[DEMO_KEY_MAX];
    struct evhttp_connection *stream; /* of events; NULL: closed by us */
    struct evbuffer *unread;          /* what came and is no whole line yet */
    bool streaming;
    uint64_t asked_tick;                  /* of its balance */
    uint64_t invoices, payments, payouts; /* made; told by the stream; asked for */
    uint64_t balance_units;               /* as the audit saw it */
};

struct demo_flags {
    uint64_t seed;
    const char *folder, *ledger, *anvil;
    bool json, stay;
};

struct demo {
    struct demo_flags flags;
    FILE *story;
    uint64_t started_us;
    char why[1024];
    char folder[DEMO_PATH], bin[DEMO_PATH];
    int lock; /* of the folder; -1: not ours */
    struct event_base *base;
    struct event *tick, *interrupts[2];
    uint64_t ticks;

    struct child ledgerd, towerd, hubd; /* ledgerd: rill-ledgerd, or anvil */
    char ledger_url[64];
    uint16_t hub_port, hub_http_port, tower_port, tower_http_port;
    bool hub_is_down;      /* on purpose */
    bool offline_expected; /* until all are back */
    bool staying;          /* after the day: hub and shop are set for whoever tries them */
    bool market_is_open;   /* and where they are has been told; a signal ends it */
    bool leave;            /* it has come */
    struct secret_key hub_key, tower_key;
    struct address hub, tower, contract, factory, asset;

    struct demo_shop shop;

    struct ledger *ledger;        /* the demo's own view */
    struct rill_ledger *followed; /* the wallets' */
    struct demo_events events;
    FILE *wallet_log;

    struct mobile_money_random random;
    struct demo_client clients[DEMO_CLIENTS];
    struct demo_payment *payments;
    size_t payment_count, payment_capacity;
    size_t round_first, done;      /* the round: its first payment, and how many are final */
    uint64_t pool_units;           /* deposited by the operator */
    size_t cheater;                /* SIZE_MAX: nobody yet */
    uint64_t cheater_units_before; /* the cheat's balance in its channel */
};

/* ---- demo_story.c ---- */

/* A line of the story, with the time since the start. */
void demo_say(const struct demo *demo, const char *format, ...) PRINTF_LIKE(2, 3);
/* Notes why the demo fails. Returns false. */
bool demo_fail(struct demo *demo, const char *format, ...) PRINTF_LIKE(2, 3);
/* Units as coins, "12.5"; one of a few buffers that are used in turn. */
const char *demo_coins(uint64_t units);
double demo_seconds(const struct demo *demo);
/* Runs the loop until done() is true; done writes where it stands (shown when it takes over two seconds). False: the time
 * is up, a process has died, or somebody has failed meanwhile. */
typedef bool demo_done(struct demo *demo, char *progress, size_t size);
bool demo_wait(struct demo *demo, demo_done *done, uint32_t timeout_ms, const char *what);
const char *demo_path(const struct demo *demo, const char *name, char out[DEMO_PATH]);
/* False after demo_fail: a process that should run has ended. */
bool demo_processes_live(struct demo *demo);

/* ---- demo_processes.c ---- */

/* Makes the operator's keys, and starts rill-ledgerd. */
bool demo_make_keys(struct demo *demo);
bool demo_start_ledger(struct demo *demo);
bool demo_start_tower(struct demo *demo);
/* The second time on the same journal and ports. */
bool demo_start_hub(struct demo *demo);
/* SIGTERM to one, or to all that runs; each must end by itself with 0. */
bool demo_stop(struct demo *demo, struct child *child);
bool demo_stop_processes(struct demo *demo);
/* Runs `rill` with these words and --json, and the hub's key or that of another keystore of the folder. Returns its answer,
 * to be decref'd; NULL after demo_fail. */
json_t *demo_command(struct demo *demo, const char *const *words);
json_t *demo_command_as(struct demo *demo, const char *keystore, const char *const *words);
/* The same for a program that finds the rest in the config of its home, a folder of the demo's. */
json_t *demo_command_at(struct demo *demo, const char *name, const char *home, const char *const *words);
/* rill-merchantd on the main shop's home. */
bool demo_start_shop(struct demo *demo);
bool demo_write_keystore(struct demo *demo, const char *name, const struct secret_key *key);

/* ---- demo_evm.c ---- */

bool demo_is_evm(const struct demo *demo);
/* Starts anvil, and deploys the contract and the token factory with `rill ledger deploy`. */
bool demo_start_evm(struct demo *demo);

/* ---- demo_ledger.c ---- */

bool demo_follow_ledger(struct demo *demo);
/* Coins for hub and tower, from a development account; the embedded ledger begins with them. */
bool demo_fund_operator(struct demo *demo);
/* The operator issues and lists the asset and fills the pool; then coins for gas and tokens for those who deposit. */
bool demo_issue_asset(struct demo *demo);
bool demo_hand_out(struct demo *demo);
/* A coin for gas and units of the asset to one address. */
bool demo_give(struct demo *demo, const struct address *to, uint64_t units);
/* Views; false after demo_fail. */
bool demo_token_balance(struct demo *demo, const struct address *of, uint64_t *units);
bool demo_read_word(struct demo *demo, const struct contract_call *call, size_t index, uint64_t *out);
bool demo_read_channel(struct demo *demo, const struct channel_key *key, struct channel_state *out);

/* ---- demo_http.c ---- */

struct demo_http {
    uint16_t port;
    bool post;
    const char *path, *key, *once; /* key, once (Idempotency-Key): NULL for none */
    const json_t *body;            /* NULL: none */
};
/* From the loop, once; status 0: no answer. json is valid during the call, NULL: none. */
typedef void demo_http_answer(void *context, int status, json_t *json);
void demo_http_send(struct demo *demo, const struct demo_http *asked, demo_http_answer *answer,
                    void *context);
/* Asks and waits, the loop running meanwhile; never from a callback. Returns the JSON of a 200 or 201, to be decref'd; NULL
 * after demo_fail, which names `whom`. */
json_t *demo_http_ask(struct demo *demo, const struct demo_http *asked, const char *whom);
struct evhttp_request;
/* Host, Connection: close, and the key if it is not NULL. */
void demo_http_headers(struct evhttp_request *request, const char *key);
/* Asks the hub's operator port, the loop running meanwhile. Returns the JSON answer, to be decref'd; NULL after demo_fail. */
json_t *demo_ask_hub(struct demo *demo, const char *path, bool post);

/* ---- demo_shop.c ---- */

/* Makes a wallet of the command line in a home of the demo's folder, on the demo's hub, ledger and tower. */
bool demo_make_wallet(struct demo *demo, const char *home, struct address *address);
/* Makes the shop's wallet, a channel with room, an API key; starts its server and reads its events. */
bool demo_open_shop(struct demo *demo);
/* Asks the hub for room of so many units; the shop's server must not hold the wallet meanwhile. */
bool demo_shop_room(struct demo *demo, uint64_t units);
/* Has the shop make the invoice of the payer's next payment; the payer pays it when it is there. */
void demo_shop_invoice(struct demo_client *payer);
/* Asks for a payout of the units. */
bool demo_shop_payout(struct demo *demo, uint64_t units);
struct demo_shop_balance {
    bool connected, open;
    uint64_t balance, available, inbound, settling; /* units */
};
/* GET /v1/balance. False after demo_fail. */
bool demo_shop_balance(struct demo *demo, struct demo_shop_balance *out);
/* For a demo_done: asks for the balance, once a tick at most, and judges it; says why not in progress. */
typedef bool demo_shop_judge(struct demo *demo, const struct demo_shop_balance *balance);
bool demo_shop_is(struct demo *demo, demo_shop_judge *judge, char *progress, size_t size);
demo_shop_judge demo_shop_connected;
/* What its API says of payments and payouts is what the demo's books say. */
bool demo_audit_shop(struct demo *demo);
/* Closes the stream; the key stays. */
void demo_close_shop(struct demo *demo);

/* ---- demo_clients.c ---- */

void demo_make_clients(struct demo *demo);
bool demo_open_client(struct demo *demo, struct demo_client *client);
bool demo_open_channels(struct demo *demo);
/* All that are switched on are connected and in step. */
demo_done demo_all_ready;
void demo_close_clients(struct demo *demo);
struct hash demo_channel_id(const struct demo *demo, const struct demo_client *client);

/* ---- demo_market.c ---- */

enum demo_round { DEMO_MORNING, DEMO_AFTERNOON, DEMO_EVENING };
/* Draws the round's payments. The morning's also say how much money and room each client needs to begin with. */
bool demo_plan_round(struct demo *demo, enum demo_round round);
/* Sends what was planned; each client one payment after another. */
void demo_start_round(struct demo *demo);
demo_done demo_round_done;
size_t demo_add_payment(struct demo *demo, size_t payer, size_t payee, uint64_t amount, enum rill_mode mode);
void demo_pay_next(struct demo_client *client);
void demo_payment_paid(struct demo_client *client, const struct rill_payment *payment);
void demo_payment_failed(struct demo_client *client, const struct rill_payment *payment);
void demo_payment_received(struct demo_client *client, const struct rill_payment *payment);
/* Sum of amounts of a round, and how many were locked. */
uint64_t demo_round_sum(const struct demo *demo, size_t *locked);

/* ---- demo_acts.c ---- */

bool demo_act_offline_merchant(struct demo *demo);
bool demo_act_paid_twice(struct demo *demo);
bool demo_act_batch(struct demo *demo);
bool demo_act_cheat(struct demo *demo);

/* ---- demo_audit.c ---- */

struct demo_figures {
    uint64_t payments, direct, locked, gross_units, fees_units, failed, refunded;
    uint64_t channels, opened_by_hub, opening_units; /* the hub's money that channels were opened with */
};
struct demo_figures demo_count(const struct demo *demo);
/* Every wallet that is on has what the demo's books say, and nothing under way: the same day for a seed, from here. */
demo_done demo_books_agree;
bool demo_audit(struct demo *demo);
/* FOLDER.json, and stdout with --json. */
bool demo_write_figures(struct demo *demo);

/* ---- demo_main.c ---- */

/* The wallets that are played by the demo itself, and its ear at the shop, go home; once more does nothing. */
void demo_go_home(struct demo *demo);

/* ---- demo_stay.c ---- */

/* After the audit: opens the market for whoever tries it by hand, says where everything is, writes the figures, and returns
 * when SIGINT or SIGTERM has come. False after demo_fail. */
bool demo_stay(struct demo *demo);

#endif
