#include "bench/world.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/keystore.h"

#define CONTRACT_TEXT         "0x52696c6c00000000000000000000000000000001"
#define FUNDS_PER_TRANSACTION 400 /* within a block's gas */
#define TRANSACTIONS_AHEAD    8
#define OPERATOR_COINS        "1000000000000"
#define START_TIMEOUT_MS      600000 /* a hub may have a million channels to read */
#define LEDGER_TIMEOUT_MS     600000
#define PROGRESS_AFTER_US     1000000
#define PROGRESS_EVERY_US     500000
#define PROGRESS_FILE_US      5000000 /* when it is not a terminal */

bool world_fail(struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->message, sizeof(world->message), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- the line on stderr ---- */

static bool progress_open;

void world_progress(struct world *world, const char *format, ...)
{
    static uint64_t next_us;
    bool terminal = isatty(STDERR_FILENO);
    uint64_t now = clock_monotonic_us();
    (void)world;
    if (next_us == 0)
        next_us = now + PROGRESS_AFTER_US;
    if (now < next_us)
        return;
    next_us = now + (terminal ? PROGRESS_EVERY_US : PROGRESS_FILE_US);
    char line[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (terminal)
        fprintf(stderr, "\r%-78s", line);
    else
        fprintf(stderr, "%s\n", line);
    progress_open = terminal;
}

void world_progress_end(void)
{
    if (progress_open)
        fprintf(stderr, "\r%-78s\r", "");
    progress_open = false;
}

/* ---- waiting ---- */

static void on_interrupt(evutil_socket_t number, short what, void *context)
{
    (void)number;
    (void)what;
    struct world *world = context;
    world->interrupted = true;
    event_base_loopbreak(world->base);
}

static bool is_well(struct world *world)
{
    if (world->interrupted)
        return world_fail(world, "interrupted");
    struct child *const children[] = {&world->ledgerd, &world->hubd, &world->towerd};
    for (size_t i = 0; i < ARRAY_LENGTH(children); i++)
        if (children[i]->pid != 0 && !child_is_running(children[i]))
            return world_fail(world, "%s has ended: see %s", children[i]->name, children[i]->log);
    return true;
}

bool world_pause(struct world *world, uint64_t us)
{
    const struct timeval moment = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
    event_base_loopexit(world->base, &moment);
    event_base_dispatch(world->base);
    return is_well(world);
}

bool world_wait(struct world *world, bool (*done)(void *context), void *context, uint64_t timeout_ms,
                const char *what)
{
    uint64_t until = clock_monotonic_us() + timeout_ms * 1000;
    while (!done(context)) {
        if (clock_monotonic_us() > until)
            return world_fail(world, "%s did not happen in %llu s", what,
                              (unsigned long long)(timeout_ms / 1000));
        if (!world_pause(world, 5000))
            return false;
    }
    return is_well(world);
}

const char *world_path(const struct world *world, const char *name, char out[WORLD_PATH])
{
    snprintf(out, WORLD_PATH, "%s/%s", world->folder, name);
    return out;
}

const char *world_program(const struct world *world, const char *name, char out[WORLD_PATH])
{
    snprintf(out, WORLD_PATH, "%s/%s", world->bin, name);
    return out;
}

/* ---- the ledger ---- */

static bool start_ledger(struct world *world)
{
    char program[WORLD_PATH], folder[WORLD_PATH], port_file[WORLD_PATH], log[WORLD_PATH];
    char hub[ADDRESS_TEXT_SIZE], fund[128], port[64];
    address_text(&world->hub, hub);
    snprintf(fund, sizeof(fund), "%s=" OPERATOR_COINS, hub);
    const char *const arguments[] = {world_program(world, "rill-ledgerd", program),
                                     "--folder",
                                     world_path(world, "ledger", folder),
                                     "--port",
                                     "0",
                                     "--port-file",
                                     world_path(world, "ledger.port", port_file),
                                     "--hub",
                                     hub,
                                     "--fund",
                                     fund,
                                     "--idle-block-ms",
                                     "500",
                                     NULL};
    if (!child_start(&world->ledgerd, "rill-ledgerd", world_path(world, "ledger.log", log), arguments,
                     world->message, sizeof(world->message)))
        return false;
    if (!child_wait_file(&world->ledgerd, port_file, 20000, port, sizeof(port)))
        return world_fail(world, "rill-ledgerd did not start: see %s", log);
    snprintf(world->ledger_url, sizeof(world->ledger_url), "http://127.0.0.1:%s", port);
    return true;
}

static bool send_call(struct world *world, const struct contract_call *call, uint64_t units)
{
    struct buffer data = {0};
    struct ledger_receipt receipt;
    contract_encode_call(&data, call);
    enum ledger_error error =
        ledger_send_wait(world->ledger, &world->hub_key, NULL, (unsigned_wide)units * WORLD_UNIT_WEI,
                         data.data, data.length, &receipt);
    buffer_free(&data);
    if (error != LEDGER_OK)
        return world_fail(world, "%s: %s %s", contract_function_signature(call->function),
                          ledger_error_text(error), ledger_last_error(world->ledger));
    return true;
}

bool world_call(struct world *world, const struct contract_call *call)
{
    return send_call(world, call, 0);
}

bool world_add_pool(struct world *world, uint64_t units)
{
    struct contract_call call = {.function = CONTRACT_DEPOSIT_POOL, .amount = amount_of(units)};
    world->pool += units;
    return send_call(world, &call, units);
}

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct world *world = context;
    (void)receipt;
    if (error == LEDGER_STOPPED)
        return;
    world->open_count--;
    world->open_failed += error != LEDGER_OK;
}

static bool few_ahead(void *context)
{
    return ((struct world *)context)->open_count < TRANSACTIONS_AHEAD;
}

static bool none_ahead(void *context)
{
    return ((struct world *)context)->open_count == 0;
}

static bool send_open(struct world *world, const struct contract_call *call, uint64_t units)
{
    struct buffer data = {0};
    contract_encode_call(&data, call);
    world->open_count++;
    ledger_send(world->ledger, &world->hub_key, NULL, (unsigned_wide)units * WORLD_UNIT_WEI, data.data,
                data.length, on_sent, world);
    buffer_free(&data);
    world_progress(world, "%llu channels opened on the ledger", (unsigned long long)world->channels);
    return world_wait(world, few_ahead, world, LEDGER_TIMEOUT_MS, "a transaction that opens channels");
}

static bool send_funds(struct world *world)
{
    struct contract_call call = {
        .function = CONTRACT_SETTLE_BATCH, .funds = world->funds, .fund_count = world->fund_count};
    world->fund_count = 0;
    return send_open(world, &call, 0);
}

bool world_open_funded(struct world *world, const struct channel_key *key, uint64_t units)
{
    ensure(world->pool >= units);
    world->pool -= units;
    world->in_channels += units;
    world->channels++;
    world->funds[world->fund_count++] = (struct fund){.key = *key, .amount = amount_of(units)};
    return world->fund_count < FUNDS_PER_TRANSACTION || send_funds(world);
}

bool world_open_deposited(struct world *world, const struct channel_key *key, uint64_t units)
{
    struct contract_call call = {.function = CONTRACT_DEPOSIT, .key = *key, .amount = amount_of(units)};
    world->in_channels += units;
    world->channels++;
    return send_open(world, &call, units);
}

bool world_open_end(struct world *world)
{
    if (world->fund_count > 0 && !send_funds(world))
        return false;
    if (!world_wait(world, none_ahead, world, LEDGER_TIMEOUT_MS, "the last transaction that opens channels"))
        return false;
    if (world->open_failed > 0)
        return world_fail(world, "%zu transactions that open channels failed: %s", world->open_failed,
                          ledger_last_error(world->ledger));
    return true;
}

struct number {
    struct world *world;
    bool done, good;
    unsigned_wide value;
};

static void on_number(void *context, enum ledger_error error, const char *text)
{
    struct number *number = context;
    number->done = true;
    if (error != LEDGER_OK || strncmp(text, "\"0x", 3) != 0)
        return;
    number->good = true;
    for (const char *at = text + 3; *at != '"' && *at != '\0'; at++)
        number->value = number->value << 4 | (unsigned)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
}

static bool number_done(void *context)
{
    return ((struct number *)context)->done;
}

static bool ask_number(struct world *world, const char *method, const char *params, unsigned_wide *out)
{
    struct number number = {.world = world};
    ledger_request(world->ledger, method, params, on_number, &number);
    if (!world_wait(world, number_done, &number, 20000, method))
        return false;
    *out = number.value;
    return number.good || world_fail(world, "the ledger does not answer %s", method);
}

bool world_block(struct world *world, uint64_t *out)
{
    unsigned_wide number;
    if (!ask_number(world, "eth_blockNumber", "[]", &number))
        return false;
    *out = (uint64_t)number;
    return true;
}

/* ---- the hub ---- */

static bool write_key(struct world *world, const char *key, const char *passphrase)
{
    FILE *file = fopen(passphrase, "w");
    bool written = file != NULL && fputs("bench\n", file) >= 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    if (!written || keystore_create(key, "bench", &world->hub_key, 4096) != KEYSTORE_OK)
        return world_fail(world, "the hub's key cannot be written to %s", world->folder);
    return true;
}

/* The newest channels lie in blocks that the hub may not have counted yet when it begins to serve. */
static bool knows_channels(struct world *world)
{
    uint64_t until = clock_monotonic_us() + START_TIMEOUT_MS * 1000ull, channels = 0;
    while (clock_monotonic_us() < until) {
        char *metrics = world_ask_hub(world, "/metrics");
        bool found = metrics != NULL && metric_find(metrics, "channels", &channels);
        free(metrics);
        if (!found)
            return false;
        if (channels == world->channels)
            return true;
        world_progress(world, "the hub knows %llu of %llu channels", (unsigned long long)channels,
                       (unsigned long long)world->channels);
        if (!world_pause(world, 50000))
            return false;
    }
    return world_fail(world, "the hub knows %llu channels, not %llu", (unsigned long long)channels,
                      (unsigned long long)world->channels);
}

struct hub_paths {
    char program[WORLD_PATH], key[WORLD_PATH], passphrase[WORLD_PATH], data[WORLD_PATH],
        port_file[WORLD_PATH], log[WORLD_PATH], shards[32];
};

#define HUB_ARGUMENTS_MAX 32

/* As hubs are run, but for room: for as many locks, waiting payments and connections as a workload may want. */
static void hub_arguments(const struct world *world, const struct hub_paths *paths,
                          const char *out[HUB_ARGUMENTS_MAX])
{
    const char *const always[] = {paths->program,
                                  "--data",
                                  paths->data,
                                  "--key-file",
                                  paths->key,
                                  "--passphrase-file",
                                  paths->passphrase,
                                  "--ledger",
                                  world->ledger_url,
                                  "--listen",
                                  "127.0.0.1:0",
                                  "--http",
                                  "127.0.0.1:0",
                                  "--port-file",
                                  paths->port_file,
                                  "--confirmations",
                                  "1",
                                  "--settle-interval-s",
                                  "0",
                                  "--min-lock",
                                  "1",
                                  "--locks-per-payer",
                                  "1024",
                                  "--waiting-max",
                                  "1000000",
                                  "--connections",
                                  "1000000"};
    size_t count = ARRAY_LENGTH(always);
    memcpy(out, always, sizeof(always));
    if (world->shards > 0) {
        out[count++] = "--shards";
        out[count++] = paths->shards;
    }
    out[count] = NULL;
}

bool world_start_hub(struct world *world, double *seconds)
{
    struct hub_paths paths;
    const char *arguments[HUB_ARGUMENTS_MAX];
    char ports[64];
    unsigned port, http_port;
    world_program(world, "rill-hubd", paths.program);
    world_path(world, "hub.json", paths.key);
    world_path(world, "hub.pass", paths.passphrase);
    world_path(world, "hub", paths.data);
    world_path(world, "hub.port", paths.port_file);
    world_path(world, "hub.log", paths.log);
    snprintf(paths.shards, sizeof(paths.shards), "%llu", (unsigned long long)world->shards);
    hub_arguments(world, &paths, arguments);
    if (access(paths.key, F_OK) != 0 && !write_key(world, paths.key, paths.passphrase))
        return false;
    unlink(paths.port_file);
    uint64_t before = clock_monotonic_us();
    if (!child_start(&world->hubd, "rill-hubd", paths.log, arguments, world->message, sizeof(world->message)))
        return false;
    if (!child_wait_file(&world->hubd, paths.port_file, START_TIMEOUT_MS, ports, sizeof(ports)) ||
        sscanf(ports, "%u %u", &port, &http_port) != 2)
        return world_fail(world, "rill-hubd did not start: see %s", paths.log);
    *seconds = (double)(clock_monotonic_us() - before) / 1e6;
    world->hub_port = (uint16_t)port;
    world->http_port = (uint16_t)http_port;
    return knows_channels(world);
}

bool world_stop_hub(struct world *world)
{
    int code = child_stop(&world->hubd, 120000);
    return code == 0 || world_fail(world, "rill-hubd ended with %d: see %s", code, world->hubd.log);
}

/* ---- life ---- */

bool world_begin(struct world *world, const char *parent)
{
    /* The usual clock goes by the kernel's ticks: requests that fall due would begin up to 4 ms late. */
    struct event_config *config = event_config_new();
    ensure(config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0);
    world->base = event_base_new_with_config(config);
    event_config_free(config);
    ensure(world->base != NULL);
    world->interrupts[0] = evsignal_new(world->base, SIGINT, on_interrupt, world);
    world->interrupts[1] = evsignal_new(world->base, SIGTERM, on_interrupt, world);
    event_add(world->interrupts[0], NULL);
    event_add(world->interrupts[1], NULL);
    world->funds = xcalloc(FUNDS_PER_TRANSACTION, sizeof(*world->funds));
    world->hub_key = secret_key_random();
    world->hub = secret_key_address(&world->hub_key);
    ensure(hex_decode(CONTRACT_TEXT, world->contract.bytes, sizeof(world->contract.bytes)));
    snprintf(world->folder, sizeof(world->folder), "%s/rill-bench-XXXXXX", parent);
    if (mkdtemp(world->folder) == NULL) {
        world->folder[0] = '\0';
        return world_fail(world, "no folder can be made in %s: choose another with --folder", parent);
    }
    if (world->bin[0] == '\0')
        program_folder(world->bin, sizeof(world->bin));
    if (!start_ledger(world))
        return false;
    const struct ledger_options options = {
        .url = world->ledger_url, .contract = world->contract, .confirmations = 0, .poll_ms = 20};
    world->ledger = ledger_new(world->base, &options);
    struct contract_call list = {.function = CONTRACT_LIST_ASSET, .unit = WORLD_UNIT_WEI};
    return send_call(world, &list, 0);
}

void world_end(struct world *world, bool keep)
{
    world_progress_end();
    if (world->ledger != NULL)
        ledger_free(world->ledger);
    child_stop(&world->hubd, 60000);
    child_kill(&world->towerd); /* it may be stopped */
    child_stop(&world->ledgerd, 10000);
    for (size_t i = 0; i < ARRAY_LENGTH(world->interrupts); i++)
        if (world->interrupts[i] != NULL)
            event_free(world->interrupts[i]);
    if (world->base != NULL)
        event_base_free(world->base);
    if (world->folder[0] != '\0' && !keep)
        folder_remove(world->folder);
    else if (world->folder[0] != '\0')
        fprintf(stderr, "journals and logs: %s\n", world->folder);
    bytes_wipe(&world->hub_key, sizeof(world->hub_key));
    free(world->funds);
}

/* ---- the money ---- */

static bool balance_of_contract(struct world *world, unsigned_wide *units)
{
    char params[96], contract[ADDRESS_TEXT_SIZE];
    snprintf(params, sizeof(params), "[\"%s\",\"latest\"]", address_text(&world->contract, contract));
    unsigned_wide wei;
    if (!ask_number(world, "eth_getBalance", params, &wei))
        return false;
    *units = wei / WORLD_UNIT_WEI;
    return wei % WORLD_UNIT_WEI == 0 || world_fail(world, "the contract holds a fraction of a unit");
}

/* The hub's books of the one asset. */
static bool hub_balances(struct world *world, json_int_t *pool, json_int_t *channels, json_int_t *clients,
                         json_int_t *hub)
{
    char *text = world_ask_hub(world, "/balances");
    if (text == NULL)
        return false;
    json_t *json = json_loads(text, 0, NULL);
    free(text);
    const char *asset;
    bool good = json_unpack(json_array_get(json, 0), "{s:s, s:I, s:I, s:I, s:I}", "asset", &asset, "pool",
                            pool, "channels", channels, "clients_units", clients, "hub_units", hub) == 0;
    json_decref(json);
    return good || world_fail(world, "the hub's /balances is not what it should be");
}

bool world_check_money(struct world *world, wide clients)
{
    json_int_t pool, channels, clients_units, hub_units;
    unsigned_wide on_ledger;
    if (!hub_balances(world, &pool, &channels, &clients_units, &hub_units) ||
        !balance_of_contract(world, &on_ledger))
        return false;
    if ((uint64_t)pool != world->pool || (uint64_t)channels != world->channels)
        return world_fail(world, "the hub knows a pool of %lld and %lld channels, not %llu and %llu",
                          (long long)pool, (long long)channels, (unsigned long long)world->pool,
                          (unsigned long long)world->channels);
    if (clients_units != clients)
        return world_fail(world, "the clients have %lld units by their proofs, %lld by the hub's books",
                          (long long)clients, (long long)clients_units);
    if ((wide)clients_units + hub_units != world->in_channels)
        return world_fail(world, "the channels hold %llu units, the hub's books say %lld and %lld",
                          (unsigned long long)world->in_channels, (long long)clients_units,
                          (long long)hub_units);
    if (on_ledger != (unsigned_wide)world->pool + world->in_channels)
        return world_fail(world, "the contract holds %llu units, not %llu", (unsigned long long)on_ledger,
                          (unsigned long long)(world->pool + world->in_channels));
    return true;
}
