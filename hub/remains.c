/* What a finished close still holds: the amounts of the locks that both streams had (protocol.md, section 7), until
 * somebody calls `unlock` for them. The hub does, for what is its own and for what is the client's by a witness, and then
 * lets go of the channel.
 *
 *     a lock           of the client's stream                 of the hub's stream
 *     met in time      unlocked to the hub                    unlocked to the client, if it has not by then
 *     known witness    registered at once, then as above      the client's to register
 *     expired unmet    the client's to take back              unlocked back to the hub
 *     else             waits for its expiry                   waits for its expiry
 *
 * What is paid is known from confirmed events alone, and on disk with them. Whether somebody was faster in a young block
 * is the ledger client's estimate to say, which costs nothing: the lock is tried again as long as it is not confirmed.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define OWN_GRACE_S     60  /* the tower may be about to do it */
#define CLIENTS_GRACE_S 600 /* so may the client, for its own */
#define RETRY_S         60  /* of block time */

void remains_free(struct remains *remains)
{
    if (remains == NULL)
        return;
    lock_set_free(remains->own_locks);
    free(remains);
}

void remains_finished(struct engine *engine, struct hub_channel *channel, const struct contract_event *event)
{
    struct dispute *dispute = channel->dispute;
    if (dispute == NULL) /* the node never showed how it began: nothing is known of what stands */
        dispute = dispute_open(engine, channel);
    ensure(dispute->remains == NULL); /* it ends once: event_finished */
    dispute->known = dispute->confirmed = true;
    dispute->wanted = false;
    dispute->of_client = dispute->confirmed_claim;
    dispute->of_hub = dispute->confirmed_of_hub;
    dispute->remains = xcalloc(1, sizeof(*dispute->remains));
    *dispute->remains =
        (struct remains){.held = {[SIDE_CLIENT] = event->held_client, [SIDE_HUB] = event->held_hub},
                         .closed_time = event->block_time};
    channel->suspended_block = 0;
    channel->dispute_dirty = true;
    engine_touch(engine, channel);
}

/* ---- what is paid ---- */

static unsigned place_of(uint64_t lock_id)
{
    return (unsigned)(lock_id % LOCKS_PER_STREAM_MAX);
}

static void mark_done(struct remains *remains, enum side stream, unsigned place)
{
    remains->done[stream][place / 8] |= (uint8_t)(1u << place % 8);
}

static bool is_done(const struct remains *remains, enum side stream, unsigned place)
{
    return (remains->done[stream][place / 8] >> place % 8 & 1) != 0;
}

static void write_done(const struct remains *remains, enum side stream, struct buffer *batch)
{
    unsigned count = 0;
    for (unsigned place = 0; place < LOCKS_PER_STREAM_MAX; place++)
        count += is_done(remains, stream, place);
    buffer_varint(batch, count);
    for (unsigned place = 0; place < LOCKS_PER_STREAM_MAX; place++)
        if (is_done(remains, stream, place))
            buffer_u16(batch, (uint16_t)place);
}

static void read_done(struct reader *reader, struct remains *remains, enum side stream)
{
    for (uint64_t left = reader_varint(reader); reader->ok && left > 0; left--) {
        unsigned place = reader_u16(reader);
        reader->ok = reader->ok && place < LOCKS_PER_STREAM_MAX;
        if (reader->ok)
            mark_done(remains, stream, place);
    }
}

void remains_write(const struct remains *remains, struct buffer *batch)
{
    buffer_u8(batch, remains != NULL);
    if (remains == NULL)
        return;
    buffer_u64(batch, remains->held[SIDE_CLIENT].units);
    buffer_u64(batch, remains->held[SIDE_HUB].units);
    buffer_u64(batch, remains->to_hub.units);
    buffer_u64(batch, remains->closed_time);
    write_done(remains, SIDE_CLIENT, batch);
    write_done(remains, SIDE_HUB, batch);
}

struct remains *remains_read(struct reader *reader)
{
    if (reader_u8(reader) == 0)
        return NULL;
    struct remains *remains = xcalloc(1, sizeof(*remains));
    remains->held[SIDE_CLIENT].units = reader_u64(reader);
    remains->held[SIDE_HUB].units = reader_u64(reader);
    remains->to_hub.units = reader_u64(reader);
    remains->closed_time = reader_u64(reader);
    read_done(reader, remains, SIDE_CLIENT);
    read_done(reader, remains, SIDE_HUB);
    reader->ok = reader->ok && remains->held[SIDE_CLIENT].units < AMOUNT_LIMIT &&
                 remains->held[SIDE_HUB].units < AMOUNT_LIMIT && remains->to_hub.units < AMOUNT_LIMIT &&
                 remains->closed_time < INT64_MAX;
    return remains;
}

void remains_unlocked(struct engine *engine, struct hub_channel *channel, const struct contract_event *event)
{
    struct remains *remains = channel->dispute == NULL ? NULL : channel->dispute->remains;
    enum side stream = event->of_client ? SIDE_CLIENT : SIDE_HUB;
    if (remains == NULL)
        return;
    mark_done(remains, stream, place_of(event->lock_id));
    if (!amount_subtract(remains->held[stream], event->amount, &remains->held[stream]))
        remains->held[stream] = amount_of(0);
    if (event->of_client == event->to_receiver &&
        !amount_add(remains->to_hub, event->amount, &remains->to_hub))
        log_error("the ledger node reports more paid out of a channel than there can be");
    channel->dispute_dirty = true;
    engine_touch(engine, channel);
}

/* ---- unlocking ---- */

static bool is_open(const struct engine *engine, const struct hash *channel, enum side stream,
                    uint64_t lock_id)
{
    for (size_t i = 0; i < engine->unlock_count; i++)
        if (engine->unlocks[i].lock_id == lock_id && engine->unlocks[i].stream == stream &&
            hash_equal(&engine->unlocks[i].channel, channel))
            return true;
    return false;
}

static void unlock(struct engine *engine, struct dispute *dispute, enum side stream, struct lock_set *locks,
                   const struct lock *lock)
{
    const struct channel *machine = dispute->channel->channel;
    struct hash proof[LOCK_TREE_DEPTH];
    size_t length = 0;
    if (engine->unlock_count == UNLOCKS_OPEN_MAX || is_open(engine, &machine->id, stream, lock->id))
        return;
    ensure(lock_set_prove(locks, lock->id, proof, &length));
    struct contract_call call = {.function = CONTRACT_UNLOCK,
                                 .key = machine->key,
                                 .flag = stream == SIDE_CLIENT,
                                 .lock = *lock,
                                 .merkle = proof,
                                 .merkle_count = length};
    uint64_t number = ++engine->unlock_number;
    engine->unlocks[engine->unlock_count++] = (struct unlock_call){number, machine->id, stream, lock->id};
    engine_emit_call(engine, ENGINE_CALL_UNLOCK, number, &call);
}

void remains_call_done(struct engine *engine, uint64_t reference, enum ledger_error error,
                       const struct ledger_receipt *receipt)
{
    size_t at = 0;
    while (at < engine->unlock_count && engine->unlocks[at].number != reference)
        at++;
    if (at == engine->unlock_count)
        return;
    struct hub_channel *channel = engine_channel(engine, &engine->unlocks[at].channel);
    engine->unlocks[at] = engine->unlocks[--engine->unlock_count];
    struct remains *remains = channel == NULL || channel->dispute == NULL ? NULL : channel->dispute->remains;
    if (remains == NULL)
        return;
    bool is_paid = error == LEDGER_OK && (receipt == NULL || receipt->success);
    if (is_paid || (receipt != NULL && receipt->reverted == CONTRACT_ALREADY_UNLOCKED))
        return; /* its event comes, or it vanishes and is tried again */
    log_info("an unlock was refused, and is tried again: %s",
             receipt != NULL ? contract_error_name(receipt->reverted) : ledger_error_text(error));
    remains->retry_time = engine->head.confirmed_time + RETRY_S;
}

/* The locks of a stream as the ledger has them; NULL if they are not known. */
static struct lock_set *locks_held(struct dispute *dispute, enum side stream)
{
    struct channel *machine = dispute->channel->channel;
    struct remains *remains = dispute->remains;
    if (stream == SIDE_HUB) {
        if (!remains->is_looked_up)
            remains->own_locks = channel_own_locks_at(machine, &dispute->of_hub.locks_root);
        remains->is_looked_up = true;
        return remains->own_locks;
    }
    struct hash root = lock_set_root(machine->streams[SIDE_CLIENT].locks);
    return hash_equal(&root, &dispute->of_client.locks_root) ? machine->streams[SIDE_CLIENT].locks : NULL;
}

/* Does what can be done about one lock. Returns whether the hub has, or may come to have, something to do. */
static bool take_lock(struct engine *engine, struct dispute *dispute, enum side stream,
                      struct lock_set *locks, const struct pending_lock *pending)
{
    const struct lock *lock = &pending->lock;
    const struct remains *remains = dispute->remains;
    uint64_t now = engine->head.confirmed_time;
    const struct registration *met = engine_registration(engine, lock->kind, &lock->condition);
    bool in_time = met != NULL && met->time <= lock->expiry, expired = now > lock->expiry;
    if (is_done(remains, stream, place_of(lock->id)) ||
        amount_compare(lock->amount, engine->settings.unlock_min) < 0)
        return false;
    if (!in_time && !expired) {
        if (stream == SIDE_CLIENT)
            outcome_register_held(engine, dispute->channel, pending);
        return true;
    }
    bool to_client = in_time == (stream == SIDE_HUB);
    if (to_client && !in_time)
        return false; /* its own, expired: it has all that it takes, and is in no danger */
    if (now >= remains->closed_time + (to_client ? CLIENTS_GRACE_S : OWN_GRACE_S) &&
        now >= remains->retry_time)
        unlock(engine, dispute, stream, locks, lock);
    return true;
}

static bool take_stream(struct engine *engine, struct dispute *dispute, enum side stream)
{
    if (amount_is_zero(dispute->remains->held[stream]))
        return false;
    struct lock_set *locks = locks_held(dispute, stream);
    bool is_left = false;
    for (const struct pending_lock *at = lock_set_next(locks, 0); at != NULL;
         at = lock_set_next(locks, at->lock.id))
        is_left = take_lock(engine, dispute, stream, locks, at) || is_left;
    return is_left;
}

void remains_head(struct engine *engine, struct dispute *dispute)
{
    struct hub_channel *channel = dispute->channel;
    const struct remains *remains = dispute->remains;
    bool is_left = take_stream(engine, dispute, SIDE_CLIENT);
    is_left = take_stream(engine, dispute, SIDE_HUB) || is_left;
    if (is_left)
        return;
    char text[HASH_TEXT_SIZE];
    log_info("channel %s is over: its locks have paid %llu units to the hub",
             hash_text(&channel->channel->id, text), (unsigned long long)remains->to_hub.units);
    if (!amount_is_zero(remains->held[SIDE_HUB]) && remains->own_locks == NULL)
        log_warn("%llu units are still held for locks of channel %s that its client has shown again and that "
                 "are not "
                 "known any more",
                 (unsigned long long)remains->held[SIDE_HUB].units, text);
    if (!amount_is_zero(remains->held[SIDE_CLIENT]) && locks_held(dispute, SIDE_CLIENT) == NULL)
        log_warn(
            "%llu units are still held for locks of channel %s that its client put into an update which it "
            "closed with and which never came here: what is the hub's of them cannot be proven",
            (unsigned long long)remains->held[SIDE_CLIENT].units, text);
    dispute_over(engine, channel);
    channel_let_go(channel->channel);
}
