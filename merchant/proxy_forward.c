/* One exchange with the service: the request's body one way, the answer's the other, each at most PROXY_PIPE_BYTES ahead.
 *
 *     connecting ─▶ asked ─▶ answer's head ─┬─ pays for itself (once the payment is durable) ─▶ answering ─▶ done
 *         │           │                     ├─ costs more: charged, durable ─▶ answering
 *         │           │                     └─ 5xx: given back, durable ─▶ answering
 *         └───────────┴─ gone: once more on a new connection, if it was an old one and nothing of the body has left;
 *                        else given back, durable ─▶ 502 or 504
 */
#include "merchant/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

/* What follows once the disk has it. */
enum forward_when { WHEN_NOTHING, WHEN_ANSWER, WHEN_MORE, WHEN_BAD_GATEWAY, WHEN_TIMEOUT, WHEN_REFUSED };

static void pump_answer(struct exchange *exchange);
static void begin_answer(struct exchange *exchange);

void exchange_free(struct exchange *exchange)
{
    struct proxy *proxy = exchange->proxy;
    receipts_wait_cancel(proxy->receipts, &exchange->durable);
    offers_cancel(proxy->offers, &exchange->offer);
    offers_cancel(proxy->offers, &exchange->next_offer);
    if (exchange->link != NULL)
        upstream_give(exchange->link, false);
    if (exchange->open)
        payment_served(exchange);
    log_debug("%s %s %s: status %u, %llu units, %llu us", client_address(exchange->client), exchange->method,
              exchange->path, exchange->answering ? exchange->answer.status : 0,
              (unsigned long long)exchange->charged,
              (unsigned long long)(clock_monotonic_us() - exchange->began_us));
    free(exchange->next_made);
    buffer_free(&exchange->head_bytes);
    buffer_free(&exchange->answer_bytes);
    free(exchange);
}

void exchange_begin(struct exchange *exchange)
{
    const struct http_head *head = &exchange->head;
    memcpy(exchange->method, head->method.data, head->method.length);
    exchange->is_head = strcmp(exchange->method, "HEAD") == 0;
    exchange->bytes_allowed = UINT64_MAX;
    exchange->bytes_offered = UINT64_MAX;
    /* A service that takes `get` for GET must not give for another price what GET has one for. */
    if (strpbrk(exchange->method, "abcdefghijklmnopqrstuvwxyz") != NULL) {
        client_answer_error(exchange, 400, "bad_method", "write the method in capitals");
        return;
    }
    if (!http_path(head->target, exchange->path, sizeof(exchange->path))) {
        client_answer_error(
            exchange, 400, "ambiguous_path",
            "the path has dot segments, empty segments or encoded slashes, which two servers may read "
            "differently: write it plainly");
        return;
    }
    if (strncmp(exchange->path, PROXY_ENDPOINTS, strlen(PROXY_ENDPOINTS)) == 0)
        endpoint_begin(exchange);
    else
        payment_begin(exchange);
}

/* ---- the request ---- */

/* CGI and its kin take '_' for '-': a client must not slip our own headers past so. */
static bool header_begins(struct http_text name, const char *with)
{
    size_t length = strlen(with), at = 0;
    while (at < length && at < name.length &&
           ((name.data[at] | 0x20) == with[at] ||
            (with[at] == '-' && (name.data[at] == '_' || name.data[at] == '-'))))
        at++;
    return at == length;
}

static bool is_own_header(struct http_text name)
{
    return header_begins(name, "rill-") || header_begins(name, "x-payment");
}

/* Where the client is and what it asked for: the service believes us, not the client. */
static bool is_forwarding_header(struct http_text name)
{
    return header_begins(name, "x-forwarded-") || http_text_is_caseless(name, "forwarded") ||
           http_text_is_caseless(name, "host");
}

static void write_request_head(struct exchange *exchange, struct buffer *out)
{
    const struct http_head *head = &exchange->head;
    buffer_printf(out, "%s %.*s HTTP/1.1\r\nHost: %s\r\n", exchange->probing ? "HEAD" : exchange->method,
                  (int)head->target.length, head->target.data, upstream_authority(exchange->proxy->upstream));
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (http_is_hop_header(head, header->name) || is_own_header(header->name) ||
            is_forwarding_header(header->name))
            continue;
        buffer_append(out, header->name.data, header->name.length);
        buffer_append(out, ": ", 2);
        buffer_append(out, header->value.data, header->value.length);
        buffer_append(out, "\r\n", 2);
    }
    buffer_printf(out, "X-Forwarded-For: %s\r\nX-Forwarded-Proto: %s\r\nVia: 1.1 rill\r\n",
                  client_address(exchange->client), client_scheme(exchange));
    const struct http_text *host = http_find(head, "host", NULL);
    if (host != NULL)
        buffer_printf(out, "X-Forwarded-Host: %.*s\r\n", (int)host->length, host->data);
    if (exchange->open) {
        char text[HASH_TEXT_SIZE];
        buffer_printf(out, "Rill-Paid-Units: %llu\r\nRill-Payment: %s\r\n",
                      (unsigned long long)exchange->charged, hash_text(&exchange->ticket.secret_hash, text));
    }
    if (!exchange->probing && head->framing == HTTP_BODY_LENGTH)
        buffer_printf(out, "Content-Length: %llu\r\n", (unsigned long long)head->body_length);
    if (!exchange->probing && head->framing == HTTP_BODY_CHUNKED)
        buffer_printf(out, "Transfer-Encoding: chunked\r\n");
    buffer_append(out, "\r\n", 2);
}

static void put_piece(struct evbuffer *from, size_t length, struct evbuffer *to, bool chunked)
{
    if (length == 0)
        return;
    if (chunked)
        evbuffer_add_printf(to, "%zx\r\n", length);
    evbuffer_remove_buffer(from, to, length);
    if (chunked)
        evbuffer_add(to, "\r\n", 2);
}

/* The next piece of a body at the front of `from`: its coding is dropped, its length returned. False: malformed. */
static bool next_piece(struct http_body *body, struct evbuffer *from, size_t *length, bool *progress)
{
    struct evbuffer_iovec extent;
    struct http_text piece;
    size_t used;
    *length = 0;
    *progress = false;
    if (body->ended || evbuffer_peek(from, -1, NULL, &extent, 1) < 1 || extent.iov_len == 0)
        return true;
    if (!http_body_read(body, extent.iov_base, extent.iov_len, &used, &piece))
        return false;
    evbuffer_drain(from, used - piece.length);
    *length = piece.length;
    *progress = used > 0;
    return true;
}

static bool is_full(struct bufferevent *stream)
{
    return evbuffer_get_length(bufferevent_get_output(stream)) >= PROXY_PIPE_BYTES;
}

static void request_ended(struct exchange *exchange, struct bufferevent *client)
{
    exchange->request_sent = true;
    bufferevent_disable(client, EV_READ);
    if (exchange->head.framing == HTTP_BODY_CHUNKED)
        evbuffer_add(bufferevent_get_output(link_up_stream(exchange->link)), "0\r\n\r\n", 5);
}

void exchange_client_read(struct exchange *exchange)
{
    struct bufferevent *client = client_stream(exchange->client);
    if (exchange->link == NULL || !exchange->asked || exchange->request_sent || exchange->probing)
        return;
    struct bufferevent *up = link_up_stream(exchange->link);
    struct evbuffer *from = bufferevent_get_input(client), *to = bufferevent_get_output(up);
    bool progress = true;
    size_t length;
    while (progress && !is_full(up)) {
        if (!next_piece(&exchange->body, from, &length, &progress)) {
            /* The service must not take what it has for a whole request. */
            exchange->head.keep_alive = false;
            if (exchange->answering) {
                client_done(exchange, false);
                return;
            }
            upstream_give(exchange->link, false);
            exchange->link = NULL;
            client_answer_error(exchange, 400, "bad_body",
                                "the chunked coding of the request's body is broken");
            return;
        }
        put_piece(from, length, to, exchange->head.framing == HTTP_BODY_CHUNKED);
    }
    if (exchange->body.ended)
        request_ended(exchange, client);
    else if (is_full(up))
        bufferevent_disable(client, EV_READ);
    else
        bufferevent_enable(client, EV_READ);
}

void exchange_link_written(struct exchange *exchange)
{
    if (exchange->asked && !exchange->request_sent && !exchange->probing)
        exchange_client_read(exchange);
}

static void ask(struct exchange *exchange)
{
    struct buffer head = {0};
    write_request_head(exchange, &head);
    exchange->asked = true;
    bufferevent_write(link_up_stream(exchange->link), head.data, head.length);
    buffer_free(&head);
    bufferevent_enable(link_up_stream(exchange->link), EV_READ);
    if (exchange->head.expects_continue && !exchange->probing && !exchange->retried)
        bufferevent_write(client_stream(exchange->client), "HTTP/1.1 100 Continue\r\n\r\n", 25);
    exchange_client_read(exchange);
}

void exchange_link_ready(struct exchange *exchange)
{
    ask(exchange);
}

void exchange_forward(struct exchange *exchange)
{
    exchange->asked = exchange->request_sent = false;
    buffer_clear(&exchange->answer_bytes);
    memset(&exchange->answer, 0, offsetof(struct http_head, headers));
    exchange->link = upstream_take(exchange->proxy->upstream, exchange, exchange->retried);
    if (exchange->link == NULL)
        exchange_link_gone(exchange, false, false, "too many requests are under way");
    else if (link_up_is_ready(exchange->link))
        ask(exchange);
}

/* ---- when it fails ---- */

static void on_durable(void *context)
{
    struct exchange *exchange = context;
    exchange->paying = false;
    enum forward_when when = (enum forward_when)exchange->forward_when;
    exchange->forward_when = WHEN_NOTHING;
    exchange->paused = false;
    switch (when) {
    case WHEN_ANSWER:
        begin_answer(exchange);
        return;
    case WHEN_MORE:
        pump_answer(exchange);
        return;
    case WHEN_BAD_GATEWAY:
        client_answer(exchange, 502, exchange->gave_back ? "Rill-Receipt: returned\r\n" : NULL,
                      json_pack("{s:{s:s, s:s}}", "error", "code", "bad_gateway", "message",
                                "the service gave no good answer; a payment is good again for this request"));
        return;
    case WHEN_TIMEOUT:
        client_answer(
            exchange, 504, exchange->gave_back ? "Rill-Receipt: returned\r\n" : NULL,
            json_pack("{s:{s:s, s:s}}", "error", "code", "gateway_timeout", "message",
                      "the service did not answer in time; a payment is good again for this request"));
        return;
    case WHEN_REFUSED:
        payment_refuse(exchange, exchange->error, exchange->units_wanted);
        return;
    case WHEN_NOTHING:
        return;
    }
}

static void pause_until(struct exchange *exchange, enum forward_when when)
{
    exchange->forward_when = (uint8_t)when;
    exchange->paused = true;
    if (exchange->link != NULL)
        bufferevent_disable(link_up_stream(exchange->link), EV_READ);
}

/* What has changed just now, and the payment itself. */
static void when_durable(struct exchange *exchange, enum forward_when when)
{
    pause_until(exchange, when);
    receipts_wait_cancel(exchange->proxy->receipts, &exchange->durable);
    receipts_wait(exchange->proxy->receipts, &exchange->durable, on_durable, exchange);
}

void exchange_paid(struct exchange *exchange)
{
    if (exchange->asked || exchange->link != NULL) {
        on_durable(exchange);
        return;
    }
    exchange->paying = false;
    exchange_forward(exchange);
}

static void drop_link(struct exchange *exchange, bool keep)
{
    if (exchange->link != NULL)
        upstream_give(exchange->link, keep);
    exchange->link = NULL;
}

/* Part of the answer is out: nothing but the end of the connection can say that the rest does not come. */
static void cut_off(struct exchange *exchange)
{
    struct bufferevent *client = client_stream(exchange->client);
    if (exchange->answer.framing != HTTP_BODY_NONE && !exchange->chunked &&
        exchange->answer.framing != HTTP_BODY_LENGTH) {
        /* HTTP/1.0 reads until the end: it must not look like a good one. */
        const struct linger reset = {.l_onoff = 1};
        (void)setsockopt(bufferevent_getfd(client), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    exchange->proxy->figures.cut_off++;
    client_done(exchange, false);
}

static void service_failed(struct exchange *exchange, bool timed_out, const char *why)
{
    exchange->proxy->figures.upstream_failures++;
    drop_link(exchange, false);
    log_debug("%s %s: the service failed: %s", exchange->method, exchange->path, why);
    if (exchange->probing) {
        exchange->probing = false;
        client_answer_error(exchange, timed_out ? 504 : 502, timed_out ? "gateway_timeout" : "bad_gateway",
                            "the service does not say what its answer would cost");
        return;
    }
    if (exchange->open)
        payment_return(exchange);
    if (exchange->answering) {
        cut_off(exchange);
        return;
    }
    when_durable(exchange, timed_out ? WHEN_TIMEOUT : WHEN_BAD_GATEWAY);
}

void exchange_link_gone(struct exchange *exchange, bool ended, bool timed_out, const char *why)
{
    bool until_close = exchange->answering && exchange->answer.framing == HTTP_BODY_UNTIL_CLOSE;
    if (exchange->paused) {
        /* What it has said lies in the buffer; whether that is all shows when it is read. */
        return;
    }
    if (ended && until_close) {
        exchange->coded.ended = true;
        pump_answer(exchange);
        return;
    }
    /* An old connection may have been closed by the service just as it was used. */
    bool body_left = exchange->head.framing != HTTP_BODY_NONE;
    if (exchange->link != NULL && link_up_is_reused(exchange->link) && !timed_out && !exchange->retried &&
        exchange->answer.status == 0 && (!body_left || exchange->probing)) {
        drop_link(exchange, false);
        exchange->retried = true;
        exchange_forward(exchange);
        return;
    }
    service_failed(exchange, timed_out, why);
}

void exchange_client_gone(struct exchange *exchange)
{
    struct evbuffer *output = bufferevent_get_output(client_stream(exchange->client));
    uint64_t unsent = evbuffer_get_length(output);
    if (exchange->open && exchange->asked && exchange->proxy->ended) {
        exchange->open = false; /* neither served nor given back */
    } else if (exchange->open && !exchange->asked) {
        payment_return(exchange); /* the service was never asked */
    } else if (exchange->open && exchange->unheard) {
        payment_unheard(exchange);
    } else if (exchange->open && exchange->answering) {
        exchange->bytes_sent -= unsent < exchange->bytes_sent ? unsent : exchange->bytes_sent;
        payment_served(exchange);
    }
    exchange_free(exchange);
}

/* ---- the answer ---- */

static void write_answer_head(struct exchange *exchange)
{
    const struct http_head *answer = &exchange->answer;
    struct buffer out = {0};
    bool until_close = false;
    buffer_printf(&out, "HTTP/1.1 %u %.*s\r\n", answer->status, (int)answer->reason.length,
                  answer->reason.data);
    for (size_t i = 0; i < answer->header_count; i++) {
        const struct http_header *header = &answer->headers[i];
        bool length = http_text_is_caseless(header->name, "content-length");
        bool bodiless = answer->framing == HTTP_BODY_NONE && answer->status != 204;
        if (is_own_header(header->name) || (http_is_hop_header(answer, header->name) &&
                                            !(length && (bodiless || answer->framing == HTTP_BODY_LENGTH))))
            continue;
        buffer_append(&out, header->name.data, header->name.length);
        buffer_append(&out, ": ", 2);
        buffer_append(&out, header->value.data, header->value.length);
        buffer_append(&out, "\r\n", 2);
    }
    exchange->chunked = false;
    if (answer->framing == HTTP_BODY_CHUNKED || answer->framing == HTTP_BODY_UNTIL_CLOSE) {
        exchange->chunked = exchange->head.minor == 1;
        until_close = !exchange->chunked;
        if (exchange->chunked)
            buffer_printf(&out, "Transfer-Encoding: chunked\r\n");
    }
    if (until_close)
        exchange->head.keep_alive = false;
    payment_headers(exchange, &out);
    if (!exchange->head.keep_alive)
        buffer_printf(&out, "Connection: close\r\n");
    else if (exchange->head.minor == 0)
        buffer_printf(&out, "Connection: keep-alive\r\n");
    buffer_append(&out, "\r\n", 2);
    bufferevent_write(client_stream(exchange->client), out.data, out.length);
    buffer_free(&out);
}

static void on_next_offer(void *context)
{
    struct exchange *exchange = context;
    exchange->next_made = exchange->next_offer.offer;
    exchange->next_offer.offer = NULL;
    exchange->asks_next_offer = false;
    begin_answer(exchange);
}

static void begin_answer(struct exchange *exchange)
{
    if (exchange->asks_next_offer && exchange->next_offer.waiting) {
        exchange->next_offer.done = on_next_offer;
        bufferevent_disable(link_up_stream(exchange->link), EV_READ);
        exchange->paused = true;
        return;
    }
    if (exchange->next_offer.offer != NULL) {
        exchange->next_made = exchange->next_offer.offer;
        exchange->next_offer.offer = NULL;
    }
    exchange->paused = false;
    /* What was paid for is not lost because it took longer than its client waited. */
    if (exchange->open && exchange->pay == PAY_RECEIPT && exchange->request_sent &&
        exchange->head.minor == 1 && client_has_hung_up(exchange->client)) {
        exchange->unheard = true;
        client_gather(exchange->client);
    }
    exchange->coded = http_body_of(&exchange->answer);
    write_answer_head(exchange);
    exchange->answering = true;
    /* A client that still sends while it is answered goes on doing so; the connection ends with the exchange. */
    pump_answer(exchange);
}

static void answer_complete(struct exchange *exchange)
{
    if (exchange->chunked)
        evbuffer_add(bufferevent_get_output(client_stream(exchange->client)), "0\r\n\r\n", 5);
    if (exchange->open)
        payment_served(exchange);
    bool keep = exchange->answer.keep_alive && exchange->request_sent &&
                exchange->answer.framing != HTTP_BODY_UNTIL_CLOSE;
    drop_link(exchange, keep);
    client_done(exchange, true);
}

/* All that is paid for has been sent, and there is more. */
static void budget_reached(struct exchange *exchange)
{
    if (payment_meter_more(exchange)) {
        when_durable(exchange, WHEN_MORE);
        return;
    }
    drop_link(exchange, false);
    payment_served(exchange);
    cut_off(exchange);
}

static void pump_answer(struct exchange *exchange)
{
    struct bufferevent *client = client_stream(exchange->client), *up = link_up_stream(exchange->link);
    struct evbuffer *from = bufferevent_get_input(up), *to = bufferevent_get_output(client);
    bool was_ended = exchange->coded.ended && exchange->answer.framing == HTTP_BODY_UNTIL_CLOSE;
    bool progress = true;
    if (was_ended)
        exchange->coded.ended = false;
    while (progress && !is_full(client)) {
        size_t length;
        if (!next_piece(&exchange->coded, from, &length, &progress)) {
            service_failed(exchange, false, "the coding of its answer is broken");
            return;
        }
        if (length == 0)
            continue;
        uint64_t left = exchange->bytes_allowed - exchange->bytes_sent;
        size_t allowed = left < length ? (size_t)left : length;
        put_piece(from, allowed, to, exchange->chunked);
        exchange->bytes_sent += allowed;
        if (allowed < length) {
            http_body_untake(&exchange->coded, length - allowed);
            budget_reached(exchange);
            return;
        }
    }
    if (was_ended && evbuffer_get_length(from) == 0)
        exchange->coded.ended = true;
    if (exchange->coded.ended) {
        answer_complete(exchange);
        return;
    }
    if (is_full(client) && client_is_gathering(exchange->client)) {
        client_gather_no_more(exchange->client);
        client = client_stream(exchange->client);
    }
    if (is_full(client))
        bufferevent_disable(up, EV_READ);
    else
        bufferevent_enable(up, EV_READ);
}

void exchange_client_written(struct exchange *exchange)
{
    if (exchange->answering && !exchange->paused && exchange->link != NULL)
        pump_answer(exchange);
}

static void on_answer_head(struct exchange *exchange)
{
    const struct http_head *answer = &exchange->answer;
    uint64_t length = answer->framing == HTTP_BODY_LENGTH ? answer->body_length
                      : answer->framing == HTTP_BODY_NONE ? 0
                                                          : UINT64_MAX,
             units = 0;
    bool wait = false;
    if (exchange->probing) {
        size_t count;
        bool good = answer->status < 400 && http_find(answer, "content-length", &count) != NULL;
        uint64_t told = good ? answer->body_length : UINT64_MAX;
        drop_link(exchange, answer->keep_alive);
        exchange->probing = false;
        payment_probed(exchange, told);
        return;
    }
    if (answer->status >= 500 && exchange->open) {
        exchange->proxy->figures.upstream_failures++;
        payment_return(exchange);
        when_durable(exchange, WHEN_ANSWER);
        return;
    }
    exchange->error = payment_meter(exchange, length, &wait, &units);
    if (exchange->error != PAYMENT_OK) {
        drop_link(exchange, false);
        exchange->units_wanted = units;
        when_durable(exchange, WHEN_REFUSED);
        return;
    }
    if (wait)
        when_durable(exchange, WHEN_ANSWER);
    else if (exchange->paying)
        pause_until(exchange, WHEN_ANSWER); /* exchange_paid */
    else
        begin_answer(exchange);
}

static void read_answer_head(struct exchange *exchange)
{
    struct evbuffer *input = bufferevent_get_input(link_up_stream(exchange->link));
    for (;;) {
        size_t length = evbuffer_get_length(input), used, again;
        if (length == 0)
            return;
        if (length > HTTP_HEAD_BYTES_MAX)
            length = HTTP_HEAD_BYTES_MAX;
        const char *bytes = (const char *)evbuffer_pullup(input, (ssize_t)length);
        bool no_body = exchange->is_head || exchange->probing;
        enum http_result result = http_read_answer(bytes, length, no_body, &exchange->answer, &used);
        if (result == HTTP_MORE) {
            exchange->answer.status = 0;
            return;
        }
        if (result != HTTP_DONE || exchange->answer.status == 101) {
            service_failed(exchange, false, "its answer is not one of HTTP/1.1");
            return;
        }
        if (exchange->answer.status < 200) {
            evbuffer_drain(input, used);
            exchange->answer.status = 0;
            continue;
        }
        buffer_append(&exchange->answer_bytes, bytes, used);
        evbuffer_drain(input, used);
        result = http_read_answer((const char *)exchange->answer_bytes.data, used, no_body, &exchange->answer,
                                  &again);
        ensure(result == HTTP_DONE && again == used);
        on_answer_head(exchange);
        return;
    }
}

void exchange_link_read(struct exchange *exchange)
{
    if (exchange->paused || !exchange->asked)
        return;
    if (exchange->answering)
        pump_answer(exchange);
    else
        read_answer_head(exchange);
}
