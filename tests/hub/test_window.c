/* How much of a client's updates is on its way at once: a link drops whoever lets 2 MiB wait, with all of it, and what a
 * RESUME would bring again must fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "hub/engine_state.h"

#include "engine_world.c"

#define PER_UPDATE 150 /* payments with the longest memo: 55 KB */
#define HUB_ROOM   14000u

static void allow_many(struct engine_settings *settings)
{
    settings->waiting_max = 100000;
}

static int open_world(void **state)
{
    static struct world world;
    world_open_with(&world, allow_many);
    world_fund(&world, 0, 1000000, 0);
    world_fund(&world, 1, 0, HUB_ROOM);
    for (unsigned i = 0; i < 2; i++)
        world_connect(&world, i);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

/* The second client's channel with this salt, at the hub. */
static struct hub_channel *payees(const struct world *world, uint64_t salt)
{
    struct channel_key key = {.client = world->clients[1].address, .salt = salt};
    struct hash id = channel_id(&key);
    return engine_channel(world->engine, &id);
}

/* So many updates of the payer's, full of payments of one unit with long memos. */
static void pay_much(struct world *world, unsigned updates)
{
    static struct operation operations[PER_UPDATE];
    static uint64_t ids;
    char memo[MEMO_BYTES_MAX];
    memset(memo, 'm', sizeof(memo));
    for (; updates > 0; updates--) {
        for (size_t i = 0; i < PER_UPDATE; i++) {
            operations[i] = (struct operation){.type = OPERATION_PAY,
                                               .peer = world->clients[1].address,
                                               .amount = {1},
                                               .fee = {3},
                                               .expiry = world->now + 3600,
                                               .memo = {memo, sizeof(memo)}};
            store_be64(operations[i].id.bytes, ++ids);
        }
        world_send(world, 0, operations, PER_UPDATE);
        world_settle_down(world);
    }
}

/* One turn of the hub, durable, in which it looks at what waits for the payee: as it does whenever somebody pays it a
 * little more. Returns the bytes that it gives the payee's link. */
static size_t one_turn(struct world *world)
{
    const struct hub_channel *first = payees(world, 0);
    for (struct hub_channel *at = first->client->channels; at != NULL; at = at->next_of_client)
        engine_touch(world->engine, at);
    uint64_t sequence = engine_flush(world->engine);
    memory_journal_sync(world->journal, sequence);
    engine_durable(world->engine, sequence);
    size_t bytes = 0;
    for (size_t at = 0; at < world->waiting.length;) {
        struct waiting_head head;
        memcpy(&head, world->waiting.data + at, sizeof(head));
        at += sizeof(head) + head.length;
        bytes += head.peer == world->clients[1].peer ? head.length : 0;
    }
    return bytes;
}

/* Until the hub has nothing more to say; what it said is lost if it is not `delivered`. Returns how much that was. */
static size_t turns(struct world *world, bool delivered)
{
    size_t bytes = 0;
    for (size_t now; (now = one_turn(world)) > 0; bytes += now) {
        if (delivered)
            deliver(world);
        else
            buffer_clear(&world->waiting);
    }
    return bytes;
}

static void say_resume(struct world *world, const struct hub_channel *channel, uint64_t received)
{
    struct message message = {.type = MESSAGE_RESUME};
    message.resume.channel = channel->channel->id;
    message.resume.received = received;
    world_message(world, 1, &message);
}

static void say_ack(struct world *world, const struct hub_channel *channel, uint64_t nonce)
{
    struct message message = {.type = MESSAGE_ACK};
    message.ack.channel = channel->channel->id;
    message.ack.nonce = nonce;
    world_message(world, 1, &message);
}

/* Connected by hand: nothing that comes is looked at. */
static void come(struct world *world)
{
    world->clients[1].peer = world->next_peer++;
    engine_connected(world->engine, world->clients[1].peer, &world->clients[1].address);
    (void)turns(world, false);
}

static uint64_t got(const struct world *world)
{
    return channel_peer(world->clients[1].channel)->proof.transferred.units;
}

/* What a channel may have on its way, with the update that reaches the bound, and the heads of the messages. */
#define CHANNEL_MOST (CHANNEL_UNDER_WAY_BYTES_MAX + BODY_BYTES_MAX + 1024)
#define CLIENT_MOST  (CLIENT_UNDER_WAY_BYTES_MAX + BODY_BYTES_MAX + 1024)

static void test_what_is_new_waits_for_what_is_on_its_way(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    pay_much(world, 20);
    world->clients[1].mute = true;
    come(world);
    say_resume(world, payees(world, 0), 0);
    size_t bytes = turns(world, true); /* all arrives, and nothing is acknowledged */
    assert_in_range(bytes, CHANNEL_UNDER_WAY_BYTES_MAX, CHANNEL_MOST);
    assert_true(got(world) > 0 && got(world) < 20 * PER_UPDATE);
    assert_false(channel_has_window(payees(world, 0)));
    assert_int_equal(payees(world, 0)->unsent, 0); /* not even signed: what waits can still be refunded */
    world->clients[1].mute = false;
    say_ack(world, payees(world, 0), channel_peer(world->clients[1].channel)->proof.nonce);
    world_settle_down(world);
    assert_int_equal(got(world), 20 * PER_UPDATE);
    assert_int_equal(payees(world, 0)->under_way, 0);
    assert_int_equal(world->engine->figures.updates_refused, 0);
}

/* 64 updates that nobody has, as a hub of before this bound left them on its disk. */
static void fill_window(struct world *world)
{
    world_disconnect(world, 1);
    pay_much(world, 80);
    come(world);
    say_resume(world, payees(world, 0), 0);
    for (unsigned i = 0; i < UNACKNOWLEDGED_MAX; i++) {
        payees(world, 0)->under_way = payees(world, 0)->client->under_way = 0;
        (void)one_turn(world);
        buffer_clear(&world->waiting);
    }
    const struct channel *machine = payees(world, 0)->channel;
    assert_int_equal(machine->streams[SIDE_HUB].proof.nonce - machine->acknowledged, UNACKNOWLEDGED_MAX);
    world_crash(world);
    world_connect(world, 0);
}

/* Over and over: what comes before an acknowledgement fits, and the client gets on. */
static void test_an_old_hubs_window_is_worked_off(void **state)
{
    struct world *world = *state;
    fill_window(world);
    world->clients[1].mute = true;
    uint64_t before = 0;
    for (unsigned i = 0; i < 3; i++) {
        come(world);
        say_resume(world, payees(world, 0), channel_peer(world->clients[1].channel)->proof.nonce);
        size_t bytes = turns(world, true);
        assert_in_range(bytes, CHANNEL_UNDER_WAY_BYTES_MAX, CHANNEL_MOST);
        assert_true(got(world) > before);
        before = got(world);
        world_disconnect(world, 1);
    }
    world_crash(world); /* it forgets what was acknowledged: RESUME says it again */
    world_connect(world, 0);
    world->clients[1].mute = false;
    world_connect(world, 1);
    assert_int_equal(got(world), 80 * PER_UPDATE); /* each update was the next one, and good */
    assert_int_equal(payees(world, 0)->under_way, 0);
    assert_int_equal(payees(world, 0)->client->under_way, 0);
}

static void test_what_it_had_before_may_be_acknowledged(void **state)
{
    struct world *world = *state;
    fill_window(world);
    uint64_t errors = engine_errors_said(world->engine);
    world->clients[1].mute = true;
    come(world);
    say_resume(world, payees(world, 0), 0);
    (void)turns(world, true);
    uint64_t has = channel_peer(world->clients[1].channel)->proof.nonce;
    assert_true(has > 4);
    /* On the next link it says less at first than it has: its own disk was slower. */
    world_disconnect(world, 1);
    come(world);
    say_resume(world, payees(world, 0), 1);
    (void)one_turn(world);
    buffer_clear(&world->waiting);
    say_ack(world, payees(world, 0), has);
    assert_int_equal(payees(world, 0)->channel->acknowledged, has);
    /* And beyond what this link has brought so far. */
    world_disconnect(world, 1);
    come(world);
    say_resume(world, payees(world, 0), has);
    uint64_t sent = payees(world, 0)->channel->streams[SIDE_HUB].proof.nonce - payees(world, 0)->unsent;
    assert_in_range(sent, has + 1, has + UNACKNOWLEDGED_MAX - 4);
    (void)turns(world, false);
    say_ack(world, payees(world, 0), sent + 3);
    assert_int_equal(payees(world, 0)->channel->acknowledged, sent + 3);
    size_t bytes = turns(world, false);
    assert_in_range(bytes, 1, CHANNEL_MOST);
    say_ack(world, payees(world, 0), payees(world, 0)->channel->streams[SIDE_HUB].proof.nonce);
    assert_int_equal(payees(world, 0)->under_way, 0);
    assert_int_equal(payees(world, 0)->unsent, 0);
    assert_int_equal(engine_errors_said(world->engine), errors);
}

static void test_resume_again_changes_nothing(void **state)
{
    struct world *world = *state;
    fill_window(world);
    come(world);
    say_resume(world, payees(world, 0), 0);
    (void)turns(world, false);
    uint32_t under_way = payees(world, 0)->under_way;
    uint8_t unsent = payees(world, 0)->unsent;
    say_resume(world, payees(world, 0), 0);
    assert_int_equal(turns(world, false), 0);
    assert_int_equal(payees(world, 0)->under_way, under_way);
    say_resume(world, payees(world, 0), 1); /* as good as an ACK */
    assert_in_range(turns(world, false), 1, BODY_BYTES_MAX + 1024);
    assert_int_equal(payees(world, 0)->unsent, unsent - 1);
}

/* Three channels of one client, each with more to send than fits. */
static void open_three(struct world *world)
{
    world_disconnect(world, 1);
    for (uint64_t salt = 0; salt < 3; salt++) {
        if (salt > 0) {
            world_open_another(world, 1, salt, 0, HUB_ROOM << salt);
            world_head(world, 1);
            world_settle_down(world);
        }
        pay_much(world, 20); /* into the one with the most room */
        assert_int_equal(payees(world, salt)->waiting, 20 * PER_UPDATE);
    }
    come(world);
    for (uint64_t salt = 0; salt < 3; salt++)
        say_resume(world, payees(world, salt), 0);
    (void)turns(world, false);
}

static void test_several_channels_share_a_link(void **state)
{
    struct world *world = *state;
    open_three(world);
    const struct client *client = payees(world, 0)->client;
    assert_in_range(client->under_way, CLIENT_UNDER_WAY_BYTES_MAX, CLIENT_MOST);
    uint64_t arrived[3];
    for (uint64_t salt = 0; salt < 3; salt++)
        arrived[salt] = payees(world, salt)->channel->streams[SIDE_HUB].proof.nonce;
    /* Whose turn it is to acknowledge gives room to all. */
    for (uint64_t salt = 0; salt < 2; salt++) {
        say_ack(world, payees(world, salt), arrived[salt] - payees(world, salt)->unsent);
        (void)turns(world, false);
        assert_in_range(client->under_way, CLIENT_UNDER_WAY_BYTES_MAX, CLIENT_MOST);
    }
    assert_true(payees(world, 2)->under_way > 0);
    for (unsigned i = 0; i < 60; i++)
        for (uint64_t salt = 0; salt < 3; salt++) {
            const struct hub_channel *channel = payees(world, salt);
            say_ack(world, channel, channel->channel->streams[SIDE_HUB].proof.nonce - channel->unsent);
            (void)turns(world, false);
        }
    for (uint64_t salt = 0; salt < 3; salt++)
        assert_int_equal(payees(world, salt)->channel->streams[SIDE_HUB].proof.transferred.units,
                         20 * PER_UPDATE);
    assert_int_equal(client->under_way, 0);
}

/* Nobody acknowledges what is on its way in a channel that has ended. */
static void test_a_closed_channel_leaves_its_room(void **state)
{
    struct world *world = *state;
    open_three(world);
    struct hub_channel *closed = payees(world, 1);
    const struct client *client = closed->client;
    assert_true(closed->under_way > 0);
    struct contract_event event = {.type = EVENT_CLOSE_STARTED,
                                   .confirmed = true,
                                   .channel = closed->channel->id,
                                   .block = world->block + 1,
                                   .block_time = world->now,
                                   .deadline = world->now + 4000};
    engine_event(world->engine, &event);
    world_head(world, 1);
    event = (struct contract_event){
        .type = EVENT_FINISHED, .confirmed = true, .channel = closed->channel->id, .block = world->block + 1};
    engine_event(world->engine, &event);
    world_head(world, 1);
    assert_true(turns(world, false) > 0);
    assert_int_equal(closed->channel->funds.stage, STAGE_CLOSED);
    assert_int_equal(closed->under_way, 0);
    assert_in_range(client->under_way, CLIENT_UNDER_WAY_BYTES_MAX, CLIENT_MOST);
    assert_int_equal(client->under_way, payees(world, 0)->under_way + payees(world, 2)->under_way);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_new_waits_for_what_is_on_its_way),
        TEST(test_an_old_hubs_window_is_worked_off),
        TEST(test_what_it_had_before_may_be_acknowledged),
        TEST(test_resume_again_changes_nothing),
        TEST(test_several_channels_share_a_link),
        TEST(test_a_closed_channel_leaves_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
