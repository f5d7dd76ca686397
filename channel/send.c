/* The own stream: operations gather in a draft, channel_seal signs it, the peer's answers are taken in. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/internal.h"
#include "crypto/hash.h"

/* What an operation encodes to at most, whatever its numbers: array head, type, and each field at its widest. */
static size_t size_max(const struct operation *operation)
{
    switch (operation->type) {
    case OPERATION_PAY:
        return 2 + 18 + 22 + 9 + 9 + 9 + 34 + 5 + operation->memo.length;
    case OPERATION_LOCK:
        return 2 + 18 + 22 + 9 + 9 + 9 + 9 + 2 + 34 + 5 + operation->memo.length;
    case OPERATION_UNLOCK:
        return 2 + 9 + 3 + WITNESS_BYTES_MAX;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        return 2 + 9;
    case OPERATION_REFUND:
        return 2 + 18 + 9 + 9;
    }
    return BODY_BYTES_MAX;
}

static struct draft *open_draft(struct channel *channel)
{
    if (channel->draft == NULL) {
        channel->draft = xcalloc(1, sizeof(*channel->draft));
        channel->draft->transferred = channel_own(channel)->proof.transferred;
        channel->draft->body_bytes = 5; /* the outer array's head */
    }
    return channel->draft;
}

static void draft_append(struct draft *draft, const struct operation *operation)
{
    if (draft->count == draft->capacity) {
        draft->capacity = draft->capacity == 0 ? 4 : 2 * draft->capacity;
        draft->operations = xrealloc(draft->operations, draft->capacity * sizeof(struct operation));
    }
    struct operation *copy = &draft->operations[draft->count++];
    *copy = *operation;
    copy->memo.data = NULL;
    if (operation->memo.length > 0) {
        char *memo = xmalloc(operation->memo.length);
        memcpy(memo, operation->memo.data, operation->memo.length);
        copy->memo.data = memo;
    }
    draft->body_bytes += size_max(operation);
}

/* The sums as they would be; TRANSFERRED, LOCKED or AVAILABLE if they may not. */
static enum code sums_after(const struct channel *channel, const struct effect *effect, struct totals *totals)
{
    if (!amount_add(totals->transferred, effect->transferred_plus, &totals->transferred))
        return CODE_TRANSFERRED;
    if (!amount_add(totals->locked, effect->locked_plus, &totals->locked))
        return CODE_LOCKED;
    ensure(amount_subtract(totals->locked, effect->locked_minus, &totals->locked));
    if (!amount_add(totals->frozen, effect->dropped, &totals->frozen))
        return CODE_LOCKED;
    enum side self = channel->self;
    struct amount other = channel->streams[side_other(self)].proof.transferred;
    wide after = available_with(channel, &channel->funds, self, totals, other);
    if (self == SIDE_CLIENT) {
        wide told = available_with(channel, &channel->told, self, totals, other);
        after = told < after ? told : after;
    }
    return after < 0 && after < channel_available(channel, self) ? CODE_AVAILABLE : CODE_OK;
}

enum code channel_add(struct channel *channel, const struct channel_view *view, const struct operation *operation,
                      struct pending_lock *touched)
{
    struct stream *own = channel_own(channel);
    if (channel->funds.stage != STAGE_OPEN || channel->stopped)
        return CODE_STATUS;
    size_t drafted = channel->draft == NULL ? 0 : channel->draft->count;
    size_t bytes = channel->draft == NULL ? 5 : channel->draft->body_bytes;
    bool drops = operation->type == OPERATION_EXPIRE || operation->type == OPERATION_CANCEL;
    if (drafted == OPERATIONS_MAX || bytes + size_max(operation) > BODY_BYTES_MAX ||
        (drops && own->drop_count >= DROPS_MAX))
        return CODE_LIMIT;
    struct operation chosen = *operation;
    if (operation->type == OPERATION_LOCK) {
        chosen.lock_id = lock_set_next_id(own->locks, own->last_lock_id);
        if (chosen.lock_id == 0)
            return CODE_LIMIT;
    }
    struct effect effect;
    bool held = false;
    enum code code = operation_effect(view, own, true, &chosen, &effect, &held);
    struct totals totals = totals_own(channel);
    if (code == CODE_OK)
        code = sums_after(channel, &effect, &totals);
    if (code != CODE_OK)
        return code;

    struct draft *draft = open_draft(channel);
    draft->transferred = totals.transferred;
    own->locked = totals.locked;
    if (effect.adds_lock) {
        ensure(lock_set_add(stream_locks(own), &effect.lock));
        own->last_lock_id = chosen.lock_id;
        mark_place(channel, channel->self, chosen.lock_id);
    } else if (effect.removes_lock) {
        ensure(lock_set_remove(own->locks, chosen.lock_id));
        mark_place(channel, channel->self, chosen.lock_id);
    }
    stream_add_drop(own, own->proof.nonce + 1, effect.dropped);
    draft_append(draft, &chosen);
    if (touched != NULL)
        *touched = effect.lock;
    channel->dirty = true;
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

static uint64_t own_nonce(const struct channel *channel)
{
    return channel->streams[channel->self].proof.nonce;
}

bool channel_can_seal(const struct channel *channel)
{
    return channel->draft != NULL && own_nonce(channel) - channel->acknowledged < UNACKNOWLEDGED_MAX;
}

const struct kept_update *channel_seal(struct channel *channel, const struct domain *domain,
                                       const struct secret_key *key, const uint8_t *body, size_t body_length)
{
    ensure(channel_can_seal(channel) && body_length > 0 && body_length <= BODY_BYTES_MAX);
    ensure(channel->funds.stage == STAGE_OPEN && !channel->stopped);
    struct stream *own = channel_own(channel);
    own->proof = (struct balance_proof){
        .nonce = own->proof.nonce + 1,
        .transferred = channel->draft->transferred,
        .locked = own->locked,
        .locks_root = lock_set_root(own->locks),
        .body_hash = keccak256(body, body_length),
    };
    struct hash digest = digest_balance_proof(domain, &channel->id, &own->proof);
    own->signature = key_sign(key, &digest);
    draft_free(channel->draft);
    channel->draft = NULL;
    if (channel->kept == NULL)
        channel->kept = xcalloc(UNACKNOWLEDGED_MAX, sizeof(*channel->kept));
    struct kept_update *kept = &channel->kept[own->proof.nonce % UNACKNOWLEDGED_MAX];
    kept_clear(kept);
    *kept = (struct kept_update){own->proof, own->signature, xmalloc(body_length), body_length};
    memcpy(kept->body, body, body_length);
    channel->dirty = true;
    channel_assert(channel);
    return kept;
}

enum code channel_acknowledged(struct channel *channel, uint64_t nonce)
{
    if (nonce > own_nonce(channel))
        return CODE_NONCE;
    if (nonce <= channel->acknowledged)
        return CODE_OK;
    while (channel->acknowledged < nonce)
        kept_clear(&channel->kept[++channel->acknowledged % UNACKNOWLEDGED_MAX]);
    if (channel->acknowledged == own_nonce(channel)) {
        /* At rest nothing is kept: an idle channel is small. */
        free(channel->kept);
        channel->kept = NULL;
    }
    channel->dirty = true;
    return CODE_OK;
}

const struct kept_update *channel_kept(const struct channel *channel, uint64_t nonce)
{
    if (channel->kept == NULL || nonce <= channel->acknowledged || nonce > own_nonce(channel))
        return NULL;
    return &channel->kept[nonce % UNACKNOWLEDGED_MAX];
}

struct pending_lock *channel_find_payment(const struct channel *channel, enum side side,
                                          const struct payment_id *payment)
{
    const struct lock_set *locks = channel->streams[side].locks;
    size_t left = lock_set_count(locks);
    for (unsigned place = 0; left > 0 && place < LOCKS_PER_STREAM_MAX; place++) {
        struct pending_lock *pending = lock_set_at(locks, place);
        if (pending == NULL)
            continue;
        if (payment_id_equal(&pending->payment, payment))
            return pending;
        left--;
    }
    return NULL;
}

struct pending_lock *channel_fail_received(struct channel *channel, const struct payment_id *payment)
{
    struct pending_lock *pending = channel_find_payment(channel, channel->self, payment);
    if (pending != NULL && !pending->failed) {
        pending->failed = true;
        mark_place(channel, channel->self, pending->lock.id);
    }
    return pending;
}

enum code channel_revocation_received(struct channel *channel, const struct channel_view *view, uint64_t min_nonce,
                                      const struct signature *signature, struct amount *freed)
{
    struct stream *own = channel_own(channel);
    if (freed != NULL)
        *freed = amount_of(0);
    if (min_nonce <= own->revoked_nonce)
        return CODE_OK;
    if (min_nonce > own->proof.nonce)
        return CODE_NONCE;
    struct hash digest = digest_revocation(view->domain, &channel->id, min_nonce);
    if (!peer_signed(channel, view, signature, &digest))
        return CODE_SIGNATURE;
    own->revoked_nonce = min_nonce;
    own->revocation = *signature;
    struct amount sum = stream_free_drops(own, min_nonce);
    if (freed != NULL)
        *freed = sum;
    channel->dirty = true;
    return CODE_OK;
}
