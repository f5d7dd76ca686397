/* A tower's receipt held against the ledger: what proves that it failed, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "ledger/evidence.h"

#define PERIOD 8000u
#define NOW    1900000000u

static struct secret_key key_of(const char *name)
{
    struct secret_key key;
    struct hash hash = sha256(name, strlen(name));
    memcpy(key.bytes, hash.bytes, sizeof(key.bytes));
    return key;
}

struct world {
    struct secret_key hub, client, tower;
    struct evidence evidence;
    struct evidence_ground ground;
};

/* Signs what the evidence says, the proof as `signer`. */
static void sign(struct world *world, const struct secret_key *signer)
{
    struct evidence *evidence = &world->evidence;
    struct domain domain = domain_make(evidence->chain_id, &evidence->contract);
    struct hash channel = channel_id(&evidence->key);
    evidence->digest = digest_balance_proof(&domain, &channel, &evidence->proof);
    evidence->signature = key_sign(signer, &evidence->digest);
    struct hash receipt = digest_receipt(&domain, &channel, evidence->proof.nonce, &evidence->digest);
    evidence->receipt = key_sign(&world->tower, &receipt);
}

/* The client's tower had signed for the hub's proof 9; the hub closed with its proof 4, and nobody answered. */
static int setup(void **state)
{
    struct world *world = xcalloc(1, sizeof(*world));
    world->hub = key_of("hub");
    world->client = key_of("client");
    world->tower = key_of("tower");
    world->evidence =
        (struct evidence){.chain_id = 7,
                          .contract = {{1, 2, 3}},
                          .tower = secret_key_address(&world->tower),
                          .key = {.client = secret_key_address(&world->client), .salt = 1ull << 63},
                          .proof = {.nonce = 9, .transferred = amount_of(500)}};
    world->ground = (struct evidence_ground){
        .hub = secret_key_address(&world->hub),
        .challenge_period_s = PERIOD,
        .now = NOW,
        .state = {.status = CHANNEL_CLOSED},
        .closing = {
            .by_hub = true, .deadline = NOW - PERIOD, .of_hub = {.nonce = 4, .transferred = amount_of(100)}}};
    sign(world, &world->hub);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void expect(const struct world *world, enum evidence_verdict verdict, const char *words)
{
    const char *why;
    assert_int_equal(evidence_judge(&world->evidence, &world->ground, &why), verdict);
    assert_non_null(strstr(why, words));
}

static void test_a_broken_promise(void **state)
{
    struct world *world = *state;
    expect(world, EVIDENCE_FAILED, "did not show it");
    world->ground.state.status = CHANNEL_CLOSING; /* over for towers, not finished */
    world->ground.closing.deadline = NOW - PERIOD / 8;
    expect(world, EVIDENCE_FAILED, "did not show it");
    world->ground.closing.challenged = true; /* by another tower, with less */
    expect(world, EVIDENCE_FAILED, "did not show it");
}

/* A closer need not have signed what it claims: any nonce may stand in it. */
static void test_a_claim_that_was_never_signed(void **state)
{
    struct world *world = *state;
    world->ground.closing.of_hub.nonce = 900;
    expect(world, EVIDENCE_FAILED, "did not show it");
    world->ground.closing.of_hub.nonce = 9;
    expect(world, EVIDENCE_FAILED, "did not show it");
    world->ground.closing.of_hub =
        (struct claim){.nonce = 9, .transferred = amount_of(500), .locked = amount_of(1)};
    expect(world, EVIDENCE_FAILED, "did not show it");
}

static void test_while_there_is_time_nothing_has_failed(void **state)
{
    struct world *world = *state;
    world->ground.state.status = CHANNEL_CLOSING;
    world->ground.closing.deadline = NOW - PERIOD / 8 + 1;
    expect(world, EVIDENCE_NOT_OVER, "still time");
    world->ground.closing.deadline = NOW + 5;
    expect(world, EVIDENCE_NOT_OVER, "still time");
}

static void test_what_was_kept(void **state)
{
    struct world *world = *state;
    const struct claim old = world->ground.closing.of_hub;
    world->ground.closing.of_hub = (struct claim){.nonce = 9, .transferred = amount_of(500)};
    expect(world, EVIDENCE_KEPT, "or a newer one");
    world->ground.closing.of_hub.nonce = 10;
    expect(world, EVIDENCE_KEPT, "or a newer one");
    world->ground.closing.of_hub = old;
    world->ground.closing.by_partner = true;
    expect(world, EVIDENCE_KEPT, "itself");
    world->ground.closing.by_partner = false;
    world->ground.closing.by_hub = false;
    expect(world, EVIDENCE_KEPT, "nothing to challenge");
    world->ground.closing = (struct closing){0};
    expect(world, EVIDENCE_KEPT, "together");
    world->ground.state.status = CHANNEL_OPEN;
    expect(world, EVIDENCE_KEPT, "nobody has closed");
}

static void test_the_hubs_tower_needs_its_authority(void **state)
{
    struct world *world = *state;
    sign(world, &world->client); /* the client's proof: the user is the hub */
    world->ground.closing = (struct closing){.deadline = NOW - PERIOD, .of_client = {.nonce = 4}};
    expect(world, EVIDENCE_FAILED,
           "did not show it"); /* never by setTower: it took a Choice, or gave no receipt */
    world->ground.was_tower = true;
    expect(world, EVIDENCE_KEPT, "setTower");
    world->ground.is_tower = true;
    expect(world, EVIDENCE_FAILED, "did not show it");
}

static void test_made_up_evidence(void **state)
{
    struct world *world = *state, good = *world;
    world->evidence.proof.nonce = 10;
    expect(world, EVIDENCE_WORTHLESS, "another proof");
    *world = good;
    world->evidence.receipt.bytes[5] ^= 1;
    expect(world, EVIDENCE_WORTHLESS, "not signed by the tower");
    *world = good;
    world->evidence.contract.bytes[0] ^= 1;
    expect(world, EVIDENCE_WORTHLESS, "another proof");
    *world = good;
    sign(world, &world->tower); /* a friend of the user made the proof up */
    expect(world, EVIDENCE_WORTHLESS, "neither side");
}

static void test_it_travels_as_json(void **state)
{
    struct world *world = *state;
    struct evidence again;
    const char *why;
    json_t *json = evidence_json(&world->evidence);
    assert_true(evidence_of_json(json, &again, &why));
    assert_memory_equal(&again.key, &world->evidence.key, sizeof(again.key));
    assert_memory_equal(&again.receipt, &world->evidence.receipt, sizeof(again.receipt));
    assert_memory_equal(&again.proof, &world->evidence.proof, sizeof(again.proof));
    assert_int_equal(evidence_judge(&again, &world->ground, &why), EVIDENCE_FAILED);
    json_object_set_new(json, "salt", json_string("4"));
    assert_false(evidence_of_json(json, &again, &why));
    assert_non_null(strstr(why, "contradicts"));
    json_object_set_new(json, "salt", json_string("-1"));
    assert_false(evidence_of_json(json, &again, &why));
    assert_non_null(strstr(why, "malformed"));
    json_object_set_new(json, "type", json_string("another"));
    assert_false(evidence_of_json(json, &again, &why));
    json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_broken_promise),
        TEST(test_a_claim_that_was_never_signed),
        TEST(test_while_there_is_time_nothing_has_failed),
        TEST(test_what_was_kept),
        TEST(test_the_hubs_tower_needs_its_authority),
        TEST(test_made_up_evidence),
        TEST(test_it_travels_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
