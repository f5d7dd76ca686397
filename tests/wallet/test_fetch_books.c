/* What `rill fetch` keeps: receipts by place, budgets by origin; both outlive the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "tests/support/process.h"
#include "wallet/fetch_state.h"

#define FAR_AWAY 4000000000u /* seconds: nothing here expires */

static const uint8_t asset[20] = {1}, secret[32] = {2};

struct world {
    struct event_base *base;
    char folder[64];
    struct fetch_books *books;
};

static void reopen(struct world *world)
{
    char message[300];
    fetch_books_close(world->books);
    world->books = fetch_books_open(world->base, world->folder, asset, message, sizeof message);
    if (world->books == NULL)
        fail_msg("%s", message);
}

static int set_up(void **state)
{
    static struct world world;
    world = (struct world){.base = event_base_new()};
    folder_make(world.folder, sizeof world.folder);
    reopen(&world);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    fetch_books_close(world->books);
    event_base_free(world->base);
    folder_remove(world->folder);
    return 0;
}

static struct fetch_offer offer_of(uint8_t number, uint64_t units)
{
    return (struct fetch_offer){.network = "eip155:1",
                                .ticket = "ticket",
                                .units = units,
                                .expires = FAR_AWAY,
                                .secret_hash = {number}};
}

static struct kept_budget *best(const struct world *world, const char *text)
{
    struct http_url url;
    char origin[FETCH_ORIGIN_MAX];
    assert_true(http_url_read(text, &url));
    fetch_origin(&url, origin);
    return fetch_budget_best(world->books, origin);
}

/* What was bought over TLS is not for the same host without. */
static void test_budget_origin(void **state)
{
    struct world *world = *state;
    struct fetch_offer offer = offer_of(1, 50);
    fetch_budget_paid(world->books, fetch_budget_add(world->books, "https://api.example:8402", &offer),
                      secret);
    for (int i = 0; i < 2; i++, reopen(world)) {
        assert_non_null(best(world, "https://API.example:8402/a?b"));
        assert_null(best(world, "http://api.example:8402/a?b"));
        assert_null(best(world, "https://api.example/a?b"));
    }
}

/* A record of a bare host, as they were once written. */
static void test_budget_of_before(void **state)
{
    struct world *world = *state;
    struct fetch_offer offer = offer_of(1, 50);
    fetch_budget_paid(world->books, fetch_budget_add(world->books, "api.example", &offer), secret);
    reopen(world);
    assert_non_null(best(world, "https://api.example/"));
    assert_null(best(world, "http://api.example/"));
}

static struct kept_receipt *buy(struct world *world, const struct hash *place, uint8_t number, uint64_t units)
{
    struct fetch_offer offer = offer_of(number, units);
    struct kept_receipt *receipt = fetch_receipt_add(world->books, place, &offer);
    fetch_receipt_paid(world->books, receipt, secret);
    receipt->in_use = false;
    return receipt;
}

/* Of several for one place the dearest; each is found again when the others are gone. */
static void test_receipts_of_a_place(void **state)
{
    struct world *world = *state;
    struct hash place = fetch_place("https://api.example", "GET", "/");
    struct hash clear = fetch_place("http://api.example", "GET", "/");
    static const uint64_t units[] = {20, 30, 10};
    for (uint8_t i = 0; i < 3; i++)
        buy(world, &place, i, units[i]);
    for (uint64_t expected = 30; expected > 0; expected -= 10) {
        struct kept_receipt *receipt = fetch_receipt_find(world->books, &place);
        assert_non_null(receipt);
        assert_int_equal(receipt->units, expected);
        assert_null(fetch_receipt_find(world->books, &clear));
        receipt->in_use = true;
        if (expected > 10)
            assert_int_equal(fetch_receipt_find(world->books, &place)->units, expected - 10);
        fetch_receipt_drop(world->books, receipt);
        if (expected == 20)
            reopen(world);
    }
    assert_null(fetch_receipt_find(world->books, &place));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_budget_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_budget_of_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_receipts_of_a_place, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
