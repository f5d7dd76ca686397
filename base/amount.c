#include "base/amount.h"

#include <stdio.h>
#include <string.h>

bool amount_fee(struct amount amount, struct amount base_fee, uint32_t fee_ppm, struct amount *out)
{
    unsigned_wide proportional = ((unsigned_wide)amount.units * fee_ppm + 999999) / 1000000;
    unsigned_wide fee = proportional + base_fee.units;
    if (fee >= AMOUNT_LIMIT)
        return false;
    out->units = (uint64_t)fee;
    return true;
}

const char *amount_text(struct amount amount, uint8_t decimals, char out[AMOUNT_TEXT_SIZE])
{
    uint64_t scale = 1;
    if (decimals > 18)
        decimals = 18;
    for (uint8_t i = 0; i < decimals; i++)
        scale *= 10;
    int length = snprintf(out, AMOUNT_TEXT_SIZE, "%llu", (unsigned long long)(amount.units / scale));
    uint64_t fraction = amount.units % scale;
    if (fraction == 0)
        return out;
    length += snprintf(out + length, AMOUNT_TEXT_SIZE - (size_t)length, ".%0*llu", decimals,
                       (unsigned long long)fraction);
    while (out[length - 1] == '0')
        out[--length] = '\0';
    return out;
}

bool amount_parse(const char *text, uint8_t decimals, struct amount *out)
{
    unsigned_wide value = 0;
    unsigned digits = 0, fraction_digits = 0;
    bool point = false;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        if (*at < '0' || *at > '9' || (point && ++fraction_digits > decimals))
            return false;
        value = value * 10 + (unsigned)(*at - '0');
        if (value >= AMOUNT_LIMIT)
            return false;
        digits++;
    }
    if (digits == 0 || (point && fraction_digits == 0))
        return false;
    for (unsigned i = fraction_digits; i < decimals; i++) {
        value *= 10;
        if (value >= AMOUNT_LIMIT)
            return false;
    }
    out->units = (uint64_t)value;
    return true;
}
