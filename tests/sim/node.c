/* A program's ledger client, as its core sees it (ledger/client.h): young events may come and vanish, confirmed ones
 * come once and in order, transactions have an outcome once it is final. */
#include "tests/sim/sim.h"

void node_free(struct sim_node *node)
{
    for (size_t i = 0; i < node->question_count; i++)
        buffer_free(&node->questions[i].data);
    for (size_t i = 0; i < node->submission_count; i++)
        buffer_free(&node->submissions[i].data);
    node->question_count = node->submission_count = 0;
    free(node->questions);
    free(node->submissions);
    node->questions = NULL;
    node->submissions = NULL;
    node->question_capacity = node->submission_capacity = 0;
}

void node_restart(struct sim_node *node, uint64_t cursor)
{
    node_free(node);
    node->next = cursor;
    node->is_fresh = true;
    node->height = node->height_id = 0;
    memset(node->early, 0, sizeof(node->early));
}

bool node_is_down(const struct sim *sim, const struct sim_node *node)
{
    return sim->now_ms < node->down_until;
}

/* ---- following ---- */

bool node_has_news(const struct sim *sim, const struct sim_party *party)
{
    const struct sim_node *node = &party->node;
    if (!party->is_up || node_is_down(sim, node) || sim->now_ms < node->lag_until)
        return false;
    return node->is_fresh || node->height_id != chain_tip(sim)->id;
}

static void give_event(struct sim *sim, struct sim_party *party, const struct contract_event *original,
                       bool confirmed)
{
    struct contract_event event = *original;
    event.confirmed = confirmed;
    if (party->kind == PARTY_HUB)
        hub_event(sim, &event);
    else if (party->kind == PARTY_WALLET)
        wallet_event(sim->wallets[party->index].core, &event);
    else
        tower_event(sim->towers[party->index].core, &event);
}

static void give_head(struct sim *sim, struct sim_party *party, const struct ledger_head *head)
{
    if (party->kind == PARTY_HUB) {
        hub_head(sim, head);
    } else if (party->kind == PARTY_WALLET) {
        wallet_head(sim->wallets[party->index].core, head);
        sim->wallets[party->index].run_wanted = true;
    } else {
        tower_head(sim->towers[party->index].core, head, &HASH_ZERO);
    }
}

static void give_block(struct sim *sim, struct sim_party *party, uint64_t number, bool confirmed)
{
    const struct sim_block *block = &sim->chain.blocks[number];
    for (size_t i = 0; i < block->event_count; i++)
        give_event(sim, party, &block->events[i], confirmed);
}

static void give_young(struct sim *sim, struct sim_party *party, uint64_t number)
{
    uint64_t *seen = &party->node.early[number % VAULT_PAST_MAX];
    if (*seen == sim->chain.blocks[number].id)
        return;
    *seen = sim->chain.blocks[number].id;
    give_block(sim, party, number, false);
}

/* How far the node has come: to the newest block, or somewhere on the way. */
static uint64_t next_height(struct sim *sim, const struct sim_node *node)
{
    uint64_t tip = chain_tip(sim)->number, behind = node->next > tip ? 0 : tip - node->next;
    if (behind == 0 || !sim_has(sim, FAULT_NODE_LAGS) || sim_roll(sim, 3) > 0)
        return tip;
    sim_count(sim, FAULT_NODE_LAGS);
    uint64_t height = tip - sim_roll(sim, behind + 1);
    return height < node->height && tip >= node->height ? node->height : height;
}

void node_advance(struct sim *sim, struct sim_party *party)
{
    struct sim_node *node = &party->node;
    uint64_t height = next_height(sim, node), shown = height;
    if (height == chain_tip(sim)->number)
        shown += node->lie; /* blocks that are not there: what is counted as confirmed is less deep */
    uint64_t confirmed = shown > node->confirmations ? shown - node->confirmations : 0;
    if (confirmed > height)
        confirmed = height;
    if (confirmed + 1 < node->next)
        confirmed = node->next - 1;
    node->is_fresh = false;
    node->height = height;
    node->height_id = sim->chain.blocks[height].id;
    sim_trace(sim, "node of party %u.%u: height %llu, shows %llu, confirmed %llu", party->kind, party->index,
              (unsigned long long)height, (unsigned long long)shown, (unsigned long long)confirmed);
    for (; node->next <= confirmed; node->next++)
        give_block(sim, party, node->next, true);
    for (uint64_t number = node->next; number <= height; number++)
        give_young(sim, party, number);
    struct ledger_head head = {shown, sim->chain.blocks[height].time, confirmed,
                               sim->chain.blocks[confirmed > height ? height : confirmed].time};
    give_head(sim, party, &head);
}

/* ---- views ---- */

void node_ask(struct sim_node *node, uint64_t question, const struct contract_call *view)
{
    if (node->question_count == node->question_capacity) {
        node->question_capacity = node->question_capacity == 0 ? 16 : 2 * node->question_capacity;
        node->questions = xrealloc(node->questions, node->question_capacity * sizeof(*node->questions));
    }
    struct sim_question *asked = &node->questions[node->question_count++];
    *asked = (struct sim_question){.id = question};
    contract_encode_call(&asked->data, view);
}

bool node_has_question(const struct sim *sim, const struct sim_party *party)
{
    (void)sim;
    return party->is_up && party->node.question_count > 0;
}

void node_answer(struct sim *sim, struct sim_party *party)
{
    struct sim_node *node = &party->node;
    struct sim_question asked = node->questions[0];
    memmove(node->questions, node->questions + 1, --node->question_count * sizeof(asked));
    struct buffer output = {0};
    bool ok = false;
    uint64_t tip = chain_tip(sim)->number, height = node->height > tip ? tip : node->height;
    if (tip - height >= VAULT_PAST_MAX)
        height = tip;
    if (!node_is_down(sim, node))
        ok = chain_view(sim, height, &party->address, asked.data.data, asked.data.length, &output) ==
             CONTRACT_OK;
    sim_trace(sim, "party %u.%u: question %llu answered, %s", party->kind, party->index,
              (unsigned long long)asked.id, ok ? "good" : "failed");
    if (party->kind == PARTY_WALLET) {
        wallet_answer(sim->wallets[party->index].core, asked.id, ok, output.data, output.length);
        sim->wallets[party->index].run_wanted = true;
    } else {
        ensure(party->kind == PARTY_TOWER);
        tower_answer(sim->towers[party->index].core, asked.id, ok, output.data, output.length);
    }
    buffer_free(&asked.data);
    buffer_free(&output);
}

/* ---- transactions ---- */

void node_submit(struct sim_node *node, const uint8_t *data, size_t length, uint32_t shard, uint32_t kind,
                 uint64_t reference)
{
    if (node->submission_count == node->submission_capacity) {
        node->submission_capacity = node->submission_capacity == 0 ? 16 : 2 * node->submission_capacity;
        node->submissions =
            xrealloc(node->submissions, node->submission_capacity * sizeof(*node->submissions));
    }
    struct sim_submission *made = &node->submissions[node->submission_count++];
    *made = (struct sim_submission){.shard = shard, .kind = kind, .reference = reference};
    buffer_append(&made->data, data, length);
}

static void outcome(struct sim *sim, struct sim_party *party, const struct sim_tx *tx,
                    enum ledger_error error)
{
    struct ledger_receipt receipt = {.block = tx->block,
                                     .success = tx->success,
                                     .reverted = tx->reverted,
                                     .gas_used = 100000,
                                     .effective_gas_price = 1};
    store_be64(receipt.transaction.bytes, tx->id);
    sim_trace(sim, "party %u.%u hears of transaction %llu: %s %s", party->kind, party->index,
              (unsigned long long)tx->id, ledger_error_text(error), contract_error_name(tx->reverted));
    if (party->kind == PARTY_HUB)
        hub_outcome(sim, tx->shard, tx->kind, tx->reference, error,
                    error == LEDGER_UNREACHABLE ? NULL : &receipt);
    else if (party->kind == PARTY_WALLET)
        sim_wallet_outcome(&sim->wallets[party->index], tx->reference, error, tx->success, tx->reverted);
    else
        tower_outcome(sim->towers[party->index].core, tx->reference, error, tx->success, tx->reverted,
                      error == LEDGER_OK ? receipt.gas_used : 0);
}

bool node_has_submission(const struct sim *sim, const struct sim_party *party)
{
    (void)sim;
    return party->is_up && party->node.submission_count > 0;
}

/* A dead program's nonce may be used again by its successor: then what waited is gone. */
static void replace_old(struct sim *sim, const struct sim_party *party)
{
    for (size_t i = sim->chain.tx_count; i-- > 0;) {
        struct sim_tx *tx = sim->chain.txs[i];
        if (tx->block == 0 && tx->owner >= 0 && sim->parties[tx->owner] == party && tx->life != party->life &&
            sim_strikes(sim, FAULT_TX_REPLACED, 1))
            chain_forget(sim, tx);
    }
}

void node_estimate(struct sim *sim, struct sim_party *party)
{
    struct sim_node *node = &party->node;
    struct sim_submission made = node->submissions[0];
    memmove(node->submissions, node->submissions + 1, --node->submission_count * sizeof(made));
    struct buffer output = {0};
    struct sim_tx refused = {.shard = made.shard, .kind = made.kind, .reference = made.reference};
    bool ok = false;
    if (node_is_down(sim, node)) {
        outcome(sim, party, &refused, LEDGER_UNREACHABLE);
    } else {
        refused.reverted = chain_view(sim, chain_tip(sim)->number, &party->address, made.data.data,
                                      made.data.length, &output);
        ok = refused.reverted == CONTRACT_OK;
        if (!ok)
            outcome(sim, party, &refused, LEDGER_REVERTED);
    }
    if (ok) {
        replace_old(sim, party);
        struct sim_tx *tx = chain_send(sim, &party->address, 0, made.data.data, made.data.length);
        unsigned owner = 0;
        while (sim->parties[owner] != party)
            owner++;
        tx->owner = (int)owner;
        tx->life = party->life;
        tx->shard = made.shard;
        tx->kind = made.kind;
        tx->reference = made.reference;
        struct contract_call call;
        ensure(contract_decode_call(made.data.data, made.data.length, &call));
        sim_trace(sim, "party %u.%u sends transaction %llu: %s", party->kind, party->index,
                  (unsigned long long)tx->id, contract_function_signature(call.function));
        contract_call_free(&call);
    }
    buffer_free(&made.data);
    buffer_free(&output);
}

static struct sim_tx *final_transaction(const struct sim *sim, const struct sim_party *party)
{
    for (size_t i = 0; i < sim->chain.tx_count; i++) {
        struct sim_tx *tx = sim->chain.txs[i];
        if (tx->block != 0 && tx->owner >= 0 && sim->parties[tx->owner] == party && tx->life == party->life &&
            tx->block + party->node.confirmations <= chain_tip(sim)->number && tx->block < party->node.next)
            return tx;
    }
    return NULL;
}

bool node_has_outcome(const struct sim *sim, const struct sim_party *party)
{
    return party->is_up && !node_is_down(sim, &party->node) && final_transaction(sim, party) != NULL;
}

void node_outcome(struct sim *sim, struct sim_party *party)
{
    struct sim_tx *tx = final_transaction(sim, party);
    outcome(sim, party, tx, LEDGER_OK);
    tx->owner = -1;
}
