/* Keys, addresses and signatures over secp256k1 (protocol.md, section 2).
 *
 * Signatures are compact (EIP-2098), low-s, deterministic (RFC 6979): the same key and digest give the same
 * bytes. The parity bit is a hint: a signature is good if either parity recovers the signer.
 */
#ifndef RILL_CRYPTO_KEY_H
#define RILL_CRYPTO_KEY_H

#include "base/bytes.h"

/* Wipe with bytes_wipe when done. */
struct secret_key {
    uint8_t bytes[32];
};
/* libsecp256k1's internal form; for verifying often against one known signer. */
struct public_key {
    uint8_t opaque[64];
};

/* True if the bytes are a valid secret key (not zero, below the order). */
bool secret_key_is_valid(const struct secret_key *key);
struct secret_key secret_key_random(void);
/* The key must be valid. */
struct public_key public_key_of(const struct secret_key *key);
struct address public_key_address(const struct public_key *key);
struct address secret_key_address(const struct secret_key *key);
/* 33 bytes, as in the vectors. */
void public_key_compress(const struct public_key *key, uint8_t out[33]);

struct signature key_sign(const struct secret_key *key, const struct hash *digest);

/* The address that signed with the parity the signature names. Returns false (*out untouched) for high s, a
 * value out of range, or a point that does not exist. */
bool signature_recover(const struct signature *signature, const struct hash *digest,
                       struct address *out) MUST_USE;
/* As signature_recover; gives the key as well, so that later signatures can be checked with signature_verify.
 */
bool signature_recover_key(const struct signature *signature, const struct hash *digest,
                           struct public_key *out) MUST_USE;
/* True if either parity recovers `signer` (never address zero) and s is low. Variable time: all inputs are
 * public. */
bool signature_is_by(const struct signature *signature, const struct hash *digest,
                     const struct address *signer) MUST_USE;
/* As signature_is_by; gives the signer's key as well, for signature_verify from then on. */
bool signature_find_key(const struct signature *signature, const struct hash *digest,
                        const struct address *signer, struct public_key *out) MUST_USE;
/* The same with a known key: one verification, no recovery. */
bool signature_verify(const struct signature *signature, const struct hash *digest,
                      const struct public_key *signer) MUST_USE;

#endif
