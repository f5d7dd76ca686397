/* Ethereum keystore files: Web3 Secret Storage version 3, scrypt, aes-128-ctr
 * (ethereum.org/developers/docs/data-structures-and-encoding/web3-secret-storage). */
#ifndef RILL_CRYPTO_KEYSTORE_H
#define RILL_CRYPTO_KEYSTORE_H

#include "crypto/key.h"

enum keystore_error {
    KEYSTORE_OK = 0,
    KEYSTORE_MISSING,    /* no such file */
    KEYSTORE_UNREADABLE, /* cannot be read or written: permissions, disk */
    KEYSTORE_EXISTS,     /* create: the file is there already; never overwritten */
    KEYSTORE_MALFORMED,  /* not a version 3 keystore, or parameters out of bounds */
    KEYSTORE_PASSPHRASE, /* wrong passphrase */
};
/* One sentence that says what to do. */
const char *keystore_error_text(enum keystore_error error);

/* Decrypts the JSON text. scrypt cost is bounded (N * r * 128 <= 512 MiB, p <= 16), files to 64 KiB. */
enum keystore_error keystore_decrypt(const char *json, size_t length, const char *passphrase,
                                     struct secret_key *out) MUST_USE;
enum keystore_error keystore_load(const char *path, const char *passphrase, struct secret_key *out) MUST_USE;
/* Whose key the file says it holds, without the passphrase: nothing proves it until the file is opened.
 * KEYSTORE_MALFORMED also if it does not say. */
enum keystore_error keystore_address(const char *path, struct address *out) MUST_USE;
/* Writes a new file, mode 600, synced with its directory before this returns. scrypt_n: a power of two, 0 for
 * the default 2^17 (lighter ones are for tests and demos). */
enum keystore_error keystore_create(const char *path, const char *passphrase, const struct secret_key *key,
                                    uint32_t scrypt_n) MUST_USE;

#endif
