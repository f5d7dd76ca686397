#include "ledger/abi.h"

#include <string.h>

#include "base/ensure.h"

void abi_put_uint256(struct buffer *out, struct uint256 value)
{
    uint256_store(buffer_extend(out, ABI_WORD), value);
}

void abi_put_wide(struct buffer *out, unsigned_wide value)
{
    abi_put_uint256(out, uint256_of(value));
}

void abi_put_int64(struct buffer *out, int64_t value)
{
    uint8_t *word = buffer_extend(out, ABI_WORD);
    memset(word, value < 0 ? 0xff : 0, ABI_WORD - 8);
    store_be64(word + ABI_WORD - 8, (uint64_t)value);
}

void abi_put_bool(struct buffer *out, bool value)
{
    abi_put_wide(out, value ? 1 : 0);
}

void abi_put_address(struct buffer *out, const struct address *address)
{
    uint8_t *word = buffer_extend(out, ABI_WORD);
    memset(word, 0, ABI_WORD - sizeof(address->bytes));
    memcpy(word + ABI_WORD - sizeof(address->bytes), address->bytes, sizeof(address->bytes));
}

void abi_put_hash(struct buffer *out, const struct hash *hash)
{
    buffer_append(out, hash->bytes, sizeof(hash->bytes));
}

void abi_put_signature(struct buffer *out, const struct signature *signature)
{
    buffer_append(out, signature->bytes, sizeof(signature->bytes));
}

void abi_put_bytes(struct buffer *out, const void *data, size_t length)
{
    abi_put_wide(out, length);
    size_t padded = abi_bytes_size(length) - ABI_WORD;
    uint8_t *at = buffer_extend(out, padded);
    memset(at, 0, padded);
    if (length > 0)
        memcpy(at, data, length);
}

struct abi_reader abi_reader_of(const void *data, size_t length, size_t head)
{
    return (struct abi_reader){data, length, 0, length >= head};
}

static const uint8_t *next_word(struct abi_reader *reader)
{
    static const uint8_t zero[ABI_WORD];
    if (!reader->ok || reader->length - reader->at < ABI_WORD) {
        reader->ok = false;
        return zero;
    }
    const uint8_t *word = reader->start + reader->at;
    reader->at += ABI_WORD;
    return word;
}

/* The last `width` bytes of the next word; those before must all equal `padding`. */
static const uint8_t *next_padded(struct abi_reader *reader, size_t width)
{
    static const uint8_t zero[ABI_WORD];
    const uint8_t *word = next_word(reader);
    for (size_t i = 0; i < ABI_WORD - width; i++)
        if (word[i] != 0)
            reader->ok = false;
    return reader->ok ? word + ABI_WORD - width : zero;
}

struct uint256 abi_uint256(struct abi_reader *reader)
{
    return uint256_load(next_word(reader));
}

unsigned_wide abi_wide(struct abi_reader *reader)
{
    return wide_load(next_padded(reader, 16));
}

uint64_t abi_u64(struct abi_reader *reader)
{
    return load_be64(next_padded(reader, 8));
}

uint32_t abi_u32(struct abi_reader *reader)
{
    return load_be32(next_padded(reader, 4));
}

uint8_t abi_u8(struct abi_reader *reader)
{
    return *next_padded(reader, 1);
}

int64_t abi_int64(struct abi_reader *reader)
{
    const uint8_t *word = next_word(reader);
    const uint8_t *number = word + ABI_WORD - 8;
    uint8_t sign = number[0] & 0x80 ? 0xff : 0;
    for (size_t i = 0; i < ABI_WORD - 8; i++)
        if (word[i] != sign)
            reader->ok = false;
    return reader->ok ? (int64_t)load_be64(number) : 0;
}

bool abi_bool(struct abi_reader *reader)
{
    uint8_t value = abi_u8(reader);
    if (value > 1)
        reader->ok = false;
    return value == 1;
}

struct amount abi_amount(struct abi_reader *reader)
{
    return amount_of(abi_u64(reader));
}

struct address abi_address(struct abi_reader *reader)
{
    struct address address;
    memcpy(address.bytes, next_padded(reader, sizeof(address.bytes)), sizeof(address.bytes));
    return address;
}

struct hash abi_hash(struct abi_reader *reader)
{
    struct hash hash;
    memcpy(hash.bytes, next_word(reader), sizeof(hash.bytes));
    return hash;
}

struct signature abi_signature(struct abi_reader *reader)
{
    struct signature signature;
    memcpy(signature.bytes, next_word(reader), ABI_WORD);
    memcpy(signature.bytes + ABI_WORD, next_word(reader), ABI_WORD);
    return signature;
}

/* Follows an offset to where a length stands. Returns a reader after that length, `*count` the length; at
 * most what is left in the data divided by `stride`. */
static struct abi_reader follow_offset(struct abi_reader *reader, size_t stride, size_t *count)
{
    *count = 0;
    uint64_t offset = abi_u64(reader);
    if (!reader->ok || offset > reader->length || reader->length - offset < ABI_WORD) {
        reader->ok = false;
        return (struct abi_reader){reader->start, 0, 0, false};
    }
    struct abi_reader tail = {reader->start + offset, reader->length - (size_t)offset, 0, true};
    uint64_t length = abi_u64(&tail);
    if (!tail.ok || length > (tail.length - ABI_WORD) / stride) {
        reader->ok = false;
        return (struct abi_reader){reader->start, 0, 0, false};
    }
    *count = (size_t)length;
    return tail;
}

size_t abi_array(struct abi_reader *reader, size_t stride, struct abi_reader *out)
{
    ensure(stride >= ABI_WORD && stride % ABI_WORD == 0);
    size_t count;
    *out = follow_offset(reader, stride, &count);
    return count;
}

const uint8_t *abi_bytes(struct abi_reader *reader, size_t *length)
{
    struct abi_reader tail = follow_offset(reader, 1, length);
    return tail.ok ? tail.start + ABI_WORD : tail.start;
}
