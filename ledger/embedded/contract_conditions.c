/* Conditions that were met, and the locks that wait for them after a close. */
#include "ledger/embedded/contract_functions.h"
#include "ledger/embedded/contract_money.h"

#include "base/ensure.h"
#include "crypto/key.h"
#include "crypto/lock.h"
#include "ledger/embedded/closing.h"

/* The first time is kept; again: nothing happens. */
static void register_condition(struct execution *execution, uint8_t kind, const struct hash *condition,
                               const struct hash *witness)
{
    if (registered_load(execution->state, kind, condition) != 0)
        return;
    registered_save(execution->state, kind, condition, execution->time);
    struct contract_event event = {
        .type = EVENT_CONDITION_MET, .kind = kind, .condition = *condition, .witness = *witness};
    contract_emit(execution, &event);
}

enum contract_error contract_register_secret(struct execution *execution, const struct contract_call *call)
{
    struct hash condition = condition_of_secret(call->hash.bytes);
    register_condition(execution, LOCK_SECRET, &condition, &call->hash);
    return CONTRACT_OK;
}

enum contract_error contract_register_attestation(struct execution *execution,
                                                  const struct contract_call *call)
{
    struct hash digest = digest_attestation(&execution->config->domain, &call->hash);
    if (!signature_is_by(&call->signature, &digest, &call->address))
        return CONTRACT_BAD_SIGNATURE;
    struct hash condition = condition_of_attestation(&call->address, &call->hash);
    register_condition(execution, LOCK_ATTESTATION, &condition, &call->hash);
    return CONTRACT_OK;
}

/* Whether the lock is in the stream as finish left it. */
static bool lock_is_proven(const struct execution *execution, const struct contract_call *call,
                           const struct hash *id, const struct hash *leaf)
{
    struct closing closing = closing_load(execution->state, id);
    struct hash root = closing_root(&closing, call->flag ? SIDE_CLIENT : SIDE_HUB);
    return call->lock.kind <= LOCK_ATTESTATION &&
           merkle_verify(leaf, call->merkle, call->merkle_count, &root);
}

enum contract_error contract_unlock(struct execution *execution, const struct contract_call *call)
{
    struct hash id = channel_id(&call->key);
    if (channel_load(execution->state, &id).status != CHANNEL_CLOSED)
        return CONTRACT_BAD_STATUS;
    enum side stream = call->flag ? SIDE_CLIENT : SIDE_HUB;
    const struct lock *lock = &call->lock;
    struct hash leaf = lock_leaf(lock);
    if (!lock_is_proven(execution, call, &id, &leaf))
        return CONTRACT_BAD_LOCK_PROOF;
    if (unlocked_load(execution->state, &id, stream, &leaf))
        return CONTRACT_ALREADY_UNLOCKED;
    uint64_t met = registered_load(execution->state, lock->kind, &lock->condition);
    bool to_receiver = met != 0 && met <= lock->expiry;
    if (!to_receiver && execution->time <= lock->expiry)
        return CONTRACT_NOT_UNLOCKABLE;

    unlocked_save(execution->state, &id, stream, &leaf);
    struct held held = held_load(execution->state, &id);
    struct amount *left = stream == SIDE_CLIENT ? &held.of_client : &held.of_hub;
    struct amount paid = lock->amount.units < left->units ? lock->amount : *left;
    ensure(amount_subtract(*left, paid, left));
    held_save(execution->state, &id, &call->key.asset, &held);
    struct vault vault = vault_open(execution, &call->key.asset);
    vault.record.in_held -= paid.units;
    struct contract_event event = {.type = EVENT_UNLOCKED,
                                   .channel = id,
                                   .of_client = call->flag,
                                   .lock_id = lock->id,
                                   .amount = paid,
                                   .to_receiver = to_receiver};
    contract_emit(execution, &event);
    if ((to_receiver ? side_other(stream) : stream) == SIDE_CLIENT)
        vault_pay(&vault, &call->key.client, paid);
    else
        vault_pay_hub(&vault, paid);
    vault_save(&vault);
    return CONTRACT_OK;
}
