/* Invoices: create, list, look, cancel; and what the payment page may see of one. */
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/ensure.h"
#include "merchant/api.h"
#include "merchant/render.h"

#define LIFETIME_DEFAULT_S 900

/* ---- create ---- */

static bool read_metadata(struct call *call, char **out)
{
    const char *name;
    json_t *metadata = json_object_get(call->body, "metadata"), *value;
    if (metadata == NULL || json_is_null(metadata))
        return true;
    if (!json_is_object(metadata) || json_object_size(metadata) > METADATA_ENTRIES_MAX)
        return call_fail(call, 400, "invalid_request", "'metadata' is not an object of at most %d strings",
                         METADATA_ENTRIES_MAX);
    json_object_foreach(metadata, name, value)
    {
        if (strlen(name) > METADATA_KEY_BYTES_MAX || !json_is_string(value) ||
            json_string_length(value) > METADATA_VALUE_BYTES_MAX)
            return call_fail(
                call, 400, "invalid_request",
                "an entry of 'metadata' has a name over %d bytes, or its value is no string of at most %d",
                METADATA_KEY_BYTES_MAX, METADATA_VALUE_BYTES_MAX);
    }
    *out = json_dumps(metadata, JSON_COMPACT | JSON_PRESERVE_ORDER);
    ensure(*out != NULL);
    return true;
}

static bool read_invoice(struct call *call, struct invoice_request *out, char **metadata)
{
    static const char *const members[] = {"amount",      "asset",    "memo", "expires_in_s",
                                          "external_id", "metadata", NULL};
    const char *asset = NULL, *amount = NULL;
    *out = (struct invoice_request){.lifetime_s = LIFETIME_DEFAULT_S};
    if (!call_members(call, members) || !call_text(call, "asset", 64, &asset) ||
        !call_text(call, "amount", 40, &amount) || !call_asset(call, asset, &out->asset) ||
        (amount != NULL && !call_amount(call, out->asset, "amount", amount, &out->amount)) ||
        !call_text(call, "memo", MEMO_BYTES_MAX, &out->memo) ||
        !call_text(call, "external_id", EXTERNAL_ID_BYTES_MAX, &out->external_id) ||
        !call_number(call, "expires_in_s", 10, INVOICE_LIFETIME_MAX_S, &out->lifetime_s) ||
        !read_metadata(call, metadata))
        return false;
    out->metadata = *metadata;
    return true;
}

static void refused(struct call *call, int code)
{
    const char *why = code < 0 ? "" : rill_refusal(call->api->session->wallet);
    if (code < 0)
        (void)call_fail(
            call, 429, "too_many_invoices",
            "as many invoices as --invoices-max allows are kept: older ones leave after --keep-days");
    else if (code == CODE_LIMIT)
        (void)call_fail(call, 429, "too_many_invoices", "%s", why);
    else if (code == CODE_STATUS)
        (void)call_fail(call, 503, "ledger_unreachable", "%s", why);
    else
        (void)call_fail(call, 400, "invalid_request", "%s", why);
}

void api_invoice_create(struct call *call)
{
    struct invoice_request request;
    struct shop_invoice *invoice;
    char *metadata = NULL;
    if (read_invoice(call, &request, &metadata)) {
        int code = shop_invoice_create(call->api->shop, &request, &invoice);
        if (code != 0)
            refused(call, code);
        else
            call_answer(call, 201, render_invoice(call->api->shop, invoice));
    }
    free(metadata);
}

/* ---- look ---- */

static bool state_named(struct call *call, const char *name, int *out)
{
    *out = -1;
    if (name == NULL)
        return true;
    for (int state = INVOICE_OPEN; state <= INVOICE_CANCELLED; state++)
        if (strcmp(name, invoice_state_name((enum invoice_state)state)) == 0)
            *out = state;
    return *out >= 0 ||
           call_fail(call, 400, "invalid_request", "'state' is one of open, paid, expired, cancelled");
}

void api_invoice_list(struct call *call)
{
    static const char *const parameters[] = {"state", "external_id", "since", "until",
                                             "limit", "cursor",      NULL};
    const struct shop *shop = call->api->shop;
    struct page page;
    int state;
    const char *external_id = call_query(call, "external_id");
    if (!call_query_members(call, parameters) || !call_page(call, &page) ||
        !state_named(call, call_query(call, "state"), &state))
        return;
    json_t *list = json_array();
    uint64_t next = 0, looked = 0;
    for (size_t i = shop_invoice_after(shop, page.before - 1); i > 0; i--) {
        const struct shop_invoice *invoice = shop->invoice_list[i - 1];
        if (invoice->created < page.since)
            break;
        if (json_array_size(list) == page.limit || looked++ == PAGE_LOOKED_AT_MAX) {
            next = invoice->number + 1;
            break;
        }
        if (invoice->created < page.until && (state < 0 || invoice->state == (enum invoice_state)state) &&
            (external_id == NULL ||
             (invoice->external_id != NULL && strcmp(external_id, invoice->external_id) == 0)))
            json_array_append_new(list, render_invoice(shop, invoice));
    }
    call_answer(call, 200, json_pack("{s:o, s:o}", "invoices", list, "next", page_next(next)));
}

void api_invoice_get(struct call *call)
{
    const struct shop_invoice *invoice = call_invoice(call, call->parts[2]);
    if (invoice != NULL)
        call_answer(call, 200, render_invoice(call->api->shop, invoice));
}

void api_invoice_cancel(struct call *call)
{
    static const char *const members[] = {NULL};
    struct shop *shop = call->api->shop;
    struct shop_invoice *invoice = call_invoice(call, call->parts[2]);
    if (invoice == NULL || !call_members(call, members))
        return;
    if (invoice->state != INVOICE_OPEN && invoice->state != INVOICE_CANCELLED) {
        (void)call_fail(call, 409, "invoice_not_open", "the invoice is %s: only an open one can be cancelled",
                        invoice_state_name(invoice->state));
        return;
    }
    if (invoice->state == INVOICE_OPEN && shop_invoice_cancel(shop, invoice) != 0) {
        (void)call_fail(call, 409, "payment_arriving",
                        "a payment of it is arriving: it cannot be cancelled any more");
        return;
    }
    call_answer(call, 200, render_invoice(shop, invoice));
}

/* ---- the payment page's ---- */

json_t *api_public_invoice(void *context, const char *id)
{
    const struct api *api = context;
    struct object_id of;
    const struct shop_invoice *invoice =
        object_parse(PREFIX_INVOICE, id, &of) ? shop_invoice_find(api->shop, &of) : NULL;
    return invoice != NULL ? render_invoice(api->shop, invoice) : NULL;
}
