/* What is offered for a transaction: until it is mined, below the owner's cap, within a budget, by a deadline. */
#include "tests/ledger/sending.h"

static void fees_rise_until_mined(void **state)
{
    (void)state;
    for (int mine_old = 0; mine_old < 2; mine_old++) {
        struct node *node = node_new();
        struct ledger *ledger = ledger_make(node, 0);
        struct outcome outcome;
        submit(node, ledger, &outcome);
        node_run_until(node, node->pool_count == 1);
        node->base_fee = 5000; /* the market moved on */
        for (size_t variants = 1; variants < 4; variants++) {
            look_around(node);
            assert_int_equal(node->pool_count, variants); /* not without blocks passing */
            node_mine(node, 3);
            node_run_until(node, node->pool_count == variants + 1);
            struct node_transaction *old = &node->pool[variants - 1], *new = &node->pool[variants];
            assert_int_equal(new->nonce, 0);
            assert_true(new->fee * 10 >= old->fee * 11 && new->tip * 10 >= old->tip * 11);
            assert_true(new->fee >= 2 * node->base_fee);
        }
        node_mine_transaction(node, mine_old ? 0 : 3);
        node_run_until(node, outcome.told);
        assert_int_equal(outcome.error, LEDGER_OK);
        assert_true(hash_equal(&outcome.receipt.transaction, &node->pool[mine_old ? 0 : 3].hash));
        ledger_free(ledger);
        node_free(node);
    }
}

static void fees_stay_below_the_cap(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    node->tip = 800000;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    for (int i = 0; i < 8; i++) {
        node_mine(node, 3);
        look_around(node);
    }
    for (size_t i = 0; i < node->pool_count; i++)
        assert_true(node->pool[i].fee <= 1000000 && node->pool[i].tip <= node->pool[i].fee);
    assert_true(node->pool_count <= 3);
    assert_non_null(strstr(ledger_trouble(ledger), "cannot be raised"));
    node_mine_transaction(node, node->pool_count - 1);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_string_equal(ledger_trouble(ledger), "");
    ledger_free(ledger);

    /* A market above the cap: what is offered is refused, until the base fee falls. */
    ledger = ledger_make(node, 0);
    node->base_fee = 2000000;
    node->tip = 1;
    size_t before = node->pool_count;
    submit(node, ledger, &outcome);
    node_run_until(node, ledger_trouble(ledger)[0] != '\0');
    look_around(node);
    assert_int_equal(node->pool_count, before);
    node->base_fee = 1000;
    node_mine(node, 3);
    node_run_until(node, node->pool_count == before + 1);
    node_mine_transaction(node, before);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

static void fees_press_towards_a_deadline_within_the_budget(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome = {.node = node};
    uint64_t start = node->blocks[node->height].time;
    const uint64_t gas = 60000 + 60000 / 4 + 50000, most = 200000;
    const struct ledger_terms terms = {
        .budget_wei = (unsigned_wide)gas * most, .deadline = start + 240, .whole_s = 240};
    ledger_send_under(ledger, &key, NULL, (const uint8_t *)"data", 4, &terms, on_sent, &outcome);
    node_run_until(node, node->pool_count == 1);
    assert_true(node->pool[0].tip == node->tip); /* there is time: what is usual */
    for (int i = 0; i < 20; i++) {
        node_mine(node, 1);
        look_around(node);
    }
    assert_true(node->blocks[node->height].time == terms.deadline);
    const struct node_transaction *last = &node->pool[node->pool_count - 1];
    assert_true(last->fee <= most && last->fee > most / 5 * 4); /* all of it but a step, and no more */
    for (size_t i = 1; i < node->pool_count; i++) {
        assert_int_equal(node->pool[i].nonce, 0);
        assert_true(node->pool[i].tip >= node->pool[i - 1].tip && node->pool[i].fee <= most);
    }
    node_mine_transaction(node, node->pool_count - 1);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

#define GAS ((unsigned_wide)(60000 + 60000 / 4 + 50000)) /* of each transaction here */

static void submit_under(struct node *node, struct ledger *ledger, struct ledger_terms terms,
                         struct outcome *outcome)
{
    *outcome = (struct outcome){.node = node};
    ledger_send_under(ledger, &key, NULL, (const uint8_t *)"data", 4, &terms, on_sent, outcome);
}

/* The highest fee that was offered under a nonce; where: its place in the pool. */
static unsigned_wide fee_of_nonce(const struct node *node, uint64_t nonce, size_t *where)
{
    unsigned_wide fee = 0;
    for (size_t i = 0; i < node->pool_count; i++)
        if (node->pool[i].nonce == nonce && node->pool[i].fee > fee) {
            fee = node->pool[i].fee;
            *where = i;
        }
    return fee;
}

/* Two that are in no hurry, with little money, stand before one that is. */
static void what_waits_behind_presses_and_pays(void **state)
{
    (void)state;
    enum { MUCH = 200000, LITTLE = 20000, BEFORE = 2 };
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome before[BEFORE], urgent;
    uint64_t start = node->blocks[node->height].time;
    for (int i = 0; i < BEFORE; i++)
        submit_under(node, ledger, (struct ledger_terms){.budget_wei = GAS * LITTLE}, &before[i]);
    submit_under(node, ledger,
                 (struct ledger_terms){.budget_wei = GAS * MUCH, .deadline = start + 240, .whole_s = 240},
                 &urgent);
    node_run_until(node, node->pool_count == BEFORE + 1);
    for (int i = 0; i < 20; i++) {
        node_mine(node, 1);
        look_around(node);
    }
    size_t where[BEFORE + 1];
    unsigned_wide share = (MUCH + BEFORE * LITTLE) / (BEFORE + 1), lent = 0;
    for (uint64_t i = 0; i <= BEFORE; i++) {
        if (i > 0)
            look_around(node);
        unsigned_wide fee = fee_of_nonce(node, i, &where[i]);
        assert_true(fee > share / 5 * 4); /* all that there is, but a step */
        if (i < BEFORE)
            lent += fee > LITTLE ? fee - LITTLE : 0;
        else
            assert_true(fee + lent <= MUCH);
        node_mine_transaction(node, where[i]);
    }
    assert_true(lent > 0);
    node_run_until(node, urgent.told && before[0].told && before[1].told);
    const unsigned_wide cost = (unsigned_wide)21000 * (node->base_fee + 1);
    for (int i = 0; i < BEFORE; i++) {
        assert_int_equal(before[i].error, LEDGER_OK);
        assert_true(before[i].receipt.cost_wei == 0); /* what it was given is more than it cost */
    }
    assert_true(urgent.receipt.cost_wei == cost + GAS * lent);
    assert_true(urgent.receipt.cost_wei <= GAS * MUCH);
    ledger_free(ledger);
    node_free(node);
}

static void nobody_gives_what_it_has_offered(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome before, urgent;
    uint64_t start = node->blocks[node->height].time;
    node->base_fee = 1900;
    submit_under(node, ledger, (struct ledger_terms){.budget_wei = GAS * 2000}, &before);
    submit_under(node, ledger,
                 (struct ledger_terms){.budget_wei = GAS * 3500, .deadline = start + 60, .whole_s = 60},
                 &urgent);
    node_run_until(node, node->pool_count == 2);
    assert_true(node->pool[1].fee == 3500); /* twice the base fee is above all that it has */
    for (int i = 0; i < 6; i++) {
        node_mine(node, 3);
        look_around(node);
    }
    assert_int_equal(node->pool_count, 2);
    assert_non_null(strstr(ledger_trouble(ledger), "cannot be raised"));
    node_mine_transaction(node, 0);
    node_mine_transaction(node, 1);
    node_run_until(node, urgent.told && before.told);
    const unsigned_wide cost = (unsigned_wide)21000 * (node->base_fee + 1);
    assert_true(before.receipt.cost_wei == cost && urgent.receipt.cost_wei == cost);
    ledger_free(ledger);
    node_free(node);
}

/* As many as may be unmined stand before it: it is not broadcast, and presses all the same. */
static void what_is_not_sent_yet_presses_too(void **state)
{
    (void)state;
    enum { CALM = 16, MOST = 1000000 };
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome calm[CALM], urgent;
    for (int i = 0; i < CALM; i++)
        submit(node, ledger, &calm[i]);
    node_run_until(node, node->pool_count == CALM);
    uint64_t start = node->blocks[node->height].time;
    submit_under(node, ledger,
                 (struct ledger_terms){.budget_wei = GAS, .deadline = start + 24, .whole_s = 24}, &urgent);
    node_mine(node, 2);
    node_run_until(node, node->pool_count == CALM + 1);
    assert_int_equal(node->pool[CALM].nonce, 0);
    assert_true(node->pool[CALM].tip == MOST - 2 * node->base_fee); /* the owner's cap: it has no budget */
    ledger_free(ledger);
    node_free(node);
}

static void base_fee_outruns_the_offer(void **state)
{
    (void)state;
    for (int nethermind = 0; nethermind < 2; nethermind++) {
        struct node *node = node_new();
        node->mines_at_once = true;
        node->speaks_nethermind = nethermind;
        struct ledger *ledger = ledger_make(node, 0);
        struct outcome outcome;
        submit(node, ledger, &outcome);
        node_run_until(node, node_count(node, "eth_maxPriorityFeePerGas") == 1);
        node->base_fee = 9000; /* between the estimate and the broadcast */
        node_run_until(node, outcome.told);
        assert_int_equal(outcome.error, LEDGER_OK);
        assert_true(node->pool[0].fee >= 9000);
        ledger_free(ledger);
        node_free(node);
    }
}

int main(void)
{
    log_setup("test_send_fees", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fees_rise_until_mined),
        cmocka_unit_test(fees_stay_below_the_cap),
        cmocka_unit_test(fees_press_towards_a_deadline_within_the_budget),
        cmocka_unit_test(what_waits_behind_presses_and_pays),
        cmocka_unit_test(nobody_gives_what_it_has_offered),
        cmocka_unit_test(what_is_not_sent_yet_presses_too),
        cmocka_unit_test(base_fee_outruns_the_offer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
