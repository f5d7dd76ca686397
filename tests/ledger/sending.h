/* A client that sends transactions to the scripted node, and what its owner is told of them. */
#ifndef RILL_TESTS_LEDGER_SENDING_H
#define RILL_TESTS_LEDGER_SENDING_H

#include "tests/ledger/scripted_node.h"

struct outcome {
    unsigned told;
    enum ledger_error error;
    bool has_receipt;
    struct ledger_receipt receipt;
    uint64_t told_at_height;
    struct node *node;
};

static inline void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct outcome *outcome = context;
    outcome->told++;
    outcome->error = error;
    outcome->has_receipt = receipt != NULL;
    if (receipt != NULL)
        outcome->receipt = *receipt;
    outcome->told_at_height = outcome->node->height;
}

static const struct secret_key key = {{[31] = 9}};

static inline struct ledger *ledger_make(struct node *node, uint32_t confirmations)
{
    struct ledger_options options = node_options(node);
    options.confirmations = confirmations;
    options.max_fee_per_gas = 1000000;
    return ledger_new(node->base, &options);
}

static inline void submit(struct node *node, struct ledger *ledger, struct outcome *outcome)
{
    memset(outcome, 0, sizeof(*outcome));
    outcome->node = node;
    ledger_send(ledger, &key, NULL, 5, (const uint8_t *)"data", 4, on_sent, outcome);
    assert_int_equal(outcome->told, 0);
}

/* Runs until the client has asked a few times more and nothing of what it does can be under way. */
static inline void look_around(struct node *node)
{
    unsigned asked = node_count(node, "eth_getBlockByNumber");
    node_run_until(node, node_count(node, "eth_getBlockByNumber") >= asked + 4);
}

#endif
