/* Settlement that an operator can leave alone: room ahead of what is expected, clients that do not answer, rounds of
 * several calls, pools that will be too low, what the operator may set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/engine_state.h"

#include "engine_world.c"

#define MINUTE_MS   60000u
#define SMALL_BLOCK 300000u /* room for one payout, or two funds, in a call */

static void change_settings(struct engine_settings *settings)
{
    settings->room_percent = 200;
    settings->idle_bps = 12000;
    settings->requests_max = 2;
}

static int open_world(void **state)
{
    static struct world world;
    world_open_with(&world, change_settings);
    engine_time(world.engine, 1000);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 5000);
    world_fund(&world, 2, 1000, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_connect(&world, i);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static struct hub_channel *hub_side(const struct world *world, unsigned client)
{
    return engine_channel(world->engine, &world->clients[client].channel->id);
}

static void request_payout(struct world *world, unsigned client, uint64_t amount)
{
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = world->clients[client].channel->id;
    request.settle_request.amount = amount_of(amount);
    world_message(world, client, &request);
    world_settle_down(world);
}

static void request_open(struct world *world, unsigned client, const struct address *asset, uint64_t inbound)
{
    struct message request = {.type = MESSAGE_OPEN_REQUEST};
    request.open_request.asset = *asset;
    request.open_request.inbound = amount_of(inbound);
    world_message(world, client, &request);
}

static void pass(struct world *world, uint64_t milliseconds)
{
    engine_time(world->engine, world->engine->now_ms + milliseconds);
    world_settle_down(world);
}

static void plan(struct world *world)
{
    engine_settle(world->engine);
    world_settle_down(world);
}

static struct contract_call call_at(const struct world *world, size_t at)
{
    struct contract_call call;
    assert_true(at < world->calls);
    assert_int_equal(world->log[at].call, ENGINE_CALL_SETTLE);
    assert_true(contract_decode_call(world->log[at].data.data, world->log[at].data.length, &call));
    return call;
}

/* The contract executes it; the hub's node sees it with the next head. */
static void execute(struct world *world, size_t at)
{
    struct contract_call call = call_at(world, at);
    for (size_t i = 0; i < call.item_count; i++) {
        struct contract_event event = {.type = EVENT_SETTLED,
                                       .confirmed = true,
                                       .channel = channel_id(&call.items[i].key),
                                       .client_out = call.items[i].client_out,
                                       .hub_out = call.items[i].hub_out,
                                       .close = call.items[i].close};
        event.seq = engine_channel(world->engine, &event.channel)->channel->funds.seq + 1;
        engine_event(world->engine, &event);
    }
    for (size_t i = 0; i < call.fund_count; i++) {
        struct contract_event event = {.type = EVENT_FUNDED,
                                       .confirmed = true,
                                       .channel = channel_id(&call.funds[i].key),
                                       .hub_amount = call.funds[i].amount};
        if (engine_channel(world->engine, &event.channel) == NULL) {
            struct contract_event opened = {.type = EVENT_OPENED,
                                            .confirmed = true,
                                            .channel = event.channel,
                                            .address = call.funds[i].key.client,
                                            .other = call.funds[i].key.asset};
            engine_event(world->engine, &opened);
        }
        engine_event(world->engine, &event);
    }
    struct contract_event event = {
        .type = EVENT_BATCH_SETTLED, .confirmed = true, .batch = ++world->batches, .root = call.hash};
    engine_event(world->engine, &event);
    contract_call_free(&call);
}

static void outcome(struct world *world, size_t at, enum ledger_error error)
{
    struct ledger_receipt receipt = {.success = true, .gas_used = 1000, .block = world->block + 1};
    engine_call_done(world->engine, ENGINE_CALL_SETTLE, world->log[at].reference, error,
                     error == LEDGER_OK ? &receipt : NULL);
}

/* All calls from `first` on are mined, and seen. */
static void settled(struct world *world, size_t first)
{
    size_t end = world->calls;
    for (size_t at = first; at < end; at++) {
        execute(world, at);
        outcome(world, at, LEDGER_OK);
    }
    world_head(world, 1);
    world_settle_down(world);
}

static void pay(struct world *world, unsigned from, unsigned to, uint64_t amount)
{
    static uint8_t id = 100;
    world_pay(world, from, to, amount, ++id, false);
    world_settle_down(world);
}

/* ---- room ahead of demand ---- */

/* A channel whose client sells steadily has room for twice what is expected until the next batch, filled up for four
 * times; and the estimate outlives a crash. */
static void test_room_stays_ahead_of_the_flow(void **state)
{
    struct world *world = *state;
    struct hub_channel *seller = hub_side(world, 1);
    pay(world, 0, 1, 4000);
    pass(world, 10 * MINUTE_MS); /* the time between two batches, where the operator starts them */
    size_t calls = world->calls;
    plan(world);
    assert_int_equal(world->calls, calls + 1);
    settled(world, calls);
    uint64_t expected = demand_room(seller->demand, 602, 100).units;
    assert_true(expected > 4000 && expected < 4100);
    assert_true(channel_available(seller->channel, SIDE_HUB) >= (wide)(2 * expected));
    assert_int_equal(seller->room_floor.units, 5000); /* what it asked for once: no more by that */
    float before = seller->demand;
    world_crash(world);
    seller = hub_side(world, 1);
    assert_true(seller->demand > before * 0.99f && seller->demand < before * 1.01f);
    /* Quiet times: what was given for them counts as idle again. */
    for (unsigned i = 0; i < 60; i++) {
        pass(world, 10 * MINUTE_MS);
        plan(world);
    }
    assert_true(seller->demand < before / 100);
}

static void test_a_channel_with_enough_room_is_left_alone(void **state)
{
    struct world *world = *state;
    pay(world, 2, 1, 100);
    size_t calls = world->calls;
    plan(world); /* 4,900 of the 5,000 that it was given are there */
    assert_int_equal(world->calls, calls);
    assert_int_equal(world->engine->settle_phase, SETTLE_IDLE);
}

/* ---- clients that do not answer ---- */

static void test_who_does_not_answer_is_left_out_and_asked_again(void **state)
{
    struct world *world = *state;
    world->clients[2].mute_settlement = true;
    request_payout(world, 0, 500);
    request_payout(world, 2, 300);
    plan(world);
    assert_int_equal(world->engine->settle_phase, SETTLE_COLLECTING);
    size_t first = world->calls;
    pass(world, 1000); /* the bound */
    assert_int_equal(world->calls, first + 1);
    struct contract_call call = call_at(world, first);
    assert_int_equal(call.item_count, 1);
    assert_int_equal(call.items[0].client_out.units, 500);
    contract_call_free(&call);
    settled(world, first);
    struct settlement asked = world->clients[2].proposal;
    assert_int_equal(world->clients[2].proposals, 1);
    plan(world);
    assert_int_equal(world->clients[2].proposals, 1); /* it has that one still: no other before its answer */
    world_disconnect(world, 2);
    world->clients[2].mute_settlement = false;
    world_connect(world, 2);
    pass(world, 1000);
    assert_int_equal(world->clients[2].proposals, 2); /* the same, since it may have signed it */
    assert_int_equal(world->clients[2].proposal.seq, asked.seq);
    assert_int_equal(world->clients[2].proposal.deadline, asked.deadline);
    assert_int_equal(world->calls, first + 2);
    settled(world, first + 1);
    assert_int_equal(hub_side(world, 2)->channel->funds.seq, 1);
}

/* It is counted by both until its deadline has passed, and then no more. */
static void test_a_signed_item_that_misses_its_batch(void **state)
{
    struct world *world = *state;
    world->clients[2].mute_settlement = true;
    request_payout(world, 2, 300);
    plan(world);
    pass(world, 1000);
    assert_int_equal(world->engine->settle_phase, SETTLE_IDLE);
    wide before = channel_available(hub_side(world, 2)->channel, SIDE_CLIENT);
    world_sign(world, 2); /* too late for it */
    world_settle_down(world);
    assert_true(channel_available(hub_side(world, 2)->channel, SIDE_CLIENT) == before - 300);
    size_t calls = world->calls;
    pass(world, 1000); /* it makes the next batch come soon */
    assert_int_equal(world->calls, calls + 1);
    outcome(world, calls, LEDGER_UNREACHABLE);
    world_head(world, 2000);
    assert_true(channel_available(hub_side(world, 2)->channel, SIDE_CLIENT) == before - 300);
    world_head(world, 2000); /* dead */
    world_settle_down(world);
    assert_int_equal(world->clients[2].settled_outcome, SETTLED_DEAD);
    assert_true(channel_available(hub_side(world, 2)->channel, SIDE_CLIENT) == before);
    assert_int_equal(channel_settlement(hub_side(world, 2)->channel)->phase, SETTLEMENT_NONE);
}

/* ---- rounds of several calls ---- */

static void three_payouts(struct world *world)
{
    engine_block_gas(world->engine, SMALL_BLOCK);
    pay(world, 0, 1, 1000);
    request_payout(world, 0, 500);
    request_payout(world, 1, 400);
    request_payout(world, 2, 300);
    plan(world);
}

static void test_a_round_is_cut_to_the_block(void **state)
{
    struct world *world = *state;
    size_t first = world->calls;
    three_payouts(world);
    assert_int_equal(world->calls, first + 3);
    struct hash zero = HASH_ZERO;
    for (size_t i = 0; i < 3; i++) {
        struct contract_call call = call_at(world, first + i);
        assert_int_equal(call.item_count, 1);
        assert_int_equal(hash_equal(&call.hash, &zero), i > 0); /* the root goes with the first */
        contract_call_free(&call);
    }
    /* Not over before the last of them is. */
    outcome(world, first, LEDGER_OK);
    outcome(world, first + 2, LEDGER_OK);
    plan(world);
    assert_int_equal(world->calls, first + 3);
    for (size_t i = 0; i < 3; i++)
        execute(world, first + i);
    outcome(world, first + 1, LEDGER_OK);
    world_head(world, 1);
    pass(world, 100);
    assert_int_equal(world->engine->settle_phase, SETTLE_IDLE);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(hub_side(world, i)->channel->funds.seq, 1);
    assert_int_equal(world->engine->report_count, 2 + 3); /* two by the funds at the start */
    assert_int_equal(world->engine->reports[4].items, 1);
}

static void test_a_call_that_fails_takes_nobody_with_it(void **state)
{
    struct world *world = *state;
    size_t first = world->calls;
    three_payouts(world);
    execute(world, first);
    execute(world, first + 2);
    outcome(world, first, LEDGER_OK);
    outcome(world, first + 1, LEDGER_REVERTED);
    outcome(world, first + 2, LEDGER_OK);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(world->engine->settle_phase, SETTLE_IDLE);
    size_t again = world->calls;
    pass(world, 1000);
    assert_int_equal(world->calls, again + 1); /* what it held is signed still */
    settled(world, again);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(hub_side(world, i)->channel->funds.seq, 1);
}

/* A node that takes none of this size is offered smaller ones, and larger ones again once they are taken. */
static void test_calls_that_are_refused_become_smaller(void **state)
{
    struct world *world = *state;
    size_t first = world->calls;
    pay(world, 0, 1, 1000);
    request_payout(world, 0, 500);
    request_payout(world, 1, 400);
    request_payout(world, 2, 300);
    plan(world);
    unsigned refusals = 0;
    while (world->calls == first + 1) {
        assert_true(++refusals < 12);
        outcome(world, first++, LEDGER_REFUSED);
        pass(world, 64000);
    }
    assert_true(refusals >= 6); /* thirteen million gas, halved until two payouts are too much */
    assert_true(world->engine->settle_halvings > 0);
    settled(world, first);
    assert_true(world->engine->settle_halvings < refusals);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(hub_side(world, i)->channel->funds.seq, 1);
}

/* A fund is paid from what the pool has, or from its own call's items: the node that estimates a call knows nothing of
 * those before it. */
static void test_no_fund_hangs_on_an_earlier_call(void **state)
{
    struct world *world = *state;
    engine_block_gas(world->engine, SMALL_BLOCK);
    struct contract_event withdrawn = {.type = EVENT_POOL_WITHDRAWN,
                                       .confirmed = true,
                                       .amount = settle_pool_units(&world->engine->pools[0])};
    engine_event(world->engine, &withdrawn);
    world_head(world, 1);
    pay(world, 0, 1, 4900); /* the payer's channel could give it all back */
    hub_side(world, 1)->room_floor = amount_of(5000);
    request_payout(world, 0, 100);
    world_connect(world, 3);
    request_open(world, 3, &ADDRESS_ZERO, 1000);
    size_t first = world->calls;
    plan(world);
    /* The payout and its return fill the first call: no fund is with it, and none in another. */
    for (size_t at = first; at < world->calls; at++) {
        struct contract_call call = call_at(world, at);
        uint64_t returned = 0, funded = 0;
        for (size_t i = 0; i < call.item_count; i++)
            returned += call.items[i].hub_out.units;
        for (size_t i = 0; i < call.fund_count; i++)
            funded += call.funds[i].amount.units;
        assert_true(funded <= returned);
        contract_call_free(&call);
    }
    settled(world, first);
    pass(world, 1);
    settled(world, first + 1); /* the next round follows at once */
    assert_true(channel_available(hub_side(world, 1)->channel, SIDE_HUB) >= 2500);
    assert_int_equal(world->clients[3].channel->funds.total.units, 1000);
}

static void test_several_assets_and_opens_in_one_call(void **state)
{
    struct world *world = *state;
    struct address other = {{9}};
    struct contract_event listed = {.type = EVENT_ASSET_LISTED, .confirmed = true, .address = other};
    struct contract_event pool = {
        .type = EVENT_POOL_DEPOSITED, .confirmed = true, .address = other, .amount = {7000}};
    engine_event(world->engine, &listed);
    engine_event(world->engine, &pool);
    world_head(world, 1);
    world_connect(world, 3);
    request_open(world, 3, &ADDRESS_ZERO, 2000);
    for (unsigned i = 0; i < 4; i++)
        request_open(world, i, &other, 1000 + i);
    request_payout(world, 2, 300);
    size_t first = world->calls;
    pass(world, 1000);
    assert_int_equal(world->calls, first + 1);
    struct contract_call call = call_at(world, first);
    assert_int_equal(call.item_count, 1);
    assert_int_equal(call.fund_count, 5);
    unsigned others = 0;
    for (size_t i = 0; i < call.fund_count; i++)
        others += address_equal(&call.funds[i].key.asset, &other);
    assert_int_equal(others, 4);
    contract_call_free(&call);
}

/* ---- what the operator sets ---- */

static void test_enough_requests_start_a_batch(void **state)
{
    struct world *world = *state;
    size_t calls = world->calls;
    request_payout(world, 0, 100);
    request_payout(world, 0, 200); /* the same client, another mind */
    pass(world, 1000);
    assert_int_equal(world->calls, calls);
    request_payout(world, 2, 300);
    pass(world, 1000);
    assert_int_equal(world->calls, calls + 1);
    struct contract_call call = call_at(world, calls);
    assert_int_equal(call.item_count, 2);
    contract_call_free(&call);
}

/* ---- the pool's outlook ---- */

static void test_a_pool_too_low_is_foreseen(void **state)
{
    struct world *world = *state;
    struct engine_pool pools[ASSETS_MAX];
    pay(world, 0, 1, 4000);
    pass(world, 10 * MINUTE_MS); /* 24,000 an hour */
    size_t first = world->calls;
    plan(world);
    settled(world, first);
    assert_int_equal(engine_pools(world->engine, pools), 1);
    struct outlook_verdict verdict = outlook_judge(&pools[0].outlook, 1000000);
    assert_int_equal(verdict.short_in_s, OUTLOOK_FOREVER);
    uint64_t has = settle_pool_units(&world->engine->pools[0]).units;
    verdict = outlook_judge(&pools[0].outlook, has);
    assert_true(has > 50000 && verdict.short_in_s > 2 * 3600 && verdict.short_in_s < 5 * 3600);
    assert_true(verdict.lacking > 400000 && verdict.lacking < 600000); /* of 576,000 a day */
    /* It is reported, and stops nobody: with nothing in the pool a payout goes its way. */
    struct contract_event withdrawn = {.type = EVENT_POOL_WITHDRAWN, .confirmed = true, .amount = {has}};
    engine_event(world->engine, &withdrawn);
    world_head(world, 1);
    pay(world, 0, 1, 4000);
    world_disconnect(world, 0); /* what lies idle there cannot be had */
    request_payout(world, 2, 300);
    first = world->calls;
    plan(world);
    engine_pools(world->engine, pools);
    assert_true(outlook_judge(&pools[0].outlook, 0).short_in_s < 600); /* before the next batch */
    assert_int_equal(world->calls, first + 1);
    settled(world, first);
    assert_int_equal(world->clients[2].settled_count, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_room_stays_ahead_of_the_flow),
        TEST(test_a_channel_with_enough_room_is_left_alone),
        TEST(test_who_does_not_answer_is_left_out_and_asked_again),
        TEST(test_a_signed_item_that_misses_its_batch),
        TEST(test_a_round_is_cut_to_the_block),
        TEST(test_a_call_that_fails_takes_nobody_with_it),
        TEST(test_calls_that_are_refused_become_smaller),
        TEST(test_no_fund_hangs_on_an_earlier_call),
        TEST(test_several_assets_and_opens_in_one_call),
        TEST(test_enough_requests_start_a_batch),
        TEST(test_a_pool_too_low_is_foreseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
