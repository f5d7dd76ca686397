/* The ways of Keccak: each processor takes the best that it has, so here they are held to each other. Where there is but
 * one, it is held to itself and to test_hash.c's vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/keccak.h"

#define LENGTH_MAX (5 * KECCAK_RATE + 1)

static struct hash portable(const void *data, size_t length)
{
    return keccak_pair(KECCAK_PORTABLE, data, length, NULL, 0);
}

static void fill(uint8_t *data, size_t length, uint64_t seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(seed >> 56);
    }
}

static void assert_same(const struct hash *a, const struct hash *b)
{
    assert_memory_equal(a->bytes, b->bytes, sizeof(a->bytes));
}

static void test_one_of_every_length(void **state)
{
    (void)state;
    uint8_t data[LENGTH_MAX];
    fill(data, sizeof(data), 1);
    for (size_t length = 0; length <= LENGTH_MAX; length++) {
        struct hash expected = portable(data, length), got = keccak256(data, length);
        assert_same(&got, &expected);
    }
}

/* Each length alone, and 2 to 9 of it: full fours, and what is left of them. Each input ends where its memory does, so
 * that AddressSanitizer sees a read behind it. */
static void test_many_of_one_length(void **state)
{
    (void)state;
    enum { MOST = 9 };
    for (size_t length = 0; length <= LENGTH_MAX; length++) {
        struct hash_input inputs[MOST];
        struct hash out[MOST + 1], expected[MOST];
        uint8_t *copies[MOST];
        for (size_t i = 0; i < MOST; i++) {
            copies[i] = malloc(length + 1);
            assert_non_null(copies[i]);
            fill(copies[i] + 1, length, 100 * length + i);
            inputs[i] = (struct hash_input){length == 0 ? NULL : copies[i] + 1, length};
            expected[i] = portable(copies[i] + 1, length);
        }
        for (size_t count = 0; count <= MOST; count++) {
            memset(out, 0xa5, sizeof(out));
            keccak256_many(inputs, count, out);
            for (size_t i = 0; i < count; i++)
                assert_same(&out[i], &expected[i]);
            for (size_t i = 0; i < sizeof(out[count].bytes); i++)
                assert_int_equal(out[count].bytes[i], 0xa5);
        }
        for (size_t i = 0; i < MOST; i++)
            free(copies[i]);
    }
}

/* Inputs of all lengths in one call: places end one by one, take the next, and the last goes on alone. */
static void test_many_of_mixed_lengths(void **state)
{
    (void)state;
    enum { COUNT = 3 * LENGTH_MAX };
    static uint8_t data[LENGTH_MAX];
    static struct hash_input inputs[COUNT];
    static struct hash out[COUNT];
    fill(data, sizeof(data), 7);
    for (uint64_t round = 0; round < 8; round++) {
        uint8_t dice[4 * COUNT];
        fill(dice, sizeof(dice), round);
        size_t count = round == 7 ? COUNT : 1 + dice[0] % 12u;
        for (size_t i = 0; i < count; i++) {
            size_t number = dice[4 * i] | (size_t)dice[4 * i + 1] << 8;
            size_t length = number % (LENGTH_MAX + 1);
            inputs[i] = (struct hash_input){data + LENGTH_MAX - length, length};
        }
        keccak256_many(inputs, count, out);
        for (size_t i = 0; i < count; i++) {
            struct hash expected = portable(inputs[i].data, inputs[i].length);
            assert_same(&out[i], &expected);
        }
    }
}

/* The portable way of many is there wherever the other is. */
static void test_the_portable_way_of_many(void **state)
{
    (void)state;
    uint8_t data[300];
    struct hash_input inputs[5];
    struct hash out[5];
    fill(data, sizeof(data), 3);
    for (size_t i = 0; i < 5; i++)
        inputs[i] = (struct hash_input){data, 60 * i};
    keccak_many(KECCAK_PORTABLE, inputs, 5, out);
    for (size_t i = 0; i < 5; i++) {
        struct hash expected = keccak256(inputs[i].data, inputs[i].length);
        assert_same(&out[i], &expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_every_length),
        cmocka_unit_test(test_many_of_one_length),
        cmocka_unit_test(test_many_of_mixed_lengths),
        cmocka_unit_test(test_the_portable_way_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
