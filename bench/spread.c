#include "bench/spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

static int compare(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

/* Between two values where the place is between them. */
static double quantile(const double *sorted, size_t count, double share)
{
    double place = share * (double)(count - 1);
    size_t below = (size_t)place;
    double part = place - (double)below;
    return below + 1 < count ? sorted[below] + part * (sorted[below + 1] - sorted[below]) : sorted[below];
}

/* How many values may be left off at either end: most k with P(at most k - 1 of `count` coins show heads) <= 2.5 %. */
static size_t left_off(size_t count)
{
    size_t k = 0;
    double below = 0;
    for (;; k++) {
        double coins = (double)count, heads = (double)k;
        below += exp(lgamma(coins + 1) - lgamma(heads + 1) - lgamma(coins - heads + 1) - coins * log(2));
        if (below > 0.025)
            return k;
    }
}

struct spread spread_of(const double *values, size_t count)
{
    ensure(count > 0);
    double *sorted = xmalloc(count * sizeof(*sorted));
    memcpy(sorted, values, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare);
    size_t off = left_off(count), at = off > 0 ? off - 1 : 0;
    struct spread spread = {.median = quantile(sorted, count, 0.5),
                            .lower_quartile = quantile(sorted, count, 0.25),
                            .upper_quartile = quantile(sorted, count, 0.75),
                            .low = sorted[at],
                            .high = sorted[count - 1 - at]};
    free(sorted);
    return spread;
}
