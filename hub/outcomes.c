/* How payments end: secrets shown, locks failed, revoked, expired or met on the ledger, and what the payer is
 * told. */
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

static struct hub_channel *payer_of(const struct engine *engine, const struct payment *payment)
{
    return engine_channel(engine, &payment->payer.channel);
}

static struct hub_channel *payee_of(const struct engine *engine, const struct payment *payment)
{
    return engine_channel(engine, &payment->payee.channel);
}

/* From then on a receiver that has not been unlocked registers the witness. */
static uint64_t register_time(const struct engine *engine, const struct payment *payment)
{
    uint64_t margin = engine->settings.terms.reveal_margin_s;
    return payment->expiry > margin ? payment->expiry - margin : 0;
}

static bool payer_lock_stands(const struct hub_channel *payer, const struct payment *payment)
{
    return payer != NULL && lock_set_find(channel_peer(payer->channel)->locks, payment->payer_lock) != NULL;
}

/* The payer was shown the witness and has not unlocked: if need be, the ledger must be told. */
static bool awaits_unlock(const struct engine *engine, const struct payment *payment)
{
    return payment->is_locked && payment->state == PAYMENT_REVEALED && payment->witness != NULL &&
           payer_lock_stands(payer_of(engine, payment), payment) &&
           engine_registration(engine, payment->kind, &payment->condition) == NULL;
}

/* Every payment under way is in the table's list of times, at the next time that matters to it. */
void payment_schedule(struct engine *engine, struct payment *payment)
{
    uint64_t now = engine->head.confirmed_time, time = payment->expiry + OUTCOME_KEPT_S;
    if (payment->is_locked && now < register_time(engine, payment))
        time = register_time(engine, payment);
    else if (now < payment->expiry && awaits_unlock(engine, payment))
        time = now + 1; /* a crash, or a refusal, may have taken the transaction: looked at block by block */
    else if (now <= payment->expiry)
        time = payment->expiry + 1;
    else if (now >= time)
        time = now + OUTCOME_KEPT_S; /* something is still due */
    payments_schedule(&engine->payments, payment, time);
}

enum code outcome_code(uint64_t code)
{
    return code == CODE_OK || code > UINT8_MAX ? CODE_INVOICE : (enum code)code;
}

/* ---- telling the payer ---- */

void emit_reveal(struct engine *engine, struct hub_channel *payer, const struct payment_id *id,
                 const struct witness *witness)
{
    ack_rides(engine, payer);
    engine_emit_reveal(engine, payer, &(struct revealed){*id, *witness});
}

void emit_fail(struct engine *engine, struct hub_channel *payer, const struct payment_id *id, uint64_t code)
{
    struct failed item = {*id, code};
    struct message message = {.type = MESSAGE_FAIL};
    message.fail.channel = payer->channel->id;
    message.fail.items = &item;
    message.fail.count = 1;
    ack_rides(engine, payer);
    engine_emit(engine, payer->client->peer, &message);
}

void payment_revealed(struct engine *engine, struct payment *payment, const struct witness *witness)
{
    if (witness != NULL)
        payment_set_witness(&engine->payments, payment, witness);
    payment->state = PAYMENT_REVEALED;
    payments_touch(&engine->payments, payment);
    if (payment->role != HALF_OF_PAYER) { /* counted once, where it ends */
        engine->figures.payments_revealed++;
        engine->figures.volume_units += payment->amount.units;
        engine->figures.fees_units += payment->fee.units;
        engine->gross_units += payment->amount.units;
    }
    transfer_outcome(engine, payment, TRANSFER_REVEALED);
    struct hub_channel *payer = payer_of(engine, payment);
    bool is_secret = payment->witness != NULL; /* met on the ledger only: the payer sees that itself */
    if (payer != NULL && is_secret && !ahead_is_told(payment, payer))
        emit_reveal(engine, payer, &payment->payer.id, payment->witness);
    if (payment->is_locked && payer != NULL)
        appoint_mark(engine, payer); /* the tower should know the witness of the payer's lock */
}

void payment_fail(struct engine *engine, struct payment *payment, enum code code)
{
    struct hub_channel *payer = payer_of(engine, payment);
    ensure(payment->is_locked && (payer == NULL) == (payment->role == HALF_OF_PAYEE));
    payment->state = PAYMENT_FAILED;
    payment->due = DUE_NOTHING;
    payment->code = (uint8_t)code;
    payments_touch(&engine->payments, payment);
    transfer_outcome(engine, payment, TRANSFER_FAILED);
    if (payer == NULL)
        return;
    engine->figures.payments_failed++;
    if (channel_mark_lock_failed(payer->channel, payment->payer_lock)) {
        engine_touch(engine, payer);
        emit_fail(engine, payer, &payment->payer.id, payment->code);
    }
}

void payment_refund(struct engine *engine, struct payment *payment, enum code code)
{
    ensure(!payment->is_locked && payment->state != PAYMENT_REFUNDED);
    if (payment->state == PAYMENT_REVEALED && payment->role != HALF_OF_PAYER)
        engine->figures.payments_revealed--;
    payment->state = PAYMENT_REFUNDED;
    payment->code = (uint8_t)code;
    if (payment->role == HALF_OF_PAYEE) {
        payment_set_due(engine, payment, DUE_NOTHING);
        transfer_outcome(engine, payment, TRANSFER_REFUNDED);
        return;
    }
    engine->figures.payments_refunded++;
    payment_set_due(engine, payment, DUE_REFUND);
}

/* ---- the payee's answers ---- */

/* Of a longer message each receipt would cost a frame, where the turn puts those of one payer together; and where so many
 * come at once, it is not the disk that they wait for. */
#define AHEAD_MAX 8

static struct error_reference about_payment(uint64_t type, const struct hub_channel *channel,
                                            const struct payment_id *id)
{
    return (struct error_reference){.present = true,
                                    .type = type,
                                    .has_channel = true,
                                    .channel = channel->channel->id,
                                    .has_id = true,
                                    .id = *id};
}

static void reveal_one(struct engine *engine, struct hub_channel *channel, const struct revealed *item,
                       bool goes_ahead)
{
    struct payment *payment = payments_find_payee(&engine->payments, &channel->channel->id, &item->id);
    if (payment == NULL || (payment->state != PAYMENT_SIGNED && payment->state != PAYMENT_FORWARDED))
        return; /* repeated or unknown */
    if (!witness_meets(&item->witness, payment->kind, &payment->condition, &engine->settings.domain)) {
        struct error_reference reference = about_payment(MESSAGE_REVEAL, channel, &item->id);
        engine_emit_error(engine, channel->client->peer, CODE_WITNESS, NULL, &reference);
        return;
    }
    if (!payment->is_locked) {
        engine->went_ahead &= goes_ahead;
        if (goes_ahead)
            ahead_receipt(engine, payment, &item->witness);
        payment_revealed(engine, payment, &item->witness);
        return;
    }
    engine->went_ahead = false;
    /* Section 3: shown until expiry − 2 × margin it obliges; later only a confirmed registration does. By the latest time
     * that blocks may have: else who pays and who is paid, together, wait for a node that stands still, and what was
     * unlocked to the one in time has expired for the other when it goes on. An honest payee registers. */
    if (engine_latest_time(engine) + 2 * engine->settings.terms.reveal_margin_s > payment->expiry)
        return;
    payment_revealed(engine, payment, &item->witness);
    payment_set_due(engine, payment, DUE_UNLOCK);
}

void outcome_reveal(struct engine *engine, struct hub_channel *channel, const struct message *message)
{
    const struct revealed *items = message->reveal.items;
    for (size_t i = 0; i < message->reveal.count; i++) {
        if (i + PAYMENTS_AHEAD < message->reveal.count)
            payments_expect(&engine->payments, &items[i + PAYMENTS_AHEAD].id);
        if (i + PAYMENTS_AHEAD / 2 < message->reveal.count)
            payments_approach(&engine->payments, &items[i + PAYMENTS_AHEAD / 2].id);
        reveal_one(engine, channel, &items[i], message->reveal.count <= AHEAD_MAX);
    }
}

static void cancelling_remove(struct hub_channel *channel, struct payment *payment)
{
    struct payment **at = &channel->cancelling;
    while (*at != payment) {
        ensure(*at != NULL);
        at = &(*at)->next_cancelling;
    }
    *at = payment->next_cancelling;
    payment->next_cancelling = NULL;
}

void outcome_fail(struct engine *engine, struct hub_channel *channel, const struct message *message)
{
    for (size_t i = 0; i < message->fail.count; i++) {
        const struct failed *item = &message->fail.items[i];
        struct payment *payment = payments_find_payee(&engine->payments, &channel->channel->id, &item->id);
        if (payment == NULL || payment->state != PAYMENT_FORWARDED || payment->due != DUE_NOTHING ||
            channel_fail_received(channel->channel, &item->id) == NULL)
            continue; /* unknown, direct, or settled already */
        payment->state = PAYMENT_CANCELLING;
        payment->code = (uint8_t)outcome_code(item->code);
        payment->next_cancelling = channel->cancelling;
        channel->cancelling = payment;
        payment_set_due(engine, payment, DUE_CANCEL);
    }
}

/* The payee's promise that dropped locks are void: now, and only now, the payers of those that it failed are
 * told. */
void outcome_revoke(struct engine *engine, struct hub_channel *channel, const struct message *message)
{
    struct channel_view view = engine_view(engine, channel);
    enum code code = channel_revocation_received(channel->channel, &view, message->revoke.min_nonce,
                                                 &message->revoke.signature, NULL);
    if (code != CODE_OK) {
        struct error_reference reference = {.present = true,
                                            .type = MESSAGE_REVOKE,
                                            .has_channel = true,
                                            .channel = channel->channel->id,
                                            .has_nonce = true,
                                            .nonce = message->revoke.min_nonce};
        engine_emit_error(engine, channel->client->peer, code, NULL, &reference);
        return;
    }
    engine_touch(engine, channel);
    appoint_mark(engine, channel);
    uint64_t revoked = stream_dropped(channel_own(channel->channel))->revoked_nonce;
    for (struct payment *payment = channel->cancelling, *next; payment != NULL; payment = next) {
        next = payment->next_cancelling;
        if (payment->cancel_nonce <= revoked && payment->due == DUE_NOTHING) {
            cancelling_remove(channel, payment);
            payment_fail(engine, payment, (enum code)payment->code);
        }
    }
}

/* As receiver of the client's stream: REVOKE for what it dropped, once each tower holds the update that
 * dropped it. */
void outcome_revoke_due(struct engine *engine, struct hub_channel *channel)
{
    uint64_t nonce = channel_revocation_due(channel->channel);
    if (nonce == 0)
        return;
    if (!appoint_covers(engine, channel, nonce)) {
        appoint_urgent(engine, channel);
        return;
    }
    struct message message = {.type = MESSAGE_REVOKE};
    message.revoke.channel = channel->channel->id;
    message.revoke.min_nonce = nonce;
    message.revoke.signature =
        channel_revoke(channel->channel, &engine->settings.domain, &engine->settings.key, nonce);
    engine_touch(engine, channel);
    engine_emit(engine, channel->client->peer, &message);
}

/* A secret is its own witness, and so in the registration; an attestation's is not. NULL: none is known. */
static const struct witness *registered_witness(const struct registration *registration, struct witness *out)
{
    if (registration == NULL || registration->key.kind != LOCK_SECRET)
        return NULL;
    *out = (struct witness){.length = WITNESS_SECRET_BYTES};
    memcpy(out->bytes, registration->witness.bytes, sizeof(registration->witness.bytes));
    return out;
}

/* The payer unlocked a lock whose witness nobody had shown here: it was registered on the ledger. Where this shard has
 * seen that, the payee's need not have. */
void outcome_unlocked(struct engine *engine, struct payment *payment, const struct witness *witness)
{
    struct witness registered;
    if (witness == NULL)
        witness =
            registered_witness(engine_registration(engine, payment->kind, &payment->condition), &registered);
    if (payment->state == PAYMENT_OFFERED) {
        /* It gave the secret away before the payee had the lock: paid, whatever becomes of the rest. */
        payment->payer_lock = 0;
        payments_touch(&engine->payments, payment);
        if (payment->role == HALF_OF_PAYER)
            transfer_unlocked(engine, payment, witness);
        return;
    }
    if (payment->state == PAYMENT_CANCELLING && payee_of(engine, payment) != NULL)
        cancelling_remove(payee_of(engine, payment), payment);
    else if (payment->state != PAYMENT_FORWARDED)
        return;
    bool stands = payment->state == PAYMENT_FORWARDED;
    payment_revealed(engine, payment, witness);
    struct hub_channel *payee = payee_of(engine, payment);
    if (stands && payee != NULL)
        payment_set_due(engine, payment, DUE_UNLOCK);
}

/* ---- the ledger and time ---- */

/* A witness registered in time obliges both legs, whenever it is seen: also for a lock that the payee failed
 * but has not revoked, since an older proof still claims it on the ledger. */
static void met_on_ledger(struct engine *engine, struct payment *payment,
                          const struct registration *registration)
{
    struct hub_channel *payee = payee_of(engine, payment);
    bool stands = payment->state == PAYMENT_FORWARDED;
    struct witness witness;
    if (payment->state == PAYMENT_CANCELLING && payee != NULL)
        cancelling_remove(payee, payment);
    payment_revealed(engine, payment, registered_witness(registration, &witness));
    if (stands && payee != NULL)
        payment_set_due(engine, payment, DUE_UNLOCK);
}

static bool awaits_witness(const struct payment *payment)
{
    return (payment->state == PAYMENT_FORWARDED || payment->state == PAYMENT_CANCELLING) &&
           payment->due == DUE_NOTHING;
}

void outcome_registered(struct engine *engine, const struct registration *registration)
{
    struct payment *payment =
        payments_on_condition(&engine->payments, registration->key.kind, &registration->key.condition);
    for (; payment != NULL; payment = payment->next_alike) {
        if (awaits_witness(payment) && registration->time <= payment->expiry)
            met_on_ledger(engine, payment, registration);
        else if (payment->due == DUE_UNLOCK)
            engine_touch(engine, payee_of(engine, payment)); /* it may have waited for this */
    }
}

static struct contract_call registration_call(const struct payment *payment)
{
    struct contract_call call = {.function = CONTRACT_REGISTER_SECRET};
    const uint8_t *bytes = payment->witness->bytes;
    if (payment->kind == LOCK_SECRET) {
        memcpy(call.hash.bytes, bytes, 32);
    } else {
        call.function = CONTRACT_REGISTER_ATTESTATION;
        memcpy(call.address.bytes, bytes, 20);
        memcpy(call.hash.bytes, bytes + 20, 32);
        memcpy(call.signature.bytes, bytes + 52, 64);
    }
    return call;
}

/* The payer has not unlocked what was shown to it: the ledger is told of the witness while that still counts.
 * Once, unless a registration failed since (outcome_register_failed). */
static void register_witness(struct engine *engine, struct payment *payment)
{
    if (payment->register_round == engine->register_round || !awaits_unlock(engine, payment))
        return;
    struct contract_call call = registration_call(payment);
    engine_emit_call(engine, ENGINE_CALL_REGISTER, 0, &call);
    struct payment *alike = payments_on_condition(&engine->payments, payment->kind, &payment->condition);
    for (; alike != NULL; alike = alike->next_alike)
        alike->register_round = engine->register_round;
}

void outcome_register_held(struct engine *engine, const struct hub_channel *payer,
                           const struct pending_lock *lock)
{
    struct payment *payment = payments_find(&engine->payments, &payer->channel->id, &lock->payment);
    if (payment != NULL && payment->payer_lock == lock->lock.id &&
        engine_newest_time(engine) < payment->expiry)
        register_witness(engine, payment);
}

/* Which one is not said: whoever still needs it asks again. */
void outcome_register_failed(struct engine *engine)
{
    engine->register_round++;
}

static void lock_expired(struct engine *engine, struct payment *payment)
{
    const struct registration *registration = engine_registration(engine, payment->kind, &payment->condition);
    if (registration != NULL && registration->time <= payment->expiry) {
        met_on_ledger(engine, payment, registration);
        return;
    }
    struct hub_channel *payee = payee_of(engine, payment);
    bool stands = payment->state == PAYMENT_FORWARDED;
    if (!stands && payee != NULL)
        cancelling_remove(payee, payment);
    payment->state = PAYMENT_LAPSED;
    payment->code = CODE_EXPIRED;
    payments_touch(&engine->payments, payment);
    transfer_outcome(engine, payment, TRANSFER_LAPSED);
    if (stands && payee != NULL)
        payment_set_due(engine, payment, DUE_EXPIRE);
}

static void expired(struct engine *engine, struct payment *payment)
{
    if (payment->role == HALF_OF_PAYER)
        return; /* the payee's half decides */
    switch ((enum payment_state)payment->state) {
    case PAYMENT_WAITING:
        payment_refund(engine, payment, CODE_EXPIRED);
        return;
    case PAYMENT_OFFERED:
        payment_set_due(engine, payment, DUE_NOTHING);
        payment_fail(engine, payment, CODE_EXPIRED);
        return;
    case PAYMENT_FORWARDED:
    case PAYMENT_CANCELLING:
        lock_expired(engine, payment);
        return;
    case PAYMENT_SIGNED: /* the payee's, receipt or not */
    case PAYMENT_REVEALED:
    case PAYMENT_FAILED:
    case PAYMENT_REFUNDED:
    case PAYMENT_LAPSED:
        return;
    }
}

bool payment_is_over(const struct engine *engine, const struct payment *payment)
{
    if (payment->due != DUE_NOTHING)
        return false;
    if (payment->retired)
        return true;
    switch ((enum payment_state)payment->state) {
    case PAYMENT_REVEALED: /* a payer that has not unlocked may have to be told by the ledger */
        return !payment->is_locked || !payer_lock_stands(payer_of(engine, payment), payment);
    case PAYMENT_FAILED:
    case PAYMENT_REFUNDED:
    case PAYMENT_LAPSED:
        return true;
    case PAYMENT_WAITING:
    case PAYMENT_SIGNED: /* the secret may still come */
    case PAYMENT_OFFERED:
    case PAYMENT_FORWARDED:
    case PAYMENT_CANCELLING:
        break;
    }
    return false;
}

/* Nothing more is to be hoped for, whatever its state. */
static bool may_go(const struct engine *engine, const struct payment *payment)
{
    return payment->due == DUE_NOTHING && engine->head.confirmed_time >= payment->expiry + OUTCOME_KEPT_S;
}

static void look_at(struct engine *engine, struct payment *payment, uint64_t newest)
{
    if (engine->head.confirmed_time > payment->expiry)
        expired(engine, payment);
    /* By the newest block's time, which the registration has to beat, not by the confirmed one. */
    if (payment->is_locked && payment->state == PAYMENT_REVEALED &&
        newest >= register_time(engine, payment) && newest < payment->expiry)
        register_witness(engine, payment);
}

static void keep_looked_at(struct engine *engine, struct payment *payment)
{
    if (engine->looked_count == engine->looked_capacity) {
        engine->looked_capacity = engine->looked_capacity == 0 ? 64 : 2 * engine->looked_capacity;
        engine->looked = xrealloc(engine->looked, engine->looked_capacity * sizeof(struct payment *));
    }
    engine->looked[engine->looked_count++] = payment;
}

void outcome_time(struct engine *engine)
{
    uint64_t newest = engine_newest_time(engine);
    struct payment *payment;
    while ((payment = payments_due(&engine->payments, newest)) != NULL) {
        look_at(engine, payment, newest);
        keep_looked_at(engine, payment);
    }
    /* Only now: between the confirmed time and the newest each would come again at once. */
    for (size_t i = 0; i < engine->looked_count; i++) {
        payment = engine->looked[i];
        if (payment->leaving != 0)
            continue;
        if (may_go(engine, payment)) {
            payment->retired = true;
            payments_touch(&engine->payments, payment);
        } else {
            payment_schedule(engine, payment);
        }
    }
    engine->looked_count = 0;
}

/* ---- another shard's word ---- */

static void payer_half_ends(struct engine *engine, struct payment *payment, enum transfer_type type,
                            enum code code, const struct witness *witness)
{
    bool waits = payment->state == PAYMENT_WAITING || payment->state == PAYMENT_OFFERED;
    if (type == TRANSFER_REFUNDED && !payment->is_locked && (waits || payment->state == PAYMENT_REVEALED)) {
        payment_refund(engine, payment, code);
    } else if (!waits) {
        log_error("another shard ends a payment that has ended here; ignored");
    } else if (type == TRANSFER_REVEALED) {
        payment_revealed(engine, payment, witness);
        /* It may have come late, after the look at the time from which the ledger is told. */
        look_at(engine, payment, engine_newest_time(engine));
    } else if (type == TRANSFER_FAILED && payment->is_locked) {
        payment_fail(engine, payment, code);
    } else if (type == TRANSFER_LAPSED && payment->is_locked) {
        payment->state = PAYMENT_LAPSED;
        payment->code = CODE_EXPIRED;
        payments_touch(&engine->payments, payment);
    }
}

void outcome_of_other_half(struct engine *engine, struct payment *payment, enum transfer_type type,
                           enum code code, const struct witness *witness)
{
    if (type == TRANSFER_UNLOCKED)
        outcome_unlocked(engine, payment, witness);
    else
        payer_half_ends(engine, payment, type, code, witness);
}
