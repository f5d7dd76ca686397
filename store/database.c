/* RocksDB underneath: how it is set up, opened and closed, and what its errors mean to us. */
#include <limits.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

static const char *const family_names[FAMILY_COUNT] = {
    [FAMILY_HEADER] = "default",  [FAMILY_JOURNAL] = "journal", [FAMILY_CHECKPOINT] = "checkpoint",
    [FAMILY_ARCHIVE] = "archive", [FAMILY_INDEX] = "index",
};

#define INFO_LOG_NOTHING 6 /* RocksDB's NUM_INFO_LOG_LEVELS */

#define MEBIBYTE ((uint64_t)1 << 20)

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

#define RUNS_MAX        8  /* tables over each other, before they are merged */
#define SELDOM_RUNS_MAX 32 /* of what is read seldom: merging is what it costs */
#define READAHEAD_BYTES ((size_t)4 << 20)

/* Families that get whole tables from the folding thread, and are read at a start or seldom. What counts is how
 * often a record is written again: several tables of one size become one, and the whole is only written anew once
 * what lies above it is as large (the archive's never is: only its size matters there, and nothing is ever
 * overwritten). And RocksDB must not slow the commits down because these wait for merging: folding makes no more
 * of them than it has batches for. */
static void set_merging(rocksdb_options_t *options, enum family family)
{
    rocksdb_universal_compaction_options_t *universal = rocksdb_universal_compaction_options_create();
    rocksdb_universal_compaction_options_set_max_size_amplification_percent(
        universal, family == FAMILY_CHECKPOINT ? 100 : INT_MAX);
    rocksdb_options_set_compaction_style(options, rocksdb_universal_compaction);
    rocksdb_options_set_universal_compaction_options(options, universal);
    rocksdb_universal_compaction_options_destroy(universal);
    rocksdb_options_set_level0_file_num_compaction_trigger(
        options, family == FAMILY_CHECKPOINT ? RUNS_MAX : SELDOM_RUNS_MAX);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, INT_MAX);
    rocksdb_options_set_level0_stop_writes_trigger(options, INT_MAX);
    rocksdb_options_set_soft_pending_compaction_bytes_limit(options, SIZE_MAX / 2);
    rocksdb_options_set_hard_pending_compaction_bytes_limit(options, SIZE_MAX / 2);
}

static void set_block_size(rocksdb_options_t *options, size_t bytes)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_size(table, bytes);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

/* Looks for what is not there seldom come so far (known.c). Those that do, and those of a start after a crash until
 * known.c has read all, are told by a Bloom filter of each table, in memory with the open table. */
static void set_index(struct local_journal *store, rocksdb_options_t *options)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_size(table, (size_t)16 << 10);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    store->index_filter = store_index_filter(store);
    rocksdb_options_set_compaction_filter(options, store->index_filter);
}

static rocksdb_options_t *options_make(struct local_journal *store, enum family family)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    /* Every batch that anybody heard of was synced before, so a crash can only tear what follows the last
     * sync, at the WAL's end: that is tolerated, and was never durable. Damage anywhere else hit durable
     * batches. The point-in-time mode (RocksDB's default) would silently drop all after it and open; the
     * absolute mode would refuse the torn end too. */
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_tolerate_corrupted_tail_records_recovery);
    /* Recovery flushes what it read from the WAL into synced tables (avoid_flush_during_recovery stays off).
     * So what is replayed after a mere crash of the process, perhaps still only in the page cache, is durable
     * when open returns. */
    uint64_t buffer =
        family == FAMILY_HEADER ? MEBIBYTE : clamp(store->checkpoint_bytes, MEBIBYTE, 64 * MEBIBYTE);
    rocksdb_options_set_write_buffer_size(options, (size_t)buffer);
    rocksdb_options_set_target_file_size_base(options, buffer); /* folded batches go a table at a time */
    /* The header is rarely written, and would pin the whole WAL in place. */
    rocksdb_options_set_max_total_wal_size(options,
                                           clamp(2 * store->checkpoint_bytes, 8 * MEBIBYTE, 128 * MEBIBYTE));
    /* Hashes and signatures do not compress. */
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_max_open_files(options, 256);
    rocksdb_options_set_max_background_jobs(options, 2);
    /* Above all levels: RocksDB's own log stays empty. On a full disk Debian's build would die of an
     * assertion in that log, before it could report the error that we stop with; and whatever matters comes
     * back as an error. */
    rocksdb_options_set_info_log_level(options, INFO_LOG_NOTHING);
    rocksdb_options_set_keep_log_file_num(options, 1);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    if (family == FAMILY_CHECKPOINT || family == FAMILY_ARCHIVE || family == FAMILY_INDEX)
        set_merging(options, family);
    if (family == FAMILY_INDEX)
        set_index(store, options);
    /* Each block costs its writing; the one is only read from end to end, the other a page at a time. */
    if (family == FAMILY_CHECKPOINT)
        set_block_size(options, (size_t)64 << 10);
    if (family == FAMILY_ARCHIVE)
        set_block_size(options, (size_t)16 << 10);
    /* One owner's records of a day are much alike. */
    if (family == FAMILY_ARCHIVE)
        rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    return options;
}

enum store_error store_database_refuse(const struct local_journal *store, char *error,
                                       const struct refusal *refusal)
{
    bool damage = strncmp(error, "IO error", 8) != 0 || strstr(error, "No such file") != NULL;
    enum store_error result =
        damage ? store_refuse(refusal, STORE_CORRUPT,
                              "%s: damaged: %s; keep a copy and restore the folder from a backup",
                              store->path, error)
               : store_refuse(refusal, STORE_UNWRITABLE,
                              "%s: cannot open the journal: %s; make the disk usable", store->path, error);
    rocksdb_free(error);
    return result;
}

/* A database that has but the default family is one of another program, or ours if a crash cut its first
 * opening short: then it is empty. */
static enum store_error check_empty(struct local_journal *store, const struct refusal *refusal)
{
    char *error = NULL;
    rocksdb_t *database = rocksdb_open_for_read_only(store->options[FAMILY_HEADER], store->path, 0, &error);
    if (error != NULL)
        return store_database_refuse(store, error, refusal);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(database, store->scan);
    rocksdb_iter_seek_to_first(iterator);
    bool empty = !rocksdb_iter_valid(iterator);
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    rocksdb_close(database);
    if (error != NULL)
        return store_database_refuse(store, error, refusal);
    if (!empty)
        return store_refuse(refusal, STORE_FOREIGN,
                            "%s: a RocksDB database of another program; name another folder", store->path);
    return STORE_OK;
}

static bool family_is_known(const char *name)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strcmp(name, family_names[i]) == 0)
            return true;
    return false;
}

/* Looks before it opens for writing, so that a stranger's database is left as it was. */
static enum store_error check_families(struct local_journal *store, const struct refusal *refusal)
{
    char *error = NULL;
    size_t count = 0;
    char **names = rocksdb_list_column_families(store->options[FAMILY_HEADER], store->path, &count, &error);
    if (error != NULL)
        return store_database_refuse(store, error, refusal);
    enum store_error result = STORE_OK;
    for (size_t i = 0; i < count && result == STORE_OK; i++)
        if (!family_is_known(names[i]))
            result = store_refuse(
                refusal, STORE_FOREIGN,
                "%s: a RocksDB database of another program (column family \"%s\"); name another folder",
                store->path, names[i]);
    rocksdb_list_column_families_destroy(names, count);
    if (result == STORE_OK && count == 1)
        result = check_empty(store, refusal);
    return result;
}

enum store_error store_database_open(struct local_journal *store, bool exists, const struct refusal *refusal)
{
    for (enum family family = 0; family < FAMILY_COUNT; family++)
        store->options[family] = options_make(store, family);
    store->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->synced, 1);
    store->unsynced = rocksdb_writeoptions_create();
    store->look = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->look, 1);
    store->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->scan, 1);
    rocksdb_readoptions_set_fill_cache(store->scan, 0);
    rocksdb_readoptions_set_readahead_size(store->scan, READAHEAD_BYTES);

    if (exists) {
        enum store_error result = check_families(store, refusal);
        if (result != STORE_OK)
            return result;
    }
    char *error = NULL;
    store->database = rocksdb_open_column_families(
        store->options[FAMILY_HEADER], store->path, FAMILY_COUNT, family_names,
        (const rocksdb_options_t *const *)store->options, store->families, &error);
    return error == NULL ? STORE_OK : store_database_refuse(store, error, refusal);
}

void store_database_close(struct local_journal *store)
{
    if (store->database != NULL) {
        for (enum family family = 0; family < FAMILY_COUNT; family++)
            rocksdb_column_family_handle_destroy(store->families[family]);
        rocksdb_close(store->database);
    }
    if (store->synced == NULL)
        return;
    rocksdb_writeoptions_destroy(store->synced);
    rocksdb_writeoptions_destroy(store->unsynced);
    rocksdb_readoptions_destroy(store->scan);
    rocksdb_readoptions_destroy(store->look);
    for (enum family family = 0; family < FAMILY_COUNT; family++)
        rocksdb_options_destroy(store->options[family]);
    rocksdb_compactionfilter_destroy(store->index_filter);
}

rocksdb_iterator_t *store_database_iterate(const struct local_journal *store, enum family family)
{
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(store->database, store->scan, store->families[family]);
    rocksdb_iter_seek_to_first(iterator);
    return iterator;
}

/* Seeks instead of starting at the front: what was folded away may still lie there as tombstones. */
rocksdb_iterator_t *store_database_iterate_from(const struct local_journal *store, uint64_t sequence)
{
    uint8_t key[SEQUENCE_KEY_BYTES];
    store_be64(key, sequence);
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(store->database, store->scan, store->families[FAMILY_JOURNAL]);
    rocksdb_iter_seek(iterator, (const char *)key, sizeof key);
    return iterator;
}
