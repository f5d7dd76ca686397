/* tower-busy: payments beside a tower that is well, gone, or hangs. The payments never pause; what changes is the tower, in
 * short turns of shuffled order, so that what the machine does beside meets all three states alike. What is compared is
 * compared within a round of three turns. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/run.h"
#include "bench/spread.h"

#define SLICE_S_MAX   2
#define LEAD_US       500000
#define RETURN_MS     30000
#define LOOK_EVERY_US 50000

enum tower_state { HEALTHY, STOPPED, HANGING, STATE_COUNT };
static const char *const state_names[STATE_COUNT] = {"healthy", "stopped", "hanging"};

/* The turns of a run: whose is next, and in which state the tower is. */
struct turns {
    struct run *run;
    enum tower_state now;
    unsigned char *states; /* by turn */
};

/* A tower that the hub has found (again) signs receipts: more than these. */
static bool wait_for_receipts(struct world *world, uint64_t before)
{
    uint64_t now, end_us = clock_monotonic_us() + RETURN_MS * 1000ull;
    for (;;) {
        if (!world_ask_tower(world, "receipts_total", &now))
            return false;
        if (now > before)
            return true;
        if (clock_monotonic_us() > end_us)
            return world_fail(world, "the hub did not find its tower again in %d s", RETURN_MS / 1000);
        if (!world_pause(world, LOOK_EVERY_US))
            return false;
    }
}

static bool wake(struct turns *turns)
{
    struct world *world = &turns->run->world;
    if (turns->now != HANGING)
        return true;
    turns->now = HEALTHY;
    return kill(world->towerd.pid, SIGCONT) == 0 || world_fail(world, "the tower cannot be woken");
}

static bool make_healthy(struct turns *turns)
{
    struct world *world = &turns->run->world;
    uint64_t receipts = 0; /* one that starts counts from there */
    double seconds;
    bool good = turns->now == STOPPED ? world_start_tower(world, &seconds)
                                      : wake(turns) && world_ask_tower(world, "receipts_total", &receipts);
    turns->now = HEALTHY;
    return good && wait_for_receipts(world, receipts);
}

/* From any state to the turn's. */
static bool begin_turn(void *context, size_t turn)
{
    struct turns *turns = context;
    struct world *world = &turns->run->world;
    enum tower_state next = (enum tower_state)turns->states[turn];
    if (turns->now == next)
        return true;
    if (!make_healthy(turns))
        return false;
    turns->now = next;
    if (next == STOPPED)
        return world_stop_tower(world);
    return next != HANGING || kill(world->towerd.pid, SIGSTOP) == 0 ||
           world_fail(world, "the tower cannot be stopped");
}

/* Each round has each state once. */
static void shuffle(struct turns *turns, size_t rounds, uint64_t seed)
{
    unsigned short state[3] = {(unsigned short)seed, (unsigned short)(seed >> 16), 1};
    for (size_t round = 0; round < rounds; round++) {
        unsigned char *order = &turns->states[round * STATE_COUNT];
        for (unsigned char i = 0; i < STATE_COUNT; i++) {
            unsigned char at = (unsigned char)((unsigned long)nrand48(state) % (i + 1u));
            order[i] = order[at];
            order[at] = i;
        }
    }
}

/* What the states came to, round by round. */
struct rounds {
    size_t count;
    double *rates[STATE_COUNT], *cpu_us[STATE_COUNT];
};

static void sort_slices(const struct turns *turns, const struct slice *slices, struct rounds *rounds)
{
    for (size_t i = 0; i < rounds->count * STATE_COUNT; i++) {
        const struct slice *slice = &slices[i];
        unsigned state = turns->states[i];
        rounds->rates[state][i / STATE_COUNT] = (double)slice->payments / slice->seconds;
        rounds->cpu_us[state][i / STATE_COUNT] =
            slice->payments > 0 ? (double)slice->hub_cpu_us / (double)slice->payments : 0;
    }
}

static void note(struct run *run, const char *what, const char *which, double value)
{
    char name[96];
    snprintf(name, sizeof(name), "%s%s", what, which);
    json_object_set_new(run->extra, name, json_real(value));
}

/* Of the ratios within each round. */
static void note_ratio(struct run *run, const char *name, const double *values, const double *base,
                       size_t count)
{
    double *ratios = xmalloc(count * sizeof(*ratios));
    for (size_t i = 0; i < count; i++)
        ratios[i] = base[i] > 0 ? values[i] / base[i] : 0;
    struct spread spread = spread_of(ratios, count);
    free(ratios);
    note(run, name, "", spread.median);
    note(run, name, "_low", spread.low);
    note(run, name, "_high", spread.high);
    note(run, name, "_q1", spread.lower_quartile);
    note(run, name, "_q3", spread.upper_quartile);
}

static void note_rounds(struct run *run, const struct rounds *rounds)
{
    size_t count = rounds->count;
    note(run, "rounds", "", (double)count);
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        note(run, "payments_per_s_", state_names[i], spread_of(rounds->rates[i], count).median);
        note(run, "hub_cpu_us_per_payment_", state_names[i], spread_of(rounds->cpu_us[i], count).median);
    }
    note_ratio(run, "rate_healthy_to_stopped", rounds->rates[HEALTHY], rounds->rates[STOPPED], count);
    note_ratio(run, "rate_hanging_to_stopped", rounds->rates[HANGING], rounds->rates[STOPPED], count);
    note_ratio(run, "cpu_healthy_to_stopped", rounds->cpu_us[HEALTHY], rounds->cpu_us[STOPPED], count);
    note_ratio(run, "cpu_hanging_to_stopped", rounds->cpu_us[HANGING], rounds->cpu_us[STOPPED], count);
}

static bool measure_turns(struct turns *turns, const struct load_plan *plan, struct rounds *rounds)
{
    struct run *run = turns->run;
    size_t count = rounds->count * STATE_COUNT;
    uint64_t slice_s = run->flags.seconds < SLICE_S_MAX ? run->flags.seconds : SLICE_S_MAX;
    const struct slicing slicing = {begin_turn, turns, count, LEAD_US, slice_s * 1000000};
    struct slice *slices = xcalloc(count, sizeof(*slices));
    bool good =
        measure_slices(&run->crew, plan, "tower-busy", run->flags.warm_up_s, &slicing, slices, run->figures);
    if (good)
        sort_slices(turns, slices, rounds);
    free(slices);
    return wake(turns) && good; /* also after a failure: one that hangs does not hear that it should end */
}

static bool play_rounds(struct run *run, const struct load_plan *plan)
{
    struct rounds rounds = {.count = (size_t)run->flags.rounds};
    struct turns turns = {.run = run, .states = xcalloc(rounds.count, STATE_COUNT)};
    double *values = xcalloc(rounds.count * STATE_COUNT * 2, sizeof(*values));
    for (size_t i = 0; i < STATE_COUNT; i++) {
        rounds.rates[i] = values + 2 * i * rounds.count;
        rounds.cpu_us[i] = values + (2 * i + 1) * rounds.count;
    }
    shuffle(&turns, rounds.count, run->flags.seed);
    bool good = measure_turns(&turns, plan, &rounds) && (turns.now != STOPPED || make_healthy(&turns));
    if (good)
        note_rounds(run, &rounds);
    free(values);
    free(turns.states);
    return good;
}

bool run_tower_busy(struct run *run, const struct crew_layout *layout, const struct load_plan *plan)
{
    struct world *world = &run->world;
    double seconds;
    char towers[128], text[ADDRESS_TEXT_SIZE];
    uint64_t receipts;
    run->figures = figures_new();
    if (!world_make_tower(world) || !world_start_tower(world, &seconds) ||
        !crew_open(&run->crew, world, layout))
        return false;
    snprintf(towers, sizeof(towers), "%s@127.0.0.1:%u", address_text(&world->tower, text), world->tower_port);
    setenv("RILL_HUBD_TOWER", towers, 1);
    if (!world_start_hub(world, &seconds) || !crew_start(&run->crew) || !play_rounds(run, plan) ||
        !world_ask_tower(world, "receipts_total", &receipts))
        return false;
    note(run, "receipts_in_the_end", "", (double)receipts);
    return floor_measure(&run->floor) && crew_check(&run->crew) && crew_leave(&run->crew) &&
           world_stop_tower(world);
}
