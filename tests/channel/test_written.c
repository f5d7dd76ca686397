/* Persist before you reveal: whatever a function changes, the next channel_write alone gives. A journal of what
 * each step wrote is replayed after every single step and compared with the machine that lives on. */
#include "tests/channel/pair.h"

#define H      SIDE_HUB
#define C      SIDE_CLIENT
#define EXPIRY (NOW + 5000u)

static struct pair pair;
static struct buffer journals[2];

static struct channel *replay(const struct buffer *journal)
{
    struct reader reader = reader_of(journal->data, journal->length);
    struct record record;
    struct channel *channel = NULL;
    while (record_next(&reader, &record))
        assert_true(channel_read(&channel, &record));
    assert_true(reader.ok);
    assert_non_null(channel);
    assert_true(channel_recovered(channel));
    return channel;
}

/* Both sides write what changed. Returns the bytes that `side` wrote. */
static size_t written(enum side side)
{
    size_t bytes = 0;
    for (int at = 0; at < 2; at++) {
        size_t before = journals[at].length;
        channel_write(pair.sides[at], &journals[at]);
        if (at == (int)side)
            bytes = journals[at].length - before;
        struct channel *read = replay(&journals[at]);
        if (at == H) /* what RESUME will tell it */
            assert_int_equal(channel_acknowledged(read, pair.sides[at]->acknowledged), CODE_OK);
        struct buffer expected = {0}, got = {0};
        channel_write_all(pair.sides[at]);
        channel_write(pair.sides[at], &expected);
        channel_write_all(read);
        channel_write(read, &got);
        assert_int_equal(got.length, expected.length);
        assert_memory_equal(got.data, expected.data, got.length);
        buffer_free(&expected);
        buffer_free(&got);
        channel_free(read);
    }
    return bytes;
}

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair, 100000, 50000);
    buffer_clear(&journals[C]);
    buffer_clear(&journals[H]);
    assert_true(written(C) > 0);
    assert_int_equal(written(C) + written(H), 0); /* nothing changed, nothing written */
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    pair_close(&pair);
    buffer_free(&journals[C]);
    buffer_free(&journals[H]);
    journals[C] = journals[H] = (struct buffer){0};
    return 0;
}

/* One update, written at each step of its life on both sides. */
static void pass_written(enum side from, struct operation operation)
{
    assert_int_equal(add(&pair, from, operation), CODE_OK);
    assert_int_equal(written(from), 0); /* a draft is not state */
    struct sent sent = seal(&pair, from);
    assert_true(written(from) > 0);
    assert_accepted(&pair, side_other(from), &sent);
    assert_true(written(side_other(from)) > 0);
    assert_int_equal(receive(&pair, side_other(from), &sent).verdict, VERDICT_AGAIN);
    assert_int_equal(written(side_other(from)), 0);
    assert_int_equal(channel_acknowledged(pair.sides[from], sent.update.proof.nonce), CODE_OK);
    assert_int_equal(written(from) > 0, from == C); /* a hub writes it with its next update */
    assert_int_equal(channel_acknowledged(pair.sides[from], sent.update.proof.nonce), CODE_OK);
    assert_int_equal(written(from), 0);
}

static void test_what_the_ledger_and_the_hub_say(void **state)
{
    (void)state;
    struct channel_funds funds = funds_of(150001, 100000, 0);
    channel_set_told(pair.sides[C], &funds);
    assert_true(written(C) > 0);
    channel_set_told(pair.sides[C], &funds);
    assert_int_equal(written(C), 0);
    channel_set_funds(pair.sides[C], &funds);
    assert_true(written(C) > 0);
    channel_set_funds(pair.sides[H], &funds);
    assert_true(written(H) > 0);
    funds.stage = STAGE_CLOSING;
    channel_set_funds(pair.sides[H], &funds);
    assert_true(written(H) > 0);
    channel_set_funds(pair.sides[H], &funds);
    assert_int_equal(written(H), 0);
}

static void test_each_kind_of_operation(void **state)
{
    (void)state;
    for (int from = 0; from < 2; from++) {
        enum side side = (enum side)from;
        uint64_t first = channel_own(pair.sides[side])->last_lock_id;
        pass_written(side, pay_of(5, 1));
        pass_written(side, refund_of(3));
        for (uint64_t id = first + 1; id <= first + 3; id++)
            pass_written(side, lock_of(id, 10, 0, EXPIRY));
        pass_written(side, unlock_of(first + 1, first + 1));
        struct payment_id failed = payment_of(first + 2);
        assert_true(channel_mark_failed(pair.sides[side_other(side)], &failed));
        assert_true(written(side_other(side)) > 0);
        assert_non_null(channel_fail_received(pair.sides[side], &failed));
        assert_true(written(side) > 0);
        pass_written(side, removal_of(OPERATION_CANCEL, first + 2));
        pair_set_time(&pair, EXPIRY + 1);
        pass_written(side, removal_of(OPERATION_EXPIRE, first + 3));
        pair_set_time(&pair, NOW);
    }
}

static void test_revocations(void **state)
{
    (void)state;
    pass_written(C, lock_of(1, 10, 0, EXPIRY));
    pair_set_time(&pair, EXPIRY + 1);
    pass_written(C, removal_of(OPERATION_EXPIRE, 1));
    struct signature signature = channel_revoke(pair.sides[H], &pair.domain, &pair.keys[H], 2);
    assert_true(written(H) > 0);
    struct channel_view *view = &pair.nodes[C].view;
    assert_int_equal(channel_revocation_received(pair.sides[C], view, 2, &signature, NULL), CODE_OK);
    assert_true(written(C) > 0);
    assert_int_equal(channel_revocation_received(pair.sides[C], view, 2, &signature, NULL), CODE_OK);
    assert_int_equal(written(C), 0);
}

static void test_settlements(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[H], *client = pair.sides[C];
    struct signature signature;
    assert_int_equal(channel_propose(hub, amount_of(1), amount_of(2), NOW + 1000, false), CODE_OK);
    assert_true(written(H) > 0);
    channel_settle_refused(hub);
    assert_true(written(H) > 0);
    for (uint64_t round = 0; round < 2; round++) {
        struct amount out = amount_of(10);
        assert_int_equal(channel_propose(hub, out, out, NOW + 1000, false), CODE_OK);
        assert_true(written(H) > 0);
        assert_int_equal(channel_settle_sign(client, &pair.nodes[C].view, channel_settlement(hub), out, false,
                                             WINDOW_S, &pair.keys[C], &signature),
                         CODE_OK);
        assert_true(written(C) > 0);
        assert_int_equal(channel_settle_signed(hub, &pair.nodes[H].view, 1, &signature), CODE_OK);
        assert_true(written(H) > 0);
        if (round == 0) {
            client->settlement->said_dead = client->dirty = true; /* as the wallet does on SETTLED 6 */
            assert_true(written(C) > 0);
            assert_true(channel_settle_expire(hub, NOW + 1001) && channel_settle_expire(client, NOW + 1001));
        } else {
            struct channel_funds settled = funds_of(149980, 99990, 1);
            assert_true(channel_set_funds(client, &settled));
            assert_true(written(C) > 0);
            channel_set_told(client, &settled);
            assert_true(channel_set_funds(hub, &settled));
        }
        assert_int_equal(channel_settlement(client)->phase, SETTLEMENT_NONE);
        assert_true(written(C) > 0);
    }
}

/* With many unacknowledged, only the new update is written, not all that are kept. */
static void test_a_kept_update_is_written_once(void **state)
{
    (void)state;
    size_t first = 0;
    for (int i = 0; i < UNACKNOWLEDGED_MAX; i++) {
        assert_int_equal(add(&pair, C, pay_of(1, 0)), CODE_OK);
        (void)seal(&pair, C);
        size_t bytes = written(C);
        channel_write(pair.sides[C], &journals[C]);
        first = i == 1 ? bytes : first; /* the very first makes the channel's record anew */
        assert_true(i < 2 || bytes == first);
    }
}

int main(void)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        WITH_PAIR(test_what_the_ledger_and_the_hub_say),
        WITH_PAIR(test_each_kind_of_operation),
        WITH_PAIR(test_revocations),
        WITH_PAIR(test_settlements),
        WITH_PAIR(test_a_kept_update_is_written_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
