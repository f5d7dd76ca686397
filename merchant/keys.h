/* API keys: "rk_<id>_<secret>", 12 and 64 digits.
 *
 * The file holds SHA-256 of each secret, not the secret. A secret is 256 random bits, so there is nothing to guess and no
 * need for a slow or salted hash, as passwords have: who reads the file cannot use what he reads. The file is written
 * whole and renamed into place by `rill-merchantd keys`, and read again by a running server when it has changed.
 */
#ifndef RILL_MERCHANT_KEYS_H
#define RILL_MERCHANT_KEYS_H

#include "base/bytes.h"
#include "wire/throttle.h"

enum scope { SCOPE_READ = 1, SCOPE_INVOICE = 2, SCOPE_PAYOUT = 4 };
#define KEY_ID_SIZE     13
#define KEY_NAME_SIZE   65
#define KEY_TEXT_SIZE   (3 + 12 + 1 + 64 + 1)
#define KEY_SCOPES_SIZE 32

struct api_key {
    char id[KEY_ID_SIZE];
    char name[KEY_NAME_SIZE]; /* for people */
    struct hash hash;
    unsigned scopes; /* enum scope, added up */
    uint64_t created;
    struct throttle throttle; /* not in the file */
};

struct keys;

/* The set in a file, which need not exist yet. */
struct keys *keys_new(const char *path, uint32_t per_second, uint32_t burst);
void keys_free(struct keys *keys);
/* Reads the file if it has changed. False, and one line, if it cannot be read: the keys stay those that were read. */
bool keys_refresh(struct keys *keys, char *message, size_t message_size) MUST_USE;
/* The key that "Bearer rk_…" names, by a comparison in constant time; NULL if there is none. Valid until the next
 * keys_refresh. */
struct api_key *keys_check(struct keys *keys, const char *authorization);
/* By index from 0; NULL behind the last. */
const struct api_key *keys_at(const struct keys *keys, size_t index);

/* "read,invoice" to scopes; 0: not a list of scopes. */
unsigned scopes_parse(const char *text);
const char *scopes_text(unsigned scopes, char out[KEY_SCOPES_SIZE]);
/* Adds a key, or takes one away, in the file: one writer at a time, whole or not at all, on disk when this returns.
 * False, and one line. */
bool keys_create(const char *path, unsigned scopes, const char *name, char out[KEY_TEXT_SIZE], char *message,
                 size_t message_size) MUST_USE;
bool keys_revoke(const char *path, const char *id, char *message, size_t message_size) MUST_USE;

#endif
