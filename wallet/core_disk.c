/* The wallet's records: see docs/journal.md for the table. */
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

#include "channel/signed_proof.h"

/* ---- writing ---- */

void wallet_disk_write_identity(struct wallet_core *core)
{
    size_t mark = record_begin(&core->batch, RECORD_WALLET, NULL, 0);
    buffer_u64(&core->batch, core->options.domain.chain_id);
    buffer_append(&core->batch, core->options.domain.contract.bytes, 20);
    buffer_append(&core->batch, core->options.hub.bytes, 20);
    buffer_append(&core->batch, core->self.bytes, 20);
    record_end(&core->batch, mark);
}

void wallet_disk_write_cursor(struct wallet_core *core)
{
    size_t mark = record_begin(&core->batch, RECORD_CURSOR, NULL, 0);
    buffer_u64(&core->batch, core->cursor);
    record_end(&core->batch, mark);
    core->cursor_written = core->cursor;
}

void wallet_disk_write_counter(struct wallet_core *core)
{
    size_t mark = record_begin(&core->batch, RECORD_COUNTER, NULL, 0);
    buffer_u64(&core->batch, core->counter);
    record_end(&core->batch, mark);
}

void wallet_disk_write_terms(struct wallet_core *core)
{
    size_t mark = record_begin(&core->batch, RECORD_TERMS, NULL, 0);
    buffer_u64(&core->batch, core->terms.reveal_margin_s);
    buffer_u64(&core->batch, core->terms.min_expiry_s);
    buffer_u64(&core->batch, core->terms.max_expiry_s);
    buffer_u64(&core->batch, core->terms.settle_window_s);
    for (size_t i = 0; i < core->pinned_count; i++) {
        buffer_append(&core->batch, core->pinned[i].asset.bytes, 20);
        buffer_u64(&core->batch, core->pinned[i].direct_limit.units);
    }
    record_end(&core->batch, mark);
}

void wallet_disk_forget_channel(struct wallet_core *core, const struct hash *id)
{
    record_gone(&core->batch, RECORD_CHANNEL, id, sizeof(*id));
    record_gone(&core->batch, RECORD_BOOK, id, sizeof(*id));
}

/* Bits of a channel's book. On disk: do not renumber. */
enum book_flag {
    BOOK_WISH = 1,
    BOOK_WISH_CLOSE = 2,
    BOOK_DISPUTE = 4,
    BOOK_WATCH = 8,
    BOOK_CLOSING_SEEN = 16,
    BOOK_WISH_BY_POLICY = 32,
    BOOK_ENDED = 64,  /* how, and when, follows */
    BOOK_BY_HUB = 128 /* the close that is watched was begun by the hub */
};

void wallet_disk_write_book(struct wallet_core *core, const struct wallet_channel *own)
{
    size_t mark = record_begin(&core->batch, RECORD_BOOK, &own->id, sizeof(own->id));
    buffer_u64(&core->batch, own->mark_block);
    buffer_u32(&core->batch, own->mark_log);
    buffer_u8(&core->batch,
              (uint8_t)((own->wish.active ? BOOK_WISH : 0) | (own->wish.close ? BOOK_WISH_CLOSE : 0) |
                        (own->dispute ? BOOK_DISPUTE : 0) | (own->watch.active ? BOOK_WATCH : 0) |
                        (own->closing_seen ? BOOK_CLOSING_SEEN : 0) |
                        (own->wish.by_policy ? BOOK_WISH_BY_POLICY : 0) |
                        (own->ending.by != 0 ? BOOK_ENDED : 0) | (own->watch.by_hub ? BOOK_BY_HUB : 0)));
    buffer_u64(&core->batch, own->wish.amount.units);
    buffer_u64(&core->batch, own->ending.to_client.units);
    if (own->ending.by != 0) {
        buffer_u8(&core->batch, own->ending.by);
        buffer_u64(&core->batch, own->ending.time);
        buffer_u64(&core->batch, own->ending.penalty.units);
    }
    record_end(&core->batch, mark);
}

void wallet_disk_write_payout(struct wallet_core *core, const struct payout_of_asset *payout)
{
    size_t mark = record_begin(&core->batch, RECORD_PAYOUT, &payout->asset, sizeof(payout->asset));
    buffer_u8(&core->batch, (uint8_t)payout->policy.mode);
    buffer_u16(&core->batch, payout->policy.minute);
    buffer_u64(&core->batch, payout->policy.threshold.units);
    buffer_u64(&core->batch, payout->policy.keep.units);
    buffer_u64(&core->batch, payout->policy.done_s);
    record_end(&core->batch, mark);
}

void wallet_invoice_write(struct wallet_core *core, const struct invoice_issued *invoice)
{
    size_t mark =
        record_begin(&core->batch, RECORD_INVOICE, &invoice->secret_hash, sizeof(invoice->secret_hash));
    buffer_u64(&core->batch, invoice->counter);
    buffer_append(&core->batch, invoice->asset.bytes, 20);
    buffer_u64(&core->batch, invoice->amount.units);
    buffer_u64(&core->batch, invoice->expiry);
    buffer_u8(&core->batch, invoice->paid);
    record_end(&core->batch, mark);
}

static void write_carrier(struct buffer *batch, const struct carrier *carrier)
{
    buffer_u64(batch, carrier->nonce);
    buffer_u64(batch, carrier->time);
    buffer_append(batch, carrier->digest.bytes, sizeof(carrier->digest.bytes));
}

static void read_carrier(struct reader *value, struct carrier *carrier)
{
    carrier->nonce = reader_u64(value);
    carrier->time = reader_u64(value);
    reader_copy(value, carrier->digest.bytes, sizeof(carrier->digest.bytes));
}

static void write_memo(struct buffer *batch, const char *memo)
{
    size_t length = memo != NULL ? strlen(memo) : 0;
    buffer_u16(batch, (uint16_t)length);
    if (length > 0)
        buffer_append(batch, memo, length);
}

void wallet_payment_out_write(struct wallet_core *core, const struct payment_out *payment)
{
    if (payment->state == OUT_WAITING)
        return; /* not signed yet: as if never asked for */
    struct buffer *batch = &core->batch;
    size_t mark = record_begin(batch, RECORD_PAYMENT_OUT, &payment->id, sizeof(payment->id));
    buffer_append(batch, payment->channel->id.bytes, 32);
    buffer_append(batch, payment->secret_hash.bytes, 32);
    buffer_append(batch, payment->payee.bytes, 20);
    buffer_u64(batch, payment->amount.units);
    buffer_u64(batch, payment->fee.units);
    buffer_u64(batch, payment->expiry);
    buffer_u64(batch, payment->created);
    buffer_u64(batch, payment->code);
    buffer_u64(batch, payment->lock_id);
    buffer_u64(batch, payment->drop_nonce);
    buffer_u8(batch, payment->state);
    buffer_u8(batch, payment->mode);
    buffer_u8(batch, payment->has_secret);
    buffer_append(batch, payment->secret, sizeof(payment->secret));
    write_carrier(batch, &payment->carrier);
    write_memo(batch, payment->memo);
    record_end(batch, mark);
}

void wallet_payment_in_write(struct wallet_core *core, const struct payment_in *payment)
{
    struct buffer *batch = &core->batch;
    size_t mark = record_begin(batch, RECORD_PAYMENT_IN, &payment->key, sizeof(payment->key));
    buffer_append(batch, payment->secret_hash.bytes, 32);
    buffer_u64(batch, payment->amount.units);
    buffer_u64(batch, payment->expiry);
    buffer_u64(batch, payment->created);
    buffer_u64(batch, payment->code);
    buffer_u64(batch, payment->counter);
    buffer_u64(batch, payment->repeated.units);
    buffer_u8(batch, payment->state);
    buffer_u8(batch, payment->locked);
    write_carrier(batch, &payment->carrier);
    write_memo(batch, payment->memo);
    buffer_u64(batch, payment->margin_s);
    record_end(batch, mark);
}

void wallet_ledger_registration_write(struct wallet_core *core, struct registration *registration)
{
    size_t mark =
        record_begin(&core->batch, RECORD_REGISTRATION, &registration->key, sizeof(registration->key));
    buffer_u64(&core->batch, registration->time);
    buffer_append(&core->batch, registration->witness.bytes, 32);
    record_end(&core->batch, mark);
}

struct receipt_key {
    struct address tower;
    struct hash channel;
};

void wallet_receipt_write(struct wallet_core *core, const struct wallet_channel *own, size_t tower)
{
    const struct tower_duty *duty = &own->towers[tower];
    struct receipt_key key = {core->options.towers[tower], own->id};
    size_t mark = record_begin(&core->batch, RECORD_RECEIPT, &key, sizeof(key));
    buffer_u64(&core->batch, duty->receipt_nonce);
    buffer_append(&core->batch, duty->receipt_digest.bytes, 32);
    buffer_append(&core->batch, duty->receipt_signature.bytes, 64);
    buffer_u64(&core->batch, duty->silent_since_s);
    if (duty->receipt_proof.nonce != 0)
        signed_proof_write(&core->batch, &duty->receipt_proof, &duty->receipt_proof_signature);
    record_end(&core->batch, mark);
}

/* ---- reading ---- */

static bool read_identity(struct wallet_core *core, struct reader *value)
{
    struct address contract, hub, self;
    uint64_t chain_id = reader_u64(value);
    reader_copy(value, contract.bytes, 20);
    reader_copy(value, hub.bytes, 20);
    reader_copy(value, self.bytes, 20);
    if (!reader_done(value))
        return false;
    const char *other = NULL;
    if (!address_equal(&self, &core->self))
        other = "key";
    else if (!address_equal(&hub, &core->options.hub))
        other = "hub";
    else if (chain_id != core->options.domain.chain_id ||
             !address_equal(&contract, &core->options.domain.contract))
        other = "ledger";
    if (other != NULL)
        snprintf(core->read_message, sizeof(core->read_message),
                 "this folder's journal belongs to another %s: use a folder of its own for each", other);
    core->has_identity = true;
    return other == NULL;
}

static struct wallet_channel *channel_slot(struct wallet_core *core, const struct hash *id)
{
    struct wallet_channel *own = wallet_channel_by_id(core, id);
    if (own != NULL)
        return own;
    own = xcalloc(1, sizeof(*own));
    own->id = *id;
    HASH_ADD(hh, core->channels, id, sizeof(own->id), own);
    core->channel_count++;
    return own;
}

static bool read_channel(struct wallet_core *core, const struct record *record)
{
    struct hash id;
    if (!channel_record_id(record, &id))
        return false;
    if (record->gone && record->type == RECORD_CHANNEL) {
        struct wallet_channel *own = channel_slot(core, &id);
        channel_free(own->channel);
        own->channel = NULL;
        own->let_go = true;
        return true;
    }
    return channel_read(&channel_slot(core, &id)->channel, record);
}

static bool read_book(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct hash id;
    if (record->key_length != sizeof(id))
        return false;
    if (record->gone)
        return true;
    memcpy(&id, record->key, sizeof(id));
    struct wallet_channel *own = channel_slot(core, &id);
    own->mark_block = reader_u64(value);
    own->mark_log = reader_u32(value);
    uint8_t flags = reader_u8(value);
    own->wish.active = (flags & BOOK_WISH) != 0;
    own->wish.close = (flags & BOOK_WISH_CLOSE) != 0;
    own->dispute = (flags & BOOK_DISPUTE) != 0;
    own->watch.active = (flags & BOOK_WATCH) != 0;
    own->closing_seen = (flags & BOOK_CLOSING_SEEN) != 0;
    own->wish.by_policy = (flags & BOOK_WISH_BY_POLICY) != 0;
    own->wish.amount = amount_of(reader_u64(value));
    own->watch.by_hub = (flags & BOOK_BY_HUB) != 0;
    own->ending = (struct channel_ending){.to_client = amount_of(reader_u64(value))};
    if (flags & BOOK_ENDED) {
        own->ending.by = reader_u8(value);
        own->ending.time = reader_u64(value);
        own->ending.penalty = amount_of(reader_u64(value));
        value->ok = value->ok && own->ending.by >= CLOSED_BY_BOTH && own->ending.by <= CLOSED_BY_HUB;
    }
    return reader_done(value);
}

static bool read_invoice(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct hash secret_hash;
    if (record->key_length != sizeof(secret_hash))
        return false;
    memcpy(&secret_hash, record->key, sizeof(secret_hash));
    struct invoice_issued *invoice = wallet_invoice_find(core, &secret_hash);
    if (record->gone) {
        if (invoice != NULL)
            wallet_invoice_forget(core, invoice);
        return true;
    }
    if (invoice == NULL) {
        invoice = xcalloc(1, sizeof(*invoice));
        invoice->secret_hash = secret_hash;
        HASH_ADD(hh, core->invoices, secret_hash, sizeof(invoice->secret_hash), invoice);
        core->invoices_open++;
    }
    bool was_paid = invoice->paid;
    invoice->counter = reader_u64(value);
    reader_copy(value, invoice->asset.bytes, 20);
    invoice->amount = amount_of(reader_u64(value));
    invoice->expiry = reader_u64(value);
    invoice->paid = reader_u8(value) != 0;
    core->invoices_open -= invoice->paid && !was_paid;
    return reader_done(value);
}

static char *read_memo(struct reader *value)
{
    uint16_t length = reader_u16(value);
    const uint8_t *text = reader_take(value, length);
    if (length == 0 || text == NULL)
        return NULL;
    char *memo = xcalloc(1, (size_t)length + 1);
    memcpy(memo, text, length);
    return memo;
}

/* Payments are put into their lists once everything is read: until then the newest record just replaces the
 * older. */
static bool read_payment_out(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct payment_id id;
    if (record->key_length != sizeof(id))
        return false;
    memcpy(&id, record->key, sizeof(id));
    struct payment_out *payment = wallet_payment_out_find(core, &id);
    if (payment != NULL) {
        HASH_DEL(core->outs, payment);
        free(payment->memo);
        free(payment);
    }
    if (record->gone)
        return true;
    payment = xcalloc(1, sizeof(*payment));
    struct hash channel;
    payment->id = id;
    reader_copy(value, channel.bytes, 32);
    payment->channel = channel_slot(core, &channel);
    reader_copy(value, payment->secret_hash.bytes, 32);
    reader_copy(value, payment->payee.bytes, 20);
    payment->amount = amount_of(reader_u64(value));
    payment->fee = amount_of(reader_u64(value));
    payment->expiry = reader_u64(value);
    payment->created = reader_u64(value);
    payment->code = reader_u64(value);
    payment->lock_id = reader_u64(value);
    payment->drop_nonce = reader_u64(value);
    payment->state = reader_u8(value);
    payment->mode = reader_u8(value);
    payment->has_secret = reader_u8(value) != 0;
    reader_copy(value, payment->secret, sizeof(payment->secret));
    read_carrier(value, &payment->carrier);
    payment->memo = read_memo(value);
    HASH_ADD(hh, core->outs, id, sizeof(payment->id), payment);
    return reader_done(value) && payment->state > OUT_WAITING && payment->state <= OUT_LOST;
}

static bool read_payment_in(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct payment_in_key key;
    if (record->key_length != sizeof(key))
        return false;
    memcpy(&key, record->key, sizeof(key));
    struct payment_in *payment = wallet_payment_in_find(core, &key.channel, &key.id);
    if (payment != NULL) {
        HASH_DEL(core->ins, payment);
        free(payment->memo);
        free(payment);
    }
    if (record->gone)
        return true;
    payment = xcalloc(1, sizeof(*payment));
    payment->key = key;
    payment->channel = channel_slot(core, &key.channel);
    reader_copy(value, payment->secret_hash.bytes, 32);
    payment->amount = amount_of(reader_u64(value));
    payment->expiry = reader_u64(value);
    payment->created = reader_u64(value);
    payment->code = reader_u64(value);
    payment->counter = reader_u64(value);
    payment->repeated = amount_of(reader_u64(value));
    payment->state = reader_u8(value);
    payment->locked = reader_u8(value) != 0;
    read_carrier(value, &payment->carrier);
    payment->memo = read_memo(value);
    payment->margin_s = value->left > 0 ? reader_u64(value) : 0; /* older journals do without */
    HASH_ADD(hh, core->ins, key, sizeof(payment->key), payment);
    return reader_done(value) && payment->state >= IN_REFUND_DUE && payment->state <= IN_DROPPED;
}

static bool read_registration(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct registration *met, probe;
    memset(&probe, 0, sizeof(probe));
    if (record->key_length != sizeof(probe.key))
        return false;
    memcpy(&probe.key, record->key, sizeof(probe.key));
    HASH_FIND(hh, core->registrations, &probe.key, sizeof(probe.key), met);
    if (record->gone) {
        if (met != NULL) {
            HASH_DEL(core->registrations, met);
            free(met);
        }
        return true;
    }
    if (met == NULL) {
        met = xcalloc(1, sizeof(*met));
        memcpy(&met->key, &probe.key, sizeof(met->key));
        met->kept = true;
        HASH_ADD(hh, core->registrations, key, sizeof(met->key), met);
    }
    met->time = reader_u64(value);
    reader_copy(value, met->witness.bytes, 32);
    return reader_done(value);
}

static bool read_receipt(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct receipt_key key;
    if (record->key_length != sizeof(key))
        return false;
    memcpy(&key, record->key, sizeof(key));
    struct tower_duty ignored = {0}, *duty = &ignored; /* of a tower that is appointed no more */
    for (size_t i = 0; i < core->options.tower_count; i++)
        if (address_equal(&core->options.towers[i], &key.tower))
            duty = &channel_slot(core, &key.channel)->towers[i];
    duty->receipt_nonce = reader_u64(value);
    reader_copy(value, duty->receipt_digest.bytes, 32);
    reader_copy(value, duty->receipt_signature.bytes, 64);
    duty->silent_since_s = reader_u64(value);
    if (value->left > 0) { /* older journals do without */
        duty->receipt_proof.nonce = duty->receipt_nonce;
        signed_proof_read(value, &duty->receipt_proof, &duty->receipt_proof_signature);
    }
    return reader_done(value);
}

static bool read_terms(struct wallet_core *core, struct reader *value)
{
    core->terms.reveal_margin_s = reader_u64(value);
    core->terms.min_expiry_s = reader_u64(value);
    core->terms.max_expiry_s = reader_u64(value);
    core->terms.settle_window_s = reader_u64(value);
    core->pinned_count = 0;
    while (value->ok && value->left > 0 && core->pinned_count < ASSETS_MAX) {
        struct pinned_limit *pinned = &core->pinned[core->pinned_count++];
        reader_copy(value, pinned->asset.bytes, 20);
        pinned->direct_limit = amount_of(reader_u64(value));
    }
    return reader_done(value);
}

static bool read_payout(struct wallet_core *core, const struct record *record, struct reader *value)
{
    struct address asset;
    if (record->key_length != sizeof(asset))
        return false;
    memcpy(&asset, record->key, sizeof(asset));
    struct payout_of_asset *payout = wallet_payout_slot(core, &asset);
    if (payout == NULL)
        return false;
    payout->policy.mode = (enum payout_mode)reader_u8(value);
    payout->policy.minute = reader_u16(value);
    payout->policy.threshold = amount_of(reader_u64(value));
    payout->policy.keep = amount_of(reader_u64(value));
    payout->policy.done_s = reader_u64(value);
    return reader_done(value) && payout_policy_trouble(&payout->policy) == NULL;
}

bool wallet_read(struct wallet_core *core, const struct record *record)
{
    struct reader value = reader_of(record->value, record->value_length);
    if (record->type < RECORD_WALLET)
        return read_channel(core, record);
    switch ((enum wallet_record)record->type) {
    case RECORD_WALLET:
        return read_identity(core, &value);
    case RECORD_CURSOR:
        core->cursor = core->cursor_written = reader_u64(&value);
        return reader_done(&value);
    case RECORD_BOOK:
        return read_book(core, record, &value);
    case RECORD_INVOICE:
        return read_invoice(core, record, &value);
    case RECORD_PAYMENT_OUT:
        return read_payment_out(core, record, &value);
    case RECORD_PAYMENT_IN:
        return read_payment_in(core, record, &value);
    case RECORD_REGISTRATION:
        return read_registration(core, record, &value);
    case RECORD_RECEIPT:
        return read_receipt(core, record, &value);
    case RECORD_COUNTER:
        core->counter = reader_u64(&value);
        return reader_done(&value);
    case RECORD_TERMS:
        return read_terms(core, &value);
    case RECORD_PAYOUT:
        return read_payout(core, record, &value);
    case RECORD_NOTE:
        return wallet_note_read(core, record);
    }
    return false;
}

/* ---- the whole ---- */

static int by_age_out(const struct payment_out *a, const struct payment_out *b)
{
    return (a->created > b->created) - (a->created < b->created);
}

static int by_age_in(const struct payment_in *a, const struct payment_in *b)
{
    return (a->created > b->created) - (a->created < b->created);
}

static int by_counter(const struct invoice_issued *a, const struct invoice_issued *b)
{
    return (a->counter > b->counter) - (a->counter < b->counter);
}

static int by_salt(const struct wallet_channel *a, const struct wallet_channel *b)
{
    int order = memcmp(&a->channel->key.asset, &b->channel->key.asset, sizeof(a->channel->key.asset));
    return order != 0 ? order
                      : (a->channel->key.salt > b->channel->key.salt) -
                            (a->channel->key.salt < b->channel->key.salt);
}

/* What is paid and has no receipt yet is summed up for each channel. */
static bool fits(const struct payment_out *payment)
{
    struct amount units, sum;
    return amount_add(payment->amount, payment->fee, &units) &&
           (payment->state != OUT_DIRECT || amount_add(payment->channel->unsecured, units, &sum));
}

/* Journals give the newest record of each key, not in the order things happened. Returns false if no channel can hold what
 * they say. */
static bool index_all(struct wallet_core *core)
{
    HASH_SRT(hh, core->outs, by_age_out);
    HASH_SRT(hh, core->ins, by_age_in);
    HASH_SRT(hh, core->invoices, by_counter);
    struct payment_out *out, *next_out, *outs = core->outs;
    core->outs = NULL;
    /* Taken out and put in again, one by one, so that lists, sums and the second table follow. */
    struct payment_out **all = xcalloc(HASH_COUNT(outs) + 1, sizeof(struct payment_out *));
    size_t count = 0;
    HASH_ITER(hh, outs, out, next_out)
    {
        all[count++] = out;
    }
    HASH_CLEAR(hh, outs);
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        if (!fits(all[i])) {
            good = false;
            all[i]->state = OUT_LOST; /* counts nowhere: it is only kept to be freed */
        }
        wallet_payment_out_index(core, all[i]);
    }
    free(all);
    struct payment_in *in, *next_in;
    HASH_ITER(hh, core->ins, in, next_in)
    {
        wallet_payment_in_list(in, true);
        if (!amount_is_zero(in->repeated))
            DL_APPEND2(in->channel->repeats, in, repeat_prev, repeat_next);
    }
    return good;
}

static bool has_payments(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct payment_out *out, *next_out;
    HASH_ITER(hh, core->outs, out, next_out)
    {
        if (out->channel == own)
            return true;
    }
    const struct payment_in *in, *next_in;
    HASH_ITER(hh, core->ins, in, next_in)
    {
        if (in->channel == own)
            return true;
    }
    return false;
}

/* One with payments was never let go: that journal is damaged. */
static void remove_let_go(struct wallet_core *core)
{
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->let_go && own->channel == NULL && !has_payments(core, own))
            wallet_channel_remove(core, own);
    }
}

bool wallet_recovered(struct wallet_core *core, char *message, size_t message_size)
{
    remove_let_go(core);
    const char *why = core->read_message[0] != '\0' ? core->read_message : NULL;
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (why != NULL)
            break;
        if (own->channel == NULL || !channel_recovered(own->channel))
            why = "the journal is damaged: a channel in it does not add up (restore the folder, or run `rill "
                  "recover`)";
        else if (own->channel->funds.stage == STAGE_CLOSING)
            own->closing_seen = own->watch.active = true;
    }
    if (why != NULL) {
        snprintf(message, message_size, "%s", why);
        return false;
    }
    HASH_SRT(hh, core->channels, by_salt);
    if (index_all(core))
        return true;
    snprintf(message, message_size,
             "the journal is damaged: payments in it do not add up (restore the folder, or run "
             "`rill recover`)");
    return false;
}

uint64_t wallet_cursor(const struct wallet_core *core)
{
    return core->cursor;
}
