/* Measuring a round: warm-up, then a window of which both ends are taken at one moment each.
 */
#ifndef RILL_BENCH_MEASURE_H
#define RILL_BENCH_MEASURE_H

#include "bench/crew.h"

#define SAMPLES_MAX 2048

/* Where things stood during the window. */
struct sample {
    double at_s;
    uint64_t paid, hub_cpu_us, load_cpu_us;
};

struct figures {
    double seconds;
    uint64_t payments, failed;
    uint64_t hub_user_us, hub_system_us, load_cpu_us;
    uint64_t syncs, journal_bytes;
    double journal_seconds; /* between the two looks at the hub's counters, which take a moment themselves */
    uint64_t journal_payments, journal_updates; /* completed; signed or accepted: by the hub's counters */
    uint64_t hub_rss_kib, signatures_checked;
    struct histogram latency;
    struct sample samples[SAMPLES_MAX];
    size_t sample_count;
    uint64_t sample_every_us;
};

struct figures *figures_new(void);
double figures_rate(const struct figures *figures);
double figures_cpu_us(const struct figures *figures); /* the hub's, per payment; 0 without payments */

/* Runs a round: warm-up, window, then waits until all has ended. `name` is for the line on stderr. */
bool measure_round(struct crew *crew, const struct load_plan *plan, const char *name, uint64_t warm_up_s,
                   uint64_t seconds, struct figures *out);

/* What a part of a window came to. */
struct slice {
    double seconds;
    uint64_t payments, hub_cpu_us;
};
/* A window in slices, the payments going on without a pause from its beginning to its end. */
struct slicing {
    /* Brings about what a slice is to be measured under. False, after world_fail: the round ends. */
    bool (*begin)(void *context, size_t slice);
    void *context;
    size_t count;
    uint64_t lead_us, slice_us; /* after begin() so long is not counted, then so long is */
};
/* The same as measure_round, whose window is as long as the slices take; out is of all of it, slices[slicing->count] of each. */
bool measure_slices(struct crew *crew, const struct load_plan *plan, const char *name, uint64_t warm_up_s,
                    const struct slicing *slicing, struct slice *slices, struct figures *out);

#endif
