#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "tests/support/capture.h"

/* The line that a message makes; free it. */
static char *line_of(enum log_level level, const char *message)
{
    struct capture capture = capture_begin(STDERR_FILENO);
    log_line(level, "%s", message);
    return capture_end(&capture);
}

static json_t *json_line_of(const char *message)
{
    char *line = line_of(LOG_INFO, message);
    assert_true(strlen(line) <= LOG_LINE_MAX);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    json_t *parsed = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(parsed);
    free(line);
    return parsed;
}

static const char *text_member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void test_a_line_of_text(void **state)
{
    (void)state;
    log_setup("rill-test", LOG_INFO, false);
    char *line = line_of(LOG_WARN, "disk 91 % full");
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_string_equal(line + 23, "Z warn  rill-test: disk 91 % full\n");
    free(line);
    struct capture capture = capture_begin(STDERR_FILENO);
    log_info("%d of %s", 3, "three");
    log_error("stop");
    line = capture_end(&capture);
    assert_non_null(strstr(line, "Z info  rill-test: 3 of three\n"));
    assert_non_null(strstr(line, "Z error rill-test: stop\n"));
    free(line);
}

static void test_a_line_of_json(void **state)
{
    (void)state;
    log_setup("rill-test", LOG_DEBUG, true);
    json_t *line = json_line_of("say \"tea\" \\ \t\x1b[31m\x7f \xe9\x9b\xbb");
    assert_string_equal(text_member(line, "message"), "say \"tea\" \\ \t\x1b[31m\x7f \xe9\x9b\xbb");
    assert_string_equal(text_member(line, "level"), "info");
    assert_string_equal(text_member(line, "program"), "rill-test");
    assert_int_equal(strlen(text_member(line, "time")), strlen("2026-01-01T00:00:00.000Z"));
    assert_int_equal(json_object_size(line), 4);
    json_decref(line);
}

static void test_lower_levels_are_left_out(void **state)
{
    (void)state;
    log_setup("rill-test", LOG_WARN, false);
    static const bool shown[] = {false, false, true, true};
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        char *line = line_of((enum log_level)level, "x");
        assert_int_equal(line[0] != '\0', shown[level]);
        free(line);
    }
}

static void test_a_message_cannot_forge_a_line(void **state)
{
    (void)state;
    log_setup("rill-test", LOG_INFO, false);
    char *line = line_of(LOG_INFO, "a\nb\rc\x1b[2Jd\te");
    assert_string_equal(strstr(line, "rill-test"), "rill-test: a?b?c?[2Jd?e\n");
    free(line);
    log_setup("rill-test", LOG_INFO, true);
    json_t *parsed = json_line_of("a\n{\"level\":\"error\"}");
    assert_string_equal(text_member(parsed, "message"), "a\n{\"level\":\"error\"}");
    json_decref(parsed);
}

static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    log_setup("rill-test", LOG_INFO, true);
    json_t *parsed = json_line_of("a\xff\xc3 b");
    assert_string_equal(text_member(parsed, "message"), "a?? b");
    json_decref(parsed);
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void test_long_messages_are_cut_and_say_so(void **state)
{
    (void)state;
    char message[4 * LOG_LINE_MAX + 1];
    static const char *const fillings[] = {"x", "\xe9\x9b\xbb", "\x01", "\""};
    for (size_t i = 0; i < ARRAY_LENGTH(fillings); i++) {
        size_t step = strlen(fillings[i]), length = 0;
        for (; length + step < sizeof(message); length += step)
            memcpy(message + length, fillings[i], step);
        message[length] = '\0';
        log_setup("rill-test", LOG_INFO, false);
        char *line = line_of(LOG_INFO, message);
        assert_true(strlen(line) <= LOG_LINE_MAX && ends_with(line, "[cut]\n"));
        assert_true(utf8_is_valid((const uint8_t *)line, strlen(line)));
        assert_null(i == 1 ? strchr(line, '?') : NULL); /* cut between characters, not inside one */
        free(line);
        log_setup("rill-test", LOG_INFO, true);
        json_t *parsed = json_line_of(message);
        assert_true(ends_with(text_member(parsed, "message"), "[cut]"));
        json_decref(parsed);
    }
    /* Escapes make it too long for the line where a character is half written. */
    log_setup("rill-test", LOG_INFO, true);
    for (size_t controls = 180; controls < 184; controls++) {
        snprintf(message, sizeof(message), "%0*d", (int)controls, 0);
        memset(message, 1, controls);
        for (size_t length = controls; length + 4 < LOG_LINE_MAX / 2; length += 3)
            memcpy(message + length, "\xe9\x9b\xbb", 4);
        json_decref(json_line_of(message));
    }
    log_setup("rill-test", LOG_INFO, false);
    message[500] = '\0';
    char *line = line_of(LOG_INFO, message);
    assert_null(strstr(line, "[cut]"));
    free(line);
}

static void test_names_of_levels(void **state)
{
    (void)state;
    enum log_level level = LOG_WARN;
    assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
    assert_true(log_level_parse("info", &level) && level == LOG_INFO);
    assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
    assert_true(log_level_parse("warn", &level) && level == LOG_WARN);
    static const char *const wrong[] = {"", "warning", "INFO", "2", "inf"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        assert_false(log_level_parse(wrong[i], &level));
    assert_int_equal(level, LOG_WARN);
}

static void test_a_closed_stderr_harms_nobody(void **state)
{
    (void)state;
    int original = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    log_error("nobody hears this");
    assert_int_equal(dup2(original, STDERR_FILENO), STDERR_FILENO);
    close(original);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_of_text),
        cmocka_unit_test(test_a_line_of_json),
        cmocka_unit_test(test_lower_levels_are_left_out),
        cmocka_unit_test(test_a_message_cannot_forge_a_line),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_long_messages_are_cut_and_say_so),
        cmocka_unit_test(test_names_of_levels),
        cmocka_unit_test(test_a_closed_stderr_harms_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
