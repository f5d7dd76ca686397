/* Registered conditions, and unlocking after a close: every error in its order, every way a lock can go. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/ledger_embedded/contract_world.h"

#define EXPIRY (WORLD_START + 5000)

static void secret_of(uint8_t seed, struct hash *secret, struct hash *condition)
{
    memset(secret->bytes, seed, sizeof(secret->bytes));
    *condition = condition_of_secret(secret->bytes);
}

static void register_secret(struct world *world, const struct hash *secret)
{
    struct contract_call call = {.function = CONTRACT_REGISTER_SECRET, .hash = *secret};
    world_must(world, STRANGER, &call);
}

static void test_register_secret_once(void **state)
{
    struct world *world = *state;
    struct hash secret, condition;
    secret_of(1, &secret, &condition);
    register_secret(world, &secret);
    EVENTS(world, EVENT_CONDITION_MET);
    struct contract_event event = world_event(world, 0);
    assert_int_equal(event.kind, LOCK_SECRET);
    assert_true(hash_equal(&event.condition, &condition) && hash_equal(&event.witness, &secret));
    world->time += 10;
    register_secret(world, &secret);
    assert_int_equal(world->logs.count, 0);
    assert_int_equal(registered_load(world->state, LOCK_SECRET, &condition), WORLD_START);
    /* Of this kind only. */
    assert_int_equal(registered_load(world->state, LOCK_ATTESTATION, &condition), 0);
}

static struct contract_call attestation_call(const struct world *world, enum person attester,
                                             const struct hash *event_id)
{
    struct hash digest = digest_attestation(&world->config.domain, event_id);
    return (struct contract_call){.function = CONTRACT_REGISTER_ATTESTATION,
                                  .address = world->people[attester],
                                  .hash = *event_id,
                                  .signature = key_sign(&world->keys[attester], &digest)};
}

static void test_register_attestation(void **state)
{
    struct world *world = *state;
    struct hash event_id = {{6}};
    struct contract_call call = attestation_call(world, BOB, &event_id), wrong = call;
    wrong.address = world->people[ALICE];
    assert_int_equal(world_call(world, STRANGER, &wrong), CONTRACT_BAD_SIGNATURE);
    wrong.address = ADDRESS_ZERO; /* the zero address is never a signer */
    memset(wrong.signature.bytes, 0, sizeof(wrong.signature.bytes));
    assert_int_equal(world_call(world, STRANGER, &wrong), CONTRACT_BAD_SIGNATURE);
    world_must(world, STRANGER, &call);
    EVENTS(world, EVENT_CONDITION_MET);
    struct contract_event event = world_event(world, 0);
    struct hash condition = condition_of_attestation(&world->people[BOB], &event_id);
    assert_int_equal(event.kind, LOCK_ATTESTATION);
    assert_true(hash_equal(&event.condition, &condition) && hash_equal(&event.witness, &event_id));
    world->time++;
    world_must(world, STRANGER, &call);
    assert_int_equal(world->logs.count, 0);
    assert_int_equal(registered_load(world->state, LOCK_ATTESTATION, &condition), WORLD_START);
    call.signature.bytes[7] ^= 1; /* again: the signature is looked at again */
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_SIGNATURE);
}

/* Two locks in the client's stream (40 on a secret, 30 on an attestation), one of 25 in the hub's. */
struct scene {
    struct channel_key key;
    struct lock client_locks[2], hub_lock;
    struct hash leaves[2];
    struct hash secret, event_id;
};

static struct scene scene_closed(struct world *world, uint64_t base, uint64_t total)
{
    struct scene scene = {.key = world_open(world, base, total), .event_id = {{6}}};
    struct hash condition;
    secret_of(1, &scene.secret, &condition);
    scene.client_locks[0] = (struct lock){1, {40}, EXPIRY, LOCK_SECRET, condition};
    scene.client_locks[1] = (struct lock){
        2, {30}, EXPIRY, LOCK_ATTESTATION, condition_of_attestation(&world->people[BOB], &scene.event_id)};
    scene.hub_lock = (struct lock){1, {25}, EXPIRY, LOCK_SECRET, condition};
    for (size_t i = 0; i < 2; i++)
        scene.leaves[i] = lock_leaf(&scene.client_locks[i]);
    struct hash client_root = merkle_node(&scene.leaves[0], &scene.leaves[1]);
    struct hash hub_root = lock_leaf(&scene.hub_lock);
    struct balance_proof hubs = proof_of(3, 0, 25, &hub_root);
    struct claim own = {5, {0}, {70}, client_root};
    struct contract_call start = start_close_call(world, ALICE, &scene.key, &hubs, &own);
    world_must(world, ALICE, &start);
    return scene;
}

static void scene_finish(struct world *world, const struct scene *scene)
{
    struct contract_call finish = finish_call(&scene->key);
    world->time = WORLD_START + 2 * WORLD_PERIOD;
    world_must(world, STRANGER, &finish);
}

static struct contract_call unlock_client(const struct scene *scene, size_t index)
{
    return (struct contract_call){.function = CONTRACT_UNLOCK,
                                  .key = scene->key,
                                  .flag = true,
                                  .lock = scene->client_locks[index],
                                  .merkle = &scene->leaves[1 - index],
                                  .merkle_count = 1};
}

static struct contract_call unlock_hub(const struct scene *scene)
{
    return (struct contract_call){.function = CONTRACT_UNLOCK, .key = scene->key, .lock = scene->hub_lock};
}

static void test_unlock_errors_in_order(void **state)
{
    struct world *world = *state;
    struct scene scene = scene_closed(world, 100, 200);
    struct contract_call call = unlock_client(&scene, 0), wrong = call;
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_CLOSING);
    scene_finish(world, &scene);
    wrong.lock.amount.units++;
    assert_int_equal(world_call(world, STRANGER, &wrong), CONTRACT_BAD_LOCK_PROOF);
    wrong = call;
    wrong.flag = false; /* the other stream */
    assert_int_equal(world_call(world, STRANGER, &wrong), CONTRACT_BAD_LOCK_PROOF);
    wrong = call;
    wrong.merkle_count = 0;
    assert_int_equal(world_call(world, STRANGER, &wrong), CONTRACT_BAD_LOCK_PROOF);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_UNLOCKABLE);
    world->time = EXPIRY;
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_UNLOCKABLE);
    world->time++;
    world_must(world, STRANGER, &call);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_ALREADY_UNLOCKED);
}

/* A lock whose kind nobody knows is in the root, but can never be proven. */
static void test_unknown_kind(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 100, 200);
    struct lock lock = {1, {10}, EXPIRY, 2, {{9}}};
    struct claim own = {1, {0}, {10}, lock_leaf(&lock)};
    struct contract_call start = start_close_call(world, ALICE, &key, NULL, &own), finish = finish_call(&key);
    world_must(world, ALICE, &start);
    world->time = EXPIRY + 1;
    world_must(world, ALICE, &finish);
    struct contract_call call = {.function = CONTRACT_UNLOCK, .key = key, .flag = true, .lock = lock};
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_LOCK_PROOF);
}

static void test_met_in_time_goes_to_the_receiver(void **state)
{
    struct world *world = *state;
    struct scene scene = scene_closed(world, 100, 200);
    scene_finish(world, &scene);
    world->time = EXPIRY; /* the last moment */
    register_secret(world, &scene.secret);
    struct contract_call call = unlock_client(&scene, 0);
    uint64_t pool = world_pool(world, &COIN), alice = world_units(world, &scene.key.client, &COIN);
    world->time = EXPIRY + 100000; /* unlocking has no time of its own */
    world_must(world, STRANGER, &call);
    EVENTS(world, EVENT_UNLOCKED);
    struct contract_event event = world_event(world, 0);
    assert_true(event.of_client && event.to_receiver && event.lock_id == 1);
    assert_int_equal(event.amount.units, 40);
    assert_int_equal(world_pool(world, &COIN), pool + 40);
    call = unlock_hub(&scene); /* the same condition: one registration serves both */
    world_must(world, STRANGER, &call);
    assert_true(!world_event(world, 0).of_client && world_event(world, 0).to_receiver);
    assert_int_equal(world_units(world, &scene.key.client, &COIN), alice + 25);
    struct hash id = channel_id(&scene.key);
    assert_int_equal(held_load(world->state, &id).of_client.units, 30);
    assert_int_equal(held_load(world->state, &id).of_hub.units, 0);
}

static void test_met_too_late_goes_back_to_the_sender(void **state)
{
    struct world *world = *state;
    struct scene scene = scene_closed(world, 100, 200);
    scene_finish(world, &scene);
    world->time = EXPIRY + 1;
    register_secret(world, &scene.secret);
    uint64_t pool = world_pool(world, &COIN), alice = world_units(world, &scene.key.client, &COIN);
    struct contract_call call = unlock_client(&scene, 0);
    world_must(world, STRANGER, &call);
    assert_false(world_event(world, 0).to_receiver);
    assert_int_equal(world_units(world, &scene.key.client, &COIN), alice + 40);
    call = unlock_hub(&scene);
    world_must(world, STRANGER, &call);
    assert_int_equal(world_pool(world, &COIN), pool + 25);
}

static void test_attested_lock(void **state)
{
    struct world *world = *state;
    struct scene scene = scene_closed(world, 100, 200);
    struct contract_call attest = attestation_call(world, BOB, &scene.event_id);
    world_must(world, STRANGER, &attest);
    scene_finish(world, &scene);
    struct contract_call call = unlock_client(&scene, 1);
    world_must(world, STRANGER, &call);
    assert_true(world_event(world, 0).to_receiver);
    assert_int_equal(world_event(world, 0).amount.units, 30);
}

/* More locks than money: first come, first served, and no more than is held. */
static void test_locks_share_what_is_held(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 60, 60);
    struct hash secret, condition;
    secret_of(1, &secret, &condition);
    struct lock locks[2] = {{1, {40}, EXPIRY, 0, condition}, {2, {40}, EXPIRY, 0, condition}};
    struct hash leaves[2] = {lock_leaf(&locks[0]), lock_leaf(&locks[1])};
    struct claim own = {1, {0}, {60}, merkle_node(&leaves[0], &leaves[1])};
    struct contract_call start = start_close_call(world, ALICE, &key, NULL, &own), finish = finish_call(&key);
    world_must(world, ALICE, &start);
    register_secret(world, &secret);
    world->time += 2 * WORLD_PERIOD;
    world_must(world, ALICE, &finish);
    for (size_t i = 0; i < 2; i++) {
        struct contract_call call = {.function = CONTRACT_UNLOCK,
                                     .key = key,
                                     .flag = true,
                                     .lock = locks[i],
                                     .merkle = &leaves[1 - i],
                                     .merkle_count = 1};
        world_must(world, STRANGER, &call);
        assert_int_equal(world_event(world, 0).amount.units, i == 0 ? 40 : 20);
    }
}

/* Void locks have no root to be proven against. */
static void test_void_locks_cannot_be_unlocked(void **state)
{
    struct world *world = *state;
    struct scene scene = scene_closed(world, 100, 200);
    struct contract_call revoke = void_call(world, &scene.key, false, 4, ALICE);
    world_must(world, STRANGER, &revoke);
    register_secret(world, &scene.secret);
    scene_finish(world, &scene);
    struct contract_call call = unlock_hub(&scene);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_LOCK_PROOF);
    call = unlock_client(&scene, 0);
    world_must(world, STRANGER, &call);
    /* `closing` stays as finish found it. */
    struct hash id = channel_id(&scene.key);
    struct closing closing = closing_load(world->state, &id);
    assert_int_equal(closing.of_hub.locked.units, 25);
}

/* An unlock to a client that cannot be paid is owed; one to a hub whose pool is full as well. */
static void test_unlock_to_nobody_home(void **state)
{
    struct world *world = *state;
    struct scene scene = scene_closed(world, 100, 200);
    scene_finish(world, &scene);
    world->time = EXPIRY + 1;
    world_issue(world, &scene.key.client, uint256_of(0)); /* the client's address is a contract now */
    struct contract_call call = unlock_client(&scene, 0);
    world_must(world, STRANGER, &call);
    EVENTS(world, EVENT_UNLOCKED, EVENT_OWED_RECORDED);
    assert_int_equal(world_event(world, 0).amount.units, 40);
    assert_int_equal(world_owed(world, &scene.key.client, &COIN), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(test_register_secret_once),
        world_test(test_register_attestation),
        world_test(test_unlock_errors_in_order),
        world_test(test_unknown_kind),
        world_test(test_met_in_time_goes_to_the_receiver),
        world_test(test_met_too_late_goes_back_to_the_sender),
        world_test(test_attested_lock),
        world_test(test_locks_share_what_is_held),
        world_test(test_void_locks_cannot_be_unlocked),
        world_test(test_unlock_to_nobody_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
