/* Receipts that go ahead of the disk. A direct payment's receipt is its payee's secret, and passing it on gives away nothing
 * that a crash could take back: the payer's update is durable, or its payee would not know of the payment, and a payee
 * reveals again what the hub has forgotten. So it need not wait for the batch that notes it.
 *
 *     payee's REVEAL ─┬─▶ ahead: to the payer at once, or by its shard, which is told beside the parcel
 *                     └─▶ the turn's batch: REVEALED; from then on a repeated question is answered
 */
#include "base/ensure.h"
#include "base/planted.h"
#include "crypto/lock.h"
#include "hub/engine_state.h"

static void pass(struct engine *engine, uint64_t peer, const struct message *message)
{
    message_encode(&engine->passing, message);
    engine->effects.pass(engine->effects.context, peer, engine->passing.data, engine->passing.length);
    buffer_clear(&engine->passing);
}

/* The ACK of the payment's update may be waiting for just this: it goes along if all that it tells is durable. */
static void pass_ack(struct engine *engine, struct hub_channel *channel)
{
    struct message ack;
    bool is_durable = !channel->dirty && channel->written <= engine->durable;
    if ((is_durable || PLANTED(ACKNOWLEDGE_AHEAD)) && ack_take(channel, &ack))
        pass(engine, channel->client->peer, &ack);
}

/* Overtakes what waits for the disk: not before the client has said RESUME, or it would come before WELCOME. */
static void tell(struct engine *engine, struct payment *payment, const struct witness *witness)
{
    struct hub_channel *payer = engine_channel(engine, &payment->payer.channel);
    if (engine->effects.pass == NULL || payer == NULL || !payer->resumed || payer->client->peer == 0)
        return;
    uint64_t peer = payer->client->peer;
    struct revealed item = {payment->payer.id, *witness};
    struct message message = {.type = MESSAGE_REVEAL};
    message.reveal.channel = payer->channel->id;
    message.reveal.items = &item;
    message.reveal.count = 1;
    pass_ack(engine, payer);
    pass(engine, peer, &message);
    payment->told_link = (uint32_t)peer;
}

void ahead_receipt(struct engine *engine, struct payment *payment, const struct witness *witness)
{
    ensure(!payment->is_locked);
    const struct engine_effects *effects = &engine->effects;
    if (payment->role != HALF_OF_PAYEE)
        tell(engine, payment, witness);
    else if (effects->secret != NULL)
        effects->secret(effects->context, payment->other_shard, &payment->payer, witness);
}

bool ahead_is_told(const struct payment *payment, const struct hub_channel *payer)
{
    return payment->told_link != 0 && payment->told_link == (uint32_t)payer->client->peer;
}

void engine_secret(struct engine *engine, const struct leg *payer, const struct witness *witness)
{
    struct payment *payment = payments_find(&engine->payments, &payer->channel, &payer->id);
    if (payment != NULL && payment->role == HALF_OF_PAYER && !payment->is_locked &&
        payment->state == PAYMENT_WAITING && payment->told_link == 0 &&
        witness_meets(witness, payment->kind, &payment->condition, &engine->settings.domain))
        tell(engine, payment, witness);
}
