/* Finding one record of the archive by the rest of its key, whoever's it is and whenever it was.
 *
 *     in batches that are not folded yet:  in memory
 *     folded:                              FAMILY_INDEX: type u8 | rest ─▶ owner 20 | time u64 ─▶ FAMILY_ARCHIVE
 *
 * Most looks are for what is not there: is this id new? They cost a probe into each of the two or three indexes in
 * memory, and one into each layer of the filter of what is folded (known.c). The newest of a rest wins.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

#define INDEX_VALUE_BYTES (RECORD_OWNER_BYTES + 8)

static struct family_key index_key(uint8_t type, const uint8_t *rest, size_t length)
{
    struct family_key key; /* nothing behind its length is written: it is long, and keys are short */
    key.length = 1 + length;
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

#define CHUNK_RECORDS 8192

/* A findable record, where its batch has it. */
struct recent_record {
    uint64_t sequence;
    size_t number; /* of its index: later ones are newer */
    const uint8_t *bytes;
};

struct recent_chunk {
    struct recent_chunk *next;
    size_t used;
    struct recent_record records[CHUNK_RECORDS];
};

/* The findable records of some batches. A folding lets go of those that cover nothing that is not folded. */
struct recent_index {
    struct index index;
    struct recent_chunk *chunks;
    uint64_t first, last; /* no batch before or after these is in it */
    struct recent_index *next;
};

/* Whoever chose rests that collide would make everybody's looks slow: the seed is this journal's secret. */
static uint64_t hash_of(const struct local_journal *store, const struct family_key *key)
{
    return store_key_hash(store, key->bytes, key->length);
}

static struct recent_record *recent_take(struct recent_index *recent)
{
    if (recent->chunks == NULL || recent->chunks->used == CHUNK_RECORDS) {
        struct recent_chunk *chunk = xmalloc(sizeof *chunk);
        chunk->next = recent->chunks;
        chunk->used = 0;
        recent->chunks = chunk;
    }
    return &recent->chunks->records[recent->chunks->used++];
}

static struct recent_index *recent_new(uint64_t first, struct recent_index *next)
{
    struct recent_index *recent = xcalloc(1, sizeof *recent);
    recent->first = first;
    recent->next = next;
    return recent;
}

void store_recent_add(struct local_journal *store, const struct batch *batch)
{
    if (!store_keeps_batches(store) || batch->length == batch->archive_at)
        return;
    struct reader reader = reader_of(batch->bytes + batch->archive_at, batch->length - batch->archive_at);
    pthread_mutex_lock(&store->recent_mutex);
    if (store->recent == NULL)
        store->recent = recent_new(batch->sequence, NULL);
    for (struct record record; record_next(&reader, &record);) {
        if (!is_findable(&record))
            continue;
        struct recent_record *found = recent_take(store->recent);
        struct family_key key;
        store_family_key(FAMILY_INDEX, &record, &key);
        *found = (struct recent_record){batch->sequence, store->recent->index.count,
                                        record.key - RECORD_HEADER_BYTES};
        index_add(&store->recent->index, hash_of(store, &key), found);
    }
    pthread_mutex_unlock(&store->recent_mutex);
}

void store_recent_turn(struct local_journal *store, uint64_t appended)
{
    pthread_mutex_lock(&store->recent_mutex);
    if (store->recent != NULL) {
        store->recent->last = appended;
        store->recent = recent_new(appended + 1, store->recent);
    }
    pthread_mutex_unlock(&store->recent_mutex);
}

static void recent_free(struct recent_index *recent)
{
    while (recent->chunks != NULL) {
        struct recent_chunk *chunk = recent->chunks;
        recent->chunks = chunk->next;
        free(chunk);
    }
    index_free(&recent->index);
    free(recent);
}

uint64_t store_recent_folded(struct local_journal *store, uint64_t sequence)
{
    uint64_t unused = sequence;
    pthread_mutex_lock(&store->recent_mutex);
    struct recent_index **at = &store->recent;
    if (*at != NULL)
        at = &(*at)->next; /* the first one grows */
    while (*at != NULL && (*at)->last > sequence)
        at = &(*at)->next;
    struct recent_index *gone = *at; /* older ones are last: they end sooner */
    *at = NULL;
    for (const struct recent_index *left = store->recent; left != NULL; left = left->next)
        unused = left->first <= unused ? left->first - 1 : unused;
    pthread_mutex_unlock(&store->recent_mutex);
    while (gone != NULL) {
        struct recent_index *next = gone->next;
        recent_free(gone);
        gone = next;
    }
    return unused;
}

void store_recent_free(struct local_journal *store)
{
    (void)store_recent_folded(store, UINT64_MAX);
    if (store->recent != NULL)
        recent_free(store->recent);
    store->recent = NULL;
}

static bool is_wanted(const struct recent_record *record, const struct family_key *key)
{
    size_t rest = (size_t)record->bytes[1] - RECORD_ARCHIVE_KEY_MIN;
    return (uint8_t)(record->bytes[0] & ~RECORD_FINDABLE) == key->bytes[0] && rest + 1 == key->length &&
           memcmp(record->bytes + RECORD_HEADER_BYTES + RECORD_ARCHIVE_KEY_MIN, key->bytes + 1, rest) == 0;
}

/* The newest, copied, since a folding may let go of it. Returns its sequence, 0 if there is none. */
static uint64_t recent_copy(struct local_journal *store, const struct family_key *key, struct buffer *out)
{
    uint64_t hash = hash_of(store, key);
    const struct recent_record *newest = NULL, *record;
    pthread_mutex_lock(&store->recent_mutex);
    for (const struct recent_index *recent = store->recent; recent != NULL && newest == NULL;
         recent = recent->next)
        for (struct index_walk walk = index_walk(&recent->index, hash);
             (record = index_next(&recent->index, &walk)) != NULL;)
            if (is_wanted(record, key) && (newest == NULL || record->number > newest->number))
                newest = record;
    uint64_t sequence = newest == NULL ? 0 : newest->sequence;
    if (newest != NULL) {
        struct record found = record_at(newest->bytes);
        buffer_append(out, newest->bytes,
                      RECORD_HEADER_BYTES + (size_t)found.key_length + found.value_length);
    }
    pthread_mutex_unlock(&store->recent_mutex);
    return sequence;
}

static bool find_recent(struct local_journal *store, const struct family_key *key, journal_visit *visit,
                        void *context)
{
    struct buffer bytes = {0};
    uint64_t sequence = recent_copy(store, key, &bytes);
    if (sequence == 0)
        return false;
    ensure(bytes.data != NULL); /* a record has a header */
    if (store_writer_durable(&store->journal) < sequence)
        store_writer_wait(&store->journal, sequence);
    struct record record = record_at(bytes.data);
    record.type &= (uint8_t)~RECORD_FINDABLE;
    (void)visit(context, &record);
    buffer_free(&bytes);
    return true;
}

/* ---- folded ---- */

/* Out: false for those that the index has not, for certain, unless it is false already. Under recent_mutex, after the batches in
 * memory were looked through. */
static void may_be_folded(const struct local_journal *store, const uint64_t *hashes, size_t count, bool *out)
{
    if (store->known.current != NULL)
        filter_look(store->known.current, hashes, count, out);
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
    struct family_key where;
    store_archive_key(key->bytes[0], bytes, INDEX_VALUE_BYTES + key->length - 1, &where);
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
    if (find_recent(store, &key, visit, context))
        return true;
    uint64_t hash = hash_of(store, &key);
    bool may_be = true;
    pthread_mutex_lock(&store->recent_mutex);
    may_be_folded(store, &hash, 1, &may_be);
    pthread_mutex_unlock(&store->recent_mutex);
    if (!may_be)
        return false;
    atomic_fetch_add_explicit(&store->index_looks, 1, memory_order_relaxed);
    return find_folded(store, &key, visit, context);
}

/* ---- many at once ---- */

#define MANY 128 /* looked for together */

static bool recent_has(const struct recent_index *recent, const struct family_key *key, uint64_t hash)
{
    const struct recent_record *record;
    for (struct index_walk walk = index_walk(&recent->index, hash);
         (record = index_next(&recent->index, &walk)) != NULL;)
        if (is_wanted(record, key))
            return true;
    return false;
}

/* Out: which are in memory, and which of the others may be folded. */
static void have_recent(struct local_journal *store, const struct family_key *keys, size_t count, bool *out,
                        bool *may_be)
{
    uint64_t hashes[MANY];
    for (size_t i = 0; i < count; i++)
        hashes[i] = hash_of(store, &keys[i]);
    pthread_mutex_lock(&store->recent_mutex);
    for (const struct recent_index *recent = store->recent; recent != NULL; recent = recent->next) {
        for (size_t i = 0; i < AHEAD && i < count; i++)
            index_prefetch(&recent->index, hashes[i]);
        for (size_t i = 0; i < count; i++) {
            if (i + AHEAD < count)
                index_prefetch(&recent->index, hashes[i + AHEAD]);
            out[i] = out[i] || recent_has(recent, &keys[i], hashes[i]);
        }
    }
    for (size_t i = 0; i < count; i++)
        may_be[i] = !out[i];
    may_be_folded(store, hashes, count, may_be);
    pthread_mutex_unlock(&store->recent_mutex);
}

static bool visit_nothing(void *context, const struct record *record)
{
    (void)context, (void)record;
    return true;
}

static void have_folded(struct local_journal *store, const struct family_key *keys, size_t count,
                        const bool *may_be, bool *out)
{
    const struct family_key *asked[MANY];
    const char *at[MANY];
    size_t lengths[MANY], places[MANY], some = 0;
    rocksdb_pinnableslice_t *rows[MANY];
    char *errors[MANY];
    for (size_t i = 0; i < count; i++) {
        if (!may_be[i])
            continue;
        asked[some] = &keys[i];
        places[some] = i;
        at[some] = (const char *)keys[i].bytes;
        lengths[some++] = keys[i].length;
    }
    if (some == 0)
        return;
    atomic_fetch_add_explicit(&store->index_looks, some, memory_order_relaxed);
    rocksdb_batched_multi_get_cf(store->database, store->look, store->families[FAMILY_INDEX], some, at,
                                 lengths, rows, errors, false);
    for (size_t i = 0; i < some; i++) {
        if (errors[i] != NULL)
            store_fatal(store, "cannot read back", errors[i]);
        if (rows[i] == NULL)
            continue;
        rocksdb_pinnableslice_destroy(rows[i]);
        out[places[i]] = find_folded(store, asked[i], visit_nothing, NULL); /* it may be pruned */
    }
}

void store_have(struct journal *journal, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                bool *out)
{
    struct local_journal *store = (struct local_journal *)journal;
    struct family_key keys[MANY];
    for (size_t done = 0; done < count;) {
        size_t taken = count - done < MANY ? count - done : MANY;
        for (size_t i = 0; i < taken; i++) {
            keys[i] = index_key(type, rests + (done + i) * rest_length, rest_length);
            out[done + i] = false;
        }
        bool may_be[MANY];
        have_recent(store, keys, taken, out + done, may_be);
        have_folded(store, keys, taken, may_be, out + done);
        done += taken;
    }
}

/* ---- pruning ---- */

static void row_filter_free(void *context)
{
    (void)context; /* the journal's own */
}

static unsigned char row_filter(void *context, int level, const char *key, size_t key_length,
                                const char *value, size_t value_length, char **new_value,
                                size_t *new_value_length, unsigned char *value_changed)
{
    (void)level, (void)key, (void)key_length, (void)new_value, (void)new_value_length;
    struct local_journal *store = context;
    *value_changed = 0;
    if (value_length != INDEX_VALUE_BYTES)
        return 0; /* whoever looks it up says so */
    uint64_t time = load_be64((const uint8_t *)value + RECORD_OWNER_BYTES);
    return time / DAY_SECONDS < atomic_load_explicit(&store->archive_from, memory_order_relaxed);
}

static const char *row_filter_name(void *context)
{
    (void)context;
    return "rill.index";
}

rocksdb_compactionfilter_t *store_index_filter(struct local_journal *store)
{
    return rocksdb_compactionfilter_create(store, row_filter_free, row_filter, row_filter_name);
}
