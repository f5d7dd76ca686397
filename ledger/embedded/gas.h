/* Gas. Nominal: a fixed figure per function, near what the Solidity contract costs, so that fees, estimates
 * and limits behave as on an EVM chain. What it does not do is meter instructions. */
#ifndef RILL_LEDGER_EMBEDDED_GAS_H
#define RILL_LEDGER_EMBEDDED_GAS_H

#include "ledger/embedded/execution.h"
#include "ledger/transaction.h"

/* What every transaction costs before it does anything: EIP-2028's calldata and EIP-2930's access list
 * included. */
uint64_t gas_intrinsic(const struct transaction *transaction);
/* The intrinsic cost and what the callee takes: the limit a transaction needs, and uses when it succeeds. */
uint64_t gas_needed(const struct execution *execution, const struct transaction *transaction);
/* What a reverted transaction uses: the intrinsic cost and half of the rest. */
uint64_t gas_of_revert(uint64_t intrinsic, uint64_t needed);

#endif
