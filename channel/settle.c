/* Settlement items between the two sides (protocol.md, section 8). */
#include "base/ensure.h"
#include "channel/internal.h"

static bool nothing_pending(const struct channel *channel)
{
    for (int side = 0; side < 2; side++) {
        const struct stream *stream = &channel->streams[side];
        if (lock_set_count(stream->locks) > 0 || !amount_is_zero(stream->frozen))
            return false;
    }
    return channel->draft == NULL && channel->streams[channel->self].proof.nonce == channel->acknowledged;
}

enum code channel_propose(struct channel *channel, struct amount client_out, struct amount hub_out, uint64_t deadline,
                          bool close)
{
    ensure(channel->self == SIDE_HUB);
    if (channel->funds.stage != STAGE_OPEN || channel->stopped)
        return CODE_STATUS;
    if (channel->settlement.phase != SETTLEMENT_NONE || channel->funds.seq == UINT32_MAX)
        return CODE_SETTLE;
    if (close) {
        if (!nothing_pending(channel))
            return CODE_SETTLE;
        if (channel_balance(channel, SIDE_CLIENT) != (wide)client_out.units ||
            channel_balance(channel, SIDE_HUB) != (wide)hub_out.units)
            return CODE_AVAILABLE;
    } else if (channel_available(channel, SIDE_CLIENT) < (wide)client_out.units ||
               channel_available(channel, SIDE_HUB) < (wide)hub_out.units) {
        return CODE_AVAILABLE;
    }
    channel->settlement = (struct settlement){
        .phase = SETTLEMENT_PROPOSED,
        .close = close,
        .seq = channel->funds.seq + 1,
        .client_out = client_out,
        .hub_out = hub_out,
        .deadline = deadline,
    };
    channel->dirty = true;
    return CODE_OK;
}

static struct hash digest_of(const struct channel *channel, const struct domain *domain,
                             const struct settlement *settlement)
{
    return digest_settlement(domain, &channel->id, settlement->seq, settlement->client_out, settlement->hub_out,
                             settlement->deadline, settlement->close);
}

enum code channel_settle_signed(struct channel *channel, const struct channel_view *view, uint32_t seq,
                                const struct signature *signature)
{
    ensure(channel->self == SIDE_HUB);
    struct settlement *settlement = &channel->settlement;
    if (settlement->phase == SETTLEMENT_NONE || settlement->seq != seq)
        return CODE_SETTLE;
    if (settlement->phase == SETTLEMENT_SIGNED)
        return CODE_OK; /* the same again: the signature kept is good */
    struct hash digest = digest_of(channel, view->domain, settlement);
    if (!peer_signed(channel, view, signature, &digest))
        return CODE_SETTLE;
    settlement->phase = SETTLEMENT_SIGNED;
    settlement->signature = *signature;
    channel->dirty = true;
    return CODE_OK;
}

static bool is_what_was_asked(const struct channel *channel, const struct settlement *proposal, struct amount wanted,
                              bool wants_close)
{
    if (proposal->close)
        return wants_close && nothing_pending(channel) &&
               channel_balance(channel, SIDE_CLIENT) == (wide)proposal->client_out.units &&
               channel_balance(channel, SIDE_HUB) >= (wide)proposal->hub_out.units;
    return (amount_is_zero(proposal->client_out) || amount_compare(proposal->client_out, wanted) == 0) &&
           channel_available(channel, SIDE_CLIENT) >= (wide)proposal->client_out.units &&
           channel_available(channel, SIDE_HUB) >= (wide)proposal->hub_out.units;
}

enum code channel_settle_sign(struct channel *channel, const struct channel_view *view,
                              const struct settlement *proposal, struct amount wanted, bool wants_close,
                              uint64_t settle_window_s, const struct secret_key *key, struct signature *out)
{
    ensure(channel->self == SIDE_CLIENT);
    const struct settlement *under_way = &channel->settlement;
    if (channel->funds.stage != STAGE_OPEN || channel->stopped)
        return CODE_SETTLE;
    bool again = under_way->phase == SETTLEMENT_SIGNED && under_way->seq == proposal->seq &&
                 under_way->close == proposal->close && under_way->deadline == proposal->deadline &&
                 amount_compare(under_way->client_out, proposal->client_out) == 0 &&
                 amount_compare(under_way->hub_out, proposal->hub_out) == 0;
    if (again) {
        *out = under_way->signature; /* identical bytes, no second Settlement */
        return CODE_OK;
    }
    if (under_way->phase != SETTLEMENT_NONE || proposal->seq != channel->funds.seq + 1 || proposal->seq == 0 ||
        proposal->deadline < view->now || proposal->deadline - view->now > settle_window_s ||
        !is_what_was_asked(channel, proposal, wanted, wants_close))
        return CODE_SETTLE;
    channel->settlement = *proposal;
    channel->settlement.phase = SETTLEMENT_SIGNED;
    channel->settlement.said_dead = false;
    struct hash digest = digest_of(channel, view->domain, proposal);
    channel->settlement.signature = key_sign(key, &digest);
    channel->dirty = true;
    *out = channel->settlement.signature;
    return CODE_OK;
}

void channel_settle_refused(struct channel *channel)
{
    ensure(channel->settlement.phase == SETTLEMENT_PROPOSED);
    channel->settlement = (struct settlement){0};
    channel->dirty = true;
}

bool channel_settle_expire(struct channel *channel, uint64_t now)
{
    const struct settlement *settlement = &channel->settlement;
    if (settlement->phase == SETTLEMENT_NONE || now <= settlement->deadline ||
        channel->funds.seq >= settlement->seq || (channel->self == SIDE_CLIENT && !settlement->said_dead))
        return false;
    channel->settlement = (struct settlement){0};
    channel->dirty = true;
    return true;
}
