/* Records gathered in memory, and then given to RocksDB as one sorted table. That costs a fraction of what the
 * same records cost one by one in a memtable, writes nothing into the WAL that commits share, and is there
 * whole or not at all.
 *
 *     add … add ──sort, write a file, sync──▶ written ──RocksDB takes the file as its own──▶ ingested
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "store/local.h"

#define uthash_malloc(size)     xmalloc(size)
#define uthash_free(area, size) free(area)
#include <uthash.h>

#define CHUNK_BYTES ((size_t)1 << 20)

/* Memory that is given back all at once. */
struct chunk {
    struct chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

struct entry {
    UT_hash_handle hh;
    uint64_t sequence;
    const uint8_t *key, *value; /* value NULL: gone */
    size_t key_length, value_length;
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
    struct entry *entries;
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

static const uint8_t *take_copy(struct table *table, const uint8_t *bytes, size_t length)
{
    uint8_t *copy = take(table, length);
    if (length > 0)
        memcpy(copy, bytes, length);
    return copy;
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

void store_table_add(struct table *table, uint64_t sequence, const uint8_t *key, size_t key_length,
                     const uint8_t *value, size_t value_length)
{
    struct entry *entry;
    HASH_FIND(hh, table->entries, key, key_length, entry);
    if (entry != NULL && entry->sequence != sequence)
        return;
    if (entry == NULL) {
        entry = take(table, sizeof *entry);
        *entry = (struct entry){
            .sequence = sequence, .key = take_copy(table, key, key_length), .key_length = key_length};
        HASH_ADD_KEYPTR(hh, table->entries, entry->key, key_length, entry);
    }
    entry->value = value == NULL ? NULL : take_copy(table, value, value_length);
    entry->value_length = value_length;
}

static uint64_t key_start(const struct entry *entry)
{
    uint8_t start[8] = {0};
    memcpy(start, entry->key, entry->key_length < sizeof start ? entry->key_length : sizeof start);
    return load_be64(start);
}

static int compare(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    size_t least = a->entry->key_length < b->entry->key_length ? a->entry->key_length : b->entry->key_length;
    int order = memcmp(a->entry->key, b->entry->key, least);
    return order != 0 ? order : a->entry->key_length < b->entry->key_length ? -1 : 1;
}

/* Freed by the caller. */
static struct place *sort(const struct table *table)
{
    size_t count = HASH_COUNT(table->entries), i = 0;
    struct place *places = xmalloc(count * sizeof *places);
    for (const struct entry *entry = table->entries; entry != NULL; entry = entry->hh.next)
        places[i++] = (struct place){key_start(entry), entry};
    qsort(places, count, sizeof *places, compare);
    return places;
}

static void check(const struct table *table, char *error)
{
    if (error != NULL)
        store_fatal(table->store, "cannot write a checkpoint", error);
}

static void put(const struct table *table, rocksdb_sstfilewriter_t *file, const struct entry *entry)
{
    char *error = NULL;
    if (entry->value == NULL)
        rocksdb_sstfilewriter_delete(file, (const char *)entry->key, entry->key_length, &error);
    else
        rocksdb_sstfilewriter_put(file, (const char *)entry->key, entry->key_length,
                                  (const char *)entry->value, entry->value_length, &error);
    check(table, error);
}

void store_table_write(struct table *table)
{
    size_t count = HASH_COUNT(table->entries);
    if (count == 0)
        return;
    struct place *places = sort(table);
    rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *file =
        rocksdb_sstfilewriter_create(environment, table->store->options[table->family]);
    char *error = NULL;
    rocksdb_sstfilewriter_open(file, table->path, &error);
    check(table, error);
    for (size_t i = 0; i < count; i++)
        put(table, file, places[i].entry);
    rocksdb_sstfilewriter_finish(file, &error); /* syncs */
    check(table, error);
    rocksdb_sstfilewriter_destroy(file);
    rocksdb_envoptions_destroy(environment);
    free(places);
    table->written = true;
}

void store_table_ingest(struct table *table)
{
    if (!table->written)
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
    if (table->written)
        (void)unlink(table->path); /* never given to RocksDB: the journal closes */
    HASH_CLEAR(hh, table->entries);
    while (table->chunks != NULL) {
        struct chunk *chunk = table->chunks;
        table->chunks = chunk->next;
        free(chunk);
    }
    free(table->path);
    free(table);
}
