/* The clients' connections: a request at a time, read strictly, with a limit on everything.
 *
 *     HEAD ─ a whole head ─▶ BUSY ─ answered ─▶ SKIPPING (what is left of the request's body) ─▶ HEAD
 *                            │         └──────▶ CLOSING (the answer leaves; what still comes is thrown away) ─▶ gone
 *                            └─ has hung up before the answer to what it paid ─▶ GATHERING ─ answer kept ─▶ CLOSING
 */
#include "merchant/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/endpoint.h"
#include "base/ensure.h"
#include "base/log.h"
#include "merchant/http.h"

#define HEAD_S         30           /* for a whole head, from its first byte */
#define IDLE_S         75           /* between requests */
#define SKIP_BYTES_MAX (256 * 1024) /* of a body nobody wants, before the connection is closed instead */
#define CLOSING_S      2

enum client_state { CLIENT_HEAD, CLIENT_BUSY, CLIENT_SKIPPING, CLIENT_CLOSING, CLIENT_GATHERING };

struct client {
    struct proxy *proxy;
    struct bufferevent *stream;
    struct bufferevent *connection; /* GATHERING: the client's, while `stream` leads nowhere */
    char peer[FRONT_ADDRESS_SIZE],
        address[FRONT_ADDRESS_SIZE]; /* address: of whoever asks, if peer is a front */
    enum client_state state;
    struct exchange *exchange;
    struct http_body skipped;
    uint64_t skipped_bytes, head_since_us;
    bool finished; /* CLOSING: it sends no more, and may still take what is sent */
    struct event *next_turn;
    struct client *prev, *next;
};

static void on_read(struct bufferevent *stream, void *context);

struct bufferevent *client_stream(struct client *client)
{
    return client->stream;
}

const char *client_address(const struct client *client)
{
    return client->address;
}

static void listen_again(struct proxy *proxy)
{
    if (!proxy->listening && proxy->listener != NULL && proxy->client_count < proxy->settings->connections)
        proxy->listening = evconnlistener_enable(proxy->listener) == 0;
}

static void free_client(struct client *client)
{
    struct proxy *proxy = client->proxy;
    if (client->exchange != NULL)
        exchange_client_gone(client->exchange);
    DL_DELETE(proxy->clients, client);
    proxy->client_count--;
    event_free(client->next_turn);
    if (client->connection != NULL)
        bufferevent_free(client->connection);
    bufferevent_free(client->stream);
    free(client);
    listen_again(proxy);
}

static void set_timeouts(struct client *client, uint64_t read_s)
{
    const struct timeval read = {(time_t)read_s, 0},
                         write = {(time_t)client->proxy->settings->client_timeout_s, 0};
    bufferevent_set_timeouts(client->stream, &read, &write);
}

/* The answer leaves first; a close with unread bytes would reset it away. */
static void begin_closing(struct client *client)
{
    client->state = CLIENT_CLOSING;
    client->skipped_bytes = 0;
    set_timeouts(client, CLOSING_S);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
    if (evbuffer_get_length(bufferevent_get_output(client->stream)) == 0)
        shutdown(bufferevent_getfd(client->stream), SHUT_WR);
}

static void next_request(struct client *client)
{
    client->state = CLIENT_HEAD;
    client->head_since_us = 0;
    set_timeouts(client, IDLE_S);
    bufferevent_enable(client->stream, EV_READ);
    /* From the loop, so that a client that sends many at once neither nests calls nor starves others. */
    if (evbuffer_get_length(bufferevent_get_input(client->stream)) > 0)
        event_active(client->next_turn, EV_TIMEOUT, 0);
}

/* ---- answering ---- */

static void write_date(struct buffer *out)
{
    static time_t at;
    static char text[64];
    time_t now = time(NULL);
    if (now != at) {
        struct tm parts;
        gmtime_r(&now, &parts);
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        at = now;
    }
    buffer_printf(out, "Date: %s\r\n", text);
}

static void write_answer(struct client *client, unsigned status, const char *headers, json_t *body,
                         bool is_head, bool keep)
{
    struct buffer out = {0};
    char *text = json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER);
    ensure(text != NULL);
    buffer_printf(&out, "HTTP/1.1 %u %s\r\n", status, http_status_text((int)status));
    write_date(&out);
    buffer_printf(
        &out, "Content-Type: application/json\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n%s%s\r\n",
        strlen(text) + 1, headers != NULL ? headers : "", keep ? "" : "Connection: close\r\n");
    if (!is_head)
        buffer_printf(&out, "%s\n", text);
    bufferevent_write(client->stream, out.data, out.length);
    buffer_free(&out);
    free(text);
    json_decref(body);
}

static json_t *error_json(const char *code, const char *message)
{
    json_t *body = json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message);
    ensure(body != NULL);
    return body;
}

/* Before there is an exchange: the connection cannot go on after it. */
static void refuse_head(struct client *client, unsigned status, const char *code, const char *message)
{
    client->proxy->figures.refused++;
    write_answer(client, status, NULL, error_json(code, message), false, false);
    begin_closing(client);
}

/* Small bodies are read past, others cost the connection: nobody can be made to read what is not paid for. */
static bool can_skip(const struct exchange *exchange)
{
    const struct http_body *body = &exchange->body;
    return body->ended || (!exchange->head.expects_continue && body->framing == HTTP_BODY_LENGTH &&
                           body->left <= SKIP_BYTES_MAX);
}

void client_answer(struct exchange *exchange, unsigned status, const char *headers, json_t *body)
{
    bool keep = exchange->head.keep_alive && can_skip(exchange);
    write_answer(exchange->client, status, headers, body, exchange->is_head, keep);
    exchange->head.keep_alive = keep;
    client_done(exchange, true);
}

void client_answer_error(struct exchange *exchange, unsigned status, const char *code, const char *message)
{
    exchange->proxy->figures.refused += status < 500;
    client_answer(exchange, status, exchange->gave_back ? "Rill-Receipt: returned\r\n" : NULL,
                  error_json(code, message));
}

void client_answer_kept(struct exchange *exchange, struct evbuffer *answer)
{
    bufferevent_write_buffer(exchange->client->stream, answer);
    exchange->head.keep_alive = false; /* as its head says */
    client_done(exchange, true);
}

/* ---- gathering ---- */

bool client_has_hung_up(const struct client *client)
{
    struct pollfd side = {.fd = bufferevent_getfd(client->stream), .events = POLLRDHUP};
    return poll(&side, 1, 0) > 0;
}

void client_gather(struct client *client)
{
    client->connection = client->stream;
    client->stream = bufferevent_socket_new(client->proxy->base, -1, 0);
    ensure(client->stream != NULL);
    bufferevent_disable(client->stream, EV_READ | EV_WRITE);
    evbuffer_unfreeze(bufferevent_get_output(client->stream), 1); /* it is taken out again by us */
    client->state = CLIENT_GATHERING;
    client->exchange->head.keep_alive = false;
}

bool client_is_gathering(const struct client *client)
{
    return client->state == CLIENT_GATHERING;
}

void client_gather_no_more(struct client *client)
{
    bufferevent_write_buffer(client->connection, bufferevent_get_output(client->stream));
    bufferevent_free(client->stream);
    client->stream = client->connection;
    client->connection = NULL;
    client->state = CLIENT_BUSY;
}

static void keep_gathered(const struct client *client)
{
    const struct ticket *ticket = &client->exchange->ticket;
    struct evbuffer *answer = bufferevent_get_output(client->stream);
    size_t length = evbuffer_get_length(answer);
    kept_answers_put(client->proxy->kept, &ticket->secret_hash, ticket->expiry, clock_unix_s(),
                     evbuffer_pullup(answer, -1), length);
}

void client_done(struct exchange *exchange, bool whole)
{
    struct client *client = exchange->client;
    if (client->state == CLIENT_GATHERING) {
        if (whole && !exchange->gave_back)
            keep_gathered(client);
        client_gather_no_more(client);
    }
    bool keep = whole && exchange->head.keep_alive && can_skip(exchange);
    client->skipped = exchange->body;
    client->exchange = NULL;
    exchange_free(exchange);
    if (!keep) {
        begin_closing(client);
        return;
    }
    if (client->skipped.ended) {
        next_request(client);
        return;
    }
    client->state = CLIENT_SKIPPING;
    set_timeouts(client, client->proxy->settings->client_timeout_s);
    bufferevent_enable(client->stream, EV_READ);
    event_active(client->next_turn, EV_TIMEOUT, 0);
}

/* ---- reading ---- */

/* All of them in their order: the last ones are the nearest front's. */
static void read_forwarded_for(struct client *client, const struct http_head *head)
{
    struct buffer list = {0};
    for (size_t i = 0; i < head->header_count; i++)
        if (http_text_is_caseless(head->headers[i].name, "x-forwarded-for"))
            buffer_printf(&list, "%s%.*s", list.length > 0 ? "," : "", (int)head->headers[i].value.length,
                          head->headers[i].value.data);
    buffer_u8(&list, '\0');
    fronts_client(&client->proxy->fronts, client->peer, (const char *)list.data, client->address);
    buffer_free(&list);
}

static void begin_exchange(struct client *client, const char *bytes, size_t used)
{
    struct exchange *exchange = xcalloc(1, sizeof(*exchange));
    size_t again;
    exchange->proxy = client->proxy;
    exchange->client = client;
    exchange->began_us = clock_monotonic_us();
    buffer_append(&exchange->head_bytes, bytes, used);
    evbuffer_drain(bufferevent_get_input(client->stream), used);
    enum http_result result =
        http_read_request((const char *)exchange->head_bytes.data, used, &exchange->head, &again);
    ensure(result == HTTP_DONE && again == used);
    exchange->body = http_body_of(&exchange->head);
    if (fronts_have(&client->proxy->fronts, client->peer))
        read_forwarded_for(client, &exchange->head);
    client->exchange = exchange;
    client->state = CLIENT_BUSY;
    client->proxy->figures.requests++;
    /* Until the body is wanted, nothing is read: what the client sends waits in its own socket. */
    bufferevent_disable(client->stream, EV_READ);
    set_timeouts(client, client->proxy->settings->client_timeout_s);
    exchange_begin(exchange);
}

static void read_head(struct client *client)
{
    struct evbuffer *input = bufferevent_get_input(client->stream);
    struct http_head head;
    size_t length = evbuffer_get_length(input), used;
    if (length == 0)
        return;
    if (length > HTTP_HEAD_BYTES_MAX)
        length = HTTP_HEAD_BYTES_MAX;
    uint64_t now = clock_monotonic_us();
    if (client->head_since_us == 0)
        client->head_since_us = now;
    const char *bytes = (const char *)evbuffer_pullup(input, (ssize_t)length);
    switch (http_read_request(bytes, length, &head, &used)) {
    case HTTP_DONE:
        begin_exchange(client, bytes, used);
        return;
    case HTTP_MORE:
        if (now - client->head_since_us > HEAD_S * 1000000ull)
            refuse_head(client, 408, "request_timeout", "the request's head took too long");
        else
            set_timeouts(client, HEAD_S);
        return;
    case HTTP_LARGE:
        refuse_head(client, 431, "head_too_large", "the request's head is longer than 32 KiB");
        return;
    case HTTP_REFUSED:
        refuse_head(client, 400, "bad_request",
                    "not a request of HTTP/1.1 that can be read in one way only (docs/pay-per-request.md)");
        return;
    }
}

static void skip_body(struct client *client)
{
    struct evbuffer *input = bufferevent_get_input(client->stream);
    struct evbuffer_iovec piece;
    while (!client->skipped.ended && evbuffer_peek(input, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        struct http_text content;
        size_t used;
        bool good = http_body_read(&client->skipped, piece.iov_base, piece.iov_len, &used, &content);
        evbuffer_drain(input, used);
        if (!good) {
            begin_closing(client);
            return;
        }
    }
    if (client->skipped.ended)
        next_request(client);
}

static void on_read(struct bufferevent *stream, void *context)
{
    struct client *client = context;
    struct evbuffer *input = bufferevent_get_input(stream);
    switch (client->state) {
    case CLIENT_HEAD:
        read_head(client);
        return;
    case CLIENT_BUSY:
        exchange_client_read(client->exchange);
        return;
    case CLIENT_SKIPPING:
        skip_body(client);
        return;
    case CLIENT_CLOSING:
        client->skipped_bytes += evbuffer_get_length(input);
        evbuffer_drain(input, evbuffer_get_length(input));
        if (client->skipped_bytes > SKIP_BYTES_MAX)
            free_client(client);
        return;
    case CLIENT_GATHERING:
        return;
    }
}

static void on_next_turn(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct client *client = context;
    if (client->state != CLIENT_BUSY && client->state != CLIENT_GATHERING)
        on_read(client->stream, client);
}

static void on_write(struct bufferevent *stream, void *context)
{
    struct client *client = context;
    if (client->state == CLIENT_BUSY)
        exchange_client_written(client->exchange);
    else if (client->state == CLIENT_CLOSING && evbuffer_get_length(bufferevent_get_output(stream)) == 0) {
        if (client->finished)
            free_client(client);
        else
            shutdown(bufferevent_getfd(stream), SHUT_WR);
    }
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    struct client *client = context;
    bool slow = (what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0;
    if (slow && client->state == CLIENT_HEAD && client->head_since_us != 0) {
        refuse_head(client, 408, "request_timeout", "the request's head took too long");
        return;
    }
    if ((what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0 && client->state == CLIENT_CLOSING &&
        evbuffer_get_length(bufferevent_get_output(stream)) > 0) {
        client->finished = true;
        return;
    }
    free_client(client);
}

/* ---- accepting ---- */

static void set_address(struct client *client, const struct sockaddr *address)
{
    const void *bytes = address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (inet_ntop(address->sa_family, bytes, client->peer, sizeof(client->peer)) == NULL)
        snprintf(client->peer, sizeof(client->peer), "unknown");
    memcpy(client->address, client->peer, sizeof(client->address));
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t socket, struct sockaddr *address,
                      int length, void *context)
{
    (void)listener;
    (void)length;
    struct proxy *proxy = context;
    struct client *client = xcalloc(1, sizeof(*client));
    int on = 1;
    client->proxy = proxy;
    set_address(client, address);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    client->stream = bufferevent_socket_new(proxy->base, socket, BEV_OPT_CLOSE_ON_FREE);
    client->next_turn = evtimer_new(proxy->base, on_next_turn, client);
    ensure(client->stream != NULL && client->next_turn != NULL);
    DL_APPEND(proxy->clients, client);
    proxy->client_count++;
    bufferevent_setcb(client->stream, on_read, on_write, on_event, client);
    bufferevent_setwatermark(client->stream, EV_READ, 0, PROXY_READ_BYTES);
    bufferevent_setwatermark(client->stream, EV_WRITE, PROXY_PIPE_BYTES / 2, 0);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
    set_timeouts(client, IDLE_S);
    /* The others wait in the kernel's queue until one goes. */
    if (proxy->client_count >= proxy->settings->connections)
        proxy->listening = evconnlistener_disable(proxy->listener) != 0;
}

bool clients_listen(struct proxy *proxy, char *message, size_t message_size)
{
    const char *listen = proxy->settings->listen;
    char host[HOST_BYTES_MAX + 1], port[8];
    uint16_t number;
    struct addrinfo *address,
        hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    bool split = endpoint_split(listen, host, &number);
    snprintf(port, sizeof(port), "%u", split ? number : 0);
    size_t host_length = split ? strlen(host) : 0;
    if (host_length > 2 && host[0] == '[' && host[host_length - 1] == ']') {
        memmove(host, host + 1, host_length - 2);
        host[host_length - 2] = '\0';
    }
    if (!split || getaddrinfo(host, port, &hints, &address) != 0) {
        snprintf(message, message_size, "--listen '%.100s' is not ADDRESS:PORT", listen);
        return false;
    }
    proxy->listener = evconnlistener_new_bind(
        proxy->base, on_accept, proxy, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
        1024, address->ai_addr, (int)address->ai_addrlen);
    freeaddrinfo(address);
    if (proxy->listener == NULL)
        snprintf(message, message_size, "cannot listen on %.100s: %s", listen, strerror(errno));
    proxy->listening = proxy->listener != NULL;
    return proxy->listening;
}

void clients_stop(struct proxy *proxy)
{
    struct client *client;
    proxy->stopping = true;
    evconnlistener_free(proxy->listener);
    proxy->listener = NULL;
    DL_FOREACH(proxy->clients, client)
    {
        if (client->state == CLIENT_HEAD || client->state == CLIENT_SKIPPING)
            begin_closing(client);
        else if (client->state == CLIENT_BUSY)
            client->exchange->head.keep_alive = false;
    }
}

void clients_close(struct proxy *proxy)
{
    proxy->ended = true;
    if (proxy->listener != NULL)
        evconnlistener_free(proxy->listener);
    proxy->listener = NULL;
    while (proxy->clients != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
        free_client(proxy->clients);
}

/* ---- what was asked for ---- */

const char *client_scheme(const struct exchange *exchange)
{
    const char *own = exchange->proxy->settings->public_url;
    const struct http_text *said = http_find(&exchange->head, "x-forwarded-proto", NULL);
    bool secure = own != NULL && strncmp(own, "https:", 6) == 0;
    if (said != NULL && fronts_have(&exchange->proxy->fronts, exchange->client->peer))
        secure = http_text_is_caseless(*said, "https");
    return secure ? "https" : "http";
}

void client_resource(const struct exchange *exchange, struct buffer *out)
{
    const char *own = exchange->proxy->settings->public_url;
    const struct http_text *host = http_find(&exchange->head, "host", NULL);
    if (own != NULL)
        buffer_printf(out, "%s", own);
    else if (host != NULL)
        buffer_printf(out, "%s://%.*s", client_scheme(exchange), (int)host->length, host->data);
    else
        buffer_printf(out, "http://%s", exchange->proxy->settings->listen);
    buffer_append(out, exchange->head.target.data, exchange->head.target.length);
}
