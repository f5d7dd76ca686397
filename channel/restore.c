/* A wallet that lost its disk takes the newest streams that hub and towers can show, and believes no one: every
 * signature is checked, its own included, and the locks against sum and root. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/internal.h"

static enum code check_locks(const struct balance_proof *proof, struct lock_set *set,
                             const struct pending_lock *locks, size_t count)
{
    struct amount sum = {0};
    for (size_t i = 0; i < count; i++)
        if (!amount_add(sum, locks[i].lock.amount, &sum) || !lock_set_add(set, &locks[i]))
            return CODE_LOCKED;
    if (amount_compare(sum, proof->locked) != 0)
        return CODE_LOCKED;
    struct hash root = lock_set_root(set);
    return hash_equal(&root, &proof->locks_root) ? CODE_OK : CODE_ROOT;
}

static bool revocation_is_good(const struct channel *channel, const struct channel_view *view, enum side side,
                               const struct address *signer, const struct stream *shown)
{
    if (shown->revoked_nonce == 0)
        return true;
    /* The stream's receiver signs it: the other party than the stream's signer. */
    const struct address *client = &channel->key.client;
    const struct address *hub = address_equal(&view->peer, client) ? signer : &view->peer;
    const struct address *receiver = side == SIDE_CLIENT ? hub : client;
    struct hash digest = digest_revocation(view->domain, &channel->id, shown->revoked_nonce);
    return shown->revoked_nonce <= shown->proof.nonce && signature_is_by(&shown->revocation, &digest, receiver);
}

enum code channel_restore_stream(struct channel *channel, const struct channel_view *view, enum side side,
                                 const struct address *signer, const struct stream *shown,
                                 const struct pending_lock *locks, size_t lock_count)
{
    struct stream *stream = &channel->streams[side];
    if (shown->proof.nonce <= stream->proof.nonce)
        return CODE_NONCE;
    struct hash digest = digest_balance_proof(view->domain, &channel->id, &shown->proof);
    if (!signature_is_by(&shown->signature, &digest, signer) ||
        !revocation_is_good(channel, view, side, signer, shown))
        return CODE_SIGNATURE;
    if (shown->proof.transferred.units >= AMOUNT_LIMIT || shown->drop_count > DROPS_MAX)
        return CODE_TRANSFERRED;
    struct lock_set *set = lock_set_new();
    enum code code = check_locks(&shown->proof, set, locks, lock_count);
    if (code != CODE_OK) {
        lock_set_free(set);
        return code;
    }
    lock_set_free(stream->locks);
    stream->locks = set;
    stream->proof = shown->proof;
    stream->signature = shown->signature;
    stream->locked = shown->proof.locked;
    stream->last_lock_id = shown->last_lock_id;
    for (size_t i = 0; i < lock_count; i++)
        if (locks[i].lock.id > stream->last_lock_id)
            stream->last_lock_id = locks[i].lock.id;
    stream->revoked_nonce = shown->revoked_nonce;
    stream->revocation = shown->revocation;
    stream->drop_count = 0;
    stream->frozen = amount_of(0);
    for (size_t i = 0; i < shown->drop_count; i++)
        if (shown->drops[i].nonce > stream->revoked_nonce)
            stream_add_drop(stream, shown->drops[i].nonce, shown->drops[i].amount);
    if (side == channel->self) {
        /* The hub has it, so nothing before it needs resending. */
        for (size_t i = 0; channel->kept != NULL && i < UNACKNOWLEDGED_MAX; i++)
            kept_clear(&channel->kept[i]);
        free(channel->kept);
        channel->kept = NULL;
        channel->acknowledged = stream->proof.nonce;
        channel->written_nonce = stream->proof.nonce;
    }
    channel_write_all(channel);
    channel_assert(channel);
    return CODE_OK;
}
