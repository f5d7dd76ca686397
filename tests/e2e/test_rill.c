/* The command `rill` as people use it, against a real ledger and a real hub: a day of a payer and a shop, and what is said
 * when something is wrong. */
#include "rill_day.h"
#include "tower_process.h"

static const char *const often[] = {"--settle-interval-s", "1", "--min-expiry-s", "600", NULL};

static void test_a_day(void **state)
{
    (void)state;
    struct day *day = day_open(often);
    char out[65536], more[65536], payer[160], shop[160];
    home_of(day, "payer", payer);
    home_of(day, "shop", shop);
    make_wallet(day, payer);
    make_wallet(day, shop);
    expect(day, 4, RILL(day, out, "init", "--home", payer), out); /* never over an old one */

    expect(day, 0, RILL(day, out, "deposit", "0.00005", "--home", payer), out);
    assert_non_null(strstr(out, "deposited 0.00005 coin\n"));
    expect(day, 0, RILL(day, out, "open", "0.00003", "--home", shop), out);

    /* The shop is offline when it makes the invoice, and comes back to find the payment. */
    expect(day, 0, RILL(day, out, "invoice", "0.000004", "--memo", "two coffees", "--home", shop), out);
    char *invoice = xstrdup(word_in(out, "rill:"));
    expect(day, 6, RILL(day, more, "pay", invoice, "--home", payer, "--timeout-s", "1"), more);
    expect(day, 1, RILL(day, more, "pay", invoice, "--home", payer), more);
    assert_true(error_says(day, "under way"));
    expect(day, 0, RILL(day, more, "listen", "--count", "1", "--home", shop, "--json"), more);
    assert_non_null(strstr(more, "\"memo\":\"two coffees\""));
    expect(day, 0, RILL(day, more, "balance", "--home", payer), more); /* picks the receipt up */
    expect(day, 0, RILL(day, more, "history", "--home", payer, "--json"), more);
    assert_non_null(strstr(more, "\"receipt\":\"0x"));
    expect(day, 1, RILL(day, more, "pay", invoice, "--home", payer), more);
    assert_true(error_says(day, "has been paid"));
    free(invoice);

    /* Whatever a payer writes, it stays one line of the shop's terminal. */
    expect(day, 0, RILL(day, out, "invoice", "0.000001", "--home", shop), out);
    invoice = xstrdup(word_in(out, "rill:"));
    expect(day, 6,
           RILL(day, more, "pay", invoice, "--memo", "thanks\n2026-11-28 21:45:09  received 500 coin\x1b[2J",
                "--home", payer, "--timeout-s", "1"),
           more);
    free(invoice);
    expect(day, 0, RILL(day, more, "listen", "--count", "1", "--home", shop), more);
    assert_non_null(
        strstr(more, "received 0.000001 coin  thanks?2026-11-28 21:45:09  received 500 coin?[2J\n"));
    expect(day, 0, RILL(day, more, "history", "--home", shop), more);
    assert_non_null(strstr(more, "thanks?2026-11-28 21:45:09  received 500 coin?[2J\n"));
    expect(day, 0, RILL(day, more, "history", "--home", shop, "--json"), more);
    assert_non_null(strstr(more, "\"memo\":\"thanks\\n2026-11-28"));

    expect(day, 0, RILL(day, out, "withdraw", "0.000001", "--home", shop), out);
    assert_non_null(strstr(out, "paid out 0.000001 coin"));
    expect(day, 0, RILL(day, out, "close", "--home", shop), out);
    assert_non_null(strstr(out, "0.000004 coin"));
    expect(day, 0, RILL(day, out, "balance", "--home", shop), out);
    assert_non_null(strstr(out, "no channel yet"));
    day_close(day);
}

/* So many blocks later than the hub this wallet sees what the ledger has. */
#define LATE "60"

/* Asks for a payout, and leaves when it is on the ledger, before the wallet sees it there. */
static void leave_a_payout(struct day *day, const char *home, const struct address *address,
                           const char *amount)
{
    char path[256], log[200];
    const char *const withdraw[] = {process_path("rill", path, sizeof(path)),
                                    "withdraw",
                                    amount,
                                    "--home",
                                    home,
                                    "--confirmations",
                                    LATE,
                                    NULL};
    struct process process;
    snprintf(log, sizeof(log), "%s/withdraw.err", day->stage->folder);
    unsigned_wide before = coins_of(day->stage, address);
    ensure(process_start(&process, withdraw, log));
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
    while (coins_of(day->stage, address) == before && clock_monotonic_us() < until)
        poll(NULL, 0, 20);
    assert_int_equal(process_end(&process, SIGTERM), 6);
    for (int i = 0; i < 70; i++)
        mine(day->stage);
}

/* What became of a payout while the wallet was away is not what becomes of the next one, or of a close. */
static void test_a_payout_is_not_an_older_one(void **state)
{
    (void)state;
    struct day *day = day_open(often);
    char out[65536], home[160];
    home_of(day, "w", home);
    struct address address = make_wallet(day, home);
    for (int i = 0; i < 70; i++)
        mine(day->stage);
    expect(day, 0, RILL(day, out, "deposit", "0.00005", "--home", home, "--confirmations", LATE), out);
    leave_a_payout(day, home, &address, "0.000001");
    expect(day, 0, RILL(day, out, "withdraw", "0.000002", "--home", home, "--confirmations", LATE), out);
    assert_non_null(strstr(out, "paid out 0.000002 coin"));
    leave_a_payout(day, home, &address, "0.000003");
    expect(day, 0, RILL(day, out, "close", "--home", home, "--confirmations", LATE), out);
    assert_non_null(strstr(out, "closed: 0.000044 coin"));
    expect(day, 0, RILL(day, out, "balance", "--home", home, "--confirmations", LATE), out);
    assert_non_null(strstr(out, "no channel yet"));
    day_close(day);
}

/* A locked payment to somebody who has no channel: the hub gives it up, as soon as it may. */
static int pay_nobody(struct day *day, const char *payer, char *out, size_t size)
{
    return rill(
        day, out, size,
        (const char *const[]){"pay", "--payee", "0x00000000000000000000000000000000000000aa", "--secret-hash",
                              "0x1111111111111111111111111111111111111111111111111111111111111111", "0.00001",
                              "--mode", "locked", "--timeout-s", "5", "--home", payer, "--json", NULL});
}

static void expect_payment(const json_t *payment, const char *state, bool is_final)
{
    assert_string_equal(json_string_value(json_object_get(payment, "mode")), "locked");
    assert_string_equal(json_string_value(json_object_get(payment, "state")), state);
    assert_int_equal(json_is_true(json_object_get(payment, "is_final")), is_final);
}

/* The newest payment, of the wallet's own records. */
static json_t *newest_payment(struct day *day, const char *payer)
{
    char out[65536];
    expect(day, 0, RILL(day, out, "history", "--home", payer, "--limit", "1", "--json"), out);
    json_t *history = json_loads(out, 0, NULL);
    json_t *payment = json_incref(json_array_get(json_object_get(history, "payments"), 0));
    json_decref(history);
    return payment;
}

#define LOCKS "--settle-interval-s", "1", "--min-expiry-s", "600", "--min-lock", "1000"

/* "failed" is said once the hub cannot collect the payment any more: whoever pays again then pays once. */
static void test_a_failed_payment_is_final(void **state)
{
    (void)state;
    struct day *day = day_open((const char *const[]){LOCKS, NULL});
    char out[65536], payer[160];
    home_of(day, "payer", payer);
    make_wallet(day, payer);
    expect(day, 0, RILL(day, out, "deposit", "0.00005", "--home", payer), out);
    expect(day, 1, pay_nobody(day, payer, out, sizeof(out)), out);
    json_t *payment = json_loads(out, 0, NULL);
    expect_payment(payment, "failed", true);
    json_decref(payment);

    /* A hub gives nothing up before its tower knows, and this one does not answer. */
    static const char nowhere[] = "0x00000000000000000000000000000000000000bb@127.0.0.1:1";
    hub_stop(day->stage);
    hub_start(day->stage, (const char *const[]){LOCKS, "--tower", nowhere, NULL});
    day_hub_moved(day);
    expect(day, 6, pay_nobody(day, payer, out, sizeof(out)), out);
    assert_true(error_says(day, "the hub has not given it up"));
    payment = newest_payment(day, payer);
    expect_payment(payment, "failing", false);

    hub_stop(day->stage);
    hub_start(day->stage, (const char *const[]){LOCKS, "--tower", nowhere, "--tower-silence-s", "1", NULL});
    day_hub_moved(day);
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
    while (!json_is_true(json_object_get(payment, "is_final")) && clock_monotonic_us() < until) {
        json_decref(payment);
        expect(day, 0, RILL(day, out, "balance", "--home", payer), out); /* asks the hub */
        payment = newest_payment(day, payer);
    }
    expect_payment(payment, "failed", true);
    json_decref(payment);
    day_close(day);
}

/* A wallet that lost its folder has its money back, and goes on. */
static void test_lost_folder(void **state)
{
    (void)state;
    struct day *day = day_open(often);
    char out[65536], payer[160], journal[200];
    home_of(day, "payer", payer);
    make_wallet(day, payer);
    expect(day, 0, RILL(day, out, "deposit", "0.00005", "--home", payer), out);
    expect(day, 1,
           RILL(day, out, "pay", "--payee", "0x00000000000000000000000000000000000000aa", "--secret-hash",
                "0x1111111111111111111111111111111111111111111111111111111111111111", "0.000001", "--mode",
                "direct", "--home", payer, "--timeout-s", "1"),
           out);
    snprintf(journal, sizeof(journal), "%s/journal", payer);
    folder_remove(journal);
    expect(day, 0, RILL(day, out, "balance", "--home", payer), out);
    assert_non_null(strstr(out, "rill recover"));
    folder_remove(journal);
    expect(day, 0, RILL(day, out, "recover", "--home", payer), out);
    assert_non_null(strstr(out, "taken over"));
    expect(day, 0, RILL(day, out, "withdraw", "all", "--home", payer), out);
    day_close(day);
}

/* A shop lost its folder, and the hub is gone: what its tower keeps is its own, and is what it closes with. */
static void test_lost_folder_and_no_hub(void **state)
{
    (void)state;
    struct day *day = day_open(often);
    struct tower_process tower;
    char out[65536], payer[160], shop[160], journal[200];
    home_of(day, "payer", payer);
    home_of(day, "shop", shop);
    make_wallet(day, payer);
    make_wallet(day, shop);
    tower_process_start(day->stage, &tower, 0);
    expect(day, 0, RILL(day, out, "tower", "add", tower.name, "--home", shop), out);
    expect(day, 0, RILL(day, out, "deposit", "0.00005", "--home", payer), out);
    expect(day, 0, RILL(day, out, "open", "0.00003", "--home", shop), out);
    day_pay(day, payer, shop, "0.000004", "direct");
    expect(day, 0, RILL(day, out, "tower", "status", "--home", shop), out);
    snprintf(journal, sizeof(journal), "%s/journal", shop);
    folder_remove(journal);
    expect(day, 0, RILL(day, out, "recover", "--home", shop), out);
    assert_non_null(strstr(out, "0.000004 coin  taken over"));
    folder_remove(journal);
    hub_kill(day->stage);
    expect(day, 3, RILL(day, out, "recover", "--home", shop, "--timeout-s", "25"), out);
    assert_true(error_says(day, "what the towers keep is taken over"));
    expect(day, 0, RILL(day, out, "balance", "--offline", "--home", shop), out);
    assert_non_null(strstr(out, "0.000004 coin"));
    expect(day, 6, RILL(day, out, "dispute", "--home", shop, "--timeout-s", "3"), out);
    assert_int_equal(process_end(&tower.process, SIGTERM), 0);
    day_close(day);
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    struct day *day = day_open(often);
    char out[65536], home[160];
    home_of(day, "w", home);
    expect(day, 4, RILL(day, out, "balance", "--home", home), out);
    assert_true(error_says(day, "rill init"));
    make_wallet(day, home);
    expect(day, 2, RILL(day, out, "pay", "--home", home), out);
    expect(day, 2, RILL(day, out, "withdraw", "much", "--home", home), out);
    expect(day, 2, RILL(day, out, "balance", "--no-such-flag"), out);
    expect(day, 2, RILL(day, out, "fly"), out);
    expect(day, 1, RILL(day, out, "pay", "rill:NOTONE", "--home", home), out);
    setenv("RILL_PASSPHRASE", "another", 1);
    expect(day, 4, RILL(day, out, "balance", "--home", home), out);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);

    /* Another process has the folder. */
    char path[256];
    const char *const listen[] = {process_path("rill", path, sizeof(path)), "listen", "--home", home, NULL};
    char listen_log[200];
    struct process listener;
    snprintf(listen_log, sizeof(listen_log), "%s/listen.err", day->stage->folder);
    ensure(process_start(&listener, listen, listen_log));
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
    while (!file_says(listen_log, "listening") && clock_monotonic_us() < until)
        poll(NULL, 0, 20);
    expect(day, 5, RILL(day, out, "balance", "--home", home, "--json"), out);
    assert_non_null(strstr(out, "\"exit_code\":5"));
    assert_int_equal(process_end(&listener, SIGTERM), 0);

    expect(day, 3, RILL(day, out, "hub", "status", "--http", "127.0.0.1:1"), out);
    char http[32];
    snprintf(http, sizeof(http), "127.0.0.1:%u", day->stage->http_port);
    expect(day, 0, RILL(day, out, "hub", "status", "--http", http), out);
    setenv("RILL_LEDGER", "http://127.0.0.1:1", 1);
    expect(day, 0, RILL(day, out, "history", "--home", home), out); /* needs neither */
    setenv("RILL_LEDGER", day->stage->url, 1);
    hub_kill(day->stage);
    expect(day, 3, RILL(day, out, "open", "1", "--home", home), out);
    day_close(day);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_day),
        cmocka_unit_test(test_a_payout_is_not_an_older_one),
        cmocka_unit_test(test_a_failed_payment_is_final),
        cmocka_unit_test(test_lost_folder),
        cmocka_unit_test(test_lost_folder_and_no_hub),
        cmocka_unit_test(test_what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
