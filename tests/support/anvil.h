/* anvil, the EVM node that npm brings (ledger/contracts/package.json), as a child of a test. */
#ifndef RILL_TESTS_SUPPORT_ANVIL_H
#define RILL_TESTS_SUPPORT_ANVIL_H

#include "tests/support/process.h"

struct anvil {
    struct process process;
    char folder[64]; /* its log */
    char url[64];
};

/* Starts it on loopback and a port of its choice; further flags up to NULL, or NULL. Fails the test if it is not installed
 * or does not come up. Without flags it makes a block for each transaction, at once. */
void anvil_start(struct anvil *anvil, const char *const *flags);
void anvil_stop(struct anvil *anvil);

#endif
