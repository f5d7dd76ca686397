/* Settlements: section 8's rules for the hub that proposes and the client that signs. */
#include "tests/channel/two_sides.h"

#define LATER    (PAIR_START + 900)
#define DEADLINE (PAIR_START + 1000)

static struct pair pair;
static struct sent sent;
static struct channel *client, *hub;

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair);
    client = pair.sides[SIDE_CLIENT];
    hub = pair.sides[SIDE_HUB];
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

static enum code propose(uint64_t client_out, uint64_t hub_out, bool close)
{
    return channel_propose(hub, amount_of(client_out), amount_of(hub_out), DEADLINE, close);
}

static void assert_not_proposed(uint64_t client_out, uint64_t hub_out, bool close, enum code code)
{
    struct buffer before = pair_snapshot(hub);
    assert_int_equal(propose(client_out, hub_out, close), code);
    struct buffer after = pair_snapshot(hub);
    assert_same_bytes(&before, &after);
}

static enum code sign(const struct settlement *proposal, uint64_t wanted, bool wants_close,
                      struct signature *out)
{
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    return channel_settle_sign(client, &view, proposal, amount_of(wanted), wants_close, PAIR_WINDOW_S,
                               &pair.keys[SIDE_CLIENT], out);
}

static void assert_not_signed(const struct settlement *proposal, uint64_t wanted, bool wants_close)
{
    struct signature signature;
    struct buffer before = pair_snapshot(client);
    assert_int_equal(sign(proposal, wanted, wants_close, &signature), CODE_SETTLE);
    struct buffer after = pair_snapshot(client);
    assert_same_bytes(&before, &after);
}

static enum code signed_by_client(uint32_t seq, const struct signature *signature)
{
    struct channel_view view = pair_view(&pair, SIDE_HUB);
    return channel_settle_signed(hub, &view, seq, signature);
}

static void assert_sign_refused_by_hub(uint32_t seq, const struct signature *signature)
{
    struct buffer before = pair_snapshot(hub);
    assert_int_equal(signed_by_client(seq, signature), CODE_SETTLE);
    struct buffer after = pair_snapshot(hub);
    assert_same_bytes(&before, &after);
}

/* From a proposal to both sides SIGNED. */
static void settle(uint64_t client_out, uint64_t hub_out, bool close)
{
    struct signature signature;
    assert_int_equal(propose(client_out, hub_out, close), CODE_OK);
    assert_int_equal(sign(channel_settlement(hub), client_out, close, &signature), CODE_OK);
    assert_int_equal(signed_by_client(channel_settlement(hub)->seq, &signature), CODE_OK);
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_SIGNED);
}

static struct settlement proposal_of(uint64_t client_out, uint64_t hub_out)
{
    return (struct settlement){.phase = SETTLEMENT_PROPOSED,
                               .seq = 1,
                               .client_out = amount_of(client_out),
                               .hub_out = amount_of(hub_out),
                               .deadline = DEADLINE};
}

static void test_what_counts_when(void **state)
{
    (void)state;
    struct signature signature;
    assert_int_equal(propose(300, 200, false), CODE_OK);
    assert_int_equal(channel_settlement(hub)->seq, 1);
    assert_int_equal(available_of(hub, SIDE_HUB), 300);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 990); /* clientOut only from the signature on */
    assert_int_equal(sign(channel_settlement(hub), 300, false, &signature), CODE_OK);
    assert_int_equal(available_of(client, SIDE_HUB), 300);
    assert_int_equal(available_of(client, SIDE_CLIENT), 690);
    assert_int_equal(signed_by_client(1, &signature), CODE_OK);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 690);
    assert_int_equal(balance_of(hub, SIDE_CLIENT), 1000); /* not paid yet */

    struct channel_funds after = pair_funds(1000, 700, 1);
    assert_true(channel_set_funds(hub, &after));
    assert_false(channel_set_funds(hub, &after));
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_NONE);
    assert_int_equal(balance_of(hub, SIDE_CLIENT), 700);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 693);
    assert_int_equal(available_of(hub, SIDE_HUB), 300);
}

static void test_whichever_sees_it_settled_first(void **state)
{
    (void)state;
    struct channel_funds after = pair_funds(1000, 700, 1);
    settle(300, 200, false);
    /* The hub says it before the client's node shows it: nothing is counted twice. */
    channel_set_told(client, &after);
    assert_int_equal(available_of(client, SIDE_CLIENT), 690);
    assert_int_equal(available_of(client, SIDE_HUB), 300);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(300, 0)), CODE_OK);
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_accepted(&pair, SIDE_CLIENT, &sent);
    assert_true(channel_set_funds(client, &after));
    assert_int_equal(available_of(client, SIDE_CLIENT), 993);
    assert_true(channel_set_funds(hub, &after));

    /* The client's node shows the next one before the hub says it: the hub may still judge by what was
     * before. */
    settle(100, 0, false);
    after = pair_funds(900, 600, 2);
    assert_true(channel_set_funds(client, &after));
    assert_false(channel_set_funds(client, &after));
    assert_int_equal(channel_settlement(client)->phase, SETTLEMENT_SIGNED);
    assert_int_equal(available_of(client, SIDE_CLIENT), 600 + 300 - 7);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 600 + 300 - 7);
    assert_int_equal(available_of(client, SIDE_HUB), available_of(hub, SIDE_HUB));
    assert_false(channel_settle_expire(client, DEADLINE + 1));
    channel_set_told(client, &after);
    assert_int_equal(channel_settlement(client)->phase, SETTLEMENT_NONE);
    assert_int_equal(available_of(client, SIDE_CLIENT), 600 + 300 - 6);
}

static void test_propose_is_refused(void **state)
{
    (void)state;
    const uint8_t stages[] = {STAGE_NONE, STAGE_CLOSING, STAGE_CLOSED};
    for (size_t i = 0; i < ARRAY_LENGTH(stages); i++) {
        struct channel_funds funds = pair_funds(PAIR_TOTAL, PAIR_BASE, 0);
        funds.stage = stages[i];
        (void)channel_set_funds(hub, &funds);
        assert_not_proposed(1, 1, false, CODE_STATUS);
    }
    pair_set_funds(&pair, PAIR_TOTAL, PAIR_BASE, 0);
    hub->stopped = true;
    assert_not_proposed(1, 1, false, CODE_STATUS);
    hub->stopped = false;
    assert_not_proposed(991, 0, false, CODE_AVAILABLE);
    assert_not_proposed(0, 501, false, CODE_AVAILABLE);
    assert_not_proposed(UINT64_MAX, UINT64_MAX, false, CODE_AVAILABLE);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(100, 0)), CODE_OK); /* a draft counts */
    assert_not_proposed(0, 401, false, CODE_AVAILABLE);
    channel_drop_draft(hub);
    assert_int_equal(propose(990, 500, false), CODE_OK);
    assert_not_proposed(1, 1, false, CODE_SETTLE); /* one at a time */
    channel_settle_refused(hub);
    pair_set_funds(&pair, PAIR_TOTAL, PAIR_BASE, UINT32_MAX);
    assert_not_proposed(1, 1, false, CODE_SETTLE);
}

static void test_a_close_is_proposed_only_at_rest(void **state)
{
    (void)state;
    assert_not_proposed(999, 500, true, CODE_AVAILABLE);
    assert_not_proposed(1000, 499, true, CODE_AVAILABLE);
    assert_not_proposed(1001, 499, true, CODE_AVAILABLE);
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(0, 0)), CODE_OK);
    assert_not_proposed(1000, 500, true, CODE_SETTLE); /* drafted */
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_not_proposed(1000, 500, true, CODE_SETTLE); /* unacknowledged */
    assert_accepted(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(channel_acknowledged(hub, 1), CODE_OK);
    for (int from = 0; from < 2; from++) {
        pair.now = PAIR_START;
        pair_exchange(&pair, (enum side)from, op_lock(0, 1, 0, LATER, 1));
        assert_not_proposed(1000, 500, true, CODE_SETTLE); /* locked */
        pair.now = LATER + 1;
        pair_exchange(&pair, (enum side)from, op_drop(OPERATION_EXPIRE, 1));
        assert_not_proposed(1000, 500, true, CODE_SETTLE); /* frozen */
        struct channel *receiver = pair.sides[side_other((enum side)from)];
        uint64_t nonce = channel_revocation_due(receiver);
        struct signature revocation =
            channel_revoke(receiver, &pair.domain, &pair.keys[side_other((enum side)from)], nonce);
        struct channel_view view = pair_view(&pair, (enum side)from);
        assert_int_equal(channel_revocation_received(pair.sides[from], &view, nonce, &revocation, NULL),
                         CODE_OK);
    }
    assert_int_equal(propose(1000, 500, true), CODE_OK);
    assert_int_equal(available_of(hub, SIDE_HUB), 0);
}

static void test_sign_is_refused(void **state)
{
    (void)state;
    struct settlement good = proposal_of(300, 200), bad;
    bad = good, bad.seq = 0;
    assert_not_signed(&bad, 300, false);
    bad = good, bad.seq = 2;
    assert_not_signed(&bad, 300, false);
    assert_not_signed(&good, 299, false); /* not what was asked for */
    assert_not_signed(&good, 0, false);
    bad = good, bad.deadline = pair.now;
    assert_not_signed(&bad, 300, false);
    bad = good, bad.deadline = pair.now + PAIR_WINDOW_S + 1;
    assert_not_signed(&bad, 300, false);
    bad = good, bad.deadline = UINT64_MAX;
    assert_not_signed(&bad, 300, false);
    bad = good, bad.client_out = amount_of(991);
    assert_not_signed(&bad, 991, false);
    bad = good, bad.hub_out = amount_of(501);
    assert_not_signed(&bad, 300, false);
    bad = good, bad.hub_out = amount_of(UINT64_MAX);
    assert_not_signed(&bad, 300, false);
    client->stopped = true;
    assert_not_signed(&good, 300, false);
    client->stopped = false;
    struct channel_funds closing = pair_funds(PAIR_TOTAL, PAIR_BASE, 0);
    closing.stage = STAGE_CLOSING;
    (void)channel_set_funds(client, &closing);
    assert_not_signed(&good, 300, false);
    pair_set_funds(&pair, PAIR_TOTAL, PAIR_BASE, 0);

    struct signature signature;
    good.deadline = pair.now + PAIR_WINDOW_S; /* the last moment allowed */
    assert_int_equal(sign(&good, 300, false, &signature), CODE_OK);
    bad = good, bad.hub_out = amount_of(1); /* another one while this is under way */
    assert_not_signed(&bad, 300, false);
    /* The same again gets the same signature, whatever is wanted by now. */
    struct signature again;
    assert_int_equal(sign(&good, 0, true, &again), CODE_OK);
    assert_true(signature_equal(&signature, &again));
}

static void test_the_hub_moves_its_own_without_being_asked(void **state)
{
    (void)state;
    struct settlement rebalance = proposal_of(0, 500);
    struct signature signature;
    assert_int_equal(sign(&rebalance, 0, false, &signature), CODE_OK);
    assert_int_equal(available_of(client, SIDE_HUB), 0);
}

static void test_a_close_is_signed_only_at_rest(void **state)
{
    (void)state;
    struct signature signature;
    struct settlement close = proposal_of(1000, 500), bad;
    close.close = true;
    assert_not_signed(&close, 1000, false); /* not asked for */
    bad = close, bad.client_out = amount_of(999), bad.hub_out = amount_of(501);
    assert_not_signed(&bad, 0, true);
    bad = close, bad.hub_out = amount_of(501);
    assert_not_signed(&bad, 0, true);
    bad = close, bad.client_out = amount_of(1001);
    assert_not_signed(&bad, 0, true);
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(0, 0)), CODE_OK);
    assert_not_signed(&close, 0, true); /* drafted */
    pair_seal(&pair, SIDE_CLIENT, &sent);
    assert_not_signed(&close, 0, true); /* unacknowledged */
    assert_accepted(&pair, SIDE_HUB, &sent);
    assert_int_equal(channel_acknowledged(client, 1), CODE_OK);
    pair_exchange(&pair, SIDE_HUB, op_lock(0, 1, 0, LATER, 1));
    assert_not_signed(&close, 0, true); /* locked */
    pair.now = LATER + 1;
    pair_exchange(&pair, SIDE_HUB, op_drop(OPERATION_EXPIRE, 1));
    close.deadline = pair.now + 100;
    assert_not_signed(&close, 0, true); /* frozen */
    (void)channel_revoke(client, &pair.domain, &pair.keys[SIDE_CLIENT], 2);
    bad = close, bad.hub_out = amount_of(3); /* the client gets all the rest */
    assert_int_equal(sign(&bad, 0, true, &signature), CODE_OK);
}

static void test_hub_takes_only_the_clients_signature_of_this_one(void **state)
{
    (void)state;
    struct signature signature, wrong;
    memset(&wrong, 7, sizeof(wrong));
    assert_sign_refused_by_hub(1, &wrong); /* none under way */
    assert_int_equal(propose(300, 200, false), CODE_OK);
    struct settlement proposal = *channel_settlement(hub);
    assert_int_equal(sign(&proposal, 300, false, &signature), CODE_OK);
    assert_sign_refused_by_hub(1, &wrong);
    assert_sign_refused_by_hub(2, &signature);
    assert_int_equal(signed_by_client(1, &signature), CODE_OK);
    assert_int_equal(signed_by_client(1, &signature), CODE_OK); /* repeated after a reconnect */
    assert_sign_refused_by_hub(1, &wrong);
    channel_settle_refused(hub); /* too late */
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_SIGNED);
}

/* Until it has the signature, the hub does not judge the client's updates by clientOut; so it looks again. */
static void test_a_client_that_spent_its_payout(void **state)
{
    (void)state;
    struct signature signature;
    assert_int_equal(propose(900, 0, false), CODE_OK);
    struct operation pay = op_pay(100, 0);
    pair_craft(&pair, SIDE_CLIENT, &pay, 1, &sent);
    assert_int_equal(sign(channel_settlement(hub), 900, false, &signature), CODE_OK);
    assert_accepted(&pair, SIDE_HUB, &sent);
    assert_sign_refused_by_hub(1, &signature);
    channel_settle_refused(hub);
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_NONE);
    assert_int_equal(available_of(hub, SIDE_HUB), 600);
}

static void test_a_client_that_spent_its_close(void **state)
{
    (void)state;
    struct signature signature;
    assert_int_equal(propose(1000, 500, true), CODE_OK);
    struct operation pay = op_pay(100, 0);
    pair_craft(&pair, SIDE_CLIENT, &pay, 1, &sent);
    assert_int_equal(sign(channel_settlement(hub), 0, true, &signature), CODE_OK);
    assert_accepted(&pair, SIDE_HUB, &sent);
    assert_sign_refused_by_hub(1, &signature);
}

/* The contract gives the client all the rest, a deposit that nobody counted included; the hub has what it proposed. */
static void test_a_deposit_comes_before_the_signature_of_a_close(void **state)
{
    (void)state;
    struct signature signature;
    assert_int_equal(propose(1000, 500, true), CODE_OK);
    assert_int_equal(sign(channel_settlement(hub), 0, true, &signature), CODE_OK);
    struct channel_funds deposited = pair_funds(PAIR_TOTAL + 70, PAIR_BASE + 70, 0);
    (void)channel_set_funds(hub, &deposited);
    assert_int_equal(signed_by_client(1, &signature), CODE_OK);
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_SIGNED);
}

/* What the hub put in, or paid, since it proposed is not in hub_out: the client would get it. */
static void test_a_close_that_would_cost_the_hub(void **state)
{
    (void)state;
    struct signature signature;
    assert_int_equal(propose(1000, 500, true), CODE_OK);
    assert_int_equal(sign(channel_settlement(hub), 0, true, &signature), CODE_OK);
    struct channel_funds funded = pair_funds(PAIR_TOTAL + 70, PAIR_BASE, 0);
    (void)channel_set_funds(hub, &funded);
    assert_sign_refused_by_hub(1, &signature);
}

static void test_a_dead_settlement_is_freed(void **state)
{
    (void)state;
    settle(300, 200, false);
    assert_false(channel_settle_expire(hub, DEADLINE));
    assert_true(channel_settle_expire(hub, DEADLINE + 1));
    assert_false(channel_settle_expire(hub, DEADLINE + 1));
    assert_int_equal(available_of(hub, SIDE_HUB), 500);
    assert_int_equal(available_of(hub, SIDE_CLIENT), 990);
    /* The client waits for the hub's word and for its own node. What the hub does with it meanwhile is held.
     */
    assert_false(channel_settle_expire(client, DEADLINE + 1));
    assert_int_equal(pair_add(&pair, SIDE_HUB, op_pay(400, 0)), CODE_OK);
    pair_seal(&pair, SIDE_HUB, &sent);
    assert_refused(&pair, SIDE_CLIENT, &sent, CODE_AVAILABLE, 0);
    client->settlement->said_dead = true;
    assert_held(&pair, SIDE_CLIENT, &sent);
    assert_false(channel_settle_expire(client, DEADLINE));
    assert_int_equal(available_of(client, SIDE_CLIENT), 690);
    assert_true(channel_settle_expire(client, DEADLINE + 1));
    assert_accepted(&pair, SIDE_CLIENT, &sent);
    assert_int_equal(available_of(client, SIDE_CLIENT), 1390);
}

static void test_an_unsigned_one_is_freed_by_refusal_or_deadline(void **state)
{
    (void)state;
    assert_int_equal(propose(1, 1, false), CODE_OK);
    channel_settle_refused(hub);
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_NONE);
    assert_int_equal(propose(1, 1, false), CODE_OK);
    assert_false(channel_settle_expire(hub, DEADLINE));
    assert_true(channel_settle_expire(hub, DEADLINE + 1));
    channel_settle_refused(hub); /* nothing under way: nothing happens */
}

static void test_a_closed_channel_has_none(void **state)
{
    (void)state;
    settle(1000, 500, true);
    struct channel_funds closed = {.seq = 1, .stage = STAGE_CLOSED};
    assert_true(channel_set_funds(hub, &closed));
    assert_true(channel_set_funds(client, &closed));
    for (int side = 0; side < 2; side++) {
        assert_int_equal(channel_settlement(pair.sides[side])->phase, SETTLEMENT_NONE);
        assert_int_equal(balance_of(pair.sides[side], SIDE_CLIENT), 0);
        assert_int_equal(balance_of(pair.sides[side], SIDE_HUB), 0);
    }
}

static void test_a_unilateral_close_ends_one_that_was_not_settled(void **state)
{
    (void)state;
    settle(300, 200, false);
    struct channel_funds closing = pair_funds(PAIR_TOTAL, PAIR_BASE, 0);
    closing.stage = STAGE_CLOSING;
    assert_false(channel_set_funds(hub, &closing));
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_SIGNED); /* harmless: the contract skips it */
    struct channel_funds closed = {.seq = 0, .stage = STAGE_CLOSED};
    assert_false(channel_set_funds(hub, &closed));
    assert_int_equal(channel_settlement(hub)->phase, SETTLEMENT_NONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(test_what_counts_when),
        TEST(test_whichever_sees_it_settled_first),
        TEST(test_propose_is_refused),
        TEST(test_a_close_is_proposed_only_at_rest),
        TEST(test_sign_is_refused),
        TEST(test_the_hub_moves_its_own_without_being_asked),
        TEST(test_a_close_is_signed_only_at_rest),
        TEST(test_hub_takes_only_the_clients_signature_of_this_one),
        TEST(test_a_client_that_spent_its_payout),
        TEST(test_a_client_that_spent_its_close),
        TEST(test_a_deposit_comes_before_the_signature_of_a_close),
        TEST(test_a_close_that_would_cost_the_hub),
        TEST(test_a_dead_settlement_is_freed),
        TEST(test_an_unsigned_one_is_freed_by_refusal_or_deadline),
        TEST(test_a_closed_channel_has_none),
        TEST(test_a_unilateral_close_ends_one_that_was_not_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
