#include "wire/throttle.h"

#define SECOND_US 1000000u

static uint64_t share_us(const struct throttle *throttle)
{
    return SECOND_US / throttle->per_second;
}

/* How far ahead of the clock it is. */
static uint64_t owed_us(const struct throttle *throttle, uint64_t now_us)
{
    return throttle->paid_until_us > now_us ? throttle->paid_until_us - now_us : 0;
}

bool throttle_allows(const struct throttle *throttle, uint64_t now_us)
{
    return owed_us(throttle, now_us) + share_us(throttle) <= throttle->burst * share_us(throttle);
}

void throttle_take(struct throttle *throttle, uint64_t now_us)
{
    throttle->paid_until_us = now_us + owed_us(throttle, now_us) + share_us(throttle);
}

void throttle_give_back(struct throttle *throttle, uint64_t now_us)
{
    uint64_t owed = owed_us(throttle, now_us), share = share_us(throttle);
    throttle->paid_until_us = now_us + (owed > share ? owed - share : 0);
}
