/* Blocks, transactions and receipts as JSON. */
#include "ledger/embedded/node_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/quantity.h"
#include "ledger/rlp.h"

#define FEE_HISTORY_MAX     1024
#define FEE_PERCENTILES_MAX 100

/* keccak256(rlp([])): a header without uncles has it. */
static const char no_uncles[] = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";

json_t *number_json(struct uint256 value)
{
    uint8_t bytes[32];
    char text[2 + 64 + 1] = "0x";
    uint256_store(bytes, value);
    hex_encode(bytes, sizeof(bytes), text + 2);
    size_t zeros = strspn(text + 2, "0");
    if (zeros == 64)
        zeros = 63;
    memmove(text + 2, text + 2 + zeros, 64 - zeros + 1);
    return json_string(text);
}

static json_t *bloom_json(const struct block *block, const struct mined *only)
{
    struct bloom bloom = {{0}};
    for (size_t i = 0; i < block->count; i++)
        if (only == NULL || only == &block->transactions[i])
            bloom_add_logs(&bloom, &block->transactions[i].logs);
    return hex_of(bloom.bytes, sizeof(bloom.bytes));
}

/* ---- which block ---- */

static bool is_newest_tag(const char *tag)
{
    static const char *const tags[] = {"latest", "pending", "safe", "finalized"};
    for (size_t i = 0; i < ARRAY_LENGTH(tags); i++)
        if (strcmp(tags[i], tag) == 0)
            return true;
    return false;
}

bool block_number_of(const struct node *node, const json_t *json, uint64_t *out, struct failure *failure)
{
    const char *text = json_string_value(json);
    if (json == NULL || (text != NULL && is_newest_tag(text))) {
        *out = history_head(chain_history(node->chain))->number;
        return true;
    }
    if (text != NULL && strcmp(text, "earliest") == 0) {
        *out = 0;
        return true;
    }
    if (quantity_u64(json, out))
        return true;
    fail(failure, FAILURE_PARAMS,
         "a block is a number such as \"0x1f\", or latest, pending, safe, finalized, earliest");
    return false;
}

/* ---- transactions ---- */

static json_t *access_list_json(const struct transaction *transaction)
{
    json_t *list = json_array();
    struct rlp_reader entries = rlp_reader_of(transaction->access_list, transaction->access_list_length);
    while (entries.ok && entries.left > 0) {
        struct rlp_reader entry = rlp_list(&entries);
        struct address address;
        rlp_fixed(&entry, &address, sizeof(address));
        struct rlp_reader slots = rlp_list(&entry);
        json_t *keys = json_array();
        while (slots.ok && slots.left > 0) {
            struct hash key;
            rlp_fixed(&slots, &key, sizeof(key));
            json_array_append_new(keys, hash_json(&key));
        }
        json_t *item = json_object();
        json_object_set_new(item, "address", address_json(&address));
        json_object_set_new(item, "storageKeys", keys);
        json_array_append_new(list, item);
    }
    return list;
}

/* The signature stands after the nine unsigned fields. */
static void add_signature(json_t *json, const struct buffer *raw)
{
    struct rlp_reader outer = rlp_reader_of(raw->data + 1, raw->length - 1);
    struct rlp_reader fields = rlp_list(&outer);
    size_t length;
    for (int i = 0; i < 8; i++)
        (void)rlp_bytes(&fields, &length);
    (void)rlp_list(&fields);
    uint64_t parity = rlp_u64(&fields);
    uint8_t r[32], s[32];
    rlp_number(&fields, r, sizeof(r));
    rlp_number(&fields, s, sizeof(s));
    ensure(rlp_done(&fields));
    json_object_set_new(json, "v", quantity_of(parity));
    json_object_set_new(json, "yParity", quantity_of(parity));
    json_object_set_new(json, "r", number_json(uint256_load(r)));
    json_object_set_new(json, "s", number_json(uint256_load(s)));
}

/* block NULL: it waits; index is then ignored. */
static json_t *transaction_json(const struct buffer *raw, const struct block *block, size_t index)
{
    struct transaction transaction;
    struct address sender;
    struct hash hash;
    ensure(transaction_decode(raw->data, raw->length, &transaction, &sender, &hash) == TRANSACTION_OK);
    json_t *json = json_object();
    json_object_set_new(json, "type", json_string("0x2"));
    json_object_set_new(json, "hash", hash_json(&hash));
    json_object_set_new(json, "blockHash", block == NULL ? json_null() : hash_json(&block->hash));
    json_object_set_new(json, "blockNumber", block == NULL ? json_null() : quantity_of(block->number));
    json_object_set_new(json, "transactionIndex", block == NULL ? json_null() : quantity_of(index));
    json_object_set_new(json, "from", address_json(&sender));
    json_object_set_new(json, "to", address_json(&transaction.to));
    json_object_set_new(json, "nonce", quantity_of(transaction.nonce));
    json_object_set_new(json, "value", quantity_of(transaction.value));
    json_object_set_new(json, "input", hex_of(transaction.data, transaction.data_length));
    json_object_set_new(json, "gas", quantity_of(transaction.gas_limit));
    json_object_set_new(json, "maxFeePerGas", quantity_of(transaction.max_fee_per_gas));
    json_object_set_new(json, "maxPriorityFeePerGas", quantity_of(transaction.max_priority_fee_per_gas));
    json_object_set_new(json, "gasPrice",
                        quantity_of(block == NULL ? transaction.max_fee_per_gas
                                                  : block->transactions[index].effective_gas_price));
    json_object_set_new(json, "chainId", quantity_of(transaction.chain_id));
    json_object_set_new(json, "accessList", access_list_json(&transaction));
    add_signature(json, raw);
    return json;
}

json_t *eth_get_transaction_by_hash(struct node *node, const json_t *params, struct failure *failure)
{
    struct hash hash;
    size_t index;
    if (!hash_of_json(parameter(params, 0), &hash))
        return fail(failure, FAILURE_PARAMS, "the first parameter must be a transaction hash");
    const struct block *block = history_transaction(chain_history(node->chain), &hash, &index);
    if (block != NULL)
        return transaction_json(&block->transactions[index].raw, block, index);
    const struct waiting *waiting = mempool_find(chain_mempool(node->chain), &hash);
    return waiting == NULL ? json_null() : transaction_json(&waiting->raw, NULL, 0);
}

json_t *log_json(const struct block *block, const struct mined *mined, size_t index)
{
    struct contract_log log = logs_at(&mined->logs, index);
    json_t *json = json_object(), *topics = json_array();
    for (size_t i = 0; i < log.topic_count; i++)
        json_array_append_new(topics, hash_json(&log.topics[i]));
    json_object_set_new(json, "address", address_json(&log.address));
    json_object_set_new(json, "topics", topics);
    json_object_set_new(json, "data", hex_of(log.data, log.data_length));
    json_object_set_new(json, "blockNumber", quantity_of(block->number));
    json_object_set_new(json, "blockHash", hash_json(&block->hash));
    json_object_set_new(json, "blockTimestamp", quantity_of(block->time));
    json_object_set_new(json, "transactionHash", hash_json(&mined->hash));
    json_object_set_new(json, "transactionIndex", quantity_of((unsigned_wide)(mined - block->transactions)));
    json_object_set_new(json, "logIndex", quantity_of(mined->first_log + index));
    json_object_set_new(json, "removed", json_false());
    return json;
}

json_t *eth_get_transaction_receipt(struct node *node, const json_t *params, struct failure *failure)
{
    struct hash hash;
    size_t index;
    if (!hash_of_json(parameter(params, 0), &hash))
        return fail(failure, FAILURE_PARAMS, "the first parameter must be a transaction hash");
    const struct block *block = history_transaction(chain_history(node->chain), &hash, &index);
    if (block == NULL)
        return json_null();
    const struct mined *mined = &block->transactions[index];
    json_t *json = json_object(), *logs = json_array();
    for (size_t i = 0; i < mined->logs.count; i++)
        json_array_append_new(logs, log_json(block, mined, i));
    json_object_set_new(json, "type", json_string("0x2"));
    json_object_set_new(json, "transactionHash", hash_json(&mined->hash));
    json_object_set_new(json, "transactionIndex", quantity_of(index));
    json_object_set_new(json, "blockHash", hash_json(&block->hash));
    json_object_set_new(json, "blockNumber", quantity_of(block->number));
    json_object_set_new(json, "from", address_json(&mined->from));
    json_object_set_new(json, "to", address_json(&mined->to));
    json_object_set_new(json, "contractAddress", json_null());
    json_object_set_new(json, "status", json_string(mined->success ? "0x1" : "0x0"));
    json_object_set_new(json, "gasUsed", quantity_of(mined->gas_used));
    json_object_set_new(json, "cumulativeGasUsed", quantity_of(mined->cumulative_gas));
    json_object_set_new(json, "effectiveGasPrice", quantity_of(mined->effective_gas_price));
    json_object_set_new(json, "logs", logs);
    json_object_set_new(json, "logsBloom", bloom_json(block, mined));
    return json;
}

/* ---- blocks ---- */

static void add_header(json_t *json, const struct block *block)
{
    struct buffer header = {0};
    block_header(block, &header);
    json_object_set_new(json, "number", quantity_of(block->number));
    json_object_set_new(json, "hash", hash_json(&block->hash));
    json_object_set_new(json, "parentHash", hash_json(&block->parent));
    json_object_set_new(json, "timestamp", quantity_of(block->time));
    json_object_set_new(json, "stateRoot", hash_json(&block->state_root));
    json_object_set_new(json, "transactionsRoot", hash_json(&block->transactions_root));
    json_object_set_new(json, "receiptsRoot", hash_json(&block->receipts_root));
    json_object_set_new(json, "logsBloom", bloom_json(block, NULL));
    json_object_set_new(json, "gasLimit", quantity_of(BLOCK_GAS_LIMIT));
    json_object_set_new(json, "gasUsed", quantity_of(block->gas_used));
    json_object_set_new(json, "baseFeePerGas", quantity_of(block->base_fee));
    json_object_set_new(json, "miner", address_json(&EMBEDDED_COINBASE));
    json_object_set_new(json, "size", quantity_of(header.length));
    /* What a proof-of-work header had, as every chain since shows it. */
    json_object_set_new(json, "difficulty", json_string("0x0"));
    json_object_set_new(json, "extraData", json_string("0x"));
    json_object_set_new(json, "mixHash", hash_json(&HASH_ZERO));
    json_object_set_new(json, "nonce", json_string("0x0000000000000000"));
    json_object_set_new(json, "sha3Uncles", json_string(no_uncles));
    json_object_set_new(json, "uncles", json_array());
    buffer_free(&header);
}

static json_t *block_json(const struct block *block, bool full)
{
    if (block == NULL)
        return json_null();
    json_t *json = json_object(), *transactions = json_array();
    add_header(json, block);
    for (size_t i = 0; i < block->count; i++)
        json_array_append_new(transactions, full ? transaction_json(&block->transactions[i].raw, block, i)
                                                 : hash_json(&block->transactions[i].hash));
    json_object_set_new(json, "transactions", transactions);
    return json;
}

json_t *eth_block_number(struct node *node, const json_t *params, struct failure *failure)
{
    (void)params;
    (void)failure;
    return quantity_of(history_head(chain_history(node->chain))->number);
}

json_t *eth_get_block_by_number(struct node *node, const json_t *params, struct failure *failure)
{
    uint64_t number;
    if (parameter(params, 0) == NULL)
        return fail(failure, FAILURE_PARAMS, "the first parameter must be a block number or tag");
    if (!block_number_of(node, parameter(params, 0), &number, failure))
        return NULL;
    return block_json(history_block(chain_history(node->chain), number), json_is_true(parameter(params, 1)));
}

json_t *eth_get_block_by_hash(struct node *node, const json_t *params, struct failure *failure)
{
    struct hash hash;
    if (!hash_of_json(parameter(params, 0), &hash))
        return fail(failure, FAILURE_PARAMS, "the first parameter must be a block hash");
    return block_json(history_block_by_hash(chain_history(node->chain), &hash),
                      json_is_true(parameter(params, 1)));
}

/* ---- fees ---- */

static int by_tip(const void *a, const void *b)
{
    unsigned_wide left = *(const unsigned_wide *)a, right = *(const unsigned_wide *)b;
    return (left > right) - (left < right);
}

/* The tips of a block at the percentiles asked for, by count of transactions. */
static json_t *rewards_json(const struct block *block, const json_t *percentiles)
{
    json_t *rewards = json_array();
    unsigned_wide *tips = xcalloc(block->count + 1, sizeof(*tips));
    for (size_t i = 0; i < block->count; i++)
        tips[i] = block->transactions[i].effective_gas_price - block->base_fee;
    qsort(tips, block->count, sizeof(*tips), by_tip);
    for (size_t i = 0; i < json_array_size(percentiles); i++) {
        double percentile = json_number_value(json_array_get(percentiles, i));
        size_t place = (size_t)((double)block->count * percentile / 100);
        if (place >= block->count && block->count > 0)
            place = block->count - 1;
        json_array_append_new(rewards, quantity_of(tips[place]));
    }
    free(tips);
    return rewards;
}

static bool percentiles_are_good(const json_t *percentiles)
{
    if (percentiles == NULL)
        return true;
    if (!json_is_array(percentiles) || json_array_size(percentiles) > FEE_PERCENTILES_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(percentiles); i++) {
        const json_t *value = json_array_get(percentiles, i);
        if (!json_is_number(value) || !(json_number_value(value) >= 0 && json_number_value(value) <= 100))
            return false;
    }
    return true;
}

json_t *eth_fee_history(struct node *node, const json_t *params, struct failure *failure)
{
    const struct history *history = chain_history(node->chain);
    const json_t *percentiles = parameter(params, 2);
    uint64_t count = (uint64_t)json_integer_value(parameter(params, 0)), newest;
    if ((!json_is_integer(parameter(params, 0)) && !quantity_u64(parameter(params, 0), &count)) ||
        count == 0 || count > FEE_HISTORY_MAX || !percentiles_are_good(percentiles))
        return fail(failure, FAILURE_PARAMS,
                    "give 1 to 1024 blocks, the newest of them, and percentiles of 0 to 100");
    if (!block_number_of(node, parameter(params, 1), &newest, failure))
        return NULL;
    if (history_block(history, newest) == NULL)
        return fail(failure, FAILURE_SERVER, "block %llu is not there", (unsigned long long)newest);
    uint64_t kept = newest - history_oldest(history) + 1;
    uint64_t oldest = newest + 1 - (count < kept ? count : kept);
    json_t *fees = json_array(), *ratios = json_array(), *rewards = json_array();
    for (uint64_t number = oldest; number <= newest; number++) {
        const struct block *block = history_block(history, number);
        json_array_append_new(fees, quantity_of(block->base_fee));
        json_array_append_new(ratios, json_real((double)block->gas_used / (double)BLOCK_GAS_LIMIT));
        json_array_append_new(rewards, rewards_json(block, percentiles));
    }
    const struct block *after = history_block(history, newest + 1);
    json_array_append_new(fees, quantity_of(after == NULL ? chain_base_fee(node->chain) : after->base_fee));
    json_t *json = json_object();
    json_object_set_new(json, "oldestBlock", quantity_of(oldest));
    json_object_set_new(json, "baseFeePerGas", fees);
    json_object_set_new(json, "gasUsedRatio", ratios);
    if (percentiles != NULL)
        json_object_set_new(json, "reward", json_incref(rewards));
    json_decref(rewards);
    return json;
}
