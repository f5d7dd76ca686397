/* What a node sent back, read as the answers to what it was asked. */
#ifndef RILL_LEDGER_RPC_ANSWERS_H
#define RILL_LEDGER_RPC_ANSWERS_H

#include <jansson.h>

#include "ledger/rpc.h"

/* One question of a call, and what came back for it. */
struct rpc_part {
    bool of_logs;      /* eth_getLogs */
    bool of_newest;    /* asks for the newest state, which every node has */
    bool has_lists;    /* its answer may be RPC_LISTS_MAX long */
    unsigned absences; /* so often a node did not have that state */
    const json_t
        *answer; /* an object with a result or an error object; part of what rpc_answers_read returned */
};
struct rpc_part rpc_part_of(const char *method, const json_t *params);

/* Reads the answer to a request with this id, or to a batch whose questions have ids from `id` on. Returns a new
 * reference, or NULL if it is no answer to that. The parts' answers are set then, unless a batch was answered with one
 * object in place of a list (which is returned). */
json_t *rpc_answers_read(const uint8_t *data, size_t length, uint64_t id, bool is_batch,
                         struct rpc_part *parts, size_t count) MUST_USE;
/* The error object of a part, or the one in place of a list; NULL: none. */
const json_t *rpc_answer_error(const json_t *answer, const struct rpc_part *part);
/* What an error object says. */
const char *rpc_error_message(const json_t *error_object);
/* True if the node asks with an error object to be asked later; text says why, *asked_s for how long if it says. */
bool rpc_asks_patience(const json_t *answer, struct rpc_part *parts, size_t count, char *text,
                       size_t text_size, uint32_t *asked_s);

/* Whether the node takes batches, by what has come back for those it was given. Zero-initialised: it does. */
struct rpc_batches {
    unsigned failures; /* in a row */
    unsigned spared;   /* since it is known to take none */
};
/* answer: NULL if it could not be read. */
void rpc_batches_note(struct rpc_batches *batches, const json_t *answer);
/* It has shown that it takes none. */
bool rpc_batches_are_over(const struct rpc_batches *batches);

#endif
