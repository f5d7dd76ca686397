/* Unsigned 256-bit numbers, as token balances and allowances are: only what an ERC-20 needs of them. */
#ifndef RILL_LEDGER_UINT256_H
#define RILL_LEDGER_UINT256_H

#include "base/amount.h"

struct uint256 {
    unsigned_wide high, low;
};

static inline struct uint256 uint256_of(unsigned_wide value)
{
    return (struct uint256){0, value};
}
static inline struct uint256 uint256_max(void)
{
    return (struct uint256){~(unsigned_wide)0, ~(unsigned_wide)0};
}
static inline bool uint256_is_zero(struct uint256 a)
{
    return a.high == 0 && a.low == 0;
}
static inline bool uint256_equal(struct uint256 a, struct uint256 b)
{
    return a.high == b.high && a.low == b.low;
}
/* <0, 0, >0. */
int uint256_compare(struct uint256 a, struct uint256 b);
/* Returns false, *out untouched, where the result would leave the type. */
bool uint256_add(struct uint256 a, struct uint256 b, struct uint256 *out) MUST_USE;
bool uint256_subtract(struct uint256 a, struct uint256 b, struct uint256 *out) MUST_USE;
/* The value as 128 bits; false if it does not fit. */
bool uint256_narrow(struct uint256 value, unsigned_wide *out) MUST_USE;
/* 32 bytes, big-endian. */
void uint256_store(uint8_t out[32], struct uint256 value);
struct uint256 uint256_load(const uint8_t in[32]);
/* 128-bit values in 16 big-endian bytes. */
void wide_store(uint8_t out[16], unsigned_wide value);
unsigned_wide wide_load(const uint8_t in[16]);

#endif
