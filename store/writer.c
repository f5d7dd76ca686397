/* The writer: the one thread that commits batches.
 *
 *     append ──▶ queue ──turn_take──▶ one RocksDB write, one fsync ──turn_finish──▶ durable rises
 *                                                                                   (wakes whoever waits)
 *
 * A turn takes everything that was queued since the last one. There are two queues: one gathers while the other
 * is written. A batch is copied once, from the caller's buffer into the queue.
 */
#include <errno.h>
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

/* Under the mutex. */
static void queue_put(struct local_journal *store, const uint8_t *batch, size_t length, size_t archive_at)
{
    uint8_t key[SEQUENCE_KEY_BYTES], prefix[BATCH_PREFIX_BYTES];
    const char *const keys[] = {(const char *)key};
    const char *const values[] = {(const char *)prefix, (const char *)batch};
    const size_t key_sizes[] = {sizeof key}, value_sizes[] = {sizeof prefix, length};
    store_be64(key, ++store->appended);
    prefix[0] = BATCH_VERSION;
    store_be64(prefix + 1, store->epoch);
    store_be32(prefix + 9, (uint32_t)archive_at);
    rocksdb_writebatch_putv_cf(store->queue.write, store->families[FAMILY_JOURNAL], 1, keys, key_sizes, 2,
                               values, value_sizes);
    store->queue.batches++;
    store->queue.bytes += sizeof prefix + length;
    store->waiting_bytes += sizeof prefix + length;
}

uint64_t store_writer_append(struct journal *journal, const uint8_t *batch, size_t length)
{
    struct local_journal *store = (struct local_journal *)journal;
    size_t archive_at, bytes = BATCH_PREFIX_BYTES + length;
    ensure(length <= BATCH_BYTES_MAX && store_batch_is_well_formed(batch, length, &archive_at));

    pthread_mutex_lock(&store->mutex);
    ensure(store->recovered && !store->writer_ends);
    /* A batch that is larger than the whole queue goes alone. */
    while (store->waiting_bytes > 0 && store->waiting_bytes + bytes > store->queue_bytes_max)
        pthread_cond_wait(&store->writer_done, &store->mutex);
    queue_put(store, batch, length, archive_at);
    uint64_t sequence = store->appended;
    store_recent_add(store, sequence, batch + archive_at, length - archive_at);
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

/* Swaps the queues: `turn`, which is empty, gathers from now on. Returns false when the journal closes and
 * nothing is left to write. */
static bool turn_take(struct local_journal *store, struct queue *turn)
{
    pthread_mutex_lock(&store->mutex);
    while (store->queue.batches == 0 && !store->writer_ends)
        pthread_cond_wait(&store->writer_wake, &store->mutex);
    struct queue taken = store->queue;
    store->queue = *turn;
    *turn = taken;
    pthread_mutex_unlock(&store->mutex);
    return turn->batches > 0;
}

/* Returns how long the write and its fsync took. */
static uint64_t turn_write(const struct local_journal *store, const struct queue *turn)
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

static void turn_finish(struct local_journal *store, struct queue *turn, uint64_t write_us)
{
    pthread_mutex_lock(&store->mutex);
    uint64_t durable = atomic_load(&store->durable) + turn->batches;
    ensure(durable <= store->appended && turn->bytes <= store->waiting_bytes);
    atomic_store_explicit(&store->durable, durable, memory_order_release);
    store->waiting_bytes -= turn->bytes;
    store->journal_bytes += turn->bytes;
    store->figures.batches += turn->batches;
    store->figures.bytes += turn->bytes - turn->batches * BATCH_PREFIX_BYTES;
    store->figures.syncs++;
    store->figures.sync_us_total += write_us;
    if (write_us > store->figures.sync_us_max)
        store->figures.sync_us_max = write_us;
    pthread_cond_broadcast(&store->writer_done);
    if (store->journal_bytes >= store->checkpoint_bytes)
        pthread_cond_signal(&store->folding_wake);
    pthread_mutex_unlock(&store->mutex);
    wake(store);
    rocksdb_writebatch_clear(turn->write);
    turn->batches = turn->bytes = 0;
}

void *store_writer_run(void *argument)
{
    struct local_journal *store = argument;
    struct queue turn = {.write = rocksdb_writebatch_create()};
    while (turn_take(store, &turn))
        turn_finish(store, &turn, turn_write(store, &turn));
    rocksdb_writebatch_destroy(turn.write);
    return NULL;
}
