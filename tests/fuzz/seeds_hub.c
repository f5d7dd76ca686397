#include <stdio.h>

#include "base/ensure.h"
#include "tests/fuzz/seeds.h"
#include "tests/hub/engine_world.h"

/* Every batch so far, in one. */
static bool add_record(void *context, const struct record *record)
{
    if (record->gone) {
        record_gone(context, record->type, record->key, record->key_length);
        return true;
    }
    record_put(context, record->type, record->key, record->key_length, record->value, record->value_length);
    return true;
}

static void save(struct world *world, const char *name)
{
    struct buffer batch = {0};
    memory_journal_crash(world->journal, journal_durable(world->journal));
    ensure(journal_recover(world->journal, add_record, &batch));
    seed_write("hub_journal", name, -1, batch.data, batch.length);
    buffer_free(&batch);
}

static void with_tower(struct engine_settings *settings)
{
    struct secret_key tower = world_key(WORLD_TOWER);
    settings->tower_count = 1;
    settings->towers[0].address = secret_key_address(&tower);
}

/* A hub whose tower has signed for what a client has paid. */
static void seed_promise(void)
{
    static struct world world;
    world_open_with(&world, with_tower);
    world_fund(&world, 0, 10000, 5000);
    world_fund(&world, 1, 10000, 5000);
    world_connect(&world, 0);
    world_connect(&world, 1);
    engine_tower(world.engine, 0, true);
    world_pay(&world, 0, 1, 500, 1, false);
    world_settle_down(&world);
    for (size_t i = 0; i < 4; i++) { /* of each channel one at a time */
        for (size_t k = 0; k < world.appointment_count; k++)
            world_receipt(&world, &world.appointments[k]);
        engine_time(world.engine, 1000 * (i + 1));
        world_settle_down(&world);
    }
    save(&world, "promise");
    world_close(&world);
}

/* A hub with money under way in every way there is. */
void seeds_of_hub(void)
{
    static struct world world;
    world_open(&world);
    world_fund(&world, 0, 10000, 5000);
    world_connect(&world, 0);
    save(&world, "one-client");
    world_fund(&world, 1, 10000, 5000);
    world_connect(&world, 1);
    world_pay(&world, 0, 1, 500, 1, false);
    world_settle_down(&world);
    save(&world, "direct");
    world_pay(&world, 0, 1, 600, 2, true);
    world_settle_down(&world);
    save(&world, "locked");
    world_reveal(&world, 1, 2, &world.clients[1].received[1]);
    world_settle_down(&world);
    save(&world, "revealed");
    world_disconnect(&world, 1);
    world_pay(&world, 0, 1, 700, 3, false);
    world_settle_down(&world);
    save(&world, "waiting");
    engine_settle(world.engine);
    world_settle_down(&world);
    world_head(&world, 400);
    world_settle_down(&world);
    save(&world, "settling");
    world_close(&world);
    seed_promise();
}
