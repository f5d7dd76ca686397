/* A random world for the pure engine: a hub whose disk and power fail at any moment, a ledger that keeps its
 * word, and clients that run the real channel machine and never forget. What the clients know and do is in
 * crash_clients.h; here is what surrounds them.
 *
 *     engine ─frames, tagged─▶ waiting ─durable─▶ released (remembered: nothing may ever leave twice in two
 *                                                 forms) ─▶ clients
 *     engine ─calls, tagged──▶ calls   ─durable─▶ sent ─▶ mined at the next block, in order
 *     engine ─parcels────────▶ parcels ─durable─▶ another shard's engine, sooner or later
 *
 * The hub is one to three shards, each an engine with a journal of its own; a crash takes them all, and each disk
 * keeps what it likes of what was not durable yet.
 */
#ifndef RILL_TESTS_HUB_CRASH_WORLD_H
#define RILL_TESTS_HUB_CRASH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uthash.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "hub/engine.h"
#include "hub/transfer.h"
#include "store/memory_journal.h"

#include "waiting.h"

#define CLIENTS        4
#define PAYMENTS_MAX   256
#define EVENTS_MAX     4096
#define CALLS_MAX      64
#define MARGIN_S       60
#define EXPIRY_S       1200
#define DEPOSIT        20000
#define ROOM           15000
#define POOL           1000000
#define CONDITIONS_MAX 256
#define SHARDS         3

/* What both ends know of a payment, each by its own light. */
struct book {
    unsigned payer, payee;
    bool is_locked;
    bool is_lazy; /* the payer unlocks only once the secret is on the ledger */
    bool is_late; /* the payee reveals when only the ledger still counts */
    uint64_t amount, fee, expiry;
    struct payment_id id, payee_id;
    struct witness secret;
    struct hash condition;
    bool receipt, refunded, failed, dropped, unlocked;     /* the payer's */
    bool received, revealed, sent_back, got, lock_dropped; /* the payee's */
    unsigned patience;                                     /* of the payee, before it answers; 255: never */
};

struct frame_seen {
    struct {
        struct hash channel;
        uint64_t type, nonce;
    } key;
    struct hash bytes;
    UT_hash_handle hh;
};

struct held_frame {
    uint8_t *bytes;
    size_t length;
};

struct world;

struct client {
    unsigned index;
    struct secret_key key;
    struct address address;
    struct channel *channel;
    uint64_t peer; /* 0: offline */
    bool resumed;
    struct held_frame held[UNACKNOWLEDGED_MAX]; /* updates that the own view cannot judge yet */
    size_t held_count;
    uint64_t wish; /* payout asked for */
    uint64_t paid_out;
    /* the own node's view, which may lag */
    uint64_t view_now;
    size_t view_conditions;
    struct channel_funds view_funds;
    const struct world *world;
};

struct pending_call {
    unsigned shard;
    uint64_t sequence;
    enum engine_call call;
    uint64_t reference;
    struct buffer data;
    bool is_sent; /* it left: only the ledger knows what becomes of it */
    bool is_ours; /* of the hub that runs now: it hears the outcome */
};

struct shard {
    struct world *world;
    unsigned index;
    struct engine *engine;
    struct journal *journal;
    struct buffer waiting; /* frames: sequence, peer, length, bytes */
    struct buffer secrets; /* struct secret_ahead */
    struct buffer parcels; /* to other shards: sequence, to, number, length, whether it is a parcel; bytes */
    size_t events_given;   /* to the engine that runs now */
    bool wants_turn;
};

struct world {
    uint64_t random, seed;
    struct secret_key hub_key;
    struct address hub;
    struct domain domain;
    struct shard shards[SHARDS];
    unsigned shard_count;
    int turn_of; /* the shard that settles; -1: none does */
    uint64_t parcels_applied;
    struct decoder *decoder, *client_decoder, *bodies;
    struct client clients[CLIENTS];
    struct book books[PAYMENTS_MAX];
    size_t book_count;
    uint64_t next_peer, now_ms, crashes;
    struct pending_call calls[CALLS_MAX];
    size_t call_count;
    struct frame_seen *seen;
    /* the ledger */
    struct {
        uint64_t total, seq;
        int64_t base;
        uint64_t hub_first; /* what the hub has put in */
    } ledger[CLIENTS];
    uint64_t pool, now, block, batches;
    struct contract_event events[EVENTS_MAX];
    size_t event_count;
    struct {
        struct hash condition;
        uint64_t time;
    } conditions[CONDITIONS_MAX];
    size_t condition_count;
};

static inline uint64_t roll(struct world *world, uint64_t sides)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random % sides;
}

/* ---- the ledger ---- */

static inline struct contract_event *ledger_event(struct world *world, enum contract_event_type type)
{
    ensure(world->event_count < EVENTS_MAX);
    struct contract_event *event = &world->events[world->event_count++];
    *event = (struct contract_event){
        .type = type, .confirmed = true, .block = world->block, .block_time = world->now};
    return event;
}

static inline struct channel_key key_of_client(const struct client *client)
{
    return (struct channel_key){.client = client->address};
}

static inline struct channel_funds ledger_funds(const struct world *world, unsigned client)
{
    bool open = world->ledger[client].total > 0 || world->ledger[client].base != 0;
    return (struct channel_funds){amount_of(world->ledger[client].total), world->ledger[client].base,
                                  (uint32_t)world->ledger[client].seq, open ? STAGE_OPEN : STAGE_NONE};
}

static inline unsigned client_of(const struct world *world, const struct address *address)
{
    unsigned i = 0;
    while (!address_equal(&world->clients[i].address, address))
        ensure(++i < CLIENTS);
    return i;
}

static inline void ledger_open(struct world *world, unsigned client, uint64_t deposit, uint64_t by_hub)
{
    struct channel_key key = key_of_client(&world->clients[client]);
    struct contract_event *event = ledger_event(world, EVENT_OPENED);
    event->channel = channel_id(&key);
    event->address = key.client;
    event = ledger_event(world, EVENT_FUNDED);
    event->channel = channel_id(&key);
    event->client_amount = amount_of(deposit);
    event->hub_amount = amount_of(by_hub);
    world->ledger[client].total += deposit + by_hub;
    world->ledger[client].base += (int64_t)deposit;
    world->pool -= by_hub;
}

static inline void ledger_register(struct world *world, const struct hash *secret)
{
    struct hash condition = condition_of_secret(secret->bytes);
    for (size_t i = 0; i < world->condition_count; i++)
        if (hash_equal(&world->conditions[i].condition, &condition))
            return;
    ensure(world->condition_count < CONDITIONS_MAX);
    world->conditions[world->condition_count].condition = condition;
    world->conditions[world->condition_count++].time = world->now;
    struct contract_event *event = ledger_event(world, EVENT_CONDITION_MET);
    event->kind = LOCK_SECRET;
    event->condition = condition;
    event->witness = *secret;
}

static inline void ledger_item(struct world *world, const struct settle_item *item)
{
    unsigned client = client_of(world, &item->key.client);
    struct hash id = channel_id(&item->key);
    struct hash digest = digest_settlement(&world->domain, &id, (uint32_t)world->ledger[client].seq + 1,
                                           item->client_out, item->hub_out, item->deadline, item->close);
    uint64_t out = item->client_out.units + item->hub_out.units;
    uint8_t reason = 0;
    struct signature none = {{0}};
    ensure(!signature_equal(&item->signature, &none));
    if (!signature_is_by(&item->signature, &digest, &item->key.client))
        reason = 2;
    else if (world->now > item->deadline)
        reason = 3;
    else if (out > world->ledger[client].total)
        reason = 4;
    struct contract_event *event = ledger_event(world, reason == 0 ? EVENT_SETTLED : EVENT_SETTLE_SKIPPED);
    event->channel = id;
    event->reason = reason;
    if (reason != 0)
        return;
    ensure(!item->close);
    world->ledger[client].seq++;
    world->ledger[client].total -= out;
    world->ledger[client].base -= (int64_t)item->client_out.units;
    world->pool += item->hub_out.units;
    world->clients[client].paid_out += item->client_out.units;
    event->seq = (uint32_t)world->ledger[client].seq;
    event->client_out = item->client_out;
    event->hub_out = item->hub_out;
}

static inline void ledger_batch(struct world *world, const struct contract_call *call)
{
    for (size_t i = 0; i < call->item_count; i++)
        ledger_item(world, &call->items[i]);
    for (size_t i = 0; i < call->fund_count; i++) {
        unsigned client = client_of(world, &call->funds[i].key.client);
        uint64_t amount = call->funds[i].amount.units;
        bool skipped = amount > world->pool;
        struct contract_event *event = ledger_event(world, skipped ? EVENT_SETTLE_SKIPPED : EVENT_FUNDED);
        event->channel = channel_id(&call->funds[i].key);
        event->is_fund = skipped;
        event->reason = 5;
        if (skipped)
            continue;
        event->hub_amount = amount_of(amount);
        world->ledger[client].total += amount;
        world->pool -= amount;
    }
    struct contract_event *event = ledger_event(world, EVENT_BATCH_SETTLED);
    event->batch = ++world->batches;
    event->root = call->hash;
}

/* ---- the engine's surroundings ---- */

static inline uint64_t effect_journal(void *context, const uint8_t *batch, size_t length)
{
    struct shard *shard = context;
    return journal_append(shard->journal, batch, length);
}

static inline void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame,
                               size_t length)
{
    struct shard *shard = context;
    waiting_put(&shard->waiting, sequence, peer, frame, length);
}

static inline void effect_pass(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct shard *shard = context;
    waiting_pass(&shard->waiting, peer, frame, length);
}

struct secret_ahead {
    uint32_t to;
    struct leg payer;
    struct witness witness;
};

static inline void effect_secret(void *context, uint32_t to, const struct leg *payer,
                                 const struct witness *witness)
{
    struct shard *shard = context;
    struct secret_ahead ahead = {to, *payer, *witness};
    buffer_append(&shard->secrets, &ahead, sizeof(ahead));
}

struct parcel_head {
    uint64_t sequence, to, number, length, is_word;
};

static inline void effect_parcel(void *context, uint64_t sequence, uint32_t to, uint64_t number,
                                 const uint8_t *bytes, size_t length)
{
    struct shard *shard = context;
    struct parcel_head head = {sequence, to, number, length, bytes == NULL};
    buffer_append(&shard->parcels, &head, sizeof(head));
    buffer_append(&shard->parcels, bytes, length);
}

static inline void effect_settle_turn(void *context, bool wanted)
{
    struct shard *shard = context;
    ensure(wanted || shard->world->turn_of == (int)shard->index);
    shard->wants_turn = wanted;
    if (!wanted)
        shard->world->turn_of = -1;
}

static inline void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                               const uint8_t *data, size_t length)
{
    struct shard *shard = context;
    struct world *world = shard->world;
    ensure(world->call_count < CALLS_MAX);
    struct pending_call *pending = &world->calls[world->call_count++];
    *pending = (struct pending_call){
        .shard = shard->index, .sequence = sequence, .call = call, .reference = reference, .is_ours = true};
    buffer_append(&pending->data, data, length);
}

static inline void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    (void)context;
    (void)peer;
    (void)code;
    fail_msg("the hub drops a client that broke no limit");
}

static inline bool effect_find(void *context, uint8_t type, const void *rest, size_t rest_length,
                               journal_visit *visit, void *visit_context)
{
    struct shard *shard = context;
    return journal_find(shard->journal, type, rest, rest_length, visit, visit_context);
}

static inline void effect_have(void *context, uint8_t type, const uint8_t *rests, size_t rest_length,
                               size_t count, bool *out)
{
    struct shard *shard = context;
    journal_have(shard->journal, type, rests, rest_length, count, out);
}

static inline void start_engine(struct world *world, struct shard *shard)
{
    const struct engine_effects effects = {.journal = effect_journal,
                                           .find = effect_find,
                                           .have = effect_have,
                                           .send = effect_send,
                                           .pass = effect_pass,
                                           .secret = effect_secret,
                                           .call = effect_call,
                                           .disconnect = effect_disconnect,
                                           .parcel = effect_parcel,
                                           .settle_turn = effect_settle_turn,
                                           .context = shard};
    struct engine_settings settings = {
        .shards = world->shard_count,
        .shard = shard->index,
        .key = world->hub_key,
        .domain = world->domain,
        .terms = {.confirmations = 1,
                  .reveal_margin_s = MARGIN_S,
                  .min_expiry_s = 300,
                  .max_expiry_s = 86400,
                  .settle_window_s = 3600},
        .asset_terms = {.base_fee = {2},
                        .fee_ppm = 1000,
                        .direct_limit = {100000},
                        .reserve_bps = 100,
                        .min_lock = {10},
                        .max_lock = {1000000},
                        .max_locks_per_payer = 8},
        .waiting_max = 8,
        .unrevealed_max = 8,
        .settle_collect_ms = 500,
        .idle_bps = 10000,
    };
    shard->engine = engine_new(&settings, &effects);
}

static inline struct shard *shard_of(struct world *world, const struct client *client)
{
    return &world->shards[shard_of_client(&client->address, world->shard_count)];
}

#endif
