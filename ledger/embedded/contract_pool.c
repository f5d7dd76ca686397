/* Listed assets, the hub's pool, deposits, and what could not be delivered. */
#include "ledger/embedded/contract_functions.h"
#include "ledger/embedded/contract_money.h"

#include "base/ensure.h"

bool contract_key_is_bad(const struct execution *execution, const struct channel_key *key)
{
    return address_is_zero(&key->client) || address_equal(&key->client, &execution->config->hub);
}

void contract_open_channel(struct execution *execution, const struct hash *id, const struct channel_key *key,
                           struct channel_state *channel)
{
    if (channel->status != CHANNEL_NONE)
        return;
    channel->status = CHANNEL_OPEN;
    struct contract_event event = {
        .type = EVENT_OPENED, .channel = *id, .address = key->client, .other = key->asset, .salt = key->salt};
    contract_emit(execution, &event);
}

enum contract_error contract_list_asset(struct execution *execution, const struct contract_call *call)
{
    struct vault vault = vault_open(execution, &call->address);
    if (!contract_caller_is_hub(execution))
        return CONTRACT_NOT_HUB;
    if (vault_is_listed(&vault))
        return CONTRACT_ASSET_ALREADY_LISTED;
    if (call->unit == 0)
        return CONTRACT_WRONG_VALUE;
    vault.record.unit = call->unit;
    vault_save(&vault);
    struct contract_event event = {
        .type = EVENT_ASSET_LISTED, .address = call->address, .wide_amount = call->unit};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

enum contract_error contract_deposit_pool(struct execution *execution, const struct contract_call *call)
{
    struct vault vault = vault_open(execution, &call->address);
    if (!vault_is_listed(&vault))
        return CONTRACT_ASSET_UNKNOWN;
    if (!amount_add(vault.record.pool, call->amount, &vault.record.pool))
        return CONTRACT_AMOUNT_TOO_LARGE;
    if (!vault_pull(&vault, call->amount))
        return CONTRACT_WRONG_VALUE;
    vault_save(&vault);
    struct contract_event event = {.type = EVENT_POOL_DEPOSITED,
                                   .address = call->address,
                                   .other = execution->caller,
                                   .amount = call->amount};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

enum contract_error contract_withdraw_pool(struct execution *execution, const struct contract_call *call)
{
    struct vault vault = vault_open(execution, &call->address);
    if (!contract_caller_is_hub(execution))
        return CONTRACT_NOT_HUB;
    if (!vault_is_listed(&vault))
        return CONTRACT_ASSET_UNKNOWN;
    if (!amount_subtract(vault.record.pool, call->amount, &vault.record.pool))
        return CONTRACT_POOL_TOO_LOW;
    struct contract_event event = {
        .type = EVENT_POOL_WITHDRAWN, .address = call->address, .other = call->to, .amount = call->amount};
    contract_emit(execution, &event);
    if (!vault_send(&vault, &call->to, call->amount.units))
        return CONTRACT_TRANSFER_FAILED;
    vault_save(&vault);
    return CONTRACT_OK;
}

enum contract_error contract_deposit(struct execution *execution, const struct contract_call *call)
{
    if (contract_key_is_bad(execution, &call->key))
        return CONTRACT_BAD_KEY;
    struct vault vault = vault_open(execution, &call->key.asset);
    if (!vault_is_listed(&vault))
        return CONTRACT_ASSET_UNKNOWN;
    struct hash id = channel_id(&call->key);
    struct channel_state channel = channel_load(execution->state, &id);
    if (channel.status == CHANNEL_CLOSING || channel.status == CHANNEL_CLOSED)
        return CONTRACT_BAD_STATUS;
    wide base = (wide)channel.base + call->amount.units;
    if (!amount_add(channel.total, call->amount, &channel.total) || base > INT64_MAX)
        return CONTRACT_AMOUNT_TOO_LARGE;
    if (!vault_pull(&vault, call->amount))
        return CONTRACT_WRONG_VALUE;
    channel.base = (int64_t)base;
    contract_open_channel(execution, &id, &call->key, &channel);
    channel_save(execution->state, &id, &call->key.asset, &channel);
    vault.record.in_channels += call->amount.units;
    vault_save(&vault);
    struct contract_event event = {.type = EVENT_FUNDED, .channel = id, .client_amount = call->amount};
    contract_emit(execution, &event);
    return CONTRACT_OK;
}

enum contract_error contract_withdraw_owed(struct execution *execution, const struct contract_call *call)
{
    unsigned_wide owed = owed_load(execution->state, &execution->caller, &call->address);
    if (owed == 0)
        return CONTRACT_NOTHING_OWED;
    struct vault vault = vault_open(execution, &call->address);
    owed_save(execution->state, &execution->caller, &call->address, 0);
    vault.record.in_owed -= owed;
    struct contract_event event = {.type = EVENT_OWED_WITHDRAWN,
                                   .address = execution->caller,
                                   .other = call->address,
                                   .third = call->to,
                                   .wide_amount = owed};
    contract_emit(execution, &event);
    if (!vault_send(&vault, &call->to, owed))
        return CONTRACT_TRANSFER_FAILED;
    vault_save(&vault);
    return CONTRACT_OK;
}
