/* What is on disk is checked whole at open, and replayed once to the journal's owner. */
#include <lz4.h>

#include "base/ensure.h"
#include "base/log.h"
#include "store/local.h"

bool store_batch_is_well_formed(const uint8_t *batch, size_t length, size_t *archive_at)
{
    struct reader reader = reader_of(batch, length);
    *archive_at = length;
    for (struct record record; record_next(&reader, &record);) {
        bool is_archive = record_is_archive(&record);
        if (is_archive ? record.gone || record.first || record.key_length < RECORD_ARCHIVE_KEY_MIN
                       : *archive_at < length)
            return false;
        if (is_archive && *archive_at == length)
            *archive_at = (size_t)(record.key - batch) - RECORD_HEADER_BYTES;
    }
    return *archive_at > 0 && reader.ok;
}

size_t store_stored_length(const uint8_t *value, size_t value_length)
{
    uint32_t whole = value_length < BATCH_PREFIX_BYTES ? 0 : load_be32(value + BATCH_PREFIX_BYTES - 4);
    return whole == 0 ? value_length : BATCH_PREFIX_BYTES + (size_t)whole;
}

/* LZ4's format cannot say more than 255 times what it has. */
static bool unpack(struct reader *packed, size_t whole, struct buffer *room)
{
    if (whole > BATCH_BYTES_MAX || whole / 255 > packed->left)
        return false;
    buffer_clear(room);
    uint8_t *out = buffer_extend(room, whole);
    int length = LZ4_decompress_safe((const char *)packed->at, (char *)out, (int)packed->left, (int)whole);
    *packed = reader_of(room->data, whole);
    return length >= 0 && (size_t)length == whole;
}

bool store_stored_parse(const uint8_t *key, size_t key_length, const uint8_t *value, size_t value_length,
                        struct buffer *room, struct stored *out)
{
    if (key_length != SEQUENCE_KEY_BYTES)
        return false;
    struct reader reader = reader_of(value, value_length);
    uint8_t version = reader_u8(&reader);
    *out = (struct stored){.sequence = load_be64(key),
                           .epoch = reader_u64(&reader),
                           .length = store_stored_length(value, value_length)};
    size_t archive_at = reader_u32(&reader), whole = reader_u32(&reader);
    if (!reader.ok || version != BATCH_VERSION || (whole > 0 && !unpack(&reader, whole, room)))
        return false;
    out->live = reader_of(reader_take(&reader, archive_at), archive_at);
    out->archive = reader;
    return reader.ok;
}

bool store_stored_at(const rocksdb_iterator_t *iterator, struct buffer *room, struct stored *out)
{
    size_t key_length = 0, value_length = 0;
    const uint8_t *key = (const uint8_t *)rocksdb_iter_key(iterator, &key_length);
    const uint8_t *value = (const uint8_t *)rocksdb_iter_value(iterator, &value_length);
    return store_stored_parse(key, key_length, value, value_length, room, out);
}

static bool stored_is_well_formed(const struct stored *stored)
{
    size_t archive_at;
    return store_batch_is_well_formed(stored->live.at, stored->live.left + stored->archive.left,
                                      &archive_at) &&
           archive_at == stored->live.left;
}

static enum store_error refuse_damage(const struct local_journal *store, uint64_t sequence, const char *what,
                                      const struct refusal *refusal)
{
    return store_refuse(refusal, STORE_CORRUPT,
                        "%s: damaged: batch %llu %s; keep a copy and restore the folder from a backup",
                        store->path, (unsigned long long)sequence, what);
}

static void keep_batch(struct local_journal *store, const struct stored *stored)
{
    if (!store_keeps_batches(store))
        return;
    size_t live = stored->live.left, length = live + stored->archive.left;
    store_recent_add(store, store_batches_add(store, stored->sequence, stored->live.at, length, live));
}

/* Sequences follow each other from the checkpoint on. Epochs never fall, and this opening's is above all of
 * them. */
static enum store_error check_batches(struct local_journal *store, rocksdb_iterator_t *iterator,
                                      struct buffer *room, const struct refusal *refusal)
{
    uint64_t last = store->checkpoint, epoch = 0;
    for (; rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        struct stored stored;
        if (!store_stored_at(iterator, room, &stored) || !stored_is_well_formed(&stored))
            return refuse_damage(store, last + 1, "is malformed", refusal);
        if (stored.sequence != last + 1)
            return refuse_damage(store, last + 1, "is missing", refusal);
        if (stored.epoch < epoch || stored.epoch >= store->epoch)
            return refuse_damage(store, stored.sequence, "has an epoch out of order", refusal);
        last = stored.sequence;
        epoch = stored.epoch;
        keep_batch(store, &stored);
        store->journal_bytes += stored.length;
    }
    if (last < store->checkpoint_target)
        return refuse_damage(store, last + 1, "is missing", refusal);
    store->appended = last;
    atomic_store(&store->durable, last);
    return STORE_OK;
}

enum store_error store_recover_check(struct local_journal *store, const struct refusal *refusal)
{
    rocksdb_iterator_t *iterator = store_database_iterate_from(store, store->checkpoint + 1);
    struct buffer room = {0};
    enum store_error result = check_batches(store, iterator, &room, refusal);
    buffer_free(&room);
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    return error == NULL ? result : store_database_refuse(store, error, refusal);
}

/* Ends a pass over a family. Returns false, and says so, if it ended because the disk gave an error. */
static bool pass_end(const struct local_journal *store, rocksdb_iterator_t *iterator, bool good)
{
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    if (error == NULL)
        return good;
    log_error("journal %s: damaged: %s; keep a copy and restore the folder from a backup", store->path,
              error);
    rocksdb_free(error);
    return false;
}

static bool replay_checkpoint(struct local_journal *store, journal_visit *visit, void *context)
{
    rocksdb_iterator_t *iterator = store_database_iterate(store, FAMILY_CHECKPOINT);
    bool good = true;
    for (; good && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t key_length = 0, value_length = 0;
        const uint8_t *key = (const uint8_t *)rocksdb_iter_key(iterator, &key_length);
        const uint8_t *value = (const uint8_t *)rocksdb_iter_value(iterator, &value_length);
        good = key_length > 0 && key_length <= CHECKPOINT_KEY_MAX && value_length < UINT32_MAX;
        if (!good) {
            log_error(
                "journal %s: damaged: a malformed key in the checkpoint; keep a copy and restore the folder "
                "from a backup",
                store->path);
            break;
        }
        struct record record = {.type = key[0],
                                .key_length = (uint8_t)(key_length - 1),
                                .key = key + 1,
                                .value = value,
                                .value_length = (uint32_t)value_length};
        good = visit(context, &record);
    }
    return pass_end(store, iterator, good);
}

static bool replay_batch(struct reader live, journal_visit *visit, void *context)
{
    bool good = true;
    for (struct record record; good && record_next(&live, &record);)
        good = visit(context, &record);
    return good;
}

static bool replay_disk(struct local_journal *store, journal_visit *visit, void *context)
{
    rocksdb_iterator_t *iterator = store_database_iterate_from(store, store->checkpoint + 1);
    bool good = true;
    struct buffer room = {0};
    for (; good && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        struct stored stored;
        ensure(store_stored_at(iterator, &room, &stored)); /* checked at open */
        good = replay_batch(stored.live, visit, context);
    }
    buffer_free(&room);
    return pass_end(store, iterator, good);
}

static bool replay_journal(struct local_journal *store, journal_visit *visit, void *context)
{
    if (!store_keeps_batches(store))
        return replay_disk(store, visit, context);
    bool good = true;
    for (const struct batch *batch = store->batches.first; good && batch != NULL; batch = batch->next)
        if (batch->sequence >
            store->checkpoint) /* a folding that was finished at open may have left some for find.c */
            good = replay_batch(reader_of(batch->bytes, batch->archive_at), visit, context);
    return good;
}

bool store_recover_replay(struct journal *journal, journal_visit *visit, void *context)
{
    struct local_journal *store = (struct local_journal *)journal;
    ensure(!store->recovered); /* only the caller's thread touches it before it is set */
    if (!replay_checkpoint(store, visit, context) || !replay_journal(store, visit, context))
        return false;
    pthread_mutex_lock(&store->mutex);
    store->recovered = true;
    pthread_cond_signal(&store->folding_wake);
    pthread_mutex_unlock(&store->mutex);
    return true;
}
