/* The load on a watchtower: many channels' appointments from the hub's own key over one link, as a hub sends them that
 * comes back to a tower after an outage. The clients' proofs are signed beforehand. */
#ifndef RILL_BENCH_TOWER_LOAD_H
#define RILL_BENCH_TOWER_LOAD_H

#include "bench/world.h"

struct tower_load;

/* `channels` open channels on the ledger, each with a client whose key the load has. */
struct tower_load *tower_load_new(struct world *world, uint64_t channels);
void tower_load_free(struct tower_load *load);

struct tower_load_result {
    double seconds;        /* from the first frame sent to the last receipt */
    uint64_t tower_cpu_us; /* of the tower's process meanwhile */
};
/* Signs proof `nonce` of each channel, then leaves all of them with the tower, `window` unanswered at a time, and waits
 * for the receipts. verify: each receipt's signature is checked as it comes, as a hub does. False: one was refused, or
 * is not good. */
bool tower_load_run(struct tower_load *load, uint64_t nonce, uint32_t window, bool verify,
                    struct tower_load_result *out);

#endif
