#include "wire/message.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "wire/decoder.h"

const char *message_name(uint64_t type)
{
    static const char *const names[] = {
        [MESSAGE_HELLO] = "HELLO",
        [MESSAGE_CHALLENGE] = "CHALLENGE",
        [MESSAGE_AUTH] = "AUTH",
        [MESSAGE_WELCOME] = "WELCOME",
        [MESSAGE_REDIRECT] = "REDIRECT",
        [MESSAGE_UPDATE] = "UPDATE",
        [MESSAGE_ACK] = "ACK",
        [MESSAGE_REVEAL] = "REVEAL",
        [MESSAGE_FAIL] = "FAIL",
        [MESSAGE_REVOKE] = "REVOKE",
        [MESSAGE_SETTLE_REQUEST] = "SETTLE_REQUEST",
        [MESSAGE_SETTLE_PROPOSE] = "SETTLE_PROPOSE",
        [MESSAGE_SETTLE_SIGN] = "SETTLE_SIGN",
        [MESSAGE_SETTLED] = "SETTLED",
        [MESSAGE_PING] = "PING",
        [MESSAGE_PONG] = "PONG",
        [MESSAGE_ERROR] = "ERROR",
        [MESSAGE_FUNDED] = "FUNDED",
        [MESSAGE_RESUME] = "RESUME",
        [MESSAGE_CHANNEL] = "CHANNEL",
        [MESSAGE_LOCKS] = "LOCKS",
        [MESSAGE_OPEN_REQUEST] = "OPEN_REQUEST",
        [MESSAGE_APPOINT] = "APPOINT",
        [MESSAGE_RECEIPT] = "RECEIPT",
        [MESSAGE_FETCH] = "FETCH",
        [MESSAGE_KEPT] = "KEPT",
    };
    if (type >= ARRAY_LENGTH(names) || names[type] == NULL)
        return "?";
    return names[type];
}

struct decoder *decoder_new(void)
{
    return xcalloc(1, sizeof(struct decoder));
}

void decoder_free(struct decoder *decoder)
{
    if (decoder == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(decoder->lists); i++)
        free(decoder->lists[i].memory);
    free(decoder->operations.memory);
    free(decoder);
}

void *scratch_room(struct scratch *scratch, size_t count, size_t element_size)
{
    size_t need = (count == 0 ? 1 : count) * element_size;
    if (need > scratch->size) {
        free(scratch->memory);
        scratch->memory = xmalloc(need);
        scratch->size = need;
    }
    return scratch->memory;
}
