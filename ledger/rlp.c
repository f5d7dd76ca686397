#include "ledger/rlp.h"

#include <string.h>

#include "ledger/uint256.h"

/* First bytes of each kind (yellow paper, appendix B). */
enum { SHORT_BYTES = 0x80, LONG_BYTES = 0xb7, SHORT_LIST = 0xc0, LONG_LIST = 0xf7, SHORT_MAX = 55 };

/* Writes the header for `length` bytes of payload to out (room for 9). Returns its size. */
static size_t header_write(uint8_t *out, uint8_t short_base, uint8_t long_base, size_t length)
{
    if (length <= SHORT_MAX) {
        out[0] = (uint8_t)(short_base + length);
        return 1;
    }
    uint8_t number[8];
    store_be64(number, length);
    size_t skip = 0;
    while (number[skip] == 0)
        skip++;
    out[0] = (uint8_t)(long_base + 8 - skip);
    memcpy(out + 1, number + skip, 8 - skip);
    return 1 + 8 - skip;
}

void rlp_put_bytes(struct buffer *out, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    if (length != 1 || bytes[0] >= SHORT_BYTES) {
        uint8_t header[9];
        buffer_append(out, header, header_write(header, SHORT_BYTES, LONG_BYTES, length));
    }
    if (length > 0)
        buffer_append(out, data, length);
}

void rlp_put_number(struct buffer *out, const uint8_t *big_endian, size_t length)
{
    while (length > 0 && *big_endian == 0) {
        big_endian++;
        length--;
    }
    rlp_put_bytes(out, big_endian, length);
}

void rlp_put_wide(struct buffer *out, unsigned_wide value)
{
    uint8_t number[16];
    wide_store(number, value);
    rlp_put_number(out, number, sizeof(number));
}

size_t rlp_list_begin(struct buffer *out)
{
    return out->length;
}

void rlp_list_end(struct buffer *out, size_t mark)
{
    uint8_t header[9];
    size_t payload = out->length - mark;
    size_t size = header_write(header, SHORT_LIST, LONG_LIST, payload);
    buffer_extend(out, size);
    memmove(out->data + mark + size, out->data + mark, payload);
    memcpy(out->data + mark, header, size);
}

struct rlp_reader rlp_reader_of(const void *data, size_t length)
{
    return (struct rlp_reader){data, length, true};
}

static const uint8_t *fail(struct rlp_reader *reader, size_t *length)
{
    reader->ok = false;
    *length = 0;
    return NULL;
}

/* Takes a header whose first byte is in the range that begins at short_base, and its payload. */
static const uint8_t *take(struct rlp_reader *reader, uint8_t short_base, uint8_t long_base, size_t *length)
{
    uint8_t first = *reader->at++;
    reader->left--;
    uint64_t size = (uint64_t)(first - short_base);
    if (first > long_base) {
        size_t width = (size_t)(first - long_base);
        if (reader->left < width || reader->at[0] == 0)
            return fail(reader, length);
        size = 0;
        for (size_t i = 0; i < width; i++)
            size = size << 8 | reader->at[i];
        reader->at += width;
        reader->left -= width;
        if (size <= SHORT_MAX)
            return fail(reader, length);
    }
    if (size > reader->left)
        return fail(reader, length);
    const uint8_t *payload = reader->at;
    reader->at += size;
    reader->left -= (size_t)size;
    *length = (size_t)size;
    return payload;
}

const uint8_t *rlp_bytes(struct rlp_reader *reader, size_t *length)
{
    if (!reader->ok || reader->left == 0 || reader->at[0] >= SHORT_LIST)
        return fail(reader, length);
    if (reader->at[0] < SHORT_BYTES) {
        *length = 1;
        reader->left--;
        return reader->at++;
    }
    const uint8_t *payload = take(reader, SHORT_BYTES, LONG_BYTES, length);
    if (payload != NULL && *length == 1 && payload[0] < SHORT_BYTES)
        return fail(reader, length); /* a small byte stands for itself */
    return payload;
}

struct rlp_reader rlp_list(struct rlp_reader *reader)
{
    size_t length;
    if (!reader->ok || reader->left == 0 || reader->at[0] < SHORT_LIST) {
        reader->ok = false;
        return (struct rlp_reader){NULL, 0, false};
    }
    const uint8_t *payload = take(reader, SHORT_LIST, LONG_LIST, &length);
    return (struct rlp_reader){payload, length, payload != NULL};
}

void rlp_fixed(struct rlp_reader *reader, void *out, size_t length)
{
    size_t got;
    const uint8_t *bytes = rlp_bytes(reader, &got);
    if (bytes == NULL || got != length) {
        reader->ok = false;
        memset(out, 0, length);
        return;
    }
    memcpy(out, bytes, length);
}

void rlp_number(struct rlp_reader *reader, uint8_t *out, size_t length)
{
    size_t got;
    memset(out, 0, length);
    const uint8_t *bytes = rlp_bytes(reader, &got);
    if (bytes == NULL || got > length || (got > 0 && bytes[0] == 0)) {
        reader->ok = false;
        return;
    }
    memcpy(out + length - got, bytes, got);
}

unsigned_wide rlp_wide(struct rlp_reader *reader)
{
    uint8_t number[16];
    rlp_number(reader, number, sizeof(number));
    return wide_load(number);
}

uint64_t rlp_u64(struct rlp_reader *reader)
{
    uint8_t number[8];
    rlp_number(reader, number, sizeof(number));
    return load_be64(number);
}

bool rlp_done(const struct rlp_reader *reader)
{
    return reader->ok && reader->left == 0;
}
