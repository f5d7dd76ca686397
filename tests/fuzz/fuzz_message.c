/* The payload of a frame: any of the messages. What the decoder takes has one shortest spelling, and that one means
 * the same: decode, encode, decode, encode gives the same bytes twice, whatever widths and extra fields came. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "wire/message.h"

/* Appends the frame's payload. */
static void spell(struct buffer *out, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    ensure(frame.length >= 4 && load_be32(frame.data) == frame.length - 4);
    buffer_append(out, frame.data + 4, frame.length - 4);
    buffer_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct decoder *decoder;
    struct buffer first = {0}, second = {0};
    struct message message;
    const char *why = NULL;
    if (decoder == NULL)
        decoder = decoder_new();
    uint8_t *payload = input_copy(data, size);
    enum code code = message_decode(decoder, payload, size, &message, &why);
    ensure(code == CODE_OK || (code == CODE_MALFORMED && why != NULL));
    /* Of a HELLO of another version nothing but the version was read. */
    bool is_whole = code == CODE_OK && !(message.type == MESSAGE_HELLO && message.hello.version != 1);
    if (is_whole) {
        enum message_type type = message.type;
        spell(&first, &message);
        ensure(first.length <= size);
        ensure(message_decode(decoder, first.data, first.length, &message, &why) == CODE_OK);
        ensure(message.type == type);
        spell(&second, &message);
        ensure(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    }
    buffer_free(&first);
    buffer_free(&second);
    free(payload);
    return 0;
}
