/* Every limit of Rill in one place; relations between them are checked when this is compiled. */
#ifndef RILL_BASE_LIMITS_H
#define RILL_BASE_LIMITS_H

#include <assert.h>

/* The wire (protocol.md, section 5). */
#define FRAME_BYTES_MAX          (256 * 1024)
#define BODY_BYTES_MAX           (64 * 1024)
#define OPERATIONS_MAX           1024
#define MEMO_BYTES_MAX           256
#define TEXT_BYTES_MAX           256
#define AGENT_BYTES_MAX          64
#define HOST_BYTES_MAX           255
#define MESSAGE_DEPTH_MAX        4
#define UNACKNOWLEDGED_MAX       64
#define LOCKS_PER_MESSAGE_MAX    512
#define REDIRECTS_MAX            3
#define WITNESS_BYTES_MAX        116  /* attester 20, event id 32, signature 64 */
#define OUTCOMES_PER_MESSAGE_MAX 1024 /* REVEAL and FAIL entries, RESUME ids */
#define ASSETS_MAX               64

/* A stream (section 3). */
#define LOCKS_PER_STREAM_MAX 1024
#define LOCK_TREE_DEPTH      10

/* Connections. */
#define HANDSHAKE_TIMEOUT_MS  10000
#define PING_AFTER_IDLE_MS    30000
#define DROP_AFTER_SILENCE_MS 90000
#define ACK_DELAY_MAX_MS      20
#define PEER_OUTPUT_BYTES_MAX                                                                                \
    (1024 * 1024) /* above it the peer is no longer read from; twice that: dropped */

/* Updates that a hub has sent on a client's link and that are not acknowledged: of one channel, of all of them. */
#define CHANNEL_UNDER_WAY_BYTES_MAX (512 * 1024)
#define CLIENT_UNDER_WAY_BYTES_MAX  (1024 * 1024)
/* What a hub shows a client that comes: so many channels, in so many bytes with their locks. */
#define CHANNELS_SHOWN_MAX 1024
#define SHOWN_BYTES_MAX    (768 * 1024)

/* Between the shards of a hub. */
#define SHARDS_MAX               64
#define PARCEL_BYTES_WAITING_MAX ((size_t)32 << 20) /* not acknowledged by one other shard: payers wait */

/* Keeping outcomes (section 4, "Ids"). */
#define OUTCOME_KEPT_S (24 * 3600)

_Static_assert(1 << LOCK_TREE_DEPTH == LOCKS_PER_STREAM_MAX, "a place in the tree for each lock");
_Static_assert(BODY_BYTES_MAX + 1024 <= FRAME_BYTES_MAX, "a body fits a frame");
_Static_assert(LOCKS_PER_MESSAGE_MAX * 160 <= FRAME_BYTES_MAX, "a LOCKS message fits a frame");
_Static_assert(LOCKS_PER_STREAM_MAX * 256 <= FRAME_BYTES_MAX,
               "an APPOINT with all locks and witnesses fits a frame");
_Static_assert(OUTCOMES_PER_MESSAGE_MAX * 140 <= FRAME_BYTES_MAX, "a full REVEAL fits a frame");
_Static_assert(SHOWN_BYTES_MAX + CLIENT_UNDER_WAY_BYTES_MAX + FRAME_BYTES_MAX <= 2 * PEER_OUTPUT_BYTES_MAX,
               "what a hub shows, and sends again after RESUME, cannot get its link dropped");
_Static_assert(PEER_OUTPUT_BYTES_MAX >= 2 * FRAME_BYTES_MAX, "the largest message can always be queued");

#endif
