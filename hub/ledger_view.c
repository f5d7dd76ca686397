/* What the hub's own ledger node says, and what follows from it. */
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/planted.h"
#include "hub/engine_state.h"

uint64_t engine_cursor(const struct engine *engine)
{
    return engine->cursor;
}

struct hash engine_cursor_before(const struct engine *engine)
{
    return engine->cursor_before;
}

void engine_confirmed_hash(struct engine *engine, const struct hash *hash)
{
    engine->confirmed_hash = *hash;
}

static void cursor_move(struct engine *engine, const struct ledger_head *head)
{
    if (head->confirmed_number + 1 >= engine->cursor) {
        engine->cursor = head->confirmed_number + 1;
        engine->cursor_before = engine->confirmed_hash;
    }
    engine->cursor_dirty = true;
}

/* ---- time ---- */

uint64_t engine_newest_time(const struct engine *engine)
{
    return engine->head.time > engine->head.confirmed_time ? engine->head.time : engine->head.confirmed_time;
}

uint64_t engine_latest_time(const struct engine *engine)
{
    uint64_t passed_ms = engine->head_ms == 0 ? 0 : engine->now_ms - engine->head_ms;
    return engine_newest_time(engine) + passed_ms / 1000;
}

/* ---- channels ---- */

void ledger_set_funds(struct engine *engine, struct hub_channel *channel, const struct channel_funds *funds)
{
    count_before_change(engine, channel);
    channel_set_funds(channel->channel, funds);
    channel->funds_changed = true;
    engine_touch(engine, channel);
}

static void event_opened(struct engine *engine, const struct contract_event *event)
{
    if (engine_channel(engine, &event->channel) != NULL)
        return;
    struct channel_key key = {event->address, event->other, event->salt};
    if (shard_of_client(&key.client, engine->settings.shards) != engine->settings.shard)
        return;
    const struct asset_terms *asset = engine_terms(engine, &key.asset);
    struct channel *machine = channel_new(&key, SIDE_HUB, asset == NULL ? 0 : asset->reserve_bps);
    if (!hash_equal(&machine->id, &event->channel)) {
        log_error("the ledger node reports channel %s with another client or asset; ignored",
                  hash_text(&event->channel, (char[HASH_TEXT_SIZE]){0}));
        channel_free(machine);
        return;
    }
    struct channel_funds funds = {.stage = STAGE_OPEN};
    struct hub_channel *channel = engine_add_channel(engine, machine);
    ledger_set_funds(engine, channel, &funds);
    engine->figures.channels_open++;
    /* Whoever opened it: what its client asked for is the channel's own want from now on. */
    channel->inbound_wanted = settle_wish_over(engine, &key);
    channel->want_dirty = true;
}

/* The hub has put money in. What its client asked for is a promise: what is still missing of it (the pool was too low, or
 * payments came meanwhile) is given by the next batch, unless it is little. What the hub adds for payments that it expects
 * is none. first: of a channel that began with this, and whose wish a crash may have made the hub forget. */
static void room_given(struct hub_channel *channel, struct amount first)
{
    wide room = channel_available(channel->channel, SIDE_HUB);
    struct amount wanted = amount_is_zero(channel->inbound_wanted) ? first : channel->inbound_wanted;
    struct amount given = room < (wide)wanted.units ? amount_of(room > 0 ? (uint64_t)room : 0) : wanted;
    if (amount_compare(given, channel->room_floor) > 0)
        channel->room_floor = given;
    if (given.units >= wanted.units - wanted.units / 8)
        channel->inbound_wanted = amount_of(0);
    channel->want_dirty = true;
}

static void event_funded(struct engine *engine, struct hub_channel *channel,
                         const struct contract_event *event)
{
    struct channel_funds funds = channel->channel->funds;
    bool is_first = amount_is_zero(funds.total) && funds.seq == 0;
    if (!funds_pay_in(&funds, event->client_amount, event->hub_amount)) {
        log_error("the ledger node reports funds of a channel beyond 2^63; ignored");
        return;
    }
    ledger_set_funds(engine, channel, &funds);
    due_wake(engine, channel->client);
    if (!amount_is_zero(event->hub_amount)) {
        settle_pool_change(engine, &channel->channel->key.asset, -(wide)event->hub_amount.units);
        engine->building.funds++;
        engine->building.funded_units += event->hub_amount.units;
        room_given(channel, is_first ? event->hub_amount : amount_of(0));
    }
}

static void event_closed(struct engine *engine, struct hub_channel *channel, uint32_t seq)
{
    struct channel_funds funds = {.seq = seq, .stage = STAGE_CLOSED};
    if (channel->channel->funds.stage == STAGE_OPEN)
        engine->figures.channels_open--;
    ledger_set_funds(engine, channel, &funds);
}

static void event_finished(struct engine *engine, struct hub_channel *channel,
                           const struct contract_event *event)
{
    if (channel->channel->funds.stage == STAGE_CLOSED) {
        log_error("the ledger node reports the end of channel %s once more; ignored",
                  hash_text(&channel->channel->id, (char[HASH_TEXT_SIZE]){0}));
        return;
    }
    settle_pool_change(engine, &channel->channel->key.asset, (wide)event->to_hub.units);
    log_info("channel %s is closed: client %llu, hub %llu units, penalty %llu",
             hash_text(&channel->channel->id, (char[HASH_TEXT_SIZE]){0}),
             (unsigned long long)event->to_client.units, (unsigned long long)event->to_hub.units,
             (unsigned long long)event->penalty.units);
    promises_over(engine, channel);
    event_closed(engine, channel, channel->channel->funds.seq);
    remains_finished(engine, channel, event);
}

static void event_unlocked(struct engine *engine, struct hub_channel *channel,
                           const struct contract_event *event)
{
    bool to_hub = event->of_client == event->to_receiver;
    if (to_hub)
        settle_pool_change(engine, &channel->channel->key.asset, (wide)event->amount.units);
    remains_unlocked(engine, channel, event);
}

static void event_settled(struct engine *engine, struct hub_channel *channel,
                          const struct contract_event *event)
{
    struct channel_funds funds = channel->channel->funds;
    if (!event->close && !funds_pay_out(&funds, event->client_out, event->hub_out, event->seq)) {
        log_error(
            "the ledger node reports that a settlement took more out of channel %s than it had shown to be "
            "in it; ignored: compare it with another node",
            hash_text(&channel->channel->id, (char[HASH_TEXT_SIZE]){0}));
        return;
    }
    settle_settled(engine, channel, event);
    if (event->close) {
        promises_over(engine, channel);
        event_closed(engine, channel, event->seq);
        dispute_over(engine, channel);
        channel_let_go(channel->channel);
        return;
    }
    ledger_set_funds(engine, channel, &funds);
}

/* ---- all events ---- */

static void event_condition_met(struct engine *engine, const struct contract_event *event)
{
    if (engine_registration(engine, event->kind, &event->condition) != NULL)
        return;
    struct registration *registration = engine_add_registration(engine, event->kind, &event->condition);
    registration->time = event->block_time;
    registration->witness = event->witness;
    registration->dirty_next = engine->registrations_dirty;
    engine->registrations_dirty = registration;
    outcome_registered(engine, registration);
}

static void channel_event(struct engine *engine, const struct contract_event *event)
{
    struct hub_channel *channel = engine_channel(engine, &event->channel);
    if (channel == NULL)
        return;
    if (event->type == EVENT_FUNDED)
        event_funded(engine, channel, event);
    else if (event->type == EVENT_SETTLED)
        event_settled(engine, channel, event);
    else if (event->type == EVENT_FINISHED)
        event_finished(engine, channel, event);
    else if (event->type == EVENT_UNLOCKED)
        event_unlocked(engine, channel, event);
}

static bool is_dispute(const struct contract_event *event)
{
    return event->type == EVENT_CLOSE_STARTED || event->type == EVENT_CHALLENGED ||
           event->type == EVENT_LOCKS_VOIDED;
}

static void dispute_event(struct engine *engine, const struct contract_event *event)
{
    struct hub_channel *channel = engine_channel(engine, &event->channel);
    if (channel == NULL)
        return;
    if (event->type == EVENT_CLOSE_STARTED)
        dispute_started(engine, channel, event);
    else if (event->type == EVENT_CHALLENGED)
        dispute_challenged(engine, channel, event);
    else if (event->confirmed)
        dispute_locks_voided(engine, channel, event);
}

static void confirmed_event(struct engine *engine, const struct contract_event *event)
{
    if (is_dispute(event)) {
        dispute_event(engine, event);
    } else if (event->type == EVENT_ASSET_LISTED) {
        if (!engine_add_asset(engine, &event->address))
            log_warn("more than %d assets are listed; the newest is not served", ASSETS_MAX);
        engine->assets_dirty = true;
    } else if (event->type == EVENT_OPENED) {
        event_opened(engine, event);
    } else if (event->type == EVENT_CONDITION_MET) {
        event_condition_met(engine, event);
    } else if (event->type == EVENT_POOL_DEPOSITED || event->type == EVENT_POOL_WITHDRAWN) {
        wide amount = (wide)event->amount.units;
        if (engine->settings.shard == 0)
            settle_pool_change(engine, &event->address,
                               event->type == EVENT_POOL_DEPOSITED ? amount : -amount);
    } else if (event->type == EVENT_SETTLE_SKIPPED) {
        settle_skipped(engine, event);
    } else if (event->type == EVENT_BATCH_SETTLED) {
        settle_batch_settled(engine, event);
    } else if (event->type == EVENT_TOWER_SET) {
        appoint_tower_set(engine, &event->address, event->allowed);
    } else {
        channel_event(engine, event);
    }
}

/* Confirmed events wait for the head that ends their blocks: they and the cursor behind them must reach the
 * disk in one batch, or a crash between the two would have them counted twice. A young block may vanish, so
 * that nothing of it is counted; only the beginning of a dispute is acted on at once. */
void engine_event(struct engine *engine, const struct contract_event *event)
{
    if (!event->confirmed && !(PLANTED(YOUNG_EVENT_COUNTS) && event->type == EVENT_FUNDED)) {
        if (is_dispute(event))
            dispute_event(engine, event);
        return;
    }
    if (engine->event_count == engine->event_capacity) {
        engine->event_capacity = engine->event_capacity == 0 ? 64 : 2 * engine->event_capacity;
        engine->events = xrealloc(engine->events, engine->event_capacity * sizeof(*engine->events));
    }
    engine->events[engine->event_count++] = *event;
}

/* ---- a new head ---- */

void engine_touch_held(struct engine *engine)
{
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel->held_head != NULL)
            engine_touch(engine, channel);
    }
}

void engine_block_gas(struct engine *engine, uint64_t gas_limit)
{
    engine->block_gas_limit = gas_limit;
}

void engine_head(struct engine *engine, const struct ledger_head *head)
{
    engine_flush(engine); /* a channel that closes below takes no draft along */
    if (head->number != engine->head.number || head->time != engine->head.time)
        engine->head_ms = engine->now_ms;
    bool is_caught_up = head->number <= head->confirmed_number + engine->settings.terms.confirmations;
    engine->head = *head;
    for (size_t i = 0; i < engine->event_count; i++)
        confirmed_event(engine, &engine->events[i]);
    engine->event_count = 0;
    if (head->confirmed_number + 1 > engine->cursor || !engine->head_known)
        cursor_move(engine, head);
    engine->head_known = engine->head_known || is_caught_up;
    if (engine->held_count > 0)
        engine_touch_held(engine);
    dispute_head(engine);
    outcome_time(engine);
    settle_head(engine);
}
