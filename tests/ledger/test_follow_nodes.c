/* Following where several nodes stand behind one address, some of them behind or stuck; where a node takes no batches of
 * calls; and where it refuses in odd ways. */
#include "tests/ledger/following.h"

/* ---- several nodes behind one address ---- */

static bool asks_for_logs(const json_t *request)
{
    const json_t *question;
    size_t i;
    if (!json_is_array(request))
        return strcmp(node_method_of(request), "eth_getLogs") == 0;
    json_array_foreach(request, i, question) if (asks_for_logs(question)) return true;
    return false;
}

static bool logs_go_astray(struct node *node, const json_t *request)
{
    (void)node;
    return asks_for_logs(request);
}

static bool some_logs_go_astray(struct node *node, const json_t *request)
{
    static unsigned count;
    (void)node;
    return asks_for_logs(request) && ++count % 3 != 0;
}

/* A long way to catch up, heads from one node and logs from another that stopped in the middle of it, and says of blocks
 * that it does not have that they have no logs. */
static void logs_of_a_node_that_stopped_lose_nothing(void **state)
{
    (void)state;
    bool (*const ways[])(struct node * node, const json_t *request) = {logs_go_astray, some_logs_go_astray};
    for (size_t i = 0; i < ARRAY_LENGTH(ways); i++) {
        struct node *node = node_new();
        struct told told;
        marks_mine(node, 0, 350);
        node->astray_height = 150;
        node->goes_astray = ways[i];
        struct ledger *ledger = follow(node, 1, 0, &told);
        if (ways[i] == logs_go_astray) {
            node_run_until(node, ledger_trouble(ledger)[0] != '\0');
            assert_non_null(strstr(ledger_trouble(ledger), "waiting for it to catch up"));
            assert_true(told.confirmed_count <= 150);
            node->goes_astray = NULL;
        }
        settle(node, &told);
        assert_true(node->astray_count > 0);
        assert_all_marks(&told, 349);
        assert_int_equal(told.too_deep, 0);
        ledger_free(ledger);
        node_free(node);
    }
}

/* Hung at a block that was reorganised away: which requests reach it. */
enum astray { ASTRAY_HEADS, ASTRAY_ANCHORS, ASTRAY_ALL };
static enum astray astray_what;

static bool every_other_goes_astray(struct node *node, const json_t *request)
{
    static unsigned count;
    (void)node;
    const json_t *question = json_is_array(request) ? json_array_get(request, 0) : request;
    const char *tag = json_string_value(json_array_get(json_object_get(question, "params"), 0));
    bool is_block = strcmp(node_method_of(question), "eth_getBlockByNumber") == 0 && tag != NULL;
    bool is_head = is_block && strcmp(tag, "latest") == 0;
    if (astray_what == ASTRAY_HEADS ? !is_head : astray_what == ASTRAY_ANCHORS && (!is_block || is_head))
        return false;
    return ++count % 2 == 0;
}

static void a_node_on_a_block_that_was_taken_back_is_not_believed(void **state)
{
    (void)state;
    for (uint32_t confirmations = 0; confirmations < 3; confirmations++)
        for (astray_what = ASTRAY_HEADS; astray_what <= ASTRAY_ALL; astray_what++) {
            struct node *node = node_new();
            struct told told;
            marks_mine(node, 0, 20);
            node->astray_height = 20;
            node->astray_tip =
                (struct node_block){keccak256("other", 5), node->blocks[20].time, json_array()};
            struct ledger *ledger = follow(node, confirmations, 0, &told);
            settle(node, &told);
            node->goes_astray = every_other_goes_astray;
            for (uint64_t i = 20; i < 24; i++) {
                marks_mine(node, i, 1);
                unsigned until = node_count(node, "eth_getBlockByNumber") + 60;
                node_run_until(node, node_count(node, "eth_getBlockByNumber") >= until);
            }
            node->goes_astray = NULL;
            settle(node, &told);
            assert_true(node->astray_count > 0);
            assert_int_equal(told.too_deep, 0);
            assert_all_marks(&told, 24 - confirmations);
            ledger_free(ledger);
            node_free(node);
        }
}

static bool all_goes_astray(struct node *node, const json_t *request)
{
    (void)node;
    (void)request;
    return true;
}

/* All that is asked is answered by the node that is stuck: doubted, and said; not believed for as long as a chain takes
 * to go on. */
static void what_was_confirmed_is_doubted_before_it_is_given_up(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    marks_mine(node, 0, 20);
    struct ledger *ledger = follow(node, 2, 0, &told);
    settle(node, &told);
    node->astray_height = 18; /* the anchor's */
    node->astray_tip = (struct node_block){keccak256("other", 5), node->blocks[18].time, json_array()};
    node->goes_astray = all_goes_astray;
    node_run_until(node,
                   strstr(ledger_trouble(ledger), "another block 18 than the one that was given") != NULL);
    unsigned heads = told.heads, until = node_count(node, "eth_getBlockByNumber") + 100;
    node_run_until(node, node_count(node, "eth_getBlockByNumber") >= until);
    assert_int_equal(told.heads, heads);
    assert_int_equal(told.too_deep, 0);
    node->goes_astray = NULL;
    marks_mine(node, 20, 1);
    settle(node, &told);
    assert_int_equal(told.too_deep, 0);
    assert_all_marks(&told, 19);
    ledger_free(ledger);
    node_free(node);
}

/* ---- batches ---- */

static void batches_are_taken_as_they_come(void **state)
{
    (void)state;
    const char *errors[] = {"{\"code\":-32600,\"message\":\"not a request\"}",
                            "{\"code\":-32000,\"message\":\"batch requests are not enabled\"}",
                            "{\"code\":-32603,\"message\":\"internal error\"}"};
    for (enum batches how = BATCHES_TAKEN; how <= BATCHES_NOT_UNDERSTOOD; how++)
        for (size_t i = 0; i < (how == BATCHES_REFUSED ? ARRAY_LENGTH(errors) : 1); i++) {
            struct node *node = node_new();
            struct told told;
            marks_mine(node, 0, 350);
            node->batches = how;
            node->batch_error = errors[i];
            struct ledger *ledger = follow(node, 1, 0, &told);
            settle(node, &told);
            assert_all_marks(&told, 349);
            if (how == BATCHES_ONE_ANSWERED || (how == BATCHES_REFUSED && i < 2))
                assert_int_equal(node->batch_count, 1);
            else if (how > BATCHES_REVERSED)
                assert_int_equal(node->batch_count, 12);
            /* It is asked again some day. */
            unsigned batches = node->batch_count;
            node->batches = BATCHES_TAKEN;
            for (uint64_t more = 0; more < 30 || node->batch_count <= batches + 20; more++) {
                assert_true(more < 100);
                marks_mine(node, 350 + more, 1);
                settle(node, &told);
            }
            assert_all_marks(&told, node->height - 1);
            ledger_free(ledger);
            node_free(node);
        }
}

/* A batch in which one question exceeds the rate is asked again as a whole. */
static void a_batch_waits_for_the_rate(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    marks_mine(node, 0, 40);
    node->fault = FAULT_ERROR;
    node->fault_method = "eth_getLogs";
    node->error_json = "{\"code\":429,\"message\":\"Too Many Requests\"}";
    node->fault_count = 2;
    struct ledger *ledger = follow(node, 1, 0, &told);
    settle(node, &told);
    assert_all_marks(&told, 39);
    assert_int_equal(node_count(node, "eth_chainId"), 1); /* the node did not fail */
    ledger_free(ledger);
    node_free(node);
}

/* ---- odd refusals ---- */

/* What a node says once in an hour of trouble does not end the asking by hash. */
static void odd_errors_do_not_end_the_asking_by_hash(void **state)
{
    (void)state;
    const char *errors[] = {"{\"code\":-32603,\"message\":\"internal error\"}",
                            "{\"code\":-32000,\"message\":\"query timeout\"}",
                            "{\"code\":-32000,\"message\":\"0x12 could not be found\"}"};
    for (size_t i = 0; i < ARRAY_LENGTH(errors); i++) {
        struct node *node = node_new();
        struct told told;
        marks_mine(node, 0, 5);
        struct ledger *ledger = follow(node, 1, 0, &told);
        settle(node, &told);
        node->hash_error = errors[i];
        marks_mine(node, 5, 1);
        node_run_until(node, ledger_trouble(ledger)[0] != '\0');
        assert_int_equal(told.confirmed_count, 4);
        node->hash_error = NULL;
        settle(node, &told);
        unsigned asked = node->hash_count;
        marks_mine(node, 6, 1);
        settle(node, &told);
        assert_true(node->hash_count > asked);
        assert_all_marks(&told, 6);
        ledger_free(ledger);
        node_free(node);
    }
}

static void a_node_without_block_0_is_followed(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    marks_mine(node, 0, 30);
    node->old_error = "{\"code\":-32000,\"message\":\"blocks before 3 are not kept\"}";
    struct ledger *ledger = follow(node, 1, 3, &told);
    settle(node, &told);
    assert_int_equal(told.confirmed_count, 27);
    /* When it lags, that is all there is to say. */
    node->height = 10;
    node_run_until(node, strstr(ledger_trouble(ledger), "behind block 29") != NULL);
    node->height = 30;
    settle(node, &told);
    ledger_free(ledger);
    node_free(node);
}

/* Logs may be long, and what is not a list of logs is not taken for one. */
static void logs_may_be_long(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct told told;
    size_t length = (size_t)3 << 20;
    char *data = calloc(1, length + 1);
    memset(data, '0', length);
    data[1] = 'x';
    marks_mine(node, 0, 3);
    json_t *log = json_deep_copy(json_array_get(node->blocks[2].logs, 0));
    json_object_set_new(log, "topics", json_array()); /* no event of ours */
    json_object_set_new(log, "data", json_string(data));
    json_object_set_new(log, "logIndex", quantity_of(1));
    json_array_append_new(node->blocks[2].logs, log);
    struct ledger *ledger = follow(node, 0, 0, &told);
    settle(node, &told);
    assert_all_marks(&told, 3);
    free(data);
    ledger_free(ledger);
    node_free(node);
}

int main(void)
{
    log_setup("test_follow_nodes", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_of_a_node_that_stopped_lose_nothing),
        cmocka_unit_test(a_node_on_a_block_that_was_taken_back_is_not_believed),
        cmocka_unit_test(what_was_confirmed_is_doubted_before_it_is_given_up),
        cmocka_unit_test(batches_are_taken_as_they_come),
        cmocka_unit_test(a_batch_waits_for_the_rate),
        cmocka_unit_test(odd_errors_do_not_end_the_asking_by_hash),
        cmocka_unit_test(a_node_without_block_0_is_followed),
        cmocka_unit_test(logs_may_be_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
