/* rill-bench: starts a real ledger and a real hub, lets clients pay each other through it, and measures. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/options.h"
#include "bench/load.h"
#include "bench/spawn.h"
#include "crypto/hash.h"
#include "crypto/keystore.h"
#include "ledger/client.h"

#define UNIT_WEI      1000000000u /* one unit of the native coin */
#define CONTRACT_TEXT "0x52696c6c00000000000000000000000000000001"
#define EXIT_FAILED   1

struct flags {
    uint64_t clients, seconds, window, amount, seed;
    const char *mode, *json_file, *folder;
    bool json, keep;
};

struct bench {
    struct flags flags;
    char folder[256], bin[256], ledger_url[128], message[1024];
    struct child ledgerd, hubd;
    struct secret_key hub_key;
    struct address contract;
    struct event_base *base;
    struct ledger *ledger;
    struct rill_ledger *followed;
    uint16_t hub_port, http_port;
    uint8_t *keys;
    uint64_t deposit, inbound;
    size_t deposits_open, deposits_failed;
};

static enum options_result read_flags(struct flags *flags, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"clients", OPTION_NUMBER, &flags->clients, "100", 2, 20000, "NUMBER",
         "Wallets that pay each other."},
        {"seconds", OPTION_NUMBER, &flags->seconds, "10", 1, 86400, "SECONDS", "How long they pay."},
        {"window", OPTION_NUMBER, &flags->window, "1", 1, 1000, "NUMBER",
         "Payments that each wallet has under way at once."},
        {"amount", OPTION_NUMBER, &flags->amount, "100", 1, 1000000, "UNITS", "Amount of each payment."},
        {"mode", OPTION_CHOICE, &flags->mode, "direct", 0, 0, "direct|locked", "How they pay."},
        {"seed", OPTION_NUMBER, &flags->seed, "1", 0, UINT32_MAX, "NUMBER", "Who pays whom."},
        {"json", OPTION_FLAG, &flags->json, "false", 0, 0, "true|false", "Print the figures as JSON."},
        {"json-file", OPTION_TEXT, &flags->json_file, NULL, 0, 0, "FILE", "Write them there, too."},
        {"folder", OPTION_TEXT, &flags->folder, "/tmp", 0, 0, "FOLDER",
         "Where the hub's journal is kept during the run: the disk that is measured."},
        {"keep", OPTION_FLAG, &flags->keep, "false", 0, 0, "true|false",
         "Keep journals and logs afterwards."},
    };
    const struct options options = {
        .program = "rill-bench",
        .environment_prefix = "RILL_BENCH",
        .usage = "[OPTIONS]",
        .about =
            "Measures a hub on this machine: starts rill-ledgerd and rill-hubd on loopback, opens a channel "
            "per\n"
            "client, lets them pay each other, checks the money at the end. Every payment is signed by its\n"
            "payer and durable before anybody hears of it. Latency: from the payer's send to its receipt.\n"
            "Example: rill-bench --clients 100 --seconds 10 --json\n"
            "Exit codes: 0 measured and the money is right, 1 not, 2 wrong usage.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    size_t words;
    return options_read(&options, argc, argv, NULL, 0, &words);
}

/* ---- the processes ---- */

static const char *path_in(const struct bench *bench, const char *name, char out[512])
{
    snprintf(out, 512, "%s/%s", bench->folder, name);
    return out;
}

static bool start_ledger(struct bench *bench)
{
    char program[512], folder[512], port_file[512], log[512], hub[ADDRESS_TEXT_SIZE], fund[128], port[64];
    struct address address = secret_key_address(&bench->hub_key);
    address_text(&address, hub);
    snprintf(program, sizeof(program), "%s/rill-ledgerd", bench->bin);
    snprintf(fund, sizeof(fund), "%s=1000000", hub);
    const char *const arguments[] = {program,
                                     "--folder",
                                     path_in(bench, "ledger", folder),
                                     "--port",
                                     "0",
                                     "--port-file",
                                     path_in(bench, "ledger.port", port_file),
                                     "--hub",
                                     hub,
                                     "--fund",
                                     fund,
                                     "--block-interval-ms",
                                     "200",
                                     NULL};
    if (!child_start(&bench->ledgerd, "rill-ledgerd", path_in(bench, "ledger.log", log), arguments,
                     bench->message, sizeof(bench->message)))
        return false;
    if (!child_wait_file(&bench->ledgerd, port_file, 20000, port, sizeof(port))) {
        snprintf(bench->message, sizeof(bench->message), "rill-ledgerd did not start: see %s", log);
        return false;
    }
    snprintf(bench->ledger_url, sizeof(bench->ledger_url), "http://127.0.0.1:%s", port);
    return true;
}

static bool start_hub(struct bench *bench)
{
    char program[512], key[512], passphrase[512], data[512], port_file[512], log[512], ports[64];
    unsigned port, http_port;
    FILE *file = fopen(path_in(bench, "hub.pass", passphrase), "w");
    bool written = file != NULL && fputs("bench\n", file) >= 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    if (!written ||
        keystore_create(path_in(bench, "hub.json", key), "bench", &bench->hub_key, 4096) != KEYSTORE_OK) {
        snprintf(bench->message, sizeof(bench->message), "the hub's key cannot be written to %s",
                 bench->folder);
        return false;
    }
    snprintf(program, sizeof(program), "%s/rill-hubd", bench->bin);
    const char *const arguments[] = {program,
                                     "--data",
                                     path_in(bench, "hub", data),
                                     "--key-file",
                                     key,
                                     "--passphrase-file",
                                     passphrase,
                                     "--ledger",
                                     bench->ledger_url,
                                     "--listen",
                                     "127.0.0.1:0",
                                     "--http",
                                     "127.0.0.1:0",
                                     "--port-file",
                                     path_in(bench, "hub.port", port_file),
                                     "--confirmations",
                                     "1",
                                     "--poll-ms",
                                     "100",
                                     "--settle-interval-s",
                                     "0",
                                     "--inbound-max",
                                     "1000000000000",
                                     "--min-lock",
                                     "1",
                                     "--locks-per-payer",
                                     "1024",
                                     NULL};
    if (!child_start(&bench->hubd, "rill-hubd", path_in(bench, "hub.log", log), arguments, bench->message,
                     sizeof(bench->message)))
        return false;
    if (!child_wait_file(&bench->hubd, port_file, 30000, ports, sizeof(ports)) ||
        sscanf(ports, "%u %u", &port, &http_port) != 2) {
        snprintf(bench->message, sizeof(bench->message), "rill-hubd did not start: see %s", log);
        return false;
    }
    bench->hub_port = (uint16_t)port;
    bench->http_port = (uint16_t)http_port;
    return true;
}

/* ---- money for everybody ---- */

static bool send_call(struct bench *bench, const struct contract_call *call, uint64_t units)
{
    struct buffer data = {0};
    struct ledger_receipt receipt;
    contract_encode_call(&data, call);
    enum ledger_error error =
        ledger_send_wait(bench->ledger, &bench->hub_key, NULL, (unsigned_wide)units * UNIT_WEI, data.data,
                         data.length, &receipt);
    buffer_free(&data);
    if (error != LEDGER_OK)
        snprintf(bench->message, sizeof(bench->message), "%s: %s %s",
                 contract_function_signature(call->function), ledger_error_text(error),
                 ledger_last_error(bench->ledger));
    return error == LEDGER_OK;
}

static void on_deposited(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct bench *bench = context;
    (void)receipt;
    bench->deposits_open--;
    bench->deposits_failed += error != LEDGER_OK;
    if (bench->deposits_open == 0)
        event_base_loopbreak(bench->base);
}

/* Anybody may deposit for a client: the operator does it for all, so that no client needs coins for gas. */
static bool deposit_all(struct bench *bench)
{
    bench->keys = xmalloc(32 * bench->flags.clients);
    for (uint64_t i = 0; i < bench->flags.clients; i++) {
        struct secret_key key = secret_key_random();
        memcpy(bench->keys + 32 * i, key.bytes, 32);
        struct contract_call call = {.function = CONTRACT_DEPOSIT,
                                     .key = {.client = secret_key_address(&key)},
                                     .amount = amount_of(bench->deposit)};
        struct buffer data = {0};
        contract_encode_call(&data, &call);
        bench->deposits_open++;
        ledger_send(bench->ledger, &bench->hub_key, NULL, (unsigned_wide)bench->deposit * UNIT_WEI, data.data,
                    data.length, on_deposited, bench);
        buffer_free(&data);
        bytes_wipe(&key, sizeof(key));
    }
    event_base_dispatch(bench->base);
    if (bench->deposits_failed > 0)
        snprintf(bench->message, sizeof(bench->message), "%zu deposits failed: %s", bench->deposits_failed,
                 ledger_last_error(bench->ledger));
    return bench->deposits_failed == 0;
}

static bool prepare(struct bench *bench)
{
    struct contract_call list = {.function = CONTRACT_LIST_ASSET, .unit = UNIT_WEI};
    /* What each may pay in the run, whatever the speed: a hundredth of a unit per microsecond would not be
     * enough. */
    bench->deposit = 1000000000;
    bench->inbound = 1000000000;
    struct contract_call pool = {.function = CONTRACT_DEPOSIT_POOL,
                                 .amount = amount_of(bench->inbound * (bench->flags.clients + 1))};
    const struct ledger_options options = {
        .url = bench->ledger_url, .contract = bench->contract, .confirmations = 0, .poll_ms = 50};
    bench->ledger = ledger_new(bench->base, &options);
    return send_call(bench, &list, 0) && send_call(bench, &pool, pool.amount.units) && deposit_all(bench);
}

static bool follow_ledger(struct bench *bench)
{
    struct rill_ledger_options options = {.url = bench->ledger_url, .confirmations = 1, .poll_ms = 100};
    memcpy(options.contract, bench->contract.bytes, sizeof(options.contract));
    bench->followed = rill_ledger_new(bench->base, &options);
    if (rill_ledger_wait(bench->followed, 20000))
        return true;
    snprintf(bench->message, sizeof(bench->message), "%s", rill_ledger_trouble(bench->followed));
    return false;
}

/* ---- measuring ---- */

static void measure_curve(double *sign_us, double *verify_us)
{
    enum { TURNS = 2000 };
    struct secret_key key = secret_key_random();
    struct public_key public = public_key_of(&key);
    struct hash digest = keccak256("rill", 4);
    struct signature signature = key_sign(&key, &digest);
    uint64_t before = clock_monotonic_us();
    for (int i = 0; i < TURNS; i++) {
        digest = keccak256(signature.bytes, sizeof(signature.bytes));
        signature = key_sign(&key, &digest);
    }
    uint64_t between = clock_monotonic_us();
    for (int i = 0; i < TURNS; i++)
        ensure(signature_verify(&signature, &digest, &public));
    uint64_t after = clock_monotonic_us();
    *sign_us = (double)(between - before) / TURNS;
    *verify_us = (double)(after - between) / TURNS;
}

struct result {
    struct load_figures load;
    double sign_us, verify_us, hub_cpu_us;
    uint64_t hub_rss_kib;
};

static void print_json(FILE *out, const struct bench *bench, const struct result *result)
{
    const struct load_figures *load = &result->load;
    double payments = load->payments == 0 ? 1 : (double)load->payments;
    fprintf(out,
            "{\"workload\":\"%s\",\"clients\":%" PRIu64 ",\"window\":%" PRIu64
            ",\"seconds\":%.3f,\"payments\":%" PRIu64 ",\"failed\":%" PRIu64
            ",\"payments_per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,"
            "\"hub_cpu_us_per_payment\":%.2f,\"hub_cores_used\":%.3f,\"sign_us\":%.2f,\"verify_us\":%.2f,"
            "\"hub_rss_mib\":%.1f,\"fees_units\":%" PRIu64 ",\"durable\":true,\"money_checked\":true}\n",
            bench->flags.mode, bench->flags.clients, bench->flags.window, load->seconds, load->payments,
            load->failed, (double)load->payments / load->seconds, (double)load->p50_us / 1e3,
            (double)load->p99_us / 1e3, (double)load->max_us / 1e3, result->hub_cpu_us / payments,
            result->hub_cpu_us / 1e6 / load->seconds, result->sign_us, result->verify_us,
            (double)result->hub_rss_kib / 1024, load->fees_units);
}

static void print_text(const struct bench *bench, const struct result *result)
{
    const struct load_figures *load = &result->load;
    printf("%s payments between %" PRIu64 " clients, %" PRIu64 " under way each, %.1f s\n", bench->flags.mode,
           bench->flags.clients, bench->flags.window, load->seconds);
    printf("  payments      %10" PRIu64 "   (%" PRIu64 " failed)\n", load->payments, load->failed);
    printf("  per second    %10.0f\n", (double)load->payments / load->seconds);
    printf("  latency       %10.2f ms p50   %.2f ms p99   %.2f ms max\n", (double)load->p50_us / 1e3,
           (double)load->p99_us / 1e3, (double)load->max_us / 1e3);
    printf("  hub CPU       %10.1f us per payment   (%.2f cores)\n",
           result->hub_cpu_us / (load->payments == 0 ? 1 : (double)load->payments),
           result->hub_cpu_us / 1e6 / load->seconds);
    printf("  this machine  %10.1f us per signature   %.1f us per verification\n", result->sign_us,
           result->verify_us);
    printf("  the money is right: every balance, every receipt, %" PRIu64 " units of fees\n",
           load->fees_units);
}

static bool write_json_file(struct bench *bench, const struct result *result)
{
    if (bench->flags.json_file == NULL)
        return true;
    FILE *file = fopen(bench->flags.json_file, "w");
    if (file == NULL) {
        snprintf(bench->message, sizeof(bench->message), "%s cannot be written", bench->flags.json_file);
        return false;
    }
    print_json(file, bench, result);
    return fclose(file) == 0;
}

static bool measure(struct bench *bench, struct result *result)
{
    const struct load_settings settings = {.clients = (uint32_t)bench->flags.clients,
                                           .window = (uint32_t)bench->flags.window,
                                           .seconds = bench->flags.seconds,
                                           .amount = bench->flags.amount,
                                           .seed = bench->flags.seed,
                                           .locked = strcmp(bench->flags.mode, "locked") == 0,
                                           .hub_host = "127.0.0.1",
                                           .hub_port = bench->hub_port,
                                           .deposit = bench->deposit,
                                           .inbound = bench->inbound};
    struct load *load = load_open(bench->base, bench->followed, &settings, bench->keys, bench->message,
                                  sizeof(bench->message));
    if (load == NULL)
        return false;
    uint64_t cpu = child_cpu_us(&bench->hubd), balances;
    bool good = load_run(load, &result->load, bench->message, sizeof(bench->message));
    result->hub_cpu_us = (double)(child_cpu_us(&bench->hubd) - cpu);
    result->hub_rss_kib = child_rss_kib(&bench->hubd);
    measure_curve(&result->sign_us, &result->verify_us);
    good = good && load_check(load, &balances, bench->message, sizeof(bench->message));
    load_close(load);
    return good && write_json_file(bench, result);
}

static bool run(struct bench *bench, struct result *result)
{
    bench->hub_key = secret_key_random();
    ensure(hex_decode(CONTRACT_TEXT, bench->contract.bytes, sizeof(bench->contract.bytes)));
    snprintf(bench->folder, sizeof(bench->folder), "%s/rill-bench-XXXXXX", bench->flags.folder);
    if (mkdtemp(bench->folder) == NULL) {
        snprintf(bench->message, sizeof(bench->message),
                 "no folder can be made in %s: choose another with --folder", bench->flags.folder);
        bench->folder[0] = '\0';
        return false;
    }
    program_folder(bench->bin, sizeof(bench->bin));
    bench->base = event_base_new();
    return start_ledger(bench) && prepare(bench) && start_hub(bench) && follow_ledger(bench) &&
           measure(bench, result);
}

static void clean_up(struct bench *bench, bool keep)
{
    rill_ledger_free(bench->followed);
    if (bench->ledger != NULL)
        ledger_free(bench->ledger);
    if (bench->base != NULL) {
        const struct timeval moment = {1, 100000};
        event_base_loopexit(bench->base, &moment); /* links that were closed send their last bytes */
        event_base_dispatch(bench->base);
        event_base_free(bench->base);
    }
    child_stop(&bench->hubd, 10000);
    child_stop(&bench->ledgerd, 10000);
    if (bench->folder[0] != '\0' && !keep)
        folder_remove(bench->folder);
    else if (bench->folder[0] != '\0')
        fprintf(stderr, "journals and logs: %s\n", bench->folder);
    bytes_wipe(&bench->hub_key, sizeof(bench->hub_key));
    free(bench->keys);
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    struct result result = {0};
    enum options_result read = read_flags(&bench.flags, argc, argv);
    if (read != OPTIONS_RUN)
        return read == OPTIONS_DONE ? 0 : 2;
    log_setup("rill-bench", LOG_WARN, false);
    bool good = run(&bench, &result);
    if (!good)
        fprintf(stderr, "rill-bench: %s\n", bench.message);
    else if (bench.flags.json)
        print_json(stdout, &bench, &result);
    else
        print_text(&bench, &result);
    clean_up(&bench, bench.flags.keep || !good);
    return good ? 0 : EXIT_FAILED;
}
