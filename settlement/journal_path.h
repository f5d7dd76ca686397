/* The path from one leaf to the journal root (settlement/journal_root.h), found while the leaves pass by once: only
 * the roots of complete subtrees and the path itself are kept, for any number of leaves. Folded with merkle_verify
 * (crypto/lock.h) it gives the root. */
#ifndef RILL_SETTLEMENT_JOURNAL_PATH_H
#define RILL_SETTLEMENT_JOURNAL_PATH_H

#include "settlement/journal_root.h"

#define JOURNAL_PATH_MAX 64

struct journal_path {
    struct journal_root root; /* over all leaves so far */
    uint64_t position;        /* of the leaf that is asked about, from 0 */
    unsigned level;           /* its subtree is root.peaks[level], once it has passed by */
    size_t length;
    struct hash leaf; /* itself */
    struct hash nodes[JOURNAL_PATH_MAX];
};

void journal_path_begin(struct journal_path *path, uint64_t position);
void journal_path_add(struct journal_path *path, const struct hash *leaf);
/* After the last leaf: completes the path. Out: the root. False: the position was never reached. */
bool journal_path_end(struct journal_path *path, struct hash *root) MUST_USE;

#endif
