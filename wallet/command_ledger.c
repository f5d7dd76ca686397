/* rill ledger issue, balance, send: what an operator and a developer do on the ledger itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/erc20.h"
#include "ledger/quantity.h"
#include "wallet/base_units.h"
#include "wallet/sending.h"

#define EMBEDDED_FACTORY_TEXT "0x52696c6c00000000000000000000000000000002"

/* ---- issue ---- */

struct issue {
    const char *name, *factory, *pool, *supply, *secret_file;
    uint64_t decimals, unit;
    bool list;
};

static void find_created(json_t *receipt, struct address *token)
{
    struct hash created = contract_event_topic(EVENT_TOKEN_CREATED), topic;
    size_t index;
    json_t *log;
    json_array_foreach(json_object_get(receipt, "logs"), index, log)
    {
        json_t *topics = json_object_get(log, "topics");
        if (json_array_size(topics) < 2 || !hash_of_json(json_array_get(topics, 0), &topic) ||
            !hash_equal(&topic, &created) || !hash_of_json(json_array_get(topics, 1), &topic))
            continue;
        memcpy(token->bytes, topic.bytes + 12, 20);
        return;
    }
}

struct json_wait {
    struct event_base *base;
    bool done;
    struct address token;
};

static void on_receipt(void *context, enum ledger_error error, const char *text)
{
    struct json_wait *wait = context;
    json_t *receipt = error == LEDGER_OK ? json_loads(text, 0, NULL) : NULL;
    if (receipt != NULL)
        find_created(receipt, &wait->token);
    json_decref(receipt);
    wait->done = true;
}

static bool receipt_arrived(struct session *session)
{
    return ((struct json_wait *)session->context)->done;
}

/* An address without a contract takes any transaction, and nothing happens. */
static bool has_contract(struct session *session, const struct address *factory, const struct buffer *data)
{
    struct buffer result = {0};
    enum contract_error reverted;
    enum ledger_error error = ledger_call_wait(rill_ledger_client(session->ledger), factory, data->data,
                                               data->length, &result, &reverted);
    bool says_nothing = error == LEDGER_OK && result.length == 0;
    buffer_free(&result);
    return !says_nothing;
}

static int create_token(struct session *session, const struct issue *issue, const char *symbol,
                        unsigned_wide supply, struct address *token)
{
    struct token_creation creation = {.decimals = (uint8_t)issue->decimals, .supply = uint256_of(supply)};
    struct address factory;
    if (strlen(symbol) > TOKEN_TEXT_MAX || (issue->name != NULL && strlen(issue->name) > TOKEN_TEXT_MAX))
        return command_fail(session->settings, RILL_EXIT_USAGE, "name and symbol have at most %d bytes",
                            TOKEN_TEXT_MAX);
    if (!hex_decode(issue->factory, factory.bytes, 20))
        return command_fail(session->settings, RILL_EXIT_USAGE, "--factory '%s' is not an address",
                            issue->factory);
    snprintf(creation.symbol, sizeof(creation.symbol), "%s", symbol);
    snprintf(creation.name, sizeof(creation.name), "%s", issue->name != NULL ? issue->name : symbol);
    struct buffer data = {0};
    struct ledger_receipt receipt = {.success = false};
    token_create_encode(&data, &creation);
    int code =
        has_contract(session, &factory, &data)
            ? sending_call(session, &factory, 0, &data, "creating the token", &receipt)
            : command_fail(session->settings, RILL_EXIT_FAILED,
                           "there is no token factory at %s: `rill ledger deploy factory` makes one, and "
                           "--factory names it",
                           issue->factory);
    buffer_free(&data);
    if (code != RILL_EXIT_OK)
        return code;
    char hash[HASH_TEXT_SIZE], params[HASH_TEXT_SIZE + 8];
    struct json_wait *wait = xcalloc(1, sizeof(*wait));
    wait->base = session->base;
    snprintf(params, sizeof(params), "[\"%s\"]", hash_text(&receipt.transaction, hash));
    session->context = wait;
    ledger_request(rill_ledger_client(session->ledger), "eth_getTransactionReceipt", params, on_receipt,
                   wait);
    bool arrived = session_wait(session, receipt_arrived, 30000, "the ledger");
    if (!arrived)
        return command_fail(session->settings, RILL_EXIT_UNREACHABLE,
                            "the ledger does not give the receipt"); /* ends */
    *token = wait->token;
    free(wait);
    if (address_is_zero(token))
        return command_fail(session->settings, RILL_EXIT_FAILED, "the factory made no token");
    return RILL_EXIT_OK;
}

static int fund_pool(struct session *session, const struct address *token, struct amount units,
                     unsigned_wide base_units)
{
    struct domain domain = rill_ledger_domain(session->ledger);
    struct buffer data = {0};
    struct ledger_receipt receipt = {.success = false};
    erc20_encode_approve(&data, &domain.contract, base_units);
    int code = sending_call(session, token, 0, &data, "approving the pool's deposit", &receipt);
    buffer_free(&data);
    if (code != RILL_EXIT_OK)
        return code;
    return sending_contract(
        session,
        &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL, .address = *token, .amount = units}, 0,
        "filling the pool");
}

static int issue_asset(struct session *session, const struct issue *issue, const char *symbol)
{
    const struct settings *settings = session->settings;
    unsigned_wide supply, pool_base = 0;
    struct address token = ADDRESS_ZERO;
    unsigned decimals = (unsigned)issue->decimals;
    ensure(issue->unit > 0);
    if (!base_units_parse(issue->supply, decimals, &supply) || supply == 0)
        return command_fail(settings, RILL_EXIT_USAGE,
                            "--supply '%s' is not an amount with at most %u decimals", issue->supply,
                            decimals);
    if (issue->pool != NULL &&
        (!base_units_parse(issue->pool, decimals, &pool_base) || pool_base % issue->unit != 0 ||
         pool_base / issue->unit >= AMOUNT_LIMIT || pool_base > supply))
        return command_fail(settings, RILL_EXIT_USAGE,
                            "--pool '%s' is no amount of at most the supply, in whole units", issue->pool);
    struct amount pool = amount_of((uint64_t)(pool_base / issue->unit));
    int code = create_token(session, issue, symbol, supply, &token);
    if (code == RILL_EXIT_OK && (issue->list || !amount_is_zero(pool)))
        code = sending_contract(
            session,
            &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = token, .unit = issue->unit},
            0, "listing the asset (only the hub's own key may)");
    if (code == RILL_EXIT_OK && !amount_is_zero(pool))
        code = fund_pool(session, &token, pool, pool_base);
    if (code != RILL_EXIT_OK)
        return code;
    char text[ADDRESS_TEXT_SIZE];
    if (settings->json)
        command_print_json(json_pack("{s:s, s:s, s:i, s:b, s:o}", "asset", address_text(&token, text),
                                     "symbol", symbol, "decimals", (int)decimals, "listed",
                                     issue->list || !amount_is_zero(pool), "pool_units",
                                     json_units(pool.units)));
    else
        printf("%s  %s%s\n", address_text(&token, text), symbol,
               issue->list || !amount_is_zero(pool) ? ", listed by the hub" : "");
    return RILL_EXIT_OK;
}

int command_ledger_issue(int argc, char **argv)
{
    struct issue issue = {.list = false};
    struct command_line line = {
        .name = "ledger issue",
        .usage = "SYMBOL [OPTIONS]",
        .about = "For the operator: creates a token through the token factory; with --list the hub's "
                 "contract takes it as\n"
                 "an asset, with --pool part of it becomes the hub's collateral. Listing needs the hub's own "
                 "key.\n"
                 "Example: rill ledger issue USDT --decimals 6 --supply 1000000 --pool 500000 --key-file "
                 "hub.json\n"
                 "Exit codes: 0 issued, 1 refused, 3 ledger not reached, 4 keystore.",
        .rows =
            (const struct option_row[]){
                {"name", OPTION_TEXT, &issue.name, NULL, 0, 0, "TEXT", "Long name; default the symbol."},
                {"decimals", OPTION_NUMBER, &issue.decimals, "6", 0, 30, "NUMBER", "Decimals of the token."},
                {"supply", OPTION_TEXT, &issue.supply, "1000000000", 0, 0, "AMOUNT",
                 "All there will be; yours."},
                {"unit", OPTION_NUMBER, &issue.unit, "1", 1, UINT64_MAX, "BASE UNITS",
                 "Base units of the token in one unit of the channels (10^9 for 18 decimals)."},
                {"list", OPTION_FLAG, &issue.list, "false", 0, 0, NULL, "List it at the hub's contract."},
                {"pool", OPTION_TEXT, &issue.pool, NULL, 0, 0, "AMOUNT",
                 "Put so much into the hub's pool; lists it too."},
                {"factory", OPTION_TEXT, &issue.factory, EMBEDDED_FACTORY_TEXT, 0, 0, "ADDRESS",
                 "The token factory; the default is the embedded ledger's."},
                {"secret-file", OPTION_TEXT, &issue.secret_file, NULL, 0, 0, "FILE", sending_secret_help},
            },
        .row_count = 8,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    code = sending_open(&session, &line.settings, issue.secret_file);
    if (code == RILL_EXIT_OK)
        code = issue_asset(&session, &issue, line.words[0]);
    session_close(&session);
    return code;
}

/* ---- balance ---- */

static int show_balances(struct session *session, const struct address *of)
{
    const struct settings *settings = session->settings;
    char amount[BASE_UNITS_TEXT_SIZE], text[ADDRESS_TEXT_SIZE];
    unsigned_wide value = 0;
    if (!sending_coin_balance(session, of, &value))
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "the ledger does not say the balance");
    json_t *list = json_object();
    base_units_text(value, COIN_DECIMALS, amount);
    json_object_set_new(list, "coin", json_string(amount));
    if (!settings->json)
        printf("%s\n  %-10s %s\n", address_text(of, text), "coin", amount);
    for (size_t i = 0; i < session->asset_count; i++) {
        const struct asset_info *asset = &session->assets[i];
        struct address at = rill_bytes_address(asset->address);
        if (address_is_zero(&at) || !sending_token_balance(session, &at, of, &value))
            continue;
        base_units_text(value, asset->token_decimals, amount);
        json_object_set_new(list, asset->symbol, json_string(amount));
        if (!settings->json)
            printf("  %-10s %s\n", asset->symbol, amount);
    }
    if (settings->json)
        command_print_json(json_pack("{s:s, s:O}", "address", address_text(of, text), "balances", list));
    json_decref(list);
    return RILL_EXIT_OK;
}

int command_ledger_balance(int argc, char **argv)
{
    struct command_line line = {
        .name = "ledger balance",
        .usage = "[ADDRESS] [OPTIONS]",
        .about = "Shows what an address (default: this wallet's) holds on the ledger itself, outside "
                 "channels: coins, and\n"
                 "the tokens that the hub lists.\n"
                 "Example: rill ledger balance 0x…\n"
                 "Exit codes: 0 shown, 3 ledger not reached, 4 keystore.",
        .words_max = 1,
    };
    int code;
    struct address of;
    if (!command_read(&line, argc, argv, &code))
        return code;
    if (line.word_count > 0 && !hex_decode(line.words[0], of.bytes, 20))
        return command_fail(&line.settings, RILL_EXIT_USAGE, "'%s' is not an address", line.words[0]);
    struct session session;
    if (line.word_count > 0) {
        code = session_open(&session, &line.settings, SESSION_LEDGER, false);
    } else {
        code = sending_open(&session, &line.settings, NULL);
        if (code == RILL_EXIT_OK)
            of = rill_bytes_address(session.address);
    }
    if (code == RILL_EXIT_OK)
        code = show_balances(&session, &of);
    session_close(&session);
    return code;
}

/* ---- send ---- */

static int send_money(struct session *session, const struct address *to, const char *text,
                      const char *asset_name)
{
    const struct settings *settings = session->settings;
    const struct asset_info *asset = NULL;
    unsigned_wide value;
    struct ledger_receipt receipt = {.success = false};
    struct buffer data = {0};
    if (asset_name != NULL && strcmp(asset_name, "coin") != 0) {
        asset = asset_named(session, asset_name);
        if (asset == NULL)
            return RILL_EXIT_USAGE;
    }
    struct address token = asset != NULL ? rill_bytes_address(asset->address) : ADDRESS_ZERO;
    unsigned decimals = asset != NULL ? asset->token_decimals : COIN_DECIMALS;
    if (!base_units_parse(text, decimals, &value) || value == 0)
        return command_fail(settings, RILL_EXIT_USAGE, "'%s' is not an amount with at most %u decimals", text,
                            decimals);
    bool coin = address_is_zero(&token);
    if (!coin)
        erc20_encode_transfer(&data, to, value);
    int code = sending_call(session, coin ? to : &token, coin ? value : 0, &data, "sending", &receipt);
    buffer_free(&data);
    if (code != RILL_EXIT_OK)
        return code;
    char hash[HASH_TEXT_SIZE];
    if (settings->json)
        command_print_json(json_pack("{s:s, s:I}", "transaction", hash_text(&receipt.transaction, hash),
                                     "block", (json_int_t)receipt.block));
    else
        printf("sent %s %s, transaction %s\n", text, asset != NULL ? asset->symbol : "coin",
               hash_text(&receipt.transaction, hash));
    return RILL_EXIT_OK;
}

int command_ledger_send(int argc, char **argv)
{
    const char *asset = NULL, *secret_file = NULL;
    struct command_line line = {
        .name = "ledger send",
        .usage = "ADDRESS AMOUNT [OPTIONS]",
        .about = "Sends coins, or a token that the hub lists, on the ledger itself: to fund a new wallet's "
                 "gas, say.\n"
                 "Example: rill ledger send 0x… 0.5\n"
                 "Exit codes: 0 sent and confirmed, 1 refused, 3 ledger not reached, 4 keystore.",
        .rows =
            (const struct option_row[]){
                {"asset", OPTION_TEXT, &asset, NULL, 0, 0, "ASSET",
                 "Symbol or address of a token; default coins."},
                {"secret-file", OPTION_TEXT, &secret_file, NULL, 0, 0, "FILE", sending_secret_help},
            },
        .row_count = 2,
        .words_min = 2,
        .words_max = 2,
    };
    int code;
    struct address to;
    if (!command_read(&line, argc, argv, &code))
        return code;
    if (!hex_decode(line.words[0], to.bytes, 20))
        return command_fail(&line.settings, RILL_EXIT_USAGE, "'%s' is not an address", line.words[0]);
    struct session session;
    code = sending_open(&session, &line.settings, secret_file);
    if (code == RILL_EXIT_OK)
        code = send_money(&session, &to, line.words[1], asset);
    session_close(&session);
    return code;
}
