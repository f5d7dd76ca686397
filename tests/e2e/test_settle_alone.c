/* Settlement that nobody has to look after, with a real ledger, a real hub and wallets of include/rill.h: many shops are
 * opened in one call; each asks for its money by itself once there is enough, and that many requests start the batch; the
 * hub is killed in the middle of one; and a pool that will not last is said so before it is empty. */
#include "hub_fixture.h"

#include "rill.h"

#define SHOPS     6
#define ROOM      100000u
#define PRICE     5000u
#define THRESHOLD 4000u

struct shop {
    struct rill_wallet *wallet;
    struct address address;
    uint64_t received, settled; /* payments; payouts */
    uint64_t paid_out;          /* units */
};

struct stage {
    struct hub_stage *hub;
    struct rill_ledger *ledger;
    struct shop payer, shops[SHOPS];
    uint64_t wanted; /* what a wait waits for */
};

static const uint8_t coin[20];

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    (void)payment;
    ((struct shop *)context)->received++;
}

static void on_settlement(void *context, struct rill_wallet *wallet, const struct rill_settlement *settlement)
{
    (void)wallet;
    struct shop *shop = context;
    if (!settlement->settled || settlement->amount == 0)
        return;
    shop->settled++;
    shop->paid_out += settlement->amount;
}

static void open_wallet(struct stage *stage, struct shop *shop, unsigned number)
{
    static const struct rill_callbacks callbacks = {.received = on_received, .settlement = on_settlement};
    char name[32], message[300];
    snprintf(name, sizeof(name), "settling alone %u", number);
    struct secret_key key = key_of(name);
    struct rill_options options = {.ledger = stage->ledger,
                                   .hub_host = "127.0.0.1",
                                   .hub_port = stage->hub->hub_port,
                                   .max_unsecured = RILL_UNLIMITED,
                                   .max_unsecured_per_payee = RILL_UNLIMITED};
    memcpy(options.key, key.bytes, sizeof(options.key));
    shop->address = secret_key_address(&key);
    shop->wallet = rill_open(stage->hub->base, &options, &callbacks, shop, message, sizeof(message));
    if (shop->wallet == NULL)
        fail_msg("%s", message);
}

static void expect_soon(struct stage *stage, bool (*holds)(void *context), const char *what)
{
    if (!holds_in_time(stage->hub, holds, stage))
        fail_with_log(stage->hub, what);
}

static struct rill_balance balance_of(const struct shop *shop)
{
    struct rill_balance balance = {.total = 0};
    (void)rill_balance_of(shop->wallet, coin, &balance);
    return balance;
}

/* ---- what is waited for ---- */

static bool all_ready(void *context)
{
    const struct stage *stage = context;
    bool ready = rill_is_ready(stage->payer.wallet);
    for (unsigned i = 0; i < SHOPS; i++)
        ready = ready && rill_is_ready(stage->shops[i].wallet);
    return ready;
}

static bool payer_funded(void *context)
{
    return balance_of(&((struct stage *)context)->payer).available > 0;
}

static bool all_have_room(void *context)
{
    const struct stage *stage = context;
    for (unsigned i = 0; i < SHOPS; i++)
        if (balance_of(&stage->shops[i]).inbound < ROOM)
            return false;
    return true;
}

static bool all_received(void *context)
{
    const struct stage *stage = context;
    for (unsigned i = 0; i < SHOPS; i++)
        if (stage->shops[i].received < stage->wanted)
            return false;
    return true;
}

static bool all_settled(void *context)
{
    const struct stage *stage = context;
    for (unsigned i = 0; i < SHOPS; i++)
        if (stage->shops[i].settled < stage->wanted)
            return false;
    return true;
}

/* Of /settlements, how many batches have so many of these. */
static unsigned batches_with(struct stage *stage, const char *what, unsigned number)
{
    char wanted[48], *text = http_ask(stage->hub->http_port, "GET", "/settlements");
    unsigned found = 0;
    snprintf(wanted, sizeof(wanted), "\"%s\":%u,", what, number);
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at++)
        found++;
    free(text);
    return found;
}

/* The wallets look at the ledger themselves, and may know before the hub does. */
static bool one_call_opened_all(void *context)
{
    return batches_with(context, "funds", SHOPS) == 1;
}

/* Four payouts fit what a transaction may use, and the other two are in another. */
static bool two_calls_paid_all(void *context)
{
    return batches_with(context, "items", 4) == 1 && batches_with(context, "items", 2) == 1;
}

static bool second_batch_leaves(void *context)
{
    char *text = file_text(((struct stage *)context)->hub->hub_log);
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, "settling: 6 items")) != NULL; at++)
        found++;
    free(text);
    return found >= 2;
}

static bool pool_is_foreseen(void *context)
{
    return file_says(((struct stage *)context)->hub->hub_log, "at the present demand");
}

/* ---- steps ---- */

static void deposit(struct stage *stage, const struct address *client, uint64_t units)
{
    ledger_call_as(stage->hub, &stage->hub->hub,
                   &(struct contract_call){
                       .function = CONTRACT_DEPOSIT, .key = {.client = *client}, .amount = amount_of(units)},
                   units);
}

static void pay_every_shop(struct stage *stage)
{
    for (unsigned i = 0; i < SHOPS; i++) {
        char text[RILL_INVOICE_TEXT_MAX];
        assert_int_equal(rill_invoice_create(stage->shops[i].wallet, coin, PRICE, 3600, "tea", text, NULL),
                         0);
        struct rill_request request = {.invoice = text, .mode = RILL_DIRECT};
        assert_int_equal(rill_pay(stage->payer.wallet, &request, NULL), 0);
    }
    stage->wanted++;
    expect_soon(stage, all_received, "the shops are not paid");
}

/* What a shop has on the ledger is what it was told, and the rest is in its channel: nothing twice, nothing lost. */
static void check_shops(struct stage *stage, uint64_t sold)
{
    for (unsigned i = 0; i < SHOPS; i++) {
        const struct shop *shop = &stage->shops[i];
        assert_true(coins_of(stage->hub, &shop->address) == (unsigned_wide)shop->paid_out * UNIT);
        assert_int_equal(shop->paid_out + balance_of(shop).balance, sold * PRICE);
    }
}

static void check_status(struct stage *stage)
{
    char path[256], http[32], line[256];
    snprintf(http, sizeof(http), "127.0.0.1:%u", stage->hub->http_port);
    const char *argv[] = {process_path("rill", path, sizeof(path)), "hub", "status", "--http", http, NULL};
    struct process status;
    ensure(process_start(&status, argv, ""));
    assert_true(process_line(&status, "pool 0x", line, sizeof(line), PATIENCE_MS));
    assert_int_equal(process_end(&status, 0), 0);
    assert_non_null(strstr(line, "deposit "));
    char *text = http_ask(stage->hub->http_port, "GET", "/metrics");
    assert_non_null(
        strstr(text, "rill_pool_lasts_seconds{asset=\"0x0000000000000000000000000000000000000000\"} "));
    assert_null(
        strstr(text, "rill_pool_lacking_units{asset=\"0x0000000000000000000000000000000000000000\"} 0\n"));
    free(text);
}

static void test_alone(void **state)
{
    (void)state;
    struct stage *stage = xcalloc(1, sizeof(*stage));
    stage->hub = stage_open((const char *const[]){"--idle-block-ms", "60", NULL});
    /* An hour between batches: what happens sooner was asked for. */
    hub_start(stage->hub, (const char *const[]){"--settle-interval-s", "3600", "--settle-requests", "6",
                                                "--settle-gas-max", "300000", "--shards", "1", NULL});
    struct rill_ledger_options options = {.url = stage->hub->url, .confirmations = 1, .poll_ms = 20};
    memcpy(options.contract, stage->hub->contract.bytes, sizeof(options.contract));
    stage->ledger = rill_ledger_new(stage->hub->base, &options);
    assert_true(rill_ledger_wait(stage->ledger, 10000));
    open_wallet(stage, &stage->payer, 0);
    for (unsigned i = 0; i < SHOPS; i++)
        open_wallet(stage, &stage->shops[i], i + 1);
    expect_soon(stage, all_ready, "the wallets are not ready");
    deposit(stage, &stage->payer.address, 10000000);
    expect_soon(stage, payer_funded, "the payer is not funded");

    for (unsigned i = 0; i < SHOPS; i++)
        assert_int_equal(rill_open_request(stage->shops[i].wallet, coin, ROOM), 0);
    expect_soon(stage, all_have_room, "the shops have no room");
    expect_soon(stage, one_call_opened_all, "the shops were not opened in one call");

    struct rill_payout_policy policy = {.mode = RILL_PAYOUT_THRESHOLD, .threshold = THRESHOLD};
    for (unsigned i = 0; i < SHOPS; i++)
        assert_int_equal(rill_set_payout_policy(stage->shops[i].wallet, coin, &policy), 0);
    pay_every_shop(stage);
    expect_soon(stage, all_settled, "no payout by itself");
    expect_soon(stage, two_calls_paid_all, "the shops were not paid in one round of two calls");
    check_shops(stage, 1);

    /* Killed once it has signed and perhaps sent the next one. */
    pay_every_shop(stage);
    expect_soon(stage, second_batch_leaves, "no second batch");
    hub_kill(stage->hub);
    char port[32];
    snprintf(port, sizeof(port), "127.0.0.1:%u", stage->hub->hub_port);
    hub_start(stage->hub,
              (const char *const[]){"--settle-interval-s", "2", "--listen", port, "--shards", "1", NULL});
    expect_soon(stage, all_settled, "the payouts got lost in the crash");
    check_shops(stage, 2);

    /* With a batch every two seconds, what is sold is a flow that the pool does not last for. */
    pay_every_shop(stage);
    expect_soon(stage, pool_is_foreseen, "nobody says that the pool is running out");
    check_status(stage);
    expect_soon(stage, all_settled, "a pool that is running out stops payouts");
    check_shops(stage, 3);

    rill_close_handle(stage->payer.wallet);
    for (unsigned i = 0; i < SHOPS; i++)
        rill_close_handle(stage->shops[i].wallet);
    rill_ledger_free(stage->ledger);
    stage_close(stage->hub);
    free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
