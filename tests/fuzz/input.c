#include "tests/fuzz/input.h"

#include <string.h>

#include "base/log.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_setup("fuzz", LOG_ERROR, false);
    return 0;
}

uint64_t input_number(struct input *input)
{
    static const uint64_t edges[] = {
        0, 1, 2, UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    uint8_t choice = input_u8(input);
    if (choice < 128)
        return choice;
    if (choice < 136)
        return edges[choice - 128];
    uint64_t value = 0;
    for (unsigned i = 0; i <= choice % 8u; i++)
        value = value << 8 | input_u8(input);
    return value;
}

const uint8_t *input_bytes(struct input *input, size_t max, size_t *length)
{
    size_t wanted = input_u16(input) % (max + 1);
    const uint8_t *bytes = input->at;
    *length = wanted < input->left ? wanted : input->left;
    input->at += *length;
    input->left -= *length;
    return bytes;
}

uint8_t *input_copy(const uint8_t *data, size_t length)
{
    uint8_t *copy = xmalloc(length == 0 ? 1 : length);
    if (length > 0)
        memcpy(copy, data, length);
    return copy;
}
