/* Assets by name: symbol, decimals and unit are read from the ledger, and kept in the home for when it is
 * away. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ensure.h"
#include "ledger/erc20.h"
#include "ledger/quantity.h"
#include "wallet/base_units.h"
#include "wallet/command.h"
#include "wallet/shell.h"

#define COIN_SYMBOL "coin"

const struct asset_info *asset_by_address(const struct session *session, const uint8_t address[20])
{
    for (size_t i = 0; i < session->asset_count; i++)
        if (memcmp(session->assets[i].address, address, 20) == 0)
            return &session->assets[i];
    return NULL;
}

/* ---- the ledger's list ---- */

static unsigned_wide read_wide(const char *text)
{
    unsigned_wide value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value;
}

static void write_wide(unsigned_wide value, char out[40])
{
    char digits[40];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    out[count] = '\0';
}

/* One unit is 10^k base units: amounts are shown with the token's decimals less k. */
static uint8_t shown_decimals(uint8_t token_decimals, unsigned_wide unit)
{
    uint8_t decimals = token_decimals;
    while (unit % 10 == 0 && unit > 1 && decimals > 0) {
        unit /= 10;
        decimals--;
    }
    return unit == 1 ? decimals : 0;
}

static struct asset_info *add_asset(struct session *session, const uint8_t address[20])
{
    if (session->asset_count == ASSETS_KNOWN_MAX)
        return NULL;
    struct asset_info *asset = &session->assets[session->asset_count++];
    memset(asset, 0, sizeof(*asset));
    memcpy(asset->address, address, 20);
    return asset;
}

/* Symbols come from strangers' contracts: only what cannot upset a terminal is shown. */
static void take_symbol(struct asset_info *asset, const char *text)
{
    size_t length = 0;
    for (; *text != '\0' && length + 1 < sizeof(asset->symbol); text++)
        if ((unsigned char)*text > 0x20 && (unsigned char)*text < 0x7f)
            asset->symbol[length++] = *text;
    asset->symbol[length] = '\0';
    if (length == 0)
        snprintf(asset->symbol, sizeof(asset->symbol), "?");
}

static void ask_token(struct session *session, struct asset_info *asset, unsigned_wide unit)
{
    struct ledger *client = rill_ledger_client(session->ledger);
    struct address token = rill_bytes_address(asset->address);
    write_wide(unit, asset->unit);
    if (address_is_zero(&token)) {
        snprintf(asset->symbol, sizeof(asset->symbol), "%s", COIN_SYMBOL);
        asset->token_decimals = COIN_DECIMALS;
    } else {
        struct buffer data = {0}, result = {0};
        char symbol[TOKEN_TEXT_MAX + 1] = "";
        struct uint256 decimals;
        enum contract_error reverted;
        erc20_encode_plain(&data, ERC20_SYMBOL);
        if (ledger_call_wait(client, &token, data.data, data.length, &result, &reverted) == LEDGER_OK &&
            !erc20_decode_text(result.data, result.length, symbol))
            symbol[0] = '\0';
        take_symbol(asset, symbol);
        buffer_clear(&data);
        buffer_clear(&result);
        erc20_encode_plain(&data, ERC20_DECIMALS);
        if (ledger_call_wait(client, &token, data.data, data.length, &result, &reverted) == LEDGER_OK &&
            erc20_decode_number(result.data, result.length, &decimals) && decimals.high == 0 &&
            decimals.low <= DECIMALS_MAX)
            asset->token_decimals = (uint8_t)decimals.low;
        buffer_free(&data);
        buffer_free(&result);
    }
    asset->decimals = shown_decimals(asset->token_decimals, unit);
}

struct log_answer {
    struct session *session;
    bool done, ok;
    json_t *logs;
};

static void on_logs(void *context, enum ledger_error error, const char *text)
{
    struct log_answer *answer = context;
    if (answer->session == NULL) {
        free(answer);
        return;
    }
    answer->done = true;
    if (error == LEDGER_OK)
        answer->logs = json_loads(text, 0, NULL);
    answer->ok = answer->logs != NULL;
    event_base_loopbreak(answer->session->base);
}

static bool logs_arrived(struct session *session)
{
    return ((struct log_answer *)session->context)->done;
}

static void take_log(struct session *session, json_t *log)
{
    struct address address;
    unsigned_wide unit;
    struct buffer data = {0};
    json_t *topics = json_object_get(log, "topics");
    struct hash topic;
    if (json_array_size(topics) == 2 && hash_of_json(json_array_get(topics, 1), &topic) &&
        bytes_of_json(json_object_get(log, "data"), &data) &&
        contract_decode_word(data.data, data.length, 0, &unit) && unit > 0) {
        memcpy(address.bytes, topic.bytes + 12, 20);
        struct asset_info *asset =
            asset_by_address(session, address.bytes) == NULL ? add_asset(session, address.bytes) : NULL;
        if (asset != NULL)
            ask_token(session, asset, unit);
    }
    buffer_free(&data);
}

static bool read_from_ledger(struct session *session)
{
    char topic[HASH_TEXT_SIZE], contract[ADDRESS_TEXT_SIZE], params[400];
    struct hash asset_listed = contract_event_topic(EVENT_ASSET_LISTED);
    struct domain domain = rill_ledger_domain(session->ledger);
    snprintf(params, sizeof(params),
             "[{\"fromBlock\":\"0x%" PRIx64
             "\",\"toBlock\":\"latest\",\"address\":\"%s\",\"topics\":[\"%s\"]}]",
             session->settings->contract_block, address_text(&domain.contract, contract),
             hash_text(&asset_listed, topic));
    struct log_answer *answer = xcalloc(1, sizeof(*answer));
    void *context = session->context;
    answer->session = session;
    session->context = answer;
    ledger_request(rill_ledger_client(session->ledger), "eth_getLogs", params, on_logs, answer);
    bool arrived = session_wait(session, logs_arrived, 5000, "the ledger");
    session->context = context;
    if (!arrived) {
        answer->session = NULL; /* freed when the answer comes after all */
        return false;
    }
    bool ok = answer->ok;
    for (size_t i = 0; ok && i < json_array_size(answer->logs); i++)
        take_log(session, json_array_get(answer->logs, i));
    json_decref(answer->logs);
    free(answer);
    return ok;
}

/* ---- the file ---- */

static void assets_path(const struct session *session, char *out, size_t size)
{
    command_path(session->settings, "assets.json", out, size);
}

static void keep_file(const struct session *session)
{
    char path[1200];
    assets_path(session, path, sizeof(path));
    json_t *list = json_array();
    for (size_t i = 0; i < session->asset_count; i++) {
        const struct asset_info *asset = &session->assets[i];
        json_array_append_new(list, json_pack("{s:o, s:s, s:i, s:s}", "address", json_address(asset->address),
                                              "symbol", asset->symbol, "decimals", (int)asset->token_decimals,
                                              "unit", asset->unit));
    }
    if (session->asset_count > 0)
        (void)json_dump_file(list, path,
                             JSON_INDENT(1)); /* only a help for later: without it the ledger is asked */
    json_decref(list);
}

static void read_file(struct session *session)
{
    char path[1200];
    assets_path(session, path, sizeof(path));
    json_t *list = json_load_file(path, 0, NULL);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        const char *unit = json_string_value(json_object_get(entry, "unit"));
        const char *symbol = json_string_value(json_object_get(entry, "symbol"));
        struct address address;
        if (unit == NULL || symbol == NULL || strlen(unit) >= 40 ||
            !address_of_json(json_object_get(entry, "address"), &address) ||
            asset_by_address(session, address.bytes) != NULL)
            continue;
        struct asset_info *asset = add_asset(session, address.bytes);
        if (asset == NULL)
            break;
        take_symbol(asset, symbol);
        asset->token_decimals = (uint8_t)(json_integer_value(json_object_get(entry, "decimals")) % 78);
        snprintf(asset->unit, sizeof(asset->unit), "%s", unit);
        asset->decimals = shown_decimals(asset->token_decimals, read_wide(unit));
    }
    json_decref(list);
}

void assets_load(struct session *session)
{
    if (rill_ledger_is_ready(session->ledger) && read_from_ledger(session))
        keep_file(session);
    else
        read_file(session);
}

/* ---- names and amounts ---- */

const struct asset_info *asset_named(struct session *session, const char *text)
{
    const struct asset_info *found = NULL;
    struct address address;
    size_t matches = 0;
    if (text != NULL && hex_decode(text, address.bytes, 20)) {
        found = asset_by_address(session, address.bytes);
        matches = found != NULL;
    } else {
        for (size_t i = 0; i < session->asset_count; i++) {
            if (text == NULL || strcasecmp(text, session->assets[i].symbol) == 0) {
                found = &session->assets[i];
                matches++;
            }
        }
    }
    if (matches == 1)
        return found;
    if (session->asset_count == 0)
        command_fail(session->settings, RILL_EXIT_FAILED, "the hub lists no assets yet");
    else if (text == NULL)
        command_fail(session->settings, RILL_EXIT_USAGE,
                     "the hub serves several assets: choose one with --asset");
    else if (matches > 1)
        command_fail(session->settings, RILL_EXIT_USAGE, "several assets are called '%s': give the address",
                     text);
    else
        command_fail(session->settings, RILL_EXIT_USAGE, "the hub does not serve '%s'", text);
    return NULL;
}

const char *asset_amount(const struct asset_info *asset, uint64_t units, char out[ASSET_AMOUNT_TEXT])
{
    char text[AMOUNT_TEXT_SIZE];
    snprintf(out, ASSET_AMOUNT_TEXT, "%s %s", amount_text(amount_of(units), asset->decimals, text),
             asset->symbol);
    return out;
}

const char *amount_of_asset(const struct session *session, const uint8_t asset[20], uint64_t units,
                            char out[ASSET_AMOUNT_TEXT])
{
    const struct asset_info *info = asset_by_address(session, asset);
    if (info != NULL)
        return asset_amount(info, units, out);
    snprintf(out, ASSET_AMOUNT_TEXT, "%llu units", (unsigned long long)units);
    return out;
}

json_t *json_amount(const struct session *session, const uint8_t asset[20], uint64_t units)
{
    char text[AMOUNT_TEXT_SIZE];
    const struct asset_info *info = asset_by_address(session, asset);
    return json_pack("{s:o, s:s, s:s}", "units", json_units(units), "amount",
                     info != NULL ? amount_text(amount_of(units), info->decimals, text) : "", "symbol",
                     info != NULL ? info->symbol : "");
}

bool asset_parse(const struct session *session, const struct asset_info *asset, const char *text,
                 uint64_t *units)
{
    struct amount amount;
    if (amount_parse(text, asset->decimals, &amount) && !amount_is_zero(amount)) {
        *units = amount.units;
        return true;
    }
    command_fail(session->settings, RILL_EXIT_USAGE,
                 "'%s' is not an amount of %s (more than zero, at most %u decimals)", text, asset->symbol,
                 asset->decimals);
    return false;
}
