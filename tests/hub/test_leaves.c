/* Every balance proof that was accepted or signed can be proven under the root of its batch, whatever crashed or failed
 * in between; and what is not settled, not known or not kept any more is told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/lock.h"
#include "hub/leaves.h"

#include "engine_batches.h"

#define NOTED_MAX   4096
#define BATCHES_MAX 256
#define STEPS       220

struct notes {
    struct hash digests[NOTED_MAX]; /* as clients know them */
    size_t count;
    uint64_t seen[WORLD_CLIENTS_MAX][2];
    struct hash roots[BATCHES_MAX]; /* by batch, as the contract emitted them */
};

static const _Atomic bool go_on = false;

/* The newest proofs of both sides, as the client has them. */
static void note(struct world *world, struct notes *notes)
{
    for (unsigned i = 0; i < 3; i++)
        for (enum side side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
            const struct channel *channel = world->clients[i].channel;
            const struct balance_proof *proof = &channel->streams[side].proof;
            if (proof->nonce == notes->seen[i][side])
                continue;
            notes->seen[i][side] = proof->nonce;
            assert_true(notes->count < NOTED_MAX);
            notes->digests[notes->count++] = digest_balance_proof(&world->domain, &channel->id, proof);
        }
}

static enum leaf_state prove(struct world *world, const struct hash *digest, uint64_t time,
                             struct leaf_proof *proof)
{
    return leaf_prove(&world->journal, 1, digest, time, &go_on, proof);
}

/* Its path leads to the root that the contract emitted for its batch. */
static bool is_proven(struct world *world, const struct notes *notes, const struct hash *digest)
{
    struct leaf_proof proof;
    enum leaf_state state = prove(world, digest, world->now, &proof);
    if (state == LEAF_WAITING)
        return false;
    assert_int_equal(state, LEAF_SETTLED);
    assert_true(proof.batch > 0 && proof.batch < BATCHES_MAX && proof.position < proof.leaves);
    assert_true(hash_equal(&proof.root, &notes->roots[proof.batch]));
    assert_true(merkle_verify(digest, proof.path, proof.length, &proof.root));
    return true;
}

/* The round is mined: one call, or, after a death, as many as may have been under way; the first has the root. */
static void settle(struct world *world, struct notes *notes)
{
    struct contract_call call = last_call(world, ENGINE_CALL_SETTLE);
    struct ledger_receipt receipt = {.success = true, .gas_used = 1000, .block = world->block + 1};
    size_t calls = world->engine->settle_calls;
    assert_true(world->batches + 1 < BATCHES_MAX && calls > 0);
    if (calls > 1)
        call.hash = world->engine->root_value;
    notes->roots[world->batches + 1] = call.hash;
    execute(world, &call);
    contract_call_free(&call);
    for (size_t i = 0; i < calls; i++)
        engine_call_done(world->engine, ENGINE_CALL_SETTLE, i, LEDGER_OK, &receipt);
    world_head(world, 1);
    world_settle_down(world);
}

static void come_back(struct world *world)
{
    world_crash(world);
    world_head(world, 1);
    for (unsigned i = 0; i < 3; i++)
        world_connect(world, i);
    world_settle_down(world);
}

static void test_what_is_settled_proves_and_what_waits_does_not(void **state)
{
    struct world *world = *state;
    struct notes notes = {.count = 0};
    struct leaf_proof proof;
    world_pay(world, 0, 1, 10, 1, false);
    world_settle_down(world);
    note(world, &notes);
    size_t first = notes.count;
    assert_int_equal(first, 2);
    for (size_t i = 0; i < first; i++)
        assert_int_equal(prove(world, &notes.digests[i], 0, &proof), LEAF_WAITING);
    ask_payout(world, 2, 100);
    plan(world);
    world_pay(world, 0, 1, 10, 2, false); /* while the batch is under way */
    world_settle_down(world);
    note(world, &notes);
    settle(world, &notes);
    for (unsigned again = 0; again < 2; again++) {
        for (size_t i = 0; i < notes.count; i++)
            assert_int_equal(is_proven(world, &notes, &notes.digests[i]), i < first);
        struct hash other = notes.digests[0];
        other.bytes[0] ^= 1;
        assert_int_equal(prove(world, &other, world->now, &proof), LEAF_UNKNOWN);
        come_back(world);
    }
    ask_payout(world, 2, 100);
    plan(world);
    settle(world, &notes);
    for (size_t i = 0; i < notes.count; i++)
        assert_true(is_proven(world, &notes, &notes.digests[i]));
}

static void test_a_stopped_search_says_so(void **state)
{
    struct world *world = *state;
    struct leaf_proof proof;
    const _Atomic bool stop = true;
    struct hash any = {{1}};
    world_pay(world, 0, 1, 10, 1, false);
    world_settle_down(world);
    assert_int_equal(leaf_prove(&world->journal, 1, &any, 0, &stop, &proof), LEAF_STOPPED);
}

/* ---- a random life ---- */

static unsigned chance(uint64_t *random, unsigned most)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*random >> 33) % most;
}

static bool is_under_way(const struct world *world)
{
    return world->engine->settle_phase == SETTLE_SUBMITTED;
}

/* One that carries nothing but the root, as it goes out to learn the fate of another: no client has to sign. */
static void send_batch(struct world *world)
{
    uint8_t hidden = world->engine->settle_hidden;
    if (is_under_way(world))
        return;
    world->engine->settle_hidden = hidden > 0 ? hidden : 1;
    plan(world);
    world->engine->settle_hidden = hidden;
}

static void step(struct world *world, struct notes *notes, uint64_t *random)
{
    static uint8_t id;
    switch (chance(random, 9)) {
    case 0:
    case 1:
    case 2:
    case 3:
        world_pay(world, chance(random, 2) == 0 ? 0 : 2, 1, 1 + chance(random, 3), ++id, false);
        world_settle_down(world);
        break;
    case 4:
    case 5:
        send_batch(world);
        break;
    case 6:
        if (is_under_way(world))
            settle(world, notes);
        break;
    case 7:
        if (is_under_way(world) && world->engine->settle_hidden == 0)
            engine_call_done(world->engine, ENGINE_CALL_SETTLE, 0, LEDGER_UNREACHABLE, NULL);
        pass(world, 100);
        break;
    case 8:
        if (chance(random, 3) == 0)
            come_back(world);
        world_head(world, chance(random, 100000)); /* some days pass */
        break;
    }
    note(world, notes);
    for (size_t i = 0; i < world->calls; i++)
        buffer_free(&world->log[i].data);
    memset(world->log, 0, sizeof(world->log));
    world->calls = world->calls > 0; /* the newest is in world->call */
}

static void test_a_random_life(void **state)
{
    struct world *world = *state;
    const char *seed = getenv("RILL_SEED");
    uint64_t random = seed != NULL ? strtoull(seed, NULL, 10) : 4;
    struct notes *notes = calloc(1, sizeof(*notes));
    assert_non_null(notes);
    for (unsigned i = 0; i < STEPS; i++)
        step(world, notes, &random);
    for (unsigned i = 0; i < 2; i++) { /* the one under way, and one for what came meanwhile */
        send_batch(world);
        settle(world, notes);
    }
    size_t proven = 0;
    for (size_t i = 0; i < notes->count; i++)
        proven += is_proven(world, notes, &notes->digests[i]);
    assert_true(notes->count > 100);
    assert_int_equal(proven, notes->count);
    free(notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_settled_proves_and_what_waits_does_not, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_a_stopped_search_says_so, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_random_life, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
