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

/* The stale nodes of one level, `first` to 2 * first - 1: so many joins are added. */
static size_t heap_joins(struct heap *heap, unsigned first, struct merkle_join *joins)
{
    size_t count = 0;
    for (unsigned node = first; node < 2 * first; node++)
        if (heap->stale >> node & 1)
            joins[count++] = (struct merkle_join){&heap->nodes[2 * node], &heap->nodes[node]};
    return count;
}

/* Computes the stale inner nodes of some heaps, children first: a level of all of them is hashed side by side. */
static void heaps_refresh(struct heap *const *heaps, size_t count)
{
    struct merkle_join joins[BLOCK_COUNT * BLOCK_COUNT / 2];
    ensure(count <= BLOCK_COUNT);
    for (unsigned first = BLOCK_COUNT / 2; first > 0; first /= 2) {
        size_t stale = 0;
        for (size_t i = 0; i < count; i++)
            stale += heap_joins(heaps[i], first, joins + stale);
        merkle_nodes(joins, stale);
    }
    for (size_t i = 0; i < count; i++)
        heaps[i]->stale = 0;
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

/* So many stale leaves of the block are added that are to be computed: a place that became empty is zero. */
static size_t block_leaves(struct block *block, const struct lock **locks, struct hash **leaves)
{
    size_t count = 0;
    for (unsigned i = 0; i < BLOCK_COUNT; i++) {
        struct hash *leaf = &block->heap.nodes[BLOCK_COUNT + i];
        if (!(block->heap.stale >> (BLOCK_COUNT + i) & 1))
            continue;
        if (block->entries[i] == NULL) {
            *leaf = HASH_ZERO;
            continue;
        }
        locks[count] = &block->entries[i]->pending.lock;
        leaves[count++] = leaf;
    }
    return count;
}

static void blocks_refresh(struct block *const *blocks, size_t count)
{
    const struct lock *locks[LOCKS_PER_STREAM_MAX];
    struct hash *leaves[LOCKS_PER_STREAM_MAX];
    struct heap *heaps[BLOCK_COUNT];
    size_t stale = 0;
    for (size_t i = 0; i < count; i++) {
        stale += block_leaves(blocks[i], locks + stale, leaves + stale);
        heaps[i] = &blocks[i]->heap;
    }
    lock_leaves(locks, stale, leaves);
    heaps_refresh(heaps, count);
}

struct hash lock_set_root(struct lock_set *set)
{
    if (set == NULL)
        return HASH_ZERO;
    if (set->top.stale == 0)
        return set->top.nodes[1];
    struct block *blocks[BLOCK_COUNT];
    struct hash *roots[BLOCK_COUNT];
    size_t count = 0;
    for (unsigned i = 0; i < BLOCK_COUNT; i++) {
        if (!(set->top.stale >> (BLOCK_COUNT + i) & 1))
            continue;
        if (set->blocks[i]->count > 0) {
            blocks[count] = set->blocks[i];
            roots[count++] = &set->top.nodes[BLOCK_COUNT + i];
        } else {
            free(set->blocks[i]);
            set->blocks[i] = NULL;
            set->top.nodes[BLOCK_COUNT + i] = HASH_ZERO;
        }
    }
    blocks_refresh(blocks, count);
    for (size_t i = 0; i < count; i++)
        *roots[i] = blocks[i]->heap.nodes[1];
    heaps_refresh((struct heap *[]){&set->top}, 1);
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
