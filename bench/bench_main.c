/* rill-bench: starts a real ledger and a real hub, lets clients pay each other through it, and measures. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/options.h"
#include "base/process.h"
#include "bench/plan_bench.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

static const char about[] =
    "Measures a hub on this machine: starts rill-ledgerd and rill-hubd on loopback, plays the clients in\n"
    "a process of its own (or several), and checks the money at the end. Every payment is signed by its\n"
    "payer's own key and durable before anybody hears of it; every signature of the hub is verified, every\n"
    "receipt held against its hash. Latency: from the payer's send to its receipt.\n"
    "\n"
    "Workloads (the first word; single without one):\n"
    "  single        one payment per update, payers and payees all distinct: nothing coalesces\n"
    "  busy          64 payers, 16 merchants, updates as full as they can be; with --locked, locked\n"
    "  mobile-money  10,000 people and their shops, as a real service was used\n"
    "  locked        single with hash-locked payments only\n"
    "  mixed         single with one payment in ten locked\n"
    "  steady        payments at --rate a second, latency from the moment each was due; without --rate\n"
    "                half of what a short calibration finds\n"
    "  scale         --channels idle ones: memory of each, restart, and payments beside them\n"
    "  history       single and busy on an empty hub, then with --payments old ones on disk; restart\n"
    "  plan          how long the hub plans a netted batch over --channels channels; nothing is started\n"
    "  tower         a watchtower: bytes for each of --channels channels, appointments a second after an\n"
    "                outage, blocks a minute\n"
    "  tower-busy    busy beside a tower that is well, is stopped and hangs, in turns of two seconds: "
    "ratios\n"
    "                within each of --rounds, their quartiles, and how sure the median is\n"
    "  connections   TLS connections (a number may follow the word), idle: memory of each\n"
    "  http          HTTP requests paid through rill-merchantd proxy, --clients under way, from one wallet; "
    "latency\n"
    "                at --rate (200) a second, beside the same requests without payment\n"
    "\n"
    "Examples: rill-bench\n"
    "          rill-bench busy --seconds 20 --html busy.html\n"
    "          rill-bench steady --rate 2000 --json steady.json\n"
    "          rill-bench connections 10000\n"
    "--json without a file prints the figures on standard output, in place of the summary. Settings of the\n"
    "hub can be changed for a run by its environment, RILL_HUBD_...: see rill-hubd --help.\n"
    "Exit codes: 0 measured and the money is right, 1 not, 2 wrong usage.";

/* --json may stand alone. What follows it is its file, unless that is a flag, a workload, or nothing. */
static void name_standard_output(int argc, char **argv)
{
    static char standard_output[] = "--json=-";
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool alone = next == NULL || strncmp(next, "--", 2) == 0 || strcmp(next, "plan") == 0 ||
                     workload_find(next) != NULL;
        if (strcmp(argv[i], "--json") == 0 && alone)
            argv[i] = standard_output;
    }
}

static enum options_result read_flags(struct flags *flags, int argc, char **argv, const char **words,
                                      size_t words_max, size_t *word_count)
{
    const struct option_row rows[] = {
        {"seconds", OPTION_NUMBER, &flags->seconds, "10", 1, 86400, "SECONDS",
         "Length of the measured window."},
        {"warm-up-s", OPTION_NUMBER, &flags->warm_up_s, "2", 0, 3600, "SECONDS",
         "Payments before it that are not counted."},
        {"clients", OPTION_NUMBER, &flags->clients, "0", 0, 1000000, "NUMBER",
         "Clients that pay (each of single, locked, mixed and steady has a payee of its own beside it), or "
         "connect; 0: the workload's number."},
        {"window", OPTION_NUMBER, &flags->window, "0", 0, 1000000, "NUMBER",
         "Payments under way per payer; of mobile-money, in all; 0: the workload's number."},
        {"amount", OPTION_NUMBER, &flags->amount, "100", 1, 1000000, "UNITS",
         "Of each payment; mobile-money has its own."},
        {"locked", OPTION_FLAG, &flags->locked, "false", 0, 0, "true|false",
         "Hash-locked payments; mobile-money locks by the hub's direct limit."},
        {"rate", OPTION_NUMBER, &flags->rate, "0", 0, 10000000, "PAYMENTS",
         "steady, http: a second; 0: half of the maximum, 200."},
        {"channels", OPTION_NUMBER, &flags->channels, "100000", 1, 10000000, "NUMBER",
         "scale, tower: idle channels; plan: channels."},
        {"payments", OPTION_NUMBER, &flags->payments, "1000000", 1, 1000000000, "NUMBER",
         "history: old payments."},
        {"blocks", OPTION_NUMBER, &flags->blocks, "12000", 1, 10000000, "NUMBER", "tower: to catch up with."},
        {"rounds", OPTION_NUMBER, &flags->rounds, "20", 1, 1000, "NUMBER",
         "tower-busy: each has --seconds, at most 2, beside each state of the tower."},
        {"seed", OPTION_NUMBER, &flags->seed, "1", 0, UINT32_MAX, "NUMBER", "Who pays whom, and how much."},
        {"load-processes", OPTION_NUMBER, &flags->load_processes, "1", 1, CREW_PROCESSES_MAX, "NUMBER",
         "That the clients are spread over."},
        {"shards", OPTION_NUMBER, &flags->shards, "0", 0, 256, "NUMBER",
         "The hub's --shards; 0: its default."},
        {"json", OPTION_TEXT, &flags->json, NULL, 0, 0, "FILE", "Write the figures there as JSON."},
        {"html", OPTION_TEXT, &flags->html, NULL, 0, 0, "FILE", "Write a report with plots there."},
        {"folder", OPTION_TEXT, &flags->folder, "/tmp", 0, 0, "FOLDER",
         "Where the hub's journal is kept during the run: the disk that is measured."},
        {"keep", OPTION_FLAG, &flags->keep, "false", 0, 0, "true|false",
         "Keep journals and logs afterwards."},
    };
    const struct options options = {.program = "rill-bench",
                                    .environment_prefix = "RILL_BENCH",
                                    .usage = "[WORKLOAD] [OPTIONS]",
                                    .about = about,
                                    .rows = rows,
                                    .row_count = ARRAY_LENGTH(rows)};
    return options_read(&options, argc, argv, words, words_max, word_count);
}

/* The words: a workload, and for connections how many. */
static bool read_words(struct run *run, const char *const *words, size_t count)
{
    run->workload = workload_find(count == 0 ? "single" : words[0]);
    if (run->workload == NULL) {
        fprintf(stderr, "rill-bench: there is no workload '%.40s': see rill-bench --help\n", words[0]);
        return false;
    }
    if (count < 2)
        return true;
    char *end;
    unsigned long clients = strtoul(words[1], &end, 10);
    if (strcmp(run->workload->name, "connections") != 0 || *end != '\0' || clients < 1 || clients > 1000000) {
        fprintf(stderr, "rill-bench: '%.40s' is not understood after %s: see rill-bench --help\n", words[1],
                run->workload->name);
        return false;
    }
    run->flags.clients = clients;
    return true;
}

static bool report(struct run *run)
{
    json_t *json = report_json(run);
    bool good = report_write_json(run, json) && report_write_html(run, json);
    if (good && (run->flags.json == NULL || strcmp(run->flags.json, "-") != 0))
        report_text(stdout, json);
    json_decref(json);
    return good;
}

int main(int argc, char **argv)
{
    static struct run run;
    const char *words[2];
    size_t word_count = 0;
    name_standard_output(argc, argv);
    enum options_result read = read_flags(&run.flags, argc, argv, words, ARRAY_LENGTH(words), &word_count);
    if (read != OPTIONS_RUN)
        return read == OPTIONS_DONE ? 0 : EXIT_USAGE;
    log_setup("rill-bench", LOG_WARN, false);
    if (word_count == 1 && strcmp(words[0], "plan") == 0)
        return plan_bench(&run.flags);
    if (!read_words(&run, words, word_count))
        return EXIT_USAGE;
    process_raise_descriptors(); /* every client is one here, and one in the hub */
    run.extra = json_object();
    run.world.shards = run.flags.shards;
    bool good = world_begin(&run.world, run.flags.folder) && run.workload->run(&run);
    world_progress_end();
    good = good && report(&run);
    if (!good)
        fprintf(stderr, "rill-bench: %s\n", run.world.message);
    crew_free(&run.crew);
    world_end(&run.world, run.flags.keep || (!good && !run.world.interrupted));
    json_decref(run.extra);
    free(run.figures);
    return good ? 0 : EXIT_FAILED;
}
