#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/key_file.h"

#define VARIABLE "RILL_TEST_PASSPHRASE"

static char folder[] = "/tmp/rill-key-file-XXXXXX";
static char key_path[64], passphrase_path[64];
static char passphrase[PASSPHRASE_BYTES_MAX], message[512];
static const struct secret_key key = {{0x42, 7, 1}};

static void write_passphrase_file(const char *bytes, size_t length)
{
    FILE *file = fopen(passphrase_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static bool read_passphrase(const char *path)
{
    memset(passphrase, 'x', sizeof(passphrase));
    message[0] = '\0';
    return passphrase_read(path, VARIABLE, passphrase, message, sizeof(message));
}

static bool open_key(const char *key_file, const char *passphrase_file, struct secret_key *out)
{
    message[0] = '\0';
    return key_file_open(key_file, passphrase_file, VARIABLE, out, message, sizeof(message));
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(key_path, sizeof(key_path), "%s/key.json", folder);
    snprintf(passphrase_path, sizeof(passphrase_path), "%s/passphrase", folder);
    return keystore_create(key_path, "open sesame", &key, 2) == KEYSTORE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    unlink(key_path);
    unlink(passphrase_path);
    return rmdir(folder);
}

static void test_the_first_line_of_a_file(void **state)
{
    (void)state;
    write_passphrase_file("open sesame\nsecond line\n", 24);
    assert_true(read_passphrase(passphrase_path));
    assert_string_equal(passphrase, "open sesame");
    write_passphrase_file("open sesame\r\n", 13);
    assert_true(read_passphrase(passphrase_path));
    assert_string_equal(passphrase, "open sesame");
    write_passphrase_file(" no end of line ", 16);
    assert_true(read_passphrase(passphrase_path));
    assert_string_equal(passphrase, " no end of line ");
    write_passphrase_file("\n", 1);
    assert_true(read_passphrase(passphrase_path));
    assert_string_equal(passphrase, "");
}

/* A passphrase is never cut: it would be another one. */
static void test_the_longest_line(void **state)
{
    (void)state;
    char line[PASSPHRASE_BYTES_MAX + 1];
    memset(line, 'p', sizeof(line));
    write_passphrase_file(line, PASSPHRASE_BYTES_MAX - 1);
    assert_true(read_passphrase(passphrase_path));
    assert_int_equal(strlen(passphrase), PASSPHRASE_BYTES_MAX - 1);
    line[PASSPHRASE_BYTES_MAX - 1] = '\n';
    write_passphrase_file(line, PASSPHRASE_BYTES_MAX);
    assert_true(read_passphrase(passphrase_path));
    assert_int_equal(strlen(passphrase), PASSPHRASE_BYTES_MAX - 1);

    line[PASSPHRASE_BYTES_MAX - 1] = 'p';
    line[PASSPHRASE_BYTES_MAX] = '\n';
    write_passphrase_file(line, sizeof(line));
    assert_false(read_passphrase(passphrase_path));
    assert_non_null(strstr(message, "more than 1023 bytes"));

    line[PASSPHRASE_BYTES_MAX] = '\0';
    assert_int_equal(setenv(VARIABLE, line, 1), 0);
    assert_false(read_passphrase(NULL));
    assert_non_null(strstr(message, "more than 1023 bytes"));
    assert_int_equal(unsetenv(VARIABLE), 0);
}

static void test_files_that_give_none(void **state)
{
    (void)state;
    write_passphrase_file("", 0);
    assert_false(read_passphrase(passphrase_path));
    assert_non_null(strstr(message, "is empty"));
    assert_false(read_passphrase("/tmp/rill-there-is-no-such-file"));
    assert_non_null(strstr(message, "No such file"));
    assert_false(read_passphrase(folder));
    assert_non_null(strstr(message, "Is a directory"));
}

static void test_the_environment_is_read_once(void **state)
{
    (void)state;
    assert_int_equal(setenv(VARIABLE, "open sesame", 1), 0);
    assert_true(read_passphrase(NULL));
    assert_string_equal(passphrase, "open sesame");
    assert_null(getenv(VARIABLE));
    assert_false(read_passphrase(NULL));
    assert_non_null(strstr(message, "--passphrase-file"));
    assert_non_null(strstr(message, VARIABLE));
}

static void test_a_key_is_opened(void **state)
{
    (void)state;
    struct secret_key out;
    write_passphrase_file("open sesame\n", 12);
    assert_true(open_key(key_path, passphrase_path, &out));
    assert_memory_equal(&out, &key, sizeof(key));
    assert_int_equal(setenv(VARIABLE, "open sesame", 1), 0);
    assert_true(open_key(key_path, NULL, &out));
    assert_memory_equal(&out, &key, sizeof(key));
}

static void test_a_key_that_does_not_open(void **state)
{
    (void)state;
    struct secret_key out;
    write_passphrase_file("open sesame\n", 12);
    assert_false(open_key(NULL, passphrase_path, &out));
    assert_non_null(strstr(message, "--key-file"));
    assert_false(open_key("/tmp/rill-there-is-no-such-file", passphrase_path, &out));
    assert_non_null(strstr(message, "/tmp/rill-there-is-no-such-file"));
    assert_false(open_key(key_path, NULL, &out));
    assert_non_null(strstr(message, VARIABLE));
    write_passphrase_file("open barley\n", 12);
    assert_false(open_key(key_path, passphrase_path, &out));
    assert_non_null(strstr(message, keystore_error_text(KEYSTORE_PASSPHRASE)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_line_of_a_file), cmocka_unit_test(test_the_longest_line),
        cmocka_unit_test(test_files_that_give_none),     cmocka_unit_test(test_the_environment_is_read_once),
        cmocka_unit_test(test_a_key_is_opened),          cmocka_unit_test(test_a_key_that_does_not_open),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
