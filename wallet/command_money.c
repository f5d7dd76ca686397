/* rill balance, deposit, open, withdraw, close, dispute: what the wallet has, and how it comes and goes. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "wallet/command.h"

/* ---- balance ---- */

static const char *stage_text(const struct rill_balance *balance)
{
    if (balance->blocked != NULL)
        return "blocked";
    switch (balance->stage) {
    case RILL_NONE:
        return "not confirmed yet";
    case RILL_OPEN:
        return balance->closing_seen ? "closing" : "open";
    case RILL_CLOSING:
        return "closing";
    case RILL_CLOSED:
        return "closed";
    }
    return "?";
}

static json_t *balance_json(const struct session *session, const struct rill_balance *balance)
{
    return json_pack("{s:o, s:o, s:I, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}",
                     "channel", json_hash(balance->channel), "asset", json_address(balance->asset), "salt",
                     (json_int_t)balance->salt, "status", stage_text(balance), "in_step", balance->synced,
                     "balance", json_amount(session, balance->asset, balance->balance), "available",
                     json_amount(session, balance->asset, balance->available), "inbound",
                     json_amount(session, balance->asset, balance->inbound), "locked",
                     json_amount(session, balance->asset, balance->locked), "incoming",
                     json_amount(session, balance->asset, balance->incoming), "frozen",
                     json_amount(session, balance->asset, balance->frozen), "reserve",
                     json_amount(session, balance->asset, balance->reserve), "unsecured",
                     json_amount(session, balance->asset, balance->unsecured), "settling",
                     json_amount(session, balance->asset, balance->settling), "blocked", balance->blocked);
}

static void print_part(const struct session *session, const struct rill_balance *balance, const char *name,
                       uint64_t units)
{
    char text[ASSET_AMOUNT_TEXT];
    if (units > 0)
        printf("  %-10s %s\n", name, amount_of_asset(session, balance->asset, units, text));
}

static void print_payout(const struct session *session, const struct rill_balance *balance)
{
    const struct asset_info *asset = asset_by_address(session, balance->asset);
    char text[PAYOUT_TEXT_MAX];
    if (asset != NULL && rill_payout_policy(session->wallet, balance->asset).mode != RILL_PAYOUT_MANUAL)
        printf("  %-10s %s\n", "payouts", command_payout_text(session, asset, text));
}

static void print_balance(const struct session *session, const struct rill_balance *balance)
{
    char text[ASSET_AMOUNT_TEXT];
    printf("%s  (%s)\n", amount_of_asset(session, balance->asset, balance->balance, text),
           stage_text(balance));
    if (balance->blocked != NULL)
        printf("  %s\n", balance->blocked);
    if (balance->stage == RILL_CLOSING || (balance->stage == RILL_OPEN && balance->closing_seen))
        printf("  a close is under way on the ledger: `rill dispute` carries it through\n");
    if (balance->claiming)
        printf("  the ledger still holds what locks are worth: `rill dispute` waits for it\n");
    if (balance->stage != RILL_OPEN)
        return;
    printf("  %-10s %s\n", "can pay", amount_of_asset(session, balance->asset, balance->available, text));
    printf("  %-10s %s\n", "can get", amount_of_asset(session, balance->asset, balance->inbound, text));
    print_part(session, balance, "locked", balance->locked);
    print_part(session, balance, "arriving", balance->incoming);
    print_part(session, balance, "frozen", balance->frozen);
    print_part(session, balance, "reserve", balance->reserve);
    print_part(session, balance, "unsecured", balance->unsecured);
    print_part(session, balance, "settling", balance->settling);
    print_payout(session, balance);
}

static bool nothing_open(struct session *session)
{
    struct rill_balance balance;
    for (size_t i = 0; rill_balance_at(session->wallet, i, &balance); i++)
        if (balance.unsecured > 0 || balance.locked > 0 || balance.incoming > 0)
            return false;
    return session_is_idle(session);
}

int command_balance(int argc, char **argv)
{
    bool offline = false, all = false;
    struct command_line line = {
        .name = "balance",
        .usage = "[OPTIONS]",
        .about =
            "Shows each channel: what is yours, what you can pay and receive now, and what is under way.\n"
            "Without the hub it shows the wallet's own records.\n"
            "Example: rill balance --json\n"
            "Exit codes: 0 shown, 3 ledger not reached, 4 keystore, 5 folder in use.",
        .rows =
            (const struct option_row[]){
                {"offline", OPTION_FLAG, &offline, "false", 0, 0, NULL, "Do not connect to the hub."},
                {"all", OPTION_FLAG, &all, "false", 0, 0, NULL, "Closed channels too."}},
        .row_count = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    struct session session;
    code =
        session_open(&session, settings, SESSION_WALLET | (offline ? SESSION_OFFLINE : SESSION_HUB), false);
    if (code != RILL_EXIT_OK) {
        session_close(&session);
        return code;
    }
    bool connected = !offline && session_wait(&session, session_is_ready, 7000, "the hub");
    if (!connected && !offline)
        command_say(stderr, "rill: note: the hub is not reached (%s); these are the wallet's own records",
                    session.offline_reason);
    /* Outcomes that were missed come right after connecting. */
    if (connected)
        (void)session_wait(&session, nothing_open, 500, "the hub");
    struct rill_balance balance;
    size_t shown = 0;
    json_t *list = json_array();
    for (size_t i = 0; rill_balance_at(session.wallet, i, &balance); i++) {
        if (balance.stage == RILL_CLOSED && !all)
            continue;
        json_array_append_new(list, balance_json(&session, &balance));
        if (!settings->json)
            print_balance(&session, &balance);
        shown++;
    }
    if (settings->json)
        command_print_json(json_pack("{s:o, s:b, s:O}", "address", json_address(session.address), "connected",
                                     connected, "channels", list));
    else if (shown == 0)
        printf(
            "no channel yet: `rill deposit AMOUNT` opens one with your money, `rill open` with the hub's\n");
    json_decref(list);
    session_close(&session);
    return RILL_EXIT_OK;
}

/* ---- deposit ---- */

struct deposit_wait {
    bool done, ok;
    char text[256];
    uint8_t asset[20];
    uint64_t before;
};

static void on_deposited(void *context, struct rill_wallet *wallet, bool ok, const char *text)
{
    (void)wallet;
    struct deposit_wait *wait = context;
    wait->done = true;
    wait->ok = ok;
    snprintf(wait->text, sizeof(wait->text), "%s", text);
}

static bool deposit_done(struct session *session)
{
    return ((struct deposit_wait *)session->context)->done;
}

/* Counted by both sides: it can be spent. */
static bool deposit_counts(struct session *session)
{
    const struct deposit_wait *wait = session->context;
    struct rill_balance balance;
    return session->ready && rill_balance_of(session->wallet, wait->asset, &balance) && balance.synced &&
           balance.available > wait->before;
}

/* Opens the session and reads the amount of the first word. all: "all" is allowed and gives 0. */
static int open_with_amount(struct session *session, const struct command_line *line, const char *asset_name,
                            const struct asset_info **asset, uint64_t *units, bool all)
{
    int code = session_open(session, &line->settings, SESSION_WALLET | SESSION_HUB, false);
    if (code != RILL_EXIT_OK)
        return code;
    *asset = asset_named(session, asset_name);
    if (*asset == NULL)
        return RILL_EXIT_USAGE;
    if (units == NULL)
        return RILL_EXIT_OK;
    if (all && strcmp(line->words[0], "all") == 0) {
        *units = 0;
        return RILL_EXIT_OK;
    }
    return asset_parse(session, *asset, line->words[0], units) ? RILL_EXIT_OK : RILL_EXIT_USAGE;
}

static int deposit(struct session *session, const struct asset_info *asset, uint64_t units)
{
    const struct settings *settings = session->settings;
    struct deposit_wait wait = {.done = false};
    struct rill_balance balance;
    char text[ASSET_AMOUNT_TEXT];
    memcpy(wait.asset, asset->address, sizeof(wait.asset));
    (void)session_wait(session, session_is_ready, 5000, "the hub");
    wait.before = rill_balance_of(session->wallet, asset->address, &balance) ? balance.available : 0;
    session->context = &wait;
    rill_deposit(session->wallet, asset->address, units, on_deposited, &wait);
    if (!session_wait(session, deposit_done, settings->timeout_s * 1000 * 4, "the ledger"))
        return command_fail(settings, RILL_EXIT_PENDING, "%s",
                            rill_deposit_is_unsent(session->wallet)
                                ? "the deposit was not sent: what comes before it (a token's approve) is not "
                                  "confirmed yet; run `rill deposit` again"
                                : "the deposit is not confirmed yet; `rill balance` will show it");
    if (!wait.ok)
        return command_fail(settings, RILL_EXIT_FAILED, "%s", wait.text);
    bool counts = session_wait(session, deposit_counts, settings->timeout_s * 1000, "the hub to count it");
    if (settings->json)
        command_print_json(json_pack("{s:o, s:o, s:b}", "deposited",
                                     json_amount(session, asset->address, units), "asset",
                                     json_address(asset->address), "counted", counts));
    else
        printf("deposited %s%s\n", asset_amount(asset, units, text),
               counts ? "" : "; the hub has not counted it yet, `rill balance` shows when it does");
    return RILL_EXIT_OK;
}

static const char asset_help[] = "Symbol or address; the default is the only one there is.";

int command_deposit(int argc, char **argv)
{
    const char *asset_name = NULL;
    struct command_line line = {
        .name = "deposit",
        .usage = "AMOUNT [OPTIONS]",
        .about = "Puts money from your address on the ledger into your channel, and opens it if there is "
                 "none. The channel\n"
                 "belongs to you: the hub cannot keep it. Your address needs some coins for gas.\n"
                 "Example: rill deposit 25 --asset USDC\n"
                 "Exit codes: 0 deposited, 1 refused by the ledger, 3 not reached, 6 not confirmed in time.",
        .rows =
            (const struct option_row[]){{"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", asset_help}},
        .row_count = 1,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    const struct asset_info *asset;
    uint64_t units;
    code = open_with_amount(&session, &line, asset_name, &asset, &units, false);
    if (code == RILL_EXIT_OK)
        code = deposit(&session, asset, units);
    session_close(&session);
    return code;
}

/* ---- open ---- */

struct open_wait {
    uint8_t asset[20];
    uint64_t inbound;
};

static bool opened(struct session *session)
{
    const struct open_wait *wait = session->context;
    struct rill_balance balance;
    return session->outcome || (rill_balance_of(session->wallet, wait->asset, &balance) && balance.synced &&
                                balance.inbound >= wait->inbound);
}

static int open_channel(struct session *session, const struct asset_info *asset, uint64_t units)
{
    const struct settings *settings = session->settings;
    struct open_wait wait = {.inbound = units};
    struct rill_balance balance = {.inbound = 0};
    char text[ASSET_AMOUNT_TEXT];
    memcpy(wait.asset, asset->address, sizeof(wait.asset));
    int code = session_ready(session);
    if (code != RILL_EXIT_OK)
        return code;
    if (rill_open_request(session->wallet, asset->address, units) != 0)
        return command_fail(settings, RILL_EXIT_FAILED, "%s", rill_refusal(session->wallet));
    session->context = &wait;
    bool done =
        session_wait(session, opened, settings->timeout_s * 1000 * 4, "the hub to fund it on the ledger");
    session->context = NULL;
    if (session->outcome)
        return command_fail(settings, RILL_EXIT_FAILED, "the hub refuses: %s", session->text);
    bool any = rill_balance_of(session->wallet, asset->address, &balance) && balance.inbound > 0;
    if (!done && !any)
        return command_fail(settings, RILL_EXIT_PENDING, "not opened yet; `rill balance` will show it");
    if (settings->json)
        command_print_json(json_pack("{s:o, s:o}", "asset", json_address(asset->address), "inbound",
                                     json_amount(session, asset->address, balance.inbound)));
    else
        printf("open: you can receive %s\n", asset_amount(asset, balance.inbound, text));
    return RILL_EXIT_OK;
}

int command_open(int argc, char **argv)
{
    const char *asset_name = NULL;
    struct command_line line = {
        .name = "open",
        .usage = "AMOUNT [OPTIONS]",
        .about = "Asks the hub for room to receive AMOUNT: it opens a channel with its own money, or adds to "
                 "yours. A\n"
                 "merchant needs no money and no coins to begin.\n"
                 "Example: rill open 500 --asset USDC\n"
                 "Exit codes: 0 open, 1 refused by the hub, 3 not reached, 6 not confirmed in time.",
        .rows =
            (const struct option_row[]){{"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", asset_help}},
        .row_count = 1,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    const struct asset_info *asset;
    uint64_t units;
    code = open_with_amount(&session, &line, asset_name, &asset, &units, false);
    if (code == RILL_EXIT_OK)
        code = open_channel(&session, asset, units);
    session_close(&session);
    return code;
}

/* ---- withdraw, close ---- */

static bool has_settlement(struct session *session)
{
    return session->has_settlement;
}

static void begin_waiting(void *context)
{
    ((struct session *)context)->waits_settlement = true;
}

/* Asks for it, and waits for what becomes of it. units: of a payout. */
static int settle(struct session *session, const struct asset_info *asset, bool close, uint64_t units,
                  const char *done_text)
{
    const struct settings *settings = session->settings;
    char text[ASSET_AMOUNT_TEXT];
    struct rill_balance balance;
    if (rill_balance_of(session->wallet, asset->address, &balance))
        memcpy(session->waited_channel, balance.channel, sizeof(session->waited_channel));
    session->waits_close = close;
    if ((close ? rill_close(session->wallet, asset->address)
               : rill_withdraw(session->wallet, asset->address, units)) != 0)
        return command_fail(settings, RILL_EXIT_FAILED, "%s", rill_refusal(session->wallet));
    /* How an older one ended, while the wallet was away, is told before this is called. */
    rill_when_durable(session->wallet, begin_waiting, session);
    if (!session_wait(session, has_settlement, settings->timeout_s * 1000 * 10,
                      "the hub's next batch on the ledger"))
        return command_fail(settings, RILL_EXIT_PENDING,
                            "the hub has not settled it yet; the wish stays, later commands carry it on");
    const struct rill_settlement *settlement = &session->settlement;
    if (!settlement->settled)
        return command_fail(settings, RILL_EXIT_FAILED, "not settled: %s", rill_code_text(settlement->code));
    if (settings->json)
        command_print_json(json_pack("{s:o, s:o, s:b, s:o}", "paid_out",
                                     json_amount(session, asset->address, settlement->amount), "asset",
                                     json_address(asset->address), "closed", settlement->close, "transaction",
                                     json_hash(settlement->transaction)));
    else
        printf("%s %s to your address on the ledger\n", done_text,
               asset_amount(asset, settlement->amount, text));
    return RILL_EXIT_OK;
}

static int withdraw(struct session *session, const struct asset_info *asset, uint64_t units)
{
    int code = session_ready(session);
    if (code != RILL_EXIT_OK)
        return code;
    struct rill_balance balance;
    if (units == 0) {
        if (!rill_balance_of(session->wallet, asset->address, &balance) || balance.available == 0)
            return command_fail(session->settings, RILL_EXIT_FAILED, "nothing is available to withdraw");
        units = balance.available;
    }
    return settle(session, asset, false, units, "paid out");
}

/* Without an amount: the policy alone, set or only shown. */
static int show_policy(struct session *session, const struct asset_info *asset)
{
    char text[PAYOUT_TEXT_MAX];
    if (session->settings->json)
        command_print_json(json_pack("{s:o, s:o}", "asset", json_address(asset->address), "payout",
                                     command_payout_json(session, asset)));
    else
        printf("payouts of %s: %s\n", asset->symbol, command_payout_text(session, asset, text));
    return RILL_EXIT_OK;
}

int command_withdraw(int argc, char **argv)
{
    const char *asset_name = NULL;
    struct payout_flags payout;
    struct command_line line = {
        .name = "withdraw",
        .usage = "[AMOUNT|all] [OPTIONS]",
        .about =
            "Asks the hub to pay out from your channel to your address on the ledger, in its next batch. "
            "Costs you\n"
            "no gas; payments go on meanwhile. With --payout the wallet does so by itself from now on, "
            "whenever it is\n"
            "connected (`rill listen`, or any other command); without an amount, nothing is paid out now, "
            "and the\n"
            "policy is shown.\n"
            "Example: rill withdraw 10 --asset USDC\n"
            "         rill withdraw --payout daily --payout-at 23:30 --payout-keep 50\n"
            "Exit codes: 0 paid out, 1 refused, 3 not reached, 6 not settled in time (it goes on later).",
        .rows =
            (const struct option_row[]){{"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", asset_help},
                                        PAYOUT_ROWS(&payout)},
        .row_count = 1 + PAYOUT_ROW_COUNT,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    const struct asset_info *asset;
    uint64_t units = 0;
    bool now = line.word_count > 0;
    code = open_with_amount(&session, &line, asset_name, &asset, now ? &units : NULL, true);
    if (code == RILL_EXIT_OK)
        code = command_payout_set(&session, asset, &payout);
    if (code == RILL_EXIT_OK)
        code = now ? withdraw(&session, asset, units) : show_policy(&session, asset);
    session_close(&session);
    return code;
}

int command_close(int argc, char **argv)
{
    const char *asset_name = NULL;
    struct command_line line = {
        .name = "close",
        .usage = "[OPTIONS]",
        .about = "Closes your channel together with the hub: all that is yours is paid out to your address "
                 "on the ledger,\n"
                 "in the hub's next batch. If the hub does not answer, use `rill dispute`.\n"
                 "Example: rill close --asset USDC\n"
                 "Exit codes: 0 closed, 1 refused, 3 not reached, 6 not settled in time (it goes on later).",
        .rows =
            (const struct option_row[]){{"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", asset_help}},
        .row_count = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    const struct asset_info *asset;
    code = open_with_amount(&session, &line, asset_name, &asset, NULL, false);
    if (code == RILL_EXIT_OK)
        code = session_ready(&session);
    if (code == RILL_EXIT_OK)
        code = settle(&session, asset, true, 0, "closed:");
    session_close(&session);
    return code;
}

/* ---- dispute ---- */

static bool is_closed(struct session *session)
{
    return session->closed;
}

/* A close of this asset is under way already: this run carries it on. */
static bool closing_now(const struct session *session, const uint8_t asset[20])
{
    struct rill_balance balance;
    for (size_t i = 0; rill_balance_at(session->wallet, i, &balance); i++)
        if (memcmp(balance.asset, asset, 20) == 0 && (balance.claiming || balance.stage == RILL_CLOSING ||
                                                      (balance.stage == RILL_OPEN && balance.closing_seen)))
            return true;
    return false;
}

static int dispute(struct session *session, const struct asset_info *asset)
{
    const struct settings *settings = session->settings;
    char text[ASSET_AMOUNT_TEXT];
    struct rill_balance balance;
    if (!closing_now(session, asset->address)) {
        bool any = rill_balance_of(session->wallet, asset->address, &balance);
        if (!any || rill_dispute(session->wallet, asset->address) != 0)
            return command_fail(settings, RILL_EXIT_FAILED, "%s",
                                any ? rill_refusal(session->wallet)
                                    : "this wallet has no open channel in this asset");
    }
    if (!session_wait(
            session, is_closed, settings->timeout_s * 1000,
            "the close; its challenge period has to pass (Ctrl-C: a later `rill dispute` carries it on)"))
        return command_fail(settings, RILL_EXIT_PENDING,
                            "the close is under way; run `rill dispute` again later to carry it on");
    if (settings->json)
        command_print_json(json_pack("{s:o, s:o}", "asset", json_address(asset->address), "paid_out",
                                     json_amount(session, asset->address, session->paid_out)));
    else
        printf("closed: %s paid out to your address on the ledger\n",
               asset_amount(asset, session->paid_out, text));
    return RILL_EXIT_OK;
}

int command_dispute(int argc, char **argv)
{
    const char *asset_name = NULL;
    struct command_line line = {
        .name = "dispute",
        .usage = "[OPTIONS]",
        .about =
            "Closes your channel on the ledger without the hub, with the hub's newest proof and your own "
            "true claim.\n"
            "Costs gas and takes the contract's challenge period. From now on nothing is signed or accepted "
            "in\n"
            "this channel. The command may be stopped and run again: it carries on where the ledger stands.\n"
            "Example: rill dispute --asset USDC --timeout-s 86400\n"
            "Exit codes: 0 closed and paid out, 1 refused, 3 ledger not reached, 6 still under way.",
        .rows =
            (const struct option_row[]){{"asset", OPTION_TEXT, &asset_name, NULL, 0, 0, "ASSET", asset_help}},
        .row_count = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    const struct asset_info *asset = NULL;
    /* The hub is what is disputed: only the ledger is needed. */
    code = session_open(&session, &line.settings, SESSION_WALLET, false);
    if (code == RILL_EXIT_OK) {
        asset = asset_named(&session, asset_name);
        code = asset == NULL ? RILL_EXIT_USAGE : RILL_EXIT_OK;
    }
    if (code == RILL_EXIT_OK)
        code = dispute(&session, asset);
    session_close(&session);
    return code;
}
