/* Settlements as the client sees them (protocol.md, section 8): what it signs, what it refuses, how each
 * ends. */
#include "wallet_world.h"

/* The hub proposes; returns whether the wallet signed. */
static bool propose(struct world *world, uint64_t client_out, uint64_t hub_out, uint64_t deadline, bool close)
{
    unsigned signs = world->counts[MESSAGE_SETTLE_SIGN];
    world->last_error.error.code = 0;
    struct amount client = {client_out}, hub = {hub_out};
    assert_int_equal(channel_propose(world->machine, client, hub, deadline, close), CODE_OK);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLE_PROPOSE,
                                                  .settle_propose = {.channel = world->id,
                                                                     .seq = world->machine->funds.seq + 1,
                                                                     .client_out = client,
                                                                     .hub_out = hub,
                                                                     .deadline = deadline,
                                                                     .close = close}});
    world_run(world);
    bool did = world->counts[MESSAGE_SETTLE_SIGN] > signs;
    if (!did) {
        assert_int_equal(world->last_error.error.code, CODE_SETTLE);
        assert_int_equal(world->last_error.error.reference.nonce, world->machine->funds.seq + 1);
        channel_settle_refused(world->machine);
    }
    return did;
}

static uint64_t soon(const struct world *world)
{
    return world->head.confirmed_time + 600;
}

/* The ledger settles what was signed. */
static void settle(struct world *world, bool close)
{
    const struct settlement settlement = *channel_settlement(world->machine);
    world_event(world, (struct contract_event){.type = EVENT_SETTLED,
                                               .seq = settlement.seq,
                                               .client_out = settlement.client_out,
                                               .hub_out = settlement.hub_out,
                                               .close = close});
    struct channel_funds funds = world->machine->funds;
    funds.seq++;
    funds.total.units -= settlement.client_out.units + settlement.hub_out.units;
    funds.base -= (int64_t)settlement.client_out.units;
    if (close)
        funds = (struct channel_funds){.seq = funds.seq, .stage = STAGE_CLOSED};
    (void)channel_set_funds(world->machine, &funds);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLED,
                                                  .settled = {.channel = world->id, .seq = settlement.seq}});
    world_head(world, 5);
}

static void test_withdraw(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(99500)),
                     CODE_AMOUNT); /* the reserve stays */
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(40000)), CODE_OK);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(1)), CODE_SETTLE);
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    assert_int_equal(world->last_settle.settle_request.amount.units, 40000);
    assert_true(propose(world, 40000, 0, soon(world), false));
    assert_int_equal(world_channel(world).settling.units, 40000);
    assert_int_equal(world_pay(world, 60000, 1, PAYMENT_LOCKED, NULL), CODE_AVAILABLE);
    settle(world, false);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_SETTLEMENT);
    assert_non_null(news);
    assert_int_equal(news->outcome, 0);
    assert_int_equal(news->amount.units, 40000);
    assert_int_equal(world_channel(world).balance.units, 60000);
    assert_int_equal(world_channel(world).settling.units, 0);
    assert_int_equal(world_pay(world, 20000, 1, PAYMENT_LOCKED, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

static void test_signs_only_what_it_should(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_false(propose(world, 10, 0, soon(world), false));         /* not asked for */
    assert_false(propose(world, 0, 10, soon(world) + 3600, false));  /* beyond the window */
    assert_false(propose(world, 100000, 100000, soon(world), true)); /* no close was asked for */
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(500)), CODE_OK);
    world_run(world);
    assert_false(propose(world, 499, 0, soon(world), false));
    assert_true(
        propose(world, 0, 5000, soon(world), false)); /* the hub may take back what is idle meanwhile */
    settle(world, false);
    /* The wish is still there, and asked for again after the refusal. */
    world->now_ms += 2000;
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 2);
    assert_true(propose(world, 500, 0, soon(world), false));
    world_free(world);
}

static void test_close_together(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_LOCKED, &id), CODE_OK);
    assert_int_equal(wallet_close(world->core, &world->id), CODE_OK);
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 0); /* a lock is pending */
    assert_int_equal(world_pay(world, 1000, 2, PAYMENT_DIRECT, NULL), CODE_STATUS);
    world_reveal(world, &id, 1);
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    assert_true(world->last_settle.settle_request.close);
    uint64_t mine = world_channel(world).balance.units;
    assert_int_equal(mine, 100000 - 1002);
    assert_true(propose(world, mine, 200000 - mine, soon(world), true));
    settle(world, true);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_SETTLEMENT);
    assert_true(news->close);
    assert_int_equal(world_channel(world).stage, STAGE_CLOSED);
    assert_int_equal(wallet_deposit_salt(world->core, &world->key.asset), 1);
    assert_int_equal(world_pay(world, 1000, 3, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
    world_free(world);
}

static void test_deadline_passes(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(40000)), CODE_OK);
    world_run(world);
    assert_true(propose(world, 40000, 0, soon(world), false));
    world_head(world, 700);
    assert_int_equal(world_channel(world).settling.units, 40000); /* only when the hub has said so too */
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLED,
                                                  .settled = {.channel = world->id, .seq = 1, .outcome = 6}});
    world_head(world, 5);
    assert_int_equal(world_channel(world).settling.units, 0);
    assert_int_equal(world_news(world, WALLET_NEWS_SETTLEMENT)->outcome, 6);
    /* The same seq may be signed anew. */
    assert_true(channel_settle_expire(world->machine, world->head.confirmed_time));
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(300)), CODE_OK);
    world_run(world);
    assert_true(propose(world, 300, 0, soon(world), false));
    world_free(world);
}

/* It is signed, and dead before its answer could leave: a hub that hears nothing proposes nothing more. */
static void test_dead_proposal_is_answered(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_close(world->core, &world->id), CODE_OK);
    world_run(world);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLE_PROPOSE,
                                                  .settle_propose = {.channel = world->id,
                                                                     .seq = 1,
                                                                     .client_out = {100000},
                                                                     .hub_out = {100000},
                                                                     .deadline = soon(world),
                                                                     .close = true}});
    assert_int_equal(world_channel(world).settling.units, 100000);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLED,
                                                  .settled = {.channel = world->id, .seq = 1, .outcome = 6}});
    world_head(world, 700);
    assert_int_equal(world_channel(world).settling.units, 0);
    assert_int_equal(world->counts[MESSAGE_SETTLE_SIGN], 0);
    assert_int_equal(world->counts[MESSAGE_ERROR], 1);
    assert_int_equal(world->last_error.error.code, CODE_SETTLE);
    assert_int_equal(world->last_error.error.reference.type, MESSAGE_SETTLE_PROPOSE);
    assert_int_equal(world->last_error.error.reference.nonce, 1);
    assert_int_equal(wallet_close(world->core, &world->id), CODE_OK);
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 2);
    assert_true(propose(world, 100000, 100000, soon(world), true));
    settle(world, true);
    assert_int_equal(world_channel(world).stage, STAGE_CLOSED);
    world_free(world);
}

static void test_skipped_kills_nothing(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(40000)), CODE_OK);
    world_run(world);
    assert_true(propose(world, 40000, 0, soon(world), false));
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLED,
                                                  .settled = {.channel = world->id, .seq = 1, .outcome = 5}});
    world_run(world);
    assert_int_equal(world_channel(world).settling.units, 40000);
    settle(world, false);
    assert_int_equal(world_news(world, WALLET_NEWS_SETTLEMENT)->outcome, 0);
    world_free(world);
}

static void test_hub_refuses(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(40000)), CODE_OK);
    world_run(world);
    wallet_message(world->core, &(struct message){.type = MESSAGE_ERROR,
                                                  .error = {.code = CODE_AVAILABLE,
                                                            .text = {"no", 2},
                                                            .reference = {.present = true,
                                                                          .type = MESSAGE_SETTLE_REQUEST,
                                                                          .has_channel = true,
                                                                          .channel = world->id}}});
    world_run(world);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_SETTLEMENT);
    assert_int_equal(news->outcome, WALLET_SETTLEMENT_REFUSED);
    assert_int_equal(news->code, CODE_AVAILABLE);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(1)), CODE_OK);
    world_free(world);
}

/* A signature that is durable is sent again after a crash, and never another one for that seq. */
static void test_signature_survives(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(40000)), CODE_OK);
    world_run(world);
    world->unsynced = true;
    assert_int_equal(channel_propose(world->machine, amount_of(40000), amount_of(0), soon(world), false),
                     CODE_OK);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLE_PROPOSE,
                                                  .settle_propose = {.channel = world->id,
                                                                     .seq = 1,
                                                                     .client_out = {40000},
                                                                     .deadline = soon(world)}});
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_SIGN], 0);
    world_crash(world, memory_journal_appended(world->journal));
    world->unsynced = false;
    world_linked(world); /* CHANNEL shows it unsigned: it counts as proposed again */
    assert_int_equal(world->counts[MESSAGE_SETTLE_SIGN], 1);
    assert_int_equal(channel_settlement(world->machine)->phase, SETTLEMENT_SIGNED);
    settle(world, false);
    assert_int_equal(world_channel(world).balance.units, 60000);
    world_free(world);
}

/* A wish outlives a crash; one the hub never heard of is asked again. */
static void test_wish_survives(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_unlinked(world);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(40000)), CODE_OK);
    world_run(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    assert_int_equal(world->last_settle.settle_request.amount.units, 40000);
    world_free(world);
}

/* A ledger node that speaks of funds that cannot be is not believed, and stops nothing. */
static void test_impossible_funds_are_ignored(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    const struct contract_event impossible[] = {
        {.type = EVENT_FUNDED, .client_amount = {1}, .hub_amount = {AMOUNT_LIMIT - 1}},
        {.type = EVENT_FUNDED, .client_amount = {AMOUNT_LIMIT - 1}, .hub_amount = {AMOUNT_LIMIT - 1}},
        {.type = EVENT_SETTLED, .seq = 1, .client_out = {100000}, .hub_out = {100001}},
        {.type = EVENT_SETTLED, .seq = 1, .client_out = {AMOUNT_LIMIT - 1}, .hub_out = {AMOUNT_LIMIT - 1}}};
    for (size_t i = 0; i < ARRAY_LENGTH(impossible); i++) {
        world->news_count = 0;
        world_event(world, impossible[i]);
        world_head(world, 5);
        assert_non_null(world_news(world, WALLET_NEWS_TROUBLE));
        assert_int_equal(world_channel(world).total.units, 200000);
        assert_int_equal(world_channel(world).balance.units, 100000);
    }
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_withdraw),
        cmocka_unit_test(test_signs_only_what_it_should),
        cmocka_unit_test(test_close_together),
        cmocka_unit_test(test_deadline_passes),
        cmocka_unit_test(test_dead_proposal_is_answered),
        cmocka_unit_test(test_skipped_kills_nothing),
        cmocka_unit_test(test_hub_refuses),
        cmocka_unit_test(test_signature_survives),
        cmocka_unit_test(test_wish_survives),
        cmocka_unit_test(test_impossible_funds_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
