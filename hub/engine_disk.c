/* The hub's journal: one batch per turn with all that changed, and reading it back. See docs/journal.md. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "hub/engine_state.h"
#include "hub/history.h"

#define HUB_RECORD_VERSION     1
#define ROOT_RECORD_VERSION    3
#define BATCH_RECORD_VERSION   2
#define WANT_RECORD_VERSION    2 /* 1 says nothing of the demand */
#define DISPUTE_RECORD_VERSION 2

/* ---- writing ---- */

static void write_want(const struct hub_channel *channel, struct buffer *batch)
{
    const struct hash *id = &channel->channel->id;
    if (amount_is_zero(channel->payout_wanted) && amount_is_zero(channel->inbound_wanted) &&
        amount_is_zero(channel->room_floor) && !channel->close_wanted && demand_daily(channel->demand) == 0) {
        record_gone(batch, RECORD_WANT, id, sizeof(*id));
        return;
    }
    size_t mark = record_begin(batch, RECORD_WANT, id, sizeof(*id));
    buffer_u8(batch, WANT_RECORD_VERSION);
    buffer_u64(batch, channel->payout_wanted.units);
    buffer_u64(batch, channel->inbound_wanted.units);
    buffer_u64(batch, channel->room_floor.units);
    buffer_u8(batch, channel->close_wanted);
    buffer_u64(batch, demand_daily(channel->demand));
    record_end(batch, mark);
}

static void write_claim(struct buffer *batch, const struct claim *claim)
{
    buffer_u64(batch, claim->nonce);
    buffer_u64(batch, claim->transferred.units);
    buffer_u64(batch, claim->locked.units);
    buffer_append(batch, claim->locks_root.bytes, sizeof(claim->locks_root.bytes));
}

static void write_dispute(const struct hub_channel *channel, struct buffer *batch)
{
    const struct hash *id = &channel->channel->id;
    const struct dispute *dispute = channel->dispute;
    if (dispute == NULL || !dispute->confirmed) {
        record_gone(batch, RECORD_DISPUTE, id, sizeof(*id));
        return;
    }
    size_t mark = record_begin(batch, RECORD_DISPUTE, id, sizeof(*id));
    buffer_u8(batch, DISPUTE_RECORD_VERSION);
    buffer_u8(batch, dispute->by_hub);
    buffer_u64(batch, dispute->deadline);
    buffer_u64(batch, dispute->period);
    buffer_u64(batch, dispute->voided_nonce);
    write_claim(batch, &dispute->confirmed_claim);
    write_claim(batch, &dispute->confirmed_of_hub);
    remains_write(dispute->remains, batch);
    record_end(batch, mark);
}

static void write_channels(struct engine *engine)
{
    for (size_t i = 0; i < engine->dirty_count; i++) {
        struct hub_channel *channel = engine->dirty[i];
        ensure(!channel_has_draft(channel->channel));
        channel->dirty = false;
        channel_write(channel->channel, &engine->batch);
        if (channel->want_dirty)
            write_want(channel, &engine->batch);
        channel->want_dirty = false;
        if (channel->dispute_dirty)
            write_dispute(channel, &engine->batch);
        channel->dispute_dirty = false;
    }
}

/* What either side may look up once the payment has left the state (hub/history.h). */
static void archive_payment(struct engine *engine, struct payment *payment)
{
    const struct hub_channel *payer = engine_channel(engine, &payment->payer.channel);
    const struct hub_channel *payee = engine_channel(engine, &payment->payee.channel);
    ensure((payer == NULL) == (payment->role == HALF_OF_PAYEE) && (payer != NULL || payee != NULL));
    const struct hub_channel *own = payer != NULL ? payer : payee;
    struct history_item item = {
        .owner = own->client->address,
        .peer = payer != NULL && payee != NULL ? payee->client->address : ADDRESS_ZERO,
        .asset = own->channel->key.asset,
        .payer = payment->payer,
        .payee = payment->payee,
        .received = payer == NULL,
        .is_locked = payment->is_locked,
        .state = payment->state,
        .kind = payment->kind,
        .role = payment->role,
        .other_shard = payment->other_shard,
        .time = payment->booked,
        .amount = payment->amount,
        .fee = payment->fee,
        .expiry = payment->expiry,
        .code = payment->code,
        .condition = payment->condition,
    };
    if (payment->witness != NULL)
        item.witness = *payment->witness;
    history_write(&item, &engine->archive);
    /* What leads to it is there if it was over before: in a record with others, which is not written again. */
    if (payer != NULL && payee != NULL && !payment->past)
        history_lead(&engine->leads, &payee->client->address, payment->booked, &payment->payee.id,
                     &engine->archive);
    payment->past = true;
}

/* Its end is written: nothing but the archive will know of it. */
static void write_end(struct engine *engine, struct payment *payment)
{
    if (payment->stored)
        payment_write_gone(payment, RECORD_PAYMENT, &engine->batch);
    archive_payment(engine, payment);
}

static void write_payments(struct engine *engine)
{
    struct payments *payments = &engine->payments;
    engine->ended_count = 0;
    for (size_t i = 0; i < payments->dirty_count; i++) {
        struct payment *payment = payments->dirty[i];
        if (i + PAYMENTS_AHEAD < payments->dirty_count)
            payment_prefetch(payments->dirty[i + PAYMENTS_AHEAD]);
        payment->dirty = false;
        bool is_over = payment_is_over(engine, payment);
        forward_count(engine, payment, is_over);
        if (is_over) {
            write_end(engine, payment);
            payments->dirty[engine->ended_count++] = payment; /* for engine_written */
            continue;
        }
        payment_write(payment, RECORD_PAYMENT, &engine->batch);
        payment->stored = true;
    }
    history_leads_end(&engine->leads, &engine->archive);
    payments->dirty_count = 0;
}

static void write_registrations(struct engine *engine)
{
    while (engine->registrations_dirty != NULL) {
        struct registration *registration = engine->registrations_dirty;
        engine->registrations_dirty = registration->dirty_next;
        registration->dirty_next = NULL;
        size_t mark =
            record_begin(&engine->batch, RECORD_REGISTRATION, &registration->key, sizeof(registration->key));
        buffer_u8(&engine->batch, HUB_RECORD_VERSION);
        buffer_u64(&engine->batch, registration->time);
        buffer_append(&engine->batch, registration->witness.bytes, sizeof(registration->witness.bytes));
        record_end(&engine->batch, mark);
    }
}

static void write_report(const struct batch_report *report, struct buffer *batch)
{
    uint8_t key[8];
    store_be64(key, report->number);
    size_t mark = record_begin(batch, RECORD_BATCH, key, sizeof(key));
    buffer_u8(batch, BATCH_RECORD_VERSION);
    const uint64_t numbers[] = {report->block,        report->items,          report->funds,
                                report->skipped,      report->gas_used,       report->gross_units,
                                report->payout_units, report->returned_units, report->funded_units,
                                report->gas_price,    report->leaves,         report->time};
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
        buffer_u64(batch, numbers[i]);
    buffer_append(batch, report->transaction.bytes, sizeof(report->transaction.bytes));
    buffer_append(batch, report->root.bytes, sizeof(report->root.bytes));
    record_end(batch, mark);
}

static void put_root(struct buffer *batch, const struct leaves *leaves, const struct journal_root *root,
                     uint64_t gross_units)
{
    buffer_u8(batch, ROOT_RECORD_VERSION);
    buffer_u64(batch, gross_units);
    buffer_u32(batch, leaves->generation);
    buffer_u64(batch, leaves->first);
    buffer_u64(batch, leaves->time);
    buffer_u64(batch, leaves->first_time);
    journal_root_write(root, batch);
}

void engine_write_root(struct buffer *batch, const struct leaves *leaves, const struct journal_root *root,
                       uint64_t gross_units)
{
    size_t mark = record_begin(batch, RECORD_ROOT, NULL, 0);
    put_root(batch, leaves, root, gross_units);
    buffer_u8(batch, 0);
    buffer_u8(batch, 0);
    record_end(batch, mark);
}

static void write_root(struct engine *engine)
{
    struct buffer *batch = &engine->batch;
    engine->root_dirty = false;
    size_t mark = record_begin(batch, RECORD_ROOT, NULL, 0);
    put_root(batch, &engine->leaves, &engine->root, engine->gross_units);
    buffer_u8(batch, engine->settle_in_flight);
    buffer_u8(batch, engine->root_taken);
    if (engine->root_taken) {
        buffer_append(batch, engine->root_value.bytes, sizeof(engine->root_value.bytes));
        buffer_u64(batch, engine->leaves.since_time);
        journal_root_write(&engine->root_since, batch);
    }
    record_end(batch, mark);
}

/* The turn's digests, which are the root's newest leaves. */
static void write_leaves(struct engine *engine)
{
    struct leaves *leaves = &engine->leaves;
    const struct lineage lineage = {leaves->generation, engine->settings.shard};
    if (leaves->digest.length == 0)
        return;
    uint64_t count = leaves->digest.length / sizeof(struct hash);
    leaves_write(&lineage, leaves->time, leaves->first + engine->root.count - count, leaves->digest.data,
                 leaves->digest.length, &engine->archive);
    buffer_clear(&leaves->digest);
}

static void write_settlement(struct engine *engine)
{
    struct buffer *batch = &engine->batch;
    for (size_t i = 0; i < engine->pool_count; i++) {
        struct pool *pool = &engine->pools[i];
        if (!pool->dirty)
            continue;
        pool->dirty = false;
        size_t mark = record_begin(batch, RECORD_POOL, &pool->asset, sizeof(pool->asset));
        buffer_u8(batch, HUB_RECORD_VERSION);
        buffer_u64(batch, (uint64_t)(int64_t)pool->own);
        record_end(batch, mark);
    }
    for (size_t i = 0; i < engine->report_count; i++) {
        if (engine->reports[i].dirty)
            write_report(&engine->reports[i], batch);
        engine->reports[i].dirty = false;
    }
    for (size_t i = 0; i < engine->reports_gone_count; i++) {
        uint8_t key[8];
        store_be64(key, engine->reports_gone[i]);
        record_gone(batch, RECORD_BATCH, key, sizeof(key));
    }
    engine->reports_gone_count = 0;
    if (engine->root_dirty)
        write_root(engine);
    if (engine->statement_dirty)
        record_put(batch, RECORD_LIABILITIES, NULL, 0, engine->statement.data, engine->statement.length);
    engine->statement_dirty = false;
}

static void write_assets(struct engine *engine)
{
    static const uint8_t version = HUB_RECORD_VERSION;
    if (!engine->assets_dirty)
        return;
    engine->assets_dirty = false;
    const struct terms *terms = &engine->settings.terms;
    for (size_t i = 0; i < terms->asset_count; i++)
        record_put(&engine->batch, RECORD_ASSET, &terms->assets[i].asset, sizeof(terms->assets[i].asset),
                   &version, 1);
}

static void write_cursor(struct engine *engine)
{
    if (!engine->cursor_dirty || PLANTED(EVENTS_AGAIN))
        return;
    engine->cursor_dirty = false;
    size_t mark = record_begin(&engine->batch, RECORD_CURSOR, NULL, 0);
    buffer_u8(&engine->batch, HUB_RECORD_VERSION);
    buffer_u64(&engine->batch, engine->cursor);
    buffer_u64(&engine->batch, engine->head.confirmed_time);
    buffer_append(&engine->batch, engine->cursor_before.bytes, sizeof(engine->cursor_before.bytes));
    record_end(&engine->batch, mark);
}

static void write_identity(struct engine *engine)
{
    if (engine->identity_known)
        return;
    engine->identity_known = true;
    size_t mark = record_begin(&engine->batch, RECORD_IDENTITY, NULL, 0);
    buffer_u8(&engine->batch, HUB_RECORD_VERSION);
    buffer_u64(&engine->batch, engine->settings.domain.chain_id);
    buffer_append(&engine->batch, engine->settings.domain.contract.bytes, sizeof(struct address));
    buffer_append(&engine->batch, engine->hub.bytes, sizeof(engine->hub.bytes));
    buffer_u16(&engine->batch, (uint16_t)engine->settings.shards);
    buffer_u16(&engine->batch, (uint16_t)engine->settings.shard);
    record_end(&engine->batch, mark);
}

void engine_write(struct engine *engine)
{
    write_identity(engine);
    write_channels(engine);
    write_payments(engine);
    write_registrations(engine);
    write_settlement(engine);
    write_assets(engine);
    write_cursor(engine);
    transfer_write(engine);
    promises_write(engine);
    write_leaves(engine);
    buffer_append(&engine->batch, engine->archive.data, engine->archive.length);
    engine->archive.length = 0;
}

void engine_written(struct engine *engine)
{
    struct payment *const *ended = engine->payments.dirty;
    for (size_t i = 0; i < engine->ended_count; i++) {
        if (i + PAYMENTS_AHEAD < engine->ended_count)
            payment_prefetch(ended[i + PAYMENTS_AHEAD]);
        payments_leave(&engine->payments, ended[i], engine->sequence);
    }
    engine->ended_count = 0;
    for (size_t i = 0; i < engine->dirty_count; i++) {
        ensure(!engine->dirty[i]->dirty); /* touched meanwhile: it would be forgotten */
        engine->dirty[i]->written = engine->sequence;
    }
    engine->dirty_count = 0;
}

/* ---- reading ---- */

static bool read_channel(struct engine *engine, const struct record *record)
{
    struct hash id;
    if (!channel_record_id(record, &id))
        return false;
    struct hub_channel *known = engine_channel(engine, &id);
    struct channel *machine = known == NULL ? NULL : known->channel;
    if (!channel_read(&machine, record))
        return false;
    if (known == NULL && machine != NULL)
        engine_add_channel(engine, machine);
    return true;
}

static bool read_want(struct engine *engine, const struct record *record)
{
    struct hash id;
    if (record->key_length != sizeof(id))
        return false;
    memcpy(&id, record->key, sizeof(id));
    struct hub_channel *channel = engine_channel(engine, &id);
    if (channel == NULL)
        return record->gone;
    struct reader reader = reader_of(record->value, record->value_length);
    channel->payout_wanted = channel->inbound_wanted = channel->room_floor = amount_of(0);
    channel->close_wanted = false;
    channel->demand = 0;
    if (record->gone)
        return true;
    uint8_t version = reader_u8(&reader);
    channel->payout_wanted.units = reader_u64(&reader);
    channel->inbound_wanted.units = reader_u64(&reader);
    channel->room_floor.units = reader_u64(&reader);
    channel->close_wanted = reader_u8(&reader) != 0;
    if (version == WANT_RECORD_VERSION)
        channel->demand = demand_of_daily(reader_u64(&reader));
    return version >= 1 && version <= WANT_RECORD_VERSION && reader_done(&reader);
}

static bool read_registration(struct engine *engine, const struct record *record)
{
    struct condition_key key;
    struct reader reader = reader_of(record->value, record->value_length);
    if (record->key_length != sizeof(key) || reader_u8(&reader) != HUB_RECORD_VERSION)
        return false;
    memcpy(&key, record->key, sizeof(key));
    struct registration *registration = engine_registration(engine, key.kind, &key.condition);
    if (registration == NULL)
        registration = engine_add_registration(engine, key.kind, &key.condition);
    registration->time = reader_u64(&reader);
    reader_copy(&reader, registration->witness.bytes, sizeof(registration->witness.bytes));
    return reader_done(&reader);
}

static bool read_pool(struct engine *engine, const struct record *record)
{
    struct address asset;
    struct reader reader = reader_of(record->value, record->value_length);
    if (record->key_length != sizeof(asset) || reader_u8(&reader) != HUB_RECORD_VERSION)
        return false;
    memcpy(&asset, record->key, sizeof(asset));
    struct pool *pool = settle_pool(engine, &asset);
    if (pool == NULL)
        return false;
    pool->own = (int64_t)reader_u64(&reader);
    return reader_done(&reader);
}

/* The report's place; `too_old` if it is not kept. */
static struct batch_report *report_of(struct engine *engine, uint64_t number, struct batch_report *too_old)
{
    for (size_t i = engine->report_count; i-- > 0 && engine->reports[i].number >= number;)
        if (engine->reports[i].number == number)
            return &engine->reports[i];
    struct batch_report *report = settle_add_report(engine, &(struct batch_report){.number = number});
    return report != NULL ? report : too_old;
}

static bool read_report(struct engine *engine, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    if (record->gone)
        return record->key_length == 8; /* the table holds the newest ones anyway */
    if (record->key_length != 8 || reader_u8(&reader) != BATCH_RECORD_VERSION)
        return false;
    struct batch_report too_old, *report = report_of(engine, load_be64(record->key), &too_old);
    uint64_t *const numbers[] = {&report->block,        &report->items,          &report->funds,
                                 &report->skipped,      &report->gas_used,       &report->gross_units,
                                 &report->payout_units, &report->returned_units, &report->funded_units,
                                 &report->gas_price,    &report->leaves,         &report->time};
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
        *numbers[i] = reader_u64(&reader);
    reader_copy(&reader, report->transaction.bytes, sizeof(report->transaction.bytes));
    reader_copy(&reader, report->root.bytes, sizeof(report->root.bytes));
    return reader_done(&reader);
}

static bool read_asset(struct engine *engine, const struct record *record)
{
    struct address asset;
    if (record->key_length != sizeof(asset) || record->value_length != 1 ||
        record->value[0] != HUB_RECORD_VERSION)
        return false;
    memcpy(&asset, record->key, sizeof(asset));
    return engine_add_asset(engine, &asset);
}

static bool read_cursor(struct engine *engine, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    if (reader_u8(&reader) != HUB_RECORD_VERSION)
        return false;
    engine->cursor = reader_u64(&reader);
    engine->head.confirmed_time = reader_u64(&reader);
    engine->cursor_before = HASH_ZERO;
    if (reader.left > 0) /* older journals have none */
        reader_copy(&reader, engine->cursor_before.bytes, sizeof(engine->cursor_before.bytes));
    return reader_done(&reader);
}

bool engine_read_root(struct reader *value, struct leaves *leaves, struct journal_root *root,
                      uint64_t *gross_units)
{
    bool known = reader_u8(value) == ROOT_RECORD_VERSION;
    *gross_units = reader_u64(value);
    leaves->generation = reader_u32(value);
    leaves->first = reader_u64(value);
    leaves->time = reader_u64(value);
    leaves->first_time = reader_u64(value);
    return known && journal_root_read(root, value);
}

static bool read_root(struct engine *engine, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    if (!engine_read_root(&reader, &engine->leaves, &engine->root, &engine->gross_units))
        return false;
    engine->settle_in_flight = reader_u8(&reader);
    engine->root_taken = reader_u8(&reader) != 0;
    if (!engine->root_taken)
        return reader_done(&reader);
    reader_copy(&reader, engine->root_value.bytes, sizeof(engine->root_value.bytes));
    engine->leaves.since_time = reader_u64(&reader);
    return journal_root_read(&engine->root_since, &reader) && reader_done(&reader) &&
           engine->root_since.count <= engine->root.count;
}

static void read_claim(struct reader *reader, struct claim *claim)
{
    claim->nonce = reader_u64(reader);
    claim->transferred.units = reader_u64(reader);
    claim->locked.units = reader_u64(reader);
    reader_copy(reader, claim->locks_root.bytes, sizeof(claim->locks_root.bytes));
}

/* One written before closes had remains (version 1) is of a close that is not finished. */
static bool read_dispute(struct engine *engine, const struct record *record)
{
    struct hash id;
    if (record->key_length != sizeof(id))
        return false;
    memcpy(&id, record->key, sizeof(id));
    struct hub_channel *channel = engine_channel(engine, &id);
    if (channel == NULL)
        return record->gone;
    if (channel->dispute != NULL)
        dispute_over(engine, channel);
    if (record->gone)
        return true;
    struct reader reader = reader_of(record->value, record->value_length);
    uint8_t version = reader_u8(&reader);
    struct dispute *dispute = dispute_open(engine, channel);
    dispute->known = dispute->confirmed = true;
    dispute->by_hub = reader_u8(&reader) != 0;
    dispute->deadline = reader_u64(&reader);
    dispute->period = reader_u64(&reader);
    dispute->voided_nonce = reader_u64(&reader);
    read_claim(&reader, &dispute->confirmed_claim);
    read_claim(&reader, &dispute->confirmed_of_hub);
    dispute->of_hub = dispute->confirmed_of_hub;
    dispute->first = dispute->of_client = dispute->confirmed_claim;
    if (version == DISPUTE_RECORD_VERSION)
        dispute->remains = remains_read(&reader);
    return (version == HUB_RECORD_VERSION || version == DISPUTE_RECORD_VERSION) && reader_done(&reader);
}

static bool read_identity(struct engine *engine, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    struct address contract, hub;
    bool known = reader_u8(&reader) == HUB_RECORD_VERSION;
    uint64_t chain_id = reader_u64(&reader);
    reader_copy(&reader, contract.bytes, sizeof(contract.bytes));
    reader_copy(&reader, hub.bytes, sizeof(hub.bytes));
    uint16_t shards = reader_u16(&reader), shard = reader_u16(&reader);
    if (!known || !reader_done(&reader))
        return false;
    engine->identity_known = true;
    if (shards != engine->settings.shards || shard != engine->settings.shard) {
        engine->read_trouble =
            "the journal is one of another number of shards: start with the number it was made "
            "for, or change it with rill-hubd reshard";
        return false;
    }
    if (chain_id == engine->settings.domain.chain_id && address_equal(&hub, &engine->hub) &&
        address_equal(&contract, &engine->settings.domain.contract))
        return true;
    engine->read_trouble =
        "the journal belongs to another hub key, contract or chain: point --data at this hub's own "
        "folder, or the other settings at its ledger";
    return false;
}

const char *engine_read_trouble(const struct engine *engine)
{
    return engine->read_trouble != NULL
               ? engine->read_trouble
               : "the journal holds a record that this version cannot read: start the "
                 "version that wrote it, or restore a backup";
}

bool engine_read(struct engine *engine, const struct record *record)
{
    ensure(!engine->recovered);
    switch (record->type) {
    case RECORD_CHANNEL:
    case RECORD_LOCK:
    case RECORD_STREAM:
    case RECORD_KEPT:
        return read_channel(engine, record);
    case RECORD_PAYMENT:
        return payment_read(&engine->payments, record);
    case RECORD_CURSOR:
        return read_cursor(engine, record);
    case RECORD_ROOT:
        return read_root(engine, record);
    case RECORD_REGISTRATION:
        return read_registration(engine, record);
    case RECORD_POOL:
        return read_pool(engine, record);
    case RECORD_BATCH:
        return read_report(engine, record);
    case RECORD_WANT:
        return read_want(engine, record);
    case RECORD_IDENTITY:
        return read_identity(engine, record);
    case RECORD_ASSET:
        return read_asset(engine, record);
    case RECORD_DISPUTE:
        return read_dispute(engine, record);
    case RECORD_PARCEL:
        return transfer_read_parcel(engine, record);
    case RECORD_SHARD_PAIR:
        return transfer_read_pair(engine, record);
    case RECORD_PROMISE:
        return promise_read(engine, record);
    case RECORD_LIABILITIES:
        buffer_clear(&engine->statement);
        buffer_append(&engine->statement, record->value, record->gone ? 0 : record->value_length);
        return true;
    }
    return false;
}

static bool requeue(struct engine *engine, struct payment *payment)
{
    enum payment_due due = (enum payment_due)payment->due;
    struct hub_channel *payee = engine_channel(engine, &payment->payee.channel);
    if (payment->role != PAYMENT_WHOLE &&
        (payment->other_shard >= engine->settings.shards || payment->other_shard == engine->settings.shard))
        return false;
    if (payment->state == PAYMENT_CANCELLING) {
        if (payee == NULL)
            return false;
        payment->next_cancelling = payee->cancelling;
        payee->cancelling = payment;
    }
    if (due != DUE_NOTHING) {
        if (engine_channel(engine, due == DUE_REFUND ? &payment->payer.channel : &payment->payee.channel) ==
            NULL)
            return false;
        payment->due = DUE_NOTHING;
        payment_set_due(engine, payment, due);
    }
    if (forward_is_unrevealed(payment) && payee == NULL)
        return false;
    forward_count(engine, payment, false);
    payment_schedule(engine, payment);
    return true;
}

bool engine_recovered(struct engine *engine, char *message, size_t message_size)
{
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (!channel_recovered(channel->channel)) {
            snprintf(message, message_size,
                     "channel %s in the journal does not add up: the disk lost or changed data",
                     hash_text(&channel->channel->id, (char[HASH_TEXT_SIZE]){0}));
            return false;
        }
        /* The terms may have changed since; clients go by what WELCOME says. */
        const struct asset_terms *asset = engine_terms(engine, &channel->channel->key.asset);
        if (asset != NULL)
            channel->channel->reserve_bps = asset->reserve_bps;
        engine->figures.channels_open += channel->channel->funds.stage == STAGE_OPEN;
        dispute_recovered(engine, channel);
        if (channel->client->channels == channel)
            client_sort(channel->client);
    }
    size_t at = 0;
    for (struct payment *payment; (payment = payments_each(&engine->payments, &at)) != NULL;) {
        if (!requeue(engine, payment)) {
            snprintf(message, message_size,
                     "a payment in the journal names a channel or a shard that is not there");
            return false;
        }
    }
    if (!transfer_recovered(engine)) {
        snprintf(message, message_size, "a parcel to another shard is missing from the journal");
        return false;
    }
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel->channel->funds.stage == STAGE_OPEN || channel->channel->funds.stage == STAGE_CLOSING)
            appoint_mark(engine, channel);
    }
    const char *why = engine_contradiction(engine);
    if (why != NULL) {
        snprintf(message, message_size, "the journal contradicts itself (%s): the disk lost or changed data",
                 why);
        return false;
    }
    settle_recovered(engine);
    engine->recovered = true;
    return true;
}
