/* Will the pool last? Given what is expected to come to the channels: when it will be too low, and by how much. Pure.
 *
 * What channels need of the pool is summed up for four moments, so that it can be added up over shards; between two
 * moments it is taken to grow evenly. Against it stand the pool, idle money that donors online could give, and what has
 * been coming back lately. Nothing else is hoped for.
 */
#ifndef RILL_SETTLEMENT_OUTLOOK_H
#define RILL_SETTLEMENT_OUTLOOK_H

#include "base/amount.h"

#define OUTLOOK_MARKS   4
#define OUTLOOK_DAY_S   86400
#define OUTLOOK_FOREVER UINT64_MAX

/* All sums in units, over any number of channels. */
struct outlook {
    uint64_t need[OUTLOOK_MARKS]; /* now, in an hour, in six, in a day */
    uint64_t idle;                /* that donors could give now */
    uint64_t returning;           /* a day */
};

/* A channel with so much room, which should never have less than need, and expects `daily` units a day. */
void outlook_add_channel(struct outlook *outlook, uint64_t room, uint64_t need, uint64_t daily);
void outlook_add(struct outlook *sum, const struct outlook *one);

struct outlook_verdict {
    uint64_t short_in_s; /* when the pool is too low; 0: now; OUTLOOK_FOREVER: not within a day */
    uint64_t lacking;    /* units that would last for the day; 0 if nothing is lacking */
};
struct outlook_verdict outlook_judge(const struct outlook *outlook, uint64_t pool);

#endif
