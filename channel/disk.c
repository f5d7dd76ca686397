/* A channel as records of a journal: what changed since the last time, and reading it back. Formats: docs/journal.md. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/internal.h"

#define CHANNEL_RECORD_VERSION 1

/* ---- writing ---- */

static void write_proof(struct buffer *out, const struct balance_proof *proof, const struct signature *signature)
{
    buffer_u64(out, proof->nonce);
    buffer_u64(out, proof->transferred.units);
    buffer_u64(out, proof->locked.units);
    buffer_append(out, proof->locks_root.bytes, sizeof(proof->locks_root.bytes));
    buffer_append(out, proof->body_hash.bytes, sizeof(proof->body_hash.bytes));
    buffer_append(out, signature->bytes, sizeof(signature->bytes));
}

static void write_funds(struct buffer *out, const struct channel_funds *funds)
{
    buffer_u64(out, funds->total.units);
    buffer_u64(out, (uint64_t)funds->base);
    buffer_u32(out, funds->seq);
    buffer_u8(out, funds->stage);
}

static void write_stream(struct buffer *out, const struct stream *stream)
{
    buffer_u8(out, stream->proof.nonce > 0);
    if (stream->proof.nonce > 0)
        write_proof(out, &stream->proof, &stream->signature);
    buffer_u64(out, stream->last_lock_id);
    buffer_u64(out, stream->revoked_nonce);
    if (stream->revoked_nonce > 0)
        buffer_append(out, stream->revocation.bytes, sizeof(stream->revocation.bytes));
    buffer_u16(out, (uint16_t)stream->drop_count);
    for (size_t i = 0; i < stream->drop_count; i++) {
        buffer_u64(out, stream->drops[i].nonce);
        buffer_u64(out, stream->drops[i].amount.units);
    }
}

static void write_main(struct channel *channel, struct buffer *batch)
{
    size_t mark = record_begin(batch, RECORD_CHANNEL, channel->id.bytes, sizeof(channel->id.bytes));
    buffer_u8(batch, CHANNEL_RECORD_VERSION);
    buffer_append(batch, channel->key.client.bytes, sizeof(channel->key.client.bytes));
    buffer_append(batch, channel->key.asset.bytes, sizeof(channel->key.asset.bytes));
    buffer_u64(batch, channel->key.salt);
    buffer_u8(batch, (uint8_t)channel->self);
    buffer_u16(batch, channel->reserve_bps);
    write_funds(batch, &channel->funds);
    write_funds(batch, &channel->told);
    buffer_u8(batch, channel->stopped);
    buffer_u64(batch, channel->acknowledged);
    write_stream(batch, &channel->streams[SIDE_CLIENT]);
    write_stream(batch, &channel->streams[SIDE_HUB]);
    const struct settlement *settlement = &channel->settlement;
    buffer_u8(batch, settlement->phase);
    if (settlement->phase != SETTLEMENT_NONE) {
        buffer_u8(batch, settlement->close);
        buffer_u32(batch, settlement->seq);
        buffer_u64(batch, settlement->client_out.units);
        buffer_u64(batch, settlement->hub_out.units);
        buffer_u64(batch, settlement->deadline);
        buffer_append(batch, settlement->signature.bytes, sizeof(settlement->signature.bytes));
        buffer_u8(batch, settlement->said_dead);
    }
    record_end(batch, mark);
}

static void write_place(struct channel *channel, uint16_t side_place, struct buffer *batch)
{
    uint8_t key[32 + 1 + 2];
    enum side side = (enum side)(side_place >> 10);
    unsigned place = side_place & (LOCKS_PER_STREAM_MAX - 1);
    memcpy(key, channel->id.bytes, 32);
    key[32] = (uint8_t)side;
    store_be16(key + 33, (uint16_t)place);
    const struct pending_lock *pending = lock_set_at(channel->streams[side].locks, place);
    if (pending == NULL) {
        record_gone(batch, RECORD_LOCK, key, sizeof(key));
        return;
    }
    size_t mark = record_begin(batch, RECORD_LOCK, key, sizeof(key));
    buffer_u8(batch, CHANNEL_RECORD_VERSION);
    buffer_u64(batch, pending->lock.id);
    buffer_u64(batch, pending->lock.amount.units);
    buffer_u64(batch, pending->lock.expiry);
    buffer_u8(batch, pending->lock.kind);
    buffer_append(batch, pending->lock.condition.bytes, sizeof(pending->lock.condition.bytes));
    buffer_append(batch, pending->payment.bytes, sizeof(pending->payment.bytes));
    buffer_append(batch, pending->peer.bytes, sizeof(pending->peer.bytes));
    buffer_u64(batch, pending->fee.units);
    buffer_u8(batch, pending->failed);
    record_end(batch, mark);
}

static void write_kept(struct channel *channel, uint64_t nonce, struct buffer *batch)
{
    const struct kept_update *kept = channel_kept(channel, nonce);
    if (kept == NULL)
        return; /* acknowledged in the turn that made it: cannot be resent any more */
    uint8_t key[32 + 1];
    memcpy(key, channel->id.bytes, 32);
    key[32] = (uint8_t)(nonce % UNACKNOWLEDGED_MAX);
    size_t mark = record_begin(batch, RECORD_KEPT, key, sizeof(key));
    buffer_u8(batch, CHANNEL_RECORD_VERSION);
    write_proof(batch, &kept->proof, &kept->signature);
    buffer_append(batch, kept->body, kept->body_length);
    record_end(batch, mark);
}

void channel_write(struct channel *channel, struct buffer *batch)
{
    if (!channel->dirty)
        return;
    ensure(channel->draft == NULL);
    write_main(channel, batch);
    for (size_t i = 0; i < channel->dirty_place_count; i++)
        write_place(channel, channel->dirty_places[i], batch);
    channel->dirty_place_count = 0;
    uint64_t newest = channel_own(channel)->proof.nonce;
    if (channel->written_nonce < channel->acknowledged)
        channel->written_nonce = channel->acknowledged;
    while (channel->written_nonce < newest)
        write_kept(channel, ++channel->written_nonce, batch);
    channel->dirty = false;
}

void channel_write_all(struct channel *channel)
{
    for (int side = 0; side < 2; side++)
        for (unsigned place = 0; place < LOCKS_PER_STREAM_MAX; place++) {
            const struct pending_lock *pending = lock_set_at(channel->streams[side].locks, place);
            if (pending != NULL)
                mark_place(channel, (enum side)side, pending->lock.id);
        }
    channel->written_nonce = channel->acknowledged;
    channel->dirty = true;
}

/* ---- reading ---- */

bool channel_record_id(const struct record *record, struct hash *id)
{
    size_t expected = record->type == RECORD_CHANNEL ? 32
                      : record->type == RECORD_LOCK  ? 35
                      : record->type == RECORD_KEPT  ? 33
                                                     : 0;
    if (expected == 0 || record->key_length != expected)
        return false;
    memcpy(id->bytes, record->key, sizeof(id->bytes));
    return true;
}

static void read_proof(struct reader *in, struct balance_proof *proof, struct signature *signature)
{
    proof->nonce = reader_u64(in);
    proof->transferred.units = reader_u64(in);
    proof->locked.units = reader_u64(in);
    reader_copy(in, proof->locks_root.bytes, sizeof(proof->locks_root.bytes));
    reader_copy(in, proof->body_hash.bytes, sizeof(proof->body_hash.bytes));
    reader_copy(in, signature->bytes, sizeof(signature->bytes));
}

static void read_funds(struct reader *in, struct channel_funds *funds)
{
    funds->total.units = reader_u64(in);
    funds->base = (int64_t)reader_u64(in);
    funds->seq = reader_u32(in);
    funds->stage = reader_u8(in);
    if (funds->total.units >= AMOUNT_LIMIT || funds->stage > STAGE_CLOSED)
        in->ok = false;
}

static void read_stream(struct reader *in, struct stream *stream)
{
    memset(&stream->proof, 0, sizeof(stream->proof));
    if (reader_u8(in) != 0)
        read_proof(in, &stream->proof, &stream->signature);
    stream->last_lock_id = reader_u64(in);
    stream->revoked_nonce = reader_u64(in);
    if (stream->revoked_nonce > 0)
        reader_copy(in, stream->revocation.bytes, sizeof(stream->revocation.bytes));
    uint16_t drops = reader_u16(in);
    stream->drop_count = 0;
    stream->frozen = amount_of(0);
    uint64_t before = 0;
    for (uint16_t i = 0; i < drops && in->ok; i++) {
        uint64_t nonce = reader_u64(in);
        struct amount amount = {reader_u64(in)}, sum;
        if (nonce <= before || nonce > stream->proof.nonce || !amount_add(stream->frozen, amount, &sum))
            in->ok = false;
        else
            stream_add_drop(stream, nonce, amount);
        before = nonce;
    }
}

static void read_settlement(struct reader *in, struct settlement *settlement)
{
    memset(settlement, 0, sizeof(*settlement));
    settlement->phase = reader_u8(in);
    if (settlement->phase > SETTLEMENT_SIGNED)
        in->ok = false;
    if (settlement->phase == SETTLEMENT_NONE)
        return;
    settlement->close = reader_u8(in) != 0;
    settlement->seq = reader_u32(in);
    settlement->client_out.units = reader_u64(in);
    settlement->hub_out.units = reader_u64(in);
    settlement->deadline = reader_u64(in);
    reader_copy(in, settlement->signature.bytes, sizeof(settlement->signature.bytes));
    settlement->said_dead = reader_u8(in) != 0;
}

static bool read_main(struct channel **channel, const struct record *record)
{
    struct reader in = reader_of(record->value, record->value_length);
    struct channel_key key;
    if (record->gone || reader_u8(&in) != CHANNEL_RECORD_VERSION)
        return false;
    reader_copy(&in, key.client.bytes, sizeof(key.client.bytes));
    reader_copy(&in, key.asset.bytes, sizeof(key.asset.bytes));
    key.salt = reader_u64(&in);
    uint8_t self = reader_u8(&in);
    uint16_t reserve_bps = reader_u16(&in);
    struct hash id = channel_id(&key);
    if (!in.ok || self > SIDE_HUB || reserve_bps > 10000 || memcmp(id.bytes, record->key, sizeof(id.bytes)) != 0)
        return false;
    struct channel *read = *channel == NULL ? channel_new(&key, (enum side)self, reserve_bps) : *channel;
    read->reserve_bps = reserve_bps;
    read_funds(&in, &read->funds);
    read_funds(&in, &read->told);
    read->stopped = reader_u8(&in) != 0;
    read->acknowledged = reader_u64(&in);
    read_stream(&in, &read->streams[SIDE_CLIENT]);
    read_stream(&in, &read->streams[SIDE_HUB]);
    read_settlement(&in, &read->settlement);
    bool good = reader_done(&in) && (enum side)self == read->self;
    if (!good && *channel == NULL)
        channel_free(read);
    else
        *channel = read;
    return good;
}

static bool read_lock(struct channel *channel, const struct record *record)
{
    unsigned side = record->key[32], place = load_be16(record->key + 33);
    if (side > SIDE_HUB || place >= LOCKS_PER_STREAM_MAX)
        return false;
    struct stream *stream = &channel->streams[side];
    const struct pending_lock *old = lock_set_at(stream->locks, place);
    if (old != NULL && !lock_set_remove(stream->locks, old->lock.id))
        return false;
    if (record->gone)
        return true;
    struct reader in = reader_of(record->value, record->value_length);
    struct pending_lock pending = {0};
    if (reader_u8(&in) != CHANNEL_RECORD_VERSION)
        return false;
    pending.lock.id = reader_u64(&in);
    pending.lock.amount.units = reader_u64(&in);
    pending.lock.expiry = reader_u64(&in);
    pending.lock.kind = reader_u8(&in);
    reader_copy(&in, pending.lock.condition.bytes, sizeof(pending.lock.condition.bytes));
    reader_copy(&in, pending.payment.bytes, sizeof(pending.payment.bytes));
    reader_copy(&in, pending.peer.bytes, sizeof(pending.peer.bytes));
    pending.fee.units = reader_u64(&in);
    pending.failed = reader_u8(&in) != 0;
    return reader_done(&in) && pending.lock.id % LOCKS_PER_STREAM_MAX == place &&
           pending.lock.kind <= LOCK_ATTESTATION && lock_set_add(stream_locks(stream), &pending);
}

static bool read_kept(struct channel *channel, const struct record *record)
{
    struct reader in = reader_of(record->value, record->value_length);
    struct kept_update kept = {0};
    if (record->gone || reader_u8(&in) != CHANNEL_RECORD_VERSION)
        return false;
    read_proof(&in, &kept.proof, &kept.signature);
    if (!in.ok || in.left == 0 || in.left > BODY_BYTES_MAX ||
        kept.proof.nonce % UNACKNOWLEDGED_MAX != record->key[32])
        return false;
    kept.body_length = in.left;
    kept.body = xmalloc(in.left);
    memcpy(kept.body, in.at, in.left);
    if (channel->kept == NULL)
        channel->kept = xcalloc(UNACKNOWLEDGED_MAX, sizeof(*channel->kept));
    kept_clear(&channel->kept[record->key[32]]);
    channel->kept[record->key[32]] = kept;
    return true;
}

bool channel_read(struct channel **channel, const struct record *record)
{
    struct hash id;
    if (!channel_record_id(record, &id))
        return false;
    if (record->type == RECORD_CHANNEL)
        return read_main(channel, record);
    if (*channel == NULL)
        return false;
    return record->type == RECORD_LOCK ? read_lock(*channel, record) : read_kept(*channel, record);
}

static bool locks_add_up(struct stream *stream)
{
    struct amount sum = {0};
    for (unsigned place = 0; place < LOCKS_PER_STREAM_MAX; place++) {
        const struct pending_lock *pending = lock_set_at(stream->locks, place);
        if (pending != NULL && !amount_add(sum, pending->lock.amount, &sum))
            return false;
    }
    stream->locked = sum;
    struct hash root = lock_set_root(stream->locks);
    return amount_compare(sum, stream->proof.locked) == 0 && hash_equal(&root, &stream->proof.locks_root);
}

bool channel_recovered(struct channel *channel)
{
    const struct stream *own = channel_own(channel);
    if (!locks_add_up(&channel->streams[SIDE_CLIENT]) || !locks_add_up(&channel->streams[SIDE_HUB]) ||
        channel->acknowledged > own->proof.nonce ||
        own->proof.nonce - channel->acknowledged > UNACKNOWLEDGED_MAX)
        return false;
    if (channel->kept == NULL && own->proof.nonce != channel->acknowledged)
        return false;
    for (size_t slot = 0; channel->kept != NULL && slot < UNACKNOWLEDGED_MAX; slot++) {
        struct kept_update *kept = &channel->kept[slot];
        if (kept->proof.nonce <= channel->acknowledged || kept->proof.nonce > own->proof.nonce)
            kept_clear(kept); /* acknowledged meanwhile */
    }
    for (uint64_t nonce = channel->acknowledged + 1; nonce <= own->proof.nonce; nonce++) {
        const struct kept_update *kept = channel_kept(channel, nonce);
        if (kept == NULL || kept->proof.nonce != nonce)
            return false;
    }
    if (own->proof.nonce == channel->acknowledged) {
        free(channel->kept);
        channel->kept = NULL;
    }
    channel->written_nonce = own->proof.nonce;
    channel->dirty = false;
    channel->dirty_place_count = 0;
    channel_assert(channel);
    return true;
}
