/* The rules of one operation (protocol.md, sections 3 and 4), the same for who sends it and who judges it. */
#include <string.h>

#include "base/ensure.h"
#include "channel/internal.h"

static uint64_t registered(const struct channel_view *view, const struct lock *lock)
{
    return view->registered_at == NULL ? 0 : view->registered_at(view->context, lock->kind, &lock->condition);
}

static bool registered_in_time(const struct channel_view *view, const struct lock *lock)
{
    uint64_t time = registered(view, lock);
    return time != 0 && time <= lock->expiry;
}

static enum code unlock_rule(const struct channel_view *view, const struct operation *operation,
                             const struct lock *lock)
{
    if (operation->witness.length == 0)
        return registered_in_time(view, lock) ? CODE_OK : CODE_WITNESS;
    return witness_meets(&operation->witness, lock->kind, &lock->condition, view->domain) ? CODE_OK : CODE_WITNESS;
}

/* Expired: a confirmed block's time > expiry and nothing registered by then. A receiver whose node lags by less than
 * the margin holds the update. */
static enum code expire_rule(const struct channel_view *view, bool is_sender, const struct lock *lock, bool *held)
{
    if (registered_in_time(view, lock))
        return CODE_NOT_EXPIRED;
    if (view->now > lock->expiry)
        return CODE_OK;
    if (!is_sender && lock->expiry < view->now + view->reveal_margin_s)
        *held = true;
    return CODE_NOT_EXPIRED;
}

static enum code dropping_effect(const struct channel_view *view, bool is_sender, const struct operation *operation,
                                 struct effect *effect, bool *held)
{
    enum code code = operation->type == OPERATION_EXPIRE ? expire_rule(view, is_sender, &effect->lock.lock, held)
                     : effect->lock.failed               ? CODE_OK
                                                         : CODE_NOT_FAILED;
    effect->dropped = effect->lock.lock.amount;
    return code;
}

enum code operation_effect(const struct channel_view *view, const struct stream *stream, bool is_sender,
                           const struct operation *operation, struct effect *effect, bool *held)
{
    memset(effect, 0, sizeof(*effect));
    switch (operation->type) {
    case OPERATION_PAY:
        return amount_add(operation->amount, operation->fee, &effect->transferred_plus) ? CODE_OK
                                                                                        : CODE_TRANSFERRED;
    case OPERATION_REFUND:
        effect->transferred_plus = operation->amount;
        return operation->amount.units < AMOUNT_LIMIT ? CODE_OK : CODE_TRANSFERRED;
    case OPERATION_LOCK:
        if (!amount_add(operation->amount, operation->fee, &effect->locked_plus))
            return CODE_LOCKED;
        if (operation->lock_id <= stream->last_lock_id ||
            lock_set_at(stream->locks, (unsigned)(operation->lock_id % LOCKS_PER_STREAM_MAX)) != NULL)
            return CODE_LOCK_ID;
        effect->adds_lock = true;
        effect->lock = (struct pending_lock){
            .lock = {operation->lock_id, effect->locked_plus, operation->expiry, operation->kind, operation->condition},
            .payment = operation->id,
            .peer = operation->peer,
            .fee = operation->fee,
        };
        return CODE_OK;
    case OPERATION_UNLOCK:
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL: {
        const struct pending_lock *pending = lock_set_find(stream->locks, operation->lock_id);
        if (pending == NULL)
            return CODE_NO_LOCK;
        effect->removes_lock = true;
        effect->lock = *pending;
        effect->locked_minus = pending->lock.amount;
        if (operation->type != OPERATION_UNLOCK)
            return dropping_effect(view, is_sender, operation, effect, held);
        effect->transferred_plus = pending->lock.amount;
        return unlock_rule(view, operation, &pending->lock);
    }
    }
    return CODE_BODY;
}
