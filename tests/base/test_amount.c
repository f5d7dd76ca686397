#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/amount.h"

#define LARGEST (AMOUNT_LIMIT - 1)

static void test_sums_stay_below_the_limit(void **state)
{
    (void)state;
    struct amount out = {77};
    assert_true(amount_add(amount_of(3), amount_of(4), &out) && out.units == 7);
    assert_true(amount_add(amount_of(LARGEST), amount_of(0), &out) && out.units == LARGEST);
    assert_true(amount_add(amount_of(LARGEST - 1), amount_of(1), &out) && out.units == LARGEST);
    out.units = 77;
    assert_false(amount_add(amount_of(LARGEST), amount_of(1), &out));
    assert_false(amount_add(amount_of(LARGEST), amount_of(LARGEST), &out));
    assert_false(amount_add(amount_of(UINT64_MAX), amount_of(UINT64_MAX), &out));
    assert_int_equal(out.units, 77);
}

static void test_differences_stay_above_zero(void **state)
{
    (void)state;
    struct amount out = {77};
    assert_true(amount_subtract(amount_of(4), amount_of(4), &out) && amount_is_zero(out));
    assert_true(amount_subtract(amount_of(LARGEST), amount_of(1), &out) && out.units == LARGEST - 1);
    out.units = 77;
    assert_false(amount_subtract(amount_of(3), amount_of(4), &out));
    assert_int_equal(out.units, 77);
}

static void test_order(void **state)
{
    (void)state;
    assert_true(amount_compare(amount_of(1), amount_of(2)) < 0);
    assert_true(amount_compare(amount_of(UINT64_MAX), amount_of(0)) > 0);
    assert_int_equal(amount_compare(amount_of(5), amount_of(5)), 0);
}

static void test_fee_is_rounded_up_and_bounded(void **state)
{
    (void)state;
    struct amount fee = {77};
    assert_true(amount_fee(amount_of(0), amount_of(5), 3000, &fee) && fee.units == 5);
    assert_true(amount_fee(amount_of(1), amount_of(0), 1, &fee) && fee.units == 1);
    assert_true(amount_fee(amount_of(1000000), amount_of(0), 1, &fee) && fee.units == 1);
    assert_true(amount_fee(amount_of(1000001), amount_of(0), 1, &fee) && fee.units == 2);
    assert_true(amount_fee(amount_of(LARGEST), amount_of(0), 1000000, &fee) && fee.units == LARGEST);
    fee.units = 77;
    assert_false(amount_fee(amount_of(LARGEST), amount_of(1), 1000000, &fee));
    assert_false(amount_fee(amount_of(UINT64_MAX), amount_of(UINT64_MAX), UINT32_MAX, &fee));
    assert_int_equal(fee.units, 77);
}

static void test_text_and_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t units;
        uint8_t decimals;
        const char *text;
    } cases[] = {
        {0, 0, "0"},
        {0, 6, "0"},
        {1500000, 6, "1.5"},
        {1, 6, "0.000001"},
        {1000000, 6, "1"},
        {1000001, 6, "1.000001"},
        {120, 2, "1.2"},
        {42, 0, "42"},
        {LARGEST, 0, "9223372036854775807"},
        {LARGEST, 18, "9.223372036854775807"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[AMOUNT_TEXT_SIZE];
        struct amount back;
        assert_string_equal(amount_text(amount_of(cases[i].units), cases[i].decimals, text), cases[i].text);
        assert_true(amount_parse(text, cases[i].decimals, &back));
        assert_true(back.units == cases[i].units);
    }
    char text[AMOUNT_TEXT_SIZE];
    assert_string_equal(amount_text(amount_of(UINT64_MAX), 255, text), "18.446744073709551615");
}

static void test_other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        ".",
                                        "1.",
                                        "-1",
                                        "+1",
                                        "1e3",
                                        " 1",
                                        "1 ",
                                        "1.2.",
                                        "1..2",
                                        "0x1",
                                        "1.0000001",
                                        "9223372036854.775808",
                                        "1,5",
                                        "nan",
                                        "99999999999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct amount out = {77};
        assert_false(amount_parse(wrong[i], 6, &out));
        assert_int_equal(out.units, 77);
    }
    struct amount out;
    assert_true(amount_parse("9223372036854.775807", 6, &out) && out.units == LARGEST);
    assert_true(amount_parse("1.500000", 6, &out) && out.units == 1500000);
    assert_true(amount_parse("007", 0, &out) && out.units == 7);
    assert_false(amount_parse("1.0", 0, &out));
    assert_false(amount_parse("1", 255, &out));
    assert_true(amount_parse("0", 255, &out) && amount_is_zero(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_stay_below_the_limit),
        cmocka_unit_test(test_differences_stay_above_zero),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_fee_is_rounded_up_and_bounded),
        cmocka_unit_test(test_text_and_back),
        cmocka_unit_test(test_other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
