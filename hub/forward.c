/* From a payer's update to the payee's: judging it and booking each operation. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

/* ---- a payer's operations ---- */

/* The money goes back, or the lock fails, in this very turn. Returns false if a refund has to wait. */
static bool bounce(struct engine *engine, struct hub_channel *payer, const struct operation *operation,
                   enum code code)
{
    if (operation->type == OPERATION_LOCK) {
        /* The lock of this very operation: an older one with the same payment id stands. It is gone already if
         * the same update unlocked it. */
        (void)!channel_mark_lock_failed(payer->channel, operation->lock_id);
        emit_fail(engine, payer, &operation->id, code);
        engine->figures.payments_failed++;
        return true;
    }
    struct operation refund = {.type = OPERATION_REFUND, .id = operation->id, .code = code};
    ensure(amount_add(operation->amount, operation->fee, &refund.amount));
    engine->figures.payments_refunded++;
    /* The window and the draft's room were looked at before the update was taken; the money has just come. */
    enum code refused = channel_add_operation(engine, payer, &refund, NULL);
    ensure(refused == CODE_OK || refused == CODE_TRANSFERRED);
    return refused == CODE_OK;
}

#define UNUSED_LOOKS_MAX 64

/* Anybody can give a client channels, as many as are paid for, in any asset; each payment to it must not go through them
 * all. In one that was never used the hub has nothing to pay with: one is as good as another, and none is better than
 * one that was. */
struct hub_channel *forward_payee(const struct engine *engine, const struct address *payee,
                                  const struct address *asset)
{
    const struct client *client = engine_find_client(engine, payee);
    struct hub_channel *best = NULL;
    size_t unused = 0;
    if (client == NULL)
        return NULL;
    for (struct hub_channel *at = client->channels; at != NULL; at = at->next_of_client) {
        if (!at->used && (best != NULL || ++unused > UNUSED_LOOKS_MAX))
            break;
        if (!channel_is_usable(at) || !address_equal(&at->channel->key.asset, asset))
            continue;
        if (best == NULL ||
            channel_available(at->channel, SIDE_HUB) > channel_available(best->channel, SIDE_HUB))
            best = at;
    }
    return best;
}

/* Does the payee live in another shard? */
static bool is_elsewhere(const struct engine *engine, const struct address *payee)
{
    return engine->settings.shards > 1 &&
           shard_of_client(payee, engine->settings.shards) != engine->settings.shard;
}

/* ---- how many a payee may have ---- */

/* What is signed is the payee's, and stays in memory until its secret comes or its time is over: who never reveals must
 * not fill it. What waits for an open window is about to be signed. */
enum code forward_may_pay(const struct engine *engine, const struct hub_channel *payee)
{
    const struct engine_settings *settings = &engine->settings;
    bool waits = !payee->resumed || !channel_has_window(payee);
    if (waits && payee->waiting >= settings->waiting_max)
        return CODE_LIMIT;
    uint64_t unrevealed = (uint64_t)payee->unrevealed + (waits ? 0 : payee->waiting);
    return settings->unrevealed_max != 0 && unrevealed >= settings->unrevealed_max ? CODE_LIMIT : CODE_OK;
}

bool forward_is_unrevealed(const struct payment *payment)
{
    return !payment->is_locked && payment->role != HALF_OF_PAYER && payment->state == PAYMENT_SIGNED;
}

void forward_count(const struct engine *engine, struct payment *payment, bool is_over)
{
    bool counts = !is_over && forward_is_unrevealed(payment);
    if (counts == payment->unrevealed)
        return;
    struct hub_channel *payee = engine_channel(engine, &payment->payee.channel);
    ensure(payee != NULL && (counts || payee->unrevealed > 0));
    payment->unrevealed = counts;
    if (counts)
        payee->unrevealed++;
    else
        payee->unrevealed--;
}

/* ---- judging and booking ---- */

/* Section 5, "Accepted but failed or refunded". CODE_OK: it may go on, to *payee or to another shard. */
static enum code judge_payment(struct engine *engine, const struct hub_channel *payer,
                               const struct operation *operation, bool elsewhere, struct hub_channel **payee)
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
    /* The locks that come later in the same update are not judged yet. */
    size_t locks = lock_set_count(channel_peer(payer->channel)->locks);
    if (is_lock && locks > asset->max_locks_per_payer + engine->locks_later)
        return CODE_LIMIT;
    uint64_t now = engine->head.confirmed_time;
    if (operation->expiry < now + terms->min_expiry_s || operation->expiry > now + terms->max_expiry_s)
        return CODE_EXPIRED;
    if (!elsewhere && !address_equal(&operation->peer, &payer->client->address))
        *payee = forward_payee(engine, &operation->peer, &payer->channel->key.asset);
    if (!elsewhere && *payee == NULL)
        return CODE_PAYEE;
    if (!amount_fee(operation->amount, asset->base_fee, asset->fee_ppm, &fee) ||
        amount_compare(operation->fee, fee) < 0)
        return CODE_FEE;
    if (elsewhere)
        return CODE_OK; /* its shard judges the rest */
    if (is_lock)
        return (*payee)->resumed ? CODE_OK : CODE_OFFLINE;
    return forward_may_pay(engine, *payee);
}

/* What is refused is kept no longer than what could have been taken. */
static uint64_t kept_expiry(const struct engine *engine, uint64_t expiry)
{
    uint64_t most = engine->head.confirmed_time + engine->settings.terms.max_expiry_s;
    return expiry < most ? expiry : most;
}

static void refuse_payment(struct engine *engine, struct hub_channel *payer, struct payment *payment,
                           const struct operation *operation, enum code code)
{
    payment->state = payment->is_locked ? PAYMENT_FAILED : PAYMENT_REFUNDED;
    payment->code = (uint8_t)code;
    payment->expiry = kept_expiry(engine, operation->expiry);
    payment_schedule(engine, payment);
    if (!bounce(engine, payer, operation, code))
        payment_set_due(engine, payment, DUE_REFUND);
}

struct payment *forward_begin(struct engine *engine, const struct leg *payer, const struct leg *payee,
                              const struct operation *operation)
{
    struct payment *payment = payments_add(&engine->payments, payer, payee);
    if (payment == NULL)
        return NULL;
    if (operation->type == OPERATION_LOCK)
        payments_lock(&engine->payments, payment, operation->kind, &operation->condition);
    payment->condition = operation->condition;
    payment->payer_lock = payment->is_locked ? operation->lock_id : 0;
    payment->amount = operation->amount;
    payment->fee = operation->fee;
    payment->expiry = operation->expiry;
    payment->booked = (uint32_t)engine->head.confirmed_time;
    payments_touch(&engine->payments, payment);
    return payment;
}

void forward_go(struct engine *engine, struct payment *payment, struct hub_channel *payee, struct text memo)
{
    payment->state = payment->is_locked ? PAYMENT_OFFERED : PAYMENT_WAITING;
    payment_schedule(engine, payment);
    if (payment->role == HALF_OF_PAYER)
        return;
    payment_set_memo(payment, memo);
    payment_begin_due(engine, payee, payment);
}

static void book_payment(struct engine *engine, struct hub_channel *payer, const struct operation *operation)
{
    struct hub_channel *payee = NULL;
    bool elsewhere = is_elsewhere(engine, &operation->peer);
    enum code code = judge_payment(engine, payer, operation, elsewhere, &payee);
    struct leg payer_leg = {payer->channel->id, operation->id};
    ensure(engine->new_next < engine->new_count);
    if (engine->new_next + PAYMENTS_AHEAD < engine->new_count)
        payments_expect(&engine->payments, &engine->payee_ids[engine->new_next + PAYMENTS_AHEAD]);
    bool known = engine->new_known[engine->new_next];
    struct leg payee_leg = {payee == NULL ? HASH_ZERO : payee->channel->id,
                            engine->payee_ids[engine->new_next++]};
    struct payment *payment = known ? NULL : forward_begin(engine, &payer_leg, &payee_leg, operation);
    if (payment == NULL) {
        if (!bounce(engine, payer, operation, CODE_DUPLICATE))
            log_error("a repeated payment cannot be refunded: the stream's total has reached its limit");
        recall_outcome(engine, payer, &operation->id);
        return;
    }
    if (code != CODE_OK) {
        refuse_payment(engine, payer, payment, operation, code);
        return;
    }
    if (payment->is_locked)
        engine->figures.payments_locked++;
    else
        engine->figures.payments_direct++;
    if (elsewhere)
        transfer_payment(engine, payment, operation);
    forward_go(engine, payment, payee, operation->memo);
}

/* A payee sends a direct payment back: the payer gets all of it, fee included (section 4, "Ids"). */
static void book_refund(struct engine *engine, struct hub_channel *payee, const struct operation *operation)
{
    size_t number = engine->back_next++;
    const bool is_known[2] = {engine->back_known[0][number], engine->back_known[1][number]};
    struct payment *payment = recall_of_payee(engine, payee, &operation->id, operation->amount, is_known);
    if (payment == NULL)
        return; /* its money has moved, and it means nothing more */
    payment_refund(engine, payment, outcome_code(operation->code));
}

/* The payer unlocked: the end of a locked payment. One that nobody had revealed here was registered on the
 * ledger. */
static void book_unlock(struct engine *engine, struct hub_channel *payer, const struct pending_lock *lock,
                        const struct operation *operation)
{
    const struct payment_id *payee_id = &engine->payee_ids[engine->unlocked_next++];
    if (engine->unlocked_next + PAYMENTS_AHEAD < engine->payee_count)
        payments_expect(&engine->payments, payee_id + PAYMENTS_AHEAD);
    struct payment *payment =
        payments_find_derived(&engine->payments, &payer->channel->id, &lock->payment, payee_id);
    if (payment == NULL || !payment->is_locked || payment->payer_lock != lock->lock.id)
        return; /* over, or an older lock of the same payment id */
    outcome_unlocked(engine, payment, operation->witness.length > 0 ? &operation->witness : NULL);
    payments_touch(&engine->payments, payment); /* with its payer's lock the last thing may have gone */
}

static void book(struct engine *engine, struct hub_channel *channel, const struct operation *operation,
                 const struct pending_lock *touched)
{
    switch (operation->type) {
    case OPERATION_PAY:
    case OPERATION_LOCK:
        book_payment(engine, channel, operation);
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

/* The ids that its payments have on the payees' legs, and whether the archive has those that are to begin: all at once,
 * so that it is asked for many in the time of one. */
static void expect_payments(struct engine *engine, const struct hub_channel *channel,
                            const struct operation *operations, size_t count)
{
    struct payment_id *ids = engine->payee_ids;
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        if (operations[i].type == OPERATION_PAY || operations[i].type == OPERATION_LOCK)
            ids[found++] = operations[i].id;
    engine->new_count = engine->unlocked_next = found;
    engine->new_next = 0;
    for (size_t i = 0; i < count; i++)
        if (operations[i].type == OPERATION_UNLOCK)
            ids[found++] = engine->touched[i].payment;
    engine->payee_count = found;
    payment_ids_of_payee(&channel->channel->id, ids, found);
    recall_are_known(engine);
    recall_backs(engine, operations, count);
}

static void accepted(struct engine *engine, struct hub_channel *channel, const struct hash *digest,
                     const struct operation *operations, size_t count)
{
    engine_add_root(engine, digest);
    engine->figures.updates_received++;
    channel->ack_due = true;
    engine_touch(engine, channel);
    engine->locks_later = 0;
    for (size_t i = 0; i < count; i++)
        engine->locks_later += operations[i].type == OPERATION_LOCK;
    expect_payments(engine, channel, operations, count);
    for (size_t i = 0; i < count; i++) {
        engine->locks_later -= operations[i].type == OPERATION_LOCK;
        book(engine, channel, &operations[i], &engine->touched[i]);
    }
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

/* ---- updates that have to wait ---- */

static size_t held_size(size_t body_length)
{
    return sizeof(struct held_update) + body_length;
}

static void note_holder(struct engine *engine, struct hub_channel *channel)
{
    if (channel->holds)
        return;
    channel->holds = true;
    if (engine->holder_count == engine->holder_capacity) {
        engine->holder_capacity = engine->holder_capacity == 0 ? 64 : 2 * engine->holder_capacity;
        engine->holders = xrealloc(engine->holders, engine->holder_capacity * sizeof(struct hub_channel *));
    }
    engine->holders[engine->holder_count++] = channel;
}

/* The channel that holds the most; NULL: none holds anything. Those that hold nothing any more leave the list. */
static struct hub_channel *largest_holder(struct engine *engine)
{
    struct hub_channel *largest = NULL;
    size_t left = 0;
    for (size_t i = 0; i < engine->holder_count; i++) {
        struct hub_channel *at = engine->holders[i];
        at->holds = at->held_count > 0;
        if (!at->holds)
            continue;
        engine->holders[left++] = at;
        if (largest == NULL || at->held_bytes > largest->held_bytes)
            largest = at;
    }
    engine->holder_count = left;
    return largest;
}

/* All may be held by a few that mean no good: who holds the most goes, not who comes last. False: that is this one. */
static bool make_room(struct engine *engine, const struct hub_channel *channel, size_t bytes)
{
    while (engine->held_bytes + bytes > HELD_BYTES_MAX) {
        const struct hub_channel *largest = largest_holder(engine);
        if (largest == NULL || largest->client == channel->client ||
            largest->held_bytes < channel->held_bytes + bytes)
            return false;
        client_drop(engine, largest->client, CODE_LIMIT);
    }
    return true;
}

static void hold(struct engine *engine, struct hub_channel *channel, const struct update *update)
{
    size_t bytes = held_size(update->body_length);
    if (channel->held_count >= UNACKNOWLEDGED_MAX || !make_room(engine, channel, bytes)) {
        /* Nobody who keeps to 64 unacknowledged updates, and acknowledges ours, comes here. */
        client_drop(engine, channel->client, CODE_LIMIT);
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
    channel->held_bytes += (uint32_t)bytes;
    engine->held_count++;
    engine->held_bytes += bytes;
    note_holder(engine, channel);
    engine->figures.updates_held++;
}

/* Refunds of this update's operations go into the own draft in the same turn: there must be room for them
 * all. */
static bool has_room_for_refunds(const struct hub_channel *channel, size_t count)
{
    size_t drafted;
    (void)channel_draft(channel->channel, &drafted);
    return channel_has_window(channel) && (drafted == 0 || drafted + count <= OPERATIONS_MAX / 2);
}

/* True if it is dealt with; false if it must wait: for the own ledger view, for the client to acknowledge, for
 * another shard. */
static bool judge(struct engine *engine, struct hub_channel *channel, const struct update *update)
{
    const struct operation *operations = NULL;
    size_t count = 0;
    if (!channel_is_usable(channel)) {
        refuse(engine, channel, update, CODE_STATUS);
        return true;
    }
    bool body_ok = body_decode(engine->decoder, update->body, update->body_length, &operations, &count);
    if (body_ok && (!has_room_for_refunds(channel, count) || transfer_is_full(engine)))
        return false;
    struct channel_view view = engine_view(engine, channel);
    count_before_change(engine, channel);
    struct judgement judgement =
        channel_receive(channel->channel, &view, update, operations, count, body_ok, engine->touched);
    switch (judgement.verdict) {
    case VERDICT_ACCEPTED:
        accepted(engine, channel, &judgement.digest, operations, count);
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
    size_t bytes = held_size(held->update.body_length);
    channel->held_count--;
    channel->held_bytes -= (uint32_t)bytes;
    engine->held_count--;
    engine->held_bytes -= bytes;
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
