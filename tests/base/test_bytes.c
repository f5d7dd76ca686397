#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_network_order(void **state)
{
    (void)state;
    uint8_t bytes[8];
    store_be16(bytes, 0x0102);
    assert_memory_equal(bytes, "\x01\x02", 2);
    assert_int_equal(load_be16(bytes), 0x0102);
    store_be32(bytes, 0xfedcba98);
    assert_memory_equal(bytes, "\xfe\xdc\xba\x98", 4);
    assert_int_equal(load_be32(bytes), 0xfedcba98);
    store_be64(bytes, 0x8001020304050607);
    assert_memory_equal(bytes, "\x80\x01\x02\x03\x04\x05\x06\x07", 8);
    assert_true(load_be64(bytes) == 0x8001020304050607);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(load_be16(bytes), UINT16_MAX);
    assert_int_equal(load_be32(bytes), UINT32_MAX);
    assert_true(load_be64(bytes) == UINT64_MAX);
}

static void test_each_byte_counts_in_equality(void **state)
{
    (void)state;
    struct hash a = {{0}}, b = {{0}};
    assert_true(hash_is_zero(&a) && hash_equal(&a, &HASH_ZERO) && hash_compare(&a, &b) == 0);
    for (size_t i = 0; i < sizeof(a.bytes); i++) {
        a.bytes[i] = 0x80;
        assert_false(hash_is_zero(&a));
        assert_false(hash_equal(&a, &b));
        assert_true(hash_compare(&a, &b) > 0 && hash_compare(&b, &a) < 0);
        a.bytes[i] = 0;
    }
    struct address x = ADDRESS_ZERO;
    struct payment_id id = PAYMENT_ID_ZERO;
    assert_true(address_is_zero(&x) && payment_id_is_zero(&id));
    x.bytes[19] = id.bytes[15] = 1;
    assert_false(address_is_zero(&x) || address_equal(&x, &ADDRESS_ZERO));
    assert_false(payment_id_is_zero(&id) || payment_id_equal(&id, &PAYMENT_ID_ZERO));
    struct signature first = {{0}}, second = {{0}};
    assert_true(signature_equal(&first, &second));
    second.bytes[63] = 1;
    assert_false(signature_equal(&first, &second));
}

static void test_secrets_are_compared_and_wiped(void **state)
{
    (void)state;
    uint8_t a[40], b[40];
    memset(a, 7, sizeof(a));
    memcpy(b, a, sizeof(b));
    assert_true(bytes_equal_constant_time(a, b, sizeof(a)));
    assert_true(bytes_equal_constant_time(a, b, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] ^= 0x10;
        assert_false(bytes_equal_constant_time(a, b, sizeof(a)));
        assert_true(bytes_equal_constant_time(a, b, i));
        b[i] ^= 0x10;
    }
    bytes_wipe(a, 39);
    for (size_t i = 0; i < 39; i++)
        assert_int_equal(a[i], 0);
    assert_int_equal(a[39], 7);
}

static void test_hex_is_written_and_read(void **state)
{
    (void)state;
    uint8_t data[4] = {0x00, 0x9a, 0xbc, 0xff}, got[4];
    char text[9];
    size_t length;
    hex_encode(data, sizeof(data), text);
    assert_string_equal(text, "009abcff");
    assert_true(hex_decode("0x009aBCfF", got, sizeof(got)));
    assert_memory_equal(got, data, sizeof(data));
    assert_true(hex_decode("0X009abcff", got, sizeof(got)));
    assert_true(hex_decode_any("9abc", got, sizeof(got), &length) && length == 2 && got[0] == 0x9a);
    assert_true(hex_decode_any("0x", got, sizeof(got), &length) && length == 0);
    assert_true(hex_decode_any("", got, sizeof(got), &length) && length == 0);
    hex_encode(data, 0, text);
    assert_string_equal(text, "");
}

static void test_wrong_hex_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "009abcf",   "009abcff0", "009abcffaa", "009abc", "009abcfg",  "0x0x9abcff", " 009abcff",
        "009abcff ", "0x",        "",           "0",      "-0x009abc", "00 9abcf",   "009abc\xff\x66"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        uint8_t out[4] = {1, 2, 3, 4};
        assert_false(hex_decode(wrong[i], out, sizeof(out)));
        assert_memory_equal(out, "\x01\x02\x03\x04", 4);
    }
    uint8_t out[2] = {1, 2};
    size_t length = 77;
    assert_false(hex_decode_any("aabbcc", out, sizeof(out), &length)); /* over the capacity */
    assert_false(hex_decode_any("aab", out, sizeof(out), &length));
    assert_false(hex_decode_any("aabx", out, sizeof(out), &length));
    assert_memory_equal(out, "\x01\x02", 2);
    assert_int_equal(length, 77);
}

static void test_texts_of_ids(void **state)
{
    (void)state;
    struct hash hash = {{0xab}};
    struct address address = {{0xcd}};
    struct payment_id id = {{0xef}};
    char hash_out[HASH_TEXT_SIZE], address_out[ADDRESS_TEXT_SIZE], id_out[PAYMENT_ID_TEXT_SIZE];
    assert_string_equal(hash_text(&hash, hash_out),
                        "0xab00000000000000000000000000000000000000000000000000000000000000");
    assert_string_equal(address_text(&address, address_out), "0xcd00000000000000000000000000000000000000");
    assert_string_equal(payment_id_text(&id, id_out), "ef000000000000000000000000000000");
}

static bool valid(const char *text)
{
    return utf8_is_valid((const uint8_t *)text, strlen(text));
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "tea",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xe9\x9b\xbb\xe6\xb1\xa0"};
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xc2",             /* cut */
        "\xe2\x82",         /* cut */
        "\xf0\x90\x80",     /* cut */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2\x41",
        "\xe2\x82\x41",
        "ok\xc3(",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        assert_true(valid(good[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(valid(bad[i]));
    assert_false(utf8_is_valid((const uint8_t *)"a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_order),
        cmocka_unit_test(test_each_byte_counts_in_equality),
        cmocka_unit_test(test_secrets_are_compared_and_wiped),
        cmocka_unit_test(test_hex_is_written_and_read),
        cmocka_unit_test(test_wrong_hex_is_refused_and_changes_nothing),
        cmocka_unit_test(test_texts_of_ids),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
