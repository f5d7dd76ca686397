/* The ledger: the embedded ledger's contract, executed natively, in blocks that can be taken back. */
#include "tests/sim/sim.h"

const struct sim_block *chain_tip(const struct sim *sim)
{
    return &sim->chain.blocks[sim->chain.block_count - 1];
}

enum contract_error chain_view(struct sim *sim, uint64_t number, const struct address *from,
                               const uint8_t *data, size_t length, struct buffer *output)
{
    uint64_t tip = chain_tip(sim)->number;
    ensure(number <= tip);
    return vault_view(sim->chain.vault, tip - number, from, sim->chain.blocks[number].time + 1, data, length,
                      output);
}

/* ---- blocks ---- */

static void block_events(struct sim_block *block, const struct vault_result *result, const struct sim_tx *tx)
{
    for (size_t i = 0; i < result->event_count; i++) {
        struct contract_event event = result->events[i];
        event.block = block->number;
        event.block_time = block->time;
        event.log_index = (uint32_t)block->event_count;
        store_be64(event.transaction.bytes, tx->id);
        store_be64(event.block_hash.bytes, block->id);
        block->events = xrealloc(block->events, (block->event_count + 1) * sizeof(event));
        block->events[block->event_count++] = event;
    }
}

static struct sim_block *block_begin(struct sim *sim)
{
    struct sim_chain *chain = &sim->chain;
    if (chain->block_count == chain->block_capacity) {
        chain->block_capacity = chain->block_capacity == 0 ? 256 : 2 * chain->block_capacity;
        chain->blocks = xrealloc(chain->blocks, chain->block_capacity * sizeof(*chain->blocks));
    }
    struct sim_block *block = &chain->blocks[chain->block_count];
    uint64_t time = SIM_START_S + sim->now_ms / 1000, parent = block[-1].time;
    *block = (struct sim_block){.number = chain->block_count++,
                                .time = time > parent ? time : parent + 1,
                                .id = chain->next_block_id++};
    return block;
}

static void take(struct sim *sim, struct sim_block *block, struct sim_tx *tx)
{
    struct vault_result result =
        vault_execute(sim->chain.vault, &tx->from, tx->value, block->time, tx->data.data, tx->data.length);
    tx->block = block->number;
    tx->success = result.success;
    tx->reverted = result.reverted;
    block_events(block, &result, tx);
    sim_trace(sim, "block %llu takes transaction %llu: %s", (unsigned long long)block->number,
              (unsigned long long)tx->id, tx->success ? "good" : contract_error_name(tx->reverted));
    free(result.events);
}

/* One sender's come in the order in which it sent them. */
static bool must_wait(const struct sim *sim, size_t at, bool takes_all, uint64_t number)
{
    const struct sim_tx *tx = sim->chain.txs[at];
    if (!takes_all && tx->waits_to > number)
        return true;
    for (size_t i = 0; i < at; i++)
        if (sim->chain.txs[i]->block == 0 && address_equal(&sim->chain.txs[i]->from, &tx->from))
            return true;
    return false;
}

void chain_mine(struct sim *sim, bool takes_all)
{
    struct sim_chain *chain = &sim->chain;
    struct sim_block *block = block_begin(sim);
    for (size_t i = 0; i < chain->tx_count; i++)
        if (chain->txs[i]->block == 0 && !must_wait(sim, i, takes_all, block->number))
            take(sim, block, chain->txs[i]);
    vault_seal(chain->vault);
    sim->coverage->blocks++;
    sim_trace(sim, "block %llu, time %llu, %zu events", (unsigned long long)block->number,
              (unsigned long long)(block->time - SIM_START_S), block->event_count);
    for (size_t i = 0; i < block->event_count; i++)
        observe_event(sim, &block->events[i]);
    const char *wrong = vault_audit(chain->vault);
    if (wrong != NULL)
        sim_fail(sim, "the ledger's books: %s", wrong);
    /* What nobody waits for and no reorganisation reaches is forgotten. */
    for (size_t i = chain->tx_count; i-- > 0;) {
        struct sim_tx *tx = chain->txs[i];
        bool is_heard = tx->owner >= 0 && sim->parties[tx->owner]->life == tx->life;
        if (tx->block != 0 && !is_heard && tx->block + 16 < block->number)
            chain_forget(sim, tx);
    }
}

/* ---- reorganisations ---- */

/* The first block stays: it has Funds that the hub's engine did not send, and a hub closes no channel with its client
 * while a Fund of its own is under way. */
static uint64_t confirmed_by_anybody(const struct sim *sim)
{
    uint64_t confirmed = 1;
    for (unsigned i = 0; i < sim->party_count; i++)
        if (sim->parties[i]->node.next > confirmed + 1)
            confirmed = sim->parties[i]->node.next - 1;
    return confirmed;
}

bool chain_reorganise(struct sim *sim)
{
    struct sim_chain *chain = &sim->chain;
    uint64_t tip = chain_tip(sim)->number, confirmed = confirmed_by_anybody(sim);
    if (confirmed >= tip)
        return false;
    uint64_t depth = 1 + sim_roll(sim, tip - confirmed);
    uint64_t first = tip + 1 - depth;
    for (uint64_t at = tip; at >= first; at--) {
        free(chain->blocks[at].events);
        chain->block_count--;
    }
    vault_undo(chain->vault, depth);
    sim_trace(sim, "blocks from %llu on are gone", (unsigned long long)first);
    for (size_t i = chain->tx_count; i-- > 0;) {
        struct sim_tx *tx = chain->txs[i];
        if (tx->block < first)
            continue;
        tx->block = 0;
        tx->waits_to = first + sim_roll(sim, depth + 3);
        bool is_heard = tx->owner >= 0 && sim->parties[tx->owner]->life == tx->life;
        if (!is_heard && sim_has(sim, FAULT_TX_LOST) && sim_roll(sim, 3) == 0) {
            sim_count(sim, FAULT_TX_LOST);
            chain_forget(sim, tx);
        }
    }
    /* A chain that wins is longer. */
    for (uint64_t i = 0; i <= depth; i++) {
        chain_mine(sim, false);
        sim->now_ms += 1000;
    }
    return true;
}

/* ---- transactions ---- */

struct sim_tx *chain_send(struct sim *sim, const struct address *from, unsigned_wide value,
                          const uint8_t *data, size_t length)
{
    struct sim_chain *chain = &sim->chain;
    if (chain->tx_count == chain->tx_capacity) {
        chain->tx_capacity = chain->tx_capacity == 0 ? 64 : 2 * chain->tx_capacity;
        chain->txs = xrealloc(chain->txs, chain->tx_capacity * sizeof(struct sim_tx *));
    }
    struct sim_tx *tx = xcalloc(1, sizeof(*tx));
    *tx = (struct sim_tx){.id = ++chain->next_tx, .from = *from, .value = value, .owner = -1};
    buffer_append(&tx->data, data, length);
    chain->txs[chain->tx_count++] = tx;
    if (sim_strikes(sim, FAULT_TX_LATE, 6))
        tx->waits_to = chain_tip(sim)->number + 2 + sim_roll(sim, 3);
    return tx;
}

struct sim_tx *chain_send_call(struct sim *sim, const struct address *from, unsigned_wide value,
                               const struct contract_call *call)
{
    struct buffer data = {0};
    contract_encode_call(&data, call);
    struct sim_tx *tx = chain_send(sim, from, value, data.data, data.length);
    buffer_free(&data);
    return tx;
}

void chain_forget(struct sim *sim, struct sim_tx *tx)
{
    struct sim_chain *chain = &sim->chain;
    size_t at = 0;
    while (chain->txs[at] != tx)
        ensure(++at < chain->tx_count);
    memmove(&chain->txs[at], &chain->txs[at + 1], (--chain->tx_count - at) * sizeof(struct sim_tx *));
    buffer_free(&tx->data);
    free(tx);
}

bool chain_has_waiting(const struct sim *sim)
{
    for (size_t i = 0; i < sim->chain.tx_count; i++)
        if (sim->chain.txs[i]->block == 0)
            return true;
    return false;
}

/* ---- beginning and end ---- */

void chain_start(struct sim *sim)
{
    struct sim_chain *chain = &sim->chain;
    struct address people[ARRAY_LENGTH(sim->parties)];
    for (unsigned i = 0; i < sim->party_count; i++)
        people[i] = sim->parties[i]->address;
    memset(chain->token.bytes, 0x77, sizeof(chain->token.bytes));
    chain->vault = vault_new(&(struct vault_options){.domain = sim->domain,
                                                     .hub = sim->hub.party.address,
                                                     .token = chain->token,
                                                     .challenge_period = chain->challenge_period,
                                                     .people = people,
                                                     .people_count = sim->party_count});
    chain->next_block_id = 1;
    chain->block_capacity = 256;
    chain->blocks = xcalloc(chain->block_capacity, sizeof(*chain->blocks));
    chain->blocks[0] = (struct sim_block){.time = SIM_START_S, .id = chain->next_block_id++};
    chain->block_count = 1;
}

void chain_end(struct sim *sim)
{
    struct sim_chain *chain = &sim->chain;
    while (chain->tx_count > 0)
        chain_forget(sim, chain->txs[0]);
    for (size_t i = 0; i < chain->block_count; i++)
        free(chain->blocks[i].events);
    free(chain->blocks);
    free(chain->txs);
    vault_free(chain->vault);
}
