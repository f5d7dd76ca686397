/* Closes of watched channels, from the first block that shows them to the appointment's end. */
#include "tests/watchtower/world.h"

static const struct balance_proof NO_PROOF;

/* The hub's tower holds the client's proof 7: 90 sent. */
static struct balance_proof hub_appoints(struct world *world)
{
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    world_appoint(world, SIDE_HUB, &proof, NULL, 0, NULL);
    return proof;
}

static void client_cheats(struct world *world)
{
    struct balance_proof old = proof_of(3, 50, NULL, 0);
    world_close(world, false, &old, &NO_PROOF);
}

static void expect_silence(const struct world *world)
{
    assert_int_equal(world->submit_count, 0);
}

/* Until the block at which the channel can be finished; the finish goes through, nothing held unless told. */
static void finish(struct world *world)
{
    world_block_at(world, world->closing.deadline + 3 * PERIOD / 8);
    struct submitted sent = world_take(world, CONTRACT_FINISH);
    world->state = (struct channel_state){.status = CHANNEL_CLOSED};
    world_confirm(world, &sent);
}

/* Blocks go by until the tower has forgotten the channel. */
static void expect_end(struct world *world)
{
    for (unsigned i = 0; i < 5; i++) {
        world_block(world, 10);
        expect_silence(world);
    }
    struct tower_figures figures = tower_figures(world->tower);
    assert_int_equal(figures.appointments, 0);
    assert_int_equal(figures.watches, 0);
    assert_int_equal(figures.bytes, 0);
}

/* ---- challenging ---- */

static void test_cheat_is_challenged_finished_and_forgotten(void **state)
{
    struct world *world = *state;
    struct balance_proof held = hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    assert_memory_equal(&sent.call.proof, &held, sizeof held);
    assert_true(address_equal(&sent.call.to, &world->self));
    struct hash digest = digest_balance_proof(&world->domain, &world->channel, &held);
    struct hash choice = digest_choice(&world->domain, &digest, &world->self);
    struct address hub = secret_key_address(&world->hub);
    assert_true(signature_is_by(&sent.call.choice, &choice, &hub));
    world_challenged(world, &held, false);
    world_confirm(world, &sent);
    world_block(world, 10);
    expect_silence(world);
    finish(world);
    expect_end(world);
    assert_int_equal(world->alarms, 0);
}

static void test_one_challenge_at_a_time(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    client_cheats(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
    for (unsigned i = 0; i < 5; i++)
        world_block(world, 10);
    world_event(world, EVENT_CLOSE_STARTED, true);
    expect_silence(world);
}

static void test_an_honest_close_costs_only_the_finish(void **state)
{
    struct world *world = *state;
    struct balance_proof held = hub_appoints(world);
    world_close(world, false, &held, &NO_PROOF);
    for (unsigned i = 0; i < 5; i++)
        world_block(world, 10);
    expect_silence(world);
    finish(world);
    expect_end(world);
}

static void test_an_own_close_is_finished(void **state)
{
    struct world *world = *state;
    struct balance_proof held = hub_appoints(world), own = proof_of(2, 10, NULL, 0);
    world_close(world, true, &own, &held);
    world_block(world, 10);
    expect_silence(world);
    finish(world);
    expect_end(world);
}

static void test_the_clients_tower_answers_the_hub(void **state)
{
    struct world *world = *state;
    struct balance_proof held = proof_of(7, 90, NULL, 0), old = proof_of(6, 60, NULL, 0);
    world_appoint(world, SIDE_CLIENT, &held, NULL, 0, NULL);
    world_close(world, true, &old, &NO_PROOF);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_hub_without_choice_challenges_as_its_tower(void **state)
{
    struct world *world = *state;
    struct balance_proof held = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    struct signature none = {{0}};
    world->is_tower = true;
    appoint_make(world, &appoint, SIDE_HUB, &held, NULL, 0);
    appoint.message.appoint.has_choice = false;
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    assert_true(signature_equal(&sent.call.choice, &none));
}

static void test_hidden_locks_with_a_known_witness(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + PERIOD / 2), lock_of(2, 12, START + PERIOD / 2)};
    struct balance_proof held = proof_of(7, 90, locks, 2), claim = proof_of(9, 90, NULL, 0);
    struct witness witness = secret_of(2);
    world_appoint(world, SIDE_HUB, &held, locks, 2, NULL);
    world_close(world, false, &claim, &NO_PROOF);
    expect_silence(world); /* no witness is known, nothing is registered */
    world_appoint(world, SIDE_HUB, &held, locks, 2, &witness);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_hidden_locks_with_a_registered_witness(void **state)
{
    struct world *world = *state;
    struct lock lock = lock_of(1, 30, START + PERIOD / 2);
    struct balance_proof held = proof_of(7, 90, &lock, 1), claim = proof_of(9, 90, NULL, 0);
    world_appoint(world, SIDE_HUB, &held, &lock, 1, NULL);
    world_close(world, false, &claim, &NO_PROOF);
    expect_silence(world);
    world_register(world, &lock.condition, START + 100);
    struct contract_event met = {
        .type = EVENT_CONDITION_MET, .kind = LOCK_SECRET, .condition = lock.condition};
    tower_event(world->tower, &met);
    world_settle(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

/* Its witness could be registered when nobody can challenge any more. */
static void test_hidden_locks_that_outlive_the_deadline(void **state)
{
    struct world *world = *state;
    struct lock lock = lock_of(1, 30, START + 90000);
    struct balance_proof held = proof_of(7, 90, &lock, 1), claim = proof_of(9, 90, NULL, 0);
    world_appoint(world, SIDE_HUB, &held, &lock, 1, NULL);
    world_close(world, false, &claim, &NO_PROOF);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_another_towers_lower_challenge_is_answered(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    struct balance_proof theirs = proof_of(5, 70, NULL, 0);
    world_challenged(world, &theirs, false);
    world_outcome(world, &sent, LEDGER_REVERTED, false, CONTRACT_NOT_NEWER);
    world_event(world, EVENT_CHALLENGED, false);
    expect_silence(world); /* a pause after the refusal */
    world_block(world, 10);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_appointed_when_it_is_closing_already(void **state)
{
    struct world *world = *state;
    struct balance_proof old = proof_of(3, 50, NULL, 0);
    world_close(world, false, &old, &NO_PROOF);
    assert_int_equal(world->questions, 1); /* isTower at the start: nothing of this channel is served */
    hub_appoints(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_too_late_is_said(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    world->down = true;
    client_cheats(world);
    world_block_at(world, world->closing.deadline);
    world->down = false;
    world_block(world, 1);
    world_block(world, 1);
    expect_silence(world);
    assert_int_equal(tower_figures(world->tower).missed, 1);
    assert_int_equal(world->alarms, 1);
}

static void test_alarm_when_the_deadline_is_close(void **state)
{
    struct world *world = *state;
    struct balance_proof held = hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world_block_at(world, world->closing.deadline - PERIOD / 4);
    assert_int_equal(tower_figures(world->tower).alarms, 0);
    world_block(world, 1);
    world_block(world, 1);
    assert_int_equal(tower_figures(world->tower).alarms, 1);
    assert_int_equal(tower_figures(world->tower).alarms_raised, 1);
    world_challenged(world, &held, false);
    world_confirm(world, &sent);
    world_block(world, 1);
    assert_int_equal(tower_figures(world->tower).alarms, 0);
}

/* ---- refusals, failures ---- */

static void test_a_refused_challenge_is_tried_again_after_a_pause(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world_outcome(world, &sent, LEDGER_UNREACHABLE, false, CONTRACT_UNNAMED);
    expect_silence(world);
    tower_tick(world->tower, world->now_ms += 999);
    world_settle(world);
    expect_silence(world);
    tower_tick(world->tower, world->now_ms += 1);
    world_settle(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_no_money_for_gas_is_an_alarm(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world_outcome(world, &sent, LEDGER_NO_FUNDS, false, CONTRACT_UNNAMED);
    assert_true(tower_figures(world->tower).out_of_gas_money);
    assert_int_equal(world->alarms, 1);
    world_block(world, 10);
    sent = world_take(world, CONTRACT_CHALLENGE);
    world_confirm(world, &sent);
    assert_false(tower_figures(world->tower).out_of_gas_money);
}

static void test_a_look_that_fails_is_repeated(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    world->down = true;
    client_cheats(world);
    expect_silence(world);
    world->down = false;
    tower_tick(world->tower, world->now_ms += 1000);
    world_settle(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_a_close_that_vanishes_is_forgotten(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world->state.status = CHANNEL_OPEN; /* the block was reorganised away */
    world->closing = (struct closing){0};
    world_outcome(world, &sent, LEDGER_REVERTED, false, CONTRACT_BAD_STATUS);
    for (unsigned i = 0; i < 5; i++)
        world_block(world, 10);
    expect_silence(world);
    assert_int_equal(tower_figures(world->tower).watches, 0);
    assert_int_equal(tower_figures(world->tower).appointments, 1);
    client_cheats(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_a_challenge_that_a_reorganisation_takes_back_is_repeated(void **state)
{
    struct world *world = *state;
    struct balance_proof held = hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    struct closing before = world->closing;
    world_challenged(world, &held, false); /* another tower was faster */
    world_outcome(world, &sent, LEDGER_REVERTED, false, CONTRACT_NOT_NEWER);
    world_block(world, 10);
    expect_silence(world);
    world->closing = before;
    world_block(world, 10);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

/* ---- old locks ---- */

static void test_old_locks_of_the_user_are_voided(void **state)
{
    struct world *world = *state;
    struct lock dropped = lock_of(4, 25, START + 90000);
    struct balance_proof held = proof_of(7, 90, NULL, 0), shown = proof_of(2, 5, &dropped, 1);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &held, NULL, 0);
    appoint_revocation(world, &appoint, SIDE_HUB, 4);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    /* The client shows an old proof of the hub's, whose lock was cancelled and revoked since. */
    world_close(world, false, &held, &shown);
    struct submitted sent = world_take(world, CONTRACT_VOID_LOCKS);
    assert_false(sent.call.flag);
    assert_int_equal(sent.call.min_nonce, 4);
    expect_silence(world);
    world->closing.min_nonce_of_hub = 4;
    world_confirm(world, &sent);
    world_block(world, 10);
    expect_silence(world);
    finish(world);
    expect_end(world);
}

static void test_locks_that_were_not_dropped_stay(void **state)
{
    struct world *world = *state;
    struct lock pending = lock_of(4, 25, START + 90000);
    struct balance_proof held = proof_of(7, 90, NULL, 0), shown = proof_of(4, 5, &pending, 1);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &held, NULL, 0);
    appoint_revocation(world, &appoint, SIDE_HUB, 4);
    appoint_send_as(world, &appoint, &world->hub);
    world_close(world, false, &held, &shown);
    expect_silence(world);
}

/* ---- witnesses ---- */

static void test_a_known_witness_is_registered_near_expiry(void **state)
{
    struct world *world = *state;
    uint64_t expiry = START + 20000;
    struct lock lock = lock_of(1, 30, expiry);
    struct balance_proof held = proof_of(7, 90, &lock, 1);
    struct witness witness = secret_of(1);
    world_appoint(world, SIDE_HUB, &held, &lock, 1, &witness);
    world_block_at(world, expiry - MARGIN - 100);
    expect_silence(world);
    world_block_at(world, expiry - MARGIN);
    struct submitted sent = world_take(world, CONTRACT_REGISTER_SECRET);
    assert_memory_equal(sent.call.hash.bytes, witness.bytes, 32);
    world_register(world, &lock.condition, world->head.time);
    world_confirm(world, &sent);
    for (unsigned i = 0; i < 8; i++)
        world_block(world, 10);
    expect_silence(world);
    assert_int_equal(tower_figures(world->tower).watches, 0);
    assert_int_equal(tower_figures(world->tower).appointments, 1);
}

static void test_while_closing_a_witness_is_registered_earlier(void **state)
{
    struct world *world = *state;
    uint64_t expiry = START + 5000;
    struct lock lock = lock_of(1, 30, expiry);
    struct balance_proof held = proof_of(7, 90, &lock, 1);
    struct witness witness = secret_of(1);
    world_appoint(world, SIDE_HUB, &held, &lock, 1, &witness);
    world_close(world, false, &held, &NO_PROOF);
    world_block_at(world, expiry - PERIOD / 4 - 1);
    expect_silence(world);
    world_block(world, 1);
    (void)world_take(world, CONTRACT_REGISTER_SECRET);
}

static void test_a_registered_witness_costs_nothing(void **state)
{
    struct world *world = *state;
    uint64_t expiry = START + 20000;
    struct lock lock = lock_of(1, 30, expiry);
    struct balance_proof held = proof_of(7, 90, &lock, 1);
    struct witness witness = secret_of(1);
    world_appoint(world, SIDE_HUB, &held, &lock, 1, &witness);
    world_register(world, &lock.condition, START + 500);
    world_block_at(world, expiry - 10);
    for (unsigned i = 0; i < 5; i++)
        world_block(world, 1);
    expect_silence(world);
}

static void test_an_attestation_is_registered(void **state)
{
    struct world *world = *state;
    struct address attester = secret_key_address(&world->other);
    struct hash event = keccak256("event", 5);
    struct lock lock = {.id = 3, .amount = amount_of(8), .expiry = START + 900, .kind = LOCK_ATTESTATION};
    lock.condition = condition_of_attestation(&attester, &event);
    struct hash digest = digest_attestation(&world->domain, &event);
    struct signature signature = key_sign(&world->other, &digest);
    struct witness witness = {.length = WITNESS_ATTESTATION_BYTES};
    memcpy(witness.bytes, attester.bytes, 20);
    memcpy(witness.bytes + 20, event.bytes, 32);
    memcpy(witness.bytes + 52, signature.bytes, 64);
    struct balance_proof held = proof_of(7, 90, &lock, 1);
    world_appoint(world, SIDE_HUB, &held, &lock, 1, &witness);
    world_block_at(world, START + 400);
    struct submitted sent = world_take(world, CONTRACT_REGISTER_ATTESTATION);
    assert_true(address_equal(&sent.call.address, &attester));
    assert_true(hash_equal(&sent.call.hash, &event));
    assert_true(signature_equal(&sent.call.signature, &signature));
}

/* ---- after the close ---- */

/* The client closed honestly with two locks in the hub's favour; the tower knows the second one's secret. */
static void close_with_locks(struct world *world, struct lock locks[2], uint64_t expiry)
{
    locks[0] = lock_of(1, 30, expiry);
    locks[1] = lock_of(2, 12, expiry);
    struct balance_proof held = proof_of(7, 90, locks, 2);
    struct witness witness = secret_of(2);
    world_appoint(world, SIDE_HUB, &held, locks, 2, &witness);
    world_close(world, false, &held, &NO_PROOF);
    world->held[SIDE_CLIENT] = amount_of(42);
    finish(world);
}

static void expect_unlock(struct world *world, const struct lock *lock, bool of_client)
{
    struct submitted sent = world_take(world, CONTRACT_UNLOCK);
    struct hash leaf = lock_leaf(lock);
    const struct claim *stands = closing_stands(&world->closing, of_client ? SIDE_CLIENT : SIDE_HUB);
    assert_memory_equal(&sent.call.lock.condition, &lock->condition, 32);
    assert_true(merkle_verify(&leaf, sent.merkle, sent.call.merkle_count, &stands->locks_root));
    assert_int_equal(sent.call.flag, of_client);
    world->unlocked[world->unlocked_count++] = leaf;
    world_confirm(world, &sent);
}

static void test_known_witness_is_registered_and_unlocked_after_the_finish(void **state)
{
    struct world *world = *state;
    struct lock locks[2];
    close_with_locks(world, locks, START + 90000);
    struct submitted sent = world_take(world, CONTRACT_REGISTER_SECRET);
    expect_silence(world);
    world_register(world, &locks[1].condition, world->head.time);
    world_confirm(world, &sent);
    expect_unlock(world, &locks[1], true);
    expect_silence(world);
    /* The other one waits for somebody to register, until it expires. */
    world_block(world, 10);
    assert_int_equal(tower_figures(world->tower).appointments, 1);
    world_register(world, &locks[0].condition, world->head.time);
    struct contract_event met = {
        .type = EVENT_CONDITION_MET, .kind = LOCK_SECRET, .condition = locks[0].condition};
    tower_event(world->tower, &met);
    world_settle(world);
    expect_unlock(world, &locks[0], true);
    expect_end(world);
}

static void test_an_expired_lock_is_let_go(void **state)
{
    struct world *world = *state;
    struct lock locks[2];
    close_with_locks(world, locks, START + 90000);
    struct submitted sent = world_take(world, CONTRACT_REGISTER_SECRET);
    world_register(world, &locks[1].condition, world->head.time);
    world_confirm(world, &sent);
    expect_unlock(world, &locks[1], true);
    world_block_at(world, START + 90001);
    expect_end(world);
}

static void test_an_expired_lock_goes_back_to_a_sender_served_here(void **state)
{
    struct world *world = *state;
    world_appoint(world, SIDE_CLIENT, &NO_PROOF, NULL, 0, NULL);
    struct lock locks[2];
    close_with_locks(world, locks, START + 90000);
    struct submitted sent = world_take(world, CONTRACT_REGISTER_SECRET);
    world_register(world, &locks[1].condition, world->head.time);
    world_confirm(world, &sent);
    expect_unlock(world, &locks[1], true);
    world_block_at(world, START + 90000);
    expect_silence(world);
    world_block(world, 1);
    expect_unlock(world, &locks[0], true);
    expect_end(world);
}

static void test_a_late_registration_pays_nobody_here(void **state)
{
    struct world *world = *state;
    struct lock locks[2];
    close_with_locks(world, locks, START + 90000);
    (void)world_take(world, CONTRACT_REGISTER_SECRET);
    world_register(world, &locks[0].condition, START + 90001);
    world_register(world, &locks[1].condition, START + 90001);
    world_block_at(world, START + 90010);
    expect_silence(world);
}

static void test_locks_of_a_proof_that_does_not_stand_cannot_be_shown(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + 90000), lock_of(2, 12, START + 90000)};
    struct balance_proof held = proof_of(7, 90, locks, 2), newer = proof_of(9, 200, locks, 1);
    world_appoint(world, SIDE_HUB, &held, locks, 2, NULL);
    world_close(world, false, &newer, &NO_PROOF);
    world->held[SIDE_CLIENT] = amount_of(30);
    world_register(world, &locks[0].condition, START + 100);
    finish(world);
    expect_end(world);
}

static void test_a_cooperative_close_ends_the_appointment(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    world->state = (struct channel_state){.status = CHANNEL_CLOSED, .seq = 1};
    world_event(world, EVENT_SETTLED, false);
    assert_int_equal(tower_figures(world->tower).appointments, 1);
    expect_end(world);
}

/* ---- restarts ---- */

/* Dies at each durable point of a dispute, and each time brings it to its end. */
static void test_restart_at_every_durable_point(void **state)
{
    struct world *world = *state;
    struct balance_proof held = hub_appoints(world);
    size_t appointed = world->batch_count;
    client_cheats(world);
    (void)world_take(world, CONTRACT_CHALLENGE);
    for (unsigned i = 0; i < 4; i++)
        world_block(world, 10);
    world_event(world, EVENT_CLOSE_STARTED, true);
    size_t last = world->batch_count;
    for (size_t count = last; count >= appointed; count--) {
        world_restart(world, count);
        /* The ledger client replays what lies behind the cursor; with the watch's record it need not. */
        uint64_t cursor;
        assert_true(tower_cursor(world->tower, &cursor, NULL));
        world_block(world, 10);
        if (count == appointed)
            world_event(world, EVENT_CLOSE_STARTED, true);
        (void)world_take(world, CONTRACT_CHALLENGE);
    }
    world_challenged(world, &held, false);
    world_restart(world, world->batch_count);
    world_block(world, 10);
    expect_silence(world);
    finish(world);
    world_restart(world, world->batch_count);
    expect_end(world);
    world_restart(world, world->batch_count);
    assert_int_equal(tower_figures(world->tower).appointments, 0);
}

static void test_restart_between_finish_and_unlock(void **state)
{
    struct world *world = *state;
    struct lock locks[2];
    close_with_locks(world, locks, START + 90000);
    (void)world_take(world, CONTRACT_REGISTER_SECRET);
    world_register(world, &locks[1].condition, world->head.time);
    world_restart(world, world->batch_count);
    world_block(world, 10);
    expect_unlock(world, &locks[1], true);
    expect_silence(world);
}

static void test_cursor_follows_confirmed_heads(void **state)
{
    struct world *world = *state;
    uint64_t cursor;
    hub_appoints(world);
    world_block(world, 10);
    world_restart(world, world->batch_count);
    assert_true(tower_cursor(world->tower, &cursor, NULL));
    assert_int_equal(cursor, world->head.confirmed_number + 1);
}

static void test_looks_are_bounded(void **state)
{
    struct world *world = *state;
    for (uint64_t salt = 0; salt < 40; salt++) {
        world->key.salt = salt;
        world->channel = channel_id(&world->key);
        hub_appoints(world);
    }
    struct balance_proof old = proof_of(3, 50, NULL, 0);
    world->state.status = CHANNEL_CLOSING;
    world->closing = (struct closing){.deadline = world->head.time + PERIOD, .own = claim_of(&old)};
    world->closing.of_client = world->closing.own;
    for (uint64_t salt = 0; salt < 40; salt++) {
        world->key.salt = salt;
        struct contract_event event = {.type = EVENT_CLOSE_STARTED, .channel = channel_id(&world->key)};
        tower_event(world->tower, &event);
    }
    assert_int_equal(world->ask_count, 8 * 2);
    world_settle(world);
    assert_int_equal(world->submit_count, 40);
}

/* ---- what may be spent, and how pressing it is ---- */

static void test_a_response_carries_its_deadline_and_budget(void **state)
{
    struct world *world = *state;
    world->options.budget_response_wei = 1000;
    world_restart(world, world->batch_count);
    world_block(world, 10);
    struct balance_proof held = hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    assert_true(sent.terms.budget_wei == 1000);
    assert_int_equal(sent.terms.deadline, world->closing.deadline);
    assert_int_equal(sent.terms.whole_s, PERIOD);
    world_challenged(world, &held, false);
    world_confirm(world, &sent);
    world_block_at(world, world->closing.deadline + 3 * PERIOD / 8);
    sent = world_take(world, CONTRACT_FINISH);
    assert_int_equal(sent.terms.deadline, 0);
}

/* The day's budget is used up by one response: the next waits for the next day, and somebody is woken. */
static void test_the_days_budget_survives_a_restart_and_ends_with_the_day(void **state)
{
    struct world *world = *state;
    world->options.budget_response_wei = 1000;
    world->options.budget_day_wei = 2000;
    world->cost_wei = 1500;
    world_restart(world, world->batch_count);
    world_block_at(world, (world->head.time / 86400 + 1) * 86400);
    hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world_outcome(world, &sent, LEDGER_REVERTED, false, CONTRACT_NOT_NEWER);
    assert_true(tower_figures(world->tower).spent_today_wei == 1500);
    world_restart(world, world->batch_count);
    world->now_ms += 60000;
    world_block(world, 10);
    expect_silence(world);
    assert_int_equal(world->raised[TOWER_ALARM_BUDGET], 1);
    assert_true(tower_figures(world->tower).spent_today_wei == 1500);
    world->now_ms += 60000;
    world_block(world, 10);
    assert_int_equal(world->raised[TOWER_ALARM_BUDGET], 1); /* said once */
    world->closing.deadline += 2 * 86400;
    world->now_ms += 60000;
    world_block(world, 86400);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_what_has_no_deadline_leaves_half_of_the_budget(void **state)
{
    struct world *world = *state;
    world->options.budget_response_wei = 1000;
    world->options.budget_day_wei = 2900; /* half of it is for 1.45 responses */
    world_restart(world, world->batch_count);
    world_block_at(world, (world->head.time / 86400 + 1) * 86400); /* a day in which all of it fits */
    struct balance_proof held = hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world->cost_wei = 500;
    world_challenged(world, &held, false);
    world_confirm(world, &sent);
    world_block_at(world, world->closing.deadline + 3 * PERIOD / 8);
    expect_silence(world); /* 500 are spent, 1,000 more would be beyond half */
    assert_int_equal(world->raised[TOWER_ALARM_BUDGET], 0);
    assert_int_equal(tower_figures(world->tower).over_budget, 1);
    world->now_ms += 60000;
    world_block(world, 86400);
    (void)world_take(world, CONTRACT_FINISH);
}

/* ---- alarms ---- */

static void test_alarms_say_what_and_of_which_channel(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    client_cheats(world);
    struct submitted sent = world_take(world, CONTRACT_CHALLENGE);
    world_block_at(world, world->closing.deadline - PERIOD / 4 - 1);
    assert_int_equal(world->raised[TOWER_ALARM_DEADLINE], 0);
    world_block(world, 2);
    assert_int_equal(world->raised[TOWER_ALARM_DEADLINE], 1);
    world_block(world, 2);
    assert_int_equal(world->raised[TOWER_ALARM_DEADLINE], 1);
    world_outcome(world, &sent, LEDGER_NO_FUNDS, false, CONTRACT_OK);
    assert_int_equal(world->raised[TOWER_ALARM_GAS_MONEY], 1);
    world_block_at(world, world->closing.deadline);
    assert_int_equal(world->raised[TOWER_ALARM_MISSED], 1);
    tower_blind(world->tower, 60, "it does not answer");
    assert_int_equal(world->raised[TOWER_ALARM_BLIND], 1);
}

/* ---- reorganisations below what was confirmed ---- */

static void test_a_deep_reorganisation_makes_it_look_at_everything(void **state)
{
    struct world *world = *state;
    hub_appoints(world);
    for (unsigned i = 0; i < 5; i++)
        world_block(world, 10);
    /* The new chain has the close in a block that lies below the cursor: no event tells of it. */
    struct balance_proof old = proof_of(3, 50, NULL, 0);
    world->state.status = CHANNEL_CLOSING;
    world->closing = (struct closing){.deadline = world->head.time + PERIOD, .own = claim_of(&old)};
    world->closing.of_client = claim_of(&old);
    world_block(world, 10);
    expect_silence(world);
    tower_reorganised(world->tower, world->head.confirmed_number);
    world_settle(world);
    assert_int_equal(world->raised[TOWER_ALARM_REORGANISED], 1);
    assert_int_equal(tower_figures(world->tower).reorganised, 1);
    (void)world_take(world, CONTRACT_CHALLENGE);
}

static void test_the_cursor_remembers_its_block(void **state)
{
    struct world *world = *state;
    uint64_t cursor;
    struct hash before;
    world->head_hash = keccak256("a block", 7);
    world_block(world, 10);
    world_restart(world, world->batch_count);
    assert_true(tower_cursor(world->tower, &cursor, &before));
    assert_int_equal(cursor, world->head.confirmed_number + 1);
    assert_true(hash_equal(&before, &world->head_hash));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_response_carries_its_deadline_and_budget),
        TEST(test_the_days_budget_survives_a_restart_and_ends_with_the_day),
        TEST(test_what_has_no_deadline_leaves_half_of_the_budget),
        TEST(test_alarms_say_what_and_of_which_channel),
        TEST(test_a_deep_reorganisation_makes_it_look_at_everything),
        TEST(test_the_cursor_remembers_its_block),
        TEST(test_cheat_is_challenged_finished_and_forgotten),
        TEST(test_one_challenge_at_a_time),
        TEST(test_an_honest_close_costs_only_the_finish),
        TEST(test_an_own_close_is_finished),
        TEST(test_the_clients_tower_answers_the_hub),
        TEST(test_hub_without_choice_challenges_as_its_tower),
        TEST(test_hidden_locks_with_a_known_witness),
        TEST(test_hidden_locks_with_a_registered_witness),
        TEST(test_hidden_locks_that_outlive_the_deadline),
        TEST(test_another_towers_lower_challenge_is_answered),
        TEST(test_appointed_when_it_is_closing_already),
        TEST(test_too_late_is_said),
        TEST(test_alarm_when_the_deadline_is_close),
        TEST(test_a_refused_challenge_is_tried_again_after_a_pause),
        TEST(test_no_money_for_gas_is_an_alarm),
        TEST(test_a_look_that_fails_is_repeated),
        TEST(test_a_close_that_vanishes_is_forgotten),
        TEST(test_a_challenge_that_a_reorganisation_takes_back_is_repeated),
        TEST(test_old_locks_of_the_user_are_voided),
        TEST(test_locks_that_were_not_dropped_stay),
        TEST(test_a_known_witness_is_registered_near_expiry),
        TEST(test_while_closing_a_witness_is_registered_earlier),
        TEST(test_a_registered_witness_costs_nothing),
        TEST(test_an_attestation_is_registered),
        TEST(test_known_witness_is_registered_and_unlocked_after_the_finish),
        TEST(test_an_expired_lock_is_let_go),
        TEST(test_an_expired_lock_goes_back_to_a_sender_served_here),
        TEST(test_a_late_registration_pays_nobody_here),
        TEST(test_locks_of_a_proof_that_does_not_stand_cannot_be_shown),
        TEST(test_a_cooperative_close_ends_the_appointment),
        TEST(test_restart_at_every_durable_point),
        TEST(test_restart_between_finish_and_unlock),
        TEST(test_cursor_follows_confirmed_heads),
        TEST(test_looks_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
