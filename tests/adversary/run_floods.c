/* Floods against a live hub while honest clients pay: they keep at least half of their throughput, newcomers get in, the
 * hub's memory stays within a bound, and in the end every unit is where it should be.
 *
 * Throughput is compared within one run: windows without and with the flood take turns, and their sums are compared, by
 * the processor time that the attackers' own process left. If the first windows fail (the machine is shared), as many
 * again are added, twice at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/crew.h"
#include "tests/adversary/floods.h"
#include "wire/link.h"

#define PAIRS         16
#define WINDOW_US     400000
#define SETTLE_US     250000 /* a flood needs a moment to be there, and to be gone */
#define WINDOWS       3
#define ATTEMPTS      3
#define DEPOSIT       10000000u
#define LEAST_PERCENT 50
#define MEMORY_KIB    ((64 + 128) * 1024) /* that a flood may take, and a folding of what was paid meanwhile */
#define NEWCOMERS     10
#define TRIES         20
#define PATIENCE_US   20000000

struct row {
    enum flood_kind kind;
    const char *name;
    bool newcomers; /* it is about getting in */
    uint64_t least; /* connections, handshakes or messages, before it counts as a flood */
};
static const struct row rows[] = {
    {FLOOD_SILENT, "5,000 connections that never speak", true, 500},
    {FLOOD_SILENT_TLS, "300 that speak TLS and then no more", true, 50},
    {FLOOD_HANDSHAKES, "handshakes broken off after CHALLENGE", true, 10},
    {FLOOD_SLOW_WRITERS, "100 clients with a frame that never ends", false, 100},
    {FLOOD_SLOW_READERS, "24 clients that ask and never read", false, 20000},
    {FLOOD_FORGED, "updates with a wrong signature", false, 2000},
    {FLOOD_LARGE, "updates of 600 operations, the last sum wrong", false, 20},
    {FLOOD_AGAIN, "one good update, again and again", false, 2000},
};

static struct {
    struct world world;
    struct crew crew;
    struct flood_share *share;
    struct child flooder;
    struct {
        double quiet, flooded; /* payments a second */
        uint64_t more_kib, done, tries;
        bool held;
    } results[ARRAY_LENGTH(rows)];
} all;

#define MUST(call)                                                                                           \
    do {                                                                                                     \
        if (!(call))                                                                                         \
            fail_msg("%s", all.world.message);                                                               \
    } while (false)

/* ---- the set ---- */

static void make_attackers(struct flood_target *target)
{
    for (size_t i = 0; i < FLOOD_CHANNELS; i++) {
        target->keys[i] = secret_key_random();
        target->channels[i] = (struct channel_key){.client = secret_key_address(&target->keys[i])};
        MUST(world_open_deposited(&all.world, &target->channels[i], DEPOSIT));
    }
    MUST(world_open_end(&all.world));
}

static int set_up(void **state)
{
    (void)state;
    struct rlimit limit;
    struct flood_target target = {.port = 0};
    const char *bin = getenv("RILL_BIN");
    double seconds;
    ensure(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    ensure(setrlimit(RLIMIT_NOFILE, &limit) == 0); /* the hub inherits it */
    if (limit.rlim_cur < 6000) {
        print_error("so many connections need 6000 open files, but %llu are allowed: ulimit -n\n",
                    (unsigned long long)limit.rlim_cur);
        return -1;
    }
    snprintf(all.world.bin, sizeof all.world.bin, "%s", bin != NULL ? bin : "bin");
    all.world.shards = 1; /* everybody meets at one */
    struct crew_layout layout = {
        .processes = 1, .payers = PAIRS, .payees = PAIRS, .start_units = 100000000, .room_units = 100000000};
    MUST(world_begin(&all.world, "/tmp"));
    MUST(crew_open(&all.crew, &all.world, &layout));
    make_attackers(&target);
    MUST(world_start_hub(&all.world, &seconds));
    MUST(crew_start(&all.crew));
    all.share = flood_share_new();
    target.port = all.world.hub_port;
    target.at.chain_id = ledger_chain_id(all.world.ledger);
    target.at.contract = all.world.contract;
    target.at.hub = all.world.hub;
    target.expiry = ledger_head(all.world.ledger).time + 20000;
    if (ledger_head(all.world.ledger).time == 0)
        target.expiry = clock_unix_s() + 20000;
    snprintf(all.flooder.name, sizeof all.flooder.name, "floods");
    all.flooder.pid = flood_start(&target, all.share);
    ensure(all.flooder.pid > 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    child_kill(&all.flooder);
    crew_free(&all.crew);
    world_end(&all.world, false);
    return 0;
}

/* ---- windows ---- */

/* least: how much of the flood there must be before it counts. */
static void set_flood(enum flood_kind kind, uint64_t least)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_US, before = atomic_load(&all.share->done[kind]);
    atomic_store(&all.share->wanted, (int)kind);
    while (atomic_load(&all.share->running) != (int)kind ||
           atomic_load(&all.share->done[kind]) - before < least) {
        if (clock_monotonic_us() > end_us || !child_is_running(&all.flooder))
            fail_msg("the process that floods does not get to it");
        MUST(world_pause(&all.world, 5000));
    }
    MUST(world_pause(&all.world, SETTLE_US));
}

struct window {
    uint64_t paid;
    uint64_t
        us; /* less what the attackers' process took of the processors: it would not be on this machine */
};

static void add_window(struct window *window)
{
    uint64_t paid = crew_count(&all.crew).paid, from_us = clock_monotonic_us();
    uint64_t cpu_us = child_cpu_us(&all.flooder), cores = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    while (clock_monotonic_us() < from_us + WINDOW_US)
        MUST(world_pause(&all.world, WINDOW_US / 10));
    window->paid += crew_count(&all.crew).paid - paid;
    window->us += clock_monotonic_us() - from_us - (child_cpu_us(&all.flooder) - cpu_us) / cores;
    MUST(crew_is_well(&all.crew));
}

static double rate_of(const struct window *window)
{
    return (double)window->paid * 1e6 / (double)window->us;
}

static bool keeps_enough(const struct window *quiet, const struct window *flooded)
{
    return rate_of(flooded) * 100 >= rate_of(quiet) * LEAST_PERCENT;
}

static void compare(size_t row)
{
    struct window quiet = {0}, flooded = {0};
    for (int attempt = 0; attempt < ATTEMPTS && (attempt == 0 || !keeps_enough(&quiet, &flooded)); attempt++)
        for (int i = 0; i < WINDOWS; i++) {
            set_flood(FLOOD_NONE, 0);
            add_window(&quiet);
            uint64_t before_kib = child_rss_kib(&all.world.hubd);
            set_flood(rows[row].kind, rows[row].least);
            add_window(&flooded);
            uint64_t kib = child_rss_kib(&all.world.hubd);
            if (kib > before_kib && kib - before_kib > all.results[row].more_kib)
                all.results[row].more_kib = kib - before_kib;
        }
    all.results[row].quiet = rate_of(&quiet);
    all.results[row].flooded = rate_of(&flooded);
    all.results[row].done = atomic_load(&all.share->done[rows[row].kind]);
    assert_true(all.results[row].done > 0);
    if (!keeps_enough(&quiet, &flooded))
        fail_msg("%.0f payments a second of %.0f", rate_of(&flooded), rate_of(&quiet));
    if (all.results[row].more_kib > MEMORY_KIB)
        fail_msg("the flood makes the hub take %llu KiB more", (unsigned long long)all.results[row].more_kib);
}

/* ---- newcomers ---- */

struct newcomer {
    bool ready, closed;
};

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    (void)link;
    (void)peer;
    (void)welcome;
    ((struct newcomer *)context)->ready = true;
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    (void)context;
    (void)link;
    (void)message;
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    (void)link;
    (void)why;
    (void)reason;
    ((struct newcomer *)context)->closed = true;
}

static bool one_gets_in(void)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    struct newcomer newcomer = {false, false};
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = all.world.hub_port,
                                          .key = secret_key_random(),
                                          .chain_id = ledger_chain_id(all.world.ledger),
                                          .contract = all.world.contract,
                                          .server = all.world.hub,
                                          .agent = "newcomer"};
    struct link *link = link_connect(all.world.base, &options, &callbacks, &newcomer);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_US;
    while (!newcomer.ready && !newcomer.closed && clock_monotonic_us() < end_us)
        MUST(world_pause(&all.world, 1000));
    if (!newcomer.closed)
        link_close(link);
    return newcomer.ready;
}

/* While the flood goes on, each newcomer is in after a few tries at most, as a wallet makes them. */
static void newcomers_get_in(size_t row)
{
    for (int i = 0; i < NEWCOMERS; i++) {
        int tries = 1;
        while (!one_gets_in())
            if (++tries > TRIES)
                fail_msg("newcomer %d is not in after %d tries", i + 1, TRIES);
        all.results[row].tries += (uint64_t)tries;
    }
}

static void run_flood(void **state)
{
    size_t row = *(const size_t *)*state;
    const struct load_plan plan = {.pattern = LOAD_PAIRS,
                                   .payers = PAIRS,
                                   .first_payee = PAIRS,
                                   .payees = PAIRS,
                                   .window = 4,
                                   .batch = 1,
                                   .amount = 10};
    crew_begin(&all.crew, &plan);
    crew_phase(&all.crew, LOAD_MEASURE);
    compare(row);
    if (rows[row].newcomers)
        newcomers_get_in(row);
    set_flood(FLOOD_NONE, 0);
    crew_phase(&all.crew, LOAD_DRAIN);
    MUST(crew_wait(&all.crew, PATIENCE_US / 1000));
    all.results[row].held = true;
}

static int after_flood(void **state)
{
    (void)state;
    atomic_store(&all.share->wanted, FLOOD_NONE);
    return 0;
}

/* Every honest client has what its payments say; with the attackers' deposits, so has the ledger. */
static void test_every_unit_is_there(void **state)
{
    (void)state;
    const struct load_money *money = &all.crew.shares[0]->money;
    assert_true(money->balance == money->expected);
    assert_int_equal(money->paid, money->received);
    assert_int_equal(crew_count(&all.crew).failed, 0);
    MUST(world_check_money(&all.world, money->balance + (wide)DEPOSIT * FLOOD_CHANNELS));
    MUST(crew_leave(&all.crew));
    MUST(world_stop_hub(&all.world));
}

int main(void)
{
    static size_t indices[ARRAY_LENGTH(rows)];
    static struct CMUnitTest tests[ARRAY_LENGTH(rows) + 1];
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        indices[i] = i;
        tests[i] = (struct CMUnitTest){rows[i].name, run_flood, NULL, after_flood, &indices[i]};
    }
    tests[ARRAY_LENGTH(rows)] =
        (struct CMUnitTest){"every unit is where it should be", test_every_unit_is_there, NULL, NULL, NULL};
    int failed = _cmocka_run_group_tests("floods", tests, ARRAY_LENGTH(tests), set_up, tear_down);
    printf("%-46s %9s %9s %6s %9s %10s\n", "flood", "quiet/s", "flooded/s", "kept", "MiB more", "attempts");
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        printf("%-46s %9.0f %9.0f %5.0f%% %9.1f %10llu  %s\n", rows[i].name, all.results[i].quiet,
               all.results[i].flooded, 100 * all.results[i].flooded / all.results[i].quiet,
               (double)all.results[i].more_kib / 1024, (unsigned long long)all.results[i].done,
               all.results[i].held ? "held" : "BROKEN");
    size_t held = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        held += all.results[i].held;
    failed = failed < 0 ? 1 : failed;
    printf("%zu passed, %d failed\n", held + (failed == (int)(ARRAY_LENGTH(rows) - held)), failed);
    return failed != 0;
}
