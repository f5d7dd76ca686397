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

static struct plan_channel channel_of(uint64_t available_hub, uint64_t target)
{
    return (struct plan_channel){.online = true,
                                 .fundable = true,
                                 .available_hub = amount_of(available_hub),
                                 .balance_hub = amount_of(available_hub),
                                 .target = amount_of(target)};
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

static uint64_t lack_of(const struct plan_channel *channel)
{
    bool lacks = channel->fundable && !channel->close && channel->target.units > channel->available_hub.units;
    return lacks ? channel->target.units - channel->available_hub.units : 0;
}

static uint64_t idle_in(const struct plan_channel *channel)
{
    bool idle =
        may_settle(channel) && !channel->close && channel->available_hub.units > channel->target.units;
    return idle ? channel->available_hub.units - channel->target.units : 0;
}

/* One channel's part of a plan breaks no rule. */
static void check_channel(const struct plan_channel *channel)
{
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
        assert_true(channel->hub_out.units <= idle_in(channel)); /* never below its target */
        assert_true(channel->client_out.units + channel->hub_out.units > 0);
    }
    assert_true(channel->fund.units <= lack_of(channel));
}

/* All that must hold of any plan. */
static struct plan_result plan_checked(struct plan_channel *channels, size_t count, uint64_t pool)
{
    struct plan_result result = plan_asset(channels, count, amount_of(pool));
    uint64_t outs = 0, funds = 0, payouts = 0, lacking = 0;
    size_t items = 0, funded = 0;
    for (size_t i = 0; i < count; i++) {
        check_channel(&channels[i]);
        items += channels[i].settle;
        funded += channels[i].fund.units > 0;
        outs += channels[i].hub_out.units;
        payouts += channels[i].client_out.units;
        funds += channels[i].fund.units;
        lacking += lack_of(&channels[i]);
    }
    assert_int_equal(result.items, items);
    assert_int_equal(result.funds, funded);
    assert_int_equal(result.payouts.units, payouts);
    assert_true(funds <= pool + outs); /* the pool is never negative */
    assert_int_equal(result.pool_after.units, pool + outs - funds);
    assert_int_equal(result.missing.units, lacking - funds);
    return result;
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    struct plan_result result = plan_asset(NULL, 0, amount_of(7));
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
    channels[2].target = amount_of(71);
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
    struct plan_result result = plan_asset(channels, 6, amount_of(AMOUNT_LIMIT - 1));
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

/* The fewest channels, beyond those that have an item anyway, that give the room that all of them together
 * could give; that room in *room. */
static size_t fewest_of_all(const struct plan_channel *channels, size_t count, uint64_t pool, uint64_t *room)
{
    uint64_t lacking = 0, given = pool;
    unsigned free_to_take = 0;
    for (size_t i = 0; i < count; i++) {
        lacking += lack_of(&channels[i]);
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
        if (got > lacking)
            got = lacking;
        if (got > *room || (got == *room && size < fewest)) {
            *room = got;
            fewest = size;
        }
    }
    return fewest;
}

static void test_no_other_choice_does_it_with_fewer(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        struct plan_channel channels[CHANNELS_MAX];
        size_t count = random_below(CHANNELS_MAX) + 1, asked = 0;
        uint64_t pool = random_below(3) == 0 ? random_below(20) : 0, room, funds = 0;
        for (size_t i = 0; i < count; i++) {
            channels[i] = random_channel();
            asked += is_asked(&channels[i]);
        }
        size_t fewest = fewest_of_all(channels, count, pool, &room);
        struct plan_result result = plan_checked(channels, count, pool);
        for (size_t i = 0; i < count; i++)
            funds += channels[i].fund.units;
        assert_int_equal(funds, room);
        assert_int_equal(result.items, asked + fewest);
        struct plan_channel again[CHANNELS_MAX]; /* the out fields do not count as input */
        memcpy(again, channels, sizeof(again));
        struct plan_result second = plan_checked(again, count, pool);
        assert_memory_equal(&second, &result, sizeof(second));
    }
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
        cmocka_unit_test(test_huge_amounts),
        cmocka_unit_test(test_no_other_choice_does_it_with_fewer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
