/* Making a channel, what is whose in it, and what the ledger and the hub's word change. */
#include "channel/channel.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/internal.h"

struct channel *channel_new(const struct channel_key *key, enum side self, uint16_t reserve_bps)
{
    struct channel *channel = xcalloc(1, sizeof(*channel));
    channel->key = *key;
    channel->id = channel_id(key);
    channel->self = self;
    channel->reserve_bps = reserve_bps;
    channel->dirty = true;
    return channel;
}

void draft_free(struct draft *draft)
{
    if (draft == NULL)
        return;
    for (size_t i = 0; i < draft->count; i++)
        free((void *)(uintptr_t)draft->operations[i].memo.data);
    free(draft->operations);
    free(draft);
}

void kept_clear(struct kept_update *kept)
{
    free(kept->body);
    *kept = (struct kept_update){0};
}

void channel_free(struct channel *channel)
{
    if (channel == NULL)
        return;
    for (int side = 0; side < 2; side++) {
        lock_set_free(channel->streams[side].locks);
        free(channel->streams[side].drops);
    }
    for (size_t i = 0; channel->kept != NULL && i < UNACKNOWLEDGED_MAX; i++)
        kept_clear(&channel->kept[i]);
    free(channel->kept);
    draft_free(channel->draft);
    free(channel->dirty_places);
    free(channel);
}

/* ---- what is whose ---- */

wide channel_balance(const struct channel *channel, enum side side)
{
    wide client = (wide)channel->funds.base - (wide)channel->streams[SIDE_CLIENT].proof.transferred.units +
                  (wide)channel->streams[SIDE_HUB].proof.transferred.units;
    return side == SIDE_CLIENT ? client : (wide)channel->funds.total.units - client;
}

static struct amount reserve_of(int64_t base, uint16_t reserve_bps)
{
    if (base <= 0)
        return amount_of(0);
    return amount_of((uint64_t)((unsigned_wide)(uint64_t)base * reserve_bps / 10000));
}

struct amount channel_reserve(const struct channel *channel)
{
    return reserve_of(channel->funds.base, channel->reserve_bps);
}

/* Section 3: out counts clientOut when signed; hubOut for the hub from PROPOSE, for the client from SIGN (a client
 * never is PROPOSED). */
static wide out_of(const struct channel *channel, enum side side)
{
    const struct settlement *settlement = &channel->settlement;
    if (settlement->phase == SETTLEMENT_NONE)
        return 0;
    if (side == SIDE_HUB)
        return (wide)settlement->hub_out.units;
    return settlement->phase == SETTLEMENT_SIGNED ? (wide)settlement->client_out.units : 0;
}

struct totals totals_own(const struct channel *channel)
{
    const struct stream *own = &channel->streams[channel->self];
    struct totals totals = {own->proof.transferred, own->locked, own->frozen};
    if (channel->draft != NULL)
        totals.transferred = channel->draft->transferred;
    return totals;
}

struct totals totals_peer(const struct channel *channel)
{
    const struct stream *peer = &channel->streams[side_other(channel->self)];
    return (struct totals){peer->proof.transferred, peer->locked, peer->frozen};
}

wide available_with(const struct channel *channel, const struct channel_funds *funds, enum side side,
                    const struct totals *of_side, struct amount transferred_by_other)
{
    wide own = (wide)transferred_by_other.units - (wide)of_side->transferred.units;
    wide base = side == SIDE_CLIENT ? (wide)funds->base : (wide)funds->total.units - (wide)funds->base;
    wide available = base + own - (wide)of_side->locked.units - (wide)of_side->frozen.units - out_of(channel, side);
    if (side == SIDE_CLIENT)
        available -= (wide)reserve_of(funds->base, channel->reserve_bps).units;
    return available;
}

wide channel_available(const struct channel *channel, enum side side)
{
    bool own = side == channel->self;
    struct totals totals = own ? totals_own(channel) : totals_peer(channel);
    struct amount other = channel->streams[side_other(side)].proof.transferred;
    wide available = available_with(channel, &channel->funds, side, &totals, other);
    if (own && side == SIDE_CLIENT) {
        wide told = available_with(channel, &channel->told, side, &totals, other);
        if (told < available)
            available = told;
    }
    return available;
}

/* ---- the ledger and the hub's word ---- */

static bool funds_equal(const struct channel_funds *a, const struct channel_funds *b)
{
    return a->total.units == b->total.units && a->base == b->base && a->seq == b->seq && a->stage == b->stage;
}

bool channel_set_funds(struct channel *channel, const struct channel_funds *funds)
{
    if (funds_equal(&channel->funds, funds) && (channel->self == SIDE_CLIENT || funds_equal(&channel->told, funds)))
        return false;
    ensure(funds->total.units < AMOUNT_LIMIT);
    channel->funds = *funds;
    if (channel->self == SIDE_HUB)
        channel->told = *funds;
    channel->dirty = true;
    bool settled = channel->settlement.phase != SETTLEMENT_NONE && funds->seq >= channel->settlement.seq;
    if (settled || funds->stage == STAGE_CLOSED)
        channel->settlement = (struct settlement){0};
    return settled;
}

void channel_set_told(struct channel *channel, const struct channel_funds *told)
{
    ensure(channel->self == SIDE_CLIENT);
    if (funds_equal(&channel->told, told))
        return;
    channel->told = *told;
    channel->dirty = true;
}

/* ---- what the files share ---- */

void mark_place(struct channel *channel, enum side side, uint64_t lock_id)
{
    if (channel->dirty_place_count == channel->dirty_place_capacity) {
        size_t capacity = channel->dirty_place_capacity == 0 ? 16 : 2 * channel->dirty_place_capacity;
        channel->dirty_places = xrealloc(channel->dirty_places, capacity * sizeof(uint16_t));
        channel->dirty_place_capacity = capacity;
    }
    channel->dirty_places[channel->dirty_place_count++] =
        (uint16_t)((unsigned)side << 10 | (unsigned)(lock_id % LOCKS_PER_STREAM_MAX));
    channel->dirty = true;
}

void stream_add_drop(struct stream *stream, uint64_t nonce, struct amount amount)
{
    if (amount_is_zero(amount))
        return;
    if (stream->drop_count == stream->drop_capacity) {
        size_t capacity = stream->drop_capacity == 0 ? 4 : 2 * stream->drop_capacity;
        stream->drops = xrealloc(stream->drops, capacity * sizeof(struct drop));
        stream->drop_capacity = capacity;
    }
    if (stream->drop_count > 0 && stream->drops[stream->drop_count - 1].nonce == nonce)
        ensure(amount_add(stream->drops[stream->drop_count - 1].amount, amount,
                          &stream->drops[stream->drop_count - 1].amount));
    else
        stream->drops[stream->drop_count++] = (struct drop){nonce, amount};
    ensure(amount_add(stream->frozen, amount, &stream->frozen));
}

struct amount stream_free_drops(struct stream *stream, uint64_t min_nonce)
{
    struct amount freed = {0};
    size_t gone = 0;
    while (gone < stream->drop_count && stream->drops[gone].nonce <= min_nonce)
        ensure(amount_add(freed, stream->drops[gone++].amount, &freed));
    memmove(stream->drops, stream->drops + gone, (stream->drop_count - gone) * sizeof(struct drop));
    stream->drop_count -= gone;
    ensure(amount_subtract(stream->frozen, freed, &stream->frozen));
    return freed;
}

struct lock_set *stream_locks(struct stream *stream)
{
    if (stream->locks == NULL)
        stream->locks = lock_set_new();
    return stream->locks;
}

bool peer_signed(struct channel *channel, const struct channel_view *view, const struct signature *signature,
                 const struct hash *digest)
{
    if (channel->peer_key_known)
        return signature_verify(signature, digest, &channel->peer_key);
    if (!signature_find_key(signature, digest, &view->peer, &channel->peer_key))
        return false;
    channel->peer_key_known = true;
    return true;
}

void channel_assert(const struct channel *channel)
{
    ensure(channel_balance(channel, SIDE_CLIENT) + channel_balance(channel, SIDE_HUB) ==
           (wide)channel->funds.total.units);
    for (int side = 0; side < 2; side++) {
        const struct stream *stream = &channel->streams[side];
        ensure(stream->proof.transferred.units < AMOUNT_LIMIT && stream->locked.units < AMOUNT_LIMIT);
        ensure(lock_set_count(stream->locks) > 0 || amount_is_zero(stream->locked));
    }
}
