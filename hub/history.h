/* Payments that are over, in the journal's archive: one record for the payer, one for the payee, written in the
 * batch in which the payment leaves the engine's state.
 *
 * The payer's says everything and can be found by the payment's id, so that a repeated id gets the first outcome
 * and a payee can still send the money back. The payee's only leads to it; those of a turn that lie next to each other
 * and have one time are one record. Of a payment between shards each shard
 * has its side's, which says everything that this shard knows, and does not name the other side. */
#ifndef RILL_HUB_HISTORY_H
#define RILL_HUB_HISTORY_H

#include "hub/payments.h"
#include "store/journal.h"

/* The archive's record type: key owner 20 | time u64 | id on the payee's leg 16 | side u8 (0 the payer's, 1 the
 * payee's). On disk: do not renumber. */
#define RECORD_HISTORY       240
#define HISTORY_REST_BYTES   (sizeof(struct payment_id) + 1)
#define HISTORY_KEY_BYTES    (RECORD_ARCHIVE_KEY_MIN + HISTORY_REST_BYTES)
#define HISTORY_CURSOR_BYTES (HISTORY_KEY_BYTES - RECORD_OWNER_BYTES + 2) /* where a page ends: key, number */
#define HISTORY_LEADS_MAX    1024 /* payments of one record that leads to them */
#define HISTORY_LIMIT_MAX    1000
#define HISTORY_LIMIT_USUAL  100

/* One side's view of a payment. */
struct history_item {
    struct address owner, peer, asset; /* peer zero: not known */
    struct leg payer, payee;           /* a channel zero: not known */
    bool received;                     /* the owner is the payee */
    bool leads;                        /* to the payer's record: nothing else is in it but ids */
    const uint8_t *more;               /* leads: the ids of further payments, inside the record */
    size_t more_count;
    bool is_locked;
    uint8_t state, kind, role; /* enum payment_state, enum lock_kind, enum payment_role */
    uint16_t other_shard;
    uint64_t time; /* block time when the hub booked it */
    struct amount amount, fee;
    uint64_t expiry, code;
    struct hash condition;
    struct witness witness; /* the receipt; length 0: none is known */
};

void history_write(const struct history_item *item, struct buffer *batch);
bool history_read(const struct record *record, struct history_item *out) MUST_USE;
/* What follows owner and time in the key: by it a record that says everything is found (journal_find). */
void history_rest(const struct payment_id *payee_id, bool received, uint8_t out[HISTORY_REST_BYTES]);
/* For journal_find with history_rest: takes the record that says everything. */
struct history_found {
    struct history_item item;
    bool good; /* false: damaged, or it only leads elsewhere */
};
bool history_take(void *context, const struct record *record); /* context: struct history_found */
/* How many payments the record has. 0: damaged. */
size_t history_count(const struct record *record);
/* The whole content of one of them, also if the record only leads to the payer's (state 0 if that was dropped
 * meanwhile). From any thread. False: damaged. */
bool history_look(struct journal *journal, const struct record *record, size_t number,
                  struct history_item *out) MUST_USE;

/* The payee's records of a turn, on their way into a batch: all zero is empty. */
struct history_leads {
    struct history_item item; /* of the first; more_count tells of all that follow */
    struct buffer more;
    bool begun;
};
/* One more payment: into the record that is open, if it fits, or into a new one. */
void history_lead(struct history_leads *leads, const struct address *payee, uint64_t time,
                  const struct payment_id *payee_id, struct buffer *batch);
/* The record that is open, if any, is whole. */
void history_leads_end(struct history_leads *leads, struct buffer *batch);

/* What GET /history asks for. */
struct history_request {
    struct address client;
    uint64_t since, until, limit;
    /* The last payment that was shown: its record's key, and its number there. */
    uint8_t after[HISTORY_KEY_BYTES];
    uint16_t after_number;
    bool has_after;
};

/* http_history.c: reads a URL's query. Returns what is wrong with it, NULL if nothing is. */
const char *history_parse(const char *query, struct history_request *out);
/* The page as JSON. From any thread. False: the archive could not be read. */
bool history_page(struct journal *journal, const struct history_request *request,
                  struct buffer *out) MUST_USE;

#endif
