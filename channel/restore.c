/* A wallet that lost its disk takes its streams from what the hub or a tower shows, and trusts only
 * signatures. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/machine.h"

static const struct address *address_of(const struct channel *channel, const struct channel_view *view,
                                        enum side side)
{
    return side == SIDE_CLIENT ? &channel->key.client : &view->peer;
}

static bool are_signed(const struct channel *channel, const struct channel_view *view, enum side side,
                       const struct address *signer, const struct stream *shown)
{
    struct hash digest = digest_balance_proof(view->domain, &channel->id, &shown->proof);
    if (!signature_is_by(&shown->signature, &digest, signer))
        return false;
    const struct dropped *dropped = stream_dropped(shown);
    if (dropped->revoked_nonce == 0)
        return true;
    digest = digest_revocation(view->domain, &channel->id, dropped->revoked_nonce);
    return signature_is_by(&dropped->revocation, &digest, address_of(channel, view, side_other(side)));
}

/* Takes the locks into the stream. ROOT: two in one place, or not those the proof commits to. */
static enum code take_locks(struct stream *stream, const struct pending_lock *locks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!amount_add(stream->locked, locks[i].lock.amount, &stream->locked))
            return CODE_LOCKED;
        if (stream->locks == NULL)
            stream->locks = lock_set_new();
        if (locks[i].lock.id == 0 || locks[i].lock.kind > LOCK_ATTESTATION ||
            !lock_set_add(stream->locks, &locks[i]))
            return CODE_ROOT;
        if (locks[i].lock.id > stream->last_lock_id)
            stream->last_lock_id = locks[i].lock.id;
    }
    if (stream->locked.units != stream->proof.locked.units)
        return CODE_LOCKED;
    struct hash root = lock_set_root(stream->locks);
    return hash_equal(&root, &stream->proof.locks_root) ? CODE_OK : CODE_ROOT;
}

/* Drops come unsigned: they must at least be in order and no newer than the proof. */
static enum code take_drops(struct stream *stream, const struct dropped *shown)
{
    uint64_t last = 0;
    for (size_t i = 0; i < shown->drop_count; i++) {
        const struct drop *drop = &shown->drops[i];
        struct amount sum;
        if (drop->nonce <= last || drop->nonce > stream->proof.nonce)
            return CODE_MALFORMED;
        last = drop->nonce;
        if (drop->nonce <= stream_dropped(stream)->revoked_nonce)
            continue;
        if (!amount_add(stream_dropped(stream)->frozen, drop->amount, &sum))
            return CODE_LOCKED;
        stream_add_drop(stream, drop->nonce, drop->amount);
    }
    return CODE_OK;
}

static enum code stream_build(struct stream *stream, const struct stream *shown, const struct stream *old,
                              const struct pending_lock *locks, size_t lock_count)
{
    const struct dropped *revoked = stream_dropped(shown);
    if (revoked->revoked_nonce < stream_dropped(old)->revoked_nonce)
        revoked = stream_dropped(old);
    stream->proof = shown->proof;
    stream->signature = shown->signature;
    stream->last_lock_id = shown->last_lock_id;
    if (revoked->revoked_nonce > 0)
        stream_set_revoked(stream, revoked->revoked_nonce, &revoked->revocation);
    enum code code = take_locks(stream, locks, lock_count);
    return code != CODE_OK ? code : take_drops(stream, stream_dropped(shown));
}

/* A FAIL once said stays said; what is shown does not tell of it. */
static void carry_failed(struct stream *stream, const struct stream *old)
{
    const struct pending_lock *at = NULL;
    while ((at = lock_set_next(old->locks, at == NULL ? 0 : at->lock.id)) != NULL) {
        struct pending_lock *same = stream->locks == NULL ? NULL : lock_set_find(stream->locks, at->lock.id);
        if (same != NULL)
            same->failed = same->failed || at->failed;
    }
}

static void mark_all_places(struct channel *channel, enum side side)
{
    const struct lock_set *locks = channel->streams[side].locks;
    for (struct pending_lock *at = lock_set_next(locks, 0); at != NULL;
         at = lock_set_next(locks, at->lock.id))
        mark_place(channel, side, at->lock.id);
}

enum code channel_restore_stream(struct channel *channel, const struct channel_view *view, enum side side,
                                 const struct address *signer, const struct stream *shown,
                                 const struct pending_lock *locks, size_t lock_count)
{
    ensure(channel->self == SIDE_CLIENT);
    struct stream *stream = &channel->streams[side];
    if (stream_dropped(shown)->revoked_nonce > shown->proof.nonce)
        return CODE_MALFORMED;
    if (shown->proof.nonce <= stream->proof.nonce)
        return CODE_NONCE;
    if (!are_signed(channel, view, side, signer, shown))
        return CODE_SIGNATURE;
    if (shown->proof.transferred.units >= AMOUNT_LIMIT ||
        amount_compare(shown->proof.transferred, stream->proof.transferred) < 0)
        return CODE_TRANSFERRED;
    struct stream built = {0};
    enum code code = stream_build(&built, shown, stream, locks, lock_count);
    if (code != CODE_OK) {
        stream_clear(&built);
        return code;
    }
    if (side == channel->self) {
        channel_drop_draft(channel);
        kept_forget(channel, stream->proof.nonce); /* superseded by what the peer has */
        channel->acknowledged = channel->written_nonce = built.proof.nonce;
    }
    carry_failed(&built, stream);
    mark_all_places(channel, side); /* the old ones go, the new ones come */
    stream_clear(stream);
    *stream = built;
    mark_all_places(channel, side);
    channel->stream_dirty[side] = true;
    mark_begun(channel, side);
    channel_check(channel);
    return CODE_OK;
}
