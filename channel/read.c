/* Channels read back from a journal: disk.c writes what this reads. A version that this code does not know is
 * refused, and so is anything that writing would not have given.
 *
 * The own stream is what its record says, or the newest kept update if that is newer: an update that is sent
 * writes itself only.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/disk.h"
#include "channel/machine.h"
#include "crypto/hash.h"

/* ---- values ---- */

static struct hash read_hash(struct reader *in)
{
    struct hash hash;
    reader_copy(in, hash.bytes, sizeof(hash.bytes));
    return hash;
}

static struct signature read_signature(struct reader *in)
{
    struct signature signature;
    reader_copy(in, signature.bytes, sizeof(signature.bytes));
    return signature;
}

static bool read_bool(struct reader *in)
{
    uint8_t value = reader_u8(in);
    in->ok = in->ok && value <= 1;
    return value == 1;
}

static struct amount read_amount(struct reader *in)
{
    uint64_t units = reader_u64(in);
    in->ok = in->ok && units < AMOUNT_LIMIT;
    return amount_of(units);
}

static void read_version(struct reader *in, uint8_t expected)
{
    uint8_t version = reader_u8(in);
    in->ok = in->ok && version == expected;
}

static struct amount read_small_amount(struct reader *in)
{
    uint64_t units = reader_varint(in);
    in->ok = in->ok && units < AMOUNT_LIMIT;
    return amount_of(units);
}

/* Of a record that names no root the proof's is zero, and the other way round. */
static struct balance_proof read_sums(struct reader *in, bool has_root)
{
    struct balance_proof proof = {.nonce = reader_varint(in)};
    proof.transferred = read_small_amount(in);
    proof.locked = read_small_amount(in);
    if (has_root)
        proof.locks_root = read_hash(in);
    in->ok = in->ok && proof.nonce > 0 && has_root != hash_is_zero(&proof.locks_root);
    return proof;
}

static struct channel_funds read_funds(struct reader *in)
{
    struct channel_funds funds;
    funds.total = read_amount(in);
    funds.base = (int64_t)reader_u64(in);
    funds.seq = reader_u32(in);
    funds.stage = reader_u8(in);
    in->ok = in->ok && funds.stage <= STAGE_CLOSED;
    return funds;
}

static struct settlement read_settlement(struct reader *in)
{
    struct settlement settlement;
    settlement.phase = reader_u8(in);
    settlement.close = read_bool(in);
    settlement.said_dead = read_bool(in);
    settlement.seq = reader_u32(in);
    settlement.client_out = read_amount(in);
    settlement.hub_out = read_amount(in);
    settlement.deadline = reader_u64(in);
    settlement.signature = read_signature(in);
    in->ok = in->ok && (settlement.phase == SETTLEMENT_PROPOSED || settlement.phase == SETTLEMENT_SIGNED);
    return settlement;
}

/* ---- the channel ---- */

/* Everything of a RECORD_CHANNEL, as a channel without streams, and its settlement. */
static void read_fields(struct reader *in, struct channel *out, struct settlement *settlement)
{
    read_version(in, CHANNEL_VERSION);
    uint8_t self = reader_u8(in), flags = reader_u8(in);
    in->ok = in->ok && self <= SIDE_HUB && (flags & ~FLAGS_KNOWN) == 0;
    out->self = self == SIDE_CLIENT ? SIDE_CLIENT : SIDE_HUB;
    out->stopped = (flags & FLAG_STOPPED) != 0;
    out->begun = flags >> FLAG_BEGUN_SHIFT;
    out->reserve_bps = reader_u16(in);
    reader_copy(in, out->key.client.bytes, sizeof(out->key.client.bytes));
    reader_copy(in, out->key.asset.bytes, sizeof(out->key.asset.bytes));
    out->key.salt = reader_u64(in);
    out->funds = read_funds(in);
    out->told = (flags & FLAG_TOLD_DIFFERS) ? read_funds(in) : out->funds;
    if (flags & FLAG_SETTLEMENT)
        *settlement = read_settlement(in);
    if (!reader_done(in))
        in->ok = false;
}

/* A client neither proposes nor hears of proposals before it signs; a hub's word to itself is the ledger's.
 */
static bool fits_its_side(const struct channel *channel, const struct settlement *settlement)
{
    if (channel->self == SIDE_HUB)
        return funds_equal(&channel->funds, &channel->told) && !settlement->said_dead;
    return settlement->phase != SETTLEMENT_PROPOSED;
}

static bool read_channel(struct channel **channel, const struct record *record)
{
    struct channel fields = {0};
    struct settlement settlement = {0};
    struct reader in = reader_of(record->value, record->value_length);
    read_fields(&in, &fields, &settlement);
    struct hash id = channel_id(&fields.key);
    if (!in.ok || memcmp(id.bytes, record->key, sizeof(id.bytes)) != 0 ||
        !fits_its_side(&fields, &settlement) || (*channel != NULL && (*channel)->self != fields.self))
        return false;
    if (*channel == NULL)
        *channel = channel_new(&fields.key, fields.self, fields.reserve_bps);
    (*channel)->recovering = true;
    (*channel)->stopped = fields.stopped;
    (*channel)->begun = fields.begun;
    (*channel)->reserve_bps = fields.reserve_bps;
    (*channel)->funds = fields.funds;
    (*channel)->told = fields.told;
    settlement_put(*channel, settlement.phase == SETTLEMENT_NONE ? NULL : &settlement);
    return true;
}

/* ---- a stream ---- */

static void read_drops(struct reader *in, struct stream *stream)
{
    uint64_t last = stream_dropped(stream)->revoked_nonce;
    for (uint64_t left = reader_varint(in); in->ok && left > 0; left--) {
        uint64_t nonce = reader_varint(in);
        struct amount amount = read_small_amount(in), sum;
        in->ok = in->ok && nonce > last && nonce <= stream->proof.nonce &&
                 amount_add(stream_dropped(stream)->frozen, amount, &sum);
        if (in->ok)
            stream_add_drop(stream, nonce, amount);
        last = nonce;
    }
}

static void read_stream_fields(struct reader *in, struct stream *stream, bool is_own, uint64_t *acknowledged)
{
    read_version(in, STREAM_VERSION);
    uint8_t flags = reader_u8(in);
    in->ok = in->ok && (flags & ~STREAM_FLAGS_KNOWN) == 0;
    if (flags & STREAM_PROOF) {
        stream->proof = read_sums(in, (flags & STREAM_ROOT) != 0);
        stream->proof.body_hash = read_hash(in);
        stream->signature = read_signature(in);
    }
    if (flags & STREAM_REVOCATION) {
        uint64_t nonce = reader_varint(in);
        struct signature revocation = read_signature(in);
        in->ok = in->ok && nonce > 0 && nonce <= stream->proof.nonce;
        stream_set_revoked(stream, nonce, &revocation);
    }
    in->ok = in->ok && ((flags & STREAM_PROOF) || !(flags & STREAM_ROOT));
    stream->last_lock_id = reader_varint(in);
    *acknowledged = is_own ? reader_varint(in) : 0;
    read_drops(in, stream);
    in->ok = in->ok && reader_done(in) && *acknowledged <= stream->proof.nonce;
}

/* Of the own stream, older than what is known: a journal is read on top of a newer one. Taking it would make stale kept
 * updates count again. */
static bool is_behind(const struct channel *channel, const struct stream *own, uint64_t acknowledged)
{
    uint64_t known = channel->streams[channel->self].proof.nonce;
    return own->proof.nonce < known || (own->proof.nonce == known && acknowledged < channel->acknowledged);
}

static bool read_stream(struct channel *channel, const struct record *record)
{
    uint8_t side = record->key[32];
    if (side > SIDE_HUB || record->gone)
        return false;
    struct stream fields = {0}, *stream = &channel->streams[side];
    struct reader in = reader_of(record->value, record->value_length);
    uint64_t acknowledged;
    read_stream_fields(&in, &fields, side == channel->self, &acknowledged);
    bool behind = in.ok && side == channel->self && is_behind(channel, &fields, acknowledged);
    if (!in.ok || behind) {
        stream_clear(&fields);
        return behind;
    }
    fields.locks = stream->locks;
    dropped_free(stream->dropped);
    *stream = fields;
    if (side == channel->self)
        channel->acknowledged = acknowledged;
    return true;
}

/* ---- locks ---- */

static void place_clear(struct stream *stream, unsigned place)
{
    const struct pending_lock *old = stream->locks == NULL ? NULL : lock_set_at(stream->locks, place);
    if (old != NULL)
        ensure(lock_set_remove(stream->locks, old->lock.id));
    if (lock_set_count(stream->locks) == 0) {
        lock_set_free(stream->locks);
        stream->locks = NULL;
    }
}

static bool read_lock(struct channel *channel, const struct record *record)
{
    unsigned side = record->key[32], place = load_be16(record->key + 33);
    if (side > SIDE_HUB || place >= LOCKS_PER_STREAM_MAX)
        return false;
    struct stream *stream = &channel->streams[side];
    if (record->gone) {
        place_clear(stream, place);
        return true;
    }
    struct reader in = reader_of(record->value, record->value_length);
    struct pending_lock pending = {0};
    read_version(&in, LOCK_VERSION);
    uint8_t flags = reader_u8(&in);
    pending.failed = (flags & LOCK_FAILED) != 0;
    pending.lock.id = reader_varint(&in);
    pending.lock.amount = read_small_amount(&in);
    pending.lock.expiry = reader_varint(&in);
    pending.lock.kind = reader_u8(&in);
    pending.lock.condition = read_hash(&in);
    reader_copy(&in, pending.payment.bytes, sizeof(pending.payment.bytes));
    if (flags & LOCK_PEER)
        reader_copy(&in, pending.peer.bytes, sizeof(pending.peer.bytes));
    pending.fee = read_small_amount(&in);
    if (!reader_done(&in) || (flags & ~LOCK_FLAGS_KNOWN) != 0 ||
        ((flags & LOCK_PEER) != 0) == address_is_zero(&pending.peer) ||
        pending.lock.kind > LOCK_ATTESTATION || pending.lock.id == 0 ||
        pending.lock.id % LOCKS_PER_STREAM_MAX != place)
        return false;
    place_clear(stream, place);
    if (stream->locks == NULL)
        stream->locks = lock_set_new();
    return lock_set_add(stream->locks, &pending);
}

/* ---- kept updates ---- */

static void read_removed(struct reader *in, struct kept_update *out)
{
    uint64_t count = reader_varint(in);
    in->ok = in->ok && count > 0 && count <= OPERATIONS_MAX;
    if (!in->ok)
        return;
    out->removed = xcalloc(count, sizeof(*out->removed));
    out->removed_count = count;
    for (size_t i = 0; i < count; i++) {
        struct lock *lock = &out->removed[i];
        lock->id = reader_varint(in);
        lock->amount = read_small_amount(in);
        lock->expiry = reader_varint(in);
        lock->kind = reader_u8(in);
        lock->condition = read_hash(in);
        in->ok = in->ok && lock->id > 0 && lock->kind <= LOCK_ATTESTATION;
    }
}

static bool read_kept_fields(struct reader *in, struct kept_update *out, uint64_t *acknowledged)
{
    read_version(in, KEPT_VERSION);
    uint8_t flags = reader_u8(in);
    in->ok = in->ok && (flags & ~KEPT_FLAGS_KNOWN) == 0;
    out->proof = read_sums(in, (flags & KEPT_ROOT) != 0);
    *acknowledged = reader_varint(in);
    out->last_lock_id = reader_varint(in);
    out->signature = read_signature(in);
    if (flags & KEPT_REMOVED)
        read_removed(in, out);
    out->body_length = in->left;
    return in->ok && in->left > 0 && in->left <= BODY_BYTES_MAX && *acknowledged < out->proof.nonce &&
           out->proof.nonce - *acknowledged <= UNACKNOWLEDGED_MAX;
}

/* Sealing it has changed the stream. */
static void take_sealed(struct channel *channel, const struct kept_update *kept, uint64_t acknowledged)
{
    struct stream *own = channel_own(channel);
    own->proof = kept->proof;
    own->signature = kept->signature;
    own->last_lock_id = kept->last_lock_id;
    if (channel->acknowledged < acknowledged)
        channel->acknowledged = acknowledged;
}

static bool read_kept(struct channel *channel, const struct record *record)
{
    struct kept_update kept = {0};
    struct reader in = reader_of(record->value, record->value_length);
    uint64_t acknowledged;
    if (record->gone || !read_kept_fields(&in, &kept, &acknowledged) ||
        record->key[32] >= UNACKNOWLEDGED_MAX) {
        free(kept.removed);
        return false;
    }
    kept.slot = record->key[32];
    if (kept.proof.nonce > channel_own(channel)->proof.nonce)
        take_sealed(channel, &kept, acknowledged);
    bool stale = kept.proof.nonce <= channel->acknowledged;
    bool put = !stale && kept_put_back(channel, &kept, in.at);
    if (!put)
        free(kept.removed);
    return stale || put;
}

/* ---- any record ---- */

bool channel_record_id(const struct record *record, struct hash *id)
{
    static const uint8_t key_lengths[] = {[RECORD_CHANNEL] = 32,
                                          [RECORD_LOCK] = LOCK_KEY_LENGTH,
                                          [RECORD_STREAM] = STREAM_KEY_LENGTH,
                                          [RECORD_KEPT] = KEPT_KEY_LENGTH};
    if (record->type >= ARRAY_LENGTH(key_lengths) || key_lengths[record->type] == 0 ||
        record->key_length != key_lengths[record->type])
        return false;
    memcpy(id->bytes, record->key, sizeof(id->bytes));
    return true;
}

bool channel_read(struct channel **channel, const struct record *record)
{
    struct hash id;
    if (!channel_record_id(record, &id))
        return false;
    if (*channel != NULL && (!(*channel)->recovering || !hash_equal(&id, &(*channel)->id)))
        return false;
    if (record->type == RECORD_CHANNEL)
        return !record->gone && read_channel(channel, record);
    if (*channel == NULL)
        return false;
    return record->type == RECORD_LOCK     ? read_lock(*channel, record)
           : record->type == RECORD_STREAM ? read_stream(*channel, record)
                                           : read_kept(*channel, record);
}

/* ---- the whole ---- */

/* Of a closed channel the locks may have been let go (channel_let_go): then their sum is what its proof says. */
static bool stream_recovered(const struct channel *channel, struct stream *stream)
{
    if (channel->funds.stage == STAGE_CLOSED && stream->locks == NULL) {
        stream->locked = stream->proof.locked;
        return true;
    }
    stream->locked = amount_of(0);
    const struct pending_lock *at = NULL;
    while ((at = lock_set_next(stream->locks, at == NULL ? 0 : at->lock.id)) != NULL)
        if (at->lock.id > stream->last_lock_id ||
            !amount_add(stream->locked, at->lock.amount, &stream->locked))
            return false;
    struct hash root = lock_set_root(stream->locks);
    return stream->locked.units == stream->proof.locked.units && hash_equal(&root, &stream->proof.locks_root);
}

static bool same_proof(const struct balance_proof *a, const struct balance_proof *b)
{
    return a->nonce == b->nonce && a->transferred.units == b->transferred.units &&
           a->locked.units == b->locked.units && hash_equal(&a->locks_root, &b->locks_root) &&
           hash_equal(&a->body_hash, &b->body_hash);
}

/* The own proof, if a kept update said it, has no body's hash yet: kept_hash. */
static bool take_body_hash(struct channel *channel)
{
    struct balance_proof *proof = &channel_own(channel)->proof;
    if (proof->nonce == 0 || !hash_is_zero(&proof->body_hash))
        return true;
    const struct kept_update *kept = channel_kept(channel, proof->nonce);
    if (kept != NULL)
        proof->body_hash = kept->proof.body_hash;
    return kept != NULL;
}

static bool kept_recovered(const struct channel *channel)
{
    const struct stream *own = &channel->streams[channel->self];
    uint64_t newest = own->proof.nonce;
    if (newest - channel->acknowledged > UNACKNOWLEDGED_MAX)
        return false;
    for (uint64_t nonce = channel->acknowledged; nonce < newest;) {
        const struct kept_update *kept = channel_kept(channel, ++nonce);
        if (kept == NULL || kept->proof.nonce != nonce)
            return false;
        if (nonce == newest &&
            !(same_proof(&kept->proof, &own->proof) && signature_equal(&kept->signature, &own->signature)))
            return false;
    }
    return true;
}

bool channel_recovered(struct channel *channel)
{
    if (!channel->recovering)
        return false;
    for (unsigned side = 0; side < 2; side++)
        if ((channel->streams[side].proof.nonce > 0) != ((channel->begun >> side & 1) != 0))
            return false;
    if (!kept_trim(channel))
        return false;
    kept_hash(channel);
    if (!stream_recovered(channel, &channel->streams[SIDE_CLIENT]) ||
        !stream_recovered(channel, &channel->streams[SIDE_HUB]) || !take_body_hash(channel) ||
        !kept_recovered(channel))
        return false;
    channel->recovering = false;
    channel->dirty = false;
    channel->stream_dirty[SIDE_CLIENT] = channel->stream_dirty[SIDE_HUB] = false;
    channel->written_nonce = channel_own(channel)->proof.nonce;
    channel_check(channel);
    return true;
}
