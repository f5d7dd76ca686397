/* The engine's world with three channels, and the batches that it settles: asked for, planned, executed. */
#ifndef RILL_TESTS_HUB_ENGINE_BATCHES_H
#define RILL_TESTS_HUB_ENGINE_BATCHES_H

#include "hub/engine_state.h"

#include "engine_world.c"

static inline int open_world(void **state)
{
    static struct world world;
    world_open(&world);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 5000);
    world_fund(&world, 2, 1000, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_connect(&world, i);
    *state = &world;
    return 0;
}

static inline int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static inline struct hub_channel *hub_side(const struct world *world, unsigned client)
{
    return engine_channel(world->engine, &world->clients[client].channel->id);
}

static inline struct amount hub_pool(const struct world *world)
{
    return settle_pool_units(&world->engine->pools[0]);
}

static inline void ask_payout(struct world *world, unsigned client, uint64_t amount)
{
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = world->clients[client].channel->id;
    request.settle_request.amount = amount_of(amount);
    request.settle_request.close = amount == 0;
    world_message(world, client, &request);
    world_settle_down(world);
}

static inline void plan(struct world *world)
{
    engine_settle(world->engine);
    world_settle_down(world);
}

static inline void pass(struct world *world, uint64_t milliseconds)
{
    engine_time(world->engine, world->engine->now_ms + milliseconds);
    world_settle_down(world);
}

/* The newest transaction asked for. */
static inline struct contract_call last_call(struct world *world, enum engine_call call)
{
    struct contract_call out;
    assert_true(world->calls > 0);
    assert_int_equal(world->last_call, call);
    assert_true(contract_decode_call(world->call.data, world->call.length, &out));
    return out;
}

static inline size_t last_batch(struct world *world, size_t *funds)
{
    struct contract_call call = last_call(world, ENGINE_CALL_SETTLE);
    size_t items = call.item_count;
    if (funds != NULL)
        *funds = call.fund_count;
    contract_call_free(&call);
    return items;
}

/* The contract executes it, and the hub's node sees that at once. */
static inline void execute(struct world *world, const struct contract_call *call)
{
    for (size_t i = 0; i < call->item_count; i++) {
        struct contract_event event = {.type = EVENT_SETTLED,
                                       .confirmed = true,
                                       .channel = channel_id(&call->items[i].key),
                                       .client_out = call->items[i].client_out,
                                       .hub_out = call->items[i].hub_out,
                                       .close = call->items[i].close};
        event.seq = engine_channel(world->engine, &event.channel)->channel->funds.seq + 1;
        engine_event(world->engine, &event);
    }
    for (size_t i = 0; i < call->fund_count; i++) {
        struct contract_event event = {.type = EVENT_FUNDED,
                                       .confirmed = true,
                                       .channel = channel_id(&call->funds[i].key),
                                       .hub_amount = call->funds[i].amount};
        engine_event(world->engine, &event);
    }
    struct contract_event event = {
        .type = EVENT_BATCH_SETTLED, .confirmed = true, .batch = ++world->batches, .root = call->hash};
    engine_event(world->engine, &event);
}

static inline void settled(struct world *world)
{
    struct contract_call call = last_call(world, ENGINE_CALL_SETTLE);
    struct ledger_receipt receipt = {.success = true, .gas_used = 1000, .block = world->block + 1};
    execute(world, &call);
    contract_call_free(&call);
    engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_OK, &receipt);
    world_head(world, 1);
    world_settle_down(world);
}

#endif
