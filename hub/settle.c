/* Netted batches: what is asked for, planned (settlement/plan.h), signed by clients, sent and followed
 * (section 8).
 *
 *     IDLE ─engine_settle─▶ COLLECTING ─all signed, or time is up─▶ SUBMITTED ─mined─▶ FOLLOWING
 *                                                                   SUBMITTED ─refused─▶ IDLE
 *                                                    FOLLOWING ─the own view has the batch─▶ IDLE
 *
 * Nothing of this is lost by a crash: a settlement under way is part of its channel's record, and a signed
 * one joins the next batch until the ledger shows it settled or its deadline has passed. The contract takes
 * each seq once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define BATCH_ITEMS_MAX    400 /* of items and funds together: about 10 million gas */
#define REQUESTS_GATHER_MS 250 /* after an OPEN_REQUEST, so that many come into one batch */
#define DEADLINE_MARGIN_S  30  /* an item this close to its deadline is not sent any more */

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
    struct pool *pool = settle_pool(engine, asset);
    if (pool == NULL)
        return;
    wide units = (wide)pool->units.units + change;
    if (units < 0 || units >= (wide)AMOUNT_LIMIT)
        log_error("the pool as followed leaves its bounds: the ledger node left out events?");
    pool->units = amount_of(units < 0 ? 0 : units >= (wide)AMOUNT_LIMIT ? AMOUNT_LIMIT - 1 : (uint64_t)units);
    pool->dirty = true;
}

/* ---- what clients ask for ---- */

static void want(struct engine *engine, struct hub_channel *channel)
{
    channel->want_dirty = true;
    engine_touch(engine, channel);
}

static void plan_soon(struct engine *engine, uint64_t delay_ms)
{
    uint64_t at = engine->now_ms + delay_ms;
    if (engine->settle_next_ms == 0 || at < engine->settle_next_ms)
        engine->settle_next_ms = at;
    engine->settle_asked = true;
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
    if (close) {
        channel->close_wanted = true;
    } else if (amount_is_zero(amount) ||
               channel_available(channel->channel, SIDE_CLIENT) < (wide)amount.units) {
        engine_emit_error(
            engine, channel->client->peer, CODE_AVAILABLE,
            "the payout asked for is not available (the reserve stays until the channel is closed)",
            &reference);
        return;
    } else {
        channel->payout_wanted = amount;
    }
    want(engine, channel);
}

void settle_open_request(struct engine *engine, struct client *client, const struct address *asset,
                         struct amount inbound)
{
    struct error_reference reference = {.present = true, .type = MESSAGE_OPEN_REQUEST};
    struct hub_channel *open = NULL;
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
    struct channel_key key = {client->address, *asset, 0};
    for (struct hub_channel *at = client->channels; at != NULL; at = at->next_of_client) {
        if (!address_equal(&at->channel->key.asset, asset))
            continue;
        if (at->channel->funds.stage == STAGE_OPEN)
            open = at;
        else if (at->channel->key.salt >= key.salt)
            key.salt = at->channel->key.salt + 1;
    }
    if (open != NULL) {
        open->inbound_wanted = inbound;
        want(engine, open);
        plan_soon(engine, REQUESTS_GATHER_MS);
        return;
    }
    size_t at = 0;
    while (at < engine->wish_count && memcmp(&engine->wishes[at].key, &key, sizeof(key)) != 0)
        at++;
    if (at == OPEN_WISHES_MAX) {
        engine_emit_error(engine, client->peer, CODE_LIMIT,
                          "too many channels are being opened: ask again later", &reference);
        return;
    }
    engine->wishes[at] = (struct open_wish){key, inbound};
    if (at == engine->wish_count)
        engine->wish_count++;
    plan_soon(engine, REQUESTS_GATHER_MS);
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

/* A channel should have the room that its client asked for or was once given, and at least as much as came to
 * it since the last batch. */
static struct amount target_of(const struct hub_channel *channel)
{
    return larger(larger(channel->inbound_wanted, channel->room_floor), channel->passed_on);
}

static bool may_close(struct hub_channel *channel)
{
    struct channel *machine = channel->channel;
    return lock_set_count(machine->streams[0].locks) == 0 && lock_set_count(machine->streams[1].locks) == 0 &&
           amount_is_zero(machine->streams[0].frozen) && amount_is_zero(machine->streams[1].frozen) &&
           channel_own(machine)->proof.nonce == machine->acknowledged && channel->due_head == NULL;
}

static void describe(struct engine *engine, struct hub_channel *channel, struct plan_channel *out)
{
    const struct channel *machine = channel->channel;
    *out = (struct plan_channel){
        .online = channel->resumed,
        .busy = machine->settlement.phase != SETTLEMENT_NONE || !channel_is_usable(channel),
        .fundable = channel_is_usable(channel) && !machine->settlement.close,
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

static void propose(struct engine *engine, struct hub_channel *channel, const struct plan_channel *plan)
{
    uint64_t deadline = engine->head.confirmed_time + engine->settings.terms.settle_window_s;
    enum code code = channel_propose(channel->channel, plan->client_out, plan->hub_out, deadline,
                                     plan->close && channel->close_wanted);
    if (code != CODE_OK) {
        log_debug("a settlement could not be proposed: %s", code_name(code));
        return;
    }
    engine_touch(engine, channel);
    engine->settle_unsigned++;
    const struct settlement *settlement = &channel->channel->settlement;
    struct message message = {.type = MESSAGE_SETTLE_PROPOSE};
    message.settle_propose.channel = channel->channel->id;
    message.settle_propose.seq = settlement->seq;
    message.settle_propose.client_out = settlement->client_out;
    message.settle_propose.hub_out = settlement->hub_out;
    message.settle_propose.deadline = settlement->deadline;
    message.settle_propose.close = settlement->close;
    engine_emit(engine, channel->client->peer, &message);
}

/* The channels of one asset, described and planned. Returns how many there are. */
static size_t plan_one(struct engine *engine, const struct address *asset, struct hub_channel ***channels_out,
                       struct plan_channel **plans_out)
{
    size_t capacity = HASH_COUNT(engine->channels), count = 0;
    struct hub_channel **channels = xcalloc(capacity, sizeof(struct hub_channel *));
    struct plan_channel *plans = xcalloc(capacity, sizeof(*plans));
    struct hub_channel *channel, *next;
    HASH_ITER(hh, engine->channels, channel, next)
    {
        if (!address_equal(&channel->channel->key.asset, asset) ||
            channel->channel->funds.stage == STAGE_CLOSED)
            continue;
        channels[count] = channel;
        describe(engine, channel, &plans[count++]);
    }
    /* First come those who have no channel yet: their first room is set aside before the pool is given away.
     */
    wide pool = (wide)settle_pool(engine, asset)->units.units;
    for (size_t i = 0; i < engine->wish_count; i++)
        if (address_equal(&engine->wishes[i].key.asset, asset))
            pool -= (wide)engine->wishes[i].inbound.units;
    struct plan_result result = plan_asset(plans, count, amount_of(clamp_units(pool)));
    if (!amount_is_zero(result.missing))
        log_warn("the pool of %s is too low by %llu units for the room that channels need: deposit to it",
                 address_text(asset, (char[ADDRESS_TEXT_SIZE]){0}), (unsigned long long)result.missing.units);
    *channels_out = channels;
    *plans_out = plans;
    return count;
}

static void submit(struct engine *engine);

void engine_settle(struct engine *engine)
{
    engine->settle_asked = true;
    if (engine->settle_phase != SETTLE_IDLE || !engine->head_known) {
        engine->settle_again = true;
        return;
    }
    engine_flush(engine); /* proposals look at what is signed */
    engine->settle_asked = engine->settle_again = false;
    engine->settle_next_ms = engine->settings.settle_interval_s == 0
                                 ? 0
                                 : engine->now_ms + engine->settings.settle_interval_s * 1000;
    engine->settle_unsigned = 0;
    for (size_t asset = 0; asset < engine->settings.terms.asset_count; asset++) {
        struct hub_channel **channels;
        struct plan_channel *plans;
        if (settle_pool(engine, &engine->settings.terms.assets[asset].asset) == NULL)
            continue;
        size_t count = plan_one(engine, &engine->settings.terms.assets[asset].asset, &channels, &plans);
        for (size_t i = 0; i < count; i++) {
            channels[i]->fund_planned = plans[i].fund;
            if (plans[i].settle)
                propose(engine, channels[i], &plans[i]);
        }
        free(channels);
        free(plans);
    }
    engine->settle_phase = SETTLE_COLLECTING;
    engine->settle_deadline_ms = engine->now_ms + engine->settings.settle_collect_ms;
    if (engine->settle_unsigned == 0)
        submit(engine);
}

/* ---- collecting ---- */

static void one_answered(struct engine *engine)
{
    if (engine->settle_phase != SETTLE_COLLECTING || engine->settle_unsigned == 0)
        return;
    if (--engine->settle_unsigned == 0)
        submit(engine);
}

void settle_sign(struct engine *engine, struct hub_channel *channel, uint32_t seq,
                 const struct signature *signature)
{
    struct channel_view view = engine_view(engine, channel);
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
    engine_touch(engine, channel);
    if (engine->settle_phase == SETTLE_COLLECTING)
        one_answered(engine);
    else
        plan_soon(engine, engine->settings.settle_collect_ms); /* late: it joins the next batch */
}

void settle_refused(struct engine *engine, struct hub_channel *channel, uint64_t seq)
{
    const struct settlement *settlement = &channel->channel->settlement;
    if (settlement->phase != SETTLEMENT_PROPOSED || (seq != 0 && seq != settlement->seq))
        return;
    channel_settle_refused(channel->channel);
    engine_touch(engine, channel);
    one_answered(engine);
}

/* ---- submitting ---- */

struct batch_call {
    struct settle_item items[BATCH_ITEMS_MAX];
    struct fund funds[BATCH_ITEMS_MAX];
    size_t item_count, fund_count;
};

static void add_item(const struct engine *engine, const struct hub_channel *channel, struct batch_call *batch)
{
    const struct settlement *settlement = &channel->channel->settlement;
    if (settlement->phase != SETTLEMENT_SIGNED ||
        settlement->deadline < engine->head.confirmed_time + DEADLINE_MARGIN_S ||
        channel->channel->funds.stage != STAGE_OPEN || batch->item_count == BATCH_ITEMS_MAX)
        return;
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
    if (part == 0 || batch->fund_count == BATCH_ITEMS_MAX)
        return;
    batch->funds[batch->fund_count++] = (struct fund){*key, amount_of(part)};
    *left -= part;
}

static uint64_t pool_with_batch(struct engine *engine, const struct address *asset,
                                const struct batch_call *batch)
{
    uint64_t pool = settle_pool(engine, asset)->units.units;
    for (size_t i = 0; i < batch->item_count; i++)
        if (address_equal(&batch->items[i].key.asset, asset))
            pool += batch->items[i].hub_out.units;
    return pool;
}

static void gather_funds(struct engine *engine, struct batch_call *batch)
{
    for (size_t i = 0; i < engine->settings.terms.asset_count; i++) {
        const struct address *asset = &engine->settings.terms.assets[i].asset;
        uint64_t left = pool_with_batch(engine, asset, batch);
        for (size_t w = 0; w < engine->wish_count; w++)
            if (address_equal(&engine->wishes[w].key.asset, asset))
                add_fund(&engine->wishes[w].key, engine->wishes[w].inbound, batch, &left);
        struct hub_channel *channel, *next;
        HASH_ITER(hh, engine->channels, channel, next)
        {
            /* No Fund is sent while a signed close is alive (section 8). */
            bool closes = channel->channel->settlement.close;
            if (address_equal(&channel->channel->key.asset, asset) && channel_is_usable(channel) && !closes)
                add_fund(&channel->channel->key, channel->fund_planned, batch, &left);
            if (address_equal(&channel->channel->key.asset, asset))
                channel->fund_planned = amount_of(0);
        }
    }
    engine->wish_count = 0;
}

static void submit(struct engine *engine)
{
    struct batch_call *batch = xcalloc(1, sizeof(*batch));
    struct hub_channel *channel, *next;
    HASH_ITER(hh, engine->channels, channel, next)
    add_item(engine, channel, batch);
    gather_funds(engine, batch);
    if (batch->item_count == 0 && batch->fund_count == 0) {
        engine->settle_phase = SETTLE_IDLE;
        free(batch);
        return;
    }
    struct contract_call call = {
        .function = CONTRACT_SETTLE_BATCH,
        .items = batch->items,
        .item_count = batch->item_count,
        .funds = batch->funds,
        .fund_count = batch->fund_count,
        .hash = journal_root_value(&engine->root),
    };
    engine->root_submitted = engine->root;
    engine_emit_call(engine, ENGINE_CALL_SETTLE, 0, &call);
    engine->settle_phase = SETTLE_SUBMITTED;
    log_info("settling a batch: %zu items, %zu funds", batch->item_count, batch->fund_count);
    free(batch);
}

void engine_call_done(struct engine *engine, enum engine_call call, uint64_t reference,
                      enum ledger_error error, const struct ledger_receipt *receipt)
{
    (void)reference;
    if (call != ENGINE_CALL_SETTLE) {
        /* A challenge that another was faster with, a secret that is registered already: the ledger's state
         * counts. */
        if (error != LEDGER_OK)
            log_info("transaction not needed or refused: %s", ledger_error_text(error));
        return;
    }
    /* The next plan must not be made on a view that does not know of this batch. */
    bool unseen = error == LEDGER_OK && receipt != NULL && receipt->block > engine->head.confirmed_number;
    engine->settle_phase = unseen ? SETTLE_FOLLOWING : SETTLE_IDLE;
    engine->settle_block = unseen ? receipt->block : 0;
    if (error != LEDGER_OK)
        log_warn("the batch was not settled: %s; what was signed joins the next one",
                 ledger_error_text(error));
    if (receipt != NULL)
        for (size_t i = engine->report_count; i-- > 0;)
            if (hash_equal(&engine->reports[i].transaction, &receipt->transaction)) {
                engine->reports[i].gas_used = receipt->gas_used;
                engine->reports[i].dirty = true;
            }
    if (receipt != NULL) {
        engine->last_settle_transaction = receipt->transaction;
        engine->last_settle_gas = receipt->gas_used;
    }
    if (engine->settle_again && !unseen)
        plan_soon(engine, 0);
}

/* ---- the ledger's answer ---- */

static void emit_settled(struct engine *engine, struct hub_channel *channel, uint32_t seq, uint8_t outcome,
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
    emit_settled(engine, channel, event->seq, 0, event);
    if (!amount_is_zero(event->client_out)) {
        channel->payout_wanted = amount_of(0);
        want(engine, channel);
    }
    engine->building.items++;
    engine->building.payout_units += event->client_out.units;
    engine->building.returned_units += event->hub_out.units;
    engine->figures.settle_items++;
}

void settle_skipped(struct engine *engine, const struct contract_event *event)
{
    engine->building.skipped++;
    engine->figures.settle_skipped++;
    struct hub_channel *channel = engine_channel(engine, &event->channel);
    if (channel == NULL || event->is_fund)
        return;
    emit_settled(engine, channel, channel->channel->settlement.seq, event->reason, event);
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
    if (engine->report_count == engine->report_capacity) {
        engine->report_capacity = engine->report_capacity == 0 ? 16 : 2 * engine->report_capacity;
        engine->reports = xrealloc(engine->reports, engine->report_capacity * sizeof(*engine->reports));
    }
    engine->reports[engine->report_count++] = *report;
    engine->building = (struct batch_report){0};
    engine->gross_units = 0;
    engine->root_dirty = true;
    engine->figures.batches_settled++;
    /* Proofs that came after the root was taken stay for the next one; a batch of a former run took them all.
     */
    struct hash taken = journal_root_value(&engine->root_submitted);
    if (engine->root_submitted.count == engine->root.count || !hash_equal(&taken, &event->root))
        engine->root = (struct journal_root){0};
    struct hub_channel *channel, *next;
    HASH_ITER(hh, engine->channels, channel, next)
    channel->passed_on = amount_of(0);
}

void settle_timeouts(struct engine *engine)
{
    if (engine->settle_next_ms == 0 && engine->settings.settle_interval_s != 0)
        engine->settle_next_ms = engine->now_ms + engine->settings.settle_interval_s * 1000;
    if (engine->settle_phase == SETTLE_COLLECTING && engine->now_ms >= engine->settle_deadline_ms)
        submit(engine);
    if (engine->settle_phase == SETTLE_IDLE && engine->settle_next_ms != 0 &&
        engine->now_ms >= engine->settle_next_ms)
        engine_settle(engine);
}

/* Settlements whose deadline has passed on the ledger without them: dead, and said so. */
void settle_expire(struct engine *engine)
{
    if (engine->settle_phase == SETTLE_FOLLOWING && engine->head.confirmed_number >= engine->settle_block) {
        engine->settle_phase = SETTLE_IDLE;
        if (engine->settle_again)
            plan_soon(engine, 0);
    }
    if (engine->head.confirmed_time < engine->settle_expire_time)
        return;
    engine->settle_expire_time = engine->head.confirmed_time + 1;
    struct hub_channel *channel, *next;
    HASH_ITER(hh, engine->channels, channel, next)
    {
        uint32_t seq = channel->channel->settlement.seq;
        if (channel->channel->settlement.phase == SETTLEMENT_NONE ||
            !channel_settle_expire(channel->channel, engine->head.confirmed_time))
            continue;
        emit_settled(engine, channel, seq, 6, NULL);
        engine_touch(engine, channel);
    }
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
