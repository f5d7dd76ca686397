/* A growing byte buffer, and a reader over bytes that cannot run past its end. */
#ifndef RILL_BASE_BUFFER_H
#define RILL_BASE_BUFFER_H

#include "base/bytes.h"

/* Zero-initialised is empty. Memory grows by doubling and is kept by buffer_clear. */
struct buffer {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

void buffer_free(struct buffer *buffer);
static inline void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
}
/* buffer_extend where there is no room. */
uint8_t *buffer_grow(struct buffer *buffer, size_t length);
/* Returns where `length` new bytes begin; valid until the buffer next grows. */
static inline uint8_t *buffer_extend(struct buffer *buffer, size_t length)
{
    if (buffer->data == NULL || length > buffer->capacity - buffer->length)
        return buffer_grow(buffer, length);
    uint8_t *at = buffer->data + buffer->length;
    buffer->length += length;
    return at;
}
static inline void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length > 0)
        memcpy(buffer_extend(buffer, length), data, length);
}
static inline void buffer_u8(struct buffer *buffer, uint8_t value)
{
    *buffer_extend(buffer, 1) = value;
}
static inline void buffer_u16(struct buffer *buffer, uint16_t value)
{
    store_be16(buffer_extend(buffer, 2), value);
}
static inline void buffer_u32(struct buffer *buffer, uint32_t value)
{
    store_be32(buffer_extend(buffer, 4), value);
}
static inline void buffer_u64(struct buffer *buffer, uint64_t value)
{
    store_be64(buffer_extend(buffer, 8), value);
}
void buffer_varint(struct buffer *buffer, uint64_t value); /* 7 bits a byte, lowest first: small is short */
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3); /* no NUL is added */

/* Reads big-endian values; after the first that does not fit, `ok` is false and every read gives zeros. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool ok;
};

static inline struct reader reader_of(const void *data, size_t length)
{
    return (struct reader){data, length, true};
}
/* Returns `length` bytes inside the source, or NULL. */
static inline const uint8_t *reader_take(struct reader *reader, size_t length)
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
static inline void reader_copy(struct reader *reader, void *out, size_t length)
{
    const uint8_t *at = reader_take(reader, length);
    if (at != NULL)
        memcpy(out, at, length);
    else
        memset(out, 0, length);
}
static inline uint8_t reader_u8(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 1);
    return at == NULL ? 0 : *at;
}
static inline uint16_t reader_u16(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 2);
    return at == NULL ? 0 : load_be16(at);
}
static inline uint32_t reader_u32(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 4);
    return at == NULL ? 0 : load_be32(at);
}
static inline uint64_t reader_u64(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 8);
    return at == NULL ? 0 : load_be64(at);
}
uint64_t reader_varint(struct reader *reader); /* only the shortest form is good */
/* All read, nothing left over, no read failed. */
static inline bool reader_done(const struct reader *reader)
{
    return reader->ok && reader->left == 0;
}

#endif
