/* Between a link and its connection: when to receive and to send, and what becomes of a stream that ends. */
#include "wire/link_internal.h"

#include <string.h>

#include "base/ensure.h"

bool link_is_attached(const struct link *link)
{
    return link->stream.ssl != NULL;
}

/* ---- the connection's end ---- */

static void stop_watching(struct link *link)
{
    if (link->reading)
        event_del(&link->readable);
    link->reading = false;
}

void link_connection_failed(struct link *link)
{
    const struct stream *stream = &link->stream;
    if (link_is_closing(link)) {
        link->stage = LINK_OVER;
        link_wake(link);
    } else if (stream->tls_error != NULL && link->stage == LINK_TLS) {
        link_fail(link, LINK_CLOSED_TLS, "no TLS 1.3 with the other side: %s", stream->tls_error);
    } else if (stream->tls_error != NULL) {
        link_fail(link, LINK_CLOSED_TLS, "TLS failed: %s", stream->tls_error);
    } else {
        link_fail(link, LINK_CLOSED_PEER, "the connection was lost: %s",
                  stream->system_error == 0 ? "closed by the other side" : strerror(stream->system_error));
    }
}

/* ---- receiving ---- */

bool link_wants_input(const struct link *link)
{
    if (link->ended || link->stage == LINK_OVER || !link_is_attached(link))
        return false;
    return link_is_closing(link) || link->stage == LINK_TLS ||
           (!link->paused && !link->resting && !link->choked);
}

void link_watch_input(struct link *link)
{
    /* Only on_readable stops watching, when there is something that is not wanted: a pause that is over
     * before that costs nothing. */
    if (link->reading || !link_wants_input(link))
        return;
    ensure(event_add(&link->readable, NULL) == 0);
    link->reading = true;
}

void link_receive(struct link *link)
{
    link->unread = false;
    enum stream_result result = stream_receive(&link->stream, &link->loop->spare);
    switch (result) {
    case STREAM_DONE:
    case STREAM_READ:
        break;
    case STREAM_MORE:
        link->unread = true;
        break;
    case STREAM_WRITE: /* TLS has something of its own to say first */
        link->unread = true;
        event_add(&link->writable, NULL);
        break;
    case STREAM_ENDED:
        link->ended = true;
        stop_watching(link);
        break;
    case STREAM_FAILED:
        /* Frames that came before the failure still count. */
        stop_watching(link);
        link_process_input(link);
        if (link->stage != LINK_OVER)
            link_connection_failed(link);
        break;
    }
}

static void discard(struct link *link)
{
    enum stream_result result = stream_discard(&link->stream);
    if (result == STREAM_DONE)
        return;
    link->ended = true;
    stop_watching(link);
    if (result == STREAM_FAILED || link->stage == LINK_DRAINING)
        link->stage = LINK_OVER;
}

static void continue_handshake(struct link *link)
{
    switch (stream_handshake(&link->stream)) {
    case STREAM_DONE:
        if (link->server != NULL)
            link_server_secured(link);
        else
            link_client_secured(link);
        link->unread = true;
        link_wake(link);
        break;
    case STREAM_READ:
    case STREAM_MORE:
        break;
    case STREAM_WRITE:
        event_add(&link->writable, NULL);
        break;
    case STREAM_ENDED:
        link->ended = true;
        stop_watching(link);
        link_process_input(link);
        break;
    case STREAM_FAILED:
        link_connection_failed(link);
        break;
    }
}

static void on_readable(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct link *link = argument;
    link_enter(link);
    if (!link_wants_input(link))
        stop_watching(link);
    else if (link->stage == LINK_TLS)
        continue_handshake(link);
    else if (link_is_closing(link))
        discard(link);
    else if (!link->backlog) {
        link_receive(link);
        link_process_input(link);
    }
    link_leave(link);
}

/* ---- sending ---- */

void link_flush(struct link *link)
{
    if (link->stage < LINK_WAIT_HELLO || link->stage > LINK_FLUSHING)
        return;
    switch (stream_flush(&link->stream)) {
    case STREAM_DONE:
    case STREAM_MORE:
    case STREAM_READ:
        break;
    case STREAM_WRITE:
        event_add(&link->writable, NULL);
        break;
    case STREAM_ENDED:
    case STREAM_FAILED:
        link_connection_failed(link);
        return;
    }
    link_output_left(link);
}

static void on_writable(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct link *link = argument;
    link_enter(link);
    if (link->stage == LINK_TLS)
        continue_handshake(link);
    else
        link_flush(link);
    if (link->unread)
        link_wake(link);
    link_leave(link);
}

/* ---- taking over and letting go ---- */

void link_attach(struct link *link, int socket, SSL_CTX *context)
{
    ensure(!link_is_attached(link));
    stream_open(&link->stream, socket, context, link->server != NULL);
    struct event_base *base = link->loop->base;
    ensure(event_assign(&link->readable, base, socket, EV_READ | EV_PERSIST, on_readable, link) == 0);
    ensure(event_assign(&link->writable, base, socket, EV_WRITE, on_writable, link) == 0);
    link->stage = LINK_TLS;
    link->ended = link->unread = link->backlog = false;
    link_watch_input(link);
    if (link->server == NULL)
        continue_handshake(link); /* the client speaks first */
}

void link_detach(struct link *link)
{
    if (!link_is_attached(link))
        return;
    stop_watching(link);
    event_del(&link->writable);
    stream_close(&link->stream);
}
