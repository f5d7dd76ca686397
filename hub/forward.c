/* From a payer's update to the payee's: judging it, booking each operation, and putting what is due into
 * updates. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

/* ---- what is due to a channel ---- */

static struct hub_channel *due_channel(const struct engine *engine, const struct payment *payment)
{
    const struct leg *leg = payment->due == DUE_REFUND ? &payment->payer : &payment->payee;
    return engine_channel(engine, &leg->channel);
}

static void due_append(struct hub_channel *channel, struct payment *payment)
{
    payment->queued = true;
    payment->next_due = NULL;
    if (channel->due_tail == NULL)
        channel->due_head = payment;
    else
        channel->due_tail->next_due = payment;
    channel->due_tail = payment;
    channel->waiting += payment->due == DUE_PAY;
}

static void due_remove(struct hub_channel *channel, struct payment *payment)
{
    struct payment *before = NULL, *at = channel->due_head;
    while (at != payment) {
        ensure(at != NULL);
        before = at;
        at = at->next_due;
    }
    if (before == NULL)
        channel->due_head = payment->next_due;
    else
        before->next_due = payment->next_due;
    if (channel->due_tail == payment)
        channel->due_tail = before;
    payment->queued = false;
    payment->next_due = NULL;
    channel->waiting -= payment->due == DUE_PAY;
}

void payment_set_due(struct engine *engine, struct payment *payment, enum payment_due due)
{
    payments_touch(&engine->payments, payment);
    if (payment->queued)
        due_remove(due_channel(engine, payment), payment);
    payment->due = due;
    if (due == DUE_NOTHING)
        return;
    struct hub_channel *channel = due_channel(engine, payment);
    ensure(channel != NULL);
    due_append(channel, payment);
    engine_touch(engine, channel);
}

static enum code add_operation(struct engine *engine, struct hub_channel *channel,
                               const struct operation *operation, struct pending_lock *touched)
{
    if (channel->suspended_block != 0)
        return CODE_STATUS; /* a close was seen: nothing more is signed */
    struct channel_view view = engine_view(engine, channel);
    return channel_add(channel->channel, &view, operation, touched);
}

/* The payee's leg of a payment; LIMIT: not now. */
static enum code add_payment(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    struct operation operation = {
        .type = payment->is_locked ? OPERATION_LOCK : OPERATION_PAY,
        .id = payment->payee.id,
        .amount = payment->amount,
        .expiry = payment->expiry,
        .condition = payment->condition,
        .kind = payment->kind,
        .memo = {payment->memo, payment->memo_length},
    };
    struct pending_lock added;
    enum code code = add_operation(engine, channel, &operation, &added);
    if (code != CODE_OK)
        return code;
    payment->payee_lock = payment->is_locked ? added.lock.id : 0;
    payment->state = payment->is_locked ? PAYMENT_FORWARDED : PAYMENT_SIGNED;
    payment_set_memo(payment, (struct text){NULL, 0});
    struct amount sum;
    if (amount_add(channel->passed_on, payment->amount, &sum))
        channel->passed_on = sum;
    return CODE_OK;
}

static enum code add_lock_change(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    struct operation operation = {.lock_id = payment->payee_lock};
    operation.type = payment->due == DUE_UNLOCK   ? OPERATION_UNLOCK
                     : payment->due == DUE_CANCEL ? OPERATION_CANCEL
                                                  : OPERATION_EXPIRE;
    if (payment->due == DUE_UNLOCK && payment->witness != NULL)
        operation.witness = *payment->witness;
    enum code code = add_operation(engine, channel, &operation, NULL);
    if (code == CODE_OK && payment->due != DUE_UNLOCK)
        payment->cancel_nonce = channel_own(channel->channel)->proof.nonce + 1;
    return code;
}

static enum code add_refund(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    struct operation operation = {.type = OPERATION_REFUND, .id = payment->payer.id, .code = payment->code};
    ensure(amount_add(payment->amount, payment->fee, &operation.amount));
    return add_operation(engine, channel, &operation, NULL);
}

/* What becomes of a payment whose leg to the payee was refused. Returns false if it just has to wait. */
static bool payee_refused(struct engine *engine, struct payment *payment, enum code code)
{
    if (code == CODE_LIMIT && !payment->is_locked)
        return false;
    log_debug("a payee's leg was refused: %s", code_name(code));
    enum code why = code == CODE_STATUS ? CODE_PAYEE : code == CODE_LIMIT ? CODE_LIMIT : CODE_ROOM;
    if (payment->is_locked)
        payment_fail(engine, payment, why);
    else
        payment_refund(engine, payment, why);
    return true;
}

/* Returns false if the payment must stay in the list. */
static bool drain_one(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    enum code code;
    switch ((enum payment_due)payment->due) {
    case DUE_PAY:
        code = add_payment(engine, channel, payment);
        if (code != CODE_OK)
            return payee_refused(engine, payment, code);
        break;
    case DUE_UNLOCK:
    case DUE_CANCEL:
    case DUE_EXPIRE:
        code = add_lock_change(engine, channel, payment);
        if (code == CODE_LIMIT)
            return false;
        /* Any other refusal means that the channel closed meanwhile: the ledger decides about its locks. */
        ensure(code == CODE_OK || code == CODE_STATUS || code == CODE_NOT_EXPIRED);
        break;
    case DUE_REFUND:
        code = add_refund(engine, channel, payment);
        if (code == CODE_LIMIT || code == CODE_AVAILABLE)
            return false;
        ensure(code == CODE_OK || code == CODE_STATUS);
        break;
    case DUE_NOTHING:
        break;
    }
    payment->due = DUE_NOTHING;
    payments_touch(&engine->payments, payment);
    return true;
}

static bool has_window(const struct hub_channel *channel)
{
    const struct channel *machine = channel->channel;
    return machine->streams[SIDE_HUB].proof.nonce - machine->acknowledged < UNACKNOWLEDGED_MAX;
}

bool forward_due(struct engine *engine, struct hub_channel *channel)
{
    /* Only where the draft can be sealed in this turn: a draft is not on disk. */
    if (channel->due_head == NULL || !has_window(channel))
        return false;
    bool moved = false;
    struct payment *next = channel->due_head;
    channel->due_head = channel->due_tail = NULL;
    channel->waiting = 0;
    while (next != NULL) {
        struct payment *payment = next;
        next = payment->next_due;
        payment->queued = false;
        /* A payee that is offline is not signed to; one whose channel closed never will be. */
        bool must_wait = payment->due == DUE_PAY && !channel->resumed && channel_is_usable(channel);
        if (!must_wait && drain_one(engine, channel, payment))
            moved = true;
        else
            due_append(channel, payment);
    }
    return moved;
}

/* ---- a payer's operations ---- */

/* A refusal that needs no entry in the table: the money goes back, or the lock fails, in this very turn. The lock is
 * the one that this operation added: an older one with the same payment id stands. It may be gone already, if the same
 * update unlocked it. */
static void bounce(struct engine *engine, struct hub_channel *payer, const struct operation *operation,
                   uint64_t lock_id, enum code code)
{
    if (operation->type == OPERATION_LOCK) {
        struct pending_lock *pending = lock_set_find(channel_peer(payer->channel)->locks, lock_id);
        if (pending != NULL)
            pending->failed = true; /* written with the update that added it */
        struct failed item = {operation->id, code};
        struct message message = {.type = MESSAGE_FAIL};
        message.fail.channel = payer->channel->id;
        message.fail.items = &item;
        message.fail.count = 1;
        engine_emit(engine, payer->client->peer, &message);
        engine->figures.payments_failed++;
        return;
    }
    struct operation refund = {.type = OPERATION_REFUND, .id = operation->id, .code = code};
    ensure(amount_add(operation->amount, operation->fee, &refund.amount));
    /* The window and the draft's room were looked at before the update was taken; the money has just come. */
    ensure(add_operation(engine, payer, &refund, NULL) == CODE_OK);
    engine->figures.payments_refunded++;
}

static struct hub_channel *payee_channel(struct engine *engine, const struct hub_channel *payer,
                                         const struct address *address)
{
    struct client *client;
    if (address_equal(address, &payer->client->address))
        return NULL;
    HASH_FIND(hh, engine->clients, address, sizeof(*address), client);
    if (client == NULL)
        return NULL;
    for (struct hub_channel *channel = client->channels; channel != NULL; channel = channel->next_of_client)
        if (address_equal(&channel->channel->key.asset, &payer->channel->key.asset) &&
            channel_is_usable(channel))
            return channel;
    return NULL;
}

/* Section 5, "Accepted but failed or refunded". CODE_OK: it may go on to *payee. */
static enum code judge_payment(struct engine *engine, const struct hub_channel *payer,
                               const struct operation *operation, struct hub_channel **payee)
{
    const struct terms *terms = &engine->settings.terms;
    const struct asset_terms *asset = engine_terms(engine, &payer->channel->key.asset);
    bool is_lock = operation->type == OPERATION_LOCK;
    struct amount fee;
    if (asset == NULL)
        return CODE_CHANNEL;
    if (amount_is_zero(operation->amount) ||
        (is_lock && (amount_compare(operation->amount, asset->min_lock) < 0 ||
                     amount_compare(operation->amount, asset->max_lock) > 0)))
        return CODE_AMOUNT;
    if (is_lock && lock_set_count(channel_peer(payer->channel)->locks) > asset->max_locks_per_payer)
        return CODE_LIMIT;
    uint64_t now = engine->head.confirmed_time;
    if (operation->expiry < now + terms->min_expiry_s || operation->expiry > now + terms->max_expiry_s)
        return CODE_EXPIRED;
    *payee = payee_channel(engine, payer, &operation->peer);
    if (*payee == NULL)
        return CODE_PAYEE;
    if (!amount_fee(operation->amount, asset->base_fee, asset->fee_ppm, &fee) ||
        amount_compare(operation->fee, fee) < 0)
        return CODE_FEE;
    if (is_lock && !(*payee)->resumed)
        return CODE_OFFLINE;
    if (!is_lock && (*payee)->waiting >= engine->settings.waiting_max)
        return CODE_LIMIT;
    return CODE_OK;
}

static void book_payment(struct engine *engine, struct hub_channel *payer, const struct operation *operation,
                         uint64_t lock_id)
{
    const struct payment *before = payments_find(&engine->payments, &payer->channel->id, &operation->id);
    if (before != NULL) {
        bounce(engine, payer, operation, lock_id, CODE_DUPLICATE);
        outcome_repeat(engine, payer, before);
        return;
    }
    struct hub_channel *payee = NULL;
    enum code code = judge_payment(engine, payer, operation, &payee);
    struct leg payer_leg = {payer->channel->id, operation->id};
    struct leg payee_leg = {payee == NULL ? HASH_ZERO : payee->channel->id,
                            payment_id_of_payee(&payer->channel->id, &operation->id)};
    struct payment *payment = payments_add(&engine->payments, &payer_leg, &payee_leg);
    payment->is_locked = operation->type == OPERATION_LOCK;
    payment->kind = payment->is_locked ? operation->kind : LOCK_SECRET;
    payment->amount = operation->amount;
    payment->fee = operation->fee;
    payment->expiry = operation->expiry;
    payment->condition = operation->condition;
    payment->code = code;
    payments_touch(&engine->payments, payment);
    if (code != CODE_OK) {
        payment->state = payment->is_locked ? PAYMENT_FAILED : PAYMENT_REFUNDED;
        bounce(engine, payer, operation, lock_id, code);
        payment_schedule(engine, payment);
        return;
    }
    if (payment->is_locked)
        engine->figures.payments_locked++;
    else
        engine->figures.payments_direct++;
    payment->state = payment->is_locked ? PAYMENT_OFFERED : PAYMENT_WAITING;
    payment_set_memo(payment, operation->memo);
    payment_schedule(engine, payment);
    payment_set_due(engine, payment, DUE_PAY);
}

/* A payee sends a direct payment back: the payer gets all of it, fee included (section 4, "Ids"). */
static void book_refund(struct engine *engine, struct hub_channel *payee, const struct operation *operation)
{
    struct payment *payment = payments_find_payee(&engine->payments, &payee->channel->id, &operation->id);
    if (payment == NULL || payment->is_locked || amount_compare(payment->amount, operation->amount) != 0 ||
        (payment->state != PAYMENT_SIGNED && payment->state != PAYMENT_REVEALED))
        return; /* its money has moved, and it means nothing more */
    payment_refund(engine, payment, operation->code == CODE_OK ? CODE_INVOICE : (enum code)operation->code);
}

/* The payer unlocked: the end of a locked payment. One that nobody had revealed here was registered on the
 * ledger. */
static void book_unlock(struct engine *engine, struct hub_channel *payer, const struct pending_lock *lock,
                        const struct operation *operation)
{
    struct payment *payment = payments_find(&engine->payments, &payer->channel->id, &lock->payment);
    if (payment != NULL)
        outcome_unlocked(engine, payment, operation->witness.length > 0 ? &operation->witness : NULL);
}

static void book(struct engine *engine, struct hub_channel *channel, const struct operation *operation,
                 const struct pending_lock *touched)
{
    switch (operation->type) {
    case OPERATION_PAY:
    case OPERATION_LOCK:
        book_payment(engine, channel, operation, operation->type == OPERATION_LOCK ? touched->lock.id : 0);
        break;
    case OPERATION_UNLOCK:
        book_unlock(engine, channel, touched, operation);
        break;
    case OPERATION_REFUND:
        book_refund(engine, channel, operation);
        break;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        break; /* the lock is gone; REVOKE follows (outcome_revoke_due) */
    }
}

/* ---- a client's update ---- */

static void accepted(struct engine *engine, struct hub_channel *channel, const struct operation *operations,
                     size_t count)
{
    const struct stream *stream = channel_peer(channel->channel);
    struct hash digest =
        digest_balance_proof(&engine->settings.domain, &channel->channel->id, &stream->proof);
    journal_root_add(&engine->root, &digest);
    engine->root_dirty = true;
    engine->figures.updates_received++;
    channel->ack_due = true;
    engine_touch(engine, channel);
    for (size_t i = 0; i < count; i++)
        book(engine, channel, &operations[i], &engine->touched[i]);
    appoint_mark(engine, channel);
    outcome_revoke_due(engine, channel);
}

static void refuse(struct engine *engine, struct hub_channel *channel, const struct update *update,
                   enum code code)
{
    struct error_reference reference = {.present = true,
                                        .type = MESSAGE_UPDATE,
                                        .has_channel = true,
                                        .channel = update->channel,
                                        .has_nonce = true,
                                        .nonce = update->proof.nonce};
    engine_emit_error(engine, channel->client->peer, code, NULL, &reference);
    engine->figures.updates_refused++;
}

static void hold(struct engine *engine, struct hub_channel *channel, const struct update *update)
{
    if (channel->held_count >= UNACKNOWLEDGED_MAX) {
        refuse(engine, channel, update, CODE_LIMIT); /* more than 64 unacknowledged */
        return;
    }
    struct held_update *held = xcalloc(1, sizeof(*held));
    held->update = *update;
    held->body = xmalloc(update->body_length);
    memcpy(held->body, update->body, update->body_length);
    held->update.body = held->body;
    if (channel->held_tail == NULL)
        channel->held_head = held;
    else
        channel->held_tail->next = held;
    channel->held_tail = held;
    channel->held_count++;
    engine->held_count++;
    engine->figures.updates_held++;
}

/* Refunds of this update's operations go into the own draft in the same turn: there must be room for them
 * all. */
static bool has_room_for_refunds(const struct hub_channel *channel, size_t count)
{
    size_t drafted;
    (void)channel_draft(channel->channel, &drafted);
    return has_window(channel) && (drafted == 0 || drafted + count <= OPERATIONS_MAX / 2);
}

/* True if it is dealt with; false if it must wait for the own ledger view, or for the client to acknowledge.
 */
static bool judge(struct engine *engine, struct hub_channel *channel, const struct update *update)
{
    const struct operation *operations = NULL;
    size_t count = 0;
    bool body_ok = body_decode(engine->decoder, update->body, update->body_length, &operations, &count);
    if (body_ok && !has_room_for_refunds(channel, count))
        return false;
    struct judgement judgement = {.verdict = VERDICT_REFUSED, .code = CODE_STATUS};
    if (channel->suspended_block == 0) {
        struct channel_view view = engine_view(engine, channel);
        judgement =
            channel_receive(channel->channel, &view, update, operations, count, body_ok, engine->touched);
    }
    switch (judgement.verdict) {
    case VERDICT_ACCEPTED:
        accepted(engine, channel, operations, count);
        return true;
    case VERDICT_AGAIN:
        channel->ack_due = true;
        engine_touch(engine, channel);
        return true;
    case VERDICT_REFUSED:
        refuse(engine, channel, update, judgement.code);
        return true;
    case VERDICT_HELD:
        return false;
    }
    return true;
}

void forward_update(struct engine *engine, struct hub_channel *channel, const struct update *update)
{
    if (channel->held_head != NULL || !judge(engine, channel, update))
        hold(engine, channel, update);
}

static void drop_first_held(struct engine *engine, struct hub_channel *channel)
{
    struct held_update *held = channel->held_head;
    channel->held_head = held->next;
    if (channel->held_head == NULL)
        channel->held_tail = NULL;
    channel->held_count--;
    engine->held_count--;
    free(held->body);
    free(held);
}

void forward_held(struct engine *engine, struct hub_channel *channel)
{
    while (channel->held_head != NULL && judge(engine, channel, &channel->held_head->update))
        drop_first_held(engine, channel);
}

void forward_forget_held(struct engine *engine, struct hub_channel *channel)
{
    while (channel->held_head != NULL)
        drop_first_held(engine, channel);
}
