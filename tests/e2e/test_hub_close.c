/* The operator closes a channel whose client is gone for good: `rill hub close` with a real hub, ledger and wallets. The hub
 * follows it through alone, also over kill -9, and everybody's money comes home. */
#include "rill_day.h"

static const char *const seldom[] = {"--settle-interval-s", "3600", "--min-expiry-s", "600", NULL};

#define DEPOSIT "0.00005"

struct stand {
    struct day *day;
    char payer[160], shop[160];
    struct address client;
    char channel[HASH_TEXT_SIZE];
};

static int stand_open(void **state)
{
    struct stand *stand = xcalloc(1, sizeof(*stand));
    struct day *day = stand->day = day_open(seldom);
    char out[65536];
    home_of(day, "payer", stand->payer);
    home_of(day, "shop", stand->shop);
    stand->client = make_wallet(day, stand->payer);
    make_wallet(day, stand->shop);
    expect(day, 0, RILL(day, out, "deposit", DEPOSIT, "--home", stand->payer), out);
    expect(day, 0, RILL(day, out, "open", "0.00003", "--home", stand->shop), out);
    day_pay(day, stand->payer, stand->shop, "0.000004", "direct");
    const struct hash id = channel_id(&(struct channel_key){.client = stand->client});
    hash_text(&id, stand->channel);
    *state = stand;
    return 0;
}

static int stand_close(void **state)
{
    struct stand *stand = *state;
    day_close(stand->day);
    free(stand);
    return 0;
}

static bool has_closed(void *context)
{
    const struct stand *stand = context;
    return hub_figure(stand->day->stage, "channels_open") == 1;
}

/* The pool of the only asset, as the hub tells it. */
static long long pool_of(struct stand *stand)
{
    char *text = http_ask(stand->day->stage->http_port, "GET", "/balances");
    const char *at = strstr(text, "\"pool\":");
    long long units = -1;
    if (at == NULL || sscanf(at, "\"pool\":%lld", &units) != 1)
        fail_msg("no pool in: %s", text);
    free(text);
    return units;
}

/* Asked in the wrong way, or without --yes, nothing happens. */
static void test_what_is_asked_first(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536];
    expect(day, 2, RILL(day, out, "hub", "close"), out);
    expect(day, 2, RILL(day, out, "hub", "close", "0x12", "--http", day->http), out);
    expect(day, 3, RILL(day, out, "hub", "close", stand->channel, "--http", "127.0.0.1:1", "--yes"), out);
    expect(day, 1,
           RILL(day, out, "hub", "close",
                "0x1111111111111111111111111111111111111111111111111111111111111111", "--http", day->http,
                "--yes"),
           out);
    assert_true(error_says(day, "no such channel"));
    expect(day, 1, RILL(day, out, "hub", "close", stand->channel, "--http", day->http), out);
    assert_true(error_says(day, "nothing was done: --yes does it"));
    assert_non_null(strstr(out, "offline"));
    assert_non_null(strstr(out, "0 locks"));
    assert_int_equal(hub_figure(day->stage, "channels_open"), 2);
    day_pay(day, stand->payer, stand->shop, "0.000001", "direct"); /* it serves as before */
}

static void test_everybody_has_his_money(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536];
    const unsigned_wide before = coins_of(day->stage, &stand->client);
    const long long pool = pool_of(stand);
    expect(day, 0, RILL(day, out, "hub", "close", stand->channel, "--http", day->http, "--yes", "--json"),
           out);
    hub_kill(day->stage); /* what was answered is durable */
    hub_start(day->stage, seldom);
    day_hub_moved(day);
    json_t *answer = json_loads(out, 0, NULL);
    assert_true(json_is_true(json_object_get(answer, "closing")));
    const long long client_units = json_integer_value(json_object_get(answer, "client_units")),
                    hub_units = json_integer_value(json_object_get(answer, "hub_units"));
    json_decref(answer);
    assert_int_equal(client_units + hub_units, 50000);
    assert_true(hub_units >= 4000);
    day_expect_log(day, "is being closed by its hub");
    expect(day, 1, RILL(day, out, "hub", "close", stand->channel, "--http", day->http, "--yes"), out);
    assert_true(error_says(day, "it is being closed already"));
    hub_kill(day->stage); /* and it is followed through */
    hub_start(day->stage, seldom);
    day_hub_moved(day);
    advance(day->stage, strtoull(CHALLENGE_TIME, NULL, 10) * 11 / 8 + 61);
    if (!holds_in_time(day->stage, has_closed, stand))
        fail_with_log(day->stage, "the end of the channel");
    day_expect_log(day, "is closed: client");
    assert_true(coins_of(day->stage, &stand->client) == before + (unsigned_wide)client_units * UNIT);
    assert_int_equal(pool_of(stand), pool + hub_units);

    /* It comes back after all, and finds what became of its channel. */
    expect(day, 0, RILL(day, out, "balance", "--home", stand->payer), out);
    assert_non_null(strstr(out, "no channel yet"));
    expect(day, 0, RILL(day, out, "history", "--home", stand->payer, "--json"), out);
    assert_non_null(strstr(out, "\"closed\":\"by the hub\""));
    expect(day, 1, RILL(day, out, "hub", "close", stand->channel, "--http", day->http, "--yes"), out);
    assert_true(error_says(day, "not open"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_asked_first, stand_open, stand_close),
        cmocka_unit_test_setup_teardown(test_everybody_has_his_money, stand_open, stand_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
