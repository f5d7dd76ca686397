/* rill invoice, pay, listen, history: payments. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ensure.h"
#include "wallet/command.h"

static const char asset_help[] = "Symbol or address; the default is the only one there is.";

json_t *json_payment(const struct session *session, const struct rill_payment *payment)
{
    struct payment_id id;
    char text[PAYMENT_ID_TEXT_SIZE];
    memcpy(id.bytes, payment->id, sizeof(id.bytes));
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:I, s:I, s:s}", "id", payment_id_text(&id, text),
        "direction", payment->outgoing ? "out" : "in", "mode", payment->locked ? "locked" : "direct", "state",
        payment->state, "is_final", payment->is_final, "asset", json_address(payment->asset), "amount",
        json_amount(session, payment->asset, payment->amount), "fee",
        json_amount(session, payment->asset, payment->fee), "secret_hash", json_hash(payment->secret_hash),
        "created", (json_int_t)payment->created, "expiry", (json_int_t)payment->expiry, "memo",
        payment->memo != NULL ? payment->memo : "");
    ensure(object != NULL);
    if (payment->outgoing)
        json_object_set_new(object, "payee", json_address(payment->payee));
    if (payment->has_secret)
        json_object_set_new(object, "receipt", json_hash(payment->secret));
    if (payment->code != 0)
        json_object_set_new(object, "code", json_string(rill_code_name(payment->code)));
    if (payment->proof_nonce != 0) {
        json_object_set_new(object, "proof_nonce", json_integer((json_int_t)payment->proof_nonce));
        json_object_set_new(object, "proof_digest", json_hash(payment->proof_digest));
    }
    return object;
}

/* ---- pay ---- */

static bool has_outcome(struct session *session)
{
    return session->outcome;
}

struct pay_options {
    const char *payee, *hash, *asset, *mode, *memo, *fee_max;
};

static int read_request(struct session *session, const struct command_line *line,
                        const struct pay_options *options, struct rill_request *request)
{
    const struct asset_info *asset;
    const char *amount = NULL;
    char message[200];
    if (options->payee == NULL) {
        struct rill_invoice invoice;
        request->invoice = line->words[0];
        amount = line->word_count > 1 ? line->words[1] : NULL;
        if (line->word_count < 1)
            return command_fail(session->settings, RILL_EXIT_USAGE, "give the invoice to pay (\"rill:…\")");
        if (!rill_invoice_read(session->wallet, line->words[0], &invoice, message, sizeof(message)))
            return command_fail(session->settings, RILL_EXIT_FAILED, "%s", message);
        asset = asset_by_address(session, invoice.asset);
        if (asset == NULL)
            return command_fail(session->settings, RILL_EXIT_FAILED,
                                "the invoice is in an asset that the hub does not list");
        if (amount == NULL && invoice.amount == 0)
            return command_fail(session->settings, RILL_EXIT_USAGE,
                                "the invoice leaves the amount to you: give it after it");
    } else {
        if (options->hash == NULL || line->word_count != 1)
            return command_fail(session->settings, RILL_EXIT_USAGE,
                                "--payee needs --secret-hash and one AMOUNT");
        asset = asset_named(session, options->asset);
        if (asset == NULL)
            return RILL_EXIT_USAGE;
        amount = line->words[0];
        memcpy(request->asset, asset->address, sizeof(request->asset));
        if (!hex_decode(options->payee, request->payee, 20) ||
            !hex_decode(options->hash, request->secret_hash, 32))
            return command_fail(session->settings, RILL_EXIT_USAGE,
                                "--payee wants an address, --secret-hash 64 hexadecimal digits");
    }
    if (options->fee_max != NULL && !asset_parse(session, asset, options->fee_max, &request->fee_max))
        return RILL_EXIT_USAGE;
    return amount == NULL || asset_parse(session, asset, amount, &request->amount) ? RILL_EXIT_OK
                                                                                   : RILL_EXIT_USAGE;
}

static int report_payment(struct session *session)
{
    const struct settings *settings = session->settings;
    const struct rill_payment *payment = &session->payment;
    char amount[ASSET_AMOUNT_TEXT], fee[ASSET_AMOUNT_TEXT], receipt[HASH_TEXT_SIZE];
    if (!payment->has_secret && strcmp(payment->state, "paid") == 0)
        return command_fail(
            settings, RILL_EXIT_PENDING,
            "paid by what the ledger has; `rill history` has the receipt once the hub shows it");
    if (!payment->has_secret) {
        if (settings->json)
            command_print_json(json_payment(session, payment));
        fprintf(stderr, "rill: the payment failed: %s (%s)\n", rill_code_text(payment->code),
                rill_code_name(payment->code));
        return RILL_EXIT_FAILED;
    }
    /* The receipt is worth more than a second: let the hub hear that it has arrived. */
    (void)session_wait(session, session_is_idle, 2000, "the hub");
    if (settings->json) {
        command_print_json(json_payment(session, payment));
        return RILL_EXIT_OK;
    }
    struct hash secret;
    memcpy(secret.bytes, payment->secret, sizeof(secret.bytes));
    printf("paid %s (fee %s)\nreceipt %s\n",
           amount_of_asset(session, payment->asset, payment->amount, amount),
           amount_of_asset(session, payment->asset, payment->fee, fee), hash_text(&secret, receipt));
    return RILL_EXIT_OK;
}

static int pay(struct session *session, const struct command_line *line, const struct pay_options *options)
{
    const struct settings *settings = session->settings;
    const char *mode = options->mode;
    struct rill_request request = {.memo = options->memo,
                                   .mode = strcmp(mode, "direct") == 0   ? RILL_DIRECT
                                           : strcmp(mode, "locked") == 0 ? RILL_LOCKED
                                                                         : RILL_AUTO};
    int code = read_request(session, line, options, &request);
    if (code == RILL_EXIT_OK)
        code = session_ready(session);
    if (code != RILL_EXIT_OK)
        return code;
    if (rill_pay(session->wallet, &request, session->waited_id) != 0)
        return command_fail(settings, RILL_EXIT_FAILED, "not paid: %s", rill_refusal(session->wallet));
    if (session_wait(session, has_outcome, settings->timeout_s * 1000, "the payee's receipt"))
        return report_payment(session);
    if (session->failing_code != 0)
        return command_fail(settings, RILL_EXIT_PENDING,
                            "the payment fails (%s), and the hub has not given it up: it could still be "
                            "paid, so pay nothing in "
                            "its place until `rill history` shows it as failed",
                            rill_code_name(session->failing_code));
    return command_fail(
        settings, RILL_EXIT_PENDING,
        "sent, and not answered yet (the payee may be offline); `rill history` will show the outcome");
}

int command_pay(int argc, char **argv)
{
    struct pay_options options = {.mode = "auto"};
    struct command_line line = {
        .name = "pay",
        .usage = "INVOICE [AMOUNT] | --payee ADDRESS --secret-hash HASH AMOUNT [OPTIONS]",
        .about = "Pays an invoice and prints the receipt: the secret whose hash the invoice names. Small "
                 "payments go\n"
                 "direct: fast, and at risk until the receipt comes, within --max-unsecured. Larger ones are "
                 "locked:\n"
                 "the money moves only against the secret. An invoice is never paid twice.\n"
                 "Example: rill pay rill:AEBQ…\n"
                 "Exit codes: 0 paid, 1 refused or failed, 3 not reached, 6 sent and not answered in "
                 "time, or failing\n"
                 "while the hub could still collect it.",
        .rows =
            (const struct option_row[]){
                {"mode", OPTION_CHOICE, &options.mode, "auto", 0, 0, "auto|direct|locked", "How to pay."},
                {"max-fee", OPTION_TEXT, &options.fee_max, NULL, 0, 0, "AMOUNT",
                 "Refuse if the hub's fee is more."},
                {"memo", OPTION_TEXT, &options.memo, NULL, 0, 0, "TEXT",
                 "Note for the payee; default the invoice's."},
                {"payee", OPTION_TEXT, &options.payee, NULL, 0, 0, "ADDRESS",
                 "Whom to pay without an invoice."},
                {"secret-hash", OPTION_TEXT, &options.hash, NULL, 0, 0, "HASH",
                 "SHA-256 of the payee's secret."},
                {"asset", OPTION_TEXT, &options.asset, NULL, 0, 0, "ASSET", asset_help},
            },
        .row_count = 6,
        .words_min = 1,
        .words_max = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    code = session_open(&session, &line.settings, SESSION_WALLET | SESSION_HUB, false);
    if (code == RILL_EXIT_OK)
        code = pay(&session, &line, &options);
    session_close(&session);
    return code;
}

/* ---- a merchant's terminal ---- */

struct terminal {
    const struct asset_info *asset;
    uint64_t lifetime_s, received, count_max;
    char *input;
    size_t input_length;
    bool input_ended;
    uint8_t waited_hash[32]; /* `rill invoice --wait`: only this one counts */
    bool only_one;
};

static void show_received(struct session *session, const struct rill_payment *payment)
{
    struct terminal *terminal = session->context;
    char amount[ASSET_AMOUNT_TEXT], when[32];
    if (terminal->only_one && memcmp(terminal->waited_hash, payment->secret_hash, 32) != 0)
        return;
    terminal->received++;
    if (session->settings->json) {
        command_print_json(json_payment(session, payment));
        return;
    }
    command_say(stdout, "%s  received %s%s%s", time_text(payment->created, when),
                amount_of_asset(session, payment->asset, payment->amount, amount),
                payment->memo[0] != '\0' ? "  " : "", payment->memo);
    fflush(stdout);
}

static bool ledger_in_view(struct session *session)
{
    return rill_ledger_time(session->ledger) != 0;
}

/* Makes and prints an invoice. Returns an exit code. */
static int make_invoice(struct session *session, const struct asset_info *asset, uint64_t units,
                        uint64_t lifetime_s, const char *memo, uint8_t secret_hash[32])
{
    char text[RILL_INVOICE_TEXT_MAX];
    if (rill_invoice_create(session->wallet, asset->address, units, lifetime_s, memo, text, secret_hash) != 0)
        return command_fail(session->settings, RILL_EXIT_FAILED, "%s", rill_refusal(session->wallet));
    uint64_t expiry = rill_ledger_time(session->ledger) + lifetime_s;
    if (session->settings->json)
        command_print_json(json_pack("{s:s, s:o, s:o, s:o, s:I}", "invoice", text, "asset",
                                     json_address(asset->address), "amount",
                                     json_amount(session, asset->address, units), "secret_hash",
                                     json_hash(secret_hash), "expiry", (json_int_t)expiry));
    else
        printf("%s\n", text);
    fflush(stdout);
    return RILL_EXIT_OK;
}

static bool enough_received(struct session *session)
{
    const struct terminal *terminal = session->context;
    return terminal->count_max != 0 && terminal->received >= terminal->count_max;
}

int command_invoice(int argc, char **argv)
{
    const char *asset_name = NULL, *memo = NULL;
    uint64_t lifetime_s = 0;
    bool wait = false;
    struct command_line line = {
        .name = "invoice",
        .usage = "[AMOUNT] [OPTIONS]",
        .about = "Makes an invoice for AMOUNT (without it the payer chooses), good for one payment. Give its "
                 "text to the\n"
                 "payer; the hub never sees it. To be paid, this wallet must be online: --wait, or `rill "
                 "listen`.\n"
                 "Example: rill invoice 2.50 --memo 'two coffees' --wait\n"
                 "Exit codes: 0 made (and paid, with --wait), 1 refused, 3 not reached, 6 not paid in time.",
        .rows =
            (const struct option_row[]){
                {"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", asset_help},
                {"memo", OPTION_TEXT, &memo, NULL, 0, 0, "TEXT", "What it is for; the payer sees it."},
                {"expires-s", OPTION_NUMBER, &lifetime_s, "3600", 1, 31622400, "SECONDS",
                 "How long it can be paid."},
                {"wait", OPTION_FLAG, &wait, "false", 0, 0, NULL,
                 "Stay until it is paid, at most --timeout-s."},
            },
        .row_count = 4,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    struct terminal terminal = {.only_one = true, .count_max = 1};
    code = session_open(&session, &line.settings, SESSION_WALLET | SESSION_HUB, false);
    session.context = &terminal;
    uint64_t units = 0;
    if (code == RILL_EXIT_OK) {
        terminal.asset = asset_named(&session, asset_name);
        bool good = terminal.asset != NULL &&
                    (line.word_count == 0 || asset_parse(&session, terminal.asset, line.words[0], &units));
        code = good ? RILL_EXIT_OK : RILL_EXIT_USAGE;
    }
    if (code == RILL_EXIT_OK && wait)
        code = session_ready(&session);
    if (code == RILL_EXIT_OK && !session_wait(&session, ledger_in_view, 10000, "the ledger"))
        code = command_fail(&line.settings, RILL_EXIT_UNREACHABLE, "the ledger is not in view");
    session.on_received = show_received;
    if (code == RILL_EXIT_OK)
        code = make_invoice(&session, terminal.asset, units, lifetime_s, memo, terminal.waited_hash);
    if (code == RILL_EXIT_OK && wait) {
        if (!session_wait(&session, enough_received, line.settings.timeout_s * 1000, "the payment"))
            code = command_fail(&line.settings, RILL_EXIT_PENDING,
                                "not paid yet; the invoice stays good until it expires");
        else
            (void)session_wait(&session, session_is_idle, 2000, "the hub");
    }
    session_close(&session);
    return code;
}

/* A line typed: AMOUNT [MEMO] makes an invoice. */
static void take_line(struct session *session, char *line)
{
    struct terminal *terminal = session->context;
    uint8_t secret_hash[32];
    uint64_t units = 0;
    line[strcspn(line, "\r")] = '\0';
    char *memo = line + strcspn(line, " \t");
    if (*memo != '\0')
        *memo++ = '\0';
    if (line[0] == '\0')
        return;
    if (strcmp(line, "any") == 0 || asset_parse(session, terminal->asset, line, &units))
        (void)make_invoice(session, terminal->asset, units, terminal->lifetime_s, memo, secret_hash);
}

#define INPUT_LINE_MAX 1024

static void on_input(evutil_socket_t descriptor, short what, void *argument)
{
    (void)what;
    struct session *session = argument;
    struct terminal *terminal = session->context;
    ssize_t length =
        read(descriptor, terminal->input + terminal->input_length, INPUT_LINE_MAX - terminal->input_length);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        terminal->input_ended = true;
        return;
    }
    terminal->input_length += (size_t)length;
    char *end;
    while ((end = memchr(terminal->input, '\n', terminal->input_length)) != NULL) {
        *end = '\0';
        take_line(session, terminal->input);
        size_t used = (size_t)(end + 1 - terminal->input);
        terminal->input_length -= used;
        memmove(terminal->input, end + 1, terminal->input_length);
    }
    if (terminal->input_length == INPUT_LINE_MAX)
        terminal->input_length = 0; /* no line is that long */
}

/* A payout that the wallet asked for by itself has come, or has not. */
static void show_settlement(struct session *session, const struct rill_settlement *settlement)
{
    char amount[ASSET_AMOUNT_TEXT], when[32];
    amount_of_asset(session, settlement->asset, settlement->amount, amount);
    if (session->settings->json) {
        command_print_json(json_pack("{s:o, s:o, s:b, s:s?, s:o}", "paid_out",
                                     json_amount(session, settlement->asset, settlement->amount), "asset",
                                     json_address(settlement->asset), "settled", settlement->settled, "code",
                                     settlement->settled ? NULL : rill_code_name(settlement->code),
                                     "transaction", json_hash(settlement->transaction)));
        return;
    }
    time_text((uint64_t)time(NULL), when);
    if (settlement->settled)
        printf("%s  paid out %s to your address on the ledger\n", when, amount);
    else
        printf("%s  a payout of %s came to nothing: %s\n", when, amount, rill_code_text(settlement->code));
    fflush(stdout);
}

static int listen_on(struct session *session)
{
    struct terminal *terminal = session->context;
    int code = session_ready(session);
    if (code != RILL_EXIT_OK)
        return code;
    terminal->input = xcalloc(1, INPUT_LINE_MAX + 1);
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    (void)fcntl(STDIN_FILENO, F_SETFL, flags | O_NONBLOCK);
    struct event *input = event_new(session->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, session);
    bool reads =
        input != NULL && event_add(input, NULL) == 0; /* a file cannot be waited for: then only listen */
    fprintf(stderr, "rill: listening%s\n",
            reads ? "; type AMOUNT [MEMO] (or 'any') for an invoice, Ctrl-C to stop" : "");
    while (!session->interrupted && !enough_received(session)) {
        event_base_loop(session->base, EVLOOP_ONCE);
        if (terminal->input_ended && reads) {
            event_del(input);
            reads = false;
        }
    }
    if (input != NULL)
        event_free(input);
    (void)fcntl(STDIN_FILENO, F_SETFL, flags);
    session->interrupted = false;
    (void)session_wait(session, session_is_idle, 2000, "the hub");
    free(terminal->input);
    return RILL_EXIT_OK;
}

int command_listen(int argc, char **argv)
{
    const char *asset_name = NULL;
    struct payout_flags payout;
    struct terminal terminal = {.lifetime_s = 3600};
    struct command_line line = {
        .name = "listen",
        .usage = "[OPTIONS]",
        .about =
            "A merchant's terminal: stays online, prints every payment as it is received, and makes an "
            "invoice for\n"
            "each line AMOUNT [MEMO] that is typed. Holds the wallet's folder: other commands wait until it "
            "ends.\n"
            "With --payout it also asks to be paid out by itself, and says when that has come.\n"
            "Example: rill listen --asset USDC\n"
            "         rill listen --payout threshold --payout-threshold 500 --payout-keep 100\n"
            "Exit codes: 0 stopped (Ctrl-C, or --count reached), 3 not reached, 4 keystore, 5 folder in use.",
        .rows =
            (const struct option_row[]){
                {"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", "Asset of the invoices typed."},
                {"expires-s", OPTION_NUMBER, &terminal.lifetime_s, "3600", 1, 31622400, "SECONDS",
                 "How long they can be paid."},
                {"count", OPTION_NUMBER, &terminal.count_max, "0", 0, UINT64_MAX, "NUMBER",
                 "End after so many payments; 0: never."},
                PAYOUT_ROWS(&payout),
            },
        .row_count = 3 + PAYOUT_ROW_COUNT,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    code = session_open(&session, &line.settings, SESSION_WALLET | SESSION_HUB, false);
    session.context = &terminal;
    session.on_received = show_received;
    if (code == RILL_EXIT_OK) {
        terminal.asset = asset_named(&session, asset_name);
        code =
            terminal.asset != NULL ? command_payout_set(&session, terminal.asset, &payout) : RILL_EXIT_USAGE;
    }
    if (code == RILL_EXIT_OK) {
        session.on_settlement = show_settlement;
        code = listen_on(&session);
    }
    session_close(&session);
    return code;
}

/* ---- history ---- */

struct listing {
    struct session *session;
    json_t *list;
    struct rill_payment *payments;
    char (*memos)[257];
    size_t count, capacity;
    const char *direction;
};

static bool collect(void *context, const struct rill_payment *payment)
{
    struct listing *listing = context;
    if ((strcmp(listing->direction, "in") == 0 && payment->outgoing) ||
        (strcmp(listing->direction, "out") == 0 && !payment->outgoing))
        return true;
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity == 0 ? 64 : listing->capacity * 2;
        listing->payments = xrealloc(listing->payments, listing->capacity * sizeof(*listing->payments));
        listing->memos = xrealloc(listing->memos, listing->capacity * sizeof(*listing->memos));
    }
    snprintf(listing->memos[listing->count], sizeof(*listing->memos), "%s", payment->memo);
    listing->payments[listing->count++] = *payment;
    return true;
}

static int by_time(const void *a, const void *b)
{
    uint64_t first = ((const struct rill_payment *)a)->created,
             second = ((const struct rill_payment *)b)->created;
    return (first > second) - (first < second);
}

static void print_payment(const struct session *session, const struct rill_payment *payment)
{
    char amount[ASSET_AMOUNT_TEXT], when[32], id[PAYMENT_ID_TEXT_SIZE];
    struct payment_id payment_id;
    memcpy(payment_id.bytes, payment->id, sizeof(payment_id.bytes));
    command_say(stdout, "%s  %-4s %-9s %-7s %20s  %s%s%s%s%s", time_text(payment->created, when),
                payment->outgoing ? "out" : "in", payment->state, payment->locked ? "locked" : "direct",
                amount_of_asset(session, payment->asset, payment->amount, amount),
                payment_id_text(&payment_id, id), payment->code != 0 ? "  " : "",
                payment->code != 0 ? rill_code_name(payment->code) : "", payment->memo[0] != '\0' ? "  " : "",
                payment->memo);
}

/* ---- how channels ended ---- */

static const char *closed_by_text(enum rill_closed_by by)
{
    switch (by) {
    case RILL_CLOSED_TOGETHER:
        return "together";
    case RILL_CLOSED_BY_WALLET:
        return "by you";
    case RILL_CLOSED_BY_HUB:
        return "by the hub";
    }
    return "?";
}

static json_t *ending_json(const struct session *session, const struct rill_ending *ending)
{
    return json_pack("{s:o, s:o, s:I, s:s, s:o, s:o, s:b}", "channel", json_hash(ending->channel), "asset",
                     json_address(ending->asset), "time", (json_int_t)ending->time, "closed",
                     closed_by_text(ending->by), "paid_out",
                     json_amount(session, ending->asset, ending->paid_out), "penalty",
                     json_amount(session, ending->asset, ending->penalty), "done", ending->done);
}

static void print_ending(const struct session *session, const struct rill_ending *ending)
{
    char amount[ASSET_AMOUNT_TEXT], penalty[ASSET_AMOUNT_TEXT], when[32], text[HASH_TEXT_SIZE];
    struct hash channel;
    memcpy(channel.bytes, ending->channel, sizeof(channel.bytes));
    printf("%s  channel %.18s… closed %s: %s paid out%s", time_text(ending->time, when),
           hash_text(&channel, text), closed_by_text(ending->by),
           amount_of_asset(session, ending->asset, ending->paid_out, amount),
           ending->done ? "" : " so far; locks are still held");
    if (ending->penalty > 0)
        printf(", penalty %s %s", amount_of_asset(session, ending->asset, ending->penalty, penalty),
               ending->by == RILL_CLOSED_BY_HUB ? "of the hub's, in it but for a tower's bounty" : "lost");
    printf("\n");
}

static json_t *list_endings(const struct session *session)
{
    struct rill_ending ending;
    json_t *list = json_array();
    for (size_t i = 0; rill_ending_at(session->wallet, i, &ending); i++) {
        json_array_append_new(list, ending_json(session, &ending));
        if (!session->settings->json)
            print_ending(session, &ending);
    }
    return list;
}

int command_history(int argc, char **argv)
{
    const char *direction = NULL;
    uint64_t limit = 0;
    struct command_line line = {
        .name = "history",
        .usage = "[OPTIONS]",
        .about = "Shows the payments of this wallet, newest last, and how its channels ended on the ledger; "
                 "--json has every\n"
                 "field, receipts included. Reads the wallet's own records only: neither hub nor ledger is "
                 "needed.\n"
                 "Example: rill history --direction in --limit 20\n"
                 "Exit codes: 0 shown, 4 keystore, 5 folder in use.",
        .rows =
            (const struct option_row[]){
                {"direction", OPTION_CHOICE, &direction, "both", 0, 0, "both|in|out", "Which payments."},
                {"limit", OPTION_NUMBER, &limit, "100", 1, 1000000, "NUMBER", "How many, of the newest."},
            },
        .row_count = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    struct session session;
    code = session_open(&session, settings, SESSION_WALLET | SESSION_OFFLINE, false);
    if (code != RILL_EXIT_OK) {
        session_close(&session);
        return code;
    }
    struct listing listing = {.session = &session, .direction = direction};
    rill_history(session.wallet, collect, &listing);
    for (size_t i = 0; i < listing.count; i++)
        listing.payments[i].memo = listing.memos[i];
    if (listing.count > 1)
        qsort(listing.payments, listing.count, sizeof(*listing.payments), by_time);
    json_t *list = json_array();
    for (size_t i = listing.count > limit ? listing.count - (size_t)limit : 0; i < listing.count; i++) {
        if (settings->json)
            json_array_append_new(list, json_payment(&session, &listing.payments[i]));
        else
            print_payment(&session, &listing.payments[i]);
    }
    json_t *endings = list_endings(&session);
    if (settings->json)
        command_print_json(json_pack("{s:O, s:O}", "payments", list, "closes", endings));
    else if (listing.count == 0 && json_array_size(endings) == 0)
        printf("no payments yet\n");
    json_decref(list);
    json_decref(endings);
    free(listing.payments);
    free(listing.memos);
    session_close(&session);
    return RILL_EXIT_OK;
}
