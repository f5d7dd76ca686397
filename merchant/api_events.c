/* Streams of events: the shop's, and one invoice's for the payment page. */
#include <string.h>

#include "merchant/api.h"
#include "merchant/streams.h"

static bool last_event(struct call *call, struct event_place *place, bool *given)
{
    const char *text = evhttp_find_header(evhttp_request_get_input_headers(call->request), "Last-Event-ID");
    *given = text != NULL && text[0] != '\0';
    return !*given || event_parse(text, place) ||
           call_fail(call, 400, "invalid_request", "Last-Event-ID is not an event's id");
}

static void start(struct call *call, const struct object_id *invoice, bool open)
{
    struct event_place place;
    bool given;
    if (!last_event(call, &place, &given))
        return;
    if (call->method == EVHTTP_REQ_HEAD) {
        (void)call_fail(call, 405, "method_not_allowed", "a stream is asked for with GET");
        return;
    }
    if (streams_full(call->api->streams)) {
        (void)call_fail(call, 503, "too_many_streams",
                        "too many streams are open: try again later, or ask now and then");
        return;
    }
    streams_add(call->api->streams, call->request, invoice, open, given ? &place : NULL);
    call->taken = true;
}

void api_events(struct call *call)
{
    static const char *const parameters[] = {"invoice", NULL};
    struct object_id id = OBJECT_NONE;
    const char *invoice = call_query(call, "invoice");
    if (!call_query_members(call, parameters))
        return;
    if (invoice != NULL &&
        (!object_parse(PREFIX_INVOICE, invoice, &id) || shop_invoice_find(call->api->shop, &id) == NULL)) {
        (void)call_fail(call, 404, "invoice_not_found", "there is no such invoice");
        return;
    }
    start(call, &id, false);
}

void api_public_events(struct call *call)
{
    struct object_id id;
    if (!object_parse(PREFIX_INVOICE, call->parts[1], &id) || shop_invoice_find(call->api->shop, &id) == NULL)
        (void)call_fail(call, 404, "invoice_not_found", "there is no such invoice");
    else
        start(call, &id, true);
}
