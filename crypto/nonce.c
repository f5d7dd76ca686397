#include "crypto/nonce.h"

#include <nettle/hmac.h>
#include <string.h>

#include "base/bytes.h"
#include "base/ensure.h"

#define HASH_BYTES 32

/* The generator's K, and V with room behind it for what is hashed after it. */
struct generator {
    struct hmac_sha256_ctx hmac;
    uint8_t k[HASH_BYTES];
    uint8_t v[HASH_BYTES + 1 + 2 * HASH_BYTES];
};

static void mac(struct generator *generator, size_t length, uint8_t out[HASH_BYTES])
{
    hmac_sha256_set_key(&generator->hmac, HASH_BYTES, generator->k);
    hmac_sha256_update(&generator->hmac, length, generator->v);
    hmac_sha256_digest(&generator->hmac, HASH_BYTES, out);
}

/* K = HMAC_K(V || separator || seed), V = HMAC_K(V). */
static void step(struct generator *generator, uint8_t separator, size_t seed_length)
{
    generator->v[HASH_BYTES] = separator;
    mac(generator, HASH_BYTES + 1 + seed_length, generator->k);
    mac(generator, HASH_BYTES, generator->v);
}

int nonce_rfc6979(unsigned char *nonce, const unsigned char *message, const unsigned char *key,
                  const unsigned char *algorithm, void *data, unsigned attempt)
{
    ensure(algorithm == NULL && data == NULL);
    struct generator generator;
    memset(generator.k, 0, HASH_BYTES);
    memset(generator.v, 1, HASH_BYTES);
    memcpy(generator.v + HASH_BYTES + 1, key, HASH_BYTES);
    memcpy(generator.v + HASH_BYTES + 1 + HASH_BYTES, message, HASH_BYTES);
    step(&generator, 0, (size_t)2 * HASH_BYTES);
    step(&generator, 1, (size_t)2 * HASH_BYTES);
    mac(&generator, HASH_BYTES, generator.v);
    for (; attempt > 0; attempt--) {
        step(&generator, 0, 0);
        mac(&generator, HASH_BYTES, generator.v);
    }
    memcpy(nonce, generator.v, HASH_BYTES);
    bytes_wipe(&generator, sizeof(generator));
    return 1;
}
