/* The parts of following: follow.c (the round), follow_chain.c (is it still the same chain?), follow_range.c (the logs
 * of a range of blocks), follow_under.c (what is asked for together with the head). */
#ifndef RILL_LEDGER_FOLLOW_PARTS_H
#define RILL_LEDGER_FOLLOW_PARTS_H

#include "ledger/client_parts.h"
#include "ledger/follow_logs.h"

#define FOLLOW_RECENT_MAX 64 /* heads remembered by hash */

struct follower {
    struct ledger *ledger;
    struct ledger_follow callbacks;
    void *context;

    uint64_t next;   /* first block not yet given as confirmed */
    bool has_anchor; /* anchor: the last block given as confirmed */
    struct block anchor;
    bool asked_first, has_first; /* first: block 0, where the node has it */
    struct block first;
    struct {
        uint64_t number;
        struct hash hash;
    } recent[FOLLOW_RECENT_MAX]; /* a ring of heads that the owner was told of */
    size_t recent_count;
    unsigned doubts;      /* rounds that found the anchor gone, since one found it in place */
    unsigned high_doubts; /* of these, with a head as high as any seen */

    /* the round */
    bool in_round;
    struct block latest;
    bool differs; /* its number was seen with another hash */
    bool is_done; /* the last round was finished, for the head done_hash */
    struct hash done_hash;
    bool head_given;
    struct hash head_hash;

    /* the chunk, or the early look */
    bool is_early;
    bool is_by_hash;    /* asked for by the block's hash */
    bool takes_no_hash; /* the node does not know that way of asking */
    bool is_bound;      /* asked for together with chunk_block and the head */
    unsigned absences;  /* rounds in which the node did not have what it had shown */
    unsigned restarts;  /* rounds that began again, since one went on */
    uint64_t chunk_from, chunk_end;
    bool has_chunk_block;
    struct block chunk_block;
    struct event_list list;
    size_t untimed; /* events before this one have their time */
    uint64_t range;
    unsigned good_chunks;
    bool is_held, waits; /* the owner has enough for now; the chunk waits for his word */
    unsigned bloom_waits;

    struct seen_set seen;
    struct hash missing_hash; /* of the block whose young events the confirmed logs do not show */
    uint64_t missing_block;
    char lag_text[160];
    char trouble[320];
};

/* follow.c: ends of a round. None but follow_end may be followed by another use of the round. */
void follow_end(struct follower *follower);
/* The round cannot go on; the next look at the head begins another. text: why, for the log and /healthz. */
void follow_fail(struct follower *follower, const char *text);
/* The chain changed under the round, or is another at another node behind the same address: nothing wrong, it begins
 * again. */
void follow_again(struct follower *follower);
/* What a failed question means to the round. Returns true if there is nothing to go on with. */
bool follow_answer_failed(struct follower *follower, const struct rpc_answer *answer);
/* Reads a block that was asked for. Returns false when the round was ended. */
bool follow_block_read(struct follower *follower, const struct rpc_answer *answer, uint64_t number,
                       struct block *out) MUST_USE;

/* follow.c: the round's way on. follow_chain.c begins it, with the head that is not known yet. */
void follow_chunks(struct follower *follower);
/* Asks for the chunk's last block, and then for its logs. */
void follow_chunk_block_ask(struct follower *follower);
/* The list is this chain's and has its times: its events go to the owner. */
void follow_give(struct follower *follower);
/* Tells the owner of the head, once. Returns false if the client was freed meanwhile. */
bool follow_head_if_new(struct follower *follower);

/* follow_chain.c: the node is behind a block that was seen before. */
void follow_lags(struct follower *follower, uint64_t wanted);
/* The owner is told of the latest head: it will be known by its hash. */
void follow_remember_head(struct follower *follower);

/* follow_under.c: asks for a block, and in the same batch for the head. */
void follow_under_ask(struct follower *follower, uint64_t number, rpc_done *done);
/* Reads the block, from a node that has this round's head. Returns false when the round was ended, or `done` will be
 * called again. */
bool follow_under_read(struct follower *follower, const struct rpc_answer *answer, uint64_t number,
                       rpc_done *done, struct block *out) MUST_USE;
/* Whether this answer of a batch is the round's head. Returns false when the round was ended. */
bool follow_under_holds(struct follower *follower, const struct rpc_answer *head) MUST_USE;
/* A question of a batch. */
struct rpc_question follow_block_question(uint64_t number);
/* Whether the node said that it does not have the block. */
bool follow_is_absent(const struct rpc_answer *answer);

/* follow_range.c: asks for the logs of chunk_from..chunk_end, whose last block is chunk_block. */
void follow_logs_ask(struct follower *follower);
/* Young blocks are confirmed one by one. */
bool follow_is_young(const struct follower *follower, uint64_t block);

#endif
