#include "channel/lock_set.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "crypto/lock.h"

/* The tree is kept as 32 blocks of 32 places under a top of 32 blocks, so that a stream with few locks takes
 * a few KiB instead of the 64 KiB of a whole tree. Both levels are heaps: node 1 is the root, node i has the
 * children 2i and 2i + 1, the leaves are 32..63. Bit i of `stale` says that node i must be computed anew; the
 * parent of a stale node is stale. A block that is empty is freed when the root is next computed. */
#define BLOCK_BITS  5
#define BLOCK_COUNT (1u << BLOCK_BITS)
#define HEAP_NODES  (2 * BLOCK_COUNT)

_Static_assert(2 * BLOCK_BITS == LOCK_TREE_DEPTH, "two levels of blocks make the tree");

/* Entries are linked in the order of their ids. */
struct entry {
    struct pending_lock pending; /* first: a pending lock's address is its entry's */
    struct entry *before, *after;
};

struct heap {
    struct hash nodes[HEAP_NODES];
    uint64_t stale;
};

struct block {
    struct heap heap;
    struct entry *entries[BLOCK_COUNT];
    unsigned count;
};

struct lock_set {
    struct heap top;
    struct block *blocks[BLOCK_COUNT];
    struct entry *first, *last;
    size_t count;
};

static unsigned place_of(uint64_t id)
{
    return (unsigned)(id % LOCKS_PER_STREAM_MAX);
}

static void heap_mark(struct heap *heap, unsigned leaf)
{
    for (unsigned node = BLOCK_COUNT + leaf; node > 0; node /= 2)
        heap->stale |= (uint64_t)1 << node;
}

/* Computes the stale inner nodes, children first. */
static void heap_refresh(struct heap *heap)
{
    for (unsigned node = BLOCK_COUNT - 1; node > 0; node--)
        if (heap->stale >> node & 1)
            heap->nodes[node] = merkle_node(&heap->nodes[2 * node], &heap->nodes[2 * node + 1]);
    heap->stale = 0;
}

struct lock_set *lock_set_new(void)
{
    return xcalloc(1, sizeof(struct lock_set));
}

void lock_set_free(struct lock_set *set)
{
    if (set == NULL)
        return;
    for (struct entry *entry = set->first, *next; entry != NULL; entry = next) {
        next = entry->after;
        free(entry);
    }
    for (unsigned i = 0; i < BLOCK_COUNT; i++)
        free(set->blocks[i]);
    free(set);
}

size_t lock_set_count(const struct lock_set *set)
{
    return set == NULL ? 0 : set->count;
}

static struct entry *entry_at(const struct lock_set *set, unsigned place)
{
    ensure(place < LOCKS_PER_STREAM_MAX);
    const struct block *block = set == NULL ? NULL : set->blocks[place / BLOCK_COUNT];
    return block == NULL ? NULL : block->entries[place % BLOCK_COUNT];
}

/* New ids are the highest, so the search from the end is short, but when locks are read back from disk. */
static void entry_link(struct lock_set *set, struct entry *entry)
{
    struct entry *before = set->last;
    while (before != NULL && before->pending.lock.id > entry->pending.lock.id)
        before = before->before;
    entry->before = before;
    entry->after = before == NULL ? set->first : before->after;
    *(before == NULL ? &set->first : &before->after) = entry;
    *(entry->after == NULL ? &set->last : &entry->after->before) = entry;
}

static void entry_unlink(struct lock_set *set, struct entry *entry)
{
    *(entry->before == NULL ? &set->first : &entry->before->after) = entry->after;
    *(entry->after == NULL ? &set->last : &entry->after->before) = entry->before;
}

bool lock_set_add(struct lock_set *set, const struct pending_lock *pending)
{
    unsigned place = place_of(pending->lock.id);
    if (entry_at(set, place) != NULL)
        return false;
    struct block **block = &set->blocks[place / BLOCK_COUNT];
    if (*block == NULL)
        *block = xcalloc(1, sizeof(**block));
    struct entry *entry = xmalloc(sizeof(*entry));
    entry->pending = *pending;
    entry_link(set, entry);
    (*block)->entries[place % BLOCK_COUNT] = entry;
    (*block)->count++;
    set->count++;
    heap_mark(&(*block)->heap, place % BLOCK_COUNT);
    heap_mark(&set->top, place / BLOCK_COUNT);
    return true;
}

bool lock_set_remove(struct lock_set *set, uint64_t id)
{
    struct entry *entry = entry_at(set, place_of(id));
    if (entry == NULL || entry->pending.lock.id != id)
        return false;
    unsigned place = place_of(id);
    struct block *block = set->blocks[place / BLOCK_COUNT];
    entry_unlink(set, entry);
    free(entry);
    block->entries[place % BLOCK_COUNT] = NULL;
    block->count--;
    set->count--;
    heap_mark(&block->heap, place % BLOCK_COUNT);
    heap_mark(&set->top, place / BLOCK_COUNT);
    return true;
}

struct pending_lock *lock_set_find(const struct lock_set *set, uint64_t id)
{
    struct entry *entry = entry_at(set, place_of(id));
    return entry == NULL || entry->pending.lock.id != id ? NULL : &entry->pending;
}

struct pending_lock *lock_set_at(const struct lock_set *set, unsigned place)
{
    struct entry *entry = entry_at(set, place);
    return entry == NULL ? NULL : &entry->pending;
}

struct pending_lock *lock_set_next(const struct lock_set *set, uint64_t after)
{
    if (set == NULL)
        return NULL;
    struct entry *entry = entry_at(set, place_of(after));
    if (entry != NULL && entry->pending.lock.id == after)
        entry = entry->after;
    else
        for (entry = set->first; entry != NULL && entry->pending.lock.id <= after;)
            entry = entry->after;
    return entry == NULL ? NULL : &entry->pending;
}

static void block_refresh(struct block *block)
{
    for (unsigned i = 0; i < BLOCK_COUNT; i++) {
        if (!(block->heap.stale >> (BLOCK_COUNT + i) & 1))
            continue;
        const struct entry *entry = block->entries[i];
        block->heap.nodes[BLOCK_COUNT + i] = entry == NULL ? HASH_ZERO : lock_leaf(&entry->pending.lock);
    }
    heap_refresh(&block->heap);
}

struct hash lock_set_root(struct lock_set *set)
{
    if (set == NULL)
        return HASH_ZERO;
    if (set->top.stale == 0)
        return set->top.nodes[1];
    for (unsigned i = 0; i < BLOCK_COUNT; i++) {
        if (!(set->top.stale >> (BLOCK_COUNT + i) & 1))
            continue;
        struct block *block = set->blocks[i];
        if (block->count > 0) {
            block_refresh(block);
            set->top.nodes[BLOCK_COUNT + i] = block->heap.nodes[1];
        } else {
            free(block);
            set->blocks[i] = NULL;
            set->top.nodes[BLOCK_COUNT + i] = HASH_ZERO;
        }
    }
    heap_refresh(&set->top);
    return set->top.nodes[1];
}

/* Appends the siblings on the way from a leaf to the root; empty ones are no part of a proof. */
static void heap_prove(const struct heap *heap, unsigned leaf, struct hash *proof, size_t *length)
{
    for (unsigned node = BLOCK_COUNT + leaf; node > 1; node /= 2)
        if (!hash_is_zero(&heap->nodes[node ^ 1]))
            proof[(*length)++] = heap->nodes[node ^ 1];
}

bool lock_set_prove(struct lock_set *set, uint64_t id, struct hash proof[LOCK_TREE_DEPTH], size_t *length)
{
    if (lock_set_find(set, id) == NULL)
        return false;
    lock_set_root(set);
    unsigned place = place_of(id);
    *length = 0;
    heap_prove(&set->blocks[place / BLOCK_COUNT]->heap, place % BLOCK_COUNT, proof, length);
    heap_prove(&set->top, place / BLOCK_COUNT, proof, length);
    return true;
}

uint64_t lock_set_next_id(const struct lock_set *set, uint64_t last)
{
    for (unsigned i = 0; i < LOCKS_PER_STREAM_MAX && last < UINT64_MAX; i++)
        if (entry_at(set, place_of(++last)) == NULL)
            return last;
    return 0;
}
