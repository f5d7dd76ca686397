/* A host's addresses without blocking the event loop.
 *
 * getaddrinfo can take many seconds and knows the machine's own way of naming (files, DNS, mDNS), so it runs
 * as it is, in a short-lived thread of its own. Numeric addresses need no thread.
 */
#ifndef RILL_WIRE_RESOLVE_H
#define RILL_WIRE_RESOLVE_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/bytes.h"

struct event_base;
struct resolve;

#define RESOLVED_MAX 8

struct resolved_address {
    struct sockaddr_storage address;
    socklen_t length;
};
struct resolved {
    int error; /* getaddrinfo's; gai_strerror says what it means */
    uint32_t count;
    struct resolved_address addresses[RESOLVED_MAX];
};

/* True if host is numeric; out holds its one address. */
bool resolve_numeric(const char *host, uint16_t port, struct resolved *out);
/* Starts; done is called once, later, from the event loop. NULL, and errno, if there are no descriptors left.
 */
struct resolve *resolve_start(struct event_base *base, const char *host, uint16_t port,
                              void (*done)(void *context, const struct resolved *resolved), void *context);
/* Frees, from within done too; before done, done is not called any more. */
void resolve_free(struct resolve *resolve);

#endif
