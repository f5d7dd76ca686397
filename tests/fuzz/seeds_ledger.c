#include <string.h>

#include "base/ensure.h"
#include "crypto/key.h"
#include "ledger/contract.h"
#include "ledger/embedded/chain.h"
#include "ledger/embedded/node.h"
#include "store/memory_journal.h"
#include "tests/fuzz/seeds.h"

static bool add_record(void *context, const struct record *record)
{
    if (record->gone)
        record_gone(context, record->type, record->key, record->key_length);
    else
        record_put(context, record->type, record->key, record->key_length, record->value,
                   record->value_length);
    return true;
}

static uint64_t now(void)
{
    return 1800000000;
}

static void call(struct chain *chain, const struct secret_key *key, unsigned_wide value,
                 const struct contract_call *what)
{
    struct buffer data = {0}, raw = {0};
    struct address sender = secret_key_address(key);
    struct hash hash;
    contract_encode_call(&data, what);
    struct transaction transaction = {.chain_id = 31337,
                                      .nonce = chain_pending_nonce(chain, &sender),
                                      .max_fee_per_gas = 2000,
                                      .gas_limit = 3000000,
                                      .to = EMBEDDED_CONTRACT,
                                      .value = value,
                                      .data = data.data,
                                      .data_length = data.length};
    (void)transaction_sign(&transaction, key, &raw);
    ensure(chain_submit(chain, raw.data, raw.length, &hash) == NULL);
    (void)chain_mine(chain, 10);
    buffer_free(&data);
    buffer_free(&raw);
}

/* A ledger's life, so many deeds long; what its journal holds then. */
static void live(unsigned deeds, const char *name)
{
    struct secret_key hub = {{1, [31] = 9}}, client = {{1, [31] = 8}};
    const struct allocation allocations[] = {{secret_key_address(&hub), uint256_of(1000000000000000000)},
                                             {secret_key_address(&client), uint256_of(1000000000000000000)}};
    const struct chain_options options = {.parameters = {.bounty_bps = CHAIN_BOUNTY_BPS_ANY},
                                          .hub_if_new = allocations[0].address,
                                          .allocations = allocations,
                                          .allocation_count = 2,
                                          .base_fee = 1000,
                                          .history_blocks = CHAIN_HISTORY_MIN,
                                          .now = now};
    const struct channel_key key = {.client = allocations[1].address};
    const struct {
        const struct secret_key *by;
        unsigned value;
        struct contract_call call;
    } all[] = {{&hub, 0, {.function = CONTRACT_LIST_ASSET, .unit = 1}},
               {&hub, 5000, {.function = CONTRACT_DEPOSIT_POOL, .amount = {5000}}},
               {&client, 700, {.function = CONTRACT_DEPOSIT, .key = key, .amount = {700}}},
               {&client, 0, {.function = CONTRACT_START_CLOSE, .key = key}},
               {&client, 0, {.function = CONTRACT_REGISTER_SECRET, .hash = {{3}}}}};
    char message[512];
    struct buffer batch = {0};
    struct journal *journal = memory_journal_create();
    struct chain *chain = chain_open(&options, journal, message, sizeof(message));
    ensure(chain != NULL);
    for (unsigned i = 0; i < deeds; i++)
        call(chain, all[i].by, all[i].value, &all[i].call);
    ensure(chain_audit(chain) == NULL);
    memory_journal_crash(journal, journal_durable(journal));
    ensure(journal_recover(journal, add_record, &batch));
    seed_write("ledger_journal", name, -1, batch.data, batch.length);
    buffer_free(&batch);
    chain_close(chain);
}

void seeds_of_ledger(void)
{
    live(0, "new");
    live(3, "deposit");
    live(5, "closing");
}
