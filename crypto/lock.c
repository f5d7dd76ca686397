#include "crypto/lock.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/key.h"

struct hash lock_leaf(const struct lock *lock)
{
    uint8_t encoded[5 * 32] = {0};
    store_be64(encoded + 24, lock->id);
    store_be64(encoded + 32 + 24, lock->amount.units);
    store_be64(encoded + 64 + 24, lock->expiry);
    encoded[96 + 31] = lock->kind;
    memcpy(encoded + 128, lock->condition.bytes, 32);
    struct hash inner = keccak256(encoded, sizeof(encoded));
    return keccak256(inner.bytes, sizeof(inner.bytes));
}

static struct hash sorted_pair(const struct hash *a, const struct hash *b)
{
    uint8_t both[64];
    bool ordered = hash_compare(a, b) < 0;
    memcpy(both, ordered ? a : b, 32);
    memcpy(both + 32, ordered ? b : a, 32);
    return keccak256(both, sizeof(both));
}

struct hash merkle_node(const struct hash *left, const struct hash *right)
{
    if (hash_is_zero(left))
        return *right;
    if (hash_is_zero(right))
        return *left;
    return sorted_pair(left, right);
}

bool merkle_verify(const struct hash *leaf, const struct hash *proof, size_t proof_length,
                   const struct hash *root)
{
    struct hash at = *leaf;
    for (size_t i = 0; i < proof_length; i++)
        at = sorted_pair(&at, &proof[i]);
    return hash_equal(&at, root);
}

struct hash merkle_journal_root(struct hash *leaves, size_t count)
{
    if (count == 0)
        return HASH_ZERO;
    while (count > 1) {
        size_t parents = 0;
        for (size_t i = 0; i + 1 < count; i += 2)
            leaves[parents++] = merkle_node(&leaves[i], &leaves[i + 1]);
        if (count % 2 == 1)
            leaves[parents++] = leaves[count - 1];
        count = parents;
    }
    return leaves[0];
}

struct hash condition_of_secret(const uint8_t secret[32])
{
    return sha256(secret, 32);
}

struct hash condition_of_attestation(const struct address *attester, const struct hash *event_id)
{
    uint8_t encoded[2 * 32] = {0};
    memcpy(encoded + 12, attester->bytes, 20);
    memcpy(encoded + 32, event_id->bytes, 32);
    return keccak256(encoded, sizeof(encoded));
}

static bool attestation_meets(const uint8_t *witness, const struct hash *condition,
                              const struct domain *domain)
{
    struct address attester;
    struct hash event_id;
    struct signature signature;
    memcpy(attester.bytes, witness, 20);
    memcpy(event_id.bytes, witness + 20, 32);
    memcpy(signature.bytes, witness + 52, 64);
    struct hash expected = condition_of_attestation(&attester, &event_id);
    if (!hash_equal(&expected, condition))
        return false;
    struct hash digest = digest_attestation(domain, &event_id);
    return signature_is_by(&signature, &digest, &attester);
}

bool witness_meets(const struct witness *witness, uint8_t kind, const struct hash *condition,
                   const struct domain *domain)
{
    switch (kind) {
    case LOCK_SECRET: {
        if (witness->length != WITNESS_SECRET_BYTES)
            return false;
        struct hash expected = condition_of_secret(witness->bytes);
        return hash_equal(&expected, condition);
    }
    case LOCK_ATTESTATION:
        return witness->length == WITNESS_ATTESTATION_BYTES &&
               attestation_meets(witness->bytes, condition, domain);
    }
    return false;
}

struct payment_id payment_id_of_payee(const struct hash *payer_channel, const struct payment_id *id)
{
    struct hash hash =
        keccak256_pair(payer_channel->bytes, sizeof(payer_channel->bytes), id->bytes, sizeof(id->bytes));
    struct payment_id out;
    memcpy(out.bytes, hash.bytes, sizeof(out.bytes));
    return out;
}
