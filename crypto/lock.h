/* What a lock is bound to: its leaf, its condition, its witness; Merkle proofs and the journal root
 * (protocol.md, sections 3 and 8). */
#ifndef RILL_CRYPTO_LOCK_H
#define RILL_CRYPTO_LOCK_H

#include "base/payment.h"
#include "crypto/typed.h"

/* keccak256(keccak256(abi.encode(id, amount, expiry, kind, condition))). */
struct hash lock_leaf(const struct lock *lock);
/* Of many, *out[i] of *locks[i]; they are hashed side by side (keccak256_many). */
void lock_leaves(const struct lock *const *locks, size_t count, struct hash *const *out);

/* node(0, x) = x, node(x, 0) = x, else keccak256(min || max). */
struct hash merkle_node(const struct hash *left, const struct hash *right);
/* Many, none of them above another: each parent of its two children, side by side. */
struct merkle_join {
    const struct hash *children; /* left, right */
    struct hash *parent;
};
void merkle_nodes(const struct merkle_join *joins, size_t count);
/* OpenZeppelin's MerkleProof.verify: folds keccak256(min || max) over the proof. */
bool merkle_verify(const struct hash *leaf, const struct hash *proof, size_t proof_length,
                   const struct hash *root) MUST_USE;
/* Sorted pairs, an odd node moves up; zero for no leaves (section 8). `leaves` is used as scratch. */
struct hash merkle_journal_root(struct hash *leaves, size_t count);

/* Condition of a secret: SHA-256 of its 32 bytes. */
struct hash condition_of_secret(const uint8_t secret[32]);
/* keccak256(abi.encode(attester, event_id)). */
struct hash condition_of_attestation(const struct address *attester, const struct hash *event_id);

/* True if the witness meets the condition: a secret by its hash, an attestation by condition and signature.
 * An empty witness never does (whether a registration exists is the caller's question to the ledger). */
bool witness_meets(const struct witness *witness, uint8_t kind, const struct hash *condition,
                   const struct domain *domain) MUST_USE;

/* The id a payee's leg carries: keccak256(payer's channel || id)[0..16] (section 4). */
struct payment_id payment_id_of_payee(const struct hash *payer_channel, const struct payment_id *id);
/* Each of many ids gives way to it, side by side. */
void payment_ids_of_payee(const struct hash *payer_channel, struct payment_id *ids, size_t count);

#endif
