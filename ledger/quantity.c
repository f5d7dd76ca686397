#include "ledger/quantity.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

json_t *quantity_of(unsigned_wide value)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 + 32 + 1];
    char *at = text + sizeof(text) - 1;
    *at = '\0';
    do {
        *--at = digits[(unsigned)(value & 15)];
        value >>= 4;
    } while (value != 0);
    *--at = 'x';
    *--at = '0';
    return json_string(at);
}

json_t *hex_of(const void *data, size_t length)
{
    char *text = xmalloc(2 + 2 * length + 1);
    text[0] = '0';
    text[1] = 'x';
    hex_encode(data, length, text + 2);
    json_t *json = json_string_nocheck(text);
    free(text);
    return json;
}

json_t *hash_json(const struct hash *hash)
{
    return hex_of(hash->bytes, sizeof(hash->bytes));
}

json_t *address_json(const struct address *address)
{
    return hex_of(address->bytes, sizeof(address->bytes));
}

/* The text after "0x", NULL if the value is no such string. */
static const char *hex_text(const json_t *json)
{
    const char *text = json_string_value(json);
    return text != NULL && text[0] == '0' && text[1] == 'x' ? text + 2 : NULL;
}

bool quantity_wide(const json_t *json, unsigned_wide *out)
{
    const char *text = hex_text(json);
    if (text == NULL || *text == '\0')
        return false;
    unsigned_wide value = 0;
    for (; *text != '\0'; text++) {
        unsigned digit;
        if (*text >= '0' && *text <= '9')
            digit = (unsigned)(*text - '0');
        else if (*text >= 'a' && *text <= 'f')
            digit = (unsigned)(*text - 'a') + 10;
        else if (*text >= 'A' && *text <= 'F')
            digit = (unsigned)(*text - 'A') + 10;
        else
            return false;
        if (value >> 124 != 0)
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

bool quantity_u64(const json_t *json, uint64_t *out)
{
    unsigned_wide value;
    if (!quantity_wide(json, &value) || value > UINT64_MAX)
        return false;
    *out = (uint64_t)value;
    return true;
}

bool hash_of_json(const json_t *json, struct hash *out)
{
    const char *text = hex_text(json);
    return text != NULL && text[1] != 'x' && hex_decode(text, out->bytes, sizeof(out->bytes));
}

bool address_of_json(const json_t *json, struct address *out)
{
    const char *text = hex_text(json);
    return text != NULL && text[1] != 'x' && hex_decode(text, out->bytes, sizeof(out->bytes));
}

bool bytes_of_json(const json_t *json, struct buffer *out)
{
    const char *text = hex_text(json);
    if (text == NULL)
        return false;
    size_t digits = strlen(text), got = 0, before = out->length;
    if (digits == 0)
        return true;
    uint8_t *at = buffer_extend(out, digits / 2);
    if (text[1] != 'x' && hex_decode_any(text, at, digits / 2, &got) && 2 * got == digits)
        return true;
    out->length = before;
    return false;
}
