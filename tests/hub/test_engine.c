/* The hub's engine: payments in both modes, failures, refunds, offline payees, repeated ids, crashes,
 * settlement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_world.h"

#include "engine_world.c"

static int open_world(void **state)
{
    static struct world world;
    world_open(&world);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 5000);
    world_fund(&world, 2, 1000, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_connect(&world, i);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static wide available(const struct world *world, unsigned client)
{
    return channel_available(world->clients[client].channel, SIDE_CLIENT);
}

static void test_direct_payment_reaches_payee_and_secret_comes_back(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 1);
    assert_int_equal(world->clients[1].received_operation[0].amount.units, 1000);
    assert_int_equal(world->clients[1].received_operation[0].fee.units, 0);
    assert_true(available(world, 1) == 1000);
    assert_int_equal(world->clients[0].revealed_count, 0);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, 1);
    assert_int_equal(world->clients[0].witness[0].bytes[0], 1);
    struct engine_figures figures = engine_figures(world->engine);
    assert_int_equal(figures.payments_revealed, 1);
    assert_int_equal(figures.fees_units, 3);
}

static void test_wrong_secret_is_refused_and_changes_nothing(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    world_reveal(world, 1, 2, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_int_equal(world->clients[1].error_code, CODE_WITNESS);
    assert_int_equal(world->clients[0].revealed_count, 0);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, 1);
}

static void test_repeated_id_is_refunded_with_duplicate(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    wide before = available(world, 0);
    world_pay(world, 0, 1, 500, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 1);
    assert_int_equal(world->clients[0].refund_code[0], CODE_DUPLICATE);
    assert_int_equal(world->clients[0].revealed_count, 2); /* the first outcome again */
    assert_true(available(world, 0) == before);
    assert_int_equal(world->clients[1].received_count, 1);
}

static void expect_refund(struct world *world, const struct operation *operation, enum code code)
{
    size_t count = world->clients[0].refunded_count;
    wide before = available(world, 0);
    world_send(world, 0, operation, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, count + 1);
    assert_int_equal(world->clients[0].refund_code[count], code);
    assert_true(available(world, 0) == before);
}

static void test_refunds_name_their_reason(void **state)
{
    struct world *world = *state;
    struct operation good = {.type = OPERATION_PAY,
                             .id = world_id(9),
                             .peer = world->clients[1].address,
                             .amount = {100},
                             .fee = {3},
                             .expiry = world->now + 3600};
    struct operation operation = good;
    operation.amount = amount_of(0);
    expect_refund(world, &operation, CODE_AMOUNT);
    operation = good;
    operation.id = world_id(10);
    operation.expiry = world->now + 599;
    expect_refund(world, &operation, CODE_EXPIRED);
    operation = good;
    operation.id = world_id(11);
    operation.expiry = world->now + 86401;
    expect_refund(world, &operation, CODE_EXPIRED);
    operation = good;
    operation.id = world_id(12);
    operation.peer = world->clients[0].address;
    expect_refund(world, &operation, CODE_PAYEE);
    operation.peer = world->clients[3].address;
    operation.id = world_id(13);
    expect_refund(world, &operation, CODE_PAYEE);
    operation = good;
    operation.id = world_id(14);
    operation.fee = amount_of(2);
    expect_refund(world, &operation, CODE_FEE);
    operation = good;
    operation.id = world_id(15);
    operation.amount = amount_of(6000);
    operation.fee = amount_of(8);
    expect_refund(world, &operation, CODE_ROOM);
}

static void test_offline_payee_gets_its_payment_later(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 0);
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    assert_int_equal(world->clients[1].received_count, 1);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, 1);
}

static void test_offline_payee_for_too_long_is_refunded(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    world_head(world, 3601);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refund_code[0], CODE_EXPIRED);
    assert_true(available(world, 0) == before);
    world_connect(world, 1);
    assert_int_equal(world->clients[1].received_count, 0);
}

static void test_too_many_waiting_are_refunded(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    for (uint8_t i = 1; i <= 5; i++)
        world_pay(world, 0, 1, 10, i, false);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 1);
    assert_int_equal(world->clients[0].refund_code[0], CODE_LIMIT);
}

static void test_payee_sends_a_payment_back(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    struct operation back = {.type = OPERATION_REFUND,
                             .id = world->clients[1].received[0],
                             .amount = {1000},
                             .code = CODE_INVOICE};
    world_send(world, 1, &back, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refund_code[0], CODE_INVOICE);
    assert_true(available(world, 0) == before); /* the fee too */
}

static void unlock_as_payer(struct world *world, unsigned client, uint8_t id)
{
    struct pending_lock *lock =
        channel_find_payment(world->clients[client].channel, SIDE_CLIENT, &(struct payment_id){{0}});
    struct payment_id wanted = world_id(id);
    lock = channel_find_payment(world->clients[client].channel, SIDE_CLIENT, &wanted);
    assert_non_null(lock);
    struct operation unlock = {
        .type = OPERATION_UNLOCK, .lock_id = lock->lock.id, .witness = world_secret(id)};
    world_send(world, client, &unlock, 1);
    world_settle_down(world);
}

static void test_locked_payment(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 1);
    assert_true(available(world, 1) == 0);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000);
    assert_int_equal(world->clients[0].revealed_count, 1);
    unlock_as_payer(world, 0, 1);
    assert_int_equal(lock_set_count(world->clients[0].channel->streams[SIDE_CLIENT].locks), 0);
}

static void test_locked_payment_survives_a_crash_at_each_step(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    assert_int_equal(world->clients[1].received_count, 1);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    world_crash(world);
    world_connect(world, 1);
    world_connect(world, 0);
    assert_true(available(world, 1) == 1000);
    unlock_as_payer(world, 0, 1);
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].errors + world->clients[1].errors, 0);
}

static void test_what_was_not_durable_was_not_said(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    engine_flush(world->engine); /* written, but not synced: the frames wait */
    assert_int_equal(world->clients[1].received_count, 0);
    uint64_t nonce = channel_own(world->clients[0].channel)->proof.nonce;
    world_crash(world); /* the hub never got it */
    world_connect(world, 0);
    world_connect(world, 1);
    /* The client sent the same bytes again, and this time it went through. */
    assert_int_equal(channel_own(world->clients[0].channel)->proof.nonce, nonce);
    assert_int_equal(world->clients[1].received_count, 1);
}

static void fail_as_payee(struct world *world, unsigned client, const struct payment_id *id)
{
    assert_true(channel_mark_failed(world->clients[client].channel, id));
    struct failed item = {*id, CODE_INVOICE};
    struct message message = {.type = MESSAGE_FAIL};
    message.fail.channel = world->clients[client].channel->id;
    message.fail.items = &item;
    message.fail.count = 1;
    world_message(world, client, &message);
    world_settle_down(world);
}

static void test_failed_lock_goes_back_after_revocation(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    fail_as_payee(world, 1, &world->clients[1].received[0]);
    assert_int_equal(world->clients[0].failed_count, 1);
    assert_int_equal(world->clients[0].fail_code[0], CODE_INVOICE);
    struct payment_id id = world_id(1);
    struct pending_lock *lock = channel_find_payment(world->clients[0].channel, SIDE_CLIENT, &id);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = lock->lock.id};
    world_send(world, 0, &cancel, 1);
    world_settle_down(world);
    assert_true(available(world, 0) == before); /* the hub's REVOKE has come */
}

static void test_lock_to_an_offline_payee_fails(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    assert_int_equal(world->clients[0].fail_code[0], CODE_OFFLINE);
}

static void test_lock_limits(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 99, 1, true);
    world_settle_down(world);
    assert_int_equal(world->clients[0].fail_code[0], CODE_AMOUNT);
    for (uint8_t i = 2; i <= 9; i++)
        world_pay(world, 0, 1, 100, i, true);
    world_settle_down(world);
    /* eight are allowed, the failed one still counts until it is cancelled */
    assert_int_equal(world->clients[0].failed_count, 2);
    assert_int_equal(world->clients[0].fail_code[1], CODE_LIMIT);
}

static void test_expired_lock_is_taken_back(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    world_head(world, 3601);
    world_settle_down(world);
    assert_int_equal(lock_set_count(world->clients[1].channel->streams[SIDE_HUB].locks), 0);
    struct payment_id id = world_id(1);
    struct pending_lock *lock = channel_find_payment(world->clients[0].channel, SIDE_CLIENT, &id);
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = lock->lock.id};
    world_send(world, 0, &expire, 1);
    world_settle_down(world);
    assert_true(available(world, 0) == before);
    assert_int_equal(world->clients[0].errors + world->clients[1].errors, 0);
}

static void test_registered_secret_obliges_both_legs(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    struct witness secret = world_secret(1);
    struct contract_event met = {.type = EVENT_CONDITION_MET,
                                 .confirmed = true,
                                 .kind = LOCK_SECRET,
                                 .condition = condition_of_secret(secret.bytes),
                                 .block_time = world->now + 3590};
    memcpy(met.witness.bytes, secret.bytes, 32);
    world->now += 3595;
    engine_event(world->engine, &met);
    world_head(world, 0);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000);
    assert_int_equal(world->clients[0].revealed_count, 1);
}

static void test_late_secret_does_not_oblige(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    world_head(world, 3600 - 2 * 60 + 1);
    world_settle_down(world);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, 0);
    assert_true(available(world, 1) == 0);
}

static void test_update_that_breaks_a_rule_is_refused_and_the_stream_goes_on(void **state)
{
    struct world *world = *state;
    struct world_client *client = &world->clients[0];
    struct message message = {.type = MESSAGE_UPDATE};
    struct buffer body = {0};
    struct operation pay = {.type = OPERATION_PAY, .id = world_id(1), .amount = {5}, .fee = {3}};
    body_encode(&body, &pay, 1);
    message.update = (struct update){.channel = client->channel->id,
                                     .proof = {.nonce = 1, .transferred = {7}},
                                     .body = body.data,
                                     .body_length = body.length};
    message.update.proof.body_hash = keccak256(body.data, body.length);
    struct hash digest = digest_balance_proof(&world->domain, &client->channel->id, &message.update.proof);
    message.update.signature = key_sign(&client->key, &digest);
    world_message(world, 0, &message);
    world_settle_down(world);
    assert_int_equal(client->error_code, CODE_TRANSFERRED);
    message.update.channel.bytes[0] ^= 1;
    world_message(world, 0, &message);
    world_settle_down(world);
    assert_int_equal(client->error_code, CODE_CHANNEL);
    buffer_free(&body);
    world_pay(world, 0, 1, 1000, 2, false);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 1);
}

static void test_newer_link_replaces_the_older(void **state)
{
    struct world *world = *state;
    uint64_t older = world->clients[0].peer;
    engine_connected(world->engine, world->next_peer, &world->clients[0].address);
    assert_int_equal(world->clients[0].disconnects, 1);
    world->clients[0].peer = world->next_peer++;
    engine_disconnected(world->engine, older); /* the old one's end comes later, and means nothing */
    world_settle_down(world);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 1);
}

static struct contract_call batch_of(struct world *world)
{
    struct contract_call call;
    assert_int_equal(world->last_call, ENGINE_CALL_SETTLE);
    assert_true(contract_decode_call(world->call.data, world->call.length, &call));
    assert_int_equal(call.function, CONTRACT_SETTLE_BATCH);
    return call;
}

/* What the contract would say of the batch, as events. */
static void settle_on_ledger(struct world *world, const struct contract_call *call)
{
    for (size_t i = 0; i < call->item_count; i++) {
        struct contract_event event = {.type = EVENT_SETTLED,
                                       .confirmed = true,
                                       .channel = channel_id(&call->items[i].key),
                                       .seq = 1,
                                       .client_out = call->items[i].client_out,
                                       .hub_out = call->items[i].hub_out,
                                       .close = call->items[i].close};
        engine_event(world->engine, &event);
    }
    for (size_t i = 0; i < call->fund_count; i++) {
        struct contract_event event = {.type = EVENT_FUNDED,
                                       .confirmed = true,
                                       .channel = channel_id(&call->funds[i].key),
                                       .hub_amount = call->funds[i].amount};
        engine_event(world->engine, &event);
    }
    struct contract_event event = {
        .type = EVENT_BATCH_SETTLED, .confirmed = true, .batch = ++world->batches, .root = call->hash};
    engine_event(world->engine, &event);
    struct ledger_receipt receipt = {.success = true, .gas_used = 100000};
    engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_OK, &receipt);
    world_head(world, 1);
    world_settle_down(world);
}

static void test_payout_and_rebalancing_in_one_batch(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 4000, 1, false);
    world_settle_down(world);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = world->clients[1].channel->id;
    request.settle_request.amount = amount_of(3000);
    world_message(world, 1, &request);
    world_settle_down(world);
    engine_settle(world->engine);
    world_settle_down(world);
    assert_int_equal(world->clients[1].proposals, 1);
    struct contract_call call = batch_of(world);
    assert_int_equal(call.item_count, 1);
    assert_int_equal(call.items[0].client_out.units, 3000);
    assert_int_equal(call.fund_count,
                     1); /* the merchant's room is made again: 5,000 were given, 1,000 are left */
    assert_int_equal(call.funds[0].amount.units, 4000);
    assert_false(hash_is_zero(&call.hash));
    settle_on_ledger(world, &call);
    contract_call_free(&call);
    assert_int_equal(world->clients[1].settled_count, 1);
    assert_int_equal(world->clients[1].settled_outcome, 0);
    assert_true(available(world, 1) == 1000);
    size_t count;
    const struct batch_report *reports = engine_reports(world->engine, &count);
    assert_true(count > 0);
    assert_int_equal(reports[count - 1].gross_units, 4000);
    assert_int_equal(reports[count - 1].payout_units, 3000);
    assert_int_equal(reports[count - 1].funded_units, 4000);
}

static void test_cooperative_close(void **state)
{
    struct world *world = *state;
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = world->clients[2].channel->id;
    request.settle_request.close = true;
    world_message(world, 2, &request);
    world_settle_down(world);
    engine_settle(world->engine);
    world_settle_down(world);
    struct contract_call call = batch_of(world);
    assert_int_equal(call.item_count, 1);
    assert_true(call.items[0].close);
    assert_int_equal(call.items[0].client_out.units, 1000);
    assert_int_equal(call.items[0].hub_out.units, 1000);
    settle_on_ledger(world, &call);
    contract_call_free(&call);
    world_pay(world, 0, 2, 10, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refund_code[0], CODE_PAYEE);
}

static void test_refused_settlement_is_freed(void **state)
{
    struct world *world = *state;
    world->clients[2].refuse_settlement = true;
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = world->clients[2].channel->id;
    request.settle_request.amount = amount_of(500);
    world_message(world, 2, &request);
    world_settle_down(world);
    size_t calls = world->calls;
    engine_settle(world->engine);
    world_settle_down(world);
    assert_int_equal(world->clients[2].proposals, 1);
    assert_int_equal(world->calls, calls); /* nothing to send */
    engine_settle(world->engine);
    world_settle_down(world);
    assert_int_equal(world->clients[2].proposals, 2);
}

static void test_hub_opens_a_channel_on_request(void **state)
{
    struct world *world = *state;
    world_connect(world, 3);
    struct message request = {.type = MESSAGE_OPEN_REQUEST};
    request.open_request.inbound = amount_of(99999);
    world_message(world, 3, &request);
    world_settle_down(world);
    engine_time(world->engine, 1000);
    world_settle_down(world);
    struct contract_call call = batch_of(world);
    assert_int_equal(call.fund_count, 1);
    assert_int_equal(call.funds[0].amount.units, 5000); /* inbound_max */
    contract_call_free(&call);
    world_fund(world, 3, 0, 5000);
    assert_int_equal(world->clients[3].channel_count, 1);
    world_pay(world, 0, 3, 100, 1, false);
    world_settle_down(world);
    assert_int_equal(world->clients[3].received_count, 1);
}

static void test_old_claim_is_challenged_and_the_channel_stops(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    struct contract_event close = {
        .type = EVENT_CLOSE_STARTED, .channel = world->clients[0].channel->id, .block = world->block + 2};
    engine_event(world->engine, &close); /* claims nonce 0, from a young block */
    world_settle_down(world);
    assert_int_equal(world->last_call, ENGINE_CALL_CHALLENGE);
    struct contract_call call;
    assert_true(contract_decode_call(world->call.data, world->call.length, &call));
    assert_int_equal(call.proof.nonce, 1);
    contract_call_free(&call);
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    assert_int_equal(world->clients[0].error_code, CODE_STATUS);
}

static void test_true_claim_is_left_alone(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    size_t calls = world->calls;
    const struct balance_proof *proof = &channel_own(world->clients[0].channel)->proof;
    struct contract_event close = {
        .type = EVENT_CLOSE_STARTED,
        .channel = world->clients[0].channel->id,
        .of_client_claim = {proof->nonce, proof->transferred, proof->locked, proof->locks_root}};
    engine_event(world->engine, &close);
    world_settle_down(world);
    assert_int_equal(world->calls, calls);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_direct_payment_reaches_payee_and_secret_comes_back),
        TEST(test_wrong_secret_is_refused_and_changes_nothing),
        TEST(test_repeated_id_is_refunded_with_duplicate),
        TEST(test_refunds_name_their_reason),
        TEST(test_offline_payee_gets_its_payment_later),
        TEST(test_offline_payee_for_too_long_is_refunded),
        TEST(test_too_many_waiting_are_refunded),
        TEST(test_payee_sends_a_payment_back),
        TEST(test_locked_payment),
        TEST(test_locked_payment_survives_a_crash_at_each_step),
        TEST(test_what_was_not_durable_was_not_said),
        TEST(test_failed_lock_goes_back_after_revocation),
        TEST(test_lock_to_an_offline_payee_fails),
        TEST(test_lock_limits),
        TEST(test_expired_lock_is_taken_back),
        TEST(test_registered_secret_obliges_both_legs),
        TEST(test_late_secret_does_not_oblige),
        TEST(test_update_that_breaks_a_rule_is_refused_and_the_stream_goes_on),
        TEST(test_newer_link_replaces_the_older),
        TEST(test_payout_and_rebalancing_in_one_batch),
        TEST(test_cooperative_close),
        TEST(test_refused_settlement_is_freed),
        TEST(test_hub_opens_a_channel_on_request),
        TEST(test_old_claim_is_challenged_and_the_channel_stops),
        TEST(test_true_claim_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
