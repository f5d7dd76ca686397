#include "ledger/embedded/contract_execute.h"

#include "base/ensure.h"
#include "ledger/abi.h"
#include "ledger/embedded/contract_functions.h"

static void view_of_channel(const struct execution *execution, const struct contract_call *call,
                            struct buffer *output)
{
    struct hash id = channel_id(&call->key);
    enum side stream = call->flag ? SIDE_CLIENT : SIDE_HUB;
    if (call->function == CONTRACT_CHANNEL) {
        struct channel_state channel = channel_load(execution->state, &id);
        contract_encode_channel(output, &channel);
    } else if (call->function == CONTRACT_CLOSING) {
        struct closing closing = closing_load(execution->state, &id);
        contract_encode_closing(output, &closing);
    } else if (call->function == CONTRACT_HELD) {
        struct held held = held_load(execution->state, &id);
        abi_put_amount(output, held.of_client);
        abi_put_amount(output, held.of_hub);
    } else {
        abi_put_bool(output, unlocked_load(execution->state, &id, stream, &call->hash));
    }
}

/* The functions that only look. Returns false for the others. */
static bool contract_view(const struct execution *execution, const struct contract_call *call,
                          struct buffer *output)
{
    const struct contract_config *config = execution->config;
    const struct state *state = execution->state;
    switch ((int)call->function) {
    case CONTRACT_HUB:
        abi_put_address(output, &config->hub);
        return true;
    case CONTRACT_CHALLENGE_PERIOD:
        abi_put_u64(output, config->challenge_period);
        return true;
    case CONTRACT_BOUNTY_BPS:
        abi_put_u64(output, config->bounty_bps);
        return true;
    case CONTRACT_DOMAIN_SEPARATOR:
        abi_put_hash(output, &config->domain.separator);
        return true;
    case CONTRACT_UNIT:
        abi_put_wide(output, asset_load(state, &call->address).unit);
        return true;
    case CONTRACT_POOL:
        abi_put_amount(output, asset_load(state, &call->address).pool);
        return true;
    case CONTRACT_OWED:
        abi_put_wide(output, owed_load(state, &call->address, &call->to));
        return true;
    case CONTRACT_IS_TOWER:
        abi_put_bool(output, tower_load(state, &call->address));
        return true;
    case CONTRACT_REGISTERED_AT:
        abi_put_u64(output, registered_load(state, call->kind, &call->hash));
        return true;
    case CONTRACT_CHANNEL:
    case CONTRACT_CLOSING:
    case CONTRACT_HELD:
    case CONTRACT_UNLOCKED:
        view_of_channel(execution, call, output);
        return true;
    }
    return false;
}

typedef enum contract_error contract_change(struct execution *execution, const struct contract_call *call);

static contract_change *const changes[CONTRACT_FUNCTION_COUNT] = {
    [CONTRACT_LIST_ASSET] = contract_list_asset,
    [CONTRACT_DEPOSIT_POOL] = contract_deposit_pool,
    [CONTRACT_WITHDRAW_POOL] = contract_withdraw_pool,
    [CONTRACT_DEPOSIT] = contract_deposit,
    [CONTRACT_SETTLE_BATCH] = contract_settle_batch,
    [CONTRACT_SET_TOWER] = contract_set_tower,
    [CONTRACT_START_CLOSE] = contract_start_close,
    [CONTRACT_CHALLENGE] = contract_challenge,
    [CONTRACT_VOID_LOCKS] = contract_void_locks,
    [CONTRACT_FINISH] = contract_finish,
    [CONTRACT_REGISTER_SECRET] = contract_register_secret,
    [CONTRACT_REGISTER_ATTESTATION] = contract_register_attestation,
    [CONTRACT_UNLOCK] = contract_unlock,
    [CONTRACT_WITHDRAW_OWED] = contract_withdraw_owed,
};

static bool is_payable(enum contract_function function)
{
    return function == CONTRACT_DEPOSIT || function == CONTRACT_DEPOSIT_POOL;
}

enum contract_error contract_execute(struct execution *execution, const struct contract_call *call,
                                     struct buffer *output)
{
    if (execution->value != 0 && !is_payable(call->function))
        return CONTRACT_UNNAMED;
    if (contract_view(execution, call, output))
        return CONTRACT_OK;
    size_t mark = state_mark(execution->state), log_count = execution->logs->count;
    ensure(call->function < CONTRACT_FUNCTION_COUNT && changes[call->function] != NULL);
    enum contract_error error = changes[call->function](execution, call);
    if (error == CONTRACT_OK)
        return CONTRACT_OK;
    state_revert(execution->state, mark);
    logs_truncate(execution->logs, log_count);
    /* BadStatus names the status that the channel has: the checks come before every effect. */
    struct hash id = channel_id(&call->key);
    uint8_t status = error == CONTRACT_BAD_STATUS ? channel_load(execution->state, &id).status : 0;
    contract_encode_error(output, error, status);
    return error;
}

enum contract_error contract_execute_data(struct execution *execution, const uint8_t *data, size_t length,
                                          struct buffer *output)
{
    struct contract_call call;
    if (!contract_decode_call(data, length, &call))
        return CONTRACT_UNNAMED;
    enum contract_error error = contract_execute(execution, &call, output);
    contract_call_free(&call);
    return error;
}
