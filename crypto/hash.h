/* Hashes: keccak-256 (Ethereum's, not SHA3-256) and SHA-256. */
#ifndef RILL_CRYPTO_HASH_H
#define RILL_CRYPTO_HASH_H

#include "base/bytes.h"

struct hash keccak256(const void *data, size_t length);
/* keccak256(a || b): a node of a Merkle tree, a payee's payment id. */
struct hash keccak256_pair(const void *a, size_t a_length, const void *b, size_t b_length);
/* Of each input, which may have any length (data: NULL is allowed with length 0), into out[i]. Where there are several
 * this takes a third of the time: they go through the permutation four at a time. */
struct hash_input {
    const void *data;
    size_t length;
};
void keccak256_many(const struct hash_input *inputs, size_t count, struct hash *out);
struct hash sha256(const void *data, size_t length);

/* A SHA-256 HMAC, for webhook-like uses and deterministic derivation (wallet secrets). */
struct hash hmac_sha256(const void *key, size_t key_length, const void *data, size_t length);

/* Fills with bytes from the operating system's generator; cannot fail (a failure is fatal). For shells only.
 */
void random_bytes(void *out, size_t length);

#endif
