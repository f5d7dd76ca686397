/* What the observer knows of a channel: who has let out, received and acknowledged what. */
#ifndef RILL_TESTS_SIM_OBSERVER_H
#define RILL_TESTS_SIM_OBSERVER_H

#include <uthash.h>

#include "tests/sim/sim.h"

struct signed_proof {
    struct balance_proof proof;
    struct signature signature;
};

/* Of one side's stream: the locks that it has, and what it dropped and may not touch before the other's REVOKE. */
struct observed_lock {
    uint64_t id, amount;
    uint64_t dropped; /* by the update with this nonce; 0: it is pending */
};
struct observed_locks {
    struct observed_lock *all;
    size_t count, capacity;
};

struct sim_stream {
    struct hash channel;
    unsigned client;
    struct signed_proof left[2], arrived[2]; /* by whose proof it is */
    uint64_t acknowledged[2];
    struct observed_locks locks[2];
    uint64_t settle_deadline;
    UT_hash_handle hh;
};
struct sim_stream *observer_stream(struct sim *sim, const struct hash *channel);

/* frozen.c: the operations of an update that leaves; a REVOKE that arrives at the stream's signer; what is frozen. */
void frozen_update(struct sim *sim, struct sim_stream *stream, enum side side, const struct update *update);
void frozen_revoked(struct sim_stream *stream, enum side side, uint64_t min_nonce);
uint64_t frozen_units(const struct sim_stream *stream, enum side side);

/* tower_receipts.c: a frame leaves a tower; what it promised is there; the end. */
void receipt_leaves(struct sim *sim, const struct sim_link *link, const uint8_t *frame, size_t length);
void receipts_check(struct sim *sim);
void receipts_free(struct sim *sim);

#endif
