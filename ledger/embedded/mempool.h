/* Transactions that wait for a block: bounded, in nonce order per sender, a higher fee replaces.
 *
 * In memory only, as in other nodes: a transaction whose block has not been answered for may be lost in a
 * crash, and its sender sends it again.
 */
#ifndef RILL_LEDGER_EMBEDDED_MEMPOOL_H
#define RILL_LEDGER_EMBEDDED_MEMPOOL_H

#include "ledger/transaction.h"
#include "ledger/uint256.h"

#define MEMPOOL_MAX          4096
#define MEMPOOL_BYTES_MAX    (32u * 1024 * 1024)
#define MEMPOOL_NONCES_MAX   64 /* how far a sender's nonce may be ahead of its account's */
#define MEMPOOL_BUMP_PERCENT 10 /* both fees of a replacement must be higher by this */

struct mempool;

struct waiting {
    struct hash hash;
    struct address sender;
    struct buffer raw;
    struct transaction transaction; /* points into raw */
    uint64_t arrival;
};

enum mempool_error {
    MEMPOOL_OK,
    MEMPOOL_KNOWN,       /* this very transaction waits already */
    MEMPOOL_UNDERPRICED, /* another with this nonce waits, and this one's fees are not 10 % higher */
    MEMPOOL_FULL
};

struct mempool *mempool_new(void);
void mempool_free(struct mempool *mempool); /* NULL is allowed */

/* Adds a transaction; raw is copied, and must decode. The caller has judged everything that needs the state.
 */
enum mempool_error mempool_add(struct mempool *mempool, const uint8_t *raw, size_t length) MUST_USE;
/* Drops the transaction, wherever it went. */
void mempool_remove(struct mempool *mempool, const struct hash *hash);
const struct waiting *mempool_find(const struct mempool *mempool, const struct hash *hash);
const struct waiting *mempool_find_nonce(const struct mempool *mempool, const struct address *sender,
                                         uint64_t nonce);
size_t mempool_count(const struct mempool *mempool);
/* By place, 0 … count - 1, in no order; valid until something is added or removed. */
const struct waiting *mempool_at(const struct mempool *mempool, size_t index);

#endif
