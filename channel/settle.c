/* Settlements (protocol.md, section 8), at most one at a time:
 *
 *     hub:    NONE ─propose─▶ PROPOSED (hub_out counts) ─signature─▶ SIGNED (client_out counts too)
 *     client: NONE ─sign─▶ SIGNED (both count)
 *     hub:    PROPOSED ─channel_settle_refused, channel_settle_expire─▶ NONE
 *     both:   SIGNED ─channel_set_funds shows seq─▶ NONE (settled; a client waits for channel_set_told too)
 *             SIGNED ─channel_settle_expire─▶ NONE (dead: the deadline passed without it; a client waits for
 *             the hub's word too)
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "channel/machine.h"

/* Nothing may be in motion when a channel is closed by agreement. */
static bool is_at_rest(const struct channel *channel)
{
    for (int side = 0; side < 2; side++) {
        const struct stream *stream = &channel->streams[side];
        if (stream->locks != NULL || stream_dropped(stream)->drop_count > 0)
            return false;
    }
    return channel->draft == NULL && channel->acknowledged == channel->streams[channel->self].proof.nonce;
}

static bool is_available(const struct channel *channel, enum side side, struct amount out)
{
    return amount_is_zero(out) || channel_available(channel, side) >= out.units;
}

/* The client gets all the rest of a close, so its part must be its whole balance. */
static bool is_whole_balance(const struct channel *channel, enum side side, struct amount out)
{
    return channel_balance(channel, side) == out.units;
}

void settlement_put(struct channel *channel, const struct settlement *settlement)
{
    if (settlement == NULL) {
        free(channel->settlement);
        channel->settlement = NULL;
        return;
    }
    if (channel->settlement == NULL)
        channel->settlement = xmalloc(sizeof(*channel->settlement));
    *channel->settlement = *settlement;
}

static void settlement_clear(struct channel *channel)
{
    settlement_put(channel, NULL);
    channel->dirty = true;
    channel_check(channel);
}

enum code channel_propose(struct channel *channel, struct amount client_out, struct amount hub_out,
                          uint64_t deadline, bool close)
{
    ensure(channel->self == SIDE_HUB);
    if (!channel_accepts(channel))
        return CODE_STATUS;
    if (channel_settlement(channel)->phase != SETTLEMENT_NONE || channel->funds.seq == UINT32_MAX)
        return CODE_SETTLE;
    if (close) {
        if (!is_at_rest(channel))
            return CODE_SETTLE;
        if (!is_whole_balance(channel, SIDE_CLIENT, client_out) ||
            !is_whole_balance(channel, SIDE_HUB, hub_out))
            return CODE_AVAILABLE;
    } else if (!is_available(channel, SIDE_CLIENT, client_out) || !is_available(channel, SIDE_HUB, hub_out)) {
        return CODE_AVAILABLE;
    }
    settlement_put(channel, &(struct settlement){.phase = SETTLEMENT_PROPOSED,
                                                 .close = close,
                                                 .seq = channel->funds.seq + 1,
                                                 .client_out = client_out,
                                                 .hub_out = hub_out,
                                                 .deadline = deadline});
    channel->dirty = true;
    channel_check(channel);
    return CODE_OK;
}

static struct hash settlement_digest(const struct channel *channel, const struct domain *domain,
                                     const struct settlement *settlement)
{
    return digest_settlement(domain, &channel->id, settlement->seq, settlement->client_out,
                             settlement->hub_out, settlement->deadline, settlement->close);
}

enum code channel_settle_signed(struct channel *channel, const struct channel_view *view, uint32_t seq,
                                const struct signature *signature)
{
    ensure(channel->self == SIDE_HUB);
    struct settlement *settlement = channel->settlement;
    if (settlement == NULL || settlement->seq != seq)
        return CODE_SETTLE;
    if (settlement->phase == SETTLEMENT_SIGNED)
        return signature_equal(&settlement->signature, signature) ? CODE_OK : CODE_SETTLE;
    struct hash digest = settlement_digest(channel, view->domain, settlement);
    if (!peer_signed(channel, view, &digest, signature))
        return CODE_SETTLE;
    /* The client's updates were not judged by client_out until now: one that came since may have spent it. A deposit that
     * came since makes client_out less than the client's balance, which does no harm: it gets all the rest of a close. */
    bool good = settlement->close
                    ? is_at_rest(channel) && is_whole_balance(channel, SIDE_HUB, settlement->hub_out) &&
                          channel_balance(channel, SIDE_CLIENT) >= settlement->client_out.units
                    : is_available(channel, SIDE_CLIENT, settlement->client_out);
    if (!good)
        return CODE_SETTLE;
    settlement->phase = SETTLEMENT_SIGNED;
    settlement->signature = *signature;
    channel->dirty = true;
    channel_check(channel);
    return CODE_OK;
}

static bool is_same_settlement(const struct settlement *a, const struct settlement *b)
{
    return a->seq == b->seq && a->close == b->close && a->deadline == b->deadline &&
           a->client_out.units == b->client_out.units && a->hub_out.units == b->hub_out.units;
}

static bool is_acceptable(const struct channel *channel, const struct channel_view *view,
                          const struct settlement *proposal, struct amount wanted, bool wants_close,
                          uint64_t settle_window_s)
{
    if (!channel_accepts(channel) || channel_settlement(channel)->phase != SETTLEMENT_NONE)
        return false;
    if (channel->funds.seq == UINT32_MAX || proposal->seq != channel->funds.seq + 1)
        return false;
    if (proposal->deadline <= view->now || proposal->deadline - view->now > settle_window_s)
        return false;
    if (proposal->close)
        return wants_close && is_at_rest(channel) &&
               is_whole_balance(channel, SIDE_CLIENT, proposal->client_out) &&
               channel_balance(channel, SIDE_HUB) >= proposal->hub_out.units;
    return amount_compare(proposal->client_out, wanted) == 0 &&
           is_available(channel, SIDE_CLIENT, proposal->client_out) &&
           is_available(channel, SIDE_HUB, proposal->hub_out);
}

enum code channel_settle_sign(struct channel *channel, const struct channel_view *view,
                              const struct settlement *proposal, struct amount wanted, bool wants_close,
                              uint64_t settle_window_s, const struct secret_key *key, struct signature *out)
{
    ensure(channel->self == SIDE_CLIENT);
    const struct settlement *settlement = channel_settlement(channel);
    if (settlement->phase == SETTLEMENT_SIGNED && is_same_settlement(settlement, proposal)) {
        *out = settlement->signature; /* proposed again: the answer was lost */
        return CODE_OK;
    }
    if (!is_acceptable(channel, view, proposal, wanted, wants_close, settle_window_s))
        return CODE_SETTLE;
    struct hash digest = settlement_digest(channel, view->domain, proposal);
    *out = key_sign(key, &digest);
    settlement_put(channel, &(struct settlement){.phase = SETTLEMENT_SIGNED,
                                                 .close = proposal->close,
                                                 .seq = proposal->seq,
                                                 .client_out = proposal->client_out,
                                                 .hub_out = proposal->hub_out,
                                                 .deadline = proposal->deadline,
                                                 .signature = *out});
    channel->dirty = true;
    channel_check(channel);
    return CODE_OK;
}

void channel_settle_adopt(struct channel *channel, const struct settlement *shown)
{
    ensure(channel->self == SIDE_CLIENT && channel->settlement == NULL && shown->phase == SETTLEMENT_SIGNED);
    settlement_put(channel, shown);
    channel->dirty = true;
}

bool channel_settle_said_dead(struct channel *channel)
{
    ensure(channel->self == SIDE_CLIENT);
    struct settlement *settlement = channel->settlement;
    if (settlement == NULL || settlement->phase != SETTLEMENT_SIGNED || settlement->said_dead)
        return false;
    settlement->said_dead = true;
    channel->dirty = true;
    return true;
}

void channel_settle_refused(struct channel *channel)
{
    ensure(channel->self == SIDE_HUB);
    if (channel_settlement(channel)->phase == SETTLEMENT_PROPOSED)
        settlement_clear(channel);
}

bool channel_settle_expire(struct channel *channel, uint64_t now)
{
    const struct settlement *settlement = channel_settlement(channel);
    bool is_alive = now <= settlement->deadline && !PLANTED(SETTLEMENT_FREED_EARLY);
    if (settlement->phase == SETTLEMENT_NONE || is_alive || channel->funds.seq >= settlement->seq)
        return false;
    if (channel->self == SIDE_CLIENT && !settlement->said_dead)
        return false;
    settlement_clear(channel);
    return true;
}
