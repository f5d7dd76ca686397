/* What arrives on a link: frames out of the stream, who may say what, keepalive, the end of the stream. */
#include "wire/link_internal.h"

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
        link_charge(link);
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
    return link->stage >= LINK_WAIT_HELLO && link->stage <= LINK_READY && !link->paused && !link->resting &&
           !link->choked && !(link->client != NULL && link->client->redirected);
}

#define FRAME_HEAD_BYTES 4

static size_t frame_bytes_max(const struct link *link)
{
    bool unknown = link->server != NULL && link->stage != LINK_READY;
    return unknown ? HANDSHAKE_FRAME_BYTES_MAX : FRAME_BYTES_MAX;
}

/* One to work on, or one whose head is enough to refuse it. */
static bool has_whole_frame(const struct link *link)
{
    size_t waiting;
    const uint8_t *frame = stream_input(&link->stream, &waiting);
    if (waiting < FRAME_HEAD_BYTES)
        return false;
    size_t length = load_be32(frame);
    return length > frame_bytes_max(link) || waiting >= FRAME_HEAD_BYTES + length;
}

/* Works on the first frame if it is whole. Returns false if it is not. The payload is decoded where it lies.
 */
static bool process_frame(struct link *link)
{
    if (!has_whole_frame(link))
        return false;
    size_t waiting;
    const uint8_t *frame = stream_input(&link->stream, &waiting);
    size_t length = load_be32(frame);
    if (length > frame_bytes_max(link)) {
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED,
                    "a frame of %zu bytes, more than may come here", length);
        return false;
    }
    struct message message;
    const char *why = NULL;
    if (message_decode(link->loop->decoder, frame + FRAME_HEAD_BYTES, length, &message, &why) == CODE_OK)
        dispatch(link, &message);
    else
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED, "malformed frame: %s", why);
    stream_consume(&link->stream, FRAME_HEAD_BYTES + length);
    return true;
}

/* The stream has ended and all of it was worked off. What is queued may still leave. */
static void finish_ended(struct link *link)
{
    if (link->stage == LINK_DRAINING)
        link->stage = LINK_OVER;
    else if (link->stage == LINK_FLUSHING)
        return;
    else if (link->stage < LINK_READY)
        link_fail(link, LINK_CLOSED_PEER, "the other side closed the connection during the handshake");
    else
        link_fail(link, LINK_CLOSED_PEER, "the other side closed the connection");
}

static void process_received(struct link *link)
{
    unsigned frames = 0;
    while (frames < FRAMES_PER_TURN && may_process(link) && process_frame(link))
        frames++;
    if (frames > 0)
        link->heard_us = clock_monotonic_us();
    if (link_is_closing(link))
        stream_consume(&link->stream, link_input_bytes(link));
    link->backlog = has_whole_frame(link);
    stream_settle(&link->stream, &link->loop->spare);
}

void link_process_input(struct link *link)
{
    if (link->stage == LINK_OVER || !link_is_attached(link))
        return;
    process_received(link);
    if (link->client != NULL && link->client->redirected) {
        link_client_redirect(link);
        return;
    }
    if (link->ended && !link->backlog)
        finish_ended(link);
    else if (may_process(link) && (link->backlog || link->unread))
        link_wake(link);
    link_watch_input(link);
}

size_t link_input_bytes(const struct link *link)
{
    size_t length;
    (void)stream_input(&link->stream, &length);
    return length;
}
