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

/* invoice: NULL for all; open: of one, for anybody, whom nothing before it concerns (and it may cost no reading). */
static void start(struct call *call, const struct shop_invoice *invoice, bool open)
{
    struct event_place place;
    char address[COUNTED_ADDRESS_SIZE];
    bool given;
    if (!last_event(call, &place, &given))
        return;
    if (call->method == EVHTTP_REQ_HEAD) {
        (void)call_fail(call, 405, "method_not_allowed", "a stream is asked for with GET");
        return;
    }
    const struct stream_client client = {open, open && call_address(call, address) ? address : NULL};
    if (streams_full(call->api->streams, &client)) {
        (void)call_fail(call, 503, "too_many_streams",
                        "too many streams are open: try again later, or ask now and then");
        return;
    }
    if (open && given)
        place = shop_event_place_of(invoice, &place);
    streams_add(call->api->streams, call->request, invoice != NULL ? &invoice->id : &OBJECT_NONE, &client,
                given ? &place : NULL);
    http_keep(call->api->http, !open);
    call->taken = true;
}

void api_events(struct call *call)
{
    static const char *const parameters[] = {"invoice", NULL};
    const char *named = call_query(call, "invoice");
    const struct shop_invoice *invoice = NULL;
    if (call_query_members(call, parameters) &&
        (named == NULL || (invoice = call_invoice(call, named)) != NULL))
        start(call, invoice, false);
}

void api_public_events(struct call *call)
{
    const struct shop_invoice *invoice = call_invoice(call, call->parts[1]);
    if (invoice != NULL)
        start(call, invoice, true);
}
