/* Records: what is written is read back bit for bit, at every step and from any journal; what is damaged is
 * refused. */
#include "tests/channel/two_sides.h"

#define LATER (PAIR_START + 900)

static struct pair pair;
static struct sent sent;
static struct buffer journal[2]; /* every batch of a side, in order */

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair);
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    pair_close(&pair);
    buffer_free(&journal[0]);
    buffer_free(&journal[1]);
    return 0;
}

/* The records of all that changed go to the journal; a channel read back from it is the same in every byte.
 */
static void check_journal(void)
{
    for (int side = 0; side < 2; side++) {
        channel_write(pair.sides[side], &journal[side]);
        struct channel *again = pair_read_back(journal[side].data, journal[side].length);
        assert_non_null(again);
        struct buffer nothing = {0};
        channel_write(again, &nothing); /* reading back changes nothing */
        assert_int_equal(nothing.length, 0);
        /* What RESUME will tell a hub. */
        if (side == SIDE_HUB)
            assert_int_equal(channel_acknowledged(again, pair.sides[side]->acknowledged), CODE_OK);
        struct buffer here = pair_snapshot(pair.sides[side]), there = pair_snapshot(again);
        assert_same_bytes(&here, &there);
        assert_true(channel_available(again, SIDE_CLIENT) ==
                        channel_available(pair.sides[side], SIDE_CLIENT) ||
                    channel_has_draft(pair.sides[side]));
        channel_free(again);
    }
}

/* Seals what is drafted, delivers it, without an acknowledgement. */
static void send_draft(enum side from)
{
    pair_seal(&pair, from, &sent);
    check_journal();
    assert_accepted(&pair, side_other(from), &sent);
    check_journal();
}

static void add(enum side side, struct operation operation)
{
    assert_int_equal(pair_add(&pair, side, operation), CODE_OK);
    check_journal(); /* a draft is not written, and does not show */
}

/* Everything that a channel can have at once. */
static void make_history(void)
{
    struct channel *client = pair.sides[SIDE_CLIENT], *hub = pair.sides[SIDE_HUB];
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    check_journal();
    for (uint32_t i = 1; i <= 4; i++)
        add(SIDE_CLIENT, op_lock(0, 10 * i, i, LATER, i));
    add(SIDE_CLIENT, op_pay(100, 1));
    send_draft(SIDE_CLIENT);
    add(SIDE_HUB, op_lock(0, 33, 0, LATER, 7));
    send_draft(SIDE_HUB);
    assert_int_equal(channel_acknowledged(client, 1), CODE_OK);
    check_journal();
    struct payment_id second = payment_number(2);
    assert_true(channel_mark_failed(hub, &second));
    assert_non_null(channel_fail_received(client, &second));
    check_journal();
    pair.now = LATER + 1;
    add(SIDE_CLIENT, op_unlock(1, 1));
    add(SIDE_CLIENT, op_drop(OPERATION_CANCEL, 2));
    add(SIDE_CLIENT, op_lock(0, 5, 0, LATER + 900, 8));
    send_draft(SIDE_CLIENT);
    add(SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 3));
    send_draft(SIDE_CLIENT);
    struct signature revocation = channel_revoke(hub, &pair.domain, &pair.keys[SIDE_HUB], 2);
    assert_int_equal(channel_revocation_received(client, &view, 2, &revocation, NULL), CODE_OK);
    check_journal();
    assert_int_equal(channel_propose(hub, amount_of(60), amount_of(70), pair.now + 500, false), CODE_OK);
    check_journal();
    struct signature signature;
    view = pair_view(&pair, SIDE_CLIENT);
    assert_int_equal(channel_settle_sign(client, &view, channel_settlement(hub), amount_of(60), false,
                                         PAIR_WINDOW_S, &pair.keys[SIDE_CLIENT], &signature),
                     CODE_OK);
    client->settlement->said_dead = true;
    client->dirty = true;
    check_journal();
    view = pair_view(&pair, SIDE_HUB);
    assert_int_equal(channel_settle_signed(hub, &view, 1, &signature), CODE_OK);
    check_journal();
    struct channel_funds told = pair_funds(2000, 1200, 0);
    channel_set_told(client, &told);
    client->stopped = true;
    check_journal();
    client->stopped = false;
    client->dirty = true;
}

static void test_every_step_is_read_back(void **state)
{
    (void)state;
    make_history();
    check_journal();
}

/* The newest record of a key wins: replaying the whole journal again on top of itself, or after a checkpoint
 * that is newer than its beginning, gives one state. */
static void test_replaying_twice_or_after_a_checkpoint(void **state)
{
    (void)state;
    make_history();
    check_journal();
    for (int side = 0; side < 2; side++) {
        struct buffer twice = {0}, snapshot = pair_snapshot(pair.sides[side]);
        buffer_append(&twice, journal[side].data, journal[side].length);
        buffer_append(&twice, journal[side].data, journal[side].length);
        struct channel *again = pair_read_back(twice.data, twice.length);
        assert_non_null(again);
        struct buffer there = pair_snapshot(again), here = pair_snapshot(pair.sides[side]);
        assert_same_bytes(&here, &there);
        channel_free(again);

        buffer_clear(&twice);
        buffer_append(&twice, snapshot.data, snapshot.length);
        buffer_append(&twice, journal[side].data, journal[side].length);
        again = pair_read_back(twice.data, twice.length);
        assert_non_null(again);
        there = pair_snapshot(again);
        assert_same_bytes(&snapshot, &there);
        channel_free(again);
        buffer_free(&twice);
    }
}

static void test_a_checkpoint_while_a_draft_waits(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    for (uint32_t i = 1; i <= 3; i++)
        pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, i));
    struct buffer before = pair_snapshot(client);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(1, 1)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 9, 0, LATER, 4)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(4, 4)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(2, 2)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(3, 3)), CODE_OK);
    assert_null(channel_own(client)->locks);
    struct buffer after = pair_snapshot(client);
    struct channel *again = pair_read_back(after.data, after.length);
    assert_non_null(again);
    assert_int_equal(lock_set_count(channel_own(again)->locks), 3);
    channel_free(again);
    assert_same_bytes(&before, &after);
}

static void test_only_what_changed_is_written(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    struct buffer batch = {0};
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, 1));
    channel_write(client, &batch);
    buffer_clear(&batch);
    channel_write(client, &batch);
    assert_int_equal(batch.length, 0);
    /* One payment: the kept update, and where it arrives the stream; the lock is not written again, nor is it
     * ever twice. */
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_OK);
    pair_seal(&pair, SIDE_CLIENT, &sent);
    channel_write(client, &batch);
    struct reader reader = reader_of(batch.data, batch.length);
    struct record record;
    assert_true(record_next(&reader, &record));
    assert_int_equal(record.type, RECORD_KEPT);
    assert_int_equal(record.key[32], 0); /* the first update's place: it is acknowledged */
    assert_false(record_next(&reader, &record));
    assert_true(batch.length < 200);
    struct channel *hub = pair.sides[SIDE_HUB];
    buffer_clear(&batch);
    channel_write(hub, &batch);
    buffer_clear(&batch);
    assert_accepted(&pair, SIDE_HUB, &sent);
    channel_write(hub, &batch);
    reader = reader_of(batch.data, batch.length);
    assert_true(record_next(&reader, &record));
    assert_int_equal(record.type, RECORD_STREAM);
    assert_int_equal(record.key[32], SIDE_CLIENT);
    assert_false(record_next(&reader, &record));
    assert_true(batch.length < 200);
    /* An acknowledgement: a record to a client; to a hub one with the next update. */
    buffer_clear(&batch);
    assert_int_equal(channel_acknowledged(client, 2), CODE_OK);
    channel_write(client, &batch);
    reader = reader_of(batch.data, batch.length);
    assert_true(record_next(&reader, &record));
    assert_int_equal(record.type, RECORD_STREAM);
    assert_false(record_next(&reader, &record));
    buffer_clear(&batch);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(1, 0)), CODE_OK);
    pair_seal(&pair, SIDE_HUB, &sent);
    channel_write(hub, &batch);
    buffer_clear(&batch);
    assert_int_equal(channel_acknowledged(hub, 1), CODE_OK);
    channel_write(hub, &batch);
    assert_int_equal(batch.length, 0);
    buffer_free(&batch);
}

/* Many changes between two writes: each place is written once. */
static void test_places_are_written_once(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    static struct operation operations[OPERATIONS_MAX];
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t i = 0; i < 512; i++) {
            operations[2 * i] = op_lock(round * 1024 + i + 1, 0, 0, LATER, 1);
            operations[2 * i + 1] = op_unlock(round * 1024 + i + 1, 1);
        }
        pair_craft(&pair, SIDE_CLIENT, operations, round == 9 ? 1023 : 1024, &sent);
        assert_accepted(&pair, SIDE_HUB, &sent);
    }
    struct buffer batch = {0};
    channel_write(hub, &batch);
    struct reader reader = reader_of(batch.data, batch.length);
    struct record record;
    size_t gone = 0, there = 0;
    while (record_next(&reader, &record))
        if (record.type == RECORD_LOCK)
            *(record.gone ? &gone : &there) += 1;
    assert_int_equal(gone, 511);
    assert_int_equal(there, 1);
    buffer_free(&batch);
}

/* ---- damage ---- */

static void test_records_in_the_wrong_place(void **state)
{
    (void)state;
    make_history();
    struct buffer snapshot = pair_snapshot(pair.sides[SIDE_CLIENT]);
    struct reader reader = reader_of(snapshot.data, snapshot.length);
    struct record record, first;
    struct channel *channel = NULL;
    struct hash id;
    assert_true(record_next(&reader, &first));
    while (record_next(&reader, &record)) {
        assert_true(channel_record_id(&record, &id));
        assert_true(hash_equal(&id, &pair.sides[SIDE_CLIENT]->id));
        assert_false(channel_read(&channel, &record)); /* before its channel */
        assert_null(channel);
    }
    assert_true(channel_read(&channel, &first));
    assert_false(channel_recovered(channel)); /* its locks are missing */
    struct record gone = first;
    gone.gone = true;
    assert_false(channel_read(&channel, &gone));
    struct record unknown = first;
    unknown.type = 3; /* retired */
    assert_false(channel_record_id(&unknown, &id));
    assert_false(channel_read(&channel, &unknown));
    unknown.type = RECORD_KEPT + 1;
    assert_false(channel_record_id(&unknown, &id));
    assert_false(channel_read(&channel, &unknown));
    struct record long_key = first;
    long_key.key_length = 33;
    assert_false(channel_read(&channel, &long_key));
    channel_free(channel);
    /* Another channel's. */
    struct channel_key key = {.salt = 9};
    struct channel *other = channel_new(&key, SIDE_CLIENT, 0);
    struct buffer others = pair_snapshot(other);
    buffer_append(&snapshot, others.data, others.length);
    assert_null(pair_read_back(snapshot.data, snapshot.length));
    channel_free(other);
    buffer_free(&others);
    buffer_free(&snapshot);
}

static void test_a_channel_read_back_takes_no_more_records(void **state)
{
    (void)state;
    struct buffer snapshot = pair_snapshot(pair.sides[SIDE_CLIENT]);
    struct channel *channel = pair_read_back(snapshot.data, snapshot.length);
    struct reader reader = reader_of(snapshot.data, snapshot.length);
    struct record record;
    assert_true(record_next(&reader, &record));
    assert_false(channel_read(&channel, &record));
    assert_false(channel_recovered(channel));
    channel_free(channel);
    buffer_free(&snapshot);
}

static size_t kept_body_length(const struct channel *channel, uint8_t slot)
{
    uint64_t nonce = channel->acknowledged + 1;
    while (channel_kept(channel, nonce)->slot != slot)
        nonce++;
    return channel_kept(channel, nonce)->body_length;
}

static void test_truncated_values_are_refused(void **state)
{
    (void)state;
    make_history();
    for (int side = 0; side < 2; side++) {
        struct buffer snapshot = pair_snapshot(pair.sides[side]);
        struct reader reader = reader_of(snapshot.data, snapshot.length);
        struct record record;
        struct channel *channel = NULL;
        while (record_next(&reader, &record)) {
            struct record cut = record;
            /* A kept update's body is all that is left, so only the part before it has a length to hold to.
             */
            uint32_t shortest_good = record.value_length;
            if (record.type == RECORD_KEPT)
                shortest_good -= (uint32_t)kept_body_length(pair.sides[side], record.key[32]) - 1;
            for (cut.value_length = 0; cut.value_length < shortest_good; cut.value_length++)
                assert_false(channel_read(&channel, &cut));
            assert_true(channel_read(&channel, &record));
        }
        assert_true(channel_recovered(channel));
        channel_free(channel);
        for (size_t length = 0; length < snapshot.length; length++)
            assert_null(pair_read_back(snapshot.data, length));
        buffer_free(&snapshot);
    }
}

static uint64_t random_state = 11;

static uint64_t random_below(uint64_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % limit;
}

/* Either refused, or a channel that is whole: what it writes is read back again. */
static void check_damaged(const uint8_t *data, size_t length)
{
    struct channel *channel = pair_read_back(data, length);
    if (channel == NULL)
        return;
    struct buffer snapshot = pair_snapshot(channel);
    struct channel *again = pair_read_back(snapshot.data, snapshot.length);
    assert_non_null(again);
    struct buffer there = pair_snapshot(again);
    assert_same_bytes(&snapshot, &there);
    channel_free(again);
    channel_free(channel);
}

static void test_damaged_bytes(void **state)
{
    (void)state;
    make_history();
    for (int side = 0; side < 2; side++) {
        struct buffer snapshot = pair_snapshot(pair.sides[side]);
        uint8_t *damaged = xmalloc(snapshot.length);
        for (size_t i = 0; i < snapshot.length; i++) {
            memcpy(damaged, snapshot.data, snapshot.length);
            damaged[i] ^= (uint8_t)(1u << random_below(8));
            check_damaged(damaged, snapshot.length);
        }
        for (int round = 0; round < 500; round++) {
            memcpy(damaged, snapshot.data, snapshot.length);
            for (uint64_t changes = 1 + random_below(6); changes > 0; changes--)
                damaged[random_below(snapshot.length)] = (uint8_t)(random_below(3) ? random_below(256) : 255);
            check_damaged(damaged, snapshot.length);
        }
        free(damaged);
        buffer_free(&snapshot);
    }
}

static void test_random_bytes(void **state)
{
    (void)state;
    struct channel *channel = NULL;
    uint8_t value[600], key[40];
    memcpy(key, pair.sides[SIDE_CLIENT]->id.bytes, 32);
    struct buffer snapshot = pair_snapshot(pair.sides[SIDE_CLIENT]);
    struct reader reader = reader_of(snapshot.data, snapshot.length);
    struct record first;
    assert_true(record_next(&reader, &first) && channel_read(&channel, &first));
    for (int round = 0; round < 20000; round++) {
        struct record record = {.type = (uint8_t)random_below(7), .key = key, .value = value};
        record.key_length = (uint8_t)(32 + random_below(4));
        record.value_length = (uint32_t)random_below(sizeof(value));
        record.gone = random_below(8) == 0;
        for (size_t i = 32; i < sizeof(key); i++)
            key[i] = (uint8_t)random_below(random_below(2) ? 2 : 256);
        for (size_t i = 0; i < record.value_length; i++)
            value[i] = (uint8_t)random_below(random_below(2) ? 3 : 256);
        value[0] = 1;
        (void)!channel_read(&channel, &record);
    }
    (void)!channel_recovered(channel);
    channel_free(channel);
    buffer_free(&snapshot);
}

static void test_another_version_is_refused(void **state)
{
    (void)state;
    make_history();
    struct buffer snapshot = pair_snapshot(pair.sides[SIDE_CLIENT]);
    struct reader reader = reader_of(snapshot.data, snapshot.length);
    struct record record;
    struct channel *channel = NULL;
    while (record_next(&reader, &record)) {
        uint8_t *version = (uint8_t *)(uintptr_t)record.value;
        *version += 1;
        assert_false(channel_read(&channel, &record));
        *version -= 1;
        assert_true(channel_read(&channel, &record));
    }
    assert_true(channel_recovered(channel));
    channel_free(channel);
    buffer_free(&snapshot);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(test_every_step_is_read_back),
        TEST(test_replaying_twice_or_after_a_checkpoint),
        TEST(test_a_checkpoint_while_a_draft_waits),
        TEST(test_only_what_changed_is_written),
        TEST(test_places_are_written_once),
        TEST(test_records_in_the_wrong_place),
        TEST(test_a_channel_read_back_takes_no_more_records),
        TEST(test_truncated_values_are_refused),
        TEST(test_damaged_bytes),
        TEST(test_random_bytes),
        TEST(test_another_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
