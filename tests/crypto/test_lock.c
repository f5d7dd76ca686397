/* Leaves, proofs and roots are held to other people's code by tests/vectors; here: what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "crypto/key.h"
#include "crypto/lock.h"

static void test_every_field_of_a_lock_counts(void **state)
{
    (void)state;
    struct lock base = {.id = 1}, locks[6] = {base, base, base, base, base, base};
    locks[1].id = 2;
    locks[2].amount.units = 1;
    locks[3].expiry = 1;
    locks[4].kind = 1;
    locks[5].condition.bytes[0] = 1;
    for (size_t i = 0; i < ARRAY_LENGTH(locks); i++) {
        struct hash leaf = lock_leaf(&locks[i]);
        for (size_t j = 0; j < i; j++) {
            struct hash other = lock_leaf(&locks[j]);
            assert_false(hash_equal(&leaf, &other));
        }
    }
}

static void test_nodes(void **state)
{
    (void)state;
    struct hash a = keccak256("a", 1), b = keccak256("b", 1);
    struct hash ab = merkle_node(&a, &b), ba = merkle_node(&b, &a);
    assert_true(hash_equal(&ab, &ba));
    const struct hash *low = hash_compare(&a, &b) < 0 ? &a : &b, *high = low == &a ? &b : &a;
    struct hash expected = keccak256_pair(low->bytes, 32, high->bytes, 32);
    assert_true(hash_equal(&ab, &expected));
    struct hash left = merkle_node(&a, &HASH_ZERO), right = merkle_node(&HASH_ZERO, &a);
    assert_true(hash_equal(&left, &a) && hash_equal(&right, &a));
    struct hash none = merkle_node(&HASH_ZERO, &HASH_ZERO);
    assert_true(hash_is_zero(&none));
    struct hash twins = merkle_node(&a, &a);
    expected = keccak256_pair(a.bytes, 32, a.bytes, 32);
    assert_true(hash_equal(&twins, &expected));
}

static void test_proofs(void **state)
{
    (void)state;
    struct hash a = keccak256("a", 1), b = keccak256("b", 1), c = keccak256("c", 1);
    struct hash ab = merkle_node(&a, &b), root = merkle_node(&ab, &c);
    struct hash proof[2] = {b, c};
    assert_true(merkle_verify(&a, proof, 2, &root));
    assert_true(merkle_verify(&c, &ab, 1, &root));
    assert_true(merkle_verify(&a, NULL, 0, &a));
    assert_false(merkle_verify(&a, proof, 1, &root));
    assert_false(merkle_verify(&b, proof, 2, &root));
    assert_false(merkle_verify(&a, proof, 2, &HASH_ZERO));
    assert_false(merkle_verify(&a, NULL, 0, &HASH_ZERO));
    /* A zero in a proof is hashed like any other, as OpenZeppelin does. */
    struct hash with_zero = keccak256_pair(HASH_ZERO.bytes, 32, a.bytes, 32);
    assert_true(merkle_verify(&a, &HASH_ZERO, 1, &with_zero));
    assert_false(merkle_verify(&a, &HASH_ZERO, 1, &a));
}

static void test_journal_root(void **state)
{
    (void)state;
    struct hash leaves[5];
    for (uint8_t i = 0; i < 5; i++)
        leaves[i] = keccak256(&i, 1);
    struct hash copy[5];
    memcpy(copy, leaves, sizeof(copy));
    struct hash none = merkle_journal_root(copy, 0), one = merkle_journal_root(copy, 1);
    assert_true(hash_is_zero(&none) && hash_equal(&one, &leaves[0]));
    struct hash ab = merkle_node(&leaves[0], &leaves[1]), cd = merkle_node(&leaves[2], &leaves[3]);
    struct hash abcd = merkle_node(&ab, &cd), expected = merkle_node(&abcd, &leaves[4]);
    struct hash got = merkle_journal_root(copy, 5);
    assert_true(hash_equal(&got, &expected));
}

static struct domain test_domain(void)
{
    struct address contract = {{9}};
    return domain_make(31337, &contract);
}

static void test_a_secret_meets_its_condition(void **state)
{
    (void)state;
    struct domain domain = test_domain();
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    memset(witness.bytes, 3, 32);
    struct hash condition = condition_of_secret(witness.bytes), expected = sha256(witness.bytes, 32);
    assert_true(hash_equal(&condition, &expected));
    assert_true(witness_meets(&witness, LOCK_SECRET, &condition, &domain));
    assert_false(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain));
    assert_false(witness_meets(&witness, 2, &condition, &domain));
    static const uint8_t wrong_lengths[] = {0, 31, 33, 116};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong_lengths); i++) {
        witness.length = wrong_lengths[i];
        assert_false(witness_meets(&witness, LOCK_SECRET, &condition, &domain));
    }
    witness.length = WITNESS_SECRET_BYTES;
    witness.bytes[31] ^= 1;
    assert_false(witness_meets(&witness, LOCK_SECRET, &condition, &domain));
}

static struct witness attest(const struct secret_key *key, const struct hash *event_id,
                             const struct domain *domain)
{
    struct witness witness = {.length = WITNESS_ATTESTATION_BYTES};
    struct address attester = secret_key_address(key);
    struct hash digest = digest_attestation(domain, event_id);
    struct signature signature = key_sign(key, &digest);
    memcpy(witness.bytes, attester.bytes, 20);
    memcpy(witness.bytes + 20, event_id->bytes, 32);
    memcpy(witness.bytes + 52, signature.bytes, 64);
    return witness;
}

static void test_an_attestation_meets_its_condition(void **state)
{
    (void)state;
    struct domain domain = test_domain(), elsewhere = domain_make(1, &ADDRESS_ZERO);
    struct secret_key key = {{1}}, other_key = {{2}};
    struct address attester = secret_key_address(&key);
    struct hash event_id = keccak256("rain", 4), other_event = keccak256("sun", 3);
    struct hash condition = condition_of_attestation(&attester, &event_id);

    struct witness witness = attest(&key, &event_id, &domain);
    assert_true(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain));
    witness.bytes[52 + 32] ^= 0x80;
    assert_true(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain)); /* parity is a hint */
    assert_false(witness_meets(&witness, LOCK_SECRET, &condition, &domain));
    assert_false(witness_meets(&witness, 2, &condition, &domain));
    assert_false(witness_meets(&witness, LOCK_ATTESTATION, &condition, &elsewhere)); /* another ledger's */

    for (size_t i = 0; i < WITNESS_ATTESTATION_BYTES; i += 5) {
        struct witness broken = attest(&key, &event_id, &domain);
        broken.bytes[i] ^= 0x01;
        assert_false(witness_meets(&broken, LOCK_ATTESTATION, &condition, &domain));
    }
    witness = attest(&key, &other_event, &domain);
    assert_false(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain));
    witness = attest(&other_key, &event_id, &domain);
    assert_false(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain));
    memcpy(witness.bytes, attester.bytes, 20); /* the right name over another's signature */
    assert_false(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain));
    static const uint8_t wrong_lengths[] = {0, 32, 115};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong_lengths); i++) {
        witness = attest(&key, &event_id, &domain);
        witness.length = wrong_lengths[i];
        assert_false(witness_meets(&witness, LOCK_ATTESTATION, &condition, &domain));
    }
}

static void test_a_payees_id_depends_on_channel_and_id(void **state)
{
    (void)state;
    struct hash channel = {{1}}, other_channel = {{2}};
    struct payment_id id = {{1}}, other_id = {{2}};
    struct payment_id a = payment_id_of_payee(&channel, &id), b = payment_id_of_payee(&other_channel, &id);
    struct payment_id c = payment_id_of_payee(&channel, &other_id),
                      again = payment_id_of_payee(&channel, &id);
    assert_true(payment_id_equal(&a, &again));
    assert_false(payment_id_equal(&a, &b) || payment_id_equal(&a, &c) || payment_id_equal(&b, &c));
}

#define MANY 70 /* more than are hashed together, and no multiple of four */

static void test_many_are_as_one_by_one(void **state)
{
    (void)state;
    struct hash channel = {{9}}, leaves[MANY], children[2 * MANY], parents[MANY];
    struct lock locks[MANY];
    const struct lock *lock_at[MANY];
    struct hash *leaf_at[MANY];
    struct merkle_join joins[MANY];
    struct payment_id ids[MANY], before[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        locks[i] = (struct lock){.id = i, .amount = amount_of(i * i), .expiry = 3 * i, .kind = i % 2};
        locks[i].condition = keccak256(&i, sizeof(i));
        lock_at[i] = &locks[i];
        leaf_at[i] = &leaves[MANY - 1 - i];
        children[2 * i] = i % 3 == 0 ? HASH_ZERO : locks[i].condition;
        children[2 * i + 1] = i % 5 == 0 ? HASH_ZERO : lock_leaf(&locks[i]);
        joins[i] = (struct merkle_join){&children[2 * i], &parents[i]};
        memcpy(ids[i].bytes, locks[i].condition.bytes, sizeof(ids[i].bytes));
        before[i] = ids[i];
    }
    for (size_t count = 0; count <= MANY; count += count < 9 ? 1 : MANY - 9) {
        memset(leaves, 0, sizeof(leaves));
        memset(parents, 0, sizeof(parents));
        memcpy(ids, before, sizeof(ids));
        lock_leaves(lock_at, count, leaf_at);
        merkle_nodes(joins, count);
        payment_ids_of_payee(&channel, ids, count);
        for (size_t i = 0; i < MANY; i++) {
            bool is_in = i < count;
            struct hash leaf = is_in ? lock_leaf(&locks[i]) : HASH_ZERO;
            struct hash parent = is_in ? merkle_node(&children[2 * i], &children[2 * i + 1]) : HASH_ZERO;
            struct payment_id id = is_in ? payment_id_of_payee(&channel, &before[i]) : before[i];
            assert_true(hash_equal(leaf_at[i], &leaf) && hash_equal(&parents[i], &parent));
            assert_true(payment_id_equal(&ids[i], &id));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_of_a_lock_counts),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_proofs),
        cmocka_unit_test(test_journal_root),
        cmocka_unit_test(test_a_secret_meets_its_condition),
        cmocka_unit_test(test_an_attestation_meets_its_condition),
        cmocka_unit_test(test_a_payees_id_depends_on_channel_and_id),
        cmocka_unit_test(test_many_are_as_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
