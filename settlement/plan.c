#include "settlement/plan.h"

#include <stdlib.h>

#include "base/ensure.h"

static uint64_t at_most(uint64_t value, uint64_t limit)
{
    return value < limit ? value : limit;
}

/* A sum that ends at the largest amount there is: on the ledger, what would take the pool higher is recorded
 * as owed to the hub. */
static uint64_t plus(uint64_t a, uint64_t b)
{
    struct amount sum;
    return amount_add(amount_of(a), amount_of(b), &sum) ? sum.units : AMOUNT_LIMIT - 1;
}

/* What a channel lacks of its target, given what the batch itself takes from it. */
static uint64_t shortage(const struct plan_channel *channel)
{
    if (!channel->fundable || channel->close || channel->target.units <= channel->available_hub.units)
        return 0;
    return channel->target.units - channel->available_hub.units;
}

static uint64_t surplus(const struct plan_channel *channel)
{
    if (!channel->online || channel->busy || channel->close ||
        channel->available_hub.units <= channel->target.units)
        return 0;
    return channel->available_hub.units - channel->target.units;
}

static void plan_payouts(struct plan_channel *channels, size_t count, struct plan_result *result,
                         uint64_t *pool)
{
    for (size_t i = 0; i < count; i++) {
        struct plan_channel *channel = &channels[i];
        if (!channel->online || channel->busy)
            continue;
        if (channel->close) {
            channel->settle = true;
            channel->client_out = channel->balance_client;
            channel->hub_out = channel->balance_hub;
        } else if (channel->payout.units > 0 && channel->payout.units <= channel->available_client.units) {
            channel->settle = true;
            channel->client_out = channel->payout;
        } else {
            continue;
        }
        result->items++;
        result->payouts.units = plus(result->payouts.units, channel->client_out.units);
        *pool = plus(*pool, channel->hub_out.units);
    }
}

struct candidate {
    size_t index;
    uint64_t units;
};

static int larger_first(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;
    if (left->units != right->units)
        return left->units < right->units ? 1 : -1;
    return (left->index > right->index) - (left->index < right->index);
}

static struct candidate *collect(const struct plan_channel *channels, size_t count,
                                 uint64_t (*measure)(const struct plan_channel *), size_t *found)
{
    struct candidate *out = xmalloc(count * sizeof(*out));
    *found = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t units = measure(&channels[i]);
        if (units > 0)
            out[(*found)++] = (struct candidate){i, units};
    }
    qsort(out, *found, sizeof(*out), larger_first);
    return out;
}

/* Takes `wanted` out of idle channels into the pool, the largest first; a channel that already has an item
 * costs no further touch, so those go first of all. */
static void plan_surplus(struct plan_channel *channels, size_t count, uint64_t wanted,
                         struct plan_result *result, uint64_t *pool)
{
    size_t found;
    struct candidate *idle = collect(channels, count, surplus, &found);
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < found && wanted > 0; i++) {
            struct plan_channel *channel = &channels[idle[i].index];
            if (channel->settle != (turn == 0) || channel->hub_out.units > 0)
                continue;
            uint64_t part = at_most(idle[i].units, wanted);
            if (!channel->settle)
                result->items++;
            channel->settle = true;
            channel->hub_out.units = part;
            result->moved.units = plus(result->moved.units, part);
            *pool = plus(*pool, part);
            wanted -= part;
        }
    }
    free(idle);
}

/* Small shortages first: with a pool that is too low, the most channels get their room. */
static void plan_funds(struct plan_channel *channels, size_t count, struct plan_result *result,
                       uint64_t *pool)
{
    size_t found;
    struct candidate *lacking = collect(channels, count, shortage, &found);
    for (size_t i = found; i-- > 0;) {
        uint64_t part = at_most(lacking[i].units, *pool);
        if (part > 0) {
            channels[lacking[i].index].fund.units = part;
            result->funds++;
            *pool -= part;
        }
        result->missing.units = plus(result->missing.units, lacking[i].units - part);
    }
    free(lacking);
}

struct plan_result plan_asset(struct plan_channel *channels, size_t count, struct amount pool_before)
{
    struct plan_result result = {0};
    uint64_t pool = at_most(pool_before.units, AMOUNT_LIMIT - 1), lacking = 0;
    for (size_t i = 0; i < count; i++) {
        channels[i].settle = false;
        channels[i].client_out = channels[i].hub_out = channels[i].fund = amount_of(0);
    }
    plan_payouts(channels, count, &result, &pool);
    for (size_t i = 0; i < count; i++)
        lacking = plus(lacking, shortage(&channels[i]));
    if (lacking > pool)
        plan_surplus(channels, count, lacking - pool, &result, &pool);
    plan_funds(channels, count, &result, &pool);
    result.pool_after = amount_of(pool);
    return result;
}
