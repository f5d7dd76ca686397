/* An HTTP server on loopback that answers each request with 4 MB, a byte each 20 ms: it is never silent, and never done. */
#ifndef RILL_TESTS_SUPPORT_SLOW_SERVER_H
#define RILL_TESTS_SUPPORT_SLOW_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct slow_server {
    int listener, ended; /* descriptors */
    uint16_t port;
    atomic_uint answers; /* begun */
    pthread_t thread;
};
/* One connection at a time, on a thread of its own. */
void slow_server_open(struct slow_server *server);
void slow_server_close(struct slow_server *server);

#endif
