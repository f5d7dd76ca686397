/* Following a real node (anvil) that reorganises, falls behind, comes back with less history, is replaced by another
 * one, or refuses ranges of logs as providers do. What is given as confirmed is given once and is true. */
#include "tests/evm/manners.h"

#define DEEP 6 /* confirmations: more than any reorganisation here takes back, where it is asked for */

static size_t deposits(const struct stage *stage)
{
    return count_events(stage, EVENT_FUNDED);
}

/* A deposit that the node mines; nothing else is mined by itself. */
static void deposit_mined(struct stage *stage, uint64_t salt, struct outcome *outcome)
{
    uint64_t nonce = nonce_of(stage, &stage->client);
    deposit(stage, salt, 1000, outcome);
    run_until(stage, pool_size(stage) == 1);
    mine(stage, 1);
    assert_int_equal(nonce_of(stage, &stage->client), nonce + 1);
}

static struct stage *stage_listed(uint32_t confirmations)
{
    struct stage *stage = stage_new(NULL, confirmations);
    list_coin(stage);
    return stage;
}

/* The follower has worked through the node's newest block. */
static void catch_up(struct stage *stage)
{
    uint64_t height = anvil_height(&stage->node);
    run_until(stage, stage->head.confirmed_number + stage->options.confirmations >= height);
    look_around(stage, 6);
}

/* ---- reorganisations ---- */

static void a_deposit_that_vanishes_counts_when_it_comes_back(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth <= 5; depth++) {
        struct stage *stage = stage_listed(DEEP);
        struct outcome outcome;
        deposit_mined(stage, 1, &outcome);
        mine(stage, depth - 1);
        run_until(stage, stage->young_count > 0);
        size_t young = stage->young_count;
        reorganise(stage, depth);
        run_until(stage, pool_size(stage) == 1); /* the client shows it again */
        mine(stage, DEEP);
        catch_up(stage);
        assert_int_equal(deposits(stage), 0); /* it would be confirmed, had it not vanished */
        assert_true(stage->young_count > young);
        mine(stage, 1);
        assert_done(stage, &outcome);
        run_until(stage, deposits(stage) > 0);
        mine(stage, DEEP);
        catch_up(stage);
        assert_int_equal(deposits(stage), 1);
        assert_int_equal(stage->too_deep, 0);
        assert_int_equal(channel_now(stage, 1).total.units, 1000);
        stage_free(stage);
    }
}

static void a_deposit_that_never_comes_back_is_never_confirmed(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth <= 5; depth++) {
        struct stage *stage = stage_listed(DEEP);
        struct outcome outcome;
        deposit_mined(stage, 1, &outcome);
        mine(stage, depth - 1);
        run_until(stage, stage->young_count > 0);
        /* The sender ends, and with it the one who would show it again. */
        client_begin(stage);
        assert_int_equal(outcome.error, LEDGER_STOPPED);
        catch_up(stage);
        reorganise(stage, depth);
        mine(stage, 2 * DEEP);
        catch_up(stage);
        assert_int_equal(deposits(stage), 0);
        assert_int_equal(stage->too_deep, 0);
        assert_int_equal(channel_now(stage, 1).total.units, 0);
        assert_string_equal(ledger_trouble(stage->ledger), "");
        stage_free(stage);
    }
}

static void a_reorganisation_deeper_than_confirmations_is_told_once(void **state)
{
    (void)state;
    for (uint32_t confirmations = 0; confirmations < 5; confirmations++) {
        struct stage *stage = stage_listed(confirmations);
        struct outcome outcome;
        deposit_mined(stage, 1, &outcome);
        mine(stage, 4);
        catch_up(stage);
        assert_int_equal(deposits(stage), 1);
        reorganise(stage, 5);
        mine(stage, 1);
        run_until(stage, stage->too_deep > 0);
        mine(stage, 8);
        catch_up(stage);
        assert_int_equal(stage->too_deep, 1);
        stage_free(stage);
    }
}

/* ---- a node that is behind ---- */

static struct stage *stage_with_two_nodes(struct anvil *behind, uint32_t confirmations)
{
    struct stage *stage = stage_dumped(confirmations);
    list_coin(stage);
    stage_fork(stage, behind);
    return stage;
}

static void deposit_and_bury(struct stage *stage, uint64_t salt)
{
    struct outcome outcome;
    deposit(stage, salt, 1000, &outcome);
    bury(stage, &outcome);
}

static void a_node_behind_is_waited_for(void **state)
{
    (void)state;
    struct anvil behind;
    struct stage *stage = stage_with_two_nodes(&behind, 2);
    deposit_and_bury(stage, 1);
    run_until(stage, deposits(stage) == 1);
    proxy_port_set(stage->proxy, behind.port);
    run_until(stage, troubled_by(stage, "waiting for it to catch up"));
    assert_int_equal(stage->too_deep, 0);
    proxy_port_set(stage->proxy, stage->node.port);
    deposit_and_bury(stage, 2);
    run_until(stage, deposits(stage) == 2);
    run_until(stage, ledger_trouble(stage->ledger)[0] == '\0');

    /* A program that starts with its cursor while the node is behind waits as well, and is told nothing twice. */
    catch_up(stage);
    uint64_t cursor = stage->cursor;
    client_begin(stage);
    proxy_port_set(stage->proxy, behind.port);
    run_until(stage, troubled_by(stage, "waiting for it to catch up"));
    assert_int_equal(stage->cursor, cursor);
    proxy_port_set(stage->proxy, stage->node.port);
    mine(stage, 1);
    run_until(stage, stage->cursor > cursor);
    catch_up(stage);
    assert_int_equal(deposits(stage), 2);
    assert_int_equal(stage->too_deep, 0);
    anvil_end(&behind, SIGKILL);
    stage_free(stage);
}

/* It comes back with less history, and its chain grows another way. */
static void a_node_restarted_with_less_history_is_found_out(void **state)
{
    (void)state;
    struct anvil behind;
    struct stage *stage = stage_with_two_nodes(&behind, 2);
    deposit_and_bury(stage, 1);
    run_until(stage, deposits(stage) == 1);
    proxy_port_set(stage->proxy, behind.port);
    run_until(stage, troubled_by(stage, "waiting for it to catch up"));
    assert_int_equal(stage->too_deep, 0);
    anvil_mine(&behind, 20);
    run_until(stage, stage->too_deep > 0);
    look_around(stage, 10);
    assert_int_equal(stage->too_deep, 1);
    assert_int_equal(deposits(stage), 1);
    anvil_end(&behind, SIGKILL);
    stage_free(stage);
}

static void another_chain_in_its_place_is_not_believed(void **state)
{
    (void)state;
    struct stage *stage = stage_new(NULL, 2);
    struct anvil other;
    list_coin(stage);
    deposit_and_bury(stage, 1);
    run_until(stage, deposits(stage) == 1);
    const char *const flags[] = {"--timestamp", "1700000000", NULL};
    anvil_start(&other, flags);
    proxy_port_set(stage->proxy, other.port);
    run_until(stage, troubled_by(stage, "the node has another chain than before"));
    uint64_t cursor = stage->cursor;
    look_around(stage, 10);
    assert_int_equal(stage->cursor, cursor);
    assert_int_equal(stage->too_deep, 0);
    /* The former one is back. */
    proxy_port_set(stage->proxy, stage->node.port);
    deposit_and_bury(stage, 2);
    run_until(stage, deposits(stage) == 2);
    run_until(stage, ledger_trouble(stage->ledger)[0] == '\0'); /* said once the round has ended */
    anvil_end(&other, SIGKILL);
    stage_free(stage);
}

static void logs_come_from_the_node_behind(void *context, const struct proxy_request *request,
                                           struct proxy_reply *reply)
{
    const struct anvil *behind = context;
    if (strcmp(request->method, "eth_getLogs") == 0)
        reply->port = behind->port;
}

/* Two nodes behind one address: heads and blocks from one, logs from the other, which answers for blocks that it
 * does not have as if they had none. */
static void logs_of_a_node_behind_lose_nothing(void **state)
{
    (void)state;
    struct anvil behind;
    struct stage *stage = stage_with_two_nodes(&behind, 1);
    proxy_rule_set(stage->proxy, logs_come_from_the_node_behind, &behind);
    deposit_and_bury(stage, 1);
    run_until(stage, troubled_by(stage, "the node does not have "));
    mine(stage, 3);
    look_around(stage, 20);
    assert_int_equal(deposits(stage), 0);
    assert_true(stage->cursor < anvil_height(&stage->node) - 3);
    proxy_rule_set(stage->proxy, NULL, NULL);
    mine(stage, 1);
    run_until(stage, deposits(stage) == 1);
    catch_up(stage);
    assert_int_equal(deposits(stage), 1);
    assert_string_equal(ledger_trouble(stage->ledger), "");
    anvil_end(&behind, SIGKILL);
    stage_free(stage);
}

/* The client was away, and comes back to more blocks than the youngest: those of an old range. */
static void a_long_way_behind_a_node_that_stopped_loses_nothing(void **state)
{
    (void)state;
    struct anvil behind;
    struct stage *stage = stage_with_two_nodes(&behind, 1);
    catch_up(stage);
    uint64_t cursor = stage->cursor;
    deposit_and_bury(stage, 1);
    mine(stage, 40);
    run_until(stage, deposits(stage) == 1);
    client_end(stage);
    stage->event_count = stage->young_count = 0;
    stage->cursor = cursor;
    stage->head = (struct ledger_head){.number = 0};
    proxy_rule_set(stage->proxy, logs_come_from_the_node_behind, &behind);
    client_make(stage);
    run_until(stage, troubled_by(stage, "does not have the logs of blocks"));
    look_around(stage, 10);
    assert_int_equal(stage->cursor, cursor);
    proxy_rule_set(stage->proxy, NULL, NULL);
    catch_up(stage);
    assert_int_equal(deposits(stage), 1);
    assert_int_equal(stage->too_deep, 0);
    assert_string_equal(ledger_trouble(stage->ledger), "");
    anvil_end(&behind, SIGKILL);
    stage_free(stage);
}

/* ---- ranges ---- */

struct wording {
    int status;
    const char *error, *text;
};

struct limit {
    const struct wording *wording;
    uint64_t blocks; /* more are refused */
    uint64_t pruned; /* blocks before this one are not had */
    unsigned refused;
};

static void limits_ranges(void *context, const struct proxy_request *request, struct proxy_reply *reply)
{
    struct limit *limit = context;
    uint64_t from, to;
    const json_t *filter = json_array_get(request->params, 0);
    if (strcmp(request->method, "eth_getLogs") != 0 ||
        !quantity_u64(json_object_get(filter, "fromBlock"), &from) ||
        !quantity_u64(json_object_get(filter, "toBlock"), &to))
        return;
    if (to - from + 1 <= limit->blocks && from >= limit->pruned)
        return;
    limit->refused++;
    reply->status = limit->wording->status;
    reply->error = limit->wording->error;
    reply->text = limit->wording->text;
}

#define MARKS 5

/* Follows from the beginning again. */
static void client_afresh(struct stage *stage)
{
    client_end(stage);
    stage->event_count = stage->young_count = 0;
    stage->cursor = 0;
    stage->head = (struct ledger_head){.number = 0};
    proxy_rule_set(stage->proxy, NULL, NULL);
    client_make(stage);
}

static void ranges_are_halved_whatever_the_refusal_says(void **state)
{
    (void)state;
    const struct wording wordings[] = {
        {200, "{\"code\":-32005,\"message\":\"query returned more than 10000 results\"}", NULL},
        {200,
         "{\"code\":-32005,\"message\":\"query returned more than 10000 results. Try with this block range "
         "[0x1, "
         "0x20].\",\"data\":{\"from\":\"0x1\",\"limit\":10000,\"to\":\"0x20\"}}",
         NULL},
        {200, "{\"code\":-32005,\"message\":\"limit exceeded\"}", NULL},
        {200, "{\"code\":-32000,\"message\":\"block range is too wide\"}", NULL},
        {200, "{\"code\":-32000,\"message\":\"exceed maximum block range: 5000\"}", NULL},
        {200, "{\"code\":-32600,\"message\":\"Block range limit exceeded\"}", NULL},
        {200,
         "{\"code\":-32602,\"message\":\"Log response size exceeded. You can make eth_getLogs requests with "
         "up "
         "to a 2K block range\"}",
         NULL},
        {200, "{\"code\":35,\"message\":\"ranges over 10000 blocks are not supported\"}", NULL},
        {400, "{\"code\":-32614,\"message\":\"eth_getLogs is limited to a 10,000 range\"}", NULL},
        {413, NULL, "<html>413 Request Entity Too Large</html>"},
        {413, "{\"code\":-32013,\"message\":\"response too large\"}", NULL},
        {503, NULL, "the query took too long"},
    };
    struct stage *stage = stage_new(NULL, 1);
    list_coin(stage);
    for (uint64_t i = 1; i <= MARKS; i++) {
        deposit_and_bury(stage, i);
        mine(stage, 30);
    }
    run_until(stage, deposits(stage) == MARKS);
    for (size_t i = 0; i < ARRAY_LENGTH(wordings); i++) {
        struct limit limit = {.wording = &wordings[i], .blocks = 40};
        client_afresh(stage);
        proxy_rule_set(stage->proxy, limits_ranges, &limit);
        catch_up(stage);
        if (deposits(stage) != MARKS || limit.refused == 0 || limit.refused > 8)
            fail_msg("wording %zu: %zu deposits, %u refusals", i, deposits(stage), limit.refused);
        assert_string_equal(ledger_trouble(stage->ledger), "");
    }
    stage_free(stage);
}

static void thrown_away_history_is_said_and_not_skipped(void **state)
{
    (void)state;
    const struct wording wordings[] = {
        {200, "{\"code\":4444,\"message\":\"pruned history unavailable\"}", NULL},
        {200, "{\"code\":-32000,\"message\":\"history has been pruned for this block\"}", NULL},
        {200, "{\"code\":-32000,\"message\":\"missing trie node 12ab (path ) <nil>\"}", NULL},
        {200, "{\"code\":-32000,\"message\":\"header not found\"}", NULL},
    };
    struct stage *stage = stage_new(NULL, 1);
    list_coin(stage);
    deposit_and_bury(stage, 1);
    mine(stage, 60);
    run_until(stage, deposits(stage) == 1);
    for (size_t i = 0; i < ARRAY_LENGTH(wordings); i++) {
        struct limit limit = {.wording = &wordings[i], .blocks = UINT64_MAX, .pruned = 30};
        client_afresh(stage);
        proxy_rule_set(stage->proxy, limits_ranges, &limit);
        run_until(stage, troubled_by(stage, "another node is needed"));
        assert_int_equal(stage->cursor, 0);
        assert_int_equal(deposits(stage), 0);
        proxy_rule_set(stage->proxy, NULL, NULL);
        mine(stage, 1);
        catch_up(stage);
        assert_int_equal(deposits(stage), 1);
    }
    stage_free(stage);
}

int main(void)
{
    log_setup("test_manners_follow", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deposit_that_vanishes_counts_when_it_comes_back),
        cmocka_unit_test(a_deposit_that_never_comes_back_is_never_confirmed),
        cmocka_unit_test(a_reorganisation_deeper_than_confirmations_is_told_once),
        cmocka_unit_test(a_node_behind_is_waited_for),
        cmocka_unit_test(a_node_restarted_with_less_history_is_found_out),
        cmocka_unit_test(another_chain_in_its_place_is_not_believed),
        cmocka_unit_test(logs_of_a_node_behind_lose_nothing),
        cmocka_unit_test(a_long_way_behind_a_node_that_stopped_loses_nothing),
        cmocka_unit_test(ranges_are_halved_whatever_the_refusal_says),
        cmocka_unit_test(thrown_away_history_is_said_and_not_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
