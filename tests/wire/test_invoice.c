/* Invoices: one text for one invoice, and nothing else is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "wire/base32.h"
#include "wire/invoice.h"

static struct secret_key payee_key(void)
{
    return (struct secret_key){{1, 2, 3, 4, 5}};
}

static struct invoice sample(void)
{
    struct invoice invoice;
    memset(&invoice, 0, sizeof invoice);
    invoice.chain_id = 31337;
    invoice.contract.bytes[0] = 7;
    invoice.asset.bytes[19] = 9;
    invoice.amount = amount_of(5000000000123);
    invoice.secret_hash = sha256("secret", 6);
    invoice.expiry = 1800000600;
    strcpy(invoice.endpoint, "hub.example.org:9735");
    strcpy(invoice.memo, "two coffees \xe2\x98\x95");
    struct secret_key key = payee_key();
    invoice_sign(&invoice, &key);
    return invoice;
}

static enum invoice_error decode(const char *text)
{
    struct invoice invoice;
    return invoice_decode(text, &invoice);
}

static void an_invoice_survives_the_round_trip(void **state)
{
    (void)state;
    struct invoice sent = sample(), got;
    char text[INVOICE_TEXT_MAX];
    invoice_encode(&sent, text);
    assert_int_equal(strncmp(text, "rill:", 5), 0);
    assert_int_equal(invoice_decode(text, &got), INVOICE_OK);
    assert_memory_equal(&got, &sent, sizeof sent);
    struct secret_key key = payee_key();
    struct address payee = secret_key_address(&key);
    assert_memory_equal(&got.payee, &payee, sizeof payee);
}

static void the_longest_and_the_shortest_fit(void **state)
{
    (void)state;
    struct invoice invoice = sample(), got;
    struct secret_key key = payee_key();
    char text[INVOICE_TEXT_MAX];
    invoice.chain_id = invoice.expiry = UINT64_MAX;
    invoice.amount = amount_of(AMOUNT_LIMIT - 1);
    memset(invoice.endpoint, 'h', HOST_BYTES_MAX);
    strcpy(invoice.endpoint + HOST_BYTES_MAX, ":65535");
    memset(invoice.memo, 'm', MEMO_BYTES_MAX);
    invoice_sign(&invoice, &key);
    invoice_encode(&invoice, text);
    assert_int_equal(invoice_decode(text, &got), INVOICE_OK);
    assert_memory_equal(&got, &invoice, sizeof got);

    memset(invoice.endpoint, 0, sizeof invoice.endpoint);
    strcpy(invoice.endpoint, "a:1");
    memset(invoice.memo, 0, sizeof invoice.memo);
    invoice.chain_id = invoice.expiry = 0;
    invoice.amount = amount_of(0);
    invoice_sign(&invoice, &key);
    invoice_encode(&invoice, text);
    assert_int_equal(invoice_decode(text, &got), INVOICE_OK);
    assert_memory_equal(&got, &invoice, sizeof got);
}

static void what_is_no_invoice_at_all(void **state)
{
    (void)state;
    struct invoice invoice = sample();
    char text[INVOICE_TEXT_MAX], changed[2 * INVOICE_TEXT_MAX];
    invoice_encode(&invoice, text);
    assert_int_equal(decode(""), INVOICE_NOT_ONE);
    assert_int_equal(decode("rill:"), INVOICE_NOT_ONE);
    assert_int_equal(decode("rill"), INVOICE_NOT_ONE);
    assert_int_equal(decode("RILL:AA"), INVOICE_NOT_ONE);
    assert_int_equal(decode(text + 5), INVOICE_NOT_ONE);
    static const char *const patterns[] = {" %s", "%s ", "%s\n", "%s=", "%s1", "%s0", "%s8", "%s\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LENGTH(patterns); i++) {
        snprintf(changed, sizeof changed, i == 0 ? " %s" : "%s%s", text, i == 0 ? "" : patterns[i] + 2);
        assert_int_equal(decode(changed), INVOICE_NOT_ONE);
    }
    /* Lower case. */
    strcpy(changed, text);
    for (char *at = changed + 5; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + 32);
    assert_int_equal(decode(changed), INVOICE_NOT_ONE);
    /* Too long for any. */
    memset(changed, 'A', sizeof changed - 1);
    changed[sizeof changed - 1] = '\0';
    memcpy(changed, "rill:", 5);
    assert_int_equal(decode(changed), INVOICE_NOT_ONE);
    changed[INVOICE_TEXT_MAX - 1] = '\0';
    assert_int_not_equal(decode(changed), INVOICE_OK);
}

static void any_other_character_is_noticed(void **state)
{
    (void)state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    struct invoice invoice = sample();
    char text[INVOICE_TEXT_MAX], changed[INVOICE_TEXT_MAX];
    invoice_encode(&invoice, text);
    size_t length = strlen(text);
    for (size_t i = 5; i < length; i++) {
        strcpy(changed, text);
        changed[i] = alphabet[(size_t)(strchr(alphabet, text[i]) - alphabet + 1 + (ptrdiff_t)i % 7) % 32];
        assert_string_not_equal(changed, text);
        struct invoice got;
        if (invoice_decode(changed, &got) == INVOICE_OK) {
            /* Not signed: where the hub is, and the parity, which is a hint. */
            memcpy(got.endpoint, invoice.endpoint, sizeof got.endpoint);
            got.signature.bytes[32] ^= (got.signature.bytes[32] ^ invoice.signature.bytes[32]) & 0x80;
            assert_memory_equal(&got, &invoice, sizeof got);
        }
        strcpy(changed, text);
        changed[i] = '\0';
        assert_int_not_equal(decode(changed), INVOICE_OK);
    }
}

static void base32_is_strict(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } cases[] = {{"", 0, ""},
                 {"f", 1, "MY"},
                 {"fo", 2, "MZXQ"},
                 {"foo", 3, "MZXW6"},
                 {"foob", 4, "MZXW6YQ"},
                 {"fooba", 5, "MZXW6YTB"},
                 {"foobar", 6, "MZXW6YTBOI"}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[32];
        uint8_t bytes[32];
        size_t length;
        base32_encode((const uint8_t *)cases[i].bytes, cases[i].length, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(base32_length(cases[i].length), strlen(text));
        assert_true(base32_decode(text, bytes, sizeof bytes, &length));
        assert_int_equal(length, cases[i].length);
        assert_memory_equal(bytes, cases[i].bytes, length);
    }
    uint8_t bytes[4];
    size_t length;
    static const char *const bad[] = {"A",     "MZX", "MZXW6Y", "MZ",       "MZXR",
                                      "MZXW7", "my",  "M1",     "MY======", "M Y"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(base32_decode(bad[i], bytes, sizeof bytes, &length));
    assert_false(base32_decode("MZXW6YTB", bytes, sizeof bytes, &length)); /* no room */
}

/* The packed array of the sample with `bytes` in place of what stands from `start` on for `old` bytes. */
static enum invoice_error decode_replaced(size_t start, size_t old, const char *bytes, size_t length)
{
    struct invoice invoice = sample();
    char text[INVOICE_TEXT_MAX], changed[INVOICE_TEXT_MAX] = "rill:";
    uint8_t packed[1024];
    size_t size;
    invoice_encode(&invoice, text);
    assert_true(base32_decode(text + 5, packed, sizeof packed, &size));
    struct buffer out = {0};
    buffer_append(&out, packed, start);
    buffer_append(&out, bytes, length);
    buffer_append(&out, packed + start + old, size - start - old);
    base32_encode(out.data, out.length, changed + 5);
    buffer_free(&out);
    return decode(changed);
}

static void the_array_must_be_exact(void **state)
{
    (void)state;
    /* 9b 01 cd7a69 c414… : head, version, chain id 31337, contract, endpoint (str 20), payee, asset, amount…
     */
    assert_int_equal(decode_replaced(0, 0, "", 0), INVOICE_OK);
    assert_int_equal(decode_replaced(1, 1, "\2", 1), INVOICE_VERSION);
    assert_int_equal(decode_replaced(1, 1, "\0", 1), INVOICE_VERSION);
    assert_int_equal(decode_replaced(0, 2, "\x91\2", 2), INVOICE_VERSION);
    assert_int_equal(decode_replaced(1, 1, "\xc0", 1), INVOICE_MALFORMED);
    assert_int_equal(decode_replaced(1, 1, "\xcc\1", 2), INVOICE_MALFORMED);           /* not the shortest */
    assert_int_equal(decode_replaced(2, 3, "\xce\0\0\x7a\x69", 5), INVOICE_MALFORMED); /* not the shortest */
    assert_int_equal(decode_replaced(2, 3, "\xcd\x7a\x68", 3), INVOICE_SIGNATURE);     /* another chain */
    assert_int_equal(decode_replaced(2, 3, "\xff", 1), INVOICE_MALFORMED);             /* negative */
    assert_int_equal(decode_replaced(0, 1, "\x9a", 1), INVOICE_MALFORMED);             /* a field too few */
    assert_int_equal(decode_replaced(0, 1, "\x9c", 1), INVOICE_MALFORMED);       /* one that is not there */
    assert_int_equal(decode_replaced(0, 1, "\xdc\0\x0b", 3), INVOICE_MALFORMED); /* not the shortest head */
    assert_int_equal(decode_replaced(5, 1, "\xc5\0", 2), INVOICE_MALFORMED);
    assert_int_equal(decode_replaced(7, 1, "\x08", 1), INVOICE_SIGNATURE); /* another contract */
    /* A twelfth field; bytes behind. */
    struct invoice invoice = sample();
    char text[INVOICE_TEXT_MAX], changed[INVOICE_TEXT_MAX] = "rill:";
    uint8_t packed[1024];
    size_t size;
    invoice_encode(&invoice, text);
    assert_true(base32_decode(text + 5, packed, sizeof packed, &size));
    packed[size] = 0;
    base32_encode(packed, size + 1, changed + 5);
    assert_int_equal(decode(changed), INVOICE_MALFORMED);
    packed[0] = 0x9c;
    base32_encode(packed, size + 1, changed + 5);
    assert_int_equal(decode(changed), INVOICE_MALFORMED);
}

static void values_are_bounded(void **state)
{
    (void)state;
    struct secret_key key = payee_key();
    char text[INVOICE_TEXT_MAX];
    struct invoice invoice = sample();
    invoice.amount = amount_of(AMOUNT_LIMIT);
    invoice_sign(&invoice, &key);
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_MALFORMED);
    static const char *const endpoints[] = {"",        "host",       "host:",   ":9735",       "host:0",
                                            "host:01", "host:65536", "host:9x", "host:999999", "host:-1"};
    for (size_t i = 0; i < ARRAY_LENGTH(endpoints); i++) {
        invoice = sample();
        strcpy(invoice.endpoint, endpoints[i]);
        invoice_sign(&invoice, &key);
        invoice_encode(&invoice, text);
        assert_int_equal(decode(text), INVOICE_MALFORMED);
    }
    invoice = sample();
    strcpy(invoice.endpoint, "[2001:db8::1]:9735");
    invoice_sign(&invoice, &key);
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_OK);
}

static void only_the_payee_can_sign(void **state)
{
    (void)state;
    char text[INVOICE_TEXT_MAX];
    struct invoice invoice = sample();
    invoice.amount = amount_of(1);
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_SIGNATURE);
    invoice = sample();
    strcpy(invoice.memo, "three coffees");
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_SIGNATURE);
    invoice = sample();
    invoice.payee.bytes[0] ^= 1;
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_SIGNATURE);
    /* Address zero never signs. */
    memset(&invoice.payee, 0, sizeof invoice.payee);
    memset(&invoice.signature, 0, sizeof invoice.signature);
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_SIGNATURE);
    /* The endpoint is not signed: it only says where to go, and the hub there must prove itself. */
    invoice = sample();
    strcpy(invoice.endpoint, "elsewhere:1");
    invoice_encode(&invoice, text);
    assert_int_equal(decode(text), INVOICE_OK);
}

static void errors_have_words(void **state)
{
    (void)state;
    for (int error = INVOICE_OK; error <= INVOICE_SIGNATURE; error++)
        assert_true(strlen(invoice_error_text((enum invoice_error)error)) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_invoice_survives_the_round_trip),
        cmocka_unit_test(the_longest_and_the_shortest_fit),
        cmocka_unit_test(what_is_no_invoice_at_all),
        cmocka_unit_test(any_other_character_is_noticed),
        cmocka_unit_test(base32_is_strict),
        cmocka_unit_test(the_array_must_be_exact),
        cmocka_unit_test(values_are_bounded),
        cmocka_unit_test(only_the_payee_can_sign),
        cmocka_unit_test(errors_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
