/* RLP and EIP-1559 transactions: one spelling only, whatever bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "ledger/rlp.h"
#include "ledger/transaction.h"

static struct secret_key test_key(void)
{
    struct secret_key key = {{0}};
    key.bytes[31] = 7;
    return key;
}

static struct transaction plain_transaction(void)
{
    return (struct transaction){.chain_id = 31337,
                                .nonce = 3,
                                .max_priority_fee_per_gas = 1000,
                                .max_fee_per_gas = 2000,
                                .gas_limit = 21000,
                                .to = {{1, 2, 3}},
                                .value = ((unsigned_wide)1 << 100) + 5,
                                .data = (const uint8_t *)"calldata",
                                .data_length = 8};
}

static void put(struct buffer *out, const char *hex)
{
    size_t length;
    uint8_t bytes[256];
    assert_true(hex_decode_any(hex, bytes, sizeof(bytes), &length));
    buffer_append(out, bytes, length);
}

static void rlp_known_values(void **state)
{
    (void)state;
    /* From the yellow paper's examples. */
    const struct {
        unsigned_wide value;
        const char *hex;
    } numbers[] = {{0, "80"}, {15, "0f"}, {127, "7f"}, {128, "8180"}, {1024, "820400"}};
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        struct buffer out = {0}, expected = {0};
        rlp_put_wide(&out, numbers[i].value);
        put(&expected, numbers[i].hex);
        assert_int_equal(out.length, expected.length);
        assert_memory_equal(out.data, expected.data, out.length);
        struct rlp_reader reader = rlp_reader_of(out.data, out.length);
        assert_true(rlp_wide(&reader) == numbers[i].value && rlp_done(&reader));
        buffer_free(&out);
        buffer_free(&expected);
    }
    /* Lengths on both sides of where the header grows. */
    const size_t lengths[] = {0, 1, 2, 55, 56, 255, 256, 65535, 65536};
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        uint8_t *bytes = malloc(lengths[i] + 1);
        memset(bytes, 0xab, lengths[i] + 1);
        struct buffer out = {0};
        size_t list = rlp_list_begin(&out);
        rlp_put_bytes(&out, bytes, lengths[i]);
        rlp_list_end(&out, list);
        struct rlp_reader reader = rlp_reader_of(out.data, out.length);
        struct rlp_reader items = rlp_list(&reader);
        size_t length;
        const uint8_t *back = rlp_bytes(&items, &length);
        assert_true(back != NULL && length == lengths[i] && rlp_done(&items) && rlp_done(&reader));
        assert_memory_equal(back, bytes, length);
        for (size_t cut = 0; cut < out.length && cut < 300; cut++) {
            reader = rlp_reader_of(out.data, cut);
            items = rlp_list(&reader);
            assert_false(reader.ok);
        }
        free(bytes);
        buffer_free(&out);
    }
}

static void rlp_other_spellings_are_refused(void **state)
{
    (void)state;
    const char *bytes[] = {"8100", "817f", "b800",  "b80161", "b90001ff", "b837", "bfffffffffffffffff",
                           "c0",   "",     "b90000"};
    for (size_t i = 0; i < ARRAY_LENGTH(bytes); i++) {
        struct buffer in = {0};
        put(&in, bytes[i]);
        struct rlp_reader reader = rlp_reader_of(in.data, in.length);
        size_t length;
        assert_null(rlp_bytes(&reader, &length));
        assert_false(reader.ok);
        assert_null(rlp_bytes(&reader, &length)); /* and stays so */
        buffer_free(&in);
    }
    const char *numbers[] = {"00", "820001", "9180000000000000000000000000000000ff", "c0"};
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        struct buffer in = {0};
        put(&in, numbers[i]);
        struct rlp_reader reader = rlp_reader_of(in.data, in.length);
        assert_true(rlp_wide(&reader) == 0);
        assert_false(reader.ok);
        buffer_free(&in);
    }
    const char *lists[] = {"80", "f800", "f837", "c1", "ffffffffffffffffff", "f90001c0"};
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        struct buffer in = {0};
        put(&in, lists[i]);
        struct rlp_reader reader = rlp_reader_of(in.data, in.length);
        assert_false(rlp_list(&reader).ok);
        assert_false(reader.ok);
        buffer_free(&in);
    }
}

static void transactions_round_trip(void **state)
{
    (void)state;
    struct secret_key key = test_key();
    struct address signer = secret_key_address(&key);
    for (int creates = 0; creates < 2; creates++) {
        struct transaction sent = plain_transaction(), back;
        sent.creates = creates == 1;
        struct buffer raw = {0};
        struct hash name = transaction_sign(&sent, &key, &raw), hash;
        struct address sender;
        assert_int_equal(transaction_decode(raw.data, raw.length, &back, &sender, &hash), TRANSACTION_OK);
        assert_true(address_equal(&sender, &signer) && hash_equal(&name, &hash));
        assert_true(back.chain_id == sent.chain_id && back.nonce == sent.nonce &&
                    back.gas_limit == sent.gas_limit);
        assert_true(back.max_priority_fee_per_gas == 1000 && back.max_fee_per_gas == 2000);
        assert_true(back.value == sent.value && back.creates == sent.creates);
        assert_true(creates || address_equal(&back.to, &sent.to));
        assert_int_equal(back.data_length, 8);
        assert_memory_equal(back.data, "calldata", 8);
        buffer_free(&raw);
    }
}

static void transactions_with_access_lists(void **state)
{
    (void)state;
    struct secret_key key = test_key();
    struct address signer = secret_key_address(&key), sender;
    struct hash storage = {{9}}, hash;
    struct buffer list = {0}, raw = {0};
    for (int i = 0; i < 2; i++) {
        size_t entry = rlp_list_begin(&list);
        rlp_put_bytes(&list, signer.bytes, sizeof(signer.bytes));
        size_t keys = rlp_list_begin(&list);
        for (int k = 0; k < 3 * i; k++)
            rlp_put_bytes(&list, storage.bytes, sizeof(storage.bytes));
        rlp_list_end(&list, keys);
        rlp_list_end(&list, entry);
    }
    struct transaction sent = plain_transaction(), back;
    sent.access_list = list.data;
    sent.access_list_length = list.length;
    (void)transaction_sign(&sent, &key, &raw);
    assert_int_equal(transaction_decode(raw.data, raw.length, &back, &sender, &hash), TRANSACTION_OK);
    assert_true(address_equal(&sender, &signer));
    assert_int_equal(back.access_addresses, 2);
    assert_int_equal(back.access_keys, 3);
    assert_int_equal(back.access_list_length, list.length);

    /* An entry that is no entry. */
    sent.access_list = (const uint8_t *)"\xc0";
    sent.access_list_length = 1;
    buffer_clear(&raw);
    (void)transaction_sign(&sent, &key, &raw);
    assert_int_equal(transaction_decode(raw.data, raw.length, &back, &sender, &hash), TRANSACTION_MALFORMED);
    buffer_free(&list);
    buffer_free(&raw);
}

static void transactions_changed_are_not_the_senders(void **state)
{
    (void)state;
    struct secret_key key = test_key();
    struct address signer = secret_key_address(&key), sender;
    struct transaction sent = plain_transaction(), back;
    struct buffer raw = {0};
    struct hash hash;
    (void)transaction_sign(&sent, &key, &raw);
    for (size_t i = 0; i < raw.length; i++)
        for (int bit = 0; bit < 8; bit++) {
            raw.data[i] ^= (uint8_t)(1 << bit);
            if (transaction_decode(raw.data, raw.length, &back, &sender, &hash) == TRANSACTION_OK)
                assert_false(address_equal(&sender, &signer));
            raw.data[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t length = 0; length < raw.length; length++)
        assert_int_not_equal(transaction_decode(raw.data, length, &back, &sender, &hash), TRANSACTION_OK);
    buffer_u8(&raw, 0);
    assert_int_equal(transaction_decode(raw.data, raw.length, &back, &sender, &hash), TRANSACTION_MALFORMED);
    buffer_free(&raw);
}

/* The fields as given, with a signature of the caller's making. */
static void put_signed(struct buffer *raw, uint64_t nonce, unsigned_wide priority, unsigned_wide fee,
                       uint64_t parity, const uint8_t *r, const uint8_t *s)
{
    struct address to = {{1}};
    buffer_u8(raw, 2);
    size_t list = rlp_list_begin(raw);
    rlp_put_u64(raw, 1);
    rlp_put_u64(raw, nonce);
    rlp_put_wide(raw, priority);
    rlp_put_wide(raw, fee);
    rlp_put_u64(raw, 21000);
    rlp_put_bytes(raw, to.bytes, sizeof(to.bytes));
    rlp_put_u64(raw, 0);
    rlp_put_bytes(raw, NULL, 0);
    size_t access = rlp_list_begin(raw);
    rlp_list_end(raw, access);
    rlp_put_u64(raw, parity);
    rlp_put_number(raw, r, 32);
    rlp_put_number(raw, s, 32);
    rlp_list_end(raw, list);
}

static void transactions_out_of_range_are_refused(void **state)
{
    (void)state;
    uint8_t small[32] = {0}, high[32], zero[32] = {0};
    small[31] = 5;
    memset(high, 0x7f, sizeof(high)); /* above half the order, top bit clear */
    uint8_t top[32] = {0};
    top[0] = 0x80;
    const struct {
        uint64_t nonce;
        unsigned_wide priority, fee;
        uint64_t parity;
        const uint8_t *r, *s;
        enum transaction_error expected;
    } cases[] = {
        {UINT64_MAX, 1, 1, 0, small, small, TRANSACTION_MALFORMED},
        {0, 2, 1, 0, small, small, TRANSACTION_FEES},
        {0, 1, 1, 2, small, small, TRANSACTION_MALFORMED},
        {0, 1, 1, 0, small, high, TRANSACTION_SIGNATURE},
        {0, 1, 1, 1, small, high, TRANSACTION_SIGNATURE},
        {0, 1, 1, 0, small, top, TRANSACTION_SIGNATURE},
        {0, 1, 1, 1, small, top, TRANSACTION_SIGNATURE},
        {0, 1, 1, 0, zero, small, TRANSACTION_SIGNATURE},
        {0, 1, 1, 0, small, zero, TRANSACTION_SIGNATURE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buffer raw = {0};
        struct transaction back;
        struct address sender;
        struct hash hash;
        put_signed(&raw, cases[i].nonce, cases[i].priority, cases[i].fee, cases[i].parity, cases[i].r,
                   cases[i].s);
        assert_int_equal(transaction_decode(raw.data, raw.length, &back, &sender, &hash), cases[i].expected);
        buffer_free(&raw);
    }
    struct transaction back;
    struct address sender;
    struct hash hash;
    assert_int_equal(transaction_decode((const uint8_t *)"\x01\xc0", 2, &back, &sender, &hash),
                     TRANSACTION_TYPE);
    assert_int_equal(transaction_decode((const uint8_t *)"\xf8", 1, &back, &sender, &hash), TRANSACTION_TYPE);
    assert_int_equal(transaction_decode(NULL, 0, &back, &sender, &hash), TRANSACTION_MALFORMED);
    uint8_t *large = calloc(1, TRANSACTION_BYTES_MAX + 1);
    assert_int_equal(transaction_decode(large, TRANSACTION_BYTES_MAX + 1, &back, &sender, &hash),
                     TRANSACTION_TOO_LARGE);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rlp_known_values),
        cmocka_unit_test(rlp_other_spellings_are_refused),
        cmocka_unit_test(transactions_round_trip),
        cmocka_unit_test(transactions_with_access_lists),
        cmocka_unit_test(transactions_changed_are_not_the_senders),
        cmocka_unit_test(transactions_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
