/* The outbox: order, nothing above the durable sequence, and what its owner may not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/capture.h"
#include "wire/outbox.h"

struct delivered {
    struct outbox *outbox;
    struct decoder *decoder;
    size_t count;
    uint64_t last_nonce, last_peer;
    bool in_order;
    size_t put_more; /* while delivering */
    uint64_t next_nonce;
};

static void put(struct delivered *delivered, uint64_t sequence, uint64_t peer)
{
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.nonce = ++delivered->next_nonce;
    outbox_put(delivered->outbox, sequence, peer, &ack);
}

static void deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct delivered *delivered = context;
    struct message message;
    const char *why;
    for (; delivered->put_more > 0; delivered->put_more--)
        put(delivered, 0, 9);
    assert_int_equal(load_be32(frame) + 4, length);
    assert_int_equal(message_decode(delivered->decoder, frame + 4, length - 4, &message, &why), CODE_OK);
    delivered->in_order = delivered->in_order && message.ack.nonce == delivered->last_nonce + 1;
    delivered->last_nonce = message.ack.nonce;
    delivered->last_peer = peer;
    delivered->count++;
}

static int set_up(void **state)
{
    struct delivered *delivered = calloc(1, sizeof *delivered);
    delivered->in_order = true;
    delivered->decoder = decoder_new();
    delivered->outbox = outbox_new(deliver, delivered);
    *state = delivered;
    return 0;
}

static int tear_down(void **state)
{
    struct delivered *delivered = *state;
    outbox_free(delivered->outbox);
    decoder_free(delivered->decoder);
    free(delivered);
    return 0;
}

static void nothing_leaves_before_it_is_durable(void **state)
{
    struct delivered *delivered = *state;
    put(delivered, 5, 1);
    put(delivered, 7, 2);
    assert_true(outbox_bytes(delivered->outbox) > 0);
    outbox_release(delivered->outbox, 4);
    assert_int_equal(delivered->count, 0);
    outbox_release(delivered->outbox, 5);
    assert_int_equal(delivered->count, 1);
    assert_int_equal(delivered->last_peer, 1);
    outbox_release(delivered->outbox, 6);
    assert_int_equal(delivered->count, 1);
    outbox_release(delivered->outbox, 100);
    assert_int_equal(delivered->count, 2);
    assert_int_equal(delivered->last_peer, 2);
    assert_int_equal(outbox_bytes(delivered->outbox), 0);
    assert_true(delivered->in_order);
}

static void what_needs_nothing_still_waits_its_turn(void **state)
{
    struct delivered *delivered = *state;
    put(delivered, 0, 1);
    put(delivered, 3, 1);
    put(delivered, 0, 2);
    outbox_release(delivered->outbox, 0);
    assert_int_equal(delivered->count, 1);
    outbox_release(delivered->outbox, 2);
    assert_int_equal(delivered->count, 1);
    outbox_release(delivered->outbox, 3);
    assert_int_equal(delivered->count, 3);
    put(delivered, 0, 2); /* after sequence 3, which is durable */
    outbox_release(delivered->outbox, 3);
    assert_int_equal(delivered->count, 4);
    assert_true(delivered->in_order);
}

static void many_frames_keep_their_order(void **state)
{
    struct delivered *delivered = *state;
    uint64_t durable = 0, sequence = 1;
    size_t most = 0;
    for (int round = 0; round < 20000; round++) {
        put(delivered, sequence, (uint64_t)round % 7);
        if (round % 3 == 0)
            sequence++;
        if (outbox_bytes(delivered->outbox) > most)
            most = outbox_bytes(delivered->outbox);
        if (round % 1000 == 999) {
            durable = sequence - 100;
            outbox_release(delivered->outbox, durable);
        }
    }
    assert_true(delivered->count < 20000 && delivered->count > 19000 && most < 100000);
    outbox_release(delivered->outbox, sequence);
    assert_int_equal(delivered->count, 20000);
    assert_true(delivered->in_order);
    assert_int_equal(outbox_bytes(delivered->outbox), 0);
}

static void delivery_may_put_more(void **state)
{
    struct delivered *delivered = *state;
    for (int i = 0; i < 10; i++)
        put(delivered, 1, 1);
    delivered->put_more = 5000;
    outbox_release(delivered->outbox, 1);
    assert_int_equal(delivered->count, 5010);
    assert_true(delivered->in_order);
    assert_int_equal(outbox_bytes(delivered->outbox), 0);
}

static void what_never_left_is_freed(void **state)
{
    struct delivered *delivered = *state;
    for (int i = 0; i < 5000; i++)
        put(delivered, 1, 1);
    outbox_release(delivered->outbox, 0);
    assert_int_equal(delivered->count, 0);
}

static void put_falling(void *argument)
{
    put(argument, 5, 1);
    put(argument, 4, 1);
}

static void release_again(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    (void)peer;
    (void)frame;
    (void)length;
    outbox_release(*(struct outbox **)context, 1);
}

static void release_in_delivery(void *argument)
{
    (void)argument;
    struct outbox *outbox = outbox_new(release_again, &outbox);
    struct message ping = {.type = MESSAGE_PING};
    outbox_put(outbox, 1, 1, &ping);
    outbox_release(outbox, 1);
}

static void misuse_stops_the_process(void **state)
{
    assert_true(capture_aborts(put_falling, *state));
    assert_true(capture_aborts(release_in_delivery, NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_leaves_before_it_is_durable),
        TEST(what_needs_nothing_still_waits_its_turn),
        TEST(many_frames_keep_their_order),
        TEST(delivery_may_put_more),
        TEST(what_never_left_is_freed),
        TEST(misuse_stops_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
