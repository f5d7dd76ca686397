/* Updates: the hub's are judged, kept while the own ledger view lags, and acted on; what waits here is
 * signed. */
#include "wallet/core_state.h"

#include <string.h>

/* ---- receiving ---- */

static void act(struct wallet_core *core, struct wallet_channel *own, const struct operation *operation,
                const struct pending_lock *touched)
{
    switch (operation->type) {
    case OPERATION_PAY:
        wallet_incoming_pay(core, own, operation);
        return;
    case OPERATION_LOCK:
        wallet_incoming_lock(core, own, operation, touched);
        return;
    case OPERATION_UNLOCK:
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        wallet_incoming_lock_gone(core, own, operation, touched);
        return;
    case OPERATION_REFUND:
        wallet_payments_refunded(core, own, operation);
        return;
    }
}

static struct carrier carrier_of(const struct wallet_core *core, uint64_t nonce, const struct hash *digest)
{
    return (struct carrier){.nonce = nonce, .time = core->head.confirmed_time, .digest = *digest};
}

/* The hub says of locks that have run out how they ended: whether they were met is asked of the ledger first, where it is
 * not known. */
static bool asks_ledger(struct wallet_core *core, struct wallet_channel *own,
                        const struct operation *operations, size_t count)
{
    bool asks = false;
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = &operations[i];
        bool rests_on_ledger = operation->type == OPERATION_EXPIRE ||
                               (operation->type == OPERATION_UNLOCK && operation->witness.length == 0);
        const struct pending_lock *lock =
            rests_on_ledger ? lock_set_find(channel_peer(own->channel)->locks, operation->lock_id) : NULL;
        if (lock != NULL && core->head.confirmed_time > lock->lock.expiry &&
            wallet_condition_fate(core, lock->lock.kind, &lock->lock.condition, lock->lock.expiry) ==
                CONDITION_UNKNOWN)
            asks = true;
    }
    return asks;
}

/* Judges one update and acts on it. Returns false if it must wait. */
static bool take(struct wallet_core *core, struct wallet_channel *own, const struct update *update)
{
    const struct operation *operations = NULL;
    size_t count = 0;
    bool body_ok = body_decode(core->decoder, update->body, update->body_length, &operations, &count);
    if (body_ok && asks_ledger(core, own, operations, count))
        return false;
    struct pending_lock *touched = xcalloc(count + 1, sizeof(*touched));
    struct channel_view view = wallet_view(core);
    struct judgement judgement =
        channel_receive(own->channel, &view, update, operations, count, body_ok, touched);
    struct error_reference reference =
        wallet_reference(MESSAGE_UPDATE, &update->channel, update->proof.nonce);
    switch (judgement.verdict) {
    case VERDICT_ACCEPTED:
        core->carrier = carrier_of(core, update->proof.nonce, &judgement.digest);
        for (size_t i = 0; i < count; i++)
            act(core, own, &operations[i], &touched[i]);
        core->carrier = (struct carrier){0};
        /* fall through */
    case VERDICT_AGAIN:
        if (!own->ack_due)
            own->ack_since_ms = core->now_ms;
        own->ack_due = true;
        own->ack_count++;
        break;
    case VERDICT_HELD:
        break;
    case VERDICT_REFUSED:
        wallet_error(core, judgement.code, &reference);
        wallet_trouble(core, own, "the hub's update %llu breaks a rule and was refused: %s",
                       (unsigned long long)update->proof.nonce, code_text(judgement.code));
        break;
    }
    free(touched);
    return judgement.verdict != VERDICT_HELD;
}

static void hold(struct wallet_channel *own, const struct update *update)
{
    struct held_update *held = xcalloc(1, sizeof(*held));
    held->update = *update;
    held->body = xmalloc(update->body_length + 1);
    memcpy(held->body, update->body, update->body_length);
    held->update.body = held->body;
    DL_APPEND(own->held, held);
    own->held_bytes += sizeof(*held) + update->body_length;
}

static void release_held(struct wallet_channel *own, struct held_update *held)
{
    DL_DELETE(own->held, held);
    own->held_bytes -= sizeof(*held) + held->update.body_length;
    free(held->body);
    free(held);
}

void wallet_updates_received(struct wallet_core *core, const struct message *message)
{
    const struct update *update = &message->update;
    struct wallet_channel *own = wallet_channel_by_id(core, &update->channel);
    if (own == NULL || !own->synced) {
        struct error_reference reference =
            wallet_reference(MESSAGE_UPDATE, &update->channel, update->proof.nonce);
        wallet_error(core, CODE_CHANNEL, &reference);
        return;
    }
    if (own->closing_seen || own->channel->stopped) {
        struct error_reference reference =
            wallet_reference(MESSAGE_UPDATE, &update->channel, update->proof.nonce);
        wallet_error(core, CODE_STATUS, &reference);
        return;
    }
    /* Behind one that waits all later ones wait: their turn has not come. */
    if (own->held != NULL || !take(core, own, update))
        hold(own, update);
}

void wallet_updates_retry_held(struct wallet_core *core, struct wallet_channel *own)
{
    own->held_retry = false;
    while (own->held != NULL && take(core, own, &own->held->update))
        release_held(own, own->held);
}

void wallet_updates_drop_held(struct wallet_core *core, struct wallet_channel *own)
{
    (void)core;
    while (own->held != NULL)
        release_held(own, own->held);
}

/* ---- sending ---- */

static bool window_open(const struct wallet_channel *own)
{
    return own->channel->streams[SIDE_CLIENT].proof.nonce - own->channel->acknowledged < UNACKNOWLEDGED_MAX;
}

/* The operation that a payment whose lock must go calls for. */
static struct operation drop_operation(const struct payment_out *payment, const struct pending_lock *lock)
{
    struct operation operation = {.lock_id = payment->lock_id};
    if (payment->state == OUT_UNLOCKING) {
        operation.type = OPERATION_UNLOCK;
        /* Without its secret it is one that the ledger has: that is good without a witness. */
        operation.witness.length = payment->has_secret ? WITNESS_SECRET_BYTES : 0;
        memcpy(operation.witness.bytes, payment->secret, operation.witness.length);
        return operation;
    }
    /* The receiver's FAIL allows `cancel`, whatever the ledger has. Without it, only the expiry frees the lock. */
    operation.type = lock != NULL && lock->failed ? OPERATION_CANCEL : OPERATION_EXPIRE;
    return operation;
}

/* A lock that was met in time cannot be taken back, and the hub would refuse the update for good. */
static bool may_expire(struct wallet_core *core, const struct payment_out *payment)
{
    return wallet_condition_fate(core, LOCK_SECRET, &payment->secret_hash,
                                 wallet_payment_out_ends(core, payment)) == CONDITION_LAPSED;
}

/* It is in the draft: written once that is signed, with what it was signed in. */
static void drafted(struct wallet_core *core, struct payment_out *payment, enum payment_out_state state)
{
    if (core->drafted_count == core->drafted_capacity) {
        core->drafted_capacity = core->drafted_capacity == 0 ? 16 : 2 * core->drafted_capacity;
        core->drafted = xrealloc(core->drafted, core->drafted_capacity * sizeof(struct payment_out *));
    }
    core->drafted[core->drafted_count++] = payment;
    wallet_payment_out_move(core, payment, state);
}

static void write_drafted(struct wallet_core *core, const struct kept_update *signed_in)
{
    struct carrier carrier = carrier_of(core, signed_in->proof.nonce, &signed_in->digest);
    for (size_t i = 0; i < core->drafted_count; i++) {
        struct payment_out *payment = core->drafted[i];
        if (payment->state != OUT_DROPPED)
            payment->carrier = carrier;
        wallet_payment_out_write(core, payment);
    }
    core->drafted_count = 0;
}

/* Payments whose state the draft settles are moved on once it is signed: `nonce` is what it will have. */
static void draft_due(struct wallet_core *core, struct wallet_channel *own, const struct channel_view *view,
                      uint64_t nonce)
{
    struct payment_out *payment, *next;
    DL_FOREACH_SAFE(own->due, payment, next)
    {
        const struct pending_lock *lock = lock_set_find(channel_own(own->channel)->locks, payment->lock_id);
        struct operation operation = drop_operation(payment, lock);
        if (operation.type == OPERATION_EXPIRE && !may_expire(core, payment))
            continue;
        enum code code = channel_add(own->channel, view, &operation, NULL);
        if (code == CODE_LIMIT)
            return;
        if (code != CODE_OK)
            continue; /* not yet: an expiry that is not confirmed, a registration that came in time */
        payment->drop_nonce = nonce;
        drafted(core, payment, payment->state == OUT_UNLOCKING ? OUT_PAID : OUT_DROPPED);
    }
}

static void draft_refunds(struct wallet_core *core, struct wallet_channel *own,
                          const struct channel_view *view)
{
    struct payment_in *payment, *next;
    DL_FOREACH_SAFE(own->refunds, payment, next)
    {
        struct operation operation = {.type = OPERATION_REFUND,
                                      .id = payment->key.id,
                                      .amount = payment->amount,
                                      .code = payment->code};
        enum code code = channel_add(own->channel, view, &operation, NULL);
        if (code != CODE_OK)
            return; /* full, or spent meanwhile: as soon as there is room */
        wallet_payment_in_set(core, payment, IN_REFUNDED);
    }
    DL_FOREACH_SAFE2(own->repeats, payment, next, repeat_next)
    {
        struct operation operation = {.type = OPERATION_REFUND,
                                      .id = payment->key.id,
                                      .amount = payment->repeated,
                                      .code = CODE_DUPLICATE};
        if (channel_add(own->channel, view, &operation, NULL) != CODE_OK)
            return;
        DL_DELETE2(own->repeats, payment, repeat_prev, repeat_next);
        payment->repeated = amount_of(0);
        wallet_payment_in_write(core, payment);
    }
}

static void draft_payments(struct wallet_core *core, struct wallet_channel *own,
                           const struct channel_view *view)
{
    if (own->wish.active && own->wish.close)
        return;
    struct payment_out *payment, *next;
    DL_FOREACH_SAFE(own->waiting, payment, next)
    {
        struct operation operation;
        enum code code = wallet_payment_out_prepare(core, payment, &operation);
        struct pending_lock added;
        if (code == CODE_OK)
            code = channel_add(own->channel, view, &operation, &added);
        if (code == CODE_LIMIT && channel_has_draft(own->channel))
            return; /* the next update has room again */
        if (code != CODE_OK) {
            wallet_payment_out_fail(core, payment, code);
            continue;
        }
        if (operation.type == OPERATION_LOCK)
            payment->lock_id = added.lock.id;
        drafted(core, payment, operation.type == OPERATION_LOCK ? OUT_LOCKED : OUT_DIRECT);
    }
}

void wallet_updates_sign(struct wallet_core *core, struct wallet_channel *own)
{
    if (own->waiting == NULL && own->due == NULL && own->refunds == NULL && own->repeats == NULL)
        return;
    struct channel_view view = wallet_view(core);
    struct buffer body = {0};
    while (window_open(own)) {
        draft_due(core, own, &view, channel_own(own->channel)->proof.nonce + 1);
        draft_refunds(core, own, &view);
        draft_payments(core, own, &view);
        if (!channel_has_draft(own->channel))
            break;
        size_t count;
        const struct operation *operations = channel_draft(own->channel, &count);
        buffer_clear(&body);
        body_encode(&body, operations, count);
        write_drafted(core, channel_seal(own->channel, &core->options.domain, &core->options.key, body.data,
                                         body.length));
    }
    buffer_free(&body);
}
