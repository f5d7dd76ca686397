/* Where a round is cut: what goes into a call stays within the block, and within what nodes take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "ledger/contract.h"
#include "settlement/batch_size.h"

static unsigned count_of(uint64_t block_gas, unsigned halvings, enum batch_part part)
{
    struct batch_room room = batch_room(block_gas, 0, halvings);
    unsigned count = 0;
    while (batch_take(&room, part))
        count++;
    return count;
}

static void test_within_the_block(void **state)
{
    (void)state;
    assert_int_equal(count_of(30000000, 0, BATCH_PAYOUT), 258);   /* (13,000,000 - 75,000) / 50,000 */
    assert_int_equal(count_of(0, 0, BATCH_PAYOUT), 258);          /* not known: taken to be that */
    assert_int_equal(count_of(UINT64_MAX, 0, BATCH_PAYOUT), 258); /* a transaction's own limit */
    assert_int_equal(count_of(8000000, 0, BATCH_FUND), (4000000 - 75000) / 28000); /* half of a small block */
    assert_int_equal(count_of(8000000, 1, BATCH_FUND), (2000000 - 75000) / 28000);
    assert_int_equal(count_of(30000000, 0, BATCH_ITEM), 435); /* the bytes */
    struct batch_room room = batch_room(30000000, 180000, 0); /* what the operator allows */
    assert_true(batch_take(&room, BATCH_PAYOUT) && batch_take(&room, BATCH_PAYOUT));
    assert_false(batch_take(&room, BATCH_PAYOUT));
}

/* However small the block, a call holds something: else a round would never end. */
static void test_never_nothing(void **state)
{
    (void)state;
    assert_int_equal(count_of(1, 0, BATCH_PAYOUT), 1);
    for (unsigned halvings = 0; halvings <= BATCH_HALVINGS_MAX; halvings++)
        assert_true(count_of(30000000, halvings, BATCH_PAYOUT) >= 1);
    assert_int_equal(count_of(30000000, BATCH_HALVINGS_MAX, BATCH_PAYOUT), 1);
}

/* The sizes are those of the contract's calls. */
static void test_within_what_nodes_take(void **state)
{
    (void)state;
    for (unsigned part = BATCH_ITEM; part <= BATCH_FUND; part += BATCH_FUND - BATCH_ITEM) {
        unsigned count = count_of(0, 0, (enum batch_part)part);
        struct contract_call call = {.function = CONTRACT_SETTLE_BATCH};
        struct buffer data = {0};
        struct settle_item *items = xcalloc(count, sizeof(*items));
        struct fund *funds = xcalloc(count, sizeof(*funds));
        call.items = items;
        call.funds = funds;
        call.item_count = part == BATCH_ITEM ? count : 0;
        call.fund_count = part == BATCH_FUND ? count : 0;
        contract_encode_call(&data, &call);
        assert_true(data.length + 1024 <= 128 * 1024);
        buffer_free(&data);
        free(items);
        free(funds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_the_block),
        cmocka_unit_test(test_never_nothing),
        cmocka_unit_test(test_within_what_nodes_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
