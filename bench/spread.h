/* How measured values lie: their median, and how sure it is. */
#ifndef RILL_BENCH_SPREAD_H
#define RILL_BENCH_SPREAD_H

#include <stddef.h>

struct spread {
    double median, lower_quartile, upper_quartile;
    /* The true median is between these with at least 95 %, whatever the values' distribution (the order statistics by which
     * a sign test would not reject it). Fewer than 6 values cannot say that: then they are the smallest and the largest. */
    double low, high;
};

/* Of `count` values, at least one. */
struct spread spread_of(const double *values, size_t count);

#endif
