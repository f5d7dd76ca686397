/* The netting engine: which channels a batch touches (protocol.md, section 8). Pure; docs/settlement.md tells the whole.
 *
 * Payouts and closes asked for come first, whatever the pool has. Then every channel with less room than it needs is
 * filled: from the pool, from what the batch's own items return to it, and, for what is still missing, from channels
 * where the hub's money lies idle. A channel whose client is offline is never asked for a signature, and none is taken
 * below its floor.
 *
 * The fewest channels. A channel is touched by an item, a fund, or both. Touched in any plan that does the work are
 *   1. those that are paid out or closed: asked for by their clients;
 *   2. those short of room, one fund each: nothing but a fund gives a channel room.
 * What is chosen is the donors: other channels that give room up. An item of kind 1 can give without a further touch, so
 * those give first. Let D be what is then still missing for kind 2, and d(1) >= d(2) >= … what each donor can give: any k
 * donors together give at most d(1) + … + d(k), so no set smaller than the least k with d(1) + … + d(k) >= D will do,
 * and the k largest do: the largest first is minimal, and no search is needed. If all of them give less than D, any plan
 * that gives as much must take all. Two things keep this exact:
 *   - only what is needed (`need`) may make a donor be touched; filling up to `target`, so that a channel is not short again
 *     at once, takes what the pool has and what donors touched anyway have left;
 *   - a donor gives its whole idle money before the next is touched, and the last one what is still wanted.
 * tests/settlement/test_plan.c holds it against every subset in small cases.
 */
#ifndef RILL_SETTLEMENT_PLAN_H
#define RILL_SETTLEMENT_PLAN_H

#include "base/amount.h"

/* One channel of the asset that is planned. */
struct plan_channel {
    bool online;   /* its client can sign now */
    bool busy;     /* a settlement is under way, or it is not open: it can be funded, not settled */
    bool fundable; /* open, or to be opened by the fund; false: closing, or a signed close is alive */
    bool urgent;   /* its room was asked for, or is owed: funded however little it is */
    bool close;    /* asked for by the client, and possible now */
    struct amount available_hub;               /* what the hub can take out */
    struct amount available_client;            /* what the client can take out */
    struct amount payout;                      /* asked for by the client; 0: nothing */
    struct amount balance_client, balance_hub; /* for a close */
    struct amount need;                        /* with less room than this it is short */
    struct amount target; /* a fund fills it up to here if it can; below `need` it counts as `need` */
    struct amount floor;  /* never taken below; below `target` it counts as `target` */
    /* out */
    bool settle; /* propose an item */
    struct amount client_out, hub_out, fund;
};

/* What the operator allows. */
struct plan_policy {
    struct amount pool;       /* what the ledger's pool may be used for: 0 while it is not known */
    struct amount least_move; /* the hub moves no less by itself; 0: anything */
};

struct plan_result {
    size_t items, funds, donors;  /* donors: items that only move the hub's money */
    struct amount pool_after;     /* if all items are signed; at most 2^63 - 1 */
    struct amount missing;        /* needed room that could not be given: the pool is too low */
    struct amount payouts, moved; /* sums; moved: by donors, and by what is paid out anyway */
    struct amount idle;           /* what donors could still give */
};

/* Plans one asset; fills the out fields. */
struct plan_result plan_asset(struct plan_channel *channels, size_t count, const struct plan_policy *policy);

#endif
