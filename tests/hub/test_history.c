/* Payments that leave the engine's state are found in the archive, once for each side, and a crash at any moment
 * keeps each in exactly one of the two. Requests and pages of GET /history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hub/engine_state.h"
#include "hub/history.h"

#include "engine_world.c"

#define A_DAY 86400

static void keep_history(struct engine_settings *settings)
{
    settings->keeps_history = true;
}

static int open_with(void **state, void (*change)(struct engine_settings *settings))
{
    static struct world world;
    world_open_with(&world, change);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 5000);
    world_connect(&world, 0);
    world_connect(&world, 1);
    *state = &world;
    return 0;
}

static int open_world(void **state)
{
    return open_with(state, keep_history);
}

static int open_forgetful(void **state)
{
    return open_with(state, NULL);
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

struct listing {
    struct history_item items[16];
    size_t count;
};

static bool list(void *context, const struct record *record)
{
    struct listing *listing = context;
    assert_true(listing->count < 16);
    assert_true(history_read(record, &listing->items[listing->count++]));
    return true;
}

static struct listing listing_of(struct world *world, unsigned client)
{
    struct listing listing = {.count = 0};
    struct archive_query query = {.type = RECORD_HISTORY, .until = UINT64_MAX};
    memcpy(query.owner, world->clients[client].address.bytes, sizeof(query.owner));
    assert_true(journal_archive_read(world->journal, &query, list, &listing));
    return listing;
}

static void test_both_sides_find_it(void **state)
{
    struct world *world = *state;
    uint64_t booked = world->now;
    world_pay(world, 0, 1, 100, 1, false);
    world_settle_down(world);
    struct payment_id at_payee = world->clients[1].received[0];
    world_reveal(world, 1, 1, &at_payee);
    world_settle_down(world);
    assert_int_equal(listing_of(world, 0).count, 0); /* the engine still has it */
    world_head(world, 2 * A_DAY + 10);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    for (int crashed = 0; crashed < 2; crashed++) {
        struct listing payer = listing_of(world, 0), payee = listing_of(world, 1);
        assert_int_equal(payer.count, 1);
        assert_int_equal(payee.count, 1);
        const struct history_item *out = &payer.items[0], *in = &payee.items[0];
        assert_false(out->received);
        assert_true(in->received);
        assert_int_equal(out->state, PAYMENT_REVEALED);
        assert_int_equal(in->state, PAYMENT_REVEALED);
        assert_int_equal(in->amount.units, 100);
        assert_int_equal(out->amount.units, 100);
        assert_in_range(out->time, booked - 60, booked);
        assert_true(address_equal(&out->peer, &world->clients[1].address));
        assert_true(address_equal(&in->peer, &world->clients[0].address));
        assert_true(payment_id_equal(&in->id, &at_payee));
        struct witness secret = world_secret(1);
        assert_int_equal(in->witness.length, secret.length);
        assert_memory_equal(in->witness.bytes, secret.bytes, secret.length);
        world_crash(world);
    }
}

static void test_a_refused_one_is_the_payers(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 3, 100, 1, false); /* client 3 has no channel */
    world_settle_down(world);
    world_head(world, 2 * A_DAY + 10);
    world_settle_down(world);
    struct listing payer = listing_of(world, 0);
    assert_int_equal(payer.count, 1);
    assert_int_equal(payer.items[0].state, PAYMENT_REFUNDED);
    assert_int_equal(payer.items[0].code, CODE_PAYEE);
    assert_true(address_equal(&payer.items[0].peer, &ADDRESS_ZERO));
}

/* The batch that forgets it is lost, or it is not: never both, never neither. */
static void test_a_crash_keeps_it_in_one_place(void **state)
{
    struct world *world = *state;
    for (uint8_t id = 1; id <= 3; id++)
        world_pay(world, 0, 1, 10, id, false);
    world_settle_down(world);
    world_head(world, 2 * A_DAY + 10);
    engine_flush(world->engine); /* appended, not durable */
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    world_crash(world); /* keeps what was durable only */
    assert_int_equal(engine_figures(world->engine).payments_kept, 3);
    assert_int_equal(listing_of(world, 0).count, 0);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    assert_int_equal(listing_of(world, 0).count, 3);
    assert_int_equal(listing_of(world, 1).count, 3);
}

static void test_none_is_kept_without_days(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 100, 1, false);
    world_settle_down(world);
    world_head(world, 2 * A_DAY + 10);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    assert_int_equal(listing_of(world, 0).count, 0);
}

static void test_records_in_every_bad_form(void **state)
{
    (void)state;
    struct history_item item = {
        .state = PAYMENT_REVEALED, .time = 5, .received = true, .witness = {.length = 32}};
    struct history_item back;
    struct buffer batch = {0};
    history_write(&item, &batch);
    struct reader reader = reader_of(batch.data, batch.length);
    struct record record;
    assert_true(record_next(&reader, &record) && record_is_archive(&record));
    assert_true(history_read(&record, &back));
    assert_int_equal(back.time, 5);
    assert_true(back.received && !back.is_locked);
    uint32_t whole = record.value_length;
    for (record.value_length = 0; record.value_length < whole; record.value_length++)
        assert_false(history_read(&record, &back));
    record.value_length = whole;
    record.key_length--;
    assert_false(history_read(&record, &back));
    record.key_length++;
    batch.data[RECORD_HEADER_BYTES + HISTORY_KEY_BYTES]++; /* another version */
    assert_false(history_read(&record, &back));
    buffer_free(&batch);
}

static void refuses(const char *query, const char *says)
{
    struct history_request request;
    const char *wrong = history_parse(query, &request);
    if (wrong == NULL || strstr(wrong, says) == NULL)
        fail_msg("%s gave: %s", query, wrong == NULL ? "nothing" : wrong);
}

#define CLIENT "client=0x00000000000000000000000000000000000000aa"

static void test_requests(void **state)
{
    (void)state;
    struct history_request request;
    refuses(NULL, "client=0x");
    refuses("", "client=0x");
    refuses("client=0x12", "client=0x");
    refuses("since=1", "client=0x");
    refuses(CLIENT "&since=-1", "since is not a time");
    refuses(CLIENT "&until=99999999999999999999", "until is not a time");
    refuses(CLIENT "&limit=0", "1 to 1000");
    refuses(CLIENT "&limit=1001", "1 to 1000");
    refuses(CLIENT "&cursor=00", "cursor is not one of ours");
    refuses(CLIENT "&sort=up", "only client");
    assert_null(history_parse(CLIENT, &request));
    assert_int_equal(request.limit, HISTORY_LIMIT_USUAL);
    assert_int_equal(request.client.bytes[19], 0xaa);
    assert_false(request.has_after);
    assert_null(history_parse(CLIENT "&since=10&until=20&limit=3", &request));
    assert_int_equal(request.since, 10);
    assert_int_equal(request.until, 20);
    assert_int_equal(request.limit, 3);
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        count++;
    return count;
}

static void test_pages_go_on_where_the_last_ended(void **state)
{
    struct world *world = *state;
    for (uint8_t id = 1; id <= 4; id++) {
        world_pay(world, 0, 1, (uint64_t)id, id, false);
        world_settle_down(world);
        world_head(world, 1);
        world_settle_down(world);
    }
    world_head(world, 2 * A_DAY + 10);
    world_settle_down(world);
    char address[ADDRESS_TEXT_SIZE], query[256];
    char cursor[128] = "";
    static const size_t sizes[] = {3, 1};
    for (size_t page = 0; page < 2; page++) {
        struct history_request request;
        struct buffer text = {0};
        snprintf(query, sizeof(query), "client=%s&limit=3%s%s",
                 address_text(&world->clients[0].address, address), page == 0 ? "" : "&cursor=", cursor);
        assert_null(history_parse(query, &request));
        assert_true(history_page(world->journal, &request, &text));
        buffer_u8(&text, '\0');
        assert_int_equal(count_of((char *)text.data, "\"direction\":\"out\""), sizes[page]);
        const char *next = strstr((char *)text.data, "\"next\":");
        assert_non_null(next);
        if (page == 0)
            assert_int_equal(sscanf(next, "\"next\":\"%100[0-9a-f]\"", cursor), 1);
        else
            assert_non_null(strstr(next, "null"));
        buffer_free(&text);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_find_it),
        TEST(test_a_refused_one_is_the_payers),
        TEST(test_a_crash_keeps_it_in_one_place),
        cmocka_unit_test_setup_teardown(test_none_is_kept_without_days, open_forgetful, close_world),
        cmocka_unit_test(test_records_in_every_bad_form),
        cmocka_unit_test(test_requests),
        TEST(test_pages_go_on_where_the_last_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
