/* The workload of paid HTTP requests: all its ways of paying come to a good end, and the money adds up. */
#include "bench_run.h"

static json_t *figures(struct bench_run *run)
{
    char out[8192];
    int code = bench(run, out, sizeof(out),
                     (const char *const[]){"http", "--json", run->json_file, "--html", run->html_file,
                                           "--folder", run->folder, "--seconds", "1", "--warm-up-s", "0",
                                           "--clients", "8", "--rate", "40", "--amount", "7", NULL});
    if (code != 0)
        bench_failed(run, code, out);
    assert_non_null(strstr(out, "the money is right"));
    json_t *json = json_load_file(run->json_file, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "workload")), "http");
    assert_true(json_is_true(json_object_get(json, "money_checked")));
    return json;
}

static double figure(const json_t *json, const char *prefix, const char *name)
{
    char text[80];
    snprintf(text, sizeof(text), "%s%s", prefix, name);
    return number_of(json, text);
}

static void expect_difference(const json_t *json, const char *prefix, const char *added)
{
    double difference = figure(json, prefix, "p50_ms") - number_of(json, "rate_bare_p50_ms");
    assert_true(number_of(json, added) > difference - 0.001 && number_of(json, added) < difference + 0.001);
}

static void test_http(void **state)
{
    static const char *const rounds[] = {"rate_bare_", "rate_each_", "rate_next_", "rate_budget_",
                                         "bare_",      "each_",      "next_",      "budget_"};
    json_t *json = figures(*state);
    double paid = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(rounds); i++) {
        assert_true(figure(json, rounds[i], "requests_per_s") > 0);
        assert_true(figure(json, rounds[i], "p50_ms") > 0);
        assert_true(figure(json, rounds[i], "p50_ms") <= figure(json, rounds[i], "p99_ms"));
        assert_true(figure(json, rounds[i], "client_cpu_us") > 0);
    }
    /* The window is a second, or a little more on a machine that is late. */
    static const char *const each[] = {"rate_each_", "rate_next_", "each_", "next_"};
    for (size_t i = 0; i < ARRAY_LENGTH(each); i++)
        paid += 7 * figure(json, each[i], "requests_per_s");
    assert_true(number_of(json, "paid_units") >= paid);
    assert_true(number_of(json, "rate") == 40);
    assert_true(number_of(json, "in_flight") == 8);
    assert_true(number_of(json, "paid_requests_per_s") == number_of(json, "next_requests_per_s"));
    assert_true(number_of(json, "p50_ms") == number_of(json, "next_p50_ms"));
    assert_true(number_of(json, "p99_ms") == number_of(json, "next_p99_ms"));
    expect_difference(json, "rate_next_", "added_p50_ms");
    expect_difference(json, "rate_each_", "each_added_p50_ms");
    expect_difference(json, "rate_budget_", "budget_added_p50_ms");
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_http, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
