/* The hub's engine: pure. Inputs are decoded messages, ledger events and time; effects are journal batches,
 * frames tagged with the sequence that must be durable first, and transactions. It opens no socket and reads
 * no clock, so that the server, the simulator and the fuzzers run the same code.
 *
 * A turn: any number of inputs, then engine_flush, which
 *   1. drains what is due to each channel into its draft (payments, refunds, unlocks, cancels, expiries),
 *   2. seals one update per changed channel,
 *   3. writes one journal batch with everything that changed,
 *   4. gives every frame of the turn to `send`, tagged with that batch's sequence.
 *
 * A payment's states (struct payment, hub/payments.h) and what moves it:
 *
 *   direct  WAITING ─signed to the payee─▶ SIGNED ─payee's REVEAL─▶ REVEALED
 *              └─ no room, expired ─▶ REFUNDED ◀─ payee's refund ─┴──────┘
 *   locked  OFFERED ─lock signed to the payee─▶ FORWARDED ─REVEAL, or registered─▶ REVEALED
 *              │                                    │            (payee unlocked, payer told)
 *              └─ no room ─▶ FAILED                 ├─ payee's FAIL ─▶ CANCELLING ─ payee's REVOKE ─▶ FAILED
 *                                                   └─ expiry passed: expire signed to the payee ─▶ LAPSED
 */
#ifndef RILL_HUB_ENGINE_H
#define RILL_HUB_ENGINE_H

#include "channel/channel.h"
#include "ledger/client.h"
#include "ledger/contract.h"
#include "ledger/evidence.h"
#include "settlement/outlook.h"
#include "store/journal.h"
#include "wire/message.h"

struct engine;
struct leg;

#define ENGINE_TOWERS_MAX 4

struct engine_tower {
    struct address address;
    bool is_set; /* in the contract, by setTower: appointments need no Choice */
};

struct engine_settings {
    uint32_t shards, shard; /* how many there are, and which this is; 0 shards: one */
    struct secret_key key;  /* the hub's; wiped when the engine is freed */
    struct domain domain;
    struct terms terms; /* assets join it as the contract lists them, with these terms: */
    struct asset_terms asset_terms;
    uint32_t waiting_max;      /* direct payments that wait for one payee; more are refunded LIMIT */
    uint32_t unrevealed_max;   /* those given to it whose secret has not come, likewise; 0: no limit */
    struct amount inbound_max; /* most that one OPEN_REQUEST may get; 0: the hub opens no channels */
    struct engine_tower towers[ENGINE_TOWERS_MAX]; /* the hub's watchtowers: each gets every proof */
    size_t tower_count;
    uint64_t tower_silence_s;   /* after which a silent tower is dismissed (section 4) */
    uint64_t settle_interval_s; /* a batch is planned this often; 0: only when asked to */
    uint64_t settle_collect_ms; /* how long clients have to sign */
    uint64_t seed;              /* of hash tables: a number that peers do not know */
    bool acks_wait;             /* up to 20 ms for other output; needs engine_acks to be called */
    /* rebalancing (hub/rebalance.c) */
    uint16_t idle_bps;        /* hub funds above this share of the room that a channel should have are idle */
    uint16_t room_percent;    /* room kept for what is expected until the next batch: this share of it */
    struct amount least_move; /* the hub moves no less by itself */
    uint64_t call_gas_max;    /* gas that one settleBatch may be expected to use; 0: what nodes take */
    uint32_t requests_max;    /* so many payouts and closes asked for start a batch at once; 0: none do */
    struct amount unlock_min; /* a lock held after a close and smaller than this stays there */
};

/* Which transaction an answer belongs to. */
enum engine_call {
    ENGINE_CALL_SETTLE = 1,
    ENGINE_CALL_CHALLENGE,
    ENGINE_CALL_REGISTER,
    ENGINE_CALL_FINISH,
    ENGINE_CALL_VOID_LOCKS,
    ENGINE_CALL_SET_TOWER,
    ENGINE_CALL_UNLOCK,
    ENGINE_CALL_START_CLOSE
};

#define ENGINE_PEER_TOWER      1 /* the peer handle of the first tower's link; the others' follow */
#define ENGINE_PEER_TOWER_LAST (ENGINE_PEER_TOWER + ENGINE_TOWERS_MAX - 1) /* clients' are above */

struct engine_effects {
    /* Appends a batch; returns its sequence. */
    uint64_t (*journal)(void *context, const uint8_t *batch, size_t length);
    /* Shows a record of the journal's archive (store/journal.h, journal_find), of everything appended so far. NULL:
     * nothing that is over is remembered. */
    bool (*find)(void *context, uint8_t type, const void *rest, size_t rest_length, journal_visit *visit,
                 void *visit_context);
    /* Says which of many it has (store/journal.h, journal_have). NULL where find is. */
    void (*have)(void *context, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                 bool *out);
    /* A frame that may leave once `sequence` is durable. */
    void (*send)(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length);
    /* A frame that may leave at once, before those that wait: nothing that it tells has to be durable (hub/ahead.c).
     * NULL: all wait. */
    void (*pass)(void *context, uint64_t peer, const uint8_t *frame, size_t length);
    /* To another shard's engine_secret, at once; may be lost. NULL where there is one shard. */
    void (*secret)(void *context, uint32_t shard, const struct leg *payer, const struct witness *witness);
    /* A transaction to the contract, once `sequence` is durable; answered by engine_call_done with the same
     * call and reference. */
    void (*call)(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                 const uint8_t *data, size_t length);
    /* A client's link must go (REPLACED, or it broke a limit). */
    void (*disconnect)(void *context, uint64_t peer, enum code code);
    /* Between shards (hub/transfer.h); NULL where there is one. A parcel may leave once `sequence` is durable,
     * in the order given; bytes NULL: an acknowledgement of everything up to the number. */
    void (*parcel)(void *context, uint64_t sequence, uint32_t shard, uint64_t number, const uint8_t *bytes,
                   size_t length);
    /* Shards settle one at a time, since they share the pool: true asks for the turn (answered by
     * engine_settle_turn), false gives it back. */
    void (*settle_turn)(void *context, bool wanted);
    void *context;
};

struct engine *engine_new(const struct engine_settings *settings, const struct engine_effects *effects);
void engine_free(struct engine *engine);

/* ---- recovery: every record of the journal, then engine_recovered, before any other input ---- */

bool engine_read(struct engine *engine, const struct record *record) MUST_USE;
/* Why engine_read said no, one line. */
const char *engine_read_trouble(const struct engine *engine);
/* Checks all that was read. False, and one line in message, if the journal does not make sense. */
bool engine_recovered(struct engine *engine, char *message, size_t message_size) MUST_USE;
/* The block to follow the ledger from, and the hash of the one before it; zero: not known. */
uint64_t engine_cursor(const struct engine *engine);
struct hash engine_cursor_before(const struct engine *engine);

/* ---- inputs ---- */

/* The machine's own time, for timeouts between messages; never for what the protocol judges. */
void engine_time(struct engine *engine, uint64_t now_ms);
/* To be called every ENGINE_ACKS_MS while ACKs wait, and then flushed. */
#define ENGINE_ACKS_MS 10
bool engine_acks_wait(const struct engine *engine);
void engine_acks(struct engine *engine);
/* A client has proven who it is on link `peer` (a fresh handle > ENGINE_PEER_TOWER_LAST). An older link of it is
 * replaced. */
void engine_connected(struct engine *engine, uint64_t peer, const struct address *client);
void engine_disconnected(struct engine *engine, uint64_t peer);
void engine_message(struct engine *engine, uint64_t peer, const struct message *message);
/* Whether nobody waits for what the last message brought: an ACK that opened nothing, receipts that have gone ahead. The
 * turn need not end for it alone, if it ends within ENGINE_IDLE_MS. */
#define ENGINE_IDLE_MS 50
bool engine_can_wait(const struct engine *engine) MUST_USE;
/* tower: its index in the settings. */
void engine_tower(struct engine *engine, size_t tower, bool connected);
void engine_event(struct engine *engine, const struct contract_event *event);
void engine_head(struct engine *engine, const struct ledger_head *head);
/* The hash of the confirmed block of the head that comes next: kept with the cursor, so that a reorganisation while the
 * hub is down is found out. */
void engine_confirmed_hash(struct engine *engine, const struct hash *hash);
/* The gas that a block of the ledger has room for, as of now; 0: not known. */
void engine_block_gas(struct engine *engine, uint64_t gas_limit);
void engine_call_done(struct engine *engine, enum engine_call call, uint64_t reference,
                      enum ledger_error error, const struct ledger_receipt *receipt);
/* Plans a batch now (the operator asked, or the interval has passed). */
void engine_settle(struct engine *engine);
/* The operator closes a channel without its client: from now on the hub signs and takes nothing in it, and startClose
 * with the newest proofs is submitted until the ledger shows a close. Refused, nothing changed: CHANNEL (not here), STATUS
 * (not open, or a close was seen or asked for), SETTLE (a settlement is under way: once it is over). */
enum code engine_close(struct engine *engine, const struct hash *channel) MUST_USE;
/* What such a close would be about. False: the channel is not here. */
struct engine_close_look {
    enum code code; /* engine_close's answer */
    struct address client, asset;
    bool is_online;
    wide client_units, hub_units; /* by the newest proofs, locks not counted */
    uint64_t locks, locked_client, locked_hub;
};
bool engine_close_look(const struct engine *engine, const struct hash *channel,
                       struct engine_close_look *out) MUST_USE;
/* This shard's turn to settle has come. */
void engine_settle_turn(struct engine *engine);
/* What this shard's channels (and, by the first shard, deposits and withdrawals) added to or took from the pool
 * of each asset. Returns how many. */
struct engine_pool {
    struct address asset;
    wide units;
    struct outlook outlook; /* what this shard's channels will need, as of the last plan */
};
size_t engine_pools(const struct engine *engine, struct engine_pool out[ASSETS_MAX]);
/* The same of all other shards together, so that a plan knows the whole. */
void engine_pool_of_others(struct engine *engine, const struct address *asset, wide units);
/* From another shard: a parcel, or the word that it has all up to a number. False: it makes no sense. */
bool engine_parcel(struct engine *engine, uint32_t shard, uint64_t number, const uint8_t *bytes,
                   size_t length) MUST_USE;
/* From the payee's shard: the secret of a direct payment of this leg has come. Its parcel follows; the payer is told now. */
void engine_secret(struct engine *engine, const struct leg *payer, const struct witness *witness);
void engine_parcel_acknowledged(struct engine *engine, uint32_t shard, uint64_t number);

/* Everything up to `sequence` is durable. */
void engine_durable(struct engine *engine, uint64_t sequence);
/* How many ERRORs it has answered so far, and messages that cost as much for nothing: a shell reads less from whoever sends
 * many of them. */
uint64_t engine_errors_said(const struct engine *engine);
/* Ends a turn. Returns the sequence of the last batch written. */
uint64_t engine_flush(struct engine *engine);
/* When engine_time wants to be called next at the latest, ms; UINT64_MAX: no need. */
uint64_t engine_next_timeout(const struct engine *engine);

/* ---- what the operator sees ---- */

struct engine_figures {
    uint64_t clients, clients_online, channels, channels_open, payments_pending, payments_kept;
    uint64_t payments_direct, payments_locked, payments_revealed, payments_failed, payments_refunded;
    uint64_t updates_received, updates_sent, updates_refused, updates_held;
    uint64_t volume_units, fees_units; /* of completed payments, all assets together */
    uint64_t batches_settled, settle_items, settle_skipped, closes_seen, challenges;
    uint64_t block_confirmed;
};
struct engine_figures engine_figures(const struct engine *engine);
/* What settled batches did, oldest first; valid until the next input. */
struct batch_report {
    uint64_t number, block, items, funds, skipped, gas_used;
    uint64_t gross_units, payout_units, returned_units, funded_units;
    uint64_t gas_price; /* wei, what was paid; 0 with gas_used 0: a restart hid the receipt */
    uint64_t leaves;    /* balance proofs under its journal root */
    uint64_t time;      /* of its block */
    struct hash transaction, root;
    bool dirty; /* the engine's own */
};
const struct batch_report *engine_reports(const struct engine *engine, size_t *count);
/* What a batch's transaction cost, for its report: by an answer to ENGINE_CALL_SETTLE, or asked for later, since a
 * restart hides it. */
void engine_receipt(struct engine *engine, const struct ledger_receipt *receipt);
/* Per asset: what this shard knows of the pool (engine_pools), and what its channels hold for clients and hub. */
struct engine_balance {
    struct address asset;
    uint64_t channels;
    wide pool, clients, hub;
};
/* Returns how many assets. */
size_t engine_balances(const struct engine *engine, struct engine_balance out[ASSETS_MAX]);

/* What each of the hub's towers has signed for in a channel: its newest receipt and the client's proof that it is for, as
 * evidence if the tower breaks its promise. Of a channel that has ended, only what was not kept. Returns how many. */
size_t engine_tower_evidence(const struct engine *engine, const struct hash *channel,
                             struct evidence out[ENGINE_TOWERS_MAX]);

/* What is whose in every channel, counted as of the moment of engine_count_begin (hub/count.c). */
struct engine_counted {
    struct hash channel;
    struct amount balance; /* the client's, by the newest proofs: locks count to who made them */
    uint64_t nonce_client, nonce_hub;
    uint8_t asset; /* index into assets */
};
struct engine_count {
    uint64_t block, time; /* the newest confirmed block, whose funds these are */
    size_t asset_count;
    struct {
        struct address asset;
        struct amount hub;        /* of the same channels, what is the hub's */
        struct amount in_transit; /* taken from payers, not given to payees or back yet; rather too much */
    } assets[ASSETS_MAX];
    struct engine_counted *entries; /* one per channel that is open or being closed */
    size_t length, capacity;
};
/* Ends the turn, and begins. False, nothing done: the ledger is not known yet, or one is under way or not taken. */
bool engine_count_begin(struct engine *engine) MUST_USE;
/* Goes on with so many channels. True: all are counted, and engine_count_take gives the result (the caller frees it). */
bool engine_count_more(struct engine *engine, size_t channels) MUST_USE;
struct engine_count *engine_count_take(struct engine *engine);
void engine_count_free(struct engine_count *count); /* NULL is allowed */

/* The newest statement of what is owed, in the shell's own form: kept by the first shard, so that its number is never
 * used for another. It may be shown once the batch of the next engine_flush is durable. */
void engine_keep_statement(struct engine *engine, const uint8_t *bytes, size_t length);
const struct buffer *engine_statement(const struct engine *engine);

/* Every channel's sums against its total, every pending payment against its legs. Always-on in the simulator
 * and at recovery; asserted, not returned. */
void engine_check(const struct engine *engine);

#endif
