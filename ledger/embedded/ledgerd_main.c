/* rill-ledgerd: the embedded ledger. Options in, chain and HTTP server up, then the event loop until SIGTERM.
 */
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/options.h"
#include "ledger/embedded/accounts.h"
#include "ledger/embedded/chain.h"
#include "ledger/embedded/http.h"
#include "store/store.h"

#define EXIT_USAGE 2

struct settings {
    const char *folder, *port_file, *hub, *bounty_bps, *fund, *log_level, *log_format;
    uint64_t port, connections, chain_id, challenge_period, base_fee, development_coins;
    uint64_t block_interval_ms, idle_block_ms, history_blocks;
    bool development;
};

struct daemon {
    struct settings settings;
    struct event_base *base;
    struct chain *chain;
    struct node *node;
    struct http *http;
    uint64_t last_seen_block; /* when the idle timer last fired */
};

static enum options_result settings_read(struct settings *settings, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"folder", OPTION_TEXT, &settings->folder, "rill-ledger", 0, 0, "FOLDER",
         "where the ledger is kept; made if missing"},
        {"port", OPTION_NUMBER, &settings->port, "8545", 0, 65535, "PORT",
         "TCP port on 127.0.0.1; 0: the system chooses, see --port-file"},
        {"port-file", OPTION_TEXT, &settings->port_file, NULL, 0, 0, "FILE",
         "write the port there once the ledger answers"},
        {"dev", OPTION_FLAG, &settings->development, "true", 0, 0, "true|false",
         "development: ten accounts with public keys and play money, and the evm_ methods"},
        {"dev-coins", OPTION_NUMBER, &settings->development_coins, "10000", 0, COINS_MAX, "COINS",
         "coins of each development account; first start only"},
        {"fund", OPTION_TEXT, &settings->fund, NULL, 0, 0, "ADDRESS=COINS,...",
         "other accounts that begin with coins; first start only"},
        {"hub", OPTION_TEXT, &settings->hub, NULL, 0, 0, "ADDRESS",
         "the hub that the contract serves; fixed at the first start (with --dev: the first account)"},
        {"challenge-period", OPTION_NUMBER, &settings->challenge_period, NULL, 0, CHALLENGE_PERIOD_MAX_S,
         "SECONDS", "how long a close can be challenged; fixed at the first start (0: as it was, or 86400)"},
        {"bounty-bps", OPTION_TEXT, &settings->bounty_bps, NULL, 0, 0, "0-5000",
         "a tower's part of a penalty, in 1/10000; fixed at the first start (default 1000)"},
        {"chain-id", OPTION_NUMBER, &settings->chain_id, NULL, 0, UINT32_MAX, "NUMBER",
         "chain id; fixed at the first start (0: as it was, or 31337)"},
        {"block-interval-ms", OPTION_NUMBER, &settings->block_interval_ms, "0", 0, 3600000, "MS",
         "a block at this interval; 0: one for each transaction, at once"},
        {"idle-block-ms", OPTION_NUMBER, &settings->idle_block_ms, "0", 0, 3600000, "MS",
         "an empty block after this long without one, so that time and confirmations go on; 0: none"},
        {"base-fee", OPTION_NUMBER, &settings->base_fee, "1000000000", 0, 1000000000000000, "WEI",
         "price of a unit of gas; burned"},
        {"history-blocks", OPTION_NUMBER, &settings->history_blocks, "200000", CHAIN_HISTORY_MIN, 100000000,
         "COUNT", "how many blocks are kept with their transactions and logs"},
        {"connections", OPTION_NUMBER, &settings->connections, "128", 1, 10000, "COUNT",
         "open HTTP connections at most; more wait"},
        {"log-level", OPTION_CHOICE, &settings->log_level, "info", 0, 0, "debug|info|warn|error",
         "what is logged"},
        {"log-format", OPTION_CHOICE, &settings->log_format, "text", 0, 0, "text|json", "how it is logged"},
    };
    const struct options options = {.program = "rill-ledgerd",
                                    .environment_prefix = "RILL_LEDGERD",
                                    .usage = "[OPTIONS]",
                                    .about = "The embedded base ledger: Ethereum JSON-RPC on 127.0.0.1, the "
                                             "Rill contract at a fixed address,\n"
                                             "ERC-20 tokens from a factory, everything kept in one folder.\n"
                                             "Example: rill-ledgerd --folder /tmp/ledger --port 8545",
                                    .rows = rows,
                                    .row_count = ARRAY_LENGTH(rows)};
    return options_read(&options, argc, argv, NULL, 0, NULL);
}

static int complain(const char *message)
{
    fprintf(stderr, "rill-ledgerd: %s\n", message);
    return EXIT_FAILURE;
}

/* The options that are no plain numbers, and who has coins. False: message says what is wrong. */
static bool chain_options_make(const struct settings *settings, struct chain_options *out,
                               struct allocation allocations[DEVELOPMENT_ACCOUNTS + ALLOCATIONS_MAX],
                               char *message, size_t size)
{
    unsigned bounty_bps = CHAIN_BOUNTY_BPS_ANY;
    char rest;
    if (settings->hub != NULL &&
        !hex_decode(settings->hub, out->parameters.hub.bytes, sizeof(struct address))) {
        snprintf(message, size, "--hub: '%.80s' is not an address", settings->hub);
        return false;
    }
    if (settings->bounty_bps != NULL &&
        /* NOLINTNEXTLINE(cert-err34-c): five digits cannot overflow */
        (sscanf(settings->bounty_bps, "%5u%c", &bounty_bps, &rest) != 1 || bounty_bps > BOUNTY_BPS_MAX)) {
        snprintf(message, size, "--bounty-bps: '%.80s' is not a number from 0 to %d", settings->bounty_bps,
                 BOUNTY_BPS_MAX);
        return false;
    }
    out->parameters.bounty_bps = (uint16_t)bounty_bps;
    out->parameters.chain_id = settings->chain_id;
    out->parameters.challenge_period = settings->challenge_period;
    out->base_fee = settings->base_fee;
    out->history_blocks = settings->history_blocks;
    out->allocations = allocations;
    size_t count = 0;
    for (; settings->development && count < DEVELOPMENT_ACCOUNTS; count++) {
        struct secret_key key = development_key(count);
        allocations[count] =
            (struct allocation){secret_key_address(&key), coins_wei(settings->development_coins)};
    }
    size_t funded = 0;
    if (!allocations_parse(settings->fund, allocations + count, &funded, message, size))
        return false;
    out->allocation_count = count + funded;
    return true;
}

static bool chain_start(struct daemon *daemon, char *message, size_t size)
{
    const struct settings *settings = &daemon->settings;
    struct allocation allocations[DEVELOPMENT_ACCOUNTS + ALLOCATIONS_MAX];
    struct chain_options options = {.base_fee = 0};
    const struct store_options store = {
        .path = settings->folder, .application = "ledger", .version = CHAIN_FORMAT_VERSION};
    struct journal *journal;
    if (!chain_options_make(settings, &options, allocations, message, size) ||
        store_open(&store, &journal, message, size) != STORE_OK)
        return false;
    if (settings->development)
        options.hub_if_new = allocations[0].address;
    daemon->chain = chain_open(&options, journal, message, size);
    return daemon->chain != NULL;
}

/* Whole or not at all: a reader never sees half a number. */
static bool port_file_write(const char *path, uint16_t port, char *message, size_t size)
{
    size_t length = strlen(path) + 5;
    char *temporary = xmalloc(length);
    snprintf(temporary, length, "%s.new", path);
    FILE *file = fopen(temporary, "we");
    bool good = file != NULL && fprintf(file, "%u\n", port) > 0;
    if (file != NULL && fclose(file) != 0)
        good = false;
    if (!good || rename(temporary, path) != 0) {
        snprintf(message, size, "cannot write the port file %s: %s", path, strerror(errno));
        good = false;
    }
    free(temporary);
    return good;
}

static void greet(const struct daemon *daemon)
{
    const struct contract_config *config = chain_config(daemon->chain);
    char text[ADDRESS_TEXT_SIZE];
    printf("chain id          %" PRIu64 "\n", config->domain.chain_id);
    printf("contract          %s\n", address_text(&config->domain.contract, text));
    printf("token factory     %s\n", address_text(&config->factory, text));
    printf("hub               %s\n", address_text(&config->hub, text));
    printf("challenge period  %" PRIu64 " s\n", config->challenge_period);
    printf("bounty            %u/10000\n", config->bounty_bps);
    for (size_t i = 0; daemon->settings.development && i < DEVELOPMENT_ACCOUNTS; i++) {
        struct secret_key key = development_key(i);
        struct address address = secret_key_address(&key);
        char key_text[2 * sizeof(key.bytes) + 1];
        hex_encode(key.bytes, sizeof(key.bytes), key_text);
        printf("dev account %zu     %s  key 0x%s\n", i, address_text(&address, text), key_text);
    }
    if (daemon->settings.development)
        printf("These keys are public: never use them where coins are worth something.\n");
    printf("block             %" PRIu64 "\n", history_head(chain_history(daemon->chain))->number);
    printf("listening on      http://127.0.0.1:%u\n", http_port(daemon->http));
    fflush(stdout);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    const struct daemon *daemon = context;
    (void)what;
    log_info("signal %d: stopping", (int)number);
    event_base_loopexit(daemon->base, NULL);
}

static void on_interval(evutil_socket_t descriptor, short what, void *context)
{
    const struct daemon *daemon = context;
    (void)descriptor;
    (void)what;
    chain_mine(daemon->chain, SIZE_MAX);
}

static void on_idle(evutil_socket_t descriptor, short what, void *context)
{
    struct daemon *daemon = context;
    (void)descriptor;
    (void)what;
    uint64_t newest = history_head(chain_history(daemon->chain))->number;
    if (newest == daemon->last_seen_block)
        newest = chain_mine(daemon->chain, SIZE_MAX)->number;
    daemon->last_seen_block = newest;
}

static struct event *timer_start(struct daemon *daemon, uint64_t interval_ms, event_callback_fn callback)
{
    if (interval_ms == 0)
        return NULL;
    const struct timeval interval = {(time_t)(interval_ms / 1000), (suseconds_t)(interval_ms % 1000 * 1000)};
    struct event *timer = event_new(daemon->base, -1, EV_PERSIST, callback, daemon);
    ensure(timer != NULL && event_add(timer, &interval) == 0);
    return timer;
}

static void run(struct daemon *daemon)
{
    struct event *events[] = {
        evsignal_new(daemon->base, SIGTERM, on_signal, daemon),
        evsignal_new(daemon->base, SIGINT, on_signal, daemon),
        timer_start(daemon, daemon->settings.block_interval_ms, on_interval),
        timer_start(daemon, daemon->settings.idle_block_ms, on_idle),
    };
    ensure(event_add(events[0], NULL) == 0 && event_add(events[1], NULL) == 0);
    event_base_dispatch(daemon->base);
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++)
        if (events[i] != NULL)
            event_free(events[i]);
}

/* Brings everything up; the port first, so that a start that cannot be leaves no new ledger behind. False: message says in
 * one line why not. */
static bool start(struct daemon *daemon, char *message, size_t size)
{
    const struct settings *settings = &daemon->settings;
    const struct node_options options = {.development = settings->development,
                                         .on_demand = settings->block_interval_ms == 0};
    daemon->base = event_base_new();
    ensure(daemon->base != NULL);
    daemon->http =
        http_open(daemon->base, (uint16_t)settings->port, (unsigned)settings->connections, message, size);
    if (daemon->http == NULL || !chain_start(daemon, message, size))
        return false;
    daemon->node = node_new(daemon->chain, &options);
    http_serve(daemon->http, daemon->node);
    return settings->port_file == NULL ||
           port_file_write(settings->port_file, http_port(daemon->http), message, size);
}

int main(int argc, char **argv)
{
    struct daemon daemon = {.last_seen_block = 0};
    enum log_level level;
    char message[512];
    enum options_result read = settings_read(&daemon.settings, argc, argv);
    if (read != OPTIONS_RUN)
        return read == OPTIONS_DONE ? EXIT_SUCCESS : EXIT_USAGE;
    ensure(log_level_parse(daemon.settings.log_level, &level));
    log_setup("rill-ledgerd", level, strcmp(daemon.settings.log_format, "json") == 0);
    signal(SIGPIPE, SIG_IGN);
    bool good = start(&daemon, message, sizeof(message));
    if (good) {
        greet(&daemon);
        run(&daemon);
    }
    http_close(daemon.http);
    if (daemon.base != NULL)
        event_base_free(daemon.base);
    node_free(daemon.node);
    chain_close(daemon.chain);
    return good ? EXIT_SUCCESS : complain(message);
}
