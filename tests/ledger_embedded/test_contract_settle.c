/* settleBatch (protocol.md, section 8): every reason to skip in its order, both kinds of settlement, funds,
 * the pool. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/ledger_embedded/contract_world.h"

#define LATER (WORLD_START + 1000)

static struct contract_call batch_of(const struct settle_item *items, size_t item_count,
                                     const struct fund *funds, size_t fund_count)
{
    return (struct contract_call){.function = CONTRACT_SETTLE_BATCH,
                                  .items = items,
                                  .item_count = item_count,
                                  .funds = funds,
                                  .fund_count = fund_count,
                                  .hash = {{0xaa}}};
}

static void assert_skipped(struct world *world, const struct settle_item *item, enum skip_reason reason)
{
    struct contract_call call = batch_of(item, 1, NULL, 0);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLE_SKIPPED, EVENT_BATCH_SETTLED);
    struct contract_event event = world_event(world, 0);
    struct hash id = channel_id(&item->key);
    assert_int_equal(event.reason, reason);
    assert_false(event.is_fund);
    assert_true(hash_equal(&event.channel, &id));
}

static void assert_fund_skipped(struct world *world, const struct fund *fund, enum skip_reason reason)
{
    struct contract_call call = batch_of(NULL, 0, fund, 1);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLE_SKIPPED, EVENT_BATCH_SETTLED);
    assert_int_equal(world_event(world, 0).reason, reason);
    assert_true(world_event(world, 0).is_fund);
}

static void test_only_the_hub_and_empty_batches(void **state)
{
    struct world *world = *state;
    struct contract_call call = batch_of(NULL, 0, NULL, 0);
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_NOT_HUB);
    for (uint64_t batch = 1; batch <= 3; batch++) {
        world_must(world, HUB, &call);
        EVENTS(world, EVENT_BATCH_SETTLED);
        struct contract_event event = world_event(world, 0);
        assert_int_equal(event.batch, batch);
        assert_true(hash_equal(&event.root, &call.hash));
    }
}

static void test_item_skips_in_order(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 60, 100);
    struct channel_key none = {world->people[ALICE], COIN, 999};
    /* All wrong: no channel, another's signature, too late, too much. */
    struct settle_item item = sign_item(world, BOB, &none, 1, 90, 90, WORLD_START - 1, false);
    assert_skipped(world, &item, SKIP_STATUS);
    item = sign_item(world, BOB, &key, 1, 90, 90, WORLD_START - 1, false);
    assert_skipped(world, &item, SKIP_SIGNATURE);
    item = sign_item(world, ALICE, &key, 2, 90, 90, WORLD_START - 1, false); /* the next seq is 1 */
    assert_skipped(world, &item, SKIP_SIGNATURE);
    item = sign_item(world, ALICE, &key, 0, 90, 90, WORLD_START - 1, false);
    assert_skipped(world, &item, SKIP_SIGNATURE);
    item = sign_item(world, ALICE, &key, 1, 90, 90, WORLD_START - 1, false);
    assert_skipped(world, &item, SKIP_DEADLINE);
    item = sign_item(world, ALICE, &key, 1, 90, 11, WORLD_START, false); /* the deadline itself is in time */
    assert_skipped(world, &item, SKIP_AMOUNTS);
    item = sign_item(world, ALICE, &key, 1, UINT64_MAX, UINT64_MAX, LATER, false); /* no sum may wrap */
    assert_skipped(world, &item, SKIP_AMOUNTS);
    item = sign_item(world, ALICE, &key, 1, 90, 11, LATER, true);
    assert_skipped(world, &item, SKIP_AMOUNTS);
    /* What the client signed is what counts. */
    item = sign_item(world, ALICE, &key, 1, 10, 10, LATER, false);
    item.hub_out.units = 11;
    assert_skipped(world, &item, SKIP_SIGNATURE);
    item.hub_out.units = 10;
    item.close = true;
    assert_skipped(world, &item, SKIP_SIGNATURE);
    item.close = false;
    item.deadline++;
    assert_skipped(world, &item, SKIP_SIGNATURE);
    assert_channel(world, &key, 100, 60, 0, CHANNEL_OPEN);
}

static void test_item_of_a_closing_and_a_closed_channel(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 60, 100);
    struct settle_item item = sign_item(world, ALICE, &key, 1, 1, 1, LATER + 10000, false);
    struct claim own = {.nonce = 0};
    struct contract_call start = start_close_call(world, ALICE, &key, NULL, &own), finish = finish_call(&key);
    world_must(world, ALICE, &start);
    assert_skipped(world, &item, SKIP_STATUS);
    world->time += 2 * WORLD_PERIOD;
    world_must(world, ALICE, &finish);
    assert_skipped(world, &item, SKIP_STATUS);
}

static void test_payout(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 60, 100);
    uint64_t before = world_units(world, &key.client, &COIN), pool = world_pool(world, &COIN);
    struct settle_item item = sign_item(world, ALICE, &key, 1, 70, 20, WORLD_START, false);
    struct contract_call call = batch_of(&item, 1, NULL, 0);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLED, EVENT_BATCH_SETTLED);
    struct contract_event event = world_event(world, 0);
    assert_int_equal(event.seq, 1);
    assert_int_equal(event.client_out.units, 70);
    assert_int_equal(event.hub_out.units, 20);
    assert_false(event.close);
    assert_channel(world, &key, 10, -10, 1, CHANNEL_OPEN); /* a merchant: base is negative now */
    assert_int_equal(world_units(world, &key.client, &COIN), before + 70);
    assert_int_equal(world_pool(world, &COIN), pool + 20);
    assert_skipped(world, &item, SKIP_SIGNATURE); /* once */
    item = sign_item(world, ALICE, &key, 2, 0, 10, LATER, false);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLED, EVENT_BATCH_SETTLED);
    assert_channel(world, &key, 0, -10, 2, CHANNEL_OPEN);
}

/* The client gets all that the hub does not: a stray deposit cannot block a close. */
static void test_cooperative_close(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open_with(world, &world->token, 60, 100);
    struct settle_item item = sign_item(world, ALICE, &key, 1, 55, 45, LATER, true);
    struct contract_call stray = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {7}};
    world_must(world, HUB, &stray);
    uint64_t pool = world_pool(world, &world->token);
    struct contract_call call = batch_of(&item, 1, NULL, 0);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLED, TRANSFER, EVENT_BATCH_SETTLED);
    assert_int_equal(world_event(world, 0).client_out.units, 62); /* what was paid */
    assert_int_equal(world_event(world, 0).hub_out.units, 45);
    assert_true(world_event(world, 0).close);
    assert_channel(world, &key, 0, 0, 1, CHANNEL_CLOSED); /* a tombstone */
    assert_int_equal(world_units(world, &key.client, &world->token), 62);
    assert_int_equal(world_pool(world, &world->token), pool + 45);
    /* No lock was left to unlock. */
    struct contract_call unlock = {.function = CONTRACT_UNLOCK, .key = key, .flag = true};
    assert_int_equal(world_call(world, ALICE, &unlock), CONTRACT_BAD_LOCK_PROOF);
}

static void test_fund_skips_in_order(void **state)
{
    struct world *world = *state;
    struct channel_key open = world_open(world, 60, 100);
    struct channel_key closed = world_open(world, 5, 5);
    struct settle_item close = sign_item(world, ALICE, &closed, 1, 5, 0, LATER, true);
    struct contract_call call = batch_of(&close, 1, NULL, 0);
    world_must(world, HUB, &call);
    struct fund fund = {closed, {0}};
    assert_fund_skipped(world, &fund, SKIP_STATUS);
    fund.key = (struct channel_key){world->people[HUB], {{9}}, 1};
    assert_fund_skipped(world, &fund, SKIP_STATUS); /* a bad key */
    fund.key.client = ADDRESS_ZERO;
    assert_fund_skipped(world, &fund, SKIP_STATUS);
    fund.key.client = world->people[ALICE];
    assert_fund_skipped(world, &fund, SKIP_AMOUNTS); /* nothing, before the unlisted asset */
    fund.amount.units = 1;
    assert_fund_skipped(world, &fund, SKIP_POOL); /* an unlisted asset */
    fund.key = open;
    fund.amount.units = AMOUNT_LIMIT - 100;
    assert_fund_skipped(world, &fund, SKIP_AMOUNTS);
    fund.amount.units = UINT64_MAX;
    assert_fund_skipped(world, &fund, SKIP_AMOUNTS);
    fund.amount.units = AMOUNT_LIMIT - 101;
    assert_fund_skipped(world, &fund, SKIP_POOL);
    fund.amount.units = world_pool(world, &COIN) + 1;
    assert_fund_skipped(world, &fund, SKIP_POOL);
    fund.amount.units--;
    call = batch_of(NULL, 0, &fund, 1);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_FUNDED, EVENT_BATCH_SETTLED);
    assert_int_equal(world_event(world, 0).client_amount.units, 0);
    assert_int_equal(world_event(world, 0).hub_amount.units, fund.amount.units);
    assert_int_equal(world_pool(world, &COIN), 0);
    assert_channel(world, &open, 100 + fund.amount.units, 60, 0, CHANNEL_OPEN);
    fund.amount.units = 1;
    assert_fund_skipped(world, &fund, SKIP_POOL);
}

static void test_fund_of_a_closing_channel(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 60, 100);
    struct claim own = {.nonce = 0};
    struct contract_call start = start_close_call(world, HUB, &key, NULL, &own);
    world_must(world, HUB, &start);
    struct fund fund = {key, {1}};
    assert_fund_skipped(world, &fund, SKIP_STATUS);
}

/* Items first, then funds: idle money moves through the pool in one call, and one that is skipped sinks
 * nothing. */
static void test_rebalance_in_one_call(void **state)
{
    struct world *world = *state;
    struct channel_key idle = world_open(world, 10, 110), bad = world_open(world, 10, 20);
    struct channel_key fresh = {world->people[BOB], COIN, 4};
    world_must(world, HUB,
               &(struct contract_call){.function = CONTRACT_WITHDRAW_POOL,
                                       .to = world->people[HUB],
                                       .amount = {world_pool(world, &COIN)}});
    const struct settle_item items[] = {
        sign_item(world, ALICE, &idle, 1, 0, 100, LATER, false),
        sign_item(world, BOB, &bad, 1, 0, 10, LATER, false),
        sign_item(world, ALICE, &idle, 2, 10, 0, LATER, true), /* the same channel once more */
    };
    const struct fund funds[] = {{bad, {60}}, {fresh, {41}}, {fresh, {40}}};
    struct contract_call call = batch_of(items, 3, funds, 3);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLED, EVENT_SETTLE_SKIPPED, EVENT_SETTLED, EVENT_FUNDED, EVENT_SETTLE_SKIPPED,
           EVENT_OPENED, EVENT_FUNDED, EVENT_BATCH_SETTLED);
    assert_channel(world, &idle, 0, 0, 2, CHANNEL_CLOSED);
    assert_channel(world, &bad, 80, 10, 0, CHANNEL_OPEN);
    assert_channel(world, &fresh, 40, 0, 0, CHANNEL_OPEN);
    assert_int_equal(world_pool(world, &COIN), 0);
}

/* A payout that cannot be delivered is owed, and stops nobody else. */
static void test_undeliverable_payout_is_owed(void **state)
{
    struct world *world = *state;
    struct address token = {{0x55}};
    world_issue(world, &token, uint256_of(1000));
    world_must(world, HUB,
               &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = token, .unit = 1});
    struct channel_key stuck = world_open_with(world, &token, 60, 60);
    struct channel_key good = world_open(world, 50, 50);
    /* The coins of a channel whose client is a contract cannot be paid: Alice's address becomes a token's. */
    world_issue(world, &world->people[ALICE], uint256_of(0));
    const struct settle_item items[] = {sign_item(world, ALICE, &good, 1, 20, 5, LATER, false),
                                        sign_item(world, ALICE, &stuck, 1, 20, 5, LATER, false)};
    struct contract_call call = batch_of(items, 2, NULL, 0);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLED, EVENT_OWED_RECORDED, EVENT_SETTLED, TRANSFER, EVENT_BATCH_SETTLED);
    assert_int_equal(world_event(world, 0).client_out.units, 20);
    assert_int_equal(world_event(world, 1).amount.units, 20);
    assert_int_equal(world_owed(world, &good.client, &COIN), 20);
    assert_int_equal(world_units(world, &stuck.client, &token), 20);
}

/* What would take the pool to 2^63 is owed to the hub; the client's part comes first. */
static void test_a_full_pool(void **state)
{
    struct world *world = *state;
    struct address token = {{0x55}};
    world_issue(world, &token, uint256_of(AMOUNT_LIMIT + 1000));
    world_must(world, HUB,
               &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = token, .unit = 1});
    struct channel_key key = world_open_with(world, &token, 100, 100);
    struct contract_call fill = {
        .function = CONTRACT_DEPOSIT_POOL, .address = token, .amount = {AMOUNT_LIMIT - 10}};
    world_must(world, HUB, &fill);
    const struct settle_item items[] = {sign_item(world, ALICE, &key, 1, 1, 9, LATER, false),
                                        sign_item(world, ALICE, &key, 2, 1, 1, LATER, false)};
    struct contract_call call = batch_of(items, 2, NULL, 0);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_SETTLED, TRANSFER, EVENT_SETTLED, TRANSFER, EVENT_OWED_RECORDED, EVENT_BATCH_SETTLED);
    assert_int_equal(world_pool(world, &token), AMOUNT_LIMIT - 1);
    assert_int_equal(world_owed(world, &world->people[HUB], &token), 1);
    assert_address(world_event(world, 4).address, &world->people[HUB]);
    struct contract_call withdraw = {
        .function = CONTRACT_WITHDRAW_OWED, .address = token, .to = world->people[HUB]};
    world_must(world, HUB, &withdraw);
    EVENTS(world, EVENT_OWED_WITHDRAWN, TRANSFER);
}

/* Neither base nor seq leaves its type, and no batch sinks on it. */
static void test_ends_of_types(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 60, 100);
    struct hash id = channel_id(&key);
    struct channel_state channel = channel_load(world->state, &id);
    channel.base = INT64_MIN + 4;
    channel.seq = UINT32_MAX - 1;
    channel_save(world->state, &id, &key.asset, &channel);
    struct settle_item item = sign_item(world, ALICE, &key, UINT32_MAX, 5, 0, LATER, false);
    assert_skipped(world, &item, SKIP_AMOUNTS);
    item = sign_item(world, ALICE, &key, UINT32_MAX, 4, 0, LATER, false);
    struct contract_call call = batch_of(&item, 1, NULL, 0);
    world_must(world, HUB, &call);
    assert_channel(world, &key, 96, INT64_MIN, UINT32_MAX, CHANNEL_OPEN);
    item = sign_item(world, ALICE, &key, 0, 0, 4, LATER, false);
    assert_skipped(world, &item, SKIP_SIGNATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(test_only_the_hub_and_empty_batches),
        world_test(test_item_skips_in_order),
        world_test(test_item_of_a_closing_and_a_closed_channel),
        world_test(test_payout),
        world_test(test_cooperative_close),
        world_test(test_fund_skips_in_order),
        world_test(test_fund_of_a_closing_channel),
        world_test(test_rebalance_in_one_call),
        world_test(test_undeliverable_payout_is_owed),
        world_test(test_a_full_pool),
        world_test(test_ends_of_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
