/* The load of the bench: clients in one process that pay each other through a real hub, and what came of it.
 */
#ifndef RILL_BENCH_LOAD_H
#define RILL_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "rill.h"

struct event_base;

struct load_settings {
    uint32_t clients, window; /* payments that each client has under way */
    uint64_t seconds, amount, seed;
    bool locked;
    const char *hub_host;
    uint16_t hub_port;
    uint8_t asset[20];
    uint64_t deposit, inbound; /* units per client: its own, and the hub's for it */
};

struct load_figures {
    double seconds;
    uint64_t payments, failed, updates;
    uint64_t p50_us, p99_us, max_us;
    uint64_t fees_units;
};

struct load;

/* Connects all clients and waits until each can pay and be paid. NULL, and one line in message, on failure.
 * keys: 32 bytes per client, whose channels have been deposited to. */
struct load *load_open(struct event_base *base, struct rill_ledger *ledger,
                       const struct load_settings *settings, const uint8_t *keys, char *message,
                       size_t message_size);
/* Pays for the set time, then waits for what is under way. False, one line in message, if something hangs. */
bool load_run(struct load *load, struct load_figures *out, char *message, size_t message_size);
/* Every client's balance is what its payments say, and nothing was made or lost. False, one line in message,
 * else. *balances gets the sum of all clients' balances. */
bool load_check(const struct load *load, uint64_t *balances, char *message, size_t message_size);
void load_close(struct load *load);

#endif
