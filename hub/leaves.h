/* The leaves of the journal roots (settlement/journal_root.h) in the journal's archive, so that each proof that was
 * ever accepted or signed can be shown to lie under the root of a batch.
 *
 *     RECORD_LEAVES  the digests of one turn, one after another. No index: they are found by their time
 *     RECORD_ROOTED  which leaves lie under which root, written when the ledger shows the batch; or, when the number
 *                    of shards was changed, under which leaf of another lineage their root went
 *
 * A lineage is one row of leaves, numbered from 0: each shard has its own, and a change of the number of shards begins
 * new ones. A batch's leaves are a range of numbers. Times never fall within a lineage.
 */
#ifndef RILL_HUB_LEAVES_H
#define RILL_HUB_LEAVES_H

#include <stdatomic.h>

#include "settlement/journal_path.h"
#include "store/journal.h"

/* The archive's record types: key owner 20 (zero) | time u64 | generation u32 | shard u32 | number u64, the first
 * leaf's or the range's. On disk: do not renumber. */
#define RECORD_LEAVES    241
#define RECORD_ROOTED    242
#define LEAVES_KEY_BYTES (RECORD_ARCHIVE_KEY_MIN + 16)

struct lineage {
    uint32_t generation, shard;
};

/* A shard's own. */
struct leaves {
    uint32_t generation;
    uint64_t first;       /* number of the first leaf of the engine's root */
    uint64_t time;        /* of the newest leaf: confirmed block time, never lower than before */
    uint64_t first_time;  /* of leaf `first` */
    uint64_t since_time;  /* of the first leaf that came since a batch took the root */
    struct buffer digest; /* of this turn, 32 bytes each */
};

/* A range of leaves and what became of its root. */
struct rooted {
    struct lineage lineage;
    uint64_t time; /* when it was known: no lower than any of its leaves' */
    uint64_t from, to, from_time;
    struct hash root;
    bool joined; /* the root is leaf into_number of lineage `into`, and the batch is that leaf's */
    struct lineage into;
    uint64_t into_number;
    uint64_t batch, block;
    struct hash transaction;
};

void leaves_write(const struct lineage *lineage, uint64_t time, uint64_t first, const uint8_t *digests,
                  size_t length, struct buffer *batch);
void rooted_write(const struct rooted *rooted, struct buffer *batch);

/* ---- proving, from any thread ---- */

enum leaf_state {
    LEAF_SETTLED,
    LEAF_WAITING, /* no batch that the ledger has confirmed carries it yet */
    LEAF_UNKNOWN,
    LEAF_PRUNED,  /* the archive keeps its batch's leaves no longer */
    LEAF_DAMAGED, /* what is on the disk does not give the root (the log says so) */
    LEAF_STOPPED  /* `stop` was set meanwhile */
};

#define LEAF_PATH_MAX                                                                                        \
    (4 * JOURNAL_PATH_MAX) /* a change of the number of shards puts one tree under another */

struct leaf_proof {
    uint64_t position, leaves; /* in its own tree, from 0; of how many */
    uint64_t batch, block;
    struct hash transaction, root;
    size_t length;
    struct hash path[LEAF_PATH_MAX];
};

/* Where the leaf lies. time: about when it came (block time), 0: not known, and then all that is kept is read, as it is
 * when it is not found around that time. Reads the leaves of its batch, all of them. `journals`: one per shard. */
enum leaf_state leaf_prove(struct journal *const *journals, size_t count, const struct hash *digest,
                           uint64_t time, const _Atomic bool *stop, struct leaf_proof *out) MUST_USE;

#endif
