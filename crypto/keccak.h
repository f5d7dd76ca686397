/* Keccak's permutation, one at a time and four side by side, and Ethereum's sponge over it. Not for other folders:
 * they call crypto/hash.h.
 *
 * Two ways, which give the same: PORTABLE is nettle's; FAST, where the processor has AVX2 and BMI2, is compiled here
 * from one text (keccak_rounds.h) for a register's 64 bits and for a vector of four times as many. docs/by-hand.md has
 * the reason and the figures.
 */
#ifndef RILL_CRYPTO_KECCAK_H
#define RILL_CRYPTO_KECCAK_H

#include "crypto/hash.h"

#define KECCAK_RATE 136 /* bytes that one permutation takes in */
#define KECCAK_FOUR 4   /* side by side */

enum keccak_way { KECCAK_PORTABLE, KECCAK_FAST };

/* The better of those that this processor has. */
enum keccak_way keccak_way(void);

/* way: one that it has. */
struct hash keccak_pair(enum keccak_way way, const void *a, size_t a_length, const void *b, size_t b_length);
void keccak_many(enum keccak_way way, const struct hash_input *inputs, size_t count, struct hash *out);

#endif
