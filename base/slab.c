#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define CHUNK_ITEMS 64

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address))
#endif

struct slab_chunk {
    struct slab_chunk *next;
    void *items[]; /* for its alignment */
};

static size_t step(const struct slab *slab)
{
    size_t size = slab->item_size < sizeof(void *) ? sizeof(void *) : slab->item_size;
    return (size + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
}

void *slab_take(struct slab *slab)
{
    void *item = slab->given_back;
    if (item != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(item, step(slab));
        memcpy(&slab->given_back, item, sizeof(slab->given_back)); /* its first bytes are the next one */
        memset(item, 0, slab->item_size);
        return item;
    }
    if (slab->chunks == NULL || slab->used == CHUNK_ITEMS) {
        struct slab_chunk *chunk = xcalloc(1, sizeof(*chunk) + CHUNK_ITEMS * step(slab));
        chunk->next = slab->chunks;
        slab->chunks = chunk;
        slab->used = 0;
    }
    return (unsigned char *)slab->chunks->items + step(slab) * slab->used++;
}

void slab_give(struct slab *slab, void *item)
{
    if (item == NULL)
        return;
    memcpy(item, &slab->given_back, sizeof(slab->given_back));
    ASAN_POISON_MEMORY_REGION(item, step(slab));
    slab->given_back = item;
}

void slab_free(struct slab *slab)
{
    while (slab->chunks != NULL) {
        struct slab_chunk *chunk = slab->chunks;
        slab->chunks = chunk->next;
        ASAN_UNPOISON_MEMORY_REGION(chunk->items, CHUNK_ITEMS * step(slab));
        free(chunk);
    }
    slab->given_back = NULL;
    slab->used = 0;
}
