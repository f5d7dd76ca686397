/* The node's door: JSON-RPC in HTTP POSTs, on loopback. */
#ifndef RILL_LEDGER_EMBEDDED_HTTP_H
#define RILL_LEDGER_EMBEDDED_HTTP_H

#include "ledger/embedded/node.h"

#define HTTP_HEADER_BYTES_MAX (16 * 1024)
#define HTTP_IDLE_TIMEOUT_S   60

struct event_base;
struct http;

/* Listens on 127.0.0.1; port 0 lets the system choose. `base` outlives it. NULL: message says why. At connections_max
 * open connections the next ones wait to be accepted. */
struct http *http_open(struct event_base *base, uint16_t port, unsigned connections_max, char *message,
                       size_t message_size);
/* Who answers, and outlives this: set before the loop of `base` runs. */
void http_serve(struct http *http, struct node *node);
void http_close(struct http *http); /* NULL is allowed */
uint16_t http_port(const struct http *http);

#endif
