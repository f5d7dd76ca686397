#include "wallet/fetch_offer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "wire/http.h"

struct hash fetch_offer_resource(const char *method, const char *target, size_t target_length)
{
    struct buffer text = {0};
    buffer_printf(&text, "%s\n", method);
    buffer_append(&text, target, target_length);
    struct hash hash = sha256(text.data, text.length);
    buffer_free(&text);
    return hash;
}

void fetch_offer_memo(const char *method, const struct hash *resource, char out[FETCH_MEMO_SIZE])
{
    char digest[33];
    hex_encode(resource->bytes, 16, digest);
    snprintf(out, FETCH_MEMO_SIZE, "http %s %s", method, digest);
}

static bool complain(char *message, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
static bool complain(char *message, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, size, format, arguments);
    va_end(arguments);
    return false;
}

static bool copy_text(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool copy_hex(const json_t *object, const char *name, uint8_t *out, size_t length)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && hex_decode(text, out, length);
}

static bool read_fields(const json_t *entry, struct fetch_offer *out)
{
    const json_t *extra = json_object_get(entry, "extra");
    const char *kind = json_string_value(json_object_get(extra, "kind"));
    out->budget = kind != NULL && strcmp(kind, "budget") == 0;
    json_int_t units = json_integer_value(json_object_get(extra, "amountUnits"));
    json_int_t expires = json_integer_value(json_object_get(extra, "expires"));
    out->units = units > 0 ? (uint64_t)units : 0;
    out->expires = expires > 0 ? (uint64_t)expires : 0;
    return kind != NULL && units > 0 && expires > 0 &&
           copy_text(entry, "network", out->network, sizeof(out->network)) &&
           copy_text(extra, "invoice", out->invoice, sizeof(out->invoice)) &&
           copy_text(extra, "offer", out->ticket, sizeof(out->ticket)) &&
           copy_hex(entry, "asset", out->asset, 20) && copy_hex(entry, "payTo", out->payee, 20) &&
           copy_hex(extra, "secretHash", out->secret_hash, 32);
}

/* The same host, port, path and query; http and https are taken for each other. */
static bool same_place(const char *resource, const struct http_url *asked)
{
    struct http_url offered;
    if (!http_url_read(resource, &offered) || strcmp(offered.target, asked->target) != 0)
        return false;
    return strcmp(offered.authority, asked->authority) == 0;
}

static bool check_resource(const json_t *entry, const char *method, const struct http_url *asked,
                           char *message, size_t size)
{
    const char *resource = json_string_value(json_object_get(entry, "resource"));
    const char *offered = json_string_value(json_object_get(json_object_get(entry, "extra"), "method"));
    if (resource == NULL || !same_place(resource, asked))
        return complain(message, size, "the offer is for %.200s, which is not what was asked for",
                        resource != NULL ? resource : "nothing");
    if (offered == NULL || strcmp(offered, method) != 0)
        return complain(message, size, "the offer is for a %.20s", offered != NULL ? offered : "nothing");
    return true;
}

static bool check_invoice(const struct fetch_offer *offer, const struct rill_wallet *wallet,
                          const char *method, const struct http_url *asked, char *message, size_t size)
{
    struct rill_invoice invoice;
    char memo[FETCH_MEMO_SIZE];
    if (!rill_invoice_read(wallet, offer->invoice, &invoice, message, size))
        return false;
    struct hash resource = fetch_offer_resource(method, asked->target, strlen(asked->target));
    fetch_offer_memo(method, &resource, memo);
    if (strcmp(invoice.memo, memo) != 0)
        return complain(message, size, "the invoice was signed for another request");
    if (invoice.amount != offer->units)
        return complain(message, size, "the invoice asks for %llu units, the offer for %llu",
                        (unsigned long long)invoice.amount, (unsigned long long)offer->units);
    if (memcmp(invoice.payee, offer->payee, 20) != 0 || memcmp(invoice.asset, offer->asset, 20) != 0 ||
        memcmp(invoice.secret_hash, offer->secret_hash, 32) != 0)
        return complain(message, size, "the invoice and the offer do not agree");
    return true;
}

bool fetch_offer_read(const json_t *entry, const struct rill_wallet *wallet, uint64_t chain_id,
                      const char *method, const char *url, struct fetch_offer *out, char *message,
                      size_t message_size)
{
    struct http_url asked;
    char network[64];
    const char *scheme = json_string_value(json_object_get(entry, "scheme"));
    memset(out, 0, sizeof(*out));
    if (!http_url_read(url, &asked))
        return complain(message, message_size, "not a URL of http or https: %.200s", url);
    if (scheme == NULL || strcmp(scheme, FETCH_SCHEME) != 0)
        return complain(message, message_size, "it takes no payment of the scheme " FETCH_SCHEME);
    if (!read_fields(entry, out))
        return complain(message, message_size, "the offer lacks fields, or has them malformed");
    snprintf(network, sizeof(network), "eip155:%llu", (unsigned long long)chain_id);
    if (strcmp(out->network, network) != 0)
        return complain(message, message_size, "the offer is for the network %s, this wallet is on %s",
                        out->network, network);
    return check_resource(entry, method, &asked, message, message_size) &&
           check_invoice(out, wallet, method, &asked, message, message_size);
}

char *fetch_offer_payment(const struct fetch_offer *offer, const uint8_t receipt[32])
{
    struct buffer json = {0}, text = {0};
    char hex[65];
    hex_encode(receipt, 32, hex);
    buffer_printf(&json,
                  "{\"x402Version\":1,\"scheme\":\"" FETCH_SCHEME "\",\"network\":\"%s\",\"payload\":{"
                  "\"offer\":\"%s\",\"receipt\":\"0x%s\"}}",
                  offer->network, offer->ticket, hex);
    http_base64(&text, json.data, json.length);
    bytes_wipe(hex, sizeof(hex));
    buffer_free(&json);
    return (char *)text.data;
}
