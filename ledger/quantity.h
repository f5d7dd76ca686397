/* The JSON-RPC spelling of numbers and bytes: "0x1f" (a quantity, no leading zeros) and "0x001f" (data).
 * Readers take any json_t, NULL included, and return false, *out untouched, for anything else. */
#ifndef RILL_LEDGER_QUANTITY_H
#define RILL_LEDGER_QUANTITY_H

#include <jansson.h>

#include "base/amount.h"
#include "base/buffer.h"

/* New references. */
json_t *quantity_of(unsigned_wide value);
json_t *hex_of(const void *data, size_t length);
json_t *hash_json(const struct hash *hash);
json_t *address_json(const struct address *address);

/* Leading zeros are forgiven, as some nodes write them. */
bool quantity_wide(const json_t *json, unsigned_wide *out) MUST_USE;
bool quantity_u64(const json_t *json, uint64_t *out) MUST_USE;
bool hash_of_json(const json_t *json, struct hash *out) MUST_USE;
bool address_of_json(const json_t *json, struct address *out) MUST_USE;
/* Appends the bytes. */
bool bytes_of_json(const json_t *json, struct buffer *out) MUST_USE;

#endif
