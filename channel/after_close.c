/* What is left of a channel once it is closed on the ledger: locks to be proven there, and then nothing. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/machine.h"

/* Every lock that the own stream has, or took out since the peer acknowledged, in the order of ids. */
struct once_pending {
    struct pending_lock *locks;
    size_t count, capacity;
};

static void once_add(struct once_pending *all, const struct pending_lock *pending)
{
    if (all->count == all->capacity) {
        all->capacity = all->capacity == 0 ? 16 : 2 * all->capacity;
        all->locks = xrealloc(all->locks, all->capacity * sizeof(*all->locks));
    }
    all->locks[all->count++] = *pending;
}

static int compare_ids(const void *left, const void *right)
{
    const struct pending_lock *a = left, *b = right;
    return (a->lock.id > b->lock.id) - (a->lock.id < b->lock.id);
}

/* As they were before the updates above `nonce` took locks out. */
static struct once_pending pending_after(const struct channel *channel, uint64_t nonce)
{
    const struct stream *own = &channel->streams[channel->self];
    struct once_pending all = {0};
    for (const struct pending_lock *at = lock_set_next(own->locks, 0); at != NULL;
         at = lock_set_next(own->locks, at->lock.id))
        once_add(&all, at);
    while (nonce < own->proof.nonce) {
        const struct kept_update *kept = channel_kept(channel, ++nonce);
        for (size_t i = 0; i < kept->removed_count; i++)
            once_add(&all, &(struct pending_lock){.lock = kept->removed[i]});
    }
    if (all.count > 0)
        qsort(all.locks, all.count, sizeof(*all.locks), compare_ids);
    return all;
}

/* Ids grow: a proof's locks are the first of those that were not taken out before it. NULL: none of them gives the
 * root. */
static struct lock_set *first_with_root(const struct once_pending *all, const struct hash *root)
{
    struct lock_set *set = lock_set_new();
    for (size_t i = 0; i < all->count; i++) {
        if (!lock_set_add(set, &all->locks[i]))
            break;
        struct hash now = lock_set_root(set);
        if (hash_equal(&now, root))
            return set;
    }
    lock_set_free(set);
    return NULL;
}

struct lock_set *channel_own_locks_at(const struct channel *channel, const struct hash *root)
{
    const struct stream *own = &channel->streams[channel->self];
    ensure(channel->draft == NULL);
    for (uint64_t nonce = own->proof.nonce;; nonce--) {
        bool is_newest = nonce == own->proof.nonce;
        const struct kept_update *kept = is_newest ? NULL : channel_kept(channel, nonce);
        const struct hash *shown = is_newest      ? &own->proof.locks_root
                                   : kept == NULL ? NULL
                                                  : &kept->proof.locks_root;
        /* Of the one that was acknowledged last the root is not known any more. */
        if (shown == NULL || hash_equal(shown, root)) {
            struct once_pending all = pending_after(channel, nonce);
            struct lock_set *set = first_with_root(&all, root);
            free(all.locks);
            if (set != NULL || nonce <= channel->acknowledged)
                return set;
        }
        if (nonce <= channel->acknowledged)
            return NULL;
    }
}

void channel_let_go(struct channel *channel)
{
    ensure(channel->funds.stage == STAGE_CLOSED && channel->draft == NULL);
    for (unsigned side = 0; side < 2; side++) {
        struct stream *stream = &channel->streams[side];
        for (const struct pending_lock *at = lock_set_next(stream->locks, 0); at != NULL;
             at = lock_set_next(stream->locks, at->lock.id))
            mark_place(channel, (enum side)side, at->lock.id);
        lock_set_free(stream->locks);
        stream->locks = NULL;
        dropped_free(stream->dropped);
        stream->dropped = NULL;
        channel->stream_dirty[side] = channel->stream_dirty[side] || stream->proof.nonce > 0;
    }
    if (channel->acknowledged < channel_own(channel)->proof.nonce)
        kept_forget(channel, channel_own(channel)->proof.nonce);
    free(channel->peer_key);
    channel->peer_key = NULL;
    channel->dirty = true;
    channel_check(channel);
}
