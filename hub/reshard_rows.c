#include "hub/reshard_rows.h"

#include <string.h>

#include "base/ensure.h"

static struct payment *copy_with(const struct payment *row, const struct leg *payee, struct payments *into)
{
    struct payment *copy = payments_add(into, &row->payer, payee);
    ensure(copy != NULL);
    if (row->is_locked)
        payments_lock(into, copy, row->kind, &row->condition);
    copy->condition = row->condition;
    copy->kind = row->kind;
    copy->state = row->state;
    copy->due = row->due;
    copy->role = PAYMENT_WHOLE;
    copy->amount = row->amount;
    copy->fee = row->fee;
    copy->expiry = row->expiry;
    copy->booked = row->booked;
    copy->past = row->past;
    copy->cancel_nonce = row->cancel_nonce;
    copy->code = row->code;
    copy->payer_lock = row->payer_lock;
    copy->payee_lock = row->payee_lock;
    if (row->witness != NULL)
        payment_set_witness(into, copy, row->witness);
    payment_set_memo(copy, (struct text){row->memo, row->memo_length});
    return copy;
}

struct payment *reshard_copy(const struct payment *row, struct payments *into)
{
    return copy_with(row, &row->payee, into);
}

/* The payee's half knows how the payment stands; the payer's what is due to the payer, and its lock. */
void reshard_join(struct payments *into, const struct payment *payer_half, const struct payment *payee_half)
{
    if (payee_half == NULL) {
        struct payment *alone = reshard_copy(payer_half, into);
        if (alone->state == PAYMENT_WAITING)
            alone->state = PAYMENT_SIGNED;
        else if (alone->state == PAYMENT_OFFERED)
            alone->state = PAYMENT_LAPSED;
        alone->past = true; /* the payee's half was over, and is in the archive */
        return;
    }
    struct payment *whole = reshard_copy(payee_half, into);
    if (payer_half == NULL)
        return;
    whole->payer_lock = payer_half->payer_lock;
    if (payer_half->due != DUE_NOTHING)
        whole->due = payer_half->due;
    if (payer_half->witness != NULL && whole->witness == NULL)
        payment_set_witness(into, whole, payer_half->witness);
}

static uint8_t payer_state(enum payment_state state)
{
    switch (state) {
    case PAYMENT_SIGNED:
        return PAYMENT_WAITING;
    case PAYMENT_FORWARDED:
    case PAYMENT_CANCELLING:
        return PAYMENT_OFFERED;
    case PAYMENT_WAITING:
    case PAYMENT_OFFERED:
    case PAYMENT_REVEALED:
    case PAYMENT_FAILED:
    case PAYMENT_REFUNDED:
    case PAYMENT_LAPSED:
        break;
    }
    return (uint8_t)state;
}

void reshard_part(const struct payment *whole, struct payments *payers, uint16_t payer_shard,
                  struct payments *payees, uint16_t payee_shard)
{
    struct leg unknown = {HASH_ZERO, whole->payee.id};
    struct payment *payer = copy_with(whole, &unknown, payers);
    payer->role = HALF_OF_PAYER;
    payer->other_shard = payee_shard;
    payer->state = payer_state((enum payment_state)whole->state);
    payer->due = whole->due == DUE_REFUND ? DUE_REFUND : DUE_NOTHING;
    payer->payee_lock = payer->cancel_nonce = 0;
    payment_set_memo(payer, (struct text){NULL, 0});
    struct payment *payee = reshard_copy(whole, payees);
    payee->role = HALF_OF_PAYEE;
    payee->other_shard = payer_shard;
    if (payee->due == DUE_REFUND)
        payee->due = DUE_NOTHING;
}

/* ---- past payments ---- */

/* The payee's record of a whole payment only leads to the payer's (hub/history.h); who writes it sees to that. */
void reshard_past_join(struct history_item *side, const struct history_item *other)
{
    side->role = PAYMENT_WHOLE;
    side->other_shard = 0;
    side->peer = other->owner;
    if (side->received)
        return;
    side->payee = other->payee;
    side->state = other->state; /* the payee's half knew how it ended */
    side->code = other->code;
    if (side->witness.length == 0)
        side->witness = other->witness;
}

void reshard_past_part(struct history_item *side, uint16_t other_shard)
{
    side->role = side->received ? HALF_OF_PAYEE : HALF_OF_PAYER;
    side->other_shard = other_shard;
    side->peer = ADDRESS_ZERO;
    if (side->received)
        return;
    side->payee.channel = HASH_ZERO;
    side->state =
        payer_state((enum payment_state)side->state); /* else a late refund finds no half that waits */
}
