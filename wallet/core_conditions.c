/* Conditions: which were met on the ledger, when, and of which the ledger has said that they were not.
 *
 *     ConditionMet ─▶ a lock of ours hangs on it: kept, in the journal
 *                  └▶ none does: loose, in memory, the newest REGISTRATIONS_MAX ─a lock comes that does─▶ kept
 *
 * So one that was registered before its lock was made may be unknown here: seen by a process of before, or let go. That a
 * lock has lapsed is believed only after registeredAt has been asked, once the confirmed time is behind its expiry.
 */
#include "wallet/core_state.h"

#include <string.h>

#include "crypto/hash.h"

#define CHECKS_ASKING_MAX 128  /* questions at a time; the others are asked as these are answered */
#define CHECKS_KEPT_S     3600 /* an answer is used within this time, or asked for anew */

struct registration *wallet_ledger_registration(const struct wallet_core *core, uint8_t kind,
                                                const struct hash *condition)
{
    struct registration *found, probe;
    memset(&probe, 0, sizeof(probe));
    probe.key.kind = kind;
    probe.key.condition = *condition;
    HASH_FIND(hh, core->registrations, &probe.key, sizeof(probe.key), found);
    return found;
}

uint64_t wallet_ledger_registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct registration *found = wallet_ledger_registration(context, kind, condition);
    return found != NULL ? found->time : 0;
}

bool wallet_registration_secret(const struct registration *registration, uint8_t secret[32])
{
    struct hash hash = condition_of_secret(registration->witness.bytes);
    if (registration->key.kind != LOCK_SECRET || !hash_equal(&hash, &registration->key.condition))
        return false;
    memcpy(secret, registration->witness.bytes, 32);
    return true;
}

static bool hangs_on(const struct lock_set *locks, uint8_t kind, const struct hash *condition)
{
    for (const struct pending_lock *lock = lock_set_next(locks, 0); lock != NULL;
         lock = lock_set_next(locks, lock->lock.id))
        if (lock->lock.kind == kind && hash_equal(&lock->lock.condition, condition))
            return true;
    return false;
}

static bool matters(const struct wallet_core *core, uint8_t kind, const struct hash *condition)
{
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (hangs_on(own->channel->streams[SIDE_CLIENT].locks, kind, condition) ||
            hangs_on(own->channel->streams[SIDE_HUB].locks, kind, condition))
            return true;
    }
    return kind == LOCK_SECRET && wallet_payments_dropped_on(core, condition);
}

/* ---- met ---- */

/* Of those that no lock hangs on only the newest are remembered: for locks that are on their way. */
static void forget_loose(struct wallet_core *core)
{
    struct registration *found, *next;
    HASH_ITER(hh, core->registrations, found, next)
    {
        if (core->registrations_loose <= REGISTRATIONS_MAX)
            return;
        if (found->kept)
            continue;
        HASH_DEL(core->registrations, found);
        core->registrations_loose--;
        free(found);
    }
}

static struct registration *add(struct wallet_core *core, uint8_t kind, const struct hash *condition,
                                uint64_t time)
{
    struct registration *met = xcalloc(1, sizeof(*met));
    met->key.kind = kind;
    met->key.condition = *condition;
    met->time = time;
    HASH_ADD(hh, core->registrations, key, sizeof(met->key), met);
    return met;
}

/* What waits for a word of the ledger is looked at again. */
static void retry_held(struct wallet_core *core)
{
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        own->held_retry = true;
    }
}

void wallet_condition_met(struct wallet_core *core, const struct contract_event *event)
{
    if (!event->confirmed || wallet_ledger_registration(core, event->kind, &event->condition) != NULL)
        return;
    struct registration *met = add(core, event->kind, &event->condition, event->block_time);
    met->witness = event->witness;
    met->kept = matters(core, event->kind, &event->condition);
    if (met->kept) {
        wallet_ledger_registration_write(core, met);
    } else {
        core->registrations_loose++;
        forget_loose(core);
    }
    wallet_payments_registered(core, met);
    retry_held(core);
}

void wallet_conditions_keep(struct wallet_core *core, const struct wallet_channel *own)
{
    for (size_t i = 0; core->registrations_loose > 0 && i < own->channel->dirty_place_count; i++) {
        const struct pending_lock *lock = channel_changed_lock(own->channel, i);
        struct registration *met =
            lock == NULL ? NULL : wallet_ledger_registration(core, lock->lock.kind, &lock->lock.condition);
        if (met == NULL || met->kept)
            continue;
        met->kept = true;
        core->registrations_loose--;
        wallet_ledger_registration_write(core, met);
    }
}

/* ---- or not ---- */

static struct condition_check *find_check(const struct wallet_core *core, uint8_t kind,
                                          const struct hash *condition)
{
    struct condition_check *found, probe;
    memset(&probe, 0, sizeof(probe));
    probe.key.kind = kind;
    probe.key.condition = *condition;
    HASH_FIND(hh, core->checks, &probe.key, sizeof(probe.key), found);
    return found;
}

static void ask(struct wallet_core *core, struct condition_check *check, uint8_t kind,
                const struct hash *condition)
{
    if (core->checks_asking >= CHECKS_ASKING_MAX)
        return;
    if (check == NULL) {
        check = xcalloc(1, sizeof(*check));
        check->key.kind = kind;
        check->key.condition = *condition;
        HASH_ADD(hh, core->checks, key, sizeof(check->key), check);
    }
    check->asking = true;
    check->asked_time = core->head.confirmed_time;
    core->checks_asking++;
    struct contract_call view = {.function = CONTRACT_REGISTERED_AT, .kind = kind, .hash = *condition};
    wallet_ask(core, ASK_REGISTERED, condition, NULL, &view);
}

enum condition_fate wallet_condition_fate(struct wallet_core *core, uint8_t kind,
                                          const struct hash *condition, uint64_t expiry)
{
    const struct registration *met = wallet_ledger_registration(core, kind, condition);
    if (met != NULL)
        return met->time <= expiry ? CONDITION_MET : CONDITION_LAPSED;
    struct condition_check *check = find_check(core, kind, condition);
    if (check != NULL && check->absent_until >= expiry)
        return CONDITION_LAPSED;
    if (core->head.confirmed_time > expiry && (check == NULL || !check->asking))
        ask(core, check, kind, condition);
    return CONDITION_UNKNOWN;
}

/* The question was asked with all blocks up to asked_time confirmed: what the newest block does not have of them is not
 * there, and what it has is confirmed. */
void wallet_condition_answer(struct wallet_core *core, uint8_t kind, const struct hash *condition, bool ok,
                             const uint8_t *data, size_t length)
{
    struct condition_check *check = find_check(core, kind, condition);
    unsigned_wide time;
    ensure(check != NULL && check->asking && core->checks_asking > 0);
    check->asking = false;
    core->checks_asking--;
    if (!ok || !contract_decode_word(data, length, 0, &time))
        return; /* asked again with the next head */
    if (time == 0 || time > check->asked_time) {
        check->absent_until = check->asked_time;
    } else if (wallet_ledger_registration(core, kind, condition) == NULL) {
        struct registration *met = add(core, kind, condition, (uint64_t)time);
        met->kept = true;
        wallet_ledger_registration_write(core, met);
        wallet_payments_registered(core, met);
    }
    wallet_payments_fate_known(core, condition);
    retry_held(core);
}

/* ---- afterwards ---- */

void wallet_conditions_head(struct wallet_core *core)
{
    struct registration *met, *next_met;
    HASH_ITER(hh, core->registrations, met, next_met)
    {
        uint64_t until = met->time + core->terms.max_expiry_s + OUTCOME_KEPT_S;
        if (!met->kept || core->head.confirmed_time <= until ||
            matters(core, met->key.kind, &met->key.condition))
            continue;
        record_gone(&core->batch, RECORD_REGISTRATION, &met->key, sizeof(met->key));
        HASH_DEL(core->registrations, met);
        free(met);
    }
    struct condition_check *check, *next_check;
    HASH_ITER(hh, core->checks, check, next_check)
    {
        if (check->asking || core->head.confirmed_time <= check->asked_time + CHECKS_KEPT_S)
            continue;
        HASH_DEL(core->checks, check);
        free(check);
    }
}

void wallet_conditions_free(struct wallet_core *core)
{
    struct registration *met, *next_met;
    HASH_ITER(hh, core->registrations, met, next_met)
    {
        HASH_DEL(core->registrations, met);
        free(met);
    }
    struct condition_check *check, *next_check;
    HASH_ITER(hh, core->checks, check, next_check)
    {
        HASH_DEL(core->checks, check);
        free(check);
    }
}
