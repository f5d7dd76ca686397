/* Mutates a batch of records as records: what libFuzzer alone makes of one is mostly a wrong length. */
#include <stdlib.h>
#include <string.h>

#include "base/record.h"
#include "tests/fuzz/input.h"

#define RECORDS_MAX 512

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t out_size, unsigned seed);

struct batch {
    struct record records[RECORDS_MAX];
    size_t count;
    uint64_t random;
};

static unsigned roll(struct batch *batch, size_t sides)
{
    batch->random ^= batch->random << 13;
    batch->random ^= batch->random >> 7;
    batch->random ^= batch->random << 17;
    return (unsigned)(batch->random % sides);
}

static void read_batch(struct batch *batch, const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    while (batch->count < RECORDS_MAX && record_next(&reader, &batch->records[batch->count]))
        batch->count++;
}

/* Changed bytes live in `memory`. */
static const uint8_t *mutate_bytes(struct batch *batch, const uint8_t *bytes, size_t *length, size_t max,
                                   struct buffer *memory)
{
    uint8_t *copy = xmalloc(max);
    size_t size = *length < max ? *length : max;
    if (size > 0)
        memcpy(copy, bytes, size);
    /* A field changes more often than a length. */
    *length = LLVMFuzzerMutate(copy, size, roll(batch, 4) == 0 || size == 0 ? max : size);
    *memory = (struct buffer){copy, *length, max};
    return copy;
}

static void mutate_one(struct batch *batch, struct record *record, size_t room, struct buffer *memory)
{
    size_t length;
    switch (roll(batch, 8)) {
    case 0:
        record->type = (uint8_t)roll(batch, 32);
        break;
    case 1:
        record->gone = !record->gone;
        break;
    case 2:
        length = record->key_length;
        record->key = mutate_bytes(batch, record->key, &length, RECORD_KEY_MAX, memory);
        record->key_length = (uint8_t)length;
        break;
    default:
        length = record->gone ? 0 : record->value_length;
        record->value = mutate_bytes(batch, record->value, &length, length + room, memory);
        record->value_length = (uint32_t)length;
        record->gone = false;
    }
}

static void put(struct buffer *out, const struct record *record)
{
    if (record->gone)
        record_gone(out, record->type, record->key, record->key_length);
    else
        record_put(out, record->type, record->key, record->key_length, record->value, record->value_length);
}

static size_t write_batch(const struct batch *batch, uint8_t *out, size_t max_size)
{
    struct buffer whole = {0};
    size_t length = 0;
    for (size_t i = 0; i < batch->count; i++) {
        put(&whole, &batch->records[i]);
        if (whole.length <= max_size)
            length = whole.length;
    }
    if (length > 0)
        memcpy(out, whole.data, length);
    buffer_free(&whole);
    return length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct batch batch;
    struct buffer memory = {0};
    batch = (struct batch){.random = seed * 0x9e3779b97f4a7c15u + 1};
    read_batch(&batch, data, size);
    if (batch.count == 0 || roll(&batch, 16) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    size_t at = roll(&batch, batch.count), other = roll(&batch, batch.count);
    struct record taken = batch.records[at];
    switch (roll(&batch, 8)) {
    case 0: /* gone */
        memmove(&batch.records[at], &batch.records[at + 1], (--batch.count - at) * sizeof(taken));
        break;
    case 1: /* elsewhere */
        batch.records[at] = batch.records[other];
        batch.records[other] = taken;
        break;
    case 2: /* twice */
        if (batch.count < RECORDS_MAX)
            batch.records[batch.count++] = taken;
        break;
    default:
        mutate_one(&batch, &batch.records[at], 32, &memory);
    }
    size_t length = write_batch(&batch, data, max_size);
    buffer_free(&memory);
    return length;
}

/* Some of the records of each. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t out_size, unsigned seed)
{
    static struct batch first, second;
    first = (struct batch){.random = seed * 0x9e3779b97f4a7c15u + 1};
    second = (struct batch){0};
    read_batch(&first, a, a_size);
    read_batch(&second, b, b_size);
    if (first.count > 0)
        first.count = 1 + roll(&first, first.count);
    size_t from = second.count > 0 ? roll(&first, second.count) : 0;
    while (from < second.count && first.count < RECORDS_MAX)
        first.records[first.count++] = second.records[from++];
    return write_batch(&first, out, out_size);
}
