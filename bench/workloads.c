/* The workloads: who pays whom, and what is measured around it. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/http_run.h"
#include "crypto/hash.h"

#define ROOM_UNITS        1000000000000u /* the hub's, in each channel */
#define START_UNITS       100000000000u  /* of each payer */
#define PEOPLE_ROOM_UNITS 4000000000000u /* people's largest transfers are worth a house */
#define PEOPLE_UNITS      1000000000000u
#define PEOPLE_PER_SHOP   50
#define BODY_PAYMENTS     600 /* that fit an update's 64 KiB */
#define LOCKED_WINDOW     200 /* 64 payers' locks share 16 merchants' 1,024 places */
#define CALIBRATION_S     4
#define IDLE_UNITS        1000 /* the hub's, in an idle channel */
#define SETTLE_TIMEOUT_MS 600000

const struct workload *workload_find(const char *name)
{
    for (size_t i = 0; i < workload_count; i++)
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    return NULL;
}

/* Each process has as many as every other. */
static uint32_t shared_out(const struct run *run, uint64_t count)
{
    uint32_t processes = (uint32_t)run->flags.load_processes;
    return ((uint32_t)count + processes - 1) / processes;
}

static uint32_t payers_of(const struct run *run)
{
    return shared_out(run, run->flags.clients > 0 ? run->flags.clients : run->workload->payers);
}

static uint32_t window_of(const struct run *run, uint32_t usual)
{
    return run->flags.window > 0 ? (uint32_t)run->flags.window : usual;
}

static void note(struct run *run, const char *name, double value)
{
    json_object_set_new(run->extra, name, json_real(value));
}

static void note_count(struct run *run, const char *name, uint64_t value)
{
    json_object_set_new(run->extra, name, json_integer((json_int_t)value));
}

/* ---- plans ---- */

static struct load_plan plan_pairs(const struct run *run, const struct crew_layout *layout,
                                   uint32_t locked_percent)
{
    return (struct load_plan){.pattern = LOAD_PAIRS,
                              .payers = layout->payers * layout->processes,
                              .first_payee = layout->payers,
                              .payees = layout->payees * layout->processes,
                              .window = window_of(run, 1),
                              .batch = 1,
                              .locked_percent = run->flags.locked ? 100 : locked_percent,
                              .amount = run->flags.amount,
                              .seed = run->flags.seed};
}

/* `payers` and `payees` of each process may be fewer than the layout has. */
static struct load_plan plan_market(const struct run *run, const struct crew_layout *layout, uint32_t payers,
                                    uint32_t payees, uint32_t window)
{
    uint32_t batch = window < 4 ? 1 : window / 4 < BODY_PAYMENTS ? window / 4 : BODY_PAYMENTS;
    return (struct load_plan){.pattern = LOAD_MARKET,
                              .payers = payers * layout->processes,
                              .first_payee = layout->payers,
                              .payees = payees * layout->processes,
                              .window = window,
                              .batch = batch,
                              .coalesce = true,
                              .locked_percent = run->flags.locked ? 100 : 0,
                              .amount = run->flags.amount,
                              .seed = run->flags.seed};
}

/* ---- the usual course of a run ---- */

static struct crew_layout layout_of(const struct run *run)
{
    uint32_t payers = payers_of(run);
    return (struct crew_layout){.processes = (uint32_t)run->flags.load_processes,
                                .payers = payers,
                                .payees = run->workload->payees > 0 ? shared_out(run, run->workload->payees)
                                                                    : payers,
                                .start_units = START_UNITS,
                                .room_units = ROOM_UNITS};
}

static bool start_all(struct run *run, const struct crew_layout *layout)
{
    double seconds;
    return crew_open(&run->crew, &run->world, layout) && world_start_hub(&run->world, &seconds) &&
           crew_start(&run->crew);
}

static bool measure(struct run *run, const struct load_plan *plan, const char *name, struct figures *out)
{
    return measure_round(&run->crew, plan, name, run->flags.warm_up_s, run->flags.seconds, out);
}

/* The floor, on the machine as it is just now; then the books. */
static bool finish(struct run *run)
{
    world_progress(&run->world, "measuring what a payment costs at least");
    if (!floor_measure(&run->floor))
        return world_fail(&run->world, "a process or socket for measuring the floor cannot be had");
    return crew_check(&run->crew);
}

static bool run_plan(struct run *run, const struct crew_layout *layout, const struct load_plan *plan)
{
    run->figures = figures_new();
    return start_all(run, layout) && measure(run, plan, run->workload->name, run->figures) && finish(run) &&
           crew_leave(&run->crew);
}

static bool run_pairs(struct run *run, uint32_t locked_percent)
{
    struct crew_layout layout = layout_of(run);
    struct load_plan plan = plan_pairs(run, &layout, locked_percent);
    return run_plan(run, &layout, &plan);
}

static bool run_single(struct run *run)
{
    return run_pairs(run, 0);
}

static bool run_locked(struct run *run)
{
    return run_pairs(run, 100);
}

static bool run_mixed(struct run *run)
{
    return run_pairs(run, 10);
}

static bool run_busy(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    uint32_t window = window_of(run, run->flags.locked ? LOCKED_WINDOW : run->workload->window);
    struct load_plan plan = plan_market(run, &layout, layout.payers, layout.payees, window);
    return run_plan(run, &layout, &plan);
}

static bool run_busy_with_tower(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    uint32_t window = window_of(run, run->flags.locked ? LOCKED_WINDOW : run->workload->window);
    struct load_plan plan = plan_market(run, &layout, layout.payers, layout.payees, window);
    return run_tower_busy(run, &layout, &plan);
}

static bool run_mobile_money(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    if (layout.payers < 2)
        return world_fail(&run->world, "mobile-money needs two --clients in each load process");
    layout.payees = layout.payers / PEOPLE_PER_SHOP + 1;
    layout.start_units = PEOPLE_UNITS;
    layout.room_units = PEOPLE_ROOM_UNITS;
    const struct load_plan plan = {.pattern = LOAD_PEOPLE,
                                   .payers = layout.payers * layout.processes,
                                   .first_payee = layout.payers,
                                   .payees = layout.payees * layout.processes,
                                   .window = window_of(run, run->workload->window),
                                   .batch = 1,
                                   .seed = run->flags.seed};
    return run_plan(run, &layout, &plan);
}

/* ---- steady: latency at a rate that the clients choose ---- */

static bool run_steady(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    struct load_plan plan = plan_pairs(run, &layout, 0);
    run->figures = figures_new();
    if (!start_all(run, &layout))
        return false;
    double rate = (double)run->flags.rate;
    if (run->flags.rate == 0) {
        struct figures *most = figures_new();
        bool good =
            measure_round(&run->crew, &plan, "steady: looking for the maximum", 1, CALIBRATION_S, most);
        rate = figures_rate(most) / 2;
        note(run, "calibrated_max_per_s", figures_rate(most));
        free(most);
        if (!good)
            return false;
    }
    plan.rate = rate;
    note(run, "rate", rate);
    if (rate < 1)
        return world_fail(&run->world, "the hub takes less than two payments a second: nothing to halve");
    return measure(run, &plan, "steady", run->figures) && finish(run) && crew_leave(&run->crew);
}

/* ---- scale: channels that nobody uses just now ---- */

static bool restart(struct run *run, double *seconds)
{
    return world_stop_hub(&run->world) && world_start_hub(&run->world, seconds);
}

/* Addresses that nobody has a key for. */
static bool open_idle(struct run *run)
{
    struct world *world = &run->world;
    if (run->flags.channels > 0 && !world_add_pool(world, run->flags.channels * IDLE_UNITS))
        return false;
    for (uint64_t i = 0; i < run->flags.channels; i++) {
        struct hash hash = keccak256_pair("idle", 4, &i, sizeof(i));
        struct channel_key key = {.salt = 0};
        memcpy(key.client.bytes, hash.bytes, sizeof(key.client.bytes));
        if (!world_open_funded(world, &key, IDLE_UNITS))
            return false;
    }
    return world_open_end(world);
}

static bool run_scale(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    struct load_plan plan = plan_pairs(run, &layout, 0);
    double empty_s, first_s, restart_s;
    run->figures = figures_new();
    if (!world_start_hub(&run->world, &empty_s))
        return false;
    uint64_t empty_kib = child_rss_kib(&run->world.hubd);
    if (!world_stop_hub(&run->world) || !open_idle(run) || !crew_open(&run->crew, &run->world, &layout) ||
        !world_start_hub(&run->world, &first_s))
        return false;
    uint64_t first_kib = child_rss_kib(&run->world.hubd);
    if (!restart(run, &restart_s))
        return false;
    uint64_t full_kib = child_rss_kib(&run->world.hubd);
    double bytes = ((double)full_kib - (double)empty_kib) * 1024 / (double)run->world.channels;
    note_count(run, "channels", run->world.channels);
    note(run, "hub_rss_empty_mib", (double)empty_kib / 1024);
    note(run, "hub_rss_first_start_mib", (double)first_kib / 1024);
    note(run, "hub_rss_channels_mib", (double)full_kib / 1024);
    note(run, "bytes_per_channel", bytes);
    note(run, "empty_start_s", empty_s);
    note(run, "first_start_s", first_s);
    note(run, "restart_s", restart_s);
    return crew_start(&run->crew) && measure(run, &plan, "scale: payments beside them", run->figures) &&
           finish(run) && crew_leave(&run->crew);
}

/* ---- history: what old payments cost ---- */

static bool fill(struct run *run, const struct load_plan *market)
{
    struct crew *crew = &run->crew;
    struct load_plan plan = *market;
    plan.payments_max = run->flags.payments;
    uint64_t before = crew_count(crew).started, begun_us = clock_monotonic_us(), done;
    crew_begin(crew, &plan);
    do {
        if (!world_pause(&run->world, 20000) || !crew_is_well(crew))
            return false;
        done = crew_count(crew).started - before;
        world_progress(&run->world, "history: %llu of %llu old payments", (unsigned long long)done,
                       (unsigned long long)run->flags.payments);
    } while (done < run->flags.payments);
    if (!crew_wait(crew, SETTLE_TIMEOUT_MS))
        return false;
    note(run, "fill_s", (double)(clock_monotonic_us() - begun_us) / 1e6);
    return true;
}

/* What the old payments still cost when all are paid (folding, merging) is theirs, and is said; what is measured next is a
 * hub that has them on disk. */
#define REST_LOOK_US 2000000
#define REST_SHARE   50 /* at rest: less than a fiftieth of a core */
#define REST_MAX_US  300000000

static bool come_to_rest(struct run *run)
{
    const struct child *hub = &run->world.hubd;
    uint64_t begun_us = clock_monotonic_us(), begun_cpu = child_cpu_us(hub), cpu = begun_cpu, used;
    do {
        world_progress(&run->world, "history: waiting until the hub has put them away");
        if (!world_pause(&run->world, REST_LOOK_US) || !crew_is_well(&run->crew))
            return false;
        used = child_cpu_us(hub) - cpu;
        cpu += used;
    } while (used > REST_LOOK_US / REST_SHARE && clock_monotonic_us() - begun_us < REST_MAX_US);
    note(run, "rest_s", (double)(clock_monotonic_us() - begun_us) / 1e6);
    note(run, "rest_hub_cpu_us_per_old_payment", (double)(cpu - begun_cpu) / (double)run->flags.payments);
    return true;
}

static double ratio(double after, double before)
{
    return before > 0 ? after / before : 0;
}

static bool measure_both(struct run *run, const struct load_plan *single, const struct load_plan *market,
                         const char *when, struct figures *single_out, struct figures *busy_out)
{
    char name[64];
    snprintf(name, sizeof(name), "history: single, %s", when);
    if (!measure(run, single, name, single_out))
        return false;
    snprintf(name, sizeof(name), "history: busy, %s", when);
    return measure(run, market, name, busy_out);
}

static bool run_history(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    const struct workload *busy = workload_find("busy");
    uint32_t payers = shared_out(run, busy->payers), payees = shared_out(run, busy->payees);
    if (layout.payers < payers)
        layout.payers = layout.payees = payers;
    struct load_plan single = plan_pairs(run, &layout, 0);
    struct load_plan market = plan_market(run, &layout, payers, payees, window_of(run, busy->window));
    struct figures *empty_single = figures_new(), *empty_busy = figures_new(), *full_busy = figures_new();
    double first_s, empty_s = 0, full_s = 0;
    run->figures = figures_new();
    bool good = crew_open(&run->crew, &run->world, &layout) && world_start_hub(&run->world, &first_s) &&
                restart(run, &empty_s) && crew_start(&run->crew) &&
                measure_both(run, &single, &market, "an empty hub", empty_single, empty_busy) &&
                fill(run, &market) && come_to_rest(run) &&
                measure_both(run, &single, &market, "with old payments", run->figures, full_busy) &&
                finish(run) && crew_leave(&run->crew) && restart(run, &full_s) &&
                world_check_money(&run->world, run->crew.balance);
    note_count(run, "old_payments", run->flags.payments);
    note(run, "empty_payments_per_s", figures_rate(empty_single));
    note(run, "empty_hub_cpu_us_per_payment", figures_cpu_us(empty_single));
    note(run, "throughput_ratio", ratio(figures_rate(run->figures), figures_rate(empty_single)));
    note(run, "cpu_ratio", ratio(figures_cpu_us(run->figures), figures_cpu_us(empty_single)));
    note(run, "busy_empty_payments_per_s", figures_rate(empty_busy));
    note(run, "busy_payments_per_s", figures_rate(full_busy));
    note(run, "busy_throughput_ratio", ratio(figures_rate(full_busy), figures_rate(empty_busy)));
    note(run, "busy_cpu_ratio", ratio(figures_cpu_us(full_busy), figures_cpu_us(empty_busy)));
    note(run, "restart_empty_s", empty_s);
    note(run, "restart_s", full_s);
    note(run, "restart_ratio", ratio(full_s, empty_s));
    free(empty_single);
    free(empty_busy);
    free(full_busy);
    return good;
}

/* ---- connections ---- */

static bool run_connections(struct run *run)
{
    struct crew_layout layout = layout_of(run);
    layout.payees = 0;
    layout.connections_only = true;
    double seconds;
    if (!crew_open(&run->crew, &run->world, &layout) || !world_start_hub(&run->world, &seconds))
        return false;
    uint64_t before_kib = child_rss_kib(&run->world.hubd), before_cpu = child_cpu_us(&run->world.hubd);
    uint64_t begun_us = clock_monotonic_us();
    if (!crew_start(&run->crew))
        return false;
    double took_s = (double)(clock_monotonic_us() - begun_us) / 1e6;
    double count = (double)layout.payers * layout.processes;
    uint64_t cpu_us = child_cpu_us(&run->world.hubd) - before_cpu;
    /* Idle for a while: a link that cannot stay is told by crew_is_well. */
    for (uint64_t i = 0; i < run->flags.seconds * 4; i++) {
        world_progress(&run->world, "%.0f connections, idle", count);
        if (!world_pause(&run->world, 250000) || !crew_is_well(&run->crew))
            return false;
    }
    uint64_t after_kib = child_rss_kib(&run->world.hubd);
    note_count(run, "connections", (uint64_t)count);
    note(run, "connect_s", took_s);
    note(run, "handshakes_per_s", count / took_s);
    note(run, "hub_cpu_us_per_handshake", (double)cpu_us / count);
    note(run, "hub_rss_before_mib", (double)before_kib / 1024);
    note(run, "kib_per_connection", ((double)after_kib - (double)before_kib) / count);
    run->hub_rss_mib = (double)after_kib / 1024;
    return finish(run) && crew_leave(&run->crew);
}

const struct workload workloads[] = {
    {"single", "one payment per update, payers and payees all distinct: nothing coalesces", run_single, 512,
     0, 1},
    {"busy", "64 payers, 16 merchants, updates as full as they can be", run_busy, 64, 16, 4 * BODY_PAYMENTS},
    {"mobile-money", "10,000 people and their shops, as a real service was used", run_mobile_money, 10000, 0,
     512},
    {"locked", "single with hash-locked payments only", run_locked, 512, 0, 1},
    {"mixed", "single with one payment in ten locked", run_mixed, 512, 0, 1},
    {"steady", "payments at a fixed rate, latency from the moment each was due", run_steady, 512, 0, 1},
    {"scale", "idle channels: memory of each, restart, and payments beside them", run_scale, 64, 0, 1},
    {"history", "single and busy on an empty hub and with old payments on disk", run_history, 512, 0, 1},
    {"tower", "a watchtower: storage per channel, catching up with appointments and blocks", run_tower, 0, 0,
     1},
    {"tower-busy", "busy with a tower that is well, is stopped, and hangs", run_busy_with_tower, 64, 16,
     BODY_PAYMENTS /* under way for less than a turn */},
    {"connections", "idle TLS connections: memory of each", run_connections, 10000, 0, 1},
    {"http", "HTTP requests that are paid, through rill-merchantd proxy", http_run, 128, 1, 1},
};
const size_t workload_count = ARRAY_LENGTH(workloads);
