/* Creating a contract: the transaction, its receipt, and the code that is created. */
#include "ledger/contract_code.h"
#include "tests/ledger/scripted_node.h"

static const struct secret_key key = {{[31] = 9}};
static const struct address place = {{0xde, 0xad, 1}};

struct outcome {
    unsigned told;
    enum ledger_error error;
    struct ledger_receipt receipt;
};

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct outcome *outcome = context;
    outcome->told++;
    outcome->error = error;
    if (receipt != NULL)
        outcome->receipt = *receipt;
}

struct world {
    struct node *node;
    struct ledger *ledger;
    struct outcome outcome;
};

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->node = node_new();
    world->node->mines_at_once = true;
    struct ledger_options options = node_options(world->node);
    options.confirmations = 0;
    options.tries = 2;
    world->ledger = ledger_new(world->node->base, &options);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    ledger_free(world->ledger);
    json_decref(world->node->created);
    node_free(world->node);
    free(world);
    return 0;
}

static void create(struct world *world)
{
    memset(&world->outcome, 0, sizeof(world->outcome));
    ledger_create(world->ledger, &key, (const uint8_t *)"code", 4, on_sent, &world->outcome);
    node_run_until(world->node, world->outcome.told);
    assert_int_equal(world->outcome.told, 1);
}

static void the_receipt_says_where_it_is(void **state)
{
    struct world *world = *state;
    world->node->created = address_json(&place);
    create(world);
    assert_int_equal(world->outcome.error, LEDGER_OK);
    assert_true(world->node->pool[0].creates);
    assert_true(address_equal(&world->outcome.receipt.created, &place));
    assert_int_equal(world->outcome.receipt.gas_used, 21000);
}

/* Whatever else the code did, the contract is what was created. */
static void a_token_made_meanwhile_is_not_it(void **state)
{
    struct world *world = *state;
    struct contract_event event;
    memset(&event, 0, sizeof(event));
    event.type = EVENT_TOKEN_CREATED;
    event.address = (struct address){{7, 7, 7}};
    world->node->created = address_json(&place);
    world->node->mines_at_once = false;
    ledger_create(world->ledger, &key, (const uint8_t *)"code", 4, on_sent, &world->outcome);
    node_run_until(world->node, world->node->pool_count == 1);
    node_mine_transaction(world->node, 0);
    node_event_add(world->node, &event);
    node_run_until(world->node, world->outcome.told);
    assert_int_equal(world->outcome.error, LEDGER_OK);
    assert_true(address_equal(&world->outcome.receipt.created, &place));
}

/* Out of gas, or refused by the constructor: mined, and nothing was created. */
static void one_that_failed_creates_nothing(void **state)
{
    struct world *world = *state;
    world->node->created = address_json(&place);
    world->node->next_fails = true;
    create(world);
    assert_int_equal(world->outcome.error, LEDGER_REVERTED);
    assert_int_equal(world->outcome.receipt.block, 1);
    assert_true(address_is_zero(&world->outcome.receipt.created));
}

/* A receipt that does not say where the contract is cannot be used: asked again until it does. */
static void a_receipt_without_an_address_is_asked_for_again(void **state)
{
    struct world *world = *state;
    struct node *node = world->node;
    ledger_create(world->ledger, &key, (const uint8_t *)"code", 4, on_sent, &world->outcome);
    node_run_until(node, node_count(node, "eth_getTransactionReceipt") >= 3);
    assert_int_equal(world->outcome.told, 0);
    node->created = address_json(&place);
    node_run_until(node, world->outcome.told);
    assert_true(address_equal(&world->outcome.receipt.created, &place));
}

static void a_call_is_none(void **state)
{
    struct world *world = *state;
    memset(&world->outcome, 0, sizeof(world->outcome));
    ledger_send(world->ledger, &key, NULL, 0, NULL, 0, on_sent, &world->outcome);
    node_run_until(world->node, world->outcome.told);
    assert_int_equal(world->outcome.error, LEDGER_OK);
    assert_false(world->node->pool[0].creates);
    assert_true(address_is_zero(&world->outcome.receipt.created));
}

/* ---- the code ---- */

static void assert_code(const struct buffer *code)
{
    assert_true(code->length > 1000 && code->length <= 49152); /* EIP-3860 */
    assert_in_range(code->data[0], 0x5f, 0x7f);                /* PUSH: how solc begins */
}

static void arguments_follow_the_code(void **state)
{
    (void)state;
    struct buffer code = {0}, other = {0};
    struct address hub = {{0xab, [19] = 0xcd}};
    contract_code_hub(&code, &hub, 0x0102030405060708, 5000);
    assert_code(&code);
    const uint8_t *words = code.data + code.length - 96;
    uint8_t expected[96] = {[12] = 0xab, [31] = 0xcd, [56] = 1, 2, 3, 4, 5, 6, 7, 8, [94] = 0x13, 0x88};
    assert_memory_equal(words, expected, sizeof(expected));
    contract_code_hub(&other, &ADDRESS_ZERO, 1, 0);
    assert_int_equal(other.length, code.length);
    assert_memory_equal(other.data, code.data, code.length - 96);
    buffer_clear(&code);
    contract_code_factory(&code);
    assert_code(&code);
    buffer_free(&code);
    buffer_free(&other);
}

static void the_probe_is_a_few_instructions(void **state)
{
    (void)state;
    struct buffer code = {0};
    contract_code_probe(&code);
    assert_int_equal(code.length, 8);
    assert_memory_equal(code.data, "\x5f\x5c\x50\x5f\x5f\x5f\x5e\x00", 8);
    buffer_free(&code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_receipt_says_where_it_is, world_open, world_close),
        cmocka_unit_test_setup_teardown(a_token_made_meanwhile_is_not_it, world_open, world_close),
        cmocka_unit_test_setup_teardown(one_that_failed_creates_nothing, world_open, world_close),
        cmocka_unit_test_setup_teardown(a_receipt_without_an_address_is_asked_for_again, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(a_call_is_none, world_open, world_close),
        cmocka_unit_test(arguments_follow_the_code),
        cmocka_unit_test(the_probe_is_a_few_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
