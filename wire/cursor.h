/* A strict reader over MessagePack bytes that someone else wrote. Private to wire/.
 *
 * Why not msgpack-c's unpacker: it builds a tree of objects before anything can be judged, and reserves 24
 * bytes for each element that an array header merely claims (five bytes of input can ask for 100 GB); its
 * depth limit is its own, and it allocates for every message. This reader allocates nothing, looks at each
 * byte once, refuses what the protocol refuses (nil, float, ext, depth > 4) where it stands, and hands out
 * pointers into the frame. Writing is msgpack-c's.
 *
 * After the first error `why` says what it was (static text), nothing is left to read, and every read gives
 * zeros: a decoder reads all its fields and looks at `why` once.
 *
 * The inline functions know the one form that a field nearly always has; all others, and all errors, are the
 * business of the functions named …_any.
 */
#ifndef RILL_WIRE_CURSOR_H
#define RILL_WIRE_CURSOR_H

#include <string.h>

#include "base/payment.h"

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    unsigned depth; /* arrays and maps that are open */
    const char *why;
};

static inline struct cursor cursor_of(const uint8_t *data, size_t length)
{
    return (struct cursor){.at = data, .end = data + length};
}

/* Notes an error (the first one stays) and gives up the rest. */
void cursor_fail(struct cursor *cursor, const char *why);
/* True if everything was read, nothing failed and no bytes follow. */
bool cursor_finish(struct cursor *cursor);

static inline size_t cursor_left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

uint64_t cursor_uint_any(struct cursor *cursor, uint64_t max);
void cursor_bytes_any(struct cursor *cursor, void *out, size_t length);
const uint8_t *cursor_bin_any(struct cursor *cursor, size_t max, size_t *length);
size_t cursor_array_any(struct cursor *cursor);
void cursor_close_any(struct cursor *cursor, size_t extra);

/* An integer in 0..max, in any encoding. */
static inline uint64_t cursor_uint(struct cursor *cursor, uint64_t max)
{
    if (cursor_left(cursor) > 0 && cursor->at[0] <= 0x7f && cursor->at[0] <= max)
        return *cursor->at++;
    return cursor_uint_any(cursor, max);
}
/* An integer that fits int64, in any encoding. */
int64_t cursor_int(struct cursor *cursor);
bool cursor_bool(struct cursor *cursor);
struct amount cursor_amount(struct cursor *cursor);
/* A bin of exactly `length` bytes into out. */
static inline void cursor_bytes(struct cursor *cursor, void *out, size_t length)
{
    if (cursor_left(cursor) >= 2 + length && cursor->at[0] == 0xc4 && cursor->at[1] == length) {
        memcpy(out, cursor->at + 2, length);
        cursor->at += 2 + length;
    } else {
        cursor_bytes_any(cursor, out, length);
    }
}
/* A bin of up to max bytes; inside the frame. Never NULL. */
static inline const uint8_t *cursor_bin(struct cursor *cursor, size_t max, size_t *length)
{
    size_t left = cursor_left(cursor);
    if (left < 2 || cursor->at[0] != 0xc4 || cursor->at[1] > max || cursor->at[1] > left - 2)
        return cursor_bin_any(cursor, max, length);
    *length = cursor->at[1];
    cursor->at += 2 + *length;
    return cursor->at - *length;
}
/* A str of up to max bytes of UTF-8; inside the frame. */
struct text cursor_text(struct cursor *cursor, size_t max);
/* A bin that is empty (false) or `length` bytes (true, into out). */
bool cursor_optional_bytes(struct cursor *cursor, void *out, size_t length);
void cursor_witness(struct cursor *cursor, struct witness *out);

/* Opens an array and returns its number of elements (never more than bytes are left). */
static inline size_t cursor_array(struct cursor *cursor)
{
    size_t left = cursor_left(cursor);
    if (left == 0 || (cursor->at[0] & 0xf0) != 0x90 || (cursor->at[0] & 0x0f) >= left ||
        cursor->depth == MESSAGE_DEPTH_MAX)
        return cursor_array_any(cursor);
    cursor->depth++;
    return *cursor->at++ & 0x0f;
}
/* The same for a list that may have at most max elements. */
size_t cursor_list(struct cursor *cursor, size_t max);
/* Opens a map; returns the number of its pairs. */
size_t cursor_map(struct cursor *cursor);
/* Opens an array of at least `fields` elements; returns how many more there are. */
size_t cursor_record(struct cursor *cursor, size_t fields);
/* Skips `extra` elements, checking that they are well-formed, and closes the array or map. */
static inline void cursor_close(struct cursor *cursor, size_t extra)
{
    if (extra > 0 || cursor->why != NULL)
        cursor_close_any(cursor, extra);
    else
        cursor->depth--;
}
/* One value of any type that the protocol allows. */
void cursor_skip(struct cursor *cursor);

#endif
