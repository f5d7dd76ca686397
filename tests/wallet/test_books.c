/* The contract's books from its events: what channels, pool, locks of closed channels and undelivered payouts sum to, now
 * and at an earlier block; and statements as an auditor reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "wallet/books.h"
#include "wallet/statement.h"

static const struct address coin = {{0}}, token = {{7}}, client = {{1}}, hub = {{2}};

static struct hash channel_number(uint8_t number)
{
    return keccak256(&number, 1);
}

static void opens(struct books *books, uint64_t block, uint8_t number, const struct address *asset)
{
    books_event(books, &(struct contract_event){.type = EVENT_OPENED,
                                                .block = block,
                                                .channel = channel_number(number),
                                                .address = client,
                                                .other = *asset});
}

static void funds(struct books *books, uint64_t block, uint8_t number, uint64_t by_client, uint64_t by_hub)
{
    books_event(books, &(struct contract_event){.type = EVENT_FUNDED,
                                                .block = block,
                                                .channel = channel_number(number),
                                                .client_amount = amount_of(by_client),
                                                .hub_amount = amount_of(by_hub)});
}

static void pool(struct books *books, uint64_t block, uint64_t amount, bool in)
{
    books_event(books, &(struct contract_event){.type = in ? EVENT_POOL_DEPOSITED : EVENT_POOL_WITHDRAWN,
                                                .block = block,
                                                .address = coin,
                                                .amount = amount_of(amount)});
}

static void owed(struct books *books, uint64_t block, const struct address *to, uint64_t amount)
{
    books_event(books, &(struct contract_event){.type = EVENT_OWED_RECORDED,
                                                .block = block,
                                                .address = *to,
                                                .other = coin,
                                                .amount = amount_of(amount)});
}

static void begin(struct books *books, uint64_t then)
{
    *books = (struct books){.then = then, .hub = hub};
    books_event(books, &(struct contract_event){
                           .type = EVENT_ASSET_LISTED, .block = 1, .address = coin, .wide_amount = 1000});
    books_event(books, &(struct contract_event){
                           .type = EVENT_ASSET_LISTED, .block = 1, .address = token, .wide_amount = 1});
}

static void assert_sums(const struct book_sums *sums, uint64_t open, int64_t channels, int64_t in_pool,
                        int64_t held, int64_t is_owed)
{
    assert_int_equal(sums->open, open);
    assert_true(sums->channels == channels);
    assert_true(sums->pool == in_pool);
    assert_true(sums->held == held);
    assert_true(sums->owed == is_owed);
}

static void test_deposits_batches_and_a_close_together(void **state)
{
    (void)state;
    struct books books;
    begin(&books, 4);
    pool(&books, 2, 1000, true);
    opens(&books, 2, 1, &coin);
    funds(&books, 2, 1, 500, 0);
    opens(&books, 3, 2, &coin);
    funds(&books, 3, 2, 0, 300);
    opens(&books, 3, 3, &token);
    funds(&books, 3, 3, 9, 0);
    assert_sums(&books.books[0].now, 2, 800, 700, 0, 0);
    assert_sums(&books.books[1].now, 1, 9, 0, 0, 0);
    books_event(&books, &(struct contract_event){.type = EVENT_SETTLED,
                                                 .block = 5,
                                                 .channel = channel_number(1),
                                                 .client_out = amount_of(100),
                                                 .hub_out = amount_of(50)});
    pool(&books, 6, 20, false);
    assert_sums(&books.books[0].now, 2, 650, 730, 0, 0);
    books_event(&books, &(struct contract_event){.type = EVENT_SETTLED,
                                                 .block = 6,
                                                 .channel = channel_number(2),
                                                 .client_out = amount_of(260),
                                                 .hub_out = amount_of(40),
                                                 .close = true});
    books_head(&books, 7);
    assert_sums(&books.books[0].now, 1, 350, 770, 0, 0);
    assert_sums(&books.books[0].then, 2, 800, 700, 0, 0); /* block 4 */
    const struct hash first = channel_number(1), second = channel_number(2);
    assert_int_equal(books_channel(&books, &first)->was.units, 500);
    assert_int_equal(books_channel(&books, &first)->total.units, 350);
    assert_true(books_channel(&books, &second)->closed && books_channel(&books, &second)->was_there);
    assert_null(books.trouble);
    assert_ptr_equal(books_of(&books, &token), &books.books[1]);
    books_free(&books);
}

static void test_a_dispute_with_locks_a_penalty_and_a_bounty(void **state)
{
    (void)state;
    struct books books;
    begin(&books, 10);
    pool(&books, 2, 100, true);
    opens(&books, 2, 1, &coin);
    funds(&books, 2, 1, 500, 100);
    assert_sums(&books.books[0].now, 1, 600, 0, 0, 0);
    pool(&books, 3, 100, true);
    /* 600 in the channel, and 30 of the penalty from the pool. */
    books_event(&books, &(struct contract_event){.type = EVENT_FINISHED,
                                                 .block = 4,
                                                 .channel = channel_number(1),
                                                 .to_client = amount_of(400),
                                                 .to_hub = amount_of(60),
                                                 .held_client = amount_of(90),
                                                 .held_hub = amount_of(70),
                                                 .penalty = amount_of(40),
                                                 .bounty = amount_of(10)});
    assert_sums(&books.books[0].now, 0, 0, 130, 160, 0);
    owed(&books, 4, &client, 400); /* could not be delivered */
    books_event(&books, &(struct contract_event){.type = EVENT_UNLOCKED,
                                                 .block = 5,
                                                 .channel = channel_number(1),
                                                 .of_client = true,
                                                 .to_receiver = true,
                                                 .amount = amount_of(90)});
    books_event(&books,
                &(struct contract_event){.type = EVENT_UNLOCKED,
                                         .block = 5,
                                         .channel = channel_number(1),
                                         .to_receiver = true,
                                         .amount = amount_of(70)}); /* the hub's lock: to the client */
    assert_sums(&books.books[0].now, 0, 0, 220, 0, 400);
    books_event(
        &books,
        &(struct contract_event){
            .type = EVENT_OWED_WITHDRAWN, .block = 6, .address = client, .other = coin, .wide_amount = 400});
    assert_sums(&books.books[0].now, 0, 0, 220, 0, 0);
    books_free(&books);
}

/* What the pool cannot take is owed to the hub; a bounty that could not be delivered to it is not the pool's. */
static void test_a_pool_that_is_full(void **state)
{
    (void)state;
    struct books books;
    begin(&books, 1);
    pool(&books, 2, AMOUNT_LIMIT - 1, true);
    opens(&books, 2, 1, &coin);
    funds(&books, 2, 1, 10, 0);
    books_event(&books, &(struct contract_event){.type = EVENT_SETTLED,
                                                 .block = 3,
                                                 .channel = channel_number(1),
                                                 .hub_out = amount_of(10)});
    owed(&books, 3, &hub, 10);
    assert_sums(&books.books[0].now, 1, 0, (int64_t)(AMOUNT_LIMIT - 1), 0, 10);
    pool(&books, 4, 100, false);
    owed(&books, 5, &hub, 3);
    assert_sums(&books.books[0].now, 1, 0, (int64_t)(AMOUNT_LIMIT - 101), 0, 13);
    books_free(&books);
}

static void test_events_that_make_no_sense(void **state)
{
    (void)state;
    struct books books;
    begin(&books, 1);
    funds(&books, 2, 1, 1, 0);
    assert_non_null(books.trouble);
    books_free(&books);
    begin(&books, 1);
    opens(&books, 2, 1, &coin);
    books_event(&books, &(struct contract_event){.type = EVENT_SETTLED,
                                                 .block = 3,
                                                 .channel = channel_number(1),
                                                 .hub_out = amount_of(10)});
    assert_non_null(books.trouble);
    books_free(&books);
}

/* ---- statements ---- */

static struct statement statement_of(uint64_t number, uint8_t mark, const struct hash *previous)
{
    struct statement out = {
        .content = {.number = number, .block = 5, .previous = *previous, .asset_count = 1}};
    out.content.assets[0].channels = mark;
    out.event = liabilities_event(&out.content);
    return out;
}

static void test_statements_that_contradict_each_other(void **state)
{
    (void)state;
    struct statement first = statement_of(1, 1, &HASH_ZERO), second = statement_of(2, 2, &first.event);
    struct statement other_first = statement_of(1, 9, &HASH_ZERO);
    struct statement other_second = statement_of(2, 2, &other_first.event);
    struct statement late = statement_of(9, 1, &HASH_ZERO);
    assert_null(statement_contradiction(&first, &first));
    assert_null(statement_contradiction(&first, &second));
    assert_null(statement_contradiction(&second, &first));
    assert_null(statement_contradiction(&first, &late)); /* what lies between was not seen */
    assert_non_null(statement_contradiction(&first, &other_first));
    assert_non_null(statement_contradiction(&first, &other_second));
    assert_non_null(statement_contradiction(&other_second, &first));
}

static void test_answers_that_are_no_statement(void **state)
{
    (void)state;
    static const char good[] =
        "{\"number\":1,\"block\":2,\"time\":3,\"previous\":\"0x%064d\",\"assets\":[{"
        "\"asset\":\"0x%040d\",\"channels\":1,\"clients\":5,\"hub\":6,\"in_transit\":0,"
        "\"root\":\"0x%064d\"}],\"signature\":\"0x%0128d\"}";
    static const char *const wrong[][2] = {
        {"\"number\":1", "\"number\":0"},       {"\"clients\":5", "\"clients\":-5"},
        {"\"clients\":5", "\"clients\":\"5\""}, {"\"assets\":[", "\"other\":["},
        {"\"root\":\"0x", "\"root\":\"0x0"},    {"\"signature\":\"0x", "\"signature\":\"0xx"},
    };
    char text[1024], changed[1100];
    struct statement out;
    snprintf(text, sizeof(text), good, 0, 0, 0, 0);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_true(statement_of_json(json, &out));
    assert_int_equal(out.content.assets[0].clients.units, 5);
    json_decref(json);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *at = strstr(text, wrong[i][0]);
        assert_non_null(at);
        snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, wrong[i][1],
                 at + strlen(wrong[i][0]));
        json = json_loads(changed, 0, NULL);
        assert_non_null(json);
        assert_false(statement_of_json(json, &out));
        json_decref(json);
    }
    assert_false(statement_of_json(NULL, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deposits_batches_and_a_close_together),
        cmocka_unit_test(test_a_dispute_with_locks_a_penalty_and_a_bounty),
        cmocka_unit_test(test_a_pool_that_is_full),
        cmocka_unit_test(test_events_that_make_no_sense),
        cmocka_unit_test(test_statements_that_contradict_each_other),
        cmocka_unit_test(test_answers_that_are_no_statement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
