/* The own stream: operations gather in a draft, channel_seal signs them as the next update, and the update is
 * kept until the peer has acknowledged it. The draft's operations have changed the stream's locks already;
 * what is on disk and what the peer may be judged by is the stream without them. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "channel/machine.h"
#include "crypto/hash.h"

#define DRAFT_CAPACITY_FIRST 2

/* ---- the draft ---- */

/* The longest form an operation may take in a body (protocol.md, section 5, MessagePack): a number 9 bytes,
 * bin and str heads 2 or 3, the array's head and the type 2; the body's own head is 3. */
static size_t operation_bytes(const struct operation *operation)
{
    enum { HEAD = 2, NUMBER = 9, ID = 18, ADDRESS = 22, HASH = 34, TEXT_HEAD = 3, BODY_HEAD = 3 };
    switch (operation->type) {
    case OPERATION_PAY:
        return BODY_HEAD + HEAD + ID + ADDRESS + 3 * NUMBER + HASH + TEXT_HEAD + operation->memo.length;
    case OPERATION_LOCK:
        return BODY_HEAD + HEAD + ID + ADDRESS + 4 * NUMBER + 1 + HASH + TEXT_HEAD + operation->memo.length;
    case OPERATION_UNLOCK:
        return BODY_HEAD + HEAD + NUMBER + 2 + operation->witness.length;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        return BODY_HEAD + HEAD + NUMBER;
    case OPERATION_REFUND:
        return BODY_HEAD + HEAD + ID + 2 * NUMBER;
    }
    return BODY_BYTES_MAX + 1;
}

static bool draft_has_room(const struct channel *channel, const struct operation *operation)
{
    const struct draft *draft = channel->draft;
    if (operation->memo.length > MEMO_BYTES_MAX || operation->witness.length > WITNESS_BYTES_MAX)
        return false;
    size_t bytes = draft == NULL ? 0 : draft->body_bytes;
    return (draft == NULL || draft->count < OPERATIONS_MAX) &&
           bytes + operation_bytes(operation) <= BODY_BYTES_MAX;
}

static void draft_append(struct channel *channel, const struct operation *operation,
                         const struct pending_lock *touched, const struct progress *progress)
{
    struct stream *own = channel_own(channel);
    struct draft *draft = channel->draft;
    if (draft == NULL) {
        draft = channel->draft = xcalloc(1, sizeof(*draft));
        draft->signed_last_lock_id = own->last_lock_id;
    }
    bool locks = operation_changes_locks(operation);
    if (draft->count == draft->capacity) {
        draft->capacity = draft->capacity == 0 ? DRAFT_CAPACITY_FIRST : 2 * draft->capacity;
        draft->operations = xrealloc(draft->operations, draft->capacity * sizeof(*draft->operations));
        if (draft->touched != NULL)
            draft->touched = xrealloc(draft->touched, draft->capacity * sizeof(*draft->touched));
    }
    if (locks && draft->touched == NULL)
        draft->touched = xcalloc(draft->capacity, sizeof(*draft->touched));
    if (locks)
        draft->touched[draft->count] = *touched;
    struct operation *copy = &draft->operations[draft->count++];
    *copy = *operation;
    if (operation->memo.length > 0) {
        char *memo = xmalloc(operation->memo.length);
        memcpy(memo, operation->memo.data, operation->memo.length);
        copy->memo.data = memo;
    } else {
        copy->memo = (struct text){"", 0};
    }
    draft->body_bytes += operation_bytes(operation);
    draft->progress = *progress;
    own->locked = progress->locked;
    own->last_lock_id = progress->last_lock_id;
}

void draft_free(struct channel *channel)
{
    struct draft *draft = channel->draft;
    if (draft == NULL)
        return;
    for (size_t i = 0; i < draft->count; i++)
        if (draft->operations[i].memo.length > 0)
            free((char *)(uintptr_t)draft->operations[i].memo.data);
    free(draft->operations);
    free(draft->touched);
    free(draft);
    channel->draft = NULL;
}

void channel_drop_draft(struct channel *channel)
{
    struct draft *draft = channel->draft;
    if (draft == NULL)
        return;
    struct stream *own = channel_own(channel);
    for (size_t i = draft->count; i-- > 0;)
        if (operation_changes_locks(&draft->operations[i]))
            stream_undo(own, &draft->operations[i], &draft->touched[i]);
    own->locked = own->proof.locked;
    own->last_lock_id = draft->signed_last_lock_id;
    draft_free(channel);
    channel_check(channel);
}

const struct pending_lock *signed_lock_at(const struct channel *channel, enum side side, unsigned place)
{
    const struct draft *draft = side == channel->self ? channel->draft : NULL;
    /* The draft's first change of a place tells what was there before. */
    for (size_t i = 0; draft != NULL && i < draft->count; i++) {
        if (!operation_changes_locks(&draft->operations[i]) ||
            draft->touched[i].lock.id % LOCKS_PER_STREAM_MAX != place)
            continue;
        return draft->operations[i].type == OPERATION_LOCK ? NULL : &draft->touched[i];
    }
    return lock_set_at(channel->streams[side].locks, place);
}

static bool drops_are_full(const struct channel *channel, const struct operation *operation)
{
    bool drops = operation->type == OPERATION_EXPIRE || operation->type == OPERATION_CANCEL;
    return drops && stream_dropped(&channel->streams[channel->self])->drop_count >= DROPS_MAX;
}

/* An operation may take the own available amount down to zero; what does not lower it is always allowed (a
 * raise of the reserve may have left it below zero). The peer is judged by the same rule. */
static bool is_affordable(const struct channel *channel, const struct progress *progress)
{
    struct progress before = own_progress(channel);
    wide fall = progress_fall(&before, progress);
    return fall <= 0 || channel_available(channel, channel->self) >= fall;
}

enum code channel_add(struct channel *channel, const struct channel_view *view,
                      const struct operation *operation, struct pending_lock *touched)
{
    if (!channel_accepts(channel))
        return CODE_STATUS;
    if (!draft_has_room(channel, operation) || drops_are_full(channel, operation))
        return CODE_LIMIT;
    struct stream *own = channel_own(channel);
    struct progress progress = own_progress(channel);
    struct operation numbered;
    if (operation->type == OPERATION_LOCK) {
        numbered = *operation;
        numbered.lock_id = lock_set_next_id(own->locks, own->last_lock_id);
        if (numbered.lock_id == 0)
            return CODE_LIMIT;
        operation = &numbered;
    }
    struct pending_lock changed;
    enum code code = stream_apply(own, &progress, view, operation, &changed, false);
    if (code != CODE_OK)
        return code;
    if (!is_affordable(channel, &progress)) {
        if (operation_changes_locks(operation))
            stream_undo(own, operation, &changed);
        return CODE_AVAILABLE;
    }
    draft_append(channel, operation, &changed, &progress);
    if (touched != NULL && operation_changes_locks(operation))
        *touched = changed;
    channel_check(channel);
    return CODE_OK;
}

bool channel_has_draft(const struct channel *channel)
{
    return channel->draft != NULL;
}

const struct operation *channel_draft(const struct channel *channel, size_t *count)
{
    *count = channel->draft == NULL ? 0 : channel->draft->count;
    return channel->draft == NULL ? NULL : channel->draft->operations;
}

/* ---- signing ---- */

bool channel_can_seal(const struct channel *channel)
{
    uint64_t newest = channel->streams[channel->self].proof.nonce;
    return channel->draft != NULL && channel_accepts(channel) && newest < UINT64_MAX &&
           newest - channel->acknowledged < UNACKNOWLEDGED_MAX;
}

static void mark_draft_places(struct channel *channel)
{
    const struct draft *draft = channel->draft;
    for (size_t i = 0; i < draft->count; i++)
        if (operation_changes_locks(&draft->operations[i]))
            mark_place(channel, channel->self, draft->touched[i].lock.id);
}

/* The locks that the draft takes out, for who still shows an older proof; NULL: none. */
static struct lock *draft_removed(const struct draft *draft, size_t *count)
{
    struct lock *removed = NULL;
    *count = 0;
    for (size_t i = 0; i < draft->count; i++) {
        const struct operation *operation = &draft->operations[i];
        if (!operation_changes_locks(operation) || operation->type == OPERATION_LOCK)
            continue;
        if (removed == NULL)
            removed = xcalloc(draft->count, sizeof(*removed));
        removed[(*count)++] = draft->touched[i].lock;
    }
    return removed;
}

const struct kept_update *channel_seal(struct channel *channel, const struct domain *domain,
                                       const struct secret_key *key, const uint8_t *body, size_t body_length)
{
    struct hash hash = keccak256(body, body_length);
    return channel_seal_hashed(channel, domain, key, body, body_length, &hash);
}

const struct kept_update *channel_seal_hashed(struct channel *channel, const struct domain *domain,
                                              const struct secret_key *key, const uint8_t *body,
                                              size_t body_length, const struct hash *body_hash)
{
    ensure(channel_can_seal(channel) && body_length > 0 && body_length <= BODY_BYTES_MAX);
    struct stream *own = channel_own(channel);
    struct progress progress = channel->draft->progress;
    struct balance_proof proof = {.nonce = own->proof.nonce + 1,
                                  .transferred = progress.transferred,
                                  .locked = progress.locked,
                                  .locks_root = lock_set_root(own->locks),
                                  .body_hash = *body_hash};
    struct hash digest = digest_balance_proof(domain, &channel->id, &proof);
    own->proof = proof;
    own->signature = key_sign(key, &digest);
    if (progress.drops)
        stream_add_drop(own, proof.nonce, progress.dropped);
    ensure(stream_dropped(own)->frozen.units == progress.frozen.units);
    if (progress.drops)
        channel->stream_dirty[channel->self] = true; /* the kept update's record does not tell of drops */
    mark_begun(channel, channel->self);
    mark_draft_places(channel);
    struct kept_update update = {.proof = proof,
                                 .signature = own->signature,
                                 .digest = digest,
                                 .last_lock_id = own->last_lock_id,
                                 .body_length = body_length};
    update.removed = draft_removed(channel->draft, &update.removed_count);
    draft_free(channel);
    const struct kept_update *kept = kept_put(channel, &update, body);
    if (PLANTED(NONCE_REUSED))
        channel->written_nonce = proof.nonce; /* and so not in the journal */
    channel_check(channel);
    return kept;
}

/* ---- what the peer says of it ---- */

struct pending_lock *channel_fail_received(struct channel *channel, const struct payment_id *payment)
{
    struct pending_lock *pending = channel_find_payment(channel, channel->self, payment);
    /* The peer cannot have seen what is only drafted. */
    if (pending == NULL || (channel->draft != NULL && pending->lock.id > channel->draft->signed_last_lock_id))
        return NULL;
    if (!pending->failed) {
        pending->failed = true;
        mark_place(channel, channel->self, pending->lock.id);
    }
    return pending;
}

enum code channel_revocation_received(struct channel *channel, const struct channel_view *view,
                                      uint64_t min_nonce, const struct signature *signature,
                                      struct amount *freed)
{
    struct stream *own = channel_own(channel);
    if (freed != NULL)
        *freed = amount_of(0);
    if (min_nonce <= stream_dropped(own)->revoked_nonce)
        return CODE_OK;
    if (min_nonce > own->proof.nonce)
        return CODE_NONCE;
    struct hash digest = digest_revocation(view->domain, &channel->id, min_nonce);
    if (!peer_signed(channel, view, &digest, signature))
        return CODE_SIGNATURE;
    struct amount sum = stream_free_drops(own, min_nonce);
    if (freed != NULL)
        *freed = sum;
    if (channel->draft != NULL)
        ensure(amount_subtract(channel->draft->progress.frozen, sum, &channel->draft->progress.frozen));
    stream_set_revoked(own, min_nonce, signature);
    channel->stream_dirty[channel->self] = true;
    channel_check(channel);
    return CODE_OK;
}
