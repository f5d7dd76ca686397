/* What a node sends back, read without a node: answers to calls and to batches, lists of logs that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "ledger/follow_logs.h"
#include "ledger/rpc_answers.h"

/* Whoever asks for more than this at once has believed a number. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=1024";
}

static json_t *read_text(const char *text, bool is_batch, struct rpc_part *parts, size_t count)
{
    return rpc_answers_read((const uint8_t *)text, strlen(text), 7, is_batch, parts, count);
}

static void single_answers_have_the_id_or_none(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool is_answer;
    } cases[] = {
        {"{\"id\":7,\"result\":\"0x1\"}", true},
        {"{\"id\":7,\"result\":null}", true},
        {"{\"id\":7,\"error\":{\"code\":1}}", true},
        {"{\"id\":null,\"error\":{\"code\":1}}", true},
        {"{\"id\":null,\"result\":\"0x1\"}", false},
        {"{\"id\":8,\"result\":\"0x1\"}", false},
        {"{\"id\":6,\"result\":\"0x1\"}", false},
        {"{\"id\":\"7\",\"result\":\"0x1\"}", false},
        {"{\"id\":7}", false},
        {"{\"id\":7,\"error\":\"no\"}", false},
        {"[{\"id\":7,\"result\":\"0x1\"}]", false},
        {"7", false},
        {"", false},
        {"{\"id\":7,\"id\":7,\"result\":1}", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct rpc_part part = {.of_logs = false};
        json_t *answer = read_text(cases[i].text, false, &part, 1);
        if ((answer != NULL) != cases[i].is_answer)
            fail_msg("case %zu: %s", i, cases[i].text);
        json_decref(answer);
    }
}

static void batches_are_answered_by_id(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool is_answer;
    } cases[] = {
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2},{\"id\":9,\"error\":{\"code\":1}}]", true},
        {"[{\"id\":9,\"error\":{\"code\":1}},{\"id\":7,\"result\":1},{\"id\":8,\"result\":2}]", true},
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2}]", false},
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2},{\"id\":8,\"result\":2}]", false},
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2},{\"id\":10,\"result\":2}]", false},
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2},{\"id\":null,\"error\":{}}]", false},
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2},{\"id\":9}]", false},
        {"[{\"id\":7,\"result\":1},{\"id\":8,\"result\":2},{\"id\":9,\"result\":2},{\"id\":9,\"result\":2}]",
         false},
        {"[]", false},
        {"[1,2,3]", false},
        {"\"no\"", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct rpc_part parts[3] = {{.of_logs = true}};
        json_t *answer = read_text(cases[i].text, true, parts, 3);
        if ((answer != NULL) != cases[i].is_answer)
            fail_msg("case %zu: %s", i, cases[i].text);
        if (answer != NULL) {
            assert_int_equal(json_integer_value(json_object_get(parts[0].answer, "result")), 1);
            assert_int_equal(json_integer_value(json_object_get(parts[1].answer, "result")), 2);
            assert_null(rpc_answer_error(answer, &parts[1]));
            assert_non_null(rpc_answer_error(answer, &parts[2]));
        }
        json_decref(answer);
    }
}

static void nodes_that_take_no_batches_are_found_out(void **state)
{
    (void)state;
    const struct {
        const char *text;
        unsigned times; /* until it is clear; 0: never */
    } cases[] = {
        {"[{\"id\":7,\"result\":1}]", 0},
        {"{\"id\":7,\"result\":1}", 1},
        {"{\"id\":null,\"error\":{\"code\":-32600,\"message\":\"invalid request\"}}", 1},
        {"{\"id\":\"x\",\"error\":{\"code\":-32700,\"message\":\"parse error\"}}", 1},
        {"{\"id\":0,\"error\":{\"code\":-32000,\"message\":\"Batch size too large\"}}", 1},
        {"{\"id\":7,\"error\":{\"code\":-32603,\"message\":\"internal error\"}}", RPC_BATCH_FAILURES_MAX},
        {"<html>", RPC_BATCH_FAILURES_MAX},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct rpc_batches batches = {.failures = 0};
        unsigned times = 0;
        while (times < 100 && !rpc_batches_are_over(&batches)) {
            struct rpc_part part;
            json_t *answer = read_text(cases[i].text, true, &part, 1);
            rpc_batches_note(&batches, answer);
            json_decref(answer);
            times++;
        }
        assert_int_equal(times, cases[i].times == 0 ? 100 : cases[i].times);
        json_t *list = json_array(); /* and it takes them after all */
        rpc_batches_note(&batches, list);
        assert_false(rpc_batches_are_over(&batches));
        json_decref(list);
    }
}

/* Text that would take hundreds of times its size in memory is not parsed. */
static void answers_of_nothing_but_brackets_are_not_read(void **state)
{
    (void)state;
    static const char *const values[] = {"{},", "0,", "[],", "[[[]]],"};
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++)
        for (int is_long = 0; is_long < 2; is_long++) {
            struct buffer text = {0};
            buffer_printf(&text, "{\"id\":7,\"result\":[");
            while (text.length < (is_long ? RPC_ANSWER_MAX : 60000u))
                buffer_printf(&text, "%s", values[i]);
            buffer_printf(&text, "0]}");
            struct rpc_part part;
            json_t *answer = rpc_answers_read(text.data, text.length, 7, false, &part, 1);
            assert_int_equal(answer == NULL, is_long);
            json_decref(answer);
            buffer_free(&text);
        }
}

/* A list says how long it is, not how many logs are in it. */
static void memory_is_set_aside_for_logs_that_were_read(void **state)
{
    (void)state;
    const struct address contract = {{0xc0, 1}};
    json_t *list = json_array(), *zero = json_integer(0);
    for (size_t i = 0; i < 4000000; i++)
        json_array_append(list, zero);
    struct event_list events;
    assert_string_equal(event_list_read(list, &contract, 0, 9, &events), "a log is malformed");
    assert_int_equal(events.count, 0);
    event_list_free(&events);
    json_decref(zero);
    json_decref(list);
}

int main(void)
{
    log_setup("test_answers", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_answers_have_the_id_or_none),
        cmocka_unit_test(batches_are_answered_by_id),
        cmocka_unit_test(nodes_that_take_no_batches_are_found_out),
        cmocka_unit_test(answers_of_nothing_but_brackets_are_not_read),
        cmocka_unit_test(memory_is_set_aside_for_logs_that_were_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
