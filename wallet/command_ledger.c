/* rill ledger issue, balance, send: what an operator and a developer do on the ledger itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/erc20.h"
#include "ledger/quantity.h"
#include "wallet/command.h"
#include "wallet/shell.h"

#define EMBEDDED_FACTORY_TEXT "0x52696c6c00000000000000000000000000000002"

/* ---- numbers of base units ---- */

/* 10^exponent, 0 if it does not fit. */
static unsigned_wide power_of_ten(unsigned exponent)
{
    unsigned_wide value = 1;
    for (unsigned i = 0; i < exponent; i++)
        if (__builtin_mul_overflow(value, (unsigned_wide)10, &value))
            return 0;
    return value;
}

/* "12.5" with so many decimals. Returns false on anything else, or if it does not fit 128 bits. */
static bool parse_base_units(const char *text, unsigned decimals, unsigned_wide *out)
{
    unsigned_wide value = 0;
    unsigned after = 0;
    bool point = false, any = false;
    for (; *text != '\0'; text++) {
        if (*text == '.' && !point && any) {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9' || (point && after == decimals) ||
            __builtin_mul_overflow(value, (unsigned_wide)10, &value) ||
            __builtin_add_overflow(value, (unsigned_wide)(unsigned)(*text - '0'), &value))
            return false;
        any = true;
        after += point;
    }
    unsigned_wide scale = power_of_ten(decimals - after);
    return any && scale != 0 && !__builtin_mul_overflow(value, scale, out);
}

static void format_base_units(unsigned_wide value, unsigned decimals, char out[96])
{
    char digits[64];
    size_t count = 0, length = 0;
    do {
        digits[count++] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value > 0 || count <= decimals);
    size_t first = 0;
    while (first < decimals && digits[first] == '0')
        first++;
    for (size_t i = count; i > first || i > decimals; i--) {
        if (i == decimals)
            out[length++] = '.';
        out[length++] = digits[i - 1];
    }
    out[length] = '\0';
}

/* ---- sending and reading ---- */

static int send_call(struct session *session, const struct address *to, unsigned_wide value,
                     const struct buffer *data, const char *what, struct ledger_receipt *receipt)
{
    struct ledger *client = rill_ledger_client(session->ledger);
    enum ledger_error error =
        ledger_send_wait(client, &session->key, to, value, data->data, data->length, receipt);
    if (error == LEDGER_OK && receipt->success)
        return RILL_EXIT_OK;
    enum contract_error reverted = receipt->reverted;
    if (error == LEDGER_OK || error == LEDGER_REVERTED)
        return command_fail(session->settings, RILL_EXIT_FAILED, "%s: the ledger refuses it (%s)", what,
                            contract_error_name(reverted));
    return command_fail(session->settings,
                        error == LEDGER_UNREACHABLE ? RILL_EXIT_UNREACHABLE : RILL_EXIT_FAILED, "%s: %s %s",
                        what, ledger_error_text(error),
                        error == LEDGER_REFUSED ? ledger_last_error(client) : "");
}

static int send_contract(struct session *session, const struct contract_call *call, unsigned_wide value,
                         const char *what)
{
    struct buffer data = {0};
    struct ledger_receipt receipt = {.success = false};
    contract_encode_call(&data, call);
    int code = send_call(session, NULL, value, &data, what, &receipt);
    buffer_free(&data);
    return code;
}

/* The wallet's key, --key-file's, or one of 64 digits in a file (as a development ledger prints them). */
static int open_for_sending(struct session *session, const struct settings *settings, const char *secret_file)
{
    int code = session_open(session, settings, SESSION_LEDGER, false);
    if (code != RILL_EXIT_OK)
        return code;
    if (secret_file == NULL) {
        code = command_key(settings, &session->key);
    } else {
        char text[80] = "";
        FILE *file = fopen(secret_file, "re");
        bool read = file != NULL && fgets(text, sizeof(text), file) != NULL;
        if (file != NULL)
            fclose(file);
        text[strcspn(text, "\r\n ")] = '\0';
        if (!read || !hex_decode(text, session->key.bytes, 32) || !secret_key_is_valid(&session->key))
            code = command_fail(settings, RILL_EXIT_KEY,
                                "%s does not hold a secret key of 64 hexadecimal digits", secret_file);
        bytes_wipe(text, sizeof(text));
    }
    if (code == RILL_EXIT_OK) {
        struct address self = secret_key_address(&session->key);
        memcpy(session->address, self.bytes, sizeof(session->address));
    }
    return code;
}

static const char secret_help[] =
    "File with a secret key of 64 hexadecimal digits, instead of the wallet's keystore.";

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
    int code = send_call(session, &factory, 0, &data, "creating the token", &receipt);
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
    int code = send_call(session, token, 0, &data, "approving the pool's deposit", &receipt);
    buffer_free(&data);
    if (code != RILL_EXIT_OK)
        return code;
    return send_contract(
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
    if (!parse_base_units(issue->supply, decimals, &supply) || supply == 0)
        return command_fail(settings, RILL_EXIT_USAGE,
                            "--supply '%s' is not an amount with at most %u decimals", issue->supply,
                            decimals);
    if (issue->pool != NULL &&
        (!parse_base_units(issue->pool, decimals, &pool_base) || pool_base % issue->unit != 0 ||
         pool_base / issue->unit >= AMOUNT_LIMIT || pool_base > supply))
        return command_fail(settings, RILL_EXIT_USAGE,
                            "--pool '%s' is no amount of at most the supply, in whole units", issue->pool);
    struct amount pool = amount_of((uint64_t)(pool_base / issue->unit));
    int code = create_token(session, issue, symbol, supply, &token);
    if (code == RILL_EXIT_OK && (issue->list || !amount_is_zero(pool)))
        code = send_contract(
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
                {"secret-file", OPTION_TEXT, &issue.secret_file, NULL, 0, 0, "FILE", secret_help},
            },
        .row_count = 8,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    struct session session;
    code = open_for_sending(&session, &line.settings, issue.secret_file);
    if (code == RILL_EXIT_OK)
        code = issue_asset(&session, &issue, line.words[0]);
    session_close(&session);
    return code;
}

/* ---- balance ---- */

struct coin_wait {
    bool done, ok;
    unsigned_wide value;
};

static void on_balance(void *context, enum ledger_error error, const char *text)
{
    struct coin_wait *wait = context;
    json_t *value = error == LEDGER_OK ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    wait->ok = quantity_wide(value, &wait->value);
    json_decref(value);
    wait->done = true;
}

static bool balance_arrived(struct session *session)
{
    return ((struct coin_wait *)session->context)->done;
}

static bool coin_balance(struct session *session, const struct address *of, unsigned_wide *out)
{
    char text[ADDRESS_TEXT_SIZE], params[ADDRESS_TEXT_SIZE + 24];
    struct coin_wait *wait = xcalloc(1, sizeof(*wait));
    snprintf(params, sizeof(params), "[\"%s\",\"latest\"]", address_text(of, text));
    session->context = wait;
    ledger_request(rill_ledger_client(session->ledger), "eth_getBalance", params, on_balance, wait);
    if (!session_wait(session, balance_arrived, 15000, "the ledger"))
        return false; /* the program ends; the answer may still write to it */
    *out = wait->value;
    bool ok = wait->ok;
    free(wait);
    return ok;
}

static bool token_balance(struct session *session, const uint8_t token[20], const struct address *of,
                          unsigned_wide *out)
{
    struct address asset = rill_bytes_address(token);
    struct buffer data = {0}, result = {0};
    struct uint256 value;
    enum contract_error reverted;
    erc20_encode_balance_of(&data, of);
    bool ok = ledger_call_wait(rill_ledger_client(session->ledger), &asset, data.data, data.length, &result,
                               &reverted) == LEDGER_OK &&
              erc20_decode_number(result.data, result.length, &value) && uint256_narrow(value, out);
    buffer_free(&data);
    buffer_free(&result);
    return ok;
}

static int show_balances(struct session *session, const struct address *of)
{
    const struct settings *settings = session->settings;
    char amount[96], text[ADDRESS_TEXT_SIZE];
    unsigned_wide value = 0;
    if (!coin_balance(session, of, &value))
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "the ledger does not say the balance");
    json_t *list = json_object();
    format_base_units(value, 18, amount);
    json_object_set_new(list, "coin", json_string(amount));
    if (!settings->json)
        printf("%s\n  %-10s %s\n", address_text(of, text), "coin", amount);
    for (size_t i = 0; i < session->asset_count; i++) {
        const struct asset_info *asset = &session->assets[i];
        struct address at = rill_bytes_address(asset->address);
        if (address_is_zero(&at) || !token_balance(session, asset->address, of, &value))
            continue;
        format_base_units(value, asset->token_decimals, amount);
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
        code = open_for_sending(&session, &line.settings, NULL);
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
    unsigned decimals = asset != NULL ? asset->token_decimals : 18;
    if (!parse_base_units(text, decimals, &value) || value == 0)
        return command_fail(settings, RILL_EXIT_USAGE, "'%s' is not an amount with at most %u decimals", text,
                            decimals);
    bool coin = address_is_zero(&token);
    if (!coin)
        erc20_encode_transfer(&data, to, value);
    int code = send_call(session, coin ? to : &token, coin ? value : 0, &data, "sending", &receipt);
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
                {"secret-file", OPTION_TEXT, &secret_file, NULL, 0, 0, "FILE", secret_help},
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
    code = open_for_sending(&session, &line.settings, secret_file);
    if (code == RILL_EXIT_OK)
        code = send_money(&session, &to, line.words[1], asset);
    session_close(&session);
    return code;
}
