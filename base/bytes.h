/* Fixed-size byte strings of the protocol (section 2), hexadecimal, and integers in network order.
 *
 * Each kind of byte string is a struct of its own, so that the compiler tells an address from a payment id.
 */
#ifndef RILL_BASE_BYTES_H
#define RILL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A result that must be looked at. */
#define MUST_USE                 __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#define ARRAY_LENGTH(array)      (sizeof(array) / sizeof((array)[0]))

struct hash {
    uint8_t bytes[32];
};
struct address {
    uint8_t bytes[20];
};
/* EIP-2098: r (32 bytes), then yParity in the top bit of s. */
struct signature {
    uint8_t bytes[64];
};
struct payment_id {
    uint8_t bytes[16];
};

/* All bytes zero: the empty Merkle root, the native coin, "nobody". */
extern const struct hash HASH_ZERO;
extern const struct address ADDRESS_ZERO;
extern const struct payment_id PAYMENT_ID_ZERO;

/* These, and all that records and messages are read and written with, are inline: a payment takes hundreds of them. */
static inline bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
static inline bool address_equal(const struct address *a, const struct address *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
static inline bool payment_id_equal(const struct payment_id *a, const struct payment_id *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
static inline bool signature_equal(const struct signature *a, const struct signature *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
bool hash_is_zero(const struct hash *hash);
bool address_is_zero(const struct address *address);
bool payment_id_is_zero(const struct payment_id *id);
/* Byte order: <0, 0, >0, like memcmp. */
int hash_compare(const struct hash *a, const struct hash *b);

/* Compares secrets: the time taken depends on length only. */
bool bytes_equal_constant_time(const void *a, const void *b, size_t length);
/* Clears a secret; the compiler may not leave it out. */
void bytes_wipe(void *data, size_t length);

/* Integers in network (big-endian) order. */
static inline void store_be16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}
static inline void store_be32(uint8_t *out, uint32_t value)
{
    store_be16(out, (uint16_t)(value >> 16));
    store_be16(out + 2, (uint16_t)value);
}
static inline void store_be64(uint8_t *out, uint64_t value)
{
    store_be32(out, (uint32_t)(value >> 32));
    store_be32(out + 4, (uint32_t)value);
}
static inline uint16_t load_be16(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}
static inline uint32_t load_be32(const uint8_t *in)
{
    return (uint32_t)load_be16(in) << 16 | load_be16(in + 2);
}
static inline uint64_t load_be64(const uint8_t *in)
{
    return (uint64_t)load_be32(in) << 32 | load_be32(in + 4);
}

/* Writes 2 * length lower-case digits and a NUL to out (room: 2 * length + 1). */
void hex_encode(const uint8_t *data, size_t length, char *out);
/* Reads exactly length bytes from text, "0x" optional, either case. Returns false, out untouched, on anything
 * else. */
bool hex_decode(const char *text, uint8_t *out, size_t length) MUST_USE;
/* The same for any length up to capacity; *length gets the number of bytes. */
bool hex_decode_any(const char *text, uint8_t *out, size_t capacity, size_t *length) MUST_USE;

/* "0x" and digits in a caller's buffer; returns the buffer, for use in a printf. */
#define HASH_TEXT_SIZE       (2 + 64 + 1)
#define ADDRESS_TEXT_SIZE    (2 + 40 + 1)
#define PAYMENT_ID_TEXT_SIZE (32 + 1)
const char *hash_text(const struct hash *hash, char out[HASH_TEXT_SIZE]);
const char *address_text(const struct address *address, char out[ADDRESS_TEXT_SIZE]);
/* Without "0x": what `rill history` shows and takes. */
const char *payment_id_text(const struct payment_id *id, char out[PAYMENT_ID_TEXT_SIZE]);

/* True if data is well-formed UTF-8 without NUL. */
bool utf8_is_valid(const uint8_t *data, size_t length);

#endif
