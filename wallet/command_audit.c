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
#include "base/text.h"
#include "ledger/quantity.h"
#include "wallet/audit.h"
#include "wallet/base_units.h"
#include "wallet/hub_http.h"
#include "wallet/ledger_read.h"

#define TRIES      3    /* a payment may come between the balance and the statement */
#define BEHIND_S   3600 /* a hub that works is behind by what it takes to confirm a block */
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

/* Waits for one of this number or a later one, with the wallet's loop running. */
static int await_statement(struct audit *audit, uint64_t number)
{
    const struct settings *settings = audit->session->settings;
    uint64_t until = clock_monotonic_us() + settings->timeout_s * 1000000u;
    for (;;) {
        int status;
        char *body = hub_http_text(audit->http, "/liabilities", false, &status);
        if (body == NULL)
            return command_fail(settings, RILL_EXIT_UNREACHABLE, "no hub answers at http://%s", audit->http);
        json_decref(audit->shown);
        audit->shown = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
        free(body);
        if (status == 200 && json_number_at(audit->shown, "number") >= number)
            return RILL_EXIT_OK;
        if ((status != 200 && status != 503) || audit->session->interrupted)
            return command_fail(settings, RILL_EXIT_FAILED, "the hub at http://%s says: %s", audit->http,
                                json_text_at(audit->shown, "error"));
        if (clock_monotonic_us() >= until)
            return command_fail(settings, RILL_EXIT_PENDING,
                                "the hub did not publish a statement in time: try again later");
        (void)session_wait(audit->session, never, POLL_MS, "the hub's statement");
    }
}

static int read_statement(struct audit *audit)
{
    const struct settings *settings = audit->session->settings;
    struct domain domain = rill_ledger_domain(audit->session->ledger);
    struct address hub;
    char text[ADDRESS_TEXT_SIZE];
    rill_ledger_hub(audit->session->ledger, hub.bytes);
    if (!statement_of_json(audit->shown, &audit->statement))
        return command_fail(settings, RILL_EXIT_FAILED,
                            "the answer of http://%s makes no sense: is it a hub's --http?", audit->http);
    if (!statement_is_signed(&audit->statement, &domain, &hub))
        return command_fail(settings, RILL_EXIT_UNTRUE,
                            "the statement is not signed by the hub of this contract, %s",
                            address_text(&hub, text));
    return RILL_EXIT_OK;
}

/* ---- statements of one number ---- */

static int compare_with(struct audit *audit, const char *path)
{
    const struct settings *settings = audit->session->settings;
    struct domain domain = rill_ledger_domain(audit->session->ledger);
    struct statement other;
    struct address hub;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (json_object_get(json, "statement") != NULL) { /* as --json printed it */
        json_t *inner = json_incref(json_object_get(json, "statement"));
        json_decref(json);
        json = inner;
    }
    rill_ledger_hub(audit->session->ledger, hub.bytes);
    bool good = statement_of_json(json, &other) && statement_is_signed(&other, &domain, &hub);
    json_decref(json);
    if (!good)
        return command_fail(settings, RILL_EXIT_USAGE, "%s holds no statement that this hub has signed",
                            path);
    const char *why = statement_contradiction(&audit->statement, &other);
    if (why == NULL)
        return RILL_EXIT_OK;
    return command_fail(settings, RILL_EXIT_UNTRUE,
                        "THE HUB LIES: %s; %s and the statement it gave now (number %llu) are the evidence",
                        why, path, (unsigned long long)audit->statement.content.number);
}

/* What was shown stays in the wallet's home: a later one must follow it. */
static int keep_statement(struct audit *audit)
{
    char folder[1100], path[1200];
    uint64_t number = audit->statement.content.number;
    command_path(audit->session->settings, STATEMENTS, folder, sizeof(folder));
    if (!audit->with_wallet || (mkdir(folder, 0700) != 0 && errno != EEXIST))
        return RILL_EXIT_OK;
    for (uint64_t near = number > 1 ? number - 1 : 1; near <= number + 1; near++) {
        snprintf(path, sizeof(path), "%s/%llu.json", folder, (unsigned long long)near);
        int code = access(path, R_OK) == 0 ? compare_with(audit, path) : RILL_EXIT_OK;
        if (code != RILL_EXIT_OK)
            return code;
    }
    snprintf(path, sizeof(path), "%s/%llu.json", folder, (unsigned long long)number);
    if (json_dump_file(audit->shown, path, JSON_INDENT(1)) != 0)
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
    uint64_t number = 1;
    *unsettled = false;
    if (audit->with_wallet) {
        json_t *asked;
        if (!session_wait(audit->session, is_quiet, settings->timeout_s * 1000, "payments under way"))
            return command_fail(settings, RILL_EXIT_PENDING, "payments are under way: try again later");
        audit_own_note(audit);
        int code = hub_http_json(settings, audit->http, "/liabilities", true, &asked);
        if (code != RILL_EXIT_OK)
            return code;
        number = json_number_at(asked, "number");
        json_decref(asked);
    }
    int code = await_statement(audit, number);
    if (code == RILL_EXIT_OK)
        code = read_statement(audit);
    for (size_t i = 0; i < audit->own_count && code == RILL_EXIT_OK; i++)
        code = audit_own_ask(audit, &audit->own[i]);
    if (code == RILL_EXIT_OK && against != NULL)
        code = compare_with(audit, against);
    if (code == RILL_EXIT_OK)
        code = keep_statement(audit);
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

static bool time_of_block(struct session *session, const char *block, uint64_t *out)
{
    json_t *answer = ledger_read_json(session, "eth_getBlockByNumber", json_pack("[s, b]", block, false));
    bool good = quantity_u64(json_object_get(answer, "timestamp"), out);
    json_decref(answer);
    return good;
}

/* How far the statement's block is behind the ledger's newest, by their times. */
static bool behind_s(struct audit *audit, uint64_t *out)
{
    char block[24];
    uint64_t then, now;
    snprintf(block, sizeof(block), "0x%llx", (unsigned long long)audit->statement.content.block);
    if (!time_of_block(audit->session, block, &then) || !time_of_block(audit->session, "latest", &now))
        return false;
    *out = now > then ? now - then : 0;
    return true;
}

/* After TRIES statements there is no answer yet. Who is to blame for that decides whether to wait or to speak up: a hub
 * could keep anybody waiting with old blocks, or with statements that it replaces at once. One line, and the exit code. */
static int judge_unsettled(struct audit *audit, char *text, size_t size)
{
    unsigned long long block = audit->statement.content.block;
    uint64_t behind = 0;
    if (any_is(audit, OWN_BEHIND) && !behind_s(audit, &behind)) {
        snprintf(text, size, "%s", audit->session->text);
        text_make_utf8(text);
        return RILL_EXIT_UNREACHABLE;
    }
    if (any_is(audit, OWN_BEHIND) && behind > BEHIND_S) {
        snprintf(
            text, size,
            "the hub counts as of block %llu, %llu min ago by the ledger, and your channel has changed there "
            "since: a hub whose node works is some minutes behind; ask its operator, and take it for a "
            "refusal "
            "if it stays so",
            block, (unsigned long long)behind / 60);
        return RILL_EXIT_FAILED;
    }
    if (any_is(audit, OWN_BEHIND)) {
        snprintf(
            text, size,
            "the hub counts as of block %llu, %llu s ago by the ledger, and your channel has changed there "
            "since: try again in a minute",
            block, (unsigned long long)behind);
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
            "node says it. Statements that were shown to you stay in the wallet's home, and a later one must "
            "follow\n"
            "them; --against does the same with one that somebody else was given. docs/settlement-proofs.md "
            "explains\n"
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
