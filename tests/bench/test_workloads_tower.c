/* The workloads about watchtowers and the plan: small ones of each come to an end and say what they should. */
#include "bench_run.h"

#define FIGURES(run, ...) bench_figures(run, (const char *const[]){__VA_ARGS__, NULL})

static void test_tower(void **state)
{
    static const char *const names[] = {"new_appointments_per_s",
                                        "appointments_per_s",
                                        "appointments_per_s_best",
                                        "appointments_per_s_receipts_verified",
                                        "tower_cpu_us_per_appointment",
                                        "disk_bytes_per_channel",
                                        "disk_bytes_per_channel_after_more",
                                        "restart_s",
                                        "blocks_catch_up_s",
                                        "blocks_per_minute",
                                        "floor_appointments_per_s_and_core"};
    json_t *json = FIGURES(*state, "tower", "--channels", "300", "--blocks", "200");
    assert_true(number_of(json, "channels") == 300);
    assert_true(number_of(json, "blocks") >= 200);
    expect_positive(json, names, ARRAY_LENGTH(names));
    json_decref(json);
}

static void expect_spread(const json_t *json, const char *name)
{
    char low[64], high[64], first[64], third[64];
    snprintf(low, sizeof(low), "%s_low", name);
    snprintf(high, sizeof(high), "%s_high", name);
    snprintf(first, sizeof(first), "%s_q1", name);
    snprintf(third, sizeof(third), "%s_q3", name);
    double median = number_of(json, name);
    assert_true(number_of(json, low) <= median && median <= number_of(json, high));
    assert_true(number_of(json, first) <= median && median <= number_of(json, third));
}

/* The hub pays on through every state of its tower, and finds it again. */
static void test_tower_busy(void **state)
{
    static const char *const names[] = {"payments_per_s_healthy",
                                        "payments_per_s_stopped",
                                        "payments_per_s_hanging",
                                        "hub_cpu_us_per_payment_healthy",
                                        "hub_cpu_us_per_payment_stopped",
                                        "hub_cpu_us_per_payment_hanging",
                                        "rate_healthy_to_stopped",
                                        "rate_hanging_to_stopped",
                                        "cpu_healthy_to_stopped",
                                        "cpu_hanging_to_stopped",
                                        "receipts_in_the_end"};
    json_t *json = FIGURES(*state, "tower-busy", "--rounds", "2", "--clients", "8");
    expect_payments(json);
    assert_true(number_of(json, "rounds") == 2);
    expect_positive(json, names, ARRAY_LENGTH(names));
    for (size_t i = 6; i < 10; i++)
        expect_spread(json, names[i]);
    json_decref(json);
}

static void test_plan(void **state)
{
    static const char *const names[] = {"online",        "payouts_asked", "proposals", "choice_short",
                                        "choice_donors", "choice_ms",     "plan_ms",   "journal_ms",
                                        "choice_cpu_ms", "plan_cpu_ms"};
    struct bench_run *run = *state;
    char out[8192];
    assert_int_equal(
        bench(run, out, sizeof(out), (const char *const[]){"plan", "--json", "--channels", "2000", NULL}), 0);
    json_t *json = json_loads(out, 0, NULL);
    assert_non_null(json);
    assert_true(number_of(json, "channels") == 2000);
    expect_positive(json, names, ARRAY_LENGTH(names));
    /* Every client that asked is proposed its payout. */
    assert_true(number_of(json, "proposals") >= number_of(json, "payouts_asked"));
    json_decref(json);
    assert_int_equal(bench(run, out, sizeof(out), (const char *const[]){"plan", "--channels", "2000", NULL}),
                     0);
    assert_non_null(strstr(out, "the hub's whole plan"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tower, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_tower_busy, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_plan, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
