/* What arrives on a link: frames out of the stream, who may say what, keepalive, the end of the stream. */
#include "wire/link_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/limits.h"

/* ---- who may say what, once the handshake is done (the table of section 5) ---- */

enum { TO_HUB = 1, TO_CLIENT = 2, TO_TOWER = 4, TO_USER = 8 };

static unsigned directions(enum message_type type)
{
    switch (type) {
    case MESSAGE_HELLO:
    case MESSAGE_CHALLENGE:
    case MESSAGE_AUTH:
    case MESSAGE_WELCOME:
    case MESSAGE_REDIRECT:
        return 0;
    case MESSAGE_UPDATE:
    case MESSAGE_ACK:
    case MESSAGE_REVEAL:
    case MESSAGE_FAIL:
    case MESSAGE_REVOKE:
        return TO_HUB | TO_CLIENT;
    case MESSAGE_SETTLE_REQUEST:
    case MESSAGE_SETTLE_SIGN:
    case MESSAGE_RESUME:
    case MESSAGE_OPEN_REQUEST:
        return TO_HUB;
    case MESSAGE_SETTLE_PROPOSE:
    case MESSAGE_SETTLED:
    case MESSAGE_FUNDED:
    case MESSAGE_CHANNEL:
    case MESSAGE_LOCKS:
        return TO_CLIENT;
    case MESSAGE_PING:
    case MESSAGE_PONG:
    case MESSAGE_ERROR:
        return TO_HUB | TO_CLIENT | TO_TOWER | TO_USER;
    case MESSAGE_APPOINT:
    case MESSAGE_FETCH:
        return TO_TOWER;
    case MESSAGE_RECEIPT:
    case MESSAGE_KEPT:
        return TO_USER;
    }
    return 0;
}

static bool is_allowed(const struct link *link, enum message_type type)
{
    bool server = link->server != NULL;
    unsigned here = link->tower ? (server ? TO_TOWER : TO_USER) : (server ? TO_HUB : TO_CLIENT);
    return (directions(type) & here) != 0;
}

/* ---- one message ---- */

/* A peer's text on one line of a log or terminal: control characters could do more there than be read. */
static void readable_text(struct text text, char *out, size_t size)
{
    size_t length = text.length < size - 1 ? text.length : size - 1;
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)text.data[i] < ' ' || text.data[i] == 127 ? '?' : text.data[i];
    out[length] = '\0';
}

static void fatal_error_received(struct link *link, const struct message *message)
{
    char text[TEXT_BYTES_MAX + 1];
    readable_text(message->error.text, text, sizeof text);
    link_fail(link, LINK_CLOSED_ERROR, "the other side said %s: %s", code_name(message->error.code), text);
}

static void dispatch_ready(struct link *link, const struct message *message)
{
    if (!is_allowed(link, message->type)) {
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED, "%s is not for this side of the link",
                    message_name(message->type));
    } else if (message->type == MESSAGE_PING) {
        struct message pong = *message;
        pong.type = MESSAGE_PONG;
        link_queue(link, &pong);
    } else if (message->type != MESSAGE_PONG) {
        link->callbacks.message(link->context, link, message);
    }
}

static void dispatch(struct link *link, const struct message *message)
{
    if (message->type == MESSAGE_ERROR && message->error.fatal)
        fatal_error_received(link, message);
    else if (link->stage == LINK_READY)
        dispatch_ready(link, message);
    else if (link->server != NULL)
        link_server_handshake(link, message);
    else
        link_client_handshake(link, message);
}

/* ---- frames ---- */

static bool may_process(const struct link *link)
{
    return link->stage >= LINK_WAIT_HELLO && link->stage <= LINK_READY && !link->paused && !link->choked &&
           !(link->client != NULL && link->client->redirected);
}

static size_t frame_bytes_max(const struct link *link)
{
    bool unknown = link->server != NULL && link->stage != LINK_READY;
    return unknown ? HANDSHAKE_FRAME_BYTES_MAX : FRAME_BYTES_MAX;
}

/* Works on the first frame if it is whole. Returns false if it is not. The payload is decoded where it lies.
 */
static bool process_frame(struct link *link)
{
    struct evbuffer *input = bufferevent_get_input(link->bev);
    uint8_t head[4];
    if (evbuffer_copyout(input, head, sizeof head) < (ev_ssize_t)sizeof head)
        return false;
    size_t length = load_be32(head);
    if (length > frame_bytes_max(link)) {
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED,
                    "a frame of %zu bytes, more than may come here", length);
        return false;
    }
    if (evbuffer_get_length(input) < sizeof head + length)
        return false;
    const uint8_t *frame = evbuffer_pullup(input, (ev_ssize_t)(sizeof head + length));
    ensure(frame != NULL);

    struct decoder *decoder = link->server != NULL ? link->server->decoder : link->client->decoder;
    struct message message;
    const char *why = NULL;
    if (message_decode(decoder, frame + sizeof head, length, &message, &why) == CODE_OK)
        dispatch(link, &message);
    else
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED, "malformed frame: %s", why);
    (void)evbuffer_drain(input, sizeof head + length);
    return true;
}

/* The stream has ended and all of it was worked off. */
static void finish_ended(struct link *link)
{
    if (link->stage == LINK_FLUSHING || link->stage == LINK_DRAINING)
        link->stage = LINK_OVER;
    else if (link->stage < LINK_READY)
        link_fail(link, LINK_CLOSED_PEER, "the other side closed the connection during the handshake");
    else
        link_fail(link, LINK_CLOSED_PEER, "the other side closed the connection");
}

void link_process_input(struct link *link)
{
    if (link->stage == LINK_OVER || link->bev == NULL)
        return;
    struct evbuffer *input = bufferevent_get_input(link->bev);
    bool more = true;
    unsigned frames = 0;
    while (more && frames < FRAMES_PER_TURN && may_process(link)) {
        more = process_frame(link);
        frames += more;
    }
    if (frames > 0)
        link->heard_us = clock_monotonic_us();
    if (link->client != NULL && link->client->redirected) {
        link_client_redirect(link);
        return;
    }
    if (link_is_closing(link))
        (void)evbuffer_drain(input, evbuffer_get_length(input));
    if (link->ended && !(more && may_process(link)))
        finish_ended(link);
    else if (more && may_process(link))
        link_wake(link);
    link_update_reading(link);
}

void link_on_readable(struct bufferevent *bev, void *argument)
{
    (void)bev;
    struct link *link = argument;
    link_enter(link);
    link_process_input(link);
    link_leave(link);
}

/* ---- the connection ---- */

static void connection_failed(struct link *link)
{
    int error = EVUTIL_SOCKET_ERROR();
    unsigned long tls_error = bufferevent_get_openssl_error(link->bev);
    const char *tls_text = tls_error == 0 ? NULL : ERR_reason_error_string(tls_error);
    ERR_clear_error();
    if (link->stage == LINK_TLS && tls_error != 0)
        link_fail(link, LINK_CLOSED_TLS, "no TLS 1.3 with the other side: %s",
                  tls_text != NULL ? tls_text : "unknown error");
    else if (tls_error != 0)
        link_fail(link, LINK_CLOSED_TLS, "TLS failed: %s", tls_text != NULL ? tls_text : "unknown error");
    else
        link_fail(link, LINK_CLOSED_PEER, "the connection was lost: %s",
                  error == 0 ? "closed by the other side" : evutil_socket_error_to_string(error));
}

void link_on_event(struct bufferevent *bev, short what, void *argument)
{
    (void)bev;
    struct link *link = argument;
    link_enter(link);
    if (what & BEV_EVENT_CONNECTED) {
        if (link->stage == LINK_TLS && link->server != NULL)
            link_server_secured(link);
        else if (link->stage == LINK_TLS)
            link_client_secured(link);
    } else if (link->stage == LINK_FLUSHING || link->stage == LINK_DRAINING) {
        link->stage = LINK_OVER;
    } else if (what & BEV_EVENT_EOF) {
        /* Frames that came before the end still count, an ERROR above all. */
        link->ended = true;
        link_process_input(link);
    } else if (link->stage != LINK_OVER) {
        connection_failed(link);
    }
    link_leave(link);
}
