#include "tests/support/json_aid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

json_t *json_aid_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    return root;
}

json_t *json_aid_get(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    if (value == NULL)
        fail_msg("no member '%s'", name);
    return value;
}

json_t *json_aid_array(const json_t *object, const char *name, size_t *count)
{
    json_t *array = json_aid_get(object, name);
    *count = json_array_size(array);
    if (*count == 0)
        fail_msg("'%s' is no array, or an empty one", name);
    return array;
}

const char *json_aid_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_aid_get(object, name));
    if (text == NULL)
        fail_msg("'%s' is no string", name);
    return text;
}

bool json_aid_bool(const json_t *object, const char *name)
{
    const json_t *value = json_aid_get(object, name);
    if (!json_is_boolean(value))
        fail_msg("'%s' is neither true nor false", name);
    return json_is_true(value);
}

/* Reads an integer or a decimal string. Returns false if it is neither, or out of range. */
static bool read_integer(const json_t *value, bool *negative, uint64_t *magnitude)
{
    char digits[32];
    if (json_is_integer(value))
        snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(value));
    else if (!json_is_string(value) || json_string_length(value) >= sizeof(digits))
        return false;
    else
        strcpy(digits, json_string_value(value));
    *negative = digits[0] == '-';
    const char *first = digits + *negative;
    *magnitude = 0;
    if (*first == '\0')
        return false;
    for (; *first != '\0'; first++)
        if (*first < '0' || *first > '9' || __builtin_mul_overflow(*magnitude, (uint64_t)10, magnitude) ||
            __builtin_add_overflow(*magnitude, (uint64_t)(*first - '0'), magnitude))
            return false;
    return true;
}

uint64_t json_aid_u64_of(const json_t *value)
{
    bool negative;
    uint64_t magnitude = 0;
    if (!read_integer(value, &negative, &magnitude) || negative)
        fail_msg("not an unsigned 64-bit number");
    return magnitude;
}

int64_t json_aid_i64_of(const json_t *value)
{
    bool negative = false;
    uint64_t magnitude = 0;
    if (!read_integer(value, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX)
        fail_msg("not a signed 64-bit number");
    return negative ? -(int64_t)magnitude : (int64_t)magnitude;
}

uint64_t json_aid_u64(const json_t *object, const char *name)
{
    return json_aid_u64_of(json_aid_get(object, name));
}

int64_t json_aid_i64(const json_t *object, const char *name)
{
    return json_aid_i64_of(json_aid_get(object, name));
}

void json_aid_bytes_of(const json_t *value, uint8_t *out, size_t length)
{
    const char *text = json_string_value(value);
    if (text == NULL || !hex_decode(text, out, length))
        fail_msg("'%s' is not %zu bytes of hexadecimal", text == NULL ? "(no string)" : text, length);
}

void json_aid_bytes(const json_t *object, const char *name, uint8_t *out, size_t length)
{
    json_aid_bytes_of(json_aid_get(object, name), out, length);
}

void json_aid_buffer_of(const json_t *value, struct buffer *out)
{
    const char *text = json_string_value(value);
    if (text == NULL)
        fail_msg("not a string of hexadecimal");
    size_t capacity = strlen(text) / 2, length = 0;
    uint8_t *at = buffer_extend(out, capacity);
    if (!hex_decode_any(text, at, capacity, &length))
        fail_msg("'%s' is not hexadecimal", text);
    out->length -= capacity - length;
}

void json_aid_buffer(const json_t *object, const char *name, struct buffer *out)
{
    json_aid_buffer_of(json_aid_get(object, name), out);
}

struct hash json_aid_hash(const json_t *object, const char *name)
{
    struct hash out;
    json_aid_bytes(object, name, out.bytes, sizeof(out.bytes));
    return out;
}

struct address json_aid_address(const json_t *object, const char *name)
{
    struct address out;
    json_aid_bytes(object, name, out.bytes, sizeof(out.bytes));
    return out;
}

struct signature json_aid_signature(const json_t *object, const char *name)
{
    struct signature out;
    json_aid_bytes(object, name, out.bytes, sizeof(out.bytes));
    return out;
}

struct payment_id json_aid_payment_id(const json_t *object, const char *name)
{
    struct payment_id out;
    json_aid_bytes(object, name, out.bytes, sizeof(out.bytes));
    return out;
}

struct lock json_aid_lock(const json_t *object)
{
    return (struct lock){.id = json_aid_u64(object, "id"),
                         .amount = amount_of(json_aid_u64(object, "amount")),
                         .expiry = json_aid_u64(object, "expiry"),
                         .kind = (uint8_t)json_aid_u64(object, "kind"),
                         .condition = json_aid_hash(object, "condition")};
}
