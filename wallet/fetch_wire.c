/* One request to a server and its answer, on a connection that is kept for the next. */
#include "wallet/fetch_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <utlist.h>

#include "base/ensure.h"
#include "wire/web.h"

#define IDLE_S     15
#define CONNECT_S  10
#define READ_BYTES (256 * 1024)

struct fetch_link {
    struct fetch_pool *pool;
    struct web_stream *web;
    char authority[HOST_BYTES_MAX + 10];
    bool tls, ready, reused;
    struct fetch_call *call; /* NULL: idle */
    struct fetch_link *prev, *next;
};

struct fetch_call {
    struct fetch_pool *pool;
    struct http_url url;
    struct fetch_link *link;
    struct buffer request;
    bool is_head, headed, repeatable;
    uint32_t timeout_ms;
    struct http_body body;
    bool keep_alive;
    struct fetch_callbacks callbacks;
    void *context;
    unsigned busy; /* inside callbacks */
    bool cancelled;
};

struct fetch_pool {
    struct event_base *base;
    struct web_trust *trust;
    uint32_t idle_max;
    struct fetch_link *idle, *busy;
    uint32_t idle_count;
};

struct fetch_pool *fetch_pool_new(struct event_base *base, const char *ca_file, uint32_t idle_max,
                                  char *message, size_t message_size)
{
    struct web_trust *trust = web_trust_open(ca_file, message, message_size);
    if (trust == NULL)
        return NULL;
    struct fetch_pool *pool = xcalloc(1, sizeof(*pool));
    pool->base = base;
    pool->trust = trust;
    pool->idle_max = idle_max > 0 ? idle_max : 8;
    return pool;
}

static void free_link(struct fetch_link *link)
{
    struct fetch_pool *pool = link->pool;
    if (link->call == NULL) {
        DL_DELETE(pool->idle, link);
        pool->idle_count--;
    } else {
        DL_DELETE(pool->busy, link);
    }
    web_stream_free(link->web);
    free(link);
}

void fetch_pool_free(struct fetch_pool *pool)
{
    if (pool == NULL)
        return;
    ensure(pool->busy == NULL);
    while (pool->idle != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
        free_link(pool->idle);
    web_trust_free(pool->trust);
    free(pool);
}

static struct bufferevent *stream_of(const struct fetch_link *link)
{
    return web_stream_bufferevent(link->web);
}

static void set_timeouts(struct fetch_link *link, uint32_t ms)
{
    const struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    bufferevent_set_timeouts(stream_of(link), &wait, &wait);
}

static void free_call(struct fetch_call *call)
{
    buffer_free(&call->request);
    free(call);
}

/* The call has no connection any more: kept for the next one, or closed. */
static void leave_link(struct fetch_call *call, bool keep)
{
    struct fetch_link *link = call->link;
    struct fetch_pool *pool = call->pool;
    call->link = NULL;
    if (link == NULL)
        return;
    if (!keep || pool->idle_count >= pool->idle_max ||
        evbuffer_get_length(bufferevent_get_input(stream_of(link))) > 0) {
        free_link(link);
        return;
    }
    DL_DELETE(pool->busy, link);
    link->call = NULL;
    DL_PREPEND(pool->idle, link);
    pool->idle_count++;
    set_timeouts(link, IDLE_S * 1000);
}

static void finish(struct fetch_call *call, bool whole, const char *why)
{
    leave_link(call, whole && call->keep_alive);
    struct fetch_callbacks callbacks = call->callbacks;
    void *context = call->context;
    bool cancelled = call->cancelled;
    free_call(call);
    if (!cancelled)
        callbacks.done(context, whole, why);
}

void fetch_call_cancel(struct fetch_call *call)
{
    if (call == NULL)
        return;
    if (call->busy > 0) {
        call->cancelled = true;
        return;
    }
    leave_link(call, false);
    free_call(call);
}

/* ---- the answer ---- */

/* Returns false if the call was cancelled in its callback, and is gone. */
static bool leave(struct fetch_call *call)
{
    call->busy--;
    if (!call->cancelled)
        return true;
    leave_link(call, false);
    free_call(call);
    return false;
}

static void read_body(struct fetch_call *call, struct evbuffer *input)
{
    struct evbuffer_iovec extent;
    while (!call->body.ended && evbuffer_peek(input, -1, NULL, &extent, 1) > 0 && extent.iov_len > 0) {
        struct http_text piece;
        size_t used;
        if (!http_body_read(&call->body, extent.iov_base, extent.iov_len, &used, &piece)) {
            finish(call, false, "the coding of the answer's body is broken");
            return;
        }
        call->busy++;
        if (piece.length > 0 && call->callbacks.data != NULL)
            call->callbacks.data(call->context, piece.data, piece.length);
        evbuffer_drain(input, used);
        if (!leave(call))
            return;
    }
    if (call->body.ended)
        finish(call, true, "");
}

static void read_answer(struct fetch_call *call)
{
    struct evbuffer *input = bufferevent_get_input(stream_of(call->link));
    while (!call->headed) {
        struct http_head head;
        size_t length = evbuffer_get_length(input), used;
        if (length == 0)
            return;
        if (length > HTTP_HEAD_BYTES_MAX)
            length = HTTP_HEAD_BYTES_MAX;
        const char *bytes = (const char *)evbuffer_pullup(input, (ssize_t)length);
        enum http_result result = http_read_answer(bytes, length, call->is_head, &head, &used);
        if (result == HTTP_MORE)
            return;
        if (result != HTTP_DONE || head.status == 101) {
            finish(call, false, "the answer is not one of HTTP/1.1");
            return;
        }
        if (head.status >= 200) {
            call->headed = true;
            call->keep_alive = head.keep_alive;
            call->body = http_body_of(&head);
            call->busy++;
            call->callbacks.head(call->context, &head);
            evbuffer_drain(input, used);
            if (!leave(call))
                return;
        } else {
            evbuffer_drain(input, used);
        }
    }
    read_body(call, input);
}

static void begin(struct fetch_call *call, bool fresh);

static void on_read(struct bufferevent *stream, void *context)
{
    (void)stream;
    struct fetch_link *link = context;
    if (link->call == NULL)
        free_link(link);
    else
        read_answer(link->call);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    (void)stream;
    struct fetch_link *link = context;
    struct fetch_call *call = link->call;
    if (call == NULL) {
        if ((what & BEV_EVENT_CONNECTED) == 0)
            free_link(link);
        return;
    }
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        link->ready = true;
        set_timeouts(link, call->timeout_ms);
        bufferevent_write(stream_of(link), call->request.data, call->request.length);
        return;
    }
    if ((what & BEV_EVENT_EOF) != 0 && call->headed && call->body.framing == HTTP_BODY_UNTIL_CLOSE) {
        finish(call, true, "");
        return;
    }
    /* The server may have closed it just as it was used again, or acted on the request and died. */
    if (link->reused && !call->headed && call->repeatable && (what & BEV_EVENT_TIMEOUT) == 0) {
        leave_link(call, false);
        begin(call, true);
        return;
    }
    char why[256];
    snprintf(why, sizeof(why), "%s",
             (what & BEV_EVENT_TIMEOUT) != 0 ? "it took too long"
             : call->headed                  ? "the answer breaks off"
                                             : web_stream_trouble(link->web));
    finish(call, false, why);
}

static struct fetch_link *find_idle(const struct fetch_call *call)
{
    struct fetch_link *link;
    DL_FOREACH(call->pool->idle, link)
    {
        if (link->tls == call->url.tls && strcmp(link->authority, call->url.authority) == 0)
            return link;
    }
    return NULL;
}

static void begin(struct fetch_call *call, bool fresh)
{
    struct fetch_pool *pool = call->pool;
    struct fetch_link *link = fresh ? NULL : find_idle(call);
    if (link != NULL) {
        DL_DELETE(pool->idle, link);
        pool->idle_count--;
        DL_APPEND(pool->busy, link);
        link->reused = true;
        link->call = call;
        call->link = link;
        set_timeouts(link, call->timeout_ms);
        bufferevent_write(stream_of(link), call->request.data, call->request.length);
        return;
    }
    link = xcalloc(1, sizeof(*link));
    link->pool = pool;
    link->tls = call->url.tls;
    memcpy(link->authority, call->url.authority, sizeof(link->authority));
    link->call = call;
    link->web = web_stream_open(pool->base, link->tls ? pool->trust : NULL, call->url.host, call->url.port);
    call->link = link;
    DL_APPEND(pool->busy, link);
    bufferevent_setcb(stream_of(link), on_read, NULL, on_event, link);
    bufferevent_setwatermark(stream_of(link), EV_READ, 0, READ_BYTES);
    set_timeouts(link, CONNECT_S * 1000);
    bufferevent_enable(stream_of(link), EV_READ | EV_WRITE);
}

struct fetch_call *fetch_call_begin(struct fetch_pool *pool, const struct fetch_ask *ask,
                                    const struct fetch_callbacks *callbacks, void *context)
{
    struct fetch_call *call = xcalloc(1, sizeof(*call));
    call->pool = pool;
    call->url = *ask->url;
    buffer_append(&call->request, ask->request->data, ask->request->length);
    call->is_head = ask->is_head;
    call->repeatable = ask->repeatable;
    call->timeout_ms = ask->timeout_ms > 0 ? ask->timeout_ms : 60000;
    call->callbacks = *callbacks;
    call->context = context;
    begin(call, false);
    return call;
}
