/* Balance, payouts, and when they are made by themselves. */
#include <stdio.h>
#include <string.h>

#include "base/code.h"
#include "base/ensure.h"
#include "merchant/api.h"
#include "merchant/render.h"

/* ---- balance ---- */

static json_t *balance_json(const struct shop *shop, const struct rill_balance *balance)
{
    struct address asset;
    memcpy(asset.bytes, balance->asset, sizeof(asset.bytes));
    json_t *object = json_pack(
        "{s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "asset",
        render_asset(shop, &asset), "channel", json_hash(balance->channel), "stage",
        balance->closing_seen            ? "closing"
        : balance->stage == RILL_OPEN    ? "open"
        : balance->stage == RILL_CLOSING ? "closing"
        : balance->stage == RILL_CLOSED  ? "closed"
                                         : "none",
        "synced", balance->synced, "balance", render_amount(shop, &asset, balance->balance), "balance_units",
        render_units(balance->balance), "available", render_amount(shop, &asset, balance->available),
        "available_units", render_units(balance->available), "inbound",
        render_amount(shop, &asset, balance->inbound), "inbound_units", render_units(balance->inbound),
        "incoming", render_amount(shop, &asset, balance->incoming), "incoming_units",
        render_units(balance->incoming), "settling",
        render_amount(shop, &asset, rill_withdrawal(shop->session->wallet, balance->asset)), "settling_units",
        render_units(rill_withdrawal(shop->session->wallet, balance->asset)), "blocked",
        render_text(balance->blocked));
    ensure(object != NULL);
    return object;
}

void api_balance(struct call *call)
{
    struct rill_balance balance;
    json_t *list = json_array();
    for (size_t i = 0; rill_balance_at(call->api->session->wallet, i, &balance); i++)
        json_array_append_new(list, balance_json(call->api->shop, &balance));
    call_answer(call, 200, json_pack("{s:o, s:b}", "balances", list, "connected", call->api->hub_ready));
}

/* ---- payouts ---- */

void api_payout_list(struct call *call)
{
    static const char *const parameters[] = {"since", "until", "limit", "cursor", NULL};
    const struct shop *shop = call->api->shop;
    struct page page;
    if (!call_query_members(call, parameters) || !call_page(call, &page))
        return;
    json_t *list = json_array();
    uint64_t next = 0;
    for (size_t i = shop_payout_after(shop, page.before - 1); i > 0; i--) {
        const struct payout *payout = shop->payout_list[i - 1];
        if (payout->created < page.since)
            break;
        if (json_array_size(list) == page.limit) {
            next = payout->number + 1;
            break;
        }
        if (payout->created < page.until)
            json_array_append_new(list, render_payout(shop, payout));
    }
    call_answer(call, 200, json_pack("{s:o, s:o}", "payouts", list, "next", page_next(next)));
}

/* On disk first, the answer to its key with it: a crash must not let the key be used for a second payout. */
void api_payout_create(struct call *call)
{
    static const char *const members[] = {"amount", "asset", NULL};
    const char *amount = NULL, *named = NULL;
    const struct asset_info *asset;
    struct shop *shop = call->api->shop;
    struct rill_wallet *wallet = call->api->session->wallet;
    struct rill_balance balance = {.available = 0};
    uint64_t units = 0;
    if (!call_members(call, members) || !call_text(call, "amount", 40, &amount) ||
        !call_text(call, "asset", 64, &named) || !call_asset(call, named, &asset))
        return;
    bool all = amount != NULL && strcmp(amount, "all") == 0;
    if (amount == NULL) {
        (void)call_fail(call, 400, "invalid_amount", "'amount' is missing: a decimal string, or \"all\"");
        return;
    }
    if (all && rill_balance_of(wallet, asset->address, &balance))
        units = balance.available;
    if (all && units == 0) {
        (void)call_fail(call, 409, "payout_refused", "nothing is available to be paid out");
        return;
    }
    if (!all && !call_amount(call, asset, "amount", amount, &units))
        return;
    /* Its end must not be taken for this one's. */
    if (rill_withdrawal(wallet, asset->address) != 0) {
        (void)call_fail(call, 409, "payout_refused", "a payout of this asset is under way already");
        return;
    }
    struct address address;
    memcpy(address.bytes, asset->address, sizeof(address.bytes));
    struct payout *payout = shop_payout_create(shop, &address, units, true);
    call_answer(call, 201, render_payout(shop, payout));
    call_commit(call);
    if (shop_payout_send(shop, payout) != 0)
        (void)call_fail(call, 409, "payout_refused", "%s", rill_refusal(wallet));
}

/* ---- the policy ---- */

static const char *const mode_names[] = {"manual", "threshold", "daily"};

static json_t *policy_json(const struct shop *shop, const struct asset_info *asset)
{
    char at[8];
    struct address address;
    struct rill_payout_policy policy = rill_payout_policy(shop->session->wallet, asset->address);
    memcpy(address.bytes, asset->address, sizeof(address.bytes));
    snprintf(at, sizeof(at), "%02u:%02u", policy.minute / 60u % 24u, policy.minute % 60u);
    bool has_threshold = policy.mode != RILL_PAYOUT_MANUAL && policy.threshold != 0;
    json_t *object = json_pack("{s:o, s:s, s:o, s:o, s:o}", "asset", render_asset(shop, &address), "mode",
                               mode_names[policy.mode], "threshold",
                               has_threshold ? render_amount(shop, &address, policy.threshold) : json_null(),
                               "keep", render_amount(shop, &address, policy.keep), "at",
                               policy.mode == RILL_PAYOUT_DAILY ? json_string(at) : json_null());
    ensure(object != NULL);
    return object;
}

void api_policy_get(struct call *call)
{
    static const char *const parameters[] = {"asset", NULL};
    const struct asset_info *asset;
    if (call_query_members(call, parameters) && call_asset(call, call_query(call, "asset"), &asset))
        call_answer(call, 200, policy_json(call->api->shop, asset));
}

static bool read_moment(struct call *call, const char *at, uint16_t *minute)
{
    if (at == NULL)
        return call_fail(call, 400, "invalid_request", "'at' is missing: the time of day, UTC, as \"23:30\"");
    if (strlen(at) == 5 && at[2] == ':' && strspn(at, "0123456789:") == 5 && strchr(at + 3, ':') == NULL) {
        unsigned hours = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
        unsigned minutes = (unsigned)(at[3] - '0') * 10 + (unsigned)(at[4] - '0');
        *minute = (uint16_t)(hours * 60 + minutes);
        if (hours < 24 && minutes < 60 && strchr(at, ':') == at + 2)
            return true;
    }
    return call_fail(call, 400, "invalid_request", "'at' is not a time of day as \"23:30\", UTC");
}

static bool read_policy(struct call *call, const struct asset_info *asset, struct rill_payout_policy *out)
{
    const char *mode = NULL, *threshold = NULL, *keep = NULL, *at = NULL;
    int found = -1;
    if (!call_text(call, "mode", 16, &mode) || !call_text(call, "threshold", 40, &threshold) ||
        !call_text(call, "keep", 40, &keep) || !call_text(call, "at", 8, &at))
        return false;
    for (int i = 0; mode != NULL && i < (int)ARRAY_LENGTH(mode_names); i++)
        if (strcmp(mode, mode_names[i]) == 0)
            found = i;
    if (found < 0)
        return call_fail(call, 400, "invalid_request", "'mode' is one of manual, threshold, daily");
    *out = (struct rill_payout_policy){.mode = (enum rill_payout_mode)found};
    struct amount kept = amount_of(0);
    if (threshold != NULL && !call_amount(call, asset, "threshold", threshold, &out->threshold))
        return false;
    if (keep != NULL && !amount_parse(keep, asset->decimals, &kept))
        return call_fail(call, 400, "invalid_amount", "'keep' is not an amount");
    out->keep = kept.units;
    return out->mode != RILL_PAYOUT_DAILY || read_moment(call, at, &out->minute);
}

void api_policy_put(struct call *call)
{
    static const char *const members[] = {"mode", "threshold", "keep", "at", "asset", NULL};
    const char *named = NULL;
    const struct asset_info *asset;
    struct rill_payout_policy policy;
    struct rill_wallet *wallet = call->api->session->wallet;
    if (!call_members(call, members) || !call_text(call, "asset", 64, &named) ||
        !call_asset(call, named, &asset) || !read_policy(call, asset, &policy))
        return;
    if (rill_set_payout_policy(wallet, asset->address, &policy) != 0)
        (void)call_fail(call, 400, "invalid_request", "%s", rill_refusal(wallet));
    else
        call_answer(call, 200, policy_json(call->api->shop, asset));
}
