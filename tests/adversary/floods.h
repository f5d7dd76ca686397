/* Floods: a process of its own that does to a hub what many attackers would, as fast as it can, until it is told to stop.
 * It runs at a lower priority than the hub and the honest clients: on a real network it would not be on their machine.
 */
#ifndef RILL_TESTS_ADVERSARY_FLOODS_H
#define RILL_TESTS_ADVERSARY_FLOODS_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/payment.h"
#include "crypto/key.h"

#define FLOOD_CHANNELS 4 /* attackers that have a channel */

enum flood_kind {
    FLOOD_NONE,
    FLOOD_SILENT,       /* 5,000 TCP connections that never speak; each that is closed is opened again */
    FLOOD_SILENT_TLS,   /* 300 that speak TLS, and then no more */
    FLOOD_HANDSHAKES,   /* TLS, HELLO, CHALLENGE, and away */
    FLOOD_SLOW_WRITERS, /* 100 clients, each with a frame of 250,000 bytes that never comes whole */
    FLOOD_SLOW_READERS, /* 24 clients that ask without end and take no answer */
    FLOOD_FORGED,       /* updates with a wrong signature */
    FLOOD_LARGE,        /* signed updates of 600 operations that are refused at the last */
    FLOOD_AGAIN,        /* a good update, the same bytes again and again */
    FLOOD_KINDS
};

struct flood_share {
    _Atomic int wanted, running;          /* enum flood_kind */
    _Atomic uint64_t done[FLOOD_KINDS];   /* connections made, handshakes, messages sent */
    _Atomic uint64_t closed[FLOOD_KINDS]; /* connections that the hub has ended */
};

struct flood_target {
    uint16_t port;
    struct domain_and_hub {
        uint64_t chain_id;
        struct address contract, hub;
    } at;
    struct secret_key keys[FLOOD_CHANNELS];
    struct channel_key channels[FLOOD_CHANNELS];
    uint64_t expiry; /* of payments: within the terms */
};

struct flood_share *flood_share_new(void);
/* Starts the process, which ends with its parent. */
pid_t flood_start(const struct flood_target *target, struct flood_share *share);

#endif
