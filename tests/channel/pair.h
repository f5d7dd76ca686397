/* A client's machine and a hub's machine of one channel, with keys, a clock and a registry each, and a
 * forger: someone who signs with the right key whatever he likes. */
#ifndef RILL_TESTS_CHANNEL_PAIR_H
#define RILL_TESTS_CHANNEL_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/channel.h"
#include "crypto/hash.h"

#define NOW         1900000000u
#define MARGIN_S    600u
#define WINDOW_S    3600u
#define REGISTRY    64
#define FORGED_MAX  8
#define RESERVE_BPS 100

/* What one side sees of the ledger. */
struct node {
    struct channel_view view;
    struct hash conditions[REGISTRY];
    uint64_t times[REGISTRY];
    size_t count;
};

struct pair {
    struct secret_key keys[2];
    struct address addresses[2];
    struct domain domain;
    struct node nodes[2];
    struct channel *sides[2];
    struct pending_lock touched[OPERATIONS_MAX];
};

/* An update as it arrives. */
struct sent {
    struct update update;
    struct operation operations[FORGED_MAX];
    size_t count;
    uint8_t body[16];
};

static inline uint64_t node_registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct node *node = context;
    (void)kind;
    for (size_t i = 0; i < node->count; i++)
        if (hash_equal(&node->conditions[i], condition))
            return node->times[i];
    return 0;
}

static inline void node_register(struct node *node, const struct hash *condition, uint64_t time)
{
    assert_true(node->count < REGISTRY);
    node->conditions[node->count] = *condition;
    node->times[node->count++] = time;
}

static inline struct channel_funds funds_of(uint64_t total, int64_t base, uint32_t seq)
{
    return (struct channel_funds){.total = amount_of(total), .base = base, .seq = seq, .stage = STAGE_OPEN};
}

static inline void pair_set_funds(struct pair *pair, const struct channel_funds *funds)
{
    channel_set_funds(pair->sides[SIDE_HUB], funds);
    channel_set_funds(pair->sides[SIDE_CLIENT], funds);
    channel_set_told(pair->sides[SIDE_CLIENT], funds);
}

/* Open, the client with `deposit`, the hub with `by_hub`. */
static inline void pair_open(struct pair *pair, uint64_t deposit, uint64_t by_hub)
{
    memset(pair, 0, sizeof(*pair));
    struct address contract = {{0xcc}};
    pair->domain = domain_make(31337, &contract);
    for (int side = 0; side < 2; side++) {
        memset(pair->keys[side].bytes, 0x21 + side, sizeof(pair->keys[side].bytes));
        pair->addresses[side] = secret_key_address(&pair->keys[side]);
    }
    struct channel_key key = {.client = pair->addresses[SIDE_CLIENT], .salt = 7};
    for (int side = 0; side < 2; side++) {
        pair->sides[side] = channel_new(&key, (enum side)side, RESERVE_BPS);
        pair->nodes[side].view = (struct channel_view){
            .domain = &pair->domain,
            .now = NOW,
            .reveal_margin_s = MARGIN_S,
            .peer = pair->addresses[side_other((enum side)side)],
            .registered_at = node_registered_at,
            .context = &pair->nodes[side],
        };
    }
    struct channel_funds funds = funds_of(deposit + by_hub, (int64_t)deposit, 0);
    pair_set_funds(pair, &funds);
}

static inline void pair_close(struct pair *pair)
{
    channel_free(pair->sides[SIDE_CLIENT]);
    channel_free(pair->sides[SIDE_HUB]);
}

static inline void pair_set_time(struct pair *pair, uint64_t now)
{
    pair->nodes[SIDE_CLIENT].view.now = pair->nodes[SIDE_HUB].view.now = now;
}

/* ---- operations ---- */

static inline struct payment_id payment_of(uint64_t number)
{
    struct payment_id id = {{0}};
    store_be64(id.bytes, number);
    return id;
}

static inline struct witness secret_of(uint64_t number)
{
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    store_be64(witness.bytes, number);
    return witness;
}

static inline struct hash condition_of(uint64_t number)
{
    struct witness secret = secret_of(number);
    return condition_of_secret(secret.bytes);
}

static inline struct operation pay_of(uint64_t amount, uint64_t fee)
{
    return (struct operation){.type = OPERATION_PAY, .amount = amount_of(amount), .fee = amount_of(fee)};
}

/* The lock id is for forgers: channel_add chooses its own. */
static inline struct operation lock_of(uint64_t lock_id, uint64_t amount, uint64_t fee, uint64_t expiry)
{
    return (struct operation){.type = OPERATION_LOCK,
                              .id = payment_of(lock_id),
                              .amount = amount_of(amount),
                              .fee = amount_of(fee),
                              .expiry = expiry,
                              .condition = condition_of(lock_id),
                              .lock_id = lock_id};
}

static inline struct operation unlock_of(uint64_t lock_id, uint64_t secret)
{
    return (struct operation){.type = OPERATION_UNLOCK, .lock_id = lock_id, .witness = secret_of(secret)};
}

static inline struct operation removal_of(enum operation_type type, uint64_t lock_id)
{
    return (struct operation){.type = type, .lock_id = lock_id};
}

static inline struct operation refund_of(uint64_t amount)
{
    return (struct operation){.type = OPERATION_REFUND, .amount = amount_of(amount), .code = CODE_PAYEE};
}

/* ---- sending and receiving ---- */

static inline enum code add(struct pair *pair, enum side side, struct operation operation)
{
    return channel_add(pair->sides[side], &pair->nodes[side].view, &operation, NULL);
}

/* Seals the draft; the body stands for what the wire would carry. */
static inline struct sent seal(struct pair *pair, enum side side)
{
    struct channel *channel = pair->sides[side];
    struct sent sent = {.update.channel = channel->id};
    const struct operation *operations = channel_draft(channel, &sent.count);
    assert_true(sent.count <= FORGED_MAX);
    memcpy(sent.operations, operations, sent.count * sizeof(*operations));
    for (size_t i = 0; i < sent.count; i++)
        sent.operations[i].memo = (struct text){0};
    store_be64(sent.body, channel_own(channel)->proof.nonce + 1);
    const struct kept_update *kept =
        channel_seal(channel, &pair->domain, &pair->keys[side], sent.body, sizeof(sent.body));
    sent.update.proof = kept->proof;
    sent.update.signature = kept->signature;
    return sent;
}

static inline struct judgement receive(struct pair *pair, enum side side, const struct sent *sent)
{
    return channel_receive(pair->sides[side], &pair->nodes[side].view, &sent->update, sent->operations,
                           sent->count, true, pair->touched);
}

#define assert_accepted(pair, side, sent)                                                                    \
    do {                                                                                                     \
        struct judgement judgement_ = receive(pair, side, sent);                                             \
        assert_int_equal(judgement_.verdict, VERDICT_ACCEPTED);                                              \
        assert_int_equal(judgement_.code, CODE_OK);                                                          \
    } while (0)

/* One operation, signed by one side, taken by the other, acknowledged. */
static inline void pass(struct pair *pair, enum side from, struct operation operation)
{
    assert_int_equal(add(pair, from, operation), CODE_OK);
    struct sent sent = seal(pair, from);
    assert_accepted(pair, side_other(from), &sent);
    assert_int_equal(channel_acknowledged(pair->sides[from], sent.update.proof.nonce), CODE_OK);
}

/* ---- the forger ---- */

static inline void sign_again(struct pair *pair, enum side from, struct sent *sent)
{
    struct hash digest = digest_balance_proof(&pair->domain, &sent->update.channel, &sent->update.proof);
    sent->update.signature = key_sign(&pair->keys[from], &digest);
}

static inline struct lock_set *locks_copy(const struct lock_set *locks)
{
    struct lock_set *copy = lock_set_new();
    for (struct pending_lock *at = lock_set_next(locks, 0); at != NULL;
         at = lock_set_next(locks, at->lock.id))
        assert_true(lock_set_add(copy, at));
    return copy;
}

/* An operation's effect on a proof, by addition alone: no rule is looked at. */
static inline void forge_operation(struct balance_proof *proof, struct lock_set *locks,
                                   const struct operation *operation)
{
    uint64_t amount = operation->amount.units + operation->fee.units;
    const struct pending_lock *pending = lock_set_find(locks, operation->lock_id);
    switch (operation->type) {
    case OPERATION_PAY:
    case OPERATION_REFUND:
        proof->transferred.units += amount;
        return;
    case OPERATION_LOCK: {
        struct pending_lock lock = {.lock = {operation->lock_id, amount_of(amount), operation->expiry,
                                             operation->kind, operation->condition}};
        if (lock_set_add(locks, &lock))
            proof->locked.units += amount;
        return;
    }
    case OPERATION_UNLOCK:
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        if (pending == NULL)
            return;
        proof->locked.units -= pending->lock.amount.units;
        if (operation->type == OPERATION_UNLOCK)
            proof->transferred.units += pending->lock.amount.units;
        assert_true(lock_set_remove(locks, operation->lock_id));
        return;
    }
}

/* The next update of a side with these operations, as its receiver's state has it: sums and root are right,
 * whatever the rules say of the operations. */
static inline struct sent forge(struct pair *pair, enum side from, const struct operation *operations,
                                size_t count)
{
    const struct stream *stream = &pair->sides[side_other(from)]->streams[from];
    struct sent sent = {.count = count, .update = {.channel = pair->sides[from]->id, .proof = stream->proof}};
    struct lock_set *locks = locks_copy(stream->locks);
    assert_true(count <= FORGED_MAX);
    for (size_t i = 0; i < count; i++) {
        sent.operations[i] = operations[i];
        forge_operation(&sent.update.proof, locks, &operations[i]);
    }
    sent.update.proof.nonce++;
    sent.update.proof.locks_root = lock_set_root(locks);
    store_be64(sent.body, sent.update.proof.nonce);
    sent.update.proof.body_hash = keccak256(sent.body, sizeof(sent.body));
    lock_set_free(locks);
    sign_again(pair, from, &sent);
    return sent;
}

static inline struct sent forge_one(struct pair *pair, enum side from, struct operation operation)
{
    return forge(pair, from, &operation, 1);
}

/* ---- the whole of a channel, as bytes ---- */

static inline void snapshot(struct channel *channel, struct buffer *out)
{
    buffer_clear(out);
    channel_write(channel, out); /* the places that became empty, once */
    buffer_clear(out);
    channel_write_all(channel);
    channel_write(channel, out);
}

#define assert_unchanged(channel, before)                                                                    \
    do {                                                                                                     \
        struct buffer after_ = {0};                                                                          \
        snapshot(channel, &after_);                                                                          \
        assert_int_equal(after_.length, (before)->length);                                                   \
        assert_memory_equal(after_.data, (before)->data, after_.length);                                     \
        buffer_free(&after_);                                                                                \
    } while (0)

#endif
