/* The own stream: drafting, signing, keeping, FAIL and REVOKE from the peer. */
#include "tests/channel/two_sides.h"

#define LATER (PAIR_START + 900)

static struct pair pair;
static struct sent sent;

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

/* Refused by channel_add: the code, and nothing changed, neither on disk nor in the draft. */
static void assert_not_added(enum side side, struct operation operation, enum code code)
{
    struct channel *channel = pair.sides[side];
    struct buffer before = pair_snapshot(channel);
    size_t count_before, count_after;
    (void)channel_draft(channel, &count_before);
    struct amount locked = channel_own(channel)->locked;
    uint64_t last_id = channel_own(channel)->last_lock_id;
    long long available = available_of(channel, side);
    assert_int_equal(pair_add(&pair, side, operation), code);
    (void)channel_draft(channel, &count_after);
    assert_int_equal(count_before, count_after);
    assert_int_equal(channel_own(channel)->locked.units, locked.units);
    assert_int_equal(channel_own(channel)->last_lock_id, last_id);
    assert_int_equal(available_of(channel, side), available);
    struct buffer after = pair_snapshot(channel);
    assert_same_bytes(&before, &after);
}

static void test_status(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    const uint8_t stages[] = {STAGE_NONE, STAGE_CLOSING, STAGE_CLOSED};
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_OK);
    for (size_t i = 0; i < ARRAY_LENGTH(stages); i++) {
        struct channel_funds funds = pair_funds(PAIR_TOTAL, PAIR_BASE, 0);
        funds.stage = stages[i];
        (void)channel_set_funds(client, &funds);
        assert_not_added(SIDE_CLIENT, op_pay(1, 0), CODE_STATUS);
        assert_false(channel_can_seal(client));
    }
    pair_set_funds(&pair, PAIR_TOTAL, PAIR_BASE, 0);
    client->stopped = true;
    assert_not_added(SIDE_CLIENT, op_pay(1, 0), CODE_STATUS);
    assert_false(channel_can_seal(client));
}

static void test_available_ends_at_zero(void **state)
{
    (void)state;
    assert_not_added(SIDE_CLIENT, op_pay(990, 1), CODE_AVAILABLE);
    assert_not_added(SIDE_CLIENT, op_lock(0, 991, 0, LATER, 1), CODE_AVAILABLE);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(900, 0)), CODE_OK);
    assert_not_added(SIDE_CLIENT, op_refund(91), CODE_AVAILABLE);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 89, 1, LATER, 1)), CODE_OK);
    assert_not_added(SIDE_CLIENT, op_pay(1, 0), CODE_AVAILABLE);
    assert_int_equal(available_of(pair.sides[SIDE_CLIENT], SIDE_CLIENT), 0);
    assert_not_added(SIDE_HUB, op_pay(501, 0), CODE_AVAILABLE);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(500, 0)), CODE_OK);
}

static void test_sums_stay_below_the_limit(void **state)
{
    (void)state;
    pair_set_funds(&pair, AMOUNT_LIMIT - 1, INT64_MAX, 0);
    assert_not_added(SIDE_CLIENT, op_pay(AMOUNT_LIMIT, 0), CODE_TRANSFERRED);
    assert_not_added(SIDE_CLIENT, op_pay(UINT64_MAX, UINT64_MAX), CODE_TRANSFERRED);
    assert_not_added(SIDE_CLIENT, op_refund(AMOUNT_LIMIT), CODE_TRANSFERRED);
    assert_not_added(SIDE_CLIENT, op_lock(0, AMOUNT_LIMIT - 1, 1, LATER, 1), CODE_LOCKED);
    /* Money that goes round and round: transferred may reach the limit though the funds are there. */
    uint64_t half = (uint64_t)1 << 62;
    pair_exchange(&pair, SIDE_CLIENT, op_pay(half, 0));
    pair_exchange(&pair, SIDE_HUB, op_pay(half, 0));
    assert_not_added(SIDE_CLIENT, op_pay(half, 0), CODE_TRANSFERRED);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(half - 1, 0)), CODE_OK);
    assert_not_added(SIDE_CLIENT, op_pay(1, 0), CODE_TRANSFERRED);
}

static void test_lock_ids_are_chosen_by_free_place(void **state)
{
    (void)state;
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    struct pending_lock touched;
    struct operation lock = op_lock(777, 1, 0, LATER, 1);
    assert_int_equal(channel_add(pair.sides[SIDE_CLIENT], &view, &lock, &touched), CODE_OK);
    assert_int_equal(touched.lock.id, 1);
    assert_int_equal(touched.lock.amount.units, 1);
    assert_true(payment_id_equal(&touched.payment, &lock.id));
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(sent.operations[0].lock_id, 1);
    assert_accepted(&pair, SIDE_HUB, &sent);
    /* All places taken, then one free: its next id. */
    for (uint32_t i = 0; i < LOCKS_PER_STREAM_MAX - 1; i++) {
        assert_int_equal(pair_add(&pair, SIDE_HUB, op_lock(0, 0, 0, LATER, i)), CODE_OK);
        if (i % 400 == 399 || i == LOCKS_PER_STREAM_MAX - 2) {
            pair_seal(&pair, SIDE_HUB, &sent);
            assert_accepted(&pair, SIDE_CLIENT, &sent);
        }
    }
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_lock(0, 0, 0, LATER, 5000)), CODE_OK);
    assert_not_added(SIDE_HUB, op_lock(0, 0, 0, LATER, 5001), CODE_LIMIT);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_unlock(7, 6)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_lock(0, 0, 0, LATER, 5001)), CODE_OK);
    assert_int_equal(channel_own(pair.sides[SIDE_HUB])->last_lock_id, 1024 + 7);
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_accepted(&pair, SIDE_CLIENT, &sent);
}

static void test_draft_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_drop(OPERATION_REFUND, 0)), CODE_OK);
    assert_not_added(SIDE_CLIENT, op_pay(1, 0), CODE_LIMIT);
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(sent.count, OPERATIONS_MAX);
    assert_accepted(&pair, SIDE_HUB, &sent);

    static const char memo[MEMO_BYTES_MAX + 1];
    struct operation pay = op_pay(0, 0);
    pay.memo = (struct text){memo, MEMO_BYTES_MAX + 1};
    assert_not_added(SIDE_CLIENT, pay, CODE_LIMIT);
    pay.memo.length = MEMO_BYTES_MAX;
    size_t added = 0;
    while (pair_add(&pair, SIDE_CLIENT, pay) == CODE_OK)
        added++;
    assert_true(added * (MEMO_BYTES_MAX + 80) <= BODY_BYTES_MAX &&
                (added + 1) * (MEMO_BYTES_MAX + 120) > BODY_BYTES_MAX);
    assert_not_added(SIDE_CLIENT, pay, CODE_LIMIT);
}

static void test_the_draft_keeps_its_own_memos(void **state)
{
    (void)state;
    char memo[] = "two coffees";
    struct operation pay = op_pay(5, 1);
    pay.memo = (struct text){memo, strlen(memo)};
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, pay), CODE_OK);
    memset(memo, 'x', sizeof(memo));
    size_t count;
    const struct operation *draft = channel_draft(pair.sides[SIDE_CLIENT], &count);
    assert_int_equal(count, 1);
    assert_int_equal(draft[0].memo.length, 11);
    assert_memory_equal(draft[0].memo.data, "two coffees", 11);
    assert_int_equal(draft[0].amount.units, 5);
}

static void test_removals_need_their_reasons(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    for (uint32_t i = 1; i <= 4; i++)
        pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10 * i, 0, LATER, i));
    assert_not_added(SIDE_CLIENT, op_unlock(9, 1), CODE_NO_LOCK);
    assert_not_added(SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 9), CODE_NO_LOCK);
    assert_not_added(SIDE_CLIENT, op_drop(OPERATION_CANCEL, 1 + 1024), CODE_NO_LOCK);
    assert_not_added(SIDE_CLIENT, op_unlock(1, 2), CODE_WITNESS);
    struct operation empty = op_unlock(1, 1);
    empty.witness.length = 0;
    assert_not_added(SIDE_CLIENT, empty, CODE_WITNESS);
    assert_not_added(SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2), CODE_NOT_EXPIRED);
    assert_not_added(SIDE_CLIENT, op_drop(OPERATION_CANCEL, 3), CODE_NOT_FAILED);

    pair_register(&pair, 1, LATER);     /* the last moment in time */
    pair_register(&pair, 2, LATER + 1); /* too late */
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, empty), CODE_OK);
    empty.lock_id = 2;
    assert_not_added(SIDE_CLIENT, empty, CODE_WITNESS);
    pair.now = LATER;
    assert_not_added(SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2), CODE_NOT_EXPIRED);
    pair.now = LATER + 1;
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(3, 3)),
                     CODE_OK); /* a known secret is good at any time */
    struct payment_id fourth = payment_number(4), unknown = payment_number(44);
    assert_null(channel_fail_received(client, &unknown));
    assert_true(channel_fail_received(client, &fourth)->failed);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_drop(OPERATION_CANCEL, 4)), CODE_OK);
    assert_int_equal(channel_own(client)->locked.units, 0);
    assert_null(channel_own(client)->locks);
    assert_int_equal(available_of(client, SIDE_CLIENT), 990 - 100); /* all moved or frozen */
}

static void test_expire_of_a_lock_registered_in_time(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, 1));
    pair_register(&pair, 1, LATER);
    pair.now = LATER + 5000;
    assert_not_added(SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 1), CODE_NOT_EXPIRED);
}

static void test_dropped_money_is_frozen_until_revoke(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT], *hub = pair.sides[SIDE_HUB];
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 100, 0, LATER, 1));
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 200, 0, LATER, 2));
    pair.now = LATER + 1;
    pair_exchange(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 1));
    pair_exchange(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2));
    assert_int_equal(stream_dropped(channel_own(client))->frozen.units, 300);
    assert_int_equal(available_of(client, SIDE_CLIENT), 690);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 690);
    assert_int_equal(channel_revocation_due(hub), 4);
    assert_int_equal(channel_revocation_due(client), 0);

    struct amount freed;
    struct signature third = channel_revoke(hub, &pair.domain, &pair.keys[SIDE_HUB], 3);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 790);
    assert_int_equal(channel_revocation_due(hub), 4);
    struct signature fourth = channel_revoke(hub, &pair.domain, &pair.keys[SIDE_HUB], 4);
    assert_int_equal(channel_revocation_due(hub), 0);

    struct buffer before = pair_snapshot(client);
    assert_int_equal(channel_revocation_received(client, &view, 5, &fourth, &freed), CODE_NONCE);
    assert_int_equal(channel_revocation_received(client, &view, 4, &third, &freed), CODE_SIGNATURE);
    struct buffer after = pair_snapshot(client);
    assert_same_bytes(&before, &after);
    assert_int_equal(channel_revocation_received(client, &view, 3, &third, &freed), CODE_OK);
    assert_int_equal(freed.units, 100);
    assert_int_equal(channel_revocation_received(client, &view, 4, &fourth, NULL), CODE_OK);
    assert_int_equal(available_of(client, SIDE_CLIENT), 990);
    before = pair_snapshot(client); /* repeated and older ones are ignored, whatever their signature */
    assert_int_equal(channel_revocation_received(client, &view, 4, &third, &freed), CODE_OK);
    assert_int_equal(freed.units, 0);
    assert_int_equal(channel_revocation_received(client, &view, 3, &third, &freed), CODE_OK);
    after = pair_snapshot(client);
    assert_same_bytes(&before, &after);
}

static void test_revoke_while_a_draft_drops_more(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT], *hub = pair.sides[SIDE_HUB];
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 100, 0, LATER, 1));
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 200, 0, LATER, 2));
    pair.now = LATER + 1;
    pair_exchange(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 1));
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2)), CODE_OK);
    struct signature revocation = channel_revoke(hub, &pair.domain, &pair.keys[SIDE_HUB], 3);
    assert_int_equal(channel_revocation_received(client, &view, 3, &revocation, NULL), CODE_OK);
    assert_int_equal(available_of(client, SIDE_CLIENT), 790);
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(stream_dropped(channel_own(client))->frozen.units, 200);
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_updates_are_kept_until_acknowledged(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    assert_false(channel_can_seal(client));
    for (uint64_t nonce = 1; nonce <= UNACKNOWLEDGED_MAX; nonce++) {
        assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_OK);
        assert_true(channel_has_draft(client) && channel_can_seal(client));
        pair_seal(&pair, SIDE_CLIENT, &sent);
        assert_false(channel_has_draft(client));
    }
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_OK);
    assert_false(channel_can_seal(client)); /* the 65th waits */
    for (uint64_t nonce = 1; nonce <= UNACKNOWLEDGED_MAX; nonce++) {
        const struct kept_update *kept = channel_kept(client, nonce);
        assert_int_equal(kept->proof.nonce, nonce);
        assert_int_equal(load_be64(kept->body), nonce);
    }
    assert_null(channel_kept(client, 0));
    assert_null(channel_kept(client, UNACKNOWLEDGED_MAX + 1));
    assert_int_equal(channel_acknowledged(client, UNACKNOWLEDGED_MAX + 1), CODE_NONCE);
    assert_int_equal(channel_acknowledged(client, 40), CODE_OK);
    assert_int_equal(channel_acknowledged(client, 12), CODE_OK); /* older: nothing */
    assert_null(channel_kept(client, 40));
    assert_int_equal(channel_kept(client, 41)->proof.nonce, 41);
    assert_true(channel_can_seal(client));
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(channel_acknowledged(client, UNACKNOWLEDGED_MAX + 1), CODE_OK);
    assert_null(client->kept);
}

static void test_one_signature_for_a_whole_draft(void **state)
{
    (void)state;
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 30, 0, LATER, 1)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(5, 1)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 40, 0, LATER, 2)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(1, 1)), CODE_OK);
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(sent.update.proof.nonce, 1);
    assert_int_equal(sent.update.proof.transferred.units, 36);
    assert_int_equal(sent.update.proof.locked.units, 40);
    struct hash body_hash = keccak256(sent.body, sizeof(sent.body));
    assert_true(hash_equal(&sent.update.proof.body_hash, &body_hash));
    assert_accepted(&pair, SIDE_HUB, &sent);
}

static void test_a_dropped_draft_leaves_no_trace(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    for (uint32_t i = 1; i <= 3; i++)
        pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10, 0, LATER, i));
    struct buffer before = pair_snapshot(client);
    pair.now = LATER + 1;
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(1, 1)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 7, 0, LATER + 900, 9)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_unlock(4, 9)), CODE_OK);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 1)), CODE_OK);
    /* A FAIL for what the peer cannot have seen means nothing. */
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_lock(0, 7, 0, LATER + 900, 10)), CODE_OK);
    struct payment_id drafted = payment_number(10);
    assert_null(channel_fail_received(client, &drafted));
    channel_drop_draft(client);
    channel_drop_draft(client);
    assert_false(channel_has_draft(client));
    struct buffer after = pair_snapshot(client);
    assert_same_bytes(&before, &after);
    pair_exchange(&pair, SIDE_CLIENT, op_unlock(2, 2));
    assert_int_equal(channel_own(client)->locked.units, 20);
}

static void test_settled_amounts_are_not_available(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    assert_int_equal(channel_propose(hub, amount_of(0), amount_of(450), pair.now + 100, false), CODE_OK);
    assert_not_added(SIDE_HUB, op_pay(51, 0), CODE_AVAILABLE);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(50, 0)), CODE_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(test_status),
        TEST(test_available_ends_at_zero),
        TEST(test_sums_stay_below_the_limit),
        TEST(test_lock_ids_are_chosen_by_free_place),
        TEST(test_draft_limits),
        TEST(test_the_draft_keeps_its_own_memos),
        TEST(test_removals_need_their_reasons),
        TEST(test_expire_of_a_lock_registered_in_time),
        TEST(test_dropped_money_is_frozen_until_revoke),
        TEST(test_revoke_while_a_draft_drops_more),
        TEST(test_updates_are_kept_until_acknowledged),
        TEST(test_one_signature_for_a_whole_draft),
        TEST(test_a_dropped_draft_leaves_no_trace),
        TEST(test_settled_amounts_are_not_available),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
