/* What the server says of itself. */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/api.h"
#include "merchant/streams.h"
#include "merchant/webhooks.h"
#include "store/store.h"

extern const char merchant_openapi_json[];

void api_openapi(struct call *call)
{
    http_reply_text(call->request, 200, "application/json", merchant_openapi_json,
                    strlen(merchant_openapi_json));
    call->taken = true;
}

void api_health(struct call *call)
{
    const struct api *api = call->api;
    const char *trouble = rill_ledger_trouble(api->session->ledger);
    if (api->hub_ready)
        call_answer(call, 200, json_pack("{s:s}", "status", "ok"));
    else
        (void)call_fail(call, 503, "hub_unreachable", "payments cannot arrive: %s",
                        api->trouble[0] != '\0' ? api->trouble
                        : trouble[0] != '\0'    ? trouble
                                                : "the hub has not answered yet");
}

static void put(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    buffer_printf(out, "# HELP rill_merchant_%s %s\n# TYPE rill_merchant_%s %s\nrill_merchant_%s %llu\n",
                  name, help, name, type, name, (unsigned long long)value);
}

void api_metrics(struct call *call)
{
    const struct api *api = call->api;
    const struct shop *shop = api->shop;
    struct store_figures store = store_figures(shop->journal);
    struct buffer out = {0};
    put(&out, "hub_connected", "gauge", "1 while payments can arrive.", api->hub_ready);
    put(&out, "requests_total", "counter", "HTTP requests with a sound head.", api->requests);
    put(&out, "refused_total", "counter", "Requests answered with an error.", api->refused);
    put(&out, "throttled_total", "counter", "Requests over their rate.", api->throttled);
    put(&out, "connections", "gauge", "HTTP connections open.", http_connections(api->http));
    put(&out, "streams", "gauge", "Event streams open.", streams_count(api->streams));
    put(&out, "invoices", "gauge", "Invoices kept.", shop->invoice_count);
    put(&out, "invoices_created_total", "counter", "Invoices created.", shop->invoices_created);
    put(&out, "invoices_paid_total", "counter", "Invoices paid.", shop->invoices_paid);
    put(&out, "invoices_expired_total", "counter", "Invoices expired.", shop->invoices_expired);
    put(&out, "invoices_cancelled_total", "counter", "Invoices cancelled.", shop->invoices_cancelled);
    struct webhooks_figures hooks = webhooks_figures(api->webhooks);
    put(&out, "webhooks", "gauge", "Web hooks.", hooks.hooks);
    put(&out, "webhook_pending", "gauge", "Events admitted and not taken yet.", hooks.pending);
    put(&out, "webhook_dead", "gauge", "Dead letters.", hooks.dead);
    put(&out, "webhook_delivered_total", "counter", "Events taken by web hooks.", hooks.delivered);
    put(&out, "webhook_failed_total", "counter", "Attempts that came to nothing.", hooks.failed);
    put(&out, "journal_batches_total", "counter", "Batches appended to the journal.", store.batches);
    put(&out, "journal_syncs_total", "counter", "Syncs of the journal.", store.syncs);
    http_reply_text(call->request, 200, "text/plain; version=0.0.4", (const char *)out.data, out.length);
    buffer_free(&out);
    call->taken = true;
}
