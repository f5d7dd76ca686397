/* Persist before you reveal: frames wait here until the journal says that what they tell is durable.
 *
 * Each frame is tagged with the journal sequence that must be on disk first. outbox_release is the one place
 * in a program from which signed bytes leave, and it asserts that nothing above the durable sequence does.
 */
#ifndef RILL_WIRE_OUTBOX_H
#define RILL_WIRE_OUTBOX_H

#include "wire/message.h"

struct outbox; /* for one shard, wallet or tower; frames of all its peers in one order */

/* deliver: hands a frame to a peer's link; `peer` is what was given to outbox_put. Frames of one peer keep
 * their order. */
typedef void outbox_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length);

struct outbox *outbox_new(outbox_deliver *deliver, void *context);
void outbox_free(struct outbox *outbox);
/* Encodes and queues. sequence: 0 if nothing needs to be durable first (it still leaves after earlier
 * frames). Tags may not fall. */
void outbox_put(struct outbox *outbox, uint64_t sequence, uint64_t peer, const struct message *message);
/* The same for a frame that is encoded already. */
void outbox_put_frame(struct outbox *outbox, uint64_t sequence, uint64_t peer, const uint8_t *frame,
                      size_t length);
/* Delivers every frame whose sequence, and those before it, are <= durable. */
void outbox_release(struct outbox *outbox, uint64_t durable);
/* Bytes waiting: an owner stops reading peers above a limit. */
size_t outbox_bytes(const struct outbox *outbox);

#endif
