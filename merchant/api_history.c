/* The story of the money, oldest first, as JSON or CSV. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ensure.h"
#include "merchant/api.h"
#include "merchant/render.h"

struct listing {
    const struct shop *shop;
    json_t *rows;      /* JSON, or */
    struct buffer csv; /* CSV */
    bool as_csv;
    uint64_t count, limit;
    struct event_place last;
    bool more;
};

static const char *const kind_names[] = {"payment", "refund", "payout"};
static const char *const prefixes[] = {PREFIX_PAYMENT, PREFIX_REFUND, PREFIX_PAYOUT};

/* RFC 4180; and a spreadsheet takes a cell that begins so for a formula: it gets an apostrophe. */
static void put_cell(struct buffer *out, const char *text, bool last)
{
    if (text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL)
        buffer_printf(out, "\"'");
    else
        buffer_printf(out, "\"");
    for (; *text != '\0'; text++)
        buffer_printf(out, *text == '"' ? "\"\"" : "%c", *text);
    buffer_printf(out, last ? "\"\r\n" : "\",");
}

static void put_row(struct listing *listing, const struct history_row *row)
{
    char when[32], id[OBJECT_TEXT_SIZE], invoice[OBJECT_TEXT_SIZE] = "", amount[AMOUNT_TEXT_SIZE];
    time_t seconds = (time_t)row->place.time;
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    const struct asset_info *asset = asset_by_address(listing->shop->session, row->asset.bytes);
    if (!object_equal(&row->invoice, &OBJECT_NONE))
        object_text(PREFIX_INVOICE, &row->invoice, invoice);
    buffer_printf(&listing->csv, "%s,%s,%s,%s%s,%s%llu,%s,%s,", when, kind_names[row->kind],
                  object_text(prefixes[row->kind], &row->id, id), row->kind == HISTORY_PAYMENT ? "" : "-",
                  amount_text(amount_of(row->amount), asset != NULL ? asset->decimals : 0, amount),
                  row->kind == HISTORY_PAYMENT ? "" : "-", (unsigned long long)row->amount,
                  asset != NULL ? asset->symbol : "", invoice);
    put_cell(&listing->csv, row->external_id, false);
    put_cell(&listing->csv, row->memo, true);
}

static bool visit(void *context, const struct history_row *row)
{
    struct listing *listing = context;
    if (listing->count == listing->limit) {
        listing->more = true;
        return false;
    }
    listing->count++;
    listing->last = row->place;
    if (listing->as_csv) {
        put_row(listing, row);
        return true;
    }
    const struct shop *shop = listing->shop;
    json_array_append_new(listing->rows,
                          json_pack("{s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "id",
                                    render_id(prefixes[row->kind], &row->id), "kind", kind_names[row->kind],
                                    "time", (json_int_t)row->place.time, "amount",
                                    render_amount(shop, &row->asset, row->amount), "amount_units",
                                    render_units(row->amount), "asset", render_asset(shop, &row->asset),
                                    "invoice", render_id(PREFIX_INVOICE, &row->invoice), "payment",
                                    render_id(PREFIX_PAYMENT, &row->payment), "external_id", row->external_id,
                                    "memo", row->memo));
    return true;
}

static void send_csv(struct call *call, struct listing *listing)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(call->request);
    char next[EVENT_TEXT_SIZE];
    if (listing->more)
        evhttp_add_header(headers, "Rill-Next-Cursor", event_text(&listing->last, next));
    evhttp_add_header(headers, "Content-Disposition", "attachment; filename=\"history.csv\"");
    http_reply_text(call->request, 200, "text/csv; charset=utf-8", (const char *)listing->csv.data,
                    listing->csv.length);
    call->taken = true;
}

void api_history(struct call *call)
{
    static const char *const parameters[] = {"format", "since", "until", "limit", "cursor", NULL};
    struct listing listing = {.shop = call->api->shop, .limit = PAGE_DEFAULT};
    struct event_place after;
    uint64_t since = 0, until = (uint64_t)1 << 40;
    const char *format = call_query(call, "format"), *cursor = call_query(call, "cursor");
    if (!call_query_members(call, parameters) ||
        !call_query_number(call, "since", 0, (uint64_t)1 << 40, &since) ||
        !call_query_number(call, "until", 0, (uint64_t)1 << 40, &until) ||
        !call_query_number(call, "limit", 1, PAGE_MAX, &listing.limit))
        return;
    if ((cursor != NULL && !event_parse(cursor, &after)) ||
        (format != NULL && strcmp(format, "json") != 0 && strcmp(format, "csv") != 0)) {
        (void)call_fail(call, 400, "invalid_request",
                        "'cursor' is not one that was given, or 'format' not json or csv");
        return;
    }
    listing.as_csv = format != NULL && strcmp(format, "csv") == 0;
    if (listing.as_csv)
        buffer_printf(&listing.csv, "time,kind,id,amount,amount_units,asset,invoice,external_id,memo\r\n");
    else
        listing.rows = json_array();
    char next[EVENT_TEXT_SIZE];
    if (!shop_history_read(call->api->shop, since, until, cursor != NULL ? &after : NULL, visit, &listing))
        (void)call_fail(call, 503, "disk",
                        "the journal does not give back what was written: look at the log");
    else if (listing.as_csv)
        send_csv(call, &listing);
    else
        call_answer(call, 200,
                    json_pack("{s:O, s:o}", "history", listing.rows, "next",
                              listing.more ? json_string(event_text(&listing.last, next)) : json_null()));
    json_decref(listing.rows);
    buffer_free(&listing.csv);
}
