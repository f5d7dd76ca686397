/* A wallet that lost its disk (protocol.md, section 5): it takes the newest proofs that hub and towers can
 * show, and checks every signature, its own included. What a tower keeps counts whatever the hub says, or if it says
 * nothing.
 *
 *     ledger in view ─▶ FETCH each channel from every tower ─▶ KEPT or nothing, at most RECOVER_WAIT_MS
 *     hub: all CHANNELs shown ─▶ take over ─▶ RESUME, or blocked: the reason says what to do
 *     no hub by then ─▶ take over from the towers alone ─▶ blocked
 */
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

#define RECOVER_WAIT_MS  10000 /* for the towers */
#define RECOVER_ALONE_MS 20000 /* for the hub */

/* No signature is looked at yet: wallet_recover_channel does. */
static bool towers_know_more(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct balance_proof *mine = &own->channel->streams[SIDE_CLIENT].proof,
                               *hub = &own->channel->streams[SIDE_HUB].proof;
    const struct kept_appointment *kept;
    DL_FOREACH(core->kept, kept)
    {
        if (!hash_equal(&kept->channel, &own->id))
            continue;
        const struct balance_proof *proof = &kept->proof.proof;
        if ((kept->proof.present &&
             (proof->nonce > hub->nonce || amount_compare(proof->transferred, hub->transferred) > 0)) ||
            (kept->revocation.present && kept->revocation.min_nonce > mine->nonce))
            return true;
    }
    return false;
}

/* The hub, or a tower, shows what this wallet must once have signed, given or acknowledged, and has no record of. */
bool wallet_recover_needed(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct shown_stream *mine = &own->shown.streams[SIDE_CLIENT], *hub = &own->shown.streams[SIDE_HUB];
    uint64_t shown_mine = mine->newest.present ? mine->newest.proof.nonce : 0;
    uint64_t shown_hub = hub->newest.present ? hub->newest.proof.nonce : 0;
    uint64_t held_hub = own->channel->streams[SIDE_HUB].proof.nonce;
    if (shown_mine > own->channel->streams[SIDE_CLIENT].proof.nonce ||
        shown_hub > held_hub + UNACKNOWLEDGED_MAX || towers_know_more(core, own))
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

static bool is_over(const struct wallet_channel *own)
{
    return own->channel->funds.stage == STAGE_CLOSED && !own->watch.active;
}

static void fetch(struct wallet_core *core, size_t tower)
{
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->towers[tower].fetched || is_over(own))
            continue;
        own->towers[tower].fetched = true;
        struct message message = {.type = MESSAGE_FETCH, .fetch = {.channel = own->id}};
        core->effects.send(core->context, core->appended, WALLET_PEER_TOWER + tower, &message);
        core->fetch_awaited[tower]++;
    }
}

void wallet_recover_unlinked(struct wallet_core *core, size_t tower)
{
    struct wallet_channel *own, *next;
    core->fetch_awaited[tower] = 0;
    HASH_ITER(hh, core->channels, own, next)
    {
        own->towers[tower].fetched = own->towers[tower].newer_asked = false;
    }
}

/* It is not there, or has not said yet all that it keeps. */
static bool is_silent(const struct wallet_core *core, size_t tower)
{
    return !core->tower_linked[tower] || core->fetch_awaited[tower] > 0;
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
        if (is_silent(core, i))
            return true;
    return false;
}

static struct kept_appointment *kept_of(size_t tower, const struct message *message)
{
    struct kept_appointment *kept = xcalloc(1, sizeof(*kept));
    kept->tower = tower;
    kept->channel = channel_id(&message->appoint.key);
    kept->proof = message->appoint.proof;
    kept->revocation = message->appoint.revocation;
    kept->lock_count = message->appoint.lock_count;
    kept->locks = xcalloc(kept->lock_count + 1, sizeof(*kept->locks));
    for (size_t i = 0; i < kept->lock_count; i++) {
        /* Towers are not told the payments' ids: any will do that is no other lock's. */
        struct hash leaf = lock_leaf(&message->appoint.locks[i].lock);
        kept->locks[i].lock = message->appoint.locks[i].lock;
        memcpy(kept->locks[i].payment.bytes, leaf.bytes, sizeof(kept->locks[i].payment.bytes));
    }
    return kept;
}

void wallet_recover_kept(struct wallet_core *core, size_t tower, const struct message *message)
{
    if (core->fetch_awaited[tower] == 0)
        return;
    core->fetch_awaited[tower]--;
    if (message == NULL || !address_equal(&message->appoint.key.client, &core->self))
        return;
    struct kept_appointment *kept = kept_of(tower, message), *older, *next;
    DL_FOREACH_SAFE(core->kept, older, next)
    {
        if (older->tower != tower || !hash_equal(&older->channel, &kept->channel))
            continue;
        DL_DELETE(core->kept, older);
        free_kept(older);
    }
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

static bool is_signed_by_hub(const struct wallet_core *core, const struct wallet_channel *own,
                             const struct shown_proof *shown)
{
    struct hash digest = digest_balance_proof(&core->options.domain, &own->id, &shown->proof);
    return shown->present && signature_is_by(&shown->signature, &digest, &core->options.hub);
}

static bool same_proof(const struct wallet_core *core, const struct wallet_channel *own,
                       const struct balance_proof *one, const struct balance_proof *other)
{
    struct hash a = digest_balance_proof(&core->options.domain, &own->id, one);
    struct hash b = digest_balance_proof(&core->options.domain, &own->id, other);
    return hash_equal(&a, &b);
}

/* All zero where the hub shows none. */
static struct balance_proof shown_by_hub(const struct wallet_channel *own)
{
    static const struct balance_proof none;
    const struct shown_channel *shown = &own->shown;
    bool present = wallet_shown_whole(shown) && shown->streams[SIDE_HUB].newest.present;
    return present ? shown->streams[SIDE_HUB].newest.proof : none;
}

/* The hub's stream as towers have it. below: only what was signed before the proof that the hub shows, or in place
 * of it. */
static void take_kept(struct wallet_core *core, struct wallet_channel *own, bool below)
{
    struct balance_proof shown = shown_by_hub(own);
    const struct kept_appointment *kept;
    DL_FOREACH(core->kept, kept)
    {
        const struct balance_proof *proof = &kept->proof.proof;
        if (!hash_equal(&kept->channel, &own->id) || !kept->proof.present ||
            (below && (proof->nonce > shown.nonce || same_proof(core, own, proof, &shown))))
            continue;
        struct shown_stream stream = {.newest = kept->proof};
        enum code code = restore(core, own, SIDE_HUB, &stream, kept->locks, kept->lock_count);
        if (!below && code != CODE_OK && code != CODE_NONCE)
            wallet_trouble(core, own, "what a tower keeps does not hold: %s", code_text(code));
    }
}

/* Returns why a stream as the hub shows it cannot be taken over; NULL: it is, or what is here is as new. */
static const char *take_shown(struct wallet_core *core, struct wallet_channel *own, enum side side)
{
    const struct shown_stream *stream = &own->shown.streams[side];
    if (!wallet_shown_whole(&own->shown) || (!stream->newest.present && !stream->revocation.present))
        return NULL;
    enum code code = restore(core, own, side, stream, own->shown.locks[side], own->shown.lock_count[side]);
    if (code == CODE_OK || code == CODE_NONCE)
        return NULL;
    return side == SIDE_CLIENT ? "the hub shows a proof as this wallet's that it did not sign, or locks that "
                                 "do not belong to it"
                               : "the hub shows a proof of its own that does not hold";
}

/* The hub's newest word on what it gave up may be with the towers only. Returns whether it is about an update of this
 * wallet that is not known here, and that the hub must know. */
static bool take_revocation(struct wallet_core *core, struct wallet_channel *own,
                            const struct kept_appointment *kept)
{
    if (!kept->revocation.present)
        return false;
    struct channel_view view = wallet_view(core);
    enum code code = channel_revocation_received(own->channel, &view, kept->revocation.min_nonce,
                                                 &kept->revocation.signature, NULL);
    struct hash digest = digest_revocation(&core->options.domain, &own->id, kept->revocation.min_nonce);
    bool is_signed = signature_is_by(&kept->revocation.signature, &digest, &core->options.hub);
    if (code == CODE_NONCE && is_signed)
        return true;
    if (code != CODE_OK)
        wallet_trouble(core, own, "a tower's revocation does not hold: %s", code_text(code));
    return false;
}

/* Returns what the towers can prove that the hub has hidden; NULL: nothing. */
static const char *hidden_by_hub(struct wallet_core *core, struct wallet_channel *own)
{
    struct balance_proof shown = shown_by_hub(own);
    const struct kept_appointment *kept;
    const char *hidden = NULL;
    DL_FOREACH(core->kept, kept)
    {
        if (!hash_equal(&kept->channel, &own->id))
            continue;
        const struct balance_proof *proof = &kept->proof.proof;
        bool differs = proof->nonce > shown.nonce ||
                       amount_compare(proof->transferred, shown.transferred) > 0 ||
                       (proof->nonce == shown.nonce && !same_proof(core, own, proof, &shown));
        if (take_revocation(core, own, kept))
            hidden = "a tower holds the hub's answer to an update of this wallet that the hub does not show: "
                     "use `rill dispute`";
        if (kept->proof.present && differs && is_signed_by_hub(core, own, &kept->proof))
            hidden = "a tower holds a newer proof of the hub than the hub itself shows: use `rill dispute`";
    }
    return hidden;
}

void wallet_recover_channel(struct wallet_core *core, struct wallet_channel *own)
{
    /* In the order of their nonces: each is held against the one before. */
    take_kept(core, own, true);
    const char *of_client = take_shown(core, own, SIDE_CLIENT), *of_hub = take_shown(core, own, SIDE_HUB);
    take_kept(core, own, false);
    own->blocked = hidden_by_hub(core, own);
    if (own->blocked == NULL)
        own->blocked = of_client != NULL ? of_client : of_hub;
    if (own->blocked == NULL && !wallet_shown_whole(&own->shown) && wallet_channel_live(own))
        own->blocked = "the hub does not show this channel: use `rill dispute`, or run `rill recover` again "
                       "if it was opened a moment ago";
    own->book_dirty = true;
    own->change++;
    restore_payments_out(core, own);
    wallet_incoming_restore(core, own);
}

static void recover_unshown(struct wallet_core *core, struct wallet_channel *own)
{
    if (is_over(own))
        return;
    wallet_recover_channel(core, own);
    if (own->blocked != NULL)
        wallet_trouble(core, own, "%s", own->blocked);
}

static bool is_shown(const struct wallet_core *core)
{
    return core->welcomed && core->showing == NULL && core->channels_shown >= core->channels_expected;
}

static void recover_alone(struct wallet_core *core)
{
    core->recovered_alone = true;
    wallet_trouble(core, NULL,
                   "the hub does not show its channels: what the towers keep is taken over, and "
                   "`rill dispute` uses it");
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        recover_unshown(core, own);
    }
}

void wallet_recover_run(struct wallet_core *core)
{
    if (!core->options.recover || core->options.tower_count == 0 || core->recover_told || !core->in_view)
        return;
    if (core->recover_deadline_ms == 0)
        core->recover_deadline_ms = core->now_ms + RECOVER_WAIT_MS;
    for (size_t i = 0; i < core->options.tower_count; i++)
        if (core->tower_linked[i])
            fetch(core, i);
    uint64_t alone_ms = core->recover_deadline_ms - RECOVER_WAIT_MS + RECOVER_ALONE_MS;
    if (core->now_ms < alone_ms)
        wallet_due(core, core->now_ms < core->recover_deadline_ms ? core->recover_deadline_ms : alone_ms);
    else if (!core->recovered_alone && !is_shown(core))
        recover_alone(core);
}

void wallet_recover_done(struct wallet_core *core)
{
    if (!core->options.recover || core->recover_told)
        return;
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (!own->synced && own->blocked == NULL)
            recover_unshown(core, own);
    }
    for (size_t i = 0; i < core->options.tower_count; i++) {
        char address[ADDRESS_TEXT_SIZE];
        if (is_silent(core, i))
            wallet_trouble(
                core, NULL,
                "tower %s has not answered: what it keeps has not been looked at; run `rill recover` "
                "again when it is there",
                address_text(&core->options.towers[i], address));
    }
    core->recover_told = true;
    wallet_tell(core, &(struct wallet_news){.type = WALLET_NEWS_RECOVERED});
}

void wallet_recover_newer(struct wallet_core *core, struct wallet_channel *own, const struct message *message)
{
    struct kept_appointment *kept = kept_of(0, message);
    if (kept->proof.proof.nonce > channel_peer(own->channel)->proof.nonce &&
        is_signed_by_hub(core, own, &kept->proof)) {
        struct shown_stream stream = {.newest = kept->proof};
        if (restore(core, own, SIDE_HUB, &stream, kept->locks, kept->lock_count) == CODE_OK)
            wallet_incoming_restore(core, own);
        own->synced = false;
        wallet_updates_drop_held(core, own);
        wallet_incoming_unsay(own);
        own->blocked =
            "a tower holds a newer proof of the hub than this wallet did: run `rill recover`, or `rill "
            "dispute` if the hub does not show it";
        wallet_trouble(core, own, "%s", own->blocked);
    }
    free_kept(kept);
}
