/* Folding: the newest value of each key in the batches (checkpoint, target] goes into the checkpoint, and the
 * batches go.
 *
 *     idle ──journal_bytes ≥ checkpoint_bytes──▶ folding: mark [checkpoint, target] with the first slice
 *      ▲                                            │ slices, in whatever order
 *      │                                            │ (a crash here: folded anew at open)
 *      └──last slice: mark [target, target], batches ≤ target deleted, all in one write──┘
 *
 * Batches are read newest first: the first value seen for a key is the one to keep, and of the older ones
 * only the key has to be remembered. Folding reads durable batches only, writes no value that is not the
 * newest up to the target, and deletes no batch before everything in it is in the checkpoint; so after a
 * crash in the middle, folding the same batches again gives what one undisturbed folding would have given.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

#define uthash_malloc(size)     xmalloc(size)
#define uthash_free(area, size) free(area)
#include <uthash.h>

/* A key that was folded; its newest record is in batch `sequence`. */
struct seen {
    UT_hash_handle hh;
    uint64_t sequence;
    uint8_t key[];
};

struct fold {
    struct local_journal *store;
    uint64_t from, to; /* (from, to] */
    struct seen *seen;
    rocksdb_writebatch_t *slice;
    uint64_t slice_bytes;
    bool marked; /* the mark is durable */
    uint64_t folded_bytes;
};

/* How much may ride with one write. Twice what the last one carried lets folding outrun any load. */
static uint64_t slice_limit(const struct local_journal *store)
{
    uint64_t limit = store->checkpoint_bytes / 16;
    if (limit > SLICE_BYTES_MAX)
        limit = SLICE_BYTES_MAX;
    if (limit < 2 * store->last_write_bytes)
        limit = 2 * store->last_write_bytes;
    return limit < SLICE_BYTES_MIN ? SLICE_BYTES_MIN : limit;
}

/* Has the writer write the slice. Returns the limit of the next one; 0 if the journal closes. */
static uint64_t slice_submit(struct fold *fold)
{
    struct local_journal *store = fold->store;
    if (!fold->marked)
        store_header_mark_checkpoint(store, fold->slice, fold->from, fold->to);
    fold->marked = true;
    pthread_mutex_lock(&store->mutex);
    store->slice = fold->slice;
    pthread_cond_signal(&store->writer_wake);
    while (store->slice != NULL)
        pthread_cond_wait(&store->writer_done, &store->mutex);
    uint64_t limit = store->folding_ends ? 0 : slice_limit(store);
    pthread_mutex_unlock(&store->mutex);
    rocksdb_writebatch_clear(fold->slice);
    fold->slice_bytes = 0;
    return limit;
}

/* Is this record the newest for its key? Within one batch the later ones overwrite the earlier ones in the
 * slice. */
static bool record_is_newest(struct fold *fold, const uint8_t *key, size_t length, uint64_t sequence)
{
    struct seen *seen;
    HASH_FIND(hh, fold->seen, key, length, seen);
    if (seen != NULL)
        return seen->sequence == sequence;
    seen = xmalloc(sizeof *seen + length);
    seen->sequence = sequence;
    memcpy(seen->key, key, length);
    HASH_ADD_KEYPTR(hh, fold->seen, seen->key, length, seen);
    return true;
}

static void fold_record(struct fold *fold, const struct record *record, uint64_t sequence)
{
    uint8_t key[CHECKPOINT_KEY_MAX];
    size_t length = 1 + (size_t)record->key_length;
    key[0] = record->type;
    memcpy(key + 1, record->key, record->key_length);
    if (!record_is_newest(fold, key, length, sequence))
        return;
    rocksdb_column_family_handle_t *checkpoint = fold->store->families[FAMILY_CHECKPOINT];
    if (record->gone)
        rocksdb_writebatch_delete_cf(fold->slice, checkpoint, (const char *)key, length);
    else
        rocksdb_writebatch_put_cf(fold->slice, checkpoint, (const char *)key, length,
                                  (const char *)record->value, record->value_length);
    fold->slice_bytes += length + record->value_length;
}

/* Returns false if the journal closes meanwhile. */
static bool fold_batch(struct fold *fold, uint64_t sequence, const uint8_t *value, size_t length,
                       uint64_t *limit)
{
    if (length <= BATCH_PREFIX_BYTES)
        store_fatal(fold->store, "cannot fold", "a batch is damaged");
    struct reader batch = reader_of(value + BATCH_PREFIX_BYTES, length - BATCH_PREFIX_BYTES);
    for (struct record record; record_next(&batch, &record);) {
        fold_record(fold, &record, sequence);
        if (fold->slice_bytes >= *limit && (*limit = slice_submit(fold)) == 0)
            return false;
    }
    if (!batch.ok)
        store_fatal(fold->store, "cannot fold", "a batch is damaged");
    fold->folded_bytes += length;
    return true;
}

static void read_check(struct fold *fold, rocksdb_iterator_t *iterator)
{
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    if (error != NULL)
        store_fatal(fold->store, "cannot read back", error);
}

static bool fold_batches(struct fold *fold, uint64_t limit)
{
    rocksdb_iterator_t *iterator = store_database_iterate_from(fold->store, fold->to);
    bool going_on = true;
    for (uint64_t sequence = fold->to; going_on && sequence > fold->from; sequence--) {
        size_t key_length = 0, length = 0;
        const char *key = rocksdb_iter_valid(iterator) ? rocksdb_iter_key(iterator, &key_length) : NULL;
        if (key == NULL || key_length != SEQUENCE_KEY_BYTES || load_be64((const uint8_t *)key) != sequence) {
            read_check(fold, iterator);
            store_fatal(fold->store, "cannot read back", "a batch is missing");
        }
        const char *value = rocksdb_iter_value(iterator, &length);
        going_on = fold_batch(fold, sequence, (const uint8_t *)value, length, &limit);
        if (sequence - 1 > fold->from)
            rocksdb_iter_prev(iterator);
    }
    read_check(fold, iterator);
    rocksdb_iter_destroy(iterator);
    return going_on;
}

/* The rest of the records, the batches' end and the new mark: all or nothing. */
static void fold_finish(struct fold *fold)
{
    struct local_journal *store = fold->store;
    uint8_t first[SEQUENCE_KEY_BYTES], end[SEQUENCE_KEY_BYTES];
    store_be64(first, fold->from + 1);
    store_be64(end, fold->to + 1);
    rocksdb_writebatch_delete_range_cf(fold->slice, store->families[FAMILY_JOURNAL], (const char *)first,
                                       sizeof first, (const char *)end, sizeof end);
    store_header_mark_checkpoint(store, fold->slice, fold->to, fold->to);
    fold->marked = true;
    (void)slice_submit(fold);

    pthread_mutex_lock(&store->mutex);
    ensure(store->journal_bytes >= fold->folded_bytes);
    store->journal_bytes -= fold->folded_bytes;
    store->checkpoint = fold->to;
    store->checkpoint_target = fold->to;
    store->figures.checkpoints++;
    pthread_mutex_unlock(&store->mutex);
}

bool store_checkpoint_fold(struct local_journal *store, uint64_t to)
{
    pthread_mutex_lock(&store->mutex);
    struct fold fold = {.store = store, .from = store->checkpoint, .to = to};
    uint64_t limit = slice_limit(store);
    pthread_mutex_unlock(&store->mutex);
    ensure(to > fold.from);
    fold.slice = rocksdb_writebatch_create();
    bool whole = fold_batches(&fold, limit);
    if (whole)
        fold_finish(&fold);
    rocksdb_writebatch_destroy(fold.slice);
    struct seen *seen, *next;
    HASH_ITER(hh, fold.seen, seen, next)
    {
        HASH_DEL(fold.seen, seen);
        free(seen);
    }
    return whole;
}

void *store_folding_run(void *argument)
{
    struct local_journal *store = argument;
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        /* Not before the replay is over: it reads the checkpoint and the journal as they were at open. */
        while (!store->folding_ends && !(store->recovered && store->journal_bytes >= store->checkpoint_bytes))
            pthread_cond_wait(&store->folding_wake, &store->mutex);
        if (store->folding_ends)
            break;
        uint64_t to = atomic_load(&store->durable);
        pthread_mutex_unlock(&store->mutex);
        (void)store_checkpoint_fold(store, to); /* cut short: folding_ends is set */
        pthread_mutex_lock(&store->mutex);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}
