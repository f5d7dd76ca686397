#include "channel/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "crypto/hash.h"

_Static_assert(sizeof(struct channel) <= 576, "an idle channel is small, and has no other memory");

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

void stream_clear(struct stream *stream)
{
    lock_set_free(stream->locks);
    dropped_free(stream->dropped);
    memset(stream, 0, sizeof(*stream));
}

void channel_free(struct channel *channel)
{
    if (channel == NULL)
        return;
    kept_free(channel);
    draft_free(channel);
    stream_clear(&channel->streams[SIDE_CLIENT]);
    stream_clear(&channel->streams[SIDE_HUB]);
    settlement_put(channel, NULL);
    free(channel->peer_key);
    free(channel->dirty_places);
    free(channel);
}

/* ---- what is whose ---- */

static struct amount reserve_of(const struct channel *channel, int64_t base)
{
    if (base <= 0)
        return amount_of(0);
    return amount_of((uint64_t)((unsigned_wide)base * channel->reserve_bps / 10000));
}

struct amount channel_reserve(const struct channel *channel)
{
    return reserve_of(channel, channel->funds.base);
}

struct progress stream_progress(const struct stream *stream)
{
    return (struct progress){.transferred = stream->proof.transferred,
                             .locked = stream->locked,
                             .frozen = stream_dropped(stream)->frozen,
                             .last_lock_id = stream->last_lock_id};
}

struct progress own_progress(const struct channel *channel)
{
    return channel->draft != NULL ? channel->draft->progress
                                  : stream_progress(&channel->streams[channel->self]);
}

wide balance_by(const struct channel *channel, enum side side, const struct channel_funds *funds,
                struct amount own_transferred)
{
    enum side peer = side_other(channel->self);
    wide transferred[2];
    transferred[channel->self] = own_transferred.units;
    transferred[peer] = channel->streams[peer].proof.transferred.units;
    wide client = (wide)funds->base - transferred[SIDE_CLIENT] + transferred[SIDE_HUB];
    return side == SIDE_CLIENT ? client : (wide)funds->total.units - client;
}

wide channel_balance(const struct channel *channel, enum side side)
{
    return balance_by(channel, side, &channel->funds, channel->streams[channel->self].proof.transferred);
}

/* What settlements under way hold back of a side, by a view that may have seen them settled already, or dead.
 */
static struct amount held_out(const struct channel *channel, enum side side,
                              const struct channel_funds *funds)
{
    const struct settlement *settlement = channel_settlement(channel);
    bool over = funds->seq >= settlement->seq || (funds == &channel->told && settlement->said_dead);
    if (settlement->phase == SETTLEMENT_NONE || over)
        return amount_of(0);
    if (side == SIDE_HUB)
        return settlement->hub_out;
    if (settlement->phase != SETTLEMENT_SIGNED)
        return amount_of(0);
    /* A close gives the client all the rest, so a deposit made meanwhile is not to be spent either. */
    struct amount rest;
    if (settlement->close && amount_subtract(funds->total, settlement->hub_out, &rest) &&
        amount_compare(rest, settlement->client_out) > 0)
        return rest;
    return settlement->client_out;
}

wide available_by(const struct channel *channel, enum side side, const struct channel_funds *funds,
                  const struct progress *own)
{
    struct progress peer = stream_progress(&channel->streams[side_other(channel->self)]);
    const struct progress *sender = side == channel->self ? own : &peer;
    wide available = balance_by(channel, side, funds, own->transferred);
    available -= (wide)sender->locked.units + (PLANTED(LOCK_FREED_EARLY) ? 0 : sender->frozen.units);
    available -= held_out(channel, side, funds).units;
    if (side == SIDE_CLIENT)
        available -= reserve_of(channel, funds->base).units;
    return available + PLANTED(AVAILABLE_OFF_BY_ONE);
}

/* The smaller of what the ledger and the hub's word allow. The hub judges by a view no older than its word,
 * and neither deposits nor settlements lower what is available. */
static wide own_available(const struct channel *channel, const struct progress *own)
{
    wide by_funds = available_by(channel, channel->self, &channel->funds, own);
    if (channel->self == SIDE_HUB)
        return by_funds;
    wide by_told = available_by(channel, channel->self, &channel->told, own);
    return by_told < by_funds ? by_told : by_funds;
}

wide channel_available(const struct channel *channel, enum side side)
{
    if (side == channel->self) {
        struct progress own = own_progress(channel);
        return own_available(channel, &own);
    }
    struct progress signed_own = stream_progress(&channel->streams[channel->self]);
    return available_by(channel, side, &channel->funds, &signed_own);
}

bool channel_accepts(const struct channel *channel)
{
    return channel->funds.stage == STAGE_OPEN && !channel->stopped;
}

void channel_check(const struct channel *channel)
{
    ensure(channel_balance(channel, SIDE_CLIENT) + channel_balance(channel, SIDE_HUB) ==
           (wide)channel->funds.total.units);
    const struct stream *own = &channel->streams[channel->self];
    const struct stream *peer = &channel->streams[side_other(channel->self)];
    struct progress progress = own_progress(channel);
    ensure(peer->locked.units == peer->proof.locked.units);
    ensure(own->locked.units == progress.locked.units && own->last_lock_id == progress.last_lock_id);
    ensure((own->locks == NULL) == (lock_set_count(own->locks) == 0));
    ensure((peer->locks == NULL) == (lock_set_count(peer->locks) == 0));
    ensure(channel->acknowledged <= own->proof.nonce &&
           own->proof.nonce - channel->acknowledged <= UNACKNOWLEDGED_MAX);
    ensure(stream_dropped(own)->revoked_nonce <= own->proof.nonce &&
           stream_dropped(peer)->revoked_nonce <= peer->proof.nonce);
}

/* ---- the ledger and the hub's word ---- */

bool funds_pay_in(struct channel_funds *funds, struct amount client, struct amount hub)
{
    struct amount both, total;
    int64_t base;
    if (!amount_add(client, hub, &both) || !amount_add(funds->total, both, &total) ||
        __builtin_add_overflow(funds->base, (int64_t)client.units, &base))
        return false;
    funds->total = total;
    funds->base = base;
    return true;
}

bool funds_pay_out(struct channel_funds *funds, struct amount client, struct amount hub, uint32_t seq)
{
    struct amount both, total;
    int64_t base;
    if (!amount_add(client, hub, &both) || !amount_subtract(funds->total, both, &total) ||
        __builtin_sub_overflow(funds->base, (int64_t)client.units, &base))
        return false;
    funds->total = total;
    funds->base = base;
    funds->seq = seq;
    return true;
}

bool funds_equal(const struct channel_funds *a, const struct channel_funds *b)
{
    return a->total.units == b->total.units && a->base == b->base && a->seq == b->seq && a->stage == b->stage;
}

/* A settlement is over when the own view shows it settled; for a client also the hub's word must say so, for
 * until then the hub may judge by what was before. A closed channel has none. */
static void settlement_follow(struct channel *channel)
{
    const struct settlement *settlement = channel_settlement(channel);
    bool over = channel->funds.stage == STAGE_CLOSED ||
                (channel->funds.seq >= settlement->seq && channel->told.seq >= settlement->seq);
    if (settlement->phase != SETTLEMENT_NONE && over)
        settlement_put(channel, NULL);
}

bool channel_set_funds(struct channel *channel, const struct channel_funds *funds)
{
    ensure(funds->total.units < AMOUNT_LIMIT && funds->stage <= STAGE_CLOSED);
    if (funds_equal(funds, &channel->funds))
        return false;
    const struct settlement *settlement = channel_settlement(channel);
    bool settled = settlement->phase == SETTLEMENT_SIGNED && channel->funds.seq < settlement->seq &&
                   funds->seq >= settlement->seq;
    channel->funds = *funds;
    if (channel->self == SIDE_HUB)
        channel->told = *funds;
    settlement_follow(channel);
    channel->dirty = true;
    channel_check(channel);
    return settled;
}

void channel_set_told(struct channel *channel, const struct channel_funds *told)
{
    ensure(channel->self == SIDE_CLIENT);
    bool possible = told->total.units < AMOUNT_LIMIT && told->stage <= STAGE_CLOSED;
    if (!possible || funds_equal(told, &channel->told))
        return;
    channel->told = *told;
    settlement_follow(channel);
    channel->dirty = true;
}

/* ---- who signed ---- */

bool peer_signed(struct channel *channel, const struct channel_view *view, const struct hash *digest,
                 const struct signature *signature)
{
    if (channel->peer_key != NULL)
        return signature_verify(signature, digest, channel->peer_key);
    struct public_key key;
    if (signature_recover_key(signature, digest, &key)) {
        struct address signer = public_key_address(&key);
        if (address_equal(&signer, &view->peer)) {
            channel->peer_key = xmalloc(sizeof(*channel->peer_key));
            *channel->peer_key = key;
            return true;
        }
    }
    return signature_is_by(signature, digest, &view->peer); /* the other parity */
}

/* ---- locks by the payment they carry ---- */

struct pending_lock *channel_find_payment(const struct channel *channel, enum side stream,
                                          const struct payment_id *payment)
{
    const struct lock_set *locks = channel->streams[stream].locks;
    struct pending_lock *pending = lock_set_next(locks, 0);
    while (pending != NULL && !payment_id_equal(&pending->payment, payment))
        pending = lock_set_next(locks, pending->lock.id);
    return pending;
}
