/* The table and the draws of bench/mobile_money.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "bench/mobile_money.h"

#define DRAWS 20000

static void test_groups_are_whole(void **state)
{
    (void)state;
    for (int action = MOBILE_MONEY_PAYMENT; action <= MOBILE_MONEY_TRANSFER; action++) {
        size_t count;
        const struct mobile_money_group *groups =
            mobile_money_groups((enum mobile_money_action)action, &count);
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
            sum += groups[i].share;
            assert_true(groups[i].count_min <= groups[i].count_max && groups[i].mean > 0);
            assert_true(i == 0 || groups[i].count_min > groups[i - 1].count_max);
        }
        assert_true(fabs(sum - 1) < 0.0001);
    }
}

static void test_a_seed_gives_the_same_day(void **state)
{
    (void)state;
    struct mobile_money_random one = mobile_money_seeded(7), same = mobile_money_seeded(7),
                               other = mobile_money_seeded(8);
    unsigned differ = 0;
    for (int i = 0; i < 100; i++) {
        struct mobile_money_habit a = mobile_money_draw_habit(&one, MOBILE_MONEY_PAYMENT, 40);
        struct mobile_money_habit b = mobile_money_draw_habit(&same, MOBILE_MONEY_PAYMENT, 40);
        assert_int_equal(a.count, b.count);
        assert_true(mobile_money_draw_amount(&one, &a) == mobile_money_draw_amount(&same, &b));
        differ += mobile_money_draw_habit(&other, MOBILE_MONEY_PAYMENT, 40).count != a.count;
    }
    assert_true(differ > 20);
}

static void test_habits_follow_the_shares(void **state)
{
    (void)state;
    struct mobile_money_random random = mobile_money_seeded(1);
    unsigned once = 0, often = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct mobile_money_habit habit = mobile_money_draw_habit(&random, MOBILE_MONEY_PAYMENT, 40);
        assert_in_range(habit.count, 1, 40);
        assert_true(habit.spread > 0);
        once += habit.count == 1;
        often += habit.count >= 5 && habit.count <= 9;
    }
    assert_true(fabs((double)once / DRAWS - 0.29392) < 0.02);
    assert_true(fabs((double)often / DRAWS - 0.30748) < 0.02);
}

static void test_amounts_follow_mean_and_bounds(void **state)
{
    (void)state;
    struct mobile_money_random random = mobile_money_seeded(1);
    const struct mobile_money_habit habit = {.count = 1, .mean = 2252.28, .spread = 1160.55};
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        double amount = mobile_money_draw_amount(&random, &habit);
        assert_true(amount >= habit.mean / 100 && amount <= habit.mean * 5);
        sum += amount;
    }
    assert_true(fabs(sum / DRAWS / habit.mean - 1) < 0.02);
}

static void test_below_stays_below(void **state)
{
    (void)state;
    struct mobile_money_random random = mobile_money_seeded(0);
    unsigned seen[5] = {0};
    for (int i = 0; i < 1000; i++)
        seen[mobile_money_below(&random, 5)]++;
    for (int i = 0; i < 5; i++)
        assert_in_range(seen[i], 140, 260);
    assert_int_equal(mobile_money_below(&random, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_are_whole),
        cmocka_unit_test(test_a_seed_gives_the_same_day),
        cmocka_unit_test(test_habits_follow_the_shares),
        cmocka_unit_test(test_amounts_follow_mean_and_bounds),
        cmocka_unit_test(test_below_stays_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
