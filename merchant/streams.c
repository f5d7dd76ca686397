#include "merchant/streams.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "merchant/limits.h"
#include "merchant/pages.h"
#include "merchant/public_address.h"

struct stream {
    struct streams *streams;
    struct evhttp_request *request;
    struct evhttp_connection *connection;
    struct object_id invoice;
    bool all, open;
    char address[COUNTED_ADDRESS_SIZE]; /* of an open one, "": nobody in particular */
    bool behind;                        /* there was more than it could take */
    bool stuck;                         /* it has not read a ping's time long */
    struct event_place place;
    unsigned quiet_s;
    struct evbuffer *out; /* of one turn */
    size_t told;          /* in this turn */
    struct stream *prev, *next;
};

struct streams {
    struct event_base *base;
    const struct shop *shop;
    struct stream *list;
    size_t count, open_count, connections;
    struct event *again; /* those that are behind go on */
};

static size_t waiting(const struct stream *stream)
{
    return evbuffer_get_length(bufferevent_get_output(evhttp_connection_get_bufferevent(stream->connection)));
}

/* ---- telling ---- */

static void put_event(struct stream *stream, const struct shop_event *event)
{
    char id[EVENT_TEXT_SIZE];
    evbuffer_add_printf(stream->out, "id: %s\nevent: %s\ndata: ", event_text(&event->place, id),
                        event_type_name(event->type));
    if (!stream->open) {
        evbuffer_add(stream->out, event->json, event->length);
    } else {
        json_t *whole = json_loadb(event->json, event->length, 0, NULL);
        ensure(whole != NULL);
        const json_t *invoice = json_object_get(whole, "invoice");
        if (invoice != NULL)
            json_object_set_new(whole, "invoice", pages_public_invoice(invoice, clock_unix_s()));
        json_object_del(whole, "payment"); /* that it came is all the page need know */
        char *text = json_dumps(whole, JSON_COMPACT | JSON_PRESERVE_ORDER);
        ensure(text != NULL);
        evbuffer_add(stream->out, text, strlen(text));
        free(text);
        json_decref(whole);
    }
    evbuffer_add(stream->out, "\n\n", 2);
}

static bool visit(void *context, const struct shop_event *event)
{
    struct stream *stream = context;
    if (evbuffer_get_length(stream->out) >= STREAM_BUFFER_MAX || stream->told == STREAM_EVENTS_A_TURN) {
        stream->behind = true;
        return false;
    }
    stream->place = event->place;
    stream->told++;
    if (stream->all || object_equal(&event->subject, &stream->invoice))
        put_event(stream, event);
    return true;
}

/* False: the stream is gone. */
static bool tell(struct stream *stream)
{
    stream->behind = false;
    if (waiting(stream) >= STREAM_BUFFER_MAX) {
        stream->behind = true;
        return true;
    }
    stream->told = 0;
    stream->out = evbuffer_new();
    ensure(stream->out != NULL);
    /* What the disk does not give back ends the stream: its client asks again, and finds out. */
    if (!shop_events_after(stream->streams->shop, &stream->place, visit, stream)) {
        evbuffer_free(stream->out);
        evhttp_connection_free(stream->connection);
        return false;
    }
    if (evbuffer_get_length(stream->out) > 0) {
        stream->quiet_s = 0;
        evhttp_send_reply_chunk(stream->request, stream->out);
    }
    evbuffer_free(stream->out);
    return true;
}

static void on_again(evutil_socket_t descriptor, short what, void *context)
{
    struct streams *streams = context;
    struct stream *stream, *next;
    bool more = false;
    (void)descriptor;
    (void)what;
    DL_FOREACH_SAFE(streams->list, stream, next)
    {
        if (stream->behind && waiting(stream) < STREAM_BUFFER_MAX)
            (void)tell(stream);
    }
    DL_FOREACH(streams->list, stream)
    {
        more = more || (stream->behind && waiting(stream) < STREAM_BUFFER_MAX);
    }
    if (more)
        event_active(streams->again, EV_TIMEOUT, 0);
}

void streams_published(struct streams *streams)
{
    struct stream *stream, *next;
    bool behind = false;
    DL_FOREACH_SAFE(streams->list, stream, next)
    {
        (void)tell(stream);
    }
    DL_FOREACH(streams->list, stream)
    {
        behind = behind || stream->behind;
    }
    if (behind)
        event_active(streams->again, EV_TIMEOUT, 0);
}

static void ping(struct stream *stream)
{
    struct evbuffer *out = evbuffer_new();
    ensure(out != NULL);
    evbuffer_add(out, ": still here\n\n", 14);
    evhttp_send_reply_chunk(stream->request, out);
    evbuffer_free(out);
}

void streams_tick(struct streams *streams)
{
    struct stream *stream, *next;
    DL_FOREACH_SAFE(streams->list, stream, next)
    {
        if (++stream->quiet_s < STREAM_PING_S)
            continue;
        stream->quiet_s = 0;
        bool full = waiting(stream) >= STREAM_BUFFER_MAX;
        if (full && stream->stuck) {
            evhttp_connection_free(stream->connection);
            continue;
        }
        stream->stuck = full;
        if (!full)
            ping(stream);
    }
    event_active(streams->again, EV_TIMEOUT, 0);
}

/* ---- life ---- */

static void on_closed(struct evhttp_connection *connection, void *context)
{
    struct stream *stream = context;
    (void)connection;
    /* evhttp takes a request without its end off a connection that its client has closed, and leaves it to us. */
    if (evhttp_request_get_connection(stream->request) == NULL)
        evhttp_request_free(stream->request);
    DL_DELETE(stream->streams->list, stream);
    stream->streams->count--;
    stream->streams->open_count -= stream->open;
    free(stream);
}

struct streams *streams_new(struct event_base *base, const struct shop *shop, size_t connections)
{
    struct streams *streams = xcalloc(1, sizeof(*streams));
    *streams = (struct streams){.base = base, .shop = shop, .connections = connections};
    streams->again = event_new(base, -1, 0, on_again, streams);
    ensure(streams->again != NULL);
    return streams;
}

void streams_free(struct streams *streams)
{
    if (streams == NULL)
        return;
    while (streams->list != NULL)
        evhttp_connection_free(streams->list->connection);
    event_free(streams->again);
    free(streams);
}

size_t streams_count(const struct streams *streams)
{
    return streams->count;
}

static size_t open_of(const struct streams *streams, const char *address)
{
    size_t count = 0;
    const struct stream *stream;
    DL_FOREACH(streams->list, stream)
    {
        count += stream->open && strcmp(stream->address, address) == 0;
    }
    return count;
}

bool streams_full(const struct streams *streams, const struct stream_client *client)
{
    size_t connections = streams->connections;
    if (streams->count >= STREAMS_OF(connections))
        return true;
    if (!client->is_open)
        return false;
    return streams->open_count >= STREAMS_OPEN_OF(connections) ||
           (client->address != NULL &&
            open_of(streams, client->address) >= STREAMS_OPEN_OF_ADDRESS(connections));
}

void streams_add(struct streams *streams, struct evhttp_request *request, const struct object_id *invoice,
                 const struct stream_client *client, const struct event_place *after)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct stream *stream = xcalloc(1, sizeof(*stream));
    *stream = (struct stream){.streams = streams,
                              .request = request,
                              .connection = evhttp_request_get_connection(request),
                              .invoice = *invoice,
                              .all = object_equal(invoice, &OBJECT_NONE),
                              .open = client->is_open,
                              .place = after != NULL ? *after : streams->shop->published};
    if (client->address != NULL)
        snprintf(stream->address, sizeof(stream->address), "%s", client->address);
    DL_APPEND(streams->list, stream);
    streams->count++;
    streams->open_count += stream->open;
    evhttp_connection_set_closecb(stream->connection, on_closed, stream);
    evhttp_add_header(headers, "Content-Type", "text/event-stream");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(headers, "X-Accel-Buffering", "no"); /* for a proxy before us */
    evhttp_send_reply_start(request, 200, "OK");
    struct evbuffer *out = evbuffer_new();
    ensure(out != NULL);
    evbuffer_add_printf(out, "retry: 2000\n\n");
    evhttp_send_reply_chunk(request, out);
    evbuffer_free(out);
    if (tell(stream) && stream->behind)
        event_active(streams->again, EV_TIMEOUT, 0);
}
