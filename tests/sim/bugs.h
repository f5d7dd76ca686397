/* The planted bugs; see base/planted.h. */
#ifndef RILL_TESTS_SIM_BUGS_H
#define RILL_TESTS_SIM_BUGS_H

#include "base/planted.h"
#include "tests/sim/sim.h"

struct sim_bug {
    unsigned number; /* enum planted_bug */
    const char *name;
    uint64_t seeds_max; /* within so many it is found */
    const char *what;
};
extern const struct sim_bug sim_bugs[];
extern const size_t sim_bug_count;

/* From now on it is there; 0: none is. */
void sim_plant(unsigned bug);
/* This build has the bugs. */
bool sim_can_plant(void);

#endif
