/* rill-merchantd serve: settings, the wallet, the shop, the server, and what joins them. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endpoint.h"
#include "base/ensure.h"
#include "base/log.h"
#include "merchant/api.h"
#include "merchant/merchantd.h"
#include "merchant/pages.h"
#include "merchant/public_address.h"
#include "merchant/streams.h"
#include "merchant/webhooks.h"

#define GOODBYE_TURNS 50

struct flags {
    const char *listen, *public_url, *shop, *colour, *frame_ancestors, *certificate, *webhook_allow,
        *webhook_ca, *key, *port_file, *trusted_front, *log_format, *log_level;
    bool allow_plain;
    uint64_t connections, rate, burst, public_rate, invoices_max, keep_days;
};

struct server {
    struct flags flags;
    struct session session;
    struct shop shop;
    struct api api;
    char host[HOST_BYTES_MAX + 1], base_url[HOST_BYTES_MAX + 64];
    uint16_t port;
    struct event *wake, *tick;
    uint64_t assets_asked_us; /* clock_monotonic_us */
    char assets_trouble[512]; /* said last */
};

#define ASSETS_AGAIN_US 2000000

/* ---- settings ---- */

static bool read_settings(struct command_line *line, struct flags *flags, int argc, char **argv, int *code)
{
    const struct option_row rows[] = {
        {"listen", OPTION_TEXT, &flags->listen, "127.0.0.1:9780", 0, 0, "ADDRESS:PORT",
         "Where the API and the payment page are served; with port 0 the system chooses, see --port-file."},
        {"public-url", OPTION_TEXT, &flags->public_url, NULL, 0, 0, "URL",
         "How customers reach it, as https://pay.example.com: what pay_url begins with; default: where it "
         "listens."},
        {"page-shop", OPTION_TEXT, &flags->shop, "", 0, 0, "NAME",
         "The shop's name, on the payment page and the till."},
        {"page-colour", OPTION_TEXT, &flags->colour, "#1d4f73", 0, 0, "#RRGGBB",
         "Colour of their head and buttons."},
        {"page-frame-ancestors", OPTION_TEXT, &flags->frame_ancestors, "'none'", 0, 0, "SOURCES",
         "Who may show the payment page in a frame: 'none', 'self', or origins with spaces between."},
        {"tls-cert", OPTION_TEXT, &flags->certificate, NULL, 0, 0, "FILE",
         "Certificate chain, PEM: then HTTPS is spoken."},
        {"tls-key", OPTION_TEXT, &flags->key, NULL, 0, 0, "FILE", "Its key, PEM."},
        {"webhook-allow", OPTION_TEXT, &flags->webhook_allow, NULL, 0, 0, "HOST,…",
         "Hosts, as their URLs have them, to which web hooks may go plain and into private networks."},
        {"webhook-ca", OPTION_TEXT, &flags->webhook_ca, NULL, 0, 0, "FILE",
         "Certificates, PEM, to trust in web hooks beside the system's."},
        {"allow-plain", OPTION_FLAG, &flags->allow_plain, "false", 0, 0, NULL,
         "Speak plain HTTP although --listen is not loopback: for a proxy with TLS in front."},
        {"connections", OPTION_NUMBER, &flags->connections, "1024", 8, 65536, "NUMBER",
         "HTTP connections at once; when all are taken, those without a key that are idle longest give way. "
         "One "
         "address may have an eighth without a key."},
        {"rate-per-s", OPTION_NUMBER, &flags->rate, "50", 1, 100000, "NUMBER",
         "Requests a second of one API key."},
        {"rate-burst", OPTION_NUMBER, &flags->burst, "100", 1, 100000, "NUMBER",
         "The same, at once after a rest."},
        {"public-rate-per-s", OPTION_NUMBER, &flags->public_rate, "50", 1, 100000, "NUMBER",
         "Requests a second from one address without a key; four times as many at once."},
        {"trusted-front", OPTION_TEXT, &flags->trusted_front, NULL, 0, 0, "ADDRESS[/BITS],…",
         "Servers in front of it, as one with TLS: their X-Forwarded-For says whose rate is counted. Nobody "
         "else's does."},
        {"invoices-max", OPTION_NUMBER, &flags->invoices_max, "1000000", 1, 100000000, "NUMBER",
         "Invoices kept at a time, about 1 KiB of memory each; more are refused."},
        {"keep-days", OPTION_NUMBER, &flags->keep_days, "400", 4, 36500, "DAYS",
         "How long what has ended can be looked up: invoices, payments, events, history."},
        {"port-file", OPTION_TEXT, &flags->port_file, NULL, 0, 0, "FILE", "Gets the port once it is served."},
        {"log-format", OPTION_CHOICE, &flags->log_format, "text", 0, 0, "text|json",
         "Form of the log on stderr."},
        {"log-level", OPTION_CHOICE, &flags->log_level, "info", 0, 0, "debug|info|warn|error",
         "The least that is logged."},
    };
    *line = (struct command_line){
        .settings = {.program = "rill-merchantd"},
        .name = "",
        .usage = "[serve] [OPTIONS] | keys create|list|revoke …",
        .about =
            "A shop's side of the hub: holds its wallet, and serves an HTTP API for its web shop, with web "
            "hooks,\n"
            "live events and a payment page. docs/merchants.md begins with ten minutes that end in a "
            "payment.\n"
            "Example: rill-merchantd --home ~/.rill --listen 127.0.0.1:9780\n"
            "Exit codes: 0 stopped, 1 failed, 2 wrong usage, 3 hub or ledger not reached, 4 keystore, 5 the\n"
            "wallet's folder is in use.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    return command_read(line, argc, argv, code);
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || address_is_loopback(host);
}

static int check_flags(struct server *server, const struct settings *settings)
{
    const struct flags *flags = &server->flags;
    enum log_level level;
    ensure(log_level_parse(flags->log_level, &level));
    log_setup("rill-merchantd", level, strcmp(flags->log_format, "json") == 0);
    if (!endpoint_split(flags->listen, server->host, &server->port))
        return command_fail(settings, RILL_EXIT_USAGE, "--listen %s: give ADDRESS:PORT, as in 127.0.0.1:9780",
                            flags->listen);
    if ((flags->certificate == NULL) != (flags->key == NULL))
        return command_fail(settings, RILL_EXIT_USAGE, "--tls-cert and --tls-key belong together");
    if (flags->certificate == NULL && !flags->allow_plain && !is_loopback(server->host))
        return command_fail(
            settings, RILL_EXIT_USAGE,
            "keys would travel unprotected: give --tls-cert and --tls-key, or listen on loopback "
            "behind a proxy with TLS, or say --allow-plain");
    return RILL_EXIT_OK;
}

/* ---- what the wallet tells ---- */

static void on_ready(void *context, struct rill_wallet *wallet)
{
    struct server *server = context;
    (void)wallet;
    if (!server->api.hub_ready)
        log_info("connected to the hub: payments can arrive");
    server->api.hub_ready = true;
    server->api.trouble[0] = '\0';
}

static void on_offline(void *context, struct rill_wallet *wallet, const char *reason)
{
    struct server *server = context;
    (void)wallet;
    if (server->api.hub_ready || server->api.trouble[0] == '\0')
        log_warn("no connection to the hub: %s", reason);
    server->api.hub_ready = false;
    snprintf(server->api.trouble, sizeof(server->api.trouble), "%s", reason);
}

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    shop_received(&((struct server *)context)->shop, payment);
}

static void on_outgoing(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    shop_outgoing(&((struct server *)context)->shop, payment);
}

static void on_settlement(void *context, struct rill_wallet *wallet, const struct rill_settlement *settlement)
{
    (void)wallet;
    shop_settled(&((struct server *)context)->shop, settlement);
}

static void on_closing(void *context, struct rill_wallet *wallet, const uint8_t channel[32], const char *text,
                       bool done, uint64_t paid_out)
{
    (void)context;
    (void)wallet;
    (void)channel;
    (void)done;
    (void)paid_out;
    log_warn("%s", text);
}

static void on_trouble(void *context, struct rill_wallet *wallet, const char *text)
{
    (void)context;
    (void)wallet;
    log_warn("%s", text);
}

/* ---- the loop ---- */

static void on_published(void *context)
{
    struct server *server = context;
    streams_published(server->api.streams);
    webhooks_published(server->api.webhooks);
}

static void on_wake(evutil_socket_t descriptor, short what, void *context)
{
    struct server *server = context;
    uint64_t count;
    (void)what;
    if (read(descriptor, &count, sizeof(count)) < 0)
        return; /* nothing to empty: somebody waited for it already */
    shop_durable(&server->shop);
}

static void on_tick(evutil_socket_t descriptor, short what, void *context)
{
    struct server *server = context;
    (void)descriptor;
    (void)what;
    shop_tick(&server->shop);
    shop_durable(&server->shop);
    streams_tick(server->api.streams);
    webhooks_tick(server->api.webhooks);
}

static bool write_port(const struct server *server)
{
    char temporary[1200];
    const char *path = server->flags.port_file;
    if (path == NULL)
        return true;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "we");
    bool good = file != NULL && fprintf(file, "%u\n", http_port(server->api.http)) > 0;
    if (file != NULL && fclose(file) != 0)
        good = false;
    return good && rename(temporary, path) == 0;
}

static int start_http(struct server *server)
{
    char message[500], path[1200];
    const struct flags *flags = &server->flags;
    struct http_options options = {.host = server->host,
                                   .port = server->port,
                                   .certificate = flags->certificate,
                                   .key = flags->key,
                                   .connections_max = (uint32_t)flags->connections,
                                   .is_shared = api_is_shared};
    struct api *api = &server->api;
    command_path(server->session.settings, "merchant-keys.json", path, sizeof(path));
    api->shop = &server->shop;
    api->session = &server->session;
    api->keys = keys_new(path, (uint32_t)flags->rate, (uint32_t)flags->burst);
    if (!fronts_read(flags->trusted_front, &api->fronts, message, sizeof(message)))
        return command_fail(server->session.settings, RILL_EXIT_USAGE, "%s", message);
    const struct pages_settings pages = {flags->shop, flags->colour, flags->frame_ancestors};
    api->pages = pages_new(&pages, api_public_invoice, api, message, sizeof(message));
    if (api->pages == NULL)
        return command_fail(server->session.settings, RILL_EXIT_USAGE, "%s", message);
    api->streams = streams_new(server->session.base, &server->shop, flags->connections);
    api_init(api, (uint32_t)flags->public_rate);
    if (!keys_refresh(api->keys, message, sizeof(message)))
        return command_fail(server->session.settings, RILL_EXIT_FAILED, "%s", message);
    api->http = http_new(server->session.base, &options, api_handle, api, message, sizeof(message));
    if (api->http == NULL)
        return command_fail(server->session.settings, RILL_EXIT_FAILED, "%s", message);
    snprintf(server->base_url, sizeof(server->base_url), "%s://%s:%u",
             flags->certificate != NULL ? "https" : "http", server->host, http_port(api->http));
    server->shop.options.base_url = flags->public_url != NULL ? flags->public_url : server->base_url;
    return RILL_EXIT_OK;
}

static int open_shop(struct server *server)
{
    char folder[1200], message[600];
    struct shop_options options = {
        .invoices_max = server->flags.invoices_max, .keep_days = server->flags.keep_days, .base_url = ""};
    command_path(server->session.settings, "merchant", folder, sizeof(folder));
    const struct webhooks_options webhooks = {server->flags.webhook_allow, server->flags.webhook_ca};
    shop_init(&server->shop, &options, &server->session);
    server->api.webhooks =
        webhooks_new(server->session.base, &server->shop, &webhooks, message, sizeof(message));
    if (server->api.webhooks == NULL)
        return command_fail(server->session.settings, RILL_EXIT_USAGE, "--webhook-ca: %s", message);
    if (!shop_open(&server->shop, folder, message, sizeof(message)))
        return command_fail(server->session.settings, RILL_EXIT_FAILED, "%s", message);
    server->shop.on_published = on_published;
    server->shop.published_context = server;
    return RILL_EXIT_OK;
}

static void watch(struct server *server)
{
    struct event_base *base = server->session.base;
    server->wake =
        event_new(base, journal_wake_descriptor(server->shop.journal), EV_READ | EV_PERSIST, on_wake, server);
    server->tick = event_new(base, -1, EV_PERSIST, on_tick, server);
    struct timeval second = {1, 0};
    ensure(server->wake != NULL && server->tick != NULL && event_add(server->wake, NULL) == 0 &&
           event_add(server->tick, &second) == 0);
}

/* The ledger was away when this began, or did not tell of its assets: they are asked for again. */
static void ask_assets(struct server *server)
{
    struct session *session = &server->session;
    uint64_t now = clock_monotonic_us();
    bool is_early = server->assets_asked_us != 0 && now - server->assets_asked_us < ASSETS_AGAIN_US;
    if (session->asset_count > 0 || is_early || !rill_ledger_is_ready(session->ledger))
        return;
    server->assets_asked_us = now;
    bool agrees = assets_load(session);
    bool is_told = strcmp(session->assets_trouble, server->assets_trouble) == 0;
    if ((!agrees || session->asset_count == 0) && session->assets_trouble[0] != '\0' && !is_told)
        log_warn("%s", session->assets_trouble);
    memcpy(server->assets_trouble, session->assets_trouble, sizeof(server->assets_trouble));
}

static int run(struct server *server)
{
    int code = open_shop(server);
    if (code == RILL_EXIT_OK)
        code = start_http(server);
    if (code != RILL_EXIT_OK)
        return code;
    shop_reconcile(&server->shop);
    watch(server);
    shop_durable(&server->shop);
    webhooks_start(server->api.webhooks);
    if (!write_port(server))
        return command_fail(server->session.settings, RILL_EXIT_FAILED, "cannot write the port file %s",
                            server->flags.port_file);
    if (keys_at(server->api.keys, 0) == NULL)
        log_info("there are no API keys yet: rill-merchantd keys create --home %s",
                 server->session.settings->home);
    printf("rill-merchantd ready: %s\n", server->base_url);
    fflush(stdout);
    while (!server->session.interrupted) {
        event_base_loop(server->session.base, EVLOOP_ONCE);
        ask_assets(server);
    }
    log_info("stopping");
    server->api.stopping = true;
    http_stop(server->api.http);
    server->session.interrupted = false;
    (void)session_wait(&server->session, session_is_idle, 2000, "the hub");
    return RILL_EXIT_OK;
}

static void stop(struct server *server)
{
    http_free(server->api.http); /* streams go with their connections */
    streams_free(server->api.streams);
    webhooks_free(server->api.webhooks);
    pages_free(server->api.pages);
    keys_free(server->api.keys);
    if (server->wake != NULL)
        event_free(server->wake);
    if (server->tick != NULL)
        event_free(server->tick);
}

int serve_main(int argc, char **argv)
{
    static const struct rill_callbacks callbacks = {.ready = on_ready,
                                                    .offline = on_offline,
                                                    .received = on_received,
                                                    .paid = on_outgoing,
                                                    .failed = on_outgoing,
                                                    .returned = on_outgoing,
                                                    .settlement = on_settlement,
                                                    .closing = on_closing,
                                                    .trouble = on_trouble};
    struct server *server = xcalloc(1, sizeof(*server));
    struct command_line line;
    int code;
    if (read_settings(&line, &server->flags, argc, argv, &code)) {
        code = check_flags(server, &line.settings);
        if (code == RILL_EXIT_OK) {
            code =
                session_open_with(&server->session, &line.settings,
                                  SESSION_WALLET | SESSION_HUB | SESSION_PATIENT, false, &callbacks, server);
            if (code == RILL_EXIT_OK)
                code = run(server);
            stop(server);
            session_close(&server->session);
            shop_close(&server->shop);
        }
    }
    free(server);
    return code;
}
