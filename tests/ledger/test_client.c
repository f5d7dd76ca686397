/* Calls against a node that is down, slow, wrong or talks nonsense. */
#include "tests/ledger/scripted_node.h"

#include "ledger/rpc.h"

struct call_result {
    unsigned answered;
    enum ledger_error error;
    enum contract_error reverted;
    uint8_t data[64];
    size_t length;
};

static void on_answer(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    struct call_result *result = context;
    result->answered++;
    result->error = error;
    result->reverted = reverted;
    result->length = length;
    assert_true(length <= sizeof(result->data));
    if (length > 0)
        memcpy(result->data, data, length);
}

static struct call_result call(struct node *node, struct ledger *ledger)
{
    struct call_result result = {0};
    ledger_call(ledger, NULL, (const uint8_t *)"\x36\x5a\x86\xfc", 4, on_answer, &result);
    assert_int_equal(result.answered, 0); /* never from inside */
    node_run_until(node, result.answered > 0);
    return result;
}

static void answers_come_back(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    assert_int_equal(ledger_chain_id(ledger), 0);
    node->call_result = "0x01ff";
    struct call_result result = call(node, ledger);
    assert_int_equal(result.error, LEDGER_OK);
    assert_int_equal(result.length, 2);
    assert_memory_equal(result.data, "\x01\xff", 2);
    assert_int_equal(ledger_chain_id(ledger), NODE_CHAIN_ID);
    assert_string_equal(ledger_trouble(ledger), "");
    node->call_result = "0x";
    assert_int_equal(call(node, ledger).length, 0);
    node->call_result = "0x1";
    assert_int_equal(call(node, ledger).error, LEDGER_MALFORMED);
    node->call_result = "bytes";
    assert_int_equal(call(node, ledger).error, LEDGER_MALFORMED);
    assert_int_equal(node_count(node, "eth_chainId"), 1);
    ledger_free(ledger);
    node_free(node);
}

static void reverts_are_named(void **state)
{
    (void)state;
    const struct {
        const char *error;
        enum ledger_error expected;
        enum contract_error reverted;
    } cases[] = {
        {"{\"code\":3,\"message\":\"execution reverted\",\"data\":\"0x7faaeda4\"}", LEDGER_REVERTED,
         CONTRACT_NOT_NEWER},
        {"{\"code\":-32015,\"message\":\"VM execution error\",\"data\":\"Reverted 0x0b3524f4\"}",
         LEDGER_REVERTED, CONTRACT_BAD_CLAIM},
        {"{\"code\":-32603,\"message\":\"x\",\"data\":{\"data\":\"0x7faaeda4\",\"message\":\"y\"}}",
         LEDGER_REVERTED, CONTRACT_NOT_NEWER},
        {"{\"code\":-32603,\"message\":\"x\",\"data\":{\"originalError\":{\"code\":3,\"data\":\"0x7faaeda4\"}"
         "}}",
         LEDGER_REVERTED, CONTRACT_NOT_NEWER},
        {"{\"code\":-32000,\"message\":\"x\",\"data\":{\"0xaa\":{\"error\":\"revert\",\"return\":"
         "\"0x7faaeda4\"}}}",
         LEDGER_REVERTED, CONTRACT_NOT_NEWER},
        {"{\"code\":3,\"message\":\"execution reverted\",\"data\":\"0x\"}", LEDGER_REVERTED,
         CONTRACT_UNNAMED},
        {"{\"code\":-32000,\"message\":\"execution reverted\"}", LEDGER_REVERTED, CONTRACT_UNNAMED},
        {"{\"code\":-32601,\"message\":\"no such method\"}", LEDGER_REFUSED, CONTRACT_OK},
        {"{\"code\":-32000,\"message\":\"out of gas\",\"data\":[1,{\"a\":null}]}", LEDGER_REFUSED,
         CONTRACT_OK},
        {"{\"code\":-32000,\"message\":5}", LEDGER_REFUSED, CONTRACT_OK},
    };
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        node->call_error = cases[i].error;
        struct call_result result = call(node, ledger);
        assert_int_equal(result.error, cases[i].expected);
        assert_int_equal(result.reverted, cases[i].reverted);
    }
    assert_int_equal(node_count(node, "eth_call"), ARRAY_LENGTH(cases)); /* an answer is never retried */
    ledger_free(ledger);
    node_free(node);
}

static void failures_are_tried_again(void **state)
{
    (void)state;
    const enum fault faults[] = {FAULT_GARBAGE, FAULT_WRONG_ID, FAULT_STATUS_500, FAULT_CLOSE,
                                 FAULT_SILENCE, FAULT_HUGE,     FAULT_DEEP};
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    options.timeout_ms = 300;
    struct ledger *ledger = ledger_new(node->base, &options);
    node->call_result = "0xaa";
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++)
        for (unsigned on_probe = 0; on_probe < 2; on_probe++) {
            node->fault = faults[i];
            node->fault_count = 2;
            node->fault_method = on_probe ? NULL : "eth_call";
            struct call_result result = call(node, ledger);
            assert_int_equal(result.error, LEDGER_OK);
            assert_string_equal(ledger_trouble(ledger), "");
        }
    ledger_free(ledger);
    node_free(node);
}

static void failures_end(void **state)
{
    (void)state;
    const struct {
        enum fault fault;
        enum ledger_error expected;
    } cases[] = {{FAULT_GARBAGE, LEDGER_MALFORMED},      {FAULT_WRONG_ID, LEDGER_MALFORMED},
                 {FAULT_STATUS_500, LEDGER_UNREACHABLE}, {FAULT_CLOSE, LEDGER_UNREACHABLE},
                 {FAULT_SILENCE, LEDGER_UNREACHABLE},    {FAULT_HUGE, LEDGER_UNREACHABLE},
                 {FAULT_DEEP, LEDGER_MALFORMED}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct node *node = node_new();
        struct ledger_options options = node_options(node);
        options.timeout_ms = 200;
        options.tries = 3;
        struct ledger *ledger = ledger_new(node->base, &options);
        node->fault = cases[i].fault;
        node->fault_count = UINT32_MAX;
        node->fault_method = "eth_call";
        assert_int_equal(call(node, ledger).error, cases[i].expected);
        assert_int_equal(node_count(node, "eth_call"), 3);
        assert_string_not_equal(ledger_trouble(ledger), "");
        assert_string_not_equal(ledger_last_error(ledger), "");
        node->fault_count = 0; /* well again */
        assert_int_equal(call(node, ledger).error, LEDGER_OK);
        assert_string_equal(ledger_trouble(ledger), "");
        ledger_free(ledger);
        node_free(node);
    }
}

#define TOO_MANY "{\"code\":429,\"message\":\"Too Many Requests\"}"

static void limits_of_the_rate_cost_no_try(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    options.tries = 1;
    struct ledger *ledger = ledger_new(node->base, &options);
    node->call_result = "0xaa";
    node->fault = FAULT_ERROR;
    node->fault_method = "eth_call";
    node->error_json = TOO_MANY;
    node->fault_count = 2;
    assert_int_equal(call(node, ledger).error, LEDGER_OK);
    assert_int_equal(node_count(node, "eth_call"), 3);
    assert_int_equal(node_count(node, "eth_chainId"), 1); /* the node did not fail */
    assert_string_equal(ledger_trouble(ledger), "");
    ledger_free(ledger);
    node_free(node);
}

static void limits_beyond_patience_are_told(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    options.tries = 1;
    struct ledger *ledger = ledger_new(node->base, &options);
    node->fault = FAULT_ERROR;
    node->fault_method = "eth_call";
    node->error_json = "{\"code\":-32005,\"message\":\"daily request count exceeded\",\"data\":{\"rate\":"
                       "{\"backoff_seconds\":86400}}}";
    node->fault_count = 1;
    assert_int_equal(call(node, ledger).error, LEDGER_UNREACHABLE);
    assert_int_equal(node_count(node, "eth_call"), 1);
    assert_non_null(strstr(ledger_trouble(ledger), "daily request count exceeded"));
    ledger_free(ledger);
    node_free(node);
}

static void a_newest_block_that_is_missing_is_asked_for_again(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    node->call_result = "0xaa";
    node->fault = FAULT_ERROR;
    node->fault_method = "eth_call";
    node->error_json = "{\"code\":-32000,\"message\":\"header not found\"}";
    node->fault_count = 2;
    assert_int_equal(call(node, ledger).error, LEDGER_OK);
    assert_int_equal(node_count(node, "eth_call"), 3);
    ledger_free(ledger);
    node_free(node);
}

/* What is asked for here is short: only lists of logs and of transactions may be long. */
static void long_answers_are_refused(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    options.tries = 1;
    struct ledger *ledger = ledger_new(node->base, &options);
    size_t length = (size_t)RPC_ANSWER_MAX + 2;
    char *result = calloc(1, length + 1);
    memset(result, '0', length);
    result[1] = 'x';
    node->call_result = result;
    assert_int_equal(call(node, ledger).error, LEDGER_UNREACHABLE);
    assert_non_null(strstr(ledger_last_error(ledger), "too long"));
    node->call_result = "0xaa";
    assert_int_equal(call(node, ledger).error, LEDGER_OK);
    free(result);
    ledger_free(ledger);
    node_free(node);
}

static void error_objects_are_told_apart(void **state)
{
    (void)state;
    const struct {
        const char *error;
        bool limits_calls, limits_logs, misses_block;
    } cases[] = {
        {TOO_MANY, true, true, false},
        {"{\"code\":-32005,\"message\":\"limit exceeded\"}", true, false, false},
        {"{\"code\":-32005,\"message\":\"query returned more than 10000 results\"}", false, false, false},
        {"{\"code\":-32007,\"message\":\"50/second request limit reached\"}", true, true, false},
        {"{\"code\":-32090,\"message\":\"call rate limit exhausted\"}", true, true, false},
        {"{\"code\":-32602,\"message\":\"block range is too wide\"}", false, false, false},
        {"{\"code\":-32600,\"message\":\"Block range limit exceeded\"}", false, false, false},
        {"{\"code\":-32000,\"message\":\"header not found\"}", false, false, true},
        {"{\"code\":-32000,\"message\":\"missing trie node 12\"}", false, false, true},
        {"{\"code\":4444,\"message\":\"pruned history unavailable\"}", false, false, true},
        {"{\"code\":-32602,\"message\":\"block range extends beyond current head block\"}", false, false,
         true},
        {"{\"code\":-32000,\"message\":\"0x12… could not be found\"}", false, false, true},
        {"{\"code\":3,\"message\":\"execution reverted\"}", false, false, false},
        {"{\"code\":-32000,\"message\":\"nonce too low\"}", false, false, false},
        {"{\"message\":7}", false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        json_t *error = json_loads(cases[i].error, 0, NULL);
        assert_non_null(error);
        assert_int_equal(rpc_is_rate_limit(error, false), cases[i].limits_calls);
        assert_int_equal(rpc_is_rate_limit(error, true), cases[i].limits_logs);
        assert_int_equal(rpc_is_missing_block(error), cases[i].misses_block);
        json_decref(error);
    }
}

static void another_chain_is_refused(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    node->chain_id = 1;
    assert_int_equal(call(node, ledger).error, LEDGER_WRONG_CHAIN);
    assert_int_equal(node_count(node, "eth_call"), 0);
    assert_non_null(strstr(ledger_trouble(ledger), "expected chain id 31337, found chain id 1"));
    node->chain_id = NODE_CHAIN_ID;
    assert_int_equal(call(node, ledger).error, LEDGER_OK);
    assert_string_equal(ledger_trouble(ledger), "");

    /* Swapped behind our back: seen when the connection breaks. */
    node_down(node);
    node->chain_id = 5;
    node_up(node);
    assert_int_equal(call(node, ledger).error, LEDGER_WRONG_CHAIN);
    assert_int_equal(node_count(node, "eth_call"), 1);
    ledger_free(ledger);

    /* Whatever the node says at first holds from then on. */
    options.chain_id = 0;
    ledger = ledger_new(node->base, &options);
    assert_int_equal(call(node, ledger).error, LEDGER_OK);
    assert_int_equal(ledger_chain_id(ledger), 5);
    node_down(node);
    node->chain_id = 6;
    node_up(node);
    assert_int_equal(call(node, ledger).error, LEDGER_WRONG_CHAIN);
    ledger_free(ledger);
    node_free(node);
}

static void a_node_that_is_down_is_waited_for(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    node_down(node);
    options.tries = 3;
    struct ledger *ledger = ledger_new(node->base, &options);
    assert_int_equal(call(node, ledger).error, LEDGER_UNREACHABLE);
    assert_non_null(strstr(ledger_trouble(ledger), node->url));
    ledger_free(ledger);

    options.tries = 8;
    ledger = ledger_new(node->base, &options);
    struct call_result result = {0};
    ledger_call(ledger, NULL, NULL, 0, on_answer, &result);
    node_run_until(node, ledger_trouble(ledger)[0] != '\0');
    assert_int_equal(result.answered, 0);
    node_up(node);
    node_run_until(node, result.answered);
    assert_int_equal(result.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

static void calls_in_flight_are_few(void **state)
{
    (void)state;
    enum { CALLS = 1200 };
    static struct call_result results[CALLS];
    memset(results, 0, sizeof(results));
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    for (size_t i = 0; i < CALLS; i++)
        ledger_call(ledger, NULL, NULL, 0, on_answer, &results[i]);
    unsigned good = 0, refused = 0;
    for (size_t i = 0; i < CALLS; i++) {
        node_run_until(node, results[i].answered == 1);
        good += results[i].error == LEDGER_OK;
        refused += results[i].error == LEDGER_UNREACHABLE;
    }
    assert_int_equal(good, 1024);
    assert_int_equal(refused, CALLS - 1024);
    assert_true(node->open_most <= 4);
    ledger_free(ledger);
    node_free(node);
}

static void a_wrong_url_is_said_so(void **state)
{
    (void)state;
    const char *urls[] = {"https://mainnet.example", "ws://127.0.0.1:1", "",
                          "127.0.0.1:8545",          "http://",          "http:///x"};
    struct node *node = node_new();
    for (size_t i = 0; i < ARRAY_LENGTH(urls); i++) {
        struct ledger_options options = node_options(node);
        options.url = urls[i];
        struct ledger *ledger = ledger_new(node->base, &options);
        assert_int_equal(call(node, ledger).error, LEDGER_UNREACHABLE);
        assert_non_null(strstr(ledger_last_error(ledger), "http"));
        ledger_free(ledger);
    }
    node_free(node);
}

struct json_result {
    unsigned answered;
    enum ledger_error error;
    char text[128];
};

static void on_json(void *context, enum ledger_error error, const char *text)
{
    struct json_result *result = context;
    result->answered++;
    result->error = error;
    snprintf(result->text, sizeof(result->text), "%s", text != NULL ? text : "");
}

static void any_method_can_be_asked(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    const struct {
        const char *method, *params, *text;
        enum ledger_error error;
    } cases[] = {{"eth_chainId", "[]", "\"0x7a69\"", LEDGER_OK},
                 {"eth_getTransactionReceipt",
                  "[\"0x0000000000000000000000000000000000000000000000000000000000000001\"]", "null",
                  LEDGER_OK},
                 {"eth_unheardOf", "[]", "", LEDGER_REFUSED},
                 {"eth_chainId", "{}", "", LEDGER_MALFORMED},
                 {"eth_chainId", "[", "", LEDGER_MALFORMED}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct json_result result = {0};
        ledger_request(ledger, cases[i].method, cases[i].params, on_json, &result);
        assert_int_equal(result.answered, 0);
        node_run_until(node, result.answered);
        assert_int_equal(result.error, cases[i].error);
        assert_string_equal(result.text, cases[i].text);
    }
    ledger_free(ledger);
    node_free(node);
}

struct freeing {
    struct ledger *ledger;
    unsigned answered;
};

static void on_answer_free(void *context, enum ledger_error error, enum contract_error reverted,
                           const uint8_t *data, size_t length)
{
    (void)reverted;
    (void)data;
    (void)length;
    struct freeing *freeing = context;
    freeing->answered++;
    if (freeing->answered == 1)
        ledger_free(freeing->ledger);
    else
        assert_int_equal(error, LEDGER_STOPPED);
}

static void freeing_answers_all(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    /* From outside: waiting, in flight. */
    node->fault = FAULT_SILENCE;
    node->fault_count = UINT32_MAX;
    node->fault_method = "eth_call";
    struct ledger *ledger = ledger_new(node->base, &options);
    struct call_result results[10] = {{0}};
    for (size_t i = 0; i < ARRAY_LENGTH(results); i++)
        ledger_call(ledger, NULL, NULL, 0, on_answer, &results[i]);
    node_run_until(node, node_count(node, "eth_call") == 4);
    ledger_free(ledger);
    for (size_t i = 0; i < ARRAY_LENGTH(results); i++) {
        assert_int_equal(results[i].answered, 1);
        assert_int_equal(results[i].error, LEDGER_STOPPED);
    }
    /* From inside an answer. */
    node->fault_count = 0;
    struct freeing freeing = {ledger_new(node->base, &options), 0};
    for (size_t i = 0; i < 10; i++)
        ledger_call(freeing.ledger, NULL, NULL, 0, on_answer_free, &freeing);
    node_run_until(node, freeing.answered > 0);
    assert_int_equal(freeing.answered, 10);
    node_run_until(node, node->connections[0] == NULL);
    ledger_free(NULL);
    node_free(node);
}

static void waiting_programs_get_answers(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    struct ledger *ledger = ledger_new(node->base, &options);
    struct buffer result = {0};
    enum contract_error reverted;
    node->call_result = "0x05";
    assert_int_equal(ledger_call_wait(ledger, NULL, NULL, 0, &result, &reverted), LEDGER_OK);
    assert_true(result.length == 1 && result.data[0] == 5 && reverted == CONTRACT_OK);
    node->call_error = "{\"code\":3,\"message\":\"execution reverted\",\"data\":\"0x7faaeda4\"}";
    assert_int_equal(ledger_call_wait(ledger, NULL, NULL, 0, &result, &reverted), LEDGER_REVERTED);
    assert_int_equal(reverted, CONTRACT_NOT_NEWER);
    buffer_free(&result);
    ledger_free(ledger);
    node_free(node);
}

int main(void)
{
    log_setup("test_client", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(reverts_are_named),
        cmocka_unit_test(failures_are_tried_again),
        cmocka_unit_test(failures_end),
        cmocka_unit_test(limits_of_the_rate_cost_no_try),
        cmocka_unit_test(limits_beyond_patience_are_told),
        cmocka_unit_test(a_newest_block_that_is_missing_is_asked_for_again),
        cmocka_unit_test(long_answers_are_refused),
        cmocka_unit_test(error_objects_are_told_apart),
        cmocka_unit_test(another_chain_is_refused),
        cmocka_unit_test(a_node_that_is_down_is_waited_for),
        cmocka_unit_test(calls_in_flight_are_few),
        cmocka_unit_test(a_wrong_url_is_said_so),
        cmocka_unit_test(any_method_can_be_asked),
        cmocka_unit_test(freeing_answers_all),
        cmocka_unit_test(waiting_programs_get_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
