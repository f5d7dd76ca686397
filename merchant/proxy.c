/* rill-merchantd proxy: settings, start and end. */
#include "merchant/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "base/clock.h"
#include "base/endpoint.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/process.h"
#include "merchant/merchantd.h"
#include "wallet/command.h"

static const char about[] =
    "Puts a price on an HTTP service. A request without payment is answered 402 with an offer that programs "
    "can\n"
    "read (x402's shape, scheme rill-channel); who pays it asks again with the receipt in X-PAYMENT, and is "
    "served\n"
    "once. Or pays a budget once, and sends its receipt with many requests. `rill fetch` does both by "
    "itself.\n"
    "The wallet in --home (`rill init`, `rill open`) receives; no other process may have it open.\n"
    "A price table has a row a line, METHOD PATH PRICE [PER-KIB]; the first that fits counts:\n"
    "    GET  /status     0                  free\n"
    "    GET  /images/    0.002  0.0001      below it: so much, and so much per KiB of the answer\n"
    "    *    /admin/     closed             not for anybody\n"
    "Examples: rill-merchantd proxy --upstream http://127.0.0.1:8000 --price 0.01\n"
    "          rill-merchantd proxy --upstream http://127.0.0.1:8000 --prices prices.txt --listen "
    "0.0.0.0:8402\n"
    "What becomes of a receipt when something fails: docs/pay-per-request.md.\n"
    "Exit codes: 0 ended by SIGTERM or SIGINT, 1 failed, 2 wrong usage, 3 ledger not reached, 4 key, 5 "
    "wallet in use.";

#define ROWS         24
#define FINISH_S_MAX 60 /* service managers lose patience after 90 s */

static void make_rows(struct proxy_settings *s, struct option_row rows[ROWS])
{
    const struct option_row all[ROWS] = {
        {"upstream", OPTION_TEXT, &s->upstream, NULL, 0, 0, "URL",
         "The service: http://HOST:PORT or https://HOST."},
        {"listen", OPTION_TEXT, &s->listen, "127.0.0.1:8402", 0, 0, "ADDRESS:PORT",
         "Where clients connect; port 0: the system chooses. Put TLS in front of it for the open network."},
        {"port-file", OPTION_TEXT, &s->port_file, NULL, 0, 0, "FILE",
         "Gets a line with the port once it serves."},
        {"public-url", OPTION_TEXT, &s->public_url, NULL, 0, 0, "URL",
         "What clients call it, https://api.example; by default http:// and the Host they send."},
        {"price", OPTION_TEXT, &s->price, NULL, 0, 0, "AMOUNT",
         "Of every request without a row in --prices."},
        {"price-per-kib", OPTION_TEXT, &s->kib_price, NULL, 0, 0, "AMOUNT",
         "And of each KiB of its answer that is begun."},
        {"prices", OPTION_TEXT, &s->prices, NULL, 0, 0, "FILE",
         "A price table; without --price, what it does not name is not offered."},
        {"asset", OPTION_TEXT, &s->asset, NULL, 0, 0, "ASSET",
         "Symbol or address of what is charged; the default is the only one there is."},
        {"description", OPTION_TEXT, &s->description, "", 0, 0, "TEXT", "Shown in offers."},
        {"budget-min", OPTION_TEXT, &s->budget_min, NULL, 0, 0, "AMOUNT", "Least budget; default one unit."},
        {"budget-max", OPTION_TEXT, &s->budget_max, NULL, 0, 0, "AMOUNT",
         "Largest budget; default a million times --budget-min."},
        {"budget-usual", OPTION_TEXT, &s->budget_usual, NULL, 0, 0, "AMOUNT",
         "Offered where nobody knows what an answer will cost; default 1000 times --budget-min."},
        {"offer-lifetime-s", OPTION_NUMBER, &s->offer_lifetime_s, "120", 5, 86400, "SECONDS",
         "How long an offer can be paid."},
        {"receipt-lifetime-s", OPTION_NUMBER, &s->receipt_lifetime_s, "900", 10, 864000, "SECONDS",
         "How long after its offer a receipt is good; longer than the offer."},
        {"budget-lifetime-s", OPTION_NUMBER, &s->budget_lifetime_s, "2592000", 60, 31622400, "SECONDS",
         "How long a budget is good; what is left of it then is not paid back."},
        {"upstream-timeout-s", OPTION_NUMBER, &s->upstream_timeout_s, "60", 1, 3600, "SECONDS",
         "The service may be silent for so long."},
        {"client-timeout-s", OPTION_NUMBER, &s->client_timeout_s, "60", 1, 3600, "SECONDS",
         "A client may neither send nor take anything for so long within a request."},
        {"connections", OPTION_NUMBER, &s->connections, "4096", 1, 1000000, "NUMBER",
         "Clients at once; further ones wait in the system's queue."},
        {"upstream-connections", OPTION_NUMBER, &s->upstream_connections, "1024", 1, 100000, "NUMBER",
         "To the service at once; further requests are answered 502, their receipts given back."},
        {"offers-max", OPTION_NUMBER, &s->offers_max, "200000", 1, 900000, "NUMBER",
         "Open offers, neither paid nor expired; further ones are answered 503."},
        {"offers-per-address", OPTION_NUMBER, &s->offers_per_address, "20000", 1, 900000, "NUMBER",
         "The same of one client address."},
        {"trusted-front", OPTION_TEXT, &s->trusted_front, NULL, 0, 0, "ADDRESS[/BITS],…",
         "Servers in front of it, as one with TLS: their X-Forwarded-For says whom the limits count, their "
         "X-Forwarded-Proto what the service is told. Nobody else's does."},
        {"upstream-ca-file", OPTION_TEXT, &s->ca_file, NULL, 0, 0, "FILE",
         "Certificate authorities (PEM) for an https service; default the system's."},
        {"log-level", OPTION_CHOICE, &s->log_level, "info", 0, 0, "debug|info|warn|error",
         "The least that is logged; debug: a line a request."},
    };
    memcpy(rows, all, sizeof(all));
}

static int read_amount(struct proxy *proxy, struct session *session, const char *name, const char *text,
                       uint64_t initial, uint64_t *out)
{
    *out = initial;
    if (text == NULL)
        return RILL_EXIT_OK;
    if (!asset_parse(session, proxy->asset, text, out) || *out == 0 || *out >= AMOUNT_LIMIT)
        return command_fail(session->settings, RILL_EXIT_USAGE, "--%s '%s' is not a positive amount", name,
                            text);
    return RILL_EXIT_OK;
}

static int read_prices(struct proxy *proxy, struct session *session)
{
    const struct proxy_settings *settings = proxy->settings;
    char message[400] = "", row[300];
    proxy->prices = prices_new(proxy->asset->decimals);
    if (settings->prices != NULL && !prices_read(proxy->prices, settings->prices, message, sizeof(message)))
        return command_fail(session->settings, RILL_EXIT_USAGE, "%s", message);
    if (settings->price != NULL || settings->kib_price != NULL) {
        snprintf(row, sizeof(row), "* /* %s %s", settings->price != NULL ? settings->price : "0",
                 settings->kib_price != NULL ? settings->kib_price : "");
        if (!prices_add(proxy->prices, row, message, sizeof(message)))
            return command_fail(session->settings, RILL_EXIT_USAGE, "--price and --price-per-kib: %s",
                                message);
    }
    if (prices_count(proxy->prices) == 0)
        return command_fail(session->settings, RILL_EXIT_USAGE,
                            "nothing has a price: give --price AMOUNT or --prices FILE");
    return RILL_EXIT_OK;
}

static int read_settings(struct proxy *proxy, struct session *session)
{
    const struct proxy_settings *settings = proxy->settings;
    if (settings->receipt_lifetime_s < settings->offer_lifetime_s)
        return command_fail(
            session->settings, RILL_EXIT_USAGE,
            "--receipt-lifetime-s must not be below --offer-lifetime-s: who pays last would get nothing");
    struct http_url url;
    if (settings->public_url != NULL &&
        (!http_url_read(settings->public_url, &url) || strcmp(url.target, "/") != 0 ||
         strstr(settings->public_url + 8, "/") != NULL))
        return command_fail(
            session->settings, RILL_EXIT_USAGE,
            "--public-url '%s' is not https://HOST or http://HOST[:PORT], without a path or '/'",
            settings->public_url);
    char message[200];
    if (!fronts_read(settings->trusted_front, &proxy->fronts, message, sizeof(message)))
        return command_fail(session->settings, RILL_EXIT_USAGE, "%s", message);
    proxy->asset = asset_named(session, settings->asset);
    if (proxy->asset == NULL)
        return RILL_EXIT_USAGE;
    int code = read_prices(proxy, session);
    if (code == RILL_EXIT_OK)
        code = read_amount(proxy, session, "budget-min", settings->budget_min, 1, &proxy->budget_min);
    uint64_t most =
        proxy->budget_min < AMOUNT_LIMIT / 1000000 ? proxy->budget_min * 1000000 : AMOUNT_LIMIT - 1;
    uint64_t usual = proxy->budget_min < AMOUNT_LIMIT / 1000 ? proxy->budget_min * 1000 : AMOUNT_LIMIT - 1;
    if (code == RILL_EXIT_OK)
        code = read_amount(proxy, session, "budget-max", settings->budget_max, most, &proxy->budget_max);
    if (code == RILL_EXIT_OK)
        code =
            read_amount(proxy, session, "budget-usual", settings->budget_usual, usual, &proxy->budget_usual);
    if (code == RILL_EXIT_OK && proxy->budget_max < proxy->budget_min)
        code = command_fail(session->settings, RILL_EXIT_USAGE, "--budget-max is below --budget-min");
    return code;
}

static void describe(struct proxy *proxy, struct session *session)
{
    proxy->base = session->base;
    proxy->ledger = session->ledger;
    proxy->wallet = session->wallet;
    proxy->hub = session->settings->hub;
    proxy->hub_ready = &session->ready;
    rill_address(session->wallet, proxy->payee);
    rill_ledger_hub(session->ledger, proxy->hub_address);
    bool good = hex_decode(session->settings->contract, proxy->contract, sizeof(proxy->contract));
    ensure(good);
    proxy->chain_id = rill_ledger_chain_id(session->ledger);
    snprintf(proxy->network, sizeof(proxy->network), "eip155:%llu", (unsigned long long)proxy->chain_id);
}

static bool write_port(const struct proxy *proxy, uint16_t port, char *message, size_t size)
{
    const char *path = proxy->settings->port_file;
    char beside[1200];
    if (path == NULL)
        return true;
    snprintf(beside, sizeof(beside), "%s.new", path);
    FILE *file = fopen(beside, "we");
    bool written = file != NULL && fprintf(file, "%u\n", port) > 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    if (!written || rename(beside, path) != 0)
        snprintf(message, size, "cannot write --port-file %s: %s", path, strerror(errno));
    return written;
}

static void on_patience(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    *(bool *)context = true;
}

/* The requests under way are answered: as long as the service may be silent, at most FINISH_S_MAX, or until the next signal. */
static void finish(struct proxy *proxy, struct session *session)
{
    bool over = false;
    uint64_t seconds = proxy->settings->upstream_timeout_s;
    const struct timeval patience = {(time_t)(seconds < FINISH_S_MAX ? seconds : FINISH_S_MAX), 0};
    struct event *timer = evtimer_new(proxy->base, on_patience, &over);
    ensure(timer != NULL && evtimer_add(timer, &patience) == 0);
    clients_stop(proxy);
    session->interrupted = false;
    while (proxy->clients != NULL && !over && !session->interrupted)
        event_base_loop(proxy->base, EVLOOP_ONCE);
    event_free(timer);
    if (proxy->client_count > 0)
        log_warn(
            "%zu connections were cut off: receipts of requests still under way are in doubt from now on",
            proxy->client_count);
}

static int serve(struct proxy *proxy, struct session *session)
{
    char message[512] = "", folder[1200];
    command_path(session->settings, "proxy", folder, sizeof(folder));
    proxy->receipts = receipts_open(proxy->base, folder, message, sizeof(message));
    if (proxy->receipts != NULL)
        proxy->upstream = upstream_new(proxy, message, sizeof(message));
    if (proxy->upstream == NULL)
        return command_fail(session->settings, proxy->receipts == NULL ? RILL_EXIT_FAILED : RILL_EXIT_USAGE,
                            "%s", message);
    proxy->offers = offers_new(proxy);
    proxy->kept = kept_answers_new();
    if (!clients_listen(proxy, message, sizeof(message)))
        return command_fail(session->settings, RILL_EXIT_FAILED, "%s", message);
    uint16_t port = endpoint_bound_port(evconnlistener_get_fd(proxy->listener));
    if (!write_port(proxy, port, message, sizeof(message)))
        return command_fail(session->settings, RILL_EXIT_FAILED, "%s", message);
    char host[HOST_BYTES_MAX + 1];
    if (!endpoint_split(proxy->settings->listen, host, &(uint16_t){0}))
        snprintf(host, sizeof(host), "?");
    printf("listening on http://%s:%u\n", host, port);
    fflush(stdout);
    log_info("a price on %s: %zu rows, paid in %s to the wallet in %s", proxy->settings->upstream,
             prices_count(proxy->prices), proxy->asset->symbol, session->settings->home);
    while (!session->interrupted)
        event_base_loop(proxy->base, EVLOOP_ONCE);
    finish(proxy, session);
    const struct proxy_figures *figures = &proxy->figures;
    log_info("ended: %llu requests, %llu offers, %llu paid, %llu refused, %llu given back, %llu units",
             (unsigned long long)figures->requests, (unsigned long long)figures->offers,
             (unsigned long long)figures->paid, (unsigned long long)figures->refused,
             (unsigned long long)figures->returned, (unsigned long long)figures->units);
    return RILL_EXIT_OK;
}

static void end(struct proxy *proxy)
{
    if (proxy->offers != NULL)
        clients_close(proxy);
    offers_free(proxy->offers);
    upstream_free(proxy->upstream);
    kept_answers_free(proxy->kept);
    receipts_close(proxy->receipts);
    prices_free(proxy->prices);
}

int proxy_main(int argc, char **argv)
{
    struct proxy_settings settings = {.upstream = NULL};
    struct option_row rows[ROWS];
    make_rows(&settings, rows);
    struct command_line line = {.settings = {.program = "rill-merchantd"},
                                .name = "proxy",
                                .usage = "--upstream URL --price AMOUNT [OPTIONS]",
                                .about = about,
                                .rows = rows,
                                .row_count = ROWS};
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    enum log_level level;
    if (settings.upstream == NULL || !log_level_parse(settings.log_level, &level))
        return command_fail(&line.settings, RILL_EXIT_USAGE,
                            "give --upstream URL: the service that the price is put on");
    log_setup("rill-merchantd", level, false);
    process_raise_descriptors();
    struct session session;
    struct proxy proxy = {.settings = &settings};
    code = session_open(&session, &line.settings, SESSION_WALLET | SESSION_HUB, false);
    if (code == RILL_EXIT_OK) {
        describe(&proxy, &session);
        code = read_settings(&proxy, &session);
    }
    if (code == RILL_EXIT_OK)
        code = serve(&proxy, &session);
    end(&proxy);
    session_close(&session);
    return code;
}
