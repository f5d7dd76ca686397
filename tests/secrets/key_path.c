/* What our code does with a key, for valgrind: the key's bytes are marked undefined, and memcheck then complains of every
 * branch and every address that depends on them (the way of ctgrind). Run by test_secrets.c:
 *
 *     key_path sign        all that is signed in Rill, and the addresses that go with it
 *     key_path derive      what is derived from a key: a wallet's invoice secrets; comparing and wiping secrets
 *     key_path leak-branch, leak-index, leak-compare      what must be found
 *
 * Public from the moment the library has made it is what it gives back: signatures, public keys, and whether the key is a
 * valid one. That is said here, where the library is called (--wrap), so that whatever our own code does with the key
 * itself, before and after, is seen. Inside of libsecp256k1 and libcrypto nothing is judged: library.supp says why. */
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "base/ensure.h"
#include "channel/channel.h"
#include "crypto/hash.h"
#include "ledger/transaction.h"
#include "wire/invoice.h"
#include "wire/message.h"

/* ---- where the library's answers become public ---- */

int __real_secp256k1_ecdsa_sign_recoverable(const secp256k1_context *context,
                                            secp256k1_ecdsa_recoverable_signature *out,
                                            const unsigned char *digest, const unsigned char *key,
                                            secp256k1_nonce_function nonce, const void *data);
int __wrap_secp256k1_ecdsa_sign_recoverable(const secp256k1_context *context,
                                            secp256k1_ecdsa_recoverable_signature *out,
                                            const unsigned char *digest, const unsigned char *key,
                                            secp256k1_nonce_function nonce, const void *data);
int __real_secp256k1_ec_pubkey_create(const secp256k1_context *context, secp256k1_pubkey *out,
                                      const unsigned char *key);
int __wrap_secp256k1_ec_pubkey_create(const secp256k1_context *context, secp256k1_pubkey *out,
                                      const unsigned char *key);
int __real_secp256k1_ec_seckey_verify(const secp256k1_context *context, const unsigned char *key);
int __wrap_secp256k1_ec_seckey_verify(const secp256k1_context *context, const unsigned char *key);

static unsigned answers; /* of the library, so far */

int __wrap_secp256k1_ecdsa_sign_recoverable(const secp256k1_context *context,
                                            secp256k1_ecdsa_recoverable_signature *out,
                                            const unsigned char *digest, const unsigned char *key,
                                            secp256k1_nonce_function nonce, const void *data)
{
    int good = __real_secp256k1_ecdsa_sign_recoverable(context, out, digest, key, nonce, data);
    VALGRIND_MAKE_MEM_DEFINED(&good, sizeof(good));
    VALGRIND_MAKE_MEM_DEFINED(out, sizeof(*out));
    answers++;
    return good;
}

int __wrap_secp256k1_ec_pubkey_create(const secp256k1_context *context, secp256k1_pubkey *out,
                                      const unsigned char *key)
{
    int good = __real_secp256k1_ec_pubkey_create(context, out, key);
    VALGRIND_MAKE_MEM_DEFINED(&good, sizeof(good));
    VALGRIND_MAKE_MEM_DEFINED(out, sizeof(*out));
    answers++;
    return good;
}

int __wrap_secp256k1_ec_seckey_verify(const secp256k1_context *context, const unsigned char *key)
{
    int good = __real_secp256k1_ec_seckey_verify(context, key);
    VALGRIND_MAKE_MEM_DEFINED(&good, sizeof(good));
    answers++;
    return good;
}

/* ---- what is done with a key ---- */

static const struct secret_key plain = {{1, 2, 3, [31] = 4}};

static void hide(void *data, size_t length)
{
    VALGRIND_MAKE_MEM_UNDEFINED(data, length);
}

/* The payer's side of a channel signs a payment, a revocation and a settlement. */
static void sign_in_channel(const struct secret_key *key, const struct address *client,
                            const struct domain *domain)
{
    struct channel_key name = {.client = *client};
    struct channel *channel = channel_new(&name, SIDE_CLIENT, 100);
    struct channel_funds funds = {{1000}, 500, 0, STAGE_OPEN};
    struct channel_view view = {.domain = domain, .now = 1800000000, .reveal_margin_s = 60};
    struct operation pay = {.type = OPERATION_PAY, .peer = {{1}}, .amount = {100}, .expiry = 1800001000};
    struct buffer body = {0};
    size_t count;
    (void)channel_set_funds(channel, &funds);
    channel_set_told(channel, &funds);
    ensure(channel_add(channel, &view, &pay, NULL) == CODE_OK);
    const struct operation *draft = channel_draft(channel, &count);
    body_encode(&body, draft, count);
    ensure(channel_seal(channel, domain, key, body.data, body.length)->proof.nonce == 1);
    ensure(channel_acknowledged(channel, 1) == CODE_OK);
    struct settlement proposal = {.seq = 1, .client_out = {10}, .deadline = 1800000100};
    struct signature signature;
    ensure(channel_settle_sign(channel, &view, &proposal, amount_of(10), false, 3600, key, &signature) ==
           CODE_OK);
    buffer_free(&body);
    channel_free(channel);
}

static void sign_all(const struct secret_key *key)
{
    struct domain domain = domain_make(31337, &(struct address){{7}});
    struct hash digest = keccak256("what is signed", 14), event = {{5}};
    ensure(secret_key_is_valid(key));
    struct address self = secret_key_address(key);
    struct signature signature = key_sign(key, &digest);
    ensure(signature_is_by(&signature, &digest, &self));
    digest = digest_session(&domain, &self, &event, &event);
    signature = key_sign(key, &digest);
    digest = digest_receipt(&domain, &event, 3, &event);
    signature = key_sign(key, &digest);
    sign_in_channel(key, &self, &domain);
    struct buffer raw = {0};
    struct transaction transaction = {
        .chain_id = 31337, .max_fee_per_gas = 1000, .gas_limit = 21000, .to = {{9}}};
    (void)transaction_sign(&transaction, key, &raw);
    buffer_free(&raw);
    struct invoice invoice = {.chain_id = 31337, .endpoint = "127.0.0.1:9735", .payee = self, .amount = {5}};
    invoice_sign(&invoice, key);
    ensure(answers >= 8);
}

/* As wallet/core.c makes the seed, wallet/core_invoices.c a secret of it. */
static void derive(const struct secret_key *key)
{
    static const char label[] = "rill invoice secrets 1";
    struct hash seed = hmac_sha256(key->bytes, sizeof(key->bytes), label, sizeof(label) - 1);
    struct hash secret = hmac_sha256(seed.bytes, sizeof(seed.bytes), "1", 1);
    struct hash condition = condition_of_secret(secret.bytes);
    VALGRIND_MAKE_MEM_DEFINED(&condition, sizeof(condition)); /* it stands in the invoice */
    ensure(!hash_is_zero(&condition));
    struct secret_key other = plain;
    bool same = bytes_equal_constant_time(key, &other, sizeof(other));
    VALGRIND_MAKE_MEM_DEFINED(&same, sizeof(same)); /* whoever tries a passphrase is told */
    ensure(same);
    struct secret_key copy = *key;
    bytes_wipe(&copy, sizeof(copy));
    ensure(copy.bytes[0] == 0 && copy.bytes[31] == 0); /* defined again: nothing of it is left */
}

/* ---- what must be found ---- */

static volatile unsigned sink;

static void leak_branch(const struct secret_key *key)
{
    if (key->bytes[5] & 1)
        sink++;
}

static void leak_index(const struct secret_key *key)
{
    static const volatile uint8_t table[256];
    sink = table[key->bytes[5]];
}

static void leak_compare(const struct secret_key *key)
{
    if (memcmp(key, &plain, sizeof(plain)) == 0)
        sink++;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const struct secret_key *key);
    } deeds[] = {{"sign", sign_all},
                 {"derive", derive},
                 {"leak-branch", leak_branch},
                 {"leak-index", leak_index},
                 {"leak-compare", leak_compare}};
    for (size_t i = 0; argc == 2 && i < ARRAY_LENGTH(deeds); i++) {
        if (strcmp(argv[1], deeds[i].name) != 0)
            continue;
        if (RUNNING_ON_VALGRIND == 0) {
            fprintf(stderr, "key_path: proves something only under valgrind\n");
            return 3;
        }
        struct secret_key key = plain;
        hide(&key, sizeof(key));
        deeds[i].run(&key);
        return 0;
    }
    fprintf(stderr, "usage: valgrind key_path sign|derive|leak-branch|leak-index|leak-compare\n");
    return 2;
}
