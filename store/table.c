/* Records gathered in memory, and then given to RocksDB as one sorted table. That costs a fraction of what the
 * same records cost one by one in a memtable, writes nothing into the WAL that commits share, and is there
 * whole or not at all.
 *
 *     add … add ──sort, write a file, sync──▶ written ──RocksDB takes the file as its own──▶ ingested
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "store/local.h"

#define SEEN_KEYS 4096 /* a power of two */

/* What is sorted: where the record lies, how old it is (less is newer), and a word of its key as the family has it. */
struct place {
    uint64_t word, age;
    const uint8_t *record;
};

struct table {
    struct local_journal *store;
    enum family family;
    char *path;
    struct place *places; /* in the order in which they came */
    size_t count, capacity;
    uint64_t batches; /* begun: newest first */
    uint32_t number;  /* of the records of the batch in hand */
    /* Keys that came lately: a channel that changes in every batch is taken once, not thousands of times. What slips
     * through is seen when all are sorted. */
    struct place seen[SEEN_KEYS];
    bool written;
};

struct table *store_table_new(struct local_journal *store, enum family family)
{
    struct table *table = xcalloc(1, sizeof *table);
    size_t size = strlen(store->path) + sizeof "/" TABLE_FILE + 2;
    table->store = store;
    table->family = family;
    table->path = xmalloc(size);
    snprintf(table->path, size, "%s/" TABLE_FILE "%d", store->path, (int)family);
    return table;
}

/* Eight bytes of a record's key in this family, from `depth` on; zeros behind its end. */
static uint64_t word_of(const struct table *table, const struct record *record, size_t depth, size_t *length)
{
    uint8_t word[8] = {0};
    struct family_key key = store_family_key(table->family, record);
    *length = key.length;
    if (depth < key.length)
        memcpy(word, key.bytes + depth, key.length - depth < sizeof word ? key.length - depth : sizeof word);
    return load_be64(word);
}

static bool same_key(const uint8_t *a, const uint8_t *b)
{
    return a[0] == b[0] && a[1] == b[1] &&
           memcmp(a + RECORD_HEADER_BYTES, b + RECORD_HEADER_BYTES, a[1]) == 0;
}

/* Has a newer batch the same key, as far as is remembered? Only the checkpoint's are written again and again. */
static bool was_seen(struct table *table, const struct record *record, const struct place *place)
{
    if (table->family != FAMILY_CHECKPOINT)
        return false;
    struct place *seen =
        &table->seen[index_hash(record->type, record->key, record->key_length) & (SEEN_KEYS - 1)];
    if (seen->record != NULL && seen->age >> 32 != place->age >> 32 && same_key(seen->record, place->record))
        return true;
    *seen = *place;
    return false;
}

void store_table_begin(struct table *table)
{
    if (table == NULL)
        return;
    table->batches++;
    table->number = 0;
}

void store_table_add(struct table *table, const struct record *record)
{
    const uint8_t *at = record->key - RECORD_HEADER_BYTES;
    /* In a batch the last one is the newest. */
    size_t length;
    struct place place = {.word = word_of(table, record, 0, &length),
                          .age = table->batches << 32 | (UINT32_MAX - table->number++),
                          .record = at};
    if (was_seen(table, record, &place))
        return;
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 1024 : 2 * table->capacity;
        table->places = xrealloc(table->places, table->capacity * sizeof *table->places);
    }
    table->places[table->count++] = place;
}

static int compare(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->word != b->word)
        return a->word < b->word ? -1 : 1;
    return a->age < b->age ? -1 : a->age > b->age;
}

/* Keys that are alike but for their lengths. */
static void sort_ends(struct table *table, struct place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct record record = record_at(places[i].record);
        places[i].word = store_family_key(table->family, &record).length;
    }
    qsort(places, count, sizeof *places, compare);
}

/* By key, and of one key the newest first. A word at a time: whole runs of keys begin alike (one day, one owner), and
 * comparing such records where they lie, as often as a sort compares, would miss the cache each time. The words at
 * `depth` are there already. */
static void sort(struct table *table, struct place *places, size_t count, size_t depth)
{
    qsort(places, count, sizeof *places, compare);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && places[end].word == places[first].word; end++)
            continue;
        size_t length, longest = 0;
        for (size_t i = first; end - first > 1 && i < end; i++) {
            struct record record = record_at(places[i].record);
            places[i].word = word_of(table, &record, depth + 8, &length);
            longest = length > longest ? length : longest;
        }
        if (longest > depth + 8)
            sort(table, places + first, end - first, depth + 8);
        else if (longest > 0)
            sort_ends(table, places + first, end - first);
    }
}

static void check(const struct table *table, char *error)
{
    if (error != NULL)
        store_fatal(table->store, "cannot write a checkpoint", error);
}

static void put(const struct table *table, rocksdb_sstfilewriter_t *file, const struct family_key *key,
                const struct record *record)
{
    char *error = NULL;
    const char *bytes = (const char *)key->bytes;
    if (record->gone)
        rocksdb_sstfilewriter_delete(file, bytes, key->length, &error);
    else if (table->family == FAMILY_INDEX) /* whose it is, and when */
        rocksdb_sstfilewriter_put(file, bytes, key->length, (const char *)record->key, RECORD_ARCHIVE_KEY_MIN,
                                  &error);
    else
        rocksdb_sstfilewriter_put(file, bytes, key->length, (const char *)record->value, record->value_length,
                                  &error);
    check(table, error);
}

/* The first of each key. */
static void put_all(const struct table *table, rocksdb_sstfilewriter_t *file)
{
    struct family_key keys[2];
    for (size_t i = 0; i < table->count; i++) {
        struct record record = record_at(table->places[i].record);
        struct family_key *key = &keys[i % 2], *before = &keys[(i + 1) % 2];
        *key = store_family_key(table->family, &record);
        if (i == 0 || key->length != before->length || memcmp(key->bytes, before->bytes, key->length) != 0)
            put(table, file, key, &record);
    }
}

void store_table_write(struct table *table)
{
    if (table == NULL || table->count == 0)
        return;
    sort(table, table->places, table->count, 0);
    rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *file =
        rocksdb_sstfilewriter_create(environment, table->store->options[table->family]);
    char *error = NULL;
    /* A crash may have left the name of a file that RocksDB has taken: a link to one of its own tables, which opening
     * it for writing would empty. */
    (void)unlink(table->path);
    rocksdb_sstfilewriter_open(file, table->path, &error);
    check(table, error);
    put_all(table, file);
    rocksdb_sstfilewriter_finish(file, &error); /* syncs */
    check(table, error);
    rocksdb_sstfilewriter_destroy(file);
    rocksdb_envoptions_destroy(environment);
    table->written = true;
}

void store_table_ingest(struct table *table)
{
    if (table == NULL || !table->written)
        return;
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    const char *const files[] = {table->path};
    char *error = NULL;
    rocksdb_ingest_external_file_cf(table->store->database, table->store->families[table->family], files, 1,
                                    options, &error);
    check(table, error);
    rocksdb_ingestexternalfileoptions_destroy(options);
    table->written = false;
}

void store_table_free(struct table *table)
{
    if (table == NULL)
        return;
    if (table->written)
        (void)unlink(table->path); /* never given to RocksDB: the journal closes */
    free(table->places);
    free(table->path);
    free(table);
}
