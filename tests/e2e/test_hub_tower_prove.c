/* A hub's watchtower signs, and does not act while the hub is down: the hub's own evidence shows it to anybody, also after
 * kill -9 and in another number of shards. With a real ledger, hub, tower and wallets. */
#include "rill_day.h"
#include "tower_process.h"

struct stand {
    struct day *day;
    struct tower_process tower;
    char payer[160], shop[160], file[160];
    struct channel_key key;
    char channel[HASH_TEXT_SIZE];
};

static void hub_with(struct stand *stand, const char *shards)
{
    const char *const flags[] = {"--settle-interval-s", "3600",     "--min-expiry-s", "600", "--tower",
                                 stand->tower.name,     "--shards", shards,           NULL};
    hub_start(stand->day->stage, flags);
    day_hub_moved(stand->day);
}

static int stand_open(void **state)
{
    static const char *const two[] = {"--shards", "2", NULL};
    struct stand *stand = xcalloc(1, sizeof(*stand));
    struct day *day = stand->day = day_open(two);
    char out[65536];
    tower_process_start(day->stage, &stand->tower, 0);
    hub_stop(day->stage);
    hub_with(stand, "2");
    home_of(day, "payer", stand->payer);
    home_of(day, "shop", stand->shop);
    home_of(day, "evidence.json", stand->file);
    stand->key.client = make_wallet(day, stand->payer);
    make_wallet(day, stand->shop);
    const struct hash id = channel_id(&stand->key);
    hash_text(&id, stand->channel);
    expect(day, 0, RILL(day, out, "deposit", "0.00005", "--home", stand->payer), out);
    expect(day, 0, RILL(day, out, "open", "0.00003", "--home", stand->shop), out);
    *state = stand;
    return 0;
}

static int stand_close(void **state)
{
    struct stand *stand = *state;
    process_end(&stand->tower.process, SIGKILL);
    day_close(stand->day);
    free(stand);
    return 0;
}

static int prove(struct stand *stand, char *out, size_t size)
{
    return rill(
        stand->day, out, size,
        (const char *const[]){"hub", "tower-prove", stand->channel, "--http", stand->day->http, NULL});
}

static bool has_signed(void *context)
{
    char out[65536];
    return prove(context, out, sizeof(out)) == 0;
}

/* Whoever has the file asks the ledger alone. */
static void expect_verdict(struct stand *stand, int code, const char *begins)
{
    struct day *day = stand->day;
    char out[65536];
    expect(day, code, RILL(day, out, "tower", "verify", stand->file), out);
    assert_int_equal(strncmp(out, begins, strlen(begins)), 0);
}

/* The payer says that it never paid: neither hub nor tower is there to answer. */
static void cheat(struct stand *stand)
{
    char path[200];
    struct secret_key client;
    snprintf(path, sizeof(path), "%s/key.json", stand->payer);
    assert_int_equal(keystore_load(path, PASSPHRASE, &client), KEYSTORE_OK);
    ledger_call_as(stand->day->stage, &client,
                   &(struct contract_call){.function = CONTRACT_START_CLOSE, .key = stand->key}, 0);
}

static void set_tower(struct stand *stand, bool allowed)
{
    struct contract_call call = {.function = CONTRACT_SET_TOWER, .flag = allowed};
    assert_true(hex_decode(stand->tower.address, call.address.bytes, 20));
    ledger_call_as(stand->day->stage, &stand->day->stage->hub, &call, 0);
}

static void test_the_hub_shows_that_its_tower_failed(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536], again[65536];
    expect(day, 2, RILL(day, out, "hub", "tower-prove", "0x12", "--http", day->http), out);
    expect(day, 1, prove(stand, out, sizeof(out)), out); /* the payer has signed nothing yet */
    day_pay(day, stand->payer, stand->shop, "0.000004", "direct");
    if (!holds_in_time(day->stage, has_signed, stand))
        fail_with_log(day->stage, "the tower's receipt");
    expect(day, 0, prove(stand, out, sizeof(out)), out);
    write_file(stand->file, out);
    expect_verdict(stand, 1, "kept");

    hub_stop(day->stage);
    process_end(&stand->tower.process, SIGKILL);
    cheat(stand);
    expect_verdict(stand, 6, "not over");
    advance(day->stage, strtoull(CHALLENGE_TIME, NULL, 10) * 11 / 8 + 1);
    expect_verdict(stand, 0, "FAILED"); /* never by setTower: so it held a Choice */

    /* The hub comes back, in one shard, kill -9 in between: it still has what it was promised. */
    day_reshard(day, "1");
    hub_with(stand, "1");
    hub_kill(day->stage);
    hub_with(stand, "1");
    advance(day->stage, 120);
    day_expect_log(day, "rill hub tower-prove");
    expect(day, 0, prove(stand, again, sizeof(again)), again);
    assert_string_equal(again, out);
    expect_verdict(stand, 0, "FAILED");

    /* Once allowed by setTower and then not any more, it may have had neither. */
    set_tower(stand, true);
    expect_verdict(stand, 0, "FAILED");
    set_tower(stand, false);
    expect_verdict(stand, 1, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_hub_shows_that_its_tower_failed, stand_open, stand_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
