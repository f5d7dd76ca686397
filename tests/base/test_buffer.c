#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "tests/support/capture.h"

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_u8(&buffer, 0xab);
    buffer_u16(&buffer, 0xabcd);
    buffer_u32(&buffer, 0xabcdef01);
    buffer_u64(&buffer, 0xabcdef0123456789);
    buffer_append(&buffer, "rill", 4);
    assert_int_equal(buffer.length, 1 + 2 + 4 + 8 + 4);
    assert_memory_equal(buffer.data, "\xab\xab\xcd\xab\xcd\xef\x01\xab\xcd\xef\x01\x23\x45\x67\x89rill",
                        buffer.length);

    struct reader reader = reader_of(buffer.data, buffer.length);
    char text[4];
    assert_int_equal(reader_u8(&reader), 0xab);
    assert_int_equal(reader_u16(&reader), 0xabcd);
    assert_int_equal(reader_u32(&reader), 0xabcdef01);
    assert_true(reader_u64(&reader) == 0xabcdef0123456789);
    assert_false(reader_done(&reader));
    reader_copy(&reader, text, 4);
    assert_memory_equal(text, "rill", 4);
    assert_true(reader_done(&reader));
    buffer_free(&buffer);
}

static void test_growth_keeps_the_bytes(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    for (uint32_t i = 0; i < 10000; i++)
        buffer_u32(&buffer, i);
    assert_int_equal(buffer.length, 40000);
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(load_be32(buffer.data + 4 * i), i);
    size_t capacity = buffer.capacity;
    buffer_clear(&buffer);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, capacity);
    buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.length + buffer.capacity, 0);
    buffer_free(&buffer);
}

static void test_nothing_may_be_appended(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer.length, 0);
    assert_non_null(buffer_extend(&buffer, 0));
    assert_int_equal(buffer.length, 0);
    buffer_free(&buffer);
}

static void test_printf_adds_no_end(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_printf(&buffer, "%s=%d;", "a", 1);
    buffer_printf(&buffer, "%0300d", 7);
    assert_int_equal(buffer.length, 4 + 300);
    assert_memory_equal(buffer.data, "a=1;0", 5);
    assert_int_equal(buffer.data[303], '7');
    buffer_free(&buffer);
}

static void extend_too_far(void *argument)
{
    buffer_extend(argument, SIZE_MAX / 2);
}

static void test_an_impossible_size_stops_the_process(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    assert_true(capture_aborts(extend_too_far, &buffer));
}

static void test_a_reader_stops_at_the_end(void **state)
{
    (void)state;
    uint8_t data[7] = {1, 2, 3, 4, 5, 6, 7}, out[4] = {9, 9, 9, 9};
    struct reader reader = reader_of(data, sizeof(data));
    assert_int_equal(reader_u64(&reader), 0);
    assert_false(reader.ok);
    assert_int_equal(reader_u8(&reader), 0); /* from then on nothing is read, though bytes are left */
    assert_null(reader_take(&reader, 1));
    reader_copy(&reader, out, sizeof(out));
    assert_memory_equal(out, "\0\0\0\0", 4);
    assert_false(reader_done(&reader));

    reader = reader_of(data, sizeof(data));
    assert_ptr_equal(reader_take(&reader, 7), data);
    assert_true(reader_done(&reader));
    assert_non_null(reader_take(&reader, 0));
    assert_null(reader_take(&reader, SIZE_MAX));
    assert_false(reader_done(&reader));

    reader = reader_of(data, 1);
    assert_int_equal(reader_u16(&reader), 0);
    reader = reader_of(data, 3);
    assert_int_equal(reader_u32(&reader), 0);
    reader = reader_of(NULL, 0);
    assert_true(reader_done(&reader));
    assert_int_equal(reader_u8(&reader), 0);
    assert_false(reader_done(&reader));
}

static void test_numbers_of_any_length(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t value = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
        buffer_clear(&buffer);
        buffer_varint(&buffer, value);
        assert_int_equal(buffer.length, bits == 0 ? 1 : (bits + 6) / 7);
        struct reader reader = reader_of(buffer.data, buffer.length);
        assert_true(reader_varint(&reader) == value && reader_done(&reader));
        reader = reader_of(buffer.data, buffer.length - 1);
        assert_int_equal(reader_varint(&reader), 0);
        assert_false(reader.ok);
    }
    buffer_free(&buffer);
    static const uint8_t longer[] = {0x81, 0x00}, zero[] = {0x80, 0x00},
                         over[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 2},
                         endless[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    const struct reader refused[] = {reader_of(longer, sizeof(longer)), reader_of(zero, sizeof(zero)),
                                     reader_of(over, sizeof(over)), reader_of(endless, sizeof(endless))};
    for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
        struct reader reader = refused[i];
        assert_int_equal(reader_varint(&reader), 0);
        assert_false(reader.ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_growth_keeps_the_bytes),
        cmocka_unit_test(test_nothing_may_be_appended),
        cmocka_unit_test(test_printf_adds_no_end),
        cmocka_unit_test(test_an_impossible_size_stops_the_process),
        cmocka_unit_test(test_a_reader_stops_at_the_end),
        cmocka_unit_test(test_numbers_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
