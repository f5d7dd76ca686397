#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/abi.h"
#include "ledger/erc20.h"

static const struct address owner = {{1, 2, 3}}, other = {{0xff, 9}};

static void calls_round_trip(void **state)
{
    (void)state;
    for (int f = 0; f < ERC20_FUNCTION_COUNT; f++) {
        struct erc20_call call = {(enum erc20_function)f, owner, other, uint256_max()}, back;
        struct buffer data = {0}, again = {0};
        erc20_encode_call(&data, &call);
        assert_true(erc20_decode_call(data.data, data.length, &back));
        erc20_encode_call(&again, &back);
        assert_int_equal(again.length, data.length);
        assert_memory_equal(again.data, data.data, data.length);
        for (size_t length = 0; length < data.length; length++)
            assert_false(erc20_decode_call(data.data, length, &back));
        if (data.length > 4) { /* an address with dirty padding */
            data.data[4] = 1;
            assert_false(erc20_decode_call(data.data, data.length, &back));
        }
        buffer_free(&data);
        buffer_free(&again);
    }
}

static void events_round_trip(void **state)
{
    (void)state;
    for (int approval = 0; approval < 2; approval++) {
        struct erc20_event event = {approval == 1, owner, other, uint256_of(77)}, back;
        struct buffer data = {0};
        struct contract_log log = {.topic_count = 0};
        erc20_encode_event(&event, log.topics, &log.topic_count, &data);
        log.data = data.data;
        log.data_length = data.length;
        assert_true(erc20_decode_event(&log, &back));
        assert_true(back.is_approval == event.is_approval && address_equal(&back.from, &owner) &&
                    address_equal(&back.to, &other) && uint256_equal(back.value, event.value));
        log.data_length--;
        assert_false(erc20_decode_event(&log, &back));
        log.data_length++;
        log.topics[1].bytes[3] = 1;
        assert_false(erc20_decode_event(&log, &back));
        log.topic_count = 2;
        assert_false(erc20_decode_event(&log, &back));
        buffer_free(&data);
    }
}

static void texts_are_bounded(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_MAX + 1];
    struct buffer data = {0};
    erc20_encode_text(&data, "Coop Dollar");
    assert_true(erc20_decode_text(data.data, data.length, text));
    assert_string_equal(text, "Coop Dollar");
    for (size_t length = 0; length < 2 * ABI_WORD + 11; length++)
        assert_false(length != ABI_WORD && erc20_decode_text(data.data, length, text));
    data.data[2 * ABI_WORD] = 0; /* a NUL inside */
    assert_false(erc20_decode_text(data.data, data.length, text));
    assert_string_equal(text, "");
    buffer_clear(&data);
    char longer[TOKEN_TEXT_MAX + 2];
    memset(longer, 'x', sizeof(longer));
    longer[TOKEN_TEXT_MAX + 1] = '\0';
    erc20_encode_text(&data, longer);
    assert_false(erc20_decode_text(data.data, data.length, text));
    longer[TOKEN_TEXT_MAX] = '\0';
    buffer_clear(&data);
    erc20_encode_text(&data, longer);
    assert_true(erc20_decode_text(data.data, data.length, text));

    uint8_t fixed[ABI_WORD] = "MKR";
    assert_true(erc20_decode_text(fixed, sizeof(fixed), text));
    assert_string_equal(text, "MKR");
    buffer_free(&data);
}

static void tokens_that_return_nothing_are_fine(void **state)
{
    (void)state;
    uint8_t word[ABI_WORD] = {0};
    assert_true(erc20_decode_success(NULL, 0));
    assert_false(erc20_decode_success(word, sizeof(word)));
    word[31] = 1;
    assert_true(erc20_decode_success(word, sizeof(word)));
    assert_false(erc20_decode_success(word, 31));
    word[0] = 1;
    assert_false(erc20_decode_success(word, sizeof(word)));
}

static void creation_round_trips(void **state)
{
    (void)state;
    struct token_creation creation = {.name = "Coop Dollar", .symbol = "COOP", .decimals = 6}, back;
    creation.supply = uint256_of(1000000000000u);
    struct buffer data = {0};
    token_create_encode(&data, &creation);
    assert_true(token_create_decode(data.data, data.length, &back));
    assert_string_equal(back.name, "Coop Dollar");
    assert_string_equal(back.symbol, "COOP");
    assert_true(back.decimals == 6 && uint256_equal(back.supply, creation.supply));
    /* Cut anywhere before the last text's end. */
    for (size_t length = 0; length < data.length - (ABI_WORD - 4); length++)
        assert_false(token_create_decode(data.data, length, &back));
    data.data[4] = 1; /* an offset beyond the world */
    assert_false(token_create_decode(data.data, data.length, &back));
    data.data[4] = 0;
    data.data[4 + 4 * ABI_WORD + ABI_WORD - 1] = TOKEN_TEXT_MAX + 1;
    assert_false(token_create_decode(data.data, data.length, &back));

    /* The factory's event is what contract_decode_event reads. */
    struct contract_log log = {.topic_count = 0};
    struct contract_event event = {.block = 1};
    buffer_clear(&data);
    token_created_encode(&owner, &other, &creation, log.topics, &log.topic_count, &data);
    log.data = data.data;
    log.data_length = data.length;
    assert_true(contract_decode_event(&log, &event));
    assert_int_equal(event.type, EVENT_TOKEN_CREATED);
    assert_string_equal(event.symbol, "COOP");
    assert_true(address_equal(&event.address, &owner) && address_equal(&event.other, &other) &&
                event.decimals == 6 && event.wide_amount == 1000000000000u);
    buffer_free(&data);
}

static void numbers_of_256_bits(void **state)
{
    (void)state;
    struct uint256 top = uint256_max(), one = uint256_of(1), carry = {0, ~(unsigned_wide)0}, out = one;
    assert_false(uint256_add(top, one, &out));
    assert_true(uint256_equal(out, one));
    assert_true(uint256_add(carry, one, &out) && out.high == 1 && out.low == 0);
    assert_true(uint256_subtract(out, one, &out) && uint256_equal(out, carry));
    assert_false(uint256_subtract(one, carry, &out));
    assert_false(uint256_add((struct uint256){~(unsigned_wide)0, ~(unsigned_wide)0}, one, &out));
    assert_true(uint256_compare(top, carry) > 0 && uint256_compare(carry, top) < 0 &&
                uint256_compare(one, one) == 0);
    unsigned_wide narrow = 5;
    assert_false(uint256_narrow(top, &narrow));
    assert_true(uint256_narrow(carry, &narrow) && narrow == ~(unsigned_wide)0);
    uint8_t bytes[32];
    uint256_store(bytes, (struct uint256){((unsigned_wide)1 << 127) + 3, 9});
    assert_true(bytes[0] == 0x80 && bytes[15] == 3 && bytes[31] == 9);
    assert_true(uint256_equal(uint256_load(bytes), (struct uint256){((unsigned_wide)1 << 127) + 3, 9}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_round_trip),     cmocka_unit_test(events_round_trip),
        cmocka_unit_test(texts_are_bounded),    cmocka_unit_test(tokens_that_return_nothing_are_fine),
        cmocka_unit_test(creation_round_trips), cmocka_unit_test(numbers_of_256_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
