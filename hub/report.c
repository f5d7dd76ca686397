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
    engine->figures.settle_items++;
}

static void fund_skipped(struct engine *engine, const struct contract_event *event)
{
    for (size_t i = 0; i < engine->wish_count; i++) {
        struct hash id = channel_id(&engine->wishes[i].key);
        if (!hash_equal(&id, &event->channel))
            continue;
        struct channel_key key = engine->wishes[i].key;
        settle_wish_over(engine, &key);
        return;
    }
}

void settle_skipped(struct engine *engine, const struct contract_event *event)
{
    engine->building.skipped++;
    engine->figures.settle_skipped++;
    log_warn("the ledger skipped %s of channel %s: reason %u", event->is_fund ? "a fund" : "an item",
             hash_text(&event->channel, (char[HASH_TEXT_SIZE]){0}), event->reason);
    struct hub_channel *channel = engine_channel(engine, &event->channel);
    if (event->is_fund)
        fund_skipped(engine, event);
    else if (channel != NULL && channel->channel->settlement.phase == SETTLEMENT_SIGNED)
        settle_say(engine, channel, channel->channel->settlement.seq, event->reason, event);
}

void settle_add_report(struct engine *engine, const struct batch_report *report)
{
    if (engine->report_count == REPORTS_MAX) {
        if (engine->reports_gone_from == engine->reports_gone_to)
            engine->reports_gone_from = engine->reports[0].number;
        engine->reports_gone_to = engine->reports[0].number + 1;
        engine->report_count--;
        memmove(engine->reports, engine->reports + 1, engine->report_count * sizeof(*engine->reports));
    }
    if (engine->report_count == engine->report_capacity) {
        engine->report_capacity = engine->report_capacity == 0 ? 16 : 2 * engine->report_capacity;
        engine->reports = xrealloc(engine->reports, engine->report_capacity * sizeof(*engine->reports));
    }
    engine->reports[engine->report_count++] = *report;
}

/* Proofs that came after the root was taken stay for the next one. A batch that is not the newest we sent (a
 * crash hid what became of it) took no proof that the newest does not take too. */
static void root_settled(struct engine *engine, const struct hash *root)
{
    engine->root_dirty = true;
    if (!engine->root_taken || !hash_equal(&engine->root_value, root))
        return;
    engine->root = engine->root_since;
    engine->root_since = (struct journal_root){0};
    engine->root_taken = false;
}

void settle_batch_settled(struct engine *engine, const struct contract_event *event)
{
    struct batch_report *report = &engine->building;
    report->number = event->batch;
    report->block = event->block;
    report->transaction = event->transaction;
    report->root = event->root;
    report->gross_units = engine->gross_units;
    report->dirty = true;
    if (hash_equal(&event->transaction, &engine->last_settle_transaction))
        report->gas_used = engine->last_settle_gas;
    settle_add_report(engine, report);
    engine->building = (struct batch_report){0};
    engine->gross_units = 0;
    engine->figures.batches_settled++;
    root_settled(engine, &event->root);
    struct hub_channel *channel, *next;
    HASH_ITER(hh, engine->channels, channel, next)
    channel->passed_on = amount_of(0);
}

/* ---- the operator's view ---- */

void engine_report(const struct engine *engine, struct buffer *out)
{
    buffer_printf(out, "[");
    for (size_t i = 0; i < engine->report_count; i++) {
        const struct batch_report *report = &engine->reports[i];
        uint64_t touched = report->items + report->funds;
        buffer_printf(
            out,
            "%s{\"batch\":%llu,\"block\":%llu,\"transaction\":\"%s\",\"items\":%llu,\"funds\":%llu,"
            "\"skipped\":%llu,\"gross\":%llu,\"paid_out\":%llu,\"returned\":%llu,\"funded\":%llu,"
            "\"net_moved\":%llu,\"gas\":%llu,\"gas_per_channel\":%llu,\"journal_root\":\"%s\"}",
            i == 0 ? "" : ",", (unsigned long long)report->number, (unsigned long long)report->block,
            hash_text(&report->transaction, (char[HASH_TEXT_SIZE]){0}), (unsigned long long)report->items,
            (unsigned long long)report->funds, (unsigned long long)report->skipped,
            (unsigned long long)report->gross_units, (unsigned long long)report->payout_units,
            (unsigned long long)report->returned_units, (unsigned long long)report->funded_units,
            (unsigned long long)(report->payout_units + report->funded_units),
            (unsigned long long)report->gas_used,
            (unsigned long long)(touched == 0 ? 0 : report->gas_used / touched),
            hash_text(&report->root, (char[HASH_TEXT_SIZE]){0}));
    }
    buffer_printf(out, "]");
}

void engine_balances(const struct engine *engine, struct buffer *out)
{
    buffer_printf(out, "[");
    for (size_t i = 0; i < engine->settings.terms.asset_count; i++) {
        const struct address *asset = &engine->settings.terms.assets[i].asset;
        uint64_t pool = 0, channels = 0;
        wide client = 0, hub = 0;
        for (size_t p = 0; p < engine->pool_count; p++)
            if (address_equal(&engine->pools[p].asset, asset))
                pool = engine->pools[p].units.units;
        const struct hub_channel *channel, *next;
        HASH_ITER(hh, engine->channels, channel, next)
        {
            if (!address_equal(&channel->channel->key.asset, asset) ||
                channel->channel->funds.stage != STAGE_OPEN)
                continue;
            channels++;
            client += channel_balance(channel->channel, SIDE_CLIENT);
            hub += channel_balance(channel->channel, SIDE_HUB);
        }
        buffer_printf(
            out,
            "%s{\"asset\":\"%s\",\"pool\":%llu,\"channels\":%llu,\"clients_units\":%lld,\"hub_units\":%lld}",
            i == 0 ? "" : ",", address_text(asset, (char[ADDRESS_TEXT_SIZE]){0}), (unsigned long long)pool,
            (unsigned long long)channels, (long long)client, (long long)hub);
    }
    buffer_printf(out, "]");
}
