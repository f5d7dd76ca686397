/* The hub's engine and the ledger: settlement that fails, is interrupted or comes late; the journal's root;
 * disputes across crashes; the watchtower that refuses, lies or is silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/engine_state.h"

#include "engine_batches.h"

/* ---- a batch that fails, or whose fate is unknown ---- */

static void test_a_batch_that_fails_is_tried_again_soon(void **state)
{
    struct world *world = *state;
    ask_payout(world, 2, 500);
    plan(world);
    assert_int_equal(last_batch(world, NULL), 1);
    for (unsigned failures = 0; failures < 3; failures++) {
        size_t calls = world->calls;
        engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_UNREACHABLE, NULL);
        pass(world, (1000u << failures) - 1);
        assert_int_equal(world->calls, calls);
        pass(world, 1);
        assert_int_equal(world->calls, calls + 1);
        assert_int_equal(last_batch(world, NULL), 1);
    }
    settled(world);
    assert_int_equal(world->clients[2].settled_count, 1);
    assert_int_equal(world->engine->settle_failures, 0);
}

static void test_a_wish_to_open_survives_a_failed_batch(void **state)
{
    struct world *world = *state;
    size_t funds;
    world_connect(world, 3);
    struct message request = {.type = MESSAGE_OPEN_REQUEST};
    request.open_request.inbound = amount_of(2000);
    world_message(world, 3, &request);
    pass(world, 1000);
    assert_int_equal(last_batch(world, &funds), 0);
    assert_int_equal(funds, 1);
    engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_NO_FUNDS, NULL);
    pass(world, 1000);
    last_batch(world, &funds);
    assert_int_equal(funds, 1);
    assert_int_equal(world->engine->wish_count, 1);
    struct contract_event skipped = {.type = EVENT_SETTLE_SKIPPED,
                                     .confirmed = true,
                                     .is_fund = true,
                                     .reason = 1,
                                     .channel = channel_id(&world->engine->wishes[0].key)};
    engine_event(world->engine, &skipped);
    world_head(world, 1);
    assert_int_equal(world->engine->wish_count, 0); /* never again by itself */
}

/* Each asset has a plan of its own: that of the next one must not undo what the last one planned. */
static void test_a_wish_to_open_beside_another_asset(void **state)
{
    struct world *world = *state;
    size_t funds;
    struct contract_event listed = {.type = EVENT_ASSET_LISTED, .confirmed = true, .address = {{9}}};
    engine_event(world->engine, &listed);
    world_head(world, 1);
    assert_int_equal(world->engine->settings.terms.asset_count, 2);
    world_connect(world, 3);
    struct message request = {.type = MESSAGE_OPEN_REQUEST};
    request.open_request.inbound = amount_of(2000);
    size_t calls = world->calls;
    world_message(world, 3, &request);
    pass(world, 1000);
    assert_int_equal(world->calls, calls + 1);
    last_batch(world, &funds);
    assert_int_equal(funds, 1);
}

static void test_what_was_signed_before_a_crash_is_settled_after_it(void **state)
{
    struct world *world = *state;
    ask_payout(world, 2, 500);
    plan(world); /* signed and sent in one turn: after a crash nobody knows whether the batch has left */
    size_t calls = world->calls;
    assert_int_equal(last_batch(world, NULL), 1);
    world_crash(world);
    pass(world, 100);
    assert_int_equal(world->calls, calls + 1);
    assert_int_equal(last_batch(world, NULL), 1);
    settled(world);
    world_connect(world, 2);
    assert_int_equal(hub_side(world, 2)->channel->funds.seq, 1);
    assert_int_equal(channel_settlement(hub_side(world, 2)->channel)->phase, SETTLEMENT_NONE);
}

/* Section 8: a Fund that may land yet would be given away by a close. */
static void test_no_close_while_a_fund_may_be_under_way(void **state)
{
    struct world *world = *state;
    size_t funds;
    struct message request = {.type = MESSAGE_OPEN_REQUEST};
    request.open_request.inbound = amount_of(4000);
    world_message(world, 2, &request); /* more room for an open channel */
    pass(world, 1000);
    last_batch(world, &funds);
    assert_int_equal(funds, 1);
    world_crash(world);
    for (unsigned i = 0; i < 3; i++)
        world_connect(world, i);
    ask_payout(world, 2, 0);
    pass(world, 100);
    assert_int_equal(world->clients[2].proposals, 0);
    assert_int_equal(last_batch(world, &funds), 0); /* an empty one, to settle the other's fate */
    assert_int_equal(funds, 0);
    plan(world);
    assert_int_equal(world->clients[2].proposals, 0);
    settled(world);
    pass(world, 100);
    assert_int_equal(world->clients[2].proposals, 1);
    assert_true(world->clients[2].proposal.close);
}

static void test_the_next_plan_waits_for_the_own_view(void **state)
{
    struct world *world = *state;
    ask_payout(world, 2, 500);
    plan(world);
    struct ledger_receipt receipt = {.success = true, .block = world->block + 1};
    engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_OK, &receipt);
    ask_payout(world, 0, 100);
    plan(world);
    assert_int_equal(world->clients[0].proposals, 0);
    struct contract_call call = last_call(world, ENGINE_CALL_SETTLE);
    execute(world, &call);
    contract_call_free(&call);
    world_head(world, 1);
    pass(world, 1);
    assert_int_equal(world->clients[0].proposals, 1);
}

static void test_settle_before_the_ledger_is_known_is_not_forgotten(void **state)
{
    struct world *world = *state;
    ask_payout(world, 2, 500);
    char message[256];
    engine_free(world->engine);
    memory_journal_crash(world->journal, journal_durable(world->journal));
    buffer_clear(&world->waiting);
    start_engine(world);
    assert_true(journal_recover(world->journal, visit, world->engine));
    assert_true(engine_recovered(world->engine, message, sizeof(message)));
    world->clients[2].peer = world->next_peer++;
    engine_connected(world->engine, world->clients[2].peer, &world->clients[2].address);
    world_settle_down(world);
    engine_settle(world->engine);
    world->block += 10; /* the node has more than the follower has read */
    engine_head(world->engine, &(struct ledger_head){world->block, world->now, world->block - 5, world->now});
    pass(world, 100);
    assert_int_equal(world->clients[2].proposals, 0);
    world_head(world, 1);
    pass(world, 100);
    assert_int_equal(world->clients[2].proposals, 1);
    for (unsigned i = 0; i < 2; i++)
        world->clients[i].peer = 0;
}

/* ---- what is asked for, and what is answered late ---- */

static void test_a_payout_that_is_gone_is_said_so(void **state)
{
    struct world *world = *state;
    ask_payout(world, 2, 900);
    world_pay(world, 2, 1, 500, 1, false);
    world_settle_down(world);
    plan(world);
    assert_int_equal(world->clients[2].proposals, 0);
    assert_int_equal(world->clients[2].error_code, CODE_AVAILABLE);
    plan(world);
    assert_int_equal(world->clients[2].errors, 1); /* once */
}

static void test_unasked_proposals_bind_for_a_shorter_time(void **state)
{
    struct world *world = *state;
    world_connect(world, 3);
    struct message request = {.type = MESSAGE_OPEN_REQUEST};
    request.open_request.inbound = amount_of(5000);
    struct contract_event withdrawn = {
        .type = EVENT_POOL_WITHDRAWN, .confirmed = true, .amount = hub_pool(world)};
    engine_event(world->engine, &withdrawn);
    world_head(world, 1);
    hub_side(world, 1)->room_floor = amount_of(0); /* its room counts as idle */
    ask_payout(world, 2, 500);
    world_message(world, 3, &request);
    pass(world, 1000);
    uint64_t asked = world->clients[2].proposal.deadline - world->now;
    uint64_t unasked = world->clients[1].proposal.deadline - world->now;
    assert_int_equal(world->clients[1].proposal.client_out.units, 0);
    assert_true(world->clients[1].proposal.hub_out.units > 0);
    assert_true(asked < 3600 && asked > 3000);
    assert_true(unasked < 600);
}

static void test_an_old_answer_does_not_end_a_new_collection(void **state)
{
    struct world *world = *state;
    world->clients[0].mute_settlement = world->clients[2].mute_settlement = true;
    ask_payout(world, 2, 500);
    plan(world);
    pass(world, 2000); /* nobody signed: nothing is sent */
    assert_int_equal(world->engine->settle_phase, SETTLE_IDLE);
    ask_payout(world, 0, 500);
    plan(world);
    assert_int_equal(world->engine->settle_phase, SETTLE_COLLECTING);
    world_sign(world, 2); /* late, for the first */
    world_settle_down(world);
    assert_int_equal(world->engine->settle_phase, SETTLE_COLLECTING);
    world_sign(world, 0);
    world_settle_down(world);
    assert_int_equal(last_batch(world, NULL), 2);
}

/* ERROR 60 names a seq, which the next proposal has too: so there is no next one before the first is answered. */
static void test_a_late_refusal_is_not_taken_for_another_proposals(void **state)
{
    struct world *world = *state;
    struct world_client *merchant = &world->clients[2];
    merchant->mute_settlement = true;
    ask_payout(world, 2, 500);
    plan(world);
    assert_int_equal(merchant->proposals, 1);
    world_head(world, 3600); /* its deadline has passed */
    pass(world, 2000);
    plan(world);
    assert_int_equal(merchant->proposals, 1);
    world_refuse(world, 2);
    world_settle_down(world);
    merchant->mute_settlement = false;
    pass(world, 2000);
    plan(world);
    assert_int_equal(merchant->proposals, 2);
    assert_int_equal(last_batch(world, NULL), 1);
}

static void test_a_new_link_needs_no_answer_to_old_proposals(void **state)
{
    struct world *world = *state;
    world->clients[2].mute_settlement = true;
    ask_payout(world, 2, 500);
    plan(world);
    world_head(world, 3600);
    world_disconnect(world, 2);
    world->clients[2].mute_settlement = false;
    world_connect(world, 2);
    pass(world, 2000);
    plan(world);
    assert_int_equal(world->clients[2].proposals, 2);
    assert_int_equal(last_batch(world, NULL), 1);
}

/* ---- the journal's root ---- */

static void pay_once(struct world *world, uint8_t id)
{
    world_pay(world, 0, 1, 10, id, false);
    world_settle_down(world);
}

static struct hash last_root(struct world *world)
{
    struct contract_call call = last_call(world, ENGINE_CALL_SETTLE);
    contract_call_free(&call);
    return call.hash;
}

static void test_each_proof_is_in_one_root(void **state)
{
    struct world *world = *state;
    pay_once(world, 1);
    struct journal_root first = world->engine->root;
    assert_int_equal(first.count, 2);
    ask_payout(world, 2, 100);
    plan(world);
    struct hash value = journal_root_value(&first);
    struct hash sent = last_root(world);
    assert_true(hash_equal(&sent, &value));
    pay_once(world, 2); /* while the batch is under way */
    settled(world);
    assert_int_equal(world->engine->root.count, 2);
    world_crash(world);
    assert_int_equal(world->engine->root.count, 2);
}

static void test_the_root_of_a_failed_batch_comes_again(void **state)
{
    struct world *world = *state;
    pay_once(world, 1);
    ask_payout(world, 2, 100);
    plan(world);
    pay_once(world, 2);
    engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_UNREACHABLE, NULL);
    struct hash all = journal_root_value(&world->engine->root);
    assert_int_equal(world->engine->root.count, 4);
    pass(world, 1000);
    struct hash sent = last_root(world);
    assert_true(hash_equal(&sent, &all));
    settled(world);
    assert_int_equal(world->engine->root.count, 0);
}

static void test_a_root_that_lands_after_a_crash_is_taken_once(void **state)
{
    struct world *world = *state;
    pay_once(world, 1);
    ask_payout(world, 2, 100);
    plan(world);
    pay_once(world, 2);
    struct contract_call call = last_call(world, ENGINE_CALL_SETTLE);
    world_crash(world);
    execute(world, &call);
    contract_call_free(&call);
    world_head(world, 1);
    assert_int_equal(world->engine->root.count, 2);
    pass(world, 100); /* the batch that makes sure takes what came since */
    struct hash sent = last_root(world), rest = journal_root_value(&world->engine->root);
    assert_true(hash_equal(&sent, &rest));
    settled(world);
    assert_int_equal(world->engine->root.count, 0);
}

static void test_old_reports_leave(void **state)
{
    struct world *world = *state;
    for (unsigned i = 0; i < 1030; i++) {
        struct contract_event event = {
            .type = EVENT_BATCH_SETTLED, .confirmed = true, .batch = ++world->batches};
        engine_event(world->engine, &event);
        world_head(world, 1);
    }
    world_settle_down(world);
    assert_int_equal(world->engine->report_count, 1024);
    world_crash(world);
    assert_int_equal(world->engine->report_count, 1024);
    assert_int_equal(world->engine->reports[1023].number, world->batches);
}

#define REPORT_VERSION 2

static void put_reports(struct buffer *batch, uint64_t from, uint64_t to)
{
    uint8_t value[1 + 12 * 8 + 2 * sizeof(struct hash)] = {REPORT_VERSION};
    for (uint64_t number = from; number <= to; number++) {
        uint8_t key[8];
        store_be64(key, number);
        record_put(batch, RECORD_BATCH, key, sizeof(key), value, sizeof(value));
    }
}

struct reports_seen {
    bool is_there[4096];
    unsigned count;
};

static bool see_report(void *context, const struct record *record)
{
    struct reports_seen *seen = context;
    if (record->type != RECORD_BATCH)
        return true;
    bool *is_there = &seen->is_there[load_be64(record->key)];
    seen->count = seen->count - *is_there + !record->gone;
    *is_there = !record->gone;
    return true;
}

/* As reshard leaves them: one old shard's after the other's. The newest of all stay, in order, and the journal loses
 * the others and no more. */
static void test_reports_of_joined_journals_leave_oldest_first(void **state)
{
    struct world *world = *state;
    static const uint64_t ranges[][2] = {{2000, 2899}, {1, 50}, {1500, 1999}, {2900, 2950}, {51, 90}};
    struct buffer batch = {0};
    for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++)
        put_reports(&batch, ranges[i][0], ranges[i][1]);
    journal_wait(world->journal, journal_append(world->journal, batch.data, batch.length));
    buffer_free(&batch);
    for (unsigned crashes = 0; crashes < 2; crashes++) {
        world_crash(world);
        assert_int_equal(world->engine->report_count, 1024);
        for (uint64_t i = 0; i < 1024; i++)
            assert_int_equal(world->engine->reports[i].number, 2950 - 1023 + i);
    }
    world_settle_down(world);
    struct reports_seen seen = {.count = 0};
    memory_journal_crash(world->journal, journal_durable(world->journal));
    assert_true(journal_recover(world->journal, see_report, &seen));
    assert_int_equal(seen.count, 1024);
    for (uint64_t number = 2950 - 1023; number <= 2950; number++)
        assert_true(seen.is_there[number]);
}

/* ---- events ---- */

static void test_an_event_counts_once_whenever_the_hub_dies(void **state)
{
    struct world *world = *state;
    struct contract_event funded = {.type = EVENT_FUNDED,
                                    .confirmed = true,
                                    .channel = world->clients[0].channel->id,
                                    .client_amount = {700}};
    struct hash id = world->clients[0].channel->id;
    engine_event(world->engine, &funded);
    world_settle_down(world); /* a turn ends before the head comes */
    world_crash(world);       /* its head is another one: the follower gives the event again */
    assert_int_equal(engine_channel(world->engine, &id)->channel->funds.total.units, 10000);
    engine_event(world->engine, &funded);
    world_head(world, 1);
    world_settle_down(world);
    world_crash(world);
    assert_int_equal(engine_channel(world->engine, &id)->channel->funds.total.units, 10700);
}

/* A node that speaks of payouts that cannot be is not believed, and stops nothing. */
static void test_impossible_payouts_are_ignored(void **state)
{
    struct world *world = *state;
    const uint64_t outs[][2] = {{10000, 1}, {AMOUNT_LIMIT - 1, AMOUNT_LIMIT - 1}, {0, 10001}};
    struct hash id = world->clients[0].channel->id;
    for (size_t i = 0; i < ARRAY_LENGTH(outs); i++) {
        struct contract_event settled = {.type = EVENT_SETTLED,
                                         .confirmed = true,
                                         .channel = id,
                                         .seq = 1,
                                         .client_out = {outs[i][0]},
                                         .hub_out = {outs[i][1]}};
        engine_event(world->engine, &settled);
        world_head(world, 1);
        world_settle_down(world);
        const struct channel_funds *funds = &engine_channel(world->engine, &id)->channel->funds;
        assert_int_equal(funds->total.units, 10000);
        assert_int_equal(funds->seq, 0);
    }
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 1);
}

/* The hub's part of the payer's channel went on to a payee meanwhile: the next batch brings back what the refund needs,
 * and not only as much as usually comes to this client. */
static void test_a_batch_makes_room_for_a_refund(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false); /* it waits for its payee */
    world_settle_down(world);
    world_pay(world, 2, 0, 900, 2, false);
    world_settle_down(world);
    assert_int_equal(world->clients[0].received_count, 1);
    world_head(world, 3601);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 0); /* no room */
    plan(world);
    settled(world);
    assert_int_equal(world->clients[0].refunded_count, 1);
    assert_int_equal(world->clients[0].refund_code[0], CODE_EXPIRED);
    ask_payout(world, 0, 0);
    plan(world);
    assert_true(world->clients[0].proposal.close); /* nothing is due any more: it can be closed */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_a_batch_that_fails_is_tried_again_soon),
        TEST(test_a_wish_to_open_survives_a_failed_batch),
        TEST(test_a_wish_to_open_beside_another_asset),
        TEST(test_what_was_signed_before_a_crash_is_settled_after_it),
        TEST(test_no_close_while_a_fund_may_be_under_way),
        TEST(test_the_next_plan_waits_for_the_own_view),
        TEST(test_settle_before_the_ledger_is_known_is_not_forgotten),
        TEST(test_a_payout_that_is_gone_is_said_so),
        TEST(test_unasked_proposals_bind_for_a_shorter_time),
        TEST(test_an_old_answer_does_not_end_a_new_collection),
        TEST(test_a_late_refusal_is_not_taken_for_another_proposals),
        TEST(test_a_new_link_needs_no_answer_to_old_proposals),
        TEST(test_each_proof_is_in_one_root),
        TEST(test_the_root_of_a_failed_batch_comes_again),
        TEST(test_a_root_that_lands_after_a_crash_is_taken_once),
        TEST(test_old_reports_leave),
        TEST(test_reports_of_joined_journals_leave_oldest_first),
        TEST(test_an_event_counts_once_whenever_the_hub_dies),
        TEST(test_impossible_payouts_are_ignored),
        TEST(test_a_batch_makes_room_for_a_refund),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
