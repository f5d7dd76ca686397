#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "base/index.h"
#include "base/prefetch.h"
#include "base/slab.h"

#define ITEMS 3000

struct item {
    uint32_t key;
    bool is_in;
};

static struct item *find(const struct index *index, uint64_t hash, uint32_t key)
{
    struct item *item;
    for (struct index_walk walk = index_walk(index, hash); (item = index_next(index, &walk)) != NULL;)
        if (item->key == key)
            return item;
    return NULL;
}

static void check_all(const struct index *index, struct item *items, uint64_t hash(uint32_t key))
{
    size_t count = 0, at = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(find(index, hash(i), i), items[i].is_in ? &items[i] : NULL);
        count += items[i].is_in;
    }
    assert_int_equal(index->count, count);
    for (const struct item *item; (item = index_each(index, &at)) != NULL; count--)
        assert_true(item->is_in);
    assert_int_equal(count, 0);
}

/* Items come and go at random; what must be there is kept beside. */
static void live(uint64_t hash(uint32_t key))
{
    static struct item items[ITEMS];
    struct index index = {0};
    uint64_t random = 1;
    memset(items, 0, sizeof(items));
    for (uint32_t i = 0; i < ITEMS; i++)
        items[i].key = i;
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < ITEMS; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            struct item *item = &items[(random >> 33) % ITEMS];
            if (item->is_in)
                index_remove(&index, hash(item->key), item);
            else
                index_add(&index, hash(item->key), item);
            item->is_in = !item->is_in;
        }
        check_all(&index, items, hash);
    }
    index_free(&index);
    assert_null(find(&index, hash(1), 1));
}

static uint64_t hash_well(uint32_t key)
{
    return index_hash(7, &key, sizeof(key));
}

static uint64_t hash_badly(uint32_t key)
{
    return key % 5 + UINT64_MAX - 3; /* runs that go over the end */
}

static void test_items_come_and_go(void **state)
{
    (void)state;
    live(hash_well);
}

static void test_many_with_one_hash(void **state)
{
    (void)state;
    live(hash_badly);
}

static void test_a_hash_depends_on_each_byte_the_length_and_the_seed(void **state)
{
    (void)state;
    uint8_t key[48] = {0};
    for (size_t length = 0; length <= sizeof(key); length++) {
        uint64_t hash = index_hash(1, key, length);
        assert_true(hash != index_hash(2, key, length));
        assert_true(length == 0 || hash != index_hash(1, key, length - 1));
        for (size_t i = 0; i < length; i++) {
            key[i] = 1;
            assert_true(hash != index_hash(1, key, length));
            key[i] = 0;
        }
    }
}

/* Which is what the table hangs on: neither low nor high bits may repeat more than chance would have it. */
static void test_hashes_of_a_row_of_numbers_spread(void **state)
{
    (void)state;
    unsigned low[256] = {0}, high[256] = {0};
    for (uint64_t key = 0; key < 256 * 64; key++) {
        uint64_t hash = index_hash(3, &key, sizeof(key));
        low[hash & 255]++;
        high[hash >> 56]++;
    }
    for (size_t i = 0; i < 256; i++)
        assert_true(low[i] > 20 && low[i] < 130 && high[i] > 20 && high[i] < 130);
}

static void test_a_slab_gives_out_zeroed_things_that_do_not_overlap(void **state)
{
    (void)state;
    struct slab slab = {.item_size = 13};
    unsigned char *items[200];
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < 200; i++) {
            items[i] = slab_take(&slab);
            for (size_t at = 0; at < 13; at++)
                assert_int_equal(items[i][at], 0);
            memset(items[i], (int)i, 13);
        }
        for (size_t i = 0; i < 200; i++)
            for (size_t at = 0; at < 13; at++)
                assert_int_equal(items[i][at], i);
        for (size_t i = 0; i < 200; i++)
            slab_give(&slab, items[i]);
    }
    slab_give(&slab, NULL);
    slab_free(&slab);
}

/* Chunks grow, to several of the largest; items keep their alignment and nobody else's bytes. */
static void test_a_slab_of_many_things(void **state)
{
    (void)state;
    enum { MANY = 30000, BYTES = 200 };
    struct slab slab = {.item_size = BYTES, .alignment = CACHE_LINE_BYTES};
    static unsigned char *items[MANY];
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < MANY; i++) {
            items[i] = slab_take(&slab);
            assert_int_equal((uintptr_t)items[i] % CACHE_LINE_BYTES, 0);
            for (size_t at = 0; at < BYTES; at++)
                assert_true(items[i][at] == 0);
            memcpy(items[i], &i, sizeof(i));
            memcpy(items[i] + BYTES - sizeof(i), &i, sizeof(i));
        }
        for (uint32_t i = 0; i < MANY; i++) {
            assert_memory_equal(items[i], &i, sizeof(i));
            assert_memory_equal(items[i] + BYTES - sizeof(i), &i, sizeof(i));
            slab_give(&slab, items[i]);
        }
    }
    slab_free(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_and_go),
        cmocka_unit_test(test_many_with_one_hash),
        cmocka_unit_test(test_a_hash_depends_on_each_byte_the_length_and_the_seed),
        cmocka_unit_test(test_hashes_of_a_row_of_numbers_spread),
        cmocka_unit_test(test_a_slab_gives_out_zeroed_things_that_do_not_overlap),
        cmocka_unit_test(test_a_slab_of_many_things),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
