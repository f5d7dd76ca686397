/* The chain's inside, shared by chain.c (look, mine), chain_open.c and chain_submit.c. */
#ifndef RILL_LEDGER_EMBEDDED_CHAIN_PARTS_H
#define RILL_LEDGER_EMBEDDED_CHAIN_PARTS_H

#include "ledger/embedded/chain.h"

struct chain {
    struct journal *journal;
    struct state *state;
    struct history *history;
    struct mempool *mempool;
    struct contract_config config;
    struct chain_parameters parameters;
    unsigned_wide base_fee;
    uint64_t history_blocks;
    uint64_t (*now)(void);
    int64_t time_offset; /* block time less the machine's, s */
    bool has_next_time;  /* chain_set_next_time was called since the newest block */
    uint64_t next_time;
    /* What the newest blocks replaced in the state: block n's at n modulo the length; only those of
     * past_count blocks up to the newest are there. */
    struct state_past *past[CHAIN_PAST_MAX];
    uint64_t past_count;
    char refusal[256];
};

/* Commits the state, seals the block, adds it to the history and appends all to the batch; durable on return.
 * Whatever the batch has already goes along. */
void chain_persist_block(struct chain *chain, struct block *block, struct buffer *batch);

#endif
