#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

struct sample {
    const char *text, *utf8, *plain;
};

static void check(const struct sample *samples, size_t count)
{
    char text[128];
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%s", samples[i].text);
        assert_ptr_equal(text_make_utf8(text), text);
        assert_string_equal(text, samples[i].utf8);
        snprintf(text, sizeof(text), "%s", samples[i].text);
        assert_ptr_equal(text_make_plain(text), text);
        assert_string_equal(text, samples[i].plain);
    }
}

static void test_texts_that_are_fine_stay(void **state)
{
    (void)state;
    static const char *const fine[] = {"", "two coffees", "é€𝄞 雫 שלום", "no-break\xc2\xa0space",
                                       "\xe2\x80\xa6"};
    for (size_t i = 0; i < ARRAY_LENGTH(fine); i++)
        check(&(struct sample){fine[i], fine[i], fine[i]}, 1);
}

static void test_what_is_not_utf8(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"text/\xff", "text/?", "text/?"},
        {"a\xc3 b", "a? b", "a? b"},
        {"\x80\xbf", "??", "??"},
        {"\xc0\xaf", "??", "??"},             /* '/' in two bytes */
        {"\xed\xa0\x80x", "???x", "???x"},    /* half of a surrogate pair */
        {"\xf4\x90\x80\x80", "????", "????"}, /* above U+10FFFF */
    };
    check(samples, ARRAY_LENGTH(samples));
}

static void test_a_character_cut_by_the_end(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"\xc3", "", ""},           {"caf\xc3", "caf", "caf"},
        {"1 \xe2\x82", "1 ", "1 "}, {"1 \xf0\x9d\x84", "1 ", "1 "},
        {"\xff\xc3", "?", "?"},
    };
    check(samples, ARRAY_LENGTH(samples));
}

static void test_nothing_of_a_strangers_moves_the_cursor(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"thanks\n2026-11-28 21:45:09  received 500 USDT", "thanks\n2026-11-28 21:45:09  received 500 USDT",
         "thanks?2026-11-28 21:45:09  received 500 USDT"},
        {"a\rb\tc\x1b[2Jd\x7f", "a\rb\tc\x1b[2Jd\x7f", "a?b?c?[2Jd?"},
        {"C1: \xc2\x9b"
         "2J \xc2\x80\xc2\x85",
         "C1: \xc2\x9b"
         "2J \xc2\x80\xc2\x85",
         "C1: ?2J ??"},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\xe2\x80\xa8\xe2\x80\xa9", "??"},
        {"\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "???"},
        {"5\xe2\x80\xae"
         "001\xe2\x80\xac",
         "5\xe2\x80\xae"
         "001\xe2\x80\xac",
         "5?001?"},
        {"\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9",
         "\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "????"},
    };
    check(samples, ARRAY_LENGTH(samples));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_that_are_fine_stay),
        cmocka_unit_test(test_what_is_not_utf8),
        cmocka_unit_test(test_a_character_cut_by_the_end),
        cmocka_unit_test(test_nothing_of_a_strangers_moves_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
