/* What the archive's index may have, in memory: the filter, and that no record is missed whatever became of its file. */
#include "tests/store/journal_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/index.h"
#include "store/filter.h"

#define DAY       86400u
#define IDS       2000
#define FILE_NAME "rill.filter"

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

/* ---- the filter ---- */

static uint64_t hash_number(uint64_t number)
{
    struct fixture_random random = {number};
    return fixture_random_next(&random);
}

static void add_numbers(struct filter *filter, uint64_t from, uint64_t to)
{
    for (; from < to; from++) {
        if (filter_room(filter) == 0)
            filter_layer_add(filter, filter_layer_make(filter, 0));
        filter_add(filter, hash_number(from));
    }
}

/* How many of these it may have. */
static uint64_t count_numbers(const struct filter *filter, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (uint64_t number = from; number < to; number += 100) {
        uint64_t hashes[100];
        bool may_have[100];
        for (size_t i = 0; i < 100; i++) {
            hashes[i] = hash_number(number + i);
            may_have[i] = true;
        }
        filter_look(filter, hashes, 100, may_have);
        for (size_t i = 0; i < 100; i++)
            count += may_have[i];
    }
    return count;
}

/* Full to the brim, with one layer and with several: none is missed, and one in a hundred others let through at most. */
static void test_filter(void **state)
{
    (void)state;
    struct filter filter = {0};
    assert_int_equal(count_numbers(&filter, 0, 1000), 0);
    for (uint64_t many = FILTER_ROOM_MIN; many <= 4 * FILTER_ROOM_MIN; many *= 2) {
        add_numbers(&filter, filter.count, many);
        assert_int_equal(filter_room(&filter), 0);
        assert_int_equal(count_numbers(&filter, 0, many / 100 * 100), many / 100 * 100);
        assert_true(count_numbers(&filter, 1u << 30, (1u << 30) + 100000) < 1000);
    }
    bool asked = false; /* is left so */
    uint64_t hash = hash_number(0);
    filter_look(&filter, &hash, 1, &asked);
    assert_false(asked);
    filter_free(&filter);
}

static void test_filter_file(void **state)
{
    char path[256];
    snprintf(path, sizeof path, "%s/filter", (const char *)*state);
    struct filter filter = {0}, read = {0};
    add_numbers(&filter, 0, FILTER_ROOM_MIN + 1000);
    FILE *file = fopen(path, "w+b");
    assert_non_null(file);
    assert_true(filter_write(&filter, file, 7));
    struct stat status;
    assert_int_equal(fflush(file), 0);
    assert_int_equal(fstat(fileno(file), &status), 0);
    rewind(file);
    assert_true(filter_read(&read, file, 7, (uint64_t)status.st_size));
    assert_int_equal(read.count, filter.count);
    assert_int_equal(filter_room(&read), filter_room(&filter));
    assert_int_equal(count_numbers(&read, 0, FILTER_ROOM_MIN / 100 * 100), FILTER_ROOM_MIN / 100 * 100);
    filter_free(&read);
    rewind(file);
    assert_false(filter_read(&read, file, 7, 1000000)); /* more than it may take */
    rewind(file);
    assert_false(filter_read(&read, file, 8, (uint64_t)status.st_size)); /* not what was before it */
    /* Any byte, any length. */
    for (uint64_t at = 0; at < (uint64_t)status.st_size; at += (uint64_t)status.st_size / 40 + 3) {
        int byte, wrong;
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        byte = fgetc(file);
        wrong = byte ^ 4;
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        assert_int_equal(fputc(wrong, file), wrong);
        rewind(file);
        assert_false(filter_read(&read, file, 7, (uint64_t)status.st_size));
        assert_null(read.newest);
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        assert_int_equal(fputc(byte, file), byte);
    }
    assert_int_equal(ftruncate(fileno(file), status.st_size - 1), 0);
    rewind(file);
    assert_false(filter_read(&read, file, 7, (uint64_t)status.st_size));
    fclose(file);
    filter_free(&filter);
}

/* ---- in a journal ---- */

static bool accept(void *context, const struct record *record)
{
    (void)context, (void)record;
    return true;
}

/* One record each, of one day; all folded when this returns. */
static void add_ids(struct journal *journal, uint64_t from, uint64_t to, uint64_t day)
{
    struct buffer batch = {0};
    record_put(&batch, 1, "ids", 3, &to, sizeof to);
    for (; from < to; from++) {
        uint8_t key[RECORD_ARCHIVE_KEY_MIN + 8] = {1};
        store_be64(key + RECORD_OWNER_BYTES, day * DAY);
        store_be64(key + RECORD_ARCHIVE_KEY_MIN, from);
        record_put(&batch, RECORD_ARCHIVE_FIRST | RECORD_FINDABLE, key, sizeof key, &from, sizeof from);
    }
    journal_append(journal, batch.data, batch.length);
    buffer_free(&batch);
    fixture_fold_small(journal);
}

static uint64_t count_ids(struct journal *journal, uint64_t from, uint64_t to)
{
    static uint8_t rests[8 * IDS];
    static bool out[IDS];
    size_t count = to - from, found = 0;
    assert_true(count <= IDS);
    for (size_t i = 0; i < count; i++)
        store_be64(rests + 8 * i, from + i);
    journal_have(journal, RECORD_ARCHIVE_FIRST, rests, 8, count, out);
    for (size_t i = 0; i < count; i++)
        found += out[i];
    return found;
}

/* Until what is not there is answered from memory. Returns how many questions went to the disk meanwhile. */
static uint64_t wait_known(struct journal *journal)
{
    uint64_t end = clock_monotonic_us() + 10000000, begun = store_figures(journal).index_looks, before;
    do {
        assert_true(clock_monotonic_us() < end);
        before = store_figures(journal).index_looks;
        assert_int_equal(count_ids(journal, 1u << 20, (1u << 20) + 100), 0);
    } while (store_figures(journal).index_looks - before > 5);
    return store_figures(journal).index_looks - begun;
}

static void check_ids(struct journal *journal, uint64_t from, uint64_t to)
{
    assert_int_equal(count_ids(journal, from, to), to - from);
    uint64_t rest_found = 0;
    for (uint64_t id = from; id < to; id += 97) {
        uint8_t rest[8];
        store_be64(rest, id);
        rest_found += journal_find(journal, RECORD_ARCHIVE_FIRST, rest, sizeof rest, accept, NULL);
    }
    assert_int_equal(rest_found, (to - from + 96) / 97);
}

/* Known from the folding on; what is there and folded is looked up on the disk, what is not there is not. */
static void test_looks(void **state)
{
    struct journal *journal = fixture_open_small(*state, 100000);
    (void)wait_known(journal);
    for (uint64_t from = 0; from < IDS; from += IDS / 4) {
        add_ids(journal, from, from + IDS / 4, 20000);
        check_ids(journal, 0, from + IDS / 4);
        uint64_t before = store_figures(journal).index_looks;
        assert_int_equal(count_ids(journal, IDS, 2 * IDS), 0);
        uint8_t rest[8];
        store_be64(rest, IDS);
        assert_false(journal_find(journal, RECORD_ARCHIVE_FIRST, rest, sizeof rest, accept, NULL));
        assert_true(store_figures(journal).index_looks - before < IDS / 50);
    }
    assert_true(store_figures(journal).index_looks >= IDS);
    journal_close(journal);
}

static void file_path(const char *folder, char path[256])
{
    snprintf(path, 256, "%s/" FILE_NAME, folder);
}

static bool file_is_there(const char *folder)
{
    char path[256];
    file_path(folder, path);
    return access(path, F_OK) == 0;
}

/* A clean close leaves it, the next opening takes it away, and all goes on. */
static void test_restart(void **state)
{
    for (uint64_t from = 0; from < IDS; from += IDS / 4) {
        struct journal *journal = fixture_open_small(*state, 100000);
        (void)wait_known(journal);
        assert_false(file_is_there(*state));
        check_ids(journal, 0, from);
        add_ids(journal, from, from + IDS / 4, 20000);
        check_ids(journal, 0, from + IDS / 4);
        journal_close(journal);
        assert_true(file_is_there(*state));
    }
}

/* Another process dies where it stands, with everything folded. */
static void add_ids_and_die(const char *folder, uint64_t from, uint64_t to)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        add_ids(fixture_open_small(folder, 100000), from, to, 20000);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* After a crash it is read from the index; and an older file that somebody puts back is not believed. */
static void test_crash(void **state)
{
    char path[256], kept[300];
    file_path(*state, path);
    snprintf(kept, sizeof kept, "%s.kept", path);
    struct journal *journal = fixture_open_small(*state, 100000);
    add_ids(journal, 0, IDS / 2, 20000);
    journal_close(journal);
    assert_int_equal(link(path, kept), 0);
    add_ids_and_die(*state, IDS / 2, IDS);
    assert_false(file_is_there(*state));
    assert_int_equal(rename(kept, path), 0);
    journal = fixture_open_small(*state, 100000);
    check_ids(journal, 0, IDS);
    (void)wait_known(journal);
    check_ids(journal, 0, IDS);
    journal_close(journal);
}

static void change_file(const char *folder, long at, bool cut)
{
    char path[256];
    file_path(folder, path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    if (cut) {
        assert_int_equal(ftruncate(fileno(file), at), 0);
    } else {
        int byte = fgetc(file) ^ 1;
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fputc(byte, file), byte);
    }
    assert_int_equal(fclose(file), 0);
}

/* A file that is damaged or cut off anywhere is as good as none. */
static void test_damaged_file(void **state)
{
    static const long places[] = {0, 8, 16, 24, 30, 32, 40, 48, 56, 5000, 500000};
    struct journal *journal = fixture_open_small(*state, 100000);
    add_ids(journal, 0, IDS, 20000);
    journal_close(journal);
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(places); i++) {
        change_file(*state, places[i / 2], i % 2 == 1);
        journal = fixture_open_small(*state, 100000);
        check_ids(journal, 0, IDS);
        (void)wait_known(journal);
        check_ids(journal, 0, IDS);
        journal_close(journal);
    }
}

/* A file that is mostly about what is pruned is not believed: it would grow from start to start. Here it has none of what is
 * there, so believing it would be seen. */
static void test_stale_file(void **state)
{
    char path[256];
    uint8_t head[32];
    struct journal *journal = fixture_open_small(*state, 100000);
    add_ids(journal, 0, IDS, 20000);
    journal_close(journal);
    file_path(*state, path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fread(head, sizeof head, 1, file), 1);
    assert_int_equal(fseek(file, sizeof head, SEEK_SET), 0);
    struct filter filter = {0};
    add_numbers(&filter, 0, (1u << 20) + 3 * IDS);
    assert_true(filter_write(&filter, file, index_hash(0, head, sizeof head)));
    assert_int_equal(fclose(file), 0);
    filter_free(&filter);
    journal = fixture_open_small(*state, 100000);
    (void)wait_known(journal);
    check_ids(journal, 0, IDS);
    journal_close(journal);
}

/* What is pruned is not had any more, though the filter knows it. */
static void test_pruned(void **state)
{
    struct journal *journal = fixture_open_small(*state, 10);
    (void)wait_known(journal);
    add_ids(journal, 0, IDS / 2, 20000);
    check_ids(journal, 0, IDS / 2);
    add_ids(journal, IDS / 2, IDS, 20100);
    assert_int_equal(count_ids(journal, 0, IDS / 2), 0);
    check_ids(journal, IDS / 2, IDS);
    journal_close(journal);
    journal = fixture_open_small(*state, 10);
    (void)wait_known(journal);
    assert_int_equal(count_ids(journal, 0, IDS / 2), 0);
    check_ids(journal, IDS / 2, IDS);
    journal_close(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter),
        cmocka_unit_test_setup_teardown(test_filter_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_looks, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_restart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_crash, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_damaged_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_stale_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_pruned, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
