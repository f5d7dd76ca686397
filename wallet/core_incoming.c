/* Payments in: judged against the invoices, answered with the secret, or sent back. */
#include "base/planted.h"
#include "wallet/core_state.h"

#include <string.h>

const char *payment_in_state_name(enum payment_in_state state)
{
    switch (state) {
    case IN_REFUND_DUE:
    case IN_REFUNDED:
        return "sent back";
    case IN_RECEIVED:
        return "received";
    case IN_REVEALED:
        return "arriving";
    case IN_REJECTED:
    case IN_DROPPED:
        return "refused";
    }
    return "?";
}

/* ---- tables ---- */

struct payment_in *wallet_payment_in_find(const struct wallet_core *core, const struct hash *channel,
                                          const struct payment_id *id)
{
    struct payment_in_key key = {*channel, *id};
    struct payment_in *payment;
    HASH_FIND(hh, core->ins, &key, sizeof(key), payment);
    return payment;
}

static void list_refused(struct payment_in *payment, bool add)
{
    struct wallet_channel *own = payment->channel;
    if (add) {
        DL_APPEND(own->refused, payment);
        own->refused_count++;
    } else {
        DL_DELETE(own->refused, payment);
        own->refused_count--;
    }
}

void wallet_payment_in_list(struct payment_in *payment, bool add)
{
    struct wallet_channel *own = payment->channel;
    struct payment_in **list = NULL;
    switch ((enum payment_in_state)payment->state) {
    case IN_REFUND_DUE:
        list = &own->refunds;
        break;
    case IN_REVEALED:
        list = &own->revealed;
        break;
    case IN_REJECTED:
        list = &own->rejected;
        break;
    case IN_REFUNDED:
    case IN_DROPPED:
        if (payment->counter == 0)
            list_refused(payment, add);
        return;
    case IN_RECEIVED:
        return;
    }
    if (add) {
        DL_APPEND(*list, payment);
    } else {
        DL_DELETE(*list, payment);
    }
}

void wallet_payment_in_index(struct wallet_core *core, struct payment_in *payment)
{
    HASH_ADD(hh, core->ins, key, sizeof(payment->key), payment);
    wallet_payment_in_list(payment, true);
    if (!amount_is_zero(payment->repeated))
        DL_APPEND2(payment->channel->repeats, payment, repeat_prev, repeat_next);
}

struct payment_view wallet_payment_in_view(const struct payment_in *payment)
{
    return (struct payment_view){
        .outgoing = false,
        .locked = payment->locked,
        .state = payment->state,
        .id = payment->key.id,
        .channel = payment->key.channel,
        .asset = payment->channel->channel->key.asset,
        .amount = payment->amount,
        .secret_hash = payment->secret_hash,
        .expiry = payment->expiry,
        .created = payment->created,
        .code = payment->code,
        .carrier = payment->carrier,
        .memo = payment->memo != NULL ? payment->memo : "",
    };
}

static void tell_received(struct wallet_core *core, const struct payment_in *payment)
{
    struct wallet_news news = {.type = WALLET_NEWS_RECEIVED,
                               .payment = wallet_payment_in_view(payment),
                               .channel = payment->key.channel,
                               .asset = payment->channel->channel->key.asset,
                               .amount = payment->amount};
    wallet_tell(core, &news);
}

void wallet_payment_in_set(struct wallet_core *core, struct payment_in *payment, enum payment_in_state state)
{
    wallet_payment_in_list(payment, false);
    payment->state = (uint8_t)state;
    wallet_payment_in_list(payment, true);
    wallet_payment_in_write(core, payment);
}

bool wallet_payment_in_secret(const struct wallet_core *core, const struct payment_in *payment,
                              uint8_t secret[32])
{
    if (payment->counter == 0)
        return false;
    wallet_invoice_secret(core, payment->counter, secret);
    return true;
}

void wallet_incoming_reveal(struct payment_in *payment)
{
    struct wallet_channel *own = payment->channel;
    if (!own->synced || payment->counter == 0 || payment->revealing)
        return;
    if (own->reveal_count == own->reveal_capacity) {
        own->reveal_capacity = own->reveal_capacity == 0 ? 16 : own->reveal_capacity * 2;
        own->reveals = xrealloc(own->reveals, own->reveal_capacity * sizeof(struct payment_in *));
    }
    own->reveals[own->reveal_count++] = payment;
    payment->revealing = true;
}

void wallet_incoming_unsay(struct wallet_channel *own)
{
    for (size_t i = 0; i < own->reveal_count; i++)
        own->reveals[i]->revealing = false;
    own->reveal_count = own->fail_count = 0;
}

static void push_fail(struct wallet_channel *own, const struct payment_id *id, uint64_t code)
{
    if (own->fail_count == own->fail_capacity) {
        own->fail_capacity = own->fail_capacity == 0 ? 8 : own->fail_capacity * 2;
        own->fails = xrealloc(own->fails, own->fail_capacity * sizeof(*own->fails));
    }
    own->fails[own->fail_count++] = (struct failed){*id, code};
}

/* ---- time to register ---- */

#define BLOCKS_TO_MINE  4 /* the wallet hears of one, sends, and is in one of the next three */
#define LOOK_WAIT_MAX_S 3600

/* Before a lock's expiry, for the ledger to be told its secret: the hub's word on this has a floor of the wallet's own. */
static uint64_t register_margin(const struct wallet_core *core)
{
    uint64_t margin = core->terms.reveal_margin_s, mined = BLOCKS_TO_MINE * core->block_ms / 1000;
    if (margin < core->options.reveal_margin_s)
        margin = core->options.reveal_margin_s;
    return margin < mined ? mined : margin;
}

/* What a registration has to beat: confirmed time lags behind it. */
static uint64_t newest_time(const struct wallet_core *core)
{
    return core->head.time > core->head.confirmed_time ? core->head.time : core->head.confirmed_time;
}

static uint64_t register_from(const struct wallet_core *core, const struct payment_in *payment)
{
    uint64_t margin = register_margin(core);
    if (margin < payment->margin_s)
        margin = payment->margin_s;
    return payment->expiry > margin ? payment->expiry - margin : 0;
}

static void look_at(struct wallet_core *core, uint64_t unix_s)
{
    if (unix_s < core->register_look_s)
        core->register_look_s = unix_s;
}

static void register_one(struct wallet_core *core, const struct payment_in *payment)
{
    uint8_t secret[32];
    if (wallet_ledger_registration(core, LOCK_SECRET, &payment->secret_hash) != NULL ||
        !wallet_payment_in_secret(core, payment, secret))
        return;
    wallet_ledger_register(core, &payment->secret_hash, secret);
    look_at(core, core->unix_s + 1); /* again, should it fail */
}

/* Not unlocked when the margin begins: the ledger is the place where the secret still counts. Where blocks come on demand
 * only, the wall clock is what the next one's time will be. */
void wallet_incoming_register(struct wallet_core *core)
{
    if (PLANTED(SECRET_NOT_REGISTERED))
        return;
    if (core->head_moved || core->unix_s >= core->register_look_s) {
        uint64_t newest = newest_time(core), now = newest > core->unix_s ? newest : core->unix_s;
        core->register_look_s = UINT64_MAX;
        struct wallet_channel *own, *next_own;
        HASH_ITER(hh, core->channels, own, next_own)
        {
            const struct payment_in *payment;
            DL_FOREACH(own->revealed, payment)
            {
                bool closing = own->closing_seen || own->channel->funds.stage != STAGE_OPEN;
                uint64_t from = register_from(core, payment);
                if (newest > payment->expiry)
                    continue;
                if (closing || now >= from)
                    register_one(core, payment);
                else
                    look_at(core, from);
            }
        }
    }
    if (core->register_look_s == UINT64_MAX)
        return;
    uint64_t wait_s = core->register_look_s > core->unix_s ? core->register_look_s - core->unix_s : 0;
    wallet_due(core, core->now_ms + 1000 * (wait_s < LOOK_WAIT_MAX_S ? wait_s : LOOK_WAIT_MAX_S));
}

/* ---- what arrives ---- */

/* What is wrong with a payment as an answer to an invoice of ours; CODE_OK: nothing. */
static enum code judge(const struct wallet_core *core, const struct wallet_channel *own,
                       const struct operation *operation, const struct invoice_issued *invoice)
{
    if (invoice == NULL || !address_equal(&invoice->asset, &own->channel->key.asset))
        return CODE_INVOICE;
    if (operation->type == OPERATION_LOCK && operation->kind != LOCK_SECRET)
        return CODE_INVOICE;
    if (invoice->paid)
        return CODE_PAID;
    bool any = amount_is_zero(invoice->amount);
    if (amount_is_zero(operation->amount) ||
        (!any && amount_compare(operation->amount, invoice->amount) != 0))
        return CODE_AMOUNT;
    if (core->head.confirmed_time > invoice->expiry)
        return CODE_EXPIRED;
    if (operation->type == OPERATION_LOCK &&
        (unsigned_wide)newest_time(core) + 2 * register_margin(core) >= operation->expiry)
        return CODE_EXPIRED;
    return CODE_OK;
}

static struct payment_in *new_payment(const struct wallet_core *core, struct wallet_channel *own,
                                      const struct operation *operation)
{
    struct payment_in *payment = xcalloc(1, sizeof(*payment));
    payment->key.channel = own->id;
    payment->key.id = operation->id;
    payment->channel = own;
    payment->secret_hash = operation->condition;
    payment->amount = operation->amount;
    payment->expiry = operation->expiry;
    payment->created = core->unix_s;
    payment->carrier = core->carrier;
    payment->locked = operation->type == OPERATION_LOCK;
    payment->margin_s = payment->locked ? register_margin(core) : 0;
    if (operation->memo.length > 0) {
        payment->memo = xcalloc(1, operation->memo.length + 1);
        memcpy(payment->memo, operation->memo.data, operation->memo.length);
    }
    return payment;
}

/* The id came before: the money goes back and the first outcome is said again. */
static void repeated(struct wallet_core *core, struct payment_in *first, const struct operation *operation)
{
    struct amount sum;
    if (!amount_is_zero(operation->amount) && amount_add(first->repeated, operation->amount, &sum)) {
        if (amount_is_zero(first->repeated))
            DL_APPEND2(first->channel->repeats, first, repeat_prev, repeat_next);
        first->repeated = sum;
        wallet_payment_in_write(core, first);
    }
    if (first->state == IN_RECEIVED || first->state == IN_REVEALED)
        wallet_incoming_reveal(first);
}

static void take_invoice(struct wallet_core *core, struct invoice_issued *invoice, struct payment_in *payment)
{
    invoice->paid = true;
    ensure(core->invoices_open > 0);
    core->invoices_open--;
    payment->counter = invoice->counter;
    wallet_invoice_write(core, invoice);
}

void wallet_incoming_pay(struct wallet_core *core, struct wallet_channel *own,
                         const struct operation *operation)
{
    struct payment_in *first = wallet_payment_in_find(core, &own->id, &operation->id);
    if (first != NULL) {
        repeated(core, first, operation);
        return;
    }
    struct invoice_issued *invoice = wallet_invoice_find(core, &operation->condition);
    struct payment_in *payment = new_payment(core, own, operation);
    payment->code = judge(core, own, operation, invoice);
    payment->state = payment->code == CODE_OK ? IN_RECEIVED : IN_REFUND_DUE;
    wallet_payment_in_index(core, payment);
    if (payment->code == CODE_OK) {
        take_invoice(core, invoice, payment);
        wallet_incoming_reveal(payment);
        tell_received(core, payment);
    }
    wallet_payment_in_write(core, payment);
}

/* Under an id of which another lock is pending there is nothing that can be said of this one alone: it runs
 * out. */
static void repeated_lock(struct wallet_channel *own, struct payment_in *first)
{
    if (first->state == IN_REVEALED || first->state == IN_REJECTED)
        return;
    if (channel_mark_failed(own->channel, &first->key.id))
        push_fail(own, &first->key.id, CODE_DUPLICATE);
    if (first->state == IN_RECEIVED && !first->locked)
        wallet_incoming_reveal(first);
}

void wallet_incoming_lock(struct wallet_core *core, struct wallet_channel *own,
                          const struct operation *operation, const struct pending_lock *lock)
{
    struct payment_in *first = wallet_payment_in_find(core, &own->id, &operation->id);
    if (first != NULL) {
        repeated_lock(own, first);
        return;
    }
    struct invoice_issued *invoice = wallet_invoice_find(core, &operation->condition);
    struct payment_in *payment = new_payment(core, own, operation);
    payment->amount = lock->lock.amount;
    payment->code = judge(core, own, operation, invoice);
    payment->state = payment->code == CODE_OK ? IN_REVEALED : IN_REJECTED;
    wallet_payment_in_index(core, payment);
    if (payment->code == CODE_OK) {
        take_invoice(core, invoice, payment);
        wallet_incoming_reveal(payment);
        look_at(core, register_from(core, payment));
        own->change++;
    } else if (channel_mark_failed(own->channel, &operation->id)) {
        push_fail(own, &operation->id, payment->code);
    }
    wallet_payment_in_write(core, payment);
}

void wallet_incoming_lock_gone(struct wallet_core *core, struct wallet_channel *own,
                               const struct operation *operation, const struct pending_lock *lock)
{
    struct payment_in *payment = wallet_payment_in_find(core, &own->id, &lock->payment);
    if (payment == NULL || !payment->locked ||
        (payment->state != IN_REVEALED && payment->state != IN_REJECTED))
        return;
    if (operation->type != OPERATION_UNLOCK) {
        wallet_payment_in_set(core, payment, IN_DROPPED);
        return;
    }
    payment->carrier = core->carrier;
    wallet_payment_in_set(core, payment, IN_RECEIVED);
    tell_received(core, payment);
}

/* ---- afterwards ---- */

void wallet_incoming_resume(struct wallet_core *core, struct wallet_channel *own)
{
    wallet_incoming_unsay(own);
    own->synced = true;
    struct payment_in *payment, *next;
    DL_FOREACH(own->revealed, payment)
    {
        wallet_incoming_reveal(payment);
    }
    DL_FOREACH(own->rejected, payment)
    {
        push_fail(own, &payment->key.id, payment->code);
    }
    HASH_ITER(hh, core->ins, payment, next)
    {
        if (payment->channel == own && payment->state == IN_RECEIVED && !payment->locked &&
            core->head.confirmed_time <= payment->expiry)
            wallet_incoming_reveal(payment);
    }
}

/* In a channel that has ended nothing changes any more, whatever it was about to become. */
static bool is_final(const struct payment_in *payment)
{
    const struct wallet_channel *own = payment->channel;
    if (payment->revealing)
        return false;
    if (own->channel->funds.stage == STAGE_CLOSED && !own->watch.active)
        return true;
    bool over =
        payment->state == IN_REFUNDED || payment->state == IN_RECEIVED || payment->state == IN_DROPPED;
    return over && amount_is_zero(payment->repeated);
}

static void forget(struct wallet_core *core, struct payment_in *payment)
{
    wallet_payment_in_list(payment, false);
    if (!amount_is_zero(payment->repeated))
        DL_DELETE2(payment->channel->repeats, payment, repeat_prev, repeat_next);
    record_gone(&core->batch, RECORD_PAYMENT_IN, &payment->key, sizeof(payment->key));
    HASH_DEL(core->ins, payment);
    free(payment->memo);
    free(payment);
}

/* The table is in the order of age: forgetting stops at the first that must be kept. */
void wallet_incoming_forget(struct wallet_core *core)
{
    struct payment_in *payment, *next;
    HASH_ITER(hh, core->ins, payment, next)
    {
        if (HASH_COUNT(core->ins) <= core->options.history_max || !is_final(payment) ||
            core->head.confirmed_time <= payment->expiry + OUTCOME_KEPT_S)
            return;
        forget(core, payment);
    }
}

void wallet_incoming_trim(struct wallet_core *core, struct wallet_channel *own)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
    while (own->refused_count > REFUSED_KEPT_MAX && is_final(own->refused))
        forget(core, own->refused);
}

void wallet_incoming_restore(struct wallet_core *core, struct wallet_channel *own)
{
    struct lock_set *locks = channel_peer(own->channel)->locks;
    size_t count = 0, capacity = lock_set_count(locks);
    if (capacity == 0)
        return;
    struct hash *conditions = xcalloc(capacity, sizeof(*conditions));
    uint64_t *counters = xcalloc(capacity, sizeof(*counters));
    struct payment_in **found = xcalloc(capacity, sizeof(struct payment_in *));
    for (struct pending_lock *lock = lock_set_next(locks, 0); lock != NULL;
         lock = lock_set_next(locks, lock->lock.id)) {
        if (wallet_payment_in_find(core, &own->id, &lock->payment) != NULL)
            continue;
        struct operation operation = {.type = OPERATION_LOCK,
                                      .id = lock->payment,
                                      .amount = lock->lock.amount,
                                      .expiry = lock->lock.expiry,
                                      .condition = lock->lock.condition};
        found[count] = new_payment(core, own, &operation);
        conditions[count++] = lock->lock.condition;
    }
    wallet_invoice_search(core, conditions, counters, count);
    for (size_t i = 0; i < count; i++) {
        found[i]->counter = counters[i];
        found[i]->state = counters[i] != 0 ? IN_REVEALED : IN_REJECTED;
        found[i]->code = counters[i] != 0 ? CODE_OK : CODE_INVOICE;
        wallet_payment_in_index(core, found[i]);
        wallet_payment_in_write(core, found[i]);
        /* A lock of which no secret is known is failed, once connected, by wallet_incoming_resume. */
        bool known = counters[i] != 0 || channel_mark_failed(own->channel, &found[i]->key.id);
        ensure(known);
    }
    free(conditions);
    free(counters);
    free(found);
}
