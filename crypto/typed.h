/* EIP-712: the digests of all that is signed in Rill (protocol.md, section 2), and channel ids. */
#ifndef RILL_CRYPTO_TYPED_H
#define RILL_CRYPTO_TYPED_H

#include "base/payment.h"

/* name "Rill", version "1". Made once per ledger and contract; the separator is computed then. */
struct domain {
    uint64_t chain_id;
    struct address contract;
    struct hash separator;
};
struct domain domain_make(uint64_t chain_id, const struct address *contract);

/* keccak256(abi.encode(client, asset, salt)). */
struct hash channel_id(const struct channel_key *key);

struct hash digest_balance_proof(const struct domain *domain, const struct hash *channel,
                                 const struct balance_proof *proof);
struct hash digest_settlement(const struct domain *domain, const struct hash *channel, uint32_t seq,
                              struct amount client_out, struct amount hub_out, uint64_t deadline, bool close);
struct hash digest_revocation(const struct domain *domain, const struct hash *channel, uint64_t min_nonce);
struct hash digest_choice(const struct domain *domain, const struct hash *proof_digest,
                          const struct address *tower);
struct hash digest_invoice(const struct domain *domain, const struct address *payee,
                           const struct address *asset, struct amount amount, const struct hash *secret_hash,
                           uint64_t expiry, const struct hash *memo_hash);
struct hash digest_attestation(const struct domain *domain, const struct hash *event_id);
struct hash digest_session(const struct domain *domain, const struct address *client,
                           const struct hash *challenge, const struct hash *tls_cert_hash);
struct hash digest_receipt(const struct domain *domain, const struct hash *channel, uint64_t nonce,
                           const struct hash *proof_digest);

/* The struct hash alone (before the domain), for the vectors. type_name as in protocol.md; words: the fields,
 * each 32 bytes ABI-encoded, in order. */
struct hash typed_struct_hash(const char *type_name, const uint8_t *words, size_t word_count);

#endif
