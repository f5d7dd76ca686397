/* The times of a unilateral close (protocol.md, sections 6 and 7). */
#include "ledger/contract.h"

uint64_t close_time(const struct closing *closing, uint64_t challenge_period, unsigned eighths)
{
    unsigned_wide time = (unsigned_wide)closing->deadline + (unsigned_wide)challenge_period * eighths / 8;
    return time > UINT64_MAX ? UINT64_MAX : (uint64_t)time;
}

uint64_t late_locks_from(uint64_t deadline, uint64_t challenge_period)
{
    uint64_t room = challenge_period / 8;
    return deadline > room ? deadline - room : 0;
}
