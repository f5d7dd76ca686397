/* The simulator: hub, wallets, towers and the ledger's contract in one thread, driven by one seed.
 *
 * Everything that decides is the real code: the hub's engine and its shards (hub/engine.h), the wallets' core
 * (wallet/core.h), the towers' (watchtower/tower.h), the channel machine in all of them, the outbox, the journal's
 * batches, and the embedded ledger's contract. What the shells do around these cores (connections, disk, ledger client,
 * clock) is played here, one effect at a time, so that a fault can come between any two.
 *
 *     random.h        where chance comes from
 *     vault.c         the contract and its state
 *     chain.c         blocks, transactions, reorganisations around it
 *     node.c          what each program's ledger client makes of them: heads, events, views, transactions
 *     net.c           connections: bytes under way, cut anywhere
 *     disk.c          a journal whose fsync takes its time, and what a crash leaves of it
 *     hub.c, wallet.c, tower.c   the three programs' shells
 *     observer.c, frozen.c, tower_receipts.c   see every frame that leaves anybody, and hold it against all before
 *     cheat.c, forge.c           clients and hubs that do not play by the rules
 *     world.c, users.c, life.c   a random world, its people, its life step by step
 *     ending.c, books.c, held.c  no more faults: everything drains, closes, and the balances are right
 *     seeds.c, bugs.c, sim_main.c   many seeds, shrinking, coverage, planted bugs
 */
#ifndef RILL_TESTS_SIM_H
#define RILL_TESTS_SIM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "hub/engine.h"
#include "hub/payments.h"
#include "store/memory_journal.h"
#include "tests/sim/random.h"
#include "tests/sim/vault.h"
#include "wallet/core.h"
#include "watchtower/tower.h"
#include "wire/outbox.h"

#define SIM_CLIENTS_MAX  6
#define SIM_SHARDS_MAX   3
#define SIM_ASSETS_MAX   2
#define SIM_TOWERS_MAX   2
#define SIM_PAYMENTS_MAX 512
#define SIM_START_S      1800000000ull

/* ---- what may go wrong: a class can be switched off, and each time it happens it is counted ---- */

#define SIM_FAULTS(X)                                                                                        \
    X(FAULT_CUT, "cut", "a connection is lost between frames")                                               \
    X(FAULT_CUT_IN_FRAME, "cut-in-frame", "a connection is lost inside a frame")                             \
    X(FAULT_HALF_OPEN, "half-open", "one side of a lost connection learns of it later")                      \
    X(FAULT_DELAY, "delay", "frames are held and released late")                                             \
    X(FAULT_DUPLICATE, "duplicate", "an update arrives a second time, after a reconnect")                    \
    X(FAULT_CRASH_HUB, "crash-hub", "the hub dies")                                                          \
    X(FAULT_CRASH_WALLET, "crash-wallet", "a wallet dies")                                                   \
    X(FAULT_CRASH_TOWER, "crash-tower", "a tower dies")                                                      \
    X(FAULT_LOST_BATCHES, "lost-batches", "a crash loses whole batches after the last fsync")                \
    X(FAULT_TORN_BATCH, "torn-batch", "a crash tears the last batch")                                        \
    X(FAULT_SLOW_SYNC, "slow-sync", "an fsync takes long")                                                   \
    X(FAULT_FAILED_SYNC, "failed-sync", "an fsync fails: the program stops")                                 \
    X(FAULT_FULL_DISK, "full-disk", "a write fails, and goes on failing: the program stays down")            \
    X(FAULT_REORG, "reorg", "blocks are replaced by others")                                                 \
    X(FAULT_TX_LATE, "tx-late", "a transaction waits for many blocks")                                       \
    X(FAULT_TX_LOST, "tx-lost", "a transaction vanishes; its sender, if it lives, sends it again")           \
    X(FAULT_TX_REPLACED, "tx-replaced", "a dead program's transaction is replaced by its successor's")       \
    X(FAULT_NODE_LAGS, "node-lags", "a ledger node is blocks behind")                                        \
    X(FAULT_NODE_LIES, "node-lies", "a ledger node shows a height that is not there")                        \
    X(FAULT_NODE_DOWN, "node-down", "a ledger node does not answer")                                         \
    X(FAULT_CLOCK, "clock", "a machine's clock is minutes off")                                              \
    X(FAULT_TOWER_DOWN, "tower-down", "a tower is away for long")                                            \
    X(FAULT_OFFLINE, "offline", "a wallet is away for long")                                                 \
    X(FAULT_ASLEEP, "asleep", "a wallet sleeps through a whole dispute: its tower is awake")                 \
    X(CHEAT_OLD_CLAIM, "cheat-old-claim", "a client closes with an old claim")                               \
    X(CHEAT_OLD_LOCKS, "cheat-old-locks", "a client shows the hub's old locks, which were dropped")          \
    X(CHEAT_WITHHOLD, "cheat-withhold", "a payee holds its secret back")                                     \
    X(CHEAT_GARBAGE, "cheat-garbage", "a client sends updates that break a rule")                            \
    X(HUB_OLD_CLAIM, "hub-old-claim", "a cheating hub closes with an old claim")                             \
    X(HUB_WITHHOLDS, "hub-withholds", "a cheating hub keeps what it should pass on, or falls silent")        \
    X(HUB_EQUIVOCATES, "hub-equivocates", "a cheating hub signs a second update with one nonce")             \
    X(HUB_GARBAGE, "hub-garbage", "a cheating hub sends updates that break a rule")

enum sim_fault {
#define X(name, text, what) name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULT_COUNT
};

/* What the worlds did beside that; counted the same way. */
#define SIM_DEEDS(X)                                                                                         \
    X(DEED_DIRECT, "direct", "direct payments with their receipt")                                           \
    X(DEED_LOCKED, "locked", "locked payments with their receipt")                                           \
    X(DEED_FAILED, "failed", "payments that came back")                                                      \
    X(DEED_REFUND, "refund", "payments that their payee sent back")                                          \
    X(DEED_PAYOUT, "payout", "payouts through a netted batch")                                               \
    X(DEED_FUNDING, "funding", "channels funded from the pool")                                              \
    X(DEED_COOPERATIVE, "cooperative-close", "cooperative closes")                                           \
    X(DEED_UNILATERAL, "unilateral-close", "unilateral closes")                                              \
    X(DEED_OPERATOR_CLOSE, "operator-close", "channels that the operator closed without the client")         \
    X(DEED_CHALLENGE, "challenge", "closes that were answered")                                              \
    X(DEED_FRAUD, "fraud", "closes in which fraud was proven")                                               \
    X(DEED_VOID, "void", "old locks that were voided")                                                       \
    X(DEED_REGISTER, "register", "secrets registered on the ledger")                                         \
    X(DEED_UNLOCK, "unlock", "locks unlocked after a close")                                                 \
    X(DEED_PARCEL, "parcel", "parcels between shards")                                                       \
    X(DEED_PARCEL_AGAIN, "parcel-again", "parcels that came a second time")                                  \
    X(DEED_AHEAD, "ahead", "receipts and their ACKs that went ahead of the disk")                            \
    X(DEED_RECEIPT, "tower-receipt", "appointments with their receipt")

enum sim_deed {
#define X(name, text, what) name,
    SIM_DEEDS(X)
#undef X
        SIM_DEED_COUNT
};

struct sim_coverage {
    uint64_t faults[SIM_FAULT_COUNT], deeds[SIM_DEED_COUNT];
    uint64_t seeds, steps, frames, blocks, payments;
};
const char *sim_fault_name(enum sim_fault fault);

struct sim_options {
    uint64_t seed;
    uint32_t clients_max; /* 0: as the seed says */
    uint32_t steps_max;   /* 0: as the seed says */
    uint64_t faults_off;  /* a bit for each enum sim_fault */
    bool trace;           /* every step on stdout */
};

struct sim;

/* ---- chain.c: the ledger ---- */

struct sim_tx {
    uint64_t id;
    struct address from;
    unsigned_wide value;
    struct buffer data;
    int owner;         /* index into sim->parties; -1: nobody waits for it */
    uint64_t life;     /* of the owner, when it was sent */
    uint64_t waits_to; /* the block before which it is not taken */
    uint64_t block;    /* that has it; 0: it waits */
    bool success;
    enum contract_error reverted;
    /* what the owner calls it */
    uint32_t shard, kind;
    uint64_t reference;
};

struct sim_block {
    uint64_t number, time, id; /* id: another for each block that ever was */
    struct contract_event *events;
    size_t event_count;
};

struct sim_chain {
    struct vault *vault;
    struct address token;
    uint64_t challenge_period;
    struct sim_block *blocks; /* number n is at n */
    size_t block_count, block_capacity;
    struct sim_tx **txs; /* in the order sent; of no further use: freed */
    size_t tx_count, tx_capacity;
    uint64_t next_tx, next_block_id;
};

void chain_start(struct sim *sim);
void chain_end(struct sim *sim);
const struct sim_block *chain_tip(const struct sim *sim);
/* A block of what waits. `seconds`: after the last one, at least. */
void chain_mine(struct sim *sim, bool takes_all);
/* Replaces the newest blocks, as many as nobody has counted as confirmed yet. False: none can be. */
bool chain_reorganise(struct sim *sim);
struct sim_tx *chain_send(struct sim *sim, const struct address *from, unsigned_wide value,
                          const uint8_t *data, size_t length);
struct sim_tx *chain_send_call(struct sim *sim, const struct address *from, unsigned_wide value,
                               const struct contract_call *call);
void chain_forget(struct sim *sim, struct sim_tx *tx);
bool chain_has_waiting(const struct sim *sim);
/* Executes and forgets, in the state after a block. */
enum contract_error chain_view(struct sim *sim, uint64_t number, const struct address *from,
                               const uint8_t *data, size_t length, struct buffer *output);

/* ---- node.c: a program's ledger client ---- */

struct sim_question {
    uint64_t id;
    struct buffer data;
};
struct sim_submission {
    struct buffer data;
    uint32_t shard, kind;
    uint64_t reference;
};

struct sim_node {
    uint64_t next;   /* first block not given as confirmed */
    uint64_t height; /* newest block that it shows */
    uint64_t height_id;
    uint64_t early[VAULT_PAST_MAX]; /* ids of young blocks whose events were given */
    uint32_t confirmations;
    uint32_t lie;        /* blocks it shows above those that are there */
    uint64_t down_until; /* ms */
    uint64_t lag_until;  /* ms */
    bool is_fresh;       /* nothing was given since the program's start */
    struct sim_question *questions;
    size_t question_count, question_capacity;
    struct sim_submission *submissions; /* not estimated yet */
    size_t submission_count, submission_capacity;
};

/* ---- disk.c ---- */

struct sim_disk {
    struct journal *journal;
    uint64_t syncing;     /* an fsync up to here is under way; 0: none */
    uint64_t stall_until; /* ms */
    bool fails;           /* the fsync under way will fail */
};

void disk_start(struct sim_disk *disk);
bool disk_has_work(const struct sim *sim, const struct sim_disk *disk);
/* Starts an fsync, or ends one. False: it failed; the program dies. */
bool disk_work(struct sim *sim, struct sim_disk *disk);
void disk_crash(struct sim *sim, struct sim_disk *disk);

/* How the outbox was left: only when that has changed may something leave. */
struct sim_released {
    uint64_t durable;
    size_t bytes;
};
bool outbox_may_leave(const struct sim_disk *disk, const struct outbox *outbox,
                      const struct sim_released *released);
void outbox_leave(const struct sim_disk *disk, struct outbox *outbox, struct sim_released *released);

/* ---- net.c ---- */

enum link_kind { LINK_HUB, LINK_TOWER, LINK_HUB_TOWER };

struct sim_pipe {
    struct buffer bytes;
    size_t taken;        /* bytes of the front that are done with */
    size_t arrived;      /* bytes behind `taken` that have arrived, less than a frame */
    uint64_t held_until; /* ms */
    bool is_lost;        /* what is under way never arrives */
};

struct sim_link {
    enum link_kind kind;
    unsigned client; /* LINK_HUB, LINK_TOWER */
    unsigned tower;  /* LINK_TOWER, LINK_HUB_TOWER */
    uint64_t number; /* the server's handle of it */
    bool client_up, server_up, is_cut, is_welcomed;
    struct sim_pipe to_server, to_client;
};

struct sim_link *net_link(struct sim *sim, enum link_kind kind, unsigned client, unsigned tower);
struct sim_link *net_find(struct sim *sim, uint64_t number);
/* What a program says to its other end. */
void net_put(struct sim *sim, struct sim_link *link, bool to_server, const uint8_t *frame, size_t length);
void net_cut(struct sim *sim, struct sim_link *link);
/* One end has gone: its process died, or it hung up. */
void net_client_gone(struct sim *sim, struct sim_link *link);
void net_server_gone(struct sim *sim, struct sim_link *link);
void net_free(struct sim *sim);

/* ---- the three programs ---- */

enum party_kind { PARTY_HUB, PARTY_WALLET, PARTY_TOWER };

/* What all of them have: a life, a node, an address that sends transactions. */
struct sim_party {
    enum party_kind kind;
    unsigned index;
    bool is_up;
    uint64_t life, down_until; /* ms: not started again before */
    struct secret_key key;
    struct address address;
    struct sim_node node;
};

enum mail_kind {
    SIM_MAIL_EVENT,
    SIM_MAIL_HEAD,
    SIM_MAIL_CALL_DONE,
    SIM_MAIL_TOWER,
    SIM_MAIL_TOWER_FRAME,
    SIM_MAIL_POOLS,
    SIM_MAIL_SETTLE,
    SIM_MAIL_CLOSE,
    SIM_MAIL_TURN,
    SIM_MAIL_PARCEL,
    SIM_MAIL_WORD,
    SIM_MAIL_SECRET
};
/* As hub/mailbox.h has it, between the hub's thread and the shards'. */
struct sim_mail {
    struct sim_mail *next;
    enum mail_kind kind;
    uint64_t sequence; /* waiting: what must be durable first */
    bool is_call;
    uint32_t shard; /* whose it is, or to whom it goes */
    uint64_t number, reference;
    uint32_t call;
    bool flag;
    enum ledger_error error;
    struct ledger_receipt receipt;
    struct ledger_head head;
    struct contract_event event;
    struct leg payer;
    struct witness witness;
    size_t length;
    uint8_t bytes[];
};
struct sim_mailbox {
    struct sim_mail *first, *last;
};

struct sim_shard {
    struct sim *sim;
    unsigned index;
    struct engine *engine;
    struct sim_disk disk;
    struct outbox *outbox;
    struct sim_released released;
    struct sim_mailbox mail, waiting;
    bool turn_pending, turn_given_back;
    uint64_t parcels[SIM_SHARDS_MAX]; /* the highest number that ever came from each */
    size_t pool_count;
    struct engine_pool pools[ASSETS_MAX];
};

struct sim_hub {
    struct sim_party party;
    unsigned shard_count;
    struct sim_shard shards[SIM_SHARDS_MAX];
    uint32_t turns[SIM_SHARDS_MAX], turn_count;
    bool serves;
    bool tower_linked;
    struct engine_settings settings;
};

/* An invoice that may be paid, or paid again. */
struct sim_invoice {
    unsigned payee, asset, payer; /* payer: whom it was given to */
    uint64_t amount, expiry;
    struct hash secret_hash;
};
#define SIM_INVOICES_MAX 16

/* What a wallet does once something is durable: a transaction, or one of these. */
struct deferred {
    struct deferred *next;
    uint64_t sequence;
    bool is_news, is_invoice;
    struct sim_invoice invoice;
    enum wallet_news_type news;
    struct payment_id payment;
    struct hash secret_hash;
    uint64_t code; /* why it failed */
    uint64_t submission;
    struct buffer data;
};

struct sim_wallet {
    struct sim_party party;
    struct sim *sim;
    struct wallet_core *core;
    struct sim_disk disk;
    struct outbox *outbox;
    struct sim_released released;
    struct deferred *first, *last;
    bool run_wanted, is_paused;
    uint64_t generation, tower_generation[SIM_TOWERS_MAX];
    uint64_t link, tower_link[SIM_TOWERS_MAX]; /* numbers; 0: none */
    unsigned towers[SIM_TOWERS_MAX], tower_count;
    int64_t clock_s;                     /* its clock less the true time */
    uint64_t offline_until;              /* ms */
    uint64_t connected_at, connect_from; /* ms */
    uint32_t failures;
    struct wallet_limits limits;
    bool cheats;    /* its proofs bind nobody but itself */
    bool is_asleep; /* until this channel is closed: */
    struct hash sleeps_for;
    bool is_gone; /* a cheat that has closed: its wallet does not run any more, but stays as it was */
    uint64_t funded[SIM_ASSETS_MAX]; /* what it had on the ledger at the start, units */
};

struct sim_tower {
    struct sim_party party;
    struct sim *sim;
    struct tower *core;
    struct sim_disk disk;
    struct outbox *outbox;
    struct sim_released released;
};

/* ---- what people did ---- */

struct sim_payment {
    unsigned payer, payee, asset;
    struct payment_id id;
    struct hash secret_hash;
    uint64_t amount;
    bool told_paid, told_failed, told_expired; /* by a wallet that had it on its disk */
    bool is_wrong; /* not what the invoice says, or no invoice at all: must not be received */
};

/* A wallet has told its user that this came. */
struct sim_received {
    unsigned client;
    struct payment_id id;
};

struct sim_seen; /* observer.c */
struct sim_stream;
struct sim_cheating; /* cheat.c */

struct sim {
    struct sim_options options;
    struct sim_coverage *coverage;
    struct random random;
    uint64_t now_ms, step, steps;
    uint64_t trace_hash;
    bool is_draining; /* no faults any more */
    bool hub_cheats;
    bool hub_is_silent; /* a cheating hub's last word */
    uint64_t faults;    /* the classes that this world has: a bit each */
    uint32_t blocks_behind;
    uint32_t fault_weight, user_weight, block_weight;
    uint32_t reveal_margin_s;
    unsigned client_count, asset_count, tower_count;
    struct address assets[SIM_ASSETS_MAX];
    uint64_t pool_at_start[SIM_ASSETS_MAX];
    struct domain domain;
    struct sim_chain chain;
    struct sim_hub hub;
    struct sim_wallet wallets[SIM_CLIENTS_MAX];
    struct sim_tower towers[SIM_TOWERS_MAX];
    bool hub_has_tower;
    struct sim_party *parties[1 + SIM_CLIENTS_MAX + SIM_TOWERS_MAX];
    unsigned party_count;
    struct sim_link **links;
    size_t link_count, link_capacity;
    uint64_t next_link;
    struct decoder *decoder, *bodies, *observing;
    struct sim_payment payments[SIM_PAYMENTS_MAX];
    size_t payment_count;
    struct sim_received *received;
    size_t received_count, received_capacity;
    struct sim_invoice invoices[SIM_INVOICES_MAX];
    size_t invoice_count;
    struct hash *promised; /* of every invoice that anybody was given */
    size_t promised_count, promised_capacity;
    struct sim_seen *seen;
    struct sim_stream *streams;
    struct receipt_seen *receipts; /* tower_receipts.c */
    struct sim_cheating *cheating;
};

/* node.c */
void node_free(struct sim_node *node);
/* A program has started: nothing is under way any more, the ledger is followed from its cursor. */
void node_restart(struct sim_node *node, uint64_t cursor);
bool node_is_down(const struct sim *sim, const struct sim_node *node);
bool node_has_news(const struct sim *sim, const struct sim_party *party);
void node_advance(struct sim *sim, struct sim_party *party);
void node_ask(struct sim_node *node, uint64_t question, const struct contract_call *view);
bool node_has_question(const struct sim *sim, const struct sim_party *party);
void node_answer(struct sim *sim, struct sim_party *party);
void node_submit(struct sim_node *node, const uint8_t *data, size_t length, uint32_t shard, uint32_t kind,
                 uint64_t reference);
bool node_has_submission(const struct sim *sim, const struct sim_party *party);
void node_estimate(struct sim *sim, struct sim_party *party);
/* The outcomes that are final by this node's view. */
bool node_has_outcome(const struct sim *sim, const struct sim_party *party);
void node_outcome(struct sim *sim, struct sim_party *party);

/* hub.c, wallet.c, tower.c: what the ledger's client calls */
void hub_event(struct sim *sim, const struct contract_event *event);
void hub_head(struct sim *sim, const struct ledger_head *head);
void hub_outcome(struct sim *sim, uint32_t shard, uint32_t call, uint64_t reference, enum ledger_error error,
                 const struct ledger_receipt *receipt);
void sim_wallet_outcome(struct sim_wallet *wallet, uint64_t submission, enum ledger_error error, bool success,
                        enum contract_error reverted);

void hub_start(struct sim *sim);
void hub_crash(struct sim *sim);
void hub_end(struct sim *sim);
/* A client's stream as the hub has it; NULL: the channel is not known. */
const struct stream *hub_stream_of_client(struct sim *sim, unsigned client, const struct hash *channel);
void hub_take_frame(struct sim *sim, struct sim_link *link, const uint8_t *frame, size_t length);
void hub_link_lost(struct sim *sim, struct sim_link *link);
void hub_tower_ready(struct sim *sim, struct sim_link *link);
void hub_connected(struct sim *sim, struct sim_link *link);
/* One effect of a shard's loop. */
enum shard_effect { SHARD_MAIL, SHARD_TURN, SHARD_RELEASE, SHARD_DISK, SHARD_EFFECT_COUNT };
bool shard_can(const struct sim_shard *shard, enum shard_effect effect);
void shard_do(struct sim_shard *shard, enum shard_effect effect);
void hub_settle(struct sim *sim, unsigned shard);
/* The operator closes a channel without its client. */
void hub_close_channel(struct sim *sim, unsigned client, const struct hash *channel);
void hub_tick(struct sim *sim);
struct sim_shard *hub_shard_of(struct sim *sim, unsigned client);

void wallet_start(struct sim_wallet *wallet);
void wallet_crash(struct sim_wallet *wallet);
void wallet_end(struct sim_wallet *wallet);
void wallet_take_frame(struct sim_wallet *wallet, struct sim_link *link, const uint8_t *frame, size_t length);
void wallet_link_lost(struct sim_wallet *wallet, struct sim_link *link);
void wallet_connect(struct sim_wallet *wallet);
void wallet_connect_tower(struct sim_wallet *wallet, unsigned index);
enum wallet_effect { WALLET_RUN, WALLET_RELEASE, WALLET_DISK, WALLET_EFFECT_COUNT };
bool wallet_can(const struct sim_wallet *wallet, enum wallet_effect effect);
void wallet_do(struct sim_wallet *wallet, enum wallet_effect effect);
uint64_t wallet_unix_s(const struct sim_wallet *wallet);
/* Its user gets it when a crash cannot make the wallet forget it any more, as with include/rill.h. */
void wallet_offer(struct sim_wallet *wallet, const struct sim_invoice *invoice);

void tower_start(struct sim_tower *tower);
void tower_crash(struct sim_tower *tower);
void tower_end(struct sim_tower *tower);
void tower_take_frame(struct sim_tower *tower, struct sim_link *link, const uint8_t *frame, size_t length);
enum tower_effect { TOWER_RELEASE, TOWER_DISK, TOWER_EFFECT_COUNT };
bool tower_can(const struct sim_tower *tower, enum tower_effect effect);
void tower_do(struct sim_tower *tower, enum tower_effect effect);

void party_crash(struct sim *sim, struct sim_party *party);
void party_start(struct sim *sim, struct sim_party *party);

/* observer.c */
/* A frame leaves its program. from_client: of the link's two ends. */
void observe_leaving(struct sim *sim, const struct sim_link *link, bool from_client, const uint8_t *frame,
                     size_t length);
void observe_arriving(struct sim *sim, const struct sim_link *link, bool at_server, const uint8_t *frame,
                      size_t length);
void observe_event(struct sim *sim, const struct contract_event *event);
/* What must hold after every step. */
void observe_step(struct sim *sim);
void observer_free(struct sim *sim);

/* cheat.c */
void cheat_remember(struct sim *sim);
void cheat_act(struct sim *sim);
/* False: the frame is kept back. */
bool cheat_passes(struct sim *sim, struct sim_link *link, bool to_server, const uint8_t *frame,
                  size_t length);
/* What follows from a close that it began. */
void cheat_continue(struct sim *sim);
void cheat_at_end(struct sim *sim);
void cheat_free(struct sim *sim);

/* world.c */
void world_start(struct sim *sim);
void world_end(struct sim *sim);

/* users.c */
void user_act(struct sim *sim);
void user_told(struct sim_wallet *wallet, const struct deferred *news);
/* It may be seen from now on: whom it was made for has it, and pays it. */
void user_invoiced(struct sim *sim, const struct sim_invoice *invoice);
struct sim_payment *payment_by_id(struct sim *sim, unsigned payer, const struct payment_id *id);

/* life.c */
void sim_advance(struct sim *sim, uint64_t ms);
/* One effect that is possible, by chance; false: nothing is. */
bool sim_effect(struct sim *sim);
void sim_live(struct sim *sim);
/* ending.c */
void sim_drain(struct sim *sim);

/* The whole of one seed: aborts, with a line on stderr, if anything does not hold. Returns the trace's hash. */
uint64_t sim_run(const struct sim_options *options, struct sim_coverage *coverage);

static inline bool sim_has(const struct sim *sim, enum sim_fault fault)
{
    return !sim->is_draining && (sim->faults >> fault & 1) != 0;
}
/* True, sometimes, if the world has this fault; then it is counted as having happened. */
bool sim_strikes(struct sim *sim, enum sim_fault fault, unsigned one_in);
void sim_count(struct sim *sim, enum sim_fault fault);
void sim_did(struct sim *sim, enum sim_deed deed);
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Something does not hold. */
_Noreturn void sim_fail(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline uint64_t sim_roll(struct sim *sim, uint64_t sides)
{
    return random_below(&sim->random, sides);
}

#endif
