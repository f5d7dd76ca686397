/* Folding: random histories against a reference, a folding cut short, values long gone, and disk space given
 * back. */
#include "tests/store/journal_fixture.h"

#include <poll.h>
#include <rocksdb/c.h>

static int make_folder(void **state)
{
    *state = fixture_folder_make();
    return 0;
}

static int remove_folder(void **state)
{
    fixture_folder_remove(*state);
    return 0;
}

/* Appends, waits, closes and reopens at random. The replay must be the history, whole batch by whole batch,
 * wherever the checkpoint happens to be. */
static void random_histories_are_kept(const char *path, uint64_t seed, uint64_t checkpoint_bytes,
                                      uint64_t openings)
{
    struct store_options options = fixture_options(path);
    options.checkpoint_bytes = checkpoint_bytes;
    struct fixture_random random = {seed};
    struct fixture_state history = {0};
    uint64_t checkpoints = 0, replayed = 0;
    for (uint64_t opening = 0; opening < openings; opening++) {
        struct journal *journal = fixture_open(&options);
        struct fixture_replay replay;
        assert_true(fixture_recover(journal, seed, &replay));
        assert_memory_equal(&replay.seen, &history, sizeof history);
        assert_int_equal(journal_durable(journal), history.last);
        fixture_check_archive(journal, history.last);
        replayed += replay.lasts;
        for (uint64_t left = fixture_random_below(&random, 150); left > 0; left--) {
            fixture_append(journal, seed, &history);
            if (fixture_random_below(&random, 4) == 0)
                journal_wait(journal, history.last);
        }
        journal_wait(journal, history.last);
        fixture_check_archive(journal, history.last); /* while it is being folded, mostly */
        if (opening % 2 == 0)                         /* the others are cut short */
            fixture_wait_folded(journal, checkpoint_bytes);
        checkpoints += store_figures(journal).checkpoints;
        journal_close(journal);
    }
    assert_true(checkpoints >= openings / 3);
    assert_true(replayed < history.last * openings / 4); /* what was folded is not replayed again */
}

static void random_histories_with_small_checkpoints(void **state)
{
    random_histories_are_kept(*state, 11, 2048, 25);
}

static void random_histories_folded_all_the_time(void **state)
{
    random_histories_are_kept(*state, 12, 1, 15);
}

static void random_histories_with_larger_checkpoints(void **state)
{
    random_histories_are_kept(*state, 13, 20000, 15);
}

struct raw {
    rocksdb_t *database;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_column_family_handle_t *families[5];
};

static void raw_open(struct raw *raw, const char *path)
{
    static const char *const names[] = {"default", "journal", "checkpoint", "archive", "index"};
    raw->options = rocksdb_options_create();
    raw->write = rocksdb_writeoptions_create();
    const rocksdb_options_t *options[] = {raw->options, raw->options, raw->options, raw->options,
                                          raw->options};
    char *error = NULL;
    raw->database =
        rocksdb_open_column_families(raw->options, path, 5, names, options, raw->families, &error);
    assert_null(error);
}

static void raw_close(struct raw *raw)
{
    for (int i = 0; i < 5; i++)
        rocksdb_column_family_handle_destroy(raw->families[i]);
    rocksdb_close(raw->database);
    rocksdb_writeoptions_destroy(raw->write);
    rocksdb_options_destroy(raw->options);
}

/* What a crash in the middle of a folding up to `target` leaves: the mark, and some of the values as of
 * `target`. */
static void raw_fold_in_part(struct raw *raw, const struct fixture_state *at_target, uint64_t part)
{
    struct buffer mark = {0};
    buffer_u64(&mark, 0);
    buffer_u64(&mark, at_target->last);
    buffer_u64(&mark, 0); /* the burden */
    buffer_u64(&mark, 0);
    char *error = NULL;
    rocksdb_put_cf(raw->database, raw->write, raw->families[0], "checkpoint", 10, (const char *)mark.data,
                   mark.length, &error);
    assert_null(error);
    buffer_free(&mark);
    for (uint8_t type = 0; type < FIXTURE_TYPES; type++)
        for (uint8_t key = 0; key < FIXTURE_KEYS; key++) {
            const struct fixture_value *value = &at_target->values[type][key];
            if (key % 3 != part || value->stamp == 0)
                continue;
            char name[2] = {(char)(1 + type), (char)key};
            struct buffer bytes = {0};
            fixture_value_write(&bytes, value);
            rocksdb_put_cf(raw->database, raw->write, raw->families[2], name, sizeof name,
                           (const char *)bytes.data, bytes.length, &error);
            assert_null(error);
            buffer_free(&bytes);
        }
}

static void a_folding_cut_short_is_finished_at_open(void **state)
{
    for (uint64_t part = 0; part < 3; part++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%d", (const char *)*state, (int)part);
        struct store_options options = fixture_options(path);
        struct fixture_state history = {0}, at_target = {0};
        struct fixture_replay replay;
        struct journal *journal = fixture_open(&options);
        assert_true(fixture_recover(journal, part, &replay));
        while (history.last < 120) {
            fixture_append(journal, part, &history);
            if (history.last == 80)
                at_target = history;
        }
        journal_close(journal);

        struct raw raw;
        raw_open(&raw, path);
        raw_fold_in_part(&raw, &at_target, part);
        raw_close(&raw);

        journal = fixture_open(&options);
        assert_int_equal(store_figures(journal).checkpoints, 1);
        assert_true(fixture_recover(journal, part, &replay));
        assert_memory_equal(&replay.seen, &history, sizeof history);
        assert_int_equal(replay.lasts, 1 + 40); /* the checkpoint at 80, then a batch at a time */
        fixture_check_archive(journal, history.last);
        journal_close(journal);
    }
}

static void put_one(struct journal *journal, uint8_t type, const char *key, const char *value)
{
    struct buffer batch = {0};
    if (value == NULL)
        record_gone(&batch, type, key, strlen(key));
    else
        record_put(&batch, type, key, strlen(key), value, strlen(value));
    journal_wait(journal, journal_append(journal, batch.data, batch.length));
    buffer_free(&batch);
}

static bool count_key(void *context, const struct record *record)
{
    uint64_t *counts = context;
    counts[record->gone ? 1 : 0] += record->type == 1;
    return true;
}

/* Once folded, a deletion leaves nothing: no later folding and no opening brings the value back. */
static void what_is_gone_stays_gone(void **state)
{
    struct store_options options = fixture_options(*state);
    options.checkpoint_bytes = 1;
    uint64_t counts[2] = {0, 0};
    struct journal *journal = fixture_open(&options);
    assert_true(journal_recover(journal, count_key, counts));
    put_one(journal, 1, "old", "value");
    fixture_wait_checkpoints(journal, 1);
    journal_close(journal);

    journal = fixture_open(&options);
    assert_true(journal_recover(journal, count_key, counts));
    assert_int_equal(counts[0], 1);
    put_one(journal, 1, "old", NULL);
    fixture_wait_checkpoints(journal, 1);
    journal_close(journal);

    for (int opening = 0; opening < 5; opening++) {
        journal = fixture_open(&options);
        memset(counts, 0, sizeof counts);
        assert_true(journal_recover(journal, count_key, counts));
        assert_int_equal(counts[0] + counts[1], 0);
        put_one(journal, 2, "other", "value");
        fixture_wait_checkpoints(journal, 1);
        journal_close(journal);
    }
}

/* A key that comes and goes between two foldings never reaches the checkpoint, and one that was there goes from it. */
static void what_came_and_went_leaves_nothing(void **state)
{
    struct store_options options = fixture_options(*state);
    options.checkpoint_bytes = 1;
    uint64_t counts[2] = {0, 0};
    struct journal *journal = fixture_open(&options);
    assert_true(journal_recover(journal, count_key, counts));
    for (uint64_t round = 0; round < 3; round++) {
        struct buffer batch = {0};
        if (round == 1)
            put_one(journal, 1, "short", NULL); /* what the round before left */
        record_end_first(&batch, record_begin(&batch, 1, "short", 5));
        if (round != 0)
            record_gone(&batch, 1, "short", 5);
        journal_wait(journal, journal_append(journal, batch.data, batch.length));
        buffer_free(&batch);
        fixture_wait_folded(journal, 1);
        journal_close(journal);
        journal = fixture_open(&options);
        memset(counts, 0, sizeof counts);
        assert_true(journal_recover(journal, count_key, counts));
        assert_int_equal(counts[0], round == 0);
        assert_int_equal(counts[1], 0);
    }
    journal_close(journal);
}

/* ---- keys of all shapes ---- */

#define SHAPES 20000

struct shape {
    size_t length;
    uint8_t bytes[48];
    bool there;
};

struct shapes {
    struct shape keys[SHAPES];
    size_t count, seen;
    bool good;
};

/* Many are alike for long, some but for their lengths: few kinds of bytes, and whole stretches of one. */
static void shape_make(struct fixture_random *random, struct shape *out)
{
    out->length = 0;
    for (uint64_t left = fixture_random_below(random, 4); left > 0; left--) {
        uint8_t byte = (uint8_t)(fixture_random_below(random, 3) * 127);
        for (uint64_t i = 1 + fixture_random_below(random, 9); i > 0; i--)
            out->bytes[out->length++] = byte;
    }
    for (uint64_t left = fixture_random_below(random, 9); left > 0; left--)
        out->bytes[out->length++] = (uint8_t)fixture_random_next(random);
}

static int shape_compare(const void *left, const void *right)
{
    const struct shape *a = left, *b = right;
    int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : a->length < b->length ? -1 : a->length > b->length;
}

static void shapes_make(struct shapes *shapes)
{
    struct fixture_random random = {17};
    for (size_t i = 0; i < SHAPES; i++)
        shape_make(&random, &shapes->keys[i]);
    qsort(shapes->keys, SHAPES, sizeof shapes->keys[0], shape_compare);
    for (size_t i = 0; i < SHAPES; i++)
        if (i == 0 || shape_compare(&shapes->keys[i], &shapes->keys[shapes->count - 1]) != 0)
            shapes->keys[shapes->count++] = shapes->keys[i];
}

/* A batch that puts some, writes some again, and ends some, in any order. */
static void shapes_batch(struct shapes *shapes, struct fixture_random *random, struct buffer *batch)
{
    for (int left = 4000; left > 0; left--) {
        struct shape *shape = &shapes->keys[fixture_random_below(random, shapes->count)];
        if (shape->there && fixture_random_below(random, 2) == 0) {
            record_gone(batch, 1, shape->bytes, shape->length);
            shape->there = false;
            continue;
        }
        size_t mark = record_begin(batch, 1, shape->bytes, shape->length);
        buffer_append(batch, shape->bytes, shape->length);
        if (shape->there)
            record_end(batch, mark);
        else
            record_end_first(batch, mark);
        shape->there = true;
    }
}

static bool shapes_visit(void *context, const struct record *record)
{
    struct shapes *shapes = context;
    while (shapes->seen < shapes->count && !shapes->keys[shapes->seen].there)
        shapes->seen++;
    const struct shape *shape = &shapes->keys[shapes->seen++];
    shapes->good = shapes->seen <= shapes->count && !record->gone && record->key_length == shape->length &&
                   memcmp(record->key, shape->bytes, shape->length) == 0 &&
                   record->value_length == shape->length;
    return shapes->good;
}

/* Whatever keys are like, a folding sorts them, and keeps the newest of each and nothing that is gone. */
static void keys_of_all_shapes_are_folded(void **state)
{
    struct store_options options = fixture_options(*state);
    struct shapes *shapes = xcalloc(1, sizeof *shapes);
    struct fixture_random random = {18};
    shapes_make(shapes);
    for (int opening = 0; opening < 6; opening++) {
        shapes->seen = 0;
        shapes->good = true;
        options.archive_days = opening % 2 == 0 ? 100000 : 0; /* from memory; from the disk */
        struct journal *journal = fixture_open(&options);
        assert_true(journal_recover(journal, shapes_visit, shapes));
        assert_true(shapes->good);
        for (; shapes->seen < shapes->count; shapes->seen++)
            assert_false(shapes->keys[shapes->seen].there);
        struct buffer batch = {0};
        do {
            buffer_clear(&batch);
            shapes_batch(shapes, &random, &batch);
            journal_append(journal, batch.data, batch.length);
        } while (store_figures(journal).unfolded_bytes < 2 << 20);
        buffer_free(&batch);
        journal_close(journal); /* folds */
    }
    free(shapes);
}

static uint64_t walked_bytes;

static int add_size(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)path;
    (void)walk;
    if (type == FTW_F)
        walked_bytes += (uint64_t)status->st_size;
    return 0;
}

/* 96 MiB through a journal whose state is 64 KiB: the disk holds the state, the WAL's limit and what
 * compaction has not reached yet, but not the history. */
static void folded_batches_leave_the_disk(void **state)
{
    struct store_options options = fixture_options(*state);
    options.checkpoint_bytes = 1 << 20;
    options.queue_bytes_max = 1 << 20;
    uint64_t counts[2] = {0, 0};
    struct journal *journal = fixture_open(&options);
    assert_true(journal_recover(journal, count_key, counts));
    static uint8_t value[64 << 10];
    for (uint32_t i = 0; i < 96 * 16; i++) {
        struct buffer batch = {0};
        memcpy(value, &i, sizeof i);
        record_put(&batch, 1, "same", 4, value, sizeof value);
        journal_append(journal, batch.data, batch.length);
        buffer_free(&batch);
    }
    /* Folding goes on beside the appends and may lag behind them; it catches up by itself. */
    uint64_t end_us = clock_monotonic_us() + 60 * 1000000ull;
    while (store_figures(journal).unfolded_bytes > 2 * options.checkpoint_bytes &&
           clock_monotonic_us() < end_us)
        poll(NULL, 0, 10);
    journal_close(journal);
    journal = fixture_open(&options);
    memset(counts, 0, sizeof counts);
    assert_true(journal_recover(journal, count_key, counts));
    assert_in_range(counts[0], 1, 96 * 16 / 2);
    journal_close(journal);
    walked_bytes = 0;
    assert_int_equal(nftw(*state, add_size, 16, FTW_PHYS), 0);
    assert_in_range(walked_bytes, 1, 48 << 20);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(random_histories_with_small_checkpoints),
        WITH_FOLDER(random_histories_folded_all_the_time),
        WITH_FOLDER(random_histories_with_larger_checkpoints),
        WITH_FOLDER(a_folding_cut_short_is_finished_at_open),
        WITH_FOLDER(what_is_gone_stays_gone),
        WITH_FOLDER(what_came_and_went_leaves_nothing),
        WITH_FOLDER(keys_of_all_shapes_are_folded),
        WITH_FOLDER(folded_batches_leave_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
