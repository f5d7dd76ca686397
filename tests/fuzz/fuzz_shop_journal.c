/* A shop's journal: records as they may stand on a disk that went wrong, or that another program wrote.
 *
 *     input: a batch of records
 *
 * Either a record is refused, or what was read is consistent: written again, it is read as the same. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "merchant/shop.h"

static bool read_all(struct shop *shop, const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    struct record record;
    shop_init(shop, &(struct shop_options){.invoices_max = 1000, .keep_days = 4, .base_url = ""}, NULL);
    while (record_next(&reader, &record))
        if (!record_is_archive(&record) && !shop_read(shop, &record))
            return false;
    if (!reader.ok)
        return false;
    shop_sort_lists(shop);
    shop_answers_sort(shop);
    return true;
}

static void write_all(struct shop *shop, struct buffer *out)
{
    buffer_clear(&shop->batch);
    shop_write_meta(shop);
    for (size_t i = 0; i < shop->invoice_count; i++)
        shop_write_invoice(shop, shop->invoice_list[i]);
    for (size_t i = 0; i < shop->payment_count; i++) {
        const struct payment *payment = shop->payment_list[i];
        shop_write_payment(shop, payment);
        for (const struct refund *refund = payment->refunds; refund != NULL; refund = refund->next) {
            ensure(refund->payment == payment);
            shop_write_refund(shop, refund);
        }
    }
    for (size_t i = 0; i < shop->payout_count; i++)
        shop_write_payout(shop, shop->payout_list[i]);
    buffer_append(out, shop->batch.data, shop->batch.length);
    buffer_clear(&shop->batch);
}

static void check_lists(const struct shop *shop)
{
    for (size_t i = 0; i < shop->invoice_count; i++) {
        const struct shop_invoice *invoice = shop->invoice_list[i];
        ensure(shop_invoice_find(shop, &invoice->id) == invoice);
        ensure(i == 0 || shop->invoice_list[i - 1]->number <= invoice->number);
        ensure(invoice->payment == NULL || invoice->payment->invoice == invoice);
    }
    for (size_t i = 0; i < shop->payment_count; i++)
        ensure(shop_payment_find(shop, &shop->payment_list[i]->id) == shop->payment_list[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shop shop, other;
    struct buffer first = {0}, second = {0};
    if (read_all(&shop, data, size)) {
        check_lists(&shop);
        write_all(&shop, &first);
        ensure(read_all(&other, first.data, first.length));
        check_lists(&other);
        write_all(&other, &second);
        ensure(first.length == second.length);
        shop_close(&other);
        shop_prune(&shop, UINT64_MAX);
        buffer_clear(&shop.batch);
    }
    shop_close(&shop);
    buffer_free(&first);
    buffer_free(&second);
    return 0;
}
