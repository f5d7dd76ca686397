/* Amounts in units of an asset (protocol.md, section 2), with arithmetic that cannot wrap.
 *
 * An amount on the ledger and every sum in a channel is below 2^63 (AMOUNT_LIMIT). Formulas that mix signs
 * are computed in `wide`, where no sum of such values can overflow.
 */
#ifndef RILL_BASE_AMOUNT_H
#define RILL_BASE_AMOUNT_H

#include "base/bytes.h"

struct amount {
    uint64_t units;
};

__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 unsigned_wide;

/* First value that is not an amount of a channel or the ledger. */
#define AMOUNT_LIMIT ((uint64_t)1 << 63)

static inline struct amount amount_of(uint64_t units)
{
    return (struct amount){units};
}

static inline bool amount_is_zero(struct amount a)
{
    return a.units == 0;
}

/* <0, 0, >0. */
static inline int amount_compare(struct amount a, struct amount b)
{
    return (a.units > b.units) - (a.units < b.units);
}

/* Sum into *out. Returns false, *out untouched, if it would reach AMOUNT_LIMIT. */
static inline bool MUST_USE amount_add(struct amount a, struct amount b, struct amount *out)
{
    uint64_t sum;
    if (__builtin_add_overflow(a.units, b.units, &sum) || sum >= AMOUNT_LIMIT)
        return false;
    out->units = sum;
    return true;
}

/* Difference into *out. Returns false, *out untouched, if it would be negative. */
static inline bool MUST_USE amount_subtract(struct amount a, struct amount b, struct amount *out)
{
    if (b.units > a.units)
        return false;
    out->units = a.units - b.units;
    return true;
}

/* base_fee + ceil(amount * fee_ppm / 10^6) (section 4). Returns false if that reaches AMOUNT_LIMIT. */
bool amount_fee(struct amount amount, struct amount base_fee, uint32_t fee_ppm, struct amount *out) MUST_USE;

/* Decimal text of units with `decimals` digits after the point, trailing zeros cut: 1500000 at 6 is "1.5". */
#define AMOUNT_TEXT_SIZE 64
const char *amount_text(struct amount amount, uint8_t decimals, char out[AMOUNT_TEXT_SIZE]);
/* Reads such text ("12", "0.05"). Returns false on anything else, too many digits, or a value >=
 * AMOUNT_LIMIT. */
bool amount_parse(const char *text, uint8_t decimals, struct amount *out) MUST_USE;

#endif
