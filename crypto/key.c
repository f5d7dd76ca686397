#include "crypto/key.h"

#include <pthread.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/nonce.h"

_Static_assert(sizeof(struct public_key) == sizeof(secp256k1_pubkey), "public_key holds libsecp256k1's form");

static secp256k1_context *context;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

/* One context for all threads: after its blinding it is only read. */
static void make_context(void)
{
    context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    ensure(context != NULL);
    uint8_t blind[32];
    random_bytes(blind, sizeof(blind));
    ensure(secp256k1_context_randomize(context, blind));
    bytes_wipe(blind, sizeof(blind));
}

static const secp256k1_context *library(void)
{
    pthread_once(&context_once, make_context);
    return context;
}

bool secret_key_is_valid(const struct secret_key *key)
{
    return secp256k1_ec_seckey_verify(library(), key->bytes) == 1;
}

struct secret_key secret_key_random(void)
{
    struct secret_key key;
    do {
        random_bytes(key.bytes, sizeof(key.bytes));
    } while (!secret_key_is_valid(&key));
    return key;
}

struct public_key public_key_of(const struct secret_key *key)
{
    struct public_key out;
    secp256k1_pubkey point;
    ensure(secp256k1_ec_pubkey_create(library(), &point, key->bytes) == 1);
    memcpy(&out, &point, sizeof(out));
    return out;
}

static secp256k1_pubkey point_of(const struct public_key *key)
{
    secp256k1_pubkey point;
    memcpy(&point, key, sizeof(point));
    return point;
}

struct address public_key_address(const struct public_key *key)
{
    secp256k1_pubkey point = point_of(key);
    uint8_t serialized[65];
    size_t length = sizeof(serialized);
    secp256k1_ec_pubkey_serialize(library(), serialized, &length, &point, SECP256K1_EC_UNCOMPRESSED);
    struct hash hash = keccak256(serialized + 1, 64);
    struct address out;
    memcpy(out.bytes, hash.bytes + 12, sizeof(out.bytes));
    return out;
}

struct address secret_key_address(const struct secret_key *key)
{
    struct public_key point = public_key_of(key);
    return public_key_address(&point);
}

void public_key_compress(const struct public_key *key, uint8_t out[33])
{
    secp256k1_pubkey point = point_of(key);
    size_t length = 33;
    secp256k1_ec_pubkey_serialize(library(), out, &length, &point, SECP256K1_EC_COMPRESSED);
}

struct signature key_sign(const struct secret_key *key, const struct hash *digest)
{
    secp256k1_ecdsa_recoverable_signature made;
    struct signature out;
    int parity = 0;
    ensure(secp256k1_ecdsa_sign_recoverable(library(), &made, digest->bytes, key->bytes, nonce_rfc6979,
                                            NULL) == 1);
    secp256k1_ecdsa_recoverable_signature_serialize_compact(library(), out.bytes, &parity, &made);
    /* A recovery id of 2 or 3 means an r above the field's order minus the group's: probability 2^-127, and
     * EIP-2098 cannot carry it. */
    ensure(parity <= 1);
    out.bytes[32] = (uint8_t)(out.bytes[32] | parity << 7);
    return out;
}

/* r || s with the parity bit taken out; returns the parity. */
static int split(const struct signature *signature, uint8_t compact[64])
{
    memcpy(compact, signature->bytes, 64);
    compact[32] &= 0x7f;
    return signature->bytes[32] >> 7;
}

/* libsecp256k1 verifies low s only; recovery takes any, so it is checked here. */
static bool is_low_s(const uint8_t compact[64])
{
    secp256k1_ecdsa_signature parsed;
    return secp256k1_ecdsa_signature_parse_compact(library(), &parsed, compact) == 1 &&
           secp256k1_ecdsa_signature_normalize(library(), NULL, &parsed) == 0;
}

static bool recover_with(const uint8_t compact[64], int parity, const struct hash *digest,
                         struct public_key *out)
{
    secp256k1_ecdsa_recoverable_signature parsed;
    secp256k1_pubkey point;
    if (secp256k1_ecdsa_recoverable_signature_parse_compact(library(), &parsed, compact, parity) != 1 ||
        secp256k1_ecdsa_recover(library(), &point, &parsed, digest->bytes) != 1)
        return false;
    memcpy(out, &point, sizeof(*out));
    return true;
}

bool signature_recover_key(const struct signature *signature, const struct hash *digest,
                           struct public_key *out)
{
    uint8_t compact[64];
    int parity = split(signature, compact);
    return is_low_s(compact) && recover_with(compact, parity, digest, out);
}

bool signature_recover(const struct signature *signature, const struct hash *digest, struct address *out)
{
    struct public_key key;
    if (!signature_recover_key(signature, digest, &key))
        return false;
    *out = public_key_address(&key);
    return true;
}

bool signature_is_by(const struct signature *signature, const struct hash *digest,
                     const struct address *signer)
{
    struct public_key ignored;
    return signature_find_key(signature, digest, signer, &ignored);
}

bool signature_find_key(const struct signature *signature, const struct hash *digest,
                        const struct address *signer, struct public_key *out)
{
    uint8_t compact[64];
    int hint = split(signature, compact);
    if (address_is_zero(signer) || !is_low_s(compact))
        return false;
    for (int turn = 0; turn < 2; turn++) {
        struct public_key key;
        if (!recover_with(compact, hint ^ turn, digest, &key))
            continue;
        struct address address = public_key_address(&key);
        if (address_equal(&address, signer)) {
            *out = key;
            return true;
        }
    }
    return false;
}

bool signature_verify(const struct signature *signature, const struct hash *digest,
                      const struct public_key *signer)
{
    uint8_t compact[64];
    split(signature, compact);
    secp256k1_ecdsa_signature parsed;
    secp256k1_pubkey point = point_of(signer);
    return secp256k1_ecdsa_signature_parse_compact(library(), &parsed, compact) == 1 &&
           secp256k1_ecdsa_verify(library(), &parsed, digest->bytes, &point) == 1;
}
