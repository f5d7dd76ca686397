#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "merchant/language.h"
#include "merchant/page_colour.h"

static void test_the_browsers_preference_counts(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *language;
    } cases[] = {
        {NULL, "en"},
        {"", "en"},
        {"zh", "zh"},
        {"zh-CN,zh;q=0.9,en;q=0.8", "zh"},
        {"ZH-TW", "zh"},
        {"en-GB,en;q=0.9,zh;q=0.8", "en"},
        {"en;q=0.5, zh;q=0.75", "zh"},
        {"en;q=0.75,zh;q=0.5", "en"},
        {"de,fr;q=0.9", "en"},
        {"de,zh;q=0.1", "zh"},
        {"zh;q=0", "en"},
        {"zh;q=0.0,en;q=0", "en"},
        {"zhx,zha-CN", "en"},
        {"*", "en"},
        {"en;q=1,zh;q=1.0", "en"},
        {"zh ; q=0.9, en ; q=0.1", "zh"},
        {",,;;q=,zh;q=", "zh"}, /* a damaged weight is none */
        {"zh;q=0.", "en"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_string_equal(language_choose(NULL, cases[i].accept), cases[i].language);
}

static void test_a_link_may_choose(void **state)
{
    (void)state;
    assert_string_equal(language_choose("lang=zh", "en"), "zh");
    assert_string_equal(language_choose("a=b&lang=en", "zh"), "en");
    assert_string_equal(language_choose("lang=fr", "zh"), "zh");
    assert_string_equal(language_choose("lang=zhx&xlang=zh", NULL), "en");
    assert_string_equal(language_choose("&&lang=zh&", NULL), "zh");
}

static void test_text_on_a_colour_can_be_read(void **state)
{
    (void)state;
    assert_string_equal(page_colour_text_on("#000000"), "#fff");
    assert_string_equal(page_colour_text_on("#ffffff"), "#000");
    assert_string_equal(page_colour_text_on("#1D4f73"), "#fff");
    assert_string_equal(page_colour_text_on("#ffd400"), "#000");
    /* On both sides of where black and white are as good: contrast 4.58 each. */
    assert_string_equal(page_colour_text_on("#757575"), "#fff");
    assert_string_equal(page_colour_text_on("#767676"), "#000");
}

static void test_a_colour_is_six_digits(void **state)
{
    (void)state;
    assert_true(page_colour_is_good("#1d4F73"));
    assert_false(page_colour_is_good("1d4f73"));
    assert_false(page_colour_is_good("#1d4"));
    assert_false(page_colour_is_good("#1d4f7g"));
    assert_false(page_colour_is_good("#1d4f73;"));
    assert_false(page_colour_is_good("red"));
    assert_false(page_colour_is_good(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_browsers_preference_counts),
        cmocka_unit_test(test_a_link_may_choose),
        cmocka_unit_test(test_text_on_a_colour_can_be_read),
        cmocka_unit_test(test_a_colour_is_six_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
