#include "base/record.h"

#include "base/ensure.h"

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

static void set_length(struct buffer *batch, size_t mark, uint32_t flag)
{
    size_t header = RECORD_HEADER_BYTES + (size_t)batch->data[mark + 1];
    size_t value_length = batch->length - mark - header;
    ensure(value_length < RECORD_FIRST);
    store_be32(batch->data + mark + 2, (uint32_t)value_length | flag);
}

void record_end(struct buffer *batch, size_t mark)
{
    set_length(batch, mark, 0);
}

void record_end_first(struct buffer *batch, size_t mark)
{
    set_length(batch, mark, RECORD_FIRST);
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
