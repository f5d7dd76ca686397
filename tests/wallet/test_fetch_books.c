/* What `rill fetch` keeps: receipts by place, budgets by origin; both outlive the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/clock.h"
#include "tests/support/process.h"
#include "wallet/fetch_state.h"

#define FAR_AWAY 4000000000u /* seconds: nothing here expires */

static const uint8_t asset[20] = {1}, secret[32] = {2};

struct world {
    struct event_base *base;
    char folder[64];
    uint32_t day; /* today: what is long past is forgotten */
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
    world = (struct world){.base = event_base_new(), .day = (uint32_t)(clock_unix_s() / 86400)};
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
    return fetch_budget_best(world->books, origin, &HASH_ZERO);
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

static struct kept_budget *bought(struct world *world, uint8_t number, uint64_t units)
{
    struct fetch_offer offer = offer_of(number, units);
    struct kept_budget *budget = fetch_budget_add(world->books, "https://api.example", &offer);
    fetch_budget_paid(world->books, budget, secret);
    return budget;
}

/* What is said while others are under way may be less than what is left in the end: only a request that is alone can tell,
 * and only then is a budget gone. */
static void test_budget_is_used_up(void **state)
{
    struct world *world = *state;
    struct kept_budget *budget = bought(world, 1, 50);
    fetch_budget_use(budget);
    fetch_budget_use(budget);
    fetch_budget_left(world->books, budget, 0);
    assert_null(best(world, "https://api.example/"));
    fetch_budget_used(world->books, budget, true);
    fetch_budget_used(world->books, budget, false);
    for (int i = 0; i < 2; i++, reopen(world)) {
        budget = best(world, "https://api.example/");
        assert_non_null(budget);
        assert_int_equal(budget->left, 0);
    }
    /* Before one of which it is known: else that would hide it. */
    struct hash id = bought(world, 2, 50)->secret_hash;
    budget = best(world, "https://api.example/");
    assert_int_equal(budget->secret_hash.bytes[0], 1);
    fetch_budget_use(budget);
    assert_true(hash_equal(&best(world, "https://api.example/")->secret_hash, &id));
    assert_null(fetch_budget_best(world->books, "https://api.example", &id));
    fetch_budget_left(world->books, budget, 0);
    fetch_budget_used(world->books, budget, true);
    id.bytes[0] = 1;
    assert_null(fetch_budget_find(world->books, &id));
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

/* ---- notes ---- */

struct told {
    uint64_t number;
    size_t length;
    uint8_t owner[8], bytes[2048];
};

/* Reserves, and dies before its books are on disk: what is left is the note. */
static _Noreturn void reserve_and_die(struct world *world, int out, uint8_t number)
{
    struct told told = {.number = 0};
    struct fetch_offer offer = offer_of(number, 20);
    struct hash place = fetch_place("https://api.example", "GET", "/");
    reopen(world);
    fetch_note_begin(world->books);
    fetch_books_spend(world->books, world->day, "api.example", 21);
    (void)fetch_receipt_add(world->books, &place, &offer);
    struct fetch_note note = fetch_note_end(world->books);
    told.number = note.number;
    told.length = note.length;
    memcpy(told.owner, fetch_books_owner(world->books), sizeof(told.owner));
    memcpy(told.bytes, note.bytes, note.length);
    _exit(write(out, &told, sizeof(told)) == (ssize_t)sizeof(told) ? 0 : 1);
}

static struct told crashed(struct world *world, uint8_t number)
{
    struct told told;
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    fetch_books_close(world->books);
    world->books = NULL;
    pid_t child = fork();
    if (child == 0)
        reserve_and_die(world, ends[1], number);
    close(ends[1]);
    assert_int_equal(read(ends[0], &told, sizeof(told)), sizeof(told));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    reopen(world);
    return told;
}

static bool replayed(struct world *world, const struct told *told)
{
    struct fetch_note note = {told->number, told->bytes, told->length};
    assert_memory_equal(fetch_books_owner(world->books), told->owner, sizeof(told->owner));
    return fetch_note_replay(world->books, &note);
}

static void assert_reserved(struct world *world, uint8_t number, uint64_t units)
{
    struct hash id = {{number}};
    assert_int_equal(fetch_books_host_units(world->books, world->day, "api.example"), units);
    assert_int_equal(fetch_books_day_units(world->books, world->day), units);
    if (units == 0) {
        assert_false(fetch_books_know(world->books, &id));
        return;
    }
    assert_non_null(fetch_receipt_of(world->books, &id));
    assert_int_equal(fetch_receipt_of(world->books, &id)->state, KEPT_PAYING);
}

/* Neither limit nor receipt is forgotten, and nothing is counted twice. */
static void test_notes_of_a_crash(void **state)
{
    struct world *world = *state;
    struct told first = crashed(world, 1);
    assert_reserved(world, 1, 0);
    assert_true(replayed(world, &first));
    assert_reserved(world, 1, 21);
    reopen(world);
    assert_reserved(world, 1, 21);
    struct hash id = {{1}};
    fetch_receipt_drop(world->books, fetch_receipt_of(world->books, &id));
    fetch_books_unspend(world->books, world->day, "api.example", 1, false);
    assert_true(replayed(world, &first)); /* known: what has become of it stays */
    assert_false(fetch_books_know(world->books, &id));
    assert_int_equal(fetch_books_day_units(world->books, world->day), 20);
    struct told second = crashed(world, 2);
    assert_int_equal(second.number, first.number + 1);
    assert_int_equal(fetch_books_day_units(world->books, world->day), 20);
    assert_true(replayed(world, &second));
    assert_reserved(world, 2, 41);
    fetch_books_sync(world->books);
    assert_int_equal(fetch_books_settled(world->books), second.number);
}

static void test_damaged_note(void **state)
{
    struct world *world = *state;
    struct told told = crashed(world, 1);
    told.length--;
    assert_false(replayed(world, &told));
    reopen(world);
    told.length = 0;
    assert_false(replayed(world, &told));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_budget_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_budget_of_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_budget_is_used_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_receipts_of_a_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_notes_of_a_crash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_note, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
