/* Bodies: operations both ways, and what is malformed in one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/wire/random_message.h"

struct fixture {
    struct random_source source;
    struct decoder *decoder;
    struct buffer body;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->source.state = 77;
    fixture->decoder = decoder_new();
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    decoder_free(fixture->decoder);
    buffer_free(&fixture->body);
    buffer_free(&fixture->source.body);
    free(fixture);
    return 0;
}

/* From memory that ends with the body, so that the sanitizer sees any byte read too many. */
static bool is_body(struct fixture *fixture, const uint8_t *body, size_t length)
{
    uint8_t *copy = malloc(length == 0 ? 1 : length);
    if (length > 0)
        memcpy(copy, body, length);
    const struct operation *operations = NULL;
    size_t count = 0;
    bool good = body_decode(fixture->decoder, copy, length, &operations, &count);
    if (good) {
        assert_true(count >= 1 && count <= OPERATIONS_MAX);
        buffer_clear(&fixture->body);
        body_encode(&fixture->body, operations, count);
    }
    free(copy);
    return good;
}

static bool is_body_hex(struct fixture *fixture, const char *text)
{
    uint8_t bytes[1024];
    size_t length;
    assert_true(hex_decode_any(text, bytes, sizeof bytes, &length));
    return is_body(fixture, bytes, length);
}

static void operations_survive_the_round_trip(void **state)
{
    struct fixture *fixture = *state;
    struct random_source *source = &fixture->source;
    for (int round = 0; round < 2000; round++) {
        random_body(source);
        const struct operation *got;
        size_t count;
        assert_true(body_decode(fixture->decoder, source->body.data, source->body.length, &got, &count));
        for (size_t i = 0; i < count; i++) {
            const struct operation *sent = &source->operations[i];
            assert_int_equal(got[i].type, sent->type);
            assert_memory_equal(&got[i].id, &sent->id, sizeof sent->id);
            assert_memory_equal(&got[i].peer, &sent->peer, sizeof sent->peer);
            assert_int_equal(got[i].amount.units, sent->amount.units);
            assert_int_equal(got[i].fee.units, sent->fee.units);
            assert_int_equal(got[i].expiry, sent->expiry);
            assert_memory_equal(&got[i].condition, &sent->condition, sizeof sent->condition);
            assert_int_equal(got[i].kind, sent->kind);
            assert_int_equal(got[i].lock_id, sent->lock_id);
            assert_int_equal(got[i].code, sent->code);
            assert_int_equal(got[i].witness.length, sent->witness.length);
            assert_memory_equal(got[i].witness.bytes, sent->witness.bytes, WITNESS_BYTES_MAX);
            assert_int_equal(got[i].memo.length, sent->memo.length);
            if (sent->memo.length > 0)
                assert_memory_equal(got[i].memo.data, sent->memo.data, sent->memo.length);
        }
        assert_true(is_body(fixture, source->body.data, source->body.length));
        assert_int_equal(fixture->body.length, source->body.length);
        assert_memory_equal(fixture->body.data, source->body.data, source->body.length);
    }
}

static void truncated_or_longer_is_no_body(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 20; round++) {
        random_body(&fixture->source);
        struct buffer *body = &fixture->source.body;
        for (size_t length = 0; length < body->length; length++)
            assert_false(is_body(fixture, body->data, length));
        buffer_u8(body, 0);
        assert_false(is_body(fixture, body->data, body->length));
    }
}

static void changed_bytes_never_harm(void **state)
{
    struct fixture *fixture = *state;
    struct random_source *source = &fixture->source;
    for (int round = 0; round < 5000; round++) {
        random_body(source);
        for (uint64_t change = 0; change <= random_below(source, 3); change++)
            source->body.data[random_below(source, source->body.length)] ^=
                (uint8_t)(1u << random_below(source, 8));
        if (is_body(fixture, source->body.data, source->body.length))
            assert_true(is_body(fixture, fixture->body.data, fixture->body.length));
    }
}

#define ID      "c41000000000000000000000000000000000"
#define ADDRESS "c4140000000000000000000000000000000000000000"
#define HASH    "c4200000000000000000000000000000000000000000000000000000000000000000"

static void what_is_malformed_in_a_body(void **state)
{
    struct fixture *fixture = *state;
    static const char *const good[] = {"91 9801" ID ADDRESS "010203" HASH "a0",
                                       "91 9a02" ID ADDRESS "0101020300" HASH "a0",
                                       "91 9a02" ID ADDRESS "0101020301" HASH "a0",
                                       "91 9303 01" HASH,
                                       "91 930301c400",
                                       "91 930301c40107", /* no witness at all: the channel says so */
                                       "91 920401",
                                       "91 920501",
                                       "91 9406" ID "0128",
                                       "92 920401 920502",
                                       "91 93040105",
                                       "91 9404 01 9190 c2", /* trailing fields */
                                       "dc0001 920401",
                                       "dd00000001 dc0002 04 cf0000000000000001"};
    static const char *const bad[] = {"90",        /* no operation */
                                      "c0",        /* no array */
                                      "91 920001", /* types 0, 7, 256 */
                                      "91 920701",
                                      "91 92cd010001",
                                      "91 9104", /* a field is missing */
                                      "91 9701" ID ADDRESS "010203" HASH,
                                      "91 9305" HASH,
                                      "91 9a02" ID ADDRESS "0101020302" HASH "a0", /* kind 2 */
                                      "91 9801" ID ADDRESS "01ff03" HASH "a0",     /* a fee below 0 */
                                      "91 9801" ADDRESS ID "010203" HASH "a0",     /* lengths */
                                      "91 9801" ID ADDRESS "010203" HASH
                                      "a1ff", /* a memo that is not UTF-8 */
                                      "91 9801" ID ADDRESS "010203" HASH "a100", /* with a NUL */
                                      "91 9801" ID ADDRESS "010203" HASH "c400", /* a memo that is bin */
                                      "91 9404 01 919190 c2",                    /* nested too deep */
                                      "91 930401c0",                             /* nil, if only behind */
                                      "92 920401",                               /* one operation too few */
                                      "91 920401 00",                            /* bytes behind */
                                      "91 8104",                                 /* a map for an operation */
                                      "ddffffffff 920401",
                                      "dc0401 920401"};
    char text[512];
    for (size_t i = 0; i < ARRAY_LENGTH(good) + ARRAY_LENGTH(bad); i++) {
        bool expected = i < ARRAY_LENGTH(good);
        const char *at = expected ? good[i] : bad[i - ARRAY_LENGTH(good)];
        size_t length = 0;
        for (; *at != '\0'; at++)
            if (*at != ' ')
                text[length++] = *at;
        text[length] = '\0';
        if (is_body_hex(fixture, text) != expected)
            fail_msg("%s", text);
    }
}

static void limits_of_a_body(void **state)
{
    struct fixture *fixture = *state;
    struct operation *list = calloc(OPERATIONS_MAX + 1, sizeof *list);
    for (size_t i = 0; i <= OPERATIONS_MAX; i++)
        list[i] = (struct operation){.type = OPERATION_EXPIRE, .lock_id = i};
    struct buffer body = {0};
    body_encode(&body, list, OPERATIONS_MAX);
    assert_true(is_body(fixture, body.data, body.length));
    /* One more. */
    body.data[2] = 1;
    buffer_append(&body, "\x92\4\1", 3);
    assert_int_equal(load_be16(body.data + 1), OPERATIONS_MAX + 1);
    assert_false(is_body(fixture, body.data, body.length));
    free(list);

    /* A memo of 256 bytes, of 257. */
    uint8_t head[256];
    size_t length;
    assert_true(hex_decode_any("919801" ID ADDRESS "010203" HASH, head, sizeof head, &length));
    for (uint16_t memo = 256; memo <= 257; memo++) {
        buffer_clear(&body);
        buffer_append(&body, head, length);
        buffer_u8(&body, 0xda);
        buffer_u16(&body, memo);
        memset(buffer_extend(&body, memo), 'm', memo);
        assert_int_equal(is_body(fixture, body.data, body.length), memo == 256);
    }
    /* A witness of 116 bytes, of 117. */
    for (uint8_t witness = 116; witness <= 117; witness++) {
        buffer_clear(&body);
        buffer_append(&body, "\x91\x93\3\1\xc4", 5);
        buffer_u8(&body, witness);
        memset(buffer_extend(&body, witness), 1, witness);
        assert_int_equal(is_body(fixture, body.data, body.length), witness == 116);
    }
    /* 64 KiB, and a byte more (a trailing field fills it). */
    for (size_t size = BODY_BYTES_MAX; size <= BODY_BYTES_MAX + 1; size++) {
        buffer_clear(&body);
        buffer_append(&body, "\x91\x93\4\1\xc6", 5);
        buffer_u32(&body, (uint32_t)(size - 9));
        memset(buffer_extend(&body, size - 9), 0, size - 9);
        assert_int_equal(body.length, size);
        /* Not written again: the trailing field would be gone. */
        const struct operation *operations;
        size_t count;
        assert_int_equal(body_decode(fixture->decoder, body.data, body.length, &operations, &count),
                         size == BODY_BYTES_MAX);
    }
    buffer_free(&body);
}

static void the_size_of_an_operation_is_never_underestimated(void **state)
{
    struct fixture *fixture = *state;
    struct random_source *source = &fixture->source;
    for (int round = 0; round < 2000; round++) {
        random_body(source);
        const struct operation *got;
        size_t count, sum = 0;
        assert_true(body_decode(fixture->decoder, source->body.data, source->body.length, &got, &count));
        for (size_t i = 0; i < count; i++)
            sum += operation_size_max(&got[i]);
        assert_true(source->body.length <= sum);
    }
    /* Not by far too much either: the longest forms of all. */
    struct operation lock = {.type = OPERATION_LOCK, .kind = 1, .lock_id = UINT64_MAX, .expiry = UINT64_MAX};
    lock.amount = lock.fee = amount_of(UINT64_MAX);
    char memo[MEMO_BYTES_MAX];
    memset(memo, 'm', sizeof memo);
    lock.memo = (struct text){memo, sizeof memo};
    buffer_clear(&fixture->body);
    body_encode(&fixture->body, &lock, 1);
    assert_int_equal(operation_size_max(&lock) + 1, fixture->body.length + 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(operations_survive_the_round_trip),
        TEST(truncated_or_longer_is_no_body),
        TEST(changed_bytes_never_harm),
        TEST(what_is_malformed_in_a_body),
        TEST(limits_of_a_body),
        TEST(the_size_of_an_operation_is_never_underestimated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
