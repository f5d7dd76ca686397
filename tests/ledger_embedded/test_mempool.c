/* The mempool's limits, replacements and removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "ledger/embedded/accounts.h"
#include "ledger/embedded/mempool.h"

static enum mempool_error add(struct mempool *mempool, size_t person, uint64_t nonce, unsigned_wide tip,
                              unsigned_wide fee, size_t data_length, struct hash *hash)
{
    struct buffer raw = {0};
    struct secret_key key = development_key(person);
    uint8_t *data = xcalloc(1, data_length + 1);
    struct transaction transaction = {.chain_id = 1,
                                      .nonce = nonce,
                                      .max_priority_fee_per_gas = tip,
                                      .max_fee_per_gas = fee,
                                      .gas_limit = 21000,
                                      .data = data,
                                      .data_length = data_length};
    *hash = transaction_sign(&transaction, &key, &raw);
    enum mempool_error error = mempool_add(mempool, raw.data, raw.length);
    buffer_free(&raw);
    free(data);
    return error;
}

static void test_find_and_remove(void **state)
{
    (void)state;
    struct mempool *mempool = mempool_new();
    struct hash first, second;
    struct secret_key key = development_key(0);
    struct address sender = secret_key_address(&key);
    assert_int_equal(add(mempool, 0, 4, 1, 100, 3, &first), MEMPOOL_OK);
    assert_int_equal(add(mempool, 0, 5, 1, 100, 3, &second), MEMPOOL_OK);
    assert_int_equal(add(mempool, 0, 4, 1, 100, 3, &first), MEMPOOL_KNOWN);
    assert_int_equal(mempool_count(mempool), 2);
    assert_true(address_equal(&mempool_find(mempool, &first)->sender, &sender));
    assert_ptr_equal(mempool_find_nonce(mempool, &sender, 5), mempool_find(mempool, &second));
    assert_null(mempool_find_nonce(mempool, &sender, 6));
    mempool_remove(mempool, &first);
    mempool_remove(mempool, &first); /* gone already */
    assert_null(mempool_find(mempool, &first));
    assert_int_equal(mempool_count(mempool), 1);
    mempool_free(mempool);
}

/* Both fees must be 10 % higher, to the wei, and no number is too large to be compared. */
static void test_bump(void **state)
{
    (void)state;
    static const struct {
        uint64_t old_tip, new_tip, old_fee, new_fee;
        enum mempool_error expected;
    } rows[] = {
        {100, 110, 1000, 1100, MEMPOOL_OK},          {100, 109, 1000, 1100, MEMPOOL_UNDERPRICED},
        {100, 110, 1000, 1099, MEMPOOL_UNDERPRICED}, {101, 111, 1000, 1100, MEMPOOL_UNDERPRICED},
        {101, 112, 1000, 1100, MEMPOOL_OK},          {0, 0, 1, 2, MEMPOOL_OK},
        {0, 0, 1, 1, MEMPOOL_UNDERPRICED},           {9, 1, 1000, 2000, MEMPOOL_UNDERPRICED},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct mempool *mempool = mempool_new();
        struct hash hash;
        assert_int_equal(add(mempool, 0, 0, rows[i].old_tip, rows[i].old_fee, 0, &hash), MEMPOOL_OK);
        if (add(mempool, 0, 0, rows[i].new_tip, rows[i].new_fee, 1, &hash) != rows[i].expected)
            fail_msg("row %zu", i);
        assert_int_equal(mempool_count(mempool), 1);
        assert_true((mempool_find(mempool, &hash) != NULL) == (rows[i].expected == MEMPOOL_OK));
        mempool_free(mempool);
    }
    struct mempool *mempool = mempool_new();
    const unsigned_wide most = ~(unsigned_wide)0;
    struct hash hash;
    assert_int_equal(add(mempool, 0, 0, most, most, 0, &hash), MEMPOOL_OK);
    assert_int_equal(add(mempool, 0, 0, most, most, 1, &hash), MEMPOOL_UNDERPRICED);
    mempool_free(mempool);
}

static void test_full(void **state)
{
    (void)state;
    struct mempool *mempool = mempool_new();
    struct hash hash;
    for (uint64_t nonce = 0; nonce < MEMPOOL_MAX; nonce++)
        assert_int_equal(add(mempool, 0, nonce, 10, 10, 0, &hash), MEMPOOL_OK);
    assert_int_equal(add(mempool, 1, 0, 10, 10, 0, &hash), MEMPOOL_FULL);
    assert_int_equal(add(mempool, 0, 7, 11, 11, 0, &hash), MEMPOOL_OK); /* a replacement takes no room */
    mempool_remove(mempool, &hash);
    assert_int_equal(add(mempool, 1, 0, 10, 10, 0, &hash), MEMPOOL_OK);
    mempool_free(mempool);
}

static void test_full_of_bytes(void **state)
{
    (void)state;
    struct mempool *mempool = mempool_new();
    struct hash hash;
    const size_t large = 1000 * 1000;
    for (uint64_t nonce = 0; nonce < MEMPOOL_BYTES_MAX / (large + 200); nonce++)
        assert_int_equal(add(mempool, 0, nonce, 10, 10, large, &hash), MEMPOOL_OK);
    assert_int_equal(add(mempool, 1, 0, 10, 10, large, &hash), MEMPOOL_FULL);
    assert_int_equal(add(mempool, 1, 0, 10, 10, 10, &hash), MEMPOOL_OK);
    assert_int_equal(add(mempool, 1, 0, 20, 20, large, &hash),
                     MEMPOOL_FULL); /* nor by replacing a small one */
    assert_int_equal(add(mempool, 0, 0, 20, 20, large, &hash), MEMPOOL_OK);
    mempool_free(mempool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_and_remove),
        cmocka_unit_test(test_bump),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_full_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
