#include <string.h>

#include "base/ensure.h"
#include "wire/decoder.h"
#include "wire/pack.h"

/* ---- reading ---- */

static void decode_pay(struct cursor *cursor, struct operation *out)
{
    cursor_bytes(cursor, out->id.bytes, sizeof out->id.bytes);
    cursor_bytes(cursor, out->peer.bytes, sizeof out->peer.bytes);
    out->amount = cursor_amount(cursor);
    out->fee = cursor_amount(cursor);
    out->expiry = cursor_uint(cursor, UINT64_MAX);
    cursor_bytes(cursor, out->condition.bytes, sizeof out->condition.bytes);
    out->memo = cursor_text(cursor, MEMO_BYTES_MAX);
}

static void decode_lock(struct cursor *cursor, struct operation *out)
{
    cursor_bytes(cursor, out->id.bytes, sizeof out->id.bytes);
    cursor_bytes(cursor, out->peer.bytes, sizeof out->peer.bytes);
    out->lock_id = cursor_uint(cursor, UINT64_MAX);
    out->amount = cursor_amount(cursor);
    out->fee = cursor_amount(cursor);
    out->expiry = cursor_uint(cursor, UINT64_MAX);
    out->kind = (uint8_t)cursor_uint(cursor, LOCK_ATTESTATION);
    cursor_bytes(cursor, out->condition.bytes, sizeof out->condition.bytes);
    out->memo = cursor_text(cursor, MEMO_BYTES_MAX);
}

/* The fields of an operation after its type. */
static size_t field_count(uint64_t type)
{
    static const uint8_t counts[] = {
        [OPERATION_PAY] = 7,    [OPERATION_LOCK] = 9,   [OPERATION_UNLOCK] = 2,
        [OPERATION_EXPIRE] = 1, [OPERATION_CANCEL] = 1, [OPERATION_REFUND] = 3,
    };
    return type < ARRAY_LENGTH(counts) ? counts[type] : 0;
}

static void decode_operation(struct cursor *cursor, struct operation *out)
{
    memset(out, 0, sizeof *out);
    size_t extra = cursor_record(cursor, 1);
    uint64_t type = cursor_uint(cursor, OPERATION_REFUND);
    size_t fields = field_count(type);
    if (fields == 0 || extra < fields) {
        cursor_fail(cursor, "an operation of an unknown type, or fields are missing");
        return;
    }
    out->type = (enum operation_type)type;
    switch (out->type) {
    case OPERATION_PAY:
        decode_pay(cursor, out);
        break;
    case OPERATION_LOCK:
        decode_lock(cursor, out);
        break;
    case OPERATION_UNLOCK:
        out->lock_id = cursor_uint(cursor, UINT64_MAX);
        cursor_witness(cursor, &out->witness);
        break;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        out->lock_id = cursor_uint(cursor, UINT64_MAX);
        break;
    case OPERATION_REFUND:
        cursor_bytes(cursor, out->id.bytes, sizeof out->id.bytes);
        out->amount = cursor_amount(cursor);
        out->code = cursor_uint(cursor, UINT64_MAX);
        break;
    }
    cursor_close(cursor, extra - fields);
}

bool body_decode(struct decoder *decoder, const uint8_t *body, size_t length,
                 const struct operation **operations, size_t *count)
{
    if (length > BODY_BYTES_MAX)
        return false;
    struct cursor cursor = cursor_of(body, length);
    size_t found = cursor_list(&cursor, OPERATIONS_MAX);
    if (found == 0)
        return false;
    struct operation *list = scratch_room(&decoder->operations, found, sizeof *list);
    for (size_t i = 0; i < found && cursor.why == NULL; i++)
        decode_operation(&cursor, &list[i]);
    cursor_close(&cursor, 0);
    if (!cursor_finish(&cursor))
        return false;
    *operations = list;
    *count = found;
    return true;
}

/* ---- writing ---- */

static void encode_pay(struct buffer *out, const struct operation *operation)
{
    pack_payment_id(out, &operation->id);
    pack_address(out, &operation->peer);
    pack_amount(out, operation->amount);
    pack_amount(out, operation->fee);
    pack_uint(out, operation->expiry);
    pack_hash(out, &operation->condition);
    pack_text(out, operation->memo);
}

static void encode_lock(struct buffer *out, const struct operation *operation)
{
    pack_payment_id(out, &operation->id);
    pack_address(out, &operation->peer);
    pack_uint(out, operation->lock_id);
    pack_amount(out, operation->amount);
    pack_amount(out, operation->fee);
    pack_uint(out, operation->expiry);
    pack_uint(out, operation->kind);
    pack_hash(out, &operation->condition);
    pack_text(out, operation->memo);
}

static void encode_operation(struct buffer *out, const struct operation *operation)
{
    ensure(operation->memo.length <= MEMO_BYTES_MAX && operation->witness.length <= WITNESS_BYTES_MAX);
    pack_array(out, 1 + field_count(operation->type));
    pack_uint(out, operation->type);
    switch (operation->type) {
    case OPERATION_PAY:
        encode_pay(out, operation);
        break;
    case OPERATION_LOCK:
        encode_lock(out, operation);
        break;
    case OPERATION_UNLOCK:
        pack_uint(out, operation->lock_id);
        pack_witness(out, &operation->witness);
        break;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        pack_uint(out, operation->lock_id);
        break;
    case OPERATION_REFUND:
        pack_payment_id(out, &operation->id);
        pack_amount(out, operation->amount);
        pack_uint(out, operation->code);
        break;
    }
}

void body_encode(struct buffer *out, const struct operation *operations, size_t count)
{
    ensure(count >= 1 && count <= OPERATIONS_MAX);
    size_t start = out->length;
    pack_array(out, count);
    for (size_t i = 0; i < count; i++)
        encode_operation(out, &operations[i]);
    ensure(out->length - start <= BODY_BYTES_MAX);
}

size_t operation_size_max(const struct operation *operation)
{
    /* The longest forms: a number 9 bytes, a bin or str 2 (3 from 256 bytes on) before its content. The
     * array's own head is 3 at most, counted with every operation so that a sum of these never falls short of
     * the body. */
    enum { NUMBER = 9, ID = 2 + 16, ADDRESS = 2 + 20, HASH = 2 + 32, HEADS = 1 + 1 + 3 };
    switch (operation->type) {
    case OPERATION_PAY:
        return HEADS + ID + ADDRESS + 3 * NUMBER + HASH + 3 + operation->memo.length;
    case OPERATION_LOCK:
        return HEADS + ID + ADDRESS + 4 * NUMBER + 1 + HASH + 3 + operation->memo.length;
    case OPERATION_UNLOCK:
        return HEADS + NUMBER + 2 + operation->witness.length;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        return HEADS + NUMBER;
    case OPERATION_REFUND:
        return HEADS + ID + 2 * NUMBER;
    }
    ensure_failed("an operation's type", __FILE__, __LINE__);
}
