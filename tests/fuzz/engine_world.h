/* The world of fuzz_engine.c: a hub's pure engine on a memory journal, a ledger that keeps its word, three clients.
 *
 *     engine ─frames, tagged─▶ waiting ─durable─▶ seen (nothing may leave twice in two forms) ─▶ client
 *     engine ─calls, tagged──▶ calls ───durable─▶ mined at the next block
 *
 * A client runs the real channel machine and answers honestly until one of its hostile updates was taken: then it is
 * a rogue, knows what the hub knows, and only what the hub must keep to whoever it deals with is checked. */
#ifndef RILL_TESTS_FUZZ_ENGINE_WORLD_H
#define RILL_TESTS_FUZZ_ENGINE_WORLD_H

#include "crypto/hash.h"
#include "hub/engine_state.h"
#include "store/memory_journal.h"
#include "tests/fuzz/input.h"

#define CLIENTS      3
#define DEPOSIT      20000
#define ROOM         15000
#define POOL         1000000
#define MARGIN_S     60
#define SECRETS      64
#define SEEN_MAX     512
#define CALLS_MAX    512
#define RECEIVED_MAX 32
#define SENT_MAX     8
#define TOWER_KEY    77
#define EVENTS_MAX   1024
#define EVENTS_FULL  960 /* no program goes on above */

/* What came to a client and waits for its answer. */
struct received {
    struct payment_id id;
    struct hash condition;
    uint64_t amount;
    bool is_locked;
};

struct client_at {
    struct secret_key key;
    struct address address;
    struct hash id; /* of its channel */
    struct channel *machine;
    uint64_t peer; /* 0: offline */
    bool rogue;    /* the machine no longer knows what it signed */
    bool hostile;  /* has sent something an honest client does not */
    bool mute;     /* does not acknowledge */
    bool resumed;
    uint64_t seen_nonce; /* the newest of the hub's updates */
    struct received received[RECEIVED_MAX];
    size_t received_count;
    bool has_proposal;
    struct settlement proposal;
    uint64_t wish;
    struct buffer sent[SENT_MAX]; /* frames, to be sent again or changed */
    size_t sent_count;
};

struct seen_frame {
    struct hash channel;
    uint64_t type, nonce;
    struct hash bytes;
};

struct call_at {
    uint64_t sequence, reference;
    enum engine_call call;
    struct buffer data;
    bool is_ours;
};

struct world {
    struct input *input;
    struct engine *engine;
    struct journal *journal;
    struct secret_key hub_key;
    struct address hub;
    struct domain domain;
    bool has_tower;
    struct decoder *decoder, *answers, *bodies;
    struct client_at clients[CLIENTS];
    struct buffer waiting; /* frames: sequence, peer, length, bytes */
    struct seen_frame seen[SEEN_MAX];
    size_t seen_count;
    struct call_at calls[CALLS_MAX];
    size_t call_count;
    uint64_t next_peer, now_ms, payments;
    /* the ledger */
    struct {
        uint64_t total;
        int64_t base;
        uint32_t seq;
    } ledger[CLIENTS];
    uint64_t pool, now, block, batches;
    uint64_t registered[SECRETS]; /* when; 0: not */
    /* what the next block brings, beside the hub's transactions */
    bool to_register[SECRETS];
    uint64_t to_deposit[CLIENTS];
    size_t event_count;
    struct contract_event events[EVENTS_MAX]; /* last: not cleared */
};

/* ---- what both files need ---- */

static inline uint8_t take_u8(struct world *world)
{
    return input_u8(world->input);
}

static inline unsigned take_below(struct world *world, unsigned sides)
{
    return input_below(world->input, sides);
}

static inline struct witness secret_of(uint64_t number)
{
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    memset(witness.bytes, 0x5a, WITNESS_SECRET_BYTES);
    store_be64(witness.bytes, number % SECRETS);
    return witness;
}

/* Of secret number % SECRETS. */
struct hash condition_of(uint64_t number);
/* The secret of a condition; false if it is none of them. */
bool secret_number(const struct hash *condition, uint64_t *number);

static inline struct channel *hub_side(const struct world *world, const struct client_at *client)
{
    struct hub_channel *channel = engine_channel(world->engine, &client->id);
    return channel == NULL ? NULL : channel->channel;
}

static inline uint64_t registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct world *world = context;
    uint64_t number;
    return kind == LOCK_SECRET && secret_number(condition, &number) ? world->registered[number] : 0;
}

static inline struct channel_view client_view(struct world *world)
{
    return (struct channel_view){.domain = &world->domain,
                                 .now = world->now,
                                 .reveal_margin_s = MARGIN_S,
                                 .peer = world->hub,
                                 .registered_at = registered_at,
                                 .context = world};
}

/* engine_world.c */
void world_open(struct world *world, struct input *input);
void world_close(struct world *world);
/* The process dies; so many of the batches that are not durable yet survive. */
void world_crash(struct world *world, uint64_t more);
void world_connect(struct world *world, struct client_at *client);
void world_disconnect(struct world *world, struct client_at *client);
/* Over the wire's own encoding; what does not decode never reaches an engine. */
void world_send(struct world *world, struct client_at *client, const struct message *message);
void world_send_kept(struct world *world, struct client_at *client, uint64_t nonce);
/* What is durable leaves, and is answered. */
void world_release(struct world *world);
/* The next block, with what was asked for; everything durable of the hub's transactions is in it. */
void world_block(struct world *world, uint64_t seconds);
void world_check(struct world *world);

#endif
