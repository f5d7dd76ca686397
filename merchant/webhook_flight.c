#include "merchant/webhook_flight.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ensure.h"
#include "base/version.h"
#include "merchant/limits.h"
#include "merchant/public_address.h"
#include "wire/https.h"
#include "wire/resolve.h"

struct flight {
    struct event_base *base;
    struct https_client *https;
    struct target target;
    flight_done *done;
    void *context;
    struct resolve *resolve;
    struct evhttp_connection *connection;
    struct evbuffer *body;
    char signature[128], event_id[64];
    struct event *end; /* its deadline; made active when the outcome is known */
    bool has_outcome;
    int status;
    char reason[160];
};

/* ---- targets ---- */

static bool is_listed(const char *list, const char *host)
{
    size_t length = strlen(host);
    for (const char *at = list; at != NULL && *at != '\0';) {
        size_t entry = strcspn(at, ",");
        if (entry == length && strncasecmp(at, host, length) == 0)
            return true;
        at += entry;
        at += *at == ',';
    }
    return false;
}

static const char *take_parts(const struct evhttp_uri *uri, const char *allow, struct target *out)
{
    const char *scheme = evhttp_uri_get_scheme(uri), *host = evhttp_uri_get_host(uri);
    const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
    int port = evhttp_uri_get_port(uri);
    if (scheme == NULL || host == NULL || host[0] == '\0' ||
        (strcasecmp(scheme, "https") != 0 && strcasecmp(scheme, "http") != 0))
        return "the URL does not begin with https:// and a host";
    if (evhttp_uri_get_userinfo(uri) != NULL || evhttp_uri_get_fragment(uri) != NULL)
        return "the URL has a user name or a fragment: leave them out";
    *out = (struct target){.https = strcasecmp(scheme, "https") == 0};
    /* "[::1]" is how a URL writes ::1. */
    size_t length = strlen(host);
    bool brackets = host[0] == '[' && host[length - 1] == ']';
    if (length >= sizeof(out->host))
        return "the URL's host is too long";
    snprintf(out->host, sizeof(out->host), "%.*s", (int)(length - (brackets ? 2 : 0)),
             host + (brackets ? 1 : 0));
    out->allowed = is_listed(allow, out->host);
    out->port = (uint16_t)(port > 0 ? port : out->https ? 443 : 80);
    if (port == 0 || port > 65535)
        return "the URL's port is not one";
    if (snprintf(out->path, sizeof(out->path), "%s%s%s", path != NULL && path[0] != '\0' ? path : "/",
                 query != NULL ? "?" : "", query != NULL ? query : "") >= (int)sizeof(out->path))
        return "the URL is too long";
    return NULL;
}

const char *target_parse(const char *url, const char *allow, struct target *out)
{
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    struct resolved numeric;
    const char *trouble = uri == NULL ? "the URL cannot be read" : take_parts(uri, allow, out);
    if (uri != NULL)
        evhttp_uri_free(uri);
    if (trouble != NULL || out->allowed)
        return trouble;
    if (!out->https)
        return "events are told over https alone; a host that --webhook-allow names may be plain";
    if (resolve_numeric(out->host, out->port, &numeric) &&
        !address_is_public((const struct sockaddr *)&numeric.addresses[0].address))
        return "the address is not one of the public Internet; a host that --webhook-allow names may be "
               "private";
    return NULL;
}

/* ---- flying ---- */

static void PRINTF_LIKE(3, 4) outcome(struct flight *flight, int status, const char *format, ...)
{
    va_list arguments;
    if (flight->has_outcome)
        return;
    flight->has_outcome = true;
    flight->status = status;
    va_start(arguments, format);
    vsnprintf(flight->reason, sizeof(flight->reason), format, arguments);
    va_end(arguments);
    event_active(flight->end, EV_TIMEOUT, 0);
}

static void on_end(evutil_socket_t descriptor, short what, void *context)
{
    struct flight *flight = context;
    (void)descriptor;
    (void)what;
    int status = flight->has_outcome ? flight->status : 0;
    flight->done(flight->context, status, flight->has_outcome ? flight->reason : "no answer in time");
    flight_free(flight);
}

static void on_answer(struct evhttp_request *request, void *context)
{
    struct flight *flight = context;
    int status = request != NULL ? evhttp_request_get_response_code(request) : 0;
    if (status == 0)
        outcome(flight, 0, "the connection failed: refused, no TLS with a good certificate, or not HTTP");
    else
        outcome(flight, status, "HTTP status %d", status);
}

static void add_headers(const struct flight *flight, struct evhttp_request *request)
{
    char host[300];
    const struct target *target = &flight->target;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    bool usual = target->port == (target->https ? 443 : 80), brackets = strchr(target->host, ':') != NULL;
    int length =
        snprintf(host, sizeof(host), "%s%s%s", brackets ? "[" : "", target->host, brackets ? "]" : "");
    if (!usual)
        snprintf(host + length, sizeof(host) - (size_t)length, ":%u", target->port);
    evhttp_add_header(headers, "Host", host);
    evhttp_add_header(headers, "User-Agent", "rill-merchantd/" RILL_VERSION);
    evhttp_add_header(headers, "Content-Type", "application/json");
    evhttp_add_header(headers, "Rill-Signature", flight->signature);
    evhttp_add_header(headers, "Rill-Event-Id", flight->event_id);
    evhttp_add_header(headers, "Connection", "close");
}

static void fly_to(struct flight *flight, const struct resolved_address *address)
{
    char numeric[NI_MAXHOST];
    if (getnameinfo((const struct sockaddr *)&address->address, address->length, numeric, sizeof(numeric),
                    NULL, 0, NI_NUMERICHOST) != 0) {
        outcome(flight, 0, "the host's address cannot be used");
        return;
    }
    struct bufferevent *event = flight->target.https
                                    ? https_client_connect(flight->https, flight->base, flight->target.host)
                                    : bufferevent_socket_new(flight->base, -1, BEV_OPT_CLOSE_ON_FREE);
    ensure(event != NULL);
    flight->connection =
        evhttp_connection_base_bufferevent_new(flight->base, NULL, event, numeric, flight->target.port);
    ensure(flight->connection != NULL);
    evhttp_connection_set_timeout(flight->connection, WEBHOOK_TIMEOUT_S);
    evhttp_connection_set_max_headers_size(flight->connection, HTTP_HEADERS_MAX);
    evhttp_connection_set_max_body_size(flight->connection, WEBHOOK_ANSWER_MAX);
    struct evhttp_request *request = evhttp_request_new(on_answer, flight);
    ensure(request != NULL);
    add_headers(flight, request);
    evbuffer_add_buffer(evhttp_request_get_output_buffer(request), flight->body);
    if (evhttp_make_request(flight->connection, request, EVHTTP_REQ_POST, flight->target.path) != 0)
        outcome(flight, 0, "the connection cannot be begun");
}

static void on_resolved(void *context, const struct resolved *resolved)
{
    struct flight *flight = context;
    resolve_free(flight->resolve);
    flight->resolve = NULL;
    if (resolved->error != 0) {
        outcome(flight, 0, "the host is unknown: %s", gai_strerror(resolved->error));
        return;
    }
    for (uint32_t i = 0; i < resolved->count; i++) {
        const struct resolved_address *address = &resolved->addresses[i];
        if (!flight->target.allowed && !address_is_public((const struct sockaddr *)&address->address))
            continue;
        fly_to(flight, address);
        return;
    }
    outcome(flight, 0,
            "the host's address is not one of the public Internet, and --webhook-allow does not name it");
}

struct flight *flight_start(struct event_base *base, struct https_client *https, const struct target *target,
                            const char *signature, const char *event_id, const char *body, size_t length,
                            flight_done *done, void *context)
{
    struct flight *flight = xcalloc(1, sizeof(*flight));
    struct timeval deadline = {WEBHOOK_TIMEOUT_S, 0};
    *flight =
        (struct flight){.base = base, .https = https, .target = *target, .done = done, .context = context};
    snprintf(flight->signature, sizeof(flight->signature), "%s", signature);
    snprintf(flight->event_id, sizeof(flight->event_id), "%s", event_id);
    flight->body = evbuffer_new();
    flight->end = evtimer_new(base, on_end, flight);
    ensure(flight->body != NULL && flight->end != NULL && evtimer_add(flight->end, &deadline) == 0);
    evbuffer_add(flight->body, body, length);
    flight->resolve = resolve_start(base, target->host, target->port, on_resolved, flight);
    if (flight->resolve == NULL)
        outcome(flight, 0, "no descriptors are left");
    return flight;
}

void flight_free(struct flight *flight)
{
    if (flight == NULL)
        return;
    if (flight->resolve != NULL)
        resolve_free(flight->resolve);
    if (flight->connection != NULL)
        evhttp_connection_free(flight->connection);
    event_free(flight->end);
    evbuffer_free(flight->body);
    free(flight);
}
