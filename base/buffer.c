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

uint8_t *buffer_grow(struct buffer *buffer, size_t length)
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
