/* include/rill.h's calls that look, pay and ask: thin, the core does the work. */
#include "rill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/hash.h"
#include "wallet/shell.h"

struct address rill_bytes_address(const uint8_t bytes[20])
{
    struct address address;
    memcpy(address.bytes, bytes, sizeof(address.bytes));
    return address;
}

struct hash rill_bytes_hash(const uint8_t bytes[32])
{
    struct hash hash;
    memcpy(hash.bytes, bytes, sizeof(hash.bytes));
    return hash;
}

const char *rill_code_name(int code)
{
    return code_name(code < 0 ? UINT64_MAX : (uint64_t)code);
}

const char *rill_code_text(int code)
{
    return code_text(code < 0 ? UINT64_MAX : (uint64_t)code);
}

static bool is_final(const struct payment_view *view)
{
    if (view->outgoing)
        return view->state == OUT_PAID || view->state == OUT_FAILED || view->state == OUT_LOST ||
               view->state == OUT_UNLOCKING;
    return view->state == IN_RECEIVED || view->state == IN_REFUNDED || view->state == IN_DROPPED;
}

/* A secret that came too late is none: the money goes back. */
static bool has_receipt(const struct payment_view *view)
{
    return view->has_secret && (view->state == OUT_PAID || view->state == OUT_UNLOCKING);
}

struct rill_payment rill_payment_of(const struct payment_view *view)
{
    struct rill_payment payment = {
        .outgoing = view->outgoing,
        .locked = view->locked,
        .amount = view->amount.units,
        .fee = view->fee.units,
        .has_secret = has_receipt(view),
        .expiry = view->expiry,
        .created = view->created,
        .is_final = is_final(view),
        .state = view->outgoing ? payment_out_state_name((enum payment_out_state)view->state)
                                : payment_in_state_name((enum payment_in_state)view->state),
        .code = (int)view->code,
        .proof_nonce = view->carrier.nonce,
        .proof_time = view->carrier.time,
        .memo = view->memo,
    };
    memcpy(payment.proof_digest, view->carrier.digest.bytes, sizeof(payment.proof_digest));
    memcpy(payment.id, view->id.bytes, sizeof(payment.id));
    memcpy(payment.channel, view->channel.bytes, sizeof(payment.channel));
    memcpy(payment.asset, view->asset.bytes, sizeof(payment.asset));
    memcpy(payment.payee, view->payee.bytes, sizeof(payment.payee));
    memcpy(payment.secret_hash, view->secret_hash.bytes, sizeof(payment.secret_hash));
    if (payment.has_secret)
        memcpy(payment.secret, view->secret, sizeof(payment.secret));
    return payment;
}

void rill_address(const struct rill_wallet *wallet, uint8_t out[20])
{
    memcpy(out, wallet->self.bytes, 20);
}

bool rill_is_ready(const struct rill_wallet *wallet)
{
    return wallet_is_ready(wallet->core);
}

bool rill_is_idle(const struct rill_wallet *wallet)
{
    return wallet_is_idle(wallet->core) && outbox_bytes(wallet->outbox) == 0 && !wallet->run_wanted;
}

const char *rill_refusal(const struct rill_wallet *wallet)
{
    return wallet->refusal;
}

static int refuse(struct rill_wallet *wallet, enum code code, const char *why)
{
    snprintf(wallet->refusal, sizeof(wallet->refusal), "%s", why != NULL ? why : code_text(code));
    return (int)code;
}

/* ---- invoices ---- */

static void make_durable(struct rill_wallet *wallet)
{
    if (wallet->journal != NULL) {
        wallet_run(wallet->core, clock_monotonic_us() / 1000, clock_unix_s());
        journal_wait(wallet->journal, wallet->core->appended);
    }
    rill_wallet_run_soon(wallet);
}

int rill_invoice_draft(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount,
                       uint64_t lifetime_s, const char *memo, char *text, uint8_t secret_hash[32])
{
    struct invoice invoice;
    struct address of = rill_bytes_address(asset);
    enum code code =
        wallet_invoice(wallet->core, &of, amount_of(amount), lifetime_s, memo, clock_unix_s(), &invoice);
    if (code == CODE_STATUS)
        return refuse(wallet, code, "the ledger is not in view yet: an invoice needs its time");
    if (code == CODE_LIMIT)
        return refuse(wallet, code, "too many invoices at once: try again in a moment");
    if (code != CODE_OK)
        return refuse(wallet, code, NULL);
    invoice_encode(&invoice, text);
    if (secret_hash != NULL)
        memcpy(secret_hash, invoice.secret_hash.bytes, sizeof(invoice.secret_hash.bytes));
    rill_wallet_run_soon(wallet);
    return 0;
}

int rill_invoice_create(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount,
                        uint64_t lifetime_s, const char *memo, char *text, uint8_t secret_hash[32])
{
    int code = rill_invoice_draft(wallet, asset, amount, lifetime_s, memo, text, secret_hash);
    if (code != 0)
        return code;
    /* Nobody may see an invoice that a crash could make the wallet forget, or make twice. */
    make_durable(wallet);
    return 0;
}

void rill_when_durable(struct rill_wallet *wallet, void (*done)(void *context), void *context)
{
    wallet_run(wallet->core, clock_monotonic_us() / 1000, clock_unix_s());
    rill_wallet_defer_call(wallet, done, context);
    rill_wallet_run_soon(wallet);
}

int rill_invoice_cancel(struct rill_wallet *wallet, const uint8_t secret_hash[32])
{
    struct hash hash = rill_bytes_hash(secret_hash);
    enum code code = wallet_invoice_cancel(wallet->core, &hash);
    if (code == CODE_PAID)
        return refuse(wallet, code, "a payment of it has been accepted");
    if (code != CODE_OK)
        return refuse(wallet, code, NULL);
    make_durable(wallet);
    return 0;
}

bool rill_invoice_receipt(const struct rill_wallet *wallet, const uint8_t secret_hash[32], uint8_t secret[32])
{
    struct hash hash = rill_bytes_hash(secret_hash);
    return wallet_invoice_receipt(wallet->core, &hash, secret);
}

bool rill_invoice_read(const struct rill_wallet *wallet, const char *text, struct rill_invoice *out,
                       char *message, size_t message_size)
{
    struct invoice invoice;
    enum invoice_error error = invoice_decode(text, &invoice);
    struct domain domain = rill_ledger_domain(wallet->ledger);
    const char *why = NULL;
    if (error != INVOICE_OK)
        why = invoice_error_text(error);
    else if (invoice.chain_id != domain.chain_id || !address_equal(&invoice.contract, &domain.contract))
        why = "the invoice is for another hub or ledger";
    if (why != NULL) {
        snprintf(message, message_size, "%s", why);
        return false;
    }
    *out = (struct rill_invoice){.amount = invoice.amount.units, .expiry = invoice.expiry};
    memcpy(out->payee, invoice.payee.bytes, sizeof(out->payee));
    memcpy(out->asset, invoice.asset.bytes, sizeof(out->asset));
    memcpy(out->secret_hash, invoice.secret_hash.bytes, sizeof(out->secret_hash));
    memcpy(out->memo, invoice.memo, sizeof(out->memo));
    return true;
}

/* ---- paying ---- */

static int from_invoice(struct rill_wallet *wallet, const struct rill_request *request,
                        struct payment_request *out, struct rill_invoice *invoice)
{
    if (!rill_invoice_read(wallet, request->invoice, invoice, wallet->refusal, sizeof(wallet->refusal)))
        return CODE_INVOICE;
    if (invoice->amount != 0 && request->amount != 0 && request->amount != invoice->amount)
        return refuse(wallet, CODE_AMOUNT, "the invoice names another amount");
    out->payee = rill_bytes_address(invoice->payee);
    out->asset = rill_bytes_address(invoice->asset);
    out->secret_hash = rill_bytes_hash(invoice->secret_hash);
    out->amount = amount_of(invoice->amount != 0 ? invoice->amount : request->amount);
    out->expiry = invoice->expiry;
    if (out->memo == NULL)
        out->memo = invoice->memo;
    return 0;
}

int rill_pay(struct rill_wallet *wallet, const struct rill_request *request, uint8_t id[16])
{
    struct rill_invoice invoice;
    struct payment_request payment = {.payee = rill_bytes_address(request->payee),
                                      .asset = rill_bytes_address(request->asset),
                                      .secret_hash = rill_bytes_hash(request->secret_hash),
                                      .amount = amount_of(request->amount),
                                      .expiry = request->expiry,
                                      .mode = (enum payment_mode)request->mode,
                                      .fee_max = {request->fee_max},
                                      .memo = request->memo};
    if (request->invoice != NULL) {
        int code = from_invoice(wallet, request, &payment, &invoice);
        if (code != 0)
            return code;
    }
    random_bytes(payment.id.bytes, sizeof(payment.id.bytes));
    enum code code = wallet_pay(wallet->core, &payment);
    if (code != CODE_OK)
        return refuse(wallet, code, wallet_refusal(wallet->core));
    if (id != NULL)
        memcpy(id, payment.id.bytes, sizeof(payment.id.bytes));
    rill_wallet_run_soon(wallet);
    return 0;
}

struct visitor {
    rill_visit *visit;
    void *context;
};

static bool visit_payment(void *context, const struct payment_view *view)
{
    const struct visitor *visitor = context;
    struct rill_payment payment = rill_payment_of(view);
    return visitor->visit(visitor->context, &payment);
}

static struct note_key note_key(const uint8_t owner[8], uint64_t number)
{
    struct note_key key = {.number = number};
    memcpy(key.owner, owner, sizeof(key.owner));
    return key;
}

bool rill_note_keep(struct rill_wallet *wallet, const uint8_t owner[8], uint64_t number, const void *bytes,
                    size_t length)
{
    struct note_key key = note_key(owner, number);
    if (wallet->journal == NULL)
        return false;
    wallet_note_keep(wallet->core, &key, bytes, length);
    rill_wallet_run_soon(wallet);
    return true;
}

void rill_notes_forget(struct rill_wallet *wallet, const uint8_t owner[8], uint64_t number)
{
    struct note_key key = note_key(owner, number);
    wallet_notes_forget(wallet->core, &key);
}

void rill_notes(struct rill_wallet *wallet, const uint8_t owner[8],
                bool (*visit)(void *context, uint64_t number, const void *bytes, size_t length),
                void *context)
{
    wallet_notes(wallet->core, owner, visit, context);
}

void rill_history(const struct rill_wallet *wallet, rill_visit *visit, void *context)
{
    struct visitor visitor = {visit, context};
    wallet_history(wallet->core, visit_payment, &visitor);
}

bool rill_ending_at(const struct rill_wallet *wallet, size_t index, struct rill_ending *out)
{
    struct wallet_ending_view view;
    if (!wallet_ending_at(wallet->core, index, &view))
        return false;
    *out = (struct rill_ending){.by = (enum rill_closed_by)view.by,
                                .time = view.time,
                                .paid_out = view.to_client.units,
                                .penalty = view.penalty.units,
                                .done = view.done};
    memcpy(out->channel, view.id.bytes, sizeof(out->channel));
    memcpy(out->asset, view.asset.bytes, sizeof(out->asset));
    return true;
}

bool rill_close_is_busy(const struct rill_wallet *wallet)
{
    return wallet_close_is_busy(wallet->core);
}

/* ---- balances and terms ---- */

static void balance_of(const struct wallet_channel_view *view, struct rill_balance *out)
{
    *out = (struct rill_balance){
        .salt = view->key.salt,
        .stage = (enum rill_stage)view->stage,
        .closing_seen = view->closing_seen,
        .claiming = view->claiming,
        .synced = view->synced,
        .total = view->total.units,
        .balance = view->balance.units,
        .available = view->available.units,
        .inbound = view->inbound.units,
        .locked = view->locked.units,
        .incoming = view->incoming.units,
        .frozen = view->frozen.units,
        .reserve = view->reserve.units,
        .unsecured = view->unsecured.units,
        .settling = view->settling.units,
        .nonce_own = view->nonce_client,
        .nonce_hub = view->nonce_hub,
        .blocked = view->blocked,
    };
    memcpy(out->channel, view->id.bytes, sizeof(out->channel));
    memcpy(out->asset, view->key.asset.bytes, sizeof(out->asset));
}

bool rill_balance_at(const struct rill_wallet *wallet, size_t index, struct rill_balance *out)
{
    struct wallet_channel_view view;
    if (!wallet_channel_at(wallet->core, index, &view))
        return false;
    balance_of(&view, out);
    return true;
}

bool rill_balance_of(const struct rill_wallet *wallet, const uint8_t asset[20], struct rill_balance *out)
{
    struct address of = rill_bytes_address(asset);
    struct wallet_channel_view view;
    if (!wallet_channel_of(wallet->core, &of, &view))
        return false;
    balance_of(&view, out);
    return true;
}

bool rill_terms_of(const struct rill_wallet *wallet, const uint8_t asset[20], struct rill_terms *out)
{
    struct address of = rill_bytes_address(asset);
    const struct terms *terms = wallet_terms(wallet->core);
    for (size_t i = 0; terms != NULL && i < terms->asset_count; i++) {
        const struct asset_terms *found = &terms->assets[i];
        if (!address_equal(&found->asset, &of))
            continue;
        *out = (struct rill_terms){.base_fee = found->base_fee.units,
                                   .fee_ppm = found->fee_ppm,
                                   .direct_limit = found->direct_limit.units,
                                   .min_lock = found->min_lock.units,
                                   .max_lock = found->max_lock.units,
                                   .reserve_bps = found->reserve_bps};
        return true;
    }
    return false;
}

bool rill_asset_at(const struct rill_wallet *wallet, size_t index, uint8_t asset[20])
{
    const struct terms *terms = wallet_terms(wallet->core);
    if (terms == NULL || index >= terms->asset_count)
        return false;
    memcpy(asset, terms->assets[index].asset.bytes, 20);
    return true;
}

uint64_t rill_tower_receipt(const struct rill_wallet *wallet, size_t tower, const uint8_t channel[32])
{
    struct hash id = rill_bytes_hash(channel);
    return wallet_tower_receipt(wallet->core, tower, &id);
}

uint64_t rill_tower_owed(const struct rill_wallet *wallet, const uint8_t channel[32])
{
    struct hash id = rill_bytes_hash(channel);
    return wallet_tower_owed(wallet->core, &id);
}

char *rill_tower_evidence(const struct rill_wallet *wallet, size_t tower, const uint8_t channel[32])
{
    struct hash id = rill_bytes_hash(channel);
    struct evidence evidence;
    if (!wallet_tower_evidence(wallet->core, tower, &id, &evidence))
        return NULL;
    json_t *json = evidence_json(&evidence);
    char *text = json_dumps(json, JSON_COMPACT);
    ensure(text != NULL);
    json_decref(json);
    return text;
}

bool rill_tower_is_connected(const struct rill_wallet *wallet, size_t tower)
{
    return tower < wallet->tower_count && wallet->towers[tower].ready;
}

/* ---- settling and closing ---- */

static bool open_channel(struct rill_wallet *wallet, const uint8_t asset[20],
                         struct wallet_channel_view *view)
{
    struct address of = rill_bytes_address(asset);
    return wallet_channel_of(wallet->core, &of, view);
}

static int settled(struct rill_wallet *wallet, enum code code)
{
    if (code == CODE_SETTLE)
        return refuse(wallet, code, "a payout or close of this channel is under way already");
    if (code == CODE_AMOUNT)
        return refuse(wallet, code,
                      "that much is not available (a small reserve stays until the channel is closed)");
    if (code != CODE_OK)
        return refuse(wallet, code, NULL);
    rill_wallet_run_soon(wallet);
    return 0;
}

int rill_withdraw(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount)
{
    struct wallet_channel_view view;
    if (!open_channel(wallet, asset, &view))
        return refuse(wallet, CODE_CHANNEL, "this wallet has no open channel in this asset");
    int code = settled(wallet, wallet_withdraw(wallet->core, &view.id, amount_of(amount)));
    if (code == 0)
        make_durable(wallet);
    return code;
}

int rill_set_payout_policy(struct rill_wallet *wallet, const uint8_t asset[20],
                           const struct rill_payout_policy *policy)
{
    struct address of = rill_bytes_address(asset);
    struct payout_policy wanted = {.mode = (enum payout_mode)policy->mode,
                                   .threshold = {policy->threshold},
                                   .keep = {policy->keep},
                                   .minute = policy->minute};
    const char *trouble = payout_policy_trouble(&wanted);
    if (trouble != NULL)
        return refuse(wallet, CODE_AMOUNT, trouble);
    return settled(wallet, wallet_set_payout_policy(wallet->core, &of, &wanted, clock_unix_s()));
}

struct rill_payout_policy rill_payout_policy(const struct rill_wallet *wallet, const uint8_t asset[20])
{
    struct address of = rill_bytes_address(asset);
    struct payout_policy policy;
    (void)wallet_payout_policy(wallet->core, &of, &policy);
    return (struct rill_payout_policy){.mode = (enum rill_payout_mode)policy.mode,
                                       .threshold = policy.threshold.units,
                                       .keep = policy.keep.units,
                                       .minute = policy.minute};
}

uint64_t rill_withdrawal(const struct rill_wallet *wallet, const uint8_t asset[20])
{
    struct address of = rill_bytes_address(asset);
    struct wallet_channel_view view;
    return wallet_channel_of(wallet->core, &of, &view) ? wallet_withdrawal(wallet->core, &view.id).units : 0;
}

int rill_close(struct rill_wallet *wallet, const uint8_t asset[20])
{
    struct wallet_channel_view view;
    if (!open_channel(wallet, asset, &view))
        return refuse(wallet, CODE_CHANNEL, "this wallet has no open channel in this asset");
    return settled(wallet, wallet_close(wallet->core, &view.id));
}

int rill_dispute(struct rill_wallet *wallet, const uint8_t asset[20])
{
    struct wallet_channel_view view;
    if (!open_channel(wallet, asset, &view))
        return refuse(wallet, CODE_CHANNEL, "this wallet has no open channel in this asset");
    return settled(wallet, wallet_dispute(wallet->core, &view.id));
}

int rill_open_request(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t inbound)
{
    struct address of = rill_bytes_address(asset);
    return settled(wallet, wallet_open_request(wallet->core, &of, amount_of(inbound)));
}
