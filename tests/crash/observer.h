/* Reads what hub and wallets have sent, as the interposed library noted it (tests/faults/interpose.c), over all their
 * lives: every UPDATE, REVOKE and SETTLE_SIGN. No two different proofs with one nonce, and no two different settlements
 * with one sequence, may ever have left the same signer on the same channel; nonces leave in order. */
#ifndef RILL_TESTS_CRASH_OBSERVER_H
#define RILL_TESTS_CRASH_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct observer;

struct observed {
    uint64_t frames, updates, again; /* again: byte for byte as before */
    uint64_t revocations, settlements, processes, connections;
};

struct observer *observer_new(const char *log);
void observer_free(struct observer *observer);
/* Reads what has come since. Returns false, and one line in message, if a rule was broken. */
bool observer_read(struct observer *observer, char *message, size_t size);
struct observed observer_figures(const struct observer *observer);

#endif
