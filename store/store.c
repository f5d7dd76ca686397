#include "store/store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/ensure.h"
#include "store/local.h"

#define TIDY_BYTES_MIN ((uint64_t)1 << 20) /* less is not worth a close's time */

enum store_error store_refuse(const struct refusal *refusal, enum store_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->message, refusal->size, format, arguments);
    va_end(arguments);
    for (char *at = refusal->message; refusal->size > 0 && *at != '\0'; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' '; /* one line, whatever RocksDB said */
    return error;
}

static int local_wake_descriptor(const struct journal *journal)
{
    return ((const struct local_journal *)journal)->wake_descriptor;
}

static void threads_start(struct local_journal *store)
{
    ensure(pthread_create(&store->writer, NULL, store_writer_run, store) == 0);
    ensure(pthread_create(&store->folding, NULL, store_folding_run, store) == 0);
    ensure(pthread_create(&store->known.thread, NULL, store_known_run, store) == 0);
    (void)pthread_setname_np(store->writer, "rill-journal"); /* for top and perf */
    (void)pthread_setname_np(store->folding, "rill-folding");
    (void)pthread_setname_np(store->known.thread, "rill-known");
    store->threads_run = true;
}

static void threads_stop(struct local_journal *store)
{
    pthread_mutex_lock(&store->mutex);
    atomic_store(&store->folding_ends, true);
    pthread_cond_signal(&store->folding_wake);
    store->writer_ends = true;
    pthread_cond_signal(&store->writer_wake);
    pthread_mutex_unlock(&store->mutex);
    store_known_stop(store);
    pthread_join(store->known.thread, NULL);
    pthread_join(store->folding, NULL);
    pthread_join(store->writer, NULL);
    ensure(atomic_load(&store->durable) == store->appended && store->unwritten == NULL);
}

/* What a start would have to read through is folded now, and the WAL let go: after a clean stop a start takes no longer
 * for all that was written. Everything is durable already, so a flush that fails does no harm. */
static void leave_tidy(struct local_journal *store)
{
    uint64_t durable = atomic_load(&store->durable);
    if (!store->recovered || store->journal_bytes < TIDY_BYTES_MIN || durable == store->checkpoint)
        return;
    store_checkpoint_fold(store, durable);
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    for (enum family family = 0; family < FAMILY_COUNT; family++) {
        char *error = NULL;
        rocksdb_flush_cf(store->database, options, store->families[family], &error);
        rocksdb_free(error);
    }
    rocksdb_flushoptions_destroy(options);
}

static void local_close(struct journal *journal)
{
    struct local_journal *store = (struct local_journal *)journal;
    if (store->threads_run) {
        threads_stop(store);
        leave_tidy(store);
    }
    store_known_close(store);
    store_database_close(store);
    if (store->wake_descriptor >= 0)
        close(store->wake_descriptor);
    if (store->lock_descriptor >= 0)
        close(store->lock_descriptor); /* last: now another process may open it */
    pthread_cond_destroy(&store->folding_wake);
    pthread_cond_destroy(&store->writer_done);
    pthread_cond_destroy(&store->writer_wake);
    pthread_mutex_destroy(&store->mutex);
    store_recent_free(store);
    store_batches_free(store);
    pthread_mutex_destroy(&store->recent_mutex);
    pthread_mutex_destroy(&store->known.mutex);
    free(store->path);
    free(store);
}

static const struct journal_operations local_operations = {
    .recover = store_recover_replay,
    .append = store_writer_append,
    .durable = store_writer_durable,
    .wake_descriptor = local_wake_descriptor,
    .wait = store_writer_wait,
    .archive_read = store_archive_read,
    .find = store_find,
    .have = store_have,
    .close = local_close,
};

static struct local_journal *local_make(const struct store_options *options)
{
    struct local_journal *store = xcalloc(1, sizeof *store);
    store->journal.operations = &local_operations;
    store->path = xstrdup(options->path);
    store->lock_descriptor = -1;
    store->wake_descriptor = -1;
    store->checkpoint_bytes =
        options->checkpoint_bytes == 0 ? CHECKPOINT_BYTES_DEFAULT : options->checkpoint_bytes;
    store->queue_bytes_max = options->queue_bytes_max == 0 ? QUEUE_BYTES_DEFAULT : options->queue_bytes_max;
    store->archive_days = options->archive_days;
    ensure(getrandom(&store->seed, sizeof store->seed, 0) == sizeof store->seed);
    ensure(pthread_mutex_init(&store->mutex, NULL) == 0 &&
           pthread_mutex_init(&store->recent_mutex, NULL) == 0 &&
           pthread_mutex_init(&store->known.mutex, NULL) == 0 &&
           pthread_cond_init(&store->writer_wake, NULL) == 0 &&
           pthread_cond_init(&store->writer_done, NULL) == 0 &&
           pthread_cond_init(&store->folding_wake, NULL) == 0);
    return store;
}

static enum store_error local_open(struct local_journal *store, const struct store_options *options,
                                   const struct refusal *refusal)
{
    bool exists = false;
    enum store_error result = store_folder_make(store->path, refusal);
    if (result == STORE_OK)
        result = store_folder_judge(store->path, &exists, refusal); /* before the lock file would litter it */
    if (result == STORE_OK)
        result = store_folder_lock(store->path, &store->lock_descriptor, refusal);
    if (result == STORE_OK)
        result = store_folder_judge(store->path, &exists, refusal); /* now nobody else changes it */
    if (result == STORE_OK)
        result = store_database_open(store, exists, refusal);
    if (result == STORE_OK)
        result = store_header_open(store, options, refusal);
    if (result == STORE_OK) {
        store_known_open(store);
        result = store_recover_check(store, refusal);
    }
    if (result != STORE_OK)
        return result;
    store->wake_descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (store->wake_descriptor < 0)
        return store_refuse(refusal, STORE_UNWRITABLE,
                            "%s: cannot make an event descriptor: %s; allow more open files", store->path,
                            strerror(errno));
    threads_start(store);
    /* A crash cut a folding short: finished now, so that the replay shows the state after whole batches only.
     */
    if (store->checkpoint_target > store->checkpoint)
        store_checkpoint_fold(store, store->checkpoint_target);
    return STORE_OK;
}

enum store_error store_open(const struct store_options *options, struct journal **out, char *message,
                            size_t message_size)
{
    ensure(options->path != NULL && options->path[0] != '\0' && options->application != NULL);
    struct refusal refusal = {message, message_size};
    struct local_journal *store = local_make(options);
    enum store_error result = local_open(store, options, &refusal);
    *out = NULL;
    if (result == STORE_OK)
        *out = &store->journal;
    else
        local_close(&store->journal);
    return result;
}

struct store_figures store_figures(const struct journal *journal)
{
    ensure(journal->operations == &local_operations);
    struct local_journal *store = (struct local_journal *)journal; /* for its mutex */
    pthread_mutex_lock(&store->mutex);
    struct store_figures figures = store->figures;
    figures.unfolded_bytes = store->journal_bytes;
    figures.index_looks = atomic_load_explicit(&store->index_looks, memory_order_relaxed);
    pthread_mutex_unlock(&store->mutex);
    store_archive_figures(store, &figures);
    return figures;
}
