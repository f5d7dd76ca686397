/* What crypto/ and base/ alone can check in a vector file. */
#include "tests/vectors/vectors.h"

#include <stdlib.h>
#include <string.h>

#include "base/amount.h"
#include "base/buffer.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "crypto/keystore.h"
#include "crypto/lock.h"
#include "crypto/typed.h"
#include "tests/support/json_aid.h"

const char *const section_crypto_keys[] = {
    "keccak256",    "keys",     "typed",    "channelIds",     "lockTrees", "conditions", "fees",
    "journalRoots", "payeeIds", "keystore", "signatureCases", "updates",   "invoices",   NULL};

#define assert_bytes_equal(a, b) assert_memory_equal((a).bytes, (b).bytes, sizeof((a).bytes))

static struct secret_key secret_key_member(const json_t *vector)
{
    struct secret_key key;
    json_aid_bytes(vector, "secretKey", key.bytes, sizeof(key.bytes));
    assert_true(secret_key_is_valid(&key));
    return key;
}

static struct domain domain_member(const json_t *vector)
{
    struct address contract = json_aid_address(vector, "verifyingContract");
    return domain_make(json_aid_u64(vector, "chainId"), &contract);
}

/* All ways to look at a good signature agree. */
static void check_signature(const struct signature *signature, const struct hash *digest,
                            const struct address *signer)
{
    struct address recovered;
    struct public_key key, found;
    assert_true(signature_is_by(signature, digest, signer));
    assert_true(signature_recover(signature, digest, &recovered));
    assert_bytes_equal(recovered, *signer);
    assert_true(signature_recover_key(signature, digest, &key));
    assert_true(signature_find_key(signature, digest, signer, &found));
    assert_memory_equal(&key, &found, sizeof(key));
    assert_true(signature_verify(signature, digest, &key));
}

static void check_keccak256(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "keccak256", &count);
    json_array_foreach(array, i, vector)
    {
        const char *text = json_aid_text(vector, "text");
        struct hash expected = json_aid_hash(vector, "hash"), got = keccak256(text, strlen(text));
        assert_bytes_equal(got, expected);
        struct hash halves =
            keccak256_pair(text, strlen(text) / 2, text + strlen(text) / 2, strlen(text) - strlen(text) / 2);
        assert_bytes_equal(halves, expected);
    }
    vectors_checked("keccak256", count);
}

static void check_keys(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "keys", &count);
    json_array_foreach(array, i, vector)
    {
        struct secret_key secret = secret_key_member(vector);
        struct public_key public = public_key_of(&secret);
        uint8_t expected[33], compressed[33];
        json_aid_bytes(vector, "publicKey", expected, sizeof(expected));
        public_key_compress(&public, compressed);
        assert_memory_equal(compressed, expected, sizeof(expected));
        struct address address = secret_key_address(&secret), wanted = json_aid_address(vector, "address");
        assert_bytes_equal(address, wanted);
    }
    vectors_checked("keys", count);
}

/* ---- typed data ---- */

enum field_kind { FIELD_HASH, FIELD_ADDRESS, FIELD_NUMBER, FIELD_BOOL };

struct typed_field {
    const char *name;
    enum field_kind kind;
};

static struct hash balance_proof_digest(const struct domain *domain, const json_t *message)
{
    struct hash channel = json_aid_hash(message, "channel");
    struct balance_proof proof = {.nonce = json_aid_u64(message, "nonce"),
                                  .transferred = amount_of(json_aid_u64(message, "transferred")),
                                  .locked = amount_of(json_aid_u64(message, "locked")),
                                  .locks_root = json_aid_hash(message, "locksRoot"),
                                  .body_hash = json_aid_hash(message, "bodyHash")};
    return digest_balance_proof(domain, &channel, &proof);
}

static struct hash settlement_digest(const struct domain *domain, const json_t *message)
{
    struct hash channel = json_aid_hash(message, "channel");
    return digest_settlement(domain, &channel, (uint32_t)json_aid_u64(message, "seq"),
                             amount_of(json_aid_u64(message, "clientOut")),
                             amount_of(json_aid_u64(message, "hubOut")), json_aid_u64(message, "deadline"),
                             json_aid_bool(message, "close"));
}

static struct hash revocation_digest(const struct domain *domain, const json_t *message)
{
    struct hash channel = json_aid_hash(message, "channel");
    return digest_revocation(domain, &channel, json_aid_u64(message, "minNonce"));
}

static struct hash choice_digest(const struct domain *domain, const json_t *message)
{
    struct hash proof_digest = json_aid_hash(message, "proofDigest");
    struct address tower = json_aid_address(message, "tower");
    return digest_choice(domain, &proof_digest, &tower);
}

static struct hash receipt_digest(const struct domain *domain, const json_t *message)
{
    struct hash channel = json_aid_hash(message, "channel"),
                proof_digest = json_aid_hash(message, "proofDigest");
    return digest_receipt(domain, &channel, json_aid_u64(message, "nonce"), &proof_digest);
}

static struct hash invoice_digest(const struct domain *domain, const json_t *message)
{
    struct address payee = json_aid_address(message, "payee"), asset = json_aid_address(message, "asset");
    struct hash secret_hash = json_aid_hash(message, "secretHash"),
                memo_hash = json_aid_hash(message, "memoHash");
    return digest_invoice(domain, &payee, &asset, amount_of(json_aid_u64(message, "amount")), &secret_hash,
                          json_aid_u64(message, "expiry"), &memo_hash);
}

static struct hash attestation_digest(const struct domain *domain, const json_t *message)
{
    struct hash event_id = json_aid_hash(message, "eventId");
    return digest_attestation(domain, &event_id);
}

static struct hash session_digest(const struct domain *domain, const json_t *message)
{
    struct address client = json_aid_address(message, "client");
    struct hash challenge = json_aid_hash(message, "challenge"),
                tls_cert_hash = json_aid_hash(message, "tlsCertHash");
    return digest_session(domain, &client, &challenge, &tls_cert_hash);
}

#define FIELDS_MAX 7

static const struct typed_case {
    const char *name;
    struct hash (*digest)(const struct domain *domain, const json_t *message);
    struct typed_field fields[FIELDS_MAX];
} typed_cases[] = {
    {"BalanceProof",
     balance_proof_digest,
     {{"channel", FIELD_HASH},
      {"nonce", FIELD_NUMBER},
      {"transferred", FIELD_NUMBER},
      {"locked", FIELD_NUMBER},
      {"locksRoot", FIELD_HASH},
      {"bodyHash", FIELD_HASH}}},
    {"Settlement",
     settlement_digest,
     {{"channel", FIELD_HASH},
      {"seq", FIELD_NUMBER},
      {"clientOut", FIELD_NUMBER},
      {"hubOut", FIELD_NUMBER},
      {"deadline", FIELD_NUMBER},
      {"close", FIELD_BOOL}}},
    {"Revocation", revocation_digest, {{"channel", FIELD_HASH}, {"minNonce", FIELD_NUMBER}}},
    {"Choice", choice_digest, {{"proofDigest", FIELD_HASH}, {"tower", FIELD_ADDRESS}}},
    {"Receipt",
     receipt_digest,
     {{"channel", FIELD_HASH}, {"nonce", FIELD_NUMBER}, {"proofDigest", FIELD_HASH}}},
    {"Invoice",
     invoice_digest,
     {{"payee", FIELD_ADDRESS},
      {"asset", FIELD_ADDRESS},
      {"amount", FIELD_NUMBER},
      {"secretHash", FIELD_HASH},
      {"expiry", FIELD_NUMBER},
      {"memoHash", FIELD_HASH}}},
    {"Attestation", attestation_digest, {{"eventId", FIELD_HASH}}},
    {"Session",
     session_digest,
     {{"client", FIELD_ADDRESS}, {"challenge", FIELD_HASH}, {"tlsCertHash", FIELD_HASH}}},
};

static const struct typed_case *find_typed_case(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(typed_cases); i++)
        if (strcmp(typed_cases[i].name, name) == 0)
            return &typed_cases[i];
    fail_msg("typed: unknown type '%s'", name);
    return NULL;
}

static struct hash encoded_struct_hash(const struct typed_case *typed, const json_t *message)
{
    uint8_t words[FIELDS_MAX * 32] = {0};
    size_t count = 0;
    for (; count < FIELDS_MAX && typed->fields[count].name != NULL; count++) {
        const struct typed_field *field = &typed->fields[count];
        uint8_t *word = words + 32 * count;
        switch (field->kind) {
        case FIELD_HASH:
            json_aid_bytes(message, field->name, word, 32);
            break;
        case FIELD_ADDRESS:
            json_aid_bytes(message, field->name, word + 12, 20);
            break;
        case FIELD_NUMBER:
            store_be64(word + 24, json_aid_u64(message, field->name));
            break;
        case FIELD_BOOL:
            word[31] = json_aid_bool(message, field->name);
            break;
        }
    }
    assert_int_equal(json_object_size(message), count);
    return typed_struct_hash(typed->name, words, count);
}

static void check_typed(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "typed", &count);
    json_array_foreach(array, i, vector)
    {
        const struct typed_case *typed = find_typed_case(json_aid_text(vector, "type"));
        const json_t *message = json_aid_get(vector, "message");
        struct domain domain = domain_member(vector);
        struct hash separator = json_aid_hash(vector, "domainSeparator");
        assert_bytes_equal(domain.separator, separator);
        struct hash inner = encoded_struct_hash(typed, message), wanted = json_aid_hash(vector, "structHash");
        assert_bytes_equal(inner, wanted);
        struct hash digest = typed->digest(&domain, message), expected = json_aid_hash(vector, "digest");
        assert_bytes_equal(digest, expected);

        struct secret_key key = secret_key_member(vector);
        struct signature made = key_sign(&key, &digest), signature = json_aid_signature(vector, "signature");
        assert_bytes_equal(made, signature);
        struct address signer = json_aid_address(vector, "signer");
        check_signature(&signature, &digest, &signer);
    }
    vectors_checked("typed", count);
}

/* ---- channels and locks ---- */

static void check_channel_ids(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "channelIds", &count);
    json_array_foreach(array, i, vector)
    {
        struct channel_key key = {.client = json_aid_address(vector, "client"),
                                  .asset = json_aid_address(vector, "asset"),
                                  .salt = json_aid_u64(vector, "salt")};
        struct hash id = channel_id(&key), expected = json_aid_hash(vector, "id");
        assert_bytes_equal(id, expected);
    }
    vectors_checked("channelIds", count);
}

static struct lock find_lock(const json_t *locks, uint64_t id)
{
    size_t i;
    json_t *member;
    json_array_foreach(locks, i, member)
    {
        if (json_aid_u64(member, "id") == id)
            return json_aid_lock(member);
    }
    fail_msg("lockTrees: a proof for lock %llu, which is not there", (unsigned long long)id);
    return (struct lock){0};
}

/* One lock's proof: it leads to the root, and nothing that differs does. */
static void check_lock_proof(const json_t *vector, const struct lock *lock, const struct hash *root)
{
    const json_t *proof = json_aid_get(vector, "proof");
    size_t length = json_array_size(proof);
    struct hash *hashes = xcalloc(length, sizeof(*hashes));
    for (size_t i = 0; i < length; i++)
        json_aid_bytes_of(json_array_get(proof, i), hashes[i].bytes, sizeof(hashes[i].bytes));
    struct hash leaf = lock_leaf(lock), expected = json_aid_hash(vector, "leaf");
    assert_bytes_equal(leaf, expected);
    assert_true(merkle_verify(&leaf, hashes, length, root));
    struct lock other = *lock;
    other.amount.units ^= 1;
    struct hash other_leaf = lock_leaf(&other);
    assert_false(merkle_verify(&other_leaf, hashes, length, root));
    if (length > 0) {
        assert_false(merkle_verify(&leaf, hashes, length - 1, root));
        hashes[length - 1].bytes[0] ^= 1;
        assert_false(merkle_verify(&leaf, hashes, length, root));
    }
    free(hashes);
}

static void check_lock_proofs(const json_t *root)
{
    size_t count, i, checked = 0;
    json_t *tree, *array = json_aid_array(root, "lockTrees", &count);
    json_array_foreach(array, i, tree)
    {
        const json_t *locks = json_aid_get(tree, "locks"), *proofs = json_aid_get(tree, "proofs");
        struct hash tree_root = json_aid_hash(tree, "root");
        assert_true(hash_is_zero(&tree_root) == (json_array_size(locks) == 0));
        size_t j;
        json_t *vector;
        json_array_foreach(proofs, j, vector)
        {
            struct lock lock = find_lock(locks, json_aid_u64(vector, "id"));
            check_lock_proof(vector, &lock, &tree_root);
            checked++;
        }
    }
    vectors_checked("lockTrees: leaves and proofs", checked);
}

static void check_conditions(const json_t *root)
{
    const json_t *vector = json_aid_get(root, "conditions");
    struct hash secret = json_aid_hash(vector, "secret"), condition = condition_of_secret(secret.bytes);
    struct hash expected = json_aid_hash(vector, "secretCondition");
    assert_bytes_equal(condition, expected);
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    memcpy(witness.bytes, secret.bytes, 32);
    struct domain domain = domain_make(1, &ADDRESS_ZERO);
    assert_true(witness_meets(&witness, LOCK_SECRET, &condition, &domain));

    struct address attester = json_aid_address(vector, "attester");
    struct hash event_id = json_aid_hash(vector, "eventId");
    condition = condition_of_attestation(&attester, &event_id);
    expected = json_aid_hash(vector, "attestationCondition");
    assert_bytes_equal(condition, expected);
    vectors_checked("conditions", 2);
}

static void check_fees(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "fees", &count);
    json_array_foreach(array, i, vector)
    {
        struct amount fee;
        assert_true(amount_fee(amount_of(json_aid_u64(vector, "amount")),
                               amount_of(json_aid_u64(vector, "base_fee")),
                               (uint32_t)json_aid_u64(vector, "fee_ppm"), &fee));
        assert_int_equal(fee.units, json_aid_u64(vector, "fee"));
    }
    vectors_checked("fees", count);
}

static void check_journal_roots(const json_t *root)
{
    const json_t *section = json_aid_get(root, "journalRoots");
    assert_string_equal(json_aid_text(section, "rule"), "leaf i = keccak256('digest ' + i)");
    size_t count, i;
    json_t *vector, *array = json_aid_array(section, "roots", &count);
    json_array_foreach(array, i, vector)
    {
        size_t leaf_count = json_aid_u64(vector, "leaves");
        struct hash *leaves = xcalloc(leaf_count, sizeof(*leaves));
        for (size_t j = 0; j < leaf_count; j++) {
            char text[32];
            int length = snprintf(text, sizeof(text), "digest %zu", j);
            leaves[j] = keccak256(text, (size_t)length);
        }
        struct hash got = merkle_journal_root(leaves, leaf_count), expected = json_aid_hash(vector, "root");
        free(leaves);
        assert_bytes_equal(got, expected);
    }
    vectors_checked("journalRoots", count);
}

static void check_payee_ids(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "payeeIds", &count);
    json_array_foreach(array, i, vector)
    {
        struct hash channel = json_aid_hash(vector, "channel");
        struct payment_id id = json_aid_payment_id(vector, "id"),
                          expected = json_aid_payment_id(vector, "payeeId");
        struct payment_id got = payment_id_of_payee(&channel, &id);
        assert_bytes_equal(got, expected);
    }
    vectors_checked("payeeIds", count);
}

/* ---- signatures and keystores ---- */

static void check_signature_cases(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "signatureCases", &count);
    struct public_key known;
    bool is_known = false;
    json_array_foreach(array, i, vector)
    {
        struct signature signature = json_aid_signature(vector, "signature");
        struct hash digest = json_aid_hash(vector, "digest");
        struct address signer = json_aid_address(vector, "signer");
        bool good = json_aid_bool(vector, "good");
        if (signature_is_by(&signature, &digest, &signer) != good)
            fail_msg("signatureCases: '%s' should be %s", json_aid_text(vector, "why"),
                     good ? "good" : "refused");
        struct public_key key;
        assert_true(signature_find_key(&signature, &digest, &signer, &key) == good);
        if (good) {
            known = key;
            is_known = true;
        }
        /* The signer's known key gives the same answer as recovery. */
        struct address known_address = is_known ? public_key_address(&known) : ADDRESS_ZERO;
        if (is_known && address_equal(&known_address, &signer))
            assert_true(signature_verify(&signature, &digest, &known) == good);
    }
    vectors_checked("signatureCases", count);
}

static void check_keystore(const json_t *root)
{
    const json_t *vector = json_aid_get(root, "keystore");
    char *text = json_dumps(json_aid_get(vector, "json"), 0);
    struct secret_key expected = secret_key_member(vector), got;
    assert_int_equal(keystore_decrypt(text, strlen(text), json_aid_text(vector, "passphrase"), &got),
                     KEYSTORE_OK);
    assert_bytes_equal(got, expected);
    assert_int_equal(keystore_decrypt(text, strlen(text), "another passphrase", &got), KEYSTORE_PASSPHRASE);
    free(text);
    vectors_checked("keystore", 1);
}

static void check_updates(const json_t *root)
{
    const json_t *section = json_aid_get(root, "updates");
    struct domain domain = domain_member(section);
    struct secret_key key = secret_key_member(section);
    struct address signer = json_aid_address(section, "signer");
    size_t count, i;
    json_t *vector, *array = json_aid_array(section, "stream", &count);
    json_array_foreach(array, i, vector)
    {
        const json_t *message = json_aid_get(vector, "message");
        struct buffer body = {0};
        json_aid_buffer(vector, "body", &body);
        struct hash body_hash = keccak256(body.data, body.length),
                    wanted = json_aid_hash(message, "bodyHash");
        buffer_free(&body);
        assert_bytes_equal(body_hash, wanted);
        struct hash digest = balance_proof_digest(&domain, message),
                    expected = json_aid_hash(vector, "digest");
        assert_bytes_equal(digest, expected);
        struct signature made = key_sign(&key, &digest), signature = json_aid_signature(vector, "signature");
        assert_bytes_equal(made, signature);
        check_signature(&signature, &digest, &signer);
    }
    vectors_checked("updates: digests and signatures", count);
}

static void check_invoices(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "invoices", &count);
    json_array_foreach(array, i, vector)
    {
        struct address contract = json_aid_address(vector, "contract"),
                       payee = json_aid_address(vector, "payee");
        struct address asset = json_aid_address(vector, "asset");
        struct domain domain = domain_make(json_aid_u64(vector, "chainId"), &contract);
        const char *memo = json_aid_text(vector, "memo");
        struct hash memo_hash = keccak256(memo, strlen(memo)),
                    secret_hash = json_aid_hash(vector, "secretHash");
        struct hash digest =
            digest_invoice(&domain, &payee, &asset, amount_of(json_aid_u64(vector, "amount")), &secret_hash,
                           json_aid_u64(vector, "expiry"), &memo_hash);
        struct hash expected = json_aid_hash(vector, "digest");
        assert_bytes_equal(digest, expected);
        struct signature signature = json_aid_signature(vector, "signature");
        check_signature(&signature, &digest, &payee);
    }
    vectors_checked("invoices: digests and signatures", count);
}

void section_crypto(const json_t *root)
{
    check_keccak256(root);
    check_keys(root);
    check_typed(root);
    check_channel_ids(root);
    check_lock_proofs(root);
    check_conditions(root);
    check_fees(root);
    check_journal_roots(root);
    check_payee_ids(root);
    check_signature_cases(root);
    check_keystore(root);
    check_updates(root);
    check_invoices(root);
}
