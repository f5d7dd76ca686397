/* The payment page and the till, as rill-merchantd serves them: static files that are compiled in, and, without a key, what
 * the payment page may know of an invoice.
 *
 *     GET /pay/{id}         the page       GET /pay/{id}.json   the invoice, without what only the shop may see
 *     GET /pay/{id}/qr.svg  its QR code    GET /till            the till
 *     GET /static/{file}    scripts, style, icon, and brand.css, which is made from the settings
 *
 * Every answer has a Content-Security-Policy that allows nothing but this server's own files, nosniff and no-referrer.
 * /pay/{id}/events, the stream, is not answered here.
 */
#ifndef RILL_MERCHANT_PAGES_H
#define RILL_MERCHANT_PAGES_H

#include <jansson.h>

#include "base/buffer.h"

struct evhttp_request;
struct pages;

#define PAGES_ID_MAX   64 /* characters of an invoice's id that are looked up at all */
#define PAGES_SHOP_MAX 64 /* bytes of a shop's name */

struct pages_settings {
    const char *shop;   /* the shop's name, at the head of both pages; UTF-8, "" for none */
    const char *colour; /* "#1a7f5a": buttons and the head */
    const char *
        frame_ancestors; /* who may frame the payment page: "'none'", "'self'", origins with spaces between */
};

/* The invoice of this id as GET /v1/invoices/{id} gives it, a new reference; NULL if there is none. The id is letters,
 * digits, '_' and '-', at most PAGES_ID_MAX. */
typedef json_t *pages_lookup(void *context, const char *id);

/* NULL, and one line in message that says what to write instead, if a setting is not what it may be. The texts are
 * copied. */
struct pages *pages_new(const struct pages_settings *settings, pages_lookup *lookup, void *context,
                        char *message, size_t message_size);
/* NULL is allowed. */
void pages_free(struct pages *pages);

/* A request as any server has it. */
struct pages_request {
    const char *method;          /* "GET" */
    const char *path;            /* as sent, before '?'; nothing in it is decoded */
    const char *query;           /* after '?'; NULL: none */
    const char *accept_language; /* these headers; NULL: none */
    const char *if_none_match;
};

#define PAGES_HEADERS_MAX 9
struct pages_answer {
    int code;
    struct {
        const char *name, *value; /* valid as long as the answer and the pages are */
    } headers[PAGES_HEADERS_MAX];
    size_t header_count; /* Content-Length is left to the server, which knows if it sends the body */
    char tag[35];
    struct buffer body; /* also for HEAD and 304: then it is not to be sent */
    bool send_body;
};

/* Returns true if the path is one of those above, or lies below /pay/ or /static/ and is nothing: then *out is the answer,
 * to be freed. False: somebody else's (/pay/{id}/events among them); *out is not touched. */
bool pages_answer(const struct pages *pages, const struct pages_request *request,
                  struct pages_answer *out) MUST_USE;
void pages_answer_free(struct pages_answer *answer);

/* The same for libevent's server (pages_http.c): true when the request has been answered. */
bool pages_serve(const struct pages *pages, struct evhttp_request *request) MUST_USE;

/* What anybody who has the link may see of an invoice: a new object of the members that are listed in pages.c, so not
 * metadata, external_id, nor the payments with their receipts (whoever shows one could pass as the payer), and "now", the
 * time here, so that a phone whose clock is wrong counts down rightly. */
json_t *pages_public_invoice(const json_t *invoice, uint64_t now);

#endif
