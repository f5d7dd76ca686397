#include "base/record.h"

#include "base/ensure.h"

#define RECORD_GONE 0xffffffffu

size_t record_begin(struct buffer *batch, uint8_t type, const void *key, size_t key_length)
{
    ensure(key_length <= RECORD_KEY_MAX);
    size_t mark = batch->length;
    buffer_u8(batch, type);
    buffer_u8(batch, (uint8_t)key_length);
    buffer_u32(batch, 0);
    buffer_append(batch, key, key_length);
    return mark;
}

void record_end(struct buffer *batch, size_t mark)
{
    size_t header = RECORD_HEADER_BYTES + (size_t)batch->data[mark + 1];
    size_t value_length = batch->length - mark - header;
    ensure(value_length < RECORD_GONE);
    store_be32(batch->data + mark + 2, (uint32_t)value_length);
}

void record_put(struct buffer *batch, uint8_t type, const void *key, size_t key_length, const void *value,
                size_t value_length)
{
    size_t mark = record_begin(batch, type, key, key_length);
    buffer_append(batch, value, value_length);
    record_end(batch, mark);
}

void record_gone(struct buffer *batch, uint8_t type, const void *key, size_t key_length)
{
    size_t mark = record_begin(batch, type, key, key_length);
    store_be32(batch->data + mark + 2, RECORD_GONE);
}

bool record_next(struct reader *batch, struct record *out)
{
    if (batch->left == 0)
        return false;
    out->type = reader_u8(batch);
    out->key_length = reader_u8(batch);
    uint32_t value_length = reader_u32(batch);
    out->gone = value_length == RECORD_GONE;
    out->value_length = out->gone ? 0 : value_length;
    out->key = reader_take(batch, out->key_length);
    out->value = reader_take(batch, out->value_length);
    return batch->ok;
}

struct record record_at(const uint8_t *bytes)
{
    uint32_t value_length = load_be32(bytes + 2);
    struct record record = {.type = bytes[0],
                            .key_length = bytes[1],
                            .gone = value_length == RECORD_GONE,
                            .key = bytes + RECORD_HEADER_BYTES};
    record.value = record.key + record.key_length;
    record.value_length = record.gone ? 0 : value_length;
    return record;
}
