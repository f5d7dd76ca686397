/* First results of requests with an Idempotency-Key, for a day, so that a repeated request does nothing a second time.
 *
 *     135 answer   key: name 32     request 32, created u64, status u16, body u32 and bytes
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/shop.h"

static struct answer *find(const struct shop *shop, const void *name)
{
    struct answer *answer;
    HASH_FIND(hh, shop->answers, name, sizeof(struct hash), answer);
    return answer;
}

const struct answer *shop_answer_find(const struct shop *shop, const struct hash *name)
{
    return find(shop, name);
}

static size_t bytes_of(const char *body)
{
    return sizeof(struct answer) + strlen(body) + 1;
}

bool shop_answer_fits(const struct shop *shop, size_t bytes)
{
    return shop->answer_bytes + sizeof(struct answer) + bytes <= IDEMPOTENCY_BYTES_MAX;
}

static void forget(struct shop *shop, struct answer *answer)
{
    shop->answer_bytes -= bytes_of(answer->body);
    HASH_DEL(shop->answers, answer);
    free(answer->body);
    free(answer);
}

static void take(struct shop *shop, struct answer *answer)
{
    struct answer *before = find(shop, &answer->name);
    if (before != NULL)
        forget(shop, before);
    HASH_ADD(hh, shop->answers, name, sizeof(answer->name), answer);
    shop->answer_bytes += bytes_of(answer->body);
}

void shop_answer_keep(struct shop *shop, const struct hash *name, const struct hash *request, uint16_t status,
                      const char *body)
{
    struct answer *answer = xcalloc(1, sizeof(*answer));
    *answer = (struct answer){.name = *name,
                              .request = *request,
                              .created = shop_now(shop),
                              .status = status,
                              .body = xstrdup(body)};
    take(shop, answer);
    struct buffer *batch = &shop->batch;
    size_t mark = record_begin(batch, RECORD_ANSWER, name->bytes, sizeof(name->bytes));
    buffer_append(batch, request->bytes, sizeof(request->bytes));
    buffer_u64(batch, answer->created);
    buffer_u16(batch, status);
    buffer_u32(batch, (uint32_t)strlen(body));
    buffer_append(batch, body, strlen(body));
    record_end(batch, mark);
}

bool shop_answer_read(struct shop *shop, const struct record *record)
{
    if (record->key_length != sizeof(struct hash))
        return false;
    if (record->gone) {
        struct answer *answer = find(shop, record->key);
        if (answer != NULL)
            forget(shop, answer);
        return true;
    }
    struct reader reader = reader_of(record->value, record->value_length);
    struct answer *answer = xcalloc(1, sizeof(*answer));
    memcpy(answer->name.bytes, record->key, sizeof(answer->name.bytes));
    reader_copy(&reader, answer->request.bytes, sizeof(answer->request.bytes));
    answer->created = reader_u64(&reader);
    answer->status = reader_u16(&reader);
    uint32_t length = reader_u32(&reader);
    const uint8_t *body = reader_take(&reader, length);
    if (body == NULL || !reader_done(&reader)) {
        free(answer);
        return false;
    }
    answer->body = xcalloc(1, (size_t)length + 1);
    memcpy(answer->body, body, length);
    take(shop, answer);
    return true;
}

void shop_answers_prune(struct shop *shop, uint64_t now)
{
    struct answer *answer, *next;
    HASH_ITER(hh, shop->answers, answer, next)
    {
        if (answer->created + IDEMPOTENCY_KEPT_S > now)
            return;
        record_gone(&shop->batch, RECORD_ANSWER, answer->name.bytes, sizeof(answer->name.bytes));
        forget(shop, answer);
    }
}

static int by_time(const struct answer *a, const struct answer *b)
{
    return (a->created > b->created) - (a->created < b->created);
}

/* A checkpoint shows them by name. */
void shop_answers_sort(struct shop *shop)
{
    HASH_SORT(shop->answers, by_time);
}

void shop_answers_free(struct shop *shop)
{
    struct answer *answer, *next;
    HASH_ITER(hh, shop->answers, answer, next)
    {
        forget(shop, answer);
    }
}
