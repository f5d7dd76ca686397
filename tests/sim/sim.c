/* One seed from beginning to end, and what is said of it. */
#include "tests/sim/sim.h"

#include <stdarg.h>

static const char *const fault_names[] = {
#define X(name, text, what) text,
    SIM_FAULTS(X)
#undef X
};

const char *sim_fault_name(enum sim_fault fault)
{
    return fault_names[fault];
}

void sim_count(struct sim *sim, enum sim_fault fault)
{
    sim->coverage->faults[fault]++;
    sim_trace(sim, "fault: %s", fault_names[fault]);
}

void sim_did(struct sim *sim, enum sim_deed deed)
{
    sim->coverage->deeds[deed]++;
}

bool sim_strikes(struct sim *sim, enum sim_fault fault, unsigned one_in)
{
    if (!sim_has(sim, fault) || sim_roll(sim, one_in) != 0)
        return false;
    sim_count(sim, fault);
    return true;
}

/* What happened, in what order, is in the hash whether it is shown or not. */
void sim_trace(struct sim *sim, const char *format, ...)
{
    sim->trace_hash = (sim->trace_hash ^ sim->random.state ^ sim->now_ms) * 1099511628211u;
    if (!sim->options.trace)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("%7llu %10.3f  ", (unsigned long long)sim->step, (double)sim->now_ms / 1000);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

_Noreturn void sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "seed %llu, step %llu: ", (unsigned long long)sim->options.seed,
            (unsigned long long)sim->step);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

uint64_t sim_run(const struct sim_options *options, struct sim_coverage *coverage)
{
    struct sim *sim = xcalloc(1, sizeof(*sim));
    sim->options = *options;
    sim->coverage = coverage;
    sim->random.state = options->seed * 0x9e3779b97f4a7c15u + 1;
    world_start(sim);
    sim_live(sim);
    sim_drain(sim);
    uint64_t hash = sim->trace_hash;
    coverage->seeds++;
    world_end(sim);
    free(sim->received);
    free(sim->promised);
    free(sim);
    return hash;
}
