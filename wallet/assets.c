/* Assets by name: symbol, decimals and unit are read from the ledger, and kept in the home: for when it is away, and
 * because one wrong answer about decimals would make every amount wrong by powers of ten. What a token's decimals and unit
 * are is taken from the ledger at the first sight only; an answer is then held against it, and a question that is not
 * answered is no answer. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/erc20.h"
#include "ledger/quantity.h"
#include "wallet/base_units.h"
#include "wallet/command.h"
#include "wallet/shell.h"

#define COIN_SYMBOL "coin"

/* What was kept in the home. */
struct kept_assets {
    struct asset_info list[ASSETS_KNOWN_MAX];
    size_t count;
};

static const struct asset_info *find(const struct asset_info *list, size_t count, const uint8_t address[20])
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(list[i].address, address, 20) == 0)
            return &list[i];
    return NULL;
}

const struct asset_info *asset_by_address(const struct session *session, const uint8_t address[20])
{
    return find(session->assets, session->asset_count, address);
}

/* ---- the ledger's list ---- */

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

/* ASKED_WRONG: no asset may be used. */
enum asked { ASKED_WELL, ASKED_IN_VAIN, ASKED_WRONG };

static enum asked in_vain(struct session *session, const char *what, const char *why)
{
    snprintf(session->assets_trouble, sizeof(session->assets_trouble),
             "the ledger at %.100s does not say %s (%.120s): try again, or name another node with --ledger",
             session->settings->ledger, what, why);
    return ASKED_IN_VAIN;
}

/* Answered also if the contract reverts, as one does that lacks the function: *result is empty then. */
static bool ask_contract(struct session *session, const struct address *token, enum erc20_function function,
                         struct buffer *result)
{
    struct buffer data = {0};
    enum contract_error reverted;
    erc20_encode_plain(&data, function);
    enum ledger_error error = ledger_call_wait(rill_ledger_client(session->ledger), token, data.data,
                                               data.length, result, &reverted);
    buffer_free(&data);
    return error == LEDGER_OK || error == LEDGER_REVERTED;
}

static enum asked ask_symbol(struct session *session, struct asset_info *asset)
{
    struct buffer result = {0};
    char symbol[TOKEN_TEXT_MAX + 1] = "", what[96], text[ADDRESS_TEXT_SIZE];
    struct address token = rill_bytes_address(asset->address);
    bool answered = ask_contract(session, &token, ERC20_SYMBOL, &result);
    if (answered && !erc20_decode_text(result.data, result.length, symbol))
        symbol[0] = '\0';
    buffer_free(&result);
    if (answered)
        take_symbol(asset, symbol);
    snprintf(what, sizeof(what), "the symbol of the token %s", address_text(&token, text));
    return answered ? ASKED_WELL
                    : in_vain(session, what, ledger_last_error(rill_ledger_client(session->ledger)));
}

static enum asked ask_decimals(struct session *session, struct asset_info *asset)
{
    struct buffer result = {0};
    struct uint256 decimals = {0};
    char what[96], text[ADDRESS_TEXT_SIZE];
    struct address token = rill_bytes_address(asset->address);
    bool answered = ask_contract(session, &token, ERC20_DECIMALS, &result);
    /* An empty answer: the contract has none. */
    bool good =
        answered && (result.length == 0 || (erc20_decode_number(result.data, result.length, &decimals) &&
                                            decimals.high == 0 && decimals.low <= DECIMALS_MAX));
    buffer_free(&result);
    snprintf(what, sizeof(what), "the decimals of the token %s", address_text(&token, text));
    if (!good)
        return in_vain(session, what,
                       answered ? "its answer makes no sense"
                                : ledger_last_error(rill_ledger_client(session->ledger)));
    asset->token_decimals = (uint8_t)decimals.low;
    return ASKED_WELL;
}

static enum asked contradict(struct session *session, const struct asset_info *asset,
                             const struct asset_info *pinned)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address token = rill_bytes_address(asset->address);
    snprintf(session->assets_trouble, sizeof(session->assets_trouble),
             "the ledger at %.100s says that %s (%s) has %u decimals and the unit %s; assets.json in the "
             "wallet's home says %u and %s. Neither ever changes: name a node you trust with --ledger, or "
             "remove that file if it is what is wrong",
             session->settings->ledger, pinned->symbol, address_text(&token, text), asset->token_decimals,
             asset->unit, pinned->token_decimals, pinned->unit);
    return ASKED_WRONG;
}

/* pinned: what is known of it since the first sight; NULL: this is the first. */
static enum asked ask_token(struct session *session, const struct asset_info *pinned,
                            struct asset_info *asset)
{
    struct address token = rill_bytes_address(asset->address);
    enum asked asked = ASKED_WELL;
    if (address_is_zero(&token)) {
        snprintf(asset->symbol, sizeof(asset->symbol), "%s", COIN_SYMBOL);
        asset->token_decimals = COIN_DECIMALS;
    } else {
        if (pinned == NULL)
            asked = ask_symbol(session, asset);
        if (asked == ASKED_WELL)
            asked = ask_decimals(session, asset);
    }
    if (pinned == NULL)
        return asked;
    if (asked == ASKED_IN_VAIN) /* what is known goes on to count */
        asset->token_decimals = pinned->token_decimals;
    if (strcmp(asset->unit, pinned->unit) != 0 || asset->token_decimals != pinned->token_decimals)
        return contradict(session, asset, pinned);
    return ASKED_WELL;
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
    answer->ok = json_is_array(answer->logs);
    event_base_loopbreak(answer->session->base);
}

static bool logs_arrived(struct session *session)
{
    return ((struct log_answer *)session->context)->done;
}

static enum asked take_log(struct session *session, const struct kept_assets *kept, const json_t *log)
{
    struct address address;
    unsigned_wide unit;
    struct buffer data = {0};
    json_t *topics = json_object_get(log, "topics");
    struct hash topic;
    bool good = json_array_size(topics) == 2 && hash_of_json(json_array_get(topics, 1), &topic) &&
                bytes_of_json(json_object_get(log, "data"), &data) &&
                contract_decode_word(data.data, data.length, 0, &unit) && unit > 0;
    buffer_free(&data);
    if (!good)
        return ASKED_WELL;
    memcpy(address.bytes, topic.bytes + 12, 20);
    if (asset_by_address(session, address.bytes) != NULL || session->asset_count == ASSETS_KNOWN_MAX)
        return ASKED_WELL;
    const struct asset_info *pinned = find(kept->list, kept->count, address.bytes);
    struct asset_info asset = {.decimals = 0};
    memcpy(asset.address, address.bytes, sizeof(asset.address));
    write_wide(unit, asset.unit);
    enum asked asked = ask_token(session, pinned, &asset);
    if (asked != ASKED_WELL)
        return asked;
    if (pinned != NULL)
        asset = *pinned;
    asset.decimals = shown_decimals(asset.token_decimals, unit);
    session->assets[session->asset_count++] = asset;
    return ASKED_WELL;
}

static enum asked read_from_ledger(struct session *session, const struct kept_assets *kept)
{
    static const char listing[] = "which assets the hub lists";
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
        return in_vain(session, listing, "no answer in time");
    }
    enum asked asked =
        answer->ok ? ASKED_WELL
                   : in_vain(session, listing, ledger_last_error(rill_ledger_client(session->ledger)));
    for (size_t i = 0; asked == ASKED_WELL && i < json_array_size(answer->logs); i++)
        asked = take_log(session, kept, json_array_get(answer->logs, i));
    json_decref(answer->logs);
    free(answer);
    return asked;
}

/* ---- the file ---- */

static void assets_path(const struct session *session, char *out, size_t size)
{
    command_path(session->settings, "assets.json", out, size);
}

static json_t *asset_json(const struct asset_info *asset)
{
    return json_pack("{s:o, s:s, s:i, s:s}", "address", json_address(asset->address), "symbol", asset->symbol,
                     "decimals", (int)asset->token_decimals, "unit", asset->unit);
}

/* One that the ledger does not list at the moment stays: a node must not be able to make it be seen for the first time
 * again. */
static void keep_file(const struct session *session, const struct kept_assets *kept)
{
    char path[1200];
    size_t count = kept->count;
    json_t *list = json_array();
    for (size_t i = 0; i < kept->count; i++)
        json_array_append_new(list, asset_json(&kept->list[i]));
    for (size_t i = 0; i < session->asset_count && count < ASSETS_KNOWN_MAX; i++) {
        if (find(kept->list, kept->count, session->assets[i].address) != NULL)
            continue;
        json_array_append_new(list, asset_json(&session->assets[i]));
        count++;
    }
    assets_path(session, path, sizeof(path));
    if (count > kept->count)
        (void)!command_replace_json(list, path); /* if not, the ledger is asked again the next time */
    json_decref(list);
}

static void read_file(const struct session *session, struct kept_assets *kept)
{
    char path[1200];
    assets_path(session, path, sizeof(path));
    kept->count = 0;
    json_t *list = json_load_file(path, 0, NULL);
    for (size_t i = 0; i < json_array_size(list) && kept->count < ASSETS_KNOWN_MAX; i++) {
        json_t *entry = json_array_get(list, i);
        const char *unit = json_string_value(json_object_get(entry, "unit"));
        const char *symbol = json_string_value(json_object_get(entry, "symbol"));
        const json_t *decimals = json_object_get(entry, "decimals");
        unsigned_wide value;
        struct address address;
        struct asset_info asset = {.decimals = 0};
        if (unit == NULL || symbol == NULL || strlen(unit) >= sizeof(asset.unit) ||
            !base_units_parse(unit, 0, &value) || value == 0 || !json_is_integer(decimals) ||
            json_integer_value(decimals) < 0 || json_integer_value(decimals) > DECIMALS_MAX ||
            !address_of_json(json_object_get(entry, "address"), &address) ||
            find(kept->list, kept->count, address.bytes) != NULL)
            continue;
        memcpy(asset.address, address.bytes, sizeof(asset.address));
        take_symbol(&asset, symbol);
        asset.token_decimals = (uint8_t)json_integer_value(decimals);
        write_wide(value, asset.unit);
        asset.decimals = shown_decimals(asset.token_decimals, value);
        kept->list[kept->count++] = asset;
    }
    json_decref(list);
}

bool assets_load(struct session *session)
{
    struct kept_assets kept;
    read_file(session, &kept);
    session->asset_count = 0;
    session->assets_trouble[0] = '\0';
    enum asked asked =
        rill_ledger_is_ready(session->ledger) ? read_from_ledger(session, &kept) : ASKED_IN_VAIN;
    if (asked == ASKED_WELL) {
        session->assets_trouble[0] = '\0';
        keep_file(session, &kept);
        return true;
    }
    session->asset_count = 0;
    if (asked == ASKED_WRONG)
        return false;
    memcpy(session->assets, kept.list, kept.count * sizeof(*kept.list));
    session->asset_count = kept.count;
    if (kept.count > 0 && session->assets_trouble[0] != '\0' && !session->interrupted)
        log_warn("%s; until then what was kept in the home counts", session->assets_trouble);
    return true;
}

/* ---- names and amounts ---- */

int assets_missing(const struct session *session)
{
    if (session->assets_trouble[0] != '\0')
        return command_fail(session->settings, RILL_EXIT_UNREACHABLE, "%s", session->assets_trouble);
    return command_fail(session->settings, RILL_EXIT_FAILED, "the hub lists no assets yet");
}

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
        (void)assets_missing(session);
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
