#include "base/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/amount.h"
#include "base/ensure.h"

#define CAPACITY_MIN 64

/* Multiplies to 128 bits and folds: the mixing step of wyhash (https://github.com/wangyi-fudan/wyhash, public
 * domain), whose constants these are too. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned_wide product = (unsigned_wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t index_hash(uint64_t seed, const void *key, size_t length)
{
    const uint8_t *at = key;
    uint64_t hash = mix(seed ^ 0xa0761d6478bd642fu, length ^ 0xe7037ed1a0b428dbu);
    for (size_t left = length; left > 0;) {
        uint64_t words[2] = {0};
        size_t taken = left < sizeof(words) ? left : sizeof(words);
        memcpy(words, at, taken);
        hash = mix(words[0] ^ hash ^ 0x8ebc6af09c88c6e3u, words[1] ^ seed ^ 0x589965cc75374cc3u) ^ hash;
        at += taken;
        left -= taken;
    }
    return mix(hash, 0x1d8e4e27c47d124fu ^ seed);
}

static void put(struct index *index, uint64_t hash, void *item)
{
    size_t at = (size_t)hash & (index->capacity - 1);
    while (index->slots[at].item != NULL)
        at = (at + 1) & (index->capacity - 1);
    index->slots[at] = (struct index_slot){hash, item};
}

static void grow(struct index *index)
{
    struct index old = *index;
    index->capacity = old.capacity == 0 ? CAPACITY_MIN : 2 * old.capacity;
    index->slots = xcalloc(index->capacity, sizeof(*index->slots));
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].item != NULL)
            put(index, old.slots[i].hash, old.slots[i].item);
    free(old.slots);
}

void index_add(struct index *index, uint64_t hash, void *item)
{
    ensure(item != NULL);
    if (4 * (index->count + 1) > 3 * index->capacity)
        grow(index);
    put(index, hash, item);
    index->count++;
}

/* How far the slot's item stands behind where its hash wants it. */
static size_t distance(const struct index *index, size_t at)
{
    return (at - (size_t)index->slots[at].hash) & (index->capacity - 1);
}

void index_remove(struct index *index, uint64_t hash, const void *item)
{
    ensure(index->count > 0);
    size_t mask = index->capacity - 1, at = (size_t)hash & mask;
    while (index->slots[at].item != item || index->slots[at].hash != hash) {
        ensure(index->slots[at].item != NULL);
        at = (at + 1) & mask;
    }
    /* Whoever may stand in the gap moves there, and leaves the next gap. */
    for (size_t next = (at + 1) & mask; index->slots[next].item != NULL; next = (next + 1) & mask) {
        if (distance(index, next) >= ((next - at) & mask)) {
            index->slots[at] = index->slots[next];
            at = next;
        }
    }
    index->slots[at] = (struct index_slot){0};
    index->count--;
}

void index_free(struct index *index)
{
    free(index->slots);
    *index = (struct index){0};
}
