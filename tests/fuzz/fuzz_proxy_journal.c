/* The journal of rill-merchantd proxy: records as they may stand on a disk that went wrong, or that another program wrote.
 *
 *     input: a batch of records
 *
 * Either it does not open, with one line that says so, or what it holds keeps the rules: what is spent stays spent, what was
 * under way is in doubt, a budget gives no more than is left of it. */
#include "tests/fuzz/input.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "merchant/proxy_receipts.h"
#include "store/memory_journal.h"
#include "store/store.h"

#define NOW 1000u

static const uint8_t *journal_bytes;
static size_t journal_length;

enum store_error __wrap_store_open(const struct store_options *options, struct journal **out, char *message,
                                   size_t message_size);

static bool take_none(void *context, const struct record *record)
{
    (void)context;
    (void)record;
    return true;
}

/* In place of the disk. */
enum store_error __wrap_store_open(const struct store_options *options, struct journal **out, char *message,
                                   size_t message_size)
{
    (void)options;
    (void)message;
    (void)message_size;
    *out = memory_journal_create();
    ensure(journal_recover(*out, take_none, NULL));
    memory_journal_crash(*out, journal_append(*out, journal_bytes, journal_length));
    return STORE_OK;
}

static bool is_whole(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    struct record record;
    bool any = false;
    while (record_next(&reader, &record)) {
        if (record_is_archive(&record))
            return false;
        any = true;
    }
    return reader.ok && any;
}

static void try_receipt(struct receipts *receipts, const struct hash *id)
{
    struct ticket ticket = {.kind = TICKET_REQUEST, .units = 5, .expiry = NOW, .secret_hash = *id};
    enum payment_error error = receipts_spend(receipts, &ticket, NOW);
    ensure(error == PAYMENT_OK || error == PAYMENT_SPENT || error == PAYMENT_IN_DOUBT ||
           error == PAYMENT_RETURNS || error == PAYMENT_UNDER_WAY);
    if (error != PAYMENT_OK) {
        ensure(receipts_spend(receipts, &ticket, NOW) == error);
        return;
    }
    ensure(receipts_spend(receipts, &ticket, NOW) == PAYMENT_UNDER_WAY);
    if (receipts_return(receipts, id))
        ensure(receipts_spend(receipts, &ticket, NOW) == PAYMENT_OK);
    else
        return;
    receipts_served(receipts, id);
    error = receipts_spend(receipts, &ticket, NOW);
    ensure(error == PAYMENT_SPENT || error == PAYMENT_RETURNS);
}

static void try_budget(struct receipts *receipts, const struct hash *id)
{
    struct ticket ticket = {.kind = TICKET_BUDGET, .units = 5, .expiry = NOW, .secret_hash = *id};
    uint64_t left, before = receipts_left(receipts, id);
    if (before == UINT64_MAX)
        return;
    enum payment_error error = receipts_charge(receipts, &ticket, before + 1, NOW, &left);
    ensure(error == PAYMENT_BUDGET || before < ticket.units);
    before = receipts_left(receipts, id);
    if (before == 0)
        return;
    ensure(receipts_charge(receipts, &ticket, 1, NOW, &left) == PAYMENT_OK && left == before - 1);
    receipts_credit(receipts, id, 1);
    ensure(receipts_left(receipts, id) == before && receipts_charge_more(receipts, id, before));
    ensure(receipts_left(receipts, id) == 0 && !receipts_charge_more(receipts, id, 1));
}

/* Each key of the input, whatever its record was. */
static void try_all(struct receipts *receipts, const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    struct record record;
    struct hash id;
    while (record_next(&reader, &record)) {
        if (record.key_length != sizeof(id))
            continue;
        memcpy(&id, record.key, sizeof(id));
        try_receipt(receipts, &id);
        try_budget(receipts, &id);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char message[300] = "", text[TICKET_TEXT_SIZE];
    struct ticket ticket = {.kind = TICKET_BUDGET, .units = 7, .expiry = 9}, read;
    if (!is_whole(data, size))
        return 0; /* the journal's own business: tests/store has it */
    journal_bytes = data;
    journal_length = size;
    struct event_base *base = event_base_new();
    struct receipts *receipts = receipts_open(base, "", message, sizeof(message));
    if (receipts == NULL) {
        ensure(message[0] != '\0' && strchr(message, '\n') == NULL);
    } else {
        ticket_write(receipts, &ticket, text);
        ensure(ticket_read(receipts, text, strlen(text), &read) && read.units == ticket.units);
        try_all(receipts, data, size);
        receipts_close(receipts);
    }
    event_base_free(base);
    return 0;
}
