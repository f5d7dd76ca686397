/* What is whose: balances, reserve, the ledger's word and the hub's. */
#include "tests/channel/two_sides.h"

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

static void test_a_new_channel_has_nothing(void **state)
{
    (void)state;
    struct channel_key key = {.salt = 1};
    struct channel *channel = channel_new(&key, SIDE_CLIENT, PAIR_RESERVE_BPS);
    struct hash id = channel_id(&key);
    assert_true(hash_equal(&channel->id, &id));
    assert_int_equal(balance_of(channel, SIDE_CLIENT), 0);
    assert_int_equal(balance_of(channel, SIDE_HUB), 0);
    assert_int_equal(channel->funds.stage, STAGE_NONE);
    assert_int_equal(channel_revocation_due(channel), 0);
    assert_null(channel_kept(channel, 1));
    channel_free(channel);
    channel_free(NULL);
}

static void test_balances_follow_both_streams(void **state)
{
    (void)state;
    assert_int_equal(balance_of(pair.sides[SIDE_HUB], SIDE_CLIENT), 1000);
    assert_int_equal(balance_of(pair.sides[SIDE_HUB], SIDE_HUB), 500);
    pair_exchange(&pair, SIDE_CLIENT, op_pay(300, 2));
    pair_exchange(&pair, SIDE_HUB, op_pay(100, 0));
    pair_exchange(&pair, SIDE_HUB, op_lock(0, 40, 0, PAIR_START + 900, 1));
    for (int side = 0; side < 2; side++) {
        assert_int_equal(balance_of(pair.sides[side], SIDE_CLIENT), 1000 - 302 + 100);
        assert_int_equal(balance_of(pair.sides[side], SIDE_HUB), 500 + 302 - 100);
        assert_int_equal(available_of(pair.sides[side], SIDE_CLIENT), 1000 - 302 + 100 - 10);
        assert_int_equal(available_of(pair.sides[side], SIDE_HUB), 500 + 302 - 100 - 40);
    }
}

static void test_reserve_only_of_a_client_with_base_above_zero(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    assert_int_equal(channel_reserve(hub).units, 10);
    pair_set_funds(&pair, 1500, 199, 0);
    assert_int_equal(channel_reserve(hub).units, 1); /* rounded down */
    pair_set_funds(&pair, 1500, 99, 0);
    assert_int_equal(channel_reserve(hub).units, 0);
    pair_set_funds(&pair, 1500, -700, 0);
    assert_int_equal(channel_reserve(hub).units, 0);
    assert_int_equal(available_of(hub, SIDE_CLIENT), -700);
    assert_int_equal(available_of(hub, SIDE_HUB), 2200);
    pair_set_funds(&pair, AMOUNT_LIMIT - 1, INT64_MAX, 0);
    assert_int_equal(channel_reserve(hub).units, (AMOUNT_LIMIT - 1) / 100);
}

static void test_a_draft_counts_for_oneself_but_not_for_the_peer(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(120, 0)), CODE_OK);
    assert_int_equal(available_of(hub, SIDE_HUB), 380);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 990); /* not 1110 */
    assert_int_equal(balance_of(hub, SIDE_HUB), 500);
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 1110);
    assert_int_equal(balance_of(hub, SIDE_HUB), 380);
}

static void test_a_client_spends_the_smaller_of_ledger_and_hubs_word(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    struct channel_funds raised = pair_funds(3500, 3000, 0);
    assert_false(
        channel_set_funds(client, &raised)); /* the ledger shows a deposit, the hub has not said FUNDED */
    assert_int_equal(available_of(client, SIDE_CLIENT), 990);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(991, 0)), CODE_AVAILABLE);
    channel_set_told(client, &raised);
    assert_int_equal(available_of(client, SIDE_CLIENT), 3000 - 30);
    struct channel_funds more = pair_funds(9500, 9000, 0);
    channel_set_told(client, &more); /* the hub is ahead */
    assert_int_equal(available_of(client, SIDE_CLIENT), 3000 - 30);
}

static void test_a_word_that_cannot_be_is_ignored(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT];
    struct buffer before = pair_snapshot(client);
    struct channel_funds impossible = pair_funds(AMOUNT_LIMIT, 1000, 0);
    channel_set_told(client, &impossible);
    impossible = pair_funds(UINT64_MAX, INT64_MIN, UINT32_MAX);
    channel_set_told(client, &impossible);
    impossible = pair_funds(1, 1, 1);
    impossible.stage = 4;
    channel_set_told(client, &impossible);
    struct buffer after = pair_snapshot(client);
    assert_same_bytes(&before, &after);
    impossible =
        pair_funds(AMOUNT_LIMIT - 1, INT64_MIN, UINT32_MAX); /* a lie, but one that can be computed with */
    channel_set_told(client, &impossible);
    assert_true(channel_available(client, SIDE_CLIENT) < 0);
    assert_int_equal(available_of(client, SIDE_HUB), 500);
}

static void test_a_raised_reserve_takes_nothing_back(void **state)
{
    (void)state;
    pair_exchange(&pair, SIDE_CLIENT, op_pay(990, 0));
    pair.sides[SIDE_HUB]->reserve_bps = pair.sides[SIDE_CLIENT]->reserve_bps = 500;
    assert_int_equal(available_of(pair.sides[SIDE_HUB], SIDE_CLIENT), -40);
    /* What does not lower it further is sent and accepted. */
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_AVAILABLE);
    pair_exchange(&pair, SIDE_CLIENT, op_pay(0, 0));
    struct operation pay = op_pay(1, 0);
    pair_craft(&pair, SIDE_CLIENT, &pay, 1, &sent);
    assert_refused(&pair, SIDE_HUB, &sent, CODE_AVAILABLE, 0);
}

static void test_an_idle_channel_is_small(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 40, 1, PAIR_START + 900, 1));
        uint64_t id = channel_own(pair.sides[SIDE_CLIENT])->last_lock_id;
        pair_exchange(&pair, SIDE_CLIENT, op_unlock(id, 1));
        pair_exchange(&pair, SIDE_HUB, op_pay(41, 0));
    }
    for (int side = 0; side < 2; side++) {
        struct channel *channel = pair.sides[side];
        struct buffer batch = {0};
        channel_write(channel, &batch);
        buffer_free(&batch);
        assert_true(sizeof(*channel) <= 576);
        assert_null(channel->settlement);
        assert_null(channel->kept);
        assert_null(channel->draft);
        assert_null(channel->dirty_places);
        assert_null(channel->streams[0].locks);
        assert_null(channel->streams[1].locks);
        assert_null(channel->streams[0].dropped);
        assert_null(channel->streams[1].dropped);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_channel_has_nothing),
        cmocka_unit_test_setup_teardown(test_balances_follow_both_streams, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_reserve_only_of_a_client_with_base_above_zero, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_a_draft_counts_for_oneself_but_not_for_the_peer, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_a_client_spends_the_smaller_of_ledger_and_hubs_word, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_a_word_that_cannot_be_is_ignored, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_a_raised_reserve_takes_nothing_back, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_an_idle_channel_is_small, open_pair, close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
