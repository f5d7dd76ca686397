/* A decoder's scratch memory. Private to wire/. */
#ifndef RILL_WIRE_DECODER_H
#define RILL_WIRE_DECODER_H

#include "wire/cursor.h"
#include "wire/message.h"

/* Drops of one stream in a CHANNEL: as many as fit a frame beside the other stream's. */
#define DROPS_PER_STREAM_MAX 4096
_Static_assert(2 * DROPS_PER_STREAM_MAX * 19 + 2048 <= FRAME_BYTES_MAX,
               "a CHANNEL with all its drops fits a frame");

struct scratch {
    void *memory;
    size_t size;
};

struct decoder {
    struct scratch lists[2]; /* no message has more than two lists */
    struct scratch operations;
    struct terms terms;
};

/* Room for count elements, what was there before is lost. count is bounded by the caller. */
void *scratch_room(struct scratch *scratch, size_t count, size_t element_size);

#endif
