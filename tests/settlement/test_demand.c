/* What is expected to come to channels, and whether the pool lasts for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "settlement/demand.h"
#include "settlement/outlook.h"

#define HOUR_MS 3600000u

static void test_a_busier_time_counts_at_once(void **state)
{
    (void)state;
    float rate = demand_sample(0, amount_of(3600), HOUR_MS, HOUR_MS);
    assert_int_equal(demand_room(rate, 3600, 100).units, 3600);
    rate = demand_sample(rate, amount_of(36000), HOUR_MS, HOUR_MS);
    assert_int_equal(demand_room(rate, 3600, 200).units, 72000);
}

static void test_a_quieter_time_counts_slowly(void **state)
{
    (void)state;
    float rate = demand_sample(0, amount_of(3600), HOUR_MS, HOUR_MS), before = rate;
    rate = demand_sample(rate, amount_of(0), HOUR_MS,
                         HOUR_MS); /* half of it, where memory and elapsed are alike */
    assert_int_equal(demand_room(rate, 3600, 100).units, 1800);
    /* Many short looks say what one long look does, and never less than nothing. */
    for (unsigned i = 0; i < 60; i++)
        before = demand_sample(before, amount_of(0), HOUR_MS / 60, HOUR_MS);
    assert_true(before > 0 && demand_room(before, 3600, 100).units < 1800);
    for (unsigned i = 0; i < 40; i++)
        rate = demand_sample(rate, amount_of(0), HOUR_MS, HOUR_MS);
    assert_true(rate == 0); /* and what is less than a unit a day is forgotten */
}

static void test_rates_at_the_edges(void **state)
{
    (void)state;
    float rate = demand_sample(0, amount_of(AMOUNT_LIMIT - 1), 1, HOUR_MS);
    assert_int_equal(demand_room(rate, UINT64_MAX, 65535).units, AMOUNT_LIMIT - 1);
    assert_int_equal(demand_daily(rate), AMOUNT_LIMIT - 1);
    assert_int_equal(demand_room(0, UINT64_MAX, 65535).units, 0);
    /* The record's whole number comes back as it was, within a float's precision. */
    for (uint64_t daily = 1; daily < AMOUNT_LIMIT / 7; daily *= 7) {
        uint64_t back = demand_daily(demand_of_daily(daily)),
                 off = back > daily ? back - daily : daily - back;
        assert_true(off <= 1 + daily / 1000000);
    }
}

static void test_a_pool_that_lasts(void **state)
{
    (void)state;
    struct outlook outlook = {.idle = 0};
    outlook_add_channel(&outlook, 1000, 100, 900); /* has a day's room */
    outlook_add_channel(&outlook, 100, 100, 2400); /* a hundred an hour */
    assert_int_equal(outlook.need[0], 0);
    assert_int_equal(outlook.need[1], 100);
    assert_int_equal(outlook.need[3], 2400);
    struct outlook_verdict verdict = outlook_judge(&outlook, 2400);
    assert_true(verdict.short_in_s == OUTLOOK_FOREVER);
    assert_int_equal(verdict.lacking, 0);
}

static void test_when_and_how_much(void **state)
{
    (void)state;
    struct outlook outlook = {.idle = 0};
    outlook_add_channel(&outlook, 100, 100, 2400);
    struct outlook_verdict verdict = outlook_judge(&outlook, 300);
    assert_int_equal(verdict.short_in_s, 3 * 3600);
    assert_int_equal(verdict.lacking, 2100);
    outlook.idle = 300; /* donors could give it */
    assert_int_equal(outlook_judge(&outlook, 300).short_in_s, 6 * 3600);
    outlook.returning = 1200; /* half of what goes comes back */
    verdict = outlook_judge(&outlook, 300);
    assert_int_equal(verdict.short_in_s, 12 * 3600);
    assert_int_equal(verdict.lacking, 600);
    /* Short now: a channel that has less than it needs. */
    outlook_add_channel(&outlook, 0, 700, 0);
    verdict = outlook_judge(&outlook, 300);
    assert_int_equal(verdict.short_in_s, 0);
    assert_int_equal(verdict.lacking, 1300);
}

static void test_shards_add_up(void **state)
{
    (void)state;
    struct outlook one = {.idle = 0}, other = {.idle = 0}, both = {.idle = 0}, sum = {.idle = 0};
    outlook_add_channel(&one, 5, 70, 86400);
    outlook_add_channel(&other, 900, 1000, 777);
    outlook_add_channel(&both, 5, 70, 86400);
    outlook_add_channel(&both, 900, 1000, 777);
    one.idle = 3;
    other.returning = 9;
    outlook_add(&sum, &one);
    outlook_add(&sum, &other);
    assert_memory_equal(sum.need, both.need, sizeof(sum.need));
    assert_int_equal(sum.idle, 3);
    assert_int_equal(sum.returning, 9);
    /* And end where amounts end. */
    outlook_add_channel(&sum, 0, AMOUNT_LIMIT - 1, UINT64_MAX);
    assert_int_equal(sum.need[3], AMOUNT_LIMIT - 1);
    assert_int_equal(outlook_judge(&sum, 0).short_in_s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_busier_time_counts_at_once),
        cmocka_unit_test(test_a_quieter_time_counts_slowly),
        cmocka_unit_test(test_rates_at_the_edges),
        cmocka_unit_test(test_a_pool_that_lasts),
        cmocka_unit_test(test_when_and_how_much),
        cmocka_unit_test(test_shards_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
