/* rill hub status, hub history, tower list: how the others are, and what the hub knows of past payments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "wallet/command.h"
#include "wallet/http_ask.h"

static char *http_get(const char *host, uint16_t port, const char *path, int *status)
{
    return http_ask_wait(&(struct http_question){.host = host, .port = port, .path = path}, status);
}

/* ---- hub status ---- */

/* "rill_clients 12" lines of the Prometheus text, as one object. */
static json_t *parse_metrics(const char *text)
{
    json_t *object = json_object();
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char line[256];
        if (length < sizeof(line) && strncmp(text, "rill_", 5) == 0) {
            memcpy(line, text, length);
            line[length] = '\0';
            char *space = strrchr(line, ' ');
            if (space != NULL) {
                *space = '\0';
                double value = strtod(space + 1, NULL);
                json_object_set_new(object, line + 5,
                                    value == (double)(json_int_t)value ? json_integer((json_int_t)value)
                                                                       : json_real(value));
            }
        }
        text += length + (text[length] == '\n');
    }
    return object;
}

static void print_metrics(json_t *metrics)
{
    static const struct {
        const char *name, *shown;
    } lines[] = {
        {"uptime_seconds", "up (s)"},
        {"clients_online", "clients online"},
        {"clients", "clients known"},
        {"channels_open", "channels open"},
        {"payments_direct_total", "direct payments"},
        {"payments_locked_total", "locked payments"},
        {"payments_completed_total", "with a receipt"},
        {"payments_refunded_total", "refunded"},
        {"payments_failed_total", "failed"},
        {"volume_units_total", "volume (units)"},
        {"fees_units_total", "fees (units)"},
        {"updates_refused_total", "updates refused"},
        {"resident_peak_kib", "memory peak (KiB)"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
        json_t *value = json_object_get(metrics, lines[i].name);
        if (value != NULL)
            printf("%-18s %lld\n", lines[i].shown, (long long)json_number_value(value));
    }
}

int command_hub_status(int argc, char **argv)
{
    const char *http = NULL;
    struct command_line line = {
        .name = "hub status",
        .usage = "[OPTIONS]",
        .about = "For the operator: how the hub on this machine is, from its /healthz and /metrics.\n"
                 "Example: rill hub status --http 127.0.0.1:9745 --json\n"
                 "Exit codes: 0 healthy, 1 it says it is not, 3 not reached.",
        .rows = (const struct option_row[]){{"http", OPTION_TEXT, &http, "127.0.0.1:9745", 0, 0, "HOST:PORT",
                                             "The hub's --http."}},
        .row_count = 1,
    };
    int code, status;
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    if (!endpoint_split(http, host, &port))
        return command_fail(settings, RILL_EXIT_USAGE, "--http '%s' is not HOST:PORT", http);
    char *health = http_get(host, port, "/healthz", &status);
    bool healthy = status == 200;
    if (health == NULL)
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "no hub answers at http://%s", http);
    health[strcspn(health, "\n")] = '\0';
    char *text = http_get(host, port, "/metrics", &status);
    json_t *metrics = parse_metrics(text != NULL ? text : "");
    if (settings->json) {
        command_print_json(
            json_pack("{s:b, s:s, s:O}", "healthy", healthy, "health", health, "metrics", metrics));
    } else {
        printf("%-18s %s%s%s\n", "health", healthy ? "ok" : "trouble", healthy ? "" : ": ",
               healthy ? "" : health);
        print_metrics(metrics);
    }
    json_decref(metrics);
    free(health);
    free(text);
    return healthy ? RILL_EXIT_OK : RILL_EXIT_FAILED;
}

/* ---- hub history ---- */

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

static uint64_t number_at(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void print_past(const json_t *payment)
{
    char when[32];
    printf("%s  %-3s %-9s %-6s %20llu  fee %llu  %s  %s\n", time_text(number_at(payment, "time"), when),
           text_at(payment, "direction"), text_at(payment, "state"),
           json_is_true(json_object_get(payment, "locked")) ? "locked" : "direct",
           (unsigned long long)number_at(payment, "amount"), (unsigned long long)number_at(payment, "fee"),
           text_at(payment, "peer"), text_at(payment, "id"));
}

/* One page of the hub's answer. Returns the exit code. */
static int show_history(const struct settings *settings, const char *http, const char *body, int status)
{
    if (body == NULL)
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "no hub answers at http://%s", http);
    json_t *answer = json_loads(body, 0, NULL);
    if (status != 200 || answer == NULL) {
        int code = command_fail(settings, RILL_EXIT_FAILED, "the hub at http://%s says: %s", http,
                                answer == NULL ? "nothing that can be read" : text_at(answer, "error"));
        json_decref(answer);
        return code;
    }
    if (settings->json) {
        command_print_json(answer);
        return RILL_EXIT_OK;
    }
    const json_t *payments = json_object_get(answer, "payments");
    for (size_t i = 0; i < json_array_size(payments); i++)
        print_past(json_array_get(payments, i));
    if (json_array_size(payments) == 0)
        printf("no past payments\n");
    if (text_at(answer, "next")[0] != '\0')
        printf("more with --cursor %s\n", text_at(answer, "next"));
    json_decref(answer);
    return RILL_EXIT_OK;
}

int command_hub_history(int argc, char **argv)
{
    const char *http = NULL, *client_text = NULL, *cursor = NULL;
    uint64_t since = 0, until = 0, limit = 0;
    struct command_line line = {
        .name = "hub history",
        .usage = "--client ADDRESS [OPTIONS]",
        .about =
            "For the operator: a client's past payments, oldest first, from the archive of the hub on this "
            "machine. A payment\n"
            "is there once the hub has forgotten it: a day after its expiry. Amounts are in units.\n"
            "Example: rill hub history --client 0x52… --since 1767225600 --limit 1000 --json\n"
            "Exit codes: 0 shown, 1 the hub refuses, 2 wrong usage, 3 not reached.",
        .rows =
            (const struct option_row[]){
                {"http", OPTION_TEXT, &http, "127.0.0.1:9745", 0, 0, "HOST:PORT", "The hub's --http."},
                {"client", OPTION_TEXT, &client_text, NULL, 0, 0, "ADDRESS", "Whose payments; needed."},
                {"since", OPTION_NUMBER, &since, "0", 0, INT64_MAX, "SECONDS", "From this Unix time on."},
                {"until", OPTION_NUMBER, &until, "9223372036854775807", 0, INT64_MAX, "SECONDS",
                 "Before this Unix time."},
                {"limit", OPTION_NUMBER, &limit, "100", 1, 1000, "NUMBER", "How many at once."},
                {"cursor", OPTION_TEXT, &cursor, NULL, 0, 0, "TEXT", "Goes on where the last answer ended."},
            },
        .row_count = 6,
    };
    int code, status;
    char host[HOST_BYTES_MAX + 1], path[512], text[ADDRESS_TEXT_SIZE];
    uint16_t port;
    struct address client;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    if (!endpoint_split(http, host, &port))
        return command_fail(settings, RILL_EXIT_USAGE, "--http '%s' is not HOST:PORT", http);
    if (client_text == NULL || !hex_decode(client_text, client.bytes, sizeof(client.bytes)))
        return command_fail(settings, RILL_EXIT_USAGE, "--client must be an address: 0x and 40 digits");
    if (cursor != NULL && (strlen(cursor) > 128 || strspn(cursor, "0123456789abcdef") != strlen(cursor)))
        return command_fail(settings, RILL_EXIT_USAGE, "--cursor '%s' is not from an answer of the hub",
                            cursor);
    snprintf(path, sizeof(path), "/history?client=%s&since=%llu&until=%llu&limit=%llu%s%s",
             address_text(&client, text), (unsigned long long)since, (unsigned long long)until,
             (unsigned long long)limit, cursor != NULL ? "&cursor=" : "", cursor != NULL ? cursor : "");
    char *body = http_get(host, port, path, &status);
    code = show_history(settings, http, body, status);
    free(body);
    return code;
}

/* ---- tower list ---- */

struct tower_wait {
    size_t towers;
};

static bool towers_connected(struct session *session)
{
    const struct tower_wait *wait = session->context;
    for (size_t i = 0; i < wait->towers; i++)
        if (!rill_tower_is_connected(session->wallet, i))
            return false;
    return true;
}

static bool receipts_given(struct session *session)
{
    const struct tower_wait *wait = session->context;
    struct rill_balance balance;
    for (size_t c = 0; rill_balance_at(session->wallet, c, &balance); c++)
        for (size_t i = 0; i < wait->towers; i++)
            if (balance.stage == RILL_OPEN && rill_tower_receipt(session->wallet, i, balance.channel) == 0)
                return false;
    return true;
}

static size_t count_towers(const char *text)
{
    size_t count = text != NULL && text[0] != '\0';
    for (; text != NULL && *text != '\0'; text++)
        count += *text == ',';
    return count;
}

int command_tower_list(int argc, char **argv)
{
    struct command_line line = {
        .name = "tower list",
        .usage = "[OPTIONS]",
        .about = "Shows the wallet's watchtowers, and up to which of the hub's proofs each has signed a "
                 "receipt per channel.\n"
                 "Example: rill tower list\n"
                 "Exit codes: 0 all connected, 1 one is not, 2 none are set, 4 keystore, 5 folder in use.",
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    if (settings->towers == NULL)
        return command_fail(settings, RILL_EXIT_USAGE,
                            "no towers are set: --towers ADDRESS@HOST:PORT, or `towers` in the "
                            "wallet's config file");
    struct session session;
    struct tower_wait wait = {.towers = count_towers(settings->towers)};
    code = session_open(&session, settings, SESSION_WALLET | SESSION_HUB, false);
    if (code != RILL_EXIT_OK) {
        session_close(&session);
        return code;
    }
    session.context = &wait;
    session.quiet_trouble = true;
    bool all = session_wait(&session, towers_connected, 5000, "the towers");
    if (all)
        (void)session_wait(&session, receipts_given, 2000, "their receipts");
    json_t *list = json_array();
    for (size_t i = 0; i < wait.towers; i++) {
        bool connected = rill_tower_is_connected(session.wallet, i);
        struct rill_balance balance;
        json_t *receipts = json_object();
        if (!settings->json)
            printf("tower %zu  %s\n", i + 1, connected ? "connected" : "not connected");
        for (size_t c = 0; rill_balance_at(session.wallet, c, &balance); c++) {
            char text[HASH_TEXT_SIZE];
            struct hash channel;
            memcpy(channel.bytes, balance.channel, sizeof(channel.bytes));
            uint64_t nonce = rill_tower_receipt(session.wallet, i, balance.channel);
            json_object_set_new(receipts, hash_text(&channel, text), json_integer((json_int_t)nonce));
            if (!settings->json)
                printf("  channel %.18s…  receipt for proof %llu\n", text, (unsigned long long)nonce);
        }
        json_array_append_new(list, json_pack("{s:b, s:o}", "connected", connected, "receipts", receipts));
    }
    if (settings->json)
        command_print_json(json_pack("{s:O}", "towers", list));
    json_decref(list);
    session_close(&session);
    return all ? RILL_EXIT_OK : RILL_EXIT_FAILED;
}
