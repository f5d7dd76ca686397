/* Netted batches: what is asked for, planned (rebalance.c) and signed by clients (section 8).
 *
 *     IDLE ─engine_settle─▶ COLLECTING ─all signed, or time is up─▶ QUEUED ─this shard's turn─▶ SUBMITTED
 *                                                                   SUBMITTED ─refused─▶ IDLE
 *                               SUBMITTED ─mined─▶ FOLLOWING ─the own view has the batch─▶ IDLE
 *
 * batch.c cuts it into calls, submit.c sends and follows them, report.c is what came of it. Nothing of this is lost by a crash: a
 * settlement under way is part of its channel's record, and a signed one joins the next batch until the ledger
 * shows it settled or its deadline has passed. The contract takes each seq once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define REQUESTS_GATHER_MS 250 /* after an OPEN_REQUEST, so that many come into one batch; and more: */
#define CHANNELS_PER_MS    50

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
        out[i] = (struct engine_pool){engine->pools[i].asset, engine->pools[i].own, engine->pools[i].outlook};
    return engine->pool_count;
}

void engine_pool_of_others(struct engine *engine, const struct address *asset, wide units)
{
    if (engine_terms(engine, asset) != NULL)
        settle_pool(engine, asset)->others = units;
}

/* ---- what clients ask for ---- */

void settle_want_changed(struct engine *engine, struct hub_channel *channel)
{
    channel->want_dirty = true;
    engine_touch(engine, channel);
}

/* A plan looks at every channel: whoever asks again and again must not keep the hub planning. */
static uint64_t gather_ms(const struct engine *engine)
{
    return REQUESTS_GATHER_MS + engine->channels_by_id.count / CHANNELS_PER_MS;
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
    bool is_new = amount_is_zero(channel->payout_wanted) && !channel->close_wanted;
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
    settle_want_changed(engine, channel);
    engine->settle_requests += is_new;
    if (engine->settings.requests_max != 0 && engine->settle_requests >= engine->settings.requests_max)
        settle_soon(engine, gather_ms(engine));
}

static struct open_wish *find_wish(struct engine *engine, const struct channel_key *key)
{
    for (size_t i = 0; i < engine->wish_count; i++)
        if (memcmp(&engine->wishes[i].key, key, sizeof(*key)) == 0)
            return &engine->wishes[i];
    return NULL;
}

bool settle_may_fund(const struct hub_channel *channel)
{
    return channel_is_usable(channel) && !channel_settlement(channel->channel)->close;
}

/* Fulfilled, or the ledger would not: the client may ask again. */
struct amount settle_wish_over(struct engine *engine, const struct channel_key *key)
{
    struct open_wish *wish = find_wish(engine, key);
    if (wish == NULL)
        return amount_of(0);
    struct amount inbound = wish->inbound;
    *wish = engine->wishes[--engine->wish_count];
    return inbound;
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
        settle_want_changed(engine, open);
    } else if (wish != NULL) {
        wish->inbound = inbound;
    } else if (engine->wish_count == OPEN_WISHES_MAX) {
        engine_emit_error(engine, client->peer, CODE_LIMIT,
                          "too many channels are being opened: ask again later", &reference);
        return;
    } else {
        engine->wishes[engine->wish_count++] = (struct open_wish){.key = key, .inbound = inbound};
    }
    settle_soon(engine, gather_ms(engine));
}

/* ---- planning ---- */

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
    engine->settle_unsigned = engine->settle_requests = 0;
    engine->settle_begun_ms = engine->now_ms;
    /* Section 8: no close while a Fund may be under way. One of a batch whose fate a crash has hidden may land
     * yet: another batch, if need be an empty one, settles that first. */
    if (engine->settle_hidden == 0)
        rebalance_plan(engine);
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
    channel->unanswered = false;
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
    channel->unanswered = false;
    if (settlement->phase != SETTLEMENT_PROPOSED || (seq != 0 && seq != settlement->seq))
        return;
    channel_settle_refused(channel->channel);
    engine_touch(engine, channel);
    one_answered(engine, channel);
}

void settle_timeouts(struct engine *engine)
{
    if (engine->demand_ms == 0)
        engine->demand_ms = engine->now_ms;
    if (engine->settle_next_ms == 0 && engine->settings.settle_interval_s != 0)
        engine->settle_next_ms = engine->now_ms + engine->settings.settle_interval_s * 1000;
    if (engine->settle_phase == SETTLE_COLLECTING && engine->now_ms >= engine->settle_deadline_ms)
        settle_submit(engine);
    if (engine->settle_phase == SETTLE_IDLE && engine->settle_next_ms != 0 &&
        engine->now_ms >= engine->settle_next_ms)
        engine_settle(engine);
}
