/* The node's JSON-RPC, in the process: every method, every kind of error, limits, hostile requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/ensure.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "ledger/embedded/accounts.h"
#include "ledger/embedded/node.h"
#include "store/memory_journal.h"

#define GWEI          1000000000u
#define HUB_TEXT      "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
#define CONTRACT_TEXT "0x52696c6c00000000000000000000000000000001"
#define SINK_TEXT     "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

static uint64_t wall = 1800000000;

static uint64_t wall_clock(void)
{
    return wall;
}

struct door {
    struct chain *chain;
    struct node *node;
    json_t *answer; /* of the last call */
    uint64_t nonce;
};

static void door_open(struct door *door, bool development, bool on_demand)
{
    struct secret_key key = development_key(0);
    struct allocation rich = {secret_key_address(&key), coins_wei(1000)};
    const struct chain_options options = {.parameters = {.bounty_bps = CHAIN_BOUNTY_BPS_ANY},
                                          .hub_if_new = rich.address,
                                          .allocations = &rich,
                                          .allocation_count = 1,
                                          .base_fee = GWEI,
                                          .history_blocks = CHAIN_HISTORY_MIN,
                                          .now = wall_clock};
    const struct node_options node_options = {development, on_demand};
    char message[256];
    wall = 1800000000;
    door->chain = chain_open(&options, memory_journal_create(), message, sizeof(message));
    assert_non_null(door->chain);
    door->node = node_new(door->chain, &node_options);
}

static void door_close(struct door *door)
{
    json_decref(door->answer);
    node_free(door->node);
    assert_null(chain_audit(door->chain));
    chain_close(door->chain);
}

static int setup(void **state)
{
    struct door *door = xcalloc(1, sizeof(*door));
    door_open(door, true, true);
    *state = door;
    return 0;
}

static int teardown(void **state)
{
    door_close(*state);
    free(*state);
    return 0;
}

/* Sends a text; the answer parsed, NULL for none. Lives until the next. */
static const json_t *say(struct door *door, const char *text)
{
    struct buffer out = {0};
    json_error_t error;
    node_answer(door->node, text, strlen(text), &out);
    json_decref(door->answer);
    door->answer = out.length == 0 ? NULL : json_loadb((const char *)out.data, out.length, 0, &error);
    assert_true(out.length == 0 || door->answer != NULL);
    buffer_free(&out);
    return door->answer;
}

static const json_t *call(struct door *door, const char *method, const char *params)
{
    struct buffer text = {0};
    buffer_printf(&text, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"%s\",\"params\":%s}", method, params);
    buffer_u8(&text, 0);
    const json_t *answer = say(door, (const char *)text.data);
    buffer_free(&text);
    assert_string_equal(json_string_value(json_object_get(answer, "jsonrpc")), "2.0");
    assert_int_equal(json_integer_value(json_object_get(answer, "id")), 7);
    return answer;
}

static const json_t *result(struct door *door, const char *method, const char *params)
{
    const json_t *answer = call(door, method, params);
    const json_t *error = json_object_get(answer, "error");
    if (error != NULL)
        fail_msg("%s %s: %s", method, params, json_string_value(json_object_get(error, "message")));
    assert_non_null(json_object_get(answer, "result"));
    return json_object_get(answer, "result");
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL)
        fail_msg("no text '%s'", name);
    return text;
}

static void assert_result(struct door *door, const char *method, const char *params, const char *expected)
{
    const char *text = json_string_value(result(door, method, params));
    assert_non_null(text);
    assert_string_equal(text, expected);
}

/* An error with this code whose text contains a word. */
static const json_t *assert_error(struct door *door, const char *method, const char *params, int code,
                                  const char *word)
{
    const json_t *error = json_object_get(call(door, method, params), "error");
    if (error == NULL)
        fail_msg("%s %s was answered", method, params);
    assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
    if (strstr(text_of(error, "message"), word) == NULL)
        fail_msg("%s %s: %s", method, params, text_of(error, "message"));
    return error;
}

/* The raw bytes of a transaction of the hub's, as params. */
static char *raw_params(struct door *door, const struct address *to, unsigned_wide value,
                        const struct contract_call *contract_call, struct hash *hash)
{
    struct buffer data = {0}, raw = {0};
    struct secret_key key = development_key(0);
    if (contract_call != NULL)
        contract_encode_call(&data, contract_call);
    struct transaction transaction = {.chain_id = 31337,
                                      .nonce = door->nonce++,
                                      .max_priority_fee_per_gas = 1,
                                      .max_fee_per_gas = 2 * (unsigned_wide)GWEI,
                                      .gas_limit = 1000000,
                                      .to = *to,
                                      .value = value,
                                      .data = data.data,
                                      .data_length = data.length};
    *hash = transaction_sign(&transaction, &key, &raw);
    char *text = xmalloc(2 * raw.length + 16);
    memcpy(text, "[\"0x", 4);
    hex_encode(raw.data, raw.length, text + 4);
    strcat(text, "\"]");
    buffer_free(&data);
    buffer_free(&raw);
    return text;
}

static struct hash send(struct door *door, const struct address *to, unsigned_wide value,
                        const struct contract_call *contract_call)
{
    struct hash hash;
    char text[HASH_TEXT_SIZE], *params = raw_params(door, to, value, contract_call, &hash);
    assert_result(door, "eth_sendRawTransaction", params, hash_text(&hash, text));
    free(params);
    return hash;
}

static const struct address SINK = {{0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
                                     0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee}};

static void list_asset(struct door *door, uint8_t seed)
{
    struct contract_call list = {.function = CONTRACT_LIST_ASSET, .address = {{seed}}, .unit = 1};
    send(door, &EMBEDDED_CONTRACT, 0, &list);
}

static const char *with_hash(char *out, size_t size, const char *format, const struct hash *hash)
{
    char text[HASH_TEXT_SIZE];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, size, format, hash_text(hash, text));
#pragma GCC diagnostic pop
    return out;
}

/* ---- the envelope ---- */

static void test_what_is_no_request(void **state)
{
    struct door *door = *state;
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {"", -32700},
        {"{", -32700},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\"} x", -32700},
        {"{\"id\":1,\"id\":2}", -32700},
        {"\xff", -32700},
        {"1", -32700},
        {"\"x\"", -32700},
        {"{}", -32600},
        {"[]", -32600},
        {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"eth_chainId\"}", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"eth_chainId\"}", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_nothing\"}", -32601},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\",\"params\":{}}", -32602},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\",\"params\":7}", -32602},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const json_t *error = json_object_get(say(door, rows[i].text), "error");
        if (json_integer_value(json_object_get(error, "code")) != rows[i].code)
            fail_msg("row %zu", i);
        assert_true(strlen(text_of(error, "message")) > 3);
    }
    /* As deep as anybody likes. */
    char *deep = xmalloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    assert_int_equal(json_integer_value(json_object_get(json_object_get(say(door, deep), "error"), "code")),
                     -32700);
    free(deep);
}

static void test_ids_and_notifications(void **state)
{
    struct door *door = *state;
    const json_t *answer = say(door, "{\"jsonrpc\":\"2.0\",\"id\":\"a-b\",\"method\":\"eth_chainId\"}");
    assert_string_equal(text_of(answer, "id"), "a-b");
    answer = say(door, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"eth_chainId\",\"params\":null}");
    assert_true(json_is_null(json_object_get(answer, "id")));
    assert_null(say(door, "{\"jsonrpc\":\"2.0\",\"method\":\"eth_chainId\"}"));
    assert_null(say(door, "[{\"jsonrpc\":\"2.0\",\"method\":\"eth_call\"}]"));
}

static void test_batches(void **state)
{
    struct door *door = *state;
    const json_t *answer = say(door, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\"},"
                                     "{\"jsonrpc\":\"2.0\",\"method\":\"eth_chainId\"},3,"
                                     "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"net_version\"}]");
    assert_int_equal(json_array_size(answer), 3);
    assert_string_equal(text_of(json_array_get(answer, 0), "result"), "0x7a69");
    assert_non_null(json_object_get(json_array_get(answer, 1), "error"));
    assert_string_equal(text_of(json_array_get(answer, 2), "result"), "31337");
    struct buffer many = {0};
    for (int i = 0; i <= NODE_BATCH_MAX; i++)
        buffer_printf(&many, "%c{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\"}",
                      i == 0 ? '[' : ',');
    buffer_printf(&many, "]");
    buffer_u8(&many, 0);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(say(door, (char *)many.data), "error"), "code")),
        -32600);
    buffer_free(&many);
}

/* Every method, with parameters of every wrong kind: an error or an answer, never the end. */
static void test_any_parameters(void **state)
{
    struct door *door = *state;
    static const char *const words[] = {"null",
                                        "1",
                                        "-1",
                                        "1e300",
                                        "true",
                                        "\"\"",
                                        "\"0x\"",
                                        "\"0x0\"",
                                        "\"0xzz\"",
                                        "\"latest\"",
                                        "\"pending\"",
                                        "\"earliest\"",
                                        "\"" SINK_TEXT "\"",
                                        "\"" CONTRACT_TEXT "\"",
                                        "\"0xffffffffffffffff\"",
                                        "\"0x1ffffffffffffffffffffffffffffffff\"",
                                        "[]",
                                        "[[]]",
                                        "{}",
                                        "{\"to\":\"" CONTRACT_TEXT "\"}",
                                        "{\"to\":\"" CONTRACT_TEXT "\",\"data\":5}",
                                        "{\"to\":\"" CONTRACT_TEXT
                                        "\",\"value\":\"0xffffffffffffffffffffffffffffffff\"}",
                                        "{\"from\":\"" CONTRACT_TEXT "\",\"to\":\"" CONTRACT_TEXT "\"}",
                                        "{\"fromBlock\":\"0xffffffffffffffff\",\"toBlock\":\"0x0\"}",
                                        "{\"address\":[],\"topics\":[[],null]}",
                                        "{\"topics\":{}}",
                                        "{\"topics\":[1]}",
                                        "{\"blockHash\":1}",
                                        "{\"blockNumber\":\"0x0\"}"};
    for (size_t m = 0; node_method_name(m) != NULL; m++) {
        (void)call(door, node_method_name(m), "[]");
        for (size_t a = 0; a < ARRAY_LENGTH(words); a++) {
            for (size_t b = 0; b < ARRAY_LENGTH(words); b++) {
                char params[512];
                snprintf(params, sizeof(params), "[%s,%s]", words[a], words[b]);
                (void)call(door, node_method_name(m), params);
            }
        }
    }
}

/* ---- plain answers ---- */

static void test_plain_answers(void **state)
{
    struct door *door = *state;
    assert_result(door, "eth_chainId", "[]", "0x7a69");
    assert_result(door, "net_version", "[]", "31337");
    assert_result(door, "web3_clientVersion", "[]", "rill-ledgerd/0.1.0");
    assert_result(door, "eth_gasPrice", "[]", "0x77359400");
    assert_result(door, "eth_maxPriorityFeePerGas", "[]", "0x3b9aca00");
    assert_result(door, "eth_blockNumber", "[]", "0x0");
    assert_true(json_is_false(result(door, "eth_syncing", "[]")));
    assert_result(door, "eth_getBalance", "[\"" HUB_TEXT "\",\"latest\"]", "0x3635c9adc5dea00000");
    assert_result(door, "eth_getBalance", "[\"" SINK_TEXT "\"]", "0x0");
    assert_result(door, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"latest\"]", "0x0");
    assert_result(door, "eth_getCode", "[\"" SINK_TEXT "\",\"latest\"]", "0x");
    assert_true(strlen(json_string_value(result(door, "eth_getCode", "[\"" CONTRACT_TEXT "\",\"latest\"]"))) >
                2);
    assert_error(door, "eth_getBalance", "[\"0x12\"]", -32602, "address");
    assert_error(door, "eth_getBalance", "[]", -32602, "address");
    assert_error(door, "eth_getBalance", "[\"" HUB_TEXT "\",\"newest\"]", -32602, "latest");
    assert_error(door, "eth_getBalance", "[\"" HUB_TEXT "\",\"0x1\"]", -32000, "block not found");
}

static void test_a_transaction_and_its_traces(void **state)
{
    struct door *door = *state;
    char params[256];
    struct hash hash = send(door, &SINK, 5, NULL);
    const json_t *json =
        result(door, "eth_getTransactionReceipt", with_hash(params, sizeof(params), "[\"%s\"]", &hash));
    assert_string_equal(text_of(json, "status"), "0x1");
    assert_string_equal(text_of(json, "from"), HUB_TEXT);
    assert_string_equal(text_of(json, "to"), SINK_TEXT);
    assert_string_equal(text_of(json, "gasUsed"), "0x5208");
    assert_string_equal(text_of(json, "cumulativeGasUsed"), "0x5208");
    assert_string_equal(text_of(json, "blockNumber"), "0x1");
    assert_string_equal(text_of(json, "effectiveGasPrice"), "0x3b9aca01");
    assert_int_equal(json_array_size(json_object_get(json, "logs")), 0);
    json = result(door, "eth_getTransactionByHash", params);
    assert_string_equal(text_of(json, "value"), "0x5");
    assert_string_equal(text_of(json, "nonce"), "0x0");
    assert_string_equal(text_of(json, "input"), "0x");
    assert_string_equal(text_of(json, "gas"), "0xf4240");
    assert_string_equal(text_of(json, "maxFeePerGas"), "0x77359400");
    assert_string_equal(text_of(json, "type"), "0x2");
    assert_int_equal(strlen(text_of(json, "blockHash")), 66);
    assert_non_null(json_object_get(json, "r"));
    json = result(door, "eth_getBlockByNumber", "[\"0x1\",false]");
    char text[HASH_TEXT_SIZE];
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "transactions"), 0)),
                        hash_text(&hash, text));
    struct hash block_hash;
    assert_true(hex_decode(text_of(json, "hash"), block_hash.bytes, 32));
    json =
        result(door, "eth_getBlockByHash", with_hash(params, sizeof(params), "[\"%s\",true]", &block_hash));
    assert_string_equal(text_of(json_array_get(json_object_get(json, "transactions"), 0), "from"), HUB_TEXT);
    assert_string_equal(text_of(json, "number"), "0x1");
    assert_string_equal(text_of(json, "gasUsed"), "0x5208");
    assert_result(door, "eth_getBalance", "[\"" SINK_TEXT "\",\"0x0\"]", "0x0"); /* the past */
    assert_result(door, "eth_getBalance", "[\"" SINK_TEXT "\",{\"blockNumber\":\"0x1\"}]", "0x5");
    snprintf(params, sizeof(params), "[\"" SINK_TEXT "\",{\"blockHash\":\"%s\"}]",
             hash_text(&block_hash, text));
    assert_result(door, "eth_getBalance", params, "0x5");
    assert_true(json_is_null(result(door, "eth_getBlockByNumber", "[\"0x2\",false]")));
    hash.bytes[0] ^= 1;
    assert_true(json_is_null(
        result(door, "eth_getTransactionReceipt", with_hash(params, sizeof(params), "[\"%s\"]", &hash))));
    assert_true(json_is_null(result(door, "eth_getTransactionByHash", params)));
    assert_true(json_is_null(result(door, "eth_getBlockByHash", params)));
}

static void test_send_refusals(void **state)
{
    struct door *door = *state;
    assert_error(door, "eth_sendRawTransaction", "[\"hello\"]", -32602, "hexadecimal");
    assert_error(door, "eth_sendRawTransaction", "[\"0x\"]", -32000, "");
    assert_error(door, "eth_sendRawTransaction", "[\"0x02c0\"]", -32000, "");
    assert_error(door, "eth_sendRawTransaction", "[\"0x01c0\"]", -32000, "type");
    struct hash hash;
    door->nonce = 3;
    char *gap = raw_params(door, &SINK, 1, NULL, &hash);
    char text[HASH_TEXT_SIZE], params[128];
    assert_result(door, "eth_sendRawTransaction", gap, hash_text(&hash, text)); /* waits for 0, 1 and 2 */
    assert_error(door, "eth_sendRawTransaction", gap, -32000, "already known");
    free(gap);
    assert_true(json_is_null(
        result(door, "eth_getTransactionReceipt", with_hash(params, sizeof(params), "[\"%s\"]", &hash))));
    const json_t *json = result(door, "eth_getTransactionByHash", params);
    assert_true(json_is_null(json_object_get(json, "blockNumber")));
    for (door->nonce = 0; door->nonce < 3;)
        send(door, &SINK, 1, NULL);
    assert_result(door, "eth_blockNumber", "[]", "0x4"); /* one block each, the one that waited too */
    assert_result(door, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"pending\"]", "0x4");
}

static void test_pending_at_an_interval(void **unused)
{
    (void)unused;
    struct door door = {.nonce = 0};
    door_open(&door, true, false);
    send(&door, &SINK, 1, NULL);
    send(&door, &SINK, 1, NULL);
    assert_result(&door, "eth_blockNumber", "[]", "0x0");
    assert_result(&door, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"latest\"]", "0x0");
    assert_result(&door, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"pending\"]", "0x2");
    assert_result(&door, "evm_mine", "[]", "0x0");
    assert_result(&door, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"latest\"]", "0x2");
    assert_result(&door, "eth_getBalance", "[\"" SINK_TEXT "\"]", "0x2");
    door_close(&door);
}

/* ---- calls ---- */

static char *call_params(const struct contract_call *contract_call, const char *from, const char *block)
{
    struct buffer data = {0}, text = {0};
    contract_encode_call(&data, contract_call);
    char *hex = xmalloc(2 * data.length + 1);
    hex_encode(data.data, data.length, hex);
    buffer_printf(&text, "[{\"from\":\"%s\",\"to\":\"" CONTRACT_TEXT "\",\"data\":\"0x%s\"},\"%s\"]", from,
                  hex, block);
    buffer_u8(&text, 0);
    free(hex);
    buffer_free(&data);
    return (char *)text.data;
}

static void test_calls_and_reverts(void **state)
{
    struct door *door = *state;
    char *params = call_params(&(struct contract_call){.function = CONTRACT_HUB}, SINK_TEXT, "latest");
    assert_string_equal(&json_string_value(result(door, "eth_call", params))[26], &HUB_TEXT[2]);
    free(params);
    struct contract_call list = {.function = CONTRACT_LIST_ASSET, .unit = 1};
    params = call_params(&list, SINK_TEXT, "latest");
    const json_t *error = assert_error(door, "eth_call", params, 3, "execution reverted: NotHub");
    char selector[11];
    snprintf(selector, sizeof(selector), "0x%08x", contract_error_selector(CONTRACT_NOT_HUB));
    assert_string_equal(text_of(error, "data"), selector);
    error = assert_error(door, "eth_estimateGas", params, 3, "NotHub");
    assert_string_equal(text_of(error, "data"), selector);
    free(params);
    params = call_params(&list, HUB_TEXT, "latest");
    assert_result(door, "eth_call", params, "0x"); /* good, and forgotten */
    assert_result(door, "eth_call", params, "0x");
    unsigned long long gas = strtoull(json_string_value(result(door, "eth_estimateGas", params)), NULL, 16);
    assert_true(gas > 50000 && gas < 100000);
    free(params);
    list_asset(door, 0);
    params = call_params(&list, HUB_TEXT, "latest");
    assert_error(door, "eth_call", params, 3, "AssetAlreadyListed");
    free(params);
    params = call_params(&list, HUB_TEXT, "0x0"); /* before it was listed */
    assert_result(door, "eth_call", params, "0x");
    free(params);
    params = call_params(&(struct contract_call){.function = CONTRACT_FINISH}, SINK_TEXT, "pending");
    error = assert_error(door, "eth_call", params, 3, "BadStatus");
    assert_int_equal(strlen(text_of(error, "data")), 2 + 8 + 64);
    free(params);
    error = assert_error(door, "eth_call", "[{\"to\":\"" CONTRACT_TEXT "\",\"input\":\"0x01\"}]", 3,
                         "execution reverted");
    assert_string_equal(text_of(error, "data"), "0x");
    assert_error(door, "eth_call", "[{\"to\":\"" SINK_TEXT "\",\"value\":\"0x1\"}]", -32000,
                 "insufficient funds");
    assert_error(door, "eth_call", "[{\"data\":\"0x00\"}]", -32000, "creation");
    assert_error(door, "eth_call", "[{\"from\":\"" CONTRACT_TEXT "\",\"to\":\"" CONTRACT_TEXT "\"}]", -32000,
                 "contract");
    assert_result(door, "eth_estimateGas",
                  "[{\"from\":\"" HUB_TEXT "\",\"to\":\"" SINK_TEXT "\",\"value\":\"0x1\"}]", "0x5208");
}

/* What would be good in the next block is said to be good now: time goes on between blocks. */
static void test_calls_see_the_next_blocks_time(void **state)
{
    struct door *door = *state;
    struct hash secret = {{1}};
    struct contract_call registration = {.function = CONTRACT_REGISTER_SECRET, .hash = secret};
    send(door, &EMBEDDED_CONTRACT, 0, &registration);
    list_asset(door, 0);
    struct channel_key channel = {SINK, ADDRESS_ZERO, 1};
    struct contract_call deposit = {.function = CONTRACT_DEPOSIT, .key = channel, .amount = {10}};
    send(door, &EMBEDDED_CONTRACT, 10, &deposit);
    struct contract_call start = {.function = CONTRACT_START_CLOSE, .key = channel};
    send(door, &EMBEDDED_CONTRACT, 0, &start);
    struct contract_call finish = {.function = CONTRACT_FINISH, .key = channel};
    char *params = call_params(&finish, SINK_TEXT, "latest");
    assert_error(door, "eth_estimateGas", params, 3, "TooEarly");
    wall += 86400 + 3 * 86400 / 8;
    (void)result(door, "eth_estimateGas", params);
    free(params);
    send(door, &EMBEDDED_CONTRACT, 0, &finish);
    assert_result(door, "eth_getBalance", "[\"" SINK_TEXT "\"]", "0xa");
}

/* ---- logs ---- */

static size_t count_logs(struct door *door, const char *filter)
{
    char params[1024];
    snprintf(params, sizeof(params), "[%s]", filter);
    return json_array_size(result(door, "eth_getLogs", params));
}

static void test_logs(void **state)
{
    struct door *door = *state;
    char filter[1024], topic[HASH_TEXT_SIZE], second[HASH_TEXT_SIZE];
    for (uint8_t i = 1; i <= 5; i++)
        list_asset(door, i);
    send(door, &EMBEDDED_CONTRACT, 0,
         &(struct contract_call){.function = CONTRACT_REGISTER_SECRET, .hash = {{9}}});
    assert_int_equal(count_logs(door, "{}"), 1); /* the newest block alone */
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x0\"}"), 6);
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"earliest\",\"toBlock\":\"latest\"}"), 6);
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x2\",\"toBlock\":\"0x3\"}"), 2);
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x7\"}"), 0);
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x6\",\"toBlock\":\"0x20\"}"), 1);
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x0\",\"address\":\"" CONTRACT_TEXT "\"}"), 6);
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x0\",\"address\":\"" SINK_TEXT "\"}"), 0);
    assert_int_equal(
        count_logs(door, "{\"fromBlock\":\"0x0\",\"address\":[\"" SINK_TEXT "\",\"" CONTRACT_TEXT "\"]}"), 6);
    struct hash listed = contract_event_topic(EVENT_ASSET_LISTED),
                met = contract_event_topic(EVENT_CONDITION_MET);
    hash_text(&listed, topic);
    hash_text(&met, second);
    snprintf(filter, sizeof(filter), "{\"fromBlock\":\"0x0\",\"topics\":[\"%s\"]}", topic);
    assert_int_equal(count_logs(door, filter), 5);
    snprintf(filter, sizeof(filter), "{\"fromBlock\":\"0x0\",\"topics\":[[\"%s\",\"%s\"]]}", topic, second);
    assert_int_equal(count_logs(door, filter), 6);
    snprintf(filter, sizeof(filter),
             "{\"fromBlock\":\"0x0\",\"topics\":[null,[\"0x%024x%02x%038x\",\"0x%024x%02x%038x\"]]}", 0, 2, 0,
             0, 4, 0);
    assert_int_equal(count_logs(door, filter), 2); /* by asset */
    snprintf(filter, sizeof(filter), "{\"fromBlock\":\"0x0\",\"topics\":[\"%s\",null,null]}", second);
    assert_int_equal(count_logs(door, filter), 1); /* three topics: kind and condition are indexed */
    snprintf(filter, sizeof(filter), "{\"fromBlock\":\"0x0\",\"topics\":[\"%s\",null,null]}", topic);
    assert_int_equal(count_logs(door, filter), 0); /* it has two */
    const json_t *log =
        json_array_get(result(door, "eth_getLogs", "[{\"fromBlock\":\"0x2\",\"toBlock\":\"0x2\"}]"), 0);
    assert_string_equal(text_of(log, "blockNumber"), "0x2");
    assert_string_equal(text_of(log, "logIndex"), "0x0");
    assert_true(json_is_false(json_object_get(log, "removed")));
    snprintf(filter, sizeof(filter), "{\"blockHash\":\"%s\"}", text_of(log, "blockHash"));
    assert_int_equal(count_logs(door, filter), 1);
    snprintf(filter, sizeof(filter), "[{\"blockHash\":\"%s\",\"fromBlock\":\"0x1\"}]", topic);
    assert_error(door, "eth_getLogs", filter, -32602, "blockHash");
    snprintf(filter, sizeof(filter), "[{\"blockHash\":\"%s\"}]", topic);
    assert_error(door, "eth_getLogs", filter, -32000, "unknown block");
    assert_error(door, "eth_getLogs", "[{\"fromBlock\":\"0x3\",\"toBlock\":\"0x2\"}]", -32602, "range");
    assert_error(door, "eth_getLogs", "[{\"fromBlock\":\"0x0\",\"toBlock\":\"0x2710\"}]", -32005, "range");
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x0\",\"toBlock\":\"0x270f\"}"), 6);
    assert_error(door, "eth_getLogs", "[{\"topics\":[null,null,null,null,null]}]", -32602, "topics");
    assert_error(door, "eth_getLogs", "[]", -32602, "filter");
}

static bool bloom_has(const char *bloom, const void *data, size_t length)
{
    uint8_t bytes[256];
    struct hash hash = keccak256(data, length);
    assert_true(hex_decode(bloom, bytes, sizeof(bytes)));
    for (int i = 0; i < 6; i += 2) {
        unsigned bit = load_be16(hash.bytes + i) & 2047u;
        if ((bytes[255 - bit / 8] >> (bit % 8) & 1) == 0)
            return false;
    }
    return true;
}

static void test_bloom(void **state)
{
    struct door *door = *state;
    list_asset(door, 1);
    const char *bloom = text_of(result(door, "eth_getBlockByNumber", "[\"latest\",false]"), "logsBloom");
    struct hash topic = contract_event_topic(EVENT_ASSET_LISTED), other = contract_event_topic(EVENT_SETTLED);
    assert_true(bloom_has(bloom, &EMBEDDED_CONTRACT, 20));
    assert_true(bloom_has(bloom, &topic, 32));
    assert_false(bloom_has(bloom, &other, 32));
}

static void test_too_many_logs(void **unused)
{
    (void)unused;
    struct door door = {.nonce = 0};
    static struct fund funds[800]; /* each skipped, each with an event */
    door_open(&door, true, false);
    struct contract_call batch = {
        .function = CONTRACT_SETTLE_BATCH, .funds = funds, .fund_count = ARRAY_LENGTH(funds)};
    struct buffer data = {0}, raw = {0};
    struct secret_key key = development_key(0);
    contract_encode_call(&data, &batch);
    struct transaction transaction = {.chain_id = 31337,
                                      .max_fee_per_gas = GWEI,
                                      .gas_limit = BLOCK_GAS_LIMIT,
                                      .to = EMBEDDED_CONTRACT,
                                      .data = data.data,
                                      .data_length = data.length};
    for (transaction.nonce = 0; transaction.nonce < 13; transaction.nonce++) {
        struct hash hash;
        buffer_clear(&raw);
        (void)transaction_sign(&transaction, &key, &raw);
        assert_null(chain_submit(door.chain, raw.data, raw.length, &hash));
        assert_int_equal(chain_mine(door.chain, 1)->transactions[0].logs.count, 801);
    }
    buffer_free(&data);
    buffer_free(&raw);
    assert_error(&door, "eth_getLogs", "[{\"fromBlock\":\"0x0\"}]", -32005, "range");
    assert_int_equal(count_logs(&door, "{\"fromBlock\":\"0x2\",\"toBlock\":\"0xd\"}"), 12 * 801);
    door_close(&door);
}

static void test_forgotten_blocks(void **state)
{
    struct door *door = *state;
    for (int i = 0; i < CHAIN_HISTORY_MIN + 5; i++)
        chain_mine(door->chain, 0);
    assert_error(door, "eth_getLogs", "[{\"fromBlock\":\"0x5\"}]", -32000, "not kept");
    assert_int_equal(count_logs(door, "{\"fromBlock\":\"0x6\"}"), 0);
    assert_true(json_is_null(result(door, "eth_getBlockByNumber", "[\"earliest\",false]")));
    assert_error(door, "eth_getBalance", "[\"" HUB_TEXT "\",\"0x6\"]", -32000, "not kept");
    assert_error(door, "eth_feeHistory", "[\"0x1\",\"0x5\",[]]", -32000, "not there");
}

/* ---- fees and time ---- */

static void test_fee_history(void **state)
{
    struct door *door = *state;
    for (int i = 0; i < 3; i++)
        send(door, &SINK, 1, NULL);
    const json_t *history = result(door, "eth_feeHistory", "[\"0x2\",\"latest\",[0,50,100]]");
    assert_string_equal(text_of(history, "oldestBlock"), "0x2");
    assert_int_equal(json_array_size(json_object_get(history, "baseFeePerGas")), 3);
    assert_int_equal(json_array_size(json_object_get(history, "gasUsedRatio")), 2);
    const json_t *rewards = json_array_get(json_object_get(history, "reward"), 1);
    assert_int_equal(json_array_size(rewards), 3);
    assert_string_equal(json_string_value(json_array_get(rewards, 2)), "0x1");
    history = result(door, "eth_feeHistory", "[100,\"latest\",null]");
    assert_string_equal(text_of(history, "oldestBlock"), "0x0");
    assert_null(json_object_get(history, "reward"));
    assert_error(door, "eth_feeHistory", "[0,\"latest\",[]]", -32602, "1024");
    assert_error(door, "eth_feeHistory", "[1025,\"latest\",[]]", -32602, "1024");
    assert_error(door, "eth_feeHistory", "[1,\"latest\",[101]]", -32602, "percentiles");
}

static void test_time_at_will(void **state)
{
    struct door *door = *state;
    assert_int_equal(json_integer_value(result(door, "evm_increaseTime", "[60]")), 60);
    assert_int_equal(json_integer_value(result(door, "evm_increaseTime", "[\"0x3c\"]")), 120);
    (void)result(door, "evm_mine", "[]");
    assert_string_equal(text_of(result(door, "eth_getBlockByNumber", "[\"latest\",false]"), "timestamp"),
                        "0x6b49d278");
    (void)result(door, "evm_setNextBlockTimestamp", "[1900000000]");
    send(door, &SINK, 1, NULL);
    assert_string_equal(text_of(result(door, "eth_getBlockByNumber", "[\"latest\",false]"), "timestamp"),
                        "0x713fb300");
    (void)result(door, "evm_mine", "[1900000050]");
    (void)result(door, "evm_mine", "[{\"timestamp\":\"0x713fb364\"}]");
    assert_string_equal(text_of(result(door, "eth_getBlockByNumber", "[\"latest\",false]"), "timestamp"),
                        "0x713fb364");
    assert_error(door, "evm_setNextBlockTimestamp", "[1900000000]", -32602, "time");
    assert_error(door, "evm_setNextBlockTimestamp", "[]", -32602, "time");
    assert_error(door, "evm_increaseTime", "[-5]", -32602, "time");
    assert_error(door, "evm_mine", "[\"soon\"]", -32602, "time");
}

static void test_no_time_travel_outside_development(void **unused)
{
    (void)unused;
    struct door door = {.nonce = 0};
    door_open(&door, false, true);
    assert_error(&door, "evm_mine", "[]", -32601, "--dev");
    assert_error(&door, "evm_increaseTime", "[1]", -32601, "--dev");
    assert_error(&door, "evm_setNextBlockTimestamp", "[1]", -32601, "--dev");
    send(&door, &SINK, 1, NULL);
    door_close(&door);
}

#define door_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    log_setup("test_node", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        door_test(test_what_is_no_request),
        door_test(test_ids_and_notifications),
        door_test(test_batches),
        door_test(test_any_parameters),
        door_test(test_plain_answers),
        door_test(test_a_transaction_and_its_traces),
        door_test(test_send_refusals),
        cmocka_unit_test(test_pending_at_an_interval),
        door_test(test_calls_and_reverts),
        door_test(test_calls_see_the_next_blocks_time),
        door_test(test_logs),
        door_test(test_bloom),
        cmocka_unit_test(test_too_many_logs),
        door_test(test_forgotten_blocks),
        door_test(test_fee_history),
        door_test(test_time_at_will),
        cmocka_unit_test(test_no_time_travel_outside_development),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
