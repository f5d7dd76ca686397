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
#include <string.h>

#include "base/amount.h"

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

/* Multiplies to 128 bits and folds: the mixing step of wyhash (https://github.com/wangyi-fudan/wyhash, public
 * domain), whose constants these are too. */
static inline uint64_t index_mix(uint64_t a, uint64_t b)
{
    unsigned_wide product = (unsigned_wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A hash of any bytes. */
static inline uint64_t index_hash(uint64_t seed, const void *key, size_t length)
{
    const uint8_t *at = key;
    uint64_t hash = index_mix(seed ^ 0xa0761d6478bd642fu, length ^ 0xe7037ed1a0b428dbu);
    for (size_t left = length; left > 0;) {
        uint64_t words[2] = {0};
        size_t taken = left < sizeof(words) ? left : sizeof(words);
        memcpy(words, at, taken);
        hash = index_mix(words[0] ^ hash ^ 0x8ebc6af09c88c6e3u, words[1] ^ seed ^ 0x589965cc75374cc3u) ^ hash;
        at += taken;
        left -= taken;
    }
    return index_mix(hash, 0x1d8e4e27c47d124fu ^ seed);
}

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

/* Before a look for this hash that comes soon, so that memory is waited for but once where there are many: the slot;
 * some time later, with the slot there, what a look would be shown first. */
static inline void index_prefetch(const struct index *index, uint64_t hash)
{
    if (index->capacity > 0)
        __builtin_prefetch(&index->slots[(size_t)hash & (index->capacity - 1)]);
}
static inline const void *index_peek(const struct index *index, uint64_t hash)
{
    if (index->capacity == 0)
        return NULL;
    const struct index_slot *slot = &index->slots[(size_t)hash & (index->capacity - 1)];
    return slot->hash == hash ? slot->item : NULL;
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
