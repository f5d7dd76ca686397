#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"

static void assert_hash(struct hash got, const char *expected)
{
    char text[HASH_TEXT_SIZE];
    assert_string_equal(hash_text(&got, text), expected);
}

static void test_keccak256_is_ethereums(void **state)
{
    (void)state;
    assert_hash(keccak256("", 0), "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    assert_hash(keccak256(NULL, 0), "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    assert_hash(keccak256("abc", 3), "0x4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
}

/* acc = keccak256(acc || keccak256(data)) over data of each length to 600: four blocks and all edges between.
 * The constant was computed with ethers. */
static void test_keccak256_of_every_length(void **state)
{
    (void)state;
    struct hash acc = HASH_ZERO;
    uint8_t data[600];
    for (size_t length = 0; length <= sizeof(data); length++) {
        for (size_t i = 0; i < length; i++)
            data[i] = (uint8_t)(i * 7 + length);
        struct hash hash = keccak256(data, length);
        acc = keccak256_pair(acc.bytes, 32, hash.bytes, 32);
    }
    assert_hash(acc, "0x8b6748f2cd500e6423ea995042c59b26d02afbba8e16552fd64bcd8a7eb90539");
}

static void test_a_pair_is_its_concatenation(void **state)
{
    (void)state;
    uint8_t data[300];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    struct hash whole = keccak256(data, sizeof(data));
    for (size_t split = 0; split <= sizeof(data); split++) {
        struct hash pair = keccak256_pair(data, split, data + split, sizeof(data) - split);
        assert_true(hash_equal(&pair, &whole));
    }
}

static void test_sha256(void **state)
{
    (void)state; /* FIPS 180-4 */
    assert_hash(sha256("", 0), "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_hash(sha256("abc", 3), "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_hash(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56),
                "0x248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_hmac_sha256(void **state)
{
    (void)state; /* RFC 4231, cases 1, 2 and 6 */
    uint8_t key[131];
    memset(key, 0x0b, 20);
    assert_hash(hmac_sha256(key, 20, "Hi There", 8),
                "0xb0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_hash(hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28),
                "0x5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    assert_hash(hmac_sha256(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54),
                "0x60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_hash(hmac_sha256("", 0, "", 0),
                "0xb613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_random_bytes_fill_and_differ(void **state)
{
    (void)state;
    uint8_t first[1000] = {0}, second[1000] = {0};
    random_bytes(first, sizeof(first));
    random_bytes(second, sizeof(second) - 8);
    assert_memory_not_equal(first, second, 16);
    unsigned seen[256] = {0};
    for (size_t i = 0; i < sizeof(first); i++)
        seen[first[i]]++;
    for (size_t i = 0; i < 256; i++)
        assert_true(seen[i] < 100); /* 4 expected */
    for (size_t i = sizeof(second) - 8; i < sizeof(second); i++)
        assert_int_equal(second[i], 0);
    random_bytes(first, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keccak256_is_ethereums),
        cmocka_unit_test(test_keccak256_of_every_length),
        cmocka_unit_test(test_a_pair_is_its_concatenation),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac_sha256),
        cmocka_unit_test(test_random_bytes_fill_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
