/* When the engine acknowledges: with a payment's outcome, after many updates, or when its time is over. */
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_it_leaves_with_the_outcome),    TEST(test_it_leaves_with_an_update),
        TEST(test_it_leaves_by_itself),           TEST(test_many_updates_do_not_wait),
        TEST(test_a_link_that_is_gone_gets_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
