#include "crypto/sum_tree.h"

#include <string.h>

#include "base/ensure.h"

/* Different first bytes: no leaf can be shown as a node, or a node as a leaf. */
enum { KIND_LEAF = 0, KIND_NODE = 1 };
static const uint8_t kind_leaf = KIND_LEAF;

struct sum_node sum_leaf(const void *content, size_t length, struct amount amount)
{
    ensure(amount.units < AMOUNT_LIMIT);
    return (struct sum_node){keccak256_pair(&kind_leaf, 1, content, length), amount.units};
}

bool sum_join(const struct sum_node *left, const struct sum_node *right, struct sum_node *out)
{
    uint8_t both[1 + 2 * (32 + 8)] = {KIND_NODE};
    struct amount sum;
    if (left->sum >= AMOUNT_LIMIT || right->sum >= AMOUNT_LIMIT ||
        !amount_add(amount_of(left->sum), amount_of(right->sum), &sum))
        return false;
    memcpy(both + 1, left->hash.bytes, 32);
    store_be64(both + 33, left->sum);
    memcpy(both + 41, right->hash.bytes, 32);
    store_be64(both + 73, right->sum);
    *out = (struct sum_node){keccak256(both, sizeof(both)), sum.units};
    return true;
}

static size_t group_count(size_t leaves)
{
    return leaves / SUM_GROUP + (leaves % SUM_GROUP != 0);
}

/* How many nodes there are from a level of this width up. */
static size_t nodes_from(size_t width)
{
    size_t size = width;
    while (width > 1) {
        width = (width + 1) / 2;
        size += width;
    }
    return size;
}

size_t sum_tree_size(size_t count)
{
    return nodes_from(group_count(count));
}

/* Each level follows the one below; a node without a sibling moves up. `nodes` begins with the lowest, and has room. */
static bool join_levels(struct sum_node *nodes, size_t count)
{
    struct sum_node *level = nodes;
    while (count > 1) {
        struct sum_node *above = level + count;
        for (size_t i = 0; i + 1 < count; i += 2)
            if (!sum_join(&level[i], &level[i + 1], &above[i / 2]))
                return false;
        if (count % 2 == 1)
            above[count / 2] = level[count - 1];
        level = above;
        count = (count + 1) / 2;
    }
    return true;
}

/* The siblings of node `index` of the lowest level. Returns how many. */
static size_t path_in(const struct sum_node *level, size_t count, size_t index, struct sum_node *out)
{
    size_t length = 0;
    for (; count > 1; count = (count + 1) / 2, index /= 2) {
        size_t sibling = index ^ 1;
        if (sibling < count)
            out[length++] = level[sibling];
        level += count;
    }
    return length;
}

/* A group begins at a multiple of its size, so within it the same nodes have no sibling as in the whole tree. */
struct group {
    struct sum_node nodes[2 * SUM_GROUP];
    size_t leaves;
};

static bool group_make(const struct sum_tree *tree, size_t number, struct group *group)
{
    size_t first = number * SUM_GROUP;
    group->leaves = tree->count - first < SUM_GROUP ? tree->count - first : SUM_GROUP;
    for (size_t i = 0; i < group->leaves; i++)
        group->nodes[i] = tree->leaf_at(tree->context, first + i);
    return join_levels(group->nodes, group->leaves);
}

bool sum_tree_build(struct sum_tree *tree)
{
    size_t groups = group_count(tree->count);
    for (size_t i = 0; i < groups; i++) {
        struct group group;
        if (!group_make(tree, i, &group))
            return false;
        tree->nodes[i] = group.nodes[nodes_from(group.leaves) - 1];
    }
    return join_levels(tree->nodes, groups);
}

struct sum_node sum_tree_root(const struct sum_tree *tree)
{
    return tree->count == 0 ? (struct sum_node){.sum = 0} : tree->nodes[sum_tree_size(tree->count) - 1];
}

size_t sum_tree_path(const struct sum_tree *tree, size_t index, struct sum_node out[SUM_PATH_MAX])
{
    ensure(index < tree->count);
    struct group group;
    ensure(group_make(tree, index / SUM_GROUP, &group)); /* it was made before */
    size_t length = path_in(group.nodes, group.leaves, index % SUM_GROUP, out);
    return length + path_in(tree->nodes, group_count(tree->count), index / SUM_GROUP, out + length);
}

bool sum_verify(const struct sum_node *leaf, uint64_t index, uint64_t count, const struct sum_node *path,
                size_t length, const struct sum_node *root)
{
    struct sum_node at = *leaf;
    size_t used = 0;
    if (index >= count || leaf->sum >= AMOUNT_LIMIT)
        return false;
    for (; count > 1; count = count / 2 + count % 2, index /= 2) {
        bool is_right = index % 2 == 1;
        if (!is_right && index + 1 == count)
            continue; /* odd: it moves up */
        if (used == length)
            return false;
        const struct sum_node *sibling = &path[used++];
        if (!(is_right ? sum_join(sibling, &at, &at) : sum_join(&at, sibling, &at)))
            return false;
    }
    return used == length && at.sum == root->sum && hash_equal(&at.hash, &root->hash);
}
