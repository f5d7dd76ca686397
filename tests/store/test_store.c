/* The local journal: append, durable, replay, back-pressure, and who may not open it. */
#include "tests/store/journal_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#define SEED 7

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

static void batches_survive_reopening(void **state)
{
    struct store_options options = fixture_options(*state);
    struct fixture_state history = {0};
    for (uint64_t opening = 0; opening < 4; opening++) {
        struct journal *journal = fixture_open(&options);
        struct fixture_replay replay;
        assert_true(fixture_recover(journal, SEED, &replay));
        assert_memory_equal(&replay.seen, &history, sizeof history);
        assert_int_equal(replay.lasts, 25 * opening); /* nothing is folded here */
        assert_int_equal(journal_durable(journal), 25 * opening);
        for (uint64_t i = 1; i <= 25; i++)
            assert_int_equal(fixture_append(journal, SEED, &history), 25 * opening + i);
        if (opening % 2 == 0)
            journal_wait(journal, history.last);
        journal_close(journal); /* makes the rest durable */
    }
    journal_close(NULL);
}

static void folder_is_made_private(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/deep/journal/", (const char *)*state);
    struct store_options options = fixture_options(path);
    journal_close(fixture_open(&options));
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void descriptor_wakes_when_durable_rises(void **state)
{
    struct store_options options = fixture_options(*state);
    struct journal *journal = fixture_open(&options);
    struct fixture_replay replay;
    assert_true(fixture_recover(journal, SEED, &replay));
    struct pollfd poll_on = {.fd = journal_wake_descriptor(journal), .events = POLLIN};
    assert_int_equal(poll(&poll_on, 1, 0), 0);
    struct fixture_state history = {0};
    for (uint64_t round = 1; round <= 3; round++) {
        fixture_append(journal, SEED, &history);
        while (journal_durable(journal) < history.last) {
            assert_int_equal(poll(&poll_on, 1, 10000), 1);
            uint64_t count;
            assert_int_equal(read(poll_on.fd, &count, sizeof count), sizeof count);
        }
    }
    journal_close(journal);
}

static void many_batches_share_a_sync(void **state)
{
    struct store_options options = fixture_options(*state);
    struct journal *journal = fixture_open(&options);
    struct fixture_replay replay;
    assert_true(fixture_recover(journal, SEED, &replay));
    struct fixture_state history = {0};
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        struct buffer batch = {0};
        fixture_batch(SEED, i + 1, &batch, &history);
        bytes += batch.length;
        journal_append(journal, batch.data, batch.length);
        buffer_free(&batch);
    }
    journal_wait(journal, history.last);
    struct store_figures figures = store_figures(journal);
    assert_int_equal(figures.batches, 2000);
    assert_in_range(figures.bytes, bytes / 2,
                    bytes + 2000 * 32); /* each has a prefix; large ones are packed */
    assert_in_range(figures.syncs, 1, 1999);
    assert_true(figures.sync_us_max <= figures.sync_us_total);
    assert_int_equal(figures.checkpoints, 0);
    journal_close(journal);
}

struct appender {
    struct journal *journal;
    uint64_t most_waiting; /* batches that were not durable right after an append */
};

static void *append_much(void *context)
{
    struct appender *appender = context;
    uint8_t value[300] = {1};
    for (uint8_t i = 0; i < 250; i++) {
        struct buffer batch = {0};
        record_put(&batch, 1, &i, 1, value, sizeof value);
        uint64_t sequence = journal_append(appender->journal, batch.data, batch.length);
        uint64_t durable = journal_durable(appender->journal);
        if (sequence > durable && sequence - durable > appender->most_waiting)
            appender->most_waiting = sequence - durable;
        buffer_free(&batch);
    }
    return NULL;
}

static bool count_record(void *context, const struct record *record)
{
    (void)record;
    ++*(uint64_t *)context;
    return true;
}

static void a_full_queue_holds_appends_back(void **state)
{
    struct store_options options = fixture_options(*state);
    options.queue_bytes_max = 2000; /* six of these batches */
    struct journal *journal = fixture_open(&options);
    uint64_t records = 0;
    assert_true(journal_recover(journal, count_record, &records));
    struct appender appenders[2] = {{journal, 0}, {journal, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_much, &appenders[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_in_range(appenders[i].most_waiting, 0, 6);
    }
    static uint8_t large[5000]; /* larger than the whole queue: goes alone */
    struct buffer batch = {0};
    record_put(&batch, 2, "large", 5, large, sizeof large);
    assert_int_equal(journal_append(journal, batch.data, batch.length), 501);
    journal_wait(journal, 501);
    buffer_free(&batch);
    journal_close(journal);
    journal = fixture_open(&options);
    assert_true(journal_recover(journal, count_record, &records));
    assert_int_equal(records, 501);
    journal_close(journal);
}

static bool refuse_record(void *context, const struct record *record)
{
    (void)context;
    return record->type != FIXTURE_LAST;
}

static void a_visitor_may_refuse(void **state)
{
    struct store_options options = fixture_options(*state);
    struct journal *journal = fixture_open(&options);
    struct fixture_replay replay;
    assert_true(fixture_recover(journal, SEED, &replay));
    struct fixture_state history = {0};
    fixture_append(journal, SEED, &history);
    journal_close(journal);
    journal = fixture_open(&options);
    assert_false(journal_recover(journal, refuse_record, NULL));
    journal_close(journal);
}

static void edges_of_records_come_back(void **state)
{
    struct store_options options = fixture_options(*state);
    options.checkpoint_bytes = 1; /* folded at once */
    uint8_t key[RECORD_KEY_MAX];
    memset(key, 0xff, sizeof key);
    struct buffer batch = {0};
    record_put(&batch, 0, "", 0, "", 0);
    record_put(&batch, RECORD_ARCHIVE_FIRST - 1, key, sizeof key, "v", 1);
    record_put(&batch, 3, "never there", 11, "x", 1);
    record_gone(&batch, 3, "never there", 11);
    record_gone(&batch, 4, "unknown", 7);
    struct journal *journal = fixture_open(&options);
    uint64_t records = 0;
    assert_true(journal_recover(journal, count_record, &records));
    journal_wait(journal, journal_append(journal, batch.data, batch.length));
    fixture_wait_checkpoints(journal, 1);
    buffer_free(&batch);
    journal_close(journal);
    journal = fixture_open(&options);
    assert_true(journal_recover(journal, count_record, &records));
    assert_int_equal(records, 2);
    assert_int_equal(journal_durable(journal), 1);
    journal_close(journal);
}

static void only_one_may_have_it_open(void **state)
{
    struct store_options options = fixture_options(*state);
    struct journal *journal = fixture_open(&options);
    char process[32];
    snprintf(process, sizeof process, "in process %ld;", (long)getpid());
    fixture_refused(&options, STORE_LOCKED, *state, process);
    journal_close(journal);
    journal_close(fixture_open(&options));
}

static void another_application_is_refused(void **state)
{
    struct store_options options = fixture_options(*state);
    journal_close(fixture_open(&options));
    options.application = "wallet";
    fixture_refused(&options, STORE_FOREIGN, "of a \"hub\"", "not of a \"wallet\"");
}

static void another_version_is_refused(void **state)
{
    struct store_options options = fixture_options(*state);
    options.version = 3;
    journal_close(fixture_open(&options));
    options.version = 2;
    fixture_refused(&options, STORE_VERSION, "have version 3",
                    "knows version 2; use the program that wrote them");
}

static void a_folder_of_other_things_is_left_alone(void **state)
{
    char file[128], lock[128];
    snprintf(file, sizeof file, "%s/holiday.txt", (const char *)*state);
    snprintf(lock, sizeof lock, "%s/rill.lock", (const char *)*state);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_FOREIGN, "holiday.txt", "name an empty folder");
    assert_int_equal(access(lock, F_OK), -1);
}

static void an_unusable_path_is_refused(void **state)
{
    char file[128], below[160];
    snprintf(file, sizeof file, "%s/file", (const char *)*state);
    snprintf(below, sizeof below, "%s/journal", file);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    struct store_options options = fixture_options(below);
    fixture_refused(&options, STORE_UNWRITABLE, below, "Not a directory; name one that can be written");
    options.path = file;
    fixture_refused(&options, STORE_UNWRITABLE, file, "Not a directory");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

#define LARGE_BYTES 300000

static void large_value(uint8_t *value, unsigned kind)
{
    struct fixture_random random = {kind};
    for (size_t i = 0; i < LARGE_BYTES; i++)
        value[i] = kind % 2 == 0 ? (uint8_t)(i % 40) : (uint8_t)fixture_random_next(&random);
}

static bool visit_large(void *context, const struct record *record)
{
    static uint8_t expected[LARGE_BYTES];
    unsigned *next = context;
    assert_int_equal(record->key[0], *next);
    assert_int_equal(record->value_length, LARGE_BYTES);
    large_value(expected, *next);
    assert_memory_equal(record->value, expected, LARGE_BYTES);
    ++*next;
    return true;
}

/* Those that repeat themselves are packed, others are not; each comes back as it was, from batch and checkpoint. */
static void large_batches_come_back(void **state)
{
    static uint8_t value[LARGE_BYTES];
    struct store_options options = fixture_options(*state);
    for (int opening = 0; opening < 3; opening++) {
        options.checkpoint_bytes = opening == 1 ? 1 : 0; /* folded in the second */
        struct journal *journal = fixture_open(&options);
        unsigned next = 0;
        assert_true(journal_recover(journal, visit_large, &next));
        assert_int_equal(next, opening == 0 ? 0 : 6);
        for (uint8_t kind = 0; opening == 0 && kind < 6; kind++) {
            struct buffer batch = {0};
            large_value(value, kind);
            record_put(&batch, 1, &kind, 1, value, sizeof value);
            journal_wait(journal, journal_append(journal, batch.data, batch.length));
            buffer_free(&batch);
        }
        if (opening == 0)
            assert_in_range(store_figures(journal).bytes, 3 * LARGE_BYTES, 4 * LARGE_BYTES);
        if (opening == 1)
            fixture_wait_folded(journal, 1);
        journal_close(journal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(batches_survive_reopening),   WITH_FOLDER(large_batches_come_back),
        WITH_FOLDER(folder_is_made_private),      WITH_FOLDER(descriptor_wakes_when_durable_rises),
        WITH_FOLDER(many_batches_share_a_sync),   WITH_FOLDER(a_full_queue_holds_appends_back),
        WITH_FOLDER(a_visitor_may_refuse),        WITH_FOLDER(edges_of_records_come_back),
        WITH_FOLDER(only_one_may_have_it_open),   WITH_FOLDER(another_application_is_refused),
        WITH_FOLDER(another_version_is_refused),  WITH_FOLDER(a_folder_of_other_things_is_left_alone),
        WITH_FOLDER(an_unusable_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
