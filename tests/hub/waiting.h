/* Frames that wait for the disk, in a buffer of the tests' worlds: a head and the frame, one after another. */
#ifndef RILL_TESTS_HUB_WAITING_H
#define RILL_TESTS_HUB_WAITING_H

#include "base/buffer.h"

struct waiting_head {
    uint64_t sequence, peer, length;
};

static inline void waiting_put(struct buffer *waiting, uint64_t sequence, uint64_t peer, const uint8_t *frame,
                               size_t length)
{
    struct waiting_head head = {sequence, peer, length};
    buffer_append(waiting, &head, sizeof(head));
    buffer_append(waiting, frame, length);
}

/* It goes ahead of all of them. */
static inline void waiting_pass(struct buffer *waiting, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct buffer later = *waiting;
    *waiting = (struct buffer){0};
    waiting_put(waiting, 0, peer, frame, length);
    buffer_append(waiting, later.data, later.length);
    buffer_free(&later);
}

#endif
