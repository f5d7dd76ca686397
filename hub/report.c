/* What the ledger says came of a batch: told to the clients, and to the operator. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define REPORTS_MAX 1024 /* batches; older ones leave the memory and the journal */

/* ---- the ledger's answer ---- */

void settle_say(struct engine *engine, struct hub_channel *channel, uint32_t seq, uint8_t outcome,
                const struct contract_event *event)
{
    struct message message = {.type = MESSAGE_SETTLED};
    message.settled.channel = channel->channel->id;
    message.settled.seq = seq;
    message.settled.outcome = outcome;
    if (event != NULL) {
        message.settled.transaction = event->transaction;
        message.settled.block = event->block;
    }
    engine_emit(engine, channel->client->peer, &message);
}

void settle_settled(struct engine *engine, struct hub_channel *channel, const struct contract_event *event)
{
    settle_pool_change(engine, &channel->channel->key.asset, (wide)event->hub_out.units);
    settle_say(engine, channel, event->seq, SETTLED_FINAL, event);
    if (!amount_is_zero(event->client_out) || event->close) {
        channel->payout_wanted = amount_of(0);
        channel->want_dirty = true;
    }
    if (event->close) {
        channel->inbound_wanted = channel->room_floor = amount_of(0);
        channel->close_wanted = false;
    }
    engine_touch(engine, channel);
    engine->building.items++;
    engine->building.payout_units += event->client_out.units;
    engine->building.returned_units += event->hub_out.units;
    rebalance_returned(engine, channel, event->hub_out);
    engine->figures.settle_items++;
}

/* Returns whether it was one of ours. */
static bool fund_skipped(struct engine *engine, const struct contract_event *event)
{
    for (size_t i = 0; i < engine->wish_count; i++) {
        struct hash id = channel_id(&engine->wishes[i].key);
        if (!hash_equal(&id, &event->channel))
            continue;
        struct channel_key key = engine->wishes[i].key;
        (void)settle_wish_over(engine, &key);
        return true;
    }
    return engine_channel(engine, &event->channel) != NULL;
}

void settle_skipped(struct engine *engine, const struct contract_event *event)
{
    struct hub_channel *channel = engine_channel(engine, &event->channel);
    bool is_ours = event->is_fund ? fund_skipped(engine, event) : channel != NULL;
    if (!is_ours && engine->settings.shards > 1)
        return; /* another shard's */
    engine->building.skipped++;
    engine->figures.settle_skipped++;
    log_warn("the ledger skipped %s of channel %s: reason %u", event->is_fund ? "a fund" : "an item",
             hash_text(&event->channel, (char[HASH_TEXT_SIZE]){0}), event->reason);
    if (!event->is_fund && channel != NULL &&
        channel_settlement(channel->channel)->phase == SETTLEMENT_SIGNED)
        settle_say(engine, channel, channel_settlement(channel->channel)->seq, event->reason, event);
}

static void note_gone(struct engine *engine, uint64_t number)
{
    if (engine->reports_gone_count == engine->reports_gone_capacity) {
        engine->reports_gone_capacity =
            engine->reports_gone_capacity == 0 ? 16 : 2 * engine->reports_gone_capacity;
        engine->reports_gone =
            xrealloc(engine->reports_gone, engine->reports_gone_capacity * sizeof(*engine->reports_gone));
    }
    engine->reports_gone[engine->reports_gone_count++] = number;
}

struct batch_report *settle_add_report(struct engine *engine, const struct batch_report *report)
{
    size_t at = engine->report_count;
    while (at > 0 && engine->reports[at - 1].number > report->number)
        at--;
    if (engine->report_count == REPORTS_MAX) {
        note_gone(engine, at == 0 ? report->number : engine->reports[0].number);
        if (at == 0)
            return NULL;
        at--;
        engine->report_count--;
        memmove(engine->reports, engine->reports + 1, engine->report_count * sizeof(*engine->reports));
    }
    if (engine->report_count == engine->report_capacity) {
        engine->report_capacity = engine->report_capacity == 0 ? 16 : 2 * engine->report_capacity;
        engine->reports = xrealloc(engine->reports, engine->report_capacity * sizeof(*engine->reports));
    }
    struct batch_report *place = &engine->reports[at];
    memmove(place + 1, place, (engine->report_count - at) * sizeof(*place));
    engine->report_count++;
    *place = *report;
    return place;
}

/* Which leaves the batch's root stands over, for whoever asks for the path of one (hub/leaves.h). */
static void write_rooted(struct engine *engine, const struct contract_event *event, uint64_t taken)
{
    struct leaves *leaves = &engine->leaves;
    uint64_t now = engine->head.confirmed_time;
    if (taken == 0)
        return;
    leaves->time = now > leaves->time ? now : leaves->time;
    rooted_write(&(struct rooted){.lineage = {leaves->generation, engine->settings.shard},
                                  .time = leaves->time,
                                  .from = leaves->first,
                                  .to = leaves->first + taken,
                                  .from_time = leaves->first_time,
                                  .root = event->root,
                                  .batch = event->batch,
                                  .block = event->block,
                                  .transaction = event->transaction},
                 &engine->archive);
    leaves->first += taken;
    leaves->first_time = leaves->since_time;
}

static const struct settle_receipt *find_receipt(const struct engine *engine, const struct hash *transaction)
{
    size_t count =
        engine->settle_receipt_count < SETTLE_CALLS_MAX ? engine->settle_receipt_count : SETTLE_CALLS_MAX;
    for (size_t i = 0; i < count; i++)
        if (hash_equal(&engine->settle_receipts[i].transaction, transaction))
            return &engine->settle_receipts[i];
    return NULL;
}

static void apply_receipt(struct batch_report *report, const struct settle_receipt *receipt)
{
    if (receipt == NULL || report->gas_used != 0)
        return;
    report->gas_used = receipt->gas_used;
    report->gas_price = receipt->gas_price;
    report->dirty = true;
}

void engine_receipt(struct engine *engine, const struct ledger_receipt *receipt)
{
    struct settle_receipt *kept = &engine->settle_receipts[engine->settle_receipt_count++ % SETTLE_CALLS_MAX];
    *kept = (struct settle_receipt){receipt->transaction, receipt->gas_used, receipt->effective_gas_price};
    for (size_t i = engine->report_count; i-- > 0;)
        if (hash_equal(&engine->reports[i].transaction, &receipt->transaction))
            apply_receipt(&engine->reports[i], kept);
}

/* Proofs that came after the root was taken stay for the next one. A batch that is not the newest we sent (a
 * crash hid what became of it) took no proof that the newest does not take too. Returns how many it took. */
static uint64_t root_settled(struct engine *engine, const struct contract_event *event)
{
    engine->root_dirty = true;
    if (!engine->root_taken || !hash_equal(&engine->root_value, &event->root))
        return 0;
    uint64_t taken = engine->root.count - engine->root_since.count;
    write_rooted(engine, event, taken);
    engine->root = engine->root_since;
    engine->root_since = (struct journal_root){0};
    engine->root_taken = false;
    return taken;
}

/* Each shard sees every batch: was it this one's? */
static bool is_own_batch(const struct engine *engine, const struct contract_event *event)
{
    const struct batch_report *building = &engine->building;
    return engine->settings.shards == 1 || building->items + building->funds + building->skipped > 0 ||
           (engine->root_taken && hash_equal(&engine->root_value, &event->root));
}

void settle_batch_settled(struct engine *engine, const struct contract_event *event)
{
    struct batch_report *report = &engine->building;
    if (!is_own_batch(engine, event))
        return;
    report->number = event->batch;
    report->block = event->block;
    report->transaction = event->transaction;
    report->root = event->root;
    report->gross_units = engine->gross_units;
    report->time = event->block_time;
    report->leaves = root_settled(engine, event);
    report->dirty = true;
    apply_receipt(report, find_receipt(engine, &event->transaction));
    (void)settle_add_report(engine, report);
    engine->building = (struct batch_report){0};
    engine->gross_units = 0;
    engine->figures.batches_settled++;
}

/* ---- the operator's view ---- */

const struct batch_report *engine_reports(const struct engine *engine, size_t *count)
{
    *count = engine->report_count;
    return engine->reports;
}

static wide pool_of(const struct engine *engine, const struct address *asset)
{
    for (size_t i = 0; i < engine->pool_count; i++)
        if (address_equal(&engine->pools[i].asset, asset))
            return engine->pools[i].own;
    return 0;
}

size_t engine_balances(const struct engine *engine, struct engine_balance out[ASSETS_MAX])
{
    size_t count = engine->settings.terms.asset_count;
    for (size_t i = 0; i < count; i++) {
        const struct address *asset = &engine->settings.terms.assets[i].asset;
        out[i] = (struct engine_balance){.asset = *asset, .pool = pool_of(engine, asset)};
    }
    for (const struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel->channel->funds.stage != STAGE_OPEN)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (!address_equal(&channel->channel->key.asset, &out[i].asset))
                continue;
            out[i].channels++;
            out[i].clients += channel_balance(channel->channel, SIDE_CLIENT);
            out[i].hub += channel_balance(channel->channel, SIDE_HUB);
        }
    }
    return count;
}
