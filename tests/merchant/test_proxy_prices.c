/* The price table: which row counts, what an answer costs, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "merchant/proxy_prices.h"

static void add(struct prices *prices, const char *line)
{
    char message[200] = "";
    if (!prices_add(prices, line, message, sizeof(message)))
        fail_msg("%s: %s", line, message);
}

static void test_first_row_that_fits(void **state)
{
    (void)state;
    struct prices *prices = prices_new(6);
    add(prices, "# METHOD PATH PRICE");
    add(prices, "");
    add(prices, "GET /status 0");
    add(prices, "GET /images/ 0.002 0.0001 # below it");
    add(prices, "* /admin/ closed");
    add(prices, "POST /v1/x*.png 0.5");
    add(prices, "* /* 0.01");
    assert_int_equal(prices_count(prices), 5);
    assert_int_equal(prices_find(prices, "GET", "/status").units, 0);
    assert_int_equal(prices_find(prices, "GET", "/status/x").units, 10000);
    assert_int_equal(prices_find(prices, "POST", "/status").units, 10000);
    assert_int_equal(prices_find(prices, "GET", "/images/a/b").units, 2000);
    assert_int_equal(prices_find(prices, "GET", "/images/a/b").kib_units, 100);
    assert_int_equal(prices_find(prices, "GET", "/images").units, 10000);
    assert_true(prices_find(prices, "DELETE", "/admin/x").closed);
    assert_int_equal(prices_find(prices, "POST", "/v1/x/y/z.png").units, 500000);
    prices_free(prices);
}

static void test_head_costs_what_get_does(void **state)
{
    (void)state;
    struct prices *prices = prices_new(0);
    add(prices, "GET /a 5 7");
    add(prices, "HEAD /b 1");
    add(prices, "* /* 3");
    assert_int_equal(prices_find(prices, "HEAD", "/a").units, 5);
    assert_int_equal(prices_find(prices, "HEAD", "/a").kib_units, 0);
    assert_int_equal(prices_find(prices, "HEAD", "/b").units, 1);
    assert_int_equal(prices_find(prices, "HEAD", "/c").units, 3);
    prices_free(prices);
}

static void test_what_has_no_row_is_closed(void **state)
{
    (void)state;
    struct prices *prices = prices_new(0);
    add(prices, "GET /a 5");
    assert_true(prices_find(prices, "GET", "/b").closed);
    assert_true(prices_find(prices, "POST", "/a").closed);
    assert_true(prices_find(prices, "get", "/a").closed);
    prices_free(prices);
}

static void test_price_of_bytes(void **state)
{
    (void)state;
    const struct price price = {.units = 10, .kib_units = 3};
    uint64_t units;
    assert_true(price_of_bytes(&price, 0, &units) && units == 10);
    assert_true(price_of_bytes(&price, 1, &units) && units == 13);
    assert_true(price_of_bytes(&price, 1024, &units) && units == 13);
    assert_true(price_of_bytes(&price, 1025, &units) && units == 16);
    const struct price dear = {.kib_units = AMOUNT_LIMIT / 2};
    assert_true(price_of_bytes(&dear, 1024, &units));
    assert_false(price_of_bytes(&dear, 4096, &units));
}

static void test_bad_rows(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET /a",    "GET a 1",     "get /a 1",        "GET /a 1 2 3",
        "GET /a -1", "GET /a 1.23", "GET /a closed 1", "GET /a 99999999999999999999",
        "/a 1"};
    struct prices *prices = prices_new(1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char message[200] = "";
        if (prices_add(prices, bad[i], message, sizeof(message)))
            fail_msg("taken: %s", bad[i]);
        assert_int_not_equal(message[0], '\0');
    }
    assert_int_equal(prices_count(prices), 0);
    prices_free(prices);
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/rill-prices-XXXXXX", message[400] = "";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    fputs("GET /a 1\n\n# more\nGET /b two\n", file);
    fclose(file);
    struct prices *prices = prices_new(0);
    assert_false(prices_read(prices, path, message, sizeof(message)));
    assert_non_null(strstr(message, "line 4"));
    assert_false(prices_read(prices, "/nowhere/prices", message, sizeof(message)));
    remove(path);
    prices_free(prices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_row_that_fits),
                                       cmocka_unit_test(test_head_costs_what_get_does),
                                       cmocka_unit_test(test_what_has_no_row_is_closed),
                                       cmocka_unit_test(test_price_of_bytes),
                                       cmocka_unit_test(test_bad_rows),
                                       cmocka_unit_test(test_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
