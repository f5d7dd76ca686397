/* The API's shell: from a request to the function that answers it, and back.
 *
 *     head sound ─▶ key (401) ─▶ its rate (429) ─▶ route (404, 405) ─▶ scope (403) ─▶ body (415, 400)
 *         ─▶ Idempotency-Key: seen before? its first result, or 422 ─▶ the function ─▶ records durable ─▶ answer
 */
#ifndef RILL_MERCHANT_API_H
#define RILL_MERCHANT_API_H

#include <event2/http.h>
#include <event2/keyvalq_struct.h>

#include "merchant/fronts.h"
#include "merchant/http.h"
#include "merchant/keys.h"
#include "merchant/public_address.h"
#include "merchant/shop.h"
#include "wallet/command.h"

struct pages;
struct streams;
struct webhooks;

#define STRANGERS 1024 /* buckets for the addresses of those without a key */

struct api {
    struct shop *shop;
    struct session *session;
    struct http *http;
    struct keys *keys;
    struct streams *streams;
    struct pages *pages;
    struct webhooks *webhooks;
    struct fronts fronts;
    struct throttle strangers[STRANGERS];
    uint64_t strangers_seed;
    bool hub_ready, stopping;
    char trouble[256]; /* why the hub is not reached; "" */
    uint64_t requests, refused, throttled;
};

void api_init(struct api *api, uint32_t public_per_second);
/* An http_handler; context: the api. */
void api_handle(void *context, struct evhttp_request *request);
/* Are there many clients behind this address? This machine, and a front. context: the api. */
bool api_is_shared(const void *context, const char *address);

struct call {
    struct api *api;
    struct evhttp_request *request;
    enum evhttp_cmd_type method;
    char *path; /* cut into parts */
    const char *parts[PATH_PARTS_MAX];
    size_t part_count;
    struct evkeyvalq query;
    bool has_query;
    json_t *body; /* an object */
    struct api_key *key;
    bool keeps; /* the request has an Idempotency-Key */
    struct hash name, digest;
    /* What the function leaves: */
    int status;
    json_t *answer;
    bool taken; /* the request is a stream's now, or has been answered */
};

/* ---- for the functions behind the routes ---- */

/* Leaves an answer; a new reference is taken over. */
void call_answer(struct call *call, int status, json_t *answer);
/* Leaves an error. Returns false, for `return call_fail(…)`. */
bool call_fail(struct call *call, int status, const char *code, const char *format, ...) PRINTF_LIKE(4, 5);
/* The records gathered, the answer left so far as the request's first result, and only then go on: for what must be on
 * disk before it is done. */
void call_commit(struct call *call);

/* Whom a limit per address counts: the peer, or a front's client. False: nobody in particular. */
bool call_address(const struct call *call, char counted[COUNTED_ADDRESS_SIZE]) MUST_USE;

/* A member of the body. False after call_fail. A member that is missing, or null, leaves *out as it was. */
bool call_text(struct call *call, const char *name, size_t bytes_max, const char **out) MUST_USE;
bool call_number(struct call *call, const char *name, uint64_t low, uint64_t high, uint64_t *out) MUST_USE;
/* Only these members may be there; the list ends with NULL. */
bool call_members(struct call *call, const char *const *names) MUST_USE;
/* A decimal amount above 0. */
bool call_amount(struct call *call, const struct asset_info *asset, const char *name, const char *text,
                 uint64_t *units) MUST_USE;
/* The asset that the body's (or, with query, the query's) "asset" names, by symbol or address; the only one if none is
 * named. */
bool call_asset(struct call *call, const char *name, const struct asset_info **out) MUST_USE;

/* The invoice with this id; NULL after call_fail. */
struct shop_invoice *call_invoice(struct call *call, const char *name) MUST_USE;

/* A parameter of the query, NULL if it is not there. */
const char *call_query(const struct call *call, const char *name);
bool call_query_number(struct call *call, const char *name, uint64_t low, uint64_t high,
                       uint64_t *out) MUST_USE;
bool call_query_members(struct call *call, const char *const *names) MUST_USE;

/* A page of a list: since <= time < until, newest first, at most limit, before the cursor. */
struct page {
    uint64_t since, until, limit, before;
};
bool call_page(struct call *call, struct page *out) MUST_USE;
json_t *page_next(uint64_t number);

/* ---- the functions, by file ---- */

typedef void call_function(struct call *call);
call_function api_invoice_create, api_invoice_list, api_invoice_get, api_invoice_cancel; /* api_invoices.c */
call_function api_payment_list, api_payment_get, api_payment_refund;                     /* api_payments.c */
call_function api_balance, api_payout_list, api_payout_create, api_policy_get,
    api_policy_put;        /* api_money.c */
call_function api_history; /* api_history.c */
call_function api_webhook_create, api_webhook_list, api_webhook_delete, api_webhook_deliveries,
    api_webhook_replay;                             /* api_webhooks.c */
call_function api_events;                           /* api_events.c */
call_function api_openapi, api_health, api_metrics; /* api_about.c */
call_function api_public_events;                    /* /pay/{id}/events */
/* A pages_lookup; context: the api. */
json_t *api_public_invoice(void *context, const char *id);

#endif
