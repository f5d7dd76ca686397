/* What a former run left unmined, or the node lost, in front of what is sent now. */
#include "ledger/urgency.h"
#include "tests/ledger/sending.h"

#define MOST       1000000 /* a gas */
#define GAP_BLOCKS (2 * URGENCY_CALM_BLOCKS)

static struct ledger *daemon_make(struct node *node)
{
    struct ledger_options options = node_options(node);
    options.max_fee_per_gas = MOST;
    options.fills_gaps = true;
    return ledger_new(node->base, &options);
}

/* Left in the pool: `count` of them, by a run that is over. */
static void former_run(struct node *node, size_t count)
{
    struct ledger *ledger = daemon_make(node);
    struct outcome outcomes[4];
    for (size_t i = 0; i < count; i++)
        submit(node, ledger, &outcomes[i]);
    node_run_until(node, node->pool_count == count);
    ledger_free(ledger);
    assert_int_equal(node->pool_count, count);
}

/* The place in the pool of the newest with this nonce. */
static size_t newest_of(const struct node *node, uint64_t nonce)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < node->pool_count; i++)
        if (node->pool[i].nonce == nonce)
            found = i;
    assert_true(found != SIZE_MAX);
    return found;
}

/* To ourselves, nothing in it: it can do nothing but use its nonce. */
static void assert_empty(const struct node *node, size_t index)
{
    const struct node_transaction *filler = &node->pool[index];
    assert_true(address_equal(&filler->to, &filler->sender));
    assert_true(filler->value == 0 && filler->data_length == 0 && !filler->creates);
}

static void what_a_former_run_left_is_replaced_and_ours_is_pressed(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct outcome outcome;
    former_run(node, 1);
    node->base_fee = 5000; /* a spike: more than it offered */
    assert_true(node->pool[0].fee < node->base_fee);
    struct ledger *ledger = daemon_make(node);
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 2);
    assert_int_equal(node->pool[1].nonce, 1);
    look_around(node);
    node_mine(node, GAP_BLOCKS - 1);
    look_around(node);
    assert_int_equal(node->pool_count, 2); /* a live one would have been raised before */
    assert_string_equal(ledger_trouble(ledger), "");
    node_mine(node, 1);
    node_run_until(node, node->pool_count == 3);
    assert_non_null(strstr(ledger_trouble(ledger), "waits behind nonce 0"));
    assert_int_equal(node->pool[2].nonce, 0);
    assert_empty(node, 2);
    assert_true(node->pool[2].fee >= 2 * node->base_fee && node->pool[2].fee * 10 >= node->pool[0].fee * 11);

    /* It is pressed as any other that is first. */
    node->base_fee = 20000;
    node_mine(node, URGENCY_CALM_BLOCKS);
    node_run_until(node, node->pool_count == 4);
    assert_int_equal(node->pool[3].nonce, 0);
    assert_empty(node, 3);
    assert_true(node->pool[3].fee >= 2 * node->base_fee);
    node_mine_transaction(node, 3);
    node_run_until(node, *ledger_trouble(ledger) == '\0');

    /* And now ours. */
    node_mine(node, URGENCY_CALM_BLOCKS);
    node_run_until(node, node->pool_count == 5);
    assert_int_equal(node->pool[4].nonce, 1);
    assert_true(node->pool[4].fee >= 2 * node->base_fee && node->pool[4].data_length == 4);
    node_mine_transaction(node, 4);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_true(hash_equal(&outcome.receipt.transaction, &node->pool[4].hash));
    ledger_free(ledger);
    node_free(node);
}

/* The old one is mined after all: the nonce is used once, and nothing of ours has moved. */
static void whichever_is_mined_ours_is_sent_once(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct outcome outcome;
    former_run(node, 1);
    struct ledger *ledger = daemon_make(node);
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 2);
    look_around(node);
    node_mine(node, GAP_BLOCKS);
    node_run_until(node, node->pool_count == 3);
    assert_empty(node, 2);
    node_mine_transaction(node, 0);
    node_run_until(node, *ledger_trouble(ledger) == '\0');
    look_around(node);
    node_mine_transaction(node, 1);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_true(hash_equal(&outcome.receipt.transaction, &node->pool[1].hash));
    assert_int_equal(node->pool_count, 3);
    ledger_free(ledger);
    node_free(node);
}

/* Of a row of them, only the first is waited for; what offers more than the market is outbid step by step. */
static void a_row_of_them_is_replaced_one_after_another(void **state)
{
    (void)state;
    enum { LEFT = 3 };
    for (int nethermind = 0; nethermind < 2; nethermind++) {
        struct node *node = node_new();
        struct outcome outcome;
        node->speaks_nethermind = nethermind;
        node->tip = 10000;
        former_run(node, LEFT);
        node->tip = 100;
        struct ledger *ledger = daemon_make(node);
        submit(node, ledger, &outcome);
        node_run_until(node, node->pool_count == LEFT + 1);
        assert_int_equal(node->pool[LEFT].nonce, LEFT);
        look_around(node);
        node_mine(node, GAP_BLOCKS);
        for (uint64_t nonce = 0; nonce < LEFT; nonce++) {
            node_run_until(node, node->pool_count == LEFT + 2 + nonce); /* no block comes meanwhile */
            size_t filler = newest_of(node, nonce);
            assert_int_equal(filler, LEFT + 1 + nonce);
            assert_empty(node, filler);
            assert_true(node->pool[filler].fee * 10 >= node->pool[nonce].fee * 11 &&
                        node->pool[filler].tip * 10 >= node->pool[nonce].tip * 11);
            node_mine_transaction(node, filler);
        }
        node_run_until(node, *ledger_trouble(ledger) == '\0');
        node_mine_transaction(node, LEFT);
        node_run_until(node, outcome.told);
        assert_int_equal(outcome.error, LEDGER_OK);
        ledger_free(ledger);
        node_free(node);
    }
}

static void what_the_node_has_lost_is_filled(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct outcome first, second;
    former_run(node, 1);
    struct ledger *ledger = daemon_make(node);
    submit(node, ledger, &first);
    submit(node, ledger, &second);
    node_run_until(node, node->pool_count == 3);
    for (size_t i = 0; i + 1 < node->pool_count; i++)
        node->pool[i] = node->pool[i + 1];
    node->pool_count--; /* the pool was full: the cheapest went */
    look_around(node);
    node_mine(node, GAP_BLOCKS);
    node_run_until(node, node->pool_count == 3);
    assert_empty(node, newest_of(node, 0));
    for (uint64_t nonce = 0; nonce < 3; nonce++)
        node_mine_transaction(node, newest_of(node, nonce));
    node_run_until(node, first.told && second.told);
    assert_int_equal(first.error, LEDGER_OK);
    assert_int_equal(second.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

/* A command's wallet: what an earlier command sent may be meant. */
static void without_leave_it_is_only_said(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct outcome outcome;
    former_run(node, 1);
    struct ledger *ledger = ledger_make(node, 0);
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 2);
    look_around(node);
    node_mine(node, GAP_BLOCKS);
    node_run_until(node, strstr(ledger_trouble(ledger), "waits behind nonce 0") != NULL);
    node_mine(node, GAP_BLOCKS);
    look_around(node);
    assert_int_equal(node->pool_count, 2);
    assert_int_equal(outcome.told, 0);
    node_mine_transaction(node, 0);
    node_run_until(node, *ledger_trouble(ledger) == '\0');
    node_mine_transaction(node, 1);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

#define GAS ((unsigned_wide)(60000 + 60000 / 4 + 50000))

/* What it costs comes from the budget behind it, and the deadline behind it presses. */
static void the_budget_behind_it_pays(void **state)
{
    (void)state;
    enum { MUCH = 200000 };
    struct node *node = node_new();
    uint64_t start = node->blocks[node->height].time;
    struct outcome outcome = {.node = node};
    const struct ledger_terms terms = {
        .budget_wei = GAS * MUCH, .deadline = start + 48, .whole_s = 480 /* a tenth of the way is left */};
    former_run(node, 1);
    struct ledger *ledger = daemon_make(node);
    ledger_send_under(ledger, &key, NULL, (const uint8_t *)"data", 4, &terms, on_sent, &outcome);
    node_run_until(node, node->pool_count == 2);
    look_around(node);
    node_mine(node, 2); /* where there is no hurry it takes six */
    node_run_until(node, node->pool_count >= 3);
    size_t filler = newest_of(node, 0);
    assert_empty(node, filler);
    assert_true(node->pool[filler].fee > MUCH / 4);
    node_mine_transaction(node, filler);
    node_run_until(node, *ledger_trouble(ledger) == '\0');
    unsigned_wide lent = node->pool[filler].fee * 75000 - 1; /* the node's estimate and a quarter */
    for (int i = 0; i < 6; i++) {
        node_mine(node, 1);
        look_around(node);
    }
    size_t last = newest_of(node, 1);
    assert_true(node->pool[last].fee * GAS + lent <= terms.budget_wei);
    node_mine_transaction(node, last);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_true(outcome.receipt.cost_wei == lent + (unsigned_wide)21000 * (node->base_fee + 1));
    ledger_free(ledger);
    node_free(node);
}

int main(void)
{
    log_setup("test_send_gap", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_former_run_left_is_replaced_and_ours_is_pressed),
        cmocka_unit_test(whichever_is_mined_ours_is_sent_once),
        cmocka_unit_test(a_row_of_them_is_replaced_one_after_another),
        cmocka_unit_test(what_the_node_has_lost_is_filled),
        cmocka_unit_test(without_leave_it_is_only_said),
        cmocka_unit_test(the_budget_behind_it_pays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
