/* anvil, a real Ethereum node, for tests: started on a port of its own choice, asked directly, ended. Whatever
 * cannot be had fails the running cmocka test with what to do. */
#ifndef RILL_TESTS_SUPPORT_ANVIL_NODE_H
#define RILL_TESTS_SUPPORT_ANVIL_NODE_H

#include <jansson.h>

#include "base/bytes.h"
#include "crypto/key.h"
#include "tests/support/process.h"

struct anvil {
    struct process process;
    char folder[64]; /* its log */
    uint16_t port;
    char url[64];
};

/* flags end with NULL; NULL: none. With --no-mining a block is made when anvil_mine is called, and not before. */
void anvil_start(struct anvil *anvil, const char *const *flags);
/* The signal, and waits; with SIGINT a node that was given --dump-state writes it. */
void anvil_end(struct anvil *anvil, int signal_number);

/* One call, on a connection of its own; blocks. params: a format that makes a JSON array. json_decref the result. */
json_t *anvil_ask(const struct anvil *anvil, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4)));
/* The same without an answer that matters. */
void anvil_do(const struct anvil *anvil, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4)));
uint64_t anvil_height(const struct anvil *anvil);
void anvil_mine(const struct anvil *anvil, unsigned blocks);
/* Other blocks in the place of the last `depth`, without their transactions. */
void anvil_reorganise(const struct anvil *anvil, unsigned depth);

/* One of anvil's own accounts, which have 10000 coins each: 0 to 2. */
struct secret_key anvil_key(unsigned index);
/* Coins for an address, in base units. */
void anvil_fund(const struct anvil *anvil, const struct address *address, uint64_t coins);
/* Puts the contract of build/contracts/RillHub.json on the chain, and makes a block for that if nobody else does. */
struct address anvil_deploy(const struct anvil *anvil, const struct address *hub,
                            uint64_t challenge_period_s);

#endif
