/* The nonce of a signature: RFC 6979 with HMAC-SHA-256, byte for byte what libsecp256k1 computes by itself. Its own
 * SHA-256 is portable C and takes a fifth of a signature's time; nettle's uses the processor's instructions. */
#ifndef RILL_CRYPTO_NONCE_H
#define RILL_CRYPTO_NONCE_H

/* A secp256k1_nonce_function. nonce: 32 bytes, out; message, key: 32 bytes; attempt: so many nonces before were no
 * good. algorithm and data: not used here, NULL. Returns 1. Wipes what it held. RFC 6979, section 3.2. */
int nonce_rfc6979(unsigned char *nonce, const unsigned char *message, const unsigned char *key,
                  const unsigned char *algorithm, void *data, unsigned attempt);

#endif
