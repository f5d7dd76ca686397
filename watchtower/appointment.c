#include "watchtower/appointment.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/key.h"
#include "crypto/lock.h"

void appointment_free(struct appointment *appointment)
{
    if (appointment == NULL)
        return;
    free(appointment->revocation);
    free(appointment->locks);
    free(appointment);
}

size_t appointment_bytes(const struct appointment *appointment)
{
    return sizeof *appointment + appointment->lock_count * sizeof *appointment->locks +
           (appointment->revocation == NULL ? 0 : sizeof *appointment->revocation);
}

const struct address *appointment_user(const struct appointment *appointment, const struct address *hub)
{
    return appointment->side == SIDE_CLIENT ? &appointment->key.client : hub;
}

bool appointment_same_proof(const struct appointment *a, const struct appointment *b)
{
    const struct balance_proof *one = &a->proof, *other = &b->proof;
    return hash_equal(&a->channel, &b->channel) && one->nonce == other->nonce &&
           amount_compare(one->transferred, other->transferred) == 0 &&
           amount_compare(one->locked, other->locked) == 0 &&
           hash_equal(&one->locks_root, &other->locks_root) && hash_equal(&one->body_hash, &other->body_hash);
}

void appointment_schedule(struct appointment *appointment, uint64_t register_margin_s, uint64_t now)
{
    appointment->register_from = UINT64_MAX;
    for (size_t i = 0; i < appointment->lock_count; i++) {
        const struct held_lock *held = &appointment->locks[i];
        if (held->witness.length == 0 || held->registered_at != 0 || held->lock.expiry < now)
            continue;
        uint64_t from = held->lock.expiry > register_margin_s ? held->lock.expiry - register_margin_s : 0;
        if (from < appointment->register_from)
            appointment->register_from = from;
    }
}

struct held_lock *appointment_lock(struct appointment *appointment, uint64_t id)
{
    for (size_t i = 0; i < appointment->lock_count; i++)
        if (appointment->locks[i].lock.id == id)
            return &appointment->locks[i];
    return NULL;
}

/* Adds each lock to the set. Returns false if two claim one place, or a kind is unknown. */
static bool fill_tree(struct lock_set *set, const struct held_lock *locks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pending_lock pending = {.lock = locks[i].lock};
        if (pending.lock.kind > LOCK_ATTESTATION || !lock_set_add(set, &pending))
            return false;
    }
    return true;
}

struct lock_set *appointment_tree(const struct appointment *appointment)
{
    struct lock_set *set = lock_set_new();
    struct hash root = HASH_ZERO;
    bool good = fill_tree(set, appointment->locks, appointment->lock_count);
    if (good)
        root = lock_set_root(set);
    if (good && hash_equal(&root, &appointment->proof.locks_root))
        return set;
    lock_set_free(set);
    return NULL;
}

/* ---- judging an APPOINT ---- */

static enum code refuse(enum code code, const char **why, const char *text)
{
    *why = text;
    return code;
}

static enum code judge_party(const struct appointment_rules *rules, const struct address *user,
                             struct appointment *fresh, const char **why)
{
    if (address_is_zero(&fresh->key.client) || address_equal(&fresh->key.client, &rules->hub))
        return refuse(CODE_CHANNEL, why, "the channel's client is zero or the hub");
    if (address_equal(user, &fresh->key.client))
        fresh->side = SIDE_CLIENT;
    else if (address_equal(user, &rules->hub))
        fresh->side = SIDE_HUB;
    else
        return refuse(CODE_CHANNEL, why, "only the channel's client or the hub may appoint for it");
    return CODE_OK;
}

static enum code judge_proof(const struct appointment_rules *rules, const struct address *counterparty,
                             const struct appointment *fresh, struct hash *digest, const char **why)
{
    const struct balance_proof *proof = &fresh->proof;
    if (proof->nonce == 0)
        return refuse(CODE_NONCE, why, "a proof's nonce starts at 1");
    if (proof->transferred.units >= AMOUNT_LIMIT)
        return refuse(CODE_TRANSFERRED, why, "transferred is 2^63 or more");
    if (proof->locked.units >= AMOUNT_LIMIT)
        return refuse(CODE_LOCKED, why, "locked is 2^63 or more");
    *digest = digest_balance_proof(&rules->domain, &fresh->channel, proof);
    if (!signature_is_by(&fresh->signature, digest, counterparty))
        return refuse(CODE_SIGNATURE, why, "the proof is not signed by the counterparty");
    return CODE_OK;
}

static enum code judge_choice(const struct appointment_rules *rules, const struct appointment *fresh,
                              const struct hash *proof_digest, const char **why)
{
    if (!fresh->has_choice && fresh->side == SIDE_HUB)
        return CODE_OK;
    if (!fresh->has_choice)
        return refuse(CODE_SIGNATURE, why, "a client's appointment needs its Choice");
    struct hash digest = digest_choice(&rules->domain, proof_digest, &rules->tower);
    if (!signature_is_by(&fresh->choice, &digest, appointment_user(fresh, &rules->hub)))
        return refuse(CODE_SIGNATURE, why, "the Choice is not the user's for this proof and this tower");
    return CODE_OK;
}

static enum code judge_locks(const struct appointment *fresh, const char **why)
{
    struct amount sum = amount_of(0);
    for (size_t i = 0; i < fresh->lock_count; i++)
        if (fresh->locks[i].lock.amount.units >= AMOUNT_LIMIT ||
            !amount_add(sum, fresh->locks[i].lock.amount, &sum))
            return refuse(CODE_LOCKED, why, "the locks' sum is 2^63 or more");
    if (amount_compare(sum, fresh->proof.locked) != 0)
        return refuse(CODE_LOCKED, why, "the locks do not add up to the proof's locked");
    if (fresh->lock_count == 0 && hash_is_zero(&fresh->proof.locks_root))
        return CODE_OK;
    struct lock_set *tree = appointment_tree(fresh);
    if (tree == NULL)
        return refuse(CODE_ROOT, why, "the locks do not make the proof's locksRoot");
    lock_set_free(tree);
    return CODE_OK;
}

static enum code judge_revocation(const struct appointment_rules *rules, const struct address *counterparty,
                                  const struct appointment *fresh, const char **why)
{
    if (fresh->revocation == NULL)
        return CODE_OK;
    struct hash digest = digest_revocation(&rules->domain, &fresh->channel, fresh->revocation->min_nonce);
    if (!signature_is_by(&fresh->revocation->signature, &digest, counterparty))
        return refuse(CODE_SIGNATURE, why, "the revocation is not signed by the counterparty");
    return CODE_OK;
}

/* Condition of a witness whatever its lock. Returns false if its length fits no kind. */
static bool witness_condition(const struct witness *witness, uint8_t *kind, struct hash *condition)
{
    if (witness->length == WITNESS_SECRET_BYTES) {
        *kind = LOCK_SECRET;
        *condition = condition_of_secret(witness->bytes);
        return true;
    }
    if (witness->length != WITNESS_ATTESTATION_BYTES)
        return false;
    struct address attester;
    struct hash event;
    memcpy(attester.bytes, witness->bytes, sizeof attester.bytes);
    memcpy(event.bytes, witness->bytes + sizeof attester.bytes, sizeof event.bytes);
    *kind = LOCK_ATTESTATION;
    *condition = condition_of_attestation(&attester, &event);
    return true;
}

/* Ties each witness to the locks on its condition; one that meets none (its lock is gone) is ignored. */
static enum code take_witness(const struct appointment_rules *rules, struct appointment *fresh,
                              const struct witness *witness, const char **why)
{
    uint8_t kind;
    struct hash condition;
    if (!witness_condition(witness, &kind, &condition))
        return refuse(CODE_WITNESS, why, "a witness has the length of no kind");
    bool checked = false;
    for (size_t i = 0; i < fresh->lock_count; i++) {
        struct held_lock *held = &fresh->locks[i];
        if (held->lock.kind != kind || !hash_equal(&held->lock.condition, &condition))
            continue;
        if (!checked && held->witness.length > 0)
            return CODE_OK; /* given twice: one check is enough */
        if (!checked && !witness_meets(witness, kind, &condition, &rules->domain))
            return refuse(CODE_WITNESS, why, "an attestation is not signed by its attester");
        checked = true;
        held->witness = *witness;
    }
    return CODE_OK;
}

static struct appointment *appointment_of(const struct message *message)
{
    struct appointment *fresh = xcalloc(1, sizeof *fresh);
    fresh->key = message->appoint.key;
    fresh->channel = channel_id(&fresh->key);
    if (message->appoint.proof.present) {
        fresh->proof = message->appoint.proof.proof;
        fresh->signature = message->appoint.proof.signature;
    }
    fresh->has_choice = message->appoint.has_choice;
    if (fresh->has_choice)
        fresh->choice = message->appoint.choice;
    if (message->appoint.revocation.present) {
        fresh->revocation = xmalloc(sizeof *fresh->revocation);
        *fresh->revocation = (struct held_revocation){message->appoint.revocation.min_nonce,
                                                      message->appoint.revocation.signature};
    }
    fresh->lock_count = (uint16_t)message->appoint.lock_count;
    if (fresh->lock_count > 0)
        fresh->locks = xcalloc(fresh->lock_count, sizeof *fresh->locks);
    for (size_t i = 0; i < fresh->lock_count; i++)
        fresh->locks[i].lock = message->appoint.locks[i].lock;
    return fresh;
}

static enum code judge(const struct appointment_rules *rules, const struct address *user,
                       const struct message *message, struct appointment *fresh,
                       struct appointment_verdict *out)
{
    const char **why = &out->why;
    enum code code = judge_party(rules, user, fresh, why);
    if (code != CODE_OK)
        return code;
    const struct address *counterparty = fresh->side == SIDE_CLIENT ? &rules->hub : &fresh->key.client;
    if (message->appoint.proof.present &&
        (code = judge_proof(rules, counterparty, fresh, &out->digest, why)) != CODE_OK)
        return code;
    if ((code = judge_choice(rules, fresh, &out->digest, why)) != CODE_OK ||
        (code = judge_locks(fresh, why)) != CODE_OK ||
        (code = judge_revocation(rules, counterparty, fresh, why)) != CODE_OK)
        return code;
    for (size_t i = 0; i < message->appoint.witness_count; i++)
        if ((code = take_witness(rules, fresh, &message->appoint.witnesses[i], why)) != CODE_OK)
            return code;
    return CODE_OK;
}

void appointment_judge(const struct appointment_rules *rules, const struct address *user,
                       const struct message *message, struct appointment_verdict *out)
{
    *out = (struct appointment_verdict){
        .why = "",
        .channel = channel_id(&message->appoint.key),
        .nonce = message->appoint.proof.present ? message->appoint.proof.proof.nonce : 0};
    if (message->appoint.lock_count > LOCKS_PER_STREAM_MAX ||
        message->appoint.witness_count > LOCKS_PER_STREAM_MAX) {
        out->code = refuse(CODE_LIMIT, &out->why, "more than 1,024 locks or witnesses");
        return;
    }
    struct appointment *fresh = appointment_of(message);
    out->code = judge(rules, user, message, fresh, out);
    if (out->code != CODE_OK) {
        appointment_free(fresh);
        return;
    }
    appointment_schedule(fresh, rules->register_margin_s, 0);
    out->fresh = fresh;
    struct hash digest = digest_receipt(&rules->domain, &fresh->channel, fresh->proof.nonce, &out->digest);
    out->receipt = key_sign(rules->key, &digest);
}

/* ---- keeping ---- */

/* Copies the witnesses known in `from` to the locks of `to` on the same conditions. Returns true if any was
 * new. */
static bool carry_witnesses(struct appointment *to, const struct appointment *from)
{
    bool changed = false;
    for (size_t i = 0; i < from->lock_count; i++) {
        const struct held_lock *source = &from->locks[i];
        for (size_t j = 0; source->witness.length > 0 && j < to->lock_count; j++) {
            struct held_lock *target = &to->locks[j];
            if (target->witness.length > 0 || target->lock.kind != source->lock.kind ||
                !hash_equal(&target->lock.condition, &source->lock.condition))
                continue;
            target->witness = source->witness;
            changed = true;
        }
    }
    return changed;
}

static bool carry_revocation(struct appointment *to, const struct appointment *from)
{
    if (from->revocation == NULL ||
        (to->revocation != NULL && to->revocation->min_nonce >= from->revocation->min_nonce))
        return false;
    if (to->revocation == NULL)
        to->revocation = xmalloc(sizeof *to->revocation);
    *to->revocation = *from->revocation;
    return true;
}

bool appointment_merge(struct appointment *held, const struct appointment *fresh, uint64_t register_margin_s)
{
    bool changed = carry_revocation(held, fresh);
    changed = carry_witnesses(held, fresh) || changed;
    if (!held->has_choice && fresh->has_choice && appointment_same_proof(held, fresh)) {
        held->has_choice = true;
        held->choice = fresh->choice;
        changed = true;
    }
    if (changed)
        appointment_schedule(held, register_margin_s, 0);
    return changed;
}

void appointment_inherit(struct appointment *fresh, const struct appointment *held,
                         uint64_t register_margin_s)
{
    ensure(fresh->proof.nonce > held->proof.nonce && fresh->side == held->side &&
           hash_equal(&fresh->channel, &held->channel));
    (void)carry_revocation(fresh, held);
    (void)carry_witnesses(fresh, held);
    appointment_schedule(fresh, register_margin_s, 0);
}

/* ---- showing ---- */

struct message appointment_message(const struct appointment *appointment, struct shown_lock **locks,
                                   struct witness **witnesses)
{
    *locks = xcalloc(appointment->lock_count + 1, sizeof **locks);
    *witnesses = xcalloc(appointment->lock_count + 1, sizeof **witnesses);
    size_t known = 0;
    for (size_t i = 0; i < appointment->lock_count; i++) {
        (*locks)[i].lock = appointment->locks[i].lock;
        if (appointment->locks[i].witness.length > 0)
            (*witnesses)[known++] = appointment->locks[i].witness;
    }
    struct message message = {.type = MESSAGE_KEPT};
    message.appoint.key = appointment->key;
    message.appoint.proof.present = appointment->proof.nonce > 0;
    message.appoint.proof.proof = appointment->proof;
    message.appoint.proof.signature = appointment->signature;
    message.appoint.has_choice = appointment->has_choice;
    message.appoint.choice = appointment->choice;
    if (appointment->revocation != NULL)
        message.appoint.revocation = (struct shown_revocation){true, appointment->revocation->min_nonce,
                                                               appointment->revocation->signature};
    message.appoint.locks = *locks;
    message.appoint.lock_count = appointment->lock_count;
    message.appoint.witnesses = *witnesses;
    message.appoint.witness_count = known;
    return message;
}
