#include "ledger/urgency.h"

struct urgency_pace urgency_pace(uint64_t left_s, uint64_t whole_s)
{
    if (whole_s == 0 || left_s > whole_s / 2)
        return (struct urgency_pace){URGENCY_CALM_BLOCKS, URGENCY_CALM_S};
    if (left_s > whole_s / 4)
        return (struct urgency_pace){2, URGENCY_CALM_S / 2};
    return (struct urgency_pace){1, 1};
}

unsigned_wide urgency_tip(unsigned_wide start, unsigned_wide most, uint64_t left_s, uint64_t whole_s)
{
    if (whole_s == 0 || most <= start)
        return start;
    if (left_s >= whole_s)
        return start;
    /* In thousandths: the room (below 2^64 wei) times 10^9 stays far from 2^128. */
    unsigned_wide gone = (unsigned_wide)(whole_s - left_s) * 1000 / whole_s;
    return start + (most - start) * (gone * gone * gone) / 1000000000u;
}

unsigned_wide urgency_fee_most(uint64_t max_fee_per_gas, unsigned_wide budget_wei, uint64_t gas_limit)
{
    if (budget_wei == 0 || gas_limit == 0)
        return max_fee_per_gas;
    unsigned_wide most = budget_wei / gas_limit;
    return most < max_fee_per_gas ? most : max_fee_per_gas;
}
