/* A wallet that lost its disk (protocol.md, section 5): it takes the newest proofs that hub and towers can
 * show, and checks every signature, its own included.
 *
 *     all CHANNELs shown ─▶ FETCH each from every tower ─▶ KEPT or nothing, at most RECOVER_WAIT_MS
 *         ─▶ take over ─▶ RESUME
 */
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

#define RECOVER_WAIT_MS 10000

/* The hub shows what this wallet must once have signed, given or acknowledged, and has no record of. */
bool wallet_recover_needed(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct shown_stream *mine = &own->shown.streams[SIDE_CLIENT], *hub = &own->shown.streams[SIDE_HUB];
    uint64_t shown_mine = mine->newest.present ? mine->newest.proof.nonce : 0;
    uint64_t shown_hub = hub->newest.present ? hub->newest.proof.nonce : 0;
    uint64_t held_hub = own->channel->streams[SIDE_HUB].proof.nonce;
    if (shown_mine > own->channel->streams[SIDE_CLIENT].proof.nonce ||
        shown_hub > held_hub + UNACKNOWLEDGED_MAX)
        return true;
    if (hub->revocation.present &&
        hub->revocation.min_nonce > stream_dropped(&own->channel->streams[SIDE_HUB])->revoked_nonce)
        return true;
    /* What the hub has not had acknowledged it sends again by itself, unless this wallet acknowledged it
     * once. */
    return core->options.recover && held_hub == 0 && shown_hub > 0;
}

/* ---- towers ---- */

static void free_kept(struct kept_appointment *kept)
{
    free(kept->locks);
    free(kept);
}

void wallet_recover_free(struct wallet_core *core)
{
    struct kept_appointment *kept, *next;
    DL_FOREACH_SAFE(core->kept, kept, next)
    {
        DL_DELETE(core->kept, kept);
        free_kept(kept);
    }
}

void wallet_recover_start(struct wallet_core *core)
{
    wallet_recover_free(core);
    core->recover_told = false;
    core->recover_deadline_ms = 0;
    memset(core->fetched, 0, sizeof(core->fetched));
    memset(core->fetch_awaited, 0, sizeof(core->fetch_awaited));
}

void wallet_recover_fetch(struct wallet_core *core)
{
    if (!core->options.recover || core->options.tower_count == 0 || core->recover_told)
        return;
    if (core->recover_deadline_ms == 0)
        core->recover_deadline_ms = core->now_ms + RECOVER_WAIT_MS;
    for (size_t i = 0; i < core->options.tower_count; i++) {
        if (!core->tower_linked[i] || core->fetched[i])
            continue;
        core->fetched[i] = true;
        core->fetch_awaited[i] = 0;
        const struct wallet_channel *own, *next;
        HASH_ITER(hh, core->channels, own, next)
        {
            if (!own->shown.active)
                continue;
            struct message message = {.type = MESSAGE_FETCH, .fetch = {.channel = own->id}};
            core->effects.send(core->context, core->appended, WALLET_PEER_TOWER + i, &message);
            core->fetch_awaited[i]++;
        }
    }
    wallet_due(core, core->recover_deadline_ms);
}

bool wallet_recover_waiting(const struct wallet_core *core)
{
    if (!core->options.recover || core->options.tower_count == 0 || core->recover_told)
        return false;
    if (core->recover_deadline_ms == 0)
        return true;
    if (core->now_ms >= core->recover_deadline_ms)
        return false;
    for (size_t i = 0; i < core->options.tower_count; i++)
        if (!core->fetched[i] || core->fetch_awaited[i] > 0)
            return true;
    return false;
}

void wallet_recover_kept(struct wallet_core *core, size_t tower, const struct message *message)
{
    if (core->fetch_awaited[tower] == 0)
        return;
    core->fetch_awaited[tower]--;
    if (message == NULL || !address_equal(&message->appoint.key.client, &core->self))
        return;
    struct kept_appointment *kept = xcalloc(1, sizeof(*kept));
    kept->channel = channel_id(&message->appoint.key);
    kept->proof = message->appoint.proof;
    kept->revocation = message->appoint.revocation;
    kept->lock_count = message->appoint.lock_count;
    kept->locks = xcalloc(kept->lock_count + 1, sizeof(*kept->locks));
    if (kept->lock_count > 0)
        memcpy(kept->locks, message->appoint.locks, kept->lock_count * sizeof(*kept->locks));
    DL_APPEND(core->kept, kept);
}

/* ---- taking over ---- */

static enum code restore(struct wallet_core *core, struct wallet_channel *own, enum side side,
                         const struct shown_stream *shown, const struct shown_lock *locks, size_t count)
{
    struct dropped dropped = {.revoked_nonce = shown->revocation.present ? shown->revocation.min_nonce : 0,
                              .revocation = shown->revocation.signature};
    struct stream stream = {.proof = shown->newest.proof,
                            .signature = shown->newest.signature,
                            .last_lock_id = shown->last_lock_id,
                            .dropped = &dropped};
    struct drop *drops = xcalloc(shown->drop_count + 1, sizeof(*drops));
    for (size_t i = 0; i < shown->drop_count; i++)
        drops[i] = (struct drop){.nonce = shown->drops[i].nonce, .amount = shown->drops[i].amount};
    dropped.drops = drops;
    dropped.drop_count = dropped.drop_capacity = shown->drop_count;
    struct pending_lock *pending = xcalloc(count + 1, sizeof(*pending));
    for (size_t i = 0; i < count; i++) {
        pending[i].lock = locks[i].lock;
        pending[i].payment = locks[i].payment;
        if (locks[i].lock.id > stream.last_lock_id)
            stream.last_lock_id = locks[i].lock.id;
    }
    struct channel_view view = wallet_view(core);
    const struct address *signer = side == SIDE_CLIENT ? &core->self : &core->options.hub;
    enum code code = channel_restore_stream(own->channel, &view, side, signer, &stream, pending, count);
    free(pending);
    free(drops);
    return code;
}

/* Own locks that are pending: each is a payment whose end can still be followed. */
static void restore_payments_out(struct wallet_core *core, struct wallet_channel *own)
{
    const struct lock_set *locks = own->channel->streams[SIDE_CLIENT].locks;
    for (const struct pending_lock *lock = lock_set_next(locks, 0); lock != NULL;
         lock = lock_set_next(locks, lock->lock.id)) {
        if (wallet_payment_out_find(core, &lock->payment) != NULL)
            continue;
        struct payment_out *payment = xcalloc(1, sizeof(*payment));
        payment->id = lock->payment;
        payment->secret_hash = lock->lock.condition;
        payment->channel = own;
        payment->amount = lock->lock.amount;
        payment->expiry = lock->lock.expiry;
        payment->created = core->unix_s;
        payment->lock_id = lock->lock.id;
        payment->mode = PAYMENT_LOCKED;
        payment->state = OUT_LOCKED;
        wallet_payment_out_index(core, payment);
        wallet_payment_out_write(core, payment);
    }
}

static const struct kept_appointment *newest_kept(const struct wallet_core *core, const struct hash *channel)
{
    const struct kept_appointment *kept, *newest = NULL;
    DL_FOREACH(core->kept, kept)
    {
        if (hash_equal(&kept->channel, channel) && kept->proof.present &&
            (newest == NULL || kept->proof.proof.nonce > newest->proof.proof.nonce))
            newest = kept;
    }
    return newest;
}

/* The hub's newest word on what it gave up may be with the towers only. */
static void restore_revocation(struct wallet_core *core, struct wallet_channel *own)
{
    struct channel_view view = wallet_view(core);
    const struct kept_appointment *kept;
    DL_FOREACH(core->kept, kept)
    {
        if (!hash_equal(&kept->channel, &own->id) || !kept->revocation.present)
            continue;
        enum code code = channel_revocation_received(own->channel, &view, kept->revocation.min_nonce,
                                                     &kept->revocation.signature, NULL);
        if (code != CODE_OK)
            wallet_trouble(core, own, "a tower's revocation does not hold: %s", code_text(code));
    }
}

static bool restored(enum code code)
{
    return code == CODE_OK || code == CODE_NONCE; /* NONCE: what is here is as new */
}

void wallet_recover_channel(struct wallet_core *core, struct wallet_channel *own)
{
    struct shown_channel *shown = &own->shown;
    for (int side = 0; side < 2; side++) {
        if (!shown->streams[side].newest.present)
            continue;
        enum code code = restore(core, own, (enum side)side, &shown->streams[side], shown->locks[side],
                                 shown->lock_count[side]);
        if (!restored(code)) {
            own->blocked = side == SIDE_CLIENT
                               ? "the hub shows a proof as this wallet's that it did not sign, or locks that "
                                 "do not belong to it"
                               : "the hub shows a proof of its own that does not hold";
            return;
        }
    }
    const struct kept_appointment *kept = newest_kept(core, &own->id);
    uint64_t hub_nonce = own->channel->streams[SIDE_HUB].proof.nonce;
    if (kept != NULL && kept->proof.proof.nonce > hub_nonce) {
        struct shown_stream stream = {.newest = kept->proof};
        if (restore(core, own, SIDE_HUB, &stream, kept->locks, kept->lock_count) == CODE_OK) {
            own->blocked =
                "a tower holds a newer proof of the hub than the hub itself shows: use `rill dispute`";
            return;
        }
    }
    restore_revocation(core, own);
    own->blocked = NULL;
    own->book_dirty = true;
    own->change++;
    restore_payments_out(core, own);
    wallet_incoming_restore(core, own);
}
