/* Cheats. A client that cheats has an honest wallet, and somebody beside it who has its key, sees its traffic and may
 * send what he likes, keep back what he likes, and go to the ledger with what was true once. A hub that cheats is the
 * same: its engine is the real one, somebody beside it has its key.
 *
 *     cheat_remember ─▶ snapshots: what could have been claimed at that moment
 *     cheat_act ─▶ forge.c: updates that break a rule │ a close with a snapshot's claim │ silence
 *     after a close with old locks: secrets registered, locks unlocked
 */
#include "tests/sim/cheat.h"

#include "crypto/lock.h"
#include "tests/sim/observer.h"
#include "wallet/core_state.h"

#define SNAPSHOTS_MAX     24
#define SNAPSHOT_LOCKS    16
#define SALTS_TRIED       8
#define CLOSES_FROM_STEPS 2 /* part of a life after which a cheat may close: it has been honest until then */

/* What somebody could show of a channel at one time. */
struct sim_snapshot {
    struct channel_key key;
    struct hash channel;
    unsigned client;
    struct claim own;
    struct signed_proof partner;
    struct pending_lock locks[SNAPSHOT_LOCKS]; /* of the partner's proof */
    struct hash secrets[SNAPSHOT_LOCKS];
    bool is_known[SNAPSHOT_LOCKS], is_unlocked[SNAPSHOT_LOCKS], is_registered[SNAPSHOT_LOCKS];
    size_t lock_count;
    bool is_shown; /* a close with it has been sent */
};
struct sim_cheating {
    struct sim_snapshot snapshots[SNAPSHOTS_MAX];
    size_t count;
};

/* ---- remembering ---- */

static struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

static bool secret_of(const struct wallet_core *core, const struct hash *condition, struct hash *out)
{
    struct invoice_issued *invoice = wallet_invoice_find(core, condition);
    if (invoice == NULL)
        return false;
    wallet_invoice_secret(core, invoice->counter, out->bytes);
    return true;
}

static void remember_locks(const struct wallet_core *core, struct channel *channel, struct sim_snapshot *out)
{
    const struct lock_set *set = channel->streams[SIDE_HUB].locks;
    for (const struct pending_lock *lock = lock_set_next(set, 0);
         lock != NULL && out->lock_count < SNAPSHOT_LOCKS; lock = lock_set_next(set, lock->lock.id)) {
        out->is_known[out->lock_count] =
            secret_of(core, &lock->lock.condition, &out->secrets[out->lock_count]);
        out->locks[out->lock_count++] = *lock;
    }
}

static struct wallet_channel *some_channel(struct sim *sim, const struct wallet_core *core)
{
    size_t count = HASH_COUNT(core->channels);
    if (count == 0)
        return NULL;
    struct wallet_channel *own = core->channels;
    for (size_t skip = sim_roll(sim, count); skip > 0; skip--)
        own = own->hh.next;
    return own;
}

static bool remember(struct sim *sim, unsigned client, struct sim_snapshot *out)
{
    const struct wallet_core *core = sim->wallets[client].core;
    struct wallet_channel *own = core == NULL ? NULL : some_channel(sim, core);
    const struct sim_stream *stream = own == NULL ? NULL : observer_stream(sim, &own->id);
    if (stream == NULL)
        return false;
    enum side closer = sim->hub_cheats ? SIDE_HUB : SIDE_CLIENT;
    *out = (struct sim_snapshot){.key = own->channel->key,
                                 .channel = own->id,
                                 .client = client,
                                 .own = claim_of(&stream->left[closer].proof),
                                 .partner = stream->arrived[side_other(closer)]};
    if (closer == SIDE_CLIENT && own->channel->streams[SIDE_HUB].proof.nonce == out->partner.proof.nonce)
        remember_locks(core, own->channel, out);
    return true;
}

static struct sim_cheating *cheating(struct sim *sim)
{
    if (sim->cheating == NULL)
        sim->cheating = xcalloc(1, sizeof(*sim->cheating));
    return sim->cheating;
}

static bool has_known_locks(const struct sim_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->lock_count; i++)
        if (snapshot->is_known[i])
            return true;
    return false;
}

static int cheat_client(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->wallets[i].cheats)
            return (int)i;
    return -1;
}

void cheat_remember(struct sim *sim)
{
    int client = cheat_client(sim);
    if (client < 0 && !sim->hub_cheats)
        return;
    struct sim_cheating *all = cheating(sim);
    struct sim_snapshot made;
    if (!remember(sim, client < 0 ? (unsigned)sim_roll(sim, sim->client_count) : (unsigned)client, &made))
        return;
    if (sim_has(sim, CHEAT_OLD_LOCKS) && !has_known_locks(&made) && sim_roll(sim, 8) > 0)
        return; /* there is better to remember */
    size_t place = all->count < SNAPSHOTS_MAX ? all->count++ : sim_roll(sim, SNAPSHOTS_MAX);
    if (!all->snapshots[place].is_shown)
        all->snapshots[place] = made;
}

/* ---- closing ---- */

static void send_close(struct sim *sim, const struct address *from, struct sim_snapshot *snapshot)
{
    struct contract_call call = {.function = CONTRACT_START_CLOSE,
                                 .key = snapshot->key,
                                 .own = snapshot->own,
                                 .proof = snapshot->partner.proof,
                                 .signature = snapshot->partner.signature};
    chain_send_call(sim, from, 0, &call);
    snapshot->is_shown = true;
    sim_trace(sim, "a cheat closes client %u's channel with its update %llu and the other's %llu",
              snapshot->client, (unsigned long long)snapshot->own.nonce,
              (unsigned long long)snapshot->partner.proof.nonce);
}

static bool is_open(struct sim *sim, const struct sim_snapshot *snapshot)
{
    return !snapshot->is_shown && vault_channel(sim->chain.vault, &snapshot->channel).status == CHANNEL_OPEN;
}

static bool is_old(struct sim *sim, const struct sim_snapshot *snapshot)
{
    const struct sim_stream *stream = observer_stream(sim, &snapshot->channel);
    enum side closer = sim->hub_cheats ? SIDE_HUB : SIDE_CLIENT;
    return snapshot->own.nonce < stream->left[closer].proof.nonce;
}

/* The cheat's wallet must not get in its way. It stays as it was, for the books at the end. */
static void leave(struct sim *sim, struct sim_wallet *wallet)
{
    wallet->is_gone = true;
    if (!wallet->party.is_up)
        return;
    wallet->party.is_up = false;
    node_free(&wallet->party.node);
    for (size_t i = sim->link_count; i-- > 0;)
        if (sim->links[i]->kind != LINK_HUB_TOWER && sim->links[i]->client == wallet->party.index)
            net_client_gone(sim, sim->links[i]);
}

/* One of the locks has been dropped since, and could still be claimed if it had not. */
static bool has_dropped_locks(struct sim *sim, const struct sim_snapshot *snapshot)
{
    const struct wallet_channel *own =
        wallet_channel_by_id(sim->wallets[snapshot->client].core, &snapshot->channel);
    for (size_t i = 0; own != NULL && i < snapshot->lock_count; i++) {
        const struct lock *lock = &snapshot->locks[i].lock;
        const struct payment_in *payment = wallet_payment_in_find(
            sim->wallets[snapshot->client].core, &snapshot->channel, &snapshot->locks[i].payment);
        bool is_over = payment == NULL || payment->state == IN_DROPPED || payment->state == IN_REJECTED;
        if (snapshot->is_known[i] && is_over &&
            lock_set_find(own->channel->streams[SIDE_HUB].locks, lock->id) == NULL &&
            chain_tip(sim)->time + 100 < lock->expiry)
            return true;
    }
    return false;
}

static struct sim_snapshot *choose(struct sim *sim, enum sim_fault how)
{
    struct sim_cheating *all = cheating(sim);
    for (size_t tries = 0; tries < 2 * all->count; tries++) {
        struct sim_snapshot *snapshot = &all->snapshots[sim_roll(sim, all->count)];
        if (!is_open(sim, snapshot))
            continue;
        if (how == CHEAT_OLD_LOCKS ? has_dropped_locks(sim, snapshot) : is_old(sim, snapshot))
            return snapshot;
    }
    return NULL;
}

/* Its own newest claim beside the hub's old one: what it hides is not its own stream, and no fraud. */
static void with_newest_own(struct sim *sim, struct sim_snapshot *snapshot)
{
    const struct sim_stream *stream = observer_stream(sim, &snapshot->channel);
    snapshot->own = claim_of(&stream->left[SIDE_CLIENT].proof);
}

static bool client_closes(struct sim *sim, struct sim_wallet *wallet, enum sim_fault how)
{
    struct sim_snapshot *snapshot = choose(sim, how);
    bool is_early =
        how == CHEAT_OLD_CLAIM && sim->step * CLOSES_FROM_STEPS < sim->steps; /* dropped locks expire */
    if (snapshot == NULL || is_early || wallet->is_gone)
        return false;
    if (how == CHEAT_OLD_LOCKS)
        with_newest_own(sim, snapshot);
    leave(sim, wallet);
    send_close(sim, &wallet->party.address, snapshot);
    return true;
}

static bool visit_open(void *context, const struct payment_view *view)
{
    bool *is_quiet = context;
    bool over = view->outgoing
                    ? view->state == OUT_PAID || view->state == OUT_FAILED || view->state == OUT_LOST
                    : view->state == IN_RECEIVED || view->state == IN_REFUNDED || view->state == IN_DROPPED;
    *is_quiet = *is_quiet && over;
    return *is_quiet;
}

/* A tower that is awake has given a receipt for the hub's newest update. */
static bool is_watched(const struct sim_wallet *wallet, const struct wallet_channel *own)
{
    uint64_t nonce = own->channel->streams[SIDE_HUB].proof.nonce;
    for (unsigned i = 0; i < wallet->tower_count; i++)
        if (wallet_tower_receipt(wallet->core, i, &own->channel->id) == nonce)
            return wallet->sim->towers[wallet->towers[i]].party.is_up;
    return false;
}

/* Nothing is under way, and all that it has is watched, since the hub may close its other channels too: it may sleep. */
static bool may_sleep(const struct sim_wallet *wallet, const struct hash *id)
{
    bool is_quiet = true;
    if (!wallet->party.is_up)
        return false;
    wallet_history(wallet->core, visit_open, &is_quiet);
    for (const struct wallet_channel *own = wallet->core->channels; own != NULL && is_quiet;
         own = own->hh.next)
        if (own->channel->funds.stage == STAGE_OPEN && own->channel->streams[SIDE_HUB].proof.nonce > 0)
            is_quiet = is_watched(wallet, own);
    const struct wallet_channel *own = wallet_channel_by_id(wallet->core, id);
    return is_quiet && own != NULL && own->channel->streams[SIDE_HUB].proof.nonce > 0;
}

static void fall_asleep(struct sim *sim, const struct sim_snapshot *snapshot)
{
    struct sim_wallet *wallet = &sim->wallets[snapshot->client];
    if (!sim_has(sim, FAULT_ASLEEP) || !may_sleep(wallet, &snapshot->channel))
        return;
    sim_count(sim, FAULT_ASLEEP);
    memory_journal_sync(wallet->disk.journal,
                        memory_journal_appended(wallet->disk.journal)); /* in good order */
    wallet_crash(wallet);
    wallet->is_asleep = true;
    wallet->sleeps_for = snapshot->channel;
}

/* If it can, on somebody who may sleep. */
static struct sim_snapshot *choose_victim(struct sim *sim)
{
    struct sim_snapshot *snapshot = choose(sim, HUB_OLD_CLAIM);
    for (unsigned tries = 0; sim_has(sim, FAULT_ASLEEP) && snapshot != NULL && tries < 40; tries++) {
        if (may_sleep(&sim->wallets[snapshot->client], &snapshot->channel))
            return snapshot;
        snapshot = choose(sim, HUB_OLD_CLAIM);
    }
    return snapshot;
}

static bool hub_closes(struct sim *sim)
{
    struct sim_snapshot *snapshot = choose_victim(sim);
    if (snapshot == NULL || sim->step * (CLOSES_FROM_STEPS + 1) < sim->steps)
        return false;
    send_close(sim, &sim->hub.party.address, snapshot);
    fall_asleep(sim, snapshot);
    return true;
}

/* ---- after a close ---- */

static void register_secrets(struct sim *sim, struct sim_snapshot *snapshot)
{
    const struct address *from = &sim->wallets[snapshot->client].party.address;
    uint64_t now = chain_tip(sim)->time;
    for (size_t i = 0; i < snapshot->lock_count; i++) {
        if (!snapshot->is_known[i] || snapshot->is_registered[i] || now > snapshot->locks[i].lock.expiry)
            continue;
        snapshot->is_registered[i] = true;
        struct contract_call call = {.function = CONTRACT_REGISTER_SECRET, .hash = snapshot->secrets[i]};
        chain_send_call(sim, from, 0, &call);
    }
}

static void unlock_all(struct sim *sim, struct sim_snapshot *snapshot)
{
    struct lock_set *set = lock_set_new();
    struct hash merkle[LOCK_TREE_DEPTH];
    for (size_t i = 0; i < snapshot->lock_count; i++)
        ensure(lock_set_add(set, &snapshot->locks[i]));
    for (size_t i = 0; i < snapshot->lock_count; i++) {
        size_t length = 0;
        if (snapshot->is_unlocked[i] || !lock_set_prove(set, snapshot->locks[i].lock.id, merkle, &length))
            continue;
        snapshot->is_unlocked[i] = true;
        struct contract_call call = {.function = CONTRACT_UNLOCK,
                                     .key = snapshot->key,
                                     .flag = false,
                                     .lock = snapshot->locks[i].lock,
                                     .merkle = merkle,
                                     .merkle_count = length};
        chain_send_call(sim, &sim->wallets[snapshot->client].party.address, 0, &call);
    }
    lock_set_free(set);
}

void cheat_continue(struct sim *sim)
{
    for (size_t i = 0; sim->cheating != NULL && !sim->hub_cheats && i < sim->cheating->count; i++) {
        struct sim_snapshot *snapshot = &sim->cheating->snapshots[i];
        uint8_t status = vault_channel(sim->chain.vault, &snapshot->channel).status;
        if (snapshot->is_shown && status == CHANNEL_CLOSING)
            register_secrets(sim, snapshot);
        else if (snapshot->is_shown && status == CHANNEL_CLOSED)
            unlock_all(sim, snapshot);
    }
}

/* ---- when it strikes ---- */

static void client_acts(struct sim *sim, struct sim_wallet *wallet)
{
    enum sim_fault how = (enum sim_fault)(CHEAT_OLD_CLAIM + sim_roll(sim, 4));
    if (sim_has(sim, CHEAT_OLD_LOCKS) && sim_roll(sim, 2) == 0)
        how = CHEAT_OLD_LOCKS; /* the opportunity that passes soonest */
    if (!sim_has(sim, how) || wallet->core == NULL || wallet->is_gone)
        return;
    if ((how == CHEAT_OLD_CLAIM || how == CHEAT_OLD_LOCKS) && client_closes(sim, wallet, how))
        sim_count(sim, how);
    else if (how == CHEAT_GARBAGE && forge_by_client(sim, wallet))
        sim_count(sim, how);
}

static void hub_acts(struct sim *sim)
{
    enum sim_fault how = (enum sim_fault)(HUB_OLD_CLAIM + sim_roll(sim, 4));
    if (!sim_has(sim, how))
        return;
    if (how == HUB_OLD_CLAIM && hub_closes(sim)) {
        sim_count(sim, how);
    } else if ((how == HUB_EQUIVOCATES || how == HUB_GARBAGE) && forge_by_hub(sim, how)) {
        sim_count(sim, how);
    } else if (how == HUB_WITHHOLDS && sim->step * 2 > sim->steps && sim->hub.party.is_up &&
               sim_roll(sim, 5) == 0) {
        sim_count(sim, how);
        sim_trace(sim, "the hub falls silent for ever");
        sim->hub_is_silent = true;
        hub_crash(sim);
    }
}

void cheat_act(struct sim *sim)
{
    int client = cheat_client(sim);
    if (client >= 0)
        client_acts(sim, &sim->wallets[client]);
    else if (sim->hub_cheats)
        hub_acts(sim);
}

/* What a cheat's program wants to say and somebody keeps back. */
bool cheat_passes(struct sim *sim, struct sim_link *link, bool to_server, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    if (link->kind != LINK_HUB)
        return true;
    bool client = to_server && sim->wallets[link->client].cheats && sim_has(sim, CHEAT_WITHHOLD);
    bool hub = !to_server && sim_has(sim, HUB_WITHHOLDS);
    if (!client && !hub)
        return true;
    ensure(message_decode(sim->decoder, frame + 4, length - 4, &message, &why) == CODE_OK);
    if (client && (message.type == MESSAGE_REVEAL || message.type == MESSAGE_REVOKE) &&
        sim_roll(sim, 3) > 0) {
        sim_count(sim, CHEAT_WITHHOLD);
        return false;
    }
    if (hub && message.type != MESSAGE_WELCOME && sim_roll(sim, 25) == 0) {
        sim_count(sim, HUB_WITHHOLDS);
        return false;
    }
    return true;
}

static void close_newest(struct sim *sim, unsigned client, const struct channel_key *key)
{
    struct sim_snapshot newest = {.key = *key, .channel = channel_id(key), .client = client};
    const struct sim_stream *stream = observer_stream(sim, &newest.channel);
    if (stream != NULL) {
        newest.own = claim_of(&stream->left[SIDE_CLIENT].proof);
        newest.partner = stream->arrived[SIDE_HUB];
    }
    if (is_open(sim, &newest))
        send_close(sim, &sim->wallets[client].party.address, &newest);
}

/* A cheat that is gone left channels open: it closes them with what it has. */
void cheat_at_end(struct sim *sim)
{
    for (size_t i = 0; sim->cheating != NULL && i < sim->cheating->count; i++) {
        struct sim_snapshot *snapshot = &sim->cheating->snapshots[i];
        if (!sim->hub_cheats && sim->wallets[snapshot->client].is_gone && is_open(sim, snapshot))
            send_close(sim, &sim->wallets[snapshot->client].party.address, snapshot);
    }
    int client = cheat_client(sim);
    if (client < 0 || !sim->wallets[client].is_gone)
        return;
    for (unsigned asset = 0; asset < sim->asset_count; asset++)
        for (uint64_t salt = 0; salt < SALTS_TRIED; salt++)
            close_newest(sim, (unsigned)client,
                         &(struct channel_key){sim->wallets[client].party.address, sim->assets[asset], salt});
}

void cheat_free(struct sim *sim)
{
    free(sim->cheating);
}
