/* How much goes into one settleBatch: bounded by the ledger's block and by what nodes take as one transaction. Pure.
 *
 * Costs are those of docs/gas.md, rounded up, a payout as to an account that does not exist yet. They only choose where a
 * round is split: what a transaction may spend is estimated by the node before it is sent. Where they are wrong, a call
 * is refused; then the next ones are half as large, until one is taken.
 */
#ifndef RILL_SETTLEMENT_BATCH_SIZE_H
#define RILL_SETTLEMENT_BATCH_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define BATCH_BLOCK_GAS_UNKNOWN 30000000u
#define BATCH_CALL_GAS_MAX                                                                                   \
    13000000u /* with the sender's spare of a quarter below EIP-7825's 2^24 a transaction */
#define BATCH_CALL_BYTES_MAX 126000u /* nodes take transactions of 128 KiB */
#define BATCH_HALVINGS_MAX   9

enum batch_part { BATCH_ITEM, BATCH_PAYOUT, BATCH_FUND };

/* What is left of a call. */
struct batch_room {
    uint64_t gas, bytes;
    bool is_empty; /* nothing is in it yet: the first part always fits */
};

/* An empty call. block_gas_limit 0: not known. At most half a block: the rest is for others; and at most gas_max, if
 * that is not 0. */
struct batch_room batch_room(uint64_t block_gas_limit, uint64_t gas_max, unsigned halvings);
/* Takes the part's share of it. False: it does not fit, and nothing has changed. */
bool batch_take(struct batch_room *room, enum batch_part part);

#endif
