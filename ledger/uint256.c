#include "ledger/uint256.h"

int uint256_compare(struct uint256 a, struct uint256 b)
{
    if (a.high != b.high)
        return a.high > b.high ? 1 : -1;
    return (a.low > b.low) - (a.low < b.low);
}

bool uint256_add(struct uint256 a, struct uint256 b, struct uint256 *out)
{
    struct uint256 sum;
    unsigned_wide carry = __builtin_add_overflow(a.low, b.low, &sum.low) ? 1 : 0;
    if (__builtin_add_overflow(a.high, b.high, &sum.high) ||
        __builtin_add_overflow(sum.high, carry, &sum.high))
        return false;
    *out = sum;
    return true;
}

bool uint256_subtract(struct uint256 a, struct uint256 b, struct uint256 *out)
{
    if (uint256_compare(a, b) < 0)
        return false;
    unsigned_wide borrow = a.low < b.low ? 1 : 0;
    *out = (struct uint256){a.high - b.high - borrow, a.low - b.low};
    return true;
}

bool uint256_narrow(struct uint256 value, unsigned_wide *out)
{
    if (value.high != 0)
        return false;
    *out = value.low;
    return true;
}

void wide_store(uint8_t out[16], unsigned_wide value)
{
    store_be64(out, (uint64_t)(value >> 64));
    store_be64(out + 8, (uint64_t)value);
}

unsigned_wide wide_load(const uint8_t in[16])
{
    return (unsigned_wide)load_be64(in) << 64 | load_be64(in + 8);
}

void uint256_store(uint8_t out[32], struct uint256 value)
{
    wide_store(out, value.high);
    wide_store(out + 16, value.low);
}

struct uint256 uint256_load(const uint8_t in[32])
{
    return (struct uint256){wide_load(in), wide_load(in + 16)};
}
