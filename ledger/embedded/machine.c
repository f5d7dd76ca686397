#include "ledger/embedded/machine.h"

#include "base/ensure.h"
#include "ledger/embedded/contract_execute.h"
#include "ledger/embedded/gas.h"
#include "ledger/embedded/tokens.h"

const struct address EMBEDDED_COINBASE = {{'R', 'i', 'l', 'l', [19] = 3}};

/* After the coins have moved. */
static bool callee_execute(struct execution *execution, const struct address *to, const uint8_t *data,
                           size_t length, struct buffer *output)
{
    if (address_equal(to, &execution->config->domain.contract))
        return contract_execute_data(execution, data, length, output) == CONTRACT_OK;
    if (address_equal(to, &execution->config->factory))
        return factory_execute(execution, data, length, output);
    if (token_exists(execution->state, to))
        return token_execute(execution, to, data, length, output);
    return true;
}

enum message_result message_execute(struct execution *execution, const struct address *to,
                                    const uint8_t *data, size_t length, struct buffer *output)
{
    size_t mark = state_mark(execution->state), log_count = execution->logs->count;
    if (address_has_code(execution, &execution->caller))
        return MESSAGE_CALLER_CODE;
    if (!coins_move(execution, &execution->caller, to, uint256_of(execution->value)))
        return MESSAGE_NO_FUNDS;
    if (callee_execute(execution, to, data, length, output))
        return MESSAGE_OK;
    state_revert(execution->state, mark);
    logs_truncate(execution->logs, log_count);
    return MESSAGE_REVERTED;
}

unsigned_wide transaction_gas_price(const struct transaction *transaction, unsigned_wide base_fee)
{
    ensure(transaction->max_fee_per_gas >= base_fee);
    unsigned_wide room = transaction->max_fee_per_gas - base_fee;
    unsigned_wide tip = transaction->max_priority_fee_per_gas;
    return base_fee + (tip < room ? tip : room);
}

struct uint256 transaction_cost_max(const struct transaction *transaction)
{
    struct uint256 cost = wide_multiply(transaction->gas_limit, transaction->max_fee_per_gas);
    ensure(uint256_add(cost, uint256_of(transaction->value), &cost));
    return cost;
}

/* Runs the transaction's message within its gas limit. Returns the gas used. */
static uint64_t message_metered(struct execution *execution, const struct transaction *transaction,
                                bool *success)
{
    uint64_t intrinsic = gas_intrinsic(transaction), needed = gas_needed(execution, transaction);
    ensure(transaction->gas_limit >= intrinsic);
    *success = false;
    if (transaction->gas_limit < needed)
        return transaction->gas_limit;
    struct buffer output = {0};
    enum message_result result =
        message_execute(execution, &transaction->to, transaction->data, transaction->data_length, &output);
    buffer_free(&output);
    *success = result == MESSAGE_OK;
    return *success ? needed : gas_of_revert(intrinsic, needed);
}

/* Burns the base fee and gives the tip, both for gas that the sender has paid. */
static void fees_divide(struct state *state, uint64_t gas_used, unsigned_wide price, unsigned_wide base_fee)
{
    struct coins coins = coins_load(state);
    ensure(uint256_add(coins.burned, wide_multiply(gas_used, base_fee), &coins.burned));
    coins_save(state, &coins);
    if (price == base_fee)
        return;
    struct account coinbase = account_load(state, &EMBEDDED_COINBASE);
    ensure(uint256_add(coinbase.balance, wide_multiply(gas_used, price - base_fee), &coinbase.balance));
    account_save(state, &EMBEDDED_COINBASE, &coinbase);
}

enum transaction_result transaction_execute(struct state *state, const struct contract_config *config,
                                            const struct transaction *transaction,
                                            const struct address *sender, uint64_t time,
                                            unsigned_wide base_fee, struct mined *receipt)
{
    struct account account = account_load(state, sender);
    if (account.nonce != transaction->nonce ||
        uint256_compare(account.balance, transaction_cost_max(transaction)) < 0)
        return TRANSACTION_DROPPED;
    unsigned_wide price = transaction_gas_price(transaction, base_fee);
    /* The whole limit is paid for first and the rest given back, so that the message cannot spend its own
     * gas. */
    ensure(uint256_subtract(account.balance, wide_multiply(transaction->gas_limit, price), &account.balance));
    account.nonce++;
    account_save(state, sender, &account);
    struct execution execution = {.state = state,
                                  .config = config,
                                  .caller = *sender,
                                  .value = transaction->value,
                                  .time = time,
                                  .logs = &receipt->logs};
    receipt->gas_used = message_metered(&execution, transaction, &receipt->success);
    receipt->effective_gas_price = price;
    account = account_load(state, sender);
    struct uint256 rest = wide_multiply(transaction->gas_limit - receipt->gas_used, price);
    ensure(uint256_add(account.balance, rest, &account.balance));
    account_save(state, sender, &account);
    fees_divide(state, receipt->gas_used, price, base_fee);
    return TRANSACTION_MINED;
}
