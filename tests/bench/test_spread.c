/* The spread of measured values: quartiles, and between which two of them the median lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/spread.h"

#define VALUES_MAX 100

/* 1 to count, in an order that is not sorted. */
static struct spread of_first(size_t count)
{
    double values[VALUES_MAX];
    for (size_t i = 0; i < count; i++)
        values[i] = (double)((i % 2 == 0 ? i / 2 : count - 1 - i / 2) + 1);
    return spread_of(values, count);
}

static void test_quartiles(void **state)
{
    (void)state;
    struct spread spread = of_first(5);
    assert_true(spread.median == 3 && spread.lower_quartile == 2 && spread.upper_quartile == 4);
    spread = of_first(4);
    assert_true(spread.median == 2.5 && spread.lower_quartile == 1.75 && spread.upper_quartile == 3.25);
    spread = of_first(1);
    assert_true(spread.median == 1 && spread.lower_quartile == 1 && spread.upper_quartile == 1);
}

/* The ranks that tables of the sign test have for 95 %. */
static void test_the_interval_of_the_median(void **state)
{
    (void)state;
    static const struct {
        size_t count, low;
    } ranks[] = {{1, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 2}, {10, 2}, {20, 6}, {25, 8}, {50, 18}, {100, 40}};
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        struct spread spread = of_first(ranks[i].count);
        assert_int_equal((size_t)spread.low, ranks[i].low);
        assert_int_equal((size_t)spread.high, ranks[i].count + 1 - ranks[i].low);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quartiles),
        cmocka_unit_test(test_the_interval_of_the_median),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
