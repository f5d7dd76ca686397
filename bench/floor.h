/* What a payment costs at least on this machine: a signature, a verification, and small reads and writes on two
 * connections; each measured here and now, while another process does the same on another core.
 */
#ifndef RILL_BENCH_FLOOR_H
#define RILL_BENCH_FLOOR_H

#include <stdbool.h>

struct floor {
    double sign_us, verify_us;
    double
        io_us; /* one small read and one small write on a loopback TCP connection, with its share of epoll_wait */
    double floor_us; /* sign + verify + 2 io: the payer's connection and the payee's */
};

/* CPU time, medians. False if a process or a socket cannot be had. */
bool floor_measure(struct floor *out);

#endif
