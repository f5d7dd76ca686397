#include "hub/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/planted.h"
#include "crypto/hash.h"
#include "hub/engine_state.h"

#define TRANSFER_RECORD_VERSION 1

uint32_t shard_of_client(const struct address *client, uint32_t shards)
{
    if (shards <= 1)
        return 0;
    struct hash hash = keccak256(client->bytes, sizeof(client->bytes));
    return (uint32_t)(load_be64(hash.bytes) % shards);
}

static struct shard_pair *pair_of(struct engine *engine, uint32_t shard)
{
    ensure(shard < engine->settings.shards && shard != engine->settings.shard);
    return &engine->pairs[shard];
}

/* ---- sending ---- */

/* On the wire between shards and on disk, inside parcels:
 *     type u8 | payer's channel 32, id 16 | what the type says */
static struct buffer *transfer_begin(struct engine *engine, uint32_t shard, enum transfer_type type,
                                     const struct leg *payer)
{
    struct buffer *draft = &pair_of(engine, shard)->draft;
    buffer_u8(draft, (uint8_t)type);
    buffer_append(draft, payer, sizeof(*payer));
    return draft;
}

static void put_witness(struct buffer *draft, const struct witness *witness)
{
    buffer_u8(draft, witness == NULL ? 0 : witness->length);
    if (witness != NULL)
        buffer_append(draft, witness->bytes, witness->length);
}

void transfer_payment(struct engine *engine, struct payment *payment, const struct operation *operation)
{
    uint32_t shard = shard_of_client(&operation->peer, engine->settings.shards);
    const struct hub_channel *payer = engine_channel(engine, &payment->payer.channel);
    payment->role = HALF_OF_PAYER;
    payment->other_shard = (uint16_t)shard;
    struct buffer *draft = transfer_begin(engine, shard, TRANSFER_PAYMENT, &payment->payer);
    buffer_append(draft, payment->payee.id.bytes, sizeof(payment->payee.id.bytes));
    buffer_append(draft, operation->peer.bytes, sizeof(operation->peer.bytes));
    buffer_append(draft, payer->channel->key.asset.bytes, sizeof(struct address));
    buffer_u8(draft, payment->is_locked);
    buffer_u8(draft, payment->kind);
    buffer_u64(draft, payment->amount.units);
    buffer_u64(draft, payment->fee.units);
    buffer_u64(draft, payment->expiry);
    buffer_append(draft, payment->condition.bytes, sizeof(payment->condition.bytes));
    buffer_u16(draft, (uint16_t)operation->memo.length);
    buffer_append(draft, operation->memo.data, operation->memo.length);
}

void transfer_outcome(struct engine *engine, const struct payment *payment, enum transfer_type type)
{
    if (payment->role != HALF_OF_PAYEE)
        return;
    struct buffer *draft = transfer_begin(engine, payment->other_shard, type, &payment->payer);
    buffer_u64(draft, payment->code);
    put_witness(draft, type == TRANSFER_REVEALED ? payment->witness : NULL);
}

void transfer_unlocked(struct engine *engine, const struct payment *payment, const struct witness *witness)
{
    ensure(payment->role == HALF_OF_PAYER);
    struct buffer *draft = transfer_begin(engine, payment->other_shard, TRANSFER_UNLOCKED, &payment->payer);
    buffer_u64(draft, 0);
    put_witness(draft, witness);
}

bool transfer_is_full(const struct engine *engine)
{
    for (uint32_t i = 0; i < engine->settings.shards; i++)
        if (engine->pairs[i].kept_bytes + engine->pairs[i].draft.length > PARCEL_BYTES_WAITING_MAX)
            return true;
    return false;
}

/* ---- the turn's parcels ---- */

static struct parcel *parcel_keep(struct shard_pair *pair, uint64_t number, const uint8_t *bytes,
                                  size_t length)
{
    struct parcel *parcel = xmalloc(sizeof(*parcel) + length);
    parcel->next = NULL;
    parcel->number = number;
    parcel->length = length;
    memcpy(parcel->bytes, bytes, length);
    if (pair->last == NULL)
        pair->first = parcel;
    else
        pair->last->next = parcel;
    pair->last = parcel;
    pair->kept_bytes += length;
    return parcel;
}

static void parcel_key(uint8_t key[10], uint32_t shard, uint64_t number)
{
    store_be16(key, (uint16_t)shard);
    store_be64(key + 2, number);
}

static void write_pair(struct engine *engine, uint32_t shard, struct shard_pair *pair)
{
    uint8_t key[10], pair_key[2];
    struct buffer *batch = &engine->batch;
    for (; pair->gone_from < pair->gone_to; pair->gone_from++) {
        parcel_key(key, shard, pair->gone_from);
        record_gone(batch, RECORD_PARCEL, key, sizeof(key));
    }
    if (pair->draft.length > 0) {
        pair->sent++;
        pair->is_dirty = true;
        parcel_key(key, shard, pair->sent);
        record_put(batch, RECORD_PARCEL, key, sizeof(key), pair->draft.data, pair->draft.length);
        struct parcel *parcel = parcel_keep(pair, pair->sent, pair->draft.data, pair->draft.length);
        if (pair->unsent == NULL)
            pair->unsent = parcel;
        buffer_clear(&pair->draft);
    }
    if (!pair->is_dirty)
        return;
    pair->is_dirty = false;
    store_be16(pair_key, (uint16_t)shard);
    size_t mark = record_begin(batch, RECORD_SHARD_PAIR, pair_key, sizeof(pair_key));
    buffer_u8(batch, TRANSFER_RECORD_VERSION);
    buffer_u64(batch, pair->sent);
    buffer_u64(batch, pair->received);
    record_end(batch, mark);
}

void transfer_write(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->settings.shards; i++)
        write_pair(engine, i, &engine->pairs[i]);
}

void transfer_post(struct engine *engine)
{
    const struct engine_effects *effects = &engine->effects;
    for (uint32_t i = 0; i < engine->settings.shards; i++) {
        struct shard_pair *pair = &engine->pairs[i];
        for (; pair->unsent != NULL; pair->unsent = pair->unsent->next)
            effects->parcel(effects->context, engine->sequence, i, pair->unsent->number, pair->unsent->bytes,
                            pair->unsent->length);
        if (pair->owes_word)
            effects->parcel(effects->context, engine->sequence, i, pair->received, NULL, 0);
        pair->owes_word = false;
    }
}

void engine_parcel_acknowledged(struct engine *engine, uint32_t shard, uint64_t number)
{
    struct shard_pair *pair = pair_of(engine, shard);
    bool was_full = transfer_is_full(engine);
    ensure(number <= pair->sent);
    while (pair->first != NULL && pair->first->number <= number) {
        struct parcel *parcel = pair->first;
        if (parcel == pair->unsent) /* after a restart: it had arrived before */
            pair->unsent = parcel->next;
        if (pair->gone_from == pair->gone_to)
            pair->gone_from = pair->gone_to = parcel->number;
        pair->gone_to = parcel->number + 1;
        pair->first = parcel->next;
        if (pair->first == NULL)
            pair->last = NULL;
        pair->kept_bytes -= parcel->length;
        free(parcel);
    }
    if (was_full && !transfer_is_full(engine))
        engine_touch_held(engine);
}

/* ---- receiving ---- */

struct arrival {
    uint32_t shard; /* from */
    enum transfer_type type;
    struct leg payer;
};

/* What the payee's shard can say against a payment; the payer's has judged the rest (hub/forward.c). */
static enum code judge_arrival(const struct engine *engine, const struct hub_channel *payee, bool is_locked)
{
    if (payee == NULL)
        return CODE_PAYEE;
    if (is_locked)
        return payee->resumed ? CODE_OK : CODE_OFFLINE;
    return forward_may_pay(engine, payee);
}

static void answer_refused(struct engine *engine, const struct arrival *arrival, bool is_locked,
                           enum code code)
{
    struct buffer *draft = transfer_begin(engine, arrival->shard,
                                          is_locked ? TRANSFER_FAILED : TRANSFER_REFUNDED, &arrival->payer);
    buffer_u64(draft, code);
    put_witness(draft, NULL);
}

static bool payment_arrives(struct engine *engine, const struct arrival *arrival, struct reader *reader)
{
    struct operation operation = {.type = OPERATION_PAY};
    struct leg payee = {.channel = HASH_ZERO};
    struct address asset;
    reader_copy(reader, payee.id.bytes, sizeof(payee.id.bytes));
    reader_copy(reader, operation.peer.bytes, sizeof(operation.peer.bytes));
    reader_copy(reader, asset.bytes, sizeof(asset.bytes));
    if (reader_u8(reader) != 0)
        operation.type = OPERATION_LOCK;
    operation.kind = reader_u8(reader);
    operation.amount.units = reader_u64(reader);
    operation.fee.units = reader_u64(reader);
    operation.expiry = reader_u64(reader);
    reader_copy(reader, operation.condition.bytes, sizeof(operation.condition.bytes));
    operation.memo.length = reader_u16(reader);
    operation.memo.data = (const char *)reader_take(reader, operation.memo.length);
    if (!reader->ok || operation.memo.length > MEMO_BYTES_MAX || operation.kind > LOCK_ATTESTATION)
        return false;
    bool is_locked = operation.type == OPERATION_LOCK;
    struct hub_channel *channel = forward_payee(engine, &operation.peer, &asset);
    enum code code = judge_arrival(engine, channel, is_locked);
    if (channel != NULL)
        payee.channel = channel->channel->id;
    struct payment *payment = code == CODE_OK && !recall_is_known(engine, &payee.id, true)
                                  ? forward_begin(engine, &arrival->payer, &payee, &operation)
                                  : NULL;
    if (payment == NULL) {
        /* The payer's shard knows no other payment of this id: a row here is one that it has forgotten sooner. */
        answer_refused(engine, arrival, is_locked, code == CODE_OK ? CODE_DUPLICATE : code);
        return true;
    }
    payment->role = HALF_OF_PAYEE;
    payment->other_shard = (uint16_t)arrival->shard;
    forward_go(engine, payment, channel, operation.memo);
    return true;
}

static bool outcome_arrives(struct engine *engine, const struct arrival *arrival, struct reader *reader)
{
    uint64_t number = reader_u64(reader);
    struct witness witness = {.length = reader_u8(reader)};
    if (witness.length > WITNESS_BYTES_MAX)
        return false;
    reader_copy(reader, witness.bytes, witness.length);
    if (!reader->ok)
        return false;
    struct payment *payment =
        arrival->type == TRANSFER_REFUNDED
            ? recall_half(engine, &arrival->payer)
            : payments_find(&engine->payments, &arrival->payer.channel, &arrival->payer.id);
    enum payment_role role = arrival->type == TRANSFER_UNLOCKED ? HALF_OF_PAYEE : HALF_OF_PAYER;
    if (payment == NULL || payment->role != role)
        return true; /* over, and forgotten here */
    outcome_of_other_half(engine, payment, arrival->type, outcome_code(number),
                          witness.length > 0 ? &witness : NULL);
    return true;
}

static bool apply(struct engine *engine, uint32_t shard, struct reader *reader)
{
    struct arrival arrival = {.shard = shard, .type = (enum transfer_type)reader_u8(reader)};
    reader_copy(reader, &arrival.payer, sizeof(arrival.payer));
    switch (arrival.type) {
    case TRANSFER_PAYMENT:
        return payment_arrives(engine, &arrival, reader);
    case TRANSFER_REVEALED:
    case TRANSFER_FAILED:
    case TRANSFER_REFUNDED:
    case TRANSFER_LAPSED:
    case TRANSFER_UNLOCKED:
        return outcome_arrives(engine, &arrival, reader);
    }
    return false;
}

bool engine_parcel(struct engine *engine, uint32_t shard, uint64_t number, const uint8_t *bytes,
                   size_t length)
{
    struct shard_pair *pair = pair_of(engine, shard);
    pair->owes_word = true;
    if (number <= pair->received && !PLANTED(PARCEL_TWICE))
        return true;
    if (number > pair->received + 1)
        return false; /* one in between was lost: whoever carries breaks its promise */
    pair->received = number;
    pair->is_dirty = true;
    struct reader reader = reader_of(bytes, length);
    while (reader.left > 0)
        if (!apply(engine, shard, &reader))
            return false;
    return true;
}

/* ---- disk ---- */

bool transfer_read_pair(struct engine *engine, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    if (record->gone || record->key_length != 2 || reader_u8(&reader) != TRANSFER_RECORD_VERSION)
        return false;
    uint32_t shard = load_be16(record->key);
    if (shard >= engine->settings.shards || shard == engine->settings.shard)
        return false;
    struct shard_pair *pair = pair_of(engine, shard);
    pair->sent = reader_u64(&reader);
    pair->received = reader_u64(&reader);
    return reader_done(&reader);
}

/* Records of one key come newest last, those of different keys in any order. */
bool transfer_read_parcel(struct engine *engine, const struct record *record)
{
    if (record->key_length != 10)
        return false;
    uint32_t shard = load_be16(record->key);
    uint64_t number = load_be64(record->key + 2);
    if (shard >= engine->settings.shards || shard == engine->settings.shard)
        return false;
    struct shard_pair *pair = pair_of(engine, shard);
    struct parcel **at = &pair->first;
    while (*at != NULL && (*at)->number < number)
        at = &(*at)->next;
    if (*at != NULL && (*at)->number == number) {
        struct parcel *older = *at;
        *at = older->next;
        pair->kept_bytes -= older->length;
        free(older);
    }
    if (record->gone)
        return true;
    struct parcel *parcel = xmalloc(sizeof(*parcel) + record->value_length);
    *parcel = (struct parcel){.next = *at, .number = number, .length = record->value_length};
    memcpy(parcel->bytes, record->value, record->value_length);
    pair->kept_bytes += parcel->length;
    *at = parcel;
    return true;
}

bool transfer_recovered(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->settings.shards; i++) {
        struct shard_pair *pair = &engine->pairs[i];
        pair->unsent = pair->first;
        pair->owes_word = pair->received > 0;
        for (struct parcel *parcel = pair->first; parcel != NULL; parcel = parcel->next) {
            uint64_t expected = parcel->next == NULL ? pair->sent : parcel->next->number - 1;
            if (parcel->number != expected)
                return false;
            pair->last = parcel;
        }
    }
    return true;
}

void transfer_free(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->settings.shards; i++) {
        struct shard_pair *pair = &engine->pairs[i];
        while (pair->first != NULL) {
            struct parcel *parcel = pair->first;
            pair->first = parcel->next;
            free(parcel);
        }
        buffer_free(&pair->draft);
    }
    free(engine->pairs);
}
