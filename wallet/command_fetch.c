/* rill fetch: an HTTP request that pays its own price, within limits. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ensure.h"
#include "base/text.h"
#include "rill_fetch.h"
#include "wallet/command.h"

#define BODY_SHOWN_MAX (1024 * 1024) /* in --json */
#define LIMIT_TIMES    100 /* the limits of a day, where they are not set: so many times --max-price */

struct fetch_options {
    const char *max_price, *host_limit, *day_limit, *budget, *method, *data, *header, *output, *asset,
        *ca_file;
    bool spent;
};

struct fetching {
    struct session *session;
    struct rill_fetcher *fetcher;
    const struct asset_info *asset;
    FILE *output;
    struct buffer body; /* --json without --output */
    bool body_left_out, write_failed, done;
    struct rill_fetch_result result;
    char message[400], type[128];
};

static void on_head(void *context, unsigned status, const char *content_type)
{
    struct fetching *fetching = context;
    (void)status;
    snprintf(fetching->type, sizeof(fetching->type), "%s", content_type);
}

static void on_data(void *context, const void *bytes, size_t length)
{
    struct fetching *fetching = context;
    if (fetching->output != NULL)
        fetching->write_failed |= fwrite(bytes, 1, length, fetching->output) != length;
    else if (fetching->body.length + length <= BODY_SHOWN_MAX)
        buffer_append(&fetching->body, bytes, length);
    else
        fetching->body_left_out = true;
}

static void on_done(void *context, const struct rill_fetch_result *result)
{
    struct fetching *fetching = context;
    fetching->result = *result;
    snprintf(fetching->message, sizeof(fetching->message), "%s", result->message);
    text_make_utf8(fetching->message);
    fetching->result.message = fetching->message;
    fetching->done = true;
}

static void on_outcome(struct session *session, const struct rill_payment *payment)
{
    struct fetching *fetching = session->context;
    if (fetching->fetcher != NULL)
        rill_fetcher_payment(fetching->fetcher, payment);
}

static bool is_done(struct session *session)
{
    return ((struct fetching *)session->context)->done;
}

/* ---- what came of it ---- */

static const char *outcome_name(enum rill_fetch_outcome outcome)
{
    static const char *const names[] = {"answered", "too dear", "no offer", "unpaid",
                                        "refused",  "failed",   "under way"};
    return names[outcome];
}

static void print_json(const struct fetching *fetching)
{
    const struct session *session = fetching->session;
    const struct rill_fetch_result *result = &fetching->result;
    const uint8_t *asset = fetching->asset->address;
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:b, s:b, s:s}", "outcome", outcome_name(result->outcome),
                  "status", (int)result->status, "content_type", fetching->type, "paid",
                  json_amount(session, asset, result->paid), "fee",
                  json_amount(session, asset, result->paid > 0 ? result->fee : 0), "charged",
                  json_amount(session, asset, result->charged), "from_budget", result->from_budget,
                  "kept_receipt", result->kept_receipt, "message", result->message);
    ensure(object != NULL);
    if (result->from_budget)
        json_object_set_new(object, "budget_left",
                            result->budget_left_known ? json_amount(session, asset, result->budget_left)
                                                      : json_null());
    if (result->outcome == RILL_FETCH_TOO_DEAR) {
        json_object_set_new(object, "price", json_amount(session, asset, result->price));
        json_object_set_new(object, "limit", json_amount(session, asset, result->limit));
    }
    bool text = fetching->output == NULL && !fetching->body_left_out &&
                utf8_is_valid(fetching->body.data, fetching->body.length);
    json_object_set_new(object, "body",
                        text ? json_stringn((const char *)fetching->body.data, fetching->body.length)
                             : json_null());
    command_print_json(object);
}

static void print_text(const struct fetching *fetching)
{
    const struct session *session = fetching->session;
    const struct rill_fetch_result *result = &fetching->result;
    const uint8_t *asset = fetching->asset->address;
    char first[ASSET_AMOUNT_TEXT], second[ASSET_AMOUNT_TEXT];
    if (result->paid > 0)
        fprintf(stderr, "rill: paid %s (fee %s)\n", amount_of_asset(session, asset, result->paid, first),
                amount_of_asset(session, asset, result->fee, second));
    if (result->kept_receipt)
        fprintf(stderr, "rill: with a receipt that was paid for earlier\n");
    if (result->from_budget && !result->budget_left_known)
        fprintf(
            stderr,
            "rill: from a budget: %s when the answer began, in the end by the length of the answer; its next "
            "use shows what is left\n",
            amount_of_asset(session, asset, result->charged, first));
    else if (result->from_budget)
        fprintf(stderr, "rill: from a budget: %s, %s left\n",
                amount_of_asset(session, asset, result->charged, first),
                amount_of_asset(session, asset, result->budget_left, second));
    if (result->outcome == RILL_FETCH_TOO_DEAR)
        fprintf(stderr, "rill: not paid: %s, above the limit of %s\n",
                amount_of_asset(session, asset, result->price, first),
                amount_of_asset(session, asset, result->limit, second));
    if (result->message[0] != '\0')
        command_say(stderr, "rill: %s", result->message);
    if (result->outcome == RILL_FETCH_ANSWERED && result->status >= 400)
        fprintf(stderr, "rill: the service answers with status %u\n", result->status);
}

static int exit_code_of(const struct fetching *fetching)
{
    const struct rill_fetch_result *result = &fetching->result;
    switch (result->outcome) {
    case RILL_FETCH_ANSWERED:
        return result->status < 400 ? RILL_EXIT_OK : RILL_EXIT_FAILED;
    case RILL_FETCH_TOO_DEAR:
        return RILL_EXIT_LIMIT;
    case RILL_FETCH_FAILED:
        return RILL_EXIT_UNREACHABLE;
    case RILL_FETCH_UNDER_WAY:
        return RILL_EXIT_PENDING;
    case RILL_FETCH_NO_OFFER:
    case RILL_FETCH_UNPAID:
    case RILL_FETCH_REFUSED:
        break;
    }
    return RILL_EXIT_FAILED;
}

/* ---- what was spent ---- */

static void day_text(uint32_t day, char out[16])
{
    time_t seconds = (time_t)day * 86400;
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(out, 16, "%Y-%m-%d", &parts);
}

static bool show_spent(void *context, const struct rill_fetch_spent *spent)
{
    const struct fetching *fetching = context;
    char day[16], amount[ASSET_AMOUNT_TEXT];
    day_text(spent->day, day);
    if (fetching->session->settings->json)
        command_print_json(json_pack("{s:s, s:s, s:o, s:I}", "day", day, "host", spent->host, "spent",
                                     json_amount(fetching->session, fetching->asset->address, spent->units),
                                     "payments", (json_int_t)spent->payments));
    else
        printf("%s  %-40s %s in %llu payments\n", day, spent->host,
               amount_of_asset(fetching->session, fetching->asset->address, spent->units, amount),
               (unsigned long long)spent->payments);
    return true;
}

static bool show_budget(void *context, const struct rill_fetch_budget *budget)
{
    const struct fetching *fetching = context;
    char left[ASSET_AMOUNT_TEXT], paid[ASSET_AMOUNT_TEXT];
    if (fetching->session->settings->json)
        command_print_json(json_pack("{s:s, s:o, s:o}", "origin", budget->origin, "budget_left",
                                     json_amount(fetching->session, fetching->asset->address, budget->left),
                                     "budget_paid",
                                     json_amount(fetching->session, fetching->asset->address, budget->paid)));
    else
        printf("budget      %-40s %s left of %s\n", budget->origin,
               amount_of_asset(fetching->session, fetching->asset->address, budget->left, left),
               amount_of_asset(fetching->session, fetching->asset->address, budget->paid, paid));
    return true;
}

/* ---- the command ---- */

static int read_amount(const struct fetching *fetching, const char *name, const char *text,
                       uint64_t otherwise, uint64_t *out)
{
    *out = otherwise;
    if (text == NULL || asset_parse(fetching->session, fetching->asset, text, out))
        return RILL_EXIT_OK;
    return command_fail(fetching->session->settings, RILL_EXIT_USAGE, "--%s '%s' is not an amount", name,
                        text);
}

static int open_fetcher(struct fetching *fetching, const struct fetch_options *options, uint64_t *max_price)
{
    struct session *session = fetching->session;
    char folder[1200], message[400];
    struct rill_fetcher_options fetcher = {.base = session->base,
                                           .wallet = session->wallet,
                                           .ledger = session->ledger,
                                           .folder = folder,
                                           .ca_file = options->ca_file};
    command_path(session->settings, "fetch", folder, sizeof(folder));
    fetching->asset = asset_named(session, options->asset);
    if (fetching->asset == NULL)
        return RILL_EXIT_USAGE;
    memcpy(fetcher.asset, fetching->asset->address, sizeof(fetcher.asset));
    int code = read_amount(fetching, "max-price", options->max_price, 0, max_price);
    uint64_t many = *max_price < AMOUNT_LIMIT / LIMIT_TIMES ? *max_price * LIMIT_TIMES : AMOUNT_LIMIT - 1;
    if (code == RILL_EXIT_OK)
        code = read_amount(fetching, "host-limit", options->host_limit, many, &fetcher.host_day_limit);
    if (code == RILL_EXIT_OK)
        code = read_amount(fetching, "day-limit", options->day_limit, many, &fetcher.day_limit);
    if (code == RILL_EXIT_OK)
        code = read_amount(fetching, "budget", options->budget, 0, &fetcher.budget_units);
    if (code != RILL_EXIT_OK)
        return code;
    fetching->fetcher = rill_fetcher_new(&fetcher, message, sizeof(message));
    return fetching->fetcher != NULL ? RILL_EXIT_OK
                                     : command_fail(session->settings, RILL_EXIT_FAILED, "%s", message);
}

static int begin(struct fetching *fetching, const struct fetch_options *options, const char *url,
                 uint64_t max_price)
{
    const struct settings *settings = fetching->session->settings;
    char header[8192] = "";
    if (options->header != NULL)
        snprintf(header, sizeof(header), "%s\r\n", options->header);
    struct rill_fetch_request request = {
        .method = options->method,
        .url = url,
        .headers = header,
        .body = options->data,
        .body_length = options->data != NULL ? strlen(options->data) : 0,
        .max_price = max_price,
        .timeout_ms = (uint32_t)(settings->timeout_s < 4000000 ? settings->timeout_s * 1000 : 4000000000u),
        .head = on_head,
        .data = on_data,
        .done = on_done,
        .context = fetching};
    if (rill_fetch(fetching->fetcher, &request))
        return RILL_EXIT_OK;
    return command_fail(settings, RILL_EXIT_USAGE,
                        "'%s' is not a URL of http or https, or --method or --header is none", url);
}

static int fetch(struct fetching *fetching, const struct fetch_options *options, const char *url,
                 uint64_t max_price)
{
    struct session *session = fetching->session;
    const struct settings *settings = session->settings;
    if (options->output != NULL) {
        fetching->output = fopen(options->output, "we");
        if (fetching->output == NULL)
            return command_fail(settings, RILL_EXIT_FAILED, "cannot write %s: %s", options->output,
                                strerror(errno));
    } else if (!settings->json) {
        fetching->output = stdout;
    }
    int code = session_ready(session);
    if (code == RILL_EXIT_OK)
        code = begin(fetching, options, url, max_price);
    if (code != RILL_EXIT_OK)
        return code;
    /* A payment that is slow is not given up: its receipt is kept, and the same command uses it. */
    if (!session_wait(session, is_done, settings->timeout_s * 2000, "the answer"))
        return command_fail(settings, RILL_EXIT_PENDING,
                            "no answer in time; what was paid is kept, and the same command uses it");
    (void)session_wait(session, session_is_idle, 2000, "the hub");
    bool written = fetching->output == NULL || (fflush(fetching->output) == 0 && !fetching->write_failed);
    if (!written)
        return command_fail(settings, RILL_EXIT_FAILED, "the answer could not be written: %s",
                            strerror(errno));
    if (settings->json)
        print_json(fetching);
    else
        print_text(fetching);
    return exit_code_of(fetching);
}

int command_fetch(int argc, char **argv)
{
    struct fetch_options options = {.spent = false};
    struct command_line line = {
        .name = "fetch",
        .usage = "URL --max-price AMOUNT [OPTIONS] | --spent",
        .about =
            "Fetches a URL, and pays for it if its server answers 402 with an offer of the scheme "
            "rill-channel\n"
            "(rill-merchantd proxy): within --max-price for this request, --host-limit and --day-limit, all "
            "with\n"
            "the hub's fee. The offer must be for exactly this request. The answer goes to stdout, what was "
            "paid\n"
            "to stderr. A receipt that was not served is kept and used by the same command; so is what a "
            "service\n"
            "answers after --timeout-s.\n"
            "With --budget a budget is bought from the host once, and later requests are paid from it; a "
            "budget\n"
            "is one payment, so --max-price must allow it. What is bought over https is never sent over "
            "http.\n"
            "Examples: rill fetch https://api.example/weather --max-price 0.02\n"
            "          rill fetch https://api.example/weather --max-price 1 --budget 0.5\n"
            "          rill fetch --spent\n"
            "Exit codes: 0 answered, 1 refused or a status from 400 up, 3 not reached, 6 no answer in\n"
            "time, or the service is still at work on what was paid (try again), 8 a limit forbids the "
            "price.",
        .rows =
            (const struct option_row[]){
                {"max-price", OPTION_TEXT, &options.max_price, NULL, 0, 0, "AMOUNT",
                 "The most that this request may pay; without it nothing is paid."},
                {"host-limit", OPTION_TEXT, &options.host_limit, NULL, 0, 0, "AMOUNT",
                 "The most paid to this host in a day (UTC); default 100 times --max-price."},
                {"day-limit", OPTION_TEXT, &options.day_limit, NULL, 0, 0, "AMOUNT",
                 "The most paid in a day in all; default 100 times --max-price."},
                {"budget", OPTION_TEXT, &options.budget, NULL, 0, 0, "AMOUNT",
                 "Buy a budget of so much when one is needed."},
                {"method", OPTION_TEXT, &options.method, NULL, 0, 0, "METHOD",
                 "Default GET, or POST with --data."},
                {"data", OPTION_TEXT, &options.data, NULL, 0, 0, "TEXT", "The request's body."},
                {"header", OPTION_TEXT, &options.header, NULL, 0, 0, "NAME:VALUE", "One more header."},
                {"output", OPTION_TEXT, &options.output, NULL, 0, 0, "FILE",
                 "Where the answer goes; default stdout."},
                {"asset", OPTION_TEXT, &options.asset, NULL, 0, 0, "ASSET",
                 "Symbol or address of what may be paid; the default is the only one there is."},
                {"ca-file", OPTION_TEXT, &options.ca_file, NULL, 0, 0, "FILE",
                 "Certificate authorities (PEM) for https; default the system's."},
                {"spent", OPTION_FLAG, &options.spent, "false", 0, 0, NULL,
                 "Show what was spent, by day and host, and the budgets that are left."},
            },
        .row_count = 11,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    if (options.spent == (line.word_count == 1))
        return command_fail(&line.settings, RILL_EXIT_USAGE, "give a URL, or --spent alone");
    struct session session;
    struct fetching fetching = {.session = &session};
    uint64_t max_price = 0;
    code = session_open(&session, &line.settings,
                        SESSION_WALLET | (options.spent ? SESSION_OFFLINE : SESSION_HUB), false);
    session.context = &fetching;
    session.on_outcome = on_outcome;
    if (code == RILL_EXIT_OK)
        code = open_fetcher(&fetching, &options, &max_price);
    if (code == RILL_EXIT_OK && options.spent) {
        rill_fetch_spent(fetching.fetcher, show_spent, &fetching);
        rill_fetch_budgets(fetching.fetcher, show_budget, &fetching);
    } else if (code == RILL_EXIT_OK) {
        code = fetch(&fetching, &options, line.words[0], max_price);
    }
    rill_fetcher_free(fetching.fetcher);
    session_close(&session);
    if (fetching.output != NULL && fetching.output != stdout)
        fclose(fetching.output);
    buffer_free(&fetching.body);
    return code;
}
