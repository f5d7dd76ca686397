/* The hub's watchtower: it gets the newest proof of each client's stream, coalesced, and its receipts open
 * the way for REVOKE. A slow or dead tower never slows a payment: only what it has not yet a receipt for
 * waits to be revoked, and after a set silence it is dismissed. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define APPOINTMENTS_OPEN_MAX 64 /* sent, without a receipt yet */

static bool has_tower(const struct engine *engine)
{
    return !address_is_zero(&engine->settings.tower);
}

void appoint_mark(struct engine *engine, struct hub_channel *channel)
{
    if (!has_tower(engine) || channel->appoint_dirty)
        return;
    channel->appoint_dirty = true;
    channel->next_appoint = NULL;
    if (engine->appoint_tail == NULL)
        engine->appoint_head = channel;
    else
        engine->appoint_tail->next_appoint = channel;
    engine->appoint_tail = channel;
    if (engine->tower_silent_since_ms == 0)
        engine->tower_silent_since_ms = engine->now_ms == 0 ? 1 : engine->now_ms;
}

bool appoint_covers(const struct engine *engine, const struct hub_channel *channel, uint64_t nonce)
{
    return !has_tower(engine) || engine->tower_dismissed || channel->receipt_nonce >= nonce;
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
    const struct stream *own = &channel->channel->streams[SIDE_HUB];
    struct shown_lock *locks = xcalloc(LOCKS_PER_STREAM_MAX, sizeof(*locks));
    struct witness *witnesses = xcalloc(LOCKS_PER_STREAM_MAX, sizeof(*witnesses));
    struct message message = {.type = MESSAGE_APPOINT};
    message.appoint.key = channel->channel->key;
    message.appoint.proof = (struct shown_proof){stream->proof.nonce > 0, stream->proof, stream->signature};
    struct hash digest = HASH_ZERO;
    if (stream->proof.nonce > 0)
        digest = digest_balance_proof(&engine->settings.domain, &channel->channel->id, &stream->proof);
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
        engine->appoint_head = channel->next_appoint;
        if (engine->appoint_head == NULL)
            engine->appoint_tail = NULL;
        channel->appoint_dirty = false;
        if (channel->channel->funds.stage == STAGE_CLOSED)
            continue;
        send_appointment(engine, channel);
        channel->appointed_nonce = channel_peer(channel->channel)->proof.nonce;
        engine->appointments_open++;
    }
}

void engine_tower(struct engine *engine, bool connected)
{
    engine->tower_online = connected;
    engine->appointments_open = 0;
    if (!connected) {
        if (engine->tower_silent_since_ms == 0)
            engine->tower_silent_since_ms = engine->now_ms == 0 ? 1 : engine->now_ms;
        return;
    }
    /* What was sent on an older link may be lost: all that has no receipt goes again. */
    struct hub_channel *channel, *next;
    HASH_ITER(hh, engine->channels, channel, next)
    {
        if (channel->channel->funds.stage != STAGE_CLOSED &&
            channel->receipt_nonce < channel_peer(channel->channel)->proof.nonce)
            appoint_mark(engine, channel);
    }
}

static bool receipt_is_good(const struct engine *engine, const struct message *message)
{
    struct hash digest = digest_receipt(&engine->settings.domain, &message->receipt.channel,
                                        message->receipt.nonce, &message->receipt.proof_digest);
    return signature_is_by(&message->receipt.signature, &digest, &engine->settings.tower);
}

static void answered(struct engine *engine)
{
    if (engine->appointments_open > 0)
        engine->appointments_open--;
    engine->tower_silent_since_ms =
        engine->appointments_open == 0 && engine->appoint_head == NULL ? 0 : engine->now_ms;
    if (engine->tower_dismissed)
        log_info("the tower answers again");
    engine->tower_dismissed = false;
}

void appoint_receipt(struct engine *engine, const struct message *message)
{
    struct hub_channel *channel = engine_channel(engine, &message->receipt.channel);
    if (channel == NULL || !receipt_is_good(engine, message)) {
        log_warn("the tower sent a receipt that is not good; ignored");
        return;
    }
    answered(engine);
    /* A receipt for more than it was shown is a promise about something that does not exist. */
    uint64_t newest = channel_peer(channel->channel)->proof.nonce;
    if (message->receipt.nonce > channel->receipt_nonce && message->receipt.nonce <= newest) {
        channel->receipt_nonce = message->receipt.nonce;
        outcome_revoke_due(engine, channel);
    }
    if (channel->appointed_nonce < newest)
        appoint_mark(engine, channel);
}

void appoint_refused(struct engine *engine, const struct message *message)
{
    answered(engine);
    log_warn("the tower refused an appointment: %s", code_text(message->error.code));
}
