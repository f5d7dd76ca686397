/* Channels as records of a journal. Every value begins with a version byte; a version this code does not know
 * is refused. Numbers are big-endian; what is absent by a flag is zero. The draft is never written. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/machine.h"
#include "crypto/hash.h"

/* On disk: do not renumber. */
enum { CHANNEL_VERSION = 1, LOCK_VERSION = 1, KEPT_VERSION = 1 };
enum {
    FLAG_STOPPED = 1,
    FLAG_TOLD_DIFFERS = 2, /* told follows; else it equals funds */
    FLAG_SETTLEMENT = 4,
    FLAGS_KNOWN = 7
};
enum {
    STREAM_PROOF = 1,      /* proof and signature follow */
    STREAM_REVOCATION = 2, /* revoked nonce and signature follow */
    STREAM_FLAGS_KNOWN = 3
};

#define LOCK_KEY_LENGTH   (32 + 1 + 2)
#define KEPT_KEY_LENGTH   (32 + 1)
#define PLACE_SIDE_SHIFT  10
#define PLACES_MAX        (2 * LOCKS_PER_STREAM_MAX)
#define DROP_RECORD_BYTES 16

/* ---- what has changed ---- */

static int compare_places(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void sort_places(struct channel *channel)
{
    size_t kept = 0, count = channel->dirty_place_count;
    if (count == 0)
        return;
    qsort(channel->dirty_places, count, sizeof(*channel->dirty_places), compare_places);
    for (size_t i = 1; i < count; i++)
        if (channel->dirty_places[i] != channel->dirty_places[kept])
            channel->dirty_places[++kept] = channel->dirty_places[i];
    channel->dirty_place_count = kept + 1;
}

void mark_place(struct channel *channel, enum side side, uint64_t lock_id)
{
    channel->dirty = true;
    if (channel->dirty_place_count >= 2 * PLACES_MAX)
        sort_places(channel); /* there are no more than PLACES_MAX different ones */
    if (channel->dirty_place_count == channel->dirty_place_capacity) {
        size_t capacity = channel->dirty_place_capacity == 0 ? 8 : 2 * channel->dirty_place_capacity;
        channel->dirty_places = xrealloc(channel->dirty_places, capacity * sizeof(*channel->dirty_places));
        channel->dirty_place_capacity = capacity;
    }
    channel->dirty_places[channel->dirty_place_count++] =
        (uint16_t)((unsigned)side << PLACE_SIDE_SHIFT | lock_id % LOCKS_PER_STREAM_MAX);
}

void channel_write_all(struct channel *channel)
{
    for (unsigned place = 0; place < PLACES_MAX; place++) {
        enum side side = (enum side)(place >> PLACE_SIDE_SHIFT);
        bool empty = channel->streams[side].locks == NULL && channel->draft == NULL;
        if (!empty && signed_lock_at(channel, side, place % LOCKS_PER_STREAM_MAX) != NULL)
            mark_place(channel, side, place);
    }
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

static void write_proof(struct buffer *out, const struct balance_proof *proof)
{
    buffer_u64(out, proof->nonce);
    buffer_u64(out, proof->transferred.units);
    buffer_u64(out, proof->locked.units);
    write_hash(out, &proof->locks_root);
    write_hash(out, &proof->body_hash);
}

static void write_funds(struct buffer *out, const struct channel_funds *funds)
{
    buffer_u64(out, funds->total.units);
    buffer_u64(out, (uint64_t)funds->base);
    buffer_u32(out, funds->seq);
    buffer_u8(out, funds->stage);
}

static bool same_funds(const struct channel_funds *a, const struct channel_funds *b)
{
    return a->total.units == b->total.units && a->base == b->base && a->seq == b->seq && a->stage == b->stage;
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

static void write_stream(struct buffer *out, const struct stream *stream, uint64_t last_lock_id)
{
    bool has_proof = stream->proof.nonce > 0, has_revocation = stream->revoked_nonce > 0;
    buffer_u8(out, (uint8_t)((has_proof ? STREAM_PROOF : 0) | (has_revocation ? STREAM_REVOCATION : 0)));
    if (has_proof) {
        write_proof(out, &stream->proof);
        write_signature(out, &stream->signature);
    }
    if (has_revocation) {
        buffer_u64(out, stream->revoked_nonce);
        write_signature(out, &stream->revocation);
    }
    buffer_u64(out, last_lock_id);
    buffer_u32(out, (uint32_t)stream->drop_count);
    for (size_t i = 0; i < stream->drop_count; i++) {
        buffer_u64(out, stream->drops[i].nonce);
        buffer_u64(out, stream->drops[i].amount.units);
    }
}

static void write_channel(const struct channel *channel, struct buffer *batch)
{
    size_t mark = record_begin(batch, RECORD_CHANNEL, channel->id.bytes, sizeof(channel->id.bytes));
    bool told = !same_funds(&channel->funds, &channel->told);
    bool settlement = channel->settlement.phase != SETTLEMENT_NONE;
    buffer_u8(batch, CHANNEL_VERSION);
    buffer_u8(batch, (uint8_t)channel->self);
    buffer_u8(batch, (uint8_t)((channel->stopped ? FLAG_STOPPED : 0) | (told ? FLAG_TOLD_DIFFERS : 0) |
                               (settlement ? FLAG_SETTLEMENT : 0)));
    buffer_u16(batch, channel->reserve_bps);
    buffer_append(batch, channel->key.client.bytes, sizeof(channel->key.client.bytes));
    buffer_append(batch, channel->key.asset.bytes, sizeof(channel->key.asset.bytes));
    buffer_u64(batch, channel->key.salt);
    write_funds(batch, &channel->funds);
    if (told)
        write_funds(batch, &channel->told);
    buffer_u64(batch, channel->acknowledged);
    if (settlement)
        write_settlement(batch, &channel->settlement);
    for (unsigned side = 0; side < 2; side++) {
        const struct stream *stream = &channel->streams[side];
        bool drafted = side == channel->self && channel->draft != NULL;
        write_stream(batch, stream, drafted ? channel->draft->signed_last_lock_id : stream->last_lock_id);
    }
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
    buffer_u8(batch, LOCK_VERSION);
    buffer_u64(batch, pending->lock.id);
    buffer_u64(batch, pending->lock.amount.units);
    buffer_u64(batch, pending->lock.expiry);
    buffer_u8(batch, pending->lock.kind);
    write_hash(batch, &pending->lock.condition);
    buffer_append(batch, pending->payment.bytes, sizeof(pending->payment.bytes));
    buffer_append(batch, pending->peer.bytes, sizeof(pending->peer.bytes));
    buffer_u64(batch, pending->fee.units);
    buffer_u8(batch, pending->failed);
    record_end(batch, mark);
}

static void write_kept(const struct channel *channel, const struct kept_update *kept, struct buffer *batch)
{
    uint8_t key[KEPT_KEY_LENGTH];
    memcpy(key, channel->id.bytes, 32);
    key[32] = (uint8_t)(kept->proof.nonce % UNACKNOWLEDGED_MAX);
    size_t mark = record_begin(batch, RECORD_KEPT, key, sizeof(key));
    buffer_u8(batch, KEPT_VERSION);
    write_proof(batch, &kept->proof);
    write_signature(batch, &kept->signature);
    buffer_append(batch, kept->body, kept->body_length);
    record_end(batch, mark);
}

void channel_write(struct channel *channel, struct buffer *batch)
{
    ensure(!channel->recovering);
    if (!channel->dirty)
        return;
    channel_check(channel);
    write_channel(channel, batch);
    sort_places(channel);
    for (size_t i = 0; i < channel->dirty_place_count; i++)
        write_place(channel, channel->dirty_places[i], batch);
    free(channel->dirty_places);
    channel->dirty_places = NULL;
    channel->dirty_place_count = channel->dirty_place_capacity = 0;

    uint64_t newest = channel_own(channel)->proof.nonce;
    uint64_t written =
        channel->written_nonce > channel->acknowledged ? channel->written_nonce : channel->acknowledged;
    while (written < newest)
        write_kept(channel, channel_kept(channel, ++written), batch);
    channel->written_nonce = newest;
    channel->dirty = false;
}

/* ---- reading ---- */

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

static struct balance_proof read_proof(struct reader *in)
{
    struct balance_proof proof;
    proof.nonce = reader_u64(in);
    proof.transferred = read_amount(in);
    proof.locked = read_amount(in);
    proof.locks_root = read_hash(in);
    proof.body_hash = read_hash(in);
    in->ok = in->ok && proof.nonce > 0;
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

static void read_drops(struct reader *in, struct stream *stream)
{
    uint32_t count = reader_u32(in);
    if (count > in->left / DROP_RECORD_BYTES)
        in->ok = false;
    uint64_t last = stream->revoked_nonce;
    for (uint32_t i = 0; in->ok && i < count; i++) {
        uint64_t nonce = reader_u64(in);
        struct amount amount = read_amount(in), sum;
        in->ok = in->ok && nonce > last && nonce <= stream->proof.nonce &&
                 amount_add(stream->frozen, amount, &sum);
        if (in->ok)
            stream_add_drop(stream, nonce, amount);
        last = nonce;
    }
}

static void read_stream(struct reader *in, struct stream *stream)
{
    uint8_t flags = reader_u8(in);
    in->ok = in->ok && (flags & ~STREAM_FLAGS_KNOWN) == 0;
    if (flags & STREAM_PROOF) {
        stream->proof = read_proof(in);
        stream->signature = read_signature(in);
    }
    if (flags & STREAM_REVOCATION) {
        stream->revoked_nonce = reader_u64(in);
        stream->revocation = read_signature(in);
        in->ok = in->ok && stream->revoked_nonce > 0 && stream->revoked_nonce <= stream->proof.nonce;
    }
    stream->last_lock_id = reader_u64(in);
    read_drops(in, stream);
}

/* Everything of a RECORD_CHANNEL, as a channel without locks and kept updates. */
static void read_fields(struct reader *in, struct channel *out)
{
    read_version(in, CHANNEL_VERSION);
    uint8_t self = reader_u8(in), flags = reader_u8(in);
    in->ok = in->ok && self <= SIDE_HUB && (flags & ~FLAGS_KNOWN) == 0;
    out->self = self == SIDE_CLIENT ? SIDE_CLIENT : SIDE_HUB;
    out->stopped = (flags & FLAG_STOPPED) != 0;
    out->reserve_bps = reader_u16(in);
    reader_copy(in, out->key.client.bytes, sizeof(out->key.client.bytes));
    reader_copy(in, out->key.asset.bytes, sizeof(out->key.asset.bytes));
    out->key.salt = reader_u64(in);
    out->funds = read_funds(in);
    out->told = (flags & FLAG_TOLD_DIFFERS) ? read_funds(in) : out->funds;
    out->acknowledged = reader_u64(in);
    if (flags & FLAG_SETTLEMENT)
        out->settlement = read_settlement(in);
    read_stream(in, &out->streams[SIDE_CLIENT]);
    read_stream(in, &out->streams[SIDE_HUB]);
    if (!reader_done(in))
        in->ok = false;
}

/* A client neither proposes nor hears of proposals before it signs; a hub's word to itself is the ledger's.
 */
static bool fits_its_side(const struct channel *channel)
{
    if (channel->self == SIDE_HUB)
        return same_funds(&channel->funds, &channel->told) && !channel->settlement.said_dead;
    return channel->settlement.phase != SETTLEMENT_PROPOSED;
}

/* Takes the fields over into a channel that keeps its locks and kept updates. */
static void replace_fields(struct channel *channel, struct channel *fields)
{
    for (unsigned side = 0; side < 2; side++) {
        fields->streams[side].locks = channel->streams[side].locks;
        free(channel->streams[side].drops);
    }
    fields->id = channel->id;
    fields->kept = channel->kept;
    *channel = *fields;
}

static bool read_channel(struct channel **channel, const struct record *record)
{
    struct channel fields = {.recovering = true};
    struct reader in = reader_of(record->value, record->value_length);
    read_fields(&in, &fields);
    struct hash id = channel_id(&fields.key);
    bool good = in.ok && memcmp(id.bytes, record->key, sizeof(id.bytes)) == 0 && fits_its_side(&fields) &&
                fields.acknowledged <= fields.streams[fields.self].proof.nonce &&
                (*channel == NULL || (*channel)->self == fields.self);
    if (!good) {
        stream_clear(&fields.streams[SIDE_CLIENT]);
        stream_clear(&fields.streams[SIDE_HUB]);
        return false;
    }
    if (*channel == NULL)
        *channel = channel_new(&fields.key, fields.self, fields.reserve_bps);
    (*channel)->recovering = true;
    replace_fields(*channel, &fields);
    return true;
}

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
    pending.lock.id = reader_u64(&in);
    pending.lock.amount = read_amount(&in);
    pending.lock.expiry = reader_u64(&in);
    pending.lock.kind = reader_u8(&in);
    pending.lock.condition = read_hash(&in);
    reader_copy(&in, pending.payment.bytes, sizeof(pending.payment.bytes));
    reader_copy(&in, pending.peer.bytes, sizeof(pending.peer.bytes));
    pending.fee = read_amount(&in);
    pending.failed = read_bool(&in);
    if (!reader_done(&in) || pending.lock.kind > LOCK_ATTESTATION || pending.lock.id == 0 ||
        pending.lock.id % LOCKS_PER_STREAM_MAX != place)
        return false;
    place_clear(stream, place);
    if (stream->locks == NULL)
        stream->locks = lock_set_new();
    return lock_set_add(stream->locks, &pending);
}

static void slot_clear(struct channel *channel, unsigned slot)
{
    if (channel->kept == NULL)
        return;
    free(channel->kept[slot].body);
    channel->kept[slot] = (struct kept_update){0};
}

static bool read_kept(struct channel *channel, const struct record *record)
{
    unsigned slot = record->key[32];
    if (slot >= UNACKNOWLEDGED_MAX)
        return false;
    if (record->gone) {
        slot_clear(channel, slot);
        return true;
    }
    struct reader in = reader_of(record->value, record->value_length);
    struct kept_update kept = {0};
    read_version(&in, KEPT_VERSION);
    kept.proof = read_proof(&in);
    kept.signature = read_signature(&in);
    kept.body_length = in.left;
    if (!in.ok || in.left == 0 || in.left > BODY_BYTES_MAX || kept.proof.nonce % UNACKNOWLEDGED_MAX != slot)
        return false;
    if (kept.proof.nonce <= channel->acknowledged)
        return true;
    const uint8_t *body = reader_take(&in, kept.body_length);
    kept.body = xmalloc(kept.body_length);
    memcpy(kept.body, body, kept.body_length);
    if (channel->kept == NULL)
        channel->kept = xcalloc(UNACKNOWLEDGED_MAX, sizeof(*channel->kept));
    slot_clear(channel, slot);
    channel->kept[slot] = kept;
    return true;
}

bool channel_record_id(const struct record *record, struct hash *id)
{
    static const uint8_t key_lengths[] = {
        [RECORD_CHANNEL] = 32, [RECORD_LOCK] = LOCK_KEY_LENGTH, [RECORD_KEPT] = KEPT_KEY_LENGTH};
    if (record->type == 0 || record->type >= ARRAY_LENGTH(key_lengths) ||
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
    return record->type == RECORD_LOCK ? read_lock(*channel, record) : read_kept(*channel, record);
}

/* ---- the whole ---- */

static bool stream_recovered(struct stream *stream)
{
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

static bool kept_recovered(const struct channel *channel)
{
    const struct stream *own = &channel->streams[channel->self];
    uint64_t newest = own->proof.nonce;
    if (newest - channel->acknowledged > UNACKNOWLEDGED_MAX)
        return false;
    for (uint64_t nonce = channel->acknowledged; nonce < newest;) {
        const struct kept_update *kept =
            channel->kept == NULL ? NULL : &channel->kept[++nonce % UNACKNOWLEDGED_MAX];
        if (kept == NULL || kept->body == NULL || kept->proof.nonce != nonce)
            return false;
        struct hash body_hash = keccak256(kept->body, kept->body_length);
        if (!hash_equal(&body_hash, &kept->proof.body_hash))
            return false;
        if (nonce == newest &&
            !(same_proof(&kept->proof, &own->proof) && signature_equal(&kept->signature, &own->signature)))
            return false;
    }
    return true;
}

/* Stale slots go, so that what is left is what a channel that was never written has. */
static void kept_trim(struct channel *channel)
{
    uint64_t newest = channel_own(channel)->proof.nonce;
    for (unsigned slot = 0; channel->kept != NULL && slot < UNACKNOWLEDGED_MAX; slot++)
        if (channel->kept[slot].proof.nonce <= channel->acknowledged ||
            channel->kept[slot].proof.nonce > newest)
            slot_clear(channel, slot);
    if (newest == channel->acknowledged) {
        free(channel->kept);
        channel->kept = NULL;
    }
}

bool channel_recovered(struct channel *channel)
{
    if (!channel->recovering)
        return false;
    if (!stream_recovered(&channel->streams[SIDE_CLIENT]) || !stream_recovered(&channel->streams[SIDE_HUB]) ||
        !kept_recovered(channel))
        return false;
    kept_trim(channel);
    channel->recovering = false;
    channel->dirty = false;
    channel->written_nonce = channel_own(channel)->proof.nonce;
    channel_check(channel);
    return true;
}
