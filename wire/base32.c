#include "wire/base32.h"

void base32_encode(const uint8_t *data, size_t length, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t held = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < length; i++) {
        held = held << 8 | data[i];
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            *out++ = alphabet[held >> bits & 31];
        }
    }
    if (bits > 0)
        *out++ = alphabet[held << (5 - bits) & 31];
    *out = '\0';
}

/* 0…31, or -1. */
static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= '2' && character <= '7')
        return character - '2' + 26;
    return -1;
}

bool base32_decode(const char *text, uint8_t *out, size_t capacity, size_t *length)
{
    uint32_t held = 0;
    unsigned bits = 0;
    size_t written = 0;
    for (; *text != '\0'; text++) {
        int value = value_of(*text);
        if (value < 0)
            return false;
        held = held << 5 | (uint32_t)value;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            if (written == capacity)
                return false;
            out[written++] = (uint8_t)(held >> bits);
        }
    }
    /* A whole character too many, or stray bits that are not zero. */
    if (bits >= 5 || (held & ((1u << bits) - 1)) != 0)
        return false;
    *length = written;
    return true;
}
