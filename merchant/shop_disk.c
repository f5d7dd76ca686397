/* The shop's records (docs/journal.md). On disk: do not renumber.
 *
 *     128 shop     key: one zero byte   next number u64, newest event: time u64, number u64
 *     129 invoice  key: id 16           number u64, created u64, expires u64, ended u64, asset 20, amount u64, secret
 *                                       hash 32, state u8, text, memo, external id, metadata
 *     130 payment  key: id 16           number u64, invoice 16, amount u64, received u64, secret known u8, secret 32, memo
 *     131 refund   key: id 16           payment 16, created u64, ended u64, amount u64, secret hash 32, state u8, code
 *                                       u32, secret 32, invoice's text
 *     132 payout   key: id 16           number u64, asset 20, amount u64, created u64, ended u64, state u8, asked u8, code
 *                                       u32, transaction 32
 *
 * A text is its length as u16 and its bytes; 0xffff: none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/shop.h"

#define NO_TEXT 0xffff

static const uint8_t ONLY_KEY[1] = {0};

void put_text(struct buffer *out, const char *text)
{
    size_t length = text != NULL ? strlen(text) : NO_TEXT;
    ensure(text == NULL || length < NO_TEXT);
    buffer_u16(out, (uint16_t)length);
    if (text != NULL)
        buffer_append(out, text, length);
}

char *take_text(struct reader *reader)
{
    uint16_t length = reader_u16(reader);
    if (!reader->ok || length == NO_TEXT)
        return NULL;
    const uint8_t *bytes = reader_take(reader, length);
    if (bytes == NULL)
        return NULL;
    char *text = xmalloc((size_t)length + 1);
    memcpy(text, bytes, length);
    text[length] = '\0';
    return text;
}

/* ---- writing ---- */

void shop_write_meta(struct shop *shop)
{
    size_t mark = record_begin(&shop->batch, RECORD_SHOP, ONLY_KEY, sizeof(ONLY_KEY));
    buffer_u64(&shop->batch, shop->next_number);
    buffer_u64(&shop->batch, shop->last.time);
    buffer_u64(&shop->batch, shop->last.number);
    record_end(&shop->batch, mark);
}

void shop_write_invoice(struct shop *shop, const struct shop_invoice *invoice)
{
    struct buffer *batch = &shop->batch;
    size_t mark = record_begin(batch, RECORD_INVOICE, invoice->id.bytes, sizeof(invoice->id.bytes));
    buffer_u64(batch, invoice->number);
    buffer_u64(batch, invoice->created);
    buffer_u64(batch, invoice->expires);
    buffer_u64(batch, invoice->ended);
    buffer_append(batch, invoice->asset.bytes, sizeof(invoice->asset.bytes));
    buffer_u64(batch, invoice->amount);
    buffer_append(batch, invoice->secret_hash.bytes, sizeof(invoice->secret_hash.bytes));
    buffer_u8(batch, (uint8_t)invoice->state);
    put_text(batch, invoice->text);
    put_text(batch, invoice->memo);
    put_text(batch, invoice->external_id);
    put_text(batch, invoice->metadata);
    record_end(batch, mark);
}

void shop_write_payment(struct shop *shop, const struct payment *payment)
{
    struct buffer *batch = &shop->batch;
    size_t mark = record_begin(batch, RECORD_PAYMENT, payment->id.bytes, sizeof(payment->id.bytes));
    buffer_u64(batch, payment->number);
    buffer_append(batch, payment->invoice->id.bytes, sizeof(payment->invoice->id.bytes));
    buffer_u64(batch, payment->amount);
    buffer_u64(batch, payment->received);
    buffer_u8(batch, payment->has_secret);
    buffer_append(batch, payment->secret, sizeof(payment->secret));
    put_text(batch, payment->memo);
    record_end(batch, mark);
}

void shop_write_refund(struct shop *shop, const struct refund *refund)
{
    struct buffer *batch = &shop->batch;
    size_t mark = record_begin(batch, RECORD_REFUND, refund->id.bytes, sizeof(refund->id.bytes));
    buffer_append(batch, refund->payment->id.bytes, sizeof(refund->payment->id.bytes));
    buffer_u64(batch, refund->created);
    buffer_u64(batch, refund->ended);
    buffer_u64(batch, refund->amount);
    buffer_append(batch, refund->secret_hash.bytes, sizeof(refund->secret_hash.bytes));
    buffer_u8(batch, (uint8_t)refund->state);
    buffer_u32(batch, (uint32_t)refund->code);
    buffer_append(batch, refund->secret, sizeof(refund->secret));
    put_text(batch, refund->invoice);
    record_end(batch, mark);
}

void shop_write_payout(struct shop *shop, const struct payout *payout)
{
    struct buffer *batch = &shop->batch;
    size_t mark = record_begin(batch, RECORD_PAYOUT, payout->id.bytes, sizeof(payout->id.bytes));
    buffer_u64(batch, payout->number);
    buffer_append(batch, payout->asset.bytes, sizeof(payout->asset.bytes));
    buffer_u64(batch, payout->amount);
    buffer_u64(batch, payout->created);
    buffer_u64(batch, payout->ended);
    buffer_u8(batch, (uint8_t)payout->state);
    buffer_u8(batch, payout->asked);
    buffer_u32(batch, (uint32_t)payout->code);
    buffer_append(batch, payout->transaction.bytes, sizeof(payout->transaction.bytes));
    record_end(batch, mark);
}

void shop_write_gone(struct shop *shop, uint8_t type, const struct object_id *id)
{
    record_gone(&shop->batch, type, id->bytes, sizeof(id->bytes));
}

/* ---- reading ---- */

/* A state of which none is known is damage. */
static uint8_t take_state(struct reader *reader, uint8_t last)
{
    uint8_t state = reader_u8(reader);
    if (state > last) {
        reader->ok = false;
        return 0;
    }
    return state;
}

static void replace_text(char **text, struct reader *reader)
{
    free(*text);
    *text = take_text(reader);
}

static bool take_invoice(struct shop *shop, const struct object_id *id, struct reader *reader)
{
    struct shop_invoice *invoice = shop_invoice_find(shop, id);
    struct hash secret_hash = HASH_ZERO;
    bool is_new = invoice == NULL;
    if (is_new) {
        invoice = xcalloc(1, sizeof(*invoice));
        invoice->id = *id;
    }
    invoice->number = reader_u64(reader);
    invoice->created = reader_u64(reader);
    invoice->expires = reader_u64(reader);
    invoice->ended = reader_u64(reader);
    reader_copy(reader, invoice->asset.bytes, sizeof(invoice->asset.bytes));
    invoice->amount = reader_u64(reader);
    reader_copy(reader, secret_hash.bytes, sizeof(secret_hash.bytes));
    bool same = is_new || hash_equal(&secret_hash, &invoice->secret_hash); /* it is a table's key */
    if (is_new)
        invoice->secret_hash = secret_hash;
    invoice->state = (enum invoice_state)take_state(reader, INVOICE_CANCELLED);
    replace_text(&invoice->text, reader);
    replace_text(&invoice->memo, reader);
    replace_text(&invoice->external_id, reader);
    replace_text(&invoice->metadata, reader);
    if (is_new)
        shop_add_invoice(shop, invoice);
    return reader_done(reader) && same && invoice->text != NULL;
}

static bool take_payment(struct shop *shop, const struct object_id *id, struct reader *reader)
{
    struct object_id of;
    struct payment *payment = shop_payment_find(shop, id);
    bool is_new = payment == NULL;
    uint64_t number = reader_u64(reader);
    reader_copy(reader, of.bytes, sizeof(of.bytes));
    struct shop_invoice *invoice = reader->ok ? shop_invoice_find(shop, &of) : NULL;
    /* An invoice is paid once, and a payment stays its invoice's. */
    if (invoice == NULL || (invoice->payment != payment && (!is_new || invoice->payment != NULL)))
        return false;
    if (is_new) {
        payment = xcalloc(1, sizeof(*payment));
        payment->id = *id;
    }
    payment->number = number;
    payment->invoice = invoice;
    payment->amount = reader_u64(reader);
    payment->received = reader_u64(reader);
    payment->has_secret = take_state(reader, 1) != 0;
    reader_copy(reader, payment->secret, sizeof(payment->secret));
    replace_text(&payment->memo, reader);
    if (is_new)
        shop_add_payment(shop, payment);
    return reader_done(reader);
}

static bool take_refund(struct shop *shop, const struct object_id *id, struct reader *reader)
{
    struct object_id of;
    struct refund *refund;
    HASH_FIND(hh, shop->refunds, id, sizeof(*id), refund);
    reader_copy(reader, of.bytes, sizeof(of.bytes));
    struct payment *payment = reader->ok ? shop_payment_find(shop, &of) : NULL;
    if (payment == NULL || (refund != NULL && refund->payment != payment))
        return false;
    if (refund == NULL) {
        refund = xcalloc(1, sizeof(*refund));
        refund->id = *id;
        refund->payment = payment;
        HASH_ADD(hh, shop->refunds, id, sizeof(refund->id), refund);
        DL_APPEND(payment->refunds, refund);
    }
    refund->created = reader_u64(reader);
    refund->ended = reader_u64(reader);
    refund->amount = reader_u64(reader);
    reader_copy(reader, refund->secret_hash.bytes, sizeof(refund->secret_hash.bytes));
    refund->state = (enum refund_state)take_state(reader, REFUND_UNKNOWN);
    refund->code = (int)reader_u32(reader);
    reader_copy(reader, refund->secret, sizeof(refund->secret));
    replace_text(&refund->invoice, reader);
    return reader_done(reader) && refund->invoice != NULL;
}

static bool take_payout(struct shop *shop, const struct object_id *id, struct reader *reader)
{
    struct payout *payout;
    HASH_FIND(hh, shop->payouts, id, sizeof(*id), payout);
    bool is_new = payout == NULL;
    if (is_new) {
        payout = xcalloc(1, sizeof(*payout));
        payout->id = *id;
    }
    payout->number = reader_u64(reader);
    reader_copy(reader, payout->asset.bytes, sizeof(payout->asset.bytes));
    payout->amount = reader_u64(reader);
    payout->created = reader_u64(reader);
    payout->ended = reader_u64(reader);
    payout->state = (enum payout_state)take_state(reader, PAYOUT_UNKNOWN);
    payout->asked = take_state(reader, 1) != 0;
    payout->code = (int)reader_u32(reader);
    reader_copy(reader, payout->transaction.bytes, sizeof(payout->transaction.bytes));
    if (is_new)
        shop_add_payout(shop, payout);
    return reader_done(reader);
}

static bool take_meta(struct shop *shop, struct reader *reader)
{
    shop->next_number = reader_u64(reader);
    shop->last.time = reader_u64(reader);
    shop->last.number = reader_u64(reader);
    return reader_done(reader);
}

bool shop_read(struct shop *shop, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    struct object_id id;
    if (record->type == RECORD_SHOP)
        return !record->gone && take_meta(shop, &reader);
    if (record->type == RECORD_ANSWER)
        return shop_answer_read(shop, record);
    if (record->type > RECORD_PAYOUT)
        return shop->read_other != NULL && shop->read_other(shop->other_context, record);
    if (record->key_length != sizeof(id.bytes))
        return false;
    memcpy(id.bytes, record->key, sizeof(id.bytes));
    switch (record->type) {
    case RECORD_INVOICE:
        return record->gone ? shop_forget_invoice(shop, &id) : take_invoice(shop, &id, &reader);
    case RECORD_PAYMENT:
        return record->gone || take_payment(shop, &id, &reader);
    case RECORD_REFUND:
        return record->gone || take_refund(shop, &id, &reader);
    case RECORD_PAYOUT:
        return record->gone ? shop_forget_payout(shop, &id) : take_payout(shop, &id, &reader);
    }
    return false;
}
