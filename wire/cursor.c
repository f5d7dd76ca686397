#include "wire/cursor.h"

#include <string.h>

static const uint8_t zeros[64];

enum head_kind { HEAD_UINT, HEAD_NEGATIVE, HEAD_BOOL, HEAD_STR, HEAD_BIN, HEAD_ARRAY, HEAD_MAP, HEAD_NONE };

/* What stands before a value: its kind, and its number, or the count of bytes or elements that follow. */
struct head {
    enum head_kind kind;
    uint64_t number; /* HEAD_NEGATIVE: the two's complement of it */
};

void cursor_fail(struct cursor *cursor, const char *why)
{
    if (cursor->why == NULL)
        cursor->why = why;
    cursor->at = cursor->end;
}

bool cursor_finish(struct cursor *cursor)
{
    if (cursor->why == NULL && cursor->at != cursor->end)
        cursor_fail(cursor, "bytes after the array");
    return cursor->why == NULL;
}

static struct head head_none(struct cursor *cursor, const char *why)
{
    cursor_fail(cursor, why);
    return (struct head){HEAD_NONE, 0};
}

/* A big-endian number of 1, 2, 4 or 8 bytes after the tag. */
static struct head head_number(struct cursor *cursor, enum head_kind kind, size_t width)
{
    if ((size_t)(cursor->end - cursor->at) < width)
        return head_none(cursor, "cut short");
    const uint8_t *at = cursor->at;
    uint64_t number = width == 1   ? at[0]
                      : width == 2 ? load_be16(at)
                      : width == 4 ? load_be32(at)
                                   : load_be64(at);
    cursor->at += width;
    return (struct head){kind, number};
}

/* int8…int64: sign-extended; a number that is not negative is as good as an unsigned one. */
static struct head head_signed(struct cursor *cursor, size_t width)
{
    struct head head = head_number(cursor, HEAD_UINT, width);
    if (head.kind == HEAD_NONE)
        return head;
    uint64_t sign = (uint64_t)1 << (8 * width - 1);
    if (head.number & sign)
        head = (struct head){HEAD_NEGATIVE, head.number | ~(sign - 1)};
    return head;
}

static struct head read_head(struct cursor *cursor)
{
    if (cursor->at == cursor->end)
        return head_none(cursor, "cut short");
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): at is NULL only where end is */
    uint8_t tag = *cursor->at++;
    if (tag <= 0x7f)
        return (struct head){HEAD_UINT, tag};
    if (tag <= 0x8f)
        return (struct head){HEAD_MAP, tag & 0x0f};
    if (tag <= 0x9f)
        return (struct head){HEAD_ARRAY, tag & 0x0f};
    if (tag <= 0xbf)
        return (struct head){HEAD_STR, tag & 0x1f};
    if (tag >= 0xe0)
        return (struct head){HEAD_NEGATIVE, ~(uint64_t)0xff | tag};
    switch (tag) {
    case 0xc2:
    case 0xc3:
        return (struct head){HEAD_BOOL, tag & 1};
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return head_number(cursor, HEAD_BIN, (size_t)1 << (tag - 0xc4));
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return head_number(cursor, HEAD_UINT, (size_t)1 << (tag - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return head_signed(cursor, (size_t)1 << (tag - 0xd0));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return head_number(cursor, HEAD_STR, (size_t)1 << (tag - 0xd9));
    case 0xdc:
    case 0xdd:
        return head_number(cursor, HEAD_ARRAY, (size_t)2 << (tag - 0xdc));
    case 0xde:
    case 0xdf:
        return head_number(cursor, HEAD_MAP, (size_t)2 << (tag - 0xde));
    default:
        return head_none(cursor, "nil, float or ext");
    }
}

/* As read_head, for one kind only. */
static uint64_t read_kind(struct cursor *cursor, enum head_kind kind, const char *why)
{
    struct head head = read_head(cursor);
    if (head.kind != kind) {
        cursor_fail(cursor, why);
        return 0;
    }
    return head.number;
}

uint64_t cursor_uint_any(struct cursor *cursor, uint64_t max)
{
    uint64_t number = read_kind(cursor, HEAD_UINT, "a number, not negative, was expected");
    if (number > max) {
        cursor_fail(cursor, "a number is too large");
        return 0;
    }
    return number;
}

int64_t cursor_int(struct cursor *cursor)
{
    struct head head = read_head(cursor);
    if (head.kind == HEAD_NEGATIVE)
        return (int64_t)head.number;
    if (head.kind != HEAD_UINT || head.number > INT64_MAX) {
        cursor_fail(cursor, "a number was expected, or it is too large");
        return 0;
    }
    return (int64_t)head.number;
}

bool cursor_bool(struct cursor *cursor)
{
    return read_kind(cursor, HEAD_BOOL, "true or false was expected") != 0;
}

struct amount cursor_amount(struct cursor *cursor)
{
    return amount_of(cursor_uint(cursor, UINT64_MAX));
}

/* `length` bytes that follow a head; NULL if there are fewer. */
static const uint8_t *take(struct cursor *cursor, uint64_t length)
{
    if (length > cursor_left(cursor)) {
        cursor_fail(cursor, "cut short");
        return NULL;
    }
    const uint8_t *at = cursor->at;
    cursor->at += length;
    return at;
}

void cursor_bytes_any(struct cursor *cursor, void *out, size_t length)
{
    size_t found = 0;
    const uint8_t *at = cursor_bin(cursor, length, &found);
    if (found == length) {
        memcpy(out, at, length);
        return;
    }
    cursor_fail(cursor, "a bin has the wrong length");
    memset(out, 0, length);
}

const uint8_t *cursor_bin_any(struct cursor *cursor, size_t max, size_t *length)
{
    *length = 0;
    uint64_t found = read_kind(cursor, HEAD_BIN, "a bin was expected");
    if (found > max) {
        cursor_fail(cursor, "a bin is too long");
        return zeros;
    }
    const uint8_t *at = take(cursor, found);
    if (at == NULL)
        return zeros;
    *length = (size_t)found;
    return at;
}

struct text cursor_text(struct cursor *cursor, size_t max)
{
    static const struct text none = {"", 0};
    uint64_t length = read_kind(cursor, HEAD_STR, "a text was expected");
    if (length > max) {
        cursor_fail(cursor, "a text is too long");
        return none;
    }
    const uint8_t *at = take(cursor, length);
    if (at == NULL)
        return none;
    if (!utf8_is_valid(at, (size_t)length)) {
        cursor_fail(cursor, "a text is not UTF-8");
        return none;
    }
    return (struct text){(const char *)at, (size_t)length};
}

bool cursor_optional_bytes(struct cursor *cursor, void *out, size_t length)
{
    size_t found = 0;
    const uint8_t *at = cursor_bin(cursor, length, &found);
    if (found == length) {
        memcpy(out, at, length);
        return true;
    }
    if (found != 0)
        cursor_fail(cursor, "a bin has the wrong length");
    memset(out, 0, length);
    return false;
}

void cursor_witness(struct cursor *cursor, struct witness *out)
{
    size_t length = 0;
    const uint8_t *at = cursor_bin(cursor, WITNESS_BYTES_MAX, &length);
    memset(out->bytes, 0, sizeof out->bytes);
    memcpy(out->bytes, at, length);
    out->length = (uint8_t)length;
}

/* One more level, with `count` values in it, each of at least one byte. */
static size_t descend(struct cursor *cursor, uint64_t count, uint64_t values_each)
{
    if (cursor->why != NULL)
        return 0;
    if (cursor->depth == MESSAGE_DEPTH_MAX) {
        cursor_fail(cursor, "nested too deep");
        return 0;
    }
    if (count * values_each > (uint64_t)(cursor->end - cursor->at)) {
        cursor_fail(cursor, "cut short");
        return 0;
    }
    cursor->depth++;
    return (size_t)count;
}

size_t cursor_array_any(struct cursor *cursor)
{
    return descend(cursor, read_kind(cursor, HEAD_ARRAY, "an array was expected"), 1);
}

size_t cursor_list(struct cursor *cursor, size_t max)
{
    size_t count = cursor_array(cursor);
    if (count > max) {
        cursor_fail(cursor, "a list is too long");
        return 0;
    }
    return count;
}

size_t cursor_map(struct cursor *cursor)
{
    return descend(cursor, read_kind(cursor, HEAD_MAP, "a map was expected"), 2);
}

size_t cursor_record(struct cursor *cursor, size_t fields)
{
    size_t count = cursor_array(cursor);
    if (count < fields) {
        cursor_fail(cursor, "fields are missing");
        return 0;
    }
    return count - fields;
}

void cursor_close_any(struct cursor *cursor, size_t extra)
{
    for (size_t i = 0; i < extra && cursor->why == NULL; i++)
        cursor_skip(cursor);
    if (cursor->why == NULL)
        cursor->depth--;
}

/* Recursion ends at MESSAGE_DEPTH_MAX. */
void cursor_skip(struct cursor *cursor)
{
    struct head head = read_head(cursor);
    switch (head.kind) {
    case HEAD_UINT:
    case HEAD_NEGATIVE:
    case HEAD_BOOL:
    case HEAD_NONE:
        return;
    case HEAD_BIN:
        (void)take(cursor, head.number);
        return;
    case HEAD_STR: {
        const uint8_t *at = take(cursor, head.number);
        if (at != NULL && !utf8_is_valid(at, (size_t)head.number))
            cursor_fail(cursor, "a text is not UTF-8");
        return;
    }
    case HEAD_ARRAY:
        cursor_close(cursor, descend(cursor, head.number, 1));
        return;
    case HEAD_MAP:
        cursor_close(cursor, 2 * descend(cursor, head.number, 2));
        return;
    }
}
