#include "tests/fuzz/seeds.h"
#include "tests/watchtower/world.h"

static void save(const struct world *world, const char *name)
{
    struct buffer whole = {0};
    for (size_t i = 0; i < world->batch_count; i++)
        buffer_append(&whole, world->batches[i].data, world->batches[i].length);
    seed_write("tower_journal", name, -1, whole.data, whole.length);
    buffer_free(&whole);
}

void seeds_of_tower(void)
{
    void *state;
    world_setup(&state);
    struct world *world = state;
    struct lock locks[] = {lock_of(1, 10, START + 3000), lock_of(2, 20, START + 9000)};
    struct witness witness = secret_of(1);
    struct balance_proof of_client = proof_of(4, 5, locks, 2), of_hub = proof_of(2, 9, NULL, 0);
    struct appoint appoint;
    save(world, "new");
    world_appoint(world, SIDE_HUB, &of_client, locks, 2, &witness);
    save(world, "hub");
    world_appoint(world, SIDE_CLIENT, &of_hub, NULL, 0, NULL);
    appoint_make(world, &appoint, SIDE_HUB, &of_client, locks, 2);
    appoint_revocation(world, &appoint, SIDE_HUB, 3);
    appoint_send_as(world, &appoint, &world->hub);
    save(world, "both");
    world_teardown(&state);
}
