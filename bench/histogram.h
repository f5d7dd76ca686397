/* A histogram of times in microseconds, exact below 128 and to 1.6 % above, in a fixed piece of memory: one process fills
 * it, another may read it meanwhile.
 */
#ifndef RILL_BENCH_HISTOGRAM_H
#define RILL_BENCH_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 1728 /* up to 2^32 us, 71 minutes; what takes longer is counted there */

struct histogram {
    uint64_t count, max_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t us);
/* Adds all of another one. */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The time that this share (0 to 1) of all values does not exceed; never more than the maximum. 0 if there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);
/* The bucket of a value, and the largest value of a bucket. */
size_t histogram_bucket(uint64_t us);
uint64_t histogram_bucket_end(size_t bucket);

#endif
