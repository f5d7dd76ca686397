#include "ledger/http_post.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define HEADERS_MAX (64 * 1024)

struct http_link {
    struct event_base *base;
    struct evdns_base *names;
    const struct http_target *target;
    uint32_t timeout_ms;
    size_t answer_max;
    http_done *done;
    void *context;
    struct evhttp_connection *connection; /* NULL until used, and after a failure */
    struct event *deadline;
    bool busy;
    bool broken; /* the connection failed: a new one is made for the next post */
    enum evhttp_request_error failure;
    bool has_failure;
    int status;
    uint32_t retry_after_s;
};

static bool is_address(const char *host)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

const char *http_target_parse(const char *url, struct http_target *out)
{
    memset(out, 0, sizeof(*out));
    if (strncmp(url, "https://", 8) == 0)
        return "https is not spoken to ledger nodes: put a local node or a TLS proxy in between and use "
               "http://";
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *problem = NULL;
    const char *host = uri != NULL ? evhttp_uri_get_host(uri) : NULL;
    const char *scheme = uri != NULL ? evhttp_uri_get_scheme(uri) : NULL;
    if (host == NULL || *host == '\0' || scheme == NULL || strcmp(scheme, "http") != 0) {
        problem = "the ledger's URL must read http://HOST:PORT";
    } else if (strlen(host) > HTTP_HOST_MAX) {
        problem = "the host in the ledger's URL is too long";
    } else {
        size_t length = strlen(host);
        bool bracketed = host[0] == '[' && host[length - 1] == ']';
        snprintf(out->host, sizeof(out->host), "%.*s", (int)(bracketed ? length - 2 : length),
                 host + bracketed);
        out->is_name = !is_address(out->host);
        int port = evhttp_uri_get_port(uri);
        out->port = (uint16_t)(port <= 0 || port > UINT16_MAX ? 80 : port);
        const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
        int written =
            snprintf(out->path, sizeof(out->path), "%s%s%s", path == NULL || *path == '\0' ? "/" : path,
                     query != NULL ? "?" : "", query != NULL ? query : "");
        if (written < 0 || (size_t)written >= sizeof(out->path))
            problem = "the path in the ledger's URL is too long";
    }
    if (uri != NULL)
        evhttp_uri_free(uri);
    return problem;
}

static void connection_drop(struct http_link *link)
{
    if (link->connection != NULL)
        evhttp_connection_free(link->connection); /* with its request, whose callback is not called */
    link->connection = NULL;
    link->broken = false;
}

static void finish(struct http_link *link, enum http_outcome outcome, const uint8_t *data, size_t length,
                   const char *text)
{
    link->busy = false;
    evtimer_del(link->deadline);
    link->done(link->context, outcome, data, length, text);
}

/* The whole exchange took too long, however busy the line was. */
static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct http_link *link = context;
    connection_drop(link);
    link->status = 0;
    link->retry_after_s = 0;
    char text[64];
    snprintf(text, sizeof(text), "no answer within %u ms", link->timeout_ms);
    finish(link, HTTP_TIMEOUT, NULL, 0, text);
}

static void on_failure(enum evhttp_request_error failure, void *context)
{
    struct http_link *link = context;
    link->failure = failure;
    link->has_failure = true;
}

static void failed(struct http_link *link, int socket_error)
{
    link->broken = true;
    if (link->has_failure && link->failure == EVREQ_HTTP_DATA_TOO_LONG) {
        finish(link, HTTP_TOO_LONG, NULL, 0, "the answer is too long");
    } else if (link->has_failure && link->failure == EVREQ_HTTP_TIMEOUT) {
        finish(link, HTTP_TIMEOUT, NULL, 0, "no answer in time");
    } else if (link->has_failure) {
        finish(link, HTTP_NO_CONNECTION, NULL, 0, "the connection was closed before the answer was complete");
    } else {
        char text[128];
        const char *reason = socket_error != 0 ? evutil_socket_error_to_string(socket_error) : "no answer";
        snprintf(text, sizeof(text), "cannot connect: %s", reason);
        finish(link, HTTP_NO_CONNECTION, NULL, 0, text);
    }
}

static uint32_t retry_after_read(struct evhttp_request *request)
{
    const char *text = evhttp_find_header(evhttp_request_get_input_headers(request), "Retry-After");
    if (text == NULL || *text < '0' || *text > '9')
        return 0;
    unsigned long seconds = strtoul(text, NULL, 10);
    return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
}

static void on_answer(struct evhttp_request *request, void *context)
{
    struct http_link *link = context;
    int socket_error = EVUTIL_SOCKET_ERROR();
    int status = request != NULL ? evhttp_request_get_response_code(request) : 0;
    link->status = status;
    link->retry_after_s = status != 0 ? retry_after_read(request) : 0;
    if (status == 0) {
        failed(link, socket_error);
        return;
    }
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(body);
    const uint8_t *data = length > 0 ? evbuffer_pullup(body, -1) : (const uint8_t *)"";
    ensure(data != NULL);
    if (length > link->answer_max) {
        link->broken = true;
        finish(link, HTTP_TOO_LONG, NULL, 0, "the answer is too long");
    } else if (status == HTTP_OK) {
        finish(link, HTTP_ANSWERED, data, length, NULL);
    } else {
        char text[32];
        snprintf(text, sizeof(text), "HTTP status %d", status);
        finish(link, HTTP_STATUS, data, length, text);
    }
}

struct http_link *http_link_new(struct event_base *base, struct evdns_base *names,
                                const struct http_target *target, uint32_t timeout_ms, size_t answer_max,
                                http_done *done, void *context)
{
    struct http_link *link = xcalloc(1, sizeof(*link));
    *link = (struct http_link){.base = base,
                               .names = names,
                               .target = target,
                               .timeout_ms = timeout_ms,
                               .answer_max = answer_max,
                               .done = done,
                               .context = context};
    link->deadline = evtimer_new(base, on_deadline, link);
    ensure(link->deadline != NULL);
    return link;
}

void http_link_free(struct http_link *link)
{
    connection_drop(link);
    event_free(link->deadline);
    free(link);
}

bool http_link_is_busy(const struct http_link *link)
{
    return link->busy;
}

int http_link_status(const struct http_link *link)
{
    return link->status;
}

uint32_t http_link_retry_after_s(const struct http_link *link)
{
    return link->retry_after_s;
}

void http_link_answer_max(struct http_link *link, size_t answer_max)
{
    link->answer_max = answer_max;
}

static bool connection_make(struct http_link *link)
{
    const struct http_target *target = link->target;
    if (link->broken)
        connection_drop(link);
    if (link->connection != NULL)
        return true;
    link->connection = evhttp_connection_base_new(link->base, link->names, target->host, target->port);
    if (link->connection == NULL)
        return false;
    evhttp_connection_set_max_headers_size(link->connection, HEADERS_MAX);
    /* The deadline above comes first; libevent's own is a second line. */
    evhttp_connection_set_timeout(link->connection, (int)(link->timeout_ms / 1000 + 2));
    return true;
}

bool http_link_post(struct http_link *link, const char *body, size_t length)
{
    ensure(!link->busy);
    if (!connection_make(link))
        return false;
    evhttp_connection_set_max_body_size(link->connection, (ev_ssize_t)link->answer_max);
    struct evhttp_request *request = evhttp_request_new(on_answer, link);
    if (request == NULL)
        return false;
    evhttp_request_set_error_cb(request, on_failure);
    char host[HTTP_HOST_MAX + 16];
    bool is_v6 = strchr(link->target->host, ':') != NULL;
    snprintf(host, sizeof(host), "%s%s%s:%u", is_v6 ? "[" : "", link->target->host, is_v6 ? "]" : "",
             (unsigned)link->target->port);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (evhttp_add_header(headers, "Host", host) != 0 ||
        evhttp_add_header(headers, "Content-Type", "application/json") != 0 ||
        evbuffer_add(evhttp_request_get_output_buffer(request), body, length) != 0) {
        evhttp_request_free(request);
        return false;
    }
    link->has_failure = false;
    struct timeval deadline = {link->timeout_ms / 1000, (suseconds_t)(link->timeout_ms % 1000) * 1000};
    evtimer_add(link->deadline, &deadline);
    link->busy = true;
    if (evhttp_make_request(link->connection, request, EVHTTP_REQ_POST, link->target->path) == 0)
        return true;
    /* The request is libevent's even when it refuses it. */
    evtimer_del(link->deadline);
    link->busy = false;
    link->broken = true;
    return false;
}
