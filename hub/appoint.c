/* The hub's watchtowers: each gets the newest proof of each client's stream, one appointment of a channel at a
 * time, and their receipts open the way for REVOKE (protocol.md, section 4).
 *
 *     of a channel and tower:  held ─update─▶ queued ─▶ open ─RECEIPT─▶ held   (queued again if more came meanwhile)
 *                                               ▲         └─ERROR, no answer─▶ refused
 *                                               └──────── tried again ───────────┘
 *
 * A channel's appointments leave APPOINT_EVERY_MS apart at least, each with whatever came meanwhile; only what a
 * revocation waits for leaves at once. A slow or dead tower never slows a payment: only a revocation waits. A tower that is silent for a set time
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
#define APPOINT_EVERY_MS 100

static size_t tower_count(const struct engine *engine)
{
    return engine->settings.tower_count;
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

static const struct watch *watch_of(const struct hub_channel *channel, size_t tower)
{
    static const struct watch never = {0};
    return channel->watch == NULL ? &never : &channel->watch[tower];
}

static const char *name_of(const struct engine *engine, size_t tower, char text[ADDRESS_TEXT_SIZE])
{
    return address_text(&engine->settings.towers[tower].address, text);
}

bool appoint_covers(const struct engine *engine, const struct hub_channel *channel, uint64_t nonce)
{
    for (size_t i = 0; i < tower_count(engine); i++) {
        const struct watch *watch = watch_of(channel, i);
        if (!engine->towers[i].dismissed && !watch->tower_dismissed && watch->receipt_nonce < nonce)
            return false;
    }
    return true;
}

/* ---- what waits to be sent ---- */

static void silence_begins(const struct engine *engine, struct hub_tower *tower)
{
    if (tower->silent_since_ms == 0)
        tower->silent_since_ms = now_of(engine);
}

static void mark_for(struct engine *engine, struct hub_channel *channel, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    if (watch_of(channel, index)->appoint_dirty)
        return;
    struct watch *watch = promise_watch(engine, channel, index);
    watch->appoint_dirty = true;
    silence_begins(engine, tower);
    if (watch->appoint_sent_ms != 0 || watch->queued)
        return; /* when the one before it is answered */
    watch->queued = true;
    watch->next_appoint = NULL;
    if (tower->appoint_tail == NULL)
        tower->appoint_head = channel;
    else
        tower->appoint_tail->watch[index].next_appoint = channel;
    tower->appoint_tail = channel;
}

void appoint_mark(struct engine *engine, struct hub_channel *channel)
{
    for (size_t i = 0; i < tower_count(engine); i++)
        mark_for(engine, channel, i);
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

static void send_appointment(struct engine *engine, const struct appointed *appointed, size_t tower)
{
    const struct hub_channel *channel = appointed->channel;
    const struct stream *stream = &channel->channel->streams[SIDE_CLIENT];
    const struct dropped *own = stream_dropped(&channel->channel->streams[SIDE_HUB]);
    size_t room = lock_set_count(stream->locks) + 1;
    struct shown_lock *locks = xmalloc(room * sizeof(*locks));
    struct witness *witnesses = xmalloc(room * sizeof(*witnesses));
    struct message message = {.type = MESSAGE_APPOINT};
    message.appoint.key = channel->channel->key;
    message.appoint.proof =
        (struct shown_proof){appointed->proof.nonce > 0, appointed->proof, appointed->signature};
    message.appoint.has_choice = !engine->settings.towers[tower].is_set;
    if (message.appoint.has_choice) {
        struct hash choice = digest_choice(&engine->settings.domain, &appointed->digest,
                                           &engine->settings.towers[tower].address);
        message.appoint.choice = key_sign(&engine->settings.key, &choice);
    }
    message.appoint.lock_count =
        collect_locks(engine, channel, locks, witnesses, &message.appoint.witness_count);
    message.appoint.locks = locks;
    message.appoint.witnesses = witnesses;
    message.appoint.revocation =
        (struct shown_revocation){own->revoked_nonce > 0, own->revoked_nonce, own->revocation};
    engine_emit(engine, ENGINE_PEER_TOWER + tower, &message);
    free(locks);
    free(witnesses);
}

static bool may_send(const struct hub_tower *tower)
{
    return tower->online && tower->appointments_open < APPOINTMENTS_OPEN_MAX;
}

/* What is wanted for a channel leaves; it may still be in the queue. */
static void appoint(struct engine *engine, struct hub_channel *channel, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    struct watch *watch = &channel->watch[index];
    ensure(watch->appoint_sent_ms == 0);
    watch->appoint_dirty = false;
    if (channel->channel->funds.stage == STAGE_CLOSED)
        return;
    const struct stream *stream = &channel->channel->streams[SIDE_CLIENT];
    struct appointed *appointed = &tower->appointed[tower->appointments_open++];
    *appointed = (struct appointed){channel, stream->proof, stream->signature, HASH_ZERO};
    if (stream->proof.nonce > 0)
        appointed->digest =
            digest_balance_proof(&engine->settings.domain, &channel->channel->id, &stream->proof);
    send_appointment(engine, appointed, index);
    watch->appoint_sent_ms = now_of(engine);
    watch->next_ms = engine->now_ms + APPOINT_EVERY_MS;
}

static void flush_to(struct engine *engine, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    while (may_send(tower) && tower->appoint_head != NULL) {
        struct hub_channel *channel = tower->appoint_head;
        struct watch *watch = &channel->watch[index];
        /* One that is open, sent by appoint_urgent, is answered first: what came since goes then. */
        bool is_due = watch->appoint_dirty && watch->appoint_sent_ms == 0;
        if (is_due && engine->now_ms < watch->next_ms)
            return; /* those behind it wait as long at most */
        tower->appoint_head = watch->next_appoint;
        if (tower->appoint_head == NULL)
            tower->appoint_tail = NULL;
        watch->queued = false;
        if (is_due)
            appoint(engine, channel, index);
    }
    if (tower->online && tower->appoint_head == NULL && tower->appointments_open == 0)
        tower->silent_since_ms = 0; /* it owes no answer */
}

void appoint_urgent(struct engine *engine, struct hub_channel *channel)
{
    for (size_t i = 0; i < tower_count(engine); i++)
        if (may_send(&engine->towers[i]) && watch_of(channel, i)->appoint_dirty &&
            watch_of(channel, i)->appoint_sent_ms == 0)
            appoint(engine, channel, i);
}

void appoint_flush(struct engine *engine)
{
    for (size_t i = 0; i < tower_count(engine); i++)
        flush_to(engine, i);
}

/* ---- what is answered ---- */

/* That of a channel whose watch says that there is one. */
static struct appointed *appointed_of(struct engine *engine, const struct hub_channel *channel, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    size_t at = 0;
    while (tower->appointed[at].channel != channel)
        ensure(++at < tower->appointments_open);
    return &tower->appointed[at];
}

/* The appointment is not open any more; what came since goes next. False: none was. */
static bool close_appointment(struct engine *engine, struct hub_channel *channel, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    if (watch_of(channel, index)->appoint_sent_ms == 0)
        return false;
    struct watch *watch = &channel->watch[index];
    struct appointed *place = appointed_of(engine, channel, index);
    *place = tower->appointed[--tower->appointments_open];
    watch->appoint_sent_ms = 0;
    if (watch->appoint_dirty) {
        watch->appoint_dirty = false;
        mark_for(engine, channel, index);
    }
    return true;
}

static void answered(struct engine *engine, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    char text[ADDRESS_TEXT_SIZE];
    bool waits = tower->appointments_open > 0 || tower->appoint_head != NULL;
    tower->silent_since_ms = waits ? now_of(engine) : 0;
    if (tower->dismissed)
        log_info("tower %s answers again", name_of(engine, index, text));
    tower->dismissed = false;
}

void engine_tower(struct engine *engine, size_t index, bool connected)
{
    ensure(index < ENGINE_TOWERS_MAX);
    struct hub_tower *tower = &engine->towers[index];
    tower->online = connected;
    if (!connected) {
        silence_begins(engine, tower);
        return;
    }
    /* What was sent on an older link may be lost: all that has no receipt goes again. */
    while (tower->appointments_open > 0) {
        struct hub_channel *channel = tower->appointed[0].channel;
        close_appointment(engine, channel, index);
        mark_for(engine, channel, index);
    }
    for (struct hub_channel *channel = engine->channels; channel != NULL && index < tower_count(engine);
         channel = channel->next) {
        if (channel->channel->funds.stage != STAGE_CLOSED &&
            watch_of(channel, index)->receipt_nonce < channel_peer(channel->channel)->proof.nonce)
            mark_for(engine, channel, index);
    }
    if (tower->appoint_head == NULL)
        tower->silent_since_ms = 0; /* it owes no answer */
}

/* The appointment that a receipt is for. NULL: it is not good. */
static const struct appointed *receipt_reason(struct engine *engine, const struct hub_channel *channel,
                                              size_t tower, const struct message *message)
{
    if (watch_of(channel, tower)->appoint_sent_ms == 0)
        return NULL;
    const struct appointed *appointed = appointed_of(engine, channel, tower);
    if (message->receipt.nonce != appointed->proof.nonce ||
        !hash_equal(&message->receipt.proof_digest, &appointed->digest))
        return NULL;
    struct hash digest = digest_receipt(&engine->settings.domain, &message->receipt.channel,
                                        message->receipt.nonce, &message->receipt.proof_digest);
    bool is_its =
        signature_is_by(&message->receipt.signature, &digest, &engine->settings.towers[tower].address);
    return is_its ? appointed : NULL;
}

static void refused_remove(struct engine *engine, struct hub_channel *channel, size_t tower)
{
    struct watch *watch = &channel->watch[tower];
    if (watch->refused_since_ms == 0)
        return;
    struct hub_channel **at = &engine->towers[tower].refused;
    while (*at != channel) {
        ensure(*at != NULL);
        at = &(*at)->watch[tower].next_refused;
    }
    *at = watch->next_refused;
    watch->next_refused = NULL;
    watch->refused_since_ms = 0;
}

void appoint_receipt(struct engine *engine, size_t tower, const struct message *message)
{
    struct hub_channel *channel = engine_channel(engine, &message->receipt.channel);
    if (channel == NULL && engine->settings.shards > 1)
        return; /* another shard's: all hear what a tower says */
    const struct appointed *reason = channel == NULL ? NULL : receipt_reason(engine, channel, tower, message);
    if (reason == NULL) {
        char text[ADDRESS_TEXT_SIZE];
        log_warn("tower %s sent a receipt that is not good; ignored", name_of(engine, tower, text));
        return;
    }
    promise_keep(engine, reason, tower, &message->receipt.signature);
    close_appointment(engine, channel, tower);
    refused_remove(engine, channel, tower);
    struct watch *watch = &channel->watch[tower];
    watch->tower_dismissed = false;
    answered(engine, tower);
    watch->receipt_nonce = message->receipt.nonce;
    outcome_revoke_due(engine, channel);
}

static void refused(struct engine *engine, struct hub_channel *channel, size_t tower)
{
    if (!close_appointment(engine, channel, tower))
        return;
    struct watch *watch = &channel->watch[tower];
    if (watch->refused_since_ms == 0) {
        watch->refused_since_ms = now_of(engine);
        watch->next_refused = engine->towers[tower].refused;
        engine->towers[tower].refused = channel;
    }
    watch->refused_retry_ms = engine->now_ms + REFUSED_RETRY_MS;
}

void appoint_refused(struct engine *engine, size_t tower, const struct message *message)
{
    const struct error_reference *about = &message->error.reference;
    struct hub_channel *channel =
        about->present && about->has_channel ? engine_channel(engine, &about->channel) : NULL;
    if (channel == NULL && about->present && about->has_channel && engine->settings.shards > 1)
        return;
    char text[ADDRESS_TEXT_SIZE];
    log_warn("tower %s refused an appointment: %s", name_of(engine, tower, text),
             code_text(message->error.code));
    if (channel != NULL)
        refused(engine, channel, tower);
    answered(engine, tower);
}

/* ---- silence ---- */

static void revoke_all(struct engine *engine)
{
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next)
        outcome_revoke_due(engine, channel);
}

/* Asks the contract to forget the tower; appoint_tower_set goes on. */
static void unset_tower(struct engine *engine, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    char text[ADDRESS_TEXT_SIZE];
    if (tower->unset_asked)
        return;
    tower->unset_asked = true;
    struct contract_call call = {
        .function = CONTRACT_SET_TOWER, .address = engine->settings.towers[index].address, .flag = false};
    engine_emit_call(engine, ENGINE_CALL_SET_TOWER, index, &call);
    log_warn("tower %s does not answer: setTower(…, false) is sent, then revocations go on without it",
             name_of(engine, index, text));
}

void appoint_set_tower_failed(struct engine *engine, uint64_t tower)
{
    ensure(tower < ENGINE_TOWERS_MAX);
    engine->towers[tower].unset_asked = false;
}

static void dismiss(struct engine *engine, size_t tower)
{
    char text[ADDRESS_TEXT_SIZE];
    if (engine->settings.towers[tower].is_set) {
        unset_tower(engine, tower);
        return;
    }
    log_warn("tower %s has been silent for too long: revocations go on without it",
             name_of(engine, tower, text));
    engine->towers[tower].dismissed = true;
    revoke_all(engine);
}

static void dismiss_for(struct engine *engine, struct hub_channel *channel, size_t tower)
{
    if (engine->settings.towers[tower].is_set) {
        unset_tower(engine, tower);
        return;
    }
    channel->watch[tower].tower_dismissed = true;
    outcome_revoke_due(engine, channel);
}

static void tower_was_set(struct engine *engine, size_t index, bool allowed)
{
    struct hub_tower *tower = &engine->towers[index];
    if (engine->settings.towers[index].is_set == allowed)
        return;
    engine->settings.towers[index].is_set = allowed;
    if (allowed)
        return;
    /* What it holds without a Choice gives it no authority any more. */
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel->watch != NULL)
            channel->watch[index].receipt_nonce = 0;
        if (channel->channel->funds.stage != STAGE_CLOSED)
            mark_for(engine, channel, index);
    }
    if (!tower->unset_asked)
        return;
    tower->unset_asked = false;
    dismiss(engine, index);
}

/* Confirmed on the ledger. */
void appoint_tower_set(struct engine *engine, const struct address *address, bool allowed)
{
    for (size_t i = 0; i < tower_count(engine); i++)
        if (address_equal(address, &engine->settings.towers[i].address))
            tower_was_set(engine, i, allowed);
}

static void look_at_refused(struct engine *engine, struct hub_channel *channel, size_t tower)
{
    struct watch *watch = &channel->watch[tower];
    uint64_t since = watch->refused_since_ms;
    if (channel->channel->funds.stage == STAGE_CLOSED) {
        refused_remove(engine, channel, tower);
        return;
    }
    if (engine->now_ms >= watch->refused_retry_ms) {
        watch->refused_retry_ms = engine->now_ms + REFUSED_RETRY_MS;
        mark_for(engine, channel, tower);
    }
    if (!watch->tower_dismissed && engine->now_ms > since && engine->now_ms - since > silence_ms(engine))
        dismiss_for(engine, channel, tower);
}

void appoint_time_begins(struct engine *engine, uint64_t now_ms)
{
    for (size_t i = 0; i < tower_count(engine); i++)
        if (engine->towers[i].silent_since_ms != 0)
            engine->towers[i].silent_since_ms = now_ms == 0 ? 1 : now_ms;
}

static void look_at(struct engine *engine, size_t index)
{
    struct hub_tower *tower = &engine->towers[index];
    uint64_t now = engine->now_ms, since = tower->silent_since_ms;
    if (!tower->dismissed && since != 0 && now > since && now - since > silence_ms(engine))
        dismiss(engine, index);
    /* One that it just never answers, while it answers others. */
    for (size_t i = tower->appointments_open; tower->online && i-- > 0;)
        if (now - tower->appointed[i].channel->watch[index].appoint_sent_ms > silence_ms(engine))
            refused(engine, tower->appointed[i].channel, index);
    for (struct hub_channel *channel = tower->refused, *next; channel != NULL; channel = next) {
        next = channel->watch[index].next_refused;
        look_at_refused(engine, channel, index);
    }
}

void appoint_time(struct engine *engine)
{
    if (tower_count(engine) == 0 || engine->now_ms < engine->appoint_look_ms)
        return;
    engine->appoint_look_ms = engine->now_ms + LOOK_EVERY_MS;
    engine->promises_due = true;
    for (size_t i = 0; i < tower_count(engine); i++)
        look_at(engine, i);
}
