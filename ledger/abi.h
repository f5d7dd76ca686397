/* The contract ABI's primitives: 32-byte words, written to a buffer and read strictly from bytes.
 *
 * The reader is what Solidity's decoder is: an integer out of its type's range, dirty padding, a bool above
 * 1, data that ends too early or an offset or length that leads outside is malformed; bytes nobody points to
 * are allowed. Nothing is allocated here, and after the first malformed word `ok` is false and every read
 * gives zeros.
 */
#ifndef RILL_LEDGER_ABI_H
#define RILL_LEDGER_ABI_H

#include "base/buffer.h"
#include "base/payment.h"
#include "ledger/uint256.h"

#define ABI_WORD 32

/* Each appends one word. */
void abi_put_wide(struct buffer *out, unsigned_wide value);
void abi_put_uint256(struct buffer *out, struct uint256 value);
void abi_put_int64(struct buffer *out, int64_t value);
void abi_put_bool(struct buffer *out, bool value);
void abi_put_address(struct buffer *out, const struct address *address);
void abi_put_hash(struct buffer *out, const struct hash *hash);
static inline void abi_put_u64(struct buffer *out, uint64_t value)
{
    abi_put_wide(out, value);
}
static inline void abi_put_amount(struct buffer *out, struct amount amount)
{
    abi_put_wide(out, amount.units);
}
/* r and vs: two words. */
void abi_put_signature(struct buffer *out, const struct signature *signature);
/* A dynamic string or bytes at its place in the tail: its length, then the bytes padded to whole words. */
void abi_put_bytes(struct buffer *out, const void *data, size_t length);
/* What abi_put_bytes writes, in bytes. */
static inline size_t abi_bytes_size(size_t length)
{
    return ABI_WORD + (length + ABI_WORD - 1) / ABI_WORD * ABI_WORD;
}

/* Reads the words of one tuple in order. Offsets in it count from its `start`. */
struct abi_reader {
    const uint8_t *start; /* of the tuple */
    size_t length;        /* from there to the end of all data */
    size_t at;            /* next word, from start */
    bool ok;
};

/* `head` is the tuple's static size in bytes: as in Solidity, data shorter than it is malformed at once. */
struct abi_reader abi_reader_of(const void *data, size_t length, size_t head);
struct uint256 abi_uint256(struct abi_reader *reader);
unsigned_wide abi_wide(struct abi_reader *reader); /* uint128 */
uint64_t abi_u64(struct abi_reader *reader);
uint32_t abi_u32(struct abi_reader *reader);
uint8_t abi_u8(struct abi_reader *reader);
int64_t abi_int64(struct abi_reader *reader);
bool abi_bool(struct abi_reader *reader);
struct amount abi_amount(struct abi_reader *reader);
struct address abi_address(struct abi_reader *reader);
struct hash abi_hash(struct abi_reader *reader);
struct signature abi_signature(struct abi_reader *reader);
/* Reads the offset of a dynamic array whose elements are static and take `stride` bytes each. *out reads the
 * elements one after another. Returns their number: all of them lie inside the data. */
size_t abi_array(struct abi_reader *reader, size_t stride, struct abi_reader *out);
/* Reads the offset of a string or bytes. Returns where it lies inside the data (never NULL while ok). */
const uint8_t *abi_bytes(struct abi_reader *reader, size_t *length);

#endif
