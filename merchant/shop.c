#include "merchant/shop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/code.h"
#include "base/ensure.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "merchant/render.h"
#include "store/store.h"
#include "wallet/command.h"

#define RECORDS_VERSION   1
#define EXPIRE_A_TICK_MAX 500 /* the rest a second later */
#define LOOK_AGAIN_S      60  /* at an invoice that is due while a payment of it arrives */
#define PRUNE_EVERY_S     600
#define DAY_S             86400

/* ---- life ---- */

void shop_init(struct shop *shop, const struct shop_options *options, struct session *session)
{
    *shop = (struct shop){.options = *options, .session = session, .next_number = 1};
}

static bool visit(void *context, const struct record *record)
{
    return shop_read(context, record);
}

bool shop_open(struct shop *shop, const char *folder, char *message, size_t message_size)
{
    char path[1300];
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        snprintf(message, message_size, "cannot make the folder %s: %s", folder, strerror(errno));
        return false;
    }
    if (snprintf(path, sizeof(path), "%s/journal", folder) >= (int)sizeof(path)) {
        snprintf(message, message_size, "the path of the folder is too long: choose a shorter --home");
        return false;
    }
    struct store_options options = {.path = path,
                                    .application = "merchant",
                                    .version = RECORDS_VERSION,
                                    .archive_days = (uint32_t)shop->options.keep_days};
    if (store_open(&options, &shop->journal, message, message_size) != STORE_OK)
        return false;
    if (!journal_recover(shop->journal, visit, shop)) {
        snprintf(message, message_size, "the journal in %s is damaged: a record in it is not understood",
                 path);
        return false;
    }
    shop->published = shop->last;
    shop_sort_lists(shop);
    shop_answers_sort(shop);
    return true;
}

void shop_close(struct shop *shop)
{
    if (shop->journal != NULL && shop->batch.length > 0)
        shop_commit_wait(shop);
    journal_close(shop->journal);
    shop->journal = NULL;
    shop_events_free(shop);
    shop_tables_free(shop);
    shop_answers_free(shop);
    buffer_free(&shop->batch);
    buffer_free(&shop->archive);
}

uint64_t shop_now(const struct shop *shop)
{
    uint64_t now = clock_unix_s();
    return now < shop->last.time ? shop->last.time : now;
}

void shop_commit(struct shop *shop)
{
    if (shop->batch.length == 0) {
        ensure(shop->archive.length == 0);
        return;
    }
    if (shop->archive.length > 0)
        buffer_append(&shop->batch, shop->archive.data, shop->archive.length);
    shop->appended = journal_append(shop->journal, shop->batch.data, shop->batch.length);
    buffer_clear(&shop->batch);
    buffer_clear(&shop->archive);
    shop_events_committed(shop);
}

void shop_commit_wait(struct shop *shop)
{
    shop_commit(shop);
    if (shop->appended > 0)
        journal_wait(shop->journal, shop->appended);
}

void shop_durable(struct shop *shop)
{
    struct event_place before = shop->published;
    shop_events_durable(shop, journal_durable(shop->journal));
    if (event_place_compare(&before, &shop->published) != 0 && shop->on_published != NULL)
        shop->on_published(shop->published_context);
}

/* ---- invoices ---- */

static void tell_invoice(struct shop *shop, enum event_type type, const struct shop_invoice *invoice)
{
    shop_event(shop, type, &invoice->id, "invoice", render_invoice(shop, invoice));
}

static void set_state(struct shop *shop, struct shop_invoice *invoice, enum invoice_state state,
                      enum event_type type)
{
    invoice->state = state;
    invoice->ended = shop_now(shop);
    shop_write_invoice(shop, invoice);
    tell_invoice(shop, type, invoice);
}

static char *copy_text(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

int shop_invoice_create(struct shop *shop, const struct invoice_request *request, struct shop_invoice **out)
{
    char text[RILL_INVOICE_TEXT_MAX];
    struct hash secret_hash;
    if (shop->invoice_count >= shop->options.invoices_max)
        return -1;
    int code = rill_invoice_create(shop->session->wallet, request->asset->address, request->amount,
                                   request->lifetime_s, request->memo, text, secret_hash.bytes);
    if (code != 0)
        return code;
    struct shop_invoice *invoice = xcalloc(1, sizeof(*invoice));
    invoice->id = object_id_random();
    invoice->number = shop->next_number++;
    invoice->created = shop_now(shop);
    invoice->expires = rill_ledger_time(shop->session->ledger) + request->lifetime_s;
    memcpy(invoice->asset.bytes, request->asset->address, sizeof(invoice->asset.bytes));
    invoice->amount = request->amount;
    invoice->secret_hash = secret_hash;
    invoice->text = xstrdup(text);
    invoice->memo = copy_text(request->memo);
    invoice->external_id = copy_text(request->external_id);
    invoice->metadata = copy_text(request->metadata);
    shop_add_invoice(shop, invoice);
    shop_watch_expiry(shop, invoice, invoice->expires);
    shop_write_invoice(shop, invoice);
    tell_invoice(shop, EVENT_INVOICE_CREATED, invoice);
    shop->invoices_created++;
    *out = invoice;
    return 0;
}

int shop_invoice_cancel(struct shop *shop, struct shop_invoice *invoice)
{
    ensure(invoice->state == INVOICE_OPEN);
    int code = rill_invoice_cancel(shop->session->wallet, invoice->secret_hash.bytes);
    if (code != 0 && code != CODE_INVOICE) /* INVOICE: the wallet has let it go already */
        return code;
    set_state(shop, invoice, INVOICE_CANCELLED, EVENT_INVOICE_CANCELLED);
    shop->invoices_cancelled++;
    return 0;
}

static void expire(struct shop *shop)
{
    uint8_t secret[32];
    uint64_t now = rill_ledger_time(shop->session->ledger);
    struct shop_invoice *invoice;
    for (size_t i = 0; i < EXPIRE_A_TICK_MAX && (invoice = shop_next_expired(shop, now)) != NULL; i++) {
        if (rill_invoice_receipt(shop->session->wallet, invoice->secret_hash.bytes, secret)) {
            shop_watch_expiry(shop, invoice, now + LOOK_AGAIN_S);
            continue;
        }
        set_state(shop, invoice, INVOICE_EXPIRED, EVENT_INVOICE_EXPIRED);
        shop->invoices_expired++;
    }
    bytes_wipe(secret, sizeof(secret));
}

void shop_tick(struct shop *shop)
{
    uint64_t now = shop_now(shop), kept = shop->options.keep_days * DAY_S;
    expire(shop);
    shop_answers_prune(shop, now);
    if (now >= shop->pruned + PRUNE_EVERY_S) {
        shop->pruned = now;
        shop_prune(shop, now > kept ? now - kept : 0);
    }
    shop_commit(shop);
}

/* ---- payments in ---- */

/* The wallet's id of a payment is the hub's choice within one channel: with the channel it is the shop's own. */
static struct object_id payment_name(const struct rill_payment *payment)
{
    uint8_t both[sizeof(payment->channel) + sizeof(payment->id)];
    struct object_id id;
    memcpy(both, payment->channel, sizeof(payment->channel));
    memcpy(both + sizeof(payment->channel), payment->id, sizeof(payment->id));
    struct hash hash = sha256(both, sizeof(both));
    memcpy(id.bytes, hash.bytes, sizeof(id.bytes));
    return id;
}

static struct shop_invoice *invoice_of(const struct shop *shop, const uint8_t secret_hash[32])
{
    struct shop_invoice *invoice;
    HASH_FIND(hh_hash, shop->invoices_by_hash, secret_hash, sizeof(struct hash), invoice);
    return invoice;
}

static void add_history(struct shop *shop, enum history_kind kind, const struct object_id *id,
                        const struct payment *payment, uint64_t amount, const char *memo)
{
    const struct shop_invoice *invoice = payment->invoice;
    struct history_row row = {.kind = kind,
                              .id = *id,
                              .invoice = invoice->id,
                              .payment = payment->id,
                              .asset = invoice->asset,
                              .amount = amount};
    snprintf(row.memo, sizeof(row.memo), "%s", memo != NULL ? memo : "");
    snprintf(row.external_id, sizeof(row.external_id), "%s",
             invoice->external_id != NULL ? invoice->external_id : "");
    shop_history_add(shop, &row);
}

/* Once for each invoice: the wallet accepts one payment of it. */
void shop_received(struct shop *shop, const struct rill_payment *received)
{
    struct shop_invoice *invoice = invoice_of(shop, received->secret_hash);
    if (invoice == NULL || invoice->payment != NULL)
        return;
    struct payment *payment = xcalloc(1, sizeof(*payment));
    payment->id = payment_name(received);
    payment->number = shop->next_number++;
    payment->invoice = invoice;
    payment->amount = received->amount;
    payment->received = shop_now(shop);
    payment->has_secret = rill_invoice_receipt(shop->session->wallet, received->secret_hash, payment->secret);
    payment->memo = copy_text(received->memo != NULL && received->memo[0] != '\0' ? received->memo : NULL);
    shop_add_payment(shop, payment);
    shop_write_payment(shop, payment);
    add_history(shop, HISTORY_PAYMENT, &payment->id, payment, payment->amount, payment->memo);
    set_state(shop, invoice, INVOICE_PAID, EVENT_INVOICE_PAID);
    shop_event(shop, EVENT_PAYMENT_RECEIVED, &invoice->id, "payment", render_payment(shop, payment));
    shop->invoices_paid++;
    shop_commit(shop);
}

/* ---- refunds ---- */

uint64_t shop_refunded(const struct payment *payment)
{
    uint64_t sum = 0;
    const struct refund *refund;
    DL_FOREACH(payment->refunds, refund)
    {
        sum += refund->state == REFUND_FAILED ? 0 : refund->amount;
    }
    return sum;
}

struct refund *shop_refund_create(struct shop *shop, struct payment *payment, uint64_t amount,
                                  const char *invoice, const uint8_t secret_hash[32])
{
    ensure(amount > 0 && amount <= payment->amount - shop_refunded(payment));
    struct refund *refund = xcalloc(1, sizeof(*refund));
    refund->id = object_id_random();
    refund->payment = payment;
    refund->created = shop_now(shop);
    refund->amount = amount;
    refund->invoice = xstrdup(invoice);
    memcpy(refund->secret_hash.bytes, secret_hash, sizeof(refund->secret_hash.bytes));
    HASH_ADD(hh, shop->refunds, id, sizeof(refund->id), refund);
    DL_APPEND(payment->refunds, refund);
    shop_write_refund(shop, refund);
    return refund;
}

static void refund_ended(struct shop *shop, struct refund *refund, enum refund_state state, int code)
{
    refund->state = state;
    refund->code = code;
    refund->ended = shop_now(shop);
    refund->under_way = false;
    shop_write_refund(shop, refund);
}

static void refund_paid(struct shop *shop, struct refund *refund, const struct rill_payment *paid)
{
    struct payment *payment = refund->payment;
    refund->state = REFUND_PAID;
    refund->ended = shop_now(shop);
    refund->under_way = false;
    memcpy(refund->secret, paid->secret, sizeof(refund->secret));
    shop_write_refund(shop, refund);
    add_history(shop, HISTORY_REFUND, &refund->id, payment, refund->amount, payment->memo);
    shop_event(shop, EVENT_PAYMENT_REFUNDED, &payment->invoice->id, "payment", render_payment(shop, payment));
}

/* What the hub asks for now; before the first connection the wallet has a bound of its own. */
static uint64_t refund_fee(const struct shop *shop, const struct refund *refund)
{
    struct rill_terms terms;
    struct amount fee;
    bool known =
        rill_terms_of(shop->session->wallet, refund->payment->invoice->asset.bytes, &terms) &&
        amount_fee(amount_of(refund->amount), amount_of(terms.base_fee), (uint32_t)terms.fee_ppm, &fee);
    return known ? fee.units : 0;
}

int shop_refund_send(struct shop *shop, struct refund *refund)
{
    /* An invoice that names its amount names this one: the wallet refuses any other. */
    struct rill_request request = {
        .invoice = refund->invoice, .amount = refund->amount, .fee_max = refund_fee(shop, refund)};
    int code = rill_pay(shop->session->wallet, &request, refund->wire);
    refund->under_way = code == 0;
    if (code != 0)
        refund_ended(shop, refund, REFUND_FAILED, code);
    return code;
}

static struct refund *refund_of(struct shop *shop, const uint8_t secret_hash[32])
{
    for (struct refund *each = shop->refunds; each != NULL; each = each->hh.next)
        if (each->state == REFUND_PENDING && memcmp(each->secret_hash.bytes, secret_hash, 32) == 0)
            return each;
    return NULL;
}

void shop_outgoing(struct shop *shop, const struct rill_payment *payment)
{
    struct refund *refund = refund_of(shop, payment->secret_hash);
    if (refund == NULL)
        return;
    if (payment->has_secret)
        refund_paid(shop, refund, payment);
    else if (payment->is_final)
        /* What is lost, or paid without a receipt, may have been taken. */
        refund_ended(shop, refund, strcmp(payment->state, "failed") == 0 ? REFUND_FAILED : REFUND_UNKNOWN,
                     payment->code);
    else
        return; /* failed, but the hub may collect it yet: it counts until the money is back */
    shop_commit(shop);
}

/* ---- payouts ---- */

struct payout *shop_payout_create(struct shop *shop, const struct address *asset, uint64_t amount, bool asked)
{
    struct payout *payout = xcalloc(1, sizeof(*payout));
    payout->id = object_id_random();
    payout->number = shop->next_number++;
    payout->asset = *asset;
    payout->amount = amount;
    payout->created = shop_now(shop);
    payout->asked = asked;
    shop_add_payout(shop, payout);
    shop_write_payout(shop, payout);
    shop_write_meta(shop);
    return payout;
}

static struct payout *pending_payout(const struct shop *shop, const struct address *asset)
{
    for (size_t i = shop->payout_count; i > 0; i--) {
        struct payout *payout = shop->payout_list[i - 1];
        if (payout->state == PAYOUT_PENDING && address_equal(&payout->asset, asset))
            return payout;
    }
    return NULL;
}

static void payout_ended(struct shop *shop, struct payout *payout, enum payout_state state)
{
    payout->state = state;
    payout->ended = shop_now(shop);
    shop_write_payout(shop, payout);
    if (state != PAYOUT_SETTLED)
        return;
    struct history_row row = {
        .kind = HISTORY_PAYOUT, .id = payout->id, .asset = payout->asset, .amount = payout->amount};
    shop_history_add(shop, &row);
    shop_event(shop, EVENT_PAYOUT_SETTLED, &payout->id, "payout", render_payout(shop, payout));
}

int shop_payout_send(struct shop *shop, struct payout *payout)
{
    payout->code = rill_withdraw(shop->session->wallet, payout->asset.bytes, payout->amount);
    if (payout->code != 0)
        payout_ended(shop, payout, PAYOUT_FAILED);
    return payout->code;
}

/* A settlement that nobody asked for here is the policy's; one without money moves the hub's own. */
void shop_settled(struct shop *shop, const struct rill_settlement *settlement)
{
    struct address asset;
    memcpy(asset.bytes, settlement->asset, sizeof(asset.bytes));
    struct payout *payout = pending_payout(shop, &asset);
    if (settlement->amount == 0 && !settlement->close)
        return;
    if (payout == NULL) {
        if (!settlement->settled)
            return;
        payout = shop_payout_create(shop, &asset, settlement->amount, false);
    }
    payout->code = settlement->code;
    if (settlement->settled) {
        payout->amount = settlement->amount;
        memcpy(payout->transaction.bytes, settlement->transaction, sizeof(payout->transaction.bytes));
    }
    payout_ended(shop, payout, settlement->settled ? PAYOUT_SETTLED : PAYOUT_FAILED);
    shop_commit(shop);
}

/* ---- after a crash ---- */

static bool reconcile_one(void *context, const struct rill_payment *payment)
{
    struct shop *shop = context;
    if (!payment->outgoing && strcmp(payment->state, "received") == 0) {
        shop_received(shop, payment);
        return true;
    }
    struct refund *refund = payment->outgoing ? refund_of(shop, payment->secret_hash) : NULL;
    if (refund == NULL)
        return true;
    refund->under_way = !payment->is_final;
    if (payment->is_final)
        shop_outgoing(shop, payment);
    return true;
}

void shop_reconcile(struct shop *shop)
{
    rill_history(shop->session->wallet, reconcile_one, shop);
    for (struct refund *each = shop->refunds; each != NULL; each = each->hh.next)
        if (each->state == REFUND_PENDING && !each->under_way)
            (void)shop_refund_send(shop, each);
    for (size_t i = 0; i < shop->payout_count; i++) {
        struct payout *payout = shop->payout_list[i];
        if (payout->state != PAYOUT_PENDING ||
            rill_withdrawal(shop->session->wallet, payout->asset.bytes) != 0)
            continue;
        log_warn("a payout ended, or was never begun, while this program was not there: the ledger has what "
                 "became of it");
        payout_ended(shop, payout, PAYOUT_UNKNOWN);
    }
    shop_commit_wait(shop);
}
