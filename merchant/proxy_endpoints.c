/* What the proxy itself answers, below /.rill/:
 *
 *     GET  /.rill/terms                  free: asset, prices, budgets
 *     POST /.rill/budget?amountUnits=N   402 with an offer of a budget; its receipt is the token
 *     GET  /.rill/budget                 with the token in X-PAYMENT: what is left of it
 */
#include "merchant/proxy.h"

#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "wallet/command.h"
#include "wallet/fetch_offer.h"

static const char amount_hint[] =
    "say how much in the query: /.rill/budget?amountUnits=N, within the limits of "
    "/.rill/terms";

static json_t *hex_json(const uint8_t *bytes, size_t length)
{
    char text[2 + 64 + 1] = "0x";
    hex_encode(bytes, length, text + 2);
    return json_string(text);
}

static void answer_terms(struct exchange *exchange)
{
    const struct proxy *proxy = exchange->proxy;
    json_t *rows = json_array();
    const char *method, *path;
    struct price price;
    for (size_t i = 0; prices_row(proxy->prices, i, &method, &path, &price); i++)
        if (!price.closed)
            json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:I}", "method", method, "path", path,
                                                  "units", (json_int_t)price.units, "perKibUnits",
                                                  (json_int_t)price.kib_units));
    json_t *body = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:s, s:i, s:s, s:o, s:{s:s, s:I, s:I, s:I}}", "scheme", FETCH_SCHEME,
        "network", proxy->network, "hub", proxy->hub, "payTo", hex_json(proxy->payee, 20), "asset",
        hex_json(proxy->asset->address, 20), "symbol", proxy->asset->symbol, "decimals",
        proxy->asset->decimals, "unit", proxy->asset->unit, "prices", rows, "budget", "resource",
        PROXY_ENDPOINTS "budget", "minUnits", (json_int_t)proxy->budget_min, "maxUnits",
        (json_int_t)proxy->budget_max, "lifetimeSeconds", (json_int_t)proxy->settings->budget_lifetime_s);
    ensure(body != NULL);
    client_answer(exchange, 200, NULL, body);
}

static void answer_left(struct exchange *exchange, uint64_t left)
{
    const struct ticket *ticket = &exchange->ticket;
    client_answer(exchange, 200, NULL,
                  json_pack("{s:I, s:I, s:I}", "paidUnits", (json_int_t)ticket->units, "leftUnits",
                            (json_int_t)left, "expires", (json_int_t)ticket->expiry));
}

static void refuse(struct exchange *exchange, enum payment_error error)
{
    client_answer_error(exchange, 402, payment_error_code(error), payment_error_text(error));
}

/* Nothing is charged, but it is told of as it would be charged. */
static void show_budget(struct exchange *exchange)
{
    uint64_t left;
    enum payment_error error = payment_read(exchange->proxy, &exchange->head, &exchange->ticket);
    if (error == PAYMENT_OK && exchange->ticket.kind != TICKET_BUDGET)
        error = PAYMENT_WRONG_RESOURCE;
    if (error == PAYMENT_OK)
        error = receipts_charge(exchange->proxy->receipts, &exchange->ticket, 0, clock_unix_s(), &left);
    if (error != PAYMENT_OK)
        refuse(exchange, error);
    else
        answer_left(exchange, left);
}

/* "/.rill/budget?amountUnits=1000": the query is part of what the invoice is bound to. */
static bool read_units(const struct http_text *target, uint64_t *units)
{
    static const char name[] = "?amountUnits=";
    const char *query = memchr(target->data, '?', target->length);
    size_t left = query != NULL ? target->length - (size_t)(query - target->data) : 0;
    if (left <= strlen(name) || left > strlen(name) + 19 || memcmp(query, name, strlen(name)) != 0)
        return false;
    *units = 0;
    for (size_t i = strlen(name); i < left; i++) {
        if (query[i] < '0' || query[i] > '9')
            return false;
        *units = *units * 10 + (uint64_t)(query[i] - '0');
    }
    return true;
}

static void sell_budget(struct exchange *exchange)
{
    uint64_t units;
    if (!read_units(&exchange->head.target, &units) || units < exchange->proxy->budget_min ||
        units > exchange->proxy->budget_max) {
        client_answer_error(exchange, 422, "amount", amount_hint);
        return;
    }
    exchange->price = (struct price){.units = units};
    payment_offer_budget(exchange, units);
}

void endpoint_begin(struct exchange *exchange)
{
    const char *name = exchange->path + strlen(PROXY_ENDPOINTS);
    bool get = strcmp(exchange->method, "GET") == 0 || exchange->is_head,
         post = strcmp(exchange->method, "POST") == 0;
    if (strcmp(name, "terms") == 0 && get)
        answer_terms(exchange);
    else if (strcmp(name, "budget") == 0 && get)
        show_budget(exchange);
    else if (strcmp(name, "budget") == 0 && post)
        sell_budget(exchange);
    else if (strcmp(name, "terms") == 0 || strcmp(name, "budget") == 0)
        client_answer_error(exchange, 405, "method", "terms takes GET, budget takes GET and POST");
    else
        client_answer_error(exchange, 404, "not_found", "there is /.rill/terms and /.rill/budget");
}
