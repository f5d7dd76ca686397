/* What a batch is planned from, and what it asks of clients: settlement/plan.h has the choice itself.
 *
 * A channel needs room for what its client asked for, for what is owed to it, and for what is expected to come until the
 * next batch has landed, times settings.room_percent. Below that it is short. A fund fills it up for two such times, and up
 * to what its client once asked for; above idle_bps of that the hub's money counts as idle.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/planted.h"
#include "hub/engine_state.h"

#define UNASKED_WINDOW_S  600 /* how long a client that does not answer binds what the hub wanted to move */
#define WINDOW_DEFAULT_MS 600000 /* between batches, where the operator starts them */
#define MEMORY_MS         3600000
#define MEMORY_WINDOWS    4
#define REFILL_PERCENT    50 /* of what a client once asked for: with less room than that it is short */

/* ---- demand ---- */

static uint64_t window_ms(const struct engine *engine)
{
    uint64_t interval_s = engine->settings.settle_interval_s;
    return interval_s == 0 ? WINDOW_DEFAULT_MS : interval_s * 1000;
}

/* From this batch until the next one has landed. */
static uint64_t horizon_s(const struct engine *engine)
{
    return (window_ms(engine) + engine->settings.settle_collect_ms + engine->settle_took_ms) / 1000 + 1;
}

static unsigned magnitude(uint64_t value)
{
    unsigned bits = 0;
    for (; value > 0; value >>= 1)
        bits++;
    return bits;
}

/* One look at all channels: so much time has passed since the last one; 0: too little to judge by, as before a plan
 * out of turn. */
struct sample {
    uint64_t elapsed_ms, memory_ms;
};

static struct sample sample_begin(struct engine *engine)
{
    uint64_t window = window_ms(engine);
    struct sample sample = {.memory_ms =
                                MEMORY_WINDOWS * window > MEMORY_MS ? MEMORY_WINDOWS * window : MEMORY_MS};
    if (engine->now_ms < engine->demand_ms + window / 2)
        return sample;
    sample.elapsed_ms = engine->now_ms - engine->demand_ms;
    engine->demand_ms = engine->now_ms;
    for (size_t i = 0; i < engine->pool_count; i++) {
        struct pool *pool = &engine->pools[i];
        pool->returning =
            demand_average(pool->returning, pool->returned, sample.elapsed_ms, sample.memory_ms);
        pool->returned = amount_of(0);
    }
    return sample;
}

/* On disk it is within a factor of two: enough to go on from, and a steady flow writes nothing. */
static void sample_channel(struct engine *engine, struct hub_channel *channel, const struct sample *sample)
{
    float before = channel->demand;
    if (sample->elapsed_ms == 0 || (before == 0 && amount_is_zero(channel->passed_on)))
        return;
    channel->demand = demand_sample(before, channel->passed_on, sample->elapsed_ms, sample->memory_ms);
    channel->passed_on = amount_of(0);
    if (magnitude(demand_daily(before)) != magnitude(demand_daily(channel->demand)))
        settle_want_changed(engine, channel);
}

void rebalance_returned(struct engine *engine, const struct hub_channel *channel, struct amount hub_out)
{
    struct pool *pool = settle_pool(engine, &channel->channel->key.asset);
    struct amount sum;
    if (pool != NULL && amount_add(pool->returned, hub_out, &sum))
        pool->returned = sum;
}

/* ---- one channel ---- */

static uint64_t clamp_units(wide value)
{
    return value < 0 ? 0 : value >= (wide)AMOUNT_LIMIT ? AMOUNT_LIMIT - 1 : (uint64_t)value;
}

static struct amount larger(struct amount a, struct amount b)
{
    return amount_compare(a, b) > 0 ? a : b;
}

static struct amount share(struct amount of, uint64_t parts, uint64_t whole)
{
    return amount_of(clamp_units((wide)((unsigned_wide)of.units * parts / whole)));
}

static bool may_close(struct hub_channel *channel)
{
    struct channel *machine = channel->channel;
    return lock_set_count(machine->streams[0].locks) == 0 && lock_set_count(machine->streams[1].locks) == 0 &&
           amount_is_zero(stream_dropped(&machine->streams[0])->frozen) &&
           amount_is_zero(stream_dropped(&machine->streams[1])->frozen) &&
           channel_own(machine)->proof.nonce == machine->acknowledged && channel->due_head == NULL;
}

static void describe_room(const struct engine *engine, struct hub_channel *channel, struct plan_channel *out)
{
    struct amount owed = PLANTED(REFUND_WITHOUT_ROOM) ? amount_of(0) : due_refunds(channel);
    struct amount asked = larger(channel->inbound_wanted, owed);
    struct amount expected = demand_room(channel->demand, horizon_s(engine), engine->settings.room_percent);
    struct amount given = share(channel->room_floor, REFILL_PERCENT, 100);
    out->urgent = !amount_is_zero(asked);
    out->need = larger(larger(asked, given), larger(expected, channel->passed_on));
    out->target = larger(larger(out->need, channel->room_floor), share(expected, 2, 1));
    out->floor = share(out->target, engine->settings.idle_bps, 10000);
}

static void describe(const struct engine *engine, struct hub_channel *channel, struct plan_channel *out)
{
    const struct channel *machine = channel->channel;
    *out = (struct plan_channel){
        .online = channel->resumed && !channel->unanswered,
        .busy = channel_settlement(machine)->phase != SETTLEMENT_NONE || !channel_is_usable(channel),
        .fundable = settle_may_fund(channel),
        .available_hub = amount_of(clamp_units(channel_available(machine, SIDE_HUB))),
        .available_client = amount_of(clamp_units(channel_available(machine, SIDE_CLIENT))),
        .payout = channel->payout_wanted,
        .close = channel->close_wanted && may_close(channel),
        .balance_client = amount_of(clamp_units(channel_balance(machine, SIDE_CLIENT))),
        .balance_hub = amount_of(clamp_units(channel_balance(machine, SIDE_HUB))),
    };
    describe_room(engine, channel, out);
}

/* ---- asking ---- */

static void say_proposal(struct engine *engine, struct hub_channel *channel)
{
    const struct settlement *settlement = channel_settlement(channel->channel);
    struct message message = {.type = MESSAGE_SETTLE_PROPOSE};
    message.settle_propose.channel = channel->channel->id;
    message.settle_propose.seq = settlement->seq;
    message.settle_propose.client_out = settlement->client_out;
    message.settle_propose.hub_out = settlement->hub_out;
    message.settle_propose.deadline = settlement->deadline;
    message.settle_propose.close = settlement->close;
    engine_emit(engine, channel->client->peer, &message);
    channel->answer_round = engine->settle_round + 1;
    channel->unanswered = true;
    engine->settle_unsigned++;
}

/* What was asked for may wait for its signature as long as section 8 lets it. What the hub wants to move by
 * itself is bound for a shorter time, should the client not answer. A little is left for a client whose view
 * lags behind. */
static uint64_t deadline_of(const struct engine *engine, const struct plan_channel *plan)
{
    uint64_t window = engine->settings.terms.settle_window_s;
    bool is_asked = plan->close || !amount_is_zero(plan->client_out);
    if (!is_asked && window > UNASKED_WINDOW_S)
        window = UNASKED_WINDOW_S;
    return engine->head.confirmed_time + window - window / 8;
}

static void propose(struct engine *engine, struct hub_channel *channel, const struct plan_channel *plan)
{
    enum code code = channel_propose(channel->channel, plan->client_out, plan->hub_out,
                                     deadline_of(engine, plan), plan->close);
    if (code != CODE_OK) {
        log_warn("a settlement could not be proposed: %s", code_name(code));
        return;
    }
    engine_touch(engine, channel);
    say_proposal(engine, channel);
}

/* A payout that could be had when it was asked for, and cannot any more: said so, and forgotten. */
static void drop_payout(struct engine *engine, struct hub_channel *channel, const struct plan_channel *plan)
{
    if (plan->busy || !plan->online || channel->close_wanted ||
        amount_compare(channel->payout_wanted, plan->available_client) <= 0)
        return;
    struct error_reference reference = {.present = true,
                                        .type = MESSAGE_SETTLE_REQUEST,
                                        .has_channel = true,
                                        .channel = channel->channel->id};
    engine_emit_error(engine, channel->client->peer, CODE_AVAILABLE,
                      "the payout asked for is not available any more", &reference);
    channel->payout_wanted = amount_of(0);
    settle_want_changed(engine, channel);
}

/* ---- one asset ---- */

/* Everything of one asset that a batch may touch: its channels, then the channels that are still wishes. */
struct asset_plan {
    struct plan_channel *plans;
    struct hub_channel **channels;
    struct open_wish **wishes;
    size_t channel_count, wish_count;
};

/* One walk over all channels: what it costs is memory that is waited for. */
static void describe_all(struct engine *engine, const struct address *asset, const struct sample *sample,
                         struct asset_plan *out)
{
    size_t channels_max = engine->channels_by_id.count;
    out->channels = xcalloc(channels_max + 1, sizeof(struct hub_channel *));
    out->wishes = xcalloc(engine->wish_count + 1, sizeof(struct open_wish *));
    out->plans = xcalloc(channels_max + engine->wish_count + 1, sizeof(*out->plans));
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (!address_equal(&channel->channel->key.asset, asset) ||
            channel->channel->funds.stage == STAGE_CLOSED)
            continue;
        sample_channel(engine, channel, sample);
        describe(engine, channel, &out->plans[out->channel_count]);
        out->channels[out->channel_count++] = channel;
    }
    for (size_t i = 0; i < engine->wish_count; i++) {
        struct open_wish *wish = &engine->wishes[i];
        if (!address_equal(&wish->key.asset, asset))
            continue;
        wish->fund_planned = amount_of(0);
        out->plans[out->channel_count + out->wish_count] =
            (struct plan_channel){.busy = true, .fundable = true, .urgent = true, .need = wish->inbound};
        out->wishes[out->wish_count++] = wish;
    }
}

/* What the channels will need of the pool, as this plan leaves them. */
static void look_ahead(struct pool *pool, const struct asset_plan *all, struct amount idle)
{
    pool->outlook = (struct outlook){.idle = idle.units, .returning = demand_daily(pool->returning)};
    for (size_t i = 0; i < all->channel_count + all->wish_count; i++) {
        const struct plan_channel *plan = &all->plans[i];
        if (!plan->fundable || plan->close)
            continue;
        uint64_t room = clamp_units((wide)plan->available_hub.units - plan->hub_out.units + plan->fund.units);
        uint64_t daily = i < all->channel_count ? demand_daily(all->channels[i]->demand) : 0;
        outlook_add_channel(&pool->outlook, room, plan->need.units, daily);
    }
}

/* Said when it begins, when it doubles, and when it is over. */
static void say_missing(struct pool *pool, uint64_t missing)
{
    char asset[ADDRESS_TEXT_SIZE];
    if (missing > 0 && (pool->missing_said == 0 || missing / 2 >= pool->missing_said))
        log_warn("the pool of %s is too low by %llu units for the room that channels need: deposit to it",
                 address_text(&pool->asset, asset), (unsigned long long)missing);
    else if (missing == 0 && pool->missing_said > 0)
        log_info("the pool of %s has enough again for the room that channels need",
                 address_text(&pool->asset, asset));
    else
        return;
    pool->missing_said = missing;
}

static void plan_one(struct engine *engine, struct pool *pool, const struct sample *sample)
{
    struct asset_plan all = {0};
    const struct plan_policy policy = {settle_pool_units(pool), engine->settings.least_move};
    describe_all(engine, &pool->asset, sample, &all);
    struct plan_result result = plan_asset(all.plans, all.channel_count + all.wish_count, &policy);
    say_missing(pool, result.missing.units);
    look_ahead(pool, &all, result.idle);
    for (size_t i = 0; i < all.channel_count; i++) {
        all.channels[i]->fund_planned = all.plans[i].fund;
        if (all.plans[i].settle)
            propose(engine, all.channels[i], &all.plans[i]);
        else
            drop_payout(engine, all.channels[i], &all.plans[i]);
    }
    for (size_t i = 0; i < all.wish_count; i++)
        all.wishes[i]->fund_planned = all.plans[all.channel_count + i].fund;
    free(all.channels);
    free(all.wishes);
    free(all.plans);
}

void rebalance_plan(struct engine *engine)
{
    const struct sample sample = sample_begin(engine);
    for (size_t i = 0; i < engine->settings.terms.asset_count; i++) {
        struct pool *pool = settle_pool(engine, &engine->settings.terms.assets[i].asset);
        if (pool != NULL)
            plan_one(engine, pool, &sample);
    }
}
