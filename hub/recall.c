/* What is asked about payments that are over: they are in the journal's archive (hub/history.h), from where one
 * that its payee sends back is taken up again. */
#include <string.h>

#include "base/ensure.h"
#include "crypto/lock.h"
#include "hub/engine_state.h"
#include "hub/history.h"

static bool recall(const struct engine *engine, const struct payment_id *payee_id, bool received,
                   struct history_item *out)
{
    struct history_found found;
    uint8_t rest[HISTORY_REST_BYTES];
    if (engine->effects.find == NULL)
        return false;
    history_rest(payee_id, received, rest);
    if (!engine->effects.find(engine->effects.context, RECORD_HISTORY, rest, sizeof(rest), history_take,
                              &found))
        return false;
    ensure(found.good); /* the engine wrote it, and the disk has its checksums */
    *out = found.item;
    return true;
}

bool recall_is_known(const struct engine *engine, const struct payment_id *payee_id, bool received)
{
    struct history_item item;
    return recall(engine, payee_id, received, &item);
}

/* Which of the ids the archive has a record of, on this side. */
static void have(const struct engine *engine, const struct payment_id *ids, size_t count, bool received,
                 bool *out)
{
    uint8_t rests[OPERATIONS_MAX * HISTORY_REST_BYTES];
    ensure(count <= OPERATIONS_MAX);
    memset(out, 0, count * sizeof(*out));
    if (engine->effects.have == NULL || count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        history_rest(&ids[i], received, rests + i * HISTORY_REST_BYTES);
    engine->effects.have(engine->effects.context, RECORD_HISTORY, rests, HISTORY_REST_BYTES, count, out);
}

void recall_are_known(struct engine *engine)
{
    have(engine, engine->payee_ids, engine->new_count, false, engine->new_known);
}

void recall_backs(struct engine *engine, const struct operation *operations, size_t count)
{
    struct payment_id ids[OPERATIONS_MAX];
    size_t found = 0;
    engine->back_next = 0;
    for (size_t i = 0; i < count; i++)
        if (operations[i].type == OPERATION_REFUND)
            ids[found++] = operations[i].id;
    have(engine, ids, found, false, engine->back_known[false]);
    have(engine, ids, found, true, engine->back_known[true]);
}

static void tell_outcome(struct engine *engine, struct hub_channel *payer, const struct payment *payment)
{
    if (payment->state == PAYMENT_REVEALED && payment->witness != NULL)
        emit_reveal(engine, payer, &payment->payer.id, payment->witness);
    else if (payment->state == PAYMENT_FAILED)
        emit_fail(engine, payer, &payment->payer.id, payment->code);
}

static void tell_past(struct engine *engine, struct hub_channel *payer, const struct payment_id *id,
                      const struct payment_id *payee_id)
{
    struct history_item item;
    if (!recall(engine, payee_id, false, &item))
        return;
    if (item.state == PAYMENT_REVEALED && item.witness.length > 0)
        emit_reveal(engine, payer, id, &item.witness);
    else if (item.state == PAYMENT_FAILED)
        emit_fail(engine, payer, id, item.code);
}

void recall_outcome(struct engine *engine, struct hub_channel *payer, const struct payment_id *id)
{
    struct payment_id payee_id = payment_id_of_payee(&payer->channel->id, id);
    const struct payment *payment =
        payments_find_derived(&engine->payments, &payer->channel->id, id, &payee_id);
    if (payment != NULL)
        tell_outcome(engine, payer, payment);
    else
        tell_past(engine, payer, id, &payee_id);
}

void recall_outcomes(struct engine *engine, struct hub_channel *payer, const struct payment_id *ids,
                     size_t count)
{
    struct payment_id payee_ids[OUTCOMES_PER_MESSAGE_MAX];
    bool known[OUTCOMES_PER_MESSAGE_MAX];
    ensure(count <= OUTCOMES_PER_MESSAGE_MAX);
    if (count == 0)
        return;
    memcpy(payee_ids, ids, count * sizeof(*ids));
    payment_ids_of_payee(&payer->channel->id, payee_ids, count);
    have(engine, payee_ids, count, false, known);
    for (size_t i = 0; i < count; i++) {
        const struct payment *payment =
            payments_find_derived(&engine->payments, &payer->channel->id, &ids[i], &payee_ids[i]);
        if (payment != NULL)
            tell_outcome(engine, payer, payment);
        else if (known[i])
            tell_past(engine, payer, &ids[i], &payee_ids[i]);
    }
}

/* A row again, as it was when it left. */
static struct payment *take_up(struct engine *engine, const struct history_item *item)
{
    struct payment *payment = payments_add(&engine->payments, &item->payer, &item->payee);
    ensure(payment != NULL);
    payment->state = item->state;
    payment->kind = item->kind;
    payment->role = item->role;
    payment->other_shard = item->other_shard;
    payment->amount = item->amount;
    payment->fee = item->fee;
    payment->expiry = item->expiry;
    payment->code = (uint8_t)item->code;
    payment->condition = item->condition;
    payment->booked = (uint32_t)item->time;
    payment->past = true;
    if (item->witness.length > 0)
        payment_set_witness(&engine->payments, payment, &item->witness);
    payment_schedule(engine, payment);
    return payment;
}

static bool may_be_sent_back(bool is_locked, uint8_t state, struct amount amount, struct amount asked)
{
    return !is_locked && (state == PAYMENT_SIGNED || state == PAYMENT_REVEALED) &&
           amount_compare(amount, asked) == 0;
}

/* A payee's half can outlive the payer's: pruned a day sooner, and then not there when the number of shards changed.
 * Nobody is left to be told of it. */
static bool has_other_half(const struct engine *engine, const struct history_item *item)
{
    return item->other_shard < engine->settings.shards && item->other_shard != engine->settings.shard &&
           engine_channel(engine, &item->payer.channel) == NULL;
}

struct payment *recall_of_payee(struct engine *engine, const struct hub_channel *payee,
                                const struct payment_id *id, struct amount amount, const bool is_known[2])
{
    struct payment *payment = payments_find_payee(&engine->payments, &payee->channel->id, id);
    if (payment != NULL)
        return may_be_sent_back(payment->is_locked, payment->state, payment->amount, amount) ? payment : NULL;
    struct history_item item;
    if (!(is_known[false] && recall(engine, id, false, &item)) &&
        !(is_known[true] && recall(engine, id, true, &item)))
        return NULL;
    if (item.role == HALF_OF_PAYER || !hash_equal(&item.payee.channel, &payee->channel->id) ||
        !may_be_sent_back(item.is_locked, item.state, item.amount, amount))
        return NULL;
    if (item.role == PAYMENT_WHOLE ? engine_channel(engine, &item.payer.channel) == NULL
                                   : !has_other_half(engine, &item))
        return NULL;
    return take_up(engine, &item);
}

struct payment *recall_half(struct engine *engine, const struct leg *payer)
{
    struct payment *payment = payments_find(&engine->payments, &payer->channel, &payer->id);
    if (payment != NULL)
        return payment;
    struct payment_id payee_id = payment_id_of_payee(&payer->channel, &payer->id);
    struct history_item item;
    if (!recall(engine, &payee_id, false, &item) || item.role != HALF_OF_PAYER || item.is_locked ||
        item.state == PAYMENT_REFUNDED || engine_channel(engine, &payer->channel) == NULL)
        return NULL;
    return take_up(engine, &item);
}
