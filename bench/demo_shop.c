/* The market's main shop: its wallet is rill-merchantd's, and all that the demo does with it goes through the HTTP API, as
 * a web shop would do it: invoices and payouts are asked for, payments are heard on the stream of events.
 */
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/demo.h"
#include "crypto/hash.h"

#define INVOICE_LIFETIME_S 7200
#define PAGE               200 /* entries of a list at once */
#define STREAM_QUIET_S     120
#define PREFIX             "data: "

static struct demo_client *shop_of(struct demo *demo)
{
    return &demo->clients[DEMO_SHOP];
}

static json_t *ask(struct demo *demo, const char *path)
{
    const struct demo_http asked = {.port = demo->shop.port, .path = path, .key = demo->shop.key};
    return demo_http_ask(demo, &asked, "the shop's API");
}

/* 0: not there, or no number. */
static uint64_t units_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

static bool hash_at(const json_t *object, const char *name, struct hash *out)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && hex_decode(text, out->bytes, sizeof(out->bytes));
}

/* ---- what the stream tells ---- */

static void on_payment(struct demo *demo, const json_t *told)
{
    struct rill_payment payment = {.amount = units_at(told, "amount_units")};
    struct hash secret_hash;
    if (!hash_at(told, "secret_hash", &secret_hash)) {
        demo_fail(demo, "the shop's API tells of a payment without its secret hash");
        return;
    }
    memcpy(payment.secret_hash, secret_hash.bytes, sizeof(payment.secret_hash));
    demo->shop.payments++;
    demo_payment_received(shop_of(demo), &payment);
}

static void on_event(struct demo *demo, const char *line)
{
    json_t *event =
        strncmp(line, PREFIX, strlen(PREFIX)) == 0 ? json_loads(line + strlen(PREFIX), 0, NULL) : NULL;
    const char *type = json_string_value(json_object_get(event, "type"));
    if (type != NULL && strcmp(type, "payment.received") == 0)
        on_payment(demo, json_object_get(event, "payment"));
    if (type != NULL && strcmp(type, "payout.settled") == 0) {
        shop_of(demo)->withdrawn += units_at(json_object_get(event, "payout"), "amount_units");
        shop_of(demo)->withdrawing = false;
    }
    json_decref(event);
}

static void on_bytes(struct evhttp_request *request, void *context)
{
    struct demo *demo = context;
    char *line;
    demo->shop.streaming = evhttp_request_get_response_code(request) == 200;
    evbuffer_add_buffer(demo->shop.unread, evhttp_request_get_input_buffer(request));
    while ((line = evbuffer_readln(demo->shop.unread, NULL, EVBUFFER_EOL_LF)) != NULL) {
        on_event(demo, line);
        free(line);
    }
}

static void on_end(struct evhttp_request *request, void *context)
{
    (void)request;
    demo_fail(context, "the shop's stream of events has ended");
}

static bool streaming(struct demo *demo, char *progress, size_t size)
{
    snprintf(progress, size, "no stream of events yet");
    return demo->shop.streaming;
}

static bool start_stream(struct demo *demo)
{
    struct demo_shop *shop = &demo->shop;
    struct evhttp_request *request = evhttp_request_new(on_end, demo);
    shop->unread = evbuffer_new();
    shop->stream = evhttp_connection_base_new(demo->base, NULL, "127.0.0.1", shop->port);
    ensure(request != NULL && shop->unread != NULL && shop->stream != NULL);
    evhttp_connection_set_timeout(shop->stream, STREAM_QUIET_S);
    evhttp_request_set_chunked_cb(request, on_bytes);
    demo_http_headers(request, shop->key);
    return evhttp_make_request(shop->stream, request, EVHTTP_REQ_GET, "/v1/events") == 0 &&
           demo_wait(demo, streaming, 10000, "the shop's API");
}

void demo_close_shop(struct demo *demo)
{
    struct demo_shop *shop = &demo->shop;
    if (shop->stream != NULL)
        evhttp_connection_free(shop->stream);
    if (shop->unread != NULL)
        evbuffer_free(shop->unread);
    shop->stream = NULL;
    shop->unread = NULL;
}

/* ---- opening it ---- */

bool demo_make_wallet(struct demo *demo, const char *home, struct address *address)
{
    char hub[32], contract[ADDRESS_TEXT_SIZE], tower[ADDRESS_TEXT_SIZE], towers[ADDRESS_TEXT_SIZE + 32];
    snprintf(hub, sizeof(hub), "127.0.0.1:%u", demo->hub_port);
    snprintf(towers, sizeof(towers), "%s@127.0.0.1:%u", address_text(&demo->tower, tower), demo->tower_port);
    const char *const words[] = {
        "init",     "--light",        "--hub",           hub,
        "--ledger", demo->ledger_url, "--contract",      address_text(&demo->contract, contract),
        "--towers", towers,           "--confirmations", "1",
        NULL};
    json_t *answer = demo_command_at(demo, "rill", home, words);
    const char *text = json_string_value(json_object_get(answer, "address"));
    bool good = text != NULL && hex_decode(text, address->bytes, sizeof(address->bytes));
    json_decref(answer);
    return good || demo_fail(demo, "`rill init` did not say which address it made");
}

static bool make_key(struct demo *demo, const struct demo_client *client)
{
    static const char *const words[] = {"keys", "create", "--scope", "read,invoice,payout", NULL};
    json_t *answer = demo_command_at(demo, "rill-merchantd", client->name, words);
    const char *key = json_string_value(json_object_get(answer, "key"));
    bool good = key != NULL && strlen(key) < sizeof(demo->shop.key);
    if (good)
        snprintf(demo->shop.key, sizeof(demo->shop.key), "%s", key);
    json_decref(answer);
    return good || demo_fail(demo, "`rill-merchantd keys create` did not print a key");
}

bool demo_shop_room(struct demo *demo, uint64_t units)
{
    char room[AMOUNT_TEXT_SIZE];
    const char *const words[] = {"open", amount_text(amount_of(units), DEMO_DECIMALS, room), NULL};
    json_t *opened = demo_command_at(demo, "rill", shop_of(demo)->name, words);
    json_decref(opened);
    return opened != NULL;
}

bool demo_open_shop(struct demo *demo)
{
    struct demo_client *client = shop_of(demo);
    if (!demo_make_wallet(demo, client->name, &client->address) ||
        !demo_shop_room(demo, client->room_units) || !make_key(demo, client) || !demo_start_shop(demo) ||
        !start_stream(demo) || !demo_wait(demo, demo_all_ready, 40000, "the shop's server"))
        return false;
    client->funded = true;
    demo_say(
        demo,
        "the %s is a shop on its own (`rill init`, `rill open`, `rill-merchantd`): the API is on port %u",
        client->name, demo->shop.port);
    return true;
}

/* ---- asking it ---- */

bool demo_shop_balance(struct demo *demo, struct demo_shop_balance *out)
{
    json_t *answer = ask(demo, "/v1/balance");
    const json_t *row = json_array_get(json_object_get(answer, "balances"), 0);
    const char *stage = json_string_value(json_object_get(row, "stage"));
    *out = (struct demo_shop_balance){.connected = json_is_true(json_object_get(answer, "connected")),
                                      .open = stage != NULL && strcmp(stage, "open") == 0 &&
                                              json_is_true(json_object_get(row, "synced")),
                                      .balance = units_at(row, "balance_units"),
                                      .available = units_at(row, "available_units"),
                                      .inbound = units_at(row, "inbound_units"),
                                      .settling = units_at(row, "settling_units")};
    json_decref(answer);
    return answer != NULL;
}

bool demo_shop_is(struct demo *demo, demo_shop_judge *judge, char *progress, size_t size)
{
    struct demo_shop_balance balance;
    if (demo->shop.asked_tick == demo->ticks)
        return false;
    demo->shop.asked_tick = demo->ticks;
    if (!demo_shop_balance(demo, &balance))
        return false;
    snprintf(progress, size, "the shop's API says: %sconnected, %" PRIu64 " units, room for %" PRIu64,
             balance.connected ? "" : "not ", balance.balance, balance.inbound);
    return judge(demo, &balance);
}

bool demo_shop_connected(struct demo *demo, const struct demo_shop_balance *balance)
{
    (void)demo;
    return balance->connected && balance->open;
}

/* The invoice's text is read by the payer's own wallet, which also checks the shop's signature. */
static bool take_invoice(struct demo_client *payer, struct demo_payment *payment, const json_t *made)
{
    struct rill_invoice invoice;
    char message[200];
    const char *text = json_string_value(json_object_get(made, "text"));
    if (text == NULL)
        return demo_fail(payer->demo, "the shop's API makes no invoice");
    if (!rill_invoice_read(payer->wallet, text, &invoice, message, sizeof(message)))
        return demo_fail(payer->demo, "%s cannot read the shop's invoice: %s", payer->name, message);
    if (invoice.amount != payment->amount ||
        memcmp(invoice.payee, shop_of(payer->demo)->address.bytes, sizeof(invoice.payee)) != 0)
        return demo_fail(payer->demo, "the shop's invoice is not what %s asked for", payer->name);
    memcpy(payment->secret_hash, invoice.secret_hash, sizeof(payment->secret_hash));
    payment->invoice = xstrdup(text);
    payer->demo->shop.invoices++;
    return true;
}

static void on_invoice(void *context, int status, json_t *json)
{
    struct demo_client *payer = context;
    if (payer->wallet == NULL)
        return; /* the day has ended meanwhile */
    payer->paying = false;
    if (status != 201)
        demo_fail(payer->demo, "the shop's API makes no invoice (status %d)", status);
    else if (take_invoice(payer, &payer->demo->payments[payer->queue[payer->queue_next]], json))
        demo_pay_next(payer);
}

void demo_shop_invoice(struct demo_client *payer)
{
    struct demo *demo = payer->demo;
    size_t index = payer->queue[payer->queue_next];
    char amount[AMOUNT_TEXT_SIZE], order[32];
    snprintf(order, sizeof(order), "basket-%zu", index);
    json_t *body = json_pack("{s:s, s:s, s:s, s:i}", "amount",
                             amount_text(amount_of(demo->payments[index].amount), DEMO_DECIMALS, amount),
                             "memo", order, "external_id", order, "expires_in_s", INVOICE_LIFETIME_S);
    const struct demo_http asked = {.port = demo->shop.port,
                                    .post = true,
                                    .path = "/v1/invoices",
                                    .key = demo->shop.key,
                                    .once = order,
                                    .body = body};
    payer->paying = true;
    demo_http_send(demo, &asked, on_invoice, payer);
    json_decref(body);
}

bool demo_shop_payout(struct demo *demo, uint64_t units)
{
    char amount[AMOUNT_TEXT_SIZE], order[32];
    snprintf(order, sizeof(order), "payout-%" PRIu64, demo->shop.payouts++);
    json_t *body = json_pack("{s:s}", "amount", amount_text(amount_of(units), DEMO_DECIMALS, amount));
    const struct demo_http asked = {.port = demo->shop.port,
                                    .post = true,
                                    .path = "/v1/payouts",
                                    .key = demo->shop.key,
                                    .once = order,
                                    .body = body};
    json_t *answer = demo_http_ask(demo, &asked, "the shop's API");
    json_decref(body);
    json_decref(answer);
    return answer != NULL;
}

/* ---- the audit ---- */

struct told {
    uint64_t count, units;
    bool good;
};

/* A payment with a good receipt that somebody's wallet has made, of this amount. */
static bool is_known(struct demo *demo, const json_t *row)
{
    struct hash secret, secret_hash, hash;
    if (!hash_at(row, "secret", &secret) || !hash_at(row, "secret_hash", &secret_hash))
        return false;
    hash = sha256(secret.bytes, sizeof(secret.bytes));
    for (size_t i = 0; i < demo->payment_count; i++) {
        const struct demo_payment *payment = &demo->payments[i];
        if (payment->payee == DEMO_SHOP && payment->state == PAYMENT_PAID &&
            memcmp(payment->secret_hash, secret_hash.bytes, sizeof(payment->secret_hash)) == 0)
            return payment->amount == units_at(row, "amount_units") && hash_equal(&hash, &secret_hash);
    }
    return false;
}

static bool is_settled(struct demo *demo, const json_t *row)
{
    const char *state = json_string_value(json_object_get(row, "state"));
    (void)demo;
    return state != NULL && strcmp(state, "settled") == 0;
}

/* Every page of /v1/NAME. False after demo_fail. */
static bool read_list(struct demo *demo, const char *name,
                      bool (*judge)(struct demo *demo, const json_t *row), struct told *out)
{
    char path[512], cursor[256] = "";
    *out = (struct told){.good = true};
    do {
        snprintf(path, sizeof(path), "/v1/%s?limit=%d%s%s", name, PAGE, cursor[0] != '\0' ? "&cursor=" : "",
                 cursor);
        json_t *answer = ask(demo, path), *row;
        size_t index;
        if (answer == NULL)
            return false;
        json_array_foreach(json_object_get(answer, name), index, row)
        {
            out->count++;
            out->units += units_at(row, "amount_units");
            out->good = out->good && judge(demo, row);
        }
        const char *next = json_string_value(json_object_get(answer, "next"));
        snprintf(cursor, sizeof(cursor), "%s", next != NULL ? next : "");
        json_decref(answer);
    } while (cursor[0] != '\0');
    return true;
}

bool demo_audit_shop(struct demo *demo)
{
    struct demo_client *client = shop_of(demo);
    struct demo_shop *shop = &demo->shop;
    struct demo_shop_balance balance;
    struct told payments, payouts;
    uint64_t paid = 0;
    if (!read_list(demo, "payments", is_known, &payments) ||
        !read_list(demo, "payouts", is_settled, &payouts) || !demo_shop_balance(demo, &balance))
        return false;
    for (size_t i = 0; i < demo->payment_count; i++)
        paid += demo->payments[i].payee == DEMO_SHOP && demo->payments[i].state == PAYMENT_PAID;
    shop->balance_units = balance.balance;
    if (!payments.good || payments.count != paid || payments.count != shop->payments ||
        payments.units != client->received)
        return demo_fail(demo,
                         "the shop's API lists %" PRIu64 " payments of %" PRIu64 " units%s; %" PRIu64
                         " were made, %" PRIu64 " streamed, of %" PRIu64 " units",
                         payments.count, payments.units, payments.good ? "" : ", not all of them known", paid,
                         shop->payments, client->received);
    if (!payouts.good || payouts.count != shop->payouts || payouts.units != client->withdrawn ||
        balance.balance + payouts.units != payments.units)
        return demo_fail(
            demo, "the shop's API says %" PRIu64 " units received, %" PRIu64 " paid out, %" PRIu64 " left",
            payments.units, payouts.units, balance.balance);
    demo_say(demo,
             "audit: the shop's API lists %" PRIu64
             " payments with good receipts: %s received = %s paid out + %s left",
             payments.count, demo_coins(payments.units), demo_coins(payouts.units),
             demo_coins(balance.balance));
    return true;
}
