/* A Merkle tree that sums: the root stands for all leaves and for the sum of their amounts, and a leaf's holder can check
 * that its own amount is in it (docs/settlement-proofs.md).
 *
 *     leaf = keccak256(0x00 ‖ content)                                        with its amount
 *     node = keccak256(0x01 ‖ left hash ‖ left sum ‖ right hash ‖ right sum)   with left sum + right sum
 *
 * A node's hash commits to the sum of each child. In the tree as first proposed it committed to their total alone, and a
 * hub could show each client a path in which its sibling's sum was too small (Hu, Zhang, Guo, "Breaking the Binding",
 * IACR ePrint 2018/1139). An odd node moves up. Sums are u64, big-endian, below 2^63, and never wrap.
 */
#ifndef RILL_CRYPTO_SUM_TREE_H
#define RILL_CRYPTO_SUM_TREE_H

#include "base/amount.h"
#include "crypto/hash.h"

#define SUM_PATH_MAX 64

struct sum_node {
    struct hash hash;
    uint64_t sum;
};

struct sum_node sum_leaf(const void *content, size_t length, struct amount amount);
/* False: the sum would reach 2^63, or a child's already does. */
bool sum_join(const struct sum_node *left, const struct sum_node *right, struct sum_node *out) MUST_USE;

/* Leaf `index`, made anew whenever it is asked for. */
typedef struct sum_node sum_leaf_at(const void *context, size_t index);

/* What lies below a group of leaves is not kept but made again from them when a path is asked for: it would be seven
 * eighths of the tree. So a tree is 10 bytes a leaf. Zero-initialised is empty. */
#define SUM_GROUP 8
struct sum_tree {
    struct sum_node *nodes; /* of each group its node, and all levels above */
    size_t count;           /* of leaves */
    sum_leaf_at *leaf_at;
    const void *context;
};
/* How many nodes a tree of `count` leaves keeps. */
size_t sum_tree_size(size_t count);
/* nodes: room for sum_tree_size(tree->count) of them, the caller's as long as the tree is asked; the tree's other members
 * are set. False: the sum overflows. */
bool sum_tree_build(struct sum_tree *tree) MUST_USE;
/* {zero, 0} if it is empty. */
struct sum_node sum_tree_root(const struct sum_tree *tree);
/* The siblings of leaf `index`, lowest first. Returns how many. */
size_t sum_tree_path(const struct sum_tree *tree, size_t index, struct sum_node out[SUM_PATH_MAX]);

/* Does the path lead from the leaf, as number `index` of `count`, to the root? Each step's side follows from index and
 * count, so a path has one shape only. */
bool sum_verify(const struct sum_node *leaf, uint64_t index, uint64_t count, const struct sum_node *path,
                size_t length, const struct sum_node *root) MUST_USE;

#endif
