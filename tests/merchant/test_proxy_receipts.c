/* The ledger of receipts: tickets that only this proxy makes, a receipt that is served once, budgets that are not overspent,
 * and what is left of both after the process is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "merchant/proxy_receipts.h"
#include "tests/support/process.h"

#define NOW 1000000

struct ledger_world {
    char folder[64];
    struct event_base *base;
    struct receipts *receipts;
};

static void open_ledger(struct ledger_world *world)
{
    char message[300];
    world->receipts = receipts_open(world->base, world->folder, message, sizeof(message));
    if (world->receipts == NULL)
        fail_msg("%s", message);
}

static void reopen(struct ledger_world *world)
{
    receipts_close(world->receipts);
    open_ledger(world);
}

static int set_up(void **state)
{
    struct ledger_world *world = xcalloc(1, sizeof(*world));
    folder_make(world->folder, sizeof(world->folder));
    world->base = event_base_new();
    open_ledger(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct ledger_world *world = *state;
    receipts_close(world->receipts);
    event_base_free(world->base);
    folder_remove(world->folder);
    free(world);
    return 0;
}

static struct ticket ticket_of(enum ticket_kind kind, const char *name, uint64_t units, uint8_t secret[32])
{
    struct hash text = sha256(name, strlen(name));
    memcpy(secret, text.bytes, 32);
    return (struct ticket){.kind = kind,
                           .resource = text,
                           .units = units,
                           .expiry = NOW + 100,
                           .secret_hash = sha256(secret, 32)};
}

static void test_tickets(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    char text[TICKET_TEXT_SIZE], changed[TICKET_TEXT_SIZE];
    struct ticket ticket = ticket_of(TICKET_REQUEST, "a", 77, secret), read;
    ticket_write(world->receipts, &ticket, text);
    size_t length = strlen(text);
    assert_true(ticket_read(world->receipts, text, length, &read));
    assert_int_equal(read.kind, TICKET_REQUEST);
    assert_int_equal(read.units, 77);
    assert_int_equal(read.expiry, NOW + 100);
    assert_memory_equal(&read.resource, &ticket.resource, 32);
    assert_true(ticket_is_paid_by(&read, secret));
    secret[31] ^= 1;
    assert_false(ticket_is_paid_by(&read, secret));
    /* Every character counts. */
    for (size_t i = 0; i < length; i++) {
        memcpy(changed, text, sizeof(changed));
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_false(ticket_read(world->receipts, changed, length, &read));
    }
    assert_false(ticket_read(world->receipts, text, length - 4, &read));
    reopen(world); /* the key stays */
    assert_true(ticket_read(world->receipts, text, length, &read));
}

static void test_a_ticket_of_another_proxy(void **state)
{
    struct ledger_world *world = *state, other = {.base = world->base};
    uint8_t secret[32];
    char text[TICKET_TEXT_SIZE];
    struct ticket ticket = ticket_of(TICKET_REQUEST, "a", 77, secret), read;
    folder_make(other.folder, sizeof(other.folder));
    open_ledger(&other);
    ticket_write(other.receipts, &ticket, text);
    assert_false(ticket_read(world->receipts, text, strlen(text), &read));
    receipts_close(other.receipts);
    folder_remove(other.folder);
}

static void test_served_once(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    struct ticket ticket = ticket_of(TICKET_REQUEST, "a", 5, secret);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_OK);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_UNDER_WAY);
    receipts_served(world->receipts, &ticket.secret_hash);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_SPENT);
    reopen(world);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_SPENT);
    /* A replay after its time is a replay all the same. */
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW + 101), PAYMENT_SPENT);
}

static void test_expired(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    struct ticket ticket = ticket_of(TICKET_REQUEST, "a", 5, secret);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW + 101), PAYMENT_EXPIRED);
    assert_int_equal(receipts_figures(world->receipts).receipts, 0);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW + 100), PAYMENT_OK);
    struct ticket budget = ticket_of(TICKET_BUDGET, "b", 5, secret);
    uint64_t left;
    assert_int_equal(receipts_charge(world->receipts, &budget, 1, NOW + 101, &left), PAYMENT_EXPIRED);
}

static void test_in_doubt_after_a_crash(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    struct ticket ticket = ticket_of(TICKET_REQUEST, "a", 5, secret);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_OK);
    reopen(world);
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_IN_DOUBT);
}

static void test_given_back(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    struct ticket ticket = ticket_of(TICKET_REQUEST, "a", 5, secret);
    for (int i = 1; i < RECEIPT_RETURNS_MAX; i++) {
        assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_OK);
        assert_true(receipts_return(world->receipts, &ticket.secret_hash));
        reopen(world);
    }
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_OK);
    assert_false(receipts_return(world->receipts, &ticket.secret_hash));
    assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_RETURNS);
}

static void test_a_budget(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    uint64_t left;
    struct ticket ticket = ticket_of(TICKET_BUDGET, "b", 100, secret);
    const struct hash *id = &ticket.secret_hash;
    assert_int_equal(receipts_charge(world->receipts, &ticket, 101, NOW, &left), PAYMENT_BUDGET);
    assert_int_equal(left, 100);
    assert_int_equal(receipts_charge(world->receipts, &ticket, 60, NOW, &left), PAYMENT_OK);
    assert_int_equal(left, 40);
    assert_int_equal(receipts_charge(world->receipts, &ticket, 41, NOW, &left), PAYMENT_BUDGET);
    assert_true(receipts_charge_more(world->receipts, id, 40));
    assert_false(receipts_charge_more(world->receipts, id, 1));
    receipts_credit(world->receipts, id, 30);
    reopen(world);
    assert_int_equal(receipts_left(world->receipts, id), 30);
    assert_int_equal(receipts_charge(world->receipts, &ticket, 31, NOW, &left), PAYMENT_BUDGET);
    assert_int_equal(receipts_charge(world->receipts, &ticket, 30, NOW, &left), PAYMENT_OK);
}

static void count(void *context)
{
    ++*(unsigned *)context;
}

/* Waiters hear once it is on disk; those of one turn share a batch. */
static void test_waiting(void **state)
{
    struct ledger_world *world = *state;
    uint8_t secret[32];
    unsigned heard = 0, cancelled = 0;
    struct receipts_wait waits[3] = {0};
    uint64_t before = receipts_figures(world->receipts).batches;
    for (size_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        struct ticket ticket = ticket_of(TICKET_REQUEST, name, 5, secret);
        assert_int_equal(receipts_spend(world->receipts, &ticket, NOW), PAYMENT_OK);
        receipts_wait(world->receipts, &waits[i], count, i == 1 ? &cancelled : &heard);
    }
    receipts_wait_cancel(world->receipts, &waits[1]);
    assert_int_equal(heard, 0);
    while (heard < 2)
        event_base_loop(world->base, EVLOOP_ONCE);
    assert_int_equal(cancelled, 0);
    assert_int_equal(receipts_figures(world->receipts).batches, before + 1);
    /* Nothing has changed since: it is durable already. */
    receipts_wait(world->receipts, &waits[0], count, &heard);
    while (heard < 3)
        event_base_loop(world->base, EVLOOP_ONCE);
}

int main(void)
{
#define LEDGER_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {LEDGER_TEST(test_tickets),
                                       LEDGER_TEST(test_a_ticket_of_another_proxy),
                                       LEDGER_TEST(test_served_once),
                                       LEDGER_TEST(test_expired),
                                       LEDGER_TEST(test_in_doubt_after_a_crash),
                                       LEDGER_TEST(test_given_back),
                                       LEDGER_TEST(test_a_budget),
                                       LEDGER_TEST(test_waiting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
