/* rill hub status, hub history: how the others are, and what the hub knows of past payments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/text.h"
#include "wallet/hub_http.h"

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

#define DAY_S 86400 /* the hub looks no further ahead */

static void print_pools(const json_t *pools)
{
    for (size_t i = 0; i < json_array_size(pools); i++) {
        const json_t *pool = json_array_get(pools, i);
        uint64_t lasts_s = json_number_at(pool, "pool_lasts_s");
        char asset[ADDRESS_TEXT_SIZE];
        snprintf(asset, sizeof(asset), "%s", json_text_at(pool, "asset"));
        printf("pool %s  %llu units, ", text_make_plain(asset),
               (unsigned long long)json_number_at(pool, "pool"));
        if (lasts_s >= DAY_S)
            printf("enough for a day at the present demand\n");
        else if (lasts_s == 0)
            printf("TOO LOW for what channels need now; deposit %llu for a day\n",
                   (unsigned long long)json_number_at(pool, "pool_lacking"));
        else
            printf("too low in about %llu h %02llu min at the present demand; deposit %llu for a day\n",
                   (unsigned long long)lasts_s / 3600, (unsigned long long)lasts_s / 60 % 60,
                   (unsigned long long)json_number_at(pool, "pool_lacking"));
    }
}

int command_hub_status(int argc, char **argv)
{
    const char *http = NULL;
    struct command_line line = {
        .name = "hub status",
        .usage = "[OPTIONS]",
        .about =
            "For the operator: how the hub on this machine is, from its /healthz, /metrics and /balances: "
            "also how long\n"
            "each pool lasts at the present demand, and what to deposit.\n"
            "Example: rill hub status --http 127.0.0.1:9745 --json\n"
            "Exit codes: 0 healthy, 1 it says it is not, 3 not reached.",
        .rows = (const struct option_row[]){{"http", OPTION_TEXT, &http, "127.0.0.1:9745", 0, 0, "HOST:PORT",
                                             "The hub's --http."}},
        .row_count = 1,
    };
    int code, status;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    if ((code = hub_http_check(settings, "http", http)) != RILL_EXIT_OK)
        return code;
    char *health = hub_http_text(NULL, http, "/healthz", false, &status);
    bool healthy = status == 200;
    if (health == NULL)
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "no hub answers at http://%s", http);
    health[strcspn(health, "\n")] = '\0';
    text_make_utf8(health);
    char *text = hub_http_text(NULL, http, "/metrics", false, &status);
    json_t *metrics = parse_metrics(text != NULL ? text : "");
    char *balances = hub_http_text(NULL, http, "/balances", false, &status);
    json_t *pools = balances != NULL ? json_loads(balances, 0, NULL) : NULL;
    if (settings->json) {
        command_print_json(json_pack("{s:b, s:s, s:O, s:O*}", "healthy", healthy, "health", health, "metrics",
                                     metrics, "pools", pools));
    } else {
        command_say(stdout, "%-18s %s%s%s", "health", healthy ? "ok" : "trouble", healthy ? "" : ": ",
                    healthy ? "" : health);
        print_metrics(metrics);
        print_pools(pools);
    }
    json_decref(metrics);
    json_decref(pools);
    free(balances);
    free(health);
    free(text);
    return healthy ? RILL_EXIT_OK : RILL_EXIT_FAILED;
}

/* ---- hub history ---- */

static void print_past(const json_t *payment)
{
    char when[32];
    command_say(stdout, "%s  %-3s %-9s %-6s %20llu  fee %llu  %s  %s",
                time_text(json_number_at(payment, "time"), when), json_text_at(payment, "direction"),
                json_text_at(payment, "state"),
                json_is_true(json_object_get(payment, "locked")) ? "locked" : "direct",
                (unsigned long long)json_number_at(payment, "amount"),
                (unsigned long long)json_number_at(payment, "fee"), json_text_at(payment, "peer"),
                json_text_at(payment, "id"));
}

static void show_history(const struct settings *settings, json_t *answer)
{
    if (settings->json) {
        command_print_json(answer);
        return;
    }
    const json_t *payments = json_object_get(answer, "payments");
    for (size_t i = 0; i < json_array_size(payments); i++)
        print_past(json_array_get(payments, i));
    if (json_array_size(payments) == 0)
        printf("no past payments\n");
    if (json_text_at(answer, "next")[0] != '\0')
        command_say(stdout, "more with --cursor %s", json_text_at(answer, "next"));
    json_decref(answer);
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
    int code;
    char path[512], text[ADDRESS_TEXT_SIZE];
    json_t *answer;
    struct address client;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    if ((code = hub_http_check(settings, "http", http)) != RILL_EXIT_OK)
        return code;
    if (client_text == NULL || !hex_decode(client_text, client.bytes, sizeof(client.bytes)))
        return command_fail(settings, RILL_EXIT_USAGE, "--client must be an address: 0x and 40 digits");
    if (cursor != NULL && (strlen(cursor) > 128 || strspn(cursor, "0123456789abcdef") != strlen(cursor)))
        return command_fail(settings, RILL_EXIT_USAGE, "--cursor '%s' is not from an answer of the hub",
                            cursor);
    snprintf(path, sizeof(path), "/history?client=%s&since=%llu&until=%llu&limit=%llu%s%s",
             address_text(&client, text), (unsigned long long)since, (unsigned long long)until,
             (unsigned long long)limit, cursor != NULL ? "&cursor=" : "", cursor != NULL ? cursor : "");
    code = hub_http_json(settings, http, path, false, &answer);
    if (code == RILL_EXIT_OK)
        show_history(settings, answer);
    return code;
}
