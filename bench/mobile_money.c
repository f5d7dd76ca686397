#include "bench/mobile_money.h"

#include <math.h>

#include "base/bytes.h"
#include "base/ensure.h"

/* Clients' profiles: times a client acts from … to, mean of the amounts, their standard deviation, share of clients. */
static const struct mobile_money_group payments[] = {
    {1, 1, 2335.99, 0, 0.29392},           {2, 2, 2252.28, 1160.55, 0.15869},
    {3, 3, 2196.74, 1548.54, 0.10713},     {4, 4, 2138.32, 1761.19, 0.07943},
    {5, 9, 2092.43, 2018.36, 0.30748},     {10, 99, 1942.24, 2350.24, 0.05306},
    {100, 299, 1819.17, 3490.51, 0.00028}, {300, 799, 898.89, 1779.32, 0.00002},
};
static const struct mobile_money_group transfers[] = {
    {1, 1, 65898.1, 0, 0.53248},
    {2, 2, 76741.79, 39507.71, 0.19408},
    {3, 3, 91898.09, 62612.8, 0.09332},
    {4, 4, 106291.08, 80543.74, 0.05189},
    {5, 9, 153781.46, 136010.43, 0.08671},
    {10, 99, 287313.47, 286424.17, 0.04112},
    {100, 299, 751405.55, 912376.26, 0.00037},
    {300, 799, 1265876.84, 1417984.63, 0.00003},
    {800, 1499, 1326202.6, 1215892.27, 0.00001},
    {1500, 4999, 103783.5, 188002.5, 0.00001},
};

const struct mobile_money_group *mobile_money_groups(enum mobile_money_action action, size_t *count)
{
    *count = action == MOBILE_MONEY_PAYMENT ? ARRAY_LENGTH(payments) : ARRAY_LENGTH(transfers);
    return action == MOBILE_MONEY_PAYMENT ? payments : transfers;
}

struct mobile_money_random mobile_money_seeded(uint64_t seed)
{
    struct mobile_money_random random = {seed * 2 + 1}; /* xorshift must not start at zero */
    for (int i = 0; i < 16; i++)
        (void)mobile_money_below(&random, 2);
    return random;
}

/* xorshift64*, its upper 32 bits. */
static uint32_t draw(struct mobile_money_random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (uint32_t)((random->state * 0x2545f4914f6cdd1dull) >> 32);
}

uint64_t mobile_money_below(struct mobile_money_random *random, uint64_t below)
{
    ensure(below > 0 && below <= UINT32_MAX);
    return ((uint64_t)draw(random) * below) >> 32;
}

/* Above 0, at most 1. */
static double draw_unit(struct mobile_money_random *random)
{
    return ((double)draw(random) + 1) / 4294967296.0;
}

struct mobile_money_habit mobile_money_draw_habit(struct mobile_money_random *random,
                                                  enum mobile_money_action action, uint32_t count_max)
{
    size_t groups;
    const struct mobile_money_group *group = mobile_money_groups(action, &groups);
    const struct mobile_money_group *last = group + groups - 1;
    double at = draw_unit(random);
    for (; group < last && at > group->share; group++)
        at -= group->share;
    struct mobile_money_habit habit = {.mean = group->mean, .spread = group->spread};
    habit.count =
        group->count_min + (uint32_t)mobile_money_below(random, group->count_max - group->count_min + 1);
    if (habit.count > count_max)
        habit.count = count_max;
    /* One action has no deviation of its own: the next group's ratio stands in. */
    if (group->spread <= 0)
        habit.spread = group->mean * group[1].spread / group[1].mean;
    return habit;
}

double mobile_money_draw_amount(struct mobile_money_random *random, const struct mobile_money_habit *habit)
{
    static const double two_pi = 6.283185307179586;
    double ratio = habit->spread / habit->mean;
    double variance = log(1 + ratio * ratio);
    double radius = sqrt(-2 * log(draw_unit(random)));
    double normal = radius * cos(two_pi * draw_unit(random));
    double amount = exp(log(habit->mean) - variance / 2 + sqrt(variance) * normal);
    return fmin(fmax(amount, habit->mean / 100), habit->mean * 5);
}
