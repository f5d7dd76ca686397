/* Offers and what became of their receipts.
 *
 * An offer leaves as a ticket: what was offered, under a MAC of the proxy's own key. So an offer that nobody pays costs the
 * proxy no memory and no disk; only what was paid is kept, as long as it is good:
 *
 *     a receipt of one request:  unknown ─spend─▶ under way ─served─▶ spent
 *                                   ▲                │  └─ the proxy dies ─▶ in doubt (refused: it may have been served)
 *                                   └────returned────┘     at most RECEIPT_RETURNS_MAX times
 *     a budget:                  unknown ─open─▶ left = paid ─charge─▶ less … ─credit─▶ more
 *
 * Every change that something comes of is waited for first (receipts_wait), so whatever crashes, a receipt is served at most
 * once and a budget never pays more than was paid for it. Changes that nobody waits for (served, credited) share a batch
 * with others, or have one of their own 20 ms later: a crash before that leaves a receipt in doubt, a budget charged.
 * Everything runs on one thread: two requests with one receipt come one after the other.
 */
#ifndef RILL_MERCHANT_PROXY_RECEIPTS_H
#define RILL_MERCHANT_PROXY_RECEIPTS_H

#include "base/buffer.h"

struct event_base;
struct receipts;

#define RECEIPT_RETURNS_MAX 8

/* In tickets: do not renumber. */
enum ticket_kind { TICKET_REQUEST = 1, TICKET_BUDGET = 2 };

struct ticket {
    enum ticket_kind kind;
    struct hash
        resource;    /* of the request that it pays for (fetch_offer_resource); zero: a budget, for any */
    uint64_t units;  /* paid */
    uint64_t expiry; /* Unix seconds; the receipt is good until then */
    struct hash secret_hash;
};
#define TICKET_TEXT_SIZE 160

/* Why a payment is not taken. */
enum payment_error {
    PAYMENT_OK = 0,
    PAYMENT_REQUIRED,       /* there is none */
    PAYMENT_MALFORMED,      /* the header is not what it should be */
    PAYMENT_UNKNOWN,        /* the offer is not of this proxy, or the receipt is not its secret */
    PAYMENT_EXPIRED,        /* it was good until a moment ago */
    PAYMENT_WRONG_RESOURCE, /* it was paid for something else */
    PAYMENT_WRONG_AMOUNT,   /* the payment says another amount than the offer, or the answer costs more */
    PAYMENT_SPENT,          /* it has been served */
    PAYMENT_UNDER_WAY,      /* another request is being served for it just now */
    PAYMENT_IN_DOUBT,       /* it was being served when the proxy stopped */
    PAYMENT_RETURNS,        /* given back too often */
    PAYMENT_BUDGET          /* the budget has less left than this costs */
};
/* "receipt_spent": for programs, stable. */
const char *payment_error_code(enum payment_error error);
/* A sentence that says what to do. */
const char *payment_error_text(enum payment_error error);

/* ---- the ledger of receipts ---- */

/* Opens its journal in the folder; what is in it is the proxy's alone. NULL, and one line, on failure. */
struct receipts *receipts_open(struct event_base *base, const char *folder, char *message,
                               size_t message_size);
/* Makes everything durable. Waiters are not called any more. */
void receipts_close(struct receipts *receipts);

/* The ticket's text (TICKET_TEXT_SIZE), and back: false if it was not made here. */
void ticket_write(const struct receipts *receipts, const struct ticket *ticket, char *out);
bool ticket_read(const struct receipts *receipts, const char *text, size_t length,
                 struct ticket *out) MUST_USE;

/* Is this secret the ticket's? Constant time. */
bool ticket_is_paid_by(const struct ticket *ticket, const uint8_t secret[32]);

/* ---- one request ---- */

/* Marks it under way, or says why not; nothing has changed then. To be followed by receipts_wait, and by one of the two
 * below. */
enum payment_error receipts_spend(struct receipts *receipts, const struct ticket *ticket,
                                  uint64_t now_s) MUST_USE;
void receipts_served(struct receipts *receipts, const struct hash *id);
/* Good again, for the same request; false: it was given back too often, and stays spent. */
bool receipts_return(struct receipts *receipts, const struct hash *id);

/* ---- budgets ---- */

/* Opens the ticket's budget if it is new, and takes the units from it. PAYMENT_BUDGET (and *left): it has less. */
enum payment_error receipts_charge(struct receipts *receipts, const struct ticket *ticket, uint64_t units,
                                   uint64_t now_s, uint64_t *left) MUST_USE;
/* Takes more from one that was charged before; false: it has less left. */
bool receipts_charge_more(struct receipts *receipts, const struct hash *id, uint64_t units);
/* Gives back what was charged and not used. */
void receipts_credit(struct receipts *receipts, const struct hash *id, uint64_t units);
/* 0 if there is no such budget (any more). */
uint64_t receipts_left(const struct receipts *receipts, const struct hash *id);

/* ---- durability ---- */

/* A place to wait in, the caller's; zero: not waiting. */
struct receipts_wait {
    uint64_t sequence;
    void (*done)(void *context);
    void *context;
    struct receipts_wait *prev, *next;
    bool waiting;
};
/* done is called from the loop, once all changes so far are on disk. Changes of one turn of the loop share a batch. */
void receipts_wait(struct receipts *receipts, struct receipts_wait *wait, void (*done)(void *context),
                   void *context);
void receipts_wait_cancel(struct receipts *receipts, struct receipts_wait *wait);

struct receipts_figures {
    uint64_t receipts, budgets; /* kept in memory */
    uint64_t batches;
};
struct receipts_figures receipts_figures(const struct receipts *receipts);

#endif
