/* The Merkle root over the digests of all balance proofs since the last batch (protocol.md, section 8, point
 * 3), kept while they come: sorted pairs, an odd node moves up.
 *
 * Only the roots of complete subtrees are kept, one per bit of the count: 64 hashes for any number of proofs.
 */
#ifndef RILL_SETTLEMENT_JOURNAL_ROOT_H
#define RILL_SETTLEMENT_JOURNAL_ROOT_H

#include "base/buffer.h"

struct journal_root {
    uint64_t count;
    struct hash peaks[64]; /* [b]: the subtree of 2^b leaves, where bit b of count is set */
};

void journal_root_add(struct journal_root *root, const struct hash *leaf);
/* Zero if none. */
struct hash journal_root_value(const struct journal_root *root);
void journal_root_write(const struct journal_root *root, struct buffer *out);
bool journal_root_read(struct journal_root *root, struct reader *in) MUST_USE;

#endif
