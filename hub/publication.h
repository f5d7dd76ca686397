/* One statement of what the hub owes with the trees behind it (crypto/liabilities.h, docs/settlement-proofs.md): built
 * from what the shards have counted, away from their loops. About 66 bytes a channel. */
#ifndef RILL_HUB_PUBLICATION_H
#define RILL_HUB_PUBLICATION_H

#include "crypto/liabilities.h"
#include "hub/engine.h"

/* A leaf without its salt, which is computed again: that is less than keeping it. */
struct publication_entry {
    struct hash channel;
    struct amount balance;
    uint64_t nonce_client, nonce_hub;
};

/* An asset's leaves, in the order of their salts: who is beside whom says nothing, and is new each time. */
struct publication_book {
    const struct hash *seed; /* the publication's */
    struct publication_entry *entries;
    struct sum_tree tree; /* its nodes are the book's */
};

struct publication {
    struct liabilities statement;
    struct signature signature;
    struct hash event;
    struct hash seed; /* of the salts: secret */
    struct publication_book books[ASSETS_MAX];
};

/* NULL: a sum is beyond 2^63, or the counts are of different blocks. The counts are the caller's. From any thread. */
struct publication *publication_build(struct engine_count *const *counts, size_t count, uint64_t number,
                                      const struct hash *previous, const struct domain *domain,
                                      const struct secret_key *key);
void publication_free(struct publication *publication); /* NULL is allowed */

struct publication_proof {
    struct liability_leaf leaf;
    size_t asset; /* index into the statement's */
    uint64_t index, count;
    size_t length;
    struct sum_node path[SUM_PATH_MAX];
};
/* The leaf of a channel. False: the statement has none. */
bool publication_find(const struct publication *publication, const struct channel_key *key,
                      struct publication_proof *out) MUST_USE;

/* As the journal keeps it: the signature, then the statement. */
void publication_write(const struct publication *publication, struct buffer *out);
bool publication_read(const struct buffer *kept, struct liabilities *statement,
                      struct signature *signature) MUST_USE;

#endif
