#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/record.h"
#include "tests/support/capture.h"

static void write_batch(struct buffer *batch)
{
    record_put(batch, 1, "key", 3, "value", 5);
    record_gone(batch, 2, "old", 3);
    size_t mark = record_begin(batch, 255, NULL, 0);
    buffer_u64(batch, 42);
    record_end(batch, mark);
    record_put(batch, 3, "empty", 5, NULL, 0);
}

static void test_records_are_read_in_order(void **state)
{
    (void)state;
    struct buffer batch = {0};
    write_batch(&batch);
    struct reader reader = reader_of(batch.data, batch.length);
    struct record record;

    assert_true(record_next(&reader, &record));
    assert_true(record.type == 1 && record.key_length == 3 && record.value_length == 5 && !record.gone);
    assert_memory_equal(record.key, "key", 3);
    assert_memory_equal(record.value, "value", 5);

    assert_true(record_next(&reader, &record));
    assert_true(record.type == 2 && record.key_length == 3 && record.value_length == 0 && record.gone);
    assert_memory_equal(record.key, "old", 3);

    assert_true(record_next(&reader, &record));
    assert_true(record.type == 255 && record.key_length == 0 && record.value_length == 8 && !record.gone);
    assert_int_equal(load_be64(record.value), 42);

    assert_true(record_next(&reader, &record));
    assert_true(record.type == 3 && record.value_length == 0 && !record.gone); /* empty is not gone */

    assert_false(record_next(&reader, &record));
    assert_true(reader_done(&reader));
    buffer_free(&batch);
}

static void test_bytes_on_disk(void **state)
{
    (void)state;
    struct buffer batch = {0};
    record_put(&batch, 1, "k", 1, "vw", 2);
    record_gone(&batch, 2, "k", 1);
    static const uint8_t expected[] = {1, 1, 0, 0, 0, 2, 'k', 'v', 'w', 2, 1, 0xff, 0xff, 0xff, 0xff, 'k'};
    assert_int_equal(batch.length, sizeof(expected));
    assert_memory_equal(batch.data, expected, sizeof(expected));
    buffer_free(&batch);
}

static void test_a_cut_batch_is_malformed(void **state)
{
    (void)state;
    struct buffer batch = {0};
    write_batch(&batch);
    /* Where a batch may end without harm: between its records. */
    size_t ends[5] = {0}, count = 1;
    struct reader whole = reader_of(batch.data, batch.length);
    struct record record;
    while (record_next(&whole, &record))
        ends[count++] = (size_t)(whole.at - batch.data);
    assert_int_equal(count, 5);
    for (size_t length = 0; length <= batch.length; length++) {
        struct reader reader = reader_of(batch.data, length);
        while (record_next(&reader, &record))
            ;
        bool between = false;
        for (size_t i = 0; i < count; i++)
            between = between || ends[i] == length;
        assert_true(reader_done(&reader) == between);
    }
    buffer_free(&batch);
}

static void begin_with_long_key(void *argument)
{
    uint8_t key[RECORD_KEY_MAX + 1] = {0};
    record_begin(argument, 1, key, sizeof(key));
}

static void test_key_length_is_bounded(void **state)
{
    (void)state;
    struct buffer batch = {0};
    uint8_t key[RECORD_KEY_MAX];
    memset(key, 5, sizeof(key));
    record_put(&batch, 1, key, sizeof(key), "x", 1);
    struct reader reader = reader_of(batch.data, batch.length);
    struct record record;
    assert_true(record_next(&reader, &record));
    assert_int_equal(record.key_length, RECORD_KEY_MAX);
    assert_memory_equal(record.key, key, sizeof(key));
    assert_int_equal(record.value[0], 'x');
    buffer_free(&batch);
    assert_true(capture_aborts(begin_with_long_key, &batch));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_are_read_in_order),
        cmocka_unit_test(test_bytes_on_disk),
        cmocka_unit_test(test_a_cut_batch_is_malformed),
        cmocka_unit_test(test_key_length_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
