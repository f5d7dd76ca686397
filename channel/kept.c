/* Own updates that the peer has not acknowledged: a ring of pointers, [nonce % capacity], which grows only as far as a peer
 * lags and is gone when it does not. Its size is a power of two up to UNACKNOWLEDGED_MAX, so what fits in a smaller ring keeps
 * apart in a larger one.
 *
 * On disk each has a slot, the lowest that no other one has: an update that is written takes the place of one that is
 * acknowledged. So a journal holds of a channel no more of them than were ever under way at once, and a start does not read
 * what its clients have long had. (The new record says what is acknowledged, so that it and the one it replaces are one step.)
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/machine.h"
#include "crypto/hash.h"

#define KEPT_CAPACITY_FIRST 2

_Static_assert((UNACKNOWLEDGED_MAX & (UNACKNOWLEDGED_MAX - 1)) == 0, "a power of two");

struct kept_ring {
    uint64_t slots; /* taken; bit by bit */
    size_t capacity;
    struct kept_update *at[];
};

_Static_assert(UNACKNOWLEDGED_MAX <= 64, "a bit for each slot");

static struct kept_update **place_of(const struct kept_ring *ring, uint64_t nonce)
{
    return (struct kept_update **)&ring->at[nonce % ring->capacity];
}

static void grow(struct channel *channel)
{
    struct kept_ring *old = channel->kept;
    size_t capacity = old == NULL ? KEPT_CAPACITY_FIRST : 2 * old->capacity;
    struct kept_ring *ring = xcalloc(1, sizeof(*ring) + capacity * sizeof(ring->at[0]));
    ring->capacity = capacity;
    for (size_t i = 0; old != NULL && i < old->capacity; i++)
        if (old->at[i] != NULL)
            *place_of(ring, old->at[i]->proof.nonce) = old->at[i];
    ring->slots = old == NULL ? 0 : old->slots;
    free(old);
    channel->kept = ring;
}

static void drop(struct kept_ring *ring, struct kept_update **place)
{
    if (*place == NULL)
        return;
    ring->slots &= ~((uint64_t)1 << (*place)->slot);
    free((*place)->removed);
    free(*place);
    *place = NULL;
}

/* One that is acknowledged gives way, and one of the same slot: it has been written over. */
static bool gives_way(const struct channel *channel, const struct kept_update *old, unsigned slot)
{
    return old == NULL || old->proof.nonce <= channel->acknowledged || old->slot == slot;
}

/* False: two that cannot both be under way. */
static bool make_place(struct channel *channel, const struct kept_update *update)
{
    while (channel->kept == NULL ||
           !gives_way(channel, *place_of(channel->kept, update->proof.nonce), update->slot)) {
        if (channel->kept != NULL && channel->kept->capacity == UNACKNOWLEDGED_MAX)
            return false;
        grow(channel);
    }
    return true;
}

static const struct kept_update *put(struct channel *channel, const struct kept_update *update,
                                     const uint8_t *body)
{
    struct kept_update **place = place_of(channel->kept, update->proof.nonce);
    struct kept_update *kept = xmalloc(sizeof(*kept) + update->body_length);
    *kept = *update;
    memcpy(kept->body, body, update->body_length);
    drop(channel->kept, place);
    *place = kept;
    channel->kept->slots |= (uint64_t)1 << kept->slot;
    return kept;
}

const struct kept_update *kept_put(struct channel *channel, struct kept_update *update, const uint8_t *body)
{
    uint64_t slots = channel->kept == NULL ? 0 : channel->kept->slots;
    ensure(~slots != 0);
    update->slot = (uint8_t)__builtin_ctzll(~slots);
    ensure(make_place(channel, update));
    return put(channel, update, body);
}

bool kept_put_back(struct channel *channel, const struct kept_update *update, const uint8_t *body)
{
    if (update->slot >= UNACKNOWLEDGED_MAX || !make_place(channel, update))
        return false;
    (void)put(channel, update, body);
    return true;
}

/* An idle channel has no ring. */
static void drop_ring(struct channel *channel)
{
    free(channel->kept);
    channel->kept = NULL;
}

void kept_forget(struct channel *channel, uint64_t nonce)
{
    for (uint64_t at = channel->acknowledged; at < nonce;)
        drop(channel->kept, place_of(channel->kept, ++at));
    channel->acknowledged = nonce;
    if (nonce == channel_own(channel)->proof.nonce)
        drop_ring(channel);
}

bool kept_trim(struct channel *channel)
{
    uint64_t newest = channel_own(channel)->proof.nonce, slots = 0;
    bool apart = true;
    for (size_t i = 0; channel->kept != NULL && i < channel->kept->capacity; i++) {
        struct kept_update **place = &channel->kept->at[i];
        if (*place != NULL &&
            ((*place)->proof.nonce <= channel->acknowledged || (*place)->proof.nonce > newest))
            drop(channel->kept, place);
        if (*place == NULL)
            continue;
        uint64_t slot = (uint64_t)1 << (*place)->slot;
        apart = apart && (slots & slot) == 0;
        slots |= slot;
    }
    if (channel->kept != NULL)
        channel->kept->slots = slots; /* some had been written over by others, with their slots */
    if (newest == channel->acknowledged)
        drop_ring(channel);
    return apart;
}

void kept_hash(struct channel *channel)
{
    for (size_t i = 0; channel->kept != NULL && i < channel->kept->capacity; i++) {
        struct kept_update *kept = channel->kept->at[i];
        if (kept != NULL)
            kept->proof.body_hash = keccak256(kept->body, kept->body_length);
    }
}

void kept_free(struct channel *channel)
{
    for (size_t i = 0; channel->kept != NULL && i < channel->kept->capacity; i++)
        drop(channel->kept, &channel->kept->at[i]);
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
    if (channel->kept == NULL || nonce <= channel->acknowledged ||
        nonce > channel->streams[channel->self].proof.nonce)
        return NULL;
    return *place_of(channel->kept, nonce);
}
