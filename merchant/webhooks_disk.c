/* The web hooks' records (docs/journal.md). On disk: do not renumber.
 *
 *     133 webhook   key: id 16                             created u64, events u32, cursor: time u64, number u64, secret,
 *                                                          url
 *     134 delivery  key: webhook 16, time u64, number u64  subject 16, admitted u64, next at u64, attempts u32, status
 *                                                          u32, dead u8
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/webhook_state.h"

#define DELIVERY_KEY_BYTES (16 + 8 + 8)

void webhook_write(struct shop *shop, const struct webhook *webhook)
{
    struct buffer *batch = &shop->batch;
    size_t mark = record_begin(batch, RECORD_WEBHOOK, webhook->id.bytes, sizeof(webhook->id.bytes));
    buffer_u64(batch, webhook->created);
    buffer_u32(batch, webhook->events);
    buffer_u64(batch, webhook->cursor.time);
    buffer_u64(batch, webhook->cursor.number);
    put_text(batch, webhook->secret);
    put_text(batch, webhook->url);
    record_end(batch, mark);
}

static void delivery_key(const struct webhook *webhook, const struct delivery *delivery,
                         uint8_t key[DELIVERY_KEY_BYTES])
{
    memcpy(key, webhook->id.bytes, sizeof(webhook->id.bytes));
    store_be64(key + 16, delivery->place.time);
    store_be64(key + 24, delivery->place.number);
}

void webhook_write_delivery(struct shop *shop, const struct webhook *webhook, const struct delivery *delivery)
{
    uint8_t key[DELIVERY_KEY_BYTES];
    struct buffer *batch = &shop->batch;
    delivery_key(webhook, delivery, key);
    size_t mark = record_begin(batch, RECORD_DELIVERY, key, sizeof(key));
    buffer_append(batch, delivery->subject.bytes, sizeof(delivery->subject.bytes));
    buffer_u64(batch, delivery->admitted);
    buffer_u64(batch, delivery->next_at);
    buffer_u32(batch, delivery->attempts);
    buffer_u32(batch, delivery->status);
    buffer_u8(batch, delivery->dead);
    record_end(batch, mark);
}

void webhook_write_delivery_gone(struct shop *shop, const struct webhook *webhook,
                                 const struct delivery *delivery)
{
    uint8_t key[DELIVERY_KEY_BYTES];
    delivery_key(webhook, delivery, key);
    record_gone(&shop->batch, RECORD_DELIVERY, key, sizeof(key));
}

static bool take_webhook(struct webhooks *webhooks, const struct record *record)
{
    struct object_id id;
    if (record->key_length != sizeof(id.bytes))
        return false;
    memcpy(id.bytes, record->key, sizeof(id.bytes));
    struct webhook *webhook = webhook_find(webhooks, &id);
    if (record->gone) {
        if (webhook != NULL)
            webhook_free(webhook);
        return true;
    }
    if (webhook == NULL)
        webhook = webhook_new(webhooks, &id);
    struct reader reader = reader_of(record->value, record->value_length);
    webhook->created = reader_u64(&reader);
    webhook->events = reader_u32(&reader);
    webhook->cursor.time = reader_u64(&reader);
    webhook->cursor.number = reader_u64(&reader);
    char *secret = take_text(&reader);
    free(webhook->url);
    webhook->url = take_text(&reader);
    bool good = reader_done(&reader) && secret != NULL && webhook->url != NULL &&
                strlen(secret) == WEBHOOK_SECRET_SIZE - 1;
    if (good)
        memcpy(webhook->secret, secret, WEBHOOK_SECRET_SIZE);
    free(secret);
    return good;
}

static bool take_delivery(struct webhooks *webhooks, const struct record *record)
{
    struct object_id id;
    struct delivery *before, read = {.dead = false};
    if (record->key_length != DELIVERY_KEY_BYTES)
        return false;
    memcpy(id.bytes, record->key, sizeof(id.bytes));
    read.place = (struct event_place){load_be64(record->key + 16), load_be64(record->key + 24)};
    struct webhook *webhook = webhook_find(webhooks, &id);
    if (webhook == NULL)
        return record->gone;
    HASH_FIND(hh, webhook->deliveries, &read.place.number, sizeof(read.place.number), before);
    if (before != NULL)
        webhook_drop_delivery(webhook, before);
    if (record->gone)
        return true;
    struct reader reader = reader_of(record->value, record->value_length);
    reader_copy(&reader, read.subject.bytes, sizeof(read.subject.bytes));
    read.admitted = reader_u64(&reader);
    read.next_at = reader_u64(&reader);
    read.attempts = reader_u32(&reader);
    read.status = reader_u32(&reader);
    uint8_t dead = reader_u8(&reader);
    read.dead = dead == 1;
    if (!reader_done(&reader) || dead > 1)
        return false;
    struct delivery *delivery = xcalloc(1, sizeof(*delivery));
    *delivery = read;
    webhook_put_delivery(webhook, delivery);
    return true;
}

bool webhooks_read(void *context, const struct record *record)
{
    if (record->type == RECORD_WEBHOOK)
        return take_webhook(context, record);
    return record->type == RECORD_DELIVERY && take_delivery(context, record);
}
