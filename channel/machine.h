/* What the files of the channel machine share; not for other folders. */
#ifndef RILL_CHANNEL_MACHINE_H
#define RILL_CHANNEL_MACHINE_H

#include "channel/channel.h"

/* Most updates of a stream whose drops may wait for REVOKE: a sender makes no more, a receiver holds more. */
#define DROPS_MAX 1024

/* What the operations of one update have done to a stream so far. Its locks are changed in place; the rest is
 * only taken over when the whole update is good. */
struct progress {
    struct amount transferred, locked;
    struct amount frozen; /* the stream's frozen sum with what this update dropped */
    struct amount dropped;
    uint64_t last_lock_id;
    bool drops; /* an expire or cancel was among them */
    bool held;  /* an operation may be good by a newer view of the ledger than the own one */
    enum code held_code;
};

struct draft {
    struct progress progress;
    uint64_t signed_last_lock_id; /* the stream's, before the draft */
    size_t body_bytes;            /* an upper bound */
    struct pending_lock *touched; /* per operation, the lock it added or removed; NULL while none did */
    size_t count, capacity;
    struct operation *operations;
};

/* The own stream's newest state with its draft. */
struct progress own_progress(const struct channel *channel);
struct progress stream_progress(const struct stream *stream);

/* Applies one operation of an update to the stream's locks and the progress. `touched` gets the lock added or
 * removed. lenient: what a ledger view that lags cannot tell from a breach sets `held` instead of being
 * refused (an expire early by less than the margin; an empty witness before the expiry). Returns CODE_OK or,
 * nothing changed, the code of the broken rule. */
enum code stream_apply(struct stream *stream, struct progress *progress, const struct channel_view *view,
                       const struct operation *operation, struct pending_lock *touched,
                       bool lenient) MUST_USE;
/* Takes an applied operation's change of the locks back; in the reverse order of their application. */
void stream_undo(struct stream *stream, const struct operation *operation,
                 const struct pending_lock *touched);
/* By how much the sender's available amount is lower after than before. */
wide progress_fall(const struct progress *before, const struct progress *after);
bool operation_changes_locks(const struct operation *operation);
/* The receiver has revoked up to a nonce; the drops up to it are the caller's to free. */
void stream_set_revoked(struct stream *stream, uint64_t nonce, const struct signature *revocation);
/* Records that update `nonce` dropped `amount`. */
void stream_add_drop(struct stream *stream, uint64_t nonce, struct amount amount);
/* Frees the drops up to min_nonce; returns their sum. */
struct amount stream_free_drops(struct stream *stream, uint64_t min_nonce);
void stream_clear(struct stream *stream);   /* frees what it owns; zero after */
void dropped_free(struct dropped *dropped); /* NULL is allowed */

/* The available amount of a side by one view of the ledger, with the own stream as `own` says. */
wide available_by(const struct channel *channel, enum side side, const struct channel_funds *funds,
                  const struct progress *own);
wide balance_by(const struct channel *channel, enum side side, const struct channel_funds *funds,
                struct amount own_transferred);
bool channel_accepts(const struct channel *channel); /* open, and not stopped by this side */
/* Is it the peer's? Learns the peer's key with its first good signature. */
bool peer_signed(struct channel *channel, const struct channel_view *view, const struct hash *digest,
                 const struct signature *signature) MUST_USE;
/* Takes the place of the one under way; NULL: none is any more. */
void settlement_put(struct channel *channel, const struct settlement *settlement);
/* What must hold whenever a public function returns, as far as it is cheap to look at. */
void channel_check(const struct channel *channel);

/* A side has signed. */
bool funds_equal(const struct channel_funds *a, const struct channel_funds *b);
void mark_begun(struct channel *channel, enum side side);
void mark_place(struct channel *channel, enum side side, uint64_t lock_id);
/* Forgets the draft's operations; the locks stay as they made them. */
void draft_free(struct channel *channel);
/* The lock of a place as the newest signed proof has it (the draft's changes undone); NULL if empty. */
const struct pending_lock *signed_lock_at(const struct channel *channel, enum side side, unsigned place);
/* Keeps a copy of a new update and its body, and gives it a slot on disk; takes over its `removed`. */
const struct kept_update *kept_put(struct channel *channel, struct kept_update *update, const uint8_t *body);
/* The same of one that is read back, with its slot: in place of what that held before. False, and nothing is taken over, if
 * it cannot be of one channel with those that are there. */
bool kept_put_back(struct channel *channel, const struct kept_update *update, const uint8_t *body) MUST_USE;
/* Forgets kept updates up to a nonce that the peer has acknowledged. */
void kept_forget(struct channel *channel, uint64_t nonce);
/* Forgets what is not between what is acknowledged and the newest: what a journal still had. False if two of those left
 * have one slot: no journal says so. */
bool kept_trim(struct channel *channel);
/* Hashes the bodies of those that were read back. Not as they are read: most of a busy channel are stale, which only
 * the whole says, and hashing them took the better part of a start. */
void kept_hash(struct channel *channel);
void kept_free(struct channel *channel); /* all of them */

#endif
