/* The batches in memory: from their append until they are durable; with an archive, whose records must be found at once
 * (find.c), until they are folded. So the folding need not read them back.
 *
 *     first … durable, not folded … unwritten … last
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

#define ARENA_BYTES       ((size_t)8 << 20) /* where many stay for long */
#define ARENA_BYTES_SMALL ((size_t)64 << 10)

/* Holds batches one after another, and goes with the last of them. */
struct arena {
    struct arena *next; /* among the spare ones */
    size_t used, size;
    uint64_t batches;
    max_align_t bytes[];
};

static size_t usual_size(const struct local_journal *store)
{
    return (store_keeps_batches(store) ? ARENA_BYTES : ARENA_BYTES_SMALL) - sizeof(struct arena);
}

static struct arena *arena_new(struct local_journal *store, size_t least)
{
    size_t size = usual_size(store);
    struct arena *arena = store->batches.spare;
    if (arena != NULL && least <= size) {
        store->batches.spare = arena->next;
        store->batches.spare_count--;
    } else {
        size = least > size ? least : size;
        arena = xtable(sizeof *arena + size);
    }
    arena->used = arena->batches = 0;
    arena->size = size;
    return arena;
}

/* Memory that is there costs the next batches no pages of zeros; as much as a folding begins with is kept. */
static void arena_free(struct local_journal *store, struct arena *arena)
{
    if (arena->size != usual_size(store) ||
        store->batches.spare_count >= store->checkpoint_bytes / ARENA_BYTES) {
        free(arena);
        return;
    }
    arena->next = store->batches.spare;
    store->batches.spare = arena;
    store->batches.spare_count++;
}

static struct batch *take(struct local_journal *store, size_t length)
{
    size_t size = (sizeof(struct batch) + length + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    struct arena *arena = store->batches.arena;
    if (arena != NULL && arena->batches == 0)
        arena->used = 0;
    if (arena == NULL || arena->size - arena->used < size) {
        if (arena != NULL && arena->batches == 0)
            arena_free(store, arena);
        arena = store->batches.arena = arena_new(store, size);
    }
    struct batch *batch = (void *)((uint8_t *)arena->bytes + arena->used);
    arena->used += size;
    arena->batches++;
    batch->arena = arena;
    return batch;
}

struct batch *store_batches_add(struct local_journal *store, uint64_t sequence, const uint8_t *bytes,
                                size_t length, size_t archive_at)
{
    struct batch *batch = take(store, length);
    batch->next = NULL;
    batch->sequence = sequence;
    batch->length = length;
    batch->archive_at = archive_at;
    memcpy(batch->bytes, bytes, length);
    if (store->batches.last == NULL)
        store->batches.first = batch;
    else
        store->batches.last->next = batch;
    store->batches.last = batch;
    return batch;
}

/* Takes the first one out. */
static void drop(struct local_journal *store)
{
    struct batches *batches = &store->batches;
    struct batch *batch = batches->first;
    struct arena *arena = batch->arena;
    batches->first = batch->next;
    if (batches->first == NULL)
        batches->last = NULL;
    if (--arena->batches == 0 && arena != batches->arena)
        arena_free(store, arena);
}

void store_batches_let_go(struct local_journal *store, uint64_t sequence)
{
    pthread_mutex_lock(&store->mutex);
    while (store->batches.first != NULL && store->batches.first->sequence <= sequence)
        drop(store);
    pthread_mutex_unlock(&store->mutex);
}

void store_batches_free(struct local_journal *store)
{
    while (store->batches.first != NULL)
        drop(store);
    free(store->batches.arena);
    while (store->batches.spare != NULL) {
        struct arena *arena = store->batches.spare;
        store->batches.spare = arena->next;
        free(arena);
    }
    store->batches = (struct batches){0};
}
