#include "ledger/contract_parts.h"

#include <string.h>

#include "crypto/hash.h"

void put_key(struct buffer *out, const struct channel_key *key)
{
    abi_put_address(out, &key->client);
    abi_put_address(out, &key->asset);
    abi_put_u64(out, key->salt);
}

void put_proof(struct buffer *out, const struct balance_proof *proof)
{
    abi_put_u64(out, proof->nonce);
    abi_put_amount(out, proof->transferred);
    abi_put_amount(out, proof->locked);
    abi_put_hash(out, &proof->locks_root);
    abi_put_hash(out, &proof->body_hash);
}

void put_claim(struct buffer *out, const struct claim *claim)
{
    abi_put_u64(out, claim->nonce);
    abi_put_amount(out, claim->transferred);
    abi_put_amount(out, claim->locked);
    abi_put_hash(out, &claim->locks_root);
}

void put_lock(struct buffer *out, const struct lock *lock)
{
    abi_put_u64(out, lock->id);
    abi_put_amount(out, lock->amount);
    abi_put_u64(out, lock->expiry);
    abi_put_wide(out, lock->kind);
    abi_put_hash(out, &lock->condition);
}

struct channel_key get_key(struct abi_reader *reader)
{
    struct channel_key key = {.client = abi_address(reader)};
    key.asset = abi_address(reader);
    key.salt = abi_u64(reader);
    return key;
}

struct balance_proof get_proof(struct abi_reader *reader)
{
    struct balance_proof proof = {.nonce = abi_u64(reader)};
    proof.transferred = abi_amount(reader);
    proof.locked = abi_amount(reader);
    proof.locks_root = abi_hash(reader);
    proof.body_hash = abi_hash(reader);
    return proof;
}

struct claim get_claim(struct abi_reader *reader)
{
    struct claim claim = {.nonce = abi_u64(reader)};
    claim.transferred = abi_amount(reader);
    claim.locked = abi_amount(reader);
    claim.locks_root = abi_hash(reader);
    return claim;
}

struct lock get_lock(struct abi_reader *reader)
{
    struct lock lock = {.id = abi_u64(reader)};
    lock.amount = abi_amount(reader);
    lock.expiry = abi_u64(reader);
    lock.kind = abi_u8(reader);
    lock.condition = abi_hash(reader);
    return lock;
}

uint32_t signature_selector(const char *signature)
{
    struct hash hash = keccak256(signature, strlen(signature));
    return load_be32(hash.bytes);
}
