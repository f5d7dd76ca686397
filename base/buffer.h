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
/* Returns where `length` new bytes begin; valid until the buffer next grows. */
uint8_t *buffer_extend(struct buffer *buffer, size_t length);
void buffer_append(struct buffer *buffer, const void *data, size_t length);
void buffer_u8(struct buffer *buffer, uint8_t value);
void buffer_u16(struct buffer *buffer, uint16_t value);
void buffer_u32(struct buffer *buffer, uint32_t value);
void buffer_u64(struct buffer *buffer, uint64_t value);
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
const uint8_t *reader_take(struct reader *reader, size_t length);
void reader_copy(struct reader *reader, void *out, size_t length);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
uint64_t reader_varint(struct reader *reader); /* only the shortest form is good */
/* All read, nothing left over, no read failed. */
bool reader_done(const struct reader *reader);

#endif
