#include "ledger/embedded/gas.h"

#include "base/bytes.h"

#define GAS_TRANSACTION    21000u
#define GAS_DATA_ZERO      4u
#define GAS_DATA_BYTE      16u
#define GAS_ACCESS_ADDRESS 2400u
#define GAS_ACCESS_KEY     1900u
#define GAS_VIEW           5000u
#define GAS_MALFORMED      1000u
#define GAS_SETTLE_BATCH   35000u
#define GAS_SETTLE_ITEM    46000u
#define GAS_SETTLE_FUND    34000u
#define GAS_TOKEN_CREATE   700000u
#define GAS_MERKLE_STEP    300u

static const uint32_t contract_gas[CONTRACT_FUNCTION_COUNT] = {
    [CONTRACT_LIST_ASSET] = 50000,
    [CONTRACT_DEPOSIT_POOL] = 75000,
    [CONTRACT_WITHDRAW_POOL] = 70000,
    [CONTRACT_DEPOSIT] = 110000,
    [CONTRACT_SET_TOWER] = 48000,
    [CONTRACT_START_CLOSE] = 270000,
    [CONTRACT_CHALLENGE] = 130000,
    [CONTRACT_VOID_LOCKS] = 60000,
    [CONTRACT_FINISH] = 170000,
    [CONTRACT_REGISTER_SECRET] = 48000,
    [CONTRACT_REGISTER_ATTESTATION] = 55000,
    [CONTRACT_UNLOCK] = 110000,
    [CONTRACT_WITHDRAW_OWED] = 65000,
};

static const uint32_t token_gas[ERC20_FUNCTION_COUNT] = {
    [ERC20_TRANSFER] = 32000, [ERC20_APPROVE] = 28000, [ERC20_TRANSFER_FROM] = 40000};

uint64_t gas_intrinsic(const struct transaction *transaction)
{
    uint64_t gas = GAS_TRANSACTION + GAS_ACCESS_ADDRESS * (uint64_t)transaction->access_addresses +
                   GAS_ACCESS_KEY * (uint64_t)transaction->access_keys;
    for (size_t i = 0; i < transaction->data_length; i++)
        gas += transaction->data[i] == 0 ? GAS_DATA_ZERO : GAS_DATA_BYTE;
    return gas;
}

static uint64_t gas_of_contract(const uint8_t *data, size_t length)
{
    struct contract_call call;
    if (!contract_decode_call(data, length, &call))
        return GAS_MALFORMED;
    uint64_t gas = contract_gas[call.function];
    if (call.function == CONTRACT_SETTLE_BATCH)
        gas = GAS_SETTLE_BATCH + GAS_SETTLE_ITEM * (uint64_t)call.item_count +
              GAS_SETTLE_FUND * (uint64_t)call.fund_count;
    else if (gas == 0)
        gas = GAS_VIEW;
    gas += GAS_MERKLE_STEP * (uint64_t)call.merkle_count;
    contract_call_free(&call);
    return gas;
}

static uint64_t gas_of_token(const uint8_t *data, size_t length)
{
    struct erc20_call call;
    if (!erc20_decode_call(data, length, &call))
        return GAS_MALFORMED;
    return token_gas[call.function] == 0 ? GAS_VIEW : token_gas[call.function];
}

uint64_t gas_needed(const struct execution *execution, const struct transaction *transaction)
{
    uint64_t gas = gas_intrinsic(transaction);
    if (address_equal(&transaction->to, &execution->config->domain.contract))
        return gas + gas_of_contract(transaction->data, transaction->data_length);
    if (address_equal(&transaction->to, &execution->config->factory))
        return gas + GAS_TOKEN_CREATE;
    if (token_exists(execution->state, &transaction->to))
        return gas + gas_of_token(transaction->data, transaction->data_length);
    return gas;
}

uint64_t gas_of_revert(uint64_t intrinsic, uint64_t needed)
{
    return intrinsic + (needed - intrinsic) / 2;
}
