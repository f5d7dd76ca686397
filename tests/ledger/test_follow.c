/* Following events over a chain that grows, reorganises, lags and loses its logs. */
#include "tests/ledger/following.h"

static void events_come_in_order(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    uint64_t mark = 0;
    for (int i = 0; i < 30; i++) {
        node_mine(node, 1);
        for (int k = 0; k < i % 4; k++)
            node_mark_add(node, mark++);
    }
    struct ledger *ledger = follow(node, 0, 0, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, mark);
    for (size_t i = 0; i < mark; i++)
        assert_int_equal(told.confirmed[i], i);
    assert_int_equal(told.young_count, 0);
    assert_int_equal(told.head.confirmed_number, 30);
    node_mine(node, 1);
    node_mark_add(node, mark++);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, mark);
    assert_int_equal(told.heads, 2);
    assert_int_equal(ledger_head(ledger).confirmed_number, 31);
    ledger_free(ledger);
    node_free(node);
}

static void the_head_is_told_even_when_nothing_happens(void **state)
{
    (void)state;
    for (uint32_t confirmations = 0; confirmations < 3; confirmations++)
        for (uint64_t from = 0; from < 6; from++) {
            struct node *node = node_new();
            struct told told;
            node_mine(node, 5);
            struct ledger *ledger = follow(node, confirmations, from, &told);
            settle(node, &told);
            unsigned asked = node_count(node, "eth_getBlockByNumber");
            node_run_until(node, node_count(node, "eth_getBlockByNumber") > asked + 3);
            assert_int_equal(told.heads, 1);
            assert_int_equal(told.head.number, 5);
            /* A cursor further on than asked for is not taken back. */
            uint64_t wanted = 5 - confirmations, given = from == 0 ? 0 : from - 1;
            assert_int_equal(told.head.confirmed_number, given > wanted ? given : wanted);
            ledger_free(ledger);
            node_free(node);
        }
}

static void young_events_come_early_and_again_when_deep(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    node_mine(node, 10);
    struct ledger *ledger = follow(node, 3, 0, &told);
    settle(node, &told);
    node_mine(node, 1);
    node_mark_add(node, 7);
    node_mark_add(node, 8);
    settle(node, &told);
    assert_int_equal(told.young_count, 2);
    assert_int_equal(told.young[1], 8);
    for (int depth = 1; depth <= 2; depth++) {
        node_mine(node, 1);
        settle(node, &told);
        assert_int_equal(told.confirmed_count, 0);
    }
    node_mine(node, 1);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 2);
    node_mine(node, 5);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 2);
    assert_int_equal(told.young_count, 2); /* not repeated while the block stands */
    ledger_free(ledger);

    /* From the persisted cursor nothing comes twice; from before the event it comes again. */
    ledger = follow(node, 3, told.head.confirmed_number + 1, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count + told.young_count, 0);
    ledger_free(ledger);
    ledger = follow(node, 3, 11, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 2);
    ledger_free(ledger);
    node_free(node);
}

static void long_ways_go_in_ranges(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    for (uint64_t i = 0; i < 1000; i++) {
        node_mine(node, 1);
        if (i % 10 == 0)
            node_mark_add(node, i / 10);
    }
    node->gives_log_times = true;
    node->logs_range_max = 7; /* refuses the 100 that are asked for */
    struct ledger *ledger = follow(node, 2, 0, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(told.confirmed[i], i);
    assert_true(told.heads > 100); /* the cursor moved with the ranges */
    ledger_free(ledger);

    node->logs_range_max = 0;
    unsigned before = node_count(node, "eth_getLogs");
    ledger = follow(node, 2, 0, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 100);
    assert_true(node_count(node, "eth_getLogs") - before <= 12 + 16); /* the youngest come singly */
    ledger_free(ledger);
    node_free(node);
}

/* Asks for nothing more than is under way, whatever becomes of the chain meanwhile, and goes on where it was. */
static void held_it_asks_for_no_more(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    for (uint64_t i = 0; i < 450; i++) {
        node_mine(node, 1);
        node_mark_add(node, i);
    }
    struct ledger *ledger = follow(node, 2, 0, &told);
    told.hold_at = 150;
    node_run_until(node, told.confirmed_count >= told.hold_at);
    size_t given = told.confirmed_count;
    assert_true(given >= 150 && given < 300); /* the range in which it was said is given to its end */
    node_mine(node, 3);
    unsigned looks = node_count(node, "eth_getBlockByNumber"), logs = node_count(node, "eth_getLogs");
    node_run_until(node, node_count(node, "eth_getBlockByNumber") > looks + 5);
    assert_int_equal(told.confirmed_count, given);
    assert_int_equal(node_count(node, "eth_getLogs"), logs);
    ledger_follow_hold(ledger, false);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 450);
    /* The young ones, too. */
    size_t young = told.young_count;
    told.hold_at = told.confirmed_count + young + 1;
    node_mine(node, 1);
    node_mark_add(node, 450);
    node_run_until(node, told.young_count == young + 1);
    node_mine(node, 1);
    node_mark_add(node, 451);
    looks = node_count(node, "eth_getBlockByNumber");
    node_run_until(node, node_count(node, "eth_getBlockByNumber") > looks + 5);
    assert_int_equal(told.young_count, young + 1);
    ledger_follow_hold(ledger, true);
    ledger_follow_hold(ledger, false);
    settle(node, &told);
    assert_int_equal(told.young_count, young + 2);
    ledger_follow_hold(ledger, true);
    ledger_free(ledger);
    node_free(node);
}

static void a_node_that_knows_ranges_only_is_asked_for_ranges(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    for (uint64_t i = 0; i < 30; i++) {
        node_mine(node, 1);
        node_mark_add(node, i);
    }
    node->takes_no_hash = true;
    struct ledger *ledger = follow(node, 1, 0, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 29);
    for (size_t i = 0; i < 29; i++)
        assert_int_equal(told.confirmed[i], i);
    assert_string_equal(ledger_trouble(ledger), "");
    ledger_free(ledger);
    node_free(node);
}

static void ranges_that_fail_otherwise_are_halved_too(void **state)
{
    (void)state;
    const enum fault faults[] = {FAULT_ERROR, FAULT_STATUS_500, FAULT_HUGE, FAULT_GARBAGE, FAULT_CLOSE};
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        struct node *node = node_new();
        struct told told;
        for (uint64_t b = 0; b < 90; b++) {
            node_mine(node, 1);
            node_mark_add(node, b);
        }
        node->fault = faults[i];
        node->fault_method = "eth_getLogs";
        node->fault_count = 3;
        node->error_json = "{\"code\":-32000,\"message\":\"query timeout exceeded\"}";
        struct ledger *ledger = follow(node, 1, 0, &told);
        settle(node, &told);
        assert_int_equal(told.confirmed_count, 89);
        assert_int_equal(told.young_count, 1);
        ledger_free(ledger);
        node_free(node);
    }
}

static void shallow_reorganisations_are_nothing(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    node_mine(node, 10);
    struct ledger *ledger = follow(node, 3, 0, &told);
    settle(node, &told);
    node_mine(node, 1);
    node_mark_add(node, 1); /* in block 11, of a fork that dies */
    settle(node, &told);
    node_reorganise(node, 11, 2);
    node_mark_add(node, 2); /* in block 12 of the other */
    settle(node, &told);
    node_mine(node, 3);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 1);
    assert_int_equal(told.confirmed[0], 2);
    assert_int_equal(told.young_count, 2);
    assert_int_equal(told.too_deep, 0);

    /* The same height with another hash, and a shorter chain, are new heads. */
    unsigned heads = told.heads;
    node_reorganise(node, node->height, 1);
    node_run_until(node, told.heads > heads);
    heads = told.heads;
    node_reorganise(node, node->height - 1, 1);
    node_run_until(node, told.heads > heads);
    assert_int_equal(told.head.number, node->height);
    assert_int_equal(told.too_deep, 0);
    ledger_free(ledger);
    node_free(node);
}

static void deep_reorganisations_are_said_so_once(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    node_mine(node, 20);
    struct ledger *ledger = follow(node, 2, 0, &told);
    settle(node, &told);
    assert_int_equal(told.head.confirmed_number, 18);
    node_reorganise(node, 15, 10);
    settle(node, &told);
    assert_int_equal(told.too_deep, 1);
    assert_int_equal(told.too_deep_block, 18);
    node_mine(node, 3);
    node_mark_add(node, 5);
    node_mine(node, 2);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 1); /* and it goes on */
    assert_int_equal(told.too_deep, 1);

    /* To a chain that is shorter than what was confirmed, and known to be another. */
    uint64_t confirmed = told.head.confirmed_number;
    node_reorganise(node, confirmed - 5, 3);
    /* This height was not shown as a head since: it may be a node that lags. When it grows, it is seen. */
    node_run_until(node, ledger_trouble(ledger)[0] != '\0' || told.too_deep == 2);
    node_mine(node, 20);
    node_run_until(node, told.too_deep == 2);
    settle(node, &told);
    assert_int_equal(told.too_deep, 2);
    ledger_free(ledger);
    node_free(node);
}

static void a_shorter_chain_with_other_hashes_is_seen(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    struct ledger *ledger = follow(node, 1, 0, &told);
    for (int i = 0; i < 10; i++) {
        node_mine(node, 1);
        settle(node, &told);
    }
    node_reorganise(node, 5, 2); /* as a development chain that was reset */
    node_run_until(node, told.too_deep == 1);
    assert_int_equal(told.too_deep_block, 6);
    node_mine(node, 10);
    node_mark_add(node, 3);
    node_mine(node, 1);
    settle(node, &told);
    assert_int_equal(told.too_deep, 1);
    assert_int_equal(told.confirmed_count, 1);
    ledger_free(ledger);
    node_free(node);
}

static void a_node_that_lags_is_waited_for(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    node_mine(node, 10);
    struct ledger *ledger = follow(node, 1, 0, &told);
    settle(node, &told);
    unsigned heads = told.heads;
    node->height = 6; /* another node behind the same address */
    node_run_until(node, strstr(ledger_trouble(ledger), "behind block 9") != NULL);
    assert_int_equal(told.heads, heads);
    node->height = 10;
    node_mine(node, 1);
    settle(node, &told);
    assert_int_equal(told.head.number, 11);
    assert_int_equal(told.too_deep, 0);
    ledger_free(ledger);

    /* A cursor beyond the chain, as after restoring an old node. */
    ledger = follow(node, 1, 50, &told);
    node_run_until(node, strstr(ledger_trouble(ledger), "behind block 49") != NULL);
    assert_int_equal(told.heads, 0);
    node_mine(node, 60);
    node_mark_add(node, 1);
    node_mine(node, 1);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 1);
    ledger_free(ledger);
    node_free(node);
}

static void logs_that_come_late_are_waited_for(void **state)
{
    (void)state;
    for (uint32_t confirmations = 0; confirmations < 2; confirmations++) {
        struct node *node = node_new();
        struct told told;
        node->has_bloom = true;
        node_mine(node, 3);
        struct ledger *ledger = follow(node, confirmations, 0, &told);
        settle(node, &told);
        node->logs_hidden = 2;
        node_mine(node, 1);
        node_mark_add(node, 9);
        settle(node, &told);
        assert_int_equal(confirmations == 0 ? told.confirmed_count : told.young_count, 1);

        /* A bloom may be wrong: the waiting ends. */
        node_mine(node, 1);
        node_mark_add(node, 10);
        json_t *logs = node->blocks[node->height].logs;
        json_object_set_new(json_array_get(logs, 0), "removed", json_true());
        settle(node, &told);
        assert_int_equal(confirmations == 0 ? told.confirmed_count : told.young_count, 1);
        ledger_free(ledger);
        node_free(node);
    }
}

/* The chain changes between the logs and the look that verifies them. */
static void reorganise_after_logs(struct node *node, const char *method)
{
    if (strcmp(method, "eth_getLogs") != 0)
        return;
    node->hook = NULL;
    node_reorganise(node, node->height, 1);
    node_mark_add(node, 2);
}

static void logs_of_another_chain_are_not_given(void **state)
{
    (void)state;
    for (uint32_t confirmations = 0; confirmations < 2; confirmations++) {
        struct node *node = node_new();
        struct told told;
        node_mine(node, 5);
        struct ledger *ledger = follow(node, confirmations, 0, &told);
        settle(node, &told);
        node_mine(node, 1);
        node_mark_add(node, 1);
        node->hook = reorganise_after_logs;
        node_run_until(node, told.confirmed_count + told.young_count > 0);
        assert_int_equal(confirmations == 0 ? told.confirmed[0] : told.young[0], 2);
        assert_int_equal(told.too_deep, 0);
        ledger_free(ledger);
        node_free(node);
    }
}

static void malformed_logs_are_never_given(void **state)
{
    (void)state;
    const struct {
        const char *member, *value;
    } wrong[] = {{"address", "\"0x0000000000000000000000000000000000000001\""},
                 {"address", "5"},
                 {"blockNumber", "\"0x99\""},
                 {"blockNumber", "6"},
                 {"blockNumber", "\"\""},
                 {"blockHash", "\"0x12\""},
                 {"blockHash", "\"0x0000000000000000000000000000000000000000000000000000000000000001\""},
                 {"topics", "{}"},
                 {"topics", "[1]"},
                 {"topics", "[\"0x\",\"0x\",\"0x\",\"0x\",\"0x\"]"},
                 {"data", "\"0x123\""},
                 {"data", "null"},
                 {"transactionHash", "null"},
                 {"logIndex", "\"0xffffffffffff\""},
                 {"logIndex", "\"0x1\""}};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct node *node = node_new();
        struct told told;
        node_mine(node, 2);
        struct ledger *ledger = follow(node, 0, 0, &told);
        settle(node, &told);
        node_mine(node, 1);
        node_mark_add(node, 1);
        node_mark_add(node, 2);
        json_t *log = json_array_get(node->blocks[node->height].logs, 0);
        json_t *good = json_incref(json_object_get(log, wrong[i].member));
        json_object_set_new(log, wrong[i].member, json_loads(wrong[i].value, JSON_DECODE_ANY, NULL));
        unsigned asked = node_count(node, "eth_getLogs");
        node_run_until(node, node_count(node, "eth_getLogs") > asked + 2);
        assert_int_equal(told.confirmed_count, 0);
        json_object_set_new(log, wrong[i].member, good);
        settle(node, &told);
        assert_int_equal(told.confirmed_count, 2);
        ledger_free(ledger);
        node_free(node);
    }
}

static void foreign_events_are_left_out(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    node_mine(node, 1);
    node_mark_add(node, 1);
    node_mark_add(node, 2);
    json_t *log = json_array_get(node->blocks[node->height].logs, 0);
    json_object_set_new(log, "topics", json_array()); /* an anonymous event */
    struct ledger *ledger = follow(node, 0, 0, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 1);
    assert_int_equal(told.confirmed[0], 2);
    ledger_free(ledger);
    node_free(node);
}

static void malformed_blocks_are_said_so(void **state)
{
    (void)state;
    const char *errors[] = {"{\"code\":-32000,\"message\":\"header not found\"}"};
    struct node *node = node_new();
    struct told told;
    node->fault = FAULT_ERROR;
    node->fault_method = "eth_getBlockByNumber";
    node->fault_count = 3;
    node->error_json = errors[0];
    struct ledger *ledger = follow(node, 0, 0, &told);
    node_run_until(node, strstr(ledger_trouble(ledger), "header not found") != NULL);
    settle(node, &told);
    assert_int_equal(told.heads, 1);
    ledger_free(ledger);
    node_free(node);
}

static void a_node_that_restarts_is_followed_on(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    node_mine(node, 5);
    struct ledger *ledger = follow(node, 1, 0, &told);
    settle(node, &told);
    node_down(node);
    node_run_until(node, ledger_trouble(ledger)[0] != '\0');
    node_mine(node, 5);
    node_mark_add(node, 4);
    node_mine(node, 1);
    node_up(node);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 1);
    ledger_free(ledger);
    node_free(node);
}

static void freed_from_its_own_callbacks(void **state)
{
    (void)state;
    for (int at_head = 0; at_head < 2; at_head++) {
        struct node *node = node_new();
        struct told told;
        node_mine(node, 2);
        node_mark_add(node, 1);
        node_mark_add(node, 2);
        follow(node, 0, 0, &told);
        told.free_at_head = at_head == 1;
        told.free_at_event = at_head == 0;
        node_run_until(node, at_head ? told.heads == 1 : told.confirmed_count == 1);
        node_run_until(node, node->connections[0] == NULL);
        node_free(node);
    }
}

/* Any weather: blocks, reorganisations no deeper than `confirmations`, faults. In the end the confirmed
 * events are those of the chain that stands, each once, in order. */
static void any_weather(void **state)
{
    (void)state;
    const enum fault faults[] = {FAULT_NONE,  FAULT_GARBAGE, FAULT_STATUS_500,
                                 FAULT_CLOSE, FAULT_ERROR,   FAULT_WRONG_ID};
    uint64_t seed = 12345, mark = 0;
    struct node *node = node_new();
    struct told told;
    node->has_bloom = true;
    node->error_json = "{\"code\":-32000,\"message\":\"busy\"}";
    node_mine(node, 4);
    struct ledger *ledger = follow(node, 4, 0, &told);
    for (int step = 0; step < 150; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(seed >> 40);
        if (dice % 5 == 0) {
            uint64_t depth = 1 + dice / 5 % 4;
            node_reorganise(node, node->height - depth + 1, (unsigned)depth + dice % 2);
        } else {
            node_mine(node, 1 + dice % 3);
        }
        for (unsigned k = 0; k < dice / 7 % 3; k++)
            node_mark_add(node, mark++);
        node->fault = dice % 3 == 0 ? faults[dice / 11 % ARRAY_LENGTH(faults)] : FAULT_NONE;
        node->fault_method = NULL;
        node->fault_count = node->fault == FAULT_NONE ? 0 : 1;
        node->logs_hidden = dice % 13 == 0;
        unsigned until = node->requests + dice % 23;
        node_run_until(node, node->requests >= until);
    }
    node->fault_count = 0;
    node->logs_hidden = 0;
    node_mine(node, 5);
    settle(node, &told);
    size_t at = 0;
    for (uint64_t b = 0; b + 4 <= node->height; b++)
        for (size_t i = 0; i < json_array_size(node->blocks[b].logs); i++) {
            json_t *log = json_array_get(node->blocks[b].logs, i);
            const char *data = json_string_value(json_object_get(log, "data"));
            uint8_t words[64];
            assert_true(hex_decode(data, words, sizeof(words)));
            assert_true(at < told.confirmed_count);
            assert_int_equal(told.confirmed[at++], load_be64(words + 24));
        }
    assert_int_equal(told.confirmed_count, at);
    assert_true(at > 30);
    assert_int_equal(told.too_deep, 0);
    ledger_free(ledger);
    node_free(node);
}

int main(void)
{
    log_setup("test_follow", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order),
        cmocka_unit_test(the_head_is_told_even_when_nothing_happens),
        cmocka_unit_test(young_events_come_early_and_again_when_deep),
        cmocka_unit_test(long_ways_go_in_ranges),
        cmocka_unit_test(held_it_asks_for_no_more),
        cmocka_unit_test(a_node_that_knows_ranges_only_is_asked_for_ranges),
        cmocka_unit_test(ranges_that_fail_otherwise_are_halved_too),
        cmocka_unit_test(shallow_reorganisations_are_nothing),
        cmocka_unit_test(deep_reorganisations_are_said_so_once),
        cmocka_unit_test(a_shorter_chain_with_other_hashes_is_seen),
        cmocka_unit_test(a_node_that_lags_is_waited_for),
        cmocka_unit_test(logs_that_come_late_are_waited_for),
        cmocka_unit_test(logs_of_another_chain_are_not_given),
        cmocka_unit_test(malformed_logs_are_never_given),
        cmocka_unit_test(foreign_events_are_left_out),
        cmocka_unit_test(malformed_blocks_are_said_so),
        cmocka_unit_test(a_node_that_restarts_is_followed_on),
        cmocka_unit_test(freed_from_its_own_callbacks),
        cmocka_unit_test(any_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
