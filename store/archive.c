/* The archive: what is over and only to be looked up, in the order of time.
 *
 *     key on disk: day u32 | type u8 | owner 20 | time u64 | rest        day = time / 86400
 *
 * The day comes first, so that tables of past days are never merged with new ones, and dropping the oldest days
 * means dropping whole tables. A reader skips from day to day. Records come here when their batch is folded;
 * until then they are found in the batches.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "store/local.h"

#define SCOPE_BYTES (DAY_BYTES + 1 + RECORD_OWNER_BYTES) /* day, type, owner */

static int key_compare(const uint8_t *a, size_t a_length, const uint8_t *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : a_length < b_length ? -1 : a_length > b_length;
}

/* ---- reading ---- */

/* What is in batches that are not folded yet. */
struct recent {
    struct family_key key;
    size_t number; /* later ones are newer */
    const uint8_t *value;
    uint32_t value_length;
};

struct reading {
    struct local_journal *store;
    const struct archive_query *query;
    struct family_key start; /* the first key that may come; if `after` is given, it does not itself */
    rocksdb_readoptions_t *options;
    rocksdb_iterator_t *folded, *batches;
    struct recent *recent; /* sorted */
    size_t recent_count, recent_capacity, recent_at;
    struct buffer values; /* of the recent ones, which point into it once all are there */
};

static struct family_key start_of(const struct archive_query *query)
{
    struct family_key start;
    uint8_t key[RECORD_ARCHIVE_KEY_MIN];
    if (query->after != NULL) {
        store_archive_key(query->type, query->after, query->after_length, &start);
        return start;
    }
    memcpy(key, query->owner, RECORD_OWNER_BYTES);
    store_be64(key + RECORD_OWNER_BYTES, query->since);
    store_archive_key(query->type, key, sizeof key, &start);
    return start;
}

static bool is_wanted(const struct reading *reading, const uint8_t *key, size_t length)
{
    const struct archive_query *query = reading->query;
    if (length < SCOPE_BYTES + 8 || key[DAY_BYTES] != query->type ||
        memcmp(key + DAY_BYTES + 1, query->owner, RECORD_OWNER_BYTES) != 0)
        return false;
    uint64_t time = load_be64(key + SCOPE_BYTES);
    int order = key_compare(key, length, reading->start.bytes, reading->start.length);
    return time >= query->since && time < query->until && order >= (query->after != NULL);
}

static void add_recent(struct reading *reading, const struct record *record)
{
    struct family_key key;
    store_archive_key(record->type, record->key, record->key_length, &key);
    if (!is_wanted(reading, key.bytes, key.length))
        return;
    if (reading->recent_count == reading->recent_capacity) {
        reading->recent_capacity = reading->recent_capacity == 0 ? 64 : 2 * reading->recent_capacity;
        reading->recent = xrealloc(reading->recent, reading->recent_capacity * sizeof *reading->recent);
    }
    reading->recent[reading->recent_count] =
        (struct recent){key, reading->recent_count, NULL, record->value_length};
    reading->recent_count++;
    buffer_append(&reading->values, record->value, record->value_length);
}

/* Of one key, the newest first. */
static int compare_recent(const void *left, const void *right)
{
    const struct recent *a = left, *b = right;
    int order = key_compare(a->key.bytes, a->key.length, b->key.bytes, b->key.length);
    return order != 0 ? order : a->number < b->number ? 1 : a->number > b->number ? -1 : 0;
}

/* Only the ends of the batches are looked at, where the archive's records are. */
static void gather_recent(struct reading *reading)
{
    struct buffer room = {0};
    for (; rocksdb_iter_valid(reading->batches); rocksdb_iter_next(reading->batches)) {
        struct stored stored;
        ensure(store_stored_at(reading->batches, &room, &stored)); /* checked at open, or written since */
        for (struct record record; record_next(&stored.archive, &record);)
            add_recent(reading, &record);
    }
    buffer_free(&room);
    const uint8_t *value = reading->values.data;
    for (size_t i = 0; i < reading->recent_count; i++) {
        reading->recent[i].value = value;
        value += reading->recent[i].value_length;
    }
    if (reading->recent_count > 0)
        qsort(reading->recent, reading->recent_count, sizeof *reading->recent, compare_recent);
}

/* Moves to the next record that is wanted, from where the iterator stands. NULL: there is none. */
static const uint8_t *next_folded(struct reading *reading, size_t *length)
{
    const struct archive_query *query = reading->query;
    while (rocksdb_iter_valid(reading->folded)) {
        const uint8_t *key = (const uint8_t *)rocksdb_iter_key(reading->folded, length);
        if (is_wanted(reading, key, *length))
            return key;
        uint8_t scope[SCOPE_BYTES];
        if (*length < SCOPE_BYTES)
            return NULL; /* no key of ours is so short */
        uint32_t day = load_be32(key);
        if (day > store_day_of(query->until))
            return NULL;
        store_be32(scope, day);
        scope[DAY_BYTES] = query->type;
        memcpy(scope + DAY_BYTES + 1, query->owner, RECORD_OWNER_BYTES);
        int order = memcmp(key, scope, sizeof scope);
        if (order == 0) { /* this owner's, but before the start or after the end */
            rocksdb_iter_next(reading->folded);
            continue;
        }
        if (order > 0) {
            if (day == UINT32_MAX)
                return NULL;
            store_be32(scope, day + 1);
        }
        rocksdb_iter_seek(reading->folded, (const char *)scope, sizeof scope);
    }
    return NULL;
}

static bool show(journal_visit *visit, void *context, const uint8_t *key, size_t length, const uint8_t *value,
                 size_t value_length)
{
    struct record record = {.type = key[DAY_BYTES],
                            .key_length = (uint8_t)(length - DAY_BYTES - 1),
                            .key = key + DAY_BYTES + 1,
                            .value = value,
                            .value_length = (uint32_t)value_length};
    return visit(context, &record);
}

static int compare_to_recent(const uint8_t *key, size_t length, const struct recent *recent)
{
    if (key == NULL || recent == NULL)
        return key == NULL ? 1 : -1;
    return key_compare(key, length, recent->key.bytes, recent->key.length);
}

/* Over all that say the same of an older time. */
static void skip_recent(struct reading *reading, const struct recent *shown)
{
    while (reading->recent_at < reading->recent_count &&
           compare_to_recent(shown->key.bytes, shown->key.length, &reading->recent[reading->recent_at]) == 0)
        reading->recent_at++;
}

/* Both in one order. A record may be in both, folded since or written again: the one in the batches is as new. */
static void merge(struct reading *reading, journal_visit *visit, void *context)
{
    for (bool more = true; more;) {
        size_t length = 0, value_length = 0;
        const uint8_t *key = next_folded(reading, &length);
        const struct recent *recent =
            reading->recent_at < reading->recent_count ? &reading->recent[reading->recent_at] : NULL;
        if (key == NULL && recent == NULL)
            return;
        int order = compare_to_recent(key, length, recent);
        if (order < 0) {
            const uint8_t *value = (const uint8_t *)rocksdb_iter_value(reading->folded, &value_length);
            more = show(visit, context, key, length, value, value_length);
        } else {
            more = show(visit, context, recent->key.bytes, recent->key.length, recent->value,
                        recent->value_length);
            skip_recent(reading, recent);
        }
        if (order <= 0)
            rocksdb_iter_next(reading->folded);
    }
}

static bool iterator_is_good(const struct reading *reading, const rocksdb_iterator_t *iterator)
{
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    if (error != NULL)
        log_error("journal %s: damaged: %s; keep a copy and restore the folder from a backup",
                  reading->store->path, error);
    rocksdb_free(error);
    return error == NULL;
}

bool store_archive_read(struct journal *journal, const struct archive_query *query, journal_visit *visit,
                        void *context)
{
    struct local_journal *store = (struct local_journal *)journal;
    struct reading reading = {.store = store, .query = query};
    ensure(query->after == NULL ||
           (query->after_length >= RECORD_ARCHIVE_KEY_MIN && query->after_length <= RECORD_KEY_MAX &&
            memcmp(query->after, query->owner, RECORD_OWNER_BYTES) == 0));
    reading.start = start_of(query);
    /* First the mark, then the snapshot: a batch that is folded in between is in the archive that it shows. */
    pthread_mutex_lock(&store->mutex);
    uint64_t checkpoint = store->checkpoint;
    pthread_mutex_unlock(&store->mutex);
    const rocksdb_snapshot_t *snapshot = rocksdb_create_snapshot(store->database);
    reading.options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(reading.options, 1);
    rocksdb_readoptions_set_snapshot(reading.options, snapshot);
    reading.batches =
        rocksdb_create_iterator_cf(store->database, reading.options, store->families[FAMILY_JOURNAL]);
    reading.folded =
        rocksdb_create_iterator_cf(store->database, reading.options, store->families[FAMILY_ARCHIVE]);
    uint8_t sequence[SEQUENCE_KEY_BYTES];
    store_be64(sequence, checkpoint + 1);
    rocksdb_iter_seek(reading.batches, (const char *)sequence, sizeof sequence);
    gather_recent(&reading);
    rocksdb_iter_seek(reading.folded, (const char *)reading.start.bytes, reading.start.length);
    merge(&reading, visit, context);
    bool good = iterator_is_good(&reading, reading.folded) && iterator_is_good(&reading, reading.batches);
    rocksdb_iter_destroy(reading.batches);
    rocksdb_iter_destroy(reading.folded);
    rocksdb_readoptions_destroy(reading.options);
    rocksdb_release_snapshot(store->database, snapshot);
    free(reading.recent);
    buffer_free(&reading.values);
    return good;
}

/* ---- pruning ---- */

/* The day of the first or the last key. Returns false if there is none. */
static bool edge_day(const struct local_journal *store, bool last, uint32_t *day)
{
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(store->database, store->look, store->families[FAMILY_ARCHIVE]);
    if (last)
        rocksdb_iter_seek_to_last(iterator);
    else
        rocksdb_iter_seek_to_first(iterator);
    size_t length = 0;
    const char *key = rocksdb_iter_valid(iterator) ? rocksdb_iter_key(iterator, &length) : NULL;
    bool found = key != NULL && length >= DAY_BYTES;
    if (found)
        *day = load_be32((const uint8_t *)key);
    rocksdb_iter_destroy(iterator);
    return found;
}

/* The day that ages are counted from: the newest record's, which is as true as who wrote it (a block's time is its node's
 * word), but never beyond tomorrow. One absurd time must not make all others old. */
static uint32_t newest_day(uint32_t last)
{
    uint32_t tomorrow = store_day_of(clock_unix_s() + DAY_SECONDS);
    return last < tomorrow ? last : tomorrow;
}

void store_archive_prune(struct local_journal *store)
{
    uint32_t first, last;
    if (!edge_day(store, false, &first) || !edge_day(store, true, &last))
        return;
    uint32_t newest = newest_day(last);
    uint64_t keep_from = store->archive_days == 0       ? (uint64_t)last + 1
                         : newest > store->archive_days ? newest - store->archive_days
                                                        : 0;
    if (first >= keep_from)
        return;
    atomic_store(&store->archive_from, keep_from > UINT32_MAX ? UINT32_MAX : (uint32_t)keep_from);
    uint8_t start[DAY_BYTES] = {0}, end[DAY_BYTES];
    store_be32(end, keep_from > UINT32_MAX ? UINT32_MAX : (uint32_t)keep_from);
    rocksdb_column_family_handle_t *archive = store->families[FAMILY_ARCHIVE];
    char *error = NULL;
    rocksdb_delete_file_in_range_cf(store->database, archive, (const char *)start, sizeof start,
                                    (const char *)end, sizeof end, &error);
    if (error == NULL)
        rocksdb_delete_range_cf(store->database, store->unsynced, archive, (const char *)start, sizeof start,
                                (const char *)end, sizeof end, &error);
    if (error != NULL)
        store_fatal(store, "cannot prune the archive", error);
}

void store_archive_figures(const struct local_journal *store, struct store_figures *out)
{
    rocksdb_column_family_handle_t *archive = store->families[FAMILY_ARCHIVE];
    (void)rocksdb_property_int_cf(store->database, archive, "rocksdb.estimate-num-keys",
                                  &out->archive_records);
    (void)rocksdb_property_int_cf(store->database, archive, "rocksdb.live-sst-files-size",
                                  &out->archive_bytes);
}
