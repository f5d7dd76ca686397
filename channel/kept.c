/* Own updates that the peer has not acknowledged: a ring of pointers, [nonce % kept_capacity], which grows only as
 * far as a peer lags and is gone when it does not. Its size is a power of two up to UNACKNOWLEDGED_MAX, so what
 * fits in a smaller ring keeps apart in a larger one. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/machine.h"
#include "crypto/hash.h"

#define KEPT_CAPACITY_FIRST 2

_Static_assert((UNACKNOWLEDGED_MAX & (UNACKNOWLEDGED_MAX - 1)) == 0, "a power of two");

static void grow(struct channel *channel)
{
    size_t capacity = channel->kept_capacity == 0 ? KEPT_CAPACITY_FIRST : 2u * channel->kept_capacity;
    ensure(capacity <= UNACKNOWLEDGED_MAX);
    struct kept_update **ring = xcalloc(capacity, sizeof(struct kept_update *));
    for (size_t i = 0; i < channel->kept_capacity; i++)
        if (channel->kept[i] != NULL)
            ring[channel->kept[i]->proof.nonce % capacity] = channel->kept[i];
    free(channel->kept);
    channel->kept = ring;
    channel->kept_capacity = (uint8_t)capacity;
}

static void drop(struct channel *channel, size_t slot)
{
    if (channel->kept[slot] != NULL)
        free(channel->kept[slot]->removed);
    free(channel->kept[slot]);
    channel->kept[slot] = NULL;
}

/* One that is acknowledged gives way, and one of the same place on disk: it has been written over. */
static bool gives_way(const struct channel *channel, const struct kept_update *old, uint64_t nonce)
{
    return old == NULL || old->proof.nonce <= channel->acknowledged ||
           old->proof.nonce % UNACKNOWLEDGED_MAX == nonce % UNACKNOWLEDGED_MAX;
}

const struct kept_update *kept_put(struct channel *channel, const struct kept_update *update,
                                   const uint8_t *body)
{
    uint64_t nonce = update->proof.nonce;
    while (channel->kept_capacity == 0 ||
           !gives_way(channel, channel->kept[nonce % channel->kept_capacity], nonce))
        grow(channel);
    struct kept_update *kept = xmalloc(sizeof(*kept) + update->body_length);
    *kept = *update;
    memcpy(kept->body, body, update->body_length);
    drop(channel, nonce % channel->kept_capacity);
    channel->kept[nonce % channel->kept_capacity] = kept;
    return kept;
}

/* An idle channel has no ring. */
static void drop_ring(struct channel *channel)
{
    free(channel->kept);
    channel->kept = NULL;
    channel->kept_capacity = 0;
}

void kept_forget(struct channel *channel, uint64_t nonce)
{
    for (uint64_t at = channel->acknowledged; at < nonce;)
        drop(channel, ++at % channel->kept_capacity);
    channel->acknowledged = nonce;
    if (nonce == channel_own(channel)->proof.nonce)
        drop_ring(channel);
}

void kept_trim(struct channel *channel)
{
    uint64_t newest = channel_own(channel)->proof.nonce;
    for (size_t slot = 0; slot < channel->kept_capacity; slot++) {
        const struct kept_update *kept = channel->kept[slot];
        if (kept != NULL && (kept->proof.nonce <= channel->acknowledged || kept->proof.nonce > newest))
            drop(channel, slot);
    }
    if (newest == channel->acknowledged)
        drop_ring(channel);
}

void kept_hash(struct channel *channel)
{
    for (size_t slot = 0; slot < channel->kept_capacity; slot++) {
        struct kept_update *kept = channel->kept[slot];
        if (kept != NULL)
            kept->proof.body_hash = keccak256(kept->body, kept->body_length);
    }
}

void kept_free(struct channel *channel)
{
    for (size_t slot = 0; slot < channel->kept_capacity; slot++)
        drop(channel, slot);
    drop_ring(channel);
}

enum code channel_acknowledged(struct channel *channel, uint64_t nonce)
{
    if (nonce > channel_own(channel)->proof.nonce)
        return CODE_NONCE;
    if (nonce <= channel->acknowledged)
        return CODE_OK;
    kept_forget(channel, nonce);
    /* A hub whose journal lags here sends again, after a crash, what RESUME then tells it to forget. To a client
     * an acknowledgement is also what it holds against a hub that forgets: it is on its disk at once. */
    if (channel->self == SIDE_CLIENT)
        channel->stream_dirty[SIDE_CLIENT] = true;
    return CODE_OK;
}

const struct kept_update *channel_kept(const struct channel *channel, uint64_t nonce)
{
    if (channel->kept_capacity == 0 || nonce <= channel->acknowledged ||
        nonce > channel->streams[channel->self].proof.nonce)
        return NULL;
    return channel->kept[nonce % channel->kept_capacity];
}
