/* The peer's stream: judging an update, and answering what it dropped. The update's operations are applied to
 * the pending locks in place and taken back if a rule is broken; everything else changes only once the update
 * is good. */
#include <string.h>

#include "base/ensure.h"
#include "channel/machine.h"

static bool is_same_update(const struct stream *peer, const struct update *update)
{
    const struct balance_proof *a = &peer->proof, *b = &update->proof;
    return a->nonce == b->nonce && a->transferred.units == b->transferred.units &&
           a->locked.units == b->locked.units && hash_equal(&a->locks_root, &b->locks_root) &&
           hash_equal(&a->body_hash, &b->body_hash) && signature_equal(&peer->signature, &update->signature);
}

static struct judgement refused(enum code code)
{
    return (struct judgement){.verdict = VERDICT_REFUSED, .code = code};
}

static struct judgement held(enum code code)
{
    return (struct judgement){.verdict = VERDICT_HELD, .code = code};
}

/* A client whose node has not seen yet that the hub, by its own word, has opened the channel. */
static bool opens_soon(const struct channel *channel)
{
    return channel->self == SIDE_CLIENT && !channel->stopped && channel->funds.stage == STAGE_NONE &&
           channel->told.stage == STAGE_OPEN;
}

/* Status, nonce, body, signature: all that can be said without looking at the operations. ACCEPTED: go on. */
static struct judgement judge_envelope(struct channel *channel, const struct channel_view *view,
                                       const struct update *update, size_t count, bool body_ok)
{
    const struct stream *peer = channel_peer(channel);
    if (!channel_accepts(channel))
        return opens_soon(channel) ? held(CODE_STATUS) : refused(CODE_STATUS);
    if (update->proof.nonce > 0 && is_same_update(peer, update))
        return (struct judgement){.verdict = VERDICT_AGAIN};
    if (update->proof.nonce <= peer->proof.nonce || update->proof.nonce - peer->proof.nonce != 1)
        return refused(CODE_NONCE);
    if (!body_ok || count == 0 || count > OPERATIONS_MAX)
        return refused(CODE_BODY);
    struct hash digest = digest_balance_proof(view->domain, &channel->id, &update->proof);
    if (!peer_signed(channel, view, &digest, &update->signature))
        return refused(CODE_SIGNATURE);
    return (struct judgement){.verdict = VERDICT_ACCEPTED, .digest = digest};
}

/* Does the sender's available amount end at zero or above, or no lower than it was? */
static bool is_covered(struct channel *channel, const struct channel_funds *funds,
                       const struct progress *progress)
{
    struct stream *peer = channel_peer(channel);
    enum side sender = side_other(channel->self);
    struct progress own = stream_progress(channel_own(channel)), was = stream_progress(peer);
    wide before = available_by(channel, sender, funds, &own);
    wide fall = progress_fall(&was, progress);
    return fall <= 0 || before >= fall;
}

/* What the proof must say after the operations. */
static struct judgement judge_result(struct channel *channel, const struct balance_proof *proof,
                                     const struct progress *progress)
{
    if (proof->transferred.units != progress->transferred.units)
        return refused(CODE_TRANSFERRED);
    if (proof->locked.units != progress->locked.units)
        return refused(CODE_LOCKED);
    struct hash root = lock_set_root(channel_peer(channel)->locks);
    if (!hash_equal(&root, &proof->locks_root))
        return refused(CODE_ROOT);
    if (!is_covered(channel, &channel->funds, progress)) {
        /* A client whose node has not seen yet what the hub counts with. */
        bool lags = channel->self == SIDE_CLIENT && is_covered(channel, &channel->told, progress);
        return lags ? held(CODE_AVAILABLE) : refused(CODE_AVAILABLE);
    }
    if (progress->held)
        return held(progress->held_code);
    if (progress->drops && stream_dropped(channel_peer(channel))->drop_count >= DROPS_MAX)
        return held(CODE_LIMIT);
    return (struct judgement){.verdict = VERDICT_ACCEPTED};
}

static void undo(struct stream *peer, const struct operation *operations, size_t count,
                 const struct pending_lock *touched)
{
    while (count-- > 0)
        if (operation_changes_locks(&operations[count]))
            stream_undo(peer, &operations[count], &touched[count]);
}

/* Takes a good update over; its locks are in place. */
static void accept(struct channel *channel, const struct update *update, const struct progress *progress,
                   const struct operation *operations, size_t count, const struct pending_lock *touched)
{
    struct stream *peer = channel_peer(channel);
    peer->proof = update->proof;
    peer->signature = update->signature;
    peer->last_lock_id = progress->last_lock_id;
    peer->locked = progress->locked;
    if (progress->drops)
        stream_add_drop(peer, update->proof.nonce, progress->dropped);
    ensure(stream_dropped(peer)->frozen.units == progress->frozen.units);
    for (size_t i = 0; i < count; i++)
        if (operation_changes_locks(&operations[i]))
            mark_place(channel, side_other(channel->self), touched[i].lock.id);
    channel->stream_dirty[side_other(channel->self)] = true;
    mark_begun(channel, side_other(channel->self));
    channel_check(channel);
}

struct judgement channel_receive(struct channel *channel, const struct channel_view *view,
                                 const struct update *update, const struct operation *operations,
                                 size_t count, bool body_ok, struct pending_lock *touched)
{
    struct judgement judgement = judge_envelope(channel, view, update, count, body_ok);
    if (judgement.verdict != VERDICT_ACCEPTED)
        return judgement;
    struct stream *peer = channel_peer(channel);
    struct progress progress = stream_progress(peer);
    for (size_t i = 0; i < count; i++) {
        enum code code = stream_apply(peer, &progress, view, &operations[i], &touched[i], true);
        if (code == CODE_OK)
            continue;
        undo(peer, operations, i, touched);
        return (struct judgement){.verdict = VERDICT_REFUSED, .code = code, .operation = i};
    }
    struct judgement result = judge_result(channel, &update->proof, &progress);
    if (result.verdict != VERDICT_ACCEPTED) {
        undo(peer, operations, count, touched);
        return result;
    }
    accept(channel, update, &progress, operations, count, touched);
    return judgement;
}

static bool mark_failed(struct channel *channel, struct pending_lock *pending)
{
    if (pending == NULL)
        return false;
    if (!pending->failed) {
        pending->failed = true;
        mark_place(channel, side_other(channel->self), pending->lock.id);
    }
    return true;
}

bool channel_mark_failed(struct channel *channel, const struct payment_id *payment)
{
    return mark_failed(channel, channel_find_payment(channel, side_other(channel->self), payment));
}

bool channel_mark_lock_failed(struct channel *channel, uint64_t lock_id)
{
    return mark_failed(channel, lock_set_find(channel_peer(channel)->locks, lock_id));
}
