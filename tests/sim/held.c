/* At the end: what closed channels still hold for locks. */
#include "tests/sim/ending.h"
#include "wallet/core_state.h"

struct met {
    uint64_t units;        /* locks whose condition was registered in time: they pay the hub */
    uint64_t known_to_hub; /* of these, what an update that the hub has put there */
};

static struct met sum_met(const struct sim *sim, const struct lock_set *locks, const struct stream *at_hub)
{
    struct met met = {0};
    for (const struct pending_lock *at = lock_set_next(locks, 0); at != NULL;
         at = lock_set_next(locks, at->lock.id)) {
        uint64_t time = vault_registered(sim->chain.vault, at->lock.kind, &at->lock.condition);
        if (time == 0 || time > at->lock.expiry)
            continue;
        met.units += at->lock.amount.units;
        met.known_to_hub += at->lock.id <= at_hub->last_lock_id ? at->lock.amount.units : 0;
    }
    return met;
}

/* A client may close by an update that has not come to the hub. The hub does not know the locks under that root, and
 * cannot unlock those that are its own; by section 7 it challenges with its older proof, whose locks it could unlock,
 * only if that is worth more. So they may stay where they are, if all else of the stream's locks is taken and the claim
 * has given the hub no less than its own newest proof would have. */
static bool hub_cannot_prove(struct sim *sim, const struct sim_wallet *wallet, const struct hash *id,
                             uint64_t held)
{
    const struct wallet_channel *own = wallet_channel_by_id(wallet->core, id);
    const struct stream *at_hub = hub_stream_of_client(sim, wallet->party.index, id);
    struct closing closing = vault_closing(sim->chain.vault, id);
    if (own == NULL || at_hub == NULL || closing.by_hub || closing.challenged ||
        closing.of_client.nonce <= at_hub->proof.nonce)
        return false;
    channel_drop_draft(own->channel);
    struct lock_set *locks = channel_own_locks_at(own->channel, &closing.of_client.locks_root);
    if (locks == NULL)
        return false;
    struct met met = sum_met(sim, locks, at_hub);
    lock_set_free(locks);
    return held <= met.units &&
           at_hub->proof.transferred.units + met.known_to_hub <= closing.of_client.transferred.units;
}

/* Of a channel whose two sides are honest the ledger holds nothing, and of a cheat's nothing that is the hub's: it has
 * unlocked what it can know of. A cheat's own it leaves where it is. */
void ending_check_held(struct sim *sim)
{
    struct wallet_channel_view view;
    for (unsigned i = 0; i < sim->client_count && !sim->hub_cheats; i++) {
        const struct sim_wallet *wallet = &sim->wallets[i];
        for (size_t at = 0; wallet_channel_at(wallet->core, at, &view); at++) {
            uint64_t of_client = vault_held(sim->chain.vault, &view.id, true);
            uint64_t of_hub = vault_held(sim->chain.vault, &view.id, false);
            if (of_hub > 0 && wallet->cheats)
                sim_fail(sim, "a cheat's channel still holds %llu units of the hub's locks",
                         (unsigned long long)of_hub);
            if (!wallet->cheats &&
                (of_hub > 0 || (of_client > 0 && !hub_cannot_prove(sim, wallet, &view.id, of_client))))
                sim_fail(sim, "client %u's channel still holds %llu units of its locks, %llu of the hub's", i,
                         (unsigned long long)of_client, (unsigned long long)of_hub);
        }
    }
}
