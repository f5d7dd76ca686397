/* What the files of the library behind include/rill_fetch.h share. */
#ifndef RILL_WALLET_FETCH_STATE_H
#define RILL_WALLET_FETCH_STATE_H

#include <uthash.h>

#include "rill_fetch.h"
#include "wallet/fetch_offer.h"
#include "wire/http.h"

struct event;
struct event_base;

/* ---- fetch_books.c: what was spent, receipts and budgets ---- */

struct fetch_books;

#define FETCH_HOST_MAX   220
#define FETCH_ORIGIN_MAX (FETCH_HOST_MAX + 8)

/* Days, host by host. */
struct spent_day {
    struct spent_key {
        uint32_t day;
        char host[FETCH_HOST_MAX];
    } key;
    uint64_t units, payments;
    UT_hash_handle hh;
};

/* On disk: do not renumber. */
enum kept_state { KEPT_PAYING = 1, KEPT_PAID = 2 };

/* A payment for one request, until it has been served. */
struct kept_receipt {
    struct hash secret_hash;
    struct hash place; /* of origin, method and target */
    uint8_t state;
    bool in_use;    /* by a request just now */
    bool under_way; /* KEPT_PAYING, and no request is paying it: the wallet will say how it ends */
    uint8_t secret[32];
    uint64_t units, expires;
    char network[64], ticket[256];
    UT_hash_handle hh;
    UT_hash_handle hh_place; /* of the first of its place */
    struct kept_receipt *place_prev, *place_next;
};

struct kept_budget {
    struct hash secret_hash;
    char origin[FETCH_ORIGIN_MAX];
    uint8_t secret[32];
    bool paid;
    bool under_way;  /* not paid: as above */
    unsigned in_use; /* by so many requests just now */
    /* More may be left than was said: it was not said, or when others were under way, which may have been credited since. */
    bool unsure;
    uint64_t units;
    uint64_t left; /* as last said */
    char network[64], ticket[256];
    UT_hash_handle hh;
};

struct fetch_books *fetch_books_open(struct event_base *base, const char *folder, const uint8_t asset[20],
                                     char *message, size_t message_size);
void fetch_books_close(struct fetch_books *books);
uint64_t fetch_books_day_units(const struct fetch_books *books, uint32_t day);
uint64_t fetch_books_host_units(const struct fetch_books *books, uint32_t day, const char *host);
void fetch_books_spend(struct fetch_books *books, uint32_t day, const char *host, uint64_t units);
/* A payment that came to nothing, or cost less. */
void fetch_books_unspend(struct fetch_books *books, uint32_t day, const char *host, uint64_t units, bool all);
/* Oldest first. */
const struct spent_day *fetch_books_days(struct fetch_books *books);

/* Is there a receipt or a budget of this offer, paid or being paid? Such an offer must not be paid again: both would be
 * one entry, and whoever ends first takes it from the other. */
bool fetch_books_know(const struct fetch_books *books, const struct hash *secret_hash);

/* Scheme, host and port, "https://api.example": where receipts and budgets are sent to. A receipt is worth its money to
 * whoever reads it, so what was bought over TLS must never be sent without. */
void fetch_origin(const struct http_url *url, char out[FETCH_ORIGIN_MAX]);
struct hash fetch_place(const char *origin, const char *method, const char *target);
/* The offer must not be known yet (fetch_books_know). */
struct kept_receipt *fetch_receipt_add(struct fetch_books *books, const struct hash *place,
                                       const struct fetch_offer *offer);
/* One that was paid for exactly this, and that nobody uses just now, the dearest; NULL: there is none. Whether it is still
 * good, its server knows. */
struct kept_receipt *fetch_receipt_find(struct fetch_books *books, const struct hash *place);
/* One that is being paid since before, and that no request waits for; NULL: there is none. */
struct kept_receipt *fetch_receipt_under_way(const struct fetch_books *books, const struct hash *place);
struct kept_receipt *fetch_receipt_of(const struct fetch_books *books, const struct hash *secret_hash);
void fetch_receipt_paid(struct fetch_books *books, struct kept_receipt *receipt, const uint8_t secret[32]);
void fetch_receipt_drop(struct fetch_books *books, struct kept_receipt *receipt);
struct kept_receipt *fetch_receipts(const struct fetch_books *books);

/* There may be several: one of which it must be found out what is left, else the one with the most left; but not `except`.
 * NULL: none is paid and has something left, or may have. */
struct kept_budget *fetch_budget_best(const struct fetch_books *books, const char *origin,
                                      const struct hash *except);
struct kept_budget *fetch_budget_under_way(const struct fetch_books *books, const char *origin);
struct kept_budget *fetch_budget_find(const struct fetch_books *books, const struct hash *secret_hash);
/* As with a receipt: the offer must not be known yet. */
struct kept_budget *fetch_budget_add(struct fetch_books *books, const char *origin,
                                     const struct fetch_offer *offer);
void fetch_budget_paid(struct fetch_books *books, struct kept_budget *budget, const uint8_t secret[32]);
/* A request is sent with it. */
void fetch_budget_use(struct kept_budget *budget);
/* So much is left, a server says. */
void fetch_budget_left(struct fetch_books *books, struct kept_budget *budget, uint64_t left);
/* Its request has ended; said: with word of what is left. A budget that is known to be used up is gone then. */
void fetch_budget_used(struct fetch_books *books, struct kept_budget *budget, bool said);
void fetch_budget_drop(struct fetch_books *books, struct kept_budget *budget);
struct kept_budget *fetch_budgets(const struct fetch_books *books);

/* Notes. A reservation must be on disk before it is paid, and a write before another costs the payer a millisecond. So what
 * the books write for it is kept in the wallet's own journal too, in one write with the payment (rill_note_keep), and the
 * books' journal may come later: after a crash the notes that it lacks are replayed.
 *
 *     fetch_note_begin, what is reserved, fetch_note_end ─▶ rill_note_keep, rill_pay
 *     the next time: rill_notes_forget(fetch_books_settled)           opened: rill_notes ─▶ fetch_note_replay
 */
struct fetch_note {
    uint64_t number;
    const uint8_t *bytes;
    size_t length;
};
/* 8 bytes, under which the wallet keeps them. */
const uint8_t *fetch_books_owner(const struct fetch_books *books);
void fetch_note_begin(struct fetch_books *books);
/* What was written since; valid until the books change. bytes NULL: these books are in memory only. */
struct fetch_note fetch_note_end(struct fetch_books *books);
/* Oldest first, before anything else is done with the books. False: it is damaged. */
bool fetch_note_replay(struct fetch_books *books, const struct fetch_note *note) MUST_USE;
/* The notes up to this number are on disk here. */
uint64_t fetch_books_settled(struct fetch_books *books);
/* Waits until all of it so far is on disk. */
void fetch_books_sync(struct fetch_books *books);

/* ---- fetch_next.c: offers that came with an answer, for the next request for the same ---- */

struct next_offers;

#define NEXT_OFFERS_MAX 4096

struct next_offers *next_offers_new(void);
/* NULL is allowed. */
void next_offers_free(struct next_offers *offers);
/* If they are full, those that can be paid no more make way first. now_s: the ledger's time. */
bool next_offers_have_room(struct next_offers *offers, uint64_t now_s);
/* There must be room. The offer is copied. */
void next_offers_keep(struct next_offers *offers, const struct hash *place, const struct fetch_offer *offer);
/* The newest of this place that can still be paid; it is kept no more. False: there is none. */
bool next_offers_take(struct next_offers *offers, const struct hash *place, uint64_t now_s,
                      struct fetch_offer *out) MUST_USE;

/* ---- fetch_wire.c: one request to a server and its answer ---- */

struct fetch_pool;
struct fetch_call;

struct fetch_callbacks {
    /* The answer's head; valid during the call. */
    void (*head)(void *context, const struct http_head *head);
    void (*data)(void *context, const void *bytes, size_t length);
    /* Once, last; the call is gone then. whole: the answer is complete. why: one line if it is not. */
    void (*done)(void *context, bool whole, const char *why);
};

struct fetch_pool *fetch_pool_new(struct event_base *base, const char *ca_file, uint32_t idle_max,
                                  char *message, size_t message_size);
void fetch_pool_free(struct fetch_pool *pool);
struct fetch_ask {
    const struct http_url *url;
    const struct buffer *request; /* head and body */
    bool is_head;
    /* May be sent once more if a connection that was kept closes before it is answered: the server may have acted on it. */
    bool repeatable;
    uint32_t timeout_ms;
};
/* All of `ask` is copied. */
struct fetch_call *fetch_call_begin(struct fetch_pool *pool, const struct fetch_ask *ask,
                                    const struct fetch_callbacks *callbacks, void *context);
/* Without `done`. NULL is allowed. */
void fetch_call_cancel(struct fetch_call *call);

#endif
