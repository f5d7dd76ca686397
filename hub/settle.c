/* Netted batches: what is asked for, planned (settlement/plan.h) and signed by clients (section 8).
 *
 *     IDLE ─engine_settle─▶ COLLECTING ─all signed, or time is up─▶ QUEUED ─this shard's turn─▶ SUBMITTED
 *                                                                   SUBMITTED ─refused─▶ IDLE
 *                               SUBMITTED ─mined─▶ FOLLOWING ─the own view has the batch─▶ IDLE
 *
 * submit.c sends and follows the batch, report.c is what came of it. Nothing of this is lost by a crash: a
 * settlement under way is part of its channel's record, and a signed one joins the next batch until the ledger
 * shows it settled or its deadline has passed. The contract takes each seq once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/planted.h"
#include "hub/engine_state.h"

#define REQUESTS_GATHER_MS 250 /* after an OPEN_REQUEST, so that many come into one batch */
#define UNASKED_WINDOW_S   600 /* how long a client that does not answer binds what the hub wanted to move */

struct pool *settle_pool(struct engine *engine, const struct address *asset)
{
    for (size_t i = 0; i < engine->pool_count; i++)
        if (address_equal(&engine->pools[i].asset, asset))
            return &engine->pools[i];
    if (engine->pool_count == ASSETS_MAX)
        return NULL;
    struct pool *pool = &engine->pools[engine->pool_count++];
    *pool = (struct pool){.asset = *asset};
    return pool;
}

void settle_pool_change(struct engine *engine, const struct address *asset, wide change)
{
    if (engine_terms(engine, asset) == NULL)
        return; /* beyond the assets that are served */
    struct pool *pool = settle_pool(engine, asset);
    ensure(pool != NULL);
    wide least = engine->settings.shards == 1 ? 0 : -(wide)AMOUNT_LIMIT, most = (wide)AMOUNT_LIMIT - 1;
    pool->own += change;
    if (pool->own < least || pool->own > most)
        log_error("the pool as followed leaves its bounds: the ledger node left out events?");
    pool->own = pool->own < least ? least : pool->own > most ? most : pool->own;
    pool->dirty = true;
}

struct amount settle_pool_units(const struct pool *pool)
{
    wide units = pool->own + pool->others;
    return amount_of(units < 0 ? 0 : units >= (wide)AMOUNT_LIMIT ? AMOUNT_LIMIT - 1 : (uint64_t)units);
}

size_t engine_pools(const struct engine *engine, struct engine_pool out[ASSETS_MAX])
{
    for (size_t i = 0; i < engine->pool_count; i++)
        out[i] = (struct engine_pool){engine->pools[i].asset, engine->pools[i].own};
    return engine->pool_count;
}

void engine_pool_of_others(struct engine *engine, const struct address *asset, wide units)
{
    if (engine_terms(engine, asset) != NULL)
        settle_pool(engine, asset)->others = units;
}

/* ---- what clients ask for ---- */

static void want(struct engine *engine, struct hub_channel *channel)
{
    channel->want_dirty = true;
    engine_touch(engine, channel);
}

void settle_soon(struct engine *engine, uint64_t delay_ms)
{
    uint64_t at = engine->now_ms + delay_ms;
    if (engine->settle_next_ms == 0 || at < engine->settle_next_ms)
        engine->settle_next_ms = at == 0 ? 1 : at;
}

void settle_request(struct engine *engine, struct hub_channel *channel, struct amount amount, bool close)
{
    struct error_reference reference = {.present = true,
                                        .type = MESSAGE_SETTLE_REQUEST,
                                        .has_channel = true,
                                        .channel = channel->channel->id};
    if (!channel_is_usable(channel)) {
        engine_emit_error(engine, channel->client->peer, CODE_STATUS, NULL, &reference);
        return;
    }
    /* A client wants one thing at a time: what it asked for before, and has given up, it would refuse for ever. */
    if (close) {
        channel->close_wanted = true;
        channel->payout_wanted = amount_of(0);
    } else if (amount_is_zero(amount) ||
               channel_available(channel->channel, SIDE_CLIENT) < (wide)amount.units) {
        engine_emit_error(
            engine, channel->client->peer, CODE_AVAILABLE,
            "the payout asked for is not available (the reserve stays until the channel is closed)",
            &reference);
        return;
    } else {
        channel->payout_wanted = amount;
        channel->close_wanted = false;
    }
    want(engine, channel);
}

static struct open_wish *find_wish(struct engine *engine, const struct channel_key *key)
{
    for (size_t i = 0; i < engine->wish_count; i++)
        if (memcmp(&engine->wishes[i].key, key, sizeof(*key)) == 0)
            return &engine->wishes[i];
    return NULL;
}

/* Fulfilled, or the ledger would not: the client may ask again. */
void settle_wish_over(struct engine *engine, const struct channel_key *key)
{
    struct open_wish *wish = find_wish(engine, key);
    if (wish != NULL)
        *wish = engine->wishes[--engine->wish_count];
}

static struct hub_channel *with_salt(const struct client *client, const struct channel_key *key)
{
    struct hub_channel *at = client->channels;
    while (at != NULL && memcmp(&at->channel->key, key, sizeof(*key)) != 0)
        at = at->next_of_client;
    return at;
}

/* The client's open channel of the asset; if there is none, NULL and the key that a new one gets: the lowest
 * salt that was never used. */
static struct hub_channel *open_channel(const struct client *client, const struct address *asset,
                                        struct channel_key *key)
{
    *key = (struct channel_key){client->address, *asset, 0};
    for (struct hub_channel *at = client->channels; at != NULL; at = at->next_of_client)
        if (address_equal(&at->channel->key.asset, asset) && channel_is_usable(at))
            return at;
    while (with_salt(client, key) != NULL)
        key->salt++;
    return NULL;
}

void settle_open_request(struct engine *engine, struct client *client, const struct address *asset,
                         struct amount inbound)
{
    struct error_reference reference = {.present = true, .type = MESSAGE_OPEN_REQUEST};
    if (engine_terms(engine, asset) == NULL) {
        engine_emit_error(engine, client->peer, CODE_CHANNEL, "this hub does not serve the asset",
                          &reference);
        return;
    }
    if (amount_compare(inbound, engine->settings.inbound_max) > 0)
        inbound = engine->settings.inbound_max;
    if (amount_is_zero(inbound)) {
        engine_emit_error(engine, client->peer, CODE_LIMIT, "this hub opens no channels: deposit to open one",
                          &reference);
        return;
    }
    struct channel_key key;
    struct hub_channel *open = open_channel(client, asset, &key);
    struct open_wish *wish = open == NULL ? find_wish(engine, &key) : NULL;
    if (open != NULL) {
        open->inbound_wanted = inbound;
        want(engine, open);
    } else if (wish != NULL) {
        wish->inbound = inbound;
    } else if (engine->wish_count == OPEN_WISHES_MAX) {
        engine_emit_error(engine, client->peer, CODE_LIMIT,
                          "too many channels are being opened: ask again later", &reference);
        return;
    } else {
        engine->wishes[engine->wish_count++] = (struct open_wish){.key = key, .inbound = inbound};
    }
    settle_soon(engine, REQUESTS_GATHER_MS);
}

/* ---- planning ---- */

static uint64_t clamp_units(wide value)
{
    return value < 0 ? 0 : value >= (wide)AMOUNT_LIMIT ? AMOUNT_LIMIT - 1 : (uint64_t)value;
}

static struct amount larger(struct amount a, struct amount b)
{
    return amount_compare(a, b) > 0 ? a : b;
}

/* A channel should have the room that its client asked for or was once given, at least as much as came to it since
 * the last batch, and what must be given back to its client. */
static struct amount target_of(struct hub_channel *channel)
{
    struct amount asked = larger(channel->inbound_wanted, channel->room_floor);
    struct amount owed = PLANTED(REFUND_WITHOUT_ROOM) ? amount_of(0) : due_refunds(channel);
    return larger(larger(asked, channel->passed_on), owed);
}

static bool may_close(struct hub_channel *channel)
{
    struct channel *machine = channel->channel;
    return lock_set_count(machine->streams[0].locks) == 0 && lock_set_count(machine->streams[1].locks) == 0 &&
           amount_is_zero(stream_dropped(&machine->streams[0])->frozen) &&
           amount_is_zero(stream_dropped(&machine->streams[1])->frozen) &&
           channel_own(machine)->proof.nonce == machine->acknowledged && channel->due_head == NULL;
}

static void describe(struct engine *engine, struct hub_channel *channel, struct plan_channel *out)
{
    const struct channel *machine = channel->channel;
    *out = (struct plan_channel){
        .online = channel->resumed,
        .busy = channel_settlement(machine)->phase != SETTLEMENT_NONE || !channel_is_usable(channel),
        .fundable = channel_is_usable(channel) && !channel_settlement(machine)->close,
        .available_hub = amount_of(clamp_units(channel_available(machine, SIDE_HUB))),
        .available_client = amount_of(clamp_units(channel_available(machine, SIDE_CLIENT))),
        .payout = channel->payout_wanted,
        .close = channel->close_wanted && may_close(channel),
        .balance_client = amount_of(clamp_units(channel_balance(machine, SIDE_CLIENT))),
        .balance_hub = amount_of(clamp_units(channel_balance(machine, SIDE_HUB))),
        .target = target_of(channel),
    };
    /* Idle is what lies well above the target. */
    if (!out->busy && engine->settings.idle_bps > 0) {
        unsigned_wide keep = (unsigned_wide)out->target.units * engine->settings.idle_bps / 10000;
        if (out->available_hub.units > out->target.units && out->available_hub.units < keep)
            out->online = out->online && (!amount_is_zero(out->payout) || out->close);
    }
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
    channel->answer_round = engine->settle_round + 1;
    engine->settle_unsigned++;
    const struct settlement *settlement = channel_settlement(channel->channel);
    struct message message = {.type = MESSAGE_SETTLE_PROPOSE};
    message.settle_propose.channel = channel->channel->id;
    message.settle_propose.seq = settlement->seq;
    message.settle_propose.client_out = settlement->client_out;
    message.settle_propose.hub_out = settlement->hub_out;
    message.settle_propose.deadline = settlement->deadline;
    message.settle_propose.close = settlement->close;
    engine_emit(engine, channel->client->peer, &message);
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
    want(engine, channel);
}

/* Everything of one asset that a batch may touch: its channels, then the channels that are still wishes. */
struct asset_plan {
    struct plan_channel *plans;
    struct hub_channel **channels;
    struct open_wish **wishes;
    size_t channel_count, wish_count;
};

static void describe_all(struct engine *engine, const struct address *asset, struct asset_plan *out)
{
    size_t channels_max = engine->channels_by_id.count;
    out->channels = xcalloc(channels_max + 1, sizeof(struct hub_channel *));
    out->wishes = xcalloc(engine->wish_count + 1, sizeof(struct open_wish *));
    out->plans = xcalloc(channels_max + engine->wish_count + 1, sizeof(*out->plans));
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (!address_equal(&channel->channel->key.asset, asset) ||
            channel->channel->funds.stage == STAGE_CLOSED)
            continue;
        describe(engine, channel, &out->plans[out->channel_count]);
        out->channels[out->channel_count++] = channel;
    }
    for (size_t i = 0; i < engine->wish_count; i++) {
        struct open_wish *wish = &engine->wishes[i];
        if (!address_equal(&wish->key.asset, asset))
            continue;
        wish->fund_planned = amount_of(0);
        out->plans[out->channel_count + out->wish_count] =
            (struct plan_channel){.busy = true, .fundable = true, .target = wish->inbound};
        out->wishes[out->wish_count++] = wish;
    }
}

static void plan_and_propose(struct engine *engine, const struct address *asset)
{
    struct asset_plan all = {0};
    describe_all(engine, asset, &all);
    struct plan_result result = plan_asset(all.plans, all.channel_count + all.wish_count,
                                           settle_pool_units(settle_pool(engine, asset)));
    if (!amount_is_zero(result.missing))
        log_warn("the pool of %s is too low by %llu units for the room that channels need: deposit to it",
                 address_text(asset, (char[ADDRESS_TEXT_SIZE]){0}), (unsigned long long)result.missing.units);
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

void engine_settle(struct engine *engine)
{
    if (engine->settle_phase != SETTLE_IDLE || !engine->head_known) {
        engine->settle_again = true;
        return;
    }
    engine_flush(engine); /* proposals look at what is signed */
    engine->settle_again = false;
    engine->settle_next_ms = engine->settings.settle_interval_s == 0
                                 ? 0
                                 : engine->now_ms + engine->settings.settle_interval_s * 1000;
    engine->settle_unsigned = 0;
    /* Section 8: no close while a Fund may be under way. One of a batch whose fate a crash has hidden may land
     * yet: another batch, if need be an empty one, settles that first. */
    for (size_t i = 0; i < engine->settings.terms.asset_count && !engine->settle_unsure; i++)
        if (settle_pool(engine, &engine->settings.terms.assets[i].asset) != NULL)
            plan_and_propose(engine, &engine->settings.terms.assets[i].asset);
    engine->settle_phase = SETTLE_COLLECTING;
    engine->settle_deadline_ms = engine->now_ms + engine->settings.settle_collect_ms;
    if (engine->settle_unsigned == 0)
        settle_submit(engine);
}

/* ---- collecting ---- */

static void one_answered(struct engine *engine, struct hub_channel *channel)
{
    bool awaited = channel->answer_round == engine->settle_round + 1;
    channel->answer_round = 0;
    if (engine->settle_phase == SETTLE_COLLECTING && awaited && --engine->settle_unsigned == 0)
        settle_submit(engine);
}

void settle_sign(struct engine *engine, struct hub_channel *channel, uint32_t seq,
                 const struct signature *signature)
{
    struct channel_view view = engine_view(engine, channel);
    bool was_signed = channel_settlement(channel->channel)->phase == SETTLEMENT_SIGNED;
    enum code code = channel_settle_signed(channel->channel, &view, seq, signature);
    if (code != CODE_OK) {
        struct error_reference reference = {.present = true,
                                            .type = MESSAGE_SETTLE_SIGN,
                                            .has_channel = true,
                                            .channel = channel->channel->id,
                                            .has_nonce = true,
                                            .nonce = seq};
        engine_emit_error(engine, channel->client->peer, CODE_SETTLE, NULL, &reference);
        return;
    }
    if (was_signed)
        return; /* said again: it joins, or has joined, a batch already */
    engine_touch(engine, channel);
    if (engine->settle_phase != SETTLE_COLLECTING && engine->settle_phase != SETTLE_QUEUED)
        settle_soon(engine, engine->settings.settle_collect_ms); /* late: it joins the next batch */
    one_answered(engine, channel);
}

void settle_refused(struct engine *engine, struct hub_channel *channel, uint64_t seq)
{
    const struct settlement *settlement = channel_settlement(channel->channel);
    if (settlement->phase != SETTLEMENT_PROPOSED || (seq != 0 && seq != settlement->seq))
        return;
    channel_settle_refused(channel->channel);
    engine_touch(engine, channel);
    one_answered(engine, channel);
}

void settle_timeouts(struct engine *engine)
{
    if (engine->settle_next_ms == 0 && engine->settings.settle_interval_s != 0)
        engine->settle_next_ms = engine->now_ms + engine->settings.settle_interval_s * 1000;
    if (engine->settle_phase == SETTLE_COLLECTING && engine->now_ms >= engine->settle_deadline_ms)
        settle_submit(engine);
    if (engine->settle_phase == SETTLE_IDLE && engine->settle_next_ms != 0 &&
        engine->now_ms >= engine->settle_next_ms)
        engine_settle(engine);
}
