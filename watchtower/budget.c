#include "watchtower/budget.h"

#include "base/ensure.h"

#define DAY_S 86400

static void turn_to(struct budget *budget, uint64_t now)
{
    uint64_t day = now / DAY_S;
    if (day <= budget->day)
        return; /* a node that lags does not bring yesterday's budget back */
    budget->day = day;
    budget->spent = 0;
}

bool budget_take(struct budget *budget, uint64_t now, bool has_deadline)
{
    turn_to(budget, now);
    if (budget->response_wei == 0 || budget->day_wei == 0)
        return true;
    unsigned_wide room = has_deadline ? budget->day_wei : budget->day_wei / 2;
    if (budget->spent + budget->reserved + budget->response_wei > room)
        return false;
    budget->reserved += budget->response_wei;
    return true;
}

void budget_settle(struct budget *budget, uint64_t now, unsigned_wide cost_wei)
{
    turn_to(budget, now);
    if (budget->response_wei != 0 && budget->day_wei != 0) {
        ensure(budget->reserved >= budget->response_wei);
        budget->reserved -= budget->response_wei;
    }
    budget->spent += cost_wei;
}

unsigned_wide budget_spent(const struct budget *budget, uint64_t now)
{
    return now / DAY_S > budget->day ? 0 : budget->spent;
}
