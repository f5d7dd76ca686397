/* When an ACK leaves. Protocol section 5: it may wait 20 ms to leave with other output. What a client is told most
 * often soon after its update is the outcome of the payment in it, so most ACKs then cost no record, no write and
 * no wake-up of their own.
 *
 *     update accepted ─▶ due ─┬─ something is said to the client about the channel ─▶ leaves with it
 *                             ├─ ACK_UPDATES_MAX updates came since the last one ─▶ leaves now
 *                             └─ 10 to 20 ms are over (engine_acks, called every 10) ─▶ leaves by itself
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "hub/engine_state.h"

/* A sender may have 64 unacknowledged: long before that it hears from us. */
#define ACK_UPDATES_MAX 16

bool ack_take(struct hub_channel *channel, struct message *ack)
{
    if (!channel->ack_due)
        return false;
    channel->ack_due = false;
    channel->ack_nonce = channel_peer(channel->channel)->proof.nonce;
    *ack = (struct message){.type = MESSAGE_ACK};
    ack->ack.channel = channel->channel->id;
    ack->ack.nonce = channel->ack_nonce;
    return true;
}

void ack_emit(struct engine *engine, struct hub_channel *channel)
{
    struct message ack;
    if (ack_take(channel, &ack))
        engine_emit(engine, channel->client->peer, &ack);
}

static bool may_wait(const struct engine *engine, const struct hub_channel *channel)
{
    return engine->settings.acks_wait && channel->resumed &&
           channel_peer(channel->channel)->proof.nonce - channel->ack_nonce < ACK_UPDATES_MAX;
}

void ack_finish(struct engine *engine, struct hub_channel *channel, bool said_something)
{
    if (!channel->ack_due)
        return;
    if (said_something || !may_wait(engine, channel)) {
        ack_emit(engine, channel);
        return;
    }
    if (channel->ack_waits)
        return;
    channel->ack_waits = true;
    if (engine->ack_count == engine->ack_capacity) {
        engine->ack_capacity = engine->ack_capacity == 0 ? 64 : 2 * engine->ack_capacity;
        engine->acks = xrealloc(engine->acks, engine->ack_capacity * sizeof(struct hub_channel *));
    }
    engine->acks[engine->ack_count++] = channel;
}

void ack_rides(struct engine *engine, struct hub_channel *channel)
{
    if (channel->ack_waits && channel->client->peer != 0)
        ack_emit(engine, channel);
}

bool engine_acks_wait(const struct engine *engine)
{
    return engine->ack_count > 0;
}

void engine_acks(struct engine *engine)
{
    for (size_t i = 0; i < engine->ack_count; i++) {
        struct hub_channel *channel = engine->acks[i];
        if (i >= engine->ack_old) {
            engine->acks[i - engine->ack_old] = channel;
            continue;
        }
        channel->ack_waits = false;
        ack_emit(engine, channel); /* unless it has left with something meanwhile, or the link is gone */
    }
    engine->ack_count -= engine->ack_old;
    engine->ack_old = engine->ack_count;
}
