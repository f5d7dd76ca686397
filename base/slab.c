#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/prefetch.h"

#define CHUNK_ITEMS 64 /* of the first chunk */

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
    size_t bytes; /* with this head; the items follow */
};

static size_t round_up(const struct slab *slab, size_t size)
{
    size_t alignment = slab->alignment > sizeof(void *) ? slab->alignment : sizeof(void *);
    return (size + alignment - 1) / alignment * alignment;
}

static size_t step(const struct slab *slab)
{
    size_t size = slab->item_size < sizeof(void *) ? sizeof(void *) : slab->item_size;
    return round_up(slab, size);
}

static size_t head(const struct slab *slab)
{
    return round_up(slab, sizeof(struct slab_chunk));
}

static size_t items_in(const struct slab *slab, const struct slab_chunk *chunk)
{
    return (chunk->bytes - head(slab)) / step(slab);
}

/* Twice as large as the one before, until it fills a huge page: few things take little memory, and many are found
 * through few pages. */
static void chunk_add(struct slab *slab)
{
    size_t bytes = slab->chunks == NULL ? head(slab) + CHUNK_ITEMS * step(slab) : 2 * slab->chunks->bytes;
    if (bytes > HUGE_PAGE_BYTES)
        bytes = HUGE_PAGE_BYTES;
    struct slab_chunk *chunk = xtable(bytes);
    *chunk = (struct slab_chunk){slab->chunks, bytes};
    slab->chunks = chunk;
    slab->used = 0;
}

static unsigned char *items_of(const struct slab *slab, struct slab_chunk *chunk)
{
    return (unsigned char *)chunk + head(slab);
}

/* What is given out next: it was let go of long ago, or it would not be the next one, and its memory is not at hand. */
static void expect_next(const struct slab *slab)
{
    if (slab->given_back != NULL)
        prefetch_lines(slab->given_back, slab->item_size);
}

void *slab_take(struct slab *slab)
{
    void *item = slab->given_back;
    if (item != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(item, step(slab));
        memcpy(&slab->given_back, item, sizeof(slab->given_back)); /* its first bytes are the next one */
        memset(item, 0, slab->item_size);
        expect_next(slab);
        return item;
    }
    if (slab->chunks == NULL || slab->used == items_in(slab, slab->chunks))
        chunk_add(slab);
    return memset(items_of(slab, slab->chunks) + step(slab) * slab->used++, 0, slab->item_size);
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
        ASAN_UNPOISON_MEMORY_REGION(items_of(slab, chunk), items_in(slab, chunk) * step(slab));
        free(chunk);
    }
    slab->given_back = NULL;
    slab->used = 0;
}
