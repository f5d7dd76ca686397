#include "tests/drill/drill.h"

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* close_model.py, payout(): the amounts that are free, and those that back each stream's locks. */
static void payout(const struct channel_state *before, const struct claim *of_client,
                   const struct claim *of_hub, struct model *out)
{
    wide total = (wide)before->total.units;
    wide most = (wide)before->base - (wide)of_client->transferred.units - (wide)of_client->locked.units +
                (wide)of_hub->transferred.units + (wide)of_hub->locked.units;
    most = most < 0 ? 0 : most > total ? total : most;
    uint64_t max_client = (uint64_t)most, max_hub = (uint64_t)(total - most);
    out->held_client = at_most(of_client->locked.units, max_hub);
    out->held_hub = at_most(of_hub->locked.units, max_client);
    out->to_client = max_client - out->held_hub;
    out->to_hub = max_hub - out->held_client;
}

/* Of a stream that was shown, not merely claimed. */
static void drop_void_locks(struct claim *claim, bool shown, uint64_t min_nonce)
{
    if (shown && claim->nonce < min_nonce) {
        claim->locked = amount_of(0);
        claim->locks_root = HASH_ZERO;
    }
}

static uint64_t hidden_by(const struct claim *own, const struct claim *proof)
{
    uint64_t hidden = 0;
    if (proof->transferred.units > own->transferred.units)
        hidden = proof->transferred.units - own->transferred.units;
    return hash_equal(&proof->locks_root, &own->locks_root) ? hidden : hidden + proof->locked.units;
}

struct model model_of(const struct closing *closing, const struct channel_state *before, uint16_t bounty_bps,
                      const struct address *victim)
{
    struct model out = {0};
    struct claim of_client = closing->of_client, of_hub = closing->of_hub;
    drop_void_locks(&of_client, closing->by_hub || closing->challenged, closing->min_nonce_of_client);
    drop_void_locks(&of_hub, !closing->by_hub || closing->challenged, closing->min_nonce_of_hub);
    payout(before, &of_client, &of_hub, &out);
    if (!closing->fraud)
        return out;
    uint64_t *closers = closing->by_hub ? &out.to_hub : &out.to_client;
    uint64_t *victims = closing->by_hub ? &out.to_client : &out.to_hub;
    /* No drill takes more from the hub than its share of the channel, so the pool stays out of it. */
    out.penalty = at_most(hidden_by(&closing->own, closing->by_hub ? &of_hub : &of_client), *closers);
    if (!address_equal(&closing->tower, victim))
        out.bounty = out.penalty * bounty_bps / 10000;
    *closers -= out.penalty;
    *victims += out.penalty - out.bounty;
    return out;
}
