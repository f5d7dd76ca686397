/* rill ledger list, pool: which assets the hub deals in, and its collateral for them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ledger/erc20.h"
#include "wallet/base_units.h"
#include "wallet/sending.h"

/* Decimals that amounts in channels keep: 2^63 units are then nine thousand million tokens. */
#define UNIT_DECIMALS 9

/* ---- list ---- */

struct listing {
    const char *unit_text, *secret_file;
    struct address asset;
    unsigned_wide unit;
};

static int fail_no_token(const struct session *session, const struct address *asset)
{
    char text[ADDRESS_TEXT_SIZE];
    return command_fail(session->settings, RILL_EXIT_FAILED,
                        "%s does not answer decimals() as a token does: check the address, or give --unit",
                        address_text(asset, text));
}

static int choose_unit(struct session *session, struct listing *listing)
{
    unsigned decimals = COIN_DECIMALS;
    if (listing->unit_text != NULL) {
        if (!base_units_parse(listing->unit_text, 0, &listing->unit) || listing->unit == 0)
            return command_fail(session->settings, RILL_EXIT_USAGE,
                                "--unit '%s' is not a whole number from 1 to 2^128 - 1", listing->unit_text);
        return RILL_EXIT_OK;
    }
    if (!address_is_zero(&listing->asset)) {
        struct buffer data = {0}, result = {0};
        struct uint256 value;
        enum contract_error reverted;
        erc20_encode_plain(&data, ERC20_DECIMALS);
        bool good = ledger_call_wait(rill_ledger_client(session->ledger), &listing->asset, data.data,
                                     data.length, &result, &reverted) == LEDGER_OK &&
                    erc20_decode_number(result.data, result.length, &value) && value.high == 0 &&
                    value.low <= UNIT_DECIMALS + 38;
        buffer_free(&data);
        buffer_free(&result);
        if (!good)
            return fail_no_token(session, &listing->asset);
        decimals = (unsigned)value.low;
    }
    listing->unit = 1;
    for (unsigned i = UNIT_DECIMALS; i < decimals; i++)
        listing->unit *= 10;
    return RILL_EXIT_OK;
}

static int list_asset(struct session *session, struct listing *listing)
{
    char text[ADDRESS_TEXT_SIZE], unit[BASE_UNITS_TEXT_SIZE];
    int code = choose_unit(session, listing);
    if (code == RILL_EXIT_OK)
        code = sending_contract(session,
                                &(struct contract_call){.function = CONTRACT_LIST_ASSET,
                                                        .address = listing->asset,
                                                        .unit = listing->unit},
                                0, "listing the asset (only the hub's own key may)");
    if (code != RILL_EXIT_OK)
        return code;
    base_units_text(listing->unit, 0, unit);
    if (session->settings->json)
        command_print_json(
            json_pack("{s:o, s:s}", "asset", json_address(listing->asset.bytes), "unit", unit));
    else
        printf("%s is listed; one unit in channels is %s of its base units\n",
               address_text(&listing->asset, text), unit);
    return RILL_EXIT_OK;
}

int command_ledger_list(int argc, char **argv)
{
    struct listing listing = {.asset = ADDRESS_ZERO};
    struct command_line line = {
        .name = "ledger list",
        .usage = "ASSET [OPTIONS]",
        .about =
            "For the operator: lets the hub deal in a token that exists, or in the chain's own coin (ASSET "
            "is an\n"
            "address, or the word coin). Needs the hub's own key; can be done once per asset, and its unit "
            "never\n"
            "changes.\n"
            "Example: rill ledger list 0x… --key-file hub.json\n"
            "Exit codes: 0 listed, 1 refused, 2 wrong usage, 3 ledger not reached, 4 keystore.",
        .rows =
            (const struct option_row[]){
                {"unit", OPTION_TEXT, &listing.unit_text, NULL, 0, 0, "BASE UNITS",
                 "Base units in one unit of the channels; default 1, or what leaves nine decimals "
                 "(10^9 of a token with 18)."},
                {"secret-file", OPTION_TEXT, &listing.secret_file, NULL, 0, 0, "FILE", sending_secret_help},
            },
        .row_count = 2,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    if (strcmp(line.words[0], "coin") != 0 && !hex_decode(line.words[0], listing.asset.bytes, 20))
        return command_fail(&line.settings, RILL_EXIT_USAGE,
                            "'%s' is not an address: 0x and 40 digits, or the word coin", line.words[0]);
    struct session session;
    code = sending_open(&session, &line.settings, listing.secret_file);
    if (code == RILL_EXIT_OK)
        code = list_asset(&session, &listing);
    session_close(&session);
    return code;
}

/* ---- pool ---- */

static int read_pool(struct session *session, const struct asset_info *asset, uint64_t *units)
{
    struct buffer data = {0}, result = {0};
    enum contract_error reverted;
    unsigned_wide value = 0;
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_POOL,
                                                        .address = rill_bytes_address(asset->address)});
    bool good = ledger_call_wait(rill_ledger_client(session->ledger), NULL, data.data, data.length, &result,
                                 &reverted) == LEDGER_OK &&
                contract_decode_word(result.data, result.length, 0, &value) && value < AMOUNT_LIMIT;
    buffer_free(&data);
    buffer_free(&result);
    *units = (uint64_t)value;
    return good ? RILL_EXIT_OK
                : command_fail(session->settings, RILL_EXIT_UNREACHABLE, "the ledger does not say the pool");
}

static int show_pools(struct session *session)
{
    char text[ASSET_AMOUNT_TEXT], address[ADDRESS_TEXT_SIZE];
    if (session->asset_count == 0 && session->assets_trouble[0] != '\0')
        return assets_missing(session);
    json_t *list = json_array();
    int code = RILL_EXIT_OK;
    for (size_t i = 0; i < session->asset_count && code == RILL_EXIT_OK; i++) {
        const struct asset_info *asset = &session->assets[i];
        struct address at = rill_bytes_address(asset->address);
        uint64_t units;
        code = read_pool(session, asset, &units);
        if (code != RILL_EXIT_OK)
            break;
        json_array_append_new(list, json_pack("{s:o, s:o}", "asset", json_address(asset->address), "pool",
                                              json_amount(session, asset->address, units)));
        if (!session->settings->json)
            printf("%s  %s\n", address_text(&at, address), asset_amount(asset, units, text));
    }
    if (code == RILL_EXIT_OK && session->settings->json)
        command_print_json(json_pack("{s:O}", "pools", list));
    else if (code == RILL_EXIT_OK && session->asset_count == 0)
        printf("the hub lists no assets yet: rill ledger list, or rill ledger issue --list\n");
    json_decref(list);
    return code;
}

static int deposit_pool(struct session *session, const struct asset_info *asset, uint64_t units)
{
    struct address at = rill_bytes_address(asset->address);
    struct domain domain = rill_ledger_domain(session->ledger);
    unsigned_wide unit, base_units;
    if (!base_units_parse(asset->unit, 0, &unit) || __builtin_mul_overflow(unit, units, &base_units))
        return command_fail(session->settings, RILL_EXIT_FAILED, "%s is more than its token can count",
                            asset->symbol);
    bool is_coin = address_is_zero(&at);
    if (!is_coin) {
        struct buffer data = {0};
        struct ledger_receipt receipt = {.success = false};
        erc20_encode_approve(&data, &domain.contract, base_units);
        int code = sending_call(session, &at, 0, &data, "approving the pool's deposit", &receipt);
        buffer_free(&data);
        if (code != RILL_EXIT_OK)
            return code;
    }
    return sending_contract(
        session,
        &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL, .address = at, .amount = amount_of(units)},
        is_coin ? base_units : 0, "filling the pool");
}

static int withdraw_pool(struct session *session, const struct asset_info *asset, uint64_t units,
                         const struct address *to)
{
    return sending_contract(session,
                            &(struct contract_call){.function = CONTRACT_WITHDRAW_POOL,
                                                    .address = rill_bytes_address(asset->address),
                                                    .to = *to,
                                                    .amount = amount_of(units)},
                            0, "taking money from the pool (only the hub's own key may)");
}

static int move_pool(struct session *session, const char *const words[2], const char *asset_text,
                     const char *to_text)
{
    char text[ASSET_AMOUNT_TEXT];
    uint64_t units, pool;
    struct address to = rill_bytes_address(session->address);
    bool is_deposit = strcmp(words[0], "deposit") == 0;
    const struct asset_info *asset = asset_named(session, asset_text);
    if (asset == NULL)
        return session->asset_count == 0 ? RILL_EXIT_FAILED : RILL_EXIT_USAGE;
    if (!asset_parse(session, asset, words[1], &units))
        return RILL_EXIT_USAGE;
    if (to_text != NULL && !hex_decode(to_text, to.bytes, 20))
        return command_fail(session->settings, RILL_EXIT_USAGE, "--to '%s' is not an address", to_text);
    int code = is_deposit ? deposit_pool(session, asset, units) : withdraw_pool(session, asset, units, &to);
    if (code == RILL_EXIT_OK)
        code = read_pool(session, asset, &pool);
    if (code != RILL_EXIT_OK)
        return code;
    if (session->settings->json)
        command_print_json(json_pack("{s:o, s:o}", "asset", json_address(asset->address), "pool",
                                     json_amount(session, asset->address, pool)));
    else
        printf("the pool holds %s now\n", asset_amount(asset, pool, text));
    return RILL_EXIT_OK;
}

int command_ledger_pool(int argc, char **argv)
{
    const char *asset = NULL, *to = NULL, *secret_file = NULL;
    struct command_line line = {
        .name = "ledger pool",
        .usage = "[deposit AMOUNT | withdraw AMOUNT] [OPTIONS]",
        .about = "For the operator: the hub's collateral at its contract, from which channels are funded. "
                 "Without words it\n"
                 "is shown. Anybody may deposit; withdrawing needs the hub's own key. What a batch under way "
                 "needs and no\n"
                 "longer finds is left out of that batch.\n"
                 "Example: rill ledger pool deposit 500000 --asset USDT --key-file hub.json\n"
                 "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 ledger not reached, 4 keystore.",
        .rows =
            (const struct option_row[]){
                {"asset", OPTION_TEXT, &asset, NULL, 0, 0, "ASSET",
                 "Symbol or address; may be left out where there is only one."},
                {"to", OPTION_TEXT, &to, NULL, 0, 0, "ADDRESS",
                 "Where a withdrawal goes; default: the address of the key."},
                {"secret-file", OPTION_TEXT, &secret_file, NULL, 0, 0, "FILE", sending_secret_help},
            },
        .row_count = 3,
        .words_max = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    bool moves = line.word_count == 2 &&
                 (strcmp(line.words[0], "deposit") == 0 || strcmp(line.words[0], "withdraw") == 0);
    if (line.word_count != 0 && !moves)
        return command_fail(&line.settings, RILL_EXIT_USAGE,
                            "say `rill ledger pool`, `… pool deposit AMOUNT` or `… pool withdraw AMOUNT`");
    struct session session;
    code = moves ? sending_open(&session, &line.settings, secret_file)
                 : session_open(&session, &line.settings, SESSION_LEDGER, false);
    if (code == RILL_EXIT_OK)
        code = moves ? move_pool(&session, line.words, asset, to) : show_pools(&session);
    session_close(&session);
    return code;
}
