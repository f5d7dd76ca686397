/* What the files of the node share: methods, failures, and the JSON of blocks, transactions and logs. */
#ifndef RILL_LEDGER_EMBEDDED_NODE_PARTS_H
#define RILL_LEDGER_EMBEDDED_NODE_PARTS_H

#include <jansson.h>

#include "ledger/embedded/node.h"

/* JSON-RPC's codes, and what nodes add to them. */
enum failure_code {
    FAILURE_PARSE = -32700,
    FAILURE_REQUEST = -32600,
    FAILURE_METHOD = -32601,
    FAILURE_PARAMS = -32602,
    FAILURE_LIMIT = -32005,
    FAILURE_SERVER = -32000,
    FAILURE_REVERTED = 3
};
struct failure {
    enum failure_code code;
    char message[256];
    json_t *data; /* NULL: none */
};

struct node {
    struct chain *chain;
    struct node_options options;
};

/* Answers one call: a new reference, or NULL with *failure filled. params: an array, perhaps empty. */
typedef json_t *node_method(struct node *node, const json_t *params, struct failure *failure);

/* Fills the failure. Returns NULL, so that a method can return it. */
json_t *fail(struct failure *failure, enum failure_code code, const char *format, ...) PRINTF_LIKE(3, 4);
/* The parameter, or NULL where it is missing or null. */
const json_t *parameter(const json_t *params, size_t index);

/* node_blocks.c */
node_method eth_block_number, eth_get_block_by_number, eth_get_block_by_hash, eth_get_transaction_by_hash,
    eth_get_transaction_receipt, eth_fee_history;
/* Reads a block tag or number; a missing one is the newest. False with *failure filled. */
bool block_number_of(const struct node *node, const json_t *json, uint64_t *out,
                     struct failure *failure) MUST_USE;
/* "0x…" of any size of number. */
json_t *number_json(struct uint256 value);
json_t *log_json(const struct block *block, const struct mined *mined, size_t index);

/* node_calls.c */
node_method eth_get_balance, eth_get_transaction_count, eth_get_code, eth_call, eth_estimate_gas,
    eth_send_raw_transaction;

/* node_logs.c */
node_method eth_get_logs;

/* node_development.c */
node_method evm_mine, evm_increase_time, evm_set_next_block_timestamp;

#endif
