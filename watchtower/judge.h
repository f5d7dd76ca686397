/* The tower's judgements (protocol.md, sections 6, 7 and 9): what a close of a watched channel calls for.
 * Pure functions of what the ledger shows and what the user left with the tower.
 *
 * With D the deadline and cp the challenge period, the time of the next block must lie
 *     before D          for a first challenge
 *     before D + cp/8   for a tower's challenge over another tower's, with a higher nonce
 *     before D + 3cp/8  for voidLocks
 *     from D + 3cp/8 on for finish
 */
#ifndef RILL_WATCHTOWER_JUDGE_H
#define RILL_WATCHTOWER_JUDGE_H

#include "ledger/contract.h"

enum duty {
    DUTY_NONE = 0, /* nothing to do */
    DUTY_DUE,      /* act now */
    DUTY_TOO_LATE  /* it would have been due, but its time is over */
};

/* The side that called startClose. */
enum side closing_closer(const struct closing *closing);
/* What a stream stands at. */
const struct claim *closing_stands(const struct closing *closing, enum side stream);

/* Until when this tower may challenge. */
uint64_t challenge_deadline(const struct closing *closing, uint64_t challenge_period);
uint64_t void_deadline(const struct closing *closing, uint64_t challenge_period);
uint64_t finish_time(const struct closing *closing, uint64_t challenge_period);

/* True if the judgement below depends on which locks can still be claimed: the closer stands at a higher
 * nonce. */
bool challenge_needs_witnesses(const struct closing *closing, enum side user,
                               const struct balance_proof *held);
/* Section 7's last paragraph, for the user of this side who left `held` (the counterparty's proof; nonce 0:
 * none). claimable: the sum of the held locks that may pay (lock_may_pay). now: time of the
 * newest block. */
enum duty judge_challenge(const struct closing *closing, enum side user, const struct balance_proof *held,
                          struct amount claimable, uint64_t challenge_period, uint64_t now);
/* Old locks of the user's own stream are shown, and the user holds a revocation of proofs below min_nonce. */
enum duty judge_void(const struct closing *closing, enum side user, uint64_t min_nonce,
                     uint64_t challenge_period, uint64_t now);

/* May this lock of the counterparty's stream still pay? registered_at: 0 if its condition has not been met. A lock that
 * expires at late_from or later counts also while nobody knows its witness. */
bool lock_may_pay(const struct lock *lock, bool witness_known, uint64_t registered_at, uint64_t late_from,
                  uint64_t now);

#endif
