/* Appointments: what is taken, what is refused and why, what is given back, within which quotas. */
#include "tests/watchtower/world.h"

static const struct balance_proof NO_PROOF;

/* ---- taken ---- */

static void test_receipt_for_a_proof(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + 5000), lock_of(1025 + 5, 12, START + 6000)};
    struct balance_proof proof = proof_of(7, 90, locks, 2);
    world_appoint(world, SIDE_HUB, &proof, locks, 2, NULL);
    assert_int_equal(tower_figures(world->tower).appointments, 1);
}

static void test_receipt_without_a_proof(void **state)
{
    struct world *world = *state;
    world_appoint(world, SIDE_CLIENT, &NO_PROOF, NULL, 0, NULL);
    assert_true(hash_is_zero(&world->said[0].message.receipt.proof_digest));
    struct balance_proof proof = proof_of(1, 5, NULL, 0);
    world_appoint(world, SIDE_CLIENT, &proof, NULL, 0, NULL);
}

static void test_one_appointment_per_side(void **state)
{
    struct world *world = *state;
    struct balance_proof of_client = proof_of(4, 5, NULL, 0), of_hub = proof_of(2, 9, NULL, 0);
    world_appoint(world, SIDE_HUB, &of_client, NULL, 0, NULL);
    world_appoint(world, SIDE_CLIENT, &of_hub, NULL, 0, NULL);
    assert_int_equal(tower_figures(world->tower).appointments, 2);
    assert_int_equal(tower_figures(world->tower).users, 2);
}

static void test_storage_is_constant(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(1, 5, NULL, 0);
    world_appoint(world, SIDE_HUB, &proof, NULL, 0, NULL);
    uint64_t bytes = tower_figures(world->tower).bytes;
    for (uint64_t nonce = 2; nonce < 50; nonce++) {
        proof = proof_of(nonce, nonce * 5, NULL, 0);
        world_appoint(world, SIDE_HUB, &proof, NULL, 0, NULL);
    }
    assert_int_equal(tower_figures(world->tower).bytes, bytes);
    assert_int_equal(tower_figures(world->tower).appointments, 1);
}

#define RECORD_APPOINTMENT 64 /* docs/journal.md */

/* Key and value of the newest appointment on disk. */
static size_t appointment_on_disk(const struct world *world)
{
    const struct buffer *batch = &world->batches[world->batch_count - 1];
    struct reader reader = reader_of(batch->data, batch->length);
    struct record record;
    size_t length = 0;
    while (record_next(&reader, &record))
        if (record.type == RECORD_APPOINTMENT && !record.gone)
            length = (size_t)record.key_length + record.value_length;
    assert_true(length > 0);
    return length;
}

/* With all that there can be: a Choice, a revocation; locks and their witnesses beside. */
static void test_storage_is_small(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + 5000), lock_of(2, 5, START + 5000)};
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint_revocation(world, &appoint, SIDE_HUB, 3);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    assert_true(tower_figures(world->tower).bytes <= 400);
    assert_true(appointment_on_disk(world) <= 400);
    proof = proof_of(8, 90, locks, 2);
    struct witness witness = secret_of(1);
    world_appoint(world, SIDE_HUB, &proof, locks, 2, &witness);
    assert_true(tower_figures(world->tower).bytes <= 400 + 2 * 192);
    assert_true(appointment_on_disk(world) <= 400 + 2 * (58 + sizeof(struct hash)));
}

static void test_lower_nonce_never_replaces_a_higher_one(void **state)
{
    struct world *world = *state;
    struct balance_proof newer = proof_of(7, 90, NULL, 0), older = proof_of(6, 80, NULL, 0);
    world_appoint(world, SIDE_HUB, &newer, NULL, 0, NULL);
    size_t batches = world->batch_count;
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &older, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    assert_int_equal(world->batch_count, batches);
}

static void test_lower_nonce_still_brings_a_newer_revocation(void **state)
{
    struct world *world = *state;
    struct balance_proof newer = proof_of(7, 90, NULL, 0), older = proof_of(6, 80, NULL, 0);
    world_appoint(world, SIDE_HUB, &newer, NULL, 0, NULL);
    size_t batches = world->batch_count;
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &older, NULL, 0);
    appoint_revocation(world, &appoint, SIDE_HUB, 3);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    assert_int_equal(world->batch_count, batches + 1);
}

static void test_same_proof_again_adds_witnesses(void **state)
{
    struct world *world = *state;
    struct lock lock = lock_of(1, 30, START + 5000);
    struct balance_proof proof = proof_of(7, 90, &lock, 1);
    world_appoint(world, SIDE_HUB, &proof, &lock, 1, NULL);
    size_t batches = world->batch_count;
    struct witness witness = secret_of(1);
    world_appoint(world, SIDE_HUB, &proof, &lock, 1, &witness);
    assert_int_equal(world->batch_count, batches + 1);
    world_appoint(world, SIDE_HUB, &proof, &lock, 1, &witness);
    assert_int_equal(world->batch_count, batches + 1);
}

static void test_newer_proof_keeps_witnesses_and_revocation(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + 5000), lock_of(2, 5, START + 5000)};
    struct balance_proof proof = proof_of(7, 90, locks, 1);
    struct witness witness = secret_of(1);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, locks, 1);
    appoint_witness(&appoint, &witness);
    appoint_revocation(world, &appoint, SIDE_HUB, 3);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    proof = proof_of(8, 90, locks, 2);
    world_appoint(world, SIDE_HUB, &proof, locks, 2, NULL);
    world->said_count = 0;
    struct address hub = secret_key_address(&world->hub);
    struct message fetch = {.type = MESSAGE_FETCH, .fetch.channel = world->channel};
    tower_message(world->tower, 7, &hub, &fetch);
    const struct said *kept = world_reply(world, MESSAGE_KEPT);
    assert_int_equal(kept->message.appoint.witness_count, 1);
    assert_memory_equal(kept->witnesses[0].bytes, witness.bytes, 32);
    assert_int_equal(kept->message.appoint.revocation.min_nonce, 3);
}

static void test_unknown_witnesses_are_ignored(void **state)
{
    struct world *world = *state;
    struct lock lock = lock_of(1, 30, START + 5000);
    struct balance_proof proof = proof_of(7, 90, &lock, 1);
    struct witness witness = secret_of(99);
    world_appoint(world, SIDE_HUB, &proof, &lock, 1, &witness);
}

static void test_attestation_witness(void **state)
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
    struct balance_proof proof = proof_of(7, 90, &lock, 1);
    world_appoint(world, SIDE_HUB, &proof, &lock, 1, &witness);

    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, &lock, 1);
    witness.bytes[60] ^= 1;
    appoint_witness(&appoint, &witness);
    appoint_send_as(world, &appoint, &world->hub);
    expect_error(world, CODE_WITNESS);
}

/* ---- refused ---- */

static void refused(struct world *world, struct appoint *appoint, enum code code)
{
    size_t batches = world->batch_count;
    appoint_send_as(world, appoint, &world->hub);
    expect_error(world, code);
    assert_int_equal(world->batch_count, batches);
    assert_int_equal(tower_figures(world->tower).appointments, 0);
}

static void test_refused_party(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint_send_as(world, &appoint, &world->other);
    expect_error(world, CODE_CHANNEL);
    /* The hub is never a channel's client. */
    appoint.message.appoint.key.client = secret_key_address(&world->hub);
    refused(world, &appoint, CODE_CHANNEL);
}

static void test_refused_signatures(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint.message.appoint.proof.proof.transferred.units++;
    appoint_choose(world, &appoint, &world->hub);
    refused(world, &appoint, CODE_SIGNATURE);

    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint_choose(world, &appoint, &world->other);
    refused(world, &appoint, CODE_SIGNATURE);

    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint_revocation(world, &appoint, SIDE_HUB, 4);
    appoint.message.appoint.revocation.min_nonce = 5;
    refused(world, &appoint, CODE_SIGNATURE);
}

static void test_refused_choice_of_another_tower(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    struct address self = world->self;
    world->self.bytes[0] ^= 1;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    world->self = self;
    refused(world, &appoint, CODE_SIGNATURE);
}

static void test_refused_sums_and_roots(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + 5000), lock_of(2, 12, START + 6000)};
    struct balance_proof proof = proof_of(7, 90, locks, 2);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, locks, 1);
    refused(world, &appoint, CODE_LOCKED);
    locks[1].expiry++;
    appoint_make(world, &appoint, SIDE_HUB, &proof, locks, 2);
    refused(world, &appoint, CODE_ROOT);
    /* Two locks in one place of the tree. */
    locks[1] = lock_of(1025, 12, START + 6000);
    appoint_make(world, &appoint, SIDE_HUB, &proof, locks, 2);
    refused(world, &appoint, CODE_ROOT);
    locks[1] = lock_of(2, AMOUNT_LIMIT, START + 6000);
    appoint_make(world, &appoint, SIDE_HUB, &proof, locks, 2);
    refused(world, &appoint, CODE_LOCKED);
    /* Locks without a proof. */
    locks[1] = lock_of(2, 12, START + 6000);
    appoint_make(world, &appoint, SIDE_HUB, &NO_PROOF, locks, 2);
    refused(world, &appoint, CODE_LOCKED);
}

static void test_refused_numbers(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(1, AMOUNT_LIMIT, NULL, 0);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    refused(world, &appoint, CODE_TRANSFERRED);
    proof = proof_of(1, 4, NULL, 0);
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint.message.appoint.proof.proof.nonce = 0;
    refused(world, &appoint, CODE_NONCE);
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    struct witness odd = {.length = 31};
    appoint_witness(&appoint, &odd);
    refused(world, &appoint, CODE_WITNESS);
}

static void test_refused_second_proof_with_one_nonce(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0), other = proof_of(7, 91, NULL, 0);
    world_appoint(world, SIDE_HUB, &proof, NULL, 0, NULL);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &other, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    expect_error(world, CODE_NONCE);
}

/* A wallet that lost its disk may believe a hub that signs its stream anew: what such a proof leaves out stays here. */
static void test_refused_proof_that_takes_back(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0), less = proof_of(8, 89, NULL, 0),
                         same = proof_of(8, 90, NULL, 0);
    world_appoint(world, SIDE_CLIENT, &proof, NULL, 0, NULL);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_CLIENT, &less, NULL, 0);
    appoint_send_as(world, &appoint, &world->client);
    expect_error(world, CODE_TRANSFERRED);
    world_appoint(world, SIDE_CLIENT, &same, NULL, 0, NULL);
}

static void test_refused_channels(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    world->state.status = CHANNEL_NONE;
    refused(world, &appoint, CODE_CHANNEL);
    world->state.status = CHANNEL_CLOSED;
    refused(world, &appoint, CODE_STATUS);
    world->state.status = CHANNEL_OPEN;
    world->down = true;
    refused(world, &appoint, CODE_LIMIT);
    world->down = false;
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
}

/* ---- towers that setTower allows ---- */

static void test_no_choice_only_from_the_hub_of_an_allowed_tower(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint.message.appoint.has_choice = false;
    refused(world, &appoint, CODE_SIGNATURE);
    /* The ledger is asked again each time. */
    world->is_tower = true;
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    struct appoint of_client;
    appoint_make(world, &of_client, SIDE_CLIENT, &proof, NULL, 0);
    of_client.message.appoint.has_choice = false;
    appoint_send_as(world, &of_client, &world->client);
    expect_error(world, CODE_SIGNATURE);
}

static void test_tower_set_event_ends_it(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0);
    struct appoint appoint;
    world->is_tower = true;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint.message.appoint.has_choice = false;
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 7);
    world->is_tower = false;
    struct contract_event event = {.type = EVENT_TOWER_SET, .address = world->self, .allowed = false};
    tower_event(world->tower, &event);
    world_settle(world);
    proof = proof_of(8, 90, NULL, 0);
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint.message.appoint.has_choice = false;
    appoint_send_as(world, &appoint, &world->hub);
    expect_error(world, CODE_SIGNATURE);
}

/* ---- quotas ---- */

static void appoint_salt(struct world *world, uint64_t salt, enum code expected)
{
    struct balance_proof proof = proof_of(1, 5, NULL, 0);
    struct appoint appoint;
    world->key.salt = salt;
    world->channel = channel_id(&world->key);
    appoint_make(world, &appoint, SIDE_CLIENT, &proof, NULL, 0);
    appoint_send_as(world, &appoint, &world->client);
    if (expected == CODE_OK)
        expect_receipt(world, 1);
    else
        expect_error(world, expected);
}

static void test_quota_of_channels(void **state)
{
    struct world *world = *state;
    for (uint64_t salt = 0; salt < 4; salt++)
        appoint_salt(world, salt, CODE_OK);
    appoint_salt(world, 4, CODE_LIMIT);
    appoint_salt(world, 3, CODE_OK);
}

static void test_quota_does_not_bind_the_hub(void **state)
{
    struct world *world = *state;
    for (uint64_t salt = 0; salt < 6; salt++) {
        world->key.salt = salt;
        world->channel = channel_id(&world->key);
        struct balance_proof proof = proof_of(1, 5, NULL, 0);
        world_appoint(world, SIDE_HUB, &proof, NULL, 0, NULL);
    }
}

static void test_quota_of_users(void **state)
{
    struct world *world = *state;
    for (unsigned i = 0; i < 11; i++) {
        char name[16];
        snprintf(name, sizeof name, "client %u", i);
        world->client = world_key(name);
        world->key.client = secret_key_address(&world->client);
        appoint_salt(world, 0, i < 10 ? CODE_OK : CODE_LIMIT);
    }
}

static void test_quota_of_bytes(void **state)
{
    struct world *world = *state;
    tower_free(world->tower);
    world->options.quotas.bytes_per_user = 6000;
    world->tower = tower_new(&world->options, &world_effects, world);
    tower_tick(world->tower, world->now_ms);
    world_restart(world, world->batch_count);
    world_block(world, 1);
    struct lock locks[16];
    for (unsigned i = 0; i < 16; i++)
        locks[i] = lock_of(i + 1, 10, START + 5000);
    struct balance_proof proof = proof_of(1, 5, locks, 2);
    world_appoint(world, SIDE_CLIENT, &proof, locks, 2, NULL);
    proof = proof_of(2, 5, locks, 16);
    world_appoint(world, SIDE_CLIENT, &proof, locks, 16, NULL);
    world->key.salt++;
    world->channel = channel_id(&world->key);
    struct appoint appoint;
    appoint_make(world, &appoint, SIDE_CLIENT, &proof, locks, 16);
    appoint_send_as(world, &appoint, &world->client);
    expect_error(world, CODE_LIMIT);
}

static bool hub_appoints(struct world *world, uint64_t salt)
{
    struct balance_proof proof = proof_of(1, 5, NULL, 0);
    struct appoint appoint;
    world->key.salt = salt;
    world->channel = channel_id(&world->key);
    world->said_count = 0;
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    return world->said[0].message.type == MESSAGE_RECEIPT;
}

static void test_the_hub_cannot_fill_the_tower(void **state)
{
    struct world *world = *state;
    tower_free(world->tower);
    world->options.quotas.bytes = 8000;
    world->tower = tower_new(&world->options, &world_effects, world);
    tower_tick(world->tower, world->now_ms);
    world_restart(world, world->batch_count);
    world_block(world, 1);
    uint64_t salt = 100;
    while (hub_appoints(world, salt))
        salt++;
    assert_in_range(salt, 105, 130);
    appoint_salt(world, 1, CODE_OK); /* there is room for a client still */
}

/* One for a channel of this salt, without a Choice. */
static void appoint_nonce(struct world *world, uint64_t salt, uint64_t nonce)
{
    struct address hub = secret_key_address(&world->hub);
    struct balance_proof proof = proof_of(nonce, 4 + nonce, NULL, 0);
    struct appoint appoint;
    world->key.salt = salt;
    world->channel = channel_id(&world->key);
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint.message.appoint.has_choice = false;
    tower_message(world->tower, 7, &hub, &appoint.message);
}

static void appoint_new(struct world *world, uint64_t salt)
{
    appoint_nonce(world, salt, 1);
}

/* The oldest question. */
static void answer_one(struct world *world)
{
    struct asked asked = world->asks[0];
    memmove(world->asks, world->asks + 1, --world->ask_count * sizeof asked);
    struct buffer data = {0};
    world_answer_view(world, &asked.view, &data);
    tower_answer(world->tower, asked.id, true, data.data, data.length);
    buffer_free(&data);
}

/* A reading may bring many more than the tower lets wait before it says that it is busy: they take their turn, so many at
 * once, and beyond a bound they are refused. */
static void test_waiting_appointments_are_bounded(void **state)
{
    struct world *world = *state;
    world->is_tower = true;
    unsigned refusals = 0;
    world->said_count = 0;
    for (unsigned sent = 0; sent < 2100; sent++) {
        appoint_new(world, sent);
        assert_true(world->said_count == 0 || tower_busy(world->tower));
        assert_int_equal(tower_busy(world->tower), sent + 1 >= 512);
        assert_true(world->ask_count <= 2 * 256); /* the channel; whether the hub allows this tower */
        refusals += (unsigned)world->said_count;
        world->said_count = 0;
    }
    assert_int_equal(refusals, 2100 - 2048);
    unsigned receipts = 0;
    while (world->ask_count > 0) {
        answer_one(world);
        assert_true(world->ask_count <= 2 * 256);
        for (size_t i = 0; i < world->said_count; i++)
            receipts += world->said[i].message.type == MESSAGE_RECEIPT;
        world->said_count = 0;
    }
    assert_int_equal(receipts, 2048);
    assert_false(tower_busy(world->tower));
    assert_int_equal(tower_figures(world->tower).appointments, 2048);
}

/* A newer proof of a channel that is known is not held up by those who wait. */
static void test_known_channels_do_not_wait(void **state)
{
    struct world *world = *state;
    world->is_tower = true;
    appoint_new(world, 1);
    while (world->ask_count > 0)
        answer_one(world);
    for (unsigned salt = 2; salt < 700; salt++)
        appoint_new(world, salt);
    world->said_count = 0;
    appoint_nonce(world, 1, 2);
    assert_int_equal(world->said_count, 1);
    assert_int_equal(world->said[0].message.type, MESSAGE_RECEIPT);
    assert_int_equal(world->said[0].message.receipt.nonce, 2);
}

/* Right after a start the tower does not know whether the hub allows it: one answer says it for all that wait. */
static void test_one_answer_for_all(void **state)
{
    struct world *world = *state;
    world->is_tower = true;
    for (unsigned salt = 0; salt < 600; salt++)
        appoint_new(world, salt);
    while (world->ask_count > 0) {
        answer_one(world);
        world->said_count = 0;
    }
    world_restart(world, world->batch_count);
    world->ask_count = world->said_count = 0; /* whatever a start asks is late */
    for (unsigned salt = 0; salt < 600; salt++)
        appoint_nonce(world, salt, 2);
    assert_true(world->ask_count <= 256);
    unsigned answered = 0, receipts = 0;
    while (world->ask_count > 0) {
        answer_one(world);
        answered++;
        for (size_t i = 0; i < world->said_count; i++)
            receipts += world->said[i].message.type == MESSAGE_RECEIPT;
        world->said_count = 0;
    }
    assert_int_equal(receipts, 600);
    assert_true(answered <= 256);
}

/* ---- given back ---- */

static void test_fetch(void **state)
{
    struct world *world = *state;
    struct lock locks[2] = {lock_of(1, 30, START + 5000), lock_of(2, 12, START + 6000)};
    struct balance_proof proof = proof_of(7, 90, locks, 2);
    struct witness witness = secret_of(2);
    world_appoint(world, SIDE_CLIENT, &proof, locks, 2, &witness);
    world_restart(world, world->batch_count);
    struct message fetch = {.type = MESSAGE_FETCH, .fetch.channel = world->channel};
    struct address client = secret_key_address(&world->client), hub = secret_key_address(&world->hub);
    tower_message(world->tower, 7, &client, &fetch);
    const struct said *kept = world_reply(world, MESSAGE_KEPT);
    assert_true(kept->message.appoint.proof.present);
    assert_memory_equal(&kept->message.appoint.proof.proof, &proof, sizeof proof);
    assert_int_equal(kept->message.appoint.lock_count, 2);
    assert_int_equal(kept->locks[1].lock.id, 2);
    assert_int_equal(kept->message.appoint.witness_count, 1);
    assert_true(kept->message.appoint.has_choice);
    /* Nobody else's. */
    world->said_count = 0;
    tower_message(world->tower, 7, &hub, &fetch);
    expect_error(world, CODE_CHANNEL);
}

/* Nobody can blame the tower for a proof that it got when it was too late to show it. */
static void test_no_receipt_when_the_time_to_challenge_is_over(void **state)
{
    struct world *world = *state;
    struct balance_proof held = proof_of(7, 90, NULL, 0), newer = proof_of(8, 95, NULL, 0), none = {0};
    struct appoint appoint;
    world_appoint(world, SIDE_HUB, &held, NULL, 0, NULL);
    world_close(world, false, &none, &none);
    world_block_at(world, world->closing.deadline - PERIOD / 8 - 1);
    appoint_make(world, &appoint, SIDE_HUB, &newer, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 8);
    world_block(world, 1);
    newer = proof_of(9, 99, NULL, 0);
    appoint_make(world, &appoint, SIDE_HUB, &newer, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    expect_error(world, CODE_STATUS);
    /* What is held already is confirmed again; and so are the closer's own appointments. */
    newer = proof_of(8, 95, NULL, 0);
    appoint_make(world, &appoint, SIDE_HUB, &newer, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    expect_receipt(world, 8);
    world_appoint(world, SIDE_CLIENT, &held, NULL, 0, NULL);
}

/* The same where the tower hears of the channel for the first time. */
static void test_no_first_receipt_when_it_is_too_late(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(7, 90, NULL, 0), none = {0};
    struct appoint appoint;
    world_close(world, false, &none, &none);
    world_block_at(world, world->closing.deadline - PERIOD / 8);
    appoint_make(world, &appoint, SIDE_HUB, &proof, NULL, 0);
    appoint_send_as(world, &appoint, &world->hub);
    expect_error(world, CODE_STATUS);
    assert_int_equal(tower_figures(world->tower).appointments, 0);
}

static void test_a_foreign_journal_is_refused(void **state)
{
    struct world *world = *state;
    char message[256] = "";
    struct tower_options options = world->options;
    options.chain_id++;
    struct tower *tower = tower_new(&options, &world_effects, world);
    for (size_t i = 0; i < world->batch_count; i++)
        assert_true(world_visit(tower, &world->batches[i]));
    assert_false(tower_recovered(tower, message, sizeof message));
    assert_non_null(strstr(message, "another chain"));
    tower_free(tower);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_receipt_for_a_proof),
        TEST(test_receipt_without_a_proof),
        TEST(test_one_appointment_per_side),
        TEST(test_storage_is_constant),
        TEST(test_storage_is_small),
        TEST(test_lower_nonce_never_replaces_a_higher_one),
        TEST(test_lower_nonce_still_brings_a_newer_revocation),
        TEST(test_same_proof_again_adds_witnesses),
        TEST(test_newer_proof_keeps_witnesses_and_revocation),
        TEST(test_unknown_witnesses_are_ignored),
        TEST(test_attestation_witness),
        TEST(test_refused_party),
        TEST(test_refused_signatures),
        TEST(test_refused_choice_of_another_tower),
        TEST(test_refused_sums_and_roots),
        TEST(test_refused_numbers),
        TEST(test_refused_second_proof_with_one_nonce),
        TEST(test_refused_proof_that_takes_back),
        TEST(test_refused_channels),
        TEST(test_no_choice_only_from_the_hub_of_an_allowed_tower),
        TEST(test_tower_set_event_ends_it),
        TEST(test_quota_of_channels),
        TEST(test_quota_does_not_bind_the_hub),
        TEST(test_quota_of_users),
        TEST(test_quota_of_bytes),
        TEST(test_the_hub_cannot_fill_the_tower),
        TEST(test_waiting_appointments_are_bounded),
        TEST(test_known_channels_do_not_wait),
        TEST(test_one_answer_for_all),
        TEST(test_fetch),
        TEST(test_no_receipt_when_the_time_to_challenge_is_over),
        TEST(test_no_first_receipt_when_it_is_too_late),
        TEST(test_a_foreign_journal_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
