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

#define CHUNK_BYTES ((size_t)1 << 20)
#define SEEN_KEYS   4096 /* a power of two */

/* Memory that is given back all at once. */
struct chunk {
    struct chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

struct entry {
    uint64_t sequence;
    size_t number; /* of the table's entries */
    uint32_t key_length, value_length;
    bool gone;
    uint8_t bytes[]; /* key, value */
};

/* What is sorted: the key's first bytes tell most apart. */
struct place {
    uint64_t start;
    const struct entry *entry;
};

struct table {
    struct local_journal *store;
    enum family family;
    char *path;
    struct chunk *chunks;
    struct place *places; /* in the order in which they came */
    size_t count, capacity;
    /* Keys that came lately: a channel that changes in every batch is copied once, not thousands of times. What
     * slips through is seen when all are sorted. */
    const struct entry *seen[SEEN_KEYS];
    bool written;
};

static void *take(struct table *table, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (table->chunks == NULL || table->chunks->size - table->chunks->used < size) {
        size_t fresh = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        struct chunk *chunk = xmalloc(sizeof *chunk + fresh);
        *chunk = (struct chunk){.next = table->chunks, .size = fresh};
        table->chunks = chunk;
    }
    void *at = table->chunks->bytes + table->chunks->used;
    table->chunks->used += size;
    return at;
}

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

static bool key_is(const struct entry *entry, const uint8_t *key, size_t key_length)
{
    return entry->key_length == key_length && memcmp(entry->bytes, key, key_length) == 0;
}

static uint64_t key_start(const uint8_t *key, size_t key_length)
{
    uint8_t start[8] = {0};
    memcpy(start, key, key_length < sizeof start ? key_length : sizeof start);
    return load_be64(start);
}

static void add_place(struct table *table, uint64_t start, const struct entry *entry)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 1024 : 2 * table->capacity;
        table->places = xrealloc(table->places, table->capacity * sizeof *table->places);
    }
    table->places[table->count++] = (struct place){start, entry};
}

void store_table_add(struct table *table, uint64_t sequence, const uint8_t *key, size_t key_length,
                     const uint8_t *value, size_t value_length)
{
    const struct entry **seen = &table->seen[index_hash(0, key, key_length) & (SEEN_KEYS - 1)];
    if (*seen != NULL && (*seen)->sequence != sequence && key_is(*seen, key, key_length))
        return;
    if (value == NULL)
        value_length = 0;
    struct entry *entry = take(table, sizeof *entry + key_length + value_length);
    *entry = (struct entry){.sequence = sequence,
                            .number = table->count,
                            .key_length = (uint32_t)key_length,
                            .value_length = (uint32_t)value_length,
                            .gone = value == NULL};
    memcpy(entry->bytes, key, key_length);
    if (value_length > 0)
        memcpy(entry->bytes + key_length, value, value_length);
    add_place(table, key_start(key, key_length), entry);
    *seen = entry;
}

static int compare_keys(const struct place *a, const struct place *b)
{
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    uint32_t left = a->entry->key_length, right = b->entry->key_length;
    int order = memcmp(a->entry->bytes, b->entry->bytes, left < right ? left : right);
    return order != 0 ? order : left < right ? -1 : left > right;
}

/* Of one key the newest first: that of the newest batch, and in a batch the last. */
static int compare(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    int order = compare_keys(a, b);
    if (order != 0)
        return order;
    if (a->entry->sequence != b->entry->sequence)
        return a->entry->sequence > b->entry->sequence ? -1 : 1;
    return a->entry->number > b->entry->number ? -1 : 1; /* no two are one */
}

static void check(const struct table *table, char *error)
{
    if (error != NULL)
        store_fatal(table->store, "cannot write a checkpoint", error);
}

static void put(const struct table *table, rocksdb_sstfilewriter_t *file, const struct entry *entry)
{
    char *error = NULL;
    const char *key = (const char *)entry->bytes;
    if (entry->gone)
        rocksdb_sstfilewriter_delete(file, key, entry->key_length, &error);
    else
        rocksdb_sstfilewriter_put(file, key, entry->key_length, key + entry->key_length, entry->value_length,
                                  &error);
    check(table, error);
}

void store_table_write(struct table *table)
{
    if (table == NULL || table->count == 0)
        return;
    qsort(table->places, table->count, sizeof *table->places, compare);
    rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *file =
        rocksdb_sstfilewriter_create(environment, table->store->options[table->family]);
    char *error = NULL;
    rocksdb_sstfilewriter_open(file, table->path, &error);
    check(table, error);
    for (size_t i = 0; i < table->count; i++)
        if (i == 0 || compare_keys(&table->places[i - 1], &table->places[i]) != 0)
            put(table, file, table->places[i].entry);
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
    while (table->chunks != NULL) {
        struct chunk *chunk = table->chunks;
        table->chunks = chunk->next;
        free(chunk);
    }
    free(table->path);
    free(table);
}
