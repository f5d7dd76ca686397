/* Folding: the newest value of each key in the batches (checkpoint, target] goes into the checkpoint, what is
 * the archive's into the archive, and the batches go.
 *
 *     idle ──journal_bytes ≥ checkpoint_bytes──▶ gather: batches read newest first, one table per family
 *      ▲                                            │ mark [checkpoint, target], synced
 *      │                                            │ tables taken by RocksDB, each whole or not at all
 *      │                                            │ (a crash here: folded anew at open)
 *      └──mark [target, target] and batches ≤ target deleted, in one write──────────────┘
 *
 * Batches are read newest first: the first value seen for a key is the one to keep. Folding reads durable batches
 * only, writes no value that is not the newest up to the target, and deletes no batch before everything in it is
 * in the tables; so after a crash in the middle, folding the same batches again gives what one undisturbed
 * folding would have given. All of it runs beside the writer: a commit may meet the two small writes here, and
 * RocksDB's note of a new table.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

#define FOLD_BYTES_MIN  ((uint64_t)1 << 20)
#define WHOLE_BYTES_MAX ((uint64_t)1 << 30) /* what takes longer to write is left to RocksDB's merging */

/* A batch as it was read from the disk: the tables point into it until they are written. */
struct kept {
    struct kept *next;
    struct buffer bytes;
};

struct item {
    uint64_t hash; /* of type and key */
    const uint8_t *record;
};

struct fold {
    struct local_journal *store;
    uint64_t from, to;                          /* (from, to] */
    struct table *checkpoint, *archive, *index; /* the last two NULL: there is no archive */
    struct item *items;                         /* a batch's records */
    size_t item_capacity;
    uint64_t *findable; /* hashes of what goes into the index */
    size_t findable_count, findable_capacity;
    struct index gone; /* records that say so, of keys whose first one has not been seen yet */
    struct kept *kept;
    bool can_end; /* early, because the journal closes */
    uint64_t folded_bytes;
};

/* Where it was read it will not stay. */
static void keep(struct stored *stored, struct buffer *bytes)
{
    if (bytes->length > 0)
        return; /* it was unpacked to there */
    size_t live = stored->live.left;
    buffer_append(bytes, stored->live.at, live + stored->archive.left);
    stored->live = reader_of(bytes->data, live);
    stored->archive = reader_of(bytes->data + live, bytes->length - live);
}

/* Of a batch's records, which go on to where the reader ends. Returns how many. */
static size_t take_items(struct fold *fold, struct reader *reader)
{
    size_t count = 0;
    for (struct record record; record_next(reader, &record); count++) {
        if (count == fold->item_capacity) {
            fold->item_capacity = count == 0 ? 1024 : 2 * count;
            fold->items = xrealloc(fold->items, fold->item_capacity * sizeof *fold->items);
        }
        uint64_t hash = index_hash(fold->store->seed ^ record.type, record.key, record.key_length);
        fold->items[count] = (struct item){hash, record.key - RECORD_HEADER_BYTES};
    }
    if (!reader->ok)
        store_fatal(fold->store, "cannot fold", "a batch is damaged");
    return count;
}

static bool is_same(const struct record *record, const uint8_t *other)
{
    struct record known = record_at(other);
    return known.type == record->type && known.key_length == record->key_length &&
           memcmp(known.key, record->key, record->key_length) == 0;
}

/* What is gone needs none of its older records, and if its first is among them the checkpoint has never heard of it:
 * neither comes to the table. Most payments of a busy hub end so, before anything is sorted. */
static void fold_live(struct fold *fold, const struct item *item)
{
    struct record record = record_at(item->record);
    struct index_walk walk = index_walk(&fold->gone, item->hash);
    const uint8_t *gone;
    while ((gone = index_next(&fold->gone, &walk)) != NULL && !is_same(&record, gone))
        continue;
    if (gone != NULL && record.first)
        index_remove(&fold->gone, item->hash, gone);
    else if (gone == NULL && record.gone)
        index_add(&fold->gone, item->hash, (void *)item->record);
    else if (gone == NULL)
        store_table_add(fold->checkpoint, &record);
}

/* Whose first record is older than all this. What is newer of such a key is in the table already. */
static void fold_gone(struct fold *fold)
{
    size_t at = 0;
    for (const uint8_t *gone; (gone = index_each(&fold->gone, &at)) != NULL;) {
        struct record record = record_at(gone);
        store_table_add(fold->checkpoint, &record);
    }
}

static void note_findable(struct fold *fold, const struct record *record)
{
    if (fold->findable_count == fold->findable_capacity) {
        fold->findable_capacity = fold->findable_count == 0 ? 1024 : 2 * fold->findable_count;
        fold->findable = xrealloc(fold->findable, fold->findable_capacity * sizeof *fold->findable);
    }
    struct family_key key;
    store_family_key(FAMILY_INDEX, record, &key);
    fold->findable[fold->findable_count++] = store_key_hash(fold->store, key.bytes, key.length);
}

static void fold_archive(struct fold *fold, const struct item *item)
{
    struct record record = record_at(item->record);
    store_table_add(fold->archive, &record);
    if ((record.type & RECORD_FINDABLE) == 0)
        return;
    store_table_add(fold->index, &record);
    note_findable(fold, &record);
}

/* Newest first. Its bytes stay where they are until the tables are written. */
static void fold_batch(struct fold *fold, struct reader live, struct reader archive)
{
    fold->folded_bytes += BATCH_PREFIX_BYTES + live.left + archive.left;
    for (size_t left = take_items(fold, &live); left > 0; left--) {
        if (left > AHEAD)
            index_prefetch(&fold->gone, fold->items[left - 1 - AHEAD].hash);
        fold_live(fold, &fold->items[left - 1]);
    }
    if (fold->archive == NULL)
        return;
    for (size_t left = take_items(fold, &archive); left > 0; left--)
        fold_archive(fold, &fold->items[left - 1]);
}

static struct buffer *fold_room(struct fold *fold)
{
    struct kept *kept = xcalloc(1, sizeof *kept);
    kept->next = fold->kept;
    fold->kept = kept;
    return &kept->bytes;
}

static void fold_free(struct fold *fold)
{
    while (fold->kept != NULL) {
        struct kept *kept = fold->kept;
        fold->kept = kept->next;
        buffer_free(&kept->bytes);
        free(kept);
    }
    free(fold->items);
    free(fold->findable);
    index_free(&fold->gone);
    store_table_free(fold->checkpoint);
    store_table_free(fold->archive);
    store_table_free(fold->index);
}

static void read_check(const struct local_journal *store, rocksdb_iterator_t *iterator)
{
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    if (error != NULL)
        store_fatal(store, "cannot read back", error);
}

static bool goes_on(const struct fold *fold)
{
    return !fold->can_end || !atomic_load(&fold->store->folding_ends);
}

static bool fold_from_disk(struct fold *fold)
{
    rocksdb_iterator_t *iterator = store_database_iterate_from(fold->store, fold->to);
    bool going_on = true;
    for (uint64_t sequence = fold->to; going_on && sequence > fold->from; sequence--) {
        struct stored stored;
        struct buffer *room = fold_room(fold);
        if (!rocksdb_iter_valid(iterator) || !store_stored_at(iterator, room, &stored) ||
            stored.sequence != sequence) {
            read_check(fold->store, iterator);
            store_fatal(fold->store, "cannot read back", "a batch is missing");
        }
        keep(&stored, room);
        fold_batch(fold, stored.live, stored.archive);
        if (sequence - 1 > fold->from)
            rocksdb_iter_prev(iterator);
        going_on = goes_on(fold);
    }
    read_check(fold->store, iterator);
    rocksdb_iter_destroy(iterator);
    return going_on;
}

/* The first batch in memory that is not folded; all up to `durable` stay as they are meanwhile. */
static const struct batch *first_unfolded(struct local_journal *store, uint64_t from)
{
    pthread_mutex_lock(&store->mutex);
    const struct batch *batch = store->batches.first;
    pthread_mutex_unlock(&store->mutex);
    while (batch->sequence <= from)
        batch = batch->next;
    return batch;
}

static bool fold_from_memory(struct fold *fold)
{
    size_t count = fold->to - fold->from;
    const struct batch **batches = xmalloc(count * sizeof *batches);
    batches[0] = first_unfolded(fold->store, fold->from);
    for (size_t i = 1; i < count; i++)
        batches[i] = batches[i - 1]->next;
    ensure(batches[0]->sequence == fold->from + 1 && batches[count - 1]->sequence == fold->to);
    bool going_on = true;
    while (going_on && count > 0) {
        const struct batch *batch = batches[--count];
        fold_batch(fold, reader_of(batch->bytes, batch->archive_at),
                   reader_of(batch->bytes + batch->archive_at, batch->length - batch->archive_at));
        going_on = goes_on(fold);
    }
    free(batches);
    return going_on;
}

/* Returns false if the journal closes meanwhile. */
static bool fold_batches(struct fold *fold)
{
    return store_keeps_batches(fold->store) ? fold_from_memory(fold) : fold_from_disk(fold);
}

static uint64_t target_in_memory(struct local_journal *store, uint64_t from, uint64_t durable, uint64_t most)
{
    uint64_t bytes = 0;
    for (const struct batch *batch = first_unfolded(store, from);; batch = batch->next) {
        bytes += BATCH_PREFIX_BYTES + batch->length;
        if (bytes >= most || batch->sequence == durable)
            return batch->sequence;
    }
}

/* How far one folding goes: its memory grows with the batches it reads. There is one that is durable. */
static uint64_t fold_target(struct local_journal *store, uint64_t from)
{
    uint64_t durable = atomic_load(&store->durable), to = from, bytes = 0;
    uint64_t most =
        2 * store->checkpoint_bytes > FOLD_BYTES_MIN ? 2 * store->checkpoint_bytes : FOLD_BYTES_MIN;
    if (store_keeps_batches(store))
        return target_in_memory(store, from, durable, most);
    rocksdb_iterator_t *iterator = store_database_iterate_from(store, from + 1);
    for (; to < durable && bytes < most && rocksdb_iter_valid(iterator); to++) {
        size_t length = 0;
        const uint8_t *value = (const uint8_t *)rocksdb_iter_value(iterator, &length);
        bytes += store_stored_length(value, length);
        rocksdb_iter_next(iterator);
    }
    read_check(store, iterator);
    rocksdb_iter_destroy(iterator);
    return to;
}

static void fold_write(const struct local_journal *store, rocksdb_writebatch_t *write,
                       const rocksdb_writeoptions_t *options)
{
    char *error = NULL;
    rocksdb_write(store->database, options, write, &error);
    if (error != NULL)
        store_fatal(store, "cannot write", error);
    rocksdb_writebatch_clear(write);
}

/* Tables that hold nothing but batches up to here go at once: the deletions alone would leave them on the disk until
 * RocksDB has a reason to merge them. Only below a mark that is durable, since this cannot be lost by a crash. */
static void drop_tables(const struct local_journal *store, uint64_t to)
{
    uint8_t first[SEQUENCE_KEY_BYTES] = {0}, last[SEQUENCE_KEY_BYTES];
    char *error = NULL;
    store_be64(last, to);
    rocksdb_delete_file_in_range_cf(store->database, store->families[FAMILY_JOURNAL], (const char *)first,
                                    sizeof first, (const char *)last, sizeof last, &error);
    if (error != NULL)
        store_fatal(store, "cannot delete folded batches", error);
}

/* A start walks through all of the checkpoint's tables, and most rows of a busy hub are soon dead: payments that were
 * under way when a folding ended, and that they are gone since. All is written as a whole again when that is no more
 * than what was written since and what this folding will write, if it is as the one before: so writing costs at most
 * twice, and a start less than twice what lives. At a close a start's time counts for more. */
static bool is_whole_due(const struct fold *fold)
{
    const struct burden *burden = &fold->store->burden;
    uint64_t changed = burden->since + burden->folding;
    return burden->whole <= WHOLE_BYTES_MAX && burden->whole <= (fold->can_end ? changed : 4 * changed);
}

static void fold_tables(struct fold *fold)
{
    struct local_journal *store = fold->store;
    uint8_t first[SEQUENCE_KEY_BYTES], end[SEQUENCE_KEY_BYTES];
    rocksdb_writebatch_t *write = rocksdb_writebatch_create();
    bool whole = is_whole_due(fold);
    store_table_write(fold->checkpoint, whole);
    store_table_write(fold->archive, false);
    store_table_write(fold->index, false);
    store_header_mark_checkpoint(store, write, fold->from, fold->to);
    fold_write(store, write, store->synced);
    drop_tables(store, fold->from);
    store_table_ingest(fold->checkpoint);
    store_table_ingest(fold->archive);
    store_table_ingest(fold->index); /* after what it points to */
    store_known_add(store, fold->findable, fold->findable_count);
    store_table_weigh(fold->checkpoint, &store->burden);
    /* Not synced: if a crash loses it, the folding is done again. It leaves the cache with the next commit. */
    store_be64(first, fold->from + 1);
    store_be64(end, fold->to + 1);
    rocksdb_writebatch_delete_range_cf(write, store->families[FAMILY_JOURNAL], (const char *)first,
                                       sizeof first, (const char *)end, sizeof end);
    store_header_mark_checkpoint(store, write, fold->to, fold->to);
    fold_write(store, write, store->unsynced);
    rocksdb_writebatch_destroy(write);
}

static void fold_note(const struct fold *fold)
{
    struct local_journal *store = fold->store;
    pthread_mutex_lock(&store->mutex);
    ensure(store->journal_bytes >= fold->folded_bytes);
    store->journal_bytes -= fold->folded_bytes;
    store->checkpoint = fold->to;
    store->checkpoint_target = fold->to;
    store->figures.checkpoints++;
    pthread_cond_broadcast(&store->writer_done); /* an append may wait for it */
    pthread_mutex_unlock(&store->mutex);
    if (store_keeps_batches(store))
        store_batches_let_go(store, store_recent_folded(store, fold->to));
}

static bool fold_up_to(struct local_journal *store, uint64_t to, bool can_end)
{
    struct fold fold = {.store = store, .from = store->checkpoint, .to = to, .can_end = can_end};
    ensure(to > fold.from);
    pthread_mutex_lock(&store->mutex);
    store_recent_turn(store, store->appended);
    pthread_mutex_unlock(&store->mutex);
    fold.checkpoint = store_table_new(store, FAMILY_CHECKPOINT);
    if (store->archive_days > 0) {
        fold.archive = store_table_new(store, FAMILY_ARCHIVE);
        fold.index = store_table_new(store, FAMILY_INDEX);
    }
    bool whole = fold_batches(&fold);
    if (whole) {
        fold_gone(&fold);
        fold_tables(&fold);
        store_archive_prune(store);
        fold_note(&fold); /* last: whoever sees it in the figures sees what it did */
    }
    fold_free(&fold);
    return whole;
}

void store_checkpoint_fold(struct local_journal *store, uint64_t to)
{
    ensure(fold_up_to(store, to, false));
}

void *store_folding_run(void *argument)
{
    struct local_journal *store = argument;
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        /* Not before the replay is over: it reads the checkpoint and the journal as they were at open. */
        while (!atomic_load(&store->folding_ends) &&
               !(store->recovered && store->journal_bytes >= store->checkpoint_bytes))
            pthread_cond_wait(&store->folding_wake, &store->mutex);
        if (atomic_load(&store->folding_ends))
            break;
        uint64_t from = store->checkpoint; /* only this thread changes it */
        pthread_mutex_unlock(&store->mutex);
        /* Cut short: folding_ends is set. */
        (void)fold_up_to(store, fold_target(store, from), true);
        pthread_mutex_lock(&store->mutex);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}
