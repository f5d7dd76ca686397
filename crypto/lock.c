#include "crypto/lock.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/key.h"

#define TOGETHER 32 /* hashed side by side: their inputs lie on the stack */

#define LEAF_BYTES (5 * 32)

static void encode_lock(const struct lock *lock, uint8_t encoded[LEAF_BYTES])
{
    memset(encoded, 0, LEAF_BYTES);
    store_be64(encoded + 24, lock->id);
    store_be64(encoded + 32 + 24, lock->amount.units);
    store_be64(encoded + 64 + 24, lock->expiry);
    encoded[96 + 31] = lock->kind;
    memcpy(encoded + 128, lock->condition.bytes, 32);
}

struct hash lock_leaf(const struct lock *lock)
{
    uint8_t encoded[LEAF_BYTES];
    encode_lock(lock, encoded);
    struct hash inner = keccak256(encoded, sizeof(encoded));
    return keccak256(inner.bytes, sizeof(inner.bytes));
}

static void some_leaves(const struct lock *const *locks, size_t count, struct hash *const *out)
{
    uint8_t encoded[TOGETHER][LEAF_BYTES];
    struct hash_input inputs[TOGETHER] = {{NULL, 0}};
    struct hash inner[TOGETHER], leaves[TOGETHER];
    for (size_t i = 0; i < count; i++) {
        encode_lock(locks[i], encoded[i]);
        inputs[i] = (struct hash_input){encoded[i], LEAF_BYTES};
    }
    keccak256_many(inputs, count, inner);
    for (size_t i = 0; i < count; i++)
        inputs[i] = (struct hash_input){inner[i].bytes, sizeof(inner[i].bytes)};
    keccak256_many(inputs, count, leaves);
    for (size_t i = 0; i < count; i++)
        *out[i] = leaves[i];
}

void lock_leaves(const struct lock *const *locks, size_t count, struct hash *const *out)
{
    for (size_t done = 0, some; done < count; done += some) {
        some = count - done < TOGETHER ? count - done : TOGETHER;
        some_leaves(locks + done, some, out + done);
    }
}

#define NODE_BYTES 64

static void encode_node(const struct hash *a, const struct hash *b, uint8_t both[NODE_BYTES])
{
    bool ordered = hash_compare(a, b) < 0;
    memcpy(both, ordered ? a : b, 32);
    memcpy(both + 32, ordered ? b : a, 32);
}

static struct hash sorted_pair(const struct hash *a, const struct hash *b)
{
    uint8_t both[NODE_BYTES];
    encode_node(a, b, both);
    return keccak256(both, sizeof(both));
}

/* An empty side: the parent is the other one, without a hash. */
static bool is_one_sided(const struct hash *left, const struct hash *right, struct hash *parent)
{
    bool is_left_empty = hash_is_zero(left), is_one = is_left_empty || hash_is_zero(right);
    if (is_one)
        *parent = is_left_empty ? *right : *left;
    return is_one;
}

struct hash merkle_node(const struct hash *left, const struct hash *right)
{
    struct hash parent;
    return is_one_sided(left, right, &parent) ? parent : sorted_pair(left, right);
}

void merkle_nodes(const struct merkle_join *joins, size_t count)
{
    uint8_t both[TOGETHER][NODE_BYTES];
    struct hash_input inputs[TOGETHER] = {{NULL, 0}};
    struct hash nodes[TOGETHER], *parents[TOGETHER];
    size_t some = 0;
    for (size_t i = 0; i < count; i++) {
        const struct hash *left = &joins[i].children[0], *right = &joins[i].children[1];
        if (!is_one_sided(left, right, joins[i].parent)) {
            encode_node(left, right, both[some]);
            inputs[some] = (struct hash_input){both[some], NODE_BYTES};
            parents[some++] = joins[i].parent;
        }
        if (some < TOGETHER && i + 1 < count)
            continue;
        keccak256_many(inputs, some, nodes);
        while (some > 0) {
            some--;
            *parents[some] = nodes[some];
        }
    }
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

void payment_ids_of_payee(const struct hash *payer_channel, struct payment_id *ids, size_t count)
{
    struct leg {
        struct hash channel;
        struct payment_id id;
    } legs[TOGETHER];
    struct hash_input inputs[TOGETHER] = {{NULL, 0}};
    struct hash hashes[TOGETHER];
    _Static_assert(sizeof(struct leg) == 48, "hashed as it lies: no padding");
    for (size_t i = 0; i < TOGETHER; i++) {
        legs[i].channel = *payer_channel;
        inputs[i] = (struct hash_input){&legs[i], sizeof(legs[i])};
    }
    for (size_t done = 0, some; done < count; done += some) {
        some = count - done < TOGETHER ? count - done : TOGETHER;
        for (size_t i = 0; i < some; i++)
            legs[i].id = ids[done + i];
        keccak256_many(inputs, some, hashes);
        for (size_t i = 0; i < some; i++)
            memcpy(ids[done + i].bytes, hashes[i].bytes, sizeof(ids[done + i].bytes));
    }
}
