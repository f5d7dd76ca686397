/* The API's objects as JSON. All return new references. */
#ifndef RILL_MERCHANT_RENDER_H
#define RILL_MERCHANT_RENDER_H

#include "merchant/shop.h"

/* {"address","symbol","decimals"}; symbol "" and decimals 0 of an asset that the hub no longer lists. */
json_t *render_asset(const struct shop *shop, const struct address *asset);
/* Decimal text of units. */
json_t *render_amount(const struct shop *shop, const struct address *asset, uint64_t units);
json_t *render_units(uint64_t units);
json_t *render_invoice(const struct shop *shop, const struct shop_invoice *invoice);
json_t *render_payment(const struct shop *shop, const struct payment *payment);
json_t *render_refund(const struct shop *shop, const struct refund *refund);
json_t *render_payout(const struct shop *shop, const struct payout *payout);
/* An object's name, or null for OBJECT_NONE. */
json_t *render_id(const char *prefix, const struct object_id *id);
/* A text, or null for NULL. */
json_t *render_text(const char *text);
/* Seconds, or null for 0. */
json_t *render_time(uint64_t unix_s);

#endif
