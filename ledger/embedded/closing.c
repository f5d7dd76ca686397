#include "ledger/embedded/closing.h"

#include "base/ensure.h"

bool closing_is_fraud(const struct claim *chosen, const struct claim *own)
{
    if (chosen->nonce > own->nonce || chosen->transferred.units > own->transferred.units)
        return true;
    return chosen->nonce == own->nonce &&
           (chosen->transferred.units != own->transferred.units ||
            chosen->locked.units != own->locked.units || !hash_equal(&chosen->locks_root, &own->locks_root));
}

bool closing_claim_is_bad(const struct claim *own, wide own_base, struct amount partner_transferred)
{
    return (wide)own->transferred.units + own->locked.units > own_base + partner_transferred.units;
}

static bool is_shown(const struct closing *closing, enum side stream)
{
    bool is_closers = closing->by_hub == (stream == SIDE_HUB);
    return !is_closers || closing->challenged;
}

bool closing_is_void(const struct closing *closing, enum side stream)
{
    if (!is_shown(closing, stream))
        return false;
    return stream == SIDE_CLIENT ? closing->of_client.nonce < closing->min_nonce_of_client
                                 : closing->of_hub.nonce < closing->min_nonce_of_hub;
}

struct hash closing_root(const struct closing *closing, enum side stream)
{
    if (closing_is_void(closing, stream))
        return HASH_ZERO;
    return stream == SIDE_CLIENT ? closing->of_client.locks_root : closing->of_hub.locks_root;
}

static wide clamp(wide value, wide low, wide high)
{
    return value < low ? low : value > high ? high : value;
}

static wide least(wide a, wide b)
{
    return a < b ? a : b;
}

static struct amount narrow(wide value)
{
    /* Above AMOUNT_LIMIT only with what the pool adds to a channel's total: below 2^64. */
    ensure(value >= 0 && value <= (wide)UINT64_MAX);
    return amount_of((uint64_t)value);
}

/* What the closer left out of its claim, and the challenge brought back. */
static wide hidden_amount(const struct closing *closing)
{
    enum side closer = closing->by_hub ? SIDE_HUB : SIDE_CLIENT;
    const struct claim *chosen = closing->by_hub ? &closing->of_hub : &closing->of_client;
    wide hidden = (wide)chosen->transferred.units - closing->own.transferred.units;
    if (hidden < 0)
        hidden = 0;
    if (!hash_equal(&chosen->locks_root, &closing->own.locks_root) && !closing_is_void(closing, closer))
        hidden += chosen->locked.units;
    return hidden;
}

struct payout closing_settle(int64_t base, struct amount total, const struct closing *closing,
                             struct amount pool, uint16_t bounty_bps, bool tower_is_victim)
{
    wide locked_client = closing_is_void(closing, SIDE_CLIENT) ? 0 : (wide)closing->of_client.locked.units;
    wide locked_hub = closing_is_void(closing, SIDE_HUB) ? 0 : (wide)closing->of_hub.locked.units;
    wide most_client = (wide)base - closing->of_client.transferred.units - locked_client +
                       closing->of_hub.transferred.units + locked_hub;
    most_client = clamp(most_client, 0, (wide)total.units);
    wide most_hub = (wide)total.units - most_client;
    wide held_hub = least(most_client, locked_hub), held_client = least(most_hub, locked_client);
    wide free_client = most_client - held_hub, free_hub = most_hub - held_client;
    wide penalty = 0, bounty = 0, pool_pays = 0;
    if (closing->fraud) {
        wide hidden = hidden_amount(closing);
        wide *closers = closing->by_hub ? &free_hub : &free_client;
        wide *victims = closing->by_hub ? &free_client : &free_hub;
        penalty = least(hidden, *closers);
        *closers -= penalty;
        if (closing->by_hub)
            pool_pays = least(hidden - penalty, (wide)pool.units);
        penalty += pool_pays;
        bounty = tower_is_victim ? 0 : penalty * bounty_bps / 10000;
        *victims += penalty - bounty;
    }
    ensure(free_client + free_hub + held_client + held_hub + bounty == (wide)total.units + pool_pays);
    return (struct payout){narrow(free_client), narrow(free_hub), narrow(held_client), narrow(held_hub),
                           narrow(penalty),     narrow(bounty),   narrow(pool_pays)};
}
