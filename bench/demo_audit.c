/* At the end every unit is looked for: in the wallets' books, at the hub, on the ledger. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bench/demo.h"
#include "crypto/hash.h"

struct demo_figures demo_count(const struct demo *demo)
{
    struct demo_figures figures = {.channels = demo->events.opened};
    for (size_t i = 0; i < demo->payment_count; i++) {
        const struct demo_payment *payment = &demo->payments[i];
        figures.failed += payment->attempts + (payment->state == PAYMENT_FAILED && payment->locked);
        figures.refunded += payment->state == PAYMENT_FAILED && !payment->locked;
        if (payment->state != PAYMENT_PAID)
            continue;
        figures.payments++;
        figures.direct += !payment->locked;
        figures.locked += payment->locked;
        figures.gross_units += payment->amount;
        figures.fees_units += payment->fee;
    }
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        figures.opened_by_hub += !demo->clients[i].deposits;
        figures.opening_units += demo->clients[i].room_units;
    }
    return figures;
}

/* ---- wallets ---- */

static uint64_t start_units(const struct demo_client *client)
{
    return client->deposits ? client->deposit_units : 0;
}

/* What the demo's books say is in the client's channel; the cheat's is closed. */
static uint64_t expected_units(const struct demo_client *client)
{
    return start_units(client) + client->received - client->paid - client->fees - client->withdrawn;
}

static bool shop_agrees(struct demo *demo, const struct demo_shop_balance *balance)
{
    return balance->balance == expected_units(&demo->clients[DEMO_SHOP]);
}

bool demo_books_agree(struct demo *demo, char *progress, size_t size)
{
    size_t wrong = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        const struct demo_client *client = &demo->clients[i];
        struct rill_balance balance = {0};
        if (client->wallet == NULL)
            continue;
        bool any = rill_balance_of(client->wallet, demo->asset.bytes, &balance);
        if (any && balance.balance == expected_units(client) && balance.locked == 0 && balance.frozen == 0 &&
            balance.unsecured == 0 && rill_is_idle(client->wallet))
            continue;
        if (wrong++ == 0)
            snprintf(progress, size, "%s has %" PRIu64 " units, the books say %" PRIu64, client->name,
                     balance.balance, expected_units(client));
    }
    return wrong == 0 && demo_shop_is(demo, shop_agrees, progress, size);
}

struct receipts {
    uint64_t good, wrong;
};

static bool check_receipt(void *context, const struct rill_payment *payment)
{
    struct receipts *receipts = context;
    struct hash hash = sha256(payment->secret, sizeof(payment->secret));
    if (!payment->outgoing || !payment->has_secret)
        return true;
    if (memcmp(hash.bytes, payment->secret_hash, sizeof(hash.bytes)) == 0)
        receipts->good++;
    else
        receipts->wrong++;
    return true;
}

/* The receipts as the wallets keep them, against the payments as the demo counted them. */
static bool audit_receipts(struct demo *demo)
{
    uint64_t all = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        const struct demo_client *client = &demo->clients[i];
        struct receipts receipts = {0};
        uint64_t paid = 0;
        if (client->wallet == NULL)
            continue;
        rill_history(client->wallet, check_receipt, &receipts);
        for (size_t p = 0; p < demo->payment_count; p++)
            paid += demo->payments[p].payer == i && demo->payments[p].state == PAYMENT_PAID;
        if (receipts.wrong != 0 || receipts.good != paid)
            return demo_fail(demo, "%s keeps %" PRIu64 " good receipts for %" PRIu64 " payments",
                             client->name, receipts.good, paid);
        all += paid;
    }
    for (size_t p = 0; p < demo->payment_count; p++)
        if ((demo->payments[p].state == PAYMENT_PAID) != demo->payments[p].received)
            return demo_fail(demo, "payment %zu: receipt and arrival differ", p);
    demo_say(demo, "audit: %" PRIu64 " receipts in the wallets are good, each payment arrived once", all);
    return true;
}

/* Each merchant's tower has said that it keeps the hub's newest proofs. */
static bool audit_tower(struct demo *demo)
{
    for (size_t i = DEMO_WALLETS; i < DEMO_CLIENTS; i++) {
        const struct demo_client *merchant = &demo->clients[i];
        if (i == DEMO_SHOP)
            continue; /* its API says nothing of towers */
        struct hash channel = demo_channel_id(demo, merchant);
        if (rill_tower_receipt(merchant->wallet, 0, channel.bytes) == 0)
            return demo_fail(demo, "the tower gave %s no receipt for its channel", merchant->name);
    }
    return true;
}

/* ---- the ledger ---- */

struct sums {
    uint64_t pool, totals, held, owed, contract, people, clients, open;
};

static bool read_client(struct demo *demo, const struct demo_client *client, struct sums *sums)
{
    const struct channel_key key = {client->address, demo->asset, 0};
    const struct contract_call held = {.function = CONTRACT_HELD, .key = key};
    const struct contract_call owed = {
        .function = CONTRACT_OWED, .address = client->address, .to = demo->asset};
    struct channel_state state;
    uint64_t of_client, of_hub, due, tokens;
    if (!demo_read_channel(demo, &key, &state) || !demo_read_word(demo, &held, 0, &of_client) ||
        !demo_read_word(demo, &held, 1, &of_hub) || !demo_read_word(demo, &owed, 0, &due) ||
        !demo_token_balance(demo, &client->address, &tokens))
        return false;
    bool cheater = client->index == demo->cheater;
    uint64_t expected = cheater ? demo->events.to_client : client->withdrawn;
    if (tokens != expected)
        return demo_fail(demo, "%s holds %" PRIu64 " units on the ledger, not %" PRIu64, client->name, tokens,
                         expected);
    if (state.status != (cheater ? CHANNEL_CLOSED : CHANNEL_OPEN))
        return demo_fail(demo, "the channel of %s has status %u", client->name, state.status);
    sums->totals += state.total.units;
    sums->held += of_client + of_hub;
    sums->owed += due;
    sums->people += tokens;
    sums->open += !cheater;
    if (client->index == DEMO_SHOP)
        sums->clients += demo->shop.balance_units; /* by its API */
    else
        sums->clients += cheater ? 0 : expected_units(client);
    return true;
}

static bool read_rest(struct demo *demo, struct sums *sums)
{
    const struct contract_call pool = {.function = CONTRACT_POOL, .address = demo->asset};
    const struct contract_call owed = {.function = CONTRACT_OWED, .address = demo->hub, .to = demo->asset};
    uint64_t hub, tower, due;
    if (!demo_read_word(demo, &pool, 0, &sums->pool) || !demo_read_word(demo, &owed, 0, &due) ||
        !demo_token_balance(demo, &demo->hub, &hub) || !demo_token_balance(demo, &demo->tower, &tower) ||
        !demo_token_balance(demo, &demo->contract, &sums->contract))
        return false;
    sums->owed += due;
    sums->people += hub + tower;
    return tower == demo->events.bounty ||
           demo_fail(demo, "the tower holds %" PRIu64 " units, its bounty was %" PRIu64, tower,
                     demo->events.bounty);
}

static bool audit_ledger(struct demo *demo, struct sums *sums)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        if (!read_client(demo, &demo->clients[i], sums))
            return false;
    if (!read_rest(demo, sums))
        return false;
    uint64_t accounted = sums->pool + sums->totals + sums->held + sums->owed;
    if (sums->contract != accounted)
        return demo_fail(demo, "the contract holds %" PRIu64 " units and accounts for %" PRIu64,
                         sums->contract, accounted);
    if (sums->contract + sums->people != (uint64_t)DEMO_SUPPLY * DEMO_COIN)
        return demo_fail(demo, "%" PRIu64 " units are on the ledger, not the supply",
                         sums->contract + sums->people);
    demo_say(
        demo,
        "audit: the contract holds %s = pool %s + channels %s + held %s + owed %s; with all addresses: the "
        "supply of %s",
        demo_coins(sums->contract), demo_coins(sums->pool), demo_coins(sums->totals), demo_coins(sums->held),
        demo_coins(sums->owed), demo_coins((uint64_t)DEMO_SUPPLY * DEMO_COIN));
    return true;
}

/* ---- the hub ---- */

/* The hub's own numbers, and what it should have: what it began with, its fees, the penalty less the bounty. */
static bool hub_agrees(struct demo *demo, const struct sums *sums, const json_t *row, char *why, size_t size)
{
    uint64_t pool = (uint64_t)json_integer_value(json_object_get(row, "pool"));
    uint64_t channels = (uint64_t)json_integer_value(json_object_get(row, "channels"));
    uint64_t clients = (uint64_t)json_integer_value(json_object_get(row, "clients_units"));
    uint64_t own = (uint64_t)json_integer_value(json_object_get(row, "hub_units"));
    uint64_t hub = pool + own;
    uint64_t expected =
        demo->pool_units + demo_count(demo).fees_units + demo->events.penalty - demo->events.bounty;
    snprintf(why, size,
             "the hub says pool %" PRIu64 ", %" PRIu64 " channels, clients %" PRIu64 ", own %" PRIu64
             "; ledger and books say pool %" PRIu64 ", %" PRIu64 " channels, clients %" PRIu64
             ", own and pool %" PRIu64,
             pool, channels, clients, own, sums->pool, sums->open, sums->clients, expected);
    return pool == sums->pool && channels == sums->open && clients == sums->clients &&
           clients + own == sums->totals && hub == expected;
}

static const json_t *row_of_asset(const struct demo *demo, const json_t *rows)
{
    char text[ADDRESS_TEXT_SIZE];
    size_t index;
    json_t *row;
    address_text(&demo->asset, text);
    json_array_foreach(rows, index, row)
    {
        const char *asset = json_string_value(json_object_get(row, "asset"));
        if (asset != NULL && strcmp(asset, text) == 0)
            return row;
    }
    return NULL;
}

static bool audit_hub(struct demo *demo, const struct sums *sums)
{
    char why[512] = "";
    /* Its view of the ledger is a block behind ours. */
    for (int turn = 0; turn < 40; turn++) {
        json_t *rows = demo_ask_hub(demo, "/balances", false);
        if (rows == NULL)
            return false;
        const json_t *row = row_of_asset(demo, rows);
        bool good = row != NULL && hub_agrees(demo, sums, row, why, sizeof(why));
        json_decref(rows);
        if (good) {
            demo_say(demo, "audit: the hub's books agree; it earned %s in fees and %s from the cheat",
                     demo_coins(demo_count(demo).fees_units),
                     demo_coins(demo->events.penalty - demo->events.bounty));
            return true;
        }
        event_base_loop(demo->base, EVLOOP_ONCE);
    }
    return demo_fail(demo, "%s", why);
}

/* The hub's report of its batches, which lived through kill -9, against the ledger's events. */
static bool audit_settlements(struct demo *demo)
{
    json_t *rows = demo_ask_hub(demo, "/settlements", false), *row;
    uint64_t paid_out = 0, funded = 0, returned = 0;
    size_t index, count = json_array_size(rows);
    if (rows == NULL)
        return false;
    json_array_foreach(rows, index, row)
    {
        paid_out += (uint64_t)json_integer_value(json_object_get(row, "paid_out"));
        funded += (uint64_t)json_integer_value(json_object_get(row, "funded"));
        returned += (uint64_t)json_integer_value(json_object_get(row, "returned"));
    }
    json_decref(rows);
    const struct demo_events *events = &demo->events;
    return (count == events->batches && paid_out == events->paid_out && funded == events->hub_funded &&
            returned == events->hub_returned) ||
           demo_fail(demo,
                     "the hub reports %zu batches (out %" PRIu64 ", funded %" PRIu64 ", returned %" PRIu64
                     "), the ledger %" PRIu64 " (%" PRIu64 ", %" PRIu64 ", %" PRIu64 ")",
                     count, paid_out, funded, returned, events->batches, events->paid_out, events->hub_funded,
                     events->hub_returned);
}

bool demo_audit(struct demo *demo)
{
    struct sums sums = {0};
    uint64_t cheater_kept = demo->cheater_units_before - demo->events.penalty;
    if (!demo_wait(demo, demo_books_agree, 15000, "wallets and books"))
        return false;
    if (demo->events.to_client != cheater_kept)
        return demo_fail(demo, "the cheat kept %" PRIu64 " units, not %" PRIu64, demo->events.to_client,
                         cheater_kept);
    return audit_receipts(demo) && demo_audit_shop(demo) && audit_tower(demo) && audit_ledger(demo, &sums) &&
           audit_hub(demo, &sums) && audit_settlements(demo);
}

/* ---- figures ---- */

/* What went through the API of rill-merchantd. */
static json_t *shop_figures(const struct demo *demo)
{
    const struct demo_shop *shop = &demo->shop;
    const struct demo_client *client = &demo->clients[DEMO_SHOP];
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "invoices", (json_int_t)shop->invoices, "payments",
                     (json_int_t)shop->payments, "received_units", (json_int_t)client->received, "payouts",
                     (json_int_t)shop->payouts, "paid_out_units", (json_int_t)client->withdrawn,
                     "balance_units", (json_int_t)shop->balance_units);
}

bool demo_write_figures(struct demo *demo)
{
    char path[DEMO_PATH], asset[ADDRESS_TEXT_SIZE];
    struct demo_figures figures = demo_count(demo);
    const struct demo_events *events = &demo->events;
    json_t *json = json_pack(
        "{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, "
        "s:I, "
        "s:I, s:o, s:f, s:I}",
        "ok", 1, "ledger", demo->flags.ledger, "asset", address_text(&demo->asset, asset), "decimals",
        (json_int_t)DEMO_DECIMALS, "payments", (json_int_t)figures.payments, "direct",
        (json_int_t)figures.direct, "locked", (json_int_t)figures.locked, "gross_units",
        (json_int_t)figures.gross_units, "fees_units", (json_int_t)figures.fees_units, "net_moved_units",
        (json_int_t)(events->paid_out + events->hub_funded - figures.opening_units), "opening_units",
        (json_int_t)figures.opening_units, "paid_out_units", (json_int_t)events->paid_out, "hub_funded_units",
        (json_int_t)events->hub_funded, "rebalanced_units", (json_int_t)events->hub_returned, "batches",
        (json_int_t)events->batches, "channels", (json_int_t)figures.channels, "opened_by_hub",
        (json_int_t)figures.opened_by_hub, "challenged", (json_int_t)events->challenged, "penalty_units",
        (json_int_t)events->penalty, "bounty_units", (json_int_t)events->bounty, "refunded",
        (json_int_t)figures.refunded, "failed", (json_int_t)figures.failed, "shop", shop_figures(demo),
        "seconds", demo_seconds(demo), "seed", (json_int_t)demo->flags.seed);
    if (json == NULL)
        return demo_fail(demo, "the figures cannot be written");
    /* Beside the folder: build/demo.json. */
    snprintf(path, sizeof(path), "%.900s.json", demo->folder);
    bool written =
        json_dump_file(json, path, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(4)) == 0;
    if (demo->flags.json) {
        json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(4));
        fputc('\n', stdout);
        fflush(stdout);
    }
    json_decref(json);
    return written || demo_fail(demo, "%s cannot be written: %s", path, strerror(errno));
}
