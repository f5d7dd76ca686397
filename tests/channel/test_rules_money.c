/* Judging the peer's updates, continued: what ends a lock, the sums and the root, what is available, and what
 * a view of the ledger that lags behind can only hold. */
#include "tests/channel/judged.h"

#define EXPIRY (NOW + 5000u)

static struct pair pair;

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair, 100000, 50000);
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* ---- witnesses ---- */

static void test_a_secret_unlocks(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 10, 2, EXPIRY));
    struct operation unlock = unlock_of(1, 2);
    assert_op_refused(&pair, C, unlock, CODE_WITNESS);
    unlock = unlock_of(1, 1);
    unlock.witness.length = WITNESS_ATTESTATION_BYTES;
    assert_op_refused(&pair, C, unlock, CODE_WITNESS);
    struct sent sent = forge_one(&pair, C, unlock_of(1, 1));
    pair_set_time(&pair, EXPIRY + 100000); /* whatever the time: it is the sender's own money */
    assert_accepted(&pair, H, &sent);
    assert_int_equal(channel_peer(pair.sides[H])->proof.transferred.units, 12);
    assert_int_equal(channel_peer(pair.sides[H])->locked.units, 0);
    assert_int_equal(pair.touched[0].lock.id, 1);
    assert_int_equal(pair.touched[0].fee.units, 2);
}

static void test_an_attestation_unlocks(void **state)
{
    (void)state;
    struct secret_key attester_key;
    memset(attester_key.bytes, 7, sizeof(attester_key.bytes));
    struct address attester = secret_key_address(&attester_key);
    struct hash event_id = keccak256("event", 5), other_id = keccak256("other", 5);
    struct operation lock = lock_of(1, 10, 0, EXPIRY);
    lock.kind = LOCK_ATTESTATION;
    lock.condition = condition_of_attestation(&attester, &event_id);
    pass(&pair, H, lock);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 1};
    unlock.witness.length = WITNESS_ATTESTATION_BYTES;
    memcpy(unlock.witness.bytes, attester.bytes, 20);
    memcpy(unlock.witness.bytes + 20, event_id.bytes, 32);
    struct hash digest = digest_attestation(&pair.domain, &other_id);
    struct signature signature = key_sign(&attester_key, &digest);
    memcpy(unlock.witness.bytes + 52, signature.bytes, 64);
    assert_op_refused(&pair, H, unlock, CODE_WITNESS);
    digest = digest_attestation(&pair.domain, &event_id);
    signature = key_sign(&attester_key, &digest);
    memcpy(unlock.witness.bytes + 52, signature.bytes, 64);
    struct sent sent = forge_one(&pair, H, unlock);
    assert_accepted(&pair, C, &sent);
}

/* Registered by the expiry in the own view: good. Not there: held while the view may still show it, then
 * wrong. */
static void test_an_empty_witness_needs_a_registration(void **state)
{
    (void)state;
    struct operation unlock = removal_of(OPERATION_UNLOCK, 1);
    pass(&pair, C, lock_of(1, 10, 0, EXPIRY));
    struct sent sent = forge_one(&pair, C, unlock);
    assert_held(&pair, H, &sent, CODE_WITNESS);
    pair_set_time(&pair, EXPIRY);
    assert_held(&pair, H, &sent, CODE_WITNESS);
    pair_set_time(&pair, EXPIRY + 1);
    assert_refused(&pair, H, &sent, CODE_WITNESS);
    struct hash condition = condition_of(1);
    node_register(&pair.nodes[H], &condition, EXPIRY + 1);
    assert_refused(&pair, H, &sent, CODE_WITNESS);
    pair.nodes[H].times[0] = EXPIRY;
    assert_accepted(&pair, H, &sent);
}

static void test_a_late_registration_is_no_witness(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 10, 0, EXPIRY));
    struct hash condition = condition_of(1);
    node_register(&pair.nodes[H], &condition,
                  EXPIRY + 1); /* shown while the own time lags: it can only be late */
    assert_op_refused(&pair, C, removal_of(OPERATION_UNLOCK, 1), CODE_WITNESS);
}

/* ---- dropping ---- */

static void test_expire_waits_for_the_own_clock(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 10, 0, EXPIRY));
    struct sent sent = forge_one(&pair, C, removal_of(OPERATION_EXPIRE, 1));
    pair_set_time(&pair, EXPIRY - MARGIN_S);
    assert_refused(&pair, H, &sent, CODE_NOT_EXPIRED);
    pair_set_time(&pair, EXPIRY - MARGIN_S + 1); /* the own node lags by less than the margin */
    assert_held(&pair, H, &sent, CODE_NOT_EXPIRED);
    pair_set_time(&pair, EXPIRY);
    assert_held(&pair, H, &sent, CODE_NOT_EXPIRED);
    struct sent wrong = sent; /* what is wrong besides is said at once */
    wrong.update.proof.transferred.units++;
    sign_again(&pair, C, &wrong);
    assert_refused(&pair, H, &wrong, CODE_TRANSFERRED);
    pair_set_time(&pair, EXPIRY + 1);
    assert_accepted(&pair, H, &sent);
    assert_int_equal(stream_dropped(channel_peer(pair.sides[H]))->frozen.units, 10);
}

static void test_expire_of_what_was_registered(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 10, 0, EXPIRY));
    struct sent sent = forge_one(&pair, C, removal_of(OPERATION_EXPIRE, 1));
    struct hash condition = condition_of(1);
    node_register(&pair.nodes[H], &condition, EXPIRY);
    pair_set_time(&pair, EXPIRY); /* early, but for once no view that is newer can help */
    assert_refused(&pair, H, &sent, CODE_NOT_EXPIRED);
    pair_set_time(&pair, EXPIRY + 9999);
    assert_refused(&pair, H, &sent, CODE_NOT_EXPIRED);
    pair.nodes[H].times[0] = EXPIRY + 1; /* too late: it counts for nothing */
    assert_accepted(&pair, H, &sent);
}

static void test_cancel_needs_the_receivers_fail(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 10, 0, EXPIRY));
    pass(&pair, C, lock_of(2, 20, 0, EXPIRY));
    struct sent sent = forge_one(&pair, C, removal_of(OPERATION_CANCEL, 1));
    assert_refused(&pair, H, &sent, CODE_NOT_FAILED);
    struct payment_id unknown = payment_of(99), other = payment_of(2), one = payment_of(1);
    assert_false(channel_mark_failed(pair.sides[H], &unknown));
    assert_true(channel_mark_failed(pair.sides[H], &other));
    assert_refused(&pair, H, &sent, CODE_NOT_FAILED);
    pair_set_time(&pair, EXPIRY + 9999); /* expired is not failed */
    assert_refused(&pair, H, &sent, CODE_NOT_FAILED);
    assert_true(channel_mark_failed(pair.sides[H], &one));
    assert_true(channel_mark_failed(pair.sides[H], &one));
    assert_accepted(&pair, H, &sent);
    assert_false(channel_mark_failed(pair.sides[H], &one));
}

/* ---- sums and root ---- */

static void test_sums_stay_below_the_limit(void **state)
{
    (void)state;
    assert_op_refused(&pair, C, pay_of(AMOUNT_LIMIT, 0), CODE_TRANSFERRED);
    assert_op_refused(&pair, C, pay_of(AMOUNT_LIMIT - 1, 1), CODE_TRANSFERRED);
    assert_op_refused(&pair, C, pay_of(UINT64_MAX, 1), CODE_TRANSFERRED);
    assert_op_refused(&pair, C, refund_of(UINT64_MAX), CODE_TRANSFERRED);
    assert_op_refused(&pair, C, lock_of(1, UINT64_MAX, 1, EXPIRY), CODE_LOCKED);
    assert_op_refused(&pair, C, lock_of(1, AMOUNT_LIMIT - 1, 1, EXPIRY), CODE_LOCKED);
    assert_op_refused(&pair, C, lock_of(1, AMOUNT_LIMIT - 1, 0, EXPIRY), CODE_AVAILABLE);
    struct operation both[] = {pay_of(AMOUNT_LIMIT - 1, 0), pay_of(1, 0)};
    struct sent sent = forge(&pair, C, both, 2);
    struct judgement judgement = judged(&pair, H, &sent);
    assert_int_equal(judgement.code, CODE_TRANSFERRED);
    assert_int_equal(judgement.operation, 1);
    struct operation locks[] = {lock_of(1, AMOUNT_LIMIT - 1, 0, EXPIRY), lock_of(2, 1, 0, EXPIRY)};
    sent = forge(&pair, C, locks, 2);
    assert_refused(&pair, H, &sent, CODE_LOCKED);
}

static void test_sums_and_root_follow_from_the_operations(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 10, 0, EXPIRY));
    struct operation operations[] = {pay_of(1, 1), lock_of(7, 5, 0, EXPIRY), unlock_of(1, 1)};
    struct sent good = forge(&pair, C, operations, 3), bad;
    for (int delta = -1; delta <= 1; delta += 2) {
        bad = good;
        bad.update.proof.locks_root.bytes[31] ^= 1;
        bad.update.proof.locked.units += (uint64_t)(int64_t)delta;
        bad.update.proof.transferred.units += (uint64_t)(int64_t)delta;
        sign_again(&pair, C, &bad);
        assert_refused(&pair, H, &bad, CODE_TRANSFERRED);
        bad.update.proof.transferred = good.update.proof.transferred;
        sign_again(&pair, C, &bad);
        assert_refused(&pair, H, &bad, CODE_LOCKED);
        bad.update.proof.locked = good.update.proof.locked;
        sign_again(&pair, C, &bad);
        assert_refused(&pair, H, &bad, CODE_ROOT);
    }
    assert_accepted(&pair, H, &good);
    bad = forge_one(&pair, C, pay_of(1, 0)); /* no lock changes: the root stays */
    bad.update.proof.locks_root = HASH_ZERO;
    sign_again(&pair, C, &bad);
    assert_refused(&pair, H, &bad, CODE_ROOT);
}

/* ---- available ---- */

static void test_available_ends_at_zero_or_above(void **state)
{
    (void)state;
    /* The client keeps 1 % of 100,000; the hub has no reserve. */
    assert_op_refused(&pair, C, pay_of(99001, 0), CODE_AVAILABLE);
    assert_op_refused(&pair, C, pay_of(99000, 1), CODE_AVAILABLE);
    assert_op_refused(&pair, C, lock_of(1, 99000, 1, EXPIRY), CODE_AVAILABLE);
    assert_op_refused(&pair, H, refund_of(50001), CODE_AVAILABLE);
    struct operation two[] = {pay_of(50000, 0), lock_of(1, 49001, 0, EXPIRY)};
    struct sent sent = forge(&pair, C, two, 2);
    assert_refused(&pair, H, &sent, CODE_AVAILABLE);
    two[1].amount.units--;
    sent = forge(&pair, C, two, 2);
    assert_accepted(&pair, H, &sent);
    assert_true(channel_available(pair.sides[H], C) == 0);
    assert_op_refused(&pair, C, pay_of(1, 0), CODE_AVAILABLE);
    sent = forge_one(&pair, C, unlock_of(1, 1)); /* lowers nothing */
    assert_accepted(&pair, H, &sent);
}

/* What is judged by is what the receiver has signed, not what it has drafted. */
static void test_available_counts_the_receivers_newest_proof(void **state)
{
    (void)state;
    struct sent sent = forge_one(&pair, C, pay_of(99100, 0));
    assert_int_equal(add(&pair, H, pay_of(100, 0)), CODE_OK);
    assert_refused(&pair, H, &sent, CODE_AVAILABLE);
    (void)seal(&pair, H);
    assert_accepted(&pair, H, &sent);
}

static void test_a_raise_of_the_reserve_never_counts_against_what_is_signed(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(1, 99000, 0, EXPIRY));
    pair.sides[H]->reserve_bps = 200;
    assert_true(channel_available(pair.sides[H], C) == -1000);
    assert_op_refused(&pair, C, pay_of(1, 0), CODE_AVAILABLE);
    struct sent sent = forge_one(&pair, C, pay_of(0, 0));
    assert_accepted(&pair, H, &sent);
    sent = forge_one(&pair, C, unlock_of(1, 1));
    assert_accepted(&pair, H, &sent);
}

static void test_a_negative_base_has_no_reserve(void **state)
{
    (void)state;
    struct channel_funds funds = funds_of(40000, -10000, 0);
    pair_set_funds(&pair, &funds);
    assert_int_equal(channel_reserve(pair.sides[H]).units, 0);
    assert_true(channel_available(pair.sides[H], C) == -10000);
    struct sent sent = forge_one(&pair, H, pay_of(15000, 0));
    assert_accepted(&pair, C, &sent);
    assert_int_equal(add(&pair, H, pay_of(15000, 0)), CODE_OK);
    (void)seal(&pair, H);
    assert_op_refused(&pair, C, pay_of(5001, 0), CODE_AVAILABLE);
    sent = forge_one(&pair, C, pay_of(5000, 0));
    assert_accepted(&pair, H, &sent);
}

static void test_a_client_holds_what_the_hubs_word_allows(void **state)
{
    (void)state;
    struct sent sent = forge_one(&pair, H, pay_of(60000, 0)), more = forge_one(&pair, H, pay_of(60001, 0));
    struct channel_funds raised = funds_of(160000, 100000, 0);
    assert_refused(&pair, C, &sent, CODE_AVAILABLE);
    channel_set_told(pair.sides[C], &raised);
    assert_held(&pair, C, &sent, CODE_AVAILABLE);
    assert_refused(&pair, C, &more, CODE_AVAILABLE);
    channel_set_funds(pair.sides[C], &raised);
    assert_accepted(&pair, C, &sent);
}

/* ---- drops ---- */

static void test_what_is_dropped_stays_frozen_until_it_is_revoked(void **state)
{
    (void)state;
    assert_int_equal(channel_revocation_due(pair.sides[H]), 0);
    pass(&pair, C, lock_of(1, 60000, 0, EXPIRY));
    pass(&pair, C, lock_of(2, 0, 0, EXPIRY));
    pair_set_time(&pair, EXPIRY + 1);
    pass(&pair, C, removal_of(OPERATION_EXPIRE, 1));
    assert_int_equal(channel_revocation_due(pair.sides[H]), 3);
    assert_true(channel_available(pair.sides[H], C) == 39000);
    assert_op_refused(&pair, C, pay_of(39001, 0), CODE_AVAILABLE);
    pass(&pair, C, removal_of(OPERATION_EXPIRE, 2)); /* of nothing: it is dropped all the same */
    assert_int_equal(channel_revocation_due(pair.sides[H]), 4);
    struct signature signature = channel_revoke(pair.sides[H], &pair.domain, &pair.keys[H], 3);
    struct hash digest = digest_revocation(&pair.domain, &pair.sides[H]->id, 3);
    assert_true(signature_is_by(&signature, &digest, &pair.addresses[H]));
    assert_int_equal(stream_dropped(channel_peer(pair.sides[H]))->revoked_nonce, 3);
    assert_int_equal(channel_revocation_due(pair.sides[H]), 4);
    assert_true(channel_available(pair.sides[H], C) == 99000);
    (void)channel_revoke(pair.sides[H], &pair.domain, &pair.keys[H], 4);
    assert_int_equal(channel_revocation_due(pair.sides[H]), 0);
}

/* Nobody makes a receiver remember drops without bound: the next waits for its REVOKE. */
static void test_too_many_drops_wait(void **state)
{
    (void)state;
    struct operation pairs[] = {lock_of(0, 1, 0, NOW - 10), removal_of(OPERATION_EXPIRE, 0)};
    for (uint64_t id = 1; id <= 1024; id++) {
        pairs[0].lock_id = pairs[1].lock_id = id;
        struct sent sent = forge(&pair, C, pairs, 2);
        assert_accepted(&pair, H, &sent);
    }
    assert_int_equal(stream_dropped(channel_peer(pair.sides[H]))->frozen.units, 1024);
    pairs[0].lock_id = pairs[1].lock_id = 1025;
    struct sent sent = forge(&pair, C, pairs, 2);
    assert_held(&pair, H, &sent, CODE_LIMIT);
    struct sent harmless = forge_one(&pair, C, pay_of(1, 0));
    (void)channel_revoke(pair.sides[H], &pair.domain, &pair.keys[H], 1);
    assert_accepted(&pair, H, &sent);
    assert_refused(&pair, H, &harmless, CODE_NONCE);
    harmless = forge_one(&pair, C, pay_of(1, 0)); /* what drops nothing never waits */
    assert_accepted(&pair, H, &harmless);
}

/* The same bound for who sends: it never makes what the receiver would hold. */
static void test_a_sender_drops_no_more_than_may_wait(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 1024; i++) {
        pass(&pair, C, lock_of(i, 1, 0, NOW - 10));
        pass(&pair, C, removal_of(OPERATION_EXPIRE, i));
    }
    pass(&pair, C, lock_of(1025, 1, 0, NOW - 10));
    assert_int_equal(add(&pair, C, removal_of(OPERATION_EXPIRE, 1025)), CODE_LIMIT);
    assert_int_equal(add(&pair, C, pay_of(1, 0)), CODE_OK);
    struct signature signature = channel_revoke(pair.sides[H], &pair.domain, &pair.keys[H], 2);
    assert_int_equal(channel_revocation_received(pair.sides[C], &pair.nodes[C].view, 2, &signature, NULL),
                     CODE_OK);
    assert_int_equal(add(&pair, C, removal_of(OPERATION_EXPIRE, 1025)), CODE_OK);
}

/* ---- a signed close ---- */

/* It gives the client all the rest, so what is deposited meanwhile is the client's already: to pay with it
 * too would be to spend it twice, at the hub's cost. */
static void test_a_deposit_during_a_signed_close_is_not_to_be_spent(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[H], *client = pair.sides[C];
    struct signature signature;
    assert_int_equal(channel_propose(hub, amount_of(100000), amount_of(50000), NOW + 1000, true), CODE_OK);
    assert_int_equal(channel_settle_sign(client, &pair.nodes[C].view, channel_settlement(hub), amount_of(0),
                                         true, WINDOW_S, &pair.keys[C], &signature),
                     CODE_OK);
    assert_int_equal(channel_settle_signed(hub, &pair.nodes[H].view, 1, &signature), CODE_OK);
    struct channel_funds deposited = funds_of(170000, 120000, 0);
    pair_set_funds(&pair, &deposited);
    assert_true(channel_available(hub, C) <= 0 && channel_available(client, C) <= 0);
    assert_true(channel_available(hub, H) == 0 && channel_available(client, H) == 0);
    assert_int_equal(add(&pair, C, pay_of(1, 0)), CODE_AVAILABLE);
    assert_op_refused(&pair, C, pay_of(1, 0), CODE_AVAILABLE);
    assert_op_refused(&pair, H, pay_of(1, 0), CODE_AVAILABLE);
    /* Dead, it holds nothing back. */
    client->settlement->said_dead = true;
    assert_true(channel_settle_expire(hub, NOW + 1001) && channel_settle_expire(client, NOW + 1001));
    assert_true(channel_available(hub, C) == 118800 && channel_available(client, C) == 118800);
}

/* An unknown payee, a past expiry, amount zero, a refund of nothing: not reasons to refuse an update. */
static void test_what_is_no_rule(void **state)
{
    (void)state;
    struct operation operations[] = {pay_of(0, 0), lock_of(1, 0, 0, 0), refund_of(0), refund_of(5),
                                     pay_of(0, 7)};
    struct sent sent = forge(&pair, C, operations, ARRAY_LENGTH(operations));
    assert_accepted(&pair, H, &sent);
    assert_int_equal(channel_peer(pair.sides[H])->proof.transferred.units, 12);
}

int main(void)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        WITH_PAIR(test_a_secret_unlocks),
        WITH_PAIR(test_an_attestation_unlocks),
        WITH_PAIR(test_an_empty_witness_needs_a_registration),
        WITH_PAIR(test_a_late_registration_is_no_witness),
        WITH_PAIR(test_expire_waits_for_the_own_clock),
        WITH_PAIR(test_expire_of_what_was_registered),
        WITH_PAIR(test_cancel_needs_the_receivers_fail),
        WITH_PAIR(test_sums_stay_below_the_limit),
        WITH_PAIR(test_sums_and_root_follow_from_the_operations),
        WITH_PAIR(test_available_ends_at_zero_or_above),
        WITH_PAIR(test_available_counts_the_receivers_newest_proof),
        WITH_PAIR(test_a_raise_of_the_reserve_never_counts_against_what_is_signed),
        WITH_PAIR(test_a_negative_base_has_no_reserve),
        WITH_PAIR(test_a_client_holds_what_the_hubs_word_allows),
        WITH_PAIR(test_what_is_dropped_stays_frozen_until_it_is_revoked),
        WITH_PAIR(test_too_many_drops_wait),
        WITH_PAIR(test_a_sender_drops_no_more_than_may_wait),
        WITH_PAIR(test_a_deposit_during_a_signed_close_is_not_to_be_spent),
        WITH_PAIR(test_what_is_no_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
