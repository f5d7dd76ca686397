#include "hub/payments.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define PAYMENT_RECORD_VERSION 3

_Static_assert(sizeof(struct leg) == 48, "a leg is a hash key: no padding");
_Static_assert(sizeof(struct condition_key) == 33, "a condition is a hash key: no padding");

static void payment_free(struct payment *payment)
{
    free(payment->witness);
    free(payment->memo);
    free(payment);
}

void payments_free(struct payments *payments)
{
    struct payment *payment, *next;
    struct payment_condition *condition, *next_condition;
    HASH_ITER(hh, payments->by_condition, condition, next_condition)
    {
        HASH_DELETE(hh, payments->by_condition, condition);
        free(condition);
    }
    HASH_CLEAR(hh_payee, payments->by_payee);
    HASH_ITER(hh, payments->by_payer, payment, next)
    {
        HASH_DELETE(hh, payments->by_payer, payment);
        payment_free(payment);
    }
    free(payments->heap);
    free(payments->heap_time);
    free(payments->dirty);
    *payments = (struct payments){0};
}

static struct leg leg_of(const struct hash *channel, const struct payment_id *id)
{
    return (struct leg){*channel, *id};
}

struct payment *payments_find(const struct payments *payments, const struct hash *payer_channel,
                              const struct payment_id *id)
{
    struct leg leg = leg_of(payer_channel, id);
    struct payment *payment;
    HASH_FIND(hh, payments->by_payer, &leg, sizeof(leg), payment);
    return payment;
}

struct payment *payments_find_payee(const struct payments *payments, const struct hash *payee_channel,
                                    const struct payment_id *id)
{
    struct leg leg = leg_of(payee_channel, id);
    struct payment *payment;
    HASH_FIND(hh_payee, payments->by_payee, &leg, sizeof(leg), payment);
    return payment;
}

static struct payment_condition *find_condition(const struct payments *payments, uint8_t kind,
                                                const struct hash *hash)
{
    struct condition_key key = {kind, *hash};
    struct payment_condition *condition;
    HASH_FIND(hh, payments->by_condition, &key, sizeof(key), condition);
    return condition;
}

struct payment *payments_on_condition(const struct payments *payments, uint8_t kind,
                                      const struct hash *condition)
{
    const struct payment_condition *found = find_condition(payments, kind, condition);
    return found == NULL ? NULL : found->first;
}

void payments_lock(struct payments *payments, struct payment *payment, uint8_t kind,
                   const struct hash *condition)
{
    ensure(!payment->is_locked);
    payment->is_locked = true;
    payment->kind = kind;
    payment->condition = *condition;
    struct payment_condition *alike = find_condition(payments, kind, condition);
    if (alike == NULL) {
        alike = xcalloc(1, sizeof(*alike));
        alike->key = (struct condition_key){kind, *condition};
        HASH_ADD(hh, payments->by_condition, key, sizeof(alike->key), alike);
    }
    payment->next_alike = alike->first;
    if (alike->first != NULL)
        alike->first->previous_alike = payment;
    alike->first = payment;
}

static void condition_remove(struct payments *payments, struct payment *payment)
{
    if (payment->next_alike != NULL)
        payment->next_alike->previous_alike = payment->previous_alike;
    if (payment->previous_alike != NULL) {
        payment->previous_alike->next_alike = payment->next_alike;
        return;
    }
    struct payment_condition *alike = find_condition(payments, payment->kind, &payment->condition);
    ensure(alike != NULL && alike->first == payment);
    alike->first = payment->next_alike;
    if (alike->first != NULL)
        return;
    HASH_DELETE(hh, payments->by_condition, alike);
    free(alike);
}

struct payment *payments_add(struct payments *payments, const struct leg *payer, const struct leg *payee)
{
    struct payment *payment;
    unsigned payer_hash, payee_hash; /* each is computed once: this is every payment's way */
    HASH_VALUE(payer, sizeof(*payer), payer_hash);
    HASH_FIND_BYHASHVALUE(hh, payments->by_payer, payer, sizeof(*payer), payer_hash, payment);
    if (payment != NULL)
        return NULL;
    HASH_VALUE(payee, sizeof(*payee), payee_hash);
    HASH_FIND_BYHASHVALUE(hh_payee, payments->by_payee, payee, sizeof(*payee), payee_hash, payment);
    if (payment != NULL)
        return NULL;
    payment = xcalloc(1, sizeof(*payment));
    payment->payer = *payer;
    payment->payee = *payee;
    HASH_ADD_BYHASHVALUE(hh, payments->by_payer, payer, sizeof(payment->payer), payer_hash, payment);
    HASH_ADD_BYHASHVALUE(hh_payee, payments->by_payee, payee, sizeof(payment->payee), payee_hash, payment);
    return payment;
}

void payments_remove(struct payments *payments, struct payment *payment)
{
    ensure(!payment->queued && !payment->dirty && !payment->scheduled);
    if (payment->is_locked)
        condition_remove(payments, payment);
    HASH_DELETE(hh, payments->by_payer, payment);
    HASH_DELETE(hh_payee, payments->by_payee, payment);
    payment_free(payment);
}

void payments_retire(struct payments *payments, struct payment *payment)
{
    ensure(!payment->queued && !payment->scheduled);
    payment->retired = true;
    payments_touch(payments, payment);
}

void payment_set_witness(struct payment *payment, const struct witness *witness)
{
    if (payment->witness == NULL)
        payment->witness = xmalloc(sizeof(*payment->witness));
    *payment->witness = *witness;
}

void payment_set_memo(struct payment *payment, struct text memo)
{
    ensure(memo.length <= MEMO_BYTES_MAX);
    free(payment->memo);
    payment->memo = NULL;
    payment->memo_length = (uint16_t)memo.length;
    if (memo.length > 0) {
        payment->memo = xmalloc(memo.length);
        memcpy(payment->memo, memo.data, memo.length);
    }
}

void payments_touch(struct payments *payments, struct payment *payment)
{
    if (payment->dirty)
        return;
    payment->dirty = true;
    if (payments->dirty_count == payments->dirty_capacity) {
        payments->dirty_capacity = payments->dirty_capacity == 0 ? 256 : 2 * payments->dirty_capacity;
        payments->dirty = xrealloc(payments->dirty, payments->dirty_capacity * sizeof(struct payment *));
    }
    payments->dirty[payments->dirty_count++] = payment;
}

/* A binary heap: the parent of i is (i - 1) / 2. */
static void heap_swap(struct payments *payments, size_t a, size_t b)
{
    struct payment *payment = payments->heap[a];
    uint64_t time = payments->heap_time[a];
    payments->heap[a] = payments->heap[b];
    payments->heap_time[a] = payments->heap_time[b];
    payments->heap[b] = payment;
    payments->heap_time[b] = time;
}

void payments_schedule(struct payments *payments, struct payment *payment, uint64_t time)
{
    ensure(!payment->scheduled);
    payment->scheduled = true;
    if (payments->heap_count == payments->heap_capacity) {
        payments->heap_capacity = payments->heap_capacity == 0 ? 256 : 2 * payments->heap_capacity;
        payments->heap = xrealloc(payments->heap, payments->heap_capacity * sizeof(struct payment *));
        payments->heap_time = xrealloc(payments->heap_time, payments->heap_capacity * sizeof(uint64_t));
    }
    size_t at = payments->heap_count++;
    payments->heap[at] = payment;
    payments->heap_time[at] = time;
    while (at > 0 && payments->heap_time[(at - 1) / 2] > payments->heap_time[at]) {
        heap_swap(payments, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

struct payment *payments_due(struct payments *payments, uint64_t now)
{
    if (payments->heap_count == 0 || payments->heap_time[0] > now)
        return NULL;
    struct payment *first = payments->heap[0];
    first->scheduled = false;
    heap_swap(payments, 0, --payments->heap_count);
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < payments->heap_count; child++)
            if (payments->heap_time[child] < payments->heap_time[least])
                least = child;
        if (least == at)
            return first;
        heap_swap(payments, at, least);
        at = least;
    }
}

void payment_write(const struct payment *payment, uint8_t record_type, struct buffer *batch)
{
    size_t mark = record_begin(batch, record_type, &payment->payer, sizeof(payment->payer));
    buffer_u8(batch, PAYMENT_RECORD_VERSION);
    buffer_append(batch, &payment->payee, sizeof(payment->payee));
    buffer_u8(batch, payment->state);
    buffer_u8(batch, payment->due);
    buffer_u8(batch, payment->kind);
    buffer_u8(batch, payment->is_locked);
    buffer_u8(batch, payment->role);
    buffer_u16(batch, payment->other_shard);
    buffer_u64(batch, payment->amount.units);
    buffer_u64(batch, payment->fee.units);
    buffer_u64(batch, payment->expiry);
    buffer_u64(batch, payment->payer_lock);
    buffer_u64(batch, payment->payee_lock);
    buffer_u64(batch, payment->cancel_nonce);
    buffer_u64(batch, payment->code);
    buffer_append(batch, payment->condition.bytes, sizeof(payment->condition.bytes));
    buffer_u8(batch, payment->witness == NULL ? 0 : payment->witness->length);
    if (payment->witness != NULL)
        buffer_append(batch, payment->witness->bytes, payment->witness->length);
    buffer_u16(batch, payment->memo_length);
    buffer_append(batch, payment->memo, payment->memo_length);
    buffer_u32(batch, payment->booked);
    record_end(batch, mark);
}

static bool is_possible(const struct payment *payment)
{
    static const uint32_t direct =
        1u << PAYMENT_WAITING | 1u << PAYMENT_SIGNED | 1u << PAYMENT_REVEALED | 1u << PAYMENT_REFUNDED;
    static const uint32_t locked = 1u << PAYMENT_OFFERED | 1u << PAYMENT_FORWARDED |
                                   1u << PAYMENT_CANCELLING | 1u << PAYMENT_REVEALED | 1u << PAYMENT_FAILED |
                                   1u << PAYMENT_LAPSED;
    struct amount sum;
    if (payment->state > PAYMENT_LAPSED || payment->due > DUE_REFUND || payment->role > HALF_OF_PAYEE ||
        !amount_add(payment->amount, payment->fee, &sum))
        return false;
    if (((payment->is_locked ? locked : direct) >> payment->state & 1) == 0)
        return false;
    /* Each half has only what is due to its own side. */
    if ((payment->role == HALF_OF_PAYEE && payment->due == DUE_REFUND) ||
        (payment->role == HALF_OF_PAYER && payment->due != DUE_NOTHING && payment->due != DUE_REFUND))
        return false;
    return payment->due <= DUE_PAY || (payment->due == DUE_REFUND) == !payment->is_locked;
}

static bool read_condition(struct payments *payments, struct payment *payment, uint8_t kind, bool is_locked,
                           const struct hash *condition)
{
    bool is_new = payment->state == 0;
    if (!is_new)
        return payment->kind == kind && payment->is_locked == is_locked &&
               hash_equal(&payment->condition, condition);
    payment->kind = kind;
    payment->condition = *condition;
    if (is_locked)
        payments_lock(payments, payment, kind, condition);
    return true;
}

static bool read_witness(struct payment *payment, struct reader *reader)
{
    struct witness witness = {.length = reader_u8(reader)};
    if (witness.length > WITNESS_BYTES_MAX)
        return false;
    reader_copy(reader, witness.bytes, witness.length);
    if (reader->ok && witness.length > 0)
        payment_set_witness(payment, &witness);
    return reader->ok;
}

static bool read_fields(struct payments *payments, struct payment *payment, struct reader *reader)
{
    struct hash condition;
    uint8_t state = reader_u8(reader), due = reader_u8(reader);
    uint8_t kind = reader_u8(reader), is_locked = reader_u8(reader);
    payment->role = reader_u8(reader);
    payment->other_shard = reader_u16(reader);
    payment->amount.units = reader_u64(reader);
    payment->fee.units = reader_u64(reader);
    payment->expiry = reader_u64(reader);
    payment->payer_lock = reader_u64(reader);
    payment->payee_lock = reader_u64(reader);
    payment->cancel_nonce = reader_u64(reader);
    payment->code = reader_u64(reader);
    reader_copy(reader, condition.bytes, sizeof(condition.bytes));
    if (!reader->ok || state == 0 || kind > LOCK_ATTESTATION || is_locked > 1 ||
        !read_condition(payments, payment, kind, is_locked != 0, &condition))
        return false;
    payment->state = state;
    payment->due = due;
    if (!read_witness(payment, reader))
        return false;
    uint16_t memo_length = reader_u16(reader);
    const uint8_t *memo = reader_take(reader, memo_length);
    payment->booked = reader_u32(reader);
    if (!reader_done(reader) || memo_length > MEMO_BYTES_MAX)
        return false;
    payment_set_memo(payment, (struct text){(const char *)memo, memo_length});
    return is_possible(payment);
}

bool payment_read(struct payments *payments, const struct record *record)
{
    struct leg payer, payee;
    if (record->key_length != sizeof(payer))
        return false;
    memcpy(&payer, record->key, sizeof(payer));
    struct payment *payment = payments_find(payments, &payer.channel, &payer.id);
    if (record->gone) {
        if (payment != NULL)
            payments_remove(payments, payment);
        return true;
    }
    struct reader reader = reader_of(record->value, record->value_length);
    if (reader_u8(&reader) != PAYMENT_RECORD_VERSION)
        return false;
    reader_copy(&reader, &payee, sizeof(payee));
    if (!reader.ok)
        return false;
    if (payment == NULL) {
        payment = payments_add(payments, &payer, &payee);
        if (payment == NULL)
            return false;
    } else if (memcmp(&payment->payee, &payee, sizeof(payee)) != 0) {
        return false;
    }
    return read_fields(payments, payment, &reader);
}
