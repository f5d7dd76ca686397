/* Who has coins in the first block: the development accounts, and what --fund lists. */
#ifndef RILL_LEDGER_EMBEDDED_ACCOUNTS_H
#define RILL_LEDGER_EMBEDDED_ACCOUNTS_H

#include "crypto/key.h"
#include "ledger/embedded/chain.h"

/* The ten accounts that every Ethereum development tool knows: their keys are public, their coins are play
 * money. */
#define DEVELOPMENT_ACCOUNTS 10
struct secret_key development_key(size_t index);

#define COINS_MAX       1000000000000ull /* to one account */
#define ALLOCATIONS_MAX 64

/* coins × 10^18. */
struct uint256 coins_wei(uint64_t coins);

/* Reads "0xADDRESS=COINS,0xADDRESS=COINS,…"; NULL is an empty list. Adds to allocations (room for
 * ALLOCATIONS_MAX). False: message says what is wrong. */
bool allocations_parse(const char *text, struct allocation *allocations, size_t *count, char *message,
                       size_t message_size) MUST_USE;

#endif
