/* listAsset, depositPool, withdrawPool, deposit, setTower, withdrawOwed and the views: every error in its
 * order. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/ledger_embedded/contract_world.h"

#define WEI(units) ((unsigned_wide)WORLD_UNIT * (units))

static void test_list_asset(void **state)
{
    struct world *world = *state;
    struct address asset = {{9}};
    struct contract_call call = {.function = CONTRACT_LIST_ASSET, .address = asset, .unit = 0};
    /* In their order: each with all that come after it wrong as well. */
    call.address = COIN;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_NOT_HUB);
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_ASSET_ALREADY_LISTED);
    call.address = asset;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_WRONG_VALUE);
    assert_int_equal(world_call_value(world, HUB, 1, &call), CONTRACT_UNNAMED); /* takes no coins */
    call.unit = ~(unsigned_wide)0;
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_ASSET_LISTED);
    struct contract_event event = world_event(world, 0);
    assert_true(address_equal(&event.address, &asset));
    assert_true(event.wide_amount == ~(unsigned_wide)0);
    assert_true(asset_load(world->state, &asset).unit == ~(unsigned_wide)0);
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_ASSET_ALREADY_LISTED);
}

static void test_deposit_pool_of_coins(void **state)
{
    struct world *world = *state;
    struct contract_call call = {.function = CONTRACT_DEPOSIT_POOL, .address = {{9}}, .amount = {UINT64_MAX}};
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_ASSET_UNKNOWN);
    call.address = COIN;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_AMOUNT_TOO_LARGE);
    call.amount.units = AMOUNT_LIMIT - 10000;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_AMOUNT_TOO_LARGE);
    call.amount.units = AMOUNT_LIMIT - 10001;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_WRONG_VALUE);
    call.amount.units = 5;
    assert_int_equal(world_call_value(world, ALICE, WEI(5) - 1, &call), CONTRACT_WRONG_VALUE);
    assert_int_equal(world_call_value(world, ALICE, WEI(5) + 1, &call), CONTRACT_WRONG_VALUE);
    call.amount.units = 0;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_WRONG_VALUE);
    call.amount.units = 5;
    uint64_t before = world_units(world, &world->people[ALICE], &COIN);
    assert_int_equal(world_call_value(world, ALICE, WEI(5), &call), CONTRACT_OK);
    EVENTS(world, EVENT_POOL_DEPOSITED);
    struct contract_event event = world_event(world, 0);
    assert_true(address_equal(&event.other, &world->people[ALICE]));
    assert_int_equal(event.amount.units, 5);
    assert_int_equal(world_pool(world, &COIN), 10005);
    assert_int_equal(world_units(world, &world->people[ALICE], &COIN), before - 5);
}

static void test_deposit_pool_of_tokens(void **state)
{
    struct world *world = *state;
    struct contract_call call = {.function = CONTRACT_DEPOSIT_POOL, .address = world->token, .amount = {5}};
    assert_int_equal(world_call_value(world, HUB, 5, &call), CONTRACT_WRONG_VALUE); /* coins with a token */
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_WRONG_VALUE);        /* no allowance */
    allowance_save(world->state, &world->token, &world->people[ALICE], &EMBEDDED_CONTRACT, uint256_of(7));
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_WRONG_VALUE); /* no balance */
    /* A listed address without a token behind it. */
    struct address nothing = {{8}};
    world_must(world, HUB,
               &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = nothing, .unit = 1});
    call.address = nothing;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_WRONG_VALUE);
    call.address = world->token;
    call.amount.units = 0;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_WRONG_VALUE);
    call.amount.units = 5;
    world_must(world, HUB, &call);
    EVENTS(world, TRANSFER, EVENT_POOL_DEPOSITED);
    assert_int_equal(world_pool(world, &world->token), 10005);
    assert_int_equal(world_units(world, &EMBEDDED_CONTRACT, &world->token), 10005);
    /* The infinite allowance is not spent. */
    assert_true(uint256_equal(
        allowance_load(world->state, &world->token, &world->people[HUB], &EMBEDDED_CONTRACT), uint256_max()));
}

static void test_withdraw_pool(void **state)
{
    struct world *world = *state;
    struct contract_call call = {.function = CONTRACT_WITHDRAW_POOL,
                                 .address = {{9}},
                                 .to = EMBEDDED_CONTRACT,
                                 .amount = {UINT64_MAX}};
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_NOT_HUB);
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_ASSET_UNKNOWN);
    call.address = COIN;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_POOL_TOO_LOW);
    call.amount.units = 10001;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_POOL_TOO_LOW);
    call.amount.units = 10000;
    assert_int_equal(world_call(world, HUB, &call),
                     CONTRACT_TRANSFER_FAILED); /* the contract takes no bare coins */
    call.to = EMBEDDED_FACTORY;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_TRANSFER_FAILED);
    call.to = world->people[BOB];
    uint64_t before = world_units(world, &call.to, &COIN);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_POOL_WITHDRAWN);
    assert_int_equal(world_pool(world, &COIN), 0);
    assert_int_equal(world_units(world, &call.to, &COIN), before + 10000);
    call.amount.units = 0; /* paying nothing does nothing, whoever it is for */
    call.to = EMBEDDED_CONTRACT;
    world_must(world, HUB, &call);
    call.address = world->token;
    call.to = ADDRESS_ZERO;
    call.amount.units = 3;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_TRANSFER_FAILED); /* OpenZeppelin refuses zero */
    call.to = world->people[BOB];
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_POOL_WITHDRAWN, TRANSFER);
    assert_int_equal(world_units(world, &call.to, &world->token), 3);
}

static void test_deposit_errors_in_order(void **state)
{
    struct world *world = *state;
    struct contract_call call = {.function = CONTRACT_DEPOSIT, .amount = {UINT64_MAX}};
    call.key = (struct channel_key){ADDRESS_ZERO, {{9}}, 1};
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_KEY);
    call.key.client = world->people[HUB];
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_KEY);
    call.key.client = world->people[ALICE];
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_ASSET_UNKNOWN);
    struct channel_key key = world_open(world, 10, 10);
    struct claim own = {.nonce = 1};
    struct contract_call start = start_close_call(world, ALICE, &key, NULL, &own), finish = finish_call(&key);
    world_must(world, ALICE, &start);
    call.key = key;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_CLOSING);
    world->time += WORLD_PERIOD + 3 * WORLD_PERIOD / 8;
    world_must(world, ALICE, &finish);
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_CLOSED);
    call.key = world_open(world, 10, 10);
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_AMOUNT_TOO_LARGE);
    call.amount.units = AMOUNT_LIMIT - 10;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_AMOUNT_TOO_LARGE);
    call.amount.units = AMOUNT_LIMIT - 11;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_WRONG_VALUE);
    call.amount.units = 0;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_WRONG_VALUE);
}

static void test_deposit_opens_and_adds(void **state)
{
    struct world *world = *state;
    struct channel_key key = {world->people[ALICE], COIN, 77};
    struct contract_call call = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {10}};
    assert_int_equal(world_call_value(world, STRANGER, WEI(10), &call), CONTRACT_OK); /* anyone may */
    EVENTS(world, EVENT_OPENED, EVENT_FUNDED);
    struct contract_event opened = world_event(world, 0), funded = world_event(world, 1);
    struct hash id = channel_id(&key);
    assert_true(hash_equal(&opened.channel, &id) && address_equal(&opened.address, &key.client) &&
                address_is_zero(&opened.other) && opened.salt == 77);
    assert_int_equal(funded.client_amount.units, 10);
    assert_int_equal(funded.hub_amount.units, 0);
    call.amount.units = 5;
    assert_int_equal(world_call_value(world, ALICE, WEI(5), &call), CONTRACT_OK);
    EVENTS(world, EVENT_FUNDED);
    assert_channel(world, &key, 15, 15, 0, CHANNEL_OPEN);
}

/* base may stand at its end while total does not: a merchant's channel the other way round. */
static void test_deposit_at_the_end_of_base(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 10, 10);
    struct hash id = channel_id(&key);
    struct channel_state channel = channel_load(world->state, &id);
    channel.base = INT64_MAX - 4;
    channel_save(world->state, &id, &key.asset, &channel);
    struct contract_call call = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {5}};
    assert_int_equal(world_call_value(world, ALICE, WEI(5), &call), CONTRACT_AMOUNT_TOO_LARGE);
    call.amount.units = 4;
    assert_int_equal(world_call_value(world, ALICE, WEI(4), &call), CONTRACT_OK);
    assert_channel(world, &key, 14, INT64_MAX, 0, CHANNEL_OPEN);
}

static void test_set_tower(void **state)
{
    struct world *world = *state;
    struct contract_call call = {
        .function = CONTRACT_SET_TOWER, .address = world->people[TOWER], .flag = true};
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_NOT_HUB);
    for (int i = 0; i < 2; i++) {
        world_must(world, HUB, &call);
        EVENTS(world, EVENT_TOWER_SET);
        assert_true(world_event(world, 0).allowed);
        assert_true(tower_load(world->state, &world->people[TOWER]));
    }
    call.flag = false;
    world_must(world, HUB, &call);
    assert_false(world_event(world, 0).allowed);
    assert_false(tower_load(world->state, &world->people[TOWER]));
}

/* A client that is a contract without a door for coins: what it cannot be paid is owed to it. */
static void test_owed(void **state)
{
    struct world *world = *state;
    struct address token = world->token; /* the client of this channel */
    struct channel_key key = {token, COIN, 1};
    struct contract_call deposit = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {30}};
    assert_int_equal(world_call_value(world, ALICE, WEI(30), &deposit), CONTRACT_OK);
    struct claim own = {.nonce = 0};
    struct contract_call start = {.function = CONTRACT_START_CLOSE, .key = key, .own = own};
    struct contract_call finish = finish_call(&key);
    world_must(world, HUB, &start);
    world->time += 2 * WORLD_PERIOD;
    world_must(world, STRANGER, &finish);
    EVENTS(world, EVENT_FINISHED, EVENT_OWED_RECORDED);
    struct contract_event owed = world_event(world, 1);
    assert_true(address_equal(&owed.address, &token) && address_is_zero(&owed.other));
    assert_int_equal(owed.amount.units, 30);
    assert_int_equal(world_owed(world, &token, &COIN), 30);

    /* Nobody holds a contract's key here: it is owed to Bob instead, on paper, to go on. */
    owed_save(world->state, &token, &COIN, 0);
    owed_save(world->state, &world->people[BOB], &COIN, 30);
    struct contract_call withdraw = {
        .function = CONTRACT_WITHDRAW_OWED, .address = COIN, .to = EMBEDDED_CONTRACT};
    assert_int_equal(world_call(world, ALICE, &withdraw), CONTRACT_NOTHING_OWED);
    assert_int_equal(world_call(world, BOB, &withdraw), CONTRACT_TRANSFER_FAILED);
    withdraw.to = world->people[ALICE];
    uint64_t before = world_units(world, &withdraw.to, &COIN);
    world_must(world, BOB, &withdraw);
    EVENTS(world, EVENT_OWED_WITHDRAWN);
    struct contract_event event = world_event(world, 0);
    assert_true(address_equal(&event.address, &world->people[BOB]) &&
                address_equal(&event.third, &world->people[ALICE]) && event.wide_amount == 30);
    assert_int_equal(world_units(world, &withdraw.to, &COIN), before + 30);
    assert_int_equal(world_call(world, BOB, &withdraw), CONTRACT_NOTHING_OWED);
}

/* Functions that take none refuse coins before all else, and what cannot be read reverts without a name. */
static void test_coins_and_malformed_calldata(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < CONTRACT_FUNCTION_COUNT; i++) {
        struct contract_call call = {.function = (enum contract_function)i};
        if (i == CONTRACT_DEPOSIT || i == CONTRACT_DEPOSIT_POOL)
            continue;
        assert_int_equal(world_call_value(world, HUB, 1, &call), CONTRACT_UNNAMED);
    }
    struct execution execution = {.state = world->state,
                                  .config = &world->config,
                                  .caller = world->people[ALICE],
                                  .value = 1,
                                  .time = world->time,
                                  .logs = &world->logs};
    struct buffer output = {0};
    const uint8_t garbage[] = {1, 2, 3, 4, 5};
    assert_int_equal(message_execute(&execution, &EMBEDDED_CONTRACT, garbage, 0, &output), MESSAGE_REVERTED);
    execution.value = 0;
    for (size_t length = 0; length <= sizeof(garbage); length++)
        assert_int_equal(message_execute(&execution, &EMBEDDED_CONTRACT, garbage, length, &output),
                         MESSAGE_REVERTED);
    /* A call that is cut anywhere. */
    struct buffer data = {0};
    struct contract_call call = {.function = CONTRACT_DEPOSIT, .amount = {1}};
    contract_encode_call(&data, &call);
    for (size_t length = 0; length < data.length; length++)
        assert_int_equal(message_execute(&execution, &EMBEDDED_CONTRACT, data.data, length, &output),
                         MESSAGE_REVERTED);
    assert_int_equal(output.length, 0);
    buffer_free(&data);
    buffer_free(&output);
    world_audit(world);
}

/* A contract cannot be the caller: its balance would be counted twice. */
static void test_nobody_calls_in_a_contracts_name(void **state)
{
    struct world *world = *state;
    const struct address callers[] = {EMBEDDED_CONTRACT, EMBEDDED_FACTORY, world->token};
    struct contract_call deposit = {.function = CONTRACT_DEPOSIT_POOL, .amount = {1}};
    struct buffer data = {0}, output = {0};
    contract_encode_call(&data, &deposit);
    for (size_t i = 0; i < ARRAY_LENGTH(callers); i++) {
        struct execution execution = {.state = world->state,
                                      .config = &world->config,
                                      .caller = callers[i],
                                      .value = WORLD_UNIT,
                                      .time = world->time,
                                      .logs = &world->logs};
        assert_int_equal(message_execute(&execution, &EMBEDDED_CONTRACT, data.data, data.length, &output),
                         MESSAGE_CALLER_CODE);
    }
    buffer_free(&data);
    buffer_free(&output);
}

static unsigned_wide view_word(struct world *world, const struct contract_call *call)
{
    unsigned_wide word;
    world_must(world, STRANGER, call);
    assert_int_equal(world->output.length, 32);
    assert_true(contract_decode_word(world->output.data, 32, 0, &word));
    return word;
}

static void test_views(void **state)
{
    struct world *world = *state;
    struct address hub;
    world_must(world, STRANGER, &(struct contract_call){.function = CONTRACT_HUB});
    assert_true(contract_decode_address(world->output.data, world->output.length, 0, &hub));
    assert_true(address_equal(&hub, &world->people[HUB]));
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_CHALLENGE_PERIOD}) ==
                WORLD_PERIOD);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_BOUNTY_BPS}) == 1000);
    world_must(world, STRANGER, &(struct contract_call){.function = CONTRACT_DOMAIN_SEPARATOR});
    assert_memory_equal(world->output.data, world->config.domain.separator.bytes, 32);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_UNIT, .address = COIN}) ==
                WORLD_UNIT);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_POOL, .address = COIN}) ==
                10000);
    owed_save(world->state, &world->people[BOB], &COIN, 0);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_OWED,
                                                         .address = world->people[BOB],
                                                         .to = COIN}) == 0);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_IS_TOWER,
                                                         .address = world->people[TOWER]}) == 0);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_REGISTERED_AT}) == 0);
    struct channel_key key = world_open(world, 7, 12);
    world_must(world, STRANGER, &(struct contract_call){.function = CONTRACT_CHANNEL, .key = key});
    struct channel_state channel;
    assert_true(contract_decode_channel(world->output.data, world->output.length, &channel));
    assert_true(channel.total.units == 12 && channel.base == 7 && channel.seq == 0 && channel.status == 1);
    world_must(world, STRANGER, &(struct contract_call){.function = CONTRACT_CLOSING, .key = key});
    struct closing closing, none = {.deadline = 0};
    assert_true(contract_decode_closing(world->output.data, world->output.length, &closing));
    assert_true(closing.deadline == none.deadline && !closing.challenged);
    world_must(world, STRANGER, &(struct contract_call){.function = CONTRACT_HELD, .key = key});
    assert_int_equal(world->output.length, 64);
    assert_true(view_word(world, &(struct contract_call){.function = CONTRACT_UNLOCKED, .key = key}) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(test_list_asset),
        world_test(test_deposit_pool_of_coins),
        world_test(test_deposit_pool_of_tokens),
        world_test(test_withdraw_pool),
        world_test(test_deposit_errors_in_order),
        world_test(test_deposit_opens_and_adds),
        world_test(test_deposit_at_the_end_of_base),
        world_test(test_set_tower),
        world_test(test_owed),
        world_test(test_coins_and_malformed_calldata),
        world_test(test_nobody_calls_in_a_contracts_name),
        world_test(test_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
