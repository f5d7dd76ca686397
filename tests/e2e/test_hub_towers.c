/* A hub with two towers, as real processes: both hold its channels, and one that is gone takes nothing from the other. */
#include "tests/e2e/hub_fixture.h"
#include "tests/e2e/tower_process.h"

#define TOWERS 2

struct world {
    struct hub_stage *stage;
    struct tower_process towers[TOWERS];
    char names[2 * 160 + 2];
    unsigned wanted;       /* which tower is asked */
    uint64_t appointments; /* how many it should hold */
};

static int world_open(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->stage = stage_open(NULL);
    for (unsigned i = 0; i < TOWERS; i++)
        tower_process_start(world->stage, &world->towers[i], i);
    snprintf(world->names, sizeof world->names, "%s,%s", world->towers[0].name, world->towers[1].name);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    for (unsigned i = 0; i < TOWERS; i++)
        process_end(&world->towers[i].process, SIGKILL);
    stage_close(world->stage);
    free(world);
    return 0;
}

static void open_channel(struct world *world, const char *client)
{
    struct secret_key key = key_of(client);
    struct channel_key channel = {.client = secret_key_address(&key)};
    ledger_call_as(
        world->stage, &world->stage->hub,
        &(struct contract_call){.function = CONTRACT_DEPOSIT, .key = channel, .amount = amount_of(1000)},
        1000);
    mine(world->stage);
    mine(world->stage);
}

static bool holds(void *context)
{
    struct world *world = context;
    char wanted[64];
    char *metrics = http_ask(world->towers[world->wanted].http_port, "GET", "/metrics");
    snprintf(wanted, sizeof wanted, "\nrill_tower_appointments %llu\n",
             (unsigned long long)world->appointments);
    bool found = strstr(metrics, wanted) != NULL;
    free(metrics);
    return found;
}

static void expect_appointments(struct world *world, unsigned tower, uint64_t count)
{
    world->wanted = tower;
    world->appointments = count;
    if (!holds_in_time(world->stage, holds, world))
        fail_with_log(world->stage, "an appointment with the tower");
}

static bool knows_channel(void *context)
{
    struct world *world = context;
    return hub_figure(world->stage, "channels") == world->appointments;
}

/* A hub that starts again appoints for every channel that it has. */
static void test_both_towers_hold_every_channel(void **state)
{
    struct world *world = *state;
    const char *const flags[] = {"--tower", world->names, NULL};
    hub_start(world->stage, flags);
    open_channel(world, "first client");
    world->appointments = 1;
    assert_true(holds_in_time(world->stage, knows_channel, world));
    hub_stop(world->stage);
    hub_start(world->stage, flags);
    for (unsigned i = 0; i < TOWERS; i++)
        expect_appointments(world, i, 1);
}

static void test_one_that_is_gone_takes_nothing_from_the_other(void **state)
{
    struct world *world = *state;
    const char *const flags[] = {"--tower", world->names, NULL};
    process_end(&world->towers[0].process, SIGKILL);
    open_channel(world, "second client");
    world->appointments = 2;
    assert_true(holds_in_time(world->stage, knows_channel, world));
    hub_stop(world->stage);
    hub_start(world->stage, flags);
    expect_appointments(world, 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_towers_hold_every_channel),
        cmocka_unit_test(test_one_that_is_gone_takes_nothing_from_the_other),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
