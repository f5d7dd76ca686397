/* The blocks that are kept, found by number, by hash and by transaction. The newest is always there. */
#ifndef RILL_LEDGER_EMBEDDED_HISTORY_H
#define RILL_LEDGER_EMBEDDED_HISTORY_H

#include "ledger/embedded/block.h"

struct history;

struct history *history_new(void);
void history_free(struct history *history); /* and its blocks; NULL is allowed */
/* Takes over a sealed block: the first, or the next in number. */
void history_add(struct history *history, struct block *block);
/* Forgets the oldest block. There are two or more. */
void history_drop_oldest(struct history *history);

const struct block *history_head(const struct history *history);
uint64_t history_oldest(const struct history *history); /* number of the oldest block kept */
/* NULL: not made yet, or not kept any more. */
const struct block *history_block(const struct history *history, uint64_t number);
const struct block *history_block_by_hash(const struct history *history, const struct hash *hash);
/* The block and the place in it; NULL if there is none. */
const struct block *history_transaction(const struct history *history, const struct hash *hash,
                                        size_t *index);

#endif
