/* The running Merkle root, held to the one that is computed from all leaves at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "crypto/lock.h"
#include "settlement/journal_root.h"
#include "tests/support/json_aid.h"

#define LEAVES_MAX 300

/* The vectors' rule. */
static struct hash leaf_number(size_t number)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "digest %zu", number);
    return keccak256(text, (size_t)length);
}

static struct hash root_of(size_t count)
{
    struct hash leaves[LEAVES_MAX];
    for (size_t i = 0; i < count; i++)
        leaves[i] = leaf_number(i);
    return merkle_journal_root(leaves, count);
}

static void assert_value(const struct journal_root *root, const struct hash *expected)
{
    struct hash value = journal_root_value(root);
    assert_memory_equal(value.bytes, expected->bytes, sizeof(value.bytes));
}

/* Written and read back, into memory that held something else. */
static struct journal_root read_back(const struct journal_root *root)
{
    struct buffer buffer = {0};
    journal_root_write(root, &buffer);
    struct journal_root copy;
    memset(&copy, 0xee, sizeof(copy));
    struct reader reader = reader_of(buffer.data, buffer.length);
    assert_true(journal_root_read(&copy, &reader));
    assert_true(reader_done(&reader));
    buffer_free(&buffer);
    return copy;
}

static void test_every_count_up_to_300(void **state)
{
    (void)state;
    struct journal_root root = {0}, reloaded = {0};
    for (size_t count = 0; count <= LEAVES_MAX; count++) {
        struct hash expected = root_of(count);
        assert_int_equal(root.count, count);
        assert_value(&root, &expected);
        assert_value(&root, &expected); /* looking changes nothing */
        assert_value(&reloaded, &expected);
        struct hash leaf = leaf_number(count);
        journal_root_add(&root, &leaf);
        journal_root_add(&reloaded, &leaf);
        reloaded = read_back(&reloaded);
    }
}

static void test_the_vectors(void **state)
{
    (void)state;
    json_t *file = json_aid_load("tests/vectors/vectors.json");
    const json_t *section = json_aid_get(file, "journalRoots");
    assert_string_equal(json_aid_text(section, "rule"), "leaf i = keccak256('digest ' + i)");
    size_t count, i;
    json_t *vector, *array = json_aid_array(section, "roots", &count);
    json_array_foreach(array, i, vector)
    {
        struct journal_root root = {0};
        for (size_t leaf = 0; leaf < json_aid_u64(vector, "leaves"); leaf++) {
            struct hash hash = leaf_number(leaf);
            journal_root_add(&root, &hash);
        }
        struct hash expected = json_aid_hash(vector, "root");
        assert_value(&root, &expected);
    }
    json_decref(file);
}

static void test_what_is_cut_short_or_absurd_is_refused(void **state)
{
    (void)state;
    struct journal_root root = {0}, copy;
    for (size_t i = 0; i < 7; i++) {
        struct hash leaf = leaf_number(i);
        journal_root_add(&root, &leaf);
    }
    struct buffer buffer = {0};
    journal_root_write(&root, &buffer);
    assert_int_equal(buffer.length, 8 + 3 * 32);
    for (size_t length = 0; length < buffer.length; length++) {
        struct reader reader = reader_of(buffer.data, length);
        assert_false(journal_root_read(&copy, &reader));
    }
    buffer_clear(&buffer);
    buffer_u64(&buffer, UINT64_MAX);
    memset(buffer_extend(&buffer, 64 * 32), 1, 64 * 32);
    struct reader reader = reader_of(buffer.data, buffer.length);
    assert_false(journal_root_read(&copy, &reader));
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_count_up_to_300),
        cmocka_unit_test(test_the_vectors),
        cmocka_unit_test(test_what_is_cut_short_or_absurd_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
