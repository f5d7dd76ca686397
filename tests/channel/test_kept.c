/* Kept updates on disk: as many rows as were ever under way at once, and no more, however many were sent; and the channel is
 * read back from what a folded journal has, which is the newest record of each key. */
#include "tests/channel/two_sides.h"

#define ROWS_MAX 128
#define STEPS    800 /* half of them sends: the hub has 500 */

struct row {
    uint8_t type, key_length, key[64];
    struct buffer value;
};

static struct pair pair;
static struct sent sent;
static struct row rows[ROWS_MAX];
static size_t row_count;

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair);
    row_count = 0;
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    pair_close(&pair);
    for (size_t i = 0; i < row_count; i++)
        buffer_free(&rows[i].value);
    memset(rows, 0, sizeof(rows));
    return 0;
}

static struct row *row_of(const struct record *record)
{
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].type == record->type && rows[i].key_length == record->key_length &&
            memcmp(rows[i].key, record->key, record->key_length) == 0)
            return &rows[i];
    assert_true(row_count < ROWS_MAX && record->key_length <= sizeof(rows[0].key));
    struct row *row = &rows[row_count++];
    row->type = record->type;
    row->key_length = record->key_length;
    memcpy(row->key, record->key, record->key_length);
    return row;
}

static void write_rows(struct channel *channel)
{
    struct buffer batch = {0};
    channel_write(channel, &batch);
    struct reader reader = reader_of(batch.data, batch.length);
    for (struct record record; record_next(&reader, &record);) {
        assert_false(record.gone);
        struct row *row = row_of(&record);
        buffer_clear(&row->value);
        buffer_append(&row->value, record.value, record.value_length);
    }
    buffer_free(&batch);
}

static int by_key(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    return a->type != b->type ? a->type - b->type : memcmp(a->key, b->key, sizeof(a->key));
}

/* With another slot in one of them; ROWS_MAX: in none. */
static struct channel *read_changed(size_t changed, uint8_t slot)
{
    struct buffer journal = {0};
    qsort(rows, row_count, sizeof(rows[0]), by_key);
    for (size_t i = 0; i < row_count; i++) {
        struct row row = rows[i];
        row.key[32] = i == changed ? slot : row.key[32];
        record_put(&journal, row.type, row.key, row.key_length, row.value.data, row.value.length);
    }
    struct channel *channel = pair_read_back(journal.data, journal.length);
    buffer_free(&journal);
    return channel;
}

static struct channel *read_rows(void)
{
    return read_changed(ROWS_MAX, 0);
}

static size_t kept_rows(void)
{
    size_t count = 0;
    for (size_t i = 0; i < row_count; i++)
        count += rows[i].type == RECORD_KEPT;
    return count;
}

static void check_read_back(struct channel *channel)
{
    struct channel *again = read_rows();
    assert_non_null(again);
    assert_int_equal(channel_acknowledged(again, channel->acknowledged), CODE_OK); /* as RESUME will say */
    struct buffer here = pair_snapshot(channel), there = pair_snapshot(again);
    assert_same_bytes(&here, &there);
    channel_free(again);
}

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % limit;
}

static void send_one(void)
{
    struct channel *hub = pair.sides[SIDE_HUB];
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(1, 0)), CODE_OK);
    assert_true(channel_can_seal(hub));
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_accepted(&pair, SIDE_CLIENT, &sent);
    write_rows(hub);
}

static uint64_t under_way(void)
{
    const struct channel *hub = pair.sides[SIDE_HUB];
    return hub->streams[SIDE_HUB].proof.nonce - hub->acknowledged;
}

/* Sends and acknowledgements in any order, never more than `most` under way; now and then the hub is started anew. */
static void run(uint64_t most)
{
    uint64_t reached = under_way();
    for (unsigned step = 0; step < STEPS; step++) {
        struct channel *hub = pair.sides[SIDE_HUB];
        if (under_way() < most && random_below(2) == 0)
            send_one();
        else if (under_way() > 0)
            assert_int_equal(channel_acknowledged(hub, hub->acknowledged + 1 + random_below(under_way())),
                             CODE_OK);
        reached = under_way() > reached ? under_way() : reached;
        assert_true(kept_rows() <= reached);
        if (reached == 0)
            continue;
        check_read_back(hub);
        if (random_below(50) == 0) {
            pair.sides[SIDE_HUB] = read_rows();
            channel_free(hub);
            assert_true(under_way() <= reached);
        }
    }
    assert_int_equal(kept_rows(), most);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    random_state = 1;
    run(1);
}

static void test_some(void **state)
{
    (void)state;
    random_state = 2;
    run(7);
}

static void test_as_many_as_there_may_be(void **state)
{
    (void)state;
    random_state = 3;
    for (unsigned i = 0; i < UNACKNOWLEDGED_MAX; i++)
        send_one();
    assert_int_equal(kept_rows(), UNACKNOWLEDGED_MAX);
    check_read_back(pair.sides[SIDE_HUB]);
    run(UNACKNOWLEDGED_MAX);
}

/* A client's, which writes each acknowledgement: read a second time, and on top of what it had come to. */
static void test_a_long_journal_twice(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    struct buffer journal = {0}, twice = {0};
    for (uint64_t nonce = 1; nonce <= UNACKNOWLEDGED_MAX + 20; nonce++) {
        assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_OK);
        pair_seal(&pair, SIDE_CLIENT, &sent);
        channel_write(client, &journal);
        assert_accepted(&pair, SIDE_HUB, &sent);
        if (nonce > 2)
            assert_int_equal(channel_acknowledged(client, nonce - 2), CODE_OK);
        channel_write(client, &journal);
    }
    for (int over_snapshot = 0; over_snapshot < 2; over_snapshot++) {
        struct buffer snapshot = pair_snapshot(client);
        const struct buffer *first = over_snapshot ? &snapshot : &journal;
        buffer_clear(&twice);
        buffer_append(&twice, first->data, first->length);
        buffer_append(&twice, journal.data, journal.length);
        struct channel *again = pair_read_back(twice.data, twice.length);
        assert_non_null(again);
        struct buffer there = pair_snapshot(again);
        assert_same_bytes(&snapshot, &there);
        channel_free(again);
    }
    buffer_free(&journal);
    buffer_free(&twice);
}

/* Two of the updates that are under way in one slot, a slot that there is not, two that cannot both be under way. */
static void test_rows_that_cannot_be(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        send_one();
    struct channel *again = read_rows();
    assert_non_null(again);
    channel_free(again);
    for (size_t i = 0; i < row_count; i++) {
        if (rows[i].type != RECORD_KEPT)
            continue;
        for (unsigned slot = 0; slot < 256; slot++) {
            bool is_taken = slot < 3 && slot != rows[i].key[32];
            again = read_changed(i, (uint8_t)slot);
            assert_int_equal(again != NULL, slot < UNACKNOWLEDGED_MAX && !is_taken);
            channel_free(again);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(test_one_at_a_time),           TEST(test_some),
        TEST(test_as_many_as_there_may_be), TEST(test_a_long_journal_twice),
        TEST(test_rows_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
