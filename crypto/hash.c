#include "crypto/hash.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "crypto/keccak.h"

struct hash keccak256(const void *data, size_t length)
{
    return keccak256_pair(data, length, NULL, 0);
}

struct hash keccak256_pair(const void *a, size_t a_length, const void *b, size_t b_length)
{
    return keccak_pair(keccak_way(), a, a_length, b, b_length);
}

void keccak256_many(const struct hash_input *inputs, size_t count, struct hash *out)
{
    keccak_many(keccak_way(), inputs, count, out);
}

/* Fetched once: OpenSSL 3 otherwise looks the algorithm up by name at each call, which costs more than the
 * hash. */
static const EVP_MD *sha256_algorithm;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    ensure(sha256_algorithm != NULL);
}

/* Nettle's: a receipt has 32 bytes, and OpenSSL's allocations for its context cost more than the hash. */
struct hash sha256(const void *data, size_t length)
{
    struct hash out;
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, length, data);
    sha256_digest(&context, sizeof(out.bytes), out.bytes);
    return out;
}

struct hash hmac_sha256(const void *key, size_t key_length, const void *data, size_t length)
{
    struct hash out;
    unsigned int out_length = 0;
    ensure(key_length <= INT32_MAX);
    pthread_once(&sha256_once, fetch_sha256);
    ensure(HMAC(sha256_algorithm, key, (int)key_length, data, length, out.bytes, &out_length) != NULL);
    ensure(out_length == sizeof(out.bytes));
    return out;
}

void random_bytes(void *out, size_t length)
{
    uint8_t *at = out;
    while (length > 0) {
        ssize_t got = getrandom(at, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        ensure(got > 0);
        at += got;
        length -= (size_t)got;
    }
}
