/* startClose, challenge, voidLocks and finish (protocol.md, sections 6 and 7): every error in its order,
 * every window at its edges, every way the money can go. With a challenge period of 800 s, an eighth is 100
 * s. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/ledger_embedded/contract_world.h"

static const struct claim nothing_sent;

/* Alice has closed with her claim; the hub's stream is shown with hub_sent, or not at all (0). */
static struct channel_key closed_by_alice(struct world *world, const struct claim *own, uint64_t hub_sent)
{
    struct channel_key key = world_open(world, 100, 200);
    struct balance_proof hubs = proof_of(3, hub_sent, 0, NULL);
    struct contract_call start = start_close_call(world, ALICE, &key, hub_sent == 0 ? NULL : &hubs, own);
    world_must(world, ALICE, &start);
    return key;
}

static uint64_t deadline_of(const struct world *world, const struct channel_key *key)
{
    struct hash id = channel_id(key);
    return closing_load(world->state, &id).deadline;
}

static struct closing closing_of(const struct world *world, const struct channel_key *key)
{
    struct hash id = channel_id(key);
    return closing_load(world->state, &id);
}

/* ---- startClose ---- */

static void test_start_close_errors_in_order(void **state)
{
    struct world *world = *state;
    struct channel_key none = {world->people[ALICE], COIN, 999};
    struct channel_key key = world_open(world, 100, 200);
    struct balance_proof hubs = proof_of(2, 30, 0, NULL);
    struct claim own = {.nonce = 1, .transferred = {131}};
    struct contract_call call = start_close_call(world, ALICE, &none, &hubs, &own);
    call.signature.bytes[5] ^= 1;
    assert_int_equal(world_call(world, BOB, &call), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_NONE);
    call = start_close_call(world, ALICE, &key, &hubs, &own);
    struct signature good = call.signature;
    call.signature.bytes[5] ^= 1;
    assert_int_equal(world_call(world, BOB, &call), CONTRACT_NOT_PARTY);
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_SIGNATURE);
    call.signature = sign_proof(world, ALICE, &key, &hubs); /* her own is not the other side's */
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_SIGNATURE);
    call.signature = good;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_CLAIM);
    call.own.transferred.units = 0;
    call.own.locked.units = 131;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_CLAIM);
    call.own.locked.units = UINT64_MAX;
    call.own.transferred.units = UINT64_MAX;
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_CLAIM);
    call.own.transferred.units = 100;
    call.own.locked.units = 30; /* exactly all there can be */
    world_must(world, ALICE, &call);
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_CLOSING);
}

static void test_start_close_without_a_proof(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 100, 200);
    struct contract_call call = start_close_call(world, ALICE, &key, NULL, &nothing_sent);
    struct contract_call wrong = call;
    wrong.proof.transferred.units = 1;
    assert_int_equal(world_call(world, ALICE, &wrong), CONTRACT_BAD_SIGNATURE);
    wrong = call;
    wrong.proof.locked.units = 1;
    assert_int_equal(world_call(world, ALICE, &wrong), CONTRACT_BAD_SIGNATURE);
    wrong = call;
    wrong.proof.locks_root.bytes[0] = 1;
    assert_int_equal(world_call(world, ALICE, &wrong), CONTRACT_BAD_SIGNATURE);
    wrong = call;
    wrong.proof.body_hash.bytes[31] = 1;
    assert_int_equal(world_call(world, ALICE, &wrong), CONTRACT_BAD_SIGNATURE);
    memset(call.signature.bytes, 0xff, sizeof(call.signature.bytes)); /* not looked at */
    world_must(world, ALICE, &call);
}

static void test_start_close_says_what_stands(void **state)
{
    struct world *world = *state;
    struct hash root = {{7}};
    struct channel_key key = world_open(world, 100, 200);
    struct balance_proof clients = proof_of(4, 20, 10, &root);
    struct claim own = {9, {50}, {5}, {{3}}};
    struct contract_call call = start_close_call(world, HUB, &key, &clients, &own);
    world_must(world, HUB, &call);
    EVENTS(world, EVENT_CLOSE_STARTED);
    struct contract_event event = world_event(world, 0);
    assert_true(event.by_hub);
    assert_int_equal(event.deadline, WORLD_START + WORLD_PERIOD);
    assert_int_equal(event.of_client_claim.nonce, 4);
    assert_true(hash_equal(&event.of_client_claim.locks_root, &root));
    assert_int_equal(event.of_hub_claim.transferred.units, 50);
    struct closing closing = closing_of(world, &key);
    assert_true(closing.by_hub && !closing.challenged && !closing.by_partner && !closing.fraud);
    assert_int_equal(closing.own.nonce, 9);
    assert_int_equal(closing.of_hub.locked.units, 5);
    assert_true(address_is_zero(&closing.tower));
    assert_channel(world, &key, 200, 100, 0, CHANNEL_CLOSING);
}

/* The hub's own base is total - base, which may be below nothing. */
static void test_bad_claim_of_the_hub(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 100, 110);
    struct claim own = {.nonce = 1, .transferred = {11}};
    struct contract_call call = start_close_call(world, HUB, &key, NULL, &own);
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_BAD_CLAIM);
    struct hash id = channel_id(&key);
    struct channel_state channel = channel_load(world->state, &id);
    channel.base = 115; /* the hub took 5 more out than it had put in */
    channel_save(world->state, &id, &key.asset, &channel);
    struct balance_proof clients = proof_of(1, 4, 0, NULL);
    own.transferred.units = 0;
    call = start_close_call(world, HUB, &key, &clients, &own);
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_BAD_CLAIM);
    clients = proof_of(1, 5, 0, NULL);
    call = start_close_call(world, HUB, &key, &clients, &own);
    world_must(world, HUB, &call);
}

/* ---- challenge ---- */

static void test_challenge_errors_in_order(void **state)
{
    struct world *world = *state;
    struct channel_key open = world_open(world, 100, 200);
    struct balance_proof proof = proof_of(1, 40, 0, NULL);
    struct contract_call call = challenge_call(world, BOB, &open, &proof);
    world->time += 5 * WORLD_PERIOD;
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_OPEN);
    struct claim own = {.nonce = 5};
    struct channel_key key = closed_by_alice(world, &own, 0);
    world->time += WORLD_PERIOD + WORLD_PERIOD / 4;
    call = challenge_call(world, HUB, &key, &proof); /* must be the closer's */
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_SIGNATURE);
    call = challenge_call(world, ALICE, &key, &proof);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_AUTHORISED);
    assert_int_equal(world_call(world, ALICE, &call), CONTRACT_NOT_AUTHORISED);
    add_choice(world, &call, ALICE, &world->people[STRANGER]); /* chosen by the closer: made up */
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_AUTHORISED);
    add_choice(world, &call, HUB, &ADDRESS_ZERO);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_AUTHORISED);
    add_choice(world, &call, HUB, &world->people[TOWER]);
    struct contract_call other = call;
    other.to = world->people[OTHER_TOWER]; /* the choice names another */
    assert_int_equal(world_call(world, OTHER_TOWER, &other), CONTRACT_NOT_AUTHORISED);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_TOO_LATE);
    world->time = deadline_of(world, &key) - 1;
    world_must(world, STRANGER,
               &call); /* a lower nonce than the closer's own: a first challenge need not be newer */
    assert_true(closing_of(world, &key).fraud);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_NEWER);
}

/* The first authority that matches counts, in the order written; "tower = caller" ignores the argument. */
static void test_challenge_authorities(void **state)
{
    struct world *world = *state;
    struct balance_proof proof = proof_of(6, 40, 0, NULL);
    struct contract_call set = {
        .function = CONTRACT_SET_TOWER, .address = world->people[TOWER], .flag = true};
    world_must(world, HUB, &set);
    struct claim own = {.nonce = 5};

    struct channel_key key = closed_by_alice(world, &own, 0);
    struct contract_call call = challenge_call(world, ALICE, &key, &proof);
    add_choice(world, &call, HUB, &world->people[OTHER_TOWER]);
    world_must(world, TOWER, &call); /* set by the hub: before the Choice */
    EVENTS(world, EVENT_CHALLENGED);
    assert_address(world_event(world, 0).address, &world->people[TOWER]);
    assert_false(world_event(world, 0).by_partner);
    assert_true(world_event(world, 0).is_fraud);
    assert_int_equal(world_event(world, 0).proof.nonce, 6);

    key = closed_by_alice(world, &own, 0);
    call = challenge_call(world, ALICE, &key, &proof);
    add_choice(world, &call, HUB, &world->people[OTHER_TOWER]);
    world_must(world, STRANGER, &call); /* anybody may carry a Choice; its tower earns */
    assert_address(closing_of(world, &key).tower, &world->people[OTHER_TOWER]);

    key = closed_by_alice(world, &own, 0);
    call = challenge_call(world, ALICE, &key, &proof);
    call.to = world->people[OTHER_TOWER];
    world_must(world, HUB, &call); /* the partner itself */
    assert_true(closing_of(world, &key).by_partner);
    assert_address(closing_of(world, &key).tower, &world->people[HUB]);

    /* A setTower tower speaks for the hub only: not for a client against the hub. */
    key = world_open(world, 100, 200);
    struct contract_call start = start_close_call(world, HUB, &key, NULL, &own);
    world_must(world, HUB, &start);
    call = challenge_call(world, HUB, &key, &proof);
    assert_int_equal(world_call(world, TOWER, &call), CONTRACT_NOT_AUTHORISED);
    add_choice(world, &call, ALICE, &world->people[TOWER]);
    world_must(world, TOWER, &call);
}

/* When may who challenge again? One row: what stood before, who comes with which nonce, when, and what
 * happens. */
enum before { UNCHALLENGED, BY_TOWER, BY_PARTNER };
static void test_challenge_windows(void **state)
{
    struct world *world = *state;
    static const struct {
        enum before before; /* with nonce 7 */
        bool partner_comes;
        uint64_t nonce;
        int eighths; /* of the period after the deadline … */
        int seconds; /* … plus this */
        enum contract_error expected;
    } rows[] = {
        {UNCHALLENGED, false, 1, 0, -1, CONTRACT_OK},
        {UNCHALLENGED, false, 9, 0, 0, CONTRACT_TOO_LATE},
        {UNCHALLENGED, true, 1, 0, -1, CONTRACT_OK},
        {UNCHALLENGED, true, 9, 0, 0, CONTRACT_TOO_LATE}, /* an eighth more is only for answers */
        {BY_TOWER, false, 8, 1, -1, CONTRACT_OK},
        {BY_TOWER, false, 7, 1, -1, CONTRACT_NOT_NEWER},
        {BY_TOWER, false, 6, 0, -50, CONTRACT_NOT_NEWER},
        {BY_TOWER, false, 8, 1, 0, CONTRACT_TOO_LATE},
        {BY_TOWER, false, 7, 1, 0, CONTRACT_TOO_LATE}, /* TooLate is judged first */
        {BY_TOWER, true, 1, 2, -1, CONTRACT_OK},       /* over a tower, whatever the nonce */
        {BY_TOWER, true, 7, 2, -1, CONTRACT_OK},
        {BY_TOWER, true, 9, 2, 0, CONTRACT_TOO_LATE},
        {BY_PARTNER, false, 9, 0, -50, CONTRACT_NOT_NEWER}, /* a tower after the partner, while in time */
        {BY_PARTNER, false, 9, 1, -1, CONTRACT_NOT_NEWER},
        {BY_PARTNER, false, 9, 1, 0, CONTRACT_TOO_LATE},
        {BY_PARTNER, true, 8, 2, -1, CONTRACT_OK},
        {BY_PARTNER, true, 7, 2, -1, CONTRACT_NOT_NEWER},
        {BY_PARTNER, true, 6, 0, -50, CONTRACT_NOT_NEWER},
        {BY_PARTNER, true, 8, 2, 0, CONTRACT_TOO_LATE},
        {BY_PARTNER, true, 6, 2, 0, CONTRACT_TOO_LATE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct claim own = {.nonce = 3};
        struct channel_key key = closed_by_alice(world, &own, 0);
        struct balance_proof first = proof_of(7, 30, 0, NULL), second = proof_of(rows[i].nonce, 20, 0, NULL);
        struct contract_call call = challenge_call(world, ALICE, &key, &first);
        add_choice(world, &call, HUB, &world->people[TOWER]);
        if (rows[i].before != UNCHALLENGED)
            world_must(world, rows[i].before == BY_PARTNER ? HUB : TOWER, &call);
        call = challenge_call(world, ALICE, &key, &second);
        add_choice(world, &call, HUB, &world->people[OTHER_TOWER]);
        world->time = deadline_of(world, &key) + (uint64_t)rows[i].eighths * (WORLD_PERIOD / 8) +
                      (uint64_t)(int64_t)rows[i].seconds;
        enum contract_error error = world_call(world, rows[i].partner_comes ? HUB : OTHER_TOWER, &call);
        if (error != rows[i].expected)
            fail_msg("row %zu: %s, expected %s", i, contract_error_name(error),
                     contract_error_name(rows[i].expected));
        uint64_t stands = error == CONTRACT_OK ? rows[i].nonce : rows[i].before == UNCHALLENGED ? 3 : 7;
        assert_int_equal(closing_of(world, &key).of_client.nonce, stands);
    }
}

/* Fractions of the period are multiplied first, rounded down. */
static void test_windows_of_an_odd_period(void **state)
{
    struct world *world = *state;
    world->config.challenge_period = 13; /* eighths: 1.6, 3.25, 4.9 */
    struct claim own = {.nonce = 3};
    struct channel_key key = closed_by_alice(world, &own, 0);
    struct balance_proof proof = proof_of(7, 30, 0, NULL);
    uint64_t deadline = deadline_of(world, &key);
    assert_int_equal(deadline, WORLD_START + 13);
    struct contract_call call = challenge_call(world, ALICE, &key, &proof), finish = finish_call(&key);
    add_choice(world, &call, HUB, &world->people[TOWER]);
    world_must(world, TOWER, &call);
    proof = proof_of(8, 30, 0, NULL);
    call = challenge_call(world, ALICE, &key, &proof);
    add_choice(world, &call, HUB, &world->people[TOWER]);
    world->time = deadline + 1;
    assert_int_equal(world_call(world, TOWER, &call), CONTRACT_TOO_LATE);
    world->time = deadline + 3;
    assert_int_equal(world_call(world, HUB, &call), CONTRACT_TOO_LATE);
    world->time = deadline + 2;
    world_must(world, HUB, &call);
    world->time = deadline + 3;
    assert_int_equal(world_call(world, ALICE, &finish), CONTRACT_TOO_EARLY);
    world->time = deadline + 4;
    world_must(world, ALICE, &finish);
}

/* ---- fraud and what it costs ---- */

static void finish_after(struct world *world, const struct channel_key *key)
{
    struct contract_call finish = finish_call(key);
    world->time = deadline_of(world, key) + 3 * WORLD_PERIOD / 8;
    world_must(world, STRANGER, &finish);
    assert_channel(world, key, 0, 0, 0, CHANNEL_CLOSED);
}

static void assert_finished(const struct world *world, uint64_t to_client, uint64_t to_hub,
                            uint64_t held_client, uint64_t held_hub, uint64_t penalty, uint64_t bounty)
{
    struct contract_event event = world_event(world, 0);
    assert_int_equal(event.type, EVENT_FINISHED);
    assert_int_equal(event.to_client.units, to_client);
    assert_int_equal(event.to_hub.units, to_hub);
    assert_int_equal(event.held_client.units, held_client);
    assert_int_equal(event.held_hub.units, held_hub);
    assert_int_equal(event.penalty.units, penalty);
    assert_int_equal(event.bounty.units, bounty);
}

static void test_honest_close(void **state)
{
    struct world *world = *state;
    struct claim own = {.nonce = 5, .transferred = {30}};
    struct channel_key key = closed_by_alice(world, &own, 50);
    uint64_t before = world_units(world, &key.client, &COIN), pool = world_pool(world, &COIN);
    finish_after(world, &key);
    EVENTS(world, EVENT_FINISHED);
    assert_finished(world, 120, 80, 0, 0, 0, 0);
    assert_int_equal(world_units(world, &key.client, &COIN), before + 120);
    assert_int_equal(world_pool(world, &COIN), pool + 80);
    struct contract_call finish = finish_call(&key);
    assert_int_equal(world_call(world, ALICE, &finish), CONTRACT_BAD_STATUS);
    assert_int_equal(world->status, CHANNEL_CLOSED);
}

static void test_finish_errors_in_order(void **state)
{
    struct world *world = *state;
    struct channel_key key = {world->people[ALICE], COIN, 999};
    struct contract_call finish = finish_call(&key);
    assert_int_equal(world_call(world, ALICE, &finish), CONTRACT_BAD_STATUS);
    finish.key = closed_by_alice(world, &nothing_sent, 0);
    world->time = deadline_of(world, &finish.key) + 299;
    assert_int_equal(world_call(world, ALICE, &finish), CONTRACT_TOO_EARLY);
    world->time++;
    world_must(world, STRANGER, &finish);
}

/* Steal x, lose x; the tower takes a tenth of it. */
static void test_a_client_that_hides_a_payment(void **state)
{
    struct world *world = *state;
    struct claim own = {.nonce = 5, .transferred = {10}};
    struct channel_key key = closed_by_alice(world, &own, 0);
    struct balance_proof proof = proof_of(6, 40, 0, NULL);
    struct contract_call call = challenge_call(world, ALICE, &key, &proof);
    add_choice(world, &call, HUB, &world->people[TOWER]);
    world_must(world, TOWER, &call);
    uint64_t tower = world_units(world, &world->people[TOWER], &COIN), pool = world_pool(world, &COIN);
    finish_after(world, &key);
    /* 100 - 40 = 60 would be hers; 30 were hidden. */
    assert_finished(world, 30, 167, 0, 0, 30, 3);
    assert_int_equal(world_units(world, &world->people[TOWER], &COIN), tower + 3);
    assert_int_equal(world_pool(world, &COIN), pool + 167);
}

/* No bounty to the victim itself, nor to a tower that is the victim by a Choice. */
static void test_no_bounty_for_the_victim(void **state)
{
    struct world *world = *state;
    struct claim own = {.nonce = 5, .transferred = {10}};
    struct balance_proof proof = proof_of(6, 40, 0, NULL);
    for (int by_choice = 0; by_choice < 2; by_choice++) {
        struct channel_key key = closed_by_alice(world, &own, 0);
        struct contract_call call = challenge_call(world, ALICE, &key, &proof);
        if (by_choice)
            add_choice(world, &call, HUB, &world->people[HUB]);
        world_must(world, by_choice ? STRANGER : HUB, &call);
        finish_after(world, &key);
        assert_finished(world, 30, 170, 0, 0, 30, 0);
    }
}

/* A bounty to the hub's address, where the client is the victim and chose it, is paid to that address. */
static void test_a_bounty_to_the_hub_is_paid_out(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 100, 200);
    struct claim own = {.nonce = 5, .transferred = {10}};
    struct contract_call start = start_close_call(world, HUB, &key, NULL, &own);
    world_must(world, HUB, &start);
    struct balance_proof proof = proof_of(6, 40, 0, NULL);
    struct contract_call call = challenge_call(world, HUB, &key, &proof);
    add_choice(world, &call, ALICE, &world->people[HUB]);
    world_must(world, HUB, &call);
    uint64_t hub = world_units(world, &world->people[HUB], &COIN), pool = world_pool(world, &COIN);
    finish_after(world, &key);
    /* 60 would be the hub's; it hid 30: Alice has 140 + 27. */
    assert_finished(world, 167, 30, 0, 0, 30, 3);
    assert_int_equal(world_units(world, &world->people[HUB], &COIN), hub + 3);
    assert_int_equal(world_pool(world, &COIN), pool + 30);
}

/* What the hub's share of the channel does not cover comes out of the free pool, as far as it goes. */
static void test_a_hub_pays_its_penalty_from_the_pool(void **state)
{
    struct world *world = *state;
    for (int poor = 0; poor < 2; poor++) {
        struct channel_key key = world_open(world, 100, 150);
        struct balance_proof clients = proof_of(1, 20, 0, NULL);
        struct claim own = {.nonce = 1, .transferred = {5}};
        struct contract_call start = start_close_call(world, HUB, &key, &clients, &own);
        world_must(world, HUB, &start);
        struct balance_proof proof = proof_of(2, 60, 0, NULL);
        struct contract_call call = challenge_call(world, HUB, &key, &proof);
        world_must(world, ALICE, &call);
        uint64_t pool = world_pool(world, &COIN);
        struct contract_call empty = {
            .function = CONTRACT_WITHDRAW_POOL, .to = world->people[HUB], .amount = {pool - 7}};
        if (poor)
            world_must(world, HUB, &empty);
        uint64_t alice = world_units(world, &key.client, &COIN);
        pool = world_pool(world, &COIN);
        finish_after(world, &key);
        /* maxC = 100 - 20 + 60 = 140, free of the hub 10; it hid 55: 45 more from the pool, or the 7 there
         * are. */
        uint64_t from_pool = poor ? 7 : 45;
        assert_finished(world, 140 + 10 + from_pool, 0, 0, 0, 10 + from_pool, 0);
        assert_int_equal(world_pool(world, &COIN), pool - from_pool);
        assert_int_equal(world_units(world, &key.client, &COIN), alice + 150 + from_pool);
    }
}

/* Fraud is what contradicts the claim: newer, more, or other at the same nonce. Less at a lower nonce is a
 * tower's lag. */
static void test_what_is_fraud(void **state)
{
    struct world *world = *state;
    const struct hash root = {{4}}, other = {{5}};
    static const struct {
        uint64_t nonce, transferred, locked;
        bool other_root, fraud;
        uint64_t penalty;
    } rows[] = {
        {5, 30, 10, false, false, 0}, /* the claim itself */
        {6, 30, 10, false, true, 0},  /* newer, hiding nothing */
        {4, 31, 10, false, true, 1},  /* more at a lower nonce: an overstated one */
        {4, 30, 10, true, false, 0},  /* locks hidden behind an overstated nonce: restored, not punished */
        {5, 30, 10, true, true, 10},  /* the same nonce, other locks */
        {5, 30, 9, false, true, 0},   /* the same nonce and root, another sum */
        {5, 29, 10, false, true, 0},  /* it claimed more than it had sent */
        {6, 40, 12, true, true, 22},  /* both */
        {3, 20, 5, true, false, 0},   /* an old proof */
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct claim own = {5, {30}, {10}, root};
        struct channel_key key = closed_by_alice(world, &own, 0);
        struct balance_proof proof =
            proof_of(rows[i].nonce, rows[i].transferred, rows[i].locked, rows[i].other_root ? &other : &root);
        struct contract_call call = challenge_call(world, ALICE, &key, &proof);
        world_must(world, HUB, &call);
        if (closing_of(world, &key).fraud != rows[i].fraud)
            fail_msg("row %zu", i);
        finish_after(world, &key);
        uint64_t held = rows[i].locked, client = 100 - rows[i].transferred - held;
        assert_finished(world, client - rows[i].penalty, 100 + rows[i].transferred + rows[i].penalty, held, 0,
                        rows[i].penalty, 0);
    }
}

/* Judged anew by each challenge: the partner's choice may take a tower's accusation back. */
static void test_fraud_is_judged_anew(void **state)
{
    struct world *world = *state;
    struct claim own = {.nonce = 5, .transferred = {30}};
    struct channel_key key = closed_by_alice(world, &own, 0);
    struct balance_proof newer = proof_of(6, 50, 0, NULL), older = proof_of(5, 30, 0, NULL);
    struct contract_call call = challenge_call(world, ALICE, &key, &newer);
    add_choice(world, &call, HUB, &world->people[TOWER]);
    world_must(world, TOWER, &call);
    assert_true(closing_of(world, &key).fraud);
    call = challenge_call(world, ALICE, &key, &older);
    world_must(world, HUB, &call);
    assert_false(closing_of(world, &key).fraud);
    finish_after(world, &key);
    assert_finished(world, 70, 130, 0, 0, 0, 0);
}

/* ---- voidLocks ---- */

static void test_void_locks_errors_in_order(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 100, 200);
    struct contract_call call = void_call(world, &key, true, 4, ALICE);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_STATUS);
    key = closed_by_alice(world, &nothing_sent, 20);
    world->time = deadline_of(world, &key) + 300;
    call = void_call(world, &key, true, 0, ALICE);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_TOO_LATE);
    world->time--;
    /* The stream's receiver signs: the hub for the client's. */
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_SIGNATURE);
    call = void_call(world, &key, true, 0, HUB);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_NEWER);
    call = void_call(world, &key, true, 4, HUB);
    call.flag = false; /* and the client for the hub's */
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_BAD_SIGNATURE);
    call.flag = true;
    world_must(world, STRANGER, &call);
    EVENTS(world, EVENT_LOCKS_VOIDED);
    assert_true(world_event(world, 0).of_client);
    assert_int_equal(world_event(world, 0).min_nonce, 4);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_NEWER);
    call = void_call(world, &key, true, 3, HUB);
    assert_int_equal(world_call(world, STRANGER, &call), CONTRACT_NOT_NEWER);
    call = void_call(world, &key, false, 4, ALICE);
    world_must(world, STRANGER, &call);
    assert_int_equal(closing_of(world, &key).min_nonce_of_client, 4);
    assert_int_equal(closing_of(world, &key).min_nonce_of_hub, 4);
}

/* A shown proof below the stored nonce has its locks void; one at it, or an unchallenged own, has not. */
static void test_which_locks_are_void(void **state)
{
    struct world *world = *state;
    const struct hash root = {{4}}, own_root = {{5}};
    for (uint64_t min_nonce = 3; min_nonce <= 4; min_nonce++) {
        struct channel_key key = world_open(world, 100, 200);
        struct balance_proof hubs = proof_of(3, 20, 10, &root);
        struct claim own = {2, {0}, {6}, own_root};
        struct contract_call start = start_close_call(world, ALICE, &key, &hubs, &own);
        world_must(world, ALICE, &start);
        struct contract_call of_hub = void_call(world, &key, false, min_nonce, ALICE);
        world_must(world, HUB, &of_hub);
        struct contract_call of_client = void_call(world, &key, true, 9, HUB);
        world_must(world, HUB, &of_client);
        finish_after(world, &key);
        if (min_nonce == 3) /* maxC = 100 - 6 + 20 + 10 */
            assert_finished(world, 114, 70, 6, 10, 0, 0);
        else
            assert_finished(world, 114, 80, 6, 0, 0, 0);
    }
}

/* A challenge shows the closer's stream: then its locks may be void, and hidden ones cost nothing. */
static void test_void_locks_of_a_challenge(void **state)
{
    struct world *world = *state;
    const struct hash root = {{4}};
    for (int voided = 0; voided < 2; voided++) {
        struct channel_key key = closed_by_alice(world, &nothing_sent, 0);
        struct balance_proof proof = proof_of(3, 0, 10, &root);
        struct contract_call call = challenge_call(world, ALICE, &key, &proof);
        world_must(world, HUB, &call);
        struct contract_call revoke = void_call(world, &key, true, 4, HUB);
        if (voided)
            world_must(world, STRANGER, &revoke);
        finish_after(world, &key);
        if (voided)
            assert_finished(world, 100, 100, 0, 0, 0, 0);
        else
            assert_finished(world, 80, 110, 10, 0, 10, 0);
    }
}

/* What is left of wrong numbers is clamped: nobody gets more than there is. */
static void test_clamping(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open(world, 100, 200);
    struct balance_proof hubs = proof_of(9, UINT64_MAX, UINT64_MAX, NULL);
    struct claim own = {9, {UINT64_MAX}, {100}, {{1}}};
    struct contract_call start = start_close_call(world, ALICE, &key, &hubs, &own);
    world_must(world, ALICE, &start);
    finish_after(world, &key);
    assert_finished(world, 0, 0, 0, 200, 0, 0);
    key = world_open(world, 100, 200);
    own = (struct claim){9, {0}, {0}, {{1}}};
    start = start_close_call(world, ALICE, &key, NULL, &own);
    world_must(world, ALICE, &start);
    struct balance_proof all = proof_of(10, UINT64_MAX, 50, NULL);
    struct contract_call call = challenge_call(world, ALICE, &key, &all);
    world_must(world, HUB, &call);
    finish_after(world, &key);
    assert_finished(world, 0, 150, 50, 0, 0, 0);
}

/* A close that pays a token: the Transfer follows Finished; the hub's part moves nothing. */
static void test_tokens_are_paid(void **state)
{
    struct world *world = *state;
    struct channel_key key = world_open_with(world, &world->token, 100, 200);
    struct contract_call start = start_close_call(world, ALICE, &key, NULL, &nothing_sent);
    world_must(world, ALICE, &start);
    finish_after(world, &key);
    EVENTS(world, EVENT_FINISHED, TRANSFER);
    assert_int_equal(world_units(world, &key.client, &world->token), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(test_start_close_errors_in_order),
        world_test(test_start_close_without_a_proof),
        world_test(test_start_close_says_what_stands),
        world_test(test_bad_claim_of_the_hub),
        world_test(test_challenge_errors_in_order),
        world_test(test_challenge_authorities),
        world_test(test_challenge_windows),
        world_test(test_windows_of_an_odd_period),
        world_test(test_honest_close),
        world_test(test_finish_errors_in_order),
        world_test(test_a_client_that_hides_a_payment),
        world_test(test_no_bounty_for_the_victim),
        world_test(test_a_bounty_to_the_hub_is_paid_out),
        world_test(test_a_hub_pays_its_penalty_from_the_pool),
        world_test(test_what_is_fraud),
        world_test(test_fraud_is_judged_anew),
        world_test(test_void_locks_errors_in_order),
        world_test(test_which_locks_are_void),
        world_test(test_void_locks_of_a_challenge),
        world_test(test_clamping),
        world_test(test_tokens_are_paid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
