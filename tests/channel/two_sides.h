/* Two sides of one channel for tests: a client's machine and a hub's with one clock and one registry, and
 * updates that can be tampered with before they are signed. */
#ifndef RILL_TESTS_CHANNEL_TWO_SIDES_H
#define RILL_TESTS_CHANNEL_TWO_SIDES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "channel/channel.h"
#include "crypto/hash.h"

#define PAIR_REGISTRY_MAX 64
#define PAIR_RESERVE_BPS  100
#define PAIR_START        1000000u
#define PAIR_MARGIN_S     60u
#define PAIR_WINDOW_S     3600u
#define PAIR_TOTAL        1500u
#define PAIR_BASE         1000 /* so the reserve is 10 and the client has 990 available, the hub 500 */

struct registration {
    uint8_t kind;
    struct hash condition;
    uint64_t time;
};

struct pair {
    struct domain domain;
    uint64_t now;
    struct registration registry[PAIR_REGISTRY_MAX];
    size_t registered;
    struct secret_key keys[2]; /* by enum side */
    struct address addresses[2];
    struct channel *sides[2];
};

/* An update on its way, with its decoded operations. */
struct sent {
    struct update update;
    uint8_t body[32];
    struct operation operations[OPERATIONS_MAX + 1];
    size_t count;
    bool body_ok;
};

static inline uint64_t pair_registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct pair *pair = context;
    for (size_t i = 0; i < pair->registered; i++)
        if (pair->registry[i].kind == kind && hash_equal(&pair->registry[i].condition, condition))
            return pair->registry[i].time;
    return 0;
}

static inline struct channel_view pair_view(struct pair *pair, enum side self)
{
    return (struct channel_view){.domain = &pair->domain,
                                 .now = pair->now,
                                 .reveal_margin_s = PAIR_MARGIN_S,
                                 .peer = pair->addresses[side_other(self)],
                                 .registered_at = pair_registered_at,
                                 .context = pair};
}

static inline struct channel_funds pair_funds(uint64_t total, int64_t base, uint32_t seq)
{
    return (struct channel_funds){amount_of(total), base, seq, STAGE_OPEN};
}

static inline void pair_set_funds(struct pair *pair, uint64_t total, int64_t base, uint32_t seq)
{
    struct channel_funds funds = pair_funds(total, base, seq);
    (void)channel_set_funds(pair->sides[SIDE_HUB], &funds);
    (void)channel_set_funds(pair->sides[SIDE_CLIENT], &funds);
    channel_set_told(pair->sides[SIDE_CLIENT], &funds);
}

static inline void pair_open(struct pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    struct address contract = {{0xc0, 0x11}};
    pair->domain = domain_make(31337, &contract);
    pair->now = PAIR_START;
    for (int side = 0; side < 2; side++) {
        memset(pair->keys[side].bytes, 0x21 + side, sizeof(pair->keys[side].bytes));
        pair->addresses[side] = secret_key_address(&pair->keys[side]);
    }
    struct channel_key key = {.client = pair->addresses[SIDE_CLIENT], .asset = {{0xa5}}, .salt = 3};
    for (int side = 0; side < 2; side++)
        pair->sides[side] = channel_new(&key, (enum side)side, PAIR_RESERVE_BPS);
    pair_set_funds(pair, PAIR_TOTAL, PAIR_BASE, 0);
}

static inline void pair_close(struct pair *pair)
{
    channel_free(pair->sides[SIDE_CLIENT]);
    channel_free(pair->sides[SIDE_HUB]);
}

/* ---- secrets and operations ---- */

static inline struct witness secret_number(uint32_t number)
{
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    store_be32(witness.bytes, number);
    return witness;
}

static inline struct hash condition_number(uint32_t number)
{
    return condition_of_secret(secret_number(number).bytes);
}

static inline struct payment_id payment_number(uint32_t number)
{
    struct payment_id id = {{0x1d}};
    store_be32(id.bytes + 4, number);
    return id;
}

static inline void pair_register(struct pair *pair, uint32_t number, uint64_t time)
{
    ensure(pair->registered < PAIR_REGISTRY_MAX);
    pair->registry[pair->registered++] = (struct registration){LOCK_SECRET, condition_number(number), time};
}

static inline struct operation op_pay(uint64_t amount, uint64_t fee)
{
    return (struct operation){.type = OPERATION_PAY, .amount = amount_of(amount), .fee = amount_of(fee)};
}

static inline struct operation op_refund(uint64_t amount)
{
    return (struct operation){.type = OPERATION_REFUND, .amount = amount_of(amount), .code = CODE_INVOICE};
}

/* A lock on secret `number`, which is its payment id too. lock_id is for crafted updates. */
static inline struct operation op_lock(uint64_t lock_id, uint64_t amount, uint64_t fee, uint64_t expiry,
                                       uint32_t number)
{
    return (struct operation){.type = OPERATION_LOCK,
                              .id = payment_number(number),
                              .amount = amount_of(amount),
                              .fee = amount_of(fee),
                              .expiry = expiry,
                              .condition = condition_number(number),
                              .lock_id = lock_id};
}

static inline struct operation op_unlock(uint64_t lock_id, uint32_t number)
{
    return (struct operation){.type = OPERATION_UNLOCK, .lock_id = lock_id, .witness = secret_number(number)};
}

static inline struct operation op_drop(enum operation_type type, uint64_t lock_id)
{
    return (struct operation){.type = type, .lock_id = lock_id};
}

/* ---- sending ---- */

static inline enum code pair_add(struct pair *pair, enum side side, struct operation operation)
{
    struct channel_view view = pair_view(pair, side);
    return channel_add(pair->sides[side], &view, &operation, NULL);
}

/* Seals the draft of a side; its body is a name for it, as the machine never looks into bodies. */
static inline void pair_seal(struct pair *pair, enum side side, struct sent *sent)
{
    struct channel *channel = pair->sides[side];
    const struct operation *operations = channel_draft(channel, &sent->count);
    memcpy(sent->operations, operations, sent->count * sizeof(*operations));
    for (size_t i = 0; i < sent->count; i++)
        sent->operations[i].memo = (struct text){"", 0}; /* the draft's own copies end with it */
    memset(sent->body, 0, sizeof(sent->body));
    store_be64(sent->body, channel_own(channel)->proof.nonce + 1);
    sent->body[8] = (uint8_t)side;
    const struct kept_update *kept =
        channel_seal(channel, &pair->domain, &pair->keys[side], sent->body, sizeof(sent->body));
    sent->update = (struct update){channel->id, kept->proof, kept->signature, sent->body, sizeof(sent->body)};
    sent->body_ok = true;
}

static inline struct judgement pair_deliver(struct pair *pair, enum side to, const struct sent *sent)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    struct channel_view view = pair_view(pair, to);
    return channel_receive(pair->sides[to], &view, &sent->update, sent->operations, sent->count,
                           sent->body_ok, touched);
}

/* Adds, seals, delivers, acknowledges one operation that must be good. */
static inline void pair_exchange(struct pair *pair, enum side from, struct operation operation)
{
    static struct sent sent;
    assert_int_equal(pair_add(pair, from, operation), CODE_OK);
    pair_seal(pair, from, &sent);
    struct judgement judgement = pair_deliver(pair, side_other(from), &sent);
    assert_int_equal(judgement.code, CODE_OK);
    assert_int_equal(judgement.verdict, VERDICT_ACCEPTED);
    assert_int_equal(channel_acknowledged(pair->sides[from], sent.update.proof.nonce), CODE_OK);
}

/* Signs whatever the proof says now. */
static inline void pair_sign(struct pair *pair, enum side from, struct sent *sent)
{
    struct hash digest = digest_balance_proof(&pair->domain, &sent->update.channel, &sent->update.proof);
    sent->update.signature = key_sign(&pair->keys[from], &digest);
}

/* What an operation makes of a proof and its locks, by addition alone: no rule is looked at. */
static inline void pair_craft_operation(struct balance_proof *proof, struct lock_set *locks,
                                        const struct operation *operation)
{
    uint64_t whole = operation->amount.units + operation->fee.units;
    struct pending_lock *pending = lock_set_find(locks, operation->lock_id);
    if (operation->type == OPERATION_PAY || operation->type == OPERATION_REFUND) {
        proof->transferred.units += whole;
    } else if (operation->type == OPERATION_LOCK) {
        struct pending_lock added = {.lock = {operation->lock_id, amount_of(whole), operation->expiry,
                                              operation->kind, operation->condition}};
        if (lock_set_add(locks, &added))
            proof->locked.units += whole;
    } else if (pending != NULL) {
        proof->locked.units -= pending->lock.amount.units;
        if (operation->type == OPERATION_UNLOCK)
            proof->transferred.units += pending->lock.amount.units;
        assert_true(lock_set_remove(locks, operation->lock_id));
    }
}

/* An update made by hand from what the receiver has: any operations at all, the proof's sums and root what
 * they would make of it if each were good. The sender's machine knows nothing of it. */
static inline void pair_craft(struct pair *pair, enum side from, const struct operation *operations,
                              size_t count, struct sent *sent)
{
    struct channel *receiver = pair->sides[side_other(from)];
    const struct stream *stream = channel_peer(receiver);
    struct lock_set *locks = lock_set_new();
    for (const struct pending_lock *at = NULL;
         (at = lock_set_next(stream->locks, at == NULL ? 0 : at->lock.id)) != NULL;)
        assert_true(lock_set_add(locks, at));
    struct balance_proof proof = {stream->proof.nonce + 1, stream->proof.transferred, stream->proof.locked,
                                  HASH_ZERO, HASH_ZERO};
    memset(sent->body, 0, sizeof(sent->body));
    store_be64(sent->body, proof.nonce);
    memcpy(sent->body + 8, "by hand", 7);
    proof.body_hash = keccak256(sent->body, sizeof(sent->body));
    for (size_t i = 0; i < count; i++) {
        sent->operations[i] = operations[i];
        pair_craft_operation(&proof, locks, &operations[i]);
    }
    proof.locks_root = lock_set_root(locks);
    lock_set_free(locks);
    sent->count = count;
    sent->body_ok = true;
    sent->update = (struct update){
        .channel = receiver->id, .proof = proof, .body = sent->body, .body_length = sizeof(sent->body)};
    pair_sign(pair, from, sent);
}

/* ---- looking ---- */

/* All that would be on disk; the places that have become empty were written before. */
static inline struct buffer pair_snapshot(struct channel *channel)
{
    struct buffer batch = {0};
    channel_write(channel, &batch);
    buffer_clear(&batch);
    channel_write_all(channel);
    channel_write(channel, &batch);
    return batch;
}

static inline void assert_same_bytes(struct buffer *before, struct buffer *after)
{
    assert_int_equal(before->length, after->length);
    assert_memory_equal(before->data, after->data, before->length);
    buffer_free(before);
    buffer_free(after);
}

/* A channel read back from the records that a snapshot gives. NULL if they are refused. */
static inline struct channel *pair_read_back(const uint8_t *data, size_t length)
{
    struct reader reader = reader_of(data, length);
    struct record record;
    struct channel *channel = NULL;
    bool good = true;
    while (good && record_next(&reader, &record))
        good = channel_read(&channel, &record);
    if (good && reader.ok && channel != NULL && channel_recovered(channel))
        return channel;
    channel_free(channel);
    return NULL;
}

/* Asserts that it is refused with this code at this operation, and that nothing at all changed. */
static inline void assert_refused(struct pair *pair, enum side to, const struct sent *sent, enum code code,
                                  size_t operation)
{
    struct channel *receiver = pair->sides[to];
    struct buffer before = pair_snapshot(receiver);
    struct judgement judgement = pair_deliver(pair, to, sent);
    assert_int_equal(judgement.code, code);
    assert_int_equal(judgement.verdict, VERDICT_REFUSED);
    assert_int_equal(judgement.operation, operation);
    struct buffer after = pair_snapshot(receiver);
    assert_same_bytes(&before, &after);
}

static inline void assert_held(struct pair *pair, enum side to, const struct sent *sent)
{
    struct buffer before = pair_snapshot(pair->sides[to]);
    assert_int_equal(pair_deliver(pair, to, sent).verdict, VERDICT_HELD);
    struct buffer after = pair_snapshot(pair->sides[to]);
    assert_same_bytes(&before, &after);
}

static inline void assert_accepted(struct pair *pair, enum side to, const struct sent *sent)
{
    struct judgement judgement = pair_deliver(pair, to, sent);
    assert_int_equal(judgement.code, CODE_OK);
    assert_int_equal(judgement.verdict, VERDICT_ACCEPTED);
}

/* Wide values as cmocka's integers. */
static inline long long available_of(const struct channel *channel, enum side side)
{
    return (long long)channel_available(channel, side);
}

static inline long long balance_of(const struct channel *channel, enum side side)
{
    return (long long)channel_balance(channel, side);
}

#endif
