/* Events: gathered with the records they belong to, kept in the archive, told once durable.
 *
 * Who reads them (streams, webhooks) holds a place and asks for what comes after it: the newest are in a ring in memory,
 * older ones are read from the disk. So a slow reader costs a place, whatever it has not read yet.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/amount.h"
#include "base/ensure.h"
#include "merchant/shop.h"

struct ring_entry {
    struct shop_event event;
    uint64_t sequence; /* of the batch it is in; 0: not committed yet */
    char *json;
};
struct event_ring {
    struct ring_entry entries[EVENT_RING];
    uint64_t first, end; /* counted from the start of the process */
};

#define TIME_END ((uint64_t)1 << 40) /* seconds: nothing is later */

static const uint8_t NO_OWNER[RECORD_OWNER_BYTES];

static const char *const type_names[EVENT_TYPES] = {
    "invoice.created",  "invoice.paid",     "invoice.expired", "invoice.cancelled",
    "payment.received", "payment.refunded", "payout.settled"};

const char *event_type_name(enum event_type type)
{
    return type_names[type];
}

unsigned event_type_of(const char *name)
{
    unsigned type = 0;
    while (type < EVENT_TYPES && strcmp(type_names[type], name) != 0)
        type++;
    return type;
}

int event_place_compare(const struct event_place *a, const struct event_place *b)
{
    return (a->number > b->number) - (a->number < b->number);
}

const char *event_text(const struct event_place *place, char out[EVENT_TEXT_SIZE])
{
    snprintf(out, EVENT_TEXT_SIZE, "%" PRIu64 "-%" PRIu64, place->time, place->number);
    return out;
}

bool event_parse(const char *text, struct event_place *out)
{
    char copy[EVENT_TEXT_SIZE];
    struct amount time, number;
    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
        return false;
    char *dash = strchr(copy, '-');
    if (dash == NULL)
        return false;
    *dash = '\0';
    if (!amount_parse(copy, 0, &time) || !amount_parse(dash + 1, 0, &number))
        return false;
    *out = (struct event_place){time.units, number.units};
    return true;
}

/* ---- gathering ---- */

static struct ring_entry *ring_at(struct event_ring *ring, uint64_t index)
{
    return &ring->entries[index % EVENT_RING];
}

static void ring_drop_first(struct event_ring *ring)
{
    free(ring_at(ring, ring->first)->json);
    ring->first++;
}

static void write_event(struct shop *shop, const struct shop_event *event)
{
    uint8_t key[RECORD_ARCHIVE_KEY_MIN + 8];
    memcpy(key, NO_OWNER, sizeof(NO_OWNER));
    store_be64(key + RECORD_OWNER_BYTES, event->place.time);
    store_be64(key + RECORD_ARCHIVE_KEY_MIN, event->place.number);
    size_t mark = record_begin(&shop->archive, RECORD_EVENT, key, sizeof(key));
    buffer_u8(&shop->archive, (uint8_t)event->type);
    buffer_append(&shop->archive, event->subject.bytes, sizeof(event->subject.bytes));
    buffer_append(&shop->archive, event->json, event->length);
    record_end(&shop->archive, mark);
}

void shop_event(struct shop *shop, enum event_type type, const struct object_id *subject, const char *member,
                json_t *object)
{
    char id[EVENT_TEXT_SIZE];
    shop->last = (struct event_place){shop_now(shop), shop->last.number + 1};
    json_t *whole = json_pack("{s:s, s:s, s:I, s:o}", "id", event_text(&shop->last, id), "type",
                              event_type_name(type), "created", (json_int_t)shop->last.time, member, object);
    ensure(whole != NULL);
    char *text = json_dumps(whole, JSON_COMPACT | JSON_PRESERVE_ORDER);
    ensure(text != NULL);
    json_decref(whole);
    if (shop->ring == NULL)
        shop->ring = xcalloc(1, sizeof(*shop->ring));
    if (shop->ring->end - shop->ring->first == EVENT_RING)
        ring_drop_first(shop->ring);
    struct ring_entry *entry = ring_at(shop->ring, shop->ring->end++);
    *entry = (struct ring_entry){.event = {.place = shop->last,
                                           .type = type,
                                           .subject = *subject,
                                           .json = text,
                                           .length = strlen(text)},
                                 .json = text};
    write_event(shop, &entry->event);
    shop_write_meta(shop);
}

void shop_events_free(struct shop *shop)
{
    if (shop->ring == NULL)
        return;
    while (shop->ring->first < shop->ring->end)
        ring_drop_first(shop->ring);
    free(shop->ring);
    shop->ring = NULL;
}

/* ---- telling ---- */

void shop_events_committed(struct shop *shop)
{
    struct event_ring *ring = shop->ring;
    for (uint64_t i = ring != NULL ? ring->end : 0; ring != NULL && i > ring->first; i--) {
        struct ring_entry *entry = ring_at(ring, i - 1);
        if (entry->sequence != 0)
            return;
        entry->sequence = shop->appended;
    }
}

void shop_events_durable(struct shop *shop, uint64_t durable)
{
    struct event_ring *ring = shop->ring;
    for (uint64_t i = ring != NULL ? ring->end : 0; ring != NULL && i > ring->first; i--) {
        const struct ring_entry *entry = ring_at(ring, i - 1);
        if (entry->sequence == 0 || entry->sequence > durable)
            continue;
        shop->published = entry->event.place;
        return;
    }
}

struct disk_visit {
    const struct shop *shop;
    shop_visit *visit;
    void *context;
    bool damaged, stopped;
};

static bool visit_record(void *context, const struct record *record)
{
    struct disk_visit *disk = context;
    if (record->key_length != RECORD_ARCHIVE_KEY_MIN + 8 || record->value_length < 17 ||
        record->value[0] >= EVENT_TYPES) {
        disk->damaged = true;
        return false;
    }
    struct shop_event event = {.place = {load_be64(record->key + RECORD_OWNER_BYTES),
                                         load_be64(record->key + RECORD_ARCHIVE_KEY_MIN)},
                               .type = (enum event_type)record->value[0],
                               .json = (const char *)record->value + 17,
                               .length = record->value_length - 17};
    memcpy(event.subject.bytes, record->value + 1, sizeof(event.subject.bytes));
    if (event_place_compare(&event.place, &disk->shop->published) > 0)
        return false;
    disk->stopped = !disk->visit(disk->context, &event);
    return !disk->stopped;
}

static bool read_from_disk(const struct shop *shop, const struct event_place *place, shop_visit *visit,
                           void *context)
{
    uint8_t after[RECORD_ARCHIVE_KEY_MIN + 8] = {0};
    struct disk_visit disk = {.shop = shop, .visit = visit, .context = context};
    struct archive_query query = {.type = RECORD_EVENT,
                                  .since = place->time,
                                  .until = TIME_END,
                                  .after = after,
                                  .after_length = sizeof(after)};
    store_be64(after + RECORD_OWNER_BYTES, place->time);
    store_be64(after + RECORD_ARCHIVE_KEY_MIN, place->number);
    return journal_archive_read(shop->journal, &query, visit_record, &disk) && !disk.damaged;
}

struct event_place shop_event_place_of(const struct shop_invoice *invoice, const struct event_place *known)
{
    /* The number as well: events of that very second have higher ones than 0. */
    return known->time >= invoice->created ? *known : (struct event_place){invoice->created, 0};
}

bool shop_events_after(const struct shop *shop, const struct event_place *place, shop_visit *visit,
                       void *context)
{
    struct event_ring *ring = shop->ring;
    if (event_place_compare(place, &shop->published) >= 0)
        return true;
    if (ring == NULL || ring->first == ring->end ||
        ring_at(ring, ring->first)->event.place.number > place->number + 1)
        return read_from_disk(shop, place, visit, context);
    for (uint64_t i = ring->first; i < ring->end; i++) {
        const struct shop_event *event = &ring_at(ring, i)->event;
        if (event_place_compare(&event->place, &shop->published) > 0)
            break;
        bool after = event_place_compare(&event->place, place) > 0 && event->place.time >= place->time;
        if (after && !visit(context, event))
            break;
    }
    return true;
}
