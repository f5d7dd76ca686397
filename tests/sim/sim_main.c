/* rill-sim: runs seeds of the simulator, shows one of them, makes a bad one small, and plants bugs to see them found. */
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "tests/sim/bugs.h"
#include "tests/sim/seeds.h"

#define FAILURES_SHOWN_MAX 20
#define REPLAYS            5
#define COVERED_FROM       300 /* seeds, from which on every class must have happened */

struct flags {
    uint64_t seed, seeds, from, clients, steps;
    const char *off, *bug;
    bool trace, shrink, bugs;
};

static enum options_result read_flags(struct flags *flags, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"seeds", OPTION_NUMBER, &flags->seeds, "300", 1, UINT64_MAX, "NUMBER", "How many seeds to run."},
        {"from", OPTION_NUMBER, &flags->from, "1", 0, UINT64_MAX, "SEED", "The first of them."},
        {"seed", OPTION_NUMBER, &flags->seed, "0", 0, UINT64_MAX, "SEED",
         "Run this one only; 0: see --seeds."},
        {"trace", OPTION_FLAG, &flags->trace, "false", 0, 0, "true|false",
         "With --seed: every step of it on stdout: number, virtual seconds, what happened."},
        {"shrink", OPTION_FLAG, &flags->shrink, "false", 0, 0, "true|false",
         "With --seed: look for the smallest world in which it is still bad."},
        {"clients", OPTION_NUMBER, &flags->clients, "0", 0, SIM_CLIENTS_MAX, "NUMBER",
         "At most so many clients; 0: as the seed says."},
        {"steps", OPTION_NUMBER, &flags->steps, "0", 0, 1000000, "NUMBER",
         "At most so many steps before faults stop; 0: as the seed says."},
        {"off", OPTION_TEXT, &flags->off, NULL, 0, 0, "CLASS,…",
         "Classes of faults that must not happen, by the names that a run prints."},
        {"bug", OPTION_TEXT, &flags->bug, NULL, 0, 0, "NAME", "Plant this bug; a wrong name lists them all."},
        {"bugs", OPTION_FLAG, &flags->bugs, "false", 0, 0, "true|false",
         "Plant each bug in turn, and count the seeds until it is found."},
    };
    const struct options options = {
        .program = "rill-sim",
        .environment_prefix = "RILL_SIM",
        .usage = "[OPTIONS]",
        .about =
            "Plays a hub, wallets, watchtowers and the ledger's contract in one thread, with everything that "
            "may go\n"
            "wrong, and checks after each step that nobody honest has lost anything. A seed is a whole life; "
            "the same\n"
            "seed is the same life. docs/reliability.md says what is checked.\n"
            "Example: rill-sim --seeds 1000; then, of a bad one, rill-sim --seed 17 --shrink, and --trace\n"
            "Exit codes: 0 all good, 1 a seed is bad, or a planted bug was not found, 2 wrong usage.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    size_t words;
    return options_read(&options, argc, argv, NULL, 0, &words);
}

static bool read_off(const char *text, uint64_t *off)
{
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        unsigned fault = 0;
        while (fault < SIM_FAULT_COUNT && (strlen(sim_fault_name((enum sim_fault)fault)) != length ||
                                           memcmp(sim_fault_name((enum sim_fault)fault), text, length) != 0))
            fault++;
        if (fault == SIM_FAULT_COUNT) {
            fprintf(stderr, "rill-sim: --off: there is no class '%.*s'; they are:", (int)length, text);
            for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
                fprintf(stderr, " %s", sim_fault_name((enum sim_fault)i));
            fputc('\n', stderr);
            return false;
        }
        *off |= 1ull << fault;
        text += length + (text[length] == ',');
    }
    return true;
}

static bool read_bug(const char *name, unsigned *bug)
{
    if (name == NULL)
        return true;
    for (size_t i = 0; i < sim_bug_count; i++)
        if (strcmp(sim_bugs[i].name, name) == 0) {
            *bug = sim_bugs[i].number;
            if (*bug != 0)
                return true;
            fprintf(stderr, "rill-sim: this build has no planted bugs: use build/sim/rill-sim\n");
            return false;
        }
    fprintf(stderr, "rill-sim: --bug: there is no '%s'; they are:\n", name);
    for (size_t i = 0; i < sim_bug_count; i++)
        fprintf(stderr, "  %-24s %s\n", sim_bugs[i].name, sim_bugs[i].what);
    return false;
}

/* ---- one seed ---- */

static int run_one(struct sim_options *options, unsigned bug, bool shrink)
{
    if (options->trace) {
        static struct sim_coverage coverage;
        sim_plant(bug);
        printf("good, trace %016llx\n", (unsigned long long)sim_run(options, &coverage));
        return 0;
    }
    struct seed_verdict verdict = seed_run(options, bug);
    if (verdict.good) {
        printf("seed %llu is good, trace %016llx\n", (unsigned long long)options->seed,
               (unsigned long long)verdict.hash);
        return 0;
    }
    printf("%s\n", verdict.why);
    if (shrink) {
        struct sim_options smallest = seed_shrink(options, bug);
        verdict = seed_run(&smallest, bug);
        printf("smaller: %s\n  ", verdict.why);
        seed_print_command(stdout, &smallest, bug);
    }
    return 1;
}

/* ---- many ---- */

static void print_bad(const struct sim_options *options, const struct seed_verdict *verdict, unsigned bug)
{
    struct sim_options one = *options;
    one.seed = verdict->seed;
    printf("FAILED: %s\n  ", verdict->why);
    seed_print_command(stdout, &one, bug);
}

static uint64_t run_seeds(const struct sim_options *options, uint64_t count, unsigned bug,
                          struct sim_coverage *coverage)
{
    uint64_t bad = 0;
    for (uint64_t at = 0; at < count;) {
        struct sim_options rest = *options;
        struct seed_progress progress = {at, count};
        uint64_t done;
        rest.seed += at;
        struct seed_verdict verdict = seeds_run(&rest, count - at, bug, &done, coverage, &progress);
        at += done;
        if (verdict.good)
            break;
        print_bad(options, &verdict, bug);
        if (++bad == FAILURES_SHOWN_MAX) {
            printf("%llu seeds are bad; the other %llu have not run\n", (unsigned long long)bad,
                   (unsigned long long)(count - at));
            break;
        }
    }
    return bad;
}

/* The same seed is the same life. */
static uint64_t run_replays(const struct sim_options *options, uint64_t count)
{
    uint64_t bad = 0;
    for (unsigned i = 0; i < REPLAYS; i++) {
        struct sim_options one = *options;
        one.seed += count * i / REPLAYS;
        struct seed_verdict first = seed_run(&one, 0), second = seed_run(&one, 0);
        if (first.good && second.good && first.hash != second.hash) {
            printf("FAILED: seed %llu was two lives: traces %016llx and %016llx\n",
                   (unsigned long long)one.seed, (unsigned long long)first.hash,
                   (unsigned long long)second.hash);
            bad++;
        }
    }
    return bad;
}

/* Returns how many classes never happened. */
static uint64_t print_coverage(const struct sim_coverage *coverage, uint64_t off)
{
    static const char *const faults[] = {
#define X(name, text, what) what,
        SIM_FAULTS(X)
#undef X
    };
    static const struct {
        const char *name, *what;
    } deeds[] = {
#define X(name, text, what) {text, what},
        SIM_DEEDS(X)
#undef X
    };
    uint64_t never = 0;
    printf("%llu seeds, %llu steps, %llu frames, %llu blocks, %llu payments\n",
           (unsigned long long)coverage->seeds, (unsigned long long)coverage->steps,
           (unsigned long long)coverage->frames, (unsigned long long)coverage->blocks,
           (unsigned long long)coverage->payments);
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        printf("  %-18s %10llu  %s\n", sim_fault_name((enum sim_fault)i),
               (unsigned long long)coverage->faults[i], faults[i]);
        never += coverage->faults[i] == 0 && (off >> i & 1) == 0;
    }
    for (unsigned i = 0; i < SIM_DEED_COUNT; i++) {
        printf("  %-18s %10llu  %s\n", deeds[i].name, (unsigned long long)coverage->deeds[i], deeds[i].what);
        never += coverage->deeds[i] == 0;
    }
    return never;
}

static int run_many(const struct sim_options *options, uint64_t count, unsigned bug)
{
    static struct sim_coverage coverage;
    uint64_t bad = run_seeds(options, count, bug, &coverage);
    uint64_t other = run_replays(options, count), tests = count + REPLAYS;
    uint64_t never = print_coverage(&coverage, options->faults_off);
    if (count >= COVERED_FROM) {
        tests++;
        if (never > 0)
            printf("FAILED: %llu classes never happened\n", (unsigned long long)never);
        other += never > 0;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)(tests - bad - other),
           (unsigned long long)(bad + other));
    return bad + other == 0 ? 0 : 1;
}

/* ---- bugs ---- */

static int run_bugs(const struct sim_options *options)
{
    uint64_t missed = 0;
    if (!sim_can_plant()) {
        fprintf(stderr, "rill-sim: this build has no planted bugs: use build/sim/rill-sim\n");
        return 2;
    }
    for (size_t i = 0; i < sim_bug_count; i++) {
        const struct sim_bug *bug = &sim_bugs[i];
        uint64_t done;
        struct seed_verdict verdict = seeds_run(options, bug->seeds_max, bug->number, &done, NULL, NULL);
        if (verdict.good)
            printf("FAILED: %-24s not found in %llu seeds: %s\n", bug->name,
                   (unsigned long long)bug->seeds_max, bug->what);
        else
            printf("%-24s found by seed %5llu of at most %5llu: %s\n", bug->name, (unsigned long long)done,
                   (unsigned long long)bug->seeds_max, verdict.why);
        fflush(stdout);
        missed += verdict.good;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)(sim_bug_count - missed),
           (unsigned long long)missed);
    return missed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct flags flags;
    unsigned bug = 0;
    switch (read_flags(&flags, argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_WRONG:
        return 2;
    case OPTIONS_RUN:
        break;
    }
    log_setup("rill-sim", LOG_ERROR + 1, false); /* what is wrong, the simulator says itself */
    struct sim_options options = {.seed = flags.seed != 0 ? flags.seed : flags.from,
                                  .clients_max = (uint32_t)flags.clients,
                                  .steps_max = (uint32_t)flags.steps,
                                  .trace = flags.trace};
    if (!read_off(flags.off, &options.faults_off) || !read_bug(flags.bug, &bug))
        return 2;
    if ((flags.trace || flags.shrink) && flags.seed == 0) {
        fprintf(stderr, "rill-sim: --trace and --shrink are for one seed: add --seed SEED\n");
        return 2;
    }
    if (flags.bugs)
        return run_bugs(&options);
    return flags.seed != 0 ? run_one(&options, bug, flags.shrink) : run_many(&options, flags.seeds, bug);
}
