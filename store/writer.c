/* The writer: the one thread that commits batches.
 *
 *     append ──▶ queue ──turn_take──▶ one RocksDB write, one fsync ──turn_finish──▶ durable rises
 *                                                                                   (wakes whoever waits)
 *
 * A turn takes everything that was queued since the last one; packing is the writer's.
 */
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "store/local.h"

_Noreturn void store_fatal(const struct local_journal *store, const char *what, const char *error)
{
    log_error(
        "journal %s: %s: %s; stopping, so that nothing goes on ahead of the disk: make the disk usable, then "
        "start again from what is durable (sequence %llu)",
        store->path, what, error, (unsigned long long)atomic_load(&store->durable));
    _exit(STORE_EXIT_FATAL);
}

#define UNFOLDED_CHECKPOINTS 6
#define UNFOLDED_BYTES_MIN   ((uint64_t)256 << 20)

/* Under the mutex. */
static void queue_put(struct local_journal *store, const uint8_t *bytes, size_t length, size_t archive_at)
{
    struct batch *batch = store_batches_add(store, ++store->appended, bytes, length, archive_at);
    if (store->unwritten == NULL)
        store->unwritten = batch;
    store->waiting_bytes += BATCH_PREFIX_BYTES + length;
    store_recent_add(store, batch);
}

static bool is_far_ahead(const struct local_journal *store)
{
    uint64_t most = UNFOLDED_CHECKPOINTS * store->checkpoint_bytes;
    return store->journal_bytes > (most > UNFOLDED_BYTES_MIN ? most : UNFOLDED_BYTES_MIN);
}

uint64_t store_writer_append(struct journal *journal, const uint8_t *batch, size_t length)
{
    struct local_journal *store = (struct local_journal *)journal;
    size_t archive_at, bytes = BATCH_PREFIX_BYTES + length;
    ensure(length <= BATCH_BYTES_MAX && store_batch_is_well_formed(batch, length, &archive_at));

    pthread_mutex_lock(&store->mutex);
    ensure(store->recovered && !store->writer_ends);
    /* A batch that is larger than the whole queue goes alone. And folding must keep up: what is not folded is in
     * memory, too (find.c). */
    while ((store->waiting_bytes > 0 && store->waiting_bytes + bytes > store->queue_bytes_max) ||
           is_far_ahead(store))
        pthread_cond_wait(&store->writer_done, &store->mutex);
    queue_put(store, batch, length, archive_at);
    uint64_t sequence = store->appended;
    pthread_cond_signal(&store->writer_wake);
    pthread_mutex_unlock(&store->mutex);
    return sequence;
}

uint64_t store_writer_durable(const struct journal *journal)
{
    return atomic_load_explicit(&((const struct local_journal *)journal)->durable, memory_order_acquire);
}

void store_writer_wait(struct journal *journal, uint64_t sequence)
{
    struct local_journal *store = (struct local_journal *)journal;
    pthread_mutex_lock(&store->mutex);
    ensure(sequence <= store->appended); /* else this would never end */
    while (atomic_load(&store->durable) < sequence)
        pthread_cond_wait(&store->writer_done, &store->mutex);
    pthread_mutex_unlock(&store->mutex);
}

/* What one turn takes to the disk. */
struct turn {
    const struct batch *first;
    uint64_t count;
    rocksdb_writebatch_t *write;
    struct buffer packed;
    uint64_t bytes, stored_bytes; /* not packed, and as they lie on disk */
};

/* Returns false when the journal closes and nothing is left to write. */
static bool turn_take(struct local_journal *store, struct turn *turn)
{
    pthread_mutex_lock(&store->mutex);
    while (store->unwritten == NULL && !store->writer_ends)
        pthread_cond_wait(&store->writer_wake, &store->mutex);
    turn->first = store->unwritten;
    turn->count = turn->first == NULL ? 0 : store->appended - turn->first->sequence + 1;
    store->unwritten = NULL;
    pthread_mutex_unlock(&store->mutex);
    return turn->count > 0;
}

/* The same channels, addresses and assets come again and again in a large batch: packed, it is a third. Returns
 * where it lies from now on. */
static const uint8_t *pack(struct turn *turn, const uint8_t *batch, size_t *length)
{
    if (*length < BATCH_PACKED_MIN)
        return batch;
    buffer_clear(&turn->packed);
    size_t room = *length - *length / 8; /* else it is not worth unpacking */
    uint8_t *out = buffer_extend(&turn->packed, room);
    int packed = LZ4_compress_default((const char *)batch, (char *)out, (int)*length, (int)room);
    if (packed <= 0)
        return batch;
    *length = (size_t)packed;
    return out;
}

static void turn_add(const struct local_journal *store, struct turn *turn, const struct batch *batch)
{
    uint8_t key[SEQUENCE_KEY_BYTES], prefix[BATCH_PREFIX_BYTES];
    size_t stored = batch->length;
    const uint8_t *bytes = pack(turn, batch->bytes, &stored);
    const char *const keys[] = {(const char *)key};
    const char *const values[] = {(const char *)prefix, (const char *)bytes};
    const size_t key_sizes[] = {sizeof key}, value_sizes[] = {sizeof prefix, stored};
    store_be64(key, batch->sequence);
    prefix[0] = BATCH_VERSION;
    store_be64(prefix + 1, store->epoch);
    store_be32(prefix + 9, (uint32_t)batch->archive_at);
    store_be32(prefix + 13, bytes == batch->bytes ? 0 : (uint32_t)batch->length);
    rocksdb_writebatch_putv_cf(turn->write, store->families[FAMILY_JOURNAL], 1, keys, key_sizes, 2, values,
                               value_sizes);
    turn->bytes += sizeof prefix + batch->length;
    turn->stored_bytes += sizeof prefix + stored;
}

/* Behind the last one of the turn others may be added meanwhile. */
static void turn_fill(const struct local_journal *store, struct turn *turn)
{
    const struct batch *batch = turn->first;
    for (uint64_t left = turn->count; left > 0; left--) {
        turn_add(store, turn, batch);
        if (left > 1)
            batch = batch->next;
    }
}

/* Returns how long the write and its fsync took. */
static uint64_t turn_write(const struct local_journal *store, const struct turn *turn)
{
    uint64_t start = clock_monotonic_us();
    char *error = NULL;
    rocksdb_write(store->database, store->synced, turn->write, &error);
    if (error != NULL)
        store_fatal(store, "cannot write", error);
    return clock_monotonic_us() - start;
}

/* Wakes an event loop. A full counter is readable already. */
static void wake(const struct local_journal *store)
{
    uint64_t one = 1;
    while (write(store->wake_descriptor, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void turn_finish(struct local_journal *store, struct turn *turn, uint64_t write_us)
{
    pthread_mutex_lock(&store->mutex);
    uint64_t durable = atomic_load(&store->durable) + turn->count;
    ensure(durable <= store->appended && turn->bytes <= store->waiting_bytes);
    atomic_store_explicit(&store->durable, durable, memory_order_release);
    store->waiting_bytes -= turn->bytes;
    store->journal_bytes += turn->bytes;
    store->figures.batches += turn->count;
    store->figures.bytes += turn->stored_bytes;
    store->figures.syncs++;
    store->figures.sync_us_total += write_us;
    if (write_us > store->figures.sync_us_max)
        store->figures.sync_us_max = write_us;
    pthread_cond_broadcast(&store->writer_done);
    if (store->journal_bytes >= store->checkpoint_bytes)
        pthread_cond_signal(&store->folding_wake);
    pthread_mutex_unlock(&store->mutex);
    wake(store);
    if (!store_keeps_batches(store))
        store_batches_let_go(store, durable);
    rocksdb_writebatch_clear(turn->write);
    turn->bytes = turn->stored_bytes = 0;
}

void *store_writer_run(void *argument)
{
    struct local_journal *store = argument;
    struct turn turn = {.write = rocksdb_writebatch_create()};
    while (turn_take(store, &turn)) {
        turn_fill(store, &turn);
        turn_finish(store, &turn, turn_write(store, &turn));
    }
    rocksdb_writebatch_destroy(turn.write);
    buffer_free(&turn.packed);
    return NULL;
}
