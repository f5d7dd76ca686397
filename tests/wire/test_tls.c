/* The TLS identity: made once, kept, refused when damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/tls.h"

struct fixture {
    char folder[64];
    char certificate[128], key[128];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/rill-tls-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->certificate, sizeof fixture->certificate, "%s/tls-cert.pem", fixture->folder);
    snprintf(fixture->key, sizeof fixture->key, "%s/tls-key.pem", fixture->folder);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    (void)unlink(fixture->certificate);
    (void)unlink(fixture->key);
    assert_int_equal(rmdir(fixture->folder), 0); /* nothing else was left there */
    free(fixture);
    return 0;
}

static struct hash open_good(const struct fixture *fixture)
{
    char message[512] = "";
    struct tls_identity *identity = tls_identity_open(fixture->folder, message, sizeof message);
    if (identity == NULL)
        fail_msg("%s", message);
    struct hash hash = tls_identity_hash(identity);
    tls_identity_free(identity);
    return hash;
}

static void open_bad(const struct fixture *fixture, const char *words)
{
    char message[512] = "";
    assert_null(tls_identity_open(fixture->folder, message, sizeof message));
    if (strstr(message, words) == NULL || strchr(message, '\n') != NULL)
        fail_msg("%s", message);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void an_identity_is_made_once(void **state)
{
    const struct fixture *fixture = *state;
    struct hash made = open_good(fixture), loaded = open_good(fixture);
    assert_memory_equal(&made, &loaded, sizeof made);
    assert_false(hash_is_zero(&made));
    struct stat status;
    assert_int_equal(stat(fixture->key, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(unlink(fixture->key), 0);
    assert_int_equal(unlink(fixture->certificate), 0);
    struct hash other = open_good(fixture);
    assert_memory_not_equal(&made, &other, sizeof made);
}

static void half_an_identity_is_told(void **state)
{
    const struct fixture *fixture = *state;
    (void)open_good(fixture);
    assert_int_equal(unlink(fixture->key), 0);
    open_bad(fixture, "tls-key.pem is not");
    assert_int_equal(unlink(fixture->certificate), 0);
    (void)open_good(fixture);
    assert_int_equal(unlink(fixture->certificate), 0);
    open_bad(fixture, "tls-cert.pem is not");
}

static void a_damaged_identity_is_told(void **state)
{
    const struct fixture *fixture = *state;
    (void)open_good(fixture);
    write_file(fixture->certificate, "not a certificate\n");
    open_bad(fixture, "not a certificate and its key");
    write_file(fixture->certificate, "");
    write_file(fixture->key, "");
    open_bad(fixture, "not a certificate and its key");
}

static void another_key_is_told(void **state)
{
    const struct fixture *fixture = *state;
    (void)open_good(fixture);
    char kept[160];
    snprintf(kept, sizeof kept, "%s.kept", fixture->key);
    assert_int_equal(rename(fixture->key, kept), 0);
    assert_int_equal(unlink(fixture->certificate), 0);
    (void)open_good(fixture);
    assert_int_equal(rename(kept, fixture->key), 0);
    open_bad(fixture, "not a certificate and its key");
}

static void a_folder_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct fixture missing = {.folder = "/tmp/rill-no-such-folder"};
    open_bad(&missing, "/tmp/rill-no-such-folder/tls-key.pem");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_identity_is_made_once),           TEST(half_an_identity_is_told),
        TEST(a_damaged_identity_is_told),         TEST(another_key_is_told),
        TEST(a_folder_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
