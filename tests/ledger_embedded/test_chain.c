/* The chain: what may wait, how blocks are made, fees, time, the past, and a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/embedded/accounts.h"
#include "ledger/embedded/gas.h"
#include "store/memory_journal.h"
#include "store/store.h"
#include "tests/support/process.h"

#define GWEI     1000000000u
#define BASE_FEE GWEI

static uint64_t wall = 1800000000;

static uint64_t wall_clock(void)
{
    return wall;
}

struct bench {
    struct chain *chain;
    struct secret_key keys[3];
    struct address people[3];
    struct address sink;
};

static void bench_make_people(struct bench *bench)
{
    for (size_t i = 0; i < 3; i++) {
        bench->keys[i] = development_key(i);
        bench->people[i] = secret_key_address(&bench->keys[i]);
    }
    memset(bench->sink.bytes, 0xee, sizeof(bench->sink.bytes));
}

static struct chain_options options_of(const struct bench *bench, struct allocation allocations[2])
{
    for (size_t i = 0; i < 2; i++)
        allocations[i] = (struct allocation){bench->people[i], coins_wei(100)};
    return (struct chain_options){.parameters = {.bounty_bps = CHAIN_BOUNTY_BPS_ANY},
                                  .hub_if_new = bench->people[0],
                                  .allocations = allocations,
                                  .allocation_count = 2,
                                  .base_fee = BASE_FEE,
                                  .history_blocks = CHAIN_HISTORY_MIN,
                                  .now = wall_clock};
}

static int setup(void **state)
{
    struct bench *bench = xcalloc(1, sizeof(*bench));
    struct allocation allocations[2];
    char message[256];
    wall = 1800000000;
    bench_make_people(bench);
    struct chain_options options = options_of(bench, allocations);
    bench->chain = chain_open(&options, memory_journal_create(), message, sizeof(message));
    assert_non_null(bench->chain);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    assert_null(chain_audit(bench->chain));
    chain_close(bench->chain);
    free(bench);
    return 0;
}

static struct transaction plain(uint64_t nonce, unsigned_wide value, const struct address *to)
{
    return (struct transaction){.chain_id = 31337,
                                .nonce = nonce,
                                .max_priority_fee_per_gas = GWEI,
                                .max_fee_per_gas = 3 * (unsigned_wide)GWEI,
                                .gas_limit = 21000,
                                .to = *to,
                                .value = value};
}

static const char *submit(struct bench *bench, size_t person, const struct transaction *transaction,
                          struct hash *hash)
{
    struct buffer raw = {0};
    struct hash made = transaction_sign(transaction, &bench->keys[person], &raw);
    const char *refusal = chain_submit(bench->chain, raw.data, raw.length, hash == NULL ? &made : hash);
    buffer_free(&raw);
    return refusal;
}

static void must_submit(struct bench *bench, size_t person, const struct transaction *transaction,
                        struct hash *hash)
{
    const char *refusal = submit(bench, person, transaction, hash);
    if (refusal != NULL)
        fail_msg("%s", refusal);
}

static unsigned_wide balance(const struct bench *bench, const struct address *who)
{
    unsigned_wide wei;
    assert_true(uint256_narrow(account_load(chain_state(bench->chain), who).balance, &wei));
    return wei;
}

static void test_genesis(void **state)
{
    struct bench *bench = *state;
    const struct block *block = history_head(chain_history(bench->chain));
    assert_int_equal(block->number, 0);
    assert_int_equal(block->time, wall);
    assert_true(balance(bench, &bench->people[0]) == (unsigned_wide)100 * 1000000000 * 1000000000);
    assert_true(address_equal(&chain_config(bench->chain)->hub, &bench->people[0]));
    assert_int_equal(chain_config(bench->chain)->challenge_period, 86400);
    assert_int_equal(chain_config(bench->chain)->bounty_bps, 1000);
    assert_false(chain_has_work(bench->chain));
}

static void test_refusals(void **state)
{
    struct bench *bench = *state;
    struct transaction good = plain(0, 5, &bench->sink), wrong = good;
    struct hash hash;
    wrong.chain_id = 1;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "invalid chain id for signer");
    wrong = good;
    wrong.creates = true;
    wrong.to = ADDRESS_ZERO;
    assert_non_null(strstr(submit(bench, 0, &wrong, NULL), "contract creation"));
    wrong = good;
    wrong.gas_limit = BLOCK_GAS_LIMIT + 1;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "exceeds block gas limit");
    wrong.gas_limit = 20999;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "intrinsic gas too low");
    wrong = good;
    wrong.data = (const uint8_t *)"\1";
    wrong.data_length = 1;
    wrong.gas_limit = 21015;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "intrinsic gas too low");
    wrong = good;
    wrong.max_fee_per_gas = BASE_FEE - 1;
    wrong.max_priority_fee_per_gas = 0;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "max fee per gas less than block base fee");
    assert_string_equal(submit(bench, 2, &good, NULL), "insufficient funds for gas * price + value");
    wrong = good;
    wrong.value = (unsigned_wide)100 * GWEI * GWEI;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "insufficient funds for gas * price + value");
    wrong = good;
    wrong.nonce = MEMPOOL_NONCES_MAX;
    assert_non_null(strstr(submit(bench, 0, &wrong, NULL), "nonce too high"));
    must_submit(bench, 0, &good, &hash);
    assert_string_equal(submit(bench, 0, &good, NULL), "already known");
    chain_mine(bench->chain, SIZE_MAX);
    assert_string_equal(submit(bench, 0, &good, NULL), "already known");
    wrong = good;
    wrong.value = 6;
    assert_string_equal(submit(bench, 0, &wrong, NULL), "nonce too low: next nonce 1, tx nonce 0");
    assert_non_null(chain_submit(bench->chain, (const uint8_t *)"\2\1", 2, &hash));
    assert_non_null(chain_submit(bench->chain, NULL, 0, &hash));
}

/* What a sender has must do for everything that it has waiting. */
static void test_funds_for_all_that_waits(void **state)
{
    struct bench *bench = *state;
    const unsigned_wide coin = (unsigned_wide)GWEI * GWEI;
    struct transaction first = plain(0, 60 * coin, &bench->sink), second = plain(1, 60 * coin, &bench->sink);
    must_submit(bench, 0, &first, NULL);
    assert_string_equal(submit(bench, 0, &second, NULL), "insufficient funds for gas * price + value");
    second.value = 39 * coin;
    must_submit(bench, 0, &second, NULL);
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->count, 2);
    assert_true(balance(bench, &bench->sink) == 99 * coin);
}

static void test_fees_are_burned_and_tipped(void **state)
{
    struct bench *bench = *state;
    struct hash hash;
    struct transaction transaction = plain(0, 5, &bench->sink);
    transaction.gas_limit = 50000;
    unsigned_wide before = balance(bench, &bench->people[0]);
    must_submit(bench, 0, &transaction, &hash);
    const struct block *block = chain_mine(bench->chain, SIZE_MAX);
    const struct mined *mined = &block->transactions[0];
    assert_true(mined->success);
    assert_int_equal(mined->gas_used, 21000);
    assert_true(mined->effective_gas_price == BASE_FEE + GWEI);
    assert_true(balance(bench, &bench->people[0]) == before - 5 - (unsigned_wide)21000 * (BASE_FEE + GWEI));
    assert_true(balance(bench, &EMBEDDED_COINBASE) == (unsigned_wide)21000 * GWEI);
    unsigned_wide burned;
    assert_true(uint256_narrow(coins_load(chain_state(bench->chain)).burned, &burned));
    assert_true(burned == (unsigned_wide)21000 * BASE_FEE);
    /* A tip that the highest fee has no room for is cut. */
    transaction = plain(1, 0, &bench->sink);
    transaction.max_fee_per_gas = BASE_FEE + 7;
    transaction.max_priority_fee_per_gas = 8;
    must_submit(bench, 0, &transaction, &hash);
    assert_true(chain_mine(bench->chain, SIZE_MAX)->transactions[0].effective_gas_price == BASE_FEE + 7);
}

static void test_reverted_and_out_of_gas(void **state)
{
    struct bench *bench = *state;
    struct buffer data = {0};
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_LIST_ASSET, .unit = 1});
    struct transaction transaction = plain(0, 0, &EMBEDDED_CONTRACT);
    transaction.data = data.data;
    transaction.data_length = data.length;
    uint64_t needed = chain_gas(bench->chain, &transaction);
    transaction.gas_limit = needed - 1; /* too little: all of it is used, nothing happens */
    must_submit(bench, 0, &transaction, NULL);
    const struct mined *mined = &chain_mine(bench->chain, SIZE_MAX)->transactions[0];
    assert_false(mined->success);
    assert_int_equal(mined->gas_used, needed - 1);
    assert_true(asset_load(chain_state(bench->chain), &ADDRESS_ZERO).unit == 0);
    transaction.nonce = 1;
    transaction.gas_limit = needed;
    must_submit(bench, 0, &transaction, NULL);
    mined = &chain_mine(bench->chain, SIZE_MAX)->transactions[0];
    assert_true(mined->success);
    assert_int_equal(mined->gas_used, needed);
    assert_int_equal(mined->logs.count, 1);
    transaction.nonce = 2; /* listed already: the nonce and the fee are gone, and nothing else */
    must_submit(bench, 0, &transaction, NULL);
    mined = &chain_mine(bench->chain, SIZE_MAX)->transactions[0];
    assert_false(mined->success);
    assert_int_equal(mined->logs.count, 0);
    assert_true(mined->gas_used < needed && mined->gas_used > gas_intrinsic(&transaction));
    assert_int_equal(account_load(chain_state(bench->chain), &bench->people[0]).nonce, 3);
    buffer_free(&data);
}

static void test_nonce_order_and_gaps(void **state)
{
    struct bench *bench = *state;
    struct transaction transaction = plain(1, 1, &bench->sink);
    must_submit(bench, 0, &transaction, NULL);
    assert_false(chain_has_work(bench->chain));
    assert_int_equal(chain_pending_nonce(bench->chain, &bench->people[0]), 0);
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->count, 0);
    transaction = plain(0, 2, &bench->sink);
    must_submit(bench, 0, &transaction, NULL);
    assert_int_equal(chain_pending_nonce(bench->chain, &bench->people[0]), 2);
    const struct block *block = chain_mine(bench->chain, 1);
    assert_int_equal(block->count, 1);
    assert_true(chain_has_work(bench->chain));
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->count, 1);
    assert_true(balance(bench, &bench->sink) == 3);
}

static void test_the_higher_tip_goes_first(void **state)
{
    struct bench *bench = *state;
    struct hash low, high, old;
    struct transaction transaction = plain(0, 1, &bench->sink);
    must_submit(bench, 0, &transaction, &old);
    must_submit(bench, 1, &transaction, &low); /* the same tip, later */
    transaction.max_priority_fee_per_gas = 2 * (unsigned_wide)GWEI;
    transaction.nonce = 1;
    must_submit(bench, 1, &transaction, &high); /* a higher one, but behind its own */
    const struct block *block = chain_mine(bench->chain, SIZE_MAX);
    assert_int_equal(block->count, 3);
    assert_true(hash_equal(&block->transactions[0].hash, &old));
    assert_true(hash_equal(&block->transactions[1].hash, &low));
    assert_true(hash_equal(&block->transactions[2].hash, &high));
}

static void test_replacement(void **state)
{
    struct bench *bench = *state;
    struct hash hash;
    struct transaction transaction = plain(0, 1, &bench->sink), better = transaction;
    must_submit(bench, 0, &transaction, NULL);
    better.value = 2;
    better.max_fee_per_gas = 3300000000u;
    better.max_priority_fee_per_gas = 1099999999u;
    assert_string_equal(submit(bench, 0, &better, NULL), "replacement transaction underpriced");
    better.max_fee_per_gas--;
    better.max_priority_fee_per_gas++;
    assert_string_equal(submit(bench, 0, &better, NULL), "replacement transaction underpriced");
    better.max_fee_per_gas++;
    must_submit(bench, 0, &better, &hash);
    assert_int_equal(mempool_count(chain_mempool(bench->chain)), 1);
    const struct block *block = chain_mine(bench->chain, SIZE_MAX);
    assert_int_equal(block->count, 1);
    assert_true(hash_equal(&block->transactions[0].hash, &hash));
    assert_true(balance(bench, &bench->sink) == 2);
}

static void test_a_block_holds_so_much_gas(void **state)
{
    struct bench *bench = *state;
    struct transaction transaction = plain(0, 1, &bench->sink);
    transaction.gas_limit = BLOCK_GAS_LIMIT;
    must_submit(bench, 0, &transaction, NULL);
    must_submit(bench, 1, &transaction, NULL); /* its limit does not fit beside what the first used */
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->count, 1);
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->count, 1);
}

/* Blocks follow the wall clock and what was added to it, and never go back. */
static void test_time(void **state)
{
    struct bench *bench = *state;
    uint64_t start = wall;
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->time, start);
    wall += 5;
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->time, start + 5);
    wall -= 100; /* the machine's clock was set back */
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->time, start + 5);
    wall += 100;
    assert_true(chain_increase_time(bench->chain, 1000));
    assert_int_equal(chain_next_time(bench->chain), start + 1005);
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->time, start + 1005);
    assert_false(chain_set_next_time(bench->chain, start + 1004));
    assert_true(chain_set_next_time(bench->chain, start + 1005));
    assert_true(chain_set_next_time(bench->chain, start + 2000));
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->time, start + 2000);
    wall += 3; /* time goes on from there */
    assert_int_equal(chain_mine(bench->chain, SIZE_MAX)->time, start + 2003);
    assert_false(chain_set_next_time(bench->chain, CHAIN_TIME_MAX + 1));
    assert_false(chain_increase_time(bench->chain, UINT64_MAX));
    assert_false(chain_increase_time(bench->chain, CHAIN_TIME_MAX));
}

static void test_blocks_are_linked_and_old_ones_forgotten(void **state)
{
    struct bench *bench = *state;
    const struct history *history = chain_history(bench->chain);
    struct hash first;
    struct transaction transaction = plain(0, 1, &bench->sink);
    size_t index;
    must_submit(bench, 0, &transaction, &first);
    for (uint64_t i = 0; i < CHAIN_HISTORY_MIN + 10; i++) {
        struct hash parent = history_head(history)->hash;
        const struct block *block = chain_mine(bench->chain, SIZE_MAX);
        assert_true(hash_equal(&block->parent, &parent));
        assert_ptr_equal(history_block_by_hash(history, &block->hash), block);
        assert_ptr_equal(history_block(history, block->number), block);
        bool is_kept = block->number < CHAIN_HISTORY_MIN + 1;
        assert_true((history_transaction(history, &first, &index) != NULL) == is_kept);
    }
    assert_int_equal(history_oldest(history), 11);
    assert_null(history_block(history, 10));
    assert_null(history_block(history, history_head(history)->number + 1));
}

/* The state after earlier blocks can be looked at, and calls there change nothing. */
static void test_the_past(void **state)
{
    struct bench *bench = *state;
    size_t mark;
    for (uint64_t i = 0; i < CHAIN_PAST_MAX + 20; i++) {
        struct transaction transaction = plain(i, 1, &bench->sink);
        must_submit(bench, 0, &transaction, NULL);
        chain_mine(bench->chain, SIZE_MAX);
    }
    uint64_t head = CHAIN_PAST_MAX + 20;
    for (uint64_t number = 0; number <= head + 1; number++) {
        bool kept = number <= head && head - number <= CHAIN_PAST_MAX;
        assert_true(chain_enter(bench->chain, number, &mark) == kept);
        if (!kept)
            continue;
        assert_true(balance(bench, &bench->sink) == number);
        assert_null(chain_audit(bench->chain));
        struct buffer output = {0};
        assert_int_equal(
            chain_call(bench->chain, &bench->people[0], &bench->sink, 50, wall, NULL, 0, &output),
            MESSAGE_OK);
        assert_true(balance(bench, &bench->sink) == number);
        chain_leave(bench->chain, mark);
    }
    assert_true(balance(bench, &bench->sink) == head);
}

/* ---- restarts, on a real journal ---- */

static struct journal *journal_at(const char *folder)
{
    struct journal *journal;
    char message[256];
    const struct store_options options = {
        .path = folder, .application = "ledger", .version = CHAIN_FORMAT_VERSION};
    if (store_open(&options, &journal, message, sizeof(message)) != STORE_OK)
        fail_msg("%s", message);
    return journal;
}

static void test_restart(void **unused)
{
    (void)unused;
    struct bench bench;
    struct allocation allocations[2];
    char folder[64], message[256] = "";
    folder_make(folder, sizeof(folder));
    bench_make_people(&bench);
    struct chain_options options = options_of(&bench, allocations);
    options.parameters =
        (struct chain_parameters){.chain_id = 77, .challenge_period = 600, .bounty_bps = 250};
    bench.chain = chain_open(&options, journal_at(folder), message, sizeof(message));
    assert_non_null(bench.chain);
    struct hash transaction_hash;
    struct transaction transaction = plain(0, 9, &bench.sink);
    transaction.chain_id = 77;
    must_submit(&bench, 0, &transaction, &transaction_hash);
    for (int i = 0; i < CHAIN_HISTORY_MIN - 20; i++)
        chain_mine(bench.chain, SIZE_MAX);
    assert_true(chain_increase_time(bench.chain, 5000));
    struct block head = *history_head(chain_history(bench.chain));
    chain_close(bench.chain);

    /* The parameters are as they were, whoever has coins now; others are refused. */
    options.parameters = (struct chain_parameters){.bounty_bps = CHAIN_BOUNTY_BPS_ANY};
    options.allocation_count = 0;
    options.hub_if_new = bench.people[2];
    bench.chain = chain_open(&options, journal_at(folder), message, sizeof(message));
    if (bench.chain == NULL)
        fail_msg("%s", message);
    const struct history *history = chain_history(bench.chain);
    size_t index;
    assert_true(hash_equal(&history_head(history)->hash, &head.hash));
    assert_int_equal(history_oldest(history), 0);
    assert_non_null(history_transaction(history, &transaction_hash, &index));
    assert_true(balance(&bench, &bench.sink) == 9);
    assert_true(address_equal(&chain_config(bench.chain)->hub, &bench.people[0]));
    assert_int_equal(chain_config(bench.chain)->domain.chain_id, 77);
    assert_int_equal(chain_config(bench.chain)->challenge_period, 600);
    assert_int_equal(chain_config(bench.chain)->bounty_bps, 250);
    assert_int_equal(chain_next_time(bench.chain), wall + 5000);
    size_t mark;
    assert_false(chain_enter(bench.chain, head.number - 1, &mark)); /* the past begins anew */
    for (int i = 0; i < 40; i++)
        chain_mine(bench.chain, SIZE_MAX);
    assert_int_equal(history_oldest(history), 21);
    chain_close(bench.chain);

    const struct chain_parameters others[] = {
        {.chain_id = 78, .bounty_bps = CHAIN_BOUNTY_BPS_ANY},
        {.hub = bench.people[1], .bounty_bps = CHAIN_BOUNTY_BPS_ANY},
        {.challenge_period = 601, .bounty_bps = CHAIN_BOUNTY_BPS_ANY},
        {.bounty_bps = 251},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        options.parameters = others[i];
        assert_null(chain_open(&options, journal_at(folder), message, sizeof(message)));
        assert_non_null(strstr(message, "this ledger was made"));
    }
    options.parameters = (struct chain_parameters){
        .chain_id = 77, .hub = bench.people[0], .challenge_period = 600, .bounty_bps = 250};
    bench.chain = chain_open(&options, journal_at(folder), message, sizeof(message));
    assert_non_null(bench.chain);
    assert_int_equal(history_oldest(chain_history(bench.chain)), 21);
    chain_close(bench.chain);
    folder_remove(folder);
}

static void test_a_new_ledger_needs_a_hub(void **unused)
{
    (void)unused;
    char message[256] = "";
    struct chain_options options = {.history_blocks = CHAIN_HISTORY_MIN};
    assert_null(chain_open(&options, memory_journal_create(), message, sizeof(message)));
    assert_non_null(strstr(message, "--hub"));
}

/* ---- accounts ---- */

static void test_development_accounts(void **unused)
{
    (void)unused;
    static const char *const known[] = {
        "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc", "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
        "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65", "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
        "0x976ea74026e726554db657fa54763abd0c3a0aa9", "0x14dc79964da2c08b23698b3d3cc7ca32193d9955",
        "0x23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f", "0xa0ee7a142d267c1f36714e4a8f75612f20a79720"};
    for (size_t i = 0; i < DEVELOPMENT_ACCOUNTS; i++) {
        char text[ADDRESS_TEXT_SIZE];
        struct secret_key key = development_key(i);
        struct address address = secret_key_address(&key);
        assert_string_equal(address_text(&address, text), known[i]);
    }
}

static void test_allocations(void **unused)
{
    (void)unused;
    struct allocation allocations[ALLOCATIONS_MAX];
    char message[256];
    size_t count = 0;
#define A "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert_true(allocations_parse(NULL, allocations, &count, message, sizeof(message)));
    assert_true(allocations_parse("", allocations, &count, message, sizeof(message)));
    assert_int_equal(count, 0);
    assert_true(allocations_parse(A "=5," A "=1000000000000", allocations, &count, message, sizeof(message)));
    assert_int_equal(count, 2);
    assert_true(uint256_equal(allocations[0].balance, coins_wei(5)));
    static const char *const wrong[] = {
        A,    A "=",    A "=x",   A "=1000000000001", A "=99999999999999999999",
        "=5", A "=5,,", "0x12=5", A "=5;" A "=6",     A "=-1"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        count = 0;
        assert_false(allocations_parse(wrong[i], allocations, &count, message, sizeof(message)));
        assert_non_null(strstr(message, "--fund"));
    }
    char many[(ALLOCATIONS_MAX + 1) * 48] = "";
    for (size_t i = 0; i <= ALLOCATIONS_MAX; i++)
        strcat(many, A "=1,");
    count = 0;
    assert_false(allocations_parse(many, allocations, &count, message, sizeof(message)));
}

#define chain_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    log_setup("test_chain", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        chain_test(test_genesis),
        chain_test(test_refusals),
        chain_test(test_funds_for_all_that_waits),
        chain_test(test_fees_are_burned_and_tipped),
        chain_test(test_reverted_and_out_of_gas),
        chain_test(test_nonce_order_and_gaps),
        chain_test(test_the_higher_tip_goes_first),
        chain_test(test_replacement),
        chain_test(test_a_block_holds_so_much_gas),
        chain_test(test_time),
        chain_test(test_blocks_are_linked_and_old_ones_forgotten),
        chain_test(test_the_past),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_a_new_ledger_needs_a_hub),
        cmocka_unit_test(test_development_accounts),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
