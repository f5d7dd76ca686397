/* Digests are held to other people's code by tests/vectors; here: type hashes, and that every field counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "crypto/typed.h"
#include "tests/support/capture.h"

static void assert_hash(struct hash got, const char *expected)
{
    char text[HASH_TEXT_SIZE];
    assert_string_equal(hash_text(&got, text), expected);
}

/* A struct without its fields hashes to keccak256(type hash); the constants were computed with ethers. */
static void test_type_hashes(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hash;
    } types[] = {
        {"BalanceProof", "0x315ce38b7936e3b1b1da8fce00ccb0aa57595d3b6e95b9cdcf7b80fa13737de7"},
        {"Settlement", "0x3b33909593c723cc8918b8466f1d149ccd877eef0a38992c03eb3b2da2ae6591"},
        {"Revocation", "0x9b45d01ceca7c297262f6d2803c57d2b1acd942fc004fc140947eee934a3407d"},
        {"Choice", "0x4de6b5f774654f1a4b09bca5b560455a9f221772e34bff29f69b7ef91432b6ee"},
        {"Invoice", "0xf126895a603f3f017670bdf4b95196fbd14793d5b3799bc64a801c74e47361b0"},
        {"Attestation", "0x22cbbd632ddff25f68af0cbbc72dd5512c229d98f3d996f0bdd8986e618b9065"},
        {"Session", "0x17c7084a3d0b1e9467b553b991e3e930b4ef41945fe0d35c614f17ac500fd94b"},
        {"Receipt", "0x8f7ab3b46b4e37db9b776fe51add34353c692d700b38522725ff71323c4a377a"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        assert_hash(typed_struct_hash(types[i].name, (const uint8_t *)"", 0), types[i].hash);
}

static void hash_type(void *name)
{
    typed_struct_hash(name, (const uint8_t *)"", 0);
}

static void test_a_type_that_is_not_rills_stops_the_process(void **state)
{
    (void)state;
    assert_false(capture_aborts(hash_type, "Choice"));
    assert_true(capture_aborts(hash_type, "Choic"));
    assert_true(capture_aborts(hash_type, ""));
    assert_true(capture_aborts(hash_type, "Permit"));
}

static void test_domains(void **state)
{
    (void)state;
    struct address contract;
    memset(contract.bytes, 0x11, sizeof(contract.bytes));
    struct domain domain = domain_make(31337, &contract);
    assert_hash(domain.separator, "0xbee24e5a834d278d0d633e2884b938b0d8fd7a22651c3548742b45b2aeb1502e");
    assert_int_equal(domain.chain_id, 31337);
    assert_true(address_equal(&domain.contract, &contract));
    domain = domain_make(UINT64_MAX, &ADDRESS_ZERO);
    assert_hash(domain.separator, "0x81c955bb577d9ea53f2c48303a379238aab295f43d79d07dde374cef022dda94");
}

/* Digests that must all differ. */
struct seen {
    struct hash digests[64];
    size_t count;
};

static void add(struct seen *seen, struct hash digest)
{
    for (size_t i = 0; i < seen->count; i++)
        assert_false(hash_equal(&seen->digests[i], &digest));
    assert_true(seen->count < ARRAY_LENGTH(seen->digests));
    seen->digests[seen->count++] = digest;
}

static void test_every_field_of_a_balance_proof_counts(void **state)
{
    (void)state;
    struct domain domain = domain_make(1, &ADDRESS_ZERO), other_chain = domain_make(2, &ADDRESS_ZERO);
    struct address contract = {{1}};
    struct domain other_contract = domain_make(1, &contract);
    struct hash channel = {{1}}, other_channel = {{2}};
    struct balance_proof base = {.nonce = 1}, proof;
    struct seen seen = {.count = 0};
    add(&seen, digest_balance_proof(&domain, &channel, &base));
    add(&seen, digest_balance_proof(&other_chain, &channel, &base));
    add(&seen, digest_balance_proof(&other_contract, &channel, &base));
    add(&seen, digest_balance_proof(&domain, &other_channel, &base));
    proof = base, proof.nonce = 2;
    add(&seen, digest_balance_proof(&domain, &channel, &proof));
    proof = base, proof.nonce = UINT64_MAX;
    add(&seen, digest_balance_proof(&domain, &channel, &proof));
    proof = base, proof.transferred.units = 1;
    add(&seen, digest_balance_proof(&domain, &channel, &proof));
    proof = base, proof.locked.units = 1;
    add(&seen, digest_balance_proof(&domain, &channel, &proof));
    proof = base, proof.locks_root.bytes[31] = 1;
    add(&seen, digest_balance_proof(&domain, &channel, &proof));
    proof = base, proof.body_hash.bytes[31] = 1;
    add(&seen, digest_balance_proof(&domain, &channel, &proof));
}

static void test_every_field_of_a_settlement_counts(void **state)
{
    (void)state;
    struct domain domain = domain_make(1, &ADDRESS_ZERO);
    struct hash channel = {{1}}, other = {{2}};
    struct amount none = {0}, one = {1};
    struct seen seen = {.count = 0};
    add(&seen, digest_settlement(&domain, &channel, 0, none, none, 0, false));
    add(&seen, digest_settlement(&domain, &other, 0, none, none, 0, false));
    add(&seen, digest_settlement(&domain, &channel, 1, none, none, 0, false));
    add(&seen, digest_settlement(&domain, &channel, 0, one, none, 0, false));
    add(&seen, digest_settlement(&domain, &channel, 0, none, one, 0, false));
    add(&seen, digest_settlement(&domain, &channel, 0, none, none, 1, false));
    add(&seen, digest_settlement(&domain, &channel, 0, none, none, 0, true));
}

static void test_types_never_share_a_digest(void **state)
{
    (void)state;
    struct domain domain = domain_make(1, &ADDRESS_ZERO);
    struct hash zero = HASH_ZERO, one = {{1}};
    struct address nobody = ADDRESS_ZERO, somebody = {{1}};
    struct seen seen = {.count = 0};
    struct balance_proof none = {0};
    add(&seen, digest_balance_proof(&domain, &zero, &none));
    add(&seen, digest_settlement(&domain, &zero, 0, amount_of(0), amount_of(0), 0, false));
    add(&seen, digest_revocation(&domain, &zero, 0));
    add(&seen, digest_revocation(&domain, &one, 0));
    add(&seen, digest_revocation(&domain, &zero, 1));
    add(&seen, digest_choice(&domain, &zero, &nobody));
    add(&seen, digest_choice(&domain, &one, &nobody));
    add(&seen, digest_choice(&domain, &zero, &somebody));
    add(&seen, digest_invoice(&domain, &nobody, &nobody, amount_of(0), &zero, 0, &zero));
    add(&seen, digest_invoice(&domain, &somebody, &nobody, amount_of(0), &zero, 0, &zero));
    add(&seen, digest_invoice(&domain, &nobody, &somebody, amount_of(0), &zero, 0, &zero));
    add(&seen, digest_invoice(&domain, &nobody, &nobody, amount_of(1), &zero, 0, &zero));
    add(&seen, digest_invoice(&domain, &nobody, &nobody, amount_of(0), &one, 0, &zero));
    add(&seen, digest_invoice(&domain, &nobody, &nobody, amount_of(0), &zero, 1, &zero));
    add(&seen, digest_invoice(&domain, &nobody, &nobody, amount_of(0), &zero, 0, &one));
    add(&seen, digest_attestation(&domain, &zero));
    add(&seen, digest_attestation(&domain, &one));
    add(&seen, digest_session(&domain, &nobody, &zero, &zero));
    add(&seen, digest_session(&domain, &somebody, &zero, &zero));
    add(&seen, digest_session(&domain, &nobody, &one, &zero));
    add(&seen, digest_session(&domain, &nobody, &zero, &one));
    add(&seen, digest_receipt(&domain, &zero, 0, &zero));
    add(&seen, digest_receipt(&domain, &one, 0, &zero));
    add(&seen, digest_receipt(&domain, &zero, 1, &zero));
    add(&seen, digest_receipt(&domain, &zero, 0, &one));
}

static void test_every_part_of_a_channel_key_counts(void **state)
{
    (void)state;
    struct channel_key base = {0}, key;
    struct seen seen = {.count = 0};
    add(&seen, channel_id(&base));
    key = base, key.client.bytes[0] = 1;
    add(&seen, channel_id(&key));
    key = base, key.asset.bytes[0] = 1;
    add(&seen, channel_id(&key));
    key = base, key.salt = 1;
    add(&seen, channel_id(&key));
    key = base, key.salt = (uint64_t)1 << 63;
    add(&seen, channel_id(&key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_type_hashes),
        cmocka_unit_test(test_a_type_that_is_not_rills_stops_the_process),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_every_field_of_a_balance_proof_counts),
        cmocka_unit_test(test_every_field_of_a_settlement_counts),
        cmocka_unit_test(test_types_never_share_a_digest),
        cmocka_unit_test(test_every_part_of_a_channel_key_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
