/* Paths to the journal root: every leaf of a tree of any size proves, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/lock.h"
#include "settlement/journal_path.h"

#define LEAVES_MAX 600

static struct hash leaf_number(size_t number)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "digest %zu", number);
    return keccak256(text, (size_t)length);
}

static struct hash leaves[LEAVES_MAX];

/* The path of one leaf of the first `count`. */
static struct journal_path path_of(size_t count, size_t position, struct hash *root)
{
    struct journal_path path;
    journal_path_begin(&path, position);
    for (size_t i = 0; i < count; i++)
        journal_path_add(&path, &leaves[i]);
    assert_true(journal_path_end(&path, root));
    assert_true(hash_equal(&path.leaf, &leaves[position]));
    return path;
}

/* Of the smallest full tree with so many leaves: no path is longer. */
static size_t depth_of(size_t count)
{
    size_t depth = 0;
    while (((size_t)1 << depth) < count)
        depth++;
    return depth;
}

/* All leaves of all trees: each leaf's path goes on growing while the tree does. */
static void test_every_leaf_of_every_tree_proves(void **state)
{
    (void)state;
    struct journal_root running = {0};
    struct journal_path *paths = xcalloc(LEAVES_MAX, sizeof(*paths));
    for (size_t at = 0; at < LEAVES_MAX; at++)
        journal_path_begin(&paths[at], at);
    for (size_t count = 1; count <= LEAVES_MAX; count++) {
        journal_root_add(&running, &leaves[count - 1]);
        struct hash expected = journal_root_value(&running), root;
        for (size_t at = 0; at < LEAVES_MAX; at++)
            journal_path_add(&paths[at], &leaves[count - 1]);
        for (size_t at = 0; at < count; at++) {
            struct journal_path path = paths[at];
            assert_true(journal_path_end(&path, &root));
            assert_true(hash_equal(&root, &expected));
            assert_true(path.length <= depth_of(count));
            assert_true(merkle_verify(&leaves[at], path.nodes, path.length, &root));
        }
        struct journal_path path = paths[count % LEAVES_MAX];
        assert_int_equal(journal_path_end(&path, &root), count == LEAVES_MAX);
    }
    free(paths);
}

static void test_no_other_leaf_and_no_other_path_does(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 5, 8, 13, 64, 65, 100};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (size_t at = 0; at < sizes[s]; at++) {
            struct hash root;
            struct journal_path path = path_of(sizes[s], at, &root);
            for (size_t other = 0; other <= sizes[s]; other++)
                assert_int_equal(merkle_verify(&leaves[other], path.nodes, path.length, &root), other == at);
            for (size_t i = 0; i < path.length; i++) {
                path.nodes[i].bytes[i % 32] ^= 1;
                assert_false(merkle_verify(&leaves[at], path.nodes, path.length, &root));
                path.nodes[i].bytes[i % 32] ^= 1;
            }
            if (path.length > 0)
                assert_false(merkle_verify(&leaves[at], path.nodes, path.length - 1, &root));
        }
}

static void test_a_position_behind_the_last_leaf(void **state)
{
    (void)state;
    struct journal_path path;
    struct hash root;
    journal_path_begin(&path, 3);
    assert_false(journal_path_end(&path, &root));
    for (size_t i = 0; i < 3; i++)
        journal_path_add(&path, &leaves[i]);
    assert_false(journal_path_end(&path, &root));
}

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEAVES_MAX; i++)
        leaves[i] = leaf_number(i);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_leaf_of_every_tree_proves),
        cmocka_unit_test(test_no_other_leaf_and_no_other_path_does),
        cmocka_unit_test(test_a_position_behind_the_last_leaf),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
