/* Secrets on the ledger: what was registered before its lock was made, and registering in time. */
#include "wallet_world.h"

static struct invoice make_invoice(struct world *world, uint64_t amount)
{
    struct invoice invoice;
    struct amount units = {amount};
    assert_int_equal(
        wallet_invoice(world->core, &world->key.asset, units, 3600, NULL, world->unix_s, &invoice), CODE_OK);
    world_run(world);
    return invoice;
}

static struct operation lock_for(struct world *world, const struct invoice *invoice)
{
    return (struct operation){.type = OPERATION_LOCK,
                              .id = world_new_id(world),
                              .amount = invoice->amount,
                              .expiry = world->head.confirmed_time + 1000,
                              .condition = invoice->secret_hash};
}

/* ---- conditions met before their lock was made ---- */

static void register_secret(struct world *world, const struct hash *condition, const uint8_t secret[32])
{
    struct contract_event event = {.type = EVENT_CONDITION_MET, .condition = *condition};
    memcpy(event.witness.bytes, secret, 32);
    world_event(world, event);
    world_head(world, 5);
}

static void restart(struct world *world)
{
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
}

/* The payee registers its secret, and then hands out the invoice, which is paid with a lock. */
static struct world *pay_what_was_registered(bool restarted, struct payment_id *id)
{
    struct world *world = world_ready(0);
    uint8_t secret[32];
    struct hash condition = world_secret_hash(7, secret);
    register_secret(world, &condition, secret);
    if (restarted)
        restart(world);
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, id), CODE_OK);
    return world;
}

/* A process of before has read the registration, and forgot it: nothing hung on it. What has run out is not taken back before
 * the ledger has been asked. */
static void test_registered_before_the_lock(void **state)
{
    (void)state;
    struct payment_id id;
    struct world *world = pay_what_was_registered(true, &id);
    unsigned updates = world->counts[MESSAGE_UPDATE];
    world_head(world, 1200);
    assert_int_equal(world->counts[MESSAGE_UPDATE], updates);
    assert_int_equal(world_state(world, &id), OUT_LOCKED);
    assert_null(world_news(world, WALLET_NEWS_FAILED));
    /* The hub, which has kept it, shows the secret: late, and good all the same. */
    world_reveal(world, &id, 7);
    assert_true(world_news(world, WALLET_NEWS_PAID)->payment.has_secret);
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world_state(world, &id), OUT_PAID);
    world_free(world);
}

/* The hub does not show it: what the ledger has is enough to unlock, and the receipt may come later. */
static void test_registered_before_the_lock_and_not_shown(void **state)
{
    (void)state;
    struct payment_id id;
    struct world *world = pay_what_was_registered(true, &id);
    world_head(world, 700);
    assert_int_equal(world_state(world, &id), OUT_LOCKED);
    restart(world); /* what was answered is kept */
    world->node_is_down = true;
    world_head(world, 5);
    assert_int_equal(world_state(world, &id), OUT_LOCKED); /* the hub has a while */
    world->now_ms += 10000;
    world_run(world);
    world_head(world, 5);
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world->operations[0].witness.length, 0);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world_state(world, &id), OUT_PAID);
    assert_false(world_news(world, WALLET_NEWS_PAID)->payment.has_secret);
    world_reveal(world, &id, 7);
    assert_true(world_news(world, WALLET_NEWS_PAID)->payment.has_secret);
    world_free(world);
}

/* The lock comes while the registration is still remembered: from then on both are on the disk. */
static void test_registration_is_kept_with_its_lock(void **state)
{
    (void)state;
    struct payment_id id;
    uint8_t secret[32];
    struct hash condition = world_secret_hash(7, secret);
    struct world *world = pay_what_was_registered(false, &id);
    restart(world);
    assert_non_null(wallet_ledger_registration(world->core, LOCK_SECRET, &condition));
    world_head(world, 1200);
    assert_int_equal(world->condition_answers, 0);
    assert_true(world_news(world, WALLET_NEWS_PAID)->payment.has_secret);
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

/* Without the ledger's word nothing is taken back: not by a process that had decided so, and died, either. */
static void test_expiry_waits_for_the_ledger(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    unsigned updates = world->counts[MESSAGE_UPDATE];
    world->node_is_down = true;
    world_head(world, 1200);
    assert_int_equal(world_state(world, &id), OUT_LOCKED);
    for (size_t i = 0; i < world->condition_ask_count; i++)
        wallet_answer(world->core, world->condition_asks[i].id, false, NULL, 0);
    world->condition_ask_count = 0;
    world_head(world, 5);
    assert_int_equal(world->condition_ask_count, 1); /* asked again, once */
    world_head(world, 5);
    assert_int_equal(world->condition_ask_count, 1);
    assert_int_equal(world->counts[MESSAGE_UPDATE], updates);
    world->node_is_down = false;
    world_run(world);
    assert_int_equal(world->operations[0].type, OPERATION_EXPIRE);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

/* What the hub has failed goes back by `cancel`, which needs no word of the ledger, however late. */
static void test_failed_lock_is_cancelled_after_its_expiry(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    world->node_is_down = true;
    world_head(world, 1200);
    assert_true(channel_mark_failed(world->machine, &id));
    struct failed item = {id, CODE_OFFLINE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &item, 1}});
    world_run(world);
    assert_int_equal(world->operations[0].type, OPERATION_CANCEL);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(world_state(world, &id), OUT_DROPPED);
    world_free(world);
}

static uint64_t never_registered(void *context, uint8_t kind, const struct hash *condition)
{
    (void)context;
    (void)kind;
    (void)condition;
    return 0;
}

/* A hub that says a lock to this wallet has run out, which the ledger has as met. */
static void expire_by_the_hub(struct world *world)
{
    struct channel_view view = world_view(world);
    view.registered_at = never_registered;
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = 1};
    assert_int_equal(channel_add(world->machine, &view, &expire, NULL), CODE_OK);
    world_send_draft(world);
}

static void test_hub_expires_what_was_registered_before(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    uint8_t secret[32];
    wallet_invoice_secret(world->core, world->core->counter, secret);
    register_secret(world, &invoice.secret_hash, secret);
    restart(world);
    struct operation payment = lock_for(world, &invoice);
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    world_head(world, 1100);
    expire_by_the_hub(world);
    assert_int_equal(world->last_error.error.code, CODE_NOT_EXPIRED);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 0);
    assert_int_equal(world_channel(world).incoming.units, 500);
    world_free(world);
}

/* Recovering, the wallet reads of the registration before it is shown the lock: it is kept with what is restored. */
static void test_registration_is_kept_with_a_restored_lock(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    uint8_t secret[32];
    wallet_invoice_secret(world->core, world->core->counter, secret);
    struct operation payment = lock_for(world, &invoice);
    world_send(world, &payment);
    world->options.recover = true;
    world_unlinked(world);
    world_crash(world, 0);
    world_event(world, (struct contract_event){
                           .type = EVENT_OPENED, .address = world->client, .other = world->key.asset});
    world_event(world, (struct contract_event){
                           .type = EVENT_FUNDED, .client_amount = {100000}, .hub_amount = {100000}});
    register_secret(world, &invoice.secret_hash, secret);
    world_linked(world);
    assert_int_equal(world_channel(world).incoming.units, 500);
    world->options.recover = false;
    restart(world);
    assert_non_null(wallet_ledger_registration(world->core, LOCK_SECRET, &invoice.secret_hash));
    world_head(world, 1100);
    expire_by_the_hub(world);
    assert_int_equal(world->condition_answers, 0);
    assert_int_equal(world->last_error.error.code, CODE_NOT_EXPIRED);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 0);
    world_free(world);
}

static void test_hub_expires_what_was_not_registered(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = lock_for(world, &invoice);
    world_send(world, &payment);
    world->node_is_down = true;
    world_head(world, 1100);
    expire_by_the_hub(world);
    assert_int_equal(world->counts[MESSAGE_REVOKE],
                     0); /* nothing is given up before the ledger has answered */
    assert_int_equal(world_channel(world).incoming.units, 500);
    world->node_is_down = false;
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 1);
    assert_int_equal(world_channel(world).incoming.units, 0);
    world_free(world);
}

/* ---- in time ---- */

/* The hub's margin of nothing does not bind this wallet: the secret goes to the ledger in time to be mined. */
static void test_margin_has_a_floor(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_unlinked(world);
    world->terms.reveal_margin_s = 0;
    world_linked(world);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = lock_for(world, &invoice);
    payment.expiry = world->head.time + 60; /* twice the own margin */
    world_send(world, &payment);
    assert_int_equal(world->fails[0].code, CODE_EXPIRED);
    invoice = make_invoice(world, 500);
    payment = lock_for(world, &invoice);
    payment.expiry = world->head.time + 61;
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    for (int i = 0; i < 6; i++)
        world_head(world, 5);
    assert_int_equal(world->transaction_count, 0);
    world_head(world, 1);
    assert_int_equal(world->transaction_count, 1);
    world_free(world);
}

/* What was accepted with a margin keeps it, whatever the hub says later, and over a restart. */
static void test_margin_is_not_lowered(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_unlinked(world);
    world->terms.reveal_margin_s = 190;
    world_linked(world);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = lock_for(world, &invoice);
    world_send(world, &payment);
    world->terms.reveal_margin_s = 0;
    restart(world);
    world_head(world, 809);
    assert_int_equal(world->transaction_count, 0);
    world_head(world, 1);
    assert_int_equal(world->transaction_count, 1);
    world_free(world);
}

/* Confirmed time lags by more than the margin; the registration has to be in time by the newest block. */
static void test_registers_by_the_newest_block(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world->head.number += 12;
    world->head.time += 144; /* twelve blocks of twelve seconds */
    world->unix_s += 144;
    world_head(world, 12);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = lock_for(world, &invoice);
    payment.expiry = world->head.time + 120;
    world_send(world, &payment);
    assert_int_equal(world->fails[0].code, CODE_EXPIRED); /* though the confirmed time is far from it */
    invoice = make_invoice(world, 500);
    payment = lock_for(world, &invoice);
    payment.expiry = world->head.time + 132;
    world_send(world, &payment);
    assert_int_equal(world->reveal_count, 1);
    for (int i = 0; i < 5; i++)
        world_head(world, 12);
    assert_int_equal(world->transaction_count, 0);
    world_head(world, 12); /* sixty left */
    assert_int_equal(world->transaction_count, 1);
    world_free(world);
}

/* Slow blocks make it longer than the setting. */
static void test_margin_follows_the_blocks(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world->head.number += 3;
    world->head.time += 75;
    world->unix_s += 75;
    for (int i = 0; i < 40; i++)
        world_head(world, 25);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = lock_for(world, &invoice);
    world_send(world, &payment);
    uint64_t left = payment.expiry - world->head.time;
    assert_true(left > 200);
    world_head(world, left - 101);
    assert_int_equal(world->transaction_count, 0);
    world_head(world, 5);
    assert_int_equal(world->transaction_count, 1); /* four blocks of twenty-five seconds */
    world_free(world);
}

/* Where blocks come on demand only, nothing but the clock says that it is time. */
static void test_registers_by_the_clock(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation payment = lock_for(world, &invoice);
    world_send(world, &payment);
    uint64_t due = wallet_next_ms(world->core);
    assert_true(due <= world->now_ms + 940000);
    world->unix_s += 939;
    world_run(world);
    assert_int_equal(world->transaction_count, 0);
    world->unix_s += 1;
    world_run(world);
    assert_int_equal(world->transaction_count, 1);
    /* It could not be sent: tried again, without a block. */
    wallet_outcome(world->core, world->transactions[0].id, LEDGER_UNREACHABLE, false, CONTRACT_OK);
    world->now_ms += 2000;
    world->unix_s += 2;
    world_run(world);
    assert_int_equal(world->transaction_count, 2);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registered_before_the_lock),
        cmocka_unit_test(test_registered_before_the_lock_and_not_shown),
        cmocka_unit_test(test_registration_is_kept_with_its_lock),
        cmocka_unit_test(test_expiry_waits_for_the_ledger),
        cmocka_unit_test(test_failed_lock_is_cancelled_after_its_expiry),
        cmocka_unit_test(test_hub_expires_what_was_registered_before),
        cmocka_unit_test(test_registration_is_kept_with_a_restored_lock),
        cmocka_unit_test(test_hub_expires_what_was_not_registered),
        cmocka_unit_test(test_margin_has_a_floor),
        cmocka_unit_test(test_margin_is_not_lowered),
        cmocka_unit_test(test_registers_by_the_newest_block),
        cmocka_unit_test(test_margin_follows_the_blocks),
        cmocka_unit_test(test_registers_by_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
