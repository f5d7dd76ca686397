/* What stands between a client and its node and misbehaves: HTTP of its own, in the test's event loop. Each request
 * goes to the rule first, of a batch each question; what that lets pass is forwarded to the node, a batch as a whole, and
 * its answer given back as it came, but for questions of a batch that the rule has answered. One request after the other reaches the node: anvil may hang for good when it
 * answers several around a reorganisation. */
#ifndef RILL_TESTS_SUPPORT_ANVIL_PROXY_H
#define RILL_TESTS_SUPPORT_ANVIL_PROXY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct proxy;

struct proxy_request {
    const char *method;
    const json_t *params;
    unsigned number;   /* of this method so far, this one included */
    size_t place;      /* in a batch; 0: the first, or the only one */
    uint64_t since_us; /* clock_monotonic_us() */
};

/* What the rule makes of a request. Zero-initialised: forwarded to the proxy's port. */
struct proxy_reply {
    uint16_t port;           /* forwarded there instead */
    int status;              /* answered with this status instead, 0: forwarded */
    const char *retry_after; /* the header's value, NULL: none */
    const char *error;       /* the error object */
    const char *result;      /* or the result, as JSON; neither: the body is `text` */
    bool without_id;         /* the error object comes with "id": null */
    const char *text;
};
typedef void proxy_rule(void *context, const struct proxy_request *request, struct proxy_reply *reply);

struct proxy *proxy_new(struct event_base *base, uint16_t port);
void proxy_free(struct proxy *proxy);
const char *proxy_url(const struct proxy *proxy);
/* NULL: everything is forwarded. */
void proxy_rule_set(struct proxy *proxy, proxy_rule *rule, void *context);
/* Forwards to another node from now on. */
void proxy_port_set(struct proxy *proxy, uint16_t port);
/* How many requests there were; of a method, NULL: all. */
unsigned proxy_count(const struct proxy *proxy, const char *method);
/* How often the newest block was asked for. */
unsigned proxy_looks(const struct proxy *proxy);
/* How many are with the node, or wait for it. */
unsigned proxy_under_way(const struct proxy *proxy);

#endif
