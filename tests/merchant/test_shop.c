/* What a shop keeps: records written and read back, expiry in its order, what is let go, events from memory and from the
 * disk, first results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/ensure.h"
#include "base/log.h"
#include "merchant/limits.h"
#include "merchant/shop.h"
#include "merchant/webhook_state.h"
#include "store/memory_journal.h"

static struct shop_invoice *new_invoice(struct shop *shop, uint64_t expires)
{
    struct shop_invoice *invoice = xcalloc(1, sizeof *invoice);
    invoice->id = object_id_random();
    invoice->number = shop->next_number++;
    invoice->created = 1000;
    invoice->expires = expires;
    memset(invoice->secret_hash.bytes, (int)invoice->number, sizeof invoice->secret_hash.bytes);
    memset(invoice->asset.bytes, 7, sizeof invoice->asset.bytes);
    invoice->amount = 12345;
    invoice->text = xstrdup("rill:ABC");
    shop_add_invoice(shop, invoice);
    return invoice;
}

static struct payment *new_payment(struct shop *shop, struct shop_invoice *invoice, uint64_t amount)
{
    struct payment *payment = xcalloc(1, sizeof *payment);
    payment->id = object_id_random();
    payment->number = shop->next_number++;
    payment->invoice = invoice;
    payment->amount = amount;
    payment->received = 2000;
    payment->has_secret = true;
    memset(payment->secret, 9, sizeof payment->secret);
    shop_add_payment(shop, payment);
    invoice->state = INVOICE_PAID;
    invoice->ended = 2000;
    return payment;
}

static bool visit_record(void *context, const struct record *record)
{
    return shop_read(context, record);
}

static void shop_make(struct shop *shop, struct journal *journal)
{
    shop_init(shop, &(struct shop_options){.invoices_max = 10, .keep_days = 4, .base_url = ""}, NULL);
    shop->journal = journal;
    ensure(journal_recover(journal, visit_record, shop));
    shop->published = shop->last;
    shop_sort_lists(shop);
    shop_answers_sort(shop);
}

/* The same journal, read by another. */
static void again(struct shop *shop, struct shop *out)
{
    struct journal *journal = shop->journal;
    shop_commit_wait(shop);
    shop->journal = NULL;
    shop_close(shop);
    memory_journal_crash(journal, memory_journal_appended(journal));
    shop_make(out, journal);
}

static void test_what_is_written_is_read(void **state)
{
    struct shop shop, other;
    (void)state;
    shop_make(&shop, memory_journal_create());
    struct shop_invoice *invoice = new_invoice(&shop, 5000), *plain = new_invoice(&shop, 6000);
    invoice->memo = xstrdup("two coffees");
    invoice->external_id = xstrdup("");
    invoice->metadata = xstrdup("{\"a\":\"b\"}");
    struct payment *payment = new_payment(&shop, invoice, 700);
    struct address asset = {{1}};
    shop_write_invoice(&shop, invoice);
    shop_write_invoice(&shop, plain);
    shop_write_payment(&shop, payment);
    struct refund *refund =
        shop_refund_create(&shop, payment, 300, "rill:DEF", shop.invoices->secret_hash.bytes);
    struct payout *payout = shop_payout_create(&shop, &asset, 99, true);
    struct object_id id = invoice->id, plain_id = plain->id, refund_id = refund->id, payout_id = payout->id;
    uint64_t next = shop.next_number;
    again(&shop, &other);

    invoice = shop_invoice_find(&other, &id);
    assert_non_null(invoice);
    assert_int_equal(invoice->state, INVOICE_PAID);
    assert_int_equal(invoice->amount, 12345);
    assert_string_equal(invoice->memo, "two coffees");
    assert_string_equal(invoice->external_id, "");
    assert_string_equal(invoice->metadata, "{\"a\":\"b\"}");
    assert_non_null(invoice->payment);
    assert_int_equal(invoice->payment->amount, 700);
    assert_int_equal(shop_refunded(invoice->payment), 300);
    assert_null(shop_invoice_find(&other, &plain_id)->memo);
    refund = invoice->payment->refunds;
    assert_true(object_equal(&refund->id, &refund_id));
    assert_string_equal(refund->invoice, "rill:DEF");
    assert_true(object_equal(&other.payout_list[0]->id, &payout_id));
    assert_true(other.payout_list[0]->asked);
    assert_int_equal(other.next_number, next);
    assert_int_equal(other.invoice_count, 2);
    shop_close(&other);
}

static void test_records_that_are_damaged_are_refused(void **state)
{
    struct shop shop;
    struct reader reader;
    struct record record;
    (void)state;
    shop_make(&shop, memory_journal_create());
    struct shop_invoice *invoice = new_invoice(&shop, 5000);
    shop_write_invoice(&shop, invoice);
    shop_write_payment(&shop, new_payment(&shop, invoice, 1));
    reader = reader_of(shop.batch.data, shop.batch.length);
    while (record_next(&reader, &record)) {
        struct record shorter = record;
        for (shorter.value_length = 0; shorter.value_length < record.value_length; shorter.value_length++)
            assert_false(shop_read(&shop, &shorter));
        shorter = record;
        shorter.key_length--;
        assert_false(shop_read(&shop, &shorter));
        assert_true(shop_read(&shop, &record));
    }
    struct record unknown = {.type = 200, .key_length = 16, .key = invoice->id.bytes};
    assert_false(shop_read(&shop, &unknown));
    shop_close(&shop);
}

static struct rill_payment refund_outcome(const struct refund *refund, const char *payment_state,
                                          bool is_final)
{
    struct rill_payment payment = {
        .outgoing = true, .locked = true, .state = payment_state, .is_final = is_final, .code = 48};
    memcpy(payment.secret_hash, refund->secret_hash.bytes, sizeof payment.secret_hash);
    return payment;
}

/* A refund that the hub says has failed, and that it may collect yet, counts until the money is back: or it could be paid
 * twice. */
static void test_a_failed_refund_counts_until_it_is_back(void **state)
{
    struct shop shop;
    (void)state;
    shop_make(&shop, memory_journal_create());
    struct payment *payment = new_payment(&shop, new_invoice(&shop, 5000), 700);
    uint8_t hash[32] = {5}, other_hash[32] = {6};
    struct refund *refund = shop_refund_create(&shop, payment, 700, "rill:DEF", hash);
    struct rill_payment failing = refund_outcome(refund, "failing", false);
    shop_outgoing(&shop, &failing);
    assert_int_equal(refund->state, REFUND_PENDING);
    assert_int_equal(shop_refunded(payment), 700);
    struct rill_payment failed = refund_outcome(refund, "failed", true);
    shop_outgoing(&shop, &failed);
    assert_int_equal(refund->state, REFUND_FAILED);
    assert_int_equal(shop_refunded(payment), 0);
    /* Collected all the same, and the hub shows no receipt: it may have been taken. */
    refund = shop_refund_create(&shop, payment, 700, "rill:GHI", other_hash);
    failing = refund_outcome(refund, "failing", false);
    shop_outgoing(&shop, &failing);
    struct rill_payment taken = refund_outcome(refund, "paid", true);
    shop_outgoing(&shop, &taken);
    assert_int_equal(refund->state, REFUND_UNKNOWN);
    assert_int_equal(shop_refunded(payment), 700);
    shop_close(&shop);
}

static void test_invoices_expire_in_their_order(void **state)
{
    struct shop shop;
    uint64_t last = 0;
    size_t count = 0;
    const struct shop_invoice *invoice;
    (void)state;
    shop_make(&shop, memory_journal_create());
    for (uint64_t i = 0; i < 200; i++) {
        struct shop_invoice *made = new_invoice(&shop, 1000 + i * 7919 % 997);
        shop_watch_expiry(&shop, made, made->expires);
        if (i % 5 == 0)
            made->state = INVOICE_CANCELLED;
    }
    assert_null(shop_next_expired(&shop, 1000));
    while ((invoice = shop_next_expired(&shop, 3000)) != NULL) {
        assert_true(invoice->expires >= last && invoice->state == INVOICE_OPEN);
        last = invoice->expires;
        count++;
    }
    assert_int_equal(count, 160);
    shop_close(&shop);
}

static void test_what_is_over_is_let_go_and_nothing_else(void **state)
{
    struct shop shop, other;
    (void)state;
    shop_make(&shop, memory_journal_create());
    struct shop_invoice *open = new_invoice(&shop, 1), *old = new_invoice(&shop, 1),
                        *recent = new_invoice(&shop, 1), *refunding = new_invoice(&shop, 1);
    struct payment *payment = new_payment(&shop, old, 5);
    struct payment *refunded = new_payment(&shop, refunding, 5);
    recent->state = INVOICE_EXPIRED;
    recent->ended = 9000;
    for (size_t i = 0; i < shop.invoice_count; i++)
        shop_write_invoice(&shop, shop.invoice_list[i]);
    shop_write_payment(&shop, payment);
    shop_write_payment(&shop, refunded);
    (void)shop_refund_create(&shop, refunded, 2, "rill:A", old->secret_hash.bytes);
    struct object_id open_id = open->id, old_id = old->id, payment_id = payment->id;
    shop_prune(&shop, 8000);
    assert_int_equal(shop.invoice_count, 3);
    assert_int_equal(shop.payment_count, 1);
    again(&shop, &other);
    assert_int_equal(other.invoice_count, 3);
    assert_non_null(shop_invoice_find(&other, &open_id));
    assert_null(shop_invoice_find(&other, &old_id));
    assert_null(shop_payment_find(&other, &payment_id));
    shop_close(&other);
}

/* ---- events ---- */

struct seen {
    size_t count, count_max;
    uint64_t first, last;
};

static bool see(void *context, const struct shop_event *event)
{
    struct seen *seen = context;
    if (seen->count == seen->count_max)
        return false;
    seen->first = seen->count == 0 ? event->place.number : seen->first;
    assert_true(seen->count == 0 || event->place.number == seen->last + 1);
    seen->last = event->place.number;
    seen->count++;
    json_t *json = json_loadb(event->json, event->length, 0, NULL);
    assert_non_null(json);
    json_decref(json);
    return true;
}

static struct seen events_after(const struct shop *shop, uint64_t time, uint64_t number, size_t count_max)
{
    struct seen seen = {.count_max = count_max};
    struct event_place place = {time, number};
    assert_true(shop_events_after(shop, &place, see, &seen));
    return seen;
}

static void test_events_are_told_once_durable_from_memory_and_disk(void **state)
{
    struct shop shop, other;
    struct object_id subject = object_id_random();
    const size_t count = EVENT_RING + 300;
    (void)state;
    shop_make(&shop, memory_journal_create());
    for (size_t i = 0; i < count; i++)
        shop_event(&shop, EVENT_PAYOUT_SETTLED, &subject, "payout", json_object());
    uint64_t now = shop.last.time;
    shop_durable(&shop);
    assert_int_equal(events_after(&shop, 0, 0, 9).count, 0);
    shop_commit(&shop);
    shop_durable(&shop);
    assert_int_equal(events_after(&shop, 0, 0, 9).count, 0);
    shop_commit_wait(&shop);
    journal_wait(shop.journal, shop.appended);
    shop_durable(&shop);

    struct seen all = events_after(&shop, 0, 0, SIZE_MAX);
    assert_int_equal(all.count, count);
    assert_int_equal(all.first, 1);
    assert_int_equal(events_after(&shop, now, 300, SIZE_MAX).count, count - 300);
    assert_int_equal(events_after(&shop, now, count - 2, SIZE_MAX).count, 2);
    assert_int_equal(events_after(&shop, now, count, SIZE_MAX).count, 0);
    assert_int_equal(events_after(&shop, now + 1, 0, SIZE_MAX).count, 0);
    assert_int_equal(events_after(&shop, 0, 0, 5).last, 5);
    again(&shop, &other);
    assert_int_equal(events_after(&other, 0, 0, SIZE_MAX).count, count);
    shop_event(&other, EVENT_PAYOUT_SETTLED, &subject, "payout", json_object());
    assert_int_equal(other.last.number, count + 1);
    shop_commit_wait(&other);
    shop_close(&other);
}

static void test_places_as_text(void **state)
{
    static const char *const wrong[] = {
        "", "-", "1", "1-", "-1", "1-2x", "x1-2", " 1-2", "1--2", "1-2-3", "1111111111111111111111111111-1"};
    struct event_place place = {1764311000, 42}, read;
    char text[EVENT_TEXT_SIZE];
    (void)state;
    assert_true(event_parse(event_text(&place, text), &read));
    assert_int_equal(read.time, place.time);
    assert_int_equal(read.number, place.number);
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        if (event_parse(wrong[i], &read))
            fail_msg("'%s' is taken for an event's id", wrong[i]);
}

/* Whoever may see one invoice alone cannot have all that was before it read for him. */
static void test_a_story_begins_with_its_invoice(void **state)
{
    const struct shop_invoice invoice = {.created = 5000};
    static const struct event_place cases[][2] = {{{1, 0}, {5000, 0}},
                                                  {{0, 77}, {5000, 0}},
                                                  {{4999, 8}, {5000, 0}},
                                                  {{5000, 9}, {5000, 9}},
                                                  {{6000, 3}, {6000, 3}}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct event_place place = shop_event_place_of(&invoice, &cases[i][0]);
        assert_int_equal(place.time, cases[i][1].time);
        assert_int_equal(place.number, cases[i][1].number);
    }
}

static void test_names_of_objects(void **state)
{
    struct object_id id = object_id_random(), read;
    char text[OBJECT_TEXT_SIZE];
    (void)state;
    object_text(PREFIX_INVOICE, &id, text);
    assert_true(object_parse(PREFIX_INVOICE, text, &read) && object_equal(&id, &read));
    assert_false(object_parse(PREFIX_PAYMENT, text, &read));
    assert_false(object_parse(PREFIX_INVOICE, NULL, &read));
    text[10] = 'A';
    assert_false(object_parse(PREFIX_INVOICE, text, &read));
    text[10] = '\0';
    assert_false(object_parse(PREFIX_INVOICE, text, &read));
}

static bool count_row(void *context, const struct history_row *row)
{
    struct seen *seen = context;
    seen->first = seen->count == 0 ? row->place.number : seen->first;
    seen->last = row->place.number;
    assert_string_equal(row->memo, "a memo");
    return ++seen->count < seen->count_max;
}

static void test_history_in_pages(void **state)
{
    struct shop shop;
    struct history_row row = {.kind = HISTORY_REFUND, .amount = 5, .memo = "a memo", .external_id = "o1"};
    struct seen seen = {.count_max = 4}, rest = {.count_max = SIZE_MAX};
    (void)state;
    shop_make(&shop, memory_journal_create());
    for (size_t i = 0; i < 10; i++)
        shop_history_add(&shop, &row);
    shop_commit_wait(&shop);
    assert_true(shop_history_read(&shop, 0, 1ull << 40, NULL, count_row, &seen));
    assert_int_equal(seen.count, 4);
    struct event_place place = {shop_now(&shop), seen.last};
    assert_true(shop_history_read(&shop, 0, 1ull << 40, &place, count_row, &rest));
    assert_true(rest.count == 6 ||
                rest.count == 0); /* 0: a second has passed, and the place is after them all */
    shop_close(&shop);
}

/* ---- first results ---- */

static void test_first_results_last_a_day(void **state)
{
    struct shop shop, other;
    struct hash name = {{1}}, request = {{2}};
    (void)state;
    shop_make(&shop, memory_journal_create());
    assert_null(shop_answer_find(&shop, &name));
    shop_answer_keep(&shop, &name, &request, 201, "{}");
    shop_answer_keep(&shop, &name, &request, 409, "{\"error\":1}");
    again(&shop, &other);
    const struct answer *answer = shop_answer_find(&other, &name);
    assert_non_null(answer);
    assert_int_equal(answer->status, 409);
    assert_string_equal(answer->body, "{\"error\":1}");
    assert_true(hash_equal(&answer->request, &request));
    shop_answers_prune(&other, answer->created + IDEMPOTENCY_KEPT_S - 1);
    assert_non_null(shop_answer_find(&other, &name));
    shop_answers_prune(&other, answer->created + IDEMPOTENCY_KEPT_S);
    assert_null(shop_answer_find(&other, &name));
    assert_int_equal(other.answer_bytes, 0);
    again(&other, &shop);
    assert_null(shop_answer_find(&shop, &name));
    shop_close(&shop);
}

/* ---- web hooks ---- */

/* As Python's hmac module has it. */
static void test_signature(void **state)
{
    char text[WEBHOOK_SIGNATURE_SIZE];
    (void)state;
    webhook_signature("whsec_0", 1764311000, "{}", 2, text);
    assert_string_equal(text,
                        "t=1764311000,v1=80e92672bda38e0161e689dd482463b61817ec6c0b0d5f87bcc30b5d50388720");
}

static void test_waits_grow(void **state)
{
    uint64_t sum = 0;
    uint32_t attempts = 1;
    (void)state;
    assert_int_equal(webhook_backoff_s(1), 5);
    for (; sum < WEBHOOK_RETRY_S; attempts++) {
        assert_true(webhook_backoff_s(attempts + 1) >= webhook_backoff_s(attempts));
        sum += webhook_backoff_s(attempts);
    }
    assert_in_range(attempts, 30, 60);
    assert_int_equal(webhook_backoff_s(UINT32_MAX), 7200);
}

static struct webhook *open_hook(struct shop *shop, struct journal *journal)
{
    char message[200];
    shop_init(shop, &(struct shop_options){.invoices_max = 10, .keep_days = 4, .base_url = ""}, NULL);
    struct webhooks *webhooks = webhooks_new(
        event_base_new(), shop, &(struct webhooks_options){.allow = "a.example"}, message, sizeof(message));
    assert_non_null(webhooks);
    shop->journal = journal;
    ensure(journal_recover(journal, visit_record, shop));
    struct webhook *webhook = webhook_at(webhooks, 0);
    return webhook != NULL
               ? webhook
               : webhook_create(webhooks, "http://a.example/", UINT32_MAX, message, sizeof(message));
}

static struct journal *close_hook(struct shop *shop, struct webhook *webhook)
{
    struct webhooks *webhooks = webhook->webhooks;
    struct event_base *base = webhooks->base;
    struct journal *journal = shop->journal;
    shop_commit_wait(shop);
    shop->journal = NULL;
    webhooks_free(webhooks);
    event_base_free(base);
    shop_close(shop);
    memory_journal_crash(journal, memory_journal_appended(journal));
    return journal;
}

static struct delivery *put(struct webhook *webhook, uint64_t number, uint64_t admitted)
{
    struct delivery *delivery = xcalloc(1, sizeof(*delivery));
    delivery->place = (struct event_place){1000, number};
    delivery->admitted = admitted;
    webhook_put_delivery(webhook, delivery);
    return delivery;
}

/* Three days of refusals make a dead letter, which a restart keeps; an answer of 2xx ends it. */
static void test_dead_letters(void **state)
{
    struct shop shop;
    (void)state;
    log_setup("test", LOG_ERROR, false);
    struct webhook *webhook = open_hook(&shop, memory_journal_create());
    uint64_t now = shop_now(&shop);
    struct delivery *young = put(webhook, 1, now - WEBHOOK_RETRY_S + 60);
    struct delivery *old = put(webhook, 2, now - WEBHOOK_RETRY_S);
    webhook_judge(webhook, young, 500, "no");
    webhook_judge(webhook, old, 0, "nobody there");
    assert_false(young->dead);
    assert_in_range(young->next_at, now + 5, now + 10);
    assert_true(old->dead);
    assert_int_equal(webhooks_figures(webhook->webhooks).dead, 1);
    assert_int_equal(webhooks_figures(webhook->webhooks).pending, 1);

    webhook = open_hook(&shop, close_hook(&shop, webhook));
    assert_int_equal(webhook->dead_count, 1);
    assert_int_equal(webhook->dead->place.number, 2);
    assert_int_equal(webhook->pending, 1);
    webhook_judge(webhook, webhook->lanes->list, 204, "");
    assert_int_equal(webhook->pending, 0);

    /* Only so many: the oldest give way. */
    for (uint64_t i = 0; i < WEBHOOK_DEAD_MAX; i++)
        webhook_judge(webhook, put(webhook, 3 + i, now - WEBHOOK_RETRY_S), 500, "no");
    assert_int_equal(webhook->dead_count, WEBHOOK_DEAD_MAX);
    assert_int_equal(webhook->dead->place.number, 3);
    journal_close(close_hook(&shop, webhook));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_records_that_are_damaged_are_refused),
        cmocka_unit_test(test_a_failed_refund_counts_until_it_is_back),
        cmocka_unit_test(test_invoices_expire_in_their_order),
        cmocka_unit_test(test_what_is_over_is_let_go_and_nothing_else),
        cmocka_unit_test(test_events_are_told_once_durable_from_memory_and_disk),
        cmocka_unit_test(test_places_as_text),
        cmocka_unit_test(test_a_story_begins_with_its_invoice),
        cmocka_unit_test(test_names_of_objects),
        cmocka_unit_test(test_history_in_pages),
        cmocka_unit_test(test_first_results_last_a_day),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_waits_grow),
        cmocka_unit_test(test_dead_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
