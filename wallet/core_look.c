/* Looking at the wallet: channels, balances, history. Nothing here changes anything. */
#include "wallet/core_state.h"

static struct amount clamp(wide value)
{
    if (value <= 0)
        return amount_of(0);
    return amount_of(value >= (wide)AMOUNT_LIMIT ? AMOUNT_LIMIT - 1 : (uint64_t)value);
}

/* What can come in: a raise counts once the hub has said it and the own node has seen it (protocol.md,
 * section 3), so it is the smaller of what either view leaves the hub. */
static struct amount inbound_of(const struct channel *channel)
{
    wide seen = (wide)channel->funds.total.units - channel->funds.base;
    wide told = (wide)channel->told.total.units - channel->told.base;
    wide inbound = channel_available(channel, SIDE_HUB);
    return clamp(told < seen ? inbound - (seen - told) : inbound);
}

static void view_channel(const struct wallet_channel *own, struct wallet_channel_view *out)
{
    const struct channel *channel = own->channel;
    const struct settlement *settlement = channel_settlement(channel);
    bool usable = wallet_channel_live(own), closed = channel->funds.stage == STAGE_CLOSED;
    *out = (struct wallet_channel_view){
        .id = own->id,
        .key = channel->key,
        .stage = channel->funds.stage,
        .closing_seen = own->closing_seen || channel->stopped,
        .claiming = channel->funds.stage == STAGE_CLOSED && own->watch.active,
        .synced = own->synced,
        .total = channel->funds.total,
        .balance = closed ? amount_of(0) : clamp(channel_balance(channel, SIDE_CLIENT)),
        .available = usable ? clamp(channel_available(channel, SIDE_CLIENT)) : amount_of(0),
        .inbound = usable ? inbound_of(channel) : amount_of(0),
        .locked = channel->streams[SIDE_CLIENT].locked,
        .incoming = channel->streams[SIDE_HUB].locked,
        .frozen = stream_dropped(&channel->streams[SIDE_CLIENT])->frozen,
        .reserve = channel_reserve(channel),
        .unsecured = own->unsecured,
        .settling = settlement->phase == SETTLEMENT_SIGNED ? settlement->client_out : amount_of(0),
        .nonce_client = channel->streams[SIDE_CLIENT].proof.nonce,
        .nonce_hub = channel->streams[SIDE_HUB].proof.nonce,
        .blocked = own->blocked,
    };
}

bool wallet_channel_at(const struct wallet_core *core, size_t index, struct wallet_channel_view *out)
{
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (index-- == 0) {
            view_channel(own, out);
            return true;
        }
    }
    return false;
}

bool wallet_ending_at(const struct wallet_core *core, size_t index, struct wallet_ending_view *out)
{
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->ending.by == 0 || index-- > 0)
            continue;
        *out = (struct wallet_ending_view){.id = own->id,
                                           .asset = own->channel->key.asset,
                                           .by = (enum closed_by)own->ending.by,
                                           .time = own->ending.time,
                                           .to_client = own->ending.to_client,
                                           .penalty = own->ending.penalty,
                                           .done = !own->watch.active};
        return true;
    }
    return false;
}

bool wallet_close_is_busy(const struct wallet_core *core)
{
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->watch.active &&
            (!core->in_view || own->watch.step != WATCH_REST || own->watch.looked_head != core->head.number))
            return true;
    }
    return core->submissions != NULL;
}

bool wallet_channel_find(const struct wallet_core *core, const struct hash *id,
                         struct wallet_channel_view *out)
{
    const struct wallet_channel *own = wallet_channel_by_id(core, id);
    if (own != NULL)
        view_channel(own, out);
    return own != NULL;
}

bool wallet_channel_of(const struct wallet_core *core, const struct address *asset,
                       struct wallet_channel_view *out)
{
    const struct wallet_channel *own, *next, *best = NULL;
    HASH_ITER(hh, core->channels, own, next)
    {
        const struct channel *channel = own->channel;
        if (address_equal(&channel->key.asset, asset) && channel->funds.stage == STAGE_OPEN &&
            (best == NULL || channel->key.salt < best->channel->key.salt))
            best = own;
    }
    if (best != NULL)
        view_channel(best, out);
    return best != NULL;
}

uint64_t wallet_deposit_salt(const struct wallet_core *core, const struct address *asset)
{
    uint64_t lowest = 0;
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        const struct channel *channel = own->channel;
        if (!address_equal(&channel->key.asset, asset))
            continue;
        if (channel->funds.stage == STAGE_OPEN && !own->closing_seen && !channel->stopped)
            return channel->key.salt;
        if (channel->funds.stage != STAGE_NONE && channel->key.salt >= lowest)
            lowest = channel->key.salt + 1;
    }
    return lowest;
}

const struct terms *wallet_terms(const struct wallet_core *core)
{
    return core->has_terms ? &core->terms : NULL;
}

struct address wallet_address(const struct wallet_core *core)
{
    return core->self;
}

uint64_t wallet_ledger_time(const struct wallet_core *core)
{
    return core->in_view ? core->head.confirmed_time : 0;
}

/* A tower that is there and has not got, or not answered, the newest. */
static bool towers_are_busy(const struct wallet_core *core, const struct wallet_channel *own)
{
    for (size_t i = 0; i < core->options.tower_count; i++)
        if (core->tower_linked[i] && !own->towers[i].dismissed && own->blocked == NULL &&
            own->channel->streams[SIDE_HUB].proof.nonce > own->towers[i].receipt_nonce)
            return true;
    return false;
}

bool wallet_is_idle(const struct wallet_core *core)
{
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        const struct channel *channel = own->channel;
        if (own->waiting != NULL || own->due != NULL || own->refunds != NULL || own->repeats != NULL ||
            own->ack_due || own->reveal_count > 0 || towers_are_busy(core, own) ||
            channel->streams[SIDE_CLIENT].proof.nonce != channel->acknowledged)
            return false;
    }
    return true;
}

void wallet_history(const struct wallet_core *core, wallet_payment_visit *visit, void *context)
{
    const struct payment_out *out, *next_out;
    HASH_ITER(hh, core->outs, out, next_out)
    {
        struct payment_view view = wallet_payment_out_view(out);
        if (!visit(context, &view))
            return;
    }
    const struct payment_in *in, *next_in;
    HASH_ITER(hh, core->ins, in, next_in)
    {
        struct payment_view view = wallet_payment_in_view(in);
        if (!visit(context, &view))
            return;
    }
}

bool wallet_payment_find(const struct wallet_core *core, const struct payment_id *id,
                         struct payment_view *out)
{
    const struct payment_out *sent = wallet_payment_out_find(core, id);
    if (sent != NULL) {
        *out = wallet_payment_out_view(sent);
        return true;
    }
    const struct payment_in *in, *next;
    HASH_ITER(hh, core->ins, in, next)
    {
        if (payment_id_equal(&in->key.id, id)) {
            *out = wallet_payment_in_view(in);
            return true;
        }
    }
    return false;
}
