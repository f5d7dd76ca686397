/* Closes on the ledger, the client's side of section 7: starting one, answering the hub's, and taking what it
 * leaves.
 *
 *     REST ─new head─▶ channel() ─closing─▶ closing() ─▶ ACT: challenge, void, finish
 *                        │ open ──────────────────────▶ ACT: startClose, if it is wanted
 *                        └ closed ─▶ closing(), held() ─▶ ACT: unlock, each lock that is ours
 *
 * As with a tower, what is done rests on what is seen at that look and never on what was done before: a
 * restart, a missed block or a reorganisation needs no other path than the next look.
 */
#include "base/planted.h"
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

#define LOOK_AGAIN_MS 2000 /* where blocks come only on demand, time may pass without a head */

void wallet_close_seen(struct wallet_core *core, struct wallet_channel *own)
{
    if (!own->closing_seen || !own->watch.active) {
        own->closing_seen = true;
        own->watch.active = true;
        own->watch.looked_head = 0;
        own->book_dirty = true;
    }
    wallet_payments_stop(core, own, CODE_STATUS);
    wallet_updates_drop_held(core, own);
}

enum code wallet_dispute(struct wallet_core *core, const struct hash *channel)
{
    struct wallet_channel *own = wallet_channel_by_id(core, channel);
    if (own == NULL)
        return CODE_CHANNEL;
    if (own->channel->funds.stage != STAGE_OPEN || own->closing_seen || own->channel->stopped)
        return CODE_STATUS;
    own->dispute = true;
    own->book_dirty = true;
    own->channel->stopped = !PLANTED(SIGNS_AFTER_CLOSE);
    own->channel->dirty = true;
    own->watch.active = true;
    own->watch.looked_head = 0;
    wallet_payments_stop(core, own, CODE_STATUS);
    wallet_updates_drop_held(core, own);
    return CODE_OK;
}

static void incoming_unlocked(struct wallet_core *core, struct wallet_channel *own,
                              const struct contract_event *event)
{
    const struct pending_lock *lock = lock_set_find(channel_peer(own->channel)->locks, event->lock_id);
    if (lock == NULL)
        return;
    struct operation operation = {.type = event->to_receiver ? OPERATION_UNLOCK : OPERATION_EXPIRE};
    wallet_incoming_lock_gone(core, own, &operation, lock);
}

void wallet_close_ended(struct wallet_channel *own, enum closed_by by, struct amount to_client,
                        const struct contract_event *event)
{
    own->ending =
        (struct channel_ending){.by = (uint8_t)by, .time = event->block_time, .to_client = to_client};
    own->book_dirty = true;
}

void wallet_close_event(struct wallet_core *core, struct wallet_channel *own,
                        const struct contract_event *event)
{
    switch (event->type) {
    case EVENT_CLOSE_STARTED:
        own->watch.by_hub = event->by_hub;
        wallet_close_seen(core, own);
        return;
    case EVENT_CHALLENGED:
    case EVENT_LOCKS_VOIDED:
        own->watch.looked_head = 0;
        return;
    case EVENT_FINISHED:
        own->watch.looked_head = 0;
        if (event->confirmed) {
            char text[160];
            wallet_close_ended(own, own->watch.by_hub ? CLOSED_BY_HUB : CLOSED_BY_CLIENT, event->to_client,
                               event);
            own->ending.penalty = event->penalty;
            snprintf(text, sizeof(text), "finished: %llu units paid out, penalty %llu",
                     (unsigned long long)event->to_client.units, (unsigned long long)event->penalty.units);
            wallet_tell_channel(core, WALLET_NEWS_CLOSE, own, text);
        }
        return;
    case EVENT_UNLOCKED:
        if (!event->confirmed)
            return;
        own->watch.looked_head = 0;
        if (event->of_client != event->to_receiver) {
            own->ending.to_client.units += event->amount.units;
            own->book_dirty = true;
        }
        if (event->of_client)
            wallet_payments_unlocked(core, own, event);
        else
            incoming_unlocked(core, own, event);
        return;
    default:
        return;
    }
}

/* ---- a close under way ---- */

/* A step that is tried again and again is told of once. `text` is static. */
static void tell_once(struct wallet_core *core, struct wallet_channel *own, const char *text)
{
    if (own->watch.told == text)
        return;
    own->watch.told = text;
    wallet_tell_channel(core, WALLET_NEWS_CLOSE, own, text);
}

static bool met_in_time(const struct wallet_core *core, const struct lock *lock)
{
    const struct registration *met = wallet_ledger_registration(core, lock->kind, &lock->condition);
    return met != NULL && met->time <= lock->expiry;
}

/* Locks of the hub's stream that may still pay: their secret is known, or registered in time, or could be registered
 * when it is too late to bring them back by a challenge. */
static struct amount claimable(const struct wallet_core *core, const struct wallet_channel *own)
{
    struct amount sum = amount_of(0);
    const struct lock_set *locks = own->channel->streams[SIDE_HUB].locks;
    uint64_t late_from = late_locks_from(own->watch.closing.deadline, core->options.challenge_period_s);
    for (const struct pending_lock *lock = lock_set_next(locks, 0); lock != NULL;
         lock = lock_set_next(locks, lock->lock.id)) {
        const struct registration *met =
            wallet_ledger_registration(core, lock->lock.kind, &lock->lock.condition);
        const struct payment_in *payment = wallet_payment_in_find(core, &own->id, &lock->payment);
        bool known = payment != NULL && payment->counter != 0 && core->head.time <= lock->lock.expiry;
        bool outlives = core->head.time <= lock->lock.expiry && lock->lock.expiry >= late_from;
        if (met != NULL ? met->time <= lock->lock.expiry : known || outlives)
            ensure(amount_add(sum, lock->lock.amount, &sum));
    }
    return sum;
}

/* Our locks stand in it too: they can be unlocked after it as well. */
static bool keeps_locks(const struct claim *stands, const struct balance_proof *mine)
{
    return hash_equal(&stands->locks_root, &mine->locks_root) &&
           amount_compare(stands->locked, mine->locked) >= 0;
}

/* Section 7's rule: whether what stands for the hub's stream calls for our own proof of it. */
static bool must_challenge(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct closing *closing = &own->watch.closing;
    const struct balance_proof *mine = &own->channel->streams[SIDE_HUB].proof;
    const struct claim *stands = &closing->of_hub;
    if (!closing->by_hub || mine->nonce == 0 || core->options.challenge_period_s == 0)
        return false;
    if (closing->by_partner && mine->nonce <= stands->nonce)
        return false;
    bool same = stands->nonce == mine->nonce && amount_compare(stands->transferred, mine->transferred) == 0 &&
                amount_compare(stands->locked, mine->locked) == 0 &&
                hash_equal(&stands->locks_root, &mine->locks_root);
    if (same)
        return false;
    wide worth = (wide)mine->transferred.units;
    if (!keeps_locks(stands, mine))
        worth += (wide)claimable(core, own).units;
    if (stands->nonce > mine->nonce && (wide)stands->transferred.units >= worth)
        return false;
    return core->head.time <
           close_time(closing, core->options.challenge_period_s, closing->challenged ? 2 : 0);
}

static void challenge(struct wallet_core *core, struct wallet_channel *own)
{
    const struct stream *hub = channel_peer(own->channel);
    struct contract_call call = {.function = CONTRACT_CHALLENGE,
                                 .key = own->channel->key,
                                 .proof = hub->proof,
                                 .signature = hub->signature,
                                 .to = core->self};
    if (wallet_duty_submit(core, DUTY_CHALLENGE, &own->id, &own->id, &call))
        tell_once(core, own, "the hub's claim is answered with its own newest proof");
}

static void void_locks(struct wallet_core *core, struct wallet_channel *own)
{
    const struct closing *closing = &own->watch.closing;
    const struct dropped *mine = stream_dropped(channel_own(own->channel));
    bool shown = closing->by_hub || closing->challenged;
    if (!shown || amount_is_zero(closing->of_client.locked) ||
        closing->of_client.nonce >= mine->revoked_nonce ||
        closing->min_nonce_of_client >= mine->revoked_nonce ||
        core->head.time >= close_time(closing, core->options.challenge_period_s, 3))
        return;
    struct contract_call call = {.function = CONTRACT_VOID_LOCKS,
                                 .key = own->channel->key,
                                 .flag = true,
                                 .min_nonce = mine->revoked_nonce,
                                 .signature = mine->revocation};
    if (wallet_duty_submit(core, DUTY_VOID, &own->id, &own->id, &call))
        tell_once(core, own, "locks that were given up are declared void");
}

static void finish(struct wallet_core *core, struct wallet_channel *own)
{
    /* Blocks may come on demand only: then the wall clock is what the next one's time will be. */
    uint64_t now = core->head.time > core->unix_s ? core->head.time : core->unix_s;
    if (core->options.challenge_period_s == 0 ||
        now < close_time(&own->watch.closing, core->options.challenge_period_s, 3))
        return;
    struct contract_call call = {.function = CONTRACT_FINISH, .key = own->channel->key};
    (void)wallet_duty_submit(core, DUTY_FINISH, &own->id, &own->id, &call);
}

static void act_closing(struct wallet_core *core, struct wallet_channel *own)
{
    struct close_watch *watch = &own->watch;
    wallet_close_seen(core, own);
    own->dispute = false;
    if (!watch->told_started) {
        char text[160];
        watch->told_started = true;
        snprintf(text, sizeof(text), "closing, started by %s; answers count until %llu",
                 watch->closing.by_hub ? "the hub" : "this wallet",
                 (unsigned long long)watch->closing.deadline);
        wallet_tell_channel(core, WALLET_NEWS_CLOSE, own, text);
    }
    if (must_challenge(core, own))
        challenge(core, own);
    void_locks(core, own);
    finish(core, own);
}

/* ---- starting one ---- */

/* A close that was seen in a young block and vanished with it. */
static bool has_vanished(const struct wallet_core *core, struct wallet_channel *own)
{
    struct close_watch *watch = &own->watch;
    if (watch->open_head == 0)
        watch->open_head = core->head.number;
    return own->channel->funds.stage == STAGE_OPEN && core->head.confirmed_number >= watch->open_head;
}

static void act_open(struct wallet_core *core, struct wallet_channel *own)
{
    if (!own->dispute) {
        if (!has_vanished(core, own))
            return;
        own->closing_seen = false;
        own->book_dirty = true;
        if (!own->channel->stopped) {
            own->watch.active = false;
            core->disconnect = "a close that was seen has vanished: connecting anew to be in step";
            return;
        }
        /* It was ours, and nothing is signed since it was decided: whoever sent it may have forgotten it in a crash. */
        own->dispute = true;
    }
    const struct stream *mine = channel_own(own->channel), *hub = channel_peer(own->channel);
    struct contract_call call = {.function = CONTRACT_START_CLOSE,
                                 .key = own->channel->key,
                                 .proof = hub->proof,
                                 .signature = hub->signature,
                                 .own = {.nonce = mine->proof.nonce,
                                         .transferred = mine->proof.transferred,
                                         .locked = mine->proof.locked,
                                         .locks_root = mine->proof.locks_root}};
    if (wallet_duty_submit(core, DUTY_START_CLOSE, &own->id, &own->id, &call))
        tell_once(core, own, "startClose is submitted");
}

/* ---- after it is closed ---- */

static bool submit_unlock(struct wallet_core *core, struct wallet_channel *own, enum side stream,
                          struct lock_set *locks, const struct pending_lock *lock)
{
    struct hash leaf = lock_leaf(&lock->lock), proof[LOCK_TREE_DEPTH];
    if (wallet_duty_done(core, DUTY_UNLOCK, &leaf))
        return false;
    size_t length = 0;
    if (!lock_set_prove(locks, lock->lock.id, proof, &length))
        return false;
    struct contract_call call = {.function = CONTRACT_UNLOCK,
                                 .key = own->channel->key,
                                 .flag = stream == SIDE_CLIENT,
                                 .lock = lock->lock,
                                 .merkle = proof,
                                 .merkle_count = length};
    (void)wallet_duty_submit(core, DUTY_UNLOCK, &leaf, &own->id, &call);
    return true;
}

/* Returns whether one of these locks of a stream is still to be claimed, now or later. */
static bool claim_these(struct wallet_core *core, struct wallet_channel *own, enum side stream,
                        struct lock_set *locks)
{
    bool left = false;
    for (const struct pending_lock *lock = lock_set_next(locks, 0); lock != NULL;
         lock = lock_set_next(locks, lock->lock.id)) {
        bool in_time = met_in_time(core, &lock->lock);
        bool expired = core->head.confirmed_time > lock->lock.expiry;
        const struct payment_in *payment = wallet_payment_in_find(core, &own->id, &lock->payment);
        bool registering = stream == SIDE_HUB && payment != NULL && payment->counter != 0 && !expired;
        bool unknown = stream == SIDE_HUB && expired &&
                       wallet_condition_fate(core, lock->lock.kind, &lock->lock.condition,
                                             lock->lock.expiry) == CONDITION_UNKNOWN;
        if (unknown)
            left = true;
        else if (stream == SIDE_HUB ? in_time : !in_time && expired)
            left |= submit_unlock(core, own, stream, locks, lock);
        else if (stream == SIDE_CLIENT ? !in_time && !expired : registering && !in_time)
            left = true;
    }
    return left;
}

static bool claim_locks(struct wallet_core *core, struct wallet_channel *own, enum side stream)
{
    struct close_watch *watch = &own->watch;
    const struct claim *stood = stream == SIDE_CLIENT ? &watch->closing.of_client : &watch->closing.of_hub;
    struct lock_set *locks = own->channel->streams[stream].locks, *older = NULL;
    if (amount_is_zero(stream == SIDE_CLIENT ? watch->held_client : watch->held_hub))
        return false;
    struct hash root = lock_set_root(locks);
    if (stream == SIDE_CLIENT) {
        channel_drop_draft(own->channel);
        locks = older = channel_own_locks_at(own->channel, &stood->locks_root);
    } else if (!hash_equal(&root, &stood->locks_root)) {
        locks = NULL;
    }
    if (locks == NULL) {
        if (!watch->told_mismatch)
            wallet_trouble(core, own, "locks are held on the ledger that this wallet has no record of");
        watch->told_mismatch = true;
        return false;
    }
    bool left = claim_these(core, own, stream, locks);
    lock_set_free(older);
    return left;
}

/* A lock that the hub cannot have dropped before it made its claim: met in time, or still running then and not refused. */
static bool is_due(const struct wallet_core *core, const struct wallet_channel *own,
                   const struct pending_lock *lock)
{
    const struct payment_in *payment = wallet_payment_in_find(core, &own->id, &lock->payment);
    uint64_t period = core->options.challenge_period_s, started = own->watch.closing.deadline - period;
    bool revealed = payment != NULL && payment->locked && payment->state == IN_REVEALED;
    return met_in_time(core, &lock->lock) || (revealed && period != 0 && started <= lock->lock.expiry);
}

/* The hub's claim may be newer than what has come here: then an unlock was under way when it closed. Locks that are due
 * and that such a claim does not show any more are in what it transfers, if that is enough for them all: they are paid,
 * and no event will say so. */
static void take_transferred(struct wallet_core *core, struct wallet_channel *own)
{
    static const struct operation unlock = {.type = OPERATION_UNLOCK};
    const struct claim *stood = &own->watch.closing.of_hub;
    const struct stream *hub = channel_peer(own->channel);
    /* Each is below 2^63; their sum need not be. */
    wide least = (wide)hub->proof.transferred.units;
    if (stood->nonce <= hub->proof.nonce || keeps_locks(stood, &hub->proof))
        return;
    for (const struct pending_lock *lock = lock_set_next(hub->locks, 0); lock != NULL;
         lock = lock_set_next(hub->locks, lock->lock.id))
        if (is_due(core, own, lock))
            least += (wide)lock->lock.amount.units;
    if ((wide)stood->transferred.units < least)
        return;
    for (const struct pending_lock *lock = lock_set_next(hub->locks, 0); lock != NULL;
         lock = lock_set_next(hub->locks, lock->lock.id))
        if (is_due(core, own, lock))
            wallet_incoming_lock_gone(core, own, &unlock, lock);
}

static void act_closed(struct wallet_core *core, struct wallet_channel *own)
{
    struct close_watch *watch = &own->watch;
    bool left = claim_locks(core, own, SIDE_HUB);
    left |= claim_locks(core, own, SIDE_CLIENT);
    if (left) {
        watch->closed_head = 0;
        return;
    }
    if (watch->closed_head == 0)
        watch->closed_head = core->head.number;
    if (core->head.confirmed_number < watch->closed_head || own->channel->funds.stage != STAGE_CLOSED)
        return;
    take_transferred(core, own);
    watch->active = false;
    own->book_dirty = true;
    wallet_payments_closed(core, own, watch->closing.of_client.nonce);
    wallet_owed_check(core, &own->channel->key.asset);
    wallet_tell_channel(core, WALLET_NEWS_CLOSED, own, "closed, and all that could be claimed is");
}

/* ---- looking ---- */

static void ask(struct wallet_core *core, struct wallet_channel *own, enum question_kind kind,
                enum contract_function function)
{
    struct contract_call view = {.function = function, .key = own->channel->key};
    own->watch.step = WATCH_ASKING;
    wallet_ask(core, kind, &own->id, NULL, &view);
}

void wallet_close_run(struct wallet_core *core, struct wallet_channel *own)
{
    struct close_watch *watch = &own->watch;
    if (!watch->active || !core->has_head)
        return;
    switch (watch->step) {
    case WATCH_ASKING:
        return;
    case WATCH_ASK_CLOSING:
        ask(core, own, ASK_CLOSING, CONTRACT_CLOSING);
        return;
    case WATCH_ASK_HELD:
        ask(core, own, ASK_HELD, CONTRACT_HELD);
        return;
    case WATCH_ACT:
        watch->step = WATCH_REST;
        if (watch->status == CHANNEL_OPEN)
            act_open(core, own);
        else if (watch->status == CHANNEL_CLOSING)
            act_closing(core, own);
        else if (watch->status == CHANNEL_CLOSED)
            act_closed(core, own);
        wallet_due(core, core->now_ms + LOOK_AGAIN_MS);
        return;
    case WATCH_REST:
        if (watch->looked_head == core->head.number && core->now_ms < watch->looked_ms + LOOK_AGAIN_MS) {
            wallet_due(core, watch->looked_ms + LOOK_AGAIN_MS);
            return;
        }
        watch->looked_head = core->head.number;
        watch->looked_ms = core->now_ms;
        ask(core, own, ASK_CHANNEL, CONTRACT_CHANNEL);
        return;
    }
}

void wallet_close_answer(struct wallet_core *core, const struct question *question, bool ok,
                         const uint8_t *data, size_t length)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &question->channel);
    if (own == NULL)
        return;
    struct close_watch *watch = &own->watch;
    struct channel_state state;
    unsigned_wide of_client, of_hub;
    watch->step = WATCH_REST; /* an answer that cannot be used: again at the next look */
    if (!ok)
        return;
    switch (question->kind) {
    case ASK_CHANNEL:
        if (!contract_decode_channel(data, length, &state))
            return;
        watch->status = state.status;
        if (state.status != CHANNEL_OPEN)
            watch->open_head = 0;
        watch->step =
            state.status == CHANNEL_CLOSING || state.status == CHANNEL_CLOSED ? WATCH_ASK_CLOSING : WATCH_ACT;
        return;
    case ASK_CLOSING:
        if (contract_decode_closing(data, length, &watch->closing))
            watch->step = watch->status == CHANNEL_CLOSED ? WATCH_ASK_HELD : WATCH_ACT;
        return;
    case ASK_HELD:
        if (contract_decode_word(data, length, 0, &of_client) &&
            contract_decode_word(data, length, 1, &of_hub) && of_client < AMOUNT_LIMIT &&
            of_hub < AMOUNT_LIMIT) {
            watch->held_client = amount_of((uint64_t)of_client);
            watch->held_hub = amount_of((uint64_t)of_hub);
            watch->step = WATCH_ACT;
        }
        return;
    case ASK_OWED:
    case ASK_REGISTERED:
        return;
    }
}

/* ---- payouts that could not be delivered ---- */

#define OWED_EMPTY_HEADS 3 /* looks that find nothing, before looking ends */

void wallet_owed_check(struct wallet_core *core, const struct address *asset)
{
    struct owed_asset *owed;
    DL_FOREACH(core->owed, owed)
    {
        if (address_equal(&owed->asset, asset)) {
            owed->empty_heads = 0;
            return;
        }
    }
    owed = xcalloc(1, sizeof(*owed));
    owed->asset = *asset;
    DL_APPEND(core->owed, owed);
}

void wallet_owed_answer(struct wallet_core *core, const struct address *asset, bool ok, const uint8_t *data,
                        size_t length)
{
    struct owed_asset *owed, *next;
    unsigned_wide units;
    DL_FOREACH_SAFE(core->owed, owed, next)
    {
        if (!address_equal(&owed->asset, asset))
            continue;
        owed->asking = false;
        if (!ok || !contract_decode_word(data, length, 0, &units))
            return;
        owed->due = units > 0;
        if (!owed->due && ++owed->empty_heads >= OWED_EMPTY_HEADS) {
            DL_DELETE(core->owed, owed);
            free(owed);
        }
        return;
    }
}

void wallet_owed_run(struct wallet_core *core)
{
    struct owed_asset *owed;
    DL_FOREACH(core->owed, owed)
    {
        if (owed->due) {
            struct contract_call call = {
                .function = CONTRACT_WITHDRAW_OWED, .address = owed->asset, .to = core->self};
            struct hash subject = HASH_ZERO;
            memcpy(subject.bytes, owed->asset.bytes, sizeof(owed->asset.bytes));
            owed->due = false;
            if (wallet_duty_submit(core, DUTY_WITHDRAW_OWED, &subject, NULL, &call))
                wallet_trouble(core, NULL,
                               "a payout could not be delivered: it is being fetched from the contract");
        }
        if (!owed->asking && core->has_head && owed->looked_head != core->head.number) {
            struct contract_call view = {.function = CONTRACT_OWED, .address = core->self, .to = owed->asset};
            owed->asking = true;
            owed->looked_head = core->head.number;
            wallet_ask(core, ASK_OWED, NULL, &owed->asset, &view);
        }
    }
}
