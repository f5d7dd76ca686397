/* A program's own key: a keystore file and where its passphrase comes from. */
#ifndef RILL_CRYPTO_KEY_FILE_H
#define RILL_CRYPTO_KEY_FILE_H

#include "crypto/keystore.h"

#define PASSPHRASE_BYTES_MAX 1024

/* Reads a passphrase: the first line of a file, or without one (NULL) the environment variable, which is then
 * wiped and removed from the environment. False, and one line in message, if there is none. Wipe it after use. */
bool passphrase_read(const char *file, const char *variable, char out[PASSPHRASE_BYTES_MAX], char *message,
                     size_t message_size) MUST_USE;
/* Opens a keystore so. False, and one line in message that says what to do, on failure. Wipe the key after
 * use. */
bool key_file_open(const char *key_file, const char *passphrase_file, const char *variable,
                   struct secret_key *out, char *message, size_t message_size) MUST_USE;

#endif
