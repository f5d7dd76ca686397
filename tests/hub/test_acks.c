/* When the engine acknowledges: with a payment's outcome, after many updates, or when its time is over; and which outcomes
 * do not wait for the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/engine_state.h"

#include "engine_world.c"

static void let_acks_wait(struct engine_settings *settings)
{
    settings->acks_wait = true;
}

static int open_world(void **state)
{
    static struct world world;
    world_open_with(&world, let_acks_wait);
    world_fund(&world, 0, 100000, 0);
    world_fund(&world, 1, 0, 50000);
    world_connect(&world, 0);
    world_connect(&world, 1);
    world_settle_down(&world);
    /* Something for the other to pay with; after that no ACK is owed. */
    world_pay(&world, 0, 1, 1000, 1, false);
    world_settle_down(&world);
    engine_acks(world.engine);
    engine_acks(world.engine);
    world_settle_down(&world);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static uint64_t unacknowledged(const struct world *world, unsigned client)
{
    const struct channel *channel = world->clients[client].channel;
    return channel->streams[SIDE_CLIENT].proof.nonce - channel->acknowledged;
}

static void test_it_leaves_with_the_outcome(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 1);
    assert_true(engine_acks_wait(world->engine));
    const struct world_client *payee = &world->clients[1];
    world_reveal(world, 1, 2, &payee->received[payee->received_count - 1]);
    memory_journal_sync(world->journal, engine_flush(world->engine));
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 1);
    assert_int_equal(world_waiting(world, 0, MESSAGE_ACK), 1);
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 0);
    /* Its turn in the list brings no second one. */
    engine_acks(world->engine);
    engine_acks(world->engine);
    memory_journal_sync(world->journal, engine_flush(world->engine));
    assert_int_equal(world_waiting(world, 0, MESSAGE_ACK), 0);
    assert_false(engine_acks_wait(world->engine));
}

static void test_it_leaves_with_an_update(void **state)
{
    struct world *world = *state;
    world_pay(world, 1, 0, 10, 3, false); /* both ways in one turn */
    world_pay(world, 0, 1, 10, 4, false);
    memory_journal_sync(world->journal, engine_flush(world->engine));
    assert_int_equal(world_waiting(world, 0, MESSAGE_UPDATE), 1);
    assert_int_equal(world_waiting(world, 0, MESSAGE_ACK), 1);
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 0);
}

static void test_it_leaves_by_itself(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    engine_acks(world->engine); /* it may have begun to wait just now */
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 1);
    engine_acks(world->engine);
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 0);
    assert_false(engine_acks_wait(world->engine));
}

static void test_many_updates_do_not_wait(void **state)
{
    struct world *world = *state;
    for (uint8_t i = 0; i < 15; i++) {
        world_pay(world, 0, 1, 10, (uint8_t)(10 + i), false);
        world_settle_down(world);
        assert_int_equal(unacknowledged(world, 0), i + 1u);
    }
    world_pay(world, 0, 1, 10, 30, false);
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 0);
}

static void test_a_link_that_is_gone_gets_none(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    world_disconnect(world, 0);
    world_connect(world, 0); /* CHANNEL shows what has come */
    engine_acks(world->engine);
    engine_acks(world->engine);
    memory_journal_sync(world->journal, engine_flush(world->engine));
    assert_int_equal(world_waiting(world, 0, MESSAGE_ACK), 0);
    world_settle_down(world);
    assert_int_equal(unacknowledged(world, 0), 0);
}

/* ---- receipts that go ahead of the disk (hub/ahead.c) ---- */

static void reveal(struct world *world, unsigned payee, uint8_t id)
{
    const struct world_client *client = &world->clients[payee];
    world_reveal(world, payee, id, &client->received[client->received_count - 1]);
}

static void test_a_receipt_goes_ahead_and_takes_the_ack_along(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    uint64_t appended = memory_journal_appended(world->journal);
    reveal(world, 1, 2);
    assert_int_equal(memory_journal_appended(world->journal), appended);
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 1);
    assert_int_equal(world_waiting(world, 0, MESSAGE_ACK), 1);
    assert_true(engine_can_wait(world->engine)); /* for a turn to write it down */
    /* And is not told a second time by the batch that notes it. */
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, 1);
    assert_int_equal(unacknowledged(world, 0), 0);
}

static void test_an_ack_that_is_not_durable_stays_behind(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    struct payment_id payment = world->clients[1].received[world->clients[1].received_count - 1];
    world_pay(world, 0, 1, 10, 3, false); /* taken, not flushed */
    assert_false(engine_can_wait(world->engine));
    world_reveal(world, 1, 2, &payment);
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 1);
    assert_int_equal(world_waiting(world, 0, MESSAGE_ACK), 0);
    engine_flush(world->engine);         /* written, not durable */
    world_reveal(world, 1, 2, &payment); /* repeated: nothing */
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 1);
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    world_settle_down(world);
    /* The hub has forgotten that the first was revealed: asked again, it says so once more. */
    world_reveal(world, 1, 2, &payment);
    world_settle_down(world);
    struct engine_figures figures = engine_figures(world->engine);
    assert_int_equal(figures.payments_revealed, 1); /* since the start */
}

static void test_a_locked_receipt_waits(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 2, true);
    world_settle_down(world);
    reveal(world, 1, 2);
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 0);
    assert_false(engine_can_wait(world->engine));
    memory_journal_sync(world->journal, engine_flush(world->engine));
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 1);
    world_settle_down(world);
}

static void test_nothing_overtakes_the_welcome(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 10, 2, false);
    world_settle_down(world);
    world_disconnect(world, 0);
    reveal(world, 1, 2);
    assert_int_equal(world_waiting(world, 0, MESSAGE_REVEAL), 0);
    /* On the next link it is asked for. */
    world_connect(world, 0);
    world_settle_down(world);
    struct message ask = {.type = MESSAGE_RESUME};
    struct payment_id id = world_id(2);
    ask.resume.channel = world->clients[0].channel->id;
    ask.resume.received = world->clients[0].channel->streams[SIDE_HUB].proof.nonce;
    ask.resume.ids = &id;
    ask.resume.count = 1;
    size_t before = world->clients[0].revealed_count;
    world_message(world, 0, &ask);
    world_settle_down(world);
    assert_int_equal(world->clients[0].revealed_count, before + 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_it_leaves_with_the_outcome),
        TEST(test_it_leaves_with_an_update),
        TEST(test_it_leaves_by_itself),
        TEST(test_many_updates_do_not_wait),
        TEST(test_a_link_that_is_gone_gets_none),
        TEST(test_a_receipt_goes_ahead_and_takes_the_ack_along),
        TEST(test_an_ack_that_is_not_durable_stays_behind),
        TEST(test_a_locked_receipt_waits),
        TEST(test_nothing_overtakes_the_welcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
