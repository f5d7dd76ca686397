/* The contract's ABI, from both sides: calldata as the embedded ledger gets it, results, logs and revert data as a
 * client gets them from a node, and Solidity's own strings and arrays in ERC-20 tokens.
 *
 *     input: what u8, then the bytes (logs: the number of topics u8, topics, data)
 *
 * What decodes is written again by the encoder and then reads the same; what the encoder writes is spelt one way. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/abi.h"
#include "ledger/contract.h"

static bool same(const struct buffer *a, const struct buffer *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->data, b->data, a->length) == 0);
}

static void read_call(const uint8_t *data, size_t size)
{
    struct contract_call call;
    struct buffer first = {0}, second = {0};
    if (!contract_decode_call(data, size, &call))
        return;
    ensure(call.function < CONTRACT_FUNCTION_COUNT && load_be32(data) == contract_selector(call.function));
    contract_encode_call(&first, &call);
    contract_call_free(&call);
    ensure(contract_decode_call(first.data, first.length, &call));
    contract_encode_call(&second, &call);
    contract_call_free(&call);
    ensure(same(&first, &second));
    buffer_free(&first);
    buffer_free(&second);
}

static void read_channel(const uint8_t *data, size_t size)
{
    struct channel_state state;
    struct buffer again = {0};
    if (!contract_decode_channel(data, size, &state))
        return;
    contract_encode_channel(&again, &state);
    ensure(again.length <= size && memcmp(again.data, data, again.length) == 0);
    buffer_free(&again);
}

static void read_closing(const uint8_t *data, size_t size)
{
    struct closing closing;
    struct buffer again = {0};
    if (!contract_decode_closing(data, size, &closing))
        return;
    contract_encode_closing(&again, &closing);
    ensure(again.length <= size && memcmp(again.data, data, again.length) == 0);
    buffer_free(&again);
}

static void read_words(struct input *input)
{
    size_t index = input_u8(input);
    unsigned_wide value;
    struct address address;
    struct buffer again = {0};
    if (contract_decode_word(input->at, input->left, index, &value)) {
        contract_encode_word(&again, value);
        ensure(memcmp(again.data, input->at + index * ABI_WORD, ABI_WORD) == 0);
    }
    (void)contract_decode_address(input->at, input->left, index, &address);
    buffer_free(&again);
}

static void read_revert(const uint8_t *data, size_t size)
{
    uint8_t status = 0;
    struct buffer again = {0};
    enum contract_error error = contract_decode_error(data, size, &status);
    ensure(contract_error_name(error) != NULL && error != CONTRACT_OK);
    if (error == CONTRACT_UNNAMED)
        return;
    contract_encode_error(&again, error, status);
    ensure(again.length <= size && memcmp(again.data, data, again.length) == 0);
    buffer_free(&again);
}

static void read_log(struct input *input)
{
    struct contract_log log = {.topic_count = input_below(input, 5)};
    struct contract_event event;
    struct buffer first = {0};
    memset(&event, 0, sizeof(event));
    if (input->left < log.topic_count * sizeof(struct hash))
        return;
    memcpy(log.topics, input->at, log.topic_count * sizeof(struct hash));
    log.data = input->at + log.topic_count * sizeof(struct hash);
    log.data_length = input->left - log.topic_count * sizeof(struct hash);
    if (!contract_decode_event(&log, &event))
        return;
    ensure(event.type < EVENT_TYPE_COUNT && contract_event_name(event.type) != NULL);
    if (event.type == EVENT_TOKEN_CREATED)
        return; /* its string may be spelt at another offset, and its supply is not kept */
    struct hash topics[4];
    size_t topic_count;
    contract_encode_event(&event, topics, &topic_count, &first);
    ensure(topic_count == log.topic_count &&
           memcmp(topics, log.topics, topic_count * sizeof(topics[0])) == 0);
    ensure(first.length <= log.data_length &&
           (first.length == 0 || memcmp(first.data, log.data, first.length) == 0));
    buffer_free(&first);
}

static void read_primitives(struct input *input)
{
    size_t head = (size_t)input_below(input, 8) * ABI_WORD, length = 0;
    struct abi_reader reader = abi_reader_of(input->at, input->left, head), items;
    const uint8_t *bytes = abi_bytes(&reader, &length);
    ensure(!reader.ok || (bytes >= input->at && bytes + length <= input->at + input->left));
    size_t count = abi_array(&reader, ABI_WORD, &items);
    for (size_t i = 0; i < count && reader.ok; i++)
        (void)abi_hash(&items);
    ensure(!reader.ok || items.ok);
    (void)abi_u8(&reader);
    (void)abi_int64(&reader);
    (void)abi_bool(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    unsigned what = input_below(&input, 7);
    uint8_t *copy = input_copy(input.at, input.left);
    input.at = copy;
    switch (what) {
    case 0:
        read_call(copy, input.left);
        break;
    case 1:
        read_channel(copy, input.left);
        break;
    case 2:
        read_closing(copy, input.left);
        break;
    case 3:
        read_words(&input);
        break;
    case 4:
        read_revert(copy, input.left);
        break;
    case 5:
        read_log(&input);
        break;
    default:
        read_primitives(&input);
    }
    free(copy);
    return 0;
}
