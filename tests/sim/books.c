/* At the end: each wallet's history against the other's, what users were told against both, and the sums of all of it
 * against what the ledger has paid out. */
#include "crypto/lock.h"
#include "tests/sim/ending.h"
#include "wallet/core_state.h"

struct entry {
    unsigned client;
    struct payment_view view;
};
struct books {
    struct sim *sim;
    struct entry *entries;
    size_t count, capacity;
    unsigned client;                             /* whose history is being read */
    wide shown[SIM_CLIENTS_MAX][SIM_ASSETS_MAX]; /* paid for, though the payee's own books do not say so */
};

static bool visit(void *context, const struct payment_view *view)
{
    struct books *books = context;
    if (books->count == books->capacity) {
        books->capacity = books->capacity == 0 ? 256 : 2 * books->capacity;
        books->entries = xrealloc(books->entries, books->capacity * sizeof(*books->entries));
    }
    books->entries[books->count++] = (struct entry){books->client, *view};
    return true;
}

static const struct entry *find_in(const struct books *books, unsigned client, const struct payment_id *id)
{
    for (size_t i = 0; i < books->count; i++)
        if (!books->entries[i].view.outgoing && books->entries[i].client == client &&
            payment_id_equal(&books->entries[i].view.id, id))
            return &books->entries[i];
    return NULL;
}

static const struct entry *find_out(const struct books *books, unsigned client, const struct payment_id *id)
{
    for (size_t i = 0; i < books->count; i++)
        if (books->entries[i].view.outgoing && books->entries[i].client == client &&
            payment_id_equal(&books->entries[i].view.id, id))
            return &books->entries[i];
    return NULL;
}

static bool is_honest(const struct sim *sim, unsigned client)
{
    return !sim->wallets[client].cheats;
}

static bool has_receipt(const struct payment_view *view)
{
    return view->state == OUT_PAID ||
           view->state == OUT_UNLOCKING; /* unlocking: the channel closed before it could */
}

static bool visit_lost(void *context, const struct payment_view *view)
{
    uint64_t *lost = context;
    *lost += view->outgoing && (view->state == OUT_LOST || view->state == OUT_DIRECT);
    return true;
}

uint64_t ending_lost(const struct sim *sim)
{
    uint64_t lost = 0;
    for (unsigned i = 0; i < sim->client_count; i++)
        if (!sim->wallets[i].is_gone)
            wallet_history(sim->wallets[i].core, visit_lost, &lost);
        else
            lost += SIM_PAYMENTS_MAX; /* nobody knows what a cheat that is gone had under way */
    return lost;
}

/* ---- payment by payment ---- */

static void check_payment(struct sim *sim, struct books *books, const struct sim_payment *payment)
{
    const struct entry *out = find_out(books, payment->payer, &payment->id), *in = NULL;
    unsigned long long amount = payment->amount;
    if (out != NULL) {
        struct payment_id id = payment_id_of_payee(&out->view.channel, &payment->id);
        in = find_in(books, payment->payee, &id);
    }
    bool paid = out != NULL && has_receipt(&out->view);
    bool received = in != NULL && in->view.state == IN_RECEIVED;
    sim_trace(sim, "payment of %llu%s, expiry %lld, code %llu, %u to %u: payer %s, payee %s", amount,
              out != NULL && out->view.locked ? ", locked" : "",
              out == NULL ? 0 : (long long)out->view.expiry - (long long)SIM_START_S,
              out == NULL ? 0 : (unsigned long long)out->view.code, payment->payer, payment->payee,
              out == NULL ? "knows nothing" : payment_out_state_name((enum payment_out_state)out->view.state),
              in == NULL ? "knows nothing" : payment_in_state_name((enum payment_in_state)in->view.state));
    /* Refused, or not even taken, then claimed on the ledger: it is paid for. */
    bool is_booked = received || (in != NULL && in->view.state == IN_REVEALED);
    if (!is_honest(sim, payment->payee) && paid && !is_booked)
        books->shown[payment->payee][payment->asset] += (wide)payment->amount;
    if (!is_honest(sim, payment->payer) || !is_honest(sim, payment->payee))
        return;
    /* A hub that falls silent leaves its claim where it is: then the payer has the receipt and its money. */
    if (payment->told_paid && !paid && !sim->hub_cheats)
        sim_fail(sim, "client %u had the receipt of %llu units, and now has not", payment->payer, amount);
    if (payment->is_wrong && (paid || received))
        sim_fail(sim, "a payment of %llu units that nobody asked for was received", amount);
    if (paid && !received && sim->hub_cheats && in != NULL && in->view.state == IN_REVEALED)
        books->shown[payment->payee][payment->asset] += (wide)payment->amount;
    else if (paid && !received)
        sim_fail(sim, "client %u has paid %llu units and has the receipt, client %u has nothing",
                 payment->payer, amount, payment->payee);
    if (received && out->view.state == OUT_FAILED && !sim->hub_cheats)
        sim_fail(sim, "client %u has received %llu units that client %u has got back", payment->payee, amount,
                 payment->payer);
    if (paid)
        sim_did(sim, out->view.locked ? DEED_LOCKED : DEED_DIRECT);
    else if (out != NULL && out->view.state == OUT_FAILED)
        sim_did(sim, DEED_FAILED);
    if (in != NULL && in->view.state == IN_REFUNDED)
        sim_did(sim, DEED_REFUND);
}

static void check_received(struct sim *sim, const struct books *books)
{
    for (size_t i = 0; i < sim->received_count; i++) {
        const struct entry *in = find_in(books, sim->received[i].client, &sim->received[i].id);
        if (is_honest(sim, sim->received[i].client) && (in == NULL || in->view.state != IN_RECEIVED))
            sim_fail(sim, "client %u was told of money that it does not have any more",
                     sim->received[i].client);
    }
}

/* ---- the sums ---- */

struct sums {
    wide paid, at_risk, received, may_receive; /* fees included in what was paid */
};

static struct sums sums_of(const struct books *books, unsigned client, const struct address *asset)
{
    struct sums sums = {0};
    for (size_t i = 0; i < books->count; i++) {
        const struct payment_view *view = &books->entries[i].view;
        if (books->entries[i].client != client || !address_equal(&view->asset, asset))
            continue;
        wide both = (wide)view->amount.units + (wide)view->fee.units;
        if (view->outgoing && view->state == OUT_PAID)
            sums.paid += both;
        else if (view->outgoing &&
                 (view->state == OUT_LOST || view->state == OUT_DIRECT || view->state == OUT_UNLOCKING))
            sums.at_risk += both;
        else if (!view->outgoing && view->state == IN_RECEIVED)
            sums.received += (wide)view->amount.units;
        else if (!view->outgoing && view->state == IN_REVEALED)
            sums.may_receive += (wide)view->amount.units;
    }
    return sums;
}

static wide has_now(const struct sim *sim, const struct address *who, unsigned asset)
{
    return (wide)vault_units(sim->chain.vault, who, &sim->assets[asset]) +
           (wide)vault_owed(sim->chain.vault, who, &sim->assets[asset]);
}

/* Locks of its own that it dropped, that a hub which cheats never revoked, and brought back by an old proof: they are its
 * own, but it has not kept what would prove them (docs/reliability.md, what is open). */
static wide held_back(const struct sim *sim, const struct sim_wallet *wallet, unsigned asset)
{
    struct wallet_channel_view view;
    wide held = 0;
    for (size_t i = 0; sim->hub_cheats && wallet_channel_at(wallet->core, i, &view); i++)
        if (address_equal(&view.key.asset, &sim->assets[asset]))
            held += (wide)vault_held(sim->chain.vault, &view.id, true);
    return held;
}

static wide more_than_zero(wide difference)
{
    return difference > 0 ? difference : 0;
}

/* Locks that the client dropped after the update that the hub closed with: they stood in it, and went to whom the ledger
 * says. What was unlocked has its update for its carrier, and a lock that was dropped the one that made it. */
static wide dropped_since(const struct sim_wallet *wallet, const struct hash *channel, uint64_t nonce)
{
    const struct payment_out *payment, *next;
    wide sum = 0;
    HASH_ITER(hh, wallet->core->outs, payment, next)
    {
        if (hash_equal(&payment->channel->id, channel) && payment->drop_nonce > nonce &&
            payment->carrier.nonce != payment->drop_nonce)
            sum += (wide)payment->amount.units + (wide)payment->fee.units;
    }
    return sum;
}

/* Payments that the client meant to send back when a close began on the ledger: from then on it signs nothing, and only
 * its own refund would take them from it. Their payers have them among what was at risk. */
static wide not_sent_back(const struct sim_wallet *wallet, const struct wallet_channel *own)
{
    const struct payment_in *payment, *next;
    wide sum = 0;
    HASH_ITER(hh, wallet->core->ins, payment, next)
    {
        if (payment->channel != own)
            continue;
        sum += (wide)payment->repeated.units;
        sum += payment->state == IN_REFUND_DUE ? (wide)payment->amount.units : 0;
    }
    return sum;
}

/* What was signed and had not arrived when the operator closed a channel. What the client says that it has passed on it
 * has still; what the hub had passed on is its own, though its books do not know of it. */
static wide under_way(const struct sim_wallet *wallet, const struct wallet_channel *own,
                      const struct closing *closing)
{
    const struct balance_proof *mine = &own->channel->streams[SIDE_CLIENT].proof;
    const struct balance_proof *hubs = &own->channel->streams[SIDE_HUB].proof;
    wide client_passed = (wide)mine->transferred.units + (wide)mine->locked.units +
                         dropped_since(wallet, &own->id, closing->of_client.nonce);
    wide hub_passed = (wide)closing->of_hub.transferred.units + (wide)closing->of_hub.locked.units;
    return more_than_zero(client_passed - (wide)closing->of_client.transferred.units -
                          (wide)closing->of_client.locked.units) +
           more_than_zero(hub_passed - (wide)hubs->transferred.units - (wide)hubs->locked.units);
}

/* More than a client's books say that it has, because a channel was closed on the ledger before they were true. */
static wide kept_by_closes(const struct sim *sim, const struct sim_wallet *wallet, unsigned asset)
{
    struct wallet_channel_view view;
    wide sum = 0;
    for (size_t i = 0; wallet_channel_at(wallet->core, i, &view); i++) {
        struct closing closing = vault_closing(sim->chain.vault, &view.id);
        const struct wallet_channel *own = wallet_channel_by_id(wallet->core, &view.id);
        if (closing.deadline == 0 || !address_equal(&view.key.asset, &sim->assets[asset]))
            continue;
        sum += not_sent_back(wallet, own) + (closing.by_hub ? under_way(wallet, own, &closing) : 0);
    }
    return sum;
}

static void check_client(struct sim *sim, const struct books *books, unsigned client, unsigned asset)
{
    const struct sim_wallet *wallet = &sim->wallets[client];
    struct sums sums = sums_of(books, client, &sim->assets[asset]);
    wide began = (wide)wallet->funded[asset], has = has_now(sim, &wallet->party.address, asset);
    wide due = began - sums.paid - sums.at_risk + sums.received + books->shown[client][asset];
    wide kept = kept_by_closes(sim, wallet, asset);
    sim_trace(sim,
              "client %u, asset %u: began %lld, paid %lld, at risk %lld, received %lld, kept %lld, has %lld",
              client, asset, (long long)began, (long long)sums.paid, (long long)sums.at_risk,
              (long long)sums.received, (long long)kept, (long long)has);
    if (wallet->cheats) {
        wide most = began - sums.paid + sums.received + sums.may_receive + books->shown[client][asset] + kept;
        if (has > most)
            sim_fail(sim, "cheating pays: client %u has %lld units of asset %u, and %lld at most are its own",
                     client, (long long)has, asset, (long long)most);
        return;
    }
    if (has + held_back(sim, wallet, asset) < due)
        sim_fail(sim, "client %u has %lld units of asset %u, and %lld are its own", client, (long long)has,
                 asset, (long long)due);
    /* What it has written off may have come back, into another channel. */
    if (has > due + sums.at_risk + kept && !sim->hub_cheats)
        sim_fail(sim, "client %u has %lld units of asset %u, and %lld at most are its own: the hub has lost",
                 client, (long long)has, asset, (long long)(due + sums.at_risk + kept));
}

static void check_audit(struct sim *sim)
{
    const char *wrong = vault_audit(sim->chain.vault);
    if (wrong != NULL)
        sim_fail(sim, "the ledger's books: %s", wrong);
}

void ending_check_books(struct sim *sim)
{
    struct books books = {.sim = sim};
    for (unsigned i = 0; i < sim->client_count; i++) {
        books.client = i;
        if (sim->wallets[i].core != NULL)
            wallet_history(sim->wallets[i].core, visit, &books);
    }
    check_audit(sim);
    for (size_t i = 0; i < sim->payment_count; i++)
        check_payment(sim, &books, &sim->payments[i]);
    check_received(sim, &books);
    for (unsigned i = 0; i < sim->client_count; i++)
        for (unsigned asset = 0; asset < sim->asset_count; asset++)
            check_client(sim, &books, i, asset);
    free(books.entries);
}
