/* The life of a link; what both ends have in common. link_internal.h has the stages. */
#include "wire/link_internal.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "base/limits.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINGER_MS           1000
#define CHARGES_AT_ONCE     16
#define CHARGES_PER_SECOND  100
#define REST_US             (1000000 / CHARGES_PER_SECOND) /* one is paid for then */
#define OUTPUT_RESUME_BYTES (PEER_OUTPUT_BYTES_MAX / 2)
#define OUTPUT_DROP_BYTES   (2 * (size_t)PEER_OUTPUT_BYTES_MAX)

static void on_timer(evutil_socket_t socket, short what, void *argument);

/* ---- making and freeing ---- */

struct link_times link_times_default(void)
{
    return (struct link_times){HANDSHAKE_TIMEOUT_MS, PING_AFTER_IDLE_MS, DROP_AFTER_SILENCE_MS, LINGER_MS};
}

struct link *link_new(struct event_base *base, const struct link_callbacks *callbacks, void *context)
{
    /* Writing to a connection that is gone is an error like others, not a signal that ends the process. */
    signal(SIGPIPE, SIG_IGN);
    struct link *link = xcalloc(1, sizeof *link);
    link->loop = link_loop_join(base);
    link->stream.socket = -1;
    link->callbacks = *callbacks;
    link->context = context;
    link->times = link_times_default();
    link->charges = (struct throttle){.per_second = CHARGES_PER_SECOND, .burst = CHARGES_AT_ONCE};
    ensure(evtimer_assign(&link->timer, base, on_timer, link) == 0);
    return link;
}

void link_destroy(struct link *link)
{
    ensure(link->busy == 0);
    if (link->server != NULL)
        link_server_forget(link);
    link_client_free(link->client);
    link_detach(link);
    event_del(&link->timer);
    link_loop_forget(link);
    link_loop_leave(link->loop);
    free(link->reason);
    free(link);
}

void link_enter(struct link *link)
{
    link->busy++;
}

/* The end: the owner is told, unless it closed the link itself. */
static void tell_closed(struct link *link)
{
    if (!link->tell)
        return;
    link->tell = false;
    link->callbacks.closed(link->context, link, link->why, link->reason);
}

void link_leave(struct link *link)
{
    if (link->busy == 1 && link->stage == LINK_OVER)
        tell_closed(link);
    if (--link->busy == 0 && link->stage == LINK_OVER)
        link_destroy(link);
}

bool link_is_closing(const struct link *link)
{
    return link->stage >= LINK_FLUSHING;
}

void link_pause(struct link *link, bool pause)
{
    if (link_is_closing(link) || link->paused == pause)
        return;
    link->paused = pause;
    link->heard_us = clock_monotonic_us(); /* a silence of our own making does not count */
    if (!pause)
        link_wake(link);
}

static void arm_timer(struct link *link, uint64_t delay_us);

/* Refusing a forged signature costs more than making one up: without this, one peer could keep all others from their
 * turns. Whoever keeps to the rules never comes here. */
void link_charge(struct link *link)
{
    if (link->stage != LINK_READY)
        return;
    uint64_t now_us = clock_monotonic_us();
    bool allowed = throttle_allows(&link->charges, now_us);
    throttle_take(&link->charges, now_us);
    if (link->resting || allowed)
        return;
    link->resting = true;
    arm_timer(link, REST_US);
}

static void rest_is_over(struct link *link, uint64_t now_us)
{
    link->resting = false;
    link->heard_us = now_us; /* a silence of our own making does not count */
    link_wake(link);
}

/* ---- output ---- */

size_t link_output_bytes(const struct link *link)
{
    return stream_output_bytes(&link->stream);
}

static void choke(struct link *link)
{
    link->choked = true;
    link->drained_bytes = link->queued_bytes - link_output_bytes(link);
    link->drained_us = clock_monotonic_us();
}

static void unchoke(struct link *link)
{
    link->choked = false;
    link->heard_us = clock_monotonic_us();
    if (link->callbacks.drained != NULL && link->stage == LINK_READY)
        link->callbacks.drained(link->context, link);
}

/* A frame of this length has been put at the output's end. */
static void queued(struct link *link, size_t length)
{
    link->queued_bytes += length;
    link_flush_soon(link);
    size_t waiting = link_output_bytes(link);
    if (waiting > OUTPUT_DROP_BYTES)
        link_fail(link, LINK_CLOSED_LIMIT, "the peer takes too little of what is sent: %zu bytes wait",
                  waiting);
    else if (waiting > PEER_OUTPUT_BYTES_MAX && !link->choked)
        choke(link);
}

void link_queue(struct link *link, const struct message *message)
{
    struct buffer *output = &link->stream.output;
    size_t before = output->length;
    message_encode(output, message);
    queued(link, output->length - before);
}

void link_send_frame(struct link *link, const uint8_t *frame, size_t length)
{
    if (link->stage != LINK_READY)
        return;
    buffer_append(&link->stream.output, frame, length);
    queued(link, length);
}

void link_send(struct link *link, const struct message *message)
{
    if (link->stage == LINK_READY)
        link_queue(link, message);
}

/* ---- ending ---- */

/* Notes why, for closed; the first reason stays. */
static void note_reason(struct link *link, enum link_closed why, const char *reason)
{
    if (link->reason != NULL)
        return;
    link->why = why;
    link->reason = xstrdup(reason);
    link->tell = true;
}

static void arm_timer(struct link *link, uint64_t delay_us)
{
    struct timeval delay = {.tv_sec = (time_t)(delay_us / 1000000),
                            .tv_usec = (suseconds_t)(delay_us % 1000000)};
    event_add(&link->timer, &delay);
}

static void set_deadline(struct link *link, unsigned after_ms)
{
    link->deadline_us = clock_monotonic_us() + (uint64_t)after_ms * 1000;
    arm_timer(link, (uint64_t)after_ms * 1000);
}

static void begin_draining(struct link *link)
{
    if (link->ended) {
        link->stage = LINK_OVER;
        return;
    }
    link->stage = LINK_DRAINING;
    stream_end_output(&link->stream);
}

/* What is queued leaves, then the link ends. */
static void begin_flushing(struct link *link)
{
    if (link->server != NULL)
        link_server_count_out(link);
    link->stage = LINK_FLUSHING;
    link->choked = false;
    set_deadline(link, link->times.linger_ms);
    link_watch_input(link);
    if (link_output_bytes(link) == 0)
        link_wake(link); /* nothing to wait for: on with it on our own turn */
}

void link_finish(struct link *link, enum link_closed why, const char *reason)
{
    note_reason(link, why, reason);
    if (!link_is_closing(link))
        begin_flushing(link);
}

void link_fail(struct link *link, enum link_closed why, const char *format, ...)
{
    if (link->stage == LINK_OVER)
        return;
    char reason[REASON_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    bool silent = link_is_closing(link) && link->reason == NULL; /* link_close was called before */
    if (!silent)
        note_reason(link, why, reason);
    if (link->server != NULL)
        link_server_count_out(link);
    link->stage = LINK_OVER;
    link_wake(link);
}

/* As much of a text as an ERROR may carry, cut between characters. */
static struct text error_text(const char *text)
{
    size_t length = strlen(text);
    if (length > TEXT_BYTES_MAX)
        length = TEXT_BYTES_MAX;
    while (!utf8_is_valid((const uint8_t *)text, length))
        length--;
    return (struct text){text, length};
}

static void queue_error(struct link *link, enum code code, const char *text, bool fatal,
                        const struct error_reference *reference)
{
    struct message error = {.type = MESSAGE_ERROR};
    error.error.code = code;
    error.error.text = error_text(text != NULL ? text : code_text(code));
    error.error.fatal = fatal;
    if (reference != NULL)
        error.error.reference = *reference;
    link_queue(link, &error);
}

void link_refuse(struct link *link, enum link_closed why, enum code code, const char *format, ...)
{
    if (link_is_closing(link))
        return;
    char reason[REASON_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    note_reason(link, why, reason);
    queue_error(link, code, reason, true, NULL);
    link_finish(link, why, reason);
}

void link_send_error(struct link *link, enum code code, const char *text, bool fatal,
                     const struct error_reference *reference)
{
    if (link->stage != LINK_READY)
        return;
    queue_error(link, code, text, fatal, reference);
    if (!fatal || link_is_closing(link))
        return;
    char reason[REASON_SIZE];
    snprintf(reason, sizeof reason, "closed with ERROR %s", code_name(code));
    link_finish(link, LINK_CLOSED_SELF, reason);
}

void link_close(struct link *link)
{
    link->tell = false;
    if (link->stage == LINK_OVER)
        return; /* it goes on its own turn */
    if (link_is_closing(link)) {
        free(link->reason);
        link->reason = NULL; /* later failures have nobody to be told to */
        return;
    }
    if (link->stage == LINK_READY && link_output_bytes(link) > 0 && !link->ended) {
        begin_flushing(link);
        return;
    }
    if (link_is_attached(link)) {
        stream_end_output(&link->stream);
        (void)stream_discard(&link->stream);
    }
    link->stage = LINK_OVER;
    if (link->busy == 0)
        link_destroy(link);
}

/* ---- the link's own turns ---- */

void link_become_ready(struct link *link, const struct message *welcome)
{
    if (link->server != NULL)
        link_server_count_out(link);
    link->stage = LINK_READY;
    link->heard_us = clock_monotonic_us();
    set_deadline(link, link->times.ping_after_ms);
    link->callbacks.ready(link->context, link, &link->peer, welcome);
}

void link_output_left(struct link *link)
{
    if (link->stage == LINK_FLUSHING && link_output_bytes(link) == 0)
        begin_draining(link);
    else if (link->choked && link_output_bytes(link) <= OUTPUT_RESUME_BYTES)
        link_wake(link);
}

void link_turn(struct link *link)
{
    if (link->stage == LINK_START) {
        link_client_start(link);
    } else if (link->stage == LINK_FLUSHING && link_output_bytes(link) == 0) {
        begin_draining(link);
    } else if (link->stage >= LINK_WAIT_HELLO && link->stage <= LINK_READY) {
        if (link->choked && link_output_bytes(link) <= OUTPUT_RESUME_BYTES)
            unchoke(link);
        link_process_input(link);
        if (link->unread && !link->backlog && link_wants_input(link)) {
            link_receive(link);
            link_process_input(link);
        }
    }
}

/* A choked peer must take something, a quiet one must answer. Returns when to look again. */
static uint64_t check_ready(struct link *link, uint64_t now_us)
{
    uint64_t ping_after_us = (uint64_t)link->times.ping_after_ms * 1000;
    uint64_t drop_after_us = (uint64_t)link->times.drop_after_ms * 1000;
    if (link->choked) {
        uint64_t drained = link->queued_bytes - link_output_bytes(link);
        if (drained != link->drained_bytes)
            link->drained_us = now_us;
        link->drained_bytes = drained;
        if (now_us - link->drained_us >= drop_after_us)
            link_fail(link, LINK_CLOSED_TIMEOUT, "the peer took nothing of what was sent for %u s",
                      link->times.drop_after_ms / 1000);
        return now_us + ping_after_us;
    }
    if (link->paused) {
        link->heard_us = now_us;
        return now_us + ping_after_us;
    }
    if (now_us - link->heard_us >= drop_after_us) {
        link_fail(link, LINK_CLOSED_TIMEOUT, "nothing was heard for %u s", link->times.drop_after_ms / 1000);
        return now_us;
    }
    uint64_t since_us = link->heard_us > link->pinged_us ? link->heard_us : link->pinged_us;
    if (now_us - since_us >= ping_after_us) {
        struct message ping = {.type = MESSAGE_PING};
        store_be64(ping.ping.bytes, now_us);
        link_queue(link, &ping);
        since_us = link->pinged_us = now_us;
    }
    uint64_t drop_us = link->heard_us + drop_after_us;
    return since_us + ping_after_us < drop_us ? since_us + ping_after_us : drop_us;
}

static void on_timer(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct link *link = argument;
    link_enter(link);
    uint64_t now_us = clock_monotonic_us();
    if (link->stage == LINK_READY && link->resting)
        rest_is_over(link, now_us);
    if (link->stage == LINK_READY)
        link->deadline_us = check_ready(link, now_us);
    else if (link->deadline_us <= now_us) {
        if (link_is_closing(link))
            link->stage = LINK_OVER;
        else
            link_fail(link, LINK_CLOSED_TIMEOUT, "the handshake took longer than %u ms",
                      link->times.handshake_ms);
    }
    if (link->stage != LINK_OVER)
        arm_timer(link, link->deadline_us > now_us ? link->deadline_us - now_us : 1);
    link_leave(link);
}

void link_set_times(struct link *link, const struct link_times *times)
{
    link->times = *times;
    if (link_is_closing(link))
        set_deadline(link, times->linger_ms);
    else if (link->stage == LINK_READY)
        set_deadline(link, times->ping_after_ms);
    else
        set_deadline(link, times->handshake_ms);
}

/* ---- the owner's pointer ---- */

void link_set_user(struct link *link, void *user)
{
    link->user = user;
}

void *link_user(const struct link *link)
{
    return link->user;
}
