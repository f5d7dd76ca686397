/* RFC 4648 base32, upper case, without padding. Private to wire/. */
#ifndef RILL_WIRE_BASE32_H
#define RILL_WIRE_BASE32_H

#include "base/bytes.h"

/* Characters that `length` bytes become. */
static inline size_t base32_length(size_t length)
{
    return (length * 8 + 4) / 5;
}
/* Writes base32_length(length) characters and a NUL. */
void base32_encode(const uint8_t *data, size_t length, char *out);
/* Reads NUL-terminated text into out (room: capacity). Returns false for a character outside the alphabet, a
 * length that no bytes have, stray bits at the end that are not zero, or more bytes than there is room for.
 */
bool base32_decode(const char *text, uint8_t *out, size_t capacity, size_t *length) MUST_USE;

#endif
