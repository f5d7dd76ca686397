#include "crypto/hash.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <nettle/sha3.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/ensure.h"

#define KECCAK_RATE 136

/* The sponge around nettle's permutation: Debian has no library with Ethereum's keccak (padding 0x01, where
 * SHA3 has 0x06), so these lines are ours; tests hold them to vectors at every length around the rate. */
struct keccak {
    struct sha3_state state;
    uint8_t block[KECCAK_RATE];
    size_t filled;
};

static void absorb_block(struct keccak *keccak, const uint8_t *block)
{
    for (size_t i = 0; i < KECCAK_RATE / 8; i++) {
        uint64_t lane;
        memcpy(&lane, block + 8 * i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        lane = __builtin_bswap64(lane);
#endif
        keccak->state.a[i] ^= lane;
    }
    sha3_permute(&keccak->state);
}

static void absorb(struct keccak *keccak, const uint8_t *data, size_t length)
{
    while (length > 0) {
        if (keccak->filled == 0 && length >= KECCAK_RATE) {
            absorb_block(keccak, data);
            data += KECCAK_RATE;
            length -= KECCAK_RATE;
            continue;
        }
        size_t part = KECCAK_RATE - keccak->filled < length ? KECCAK_RATE - keccak->filled : length;
        memcpy(keccak->block + keccak->filled, data, part);
        keccak->filled += part;
        data += part;
        length -= part;
        if (keccak->filled == KECCAK_RATE) {
            absorb_block(keccak, keccak->block);
            keccak->filled = 0;
        }
    }
}

static struct hash squeeze(struct keccak *keccak)
{
    memset(keccak->block + keccak->filled, 0, KECCAK_RATE - keccak->filled);
    keccak->block[keccak->filled] ^= 0x01;
    keccak->block[KECCAK_RATE - 1] ^= 0x80;
    absorb_block(keccak, keccak->block);
    struct hash out;
    for (size_t i = 0; i < 4; i++) {
        uint64_t lane = keccak->state.a[i];
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        lane = __builtin_bswap64(lane);
#endif
        memcpy(out.bytes + 8 * i, &lane, 8);
    }
    return out;
}

static void keccak_begin(struct keccak *keccak)
{
    memset(&keccak->state, 0, sizeof(keccak->state));
    keccak->filled = 0;
}

struct hash keccak256(const void *data, size_t length)
{
    return keccak256_pair(data, length, NULL, 0);
}

struct hash keccak256_pair(const void *a, size_t a_length, const void *b, size_t b_length)
{
    struct keccak keccak;
    keccak_begin(&keccak);
    absorb(&keccak, a, a_length);
    absorb(&keccak, b, b_length);
    return squeeze(&keccak);
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
