#include "hub/payments.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/prefetch.h"
#include "crypto/lock.h"

_Static_assert(sizeof(struct leg) == 48, "a leg is a hash key: no padding");
_Static_assert(offsetof(struct payment, payer) == CACHE_LINE_BYTES &&
                   offsetof(struct payment, condition) == 2 * CACHE_LINE_BYTES &&
                   offsetof(struct payment, next_due) == 3 * CACHE_LINE_BYTES &&
                   offsetof(struct payment, payer_lock) == 4 * CACHE_LINE_BYTES,
               "a payment's lines are what its comments say");
_Static_assert(sizeof(struct condition_key) == 33, "a condition is a hash key: no padding");

/* ---- found by ---- */

static uint64_t id_hash(const struct payments *payments, const struct payment_id *id)
{
    return index_hash(payments->seed, id, sizeof(*id));
}

static uint64_t time_hash(const struct payments *payments, uint64_t time)
{
    return index_hash(payments->seed, &time, sizeof(time));
}

static struct payment *find_payee(const struct payments *payments, const struct payment_id *id, uint64_t hash)
{
    struct payment *payment;
    for (struct index_walk walk = index_walk(&payments->by_id, hash);
         (payment = index_next(&payments->by_id, &walk)) != NULL;)
        if (payment_id_equal(&payment->payee.id, id))
            return payment;
    return NULL;
}

struct payment *payments_find_payee(const struct payments *payments, const struct hash *payee_channel,
                                    const struct payment_id *id)
{
    struct payment *payment = find_payee(payments, id, id_hash(payments, id));
    return payment != NULL && hash_equal(&payment->payee.channel, payee_channel) ? payment : NULL;
}

struct payment *payments_find(const struct payments *payments, const struct hash *payer_channel,
                              const struct payment_id *id)
{
    struct payment_id payee_id = payment_id_of_payee(payer_channel, id);
    return payments_find_derived(payments, payer_channel, id, &payee_id);
}

struct payment *payments_find_derived(const struct payments *payments, const struct hash *payer_channel,
                                      const struct payment_id *id, const struct payment_id *payee_id)
{
    struct payment *payment = find_payee(payments, payee_id, id_hash(payments, payee_id));
    return payment != NULL && hash_equal(&payment->payer.channel, payer_channel) &&
                   payment_id_equal(&payment->payer.id, id)
               ? payment
               : NULL;
}

void payment_prefetch(const struct payment *payment)
{
    prefetch_lines(payment, offsetof(struct payment, payer_lock));
}

void payments_expect(const struct payments *payments, const struct payment_id *id)
{
    index_prefetch(&payments->by_id, id_hash(payments, id));
}

void payments_approach(const struct payments *payments, const struct payment_id *id)
{
    const struct payment *payment = index_peek(&payments->by_id, id_hash(payments, id));
    if (payment != NULL)
        payment_prefetch(payment);
}

size_t payments_count(const struct payments *payments)
{
    return payments->by_id.count;
}

struct payment *payments_each(const struct payments *payments, size_t *at)
{
    return index_each(&payments->by_id, at);
}

static uint64_t condition_hash(const struct payments *payments, const struct condition_key *key)
{
    return index_hash(payments->seed, key, sizeof(*key));
}

static struct payment_condition *find_condition(const struct payments *payments, uint8_t kind,
                                                const struct hash *hash)
{
    struct condition_key key = {kind, *hash};
    struct payment_condition *condition;
    for (struct index_walk walk = index_walk(&payments->by_condition, condition_hash(payments, &key));
         (condition = index_next(&payments->by_condition, &walk)) != NULL;)
        if (memcmp(&condition->key, &key, sizeof(key)) == 0)
            return condition;
    return NULL;
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
        payments->conditions.item_size = sizeof(*alike);
        alike = slab_take(&payments->conditions);
        alike->key = (struct condition_key){kind, *condition};
        index_add(&payments->by_condition, condition_hash(payments, &alike->key), alike);
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
    index_remove(&payments->by_condition, condition_hash(payments, &alike->key), alike);
    slab_give(&payments->conditions, alike);
}

/* ---- coming and going ---- */

struct payment *payments_add(struct payments *payments, const struct leg *payer, const struct leg *payee)
{
    uint64_t hash = id_hash(payments, &payee->id);
    if (find_payee(payments, &payee->id, hash) != NULL)
        return NULL;
    payments->slab.item_size = sizeof(struct payment);
    payments->slab.alignment = CACHE_LINE_BYTES;
    struct payment *payment = slab_take(&payments->slab);
    payment->payer = *payer;
    payment->payee = *payee;
    index_add(&payments->by_id, hash, payment);
    return payment;
}

void payments_remove(struct payments *payments, struct payment *payment)
{
    ensure(!payment->queued && !payment->dirty);
    if (payment->moment != NULL)
        payments_unschedule(payments, payment);
    if (payment->is_locked)
        condition_remove(payments, payment);
    index_remove(&payments->by_id, id_hash(payments, &payment->payee.id), payment);
    slab_give(&payments->witnesses, payment->witness);
    free(payment->memo);
    slab_give(&payments->slab, payment);
}

static void leaving_grow(struct payments *payments)
{
    size_t old = payments->leaving_capacity;
    payments->leaving_capacity = old == 0 ? 256 : 2 * old;
    payments->leaving =
        xrealloc(payments->leaving, payments->leaving_capacity * sizeof(struct payment_leaving));
    /* What had gone round the end now goes on behind it. */
    for (size_t i = 0; i < payments->leaving_first; i++)
        payments->leaving[old + i] = payments->leaving[i];
}

void payments_leave(struct payments *payments, struct payment *payment, uint64_t sequence)
{
    ensure(!payment->queued && payment->leaving == 0 && sequence > 0);
    if (payment->moment != NULL)
        payments_unschedule(payments, payment);
    payment->leaving = sequence;
    payment->stored = false;
    payments->leaving_now++;
    if (payments->leaving_count == payments->leaving_capacity)
        leaving_grow(payments);
    size_t at = (payments->leaving_first + payments->leaving_count) & (payments->leaving_capacity - 1);
    payments->leaving[at] = (struct payment_leaving){payment, sequence};
    payments->leaving_count++;
}

static const struct payment *leaving_at(const struct payments *payments, size_t number)
{
    size_t at = (payments->leaving_first + number) & (payments->leaving_capacity - 1);
    return number < payments->leaving_count ? payments->leaving[at].payment : NULL;
}

void payments_left(struct payments *payments, uint64_t durable)
{
    while (payments->leaving_count > 0) {
        const struct payment *later = leaving_at(payments, PAYMENTS_AHEAD),
                             *soon = leaving_at(payments, PAYMENTS_AHEAD / 2);
        if (later != NULL)
            payment_prefetch(later);
        if (soon != NULL)
            payments_expect(payments, &soon->payee.id);
        struct payment_leaving first = payments->leaving[payments->leaving_first];
        if (first.sequence > durable)
            return;
        payments->leaving_first = (payments->leaving_first + 1) & (payments->leaving_capacity - 1);
        payments->leaving_count--;
        if (first.payment->leaving != first.sequence)
            continue; /* under way again: it leaves by a later entry, if at all */
        payments->leaving_now--;
        payments_remove(payments, first.payment);
    }
}

void payments_return(struct payments *payments, struct payment *payment)
{
    ensure(payment->leaving != 0);
    payment->leaving = 0;
    payment->retired = false;
    payment->stored = true; /* it is not, but its next end is then no batch of the archive's records only */
    payments->leaving_now--;
    payments_schedule(payments, payment, 0); /* if it does not leave again: looked at with the next block */
}

size_t payments_under_way(const struct payments *payments)
{
    return payments->by_id.count - payments->leaving_now;
}

void payments_free(struct payments *payments)
{
    size_t at = 0;
    for (struct payment *payment; (payment = payments_each(payments, &at)) != NULL;)
        free(payment->memo);
    for (size_t i = 0; i < payments->heap_count; i++)
        free(payments->heap[i]);
    free(payments->heap);
    index_free(&payments->moments);
    index_free(&payments->by_id);
    index_free(&payments->by_condition);
    slab_free(&payments->conditions);
    slab_free(&payments->slab);
    slab_free(&payments->witnesses);
    free(payments->dirty);
    free(payments->leaving);
    *payments = (struct payments){.seed = payments->seed};
}

void payment_set_witness(struct payments *payments, struct payment *payment, const struct witness *witness)
{
    if (payment->witness == NULL) {
        payments->witnesses.item_size = sizeof(struct witness);
        payment->witness = slab_take(&payments->witnesses);
    }
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
    if (payment->leaving != 0)
        payments_return(payments, payment);
    payment->dirty = true;
    if (payments->dirty_count == payments->dirty_capacity) {
        payments->dirty_capacity = payments->dirty_capacity == 0 ? 256 : 2 * payments->dirty_capacity;
        payments->dirty = xrealloc(payments->dirty, payments->dirty_capacity * sizeof(struct payment *));
    }
    payments->dirty[payments->dirty_count++] = payment;
}

/* ---- when to look at it ---- */

/* A binary heap of the moments: the parent of i is (i - 1) / 2. */
static void heap_swap(struct payments *payments, size_t a, size_t b)
{
    struct payment_moment *moment = payments->heap[a];
    payments->heap[a] = payments->heap[b];
    payments->heap[b] = moment;
}

static void heap_put(struct payments *payments, struct payment_moment *moment)
{
    if (payments->heap_count == payments->heap_capacity) {
        payments->heap_capacity = payments->heap_capacity == 0 ? 256 : 2 * payments->heap_capacity;
        payments->heap = xrealloc(payments->heap, payments->heap_capacity * sizeof(struct payment_moment *));
    }
    size_t at = payments->heap_count++;
    payments->heap[at] = moment;
    while (at > 0 && payments->heap[(at - 1) / 2]->time > payments->heap[at]->time) {
        heap_swap(payments, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void heap_drop_first(struct payments *payments)
{
    index_remove(&payments->moments, time_hash(payments, payments->heap[0]->time), payments->heap[0]);
    free(payments->heap[0]);
    payments->heap[0] = payments->heap[--payments->heap_count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < payments->heap_count; child++)
            if (payments->heap[child]->time < payments->heap[least]->time)
                least = child;
        if (least == at)
            return;
        heap_swap(payments, at, least);
        at = least;
    }
}

static struct payment_moment *moment_at(struct payments *payments, uint64_t time)
{
    uint64_t hash = time_hash(payments, time);
    struct payment_moment *moment;
    for (struct index_walk walk = index_walk(&payments->moments, hash);
         (moment = index_next(&payments->moments, &walk)) != NULL;)
        if (moment->time == time)
            return moment;
    moment = xcalloc(1, sizeof(*moment));
    moment->time = time;
    index_add(&payments->moments, hash, moment);
    heap_put(payments, moment);
    return moment;
}

void payments_schedule(struct payments *payments, struct payment *payment, uint64_t time)
{
    if (payment->moment != NULL)
        payments_unschedule(payments, payment);
    struct payment_moment *moment = moment_at(payments, time);
    payment->moment = moment;
    payment->previous_of_moment = moment->last;
    if (moment->last == NULL)
        moment->first = payment;
    else
        moment->last->next_of_moment = payment;
    moment->last = payment;
}

/* A moment that is left empty goes when its time has come: there are no more of them than seconds. */
void payments_unschedule(struct payments *payments, struct payment *payment)
{
    (void)payments;
    struct payment_moment *moment = payment->moment;
    ensure(moment != NULL);
    if (payment->previous_of_moment == NULL)
        moment->first = payment->next_of_moment;
    else
        payment->previous_of_moment->next_of_moment = payment->next_of_moment;
    if (payment->next_of_moment == NULL)
        moment->last = payment->previous_of_moment;
    else
        payment->next_of_moment->previous_of_moment = payment->previous_of_moment;
    payment->moment = NULL;
    payment->next_of_moment = payment->previous_of_moment = NULL;
}

struct payment *payments_due(struct payments *payments, uint64_t now)
{
    while (payments->heap_count > 0 && payments->heap[0]->time <= now) {
        struct payment *first = payments->heap[0]->first;
        if (first != NULL) {
            payments_unschedule(payments, first);
            return first;
        }
        heap_drop_first(payments);
    }
    return NULL;
}

/* ---- disk ---- */

#define PAYMENT_RECORD_VERSION 5

enum { FLAG_LOCKED = 1, FLAG_WITNESS = 2, FLAG_MEMO = 4, FLAG_PAST = 8, FLAGS_ALL = 15 };

void payment_write(const struct payment *payment, uint8_t record_type, struct buffer *batch)
{
    size_t mark = record_begin(batch, record_type, &payment->payee.id, sizeof(payment->payee.id));
    buffer_u8(batch, PAYMENT_RECORD_VERSION);
    buffer_u8(batch, (uint8_t)((payment->is_locked ? FLAG_LOCKED : 0) |
                               (payment->witness != NULL ? FLAG_WITNESS : 0) |
                               (payment->memo_length > 0 ? FLAG_MEMO : 0) | (payment->past ? FLAG_PAST : 0)));
    buffer_append(batch, &payment->payer, sizeof(payment->payer));
    buffer_append(batch, &payment->payee.channel, sizeof(payment->payee.channel));
    buffer_u8(batch, payment->state);
    buffer_u8(batch, payment->due);
    buffer_u8(batch, payment->kind);
    buffer_u8(batch, payment->role);
    buffer_u16(batch, payment->other_shard);
    buffer_u8(batch, payment->code);
    buffer_u64(batch, payment->amount.units);
    buffer_u64(batch, payment->fee.units);
    buffer_u64(batch, payment->expiry);
    buffer_u32(batch, payment->booked);
    buffer_append(batch, payment->condition.bytes, sizeof(payment->condition.bytes));
    if (payment->is_locked) {
        buffer_u64(batch, payment->payer_lock);
        buffer_u64(batch, payment->payee_lock);
        buffer_u64(batch, payment->cancel_nonce);
    }
    if (payment->witness != NULL) {
        buffer_u8(batch, payment->witness->length);
        buffer_append(batch, payment->witness->bytes, payment->witness->length);
    }
    if (payment->memo_length > 0) {
        buffer_u16(batch, payment->memo_length);
        buffer_append(batch, payment->memo, payment->memo_length);
    }
    if (payment->stored)
        record_end(batch, mark);
    else
        record_end_first(batch, mark);
}

void payment_write_gone(const struct payment *payment, uint8_t record_type, struct buffer *batch)
{
    record_gone(batch, record_type, &payment->payee.id, sizeof(payment->payee.id));
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

static bool read_witness(struct payments *payments, struct payment *payment, struct reader *reader)
{
    struct witness witness = {.length = reader_u8(reader)};
    if (witness.length > WITNESS_BYTES_MAX)
        return false;
    reader_copy(reader, witness.bytes, witness.length);
    if (reader->ok)
        payment_set_witness(payments, payment, &witness);
    return reader->ok;
}

static bool read_memo(struct payment *payment, uint8_t flags, struct reader *reader)
{
    uint16_t length = (flags & FLAG_MEMO) != 0 ? reader_u16(reader) : 0;
    const uint8_t *memo = reader_take(reader, length);
    if (!reader->ok || length > MEMO_BYTES_MAX)
        return false;
    payment_set_memo(payment, (struct text){(const char *)memo, length});
    return true;
}

static bool read_fields(struct payments *payments, struct payment *payment, uint8_t flags,
                        struct reader *reader)
{
    struct hash condition;
    uint8_t state = reader_u8(reader), due = reader_u8(reader), kind = reader_u8(reader);
    payment->role = reader_u8(reader);
    payment->other_shard = reader_u16(reader);
    payment->code = reader_u8(reader);
    payment->amount.units = reader_u64(reader);
    payment->fee.units = reader_u64(reader);
    payment->expiry = reader_u64(reader);
    payment->booked = reader_u32(reader);
    reader_copy(reader, condition.bytes, sizeof(condition.bytes));
    if (!reader->ok || state == 0 || kind > LOCK_ATTESTATION ||
        !read_condition(payments, payment, kind, (flags & FLAG_LOCKED) != 0, &condition))
        return false;
    payment->past = (flags & FLAG_PAST) != 0;
    payment->state = state;
    payment->due = due;
    if (payment->is_locked) {
        payment->payer_lock = reader_u64(reader);
        payment->payee_lock = reader_u64(reader);
        payment->cancel_nonce = reader_u64(reader);
    }
    if ((flags & FLAG_WITNESS) != 0 && !read_witness(payments, payment, reader))
        return false;
    return read_memo(payment, flags, reader) && reader_done(reader) && is_possible(payment);
}

bool payment_read(struct payments *payments, const struct record *record)
{
    struct leg payer, payee;
    if (record->key_length != sizeof(payee.id))
        return false;
    memcpy(&payee.id, record->key, sizeof(payee.id));
    struct payment *payment = find_payee(payments, &payee.id, id_hash(payments, &payee.id));
    if (record->gone) {
        if (payment != NULL)
            payments_remove(payments, payment);
        return true;
    }
    struct reader reader = reader_of(record->value, record->value_length);
    if (reader_u8(&reader) != PAYMENT_RECORD_VERSION)
        return false;
    uint8_t flags = reader_u8(&reader);
    reader_copy(&reader, &payer, sizeof(payer));
    reader_copy(&reader, &payee.channel, sizeof(payee.channel));
    if (!reader.ok || flags > FLAGS_ALL)
        return false;
    if (payment == NULL)
        payment = payments_add(payments, &payer, &payee);
    else if (memcmp(&payment->payee, &payee, sizeof(payee)) != 0 ||
             memcmp(&payment->payer, &payer, sizeof(payer)) != 0)
        return false;
    payment->stored = true;
    return read_fields(payments, payment, flags, &reader);
}
