/* Channels as records of a journal: what has changed, and writing it. read.c has the way back, docs/journal.md the
 * layout byte by byte. Every value begins with a version byte. The draft is never written.
 *
 * What changes with each update is apart from what seldom does, so that an update costs one short record: its
 * sender writes the kept update, its receiver the stream.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/disk.h"
#include "channel/machine.h"

#define PLACE_SIDE_SHIFT 10
#define PLACES_MAX       (2 * LOCKS_PER_STREAM_MAX)

/* ---- what has changed ---- */

static int compare_places(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void sort_places(struct channel *channel)
{
    uint32_t kept = 0, count = channel->dirty_place_count;
    if (count == 0)
        return;
    qsort(channel->dirty_places, count, sizeof(*channel->dirty_places), compare_places);
    for (uint32_t i = 1; i < count; i++)
        if (channel->dirty_places[i] != channel->dirty_places[kept])
            channel->dirty_places[++kept] = channel->dirty_places[i];
    channel->dirty_place_count = kept + 1;
}

void mark_begun(struct channel *channel, enum side side)
{
    uint8_t mark = (uint8_t)(1u << side);
    channel->dirty = channel->dirty || !(channel->begun & mark);
    channel->begun |= mark;
}

void mark_place(struct channel *channel, enum side side, uint64_t lock_id)
{
    if (channel->dirty_place_count >= 2 * PLACES_MAX)
        sort_places(channel); /* there are no more than PLACES_MAX different ones */
    if (channel->dirty_place_count == channel->dirty_place_capacity) {
        uint32_t capacity = channel->dirty_place_capacity == 0 ? 8 : 2 * channel->dirty_place_capacity;
        channel->dirty_places = xrealloc(channel->dirty_places, capacity * sizeof(*channel->dirty_places));
        channel->dirty_place_capacity = capacity;
    }
    channel->dirty_places[channel->dirty_place_count++] =
        (uint16_t)((unsigned)side << PLACE_SIDE_SHIFT | lock_id % LOCKS_PER_STREAM_MAX);
}

const struct pending_lock *channel_changed_lock(const struct channel *channel, size_t index)
{
    unsigned place = channel->dirty_places[index];
    const struct lock_set *locks = channel->streams[place >> PLACE_SIDE_SHIFT].locks;
    return locks == NULL ? NULL : lock_set_at(locks, place % LOCKS_PER_STREAM_MAX);
}

/* As signed: the draft's new locks do not count. */
static uint64_t signed_last_lock_id(const struct channel *channel, enum side side)
{
    return side == channel->self && channel->draft != NULL ? channel->draft->signed_last_lock_id
                                                           : channel->streams[side].last_lock_id;
}

static bool stream_is_blank(const struct channel *channel, enum side side)
{
    return channel->streams[side].proof.nonce == 0 && signed_last_lock_id(channel, side) == 0;
}

void channel_write_all(struct channel *channel)
{
    for (unsigned place = 0; place < PLACES_MAX; place++) {
        enum side side = (enum side)(place >> PLACE_SIDE_SHIFT);
        bool empty = channel->streams[side].locks == NULL && channel->draft == NULL;
        if (!empty && signed_lock_at(channel, side, place % LOCKS_PER_STREAM_MAX) != NULL)
            mark_place(channel, side, place);
    }
    for (unsigned side = 0; side < 2; side++)
        channel->stream_dirty[side] = !stream_is_blank(channel, (enum side)side);
    channel->written_nonce = channel->acknowledged;
    channel->dirty = true;
}

/* ---- writing ---- */

static void write_hash(struct buffer *out, const struct hash *hash)
{
    buffer_append(out, hash->bytes, sizeof(hash->bytes));
}

static void write_signature(struct buffer *out, const struct signature *signature)
{
    buffer_append(out, signature->bytes, sizeof(signature->bytes));
}

/* Without the root: what a stream without locks has is zero. */
static void write_sums(struct buffer *out, const struct balance_proof *proof)
{
    buffer_varint(out, proof->nonce);
    buffer_varint(out, proof->transferred.units);
    buffer_varint(out, proof->locked.units);
    if (!hash_is_zero(&proof->locks_root))
        write_hash(out, &proof->locks_root);
}

static void write_funds(struct buffer *out, const struct channel_funds *funds)
{
    buffer_u64(out, funds->total.units);
    buffer_u64(out, (uint64_t)funds->base);
    buffer_u32(out, funds->seq);
    buffer_u8(out, funds->stage);
}

static void write_settlement(struct buffer *out, const struct settlement *settlement)
{
    buffer_u8(out, settlement->phase);
    buffer_u8(out, settlement->close);
    buffer_u8(out, settlement->said_dead);
    buffer_u32(out, settlement->seq);
    buffer_u64(out, settlement->client_out.units);
    buffer_u64(out, settlement->hub_out.units);
    buffer_u64(out, settlement->deadline);
    write_signature(out, &settlement->signature);
}

static void write_channel(const struct channel *channel, struct buffer *batch)
{
    size_t mark = record_begin(batch, RECORD_CHANNEL, channel->id.bytes, sizeof(channel->id.bytes));
    bool told = !funds_equal(&channel->funds, &channel->told);
    bool settlement = channel->settlement != NULL;
    buffer_u8(batch, CHANNEL_VERSION);
    buffer_u8(batch, (uint8_t)channel->self);
    buffer_u8(batch, (uint8_t)((channel->stopped ? FLAG_STOPPED : 0) | (told ? FLAG_TOLD_DIFFERS : 0) |
                               (settlement ? FLAG_SETTLEMENT : 0) | channel->begun << FLAG_BEGUN_SHIFT));
    buffer_u16(batch, channel->reserve_bps);
    buffer_append(batch, channel->key.client.bytes, sizeof(channel->key.client.bytes));
    buffer_append(batch, channel->key.asset.bytes, sizeof(channel->key.asset.bytes));
    buffer_u64(batch, channel->key.salt);
    write_funds(batch, &channel->funds);
    if (told)
        write_funds(batch, &channel->told);
    if (settlement)
        write_settlement(batch, channel->settlement);
    record_end(batch, mark);
}

static void write_drops(const struct dropped *dropped, struct buffer *batch)
{
    buffer_varint(batch, dropped->drop_count);
    for (size_t i = 0; i < dropped->drop_count; i++) {
        buffer_varint(batch, dropped->drops[i].nonce);
        buffer_varint(batch, dropped->drops[i].amount.units);
    }
}

static void write_stream(const struct channel *channel, enum side side, struct buffer *batch)
{
    const struct stream *stream = &channel->streams[side];
    const struct dropped *dropped = stream_dropped(stream);
    uint8_t key[STREAM_KEY_LENGTH], flags = 0;
    memcpy(key, channel->id.bytes, 32);
    key[32] = (uint8_t)side;
    flags |= stream->proof.nonce > 0 ? STREAM_PROOF : 0;
    flags |= dropped->revoked_nonce > 0 ? STREAM_REVOCATION : 0;
    flags |= hash_is_zero(&stream->proof.locks_root) ? 0 : STREAM_ROOT;
    size_t mark = record_begin(batch, RECORD_STREAM, key, sizeof(key));
    buffer_u8(batch, STREAM_VERSION);
    buffer_u8(batch, flags);
    if (stream->proof.nonce > 0) {
        write_sums(batch, &stream->proof);
        write_hash(batch, &stream->proof.body_hash);
        write_signature(batch, &stream->signature);
    }
    if (dropped->revoked_nonce > 0) {
        buffer_varint(batch, dropped->revoked_nonce);
        write_signature(batch, &dropped->revocation);
    }
    buffer_varint(batch, signed_last_lock_id(channel, side));
    if (side == channel->self)
        buffer_varint(batch, channel->acknowledged);
    write_drops(dropped, batch);
    record_end(batch, mark);
}

static void write_place(const struct channel *channel, uint16_t side_and_place, struct buffer *batch)
{
    enum side side = (enum side)(side_and_place >> PLACE_SIDE_SHIFT);
    unsigned place = side_and_place % LOCKS_PER_STREAM_MAX;
    uint8_t key[LOCK_KEY_LENGTH];
    memcpy(key, channel->id.bytes, 32);
    key[32] = (uint8_t)side;
    store_be16(key + 33, (uint16_t)place);
    const struct pending_lock *pending = signed_lock_at(channel, side, place);
    if (pending == NULL) {
        record_gone(batch, RECORD_LOCK, key, sizeof(key));
        return;
    }
    size_t mark = record_begin(batch, RECORD_LOCK, key, sizeof(key));
    bool names_peer = !address_is_zero(&pending->peer);
    buffer_u8(batch, LOCK_VERSION);
    buffer_u8(batch, (uint8_t)((pending->failed ? LOCK_FAILED : 0) | (names_peer ? LOCK_PEER : 0)));
    buffer_varint(batch, pending->lock.id);
    buffer_varint(batch, pending->lock.amount.units);
    buffer_varint(batch, pending->lock.expiry);
    buffer_u8(batch, pending->lock.kind);
    write_hash(batch, &pending->lock.condition);
    buffer_append(batch, pending->payment.bytes, sizeof(pending->payment.bytes));
    if (names_peer)
        buffer_append(batch, pending->peer.bytes, sizeof(pending->peer.bytes));
    buffer_varint(batch, pending->fee.units);
    record_end(batch, mark);
}

static void write_removed(const struct kept_update *kept, struct buffer *batch)
{
    buffer_varint(batch, kept->removed_count);
    for (size_t i = 0; i < kept->removed_count; i++) {
        const struct lock *lock = &kept->removed[i];
        buffer_varint(batch, lock->id);
        buffer_varint(batch, lock->amount.units);
        buffer_varint(batch, lock->expiry);
        buffer_u8(batch, lock->kind);
        write_hash(batch, &lock->condition);
    }
}

/* All that the update changed in the own stream but for the drops. */
static void write_kept(const struct channel *channel, const struct kept_update *kept, struct buffer *batch)
{
    uint8_t key[KEPT_KEY_LENGTH];
    memcpy(key, channel->id.bytes, 32);
    key[32] = kept->slot;
    size_t mark = record_begin(batch, RECORD_KEPT, key, sizeof(key));
    buffer_u8(batch, KEPT_VERSION);
    buffer_u8(batch, (uint8_t)((hash_is_zero(&kept->proof.locks_root) ? 0 : KEPT_ROOT) |
                               (kept->removed_count > 0 ? KEPT_REMOVED : 0)));
    write_sums(batch, &kept->proof);
    buffer_varint(batch, channel->acknowledged);
    buffer_varint(batch, kept->last_lock_id);
    write_signature(batch, &kept->signature);
    if (kept->removed_count > 0)
        write_removed(kept, batch);
    buffer_append(batch, kept->body, kept->body_length);
    record_end(batch, mark);
}

static uint64_t written_before(const struct channel *channel)
{
    return channel->written_nonce > channel->acknowledged ? channel->written_nonce : channel->acknowledged;
}

void channel_write(struct channel *channel, struct buffer *batch)
{
    ensure(!channel->recovering);
    channel_check(channel);
    if (channel->dirty)
        write_channel(channel, batch);
    for (unsigned side = 0; side < 2; side++)
        if (channel->stream_dirty[side])
            write_stream(channel, (enum side)side, batch);
    channel->dirty = channel->stream_dirty[0] = channel->stream_dirty[1] = false;

    sort_places(channel);
    for (size_t i = 0; i < channel->dirty_place_count; i++)
        write_place(channel, channel->dirty_places[i], batch);
    free(channel->dirty_places);
    channel->dirty_places = NULL;
    channel->dirty_place_count = channel->dirty_place_capacity = 0;

    uint64_t newest = channel_own(channel)->proof.nonce;
    for (uint64_t nonce = written_before(channel); nonce < newest;)
        write_kept(channel, channel_kept(channel, ++nonce), batch);
    channel->written_nonce = newest;
}
