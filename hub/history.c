#include "hub/history.h"

#include <inttypes.h>
#include <string.h>

#include "base/ensure.h"

#define HISTORY_RECORD_VERSION 1

enum { FLAG_RECEIVED = 1, FLAG_LOCKED = 2, FLAGS_ALL = 3 };

/* ---- records ---- */

void history_write(const struct history_item *item, struct buffer *batch)
{
    uint8_t key[HISTORY_KEY_BYTES];
    memcpy(key, item->owner.bytes, sizeof(item->owner.bytes));
    store_be64(key + RECORD_OWNER_BYTES, item->time);
    memcpy(key + RECORD_OWNER_BYTES + 8, item->id.bytes, sizeof(item->id.bytes));
    size_t mark = record_begin(batch, RECORD_HISTORY, key, sizeof(key));
    buffer_u8(batch, HISTORY_RECORD_VERSION);
    buffer_u8(batch, (uint8_t)((item->received ? FLAG_RECEIVED : 0) | (item->is_locked ? FLAG_LOCKED : 0)));
    buffer_u8(batch, item->state);
    buffer_u8(batch, item->kind);
    buffer_append(batch, item->peer.bytes, sizeof(item->peer.bytes));
    buffer_append(batch, item->asset.bytes, sizeof(item->asset.bytes));
    buffer_u64(batch, item->amount.units);
    buffer_u64(batch, item->fee.units);
    buffer_u64(batch, item->expiry);
    buffer_u64(batch, item->code);
    buffer_append(batch, item->condition.bytes, sizeof(item->condition.bytes));
    buffer_u8(batch, item->witness.length);
    buffer_append(batch, item->witness.bytes, item->witness.length);
    record_end(batch, mark);
}

bool history_read(const struct record *record, struct history_item *out)
{
    if (record->type != RECORD_HISTORY || record->gone || record->key_length != HISTORY_KEY_BYTES)
        return false;
    struct reader key = reader_of(record->key, record->key_length);
    struct reader reader = reader_of(record->value, record->value_length);
    reader_copy(&key, out->owner.bytes, sizeof(out->owner.bytes));
    out->time = reader_u64(&key);
    reader_copy(&key, out->id.bytes, sizeof(out->id.bytes));
    uint8_t version = reader_u8(&reader), flags = reader_u8(&reader);
    out->received = (flags & FLAG_RECEIVED) != 0;
    out->is_locked = (flags & FLAG_LOCKED) != 0;
    out->state = reader_u8(&reader);
    out->kind = reader_u8(&reader);
    reader_copy(&reader, out->peer.bytes, sizeof(out->peer.bytes));
    reader_copy(&reader, out->asset.bytes, sizeof(out->asset.bytes));
    out->amount.units = reader_u64(&reader);
    out->fee.units = reader_u64(&reader);
    out->expiry = reader_u64(&reader);
    out->code = reader_u64(&reader);
    reader_copy(&reader, out->condition.bytes, sizeof(out->condition.bytes));
    out->witness.length = reader_u8(&reader);
    if (version != HISTORY_RECORD_VERSION || flags > FLAGS_ALL || out->witness.length > WITNESS_BYTES_MAX)
        return false;
    reader_copy(&reader, out->witness.bytes, out->witness.length);
    return reader_done(&reader);
}

/* ---- a page ---- */

struct page {
    struct buffer *out;
    uint64_t count, limit;
    bool good, more;
    uint8_t last[HISTORY_KEY_BYTES - RECORD_OWNER_BYTES];
};

static const char *state_text(const struct history_item *item)
{
    switch ((enum payment_state)item->state) {
    case PAYMENT_REVEALED:
        return "completed";
    case PAYMENT_SIGNED:
        return "paid"; /* the payee's, who never gave a receipt */
    case PAYMENT_REFUNDED:
        return "refunded";
    case PAYMENT_FAILED:
        return "failed";
    case PAYMENT_LAPSED:
        return "expired";
    case PAYMENT_WAITING:
    case PAYMENT_OFFERED:
    case PAYMENT_FORWARDED:
    case PAYMENT_CANCELLING:
        break;
    }
    return "unknown";
}

static void put_hex(struct buffer *out, const char *name, const uint8_t *bytes, size_t length)
{
    char text[2 * WITNESS_BYTES_MAX + 1];
    ensure(length <= WITNESS_BYTES_MAX);
    hex_encode(bytes, length, text);
    buffer_printf(out, ",\"%s\":\"0x%s\"", name, text);
}

static bool page_visit(void *context, const struct record *record)
{
    struct page *page = context;
    struct history_item item;
    page->more = page->count == page->limit; /* there is one more than asked for */
    page->good = !page->more && history_read(record, &item);
    if (!page->good) {
        page->good = page->more;
        return false;
    }
    buffer_printf(
        page->out,
        "%s{\"time\":%" PRIu64 ",\"direction\":\"%s\",\"state\":\"%s\",\"locked\":%s,\"amount\":%" PRIu64
        ",\"fee\":%" PRIu64 ",\"expiry\":%" PRIu64 ",\"code\":%" PRIu64,
        page->count == 0 ? "" : ",", item.time, item.received ? "in" : "out", state_text(&item),
        item.is_locked ? "true" : "false", item.amount.units, item.fee.units, item.expiry, item.code);
    buffer_printf(page->out, ",\"id\":\"%s\"", payment_id_text(&item.id, (char[PAYMENT_ID_TEXT_SIZE]){0}));
    put_hex(page->out, "peer", item.peer.bytes, sizeof(item.peer.bytes));
    put_hex(page->out, "asset", item.asset.bytes, sizeof(item.asset.bytes));
    put_hex(page->out, "condition", item.condition.bytes, sizeof(item.condition.bytes));
    if (item.witness.length > 0)
        put_hex(page->out, "witness", item.witness.bytes, item.witness.length);
    buffer_printf(page->out, "}");
    memcpy(page->last, record->key + RECORD_OWNER_BYTES, sizeof(page->last));
    page->count++;
    return true;
}

bool history_page(struct journal *journal, const struct history_request *request, struct buffer *out)
{
    char text[ADDRESS_TEXT_SIZE], next[2 * HISTORY_KEY_BYTES + 1];
    struct archive_query query = {.type = RECORD_HISTORY, .since = request->since, .until = request->until};
    memcpy(query.owner, request->client.bytes, sizeof(query.owner));
    if (request->has_after) {
        query.after = request->after;
        query.after_length = sizeof(request->after);
    }
    struct page page = {.out = out, .limit = request->limit, .good = true};
    buffer_printf(out, "{\"client\":\"%s\",\"payments\":[", address_text(&request->client, text));
    bool read = journal_archive_read(journal, &query, page_visit, &page);
    hex_encode(page.last, sizeof(page.last), next);
    if (page.more)
        buffer_printf(out, "],\"next\":\"%s\"}\n", next);
    else
        buffer_printf(out, "],\"next\":null}\n");
    return read && page.good;
}
