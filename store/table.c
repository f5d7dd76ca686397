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
#include "base/prefetch.h"
#include "store/local.h"

#define RADIX_MIN  48  /* places: fewer are sorted by insertion */
#define ROW_WEIGHT 128 /* bytes that are read in the time that a row takes by itself */

/* What is sorted: where the record lies, and a word of its key as the family has it. */
struct place {
    uint64_t word;
    const uint8_t *record;
};

struct table {
    struct local_journal *store;
    enum family family;
    char *path;
    struct place *places; /* the newest first */
    size_t count, capacity;
    /* Weights: of its own rows; as a whole, of those it would have, and of old ones. */
    uint64_t changed, gone, kept;
    bool written, whole;
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

static struct family_key key_at(const struct table *table, const struct place *place)
{
    struct family_key key;
    struct record record = record_at(place->record);
    store_family_key(table->family, &record, &key);
    return key;
}

/* Eight bytes of a key from `depth` on; zeros behind its end. */
static uint64_t word_of(const struct family_key *key, size_t depth)
{
    uint8_t word[8] = {0};
    if (depth + sizeof word <= key->length)
        return load_be64(key->bytes + depth);
    if (depth < key->length)
        memcpy(word, key->bytes + depth, key->length - depth);
    return load_be64(word);
}

static void grow(struct table *table)
{
    table->capacity = table->capacity == 0 ? 1024 : 2 * table->capacity;
    struct place *places = xtable(table->capacity * sizeof *places);
    if (table->count > 0)
        memcpy(places, table->places, table->count * sizeof *places);
    free(table->places);
    table->places = places;
}

void store_table_add(struct table *table, const struct record *record)
{
    struct family_key key;
    if (table->count == table->capacity)
        grow(table);
    store_family_key(table->family, record, &key);
    table->places[table->count++] = (struct place){word_of(&key, 0), record->key - RECORD_HEADER_BYTES};
}

/* ---- sorting: what is equal stays the newest first ---- */

static void sort_few(struct place *places, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct place place = places[i];
        size_t at = i;
        for (; at > 0 && places[at - 1].word > place.word; at--)
            places[at] = places[at - 1];
        places[at] = place;
    }
}

/* By one byte of the word, from `from` to `to`. */
static void radix_pass(const struct place *from, struct place *to, size_t count, unsigned shift)
{
    size_t starts[256] = {0};
    for (size_t i = 0; i < count; i++)
        starts[from[i].word >> shift & 0xff]++;
    for (size_t value = 0, sum = 0; value < 256; value++) {
        size_t here = starts[value];
        starts[value] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[from[i].word >> shift & 0xff]++] = from[i];
}

/* How many of the bytes that differ, the first of them, tell most of so many words from each other. */
static unsigned bytes_that_tell(size_t count)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(count);
    return (bits + 4 + 7) / 8;
}

/* By the words, a pass for each byte that differs, the least first: a comparing sort takes a branch that cannot be
 * foreseen for each bit that it decides. Only as many bytes as tell most words from each other; the few that these
 * leave alike are sorted by the rest. */
static void sort_words(struct place *places, struct place *other, size_t count)
{
    if (count < RADIX_MIN) {
        sort_few(places, count);
        return;
    }
    uint64_t differs = 0;
    for (size_t i = 1; i < count; i++)
        differs |= places[i].word ^ places[0].word;
    unsigned low = 64;
    for (unsigned left = bytes_that_tell(count); left > 0 && low > 0;) {
        low -= 8;
        left -= (differs >> low & 0xff) != 0;
    }
    struct place *from = places, *to = other;
    for (unsigned shift = low; shift < 64; shift += 8) {
        if ((differs >> shift & 0xff) == 0)
            continue;
        radix_pass(from, to, count, shift);
        struct place *passed = from;
        from = to;
        to = passed;
    }
    if (from != places)
        memcpy(places, from, count * sizeof *places);
    if ((differs & ((UINT64_C(1) << low) - 1)) == 0)
        return;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && places[end].word >> low == places[first].word >> low; end++)
            continue;
        sort_words(places + first, other + first, end - first);
    }
}

static void prefetch(const struct place *places, size_t count, size_t i)
{
    if (i + AHEAD < count)
        prefetch_lines(places[i + AHEAD].record, (size_t)2 * CACHE_LINE_BYTES);
}

/* In steps of a word from `depth` on, where two keys differ or both have ended. */
static size_t alike_to(const struct family_key *a, const struct family_key *b, size_t depth)
{
    while ((depth < a->length || depth < b->length) && word_of(a, depth) == word_of(b, depth))
        depth += 8;
    return depth;
}

/* Sets the words of keys that are alike up to `depth` to those at which the first of them differ, and returns where that
 * is. Two of them tell where it may be, so that mostly each record is looked at but once. Out: the longest one's length. */
static size_t take_words(const struct table *table, struct place *places, size_t count, size_t depth,
                         size_t *longest)
{
    struct family_key first = key_at(table, &places[0]), key = key_at(table, &places[count / 2]);
    size_t common = alike_to(&first, &key, depth);
    *longest = first.length;
    for (size_t i = 0; i < count; i++) {
        prefetch(places, count, i);
        key = key_at(table, &places[i]);
        size_t own = alike_to(&first, &key, depth);
        *longest = key.length > *longest ? key.length : *longest;
        if (own < common) {
            common = own;
            places[0].word = word_of(&first, common);
            i = 0; /* again from the second on */
            continue;
        }
        places[i].word = word_of(&key, common);
    }
    return common;
}

/* Keys that are alike but for their lengths. */
static void sort_ends(const struct table *table, struct place *places, struct place *other, size_t count)
{
    for (size_t i = 0; i < count; i++)
        places[i].word = key_at(table, &places[i]).length;
    sort_words(places, other, count);
}

/* By key, and of one key the newest first. The words at `depth` are there already. A word at a time: comparing the
 * records where they lie, as often as a sort compares, would miss the cache each time. Whole runs of keys begin alike
 * (one day, one owner, one time): only where they differ are they sorted again. */
static void sort(const struct table *table, struct place *places, struct place *other, size_t count,
                 size_t depth)
{
    sort_words(places, other, count);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && places[end].word == places[first].word; end++)
            continue;
        if (end - first < 2)
            continue;
        size_t longest, next = take_words(table, places + first, end - first, depth + 8, &longest);
        if (next >= longest)
            sort_ends(table, places + first, other + first, end - first);
        else
            sort(table, places + first, other + first, end - first, next);
    }
}

static void check(const struct table *table, char *error)
{
    if (error != NULL)
        store_fatal(table->store, "cannot write a checkpoint", error);
}

/* ---- writing ---- */

static void put_row(struct table *table, rocksdb_sstfilewriter_t *file, const struct family_key *key,
                    const void *value, size_t length)
{
    char *error = NULL;
    rocksdb_sstfilewriter_put(file, (const char *)key->bytes, key->length, value, length, &error);
    check(table, error);
    table->changed += ROW_WEIGHT + key->length + length;
}

static void put_gone(struct table *table, rocksdb_sstfilewriter_t *file, const struct family_key *key)
{
    char *error = NULL;
    rocksdb_sstfilewriter_delete(file, (const char *)key->bytes, key->length, &error);
    check(table, error);
    table->changed += ROW_WEIGHT + key->length;
}

static void put(struct table *table, rocksdb_sstfilewriter_t *file, const struct family_key *key,
                const struct record *record)
{
    if (table->family == FAMILY_INDEX) /* whose it is, and when */
        put_row(table, file, key, record->key, RECORD_ARCHIVE_KEY_MIN);
    else
        put_row(table, file, key, record->value, record->value_length);
}

static bool same_key(const struct family_key *a, const struct family_key *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* The sorted places, a key at a time. */
struct walk {
    const struct table *table;
    size_t at;                 /* the next key's first place */
    struct family_key keys[2]; /* of the places before `at` and at it */
    size_t which;
    struct record newest; /* of the key in hand */
};

/* Returns false at the end. */
static bool walk_next(struct walk *walk)
{
    const struct table *table = walk->table;
    if (walk->at == table->count)
        return false;
    walk->newest = record_at(table->places[walk->at].record);
    if (walk->at == 0)
        store_family_key(table->family, &walk->newest, &walk->keys[1 - walk->which]);
    walk->which = 1 - walk->which;
    for (walk->at++; walk->at < table->count; walk->at++) {
        prefetch(table->places, table->count, walk->at);
        struct record next = record_at(table->places[walk->at].record);
        store_family_key(table->family, &next, &walk->keys[1 - walk->which]);
        if (!same_key(&walk->keys[0], &walk->keys[1]))
            break;
    }
    return true;
}

static const struct family_key *walk_key(const struct walk *walk)
{
    return &walk->keys[walk->which];
}

/* The newest of each key. Returns how many. */
static size_t put_all(struct table *table, rocksdb_sstfilewriter_t *file)
{
    size_t count = 0;
    for (struct walk walk = {.table = table}; walk_next(&walk);) {
        if (walk.newest.gone)
            put_gone(table, file, walk_key(&walk));
        else
            put(table, file, walk_key(&walk), &walk.newest);
        count++;
    }
    return count;
}

/* Where the iterator stands, against a key of the table. */
static int compare_old(const rocksdb_iterator_t *old, const struct family_key *key)
{
    size_t length;
    const char *bytes = rocksdb_iter_key(old, &length);
    int order = memcmp(bytes, key->bytes, length < key->length ? length : key->length);
    return order != 0 ? order : length < key->length ? -1 : length > key->length;
}

static void put_old(struct table *table, rocksdb_sstfilewriter_t *file, const rocksdb_iterator_t *old)
{
    size_t key_length, length;
    const char *key = rocksdb_iter_key(old, &key_length), *value = rocksdb_iter_value(old, &length);
    char *error = NULL;
    rocksdb_sstfilewriter_put(file, key, key_length, value, length, &error);
    check(table, error);
    table->kept += ROW_WEIGHT + key_length + length;
}

/* With what the family has and these do not change; and before it, that all older is gone: it is for what other
 * tables have, never for this one's own. */
static void put_whole(struct table *table, rocksdb_sstfilewriter_t *file)
{
    static const char first[] = {0}, end[] = {(char)RECORD_ARCHIVE_FIRST};
    char *error = NULL;
    rocksdb_sstfilewriter_delete_range(file, first, sizeof first, end, sizeof end, &error);
    check(table, error);
    rocksdb_iterator_t *old = store_database_iterate(table->store, table->family);
    struct walk walk = {.table = table};
    for (bool more = walk_next(&walk); more || rocksdb_iter_valid(old);) {
        int order = !more ? -1 : !rocksdb_iter_valid(old) ? 1 : compare_old(old, walk_key(&walk));
        if (order < 0)
            put_old(table, file, old);
        else if (!walk.newest.gone)
            put(table, file, walk_key(&walk), &walk.newest);
        else if (order == 0)
            table->gone += ROW_WEIGHT + walk_key(&walk)->length;
        if (order <= 0)
            rocksdb_iter_next(old);
        if (order >= 0)
            more = walk_next(&walk);
    }
    rocksdb_iter_get_error(old, &error);
    check(table, error);
    rocksdb_iter_destroy(old);
}

static void sort_places(struct table *table)
{
    struct place *other = xtable(table->count * sizeof *other);
    sort(table, table->places, other, table->count, 0);
    free(other);
}

void store_table_write(struct table *table, bool whole)
{
    if (table == NULL || table->count == 0)
        return;
    sort_places(table);
    rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *file =
        rocksdb_sstfilewriter_create(environment, table->store->options[table->family]);
    char *error = NULL;
    /* A crash may have left the name of a file that RocksDB has taken: a link to one of its own tables, which opening
     * it for writing would empty. */
    (void)unlink(table->path);
    rocksdb_sstfilewriter_open(file, table->path, &error);
    check(table, error);
    table->whole = whole;
    if (whole)
        put_whole(table, file);
    table->written = whole || put_all(table, file) > 0;
    if (table->written)
        rocksdb_sstfilewriter_finish(file, &error); /* syncs */
    check(table, error);
    rocksdb_sstfilewriter_destroy(file);
    rocksdb_envoptions_destroy(environment);
    if (!table->written)
        (void)unlink(table->path); /* all of it was dead */
}

void store_table_weigh(const struct table *table, struct burden *burden)
{
    burden->folding = table->changed + table->gone;
    burden->whole = table->whole ? table->kept + table->changed : burden->whole;
    burden->since = table->whole ? 0 : burden->since + table->changed;
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
