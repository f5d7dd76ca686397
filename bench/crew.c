#include "bench/crew.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/ensure.h"

#define CONNECT_TIMEOUT_MS 600000
#define LEAVE_TIMEOUT_MS   30000
#define DESCRIPTORS_BESIDE 200 /* RocksDB's files, the operators' port */

/* Every client is a descriptor in its process and one in the hub. */
static bool has_descriptors(struct crew *crew)
{
    struct rlimit limit;
    uint64_t wanted = (uint64_t)crew->players * crew->layout.processes + DESCRIPTORS_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return true;
    return world_fail(crew->world,
                      "so many clients need %llu open files in the hub, but %llu are allowed: ulimit -n",
                      (unsigned long long)wanted, (unsigned long long)limit.rlim_cur);
}

/* ---- channels ---- */

static uint32_t bank_index(const struct crew *crew)
{
    return crew->players - 1;
}

/* The bank pays each payer its money, fees on top, and keeps the reserve that the terms ask for. */
static uint64_t bank_units(const struct crew_layout *layout)
{
    uint64_t all = layout->start_units * layout->payers;
    return all + all / 20 + 1000 * (uint64_t)layout->payers + 1000000;
}

static bool open_channels(struct crew *crew)
{
    struct world *world = crew->world;
    const struct crew_layout *layout = &crew->layout;
    uint32_t processes = layout->processes;
    if (!world_block(world, &crew->block) ||
        !world_add_pool(world, layout->room_units * (crew->players - 1) * processes))
        return false;
    for (uint32_t p = 0; p < processes; p++) {
        const struct load_player *players = crew->all + (size_t)p * crew->players;
        if (!world_open_deposited(world, &players[bank_index(crew)].channel, bank_units(layout)))
            return false;
        for (uint32_t i = 0; i < crew->players - 1; i++)
            if (!world_open_funded(world, &players[i].channel, layout->room_units))
                return false;
    }
    return world_open_end(world);
}

bool crew_open(struct crew *crew, struct world *world, const struct crew_layout *layout)
{
    crew->world = world;
    crew->layout = *layout;
    crew->players = layout->payers + layout->payees + (layout->connections_only ? 0 : 1);
    ensure(layout->processes >= 1 && layout->processes <= CREW_PROCESSES_MAX);
    size_t count = (size_t)crew->players * layout->processes;
    if (!has_descriptors(crew))
        return false;
    crew->all = xcalloc(count, sizeof(*crew->all));
    for (size_t i = 0; i < count; i++) {
        crew->all[i].key = secret_key_random();
        crew->all[i].channel.client = secret_key_address(&crew->all[i].key);
        if (i % 256 == 0)
            world_progress(world, "%zu of %zu clients have keys", i, count);
    }
    return layout->connections_only || open_channels(crew);
}

/* ---- processes ---- */

bool crew_is_well(struct crew *crew)
{
    for (uint32_t p = 0; p < crew->layout.processes; p++) {
        if (atomic_load(&crew->shares[p]->state) == LOAD_FAILED)
            return world_fail(crew->world, "%s", crew->shares[p]->trouble);
        if (!child_is_running(&crew->loads[p]))
            return world_fail(crew->world, "a load process has ended");
    }
    return true;
}

struct crew_counts crew_count(const struct crew *crew)
{
    struct crew_counts sum = {0};
    for (uint32_t p = 0; p < crew->layout.processes; p++) {
        const struct load_share *share = crew->shares[p];
        sum.online += atomic_load(&share->online);
        sum.started += atomic_load(&share->started);
        sum.paid += atomic_load(&share->paid);
        sum.failed += atomic_load(&share->failed);
        sum.signatures_made += atomic_load(&share->signatures_made);
        sum.signatures_checked += atomic_load(&share->signatures_checked);
        sum.receipts_checked += atomic_load(&share->receipts_checked);
        sum.cpu_us += child_cpu_us(&crew->loads[p]);
    }
    return sum;
}

const char *crew_first_failure(const struct crew *crew)
{
    for (uint32_t p = 0; p < crew->layout.processes; p++)
        if (atomic_load(&crew->shares[p]->failed) > 0)
            return crew->shares[p]->trouble;
    return NULL;
}

static bool all_online_or_failed(void *context)
{
    struct crew *crew = context;
    struct crew_counts counts = crew_count(crew);
    uint64_t wanted = (uint64_t)crew->players * crew->layout.processes;
    world_progress(crew->world, "%llu of %llu clients are online", (unsigned long long)counts.online,
                   (unsigned long long)wanted);
    return counts.online == wanted || !crew_is_well(crew);
}

static bool round_done_or_failed(void *context)
{
    struct crew *crew = context;
    if (!crew_is_well(crew))
        return true;
    for (uint32_t p = 0; p < crew->layout.processes; p++)
        if (atomic_load(&crew->shares[p]->round_done) != crew->round)
            return false;
    return true;
}

bool crew_wait(struct crew *crew, uint64_t timeout_ms)
{
    return world_wait(crew->world, round_done_or_failed, crew, timeout_ms, "the end of all payments") &&
           crew_is_well(crew);
}

void crew_phase(struct crew *crew, enum load_phase phase)
{
    for (uint32_t p = 0; p < crew->layout.processes; p++)
        atomic_store(&crew->shares[p]->phase, phase);
}

void crew_begin(struct crew *crew, const struct load_plan *plan)
{
    uint32_t processes = crew->layout.processes;
    crew_phase(crew, LOAD_WARM_UP);
    crew->round++;
    for (uint32_t p = 0; p < processes; p++) {
        struct load_plan *own = &crew->shares[p]->plan;
        *own = *plan;
        own->payers = plan->payers / processes;
        own->payees = plan->payees / processes;
        own->rate = plan->rate / processes;
        own->payments_max = (plan->payments_max + processes - 1) / processes;
        if (plan->pattern == LOAD_PEOPLE)
            own->window = (plan->window + processes - 1) / processes;
        own->seed = plan->seed * CREW_PROCESSES_MAX + p;
        atomic_store(&crew->shares[p]->round, crew->round);
    }
}

static bool cash_in(struct crew *crew)
{
    const struct load_plan plan = {.pattern = LOAD_CASH_IN,
                                   .payers = crew->layout.payers * crew->layout.processes,
                                   .coalesce = true,
                                   .amount = crew->layout.start_units};
    crew_begin(crew, &plan);
    return crew_wait(crew, CONNECT_TIMEOUT_MS);
}

bool crew_start(struct crew *crew)
{
    struct world *world = crew->world;
    for (uint32_t p = 0; p < crew->layout.processes; p++) {
        struct load_settings settings = {.players = crew->all + (size_t)p * crew->players,
                                         .player_count = crew->players,
                                         .channels = !crew->layout.connections_only,
                                         .hub_host = "127.0.0.1",
                                         .hub_port = world->hub_port,
                                         .ledger_url = world->ledger_url,
                                         .ledger_block = crew->block,
                                         .contract = world->contract,
                                         .hub = world->hub};
        if (crew->shares[p] == NULL)
            crew->shares[p] = load_share_new();
        memset(crew->shares[p], 0, sizeof(*crew->shares[p]));
        snprintf(crew->loads[p].name, sizeof(crew->loads[p].name), "load %u", p);
        crew->loads[p].pid = load_start(&settings, crew->shares[p]);
        if (crew->loads[p].pid == 0)
            return world_fail(world, "a load process cannot be started");
    }
    return world_wait(world, all_online_or_failed, crew, CONNECT_TIMEOUT_MS, "the clients' coming online") &&
           crew_is_well(crew) && (crew->layout.connections_only || cash_in(crew));
}

void crew_latency(struct crew *crew, struct histogram *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t p = 0; p < crew->layout.processes; p++) {
        histogram_merge(out, &crew->shares[p]->latency);
        memset(&crew->shares[p]->latency, 0, sizeof(*out));
    }
}

static bool none_runs(void *context)
{
    struct crew *crew = context;
    for (uint32_t p = 0; p < crew->layout.processes; p++)
        if (child_is_running(&crew->loads[p]))
            return false;
    return true;
}

bool crew_leave(struct crew *crew)
{
    crew_phase(crew, LOAD_LEAVE);
    return world_wait(crew->world, none_runs, crew, LEAVE_TIMEOUT_MS, "the end of the load processes");
}

void crew_free(struct crew *crew)
{
    for (uint32_t p = 0; p < crew->layout.processes; p++)
        child_kill(&crew->loads[p]);
    if (crew->all != NULL)
        bytes_wipe(crew->all, sizeof(*crew->all) * crew->players * crew->layout.processes);
    free(crew->all);
    crew->all = NULL;
}

/* ---- the money ---- */

/* A counter of the hub must be what the clients count. */
static bool check_counter(struct world *world, const char *metrics, const char *name, uint64_t wanted)
{
    uint64_t value;
    if (!metric_find(metrics, name, &value))
        return world_fail(world, "the hub's /metrics lack %s", name);
    return value == wanted || world_fail(world, "the hub counts %llu %s, the clients %llu",
                                         (unsigned long long)value, name, (unsigned long long)wanted);
}

static bool check_hub(struct crew *crew, const struct crew_counts *counts, const struct load_money *sum)
{
    struct world *world = crew->world;
    char *metrics = world_ask_hub(world, "/metrics");
    bool good = metrics != NULL && check_counter(world, metrics, "updates_refused_total", 0) &&
                check_counter(world, metrics, "payments_completed_total", counts->paid) &&
                check_counter(world, metrics, "volume_units_total", sum->paid) &&
                check_counter(world, metrics, "fees_units_total", sum->fees);
    free(metrics);
    return good;
}

bool crew_check(struct crew *crew)
{
    struct world *world = crew->world;
    struct load_money sum = {0};
    for (uint32_t p = 0; p < crew->layout.processes; p++) {
        const struct load_money *money = &crew->shares[p]->money;
        sum.balance += money->balance;
        sum.expected += money->expected;
        sum.paid += money->paid;
        sum.fees += money->fees;
        sum.received += money->received;
        sum.total += money->total;
    }
    struct crew_counts counts = crew_count(crew);
    crew->balance = sum.balance;
    if (sum.balance != sum.expected)
        return world_fail(world, "the clients have %lld units by their proofs, %lld by their payments",
                          (long long)sum.balance, (long long)sum.expected);
    if (sum.paid != sum.received)
        return world_fail(world, "%llu units were paid, %llu received", (unsigned long long)sum.paid,
                          (unsigned long long)sum.received);
    if (counts.receipts_checked != counts.paid)
        return world_fail(world, "%llu payments have %llu receipts", (unsigned long long)counts.paid,
                          (unsigned long long)counts.receipts_checked);
    return check_hub(crew, &counts, &sum) && world_check_money(world, sum.balance);
}
