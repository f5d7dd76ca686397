/* The HTTP server: evhttp, with what it lacks.
 *
 * evhttp (2.1.12) answers and forgets, but it takes two Content-Lengths and uses the first, reads a chunked body although
 * a length is named too, leaves the body of a GET for the next request to be parsed from, cuts header values at a NUL,
 * gives each byte of a slow request a new deadline, reads on without limit while it answers, and has no limit of
 * connections. So here: a request with such a head is refused and its connection closed before anybody looks at it; a NUL
 * is replaced on arrival, and then refused; a request has HTTP_REQUEST_S from its first byte to its last; no more than
 * HTTP_INPUT_MAX is read ahead; and no more connections are accepted than may be open.
 *
 * Nor may a few keep all others out. A connection whose request had no key gives way when all are taken, the one that has
 * been idle longest first, and when its address has more than its part (HTTP_ADDRESS_PART); a handler says of which this is
 * not so (http_keep).
 */
#ifndef RILL_MERCHANT_HTTP_H
#define RILL_MERCHANT_HTTP_H

#include <event2/http.h>
#include <jansson.h>

#include "base/bytes.h"

struct event_base;
struct http;

struct http_options {
    const char *host;
    uint16_t port;           /* 0: the system chooses */
    const char *certificate; /* NULL: plain */
    const char *key;
    uint32_t connections_max;
    /* Are there many clients behind this address? Then it has no part of its own. context: the handler's. NULL: never. */
    bool (*is_shared)(const void *context, const char *address);
};
/* A request whose head is sound; to be answered, now or later. */
typedef void http_handler(void *context, struct evhttp_request *request);

/* NULL, and one line in message. */
struct http *http_new(struct event_base *base, const struct http_options *options, http_handler *handler,
                      void *context, char *message, size_t message_size);
void http_free(struct http *http);
uint16_t http_port(const struct http *http);
uint32_t http_connections(const struct http *http);
/* Inside the handler: the connection of the request gives way to nobody from now on. has_key: nor does it count for its
 * address. */
void http_keep(struct http *http, bool has_key);
/* Stop accepting; what is under way goes on. */
void http_stop(struct http *http);

/* Answers with JSON and lets it go. */
void http_reply_json(struct evhttp_request *request, int status, json_t *object);
void http_reply_text(struct evhttp_request *request, int status, const char *type, const char *text,
                     size_t length);
/* {"error":{"code","message"}}; closes the connection after a status that says the request could not be read. */
void http_error(struct evhttp_request *request, int status, const char *code, const char *format, ...)
    PRINTF_LIKE(4, 5);
json_t *http_error_json(const char *code, const char *message);
const char *http_status_text(int status);

#endif
