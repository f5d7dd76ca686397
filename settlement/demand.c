#include "settlement/demand.h"

static uint64_t clamped(double units)
{
    /* The comparison also sorts out what is no number. */
    return units >= 0 && units < (double)(AMOUNT_LIMIT - 1) ? (uint64_t)units
           : units >= 0                                     ? AMOUNT_LIMIT - 1
                                                            : 0;
}

static double seen(struct amount passed, uint64_t elapsed_ms)
{
    return (double)passed.units * 1000 / (double)elapsed_ms;
}

/* Less than a unit a day is nothing: it does not linger for years. */
static float worth_keeping(double rate)
{
    return rate * DEMAND_DAY_S < 1 ? 0 : (float)rate;
}

float demand_average(float rate, struct amount passed, uint64_t elapsed_ms, uint64_t memory_ms)
{
    double weight = (double)elapsed_ms / ((double)elapsed_ms + (double)memory_ms);
    return worth_keeping((double)rate + (seen(passed, elapsed_ms) - (double)rate) * weight);
}

float demand_sample(float rate, struct amount passed, uint64_t elapsed_ms, uint64_t memory_ms)
{
    double now = seen(passed, elapsed_ms);
    return now > (double)rate ? worth_keeping(now) : demand_average(rate, passed, elapsed_ms, memory_ms);
}

struct amount demand_room(float rate, uint64_t seconds, uint64_t percent)
{
    return amount_of(clamped((double)rate * (double)seconds * (double)percent / 100));
}

uint64_t demand_daily(float rate)
{
    return clamped((double)rate * DEMAND_DAY_S);
}

float demand_of_daily(uint64_t daily)
{
    return (float)((double)daily / DEMAND_DAY_S);
}
