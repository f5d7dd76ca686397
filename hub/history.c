#include "hub/history.h"

#include <inttypes.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"

#define HISTORY_RECORD_VERSION 2

enum { FLAG_LEADS = 1, FLAG_LOCKED = 2, FLAG_WITNESS = 4, FLAG_CONDITION = 8, FLAGS_ALL = 15 };

/* ---- records ---- */

void history_rest(const struct payment_id *payee_id, bool received, uint8_t out[HISTORY_REST_BYTES])
{
    memcpy(out, payee_id->bytes, sizeof(payee_id->bytes));
    out[sizeof(payee_id->bytes)] = received;
}

/* The secret says the condition, too. */
static bool condition_follows(const struct history_item *item)
{
    return item->kind == LOCK_SECRET && item->witness.length == WITNESS_SECRET_BYTES;
}

static void write_content(const struct history_item *item, struct buffer *batch)
{
    buffer_u8(batch, item->state);
    buffer_u8(batch, item->kind);
    buffer_u8(batch, item->role);
    buffer_u16(batch, item->other_shard);
    buffer_u8(batch, (uint8_t)item->code);
    buffer_append(batch, &item->payer, sizeof(item->payer));
    buffer_append(batch, &item->payee.channel, sizeof(item->payee.channel));
    buffer_append(batch, item->peer.bytes, sizeof(item->peer.bytes));
    buffer_append(batch, item->asset.bytes, sizeof(item->asset.bytes));
    buffer_u64(batch, item->amount.units);
    buffer_u64(batch, item->fee.units);
    buffer_u64(batch, item->expiry);
    if (!condition_follows(item))
        buffer_append(batch, item->condition.bytes, sizeof(item->condition.bytes));
    if (item->witness.length > 0) {
        buffer_u8(batch, item->witness.length);
        buffer_append(batch, item->witness.bytes, item->witness.length);
    }
}

void history_write(const struct history_item *item, struct buffer *batch)
{
    uint8_t key[HISTORY_KEY_BYTES];
    memcpy(key, item->owner.bytes, sizeof(item->owner.bytes));
    store_be64(key + RECORD_OWNER_BYTES, item->time);
    history_rest(&item->payee.id, item->received, key + RECORD_ARCHIVE_KEY_MIN);
    uint8_t type = item->leads ? RECORD_HISTORY : RECORD_HISTORY | RECORD_FINDABLE;
    size_t mark = record_begin(batch, type, key, sizeof(key));
    buffer_u8(batch, HISTORY_RECORD_VERSION);
    buffer_u8(batch, (uint8_t)((item->leads ? FLAG_LEADS : 0) | (item->is_locked ? FLAG_LOCKED : 0) |
                               (item->witness.length > 0 ? FLAG_WITNESS : 0) |
                               (condition_follows(item) ? 0 : FLAG_CONDITION)));
    if (!item->leads)
        write_content(item, batch);
    record_end(batch, mark);
}

static bool read_content(struct reader *reader, uint8_t flags, struct history_item *out)
{
    out->state = reader_u8(reader);
    out->kind = reader_u8(reader);
    out->role = reader_u8(reader);
    out->other_shard = reader_u16(reader);
    out->code = reader_u8(reader);
    reader_copy(reader, &out->payer, sizeof(out->payer));
    reader_copy(reader, &out->payee.channel, sizeof(out->payee.channel));
    reader_copy(reader, out->peer.bytes, sizeof(out->peer.bytes));
    reader_copy(reader, out->asset.bytes, sizeof(out->asset.bytes));
    out->amount.units = reader_u64(reader);
    out->fee.units = reader_u64(reader);
    out->expiry = reader_u64(reader);
    if ((flags & FLAG_CONDITION) != 0)
        reader_copy(reader, out->condition.bytes, sizeof(out->condition.bytes));
    if ((flags & FLAG_WITNESS) != 0)
        out->witness.length = reader_u8(reader);
    if (out->witness.length > WITNESS_BYTES_MAX)
        return false;
    reader_copy(reader, out->witness.bytes, out->witness.length);
    if ((flags & FLAG_CONDITION) == 0)
        out->condition = sha256(out->witness.bytes, out->witness.length);
    return reader_done(reader) && out->role <= HALF_OF_PAYEE && out->state <= PAYMENT_LAPSED;
}

bool history_read(const struct record *record, struct history_item *out)
{
    *out = (struct history_item){0};
    if ((record->type & ~RECORD_FINDABLE) != RECORD_HISTORY || record->gone ||
        record->key_length != HISTORY_KEY_BYTES)
        return false;
    struct reader key = reader_of(record->key, record->key_length);
    struct reader reader = reader_of(record->value, record->value_length);
    reader_copy(&key, out->owner.bytes, sizeof(out->owner.bytes));
    out->time = reader_u64(&key);
    reader_copy(&key, out->payee.id.bytes, sizeof(out->payee.id.bytes));
    out->received = reader_u8(&key) != 0;
    uint8_t version = reader_u8(&reader), flags = reader_u8(&reader);
    if (version != HISTORY_RECORD_VERSION || flags > FLAGS_ALL)
        return false;
    out->leads = (flags & FLAG_LEADS) != 0;
    out->is_locked = (flags & FLAG_LOCKED) != 0;
    return out->leads ? reader_done(&reader) : read_content(&reader, flags, out);
}

bool history_take(void *context, const struct record *record)
{
    struct history_found *found = context;
    found->good = history_read(record, &found->item) && !found->item.leads;
    return true;
}

bool history_look(struct journal *journal, const struct record *record, struct history_item *out)
{
    if (!history_read(record, out))
        return false;
    if (!out->leads)
        return true;
    struct history_found lead = {.good = false};
    uint8_t rest[HISTORY_REST_BYTES];
    history_rest(&out->payee.id, false, rest);
    if (!journal_find(journal, RECORD_HISTORY, rest, sizeof(rest), history_take, &lead))
        return true; /* its day was dropped since this record was read: state 0 */
    if (!lead.good)
        return false;
    const struct history_item own = *out;
    *out = lead.item;
    out->owner = own.owner;
    out->peer = lead.item.owner;
    out->received = true;
    return true;
}

/* ---- a page ---- */

struct page {
    struct journal *journal;
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
    case PAYMENT_WAITING: /* the payer's half: the other shard said nothing else */
        return "paid";
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
    page->good = !page->more && history_look(page->journal, record, &item);
    if (!page->good) {
        page->good = page->more;
        return false;
    }
    memcpy(page->last, record->key + RECORD_OWNER_BYTES, sizeof(page->last));
    if (item.state == 0)
        return true;
    buffer_printf(
        page->out,
        "%s{\"time\":%" PRIu64 ",\"direction\":\"%s\",\"state\":\"%s\",\"locked\":%s,\"amount\":%" PRIu64
        ",\"fee\":%" PRIu64 ",\"expiry\":%" PRIu64 ",\"code\":%" PRIu64,
        page->count == 0 ? "" : ",", item.time, item.received ? "in" : "out", state_text(&item),
        item.is_locked ? "true" : "false", item.amount.units, item.fee.units, item.expiry, item.code);
    buffer_printf(
        page->out, ",\"id\":\"%s\"",
        payment_id_text(item.received ? &item.payee.id : &item.payer.id, (char[PAYMENT_ID_TEXT_SIZE]){0}));
    put_hex(page->out, "peer", item.peer.bytes, sizeof(item.peer.bytes));
    put_hex(page->out, "asset", item.asset.bytes, sizeof(item.asset.bytes));
    put_hex(page->out, "condition", item.condition.bytes, sizeof(item.condition.bytes));
    if (item.witness.length > 0)
        put_hex(page->out, "witness", item.witness.bytes, item.witness.length);
    buffer_printf(page->out, "}");
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
    struct page page = {.journal = journal, .out = out, .limit = request->limit, .good = true};
    buffer_printf(out, "{\"client\":\"%s\",\"payments\":[", address_text(&request->client, text));
    bool read = journal_archive_read(journal, &query, page_visit, &page);
    hex_encode(page.last, sizeof(page.last), next);
    if (page.more)
        buffer_printf(out, "],\"next\":\"%s\"}\n", next);
    else
        buffer_printf(out, "],\"next\":null}\n");
    return read && page.good;
}
