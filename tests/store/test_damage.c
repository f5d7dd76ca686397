/* Journals that a disk, another program or a person has changed: what is refused, and what a torn end costs.
 */
#include "tests/store/journal_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <sys/stat.h>

#define SEED    5
#define BATCHES 60

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

/* A journal of BATCHES batches, each with a write of its own. */
static int make_journal(void **state)
{
    make_folder(state);
    struct store_options options = fixture_options(*state);
    struct journal *journal = fixture_open(&options);
    struct fixture_replay replay;
    struct fixture_state history = {0};
    assert_true(fixture_recover(journal, SEED, &replay));
    while (history.last < BATCHES)
        journal_wait(journal, fixture_append(journal, SEED, &history));
    journal_close(journal);
    return 0;
}

enum raw_family { RAW_DEFAULT, RAW_JOURNAL, RAW_CHECKPOINT };

/* Puts a value, or deletes it, behind the store's back. */
static void raw_put(const char *path, enum raw_family family, const void *key, size_t key_length,
                    const struct buffer *value)
{
    static const char *const names[] = {"default", "journal", "checkpoint", "archive", "index"};
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_column_family_handle_t *families[5];
    const rocksdb_options_t *each[] = {options, options, options, options, options};
    char *error = NULL;
    rocksdb_t *database = rocksdb_open_column_families(options, path, 5, names, each, families, &error);
    assert_null(error);
    if (value == NULL)
        rocksdb_delete_cf(database, write, families[family], key, key_length, &error);
    else
        rocksdb_put_cf(database, write, families[family], key, key_length, (const char *)value->data,
                       value->length, &error);
    assert_null(error);
    for (int i = 0; i < 5; i++)
        rocksdb_column_family_handle_destroy(families[i]);
    rocksdb_close(database);
    rocksdb_writeoptions_destroy(write);
    rocksdb_options_destroy(options);
}

/* whole: what a packed batch says that it is; 0: it is not packed. */
static void raw_put_packed(const char *path, uint64_t sequence, uint8_t version, uint64_t epoch,
                           const char *records, size_t length, uint32_t whole)
{
    uint8_t key[8];
    store_be64(key, sequence);
    struct buffer value = {0};
    buffer_u8(&value, version);
    buffer_u64(&value, epoch);
    buffer_u32(&value, (uint32_t)(whole == 0 ? length : whole));
    buffer_u32(&value, whole);
    buffer_append(&value, records, length);
    raw_put(path, RAW_JOURNAL, key, sizeof key, &value);
    buffer_free(&value);
}

static void raw_put_batch(const char *path, uint64_t sequence, uint8_t version, uint64_t epoch,
                          const char *records, size_t length)
{
    raw_put_packed(path, sequence, version, epoch, records, length, 0);
}

static void raw_delete_batch(const char *path, uint64_t sequence)
{
    uint8_t key[8];
    store_be64(key, sequence);
    raw_put(path, RAW_JOURNAL, key, sizeof key, NULL);
}

static const char good_batch[] = "\x01\x01\x00\x00\x00\x01kv";
#define GOOD_BATCH good_batch, sizeof good_batch - 1

static void a_missing_batch_is_damage(void **state)
{
    raw_delete_batch(*state, 17);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "batch 17 is missing", "restore the folder from a backup");
}

static void a_missing_first_batch_is_damage(void **state)
{
    raw_delete_batch(*state, 1);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "batch 1 is missing", *state);
}

static void a_batch_of_another_version_is_damage(void **state)
{
    raw_put_batch(*state, BATCHES, 3, 1, GOOD_BATCH);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "batch 60 is malformed", *state);
}

static void a_half_record_is_damage(void **state)
{
    raw_put_batch(*state, 30, 4, 1, good_batch, sizeof good_batch - 2);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "batch 30 is malformed", *state);
}

static void an_empty_batch_is_damage(void **state)
{
    raw_put_batch(*state, 30, 4, 1, "", 0);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "batch 30 is malformed", *state);
}

/* LZ4: a token (literals, copied ones), then the literals. */
static void a_batch_that_cannot_be_unpacked_is_damage(void **state)
{
    static const char packed[] = "\x80\x01\x01\x00\x00\x00\x01kv";
    struct store_options options = fixture_options(*state);
    static const uint32_t wholes[] = {7, 9, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < 4; i++) {
        raw_put_packed(*state, 30, 4, 1, packed, sizeof packed - 1, wholes[i]);
        fixture_refused(&options, STORE_CORRUPT, "batch 30 is malformed", *state);
    }
    raw_put_packed(*state, 30, 4, 1, packed, sizeof packed - 2, 8);
    fixture_refused(&options, STORE_CORRUPT, "batch 30 is malformed", *state);
    raw_put_packed(*state, 30, 4, 1, packed, sizeof packed - 1, 8);
    journal_close(fixture_open(&options)); /* and this one is whole */
}

static void an_epoch_out_of_order_is_damage(void **state)
{
    struct store_options options = fixture_options(*state);
    raw_put_batch(*state, BATCHES + 1, 4, 9, GOOD_BATCH); /* of an opening that never was */
    fixture_refused(&options, STORE_CORRUPT, "batch 61 has an epoch out of order", *state);
    raw_put_batch(*state, BATCHES + 1, 4, 0, GOOD_BATCH);
    fixture_refused(&options, STORE_CORRUPT, "batch 61 has an epoch out of order", *state);
}

static void a_folding_without_its_batches_is_damage(void **state)
{
    struct buffer mark = {0};
    buffer_u64(&mark, 0);
    buffer_u64(&mark, BATCHES + 1);
    buffer_u64(&mark, 0); /* the burden */
    buffer_u64(&mark, 0);
    raw_put(*state, RAW_DEFAULT, "checkpoint", 10, &mark);
    buffer_free(&mark);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "batch 61 is missing", *state);
}

static void a_missing_mark_is_damage(void **state)
{
    raw_put(*state, RAW_DEFAULT, "checkpoint", 10, NULL);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "the checkpoint's mark is missing", *state);
}

static void a_missing_header_is_foreign(void **state)
{
    raw_put(*state, RAW_DEFAULT, "header", 6, NULL);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_FOREIGN, "of another program", *state);
}

static void another_format_is_refused(void **state)
{
    struct buffer header = {0};
    buffer_append(&header, "RILLJRNL", 8);
    buffer_u16(&header, 4);
    raw_put(*state, RAW_DEFAULT, "header", 6, &header);
    buffer_free(&header);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_VERSION, "has format 4", "knows format 5");
}

/* A database of another program, perhaps with a column family that only it knows. */
static void stranger_make(const char *path, const char *family)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_options_set_create_if_missing(options, 1);
    char *error = NULL;
    rocksdb_t *database = rocksdb_open(options, path, &error);
    assert_null(error);
    rocksdb_put(database, write, "theirs", 6, "value", 5, &error);
    assert_null(error);
    if (family != NULL)
        rocksdb_column_family_handle_destroy(rocksdb_create_column_family(database, options, family, &error));
    assert_null(error);
    rocksdb_close(database);
    rocksdb_writeoptions_destroy(write);
    rocksdb_options_destroy(options);
}

static void a_strangers_database_is_left_as_it_was(void **state)
{
    stranger_make(*state, NULL);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_FOREIGN, "another program", "name another folder");
    rocksdb_options_t *plain = rocksdb_options_create();
    char *error = NULL;
    rocksdb_close(rocksdb_open(plain, *state, &error)); /* with no column family that it does not know */
    assert_null(error);
    rocksdb_options_destroy(plain);
}

static void a_strangers_column_family_is_foreign(void **state)
{
    stranger_make(*state, "theirs");
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_FOREIGN, "column family \"theirs\"", "name another folder");
}

/* A first opening that a crash cut short, after RocksDB was there and before anything was in it. */
static void a_database_without_anything_is_new(void **state)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    char *error = NULL;
    rocksdb_close(rocksdb_open(options, *state, &error));
    assert_null(error);
    rocksdb_options_destroy(options);
    struct store_options own = fixture_options(*state);
    journal_close(fixture_open(&own));
}

/* The name of the largest WAL in the folder, and its size. */
static off_t wal_find(const char *path, char *name, size_t size)
{
    off_t largest = -1;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char full[512];
        struct stat status;
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        if (strstr(entry->d_name, ".log") == NULL || stat(full, &status) != 0 || status.st_size <= largest)
            continue;
        largest = status.st_size;
        snprintf(name, size, "%s", full);
    }
    closedir(folder);
    assert_true(largest > 1000);
    return largest;
}

/* What a power cut may do to the write after the last sync: only that write is lost. */
static void a_torn_end_costs_one_write(void **state)
{
    char wal[512];
    off_t size = wal_find(*state, wal, sizeof wal);
    assert_int_equal(truncate(wal, size - 3), 0);
    struct store_options options = fixture_options(*state);
    struct journal *journal = fixture_open(&options);
    struct fixture_replay replay;
    assert_true(fixture_recover(journal, SEED, &replay));
    assert_int_equal(replay.seen.last, BATCHES - 1);
    assert_int_equal(journal_durable(journal), BATCHES - 1);
    assert_int_equal(fixture_append(journal, SEED, &replay.seen), BATCHES);
    journal_close(journal);
}

/* Damage before the end hit batches that were durable: they are not passed over in silence. */
static void a_flipped_bit_is_damage(void **state)
{
    char wal[512];
    off_t size = wal_find(*state, wal, sizeof wal);
    int descriptor = open(wal, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(descriptor, &byte, 1, size / 2), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(descriptor, &byte, 1, size / 2), 1);
    close(descriptor);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "damaged", "keep a copy");
}

static void a_lost_current_is_damage(void **state)
{
    char current[128];
    snprintf(current, sizeof current, "%s/CURRENT", (const char *)*state);
    assert_int_equal(unlink(current), 0);
    struct store_options options = fixture_options(*state);
    fixture_refused(&options, STORE_CORRUPT, "CURRENT is missing", "restore the folder from a backup");
}

static void a_lost_table_is_damage(void **state)
{
    struct store_options options = fixture_options(*state);
    journal_close(fixture_open(&options)); /* recovery made tables of the WAL */
    DIR *folder = opendir(*state);
    assert_non_null(folder);
    int removed = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strstr(entry->d_name, ".sst") != NULL)
            removed += unlinkat(dirfd(folder), entry->d_name, 0) == 0;
    closedir(folder);
    assert_true(removed > 0);
    fixture_refused(&options, STORE_CORRUPT, "damaged", "restore the folder from a backup");
}

#define WITH_JOURNAL(test) cmocka_unit_test_setup_teardown(test, make_journal, remove_folder)
#define WITH_FOLDER(test)  cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_JOURNAL(a_missing_batch_is_damage),
        WITH_JOURNAL(a_missing_first_batch_is_damage),
        WITH_JOURNAL(a_batch_of_another_version_is_damage),
        WITH_JOURNAL(a_half_record_is_damage),
        WITH_JOURNAL(an_empty_batch_is_damage),
        WITH_JOURNAL(a_batch_that_cannot_be_unpacked_is_damage),
        WITH_JOURNAL(an_epoch_out_of_order_is_damage),
        WITH_JOURNAL(a_folding_without_its_batches_is_damage),
        WITH_JOURNAL(a_missing_mark_is_damage),
        WITH_JOURNAL(a_missing_header_is_foreign),
        WITH_JOURNAL(another_format_is_refused),
        WITH_FOLDER(a_strangers_database_is_left_as_it_was),
        WITH_FOLDER(a_strangers_column_family_is_foreign),
        WITH_FOLDER(a_database_without_anything_is_new),
        WITH_JOURNAL(a_torn_end_costs_one_write),
        WITH_JOURNAL(a_flipped_bit_is_damage),
        WITH_JOURNAL(a_lost_current_is_damage),
        WITH_JOURNAL(a_lost_table_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
