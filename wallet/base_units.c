#include "wallet/base_units.h"

#include <stddef.h>

#include "base/ensure.h"

_Static_assert(DECIMALS_MAX + 4 <= BASE_UNITS_TEXT_SIZE, "a point, a zero before it, and the end");

/* 10^exponent, 0 if it does not fit. */
static unsigned_wide power_of_ten(unsigned exponent)
{
    unsigned_wide value = 1;
    for (unsigned i = 0; i < exponent; i++)
        if (__builtin_mul_overflow(value, (unsigned_wide)10, &value))
            return 0;
    return value;
}

bool base_units_parse(const char *text, unsigned decimals, unsigned_wide *out)
{
    unsigned_wide value = 0;
    unsigned after = 0;
    bool point = false, any = false;
    for (; *text != '\0'; text++) {
        if (*text == '.' && !point && any) {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9' || (point && after == decimals) ||
            __builtin_mul_overflow(value, (unsigned_wide)10, &value) ||
            __builtin_add_overflow(value, (unsigned_wide)(unsigned)(*text - '0'), &value))
            return false;
        any = true;
        after += point;
    }
    unsigned_wide scale = power_of_ten(decimals - after);
    return any && scale != 0 && !__builtin_mul_overflow(value, scale, out);
}

const char *base_units_text(unsigned_wide value, unsigned decimals, char out[BASE_UNITS_TEXT_SIZE])
{
    char digits[BASE_UNITS_TEXT_SIZE - 2];
    size_t count = 0, length = 0;
    ensure(decimals <= DECIMALS_MAX);
    do {
        digits[count++] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value > 0 || count <= decimals);
    size_t first = 0;
    while (first < decimals && digits[first] == '0')
        first++;
    for (size_t i = count; i > first || i > decimals; i--) {
        if (i == decimals)
            out[length++] = '.';
        out[length++] = digits[i - 1];
    }
    out[length] = '\0';
    return out;
}
