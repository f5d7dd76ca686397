/* Rows that are dead do not stay in a start's way: keys that come and go, over many foldings, after a close and after a
 * kill.
 *
 * The process that is killed is this program again: `test_dead churn FOLDER CHECKPOINT_BYTES`.
 */
#include "tests/store/journal_fixture.h"

#include <rocksdb/c.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define ROUNDS      20
#define PASSING     400 /* keys of each round, which go in the next one */
#define STAYING     200
#define VALUE_BYTES 300
#define PASSING_KEY 1
#define STAYING_KEY 2

static void put(struct buffer *batch, uint8_t type, uint32_t number)
{
    static const uint8_t value[VALUE_BYTES];
    uint8_t key[4];
    store_be32(key, number * 2654435761u); /* spread, so that what comes and what goes are among each other */
    size_t mark = record_begin(batch, type, key, sizeof key);
    buffer_append(batch, value, sizeof value);
    record_end_first(batch, mark);
}

static void gone(struct buffer *batch, uint8_t type, uint32_t number)
{
    uint8_t key[4];
    store_be32(key, number * 2654435761u);
    record_gone(batch, type, key, sizeof key);
}

static uint64_t append(struct journal *journal, struct buffer *batch)
{
    uint64_t sequence = journal_append(journal, batch->data, batch->length);
    buffer_free(batch);
    *batch = (struct buffer){0};
    return sequence;
}

/* As long as it takes for a folding. */
static void ballast(struct buffer *batch, uint32_t number, uint64_t length)
{
    uint8_t key[RECORD_ARCHIVE_KEY_MIN + 4] = {FIXTURE_OWNER};
    store_be32(key + RECORD_ARCHIVE_KEY_MIN, number);
    size_t mark = record_begin(batch, FIXTURE_ARCHIVE, key, sizeof key);
    for (uint64_t i = 0; i < length; i++)
        buffer_u8(batch, 0);
    record_end(batch, mark);
}

/* Each round is folded by itself. */
static void churn(struct journal *journal, uint64_t checkpoint_bytes)
{
    struct buffer batch = {0};
    for (uint32_t i = 0; i < STAYING; i++)
        put(&batch, STAYING_KEY, i);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < PASSING; i++) {
            if (round > 0)
                gone(&batch, PASSING_KEY, (round - 1) * PASSING + i);
            put(&batch, PASSING_KEY, round * PASSING + i);
        }
        ballast(&batch, round, checkpoint_bytes);
        journal_wait(journal, append(journal, &batch));
        fixture_wait_folded(journal, checkpoint_bytes);
    }
}

static bool count(void *context, const struct record *record)
{
    uint64_t *counts = context;
    counts[record->type] += !record->gone;
    return true;
}

static int child_churn(const char *path, uint64_t checkpoint_bytes)
{
    struct store_options options = fixture_options(path);
    options.checkpoint_bytes = checkpoint_bytes;
    uint64_t counts[256] = {0};
    struct journal *journal = fixture_open(&options);
    if (!journal_recover(journal, count, counts))
        return 4;
    churn(journal, checkpoint_bytes);
    return raise(SIGKILL);
}

/* Recovers, and tells how many rows were walked over that are not shown. */
static uint64_t dead_rows(const char *path, uint64_t checkpoint_bytes)
{
    struct store_options options = fixture_options(path);
    options.checkpoint_bytes = checkpoint_bytes;
    uint64_t counts[256] = {0};
    struct journal *journal = fixture_open(&options);
    rocksdb_set_perf_level(rocksdb_enable_count);
    rocksdb_perfcontext_t *context = rocksdb_perfcontext_create();
    rocksdb_perfcontext_reset(context);
    assert_true(journal_recover(journal, count, counts));
    uint64_t dead = rocksdb_perfcontext_metric(context, rocksdb_internal_delete_skipped_count) +
                    rocksdb_perfcontext_metric(context, rocksdb_internal_key_skipped_count);
    rocksdb_perfcontext_destroy(context);
    assert_int_equal(counts[STAYING_KEY], STAYING);
    assert_int_equal(counts[PASSING_KEY], PASSING); /* the last round's, and no other's */
    journal_close(journal);
    return dead - (STAYING + PASSING); /* RocksDB counts each step, over a row that was shown, too */
}

static uint64_t dead_after_close(uint64_t checkpoint_bytes)
{
    char *path = fixture_folder_make(), folder[128];
    snprintf(folder, sizeof folder, "%s/journal", path);
    struct store_options options = fixture_options(folder);
    options.checkpoint_bytes = checkpoint_bytes;
    uint64_t counts[256] = {0};
    struct journal *journal = fixture_open(&options);
    assert_true(journal_recover(journal, count, counts));
    churn(journal, checkpoint_bytes);
    journal_close(journal);
    uint64_t dead = dead_rows(folder, checkpoint_bytes);
    fixture_folder_remove(path);
    return dead;
}

extern char **environ;

static uint64_t dead_after_kill(uint64_t checkpoint_bytes)
{
    char *path = fixture_folder_make(), folder[128], bytes[32];
    snprintf(folder, sizeof folder, "%s/journal", path);
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)checkpoint_bytes);
    char churning[] = "churn", name[] = "test_dead", *arguments[] = {name, churning, folder, bytes, NULL};
    pid_t process;
    int status;
    assert_int_equal(posix_spawn(&process, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    uint64_t dead = dead_rows(folder, checkpoint_bytes);
    fixture_folder_remove(path);
    return dead;
}

#define LIVE_BYTES ((uint64_t)(STAYING + PASSING) * (VALUE_BYTES + 256)) /* more than that */

/* What lives is no more than one folding: each writes it anew. A few for the mark that a replay begins behind. */
static void none_stay_where_little_lives(void **state)
{
    (void)state;
    assert_in_range(dead_after_close(LIVE_BYTES), 0, 8);
    assert_in_range(dead_after_kill(LIVE_BYTES), 0, 8);
}

/* Else it is written anew before what is dead is much more: of 20 rounds, those of two foldings and what they ended. */
static void few_stay_where_much_lives(void **state)
{
    (void)state;
    assert_in_range(dead_after_close(1), 0, 5 * PASSING);
    assert_in_range(dead_after_kill(1), 0, 5 * PASSING);
}

int main(int argument_count, char **arguments)
{
    if (argument_count == 4 && strcmp(arguments[1], "churn") == 0)
        return child_churn(arguments[2], strtoull(arguments[3], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_stay_where_little_lives),
        cmocka_unit_test(few_stay_where_much_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
