/* What the operations of an update do to a stream, alike for the side that sends it and the side that judges
 * it. */
#include "channel/machine.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/planted.h"

bool operation_changes_locks(const struct operation *operation)
{
    return operation->type != OPERATION_PAY && operation->type != OPERATION_REFUND;
}

static void locks_add(struct stream *stream, const struct pending_lock *pending)
{
    if (stream->locks == NULL)
        stream->locks = lock_set_new();
    ensure(lock_set_add(stream->locks, pending));
}

static void locks_remove(struct stream *stream, uint64_t id)
{
    ensure(lock_set_remove(stream->locks, id));
    if (lock_set_count(stream->locks) == 0) {
        lock_set_free(stream->locks);
        stream->locks = NULL;
    }
}

static enum code apply_payment(struct progress *progress, struct amount amount, struct amount fee)
{
    struct amount moved;
    if (!amount_add(amount, fee, &moved) || !amount_add(progress->transferred, moved, &progress->transferred))
        return CODE_TRANSFERRED;
    return CODE_OK;
}

static enum code apply_lock(struct stream *stream, struct progress *progress,
                            const struct operation *operation, struct pending_lock *touched)
{
    struct pending_lock pending = {
        .lock = {.id = operation->lock_id,
                 .expiry = operation->expiry,
                 .kind = operation->kind,
                 .condition = operation->condition},
        .payment = operation->id,
        .peer = operation->peer,
        .fee = operation->fee,
    };
    if (operation->kind > LOCK_ATTESTATION)
        return CODE_BODY;
    if (operation->lock_id <= progress->last_lock_id ||
        lock_set_at(stream->locks, operation->lock_id % LOCKS_PER_STREAM_MAX) != NULL)
        return CODE_LOCK_ID;
    if (!amount_add(operation->amount, operation->fee, &pending.lock.amount) ||
        !amount_add(progress->locked, pending.lock.amount, &progress->locked))
        return CODE_LOCKED;
    progress->last_lock_id = operation->lock_id;
    locks_add(stream, &pending);
    *touched = pending;
    return CODE_OK;
}

static uint64_t registered_at(const struct channel_view *view, const struct lock *lock)
{
    return view->registered_at(view->context, lock->kind, &lock->condition);
}

static bool registered_in_time(const struct channel_view *view, const struct lock *lock)
{
    uint64_t at = registered_at(view, lock);
    return at > 0 && at <= lock->expiry;
}

static enum code hold(struct progress *progress, enum code code)
{
    if (!progress->held)
        progress->held_code = code;
    progress->held = true;
    return CODE_OK;
}

/* A registration that counts is in a view as soon as the view is past the expiry; until then it may be seen
 * yet. */
static enum code judge_registration(struct progress *progress, const struct channel_view *view,
                                    const struct lock *lock, bool lenient)
{
    if (registered_in_time(view, lock))
        return CODE_OK;
    if (!lenient || view->now > lock->expiry || registered_at(view, lock) != 0)
        return CODE_WITNESS;
    return hold(progress, CODE_WITNESS);
}

static enum code judge_unlock(struct progress *progress, const struct channel_view *view,
                              const struct witness *witness, const struct lock *lock, bool lenient)
{
    enum code code = CODE_OK;
    if (witness->length == 0)
        code = judge_registration(progress, view, lock, lenient);
    else if (!witness_meets(witness, lock->kind, &lock->condition, view->domain))
        code = CODE_WITNESS;
    if (code != CODE_OK)
        return code;
    return amount_add(progress->transferred, lock->amount, &progress->transferred) ? CODE_OK
                                                                                   : CODE_TRANSFERRED;
}

static enum code judge_expire(struct progress *progress, const struct channel_view *view,
                              const struct lock *lock, bool lenient)
{
    if (registered_in_time(view, lock))
        return CODE_NOT_EXPIRED;
    if (view->now > lock->expiry ||
        (PLANTED(EXPIRY_EARLY) && view->now + view->reveal_margin_s > lock->expiry))
        return CODE_OK;
    if (!lenient || lock->expiry - view->now >= view->reveal_margin_s)
        return CODE_NOT_EXPIRED;
    return hold(progress, CODE_NOT_EXPIRED);
}

static enum code judge_drop(struct progress *progress, const struct lock *lock)
{
    if (!amount_add(progress->frozen, lock->amount, &progress->frozen) ||
        !amount_add(progress->dropped, lock->amount, &progress->dropped))
        return CODE_LOCKED;
    progress->drops = true;
    return CODE_OK;
}

static enum code judge_removal(struct progress *progress, const struct channel_view *view,
                               const struct operation *operation, const struct pending_lock *pending,
                               bool lenient)
{
    if (operation->type == OPERATION_UNLOCK)
        return judge_unlock(progress, view, &operation->witness, &pending->lock, lenient);
    enum code code = CODE_OK;
    if (operation->type == OPERATION_EXPIRE)
        code = judge_expire(progress, view, &pending->lock, lenient);
    else if (!pending->failed)
        code = CODE_NOT_FAILED;
    return code != CODE_OK ? code : judge_drop(progress, &pending->lock);
}

static enum code apply_removal(struct stream *stream, struct progress *progress,
                               const struct channel_view *view, const struct operation *operation,
                               struct pending_lock *touched, bool lenient)
{
    const struct pending_lock *pending = lock_set_find(stream->locks, operation->lock_id);
    if (pending == NULL)
        return CODE_NO_LOCK;
    enum code code = judge_removal(progress, view, operation, pending, lenient);
    if (code != CODE_OK)
        return code;
    ensure(amount_subtract(progress->locked, pending->lock.amount, &progress->locked));
    *touched = *pending;
    locks_remove(stream, operation->lock_id);
    return CODE_OK;
}

static enum code apply(struct stream *stream, struct progress *progress, const struct channel_view *view,
                       const struct operation *operation, struct pending_lock *touched, bool lenient)
{
    switch (operation->type) {
    case OPERATION_PAY:
        return apply_payment(progress, operation->amount,
                             PLANTED(FEE_NOT_BOOKED) ? amount_of(0) : operation->fee);
    case OPERATION_REFUND:
        return apply_payment(progress, operation->amount, amount_of(0));
    case OPERATION_LOCK:
        return apply_lock(stream, progress, operation, touched);
    case OPERATION_UNLOCK:
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        return apply_removal(stream, progress, view, operation, touched, lenient);
    }
    return CODE_BODY;
}

wide progress_fall(const struct progress *before, const struct progress *after)
{
    return (wide)after->transferred.units - before->transferred.units + after->locked.units -
           before->locked.units + after->frozen.units - before->frozen.units;
}

enum code stream_apply(struct stream *stream, struct progress *progress, const struct channel_view *view,
                       const struct operation *operation, struct pending_lock *touched, bool lenient)
{
    struct progress before = *progress;
    enum code code = apply(stream, progress, view, operation, touched, lenient);
    if (code != CODE_OK)
        *progress = before;
    return code;
}

void stream_undo(struct stream *stream, const struct operation *operation, const struct pending_lock *touched)
{
    if (operation->type == OPERATION_LOCK)
        locks_remove(stream, touched->lock.id);
    else if (operation_changes_locks(operation))
        locks_add(stream, touched);
}

/* ---- drops, and what was revoked ---- */

static struct dropped *dropped_of(struct stream *stream)
{
    if (stream->dropped == NULL)
        stream->dropped = xcalloc(1, sizeof(*stream->dropped));
    return stream->dropped;
}

void dropped_free(struct dropped *dropped)
{
    if (dropped != NULL)
        free(dropped->drops);
    free(dropped);
}

void stream_set_revoked(struct stream *stream, uint64_t nonce, const struct signature *revocation)
{
    struct dropped *dropped = dropped_of(stream);
    dropped->revoked_nonce = nonce;
    dropped->revocation = *revocation;
}

void stream_add_drop(struct stream *stream, uint64_t nonce, struct amount amount)
{
    struct dropped *dropped = dropped_of(stream);
    if (dropped->drop_count == dropped->drop_capacity) {
        dropped->drop_capacity = dropped->drop_capacity == 0 ? 4 : 2 * dropped->drop_capacity;
        dropped->drops = xrealloc(dropped->drops, dropped->drop_capacity * sizeof(*dropped->drops));
    }
    dropped->drops[dropped->drop_count++] = (struct drop){nonce, amount};
    ensure(amount_add(dropped->frozen, amount, &dropped->frozen));
}

struct amount stream_free_drops(struct stream *stream, uint64_t min_nonce)
{
    struct dropped *dropped = stream->dropped;
    struct amount freed = amount_of(0);
    if (dropped == NULL)
        return freed;
    size_t count = 0;
    for (; count < dropped->drop_count && dropped->drops[count].nonce <= min_nonce; count++)
        ensure(amount_add(freed, dropped->drops[count].amount, &freed));
    ensure(amount_subtract(dropped->frozen, freed, &dropped->frozen));
    dropped->drop_count -= count;
    for (size_t i = 0; i < dropped->drop_count; i++)
        dropped->drops[i] = dropped->drops[i + count];
    if (dropped->drop_count == 0) {
        free(dropped->drops);
        dropped->drops = NULL;
        dropped->drop_capacity = 0;
    }
    return freed;
}
