/* include/rill.h against a real ledger and a real hub: several wallets on one follower, one that comes late, one with a
 * folder, closing from within a callback, a hub that is killed meanwhile. */
#include "hub_fixture.h"

#include "rill.h"

#define WALLETS 3

struct party {
    struct stage *stage;
    struct rill_wallet *wallet;
    uint8_t address[20];
    unsigned readies, shown, paid, failed, received, settled;
    bool closes_when_paid;
    int code;
    bool closed;
    uint64_t paid_out;
    char step[256];
};

struct stage {
    struct hub_stage *hub;
    struct rill_ledger *ledger;
    struct party parties[WALLETS];
};

static const uint8_t coin[20];

static void on_ready(void *context, struct rill_wallet *wallet)
{
    (void)wallet;
    ((struct party *)context)->readies++;
}

/* Of each payment before `paid`, and once. */
static void on_secret(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct party *party = context;
    (void)wallet;
    assert_true(payment->has_secret);
    party->shown++;
    assert_true(party->shown > party->paid);
}

static void on_paid(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct party *party = context;
    assert_true(payment->has_secret);
    struct hash hash = sha256(payment->secret, sizeof(payment->secret));
    assert_memory_equal(hash.bytes, payment->secret_hash, 32);
    party->paid++;
    assert_true(party->shown >= party->paid);
    if (party->closes_when_paid) {
        rill_close_handle(wallet);
        party->wallet = NULL;
    }
}

static void on_failed(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    ((struct party *)context)->failed++;
    ((struct party *)context)->code = payment->code;
}

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    (void)payment;
    ((struct party *)context)->received++;
}

static void on_settlement(void *context, struct rill_wallet *wallet, const struct rill_settlement *settlement)
{
    (void)wallet;
    assert_true(settlement->settled);
    ((struct party *)context)->settled++;
}

static void on_closing(void *context, struct rill_wallet *wallet, const uint8_t channel[32], const char *text,
                       bool done, uint64_t paid_out)
{
    (void)wallet;
    (void)channel;
    struct party *party = context;
    snprintf(party->step, sizeof(party->step), "%s", text);
    party->closed = done;
    party->paid_out = paid_out;
}

static void open_wallet(struct stage *stage, size_t index, const char *folder)
{
    static const struct rill_callbacks callbacks = {.ready = on_ready,
                                                    .secret = on_secret,
                                                    .paid = on_paid,
                                                    .failed = on_failed,
                                                    .received = on_received,
                                                    .settlement = on_settlement,
                                                    .closing = on_closing};
    struct party *party = &stage->parties[index];
    char name[32], message[300];
    snprintf(name, sizeof(name), "library wallet %zu", index);
    struct secret_key key = key_of(name);
    struct rill_options options = {.folder = folder,
                                   .ledger = stage->ledger,
                                   .hub_host = "127.0.0.1",
                                   .hub_port = stage->hub->hub_port,
                                   .max_unsecured = RILL_UNLIMITED,
                                   .max_unsecured_per_payee = RILL_UNLIMITED};
    memcpy(options.key, key.bytes, sizeof(options.key));
    party->stage = stage;
    party->wallet = rill_open(stage->hub->base, &options, &callbacks, party, message, sizeof(message));
    if (party->wallet == NULL)
        fail_msg("%s", message);
    rill_address(party->wallet, party->address);
}

/* Deposits for a wallet from the hub's address: anybody may. */
static void deposit_for(struct stage *stage, size_t index, uint64_t units)
{
    char name[32];
    snprintf(name, sizeof(name), "library wallet %zu", index);
    struct secret_key key = key_of(name);
    ledger_call_as(stage->hub, &stage->hub->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT,
                                           .key = {.client = secret_key_address(&key)},
                                           .amount = amount_of(units)},
                   units);
}

static bool is_funded(void *context)
{
    struct party *party = context;
    struct rill_balance balance;
    return party->wallet != NULL && rill_is_ready(party->wallet) &&
           rill_balance_of(party->wallet, coin, &balance) && balance.synced && balance.available > 0;
}

static bool has_room(void *context)
{
    struct party *party = context;
    struct rill_balance balance;
    return rill_balance_of(party->wallet, coin, &balance) && balance.inbound > 0;
}

static void expect_soon(struct stage *stage, bool (*holds)(void *context), void *context, const char *what)
{
    if (!holds_in_time(stage->hub, holds, context))
        fail_with_log(stage->hub, what);
}

static struct stage *stage_make(void)
{
    struct stage *stage = xcalloc(1, sizeof(*stage));
    stage->hub = stage_open((const char *const[]){"--idle-block-ms", "60", NULL});
    /* One shard: a test starts the hub on its port again, and the port after it may be anybody's by then. */
    hub_start(stage->hub,
              (const char *const[]){"--settle-interval-s", "1", "--min-lock", "1000", "--shards", "1", NULL});
    struct rill_ledger_options options = {.url = stage->hub->url, .confirmations = 1, .poll_ms = 20};
    memcpy(options.contract, stage->hub->contract.bytes, sizeof(options.contract));
    stage->ledger = rill_ledger_new(stage->hub->base, &options);
    assert_true(rill_ledger_wait(stage->ledger, 10000));
    return stage;
}

static void stage_drop(struct stage *stage)
{
    for (size_t i = 0; i < WALLETS; i++)
        rill_close_handle(stage->parties[i].wallet);
    rill_ledger_free(stage->ledger);
    stage_close(stage->hub);
    free(stage);
}

static int pay(struct stage *stage, size_t from, size_t to, uint64_t amount, enum rill_mode mode)
{
    char text[RILL_INVOICE_TEXT_MAX];
    assert_int_equal(rill_invoice_create(stage->parties[to].wallet, coin, amount, 3600, "tea", text, NULL),
                     0);
    struct rill_request request = {.invoice = text, .mode = mode};
    return rill_pay(stage->parties[from].wallet, &request, NULL);
}

static bool first_paid_twice(void *context)
{
    const struct stage *stage = context;
    return stage->parties[0].paid >= 2 && stage->parties[1].received >= 2;
}

/* After a restart the payer may be back before the payee: a locked payment then fails with OFFLINE, which is the rule,
 * and is made again. Anything else that fails is a fault. */
static bool first_paid_twice_in_the_end(void *context)
{
    struct stage *stage = context;
    struct party *payer = &stage->parties[0];
    if (payer->failed > 0) {
        assert_int_equal(payer->code, 48);
        payer->failed = 0;
        assert_int_equal(pay(stage, 0, 1, 200000, RILL_LOCKED), 0);
    }
    return first_paid_twice(stage);
}

static bool third_paid(void *context)
{
    return ((struct stage *)context)->parties[2].paid >= 1;
}

static bool second_settled(void *context)
{
    return ((struct stage *)context)->parties[1].settled >= 1;
}

static void test_shared_ledger(void **state)
{
    (void)state;
    struct stage *stage = stage_make();
    deposit_for(stage, 0, 50000000);
    open_wallet(stage, 0, NULL);
    expect_soon(stage, is_funded, &stage->parties[0], "the first wallet is not funded");
    /* The second comes when the follower is far: its channel has been seen before it was there. */
    deposit_for(stage, 1, 20000000);
    deposit_for(stage, 2, 30000000);
    for (int i = 0; i < 20; i++)
        turn(stage->hub);
    open_wallet(stage, 1, NULL);
    open_wallet(stage, 2, NULL);
    expect_soon(stage, is_funded, &stage->parties[1], "the late wallet is not funded");
    expect_soon(stage, is_funded, &stage->parties[2], "the latest wallet is not funded");
    assert_int_equal(rill_open_request(stage->parties[1].wallet, coin, 900000), 0);
    expect_soon(stage, has_room, &stage->parties[1], "the hub makes no room");

    assert_int_equal(pay(stage, 0, 1, 1000, RILL_DIRECT), 0);
    assert_int_equal(pay(stage, 0, 1, 200000, RILL_LOCKED), 0);
    expect_soon(stage, first_paid_twice, stage, "not paid");
    /* A wallet may be closed in its own callback. */
    stage->parties[2].closes_when_paid = true;
    assert_int_equal(pay(stage, 2, 1, 1000, RILL_DIRECT), 0);
    expect_soon(stage, third_paid, stage, "the third has not paid");
    assert_null(stage->parties[2].wallet);

    assert_int_equal(rill_withdraw(stage->parties[1].wallet, coin, 5000), 0);
    expect_soon(stage, second_settled, stage, "not paid out");
    stage_drop(stage);
}

static bool ready_again(void *context)
{
    return ((struct party *)context)->readies >= 2 && rill_is_idle(((struct party *)context)->wallet);
}

static void test_hub_killed_meanwhile(void **state)
{
    (void)state;
    struct stage *stage = stage_make();
    char folder[160], port[32];
    snprintf(folder, sizeof(folder), "%s/wallet", stage->hub->folder);
    deposit_for(stage, 0, 50000000);
    deposit_for(stage, 1, 20000000);
    open_wallet(stage, 0, folder);
    open_wallet(stage, 1, NULL);
    expect_soon(stage, is_funded, &stage->parties[0], "the first wallet is not funded");
    expect_soon(stage, is_funded, &stage->parties[1], "the second wallet is not funded");
    assert_int_equal(rill_open_request(stage->parties[1].wallet, coin, 900000), 0);
    expect_soon(stage, has_room, &stage->parties[1], "the hub makes no room");
    assert_int_equal(pay(stage, 0, 1, 1000, RILL_DIRECT), 0);
    assert_int_equal(pay(stage, 0, 1, 200000, RILL_LOCKED), 0);
    turn(stage->hub); /* the updates are on their way, or not */
    snprintf(port, sizeof(port), "127.0.0.1:%u", stage->hub->hub_port);
    hub_kill(stage->hub);
    hub_start(stage->hub, (const char *const[]){"--settle-interval-s", "1", "--min-lock", "1000", "--listen",
                                                port, "--shards", "1", NULL});
    expect_soon(stage, first_paid_twice_in_the_end, stage, "not paid after the hub came back");
    expect_soon(stage, ready_again, &stage->parties[0], "not in step again");

    /* The folder, opened again, knows what was paid. */
    struct rill_balance before, after;
    assert_true(rill_balance_of(stage->parties[0].wallet, coin, &before));
    rill_close_handle(stage->parties[0].wallet);
    stage->parties[0].readies = 0;
    rill_close_handle(stage->parties[1].wallet);
    stage->parties[1].wallet = NULL;
    open_wallet(stage, 0, folder);
    assert_true(rill_balance_of(stage->parties[0].wallet, coin, &after));
    assert_int_equal(before.balance, after.balance);
    assert_int_equal(before.balance, 50000000 - 201000 - 203);
    stage_drop(stage);
}

/* ---- closes ---- */

static bool is_challenged(void *context)
{
    return strstr(((struct party *)context)->step, "answered") != NULL;
}

static bool is_started(void *context)
{
    return strstr(((struct party *)context)->step, "started by this wallet") != NULL;
}

static bool is_closed(void *context)
{
    return ((struct party *)context)->closed;
}

/* Two wallets; the first has paid the second, which has coins for gas. */
static struct stage *stage_paid(void)
{
    struct stage *stage = stage_make();
    struct address second;
    deposit_for(stage, 0, 50000000);
    deposit_for(stage, 1, 20000000);
    open_wallet(stage, 0, NULL);
    open_wallet(stage, 1, NULL);
    expect_soon(stage, is_funded, &stage->parties[0], "the first wallet is not funded");
    expect_soon(stage, is_funded, &stage->parties[1], "the second wallet is not funded");
    assert_int_equal(rill_open_request(stage->parties[1].wallet, coin, 900000), 0);
    expect_soon(stage, has_room, &stage->parties[1], "the hub makes no room");
    assert_int_equal(pay(stage, 0, 1, 1000, RILL_DIRECT), 0);
    assert_int_equal(pay(stage, 0, 1, 200000, RILL_LOCKED), 0);
    expect_soon(stage, first_paid_twice, stage, "not paid");
    memcpy(second.bytes, stage->parties[1].address, sizeof(second.bytes));
    send_coins(stage->hub, &stage->hub->hub, &second, 1000000000);
    return stage;
}

/* The hub closes as if it had never paid: the wallet shows what it has, and the hub loses what it hid. */
static void test_hub_cheats(void **state)
{
    (void)state;
    struct stage *stage = stage_paid();
    struct party *victim = &stage->parties[1];
    struct rill_balance balance;
    assert_true(rill_balance_of(victim->wallet, coin, &balance));
    hub_kill(stage->hub);
    struct contract_call lie = {.function = CONTRACT_START_CLOSE};
    memcpy(lie.key.client.bytes, victim->address, sizeof(victim->address));
    ledger_call_as(stage->hub, &stage->hub->hub, &lie, 0);
    expect_soon(stage, is_challenged, victim, "the wallet does not answer");
    for (int i = 0; i < 30; i++)
        turn(stage->hub);
    advance(stage->hub, 4000 + 1500 + 10);
    expect_soon(stage, is_closed, victim, "the close does not end");
    assert_int_equal(balance.balance, 20000000 + 201000);
    /* What was hidden is the penalty, all of it the victim's. */
    assert_int_equal(victim->paid_out, balance.balance + 201000);
    stage_drop(stage);
}

static void test_dispute(void **state)
{
    (void)state;
    struct stage *stage = stage_paid();
    struct party *party = &stage->parties[1];
    hub_kill(stage->hub);
    assert_int_equal(rill_dispute(party->wallet, coin), 0);
    expect_soon(stage, is_started, party, "the close does not start");
    advance(stage->hub, 4000 + 1500 + 10);
    expect_soon(stage, is_closed, party, "the close does not end");
    assert_int_equal(party->paid_out, 20000000 + 201000);
    stage_drop(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_ledger),
        cmocka_unit_test(test_hub_killed_meanwhile),
        cmocka_unit_test(test_hub_cheats),
        cmocka_unit_test(test_dispute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
