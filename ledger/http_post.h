/* One HTTP connection that posts JSON and gets an answer of bounded size in bounded time. */
#ifndef RILL_LEDGER_HTTP_POST_H
#define RILL_LEDGER_HTTP_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HOST_MAX 255
#define HTTP_PATH_MAX 1023

/* Where to post. IPv6 addresses stand without brackets in `host`. */
struct http_target {
    char host[HTTP_HOST_MAX + 1];
    uint16_t port;
    char path[HTTP_PATH_MAX + 1]; /* with query */
    bool is_name;                 /* host is no address: must be looked up */
};
/* Reads "http://HOST[:PORT][/PATH]". Returns NULL, or what is wrong with it. */
const char *http_target_parse(const char *url, struct http_target *out);

enum http_outcome {
    HTTP_ANSWERED,      /* status 200 */
    HTTP_STATUS,        /* another status; the body is given too */
    HTTP_NO_CONNECTION, /* refused, reset, closed before the answer was complete, or not HTTP */
    HTTP_TIMEOUT,
    HTTP_TOO_LONG
};
/* data is valid during the call; text: one line, NULL when HTTP_ANSWERED. Called from libevent's HTTP code:
 * do not free the link here. */
typedef void http_done(void *context, enum http_outcome outcome, const uint8_t *data, size_t length,
                       const char *text);

struct event_base;
struct evdns_base;
struct http_link;

/* target outlives the link. names: how to look names up without blocking; NULL if the host is an address. */
struct http_link *http_link_new(struct event_base *base, struct evdns_base *names,
                                const struct http_target *target, uint32_t timeout_ms, size_t answer_max,
                                http_done *done, void *context);
/* Drops what is under way without a call. */
void http_link_free(struct http_link *link);
bool http_link_is_busy(const struct http_link *link);
/* Of the answer that is being given: its HTTP status (0: there was none), and the seconds after which it asks to
 * be asked again (0: it does not say; a date counts as not said). */
int http_link_status(const struct http_link *link);
uint32_t http_link_retry_after_s(const struct http_link *link);
/* How long an answer may be from the next post on. */
void http_link_answer_max(struct http_link *link, size_t answer_max);
/* One at a time. Returns false if libevent would not take it (done is not called then). */
bool http_link_post(struct http_link *link, const char *body, size_t length);

#endif
