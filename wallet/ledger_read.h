/* What a command reads from the ledger node by itself, to hold the hub's word against it. */
#ifndef RILL_WALLET_LEDGER_READ_H
#define RILL_WALLET_LEDGER_READ_H

#include "ledger/contract.h"
#include "wallet/command.h"

/* The node's answer to any method; params is taken over, the answer the caller's. NULL: session->text says why. */
json_t *ledger_read_json(struct session *session, const char *method, json_t *params);
/* The number of the node's newest block. */
bool ledger_read_head(struct session *session, uint64_t *number) MUST_USE;
/* The address of the contract. */
struct address ledger_read_contract(const struct session *session);
/* Waits until the node has shown that it is the ledger, with the hub, that is expected: RILL_EXIT_OK, or an exit code
 * after a line on stderr. */
int ledger_read_begin(struct session *session) MUST_USE;

#endif
