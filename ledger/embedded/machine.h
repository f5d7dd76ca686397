/* Executes messages and transactions on the state: natively, whatever stands at the recipient. */
#ifndef RILL_LEDGER_EMBEDDED_MACHINE_H
#define RILL_LEDGER_EMBEDDED_MACHINE_H

#include "ledger/embedded/block.h"
#include "ledger/embedded/execution.h"

/* Where tips go. */
extern const struct address EMBEDDED_COINBASE; /* "Rill" in ASCII, zeros, 3 */

enum message_result {
    MESSAGE_OK,
    MESSAGE_REVERTED,   /* output has the revert data, perhaps empty */
    MESSAGE_NO_FUNDS,   /* the caller does not have the coins it sends */
    MESSAGE_CALLER_CODE /* the caller is a contract: nobody can call in its name (EIP-3607) */
};

/* Calls `to` with data and execution->value coins of execution->caller. Unless MESSAGE_OK, state and logs are
 * as they were. */
enum message_result message_execute(struct execution *execution, const struct address *to,
                                    const uint8_t *data, size_t length, struct buffer *output) MUST_USE;

/* min(max_fee, base_fee + tip): what a unit of gas costs the sender. max_fee is at least the base fee. */
unsigned_wide transaction_gas_price(const struct transaction *transaction, unsigned_wide base_fee);
/* gas_limit * max_fee + value: what the sender must have. */
struct uint256 transaction_cost_max(const struct transaction *transaction);

enum transaction_result {
    TRANSACTION_MINED,  /* with success or without: see the receipt */
    TRANSACTION_DROPPED /* the sender cannot pay, or another nonce is next: nothing happened */
};
/* Executes a decoded transaction as the next of a block and fills its receipt's success, gas and logs. The
 * base fee is burned, the tip goes to EMBEDDED_COINBASE. */
enum transaction_result transaction_execute(struct state *state, const struct contract_config *config,
                                            const struct transaction *transaction,
                                            const struct address *sender, uint64_t time,
                                            unsigned_wide base_fee, struct mined *receipt) MUST_USE;

#endif
