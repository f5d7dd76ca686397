/* Reconnects and crashes: identical bytes, outcomes asked for, secrets shown again, never two proofs with one
 * nonce. */
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

static struct operation payment_of(struct world *world, const struct invoice *invoice, bool locked)
{
    return (struct operation){.type = locked ? OPERATION_LOCK : OPERATION_PAY,
                              .id = world_new_id(world),
                              .amount = invoice->amount,
                              .expiry = world->head.confirmed_time + 1000,
                              .condition = invoice->secret_hash};
}

/* The hub missed three updates: they come again, byte for byte (world_witness_proof), after RESUME. */
static void test_resends_identical_bytes(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id lost;
    assert_int_equal(world_pay(world, 100, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    /* The connection dies before these leave: they are signed and durable, and nobody has seen them. */
    world->unsynced = true;
    assert_int_equal(world_pay(world, 100, 2, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world_pay(world, 100, 3, PAYMENT_DIRECT, &lost), CODE_OK);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 1);
    memory_journal_sync(world->journal, memory_journal_appended(world->journal));
    world->unsynced = false;
    world_unlinked(world);
    world_linked(world);
    assert_true(world->resumed);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 2);
    assert_int_equal(world->machine->streams[SIDE_CLIENT].proof.nonce, 3);
    /* Again, with the acknowledgements lost on the way. */
    world->deaf = true;
    assert_int_equal(world_pay(world, 100, 4, PAYMENT_DIRECT, NULL), CODE_OK);
    world->deaf = false;
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 0); /* CHANNEL says that the hub has it */
    assert_true(wallet_is_idle(world->core));
    world_reveal(world, &lost, 3);
    assert_non_null(world_news(world, WALLET_NEWS_PAID));
    world_free(world);
}

#define LARGE_UPDATES  40
#define LARGE_PAYMENTS 140 /* in each: some 50 KB */

static void sign_large_updates(struct world *world)
{
    char memo[MEMO_BYTES_MAX + 1] = "";
    memset(memo, 'm', MEMO_BYTES_MAX);
    struct payment_request request = {.payee = world->payee,
                                      .asset = world->key.asset,
                                      .amount = {1},
                                      .mode = PAYMENT_DIRECT,
                                      .memo = memo};
    for (unsigned update = 0; update < LARGE_UPDATES; update++) {
        for (unsigned i = 0; i < LARGE_PAYMENTS; i++) {
            request.id = world_new_id(world);
            store_be64(request.secret_hash.bytes, update * LARGE_PAYMENTS + i + 1);
            assert_int_equal(wallet_pay(world->core, &request), CODE_OK);
        }
        world_run(world);
    }
}

/* The hub is slow: no more is on its way to it than a link takes, on this connection and on the next, and all comes in the
 * end. */
static void test_no_more_is_sent_than_a_link_takes(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world->options.limits = (struct wallet_limits){.unsecured = 100000, .unsecured_per_payee = 100000};
    world_crash(world, memory_journal_appended(world->journal));
    world_fund(world, 100000, 100000);
    world_linked(world);
    world->deaf = true;
    sign_large_updates(world);
    assert_in_range(world->counts[MESSAGE_UPDATE], 15, 25);
    world_unlinked(world);
    world->counts[MESSAGE_UPDATE] = 0;
    world_linked(world);
    for (uint64_t nonce = 1; nonce <= LARGE_UPDATES; nonce++) {
        assert_true(world->machine->streams[SIDE_CLIENT].proof.nonce >= nonce);
        struct message ack = {.type = MESSAGE_ACK, .ack = {world->id, nonce}};
        wallet_message(world->core, &ack);
        world_run(world);
    }
    assert_int_equal(world->machine->streams[SIDE_CLIENT].proof.nonce, LARGE_UPDATES);
    world_free(world);
}

/* RESUME asks for the outcome of each payment that has none. */
static void test_asks_for_outcomes(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id direct, locked, paid;
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, &direct), CODE_OK);
    assert_int_equal(world_pay(world, 1000, 2, PAYMENT_LOCKED, &locked), CODE_OK);
    assert_int_equal(world_pay(world, 1000, 3, PAYMENT_DIRECT, &paid), CODE_OK);
    world_reveal(world, &paid, 3);
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world->last_resume.resume.count, 2);
    assert_int_equal(world->last_resume.resume.own, 3);
    world_reveal(world, &locked, 2);
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world_state(world, &locked), OUT_PAID);
    world_free(world);
}

/* A payee reveals again what was unanswered, and fails again what it failed. */
static void test_reveals_again(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice direct = make_invoice(world, 10), locked = make_invoice(world, 20),
                   other = {.amount = {30}};
    struct operation pay = payment_of(world, &direct, false), lock = payment_of(world, &locked, true),
                     wrong = payment_of(world, &other, true);
    world_send(world, &pay);
    world_send(world, &lock);
    world_send(world, &wrong);
    assert_int_equal(world->reveal_count, 2);
    assert_int_equal(world->fail_count, 1);
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world->reveal_count = world->fail_count = 0;
    world_linked(world);
    assert_int_equal(world->reveal_count, 2);
    assert_int_equal(world->fail_count, 1);
    /* After expiry a direct payment's secret is not repeated any more; the lock's neither helps nor hurts. */
    world_head(world, 1100);
    world_unlinked(world);
    world->reveal_count = 0;
    world_linked(world);
    for (size_t i = 0; i < world->reveal_count; i++)
        assert_false(payment_id_equal(&world->reveals[i].id, &pay.id));
    world_free(world);
}

/* The hub's updates that the wallet lost in a crash were never acknowledged: they come again and are taken
 * anew. */
static void test_crash_loses_nothing_acknowledged(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 10);
    struct operation pay = payment_of(world, &invoice, false);
    uint64_t durable = memory_journal_appended(world->journal);
    world->unsynced = true;
    world_send(world, &pay);
    assert_int_equal(world->counts[MESSAGE_ACK], 0);
    assert_int_equal(world->reveal_count, 0); /* persist before you reveal */
    world_crash(world, durable);
    world->unsynced = false;
    world_linked(world);
    assert_int_equal(world->machine->acknowledged, 1);
    assert_int_equal(world->reveal_count, 1);
    assert_int_equal(world_channel(world).balance.units, 100010);
    world_free(world);
}

/* A small story of all kinds of payments. step: which part. */
#define STORY_STEPS 7
static void tell_story(struct world *world, int step, struct invoice *invoice)
{
    uint8_t seed = (uint8_t)(10 + step);
    struct payment_request request = {.payee = world->payee, .asset = world->key.asset, .amount = {500}};
    uint8_t secret[32];
    switch (step) {
    case 0:
    case 2:
    case 5:
        request.id = world_new_id(world);
        request.secret_hash = world_secret_hash(seed, secret);
        request.mode = step == 2 ? PAYMENT_LOCKED : PAYMENT_DIRECT;
        assert_int_equal(wallet_pay(world->core, &request), CODE_OK);
        break;
    case 1:
    case 4:
        assert_int_equal(
            wallet_invoice(world->core, &world->key.asset, amount_of(50), 3600, NULL, world->unix_s, invoice),
            CODE_OK);
        break;
    case 3:
    case 6: {
        struct operation operation = payment_of(world, invoice, step == 6);
        struct channel_view view = world_view(world);
        assert_int_equal(channel_add(world->machine, &view, &operation, NULL), CODE_OK);
        world_send_draft(world);
        break;
    }
    default:
        break;
    }
    world_run(world);
}

static void crash_in_story(int crash_at, uint64_t lost)
{
    struct world *world = world_ready(0);
    struct invoice invoice = {.amount = {0}};
    for (int step = 0; step < STORY_STEPS; step++) {
        world->unsynced = step == crash_at;
        tell_story(world, step, &invoice);
        if (!world->unsynced)
            continue;
        uint64_t appended = memory_journal_appended(world->journal),
                 durable = journal_durable(world->journal);
        world_crash(world, appended > durable + lost ? appended - lost : durable);
        world->unsynced = false;
        world_linked(world);
        assert_true(world->resumed);
    }
    assert_int_equal(world->disconnects, 0);
    const struct channel *own = wallet_channel_by_id(world->core, &world->id)->channel;
    for (int side = 0; side < 2; side++) {
        assert_int_equal(own->streams[side].proof.nonce, world->machine->streams[side].proof.nonce);
        assert_true(hash_equal(&own->streams[side].proof.locks_root,
                               &world->machine->streams[side].proof.locks_root));
    }
    assert_true(channel_balance(own, SIDE_CLIENT) == channel_balance(world->machine, SIDE_CLIENT));
    assert_int_equal(world->machine->acknowledged, channel_own(world->machine)->proof.nonce);
    assert_true(wallet_is_idle(world->core));
    world_free(world);
}

/* At every point of the story, with every journal end that a crash may leave, the wallet goes on: it never
 * signs a second proof with a nonce (world_witness_proof), and hub and wallet end in step with sums that add
 * up. */
static void test_crash_anywhere(void **state)
{
    (void)state;
    for (int crash_at = 0; crash_at < STORY_STEPS; crash_at++)
        for (uint64_t lost = 0; lost < 4; lost++)
            crash_in_story(crash_at, lost);
}

/* ---- a hub that breaks rules ---- */

static void test_broken_rules_change_nothing(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 10);
    struct operation pay = payment_of(world, &invoice, false);
    struct channel_view view = world_view(world);
    assert_int_equal(channel_add(world->machine, &view, &pay, NULL), CODE_OK);
    size_t count;
    const struct operation *operations = channel_draft(world->machine, &count);
    struct buffer body = {0};
    body_encode(&body, operations, count);
    struct kept_update good =
        *channel_seal(world->machine, &world->domain, &world->hub_key, body.data, body.length);
    struct message message = {.type = MESSAGE_UPDATE,
                              .update = {world->id, good.proof, good.signature, body.data, body.length}};
    struct message wrong = message;
    wrong.update.signature.bytes[10] ^= 1;
    wallet_message(world->core, &wrong);
    world_run(world);
    assert_int_equal(world->last_error.error.code, CODE_SIGNATURE);
    wrong = message;
    wrong.update.proof.nonce = 2;
    wallet_message(world->core, &wrong);
    world_run(world);
    assert_int_equal(world->last_error.error.code, CODE_NONCE);
    assert_true(world->last_error.error.reference.present);
    assert_int_equal(world->last_error.error.reference.nonce, 2);
    assert_int_equal(world->reveal_count, 0);
    assert_int_equal(world_channel(world).balance.units, 100000);
    /* The same nonce, good: the stream goes on. */
    wallet_message(world->core, &message);
    world_run(world);
    assert_int_equal(world->reveal_count, 1);
    /* And once more: acknowledged again, nothing else. */
    unsigned acks = world->counts[MESSAGE_ACK];
    wallet_message(world->core, &message);
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_ACK], acks + 1);
    assert_int_equal(world_channel(world).balance.units, 100010);
    buffer_free(&body);
    world_free(world);
}

static void test_messages_out_of_order(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world_fund(world, 1000, 1000);
    wallet_linked(world->core, &world->terms, 1);
    struct shown_lock lock = {.lock = {.id = 1}};
    wallet_message(world->core,
                   &(struct message){.type = MESSAGE_LOCKS, .locks = {world->id, SIDE_HUB, &lock, 1, true}});
    world_run(world);
    assert_int_equal(world->last_error.error.code, CODE_MALFORMED);
    assert_int_equal(world->disconnects, 1);
    world_unlinked(world);
    /* A channel of somebody else. */
    struct channel_key mine = world->key;
    wallet_linked(world->core, &world->terms, 1);
    world->key.client = world->payee;
    world_show_channel(world);
    world_run(world);
    assert_int_equal(world->disconnects, 2);
    world->key = mine;
    world_unlinked(world);
    world_linked(world);
    assert_true(wallet_is_ready(world->core));
    world_free(world);
}

static void test_terms_without_sense(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world->terms.max_expiry_s = UINT64_MAX;
    world_linked(world);
    assert_int_equal(world->disconnects, 1);
    assert_false(wallet_is_ready(world->core));
    world_unlinked(world);
    world->terms.max_expiry_s = 86400;
    world->terms.min_expiry_s = 180; /* three margins are not more than three */
    world_linked(world);
    assert_int_equal(world->disconnects, 2);
    world_free(world);
}

/* Money that the own ledger view does not show yet: the update waits, unacknowledged, and what follows it
 * too. */
static void test_held_until_the_ledger_shows_it(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world_fund(world, 0, 100);
    world_linked(world);
    struct invoice invoice = make_invoice(world, 150), next = make_invoice(world, 1);
    struct channel_funds funds = world->machine->funds;
    funds.total.units += 1000;
    (void)channel_set_funds(world->machine, &funds);
    wallet_message(
        world->core,
        &(struct message){
            .type = MESSAGE_FUNDED,
            .funded = {.channel = world->id, .total = funds.total, .base = 0, .seq = 0, .block = 99}});
    struct operation pay = payment_of(world, &invoice, false), second = payment_of(world, &next, false);
    world_send(world, &pay);
    world_send(world, &second);
    assert_int_equal(world->reveal_count, 0);
    assert_int_equal(world->counts[MESSAGE_ACK], 0);
    assert_int_equal(world->counts[MESSAGE_ERROR], 0);
    world_event(world, (struct contract_event){.type = EVENT_FUNDED, .hub_amount = {1000}});
    world_head(world, 5);
    assert_int_equal(world->reveal_count, 2);
    assert_int_equal(world->machine->acknowledged, 2);
    assert_int_equal(world_channel(world).balance.units, 151);
    world_free(world);
}

static void hub_refuses(struct world *world, uint64_t nonce, enum code code)
{
    struct message message = {.type = MESSAGE_ERROR};
    message.error.code = code;
    message.error.text = (struct text){"no", 2};
    message.error.reference = (struct error_reference){.present = true,
                                                       .type = MESSAGE_UPDATE,
                                                       .has_channel = true,
                                                       .channel = world->id,
                                                       .has_nonce = true,
                                                       .nonce = nonce};
    wallet_message(world->core, &message);
    world_run(world);
}

/* The hub sees a close in a young block that is not seen here, and then is reorganised away: the link stays, and the
 * refused updates are offered again with the next block, byte for byte. Once the close is seen here none is. */
static void test_refused_since_the_hub_sees_a_close(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world->deaf = true;
    assert_int_equal(world_pay(world, 100, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world_pay(world, 100, 2, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 2);
    hub_refuses(world, 1, CODE_STATUS);
    hub_refuses(world, 2, CODE_STATUS);
    assert_int_equal(world->disconnects, 0);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 2);
    world_head(world, 5);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 4);
    world_head(world, 5);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 4);
    hub_refuses(world, 1, CODE_STATUS);
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_head(world, 5);
    world_unlinked(world);
    world_linked(world);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 0);
    world_free(world);
}

/* The hub sees a deposit just after it has shown the channel: what came last is what it says, even if this wallet has
 * not had the time yet to take over what came first. */
static void test_funds_told_while_the_channel_is_shown(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world_fund(world, 1000, 100);
    wallet_linked(world->core, &world->terms, 1);
    world_show_channel(world);
    struct channel_funds funds = world->machine->funds;
    funds.total.units += 500;
    funds.base += 500;
    (void)channel_set_funds(world->machine, &funds);
    wallet_message(world->core, &(struct message){.type = MESSAGE_FUNDED,
                                                  .funded = {.channel = world->id,
                                                             .total = funds.total,
                                                             .base = funds.base,
                                                             .block = world->head.number}});
    world_event(world, (struct contract_event){.type = EVENT_FUNDED, .client_amount = {500}});
    world_head(world, 5);
    assert_int_equal(world_channel(world).total.units, 1600);
    assert_int_equal(world_channel(world).available.units, 1500 - 15); /* less the reserve */
    world_free(world);
}

/* The ledger's events come again after a restart: each counts once. */
static void test_events_count_once(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    struct ledger_head before = world->head;
    world_fund(world, 1000, 500);
    world_crash(world, memory_journal_appended(world->journal));
    struct ledger_head after = world->head;
    world->head = before;
    world->next_log = 0;
    world_event(world, (struct contract_event){
                           .type = EVENT_OPENED, .address = world->client, .other = world->key.asset});
    world_event(world,
                (struct contract_event){.type = EVENT_FUNDED, .client_amount = {1000}, .hub_amount = {500}});
    world->head = after;
    world_head(world, 1);
    assert_int_equal(world_channel(world).total.units, 1500);
    world_free(world);
}

static void test_foreign_journal_is_refused(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    char message[200];
    memory_journal_crash(world->journal, memory_journal_appended(world->journal));
    struct wallet_core *mine = world->core;
    world->options.hub = address_filled(0x55);
    world->core = wallet_new(&world->options, &world_effects, world);
    assert_false(journal_recover(world->journal, world_visit, world));
    assert_false(wallet_recovered(world->core, message, sizeof(message)));
    assert_non_null(strstr(message, "another hub"));
    wallet_free(mine);
    world_free(world);
}

/* A secret waits to be shown again when its payment's time to be forgotten comes: it is shown, once, and forgotten after
 * that. */
static void test_nothing_is_forgotten_that_waits(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world->options.history_max = 0;
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    struct invoice invoice = make_invoice(world, 10);
    struct operation pay = payment_of(world, &invoice, false);
    world_send(world, &pay);
    world_head(world, 1000 + OUTCOME_KEPT_S);
    assert_int_equal(world->reveal_count, 1);
    assert_int_equal(world_state(world, &pay.id), IN_RECEIVED);
    pay.amount = amount_of(0); /* again, and nothing goes back */
    for (int i = 0; i < 3; i++) {
        struct channel_view view = world_view(world);
        assert_int_equal(channel_add(world->machine, &view, &pay, NULL), CODE_OK);
        world_sign_draft(world);
    }
    world->head.time += 5;
    world->head.confirmed_time += 5;
    wallet_head(world->core, &world->head);
    world_run(world);
    assert_int_equal(world->reveal_count, 2);
    world_head(world, 5);
    assert_false(wallet_payment_find(world->core, &pay.id, &(struct payment_view){0}));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resends_identical_bytes),
        cmocka_unit_test(test_no_more_is_sent_than_a_link_takes),
        cmocka_unit_test(test_asks_for_outcomes),
        cmocka_unit_test(test_reveals_again),
        cmocka_unit_test(test_crash_loses_nothing_acknowledged),
        cmocka_unit_test(test_crash_anywhere),
        cmocka_unit_test(test_broken_rules_change_nothing),
        cmocka_unit_test(test_messages_out_of_order),
        cmocka_unit_test(test_terms_without_sense),
        cmocka_unit_test(test_held_until_the_ledger_shows_it),
        cmocka_unit_test(test_refused_since_the_hub_sees_a_close),
        cmocka_unit_test(test_funds_told_while_the_channel_is_shown),
        cmocka_unit_test(test_events_count_once),
        cmocka_unit_test(test_foreign_journal_is_refused),
        cmocka_unit_test(test_nothing_is_forgotten_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
