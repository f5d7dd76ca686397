#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <secp256k1.h>

#include "crypto/hash.h"
#include "crypto/key.h"
#include "crypto/nonce.h"
#include "tests/support/capture.h"

#define GROUP_ORDER "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
#define FIELD_ORDER "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"

static struct hash hash_of(const char *hex)
{
    struct hash out;
    assert_true(hex_decode(hex, out.bytes, sizeof(out.bytes)));
    return out;
}

static struct signature signature_of(const char *r, const char *s)
{
    struct signature out;
    assert_true(hex_decode(r, out.bytes, 32) && hex_decode(s, out.bytes + 32, 32));
    return out;
}

static struct secret_key key_of(const char *hex)
{
    struct secret_key key;
    assert_true(hex_decode(hex, key.bytes, sizeof(key.bytes)));
    return key;
}

/* a - b, as 32-byte numbers. */
static void subtract(const uint8_t a[32], const uint8_t b[32], uint8_t out[32])
{
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int difference = a[i] - b[i] - borrow;
        borrow = difference < 0;
        out[i] = (uint8_t)(difference + (borrow ? 256 : 0));
    }
}

static void test_which_keys_are_valid(void **state)
{
    (void)state;
    struct secret_key key = key_of(GROUP_ORDER);
    assert_false(secret_key_is_valid(&key));
    key.bytes[31]--;
    assert_true(secret_key_is_valid(&key));
    memset(&key, 0xff, sizeof(key));
    assert_false(secret_key_is_valid(&key));
    memset(&key, 0, sizeof(key));
    assert_false(secret_key_is_valid(&key));
    key.bytes[31] = 1;
    assert_true(secret_key_is_valid(&key));
}

static void test_the_address_of_key_one(void **state)
{
    (void)state;
    struct secret_key key = {{0}};
    key.bytes[31] = 1;
    struct address address = secret_key_address(&key);
    char text[ADDRESS_TEXT_SIZE], point[67];
    assert_string_equal(address_text(&address, text), "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    struct public_key public = public_key_of(&key);
    uint8_t compressed[33];
    public_key_compress(&public, compressed);
    hex_encode(compressed, sizeof(compressed), point);
    assert_string_equal(point, "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    struct address again = public_key_address(&public);
    assert_true(address_equal(&again, &address));
}

static void test_random_keys_are_valid_and_differ(void **state)
{
    (void)state;
    struct secret_key first = secret_key_random(), second = secret_key_random();
    assert_true(secret_key_is_valid(&first) && secret_key_is_valid(&second));
    assert_memory_not_equal(&first, &second, sizeof(first));
}

/* The examples of EIP-2098: one with each parity. */
static void test_compact_signatures_of_eip_2098(void **state)
{
    (void)state;
    static const struct {
        const char *digest, *r, *s;
    } cases[] = {
        {"a1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2",
         "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90",
         "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064"},
        {"ac33ec93c768b669bdb542a85baebaf7342d35fc9ad8fc0bbc1b852c6f8bf021",
         "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76",
         "939c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793"},
    };
    struct secret_key key = key_of("1234567890123456789012345678901234567890123456789012345678901234");
    struct address signer = secret_key_address(&key);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct hash digest = hash_of(cases[i].digest);
        struct signature expected = signature_of(cases[i].r, cases[i].s), made = key_sign(&key, &digest);
        assert_true(signature_equal(&made, &expected));
        struct address recovered;
        assert_true(signature_recover(&expected, &digest, &recovered));
        assert_true(address_equal(&recovered, &signer));
    }
}

struct signed_case {
    struct secret_key key;
    struct address signer;
    struct public_key public;
    struct hash digest;
    struct signature signature;
};

static struct signed_case make_case(unsigned seed)
{
    struct signed_case made;
    struct hash bytes = keccak256(&seed, sizeof(seed));
    memcpy(made.key.bytes, bytes.bytes, 32);
    made.signer = secret_key_address(&made.key);
    made.public = public_key_of(&made.key);
    made.digest = keccak256(bytes.bytes, 32);
    made.signature = key_sign(&made.key, &made.digest);
    return made;
}

static bool is_good(const struct signed_case *c)
{
    struct public_key found;
    bool by = signature_is_by(&c->signature, &c->digest, &c->signer);
    assert_true(signature_find_key(&c->signature, &c->digest, &c->signer, &found) == by);
    assert_true(signature_verify(&c->signature, &c->digest, &c->public) == by);
    if (by)
        assert_memory_equal(&found, &c->public, sizeof(found));
    return by;
}

static void test_every_bit_counts_but_the_parity(void **state)
{
    (void)state;
    struct signed_case c = make_case(1);
    assert_true(is_good(&c));
    for (size_t bit = 0; bit < 512; bit += 7) {
        c.signature.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        assert_false(is_good(&c));
        c.signature.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    }
    for (size_t bit = 0; bit < 256; bit += 31) {
        c.digest.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        assert_false(is_good(&c));
        c.digest.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    }
    c.signature.bytes[32] ^= 0x80;
    assert_true(is_good(&c)); /* a hint only */
    struct address recovered;
    assert_true(signature_recover(&c.signature, &c.digest, &recovered)); /* but recovery follows it */
    assert_false(address_equal(&recovered, &c.signer));
}

static void test_both_parities_occur_and_are_found(void **state)
{
    (void)state;
    unsigned odd = 0;
    for (unsigned seed = 0; seed < 40; seed++) {
        struct signed_case c = make_case(seed);
        odd += c.signature.bytes[32] >> 7;
        assert_true(is_good(&c));
        struct signature again = key_sign(&c.key, &c.digest);
        assert_true(signature_equal(&again, &c.signature));
    }
    assert_true(odd > 5 && odd < 35);
}

static void test_high_s_is_refused(void **state)
{
    (void)state;
    struct secret_key order = key_of(GROUP_ORDER);
    for (unsigned seed = 0; seed < 10; seed++) {
        struct signed_case c = make_case(seed);
        uint8_t low[32];
        memcpy(low, c.signature.bytes + 32, 32);
        low[0] &= 0x7f;
        subtract(order.bytes, low, c.signature.bytes + 32);
        /* The top bit is the parity's place: with it, s reads as another, low number; without it, as high. */
        struct address recovered = {{7}};
        struct public_key key;
        c.signature.bytes[32] &= 0x7f;
        assert_false(is_good(&c));
        c.signature.bytes[32] |= 0x80;
        assert_false(is_good(&c));
        memset(c.signature.bytes + 32, 0xff, 32); /* 2^255 - 1: high whatever the parity */
        assert_false(is_good(&c));
        assert_false(signature_recover(&c.signature, &c.digest, &recovered));
        assert_false(signature_recover_key(&c.signature, &c.digest, &key));
        assert_int_equal(recovered.bytes[0], 7);
    }
}

static void test_the_bound_of_low_s(void **state)
{
    (void)state;
    struct signed_case c = make_case(3);
    struct address recovered;
    /* (order - 1) / 2 is the largest low s. */
    assert_true(hex_decode("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0",
                           c.signature.bytes + 32, 32));
    assert_true(signature_recover(&c.signature, &c.digest, &recovered));
    c.signature.bytes[63]++;
    assert_false(signature_recover(&c.signature, &c.digest, &recovered));
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    static const char zero[] = "0000000000000000000000000000000000000000000000000000000000000000";
    static const char one[] = "0000000000000000000000000000000000000000000000000000000000000001";
    static const struct {
        const char *r, *s;
    } wrong[] = {
        {zero, zero},
        {zero, one},
        {one, zero},
        {GROUP_ORDER, one},
        {FIELD_ORDER, one},
        {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", one},
        {"0000000000000000000000000000000000000000000000000000000000000005", one}, /* no point has this x */
    };
    struct signed_case c = make_case(4);
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct address recovered = {{7}};
        c.signature = signature_of(wrong[i].r, wrong[i].s);
        assert_false(is_good(&c));
        assert_false(signature_recover(&c.signature, &c.digest, &recovered));
        c.signature.bytes[32] |= 0x80;
        assert_false(is_good(&c));
        assert_false(signature_recover(&c.signature, &c.digest, &recovered));
        assert_int_equal(recovered.bytes[0], 7);
    }
    c.signature = signature_of(one, one); /* 1 is the x of a point: somebody's, but not the signer's */
    struct address recovered;
    assert_true(signature_recover(&c.signature, &c.digest, &recovered));
    assert_false(is_good(&c));
}

static void test_address_zero_never_signs(void **state)
{
    (void)state;
    struct signed_case c = make_case(5);
    struct public_key key;
    assert_false(signature_is_by(&c.signature, &c.digest, &ADDRESS_ZERO));
    assert_false(signature_find_key(&c.signature, &c.digest, &ADDRESS_ZERO, &key));
    struct signature zero = {{0}};
    assert_false(signature_is_by(&zero, &c.digest, &ADDRESS_ZERO));
}

static void test_another_signer_is_refused(void **state)
{
    (void)state;
    struct signed_case c = make_case(6), other = make_case(7);
    assert_false(signature_is_by(&c.signature, &c.digest, &other.signer));
    assert_false(signature_verify(&c.signature, &c.digest, &other.public));
}

static void sign_with(void *key)
{
    key_sign(key, &HASH_ZERO);
}

static void test_signing_with_an_invalid_key_stops_the_process(void **state)
{
    (void)state;
    struct secret_key key = {{0}};
    assert_true(capture_aborts(sign_with, &key));
    key.bytes[0] = 1;
    assert_false(capture_aborts(sign_with, &key));
}

static void *sign_many(void *argument)
{
    unsigned seed = *(unsigned *)argument;
    for (unsigned i = 0; i < 20; i++) {
        struct signed_case c = make_case(seed + i);
        if (!signature_is_by(&c.signature, &c.digest, &c.signer))
            return argument;
    }
    return NULL;
}

static void test_threads_share_the_library(void **state)
{
    (void)state;
    pthread_t threads[4];
    unsigned seeds[4] = {100, 200, 300, 400};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_many, &seeds[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

/* libsecp256k1's own is the reference. */
static void test_the_nonce_is_the_one_of_rfc_6979(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        uint8_t key[32], message[32], ours[32], theirs[32];
        random_bytes(key, sizeof(key));
        random_bytes(message, sizeof(message));
        unsigned attempt = i % 4;
        assert_int_equal(nonce_rfc6979(ours, message, key, NULL, NULL, attempt), 1);
        assert_int_equal(secp256k1_nonce_function_rfc6979(theirs, message, key, NULL, NULL, attempt), 1);
        assert_memory_equal(ours, theirs, sizeof(ours));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_share_the_library), /* first, so that they race to set it up */
        cmocka_unit_test(test_which_keys_are_valid),
        cmocka_unit_test(test_the_address_of_key_one),
        cmocka_unit_test(test_random_keys_are_valid_and_differ),
        cmocka_unit_test(test_compact_signatures_of_eip_2098),
        cmocka_unit_test(test_every_bit_counts_but_the_parity),
        cmocka_unit_test(test_both_parities_occur_and_are_found),
        cmocka_unit_test(test_high_s_is_refused),
        cmocka_unit_test(test_the_bound_of_low_s),
        cmocka_unit_test(test_numbers_out_of_range_are_refused),
        cmocka_unit_test(test_address_zero_never_signs),
        cmocka_unit_test(test_another_signer_is_refused),
        cmocka_unit_test(test_signing_with_an_invalid_key_stops_the_process),
        cmocka_unit_test(test_the_nonce_is_the_one_of_rfc_6979),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
