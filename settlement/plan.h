/* The netting engine: which channels a batch touches (protocol.md, section 8). Pure.
 *
 * Payouts and closes asked for come first. Then channels short of inbound room are filled: from the pool and
 * from what the batch itself returns to it, and, for what is still missing, from channels where the hub's
 * funds lie idle, the largest surplus first, so that the fewest channels are touched. A channel whose client
 * is offline is never asked for a signature, and no channel is taken below its own target.
 */
#ifndef RILL_SETTLEMENT_PLAN_H
#define RILL_SETTLEMENT_PLAN_H

#include "base/amount.h"

/* One channel of the asset that is planned. */
struct plan_channel {
    bool online;   /* its client can sign now */
    bool busy;     /* a settlement is under way, or it is not open: it can be funded, not settled */
    bool fundable; /* open, or to be opened by the fund; false: closing, or a signed close is alive */
    struct amount available_hub;               /* what the hub can take out */
    struct amount available_client;            /* what the client can take out */
    struct amount payout;                      /* asked for by the client; 0: nothing */
    bool close;                                /* asked for by the client, and possible now */
    struct amount balance_client, balance_hub; /* for a close */
    struct amount target;                      /* inbound room that it should have */
    /* out */
    bool settle; /* propose an item */
    struct amount client_out, hub_out, fund;
};

struct plan_result {
    size_t items, funds;
    struct amount pool_after;     /* if all items are signed; at most 2^63 - 1 */
    struct amount missing;        /* room that could not be given: the pool is too low */
    struct amount payouts, moved; /* sums */
};

/* Plans one asset; fills the out fields. `pool` is what the ledger's pool may be used for: 0 while it is not
 * known. */
struct plan_result plan_asset(struct plan_channel *channels, size_t count, struct amount pool);

#endif
