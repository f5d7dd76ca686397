/* The throttle: a burst, then a steady rate, and what is given back. The tests say what time it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/throttle.h"

#define START_US 5000000u

static size_t take_all(struct throttle *throttle, uint64_t now_us)
{
    size_t taken = 0;
    for (; throttle_allows(throttle, now_us); taken++)
        throttle_take(throttle, now_us);
    return taken;
}

static void a_burst_then_so_many_a_second(void **state)
{
    (void)state;
    struct throttle throttle = {.per_second = 500, .burst = 1000};
    assert_int_equal(take_all(&throttle, START_US), 1000);
    assert_int_equal(take_all(&throttle, START_US + 1999), 0);
    assert_int_equal(take_all(&throttle, START_US + 2000), 1);
    size_t taken = 0;
    for (uint64_t now_us = START_US + 12000; now_us <= START_US + 1002000; now_us += 10000) {
        size_t now = take_all(&throttle, now_us);
        assert_int_equal(now, 5);
        taken += now;
    }
    assert_int_equal(taken, 500);
}

static void rest_earns_no_more_than_the_burst(void **state)
{
    (void)state;
    struct throttle throttle = {.per_second = 500, .burst = 10};
    assert_int_equal(take_all(&throttle, START_US), 10);
    assert_int_equal(take_all(&throttle, START_US + 3600u * 1000000u), 10);
}

static void what_is_given_back_may_be_taken_again(void **state)
{
    (void)state;
    struct throttle throttle = {.per_second = 500, .burst = 10};
    for (int i = 0; i < 100000; i++) {
        assert_true(throttle_allows(&throttle, START_US));
        throttle_take(&throttle, START_US);
        throttle_give_back(&throttle, START_US);
    }
    assert_int_equal(take_all(&throttle, START_US), 10);
    throttle_give_back(&throttle, START_US);
    throttle_give_back(&throttle, START_US);
    assert_int_equal(take_all(&throttle, START_US), 2);
}

/* Taken long ago and given back now: that has paid for itself meanwhile, and earns nothing. */
static void giving_back_late_earns_nothing(void **state)
{
    (void)state;
    struct throttle throttle = {.per_second = 500, .burst = 10};
    assert_int_equal(take_all(&throttle, START_US), 10);
    for (int i = 0; i < 10; i++)
        throttle_give_back(&throttle, START_US + 60u * 1000000u);
    assert_int_equal(take_all(&throttle, START_US + 60u * 1000000u), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_so_many_a_second),
        cmocka_unit_test(rest_earns_no_more_than_the_burst),
        cmocka_unit_test(what_is_given_back_may_be_taken_again),
        cmocka_unit_test(giving_back_late_earns_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
