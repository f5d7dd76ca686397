/* The codec: every message both ways, and everything that is not a message refused without harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "tests/wire/random_message.h"

struct fixture {
    struct random_source source;
    struct decoder *decoder;
    struct buffer frame, again;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->source.state = 20260;
    fixture->decoder = decoder_new();
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    decoder_free(fixture->decoder);
    buffer_free(&fixture->frame);
    buffer_free(&fixture->again);
    buffer_free(&fixture->source.body);
    free(fixture);
    return 0;
}

/* Decodes from memory that ends where the payload ends, so that the sanitizer sees any byte read too many. */
static enum code decode_exact(struct decoder *decoder, const uint8_t *payload, size_t length,
                              struct message *out, const char **why, uint8_t **copy)
{
    *copy = malloc(length == 0 ? 1 : length);
    memcpy(*copy, payload, length);
    return message_decode(decoder, *copy, length, out, why);
}

static enum code decode_code(struct decoder *decoder, const uint8_t *payload, size_t length)
{
    struct message out;
    const char *why = NULL;
    uint8_t *copy;
    enum code code = decode_exact(decoder, payload, length, &out, &why, &copy);
    if (code == CODE_OK)
        assert_null(why);
    else
        assert_true(code == CODE_MALFORMED && why != NULL && why[0] != '\0');
    free(copy);
    return code;
}

static void encode(struct fixture *fixture, enum message_type type)
{
    struct message message = random_message(&fixture->source, type);
    buffer_clear(&fixture->frame);
    message_encode(&fixture->frame, &message);
    assert_int_equal(load_be32(fixture->frame.data) + 4, fixture->frame.length);
}

/* ---- both ways ---- */

static void every_message_survives_the_round_trip(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++) {
        for (int round = 0; round < 200; round++) {
            encode(fixture, all_types[i]);
            struct message out;
            const char *why = NULL;
            uint8_t *copy;
            enum code code = decode_exact(fixture->decoder, fixture->frame.data + 4,
                                          fixture->frame.length - 4, &out, &why, &copy);
            if (code != CODE_OK)
                fail_msg("%s: %s", message_name(all_types[i]), why);
            assert_int_equal(out.type, all_types[i]);
            buffer_clear(&fixture->again);
            message_encode(&fixture->again, &out);
            assert_int_equal(fixture->again.length, fixture->frame.length);
            assert_memory_equal(fixture->again.data, fixture->frame.data, fixture->frame.length);
            free(copy);
        }
    }
}

static struct message decoded(struct fixture *fixture)
{
    struct message out;
    const char *why;
    assert_int_equal(
        message_decode(fixture->decoder, fixture->frame.data + 4, fixture->frame.length - 4, &out, &why),
        CODE_OK);
    return out;
}

static void fields_arrive_where_they_belong(void **state)
{
    struct fixture *fixture = *state;
    struct message sent = random_message(&fixture->source, MESSAGE_UPDATE);
    message_encode(&fixture->frame, &sent);
    struct message got = decoded(fixture);
    assert_memory_equal(&got.update.channel, &sent.update.channel, 32);
    assert_int_equal(got.update.proof.nonce, sent.update.proof.nonce);
    assert_int_equal(got.update.proof.transferred.units, sent.update.proof.transferred.units);
    assert_int_equal(got.update.proof.locked.units, sent.update.proof.locked.units);
    assert_memory_equal(&got.update.proof.locks_root, &sent.update.proof.locks_root, 32);
    assert_memory_equal(&got.update.signature, &sent.update.signature, 64);
    struct hash body_hash = keccak256(sent.update.body, sent.update.body_length);
    assert_memory_equal(&got.update.proof.body_hash, &body_hash, 32);
    /* The body is not copied. */
    assert_true(got.update.body > fixture->frame.data &&
                got.update.body < fixture->frame.data + fixture->frame.length);

    sent = (struct message){.type = MESSAGE_FUNDED, .funded = {.base = -17, .seq = 3, .block = 120}};
    sent.funded.total = amount_of(250);
    buffer_clear(&fixture->frame);
    message_encode(&fixture->frame, &sent);
    got = decoded(fixture);
    assert_true(got.funded.base == -17 && got.funded.total.units == 250 && got.funded.seq == 3);
    assert_int_equal(got.funded.block, 120);
}

static void names_are_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++)
        assert_string_not_equal(message_name(all_types[i]), "?");
    assert_string_equal(message_name(MESSAGE_UPDATE), "UPDATE");
    assert_string_equal(message_name(0), "?");
    assert_string_equal(message_name(23), "?");
    assert_string_equal(message_name(36), "?");
    assert_string_equal(message_name(UINT64_MAX), "?");
}

/* ---- not a message ---- */

static void every_truncation_is_refused(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++)
        for (int round = 0; round < 3; round++) {
            encode(fixture, all_types[i]);
            for (size_t length = 0; length < fixture->frame.length - 4; length++)
                assert_int_equal(decode_code(fixture->decoder, fixture->frame.data + 4, length),
                                 CODE_MALFORMED);
        }
}

static void bytes_after_the_array_are_refused(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++) {
        encode(fixture, all_types[i]);
        buffer_u8(&fixture->frame, 0);
        assert_int_equal(decode_code(fixture->decoder, fixture->frame.data + 4, fixture->frame.length - 4),
                         CODE_MALFORMED);
    }
}

/* Whatever is accepted after a change is a message again: it can be written and read. */
static void changed_bytes_never_harm(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++)
        for (int round = 0; round < 400; round++) {
            if (round % 20 == 0)
                encode(fixture, all_types[i]);
            size_t length = fixture->frame.length - 4;
            uint8_t *payload = malloc(length);
            memcpy(payload, fixture->frame.data + 4, length);
            for (uint64_t change = 0; change <= random_below(&fixture->source, 3); change++)
                payload[random_below(&fixture->source, length)] ^=
                    (uint8_t)(1u << random_below(&fixture->source, 8));
            struct message out;
            const char *why;
            if (message_decode(fixture->decoder, payload, length, &out, &why) == CODE_OK) {
                buffer_clear(&fixture->again);
                message_encode(&fixture->again, &out);
                assert_int_equal(
                    decode_code(fixture->decoder, fixture->again.data + 4, fixture->again.length - 4),
                    CODE_OK);
            }
            free(payload);
        }
}

static void random_bytes_never_harm(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 20000; round++) {
        uint8_t payload[64];
        size_t length = random_below(&fixture->source, sizeof payload + 1);
        random_fill(&fixture->source, payload, length);
        if (length > 2 && random_bool(&fixture->source)) {
            payload[0] = (uint8_t)(0x90 + random_below(&fixture->source, 12));
            payload[1] = (uint8_t)random_below(&fixture->source, 36);
        }
        (void)decode_code(fixture->decoder, payload, length);
    }
}

/* Walks a well-formed value and notes where each value begins. */
static size_t note_values(const uint8_t *at, size_t *places, size_t *count, size_t base)
{
    places[(*count)++] = base;
    uint8_t tag = at[0];
    size_t elements = 0, head = 1;
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc2 || tag == 0xc3)
        return 1;
    if (tag >= 0xa0 && tag <= 0xbf)
        return 1 + (size_t)(tag & 0x1f);
    if (tag == 0xc4 || tag == 0xd9)
        return 2 + (size_t)at[1];
    if (tag == 0xc5 || tag == 0xda)
        return 3 + (size_t)load_be16(at + 1);
    if (tag >= 0xcc && tag <= 0xcf)
        return 1 + ((size_t)1 << (tag - 0xcc));
    if (tag >= 0xd0 && tag <= 0xd3)
        return 1 + ((size_t)1 << (tag - 0xd0));
    if (tag >= 0x90 && tag <= 0x9f)
        elements = tag & 0x0f;
    else if (tag >= 0x80 && tag <= 0x8f)
        elements = 2 * (size_t)(tag & 0x0f);
    else if (tag == 0xdc) {
        elements = load_be16(at + 1);
        head = 3;
    } else
        fail_msg("unexpected tag %02x", tag);
    size_t length = head;
    for (size_t i = 0; i < elements; i++)
        length += note_values(at + length, places, count, base + length);
    return length;
}

static size_t value_length(const uint8_t *at)
{
    size_t places[512], count = 0;
    return note_values(at, places, &count, 0);
}

/* Puts `value` in place of the value at `place` of the frame and decodes. */
static enum code decode_replaced(struct fixture *fixture, size_t place, const uint8_t *value, size_t length)
{
    const uint8_t *payload = fixture->frame.data + 4;
    size_t old = value_length(payload + place);
    buffer_clear(&fixture->again);
    buffer_append(&fixture->again, payload, place);
    buffer_append(&fixture->again, value, length);
    buffer_append(&fixture->again, payload + place + old, fixture->frame.length - 4 - place - old);
    return decode_code(fixture->decoder, fixture->again.data, fixture->again.length);
}

static void nil_float_and_ext_are_refused_everywhere(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        uint8_t bytes[19];
        size_t length;
    } bad[] = {{{0xc0}, 1},
               {{0xc1}, 1},
               {{0xca}, 5},
               {{0xcb}, 9},
               {{0xd4, 1}, 3},
               {{0xd8, 1}, 18},
               {{0xc7, 1, 1, 0}, 4},
               {{0xc8, 0, 1, 1, 0}, 5},
               {{0xc9, 0, 0, 0, 0, 1}, 6},
               {{0xa2, 0xc3, 0x28}, 3} /* not UTF-8 */};
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++)
        for (int round = 0; round < 3; round++) {
            encode(fixture, all_types[i]);
            size_t places[512], count = 0;
            assert_int_equal(note_values(fixture->frame.data + 4, places, &count, 0),
                             fixture->frame.length - 4);
            for (size_t p = 0; p < count; p++)
                for (size_t b = 0; b < ARRAY_LENGTH(bad); b++)
                    assert_int_equal(decode_replaced(fixture, places[p], bad[b].bytes, bad[b].length),
                                     CODE_MALFORMED);
        }
}

static char kind_of(uint8_t tag)
{
    if (tag <= 0x7f || tag >= 0xe0 || (tag >= 0xcc && tag <= 0xd3))
        return 'n';
    if (tag == 0xc2 || tag == 0xc3)
        return 'b';
    if (tag >= 0xc4 && tag <= 0xc6)
        return 'x';
    if ((tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb))
        return 's';
    return tag <= 0x8f || tag >= 0xde ? 'm' : 'a';
}

static void a_value_of_another_type_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        char kind;
        uint8_t bytes[3];
        size_t length;
    } values[] = {{'n', {5}, 1},         {'b', {0xc3}, 1},    {'x', {0xc4, 1, 7}, 3},
                  {'s', {0xa1, 'a'}, 2}, {'a', {0x91, 1}, 2}, {'m', {0x81, 1, 1}, 3}};
    for (size_t i = 0; i < ARRAY_LENGTH(all_types); i++)
        for (int round = 0; round < 20; round++) {
            encode(fixture, all_types[i]);
            size_t places[512], count = 0;
            (void)note_values(fixture->frame.data + 4, places, &count, 0);
            for (size_t p = 0; p < count; p++) {
                if (all_types[i] == MESSAGE_ERROR && p == count - 1)
                    continue; /* the last of a reference may be a number or a bin */
                char kind = kind_of(fixture->frame.data[4 + places[p]]);
                for (size_t v = 0; v < ARRAY_LENGTH(values); v++) {
                    if (values[v].kind == kind)
                        continue;
                    assert_int_equal(decode_replaced(fixture, places[p], values[v].bytes, values[v].length),
                                     CODE_MALFORMED);
                }
            }
        }
}

/* The payload as hexadecimal text; blanks are for the eye. */
static enum code decode_bytes(struct fixture *fixture, const char *hex)
{
    char digits[2048];
    uint8_t bytes[1024];
    size_t count = 0, length = 0;
    for (; *hex != '\0'; hex++)
        if (*hex != ' ')
            digits[count++] = *hex;
    digits[count] = '\0';
    assert_true(hex_decode_any(digits, bytes, sizeof bytes, &length));
    return decode_code(fixture->decoder, bytes, length);
}

static void heads_that_claim_too_much_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"",
                                      "c0",
                                      "90",
                                      "91",
                                      "9100",
                                      "9117",
                                      "91cd0100",
                                      "ddffffffff",
                                      "dcffff",
                                      "dfffffffff",
                                      "deffff06",
                                      "81",
                                      "9106c4ff",
                                      "c6ffffffff",
                                      "dbffffffff",
                                      "9207c6ffffffff",
                                      "92dd00000001",
                                      "910f",
                                      "920fc407",
                                      "920fc40700000000000000",
                                      "920fc4090000000000000000",
                                      "91ff",
                                      "91d0ff",
                                      "91d3ffffffffffffffff"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_int_equal(decode_bytes(fixture, bad[i]), CODE_MALFORMED);
}

static void nesting_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    /* PING with a trailing field: the outer array is level 1. */
    assert_int_equal(decode_bytes(fixture, "930fc4080000000000000000919190"), CODE_OK);
    assert_int_equal(decode_bytes(fixture, "930fc408000000000000000091919100"), CODE_OK);
    assert_int_equal(decode_bytes(fixture, "930fc408000000000000000091919190"), CODE_MALFORMED);
    assert_int_equal(decode_bytes(fixture, "930fc408000000000000000091918180 00"), CODE_MALFORMED);
}

static void trailing_fields_are_ignored_but_well_formed(void **state)
{
    struct fixture *fixture = *state;
    static const char *const good[] = {"00",   "ff",   "c2",       "c40100",
                                       "a161", "9101", "81a16101", "cf0000000000000001"};
    static const char *const bad[] = {"c0",   "cb0000000000000000", "d40000", "c402", "92", "a1ff",
                                      "8101", "ca00000000"};
    char text[128];
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        snprintf(text, sizeof text, "930fc4080000000000000000%s", good[i]);
        assert_int_equal(decode_bytes(fixture, text), CODE_OK);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        snprintf(text, sizeof text, "930fc4080000000000000000%s", bad[i]);
        assert_int_equal(decode_bytes(fixture, text), CODE_MALFORMED);
    }
}

/* ---- numbers ---- */

static void numbers_of_any_width_are_read(void **state)
{
    struct fixture *fixture = *state;
    static const char channel[] = "c4200000000000000000000000000000000000000000000000000000000000000000";
    static const struct {
        const char *number;
        bool good;
    } cases[] = {{"03", true},
                 {"cc03", true},
                 {"cd0003", true},
                 {"ce00000003", true},
                 {"cf0000000000000003", true},
                 {"d003", true},
                 {"d10003", true},
                 {"d200000003", true},
                 {"d30000000000000003", true},
                 {"e3", false},
                 {"d0fd", false},
                 {"d1fffd", false},
                 {"d2fffffffd", false},
                 {"d3fffffffffffffffd", false}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[256];
        uint8_t bytes[128];
        size_t length = 0;
        snprintf(text, sizeof text, "9307%s%s", channel, cases[i].number);
        assert_true(hex_decode_any(text, bytes, sizeof bytes, &length));
        struct message out;
        const char *why;
        enum code code = message_decode(fixture->decoder, bytes, length, &out, &why);
        assert_int_equal(code, cases[i].good ? CODE_OK : CODE_MALFORMED);
        if (cases[i].good)
            assert_int_equal(out.ack.nonce, 3);
    }
}

static void base_is_signed_and_seq_has_32_bits(void **state)
{
    struct fixture *fixture = *state;
    static const char channel[] = "c4200000000000000000000000000000000000000000000000000000000000000000";
    static const struct {
        const char *fields;
        bool good;
    } cases[] = {{"00 ef 00 00", true},
                 {"00 d38000000000000000 00 00", true},
                 {"00 cf7fffffffffffffff 00 00", true},
                 {"00 cf8000000000000000 00 00", false},
                 {"ff 00 00 00", false},
                 {"00 00 ceffffffff 00", true},
                 {"00 00 cf0000000100000000 00", false},
                 {"00 00 00 cfffffffffffffffff", true}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[256];
        snprintf(text, sizeof text, "9612%s%s", channel, cases[i].fields);
        assert_int_equal(decode_bytes(fixture, text), cases[i].good ? CODE_OK : CODE_MALFORMED);
    }
}

/* ---- limits ---- */

static enum code decode_frame(struct fixture *fixture)
{
    return decode_code(fixture->decoder, fixture->frame.data + 4, fixture->frame.length - 4);
}

/* A frame with an array of `count` elements of `element`, behind `head` and before `tail`. */
static enum code decode_list(struct fixture *fixture, const char *head, size_t count, const char *element,
                             const char *tail)
{
    uint8_t bytes[512];
    size_t length = 0;
    struct buffer *frame = &fixture->frame;
    buffer_clear(frame);
    assert_true(hex_decode_any(head, bytes, sizeof bytes, &length));
    buffer_append(frame, bytes, length);
    buffer_u8(frame, 0xdc);
    buffer_u16(frame, (uint16_t)count);
    assert_true(hex_decode_any(element, bytes, sizeof bytes, &length));
    for (size_t i = 0; i < count; i++)
        buffer_append(frame, bytes, length);
    assert_true(hex_decode_any(tail, bytes, sizeof bytes, &length));
    buffer_append(frame, bytes, length);
    return decode_code(fixture->decoder, frame->data, frame->length);
}

#define ZEROS_16 "c41000000000000000000000000000000000"
#define ZEROS_20 "c4140000000000000000000000000000000000000000"
#define ZEROS_32 "c4200000000000000000000000000000000000000000000000000000000000000000"

static void lists_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(decode_list(fixture, "9308" ZEROS_32, 1024, "92" ZEROS_16 ZEROS_32, ""), CODE_OK);
    assert_int_equal(decode_list(fixture, "9308" ZEROS_32, 1025, "92" ZEROS_16 ZEROS_32, ""), CODE_MALFORMED);
    assert_int_equal(decode_list(fixture, "9309" ZEROS_32, 1024, "92" ZEROS_16 "29", ""), CODE_OK);
    assert_int_equal(decode_list(fixture, "9309" ZEROS_32, 1025, "92" ZEROS_16 "29", ""), CODE_MALFORMED);
    assert_int_equal(decode_list(fixture, "9513" ZEROS_32 "0000", 1024, ZEROS_16, ""), CODE_OK);
    assert_int_equal(decode_list(fixture, "9513" ZEROS_32 "0000", 1025, ZEROS_16, ""), CODE_MALFORMED);
    const char *lock = "9601020300" ZEROS_32 ZEROS_16;
    assert_int_equal(decode_list(fixture, "9515" ZEROS_32 "00", 512, lock, "c3"), CODE_OK);
    assert_int_equal(decode_list(fixture, "9515" ZEROS_32 "00", 513, lock, "c3"), CODE_MALFORMED);
    const char *appoint = "9920" ZEROS_20 ZEROS_20 "0090c400";
    assert_int_equal(decode_list(fixture, appoint, 1024, "9501020300" ZEROS_32, "9090"), CODE_OK);
    assert_int_equal(decode_list(fixture, appoint, 1025, "9501020300" ZEROS_32, "9090"), CODE_MALFORMED);
    const char *witnesses = "9920" ZEROS_20 ZEROS_20 "0090c40090";
    assert_int_equal(decode_list(fixture, witnesses, 1024, ZEROS_32, "90"), CODE_OK);
    assert_int_equal(decode_list(fixture, witnesses, 1025, ZEROS_32, "90"), CODE_MALFORMED);
    const char *drops = "9b14" ZEROS_20 ZEROS_20 "0000000001909490"
                        "0090";
    assert_int_equal(decode_list(fixture, drops, 4096, "920101", "9490009090"), CODE_OK);
    assert_int_equal(decode_list(fixture, drops, 4097, "920101", "9490009090"), CODE_MALFORMED);
}

static void texts_and_values_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char text[2048];
    /* agent: 64 bytes; text: 256; host: 255, not empty; port not 0. */
    static const char hello[] = "950101" ZEROS_20 ZEROS_32;
    char letters[1024] = "";
    for (size_t i = 0; i < 300; i++)
        strcat(letters, "61");
    snprintf(text, sizeof text, "%sd940%.128s", hello, letters);
    assert_int_equal(decode_bytes(fixture, text), CODE_OK);
    snprintf(text, sizeof text, "%sd941%.130s", hello, letters);
    assert_int_equal(decode_bytes(fixture, text), CODE_MALFORMED);
    snprintf(text, sizeof text, "951114da0100%.512sc290", letters);
    assert_int_equal(decode_bytes(fixture, text), CODE_OK);
    snprintf(text, sizeof text, "951114da0101%.514sc290", letters);
    assert_int_equal(decode_bytes(fixture, text), CODE_MALFORMED);
    snprintf(text, sizeof text, "9305d9ff%.510s01", letters);
    assert_int_equal(decode_bytes(fixture, text), CODE_OK);
    snprintf(text, sizeof text, "9305da0100%.512s01", letters);
    assert_int_equal(decode_bytes(fixture, text), CODE_MALFORMED);
    assert_int_equal(decode_bytes(fixture, "9305a001"), CODE_MALFORMED);
    assert_int_equal(decode_bytes(fixture, "9305a16100"), CODE_MALFORMED);
    assert_int_equal(decode_bytes(fixture, "9305a161cdffff"), CODE_OK);
    assert_int_equal(decode_bytes(fixture, "9305a161ce00010000"), CODE_MALFORMED);
    assert_int_equal(decode_bytes(fixture, "9305a2 6100 01"), CODE_MALFORMED);
    /* kinds and stream are 0 or 1, an outcome 0 to 6, a status 0 to 3 */
    static const struct {
        const char *bytes;
        bool good;
    } cases[] = {{"9515" ZEROS_32 "01 91 9601020301" ZEROS_32 ZEROS_16 "c2", true},
                 {"9515" ZEROS_32 "01 91 9601020302" ZEROS_32 ZEROS_16 "c2", false},
                 {"9515" ZEROS_32 "02 91 9601020301" ZEROS_32 ZEROS_16 "c2", false},
                 {"960e" ZEROS_32 "0006" ZEROS_32 "00", true},
                 {"960e" ZEROS_32 "0007" ZEROS_32 "00", false},
                 {"9b14" ZEROS_20 ZEROS_20 "0000000003 90 94900090 90 9490009090", true},
                 {"9b14" ZEROS_20 ZEROS_20 "0000000004 90 94900090 90 9490009090", false}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_int_equal(decode_bytes(fixture, cases[i].bytes), cases[i].good ? CODE_OK : CODE_MALFORMED);
}

static void a_body_too_long_is_not_the_links_business(void **state)
{
    struct fixture *fixture = *state;
    struct message message = {.type = MESSAGE_UPDATE};
    uint8_t *body = calloc(1, BODY_BYTES_MAX + 1);
    message.update.body = body;
    message.update.body_length = BODY_BYTES_MAX + 1;
    message_encode(&fixture->frame, &message);
    assert_int_equal(decode_frame(fixture), CODE_OK);
    const struct operation *operations;
    size_t count;
    assert_false(body_decode(fixture->decoder, body, BODY_BYTES_MAX + 1, &operations, &count));
    free(body);
}

/* ---- terms, references, versions ---- */

static void terms_keys_in_any_order_unknown_ones_ignored(void **state)
{
    struct fixture *fixture = *state;
    static const char *const pairs[] = {
        "ad636f6e6669726d6174696f6e7303",         /* confirmations: 3 */
        "af72657665616c5f6d617267696e5f733c",     /* reveal_margin_s: 60 */
        "ac6d696e5f6578706972795f73cd0258",       /* min_expiry_s: 600 */
        "ac6d61785f6578706972795f73ce00015180",   /* max_expiry_s: 86400 */
        "af736574746c655f77696e646f775f73cd0e10", /* settle_window_s: 3600 */
        "a661737365747390",                       /* assets: [] */
        "a66675747572659101",                     /* future: [1] */
    };
    char text[1024];
    for (size_t start = 0; start < 6; start++) {
        size_t length = (size_t)snprintf(text, sizeof text, "930487");
        for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s",
                                       pairs[(start + i) % ARRAY_LENGTH(pairs)]);
        snprintf(text + length, sizeof text - length, "05");
        uint8_t bytes[512];
        size_t size;
        assert_true(hex_decode_any(text, bytes, sizeof bytes, &size));
        struct message out;
        const char *why;
        assert_int_equal(message_decode(fixture->decoder, bytes, size, &out, &why), CODE_OK);
        const struct terms *terms = out.welcome.terms;
        assert_true(terms->confirmations == 3 && terms->reveal_margin_s == 60 && terms->min_expiry_s == 600);
        assert_true(terms->max_expiry_s == 86400 && terms->settle_window_s == 3600 &&
                    terms->asset_count == 0);
        assert_int_equal(out.welcome.channels, 5);
    }
    for (size_t missing = 0; missing < 6; missing++) {
        size_t length = (size_t)snprintf(text, sizeof text, "930485");
        for (size_t i = 0; i < 6; i++)
            if (i != missing)
                length += (size_t)snprintf(text + length, sizeof text - length, "%s", pairs[i]);
        snprintf(text + length, sizeof text - length, "05");
        assert_int_equal(decode_bytes(fixture, text), CODE_MALFORMED);
    }
    for (size_t twice = 0; twice < 6; twice++) {
        size_t length = (size_t)snprintf(text, sizeof text, "930487%s", pairs[twice]);
        for (size_t i = 0; i < 6; i++)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s", pairs[i]);
        snprintf(text + length, sizeof text - length, "05");
        assert_int_equal(decode_bytes(fixture, text), CODE_MALFORMED);
    }
}

static void references_have_four_forms(void **state)
{
    struct fixture *fixture = *state;
    struct message sent = {.type = MESSAGE_ERROR, .error = {.code = CODE_NONCE, .text = {"x", 1}}};
    struct error_reference *reference = &sent.error.reference;
    for (int form = 0; form < 5; form++) {
        reference->present = form > 0;
        reference->type = form > 0 ? MESSAGE_UPDATE : 0;
        reference->has_channel = form > 1;
        reference->channel.bytes[0] = form > 1 ? 9 : 0;
        reference->has_nonce = form == 3;
        reference->nonce = form == 3 ? 77 : 0;
        reference->has_id = form == 4;
        reference->id.bytes[3] = form == 4 ? 5 : 0;
        buffer_clear(&fixture->frame);
        message_encode(&fixture->frame, &sent);
        struct message got = decoded(fixture);
        const struct error_reference *read = &got.error.reference;
        assert_true(read->present == (form > 0) && read->has_channel == (form > 1));
        assert_true(read->has_nonce == (form == 3) && read->has_id == (form == 4));
        assert_true(read->nonce == reference->nonce && read->type == reference->type);
        assert_memory_equal(&read->channel, &reference->channel, 32);
        assert_memory_equal(&read->id, &reference->id, 16);
    }
}

static void hello_of_another_version_is_still_a_hello(void **state)
{
    struct fixture *fixture = *state;
    struct message out;
    const char *why;
    static const uint8_t version_2[] = {0x93, 1, 2, 0xa1, 'x'};
    assert_int_equal(message_decode(fixture->decoder, version_2, sizeof version_2, &out, &why), CODE_OK);
    assert_true(out.type == MESSAGE_HELLO && out.hello.version == 2);
    assert_int_equal(decode_bytes(fixture, "920102"), CODE_OK);
    assert_int_equal(decode_bytes(fixture, "920101"), CODE_MALFORMED);
    assert_int_equal(decode_bytes(fixture, "9101"), CODE_MALFORMED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_message_survives_the_round_trip),
        TEST(fields_arrive_where_they_belong),
        TEST(names_are_known),
        TEST(every_truncation_is_refused),
        TEST(bytes_after_the_array_are_refused),
        TEST(changed_bytes_never_harm),
        TEST(random_bytes_never_harm),
        TEST(nil_float_and_ext_are_refused_everywhere),
        TEST(a_value_of_another_type_is_refused),
        TEST(heads_that_claim_too_much_are_refused),
        TEST(nesting_is_bounded),
        TEST(trailing_fields_are_ignored_but_well_formed),
        TEST(numbers_of_any_width_are_read),
        TEST(base_is_signed_and_seq_has_32_bits),
        TEST(lists_are_bounded),
        TEST(texts_and_values_are_bounded),
        TEST(a_body_too_long_is_not_the_links_business),
        TEST(terms_keys_in_any_order_unknown_ones_ignored),
        TEST(references_have_four_forms),
        TEST(hello_of_another_version_is_still_a_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
