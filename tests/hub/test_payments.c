/* The hub's table of payments: lookups, when to look at them, leaving, and records in every good and bad form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/code.h"
#include "crypto/lock.h"
#include "hub/payments.h"

#define RECORD_TYPE 16

static struct leg leg_of(uint8_t channel, uint8_t id)
{
    struct leg leg = {{{0}}, {{0}}};
    leg.channel.bytes[0] = channel;
    leg.id.bytes[0] = id;
    return leg;
}

static struct leg payee_of(const struct leg *payer)
{
    struct leg leg = leg_of(2, 0);
    leg.id = payment_id_of_payee(&payer->channel, &payer->id);
    return leg;
}

static struct payment *add(struct payments *payments, uint8_t id)
{
    struct leg payer = leg_of(1, id), payee = payee_of(&payer);
    struct payment *payment = payments_add(payments, &payer, &payee);
    payment->state = PAYMENT_WAITING;
    payment->amount = amount_of(100);
    return payment;
}

static void test_found_by_either_leg(void **state)
{
    struct payments payments = {0};
    (void)state;
    struct payment *first = add(&payments, 1), *second = add(&payments, 2);
    struct leg payer = leg_of(1, 1), other = leg_of(1, 2), payee = payee_of(&other);
    assert_ptr_equal(payments_find(&payments, &payer.channel, &payer.id), first);
    assert_ptr_equal(payments_find_payee(&payments, &payee.channel, &payee.id), second);
    payee.channel.bytes[0]++; /* another's channel */
    assert_null(payments_find_payee(&payments, &payee.channel, &payee.id));
    payee.channel.bytes[0]--;
    assert_null(payments_find(&payments, &payee.channel, &payee.id));
    assert_null(payments_find_payee(&payments, &payer.channel, &payer.id));
    assert_null(payments_add(&payments, &payer, &payee)); /* the second's id on the payee's leg */
    payments_remove(&payments, first);
    assert_null(payments_find(&payments, &payer.channel, &payer.id));
    payments_free(&payments);
}

/* A payment stays until its end is durable, unless it comes back before; and then leaves by its own end. */
static void test_payments_leave_when_their_end_is_durable(void **state)
{
    struct payments payments = {0};
    (void)state;
    for (uint64_t round = 1; round <= 3; round++) {
        struct payment *all[100];
        for (unsigned i = 0; i < 100; i++) {
            all[i] = add(&payments, (uint8_t)i);
            payments_schedule(&payments, all[i], i);
            payments_leave(&payments, all[i], 1000 * round + i);
            if (i >= 10)
                payments_left(&payments, 1000 * round + i - 10); /* the ring goes round */
        }
        assert_int_equal(payments_under_way(&payments), 0);
        payments_left(&payments, 1000 * round + 95);
        assert_int_equal(payments_count(&payments), 4);
        payments_return(&payments, all[97]);
        payments_return(&payments, all[98]);
        payments_leave(&payments, all[98], 1000 * round + 200);
        assert_int_equal(payments_under_way(&payments), 1);
        payments_left(&payments, 1000 * round + 199);
        assert_int_equal(payments_count(&payments), 2);
        payments_leave(&payments, all[97], 1000 * round + 201);
        payments_left(&payments, 1000 * round + 201);
        assert_int_equal(payments_count(&payments), 0);
        assert_null(payments_due(&payments, UINT64_MAX));
    }
    payments_free(&payments);
}

static void test_the_earliest_comes_first(void **state)
{
    struct payments payments = {0};
    struct payment *all[200];
    uint32_t random = 7;
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        random = random * 1664525u + 1013904223u;
        all[i] = add(&payments, (uint8_t)i);
        all[i]->expiry = random >> 24;
        payments_schedule(&payments, all[i], all[i]->expiry);
    }
    for (unsigned i = 0; i < 200; i += 7)
        payments_unschedule(&payments, all[i]);
    for (unsigned i = 0; i < 200; i += 14)
        payments_schedule(&payments, all[i], 255);
    for (unsigned i = 0; i < 200; i += 14)
        payments_schedule(&payments, all[i], all[i]->expiry); /* not before, and not then */
    uint64_t last = 0;
    unsigned count = 0;
    for (uint64_t now = 0; now < 256; now++) {
        struct payment *payment;
        while ((payment = payments_due(&payments, now)) != NULL) {
            assert_true(payment->expiry >= last && payment->expiry <= now);
            assert_null(payment->moment);
            last = payment->expiry;
            count++;
        }
    }
    assert_int_equal(count, 200 - 29 + 15);
    assert_null(payments_due(&payments, UINT64_MAX));
    payments_free(&payments);
}

static void test_alike_conditions_are_found_together(void **state)
{
    struct payments payments = {0};
    struct hash condition = {{5}}, other = {{6}};
    struct payment *all[4];
    (void)state;
    for (uint8_t i = 0; i < 4; i++) {
        all[i] = add(&payments, i);
        payments_lock(&payments, all[i], LOCK_SECRET, i == 3 ? &other : &condition);
    }
    assert_null(payments_on_condition(&payments, LOCK_ATTESTATION, &condition));
    assert_ptr_equal(payments_on_condition(&payments, LOCK_SECRET, &other), all[3]);
    unsigned count = 0;
    const struct payment *at = payments_on_condition(&payments, LOCK_SECRET, &condition);
    for (; at != NULL; at = at->next_alike)
        count++;
    assert_int_equal(count, 3);
    payments_remove(&payments, all[1]); /* from the middle, the front, the end */
    payments_remove(&payments, payments_on_condition(&payments, LOCK_SECRET, &condition));
    assert_non_null(payments_on_condition(&payments, LOCK_SECRET, &condition));
    payments_remove(&payments, payments_on_condition(&payments, LOCK_SECRET, &condition));
    assert_null(payments_on_condition(&payments, LOCK_SECRET, &condition));
    payments_free(&payments);
}

/* ---- records ---- */

static struct payment *full_payment(struct payments *payments)
{
    struct payment *payment = add(payments, 9);
    struct hash condition = {{1, 2, 3}};
    struct witness witness = {.length = WITNESS_SECRET_BYTES, .bytes = {4, 5}};
    payments_lock(payments, payment, LOCK_SECRET, &condition);
    payment->state = PAYMENT_REVEALED;
    payment->due = DUE_UNLOCK;
    payment->fee = amount_of(7);
    payment->expiry = 1800000000;
    payment->payer_lock = 11;
    payment->payee_lock = 12;
    payment->cancel_nonce = 13;
    payment->code = CODE_INVOICE;
    payment_set_witness(payments, payment, &witness);
    payment_set_memo(payment, (struct text){"tea", 3});
    payment->booked = 77;
    payment->past = true;
    return payment;
}

static bool read_batch(struct payments *payments, const struct buffer *batch)
{
    struct reader reader = reader_of(batch->data, batch->length);
    struct record record;
    while (record_next(&reader, &record))
        if (!payment_read(payments, &record))
            return false;
    return reader.ok;
}

static void test_a_record_brings_everything_back(void **state)
{
    struct payments before = {0}, after = {0};
    struct buffer batch = {0}, again = {0};
    (void)state;
    struct payment *payment = full_payment(&before);
    payment_write(payment, RECORD_TYPE, &batch);
    assert_true(read_batch(&after, &batch));
    struct payment *read = payments_find(&after, &payment->payer.channel, &payment->payer.id);
    assert_non_null(read);
    assert_int_equal(read->payer_lock, 11);
    assert_int_equal(read->witness->length, WITNESS_SECRET_BYTES);
    assert_memory_equal(read->memo, "tea", 3);
    assert_int_equal(read->booked, 77);
    assert_ptr_equal(payments_on_condition(&after, LOCK_SECRET, &payment->condition), read);
    assert_true(read->stored && read->past);
    read->stored = false; /* or the record would not be the first */
    payment_write(read, RECORD_TYPE, &again);
    assert_int_equal(again.length, batch.length);
    assert_memory_equal(again.data, batch.data, batch.length);
    assert_true(read_batch(&after, &batch)); /* the same once more changes nothing */
    buffer_clear(&batch);
    payment_write_gone(payment, RECORD_TYPE, &batch);
    assert_true(read_batch(&after, &batch));
    assert_int_equal(payments_count(&after), 0);
    assert_true(read_batch(&after, &batch)); /* gone is gone */
    buffer_free(&batch);
    buffer_free(&again);
    payments_free(&before);
    payments_free(&after);
}

/* The value of a written record, changed at one place. */
static bool reads_with(size_t offset, uint8_t byte)
{
    struct payments before = {0}, after = {0};
    struct buffer batch = {0};
    payment_write(full_payment(&before), RECORD_TYPE, &batch);
    size_t value = 6 + sizeof(struct payment_id); /* type, key length, value length, key */
    batch.data[value + offset] = byte;
    bool good = read_batch(&after, &batch);
    buffer_free(&batch);
    payments_free(&before);
    payments_free(&after);
    return good;
}

static void test_malformed_records_are_refused(void **state)
{
    enum { VERSION = 0, FLAGS = 1, STATE = 82, DUE = 83, KIND = 84, ROLE = 85, AMOUNT = 89, FEE = 97 };
    (void)state;
    assert_true(reads_with(VERSION, 5));
    assert_false(reads_with(VERSION, 4));
    assert_false(reads_with(VERSION, 6));
    assert_false(reads_with(STATE, 0));
    assert_false(reads_with(STATE, PAYMENT_LAPSED + 1));
    assert_false(reads_with(STATE, PAYMENT_WAITING)); /* of a direct one */
    assert_false(reads_with(DUE, DUE_REFUND));        /* likewise */
    assert_false(reads_with(DUE, DUE_REFUND + 1));
    assert_false(reads_with(KIND, LOCK_ATTESTATION + 1));
    assert_true(reads_with(FLAGS, 7));
    assert_true(reads_with(FLAGS, 15));
    assert_false(reads_with(FLAGS, 31));
    assert_false(reads_with(FLAGS, 6)); /* not locked */
    assert_false(reads_with(FLAGS, 3)); /* no memo, and bytes left over */
    assert_true(reads_with(ROLE, HALF_OF_PAYEE));
    assert_false(reads_with(ROLE, HALF_OF_PAYER)); /* which unlocks nothing */
    assert_false(reads_with(ROLE, HALF_OF_PAYEE + 1));
    assert_false(reads_with(AMOUNT, 0x80)); /* 2^63 */
    assert_false(reads_with(FEE, 0x80));
}

static void test_short_and_long_records_are_refused(void **state)
{
    struct payments before = {0};
    struct buffer batch = {0};
    (void)state;
    const struct payment *payment = full_payment(&before);
    payment_write(payment, RECORD_TYPE, &batch);
    const size_t head = 6 + sizeof(struct payment_id);
    for (size_t length = 0; length <= batch.length - head + 1; length++) {
        struct payments after = {0};
        uint8_t *value = calloc(1, length + 1); /* exactly as long, so that a sanitizer sees what is read */
        size_t whole = batch.length - head;
        assert_non_null(value);
        memcpy(value, batch.data + head, length < whole ? length : whole);
        struct record record = {.type = RECORD_TYPE,
                                .key_length = sizeof(struct payment_id),
                                .key = payment->payee.id.bytes,
                                .value = value,
                                .value_length = (uint32_t)length};
        assert_int_equal(payment_read(&after, &record), length == whole);
        record.key_length--;
        assert_false(payment_read(&after, &record));
        free(value);
        payments_free(&after);
    }
    buffer_free(&batch);
    payments_free(&before);
}

static void test_two_payments_cannot_share_a_leg(void **state)
{
    struct payments one = {0}, other = {0};
    struct buffer batch = {0};
    (void)state;
    struct leg payer = leg_of(3, 3), ours = leg_of(1, 9), payee = payee_of(&ours);
    struct payment *twin = payments_add(&other, &payer, &payee);
    twin->state = PAYMENT_WAITING;
    payment_write(full_payment(&one), RECORD_TYPE, &batch);
    payment_write(twin, RECORD_TYPE, &batch);
    struct payments after = {0};
    assert_false(read_batch(&after, &batch));
    buffer_free(&batch);
    payments_free(&one);
    payments_free(&other);
    payments_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_by_either_leg),
        cmocka_unit_test(test_payments_leave_when_their_end_is_durable),
        cmocka_unit_test(test_the_earliest_comes_first),
        cmocka_unit_test(test_alike_conditions_are_found_together),
        cmocka_unit_test(test_a_record_brings_everything_back),
        cmocka_unit_test(test_malformed_records_are_refused),
        cmocka_unit_test(test_short_and_long_records_are_refused),
        cmocka_unit_test(test_two_payments_cannot_share_a_leg),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
