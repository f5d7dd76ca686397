/* What asks the state, runs a message on it, or sends a transaction. */
#include "ledger/embedded/node_parts.h"

#include <stdio.h>
#include <string.h>

#include "ledger/quantity.h"

/* Native code has no bytes to show: 0xfe (an instruction that always fails) and a name stand for it. */
static const char contract_code[] = "\xferill-hub";
static const char factory_code[] = "\xferill-token-factory";
static const char token_code[] = "\xferill-token";

/* Goes to the state that the parameter names; state_leave must follow. False: failure is filled. *number gets
 * the block. */
static bool state_enter(struct node *node, const json_t *which, uint64_t *number, size_t *mark,
                        struct failure *failure)
{
    const struct history *history = chain_history(node->chain);
    struct hash hash;
    if (json_is_object(which) && hash_of_json(json_object_get(which, "blockHash"), &hash)) {
        const struct block *block = history_block_by_hash(history, &hash);
        *number = block == NULL ? UINT64_MAX : block->number;
    } else if (!block_number_of(node, json_is_object(which) ? json_object_get(which, "blockNumber") : which,
                                number, failure)) {
        return false;
    }
    if (*number > history_head(history)->number)
        fail(failure, FAILURE_SERVER, "block not found");
    else if (chain_enter(node->chain, *number, mark))
        return true;
    else
        fail(failure, FAILURE_SERVER, "state of old blocks is not kept: ask for \"latest\"");
    return false;
}

/* What eth_getBalance and its like begin with: an address, and a state to look at. */
static bool account_enter(struct node *node, const json_t *params, struct address *address, size_t *mark,
                          struct failure *failure)
{
    uint64_t number;
    if (address_of_json(parameter(params, 0), address))
        return state_enter(node, parameter(params, 1), &number, mark, failure);
    fail(failure, FAILURE_PARAMS, "the first parameter must be an address");
    return false;
}

json_t *eth_get_balance(struct node *node, const json_t *params, struct failure *failure)
{
    struct address address;
    size_t mark;
    if (!account_enter(node, params, &address, &mark, failure))
        return NULL;
    json_t *balance = number_json(account_load(chain_state(node->chain), &address).balance);
    chain_leave(node->chain, mark);
    return balance;
}

json_t *eth_get_transaction_count(struct node *node, const json_t *params, struct failure *failure)
{
    struct address address;
    size_t mark;
    const char *tag = json_string_value(parameter(params, 1));
    if (!account_enter(node, params, &address, &mark, failure))
        return NULL;
    bool is_pending = tag != NULL && strcmp(tag, "pending") == 0;
    json_t *count = quantity_of(is_pending ? chain_pending_nonce(node->chain, &address)
                                           : account_load(chain_state(node->chain), &address).nonce);
    chain_leave(node->chain, mark);
    return count;
}

json_t *eth_get_code(struct node *node, const json_t *params, struct failure *failure)
{
    struct address address;
    size_t mark;
    const struct contract_config *config = chain_config(node->chain);
    if (!account_enter(node, params, &address, &mark, failure))
        return NULL;
    const char *code = "";
    if (address_equal(&address, &config->domain.contract))
        code = contract_code;
    else if (address_equal(&address, &config->factory))
        code = factory_code;
    else if (token_exists(chain_state(node->chain), &address))
        code = token_code;
    chain_leave(node->chain, mark);
    return hex_of(code, strlen(code));
}

/* A transaction object of eth_call and eth_estimateGas. */
struct message {
    struct address from, to;
    unsigned_wide value;
    struct buffer data;
};

static bool message_read(const json_t *json, struct message *out, struct failure *failure)
{
    const json_t *data = json_object_get(json, "input");
    if (data == NULL || json_is_null(data))
        data = json_object_get(json, "data");
    const json_t *from = json_object_get(json, "from"), *value = json_object_get(json, "value");
    *out = (struct message){.value = 0};
    if (!json_is_object(json))
        fail(failure, FAILURE_PARAMS, "the first parameter must be an object: {from, to, value, data}");
    else if (!address_of_json(json_object_get(json, "to"), &out->to))
        fail(failure, FAILURE_SERVER,
             "\"to\" must be an address: contract creation is not supported by the embedded ledger");
    else if (from != NULL && !json_is_null(from) && !address_of_json(from, &out->from))
        fail(failure, FAILURE_PARAMS, "\"from\" must be an address");
    else if (value != NULL && !json_is_null(value) && !quantity_wide(value, &out->value))
        fail(failure, FAILURE_PARAMS, "\"value\" must be a number such as \"0x1f\", below 2^128");
    else if (data != NULL && !json_is_null(data) && !bytes_of_json(data, &out->data))
        fail(failure, FAILURE_PARAMS, "\"data\" must be hexadecimal bytes");
    else
        return true;
    return false;
}

static void fail_reverted(const struct node *node, const struct message *message, const struct buffer *output,
                          struct failure *failure)
{
    uint8_t status;
    enum contract_error error = CONTRACT_UNNAMED;
    if (output->length > 0 && address_equal(&message->to, &chain_config(node->chain)->domain.contract))
        error = contract_decode_error(output->data, output->length, &status);
    if (error == CONTRACT_UNNAMED || error == CONTRACT_OK)
        fail(failure, FAILURE_REVERTED, "execution reverted");
    else
        fail(failure, FAILURE_REVERTED, "execution reverted: %s", contract_error_name(error));
    failure->data = hex_of(output->data, output->length);
}

/* Runs the message in the state after a block. Returns true if it succeeds; else the failure is filled. */
static bool message_run(struct node *node, const struct message *message, uint64_t number,
                        struct buffer *output, struct failure *failure)
{
    /* In the newest state it is as the next block would have it, so that what is good now is said to be good
     * now. */
    const struct history *history = chain_history(node->chain);
    bool is_newest = number == history_head(history)->number;
    const struct block *block = history_block(history, number);
    uint64_t time = is_newest || block == NULL ? chain_next_time(node->chain) : block->time;
    switch (chain_call(node->chain, &message->from, &message->to, message->value, time, message->data.data,
                       message->data.length, output)) {
    case MESSAGE_OK:
        return true;
    case MESSAGE_REVERTED:
        fail_reverted(node, message, output, failure);
        break;
    case MESSAGE_NO_FUNDS:
        fail(failure, FAILURE_SERVER, "insufficient funds for transfer");
        break;
    case MESSAGE_CALLER_CODE:
        fail(failure, FAILURE_SERVER, "the sender is a contract: nobody can call in its name");
        break;
    }
    return false;
}

static json_t *eth_call_or_estimate(struct node *node, const json_t *params, bool estimate,
                                    struct failure *failure)
{
    struct message message;
    struct buffer output = {0};
    json_t *result = NULL;
    uint64_t number;
    size_t mark;
    if (!state_enter(node, parameter(params, 1), &number, &mark, failure))
        return NULL;
    if (message_read(parameter(params, 0), &message, failure) &&
        message_run(node, &message, number, &output, failure)) {
        struct transaction transaction = {
            .to = message.to, .data = message.data.data, .data_length = message.data.length};
        uint64_t gas = chain_gas(node->chain, &transaction);
        if (!estimate)
            result = hex_of(output.data, output.length);
        else if (gas > BLOCK_GAS_LIMIT)
            fail(failure, FAILURE_SERVER, "gas required exceeds the block's limit (%llu)", BLOCK_GAS_LIMIT);
        else
            result = quantity_of(gas);
    }
    chain_leave(node->chain, mark);
    buffer_free(&output);
    buffer_free(&message.data);
    return result;
}

json_t *eth_call(struct node *node, const json_t *params, struct failure *failure)
{
    return eth_call_or_estimate(node, params, false, failure);
}

json_t *eth_estimate_gas(struct node *node, const json_t *params, struct failure *failure)
{
    return eth_call_or_estimate(node, params, true, failure);
}

json_t *eth_send_raw_transaction(struct node *node, const json_t *params, struct failure *failure)
{
    struct buffer raw = {0};
    struct hash hash;
    if (!bytes_of_json(parameter(params, 0), &raw)) {
        buffer_free(&raw);
        return fail(failure, FAILURE_PARAMS,
                    "the first parameter must be the signed transaction's hexadecimal bytes");
    }
    const char *refusal = chain_submit(node->chain, raw.data, raw.length, &hash);
    buffer_free(&raw);
    if (refusal != NULL)
        return fail(failure, FAILURE_SERVER, "%s", refusal);
    while (node->options.on_demand && chain_has_work(node->chain))
        chain_mine(node->chain, 1);
    return hash_json(&hash);
}
