/* One HTTP request, waited for: what commands ask of daemons. */
#ifndef RILL_WALLET_HTTP_ASK_H
#define RILL_WALLET_HTTP_ASK_H

#include "base/bytes.h"

struct http_question {
    const char *host;
    uint16_t port;
    bool https;            /* the host's certificate must be good */
    const char *authority; /* PEM file of further certificates to trust; NULL: the system's alone */
    const char *path;
    const char *body;          /* JSON to POST; NULL: GET */
    const char *authorization; /* header; NULL: none */
};
/* The answer's body, the caller's to free; NULL without an answer. */
char *http_ask_wait(const struct http_question *question, int *status);

#endif
