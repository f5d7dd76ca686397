/* What one peer may take of what is everybody's: memory of payments that nobody answers, room for updates that wait, looks
 * into the archive, walks through channels that anybody can open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "hub/engine_state.h"

#include "engine_world.c"

#define UNREVEALED_MAX 3

static void few_unrevealed(struct engine_settings *settings)
{
    settings->unrevealed_max = UNREVEALED_MAX;
}

static void allow_many(struct engine_settings *settings)
{
    settings->waiting_max = 200;
}

static int open_with(void **state, void (*change)(struct engine_settings *settings))
{
    static struct world world;
    world_open_with(&world, change);
    world_fund(&world, 0, 100000, 0);
    world_fund(&world, 1, 0, 5000);
    world_fund(&world, 2, 1000, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_connect(&world, i);
    *state = &world;
    return 0;
}

static int open_few(void **state)
{
    return open_with(state, few_unrevealed);
}

static int open_many(void **state)
{
    return open_with(state, allow_many);
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static struct hub_channel *hub_side(const struct world *world, unsigned client)
{
    return engine_channel(world->engine, &world->clients[client].channel->id);
}

/* ---- payments without a secret ---- */

static void pay(struct world *world, uint8_t id)
{
    world_pay(world, 0, 1, 10, id, false);
    world_settle_down(world);
}

/* As many as there may be without a secret. */
static void pay_all(struct world *world)
{
    for (uint8_t id = 1; id <= UNREVEALED_MAX; id++)
        pay(world, id);
    assert_int_equal(hub_side(world, 1)->unrevealed, UNREVEALED_MAX);
}

static void assert_refunded(const struct world *world, size_t count)
{
    assert_int_equal(world->clients[0].refunded_count, count);
    if (count > 0)
        assert_int_equal(world->clients[0].refund_code[count - 1], CODE_LIMIT);
}

static void test_who_never_reveals_gets_no_more(void **state)
{
    struct world *world = *state;
    pay_all(world);
    assert_int_equal(world->clients[1].received_count, UNREVEALED_MAX);
    pay(world, 4);
    assert_refunded(world, 1);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    pay(world, 5);
    assert_refunded(world, 1);
    assert_int_equal(world->clients[1].received_count, UNREVEALED_MAX + 1);
    /* What the payee sends back is not its own any more. */
    struct operation back = {
        .type = OPERATION_REFUND, .id = world->clients[1].received[1], .amount = {10}, .code = CODE_INVOICE};
    world_send(world, 1, &back, 1);
    world_settle_down(world);
    assert_int_equal(hub_side(world, 1)->unrevealed, UNREVEALED_MAX - 1);
    pay(world, 6);
    assert_int_equal(world->clients[1].received_count, UNREVEALED_MAX + 2);
}

static void test_a_crash_forgets_none_of_them(void **state)
{
    struct world *world = *state;
    pay_all(world);
    world_crash(world);
    for (unsigned i = 0; i < 2; i++)
        world_connect(world, i);
    assert_int_equal(hub_side(world, 1)->unrevealed, UNREVEALED_MAX);
    pay(world, 4);
    assert_refunded(world, 1);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    pay(world, 5);
    assert_refunded(world, 1);
}

static void test_what_is_kept_no_longer_counts_no_longer(void **state)
{
    struct world *world = *state;
    pay_all(world);
    world_head(world, 3600 + 86400 + 10);
    world_settle_down(world);
    assert_int_equal(hub_side(world, 1)->unrevealed, 0);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    pay(world, 4);
    assert_refunded(world, 0);
}

/* Several in one update: those about to be signed count, too. */
static void test_one_update_of_many(void **state)
{
    struct world *world = *state;
    struct operation operations[2 * UNREVEALED_MAX];
    for (uint8_t i = 0; i < ARRAY_LENGTH(operations); i++)
        operations[i] = (struct operation){.type = OPERATION_PAY,
                                           .id = world_id((uint8_t)(i + 1)),
                                           .peer = world->clients[1].address,
                                           .amount = {10},
                                           .fee = {3},
                                           .expiry = world->now + 3600};
    world_send(world, 0, operations, ARRAY_LENGTH(operations));
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, UNREVEALED_MAX);
    assert_refunded(world, UNREVEALED_MAX);
}

/* ---- updates that wait ---- */

/* The client takes 64 updates without a word. */
static void close_window(struct world *world, unsigned client)
{
    world->clients[client].mute = true;
    for (uint8_t i = 0; i < UNACKNOWLEDGED_MAX; i++) {
        world_pay(world, 0, client, 1, (uint8_t)(100 * (client - 1) + i), false);
        world_settle_down(world);
        world->clients[client].received_count = 0; /* the book is small */
    }
    assert_false(channel_has_window(hub_side(world, client)));
}

static void send_back(struct world *world, unsigned client, unsigned times)
{
    struct operation back = {.type = OPERATION_REFUND, .id = world_id(1), .amount = {1}};
    for (unsigned i = 0; i < times; i++)
        world_send(world, client, &back, 1);
}

static void test_who_holds_the_most_goes_first(void **state)
{
    struct world *world = *state;
    close_window(world, 1);
    close_window(world, 2);
    send_back(world, 1, 20);
    assert_int_equal(hub_side(world, 1)->held_count, 20);
    /* As if all others held the rest. */
    size_t others = HELD_BYTES_MAX - world->engine->held_bytes;
    world->engine->held_bytes += others;
    send_back(world, 2, 1);
    assert_int_equal(world->clients[1].disconnects, 1);
    assert_int_equal(world->clients[2].disconnects, 0);
    assert_int_equal(hub_side(world, 1)->held_bytes, 0);
    assert_int_equal(hub_side(world, 2)->held_count, 1);
    /* There is nobody else who holds anything. */
    size_t more = HELD_BYTES_MAX - world->engine->held_bytes;
    world->engine->held_bytes += more;
    send_back(world, 2, 1);
    assert_int_equal(world->clients[2].disconnects, 1);
    world->engine->held_bytes -= others + more;
    assert_int_equal(world->engine->held_bytes, 0);
    for (unsigned i = 1; i < 3; i++)
        world->clients[i].peer = 0;
}

/* ---- looks into the archive ---- */

static void say_resume(struct world *world, unsigned client, const struct payment_id *ids, size_t count)
{
    struct message message = {.type = MESSAGE_RESUME};
    message.resume.channel = world->clients[client].channel->id;
    message.resume.received = channel_peer(world->clients[client].channel)->proof.nonce;
    message.resume.ids = ids;
    message.resume.count = count;
    world_message(world, client, &message);
}

static void come(struct world *world, unsigned client)
{
    world->clients[client].peer = world->next_peer++;
    engine_connected(world->engine, world->clients[client].peer, &world->clients[client].address);
}

static void test_unknown_ids_in_resume_are_looked_for_together(void **state)
{
    struct world *world = *state;
    static struct payment_id ids[OUTCOMES_PER_MESSAGE_MAX];
    for (size_t i = 0; i < OUTCOMES_PER_MESSAGE_MAX; i++)
        store_be64(ids[i].bytes, i + 1000);
    world_disconnect(world, 0);
    come(world, 0);
    world->finds = 0;
    say_resume(world, 0, ids, OUTCOMES_PER_MESSAGE_MAX);
    world_settle_down(world);
    assert_int_equal(world->finds, 0);
}

static void test_resume_again_is_charged_and_asks_for_few(void **state)
{
    struct world *world = *state;
    struct payment_id ids[20];
    for (uint8_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        ids[i] = world_id((uint8_t)(i + 1));
        pay(world, (uint8_t)(i + 1));
        world_reveal(world, 1, (uint8_t)(i + 1), &world->clients[1].received[i]);
        world_settle_down(world);
    }
    assert_int_equal(engine_figures(world->engine).payments_kept, 0); /* they are in the archive */
    world_disconnect(world, 0);
    come(world, 0);
    uint64_t errors = engine_errors_said(world->engine);
    world->finds = 0;
    say_resume(world, 0, ids, ARRAY_LENGTH(ids));
    assert_int_equal(world->finds, ARRAY_LENGTH(ids));
    assert_int_equal(engine_errors_said(world->engine), errors);
    for (unsigned i = 1; i < 4; i++) {
        world->finds = 0;
        say_resume(world, 0, ids, ARRAY_LENGTH(ids));
        assert_in_range(world->finds, 1, 16);
        assert_int_equal(engine_errors_said(world->engine), errors + i);
    }
    world_settle_down(world);
    assert_int_equal(world->clients[0].errors, 0);
}

static void test_refunds_of_unknown_ids_are_looked_for_together(void **state)
{
    struct world *world = *state;
    static struct operation back[OPERATIONS_MAX];
    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        back[i] = (struct operation){.type = OPERATION_REFUND, .code = CODE_PAID};
        store_be64(back[i].id.bytes, i + 1000);
    }
    world->finds = 0;
    world_send(world, 1, back, OPERATIONS_MAX);
    world_settle_down(world);
    assert_int_equal(world->clients[1].errors, 0);
    assert_int_equal(world->finds, 0);
}

/* Among those that mean nothing: a payment that is under way, one that is over, one that is over in the archive twice. */
static void test_refunds_among_unknown_ids(void **state)
{
    struct world *world = *state;
    struct operation back[5];
    for (uint8_t id = 1; id <= 2; id++)
        pay(world, id);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    for (size_t i = 0; i < ARRAY_LENGTH(back); i++) {
        back[i] = (struct operation){.type = OPERATION_REFUND, .code = CODE_PAID};
        store_be64(back[i].id.bytes, i + 1000);
    }
    back[1].id = world->clients[1].received[0]; /* over */
    back[3].id = world->clients[1].received[1]; /* under way */
    back[1].amount = back[3].amount = amount_of(10);
    world_send(world, 1, back, ARRAY_LENGTH(back));
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 2);
    assert_true(payment_id_equal(&world->clients[0].refunded[0], &(struct payment_id[]){world_id(1)}[0]) ||
                payment_id_equal(&world->clients[0].refunded[1], &(struct payment_id[]){world_id(1)}[0]));
}

/* ---- channels that anybody can open ---- */

#define STRAY 1100

static void open_stray(struct world *world, unsigned client)
{
    for (uint64_t salt = 1; salt <= STRAY; salt++)
        world_open_another(world, client, salt, 9000 + salt % 7,
                           0); /* more than is in the one that is used */
    world_head(world, 1);
    (void)engine_flush(world->engine);
}

/* The CHANNELs that the hub has for this client now, and how many WELCOME promised. */
struct shown {
    size_t count;
    uint64_t promised, first_salt, totals_rose;
};

static struct shown what_is_shown(struct world *world, unsigned client)
{
    struct decoder *decoder = decoder_new();
    struct shown shown = {0};
    uint64_t last_total = UINT64_MAX;
    for (size_t at = 0; at < world->waiting.length;) {
        struct waiting_head head;
        struct message message;
        const char *why;
        memcpy(&head, world->waiting.data + at, sizeof(head));
        at += sizeof(head);
        assert_int_equal(
            message_decode(decoder, world->waiting.data + at + 4, head.length - 4, &message, &why), CODE_OK);
        at += head.length;
        if (head.peer != world->clients[client].peer)
            continue;
        if (message.type == MESSAGE_WELCOME)
            shown.promised = message.welcome.channels;
        if (message.type != MESSAGE_CHANNEL)
            continue;
        if (shown.count++ == 0) {
            shown.first_salt = message.channel.key.salt;
            continue;
        }
        shown.totals_rose += message.channel.total.units > last_total;
        last_total = message.channel.total.units;
    }
    decoder_free(decoder);
    return shown;
}

static void test_stray_channels_hide_none(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    open_stray(world, 1);
    for (unsigned i = 0; i < 2; i++) {
        buffer_clear(&world->waiting);
        come(world, 1);
        (void)engine_flush(world->engine);
        struct shown shown = what_is_shown(world, 1);
        assert_int_equal(shown.count, CHANNELS_SHOWN_MAX);
        assert_int_equal(shown.promised, CHANNELS_SHOWN_MAX);
        assert_int_equal(shown.first_salt, 0);
        assert_int_equal(shown.totals_rose, 0);
        assert_true(hub_side(world, 1)->announced);
        buffer_clear(&world->waiting);
        world->clients[1].peer = 0;
        memory_journal_sync(world->journal, world->engine->sequence);
        world_crash(world); /* and as it is read back */
    }
}

/* A stray channel that the hub puts money into is one like others. */
static void test_a_stray_channel_that_is_funded(void **state)
{
    struct world *world = *state;
    open_stray(world, 1);
    buffer_clear(&world->waiting);
    world_fund_another(world, 1, STRAY / 2, 0, 9000);
    world_head(world, 1);
    (void)engine_flush(world->engine);
    buffer_clear(&world->waiting);
    const struct hub_channel *best =
        forward_payee(world->engine, &world->clients[1].address, &(struct address){{0}});
    assert_non_null(best);
    assert_int_equal(best->channel->key.salt, STRAY / 2);
    assert_ptr_equal(best->client->channels, best);
}

static void test_stray_channels_take_no_payment(void **state)
{
    struct world *world = *state;
    open_stray(world, 1);
    buffer_clear(&world->waiting);
    for (unsigned i = 0; i < 2; i++) {
        const struct hub_channel *payee =
            forward_payee(world->engine, &world->clients[1].address, &(struct address){{0}});
        assert_ptr_equal(payee, hub_side(world, 1));
        assert_ptr_equal(payee->client->channels, payee); /* found at once */
        memory_journal_sync(world->journal, engine_flush(world->engine));
        world_crash(world);
    }
    /* Whoever has nothing but stray channels has no room either, and is not looked for long. */
    for (uint64_t salt = 0; salt < STRAY; salt++)
        world_open_another(world, 3, salt, 1, 0);
    world_head(world, 1);
    (void)engine_flush(world->engine);
    struct address other = {{9}};
    assert_null(forward_payee(world->engine, &world->clients[3].address, &other));
    assert_non_null(forward_payee(world->engine, &world->clients[3].address, &(struct address){{0}}));
    buffer_clear(&world->waiting);
}

int main(void)
{
#define FEW(name)  cmocka_unit_test_setup_teardown(name, open_few, close_world)
#define MANY(name) cmocka_unit_test_setup_teardown(name, open_many, close_world)
    const struct CMUnitTest tests[] = {
        FEW(test_who_never_reveals_gets_no_more),
        FEW(test_a_crash_forgets_none_of_them),
        FEW(test_what_is_kept_no_longer_counts_no_longer),
        FEW(test_one_update_of_many),
        MANY(test_who_holds_the_most_goes_first),
        MANY(test_unknown_ids_in_resume_are_looked_for_together),
        MANY(test_resume_again_is_charged_and_asks_for_few),
        MANY(test_refunds_of_unknown_ids_are_looked_for_together),
        MANY(test_refunds_among_unknown_ids),
        MANY(test_stray_channels_hide_none),
        MANY(test_a_stray_channel_that_is_funded),
        MANY(test_stray_channels_take_no_payment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
