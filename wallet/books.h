/* The contract's books, made again from its events by whoever has a ledger node: what channels, the pool, closed
 * channels' locks and undelivered payouts sum to (docs/settlement-proofs.md). */
#ifndef RILL_WALLET_BOOKS_H
#define RILL_WALLET_BOOKS_H

#include <uthash.h>

#include "base/limits.h"
#include "ledger/contract.h"
#include "wallet/command.h"

struct book_sums {
    uint64_t open;                   /* channels that are open or being closed */
    wide channels, pool, held, owed; /* units */
};

struct book {
    struct address asset;
    unsigned_wide unit; /* base units of the token in one unit */
    struct book_sums now, then;
    bool has_custody;
    unsigned_wide custody; /* what the contract has of the token now, base units */
};

struct book_channel {
    struct hash id;
    size_t book;
    bool closed, was_there;   /* now; at the block asked for: there, and not closed */
    struct amount total, was; /* now; then */
    UT_hash_handle hh;
};

struct books {
    uint64_t then, now; /* blocks */
    uint64_t events;    /* so far */
    bool has_then;
    struct address hub;
    size_t count;
    struct book books[ASSETS_MAX];
    struct book_channel *channels;
    const char *trouble; /* NULL, or why the events make no sense */
};

/* Applies one event; they come in order. `then` must be set before. */
void books_event(struct books *books, const struct contract_event *event);
/* All events of blocks up to this one have come. */
void books_head(struct books *books, uint64_t block);
void books_free(struct books *books);
const struct book *books_of(const struct books *books, const struct address *asset);
const struct book_channel *books_channel(const struct books *books, const struct hash *id);

/* Reads everything from the node, as of block `then` and of its newest block, and what the contract has of each token at
 * the latter. RILL_EXIT_OK, or an exit code after a line on stderr. */
int books_read(struct session *session, uint64_t then, struct books *out) MUST_USE;

#endif
