/* The chain: state, blocks and mempool together, kept in a journal.
 *
 *     submit ──checks──▶ mempool ──mine: execute, seal──▶ block + state records in one batch
 *                                                             ──durable──▶ visible
 *
 * One thread. A block is durable before chain_mine returns, so nobody is ever told of one that a crash could
 * undo; a batch survives a crash whole or not at all (store/journal.h), so the state on disk is always a
 * block's.
 */
#ifndef RILL_LEDGER_EMBEDDED_CHAIN_H
#define RILL_LEDGER_EMBEDDED_CHAIN_H

#include "ledger/embedded/history.h"
#include "ledger/embedded/machine.h"
#include "ledger/embedded/mempool.h"
#include "store/journal.h"

#define CHAIN_FORMAT_VERSION 1 /* of the journal's records */
#define CHAIN_HISTORY_MIN    256
#define CHAIN_PAST_MAX       128 /* blocks back to which the state can be asked for; not across a restart */
#define CHAIN_TIME_MAX       253402300800ull /* the year 10000: no sum with a time overflows below it */

/* Fixed at the first start. When opened, a value that says "any" takes what is stored, and the default in a
 * new ledger; any other must be what is stored. */
struct chain_parameters {
    uint64_t chain_id;         /* any: 0; default 31337 */
    struct address hub;        /* any: zero; a new ledger needs one */
    uint64_t challenge_period; /* seconds; any: 0; default 86400 */
    uint16_t bounty_bps;       /* any: CHAIN_BOUNTY_BPS_ANY; default 1000 */
};
#define CHAIN_BOUNTY_BPS_ANY UINT16_MAX
struct allocation {
    struct address address;
    struct uint256 balance; /* wei */
};
struct chain_options {
    struct chain_parameters parameters;
    struct address hub_if_new;            /* the hub of a new ledger, where parameters say any */
    const struct allocation *allocations; /* who has coins in block 0 */
    size_t allocation_count;
    unsigned_wide base_fee;  /* wei per gas, of new blocks */
    uint64_t history_blocks; /* how many blocks are kept, at least CHAIN_HISTORY_MIN */
    uint64_t (*now)(void);   /* Unix seconds; NULL: the wall clock */
};

struct chain;

/* Recovers the chain from a journal that has just been opened, or makes block 0 in an empty one. Takes over
 * the journal (closes it on failure too). NULL: message says in one line what is wrong and what to do. */
struct chain *chain_open(const struct chain_options *options, struct journal *journal, char *message,
                         size_t message_size);
/* Closes the journal. NULL is allowed. */
void chain_close(struct chain *chain);

/* ---- looking ---- */
const struct contract_config *chain_config(const struct chain *chain);
const struct history *chain_history(const struct chain *chain);
const struct mempool *chain_mempool(const struct chain *chain);
const struct state *chain_state(const struct chain *chain); /* after the newest block */
unsigned_wide chain_base_fee(const struct chain *chain);    /* of the next block */
/* The time that a block would get now: never before its parent's; it may equal it. */
uint64_t chain_next_time(const struct chain *chain);
/* The nonce after all that waits without a gap. */
uint64_t chain_pending_nonce(const struct chain *chain, const struct address *address);
/* Sums everything up; NULL or what is wrong. */
const char *chain_audit(const struct chain *chain);

/* Goes back to the state after a block, to look at it and call in it; chain_leave must follow before anything
 * changes. False: that state is not kept. *mark is for chain_leave. */
bool chain_enter(struct chain *chain, uint64_t number, size_t *mark) MUST_USE;
void chain_leave(struct chain *chain, size_t mark);

/* Executes a message in the state entered, or else the newest, and forgets it. */
enum message_result chain_call(struct chain *chain, const struct address *caller, const struct address *to,
                               unsigned_wide value, uint64_t time, const uint8_t *data, size_t length,
                               struct buffer *output);
/* What the transaction (to, data) needs as its gas limit. */
uint64_t chain_gas(const struct chain *chain, const struct transaction *transaction);

/* ---- changing ---- */

/* Checks a raw transaction and puts it into the mempool. Returns NULL, or the refusal's text in other nodes'
 * words (static, or in a buffer that the next call reuses). */
const char *chain_submit(struct chain *chain, const uint8_t *raw, size_t length, struct hash *hash);
/* Makes one block of what waits and is next: at most max_transactions and the block's gas. Durable on return.
 */
const struct block *chain_mine(struct chain *chain, size_t max_transactions);
/* True if a transaction waits that the next block can take. */
bool chain_has_work(const struct chain *chain);

/* Moves block time on, durably. False: past CHAIN_TIME_MAX. */
bool chain_increase_time(struct chain *chain, uint64_t seconds) MUST_USE;
/* The next block's time, from which time goes on then. False: before the newest block's, or past
 * CHAIN_TIME_MAX. */
bool chain_set_next_time(struct chain *chain, uint64_t time) MUST_USE;
int64_t chain_time_offset(const struct chain *chain);

#endif
