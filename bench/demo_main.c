/* rill-demo: a market day on a real ledger, hub and watchtower, told as it happens; it ends with an audit. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/options.h"
#include "bench/demo.h"

#define LOG_TAIL_BYTES 1500
#define TICK_MS        50
#define RETRY_TICKS    8

static enum options_result read_flags(struct demo_flags *flags, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"seed", OPTION_NUMBER, &flags->seed, "2016", 0, UINT32_MAX, "NUMBER", "Who pays whom how much."},
        {"folder", OPTION_TEXT, &flags->folder, "build/demo", 0, 0, "FOLDER",
         "Journals, keystores and logs of this run; removed first. The figures go beside it, FOLDER.json."},
        {"ledger", OPTION_CHOICE, &flags->ledger, "embedded", 0, 0, "embedded|evm",
         "rill-ledgerd, or anvil (an EVM node) with the contract in Solidity."},
        {"anvil", OPTION_TEXT, &flags->anvil, "ledger/contracts/node_modules/.bin/anvil", 0, 0, "FILE",
         "anvil's program, for --ledger evm."},
        {"stay", OPTION_FLAG, &flags->stay, "false", 0, 0, "true|false",
         "After the day keep everything running until Ctrl-C or SIGTERM, with a wallet that can pay; where "
         "it is goes into FOLDER/env."},
        {"json", OPTION_FLAG, &flags->json, "false", 0, 0, "true|false",
         "Print the figures as JSON on stdout, the story on stderr."},
    };
    const struct options options = {
        .program = "rill-demo",
        .environment_prefix = "RILL_DEMO",
        .usage = "[OPTIONS]",
        .about =
            "Plays a market day on loopback: starts a ledger, rill-towerd and rill-hubd, issues an asset, "
            "opens\n"
            "channels for forty wallets and five merchants (the main shop is a rill-merchantd, used by its "
            "HTTP API\n"
            "alone), lets them pay (amounts and activity drawn from figures of a real mobile-money "
            "service),\n"
            "settles a batch, kills the hub, catches a cheat, and accounts for every unit.\n"
            "Example: rill-demo --seed 7\n"
            "With --stay a web developer has a hub, a shop's API and a customer to try: docs/merchants.md.\n"
            "Exit codes: 0 the day went well and the money is right, 1 not, 2 wrong usage.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    size_t words;
    return options_read(&options, argc, argv, NULL, 0, &words);
}

/* ---- acts ---- */

static bool act_processes(struct demo *demo)
{
    if (!demo_make_keys(demo))
        return false;
    if (demo_is_evm(demo))
        return demo_start_evm(demo) && demo_follow_ledger(demo);
    if (!demo_start_ledger(demo))
        return false;
    demo_say(demo, "a ledger of its own: %s, a block every 0.3 s, closes can be challenged for %d s",
             demo->ledger_url, DEMO_CHALLENGE_S);
    return demo_follow_ledger(demo);
}

static bool act_money(struct demo *demo)
{
    uint64_t deposits = 0;
    demo->random = mobile_money_seeded(demo->flags.seed);
    demo_make_clients(demo);
    if (!demo_plan_round(demo, DEMO_MORNING) || !demo_fund_operator(demo) || !demo_issue_asset(demo))
        return false;
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        deposits += demo->clients[i].deposit_units;
    demo_say(demo,
             "the operator issues %u " DEMO_SYMBOL
             " (`rill ledger issue`), lists it, and puts %s into the hub's pool",
             DEMO_SUPPLY, demo_coins(demo->pool_units));
    if (!demo_hand_out(demo))
        return false;
    demo_say(demo, "%d people have %s " DEMO_SYMBOL " on the ledger, and a coin for gas", DEMO_DEPOSITORS,
             demo_coins(deposits));
    return true;
}

static bool act_channels(struct demo *demo)
{
    if (!demo_start_tower(demo) || !demo_start_hub(demo))
        return false;
    demo_say(demo, "watchtower on port %u, hub on port %u (base fee %u unit, %u ppm, locks from %s)",
             demo->tower_port, demo->hub_port, DEMO_BASE_FEE, DEMO_FEE_PPM, demo_coins(DEMO_DIRECT_MAX));
    if (!demo_open_channels(demo))
        return false;
    demo_say(
        demo,
        "%d channels are open: %d by their owners' deposits, %d wallets and %d merchants by the hub alone",
        DEMO_CLIENTS, DEMO_DEPOSITORS, DEMO_WALLETS - DEMO_DEPOSITORS, DEMO_MERCHANTS);
    return true;
}

static bool tell_round(struct demo *demo, const char *name, double seconds)
{
    size_t locked, all = demo->payment_count - demo->round_first;
    uint64_t sum = demo_round_sum(demo, &locked);
    demo_say(demo,
             "%s: %zu payments of %s %s in %.1f s (%zu direct, %zu locked), every payer has its receipt",
             name, all, demo_coins(sum), DEMO_SYMBOL, seconds, all - locked, locked);
    return true;
}

static bool act_morning(struct demo *demo)
{
    double before = demo_seconds(demo);
    demo_start_round(demo);
    return demo_wait(demo, demo_round_done, 90000, "the morning") &&
           tell_round(demo, "morning", demo_seconds(demo) - before) && demo_act_paid_twice(demo) &&
           demo_act_offline_merchant(demo);
}

static bool act_afternoon(struct demo *demo)
{
    if (!demo_act_batch(demo) || !demo_plan_round(demo, DEMO_AFTERNOON))
        return false;
    double before = demo_seconds(demo);
    demo_start_round(demo);
    return demo_wait(demo, demo_round_done, 90000, "the afternoon") &&
           tell_round(demo, "afternoon", demo_seconds(demo) - before);
}

static bool act_evening(struct demo *demo)
{
    double before = demo_seconds(demo);
    return demo_act_cheat(demo) && tell_round(demo, "evening", demo_seconds(demo) - before);
}

static bool act_end(struct demo *demo)
{
    char http[32];
    snprintf(http, sizeof(http), "127.0.0.1:%u", demo->hub_http_port);
    const char *const words[] = {"hub", "status", "--http", http, NULL};
    json_t *status = demo_command(demo, words);
    if (status == NULL)
        return false;
    bool healthy = json_is_true(json_object_get(status, "healthy"));
    json_decref(status);
    return (healthy && demo_audit(demo)) || demo_fail(demo, "`rill hub status` says the hub is not healthy");
}

static bool play(struct demo *demo)
{
    static bool (*const acts[])(struct demo * demo) = {act_processes, act_money,   act_channels, act_morning,
                                                       act_afternoon, act_evening, act_end};
    for (size_t i = 0; i < ARRAY_LENGTH(acts); i++)
        if (!acts[i](demo))
            return false;
    return true;
}

/* ---- around them ---- */

static void on_tick(evutil_socket_t descriptor, short what, void *context)
{
    struct demo *demo = context;
    (void)descriptor;
    (void)what;
    if (++demo->ticks % RETRY_TICKS != 0)
        return;
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        if (demo->clients[i].retrying)
            demo_pay_next(&demo->clients[i]);
}

static void on_interrupt(evutil_socket_t number, short what, void *context)
{
    struct demo *demo = context;
    (void)what;
    if (demo->market_is_open)
        demo->leave = true;
    else
        demo_fail(demo, "interrupted by signal %d", (int)number);
}

/* mkdir -p. */
static bool make_folders(char *path)
{
    for (char *at = path + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        bool made = mkdir(path, 0755) == 0 || errno == EEXIST;
        *at = '/';
        if (!made)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Two demos in one folder would remove each other's journals. Held until this process ends. */
static bool lock_folder(struct demo *demo)
{
    char path[DEMO_PATH];
    snprintf(path, sizeof(path), "%.900s.lock", demo->folder);
    demo->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (demo->lock < 0)
        return demo_fail(demo, "%s cannot be made: %s", path, strerror(errno));
    if (flock(demo->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    close(demo->lock);
    demo->lock = -1;
    return demo_fail(demo, "another rill-demo is at work in %s: name another folder with --folder",
                     demo->folder);
}

static bool prepare(struct demo *demo)
{
    char path[DEMO_PATH];
    const struct timeval often = {0, TICK_MS * 1000};
    demo->base = event_base_new();
    ensure(demo->base != NULL);
    demo->tick = event_new(demo->base, -1, EV_PERSIST, on_tick, demo);
    demo->interrupts[0] = evsignal_new(demo->base, SIGINT, on_interrupt, demo);
    demo->interrupts[1] = evsignal_new(demo->base, SIGTERM, on_interrupt, demo);
    ensure(demo->tick != NULL && event_add(demo->tick, &often) == 0);
    for (size_t i = 0; i < ARRAY_LENGTH(demo->interrupts); i++)
        ensure(demo->interrupts[i] != NULL && event_add(demo->interrupts[i], NULL) == 0);
    snprintf(demo->folder, sizeof(demo->folder), "%.900s", demo->flags.folder);
    program_folder(demo->bin, sizeof(demo->bin));
    if (!make_folders(demo->folder))
        return demo_fail(demo, "%s cannot be made: %s", demo->folder, strerror(errno));
    if (!lock_folder(demo))
        return false;
    folder_remove(demo->folder);
    snprintf(path, sizeof(path), "%.900s.json", demo->folder);
    remove(path); /* figures of an earlier day must not stand for this one */
    if (!make_folders(demo->folder))
        return demo_fail(demo, "%s cannot be made: %s", demo->folder, strerror(errno));
    demo->wallet_log = fopen(demo_path(demo, "wallets.log", path), "we");
    return demo->wallet_log != NULL || demo_fail(demo, "%s cannot be written: %s", path, strerror(errno));
}

static void show_tail(const struct demo *demo, const char *name)
{
    char path[DEMO_PATH], text[LOG_TAIL_BYTES + 1];
    FILE *file = fopen(demo_path(demo, name, path), "re");
    if (file == NULL)
        return;
    if (fseek(file, -LOG_TAIL_BYTES, SEEK_END) != 0)
        rewind(file);
    size_t length = fread(text, 1, LOG_TAIL_BYTES, file);
    fclose(file);
    text[length] = '\0';
    if (length > 0)
        fprintf(stderr, "--- the end of %s\n%s%s", path, text, text[length - 1] == '\n' ? "" : "\n");
}

/* Links that were closed send their last bytes. */
static void last_bytes(struct demo *demo)
{
    const struct timeval moment = {0, 300000};
    event_base_loopexit(demo->base, &moment);
    event_base_dispatch(demo->base);
}

void demo_go_home(struct demo *demo)
{
    demo->offline_expected = true;
    demo_close_shop(demo);
    demo_close_clients(demo);
    last_bytes(demo);
}

/* In every case: no process of ours is left. */
static bool clean_up(struct demo *demo, bool good)
{
    demo->hub_is_down = true;
    demo_go_home(demo);
    rill_ledger_free(demo->followed);
    if (demo->ledger != NULL)
        ledger_free(demo->ledger);
    if (good)
        good = demo_stop_processes(demo);
    child_kill(&demo->shop.child);
    child_kill(&demo->hubd);
    child_kill(&demo->towerd);
    child_kill(&demo->ledgerd);
    for (size_t i = 0; i < ARRAY_LENGTH(demo->interrupts); i++)
        event_free(demo->interrupts[i]);
    event_free(demo->tick);
    event_base_free(demo->base);
    if (demo->wallet_log != NULL)
        fclose(demo->wallet_log);
    bytes_wipe(&demo->hub_key, sizeof(demo->hub_key));
    bytes_wipe(&demo->tower_key, sizeof(demo->tower_key));
    bytes_wipe(demo->shop.key, sizeof(demo->shop.key));
    return good;
}

static void forget_payments(struct demo *demo)
{
    for (size_t i = 0; i < demo->payment_count; i++)
        free(demo->payments[i].invoice);
    free(demo->payments);
}

static void tell_figures(const struct demo *demo)
{
    struct demo_figures figures = demo_count(demo);
    demo_say(demo,
             "%" PRIu64 " payments (%" PRIu64 " direct, %" PRIu64 " locked; %" PRIu64 " failed and %" PRIu64
             " sent back, their money returned), %s " DEMO_SYMBOL " gross, %" PRIu64
             " batches on the ledger, seed %" PRIu64,
             figures.payments, figures.direct, figures.locked, figures.failed, figures.refunded,
             demo_coins(figures.gross_units), demo->events.batches, demo->flags.seed);
}

int main(int argc, char **argv)
{
    static struct demo demo = {.cheater = SIZE_MAX, .lock = -1};
    enum options_result read = read_flags(&demo.flags, argc, argv);
    if (read != OPTIONS_RUN)
        return read == OPTIONS_DONE ? 0 : 2;
    log_setup("rill-demo", LOG_ERROR, false);
    signal(SIGPIPE, SIG_IGN);
    demo.story = demo.flags.json ? stderr : stdout;
    demo.started_us = clock_monotonic_us();
    demo_say(&demo, "a market day (seed %" PRIu64 "; logs and journals in %s)", demo.flags.seed,
             demo.flags.folder);
    bool good = prepare(&demo) && play(&demo);
    if (good)
        tell_figures(&demo);
    if (good && demo.flags.stay) /* the figures are written before it is said that all is ready */
        good = clean_up(&demo, demo_stay(&demo));
    else
        good = clean_up(&demo, good) && demo_write_figures(&demo);
    forget_payments(&demo);
    if (good) {
        fprintf(demo.story, "demo: ok\n");
        return 0;
    }
    static const char *const logs[] = {"ledger.log", "tower.log",   "hub.log",
                                       "shop.log",   "wallets.log", "rill.log"};
    for (size_t i = 0; i < ARRAY_LENGTH(logs) && demo.lock >= 0; i++)
        show_tail(&demo, logs[i]);
    fflush(stderr);
    fprintf(demo.story, "demo: FAILED: %s\n", demo.why[0] == '\0' ? "no reason was noted" : demo.why);
    return 1;
}
