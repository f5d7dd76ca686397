/* The hub contract (IRillHub.sol; protocol.md, sections 6-8), executed natively.
 *
 * Pure: what happens depends on the state, the caller, the value and the block's time, nothing else. A
 * channel's states and the function that makes each step:
 *
 *     none ──deposit, settleBatch fund──▶ open ──startClose──▶ closing ──finish──▶ closed
 *                                           └──────settleBatch item with close──────▶ closed
 *
 * closing: challenge and voidLocks change what finish will pay. closed: a tombstone, for ever; unlock pays
 * what finish held back.
 *
 * After every call, per asset: custody = pool + channels + held + owed, and the contract's balance covers
 * custody × unit. Both are asserted where an asset is saved (contract_money.c). An observer who adds up the
 * events arrives at the same numbers.
 *
 * Readings where protocol.md leaves a choice: Settled.clientOut and Unlocked.amount count what left the
 * channel for the client, delivered or recorded as owed; an amount that would take the pool to 2^63 is owed
 * to the hub as a whole; finish pays the client, then the hub, then the tower.
 */
#ifndef RILL_LEDGER_EMBEDDED_CONTRACT_EXECUTE_H
#define RILL_LEDGER_EMBEDDED_CONTRACT_EXECUTE_H

#include "ledger/embedded/execution.h"

/* Executes a decoded call: checks in the order that protocol.md writes them, then all effects. On CONTRACT_OK
 * output (appended to) has the result; else the revert data, and state and logs are as they were. */
enum contract_error contract_execute(struct execution *execution, const struct contract_call *call,
                                     struct buffer *output) MUST_USE;
/* The same from calldata; calldata that cannot be read is CONTRACT_UNNAMED. */
enum contract_error contract_execute_data(struct execution *execution, const uint8_t *data, size_t length,
                                          struct buffer *output) MUST_USE;

#endif
