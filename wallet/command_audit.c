/* rill audit: is what the hub says it owes true as far as one can see? A client sees whether its own balance is in the sum;
 * anybody sees whether the sum is covered by what the contract holds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "wallet/audit.h"
#include "wallet/base_units.h"
#include "wallet/hub_http.h"

#define TRIES      3 /* a payment may come between the balance and the statement */
#define POLL_MS    200
#define STATEMENTS "statements"

/* ---- the statement ---- */

static bool is_quiet(struct session *session)
{
    return session_is_ready(session) && session_is_idle(session);
}

static bool never(struct session *session)
{
    (void)session;
    return false;
}

static int makes_no_sense(const struct audit *audit)
{
    return command_fail(audit->session->settings, RILL_EXIT_FAILED,
                        "the answer of http://%s makes no sense: is it a hub's --http?", audit->http);
}

static int read_statement(struct audit *audit)
{
    const struct settings *settings = audit->session->settings;
    struct domain domain = rill_ledger_domain(audit->session->ledger);
    struct address hub;
    char text[ADDRESS_TEXT_SIZE];
    rill_ledger_hub(audit->session->ledger, hub.bytes);
    if (!statement_of_json(audit->shown, &audit->statement))
        return makes_no_sense(audit);
    if (!statement_is_signed(&audit->statement, &domain, &hub))
        return command_fail(settings, RILL_EXIT_UNTRUE,
                            "the statement is not signed by the hub of this contract, %s",
                            address_text(&hub, text));
    return RILL_EXIT_OK;
}

static void say_old(const struct audit *audit, const char *more, char *text, size_t size)
{
    snprintf(text, size,
             "the hub counts as of block %llu, %llu min ago by the ledger%s: a hub whose node works is some "
             "minutes behind; ask its operator, and take it for a refusal if it stays so",
             (unsigned long long)audit->statement.content.block, (unsigned long long)audit->behind_s / 60,
             more);
}

/* The one that was asked for has not come in time. If the hub goes on showing one of long ago, that is its answer. */
static int judge_late(struct audit *audit)
{
    const struct settings *settings = audit->session->settings;
    char text[400];
    if (json_number_at(audit->shown, "number") != 0) {
        int code = read_statement(audit);
        if (code == RILL_EXIT_OK)
            code = audit_when(audit);
        if (code != RILL_EXIT_OK)
            return code;
        if (audit_is_old(audit)) {
            say_old(audit, ", and shows none that is newer", text, sizeof(text));
            return command_fail(settings, RILL_EXIT_FAILED, "%s", text);
        }
    }
    return command_fail(settings, RILL_EXIT_PENDING,
                        "the hub did not publish a statement in time: try again later");
}

/* Asks for a statement, or (post) for one to be made, until the answer has this number or a later one, with the wallet's
 * loop running. */
static int await_number(struct audit *audit, bool post, uint64_t least)
{
    const struct settings *settings = audit->session->settings;
    uint64_t until = clock_monotonic_us() + settings->timeout_s * 1000000u;
    for (;;) {
        int status;
        char *body = hub_http_text(audit->session, audit->http, "/liabilities", post, &status);
        if (body == NULL)
            return hub_http_silent(settings, audit->session, audit->http);
        json_decref(audit->shown);
        audit->shown = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
        free(body);
        uint64_t number = json_number_at(audit->shown, "number");
        if (status == 200 && number == 0)
            return makes_no_sense(audit);
        if (status == 200 && number >= least)
            return RILL_EXIT_OK;
        if ((status != 200 && status != 503) || audit->session->interrupted)
            return command_fail(settings, RILL_EXIT_FAILED, "the hub at http://%s says: %s", audit->http,
                                json_text_at(audit->shown, "error"));
        if (clock_monotonic_us() >= until)
            return judge_late(audit);
        (void)session_wait(audit->session, never, POLL_MS, "the hub's statement");
    }
}

/* One that is made from now on: what the hub shows anyway may be of any time. */
static int new_statement(struct audit *audit)
{
    int code = await_number(audit, true, 1);
    if (code == RILL_EXIT_OK)
        code = await_number(audit, false, json_number_at(audit->shown, "number"));
    return code == RILL_EXIT_OK ? read_statement(audit) : code;
}

/* ---- statements of one number ---- */

/* False: the file holds none that this hub has signed for this contract. */
static bool read_kept(const struct audit *audit, const char *path, struct statement *out)
{
    struct domain domain = rill_ledger_domain(audit->session->ledger);
    struct address hub;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (json_object_get(json, "statement") != NULL) { /* as --json printed it */
        json_t *inner = json_incref(json_object_get(json, "statement"));
        json_decref(json);
        json = inner;
    }
    rill_ledger_hub(audit->session->ledger, hub.bytes);
    bool good = statement_of_json(json, out) && statement_is_signed(out, &domain, &hub);
    json_decref(json);
    return good;
}

static int compare_with(struct audit *audit, const char *path, const struct statement *other)
{
    const char *why = statement_contradiction(&audit->statement, other);
    if (why == NULL)
        return RILL_EXIT_OK;
    return command_fail(audit->session->settings, RILL_EXIT_UNTRUE,
                        "THE HUB LIES: %s; %s and the statement it gave now (number %llu) are the evidence",
                        why, path, (unsigned long long)audit->statement.content.number);
}

static int compare_with_given(struct audit *audit, const char *path)
{
    struct statement other;
    if (!read_kept(audit, path, &other))
        return command_fail(audit->session->settings, RILL_EXIT_USAGE,
                            "%s holds no statement that this hub has signed", path);
    return compare_with(audit, path, &other);
}

/* What was shown stays in the wallet's home: a later one must follow it. One of another hub or contract, which this wallet
 * had before, is nothing to compare with. */
static int keep_statement(struct audit *audit)
{
    char folder[1100], path[1200];
    uint64_t number = audit->statement.content.number;
    command_path(audit->session->settings, STATEMENTS, folder, sizeof(folder));
    if (!audit->with_wallet || (mkdir(folder, 0700) != 0 && errno != EEXIST))
        return RILL_EXIT_OK;
    for (uint64_t near = number > 1 ? number - 1 : 1; near <= number + 1; near++) {
        struct statement other;
        snprintf(path, sizeof(path), "%s/%llu.json", folder, (unsigned long long)near);
        if (access(path, R_OK) != 0)
            continue;
        int code = RILL_EXIT_OK;
        if (read_kept(audit, path, &other))
            code = compare_with(audit, path, &other);
        else
            fprintf(stderr, "rill: note: %s holds no statement that this hub has signed: not compared\n",
                    path);
        if (code != RILL_EXIT_OK)
            return code;
    }
    snprintf(path, sizeof(path), "%s/%llu.json", folder, (unsigned long long)number);
    if (!command_replace_json(audit->shown, path))
        fprintf(stderr, "rill: note: %s could not be written\n", path);
    return RILL_EXIT_OK;
}

/* ---- covered? ---- */

struct cover {
    const struct liability *says;
    const struct book *book;
    struct book_sums then, now;
    unsigned_wide needed; /* base units */
    const char *why;      /* NULL: covered */
};

/* docs/settlement-proofs.md, "Covered", has these as formulas. */
static struct cover cover_of(const struct audit *audit, const struct liability *says)
{
    struct cover cover = {.says = says, .book = books_of(&audit->books, &says->asset)};
    if (cover.book == NULL) {
        cover.why = "the contract does not list the asset";
        return cover;
    }
    const struct book_sums *then = &cover.book->then, *now = &cover.book->now;
    wide hub = then->channels - (wide)says->clients.units;
    cover.then = *then;
    cover.now = *now;
    cover.needed = (unsigned_wide)(now->channels + now->pool + now->held + now->owed) * cover.book->unit;
    if (says->channels != then->open)
        cover.why = "the hub counts another number of channels than the ledger";
    else if (hub < 0)
        cover.why = "the hub owes more than its clients' channels hold";
    else if ((wide)says->hub.units != hub)
        cover.why = "the hub counts another sum in the channels than the ledger";
    else if ((wide)says->in_transit.units > hub + then->pool)
        cover.why = "what is on its way to payees is more than the hub has in channels and pool";
    else if (!cover.book->has_custody || cover.book->custody < cover.needed)
        cover.why = "the contract has less of the token than its own books say";
    return cover;
}

static bool check_cover(struct audit *audit)
{
    const struct liabilities *content = &audit->statement.content;
    bool covered = true;
    for (size_t i = 0; i < audit->books.count; i++) {
        const struct book *book = &audit->books.books[i];
        bool is_there = false;
        for (size_t k = 0; k < content->asset_count; k++)
            is_there = is_there || address_equal(&content->assets[k].asset, &book->asset);
        covered = covered && (is_there || book->then.open == 0);
    }
    for (size_t i = 0; i < content->asset_count; i++)
        covered = cover_of(audit, &content->assets[i]).why == NULL && covered;
    return covered;
}

/* ---- what is said of it ---- */

static json_t *cover_json(const struct audit *audit, const struct cover *cover)
{
    char custody[BASE_UNITS_TEXT_SIZE] = "unknown", needed[BASE_UNITS_TEXT_SIZE];
    const uint8_t *asset = cover->says->asset.bytes;
    if (cover->book != NULL && cover->book->has_custody)
        base_units_text(cover->book->custody, 0, custody);
    json_t *object =
        json_pack("{s:o, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "asset", json_address(asset),
                  "covered", cover->why == NULL, "channels", (json_int_t)cover->says->channels, "clients",
                  json_amount(audit->session, asset, cover->says->clients.units), "hub_in_channels",
                  json_amount(audit->session, asset, cover->says->hub.units), "in_transit",
                  json_amount(audit->session, asset, cover->says->in_transit.units), "ledger_channels",
                  json_amount(audit->session, asset, (uint64_t)cover->then.channels), "ledger_pool",
                  json_amount(audit->session, asset, (uint64_t)cover->then.pool), "contract_balance", custody,
                  "contract_needs", base_units_text(cover->needed, 0, needed));
    ensure(object != NULL);
    if (cover->why != NULL)
        json_object_set_new(object, "why", json_string(cover->why));
    return object;
}

/* why: NULL if all is so. */
static void print_json(const struct audit *audit, bool good, const char *why)
{
    json_t *assets = json_array(), *channels = json_array();
    for (size_t i = 0; i < audit->statement.content.asset_count; i++) {
        struct cover cover = cover_of(audit, &audit->statement.content.assets[i]);
        json_array_append_new(assets, cover_json(audit, &cover));
    }
    for (size_t i = 0; i < audit->own_count; i++) {
        const struct own *own = &audit->own[i];
        json_array_append_new(
            channels,
            json_pack("{s:o, s:b, s:s, s:o, s:o}", "channel", json_hash(own->before.channel), "counted",
                      own->verdict == OWN_COUNTED, "verdict", audit_own_text(own->verdict), "balance",
                      json_amount(audit->session, own->before.asset, own->before.balance), "says",
                      json_amount(audit->session, own->before.asset, own->leaf.balance.units)));
    }
    command_print_json(json_pack("{s:b, s:s*, s:b, s:I, s:I, s:o, s:o, s:O}", "good", good, "why", why,
                                 "covered", audit->covered, "number",
                                 (json_int_t)audit->statement.content.number, "block",
                                 (json_int_t)audit->statement.content.block, "assets", assets, "channels",
                                 channels, "statement", audit->shown));
}

static void print_cover(const struct audit *audit, const struct cover *cover)
{
    char a[ASSET_AMOUNT_TEXT], b[ASSET_AMOUNT_TEXT], c[ASSET_AMOUNT_TEXT];
    const uint8_t *asset = cover->says->asset.bytes;
    const struct session *session = audit->session;
    printf("  %llu channels: the clients' are %s, the hub's %s; %s is on its way to payees\n",
           (unsigned long long)cover->says->channels,
           amount_of_asset(session, asset, cover->says->clients.units, a),
           amount_of_asset(session, asset, cover->says->hub.units, b),
           amount_of_asset(session, asset, cover->says->in_transit.units, c));
    if (cover->book == NULL) {
        printf("    NOT COVERED: %s\n", cover->why);
        return;
    }
    printf("    the ledger, at that block: %llu channels that hold %s, and a pool of %s\n",
           (unsigned long long)cover->then.open,
           amount_of_asset(session, asset, (uint64_t)cover->then.channels, a),
           amount_of_asset(session, asset, (uint64_t)cover->then.pool, b));
    printf("    the contract, now: has %s base units, needs %s for all that its books promise\n",
           cover->book->has_custody ? base_units_text(cover->book->custody, 0, a) : "an unknown number of",
           base_units_text(cover->needed, 0, b));
    if (cover->why == NULL)
        printf("    covered\n");
    else
        printf("    NOT COVERED: %s\n", cover->why);
}

static void print_text(const struct audit *audit)
{
    const struct liabilities *content = &audit->statement.content;
    char when[32], text[HASH_TEXT_SIZE], amount[ASSET_AMOUNT_TEXT];
    struct address hub;
    rill_ledger_hub(audit->session->ledger, hub.bytes);
    printf("statement %llu of hub %s, at block %llu (%s), signed by it\n",
           (unsigned long long)content->number, address_text(&hub, text), (unsigned long long)content->block,
           time_text(content->time, when));
    for (size_t i = 0; i < content->asset_count; i++) {
        struct cover cover = cover_of(audit, &content->assets[i]);
        print_cover(audit, &cover);
    }
    for (size_t i = 0; i < audit->own_count; i++) {
        const struct own *own = &audit->own[i];
        struct hash id = rill_bytes_hash(own->before.channel);
        printf("  your channel %.18s…, %s: %s\n", hash_text(&id, text),
               amount_of_asset(audit->session, own->before.asset, own->before.balance, amount),
               audit_own_text(own->verdict));
    }
    if (audit->with_wallet && audit->own_count == 0)
        printf("  you have no channel that is open: there is nothing of yours to be counted\n");
}

/* ---- all of it ---- */

/* One statement, judged whole. *unsettled: of some channel it says neither yes nor no. */
static int audit_once(struct audit *audit, const char *against, bool *unsettled)
{
    const struct settings *settings = audit->session->settings;
    *unsettled = false;
    if (audit->with_wallet) {
        if (!session_wait(audit->session, is_quiet, settings->timeout_s * 1000, "payments under way"))
            return command_fail(settings, RILL_EXIT_PENDING, "payments are under way: try again later");
        audit_own_note(audit);
    }
    int code = new_statement(audit);
    for (size_t i = 0; i < audit->own_count && code == RILL_EXIT_OK; i++)
        code = audit_own_ask(audit, &audit->own[i]);
    if (code == RILL_EXIT_OK && against != NULL)
        code = compare_with_given(audit, against);
    if (code == RILL_EXIT_OK)
        code = keep_statement(audit);
    if (code == RILL_EXIT_OK)
        code = audit_when(audit);
    *unsettled = code == RILL_EXIT_OK && audit_is_old(audit);
    books_free(&audit->books);
    if (code == RILL_EXIT_OK)
        code = books_read(audit->session, audit->statement.content.block, &audit->books);
    for (size_t i = 0; i < audit->own_count && code == RILL_EXIT_OK; i++) {
        audit->own[i].verdict = audit_own_judge(audit, &audit->own[i]);
        *unsettled = *unsettled || own_is_unsettled(audit->own[i].verdict);
    }
    return code;
}

static bool any_is(const struct audit *audit, enum verdict_own verdict)
{
    for (size_t i = 0; i < audit->own_count; i++)
        if (audit->own[i].verdict == verdict)
            return true;
    return false;
}

/* After TRIES statements there is no answer yet. Who is to blame for that decides whether to wait or to speak up: a hub
 * could keep anybody waiting with old blocks, or with statements that it replaces at once. One line, and the exit code. */
static int judge_unsettled(struct audit *audit, char *text, size_t size)
{
    bool changed = any_is(audit, OWN_BEHIND);
    if (audit_is_old(audit)) {
        say_old(audit, changed ? ", and your channel has changed there since" : "", text, size);
        return RILL_EXIT_FAILED;
    }
    if (changed) {
        snprintf(
            text, size,
            "the hub counts as of block %llu, %llu s ago by the ledger, and your channel has changed there "
            "since: try again in a minute",
            (unsigned long long)audit->statement.content.block, (unsigned long long)audit->behind_s);
        return RILL_EXIT_PENDING;
    }
    if (any_is(audit, OWN_REPLACED)) {
        snprintf(
            text, size,
            "the hub replaced %d statements before it showed what it counts of yours: try again, and take it "
            "for a refusal if it stays so",
            TRIES);
        return RILL_EXIT_FAILED;
    }
    snprintf(text, size, "payments go on in your channel: try again when it is quiet");
    return RILL_EXIT_PENDING;
}

static int run(struct audit *audit, const char *against)
{
    const struct settings *settings = audit->session->settings;
    bool unsettled = true, good;
    int code = audit->with_wallet ? session_ready(audit->session) : RILL_EXIT_OK;
    for (int i = 0; i < TRIES && unsettled && code == RILL_EXIT_OK; i++)
        code = audit_once(audit, against, &unsettled);
    if (code != RILL_EXIT_OK)
        return code;
    audit->covered = check_cover(audit);
    good = audit->covered;
    for (size_t i = 0; i < audit->own_count; i++)
        good = good && (audit->own[i].verdict == OWN_COUNTED || own_is_unsettled(audit->own[i].verdict));
    char text[400] =
        "what the hub says it owes is not so; keep this output and the statement: they are the evidence";
    code = RILL_EXIT_UNTRUE;
    if (good)
        code = unsettled ? judge_unsettled(audit, text, sizeof(text)) : RILL_EXIT_OK;
    if (settings->json)
        print_json(audit, code == RILL_EXIT_OK, code == RILL_EXIT_OK ? NULL : text);
    else
        print_text(audit);
    if (code != RILL_EXIT_OK)
        command_say(stderr, "rill: %s", text);
    return code;
}

static bool has_wallet(const struct settings *settings)
{
    char path[1200];
    if (settings->key_file != NULL)
        return access(settings->key_file, R_OK) == 0;
    command_path(settings, "key.json", path, sizeof(path));
    return access(path, R_OK) == 0;
}

int command_audit(int argc, char **argv)
{
    const char *against = NULL;
    bool public_only = false;
    struct command_line line = {
        .name = "audit",
        .usage = "[OPTIONS]",
        .about =
            "Checks what the hub says it owes. With a wallet: that each of your channels is in the published "
            "sum with\n"
            "your true balance. With or without one: that the sum is covered by what the contract holds, as "
            "the ledger\n"
            "node says it. The hub is asked for a new statement each time; one of long ago is no answer.\n"
            "Statements that were shown to you stay in the wallet's home, and a later one must follow them; "
            "--against\n"
            "does the same with one that somebody else was given. docs/settlement-proofs.md explains\n"
            "it in ten minutes.\n"
            "Example: rill audit --public --hub-http hub.example.org:9745 --ledger http://127.0.0.1:8545 "
            "--contract 0x…\n"
            "Exit codes: 0 all is so, 1 refused, or kept waiting by the hub, 3 hub or ledger not reached, 4 "
            "keystore, 5 folder in use,\n"
            "6 not known yet (payments or blocks moved meanwhile), 7 it is not so.",
        .rows =
            (const struct option_row[]){
                {"public", OPTION_FLAG, &public_only, "false", 0, 0, NULL,
                 "Only what anybody can check: no wallet is opened."},
                {"against", OPTION_TEXT, &against, NULL, 0, 0, "FILE",
                 "A statement that another was given (his --json, or GET /liabilities): the two must agree."},
            },
        .row_count = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    code = hub_http_check(&line.settings, "hub-http", line.settings.hub_http);
    if (code != RILL_EXIT_OK)
        return code;
    struct session session;
    struct audit audit = {.session = &session,
                          .http = line.settings.hub_http,
                          .with_wallet = !public_only && has_wallet(&line.settings)};
    code = session_open(&session, &line.settings,
                        audit.with_wallet ? SESSION_WALLET | SESSION_HUB : SESSION_LEDGER, false);
    if (code == RILL_EXIT_OK)
        code = run(&audit, against);
    session_close(&session);
    books_free(&audit.books);
    json_decref(audit.shown);
    free(audit.own);
    return code;
}
