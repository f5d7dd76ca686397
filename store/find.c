/* Finding one record of the archive by the rest of its key, whoever's it is and whenever it was.
 *
 *     in batches that are not folded yet:  hash ─▶ sequence (in memory) ─▶ the batch
 *     folded:                              FAMILY_INDEX: type u8 | rest ─▶ owner 20 | time u64 ─▶ FAMILY_ARCHIVE
 *
 * Most looks are for what is not there: is this id new? They cost a probe into each of the two or three indexes in
 * memory, and one per table of FAMILY_INDEX into its Bloom filter. The newest of a rest wins.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

#define INDEX_VALUE_BYTES (RECORD_OWNER_BYTES + 8)

static struct family_key index_key(uint8_t type, const uint8_t *rest, size_t length)
{
    struct family_key key = {.length = 1 + length};
    ensure(length <= RECORD_KEY_MAX);
    key.bytes[0] = (uint8_t)(type & ~RECORD_FINDABLE);
    if (length > 0)
        memcpy(key.bytes + 1, rest, length);
    return key;
}

static bool is_findable(const struct record *record)
{
    return (record->type & RECORD_FINDABLE) != 0;
}

/* ---- batches that are not folded ---- */

/* Rests are hashes or random. Whoever grinds them can crowd a few slots until the next folding, no more. */
static uint64_t recent_hash(const struct family_key *key)
{
    return index_hash(0, key->bytes, key->length);
}

/* A sequence, as an index has it: never NULL. */
static void *item_of(uint64_t sequence)
{
    return (void *)(uintptr_t)sequence;
}

void store_recent_add(struct local_journal *store, uint64_t sequence, const uint8_t *archive, size_t length)
{
    if (length == 0)
        return;
    struct reader reader = reader_of(archive, length);
    pthread_mutex_lock(&store->recent_mutex);
    if (store->recent == NULL)
        store->recent = xcalloc(1, sizeof *store->recent);
    for (struct record record; record_next(&reader, &record);) {
        if (!is_findable(&record))
            continue;
        struct family_key key = store_family_key(FAMILY_INDEX, &record);
        index_add(&store->recent->index, recent_hash(&key), item_of(sequence));
    }
    pthread_mutex_unlock(&store->recent_mutex);
}

void store_recent_turn(struct local_journal *store, uint64_t appended)
{
    pthread_mutex_lock(&store->recent_mutex);
    if (store->recent != NULL) {
        struct recent_index *fresh = xcalloc(1, sizeof *fresh);
        store->recent->last = appended;
        fresh->next = store->recent;
        store->recent = fresh;
    }
    pthread_mutex_unlock(&store->recent_mutex);
}

void store_recent_folded(struct local_journal *store, uint64_t sequence)
{
    pthread_mutex_lock(&store->recent_mutex);
    struct recent_index **at = &store->recent;
    if (*at != NULL)
        at = &(*at)->next; /* the first one grows */
    while (*at != NULL && (*at)->last > sequence)
        at = &(*at)->next;
    struct recent_index *gone = *at; /* older ones are last: they end sooner */
    *at = NULL;
    pthread_mutex_unlock(&store->recent_mutex);
    while (gone != NULL) {
        struct recent_index *next = gone->next;
        index_free(&gone->index);
        free(gone);
        gone = next;
    }
}

void store_recent_free(struct local_journal *store)
{
    store_recent_folded(store, UINT64_MAX);
    if (store->recent != NULL)
        index_free(&store->recent->index);
    free(store->recent);
    store->recent = NULL;
}

/* The last batch before `below` that may have it; 0: none. */
static uint64_t recent_sequence(struct local_journal *store, uint64_t hash, uint64_t below)
{
    uint64_t highest = 0;
    pthread_mutex_lock(&store->recent_mutex);
    for (const struct recent_index *recent = store->recent; recent != NULL && highest == 0;
         recent = recent->next) {
        const void *item;
        for (struct index_walk walk = index_walk(&recent->index, hash);
             (item = index_next(&recent->index, &walk)) != NULL;) {
            uint64_t sequence = (uint64_t)(uintptr_t)item;
            if (sequence < below && sequence > highest)
                highest = sequence;
        }
    }
    pthread_mutex_unlock(&store->recent_mutex);
    return highest;
}

static rocksdb_pinnableslice_t *get(const struct local_journal *store, enum family family, const uint8_t *key,
                                    size_t length)
{
    char *error = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(
        store->database, store->look, store->families[family], (const char *)key, length, &error);
    if (error != NULL)
        store_fatal(store, "cannot read back", error);
    return slice;
}

static const uint8_t *slice_bytes(const rocksdb_pinnableslice_t *slice, size_t *length)
{
    return (const uint8_t *)rocksdb_pinnableslice_value(slice, length);
}

/* The last of the batch's records with this key. */
static bool search_batch(const struct local_journal *store, const rocksdb_pinnableslice_t *slice,
                         struct buffer *room, const uint8_t *sequence, const struct family_key *wanted,
                         struct record *out)
{
    struct stored stored;
    size_t length;
    const uint8_t *value = slice_bytes(slice, &length);
    if (!store_stored_parse(sequence, SEQUENCE_KEY_BYTES, value, length, room, &stored))
        store_fatal(store, "cannot read back", "a batch is damaged");
    bool found = false;
    for (struct record record; record_next(&stored.archive, &record);) {
        if (!is_findable(&record))
            continue;
        size_t rest = (size_t)record.key_length - RECORD_ARCHIVE_KEY_MIN;
        if ((uint8_t)(record.type & ~RECORD_FINDABLE) != wanted->bytes[0] || rest + 1 != wanted->length ||
            memcmp(record.key + RECORD_ARCHIVE_KEY_MIN, wanted->bytes + 1, rest) != 0)
            continue;
        *out = record;
        found = true;
    }
    out->type &= (uint8_t)~RECORD_FINDABLE;
    return found;
}

static bool find_recent(struct local_journal *store, const struct family_key *key, journal_visit *visit,
                        void *context)
{
    uint64_t hash = recent_hash(key), sequence = UINT64_MAX;
    bool found = false;
    while (!found && (sequence = recent_sequence(store, hash, sequence)) != 0) {
        uint8_t bytes[SEQUENCE_KEY_BYTES];
        store_be64(bytes, sequence);
        if (store_writer_durable(&store->journal) < sequence)
            store_writer_wait(&store->journal, sequence);
        rocksdb_pinnableslice_t *slice = get(store, FAMILY_JOURNAL, bytes, sizeof bytes);
        if (slice == NULL)
            continue; /* folded meanwhile */
        struct record record = {0};
        struct buffer room = {0};
        found = search_batch(store, slice, &room, bytes, key, &record);
        if (found)
            (void)visit(context, &record);
        buffer_free(&room);
        rocksdb_pinnableslice_destroy(slice);
    }
    return found;
}

/* ---- folded ---- */

static bool find_folded(struct local_journal *store, const struct family_key *key, journal_visit *visit,
                        void *context)
{
    rocksdb_pinnableslice_t *row = get(store, FAMILY_INDEX, key->bytes, key->length);
    if (row == NULL)
        return false;
    size_t length;
    const uint8_t *value = slice_bytes(row, &length);
    if (length != INDEX_VALUE_BYTES)
        store_fatal(store, "cannot read back", "the index is damaged");
    uint8_t bytes[INDEX_VALUE_BYTES + RECORD_KEY_MAX];
    memcpy(bytes, value, INDEX_VALUE_BYTES);
    memcpy(bytes + INDEX_VALUE_BYTES, key->bytes + 1, key->length - 1);
    rocksdb_pinnableslice_destroy(row);
    struct family_key where = store_archive_key(key->bytes[0], bytes, INDEX_VALUE_BYTES + key->length - 1);
    rocksdb_pinnableslice_t *slice = get(store, FAMILY_ARCHIVE, where.bytes, where.length);
    if (slice == NULL)
        return false; /* pruned, and its row not yet */
    value = slice_bytes(slice, &length);
    struct record record = {.type = key->bytes[0],
                            .key_length = (uint8_t)(INDEX_VALUE_BYTES + key->length - 1),
                            .key = bytes,
                            .value = value,
                            .value_length = (uint32_t)length};
    (void)visit(context, &record);
    rocksdb_pinnableslice_destroy(slice);
    return true;
}

bool store_find(struct journal *journal, uint8_t type, const uint8_t *rest, size_t rest_length,
                journal_visit *visit, void *context)
{
    struct local_journal *store = (struct local_journal *)journal;
    struct family_key key = index_key(type, rest, rest_length);
    return find_recent(store, &key, visit, context) || find_folded(store, &key, visit, context);
}

/* ---- pruning ---- */

static void filter_free(void *context)
{
    (void)context; /* the journal's own */
}

static unsigned char filter_row(void *context, int level, const char *key, size_t key_length,
                                const char *value, size_t value_length, char **new_value,
                                size_t *new_value_length, unsigned char *value_changed)
{
    (void)level, (void)key, (void)key_length, (void)new_value, (void)new_value_length;
    struct local_journal *store = context;
    *value_changed = 0;
    if (value_length != INDEX_VALUE_BYTES)
        return 0; /* whoever looks it up says so */
    uint64_t time = load_be64((const uint8_t *)value + RECORD_OWNER_BYTES);
    return time / 86400 < atomic_load_explicit(&store->archive_from, memory_order_relaxed);
}

static const char *filter_name(void *context)
{
    (void)context;
    return "rill.index";
}

rocksdb_compactionfilter_t *store_index_filter(struct local_journal *store)
{
    return rocksdb_compactionfilter_create(store, filter_free, filter_row, filter_name);
}
