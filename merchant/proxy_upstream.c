/* Connections to the service: kept while idle, the newest used first, so that those not needed grow old and go. */
#include "merchant/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <utlist.h>

#include "base/ensure.h"
#include "wire/web.h"

#define IDLE_S         15 /* below what servers keep idle connections for */
#define CONNECT_S      5
#define IDLE_LINKS_MAX 256

struct link_up {
    struct upstream *upstream;
    struct web_stream *web;
    struct exchange *exchange; /* NULL: idle */
    bool ready, reused;
    struct link_up *prev, *next;
};

struct upstream {
    struct proxy *proxy;
    struct http_url url;
    struct web_trust *trust;
    struct link_up *idle, *busy;
    size_t idle_count, count;
};

struct upstream *upstream_new(struct proxy *proxy, char *message, size_t message_size)
{
    struct upstream *upstream = xcalloc(1, sizeof(*upstream));
    upstream->proxy = proxy;
    if (!http_url_read(proxy->settings->upstream, &upstream->url) || strcmp(upstream->url.target, "/") != 0) {
        snprintf(message, message_size,
                 "--upstream '%.200s' is not http://HOST[:PORT] or https://HOST[:PORT], without a path",
                 proxy->settings->upstream);
        free(upstream);
        return NULL;
    }
    if (upstream->url.tls) {
        upstream->trust = web_trust_open(proxy->settings->ca_file, message, message_size);
        if (upstream->trust == NULL) {
            free(upstream);
            return NULL;
        }
    }
    return upstream;
}

const char *upstream_authority(const struct upstream *upstream)
{
    return upstream->url.authority;
}

struct bufferevent *link_up_stream(struct link_up *link)
{
    return web_stream_bufferevent(link->web);
}

bool link_up_is_ready(const struct link_up *link)
{
    return link->ready;
}

bool link_up_is_reused(const struct link_up *link)
{
    return link->reused;
}

static void free_link(struct link_up *link)
{
    struct upstream *upstream = link->upstream;
    if (link->exchange == NULL) {
        DL_DELETE(upstream->idle, link);
        upstream->idle_count--;
    } else {
        DL_DELETE(upstream->busy, link);
    }
    upstream->count--;
    web_stream_free(link->web);
    free(link);
}

static void on_read(struct bufferevent *stream, void *context)
{
    (void)stream;
    struct link_up *link = context;
    if (link->exchange == NULL)
        free_link(link); /* nothing was asked: what it says belongs to nobody */
    else
        exchange_link_read(link->exchange);
}

static void on_write(struct bufferevent *stream, void *context)
{
    (void)stream;
    struct link_up *link = context;
    if (link->exchange != NULL && link->ready)
        exchange_link_written(link->exchange);
}

static void set_timeouts(struct link_up *link, uint64_t seconds)
{
    const struct timeval wait = {(time_t)seconds, 0};
    bufferevent_set_timeouts(link_up_stream(link), &wait, &wait);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    struct link_up *link = context;
    struct exchange *exchange = link->exchange;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        link->ready = true;
        set_timeouts(link, link->upstream->proxy->settings->upstream_timeout_s);
        if (exchange != NULL)
            exchange_link_ready(exchange);
        return;
    }
    if (exchange == NULL) {
        free_link(link);
        return;
    }
    /* It is silent because it is still being told: a client that does not go on has a limit of its own. */
    bool listening = link->ready && exchange->asked && !exchange->request_sent && !exchange->probing;
    if (listening && (what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0) {
        bufferevent_enable(stream, EV_READ);
        return;
    }
    exchange_link_gone(exchange, (what & BEV_EVENT_EOF) != 0, (what & BEV_EVENT_TIMEOUT) != 0,
                       web_stream_trouble(link->web));
}

static struct link_up *open_link(struct upstream *upstream, struct exchange *exchange)
{
    struct link_up *link = xcalloc(1, sizeof(*link));
    link->upstream = upstream;
    link->exchange = exchange;
    link->web =
        web_stream_open(upstream->proxy->base, upstream->trust, upstream->url.host, upstream->url.port);
    DL_APPEND(upstream->busy, link);
    upstream->count++;
    struct bufferevent *stream = link_up_stream(link);
    bufferevent_setcb(stream, on_read, on_write, on_event, link);
    bufferevent_setwatermark(stream, EV_READ, 0, PROXY_READ_BYTES);
    bufferevent_setwatermark(stream, EV_WRITE, PROXY_PIPE_BYTES / 2, 0);
    set_timeouts(link, CONNECT_S);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
    return link;
}

struct link_up *upstream_take(struct upstream *upstream, struct exchange *exchange, bool fresh)
{
    struct link_up *link = upstream->idle;
    if (link != NULL && !fresh) {
        DL_DELETE(upstream->idle, link);
        upstream->idle_count--;
        link->exchange = exchange;
        link->reused = true;
        DL_APPEND(upstream->busy, link);
        set_timeouts(link, upstream->proxy->settings->upstream_timeout_s);
        return link;
    }
    /* One that is idle makes room. */
    if (upstream->count >= upstream->proxy->settings->upstream_connections && upstream->idle != NULL)
        free_link(upstream->idle);
    if (upstream->count >= upstream->proxy->settings->upstream_connections)
        return NULL;
    return open_link(upstream, exchange);
}

void upstream_give(struct link_up *link, bool keep)
{
    struct upstream *upstream = link->upstream;
    struct bufferevent *stream = link_up_stream(link);
    bool clean = link->ready && evbuffer_get_length(bufferevent_get_input(stream)) == 0 &&
                 evbuffer_get_length(bufferevent_get_output(stream)) == 0;
    if (!keep || !clean || upstream->idle_count >= IDLE_LINKS_MAX) {
        free_link(link);
        return;
    }
    DL_DELETE(upstream->busy, link);
    link->exchange = NULL;
    DL_PREPEND(upstream->idle, link);
    upstream->idle_count++;
    set_timeouts(link, IDLE_S);
    bufferevent_enable(stream, EV_READ);
}

void upstream_free(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    while (upstream->idle != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
        free_link(upstream->idle);
    ensure(upstream->busy == NULL);
    web_trust_free(upstream->trust);
    free(upstream);
}
