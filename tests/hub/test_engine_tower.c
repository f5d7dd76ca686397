/* The hub when a client closes by itself, and the hub's watchtower: what is answered across crashes, and what
 * a revocation waits for when the tower refuses, lies or is silent. */
#include "tower_world.h"

static void with_set_tower(struct engine_settings *settings)
{
    with_tower(settings);
    settings->towers[0].is_set = true;
}

static void with_two_towers(struct engine_settings *settings)
{
    struct secret_key second = world_key(WORLD_TOWER + 1);
    with_tower(settings);
    settings->tower_count = 2;
    settings->towers[1].address = secret_key_address(&second);
}

static int open_world(void **state)
{
    *state = open_some(NULL);
    return 0;
}

static int open_with_set_tower(void **state)
{
    *state = open_some(with_set_tower);
    return 0;
}

static int open_with_two_towers(void **state)
{
    *state = open_some(with_two_towers);
    return 0;
}

static size_t calls_of(const struct world *world, enum engine_call call)
{
    size_t count = 0;
    for (size_t i = 0; i < world->calls; i++)
        count += world->log[i].call == call;
    return count;
}

/* ---- starting again ---- */

/* A machine has been up for a while when the hub starts: the tower is not silent since then, but since now. */
static void test_a_restart_does_not_dismiss_the_tower(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    world_crash(world);
    engine_time(world->engine, 100000000);
    engine_time(world->engine, 100000000 + 2000);
    assert_false(world->engine->towers[0].dismissed);
    assert_int_equal(calls_of(world, ENGINE_CALL_SET_TOWER), 0);
    engine_time(world->engine, 100000000 + 2000 + 1000 * world->engine->settings.tower_silence_s);
    assert_true(world->engine->towers[0].dismissed);
}

/* ---- disputes ---- */

static void test_an_answer_lost_in_a_crash_is_given_again(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    struct contract_event close = close_event(world, 0);
    engine_event(world->engine, &close);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 1);
    close.confirmed = true;
    engine_event(world->engine, &close);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 1); /* once */
    world_crash(world);                                          /* the transaction may never have left */
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 2);
    assert_int_equal(world->log[world->calls - 1].reference, load_be64(world->clients[0].channel->id.bytes));
    const struct balance_proof *proof = &channel_peer(hub_side(world, 0)->channel)->proof;
    struct contract_event challenged = {
        .type = EVENT_CHALLENGED,
        .confirmed = true,
        .channel = close.channel,
        .by_partner = true,
        .address = world->hub,
        .proof = {proof->nonce, proof->transferred, proof->locked, proof->locks_root}};
    engine_event(world->engine, &challenged);
    world_head(world, 1);
    world_settle_down(world);
    world_crash(world);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 2); /* it stands */
}

/* Whatever became of it, as long as what stands calls for it: the contract may have refused it only because a
 * reorganisation had taken the close away for a moment, or had put it behind its answer. */
static void test_a_challenge_that_failed_is_tried_again(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    struct contract_event close = close_event(world, 0);
    close.confirmed = true;
    engine_event(world->engine, &close);
    world_head(world, 1);
    world_settle_down(world);
    uint64_t reference = load_be64(world->clients[0].channel->id.bytes);
    engine_call_done(world->engine, ENGINE_CALL_CHALLENGE, reference, LEDGER_UNREACHABLE, NULL);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 2);
    engine_call_done(world->engine, ENGINE_CALL_CHALLENGE, reference, LEDGER_REVERTED, NULL);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 3);
    struct ledger_receipt mined = {.success = false, .reverted = CONTRACT_BAD_STATUS};
    engine_call_done(world->engine, ENGINE_CALL_CHALLENGE, reference, LEDGER_OK, &mined);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 4);
    mined.success = true;
    engine_call_done(world->engine, ENGINE_CALL_CHALLENGE, reference, LEDGER_OK, &mined);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 4);
    const struct balance_proof *proof = &channel_peer(hub_side(world, 0)->channel)->proof;
    struct contract_event challenged = {
        .type = EVENT_CHALLENGED,
        .channel = close.channel,
        .proof = {proof->nonce, proof->transferred, proof->locked, proof->locks_root}};
    engine_event(world->engine, &challenged);
    engine_call_done(world->engine, ENGINE_CALL_CHALLENGE, reference, LEDGER_REVERTED, NULL);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 4); /* another has answered with the same */
}

static void test_a_tower_that_challenged_with_less_is_overridden(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, false);
    world_settle_down(world);
    struct contract_event close = close_event(world, 0);
    const struct balance_proof *proof = &channel_peer(hub_side(world, 0)->channel)->proof;
    close.of_client_claim =
        (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
    engine_event(world->engine, &close);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 0);
    struct contract_event challenged = {.type = EVENT_CHALLENGED,
                                        .channel = close.channel,
                                        .proof = {.nonce = proof->nonce + 1, .transferred = {1}}};
    engine_event(world->engine, &challenged);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_CHALLENGE), 1);
}

/* The payer hides a lock behind a made-up nonce. Nobody knows its witness: that is no reason to let it go if it could
 * be registered when the time to challenge is over (the lock lives 3,600 s). */
static size_t challenges_with_a_lock_hidden(struct world *world, uint64_t deadline_in, bool keeps_lock)
{
    const struct balance_proof *proof = &channel_peer(hub_side(world, 0)->channel)->proof;
    struct contract_event close = close_event(world, 0);
    close.deadline = world->now + deadline_in;
    close.of_client_claim = (struct claim){proof->nonce + 1000, proof->transferred, amount_of(0), HASH_ZERO};
    if (keeps_lock) {
        close.of_client_claim.locked = proof->locked;
        close.of_client_claim.locks_root = proof->locks_root;
    }
    engine_event(world->engine, &close);
    world_settle_down(world);
    return calls_of(world, ENGINE_CALL_CHALLENGE);
}

static void test_a_long_lock_hidden_behind_a_nonce_is_brought_back(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    assert_int_equal(challenges_with_a_lock_hidden(world, 800, false), 1);
}

static void test_a_short_lock_hidden_behind_a_nonce_is_not(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    assert_int_equal(challenges_with_a_lock_hidden(world, 4200, false), 0);
}

/* Its last block is so shortly before the deadline that a registration there would be answered too late. */
static void test_a_lock_that_ends_just_before_the_deadline_is_brought_back(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    assert_int_equal(challenges_with_a_lock_hidden(world, 3650, false), 1);
}

static void test_a_lock_that_stands_is_no_reason_to_challenge(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    assert_int_equal(challenges_with_a_lock_hidden(world, 800, true), 0);
}

static void test_old_locks_of_the_hubs_stream_are_voided(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    struct balance_proof old = channel_own(hub_side(world, 1)->channel)->proof;
    world_head(world, 3601); /* the lock expires, the client revokes it */
    world_settle_down(world);
    assert_true(stream_dropped(channel_own(hub_side(world, 1)->channel))->revoked_nonce > old.nonce);
    struct contract_event close = close_event(world, 1);
    close.of_hub_claim = (struct claim){old.nonce, old.transferred, old.locked, old.locks_root};
    engine_event(world->engine, &close);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_VOID_LOCKS), 1);
    struct contract_call call;
    assert_true(contract_decode_call(world->call.data, world->call.length, &call));
    assert_int_equal(call.function, CONTRACT_VOID_LOCKS);
    assert_false(call.flag);
    assert_int_equal(call.min_nonce, stream_dropped(channel_own(hub_side(world, 1)->channel))->revoked_nonce);
    contract_call_free(&call);
}

static void test_a_close_is_finished_after_its_window(void **state)
{
    struct world *world = *state;
    struct contract_event close = close_event(world, 2);
    close.confirmed = true;
    engine_event(world->engine, &close);
    world_head(world, 800 + 300); /* the deadline, and three eighths of the period */
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_FINISH), 0);
    world_crash(world);
    world_head(world, 59);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_FINISH), 1);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_FINISH), 1);
    struct hash id = close.channel;
    struct contract_event finished = {.type = EVENT_FINISHED, .confirmed = true, .channel = id};
    engine_event(world->engine, &finished);
    engine_event(world->engine, &finished); /* a node that says it twice is not believed */
    world_head(world, 1000);
    world_settle_down(world);
    assert_int_equal(calls_of(world, ENGINE_CALL_FINISH), 1);
    assert_int_equal(engine_channel(world->engine, &id)->channel->funds.stage, STAGE_CLOSED);
    world_crash(world);
    assert_null(world->engine->disputes);
}

/* ---- the tower ---- */

static void tower_error(struct world *world, bool names_channel)
{
    struct message error = {.type = MESSAGE_ERROR};
    error.error.code = CODE_LIMIT;
    error.error.reference = (struct error_reference){.present = names_channel,
                                                     .type = MESSAGE_APPOINT,
                                                     .has_channel = names_channel,
                                                     .channel = world->clients[0].channel->id};
    engine_message(world->engine, ENGINE_PEER_TOWER, &error);
    world_settle_down(world);
}

static void test_a_revocation_waits_for_the_receipt(void **state)
{
    struct world *world = *state;
    answer_all(world);
    drop_a_lock(world);
    assert_false(is_revoked(world));
    struct world_appointment lie = *newest(world);
    lie.digest.bytes[0] ^= 1;
    world_receipt(world, &lie);
    world_settle_down(world);
    assert_false(is_revoked(world));
    while (!is_revoked(world)) { /* one appointment of a channel at a time */
        struct world_appointment appointment = *newest(world);
        world_receipt(world, &appointment);
        world_settle_down(world);
    }
    assert_int_equal(newest(world)->nonce, channel_own(world->clients[0].channel)->proof.nonce);
    assert_true(newest(world)->has_choice);
}

/* What a drop made urgent is open; what comes in the same turn waits for its answer, however slow the tower is. */
static void test_an_open_appointment_is_not_sent_again(void **state)
{
    struct world *world = *state;
    struct hub_channel *channel = hub_side(world, 0);
    answer_all(world);
    pass(world, 1);
    answer_all(world);
    assert_int_equal(world->engine->towers[0].appointments_open, 0);
    appoint_mark(world->engine, channel);
    appoint_urgent(world->engine, channel);
    appoint_mark(world->engine, channel);
    pass(world, 1);
    assert_int_equal(world->engine->towers[0].appointments_open, 1);
    engine_tower(world->engine, 0, false);
    engine_tower(world->engine, 0, true);
    pass(world, 1);
    assert_int_equal(world->engine->towers[0].appointments_open, 1);
    world_receipt(world, newest(world));
    pass(world, 1);
    answer_all(world);
    assert_int_equal(world->engine->towers[0].appointments_open, 0);
}

static void test_a_silent_tower_is_dismissed(void **state)
{
    struct world *world = *state;
    drop_a_lock(world);
    pass(world, 600);
    assert_false(is_revoked(world));
    pass(world, 3);
    assert_true(is_revoked(world));
}

/* The operator starts the hub again without the tower that it waited for. */
static void test_a_tower_that_is_gone_is_not_waited_for(void **state)
{
    struct world *world = *state;
    drop_a_lock(world);
    assert_false(is_revoked(world));
    world->change = NULL;
    world_crash(world);
    assert_false(is_revoked(world));
    world_connect(world, 0);
    world_settle_down(world);
    assert_true(is_revoked(world));
}

static size_t appointments_of(const struct world *world, size_t tower)
{
    size_t count = 0;
    for (size_t i = 0; i < world->appointment_count; i++)
        count += world->appointments[i].tower == tower;
    return count;
}

/* What one tower was given, it alone is asked for. */
static void answer_as(struct world *world, size_t tower)
{
    for (size_t i = 0; i < world->appointment_count; i++)
        if (world->appointments[i].tower == tower)
            world_receipt(world, &world->appointments[i]);
    world_settle_down(world);
}

static void test_a_revocation_waits_for_all_towers(void **state)
{
    struct world *world = *state;
    engine_tower(world->engine, 1, true);
    world_settle_down(world);
    answer_all(world);
    drop_a_lock(world);
    for (unsigned i = 0; i < 8; i++)
        answer_as(world, 0);
    assert_int_equal(hub_side(world, 0)->watch[0].receipt_nonce,
                     channel_own(world->clients[0].channel)->proof.nonce);
    assert_false(is_revoked(world));
    for (unsigned i = 0; i < 8 && !is_revoked(world); i++)
        answer_as(world, 1);
    assert_true(is_revoked(world));
    assert_true(appointments_of(world, 0) > 0 && appointments_of(world, 1) > 0);
}

/* One that is dead delays revocations until it is dismissed, and takes nothing from the others. */
static void test_one_of_two_towers_is_dismissed_alone(void **state)
{
    struct world *world = *state;
    answer_all(world); /* the second is not there at all */
    drop_a_lock(world);
    for (unsigned i = 0; i < 8; i++)
        answer_as(world, 0);
    assert_int_equal(appointments_of(world, 1), 0);
    assert_false(is_revoked(world));
    pass(world, 603);
    assert_true(is_revoked(world));
    assert_true(world->engine->towers[1].dismissed);
    assert_false(world->engine->towers[0].dismissed);
    engine_tower(world->engine, 1, true);
    world_settle_down(world);
    assert_true(appointments_of(world, 1) > 0);
    answer_as(world, 1);
    assert_false(world->engine->towers[1].dismissed);
}

static void test_a_tower_with_nothing_to_do_is_not_dismissed(void **state)
{
    struct world *world = *state;
    answer_all(world);
    engine_tower(world->engine, 0, false);
    pass(world, 10);
    engine_tower(world->engine, 0, true);
    answer_all(world);
    pass(world, 2000);
    assert_false(world->engine->towers[0].dismissed);
    drop_a_lock(world);
    assert_false(is_revoked(world));
}

static void test_a_refused_channel_is_tried_again_then_goes_on_without(void **state)
{
    struct world *world = *state;
    answer_all(world);
    drop_a_lock(world);
    tower_error(world, true);
    tower_error(world, true); /* what had come meanwhile, too */
    size_t count = world->appointment_count;
    pass(world, 31);
    assert_int_equal(world->appointment_count, count + 1);
    assert_false(is_revoked(world));
    for (unsigned i = 0; i < 60 && !is_revoked(world); i++) { /* others get their answers meanwhile */
        tower_error(world, true);
        pass(world, 31);
    }
    assert_true(is_revoked(world));
    assert_false(world->engine->towers[0].dismissed);
    assert_true(hub_side(world, 0)->watch->tower_dismissed);
    assert_false(hub_side(world, 1)->watch->tower_dismissed);
}

static void test_an_error_about_nothing_does_not_stall_a_channel(void **state)
{
    struct world *world = *state;
    answer_all(world);
    drop_a_lock(world);
    for (unsigned i = 0; i < 60 && !is_revoked(world); i++) {
        tower_error(world, false);
        pass(world, 30);
    }
    assert_true(is_revoked(world));
}

static void test_a_set_tower_is_dismissed_on_the_ledger_first(void **state)
{
    struct world *world = *state;
    drop_a_lock(world);
    assert_false(newest(world)->has_choice);
    pass(world, 700);
    assert_false(is_revoked(world)); /* it may still challenge with what it holds */
    assert_int_equal(calls_of(world, ENGINE_CALL_SET_TOWER), 1);
    engine_call_done(world->engine, ENGINE_CALL_SET_TOWER, 0, LEDGER_UNREACHABLE, NULL);
    pass(world, 2);
    assert_int_equal(calls_of(world, ENGINE_CALL_SET_TOWER), 2);
    struct secret_key tower = world_key(WORLD_TOWER);
    struct contract_event unset = {
        .type = EVENT_TOWER_SET, .confirmed = true, .address = secret_key_address(&tower), .allowed = false};
    engine_event(world->engine, &unset);
    world_head(world, 1);
    world_settle_down(world);
    assert_true(is_revoked(world));
    engine_tower(world->engine, 0, true); /* it comes back: from now on it needs Choices */
    world_settle_down(world);
    assert_true(newest(world)->has_choice);
}

int main(void)
{
#define TEST(name, open) cmocka_unit_test_setup_teardown(name, open, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_a_restart_does_not_dismiss_the_tower, open_with_tower),
        TEST(test_an_answer_lost_in_a_crash_is_given_again, open_world),
        TEST(test_a_challenge_that_failed_is_tried_again, open_world),
        TEST(test_a_tower_that_challenged_with_less_is_overridden, open_world),
        TEST(test_a_long_lock_hidden_behind_a_nonce_is_brought_back, open_world),
        TEST(test_a_short_lock_hidden_behind_a_nonce_is_not, open_world),
        TEST(test_a_lock_that_ends_just_before_the_deadline_is_brought_back, open_world),
        TEST(test_a_lock_that_stands_is_no_reason_to_challenge, open_world),
        TEST(test_old_locks_of_the_hubs_stream_are_voided, open_world),
        TEST(test_a_close_is_finished_after_its_window, open_world),
        TEST(test_a_revocation_waits_for_the_receipt, open_with_tower),
        TEST(test_an_open_appointment_is_not_sent_again, open_with_tower),
        TEST(test_a_silent_tower_is_dismissed, open_with_tower),
        TEST(test_a_tower_that_is_gone_is_not_waited_for, open_with_tower),
        TEST(test_a_revocation_waits_for_all_towers, open_with_two_towers),
        TEST(test_one_of_two_towers_is_dismissed_alone, open_with_two_towers),
        TEST(test_a_tower_with_nothing_to_do_is_not_dismissed, open_with_tower),
        TEST(test_a_refused_channel_is_tried_again_then_goes_on_without, open_with_tower),
        TEST(test_an_error_about_nothing_does_not_stall_a_channel, open_with_tower),
        TEST(test_a_set_tower_is_dismissed_on_the_ledger_first, open_with_set_tower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
