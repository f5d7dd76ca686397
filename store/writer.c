/* The writer: one thread, and the only one that writes to RocksDB while the journal is open.
 *
 *     append ──▶ queue ──turn_take──▶ one RocksDB write, one fsync ──turn_finish──▶ durable rises
 *                                                                                   (wakes whoever waits)
 *
 * A turn takes everything that was queued since the last one, and a slice of folding if one is ready: so
 * folding costs no fsync of its own while appends come in, and an append waits for at most one slice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "store/local.h"

struct turn {
    struct queue queue;
    rocksdb_writebatch_t *slice; /* NULL: none ready */
};

_Noreturn void store_fatal(const struct local_journal *store, const char *what, const char *error)
{
    log_error(
        "journal %s: %s: %s; stopping, so that nothing goes on ahead of the disk: make the disk usable, then "
        "start again from what is durable (sequence %llu)",
        store->path, what, error, (unsigned long long)atomic_load(&store->durable));
    _exit(STORE_EXIT_FATAL);
}

static struct pending *pending_make(uint64_t epoch, const uint8_t *batch, size_t length)
{
    struct pending *pending = xmalloc(sizeof *pending + BATCH_PREFIX_BYTES + length);
    pending->next = NULL;
    pending->length = BATCH_PREFIX_BYTES + length;
    pending->value[0] = BATCH_VERSION;
    store_be64(pending->value + 1, epoch);
    memcpy(pending->value + BATCH_PREFIX_BYTES, batch, length);
    return pending;
}

uint64_t store_writer_append(struct journal *journal, const uint8_t *batch, size_t length)
{
    struct local_journal *store = (struct local_journal *)journal;
    ensure(length <= BATCH_BYTES_MAX && store_batch_is_well_formed(batch, length));
    struct pending *pending = pending_make(store->epoch, batch, length);

    pthread_mutex_lock(&store->mutex);
    ensure(store->recovered && !store->writer_ends);
    /* A batch that is larger than the whole queue goes alone. */
    while (store->waiting_bytes > 0 && store->waiting_bytes + pending->length > store->queue_bytes_max)
        pthread_cond_wait(&store->writer_done, &store->mutex);
    *store->queue.end = pending;
    store->queue.end = &pending->next;
    store->queue.batches++;
    store->queue.bytes += pending->length;
    store->waiting_bytes += pending->length;
    uint64_t sequence = ++store->appended;
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

static void queue_reset(struct queue *queue)
{
    *queue = (struct queue){.end = &queue->first};
}

/* Returns false when the journal closes and nothing is left to write. */
static bool turn_take(struct local_journal *store, struct turn *turn)
{
    pthread_mutex_lock(&store->mutex);
    while (store->queue.batches == 0 && store->slice == NULL && !store->writer_ends)
        pthread_cond_wait(&store->writer_wake, &store->mutex);
    turn->queue = store->queue;
    turn->slice = store->slice;
    queue_reset(&store->queue);
    pthread_mutex_unlock(&store->mutex);
    return turn->queue.batches > 0 || turn->slice != NULL;
}

/* Returns how long the write and its fsync took. */
static uint64_t turn_write(struct local_journal *store, const struct turn *turn, rocksdb_writebatch_t *own)
{
    rocksdb_writebatch_t *write = turn->slice != NULL ? turn->slice : own;
    uint64_t sequence = atomic_load(&store->durable);
    for (const struct pending *pending = turn->queue.first; pending != NULL; pending = pending->next) {
        uint8_t key[SEQUENCE_KEY_BYTES];
        store_be64(key, ++sequence);
        rocksdb_writebatch_put_cf(write, store->families[FAMILY_JOURNAL], (const char *)key, sizeof key,
                                  (const char *)pending->value, pending->length);
    }
    uint64_t start = clock_monotonic_us();
    char *error = NULL;
    rocksdb_write(store->database, store->synced, write, &error);
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
    uint64_t durable = atomic_load(&store->durable) + turn->queue.batches;
    ensure(durable <= store->appended && turn->queue.bytes <= store->waiting_bytes);
    atomic_store_explicit(&store->durable, durable, memory_order_release);
    store->waiting_bytes -= turn->queue.bytes;
    store->journal_bytes += turn->queue.bytes;
    store->last_write_bytes = turn->queue.bytes;
    if (turn->slice != NULL)
        store->slice = NULL;
    store->figures.batches += turn->queue.batches;
    store->figures.bytes += turn->queue.bytes - turn->queue.batches * BATCH_PREFIX_BYTES;
    store->figures.syncs++;
    store->figures.sync_us_total += write_us;
    if (write_us > store->figures.sync_us_max)
        store->figures.sync_us_max = write_us;
    pthread_cond_broadcast(&store->writer_done);
    if (store->journal_bytes >= store->checkpoint_bytes)
        pthread_cond_signal(&store->folding_wake);
    pthread_mutex_unlock(&store->mutex);

    if (turn->queue.batches > 0)
        wake(store);
    while (turn->queue.first != NULL) {
        struct pending *done = turn->queue.first;
        turn->queue.first = done->next;
        free(done);
    }
}

void *store_writer_run(void *argument)
{
    struct local_journal *store = argument;
    rocksdb_writebatch_t *own = rocksdb_writebatch_create();
    for (struct turn turn; turn_take(store, &turn);) {
        uint64_t write_us = turn_write(store, &turn, own);
        rocksdb_writebatch_clear(own);
        turn_finish(store, &turn, write_us);
    }
    rocksdb_writebatch_destroy(own);
    return NULL;
}
