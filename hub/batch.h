/* What goes into the calls of one round (hub/batch.c); hub/submit.c sends and follows them. */
#ifndef RILL_HUB_BATCH_H
#define RILL_HUB_BATCH_H

#include "hub/engine_state.h"
#include "settlement/batch_size.h"

struct batch_call {
    struct settle_item *items;
    struct fund *funds;
    size_t item_count, fund_count;
    struct batch_room room;
    uint64_t returned[ASSETS_MAX]; /* by its items, and not funded from yet */
};

struct batch_round {
    struct batch_call calls[SETTLE_CALLS_MAX];
    size_t count;
    size_t calls_max;
    bool is_full;                   /* something was left for the next round */
    uint64_t pool_left[ASSETS_MAX]; /* of what the pool had before the round */
    uint64_t returned[ASSETS_MAX];  /* by earlier calls: the pool has it in the next round */
};

/* Gathers all that is signed and planned; the plans of funds are used up by that. */
void batch_gather(struct engine *engine, struct batch_round *round);
void batch_free(struct batch_round *round);

#endif
