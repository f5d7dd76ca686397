/* One settleBatch: what goes into it, and its fate (protocol.md, section 8).
 *
 * A batch is on its way from settle_submit until the own confirmed view has its block, and the journal says
 * so. If the hub restarts meanwhile it does not know whether the transaction ever left, or will land yet; as
 * transactions of one account land in their order, the fate of the next batch settles that of the first
 * (engine->settle_unsure).
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define BATCH_ITEMS_MAX   400 /* of items and funds together: about 10 million gas */
#define DEADLINE_MARGIN_S 30  /* an item this close to its deadline is not sent any more */
#define RETRY_MS          1000
#define RETRY_DOUBLES_MAX 6 /* 64 s */

struct batch_call {
    struct settle_item items[BATCH_ITEMS_MAX];
    struct fund funds[BATCH_ITEMS_MAX];
    size_t item_count, fund_count;
    bool is_full; /* something was left for the next one */
};

static void add_item(const struct engine *engine, const struct hub_channel *channel, struct batch_call *batch)
{
    const struct settlement *settlement = channel_settlement(channel->channel);
    if (settlement->phase != SETTLEMENT_SIGNED || !channel_is_usable(channel) ||
        settlement->deadline < engine->head.time + DEADLINE_MARGIN_S)
        return;
    if (batch->item_count == BATCH_ITEMS_MAX) {
        batch->is_full = true;
        return;
    }
    batch->items[batch->item_count++] = (struct settle_item){
        .key = channel->channel->key,
        .client_out = settlement->client_out,
        .hub_out = settlement->hub_out,
        .deadline = settlement->deadline,
        .close = settlement->close,
        .signature = settlement->signature,
    };
}

/* Funds are limited by what the pool has, with what this very batch returns to it. */
static void add_fund(const struct channel_key *key, struct amount amount, struct batch_call *batch,
                     uint64_t *left)
{
    uint64_t part = amount.units < *left ? amount.units : *left;
    if (part == 0)
        return;
    if (batch->item_count + batch->fund_count >= BATCH_ITEMS_MAX) {
        batch->is_full = true;
        return;
    }
    batch->funds[batch->fund_count++] = (struct fund){*key, amount_of(part)};
    *left -= part;
}

static uint64_t pool_with_batch(struct engine *engine, const struct address *asset,
                                const struct batch_call *batch)
{
    uint64_t pool = settle_pool_units(settle_pool(engine, asset)).units;
    for (size_t i = 0; i < batch->item_count; i++) {
        uint64_t out = batch->items[i].hub_out.units;
        if (address_equal(&batch->items[i].key.asset, asset))
            pool = out < AMOUNT_LIMIT - pool ? pool + out : AMOUNT_LIMIT - 1;
    }
    return pool;
}

static void gather_funds(struct engine *engine, const struct address *asset, struct batch_call *batch)
{
    uint64_t left = pool_with_batch(engine, asset, batch);
    /* A wish stays until the ledger shows it fulfilled, or impossible. */
    for (size_t i = 0; i < engine->wish_count; i++)
        if (address_equal(&engine->wishes[i].key.asset, asset))
            add_fund(&engine->wishes[i].key, engine->wishes[i].fund_planned, batch, &left);
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (!address_equal(&channel->channel->key.asset, asset))
            continue;
        /* No Fund is sent while a signed close is alive (section 8). */
        if (channel_is_usable(channel) && !channel_settlement(channel->channel)->close)
            add_fund(&channel->channel->key, channel->fund_planned, batch, &left);
        channel->fund_planned = amount_of(0);
    }
}

static void gather(struct engine *engine, struct batch_call *batch)
{
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next)
        add_item(engine, channel, batch);
    for (size_t i = 0; i < engine->settings.terms.asset_count && !engine->settle_unsure; i++)
        if (settle_pool(engine, &engine->settings.terms.assets[i].asset) != NULL)
            gather_funds(engine, &engine->settings.terms.assets[i].asset, batch);
}

static void send_batch(struct engine *engine, const struct batch_call *batch)
{
    struct contract_call call = {
        .function = CONTRACT_SETTLE_BATCH,
        .items = batch->items,
        .item_count = batch->item_count,
        .funds = batch->funds,
        .fund_count = batch->fund_count,
        .hash = journal_root_value(&engine->root),
    };
    engine->root_taken = true;
    engine->root_value = call.hash;
    engine->root_since = (struct journal_root){0};
    engine->settle_in_flight = true;
    engine->root_dirty = true;
    engine_emit_call(engine, ENGINE_CALL_SETTLE, 0, &call);
    log_info("settling a batch: %zu items, %zu funds", batch->item_count, batch->fund_count);
}

/* Shards take turns from here on, until the batch is in the own view: two that spend one pool at a time would see
 * their funds skipped. */
static bool has_turn(struct engine *engine)
{
    if (engine->settings.shards == 1 || engine->settle_turn)
        return true;
    if (!engine->settle_turn_asked)
        engine->effects.settle_turn(engine->effects.context, true);
    engine->settle_turn_asked = true;
    return false;
}

static void turn_over(struct engine *engine)
{
    if (!engine->settle_turn)
        return;
    engine->settle_turn = false;
    engine->effects.settle_turn(engine->effects.context, false);
}

static void idle(struct engine *engine)
{
    engine->settle_phase = SETTLE_IDLE;
    turn_over(engine);
    if (engine->settle_again)
        settle_soon(engine, 0);
}

void engine_settle_turn(struct engine *engine)
{
    ensure(engine->settings.shards > 1 && !engine->settle_turn && engine->settle_phase == SETTLE_QUEUED);
    engine->settle_turn = true;
    engine->settle_turn_asked = false;
    settle_submit(engine);
}

void settle_submit(struct engine *engine)
{
    engine->settle_phase = SETTLE_QUEUED;
    if (!has_turn(engine))
        return;
    struct batch_call *batch = xcalloc(1, sizeof(*batch));
    gather(engine, batch);
    engine->settle_again = engine->settle_again || batch->is_full;
    engine->settle_round++; /* whoever signs from now on is late */
    if (batch->item_count + batch->fund_count > 0 || engine->settle_unsure) {
        engine->settle_phase = SETTLE_SUBMITTED;
        send_batch(engine, batch);
    } else {
        idle(engine);
    }
    free(batch);
}

/* ---- its fate ---- */

/* The own view has it, or it will never be. */
static void over(struct engine *engine)
{
    engine->settle_in_flight = false;
    engine->root_dirty = true;
    idle(engine);
}

static void settled(struct engine *engine, const struct ledger_receipt *receipt)
{
    engine->settle_failures = 0;
    if (engine->settle_unsure)
        engine->settle_again = true; /* what had to wait until now */
    engine->settle_unsure = false;
    for (size_t i = engine->report_count; i-- > 0;)
        if (hash_equal(&engine->reports[i].transaction, &receipt->transaction)) {
            engine->reports[i].gas_used = receipt->gas_used;
            engine->reports[i].dirty = true;
        }
    engine->last_settle_transaction = receipt->transaction;
    engine->last_settle_gas = receipt->gas_used;
    if (receipt->block <= engine->head.confirmed_number) {
        over(engine);
        return;
    }
    /* The next plan must not be made on a view that does not know of this batch. */
    engine->settle_phase = SETTLE_FOLLOWING;
    engine->settle_block = receipt->block;
}

static void not_settled(struct engine *engine, enum ledger_error error)
{
    unsigned doubles =
        engine->settle_failures < RETRY_DOUBLES_MAX ? engine->settle_failures : RETRY_DOUBLES_MAX;
    uint64_t pause = (uint64_t)RETRY_MS << doubles;
    engine->settle_failures++;
    log_warn("the batch was not settled: %s; trying again in %llu s", ledger_error_text(error),
             (unsigned long long)pause / 1000);
    if (!engine->settle_unsure) {
        engine->settle_in_flight = false;
        engine->root_taken = false;
        engine->root_dirty = true;
    }
    engine->settle_phase = SETTLE_IDLE;
    turn_over(engine);
    settle_soon(engine, pause);
}

void engine_call_done(struct engine *engine, enum engine_call call, uint64_t reference,
                      enum ledger_error error, const struct ledger_receipt *receipt)
{
    if (call == ENGINE_CALL_SETTLE) {
        if (engine->settle_phase != SETTLE_SUBMITTED)
            return;
        if (error == LEDGER_OK && receipt != NULL)
            settled(engine, receipt);
        else
            not_settled(engine, error);
        return;
    }
    if (error == LEDGER_OK && (receipt == NULL || receipt->success))
        return;
    /* A challenge that another was faster with, or that a reorganisation brought before the close that it answers:
     * the ledger's state counts. */
    log_info("transaction not needed or refused: %s",
             ledger_error_text(error == LEDGER_OK ? LEDGER_REVERTED : error));
    if (call == ENGINE_CALL_REGISTER)
        outcome_register_failed(engine);
    else if (call == ENGINE_CALL_SET_TOWER)
        appoint_set_tower_failed(engine, reference);
    else
        dispute_call_failed(engine, call, reference);
}

/* Settlements whose deadline has passed on the ledger without them: dead, and said so. */
static void expire(struct engine *engine)
{
    if (engine->head.confirmed_time < engine->settle_expire_time)
        return;
    engine->settle_expire_time = engine->head.confirmed_time + 1;
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        uint32_t seq = channel_settlement(channel->channel)->seq;
        if (channel_settlement(channel->channel)->phase == SETTLEMENT_NONE ||
            !channel_settle_expire(channel->channel, engine->head.confirmed_time))
            continue;
        settle_say(engine, channel, seq, SETTLED_DEAD, NULL);
        engine_touch(engine, channel);
    }
}

void settle_head(struct engine *engine)
{
    if (engine->settle_phase == SETTLE_FOLLOWING && engine->head.confirmed_number >= engine->settle_block)
        over(engine);
    else if (engine->settle_phase == SETTLE_IDLE && engine->settle_again && engine->head_known)
        settle_soon(engine, 0);
    expire(engine);
}

/* What a crash interrupted goes on with the first batch. */
void settle_recovered(struct engine *engine)
{
    engine->settle_unsure = engine->settle_again = engine->settle_in_flight;
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel_settlement(channel->channel)->phase == SETTLEMENT_SIGNED ||
            !amount_is_zero(channel->inbound_wanted))
            engine->settle_again = true;
    }
}
