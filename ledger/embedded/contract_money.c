#include "ledger/embedded/contract_money.h"

#include "base/ensure.h"
#include "ledger/embedded/tokens.h"

void contract_emit(struct execution *execution, const struct contract_event *event)
{
    logs_add_contract(execution->logs, &execution->config->domain.contract, event);
}

struct vault vault_open(struct execution *execution, const struct address *asset)
{
    return (struct vault){execution, *asset, asset_load(execution->state, asset)};
}

static struct uint256 contract_balance(const struct vault *vault)
{
    const struct address *contract = &vault->execution->config->domain.contract;
    if (address_is_zero(&vault->asset))
        return account_load(vault->execution->state, contract).balance;
    return token_balance_load(vault->execution->state, &vault->asset, contract);
}

void vault_save(const struct vault *vault)
{
    const struct asset_record *record = &vault->record;
    ensure(record->pool.units < AMOUNT_LIMIT);
    ensure(record->custody == record->pool.units + record->in_channels + record->in_held + record->in_owed);
    ensure(uint256_compare(contract_balance(vault), wide_multiply(record->custody, record->unit)) >= 0);
    asset_save(vault->execution->state, &vault->asset, record);
}

bool vault_pull(struct vault *vault, struct amount amount)
{
    struct execution *execution = vault->execution;
    struct uint256 due = wide_multiply(amount.units, vault->record.unit);
    if (amount_is_zero(amount))
        return false;
    if (address_is_zero(&vault->asset)) {
        if (!uint256_equal(uint256_of(execution->value), due))
            return false;
    } else {
        const struct address *contract = &execution->config->domain.contract;
        if (execution->value != 0 || !token_exists(execution->state, &vault->asset))
            return false;
        if (token_transfer_from(execution, &vault->asset, contract, &execution->caller, contract, due)
                .error != TOKEN_OK)
            return false;
    }
    vault->record.custody += amount.units;
    return true;
}

bool vault_send(struct vault *vault, const struct address *to, unsigned_wide units)
{
    struct execution *execution = vault->execution;
    const struct address *contract = &execution->config->domain.contract;
    struct uint256 due = wide_multiply(units, vault->record.unit);
    if (units == 0)
        return true;
    if (address_is_zero(&vault->asset)) {
        if (address_has_code(execution, to))
            return false;
        ensure(coins_move(execution, contract, to, due));
    } else {
        if (!token_exists(execution->state, &vault->asset) ||
            token_transfer(execution, &vault->asset, contract, to, due).error != TOKEN_OK)
            return false;
    }
    vault->record.custody -= units;
    return true;
}

static void vault_owe(struct vault *vault, const struct address *to, struct amount amount)
{
    struct state *state = vault->execution->state;
    unsigned_wide owed = owed_load(state, to, &vault->asset) + amount.units;
    owed_save(state, to, &vault->asset, owed);
    vault->record.in_owed += amount.units;
    struct contract_event event = {
        .type = EVENT_OWED_RECORDED, .address = *to, .other = vault->asset, .amount = amount};
    contract_emit(vault->execution, &event);
}

void vault_pay(struct vault *vault, const struct address *to, struct amount amount)
{
    if (!vault_send(vault, to, amount.units))
        vault_owe(vault, to, amount);
}

void vault_pay_hub(struct vault *vault, struct amount amount)
{
    if (!amount_add(vault->record.pool, amount, &vault->record.pool))
        vault_owe(vault, &vault->execution->config->hub, amount);
}
