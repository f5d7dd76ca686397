#include "settlement/journal_path.h"

#include "base/ensure.h"
#include "crypto/lock.h"

void journal_path_begin(struct journal_path *path, uint64_t position)
{
    *path = (struct journal_path){.position = position};
}

static void extend(struct journal_path *path, const struct hash *sibling)
{
    ensure(path->length < JOURNAL_PATH_MAX);
    path->nodes[path->length++] = *sibling;
}

/* Joins subtrees as journal_root_add does: where the one with the leaf is joined, its sibling is on the path. */
void journal_path_add(struct journal_path *path, const struct hash *leaf)
{
    struct journal_root *root = &path->root;
    bool is_known = root->count > path->position, is_carried = root->count == path->position;
    struct hash carry = *leaf;
    unsigned level = 0;
    if (is_carried)
        path->leaf = *leaf;
    for (; (root->count >> level & 1) != 0; level++) {
        if (is_carried) {
            extend(path, &root->peaks[level]);
        } else if (is_known && path->level == level) {
            extend(path, &carry);
            is_carried = true;
        }
        carry = merkle_node(&root->peaks[level], &carry);
    }
    ensure(level < ARRAY_LENGTH(root->peaks) - 1);
    if (is_carried)
        path->level = level;
    root->peaks[level] = carry;
    root->count++;
}

bool journal_path_end(struct journal_path *path, struct hash *root)
{
    const struct journal_root *all = &path->root;
    struct hash value = HASH_ZERO;
    bool any = false, is_inside = false;
    if (all->count <= path->position)
        return false;
    for (unsigned level = 0; level < ARRAY_LENGTH(all->peaks); level++) {
        if ((all->count >> level & 1) == 0)
            continue;
        if (level == path->level) {
            if (any)
                extend(path, &value);
            is_inside = true;
        } else if (is_inside) {
            extend(path, &all->peaks[level]);
        }
        value = any ? merkle_node(&all->peaks[level], &value) : all->peaks[level];
        any = true;
    }
    *root = value;
    return true;
}
