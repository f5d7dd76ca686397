/* rill merchant webhooks: what a shop's server (rill-merchantd) has not been able to tell, and telling it again. */
#include <event2/http.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "wallet/command.h"
#include "wallet/http_ask.h"

#define KEY_BYTES_MAX 200

struct merchant_options {
    const char *url, *api_key_file, *authority, *since, *webhook;
};

static bool read_key(const struct settings *settings, const char *path, char out[KEY_BYTES_MAX])
{
    const char *given = getenv("RILL_API_KEY");
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    out[0] = '\0';
    if (file != NULL && fgets(out, KEY_BYTES_MAX, file) == NULL)
        out[0] = '\0';
    if (file != NULL)
        fclose(file);
    else if (path == NULL && given != NULL)
        snprintf(out, KEY_BYTES_MAX, "%s", given);
    out[strcspn(out, "\r\n ")] = '\0';
    if (out[0] != '\0')
        return true;
    command_fail(
        settings, RILL_EXIT_KEY,
        "no API key: give --api-key-file FILE or set RILL_API_KEY (`rill-merchantd keys create` makes one)");
    return false;
}

/* Unix seconds, or how long ago: "30m", "2h", "3d". */
static bool read_since(const char *text, uint64_t *out)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    uint64_t number = strtoull(text, &end, 10), now = clock_unix_s();
    *out = number;
    if (*end == '\0')
        return true;
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (end[0] != units[i].unit || end[1] != '\0' || number > now / units[i].seconds)
            continue;
        *out = now - number * units[i].seconds;
        return true;
    }
    return false;
}

/* Asks the server; prints its answer, or its error. Returns an exit code. */
static int ask(const struct settings *settings, const struct merchant_options *options, const char *path,
               const char *body)
{
    char key[KEY_BYTES_MAX], authorization[KEY_BYTES_MAX + 16];
    struct evhttp_uri *uri = evhttp_uri_parse(options->url);
    const char *scheme = uri != NULL ? evhttp_uri_get_scheme(uri) : NULL;
    bool https = scheme != NULL && strcasecmp(scheme, "https") == 0;
    int code = RILL_EXIT_KEY, status;
    if (scheme == NULL || evhttp_uri_get_host(uri) == NULL || (!https && strcasecmp(scheme, "http") != 0)) {
        code = command_fail(settings, RILL_EXIT_USAGE, "--url '%s' is not as http://127.0.0.1:9780",
                            options->url);
    } else if (read_key(settings, options->api_key_file, key)) {
        int port = evhttp_uri_get_port(uri);
        snprintf(authorization, sizeof(authorization), "Bearer %s", key);
        struct http_question question = {.host = evhttp_uri_get_host(uri),
                                         .port = (uint16_t)(port > 0 ? port
                                                            : https  ? 443
                                                                     : 80),
                                         .https = https,
                                         .authority = options->authority,
                                         .path = path,
                                         .body = body,
                                         .authorization = authorization};
        char *answer = http_ask_wait(&question, &status);
        bytes_wipe(key, sizeof(key));
        bytes_wipe(authorization, sizeof(authorization));
        json_t *object = answer != NULL ? json_loads(answer, 0, NULL) : NULL;
        const char *why = json_string_value(json_object_get(json_object_get(object, "error"), "message"));
        if (answer == NULL)
            code = command_fail(settings, RILL_EXIT_UNREACHABLE, "no server answers at %s", options->url);
        else if (status >= 300 || object == NULL)
            code = command_fail(settings, RILL_EXIT_FAILED, "%s",
                                why != NULL ? why : "the answer is not the API's");
        else
            code = RILL_EXIT_OK;
        if (code == RILL_EXIT_OK)
            command_print_json(json_incref(object));
        json_decref(object);
        free(answer);
    }
    if (uri != NULL)
        evhttp_uri_free(uri);
    return code;
}

static int run(const struct settings *settings, const struct merchant_options *options, const char *word)
{
    char path[160], body[160];
    uint64_t since;
    if (strcmp(word, "list") == 0)
        return ask(settings, options, "/v1/webhooks", NULL);
    if (options->webhook != NULL &&
        strspn(options->webhook, "wh_0123456789abcdef") != strlen(options->webhook))
        return command_fail(settings, RILL_EXIT_USAGE, "--webhook is not a web hook's id: `list` shows them");
    if (strcmp(word, "dead") == 0 && options->webhook != NULL) {
        snprintf(path, sizeof(path), "/v1/webhooks/%.60s/deliveries?state=dead&limit=500", options->webhook);
        return ask(settings, options, path, NULL);
    }
    if (strcmp(word, "dead") == 0)
        return command_fail(settings, RILL_EXIT_USAGE, "say whose: --webhook ID");
    if (strcmp(word, "replay") != 0)
        return command_fail(settings, RILL_EXIT_USAGE, "say list, dead or replay");
    if (!read_since(options->since, &since))
        return command_fail(settings, RILL_EXIT_USAGE,
                            "give --since: Unix seconds, or how long ago: 30m, 2h, 3d");
    snprintf(body, sizeof(body), "{\"since\":%" PRIu64 "%s%.60s%s}", since,
             options->webhook != NULL ? ",\"webhook\":\"" : "",
             options->webhook != NULL ? options->webhook : "", options->webhook != NULL ? "\"" : "");
    return ask(settings, options, "/v1/webhooks/replay", body);
}

int command_merchant_webhooks(int argc, char **argv)
{
    struct merchant_options options = {.url = NULL};
    struct command_line line = {
        .name = "merchant webhooks",
        .usage = "list|dead|replay [OPTIONS]",
        .about = "Of a shop's server: its web hooks, the events that one of them has not taken for three "
                 "days, and\n"
                 "telling events once more (receivers know them by their id).\n"
                 "Example: rill merchant webhooks replay --since 2h\n"
                 "Exit codes: 0 done, 1 refused, 3 not reached, 4 no API key.",
        .rows =
            (const struct option_row[]){{"url", OPTION_TEXT, &options.url, "http://127.0.0.1:9780", 0, 0,
                                         "URL", "Where rill-merchantd serves its API."},
                                        {"api-key-file", OPTION_TEXT, &options.api_key_file, NULL, 0, 0,
                                         "FILE", "File whose first line is an API key; else RILL_API_KEY."},
                                        {"ca", OPTION_TEXT, &options.authority, NULL, 0, 0, "FILE",
                                         "Certificates, PEM, to trust beside the system's."},
                                        {"since", OPTION_TEXT, &options.since, NULL, 0, 0, "TIME",
                                         "replay: from here on; Unix seconds, or how long ago: 30m, 2h, 3d."},
                                        {"webhook", OPTION_TEXT, &options.webhook, NULL, 0, 0, "ID",
                                         "One web hook; replay: default all."}},
        .row_count = 5,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    return run(&line.settings, &options, line.words[0]);
}
