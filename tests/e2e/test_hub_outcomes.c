/* The hub as a process, spoken to by hand: the rules about locks, and payments that are accepted but failed or refunded,
 * each with its code. */
#include "tests/e2e/hub_pair.h"

/* ---- locks ---- */

static const uint8_t secret[32] = {1, 2, 3, 4};

static void test_rules_about_locks(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 500, &condition);
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    wire_settle_down(payer);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    const struct seen *seen = wire_operation(payee, OPERATION_LOCK, &id);
    assert_int_equal(seen->operation.amount.units, 500);
    assert_int_equal(seen->operation.expiry, lock.expiry);
    uint64_t held = 500 + lock.fee.units, lock_id = pending.lock.id;

    struct operation again = payment_of(payer, payee, OPERATION_LOCK, 500, &condition);
    again.lock_id = lock_id; /* does not grow */
    refused(payer, forge(payer, &again, 1, 0, held), CODE_LOCK_ID);
    again.lock_id = lock_id + LOCKS_PER_STREAM_MAX; /* its place is taken */
    refused(payer, forge(payer, &again, 1, 0, held), CODE_LOCK_ID);
    struct operation change = {.type = OPERATION_UNLOCK, .lock_id = lock_id + 1};
    refused(payer, forge(payer, &change, 1, held, 0), CODE_NO_LOCK);
    change.type = OPERATION_EXPIRE;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NO_LOCK);
    change.type = OPERATION_CANCEL;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NO_LOCK);
    change.lock_id = lock_id;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NOT_FAILED);
    change.type = OPERATION_EXPIRE;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NOT_EXPIRED);
    change.type = OPERATION_UNLOCK;
    change.witness = (struct witness){.length = WITNESS_SECRET_BYTES, .bytes = {9}};
    refused(payer, forge(payer, &change, 1, held, 0), CODE_WITNESS);

    struct operation largest = payment_of(payer, payee, OPERATION_LOCK, AMOUNT_LIMIT - 1, &condition);
    largest.lock_id = lock_id + 1;
    refused(payer, forge(payer, &largest, 1, 0, 0), CODE_LOCKED);

    /* The lock has come through all of that, and pays. */
    wire_reveal(payee, &id, secret);
    const struct seen *shown = wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    change.witness = shown->revealed.witness;
    assert_memory_equal(change.witness.bytes, secret, sizeof secret);
    wire_do(payer, &change, NULL);
    (void)wire_operation(payee, OPERATION_UNLOCK, NULL);
    shown_as_known(payer);
    shown_as_known(payee);
    assert_int_equal(channel_own(payer->channel)->proof.transferred.units, held);
    assert_int_equal(channel_peer(payee->channel)->proof.transferred.units, 500);
}

static void test_a_wrong_witness_is_an_error_and_the_right_one_counts(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation pay = payment_of(payer, payee, OPERATION_PAY, 70, &condition);
    const uint8_t wrong[32] = {5};
    wire_do(payer, &pay, NULL);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &pay.id);
    (void)wire_operation(payee, OPERATION_PAY, &id);
    wire_reveal(payee, &id, wrong);
    const struct seen *seen = wire_expect(payee, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_WITNESS);
    assert_false(seen->message.error.fatal);
    assert_int_equal(seen->message.error.reference.type, MESSAGE_REVEAL);
    assert_true(seen->message.error.reference.has_id &&
                payment_id_equal(&seen->message.error.reference.id, &id));
    wire_reveal(payee, &id, secret);
    assert_memory_equal(wire_wait(payer, false, MESSAGE_REVEAL, &pay.id)->revealed.witness.bytes, secret,
                        sizeof secret);
}

/* A lock that its payee fails: cancelled, revoked, and only then failed towards the payer, with the payee's code. */
static void test_a_payee_fails_a_lock(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 600, &condition);
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    (void)wire_operation(payee, OPERATION_LOCK, &id);
    assert_true(channel_mark_failed(payee->channel, &id));
    wire_fail(payee, &id, CODE_INVOICE);
    (void)wire_operation(payee, OPERATION_CANCEL, NULL);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_INVOICE);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = pending.lock.id};
    wire_do(payer, &cancel, NULL);
    const struct seen *revoke = wire_expect(payer, MESSAGE_REVOKE);
    assert_int_equal(revoke->message.revoke.min_nonce, channel_own(payer->channel)->proof.nonce);
    assert_int_equal(stream_dropped(channel_own(payer->channel))->frozen.units, 0);
    still_good(world, 40);
    shown_as_known(payer);
    shown_as_known(payee);
}

/* The id of a lock that still stands comes a second time: the second lock fails, the first stays what it was. */
static void test_a_repeated_lock_fails_and_the_first_stands(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 500, &condition);
    struct pending_lock first, second;
    wire_do(payer, &lock, &first);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    (void)wire_operation(payee, OPERATION_LOCK, &id);
    wire_do(payer, &lock, &second);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_DUPLICATE);
    wire_settle_down(payer);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = first.lock.id};
    refused(payer, forge(payer, &cancel, 1, 0, 0), CODE_NOT_FAILED);
    wire_reveal(payee, &id, secret);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = first.lock.id};
    unlock.witness = (struct witness){.length = WITNESS_SECRET_BYTES};
    memcpy(unlock.witness.bytes, secret, sizeof secret);
    wire_do(payer, &unlock, NULL);
    wire_settle_down(payer);
    (void)wire_operation(payee, OPERATION_UNLOCK, NULL);
}

/* A payer that gives the hub a lock and unlocks it in the same update has made the hub a present, if the lock was one
 * that must fail. */
static void test_a_lock_unlocked_in_its_own_update(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct hash condition = condition_of_secret(secret);
    struct pending_lock touched;
    struct operation both[2] = {payment_of(payer, world->payee, OPERATION_LOCK, 99, &condition)};
    both[1] = (struct operation){.type = OPERATION_UNLOCK, .lock_id = 1};
    both[1].witness = (struct witness){.length = WITNESS_SECRET_BYTES};
    memcpy(both[1].witness.bytes, secret, sizeof secret);
    wire_send_kept(payer, wire_seal(payer, both, 2, &touched));
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &both[0].id)->failed.code, CODE_AMOUNT);
    wire_settle_down(payer);
    still_good(world, 10);
    shown_as_known(payer);
}

/* ---- accepted, and sent back ---- */

static void expect_refund(struct wire_client *payer, const struct operation *pay, enum code code)
{
    const struct seen *seen = wire_operation(payer, OPERATION_REFUND, &pay->id);
    if (seen->operation.code != code)
        fail_msg("refunded with %s, not %s", code_name(seen->operation.code), code_name(code));
    assert_int_equal(seen->operation.amount.units, pay->amount.units + pay->fee.units);
}

static void refunded(struct wire_client *payer, const struct operation *pay, enum code code)
{
    wire_do(payer, pay, NULL);
    expect_refund(payer, pay, code);
}

static void test_refunds(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct wire_client nobody = {.address = {{1}}};
    uint64_t now = block_time(world->stage);
    struct operation pay = payment_of(payer, payee, OPERATION_PAY, 0, &no_condition);
    refunded(payer, &pay, CODE_AMOUNT);
    pay = payment_of(payer, payee, OPERATION_PAY, 10, &no_condition);
    pay.expiry = now + 500; /* less than min_expiry_s */
    refunded(payer, &pay, CODE_EXPIRED);
    pay = payment_of(payer, payee, OPERATION_PAY, 10, &no_condition);
    pay.expiry = now + 90000; /* more than max_expiry_s */
    refunded(payer, &pay, CODE_EXPIRED);
    pay = payment_of(payer, &nobody, OPERATION_PAY, 10, &no_condition);
    refunded(payer, &pay, CODE_PAYEE);
    pay = payment_of(payer, payer, OPERATION_PAY, 10, &no_condition);
    refunded(payer, &pay, CODE_PAYEE);
    pay = payment_of(payer, payee, OPERATION_PAY, 1000, &no_condition);
    pay.fee.units--;
    refunded(payer, &pay, CODE_FEE);
    pay = payment_of(payer, payee, OPERATION_PAY, ROOM + 1, &no_condition);
    refunded(payer, &pay, CODE_ROOM);

    pay = payment_of(payer, payee, OPERATION_PAY, 50, &no_condition);
    wire_do(payer, &pay, NULL);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &pay.id);
    (void)wire_operation(payee, OPERATION_PAY, &id);
    refunded(payer, &pay, CODE_DUPLICATE);
    /* The payee sends it back: fee and all. */
    struct operation back = {.type = OPERATION_REFUND, .id = id, .amount = amount_of(50), .code = CODE_PAID};
    wire_do(payee, &back, NULL);
    expect_refund(payer, &pay, CODE_PAID);
    wire_settle_down(payer);
    wide balance = channel_balance(payer->channel, SIDE_CLIENT);
    assert_true(balance == (wide)DEPOSIT);
    shown_as_known(payer);
    shown_as_known(payee);
}

static void test_an_absent_payee_has_only_so_many_waiting(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct operation pays[WAITING_MAX + 1];
    struct payment_id id;
    wire_leave(payee);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (hub_figure(world->stage, "clients_online") != 1 && clock_monotonic_us() < end_us)
        turn(world->stage);
    for (size_t i = 0; i <= WAITING_MAX; i++) {
        pays[i] = payment_of(payer, payee, OPERATION_PAY, 20 + i, &no_condition);
        wire_do(payer, &pays[i], NULL);
    }
    expect_refund(payer, &pays[WAITING_MAX], CODE_LIMIT);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 500, &no_condition);
    wire_do(payer, &lock, NULL);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_OFFLINE);
    wire_connect(payee);
    for (size_t i = 0; i < WAITING_MAX; i++) {
        id = payment_id_of_payee(&payer->channel->id, &pays[i].id);
        assert_int_equal(wire_operation(payee, OPERATION_PAY, &id)->operation.amount.units, 20 + i);
    }
}

/* Sends a lock that must fail with this code, and takes it back. */
static void failed(struct wire_client *payer, const struct operation *lock, enum code code)
{
    struct pending_lock pending;
    wire_do(payer, lock, &pending);
    const struct seen *seen = wire_wait(payer, false, MESSAGE_FAIL, &lock->id);
    if (seen->failed.code != code)
        fail_msg("failed with %s, not %s", code_name(seen->failed.code), code_name(code));
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = pending.lock.id};
    wire_do(payer, &cancel, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
}

static void test_locks_that_fail_at_once(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct wire_client nobody = {.address = {{1}}};
    uint64_t now = block_time(world->stage);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 99, &no_condition);
    failed(payer, &lock, CODE_AMOUNT);
    lock = payment_of(payer, payee, OPERATION_LOCK, 20001, &no_condition);
    failed(payer, &lock, CODE_AMOUNT);
    lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
    lock.expiry = now + 500;
    failed(payer, &lock, CODE_EXPIRED);
    lock = payment_of(payer, &nobody, OPERATION_LOCK, 200, &no_condition);
    failed(payer, &lock, CODE_PAYEE);
    lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
    lock.fee.units--;
    failed(payer, &lock, CODE_FEE);
    lock = payment_of(payer, payee, OPERATION_LOCK, ROOM + 1, &no_condition);
    failed(payer, &lock, CODE_ROOM);
    for (unsigned i = 0; i < LOCKS_PER_PAYER; i++) {
        lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
        wire_do(payer, &lock, NULL);
    }
    lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
    failed(payer, &lock, CODE_LIMIT);
    shown_as_known(payer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_rules_about_locks),
        PAIR_TEST(test_a_wrong_witness_is_an_error_and_the_right_one_counts),
        PAIR_TEST(test_a_payee_fails_a_lock),
        PAIR_TEST(test_a_repeated_lock_fails_and_the_first_stands),
        PAIR_TEST(test_a_lock_unlocked_in_its_own_update),
        PAIR_TEST(test_refunds),
        PAIR_TEST(test_an_absent_payee_has_only_so_many_waiting),
        PAIR_TEST(test_locks_that_fail_at_once),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
