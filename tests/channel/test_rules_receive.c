/* Judging the peer's updates: one test for each rule of section 5's order and its code. A forger signs what
 * an honest sender would not; whatever is not accepted leaves every byte of the channel as it was. */
#include "tests/channel/judged.h"

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

/* ---- status ---- */

static void test_status_comes_first(void **state)
{
    (void)state;
    for (int from = 0; from < 2; from++) {
        enum side to = side_other((enum side)from);
        struct sent sent = forge_one(&pair, (enum side)from, pay_of(1, 0));
        sent.update.proof.nonce = 9; /* wrong nonce and signature as well */
        struct channel_funds open = pair.sides[to]->funds;
        for (int stage = STAGE_CLOSING; stage <= STAGE_CLOSED; stage++) {
            struct channel_funds funds = open;
            funds.stage = (uint8_t)stage;
            channel_set_funds(pair.sides[to], &funds);
            assert_refused(&pair, to, &sent, CODE_STATUS);
        }
        channel_set_funds(pair.sides[to], &open);
        pair.sides[to]->stopped = true;
        assert_refused(&pair, to, &sent, CODE_STATUS);
        pair.sides[to]->stopped = false;
        assert_refused(&pair, to, &sent, CODE_NONCE);
    }
}

static void test_a_channel_the_own_node_has_not_seen_open(void **state)
{
    (void)state;
    struct sent of_client = forge_one(&pair, C, pay_of(1, 0)), of_hub = forge_one(&pair, H, pay_of(1, 0));
    struct channel_funds none = {0}, open = pair.sides[C]->funds;
    channel_set_funds(pair.sides[H], &none);
    assert_refused(&pair, H, &of_client, CODE_STATUS);
    channel_set_funds(pair.sides[C], &none);
    assert_held(&pair, C, &of_hub, CODE_STATUS);
    pair.sides[C]->stopped = true;
    assert_refused(&pair, C, &of_hub, CODE_STATUS);
    pair.sides[C]->stopped = false;
    channel_set_told(pair.sides[C], &none);
    assert_refused(&pair, C, &of_hub, CODE_STATUS);
    channel_set_told(pair.sides[C], &open);
    channel_set_funds(pair.sides[C], &open);
    assert_accepted(&pair, C, &of_hub);
}

/* ---- nonce ---- */

static void test_nonce_is_the_next_one(void **state)
{
    (void)state;
    pass(&pair, C, pay_of(5, 0));
    struct sent sent = forge_one(&pair, C, pay_of(1, 0));
    const uint64_t wrong[] = {0, 1, 3, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        sent.update.proof.nonce = wrong[i];
        sent.count = 0; /* a wrong body as well */
        assert_refused(&pair, H, &sent, CODE_NONCE);
    }
}

static void test_an_update_accepted_before_is_taken_again(void **state)
{
    (void)state;
    assert_int_equal(add(&pair, C, pay_of(5, 1)), CODE_OK);
    struct sent sent = seal(&pair, C);
    assert_accepted(&pair, H, &sent);
    assert_judged(&pair, H, &sent, VERDICT_AGAIN, CODE_OK);
    struct sent other = sent;
    other.update.signature.bytes[5] ^= 1;
    assert_refused(&pair, H, &other, CODE_NONCE);
    other = sent;
    other.update.proof.transferred.units++;
    sign_again(&pair, C, &other);
    assert_refused(&pair, H, &other, CODE_NONCE);
    other = sent;
    other.update.proof.body_hash.bytes[0] ^= 1;
    sign_again(&pair, C, &other);
    assert_refused(&pair, H, &other, CODE_NONCE);
    pass(&pair, C, pay_of(1, 0));
    assert_refused(&pair, H, &sent, CODE_NONCE); /* only the newest is known */
}

/* Nonce 0 is "none yet", not an update that was accepted. */
static void test_the_empty_proof_is_no_update(void **state)
{
    (void)state;
    struct sent sent = {.update = {.channel = pair.sides[C]->id}};
    assert_refused(&pair, H, &sent, CODE_NONCE);
}

/* ---- body ---- */

static void test_body(void **state)
{
    (void)state;
    struct sent sent = forge_one(&pair, C, pay_of(1, 0));
    struct sent bad = sent;
    memset(&bad.update.signature, 0, sizeof(bad.update.signature)); /* BODY comes before SIGNATURE */
    bad.count = 0;
    assert_refused(&pair, H, &bad, CODE_BODY);
    bad.count = OPERATIONS_MAX + 1;
    assert_refused(&pair, H, &bad, CODE_BODY);
    struct judgement judgement = channel_receive(pair.sides[H], &pair.nodes[H].view, &bad.update,
                                                 bad.operations, 1, false, pair.touched);
    assert_int_equal(judgement.verdict, VERDICT_REFUSED);
    assert_int_equal(judgement.code, CODE_BODY);
    struct operation lock = lock_of(1, 10, 0, NOW + 5000);
    lock.kind = LOCK_ATTESTATION + 1;
    assert_op_refused(&pair, C, lock, CODE_BODY);
    struct operation unknown = {.type = (enum operation_type)9};
    assert_op_refused(&pair, C, unknown, CODE_BODY);
    assert_accepted(&pair, H, &sent);
}

/* ---- signature ---- */

static void check_signature_rule(enum side from)
{
    enum side to = side_other(from);
    struct sent good = forge_one(&pair, from, pay_of(3, 0)), bad = good;
    sign_again(&pair, to, &bad); /* by the wrong side */
    assert_refused(&pair, to, &bad, CODE_SIGNATURE);
    bad = good;
    bad.update.proof.transferred.units++; /* not what was signed; TRANSFERRED would come later */
    assert_refused(&pair, to, &bad, CODE_SIGNATURE);
    bad = good;
    memset(&bad.update.signature, 0, sizeof(bad.update.signature));
    assert_refused(&pair, to, &bad, CODE_SIGNATURE);
    bad = good; /* of another channel */
    struct hash other_channel = keccak256("x", 1);
    struct hash digest = digest_balance_proof(&pair.domain, &other_channel, &good.update.proof);
    bad.update.signature = key_sign(&pair.keys[from], &digest);
    assert_refused(&pair, to, &bad, CODE_SIGNATURE);
    struct domain other_domain = domain_make(1, &pair.domain.contract); /* of another ledger */
    digest = digest_balance_proof(&other_domain, &pair.sides[to]->id, &good.update.proof);
    bad.update.signature = key_sign(&pair.keys[from], &digest);
    assert_refused(&pair, to, &bad, CODE_SIGNATURE);
    assert_accepted(&pair, to, &good);
}

/* The first good signature gives the peer's key, from then on it is used: both ways judge alike. */
static void test_signature_is_the_senders(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        check_signature_rule(C);
        check_signature_rule(H);
        assert_true(pair.sides[C]->peer_key != NULL && pair.sides[H]->peer_key != NULL);
    }
}

static void test_the_parity_bit_is_a_hint(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct sent sent = forge_one(&pair, C, pay_of(3, 0));
        sent.update.signature.bytes[32] ^= 0x80;
        assert_accepted(&pair, H, &sent);
    }
}

/* ---- operations ---- */

static void test_the_first_broken_operation_gives_the_code(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(0, 10, 0, NOW + 5000));
    struct operation operations[] = {pay_of(1, 0), unlock_of(1, 1), removal_of(OPERATION_CANCEL, 1),
                                     removal_of(OPERATION_EXPIRE, 77)};
    struct operation late[] = {pay_of(1, 0), pay_of(1, 0), removal_of(OPERATION_EXPIRE, 1),
                               lock_of(1, 1, 0, NOW)};
    struct sent sent = forge(&pair, C, operations, ARRAY_LENGTH(operations));
    sent.update.proof.transferred.units += 5; /* sums come after the operations */
    sign_again(&pair, C, &sent);
    struct judgement judgement = judged(&pair, H, &sent);
    assert_int_equal(judgement.verdict, VERDICT_REFUSED);
    assert_int_equal(judgement.code, CODE_WITNESS); /* the lock's number is 0 */
    assert_int_equal(judgement.operation, 1);
    sent = forge(&pair, C, late, ARRAY_LENGTH(late));
    judgement = judged(&pair, H, &sent);
    assert_int_equal(judgement.code, CODE_NOT_EXPIRED);
    assert_int_equal(judgement.operation, 2);
}

static void test_lock_ids_grow(void **state)
{
    (void)state;
    struct sent far = forge_one(&pair, C, lock_of(40, 10, 0, NOW + 5000));
    assert_op_refused(&pair, C, lock_of(0, 1, 0, NOW + 5000), CODE_LOCK_ID);
    assert_accepted(&pair, H, &far); /* they may skip */
    assert_op_refused(&pair, C, lock_of(40, 1, 0, NOW + 5000), CODE_LOCK_ID);
    assert_op_refused(&pair, C, lock_of(39, 1, 0, NOW + 5000), CODE_LOCK_ID);
    assert_op_refused(&pair, C, lock_of(40 + LOCKS_PER_STREAM_MAX, 1, 0, NOW + 5000),
                      CODE_LOCK_ID); /* taken */
    struct operation within[] = {lock_of(42, 1, 0, NOW + 5000), lock_of(41, 1, 0, NOW + 5000)};
    struct sent sent = forge(&pair, C, within, 2);
    assert_refused(&pair, H, &sent, CODE_LOCK_ID);
    struct operation free_and_take[] = {unlock_of(40, 40),
                                        lock_of(40 + LOCKS_PER_STREAM_MAX, 1, 0, NOW + 5000)};
    sent = forge(&pair, C, free_and_take, 2);
    assert_accepted(&pair, H, &sent);
    /* An id once used is never good again, though its lock is gone. */
    assert_op_refused(&pair, C, lock_of(41, 1, 0, NOW + 5000), CODE_LOCK_ID);
}

static void test_no_such_lock(void **state)
{
    (void)state;
    pass(&pair, C, lock_of(0, 10, 0, NOW + 5000));
    const uint64_t ids[] = {0, 2, 1 + LOCKS_PER_STREAM_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        assert_op_refused(&pair, C, unlock_of(ids[i], 0), CODE_NO_LOCK);
        assert_op_refused(&pair, C, removal_of(OPERATION_EXPIRE, ids[i]), CODE_NO_LOCK);
        assert_op_refused(&pair, C, removal_of(OPERATION_CANCEL, ids[i]), CODE_NO_LOCK);
    }
    struct operation twice[] = {unlock_of(1, 0), unlock_of(1, 0)};
    struct sent sent = forge(&pair, C, twice, 2);
    assert_refused(&pair, H, &sent, CODE_NO_LOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_comes_first, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_a_channel_the_own_node_has_not_seen_open, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_nonce_is_the_next_one, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_an_update_accepted_before_is_taken_again, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_the_empty_proof_is_no_update, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_body, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_signature_is_the_senders, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_the_parity_bit_is_a_hint, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_the_first_broken_operation_gives_the_code, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_lock_ids_grow, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_no_such_lock, open_pair, close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
