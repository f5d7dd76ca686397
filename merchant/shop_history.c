/* The story of the money: one row of the archive for each payment, refund and payout, in the order in which they counted.
 *
 *     241 history  owner 0, time u64, number u64    kind u8, id 16, invoice 16, payment 16, asset 20, amount u64, memo,
 *                                                   external id
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/shop.h"

#define KEY_BYTES (RECORD_ARCHIVE_KEY_MIN + 8)

static const uint8_t NO_OWNER[RECORD_OWNER_BYTES];

static void make_key(const struct event_place *place, uint8_t key[KEY_BYTES])
{
    memcpy(key, NO_OWNER, sizeof(NO_OWNER));
    store_be64(key + RECORD_OWNER_BYTES, place->time);
    store_be64(key + RECORD_ARCHIVE_KEY_MIN, place->number);
}

void shop_history_add(struct shop *shop, const struct history_row *row)
{
    uint8_t key[KEY_BYTES];
    struct buffer *archive = &shop->archive;
    struct event_place place = {shop_now(shop), shop->next_number++};
    make_key(&place, key);
    size_t mark = record_begin(archive, RECORD_HISTORY, key, sizeof(key));
    buffer_u8(archive, (uint8_t)row->kind);
    buffer_append(archive, row->id.bytes, sizeof(row->id.bytes));
    buffer_append(archive, row->invoice.bytes, sizeof(row->invoice.bytes));
    buffer_append(archive, row->payment.bytes, sizeof(row->payment.bytes));
    buffer_append(archive, row->asset.bytes, sizeof(row->asset.bytes));
    buffer_u64(archive, row->amount);
    put_text(archive, row->memo);
    put_text(archive, row->external_id);
    record_end(archive, mark);
    shop_write_meta(shop);
}

struct reading {
    history_visit *visit;
    void *context;
    bool damaged;
};

static void take_into(struct reader *reader, char *out, size_t size)
{
    char *text = take_text(reader);
    snprintf(out, size, "%s", text != NULL ? text : "");
    free(text);
}

static bool visit_record(void *context, const struct record *record)
{
    struct reading *reading = context;
    struct reader reader = reader_of(record->value, record->value_length);
    struct history_row row = {.kind = HISTORY_PAYMENT};
    if (record->key_length != KEY_BYTES || record->value_length == 0 || record->value[0] > HISTORY_PAYOUT) {
        reading->damaged = true;
        return false;
    }
    row.place = (struct event_place){load_be64(record->key + RECORD_OWNER_BYTES),
                                     load_be64(record->key + RECORD_ARCHIVE_KEY_MIN)};
    row.kind = (enum history_kind)reader_u8(&reader);
    reader_copy(&reader, row.id.bytes, sizeof(row.id.bytes));
    reader_copy(&reader, row.invoice.bytes, sizeof(row.invoice.bytes));
    reader_copy(&reader, row.payment.bytes, sizeof(row.payment.bytes));
    reader_copy(&reader, row.asset.bytes, sizeof(row.asset.bytes));
    row.amount = reader_u64(&reader);
    take_into(&reader, row.memo, sizeof(row.memo));
    take_into(&reader, row.external_id, sizeof(row.external_id));
    reading->damaged = !reader_done(&reader);
    return !reading->damaged && reading->visit(reading->context, &row);
}

bool shop_history_read(const struct shop *shop, uint64_t since, uint64_t until,
                       const struct event_place *after, history_visit *visit, void *context)
{
    uint8_t key[KEY_BYTES];
    struct reading reading = {.visit = visit, .context = context};
    struct archive_query query = {.type = RECORD_HISTORY, .since = since, .until = until};
    if (after != NULL) {
        make_key(after, key);
        query.after = key;
        query.after_length = sizeof(key);
    }
    return journal_archive_read(shop->journal, &query, visit_record, &reading) && !reading.damaged;
}
