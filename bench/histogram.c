#include "bench/histogram.h"

/* Values below 128 have a bucket each; from there on every doubling is cut into 64. */
#define LINEAR 128u
#define STEPS  64u

size_t histogram_bucket(uint64_t us)
{
    if (us < LINEAR)
        return (size_t)us;
    if (us > UINT32_MAX)
        return HISTOGRAM_BUCKETS - 1;
    unsigned shift = 57u - (unsigned)__builtin_clzll(us); /* us >> shift lies in 64 … 127 */
    return LINEAR + (shift - 1) * STEPS + (size_t)(us >> shift) - STEPS;
}

uint64_t histogram_bucket_end(size_t bucket)
{
    if (bucket < LINEAR)
        return bucket;
    uint64_t shift = (bucket - LINEAR) / STEPS + 1, step = (bucket - LINEAR) % STEPS + STEPS;
    return ((step + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    histogram->buckets[histogram_bucket(us)]++;
    histogram->count++;
    if (us > histogram->max_us)
        histogram->max_us = us;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max_us > into->max_us)
        into->max_us = from->max_us;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    uint64_t rank = (uint64_t)(share * (double)histogram->count), seen = 0;
    if (histogram->count == 0)
        return 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > rank || seen == histogram->count) {
            uint64_t end = histogram_bucket_end(i);
            return end < histogram->max_us ? end : histogram->max_us;
        }
    }
    return histogram->max_us;
}
