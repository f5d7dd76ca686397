/* Payments that are over are found in the archive, once for each side, and a crash at any moment keeps each in exactly
 * one of the two. From there a repeated id gets its outcome again, and a payee can send the money back. Requests and
 * pages of GET /history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "hub/engine_state.h"
#include "hub/history.h"
#include "hub/reshard_rows.h"

#include "engine_world.c"

#define A_DAY 86400

static int open_world(void **state)
{
    static struct world world;
    world_open(&world);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 5000);
    world_connect(&world, 0);
    world_connect(&world, 1);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

struct listing {
    struct journal *journal;
    struct history_item items[16];
    size_t count, records;
};

static bool list(void *context, const struct record *record)
{
    struct listing *listing = context;
    size_t count = history_count(record);
    assert_true(count > 0 && listing->count + count <= 16);
    listing->records++;
    for (size_t i = 0; i < count; i++)
        assert_true(history_look(listing->journal, record, i, &listing->items[listing->count++]));
    return true;
}

static struct listing listing_of(struct world *world, unsigned client)
{
    struct listing listing = {.journal = world->journal};
    struct archive_query query = {.type = RECORD_HISTORY, .until = UINT64_MAX};
    memcpy(query.owner, world->clients[client].address.bytes, sizeof(query.owner));
    assert_true(journal_archive_read(world->journal, &query, list, &listing));
    return listing;
}

static void pay_and_reveal(struct world *world, uint8_t id, uint64_t amount)
{
    size_t before = world->clients[1].received_count;
    world_pay(world, 0, 1, amount, id, false);
    world_settle_down(world);
    assert_int_equal(world->clients[1].received_count, before + 1);
    world_reveal(world, 1, id, &world->clients[1].received[before]);
    world_settle_down(world);
}

static void test_both_sides_find_it(void **state)
{
    struct world *world = *state;
    uint64_t booked = world->now;
    world_pay(world, 0, 1, 100, 1, false);
    world_settle_down(world);
    struct payment_id at_payee = world->clients[1].received[0];
    assert_int_equal(listing_of(world, 0).count, 0); /* under way */
    assert_int_equal(engine_figures(world->engine).payments_kept, 1);
    world_reveal(world, 1, 1, &at_payee);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    for (int crashed = 0; crashed < 2; crashed++) {
        struct listing payer = listing_of(world, 0), payee = listing_of(world, 1);
        assert_int_equal(payer.count, 1);
        assert_int_equal(payee.count, 1);
        const struct history_item *out = &payer.items[0], *in = &payee.items[0];
        struct witness secret = world_secret(1);
        struct hash condition = sha256(secret.bytes, secret.length);
        assert_false(out->received);
        assert_true(in->received);
        assert_int_equal(out->state, PAYMENT_REVEALED);
        assert_int_equal(in->state, PAYMENT_REVEALED);
        assert_int_equal(in->amount.units, 100);
        assert_int_equal(out->amount.units, 100);
        assert_in_range(out->time, booked - 60, booked);
        assert_true(address_equal(&out->peer, &world->clients[1].address));
        assert_true(address_equal(&in->peer, &world->clients[0].address));
        assert_true(payment_id_equal(&in->payee.id, &at_payee));
        assert_true(hash_equal(&in->condition, &condition) && hash_equal(&out->condition, &condition));
        assert_int_equal(in->witness.length, secret.length);
        assert_memory_equal(in->witness.bytes, secret.bytes, secret.length);
        world_crash(world);
    }
}

/* A payee that never shows the secret has been paid all the same. */
static void test_one_without_receipt_comes_after_a_day(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 100, 1, false);
    world_settle_down(world);
    world_head(world, 2 * A_DAY + 10);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    struct listing payer = listing_of(world, 0);
    assert_int_equal(payer.count, 1);
    assert_int_equal(payer.items[0].state, PAYMENT_SIGNED);
    assert_int_equal(payer.items[0].witness.length, 0);
}

static void test_a_refused_one_is_the_payers(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 3, 100, 1, false); /* client 3 has no channel */
    world_settle_down(world);
    struct listing payer = listing_of(world, 0);
    assert_int_equal(payer.count, 1);
    assert_int_equal(payer.items[0].state, PAYMENT_REFUNDED);
    assert_int_equal(payer.items[0].code, CODE_PAYEE);
    assert_true(address_equal(&payer.items[0].peer, &ADDRESS_ZERO));
}

/* The batch that has its end is lost, or it is not: never both, never neither. */
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

/* Before its end is durable, after that, and after a restart. */
static void test_a_repeated_id_gets_the_first_outcome(void **state)
{
    struct world *world = *state;
    struct world_client *payer = &world->clients[0];
    pay_and_reveal(world, 1, 100);
    for (size_t again = 1; again <= 2; again++) {
        world_pay(world, 0, 1, 100, 1, false);
        world_settle_down(world);
        assert_int_equal(payer->refunded_count, again);
        assert_int_equal(payer->refund_code[again - 1], CODE_DUPLICATE);
        assert_int_equal(payer->revealed_count, 1 + again);
        assert_true(payment_id_equal(&payer->revealed[again], &payer->revealed[0]));
        assert_int_equal(world->clients[1].received_count, 1);
        world_crash(world);
        world_connect(world, 0);
        world_connect(world, 1);
        world_settle_down(world);
    }
    assert_int_equal(listing_of(world, 0).count, 1);
}

static void send_back(struct world *world, const struct payment_id *id, uint64_t amount)
{
    struct operation back = {.type = OPERATION_REFUND, .id = *id, .amount = {amount}, .code = CODE_INVOICE};
    world_send(world, 1, &back, 1);
    world_settle_down(world);
}

/* Also when it is over: once, and only the right amount by the right payee. */
static void test_a_payee_sends_back_what_is_over(void **state)
{
    struct world *world = *state;
    struct world_client *payer = &world->clients[0];
    pay_and_reveal(world, 1, 100);
    struct payment_id id = world->clients[1].received[0];
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    world_settle_down(world);
    send_back(world, &id, 99);
    assert_int_equal(payer->refunded_count, 0);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0); /* nothing was taken up for nothing */
    send_back(world, &id, 1);
    assert_int_equal(payer->refunded_count, 0);
    pay_and_reveal(world, 2, 100);
    pay_and_reveal(world, 3, 100);
    send_back(world, &id, 100);
    assert_int_equal(payer->refunded_count, 1);
    assert_int_equal(payer->refund_code[0], CODE_INVOICE);
    send_back(world, &id, 100); /* moves money and means nothing */
    assert_int_equal(payer->refunded_count, 1);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    for (int crashed = 0; crashed < 2; crashed++) {
        struct listing out = listing_of(world, 0), in = listing_of(world, 1);
        size_t refunded = 0;
        assert_int_equal(out.count, 3);
        assert_int_equal(in.count, 3);
        for (size_t i = 0; i < 3; i++) {
            refunded += out.items[i].state == PAYMENT_REFUNDED;
            assert_int_equal(in.items[i].state, out.items[i].state);
        }
        assert_int_equal(refunded, 1);
        world_crash(world);
    }
}

static void test_one_that_is_leaving_is_sent_back(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 100, 1, false);
    world_settle_down(world);
    struct payment_id id = world->clients[1].received[0];
    world_reveal(world, 1, 1, &id);
    engine_flush(world->engine); /* its end is not durable */
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    send_back(world, &id, 100);
    assert_int_equal(world->clients[0].refunded_count, 1);
    assert_int_equal(listing_of(world, 0).count, 1);
    assert_int_equal(listing_of(world, 0).items[0].state, PAYMENT_REFUNDED);
}

/* A lock that was failed stands until its payer cancels it: the payer may as well unlock it, and at once. */
static void test_an_unlock_comes_while_it_is_leaving(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 3, 100, 1, true); /* client 3 has no channel: failed, and over */
    engine_flush(world->engine);          /* its end is not durable */
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 1, .witness = world_secret(1)};
    world_send(world, 0, &unlock, 1);
    (void)journal_durable(world->journal);
    uint64_t sequence = memory_journal_appended(world->journal);
    memory_journal_sync(world->journal, sequence);
    engine_durable(world->engine, sequence);
    engine_flush(world->engine);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
}

/* Its receipt comes in the very moment in which nobody hopes for it any more. */
static void test_a_receipt_comes_while_it_is_leaving(void **state)
{
    struct world *world = *state;
    world_pay(world, 0, 1, 100, 1, false);
    world_settle_down(world);
    struct payment_id id = world->clients[1].received[0];
    world_head(world, 2 * A_DAY + 10);
    engine_flush(world->engine);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    world_reveal(world, 1, 1, &id);
    world_settle_down(world);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
    assert_int_equal(listing_of(world, 0).count, 1);
    assert_int_equal(listing_of(world, 0).items[0].state, PAYMENT_REVEALED);
}

/* As a change of the number of shards leaves it if the payer's half had been pruned. */
static void test_half_without_another_is_not_sent_back(void **state)
{
    struct world *world = *state;
    struct buffer batch = {0};
    struct history_item half = {.owner = world->clients[1].address,
                                .payer = {.channel = {{9}}, .id = world_id(9)},
                                .payee = {world->clients[1].channel->id, world_id(7)},
                                .received = true,
                                .state = PAYMENT_REVEALED,
                                .role = HALF_OF_PAYEE,
                                .other_shard = 0,
                                .time = world->now,
                                .amount = {100}};
    pay_and_reveal(world, 1, 500);
    record_gone(&batch, RECORD_PAYMENT, &half.payee.id, sizeof(half.payee.id));
    history_write(&half, &batch);
    memory_journal_sync(world->journal, journal_append(world->journal, batch.data, batch.length));
    buffer_free(&batch);
    send_back(world, &half.payee.id, 100);
    assert_int_equal(world->clients[0].refunded_count, 0);
    assert_int_equal(engine_figures(world->engine).payments_kept, 0);
}

static void test_halves_of_a_past_payment_without_receipt(void **state)
{
    (void)state;
    struct history_item payer = {.state = PAYMENT_SIGNED},
                        payee = {.state = PAYMENT_SIGNED, .received = true};
    reshard_past_part(&payer, 1);
    reshard_past_part(&payee, 0);
    assert_int_equal(payer.role, HALF_OF_PAYER);
    assert_int_equal(payer.state, PAYMENT_WAITING); /* what a refund from the other shard ends */
    assert_int_equal(payee.role, HALF_OF_PAYEE);
    assert_int_equal(payee.state, PAYMENT_SIGNED);
}

static void test_records_in_every_bad_form(void **state)
{
    (void)state;
    struct history_item item = {.state = PAYMENT_REVEALED,
                                .kind = LOCK_ATTESTATION,
                                .time = 5,
                                .received = true,
                                .witness = {.length = 32}};
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
    buffer_clear(&batch);
    item.leads = true;
    history_write(&item, &batch);
    reader = reader_of(batch.data, batch.length);
    assert_true(record_next(&reader, &record) && history_read(&record, &back) && back.leads);
    assert_int_equal(history_count(&record), 1);
    record.value_length--;
    assert_false(history_read(&record, &back));
    assert_int_equal(history_count(&record), 0);
    buffer_free(&batch);
}

static void test_records_that_lead_to_many(void **state)
{
    (void)state;
    const struct address payee = {{1}}, another = {{2}};
    struct history_leads leads = {0};
    struct history_item back;
    struct buffer batch = {0};
    struct payment_id id = {{9}};
    for (unsigned i = 0; i < HISTORY_LEADS_MAX + 2; i++)
        history_lead(&leads, &payee, 5, &id, &batch);
    history_lead(&leads, &payee, 6, &id, &batch);
    history_lead(&leads, &another, 6, &id, &batch);
    history_leads_end(&leads, &batch);
    history_leads_end(&leads, &batch); /* nothing is open */
    static const size_t counts[] = {HISTORY_LEADS_MAX, 2, 1, 1};
    struct reader reader = reader_of(batch.data, batch.length);
    struct record record;
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
        assert_true(record_next(&reader, &record));
        assert_int_equal(history_count(&record), counts[i]);
        assert_true(history_read(&record, &back) && back.leads && back.received);
        assert_int_equal(back.time, i < 2 ? 5 : 6);
    }
    assert_true(reader_done(&reader));
    buffer_free(&batch);
    buffer_free(&leads.more);
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

/* All pages of a client's, three payments each: how many payments have what `word` says. */
static size_t read_pages(struct world *world, unsigned client, const size_t *sizes, size_t pages,
                         const char *word)
{
    char address[ADDRESS_TEXT_SIZE], query[256];
    char cursor[128] = "";
    size_t words = 0;
    for (size_t page = 0; page < pages; page++) {
        struct history_request request;
        struct buffer text = {0};
        snprintf(query, sizeof(query), "client=%s&limit=3%s%s",
                 address_text(&world->clients[client].address, address), page == 0 ? "" : "&cursor=", cursor);
        assert_null(history_parse(query, &request));
        assert_true(history_page(world->journal, &request, &text));
        buffer_u8(&text, '\0');
        assert_int_equal(count_of((char *)text.data, "\"direction\""), sizes[page]);
        words += count_of((char *)text.data, word);
        const char *next = strstr((char *)text.data, "\"next\":");
        assert_non_null(next);
        if (page + 1 < pages)
            assert_int_equal(sscanf(next, "\"next\":\"%100[0-9a-f]\"", cursor), 1);
        else
            assert_non_null(strstr(next, "null"));
        buffer_free(&text);
    }
    return words;
}

static void test_pages_go_on_where_the_last_ended(void **state)
{
    struct world *world = *state;
    for (uint8_t id = 1; id <= 4; id++) {
        pay_and_reveal(world, id, id);
        world_head(world, 1);
        world_settle_down(world);
    }
    static const size_t sizes[] = {3, 1};
    assert_int_equal(read_pages(world, 0, sizes, 2, "\"direction\":\"out\""), 4);
    assert_int_equal(read_pages(world, 1, sizes, 2, "\"direction\":\"in\""), 4);
}

/* What ends in one turn is one record of the payee's; a page may end anywhere in it, and what is sent back later leaves
 * the others where they are. */
static void test_many_of_a_turn_are_one_record(void **state)
{
    struct world *world = *state;
    struct world_client *payee = &world->clients[1];
    for (uint8_t id = 1; id <= 8; id++)
        world_pay(world, 0, 1, id, id, false);
    world_settle_down(world);
    assert_int_equal(payee->received_count, 8);
    for (uint8_t id = 1; id <= 8; id++)
        world_reveal(world, 1, id, &payee->received[id - 1]);
    world_settle_down(world);
    static const size_t sizes[] = {3, 3, 2}, exact[] = {3, 3, 3};
    assert_int_equal(listing_of(world, 1).records, 1);
    assert_int_equal(listing_of(world, 1).count, 8);
    assert_int_equal(read_pages(world, 1, sizes, 3, "\"completed\""), 8);
    for (int crashed = 0; crashed < 2; crashed++) {
        /* The first, by whose id the record lies where it lies; then one within. */
        send_back(world, &payee->received[crashed == 0 ? 0 : 4], crashed == 0 ? 1 : 5);
        assert_int_equal(listing_of(world, 1).records, 1);
        assert_int_equal(read_pages(world, 1, sizes, 3, "\"refunded\""), (size_t)crashed + 1);
        world_crash(world);
        world_connect(world, 0);
        world_connect(world, 1);
        world_settle_down(world);
    }
    assert_int_equal(listing_of(world, 1).count, 8);
    pay_and_reveal(world, 9, 9);
    assert_int_equal(listing_of(world, 1).records, 2);
    assert_int_equal(read_pages(world, 1, exact, 3, "\"direction\":\"in\""), 9);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_find_it),
        TEST(test_a_refused_one_is_the_payers),
        TEST(test_a_crash_keeps_it_in_one_place),
        TEST(test_one_without_receipt_comes_after_a_day),
        TEST(test_a_repeated_id_gets_the_first_outcome),
        TEST(test_a_payee_sends_back_what_is_over),
        TEST(test_one_that_is_leaving_is_sent_back),
        TEST(test_an_unlock_comes_while_it_is_leaving),
        TEST(test_a_receipt_comes_while_it_is_leaving),
        TEST(test_half_without_another_is_not_sent_back),
        cmocka_unit_test(test_halves_of_a_past_payment_without_receipt),
        cmocka_unit_test(test_records_in_every_bad_form),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_records_that_lead_to_many),
        TEST(test_pages_go_on_where_the_last_ended),
        TEST(test_many_of_a_turn_are_one_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
