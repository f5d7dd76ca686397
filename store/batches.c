/* The batches in memory: from their append until they are durable; with an archive, whose records must be found at once
 * (find.c), until they are folded. So the folding need not read them back.
 *
 *     first … durable, not folded … unwritten … last
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

struct batch *store_batch_new(const uint8_t *bytes, size_t length, size_t archive_at)
{
    struct batch *batch = xmalloc(sizeof *batch + length);
    *batch = (struct batch){.length = length, .archive_at = archive_at};
    memcpy(batch->bytes, bytes, length);
    return batch;
}

void store_batches_add(struct batches *batches, struct batch *batch)
{
    if (batches->last == NULL)
        batches->first = batch;
    else
        batches->last->next = batch;
    batches->last = batch;
}

static void free_all(struct batch *batch)
{
    while (batch != NULL) {
        struct batch *next = batch->next;
        free(batch);
        batch = next;
    }
}

void store_batches_let_go(struct local_journal *store, uint64_t sequence)
{
    pthread_mutex_lock(&store->mutex);
    struct batch *first = store->batches.first;
    if (first == NULL || first->sequence > sequence) {
        pthread_mutex_unlock(&store->mutex);
        return;
    }
    pthread_mutex_unlock(&store->mutex);
    /* What comes before `sequence` is durable: nothing changes there. */
    struct batch *last = first;
    while (last->sequence < sequence)
        last = last->next;
    pthread_mutex_lock(&store->mutex);
    store->batches.first = last->next;
    if (last->next == NULL)
        store->batches.last = NULL;
    pthread_mutex_unlock(&store->mutex);
    last->next = NULL;
    free_all(first);
}

void store_batches_free(struct local_journal *store)
{
    free_all(store->batches.first);
    store->batches = (struct batches){0};
}
