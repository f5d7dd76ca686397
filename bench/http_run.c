/* rill-bench http: requests that are paid, through rill-merchantd proxy, the hub and a wallet with `rill fetch`'s library;
 * beside them the same requests to the same service without payment.
 *
 *     this process (wallet, fetcher) ─▶ rill-merchantd proxy (wallet, receipts) ─▶ service
 *                  └──── rill-hubd ─────┘
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/http_run.h"
#include "bench/http_service.h"
#include "crypto/keystore.h"
#include "rill_fetch.h"

#define PAYER_UNITS      ((uint64_t)100000000000)
#define ROOM_UNITS       ((uint64_t)100000000000)
#define BUDGET_UNITS     ((uint64_t)1000000000)
#define MODERATE_RATE    200 /* a second */
#define READY_TIMEOUT_MS 30000
#define REST_TIMEOUT_MS  60000

enum fetch_mode { MODE_BARE, MODE_EACH, MODE_NEXT, MODE_BUDGET, MODES };

struct http_world {
    struct run *run;
    struct world *world;
    struct child service, proxy;
    uint16_t service_port, proxy_port;
    struct secret_key payer, merchant;
    struct channel_key payer_channel, merchant_channel;
    struct rill_ledger *ledger;
    struct rill_wallet *wallet;
    struct rill_fetcher *fetchers[MODES];
    uint64_t paid_units; /* to the merchant, by the fetchers' results */
    bool ready;
};

/* Requests in one way, at one load. */
struct round {
    struct http_world *http;
    enum fetch_mode mode;
    char url[128];
    double rate; /* a second; 0: as many as `window` under way allow */
    uint32_t window, under_way;
    bool measuring, ending;
    uint64_t begun_us, due; /* open loop: requests that fell due so far */
    uint64_t answered, failed;
    double seconds;
    uint64_t cpu_us[4]; /* service, proxy, hub, this process */
    struct histogram latency;
    char first_failure[300];
};

struct flight {
    struct round *round;
    uint64_t begun_us;
};

/* ---- one request ---- */

static void start_one(struct round *round, uint64_t due_us);

static void on_done(void *context, const struct rill_fetch_result *result)
{
    struct flight *flight = context;
    struct round *round = flight->round;
    uint64_t now = clock_monotonic_us();
    bool good = result->outcome == RILL_FETCH_ANSWERED && result->status == 200;
    round->under_way--;
    round->http->paid_units += result->paid;
    if (!good && round->failed++ == 0)
        snprintf(round->first_failure, sizeof(round->first_failure), "%s (status %u)", result->message,
                 result->status);
    if (good && round->measuring) {
        round->answered++;
        histogram_add(&round->latency, now - flight->begun_us);
    }
    free(flight);
    if (round->rate == 0 && !round->ending)
        start_one(round, now);
}

static void start_one(struct round *round, uint64_t due_us)
{
    struct flight *flight = xcalloc(1, sizeof(*flight));
    flight->round = round;
    flight->begun_us = due_us;
    struct rill_fetch_request request = {
        .url = round->url, .max_price = 2 * BUDGET_UNITS, .done = on_done, .context = flight};
    round->under_way++;
    ensure(rill_fetch(round->http->fetchers[round->mode], &request));
}

/* What fell due since the last look; late ones count from when they were due. */
static void on_tick(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct round *round = context;
    uint64_t now = clock_monotonic_us();
    while (!round->ending) {
        uint64_t due_us = round->begun_us + (uint64_t)((double)round->due * 1e6 / round->rate);
        if (due_us > now)
            return;
        round->due++;
        start_one(round, due_us);
    }
}

static bool at_rest(void *context)
{
    return ((struct round *)context)->under_way == 0;
}

static void note_cpu(const struct http_world *http, uint64_t out[4])
{
    struct child self = {.pid = getpid()};
    out[0] = child_cpu_us(&http->service);
    out[1] = child_cpu_us(&http->proxy);
    out[2] = child_cpu_us(&http->world->hubd);
    out[3] = child_cpu_us(&self);
}

static bool play(struct round *round, const char *name)
{
    struct world *world = round->http->world;
    const struct flags *flags = &round->http->run->flags;
    uint64_t cpu_before[4], cpu_after[4];
    world_progress(world, "http: %s", name);
    struct event *tick = event_new(world->base, -1, EV_PERSIST, on_tick, round);
    const struct timeval often = {0, 500};
    round->begun_us = clock_monotonic_us();
    if (round->rate > 0)
        event_add(tick, &often);
    for (uint32_t i = 0; round->rate == 0 && i < round->window; i++)
        start_one(round, clock_monotonic_us());
    bool good = world_pause(world, flags->warm_up_s * 1000000);
    note_cpu(round->http, cpu_before);
    uint64_t begun = clock_monotonic_us();
    round->measuring = true;
    good = good && world_pause(world, flags->seconds * 1000000);
    round->measuring = false;
    round->seconds = (double)(clock_monotonic_us() - begun) / 1e6;
    note_cpu(round->http, cpu_after);
    for (size_t i = 0; i < ARRAY_LENGTH(cpu_after); i++)
        round->cpu_us[i] = cpu_after[i] - cpu_before[i];
    round->ending = true;
    event_free(tick);
    good = good && world_wait(world, at_rest, round, REST_TIMEOUT_MS, "the end of all requests");
    if (good && round->failed > 0)
        return world_fail(world, "%s: %llu requests failed, the first: %s", name,
                          (unsigned long long)round->failed, round->first_failure);
    return good;
}

/* ---- the world around it ---- */

static void on_payment(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    struct http_world *http = context;
    for (size_t i = 0; i < MODES; i++)
        if (http->fetchers[i] != NULL)
            rill_fetcher_payment(http->fetchers[i], payment);
}

static void on_ready(void *context, struct rill_wallet *wallet)
{
    (void)wallet;
    ((struct http_world *)context)->ready = true;
}

static bool open_channels(struct http_world *http)
{
    struct world *world = http->world;
    http->payer = secret_key_random();
    http->merchant = secret_key_random();
    http->payer_channel.client = secret_key_address(&http->payer);
    http->merchant_channel.client = secret_key_address(&http->merchant);
    return world_add_pool(world, ROOM_UNITS) &&
           world_open_deposited(world, &http->payer_channel, PAYER_UNITS) &&
           world_open_funded(world, &http->merchant_channel, ROOM_UNITS) && world_open_end(world);
}

static bool write_home(struct http_world *http, char home[WORLD_PATH], char passphrase[WORLD_PATH])
{
    char path[WORLD_PATH + 16];
    snprintf(home, WORLD_PATH, "%s/shop", http->world->folder);
    snprintf(passphrase, WORLD_PATH, "%s/hub.pass", http->world->folder);
    snprintf(path, sizeof(path), "%s/key.json", home);
    return mkdir(home, 0700) == 0 && keystore_create(path, "bench", &http->merchant, 4096) == KEYSTORE_OK;
}

static bool start_proxy(struct http_world *http)
{
    struct world *world = http->world;
    char program[WORLD_PATH + 32], home[WORLD_PATH], passphrase[WORLD_PATH], upstream[64], hub[64],
        log[WORLD_PATH], port_file[WORLD_PATH], price[64], contract[ADDRESS_TEXT_SIZE], most[64], port[16];
    if (!write_home(http, home, passphrase))
        return world_fail(world, "the merchant's keystore cannot be written");
    snprintf(program, sizeof(program), "%s/rill-merchantd", world->bin);
    snprintf(upstream, sizeof(upstream), "http://127.0.0.1:%u", http->service_port);
    snprintf(hub, sizeof(hub), "127.0.0.1:%u", world->hub_port);
    snprintf(log, sizeof(log), "%s/proxy.log", world->folder);
    snprintf(port_file, sizeof(port_file), "%s/proxy.port", world->folder);
    amount_text(amount_of(http->run->flags.amount), 9, price);
    amount_text(amount_of(BUDGET_UNITS), 9, most);
    const char *const arguments[] = {
        program,    "proxy",    "--home",          home,          "--passphrase-file",
        passphrase, "--ledger", world->ledger_url, "--contract",  address_text(&world->contract, contract),
        "--hub",    hub,        "--confirmations", "1",           "--upstream",
        upstream,   "--listen", "127.0.0.1:0",     "--port-file", port_file,
        "--price",  price,      "--budget-max",    most,          NULL};
    if (!child_start(&http->proxy, "rill-merchantd", log, arguments, world->message, sizeof(world->message)))
        return false;
    if (!child_wait_file(&http->proxy, port_file, READY_TIMEOUT_MS, port, sizeof(port)))
        return world_fail(world, "rill-merchantd did not start: see %s", log);
    http->proxy_port = (uint16_t)strtoul(port, NULL, 10);
    return true;
}

static bool is_ready(void *context)
{
    return ((struct http_world *)context)->ready;
}

static bool open_wallet(struct http_world *http)
{
    struct world *world = http->world;
    static const struct rill_callbacks callbacks = {.ready = on_ready,
                                                    .secret = on_payment,
                                                    .paid = on_payment,
                                                    .failed = on_payment,
                                                    .returned = on_payment};
    char folder[WORLD_PATH];
    struct rill_ledger_options ledger = {.url = world->ledger_url, .confirmations = 1, .poll_ms = 100};
    memcpy(ledger.contract, world->contract.bytes, sizeof(ledger.contract));
    http->ledger = rill_ledger_new(world->base, &ledger);
    if (!rill_ledger_wait(http->ledger, READY_TIMEOUT_MS))
        return world_fail(world, "the wallet does not see the ledger: %s", rill_ledger_trouble(http->ledger));
    snprintf(folder, sizeof(folder), "%s/payer", world->folder);
    struct rill_options options = {
        .folder = folder, .ledger = http->ledger, .hub_host = "127.0.0.1", .hub_port = world->hub_port};
    memcpy(options.key, http->payer.bytes, sizeof(options.key));
    http->wallet = rill_open(world->base, &options, &callbacks, http, world->message, sizeof(world->message));
    bytes_wipe(options.key, sizeof(options.key));
    return http->wallet != NULL &&
           world_wait(world, is_ready, http, READY_TIMEOUT_MS, "the wallet's connection");
}

static bool open_fetchers(struct http_world *http)
{
    struct world *world = http->world;
    for (size_t mode = 0; mode < MODES; mode++) {
        char folder[WORLD_PATH];
        snprintf(folder, sizeof(folder), "%s/fetch-%zu", world->folder, mode);
        struct rill_fetcher_options options = {.base = world->base,
                                               .wallet = http->wallet,
                                               .ledger = http->ledger,
                                               .folder = folder,
                                               .host_day_limit = PAYER_UNITS,
                                               .day_limit = PAYER_UNITS,
                                               .budget_units = mode == MODE_BUDGET ? BUDGET_UNITS : 0,
                                               .next_offers = mode == MODE_NEXT,
                                               .connections_max = 4096};
        http->fetchers[mode] = rill_fetcher_new(&options, world->message, sizeof(world->message));
        if (http->fetchers[mode] == NULL)
            return false;
    }
    return true;
}

/* The proxy's wallet connects by itself; until it has, offers are answered 503. */
static bool proxy_serves(struct http_world *http)
{
    uint64_t until = clock_monotonic_us() + READY_TIMEOUT_MS * 1000ull;
    for (;;) {
        struct round round = {.http = http, .mode = MODE_BUDGET, .ending = true}; /* one */
        snprintf(round.url, sizeof(round.url), "http://127.0.0.1:%u/item", http->proxy_port);
        start_one(&round, clock_monotonic_us());
        if (!world_wait(http->world, at_rest, &round, REST_TIMEOUT_MS, "an answer of the proxy"))
            return false;
        if (round.failed == 0)
            return true;
        if (clock_monotonic_us() > until)
            return world_fail(http->world, "the proxy does not serve: %s", round.first_failure);
        if (!world_pause(http->world, 50000))
            return false;
    }
}

/* ---- figures ---- */

static void note(struct run *run, const char *prefix, const char *name, double value)
{
    char text[80];
    snprintf(text, sizeof(text), "%s%s", prefix, name);
    json_object_set_new(run->extra, text, json_real(value));
}

static void note_round(struct run *run, const char *prefix, const struct round *round)
{
    static const char *const names[] = {"service_cpu_us", "proxy_cpu_us", "hub_cpu_us", "client_cpu_us"};
    double answered = round->answered > 0 ? (double)round->answered : 1;
    note(run, prefix, "requests_per_s", (double)round->answered / round->seconds);
    note(run, prefix, "p50_ms", (double)histogram_percentile(&round->latency, 0.5) / 1e3);
    note(run, prefix, "p99_ms", (double)histogram_percentile(&round->latency, 0.99) / 1e3);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        note(run, prefix, names[i], (double)round->cpu_us[i] / answered);
}

static bool measure_mode(struct http_world *http, enum fetch_mode mode, bool moderate, const char *name,
                         const char *prefix, struct round *round)
{
    const struct flags *flags = &http->run->flags;
    memset(round, 0, sizeof(*round));
    round->http = http;
    round->mode = mode;
    round->window = flags->clients > 0 ? (uint32_t)flags->clients : http->run->workload->payers;
    round->rate = moderate ? (flags->rate > 0 ? (double)flags->rate : MODERATE_RATE) : 0;
    snprintf(round->url, sizeof(round->url), "http://127.0.0.1:%u/item",
             mode == MODE_BARE ? http->service_port : http->proxy_port);
    if (!play(round, name))
        return false;
    note_round(http->run, prefix, round);
    return true;
}

static double p50_ms(const struct round *round)
{
    return (double)histogram_percentile(&round->latency, 0.5) / 1e3;
}

static bool measure_all(struct http_world *http)
{
    static struct round bare, each, next, budget;
    struct run *run = http->run;
    if (!measure_mode(http, MODE_BARE, true, "without payment, at a rate", "rate_bare_", &bare) ||
        !measure_mode(http, MODE_EACH, true, "each paid, at a rate", "rate_each_", &each) ||
        !measure_mode(http, MODE_NEXT, true, "each paid, offers ahead, at a rate", "rate_next_", &next) ||
        !measure_mode(http, MODE_BUDGET, true, "from a budget, at a rate", "rate_budget_", &budget))
        return false;
    note(run, "", "rate", each.rate);
    note(run, "", "added_p50_ms", p50_ms(&next) - p50_ms(&bare));
    note(run, "", "each_added_p50_ms", p50_ms(&each) - p50_ms(&bare));
    note(run, "", "budget_added_p50_ms", p50_ms(&budget) - p50_ms(&bare));
    if (!measure_mode(http, MODE_BARE, false, "without payment", "bare_", &bare) ||
        !measure_mode(http, MODE_EACH, false, "each paid", "each_", &each) ||
        !measure_mode(http, MODE_BUDGET, false, "from a budget", "budget_", &budget) ||
        !measure_mode(http, MODE_NEXT, false, "each paid, offers ahead", "next_", &next))
        return false;
    note(run, "", "in_flight", next.window);
    note(run, "", "paid_requests_per_s", (double)next.answered / next.seconds);
    note(run, "", "p50_ms", p50_ms(&next));
    note(run, "", "p99_ms", (double)histogram_percentile(&next.latency, 0.99) / 1e3);
    return true;
}

/* ---- the money ---- */

static bool is_idle(void *context)
{
    return rill_is_idle(((struct http_world *)context)->wallet);
}

/* What the fetchers say they paid is what the merchant has, by the hub's books and the ledger's. */
static bool check_money(struct http_world *http)
{
    struct rill_balance balance;
    uint8_t asset[20] = {0};
    if (!world_wait(http->world, is_idle, http, REST_TIMEOUT_MS, "the wallet's rest") ||
        !rill_balance_of(http->wallet, asset, &balance))
        return false;
    json_object_set_new(http->run->extra, "paid_units", json_integer((json_int_t)http->paid_units));
    return world_check_money(http->world, (wide)balance.balance + (wide)http->paid_units);
}

static void close_all(struct http_world *http)
{
    for (size_t i = 0; i < MODES; i++)
        rill_fetcher_free(http->fetchers[i]);
    rill_close_handle(http->wallet);
    rill_ledger_free(http->ledger);
    child_stop(&http->proxy, 20000);
    child_stop(&http->service, 5000);
    bytes_wipe(&http->payer, sizeof(http->payer));
    bytes_wipe(&http->merchant, sizeof(http->merchant));
}

bool http_run(struct run *run)
{
    static struct http_world http;
    http.run = run;
    http.world = &run->world;
    double seconds;
    signal(SIGPIPE, SIG_IGN);
    if (!http_service_start(&http.service, &http.service_port))
        return world_fail(&run->world, "the service's process or socket cannot be had");
    bool good = open_channels(&http) && world_start_hub(&run->world, &seconds) && start_proxy(&http) &&
                open_wallet(&http) && open_fetchers(&http) && proxy_serves(&http) && measure_all(&http) &&
                check_money(&http);
    close_all(&http);
    return good;
}
