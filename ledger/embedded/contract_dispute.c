/* A close that the two sides do not agree on (protocol.md, sections 6 and 7): start, challenge, void, finish.
 */
#include "ledger/embedded/contract_functions.h"
#include "ledger/embedded/contract_money.h"

#include "base/ensure.h"
#include "crypto/key.h"
#include "ledger/embedded/closing.h"

enum contract_error contract_set_tower(struct execution *execution, const struct contract_call *call)
{
    if (!contract_caller_is_hub(execution))
        return CONTRACT_NOT_HUB;
    tower_save(execution->state, &call->address, call->flag);
    struct contract_event event = {.type = EVENT_TOWER_SET, .address = call->address, .allowed = call->flag};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

/* now < deadline + eighths × challengePeriod / 8, rounded down; no sum can overflow. */
static bool is_before(const struct execution *execution, const struct closing *closing, unsigned eighths)
{
    unsigned_wide fraction = (unsigned_wide)execution->config->challenge_period * eighths / 8;
    return execution->time < (unsigned_wide)closing->deadline + fraction;
}

static struct claim *claim_of(struct closing *closing, enum side stream)
{
    return stream == SIDE_CLIENT ? &closing->of_client : &closing->of_hub;
}

static struct claim claim_of_proof(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

static bool proof_is_by(const struct execution *execution, const struct hash *channel,
                        const struct balance_proof *proof, const struct signature *signature,
                        const struct address *signer)
{
    struct hash digest = digest_balance_proof(&execution->config->domain, channel, proof);
    return signature_is_by(signature, &digest, signer);
}

/* Nonce 0 stands for "none", and then there is nothing else in it. */
static bool proof_is_none(const struct balance_proof *proof)
{
    return proof->nonce == 0 && amount_is_zero(proof->transferred) && amount_is_zero(proof->locked) &&
           hash_is_zero(&proof->locks_root) && hash_is_zero(&proof->body_hash);
}

enum contract_error contract_start_close(struct execution *execution, const struct contract_call *call)
{
    struct hash id = channel_id(&call->key);
    struct channel_state channel = channel_load(execution->state, &id);
    if (channel.status != CHANNEL_OPEN)
        return CONTRACT_BAD_STATUS;
    bool by_hub = contract_caller_is_hub(execution);
    if (!by_hub && !address_equal(&execution->caller, &call->key.client))
        return CONTRACT_NOT_PARTY;
    enum side closer = by_hub ? SIDE_HUB : SIDE_CLIENT;
    const struct address *partner = contract_signer(execution, &call->key, side_other(closer));
    if (call->proof.nonce == 0 ? !proof_is_none(&call->proof)
                               : !proof_is_by(execution, &id, &call->proof, &call->signature, partner))
        return CONTRACT_BAD_SIGNATURE;
    wide own_base = by_hub ? (wide)channel.total.units - channel.base : (wide)channel.base;
    if (closing_claim_is_bad(&call->own, own_base, call->proof.transferred))
        return CONTRACT_BAD_CLAIM;
    struct closing closing = {.by_hub = by_hub, .own = call->own};
    closing.deadline = execution->time + execution->config->challenge_period;
    *claim_of(&closing, closer) = call->own;
    *claim_of(&closing, side_other(closer)) = claim_of_proof(&call->proof);
    closing_save(execution->state, &id, &closing);
    channel.status = CHANNEL_CLOSING;
    channel_save(execution->state, &id, &call->key.asset, &channel);
    struct contract_event event = {.type = EVENT_CLOSE_STARTED,
                                   .channel = id,
                                   .by_hub = by_hub,
                                   .deadline = closing.deadline,
                                   .of_client_claim = closing.of_client,
                                   .of_hub_claim = closing.of_hub};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

/* Whose authority a challenge carries: the first that matches, in the order written. */
enum authority { AUTHORITY_NONE, AUTHORITY_PARTNER, AUTHORITY_TOWER };

static enum authority challenge_authority(const struct execution *execution, const struct contract_call *call,
                                          const struct hash *id, enum side closer, struct address *tower)
{
    const struct address *partner = contract_signer(execution, &call->key, side_other(closer));
    *tower = execution->caller;
    if (address_equal(&execution->caller, partner))
        return AUTHORITY_PARTNER;
    if (closer == SIDE_CLIENT && tower_load(execution->state, &execution->caller))
        return AUTHORITY_TOWER;
    if (address_is_zero(&call->to))
        return AUTHORITY_NONE;
    struct hash proof_digest = digest_balance_proof(&execution->config->domain, id, &call->proof);
    struct hash choice = digest_choice(&execution->config->domain, &proof_digest, &call->to);
    if (!signature_is_by(&call->choice, &choice, partner))
        return AUTHORITY_NONE;
    *tower = call->to;
    return AUTHORITY_TOWER;
}

/* TooLate, then NotNewer. `standing`: the nonce that stands for the closer's stream now. */
static enum contract_error challenge_check_turn(const struct execution *execution,
                                                const struct closing *closing, enum authority authority,
                                                uint64_t nonce, uint64_t standing)
{
    if (!closing->challenged)
        return is_before(execution, closing, 0) ? CONTRACT_OK : CONTRACT_TOO_LATE;
    if (authority == AUTHORITY_PARTNER) {
        if (!is_before(execution, closing, 2))
            return CONTRACT_TOO_LATE;
        return closing->by_partner && nonce <= standing ? CONTRACT_NOT_NEWER : CONTRACT_OK;
    }
    if (!is_before(execution, closing, 1))
        return CONTRACT_TOO_LATE;
    return closing->by_partner || nonce <= standing ? CONTRACT_NOT_NEWER : CONTRACT_OK;
}

enum contract_error contract_challenge(struct execution *execution, const struct contract_call *call)
{
    struct hash id = channel_id(&call->key);
    struct channel_state channel = channel_load(execution->state, &id);
    if (channel.status != CHANNEL_CLOSING)
        return CONTRACT_BAD_STATUS;
    struct closing closing = closing_load(execution->state, &id);
    enum side closer = closing.by_hub ? SIDE_HUB : SIDE_CLIENT;
    const struct address *signer = contract_signer(execution, &call->key, closer);
    if (!proof_is_by(execution, &id, &call->proof, &call->signature, signer))
        return CONTRACT_BAD_SIGNATURE;
    struct address tower;
    enum authority authority = challenge_authority(execution, call, &id, closer, &tower);
    if (authority == AUTHORITY_NONE)
        return CONTRACT_NOT_AUTHORISED;
    struct claim *standing = claim_of(&closing, closer);
    enum contract_error error =
        challenge_check_turn(execution, &closing, authority, call->proof.nonce, standing->nonce);
    if (error != CONTRACT_OK)
        return error;
    *standing = claim_of_proof(&call->proof);
    closing.challenged = true;
    closing.by_partner = authority == AUTHORITY_PARTNER;
    closing.fraud = closing_is_fraud(standing, &closing.own);
    closing.tower = tower;
    closing_save(execution->state, &id, &closing);
    struct contract_event event = {.type = EVENT_CHALLENGED,
                                   .channel = id,
                                   .address = tower,
                                   .by_partner = closing.by_partner,
                                   .proof = *standing,
                                   .is_fraud = closing.fraud};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

enum contract_error contract_void_locks(struct execution *execution, const struct contract_call *call)
{
    struct hash id = channel_id(&call->key);
    struct channel_state channel = channel_load(execution->state, &id);
    if (channel.status != CHANNEL_CLOSING)
        return CONTRACT_BAD_STATUS;
    struct closing closing = closing_load(execution->state, &id);
    if (!is_before(execution, &closing, 3))
        return CONTRACT_TOO_LATE;
    enum side stream = call->flag ? SIDE_CLIENT : SIDE_HUB;
    struct hash digest = digest_revocation(&execution->config->domain, &id, call->min_nonce);
    if (!signature_is_by(&call->signature, &digest,
                         contract_signer(execution, &call->key, side_other(stream))))
        return CONTRACT_BAD_SIGNATURE;
    uint64_t *stored = call->flag ? &closing.min_nonce_of_client : &closing.min_nonce_of_hub;
    if (call->min_nonce <= *stored)
        return CONTRACT_NOT_NEWER;
    *stored = call->min_nonce;
    closing_save(execution->state, &id, &closing);
    struct contract_event event = {
        .type = EVENT_LOCKS_VOIDED, .channel = id, .of_client = call->flag, .min_nonce = call->min_nonce};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

/* Moves the channel's money to where section 7 says. */
static void finish_pay(struct vault *vault, const struct channel_key *key, const struct address *tower,
                       struct amount total, const struct payout *payout)
{
    vault->record.in_channels -= total.units;
    vault->record.in_held += (unsigned_wide)payout->held_client.units + payout->held_hub.units;
    ensure(amount_subtract(vault->record.pool, payout->pool_pays, &vault->record.pool));
    vault_pay(vault, &key->client, payout->to_client);
    vault_pay_hub(vault, payout->to_hub);
    vault_pay(vault, tower, payout->bounty);
    vault_save(vault);
}

enum contract_error contract_finish(struct execution *execution, const struct contract_call *call)
{
    struct hash id = channel_id(&call->key);
    struct channel_state channel = channel_load(execution->state, &id);
    if (channel.status != CHANNEL_CLOSING)
        return CONTRACT_BAD_STATUS;
    struct closing closing = closing_load(execution->state, &id);
    if (is_before(execution, &closing, 3))
        return CONTRACT_TOO_EARLY;
    struct vault vault = vault_open(execution, &call->key.asset);
    const struct address *victim =
        contract_signer(execution, &call->key, closing.by_hub ? SIDE_CLIENT : SIDE_HUB);
    struct payout payout =
        closing_settle(channel.base, channel.total, &closing, vault.record.pool,
                       execution->config->bounty_bps, address_equal(&closing.tower, victim));
    struct amount total = channel.total;
    channel.total = amount_of(0);
    channel.base = 0;
    channel.status = CHANNEL_CLOSED;
    channel_save(execution->state, &id, &call->key.asset, &channel);
    struct held held = {payout.held_client, payout.held_hub};
    held_save(execution->state, &id, &call->key.asset, &held);
    struct contract_event event = {.type = EVENT_FINISHED,
                                   .channel = id,
                                   .to_client = payout.to_client,
                                   .to_hub = payout.to_hub,
                                   .held_client = payout.held_client,
                                   .held_hub = payout.held_hub,
                                   .penalty = payout.penalty,
                                   .bounty = payout.bounty};
    contract_emit(execution, &event);
    finish_pay(&vault, &call->key, &closing.tower, total, &payout);
    return CONTRACT_OK;
}
