/* API keys: the file, what is in it, and who may do what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/ensure.h"
#include "merchant/keys.h"
#include "tests/support/process.h"

struct place {
    char folder[64], path[128], message[400];
};

static int place_open(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    folder_make(place->folder, sizeof place->folder);
    snprintf(place->path, sizeof place->path, "%s/keys.json", place->folder);
    *state = place;
    return 0;
}

static int place_close(void **state)
{
    struct place *place = *state;
    folder_remove(place->folder);
    free(place);
    return 0;
}

static const struct api_key *check(struct keys *keys, const char *key)
{
    char header[200];
    snprintf(header, sizeof header, "Bearer %s", key);
    return keys_check(keys, header);
}

static void refresh(struct place *place, struct keys *keys)
{
    if (!keys_refresh(keys, place->message, sizeof place->message))
        fail_msg("%s", place->message);
}

static void test_made_used_and_revoked(void **state)
{
    struct place *place = *state;
    char first[KEY_TEXT_SIZE], second[KEY_TEXT_SIZE], id[KEY_ID_SIZE];
    struct keys *keys = keys_new(place->path, 10, 20);
    refresh(place, keys);
    assert_null(keys_at(keys, 0));
    assert_true(keys_create(place->path, SCOPE_READ, "till", first, place->message, sizeof place->message));
    assert_true(keys_create(place->path, SCOPE_READ | SCOPE_PAYOUT, "", second, place->message,
                            sizeof place->message));
    assert_null(check(keys, first));
    refresh(place, keys);
    const struct api_key *key = check(keys, first);
    assert_non_null(key);
    assert_int_equal(key->scopes, SCOPE_READ);
    assert_string_equal(key->name, "till");
    assert_int_equal(check(keys, second)->scopes, SCOPE_READ | SCOPE_PAYOUT);
    snprintf(id, sizeof id, "%s", key->id);
    assert_true(keys_revoke(place->path, id, place->message, sizeof place->message));
    assert_false(keys_revoke(place->path, id, place->message, sizeof place->message));
    refresh(place, keys);
    assert_null(check(keys, first));
    assert_non_null(check(keys, second));
    keys_free(keys);
}

static void test_the_file_holds_no_secret(void **state)
{
    struct place *place = *state;
    char key[KEY_TEXT_SIZE], text[4096] = "";
    struct stat status;
    assert_true(keys_create(place->path, SCOPE_READ, "", key, place->message, sizeof place->message));
    FILE *file = fopen(place->path, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_true(length > 0);
    assert_null(strstr(text, key + 16));
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_what_is_almost_a_key_is_none(void **state)
{
    struct place *place = *state;
    char key[KEY_TEXT_SIZE], other[KEY_TEXT_SIZE + 8];
    struct keys *keys = keys_new(place->path, 10, 20);
    assert_true(keys_create(place->path, SCOPE_READ, "", key, place->message, sizeof place->message));
    refresh(place, keys);
    assert_non_null(check(keys, key));
    for (size_t i = 0; i < strlen(key); i++) {
        memcpy(other, key, sizeof key);
        other[i] = other[i] == '0' ? '1' : '0';
        assert_null(check(keys, other));
        memcpy(other, key, sizeof key);
        other[i] = '\0';
        assert_null(check(keys, other));
    }
    snprintf(other, sizeof other, "%s0", key);
    assert_null(check(keys, other));
    assert_null(keys_check(keys, NULL));
    assert_null(keys_check(keys, ""));
    assert_null(keys_check(keys, key));
    keys_free(keys);
}

/* A file that is broken changes nothing: the keys that were read stay. */
static void test_a_broken_file_is_said_so(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"keys\":{}}",
        "{\"keys\":[{}]}",
        "{\"keys\":[{\"id\":\"0\",\"name\":\"\",\"scopes\":\"read\",\"sha256\":\"0\"}]}"};
    struct place *place = *state;
    char key[KEY_TEXT_SIZE];
    struct keys *keys = keys_new(place->path, 10, 20);
    assert_true(keys_create(place->path, SCOPE_READ, "", key, place->message, sizeof place->message));
    refresh(place, keys);
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        FILE *file = fopen(place->path, "w");
        assert_non_null(file);
        assert_true(fputs(texts[i], file) >= 0 && fclose(file) == 0);
        assert_false(keys_refresh(keys, place->message, sizeof place->message));
        assert_non_null(strstr(place->message, "not a file of API keys"));
        assert_non_null(check(keys, key));
    }
    keys_free(keys);
}

static void test_scopes(void **state)
{
    char text[KEY_SCOPES_SIZE];
    (void)state;
    assert_int_equal(scopes_parse("read"), SCOPE_READ);
    assert_int_equal(scopes_parse("payout,read,invoice"), SCOPE_READ | SCOPE_INVOICE | SCOPE_PAYOUT);
    assert_int_equal(scopes_parse(""), 0);
    assert_int_equal(scopes_parse("reader"), 0);
    assert_int_equal(scopes_parse("read, invoice"), 0);
    assert_int_equal(scopes_parse("all"), 0);
    assert_string_equal(scopes_text(SCOPE_READ | SCOPE_PAYOUT, text), "read,payout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_used_and_revoked, place_open, place_close),
        cmocka_unit_test_setup_teardown(test_the_file_holds_no_secret, place_open, place_close),
        cmocka_unit_test_setup_teardown(test_what_is_almost_a_key_is_none, place_open, place_close),
        cmocka_unit_test_setup_teardown(test_a_broken_file_is_said_so, place_open, place_close),
        cmocka_unit_test(test_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
