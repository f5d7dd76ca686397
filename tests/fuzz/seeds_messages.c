#include <stdio.h>

#include "tests/fuzz/seeds.h"
#include "tests/wire/random_message.h"

#define EACH 3

void seeds_of_messages(void)
{
    static struct random_source source;
    char name[64];
    source.state = 7;
    for (size_t i = 0; i < ARRAY_LENGTH(all_types) * EACH; i++) {
        struct message message = random_message(&source, all_types[i / EACH]);
        struct buffer frame = {0};
        message_encode(&frame, &message);
        snprintf(name, sizeof(name), "%s-%zu", message_name(message.type), i % EACH);
        seed_write("message", name, -1, frame.data + 4, frame.length - 4);
        seed_write("link", name, (int)(i % 16), frame.data, frame.length);
        if (message.type == MESSAGE_UPDATE) {
            snprintf(name, sizeof(name), "random-%zu", i % EACH);
            seed_write("body", name, (int)(i % 2), message.update.body, message.update.body_length);
        }
        buffer_free(&frame);
    }
    buffer_free(&source.body);
    /* One body per operation that a channel of the target can take. */
    for (int type = OPERATION_PAY; type <= OPERATION_REFUND; type++) {
        struct operation operation = {.type = (enum operation_type)type,
                                      .id = {{9}},
                                      .amount = {100},
                                      .fee = {2},
                                      .expiry = 1800003600,
                                      .lock_id = type == OPERATION_LOCK     ? 4
                                                 : type == OPERATION_CANCEL ? 1
                                                 : type == OPERATION_EXPIRE ? 2
                                                                            : 3};
        if (type == OPERATION_UNLOCK) {
            operation.witness.length = 32;
            memset(operation.witness.bytes, 3, 32);
        }
        struct buffer body = {0};
        body_encode(&body, &operation, 1);
        snprintf(name, sizeof(name), "operation-%d", type);
        seed_write("body", name, 1, body.data, body.length);
        buffer_free(&body);
    }
}
