#include "hub/history.h"

#include <inttypes.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"

#define HISTORY_RECORD_VERSION 3

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
    if (item->leads)
        buffer_append(batch, item->more, item->more_count * sizeof(item->payee.id));
    else
        write_content(item, batch);
    record_end(batch, mark);
}

void history_leads_end(struct history_leads *leads, struct buffer *batch)
{
    if (!leads->begun)
        return;
    leads->item.more = leads->more.data;
    history_write(&leads->item, batch);
    buffer_clear(&leads->more);
    leads->begun = false;
}

void history_lead(struct history_leads *leads, const struct address *payee, uint64_t time,
                  const struct payment_id *payee_id, struct buffer *batch)
{
    struct history_item *item = &leads->item;
    if (leads->begun && item->time == time && address_equal(&item->owner, payee) &&
        item->more_count + 1 < HISTORY_LEADS_MAX) {
        buffer_append(&leads->more, payee_id->bytes, sizeof(payee_id->bytes));
        item->more_count++;
        return;
    }
    history_leads_end(leads, batch);
    leads->begun = true;
    *item = (struct history_item){.owner = *payee, .time = time, .received = true, .leads = true};
    item->payee.id = *payee_id;
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

static bool read_leads(struct reader *reader, struct history_item *out)
{
    out->more_count = reader->left / sizeof(struct payment_id);
    out->more = reader_take(reader, out->more_count * sizeof(struct payment_id));
    return reader_done(reader) && out->more_count < HISTORY_LEADS_MAX;
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
    return out->leads ? read_leads(&reader, out) : read_content(&reader, flags, out);
}

size_t history_count(const struct record *record)
{
    struct history_item item;
    return history_read(record, &item) ? 1 + item.more_count : 0;
}

bool history_take(void *context, const struct record *record)
{
    struct history_found *found = context;
    found->good = history_read(record, &found->item) && !found->item.leads;
    return true;
}

bool history_look(struct journal *journal, const struct record *record, size_t number,
                  struct history_item *out)
{
    if (!history_read(record, out) || number > out->more_count)
        return false;
    if (!out->leads)
        return true;
    if (number > 0)
        memcpy(out->payee.id.bytes, out->more + (number - 1) * sizeof(out->payee.id),
               sizeof(out->payee.id.bytes));
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
    const struct history_request *request;
    uint8_t last[HISTORY_CURSOR_BYTES];
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

static void show(struct page *page, const struct history_item *item)
{
    buffer_printf(
        page->out,
        "%s{\"time\":%" PRIu64 ",\"direction\":\"%s\",\"state\":\"%s\",\"locked\":%s,\"amount\":%" PRIu64
        ",\"fee\":%" PRIu64 ",\"expiry\":%" PRIu64 ",\"code\":%" PRIu64,
        page->count == 0 ? "" : ",", item->time, item->received ? "in" : "out", state_text(item),
        item->is_locked ? "true" : "false", item->amount.units, item->fee.units, item->expiry, item->code);
    buffer_printf(
        page->out, ",\"id\":\"%s\"",
        payment_id_text(item->received ? &item->payee.id : &item->payer.id, (char[PAYMENT_ID_TEXT_SIZE]){0}));
    put_hex(page->out, "peer", item->peer.bytes, sizeof(item->peer.bytes));
    put_hex(page->out, "asset", item->asset.bytes, sizeof(item->asset.bytes));
    put_hex(page->out, "condition", item->condition.bytes, sizeof(item->condition.bytes));
    if (item->witness.length > 0)
        put_hex(page->out, "witness", item->witness.bytes, item->witness.length);
    buffer_printf(page->out, "}");
    page->count++;
}

static bool page_visit(void *context, const struct record *record)
{
    struct page *page = context;
    const struct history_request *request = page->request;
    size_t count = history_count(record), number = 0;
    page->good = count > 0;
    if (request->has_after && record->key_length == sizeof(request->after) &&
        memcmp(record->key, request->after, sizeof(request->after)) == 0)
        number = (size_t)request->after_number + 1;
    for (; page->good && number < count; number++) {
        struct history_item item;
        page->more = page->count == page->limit; /* there is one more than asked for */
        if (page->more)
            return false;
        page->good = history_look(page->journal, record, number, &item);
        memcpy(page->last, record->key + RECORD_OWNER_BYTES, HISTORY_KEY_BYTES - RECORD_OWNER_BYTES);
        store_be16(page->last + HISTORY_KEY_BYTES - RECORD_OWNER_BYTES, (uint16_t)number);
        if (page->good && item.state != 0)
            show(page, &item);
    }
    return page->good;
}

bool history_page(struct journal *journal, const struct history_request *request, struct buffer *out)
{
    char text[ADDRESS_TEXT_SIZE], next[2 * HISTORY_CURSOR_BYTES + 1];
    uint8_t after[HISTORY_KEY_BYTES];
    struct archive_query query = {.type = RECORD_HISTORY, .since = request->since, .until = request->until};
    memcpy(query.owner, request->client.bytes, sizeof(query.owner));
    if (request->has_after) {
        /* The record itself once more, if there may be more in it: it comes right behind what would be its payer's. */
        memcpy(after, request->after, sizeof(after));
        after[sizeof(after) - 1] = 0;
        query.after = after;
        query.after_length = sizeof(after);
    }
    struct page page = {
        .journal = journal, .out = out, .limit = request->limit, .request = request, .good = true};
    buffer_printf(out, "{\"client\":\"%s\",\"payments\":[", address_text(&request->client, text));
    bool read = journal_archive_read(journal, &query, page_visit, &page);
    hex_encode(page.last, sizeof(page.last), next);
    if (page.more)
        buffer_printf(out, "],\"next\":\"%s\"}\n", next);
    else
        buffer_printf(out, "],\"next\":null}\n");
    return read && page.good;
}
