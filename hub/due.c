/* What is due to a channel: put into its draft as far as its window and its room go. Why something has to
 * wait, and what happens to it if it cannot be done any more:
 *
 *                    client offline      no window   close seen, young block   closing or closed
 *     pay            waits               waits       refunded                  refunded
 *     lock           failed              waits       failed                    failed
 *     unlock,        signed for later    waits       waits                     the ledger decides
 *     cancel, expire
 *     refund         signed for later    waits       waits                     into another channel, or waits
 */
#include "base/ensure.h"
#include "base/log.h"
#include "base/planted.h"
#include "hub/engine_state.h"

static struct hub_channel *due_channel(const struct engine *engine, const struct payment *payment)
{
    const struct leg *leg = payment->due == DUE_REFUND ? &payment->payer : &payment->payee;
    return engine_channel(engine, &leg->channel);
}

/* Before `next`; NULL: at the end. */
static void due_insert(struct hub_channel *channel, struct payment *payment, struct payment *next)
{
    struct payment *previous = next == NULL ? channel->due_tail : next->previous_due;
    payment->queued = true;
    payment->next_due = next;
    payment->previous_due = previous;
    if (previous == NULL)
        channel->due_head = payment;
    else
        previous->next_due = payment;
    if (next == NULL)
        channel->due_tail = payment;
    else
        next->previous_due = payment;
    channel->due_count++;
    channel->waiting += payment->due == DUE_PAY && !payment->is_locked;
}

static void due_remove(struct hub_channel *channel, struct payment *payment)
{
    if (payment->previous_due == NULL)
        channel->due_head = payment->next_due;
    else
        payment->previous_due->next_due = payment->next_due;
    if (payment->next_due == NULL)
        channel->due_tail = payment->previous_due;
    else
        payment->next_due->previous_due = payment->previous_due;
    payment->queued = false;
    payment->next_due = payment->previous_due = NULL;
    channel->due_count--;
    channel->waiting -= payment->due == DUE_PAY && !payment->is_locked;
}

static void due_append(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    due_insert(channel, payment, NULL);
    engine_touch(engine, channel);
}

void payment_set_due(struct engine *engine, struct payment *payment, enum payment_due due)
{
    payments_touch(&engine->payments, payment);
    if (payment->retired) { /* in this very turn: it is not over after all */
        payment->retired = false;
        payment_schedule(engine, payment);
    }
    if (payment->queued)
        due_remove(due_channel(engine, payment), payment);
    payment->due = (uint8_t)due;
    if (due == DUE_NOTHING)
        return;
    struct hub_channel *channel = due_channel(engine, payment);
    ensure(channel != NULL);
    due_append(engine, channel, payment);
}

void payment_begin_due(struct engine *engine, struct hub_channel *payee, struct payment *payment)
{
    ensure(!payment->queued && payment->dirty && hash_equal(&payee->channel->id, &payment->payee.channel));
    payment->due = DUE_PAY;
    due_append(engine, payee, payment);
}

/* Something is open to the client again: what could not be given to it may be now. */
void due_wake(struct engine *engine, const struct client *client)
{
    for (struct hub_channel *channel = client->channels; channel != NULL; channel = channel->next_of_client)
        if (channel->due_head != NULL)
            engine_touch(engine, channel);
}

enum code channel_add_operation(struct engine *engine, struct hub_channel *channel,
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
    enum code code = channel_add_operation(engine, channel, &operation, &added);
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
    enum code code = channel_add_operation(engine, channel, &operation, NULL);
    if (code == CODE_OK && payment->due != DUE_UNLOCK)
        payment->cancel_nonce = channel_own(channel->channel)->proof.nonce + 1;
    return code;
}

static enum code add_refund(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    struct operation operation = {.type = OPERATION_REFUND, .id = payment->payer.id, .code = payment->code};
    ensure(amount_add(payment->amount, payment->fee, &operation.amount));
    return channel_add_operation(engine, channel, &operation, NULL);
}

bool channel_has_window(const struct hub_channel *channel)
{
    const struct channel *machine = channel->channel;
    return machine->streams[SIDE_HUB].proof.nonce - machine->acknowledged < UNACKNOWLEDGED_MAX &&
           window_has_room(channel);
}

static void refuse_payee_leg(struct engine *engine, struct payment *payment, enum code why)
{
    log_debug("a payee's leg was refused: %s", code_name(why));
    if (payment->is_locked)
        payment_fail(engine, payment, why);
    else
        payment_refund(engine, payment, why);
}

/* What became of a payment's turn. FULL: it stays in the list, and so does what is behind it, since the draft takes no
 * more: to look at each of thousands at each turn would cost more than all that is done for those that go. */
enum drained { GONE, STAYS, FULL };

/* Else a lock finds no place, whatever the draft's room. */
static bool has_lock_to_give(const struct hub_channel *channel)
{
    return lock_set_count(channel_own(channel->channel)->locks) < LOCKS_PER_STREAM_MAX;
}

static enum drained drain_payment(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    /* Section 7: who sees a close fails what it has not forwarded. A direct payment is paid for already. */
    if (payment->is_locked && payment->role == PAYMENT_WHOLE &&
        !channel_is_usable(engine_channel(engine, &payment->payer.channel))) {
        refuse_payee_leg(engine, payment, CODE_STATUS);
        return GONE;
    }
    if (!channel_is_usable(channel)) {
        refuse_payee_leg(engine, payment, CODE_PAYEE);
        return GONE;
    }
    if (!channel->resumed && payment->is_locked) {
        refuse_payee_leg(engine, payment, CODE_OFFLINE);
        return GONE;
    }
    if (!channel->resumed || !channel_has_window(channel))
        return STAYS;
    enum code code = add_payment(engine, channel, payment);
    if (code == CODE_OK)
        payment->due = DUE_NOTHING;
    else if (code == CODE_LIMIT && (!payment->is_locked || channel_has_draft(channel->channel)))
        return payment->is_locked && !has_lock_to_give(channel) ? STAYS : FULL;
    else
        refuse_payee_leg(engine, payment, code == CODE_LIMIT ? CODE_LIMIT : CODE_ROOM);
    return GONE;
}

static enum drained drain_lock_change(struct engine *engine, struct hub_channel *channel,
                                      struct payment *payment)
{
    if (channel->channel->funds.stage != STAGE_OPEN) {
        payment->due = DUE_NOTHING; /* the ledger decides about the locks of a channel that closes */
        return GONE;
    }
    if (!channel_is_usable(channel) || !channel_has_window(channel))
        return STAYS;
    enum code code = add_lock_change(engine, channel, payment);
    if (code == CODE_LIMIT || code == CODE_TRANSFERRED || code == CODE_NOT_EXPIRED)
        return STAYS;
    ensure(code == CODE_OK);
    payment->due = DUE_NOTHING;
    return GONE;
}

/* Where a refund goes: the payer's channel or, if that has closed meanwhile, another open one of the payer's
 * (to which a refund of an unknown id just moves the money). NULL: it has to wait for one. */
static struct hub_channel *refund_channel(struct hub_channel *payer)
{
    if (payer->channel->funds.stage == STAGE_OPEN)
        return channel_is_usable(payer) ? payer : NULL;
    for (struct hub_channel *at = payer->client->channels; at != NULL; at = at->next_of_client)
        if (channel_is_usable(at) && address_equal(&at->channel->key.asset, &payer->channel->key.asset))
            return at;
    return NULL;
}

struct amount due_refunds(struct hub_channel *channel)
{
    struct amount sum = amount_of(0);
    /* Who has paid has used its channel. */
    for (struct hub_channel *at = channel->client->channels; at != NULL && at->used;
         at = at->next_of_client) {
        if (at->due_head == NULL || refund_channel(at) != channel)
            continue;
        for (const struct payment *payment = at->due_head; payment != NULL; payment = payment->next_due)
            if (payment->due == DUE_REFUND &&
                (!amount_add(sum, payment->amount, &sum) || !amount_add(sum, payment->fee, &sum)))
                return amount_of(AMOUNT_LIMIT - 1);
    }
    return sum;
}

static enum drained drain_refund(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    struct hub_channel *to = refund_channel(channel);
    if (to == NULL || !channel_has_window(to))
        return STAYS;
    enum code code = add_refund(engine, to, payment);
    if (code == CODE_OK && PLANTED(REFUND_TWICE))
        (void)!add_refund(engine, to, payment);
    if (code != CODE_OK) {
        /* No room in the draft, or in the channel, or (TRANSFERRED) in the stream for all time. */
        ensure(code == CODE_LIMIT || code == CODE_AVAILABLE || code == CODE_TRANSFERRED);
        return STAYS;
    }
    engine_touch(engine, to);
    payment->due = DUE_NOTHING;
    return GONE;
}

static enum drained drain_one(struct engine *engine, struct hub_channel *channel, struct payment *payment)
{
    switch ((enum payment_due)payment->due) {
    case DUE_PAY:
        return drain_payment(engine, channel, payment);
    case DUE_UNLOCK:
    case DUE_CANCEL:
    case DUE_EXPIRE:
        return drain_lock_change(engine, channel, payment);
    case DUE_REFUND:
        return drain_refund(engine, channel, payment);
    case DUE_NOTHING:
        break;
    }
    return GONE;
}

/* Spares the walk through a long list of which nothing can move. */
static bool all_must_wait(const struct hub_channel *channel)
{
    if (channel->due_head == NULL)
        return true;
    if (!channel_is_usable(channel))
        return false;
    return channel->resumed ? !channel_has_window(channel) : channel->due_count == channel->waiting;
}

bool due_drain(struct engine *engine, struct hub_channel *channel)
{
    if (all_must_wait(channel))
        return false;
    bool moved = false;
    enum drained drained = GONE;
    struct payment *next = channel->due_head;
    while (next != NULL && drained != FULL) {
        struct payment *payment = next;
        next = payment->next_due;
        if (next != NULL && next->next_due != NULL)
            payment_prefetch(next->next_due); /* two ahead: what one payment takes is less than memory does */
        due_remove(channel, payment);
        drained = drain_one(engine, channel, payment);
        if (drained == GONE) {
            payments_touch(&engine->payments, payment);
            moved = true;
        } else {
            due_insert(channel, payment, next);
        }
    }
    return moved;
}
