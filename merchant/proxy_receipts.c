#include "merchant/proxy_receipts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "store/store.h"
#include "wire/http.h"

#define JOURNAL_VERSION 1
#define SWEEP_MS        1000
#define SWEEP_PART      32 /* a part of all is looked at in a sweep */
#define FLUSH_LATE_MS                                                                                        \
    20 /* what nobody waits for goes with the next batch, or a little later in one of its own */
/* Kept a little beyond its expiry, so that a clock that is set back does not make a spent receipt good again. */
#define KEPT_BEYOND_S 600

/* On disk: do not renumber. */
enum record_type { RECORD_MAC_KEY = 1, RECORD_RECEIPT = 2, RECORD_BUDGET = 3 };
enum receipt_state { RECEIPT_UNDER_WAY = 1, RECEIPT_SPENT = 2, RECEIPT_RETURNED = 3 };

struct receipt {
    struct hash id;
    uint64_t expiry;
    uint8_t state, returns;
    bool in_doubt; /* under way when the proxy began */
    UT_hash_handle hh;
};

struct budget {
    struct hash id;
    uint64_t paid, left, expiry;
    bool dirty; /* its newest value is not in a batch yet */
    struct budget *next_dirty;
    UT_hash_handle hh;
};

struct receipts {
    struct journal *journal;
    uint8_t mac_key[32];
    bool has_key;
    struct receipt *receipts, *receipt_cursor;
    struct budget *budgets, *budget_cursor, *dirty;
    struct buffer batch;
    uint64_t appended, batches;
    struct receipts_wait *unsent, *waiting; /* for the batch that is being made; for one on its way */
    struct event *flush, *wake, *sweep;
    bool flush_wanted; /* in this turn of the loop */
};

/* ---- names ---- */

static const struct {
    const char *code, *text;
} errors[] = {
    [PAYMENT_OK] = {"ok", "paid"},
    [PAYMENT_REQUIRED] = {"payment_required",
                          "pay one of the offers, and ask again with its receipt in X-PAYMENT"},
    [PAYMENT_MALFORMED] =
        {"payment_malformed",
         "X-PAYMENT is not base64 of a JSON object of scheme rill-channel for this network with an "
         "offer and a receipt"},
    [PAYMENT_UNKNOWN] = {"receipt_unknown",
                         "the offer was not made here, or the receipt is not the one that it asks for"},
    [PAYMENT_EXPIRED] = {"receipt_expired", "the receipt was good for a time that is over: pay a new offer"},
    [PAYMENT_WRONG_RESOURCE] =
        {"wrong_resource", "the receipt was paid for another method or path: it is still good for that one"},
    [PAYMENT_WRONG_AMOUNT] = {"wrong_amount", "the receipt was paid with another amount than this costs"},
    [PAYMENT_SPENT] = {"receipt_spent", "the receipt has been served: one payment is good for one request"},
    [PAYMENT_UNDER_WAY] = {"receipt_under_way", "another request is being served for this receipt just now"},
    [PAYMENT_IN_DOUBT] =
        {"receipt_in_doubt",
         "the receipt was being served when the proxy stopped: it may have been answered, so it is spent"},
    [PAYMENT_RETURNS] = {"receipt_returned_often",
                         "the service failed every time: the receipt was given back as often as it can be"},
    [PAYMENT_BUDGET] = {"budget_too_small",
                        "the budget has less left than this costs: buy another, or pay for this one"},
};

const char *payment_error_code(enum payment_error error)
{
    return errors[error].code;
}

const char *payment_error_text(enum payment_error error)
{
    return errors[error].text;
}

/* ---- tickets ---- */

#define TICKET_BYTES (1 + 32 + 8 + 8 + 32)
#define MAC_BYTES    32

static void ticket_bytes(const struct ticket *ticket, uint8_t out[TICKET_BYTES])
{
    out[0] = (uint8_t)ticket->kind;
    memcpy(out + 1, ticket->resource.bytes, 32);
    store_be64(out + 33, ticket->units);
    store_be64(out + 41, ticket->expiry);
    memcpy(out + 49, ticket->secret_hash.bytes, 32);
}

void ticket_write(const struct receipts *receipts, const struct ticket *ticket, char *out)
{
    uint8_t bytes[TICKET_BYTES + MAC_BYTES];
    struct buffer text = {0};
    ticket_bytes(ticket, bytes);
    struct hash mac = hmac_sha256(receipts->mac_key, sizeof(receipts->mac_key), bytes, TICKET_BYTES);
    memcpy(bytes + TICKET_BYTES, mac.bytes, MAC_BYTES);
    http_base64(&text, bytes, sizeof(bytes));
    ensure(text.length <= TICKET_TEXT_SIZE);
    memcpy(out, text.data, text.length);
    buffer_free(&text);
}

bool ticket_read(const struct receipts *receipts, const char *text, size_t length, struct ticket *out)
{
    uint8_t bytes[TICKET_BYTES + MAC_BYTES + 3];
    size_t count;
    if (length >= TICKET_TEXT_SIZE ||
        !http_base64_read((struct http_text){text, length}, bytes, sizeof(bytes), &count) ||
        count != TICKET_BYTES + MAC_BYTES)
        return false;
    struct hash mac = hmac_sha256(receipts->mac_key, sizeof(receipts->mac_key), bytes, TICKET_BYTES);
    if (!bytes_equal_constant_time(mac.bytes, bytes + TICKET_BYTES, MAC_BYTES))
        return false;
    out->kind = (enum ticket_kind)bytes[0];
    memcpy(out->resource.bytes, bytes + 1, 32);
    out->units = load_be64(bytes + 33);
    out->expiry = load_be64(bytes + 41);
    memcpy(out->secret_hash.bytes, bytes + 49, 32);
    return true;
}

bool ticket_is_paid_by(const struct ticket *ticket, const uint8_t secret[32])
{
    struct hash hash = sha256(secret, 32);
    return bytes_equal_constant_time(hash.bytes, ticket->secret_hash.bytes, sizeof(hash.bytes));
}

/* ---- the journal ---- */

static void flush_soon(struct receipts *receipts)
{
    if (!receipts->flush_wanted)
        event_active(receipts->flush, EV_TIMEOUT, 0);
    receipts->flush_wanted = true;
}

static void flush_late(struct receipts *receipts)
{
    const struct timeval late = {0, FLUSH_LATE_MS * 1000};
    if (!receipts->flush_wanted && !event_pending(receipts->flush, EV_TIMEOUT, NULL))
        event_add(receipts->flush, &late);
}

static void write_receipt(struct receipts *receipts, const struct receipt *receipt)
{
    size_t mark = record_begin(&receipts->batch, RECORD_RECEIPT, &receipt->id, sizeof(receipt->id));
    buffer_u8(&receipts->batch, receipt->state);
    buffer_u8(&receipts->batch, receipt->returns);
    buffer_u64(&receipts->batch, receipt->expiry);
    record_end(&receipts->batch, mark);
    flush_late(receipts);
}

static void write_budget(struct receipts *receipts, const struct budget *budget)
{
    size_t mark = record_begin(&receipts->batch, RECORD_BUDGET, &budget->id, sizeof(budget->id));
    buffer_u64(&receipts->batch, budget->paid);
    buffer_u64(&receipts->batch, budget->left);
    buffer_u64(&receipts->batch, budget->expiry);
    record_end(&receipts->batch, mark);
}

/* However often it changes in a turn, one record of it is written. */
static void budget_changed(struct receipts *receipts, struct budget *budget)
{
    if (!budget->dirty) {
        budget->dirty = true;
        budget->next_dirty = receipts->dirty;
        receipts->dirty = budget;
    }
    flush_late(receipts);
}

static struct receipt *find_receipt(const struct receipts *receipts, const struct hash *id)
{
    struct receipt *receipt;
    HASH_FIND(hh, receipts->receipts, id, sizeof(*id), receipt);
    return receipt;
}

static struct budget *find_budget(const struct receipts *receipts, const struct hash *id)
{
    struct budget *budget;
    HASH_FIND(hh, receipts->budgets, id, sizeof(*id), budget);
    return budget;
}

static struct receipt *add_receipt(struct receipts *receipts, const struct hash *id)
{
    struct receipt *receipt = xcalloc(1, sizeof(*receipt));
    receipt->id = *id;
    HASH_ADD(hh, receipts->receipts, id, sizeof(receipt->id), receipt);
    return receipt;
}

static struct budget *add_budget(struct receipts *receipts, const struct hash *id)
{
    struct budget *budget = xcalloc(1, sizeof(*budget));
    budget->id = *id;
    HASH_ADD(hh, receipts->budgets, id, sizeof(budget->id), budget);
    return budget;
}

static void drop_receipt(struct receipts *receipts, struct receipt *receipt)
{
    if (receipts->receipt_cursor == receipt)
        receipts->receipt_cursor = receipt->hh.next;
    HASH_DEL(receipts->receipts, receipt);
    free(receipt);
}

static void drop_budget(struct receipts *receipts, struct budget *budget)
{
    if (receipts->budget_cursor == budget)
        receipts->budget_cursor = budget->hh.next;
    HASH_DEL(receipts->budgets, budget);
    free(budget);
}

static bool read_receipt(struct receipts *receipts, const struct record *record, const struct hash *id)
{
    struct receipt *receipt = find_receipt(receipts, id);
    if (record->gone) {
        if (receipt != NULL)
            drop_receipt(receipts, receipt);
        return true;
    }
    struct reader value = reader_of(record->value, record->value_length);
    if (receipt == NULL)
        receipt = add_receipt(receipts, id);
    receipt->state = reader_u8(&value);
    receipt->returns = reader_u8(&value);
    receipt->expiry = reader_u64(&value);
    receipt->in_doubt = receipt->state == RECEIPT_UNDER_WAY;
    return reader_done(&value) && receipt->state >= RECEIPT_UNDER_WAY && receipt->state <= RECEIPT_RETURNED;
}

static bool read_budget(struct receipts *receipts, const struct record *record, const struct hash *id)
{
    struct budget *budget = find_budget(receipts, id);
    if (record->gone) {
        if (budget != NULL)
            drop_budget(receipts, budget);
        return true;
    }
    struct reader value = reader_of(record->value, record->value_length);
    if (budget == NULL)
        budget = add_budget(receipts, id);
    budget->paid = reader_u64(&value);
    budget->left = reader_u64(&value);
    budget->expiry = reader_u64(&value);
    return reader_done(&value) && budget->left <= budget->paid;
}

static bool read_record(void *context, const struct record *record)
{
    struct receipts *receipts = context;
    struct hash id;
    if (record->type == RECORD_MAC_KEY && !record->gone &&
        record->value_length == sizeof(receipts->mac_key)) {
        memcpy(receipts->mac_key, record->value, sizeof(receipts->mac_key));
        receipts->has_key = true;
        return true;
    }
    if (record->key_length != sizeof(id))
        return false;
    memcpy(&id, record->key, sizeof(id));
    if (record->type == RECORD_RECEIPT)
        return read_receipt(receipts, record, &id);
    return record->type == RECORD_BUDGET && read_budget(receipts, record, &id);
}

static void make_key(struct receipts *receipts)
{
    random_bytes(receipts->mac_key, sizeof(receipts->mac_key));
    record_put(&receipts->batch, RECORD_MAC_KEY, "", 0, receipts->mac_key, sizeof(receipts->mac_key));
    receipts->appended = journal_append(receipts->journal, receipts->batch.data, receipts->batch.length);
    bytes_wipe(receipts->batch.data, receipts->batch.length);
    buffer_clear(&receipts->batch);
    /* An offer under a key that a crash forgets would be lost to whoever paid it. */
    journal_wait(receipts->journal, receipts->appended);
}

static void on_flush(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct receipts *receipts = context;
    receipts->flush_wanted = false;
    event_del(receipts->flush);
    while (receipts->dirty != NULL) {
        struct budget *budget = receipts->dirty;
        receipts->dirty = budget->next_dirty;
        budget->dirty = false;
        write_budget(receipts, budget);
    }
    if (receipts->batch.length > 0) {
        receipts->appended = journal_append(receipts->journal, receipts->batch.data, receipts->batch.length);
        receipts->batches++;
        buffer_clear(&receipts->batch);
    }
    struct receipts_wait *wait;
    DL_FOREACH(receipts->unsent, wait)
    {
        wait->sequence = receipts->appended;
    }
    DL_CONCAT(receipts->waiting, receipts->unsent);
    receipts->unsent = NULL;
    /* Nothing had changed: it is durable already. */
    if (receipts->waiting != NULL && receipts->waiting->sequence <= journal_durable(receipts->journal))
        event_active(receipts->wake, EV_TIMEOUT, 0);
}

static void on_wake(evutil_socket_t socket, short what, void *context)
{
    struct receipts *receipts = context;
    uint64_t count;
    if ((what & EV_READ) != 0) {
        ssize_t taken = read(socket, &count, sizeof(count));
        (void)taken;
    }
    uint64_t durable = journal_durable(receipts->journal);
    while (receipts->waiting != NULL && receipts->waiting->sequence <= durable) {
        struct receipts_wait *wait = receipts->waiting;
        DL_DELETE(receipts->waiting, wait);
        wait->waiting = false;
        wait->done(wait->context);
    }
}

void receipts_wait(struct receipts *receipts, struct receipts_wait *wait, void (*done)(void *context),
                   void *context)
{
    ensure(!wait->waiting);
    *wait = (struct receipts_wait){.sequence = UINT64_MAX, .done = done, .context = context, .waiting = true};
    DL_APPEND(receipts->unsent, wait);
    flush_soon(receipts);
}

void receipts_wait_cancel(struct receipts *receipts, struct receipts_wait *wait)
{
    if (!wait->waiting)
        return;
    if (wait->sequence == UINT64_MAX)
        DL_DELETE(receipts->unsent, wait);
    else
        DL_DELETE(receipts->waiting, wait);
    wait->waiting = false;
}

/* ---- letting go ---- */

static void sweep_receipts(struct receipts *receipts, uint64_t now_s)
{
    size_t turns = HASH_COUNT(receipts->receipts) / SWEEP_PART + 64;
    for (size_t i = 0; i < turns && receipts->receipts != NULL; i++) {
        struct receipt *receipt =
            receipts->receipt_cursor != NULL ? receipts->receipt_cursor : receipts->receipts;
        receipts->receipt_cursor = receipt->hh.next;
        if (receipt->expiry + KEPT_BEYOND_S >= now_s ||
            (receipt->state == RECEIPT_UNDER_WAY && !receipt->in_doubt))
            continue;
        record_gone(&receipts->batch, RECORD_RECEIPT, &receipt->id, sizeof(receipt->id));
        drop_receipt(receipts, receipt);
    }
}

static void sweep_budgets(struct receipts *receipts, uint64_t now_s)
{
    size_t turns = HASH_COUNT(receipts->budgets) / SWEEP_PART + 64;
    for (size_t i = 0; i < turns && receipts->budgets != NULL; i++) {
        struct budget *budget = receipts->budget_cursor != NULL ? receipts->budget_cursor : receipts->budgets;
        receipts->budget_cursor = budget->hh.next;
        if (budget->expiry + KEPT_BEYOND_S >= now_s || budget->dirty)
            continue;
        record_gone(&receipts->batch, RECORD_BUDGET, &budget->id, sizeof(budget->id));
        drop_budget(receipts, budget);
    }
}

static void on_sweep(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct receipts *receipts = context;
    uint64_t now_s = clock_unix_s();
    sweep_receipts(receipts, now_s);
    sweep_budgets(receipts, now_s);
    if (receipts->batch.length > 0)
        flush_late(receipts);
}

/* ---- opening ---- */

static void make_events(struct receipts *receipts, struct event_base *base)
{
    const struct timeval every = {SWEEP_MS / 1000, SWEEP_MS % 1000 * 1000};
    receipts->flush = evtimer_new(base, on_flush, receipts);
    receipts->wake =
        event_new(base, journal_wake_descriptor(receipts->journal), EV_READ | EV_PERSIST, on_wake, receipts);
    receipts->sweep = event_new(base, -1, EV_PERSIST, on_sweep, receipts);
    ensure(receipts->flush != NULL && receipts->wake != NULL && receipts->sweep != NULL);
    ensure(event_add(receipts->wake, NULL) == 0 && event_add(receipts->sweep, &every) == 0);
}

struct receipts *receipts_open(struct event_base *base, const char *folder, char *message,
                               size_t message_size)
{
    struct store_options options = {.path = folder, .application = "proxy", .version = JOURNAL_VERSION};
    struct receipts *receipts = xcalloc(1, sizeof(*receipts));
    if (store_open(&options, &receipts->journal, message, message_size) != STORE_OK) {
        free(receipts);
        return NULL;
    }
    if (!journal_recover(receipts->journal, read_record, receipts)) {
        snprintf(message, message_size, "the journal in %s is damaged: a record in it is not understood",
                 folder);
        receipts_close(receipts);
        return NULL;
    }
    if (!receipts->has_key)
        make_key(receipts);
    make_events(receipts, base);
    return receipts;
}

void receipts_close(struct receipts *receipts)
{
    if (receipts == NULL)
        return;
    if (receipts->flush != NULL) {
        on_flush(-1, 0, receipts);
        event_free(receipts->flush);
        event_free(receipts->wake);
        event_free(receipts->sweep);
    }
    struct receipt *receipt, *next_receipt;
    struct budget *budget, *next_budget;
    HASH_ITER(hh, receipts->receipts, receipt, next_receipt)
    {
        drop_receipt(receipts, receipt);
    }
    HASH_ITER(hh, receipts->budgets, budget, next_budget)
    {
        drop_budget(receipts, budget);
    }
    journal_close(receipts->journal);
    buffer_free(&receipts->batch);
    bytes_wipe(receipts->mac_key, sizeof(receipts->mac_key));
    free(receipts);
}

struct receipts_figures receipts_figures(const struct receipts *receipts)
{
    return (struct receipts_figures){HASH_COUNT(receipts->receipts), HASH_COUNT(receipts->budgets),
                                     receipts->batches};
}

/* ---- one request ---- */

static enum payment_error judge(const struct receipt *receipt)
{
    switch ((enum receipt_state)receipt->state) {
    case RECEIPT_SPENT:
        return receipt->returns >= RECEIPT_RETURNS_MAX ? PAYMENT_RETURNS : PAYMENT_SPENT;
    case RECEIPT_UNDER_WAY:
        return receipt->in_doubt ? PAYMENT_IN_DOUBT : PAYMENT_UNDER_WAY;
    case RECEIPT_RETURNED:
        return PAYMENT_OK;
    }
    return PAYMENT_UNKNOWN;
}

enum payment_error receipts_spend(struct receipts *receipts, const struct ticket *ticket, uint64_t now_s)
{
    struct receipt *receipt = find_receipt(receipts, &ticket->secret_hash);
    /* What was spent is said before what has expired: it is the better answer to a replay. */
    if (receipt != NULL && judge(receipt) != PAYMENT_OK)
        return judge(receipt);
    if (now_s > ticket->expiry)
        return PAYMENT_EXPIRED;
    if (receipt == NULL)
        receipt = add_receipt(receipts, &ticket->secret_hash);
    receipt->expiry = ticket->expiry;
    receipt->state = RECEIPT_UNDER_WAY;
    write_receipt(receipts, receipt);
    return PAYMENT_OK;
}

void receipts_served(struct receipts *receipts, const struct hash *id)
{
    struct receipt *receipt = find_receipt(receipts, id);
    ensure(receipt != NULL && receipt->state == RECEIPT_UNDER_WAY && !receipt->in_doubt);
    receipt->state = RECEIPT_SPENT;
    write_receipt(receipts, receipt);
}

bool receipts_return(struct receipts *receipts, const struct hash *id)
{
    struct receipt *receipt = find_receipt(receipts, id);
    ensure(receipt != NULL && receipt->state == RECEIPT_UNDER_WAY && !receipt->in_doubt);
    receipt->returns++;
    receipt->state = receipt->returns < RECEIPT_RETURNS_MAX ? RECEIPT_RETURNED : RECEIPT_SPENT;
    write_receipt(receipts, receipt);
    return receipt->state == RECEIPT_RETURNED;
}

/* ---- budgets ---- */

enum payment_error receipts_charge(struct receipts *receipts, const struct ticket *ticket, uint64_t units,
                                   uint64_t now_s, uint64_t *left)
{
    ensure(ticket->kind == TICKET_BUDGET);
    struct budget *budget = find_budget(receipts, &ticket->secret_hash);
    *left = budget != NULL ? budget->left : ticket->units;
    if (now_s > ticket->expiry)
        return PAYMENT_EXPIRED;
    if (*left < units)
        return PAYMENT_BUDGET;
    if (budget == NULL) {
        budget = add_budget(receipts, &ticket->secret_hash);
        budget->paid = budget->left = ticket->units;
        budget->expiry = ticket->expiry;
    } else if (units == 0) {
        return PAYMENT_OK;
    }
    budget->left -= units;
    *left = budget->left;
    budget_changed(receipts, budget);
    return PAYMENT_OK;
}

bool receipts_charge_more(struct receipts *receipts, const struct hash *id, uint64_t units)
{
    struct budget *budget = find_budget(receipts, id);
    if (budget == NULL || budget->left < units)
        return false;
    budget->left -= units;
    budget_changed(receipts, budget);
    return true;
}

void receipts_credit(struct receipts *receipts, const struct hash *id, uint64_t units)
{
    struct budget *budget = find_budget(receipts, id);
    if (budget == NULL || units == 0)
        return;
    ensure(budget->paid - budget->left >= units);
    budget->left += units;
    budget_changed(receipts, budget);
}

uint64_t receipts_left(const struct receipts *receipts, const struct hash *id)
{
    const struct budget *budget = find_budget(receipts, id);
    return budget != NULL ? budget->left : 0;
}
