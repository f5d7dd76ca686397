#include "wallet/payout_policy.h"

#define MINUTE_S 60
#define DAY_S    86400

static const char *mode_trouble(const struct payout_policy *policy)
{
    switch (policy->mode) {
    case PAYOUT_MANUAL:
        return NULL;
    case PAYOUT_THRESHOLD:
        return amount_is_zero(policy->threshold) ? "payouts at a threshold need a threshold above zero"
                                                 : NULL;
    case PAYOUT_DAILY:
        return policy->minute >= PAYOUT_MINUTES_A_DAY ? "a day has the minutes 0 to 1439" : NULL;
    }
    return "there is no such way to be paid out";
}

const char *payout_policy_trouble(const struct payout_policy *policy)
{
    if (policy->threshold.units >= AMOUNT_LIMIT || policy->keep.units >= AMOUNT_LIMIT)
        return "no channel can hold that much";
    return mode_trouble(policy);
}

uint64_t payout_policy_moment(const struct payout_policy *policy, uint64_t unix_s)
{
    uint64_t of_day = (uint64_t)policy->minute * MINUTE_S;
    if (policy->mode != PAYOUT_DAILY || unix_s < of_day)
        return 0;
    return unix_s - (unix_s - of_day) % DAY_S;
}

bool payout_policy_is_due(const struct payout_policy *policy, uint64_t unix_s)
{
    switch (policy->mode) {
    case PAYOUT_MANUAL:
        return false;
    case PAYOUT_THRESHOLD:
        return true;
    case PAYOUT_DAILY:
        /* done_s lies far ahead only if the machine's clock did: it must not silence the policy until then. */
        return policy->done_s < payout_policy_moment(policy, unix_s) || policy->done_s > unix_s + DAY_S;
    }
    return false;
}

struct amount payout_policy_amount(const struct payout_policy *policy, struct amount available)
{
    if (amount_compare(available, policy->keep) <= 0)
        return amount_of(0);
    uint64_t above = available.units - policy->keep.units;
    return amount_of(above < policy->threshold.units ? 0 : above);
}
