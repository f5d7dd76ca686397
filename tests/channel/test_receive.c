/* The peer's stream: one test per rule and code; whatever is refused or held changes nothing at all. */
#include "tests/channel/two_sides.h"

#define LATER (PAIR_START + 900)

static struct pair pair;
static struct sent sent, other;

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair);
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* The client's own next update, on its way. */
static void send_pay(uint64_t amount)
{
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(amount, 0)), CODE_OK);
    pair_seal(&pair, SIDE_CLIENT, &sent);
}

static void craft(enum side from, const struct operation *operations, size_t count)
{
    pair_craft(&pair, from, operations, count, &sent);
}

static void test_an_update_is_taken_over(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 50, 2, LATER, 1)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(7, 0)), CODE_OK);
    pair_seal(&pair, SIDE_CLIENT, &sent);
    struct pending_lock touched[2];
    struct channel_view view = pair_view(&pair, SIDE_HUB);
    assert_null(hub->peer_key);
    struct judgement judgement = channel_receive(hub, &view, &sent.update, sent.operations, 2, true, touched);
    assert_int_equal(judgement.verdict, VERDICT_ACCEPTED);
    assert_non_null(hub->peer_key);
    assert_int_equal(touched[0].lock.id, 1);
    assert_int_equal(touched[0].lock.amount.units, 52);
    assert_int_equal(touched[0].fee.units, 2);
    struct payment_id id = payment_number(1), unknown = payment_number(2);
    const struct pending_lock *found = channel_find_payment(hub, SIDE_CLIENT, &id);
    assert_int_equal(found->lock.id, 1);
    assert_null(channel_find_payment(hub, SIDE_HUB, &id));
    assert_null(channel_find_payment(hub, SIDE_CLIENT, &unknown));
    assert_int_equal(hub->streams[SIDE_CLIENT].locked.units, 52);
    assert_int_equal(balance_of(hub, SIDE_CLIENT), 993);

    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(1, 1)), CODE_OK);
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(channel_receive(hub, &view, &sent.update, sent.operations, 1, true, touched).verdict,
                     VERDICT_ACCEPTED);
    assert_int_equal(touched[0].lock.id, 1);
    assert_true(payment_id_equal(&touched[0].payment, &id));
    assert_null(hub->streams[SIDE_CLIENT].locks);
}

static void test_status(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    send_pay(5);
    const uint8_t stages[] = {STAGE_NONE, STAGE_CLOSING, STAGE_CLOSED};
    for (size_t i = 0; i < ARRAY_LENGTH(stages); i++) {
        struct channel_funds funds = pair_funds(PAIR_TOTAL, PAIR_BASE, 0);
        funds.stage = stages[i];
        (void)channel_set_funds(hub, &funds);
        assert_refused(&pair, SIDE_HUB, &sent, CODE_STATUS, 0);
    }
    pair_set_funds(&pair, PAIR_TOTAL, PAIR_BASE, 0);
    hub->stopped = true;
    assert_refused(&pair, SIDE_HUB, &sent, CODE_STATUS, 0);
    hub->stopped = false;
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_nonce(void **state)
{
    (void)state;
    send_pay(5);
    other = sent;
    send_pay(6);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NONCE, 0); /* a gap */
    assert_accepted(&pair, SIDE_HUB, &other);
    assert_accepted(&pair, SIDE_HUB, &sent);
    assert_refused(&pair, SIDE_HUB, &other, CODE_NONCE, 0); /* an older one */
    struct operation pay = op_pay(1, 0);
    craft(SIDE_CLIENT, &pay, 1);
    sent.update.proof.nonce = 0;
    pair_sign(&pair, SIDE_CLIENT, &sent);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NONCE, 0);
    sent.update.proof.nonce = UINT64_MAX;
    pair_sign(&pair, SIDE_CLIENT, &sent);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NONCE, 0);
}

static void test_the_same_again_is_acknowledged_again(void **state)
{
    (void)state;
    send_pay(5);
    assert_accepted(&pair, SIDE_HUB, &sent);
    struct buffer before = pair_snapshot(pair.sides[SIDE_HUB]);
    assert_int_equal(pair_deliver(&pair, SIDE_HUB, &sent).verdict, VERDICT_AGAIN);
    struct buffer after = pair_snapshot(pair.sides[SIDE_HUB]);
    assert_same_bytes(&before, &after);
    /* Any difference is another update with a nonce that is used. */
    other = sent;
    other.update.proof.transferred.units++;
    pair_sign(&pair, SIDE_CLIENT, &other);
    assert_refused(&pair, SIDE_HUB, &other, CODE_NONCE, 0);
    other = sent;
    other.update.proof.body_hash.bytes[0] ^= 1;
    assert_refused(&pair, SIDE_HUB, &other, CODE_NONCE, 0);
    other = sent;
    other.update.signature.bytes[5] ^= 1;
    assert_refused(&pair, SIDE_HUB, &other, CODE_NONCE, 0);
}

static void test_body(void **state)
{
    (void)state;
    send_pay(5);
    other = sent;
    other.body_ok = false;
    other.update.signature.bytes[9] ^= 1; /* BODY is judged before SIGNATURE */
    assert_refused(&pair, SIDE_HUB, &other, CODE_BODY, 0);
    other = sent;
    other.count = 0;
    assert_refused(&pair, SIDE_HUB, &other, CODE_BODY, 0);
    other.count = OPERATIONS_MAX + 1;
    assert_refused(&pair, SIDE_HUB, &other, CODE_BODY, 0);
    struct operation lock = op_lock(1, 5, 0, LATER, 1);
    lock.kind = 2;
    craft(SIDE_CLIENT, &lock, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_BODY, 0);
    struct operation unknown = {.type = (enum operation_type)7};
    craft(SIDE_CLIENT, &unknown, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_BODY, 0);
}

static void test_signature(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) { /* with the peer's key unknown, then known */
        send_pay(5);
        other = sent;
        other.update.signature.bytes[40] ^= 4;
        assert_refused(&pair, SIDE_HUB, &other, CODE_SIGNATURE, 0);
        other = sent;
        pair_sign(&pair, SIDE_HUB, &other); /* not the client's */
        assert_refused(&pair, SIDE_HUB, &other, CODE_SIGNATURE, 0);
        other = sent;
        other.update.proof.body_hash.bytes[31] ^= 1; /* another body */
        assert_refused(&pair, SIDE_HUB, &other, CODE_SIGNATURE, 0);
        other = sent;
        other.update.proof.transferred.units += 1000; /* SIGNATURE is judged before TRANSFERRED */
        assert_refused(&pair, SIDE_HUB, &other, CODE_SIGNATURE, 0);
        sent.update.signature.bytes[32] ^= 0x80; /* the other parity: a hint only */
        assert_accepted(&pair, SIDE_HUB, &sent);
        assert_true((pair.sides[SIDE_HUB]->peer_key != NULL) == (round == 1));
        send_pay(5);
        assert_accepted(&pair, SIDE_HUB, &sent);
        assert_non_null(pair.sides[SIDE_HUB]->peer_key);
    }
}

static void test_lock_id(void **state)
{
    (void)state;
    struct operation first = op_lock(5, 1, 0, LATER, 1);
    craft(SIDE_CLIENT, &first, 1);
    assert_accepted(&pair, SIDE_HUB, &sent); /* ids may skip */
    const uint64_t bad[] = {0, 4, 5, 5 + 1024};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct operation operations[] = {op_pay(1, 0), op_lock(bad[i], 1, 0, LATER, 2)};
        craft(SIDE_CLIENT, operations, 2);
        assert_refused(&pair, SIDE_HUB, &sent, CODE_LOCK_ID, 1);
    }
    /* A place made free in the same update may be taken. */
    struct operation operations[] = {op_unlock(5, 1), op_lock(5 + 1024, 1, 0, LATER, 2)};
    craft(SIDE_CLIENT, operations, 2);
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_no_lock(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 1, 0, LATER, 1));
    const enum operation_type types[] = {OPERATION_UNLOCK, OPERATION_EXPIRE, OPERATION_CANCEL};
    const uint64_t ids[] = {0, 2, 1 + 1024};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        for (size_t j = 0; j < ARRAY_LENGTH(ids); j++) {
            struct operation removal = op_drop(types[i], ids[j]);
            craft(SIDE_CLIENT, &removal, 1);
            assert_refused(&pair, SIDE_HUB, &sent, CODE_NO_LOCK, 0);
        }
    /* Twice in one update. */
    struct operation twice[] = {op_unlock(1, 1), op_unlock(1, 1)};
    craft(SIDE_CLIENT, twice, 2);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NO_LOCK, 1);
}

static void test_witness(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 1, 0, LATER, 1));
    struct operation unlock = op_unlock(1, 2);
    craft(SIDE_CLIENT, &unlock, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_WITNESS, 0);
    unlock.witness.length = 0; /* "registered on the ledger" */
    craft(SIDE_CLIENT, &unlock, 1);
    pair.now = LATER + 1; /* no registration in time can come to light any more */
    assert_refused(&pair, SIDE_HUB, &sent, CODE_WITNESS, 0);
    pair.now = LATER;
    assert_held(&pair, SIDE_HUB, &sent);
    pair_register(&pair, 1, LATER + 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_WITNESS, 0);
    pair.registry[0].time = LATER;
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_attestation_witness(void **state)
{
    (void)state;
    struct hash event = {{0xee}};
    struct address attester = pair.addresses[SIDE_HUB];
    struct operation lock = op_lock(0, 9, 0, LATER, 1);
    lock.kind = LOCK_ATTESTATION;
    lock.condition = condition_of_attestation(&attester, &event);
    pair_exchange(&pair, SIDE_CLIENT, lock);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 1, .witness = {.length = 116}};
    struct hash digest = digest_attestation(&pair.domain, &event);
    struct signature signature = key_sign(&pair.keys[SIDE_HUB], &digest);
    memcpy(unlock.witness.bytes, attester.bytes, 20);
    memcpy(unlock.witness.bytes + 20, event.bytes, 32);
    memcpy(unlock.witness.bytes + 52, signature.bytes, 64);
    unlock.witness.bytes[115] ^= 1;
    craft(SIDE_CLIENT, &unlock, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_WITNESS, 0);
    unlock.witness.bytes[115] ^= 1;
    pair_exchange(&pair, SIDE_CLIENT, unlock);
}

static void test_not_expired(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, 1));
    struct operation expire = op_drop(OPERATION_EXPIRE, 1);
    craft(SIDE_CLIENT, &expire, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NOT_EXPIRED, 0);
    pair.now = LATER - PAIR_MARGIN_S; /* the margin away: further than any node may lag */
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NOT_EXPIRED, 0);
    pair.now = LATER - PAIR_MARGIN_S + 1;
    assert_held(&pair, SIDE_HUB, &sent);
    pair.now = LATER;
    assert_held(&pair, SIDE_HUB, &sent);
    pair_register(&pair, 1, LATER); /* in time */
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NOT_EXPIRED, 0);
    pair.now = LATER + 1;
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NOT_EXPIRED, 0);
    pair.registry[0].time = LATER + 1; /* too late */
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_held_only_if_all_else_is_good(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, 1));
    pair.now = LATER;
    struct operation operations[] = {op_drop(OPERATION_EXPIRE, 1), op_unlock(9, 9)};
    craft(SIDE_CLIENT, operations, 2);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NO_LOCK, 1);
    craft(SIDE_CLIENT, operations, 1);
    sent.update.proof.locked.units++;
    pair_sign(&pair, SIDE_CLIENT, &sent);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_LOCKED, 0);
}

static void test_not_failed(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, 1));
    struct operation cancel = op_drop(OPERATION_CANCEL, 1);
    craft(SIDE_CLIENT, &cancel, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NOT_FAILED, 0);
    struct payment_id id = payment_number(1), unknown = payment_number(2);
    assert_false(channel_mark_failed(pair.sides[SIDE_HUB], &unknown));
    assert_true(channel_mark_failed(pair.sides[SIDE_HUB], &id));
    assert_true(channel_mark_failed(pair.sides[SIDE_HUB], &id));
    assert_accepted(&pair, SIDE_HUB, &sent);
    assert_int_equal(stream_dropped(&pair.sides[SIDE_HUB]->streams[SIDE_CLIENT])->frozen.units, 10);
    assert_int_equal(channel_revocation_due(pair.sides[SIDE_HUB]), 2);
}

static void test_transferred(void **state)
{
    (void)state;
    struct operation pay = op_pay(10, 1);
    const uint64_t wrong[] = {0, 10, 12, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        craft(SIDE_CLIENT, &pay, 1);
        sent.update.proof.transferred.units = wrong[i];
        sent.update.proof.locked.units = 99; /* TRANSFERRED is judged before LOCKED */
        pair_sign(&pair, SIDE_CLIENT, &sent);
        assert_refused(&pair, SIDE_HUB, &sent, CODE_TRANSFERRED, 0);
    }
    /* Sums that reach 2^63, in the operations' place: before what comes after them. */
    struct operation operations[] = {op_pay(1, 0), op_pay(AMOUNT_LIMIT - 1, 0), op_unlock(7, 7)};
    craft(SIDE_CLIENT, operations, 3);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_TRANSFERRED, 1);
    operations[1] = op_pay(UINT64_MAX, UINT64_MAX);
    craft(SIDE_CLIENT, operations, 3);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_TRANSFERRED, 1);
    operations[1] = op_refund(UINT64_MAX);
    craft(SIDE_CLIENT, operations, 3);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_TRANSFERRED, 1);
    /* An unlock may do it too. */
    struct operation first[] = {op_lock(1, 10, 0, LATER, 1)};
    craft(SIDE_CLIENT, first, 1);
    assert_accepted(&pair, SIDE_HUB, &sent);
    struct operation second[] = {op_pay(AMOUNT_LIMIT - 10, 0), op_unlock(1, 1)};
    craft(SIDE_CLIENT, second, 2);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_TRANSFERRED, 1);
}

static void test_locked(void **state)
{
    (void)state;
    struct operation lock = op_lock(1, 10, 1, LATER, 1);
    const uint64_t wrong[] = {0, 10, 12, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        craft(SIDE_CLIENT, &lock, 1);
        sent.update.proof.locked.units = wrong[i];
        sent.update.proof.locks_root = HASH_ZERO; /* LOCKED is judged before ROOT */
        pair_sign(&pair, SIDE_CLIENT, &sent);
        assert_refused(&pair, SIDE_HUB, &sent, CODE_LOCKED, 0);
    }
    struct operation operations[] = {op_lock(1, 1, 0, LATER, 1), op_lock(2, AMOUNT_LIMIT - 2, 1, LATER, 2)};
    craft(SIDE_CLIENT, operations, 2);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_LOCKED, 1);
    operations[1].amount = amount_of(UINT64_MAX);
    craft(SIDE_CLIENT, operations, 2);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_LOCKED, 1);
}

static void test_root(void **state)
{
    (void)state;
    struct operation locks[] = {op_lock(1, 10, 1, LATER, 1), op_lock(2, 2000, 0, LATER, 2)};
    craft(SIDE_CLIENT, locks, 2);
    sent.update.proof.locks_root.bytes[0] ^= 1; /* ROOT is judged before AVAILABLE */
    pair_sign(&pair, SIDE_CLIENT, &sent);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_ROOT, 0);
    /* Also where no lock is touched. */
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, 1));
    struct operation pay = op_pay(1, 0);
    craft(SIDE_CLIENT, &pay, 1);
    sent.update.proof.locks_root = HASH_ZERO;
    pair_sign(&pair, SIDE_CLIENT, &sent);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_ROOT, 0);
}

static void test_available(void **state)
{
    (void)state;
    struct operation pay = op_pay(991, 0);
    craft(SIDE_CLIENT, &pay, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    struct operation lock = op_lock(1, 990, 1, LATER, 1);
    craft(SIDE_CLIENT, &lock, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    /* Judged after the last operation, so a lock may turn into a payment. */
    struct operation operations[] = {op_lock(1, 990, 0, LATER, 1), op_unlock(1, 1)};
    craft(SIDE_CLIENT, operations, 2);
    assert_accepted(&pair, SIDE_HUB, &sent);
    /* The peer is judged with what this side has signed, not with its draft. */
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(100, 0)), CODE_OK);
    pay = op_pay(100, 0);
    craft(SIDE_CLIENT, &pay, 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    pair_seal(&pair, SIDE_HUB, &other);
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_frozen_money_is_not_available(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 900, 0, LATER, 1));
    pair.now = LATER + 1;
    struct operation operations[] = {op_drop(OPERATION_EXPIRE, 1), op_pay(91, 0)};
    craft(SIDE_CLIENT, operations, 2);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    craft(SIDE_CLIENT, operations, 1);
    assert_accepted(&pair, SIDE_HUB, &sent);
    craft(SIDE_CLIENT, &operations[1], 1);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    (void)channel_revoke(pair.sides[SIDE_HUB], &pair.domain, &pair.keys[SIDE_HUB], 2);
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_a_client_holds_what_is_good_by_the_hubs_word(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    struct channel_funds raised = pair_funds(2500, 1000, 0);
    (void)channel_set_funds(pair.sides[SIDE_HUB], &raised);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(900, 0)), CODE_OK);
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_refused(&pair, SIDE_CLIENT, &sent, CODE_AVAILABLE, 0); /* the hub has not even said FUNDED */
    channel_set_told(client, &raised);
    assert_held(&pair, SIDE_CLIENT, &sent);
    (void)channel_set_funds(client, &raised);
    assert_accepted(&pair, SIDE_CLIENT, &sent);
    struct operation pay = op_pay(601, 0);
    craft(SIDE_HUB, &pay, 1);
    assert_refused(&pair, SIDE_CLIENT, &sent, CODE_AVAILABLE, 0); /* more than both allow */
}

/* A hub has nobody's word but the ledger's. */
static void test_a_hub_never_holds_for_funds(void **state)
{
    (void)state;
    struct channel_funds raised = pair_funds(2500, 2000, 0);
    (void)channel_set_funds(pair.sides[SIDE_CLIENT], &raised);
    channel_set_told(pair.sides[SIDE_CLIENT], &raised);
    send_pay(1500);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    (void)channel_set_funds(pair.sides[SIDE_HUB], &raised);
    assert_accepted(&pair, SIDE_HUB, &sent);
}

/* The whole undo: every kind of change, then a rule broken at the end. */
static void test_a_long_update_is_taken_back_whole(void **state)
{
    (void)state;
    static struct operation operations[OPERATIONS_MAX];
    for (uint64_t i = 0; i < LOCKS_PER_STREAM_MAX; i++)
        operations[i] = op_lock(i + 1, 0, 0, i % 2 ? LATER : LATER + 900, (uint32_t)i);
    craft(SIDE_CLIENT, operations, LOCKS_PER_STREAM_MAX);
    assert_accepted(&pair, SIDE_HUB, &sent);
    pair.now = LATER + 1;
    for (uint64_t i = 0; i < 511; i++) {
        operations[2 * i] = i % 2 ? op_drop(OPERATION_EXPIRE, i + 1) : op_unlock(i + 1, (uint32_t)i);
        operations[2 * i + 1] = op_lock(1024 + i + 1, 1, 0, LATER, (uint32_t)i);
    }
    operations[1022] = op_pay(800, 0);
    operations[1023] = op_unlock(9999, 1);
    craft(SIDE_CLIENT, operations, 1024);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_NO_LOCK, 1023);
    craft(SIDE_CLIENT, operations, 1023);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
    operations[1022] = op_pay(400, 0);
    craft(SIDE_CLIENT, operations, 1023);
    assert_accepted(&pair, SIDE_HUB, &sent);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(test_an_update_is_taken_over),
        TEST(test_status),
        TEST(test_nonce),
        TEST(test_the_same_again_is_acknowledged_again),
        TEST(test_body),
        TEST(test_signature),
        TEST(test_lock_id),
        TEST(test_no_lock),
        TEST(test_witness),
        TEST(test_attestation_witness),
        TEST(test_not_expired),
        TEST(test_held_only_if_all_else_is_good),
        TEST(test_not_failed),
        TEST(test_transferred),
        TEST(test_locked),
        TEST(test_root),
        TEST(test_available),
        TEST(test_frozen_money_is_not_available),
        TEST(test_a_client_holds_what_is_good_by_the_hubs_word),
        TEST(test_a_hub_never_holds_for_funds),
        TEST(test_a_long_update_is_taken_back_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
