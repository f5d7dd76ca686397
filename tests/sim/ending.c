/* No more faults. Everything that is under way ends, every channel closes, and then each has exactly what its own books
 * say: a client what it began with, less what it paid, and what it was paid; the hub all the rest. */
#include "tests/sim/ending.h"
#include "tests/sim/observer.h"

#define QUIET_STEPS_MAX 20000
#define ROUNDS_MAX      400

/* Until nothing can happen without time. */
static void run_quiet(struct sim *sim)
{
    unsigned steps = 0;
    while (sim_effect(sim)) {
        sim->step++;
        if (++steps > QUIET_STEPS_MAX)
            sim_fail(sim, "it does not come to rest without faults: %u effects and more", steps);
    }
}

static void block_of(struct sim *sim, uint64_t seconds)
{
    sim_advance(sim, seconds * 1000);
    chain_mine(sim, true);
    cheat_continue(sim);
    run_quiet(sim);
}

/* Some seconds for the programs' timers, then so much time until the next block; what is sent upon it is mined soon. */
static void round_of(struct sim *sim, uint64_t seconds)
{
    for (unsigned i = 0; i < 3; i++) {
        sim_advance(sim, 700);
        run_quiet(sim);
    }
    block_of(sim, seconds);
    for (unsigned i = 0; i < 5 && chain_has_waiting(sim); i++)
        block_of(sim, 5);
    for (unsigned i = 0; i < sim->hub.shard_count && sim->hub.party.is_up; i++)
        engine_check(sim->hub.shards[i].engine);
}

static void stop_faults(struct sim *sim)
{
    sim->is_draining = true;
    for (unsigned i = 0; i < sim->party_count; i++) {
        struct sim_node *node = &sim->parties[i]->node;
        node->lie = 0;
        node->down_until = node->lag_until = 0;
        sim->parties[i]->down_until = 0;
    }
    for (unsigned i = 0; i < sim->client_count; i++) {
        sim->wallets[i].offline_until = 0;
        sim->wallets[i].disk.stall_until = 0;
        sim->wallets[i].disk.fails = false;
    }
    for (unsigned i = 0; i < sim->hub.shard_count; i++) {
        sim->hub.shards[i].disk.stall_until = 0;
        sim->hub.shards[i].disk.fails = false;
    }
    for (unsigned i = 0; i < sim->tower_count; i++) {
        sim->towers[i].disk.stall_until = 0;
        sim->towers[i].disk.fails = false;
    }
    for (size_t i = 0; i < sim->link_count; i++)
        sim->links[i]->to_server.held_until = sim->links[i]->to_client.held_until = 0;
    sim_advance(sim, 0); /* whoever was down starts */
}

/* ---- payments end ---- */

static bool is_over(const struct payment_view *view)
{
    if (view->outgoing)
        return view->state == OUT_PAID || view->state == OUT_FAILED || view->state == OUT_LOST;
    return view->state == IN_REFUNDED || view->state == IN_RECEIVED || view->state == IN_DROPPED;
}

static bool visit_open(void *context, const struct payment_view *view)
{
    bool *all_over = context;
    *all_over = *all_over && is_over(view);
    return *all_over;
}

static bool payments_are_over(const struct sim *sim)
{
    bool all_over = true;
    for (unsigned i = 0; i < sim->client_count && all_over; i++)
        if (sim->wallets[i].party.is_up && !sim->wallets[i].is_gone)
            wallet_history(sim->wallets[i].core, visit_open, &all_over);
    return all_over;
}

static bool visit_trace(void *context, const struct payment_view *view)
{
    struct sim *sim = context;
    if (!is_over(view))
        sim_trace(sim, "open: %s %s, %llu units, expiry %lld, code %llu",
                  view->outgoing ? "to pay" : "to receive",
                  view->outgoing ? payment_out_state_name((enum payment_out_state)view->state)
                                 : payment_in_state_name((enum payment_in_state)view->state),
                  (unsigned long long)view->amount.units, (long long)view->expiry - (long long)SIM_START_S,
                  (unsigned long long)view->code);
    return true;
}

static void trace_open(struct sim *sim)
{
    for (unsigned i = 0; i < sim->client_count && sim->options.trace; i++)
        if (sim->wallets[i].party.is_up)
            wallet_history(sim->wallets[i].core, visit_trace, sim);
}

/* What hangs on the other side ends with its expiry, or, unanswered, a day after it. */
static void drain_payments(struct sim *sim)
{
    for (unsigned i = 0; i < 4; i++)
        round_of(sim, 5);
    for (unsigned i = 0; i < 8 && !payments_are_over(sim); i++)
        round_of(sim, 30);
    for (unsigned i = 0; i < 150 && !payments_are_over(sim); i++)
        round_of(sim, sim->reveal_margin_s /
                          (sim->hub.settings.terms.confirmations + 3)); /* in time for the margin */
    trace_open(sim);
    for (unsigned i = 0; i < 4 && !payments_are_over(sim); i++)
        round_of(sim, 90000);
}

/* ---- channels close ---- */

static bool wants_close(const struct sim *sim, const struct wallet_channel_view *view)
{
    return vault_channel(sim->chain.vault, &view->id).status == CHANNEL_OPEN;
}

/* Of clients that are gone for good, the operator closes what is open. */
static void close_without(struct sim *sim)
{
    struct wallet_channel_view view;
    for (unsigned i = 0; i < sim->client_count && sim->hub.party.is_up && !sim->hub_cheats; i++) {
        const struct sim_wallet *wallet = &sim->wallets[i];
        for (size_t at = 0; wallet->is_gone && wallet_channel_at(wallet->core, at, &view); at++)
            if (wants_close(sim, &view))
                hub_close_channel(sim, i, &view.id);
    }
}

static void ask_closes(struct sim *sim)
{
    struct wallet_channel_view view;
    for (unsigned i = 0; i < sim->client_count; i++) {
        struct sim_wallet *wallet = &sim->wallets[i];
        if (wallet->is_gone || !wallet->party.is_up)
            continue;
        for (size_t at = 0; wallet_channel_at(wallet->core, at, &view); at++) {
            if (!wants_close(sim, &view))
                continue;
            /* Against a hub that cheats, or a channel that it or the cheat has spoiled, the ledger. */
            bool alone = sim->hub_cheats || wallet->cheats || view.blocked != NULL;
            enum code code =
                alone ? wallet_dispute(wallet->core, &view.id) : wallet_close(wallet->core, &view.id);
            sim_trace(sim, "user %u asks for the close%s: %s", i, alone ? " alone" : "", code_name(code));
            wallet->run_wanted = true;
        }
    }
    for (unsigned i = 0; i < sim->hub.shard_count && sim->hub.party.is_up; i++)
        hub_settle(sim, i);
}

/* Seconds between blocks while a channel may still be closed by both together. The window that the terms set assumes
 * blocks of a fraction of it: a proposal's deadline has to lie within it for a client whose node counts one block more
 * as confirmed, and the batch has to be mined before it. In longer steps no settlement could be signed, or be in time. */
static uint64_t settling_pace(const struct sim *sim)
{
    return sim->hub.settings.terms.settle_window_s / 8 - 10;
}

static void close_all(struct sim *sim)
{
    struct vault_left left = vault_left(sim->chain.vault);
    for (unsigned i = 0; left.open + left.closing > 0; i++) {
        if (i > ROUNDS_MAX)
            sim_fail(sim, "after %u rounds %u channels are open, %u closing", i, left.open, left.closing);
        if (left.open > 0 && i % 3 == 0)
            ask_closes(sim);
        if (i == 30 || i == 50)
            close_without(sim);
        if (i == 40)
            cheat_at_end(sim);
        round_of(sim, left.open == 0 ? 250 : i < 60 ? 20 : settling_pace(sim));
        left = vault_left(sim->chain.vault);
    }
    /* What is held for locks is its owner's once their time is over. */
    for (unsigned i = 0; i < 40 && left.held > 0; i++) {
        round_of(sim, 250);
        left = vault_left(sim->chain.vault);
    }
    for (unsigned i = 0; i < 6; i++)
        round_of(sim, 30);
}

/* ---- nothing is left ---- */

static void check_hub_is_empty(struct sim *sim)
{
    for (unsigned i = 0; i < 4; i++)
        round_of(sim, 100000);
    for (unsigned i = 0; i < sim->hub.shard_count; i++) {
        struct engine_figures figures = engine_figures(sim->hub.shards[i].engine);
        if (figures.payments_kept > ending_lost(sim) || figures.payments_pending != 0)
            sim_fail(sim, "days later shard %u keeps %llu payments, %llu pending", i,
                     (unsigned long long)figures.payments_kept, (unsigned long long)figures.payments_pending);
    }
    for (unsigned asset = 0; asset < sim->asset_count; asset++) {
        struct engine_pool pools[ASSETS_MAX];
        wide known = 0, pool = (wide)vault_pool(sim->chain.vault, &sim->assets[asset]);
        for (unsigned i = 0; i < sim->hub.shard_count; i++) {
            size_t count = engine_pools(sim->hub.shards[i].engine, pools);
            for (size_t at = 0; at < count; at++)
                if (address_equal(&pools[at].asset, &sim->assets[asset]))
                    known += pools[at].units;
        }
        if (known != pool)
            sim_fail(sim, "the hub thinks that the pool has %lld units of asset %u, and it has %lld",
                     (long long)known, asset, (long long)pool);
    }
}

void sim_drain(struct sim *sim)
{
    stop_faults(sim);
    sim_trace(sim, "no more faults");
    drain_payments(sim);
    close_all(sim);
    for (unsigned i = 0; i < 10 && !payments_are_over(sim); i++)
        round_of(sim, i < 5 ? 300 : 90000);
    trace_open(sim);
    ending_check_books(sim);
    ending_check_held(sim);
    if (!sim->hub_cheats)
        check_hub_is_empty(sim);
}
