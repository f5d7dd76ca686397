/* A hub with three clients and perhaps a watchtower, for the tests about towers. */
#ifndef RILL_TESTS_HUB_TOWER_WORLD_H
#define RILL_TESTS_HUB_TOWER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/engine_state.h"

#include "engine_world.c"

static inline void with_tower(struct engine_settings *settings)
{
    struct secret_key tower = world_key(WORLD_TOWER);
    settings->tower_count = 1;
    settings->towers[0].address = secret_key_address(&tower);
}

static inline struct world *open_some(void (*change)(struct engine_settings *settings))
{
    static struct world world;
    world_open_with(&world, change);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 5000);
    world_fund(&world, 2, 1000, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_connect(&world, i);
    engine_tower(world.engine, 0, true);
    world_settle_down(&world);
    return &world;
}

static inline int open_with_tower(void **state)
{
    *state = open_some(with_tower);
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

static inline void pass(struct world *world, uint64_t seconds)
{
    for (uint64_t i = 0; i < seconds; i++)
        engine_time(world->engine, world->engine->now_ms + 1000);
    world_settle_down(world);
}

static inline struct contract_event close_event(struct world *world, unsigned client)
{
    return (struct contract_event){.type = EVENT_CLOSE_STARTED,
                                   .channel = world->clients[client].channel->id,
                                   .block = world->block + 1,
                                   .block_time = world->now,
                                   .deadline = world->now + 800};
}

/* The client of `index` has a lock that it takes back after it expired. */
static inline void drop_a_lock(struct world *world)
{
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    world_head(world, 3601);
    world_settle_down(world);
    struct payment_id id = world_id(1);
    const struct pending_lock *lock = channel_find_payment(world->clients[0].channel, SIDE_CLIENT, &id);
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = lock->lock.id};
    world_send(world, 0, &expire, 1);
    world_settle_down(world);
}

static inline bool is_revoked(const struct world *world)
{
    return stream_dropped(channel_own(world->clients[0].channel))->revoked_nonce > 0;
}

/* The newest appointment of client 0's channel. */
static inline const struct world_appointment *newest(const struct world *world)
{
    for (size_t i = world->appointment_count; i-- > 0;)
        if (hash_equal(&world->appointments[i].channel, &world->clients[0].channel->id))
            return &world->appointments[i];
    fail_msg("no appointment");
    return NULL;
}

static inline void answer_all(struct world *world)
{
    for (size_t i = 0; i < world->appointment_count; i++)
        world_receipt(world, &world->appointments[i]);
    world_settle_down(world);
}

#endif
