#include "ledger/embedded/chain.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "ledger/embedded/chain_parts.h"
#include "ledger/embedded/gas.h"

void chain_close(struct chain *chain)
{
    if (chain == NULL)
        return;
    journal_close(chain->journal);
    for (size_t i = 0; i < CHAIN_PAST_MAX; i++)
        state_past_free(chain->past[i]);
    state_free(chain->state);
    history_free(chain->history);
    mempool_free(chain->mempool);
    free(chain);
}

const struct contract_config *chain_config(const struct chain *chain)
{
    return &chain->config;
}

const struct history *chain_history(const struct chain *chain)
{
    return chain->history;
}

const struct mempool *chain_mempool(const struct chain *chain)
{
    return chain->mempool;
}

const struct state *chain_state(const struct chain *chain)
{
    return chain->state;
}

unsigned_wide chain_base_fee(const struct chain *chain)
{
    return chain->base_fee;
}

int64_t chain_time_offset(const struct chain *chain)
{
    return chain->time_offset;
}

const char *chain_audit(const struct chain *chain)
{
    return records_audit(chain->state, &chain->config.domain.contract);
}

uint64_t chain_next_time(const struct chain *chain)
{
    if (chain->has_next_time)
        return chain->next_time;
    uint64_t parent = history_head(chain->history)->time;
    int64_t now = (int64_t)chain->now() + chain->time_offset;
    return now > (int64_t)parent ? (uint64_t)now : parent;
}

uint64_t chain_pending_nonce(const struct chain *chain, const struct address *address)
{
    uint64_t nonce = account_load(chain->state, address).nonce;
    while (mempool_find_nonce(chain->mempool, address, nonce) != NULL)
        nonce++;
    return nonce;
}

bool chain_enter(struct chain *chain, uint64_t number, size_t *mark)
{
    uint64_t head = history_head(chain->history)->number;
    if (number > head || head - number > chain->past_count)
        return false;
    *mark = state_mark(chain->state);
    for (uint64_t undone = head; undone > number; undone--)
        state_rewind(chain->state, chain->past[undone % CHAIN_PAST_MAX]);
    return true;
}

void chain_leave(struct chain *chain, size_t mark)
{
    state_revert(chain->state, mark);
}

enum message_result chain_call(struct chain *chain, const struct address *caller, const struct address *to,
                               unsigned_wide value, uint64_t time, const uint8_t *data, size_t length,
                               struct buffer *output)
{
    struct logs logs = {0};
    struct execution execution = {.state = chain->state,
                                  .config = &chain->config,
                                  .caller = *caller,
                                  .value = value,
                                  .time = time,
                                  .logs = &logs};
    size_t mark = state_mark(chain->state);
    enum message_result result = message_execute(&execution, to, data, length, output);
    state_revert(chain->state, mark);
    logs_free(&logs);
    return result;
}

uint64_t chain_gas(const struct chain *chain, const struct transaction *transaction)
{
    struct execution execution = {.state = chain->state, .config = &chain->config};
    return gas_needed(&execution, transaction);
}

/* The waiting transaction that the next block takes first: the highest tip, then the oldest, among those
 * whose nonce is next and whose gas limit still fits. */
static const struct waiting *mempool_best(const struct chain *chain, uint64_t gas_left)
{
    const struct waiting *best = NULL;
    unsigned_wide best_price = 0;
    for (size_t i = 0; i < mempool_count(chain->mempool); i++) {
        const struct waiting *waiting = mempool_at(chain->mempool, i);
        if (waiting->transaction.gas_limit > gas_left ||
            waiting->transaction.nonce != account_load(chain->state, &waiting->sender).nonce)
            continue;
        unsigned_wide price = transaction_gas_price(&waiting->transaction, chain->base_fee);
        if (best == NULL || price > best_price || (price == best_price && waiting->arrival < best->arrival)) {
            best = waiting;
            best_price = price;
        }
    }
    return best;
}

bool chain_has_work(const struct chain *chain)
{
    return mempool_best(chain, BLOCK_GAS_LIMIT) != NULL;
}

/* Transactions whose nonce another one has used. */
static void mempool_sweep(struct chain *chain)
{
    for (size_t i = mempool_count(chain->mempool); i > 0; i--) {
        const struct waiting *waiting = mempool_at(chain->mempool, i - 1);
        if (waiting->transaction.nonce < account_load(chain->state, &waiting->sender).nonce) {
            struct hash hash = waiting->hash;
            mempool_remove(chain->mempool, &hash);
        }
    }
}

/* Executes waiting transactions into the block until nothing more fits. */
static void block_fill(struct chain *chain, struct block *block, size_t max_transactions)
{
    uint64_t gas_left = BLOCK_GAS_LIMIT;
    const struct waiting *next;
    while (block->count < max_transactions && (next = mempool_best(chain, gas_left)) != NULL) {
        struct hash hash = next->hash;
        struct mined receipt = {.hash = hash, .from = next->sender, .to = next->transaction.to};
        if (transaction_execute(chain->state, &chain->config, &next->transaction, &next->sender, block->time,
                                block->base_fee, &receipt) == TRANSACTION_MINED) {
            buffer_append(&receipt.raw, next->raw.data, next->raw.length);
            gas_left -= receipt.gas_used;
            *block_add(block) = receipt;
        } else {
            char text[HASH_TEXT_SIZE];
            log_warn("transaction %s dropped: its sender can no longer pay for it", hash_text(&hash, text));
            logs_free(&receipt.logs);
        }
        mempool_remove(chain->mempool, &hash);
    }
    mempool_sweep(chain);
}

static void clock_put(const struct chain *chain, struct buffer *batch)
{
    uint8_t value[8];
    store_be64(value, (uint64_t)chain->time_offset);
    record_put(batch, RECORD_CLOCK, NULL, 0, value, sizeof(value));
}

static void past_keep(struct chain *chain, uint64_t number, struct state_past *past)
{
    struct state_past **place = &chain->past[number % CHAIN_PAST_MAX];
    state_past_free(*place);
    *place = past;
    if (chain->past_count < CHAIN_PAST_MAX)
        chain->past_count++;
}

void chain_persist_block(struct chain *chain, struct block *block, struct buffer *batch)
{
    uint8_t key[8];
    struct buffer changes = {0};
    bool is_first = block->number == 0;
    buffer_append(&changes, is_first ? &HASH_ZERO : &history_head(chain->history)->state_root,
                  sizeof(struct hash));
    past_keep(chain, block->number, state_commit(chain->state, &changes));
    block->state_root = keccak256(changes.data, changes.length);
    block_seal(block);
    buffer_append(batch, changes.data + sizeof(struct hash), changes.length - sizeof(struct hash));
    buffer_free(&changes);

    store_be64(key, block->number);
    size_t mark = record_begin(batch, RECORD_BLOCK, key, sizeof(key));
    block_encode(block, batch);
    record_end(batch, mark);
    clock_put(chain, batch);
    history_add(chain->history, block);
    while (block->number - history_oldest(chain->history) >= chain->history_blocks) {
        store_be64(key, history_oldest(chain->history));
        record_gone(batch, RECORD_BLOCK, key, sizeof(key));
        history_drop_oldest(chain->history);
    }
    journal_wait(chain->journal, journal_append(chain->journal, batch->data, batch->length));
}

const struct block *chain_mine(struct chain *chain, size_t max_transactions)
{
    const struct block *parent = history_head(chain->history);
    uint64_t time = chain_next_time(chain);
    struct block *block = block_new(parent->number + 1, time, chain->base_fee, &parent->hash);
    block_fill(chain, block, max_transactions);
    if (chain->has_next_time) {
        chain->time_offset = (int64_t)time - (int64_t)chain->now();
        chain->has_next_time = false;
    }
    struct buffer batch = {0};
    chain_persist_block(chain, block, &batch);
    buffer_free(&batch);
    log_debug("block %llu, time %llu: %zu transactions, %llu gas", (unsigned long long)block->number,
              (unsigned long long)block->time, block->count, (unsigned long long)block->gas_used);
    return block;
}

bool chain_increase_time(struct chain *chain, uint64_t seconds)
{
    if (seconds > CHAIN_TIME_MAX || chain_next_time(chain) + seconds > CHAIN_TIME_MAX)
        return false;
    chain->time_offset += (int64_t)seconds;
    struct buffer batch = {0};
    clock_put(chain, &batch);
    journal_wait(chain->journal, journal_append(chain->journal, batch.data, batch.length));
    buffer_free(&batch);
    return true;
}

bool chain_set_next_time(struct chain *chain, uint64_t time)
{
    if (time < history_head(chain->history)->time || time > CHAIN_TIME_MAX)
        return false;
    chain->has_next_time = true;
    chain->next_time = time;
    return true;
}
