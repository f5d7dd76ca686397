/* Payments that are over, in the journal's archive: one record for the payer, one for the payee, written in the
 * batch in which the payment leaves the engine's state. */
#ifndef RILL_HUB_HISTORY_H
#define RILL_HUB_HISTORY_H

#include "hub/payments.h"
#include "store/journal.h"

/* The archive's record type: key owner 20 | time u64 | payment id 16. On disk: do not renumber. */
#define RECORD_HISTORY      240
#define HISTORY_KEY_BYTES   (RECORD_OWNER_BYTES + 8 + sizeof(struct payment_id))
#define HISTORY_LIMIT_MAX   1000
#define HISTORY_LIMIT_USUAL 100

/* One side's view of a payment. */
struct history_item {
    struct address owner, peer, asset; /* peer zero: the payee was not known */
    struct payment_id id;              /* on this side */
    bool received, is_locked;
    uint8_t state, kind; /* enum payment_state, enum lock_kind */
    uint64_t time;       /* block time when the hub booked it */
    struct amount amount, fee;
    uint64_t expiry, code;
    struct hash condition;
    struct witness witness; /* the receipt; length 0: none is known */
};

void history_write(const struct history_item *item, struct buffer *batch);
bool history_read(const struct record *record, struct history_item *out) MUST_USE;

/* What GET /history asks for. */
struct history_request {
    struct address client;
    uint64_t since, until, limit;
    uint8_t after[HISTORY_KEY_BYTES];
    bool has_after;
};

/* http_history.c: reads a URL's query. Returns what is wrong with it, NULL if nothing is. */
const char *history_parse(const char *query, struct history_request *out);
/* The page as JSON. From any thread. False: the archive could not be read. */
bool history_page(struct journal *journal, const struct history_request *request,
                  struct buffer *out) MUST_USE;

#endif
