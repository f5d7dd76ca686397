#include "settlement/plan.h"

#include <stdlib.h>

#include "base/ensure.h"

static uint64_t at_most(uint64_t value, uint64_t limit)
{
    return value < limit ? value : limit;
}

static uint64_t at_least(uint64_t value, uint64_t limit)
{
    return value > limit ? value : limit;
}

/* A sum that ends at the largest amount there is: on the ledger, what would take the pool higher is recorded
 * as owed to the hub. */
static uint64_t plus(uint64_t a, uint64_t b)
{
    struct amount sum;
    return amount_add(amount_of(a), amount_of(b), &sum) ? sum.units : AMOUNT_LIMIT - 1;
}

static uint64_t above(uint64_t value, uint64_t limit)
{
    return value > limit ? value - limit : 0;
}

static uint64_t target_of(const struct plan_channel *channel)
{
    return at_least(channel->target.units, channel->need.units);
}

static uint64_t floor_of(const struct plan_channel *channel)
{
    return at_least(channel->floor.units, target_of(channel));
}

/* The plan while it is made. */
struct planning {
    struct plan_channel *channels;
    size_t count;
    uint64_t least, pool;
    struct plan_result *result;
};

/* What a channel needs more than it has; *full: what it could use. Both 0 if it is left as it is. */
static uint64_t shortage(const struct planning *plan, const struct plan_channel *channel, uint64_t *full)
{
    uint64_t room = channel->available_hub.units, needed = above(channel->need.units, room);
    *full = above(target_of(channel), room);
    if (channel->fundable && !channel->close && needed > 0 && (channel->urgent || *full >= plan->least))
        return needed;
    return *full = 0;
}

/* What lies idle. It is not worth an item of its own below the least. */
static uint64_t surplus(const struct planning *plan, const struct plan_channel *channel)
{
    if (!channel->online || channel->busy || channel->close)
        return 0;
    uint64_t idle = above(channel->available_hub.units, floor_of(channel));
    return channel->settle || idle >= plan->least ? idle : 0;
}

static void plan_payouts(struct planning *plan)
{
    struct plan_result *result = plan->result;
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_channel *channel = &plan->channels[i];
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
        plan->pool = plus(plan->pool, channel->hub_out.units);
    }
}

struct candidate {
    size_t index;
    uint64_t units, full;
};

static int larger_first(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;
    if (left->units != right->units)
        return left->units < right->units ? 1 : -1;
    return (left->index > right->index) - (left->index < right->index);
}

static struct candidate *short_ones(const struct planning *plan, size_t *found, uint64_t *needed,
                                    uint64_t *wanted)
{
    struct candidate *out = xmalloc(plan->count * sizeof(*out));
    *found = 0;
    *needed = *wanted = 0;
    for (size_t i = 0; i < plan->count; i++) {
        uint64_t full, units = shortage(plan, &plan->channels[i], &full);
        if (units == 0)
            continue;
        out[(*found)++] = (struct candidate){i, units, full};
        *needed = plus(*needed, units);
        *wanted = plus(*wanted, full);
    }
    qsort(out, *found, sizeof(*out), larger_first);
    return out;
}

/* The donors are a heap, the largest on top: a few of very many are taken, and sorting all would cost most of the plan's
 * time. */
static void sift_down(struct candidate *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && larger_first(&heap[child + 1], &heap[child]) < 0)
            child++;
        if (larger_first(&heap[at], &heap[child]) <= 0)
            return;
        struct candidate lower = heap[at];
        heap[at] = heap[child];
        heap[child] = lower;
    }
}

static struct candidate take_largest(struct candidate *heap, size_t *count)
{
    struct candidate largest = heap[0];
    heap[0] = heap[--*count];
    sift_down(heap, *count, 0);
    return largest;
}

/* Those whose channel has an item anyway, or the others. */
static struct candidate *donors(struct planning *plan, bool settled, size_t *found)
{
    struct candidate *heap = xmalloc(plan->count * sizeof(*heap));
    *found = 0;
    for (size_t i = 0; i < plan->count; i++) {
        uint64_t units = plan->channels[i].settle == settled ? surplus(plan, &plan->channels[i]) : 0;
        plan->result->idle.units = plus(plan->result->idle.units, units);
        if (units > 0)
            heap[(*found)++] = (struct candidate){i, units, units};
    }
    for (size_t at = *found / 2; at-- > 0;)
        sift_down(heap, *found, at);
    return heap;
}

static void take(struct planning *plan, const struct candidate *donor, uint64_t wanted)
{
    struct plan_channel *channel = &plan->channels[donor->index];
    struct plan_result *result = plan->result;
    uint64_t part = at_most(donor->units, wanted);
    if (!channel->settle) {
        part = at_most(donor->units, at_least(wanted, plan->least));
        channel->settle = true;
        result->items++;
        result->donors++;
    }
    channel->hub_out.units = part;
    result->moved.units = plus(result->moved.units, part);
    result->idle.units -= part;
    plan->pool = plus(plan->pool, part);
}

/* Brings the pool up to what is needed, and, without touching one more channel for it, towards what is wanted. */
static void plan_donors(struct planning *plan, uint64_t needed, uint64_t wanted)
{
    size_t settled, others;
    struct candidate *touched = donors(plan, true, &settled), *idle = donors(plan, false, &others);
    while (settled > 0 && plan->pool < wanted) {
        struct candidate largest = take_largest(touched, &settled);
        take(plan, &largest, wanted - plan->pool);
    }
    while (others > 0 && plan->pool < needed) {
        struct candidate largest = take_largest(idle, &others);
        take(plan, &largest, wanted - plan->pool);
    }
    free(touched);
    free(idle);
}

static void give(struct planning *plan, const struct candidate *to, uint64_t up_to)
{
    struct amount *fund = &plan->channels[to->index].fund;
    uint64_t part = at_most(above(up_to, fund->units), plan->pool);
    fund->units += part;
    plan->pool -= part;
}

/* Small shortages first: with a pool that is too low, the most channels get what they need. */
static void plan_funds(struct planning *plan, const struct candidate *lacking, size_t found)
{
    struct plan_result *result = plan->result;
    for (size_t i = found; i-- > 0;)
        give(plan, &lacking[i], lacking[i].units);
    for (size_t i = found; i-- > 0;)
        give(plan, &lacking[i], lacking[i].full);
    for (size_t i = 0; i < found; i++) {
        uint64_t fund = plan->channels[lacking[i].index].fund.units;
        result->funds += fund > 0;
        result->missing.units = plus(result->missing.units, above(lacking[i].units, fund));
    }
}

struct plan_result plan_asset(struct plan_channel *channels, size_t count, const struct plan_policy *policy)
{
    struct plan_result result = {0};
    struct planning plan = {channels, count, policy->least_move.units,
                            at_most(policy->pool.units, AMOUNT_LIMIT - 1), &result};
    for (size_t i = 0; i < count; i++) {
        channels[i].settle = false;
        channels[i].client_out = channels[i].hub_out = channels[i].fund = amount_of(0);
    }
    plan_payouts(&plan);
    size_t found;
    uint64_t needed, wanted;
    struct candidate *lacking = short_ones(&plan, &found, &needed, &wanted);
    plan_donors(&plan, needed, wanted);
    plan_funds(&plan, lacking, found);
    free(lacking);
    result.pool_after = amount_of(plan.pool);
    return result;
}
