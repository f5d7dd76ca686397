/* Rill for programs that fetch what costs something: HTTP requests that pay their own price, within limits.
 *
 *     struct rill_fetcher *fetcher = rill_fetcher_new(&options, why, sizeof(why));     one per wallet
 *     callbacks.secret, paid, failed and returned of the wallet: rill_fetcher_payment(fetcher, payment);
 *     rill_fetch(fetcher, &request);        … request.head, request.body, request.done
 *     rill_fetcher_free(fetcher);           before the wallet
 *
 * A request is sent as it is. Answered 402 with an offer of the scheme rill-channel that is for exactly this request, the
 * wallet's hub and its asset, it is paid if every limit allows it, and sent again with the receipt. What is spent is on disk
 * with the payment, before that leaves, so a crash cannot make a limit forget; a receipt that was paid for and not served is kept, and used by
 * the next request for the same. It is given up only when the server says that it was served, or that it never will be.
 * Callbacks come from the loop, never from within a call. docs/pay-per-request.md.
 */
#ifndef RILL_FETCH_H
#define RILL_FETCH_H

#include "rill.h"

struct rill_fetcher;

struct rill_fetcher_options {
    struct event_base *base;
    struct rill_wallet *wallet;
    struct rill_ledger *ledger;
    const char *folder;  /* what was spent, receipts, budgets; NULL: in memory only */
    const char *ca_file; /* certificate authorities (PEM) for https; NULL: the system's */
    uint8_t asset[20];   /* nothing else is paid */
    /* Units, fees counted in; a day is one of UTC. 0: nothing may be paid. */
    uint64_t host_day_limit, day_limit;
    uint64_t
        budget_units; /* what is bought ahead from a host that takes payment; 0: each request pays for itself */
    uint32_t connections_max; /* to one host, kept when idle; 0: 8 */
    /* Ask for the next offer with each answer, and pay it before the same is fetched again: one round trip to the service
     * instead of two. For programs that fetch the same over and over; the offers are kept in memory. */
    bool next_offers;
};

/* NULL, and one line in message: the folder is in use or damaged, the ca_file cannot be read. */
struct rill_fetcher *rill_fetcher_new(const struct rill_fetcher_options *options, char *message,
                                      size_t message_size);
/* Requests under way end without a callback; what they have paid is kept. */
void rill_fetcher_free(struct rill_fetcher *fetcher);
/* The wallet's callbacks paid, failed and returned come here too, and secret: without it a request goes on a write to disk
 * later. A payment may come twice. One that has failed counts as spent until it is final. */
void rill_fetcher_payment(struct rill_fetcher *fetcher, const struct rill_payment *payment);

enum rill_fetch_outcome {
    RILL_FETCH_ANSWERED = 0, /* status and body are the service's, whatever they say */
    RILL_FETCH_TOO_DEAR,     /* a limit forbids it: nothing was paid; price and limit have the figures */
    RILL_FETCH_NO_OFFER,     /* 402, and none of the offers is good: nothing was paid */
    RILL_FETCH_UNPAID, /* the payment was refused, failed, or (`paid` is not 0) is lost, and counts as spent */
    RILL_FETCH_REFUSED, /* paid, and answered 402 all the same */
    RILL_FETCH_FAILED,  /* not reached, malformed, or broken off; a receipt that was paid is kept */
    RILL_FETCH_UNDER_WAY /* the receipt is being served to an earlier request: kept, and nothing more was paid; or (`paid` is
                            not 0) the hub has not shown it yet, and the same request waits for it */
};

struct rill_fetch_result {
    enum rill_fetch_outcome outcome;
    unsigned status;      /* 0: there was no answer */
    uint64_t paid, fee;   /* for this request just now */
    uint64_t charged;     /* by the service, of a budget or a receipt */
    uint64_t budget_left; /* of a budget that was used, as last said */
    /* Said by this answer; one of unknown length that is paid per KiB does not say it. */
    bool budget_left_known;
    bool from_budget;      /* paid from one */
    bool kept_receipt;     /* paid earlier */
    uint64_t price, limit; /* RILL_FETCH_TOO_DEAR */
    const char *message;   /* "" if all is well. UTF-8 that may quote the server, control characters too */
};

struct rill_fetch_request {
    const char *method; /* NULL: GET, or POST with a body */
    const char *url;
    const char *headers; /* lines that end in "\r\n"; NULL: none */
    const void *body;
    size_t body_length;
    uint64_t max_price;  /* units, fees counted in: the most that this request may pay; 0: nothing */
    uint32_t timeout_ms; /* silence; 0: 60,000 */
    /* Of the answer that counts, not of a 402 that is paid. May be NULL. content_type is printable ASCII; "": none. */
    void (*head)(void *context, unsigned status, const char *content_type);
    void (*data)(void *context, const void *bytes, size_t length);
    /* Once, last. */
    void (*done)(void *context, const struct rill_fetch_result *result);
    void *context;
};
/* Everything is copied. False: not a URL of http or https, or a method or header that is none; nothing follows. */
bool rill_fetch(struct rill_fetcher *fetcher, const struct rill_fetch_request *request);

/* What was spent, by day (days since 1970) and host, oldest first; the visitor returns false to stop. */
struct rill_fetch_spent {
    uint32_t day;
    const char *host;
    uint64_t units, payments; /* units: fees counted in */
};
void rill_fetch_spent(const struct rill_fetcher *fetcher,
                      bool (*visit)(void *context, const struct rill_fetch_spent *spent), void *context);
/* Budgets that are not used up. */
struct rill_fetch_budget {
    const char *origin; /* "https://api.example": it is sent nowhere else */
    uint64_t left, paid;
};
void rill_fetch_budgets(const struct rill_fetcher *fetcher,
                        bool (*visit)(void *context, const struct rill_fetch_budget *budget), void *context);

#endif
