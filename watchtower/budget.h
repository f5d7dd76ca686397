/* What a tower may spend on gas: pure. A response is admitted for the most that it may cost; when it is over, what it
 * did cost counts. A day is one of the ledger's, by block time, and begins with nothing spent. What has no deadline
 * (finish, unlock) may use half of a day's budget, so that a flood of it cannot silence the tower.
 */
#ifndef RILL_WATCHTOWER_BUDGET_H
#define RILL_WATCHTOWER_BUDGET_H

#include "base/amount.h"

struct budget {
    unsigned_wide response_wei; /* the most that one response may cost; 0: no limit, and none by day either */
    unsigned_wide day_wei;      /* 0: no limit */
    uint64_t day;               /* the one that `spent` is of */
    unsigned_wide spent, reserved;
};

/* True if there is room for one more response at this time; then it is reserved. */
bool budget_take(struct budget *budget, uint64_t now, bool has_deadline);
/* A response that was taken is over and has cost so much (0: never mined). */
void budget_settle(struct budget *budget, uint64_t now, unsigned_wide cost_wei);
/* What was spent in the day that `now` is in. */
unsigned_wide budget_spent(const struct budget *budget, uint64_t now);

#endif
