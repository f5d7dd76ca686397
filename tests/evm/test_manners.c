/* Sending through a real node (anvil, with the contract's bytecode): fees that rise, nonces that others use,
 * transactions that are dropped or reorganised away, nodes of unequal height behind one address. Each transaction
 * takes effect once, however often it had to be shown. */
#include "tests/evm/manners.h"

/* ---- fees ---- */

/* A block whose base fee is this much, 6 s after the last. */
static void mine_at_base_fee(struct stage *stage, uint64_t gwei)
{
    calm(stage);
    anvil_do(&stage->node, "anvil_setNextBlockBaseFeePerGas", "[\"0x%llx\"]",
             (unsigned long long)gwei * GWEI);
    anvil_do(&stage->node, "evm_increaseTime", "[6]");
    anvil_do(&stage->node, "evm_mine", "[]");
}

#define BLOCKS_MAX 200

/* Blocks at that base fee, with time for the client to look at each, until it holds. */
#define mine_until(stage, gwei, condition)                                                                   \
    do {                                                                                                     \
        unsigned blocks = 0;                                                                                 \
        while (!(condition)) {                                                                               \
            if (++blocks > BLOCKS_MAX)                                                                       \
                fail_msg("not within %d blocks: %s; the client's trouble: '%s'", BLOCKS_MAX, #condition,     \
                         ledger_trouble((stage)->ledger));                                                   \
            mine_at_base_fee(stage, gwei);                                                                   \
            look_around(stage, 4);                                                                           \
        }                                                                                                    \
    } while (0)

static void fees_rise_with_the_base_fee_until_mined(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome outcome;
    list_coin(stage);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, pool_size(stage) == 1);
    mine_at_base_fee(stage, 100);
    assert_int_equal(nonce_of(stage, &stage->client), 0); /* what was offered is not enough */
    mine_until(stage, 100, outcome.told);
    assert_done(stage, &outcome);
    assert_true(outcome.receipt.effective_gas_price >= 100ull * GWEI);
    assert_true(outcome.receipt.effective_gas_price <= 500ull * GWEI); /* the cap, by default */
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    assert_int_equal(nonce_of(stage, &stage->client), 1);
    assert_string_equal(ledger_trouble(stage->ledger), "");
    stage_free(stage);
}

static void a_fee_at_its_cap_is_said_and_mined_when_fees_fall(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome outcome;
    list_coin(stage);
    client_end(stage);
    stage->options.max_fee_per_gas = 10ull * GWEI;
    client_make(stage);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, pool_size(stage) == 1);
    mine_until(stage, 100, troubled_by(stage, "cannot be raised further"));
    assert_true(troubled_by(stage, "the limit is 10000000000, the block's base fee 100000000000"));
    assert_int_equal(outcome.told, 0);
    assert_int_equal(nonce_of(stage, &stage->client), 0);
    mine_until(stage, 2, outcome.told);
    assert_done(stage, &outcome);
    assert_true(outcome.receipt.effective_gas_price <= 10ull * GWEI);
    assert_string_equal(ledger_trouble(stage->ledger), "");
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    stage_free(stage);
}

/* The base fee is above the cap already when the transaction is first shown: the node takes it or not. */
static void a_base_fee_above_the_cap_from_the_start_is_waited_for(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome outcome;
    list_coin(stage);
    client_end(stage);
    stage->options.max_fee_per_gas = 10ull * GWEI;
    client_make(stage);
    mine_at_base_fee(stage, 100);
    deposit(stage, 1, 1000, &outcome);
    mine_until(stage, 100, troubled_by(stage, "cannot be raised further"));
    assert_int_equal(outcome.told, 0);
    mine_until(stage, 2, outcome.told);
    assert_done(stage, &outcome);
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    stage_free(stage);
}

/* ---- nonces ---- */

/* Another process with the client's key: a transfer of nothing to itself, with this nonce. */
static void send_as_another(struct stage *stage, uint64_t nonce, uint64_t fee_gwei)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address self = secret_key_address(&stage->client);
    address_text(&self, text);
    anvil_do(
        &stage->node, "eth_sendTransaction",
        "[{\"from\":\"%s\",\"to\":\"%s\",\"nonce\":\"0x%llx\",\"gas\":\"0x5208\",\"maxFeePerGas\":\"0x%llx\","
        "\"maxPriorityFeePerGas\":\"0x%llx\"}]",
        text, text, (unsigned long long)nonce, (unsigned long long)fee_gwei * GWEI,
        (unsigned long long)fee_gwei * GWEI / 2);
}

static void another_is_faster(void *context, const struct proxy_request *request, struct proxy_reply *reply)
{
    (void)reply;
    struct stage *stage = context;
    if (strcmp(request->method, "eth_sendRawTransaction") != 0 || request->number != 1)
        return;
    send_as_another(stage, 0, 50);
    anvil_mine(&stage->node, 1);
}

static void a_nonce_that_another_process_used_first(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome outcome;
    list_coin(stage);
    client_begin(stage);
    proxy_rule_set(stage->proxy, another_is_faster, stage);
    deposit(stage, 1, 1000, &outcome);
    mine_until(stage, 1, outcome.told);
    assert_done(stage, &outcome);
    assert_int_equal(nonce_of(stage, &stage->client), 2); /* theirs, ours */
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    stage_free(stage);
}

/* A deposit that a run before this one sent; a spike of the base fee holds it in the pool, and ours behind it. */
static void what_a_former_run_left_is_replaced(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome former, outcome;
    list_coin(stage);
    deposit(stage, 1, 1000, &former);
    run_until(stage, pool_size(stage) == 1);
    client_end(stage);
    stage->options.fills_gaps = true;
    client_make(stage);
    deposit(stage, 2, 500, &outcome);
    run_until(stage, pool_size(stage) == 2);
    mine_until(stage, 100, outcome.told);
    assert_done(stage, &outcome);
    assert_int_equal(nonce_of(stage, &stage->client), 2);
    assert_int_equal(channel_now(stage, 1).total.units, 0);
    assert_int_equal(channel_now(stage, 2).total.units, 500);
    assert_string_equal(ledger_trouble(stage->ledger), "");
    stage_free(stage);
}

static void a_nonce_that_another_process_took_out_of_the_pool(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 1);
    struct outcome outcome;
    list_coin(stage);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, pool_size(stage) == 1);
    send_as_another(stage, 0, 100); /* replaces ours */
    mine_until(stage, 1, outcome.told);
    assert_done(stage, &outcome);
    assert_int_equal(nonce_of(stage, &stage->client), 2);
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    stage_free(stage);
}

static void hides_receipts(void *context, const struct proxy_request *request, struct proxy_reply *reply)
{
    const bool *hides = context;
    if (*hides && strcmp(request->method, "eth_getTransactionReceipt") == 0) {
        reply->status = 200;
        reply->result = "null";
    }
}

/* The nonce is used up and there is no receipt: it looks as if another had used it, but it was this one. */
static void a_node_that_hides_the_receipt_makes_no_second_payment(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome outcome;
    bool hides = true;
    list_coin(stage);
    proxy_rule_set(stage->proxy, hides_receipts, &hides);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, pool_size(stage) == 1);
    mine(stage, 1);
    unsigned before = proxy_count(stage->proxy, "eth_getTransactionReceipt");
    run_until(stage, proxy_count(stage->proxy, "eth_getTransactionReceipt") >= before + 40);
    assert_int_equal(outcome.told, 0);
    assert_int_equal(nonce_of(stage, &stage->client), 1);
    hides = false;
    assert_done(stage, &outcome);
    assert_int_equal(nonce_of(stage, &stage->client), 1);
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    stage_free(stage);
}

/* ---- dropped ---- */

static void dropped_transactions_are_shown_again(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 0);
    struct outcome outcomes[3];
    list_coin(stage);
    for (uint64_t i = 0; i < ARRAY_LENGTH(outcomes); i++)
        deposit(stage, i, 1000 + i, &outcomes[i]);
    run_until(stage, pool_size(stage) == 3);
    anvil_do(&stage->node, "anvil_dropAllTransactions", "[]");
    assert_int_equal(pool_size(stage), 0);
    run_until(stage, pool_size(stage) == 3);

    /* The first alone: those behind it wait for it. */
    json_t *content = anvil_ask(&stage->node, "txpool_content", "[]");
    const char *address;
    json_t *of_address, *pending = json_object_get(content, "pending");
    json_object_foreach(pending, address, of_address)
    {
        const json_t *first = json_object_get(of_address, "0");
        anvil_do(&stage->node, "anvil_dropTransaction", "[\"%s\"]",
                 json_string_value(json_object_get(first, "hash")));
    }
    json_decref(content);
    run_until(stage, pool_size(stage) == 3);
    mine_until(stage, 1, nonce_of(stage, &stage->client) == 3);
    for (uint64_t i = 0; i < ARRAY_LENGTH(outcomes); i++) {
        assert_done(stage, &outcomes[i]);
        assert_int_equal(channel_now(stage, i).total.units, 1000 + i);
    }
    assert_int_equal(nonce_of(stage, &stage->client), 3);
    stage_free(stage);
}

/* ---- reorganised ---- */

#define DEEP 6 /* confirmations: more than any reorganisation here takes back */

/* Sends it, lets it be mined and take `depth` blocks, takes those back, and waits until it is there for good. */
static void comes_back(struct stage *stage, const struct secret_key *key, uint64_t units,
                       const struct contract_call *call, unsigned depth)
{
    struct outcome outcome;
    uint64_t nonce = nonce_of(stage, key);
    send_call(stage, key, units, call, &outcome);
    run_until(stage, pool_size(stage) == 1);
    mine(stage, depth);
    assert_int_equal(nonce_of(stage, key), nonce + 1);
    look_around(stage, 6); /* it is known to be mined */
    reorganise(stage, depth);
    assert_int_equal(nonce_of(stage, key), nonce);
    assert_int_equal(outcome.told, 0);
    run_until(stage, pool_size(stage) == 1);
    mine_until(stage, 1, outcome.told);
    assert_done(stage, &outcome);
    assert_int_equal(nonce_of(stage, key), nonce + 1);
}

/* Each depth has a node of its own: anvil may hang after a dozen reorganisations. */
static void each_depth(void (*run)(struct stage *stage, unsigned depth))
{
    for (unsigned depth = 1; depth <= 5; depth++) {
        struct stage *stage = stage_new(NULL, DEEP);
        list_coin(stage);
        run(stage, depth);
        stage_free(stage);
    }
}

static void deposit_comes_back(struct stage *stage, unsigned depth)
{
    const struct contract_call call = {
        .function = CONTRACT_DEPOSIT, .key = channel_of(stage, depth), .amount = amount_of(1000)};
    comes_back(stage, &stage->client, 1000, &call, depth);
    assert_int_equal(channel_now(stage, depth).total.units, 1000);
}

static void deposits_that_a_reorganisation_takes_are_sent_again(void **state)
{
    (void)state;
    each_depth(deposit_comes_back);
}

static void settlement_comes_back(struct stage *stage, unsigned depth)
{
    const struct contract_call pool = {.function = CONTRACT_DEPOSIT_POOL, .amount = amount_of(1000)};
    struct fund fund = {.key = channel_of(stage, depth), .amount = amount_of(500)};
    const struct contract_call settle = {
        .function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1, .hash = {{(uint8_t)depth}}};
    comes_back(stage, &stage->hub, 1000, &pool, depth);
    comes_back(stage, &stage->hub, 0, &settle, depth);
    assert_int_equal(channel_now(stage, depth).total.units, 500);
}

static void settlements_that_a_reorganisation_takes_are_sent_again(void **state)
{
    (void)state;
    each_depth(settlement_comes_back);
}

static void close_comes_back(struct stage *stage, unsigned depth)
{
    struct domain domain = domain_make(ledger_chain_id(stage->ledger), &stage->contract);
    struct channel_key key = channel_of(stage, depth);
    const struct contract_call open = {.function = CONTRACT_DEPOSIT, .key = key, .amount = amount_of(1000)};
    const struct contract_call start = {.function = CONTRACT_START_CLOSE, .key = key};
    struct contract_call challenge = {
        .function = CONTRACT_CHALLENGE, .key = key, .proof = {.nonce = 1, .transferred = amount_of(10)}};
    struct hash id = channel_id(&key), digest = digest_balance_proof(&domain, &id, &challenge.proof);
    challenge.signature = key_sign(&stage->client, &digest);
    comes_back(stage, &stage->client, 1000, &open, depth);
    comes_back(stage, &stage->client, 0, &start, depth);
    assert_int_equal(channel_now(stage, depth).status, CHANNEL_CLOSING);
    comes_back(stage, &stage->hub, 0, &challenge, depth);
    run_until(stage, count_events(stage, EVENT_CHALLENGED) == 1);
    assert_int_equal(count_events(stage, EVENT_CLOSE_STARTED), 1);
    assert_int_equal(stage->too_deep, 0);
}

static void closes_that_a_reorganisation_takes_are_sent_again(void **state)
{
    (void)state;
    each_depth(close_comes_back);
}

/* ---- nodes of unequal height ---- */

static void estimates_come_from_the_node_behind(void *context, const struct proxy_request *request,
                                                struct proxy_reply *reply)
{
    const struct anvil *behind = context;
    if (strcmp(request->method, "eth_estimateGas") == 0 && request->number <= 3)
        reply->port = behind->port;
}

/* On the node that is behind, the coin is not listed: the estimate reverts there. */
static void an_estimate_of_a_node_behind_is_not_believed(void **state)
{
    (void)state;
    struct stage *stage = stage_dumped(0);
    struct anvil behind;
    struct outcome outcome;
    stage_fork(stage, &behind);
    list_coin(stage);
    client_begin(stage);
    run_until(stage, count_events(stage, EVENT_ASSET_LISTED) == 1);
    proxy_rule_set(stage->proxy, estimates_come_from_the_node_behind, &behind);
    deposit(stage, 1, 1000, &outcome);
    bury(stage, &outcome);
    assert_true(proxy_count(stage->proxy, "eth_estimateGas") >= 4);
    assert_int_equal(channel_now(stage, 1).total.units, 1000);

    /* A refusal that every node agrees to is told. */
    deposit(stage, 1, 0, &outcome);
    run_until(stage, outcome.told);
    assert_int_equal(outcome.error, LEDGER_REVERTED);
    anvil_end(&behind, SIGKILL);
    stage_free(stage);
}

static void counts_and_receipts_disagree(void *context, const struct proxy_request *request,
                                         struct proxy_reply *reply)
{
    const struct anvil *behind = context;
    if (behind->port != 0 && strcmp(request->method, "eth_getTransactionReceipt") == 0)
        reply->port = behind->port;
}

/* Heads and counts come from a node that has mined it, receipts from one that has not heard of it. */
static void a_receipt_that_a_node_behind_does_not_have_is_waited_for(void **state)
{
    (void)state;
    struct stage *stage = stage_dumped(0);
    struct anvil behind;
    struct outcome outcome;
    stage_fork(stage, &behind);
    list_coin(stage);
    client_begin(stage);
    proxy_rule_set(stage->proxy, counts_and_receipts_disagree, &behind);
    deposit(stage, 1, 1000, &outcome);
    run_until(stage, pool_size(stage) == 1);
    mine(stage, 1);
    run_until(stage, proxy_count(stage->proxy, "eth_getTransactionReceipt") >= 30);
    assert_int_equal(outcome.told, 0);
    assert_int_equal(nonce_of(stage, &stage->client), 1);
    proxy_rule_set(stage->proxy, NULL, NULL);
    assert_done(stage, &outcome);
    assert_int_equal(nonce_of(stage, &stage->client), 1);
    assert_int_equal(channel_now(stage, 1).total.units, 1000);
    anvil_end(&behind, SIGKILL);
    stage_free(stage);
}

int main(void)
{
    log_setup("test_manners", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fees_rise_with_the_base_fee_until_mined),
        cmocka_unit_test(a_fee_at_its_cap_is_said_and_mined_when_fees_fall),
        cmocka_unit_test(a_base_fee_above_the_cap_from_the_start_is_waited_for),
        cmocka_unit_test(a_nonce_that_another_process_used_first),
        cmocka_unit_test(what_a_former_run_left_is_replaced),
        cmocka_unit_test(a_nonce_that_another_process_took_out_of_the_pool),
        cmocka_unit_test(a_node_that_hides_the_receipt_makes_no_second_payment),
        cmocka_unit_test(dropped_transactions_are_shown_again),
        cmocka_unit_test(deposits_that_a_reorganisation_takes_are_sent_again),
        cmocka_unit_test(settlements_that_a_reorganisation_takes_are_sent_again),
        cmocka_unit_test(closes_that_a_reorganisation_takes_are_sent_again),
        cmocka_unit_test(an_estimate_of_a_node_behind_is_not_believed),
        cmocka_unit_test(a_receipt_that_a_node_behind_does_not_have_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
