/* Trees that sum: each leaf of a tree of any size is in its root, and no change of a balance, a sum, a place or a side
 * passes; statements and leaves as they are hashed and signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "crypto/key.h"
#include "crypto/liabilities.h"

#define LEAVES_MAX 600

static uint64_t balance_of(size_t number)
{
    return number * number % 1009; /* some are zero, some equal */
}

static struct sum_node leaf_number(size_t number)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "client %zu", number);
    return sum_leaf(text, (size_t)length, amount_of(balance_of(number)));
}

static struct sum_node leaf_at(const void *context, size_t index)
{
    assert_null(context);
    return leaf_number(index);
}

/* The caller frees tree->nodes. */
static struct sum_tree tree_of(size_t count)
{
    struct sum_tree tree = {xcalloc(sum_tree_size(count) + 1, sizeof(*tree.nodes)), count, leaf_at, NULL};
    assert_true(sum_tree_build(&tree));
    return tree;
}

/* The root by the definition alone: level by level, whole. */
static struct sum_node root_of(size_t count)
{
    struct sum_node *level = xcalloc(count, sizeof(*level));
    for (size_t i = 0; i < count; i++)
        level[i] = leaf_number(i);
    for (; count > 1; count = (count + 1) / 2)
        for (size_t i = 0; i < count; i += 2) {
            level[i / 2] = level[i];
            if (i + 1 < count)
                assert_true(sum_join(&level[i], &level[i + 1], &level[i / 2]));
        }
    struct sum_node root = level[0];
    free(level);
    return root;
}

static void test_every_leaf_of_every_tree_proves(void **state)
{
    (void)state;
    struct sum_node path[SUM_PATH_MAX];
    uint64_t sum = 0;
    for (size_t count = 1; count <= LEAVES_MAX; count++) {
        struct sum_tree tree = tree_of(count);
        struct sum_node root = sum_tree_root(&tree), defined = root_of(count);
        sum += balance_of(count - 1);
        assert_true(hash_equal(&root.hash, &defined.hash) && root.sum == defined.sum);
        assert_int_equal(root.sum, sum);
        for (size_t at = 0; at < count; at++) {
            size_t length = sum_tree_path(&tree, at, path);
            struct sum_node leaf = leaf_number(at);
            assert_true(sum_verify(&leaf, at, count, path, length, &root));
        }
        free(tree.nodes);
    }
}

static void test_nothing_else_proves(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 31, 33};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t count = sizes[s];
        struct sum_tree tree = tree_of(count);
        struct sum_node root = sum_tree_root(&tree), path[SUM_PATH_MAX];
        for (size_t at = 0; at < count; at++) {
            size_t length = sum_tree_path(&tree, at, path);
            struct sum_node leaf = leaf_number(at), changed = leaf;
            for (size_t other = 0; other <= count; other++) {
                struct sum_node wrong = leaf_number(other);
                assert_int_equal(sum_verify(&wrong, at, count, path, length, &root), other == at);
                assert_int_equal(sum_verify(&leaf, other, count, path, length, &root), other == at);
            }
            changed.sum++;
            assert_false(sum_verify(&changed, at, count, path, length, &root));
            for (size_t i = 0; i < length; i++) {
                path[i].sum++;
                assert_false(sum_verify(&leaf, at, count, path, length, &root));
                path[i].sum--;
                path[i].hash.bytes[i % 32] ^= 1;
                assert_false(sum_verify(&leaf, at, count, path, length, &root));
                path[i].hash.bytes[i % 32] ^= 1;
            }
            assert_false(sum_verify(&leaf, at, count, path, length + 1, &root));
            if (length > 0)
                assert_false(sum_verify(&leaf, at, count, path, length - 1, &root));
            changed = root;
            changed.sum++;
            assert_false(sum_verify(&leaf, at, count, path, length, &changed));
        }
        free(tree.nodes);
    }
}

/* The hash commits to each child's sum and side: the same total in other parts is another node. */
static void test_what_a_node_commits_to(void **state)
{
    (void)state;
    struct sum_node left = leaf_number(3), right = leaf_number(5), joined, other;
    assert_true(sum_join(&left, &right, &joined));
    assert_true(sum_join(&right, &left, &other)); /* swapped */
    assert_false(hash_equal(&joined.hash, &other.hash));
    left.sum++;
    right.sum--;
    assert_true(sum_join(&left, &right, &other)); /* the attack on trees that hash the total alone */
    assert_int_equal(joined.sum, other.sum);
    assert_false(hash_equal(&joined.hash, &other.hash));
    /* A node's content as a leaf is not the node. */
    uint8_t content[2 * 40];
    left.sum--;
    right.sum++;
    memcpy(content, left.hash.bytes, 32);
    store_be64(content + 32, left.sum);
    memcpy(content + 40, right.hash.bytes, 32);
    store_be64(content + 72, right.sum);
    other = sum_leaf(content, sizeof(content), amount_of(joined.sum));
    assert_false(hash_equal(&joined.hash, &other.hash));
}

static struct sum_node given_leaf(const void *context, size_t index)
{
    return ((const struct sum_node *)context)[index];
}

static void test_sums_never_wrap(void **state)
{
    (void)state;
    struct sum_node big = sum_leaf("a", 1, amount_of(AMOUNT_LIMIT - 1)), one = sum_leaf("b", 1, amount_of(1)),
                    negative = one, root = one, joined;
    struct sum_node leaves[3 * SUM_GROUP] = {big, one, one}, room[8];
    assert_false(sum_join(&big, &one, &joined));
    assert_false(sum_join(&one, &big, &joined));
    for (size_t count = 2; count <= 3; count++) {
        struct sum_tree tree = {room, count, given_leaf, leaves};
        assert_false(sum_tree_build(&tree));
    }
    leaves[1] = leaves[2] = (struct sum_node){.sum = 0};
    leaves[3 * SUM_GROUP - 1] = one; /* in another group */
    struct sum_tree tree = {room, 3 * SUM_GROUP, given_leaf, leaves};
    assert_true(sum_tree_size(tree.count) <= sizeof(room) / sizeof(room[0]));
    assert_false(sum_tree_build(&tree));
    negative.sum = UINT64_MAX; /* -1 in two's complement: it would lower the sum */
    assert_false(sum_join(&one, &negative, &joined));
    assert_false(sum_join(&negative, &one, &joined));
    assert_false(sum_verify(&negative, 0, 1, NULL, 0, &negative));
    assert_false(sum_verify(&one, 0, 2, &negative, 1, &root));
}

static void test_an_empty_tree(void **state)
{
    (void)state;
    struct sum_tree tree = {.leaf_at = leaf_at};
    struct sum_node one = leaf_number(1);
    assert_int_equal(sum_tree_size(0), 0);
    assert_true(sum_tree_build(&tree));
    struct sum_node root = sum_tree_root(&tree);
    assert_true(hash_is_zero(&root.hash) && root.sum == 0);
    assert_false(sum_verify(&one, 0, 0, NULL, 0, &one));
}

/* ---- statements ---- */

static struct liabilities statement(void)
{
    struct liabilities out = {.number = 7, .block = 1234, .time = 1800000000, .asset_count = 2};
    memset(out.previous.bytes, 5, sizeof(out.previous.bytes));
    for (size_t i = 0; i < 2; i++) {
        memset(out.assets[i].asset.bytes, (int)i + 1, sizeof(out.assets[i].asset.bytes));
        out.assets[i].channels = 10 + i;
        out.assets[i].clients = amount_of(1000 + i);
        out.assets[i].hub = amount_of(500 + i);
        out.assets[i].in_transit = amount_of(i);
        memset(out.assets[i].root.bytes, 0x40 + (int)i, sizeof(out.assets[i].root.bytes));
    }
    return out;
}

static void test_a_statement_is_read_as_written(void **state)
{
    (void)state;
    struct liabilities out = statement(), back;
    struct buffer text = {0};
    liabilities_write(&out, &text);
    struct reader reader = reader_of(text.data, text.length);
    assert_true(liabilities_read(&reader, &back));
    assert_memory_equal(&out, &back, sizeof(out));
    for (size_t length = 0; length < text.length; length++) {
        reader = reader_of(text.data, length);
        assert_false(liabilities_read(&reader, &back));
    }
    /* Each byte counts: another statement has another event. */
    struct hash event = liabilities_event(&out);
    for (size_t i = 1; i < text.length; i++) {
        text.data[i] ^= 1;
        reader = reader_of(text.data, text.length);
        if (liabilities_read(&reader, &back)) {
            struct hash other = liabilities_event(&back);
            assert_false(hash_equal(&event, &other));
        }
        text.data[i] ^= 1;
    }
    buffer_free(&text);
}

static void test_who_signed_it(void **state)
{
    (void)state;
    struct address contract = {{9}};
    struct domain domain = domain_make(31337, &contract), elsewhere = domain_make(1, &contract);
    struct secret_key key = {{1, 2, 3}};
    struct address hub = secret_key_address(&key);
    struct liabilities out = statement();
    struct hash digest = liabilities_digest(&domain, &out), other = liabilities_digest(&elsewhere, &out);
    struct signature signature = key_sign(&key, &digest);
    assert_true(signature_is_by(&signature, &digest, &hub));
    assert_false(hash_equal(&digest, &other));
    struct channel_key channel = {.client = hub, .salt = 1};
    struct hash request = liabilities_request_digest(&domain, &channel, 7);
    other = liabilities_request_digest(&domain, &channel, 8);
    assert_false(hash_equal(&request, &other));
    channel.salt++;
    other = liabilities_request_digest(&domain, &channel, 7);
    assert_false(hash_equal(&request, &other));
}

static void test_a_leaf_is_what_it_says(void **state)
{
    (void)state;
    struct liability_leaf leaf = {.balance = amount_of(10), .nonce_client = 3, .nonce_hub = 4};
    struct sum_node node = liabilities_leaf(&leaf), other;
    assert_int_equal(node.sum, 10);
    struct liability_leaf changed[] = {leaf, leaf, leaf, leaf, leaf};
    changed[0].balance = amount_of(11);
    changed[1].nonce_client++;
    changed[2].nonce_hub++;
    changed[3].salt.bytes[0] = 1;
    changed[4].channel.bytes[31] = 1;
    for (size_t i = 0; i < 5; i++) {
        other = liabilities_leaf(&changed[i]);
        assert_false(hash_equal(&node.hash, &other.hash));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_leaf_of_every_tree_proves),
        cmocka_unit_test(test_nothing_else_proves),
        cmocka_unit_test(test_what_a_node_commits_to),
        cmocka_unit_test(test_sums_never_wrap),
        cmocka_unit_test(test_an_empty_tree),
        cmocka_unit_test(test_a_statement_is_read_as_written),
        cmocka_unit_test(test_who_signed_it),
        cmocka_unit_test(test_a_leaf_is_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
