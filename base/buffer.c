#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

uint8_t *buffer_extend(struct buffer *buffer, size_t length)
{
    ensure(length <= SIZE_MAX / 4 && buffer->length <= SIZE_MAX / 4);
    size_t need = buffer->length + length;
    if (need > buffer->capacity || buffer->data == NULL) {
        size_t capacity = buffer->capacity == 0 ? 256 : buffer->capacity;
        while (capacity < need)
            capacity *= 2;
        buffer->data = xrealloc(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    uint8_t *at = buffer->data + buffer->length;
    buffer->length = need;
    return at;
}

void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length > 0)
        memcpy(buffer_extend(buffer, length), data, length);
}

void buffer_u8(struct buffer *buffer, uint8_t value)
{
    *buffer_extend(buffer, 1) = value;
}

void buffer_u16(struct buffer *buffer, uint16_t value)
{
    store_be16(buffer_extend(buffer, 2), value);
}

void buffer_u32(struct buffer *buffer, uint32_t value)
{
    store_be32(buffer_extend(buffer, 4), value);
}

void buffer_u64(struct buffer *buffer, uint64_t value)
{
    store_be64(buffer_extend(buffer, 8), value);
}

void buffer_varint(struct buffer *buffer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buffer_u8(buffer, (uint8_t)(value | 0x80));
    buffer_u8(buffer, (uint8_t)value);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ensure(length >= 0);
    char *at = (char *)buffer_extend(buffer, (size_t)length + 1);
    vsnprintf(at, (size_t)length + 1, format, again);
    va_end(again);
    buffer->length--;
}

const uint8_t *reader_take(struct reader *reader, size_t length)
{
    if (!reader->ok || length > reader->left) {
        reader->ok = false;
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at += length;
    reader->left -= length;
    return at;
}

void reader_copy(struct reader *reader, void *out, size_t length)
{
    const uint8_t *at = reader_take(reader, length);
    if (at != NULL)
        memcpy(out, at, length);
    else
        memset(out, 0, length);
}

uint8_t reader_u8(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 1);
    return at == NULL ? 0 : *at;
}

uint16_t reader_u16(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 2);
    return at == NULL ? 0 : load_be16(at);
}

uint32_t reader_u32(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 4);
    return at == NULL ? 0 : load_be32(at);
}

uint64_t reader_u64(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 8);
    return at == NULL ? 0 : load_be64(at);
}

uint64_t reader_varint(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = reader_u8(reader);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            bool fits = shift < 63 || byte <= 1;
            reader->ok = reader->ok && fits && (byte > 0 || shift == 0);
            return reader->ok ? value : 0;
        }
    }
    reader->ok = false;
    return 0;
}

bool reader_done(const struct reader *reader)
{
    return reader->ok && reader->left == 0;
}
