/* A slab: things of one size that come and go, without a malloc for each. What was given back is given out again
 * first; memory goes back to the system only with the whole slab. Under AddressSanitizer what was given back is
 * poisoned, as freed memory is. */
#ifndef RILL_BASE_SLAB_H
#define RILL_BASE_SLAB_H

#include <stddef.h>

struct slab_chunk;

/* Set item_size, and alignment if items are to be aligned better than pointers are (a power of two up to 64); all else
 * zero. */
struct slab {
    size_t item_size, alignment;
    void *given_back;
    struct slab_chunk *chunks;
    size_t used; /* of the first chunk: so many of its items were given out once */
};

/* Zeroed. */
void *slab_take(struct slab *slab);
/* NULL is allowed. */
void slab_give(struct slab *slab, void *item);
/* Every item taken is gone with it. */
void slab_free(struct slab *slab);

#endif
