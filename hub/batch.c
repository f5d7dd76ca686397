/* A round of settlement is cut into calls that fit the ledger's blocks.
 *
 * Items that return money come first, then funds, then items that only pay out. The calls are mined in order, but each
 * one's gas is estimated before those ahead of it are mined, and a fund that the pool cannot pay yet is skipped cheaply
 * there: the estimate would be too low. So a fund is paid from what the pool had before the round, or from what items
 * of the same call return, never from another call's. What cannot be paid so waits for the next round.
 */
#include "hub/batch.h"

#include <stdlib.h>

#include "base/ensure.h"

#define DEADLINE_MARGIN_S 30 /* an item this close to its deadline is not sent any more */

/* The call that the part goes into; NULL: none has room. */
static struct batch_call *place(const struct engine *engine, struct batch_round *round, enum batch_part part)
{
    if (round->count > 0 && batch_take(&round->calls[round->count - 1].room, part))
        return &round->calls[round->count - 1];
    if (round->count == round->calls_max) {
        round->is_full = true;
        return NULL;
    }
    if (round->count > 0)
        for (size_t i = 0; i < ASSETS_MAX; i++)
            round->returned[i] += round->calls[round->count - 1].returned[i];
    struct batch_call *call = &round->calls[round->count++];
    *call = (struct batch_call){
        .room = batch_room(engine->block_gas_limit, engine->settings.call_gas_max, engine->settle_halvings)};
    ensure(batch_take(&call->room, part));
    return call;
}

static size_t asset_index(const struct engine *engine, const struct address *asset)
{
    size_t at = 0;
    while (at < engine->settings.terms.asset_count &&
           !address_equal(&engine->settings.terms.assets[at].asset, asset))
        at++;
    return at;
}

static bool returns_money(const struct settlement *settlement)
{
    return !amount_is_zero(settlement->hub_out);
}

static void add_item(struct engine *engine, const struct hub_channel *channel, struct batch_round *round)
{
    const struct settlement *settlement = channel_settlement(channel->channel);
    bool pays = !amount_is_zero(settlement->client_out) || settlement->close;
    struct batch_call *call = place(engine, round, pays ? BATCH_PAYOUT : BATCH_ITEM);
    if (call == NULL)
        return;
    call->items = xrealloc(call->items, (call->item_count + 1) * sizeof(*call->items));
    call->items[call->item_count++] = (struct settle_item){
        .key = channel->channel->key,
        .client_out = settlement->client_out,
        .hub_out = settlement->hub_out,
        .deadline = settlement->deadline,
        .close = settlement->close,
        .signature = settlement->signature,
    };
    size_t asset = asset_index(engine, &channel->channel->key.asset);
    if (asset < ASSETS_MAX && settlement->hub_out.units < AMOUNT_LIMIT - call->returned[asset])
        call->returned[asset] += settlement->hub_out.units;
}

static void add_items(struct engine *engine, struct batch_round *round, bool returning)
{
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        const struct settlement *settlement = channel_settlement(channel->channel);
        if (settlement->phase == SETTLEMENT_SIGNED && channel_is_usable(channel) &&
            settlement->deadline >= engine->head.time + DEADLINE_MARGIN_S &&
            returns_money(settlement) == returning)
            add_item(engine, channel, round);
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void add_fund(struct engine *engine, const struct channel_key *key, struct amount amount,
                     struct batch_round *round, size_t asset)
{
    if (amount_is_zero(amount))
        return;
    struct batch_call *last = round->count > 0 ? &round->calls[round->count - 1] : NULL;
    bool can_pay = round->pool_left[asset] > 0 || (last != NULL && last->returned[asset] > 0);
    struct batch_call *call = can_pay ? place(engine, round, BATCH_FUND) : NULL;
    uint64_t returned = call != NULL ? smaller(amount.units, call->returned[asset]) : 0;
    uint64_t pooled = call != NULL ? smaller(amount.units - returned, round->pool_left[asset]) : 0;
    if (returned + pooled < amount.units && round->returned[asset] > 0)
        round->is_full = true;
    if (returned + pooled == 0)
        return;
    call->returned[asset] -= returned;
    round->pool_left[asset] -= pooled;
    call->funds = xrealloc(call->funds, (call->fund_count + 1) * sizeof(*call->funds));
    call->funds[call->fund_count++] = (struct fund){*key, amount_of(returned + pooled)};
}

static void add_funds(struct engine *engine, struct batch_round *round, size_t asset)
{
    const struct address *address = &engine->settings.terms.assets[asset].asset;
    /* A wish stays until the ledger shows its channel, or that it is impossible. */
    for (size_t i = 0; i < engine->wish_count; i++)
        if (address_equal(&engine->wishes[i].key.asset, address))
            add_fund(engine, &engine->wishes[i].key, engine->wishes[i].fund_planned, round, asset);
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (!address_equal(&channel->channel->key.asset, address))
            continue;
        if (settle_may_fund(channel))
            add_fund(engine, &channel->channel->key, channel->fund_planned, round, asset);
        channel->fund_planned = amount_of(0);
    }
}

void batch_gather(struct engine *engine, struct batch_round *round)
{
    size_t assets = engine->settings.terms.asset_count;
    *round = (struct batch_round){.calls_max = engine->settle_hidden > 0 ? 1 : SETTLE_CALLS_MAX};
    for (size_t i = 0; i < assets; i++) {
        struct pool *pool = settle_pool(engine, &engine->settings.terms.assets[i].asset);
        round->pool_left[i] = pool != NULL ? settle_pool_units(pool).units : 0;
    }
    add_items(engine, round, true);
    for (size_t i = 0; i < assets && engine->settle_hidden == 0; i++)
        add_funds(engine, round, i);
    add_items(engine, round, false);
    const struct batch_call *last = round->count > 0 ? &round->calls[round->count - 1] : NULL;
    if (last != NULL && last->item_count + last->fund_count == 0)
        round->count--; /* begun for a fund that nothing was left for */
}

void batch_free(struct batch_round *round)
{
    for (size_t i = 0; i < round->count; i++) {
        free(round->calls[i].items);
        free(round->calls[i].funds);
    }
}
