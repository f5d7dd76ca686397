/* Payments of a wallet, both ways: what is signed, answered, refused, sent back. */
#include "wallet_world.h"

/* ---- out ---- */

static void test_pay_direct(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_AUTO, &id), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world->operation_count, 1);
    assert_int_equal(world->operations[0].type, OPERATION_PAY);
    assert_int_equal(world->operations[0].fee.units, 2); /* 1 + 1000 * 1000 / 10^6 */
    assert_true(address_equal(&world->operations[0].peer, &world->payee));
    assert_int_equal(world_channel(world).unsecured.units, 1002);
    world_reveal(world, &id, 7);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_PAID);
    assert_non_null(news);
    assert_true(news->payment.has_secret);
    assert_int_equal(news->payment.secret[0], 7);
    assert_int_equal(world_channel(world).unsecured.units, 0);
    assert_int_equal(world_channel(world).balance.units, 100000 - 1002);
    world_free(world);
}

static void test_pay_locked(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_AUTO, &id), CODE_OK);
    assert_int_equal(world->operations[0].type, OPERATION_LOCK);
    assert_int_equal(world_channel(world).locked.units, 20021);
    world_reveal(world, &id, 7);
    assert_non_null(world_news(world, WALLET_NEWS_PAID));
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world_channel(world).locked.units, 0);
    assert_int_equal(world_state(world, &id), OUT_PAID);
    world_free(world);
}

static void test_locked_payment_fails(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    assert_true(channel_mark_failed(world->machine, &id));
    struct failed item = {id, CODE_OFFLINE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &item, 1}});
    world_run(world);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_FAILED);
    assert_non_null(news);
    assert_int_equal(news->code, CODE_OFFLINE);
    assert_int_equal(world->operations[0].type, OPERATION_CANCEL);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world_channel(world).frozen.units, 20021);
    assert_int_equal(world_state(world, &id), OUT_DROPPED);
    /* Until the hub gives up the old proofs, the same secret must not be paid for again. */
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, NULL), CODE_DUPLICATE);
    uint64_t due = channel_revocation_due(world->machine);
    struct signature signature = channel_revoke(world->machine, &world->domain, &world->hub_key, due);
    wallet_message(world->core,
                   &(struct message){.type = MESSAGE_REVOKE, .revoke = {world->id, due, signature}});
    world_run(world);
    assert_int_equal(world_channel(world).frozen.units, 0);
    assert_int_equal(world_state(world, &id), OUT_FAILED);
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, NULL), CODE_OK);
    world_free(world);
}

/* Until the hub has given up the old proofs it may still collect: only then is it said that the money is back. */
static void test_failed_is_not_back(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    assert_true(channel_mark_failed(world->machine, &id));
    struct failed item = {id, CODE_OFFLINE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &item, 1}});
    world_run(world);
    assert_int_not_equal(world_news(world, WALLET_NEWS_FAILED)->payment.state, OUT_FAILED);
    assert_null(world_news(world, WALLET_NEWS_RETURNED));
    uint64_t due = channel_revocation_due(world->machine);
    struct signature signature = channel_revoke(world->machine, &world->domain, &world->hub_key, due);
    wallet_message(world->core,
                   &(struct message){.type = MESSAGE_REVOKE, .revoke = {world->id, due, signature}});
    world_run(world);
    assert_int_equal(world_news(world, WALLET_NEWS_RETURNED)->payment.state, OUT_FAILED);
    assert_int_equal(world_news(world, WALLET_NEWS_RETURNED)->code, CODE_OFFLINE);
    world_free(world);
}

/* The hub asks for more when it comes back: what was asked for before is not paid at that. */
static void test_fee_that_rises(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id shown, allowed, paid;
    world_unlinked(world);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, &shown), CODE_OK);
    uint8_t secret[32];
    struct payment_request request = {.id = world_new_id(world),
                                      .payee = world->payee,
                                      .asset = world->key.asset,
                                      .amount = {1000},
                                      .secret_hash = world_secret_hash(2, secret),
                                      .mode = PAYMENT_DIRECT,
                                      .fee_max = {50}};
    allowed = request.id;
    assert_int_equal(wallet_pay(world->core, &request), CODE_OK);
    world->terms.assets[0].base_fee = amount_of(40);
    world_linked(world);
    assert_int_equal(world_state(world, &shown), OUT_FAILED);
    assert_int_equal(world_news(world, WALLET_NEWS_FAILED)->code, CODE_FEE);
    assert_int_equal(world_state(world, &allowed), OUT_DIRECT);
    assert_int_equal(world->operations[0].fee.units, 41);
    assert_int_equal(world_pay(world, 1000, 3, PAYMENT_DIRECT, &paid), CODE_OK); /* asked for as it is now */
    assert_int_equal(world_state(world, &paid), OUT_DIRECT);
    world_free(world);
}

/* Before any terms are known there is a bound, too. */
static void test_fee_that_nobody_knew(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    struct payment_id dear, fair;
    world_fund(world, 100000, 100000);
    assert_int_equal(world_pay(world, 30, 1, PAYMENT_DIRECT, &dear), CODE_OK);
    assert_int_equal(world_pay(world, 100, 2, PAYMENT_DIRECT, &fair), CODE_OK);
    world->terms.assets[0].base_fee = amount_of(50);
    world_linked(world);
    assert_int_equal(world_state(world, &dear), OUT_FAILED);
    assert_int_equal(world_news(world, WALLET_NEWS_FAILED)->code, CODE_FEE);
    assert_int_equal(world_state(world, &fair), OUT_DIRECT);
    world_free(world);
}

static void test_locked_payment_expires(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    world_head(world, 1200);
    assert_int_equal(world->operations[0].type, OPERATION_EXPIRE);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world_state(world, &id), OUT_DROPPED);
    /* A secret that comes now changes nothing. */
    world_reveal(world, &id, 7);
    assert_null(world_news(world, WALLET_NEWS_PAID));
    world_free(world);
}

/* Shown too late it obliges to nothing, unless the ledger registered it in time. */
static void test_late_secret(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    world_head(world, 630);
    unsigned updates = world->counts[MESSAGE_UPDATE];
    world_reveal(world, &id, 7);
    assert_int_equal(world->counts[MESSAGE_UPDATE], updates);
    assert_int_equal(world_state(world, &id), OUT_LOCKED);
    uint8_t secret[32];
    struct contract_event event = {.type = EVENT_CONDITION_MET, .condition = world_secret_hash(7, secret)};
    memcpy(event.witness.bytes, secret, 32);
    world_event(world, event);
    world_head(world, 5);
    assert_non_null(world_news(world, WALLET_NEWS_PAID));
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world_state(world, &id), OUT_PAID);
    world_free(world);
}

static void test_refund_by_the_hub(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, &id), CODE_OK);
    world_send(world,
               &(struct operation){.type = OPERATION_REFUND, .id = id, .amount = {500}, .code = CODE_PAYEE});
    assert_int_equal(world_state(world, &id), OUT_DIRECT); /* another amount means nothing */
    world_send(world,
               &(struct operation){.type = OPERATION_REFUND, .id = id, .amount = {1002}, .code = CODE_PAYEE});
    assert_int_equal(world_state(world, &id), OUT_FAILED);
    assert_int_equal(world_news(world, WALLET_NEWS_FAILED)->code, CODE_PAYEE);
    assert_int_equal(world_channel(world).unsecured.units, 0);
    assert_int_equal(world_channel(world).balance.units, 100500);
    world_free(world);
}

static void test_wrong_secret_is_an_error(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, &id), CODE_OK);
    world_reveal(world, &id, 8);
    assert_int_equal(world->last_error.error.code, CODE_WITNESS);
    assert_int_equal(world_state(world, &id), OUT_DIRECT);
    world_free(world);
}

static void test_never_pays_twice(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, &id), CODE_OK);
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, NULL), CODE_DUPLICATE);
    world_reveal(world, &id, 7);
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, NULL), CODE_PAID);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_LOCKED, NULL), CODE_PAID);
    world_free(world);
}

static void test_max_unsecured(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world->options.limits = (struct wallet_limits){.unsecured = 5000, .unsecured_per_payee = 3000};
    world_crash(world, memory_journal_appended(world->journal));
    world_fund(world, 100000, 100000);
    world_linked(world);
    struct payment_id first;
    assert_int_equal(world_pay(world, 2000, 1, PAYMENT_DIRECT, &first), CODE_OK);
    assert_int_equal(world_pay(world, 1500, 2, PAYMENT_DIRECT, NULL), CODE_LIMIT);
    assert_int_equal(world_pay(world, 1500, 2, PAYMENT_AUTO, NULL),
                     CODE_OK); /* it goes with a lock instead */
    assert_int_equal(world->operations[0].type, OPERATION_LOCK);
    world->payee = address_filled(0x77);
    assert_int_equal(world_pay(world, 2900, 3, PAYMENT_DIRECT, NULL), CODE_OK);
    world->payee = address_filled(0x78);
    assert_int_equal(world_pay(world, 500, 4, PAYMENT_DIRECT, NULL),
                     CODE_LIMIT); /* the sum over all payees */
    world_reveal(world, &first, 1);
    assert_int_equal(world_pay(world, 500, 4, PAYMENT_DIRECT, NULL), CODE_OK);
    world_free(world);
}

/* What the hub may take without a receipt is not for it to raise. */
static void test_limits_do_not_follow_the_hub_up(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world->terms.assets[0].direct_limit = amount_of(1000000);
    world_linked(world);
    assert_int_equal(world_pay(world, 41000, 1, PAYMENT_DIRECT, NULL), CODE_LIMIT); /* 4 x 10000 */
    assert_int_equal(world_pay(world, 39000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    world_unlinked(world);
    world->terms.assets[0].direct_limit = amount_of(100);
    world_linked(world);
    assert_int_equal(world_pay(world, 10, 2, PAYMENT_DIRECT, NULL), CODE_LIMIT);
    world_free(world);
}

static void test_refused_requests(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct address payee = world->payee;
    world->payee = world->client;
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_AUTO, NULL), CODE_PAYEE);
    world->payee = world->hub;
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_AUTO, NULL), CODE_PAYEE);
    world->payee = payee;
    assert_int_equal(world_pay(world, 0, 1, PAYMENT_AUTO, NULL), CODE_AMOUNT);
    assert_int_equal(world_pay(world, 99, 1, PAYMENT_LOCKED, NULL), CODE_AMOUNT);
    assert_int_equal(world_pay(world, 99500, 1, PAYMENT_LOCKED, NULL),
                     CODE_AVAILABLE); /* the reserve stays */
    world->key.asset = address_filled(0xbb);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_AUTO, NULL), CODE_CHANNEL);
    assert_int_equal(channel_own(wallet_channel_by_id(world->core, &world->id)->channel)->proof.nonce, 0);
    world_free(world);
}

/* Payments that wait are one update, and at most 64 are unacknowledged. */
static void test_batching_and_window(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    for (uint8_t i = 1; i <= 10; i++) {
        uint8_t secret[32];
        struct payment_request request = {.id = world_new_id(world),
                                          .payee = world->payee,
                                          .asset = world->key.asset,
                                          .amount = {10},
                                          .secret_hash = world_secret_hash(i, secret),
                                          .mode = PAYMENT_DIRECT};
        assert_int_equal(wallet_pay(world->core, &request), CODE_OK);
    }
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 1);
    assert_int_equal(world->operation_count, 10);
    world->deaf = true;
    for (uint8_t i = 0; i < 70; i++)
        assert_int_equal(world_pay(world, 10, (uint8_t)(20 + i), PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 1 + UNACKNOWLEDGED_MAX);
    world->deaf = false;
    wallet_message(world->core, &(struct message){.type = MESSAGE_ACK, .ack = {world->id, 10}});
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_UPDATE],
                     1 + UNACKNOWLEDGED_MAX + 1); /* the six that waited, together */
    assert_int_equal(world->operation_count, 6);
    world_free(world);
}

/* More than one update can carry: the first ones are full, in the order that was asked for, and none waits for another's
 * acknowledgement. */
static void test_more_than_an_update_holds(void **state)
{
    enum { PAYMENTS = 1500, FULL = 601 }; /* 601 payments without memo fill 64 KiB */
    (void)state;
    struct world *world = world_ready(0);
    world->deaf = true;
    struct payment_id last;
    for (uint32_t i = 0; i < PAYMENTS; i++) {
        struct payment_request request = {.id = world_new_id(world),
                                          .payee = world->payee,
                                          .asset = world->key.asset,
                                          .amount = {1},
                                          .secret_hash = keccak256(&i, sizeof(i)),
                                          .mode = PAYMENT_DIRECT};
        last = request.id;
        assert_int_equal(wallet_pay(world->core, &request), CODE_OK);
    }
    world_run(world);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 3);
    assert_int_equal(world->operation_count, PAYMENTS - 2 * FULL);
    assert_true(payment_id_equal(&world->operations[world->operation_count - 1].id, &last));
    assert_int_equal(channel_own(wallet_channel_by_id(world->core, &world->id)->channel)->proof.nonce, 3);
    assert_int_equal(world_channel(world).unsecured.units, PAYMENTS * 3);
    world_free(world);
}

/* ---- in ---- */

static struct invoice make_invoice(struct world *world, uint64_t amount)
{
    struct invoice invoice;
    struct amount units = {amount};
    assert_int_equal(
        wallet_invoice(world->core, &world->key.asset, units, 3600, "tea", world->unix_s, &invoice), CODE_OK);
    world_run(world);
    return invoice;
}

static struct operation payment_of(struct world *world, const struct invoice *invoice, uint64_t amount,
                                   bool locked)
{
    return (struct operation){.type = locked ? OPERATION_LOCK : OPERATION_PAY,
                              .id = world_new_id(world),
                              .amount = {amount},
                              .expiry = world->head.confirmed_time + 1000,
                              .condition = invoice->secret_hash};
}

static void test_receive_direct(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = payment_of(world, &invoice, 500, false);
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    struct hash shown = condition_of_secret(world->reveals[0].witness.bytes);
    assert_true(hash_equal(&shown, &invoice.secret_hash));
    assert_non_null(world_news(world, WALLET_NEWS_RECEIVED));
    assert_int_equal(world_channel(world).balance.units, 100500);
    assert_int_equal(world->machine->acknowledged, 1);
    world_free(world);
}

static void test_receive_locked(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = payment_of(world, &invoice, 500, true);
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    assert_null(world_news(world, WALLET_NEWS_RECEIVED)); /* not before the lock is the payee's */
    assert_int_equal(world_channel(world).incoming.units, 500);
    world_send(world, &(struct operation){
                          .type = OPERATION_UNLOCK, .lock_id = 1, .witness = world->reveals[0].witness});
    assert_non_null(world_news(world, WALLET_NEWS_RECEIVED));
    assert_int_equal(world_channel(world).balance.units, 100500);
    world_free(world);
}

static void expect_refund(struct world *world, const struct operation *payment, enum code code)
{
    assert_int_equal(world->operation_count, 1);
    assert_int_equal(world->operations[0].type, OPERATION_REFUND);
    assert_int_equal(world->operations[0].code, code);
    assert_int_equal(world->operations[0].amount.units, payment->amount.units);
    assert_true(payment_id_equal(&world->operations[0].id, &payment->id));
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
}

static void test_wrong_payments_are_sent_back(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500), unknown = {.expiry = 0};
    struct operation payment = payment_of(world, &invoice, 499, false);
    world_send(world, &payment);
    expect_refund(world, &payment, CODE_AMOUNT);
    payment = payment_of(world, &unknown, 500, false);
    world_send(world, &payment);
    expect_refund(world, &payment, CODE_INVOICE);
    payment = payment_of(world, &invoice, 500, false);
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    struct operation second = payment_of(world, &invoice, 500, false);
    world_send(world, &second);
    expect_refund(world, &second, CODE_PAID);
    /* The same id again: the money goes back and the first outcome is said again. */
    world_send(world, &payment);
    expect_refund(world, &payment, CODE_DUPLICATE);
    assert_int_equal(world->reveal_count, 2);
    struct invoice old = make_invoice(world, 500);
    world_head(world, 3700);
    payment = payment_of(world, &old, 500, false);
    world_send(world, &payment);
    expect_refund(world, &payment, CODE_EXPIRED);
    assert_int_equal(world_channel(world).balance.units, 100500);
    world_free(world);
}

static void test_wrong_locks_are_failed(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = payment_of(world, &invoice, 501, true);
    world_send(world, &payment);
    assert_int_equal(world->fail_count, 1);
    assert_int_equal(world->fails[0].code, CODE_AMOUNT);
    payment = payment_of(world, &invoice, 500, true);
    payment.expiry = world->head.confirmed_time + 120; /* too close: 2 margins */
    world_send(world, &payment);
    assert_int_equal(world->fails[1].code, CODE_EXPIRED);
    payment = payment_of(world, &invoice, 500, true);
    payment.kind = LOCK_ATTESTATION;
    world_send(world, &payment);
    assert_int_equal(world->fails[2].code, CODE_INVOICE);
    assert_int_equal(world->reveal_count, 0);
    /* The hub takes the first back; without towers REVOKE follows at once. */
    world_send(world, &(struct operation){.type = OPERATION_CANCEL, .lock_id = 1});
    assert_int_equal(world->counts[MESSAGE_REVOKE], 1);
    assert_int_equal(stream_dropped(&world->machine->streams[SIDE_HUB])->frozen.units, 0);
    world_free(world);
}

static bool count_visit(void *context, const struct payment_view *payment)
{
    (void)payment;
    ++*(size_t *)context;
    return true;
}

static size_t history_count(const struct world *world)
{
    size_t count = 0;
    wallet_history(world->core, count_visit, &count);
    return count;
}

static void draft(struct world *world, const struct operation *operation)
{
    struct channel_view view = world_view(world);
    assert_int_equal(channel_add(world->machine, &view, operation, NULL), CODE_OK);
}

/* A stranger's payments go back, for next to nothing: what is kept of them has an end, and what was received is not
 * what gives way. */
static void test_a_flood_of_wrong_payments(void **state)
{
    (void)state;
    enum { BATCH = 100, BATCHES = 11 };
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500), unknown = {.expiry = 0};
    struct operation good = payment_of(world, &invoice, 500, false), first, last = {0};
    world_send(world, &good);
    first = payment_of(world, &unknown, 1, false);
    world_send(world, &first);
    for (int batch = 0; batch < BATCHES; batch++) {
        for (int i = 0; i < BATCH; i++) {
            last = payment_of(world, &unknown, 1, false);
            draft(world, &last);
        }
        world_send_draft(world);
        assert_int_equal(world->operation_count, BATCH);
        assert_int_equal(world->operations[BATCH - 1].type, OPERATION_REFUND);
    }
    assert_int_equal(history_count(world), REFUSED_KEPT_MAX + 1);
    assert_int_equal(world_state(world, &good.id), IN_RECEIVED);
    assert_int_equal(world_state(world, &last.id), IN_REFUNDED);
    struct payment_view view;
    assert_false(wallet_payment_find(world->core, &first.id, &view));
    world_crash(world, memory_journal_appended(world->journal));
    assert_int_equal(history_count(world), REFUSED_KEPT_MAX + 1);
    assert_false(wallet_payment_find(world->core, &first.id, &view));
    /* An id that comes again goes back again, whether or not the first time is remembered. */
    world_linked(world);
    world_send(world, &last);
    expect_refund(world, &last, CODE_DUPLICATE);
    world_send(world, &first);
    expect_refund(world, &first, CODE_INVOICE);
    assert_int_equal(world_channel(world).balance.units, 100500);
    world_free(world);
}

/* Locks that are failed and taken back cost nothing at all. */
static void test_a_flood_of_wrong_locks(void **state)
{
    (void)state;
    enum { BATCH = 50, BATCHES = 21 };
    struct world *world = world_ready(0);
    struct invoice unknown = {.expiry = 0};
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        for (int i = 0; i < BATCH; i++) {
            struct operation lock = payment_of(world, &unknown, 100, true);
            draft(world, &lock);
        }
        world_send_draft(world);
        world->fail_count = 0;
        const struct lock_set *locks = world->machine->streams[SIDE_HUB].locks;
        uint64_t ids[BATCH];
        size_t count = 0;
        for (const struct pending_lock *at = lock_set_next(locks, 0); at != NULL;
             at = lock_set_next(locks, at->lock.id))
            ids[count++] = at->lock.id;
        assert_int_equal(count, BATCH);
        for (size_t i = 0; i < count; i++)
            draft(world, &(struct operation){.type = OPERATION_CANCEL, .lock_id = ids[i]});
        world_send_draft(world);
    }
    assert_int_equal(history_count(world), REFUSED_KEPT_MAX);
    world_free(world);
}

static void test_open_amount(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 0);
    struct operation payment = payment_of(world, &invoice, 123, false);
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    world_free(world);
}

/* Not unlocked when the margin begins: the secret goes to the ledger, once. */
static void test_registers_in_time(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = payment_of(world, &invoice, 500, true);
    world_send(world, &payment);
    world_head(world, 900);
    assert_int_equal(world->transaction_count, 0);
    world_head(world, 45);
    assert_int_equal(world->transaction_count, 1);
    assert_int_equal(world->transactions[0].call.function, CONTRACT_REGISTER_SECRET);
    world_head(world, 5);
    assert_int_equal(world->transaction_count, 1);
    struct contract_event event = {.type = EVENT_CONDITION_MET,
                                   .condition = invoice.secret_hash,
                                   .witness = world->transactions[0].call.hash};
    world_event(world, event);
    wallet_outcome(world->core, world->transactions[0].id, LEDGER_OK, true, CONTRACT_OK);
    world_head(world, 5);
    /* Now an unlock with an empty witness is good. */
    world_send(world, &(struct operation){.type = OPERATION_UNLOCK, .lock_id = 1});
    assert_non_null(world_news(world, WALLET_NEWS_RECEIVED));
    world_free(world);
}

/* A secret is never derived twice, whatever is lost. */
static void test_invoice_counters(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice first = make_invoice(world, 1), second = make_invoice(world, 1);
    assert_false(hash_equal(&first.secret_hash, &second.secret_hash));
    world_crash(world, memory_journal_appended(world->journal));
    struct invoice third = make_invoice(world, 1);
    assert_false(hash_equal(&third.secret_hash, &second.secret_hash));
    uint64_t before = world->core->counter;
    world_crash(world, 0); /* all is lost, an hour of leading counters later */
    world->unix_s += 10;
    world_fund(world, 100, 100);
    (void)make_invoice(world, 1);
    assert_true(world->core->counter > before);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pay_direct),
        cmocka_unit_test(test_pay_locked),
        cmocka_unit_test(test_locked_payment_fails),
        cmocka_unit_test(test_failed_is_not_back),
        cmocka_unit_test(test_fee_that_rises),
        cmocka_unit_test(test_fee_that_nobody_knew),
        cmocka_unit_test(test_locked_payment_expires),
        cmocka_unit_test(test_late_secret),
        cmocka_unit_test(test_refund_by_the_hub),
        cmocka_unit_test(test_wrong_secret_is_an_error),
        cmocka_unit_test(test_never_pays_twice),
        cmocka_unit_test(test_max_unsecured),
        cmocka_unit_test(test_limits_do_not_follow_the_hub_up),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_batching_and_window),
        cmocka_unit_test(test_more_than_an_update_holds),
        cmocka_unit_test(test_receive_direct),
        cmocka_unit_test(test_receive_locked),
        cmocka_unit_test(test_wrong_payments_are_sent_back),
        cmocka_unit_test(test_wrong_locks_are_failed),
        cmocka_unit_test(test_a_flood_of_wrong_payments),
        cmocka_unit_test(test_a_flood_of_wrong_locks),
        cmocka_unit_test(test_open_amount),
        cmocka_unit_test(test_registers_in_time),
        cmocka_unit_test(test_invoice_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
