/* The workloads that measure what a hub keeps: channels, old payments, connections; and what the bench refuses. */
#include "bench_run.h"

#define FIGURES(run, ...) bench_figures(run, (const char *const[]){__VA_ARGS__, NULL})

static void test_scale(void **state)
{
    static const char *const names[] = {"channels", "bytes_per_channel", "restart_s", "first_start_s",
                                        "hub_rss_channels_mib"};
    json_t *json = FIGURES(*state, "scale", "--channels", "900", "--clients", "4");
    expect_payments(json);
    assert_true(number_of(json, "channels") == 909); /* four pairs and the bank beside them */
    expect_positive(json, names, ARRAY_LENGTH(names));
    json_decref(json);
}

static void test_history(void **state)
{
    static const char *const names[] = {"empty_payments_per_s",  "throughput_ratio",
                                        "busy_payments_per_s",   "restart_s",
                                        "busy_throughput_ratio", "restart_empty_s"};
    json_t *json = FIGURES(*state, "history", "--payments", "2000", "--clients", "4", "--window", "100");
    expect_payments(json);
    assert_true(number_of(json, "old_payments") == 2000);
    assert_true(number_of(json, "receipts_checked") > 2000);
    expect_positive(json, names, ARRAY_LENGTH(names));
    json_decref(json);
}

static void test_connections(void **state)
{
    static const char *const names[] = {"kib_per_connection", "handshakes_per_s", "hub_cpu_us_per_handshake",
                                        "hub_rss_mib"};
    struct bench_run *run = *state;
    json_t *json = FIGURES(run, "connections", "150");
    assert_true(number_of(json, "connections") == 150);
    assert_true(number_of(json, "payments") == 0);
    expect_positive(json, names, ARRAY_LENGTH(names));
    expect_page(run, 0);
    json_decref(json);
}

static void test_refusals(void **state)
{
    struct bench_run *run = *state;
    char out[8192];
    assert_int_equal(bench(run, out, sizeof(out), (const char *const[]){"bussy", NULL}), 2);
    char *error = file_text(run->error_file);
    assert_non_null(strstr(error, "there is no workload 'bussy'"));
    free(error);
    assert_int_equal(bench(run, out, sizeof(out), (const char *const[]){"busy", "12", NULL}), 2);
    assert_int_equal(bench(run, out, sizeof(out), (const char *const[]){"--seconds", "0", NULL}), 2);
    assert_int_equal(bench(run, out, sizeof(out), (const char *const[]){"--folder", "/nowhere/at/all", NULL}),
                     1);
    error = file_text(run->error_file);
    assert_non_null(strstr(error, "choose another with --folder"));
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scale, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_history, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_connections, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
