/* What the hub's watchtowers have signed for: kept over crashes, durable before anything rests on it, shown as evidence, and let go
 * when the promise was kept. */
#include "tower_world.h"

static size_t evidence_of(const struct world *world, unsigned client, struct evidence out[ENGINE_TOWERS_MAX])
{
    memset(out, 0, ENGINE_TOWERS_MAX * sizeof(*out));
    return engine_tower_evidence(world->engine, &world->clients[client].channel->id, out);
}

/* The tower cannot deny it: its own signature, and the client's. */
static void expect_evidence(const struct world *world, unsigned client, uint64_t nonce)
{
    struct evidence evidence[ENGINE_TOWERS_MAX];
    const char *why;
    assert_int_equal(evidence_of(world, client, evidence), 1);
    assert_int_equal(evidence[0].proof.nonce, nonce);
    struct secret_key hub = world->engine->settings.key;
    const struct evidence_ground ground = {.hub = secret_key_address(&hub),
                                           .challenge_period_s = 800,
                                           .now = 2000,
                                           .state = {.status = CHANNEL_CLOSED},
                                           .closing = {.deadline = 1000, .of_client = {.nonce = nonce - 1}}};
    assert_int_equal(evidence_judge(&evidence[0], &ground, &why), EVIDENCE_FAILED);
}

static void expect_no_evidence(const struct world *world, unsigned client)
{
    struct evidence evidence[ENGINE_TOWERS_MAX];
    assert_int_equal(evidence_of(world, client, evidence), 0);
}

/* One by one, as a tower does: what a channel has since is appointed once the last is answered. */
static void answer_until(struct world *world, uint64_t nonce)
{
    for (unsigned i = 0; i < 8 && hub_side(world, 0)->watch[0].receipt_nonce < nonce; i++) {
        world_receipt(world, newest(world));
        pass(world, 1);
    }
    assert_int_equal(hub_side(world, 0)->watch[0].receipt_nonce, nonce);
}

static void test_a_receipt_outlives_a_crash(void **state)
{
    struct world *world = *state;
    expect_no_evidence(world, 0);
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    answer_until(world, 1);
    expect_evidence(world, 0, 1);
    expect_no_evidence(world, 1); /* it has signed nothing yet */
    pass(world, 2);
    world_crash(world);
    expect_evidence(world, 0, 1);
    assert_int_equal(hub_side(world, 0)->watch[0].receipt_nonce, 0); /* what it holds it is asked anew */
    engine_tower(world->engine, 0, true);
    world_settle_down(world);
    uint64_t written = world->engine->sequence;
    answer_until(world, 1);
    pass(world, 2);
    assert_int_equal(world->engine->sequence, written); /* and that is not written again */
    world_connect(world, 0);
    world_connect(world, 1);
    world_pay(world, 0, 1, 1000, 2, false);
    world_settle_down(world);
    expect_evidence(world, 0, 1); /* until the next one comes */
    answer_until(world, 2);
    pass(world, 2);
    world_crash(world);
    expect_evidence(world, 0, 2);
}

/* No batch of its own for each: it waits for another's, a second at most. */
static void test_a_receipt_rides_with_what_is_written_next(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    pass(world, 1);
    uint64_t written = world->engine->sequence;
    world_receipt(world, newest(world));
    world_settle_down(world);
    assert_int_equal(world->engine->sequence, written);
    pass(world, 2);
    assert_int_equal(world->engine->sequence, written + 1);
}

static void test_a_revocation_leaves_with_its_receipt(void **state)
{
    struct world *world = *state;
    answer_all(world);
    drop_a_lock(world);
    while (!is_revoked(world)) {
        world_receipt(world, newest(world));
        world_settle_down(world);
    }
    world_crash(world);
    expect_evidence(world, 0, channel_own(world->clients[0].channel)->proof.nonce);
}

/* The client closes with this claim, and nobody answers. */
static void end_with(struct world *world, struct claim claim)
{
    struct contract_event event = close_event(world, 0);
    event.confirmed = true;
    event.of_client_claim = claim;
    engine_event(world->engine, &event);
    world_head(world, 1);
    world_settle_down(world);
    event = (struct contract_event){.type = EVENT_FINISHED,
                                    .channel = world->clients[0].channel->id,
                                    .block = world->block + 1,
                                    .block_time = world->now,
                                    .confirmed = true,
                                    .to_client = amount_of(10000)};
    engine_event(world->engine, &event);
    world_head(world, 2000);
    world_settle_down(world);
}

static void test_a_broken_promise_stays(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    answer_until(world, 1);
    end_with(world, (struct claim){.nonce = 0});
    expect_evidence(world, 0, 1);
    world_crash(world);
    expect_evidence(world, 0, 1);
}

static void test_a_promise_that_was_kept_is_let_go(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    answer_until(world, 1);
    pass(world, 2);
    const struct balance_proof *newest_proof = &channel_own(world->clients[0].channel)->proof;
    end_with(world,
             (struct claim){1, newest_proof->transferred, newest_proof->locked, newest_proof->locks_root});
    expect_no_evidence(world, 0);
    world_crash(world);
    expect_no_evidence(world, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_with_tower, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_a_receipt_outlives_a_crash),           TEST(test_a_receipt_rides_with_what_is_written_next),
        TEST(test_a_revocation_leaves_with_its_receipt), TEST(test_a_broken_promise_stays),
        TEST(test_a_promise_that_was_kept_is_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
