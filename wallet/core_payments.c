/* Payments out: what is asked for, what is at risk, and how each ends. */
#include "base/planted.h"
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"

const char *payment_out_state_name(enum payment_out_state state)
{
    switch (state) {
    case OUT_WAITING:
        return "waiting";
    case OUT_DIRECT:
    case OUT_LOCKED:
        return "sent";
    case OUT_DROPPING:
    case OUT_DROPPED:
        return "failing";
    case OUT_UNLOCKING:
    case OUT_PAID:
        return "paid";
    case OUT_FAILED:
        return "failed";
    case OUT_LOST:
        return "lost";
    }
    return "?";
}

/* ---- tables ---- */

struct payment_out *wallet_payment_out_find(const struct wallet_core *core, const struct payment_id *id)
{
    struct payment_out *payment;
    HASH_FIND(hh, core->outs, id, sizeof(*id), payment);
    return payment;
}

static struct payment_out *find_by_secret(const struct wallet_core *core, const struct hash *secret_hash)
{
    struct payment_out *payment;
    HASH_FIND(hh_secret, core->outs_by_secret, secret_hash, sizeof(*secret_hash), payment);
    return payment;
}

void wallet_payment_out_list(struct payment_out *payment, bool add)
{
    struct wallet_channel *own = payment->channel;
    struct payment_out **list = NULL;
    switch ((enum payment_out_state)payment->state) {
    case OUT_WAITING:
        list = &own->waiting;
        break;
    case OUT_DIRECT:
    case OUT_LOCKED:
    case OUT_DROPPED:
        list = &own->open;
        break;
    case OUT_UNLOCKING:
    case OUT_DROPPING:
        list = &own->due;
        break;
    case OUT_PAID:
    case OUT_FAILED:
    case OUT_LOST:
        return;
    }
    if (add) {
        DL_APPEND(*list, payment);
    } else {
        DL_DELETE(*list, payment);
    }
}

/* A direct payment without receipt counts against max_unsecured. */
static void count_unsecured(struct payment_out *payment, bool add)
{
    if (payment->state != OUT_DIRECT)
        return;
    struct wallet_channel *own = payment->channel;
    uint64_t units = payment->amount.units + payment->fee.units;
    struct unsecured *payee;
    HASH_FIND(hh, own->payees, &payment->payee, sizeof(payment->payee), payee);
    if (add) {
        if (payee == NULL) {
            payee = xcalloc(1, sizeof(*payee));
            payee->payee = payment->payee;
            HASH_ADD(hh, own->payees, payee, sizeof(payee->payee), payee);
        }
        own->unsecured.units += units;
        payee->amount.units += units;
        return;
    }
    ensure(payee != NULL && payee->amount.units >= units && own->unsecured.units >= units);
    own->unsecured.units -= units;
    payee->amount.units -= units;
    if (payee->amount.units == 0) {
        HASH_DEL(own->payees, payee);
        free(payee);
    }
}

void wallet_payment_out_index(struct wallet_core *core, struct payment_out *payment)
{
    HASH_ADD(hh, core->outs, id, sizeof(payment->id), payment);
    struct payment_out *other = find_by_secret(core, &payment->secret_hash);
    if (other != NULL && other->state == OUT_FAILED)
        HASH_DELETE(hh_secret, core->outs_by_secret, other);
    if (other == NULL || other->state == OUT_FAILED)
        HASH_ADD(hh_secret, core->outs_by_secret, secret_hash, sizeof(payment->secret_hash), payment);
    wallet_payment_out_list(payment, true);
    count_unsecured(payment, true);
    if (payment->state == OUT_WAITING)
        core->waiting_count++;
}

static void free_out(struct payment_out *payment)
{
    free(payment->memo);
    bytes_wipe(payment->secret, sizeof(payment->secret));
    free(payment);
}

static void remove_out(struct wallet_core *core, struct payment_out *payment)
{
    wallet_payment_out_list(payment, false);
    count_unsecured(payment, false);
    if (payment->state == OUT_WAITING)
        core->waiting_count--;
    HASH_DEL(core->outs, payment);
    if (find_by_secret(core, &payment->secret_hash) == payment)
        HASH_DELETE(hh_secret, core->outs_by_secret, payment);
    free_out(payment);
}

void wallet_payments_free(struct wallet_core *core)
{
    /* Lists may not have been made: recovery can fail half way. */
    struct payment_out *out, *next_out;
    HASH_CLEAR(hh_secret, core->outs_by_secret);
    HASH_ITER(hh, core->outs, out, next_out)
    {
        HASH_DEL(core->outs, out);
        free_out(out);
    }
    struct payment_in *in, *next_in;
    HASH_ITER(hh, core->ins, in, next_in)
    {
        HASH_DEL(core->ins, in);
        free(in->memo);
        free(in);
    }
    struct invoice_issued *invoice, *next_invoice;
    HASH_ITER(hh, core->invoices, invoice, next_invoice)
    {
        HASH_DEL(core->invoices, invoice);
        free(invoice);
    }
}

struct payment_view wallet_payment_out_view(const struct payment_out *payment)
{
    struct payment_view view = {
        .outgoing = true,
        .locked = payment->mode == PAYMENT_LOCKED,
        .state = payment->state,
        .id = payment->id,
        .channel = payment->channel->id,
        .asset = payment->channel->channel->key.asset,
        .payee = payment->payee,
        .amount = payment->amount,
        .fee = payment->fee,
        .secret_hash = payment->secret_hash,
        .has_secret = payment->has_secret,
        .expiry = payment->expiry,
        .created = payment->created,
        .code = payment->code,
        .carrier = payment->carrier,
        .memo = payment->memo != NULL ? payment->memo : "",
    };
    memcpy(view.secret, payment->secret, sizeof(view.secret));
    return view;
}

static void tell_out(struct wallet_core *core, enum wallet_news_type type, const struct payment_out *payment)
{
    struct wallet_news news = {.type = type,
                               .payment = wallet_payment_out_view(payment),
                               .channel = payment->channel->id,
                               .asset = payment->channel->channel->key.asset,
                               .amount = payment->amount,
                               .code = payment->code};
    wallet_tell(core, &news);
}

void wallet_payment_out_move(struct wallet_core *core, struct payment_out *payment,
                             enum payment_out_state state)
{
    wallet_payment_out_list(payment, false);
    count_unsecured(payment, false);
    if (payment->state == OUT_WAITING)
        core->waiting_count--;
    payment->state = (uint8_t)state;
    wallet_payment_out_list(payment, true);
    count_unsecured(payment, true);
}

void wallet_payment_out_set(struct wallet_core *core, struct payment_out *payment,
                            enum payment_out_state state)
{
    bool was_told = payment->state == OUT_DROPPING || payment->state == OUT_DROPPED;
    wallet_payment_out_move(core, payment, state);
    wallet_payment_out_write(core, payment);
    if (was_told && state == OUT_FAILED)
        tell_out(core, WALLET_NEWS_RETURNED, payment);
}

void wallet_payment_out_fail(struct wallet_core *core, struct payment_out *payment, uint64_t code)
{
    payment->code = code;
    wallet_payment_out_set(core, payment, OUT_FAILED);
    tell_out(core, WALLET_NEWS_FAILED, payment);
}

/* ---- asking for one ---- */

static enum code refuse(struct wallet_core *core, enum code code, const char *why)
{
    snprintf(core->refusal, sizeof(core->refusal), "%s", why);
    return code;
}

const char *wallet_refusal(const struct wallet_core *core)
{
    return core->refusal;
}

static struct wallet_channel *channel_for(const struct wallet_core *core, const struct address *asset)
{
    struct wallet_channel *own, *next, *best = NULL;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (address_equal(&own->channel->key.asset, asset) && wallet_channel_live(own) &&
            (best == NULL || own->channel->key.salt < best->channel->key.salt))
            best = own;
    }
    return best;
}

/* At risk already, in all channels of the asset; payee NULL: towards all. */
static unsigned_wide at_risk(const struct wallet_core *core, const struct address *asset,
                             const struct address *payee)
{
    unsigned_wide sum = 0;
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (!address_equal(&own->channel->key.asset, asset))
            continue;
        if (payee == NULL) {
            sum += own->unsecured.units;
            continue;
        }
        const struct unsecured *found;
        HASH_FIND(hh, own->payees, payee, sizeof(*payee), found);
        sum += found != NULL ? found->amount.units : 0;
    }
    return sum;
}

/* Without a limit of the user's own, by what the hub said first: it must not raise what it may take. */
static unsigned_wide limit_of(const struct wallet_core *core, uint64_t set, const struct asset_terms *terms,
                              unsigned times)
{
    struct amount pinned = wallet_pinned_limit(core, &terms->asset);
    struct amount least = amount_compare(pinned, terms->direct_limit) < 0 ? pinned : terms->direct_limit;
    return set != 0 ? set : (unsigned_wide)least.units * times;
}

static bool within_unsecured(const struct wallet_core *core, const struct payment_out *payment,
                             const struct asset_terms *terms)
{
    const struct wallet_limits *limits = &core->options.limits;
    unsigned_wide units = (unsigned_wide)payment->amount.units + payment->fee.units;
    return at_risk(core, &terms->asset, NULL) + units <= limit_of(core, limits->unsecured, terms, 16) &&
           at_risk(core, &terms->asset, &payment->payee) + units <=
               limit_of(core, limits->unsecured_per_payee, terms, 4);
}

static bool within_locks(const struct payment_out *payment, const struct asset_terms *terms)
{
    return amount_compare(payment->amount, terms->min_lock) >= 0 &&
           amount_compare(payment->amount, terms->max_lock) <= 0;
}

/* The invoice's expiry brought within the terms, with room for a hub whose view of the time differs a little.
 */
static uint64_t clamp_expiry(const struct wallet_core *core, uint64_t wished)
{
    const struct terms *terms = &core->terms;
    uint64_t now = core->head.confirmed_time;
    uint64_t span = terms->max_expiry_s > terms->min_expiry_s ? terms->max_expiry_s - terms->min_expiry_s : 0;
    uint64_t slack = span / 4 < 60 ? span / 4 : 60;
    uint64_t low = now + terms->min_expiry_s + slack, high = now + terms->max_expiry_s - slack;
    if (wished < low)
        return low;
    return wished > high ? high : wished;
}

/* Chooses the mode. LIMIT: over max_unsecured. AMOUNT: outside the bounds of a lock. */
static enum code choose_mode(struct wallet_core *core, struct payment_out *payment,
                             const struct asset_terms *terms)
{
    bool may_lock = within_locks(payment, terms), may_pay = within_unsecured(core, payment, terms);
    if (payment->mode == PAYMENT_AUTO) {
        bool small = amount_compare(payment->amount, terms->direct_limit) < 0;
        if (small && may_pay)
            payment->mode = PAYMENT_DIRECT;
        else if (may_lock || !small)
            payment->mode = PAYMENT_LOCKED;
        else
            payment->mode = PAYMENT_DIRECT;
    }
    if (payment->mode == PAYMENT_DIRECT && !may_pay)
        return refuse(core, CODE_LIMIT,
                      "direct payments without a receipt would go over max-unsecured: wait for "
                      "receipts, pay with a lock, or raise the limit");
    if (payment->mode == PAYMENT_LOCKED && !may_lock)
        return refuse(core, CODE_AMOUNT, "the amount is outside what the hub takes in a locked payment");
    return CODE_OK;
}

enum code wallet_payment_out_prepare(struct wallet_core *core, struct payment_out *payment,
                                     struct operation *operation)
{
    const struct asset_terms *terms = wallet_asset_terms(core, &payment->channel->channel->key.asset);
    if (terms == NULL)
        return refuse(core, CODE_CHANNEL, "the hub does not serve this asset");
    if (payment->expiry != 0 && core->head.confirmed_time > payment->expiry)
        return refuse(core, CODE_EXPIRED, "the invoice has expired");
    if (!amount_fee(payment->amount, terms->base_fee, terms->fee_ppm, &payment->fee))
        return refuse(core, CODE_AMOUNT, "the amount is too large");
    if (amount_compare(payment->fee, payment->fee_max) > 0)
        return refuse(
            core, CODE_FEE,
            "the hub's fee is more than is allowed for this payment, or than it was when it was asked for");
    enum code code = choose_mode(core, payment, terms);
    if (code != CODE_OK)
        return code;
    payment->expiry = clamp_expiry(core, payment->expiry);
    *operation = (struct operation){
        .type = payment->mode == PAYMENT_LOCKED ? OPERATION_LOCK : OPERATION_PAY,
        .id = payment->id,
        .peer = payment->payee,
        .amount = payment->amount,
        .fee = payment->fee,
        .expiry = payment->expiry,
        .condition = payment->secret_hash,
        .kind = LOCK_SECRET,
        .memo = {payment->memo, payment->memo != NULL ? strlen(payment->memo) : 0},
    };
    return CODE_OK;
}

/* Never one secret hash twice: a try whose money is certainly back is the only one that may be repeated. */
static enum code judge_repetition(struct wallet_core *core, const struct payment_request *request)
{
    if (wallet_payment_out_find(core, &request->id) != NULL)
        return refuse(core, CODE_DUPLICATE, "this payment id was used before");
    const struct payment_out *other = find_by_secret(core, &request->secret_hash);
    if (other == NULL || other->state == OUT_FAILED)
        return CODE_OK;
    if (other->state == OUT_PAID || other->state == OUT_UNLOCKING)
        return refuse(core, CODE_PAID, "this invoice has been paid from this wallet");
    if (other->state == OUT_LOST)
        return refuse(core, CODE_PAID,
                      "this invoice may have been paid from this wallet: it was never answered");
    return refuse(core, CODE_DUPLICATE, "a payment of this invoice is under way");
}

static enum code judge_request(struct wallet_core *core, const struct payment_request *request)
{
    if (address_is_zero(&request->payee) || address_equal(&request->payee, &core->self) ||
        address_equal(&request->payee, &core->options.hub))
        return refuse(core, CODE_PAYEE, "the payee cannot be oneself, the hub or nobody");
    if (amount_is_zero(request->amount) || request->amount.units >= AMOUNT_LIMIT)
        return refuse(core, CODE_AMOUNT, "the amount must be more than zero");
    if (request->memo != NULL && (strlen(request->memo) > MEMO_BYTES_MAX ||
                                  !utf8_is_valid((const uint8_t *)request->memo, strlen(request->memo))))
        return refuse(core, CODE_BODY, "the memo is longer than 256 bytes or not UTF-8");
    if (core->waiting_count >= WALLET_WAITING_MAX)
        return refuse(core, CODE_LIMIT, "too many payments wait for the hub");
    return judge_repetition(core, request);
}

/* The hub's terms may be others by the time of signing: no fee is paid that is higher than what could be known when the
 * payment was asked for. Where nothing was, it is at most the amount. */
static struct amount fee_allowed(const struct wallet_core *core, const struct payment_request *request)
{
    const struct asset_terms *terms = wallet_asset_terms(core, &request->asset);
    struct amount shown;
    if (!amount_is_zero(request->fee_max))
        return request->fee_max;
    if (terms != NULL && amount_fee(request->amount, terms->base_fee, terms->fee_ppm, &shown))
        return shown;
    return request->amount;
}

enum code wallet_pay(struct wallet_core *core, const struct payment_request *request)
{
    enum code code = judge_request(core, request);
    if (code != CODE_OK)
        return code;
    struct wallet_channel *own = channel_for(core, &request->asset);
    if (own == NULL)
        return refuse(core, CODE_CHANNEL, "this wallet has no open channel in this asset");
    if (own->wish.active && own->wish.close)
        return refuse(core, CODE_STATUS, "the channel is being closed");
    struct payment_out *payment = xcalloc(1, sizeof(*payment));
    *payment = (struct payment_out){
        .id = request->id,
        .secret_hash = request->secret_hash,
        .channel = own,
        .payee = request->payee,
        .amount = request->amount,
        .fee_max = fee_allowed(core, request),
        .expiry = request->expiry,
        .created = core->unix_s,
        .mode = (uint8_t)request->mode,
    };
    /* With the hub's terms in view, say at once what would be refused at signing. */
    if (own->synced) {
        struct payment_out trial = *payment;
        struct operation operation;
        code = wallet_payment_out_prepare(core, &trial, &operation);
        wide need = (wide)trial.amount.units + (wide)trial.fee.units;
        if (code == CODE_OK && channel_available(own->channel, SIDE_CLIENT) < need)
            code = refuse(core, CODE_AVAILABLE, "the channel does not have that much available");
        if (code != CODE_OK) {
            free(payment);
            return code;
        }
    }
    if (request->memo != NULL && request->memo[0] != '\0')
        payment->memo = xstrdup(request->memo);
    wallet_payment_out_index(core, payment);
    return CODE_OK;
}

/* ---- how it ends ---- */

/* The witness as a secret of this payment. Returns false if it is none. */
static bool take_secret(struct wallet_core *core, struct payment_out *payment, const struct witness *witness)
{
    if (witness->length == 0) {
        const struct registration *met = wallet_ledger_registration(core, LOCK_SECRET, &payment->secret_hash);
        if (met == NULL || !wallet_registration_secret(met, payment->secret))
            return false;
    } else {
        if (witness->length != WITNESS_SECRET_BYTES)
            return false;
        struct hash hash = condition_of_secret(witness->bytes);
        if (!hash_equal(&hash, &payment->secret_hash))
            return false;
        memcpy(payment->secret, witness->bytes, sizeof(payment->secret));
    }
    payment->has_secret = true;
    return true;
}

static bool registered_in_time(const struct wallet_core *core, const struct payment_out *payment)
{
    const struct registration *met = wallet_ledger_registration(core, LOCK_SECRET, &payment->secret_hash);
    return met != NULL && met->time <= payment->expiry;
}

void wallet_payments_secret_shown(struct wallet_core *core, struct wallet_channel *own,
                                  const struct revealed *item)
{
    struct payment_out *payment = wallet_payment_out_find(core, &item->id);
    bool lacks = payment != NULL && !payment->has_secret &&
                 (payment->state == OUT_UNLOCKING || payment->state == OUT_PAID);
    if (payment == NULL || payment->channel != own ||
        (payment->state != OUT_DIRECT && payment->state != OUT_LOCKED && !lacks))
        return;
    if (!take_secret(core, payment, &item->witness)) {
        struct error_reference reference = {.present = true,
                                            .type = MESSAGE_REVEAL,
                                            .has_channel = true,
                                            .channel = own->id,
                                            .has_id = true,
                                            .id = item->id};
        wallet_error(core, CODE_WITNESS, &reference);
        return;
    }
    if (payment->state == OUT_LOCKED) {
        /* Shown too late it obliges to nothing; only what the ledger registered in time does. */
        bool in_time = core->head.confirmed_time + core->terms.reveal_margin_s <= payment->expiry;
        if (!in_time && !registered_in_time(core, payment)) {
            wallet_payment_out_write(core, payment);
            return;
        }
    }
    if (lacks)
        wallet_payment_out_write(core, payment);
    else
        wallet_payment_out_set(core, payment, payment->state == OUT_DIRECT ? OUT_PAID : OUT_UNLOCKING);
    tell_out(core, WALLET_NEWS_PAID, payment);
}

void wallet_payments_failed(struct wallet_core *core, struct wallet_channel *own, const struct failed *item)
{
    struct payment_out *payment = wallet_payment_out_find(core, &item->id);
    if (payment == NULL || payment->channel != own || payment->state != OUT_LOCKED)
        return;
    if (channel_fail_received(own->channel, &item->id) == NULL)
        return;
    payment->code = item->code;
    wallet_payment_out_set(core, payment, OUT_DROPPING);
    tell_out(core, WALLET_NEWS_FAILED, payment);
}

void wallet_payments_refunded(struct wallet_core *core, struct wallet_channel *own,
                              const struct operation *operation)
{
    struct payment_out *payment = wallet_payment_out_find(core, &operation->id);
    if (payment == NULL || payment->channel != own || payment->state != OUT_DIRECT ||
        operation->amount.units != payment->amount.units + payment->fee.units)
        return;
    wallet_payment_out_fail(core, payment, operation->code);
}

void wallet_payments_revoked(struct wallet_core *core, struct wallet_channel *own)
{
    uint64_t revoked = stream_dropped(channel_own(own->channel))->revoked_nonce;
    struct payment_out *payment, *next;
    DL_FOREACH_SAFE(own->open, payment, next)
    {
        if (payment->state == OUT_DROPPED && payment->drop_nonce <= revoked)
            wallet_payment_out_set(core, payment, OUT_FAILED);
    }
}

#define SHOW_WAIT_MS 10000

/* Paid by a secret that the ledger had in time. Where that is all that is known, the hub has some time to show it. */
static void unlock_registered(struct wallet_core *core, struct payment_out *payment)
{
    bool known = payment->has_secret || take_secret(core, payment, &(struct witness){0});
    if (payment->met_ms == 0)
        payment->met_ms = core->now_ms;
    if (!known && core->now_ms < payment->met_ms + SHOW_WAIT_MS)
        return;
    wallet_payment_out_set(core, payment, OUT_UNLOCKING);
    tell_out(core, WALLET_NEWS_PAID, payment);
}

void wallet_payments_registered(struct wallet_core *core, const struct registration *registration)
{
    struct payment_out *payment = find_by_secret(core, &registration->key.condition);
    if (registration->key.kind != LOCK_SECRET || payment == NULL)
        return;
    if ((payment->state != OUT_LOCKED && payment->state != OUT_DROPPING) ||
        registration->time > payment->expiry)
        return;
    uint8_t secret[32];
    if (payment->state == OUT_DROPPING && !payment->has_secret &&
        !wallet_registration_secret(registration, secret)) {
        const struct lock_set *locks = channel_own(payment->channel->channel)->locks;
        const struct pending_lock *lock = lock_set_find(locks, payment->lock_id);
        if (lock != NULL && lock->failed)
            return; /* the hub has given it up */
        wallet_payment_out_set(core, payment, OUT_LOCKED);
    }
    unlock_registered(core, payment);
}

bool wallet_payments_dropped_on(const struct wallet_core *core, const struct hash *secret_hash)
{
    const struct payment_out *payment = find_by_secret(core, secret_hash);
    return payment != NULL && payment->state == OUT_DROPPED;
}

static struct payment_out *find_by_lock(const struct wallet_core *core, const struct wallet_channel *own,
                                        uint64_t lock_id)
{
    struct payment_out *payment, *next;
    HASH_ITER(hh, core->outs, payment, next)
    {
        bool pending = payment->state == OUT_LOCKED || payment->state == OUT_DROPPING ||
                       payment->state == OUT_DROPPED || payment->state == OUT_UNLOCKING;
        if (payment->channel == own && pending && payment->lock_id == lock_id)
            return payment;
    }
    return NULL;
}

void wallet_payments_unlocked(struct wallet_core *core, struct wallet_channel *own,
                              const struct contract_event *event)
{
    struct payment_out *payment = find_by_lock(core, own, event->lock_id);
    if (payment == NULL)
        return;
    bool told_paid = payment->state == OUT_UNLOCKING, is_news = payment->state == OUT_LOCKED;
    if (event->to_receiver) {
        if (!payment->has_secret)
            (void)take_secret(core, payment, &(struct witness){0}); /* dropped, and registered since */
        wallet_payment_out_set(core, payment, OUT_PAID);
        if (!told_paid)
            tell_out(core, WALLET_NEWS_PAID, payment);
        return;
    }
    if (payment->code == CODE_OK)
        payment->code = CODE_EXPIRED;
    wallet_payment_out_set(core, payment, OUT_FAILED);
    if (is_news)
        tell_out(core, WALLET_NEWS_FAILED, payment);
}

void wallet_payments_closed(struct wallet_core *core, struct wallet_channel *own, uint64_t nonce)
{
    struct payment_out *payment, *next;
    HASH_ITER(hh, core->outs, payment, next)
    {
        bool locked = payment->state == OUT_LOCKED || payment->state == OUT_DROPPING;
        bool dropped = payment->state == OUT_DROPPED;
        bool stood = payment->carrier.nonce <= nonce && (!dropped || payment->drop_nonce > nonce);
        if (payment->channel != own || (!locked && !dropped) || stood)
            continue;
        if (payment->state == OUT_LOCKED)
            wallet_payment_out_fail(core, payment, CODE_STATUS);
        else
            wallet_payment_out_set(core, payment, OUT_FAILED);
    }
}

void wallet_payments_stop(struct wallet_core *core, struct wallet_channel *own, uint64_t code)
{
    struct payment_out *payment, *next;
    DL_FOREACH_SAFE(own->waiting, payment, next)
    {
        wallet_payment_out_fail(core, payment, code);
    }
}

uint64_t wallet_payment_out_ends(const struct wallet_core *core, const struct payment_out *payment)
{
    return payment->expiry - (PLANTED(EXPIRY_EARLY) ? core->terms.reveal_margin_s : 0);
}

static void look_at_locked(struct wallet_core *core, struct payment_out *payment)
{
    uint64_t ends = wallet_payment_out_ends(core, payment);
    if (core->head.confirmed_time <= ends)
        return;
    switch (wallet_condition_fate(core, LOCK_SECRET, &payment->secret_hash, ends)) {
    case CONDITION_UNKNOWN:
        return;
    case CONDITION_MET:
        unlock_registered(core, payment);
        return;
    case CONDITION_LAPSED:
        payment->code = CODE_EXPIRED;
        wallet_payment_out_set(core, payment, OUT_DROPPING);
        tell_out(core, WALLET_NEWS_FAILED, payment);
        return;
    }
}

void wallet_payments_fate_known(struct wallet_core *core, const struct hash *condition)
{
    struct payment_out *payment = find_by_secret(core, condition);
    if (payment != NULL && payment->state == OUT_LOCKED)
        look_at_locked(core, payment);
}

static void look_at_open(struct wallet_core *core, struct wallet_channel *own)
{
    uint64_t now = core->head.confirmed_time;
    struct payment_out *payment, *next;
    DL_FOREACH_SAFE(own->open, payment, next)
    {
        if (payment->state == OUT_LOCKED) {
            look_at_locked(core, payment);
        } else if (payment->state == OUT_DIRECT && now > payment->expiry + OUTCOME_KEPT_S) {
            wallet_payment_out_set(core, payment, OUT_LOST);
            tell_out(core, WALLET_NEWS_LOST, payment);
        }
    }
    DL_FOREACH_SAFE(own->waiting, payment, next)
    {
        if (payment->expiry != 0 && now > payment->expiry)
            wallet_payment_out_fail(core, payment, CODE_EXPIRED);
    }
}

void wallet_payments_head(struct wallet_core *core)
{
    struct wallet_channel *own, *next_own;
    HASH_ITER(hh, core->channels, own, next_own)
    {
        look_at_open(core, own);
    }
    /* The table is in the order of age: forgetting stops at the first that must be kept. */
    struct payment_out *payment, *next;
    HASH_ITER(hh, core->outs, payment, next)
    {
        bool final = payment->state == OUT_PAID || payment->state == OUT_FAILED || payment->state == OUT_LOST;
        if (HASH_COUNT(core->outs) <= core->options.history_max || !final ||
            core->head.confirmed_time <= payment->expiry + OUTCOME_KEPT_S)
            break;
        record_gone(&core->batch, RECORD_PAYMENT_OUT, &payment->id, sizeof(payment->id));
        remove_out(core, payment);
    }
    wallet_incoming_forget(core);
}
