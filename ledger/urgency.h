/* What is offered for a transaction as its deadline comes nearer: pure functions of the time that is left.
 *
 * With x the share of the way to the deadline that is gone (0 … 1), the tip that is due is
 *
 *     start + (most − start) × x³
 *
 * An eighth of the room is offered half way, all of it at the deadline: a fee market that is only busy for a while
 * costs little, and a response that is still not mined at the end has offered everything its owner allows. Beside it
 * runs a ladder: a transaction that is not mined for so many blocks is raised by an eighth, and the nearer the
 * deadline the fewer those blocks are.
 */
#ifndef RILL_LEDGER_URGENCY_H
#define RILL_LEDGER_URGENCY_H

#include "base/amount.h"

/* Not mined for so long, by the chain's count and clock: the fee goes up a step. */
struct urgency_pace {
    uint32_t blocks, seconds;
};
#define URGENCY_CALM_BLOCKS 3
#define URGENCY_CALM_S      10

/* left_s, whole_s: seconds to the deadline, now and when the way to it began. whole_s 0: no deadline. */
struct urgency_pace urgency_pace(uint64_t left_s, uint64_t whole_s);
/* The tip that is due, wei per gas; never below start; start where most is no more, or there is no deadline. */
unsigned_wide urgency_tip(unsigned_wide start, unsigned_wide most, uint64_t left_s, uint64_t whole_s);
/* The most a unit of gas may cost: the owner's cap, and what a budget for all of the gas leaves (0: no budget). */
unsigned_wide urgency_fee_most(uint64_t max_fee_per_gas, unsigned_wide budget_wei, uint64_t gas_limit);

#endif
