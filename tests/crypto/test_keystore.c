#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
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
#include <jansson.h>

#include "crypto/keystore.h"

#define PASSPHRASE "correct horse \xe9\x9b\xbb\xe6\xb1\xa0"
#define LIGHT      4096

static char folder[] = "/tmp/rill-keystore-XXXXXX";
static char path[sizeof(folder) + 16];
static const struct secret_key key = {{0x42, 7, 1}};

/* A keystore with PBKDF2, made by other code: passphrase "pass", secret key 32 times 0x42. */
static const char pbkdf2_text[] =
    "{\"version\":3,\"id\":\"3198bc9c-6672-5ab3-d995-4942343ae5b6\",\"crypto\":{\"cipher\":\"aes-128-ctr\","
    "\"cipherparams\":{\"iv\":\"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\"},"
    "\"ciphertext\":\"575620cb79d6a4bf5929bbb5e784667b571b9e6e597435e194d412c1c6d6ff24\",\"kdf\":\"pbkdf2\","
    "\"kdfparams\":{\"c\":1000,\"dklen\":32,\"prf\":\"hmac-sha256\","
    "\"salt\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},"
    "\"mac\":\"59f8f0618a683b6a0bb50a6d06c23eb65b0bf81e899ef7c4cb3c3a6c19fd9dbc\"},"
    "\"address\":\"0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025\"}";

static void write_file(const char *to, const char *data, size_t length)
{
    FILE *file = fopen(to, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static size_t count_files(void)
{
    DIR *open_folder = opendir(folder);
    assert_non_null(open_folder);
    size_t count = 0;
    for (struct dirent *entry = readdir(open_folder); entry != NULL; entry = readdir(open_folder))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(open_folder);
    return count;
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/key.json", folder);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void test_a_key_is_kept(void **state)
{
    (void)state;
    struct secret_key got;
    struct stat status;
    mode_t mask = umask(0777); /* the mode does not depend on it */
    assert_int_equal(keystore_create(path, PASSPHRASE, &key, LIGHT), KEYSTORE_OK);
    umask(mask);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_nlink, 1);
    assert_int_equal(count_files(), 1);
    assert_int_equal(keystore_load(path, PASSPHRASE, &got), KEYSTORE_OK);
    assert_memory_equal(&got, &key, sizeof(key));

    struct secret_key untouched = {{9}};
    assert_int_equal(keystore_load(path, "correct horse", &untouched), KEYSTORE_PASSPHRASE);
    assert_int_equal(keystore_load(path, "", &untouched), KEYSTORE_PASSPHRASE);
    assert_int_equal(untouched.bytes[0], 9);
}

static void test_what_the_file_says(void **state)
{
    (void)state;
    assert_int_equal(keystore_create(path, "p", &key, LIGHT), KEYSTORE_OK);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    struct address address = secret_key_address(&key), named;
    assert_true(hex_decode(json_string_value(json_object_get(root, "address")), named.bytes, 20));
    assert_true(address_equal(&address, &named));
    assert_int_equal(json_integer_value(json_object_get(root, "version")), 3);
    const char *id = json_string_value(json_object_get(root, "id"));
    assert_int_equal(strlen(id), 36);
    assert_true(id[14] == '4' && strchr("89ab", id[19]) != NULL && id[8] == '-');
    const json_t *crypto = json_object_get(root, "crypto");
    assert_string_equal(json_string_value(json_object_get(crypto, "cipher")), "aes-128-ctr");
    const json_t *parameters = json_object_get(crypto, "kdfparams");
    assert_int_equal(json_integer_value(json_object_get(parameters, "n")), LIGHT);
    assert_int_equal(strlen(json_string_value(json_object_get(parameters, "salt"))), 64);
    json_decref(root);
}

static void test_the_default_cost(void **state)
{
    (void)state;
    struct secret_key got;
    assert_int_equal(keystore_create(path, "p", &key, 0), KEYSTORE_OK);
    json_t *root = json_load_file(path, 0, NULL);
    const json_t *parameters = json_object_get(json_object_get(root, "crypto"), "kdfparams");
    assert_int_equal(json_integer_value(json_object_get(parameters, "n")), 1 << 17);
    json_decref(root);
    assert_int_equal(keystore_load(path, "p", &got), KEYSTORE_OK);
    assert_memory_equal(&got, &key, sizeof(key));
}

static void test_a_file_is_never_overwritten(void **state)
{
    (void)state;
    char text[8] = "";
    write_file(path, "mine", 4);
    assert_int_equal(keystore_create(path, "p", &key, LIGHT), KEYSTORE_EXISTS);
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(text, 1, sizeof(text), file), 4);
    fclose(file);
    assert_string_equal(text, "mine");
    assert_int_equal(count_files(), 1);
    unlink(path);
    assert_int_equal(symlink("/nowhere/else", path), 0); /* nor followed */
    assert_int_equal(keystore_create(path, "p", &key, LIGHT), KEYSTORE_EXISTS);
    assert_int_equal(count_files(), 1);
}

static void *create_here(void *result)
{
    *(enum keystore_error *)result = keystore_create(path, "p", &key, LIGHT);
    return NULL;
}

/* All see that there is no file yet; one makes it. */
static void test_of_many_at_once_one_creates(void **state)
{
    (void)state;
    pthread_t threads[4];
    enum keystore_error results[4];
    unsigned created = 0;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create_here, &results[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(results[i] == KEYSTORE_OK || results[i] == KEYSTORE_EXISTS);
        created += results[i] == KEYSTORE_OK;
    }
    assert_int_equal(created, 1);
    assert_int_equal(count_files(), 1);
}

static void test_costs_out_of_bounds_are_not_written(void **state)
{
    (void)state;
    static const uint32_t wrong[] = {1, 3, 4095, 1u << 20, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        assert_int_equal(keystore_create(path, "p", &key, wrong[i]), KEYSTORE_MALFORMED);
    assert_int_equal(count_files(), 0);
}

static void test_files_that_cannot_be_read_or_written(void **state)
{
    (void)state;
    struct secret_key got;
    char inside[sizeof(path) + 8], none[sizeof(path) + 8];
    snprintf(inside, sizeof(inside), "%s/x", path);
    snprintf(none, sizeof(none), "%s/none/x", folder);
    assert_int_equal(keystore_load(path, "p", &got), KEYSTORE_MISSING);
    assert_int_equal(keystore_load("", "p", &got), KEYSTORE_MISSING);
    assert_int_equal(keystore_load(folder, "p", &got), KEYSTORE_UNREADABLE);
    assert_int_equal(keystore_create(none, "p", &key, LIGHT), KEYSTORE_UNREADABLE);
    assert_int_equal(keystore_create("/proc/rill-key.json", "p", &key, LIGHT), KEYSTORE_UNREADABLE);
    write_file(path, "{}", 2);
    assert_int_equal(keystore_load(inside, "p", &got), KEYSTORE_MISSING);
    assert_int_equal(keystore_create(inside, "p", &key, LIGHT), KEYSTORE_UNREADABLE);
    if (geteuid() != 0) { /* root may read anything */
        assert_int_equal(chmod(path, 0), 0);
        assert_int_equal(keystore_load(path, "p", &got), KEYSTORE_UNREADABLE);
    }
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes into it: reading must not wait */
    assert_int_equal(keystore_load(path, "p", &got), KEYSTORE_UNREADABLE);
}

static void test_a_path_without_folder(void **state)
{
    (void)state;
    struct secret_key got;
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(keystore_create("key.json", "p", &key, LIGHT), KEYSTORE_OK);
    assert_int_equal(keystore_load("key.json", "p", &got), KEYSTORE_OK);
    assert_int_equal(chdir(before), 0);
    assert_memory_equal(&got, &key, sizeof(key));
}

static enum keystore_error decrypt(const char *text, const char *passphrase, struct secret_key *out)
{
    return keystore_decrypt(text, strlen(text), passphrase, out);
}

static void test_pbkdf2(void **state)
{
    (void)state;
    struct secret_key got, expected;
    memset(&expected, 0x42, sizeof(expected));
    assert_int_equal(decrypt(pbkdf2_text, "pass", &got), KEYSTORE_OK);
    assert_memory_equal(&got, &expected, sizeof(got));
    assert_int_equal(decrypt(pbkdf2_text, "Pass", &got), KEYSTORE_PASSPHRASE);
}

/* The PBKDF2 text with its first `from` replaced. */
static enum keystore_error decrypt_changed(const char *from, const char *to)
{
    struct secret_key got = {{9}};
    const char *at = strstr(pbkdf2_text, from);
    if (at == NULL)
        fail_msg("the text has no '%s'", from);
    char *text = NULL;
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - pbkdf2_text), pbkdf2_text, to, at + strlen(from)) > 0);
    enum keystore_error error = decrypt(text, "pass", &got);
    free(text);
    assert_true(error == KEYSTORE_OK || got.bytes[0] == 9);
    return error;
}

static void test_names_at_the_top_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(decrypt_changed("\"crypto\"", "\"Crypto\""), KEYSTORE_OK);
    assert_int_equal(decrypt_changed("\"version\"", "\"VERSION\""), KEYSTORE_OK);
    assert_int_equal(decrypt_changed("\"id\"", "\"Crypto\":{},\"id\""), KEYSTORE_MALFORMED); /* which one? */
    assert_int_equal(decrypt_changed("\"cipher\"", "\"Cipher\""), KEYSTORE_MALFORMED);
}

static void test_changes_that_do_no_harm(void **state)
{
    (void)state;
    assert_int_equal(decrypt_changed("\"id\"", "\"x-other\":1,\"id\""), KEYSTORE_OK);
    assert_int_equal(decrypt_changed(",\"address\":\"0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025\"", ""),
                     KEYSTORE_OK);
    assert_int_equal(decrypt_changed("\"dklen\":32", "\"dklen\":64"), KEYSTORE_OK);
}

static void test_every_malformed_part_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\"version\":3", "\"version\":1"},
        {"\"version\":3", "\"version\":\"3\""},
        {"\"version\":3,", ""},
        {"aes-128-ctr", "aes-128-cbc"},
        {"\"cipher\":\"aes-128-ctr\",", ""},
        {"\"iv\":\"0b", "\"iv\":\""},
        {"\"iv\":\"0b", "\"iv\":\"0b0b"},
        {"\"iv\":\"0b", "\"iv\":\"zz"},
        {"\"ciphertext\":\"57", "\"ciphertext\":\""},
        {"\"ciphertext\":\"57", "\"ciphertext\":\"5757"},
        {"\"ciphertext\":\"", "\"other\":\""},
        {"\"mac\":\"59", "\"mac\":\""},
        {"\"mac\":\"", "\"max\":\""},
        {"\"kdf\":\"pbkdf2\"", "\"kdf\":\"bcrypt\""},
        {"\"kdf\":\"pbkdf2\"", "\"kdf\":\"scrypt\""},
        {"\"kdf\":\"pbkdf2\"", "\"kdf\":2"},
        {"hmac-sha256", "hmac-sha1"},
        {"\"c\":1000", "\"c\":0"},
        {"\"c\":1000", "\"c\":-1"},
        {"\"c\":1000", "\"c\":10000001"},
        {"\"c\":1000", "\"c\":1000.5"},
        {"\"c\":1000", "\"c\":\"1000\""},
        {"\"c\":1000,", ""},
        {"\"dklen\":32", "\"dklen\":31"},
        {"\"dklen\":32,", ""},
        {"\"salt\":\"aa", "\"salt\":\"a"},
        {"\"salt\":\"", "\"sugar\":\""},
        {"\"kdfparams\":{", "\"kdfparams\":7,\"other\":{"},
        {"\"crypto\":{", "\"crypto\":7,\"other\":{"},
        {"0x17c5185167401eD0", "0x17c5185167401eD1"}, /* an address that is not the key's */
        {"0x17c5", "0x17"},
        {"\"address\":\"0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025\"", "\"address\":7"},
        {"},\"address\"", ",\"address\""},
        {"{\"version\"", "[\"version\""},
        {"\"version\":3", "\"version\":3,\"version\":3"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(changes); i++)
        if (decrypt_changed(changes[i].from, changes[i].to) != KEYSTORE_MALFORMED)
            fail_msg("%s in place of %s should be malformed", changes[i].to, changes[i].from);
    struct secret_key got;
    static const char *const texts[] = {"", "{", "{}", "[]", "3", "null", "not JSON", "\xff"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        assert_int_equal(decrypt(texts[i], "pass", &got), KEYSTORE_MALFORMED);
}

static void test_a_tampered_text_is_as_a_wrong_passphrase(void **state)
{
    (void)state;
    assert_int_equal(decrypt_changed("\"mac\":\"59", "\"mac\":\"58"), KEYSTORE_PASSPHRASE);
    assert_int_equal(decrypt_changed("\"ciphertext\":\"57", "\"ciphertext\":\"56"), KEYSTORE_PASSPHRASE);
    assert_int_equal(decrypt_changed("\"salt\":\"aa", "\"salt\":\"ab"), KEYSTORE_PASSPHRASE);
    assert_int_equal(decrypt_changed("\"salt\":\"aa", "\"salt\":\""), KEYSTORE_PASSPHRASE);
    assert_int_equal(decrypt_changed("\"c\":1000", "\"c\":1001"), KEYSTORE_PASSPHRASE);
    /* The IV is outside the MAC: what it changes shows in the address. */
    assert_int_equal(decrypt_changed("\"iv\":\"0b", "\"iv\":\"0c"), KEYSTORE_MALFORMED);
}

/* The KDF of the text replaced by scrypt with these parameters. */
static enum keystore_error decrypt_scrypt(const char *n, const char *r, const char *p)
{
    char parameters[256];
    struct secret_key got;
    char *text = strdup(pbkdf2_text), *changed = NULL;
    snprintf(parameters, sizeof(parameters), "\"kdf\":\"scrypt\",\"kdfparams\":{\"n\":%s,\"r\":%s,\"p\":%s,",
             n, r, p);
    static const char from[] = "\"kdf\":\"pbkdf2\",\"kdfparams\":{\"c\":1000,";
    char *at = strstr(text, from);
    assert_non_null(at);
    *at = '\0';
    assert_true(asprintf(&changed, "%s%s%s", text, parameters, at + strlen(from)) > 0);
    enum keystore_error error = decrypt(changed, "pass", &got);
    free(changed);
    free(text);
    return error;
}

static void test_scrypt_costs_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(decrypt_scrypt("2", "8", "1"), KEYSTORE_PASSPHRASE); /* in bounds: it gets to the MAC */
    assert_int_equal(decrypt_scrypt("2", "1", "16"), KEYSTORE_PASSPHRASE);
    static const char *const wrong[][3] = {
        {"0", "8", "1"},
        {"1", "8", "1"},
        {"3", "8", "1"},
        {"-2", "8", "1"},
        {"2", "0", "1"},
        {"2", "8", "0"},
        {"2", "8", "17"},
        {"1048576", "8", "1"}, /* 1 GiB */
        {"4194304", "2", "1"},
        {"2", "2097153", "1"},
        {"9223372036854775807", "8", "1"},
        {"4611686018427387904", "8", "1"},
        {"4611686018427387904", "9223372036854775807", "1"},
        {"2", "4611686018427387904", "1"},
        {"65536", "1", "1"},    /* N too large for r: refused by scrypt itself */
        {"2", "2097152", "16"}, /* its small buffers alone would take 4 GiB */
        {"4096.0", "8", "1"},
        {"\"4096\"", "8", "1"},
        {"null", "8", "1"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        if (decrypt_scrypt(wrong[i][0], wrong[i][1], wrong[i][2]) != KEYSTORE_MALFORMED)
            fail_msg("n %s, r %s, p %s should be malformed", wrong[i][0], wrong[i][1], wrong[i][2]);
}

static void test_the_size_is_bounded(void **state)
{
    (void)state;
    struct secret_key got;
    size_t size = 64 * 1024;
    char *text = malloc(size + 2);
    memset(text, ' ', size + 2);
    memcpy(text, pbkdf2_text, strlen(pbkdf2_text));
    assert_int_equal(keystore_decrypt(text, size, "pass", &got), KEYSTORE_OK);
    assert_int_equal(keystore_decrypt(text, size + 1, "pass", &got), KEYSTORE_MALFORMED);
    write_file(path, text, size);
    assert_int_equal(keystore_load(path, "pass", &got), KEYSTORE_OK);
    write_file(path, text, size + 1);
    assert_int_equal(keystore_load(path, "pass", &got), KEYSTORE_MALFORMED);
    free(text);
}

/* What the file says is read without the passphrase; a file that does not say it, or is none, is an error. */
static void test_whose_key_it_is(void **state)
{
    (void)state;
    struct address expected = secret_key_address(&key), address = ADDRESS_ZERO;
    assert_int_equal(keystore_address(path, &address), KEYSTORE_MISSING);
    assert_int_equal(keystore_create(path, "secret", &key, 4096), KEYSTORE_OK);
    assert_int_equal(keystore_address(path, &address), KEYSTORE_OK);
    assert_true(address_equal(&address, &expected));
    unlink(path);
    write_file(path, "{\"version\":3}", 13);
    address = ADDRESS_ZERO;
    assert_int_equal(keystore_address(path, &address), KEYSTORE_MALFORMED);
    assert_true(address_is_zero(&address));
    assert_int_equal(keystore_address(folder, &address), KEYSTORE_UNREADABLE);
}

/* Without a member that the format allows to be left out. */
static void test_a_file_that_does_not_say_whose(void **state)
{
    (void)state;
    struct secret_key back;
    struct address address;
    assert_int_equal(keystore_create(path, "secret", &key, 4096), KEYSTORE_OK);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_object_del(json, "address"), 0);
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
    assert_int_equal(keystore_load(path, "secret", &back), KEYSTORE_OK);
    assert_int_equal(keystore_address(path, &address), KEYSTORE_MALFORMED);
}

static void test_errors_have_texts(void **state)
{
    (void)state;
    for (int error = KEYSTORE_OK; error <= KEYSTORE_PASSPHRASE; error++)
        for (int other = KEYSTORE_OK; other < error; other++)
            assert_string_not_equal(keystore_error_text((enum keystore_error)error),
                                    keystore_error_text((enum keystore_error)other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_key_is_kept, remove_file),
        cmocka_unit_test_teardown(test_what_the_file_says, remove_file),
        cmocka_unit_test_teardown(test_the_default_cost, remove_file),
        cmocka_unit_test_teardown(test_a_file_is_never_overwritten, remove_file),
        cmocka_unit_test_teardown(test_of_many_at_once_one_creates, remove_file),
        cmocka_unit_test_teardown(test_costs_out_of_bounds_are_not_written, remove_file),
        cmocka_unit_test_teardown(test_files_that_cannot_be_read_or_written, remove_file),
        cmocka_unit_test_teardown(test_a_path_without_folder, remove_file),
        cmocka_unit_test(test_pbkdf2),
        cmocka_unit_test(test_names_at_the_top_in_any_case),
        cmocka_unit_test(test_changes_that_do_no_harm),
        cmocka_unit_test(test_every_malformed_part_is_refused),
        cmocka_unit_test(test_a_tampered_text_is_as_a_wrong_passphrase),
        cmocka_unit_test(test_scrypt_costs_are_bounded),
        cmocka_unit_test_teardown(test_the_size_is_bounded, remove_file),
        cmocka_unit_test_teardown(test_whose_key_it_is, remove_file),
        cmocka_unit_test_teardown(test_a_file_that_does_not_say_whose, remove_file),
        cmocka_unit_test(test_errors_have_texts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
