/* The netting engine's choice: what it must and must not touch, and, in small cases, that no choice with
 * fewer channels does as much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "settlement/plan.h"

#define CHANNELS_MAX 8

/* A channel that needs exactly what it should have. */
static struct plan_channel channel_of(uint64_t available_hub, uint64_t target)
{
    return (struct plan_channel){.online = true,
                                 .fundable = true,
                                 .available_hub = amount_of(available_hub),
                                 .balance_hub = amount_of(available_hub),
                                 .need = amount_of(target)};
}

static uint64_t least_move; /* of the plans of a test */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t target_of(const struct plan_channel *channel)
{
    return larger(channel->need.units, channel->target.units);
}

static uint64_t floor_of(const struct plan_channel *channel)
{
    return larger(target_of(channel), channel->floor.units);
}

static bool may_settle(const struct plan_channel *channel)
{
    return channel->online && !channel->busy;
}

static bool is_asked(const struct plan_channel *channel)
{
    return may_settle(channel) &&
           (channel->close ||
            (channel->payout.units > 0 && channel->payout.units <= channel->available_client.units));
}

/* What it needs, and what it could use beside that. */
static uint64_t lack_of(const struct plan_channel *channel, uint64_t *full)
{
    uint64_t room = channel->available_hub.units;
    *full = 0;
    if (!channel->fundable || channel->close || channel->need.units <= room)
        return 0;
    if (!channel->urgent && target_of(channel) - room < least_move)
        return 0;
    *full = target_of(channel) - room;
    return channel->need.units - room;
}

static uint64_t idle_in(const struct plan_channel *channel)
{
    if (!may_settle(channel) || channel->close || channel->available_hub.units <= floor_of(channel))
        return 0;
    uint64_t idle = channel->available_hub.units - floor_of(channel);
    return is_asked(channel) || idle >= least_move ? idle : 0;
}

/* One channel's part of a plan breaks no rule. */
static void check_channel(const struct plan_channel *channel)
{
    uint64_t full;
    if (!channel->settle) {
        assert_int_equal(channel->client_out.units, 0);
        assert_int_equal(channel->hub_out.units, 0);
    }
    assert_true(!channel->settle || may_settle(channel));
    assert_true(channel->settle || !is_asked(channel)); /* what is asked for is always there */
    if (channel->settle && channel->close) {
        assert_int_equal(channel->client_out.units, channel->balance_client.units);
        assert_int_equal(channel->hub_out.units, channel->balance_hub.units);
    } else if (channel->settle) {
        assert_int_equal(channel->client_out.units, is_asked(channel) ? channel->payout.units : 0);
        assert_true(channel->client_out.units <= channel->available_client.units);
        assert_true(channel->hub_out.units <= idle_in(channel)); /* never below its floor */
        assert_true(channel->client_out.units + channel->hub_out.units > 0);
        assert_true(is_asked(channel) || channel->hub_out.units >= least_move);
    }
    (void)lack_of(channel, &full);
    assert_true(channel->fund.units <= full);
}

/* All that must hold of any plan. */
static struct plan_result plan_checked(struct plan_channel *channels, size_t count, uint64_t pool)
{
    const struct plan_policy policy = {amount_of(pool), amount_of(least_move)};
    struct plan_result result = plan_asset(channels, count, &policy);
    uint64_t outs = 0, funds = 0, payouts = 0, missing = 0, idle = 0;
    size_t items = 0, funded = 0, donors = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t full, needed = lack_of(&channels[i], &full), fund = channels[i].fund.units;
        check_channel(&channels[i]);
        items += channels[i].settle;
        donors += channels[i].settle && !is_asked(&channels[i]);
        funded += fund > 0;
        outs += channels[i].hub_out.units;
        payouts += channels[i].client_out.units;
        funds += fund;
        missing += needed > fund ? needed - fund : 0;
        idle += idle_in(&channels[i]) - (channels[i].close ? 0 : channels[i].hub_out.units);
    }
    assert_int_equal(result.items, items);
    assert_int_equal(result.donors, donors);
    assert_int_equal(result.funds, funded);
    assert_int_equal(result.payouts.units, payouts);
    assert_int_equal(result.idle.units, idle);
    assert_true(funds <= pool + outs); /* the pool is never negative */
    assert_int_equal(result.pool_after.units, pool + outs - funds);
    assert_int_equal(result.missing.units, missing);
    return result;
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    struct plan_result result = plan_checked(NULL, 0, 7);
    assert_int_equal(result.items + result.funds, 0);
    assert_int_equal(result.pool_after.units, 7);
    struct plan_channel channels[] = {channel_of(50, 50), channel_of(90, 10)};
    result = plan_checked(channels, 2, 7); /* an idle surplus that nobody lacks stays where it is */
    assert_int_equal(result.items + result.funds, 0);
}

static void test_payouts_come_first_and_whatever_the_pool_has(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(0, 0), channel_of(0, 0), channel_of(0, 0),
                                      channel_of(5, 500)};
    channels[0].payout = channels[0].available_client = amount_of(40);
    channels[1].close = true;
    channels[1].balance_client = amount_of(9);
    channels[1].balance_hub = amount_of(31);
    channels[2].payout = amount_of(10);
    channels[2].available_client = amount_of(9); /* more than there is */
    struct plan_result result = plan_checked(channels, 4, 0);
    assert_true(channels[0].settle && channels[1].settle && !channels[2].settle);
    assert_int_equal(result.items, 2);
    assert_int_equal(result.payouts.units, 49);
    assert_int_equal(channels[3].fund.units, 31); /* what the close brought */
    assert_int_equal(result.missing.units, 464);
}

static void test_busy_and_offline_channels_are_never_settled(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(1000, 0), channel_of(1000, 0), channel_of(0, 100),
                                      channel_of(1000, 0), channel_of(0, 60)};
    channels[0].online = false;
    channels[0].payout = channels[0].available_client = amount_of(40);
    channels[1].busy = true;
    channels[1].close = true;
    channels[2].busy = true; /* it can be funded */
    channels[3].online = false;
    channels[3].close = true;
    channels[4].online = false; /* a fund needs no signature */
    struct plan_result result = plan_checked(channels, 5, 130);
    assert_int_equal(result.items, 0);
    assert_int_equal(channels[4].fund.units, 60); /* the smallest first */
    assert_int_equal(channels[2].fund.units, 70);
    assert_int_equal(result.pool_after.units, 0);
}

static void test_closing_channels_are_not_funded(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(0, 100), channel_of(0, 100)};
    channels[0].fundable = false;
    channels[1].close = true;
    channels[1].online = false;
    struct plan_result result = plan_checked(channels, 2, 1000);
    assert_int_equal(result.funds, 0);
    assert_int_equal(result.missing.units, 0);
}

static void test_the_pool_is_used_before_any_channel(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(500, 100), channel_of(0, 300)};
    struct plan_result result = plan_checked(channels, 2, 300);
    assert_int_equal(result.items, 0);
    assert_int_equal(channels[1].fund.units, 300);
    result = plan_checked(channels, 2, 250);
    assert_int_equal(result.items, 1);
    assert_int_equal(channels[0].hub_out.units, 50);
    assert_int_equal(result.moved.units, 50);
    assert_int_equal(result.pool_after.units, 0);
}

static void test_a_channel_that_has_an_item_costs_no_further_one(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(1000, 0), channel_of(60, 10), channel_of(0, 70)};
    channels[1].payout = channels[1].available_client = amount_of(1);
    struct plan_result result = plan_checked(channels, 3, 20);
    assert_int_equal(result.items, 1);
    assert_int_equal(channels[1].hub_out.units, 50);
    channels[2].need = amount_of(71);
    result = plan_checked(channels, 3, 20);
    assert_int_equal(result.items, 2);
    assert_int_equal(channels[0].hub_out.units, 1);
}

static void test_the_largest_surplus_is_taken_first(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(10, 0), channel_of(40, 0), channel_of(30, 0),
                                      channel_of(0, 70)};
    struct plan_result result = plan_checked(channels, 4, 0);
    assert_int_equal(result.items, 2);
    assert_false(channels[0].settle);
    assert_int_equal(channels[1].hub_out.units, 40);
    assert_int_equal(channels[2].hub_out.units, 30);
}

/* Filling up costs no further channel: what the pool has, and what a donor that is touched anyway has left. */
static void test_filling_up_touches_nobody(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(100, 0), channel_of(90, 0), channel_of(0, 70),
                                      channel_of(40, 30)};
    channels[2].target = amount_of(300);
    channels[3].target = amount_of(300); /* not short: left as it is */
    struct plan_result result = plan_checked(channels, 4, 0);
    assert_int_equal(result.items, 1);
    assert_int_equal(result.funds, 1);
    assert_int_equal(channels[0].hub_out.units, 100);
    assert_int_equal(channels[2].fund.units, 100);
    assert_int_equal(result.idle.units, 90);
    result = plan_checked(channels, 4, 500);
    assert_int_equal(result.items, 0);
    assert_int_equal(channels[2].fund.units, 300);
    assert_int_equal(channels[3].fund.units, 0);
}

/* With too little for all, what channels need goes before what they could use. */
static void test_needs_go_before_wishes(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(0, 10), channel_of(0, 50), channel_of(0, 40)};
    channels[0].target = amount_of(1000);
    struct plan_result result = plan_checked(channels, 3, 80);
    assert_int_equal(channels[0].fund.units, 10);
    assert_int_equal(channels[2].fund.units, 40);
    assert_int_equal(channels[1].fund.units, 30);
    assert_int_equal(result.missing.units, 20);
}

static void test_no_donor_falls_below_its_floor(void **state)
{
    (void)state;
    struct plan_channel channels[] = {channel_of(100, 10), channel_of(0, 60)};
    channels[0].target = amount_of(40);
    channels[0].floor = amount_of(70);
    struct plan_result result = plan_checked(channels, 2, 0);
    assert_int_equal(channels[0].hub_out.units, 30);
    assert_int_equal(result.missing.units, 30);
}

static void test_what_is_not_worth_moving_stays(void **state)
{
    (void)state;
    least_move = 20;
    struct plan_channel channels[] = {channel_of(19, 0), channel_of(25, 0), channel_of(0, 19),
                                      channel_of(0, 5), channel_of(0, 21)};
    channels[3].urgent = true; /* asked for */
    struct plan_result result = plan_checked(channels, 5, 6);
    assert_int_equal(channels[2].fund.units, 0);
    assert_int_equal(channels[3].fund.units, 5);
    assert_int_equal(channels[4].fund.units, 21);
    assert_int_equal(channels[1].hub_out.units, 20);
    assert_false(channels[0].settle);
    /* Five are wanted, and no less than twenty is moved. */
    struct plan_channel few[] = {channel_of(100, 0), channel_of(0, 5)};
    few[1].urgent = true;
    result = plan_checked(few, 2, 0);
    assert_int_equal(few[0].hub_out.units, 20);
    assert_int_equal(result.pool_after.units, 15);
    least_move = 0;
}

/* Sums beyond 2^63 end there: the ledger records what the pool cannot take as owed. */
static void test_huge_amounts(void **state)
{
    (void)state;
    struct plan_channel channels[6];
    for (size_t i = 0; i < 6; i++) {
        channels[i] = channel_of(AMOUNT_LIMIT - 1, 0);
        channels[i].close = i < 3;
        channels[i].balance_client = amount_of(AMOUNT_LIMIT - 1);
    }
    channels[4] = channels[5] = channel_of(0, AMOUNT_LIMIT - 1);
    const struct plan_policy policy = {.pool = {AMOUNT_LIMIT - 1}};
    struct plan_result result = plan_asset(channels, 6, &policy);
    assert_int_equal(result.items, 3);
    assert_int_equal(result.payouts.units, AMOUNT_LIMIT - 1);
    assert_int_equal(result.funds, 1);
    assert_int_equal(result.pool_after.units, 0);
    assert_int_equal(result.missing.units, AMOUNT_LIMIT - 1);
}

/* ---- against all other choices ---- */

static uint64_t random_state = 7;

static uint64_t random_below(uint64_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % limit;
}

static struct plan_channel random_channel(void)
{
    struct plan_channel channel = channel_of(random_below(12), random_below(12));
    if (random_below(2) == 0)
        channel.target = amount_of(random_below(16));
    if (random_below(2) == 0)
        channel.floor = amount_of(random_below(16));
    channel.urgent = random_below(3) == 0;
    channel.online = random_below(4) > 0;
    channel.busy = random_below(5) == 0;
    channel.fundable = random_below(6) > 0;
    channel.available_client = amount_of(random_below(8));
    channel.balance_client = channel.available_client;
    if (random_below(4) == 0)
        channel.payout = amount_of(random_below(8));
    channel.close = random_below(8) == 0;
    return channel;
}

/* The fewest channels, beyond those that have an item anyway, that give as much of the needed room as all of them
 * together could; that room in *room. */
static size_t fewest_of_all(const struct plan_channel *channels, size_t count, uint64_t pool, uint64_t *room)
{
    uint64_t needed = 0, given = pool, full;
    unsigned free_to_take = 0;
    for (size_t i = 0; i < count; i++) {
        needed += lack_of(&channels[i], &full);
        if (is_asked(&channels[i]))
            given += channels[i].close ? channels[i].balance_hub.units : idle_in(&channels[i]);
        else if (idle_in(&channels[i]) > 0)
            free_to_take |= 1u << i;
    }
    size_t fewest = count + 1;
    *room = 0;
    for (unsigned choice = 0; choice < 1u << count; choice++) {
        if ((choice & ~free_to_take) != 0)
            continue;
        uint64_t got = given;
        size_t size = 0;
        for (size_t i = 0; i < count; i++)
            if (choice >> i & 1) {
                got += idle_in(&channels[i]);
                size++;
            }
        if (got > needed)
            got = needed;
        if (got > *room || (got == *room && size < fewest)) {
            *room = got;
            fewest = size;
        }
    }
    return fewest;
}

/* Against every subset: no other choice of donors does as much with fewer channels. */
static void test_no_other_choice_does_it_with_fewer(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8000; round++) {
        struct plan_channel channels[CHANNELS_MAX];
        size_t count = random_below(CHANNELS_MAX) + 1, asked = 0, needy = 0;
        uint64_t pool = random_below(3) == 0 ? random_below(20) : 0, room, got = 0, full;
        least_move = random_below(3) == 0 ? random_below(8) : 0;
        for (size_t i = 0; i < count; i++) {
            channels[i] = random_channel();
            asked += is_asked(&channels[i]);
            needy += lack_of(&channels[i], &full) > 0;
        }
        size_t fewest = fewest_of_all(channels, count, pool, &room);
        struct plan_result result = plan_checked(channels, count, pool);
        for (size_t i = 0; i < count; i++) {
            uint64_t needed = lack_of(&channels[i], &full), fund = channels[i].fund.units;
            got += fund < needed ? fund : needed;
        }
        assert_int_equal(got, room);
        assert_int_equal(result.donors, fewest);
        assert_int_equal(result.items, asked + fewest);
        assert_true(result.funds <= needy); /* a fund for nobody else */
        assert_true(result.missing.units > 0 || result.funds == needy);
        struct plan_channel again[CHANNELS_MAX]; /* the out fields do not count as input */
        memcpy(again, channels, sizeof(again));
        struct plan_result second = plan_checked(again, count, pool);
        assert_memory_equal(&second, &result, sizeof(second));
    }
    least_move = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_payouts_come_first_and_whatever_the_pool_has),
        cmocka_unit_test(test_busy_and_offline_channels_are_never_settled),
        cmocka_unit_test(test_closing_channels_are_not_funded),
        cmocka_unit_test(test_the_pool_is_used_before_any_channel),
        cmocka_unit_test(test_a_channel_that_has_an_item_costs_no_further_one),
        cmocka_unit_test(test_the_largest_surplus_is_taken_first),
        cmocka_unit_test(test_filling_up_touches_nobody),
        cmocka_unit_test(test_needs_go_before_wishes),
        cmocka_unit_test(test_no_donor_falls_below_its_floor),
        cmocka_unit_test(test_what_is_not_worth_moving_stays),
        cmocka_unit_test(test_huge_amounts),
        cmocka_unit_test(test_no_other_choice_does_it_with_fewer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
