/* A random world: who is there, with what, and what may go wrong. */
#include "tests/sim/sim.h"

#define CHAIN_ID 31337

static struct secret_key key_of(unsigned number)
{
    struct secret_key key = {{0}};
    key.bytes[0] = 1;
    key.bytes[31] = (uint8_t)(number + 1);
    return key;
}

static void party_make(struct sim *sim, struct sim_party *party, enum party_kind kind, unsigned index)
{
    unsigned number = sim->party_count;
    *party = (struct sim_party){.kind = kind, .index = index, .key = key_of(number)};
    party->address = secret_key_address(&party->key);
    sim->parties[sim->party_count++] = party;
}

static bool maybe(struct sim *sim, unsigned one_in)
{
    return sim_roll(sim, one_in) == 0;
}

/* Each class is there or not, so that some worlds have few and get far, others have all. */
static void choose_faults(struct sim *sim)
{
    for (unsigned i = 0; i < CHEAT_OLD_CLAIM; i++)
        if (maybe(sim, 2))
            sim->faults |= 1ull << i;
    bool clients_cheat = maybe(sim, 3), hub_cheats = !clients_cheat && maybe(sim, 3);
    for (unsigned i = CHEAT_OLD_CLAIM; i <= CHEAT_GARBAGE; i++)
        if (maybe(sim, 2) && clients_cheat)
            sim->faults |= 1ull << i;
    for (unsigned i = HUB_OLD_CLAIM; i <= HUB_GARBAGE; i++)
        if (maybe(sim, 2) && hub_cheats)
            sim->faults |= 1ull << i;
    if (maybe(sim, 8))
        sim->faults &= ~((1ull << CHEAT_OLD_CLAIM) - 1); /* nothing but, perhaps, cheats */
    sim->faults &= ~sim->options.faults_off;
    sim->hub_cheats = (sim->faults >> HUB_OLD_CLAIM) != 0;
    if (clients_cheat && (sim->faults >> CHEAT_OLD_CLAIM & 15) != 0)
        sim->wallets[sim_roll(sim, sim->client_count)].cheats = true;
}

static void choose_settings(struct sim *sim)
{
    uint32_t confirmations = (uint32_t)sim_roll(sim, 4);
    sim->reveal_margin_s = 300;
    sim->hub.settings = (struct engine_settings){
        .key = sim->hub.party.key,
        .domain = sim->domain,
        .terms = {.confirmations = confirmations,
                  .reveal_margin_s = sim->reveal_margin_s,
                  .min_expiry_s = 1000,
                  .max_expiry_s = 7200,
                  .settle_window_s = 600 + sim_roll(sim, 1200)},
        .asset_terms = {.base_fee = {sim_roll(sim, 4)},
                        .fee_ppm = (uint32_t)sim_roll(sim, 5000),
                        .direct_limit = {100 + sim_roll(sim, 1500)},
                        .reserve_bps = (uint16_t)sim_roll(sim, 300),
                        .min_lock = {1 + sim_roll(sim, 50)},
                        .max_lock = {1000 + sim_roll(sim, 100000)},
                        .max_locks_per_payer = 1 + (uint32_t)sim_roll(sim, 8)},
        .waiting_max = 1 + (uint32_t)sim_roll(sim, 8),
        .unrevealed_max = sim->options.seed % 4 == 1 ? 6 : 0,
        .inbound_max = {2000 + sim_roll(sim, 20000)},
        .tower_silence_s = 60 + sim_roll(sim, 600),
        .settle_interval_s = maybe(sim, 4) ? 0 : 30 + sim_roll(sim, 120),
        .settle_collect_ms = 500 + sim_roll(sim, 3000),
        .idle_bps = (uint16_t)(8000 + sim_roll(sim, 8000)),
        .room_percent = (uint16_t)(sim->options.seed % 4 * 100),
        .least_move = {sim->options.seed % 3 == 0 ? sim->options.seed % 200 : 0},
        .requests_max = (uint32_t)(sim->options.seed % 5),
    };
    if (sim->hub_has_tower) {
        sim->hub.settings.tower_count = 1;
        sim->hub.settings.towers[0].address = sim->towers[0].party.address;
    }
    sim->hub.party.node.confirmations = confirmations;
    for (unsigned i = 1; i < sim->party_count; i++)
        sim->parties[i]->node.confirmations =
            confirmations + (sim->parties[i]->kind == PARTY_WALLET && maybe(sim, 4) ? 1 : 0);
    sim->chain.challenge_period = 4000 + 8 * sim_roll(sim, 500);
}

static void choose_people(struct sim *sim)
{
    sim->client_count = 2 + (unsigned)sim_roll(sim, SIM_CLIENTS_MAX - 1);
    if (sim->options.clients_max != 0 && sim->client_count > sim->options.clients_max)
        sim->client_count = sim->options.clients_max;
    sim->asset_count = 1 + (unsigned)sim_roll(sim, SIM_ASSETS_MAX);
    sim->tower_count = (unsigned)sim_roll(sim, SIM_TOWERS_MAX + 1);
    sim->hub.shard_count = 1 + (unsigned)sim_roll(sim, SIM_SHARDS_MAX);
    party_make(sim, &sim->hub.party, PARTY_HUB, 0);
    for (unsigned i = 0; i < sim->client_count; i++) {
        party_make(sim, &sim->wallets[i].party, PARTY_WALLET, i);
        sim->wallets[i].sim = sim;
    }
    for (unsigned i = 0; i < sim->tower_count; i++) {
        party_make(sim, &sim->towers[i].party, PARTY_TOWER, i);
        sim->towers[i].sim = sim;
    }
    sim->hub_has_tower = sim->tower_count > 0 && maybe(sim, 2);
}

static void choose_wallet(struct sim *sim, struct sim_wallet *wallet)
{
    for (unsigned i = 0; i < sim->tower_count; i++)
        if (maybe(sim, 2) || (sim->hub_cheats && sim_has(sim, FAULT_ASLEEP)))
            wallet->towers[wallet->tower_count++] = i;
    if (sim_has(sim, FAULT_CLOCK) && maybe(sim, 2)) {
        sim_count(sim, FAULT_CLOCK);
        wallet->clock_s = (int64_t)sim_roll(sim, 1200) - 600;
    }
    if (maybe(sim, 2))
        wallet->limits = (struct wallet_limits){500 + sim_roll(sim, 5000), 200 + sim_roll(sim, 1000)};
}

/* ---- what is on the ledger at the start ---- */

static void fund(struct sim *sim)
{
    const struct address *hub = &sim->hub.party.address;
    for (unsigned i = 0; i < sim->asset_count; i++) {
        unsigned_wide unit = address_is_zero(&sim->assets[i]) ? VAULT_COIN_UNIT : 1;
        uint64_t pool = sim_roll(sim, 4) == 0 ? 1000 + sim_roll(sim, 5000) : 100000;
        struct contract_call list = {
            .function = CONTRACT_LIST_ASSET, .address = sim->assets[i], .unit = unit};
        struct contract_call deposit = {
            .function = CONTRACT_DEPOSIT_POOL, .address = sim->assets[i], .amount = {pool}};
        chain_send_call(sim, hub, 0, &list);
        chain_send_call(sim, hub, address_is_zero(&sim->assets[i]) ? unit * pool : 0, &deposit);
    }
    if (sim->hub_has_tower && maybe(sim, 2))
        chain_send_call(sim, hub, 0,
                        &(struct contract_call){.function = CONTRACT_SET_TOWER,
                                                .address = sim->towers[0].party.address,
                                                .flag = true});
    struct fund rooms[SIM_CLIENTS_MAX * SIM_ASSETS_MAX];
    struct contract_call batch = {.function = CONTRACT_SETTLE_BATCH, .funds = rooms};
    for (unsigned i = 0; i < sim->client_count; i++)
        for (unsigned asset = 0; asset < sim->asset_count; asset++) {
            struct channel_key key = {sim->wallets[i].party.address, sim->assets[asset], 0};
            if (!maybe(sim, 5))
                rooms[batch.fund_count++] = (struct fund){key, {500 + sim_roll(sim, 8000)}};
            uint64_t amount = 1000 + sim_roll(sim, 20000);
            struct contract_call deposit = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {amount}};
            if (maybe(sim, 5))
                continue; /* it will ask the hub for a channel */
            chain_send_call(
                sim, &sim->wallets[i].party.address,
                address_is_zero(&sim->assets[asset]) ? (unsigned_wide)VAULT_COIN_UNIT * amount : 0, &deposit);
        }
    if (batch.fund_count > 0)
        chain_send_call(sim, hub, 0, &batch);
}

void world_start(struct sim *sim)
{
    sim->domain = domain_make(CHAIN_ID, &(struct address){.bytes = {'R', 'i', 'l', 'l', [19] = 1}});
    sim->decoder = decoder_new();
    sim->bodies = decoder_new();
    sim->observing = decoder_new();
    sim->next_link = ENGINE_PEER_TOWER_LAST;
    choose_people(sim);
    choose_faults(sim);
    choose_settings(sim);
    sim->steps = 400 + sim_roll(sim, sim_roll(sim, 8) == 0 ? 6000 : 2000);
    if (sim->options.steps_max != 0 && sim->steps > sim->options.steps_max)
        sim->steps = sim->options.steps_max;
    sim->fault_weight = 5 + (uint32_t)sim_roll(sim, 60);
    sim->user_weight = 20 + (uint32_t)sim_roll(sim, 80);
    sim->block_weight = 10 + (uint32_t)sim_roll(sim, 40);
    chain_start(sim);
    if (sim->asset_count > 1 || maybe(sim, 2))
        sim->assets[sim->asset_count - 1] = sim->chain.token;
    for (unsigned i = 0; i < sim->client_count; i++)
        choose_wallet(sim, &sim->wallets[i]);
    for (unsigned asset = 0; asset < sim->asset_count; asset++) {
        for (unsigned i = 0; i < sim->client_count; i++)
            sim->wallets[i].funded[asset] =
                vault_units(sim->chain.vault, &sim->wallets[i].party.address, &sim->assets[asset]);
        sim->pool_at_start[asset] =
            vault_units(sim->chain.vault, &sim->hub.party.address, &sim->assets[asset]);
    }
    fund(sim);
    chain_mine(sim, true);
    hub_start(sim);
    for (unsigned i = 0; i < sim->tower_count; i++)
        tower_start(&sim->towers[i]);
    for (unsigned i = 0; i < sim->client_count; i++)
        wallet_start(&sim->wallets[i]);
}

void world_end(struct sim *sim)
{
    hub_end(sim);
    for (unsigned i = 0; i < sim->hub.shard_count; i++)
        journal_close(sim->hub.shards[i].disk.journal);
    for (unsigned i = 0; i < sim->client_count; i++) {
        wallet_end(&sim->wallets[i]);
        journal_close(sim->wallets[i].disk.journal);
    }
    for (unsigned i = 0; i < sim->tower_count; i++) {
        tower_end(&sim->towers[i]);
        journal_close(sim->towers[i].disk.journal);
    }
    net_free(sim);
    observer_free(sim);
    cheat_free(sim);
    chain_end(sim);
    decoder_free(sim->decoder);
    decoder_free(sim->bodies);
    decoder_free(sim->observing);
}
