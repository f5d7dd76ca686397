/* A real node (anvil) behind a provider that limits the rate of requests, or on another chain than expected: calls
 * wait and none is lost, and what cannot be had is said. */
#include "tests/evm/manners.h"

struct call_result {
    unsigned answered;
    enum ledger_error error;
};

static void on_answer(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    struct call_result *result = context;
    struct address hub, expected;
    struct secret_key key = anvil_key(0);
    (void)reverted;
    expected = secret_key_address(&key);
    result->answered++;
    result->error = error;
    if (error == LEDGER_OK)
        assert_true(contract_decode_address(data, length, 0, &hub) && address_equal(&hub, &expected));
}

static void ask_hub(struct stage *stage, struct call_result *result)
{
    struct buffer call = {0};
    *result = (struct call_result){.answered = 0};
    contract_encode_call(&call, &(struct contract_call){.function = CONTRACT_HUB});
    ledger_call(stage->ledger, NULL, call.data, call.length, on_answer, result);
    buffer_free(&call);
}

/* ---- so many a second ---- */

#define CALLS 40

/* Ten requests in each window of a second; what comes beyond that is told to come back in the next. */
struct quota {
    uint64_t window_us;
    unsigned used, refused, refused_most;
    const char *retry_after;
    unsigned refused_now;
};

static void quota_rule(void *context, const struct proxy_request *request, struct proxy_reply *reply)
{
    struct quota *quota = context;
    if (request->place > 0)
        return; /* a batch counts as one, and is refused as one */
    if (request->since_us > quota->window_us + 1000000) {
        quota->window_us = request->since_us;
        quota->used = quota->refused_now = 0;
    }
    if (++quota->used <= 10)
        return;
    quota->refused++;
    quota->refused_now++;
    if (quota->refused_now > quota->refused_most)
        quota->refused_most = quota->refused_now;
    reply->status = 429;
    reply->retry_after = quota->retry_after;
    reply->text = "Too Many Requests";
}

static void run_against_quota(const char *retry_after)
{
    struct stage *stage = stage_new(NULL, 0);
    struct quota quota = {.retry_after = retry_after};
    struct call_result results[CALLS];
    proxy_rule_set(stage->proxy, quota_rule, &quota);
    for (size_t i = 0; i < CALLS; i++)
        ask_hub(stage, &results[i]);
    for (size_t i = 0; i < CALLS; i++) {
        run_until(stage, results[i].answered);
        assert_int_equal(results[i].error, LEDGER_OK);
    }
    for (size_t i = 0; i < CALLS; i++)
        assert_int_equal(results[i].answered, 1);
    assert_true(quota.refused > 0);
    /* Those that were under way together, and a few that asked too early. */
    assert_true(quota.refused_most <= 4 + 3);
    stage_free(stage);
}

static void calls_beyond_the_rate_come_after_the_time_asked(void **state)
{
    (void)state;
    run_against_quota("1");
}

static void calls_beyond_the_rate_come_after_pauses_of_our_own(void **state)
{
    (void)state;
    run_against_quota(NULL);
}

/* ---- the wordings of providers ---- */

struct refusal {
    int status;
    const char *retry_after, *error, *text;
    bool without_id;
};

static const struct refusal refusals[] = {
    {429, NULL, NULL, "Too Many Requests", false},
    {429, "0", NULL, NULL, false},
    {429, "Wed, 21 Oct 2015 07:28:00 GMT", NULL, NULL, false},
    {429, NULL, "{\"code\":-32007,\"message\":\"50/second request limit reached\"}", NULL, false},
    {503, "1", NULL, "busy", false},
    {200, NULL, "{\"code\":429,\"message\":\"Too Many Requests\"}", NULL, false},
    {200, NULL, "{\"code\":429,\"message\":\"exceeded its compute units per second capacity\"}", NULL, true},
    {200, NULL, "{\"code\":-32005,\"message\":\"limit exceeded\"}", NULL, false},
    {200, NULL,
     "{\"code\":-32005,\"message\":\"project ID request rate "
     "exceeded\",\"data\":{\"rate\":{\"backoff_seconds\":1}}}",
     NULL, false},
    {200, NULL, "{\"code\":-32090,\"message\":\"Too many requests, reason: call rate limit exhausted\"}",
     NULL, false},
};

struct grudging {
    const struct refusal *refusal;
    const char *method; /* NULL: each */
    unsigned times;     /* of each method */
    unsigned refused;
    uint64_t first_us, second_us; /* of the method's requests */
};

static void refuses_at_first(void *context, const struct proxy_request *request, struct proxy_reply *reply)
{
    struct grudging *grudging = context;
    if (grudging->method != NULL && strcmp(grudging->method, request->method) != 0)
        return;
    if (grudging->method != NULL && request->number == 1)
        grudging->first_us = request->since_us;
    if (grudging->method != NULL && request->number == 2)
        grudging->second_us = request->since_us;
    if (request->number > grudging->times)
        return;
    grudging->refused++;
    reply->status = grudging->refusal->status;
    reply->retry_after = grudging->refusal->retry_after;
    reply->error = grudging->refusal->error;
    reply->text = grudging->refusal->text;
    reply->without_id = grudging->refusal->without_id;
}

/* A new client behind a new proxy that refuses. */
static void client_begin_with(struct stage *stage, proxy_rule *rule, void *context)
{
    client_end(stage);
    proxy_free(stage->proxy);
    stage->proxy = proxy_new(stage->base, stage->node.port);
    proxy_rule_set(stage->proxy, rule, context);
    client_make(stage);
}

/* Each method that a deposit needs is refused at first, be it the probe, the estimate or the broadcast. */
static void a_deposit_goes_through_however_a_limit_is_worded(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    list_coin(stage);
    for (size_t i = 0; i < ARRAY_LENGTH(refusals); i++) {
        struct grudging grudging = {.refusal = &refusals[i], .times = 1};
        struct outcome outcome;
        client_begin_with(stage, refuses_at_first, &grudging);
        deposit(stage, i, 1000, &outcome);
        run_until(stage, outcome.told || pool_size(stage) > 0);
        mine(stage, 1);
        run_until(stage, outcome.told);
        if (outcome.error != LEDGER_OK)
            fail_msg("refusal %zu: %s", i, ledger_last_error(stage->ledger));
        assert_int_equal(channel_now(stage, i).total.units, 1000);
        run_until(stage, count_events(stage, EVENT_FUNDED) == i + 1);
        assert_true(grudging.refused >= 7);
        assert_string_equal(ledger_trouble(stage->ledger), "");
    }
    stage_free(stage);
}

static void the_time_asked_is_waited(void **state)
{
    (void)state;
    const struct refusal asked[] = {
        {429, "2", NULL, NULL, false},
        {200, NULL,
         "{\"code\":-32005,\"message\":\"request rate "
         "exceeded\",\"data\":{\"rate\":{\"backoff_seconds\":2}}}",
         NULL, false},
    };
    struct stage *stage = stage_new(NULL, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(asked); i++) {
        struct grudging grudging = {.refusal = &asked[i], .method = "eth_call", .times = 1};
        struct call_result result;
        client_begin_with(stage, refuses_at_first, &grudging);
        ask_hub(stage, &result);
        run_until(stage, troubled_by(stage, "limits the rate of requests"));
        run_until(stage, result.answered);
        assert_int_equal(result.error, LEDGER_OK);
        assert_true(grudging.second_us >= grudging.first_us + 1990000);
    }
    stage_free(stage);
}

/* A day is not waited for: whoever has limited patience is told, whoever has not waits on. */
static void a_limit_without_end_is_told_in_time(void **state)
{
    (void)state;
    const struct refusal a_day = {429, "86400", "{\"code\":429,\"message\":\"daily request count exceeded\"}",
                                  NULL, false};
    struct stage *stage = stage_new(NULL, 0);
    struct grudging grudging = {.refusal = &a_day, .times = UINT32_MAX};
    struct call_result result;
    struct outcome outcome;
    stage->options.tries = 2;
    client_begin_with(stage, refuses_at_first, &grudging);
    ask_hub(stage, &result);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, result.answered);
    assert_int_equal(result.error, LEDGER_UNREACHABLE);
    assert_int_equal(outcome.told, 0); /* two tries more: a minute */
    assert_true(troubled_by(stage, "limits the rate of requests"));
    assert_true(troubled_by(stage, "daily request count exceeded"));
    assert_int_equal(nonce_of(stage, &stage->client), 0);
    stage_free(stage);
}

/* ---- an upstream that lacks the newest block ---- */

static void a_missing_newest_block_is_asked_for_again(void **state)
{
    (void)state;
    const struct refusal missing[] = {
        {200, NULL, "{\"code\":-32000,\"message\":\"header not found\"}", NULL, false},
        {200, NULL, "{\"code\":-32000,\"message\":\"missing trie node 31ab (path ) <nil>\"}", NULL, false},
        {200, NULL, "{\"code\":-32001,\"message\":\"Unknown block\"}", NULL, false},
    };
    static const char *const methods[] = {"eth_call", "eth_estimateGas", "eth_getTransactionCount"};
    struct stage *stage = stage_new(NULL, 0);
    uint64_t salt = 0;
    list_coin(stage);
    for (size_t i = 0; i < ARRAY_LENGTH(missing); i++)
        for (size_t m = 0; m < ARRAY_LENGTH(methods); m++) {
            struct grudging grudging = {.refusal = &missing[i], .method = methods[m], .times = 2};
            struct call_result result;
            struct outcome outcome;
            client_begin_with(stage, refuses_at_first, &grudging);
            ask_hub(stage, &result);
            deposit(stage, ++salt, 1000, &outcome);
            bury(stage, &outcome);
            run_until(stage, result.answered);
            assert_int_equal(result.error, LEDGER_OK);
            assert_int_equal(grudging.refused, 2);
        }
    stage_free(stage);
}

/* ---- the wrong chain ---- */

static void another_chain_is_named_with_the_one_expected(void **state)
{
    (void)state;
    const char *const flags[] = {"--chain-id", "5", NULL};
    struct stage *stage = stage_new(flags, 0);
    struct call_result result;
    struct outcome outcome;
    client_end(stage);
    stage->options.chain_id = 1;
    client_make(stage);
    ask_hub(stage, &result);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, result.answered && outcome.told);
    assert_int_equal(result.error, LEDGER_WRONG_CHAIN);
    assert_int_equal(outcome.error, LEDGER_WRONG_CHAIN);
    assert_true(troubled_by(stage, "expected chain id 1, found chain id 5"));
    assert_int_equal(proxy_count(stage->proxy, "eth_sendRawTransaction"), 0);
    assert_int_equal(nonce_of(stage, &stage->client), 0);
    stage_free(stage);
}

int main(void)
{
    log_setup("test_manners_limits", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_beyond_the_rate_come_after_the_time_asked),
        cmocka_unit_test(calls_beyond_the_rate_come_after_pauses_of_our_own),
        cmocka_unit_test(a_deposit_goes_through_however_a_limit_is_worded),
        cmocka_unit_test(the_time_asked_is_waited),
        cmocka_unit_test(a_limit_without_end_is_told_in_time),
        cmocka_unit_test(a_missing_newest_block_is_asked_for_again),
        cmocka_unit_test(another_chain_is_named_with_the_one_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
