#include "tests/sim/seeds.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/bugs.h"

#define PROGRESS_MS 2000

/* What a process that runs seeds leaves for this one. */
struct shared {
    struct sim_coverage coverage;
    uint64_t seed, done, hash;
};

static struct shared *shared_new(void)
{
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ensure(shared != MAP_FAILED);
    return shared;
}

static _Noreturn void run_child(const struct sim_options *options, uint64_t count, unsigned bug, int said,
                                struct shared *shared)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(said, STDERR_FILENO);
    sim_plant(bug);
    for (uint64_t i = 0; i < count; i++) {
        struct sim_options one = *options;
        one.seed = shared->seed = options->seed + i;
        shared->hash = sim_run(&one, &shared->coverage);
        shared->done = i + 1;
    }
    fflush(stdout);
    _exit(0);
}

/* The last line that the process said, without what is the same for all. */
static void read_last_line(int said, char out[512])
{
    char text[4096];
    off_t end = lseek(said, 0, SEEK_END),
          from = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
    ssize_t got = pread(said, text, sizeof(text) - 1, from);
    size_t length = got < 0 ? 0 : (size_t)got;
    while (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
    const char *line = strrchr(text, '\n');
    snprintf(out, 512, "%.500s", line == NULL ? text : line + 1);
}

/* A sanitizer says why in its first line, and much after it. */
static void read_why(int said, int status, char out[512])
{
    char text[65536];
    ssize_t got = pread(said, text, sizeof(text) - 1, 0);
    text[got < 0 ? 0 : got] = '\0';
    const char *error = strstr(text, "ERROR: ");
    if (error == NULL)
        error = strstr(text, "runtime error: ");
    if (error != NULL)
        snprintf(out, 512, "%.*s", (int)strcspn(error, "\n"), error);
    else
        read_last_line(said, out);
    if (out[0] == '\0')
        snprintf(out, 512, "it ended with status %d and said nothing", status);
}

/* Waits for the child; every two seconds people are told how far it is. */
static int wait_for(pid_t child, const struct shared *shared, const struct seed_progress *progress)
{
    int status;
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    const struct timespec pause = {PROGRESS_MS / 1000, 0};
    for (;;) {
        pid_t got = waitpid(child, &status, WNOHANG);
        ensure(got >= 0);
        if (got == child)
            return status;
        if (sigtimedwait(&ended, NULL, &pause) < 0 && errno == EAGAIN && progress != NULL)
            fprintf(stderr, "%llu of %llu seeds\n", (unsigned long long)(progress->before + shared->done),
                    (unsigned long long)progress->of);
    }
}

static void coverage_add(struct sim_coverage *sum, const struct sim_coverage *one)
{
    _Static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "nothing but uint64_t");
    uint64_t *into = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        into[i] += from[i];
}

struct seed_verdict seeds_run(const struct sim_options *options, uint64_t count, unsigned bug, uint64_t *done,
                              struct sim_coverage *coverage, const struct seed_progress *progress)
{
    struct shared *shared = shared_new();
    struct seed_verdict verdict = {0};
    int said = memfd_create("rill-sim", MFD_CLOEXEC);
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ended, NULL);
    ensure(said >= 0);
    fflush(stdout);
    pid_t child = fork();
    ensure(child >= 0);
    if (child == 0)
        run_child(options, count, bug, said, shared);
    int status = wait_for(child, shared, progress);
    verdict.good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && shared->done == count;
    verdict.seed = shared->seed;
    verdict.hash = shared->hash;
    *done = shared->done + !verdict.good;
    if (!verdict.good)
        read_why(said, status, verdict.why);
    if (coverage != NULL)
        coverage_add(coverage, &shared->coverage);
    close(said);
    munmap(shared, sizeof(*shared));
    return verdict;
}

struct seed_verdict seed_run(const struct sim_options *options, unsigned bug)
{
    uint64_t done;
    return seeds_run(options, 1, bug, &done, NULL, NULL);
}

/* ---- shrinking ---- */

static bool still_bad(const struct sim_options *options, unsigned bug)
{
    return !seed_run(options, bug).good;
}

static void shrink_clients(struct sim_options *options, unsigned bug)
{
    for (uint32_t clients = 2; clients < SIM_CLIENTS_MAX; clients++) {
        struct sim_options smaller = *options;
        smaller.clients_max = clients;
        if (still_bad(&smaller, bug)) {
            *options = smaller;
            return;
        }
    }
}

/* The shortest life found by halving: a longer one may be good and a shorter one bad. */
static void shrink_steps(struct sim_options *options, unsigned bug)
{
    uint32_t good = 0, bad = options->steps_max != 0 ? options->steps_max : 8192;
    while (bad - good > 8) {
        struct sim_options smaller = *options;
        smaller.steps_max = good + (bad - good) / 2;
        if (still_bad(&smaller, bug))
            bad = smaller.steps_max;
        else
            good = smaller.steps_max;
    }
    struct sim_options smaller = *options;
    smaller.steps_max = bad;
    if (still_bad(&smaller, bug))
        *options = smaller;
}

static void shrink_faults(struct sim_options *options, unsigned bug)
{
    for (unsigned fault = 0; fault < SIM_FAULT_COUNT; fault++) {
        struct sim_options smaller = *options;
        smaller.faults_off |= 1ull << fault;
        if (still_bad(&smaller, bug))
            *options = smaller;
    }
}

struct sim_options seed_shrink(const struct sim_options *options, unsigned bug)
{
    struct sim_options smallest = *options;
    smallest.trace = false;
    shrink_clients(&smallest, bug);
    shrink_steps(&smallest, bug);
    shrink_faults(&smallest, bug);
    shrink_steps(&smallest, bug);
    return smallest;
}

void seed_print_command(FILE *out, const struct sim_options *options, unsigned bug)
{
    fprintf(out, "build/sim/rill-sim --seed %llu", (unsigned long long)options->seed);
    if (options->clients_max != 0)
        fprintf(out, " --clients %u", options->clients_max);
    if (options->steps_max != 0)
        fprintf(out, " --steps %u", options->steps_max);
    const char *before = " --off ";
    for (unsigned fault = 0; fault < SIM_FAULT_COUNT; fault++) {
        if ((options->faults_off >> fault & 1) == 0)
            continue;
        fprintf(out, "%s%s", before, sim_fault_name((enum sim_fault)fault));
        before = ",";
    }
    for (size_t i = 0; bug != 0 && i < sim_bug_count; i++)
        if (sim_bugs[i].number == bug)
            fprintf(out, " --bug %s", sim_bugs[i].name);
    fputc('\n', out);
}
