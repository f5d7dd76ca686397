/* Towers: each gets the hub's newest proof, chosen for it by a Choice, and answers with a RECEIPT. One
 * appointment per tower and channel is under way at a time, so whatever came meanwhile goes with the next
 * one, and payments never wait. Only REVOKE waits: until every tower that counts has a receipt for what is
 * given up. */
#include "wallet/core_state.h"

#include <string.h>

#include "crypto/hash.h"

#define APPOINT_EVERY_MS 100   /* at most so often, unless a REVOKE waits */
#define RETRY_REFUSED_MS 10000 /* after a tower's ERROR */
#define WRITE_SILENCE_S  60    /* a silence as long as this survives a restart */

uint64_t wallet_towers_covered(const struct wallet_core *core, const struct wallet_channel *own)
{
    uint64_t lowest = UINT64_MAX;
    for (size_t i = 0; i < core->options.tower_count; i++)
        if (!own->towers[i].dismissed && own->towers[i].receipt_nonce < lowest)
            lowest = own->towers[i].receipt_nonce;
    return lowest;
}

static bool owes_receipt(const struct wallet_channel *own, const struct tower_duty *duty)
{
    return own->channel->streams[SIDE_HUB].proof.nonce > duty->receipt_nonce;
}

/* A tower that owes a receipt for too long counts no more, until it gives one. */
static void watch_silence(struct wallet_core *core, struct wallet_channel *own, size_t tower)
{
    struct tower_duty *duty = &own->towers[tower];
    if (!owes_receipt(own, duty)) {
        duty->silent_since_s = 0;
        return;
    }
    if (duty->silent_since_s == 0 || duty->silent_since_s > core->unix_s)
        duty->silent_since_s = core->unix_s;
    uint64_t silent_s = core->unix_s - duty->silent_since_s;
    if (silent_s >= WRITE_SILENCE_S && !duty->silence_written) {
        duty->silence_written = true;
        wallet_receipt_write(core, own, tower);
    }
    if (duty->dismissed)
        return;
    if (silent_s >= core->options.tower_silence_s) {
        char address[ADDRESS_TEXT_SIZE];
        duty->dismissed = true;
        wallet_trouble(core, own, "tower %s has been silent for %llu s and is not waited for any more",
                       address_text(&core->options.towers[tower], address), (unsigned long long)silent_s);
    } else if (channel_revocation_due(own->channel) != 0) {
        wallet_due(core, core->now_ms + (core->options.tower_silence_s - silent_s) * 1000);
    }
}

void wallet_towers_run(struct wallet_core *core, struct wallet_channel *own)
{
    for (size_t i = 0; i < core->options.tower_count; i++)
        watch_silence(core, own, i);
}

/* ---- APPOINT ---- */

struct appointment_parts {
    struct shown_lock locks[LOCKS_PER_STREAM_MAX];
    struct witness witnesses[LOCKS_PER_STREAM_MAX];
    size_t lock_count, witness_count;
};

static void collect_parts(const struct wallet_core *core, const struct wallet_channel *own,
                          struct appointment_parts *parts)
{
    const struct lock_set *locks = own->channel->streams[SIDE_HUB].locks;
    parts->lock_count = parts->witness_count = 0;
    for (const struct pending_lock *lock = lock_set_next(locks, 0); lock != NULL;
         lock = lock_set_next(locks, lock->lock.id)) {
        parts->locks[parts->lock_count++] = (struct shown_lock){.lock = lock->lock};
        const struct payment_in *payment = wallet_payment_in_find(core, &own->id, &lock->payment);
        struct witness *witness = &parts->witnesses[parts->witness_count];
        if (payment != NULL && payment->state == IN_REVEALED &&
            wallet_payment_in_secret(core, payment, witness->bytes)) {
            witness->length = WITNESS_SECRET_BYTES;
            parts->witness_count++;
        }
    }
}

static void appoint(struct wallet_core *core, struct wallet_channel *own, size_t tower)
{
    const struct stream *hub = channel_peer(own->channel);
    const struct dropped *mine = stream_dropped(channel_own(own->channel));
    struct tower_duty *duty = &own->towers[tower];
    bool has_proof = hub->proof.nonce > 0;
    struct hash digest =
        has_proof ? digest_balance_proof(&core->options.domain, &own->id, &hub->proof) : HASH_ZERO;
    struct hash choice = digest_choice(&core->options.domain, &digest, &core->options.towers[tower]);
    struct appointment_parts *parts = xmalloc(sizeof(*parts));
    collect_parts(core, own, parts);
    struct message message = {
        .type = MESSAGE_APPOINT,
        .appoint = {.key = own->channel->key,
                    .proof = {.present = has_proof, .proof = hub->proof, .signature = hub->signature},
                    .has_choice = true,
                    .choice = key_sign(&core->options.key, &choice),
                    .locks = parts->locks,
                    .lock_count = parts->lock_count,
                    .witnesses = parts->witnesses,
                    .witness_count = parts->witness_count,
                    .revocation = {.present = mine->revoked_nonce > 0,
                                   .min_nonce = mine->revoked_nonce,
                                   .signature = mine->revocation}}};
    core->effects.send(core->context, core->appended, WALLET_PEER_TOWER + tower, &message);
    free(parts);
    duty->in_flight = true;
    duty->appointed = hub->proof.nonce;
    duty->appointed_change = own->change;
    duty->digest = digest;
    duty->proof = hub->proof;
    duty->proof_signature = hub->signature;
    duty->sent_ms = core->now_ms;
}

void wallet_towers_send(struct wallet_core *core, struct wallet_channel *own)
{
    if (core->options.recover && !core->recover_told)
        return; /* what is here may be old */
    for (size_t i = 0; i < core->options.tower_count; i++) {
        struct tower_duty *duty = &own->towers[i];
        bool wanted = owes_receipt(own, duty) || duty->appointed_change != own->change;
        if (!core->tower_linked[i] || duty->in_flight || !wanted || own->blocked != NULL ||
            own->channel->funds.stage == STAGE_CLOSED)
            continue;
        uint64_t at = duty->sent_ms + APPOINT_EVERY_MS;
        if (core->now_ms < at && duty->sent_ms != 0 && channel_revocation_due(own->channel) == 0) {
            wallet_due(core, at);
            continue;
        }
        if (duty->sent_ms > core->now_ms) { /* refused a moment ago */
            wallet_due(core, duty->sent_ms);
            continue;
        }
        appoint(core, own, i);
    }
}

/* ---- what towers say ---- */

void wallet_tower_linked(struct wallet_core *core, size_t tower)
{
    ensure(tower < core->options.tower_count);
    core->tower_linked[tower] = true;
}

void wallet_tower_unlinked(struct wallet_core *core, size_t tower)
{
    ensure(tower < core->options.tower_count);
    core->tower_linked[tower] = false;
    wallet_recover_unlinked(core, tower);
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        own->towers[tower].in_flight = false;
    }
}

/* It has signed for more than is known here: for what, it can show. */
static void newer_claimed(struct wallet_core *core, struct wallet_channel *own, size_t tower)
{
    struct tower_duty *duty = &own->towers[tower];
    duty->sent_ms = core->now_ms + RETRY_REFUSED_MS;
    if (duty->newer_asked)
        return;
    duty->newer_asked = true;
    struct message message = {.type = MESSAGE_FETCH, .fetch = {.channel = own->id}};
    core->effects.send(core->context, core->appended, WALLET_PEER_TOWER + tower, &message);
}

static void kept_received(struct wallet_core *core, size_t tower, const struct message *message)
{
    struct hash id = channel_id(&message->appoint.key);
    struct wallet_channel *own = wallet_channel_by_id(core, &id);
    if (own != NULL && own->towers[tower].newer_asked)
        wallet_recover_newer(core, own, message);
    wallet_recover_kept(core, tower, message);
}

static void receipt_received(struct wallet_core *core, size_t tower, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->receipt.channel);
    if (own == NULL)
        return;
    struct tower_duty *duty = &own->towers[tower];
    struct hash digest = digest_receipt(&core->options.domain, &own->id, message->receipt.nonce,
                                        &message->receipt.proof_digest);
    if (!signature_is_by(&message->receipt.signature, &digest, &core->options.towers[tower])) {
        wallet_trouble(core, own, "a tower's receipt is not signed by it");
        return;
    }
    bool answers = message->receipt.nonce == duty->appointed &&
                   hash_equal(&message->receipt.proof_digest, &duty->digest);
    duty->in_flight = false;
    if (message->receipt.nonce > own->channel->streams[SIDE_HUB].proof.nonce)
        newer_claimed(core, own, tower);
    if (!answers || message->receipt.nonce < duty->receipt_nonce)
        return;
    duty->receipt_nonce = message->receipt.nonce;
    duty->receipt_digest = message->receipt.proof_digest;
    duty->receipt_signature = message->receipt.signature;
    duty->receipt_proof = duty->proof;
    duty->receipt_proof_signature = duty->proof_signature;
    duty->silent_since_s = owes_receipt(own, duty) ? core->unix_s : 0;
    duty->silence_written = duty->dismissed = duty->told_refusal = false;
    wallet_receipt_write(core, own, tower);
}

static void tower_refused(struct wallet_core *core, size_t tower, const struct message *message)
{
    const struct error_reference *about = &message->error.reference;
    if (about->present && about->type == MESSAGE_FETCH) {
        wallet_recover_kept(core, tower, NULL);
        return;
    }
    struct wallet_channel *own = about->has_channel ? wallet_channel_by_id(core, &about->channel) : NULL;
    if (own == NULL)
        return;
    struct tower_duty *duty = &own->towers[tower];
    duty->in_flight = false;
    duty->sent_ms = core->now_ms + RETRY_REFUSED_MS;
    if (!duty->told_refusal)
        wallet_trouble(core, own, "a tower refuses the appointment: %.*s", (int)message->error.text.length,
                       message->error.text.data);
    duty->told_refusal = true;
}

void wallet_tower_message(struct wallet_core *core, size_t tower, const struct message *message)
{
    ensure(tower < core->options.tower_count);
    if (message->type == MESSAGE_RECEIPT)
        receipt_received(core, tower, message);
    else if (message->type == MESSAGE_KEPT)
        kept_received(core, tower, message);
    else if (message->type == MESSAGE_ERROR)
        tower_refused(core, tower, message);
}

uint64_t wallet_tower_receipt(const struct wallet_core *core, size_t tower, const struct hash *channel)
{
    const struct wallet_channel *own = wallet_channel_by_id(core, channel);
    return own != NULL && tower < core->options.tower_count ? own->towers[tower].receipt_nonce : 0;
}

bool wallet_tower_evidence(const struct wallet_core *core, size_t tower, const struct hash *channel,
                           struct evidence *out)
{
    const struct wallet_channel *own = wallet_channel_by_id(core, channel);
    if (own == NULL || tower >= core->options.tower_count)
        return false;
    const struct tower_duty *duty = &own->towers[tower];
    if (duty->receipt_nonce == 0 || duty->receipt_proof.nonce != duty->receipt_nonce)
        return false;
    *out = (struct evidence){.chain_id = core->options.domain.chain_id,
                             .contract = core->options.domain.contract,
                             .tower = core->options.towers[tower],
                             .key = own->channel->key,
                             .digest = duty->receipt_digest,
                             .receipt = duty->receipt_signature,
                             .proof = duty->receipt_proof,
                             .signature = duty->receipt_proof_signature};
    return true;
}

uint64_t wallet_tower_owed(const struct wallet_core *core, const struct hash *channel)
{
    const struct wallet_channel *own = wallet_channel_by_id(core, channel);
    return own == NULL ? 0 : own->channel->streams[SIDE_HUB].proof.nonce;
}
