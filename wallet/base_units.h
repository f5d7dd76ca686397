/* Base units of coins and tokens on the ledger itself, outside channels: as people write them, and as 128-bit numbers. */
#ifndef RILL_WALLET_BASE_UNITS_H
#define RILL_WALLET_BASE_UNITS_H

#include "base/amount.h"

#define COIN_DECIMALS        18
#define DECIMALS_MAX         77 /* of a token: 10^77 is the largest power of ten in 256 bits */
#define BASE_UNITS_TEXT_SIZE 96

/* "12.5" with so many decimals. Returns false on anything else, or if it does not fit 128 bits. */
bool base_units_parse(const char *text, unsigned decimals, unsigned_wide *out) MUST_USE;
/* Without needless zeros; decimals at most DECIMALS_MAX. */
const char *base_units_text(unsigned_wide value, unsigned decimals, char out[BASE_UNITS_TEXT_SIZE]);

#endif
