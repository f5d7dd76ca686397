/* What a shop and a proxy keep, and messages of HTTP. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/proxy_receipts.h"
#include "merchant/shop.h"
#include "tests/fuzz/seeds.h"

static void fill(struct object_id *id, uint8_t with)
{
    memset(id, with, sizeof(*id));
}

static void seeds_of_shop(void)
{
    struct shop shop = {.next_number = 5, .last = {1000, 4}};
    struct shop_invoice invoice = {.number = 1,
                                   .created = 1000,
                                   .expires = 2000,
                                   .amount = 250,
                                   .text = "rill:ABC",
                                   .memo = "two coffees",
                                   .metadata = "{\"a\":1}"};
    struct payment payment = {
        .number = 2, .invoice = &invoice, .amount = 250, .received = 1500, .has_secret = true};
    struct refund refund = {.payment = &payment, .created = 1600, .amount = 50, .invoice = "rill:DEF"};
    struct payout payout = {.number = 3, .amount = 200, .created = 1700, .asked = true};
    fill(&invoice.id, 1);
    fill(&payment.id, 2);
    fill(&refund.id, 3);
    fill(&payout.id, 4);
    shop_write_invoice(&shop, &invoice);
    seed_write("shop_journal", "invoice", -1, shop.batch.data, shop.batch.length);
    invoice.state = INVOICE_PAID;
    invoice.ended = 1500;
    shop_write_invoice(&shop, &invoice);
    shop_write_payment(&shop, &payment);
    shop_write_refund(&shop, &refund);
    shop_write_payout(&shop, &payout);
    shop_write_meta(&shop);
    seed_write("shop_journal", "day", -1, shop.batch.data, shop.batch.length);
    shop_write_gone(&shop, RECORD_INVOICE, &invoice.id);
    shop_write_gone(&shop, RECORD_PAYOUT, &payout.id);
    seed_write("shop_journal", "gone", -1, shop.batch.data, shop.batch.length);
    buffer_free(&shop.batch);
}

/* As proxy_receipts.c writes them. */
static void put_receipt(struct buffer *batch, uint8_t seed, uint8_t kind, uint8_t returns)
{
    uint8_t id[32];
    memset(id, seed, sizeof(id));
    size_t mark = record_begin(batch, 2, id, sizeof(id));
    buffer_u8(batch, kind);
    buffer_u8(batch, returns);
    buffer_u64(batch, 5000);
    record_end(batch, mark);
}

static void seeds_of_proxy(void)
{
    struct buffer batch = {0};
    uint8_t key[32] = {7}, id[32] = {9};
    record_put(&batch, 1, "", 0, key, sizeof(key));
    for (uint8_t kind = 1; kind <= 3; kind++)
        put_receipt(&batch, kind, kind, kind == 3 ? RECEIPT_RETURNS_MAX - 1 : 0);
    size_t mark = record_begin(&batch, 3, id, sizeof(id));
    buffer_u64(&batch, 100);
    buffer_u64(&batch, 40);
    buffer_u64(&batch, 5000);
    record_end(&batch, mark);
    seed_write("proxy_journal", "all", -1, batch.data, batch.length);
    record_gone(&batch, 3, id, sizeof(id));
    seed_write("proxy_journal", "gone", -1, batch.data, batch.length);
    buffer_free(&batch);
}

static void seeds_of_http(void)
{
    static const struct {
        uint8_t kind;
        const char *text;
    } messages[] = {
        {0, "GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close, x-y\r\nX-Y: 1\r\n\r\n"},
        {0, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody"},
        {0, "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
            "chunked\r\n\r\n3;a=b\r\nabc\r\n0a\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"},
        {0, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
        {1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
        {1, "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
        {1, "HTTP/1.0 404 Not Found\r\n\r\nuntil the end"},
        {1, "HTTP/1.1 204 No Content\r\n\r\n"},
        {2, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"},
        {3, "/a/%61/b.png?x=/../"},
        {3, "/%2e%2e/%2f"},
        {4, "https://api.example:8402/x?y=z"},
        {4, "http://[::1]:80/"},
        {5, "aGVsbG8="},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(messages); i++) {
        struct buffer input = {0};
        char name[32];
        snprintf(name, sizeof(name), "message-%zu", i);
        buffer_u8(&input, (uint8_t)(3 + 20 * i));
        buffer_append(&input, messages[i].text, strlen(messages[i].text));
        seed_write("http", name, messages[i].kind, input.data, input.length);
        buffer_free(&input);
    }
}

void seeds_of_merchant(void)
{
    seeds_of_shop();
    seeds_of_proxy();
    seeds_of_http();
}
