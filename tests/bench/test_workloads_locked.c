/* The workloads with locks, small: real processes, the money checked to the unit. */
#include "bench_run.h"

#define FIGURES(run, ...) bench_figures(run, (const char *const[]){__VA_ARGS__, NULL})

static void test_busy_locked(void **state)
{
    json_t *json = FIGURES(*state, "busy", "--locked", "--clients", "8", "--window", "100");
    expect_payments(json);
    json_decref(json);
}

static void test_locked(void **state)
{
    json_t *json = FIGURES(*state, "locked", "--clients", "6");
    expect_payments(json);
    /* A lock and its unlock are two updates in and two out. */
    assert_true(number_of(json, "payments_per_update") < 0.7);
    json_decref(json);
}

static void test_mixed_in_two_processes(void **state)
{
    json_t *json = FIGURES(*state, "mixed", "--clients", "6", "--load-processes", "2");
    expect_payments(json);
    assert_true(number_of(json, "clients") == 14); /* three pairs and a bank in each */
    json_decref(json);
}

static void test_mobile_money(void **state)
{
    json_t *json = FIGURES(*state, "mobile-money", "--clients", "40", "--window", "16");
    expect_payments(json);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_busy_locked, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_locked, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_mixed_in_two_processes, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_mobile_money, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
