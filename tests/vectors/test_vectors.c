/* Runs a vector file: RILL_VECTORS, or tests/vectors/vectors.json. See vectors.h. */
#include "tests/vectors/vectors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/support/json_aid.h"

#define DEFAULT_FILE "tests/vectors/vectors.json"

struct section {
    const char *name;
    const char *const *keys;
    void (*run)(const json_t *root);
};

static const struct section sections[] = {
    {"crypto", section_crypto_keys, section_crypto},
    {"wire", section_wire_keys, section_wire},
    {"channel", section_channel_keys, section_channel},
    {"ledger", section_ledger_keys, section_ledger},
};

/* Members that say where the file comes from: nothing to check. */
static const char *const descriptions[] = {"note", "seed"};

static json_t *root;

void vectors_checked(const char *what, size_t count)
{
    if (count == 0)
        fail_msg("%s: the file has none", what);
    printf("  %s: %zu checked\n", what, count);
}

static bool is_claimed(const char *key)
{
    for (size_t i = 0; i < ARRAY_LENGTH(descriptions); i++)
        if (strcmp(descriptions[i], key) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LENGTH(sections); i++)
        for (const char *const *claimed = sections[i].keys; claimed != NULL && *claimed != NULL; claimed++)
            if (strcmp(*claimed, key) == 0)
                return true;
    return false;
}

static void test_every_member_has_a_checker(void **state)
{
    (void)state;
    const char *key;
    json_t *value;
    char unclaimed[1024] = "";
    json_object_foreach(root, key, value)
    {
        if (!is_claimed(key)) {
            strncat(unclaimed, " ", sizeof(unclaimed) - strlen(unclaimed) - 1);
            strncat(unclaimed, key, sizeof(unclaimed) - strlen(unclaimed) - 1);
        }
    }
    if (unclaimed[0] != '\0')
        fail_msg("no checker for:%s", unclaimed);
}

/* The other way round: a file without a member that a checker knows would pass unseen. */
static void test_every_known_member_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sections); i++)
        for (const char *const *key = sections[i].keys; key != NULL && *key != NULL; key++)
            if (json_object_get(root, *key) == NULL)
                fail_msg("the file has no '%s', which the %s checks expect", *key, sections[i].name);
}

static void test_section(void **state)
{
    const struct section *section = *state;
    if (section->run == NULL || section->keys == NULL) {
        printf("  %s: no checks are linked (tests/vectors/section_%s.c)\n", section->name, section->name);
        skip();
    }
    section->run(root);
}

int main(void)
{
    const char *path = getenv("RILL_VECTORS");
    json_error_t error;
    if (path == NULL || *path == '\0')
        path = DEFAULT_FILE;
    root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        fprintf(stderr, "test_vectors: %s: %s\n", path, root == NULL ? error.text : "not a JSON object");
        json_decref(root);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_has_a_checker),
        cmocka_unit_test(test_every_known_member_is_there),
        {"crypto", test_section, NULL, NULL, (void *)(uintptr_t)&sections[0]},
        {"wire", test_section, NULL, NULL, (void *)(uintptr_t)&sections[1]},
        {"channel", test_section, NULL, NULL, (void *)(uintptr_t)&sections[2]},
        {"ledger", test_section, NULL, NULL, (void *)(uintptr_t)&sections[3]},
    };
    _Static_assert(ARRAY_LENGTH(tests) == 2 + ARRAY_LENGTH(sections), "a test for each section");
    int failed = cmocka_run_group_tests_name(path, tests, NULL, NULL);
    json_decref(root);
    return failed;
}
