/* Payouts that the wallet asks for by itself: a policy per asset (payout_policy.h), kept in the journal.
 *
 * What it asks for is a wish like the user's own (core_settle.c), so it survives a crash. A wish of a policy that came
 * to nothing (the hub refused it, or it was never settled) is asked for anew after a pause.
 */
#include "wallet/core_state.h"

#define PAYOUT_AGAIN_MS 60000

static struct payout_of_asset *find(const struct wallet_core *core, const struct address *asset)
{
    struct payout_of_asset *at;
    DL_FOREACH(core->payouts, at)
    {
        if (address_equal(&at->asset, asset))
            return at;
    }
    return NULL;
}

struct payout_of_asset *wallet_payout_slot(struct wallet_core *core, const struct address *asset)
{
    struct payout_of_asset *at = find(core, asset);
    if (at != NULL || core->payout_count == WALLET_CHANNELS_MAX)
        return at;
    at = xcalloc(1, sizeof(*at));
    at->asset = *asset;
    DL_APPEND(core->payouts, at);
    core->payout_count++;
    return at;
}

void wallet_payouts_free(struct wallet_core *core)
{
    struct payout_of_asset *at, *next;
    DL_FOREACH_SAFE(core->payouts, at, next)
    {
        free(at);
    }
}

enum code wallet_set_payout_policy(struct wallet_core *core, const struct address *asset,
                                   const struct payout_policy *policy, uint64_t unix_s)
{
    if (payout_policy_trouble(policy) != NULL)
        return CODE_AMOUNT;
    struct payout_of_asset *of_asset = wallet_payout_slot(core, asset);
    if (of_asset == NULL)
        return CODE_LIMIT;
    /* A program that sets its policy at every start does not lose the day's payout by that. */
    bool same_moments = of_asset->policy.mode == policy->mode && of_asset->policy.minute == policy->minute;
    uint64_t done_s = same_moments ? of_asset->policy.done_s : unix_s;
    of_asset->policy = *policy;
    of_asset->policy.done_s = done_s;
    of_asset->not_before_ms = 0;
    wallet_disk_write_payout(core, of_asset);
    return CODE_OK;
}

bool wallet_payout_policy(const struct wallet_core *core, const struct address *asset,
                          struct payout_policy *out)
{
    const struct payout_of_asset *of_asset = find(core, asset);
    *out = of_asset != NULL ? of_asset->policy : (struct payout_policy){.mode = PAYOUT_MANUAL};
    return of_asset != NULL;
}

void wallet_payout_failed(struct wallet_core *core, const struct wallet_channel *own)
{
    struct payout_of_asset *of_asset = find(core, &own->channel->key.asset);
    if (of_asset == NULL)
        return;
    of_asset->not_before_ms = core->now_ms + PAYOUT_AGAIN_MS;
    /* The day's moment is due again. */
    uint64_t moment = payout_policy_moment(&of_asset->policy, core->unix_s);
    if (moment > 0 && of_asset->policy.done_s >= moment) {
        of_asset->policy.done_s = moment - 1;
        wallet_disk_write_payout(core, of_asset);
    }
}

static bool pays_out(const struct payout_of_asset *of_asset, const struct wallet_channel *own)
{
    return address_equal(&own->channel->key.asset, &of_asset->asset) && own->synced && !own->dispute &&
           wallet_channel_live(own);
}

/* Something is asked for already: a second wish has to wait for its end. */
static bool is_any_busy(struct wallet_core *core, const struct payout_of_asset *of_asset)
{
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (pays_out(of_asset, own) && own->wish.active)
            return true;
    }
    return false;
}

static void ask(struct wallet_core *core, struct payout_of_asset *of_asset)
{
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (!pays_out(of_asset, own))
            continue;
        wide available = channel_available(own->channel, SIDE_CLIENT);
        struct amount amount =
            payout_policy_amount(&of_asset->policy, amount_of(available > 0 ? (uint64_t)available : 0));
        if (!amount_is_zero(amount) && wallet_withdraw(core, &own->id, amount) == CODE_OK)
            own->wish.by_policy = true;
    }
}

static void run(struct wallet_core *core, struct payout_of_asset *of_asset)
{
    struct payout_policy *policy = &of_asset->policy;
    if (policy->mode == PAYOUT_DAILY) {
        uint64_t next_s = payout_policy_moment(policy, core->unix_s) + 86400;
        wallet_due(core, core->now_ms + (next_s - core->unix_s) * 1000);
    }
    if (!payout_policy_is_due(policy, core->unix_s) || is_any_busy(core, of_asset))
        return;
    if (core->now_ms < of_asset->not_before_ms) {
        wallet_due(core, of_asset->not_before_ms);
        return;
    }
    ask(core, of_asset);
    if (policy->mode == PAYOUT_DAILY) {
        policy->done_s = payout_policy_moment(policy, core->unix_s);
        wallet_disk_write_payout(core, of_asset);
    }
}

void wallet_payouts_run(struct wallet_core *core)
{
    if (!wallet_is_ready(core))
        return; /* what is available is not known well before */
    struct payout_of_asset *at;
    DL_FOREACH(core->payouts, at)
    {
        run(core, at);
    }
}
