/* `rill fetch` against a real proxy: limits that outlive the process, receipts that are kept, a budget that is bought once. */
#include "tests/merchant/proxy_world.h"

static void ended(struct proxy_world *world, int code, int wanted)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/rill.err", world->stage->folder);
    char *text = file_text(path);
    if (code != wanted)
        fail_msg("exit code %d, expected %d: %s", code, wanted, text);
    free(text);
}

static void test_fetch(void **state)
{
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200];
    snprintf(home, sizeof(home), "%s/ada", world->stage->folder);
    snprintf(error, sizeof(error), "%s/rill.err", world->stage->folder);
    struct secret_key key = key_of("proxy fetch");
    home_make(home, &key);
    ledger_call_as(world->stage, &world->stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT,
                                           .key = {.client = secret_key_address(&key)},
                                           .amount = amount_of(100000)},
                   100000);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/paid", world->proxy_port);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000001"), 8); /* the fee */
    assert_true(file_says(error, "above the limit of 0.0000001"));
    assert_int_equal(asked(world, "GET /paid"), 0);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002"), 0);
    assert_true(says(out, "Rill-Paid-Units: 100"));
    assert_true(file_says(error, "paid 0.0000001 coin"));
    assert_int_equal(asked(world, "GET /paid"), 1);
    /* The day's limit counts what was spent by the process before. */
    ended(world,
          RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--day-limit",
               "0.0000002"),
          8);
    assert_true(file_says(error, "may be spent today"));
    ended(world,
          RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--host-limit",
               "0.0000002"),
          8);

    /* Given back: kept, and used by the next one instead of a second payment. */
    char fail[128];
    snprintf(fail, sizeof(fail), "http://127.0.0.1:%u/fail", world->proxy_port);
    ended(world, RILL(world, out, "fetch", fail, "--home", home, "--max-price", "0.0000002"), 1);
    assert_int_equal(asked(world, "GET /fail"), 2);
    ended(world, RILL(world, out, "fetch", fail, "--home", home, "--json"), 1);
    assert_true(says(out, "\"kept_receipt\":true"));

    /* A budget is bought once. */
    assert_int_equal(
        RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.000001", "--budget", "0.0000005"),
        0);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--json"), 0);
    assert_true(says(out, "\"from_budget\":true"));
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 3 payments"));
    assert_true(says(out, "0.0000003 coin left of 0.0000005 coin"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {PROXY_TEST(test_fetch)};
    return cmocka_run_group_tests(tests, proxy_world_set_up, proxy_world_tear_down);
}
