/* What channel/ can check in a vector file: the tree over a stream's pending locks. */
#include "tests/vectors/vectors.h"

#include <stdio.h>
#include <string.h>

#include "channel/lock_set.h"
#include "crypto/hash.h"
#include "tests/support/json_aid.h"

const char *const section_channel_keys[] = {"lockTrees", "lockTreeSteps", "lockTreeFull", NULL};

static void assert_root(struct lock_set *set, const struct hash *expected)
{
    struct hash root = lock_set_root(set);
    assert_memory_equal(root.bytes, expected->bytes, sizeof(root.bytes));
}

static void add_lock(struct lock_set *set, const struct lock *lock)
{
    struct pending_lock pending = {.lock = *lock};
    assert_true(lock_set_add(set, &pending));
}

/* The proof is the vector's, hash by hash. */
static void check_proof(struct lock_set *set, const json_t *vector)
{
    struct hash proof[LOCK_TREE_DEPTH];
    size_t length;
    assert_true(lock_set_prove(set, json_aid_u64(vector, "id"), proof, &length));
    const json_t *expected = json_aid_get(vector, "proof");
    assert_int_equal(length, json_array_size(expected));
    for (size_t i = 0; i < length; i++) {
        uint8_t node[32];
        json_aid_bytes_of(json_array_get(expected, i), node, sizeof(node));
        assert_memory_equal(proof[i].bytes, node, sizeof(node));
    }
}

static void check_trees(const json_t *root)
{
    size_t count, i, j, proofs = 0;
    json_t *tree, *value, *array = json_aid_array(root, "lockTrees", &count);
    json_array_foreach(array, i, tree)
    {
        struct lock_set *set = lock_set_new();
        json_array_foreach(json_aid_get(tree, "locks"), j, value)
        {
            struct lock lock = json_aid_lock(value);
            add_lock(set, &lock);
        }
        struct hash expected = json_aid_hash(tree, "root");
        assert_root(set, &expected);
        json_array_foreach(json_aid_get(tree, "proofs"), j, value)
        {
            check_proof(set, value);
            proofs++;
        }
        lock_set_free(set);
    }
    vectors_checked("lockTrees: roots", count);
    vectors_checked("lockTrees: proofs made", proofs);
}

static void check_steps(const json_t *root)
{
    size_t count, i;
    json_t *step, *array = json_aid_array(root, "lockTreeSteps", &count);
    struct lock_set *set = lock_set_new();
    json_array_foreach(array, i, step)
    {
        const json_t *added = json_object_get(step, "add");
        if (added != NULL) {
            struct lock lock = json_aid_lock(added);
            add_lock(set, &lock);
        } else {
            assert_true(lock_set_remove(set, json_aid_u64(step, "remove")));
        }
        struct hash expected = json_aid_hash(step, "root");
        assert_root(set, &expected);
    }
    lock_set_free(set);
    vectors_checked("lockTreeSteps", count);
}

static void check_full(const json_t *root)
{
    const json_t *vector = json_aid_get(root, "lockTreeFull");
    assert_string_equal(json_aid_text(vector, "rule"),
                        "ids 5000..6023, amount = id - 4999, expiry 1900000000, kind 0, "
                        "condition = keccak256('full' + (id - 5000))");
    struct lock_set *set = lock_set_new();
    for (unsigned i = 0; i < LOCKS_PER_STREAM_MAX; i++) {
        char text[16];
        int length = snprintf(text, sizeof(text), "full%u", i);
        struct lock lock = {.id = 5000 + i,
                            .amount = amount_of(i + 1),
                            .expiry = 1900000000,
                            .kind = LOCK_SECRET,
                            .condition = keccak256(text, (size_t)length)};
        add_lock(set, &lock);
    }
    struct hash expected = json_aid_hash(vector, "root");
    assert_root(set, &expected);
    lock_set_free(set);
    vectors_checked("lockTreeFull", 1);
}

void section_channel(const json_t *root)
{
    check_trees(root);
    check_steps(root);
    check_full(root);
}
