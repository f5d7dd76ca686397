/* `rill-merchantd proxy`: a price on any HTTP service (docs/pay-per-request.md). What its files share.
 *
 *     client ─▶ head ─▶ price ─┬─ free ──────────────────────────────▶ forward
 *                              ├─ no payment, or a bad one ─▶ offer ─▶ 402
 *                              └─ receipt or budget: spend, durable ─▶ forward (GET, HEAD: meanwhile)
 *     forward ─▶ upstream ─┬─ answer ─▶ meter, durable if it costs more ─▶ client; then served
 *                          └─ none, or 5xx: given back, durable ─▶ client
 *
 * proxy_client.c has the clients' connections and what is answered to them, proxy_forward.c one exchange with the
 * service, proxy_payment.c what is paid and charged for it, proxy_upstream.c the service's connections, proxy_offers.c
 * invoices, proxy_kept.c answers that nobody waited for, proxy_endpoints.c what is answered below /.rill/. Everything runs on one loop.
 */
#ifndef RILL_MERCHANT_PROXY_H
#define RILL_MERCHANT_PROXY_H

#include <jansson.h>

#include "merchant/fronts.h"
#include "merchant/proxy_kept.h"
#include "merchant/proxy_prices.h"
#include "merchant/proxy_receipts.h"
#include "rill.h"
#include "wire/http.h"

struct bufferevent;
struct evbuffer;
struct asset_info;
struct proxy;
struct client;
struct exchange;
struct upstream;
struct link_up;
struct offers;

#define PROXY_METHOD_MAX    24
#define PROXY_PATH_MAX      4096
#define PROXY_PIPE_BYTES    (256 * 1024) /* on their way in one direction; above it the source is not read */
#define PROXY_READ_BYTES    (64 * 1024)
#define PROXY_KIB_STEP      64 /* KiB of an answer of unknown length that are charged at a time */
#define PROXY_PAYMENT_BYTES 4096

struct proxy_settings {
    const char *upstream, *listen, *port_file, *public_url, *price, *kib_price, *prices, *asset, *description,
        *budget_min, *budget_max, *budget_usual, *ca_file, *trusted_front, *log_level;
    uint64_t offer_lifetime_s, receipt_lifetime_s, budget_lifetime_s, upstream_timeout_s, client_timeout_s,
        connections, upstream_connections, offers_max, offers_per_address;
};

struct proxy_figures {
    uint64_t requests, offers, paid, free_of_charge, refused, returned, cut_off, upstream_failures, units;
};

struct proxy {
    struct event_base *base;
    const struct proxy_settings *settings;
    struct rill_ledger *ledger;
    struct rill_wallet *wallet;
    const struct asset_info *asset;
    const char *hub;       /* HOST:PORT */
    const bool *hub_ready; /* connected, and in step */
    uint8_t payee[20], hub_address[20], contract[20];
    uint64_t chain_id;
    char network[40]; /* CAIP-2: "eip155:31337" */
    struct prices *prices;
    struct receipts *receipts;
    struct kept_answers *kept;
    struct offers *offers;
    struct upstream *upstream;
    struct fronts fronts;
    uint64_t budget_min, budget_max, budget_usual; /* units */
    struct evconnlistener *listener;
    struct client *clients;
    size_t client_count;
    bool listening;
    bool stopping; /* no further request is taken */
    bool ended;    /* and what is under way is given up */
    struct proxy_figures figures;
};

/* ---- offers ---- */

struct offer {
    enum ticket_kind kind;
    struct hash resource, secret_hash;
    uint64_t units, expires; /* expires: of the invoice */
    char invoice[RILL_INVOICE_TEXT_MAX];
    char ticket[TICKET_TEXT_SIZE];
};

/* A place to wait for an offer in, the caller's; zero: not waiting. */
struct offer_wait {
    struct offer *offer; /* when done: made; the waiter's to free */
    const char *refusal; /* when done without one: why */
    void (*done)(void *context);
    void *context;
    const char *address; /* of the client, while waiting */
    struct hash resource;
    char method[PROXY_METHOD_MAX + 1];
    enum ticket_kind kind;
    uint64_t units, batch;
    struct offer_wait *prev, *next;
    bool waiting;
};

struct offers *offers_new(struct proxy *proxy);
void offers_free(struct offers *offers);
/* done follows from the loop, with all offers of this turn in one fsync. */
void offers_ask(struct offers *offers, struct offer_wait *wait, enum ticket_kind kind, const char *method,
                const struct hash *resource, uint64_t units, const char *address, void (*done)(void *context),
                void *context);
void offers_cancel(struct offers *offers, struct offer_wait *wait);
/* Its receipt has come: the offer is not open any more. */
void offers_taken(struct offers *offers, const struct hash *secret_hash);
/* One entry of an x402 `accepts` list. bytes: of the answer that are paid for; UINT64_MAX: all of it. */
json_t *offer_json(const struct proxy *proxy, const struct offer *offer, const char *method,
                   const char *resource, uint64_t bytes);

/* ---- the service's connections ---- */

struct upstream *upstream_new(struct proxy *proxy, char *message, size_t message_size);
void upstream_free(struct upstream *upstream);
/* As a Host header has it. */
const char *upstream_authority(const struct upstream *upstream);
/* A connection for one exchange: ready already, or upstream_events follow. NULL: too many are open. */
struct link_up *upstream_take(struct upstream *upstream, struct exchange *exchange, bool fresh);
struct bufferevent *link_up_stream(struct link_up *link);
bool link_up_is_ready(const struct link_up *link);
/* It has carried an exchange before. */
bool link_up_is_reused(const struct link_up *link);
/* Done with it: kept for the next exchange, or closed. */
void upstream_give(struct link_up *link, bool keep);

/* ---- an exchange ---- */

enum pay_kind { PAY_FREE, PAY_RECEIPT, PAY_BUDGET };

struct exchange {
    struct proxy *proxy;
    struct client *client;
    struct buffer head_bytes; /* what `head` points into */
    struct http_head head;
    char method[PROXY_METHOD_MAX + 1], path[PROXY_PATH_MAX];
    struct http_body body;  /* of the request, as it is read on */
    struct http_body coded; /* of the answer */
    bool is_head, asks_next_offer;
    uint64_t began_us;

    /* payment */
    struct price price;
    enum pay_kind pay;
    struct ticket ticket;
    uint64_t charged;       /* units taken for this exchange */
    uint64_t bytes_allowed; /* of the answer's body */
    uint64_t bytes_sent;
    bool open;    /* spent or charged, and neither served nor given back */
    bool paying;  /* and that is not on disk yet */
    bool probing; /* the service is asked for the length, by HEAD, before there is a price */
    bool gave_back;
    bool unheard;             /* its client had hung up before the answer */
    enum payment_error error; /* why it is answered 402 */
    uint64_t units_wanted, bytes_offered;
    struct receipts_wait durable;
    struct offer_wait offer, next_offer;
    struct offer *next_made;

    /* forwarding */
    struct link_up *link;
    bool retried, asked /* its head has left */, request_sent, answering /* the answer's head has left */;
    bool paused /* the answer waits for the disk */;
    bool chunked /* towards the client */;
    uint8_t forward_when; /* proxy_forward.c: what follows once durable */
    struct buffer answer_bytes;
    struct http_head answer;
};

/* The request has been read: it is priced and goes its way. */
void exchange_begin(struct exchange *exchange);
/* Asks the service: once that is free or paid, durably; for what merely reads, while `paying`. */
void exchange_forward(struct exchange *exchange);
/* The payment is on disk: asks the service, or lets out what it has answered already. */
void exchange_paid(struct exchange *exchange);
/* The client has sent more, or taken more; or is gone (the exchange is freed). */
void exchange_client_read(struct exchange *exchange);
void exchange_client_written(struct exchange *exchange);
void exchange_client_gone(struct exchange *exchange);
/* From its connection to the service. */
void exchange_link_ready(struct exchange *exchange);
void exchange_link_read(struct exchange *exchange);
void exchange_link_written(struct exchange *exchange);
void exchange_link_gone(struct exchange *exchange, bool ended, bool timed_out, const char *why);
/* Cancels what it waits for and frees it. */
void exchange_free(struct exchange *exchange);

/* ---- payment (proxy_payment.c) ---- */

/* Decides between free, offer and paid, and goes on there. */
void payment_begin(struct exchange *exchange);
/* Reads X-PAYMENT; PAYMENT_REQUIRED: there is none. */
enum payment_error payment_read(const struct proxy *proxy, const struct http_head *head, struct ticket *out);
/* Answers 402: why, and an offer of so many units. */
void payment_refuse(struct exchange *exchange, enum payment_error error, uint64_t units);
/* The same with the offer of a budget. */
void payment_offer_budget(struct exchange *exchange, uint64_t units);
/* The service has told what its answer's length is by HEAD (UINT64_MAX: it does not say). */
void payment_probed(struct exchange *exchange, uint64_t length);
/* The answer's head is known; length UINT64_MAX: not said. PAYMENT_OK: it is paid, *wait says that the disk must be waited
 * for first. Else nothing is charged any more, and *units is what it would cost. */
enum payment_error payment_meter(struct exchange *exchange, uint64_t length, bool *wait, uint64_t *units);
/* More of an answer of unknown length: false if the budget is used up. Wait for the disk after it. */
bool payment_meter_more(struct exchange *exchange);
/* Over: what was sent (bytes_sent) is charged, all else given back. */
void payment_served(struct exchange *exchange);
/* The service did not do its part: given back, also partly sent answers. Wait for the disk before the client hears. */
void payment_return(struct exchange *exchange);
/* The client was gone before the answer, and that is too long to be kept: given back if the service was merely read, else it
 * has done what was paid for. */
void payment_unheard(struct exchange *exchange);
/* Headers about the payment for the answer's head. */
void payment_headers(struct exchange *exchange, struct buffer *out);

/* ---- clients ---- */

bool clients_listen(struct proxy *proxy, char *message, size_t message_size);
/* No further request is taken; connections end with the one that is under way on them. */
void clients_stop(struct proxy *proxy);
/* Ends them now. What the service was asked and has not answered in full stays under way: the next start has it in doubt. */
void clients_close(struct proxy *proxy);
struct bufferevent *client_stream(struct client *client);
/* The client has hung up while the service was at work. It may only have closed its half and still listen: the answer that
 * begins now is gathered, up to PROXY_PIPE_BYTES, then kept and sent. */
bool client_has_hung_up(const struct client *client);
void client_gather(struct client *client);
bool client_is_gathering(const struct client *client);
/* It is too long: sent as it comes, and not kept. */
void client_gather_no_more(struct client *client);
/* Answers with one that was kept; the exchange is over (and freed). */
void client_answer_kept(struct exchange *exchange, struct evbuffer *answer);
/* Of whoever asks, as a trusted front has it. */
const char *client_address(const struct client *client);
/* "http" or "https": how it asks, as a trusted front, or --public-url, has it. */
const char *client_scheme(const struct exchange *exchange);
/* "http://host/path?query" as this client asked for it. */
void client_resource(const struct exchange *exchange, struct buffer *out);
/* A whole answer; the exchange is over (and freed). headers: lines with their ends, may be NULL. body: JSON, decref'd. */
void client_answer(struct exchange *exchange, unsigned status, const char *headers, json_t *body);
/* {"error":{"code","message"}}, and whether a receipt was given back. */
void client_answer_error(struct exchange *exchange, unsigned status, const char *code, const char *message);
/* The exchange is over (and freed): the next request, or closed. whole: the answer was sent as announced. */
void client_done(struct exchange *exchange, bool whole);

/* ---- /.rill/ ---- */

#define PROXY_ENDPOINTS "/.rill/"
/* Answers a request whose path begins so. */
void endpoint_begin(struct exchange *exchange);

#endif
