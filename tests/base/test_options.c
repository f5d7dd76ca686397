#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/options.h"
#include "base/version.h"
#include "tests/support/capture.h"

static struct {
    const char *listen;
    uint64_t port;
    uint64_t window;
    bool json;
    const char *format;
    const char *passphrase_file;
} set;

static const struct option_row rows[] = {
    {"hub-listen", OPTION_TEXT, &set.listen, "127.0.0.1:9735", 0, 0, "ADDRESS:PORT",
     "Where clients connect."},
    {"port", OPTION_NUMBER, &set.port, "80", 1, 65535, NULL, "A port."},
    {"window-s", OPTION_NUMBER, &set.window, NULL, 0, UINT64_MAX, "SECONDS", "A window in seconds."},
    {"json", OPTION_FLAG, &set.json, NULL, 0, 0, NULL, "Prints JSON."},
    {"log-format", OPTION_CHOICE, &set.format, "text", 0, 0, "text|json", "How lines look."},
    {"passphrase-file", OPTION_TEXT, &set.passphrase_file, NULL, 0, 0, "FILE", "Where the passphrase is."},
};

static const struct options options = {.program = "rill-test",
                                       .environment_prefix = "RILL_TEST",
                                       .usage = "[OPTIONS] [WORD]",
                                       .about =
                                           "Shows how settings are read.\nExample: rill-test --port 9735",
                                       .rows = rows,
                                       .row_count = ARRAY_LENGTH(rows)};

#define WORDS_MAX 2

/* What a run gave. */
static char *printed, *complained;
static const char *words[WORDS_MAX];
static size_t word_count;

static void forget(void)
{
    free(printed);
    free(complained);
    printed = complained = NULL;
}

#define run(...) run_arguments((const char *[]){"rill-test", __VA_ARGS__, NULL})

static enum options_result run_arguments(const char **arguments)
{
    int count = 0;
    while (arguments[count] != NULL)
        count++;
    forget();
    struct capture out = capture_begin(STDOUT_FILENO), error = capture_begin(STDERR_FILENO);
    enum options_result result =
        options_read(&options, count, (char **)arguments, words, WORDS_MAX, &word_count);
    complained = capture_end(&error);
    printed = capture_end(&out);
    return result;
}

/* Wrong, and said in exactly one line. */
static void assert_wrong(enum options_result result, const char *line)
{
    assert_int_equal(result, OPTIONS_WRONG);
    assert_string_equal(complained, line);
    assert_string_equal(printed, "");
}

static char folder[] = "/tmp/rill-options-XXXXXX";

/* A configuration file with this text; its path. */
static const char *config_file(const char *text, size_t length)
{
    static char path[sizeof(folder) + 16];
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

static enum options_result run_config(const char *text)
{
    return run("--config", config_file(text, strlen(text)));
}

static void assert_config_wrong(const char *text, const char *message)
{
    char expected[512];
    enum options_result result = run_config(text);
    snprintf(expected, sizeof(expected), "rill-test: %s/a.conf:%s\n", folder, message);
    assert_wrong(result, expected);
}

static int setup(void **state)
{
    (void)state;
    for (char **variable = environ; *variable != NULL; variable++)
        assert_true(strncmp(*variable, "RILL_TEST_", 10) != 0);
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    forget();
    unlink(config_file("", 0));
    return rmdir(folder);
}

static void test_defaults(void **state)
{
    (void)state;
    memset(&set, 0xff, sizeof(set));
    assert_int_equal(run(NULL), OPTIONS_RUN);
    assert_string_equal(set.listen, "127.0.0.1:9735");
    assert_int_equal(set.port, 80);
    assert_int_equal(set.window, 0);
    assert_false(set.json);
    assert_string_equal(set.format, "text");
    assert_null(set.passphrase_file);
    assert_int_equal(word_count, 0);
    assert_string_equal(complained, "");
}

static void test_flags(void **state)
{
    (void)state;
    assert_int_equal(run("--port", "9735", "--hub-listen=[::1]:1", "--json", "--log-format", "json",
                         "--window-s", "18446744073709551615"),
                     OPTIONS_RUN);
    assert_int_equal(set.port, 9735);
    assert_string_equal(set.listen, "[::1]:1");
    assert_true(set.json);
    assert_string_equal(set.format, "json");
    assert_true(set.window == UINT64_MAX);

    assert_int_equal(run("--json", "--json=false", "--port=1", "--port=65535"),
                     OPTIONS_RUN); /* the last wins */
    assert_false(set.json);
    assert_int_equal(set.port, 65535);
    assert_int_equal(run("--json=true", "--hub-listen="), OPTIONS_RUN);
    assert_true(set.json);
    assert_string_equal(set.listen, "");
    assert_int_equal(run("--hub-listen=--json", "--passphrase-file", "-"), OPTIONS_RUN);
    assert_string_equal(set.listen, "--json");
    assert_string_equal(set.passphrase_file, "-");
    assert_false(set.json);
}

static void test_words(void **state)
{
    (void)state;
    assert_int_equal(run("pay", "--json", "-"), OPTIONS_RUN);
    assert_int_equal(word_count, 2);
    assert_string_equal(words[0], "pay");
    assert_string_equal(words[1], "-");
    assert_true(set.json);
    assert_int_equal(run("--", "--json", "--nonsense"), OPTIONS_RUN);
    assert_int_equal(word_count, 2);
    assert_string_equal(words[0], "--json");
    assert_string_equal(words[1], "--nonsense");
    assert_false(set.json);
    assert_wrong(run("a", "b", "c"), "rill-test: unexpected 'c'; see rill-test --help\n");

    char *arguments[] = {"rill-test", "word", NULL};
    struct capture error = capture_begin(STDERR_FILENO);
    enum options_result result = options_read(&options, 2, arguments, NULL, 0, NULL);
    char *text = capture_end(&error);
    assert_int_equal(result, OPTIONS_WRONG);
    assert_string_equal(text, "rill-test: unexpected 'word'; see rill-test --help\n");
    free(text);
}

static void test_unknown_flags_name_the_nearest(void **state)
{
    (void)state;
    assert_wrong(run("--hub-lisen", "x"),
                 "rill-test: unknown flag --hub-lisen; did you mean --hub-listen?\n");
    assert_wrong(run("--prot=3"), "rill-test: unknown flag --prot; did you mean --port?\n");
    assert_wrong(run("--josn"), "rill-test: unknown flag --josn; did you mean --json?\n");
    assert_wrong(run("--hlep"), "rill-test: unknown flag --hlep; did you mean --help?\n");
    assert_wrong(run("--conifg=x"), "rill-test: unknown flag --conifg; did you mean --config?\n");
    assert_wrong(run("-port"), "rill-test: unknown flag -port; did you mean --port?\n");
    assert_wrong(run("--frobnicate"), "rill-test: unknown flag --frobnicate; see rill-test --help\n");
    assert_wrong(run("--=3"), "rill-test: unknown flag --; see rill-test --help\n");
    char long_flag[300] = "--";
    memset(long_flag + 2, 'x', sizeof(long_flag) - 3);
    assert_int_equal(run(long_flag), OPTIONS_WRONG);
    assert_true(strlen(complained) < 160);
}

static void test_values_that_are_missing(void **state)
{
    (void)state;
    assert_wrong(run("--port"), "rill-test: --port needs a value: --port=VALUE\n");
    assert_wrong(run("--hub-listen", "--json"),
                 "rill-test: --hub-listen needs a value: --hub-listen=ADDRESS:PORT\n");
    assert_wrong(run("--config"), "rill-test: --config needs a value: --config=FILE\n");
}

static void test_numbers_out_of_bounds(void **state)
{
    (void)state;
    static const char *const wrong[] = {"0",
                                        "65536",
                                        "-1",
                                        "+1",
                                        "1.5",
                                        "0x10",
                                        "80 ",
                                        "",
                                        "eighty",
                                        "18446744073709551616",
                                        "99999999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        char line[200];
        snprintf(line, sizeof(line), "rill-test: --port: '%s' is not a whole number from 1 to 65535\n",
                 wrong[i]);
        assert_wrong(run("--port", wrong[i]), line);
        assert_int_equal(set.port, 80);
    }
}

static void test_wrong_choices_and_flags(void **state)
{
    (void)state;
    assert_wrong(run("--log-format", "xml"), "rill-test: --log-format: 'xml' is none of text|json\n");
    assert_wrong(run("--log-format="), "rill-test: --log-format: '' is none of text|json\n");
    assert_wrong(run("--log-format=tex"), "rill-test: --log-format: 'tex' is none of text|json\n");
    assert_wrong(run("--log-format=text|json"),
                 "rill-test: --log-format: 'text|json' is none of text|json\n");
    assert_wrong(run("--json=yes"), "rill-test: --json: 'yes' is neither true nor false\n");
}

static void test_the_file(void **state)
{
    (void)state;
    assert_int_equal(
        run_config("# settings\n\n  port = 81 # web\r\nhub-listen=a#b\n\tjson =true\nlog-format = json"),
        OPTIONS_RUN);
    assert_int_equal(set.port, 81);
    assert_string_equal(set.listen, "a#b");
    assert_true(set.json);
    assert_string_equal(set.format, "json");
    assert_int_equal(run_config(""), OPTIONS_RUN);
    assert_int_equal(run_config("passphrase-file = /a b=c\n"), OPTIONS_RUN);
    assert_string_equal(set.passphrase_file, "/a b=c");
}

static void test_a_wrong_file(void **state)
{
    (void)state;
    assert_config_wrong("port = 1\nprot = 2\n", "2: no setting 'prot'; did you mean 'port'?");
    assert_config_wrong("frobnicate = 2\n", "1: no setting 'frobnicate'; --help lists them");
    assert_config_wrong("config = b\n", "1: no setting 'config'; --help lists them");
    assert_config_wrong("\n\njson\n", "3: write 'name = value', not 'json'");
    assert_config_wrong("port = 0\n", "1: port: '0' is not a whole number from 1 to 65535");
    assert_config_wrong("json = 1\n", "1: json: '1' is neither true nor false");
    assert_config_wrong("port = 1\nport = 2\n", "2: 'port' is set a second time; keep one line");

    char expected[256];
    char large[64 * 1024 + 2];
    memset(large, '\n', sizeof(large));
    const char *path = config_file(large, sizeof(large) - 1);
    snprintf(expected, sizeof(expected), "rill-test: the configuration file %s is longer than 65536 bytes\n",
             path);
    assert_wrong(run("--config", path), expected);
    config_file(large, sizeof(large) - 2);
    assert_int_equal(run("--config", path), OPTIONS_RUN);
    config_file("port = 1\0", 9);
    snprintf(expected, sizeof(expected), "rill-test: the configuration file %s is not text (UTF-8)\n", path);
    assert_wrong(run("--config", path), expected);
}

static void test_a_file_that_cannot_be_read(void **state)
{
    (void)state;
    char expected[256], missing[64];
    snprintf(missing, sizeof(missing), "%s/none.conf", folder);
    snprintf(expected, sizeof(expected),
             "rill-test: cannot open the configuration file %s: No such file or directory\n", missing);
    assert_wrong(run("--config", missing), expected);
    snprintf(expected, sizeof(expected), "rill-test: cannot read the configuration file %s: Is a directory\n",
             folder);
    assert_wrong(run("--config", folder), expected);
}

static void test_the_environment(void **state)
{
    (void)state;
    setenv("RILL_TEST_HUB_LISTEN", "e:1", 1);
    setenv("RILL_TEST_JSON", "true", 1);
    setenv("RILL_TEST_PORT", "", 1); /* empty: not set */
    assert_int_equal(run(NULL), OPTIONS_RUN);
    assert_string_equal(set.listen, "e:1");
    assert_true(set.json);
    assert_int_equal(set.port, 80);
    setenv("RILL_TEST_PORT", "x", 1);
    assert_wrong(run(NULL), "rill-test: RILL_TEST_PORT: 'x' is not a whole number from 1 to 65535\n");
    unsetenv("RILL_TEST_HUB_LISTEN");
    unsetenv("RILL_TEST_JSON");
    unsetenv("RILL_TEST_PORT");
}

static void test_flag_over_environment_over_file_over_default(void **state)
{
    (void)state;
    const char text[] = "port = 2\nwindow-s = 2\nhub-listen = file\n";
    setenv("RILL_TEST_CONFIG", config_file(text, strlen(text)), 1);
    setenv("RILL_TEST_PORT", "3", 1);
    setenv("RILL_TEST_WINDOW_S", "3", 1);
    assert_int_equal(run("--port", "4"), OPTIONS_RUN);
    assert_int_equal(set.port, 4);
    assert_int_equal(set.window, 3);
    assert_string_equal(set.listen, "file");
    assert_string_equal(set.format, "text");
    setenv("RILL_TEST_CONFIG", "/nowhere/b.conf", 1); /* the flag names another file */
    assert_int_equal(run("--config", config_file(text, strlen(text))), OPTIONS_RUN);
    assert_string_equal(set.listen, "file");
    unsetenv("RILL_TEST_CONFIG");
    unsetenv("RILL_TEST_PORT");
    unsetenv("RILL_TEST_WINDOW_S");
}

static void test_help_teaches(void **state)
{
    (void)state;
    static const char *const taught[] = {
        "usage: rill-test [OPTIONS] [WORD]\n",
        "Example: rill-test --port 9735\n",
        "  --hub-listen ADDRESS:PORT\n      Where clients connect.\n",
        "      [default: 127.0.0.1:9735] [environment: RILL_TEST_HUB_LISTEN]\n",
        "  --port NUMBER\n      A port. From 1 to 65535.\n",
        "  --window-s SECONDS\n      A window in seconds. At least 0.\n      [default: none]",
        "  --json\n      Prints JSON.\n      [default: false] [environment: RILL_TEST_JSON]\n",
        "  --log-format text|json\n",
        "  --config FILE\n",
        "RILL_TEST_CONFIG",
        "  --version\n",
    };
    static const char *const flags[] = {"--help", "-h"};
    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
        assert_int_equal(run("word", flags[i], "--port", "wrong"), OPTIONS_DONE);
        assert_string_equal(complained, "");
        for (size_t j = 0; j < ARRAY_LENGTH(taught); j++)
            if (strstr(printed, taught[j]) == NULL)
                fail_msg("--help does not say '%s' but:\n%s", taught[j], printed);
    }
}

static void test_version(void **state)
{
    (void)state;
    assert_int_equal(run("--version"), OPTIONS_DONE);
    assert_string_equal(printed, "rill-test " RILL_VERSION "\n");
}

static void test_markdown(void **state)
{
    (void)state;
    struct capture out = capture_begin(STDOUT_FILENO);
    options_print_markdown(&options);
    char *text = capture_end(&out);
    assert_non_null(
        strstr(text, "| setting | default | environment | meaning |\n| --- | --- | --- | --- |\n"));
    assert_non_null(
        strstr(text, "| `--port NUMBER` | `80` | `RILL_TEST_PORT` | A port. From 1 to 65535. |\n"));
    assert_non_null(strstr(text, "| `--log-format text\\|json` | `text` |"));
    assert_non_null(strstr(text, "| `--json` | `false` | `RILL_TEST_JSON` | Prints JSON. |\n"));
    free(text);
    assert_int_equal(run("--help=markdown"), OPTIONS_DONE);
    assert_non_null(strstr(printed, "| `--json` | `false` |"));
}

static void read_table(void *argument)
{
    static const char *target;
    const struct option_row table[] = {
        {"twice", OPTION_TEXT, &target, NULL, 0, 0, NULL, ""},
        {argument, OPTION_TEXT, &target, NULL, 0, 0, NULL, ""},
    };
    const struct options wrong = {"p", "P", "", "", table, ARRAY_LENGTH(table)};
    char *arguments[] = {"p", NULL};
    if (options_read(&wrong, 1, arguments, NULL, 0, NULL) != OPTIONS_RUN)
        _exit(1);
}

static void test_a_wrong_table_is_found_at_once(void **state)
{
    (void)state;
    assert_false(capture_aborts(read_table, "once"));
    assert_true(capture_aborts(read_table, "twice"));
    assert_true(capture_aborts(read_table, "help"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_unknown_flags_name_the_nearest),
        cmocka_unit_test(test_values_that_are_missing),
        cmocka_unit_test(test_numbers_out_of_bounds),
        cmocka_unit_test(test_wrong_choices_and_flags),
        cmocka_unit_test(test_the_file),
        cmocka_unit_test(test_a_wrong_file),
        cmocka_unit_test(test_a_file_that_cannot_be_read),
        cmocka_unit_test(test_the_environment),
        cmocka_unit_test(test_flag_over_environment_over_file_over_default),
        cmocka_unit_test(test_help_teaches),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_markdown),
        cmocka_unit_test(test_a_wrong_table_is_found_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
