/* The clients of a run: one or several load processes, their channels, and the money they begin with.
 */
#ifndef RILL_BENCH_CREW_H
#define RILL_BENCH_CREW_H

#include "bench/world.h"

#define CREW_PROCESSES_MAX 16

struct crew_layout {
    uint32_t processes;
    uint32_t payers, payees; /* of each process; players that pay come first */
    uint64_t start_units;    /* what each payer gets before the first payment */
    uint64_t room_units;     /* what the hub puts into each channel */
    bool connections_only;   /* no channels: `payers` clients that connect and stay */
};

struct crew {
    struct world *world;
    struct crew_layout layout;
    uint32_t players; /* of each process, the bank included */
    struct load_player *all;
    uint64_t block; /* the ledger's, before the first channel was opened */
    struct child loads[CREW_PROCESSES_MAX];
    struct load_share *shares[CREW_PROCESSES_MAX];
    uint32_t round;
    wide balance; /* of all clients together, when crew_check found it good */
};

/* What all have done so far. */
struct crew_counts {
    uint64_t online, started, paid, failed, signatures_made, signatures_checked, receipts_checked, cpu_us;
};

/* Makes the keys and opens the channels on the ledger. */
bool crew_open(struct crew *crew, struct world *world, const struct crew_layout *layout);
/* With the hub serving: starts the processes, waits until all clients are online, hands out the money. */
bool crew_start(struct crew *crew);
/* A round by this plan, whose payers, payees and rate are those of all processes together. */
void crew_begin(struct crew *crew, const struct load_plan *plan);
void crew_phase(struct crew *crew, enum load_phase phase);
/* Waits until every payment of the round has ended and every update is acknowledged. */
bool crew_wait(struct crew *crew, uint64_t timeout_ms);
struct crew_counts crew_count(const struct crew *crew);
/* Why the first payment failed; NULL if none did. */
const char *crew_first_failure(const struct crew *crew);
/* Latencies of the phase MEASURE, all processes together; and forgets them. */
void crew_latency(struct crew *crew, struct histogram *out);
/* A process that failed, or has ended, makes this false. */
bool crew_is_well(struct crew *crew);
/* Every client has what its payments say, all that was paid was received, each payment has its receipt, and the hub's and
 * the ledger's books agree. Only at rest. */
bool crew_check(struct crew *crew);
/* Closes the connections and ends the processes. */
bool crew_leave(struct crew *crew);
void crew_free(struct crew *crew);

#endif
