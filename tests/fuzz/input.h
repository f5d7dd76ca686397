/* What every fuzz target starts from: the bytes libFuzzer made, read as small decisions, and the frame of a target.
 *
 * A target is a claim: whatever the bytes, this code neither crashes nor breaks what the target checks with ensure().
 * What is true of the code is checked; what is merely likely is not.
 */
#ifndef RILL_TESTS_FUZZ_INPUT_H
#define RILL_TESTS_FUZZ_INPUT_H

#include "base/buffer.h"
#include "base/ensure.h"

/* Each target has this one: returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Silences the log; run before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Decisions: past the end of the input all are 0, so every prefix of an input is an input. */
struct input {
    const uint8_t *at;
    size_t left;
};

static inline struct input input_of(const uint8_t *data, size_t size)
{
    return (struct input){data, size};
}

static inline uint8_t input_u8(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

static inline uint16_t input_u16(struct input *input)
{
    uint16_t high = input_u8(input);
    return (uint16_t)(high << 8 | input_u8(input));
}

/* 0..sides-1. */
static inline unsigned input_below(struct input *input, unsigned sides)
{
    return input_u8(input) % sides;
}

/* A number of any width, small ones and edges often. */
uint64_t input_number(struct input *input);
/* Up to max bytes inside the input; its length comes first. */
const uint8_t *input_bytes(struct input *input, size_t max, size_t *length);
/* A copy of exactly its size, so that a read past its end is seen; free it. */
uint8_t *input_copy(const uint8_t *data, size_t length);

#endif
