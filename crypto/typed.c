#include "crypto/typed.h"

#include <pthread.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"

/* On no wire and no disk: an index into the table below. */
enum typed {
    TYPED_BALANCE_PROOF,
    TYPED_SETTLEMENT,
    TYPED_REVOCATION,
    TYPED_CHOICE,
    TYPED_INVOICE,
    TYPED_ATTESTATION,
    TYPED_SESSION,
    TYPED_RECEIPT,
    TYPED_COUNT
};

/* Letter by letter as in protocol.md, section 2. */
static const char *const type_text[TYPED_COUNT] = {
    [TYPED_BALANCE_PROOF] = "BalanceProof(bytes32 channel,uint64 nonce,uint64 transferred,uint64 locked,"
                            "bytes32 locksRoot,bytes32 bodyHash)",
    [TYPED_SETTLEMENT] =
        "Settlement(bytes32 channel,uint32 seq,uint64 clientOut,uint64 hubOut,uint64 deadline,"
        "bool close)",
    [TYPED_REVOCATION] = "Revocation(bytes32 channel,uint64 minNonce)",
    [TYPED_CHOICE] = "Choice(bytes32 proofDigest,address tower)",
    [TYPED_INVOICE] = "Invoice(address payee,address asset,uint64 amount,bytes32 secretHash,uint64 expiry,"
                      "bytes32 memoHash)",
    [TYPED_ATTESTATION] = "Attestation(bytes32 eventId)",
    [TYPED_SESSION] = "Session(address client,bytes32 challenge,bytes32 tlsCertHash)",
    [TYPED_RECEIPT] = "Receipt(bytes32 channel,uint64 nonce,bytes32 proofDigest)",
};

static struct hash type_hash[TYPED_COUNT];
static pthread_once_t type_hash_once = PTHREAD_ONCE_INIT;

static void compute_type_hashes(void)
{
    for (size_t i = 0; i < TYPED_COUNT; i++)
        type_hash[i] = keccak256(type_text[i], strlen(type_text[i]));
}

#define WORDS_MAX 7

/* An ABI encoding of static words, each 32 bytes, being filled. */
struct words {
    uint8_t bytes[(1 + WORDS_MAX) * 32];
    size_t count;
};

static struct words words_begin(enum typed type)
{
    pthread_once(&type_hash_once, compute_type_hashes);
    struct words words = {.count = 1};
    memcpy(words.bytes, type_hash[type].bytes, 32);
    return words;
}

static uint8_t *words_next(struct words *words)
{
    ensure(words->count < 1 + WORDS_MAX);
    return words->bytes + 32 * words->count++;
}

static void words_hash(struct words *words, const struct hash *hash)
{
    memcpy(words_next(words), hash->bytes, 32);
}

static void words_number(struct words *words, uint64_t value)
{
    store_be64(words_next(words) + 24, value);
}

static void words_address(struct words *words, const struct address *address)
{
    memcpy(words_next(words) + 12, address->bytes, 20);
}

static struct hash words_digest(const struct words *words, const struct domain *domain)
{
    struct hash inner = keccak256(words->bytes, 32 * words->count);
    uint8_t outer[2 + 32 + 32] = {0x19, 0x01};
    memcpy(outer + 2, domain->separator.bytes, 32);
    memcpy(outer + 34, inner.bytes, 32);
    return keccak256(outer, sizeof(outer));
}

struct domain domain_make(uint64_t chain_id, const struct address *contract)
{
    static const char type[] =
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
    uint8_t encoded[5 * 32] = {0};
    struct hash part = keccak256(type, strlen(type));
    memcpy(encoded, part.bytes, 32);
    part = keccak256("Rill", 4);
    memcpy(encoded + 32, part.bytes, 32);
    part = keccak256("1", 1);
    memcpy(encoded + 64, part.bytes, 32);
    store_be64(encoded + 96 + 24, chain_id);
    memcpy(encoded + 128 + 12, contract->bytes, 20);
    return (struct domain){chain_id, *contract, keccak256(encoded, sizeof(encoded))};
}

struct hash channel_id(const struct channel_key *key)
{
    uint8_t encoded[3 * 32] = {0};
    memcpy(encoded + 12, key->client.bytes, 20);
    memcpy(encoded + 32 + 12, key->asset.bytes, 20);
    store_be64(encoded + 64 + 24, key->salt);
    return keccak256(encoded, sizeof(encoded));
}

struct hash digest_balance_proof(const struct domain *domain, const struct hash *channel,
                                 const struct balance_proof *proof)
{
    struct words words = words_begin(TYPED_BALANCE_PROOF);
    words_hash(&words, channel);
    words_number(&words, proof->nonce);
    words_number(&words, proof->transferred.units);
    words_number(&words, proof->locked.units);
    words_hash(&words, &proof->locks_root);
    words_hash(&words, &proof->body_hash);
    return words_digest(&words, domain);
}

struct hash digest_settlement(const struct domain *domain, const struct hash *channel, uint32_t seq,
                              struct amount client_out, struct amount hub_out, uint64_t deadline, bool close)
{
    struct words words = words_begin(TYPED_SETTLEMENT);
    words_hash(&words, channel);
    words_number(&words, seq);
    words_number(&words, client_out.units);
    words_number(&words, hub_out.units);
    words_number(&words, deadline);
    words_number(&words, close ? 1 : 0);
    return words_digest(&words, domain);
}

struct hash digest_revocation(const struct domain *domain, const struct hash *channel, uint64_t min_nonce)
{
    struct words words = words_begin(TYPED_REVOCATION);
    words_hash(&words, channel);
    words_number(&words, min_nonce);
    return words_digest(&words, domain);
}

struct hash digest_choice(const struct domain *domain, const struct hash *proof_digest,
                          const struct address *tower)
{
    struct words words = words_begin(TYPED_CHOICE);
    words_hash(&words, proof_digest);
    words_address(&words, tower);
    return words_digest(&words, domain);
}

struct hash digest_invoice(const struct domain *domain, const struct address *payee,
                           const struct address *asset, struct amount amount, const struct hash *secret_hash,
                           uint64_t expiry, const struct hash *memo_hash)
{
    struct words words = words_begin(TYPED_INVOICE);
    words_address(&words, payee);
    words_address(&words, asset);
    words_number(&words, amount.units);
    words_hash(&words, secret_hash);
    words_number(&words, expiry);
    words_hash(&words, memo_hash);
    return words_digest(&words, domain);
}

struct hash digest_attestation(const struct domain *domain, const struct hash *event_id)
{
    struct words words = words_begin(TYPED_ATTESTATION);
    words_hash(&words, event_id);
    return words_digest(&words, domain);
}

struct hash digest_session(const struct domain *domain, const struct address *client,
                           const struct hash *challenge, const struct hash *tls_cert_hash)
{
    struct words words = words_begin(TYPED_SESSION);
    words_address(&words, client);
    words_hash(&words, challenge);
    words_hash(&words, tls_cert_hash);
    return words_digest(&words, domain);
}

struct hash digest_receipt(const struct domain *domain, const struct hash *channel, uint64_t nonce,
                           const struct hash *proof_digest)
{
    struct words words = words_begin(TYPED_RECEIPT);
    words_hash(&words, channel);
    words_number(&words, nonce);
    words_hash(&words, proof_digest);
    return words_digest(&words, domain);
}

struct hash typed_struct_hash(const char *type_name, const uint8_t *words_data, size_t word_count)
{
    size_t name_length = strlen(type_name);
    for (int i = 0; i < TYPED_COUNT; i++) {
        if (strncmp(type_text[i], type_name, name_length) != 0 || type_text[i][name_length] != '(')
            continue;
        struct words words = words_begin((enum typed)i);
        ensure(word_count <= WORDS_MAX);
        memcpy(words.bytes + 32, words_data, 32 * word_count);
        return keccak256(words.bytes, 32 * (1 + word_count));
    }
    bool type_is_known = false;
    ensure(type_is_known);
    return HASH_ZERO;
}
