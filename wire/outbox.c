/* Blocks of frames, one after another, each frame behind a small head. Frames never move: what is being
 * delivered stays where it is even if the delivery puts more. */
#include "wire/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/planted.h"

/* A block is closed when it has this many bytes; it is reused when all of it has left. */
#define BLOCK_BYTES (64 * 1024)

struct entry {
    uint64_t sequence;
    uint64_t peer;
    size_t length; /* of the frame that follows */
};

struct block {
    struct block *next;
    struct buffer bytes;
};

struct outbox {
    outbox_deliver *deliver;
    void *context;
    struct block *first, *last; /* NULL if empty */
    struct block *spare;
    size_t read;       /* bytes of the first block that have left */
    size_t waiting;    /* frame bytes */
    uint64_t sequence; /* the highest tag so far */
    bool releasing;
};

struct outbox *outbox_new(outbox_deliver *deliver, void *context)
{
    struct outbox *outbox = xcalloc(1, sizeof *outbox);
    outbox->deliver = deliver;
    outbox->context = context;
    return outbox;
}

static void block_free(struct block *block)
{
    if (block == NULL)
        return;
    buffer_free(&block->bytes);
    free(block);
}

void outbox_free(struct outbox *outbox)
{
    if (outbox == NULL)
        return;
    ensure(!outbox->releasing);
    while (outbox->first != NULL) {
        struct block *next = outbox->first->next;
        block_free(outbox->first);
        outbox->first = next;
    }
    block_free(outbox->spare);
    free(outbox);
}

/* The block that takes the next frame. While frames are being delivered from a block it must not grow. */
static struct block *block_for_put(struct outbox *outbox)
{
    struct block *last = outbox->last;
    bool read_now = outbox->releasing && last == outbox->first;
    if (last != NULL && last->bytes.length < BLOCK_BYTES && !read_now)
        return last;
    struct block *block = outbox->spare;
    outbox->spare = NULL;
    if (block == NULL)
        block = xcalloc(1, sizeof *block);
    if (last == NULL)
        outbox->first = block;
    else
        last->next = block;
    outbox->last = block;
    return block;
}

/* Opens an entry; the frame is appended to the result, then entry_end. */
static struct buffer *entry_begin(struct outbox *outbox, uint64_t *sequence, size_t *start)
{
    if (*sequence == 0)
        *sequence = outbox->sequence;
    ensure(*sequence >= outbox->sequence);
    outbox->sequence = *sequence;
    struct buffer *bytes = &block_for_put(outbox)->bytes;
    *start = bytes->length;
    (void)buffer_extend(bytes, sizeof(struct entry));
    return bytes;
}

static void entry_end(struct outbox *outbox, struct buffer *bytes, size_t start, uint64_t sequence,
                      uint64_t peer)
{
    struct entry entry = {sequence, peer, bytes->length - start - sizeof(struct entry)};
    memcpy(bytes->data + start, &entry, sizeof entry);
    outbox->waiting += entry.length;
}

void outbox_put_frame(struct outbox *outbox, uint64_t sequence, uint64_t peer, const uint8_t *frame,
                      size_t length)
{
    size_t start;
    struct buffer *bytes = entry_begin(outbox, &sequence, &start);
    buffer_append(bytes, frame, length);
    entry_end(outbox, bytes, start, sequence, peer);
}

void outbox_put(struct outbox *outbox, uint64_t sequence, uint64_t peer, const struct message *message)
{
    size_t start;
    struct buffer *bytes = entry_begin(outbox, &sequence, &start);
    message_encode(bytes, message);
    entry_end(outbox, bytes, start, sequence, peer);
}

/* The first block has been read to its end. */
static void drop_first(struct outbox *outbox)
{
    struct block *block = outbox->first;
    outbox->first = block->next;
    if (outbox->first == NULL)
        outbox->last = NULL;
    outbox->read = 0;
    block->next = NULL;
    buffer_clear(&block->bytes);
    if (outbox->spare == NULL && block->bytes.capacity <= 4 * BLOCK_BYTES)
        outbox->spare = block;
    else
        block_free(block);
}

void outbox_release(struct outbox *outbox, uint64_t durable)
{
    ensure(!outbox->releasing);
    outbox->releasing = true;
    while (outbox->first != NULL) {
        const struct buffer *bytes = &outbox->first->bytes;
        struct entry entry;
        memcpy(&entry, bytes->data + outbox->read, sizeof entry);
        if (entry.sequence > durable && !PLANTED(RELEASE_EARLY))
            break;
        const uint8_t *frame = bytes->data + outbox->read + sizeof entry;
        outbox->read += sizeof entry + entry.length;
        outbox->waiting -= entry.length;
        /* Persist before you reveal: the one place from which signed bytes leave. */
        ensure((entry.sequence <= durable || PLANTED(RELEASE_EARLY)) && outbox->read <= bytes->length);
        outbox->deliver(outbox->context, entry.peer, frame, entry.length);
        if (outbox->read == bytes->length)
            drop_first(outbox);
    }
    outbox->releasing = false;
}

size_t outbox_bytes(const struct outbox *outbox)
{
    return outbox->waiting;
}
