/* "HOST:PORT", as settings and invoices have it. */
#ifndef RILL_BASE_ENDPOINT_H
#define RILL_BASE_ENDPOINT_H

#include "base/bytes.h"
#include "base/limits.h"

/* Splits at the last colon. Returns false (outputs untouched) if the host is empty or longer than
 * HOST_BYTES_MAX, or the port is not a number of 0..65535. */
bool endpoint_split(const char *text, char host[HOST_BYTES_MAX + 1], uint16_t *port) MUST_USE;
/* The port that a socket of IPv4 or IPv6 is bound to. */
uint16_t endpoint_bound_port(int socket);

#endif
