/* The workloads of direct payments, small: real processes, the money checked to the unit; and the page with plots. */
#include "bench_run.h"

#define FIGURES(run, ...) bench_figures(run, (const char *const[]){__VA_ARGS__, NULL})

static void test_single(void **state)
{
    struct bench_run *run = *state;
    json_t *json = FIGURES(run, "single", "--clients", "8", "--seconds", "3");
    expect_payments(json);
    /* Nothing coalesces: each payment is one update in and one out. */
    assert_true(number_of(json, "payments_per_update") < 1.2);
    assert_true(number_of(json, "clients") == 17);
    json_decref(json);
}

static void test_page(void **state)
{
    struct bench_run *run = *state;
    char out[4096];
    const char *const words[] = {"--clients", "4",      "--seconds",    "2",      "--warm-up-s",
                                 "0",         "--html", run->html_file, "--json", NULL};
    assert_int_equal(bench(run, out, sizeof(out), words), 0);
    json_t *json = json_loads(out, 0, NULL); /* --json without a file: on standard output, and nothing else */
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "workload")), "single");
    expect_page(run, 4);
    json_decref(json);
}

static void test_busy(void **state)
{
    json_t *json = FIGURES(*state, "busy", "--clients", "8", "--window", "400");
    expect_payments(json);
    assert_true(number_of(json, "payments_per_update") > 5);
    json_decref(json);
}

static void test_steady(void **state)
{
    json_t *json = FIGURES(*state, "steady", "--clients", "8", "--rate", "20", "--seconds", "3");
    expect_payments(json);
    assert_true(number_of(json, "rate") == 20);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_single, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_page, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_busy, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_steady, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
