/* An index: finds things by a 64-bit hash of their key. What the things are, and whether a key is really equal, is
 * the caller's:
 *
 *     for (struct index_walk walk = index_walk(index, hash); (item = index_next(index, &walk)) != NULL;)
 *         if (key_equal(item, key)) …
 *
 * Open addressing with linear probing; removal moves what follows back (Knuth, The Art of Computer Programming,
 * volume 3, 6.4, algorithm R), so that there are no tombstones and a look for what is not there ends at the first
 * gap. 16 bytes a slot, at most three quarters full: a look costs one cache miss, where uthash's chains through the
 * things themselves cost several (docs/by-hand.md).
 *
 * Hash with index_hash and a seed that peers do not know, or one of them can make all keys collide.
 */
#ifndef RILL_BASE_INDEX_H
#define RILL_BASE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_slot {
    uint64_t hash;
    void *item; /* NULL: empty */
};

/* All zero: empty. Not to be copied; index_free gives its memory back. */
struct index {
    struct index_slot *slots;
    size_t count, capacity; /* capacity: 0 or a power of two */
};

struct index_walk {
    uint64_t hash;
    size_t at;
};

/* A hash of any bytes. */
uint64_t index_hash(uint64_t seed, const void *key, size_t length);

/* The item is in it once more; equal hashes are allowed. NULL is no item. */
void index_add(struct index *index, uint64_t hash, void *item);
/* It must be there. */
void index_remove(struct index *index, uint64_t hash, const void *item);
void index_free(struct index *index);

static inline struct index_walk index_walk(const struct index *index, uint64_t hash)
{
    return (struct index_walk){hash, index->capacity == 0 ? 0 : (size_t)hash & (index->capacity - 1)};
}

/* The next item of this hash, NULL at the end. */
static inline void *index_next(const struct index *index, struct index_walk *walk)
{
    if (index->capacity == 0)
        return NULL;
    for (;;) {
        const struct index_slot *slot = &index->slots[walk->at];
        if (slot->item == NULL)
            return NULL;
        walk->at = (walk->at + 1) & (index->capacity - 1);
        if (slot->hash == walk->hash)
            return slot->item;
    }
}

/* All items, in no order that means anything: *at is 0 at first. NULL at the end. Nothing may be added or removed
 * meanwhile. */
static inline void *index_each(const struct index *index, size_t *at)
{
    while (*at < index->capacity)
        if (index->slots[(*at)++].item != NULL)
            return index->slots[*at - 1].item;
    return NULL;
}

#endif
