/* The tree is stored level by level: nodes[0] the 1,024 leaves, nodes[10][0] the root. A change marks the nodes above
 * its place; lock_set_root recomputes the marked ones, each once. */
#include "channel/lock_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/lock.h"

struct lock_set {
    struct pending_lock *place[LOCKS_PER_STREAM_MAX]; /* NULL: empty */
    struct hash nodes[2 * LOCKS_PER_STREAM_MAX - 1];  /* level 0 first */
    uint8_t stale[2 * LOCKS_PER_STREAM_MAX - 1];      /* must be recomputed */
    uint16_t changed[LOCKS_PER_STREAM_MAX];           /* places changed since the last root */
    size_t changed_count;
    size_t count;
};

/* Where a level begins in `nodes`. */
static size_t level_start(unsigned level)
{
    return 2 * LOCKS_PER_STREAM_MAX - ((size_t)2 * LOCKS_PER_STREAM_MAX >> level);
}

static unsigned place_of(uint64_t id)
{
    return (unsigned)(id % LOCKS_PER_STREAM_MAX);
}

struct lock_set *lock_set_new(void)
{
    return xcalloc(1, sizeof(struct lock_set));
}

void lock_set_free(struct lock_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < LOCKS_PER_STREAM_MAX; i++)
        free(set->place[i]);
    free(set);
}

size_t lock_set_count(const struct lock_set *set)
{
    return set == NULL ? 0 : set->count;
}

static void mark(struct lock_set *set, unsigned place)
{
    if (set->stale[place])
        return;
    set->stale[place] = 1;
    ensure(set->changed_count < LOCKS_PER_STREAM_MAX);
    set->changed[set->changed_count++] = (uint16_t)place;
}

bool lock_set_add(struct lock_set *set, const struct pending_lock *pending)
{
    unsigned place = place_of(pending->lock.id);
    if (set->place[place] != NULL)
        return false;
    set->place[place] = xmalloc(sizeof(*pending));
    *set->place[place] = *pending;
    set->count++;
    mark(set, place);
    return true;
}

bool lock_set_remove(struct lock_set *set, uint64_t id)
{
    if (lock_set_find(set, id) == NULL)
        return false;
    unsigned place = place_of(id);
    free(set->place[place]);
    set->place[place] = NULL;
    set->count--;
    mark(set, place);
    return true;
}

struct pending_lock *lock_set_at(const struct lock_set *set, unsigned place)
{
    ensure(place < LOCKS_PER_STREAM_MAX);
    return set == NULL ? NULL : set->place[place];
}

struct pending_lock *lock_set_find(const struct lock_set *set, uint64_t id)
{
    struct pending_lock *pending = lock_set_at(set, place_of(id));
    return pending != NULL && pending->lock.id == id ? pending : NULL;
}

struct pending_lock *lock_set_next(const struct lock_set *set, uint64_t after)
{
    struct pending_lock *next = NULL;
    if (lock_set_count(set) == 0)
        return NULL;
    /* Ids grow by one as a rule: the very next places are tried before all are. */
    for (uint64_t id = after + 1; id != 0 && id <= after + 4; id++)
        if ((next = lock_set_find(set, id)) != NULL)
            return next;
    for (unsigned place = 0; place < LOCKS_PER_STREAM_MAX; place++) {
        struct pending_lock *at = set->place[place];
        if (at != NULL && at->lock.id > after && (next == NULL || at->lock.id < next->lock.id))
            next = at;
    }
    return next;
}

static void recompute_level(struct lock_set *set, unsigned level)
{
    size_t below = level_start(level - 1), here = level_start(level);
    for (size_t i = 0; i < set->changed_count; i++) {
        size_t node = (size_t)set->changed[i] >> level;
        if (!set->stale[here + node])
            continue;
        set->stale[here + node] = 0;
        set->nodes[here + node] =
            merkle_node(&set->nodes[below + 2 * node], &set->nodes[below + 2 * node + 1]);
    }
}

struct hash lock_set_root(struct lock_set *set)
{
    if (set == NULL)
        return HASH_ZERO;
    for (size_t i = 0; i < set->changed_count; i++) {
        unsigned place = set->changed[i];
        const struct pending_lock *pending = set->place[place];
        set->stale[place] = 0;
        set->nodes[place] = pending == NULL ? HASH_ZERO : lock_leaf(&pending->lock);
        for (unsigned level = 1; level <= LOCK_TREE_DEPTH; level++)
            set->stale[level_start(level) + (place >> level)] = 1;
    }
    for (unsigned level = 1; level <= LOCK_TREE_DEPTH; level++)
        recompute_level(set, level);
    set->changed_count = 0;
    return set->nodes[level_start(LOCK_TREE_DEPTH)];
}

bool lock_set_prove(struct lock_set *set, uint64_t id, struct hash proof[LOCK_TREE_DEPTH], size_t *length)
{
    if (lock_set_find(set, id) == NULL)
        return false;
    lock_set_root(set);
    *length = 0;
    for (unsigned level = 0; level < LOCK_TREE_DEPTH; level++) {
        size_t sibling = (size_t)(place_of(id) >> level) ^ 1;
        const struct hash *node = &set->nodes[level_start(level) + sibling];
        if (!hash_is_zero(node))
            proof[(*length)++] = *node;
    }
    return true;
}

uint64_t lock_set_next_id(const struct lock_set *set, uint64_t last)
{
    for (uint64_t id = last + 1; id != 0 && id <= last + LOCKS_PER_STREAM_MAX; id++)
        if (lock_set_at(set, place_of(id)) == NULL)
            return id;
    return 0;
}
