#include "ledger/embedded/node_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/version.h"
#include "ledger/quantity.h"

/* What a wallet is told to tip: nothing waits here, so it hardly matters. */
#define TIP_SUGGESTED 1000000000u

json_t *fail(struct failure *failure, enum failure_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    failure->code = code;
    vsnprintf(failure->message, sizeof(failure->message), format, arguments);
    va_end(arguments);
    return NULL;
}

const json_t *parameter(const json_t *params, size_t index)
{
    const json_t *value = json_array_get(params, index);
    return json_is_null(value) ? NULL : value;
}

static json_t *eth_chain_id(struct node *node, const json_t *params, struct failure *failure)
{
    (void)params;
    (void)failure;
    return quantity_of(chain_config(node->chain)->domain.chain_id);
}

static json_t *net_version(struct node *node, const json_t *params, struct failure *failure)
{
    (void)params;
    (void)failure;
    return json_sprintf("%llu", (unsigned long long)chain_config(node->chain)->domain.chain_id);
}

static json_t *web3_client_version(struct node *node, const json_t *params, struct failure *failure)
{
    (void)node;
    (void)params;
    (void)failure;
    return json_string("rill-ledgerd/" RILL_VERSION);
}

static unsigned_wide tip_suggested(const struct node *node)
{
    unsigned_wide base_fee = chain_base_fee(node->chain);
    return base_fee < TIP_SUGGESTED ? base_fee : TIP_SUGGESTED;
}

static json_t *eth_gas_price(struct node *node, const json_t *params, struct failure *failure)
{
    (void)params;
    (void)failure;
    return quantity_of(chain_base_fee(node->chain) + tip_suggested(node));
}

static json_t *eth_max_priority_fee_per_gas(struct node *node, const json_t *params, struct failure *failure)
{
    (void)params;
    (void)failure;
    return quantity_of(tip_suggested(node));
}

static json_t *eth_syncing(struct node *node, const json_t *params, struct failure *failure)
{
    (void)node;
    (void)params;
    (void)failure;
    return json_false();
}

static const struct {
    const char *name;
    node_method *run;
    bool development;
} methods[] = {
    {"eth_chainId", eth_chain_id, false},
    {"eth_blockNumber", eth_block_number, false},
    {"eth_getBlockByNumber", eth_get_block_by_number, false},
    {"eth_getBlockByHash", eth_get_block_by_hash, false},
    {"eth_getBalance", eth_get_balance, false},
    {"eth_getTransactionCount", eth_get_transaction_count, false},
    {"eth_getCode", eth_get_code, false},
    {"eth_call", eth_call, false},
    {"eth_estimateGas", eth_estimate_gas, false},
    {"eth_gasPrice", eth_gas_price, false},
    {"eth_maxPriorityFeePerGas", eth_max_priority_fee_per_gas, false},
    {"eth_feeHistory", eth_fee_history, false},
    {"eth_sendRawTransaction", eth_send_raw_transaction, false},
    {"eth_getTransactionByHash", eth_get_transaction_by_hash, false},
    {"eth_getTransactionReceipt", eth_get_transaction_receipt, false},
    {"eth_getLogs", eth_get_logs, false},
    {"eth_syncing", eth_syncing, false},
    {"net_version", net_version, false},
    {"web3_clientVersion", web3_client_version, false},
    {"evm_mine", evm_mine, true},
    {"evm_increaseTime", evm_increase_time, true},
    {"evm_setNextBlockTimestamp", evm_set_next_block_timestamp, true},
};

const char *node_method_name(size_t index)
{
    return index < ARRAY_LENGTH(methods) ? methods[index].name : NULL;
}

struct node *node_new(struct chain *chain, const struct node_options *options)
{
    struct node *node = xcalloc(1, sizeof(*node));
    node->chain = chain;
    node->options = *options;
    return node;
}

void node_free(struct node *node)
{
    free(node);
}

static json_t *method_run(struct node *node, const char *name, const json_t *params, struct failure *failure)
{
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
        if (strcmp(methods[i].name, name) != 0)
            continue;
        if (methods[i].development && !node->options.development)
            return fail(failure, FAILURE_METHOD, "the method %s is there in development mode only (--dev)",
                        name);
        return methods[i].run(node, params, failure);
    }
    return fail(failure, FAILURE_METHOD, "the method %.64s does not exist here", name);
}

/* Takes over result and failure's data. A NULL id is written as null. */
static json_t *envelope(const json_t *id, json_t *result, struct failure *failure)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "jsonrpc", json_string("2.0"));
    json_object_set_new(answer, "id", id == NULL ? json_null() : json_deep_copy(id));
    if (result != NULL) {
        json_object_set_new(answer, "result", result);
        return answer;
    }
    json_t *error = json_object();
    json_object_set_new(error, "code", json_integer(failure->code));
    json_t *message = json_string(failure->message);
    /* NULL where a long name was cut inside a character. */
    json_object_set_new(error, "message", message == NULL ? json_string("refused") : message);
    if (failure->data != NULL)
        json_object_set_new(error, "data", failure->data);
    json_object_set_new(answer, "error", error);
    return answer;
}

static bool id_is_good(const json_t *id)
{
    return id == NULL || json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* Answers one call; NULL for a notification, which gets no answer. */
static json_t *answer_one(struct node *node, const json_t *request)
{
    struct failure failure = {.data = NULL};
    const json_t *id = json_object_get(request, "id");
    const char *method = json_string_value(json_object_get(request, "method"));
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));
    const json_t *params = json_object_get(request, "params");
    if (!json_is_object(request) || method == NULL || version == NULL || strcmp(version, "2.0") != 0 ||
        !id_is_good(id)) {
        fail(&failure, FAILURE_REQUEST,
             "not a JSON-RPC 2.0 request: {\"jsonrpc\":\"2.0\",\"id\":1,"
             "\"method\":\"...\",\"params\":[]}");
        return envelope(id_is_good(id) ? id : NULL, NULL, &failure);
    }
    json_t *result = NULL;
    if (params != NULL && !json_is_array(params) && !json_is_null(params))
        fail(&failure, FAILURE_PARAMS, "params must be an array");
    else
        result = method_run(node, method, params, &failure);
    if (id != NULL)
        return envelope(id, result, &failure);
    json_decref(result);
    json_decref(failure.data);
    return NULL;
}

static void append_json(struct buffer *out, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    ensure(text != NULL);
    buffer_append(out, text, strlen(text));
    free(text);
}

static void append_failure(struct buffer *out, const json_t *id, enum failure_code code, const char *message)
{
    struct failure failure = {.data = NULL};
    fail(&failure, code, "%s", message);
    json_t *answer = envelope(id, NULL, &failure);
    append_json(out, answer);
    json_decref(answer);
}

static void answer_batch(struct node *node, const json_t *requests, struct buffer *out)
{
    size_t count = json_array_size(requests), start = out->length;
    if (count == 0 || count > NODE_BATCH_MAX) {
        append_failure(out, NULL, FAILURE_REQUEST,
                       count == 0 ? "an empty batch" : "a batch of more than 256 calls");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *request = json_array_get(requests, i);
        size_t before = out->length;
        buffer_u8(out, before == start ? '[' : ',');
        if (before - start > NODE_ANSWER_BYTES_MAX) {
            append_failure(out, json_object_get(request, "id"), FAILURE_LIMIT,
                           "the batch's answer is too large: ask for less at once");
            continue;
        }
        json_t *answer = answer_one(node, request);
        if (answer == NULL)
            out->length = before;
        else
            append_json(out, answer);
        json_decref(answer);
    }
    if (out->length > start)
        buffer_u8(out, ']');
}

void node_answer(struct node *node, const char *text, size_t length, struct buffer *out)
{
    json_error_t error;
    json_t *request = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (request == NULL) {
        append_failure(out, NULL, FAILURE_PARSE, "not JSON");
        return;
    }
    if (json_is_array(request)) {
        answer_batch(node, request, out);
    } else {
        json_t *answer = answer_one(node, request);
        if (answer != NULL)
            append_json(out, answer);
        json_decref(answer);
    }
    json_decref(request);
}
