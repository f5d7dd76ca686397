#include "base/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define CAPACITY_MIN 64

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
    index->slots = xtable(index->capacity * sizeof(*index->slots));
    memset(index->slots, 0, index->capacity * sizeof(*index->slots));
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
