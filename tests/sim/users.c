/* What people do: invoices, payments right and wrong, payouts, deposits, closes. */
#include "tests/sim/sim.h"

struct sim_payment *payment_by_id(struct sim *sim, unsigned payer, const struct payment_id *id)
{
    for (size_t i = 0; i < sim->payment_count; i++)
        if (sim->payments[i].payer == payer && payment_id_equal(&sim->payments[i].id, id))
            return &sim->payments[i];
    return NULL;
}

/* ---- what a wallet tells its user, which it may never take back ---- */

static void told_received(struct sim *sim, unsigned client, const struct payment_id *id)
{
    for (size_t i = 0; i < sim->received_count; i++)
        if (sim->received[i].client == client && payment_id_equal(&sim->received[i].id, id))
            return;
    if (sim->received_count == sim->received_capacity) {
        sim->received_capacity = sim->received_capacity == 0 ? 64 : 2 * sim->received_capacity;
        sim->received = xrealloc(sim->received, sim->received_capacity * sizeof(*sim->received));
    }
    sim->received[sim->received_count++] = (struct sim_received){client, *id};
}

void user_told(struct sim_wallet *wallet, const struct deferred *news)
{
    struct sim *sim = wallet->sim;
    struct sim_payment *payment = payment_by_id(sim, wallet->party.index, &news->payment);
    if (news->news == WALLET_NEWS_RECEIVED) {
        told_received(sim, wallet->party.index, &news->payment);
    } else if (payment == NULL) {
        return;
    } else if (news->news == WALLET_NEWS_PAID) {
        /* Only a payee that cheats refuses a lock and then registers its secret; and nothing in time comes too late. */
        bool may_be = !payment->told_expired && (sim->wallets[payment->payee].cheats || sim->hub_cheats);
        if (payment->told_failed && !may_be)
            sim_fail(sim, "wallet %u says paid of a payment of which it said that it failed",
                     wallet->party.index);
        payment->told_paid = true;
    } else if (news->news == WALLET_NEWS_FAILED) {
        if (payment->told_paid)
            sim_fail(sim, "wallet %u says failed of a payment of which it has the receipt",
                     wallet->party.index);
        payment->told_failed = true;
        payment->told_expired = payment->told_expired || news->code == CODE_EXPIRED;
    }
}

/* ---- channels ---- */

static void deposit(struct sim *sim, struct sim_wallet *wallet, unsigned asset)
{
    const struct address *token = &sim->assets[asset];
    uint64_t amount = 100 + sim_roll(sim, 5000);
    struct contract_call call = {
        .function = CONTRACT_DEPOSIT,
        .key = {wallet->party.address, *token, wallet_deposit_salt(wallet->core, token)},
        .amount = {amount}};
    sim_trace(sim, "user %u deposits %llu", wallet->party.index, (unsigned long long)amount);
    chain_send_call(sim, &wallet->party.address,
                    address_is_zero(token) ? (unsigned_wide)VAULT_COIN_UNIT * amount : 0, &call);
}

static void ask_room(struct sim *sim, struct sim_wallet *wallet, unsigned asset)
{
    wallet->run_wanted = true;
    (void)!wallet_open_request(wallet->core, &sim->assets[asset], amount_of(100 + sim_roll(sim, 5000)));
}

/* The last one is closed. */
static void open_another(struct sim *sim, struct sim_wallet *wallet, unsigned asset)
{
    if (sim_roll(sim, 2) == 0)
        deposit(sim, wallet, asset);
    else
        ask_room(sim, wallet, asset);
}

/* ---- payments ---- */

static uint64_t some_amount(struct sim *sim)
{
    switch (sim_roll(sim, 4)) {
    case 0:
        return 1 + sim_roll(sim, 20);
    case 1:
        return 1 + sim_roll(sim, 4000);
    default:
        return 1 + sim_roll(sim, 400);
    }
}

/* All that the payer has, or all that the payee can take, or one more. */
static uint64_t edge_amount(struct sim *sim, const struct sim_wallet *payer, const struct sim_wallet *payee,
                            unsigned asset)
{
    struct wallet_channel_view view;
    const struct asset_terms *terms = &sim->hub.settings.asset_terms;
    uint64_t edge = 0;
    if (sim_roll(sim, 2) == 0) {
        if (wallet_channel_of(payee->core, &sim->assets[asset], &view))
            edge = view.inbound.units;
    } else if (wallet_channel_of(payer->core, &sim->assets[asset], &view) &&
               view.available.units > terms->base_fee.units) {
        edge = view.available.units - terms->base_fee.units;
        edge -= edge * terms->fee_ppm / (1000000 + terms->fee_ppm);
    }
    return edge + sim_roll(sim, 3);
}

/* A counter that came again would let one secret be the receipt of two invoices. */
static void promise(struct sim *sim, const struct sim_invoice *invoice)
{
    for (size_t i = 0; i < sim->promised_count; i++)
        if (hash_equal(&sim->promised[i], &invoice->secret_hash))
            sim_fail(sim, "wallet %u promises the secret of an earlier invoice again", invoice->payee);
    if (sim->promised_count == sim->promised_capacity) {
        sim->promised_capacity = sim->promised_capacity == 0 ? 64 : 2 * sim->promised_capacity;
        sim->promised = xrealloc(sim->promised, sim->promised_capacity * sizeof(*sim->promised));
    }
    sim->promised[sim->promised_count++] = invoice->secret_hash;
}

static void make_invoice(struct sim *sim, struct sim_wallet *payee, const struct sim_wallet *payer)
{
    struct invoice invoice;
    unsigned asset = (unsigned)sim_roll(sim, sim->asset_count);
    uint64_t amount = sim_roll(sim, 10) == 0 ? 0 : some_amount(sim);
    if (sim_roll(sim, 12) == 0)
        amount = edge_amount(sim, payer, payee, asset);
    if (wallet_invoice(payee->core, &sim->assets[asset], amount_of(amount), 900 + sim_roll(sim, 1500), "tea",
                       wallet_unix_s(payee), &invoice) != CODE_OK)
        return;
    wallet_offer(payee, &(struct sim_invoice){.payee = payee->party.index,
                                              .payer = payer->party.index,
                                              .asset = asset,
                                              .amount = amount,
                                              .expiry = invoice.expiry,
                                              .secret_hash = invoice.secret_hash});
}

static void pay_invoice(struct sim *sim, struct sim_wallet *payer, const struct sim_invoice *invoice)
{
    if (sim->payment_count == SIM_PAYMENTS_MAX || invoice->payee == payer->party.index)
        return;
    struct sim_payment *payment = &sim->payments[sim->payment_count];
    *payment = (struct sim_payment){.payer = payer->party.index,
                                    .payee = invoice->payee,
                                    .asset = invoice->asset,
                                    .amount = invoice->amount == 0 ? some_amount(sim) : invoice->amount,
                                    .secret_hash = invoice->secret_hash};
    store_be64(payment->id.bytes, random_next(&sim->random));
    store_be64(payment->id.bytes + 8, sim->payment_count + 1);
    bool to_cheat = sim->wallets[payment->payee].cheats && sim_has(sim, CHEAT_OLD_LOCKS);
    if (sim_roll(sim, to_cheat ? 3 : 15) == 0) {
        payment->is_wrong = true;
        if (!to_cheat && sim_roll(sim, 2) == 0)
            payment->secret_hash.bytes[5] ^= 1; /* nobody has such a secret */
        else if (invoice->amount != 0)
            payment->amount++;
        else
            payment->is_wrong = false;
    }
    static const enum payment_mode modes[] = {PAYMENT_AUTO, PAYMENT_AUTO, PAYMENT_DIRECT, PAYMENT_LOCKED};
    struct payment_request request = {.id = payment->id,
                                      .payee = sim->wallets[payment->payee].party.address,
                                      .asset = sim->assets[payment->asset],
                                      .amount = amount_of(payment->amount),
                                      .secret_hash = payment->secret_hash,
                                      .expiry = sim_roll(sim, 4) == 0 ? 0 : invoice->expiry,
                                      .mode = to_cheat ? PAYMENT_LOCKED : modes[sim_roll(sim, 4)],
                                      .memo = "tea"};
    if (sim_roll(sim, 60) == 0)
        memset(request.payee.bytes, 0x55, sizeof(request.payee.bytes)); /* nobody */
    enum code code = wallet_pay(payer->core, &request);
    sim_trace(sim, "user %u pays %llu of asset %u to %u: %s", payer->party.index,
              (unsigned long long)payment->amount, payment->asset, payment->payee, code_name(code));
    if (code == CODE_CHANNEL && sim_roll(sim, 3) == 0)
        open_another(sim, payer, payment->asset);
    if (code != CODE_OK)
        return;
    payer->run_wanted = true;
    sim->payment_count++;
    sim->coverage->payments++;
}

void user_invoiced(struct sim *sim, const struct sim_invoice *invoice)
{
    struct sim_wallet *payer = &sim->wallets[invoice->payer];
    promise(sim, invoice);
    size_t place =
        sim->invoice_count < SIM_INVOICES_MAX ? sim->invoice_count++ : sim_roll(sim, SIM_INVOICES_MAX);
    sim->invoices[place] = *invoice;
    if (payer->party.is_up && !payer->is_gone && !sim->is_draining)
        pay_invoice(sim, payer, invoice);
}

static void pay(struct sim *sim, struct sim_wallet *payer)
{
    if (sim->invoice_count > 0 && sim_roll(sim, 6) == 0) {
        const struct sim_invoice *old = &sim->invoices[sim_roll(sim, sim->invoice_count)];
        if (old->payer == payer->party.index)
            pay_invoice(sim, payer, old);
        return;
    }
    struct sim_wallet *payee =
        &sim->wallets[(payer->party.index + 1 + sim_roll(sim, sim->client_count - 1)) % sim->client_count];
    for (unsigned i = 0; i < sim->client_count && sim_has(sim, CHEAT_OLD_LOCKS); i++)
        if (sim->wallets[i].cheats && i != payer->party.index && sim_roll(sim, 2) == 0)
            payee = &sim->wallets[i];
    if (payee->party.is_up && !payee->is_gone)
        make_invoice(sim, payee, payer);
}

/* ---- the rest ---- */

static bool some_channel(struct sim *sim, const struct sim_wallet *wallet, struct wallet_channel_view *out)
{
    struct wallet_channel_view view;
    size_t count = 0;
    while (wallet_channel_at(wallet->core, count, &view))
        count++;
    return count > 0 && wallet_channel_at(wallet->core, sim_roll(sim, count), out);
}

static void withdraw(struct sim *sim, struct sim_wallet *wallet)
{
    struct wallet_channel_view view;
    if (!some_channel(sim, wallet, &view) || view.available.units == 0)
        return;
    uint64_t amount = 1 + sim_roll(sim, view.available.units);
    enum code code = wallet_withdraw(wallet->core, &view.id, amount_of(amount));
    sim_trace(sim, "user %u withdraws %llu: %s", wallet->party.index, (unsigned long long)amount,
              code_name(code));
}

static void close_channel(struct sim *sim, struct sim_wallet *wallet, bool alone)
{
    struct wallet_channel_view view;
    if (!some_channel(sim, wallet, &view))
        return;
    enum code code = alone ? wallet_dispute(wallet->core, &view.id) : wallet_close(wallet->core, &view.id);
    sim_trace(sim, "user %u closes%s: %s", wallet->party.index, alone ? " alone" : "", code_name(code));
}

static void operator_closes(struct sim *sim, struct sim_wallet *wallet)
{
    struct wallet_channel_view view;
    if (some_channel(sim, wallet, &view))
        hub_close_channel(sim, wallet->party.index, &view.id);
}

void user_act(struct sim *sim)
{
    struct sim_wallet *wallet = &sim->wallets[sim_roll(sim, sim->client_count)];
    if (!wallet->party.is_up || wallet->is_gone)
        return;
    uint64_t what = sim_roll(sim, 400);
    unsigned asset = (unsigned)sim_roll(sim, sim->asset_count);
    wallet->run_wanted = true;
    if (what < 330)
        pay(sim, wallet);
    else if (what < 355)
        withdraw(sim, wallet);
    else if (what < 357)
        close_channel(sim, wallet, false);
    else if (what < 359)
        close_channel(sim, wallet, true);
    else if (what < 375)
        ask_room(sim, wallet, asset);
    else if (what < 385)
        deposit(sim, wallet, asset);
    else if (what < 387 && sim->hub.party.is_up && !sim->hub_cheats)
        operator_closes(sim, wallet);
    else if (sim->hub.party.is_up)
        hub_settle(sim, (unsigned)sim_roll(sim, sim->hub.shard_count));
}
