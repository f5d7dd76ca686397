/* The ledger daemon's JSON-RPC: one request text in, one answer text out. Single calls and batches; errors
 * are the standard objects, reverts carry their data with code 3 as other nodes' do. */
#ifndef RILL_LEDGER_EMBEDDED_NODE_H
#define RILL_LEDGER_EMBEDDED_NODE_H

#include "ledger/embedded/chain.h"

#define NODE_REQUEST_BYTES_MAX (1024 * 1024)
#define NODE_BATCH_MAX         256
#define NODE_ANSWER_BYTES_MAX  (32u * 1024 * 1024) /* of a batch: later calls in it are refused */
#define NODE_LOGS_RANGE_MAX    10000               /* blocks in one eth_getLogs */
#define NODE_LOGS_MAX          10000               /* logs in its answer */

struct node_options {
    bool development; /* the evm_ methods are there */
    bool on_demand;   /* a block per transaction, at once; else the owner mines at an interval */
};
struct node;

/* The chain outlives the node. */
struct node *node_new(struct chain *chain, const struct node_options *options);
void node_free(struct node *node); /* NULL is allowed */
/* Appends the answer; nothing for a text of notifications only. */
void node_answer(struct node *node, const char *text, size_t length, struct buffer *out);
/* The methods that are served, separated by blanks, for docs and --help. */
const char *node_method_name(size_t index); /* NULL after the last */

#endif
