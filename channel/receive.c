/* The peer's stream: judging an update in section 5's order, and promising that dropped locks are void. */
#include <string.h>

#include "base/ensure.h"
#include "channel/internal.h"

/* An update being judged: what has been applied to the locks and must be undone if it is refused. */
struct trial {
    struct channel *channel;
    struct stream *stream;
    const struct operation *operations;
    struct pending_lock *touched;
    size_t applied;
    uint64_t last_lock_id;
    struct totals totals;
    struct amount dropped;
    bool locks_changed;
};

static void undo(struct trial *trial)
{
    while (trial->applied > 0) {
        const struct operation *operation = &trial->operations[--trial->applied];
        const struct pending_lock *lock = &trial->touched[trial->applied];
        if (operation->type == OPERATION_LOCK)
            ensure(lock_set_remove(trial->stream->locks, lock->lock.id));
        else if (operation->type == OPERATION_UNLOCK || operation->type == OPERATION_EXPIRE ||
                 operation->type == OPERATION_CANCEL)
            ensure(lock_set_add(trial->stream->locks, lock));
    }
    trial->stream->last_lock_id = trial->last_lock_id;
}

static enum code apply(struct trial *trial, const struct effect *effect)
{
    struct totals *totals = &trial->totals;
    if (!amount_add(totals->transferred, effect->transferred_plus, &totals->transferred))
        return CODE_TRANSFERRED;
    if (!amount_add(totals->locked, effect->locked_plus, &totals->locked) ||
        !amount_add(totals->frozen, effect->dropped, &totals->frozen))
        return CODE_LOCKED;
    ensure(amount_subtract(totals->locked, effect->locked_minus, &totals->locked));
    ensure(amount_add(trial->dropped, effect->dropped, &trial->dropped));
    if (effect->adds_lock) {
        ensure(lock_set_add(stream_locks(trial->stream), &effect->lock));
        trial->stream->last_lock_id = effect->lock.lock.id;
    } else if (effect->removes_lock) {
        ensure(lock_set_remove(trial->stream->locks, effect->lock.lock.id));
    }
    trial->locks_changed = trial->locks_changed || effect->adds_lock || effect->removes_lock;
    trial->touched[trial->applied++] = effect->lock;
    return CODE_OK;
}

static enum code apply_all(struct trial *trial, const struct channel_view *view, size_t count, bool *held)
{
    for (size_t i = 0; i < count; i++) {
        struct effect effect;
        enum code code = operation_effect(view, trial->stream, false, &trial->operations[i], &effect, held);
        if (code == CODE_OK)
            code = apply(trial, &effect);
        if (code != CODE_OK)
            return code;
    }
    return CODE_OK;
}

/* Ends >= 0 or no lower than it was, with the own newest signed proof. A client whose node lags behind the hub's word
 * holds what that word would allow. */
static enum code available_rule(const struct trial *trial, bool *held)
{
    const struct channel *channel = trial->channel;
    enum side sender = side_other(channel->self);
    struct amount own_transferred = channel->streams[channel->self].proof.transferred;
    struct totals before = totals_peer(channel);
    wide after = available_with(channel, &channel->funds, sender, &trial->totals, own_transferred);
    if (after >= 0 || after >= available_with(channel, &channel->funds, sender, &before, own_transferred))
        return CODE_OK;
    *held = available_with(channel, &channel->told, sender, &trial->totals, own_transferred) >= 0;
    return CODE_AVAILABLE;
}

static enum code sums_rule(struct trial *trial, const struct balance_proof *proof, bool *held)
{
    if (amount_compare(proof->transferred, trial->totals.transferred) != 0)
        return CODE_TRANSFERRED;
    if (amount_compare(proof->locked, trial->totals.locked) != 0)
        return CODE_LOCKED;
    struct hash root = trial->locks_changed ? lock_set_root(trial->stream->locks) : trial->stream->proof.locks_root;
    if (!hash_equal(&root, &proof->locks_root))
        return CODE_ROOT;
    return available_rule(trial, held);
}

static void accept(struct trial *trial, const struct update *update)
{
    struct channel *channel = trial->channel;
    struct stream *stream = trial->stream;
    stream->proof = update->proof;
    stream->signature = update->signature;
    stream->locked = trial->totals.locked;
    stream_add_drop(stream, update->proof.nonce, trial->dropped);
    for (size_t i = 0; i < trial->applied; i++) {
        enum operation_type type = trial->operations[i].type;
        if (type != OPERATION_PAY && type != OPERATION_REFUND)
            mark_place(channel, side_other(channel->self), trial->touched[i].lock.id);
    }
    channel->dirty = true;
    channel_assert(channel);
}

static bool proof_equal(const struct balance_proof *a, const struct balance_proof *b)
{
    return a->nonce == b->nonce && amount_compare(a->transferred, b->transferred) == 0 &&
           amount_compare(a->locked, b->locked) == 0 && hash_equal(&a->locks_root, &b->locks_root) &&
           hash_equal(&a->body_hash, &b->body_hash);
}

static struct judgement refused(enum code code, size_t operation)
{
    return (struct judgement){VERDICT_REFUSED, code, operation};
}

struct judgement channel_receive(struct channel *channel, const struct channel_view *view, const struct update *update,
                                 const struct operation *operations, size_t count, bool body_ok,
                                 struct pending_lock *touched)
{
    struct stream *stream = channel_peer(channel);
    if (channel->stopped || (channel->funds.stage != STAGE_OPEN && channel->told.stage != STAGE_OPEN))
        return refused(CODE_STATUS, 0);
    if (channel->funds.stage == STAGE_NONE)
        return (struct judgement){VERDICT_HELD, CODE_STATUS, 0}; /* the own node has not seen it open yet */
    if (channel->funds.stage != STAGE_OPEN)
        return refused(CODE_STATUS, 0);
    if (stream->proof.nonce > 0 && proof_equal(&stream->proof, &update->proof))
        return (struct judgement){VERDICT_AGAIN, CODE_OK, 0};
    if (update->proof.nonce != stream->proof.nonce + 1)
        return refused(CODE_NONCE, 0);
    if (!body_ok || count == 0 || count > OPERATIONS_MAX)
        return refused(CODE_BODY, 0);
    struct hash digest = digest_balance_proof(view->domain, &channel->id, &update->proof);
    if (!peer_signed(channel, view, &update->signature, &digest))
        return refused(CODE_SIGNATURE, 0);

    struct trial trial = {.channel = channel,
                          .stream = stream,
                          .operations = operations,
                          .touched = touched,
                          .last_lock_id = stream->last_lock_id,
                          .totals = totals_peer(channel)};
    bool held = false;
    enum code code = apply_all(&trial, view, count, &held);
    size_t at = trial.applied;
    if (code == CODE_OK)
        code = sums_rule(&trial, &update->proof, &held);
    if (code == CODE_OK) {
        accept(&trial, update);
        return (struct judgement){VERDICT_ACCEPTED, CODE_OK, 0};
    }
    undo(&trial);
    return (struct judgement){held ? VERDICT_HELD : VERDICT_REFUSED, code, at};
}

uint64_t channel_revocation_due(const struct channel *channel)
{
    const struct stream *stream = &channel->streams[side_other(channel->self)];
    return stream->drop_count == 0 ? 0 : stream->drops[stream->drop_count - 1].nonce;
}

struct signature channel_revoke(struct channel *channel, const struct domain *domain, const struct secret_key *key,
                                uint64_t min_nonce)
{
    struct stream *stream = channel_peer(channel);
    ensure(min_nonce > stream->revoked_nonce && min_nonce <= stream->proof.nonce);
    struct hash digest = digest_revocation(domain, &channel->id, min_nonce);
    stream->revocation = key_sign(key, &digest);
    stream->revoked_nonce = min_nonce;
    stream_free_drops(stream, min_nonce);
    channel->dirty = true;
    return stream->revocation;
}

bool channel_mark_failed(struct channel *channel, const struct payment_id *payment)
{
    enum side side = side_other(channel->self);
    struct pending_lock *pending = channel_find_payment(channel, side, payment);
    if (pending == NULL)
        return false;
    pending->failed = true;
    mark_place(channel, side, pending->lock.id);
    return true;
}
