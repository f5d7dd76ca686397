/* A shop: its invoices, what was paid for them, refunds and payouts, as they are kept and told.
 *
 *     invoice  OPEN ──paid──▶ PAID      OPEN ──ledger time──▶ EXPIRED     OPEN ──shop_invoice_cancel──▶ CANCELLED
 *              a payment that was accepted in time counts whenever it arrives: EXPIRED ──paid──▶ PAID
 *     refund   PENDING ──the wallet's `paid`──▶ PAID        PENDING ──refused, or failed──▶ FAILED
 *              PENDING ──no answer, ever──▶ UNKNOWN: it may have been taken, so it counts as paid
 *     payout   PENDING ──settled──▶ SETTLED    PENDING ──refused, late──▶ FAILED    PENDING ──crash──▶ UNKNOWN
 *
 * Every change gathers records (shop_disk.c) and events; shop_commit hands them to the journal as one batch, and an event
 * is told to anybody only once its batch is durable. What a crash kept the wallet from telling is taken from the wallet's
 * own records at the next start (shop_reconcile), so each payment is told at least once, always under the same id.
 */
#ifndef RILL_MERCHANT_SHOP_H
#define RILL_MERCHANT_SHOP_H

#include <jansson.h>
#include <uthash.h>
#include <utlist.h>

#include "base/buffer.h"
#include "merchant/limits.h"
#include "rill.h"
#include "store/journal.h"

/* An object's name: a prefix and 32 digits, "inv_4f…". The digits are these bytes, random. */
struct object_id {
    uint8_t bytes[16];
};
#define OBJECT_TEXT_SIZE 40
extern const struct object_id OBJECT_NONE;
struct object_id object_id_random(void);
const char *object_text(const char *prefix, const struct object_id *id, char out[OBJECT_TEXT_SIZE]);
/* Returns false unless text is the prefix and 32 lower-case digits. */
bool object_parse(const char *prefix, const char *text, struct object_id *out) MUST_USE;
bool object_equal(const struct object_id *a, const struct object_id *b);

#define PREFIX_INVOICE "inv_"
#define PREFIX_PAYMENT "pay_"
#define PREFIX_REFUND  "ref_"
#define PREFIX_PAYOUT  "out_"
#define PREFIX_WEBHOOK "wh_"

/* On disk: do not renumber. */
enum invoice_state { INVOICE_OPEN = 0, INVOICE_PAID = 1, INVOICE_EXPIRED = 2, INVOICE_CANCELLED = 3 };
enum refund_state { REFUND_PENDING = 0, REFUND_PAID = 1, REFUND_FAILED = 2, REFUND_UNKNOWN = 3 };
enum payout_state { PAYOUT_PENDING = 0, PAYOUT_SETTLED = 1, PAYOUT_FAILED = 2, PAYOUT_UNKNOWN = 3 };
const char *invoice_state_name(enum invoice_state state);
const char *refund_state_name(enum refund_state state);
const char *payout_state_name(enum payout_state state);

struct payment;

struct shop_invoice {
    struct object_id id;
    uint64_t number; /* grows: the order of lists */
    uint64_t created, expires, ended;
    struct address asset;
    uint64_t amount; /* 0: the payer chooses */
    struct hash secret_hash;
    enum invoice_state state;
    char *text;
    char *memo, *external_id; /* NULL: none */
    char *metadata;           /* a JSON object as text; NULL: none */
    struct payment *payment;  /* NULL: none yet */
    UT_hash_handle hh, hh_hash;
};

struct refund {
    struct object_id id;
    struct payment *payment;
    uint64_t created, ended;
    uint64_t amount;
    struct hash secret_hash; /* of the customer's invoice */
    char *invoice;           /* its text */
    enum refund_state state;
    int code;         /* why it failed */
    bool under_way;   /* the wallet has it; not on disk */
    uint8_t wire[16]; /* the wallet's id of it; not on disk */
    uint8_t secret[32];
    UT_hash_handle hh;
    struct refund *prev, *next; /* of its payment */
};

struct payment {
    struct object_id id;
    uint64_t number;
    struct shop_invoice *invoice;
    uint64_t amount, received;
    uint8_t secret[32];
    bool has_secret;
    char *memo;
    struct refund *refunds;
    UT_hash_handle hh;
};

struct payout {
    struct object_id id;
    uint64_t number;
    struct address asset;
    uint64_t amount, created, ended;
    enum payout_state state;
    bool asked; /* through the API; else by the policy */
    int code;
    struct hash transaction;
    UT_hash_handle hh;
};

/* Where an event stands in the story: events have rising numbers, and never an earlier time than the one before. */
struct event_place {
    uint64_t time, number;
};
int event_place_compare(const struct event_place *a, const struct event_place *b);
/* "1764311000-42", the id that clients see. */
#define EVENT_TEXT_SIZE 48
const char *event_text(const struct event_place *place, char out[EVENT_TEXT_SIZE]);
bool event_parse(const char *text, struct event_place *out) MUST_USE;

enum event_type {
    EVENT_INVOICE_CREATED = 0,
    EVENT_INVOICE_PAID = 1,
    EVENT_INVOICE_EXPIRED = 2,
    EVENT_INVOICE_CANCELLED = 3,
    EVENT_PAYMENT_RECEIVED = 4,
    EVENT_PAYMENT_REFUNDED = 5,
    EVENT_PAYOUT_SETTLED = 6
};
#define EVENT_TYPES 7
const char *event_type_name(enum event_type type);
/* EVENT_TYPES: no such name. */
unsigned event_type_of(const char *name);

struct shop_event {
    struct event_place place;
    enum event_type type;
    struct object_id
        subject;      /* the invoice's, or the payout's: events of one subject are told in their order */
    const char *json; /* the event as it is told; valid during the call */
    size_t length;
};

/* How an asset's amounts are written. */
struct asset_info;
struct session;

struct shop_options {
    uint64_t invoices_max; /* kept at a time */
    uint64_t keep_days;    /* ended ones, and events and history on disk */
    const char *base_url;  /* "http://127.0.0.1:9780": where customers find the payment page */
};

/* Told, from the loop, when events up to a place are durable. */
typedef void shop_published(void *context);

struct answer;
struct expiry;
struct event_ring;

struct shop {
    struct shop_options options;
    struct session *session; /* the wallet, and what is known of assets */
    struct journal *journal;
    struct buffer batch, archive; /* records that wait for shop_commit: the state's, the archive's */
    uint64_t appended;
    uint64_t next_number;
    struct event_place last;      /* newest event */
    struct event_place published; /* newest one that is durable */
    struct event_ring *ring;
    shop_published *on_published;
    void *published_context;

    struct shop_invoice *invoices, *invoices_by_hash;
    struct payment *payments;
    struct refund *refunds;
    struct payout *payouts;
    /* In the order of their numbers. */
    struct shop_invoice **invoice_list;
    struct payment **payment_list;
    struct payout **payout_list;
    bool listed; /* the lists are made, and kept from then on */
    size_t invoice_count, invoice_capacity, payment_count, payment_capacity, payout_count, payout_capacity;
    struct expiry *expiries; /* a heap: the open invoices by expiry */
    size_t expiry_count, expiry_capacity;
    uint64_t pruned;

    struct answer *answers; /* oldest first */
    size_t answer_bytes;

    /* Records of others that share the journal: webhooks. */
    bool (*read_other)(void *context, const struct record *record);
    void *other_context;

    uint64_t invoices_created, invoices_paid, invoices_expired, invoices_cancelled; /* since start */
};

/* ---- shop.c ---- */

void shop_init(struct shop *shop, const struct shop_options *options, struct session *session);
/* Opens HOME/merchant and reads it. False, and one line in message. */
bool shop_open(struct shop *shop, const char *folder, char *message, size_t message_size) MUST_USE;
void shop_close(struct shop *shop);
/* What the wallet knows and the shop does not: payments that came, refunds that ended or were never sent, payouts. Once,
 * after the wallet is open and the shop read, before the loop runs. */
void shop_reconcile(struct shop *shop);
/* Now, as Unix seconds, never earlier than the newest event. */
uint64_t shop_now(const struct shop *shop);
/* Hands what was gathered to the journal. shop_commit_wait returns once it is durable. */
void shop_commit(struct shop *shop);
void shop_commit_wait(struct shop *shop);
/* The journal has become durable up to some batch: tells what may be told. */
void shop_durable(struct shop *shop);
/* Once a second: what has expired, what is old. */
void shop_tick(struct shop *shop);

struct invoice_request {
    const struct asset_info *asset;
    uint64_t amount, lifetime_s;
    const char *memo, *external_id, *metadata; /* NULL: none */
};
/* Returns 0, or one of the wallet's codes (rill_refusal says why), or -1: the shop is full. Durable in the wallet;
 * shop_commit follows. */
int shop_invoice_create(struct shop *shop, const struct invoice_request *request, struct shop_invoice **out);
/* 0, or the wallet's code: PAID while a payment of it arrives. It must be open. */
int shop_invoice_cancel(struct shop *shop, struct shop_invoice *invoice);
struct shop_invoice *shop_invoice_find(const struct shop *shop, const struct object_id *id);
struct payment *shop_payment_find(const struct shop *shop, const struct object_id *id);
/* Sum of refunds that are not failed. */
uint64_t shop_refunded(const struct payment *payment);
struct refund *shop_refund_create(struct shop *shop, struct payment *payment, uint64_t amount,
                                  const char *invoice, const uint8_t secret_hash[32]);
/* Has the wallet pay it; the record must be durable. 0, or the wallet's code, and then it is FAILED. */
int shop_refund_send(struct shop *shop, struct refund *refund);
struct payout *shop_payout_create(struct shop *shop, const struct address *asset, uint64_t amount,
                                  bool asked);
/* Has the wallet pay it out; the record must be durable. 0, or the wallet's code, and then it is FAILED. */
int shop_payout_send(struct shop *shop, struct payout *payout);

/* What the wallet tells. */
void shop_received(struct shop *shop, const struct rill_payment *payment);
void shop_outgoing(struct shop *shop, const struct rill_payment *payment);
void shop_settled(struct shop *shop, const struct rill_settlement *settlement);

/* First index of a list whose number is above this one. */
size_t shop_invoice_after(const struct shop *shop, uint64_t number);
size_t shop_payment_after(const struct shop *shop, uint64_t number);
size_t shop_payout_after(const struct shop *shop, uint64_t number);

/* ---- shop_events.c ---- */

/* Gathers an event; told once durable. subject_json: a new reference, "invoice", "payment" or "payout". */
void shop_event(struct shop *shop, enum event_type type, const struct object_id *subject, const char *member,
                json_t *object);
/* Visits published events after a place, oldest first, until the visitor returns false. False: the disk does not give
 * back what was written. */
typedef bool shop_visit(void *context, const struct shop_event *event);
bool shop_events_after(const struct shop *shop, const struct event_place *place, shop_visit *visit,
                       void *context) MUST_USE;
/* Where to go on telling an invoice's story to who knows it up to here: not before its creation. */
struct event_place shop_event_place_of(const struct shop_invoice *invoice, const struct event_place *known);
void shop_events_free(struct shop *shop);
/* What was gathered is in the batch `appended` now. */
void shop_events_committed(struct shop *shop);
void shop_events_durable(struct shop *shop, uint64_t durable);

/* ---- shop_history.c ---- */

enum history_kind { HISTORY_PAYMENT = 0, HISTORY_REFUND = 1, HISTORY_PAYOUT = 2 };
struct history_row {
    struct event_place place;
    enum history_kind kind;
    struct object_id id, invoice, payment; /* OBJECT_NONE where there is none */
    struct address asset;
    uint64_t amount;
    char memo[MEMO_BYTES_MAX + 1], external_id[EXTERNAL_ID_BYTES_MAX + 1];
};
void shop_history_add(struct shop *shop, const struct history_row *row);
typedef bool history_visit(void *context, const struct history_row *row);
/* since <= time < until, after a place (NULL: from the start). False: the disk failed. */
bool shop_history_read(const struct shop *shop, uint64_t since, uint64_t until,
                       const struct event_place *after, history_visit *visit, void *context) MUST_USE;

/* ---- shop_disk.c ---- */

bool shop_read(struct shop *shop, const struct record *record) MUST_USE;
void shop_write_meta(struct shop *shop);
void shop_write_invoice(struct shop *shop, const struct shop_invoice *invoice);
void shop_write_payment(struct shop *shop, const struct payment *payment);
void shop_write_refund(struct shop *shop, const struct refund *refund);
void shop_write_payout(struct shop *shop, const struct payout *payout);
void shop_write_gone(struct shop *shop, uint8_t type, const struct object_id *id);
/* Text of at most 65535 bytes, NULL apart from "". take_text: a new copy, or NULL. */
void put_text(struct buffer *out, const char *text);
char *take_text(struct reader *reader);

/* ---- idempotency.c ---- */

/* The first result of a request that has an Idempotency-Key. name: of the API key and that header; request: of method,
 * path and body. */
struct answer {
    struct hash name, request;
    uint64_t created;
    uint16_t status;
    char *body;
    UT_hash_handle hh;
};
const struct answer *shop_answer_find(const struct shop *shop, const struct hash *name);
/* False: too many are remembered already. */
bool shop_answer_fits(const struct shop *shop, size_t bytes) MUST_USE;
/* Gathers it; one that is there already is replaced. */
void shop_answer_keep(struct shop *shop, const struct hash *name, const struct hash *request, uint16_t status,
                      const char *body);
bool shop_answer_read(struct shop *shop, const struct record *record) MUST_USE;
/* After recovery. */
void shop_answers_sort(struct shop *shop);
void shop_answers_prune(struct shop *shop, uint64_t now);
void shop_answers_free(struct shop *shop);

/* ---- shop_tables.c ---- */

void shop_add_invoice(struct shop *shop, struct shop_invoice *invoice);
void shop_add_payment(struct shop *shop, struct payment *payment);
void shop_add_payout(struct shop *shop, struct payout *payout);
void shop_watch_expiry(struct shop *shop, struct shop_invoice *invoice, uint64_t at);
/* The open invoice that expires next, at or before now, taken off the heap; NULL if none. */
struct shop_invoice *shop_next_expired(struct shop *shop, uint64_t now);
void shop_sort_lists(struct shop *shop);
/* Lets go of what ended before this time, on disk too. */
void shop_prune(struct shop *shop, uint64_t before);
/* An invoice leaves memory, and with it its payment and refunds; a payout does. True, for use in shop_read. */
bool shop_forget_invoice(struct shop *shop, const struct object_id *id);
bool shop_forget_payout(struct shop *shop, const struct object_id *id);
void shop_tables_free(struct shop *shop);

/* On disk: do not renumber. docs/journal.md. */
enum shop_record {
    RECORD_SHOP = 128,    /* key: one zero byte; next number, newest event */
    RECORD_INVOICE = 129, /* key: id */
    RECORD_PAYMENT = 130,
    RECORD_REFUND = 131,
    RECORD_PAYOUT = 132,
    RECORD_WEBHOOK = 133,
    RECORD_DELIVERY = 134, /* key: webhook id, event's time and number */
    RECORD_ANSWER = 135,   /* key: hash of API key and Idempotency-Key */
    RECORD_EVENT = 240,    /* archive */
    RECORD_HISTORY = 241   /* archive */
};

#endif
