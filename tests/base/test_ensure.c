/* ensure, the allocators that cannot fail, the clocks, and the table of codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/code.h"
#include "base/ensure.h"
#include "base/prefetch.h"
#include "tests/support/capture.h"

static void ensure_that(void *argument)
{
    ensure(*(bool *)argument);
}

static void test_ensure_stops_the_process(void **state)
{
    (void)state;
    bool holds = true;
    assert_false(capture_aborts(ensure_that, &holds));
    holds = false;
    assert_true(capture_aborts(ensure_that, &holds));
}

static void test_tables_are_aligned(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 64, HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES, 3 * HUGE_PAGE_BYTES + 5};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint8_t *table = xtable(sizes[i]);
        size_t alignment = sizes[i] < HUGE_PAGE_BYTES ? CACHE_LINE_BYTES : HUGE_PAGE_BYTES;
        assert_int_equal((uintptr_t)table % alignment, 0);
        memset(table, 0x5a, sizes[i]);
        assert_int_equal(table[sizes[i] - 1], 0x5a);
        free(table);
    }
}

static void test_allocators_never_give_null(void **state)
{
    (void)state;
    uint8_t *a = xmalloc(0), *b = xcalloc(0, 8), *c = xcalloc(10, 10);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(c[i], 0);
    a = xrealloc(a, 1000);
    a[999] = 1;
    char *text = xstrdup("rill");
    assert_string_equal(text, "rill");
    free(a);
    free(b);
    free(c);
    free(text);
}

static void test_clocks(void **state)
{
    (void)state;
    uint64_t first = clock_monotonic_us(), second = clock_monotonic_us();
    assert_true(second >= first);
    uint64_t seconds = clock_unix_s(), milliseconds = clock_unix_ms();
    assert_true(milliseconds / 1000 >= seconds && milliseconds / 1000 <= seconds + 5);
    assert_true(seconds > 1600000000);
}

static void test_codes_have_names_and_texts(void **state)
{
    (void)state;
    assert_int_equal(CODE_AVAILABLE, 25);
    assert_int_equal(CODE_SETTLE, 60);
    assert_string_equal(code_name(25), "AVAILABLE");
    assert_string_equal(code_name(0), "OK");
    assert_string_equal(code_text(45), "fee too low");
    static const uint64_t unknown[] = {9, 19, 32, 39, 49, 61, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(unknown); i++) {
        assert_string_equal(code_name(unknown[i]), "UNKNOWN");
        assert_true(strlen(code_text(unknown[i])) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ensure_stops_the_process),   cmocka_unit_test(test_allocators_never_give_null),
        cmocka_unit_test(test_tables_are_aligned),         cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_codes_have_names_and_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
