/* ERC-20 tokens and the factory: OpenZeppelin's behaviour, errors with their arguments, events. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/ledger_embedded/contract_world.h"

#include "ledger/abi.h"
#include "ledger/embedded/tokens.h"

static bool send_to(struct world *world, enum person caller, const struct address *to, unsigned_wide wei,
                    const struct buffer *data)
{
    logs_truncate(&world->logs, 0);
    buffer_clear(&world->output);
    struct execution execution = {.state = world->state,
                                  .config = &world->config,
                                  .caller = world->people[caller],
                                  .value = wei,
                                  .time = world->time,
                                  .logs = &world->logs};
    enum message_result result = message_execute(&execution, to, data->data, data->length, &world->output);
    world_audit(world);
    return result == MESSAGE_OK;
}

static bool token_do(struct world *world, enum person caller, const struct erc20_call *call)
{
    struct buffer data = {0};
    erc20_encode_call(&data, call);
    bool good = send_to(world, caller, &world->token, 0, &data);
    buffer_free(&data);
    return good;
}

/* The revert data of the last call: an error of the token with its arguments. */
static void assert_refused(const struct world *world, const char *signature, const struct address *who,
                           const uint64_t *numbers)
{
    struct hash selector = keccak256(signature, strlen(signature));
    assert_int_equal(world->output.length, numbers == NULL ? 4 + 32 : 4 + 96);
    assert_memory_equal(world->output.data, selector.bytes, 4);
    assert_memory_equal(world->output.data + 4 + 12, who->bytes, 20);
    for (size_t i = 0; numbers != NULL && i < 2; i++) {
        unsigned_wide word;
        assert_true(contract_decode_word(world->output.data + 4, 96, 1 + i, &word));
        assert_true(word == numbers[i]);
    }
}

static struct uint256 balance_of(const struct world *world, enum person who)
{
    return token_balance_load(world->state, &world->token, &world->people[who]);
}

static void assert_token_event(const struct world *world, bool is_approval, const struct address *from,
                               const struct address *to, struct uint256 value)
{
    struct erc20_event event;
    assert_int_equal(world->logs.count, 1);
    struct contract_log log = logs_at(&world->logs, 0);
    assert_true(address_equal(&log.address, &world->token));
    assert_true(erc20_decode_event(&log, &event));
    assert_true(event.is_approval == is_approval && address_equal(&event.from, from) &&
                address_equal(&event.to, to) && uint256_equal(event.value, value));
}

static void test_transfer(void **state)
{
    struct world *world = *state;
    struct uint256 hub = balance_of(world, HUB), left;
    struct erc20_call call = {
        .function = ERC20_TRANSFER, .other = world->people[ALICE], .value = uint256_of(300)};
    assert_true(token_do(world, HUB, &call));
    assert_true(erc20_decode_success(world->output.data, world->output.length));
    assert_token_event(world, false, &world->people[HUB], &world->people[ALICE], uint256_of(300));
    assert_true(uint256_subtract(hub, uint256_of(300), &left) && uint256_equal(balance_of(world, HUB), left));
    assert_true(uint256_equal(balance_of(world, ALICE), uint256_of(300)));
    call.other = world->people[BOB];
    call.value = uint256_of(301);
    assert_false(token_do(world, ALICE, &call));
    assert_refused(world, "ERC20InsufficientBalance(address,uint256,uint256)", &world->people[ALICE],
                   (const uint64_t[]){300, 301});
    assert_int_equal(world->logs.count, 0);
    call.other = ADDRESS_ZERO;
    assert_false(token_do(world, ALICE, &call));
    assert_refused(world, "ERC20InvalidReceiver(address)", &ADDRESS_ZERO, NULL);
    call.other = world->people[ALICE]; /* to oneself */
    call.value = uint256_of(300);
    assert_true(token_do(world, ALICE, &call));
    assert_true(uint256_equal(balance_of(world, ALICE), uint256_of(300)));
    call.value = uint256_of(0); /* nothing, from nobody: an event all the same */
    assert_true(token_do(world, STRANGER, &call));
    assert_token_event(world, false, &world->people[STRANGER], &world->people[ALICE], uint256_of(0));
}

static void test_allowance(void **state)
{
    struct world *world = *state;
    struct erc20_call approve = {
        .function = ERC20_APPROVE, .other = world->people[BOB], .value = uint256_of(50)};
    struct erc20_call move = {.function = ERC20_TRANSFER_FROM,
                              .owner = world->people[HUB],
                              .other = world->people[ALICE],
                              .value = uint256_of(51)};
    assert_true(token_do(world, HUB, &approve));
    assert_token_event(world, true, &world->people[HUB], &world->people[BOB], uint256_of(50));
    assert_false(token_do(world, BOB, &move));
    assert_refused(world, "ERC20InsufficientAllowance(address,uint256,uint256)", &world->people[BOB],
                   (const uint64_t[]){50, 51});
    move.value = uint256_of(20);
    assert_true(token_do(world, BOB, &move));
    assert_token_event(world, false, &world->people[HUB], &world->people[ALICE], uint256_of(20));
    struct erc20_call ask = {
        .function = ERC20_ALLOWANCE, .owner = world->people[HUB], .other = world->people[BOB]};
    struct uint256 left;
    assert_true(token_do(world, STRANGER, &ask));
    assert_true(erc20_decode_number(world->output.data, world->output.length, &left));
    assert_true(uint256_equal(left, uint256_of(30)));
    approve.value = uint256_max(); /* without end: never spent */
    assert_true(token_do(world, HUB, &approve));
    assert_true(token_do(world, BOB, &move));
    assert_true(
        uint256_equal(allowance_load(world->state, &world->token, &world->people[HUB], &world->people[BOB]),
                      uint256_max()));
    /* An allowance that is spent where the balance is missing is not spent after all. */
    approve.value = uint256_of(10);
    assert_true(token_do(world, STRANGER, &approve));
    move.owner = world->people[STRANGER];
    move.value = uint256_of(10);
    assert_false(token_do(world, BOB, &move));
    assert_true(uint256_equal(
        allowance_load(world->state, &world->token, &world->people[STRANGER], &world->people[BOB]),
        uint256_of(10)));
    approve.other = ADDRESS_ZERO;
    assert_false(token_do(world, HUB, &approve));
    assert_refused(world, "ERC20InvalidSpender(address)", &ADDRESS_ZERO, NULL);
    move.other = ADDRESS_ZERO;
    assert_false(token_do(world, BOB, &move));
    assert_refused(world, "ERC20InvalidReceiver(address)", &ADDRESS_ZERO, NULL);
}

/* From address zero, as an eth_call may have it. */
static void test_from_zero(void **state)
{
    struct world *world = *state;
    world->people[STRANGER] = ADDRESS_ZERO;
    struct erc20_call call = {.function = ERC20_TRANSFER, .other = world->people[BOB]};
    assert_false(token_do(world, STRANGER, &call));
    assert_refused(world, "ERC20InvalidSender(address)", &ADDRESS_ZERO, NULL);
    call.function = ERC20_APPROVE;
    assert_false(token_do(world, STRANGER, &call));
    assert_refused(world, "ERC20InvalidApprover(address)", &ADDRESS_ZERO, NULL);
}

static void test_factory(void **state)
{
    struct world *world = *state;
    struct token_creation creation = {"Coop Dollar", "COOP", 6, uint256_max()};
    struct buffer data = {0};
    struct address first = {{0}};
    token_create_encode(&data, &creation);
    assert_false(send_to(world, ALICE, &EMBEDDED_FACTORY, 1, &data)); /* takes no coins */
    for (int i = 0; i < 2; i++) {
        struct address token;
        assert_true(send_to(world, ALICE, &EMBEDDED_FACTORY, 0, &data));
        assert_true(contract_decode_address(world->output.data, world->output.length, 0, &token));
        assert_false(address_equal(&token, &first));
        first = token;
        world->token = token;
        assert_true(uint256_equal(balance_of(world, ALICE), uint256_max()));
        assert_int_equal(world->logs.count, 2);
        struct contract_log made = logs_at(&world->logs, 1);
        struct erc20_event mint;
        struct contract_log minted = logs_at(&world->logs, 0);
        assert_true(erc20_decode_event(&minted, &mint) && address_is_zero(&mint.from) &&
                    address_equal(&mint.to, &world->people[ALICE]));
        assert_true(address_equal(&made.address, &EMBEDDED_FACTORY));
        struct hash topic = contract_event_topic(EVENT_TOKEN_CREATED);
        assert_true(hash_equal(&made.topics[0], &topic));
        assert_memory_equal(made.topics[1].bytes + 12, token.bytes, 20);
    }
    char text[TOKEN_TEXT_MAX + 1];
    unsigned_wide decimals;
    assert_true(token_do(world, BOB, &(struct erc20_call){.function = ERC20_SYMBOL}));
    assert_true(erc20_decode_text(world->output.data, world->output.length, text));
    assert_string_equal(text, "COOP");
    assert_true(token_do(world, BOB, &(struct erc20_call){.function = ERC20_NAME}));
    assert_true(erc20_decode_text(world->output.data, world->output.length, text));
    assert_string_equal(text, "Coop Dollar");
    assert_true(token_do(world, BOB, &(struct erc20_call){.function = ERC20_DECIMALS}));
    assert_true(contract_decode_word(world->output.data, world->output.length, 0, &decimals) &&
                decimals == 6);
    assert_true(token_do(world, BOB, &(struct erc20_call){.function = ERC20_TOTAL_SUPPLY}));
    struct uint256 supply;
    assert_true(erc20_decode_number(world->output.data, world->output.length, &supply));
    assert_true(uint256_equal(supply, uint256_max()));
    buffer_clear(&data);
    buffer_append(&data, "\x01\x02\x03\x04", 4);
    assert_false(send_to(world, ALICE, &EMBEDDED_FACTORY, 0, &data));
    assert_false(send_to(world, ALICE, &world->token, 0, &data));
    assert_int_equal(world->output.length, 0);
    assert_false(send_to(world, ALICE, &world->token, 1, &data));
    buffer_free(&data);
}

static void test_coins(void **state)
{
    struct world *world = *state;
    struct buffer none = {0};
    uint64_t bob = world_units(world, &world->people[BOB], &COIN);
    assert_true(send_to(world, ALICE, &world->people[BOB], (unsigned_wide)WORLD_UNIT * 3, &none));
    assert_int_equal(world_units(world, &world->people[BOB], &COIN), bob + 3);
    assert_true(send_to(world, ALICE, &world->people[ALICE], WORLD_UNIT, &none));
    assert_false(send_to(world, ALICE, &world->people[BOB], (unsigned_wide)1 << 100, &none));
    assert_false(send_to(world, ALICE, &EMBEDDED_CONTRACT, 1, &none));
    assert_false(send_to(world, ALICE, &EMBEDDED_FACTORY, 1, &none));
    assert_false(send_to(world, ALICE, &world->token, 1, &none));
}

static void test_wide_multiply(void **state)
{
    (void)state;
    const unsigned_wide most = ~(unsigned_wide)0;
    struct uint256 square = wide_multiply(most, most); /* 2^256 - 2^129 + 1 */
    assert_true(square.low == 1 && square.high == most - 1);
    assert_true(uint256_equal(wide_multiply(most, 1), uint256_of(most)));
    assert_true(uint256_equal(wide_multiply(0, most), uint256_of(0)));
    struct uint256 shifted = wide_multiply((unsigned_wide)1 << 100, (unsigned_wide)1 << 100);
    assert_true(shifted.low == 0 && shifted.high == (unsigned_wide)1 << 72);
    assert_true(uint256_equal(wide_multiply(UINT64_MAX, UINT64_MAX),
                              uint256_of((unsigned_wide)UINT64_MAX * UINT64_MAX)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(test_transfer), world_test(test_allowance), world_test(test_from_zero),
        world_test(test_factory),  world_test(test_coins),     world_test(test_wide_multiply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
