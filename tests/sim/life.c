/* A life, step by step: an effect that is possible, something that people do, a block, a fault. */
#include "tests/sim/traffic.h"

/* ---- time ---- */

/* It sleeps until its channel is closed, or the close that it was to sleep through has been lost on its way. */
static bool stays_away(struct sim *sim, struct sim_wallet *wallet)
{
    if (wallet->is_asleep) {
        uint8_t status = vault_channel(sim->chain.vault, &wallet->sleeps_for).status;
        wallet->is_asleep = status == CHANNEL_CLOSING || (status == CHANNEL_OPEN && chain_has_waiting(sim));
    }
    return wallet->is_gone || wallet->is_asleep;
}

static bool somebody_sleeps(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->wallets[i].is_asleep)
            return true;
    return false;
}

static void restart_who_is_due(struct sim *sim)
{
    for (unsigned i = 0; i < sim->party_count; i++) {
        struct sim_party *party = sim->parties[i];
        bool is_gone = (party->kind == PARTY_WALLET && stays_away(sim, &sim->wallets[party->index])) ||
                       (party->kind == PARTY_HUB && sim->hub_is_silent);
        if (!party->is_up && !is_gone && sim->now_ms >= party->down_until)
            party_start(sim, party);
    }
}

void party_start(struct sim *sim, struct sim_party *party)
{
    if (party->kind == PARTY_HUB)
        hub_start(sim);
    else if (party->kind == PARTY_WALLET)
        wallet_start(&sim->wallets[party->index]);
    else
        tower_start(&sim->towers[party->index]);
}

void party_crash(struct sim *sim, struct sim_party *party)
{
    if (party->kind == PARTY_HUB)
        hub_crash(sim);
    else if (party->kind == PARTY_WALLET)
        wallet_crash(&sim->wallets[party->index]);
    else
        tower_crash(&sim->towers[party->index]);
}

void sim_advance(struct sim *sim, uint64_t ms)
{
    uint64_t before = sim->now_ms;
    sim->now_ms += ms;
    restart_who_is_due(sim);
    if (sim->now_ms / 50 != before / 50)
        hub_tick(sim);
    if (sim->now_ms / 1000 != before / 1000)
        for (unsigned i = 0; i < sim->tower_count; i++)
            if (sim->towers[i].party.is_up)
                tower_tick(sim->towers[i].core, sim->now_ms);
}

/* ---- effects ---- */

enum effect_kind {
    EFFECT_SHARD,
    EFFECT_WALLET,
    EFFECT_TOWER,
    EFFECT_TO_SERVER,
    EFFECT_TO_CLIENT,
    EFFECT_SERVER_LEARNS,
    EFFECT_CLIENT_LEARNS,
    EFFECT_NODE,
    EFFECT_ANSWER,
    EFFECT_ESTIMATE,
    EFFECT_OUTCOME,
    EFFECT_CONNECT,
    EFFECT_CONNECT_TOWER,
    EFFECT_CONNECT_HUB_TOWER
};
struct effect {
    enum effect_kind kind;
    unsigned index, what;
};
struct effects {
    struct effect all[512];
    size_t count;
};

static void add(struct effects *effects, bool can, enum effect_kind kind, unsigned index, unsigned what)
{
    if (can && effects->count < ARRAY_LENGTH(effects->all))
        effects->all[effects->count++] = (struct effect){kind, index, what};
}

static bool hub_may_reach_tower(const struct sim *sim)
{
    return sim->hub_has_tower && sim->hub.party.is_up && sim->hub.serves && !sim->hub.tower_linked &&
           sim->towers[0].party.is_up;
}

static void add_wallet(struct sim *sim, struct effects *effects, unsigned index)
{
    struct sim_wallet *wallet = &sim->wallets[index];
    if (!wallet->party.is_up)
        return;
    for (unsigned what = 0; what < WALLET_EFFECT_COUNT; what++)
        add(effects, wallet_can(wallet, (enum wallet_effect)what), EFFECT_WALLET, index, what);
    if (sim->now_ms < wallet->offline_until)
        return;
    add(effects,
        wallet->link == 0 && sim->hub.party.is_up && sim->hub.serves && sim->now_ms >= wallet->connect_from,
        EFFECT_CONNECT, index, 0);
    for (unsigned i = 0; i < wallet->tower_count; i++)
        add(effects, wallet->tower_link[i] == 0 && sim->towers[wallet->towers[i]].party.is_up,
            EFFECT_CONNECT_TOWER, index, i);
}

static void add_links(struct sim *sim, struct effects *effects)
{
    for (unsigned i = 0; i < sim->link_count; i++) {
        const struct sim_link *link = sim->links[i];
        bool is_paused = link->kind == LINK_HUB && sim->wallets[link->client].is_paused &&
                         sim->wallets[link->client].link == link->number;
        add(effects, traffic_can(sim, link, true), EFFECT_TO_SERVER, i, 0);
        add(effects, traffic_can(sim, link, false) && !is_paused, EFFECT_TO_CLIENT, i, 0);
        add(effects, traffic_end_can(sim, link, true), EFFECT_SERVER_LEARNS, i, 0);
        add(effects, traffic_end_can(sim, link, false), EFFECT_CLIENT_LEARNS, i, 0);
    }
}

static void add_node(struct sim *sim, struct effects *effects, unsigned index)
{
    const struct sim_party *party = sim->parties[index];
    add(effects, node_has_news(sim, party), EFFECT_NODE, index, 0);
    add(effects, node_has_question(sim, party), EFFECT_ANSWER, index, 0);
    add(effects, node_has_submission(sim, party), EFFECT_ESTIMATE, index, 0);
    add(effects, node_has_outcome(sim, party), EFFECT_OUTCOME, index, 0);
}

static void list_effects(struct sim *sim, struct effects *effects)
{
    effects->count = 0;
    for (unsigned i = 0; i < sim->hub.shard_count; i++)
        for (unsigned what = 0; what < SHARD_EFFECT_COUNT; what++)
            add(effects, shard_can(&sim->hub.shards[i], (enum shard_effect)what), EFFECT_SHARD, i, what);
    for (unsigned i = 0; i < sim->client_count; i++)
        add_wallet(sim, effects, i);
    for (unsigned i = 0; i < sim->tower_count; i++)
        for (unsigned what = 0; what < TOWER_EFFECT_COUNT; what++)
            add(effects, tower_can(&sim->towers[i], (enum tower_effect)what), EFFECT_TOWER, i, what);
    add_links(sim, effects);
    for (unsigned i = 0; i < sim->party_count; i++)
        add_node(sim, effects, i);
    add(effects, hub_may_reach_tower(sim), EFFECT_CONNECT_HUB_TOWER, 0, 0);
}

/* A newer connection of a user replaces the older one (watchtower/peers.c). */
static void connect_hub_tower(struct sim *sim)
{
    static const struct terms no_terms;
    for (size_t i = sim->link_count; i-- > 0;)
        if (sim->links[i]->kind == LINK_HUB_TOWER)
            net_server_gone(sim, sim->links[i]);
    struct sim_link *link = net_link(sim, LINK_HUB_TOWER, 0, 0);
    sim->hub.tower_linked = true;
    struct message welcome = {.type = MESSAGE_WELCOME};
    welcome.welcome.terms = &no_terms;
    struct buffer frame = {0};
    message_encode(&frame, &welcome);
    net_put(sim, link, false, frame.data, frame.length);
    buffer_free(&frame);
}

static void do_effect(struct sim *sim, const struct effect *effect)
{
    unsigned index = effect->index;
    switch (effect->kind) {
    case EFFECT_SHARD:
        shard_do(&sim->hub.shards[index], (enum shard_effect)effect->what);
        return;
    case EFFECT_WALLET:
        wallet_do(&sim->wallets[index], (enum wallet_effect)effect->what);
        return;
    case EFFECT_TOWER:
        tower_do(&sim->towers[index], (enum tower_effect)effect->what);
        return;
    case EFFECT_TO_SERVER:
        traffic_move(sim, sim->links[index], true);
        return;
    case EFFECT_TO_CLIENT:
        traffic_move(sim, sim->links[index], false);
        return;
    case EFFECT_SERVER_LEARNS:
        traffic_end(sim, sim->links[index], true);
        return;
    case EFFECT_CLIENT_LEARNS:
        traffic_end(sim, sim->links[index], false);
        return;
    case EFFECT_NODE:
        node_advance(sim, sim->parties[index]);
        return;
    case EFFECT_ANSWER:
        node_answer(sim, sim->parties[index]);
        return;
    case EFFECT_ESTIMATE:
        node_estimate(sim, sim->parties[index]);
        return;
    case EFFECT_OUTCOME:
        node_outcome(sim, sim->parties[index]);
        return;
    case EFFECT_CONNECT:
        wallet_connect(&sim->wallets[index]);
        return;
    case EFFECT_CONNECT_TOWER:
        wallet_connect_tower(&sim->wallets[index], effect->what);
        return;
    case EFFECT_CONNECT_HUB_TOWER:
        connect_hub_tower(sim);
        return;
    }
}

bool sim_effect(struct sim *sim)
{
    struct effects effects;
    list_effects(sim, &effects);
    if (effects.count == 0)
        return false;
    do_effect(sim, &effects.all[sim_roll(sim, effects.count)]);
    return true;
}

/* ---- faults ---- */

static struct sim_party *some_party(struct sim *sim, enum party_kind kind)
{
    unsigned at = (unsigned)sim_roll(sim, sim->party_count);
    for (unsigned i = 0; i < sim->party_count; i++) {
        struct sim_party *party = sim->parties[(at + i) % sim->party_count];
        if (party->kind == kind && party->is_up)
            return party;
    }
    return NULL;
}

static bool crash(struct sim *sim, struct sim_party *party, uint64_t down_ms)
{
    if (party == NULL || !party->is_up)
        return false;
    party_crash(sim, party);
    party->down_until = sim->now_ms + sim_roll(sim, down_ms);
    return true;
}

static bool lose_transaction(struct sim *sim)
{
    for (size_t i = 0; i < sim->chain.tx_count; i++) {
        struct sim_tx *tx = sim->chain.txs[i];
        if (tx->block != 0 || sim_roll(sim, 2) == 0)
            continue;
        if (tx->owner >= 0 && sim->parties[tx->owner]->life == tx->life)
            tx->waits_to = chain_tip(sim)->number + 2 + sim_roll(sim, 3);
        else
            chain_forget(sim, tx);
        return true;
    }
    return false;
}

/* The nonce of a dead program's transaction has gone to its successor's first. */
static bool replace_transaction(struct sim *sim)
{
    for (size_t i = 0; i < sim->chain.tx_count; i++) {
        struct sim_tx *tx = sim->chain.txs[i];
        if (tx->block != 0 || tx->owner < 0 || sim->parties[tx->owner]->life == tx->life)
            continue;
        chain_forget(sim, tx);
        return true;
    }
    return false;
}

static bool fault_of_net(struct sim *sim, enum sim_fault fault)
{
    if (sim->link_count == 0)
        return false;
    struct sim_link *link = sim->links[sim_roll(sim, sim->link_count)];
    if (fault == FAULT_CUT) {
        bool was_cut = link->is_cut;
        net_cut(sim, link);
        return !was_cut;
    }
    struct sim_pipe *pipe = sim_roll(sim, 2) == 0 ? &link->to_server : &link->to_client;
    pipe->held_until = sim->now_ms + sim_roll(sim, 20000);
    return true;
}

static bool fault_of_node(struct sim *sim, enum sim_fault fault)
{
    struct sim_node *node = &sim->parties[sim_roll(sim, sim->party_count)]->node;
    if (fault == FAULT_NODE_LIES) {
        node->lie = node->lie != 0 ? 0 : (uint32_t)sim_roll(sim, node->confirmations + 2);
        return node->lie != 0;
    }
    if (fault == FAULT_NODE_LAGS)
        node->lag_until = sim->now_ms + sim_roll(sim, 40000);
    else
        node->down_until = sim->now_ms + sim_roll(sim, 40000);
    return true;
}

static bool strike(struct sim *sim, enum sim_fault fault)
{
    struct sim_party *wallet = some_party(sim, PARTY_WALLET), *tower = some_party(sim, PARTY_TOWER);
    switch ((int)fault) {
    case FAULT_CUT:
    case FAULT_DELAY:
        return fault_of_net(sim, fault);
    case FAULT_CRASH_HUB:
        return crash(sim, &sim->hub.party, 10000);
    case FAULT_CRASH_WALLET:
        return crash(sim, wallet, 10000);
    case FAULT_CRASH_TOWER:
        return crash(sim, tower, 10000);
    case FAULT_FULL_DISK:
        return crash(sim, sim->parties[sim_roll(sim, sim->party_count)], 30000);
    case FAULT_REORG:
        return chain_reorganise(sim);
    case FAULT_TX_LOST:
        return lose_transaction(sim);
    case FAULT_TX_REPLACED:
        return replace_transaction(sim);
    case FAULT_NODE_LAGS:
    case FAULT_NODE_LIES:
    case FAULT_NODE_DOWN:
        return fault_of_node(sim, fault);
    case FAULT_TOWER_DOWN:
        return crash(sim, tower, 900000);
    case FAULT_OFFLINE:
        if (wallet == NULL)
            return false;
        sim->wallets[wallet->index].offline_until = sim->now_ms + sim_roll(sim, 300000);
        for (size_t i = 0; i < sim->link_count; i++)
            if (sim->links[i]->kind != LINK_HUB_TOWER && sim->links[i]->client == wallet->index)
                net_cut(sim, sim->links[i]);
        return true;
    }
    return false; /* it strikes by itself, where it may */
}

static void fault_act(struct sim *sim)
{
    enum sim_fault fault = (enum sim_fault)sim_roll(sim, SIM_FAULT_COUNT);
    if (fault >= CHEAT_OLD_CLAIM) {
        cheat_act(sim);
        return;
    }
    if ((fault == FAULT_TOWER_DOWN || fault == FAULT_REORG) && somebody_sleeps(sim))
        return; /* somebody must be awake */
    if (sim_has(sim, fault) && strike(sim, fault))
        sim_count(sim, fault);
}

/* ---- life ---- */

/* Programs are slow, but not for ever: at most every third block finds work that was there before the last one. What
 * the protocol's margins are for (a transaction that must be mined before an expiry) holds then, whatever else fails. */
#define BLOCKS_BEHIND_MAX 2
#define CATCH_UP_EFFECTS  400

static void next_block(struct sim *sim)
{
    sim_advance(sim, 1000 + sim_roll(sim, 19000));
    if (sim->blocks_behind++ >= BLOCKS_BEHIND_MAX || sim_roll(sim, 2) == 0) {
        sim->blocks_behind = 0;
        for (unsigned i = 0; i < CATCH_UP_EFFECTS && sim_effect(sim); i++)
            ;
    }
    chain_mine(sim, false);
    cheat_continue(sim);
}

static void step(struct sim *sim)
{
    uint64_t what = sim_roll(sim, 1000);
    if (what < sim->user_weight) {
        user_act(sim);
    } else if (what < sim->user_weight + sim->fault_weight) {
        fault_act(sim);
    } else if (what < sim->user_weight + sim->fault_weight + sim->block_weight) {
        next_block(sim);
    } else if (!sim_effect(sim)) {
        sim_advance(sim, sim_roll(sim, 1000));
    }
    if (sim_roll(sim, 4) == 0)
        sim_advance(sim, sim_roll(sim, 20));
    if (sim_roll(sim, sim_has(sim, CHEAT_OLD_LOCKS) ? 8 : 50) == 0)
        cheat_remember(sim);
}

void sim_live(struct sim *sim)
{
    for (; sim->step < sim->steps; sim->step++) {
        sim->coverage->steps++;
        step(sim);
        observe_step(sim);
    }
}
