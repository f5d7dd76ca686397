/* The hub's watchtower: it gets the newest proof of each client's stream, one appointment of a channel at a
 * time, and its receipts open the way for REVOKE (protocol.md, section 4).
 *
 *     of a channel:  held ─update─▶ queued ─▶ open ─RECEIPT─▶ held       (queued again if more came meanwhile)
 *                                     ▲         └─ERROR, no answer─▶ refused
 *                                     └──────── tried again ───────────┘
 *
 * A slow or dead tower never slows a payment: only a revocation waits. A tower that is silent for a set time
 * is dismissed, for all channels or for the one that it refuses; one that the contract knows by setTower may
 * still act for the hub with what it holds, so that it is dismissed once setTower(…, false) is confirmed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define REFUSED_RETRY_MS 30000
#define LOOK_EVERY_MS    1000

static bool has_tower(const struct engine *engine)
{
    return !address_is_zero(&engine->settings.tower);
}

static uint64_t silence_ms(const struct engine *engine)
{
    return engine->settings.tower_silence_s * 1000;
}

/* A time that is not zero. */
static uint64_t now_of(const struct engine *engine)
{
    return engine->now_ms == 0 ? 1 : engine->now_ms;
}

static const struct watch *watch_of(const struct hub_channel *channel)
{
    static const struct watch never = {0};
    return channel->watch == NULL ? &never : channel->watch;
}

bool appoint_covers(const struct engine *engine, const struct hub_channel *channel, uint64_t nonce)
{
    const struct watch *watch = watch_of(channel);
    return !has_tower(engine) || engine->tower_dismissed || watch->tower_dismissed ||
           watch->receipt_nonce >= nonce;
}

/* ---- what waits to be sent ---- */

static void silence_begins(struct engine *engine)
{
    if (engine->tower_silent_since_ms == 0)
        engine->tower_silent_since_ms = now_of(engine);
}

void appoint_mark(struct engine *engine, struct hub_channel *channel)
{
    if (!has_tower(engine) || watch_of(channel)->appoint_dirty)
        return;
    if (channel->watch == NULL)
        channel->watch = xcalloc(1, sizeof(*channel->watch));
    channel->watch->appoint_dirty = true;
    silence_begins(engine);
    if (channel->watch->appoint_sent_ms != 0)
        return; /* when the one before it is answered */
    channel->watch->next_appoint = NULL;
    if (engine->appoint_tail == NULL)
        engine->appoint_head = channel;
    else
        engine->appoint_tail->watch->next_appoint = channel;
    engine->appoint_tail = channel;
}

static size_t collect_locks(struct engine *engine, const struct hub_channel *channel,
                            struct shown_lock *locks, struct witness *witnesses, size_t *witness_count)
{
    size_t count = 0;
    const struct lock_set *set = channel->channel->streams[SIDE_CLIENT].locks;
    const struct pending_lock *pending = NULL;
    *witness_count = 0;
    if (lock_set_count(set) == 0)
        return 0;
    while ((pending = lock_set_next(set, pending == NULL ? 0 : pending->lock.id)) != NULL) {
        locks[count++] = (struct shown_lock){.lock = pending->lock};
        const struct payment *payment =
            payments_find(&engine->payments, &channel->channel->id, &pending->payment);
        if (payment != NULL && payment->witness != NULL)
            witnesses[(*witness_count)++] = *payment->witness;
    }
    return count;
}

static void send_appointment(struct engine *engine, struct hub_channel *channel)
{
    const struct stream *stream = &channel->channel->streams[SIDE_CLIENT];
    const struct dropped *own = stream_dropped(&channel->channel->streams[SIDE_HUB]);
    struct shown_lock *locks = xcalloc(LOCKS_PER_STREAM_MAX, sizeof(*locks));
    struct witness *witnesses = xcalloc(LOCKS_PER_STREAM_MAX, sizeof(*witnesses));
    struct message message = {.type = MESSAGE_APPOINT};
    message.appoint.key = channel->channel->key;
    message.appoint.proof = (struct shown_proof){stream->proof.nonce > 0, stream->proof, stream->signature};
    struct hash digest = HASH_ZERO;
    if (stream->proof.nonce > 0)
        digest = digest_balance_proof(&engine->settings.domain, &channel->channel->id, &stream->proof);
    channel->watch->appointed_nonce = stream->proof.nonce;
    channel->watch->appointed_digest = digest;
    message.appoint.has_choice = !engine->settings.tower_is_set;
    if (message.appoint.has_choice) {
        struct hash choice = digest_choice(&engine->settings.domain, &digest, &engine->settings.tower);
        message.appoint.choice = key_sign(&engine->settings.key, &choice);
    }
    message.appoint.lock_count =
        collect_locks(engine, channel, locks, witnesses, &message.appoint.witness_count);
    message.appoint.locks = locks;
    message.appoint.witnesses = witnesses;
    message.appoint.revocation =
        (struct shown_revocation){own->revoked_nonce > 0, own->revoked_nonce, own->revocation};
    engine_emit(engine, ENGINE_PEER_TOWER, &message);
    free(locks);
    free(witnesses);
}

void appoint_flush(struct engine *engine)
{
    while (engine->tower_online && engine->appoint_head != NULL &&
           engine->appointments_open < APPOINTMENTS_OPEN_MAX) {
        struct hub_channel *channel = engine->appoint_head;
        engine->appoint_head = channel->watch->next_appoint;
        if (engine->appoint_head == NULL)
            engine->appoint_tail = NULL;
        channel->watch->appoint_dirty = false;
        if (channel->channel->funds.stage == STAGE_CLOSED)
            continue;
        send_appointment(engine, channel);
        channel->watch->appoint_sent_ms = now_of(engine);
        engine->appointed[engine->appointments_open++] = channel;
    }
}

/* ---- what is answered ---- */

/* The appointment is not open any more; what came since goes next. False: none was. */
static bool close_appointment(struct engine *engine, struct hub_channel *channel)
{
    if (watch_of(channel)->appoint_sent_ms == 0)
        return false;
    size_t at = 0;
    while (engine->appointed[at] != channel)
        ensure(++at < engine->appointments_open);
    engine->appointed[at] = engine->appointed[--engine->appointments_open];
    channel->watch->appoint_sent_ms = 0;
    if (channel->watch->appoint_dirty) {
        channel->watch->appoint_dirty = false;
        appoint_mark(engine, channel);
    }
    return true;
}

static void answered(struct engine *engine)
{
    bool waits = engine->appointments_open > 0 || engine->appoint_head != NULL;
    engine->tower_silent_since_ms = waits ? now_of(engine) : 0;
    if (engine->tower_dismissed)
        log_info("the tower answers again");
    engine->tower_dismissed = false;
}

void engine_tower(struct engine *engine, bool connected)
{
    engine->tower_online = connected;
    if (!connected) {
        silence_begins(engine);
        return;
    }
    /* What was sent on an older link may be lost: all that has no receipt goes again. */
    while (engine->appointments_open > 0) {
        struct hub_channel *channel = engine->appointed[0];
        close_appointment(engine, channel);
        appoint_mark(engine, channel);
    }
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel->channel->funds.stage != STAGE_CLOSED &&
            watch_of(channel)->receipt_nonce < channel_peer(channel->channel)->proof.nonce)
            appoint_mark(engine, channel);
    }
    if (engine->appoint_head == NULL)
        engine->tower_silent_since_ms = 0; /* it owes no answer */
}

static bool receipt_is_good(const struct engine *engine, const struct hub_channel *channel,
                            const struct message *message)
{
    const struct watch *watch = watch_of(channel);
    if (watch->appoint_sent_ms == 0 || message->receipt.nonce != watch->appointed_nonce ||
        !hash_equal(&message->receipt.proof_digest, &watch->appointed_digest))
        return false;
    struct hash digest = digest_receipt(&engine->settings.domain, &message->receipt.channel,
                                        message->receipt.nonce, &message->receipt.proof_digest);
    return signature_is_by(&message->receipt.signature, &digest, &engine->settings.tower);
}

static void refused_remove(struct engine *engine, struct hub_channel *channel)
{
    struct watch *watch = channel->watch;
    if (watch->refused_since_ms == 0)
        return;
    struct hub_channel **at = &engine->refused;
    while (*at != channel) {
        ensure(*at != NULL);
        at = &(*at)->watch->next_refused;
    }
    *at = watch->next_refused;
    watch->next_refused = NULL;
    watch->refused_since_ms = 0;
}

void appoint_receipt(struct engine *engine, const struct message *message)
{
    struct hub_channel *channel = engine_channel(engine, &message->receipt.channel);
    if (channel == NULL && engine->settings.shards > 1)
        return; /* another shard's: all hear what the one tower says */
    if (channel == NULL || !receipt_is_good(engine, channel, message)) {
        log_warn("the tower sent a receipt that is not good; ignored");
        return;
    }
    close_appointment(engine, channel);
    refused_remove(engine, channel);
    channel->watch->tower_dismissed = false;
    answered(engine);
    channel->watch->receipt_nonce = channel->watch->appointed_nonce;
    outcome_revoke_due(engine, channel);
}

static void refused(struct engine *engine, struct hub_channel *channel)
{
    if (!close_appointment(engine, channel))
        return;
    struct watch *watch = channel->watch;
    if (watch->refused_since_ms == 0) {
        watch->refused_since_ms = now_of(engine);
        watch->next_refused = engine->refused;
        engine->refused = channel;
    }
    watch->refused_retry_ms = engine->now_ms + REFUSED_RETRY_MS;
}

void appoint_refused(struct engine *engine, const struct message *message)
{
    const struct error_reference *about = &message->error.reference;
    struct hub_channel *channel =
        about->present && about->has_channel ? engine_channel(engine, &about->channel) : NULL;
    if (channel == NULL && about->present && about->has_channel && engine->settings.shards > 1)
        return;
    log_warn("the tower refused an appointment: %s", code_text(message->error.code));
    if (channel != NULL)
        refused(engine, channel);
    answered(engine);
}

/* ---- silence ---- */

static void revoke_all(struct engine *engine)
{
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next)
        outcome_revoke_due(engine, channel);
}

/* Asks the contract to forget the tower; appoint_tower_set goes on. */
static void unset_tower(struct engine *engine)
{
    if (engine->tower_unset_asked)
        return;
    engine->tower_unset_asked = true;
    struct contract_call call = {
        .function = CONTRACT_SET_TOWER, .address = engine->settings.tower, .flag = false};
    engine_emit_call(engine, ENGINE_CALL_SET_TOWER, 0, &call);
    log_warn("the tower does not answer: setTower(…, false) is sent, then revocations go on without it");
}

void appoint_set_tower_failed(struct engine *engine)
{
    engine->tower_unset_asked = false;
}

static void dismiss(struct engine *engine)
{
    if (engine->settings.tower_is_set) {
        unset_tower(engine);
        return;
    }
    log_warn("the tower has been silent for too long: revocations go on without it");
    engine->tower_dismissed = true;
    revoke_all(engine);
}

static void dismiss_for(struct engine *engine, struct hub_channel *channel)
{
    if (engine->settings.tower_is_set) {
        unset_tower(engine);
        return;
    }
    channel->watch->tower_dismissed = true;
    outcome_revoke_due(engine, channel);
}

/* Confirmed on the ledger. */
void appoint_tower_set(struct engine *engine, const struct address *tower, bool allowed)
{
    if (!address_equal(tower, &engine->settings.tower) || engine->settings.tower_is_set == allowed)
        return;
    engine->settings.tower_is_set = allowed;
    if (allowed)
        return;
    /* What it holds without a Choice gives it no authority any more. */
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel->watch != NULL)
            channel->watch->receipt_nonce = 0;
        if (channel->channel->funds.stage != STAGE_CLOSED)
            appoint_mark(engine, channel);
    }
    if (!engine->tower_unset_asked)
        return;
    engine->tower_unset_asked = false;
    dismiss(engine);
}

static void look_at_refused(struct engine *engine, struct hub_channel *channel)
{
    struct watch *watch = channel->watch;
    uint64_t since = watch->refused_since_ms;
    if (channel->channel->funds.stage == STAGE_CLOSED) {
        refused_remove(engine, channel);
        return;
    }
    if (engine->now_ms >= watch->refused_retry_ms) {
        watch->refused_retry_ms = engine->now_ms + REFUSED_RETRY_MS;
        appoint_mark(engine, channel);
    }
    if (!watch->tower_dismissed && engine->now_ms > since && engine->now_ms - since > silence_ms(engine))
        dismiss_for(engine, channel);
}

void appoint_time_begins(struct engine *engine, uint64_t now_ms)
{
    if (engine->tower_silent_since_ms != 0)
        engine->tower_silent_since_ms = now_ms == 0 ? 1 : now_ms;
}

void appoint_time(struct engine *engine)
{
    uint64_t now = engine->now_ms;
    if (!has_tower(engine) || now < engine->appoint_look_ms)
        return;
    engine->appoint_look_ms = now + LOOK_EVERY_MS;
    uint64_t since = engine->tower_silent_since_ms;
    if (!engine->tower_dismissed && since != 0 && now > since && now - since > silence_ms(engine))
        dismiss(engine);
    /* One that it just never answers, while it answers others. */
    for (size_t i = engine->appointments_open; engine->tower_online && i-- > 0;)
        if (now - engine->appointed[i]->watch->appoint_sent_ms > silence_ms(engine))
            refused(engine, engine->appointed[i]);
    for (struct hub_channel *channel = engine->refused, *next; channel != NULL; channel = next) {
        next = channel->watch->next_refused;
        look_at_refused(engine, channel);
    }
}
