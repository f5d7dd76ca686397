/* The service of `rill-bench http`: a small HTTP server in a process of its own, which answers every request with 1 KiB.
 */
#ifndef RILL_BENCH_HTTP_SERVICE_H
#define RILL_BENCH_HTTP_SERVICE_H

#include "bench/spawn.h"

/* Starts it; *port is where it listens on 127.0.0.1. False: a process or a socket cannot be had. Before this process has
 * threads. */
bool http_service_start(struct child *child, uint16_t *port);

#endif
