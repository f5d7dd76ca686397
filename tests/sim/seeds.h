/* Many seeds, each run apart from this process, so that one that stops its process says so and no more. */
#ifndef RILL_TESTS_SIM_SEEDS_H
#define RILL_TESTS_SIM_SEEDS_H

#include "tests/sim/sim.h"

struct seed_verdict {
    bool good;
    uint64_t seed, hash; /* hash: of a good one's trace */
    char why[512];       /* of a bad one: the last line that it said */
};

/* One seed in a process of its own. bug: enum planted_bug, 0: none. */
struct seed_verdict seed_run(const struct sim_options *options, unsigned bug);
/* Seeds from options->seed on, until one is bad or `count` have run: *done of them, the bad one among them. What
 * happened in them is added to *coverage. True in the verdict: all were good. progress: where the whole stands, for
 * people; NULL: silent. */
struct seed_progress {
    uint64_t before, of; /* seeds that ran before these, and in all */
};
struct seed_verdict seeds_run(const struct sim_options *options, uint64_t count, unsigned bug, uint64_t *done,
                              struct sim_coverage *coverage, const struct seed_progress *progress);
/* The smallest world in which the seed is still bad: fewer clients, fewer steps, classes of faults off. */
struct sim_options seed_shrink(const struct sim_options *options, unsigned bug);
/* What to type to see it again. */
void seed_print_command(FILE *out, const struct sim_options *options, unsigned bug);

#endif
