#include "merchant/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/endpoint.h"
#include "base/ensure.h"
#include "merchant/limits.h"
#include "merchant/public_address.h"
#include "wire/https.h"

#define SWEEP_US 50000

/* An address that has connections without a key. */
struct origin {
    UT_hash_handle hh;
    uint32_t count;
    char address[COUNTED_ADDRESS_SIZE];
};

/* A connection. evhttp frees its bufferevent; a reference of ours keeps the memory until the sweep has seen that. */
struct connection {
    struct http *http;
    struct bufferevent *event;
    uint64_t began_us;     /* a request's first byte came; 0: none is being read */
    uint64_t since_us;     /* it came, or its last request */
    struct origin *origin; /* NULL: nobody's in particular */
    bool is_placed;        /* its address has been looked at; evhttp's socket comes after its bufferevent */
    bool is_kept, is_leaving;
    struct connection *prev, *next;
};

struct http {
    struct event_base *base;
    struct evhttp *server;
    struct evhttp_bound_socket *bound;
    struct https_server *https;
    http_handler *handler;
    bool (*is_shared)(const void *context, const char *address);
    void *context;
    struct connection *connections; /* whose last request, or begin, is longest ago is first */
    struct connection *asking;      /* whose request the handler has */
    struct origin *origins;
    uint32_t count, count_max, address_max;
    bool refusing, stopped;
    struct event *sweep;
    uint16_t port;
};

/* ---- answers ---- */

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {{200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {402, "Payment Required"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {411, "Length Required"},
                 {413, "Content Too Large"},
                 {415, "Unsupported Media Type"},
                 {422, "Unprocessable Content"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"}};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Error";
}

void http_reply_text(struct evhttp_request *request, int status, const char *type, const char *text,
                     size_t length)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    char number[24];
    snprintf(number, sizeof(number), "%zu", length);
    evhttp_add_header(headers, "Content-Length", number);
    /* evhttp would send it: the client would take it for the next answer. */
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
        evbuffer_add(body, text, length);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    if (evhttp_find_header(headers, "Cache-Control") == NULL)
        evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_send_reply(request, status, http_status_text(status), body);
    evbuffer_free(body);
}

void http_reply_json(struct evhttp_request *request, int status, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    ensure(text != NULL);
    json_decref(object);
    http_reply_text(request, status, "application/json", text, strlen(text));
    free(text);
}

json_t *http_error_json(const char *code, const char *message)
{
    json_t *object = json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message);
    /* Something in the message is not UTF-8: the client's own words. */
    if (object == NULL)
        object = json_pack("{s:{s:s, s:s}}", "error", "code", code, "message",
                           "the request has bytes that are not UTF-8");
    ensure(object != NULL);
    return object;
}

void http_error(struct evhttp_request *request, int status, const char *code, const char *format, ...)
{
    char message[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (status == 400 || status == 411 || status == 413)
        evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
    http_reply_json(request, status, http_error_json(code, message));
}

/* ---- the head ---- */

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return true;
    return false;
}

/* What evhttp lets through and must not count: NULL if the head is sound. */
static const char *head_trouble(struct evhttp_request *request)
{
    unsigned lengths = 0, hosts = 0, keys = 0, names = 0;
    const struct evkeyval *header;
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    bool may_have_body = method == EVHTTP_REQ_POST || method == EVHTTP_REQ_PUT || method == EVHTTP_REQ_PATCH;
    if (has_control(evhttp_request_get_uri(request)))
        return "the path has a control character";
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(request), next)
    {
        if (has_control(header->key) || has_control(header->value) || strpbrk(header->key, " \t") != NULL)
            return "a header has a control character, or a space in its name";
        if (strcasecmp(header->key, "Transfer-Encoding") == 0)
            return "send the body with a Content-Length: Transfer-Encoding is not taken";
        keys += strcasecmp(header->key, "Authorization") == 0;
        names += strcasecmp(header->key, "Idempotency-Key") == 0;
        hosts += strcasecmp(header->key, "Host") == 0;
        if (strcasecmp(header->key, "Content-Length") != 0)
            continue;
        lengths++;
        if (strspn(header->value, "0123456789") != strlen(header->value) || header->value[0] == '\0')
            return "Content-Length is not a number";
        if (!may_have_body && strspn(header->value, "0") != strlen(header->value))
            return "this method takes no body";
    }
    if (lengths > 1 || hosts > 1 || keys > 1 || names > 1)
        return "a header that may come once came again";
    return NULL;
}

/* From the end: who asks has often asked a moment ago. */
static struct connection *connection_of(const struct http *http, struct evhttp_request *request)
{
    struct bufferevent *event = evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    struct connection *first = http->connections, *each = first != NULL ? first->prev : NULL;
    while (each != NULL && each->event != event)
        each = each != first ? each->prev : NULL;
    return each;
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct http *http = context;
    struct connection *connection = connection_of(http, request);
    if (connection != NULL) {
        connection->began_us = 0;
        connection->since_us = clock_monotonic_us();
        DL_DELETE(http->connections, connection);
        DL_APPEND(http->connections, connection);
    }
    const char *trouble = head_trouble(request);
    if (trouble != NULL) {
        http_error(request, 400, "bad_request", "%s", trouble);
        return;
    }
    http->asking = connection;
    http->handler(http->context, request);
    http->asking = NULL;
}

/* ---- connections ---- */

/* Bytes came: the clock of a request starts with its first, and a NUL becomes what no good request has. */
static void on_bytes(struct evbuffer *input, const struct evbuffer_cb_info *info, void *context)
{
    struct connection *connection = context;
    struct evbuffer_iovec pieces[16];
    struct evbuffer_ptr from;
    if (info->n_added == 0)
        return;
    if (connection->began_us == 0)
        connection->began_us = clock_monotonic_us();
    size_t left = info->n_added, at = info->orig_size;
    while (left > 0 && evbuffer_ptr_set(input, &from, at, EVBUFFER_PTR_SET) == 0) {
        int count = evbuffer_peek(input, (ev_ssize_t)left, &from, pieces, ARRAY_LENGTH(pieces));
        if (count <= 0)
            return;
        for (int i = 0; i < count && i < (int)ARRAY_LENGTH(pieces) && left > 0; i++) {
            size_t length = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            for (char *byte = pieces[i].iov_base;
                 (byte = memchr(byte, '\0', (size_t)((char *)pieces[i].iov_base + length - byte))) != NULL;)
                *byte = 0x01;
            left -= length;
            at += length;
        }
    }
}

static void origin_leave(struct connection *connection)
{
    struct origin *origin = connection->origin;
    connection->origin = NULL;
    if (origin == NULL || --origin->count > 0)
        return;
    HASH_DEL(connection->http->origins, origin);
    free(origin);
}

static void forget(struct connection *connection)
{
    struct http *http = connection->http;
    origin_leave(connection);
    DL_DELETE(http->connections, connection);
    evbuffer_remove_cb(bufferevent_get_input(connection->event), on_bytes, connection);
    bufferevent_decref(connection->event);
    free(connection);
    http->count--;
}

static bool is_gone(struct bufferevent *event)
{
    bufferevent_data_cb read_cb, write_cb;
    bufferevent_event_cb event_cb;
    void *argument;
    bufferevent_getcb(event, &read_cb, &write_cb, &event_cb, &argument);
    return event_cb == NULL && read_cb == NULL;
}

static void accept_again(struct http *http)
{
    if (!http->refusing || http->stopped || http->count >= http->count_max)
        return;
    http->refusing = false;
    evconnlistener_enable(evhttp_bound_socket_get_listener(http->bound));
}

/* False: the other side has gone. */
static bool peer_text(struct connection *connection, char out[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    if (getpeername(bufferevent_getfd(connection->event), (struct sockaddr *)&address, &length) != 0)
        return false;
    const void *bytes = address.ss_family == AF_INET
                            ? (const void *)&((struct sockaddr_in *)&address)->sin_addr
                            : &((struct sockaddr_in6 *)&address)->sin6_addr;
    return inet_ntop(address.ss_family, bytes, out, INET6_ADDRSTRLEN) != NULL;
}

static void place(struct connection *connection)
{
    struct http *http = connection->http;
    char peer[INET6_ADDRSTRLEN], counted[COUNTED_ADDRESS_SIZE];
    struct origin *origin;
    connection->is_placed = true;
    if (!peer_text(connection, peer) || (http->is_shared != NULL && http->is_shared(http->context, peer)))
        return;
    address_counted(peer, counted);
    HASH_FIND_STR(http->origins, counted, origin);
    if (origin == NULL) {
        origin = xcalloc(1, sizeof(*origin));
        snprintf(origin->address, sizeof(origin->address), "%s", counted);
        HASH_ADD_STR(http->origins, address, origin);
    }
    origin->count++;
    connection->origin = origin;
}

/* evhttp finds the end of the connection, and frees it. */
static void cut(struct connection *connection)
{
    (void)shutdown(bufferevent_getfd(connection->event), SHUT_RDWR);
    connection->began_us = 0;
}

/* How many are to go so that there is room, if all are taken. */
static uint32_t room_lacking(const struct http *http)
{
    uint32_t wanted = (http->count_max + HTTP_ROOM_PART - 1) / HTTP_ROOM_PART;
    return http->count + wanted > http->count_max && http->refusing ? http->count + wanted - http->count_max
                                                                    : 0;
}

/* Those give way whose address has more than its part, and if all are taken a few that have been idle longest. */
static void make_room(struct http *http, uint64_t now)
{
    uint32_t lacking = room_lacking(http);
    struct connection *connection;
    DL_FOREACH(http->connections, connection)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
        const struct origin *origin = connection->origin;
        bool is_over = origin != NULL && origin->count > http->address_max;
        bool is_idle = now > connection->since_us + HTTP_ROOM_IDLE_S * 1000000ull;
        bool goes = !connection->is_kept && !connection->is_leaving && (is_over || (is_idle && lacking > 0));
        lacking -= lacking > 0 && (goes || connection->is_leaving);
        if (!goes)
            continue;
        connection->is_leaving = true;
        origin_leave(connection);
        cut(connection);
    }
}

static void on_sweep(evutil_socket_t descriptor, short what, void *context)
{
    struct http *http = context;
    struct connection *connection, *next;
    uint64_t now = clock_monotonic_us();
    (void)descriptor;
    (void)what;
    DL_FOREACH_SAFE(http->connections, connection, next)
    {
        if (is_gone(connection->event)) {
            forget(connection);
            continue;
        }
        if (!connection->is_placed)
            place(connection);
        if (connection->began_us != 0 && now > connection->began_us + HTTP_REQUEST_S * 1000000ull)
            cut(connection);
    }
    make_room(http, now);
    accept_again(http);
}

static struct bufferevent *on_accept(struct event_base *base, void *context)
{
    struct http *http = context;
    struct connection *connection = xcalloc(1, sizeof(*connection));
    connection->http = http;
    connection->event = http->https != NULL ? https_server_accept(http->https, base)
                                            : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    ensure(connection->event != NULL);
    bufferevent_incref(connection->event);
    /* While it answers, evhttp goes on reading to see the end, and keeps what comes. */
    bufferevent_setwatermark(connection->event, EV_READ, 0, HTTP_INPUT_MAX);
    connection->since_us = connection->began_us = clock_monotonic_us(); /* the TLS handshake counts, too */
    ensure(evbuffer_add_cb(bufferevent_get_input(connection->event), on_bytes, connection) != NULL);
    DL_APPEND(http->connections, connection);
    if (++http->count >= http->count_max && !http->refusing) {
        http->refusing = true;
        evconnlistener_disable(evhttp_bound_socket_get_listener(http->bound));
    }
    return connection->event;
}

/* ---- life ---- */

struct http *http_new(struct event_base *base, const struct http_options *options, http_handler *handler,
                      void *context, char *message, size_t message_size)
{
    struct http *http = xcalloc(1, sizeof(*http));
    uint32_t most = options->connections_max, part = most / HTTP_ADDRESS_PART;
    *http = (struct http){.base = base,
                          .handler = handler,
                          .is_shared = options->is_shared,
                          .context = context,
                          .count_max = most,
                          .address_max = part > HTTP_ADDRESS_MIN ? part : HTTP_ADDRESS_MIN};
    if (options->certificate != NULL) {
        http->https = https_server_open(options->certificate, options->key, message, message_size);
        if (http->https == NULL) {
            http_free(http);
            return NULL;
        }
    }
    http->server = evhttp_new(base);
    ensure(http->server != NULL);
    http->bound = evhttp_bind_socket_with_handle(http->server, options->host, options->port);
    if (http->bound == NULL) {
        snprintf(message, message_size, "cannot listen on %s:%u: %s (choose another --listen)", options->host,
                 options->port, strerror(errno));
        http_free(http);
        return NULL;
    }
    http->port = endpoint_bound_port(evhttp_bound_socket_get_fd(http->bound));
    evhttp_set_bevcb(http->server, on_accept, http);
    /* All, so that what a method may not do is said by the API. */
    evhttp_set_allowed_methods(http->server, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                                 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
                                                 EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(http->server, HTTP_HEADERS_MAX);
    evhttp_set_max_body_size(http->server, HTTP_BODY_MAX);
    evhttp_set_timeout(http->server, HTTP_IDLE_S);
    evhttp_set_default_content_type(http->server, NULL);
    evhttp_set_gencb(http->server, on_request, http);
    http->sweep = event_new(base, -1, EV_PERSIST, on_sweep, http);
    struct timeval every = {.tv_usec = SWEEP_US};
    ensure(http->sweep != NULL && event_add(http->sweep, &every) == 0);
    return http;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

uint32_t http_connections(const struct http *http)
{
    return http->count;
}

void http_keep(struct http *http, bool has_key)
{
    struct connection *connection = http->asking;
    if (connection == NULL)
        return;
    if (!has_key && !connection->is_placed)
        place(connection);
    connection->is_placed = connection->is_kept = true;
    if (has_key)
        origin_leave(connection);
}

void http_stop(struct http *http)
{
    http->stopped = true;
    evconnlistener_disable(evhttp_bound_socket_get_listener(http->bound));
}

void http_free(struct http *http)
{
    if (http == NULL)
        return;
    if (http->sweep != NULL)
        event_free(http->sweep);
    if (http->server != NULL)
        evhttp_free(http->server);
    while (http->connections != NULL)
        forget(http->connections);
    https_server_free(http->https);
    free(http);
}
