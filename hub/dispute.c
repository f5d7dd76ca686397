/* A channel that is being closed by one side alone (protocol.md, section 7): the channel stops, and the hub
 * answers for itself while it is awake; its watchtower does the same while it is not. What is held afterwards is
 * remains.c's.
 *
 *     none ─CloseStarted, young─▶ suspended ─confirmed─▶ closing ─Finished─▶ closed, with remains ─▶ closed
 *      │     └──────────────── confirmed ────────────────▲ ▲
 *      │                          suspended ─the block vanished─▶ none, or wanted
 *      └─the operator─▶ wanted: stopped, startClose is submitted until the ledger shows a close
 *
 * What stands on the ledger is looked at with every event and every head, so that an answer which a crash or
 * a broken node swallowed is given again: a confirmed close is in the journal.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/planted.h"
#include "hub/engine_state.h"

#define FINISH_GRACE_S 60  /* the client and the tower may be about to do it */
#define FINISH_RETRY_S 600 /* of block time */

static uint64_t reference_of(const struct hub_channel *channel)
{
    return load_be64(channel->channel->id.bytes);
}

/* The challenge period's eighths after the deadline; UINT64_MAX if the event did not say when that is. */
static uint64_t eighths_after(const struct dispute *dispute, uint64_t eighths)
{
    if (dispute->deadline == 0)
        return UINT64_MAX;
    return dispute->deadline + dispute->period * eighths / 8;
}

/* ---- what has to be answered ---- */

static bool same_claim(const struct claim *a, const struct claim *b)
{
    return a->nonce == b->nonce && a->transferred.units == b->transferred.units &&
           a->locked.units == b->locked.units && hash_equal(&a->locks_root, &b->locks_root);
}

/* Our locks stand in it too: they can be unlocked after it as well. */
static bool keeps_locks(const struct claim *stands, const struct claim *ours)
{
    return hash_equal(&stands->locks_root, &ours->locks_root) && stands->locked.units >= ours->locked.units;
}

/* What the client's stream may pay by our proof: with the locks whose witness is known, and with those whose witness could
 * be registered when it is too late to bring them back. */
static unsigned_wide due_by_ours(const struct engine *engine, const struct hub_channel *channel)
{
    const struct stream *ours = channel_peer(channel->channel);
    uint64_t late_from = late_locks_from(channel->dispute->deadline, channel->dispute->period);
    unsigned_wide due = ours->proof.transferred.units;
    const struct pending_lock *pending = lock_set_next(ours->locks, 0);
    for (; pending != NULL; pending = lock_set_next(ours->locks, pending->lock.id)) {
        const struct payment *payment =
            payments_find(&engine->payments, &channel->channel->id, &pending->payment);
        bool known = payment != NULL && payment->witness != NULL && payment->payer_lock == pending->lock.id;
        if (known || pending->lock.expiry >= late_from ||
            engine_registration(engine, pending->lock.kind, &pending->lock.condition) != NULL)
            due += pending->lock.amount.units;
    }
    return due;
}

/* Section 7, last paragraph: what stands is at most as new as ours and differs, or is "newer" but pays us less than
 * ours may. */
static bool must_challenge(const struct engine *engine, const struct hub_channel *channel,
                           const struct claim *stands)
{
    const struct balance_proof *proof = &channel_peer(channel->channel)->proof;
    struct claim ours = {proof->nonce, proof->transferred, proof->locked, proof->locks_root};
    if (ours.nonce == 0 || PLANTED(CLOSE_NOT_ANSWERED))
        return false;
    if (stands->nonce <= ours.nonce)
        return !same_claim(stands, &ours);
    if (keeps_locks(stands, &ours))
        return stands->transferred.units < ours.transferred.units;
    return stands->transferred.units < due_by_ours(engine, channel);
}

static void challenge(struct engine *engine, struct hub_channel *channel)
{
    const struct stream *stream = channel_peer(channel->channel);
    struct contract_call call = {.function = CONTRACT_CHALLENGE,
                                 .key = channel->channel->key,
                                 .proof = stream->proof,
                                 .signature = stream->signature,
                                 .to = engine->hub};
    engine_emit_call(engine, ENGINE_CALL_CHALLENGE, reference_of(channel), &call);
    engine->figures.challenges++;
}

/* The client showed (closing, or answering the hub's close) an older proof of the hub's stream, with locks that it has promised to be void. */
static bool must_void(const struct hub_channel *channel)
{
    const struct dispute *dispute = channel->dispute;
    uint64_t revoked = stream_dropped(channel_own(channel->channel))->revoked_nonce;
    return !PLANTED(LOCKS_NOT_VOIDED) && dispute->of_hub.nonce < revoked &&
           !amount_is_zero(dispute->of_hub.locked) && dispute->voided_nonce <= dispute->of_hub.nonce;
}

static void void_locks(struct engine *engine, struct hub_channel *channel)
{
    const struct dropped *own = stream_dropped(channel_own(channel->channel));
    struct contract_call call = {.function = CONTRACT_VOID_LOCKS,
                                 .key = channel->channel->key,
                                 .flag = false,
                                 .min_nonce = own->revoked_nonce,
                                 .signature = own->revocation};
    engine_emit_call(engine, ENGINE_CALL_VOID_LOCKS, reference_of(channel), &call);
}

static void answer(struct engine *engine, struct hub_channel *channel)
{
    struct dispute *dispute = channel->dispute;
    uint64_t now = engine_newest_time(engine);
    if (!dispute->known || dispute->remains != NULL)
        return;
    if (!dispute->by_hub && !dispute->answered && now < eighths_after(dispute, 2) &&
        must_challenge(engine, channel, &dispute->of_client)) {
        dispute->answered = true;
        challenge(engine, channel);
    }
    if (!dispute->void_asked && now < eighths_after(dispute, 3) && must_void(channel)) {
        dispute->void_asked = true;
        void_locks(engine, channel);
    }
}

/* The answer was not given: at the next head it is tried again, as long as what stands calls for it. Also if the
 * contract refused it: a reorganisation may have taken the close away, or put it behind its answer, for a moment. */
void dispute_call_failed(struct engine *engine, enum engine_call call, uint64_t reference)
{
    for (struct dispute *at = engine->disputes; at != NULL; at = at->next) {
        if (reference_of(at->channel) != reference)
            continue;
        if (call == ENGINE_CALL_CHALLENGE)
            at->answered = false;
        else if (call == ENGINE_CALL_VOID_LOCKS)
            at->void_asked = false;
        else if (call == ENGINE_CALL_START_CLOSE)
            at->start_asked = false;
        else
            at->finish_next = engine->head.confirmed_time + FINISH_GRACE_S;
    }
}

/* ---- events ---- */

struct dispute *dispute_open(struct engine *engine, struct hub_channel *channel)
{
    ensure(channel->dispute == NULL);
    struct dispute *dispute = xcalloc(1, sizeof(*dispute));
    dispute->channel = channel;
    dispute->next = engine->disputes;
    if (engine->disputes != NULL)
        engine->disputes->previous = dispute;
    engine->disputes = dispute;
    channel->dispute = dispute;
    return dispute;
}

void dispute_over(struct engine *engine, struct hub_channel *channel)
{
    struct dispute *dispute = channel->dispute;
    channel->suspended_block = 0;
    if (dispute == NULL)
        return;
    if (dispute->next != NULL)
        dispute->next->previous = dispute->previous;
    if (dispute->previous != NULL)
        dispute->previous->next = dispute->next;
    else
        engine->disputes = dispute->next;
    remains_free(dispute->remains);
    free(dispute);
    channel->dispute = NULL;
    channel->dispute_dirty = true;
    engine_touch(engine, channel);
}

static void close_is_confirmed(struct engine *engine, struct hub_channel *channel,
                               const struct contract_event *event)
{
    channel->suspended_block = 0;
    channel->dispute->confirmed = true;
    channel->dispute->wanted = false;
    channel->dispute->confirmed_claim = channel->dispute->first;
    channel->dispute->confirmed_of_hub = event->of_hub_claim;
    channel->dispute_dirty = true;
    struct channel_funds funds = channel->channel->funds;
    if (funds.stage == STAGE_OPEN)
        engine->figures.channels_open--;
    funds.stage = STAGE_CLOSING;
    ledger_set_funds(engine, channel, &funds);
}

void dispute_started(struct engine *engine, struct hub_channel *channel, const struct contract_event *event)
{
    struct dispute *dispute = channel->dispute;
    if (channel->channel->funds.stage == STAGE_CLOSED)
        return;
    if (dispute == NULL)
        dispute = dispute_open(engine, channel);
    if (!dispute->known) {
        engine->figures.closes_seen++;
        log_warn("channel %s is being closed by its %s; it takes no more payments",
                 hash_text(&channel->channel->id, (char[HASH_TEXT_SIZE]){0}),
                 event->by_hub ? "hub" : "client");
    } else if (!same_claim(&dispute->first, &event->of_client_claim)) {
        dispute->answered = dispute->void_asked = false; /* the chain was reorganised: another close */
        dispute->of_client = event->of_client_claim;
    }
    if (!dispute->known)
        dispute->of_client = event->of_client_claim;
    dispute->known = true;
    dispute->by_hub = event->by_hub;
    dispute->first = event->of_client_claim;
    dispute->of_hub = event->of_hub_claim;
    dispute->deadline = event->deadline;
    dispute->period = event->deadline > event->block_time ? event->deadline - event->block_time : 0;
    engine_touch(engine, channel);
    if (event->confirmed)
        close_is_confirmed(engine, channel, event);
    else
        channel->suspended_block = event->block;
    answer(engine, channel);
}

/* The client, or its tower, has answered the hub's close: perhaps with locks that it has promised to be void. */
static void hub_is_challenged(struct engine *engine, struct hub_channel *channel,
                              const struct contract_event *event)
{
    struct dispute *dispute = channel->dispute;
    if (!same_claim(&dispute->of_hub, &event->proof))
        dispute->void_asked = false;
    dispute->of_hub = event->proof;
    if (event->confirmed) {
        dispute->confirmed_of_hub = event->proof;
        channel->dispute_dirty = true;
        engine_touch(engine, channel);
    }
    answer(engine, channel);
}

/* A challenge is about the closer's stream. */
void dispute_challenged(struct engine *engine, struct hub_channel *channel,
                        const struct contract_event *event)
{
    struct dispute *dispute = channel->dispute;
    if (dispute == NULL || dispute->remains != NULL)
        return;
    if (dispute->by_hub) {
        hub_is_challenged(engine, channel, event);
        return;
    }
    if (!same_claim(&dispute->of_client, &event->proof))
        dispute->answered = false;
    dispute->of_client = event->proof;
    if (event->confirmed) {
        dispute->confirmed_claim = event->proof;
        channel->dispute_dirty = true;
        engine_touch(engine, channel);
    }
    /* What the hub itself has shown stands by its own choice; over a tower's it has the last word. */
    if (event->by_partner)
        dispute->answered = true;
    answer(engine, channel);
}

void dispute_locks_voided(struct engine *engine, struct hub_channel *channel,
                          const struct contract_event *event)
{
    if (channel->dispute == NULL || event->of_client)
        return;
    channel->dispute->voided_nonce = event->min_nonce;
    channel->dispute_dirty = true;
    engine_touch(engine, channel);
}

/* ---- the operator's own ---- */

static enum code may_close(const struct hub_channel *channel)
{
    if (!channel_is_usable(channel) || channel->dispute != NULL)
        return CODE_STATUS;
    return channel_settlement(channel->channel)->phase == SETTLEMENT_NONE ? CODE_OK : CODE_SETTLE;
}

/* What is looked at first: whether the one before it, if a crash has hidden its fate, has landed is the ledger
 * client's estimate to say, which costs nothing. */
static void start_close(struct engine *engine, struct dispute *dispute)
{
    uint64_t now = engine->head.confirmed_time;
    struct channel *machine = dispute->channel->channel;
    if (dispute->start_asked || now < dispute->start_next)
        return;
    dispute->start_asked = true;
    dispute->start_next = now + FINISH_GRACE_S;
    const struct stream *own = channel_own(machine), *peer = channel_peer(machine);
    struct contract_call call = {
        .function = CONTRACT_START_CLOSE,
        .key = machine->key,
        .proof = peer->proof,
        .signature = peer->signature,
        .own = {own->proof.nonce, own->proof.transferred, own->proof.locked, own->proof.locks_root}};
    engine_emit_call(engine, ENGINE_CALL_START_CLOSE, reference_of(dispute->channel), &call);
}

enum code engine_close(struct engine *engine, const struct hash *id)
{
    struct hub_channel *channel = engine_channel(engine, id);
    if (channel == NULL)
        return CODE_CHANNEL;
    engine_flush(engine); /* what is due and can be signed is */
    enum code code = may_close(channel);
    if (code != CODE_OK)
        return code;
    channel->channel->stopped = channel->channel->dirty = true;
    forward_forget_held(engine, channel);
    dispute_open(engine, channel)->wanted = true;
    engine_touch(engine, channel);
    log_warn("channel %s is closed by the operator's wish: it takes no more payments",
             hash_text(id, (char[HASH_TEXT_SIZE]){0}));
    start_close(engine, channel->dispute);
    return CODE_OK;
}

bool engine_close_look(const struct engine *engine, const struct hash *id, struct engine_close_look *out)
{
    const struct hub_channel *channel = engine_channel(engine, id);
    if (channel == NULL)
        return false;
    const struct channel *machine = channel->channel;
    *out = (struct engine_close_look){
        .code = may_close(channel),
        .client = machine->key.client,
        .asset = machine->key.asset,
        .is_online = channel->client->peer != 0,
        .client_units = channel_balance(machine, SIDE_CLIENT),
        .hub_units = channel_balance(machine, SIDE_HUB),
        .locked_client = machine->streams[SIDE_CLIENT].locked.units,
        .locked_hub = machine->streams[SIDE_HUB].locked.units,
        .locks = lock_set_count(machine->streams[SIDE_CLIENT].locks) +
                 lock_set_count(machine->streams[SIDE_HUB].locks),
    };
    return true;
}

void dispute_recovered(struct engine *engine, struct hub_channel *channel)
{
    if (channel->channel->stopped && channel->channel->funds.stage == STAGE_OPEN && channel->dispute == NULL)
        dispute_open(engine, channel)->wanted = true;
}

/* ---- time ---- */

/* Seen in a young block and not there now that the block is old: the chain was reorganised. */
static void close_has_vanished(struct engine *engine, struct dispute *dispute)
{
    if (!dispute->wanted) {
        dispute_over(engine, dispute->channel);
        return;
    }
    dispute->channel->suspended_block = 0;
    dispute->known = dispute->answered = dispute->void_asked = false;
    start_close(engine, dispute);
}

static void finish_when_due(struct engine *engine, struct dispute *dispute)
{
    uint64_t now = engine->head.confirmed_time, end = eighths_after(dispute, 3);
    if (!dispute->confirmed || end == UINT64_MAX || now < end + FINISH_GRACE_S || now < dispute->finish_next)
        return;
    dispute->finish_next = now + FINISH_RETRY_S;
    struct contract_call call = {.function = CONTRACT_FINISH, .key = dispute->channel->channel->key};
    engine_emit_call(engine, ENGINE_CALL_FINISH, reference_of(dispute->channel), &call);
}

void dispute_head(struct engine *engine)
{
    for (struct dispute *dispute = engine->disputes, *next; dispute != NULL; dispute = next) {
        next = dispute->next;
        if (dispute->remains != NULL) {
            remains_head(engine, dispute);
            continue;
        }
        if (!dispute->confirmed && dispute->channel->suspended_block <= engine->head.confirmed_number) {
            close_has_vanished(engine, dispute);
            continue;
        }
        answer(engine, dispute->channel);
        finish_when_due(engine, dispute);
    }
}
