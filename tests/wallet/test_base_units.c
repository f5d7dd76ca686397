/* Amounts of coins and tokens, as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "wallet/base_units.h"

static void numbers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned decimals;
        uint64_t value;
    } cases[] = {
        {"0", 6, 0},        {"1", 0, 1},      {"12.5", 1, 125}, {"12.5", 6, 12500000},
        {"0.000001", 6, 1}, {"00.10", 2, 10}, {"3.", 2, 300},   {"18446744073709551615", 0, UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        unsigned_wide value = 99;
        assert_true(base_units_parse(cases[i].text, cases[i].decimals, &value));
        assert_true(value == cases[i].value);
    }
}

static void other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", ".", ".5", "1.234", "-1", "+1", "1e3", "1 ", " 1", "1,5", "0x10",
                                        "1..2",
                                        /* one more than 2^128 - 1, with two decimals */
                                        "3402823669209384634633746074317682114.56"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        unsigned_wide value = 99;
        assert_false(base_units_parse(texts[i], 2, &value));
        assert_true(value == 99);
    }
    unsigned_wide value = 99;
    assert_true(base_units_parse("3402823669209384634633746074317682114.55", 2, &value));
    assert_true(value == ~(unsigned_wide)0);
    assert_false(base_units_parse("1", 39, &value)); /* 10^39 does not fit */
    assert_false(base_units_parse("1", DECIMALS_MAX, &value));
}

static void numbers_are_written(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        unsigned decimals;
        const char *text;
    } cases[] = {{0, 0, "0"},       {0, 18, "0"},        {1, 0, "1"},
                 {10, 1, "1"},      {125, 1, "12.5"},    {1, 6, "0.000001"},
                 {1000000, 6, "1"}, {1500000, 6, "1.5"}, {1000, 0, "1000"}};
    char text[BASE_UNITS_TEXT_SIZE];
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_string_equal(base_units_text(cases[i].value, cases[i].decimals, text), cases[i].text);
    assert_string_equal(base_units_text(~(unsigned_wide)0, 0, text),
                        "340282366920938463463374607431768211455");
}

/* A stranger's token may claim any number of decimals. */
static void the_most_decimals_have_room(void **state)
{
    (void)state;
    char text[BASE_UNITS_TEXT_SIZE], expected[BASE_UNITS_TEXT_SIZE] = "0.";
    memset(expected + 2, '0', DECIMALS_MAX - 1);
    expected[1 + DECIMALS_MAX] = '1';
    expected[2 + DECIMALS_MAX] = '\0';
    assert_string_equal(base_units_text(1, DECIMALS_MAX, text), expected);
    for (unsigned decimals = 0; decimals <= DECIMALS_MAX; decimals++)
        assert_true(strlen(base_units_text(~(unsigned_wide)0, decimals, text)) < sizeof(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(numbers_are_written),
        cmocka_unit_test(the_most_decimals_have_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
