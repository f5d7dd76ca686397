/* Offers: invoices made in batches, and how x402 says them.
 *
 *     asked ─▶ drafted, with all others of this turn of the loop ─ the wallet's fsync ─▶ done
 *
 * An offer that is open (neither paid nor expired) is counted for the address that asked for it: asking costs nothing, so
 * it is bounded.
 */
#include "merchant/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "merchant/public_address.h"
#include "wallet/base_units.h"
#include "wallet/command.h"
#include "wallet/fetch_offer.h"

struct address_count {
    char address[COUNTED_ADDRESS_SIZE];
    uint64_t open;
    UT_hash_handle hh;
};

struct open_offer {
    struct hash secret_hash;
    uint64_t expires;
    struct address_count *by;
    UT_hash_handle hh;
};

struct offers {
    struct proxy *proxy;
    struct offer_wait *asked, *made;
    uint64_t batch, batch_done;
    struct open_offer *open; /* oldest first: all live equally long */
    struct address_count *addresses;
    struct event *make;
};

/* ---- what is open ---- */

static void close_offer(struct offers *offers, struct open_offer *open)
{
    if (--open->by->open == 0) {
        HASH_DEL(offers->addresses, open->by);
        free(open->by);
    }
    HASH_DEL(offers->open, open);
    free(open);
}

static void close_expired(struct offers *offers, uint64_t now_s)
{
    while (offers->open != NULL && offers->open->expires < now_s)
        close_offer(offers, offers->open);
}

void offers_taken(struct offers *offers, const struct hash *secret_hash)
{
    struct open_offer *open;
    HASH_FIND(hh, offers->open, secret_hash, sizeof(*secret_hash), open);
    if (open != NULL)
        close_offer(offers, open);
}

/* NULL, or why there is no offer now. */
static const char *may_offer(struct offers *offers, const struct offer_wait *wait)
{
    const struct proxy *proxy = offers->proxy;
    struct address_count *by;
    char address[COUNTED_ADDRESS_SIZE];
    struct rill_balance balance;
    if (HASH_COUNT(offers->open) >= proxy->settings->offers_max)
        return "too many offers are open: try again in a moment";
    address_counted(wait->address, address);
    HASH_FIND_STR(offers->addresses, address, by);
    if (by != NULL && by->open >= proxy->settings->offers_per_address)
        return "too many offers to your address are open: pay them, or wait until they expire";
    if (!*proxy->hub_ready)
        return "the merchant's wallet is not connected to its hub just now: nothing can be paid to it";
    if (!rill_balance_of(proxy->wallet, proxy->asset->address, &balance) || balance.inbound < wait->units)
        return "the merchant's channel has no room for this payment just now";
    return NULL;
}

static void add_open(struct offers *offers, const struct offer_wait *wait, const struct offer *offer)
{
    struct address_count *by;
    char address[COUNTED_ADDRESS_SIZE];
    address_counted(wait->address, address);
    HASH_FIND_STR(offers->addresses, address, by);
    if (by == NULL) {
        by = xcalloc(1, sizeof(*by));
        snprintf(by->address, sizeof(by->address), "%s", address);
        HASH_ADD_STR(offers->addresses, address, by);
    }
    by->open++;
    struct open_offer *open = xcalloc(1, sizeof(*open));
    open->secret_hash = offer->secret_hash;
    open->expires = offer->expires;
    open->by = by;
    HASH_ADD(hh, offers->open, secret_hash, sizeof(open->secret_hash), open);
}

/* ---- making ---- */

static void draft(struct offers *offers, struct offer_wait *wait, uint64_t now_s)
{
    struct proxy *proxy = offers->proxy;
    const struct proxy_settings *settings = proxy->settings;
    char memo[FETCH_MEMO_SIZE];
    wait->refusal = may_offer(offers, wait);
    if (wait->refusal != NULL)
        return;
    struct offer *offer = xcalloc(1, sizeof(*offer));
    *offer = (struct offer){.kind = wait->kind,
                            .resource = wait->resource,
                            .units = wait->units,
                            .expires = now_s + settings->offer_lifetime_s};
    fetch_offer_memo(wait->method, &wait->resource, memo);
    if (rill_invoice_draft(proxy->wallet, proxy->asset->address, wait->units, settings->offer_lifetime_s,
                           memo, offer->invoice, offer->secret_hash.bytes) != 0) {
        wait->refusal = "the merchant's wallet makes no invoice just now: try again in a moment";
        free(offer);
        return;
    }
    struct ticket ticket = {.kind = offer->kind,
                            .resource = offer->resource,
                            .units = offer->units,
                            .expiry = now_s + (offer->kind == TICKET_BUDGET ? settings->budget_lifetime_s
                                                                            : settings->receipt_lifetime_s),
                            .secret_hash = offer->secret_hash};
    ticket_write(proxy->receipts, &ticket, offer->ticket);
    add_open(offers, wait, offer);
    wait->offer = offer;
    proxy->figures.offers++;
}

static void on_durable(void *context)
{
    struct offers *offers = context;
    offers->batch_done++;
    while (offers->made != NULL && offers->made->batch <= offers->batch_done) {
        struct offer_wait *wait = offers->made;
        DL_DELETE(offers->made, wait);
        wait->waiting = false;
        wait->done(wait->context);
    }
}

static void on_make(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct offers *offers = context;
    struct offer_wait *wait;
    uint64_t now_s = clock_unix_s();
    close_expired(offers, now_s);
    offers->batch++;
    DL_FOREACH(offers->asked, wait)
    {
        draft(offers, wait, now_s);
        wait->batch = offers->batch;
    }
    DL_CONCAT(offers->made, offers->asked);
    offers->asked = NULL;
    rill_when_durable(offers->proxy->wallet, on_durable, offers);
}

void offers_ask(struct offers *offers, struct offer_wait *wait, enum ticket_kind kind, const char *method,
                const struct hash *resource, uint64_t units, const char *address, void (*done)(void *context),
                void *context)
{
    ensure(!wait->waiting && units > 0);
    *wait = (struct offer_wait){.done = done,
                                .context = context,
                                .address = address,
                                .resource = *resource,
                                .kind = kind,
                                .units = units,
                                .batch = UINT64_MAX,
                                .waiting = true};
    snprintf(wait->method, sizeof(wait->method), "%s", method);
    DL_APPEND(offers->asked, wait);
    if (!event_pending(offers->make, EV_TIMEOUT, NULL))
        event_active(offers->make, EV_TIMEOUT, 0);
}

void offers_cancel(struct offers *offers, struct offer_wait *wait)
{
    if (wait->waiting && wait->batch == UINT64_MAX)
        DL_DELETE(offers->asked, wait);
    else if (wait->waiting)
        DL_DELETE(offers->made, wait);
    wait->waiting = false;
    free(wait->offer);
    wait->offer = NULL;
}

struct offers *offers_new(struct proxy *proxy)
{
    struct offers *offers = xcalloc(1, sizeof(*offers));
    offers->proxy = proxy;
    offers->make = evtimer_new(proxy->base, on_make, offers);
    ensure(offers->make != NULL);
    return offers;
}

void offers_free(struct offers *offers)
{
    if (offers == NULL)
        return;
    while (offers->open != NULL)
        close_offer(offers, offers->open);
    event_free(offers->make);
    free(offers);
}

/* ---- as JSON ---- */

static json_t *hex_json(const uint8_t *bytes, size_t length)
{
    char text[2 + 64 + 1] = "0x";
    hex_encode(bytes, length, text + 2);
    return json_string(text);
}

static json_t *extra_json(const struct proxy *proxy, const struct offer *offer, const char *method,
                          uint64_t bytes)
{
    struct amount amount = amount_of(offer->units);
    char shown[AMOUNT_TEXT_SIZE];
    json_t *extra = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:i, s:s, s:o, s:o, s:o, s:I}", "kind",
        offer->kind == TICKET_BUDGET ? "budget" : "request", "method", method, "invoice", offer->invoice,
        "offer", offer->ticket, "amount", amount_text(amount, proxy->asset->decimals, shown), "symbol",
        proxy->asset->symbol, "amountUnits", (json_int_t)offer->units, "unit", proxy->asset->unit, "decimals",
        proxy->asset->decimals, "hub", proxy->hub, "hubAddress", hex_json(proxy->hub_address, 20), "contract",
        hex_json(proxy->contract, 20), "secretHash", hex_json(offer->secret_hash.bytes, 32), "expires",
        (json_int_t)offer->expires);
    ensure(extra != NULL);
    if (bytes != UINT64_MAX)
        json_object_set_new(extra, "bytes", json_integer((json_int_t)bytes));
    return extra;
}

json_t *offer_json(const struct proxy *proxy, const struct offer *offer, const char *method,
                   const char *resource, uint64_t bytes)
{
    unsigned_wide unit = 0;
    char base_units[BASE_UNITS_TEXT_SIZE];
    if (!base_units_parse(proxy->asset->unit, 0, &unit))
        unit = 0;
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:n, s:o}", "scheme", FETCH_SCHEME, "network",
        proxy->network, "maxAmountRequired", base_units_text(unit * offer->units, 0, base_units), "resource",
        resource, "description", proxy->settings->description, "mimeType", "", "payTo",
        hex_json(proxy->payee, 20), "maxTimeoutSeconds", (json_int_t)proxy->settings->offer_lifetime_s,
        "asset", hex_json(proxy->asset->address, 20), "outputSchema", "extra",
        extra_json(proxy, offer, method, bytes));
    ensure(entry != NULL);
    return entry;
}
