/* One HTTP request, waited for: what commands ask of daemons. However slowly the answer comes, it has come whole within a
 * minute or there is none. */
#ifndef RILL_WALLET_HTTP_ASK_H
#define RILL_WALLET_HTTP_ASK_H

#include "base/bytes.h"

struct event_base;

struct http_question {
    const char *host;
    uint16_t port;
    bool https;            /* the host's certificate must be good */
    const char *authority; /* PEM file of further certificates to trust; NULL: the system's alone */
    const char *path;
    const char *body;          /* JSON to POST; NULL: GET */
    const char *authorization; /* header; NULL: none */
    uint64_t timeout_ms;       /* for the whole of it; 0: a minute */
    struct event_base
        *base;            /* run meanwhile, not from within one of its callbacks; NULL: a loop of its own */
    const bool *given_up; /* becomes true on that loop: the answer is not waited for; NULL: never */
};
/* The answer's body, the caller's to free; NULL without an answer. */
char *http_ask_wait(const struct http_question *question, int *status);

#endif
