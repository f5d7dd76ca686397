/* The hub's engine where it is not on the straight way: one id for two locks, closed windows, young closes,
 * several channels, the last minute before an expiry, payments whose payer's channel is gone. Settlement,
 * disputes and the tower are in test_engine_ledger.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/engine_state.h"

#include "engine_world.c"

static void allow_many(struct engine_settings *settings)
{
    settings->waiting_max = 200;
}

static int open_world(void **state)
{
    static struct world world;
    world_open_with(&world, allow_many);
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

static struct hub_channel *hub_side(const struct world *world, unsigned client)
{
    return engine_channel(world->engine, &world->clients[client].channel->id);
}

static struct operation lock_operation(const struct world *world, uint8_t id, uint8_t secret, uint64_t amount)
{
    struct witness witness = world_secret(secret);
    struct amount fee;
    ensure(amount_fee(amount_of(amount), amount_of(2), 1000, &fee));
    return (struct operation){.type = OPERATION_LOCK,
                              .id = world_id(id),
                              .peer = world->clients[1].address,
                              .amount = {amount},
                              .fee = fee,
                              .expiry = world->now + 3600,
                              .condition = condition_of_secret(witness.bytes)};
}

static void send_unlock(struct world *world, unsigned client, uint64_t lock_id, uint8_t secret)
{
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = lock_id, .witness = world_secret(secret)};
    world_send(world, client, &unlock, 1);
    world_settle_down(world);
}

/* ---- one id, two locks ---- */

static void test_a_second_lock_with_one_id_leaves_the_first_alone(void **state)
{
    struct world *world = *state;
    struct operation first = lock_operation(world, 1, 1, 1000), second = lock_operation(world, 1, 2, 500);
    world_send(world, 0, &first, 1);
    world_settle_down(world);
    world_send(world, 0, &second, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].fail_code[0], CODE_DUPLICATE);
    const struct lock_set *locks = channel_peer(hub_side(world, 0)->channel)->locks;
    assert_false(lock_set_find(locks, 1)->failed); /* or the payer could take back what the payee may claim */
    assert_true(lock_set_find(locks, 2)->failed);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000);
    send_unlock(world, 0, 1, 1);
    assert_null(lock_set_find(channel_peer(hub_side(world, 0)->channel)->locks, 1));
}

static void test_unlocking_the_second_says_nothing_of_the_first(void **state)
{
    struct world *world = *state;
    struct operation first = lock_operation(world, 1, 1, 1000), second = lock_operation(world, 1, 2, 500);
    world_send(world, 0, &first, 1);
    world_send(world, 0, &second, 1);
    world_settle_down(world);
    send_unlock(world, 0, 2, 2); /* a gift to the hub, with a secret that is not the payee's */
    assert_int_equal(engine_figures(world->engine).payments_revealed, 0);
    assert_true(available(world, 1) == 0);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000);
}

/* The machine of the world's client can lock and unlock in one update, as any client may. */
static void test_locked_and_unlocked_in_one_update(void **state)
{
    struct world *world = *state;
    struct operation operations[2] = {lock_operation(world, 1, 1, 1000),
                                      {.type = OPERATION_UNLOCK, .lock_id = 1, .witness = world_secret(1)}};
    world_send(world, 0, operations, 2);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 1); /* it goes on, paid already */
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000);
    /* Refused, locked and unlocked at once: nothing to mark as failed, nothing to fall over. */
    operations[0] = lock_operation(world, 2, 2, 50);
    operations[1].lock_id = 2;
    operations[1].witness = world_secret(2);
    world_send(world, 0, operations, 2);
    engine_flush(world->engine);
    engine_check(world->engine);
    assert_int_equal(world_waiting(world, 0, MESSAGE_FAIL), 1);
    buffer_clear(&world->waiting); /* an honest client would not have such a lock to fail */
}

static void test_only_the_lock_above_the_limit_fails(void **state)
{
    struct world *world = *state;
    struct operation operations[9];
    for (uint8_t i = 0; i < 9; i++)
        operations[i] = lock_operation(world, (uint8_t)(i + 1), (uint8_t)(i + 1), 100);
    world_send(world, 0, operations, 9);
    world_settle_down(world);
    assert_int_equal(world->clients[0].failed_count, 1);
    assert_int_equal(world->clients[0].fail_code[0], CODE_LIMIT);
    assert_true(payment_id_equal(&world->clients[0].failed[0], &operations[8].id));
    assert_int_equal(world->clients[1].received_count, 8);
}

/* ---- windows ---- */

static void unmute(struct world *world, unsigned client)
{
    struct world_client *at = &world->clients[client];
    struct message ack = {.type = MESSAGE_ACK};
    at->mute = false;
    ack.ack.channel = at->channel->id;
    ack.ack.nonce = channel_peer(at->channel)->proof.nonce;
    world_message(world, client, &ack);
    world_settle_down(world);
}

/* The client takes 64 updates without a word. */
static void close_window(struct world *world, unsigned client)
{
    unsigned payer = client == 0 ? 2 : 0;
    world->clients[client].mute = true;
    for (uint8_t i = 0; i < UNACKNOWLEDGED_MAX; i++) {
        world_pay(world, payer, client, 1, (uint8_t)(100 + i), false);
        world_settle_down(world);
        world->clients[client].received_count = 0; /* the book is small */
    }
    assert_false(channel_has_window(hub_side(world, client)));
}

static void test_payments_wait_for_a_window(void **state)
{
    struct world *world = *state;
    close_window(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_pay(world, 0, 1, 1000, 2, true);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 0);
    assert_int_equal(world->clients[0].failed_count, 0);
    unmute(world, 1);
    assert_int_equal(world->clients[1].received_count, 2);
}

static void test_a_lock_that_waited_fails_when_the_payee_leaves(void **state)
{
    struct world *world = *state;
    close_window(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_pay(world, 0, 1, 1000, 2, true);
    world_settle_down(world);
    world_crash(world); /* nobody is online after it */
    world_connect(world, 0);
    struct payment_id asked = world_id(2);
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = world->clients[0].channel->id;
    resume.resume.ids = &asked;
    resume.resume.count = 1;
    world_message(world, 0, &resume);
    world_settle_down(world);
    assert_int_equal(world->clients[0].failed_count, 1);
    assert_int_equal(world->clients[0].fail_code[0], CODE_OFFLINE);
    world->clients[1].mute = false;
    world_connect(world, 1);
    assert_int_equal(world->clients[1].received_count, 1); /* the direct one */
}

static void test_refunds_wait_for_the_payers_window(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    wide before = available(world, 0);
    for (uint8_t i = 0; i < 70; i++) {
        struct operation operation = lock_operation(world, i, i, 10);
        operation.type = OPERATION_PAY;
        operation.expiry = world->now + 700 + i;
        world_send(world, 0, &operation, 1);
        world_settle_down(world);
    }
    assert_int_equal(engine_figures(world->engine).payments_refunded, 0);
    world_disconnect(world, 0);
    world_head(world, 699);
    for (unsigned i = 0; i < 80; i++) {
        world_head(world, 1); /* one expires, one refund is signed, as long as there is a window */
        world_settle_down(world);
    }
    assert_false(channel_has_window(hub_side(world, 0)));
    world_crash(world);
    world->clients[0].refunded_count = 0;
    world_connect(world, 0);
    world_settle_down(world);
    assert_true(available(world, 0) == before);
}

static void test_who_ignores_the_window_is_dropped(void **state)
{
    struct world *world = *state;
    close_window(world, 1);
    struct operation back = {.type = OPERATION_REFUND, .id = world_id(1), .amount = {1}};
    for (unsigned i = 0; i < UNACKNOWLEDGED_MAX; i++)
        world_send(world, 1, &back, 1);
    assert_int_equal(world->clients[1].disconnects, 0);
    assert_int_equal(hub_side(world, 1)->held_count, UNACKNOWLEDGED_MAX);
    struct message message = {.type = MESSAGE_UPDATE};
    const struct kept_update *kept = channel_kept(world->clients[1].channel, 1);
    message.update = (struct update){world->clients[1].channel->id, kept->proof, kept->signature, kept->body,
                                     kept->body_length};
    world_message(world, 1, &message);
    assert_int_equal(world->clients[1].disconnects, 1);
    assert_int_equal(hub_side(world, 1)->held_count, 0);
    assert_int_equal(world->engine->held_bytes, 0);
    world->clients[1].peer = 0;
}

static void test_resume_again_sends_nothing_again(void **state)
{
    struct world *world = *state;
    world->clients[1].mute = true;
    world_pay(world, 0, 1, 10, 1, false);
    world_settle_down(world);
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = world->clients[1].channel->id;
    for (unsigned i = 0; i < 3; i++)
        world_message(world, 1, &resume);
    engine_flush(world->engine);
    assert_int_equal(world_waiting(world, 1, MESSAGE_UPDATE), 0);
    world_disconnect(world, 1);
    world->clients[1].mute = false;
    world->clients[1].peer = world->next_peer++;
    engine_connected(world->engine, world->clients[1].peer, &world->clients[1].address);
    world_message(world, 1, &resume);
    engine_flush(world->engine);
    assert_int_equal(world_waiting(world, 1, MESSAGE_UPDATE), 1);
    world_settle_down(world);
}

/* ---- closes ---- */

static void close_event(struct world *world, unsigned client, bool confirmed)
{
    const struct balance_proof *proof = &channel_peer(hub_side(world, client)->channel)->proof;
    struct contract_event close = {
        .type = EVENT_CLOSE_STARTED,
        .confirmed = confirmed,
        .channel = world->clients[client].channel->id,
        .of_client_claim = {proof->nonce, proof->transferred, proof->locked, proof->locks_root},
        .block = world->block + 1,
        .block_time = world->now,
        .deadline = world->now + 4000};
    engine_event(world->engine, &close);
    world_settle_down(world);
}

static void test_a_young_close_that_vanishes_loses_no_refund(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    close_event(world, 0, false);
    struct contract_event gone = {.type = EVENT_CLOSE_STARTED,
                                  .channel = world->clients[1].channel->id,
                                  .block = world->block + 1,
                                  .deadline = 1};
    engine_event(world->engine, &gone); /* the payee's too: what waits for it goes back */
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 0); /* nothing is signed while the close may be true */
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 1);
    assert_int_equal(world->clients[0].refund_code[0], CODE_PAYEE);
    assert_true(available(world, 0) == before);
}

static void test_a_young_close_that_vanishes_loses_no_expiry(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    world_head(world, 3600);
    world_settle_down(world);
    struct contract_event close = {.type = EVENT_CLOSE_STARTED,
                                   .channel = world->clients[1].channel->id,
                                   .block = world->block + 2,
                                   .deadline = world->now + 4000};
    engine_event(world->engine, &close);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(lock_set_count(channel_own(hub_side(world, 1)->channel)->locks), 1);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(lock_set_count(channel_own(hub_side(world, 1)->channel)->locks), 0);
}

static void test_payments_to_a_channel_that_closes_go_back(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    close_event(world, 1, true);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refund_code[0], CODE_PAYEE);
    assert_true(available(world, 0) == before);
}

static void open_second(struct world *world, unsigned client, uint64_t by_hub)
{
    world_open_another(world, client, 1, 0, by_hub);
    world_head(world, 1);
    world_settle_down(world);
}

static void test_a_refund_finds_the_payers_other_channel(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    close_event(world, 0, true);
    world_head(world, 1);
    world_settle_down(world);
    world_disconnect(world, 0);
    world_head(world, 3601); /* too late for the payee, and the payer's channel takes nothing more */
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_refunded, 1);
    world_crash(world);
    open_second(world, 0, 5000);
    struct channel_key key = {.client = world->clients[0].address, .salt = 1};
    struct hash id = channel_id(&key);
    const struct hub_channel *second = engine_channel(world->engine, &id);
    assert_int_equal(second->channel->streams[SIDE_HUB].proof.transferred.units, 1003);
    world_crash(world);
    second = engine_channel(world->engine, &id);
    assert_int_equal(second->channel->streams[SIDE_HUB].proof.transferred.units, 1003); /* once */
}

static void test_a_payment_of_a_payer_that_closed_still_arrives(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    close_event(world, 0, true);
    world_head(world, 1);
    world_connect(world, 1);
    assert_int_equal(world->clients[1].received_count, 1);
}

/* ---- the last minute ---- */

static void head_at(struct world *world, uint64_t newest, uint64_t confirmed)
{
    world->block++;
    struct ledger_head head = {world->block + 1, newest, world->block, confirmed};
    engine_head(world->engine, &head);
    world->now = confirmed;
    world_settle_down(world);
}

static void test_the_secret_is_registered_by_the_newest_blocks_time(void **state)
{
    struct world *world = *state;
    uint64_t expiry = world->now + 3600;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    size_t calls = world->calls;
    head_at(world, expiry - 61, expiry - 200);
    assert_int_equal(world->calls, calls);
    head_at(world, expiry - 60, expiry - 199); /* the payer has not unlocked */
    assert_int_equal(world->calls, calls + 1);
    assert_int_equal(world->last_call, ENGINE_CALL_REGISTER);
    head_at(world, expiry - 50, expiry - 190);
    assert_int_equal(world->calls, calls + 1); /* once */
    engine_call_done(world->engine, ENGINE_CALL_REGISTER, 0, LEDGER_UNREACHABLE, NULL);
    head_at(world, expiry - 40, expiry - 180);
    assert_int_equal(world->calls, calls + 2); /* unless it failed */
    world_crash(world);
    head_at(world, expiry - 30, expiry - 170);
    assert_int_equal(world->calls, calls + 3); /* or the hub forgot */
    head_at(world, expiry, expiry - 150);
    assert_int_equal(world->calls, calls + 3); /* too late to help */
}

/* A node that stands still: payer and payee could wait for it together, be unlocked to at its old time, and let the lock
 * expire at the time that comes with its next block. */
static void test_no_lock_counts_by_the_time_of_a_node_that_stands_still(void **state)
{
    struct world *world = *state;
    uint64_t time_ms = 1000000;
    engine_time(world->engine, time_ms);
    head_at(world, world->now + 1, world->now + 1);
    world_pay(world, 0, 1, 1000, 1, true);
    world_pay(world, 0, 1, 1000, 2, true);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 2);
    engine_time(world->engine, time_ms + (3600 - 121) * 1000);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000); /* in time, to the second */
    engine_time(world->engine, time_ms + (3600 - 118) * 1000);
    world_reveal(world, 1, 2, &world->clients[1].received[1]);
    world_settle_down(world);
    assert_true(available(world, 1) == 1000); /* the ledger is left to it */
    assert_int_equal(world->clients[0].revealed_count, 1);
    struct operation late = lock_operation(world, 3, 3, 100);
    late.expiry = world->now + 3600;
    world_send(world, 0, &late, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].failed_count, 1); /* it is not forwarded: nothing would oblige by it */
    assert_int_equal(world->clients[1].received_count, 2);
    head_at(world, world->now + 3500, world->now + 3500); /* it goes on */
    world_pay(world, 0, 1, 1000, 4, true);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, 3);
}

static void test_an_end_that_comes_twice_is_ignored(void **state)
{
    struct world *world = *state;
    const struct channel *channel = hub_side(world, 0)->channel;
    struct contract_event finished = {.type = EVENT_FINISHED,
                                      .confirmed = true,
                                      .channel = channel->id,
                                      .to_client = channel->funds.total,
                                      .block_time = world->now};
    engine_event(world->engine, &finished);
    engine_event(world->engine, &finished);
    world_head(world, 1);
    assert_int_equal(channel->funds.stage, STAGE_CLOSED);
}

static void test_the_cursor_keeps_the_hash_before_it(void **state)
{
    struct world *world = *state;
    const struct hash one = {{1}}, two = {{2}};
    engine_confirmed_hash(world->engine, &one);
    world_head(world, 1);
    uint64_t cursor = engine_cursor(world->engine);
    world_settle_down(world);
    engine_confirmed_hash(world->engine, &two);
    struct ledger_head lower = {world->block + 1, world->now, cursor - 2, world->now};
    engine_head(world->engine, &lower); /* of a node behind: it takes nothing back */
    world_settle_down(world);
    restart(world);
    struct hash before = engine_cursor_before(world->engine);
    assert_int_equal(engine_cursor(world->engine), cursor);
    assert_true(hash_equal(&before, &one));
}

static void test_one_registration_meets_every_lock_on_it(void **state)
{
    struct world *world = *state;
    struct operation operations[3];
    for (uint8_t i = 0; i < 3; i++)
        operations[i] = lock_operation(world, (uint8_t)(i + 1), i == 2 ? 9 : 1, 100);
    operations[1].expiry = world->now + 700; /* before the registration */
    world_send(world, 0, operations, 3);
    world_settle_down(world);
    struct witness secret = world_secret(1);
    struct contract_event met = {.type = EVENT_CONDITION_MET,
                                 .confirmed = true,
                                 .kind = LOCK_SECRET,
                                 .condition = operations[0].condition,
                                 .block_time = world->now + 701};
    memcpy(met.witness.bytes, secret.bytes, 32);
    engine_event(world->engine, &met);
    world_head(world, 0);
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, 1);
    assert_true(payment_id_equal(&world->clients[0].revealed[0], &operations[0].id));
    assert_true(available(world, 1) == 100);
}

static void test_payments_without_receipt_leave_after_a_day(void **state)
{
    struct world *world = *state;
    struct operation operation = lock_operation(world, 1, 1, 100);
    operation.type = OPERATION_PAY;
    world_send(world, 0, &operation, 1);
    operation.id = world_id(2);
    operation.expiry = UINT64_MAX; /* refused */
    world_send(world, 0, &operation, 1);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refund_code[0], CODE_EXPIRED);
    assert_int_equal(engine_figures(world->engine).payments_kept, 1); /* the refused one is over */
    world_head(world, 86400 + 86400 + 10);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    world_crash(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
}

static void test_a_refund_in_the_turn_of_retirement_is_not_lost(void **state)
{
    struct world *world = *state;
    wide before = available(world, 0);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    world_head(world, 3600 + 86400 + 1); /* kept long enough: the flush will remove it */
    struct operation back = {.type = OPERATION_REFUND,
                             .id = world->clients[1].received[0],
                             .amount = {1000},
                             .code = CODE_INVOICE};
    world_send(world, 1, &back, 1);
    world_settle_down(world);
    assert_true(available(world, 0) == before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_a_second_lock_with_one_id_leaves_the_first_alone),
        TEST(test_unlocking_the_second_says_nothing_of_the_first),
        TEST(test_locked_and_unlocked_in_one_update),
        TEST(test_only_the_lock_above_the_limit_fails),
        TEST(test_payments_wait_for_a_window),
        TEST(test_a_lock_that_waited_fails_when_the_payee_leaves),
        TEST(test_refunds_wait_for_the_payers_window),
        TEST(test_who_ignores_the_window_is_dropped),
        TEST(test_resume_again_sends_nothing_again),
        TEST(test_a_young_close_that_vanishes_loses_no_refund),
        TEST(test_a_young_close_that_vanishes_loses_no_expiry),
        TEST(test_payments_to_a_channel_that_closes_go_back),
        TEST(test_a_refund_finds_the_payers_other_channel),
        TEST(test_a_payment_of_a_payer_that_closed_still_arrives),
        TEST(test_the_secret_is_registered_by_the_newest_blocks_time),
        TEST(test_no_lock_counts_by_the_time_of_a_node_that_stands_still),
        TEST(test_an_end_that_comes_twice_is_ignored),
        TEST(test_the_cursor_keeps_the_hash_before_it),
        TEST(test_one_registration_meets_every_lock_on_it),
        TEST(test_payments_without_receipt_leave_after_a_day),
        TEST(test_a_refund_in_the_turn_of_retirement_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
