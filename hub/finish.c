/* The end of a turn, channel by channel: what is in drafts becomes one signed update each, and clients hear of it.
 *
 *     drafts ─▶ bodies, some at a time ─▶ hashed side by side ─▶ one signature each ─▶ UPDATE, FUNDED, ACK
 */
#include "base/ensure.h"
#include "crypto/hash.h"
#include "hub/engine_state.h"

/* A draft's body, as it is to be signed: where it lies in engine->body. */
struct draft_body {
    size_t at; /* the channel's place in engine->dirty */
    size_t offset, length;
    struct hash hash;
};

/* One signed update for a channel whose draft has something, and its bytes to the client if it listens. */
static void seal(struct engine *engine, struct hub_channel *channel, const struct draft_body *body)
{
    count_before_change(engine, channel);
    const struct kept_update *kept =
        channel_seal_hashed(channel->channel, &engine->settings.domain, &engine->settings.key,
                            engine->body.data + body->offset, body->length, &body->hash);
    engine_add_root(engine, &kept->digest);
    engine->figures.updates_sent++;
    window_sealed(engine, channel);
}

/* FUNDED: from here on the client counts with it, so it goes before an update that may depend on it. */
static void announce_funds(struct engine *engine, struct hub_channel *channel)
{
    channel->funds_changed = false;
    struct message message = {.type = MESSAGE_FUNDED};
    message.funded.channel = channel->channel->id;
    message.funded.total = channel->channel->funds.total;
    message.funded.base = channel->channel->funds.base;
    message.funded.seq = channel->channel->funds.seq;
    message.funded.block = engine->head.confirmed_number;
    engine_emit(engine, channel->client->peer, &message);
}

/* body: its draft's; NULL: it has none. */
static void finish_channel(struct engine *engine, struct hub_channel *channel, const struct draft_body *body)
{
    if (channel->funds_changed && channel->announced)
        announce_funds(engine, channel);
    if (body != NULL) {
        ensure(channel_can_seal(channel->channel));
        seal(engine, channel, body);
    }
    if (channel->funds_changed && channel->client->peer != 0 && channel->channel->funds.stage == STAGE_OPEN)
        client_announce(engine, channel);
    channel->funds_changed = false;
    ack_finish(engine, channel, body != NULL);
}

/* Bodies that are hashed together: so many, and so many bytes, that they stay in a core's cache until they are signed. */
#define BODIES_TOGETHER       16
#define BODIES_TOGETHER_BYTES ((size_t)256 << 10)

struct bodies {
    size_t count;
    struct draft_body of[BODIES_TOGETHER];
};

/* Encodes drafts' bodies from dirty[first] on, and hashes them. Returns up to which channel. */
static size_t encode_bodies(struct engine *engine, size_t first, struct bodies *bodies)
{
    struct hash_input inputs[BODIES_TOGETHER];
    struct hash hashes[BODIES_TOGETHER];
    size_t at = first;
    struct draft_body *of = bodies->of;
    bodies->count = 0;
    buffer_clear(&engine->body);
    for (; at < engine->dirty_count && bodies->count < BODIES_TOGETHER &&
           engine->body.length < BODIES_TOGETHER_BYTES;
         at++) {
        size_t operation_count, offset = engine->body.length;
        const struct operation *operations = channel_draft(engine->dirty[at]->channel, &operation_count);
        if (operation_count == 0)
            continue;
        body_encode(&engine->body, operations, operation_count);
        of[bodies->count++] =
            (struct draft_body){.at = at, .offset = offset, .length = engine->body.length - offset};
    }
    for (size_t i = 0; i < bodies->count; i++)
        inputs[i] = (struct hash_input){engine->body.data + of[i].offset, of[i].length};
    keccak256_many(inputs, bodies->count, hashes);
    for (size_t i = 0; i < bodies->count; i++)
        of[i].hash = hashes[i];
    return at;
}

void finish_channels(struct engine *engine)
{
    struct bodies bodies;
    for (size_t at = 0, end; at < engine->dirty_count; at = end) {
        size_t next = 0;
        end = encode_bodies(engine, at, &bodies);
        for (size_t i = at; i < end; i++) {
            bool has_body = next < bodies.count && bodies.of[next].at == i;
            ensure(has_body == channel_has_draft(engine->dirty[i]->channel));
            finish_channel(engine, engine->dirty[i], has_body ? &bodies.of[next++] : NULL);
        }
    }
}
