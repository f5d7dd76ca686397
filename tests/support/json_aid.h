/* Reading test data written as JSON. Whatever is missing or of another form fails the running cmocka test,
 * with the member's name. Numbers may be JSON integers or decimal strings; bytes are hexadecimal, "0x"
 * optional. */
#ifndef RILL_TESTS_SUPPORT_JSON_AID_H
#define RILL_TESTS_SUPPORT_JSON_AID_H

#include <jansson.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/payment.h"

/* Reads a file; json_decref it. */
json_t *json_aid_load(const char *path);

/* A member of an object, never NULL. */
json_t *json_aid_get(const json_t *object, const char *name);
/* A member that is an array with at least one element; its length in *count. */
json_t *json_aid_array(const json_t *object, const char *name, size_t *count);

const char *json_aid_text(const json_t *object, const char *name);
bool json_aid_bool(const json_t *object, const char *name);
uint64_t json_aid_u64(const json_t *object, const char *name);
int64_t json_aid_i64(const json_t *object, const char *name);
/* The same of a value that is not a member. */
uint64_t json_aid_u64_of(const json_t *value);
int64_t json_aid_i64_of(const json_t *value);

/* Exactly length bytes. */
void json_aid_bytes(const json_t *object, const char *name, uint8_t *out, size_t length);
void json_aid_bytes_of(const json_t *value, uint8_t *out, size_t length);
/* Any number of bytes, appended. */
void json_aid_buffer(const json_t *object, const char *name, struct buffer *out);
void json_aid_buffer_of(const json_t *value, struct buffer *out);

struct hash json_aid_hash(const json_t *object, const char *name);
struct address json_aid_address(const json_t *object, const char *name);
struct signature json_aid_signature(const json_t *object, const char *name);
struct payment_id json_aid_payment_id(const json_t *object, const char *name);
/* {"id", "amount", "expiry", "kind", "condition"}. */
struct lock json_aid_lock(const json_t *object);

#endif
