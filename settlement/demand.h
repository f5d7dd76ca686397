/* How much comes to a channel, and what room that takes. Pure.
 *
 * One number a channel, four bytes: an exponentially weighted rate that rises at once with a busier time and falls slowly
 * after it. It is an estimate and never an account: no money is booked by it, so it may be a float.
 */
#ifndef RILL_SETTLEMENT_DEMAND_H
#define RILL_SETTLEMENT_DEMAND_H

#include "base/amount.h"

#define DEMAND_DAY_S 86400

/* The rate (units per second) after `passed` came in elapsed_ms > 0. A quieter time counts with the weight
 * elapsed / (elapsed + memory_ms). */
float demand_sample(float rate, struct amount passed, uint64_t elapsed_ms, uint64_t memory_ms);
/* The plain average: for what is hoped for, where demand_sample is for what is feared. */
float demand_average(float rate, struct amount passed, uint64_t elapsed_ms, uint64_t memory_ms);
/* What is expected to come in so many seconds, times percent / 100. At most 2^63 - 1. */
struct amount demand_room(float rate, uint64_t seconds, uint64_t percent);
/* The rate as a whole number for records, units a day; and back. */
uint64_t demand_daily(float rate);
float demand_of_daily(uint64_t daily);

#endif
