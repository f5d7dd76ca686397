#include "wallet/fetch_state.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "store/store.h"

#define JOURNAL_VERSION 1
#define DAYS_KEPT       400
#define RECEIPTS_KEPT_S (10 * 86400)
#define FLUSH_LATE_MS                                                                                        \
    50 /* nobody waits for these books: what must not be lost is in a note (fetch_state.h) */

/* On disk: do not renumber. Keys begin with the asset. */
enum record_type { RECORD_SPENT = 1, RECORD_RECEIPT = 2, RECORD_BUDGET = 3, RECORD_NOTED = 4 };

struct fetch_books {
    struct journal *journal; /* NULL: memory only */
    uint8_t asset[20];
    struct spent_day *days;
    struct kept_receipt *receipts, *by_place;
    struct kept_budget *budgets;
    uint32_t today; /* what today_units is of */
    uint64_t today_units;
    struct buffer batch;
    struct event *flush;

    uint8_t owner[8];  /* of its notes */
    uint64_t noted;    /* the number of the last one whose records are here */
    size_t note_mark;  /* where the one that is being written begins in the batch */
    uint64_t appended; /* the journal's sequence with all notes up to appended_note; 0: none is on its way */
    uint64_t appended_note, settled_note; /* settled: durable here */
};

/* ---- the journal ---- */

static void flush_late(struct fetch_books *books)
{
    const struct timeval late = {0, FLUSH_LATE_MS * 1000};
    if (books->flush != NULL && !event_pending(books->flush, EV_TIMEOUT, NULL))
        event_add(books->flush, &late);
}

static size_t put_key(const struct fetch_books *books, const void *rest, size_t length,
                      uint8_t out[RECORD_KEY_MAX])
{
    ensure(20 + length <= RECORD_KEY_MAX);
    memcpy(out, books->asset, 20);
    memcpy(out + 20, rest, length);
    return 20 + length;
}

static size_t spent_key(const struct fetch_books *books, const struct spent_day *day,
                        uint8_t out[RECORD_KEY_MAX])
{
    uint8_t rest[4 + FETCH_HOST_MAX];
    store_be32(rest, day->key.day);
    memcpy(rest + 4, day->key.host, strlen(day->key.host));
    return put_key(books, rest, 4 + strlen(day->key.host), out);
}

static void write_spent(struct fetch_books *books, const struct spent_day *day)
{
    uint8_t key[RECORD_KEY_MAX];
    size_t length = spent_key(books, day, key), mark = record_begin(&books->batch, RECORD_SPENT, key, length);
    buffer_u64(&books->batch, day->units);
    buffer_u64(&books->batch, day->payments);
    record_end(&books->batch, mark);
    flush_late(books);
}

static void put_text(struct buffer *out, const char *text)
{
    buffer_u16(out, (uint16_t)strlen(text));
    buffer_append(out, text, strlen(text));
}

static bool take_text(struct reader *in, char *out, size_t size)
{
    size_t length = reader_u16(in);
    const uint8_t *text = reader_take(in, length);
    if (text == NULL || length >= size)
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static void write_receipt(struct fetch_books *books, const struct kept_receipt *receipt)
{
    uint8_t key[RECORD_KEY_MAX];
    size_t length = put_key(books, &receipt->secret_hash, 32, key);
    size_t mark = record_begin(&books->batch, RECORD_RECEIPT, key, length);
    buffer_u8(&books->batch, receipt->state);
    buffer_append(&books->batch, receipt->place.bytes, 32);
    buffer_append(&books->batch, receipt->secret, 32);
    buffer_u64(&books->batch, receipt->units);
    buffer_u64(&books->batch, receipt->expires);
    put_text(&books->batch, receipt->network);
    put_text(&books->batch, receipt->ticket);
    record_end(&books->batch, mark);
    flush_late(books);
}

static void write_budget(struct fetch_books *books, const struct kept_budget *budget)
{
    uint8_t key[RECORD_KEY_MAX];
    size_t length = put_key(books, &budget->secret_hash, 32, key);
    size_t mark = record_begin(&books->batch, RECORD_BUDGET, key, length);
    put_text(&books->batch, budget->origin);
    buffer_append(&books->batch, budget->secret, 32);
    buffer_u8(&books->batch, budget->paid);
    buffer_u64(&books->batch, budget->units);
    buffer_u64(&books->batch, budget->left);
    put_text(&books->batch, budget->network);
    put_text(&books->batch, budget->ticket);
    record_end(&books->batch, mark);
    flush_late(books);
}

static void flush(struct fetch_books *books)
{
    if (books->batch.length > 0 && books->journal != NULL) {
        uint64_t sequence = journal_append(books->journal, books->batch.data, books->batch.length);
        if (books->appended == 0) {
            books->appended = sequence;
            books->appended_note = books->noted;
        }
    }
    buffer_clear(&books->batch);
}

static void on_flush(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    flush(context);
}

void fetch_books_sync(struct fetch_books *books)
{
    flush(books);
    if (books->appended == 0)
        return;
    journal_wait(books->journal, books->appended);
    (void)fetch_books_settled(books);
}

/* ---- notes ---- */

static void write_noted(struct fetch_books *books)
{
    size_t mark = record_begin(&books->batch, RECORD_NOTED, books->asset, sizeof(books->asset));
    buffer_append(&books->batch, books->owner, sizeof(books->owner));
    buffer_u64(&books->batch, books->noted);
    record_end(&books->batch, mark);
}

const uint8_t *fetch_books_owner(const struct fetch_books *books)
{
    return books->owner;
}

void fetch_note_begin(struct fetch_books *books)
{
    books->note_mark = books->batch.length;
}

struct fetch_note fetch_note_end(struct fetch_books *books)
{
    books->noted++;
    write_noted(books);
    return (struct fetch_note){.number = books->noted,
                               .bytes = books->journal != NULL ? books->batch.data + books->note_mark : NULL,
                               .length = books->batch.length - books->note_mark};
}

static bool read_record(void *context, const struct record *record);

bool fetch_note_replay(struct fetch_books *books, const struct fetch_note *note)
{
    struct reader reader = reader_of(note->bytes, note->length);
    struct record record;
    if (note->number <= books->noted)
        return true;
    while (record_next(&reader, &record))
        if (!read_record(books, &record))
            return false;
    if (!reader.ok || books->noted != note->number)
        return false;
    buffer_append(&books->batch, note->bytes, note->length);
    flush_late(books);
    return true;
}

uint64_t fetch_books_settled(struct fetch_books *books)
{
    if (books->appended != 0 && books->appended <= journal_durable(books->journal)) {
        books->settled_note = books->appended_note;
        books->appended = 0;
    }
    return books->settled_note;
}

/* ---- what was spent ---- */

static struct spent_day *find_day(const struct fetch_books *books, uint32_t number, const char *host)
{
    struct spent_key key;
    struct spent_day *day;
    memset(&key, 0, sizeof(key));
    key.day = number;
    snprintf(key.host, sizeof(key.host), "%s", host);
    HASH_FIND(hh, books->days, &key, sizeof(key), day);
    return day;
}

static struct spent_day *make_day(struct fetch_books *books, uint32_t number, const char *host)
{
    struct spent_day *day = find_day(books, number, host);
    if (day != NULL)
        return day;
    day = xcalloc(1, sizeof(*day));
    day->key.day = number;
    snprintf(day->key.host, sizeof(day->key.host), "%s", host);
    HASH_ADD(hh, books->days, key, sizeof(day->key), day);
    return day;
}

uint64_t fetch_books_host_units(const struct fetch_books *books, uint32_t day, const char *host)
{
    const struct spent_day *found = find_day(books, day, host);
    return found != NULL ? found->units : 0;
}

uint64_t fetch_books_day_units(const struct fetch_books *books, uint32_t day)
{
    uint64_t sum = 0;
    if (day == books->today)
        return books->today_units;
    for (const struct spent_day *at = books->days; at != NULL; at = at->hh.next)
        sum += at->key.day == day ? at->units : 0;
    return sum;
}

void fetch_books_spend(struct fetch_books *books, uint32_t day, const char *host, uint64_t units)
{
    if (day != books->today) {
        books->today_units = fetch_books_day_units(books, day);
        books->today = day;
    }
    struct spent_day *spent = make_day(books, day, host);
    spent->units += units;
    spent->payments++;
    books->today_units += units;
    write_spent(books, spent);
}

void fetch_books_unspend(struct fetch_books *books, uint32_t day, const char *host, uint64_t units, bool all)
{
    struct spent_day *spent = find_day(books, day, host);
    ensure(spent != NULL && spent->units >= units);
    spent->units -= units;
    spent->payments -= all;
    if (day == books->today)
        books->today_units -= units;
    write_spent(books, spent);
}

static int by_day(struct spent_day *a, struct spent_day *b)
{
    if (a->key.day != b->key.day)
        return a->key.day < b->key.day ? -1 : 1;
    return strcmp(a->key.host, b->key.host);
}

const struct spent_day *fetch_books_days(struct fetch_books *books)
{
    HASH_SRT(hh, books->days, by_day);
    return books->days;
}

/* ---- receipts ---- */

void fetch_origin(const struct http_url *url, char out[FETCH_ORIGIN_MAX])
{
    snprintf(out, FETCH_ORIGIN_MAX, "%s://%.*s", url->tls ? "https" : "http", FETCH_HOST_MAX - 1,
             url->authority);
}

struct hash fetch_place(const char *origin, const char *method, const char *target)
{
    struct buffer text = {0};
    buffer_printf(&text, "%s\n%s\n%s", origin, method, target);
    struct hash hash = sha256(text.data, text.length);
    buffer_free(&text);
    return hash;
}

static struct kept_receipt *make_receipt(struct fetch_books *books, const struct hash *secret_hash)
{
    struct kept_receipt *receipt;
    HASH_FIND(hh, books->receipts, secret_hash, sizeof(*secret_hash), receipt);
    if (receipt != NULL)
        return receipt;
    receipt = xcalloc(1, sizeof(*receipt));
    receipt->secret_hash = *secret_hash;
    HASH_ADD(hh, books->receipts, secret_hash, sizeof(receipt->secret_hash), receipt);
    return receipt;
}

static void list_place(struct fetch_books *books, struct kept_receipt *receipt, bool add)
{
    struct kept_receipt *first, *list;
    if (add == (receipt->place_prev != NULL))
        return;
    HASH_FIND(hh_place, books->by_place, &receipt->place, sizeof(receipt->place), first);
    list = first;
    if (add) {
        DL_APPEND2(list, receipt, place_prev, place_next);
    } else {
        DL_DELETE2(list, receipt, place_prev, place_next);
        receipt->place_prev = NULL;
    }
    if (list == first)
        return;
    if (first != NULL)
        HASH_DELETE(hh_place, books->by_place, first);
    if (list != NULL)
        HASH_ADD(hh_place, books->by_place, place, sizeof(list->place), list);
}

struct kept_receipt *fetch_receipt_add(struct fetch_books *books, const struct hash *place,
                                       const struct fetch_offer *offer)
{
    struct hash secret_hash;
    memcpy(secret_hash.bytes, offer->secret_hash, 32);
    ensure(!fetch_books_know(books, &secret_hash));
    struct kept_receipt *receipt = make_receipt(books, &secret_hash);
    list_place(books, receipt, false);
    receipt->place = *place;
    list_place(books, receipt, true);
    receipt->state = KEPT_PAYING;
    receipt->in_use = true;
    receipt->units = offer->units;
    receipt->expires = offer->expires;
    snprintf(receipt->network, sizeof(receipt->network), "%s", offer->network);
    snprintf(receipt->ticket, sizeof(receipt->ticket), "%s", offer->ticket);
    write_receipt(books, receipt);
    return receipt;
}

/* The dearest: a cheaper one may be kept only because it does not pay for all of the answer. */
struct kept_receipt *fetch_receipt_find(struct fetch_books *books, const struct hash *place)
{
    struct kept_receipt *first, *receipt, *best = NULL;
    HASH_FIND(hh_place, books->by_place, place, sizeof(*place), first);
    DL_FOREACH2(first, receipt, place_next)
    {
        if (receipt->state == KEPT_PAID && !receipt->in_use && (best == NULL || receipt->units > best->units))
            best = receipt;
    }
    return best;
}

struct kept_receipt *fetch_receipt_under_way(const struct fetch_books *books, const struct hash *place)
{
    struct kept_receipt *receipt;
    HASH_FIND(hh_place, books->by_place, place, sizeof(*place), receipt);
    while (receipt != NULL && (!receipt->under_way || receipt->in_use))
        receipt = receipt->place_next;
    return receipt;
}

struct kept_receipt *fetch_receipt_of(const struct fetch_books *books, const struct hash *secret_hash)
{
    struct kept_receipt *receipt;
    HASH_FIND(hh, books->receipts, secret_hash, sizeof(*secret_hash), receipt);
    return receipt;
}

void fetch_receipt_paid(struct fetch_books *books, struct kept_receipt *receipt, const uint8_t secret[32])
{
    memcpy(receipt->secret, secret, 32);
    receipt->state = KEPT_PAID;
    receipt->under_way = false;
    write_receipt(books, receipt);
}

static void free_receipt(struct fetch_books *books, struct kept_receipt *receipt)
{
    list_place(books, receipt, false);
    HASH_DEL(books->receipts, receipt);
    bytes_wipe(receipt->secret, sizeof(receipt->secret));
    free(receipt);
}

void fetch_receipt_drop(struct fetch_books *books, struct kept_receipt *receipt)
{
    uint8_t key[RECORD_KEY_MAX];
    size_t length = put_key(books, &receipt->secret_hash, 32, key);
    record_gone(&books->batch, RECORD_RECEIPT, key, length);
    flush_late(books);
    free_receipt(books, receipt);
}

struct kept_receipt *fetch_receipts(const struct fetch_books *books)
{
    return books->receipts;
}

/* ---- budgets ---- */

struct kept_budget *fetch_budget_best(const struct fetch_books *books, const char *origin,
                                      const struct hash *except)
{
    struct kept_budget *best = NULL;
    for (struct kept_budget *at = books->budgets; at != NULL; at = at->hh.next) {
        if (!at->paid || strcmp(at->origin, origin) != 0 || hash_equal(&at->secret_hash, except))
            continue;
        /* Only one that is alone can tell. */
        if (at->unsure && at->in_use == 0)
            return at;
        if (at->left > (best != NULL ? best->left : 0))
            best = at;
    }
    return best;
}

struct kept_budget *fetch_budget_under_way(const struct fetch_books *books, const char *origin)
{
    struct kept_budget *budget = books->budgets;
    while (budget != NULL && (!budget->under_way || strcmp(budget->origin, origin) != 0))
        budget = budget->hh.next;
    return budget;
}

struct kept_budget *fetch_budget_find(const struct fetch_books *books, const struct hash *secret_hash)
{
    struct kept_budget *budget;
    HASH_FIND(hh, books->budgets, secret_hash, sizeof(*secret_hash), budget);
    return budget;
}

static struct kept_budget *make_budget(struct fetch_books *books, const struct hash *secret_hash)
{
    struct kept_budget *budget = fetch_budget_find(books, secret_hash);
    if (budget != NULL)
        return budget;
    budget = xcalloc(1, sizeof(*budget));
    budget->secret_hash = *secret_hash;
    HASH_ADD(hh, books->budgets, secret_hash, sizeof(budget->secret_hash), budget);
    return budget;
}

struct kept_budget *fetch_budget_add(struct fetch_books *books, const char *origin,
                                     const struct fetch_offer *offer)
{
    struct hash secret_hash;
    memcpy(secret_hash.bytes, offer->secret_hash, 32);
    ensure(!fetch_books_know(books, &secret_hash));
    struct kept_budget *budget = make_budget(books, &secret_hash);
    snprintf(budget->origin, sizeof(budget->origin), "%s", origin);
    budget->units = budget->left = offer->units;
    snprintf(budget->network, sizeof(budget->network), "%s", offer->network);
    snprintf(budget->ticket, sizeof(budget->ticket), "%s", offer->ticket);
    write_budget(books, budget);
    return budget;
}

void fetch_budget_paid(struct fetch_books *books, struct kept_budget *budget, const uint8_t secret[32])
{
    memcpy(budget->secret, secret, 32);
    budget->paid = true;
    budget->under_way = false;
    write_budget(books, budget);
}

void fetch_budget_use(struct kept_budget *budget)
{
    budget->unsure = budget->in_use > 0;
    budget->in_use++;
}

void fetch_budget_left(struct fetch_books *books, struct kept_budget *budget, uint64_t left)
{
    /* A server that says that more is left than was is not believed. */
    if (left > budget->units)
        left = budget->units;
    if (left == budget->left)
        return;
    budget->left = left;
    write_budget(books, budget);
}

void fetch_budget_used(struct fetch_books *books, struct kept_budget *budget, bool said)
{
    ensure(budget->in_use > 0);
    budget->in_use--;
    budget->unsure |= !said;
    if (budget->in_use == 0 && budget->left == 0 && !budget->unsure)
        fetch_budget_drop(books, budget);
}

void fetch_budget_drop(struct fetch_books *books, struct kept_budget *budget)
{
    uint8_t key[RECORD_KEY_MAX];
    size_t length = put_key(books, &budget->secret_hash, 32, key);
    record_gone(&books->batch, RECORD_BUDGET, key, length);
    flush_late(books);
    HASH_DEL(books->budgets, budget);
    bytes_wipe(budget->secret, sizeof(budget->secret));
    free(budget);
}

struct kept_budget *fetch_budgets(const struct fetch_books *books)
{
    return books->budgets;
}

bool fetch_books_know(const struct fetch_books *books, const struct hash *secret_hash)
{
    struct kept_receipt *receipt;
    HASH_FIND(hh, books->receipts, secret_hash, sizeof(*secret_hash), receipt);
    return receipt != NULL || fetch_budget_find(books, secret_hash) != NULL;
}

/* ---- recovery ---- */

static bool read_spent(struct fetch_books *books, const struct record *record, const char *rest,
                       size_t length)
{
    char host[FETCH_HOST_MAX];
    if (length < 4 || length - 4 >= sizeof(host))
        return false;
    memcpy(host, rest + 4, length - 4);
    host[length - 4] = '\0';
    struct spent_day *day = make_day(books, load_be32((const uint8_t *)rest), host);
    if (record->gone) {
        HASH_DEL(books->days, day);
        free(day);
        return true;
    }
    struct reader value = reader_of(record->value, record->value_length);
    day->units = reader_u64(&value);
    day->payments = reader_u64(&value);
    return reader_done(&value);
}

static bool read_receipt(struct fetch_books *books, const struct record *record, const void *rest,
                         size_t length)
{
    struct hash secret_hash;
    if (length != sizeof(secret_hash))
        return false;
    memcpy(secret_hash.bytes, rest, length);
    struct kept_receipt *receipt = make_receipt(books, &secret_hash);
    list_place(books, receipt, false);
    if (record->gone) {
        free_receipt(books, receipt);
        return true;
    }
    struct reader value = reader_of(record->value, record->value_length);
    receipt->state = reader_u8(&value);
    reader_copy(&value, receipt->place.bytes, 32);
    reader_copy(&value, receipt->secret, 32);
    receipt->units = reader_u64(&value);
    receipt->expires = reader_u64(&value);
    bool good = take_text(&value, receipt->network, sizeof(receipt->network)) &&
                take_text(&value, receipt->ticket, sizeof(receipt->ticket)) && reader_done(&value);
    if (good)
        list_place(books, receipt, true);
    return good;
}

/* Records of before origins were kept have a bare host: nobody knows how it was reached, so only TLS will do. */
static bool take_origin(struct reader *in, char out[FETCH_ORIGIN_MAX])
{
    char text[FETCH_ORIGIN_MAX];
    if (!take_text(in, text, sizeof(text)))
        return false;
    const char *scheme = strstr(text, "://") != NULL ? "" : "https://";
    return snprintf(out, FETCH_ORIGIN_MAX, "%s%s", scheme, text) < FETCH_ORIGIN_MAX;
}

static bool read_budget(struct fetch_books *books, const struct record *record, const void *rest,
                        size_t length)
{
    struct hash secret_hash;
    if (length != sizeof(secret_hash))
        return false;
    memcpy(secret_hash.bytes, rest, length);
    struct kept_budget *budget = make_budget(books, &secret_hash);
    if (record->gone) {
        HASH_DEL(books->budgets, budget);
        free(budget);
        return true;
    }
    struct reader value = reader_of(record->value, record->value_length);
    bool good = take_origin(&value, budget->origin);
    reader_copy(&value, budget->secret, 32);
    budget->paid = reader_u8(&value) != 0;
    budget->units = reader_u64(&value);
    budget->left = reader_u64(&value);
    /* It would not be here otherwise. */
    budget->unsure = budget->left == 0;
    return good && take_text(&value, budget->network, sizeof(budget->network)) &&
           take_text(&value, budget->ticket, sizeof(budget->ticket)) && reader_done(&value);
}

static bool read_noted(struct fetch_books *books, const struct record *record)
{
    struct reader value = reader_of(record->value, record->value_length);
    reader_copy(&value, books->owner, sizeof(books->owner));
    books->noted = reader_u64(&value);
    return !record->gone && reader_done(&value);
}

static bool read_record(void *context, const struct record *record)
{
    struct fetch_books *books = context;
    if (record->key_length < 20)
        return false;
    /* Of another asset, which this fetcher does not pay: it stays as it is. */
    if (memcmp(record->key, books->asset, 20) != 0)
        return true;
    const char *rest = (const char *)record->key + 20;
    size_t length = record->key_length - 20u;
    switch ((enum record_type)record->type) {
    case RECORD_SPENT:
        return read_spent(books, record, rest, length);
    case RECORD_RECEIPT:
        return read_receipt(books, record, rest, length);
    case RECORD_BUDGET:
        return read_budget(books, record, rest, length);
    case RECORD_NOTED:
        return read_noted(books, record);
    }
    return false;
}

/* Long after its offer has expired no payment of it can still end, and no server takes its receipt. */
static void forget_old_receipts(struct fetch_books *books)
{
    struct kept_receipt *receipt, *next;
    uint64_t now_s = clock_unix_s();
    HASH_ITER(hh, books->receipts, receipt, next)
    {
        if (receipt->expires + RECEIPTS_KEPT_S < now_s)
            fetch_receipt_drop(books, receipt);
    }
}

static void forget_old_days(struct fetch_books *books)
{
    uint32_t today = (uint32_t)(clock_unix_s() / 86400);
    uint8_t key[RECORD_KEY_MAX];
    struct spent_day *day, *next;
    HASH_ITER(hh, books->days, day, next)
    {
        if (day->key.day + DAYS_KEPT >= today)
            continue;
        size_t length = spent_key(books, day, key);
        record_gone(&books->batch, RECORD_SPENT, key, length);
        flush_late(books);
        HASH_DEL(books->days, day);
        free(day);
    }
}

struct fetch_books *fetch_books_open(struct event_base *base, const char *folder, const uint8_t asset[20],
                                     char *message, size_t message_size)
{
    struct fetch_books *books = xcalloc(1, sizeof(*books));
    memcpy(books->asset, asset, 20);
    random_bytes(books->owner, sizeof(books->owner));
    if (folder != NULL) {
        struct store_options options = {.path = folder, .application = "fetch", .version = JOURNAL_VERSION};
        bool opened = store_open(&options, &books->journal, message, message_size) == STORE_OK;
        if (opened && !journal_recover(books->journal, read_record, books)) {
            snprintf(message, message_size, "the journal in %s is damaged: a record in it is not understood",
                     folder);
            opened = false;
        }
        if (!opened) {
            fetch_books_close(books);
            return NULL;
        }
    }
    books->flush = evtimer_new(base, on_flush, books);
    ensure(books->flush != NULL);
    if (books->noted == 0) {
        /* Before there is a note, it must be known whose it is. */
        write_noted(books);
        fetch_books_sync(books);
    }
    forget_old_days(books);
    forget_old_receipts(books);
    return books;
}

void fetch_books_close(struct fetch_books *books)
{
    if (books == NULL)
        return;
    if (books->flush != NULL) {
        flush(books);
        event_free(books->flush);
    }
    struct spent_day *day, *next_day;
    struct kept_budget *budget, *next_budget;
    HASH_ITER(hh, books->days, day, next_day)
    {
        HASH_DEL(books->days, day);
        free(day);
    }
    while (books->receipts != NULL)
        free_receipt(books, books->receipts);
    HASH_ITER(hh, books->budgets, budget, next_budget)
    {
        HASH_DEL(books->budgets, budget);
        bytes_wipe(budget->secret, sizeof(budget->secret));
        free(budget);
    }
    journal_close(books->journal);
    buffer_free(&books->batch);
    free(books);
}
