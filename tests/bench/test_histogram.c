/* The histogram of times: exact where it says so, near enough elsewhere, and whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/histogram.h"

static void test_buckets(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 128; us++)
        assert_int_equal(histogram_bucket_end(histogram_bucket(us)), us);
    /* Each bucket begins where the one before it ends, and its values differ by 1.6 % at most. */
    for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t first = histogram_bucket_end(i - 1) + 1, last = histogram_bucket_end(i);
        assert_int_equal(histogram_bucket(first), i);
        assert_int_equal(histogram_bucket(last), i);
        assert_true((double)last <= (double)first * 1.0161 || first < 128);
    }
    assert_int_equal(histogram_bucket_end(HISTOGRAM_BUCKETS - 1), UINT32_MAX);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void test_percentiles(void **state)
{
    (void)state;
    static struct histogram histogram;
    assert_int_equal(histogram_percentile(&histogram, 0.5), 0);
    for (uint64_t us = 1; us <= 100000; us++)
        histogram_add(&histogram, us);
    assert_in_range(histogram_percentile(&histogram, 0.5), 50000, 50900);
    assert_in_range(histogram_percentile(&histogram, 0.99), 99000, 100000);
    assert_int_equal(histogram_percentile(&histogram, 1), 100000);
    assert_int_equal(histogram_percentile(&histogram, 0), 1);
    assert_int_equal(histogram.max_us, 100000);
}

static void test_merge(void **state)
{
    (void)state;
    static struct histogram all, one, other;
    for (uint64_t i = 0; i < 5000; i++) {
        histogram_add(i % 2 == 0 ? &one : &other, i * i);
        histogram_add(&all, i * i);
    }
    histogram_merge(&one, &other);
    assert_memory_equal(&one, &all, sizeof(all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
