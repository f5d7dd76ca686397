#include "base/bytes.h"

#include <string.h>

const struct hash HASH_ZERO;
const struct address ADDRESS_ZERO;
const struct payment_id PAYMENT_ID_ZERO;

static bool all_zero(const uint8_t *data, size_t length)
{
    uint8_t any = 0;
    for (size_t i = 0; i < length; i++)
        any |= data[i];
    return any == 0;
}

bool hash_is_zero(const struct hash *hash)
{
    return all_zero(hash->bytes, sizeof(hash->bytes));
}

bool address_is_zero(const struct address *address)
{
    return all_zero(address->bytes, sizeof(address->bytes));
}

bool payment_id_is_zero(const struct payment_id *id)
{
    return all_zero(id->bytes, sizeof(id->bytes));
}

int hash_compare(const struct hash *a, const struct hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t length)
{
    const volatile uint8_t *left = a, *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < length; i++)
        difference |= (uint8_t)(left[i] ^ right[i]);
    return difference == 0;
}

void bytes_wipe(void *data, size_t length)
{
    volatile uint8_t *at = data;
    for (size_t i = 0; i < length; i++)
        at[i] = 0;
}

void hex_encode(const uint8_t *data, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * length] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode_any(const char *text, uint8_t *out, size_t capacity, size_t *length)
{
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    size_t digits = strlen(text);
    if (digits % 2 != 0 || digits / 2 > capacity)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (hex_digit(text[i]) < 0)
            return false;
    for (size_t i = 0; i < digits / 2; i++)
        out[i] = (uint8_t)((unsigned)hex_digit(text[2 * i]) << 4 | (unsigned)hex_digit(text[2 * i + 1]));
    *length = digits / 2;
    return true;
}

bool hex_decode(const char *text, uint8_t *out, size_t length)
{
    const char *digits = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? text + 2 : text;
    size_t got;
    return strlen(digits) == 2 * length && hex_decode_any(text, out, length, &got);
}

const char *hash_text(const struct hash *hash, char out[HASH_TEXT_SIZE])
{
    out[0] = '0';
    out[1] = 'x';
    hex_encode(hash->bytes, sizeof(hash->bytes), out + 2);
    return out;
}

const char *address_text(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
    out[0] = '0';
    out[1] = 'x';
    hex_encode(address->bytes, sizeof(address->bytes), out + 2);
    return out;
}

const char *payment_id_text(const struct payment_id *id, char out[PAYMENT_ID_TEXT_SIZE])
{
    hex_encode(id->bytes, sizeof(id->bytes), out);
    return out;
}

/* Length of the well-formed sequence at data (RFC 3629, table 3-7 of Unicode), 0 if there is none. */
static size_t utf8_sequence(const uint8_t *data, size_t left)
{
    uint8_t lead = data[0];
    if (lead >= 0x01 && lead <= 0x7f)
        return 1;
    size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                    : (lead & 0xf0) == 0xe0        ? 3
                    : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                   : 0;
    if (length == 0 || length > left)
        return 0;
    uint8_t low = 0x80, high = 0xbf;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (data[1] < low || data[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool utf8_is_valid(const uint8_t *data, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t step = utf8_sequence(data + at, length - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}
