/* What the files of the channel machine share. Only channel/ includes this. */
#ifndef RILL_CHANNEL_INTERNAL_H
#define RILL_CHANNEL_INTERNAL_H

#include "channel/channel.h"

/* Unrevoked drops a sender makes before it waits for REVOKE. */
#define DROPS_MAX 1024

struct draft {
    struct operation *operations; /* memos are own copies */
    size_t count, capacity;
    size_t body_bytes;            /* upper bound of what they encode to */
    struct amount transferred;    /* the own stream's, with the draft */
    struct amount dropped;        /* sum of expire and cancel */
};

/* A stream's running sums. */
struct totals {
    struct amount transferred, locked, frozen;
};

void draft_free(struct draft *draft);
void kept_clear(struct kept_update *kept);
struct totals totals_own(const struct channel *channel);  /* drafts counted */
struct totals totals_peer(const struct channel *channel);
/* Section 3's available amount of a side, from given funds and sums. */
wide available_with(const struct channel *channel, const struct channel_funds *funds, enum side side,
                    const struct totals *of_side, struct amount transferred_by_other);
void mark_place(struct channel *channel, enum side side, uint64_t lock_id);
/* Update `nonce` drops `amount`: frozen until revoked. */
void stream_add_drop(struct stream *stream, uint64_t nonce, struct amount amount);
/* Frees the drops up to a nonce; returns their sum. */
struct amount stream_free_drops(struct stream *stream, uint64_t min_nonce);
struct lock_set *stream_locks(struct stream *stream);
bool peer_signed(struct channel *channel, const struct channel_view *view, const struct signature *signature,
                 const struct hash *digest);
void channel_assert(const struct channel *channel);

/* One operation's effect on a stream's sums and locks. Used by both sides: sender (channel_add) and receiver. */
struct effect {
    struct amount transferred_plus, locked_plus, locked_minus, dropped;
    bool adds_lock, removes_lock;
    struct pending_lock lock;
};
/* Judges an operation of `stream` by the rules of sections 3 and 4, sums and availability apart; fills the effect.
 * is_sender: the own stream (expiry by the sender's clock; HELD does not exist). *held: the receiver's node lags. */
enum code operation_effect(const struct channel_view *view, const struct stream *stream, bool is_sender,
                           const struct operation *operation, struct effect *effect, bool *held) MUST_USE;

#endif
