/* What a request costs, what was paid for it, and what of that is charged.
 *
 *     a receipt   pays for its one request: all of it, or (per KiB) so many bytes of its answer
 *     a budget    is charged the request's price before the service is asked; per KiB, the answer's length before its head
 *                 leaves, or, if the service does not say it, PROXY_KIB_STEP KiB at a time; what was not sent is given back
 *
 * No answer leaves for which the charge is not on disk. A service that is asked to do something is asked only then; of one
 * that is merely read (GET, HEAD) the answer is waited for meanwhile.
 */
#include "merchant/proxy.h"

#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "wallet/command.h"
#include "wallet/fetch_offer.h"

/* ---- X-PAYMENT ---- */

static enum payment_error read_payload(const struct proxy *proxy, const json_t *payment, struct ticket *out)
{
    const json_t *payload = json_object_get(payment, "payload");
    const char *scheme = json_string_value(json_object_get(payment, "scheme"));
    const char *network = json_string_value(json_object_get(payment, "network"));
    const char *offer = json_string_value(json_object_get(payload, "offer"));
    const char *receipt = json_string_value(json_object_get(payload, "receipt"));
    const json_t *units = json_object_get(payload, "amountUnits");
    uint8_t secret[32];
    if (json_integer_value(json_object_get(payment, "x402Version")) != 1 || scheme == NULL ||
        strcmp(scheme, FETCH_SCHEME) != 0 || network == NULL || strcmp(network, proxy->network) != 0 ||
        offer == NULL || receipt == NULL || !hex_decode(receipt, secret, sizeof(secret)))
        return PAYMENT_MALFORMED;
    if (!ticket_read(proxy->receipts, offer, strlen(offer), out) || !ticket_is_paid_by(out, secret))
        return PAYMENT_UNKNOWN;
    if (units != NULL && (uint64_t)json_integer_value(units) != out->units)
        return PAYMENT_WRONG_AMOUNT;
    return PAYMENT_OK;
}

enum payment_error payment_read(const struct proxy *proxy, const struct http_head *head, struct ticket *out)
{
    uint8_t text[PROXY_PAYMENT_BYTES];
    size_t count, length;
    const struct http_text *value = http_find(head, "x-payment", &count);
    if (count == 0)
        return PAYMENT_REQUIRED;
    if (value == NULL || !http_base64_read(*value, text, sizeof(text), &length))
        return PAYMENT_MALFORMED;
    json_t *payment = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, NULL);
    enum payment_error error = payment != NULL ? read_payload(proxy, payment, out) : PAYMENT_MALFORMED;
    json_decref(payment);
    return error;
}

/* ---- 402 ---- */

static char *response_text(const struct proxy *proxy, const struct ticket *ticket, const char *failure)
{
    struct buffer json = {0}, text = {0};
    char hash[HASH_TEXT_SIZE] = "";
    if (ticket != NULL)
        hash_text(&ticket->secret_hash, hash);
    buffer_printf(&json, "{\"success\":%s,", failure == NULL ? "true" : "false");
    if (failure != NULL)
        buffer_printf(&json, "\"errorReason\":\"%s\",", failure);
    buffer_printf(&json, "\"transaction\":\"%s\",\"network\":\"%s\",\"payer\":\"\"}", hash, proxy->network);
    http_base64(&text, json.data, json.length);
    buffer_free(&json);
    return (char *)text.data;
}

static json_t *refusal_json(const struct exchange *exchange, json_t *accepts)
{
    const struct proxy *proxy = exchange->proxy;
    char shown[AMOUNT_TEXT_SIZE];
    const char *own = proxy->settings->public_url != NULL ? proxy->settings->public_url : "";
    json_t *body =
        json_pack("{s:i, s:s, s:s, s:o}", "x402Version", 1, "error", payment_error_text(exchange->error),
                  "code", payment_error_code(exchange->error), "accepts", accepts);
    ensure(body != NULL);
    json_t *budget = json_pack("{s:s, s:s, s:I, s:I}", "method", "POST", "resource", "", "minUnits",
                               (json_int_t)proxy->budget_min, "maxUnits", (json_int_t)proxy->budget_max);
    struct buffer url = {0};
    buffer_printf(&url, "%s" PROXY_ENDPOINTS "budget", own);
    json_object_set_new(budget, "resource", json_stringn((const char *)url.data, url.length));
    json_object_set_new(
        budget, "usual",
        json_string(amount_text(amount_of(proxy->budget_usual), proxy->asset->decimals, shown)));
    buffer_free(&url);
    json_object_set_new(body, "budget", budget);
    /* Also of one that was never charged, and of which only its ticket tells. */
    uint64_t left;
    if (exchange->error == PAYMENT_BUDGET &&
        receipts_charge(proxy->receipts, &exchange->ticket, 0, clock_unix_s(), &left) == PAYMENT_OK)
        json_object_set_new(body, "leftUnits", json_integer((json_int_t)left));
    return body;
}

static void on_offer(void *context)
{
    struct exchange *exchange = context;
    const struct proxy *proxy = exchange->proxy;
    const struct offer *offer = exchange->offer.offer;
    struct buffer resource = {0}, headers = {0};
    if (offer == NULL) {
        client_answer_error(exchange, 503, "no_offer", exchange->offer.refusal);
        return;
    }
    client_resource(exchange, &resource);
    buffer_u8(&resource, '\0');
    json_t *accepts = json_array();
    json_array_append_new(accepts, offer_json(proxy, offer, exchange->method, (const char *)resource.data,
                                              exchange->bytes_offered));
    if (exchange->error != PAYMENT_REQUIRED) {
        char *text = response_text(proxy, NULL, payment_error_code(exchange->error));
        buffer_printf(&headers, "X-PAYMENT-RESPONSE: %s\r\n", text);
        free(text);
    }
    if (exchange->gave_back)
        buffer_printf(&headers, "Rill-Receipt: returned\r\n");
    buffer_u8(&headers, '\0');
    json_t *body = refusal_json(exchange, accepts);
    client_answer(exchange, 402, (const char *)headers.data, body);
    buffer_free(&resource);
    buffer_free(&headers);
}

static void ask_offer(struct exchange *exchange, enum ticket_kind kind, uint64_t units)
{
    struct hash resource =
        fetch_offer_resource(exchange->method, exchange->head.target.data, exchange->head.target.length);
    offers_ask(exchange->proxy->offers, &exchange->offer, kind, exchange->method, &resource, units,
               client_address(exchange->client), on_offer, exchange);
}

void payment_offer_budget(struct exchange *exchange, uint64_t units)
{
    exchange->error = PAYMENT_REQUIRED;
    ask_offer(exchange, TICKET_BUDGET, units);
}

void payment_probed(struct exchange *exchange, uint64_t length)
{
    uint64_t units;
    exchange->bytes_offered = length;
    if (length != UINT64_MAX && price_of_bytes(&exchange->price, length, &units) && units > 0) {
        ask_offer(exchange, TICKET_REQUEST, units);
        return;
    }
    /* Nobody knows what it will cost: a budget, of which only what is sent is charged. */
    exchange->bytes_offered = UINT64_MAX;
    if (!price_of_bytes(&exchange->price, PROXY_KIB_STEP * 1024, &units) ||
        units < exchange->proxy->budget_usual)
        units = exchange->proxy->budget_usual;
    ask_offer(exchange, TICKET_BUDGET, units);
}

void payment_refuse(struct exchange *exchange, enum payment_error error, uint64_t units)
{
    exchange->error = error;
    exchange->proxy->figures.refused += error != PAYMENT_REQUIRED;
    if (exchange->price.kib_units == 0) {
        ask_offer(exchange, TICKET_REQUEST, units > 0 ? units : exchange->price.units);
        return;
    }
    if (units > 0) {
        uint64_t left = units - (units < exchange->price.units ? units : exchange->price.units);
        exchange->bytes_offered = left / exchange->price.kib_units * 1024;
        ask_offer(exchange, TICKET_REQUEST, units);
        return;
    }
    /* What it costs depends on the answer: the service is asked how long that would be. */
    exchange->probing = true;
    if (exchange->method[0] == 'G' && strcmp(exchange->method, "GET") == 0) {
        exchange_forward(exchange);
    } else {
        exchange->probing = false;
        payment_probed(exchange, UINT64_MAX);
    }
}

/* ---- paying ---- */

static void on_paid(void *context)
{
    exchange_paid(context);
}

static void on_next_offer_ready(void *context)
{
    (void)context; /* taken up when the answer's head is written */
}

/* By HTTP's word for it: asking changes nothing. */
static bool is_safe(const struct exchange *exchange)
{
    return strcmp(exchange->method, "GET") == 0 || exchange->is_head;
}

static void begin_paid(struct exchange *exchange)
{
    struct proxy *proxy = exchange->proxy;
    exchange->open = exchange->paying = true;
    proxy->figures.paid++;
    offers_taken(proxy->offers, &exchange->ticket.secret_hash);
    receipts_wait(proxy->receipts, &exchange->durable, on_paid, exchange);
    size_t count;
    if (exchange->pay == PAY_RECEIPT && exchange->price.kib_units == 0 &&
        http_find(&exchange->head, "rill-next-offer", &count) != NULL) {
        exchange->asks_next_offer = true;
        offers_ask(proxy->offers, &exchange->next_offer, TICKET_REQUEST, exchange->method,
                   &exchange->ticket.resource, exchange->price.units, client_address(exchange->client),
                   on_next_offer_ready, exchange);
    }
    if (is_safe(exchange))
        exchange_forward(exchange);
}

/* It is spent, and its client went away before the answer came: that is what it gets now. */
static bool answer_kept(struct exchange *exchange)
{
    /* Chunks are not for HTTP/1.0. */
    struct evbuffer *answer = exchange->head.minor == 1 ? evbuffer_new() : NULL;
    bool found =
        answer != NULL && kept_answers_take(exchange->proxy->kept, &exchange->ticket.secret_hash, answer);
    if (found)
        client_answer_kept(exchange, answer);
    if (answer != NULL)
        evbuffer_free(answer);
    return found;
}

static void begin_receipt(struct exchange *exchange)
{
    const struct price *price = &exchange->price;
    struct ticket *ticket = &exchange->ticket;
    struct hash resource =
        fetch_offer_resource(exchange->method, exchange->head.target.data, exchange->head.target.length);
    enum payment_error error = hash_equal(&resource, &ticket->resource)
                                   ? receipts_spend(exchange->proxy->receipts, ticket, clock_unix_s())
                                   : PAYMENT_WRONG_RESOURCE;
    if (error == PAYMENT_SPENT && answer_kept(exchange))
        return;
    if (error != PAYMENT_OK) {
        payment_refuse(exchange, error, 0);
        return;
    }
    exchange->pay = PAY_RECEIPT;
    exchange->charged = ticket->units;
    if (price->kib_units > 0)
        exchange->bytes_allowed =
            ticket->units < price->units ? 0 : (ticket->units - price->units) / price->kib_units * 1024;
    begin_paid(exchange);
}

static void begin_budget(struct exchange *exchange)
{
    uint64_t left, units = exchange->price.units;
    enum payment_error error =
        receipts_charge(exchange->proxy->receipts, &exchange->ticket, units, clock_unix_s(), &left);
    if (error != PAYMENT_OK) {
        payment_refuse(exchange, error, 0);
        return;
    }
    exchange->pay = PAY_BUDGET;
    exchange->charged = units;
    if (exchange->price.kib_units > 0)
        exchange->bytes_allowed = 0;
    begin_paid(exchange);
}

void payment_begin(struct exchange *exchange)
{
    struct proxy *proxy = exchange->proxy;
    exchange->price = prices_find(proxy->prices, exchange->method, exchange->path);
    if (exchange->price.closed) {
        client_answer_error(exchange, 404, "not_offered", "this path and method are not offered here");
        return;
    }
    if (exchange->price.units == 0 && exchange->price.kib_units == 0) {
        proxy->figures.free_of_charge++;
        exchange_forward(exchange);
        return;
    }
    enum payment_error error = payment_read(proxy, &exchange->head, &exchange->ticket);
    if (error != PAYMENT_OK)
        payment_refuse(exchange, error, 0);
    else if (exchange->ticket.kind == TICKET_BUDGET)
        begin_budget(exchange);
    else
        begin_receipt(exchange);
}

/* ---- charging ---- */

static void give_back(struct exchange *exchange)
{
    struct receipts *receipts = exchange->proxy->receipts;
    const struct hash *id = &exchange->ticket.secret_hash;
    exchange->open = false;
    exchange->proxy->figures.returned++;
    if (exchange->pay == PAY_BUDGET)
        receipts_credit(receipts, id, exchange->charged);
    exchange->gave_back = exchange->pay == PAY_BUDGET || receipts_return(receipts, id);
    exchange->charged = 0;
}

void payment_return(struct exchange *exchange)
{
    /* Of a budget, what was sent stays charged only per KiB: the client has it. */
    if (exchange->pay == PAY_BUDGET && exchange->price.kib_units > 0 && exchange->bytes_sent > 0)
        payment_served(exchange);
    else
        give_back(exchange);
}

void payment_unheard(struct exchange *exchange)
{
    if (exchange->open && is_safe(exchange))
        payment_return(exchange);
    else
        payment_served(exchange);
}

void payment_served(struct exchange *exchange)
{
    struct proxy *proxy = exchange->proxy;
    const struct hash *id = &exchange->ticket.secret_hash;
    if (!exchange->open)
        return;
    exchange->open = false;
    if (exchange->pay == PAY_RECEIPT) {
        receipts_served(proxy->receipts, id);
    } else if (exchange->price.kib_units > 0) {
        uint64_t used;
        ensure(price_of_bytes(&exchange->price, exchange->bytes_sent, &used) && used <= exchange->charged);
        receipts_credit(proxy->receipts, id, exchange->charged - used);
        exchange->charged = used;
    }
    proxy->figures.units += exchange->charged;
}

enum payment_error payment_meter(struct exchange *exchange, uint64_t length, bool *wait, uint64_t *units)
{
    struct receipts *receipts = exchange->proxy->receipts;
    *wait = false;
    *units = 0;
    if (!exchange->open || exchange->price.kib_units == 0 || length == 0)
        return PAYMENT_OK;
    if (exchange->pay == PAY_RECEIPT) {
        if (length == UINT64_MAX || length <= exchange->bytes_allowed)
            return PAYMENT_OK;
        if (!price_of_bytes(&exchange->price, length, units))
            *units = AMOUNT_LIMIT - 1;
        give_back(exchange);
        return PAYMENT_WRONG_AMOUNT;
    }
    *wait = true;
    if (length == UINT64_MAX) {
        if (payment_meter_more(exchange))
            return PAYMENT_OK;
        *units = 0;
    } else if (price_of_bytes(&exchange->price, length, units) &&
               receipts_charge_more(receipts, &exchange->ticket.secret_hash,
                                    *units - exchange->price.units)) {
        exchange->charged = *units;
        exchange->bytes_allowed = length;
        return PAYMENT_OK;
    }
    give_back(exchange);
    return PAYMENT_BUDGET;
}

bool payment_meter_more(struct exchange *exchange)
{
    struct receipts *receipts = exchange->proxy->receipts;
    const struct hash *id = &exchange->ticket.secret_hash;
    if (exchange->pay != PAY_BUDGET || exchange->price.kib_units == 0)
        return false;
    uint64_t kib = receipts_left(receipts, id) / exchange->price.kib_units;
    if (kib > PROXY_KIB_STEP)
        kib = PROXY_KIB_STEP;
    if (kib == 0 || !receipts_charge_more(receipts, id, kib * exchange->price.kib_units))
        return false;
    exchange->charged += kib * exchange->price.kib_units;
    exchange->bytes_allowed += kib * 1024;
    return true;
}

/* A budget is charged for its answer while that is sent, more than it may be worth, and what was not sent is given back at
 * the end: nobody knows what is left. */
static bool is_metered(const struct exchange *exchange)
{
    return exchange->price.kib_units > 0 && (exchange->answer.framing == HTTP_BODY_CHUNKED ||
                                             exchange->answer.framing == HTTP_BODY_UNTIL_CLOSE);
}

void payment_headers(struct exchange *exchange, struct buffer *out)
{
    const struct proxy *proxy = exchange->proxy;
    if (exchange->gave_back)
        buffer_printf(out, "Rill-Receipt: returned\r\n");
    if (!exchange->open)
        return;
    char *text = response_text(proxy, &exchange->ticket, NULL);
    buffer_printf(out, "X-PAYMENT-RESPONSE: %s\r\nRill-Charged-Units: %llu\r\n", text,
                  (unsigned long long)exchange->charged);
    free(text);
    if (exchange->pay == PAY_BUDGET && !is_metered(exchange))
        buffer_printf(out, "Rill-Budget-Left-Units: %llu\r\n",
                      (unsigned long long)receipts_left(proxy->receipts, &exchange->ticket.secret_hash));
    if (exchange->next_made == NULL)
        return;
    struct buffer resource = {0}, coded = {0};
    client_resource(exchange, &resource);
    buffer_u8(&resource, '\0');
    json_t *entry =
        offer_json(proxy, exchange->next_made, exchange->method, (const char *)resource.data, UINT64_MAX);
    char *json = json_dumps(entry, JSON_COMPACT);
    http_base64(&coded, json, strlen(json));
    buffer_printf(out, "Rill-Next-Offer: %s\r\n", (const char *)coded.data);
    buffer_free(&resource);
    buffer_free(&coded);
    free(json);
    json_decref(entry);
}
