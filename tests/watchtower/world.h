/* A world for the tower's core: a ledger whose views answer from a script, a journal in memory, users with
 * keys. The contract itself is not played here: a transaction is looked at by the test, and done by the
 * script. */
#ifndef RILL_TESTS_WATCHTOWER_WORLD_H
#define RILL_TESTS_WATCHTOWER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/lock.h"
#include "watchtower/judge.h"
#include "watchtower/tower.h"

#define UNUSED            __attribute__((unused))
#define WORLD_QUEUE_MAX   8192
#define WORLD_BATCHES_MAX 4096
#define PERIOD            8000 /* the challenge period: an eighth is 1000 s */
#define MARGIN            600
#define START             1900000000u

struct asked {
    uint64_t id;
    struct contract_call view;
};
struct submitted {
    uint64_t id;
    struct contract_call call;
    struct ledger_terms terms;
    struct hash merkle[LOCK_TREE_DEPTH];
};
struct said {
    uint64_t sequence, peer;
    struct message message;     /* without what its pointers point to */
    struct shown_lock locks[8]; /* KEPT */
    struct witness witnesses[8];
};

struct world {
    struct tower *tower;
    struct tower_options options;
    struct secret_key client, hub, other;
    struct channel_key key;
    struct hash channel;
    struct domain domain;
    struct address self;
    /* effects */
    struct buffer batches[WORLD_BATCHES_MAX];
    size_t batch_count;
    struct asked asks[WORLD_QUEUE_MAX];
    size_t ask_count;
    uint64_t questions; /* in all */
    struct submitted submits[WORLD_QUEUE_MAX];
    size_t submit_count;
    struct said said[1024];
    size_t said_count;
    size_t alarms; /* lines at level error */
    size_t raised[TOWER_ALARM_KIND_COUNT];
    unsigned_wide cost_wei; /* of each transaction */
    /* the ledger */
    struct ledger_head head;
    struct hash head_hash; /* of its confirmed block; zero: not told */
    uint64_t now_ms;
    bool is_tower, down;
    struct channel_state state;
    struct closing closing;
    struct amount held[2];
    struct {
        struct hash condition;
        uint64_t time;
    } registered[64];
    size_t registered_count;
    struct hash unlocked[64];
    size_t unlocked_count;
};

/* ---- effects ---- */

static uint64_t world_append(void *context, const uint8_t *batch, size_t length)
{
    struct world *world = context;
    assert_true(world->batch_count < WORLD_BATCHES_MAX);
    buffer_append(&world->batches[world->batch_count++], batch, length);
    return world->batch_count;
}

static void world_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct world *world = context;
    assert_true(world->said_count < ARRAY_LENGTH(world->said));
    /* Nothing that was written until now may be missing from the disk when it leaves. */
    assert_true(sequence == world->batch_count || message->type == MESSAGE_KEPT ||
                message->type == MESSAGE_ERROR);
    struct said *said = &world->said[world->said_count++];
    *said = (struct said){.sequence = sequence, .peer = peer, .message = *message};
    if (message->type != MESSAGE_KEPT)
        return;
    for (size_t i = 0; i < message->appoint.lock_count && i < 8; i++)
        said->locks[i] = message->appoint.locks[i];
    for (size_t i = 0; i < message->appoint.witness_count && i < 8; i++)
        said->witnesses[i] = message->appoint.witnesses[i];
}

static void world_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct world *world = context;
    assert_true(world->ask_count < WORLD_QUEUE_MAX);
    world->asks[world->ask_count++] = (struct asked){question, *view};
    world->questions++;
}

static void world_submit(void *context, uint64_t submission, const struct contract_call *call,
                         const struct ledger_terms *terms)
{
    struct world *world = context;
    assert_true(world->submit_count < WORLD_QUEUE_MAX);
    struct submitted *submitted = &world->submits[world->submit_count++];
    *submitted = (struct submitted){.id = submission, .call = *call, .terms = *terms};
    for (size_t i = 0; i < call->merkle_count; i++)
        submitted->merkle[i] = call->merkle[i];
    submitted->call.merkle = NULL;
}

static void world_say(void *context, enum log_level level, const char *line)
{
    struct world *world = context;
    if (level >= LOG_ERROR)
        world->alarms++;
    if (getenv("RILL_TEST_LOUD") != NULL)
        fprintf(stderr, "    %s\n", line);
}

static void world_alarm(void *context, const struct tower_alarm *alarm)
{
    struct world *world = context;
    world->raised[alarm->kind]++;
    assert_true(strlen(alarm->line) > 0 && strlen(tower_alarm_name(alarm->kind)) > 0);
}

static const struct tower_effects world_effects = {.append = world_append,
                                                   .send = world_send,
                                                   .ask = world_ask,
                                                   .submit = world_submit,
                                                   .say = world_say,
                                                   .alarm = world_alarm};

/* ---- the ledger's answers ---- */

static void world_answer_view(const struct world *world, const struct contract_call *view, struct buffer *out)
{
    unsigned_wide word = 0;
    switch (view->function) {
    case CONTRACT_CHANNEL:
        contract_encode_channel(out, &world->state);
        return;
    case CONTRACT_CLOSING:
        contract_encode_closing(out, &world->closing);
        return;
    case CONTRACT_HELD:
        contract_encode_word(out, world->held[SIDE_CLIENT].units);
        contract_encode_word(out, world->held[SIDE_HUB].units);
        return;
    case CONTRACT_IS_TOWER:
        word = world->is_tower;
        break;
    case CONTRACT_REGISTERED_AT:
        for (size_t i = 0; i < world->registered_count; i++)
            if (hash_equal(&world->registered[i].condition, &view->hash))
                word = world->registered[i].time;
        break;
    case CONTRACT_UNLOCKED:
        for (size_t i = 0; i < world->unlocked_count; i++)
            if (hash_equal(&world->unlocked[i], &view->hash))
                word = 1;
        break;
    default:
        fail_msg("the tower asks for function %d", view->function);
    }
    contract_encode_word(out, word);
}

/* Answers every question, and those that follow from the answers. */
UNUSED static void world_settle(struct world *world)
{
    while (world->ask_count > 0) {
        struct asked asked = world->asks[0];
        memmove(world->asks, world->asks + 1, --world->ask_count * sizeof asked);
        struct buffer data = {0};
        world_answer_view(world, &asked.view, &data);
        tower_answer(world->tower, asked.id, !world->down, data.data, data.length);
        buffer_free(&data);
    }
}

/* A new block, `seconds` after the last one. */
UNUSED static void world_block(struct world *world, uint64_t seconds)
{
    world->head.number++;
    world->head.time += seconds;
    if (world->head.number > world->options.confirmations) {
        world->head.confirmed_number = world->head.number - world->options.confirmations;
        world->head.confirmed_time = world->head.time;
    }
    world->now_ms += 1000;
    tower_tick(world->tower, world->now_ms);
    tower_head(world->tower, &world->head, &world->head_hash);
    world_settle(world);
}

UNUSED static void world_block_at(struct world *world, uint64_t time)
{
    assert_true(time >= world->head.time);
    world_block(world, time - world->head.time);
}

UNUSED static void world_event(struct world *world, enum contract_event_type type, bool confirmed)
{
    struct contract_event event = {.type = type,
                                   .channel = world->channel,
                                   .close = true,
                                   .block = world->head.number,
                                   .block_time = world->head.time,
                                   .confirmed = confirmed};
    tower_event(world->tower, &event);
    world_settle(world);
}

/* ---- transactions ---- */

/* The next transaction, which must be of this function; it stays under way until world_outcome. */
UNUSED static struct submitted world_take(struct world *world, enum contract_function function)
{
    assert_true(world->submit_count > 0);
    struct submitted submitted = world->submits[0];
    assert_int_equal(submitted.call.function, function);
    memmove(world->submits, world->submits + 1, --world->submit_count * sizeof submitted);
    return submitted;
}

UNUSED static void world_outcome(struct world *world, const struct submitted *submitted,
                                 enum ledger_error error, bool success, enum contract_error reverted)
{
    tower_outcome(world->tower, submitted->id, error, success, reverted, world->cost_wei);
    world_settle(world);
}

UNUSED static void world_confirm(struct world *world, const struct submitted *submitted)
{
    world_outcome(world, submitted, LEDGER_OK, true, CONTRACT_OK);
}

UNUSED static void world_register(struct world *world, const struct hash *condition, uint64_t time)
{
    world->registered[world->registered_count].condition = *condition;
    world->registered[world->registered_count++].time = time;
}

UNUSED static struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

/* Somebody closes: `own` of the closer's stream, `shown` of the other. */
UNUSED static void world_close(struct world *world, bool by_hub, const struct balance_proof *own,
                               const struct balance_proof *shown)
{
    world->state.status = CHANNEL_CLOSING;
    world->closing = (struct closing){.by_hub = by_hub,
                                      .deadline = world->head.time + PERIOD,
                                      .own = claim_of(own),
                                      .of_client = claim_of(by_hub ? shown : own),
                                      .of_hub = claim_of(by_hub ? own : shown)};
    world_event(world, EVENT_CLOSE_STARTED, false);
}

/* What a challenge does to what stands. */
UNUSED static void world_challenged(struct world *world, const struct balance_proof *proof, bool by_partner)
{
    struct claim claim = claim_of(proof);
    if (world->closing.by_hub)
        world->closing.of_hub = claim;
    else
        world->closing.of_client = claim;
    world->closing.challenged = true;
    world->closing.by_partner = by_partner;
}

/* ---- users ---- */

static struct secret_key world_key(const char *name)
{
    struct secret_key key;
    struct hash hash = sha256(name, strlen(name));
    memcpy(key.bytes, hash.bytes, sizeof key.bytes);
    ensure(secret_key_is_valid(&key));
    return key;
}

UNUSED static struct witness secret_of(unsigned number)
{
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    struct hash hash = sha256(&number, sizeof number);
    memcpy(witness.bytes, hash.bytes, sizeof hash.bytes);
    return witness;
}

/* A lock on secret_of(id). */
UNUSED static struct lock lock_of(unsigned id, uint64_t amount, uint64_t expiry)
{
    struct witness witness = secret_of(id);
    return (struct lock){.id = id,
                         .amount = amount_of(amount),
                         .expiry = expiry,
                         .kind = LOCK_SECRET,
                         .condition = condition_of_secret(witness.bytes)};
}

/* A proof over these locks. */
UNUSED static struct balance_proof proof_of(uint64_t nonce, uint64_t transferred, const struct lock *locks,
                                            size_t count)
{
    struct balance_proof proof = {.nonce = nonce, .transferred = amount_of(transferred)};
    proof.body_hash = keccak256(&nonce, sizeof nonce);
    struct lock_set *set = lock_set_new();
    for (size_t i = 0; i < count; i++) {
        struct pending_lock pending = {.lock = locks[i]};
        assert_true(lock_set_add(set, &pending));
        proof.locked.units += locks[i].amount.units;
    }
    proof.locks_root = lock_set_root(set);
    lock_set_free(set);
    return proof;
}

/* An APPOINT in the making: change what should be wrong, then send it. */
struct appoint {
    struct message message;
    struct shown_lock locks[16];
    struct witness witnesses[16];
};

UNUSED static void appoint_choose(const struct world *world, struct appoint *appoint,
                                  const struct secret_key *user)
{
    struct message *message = &appoint->message;
    struct hash digest = HASH_ZERO;
    if (message->appoint.proof.present)
        digest = digest_balance_proof(&world->domain, &world->channel, &message->appoint.proof.proof);
    struct hash choice = digest_choice(&world->domain, &digest, &world->self);
    message->appoint.has_choice = true;
    message->appoint.choice = key_sign(user, &choice);
}

/* `user` leaves the counterparty's proof (nonce 0: none) over these locks. */
UNUSED static void appoint_make(const struct world *world, struct appoint *out, enum side user,
                                const struct balance_proof *proof, const struct lock *locks, size_t count)
{
    const struct secret_key *self = user == SIDE_CLIENT ? &world->client : &world->hub;
    const struct secret_key *counterparty = user == SIDE_CLIENT ? &world->hub : &world->client;
    *out = (struct appoint){.message.type = MESSAGE_APPOINT};
    out->message.appoint.key = world->key;
    if (proof->nonce > 0) {
        struct hash digest = digest_balance_proof(&world->domain, &world->channel, proof);
        out->message.appoint.proof = (struct shown_proof){
            .present = true, .proof = *proof, .signature = key_sign(counterparty, &digest)};
    }
    for (size_t i = 0; i < count; i++)
        out->locks[i].lock = locks[i];
    out->message.appoint.locks = out->locks;
    out->message.appoint.lock_count = count;
    out->message.appoint.witnesses = out->witnesses;
    appoint_choose(world, out, self);
}

UNUSED static void appoint_witness(struct appoint *appoint, const struct witness *witness)
{
    appoint->witnesses[appoint->message.appoint.witness_count++] = *witness;
}

/* The counterparty of `user` has revoked the locks of its proofs below min_nonce. */
UNUSED static void appoint_revocation(const struct world *world, struct appoint *appoint, enum side user,
                                      uint64_t min_nonce)
{
    struct hash digest = digest_revocation(&world->domain, &world->channel, min_nonce);
    appoint->message.appoint.revocation = (struct shown_revocation){
        .present = true,
        .min_nonce = min_nonce,
        .signature = key_sign(user == SIDE_CLIENT ? &world->hub : &world->client, &digest)};
}

UNUSED static void appoint_send_as(struct world *world, struct appoint *appoint,
                                   const struct secret_key *user)
{
    struct address address = secret_key_address(user);
    appoint->message.appoint.locks = appoint->locks;
    appoint->message.appoint.witnesses = appoint->witnesses;
    world->said_count = 0;
    tower_message(world->tower, 7, &address, &appoint->message);
    world_settle(world);
}

/* The only answer so far. */
UNUSED static struct said *world_reply(struct world *world, enum message_type type)
{
    assert_int_equal(world->said_count, 1);
    assert_int_equal(world->said[0].message.type, type);
    assert_int_equal(world->said[0].peer, 7);
    return &world->said[0];
}

UNUSED static void expect_receipt(struct world *world, uint64_t nonce)
{
    const struct message *message = &world_reply(world, MESSAGE_RECEIPT)->message;
    assert_int_equal(message->receipt.nonce, nonce);
    assert_true(hash_equal(&message->receipt.channel, &world->channel));
    struct hash digest =
        digest_receipt(&world->domain, &world->channel, nonce, &message->receipt.proof_digest);
    assert_true(signature_is_by(&message->receipt.signature, &digest, &world->self));
}

UNUSED static void expect_error(struct world *world, enum code code)
{
    const struct message *message = &world_reply(world, MESSAGE_ERROR)->message;
    assert_string_equal(code_name(message->error.code), code_name(code));
    assert_true(message->error.reference.present && message->error.reference.has_channel);
}

/* The user of this side leaves a proof; the tower must take it. */
UNUSED static void world_appoint(struct world *world, enum side user, const struct balance_proof *proof,
                                 const struct lock *locks, size_t count, const struct witness *witness)
{
    struct appoint appoint;
    appoint_make(world, &appoint, user, proof, locks, count);
    if (witness != NULL)
        appoint_witness(&appoint, witness);
    appoint_send_as(world, &appoint, user == SIDE_CLIENT ? &world->client : &world->hub);
    expect_receipt(world, proof->nonce);
}

/* ---- life ---- */

static bool world_visit(struct tower *tower, const struct buffer *batch)
{
    struct reader reader = reader_of(batch->data, batch->length);
    struct record record;
    while (record_next(&reader, &record))
        if (!tower_read(tower, &record))
            return false;
    return reader.ok;
}

/* The process dies; what is left is the first `count` batches. Open questions and transactions are forgotten.
 */
UNUSED static void world_restart(struct world *world, size_t count)
{
    char message[256];
    tower_free(world->tower);
    for (size_t i = count; i < world->batch_count; i++)
        buffer_clear(&world->batches[i]);
    struct buffer kept[WORLD_BATCHES_MAX];
    memcpy(kept, world->batches, sizeof kept);
    world->batch_count = count;
    world->ask_count = world->submit_count = world->said_count = 0;
    world->tower = tower_new(&world->options, &world_effects, world);
    tower_tick(world->tower, world->now_ms);
    for (size_t i = 0; i < count; i++)
        assert_true(world_visit(world->tower, &kept[i]));
    if (!tower_recovered(world->tower, message, sizeof message))
        fail_msg("%s", message);
    /* A real journal numbers on from where it was; here the tower starts from zero, as with a checkpoint. */
}

UNUSED static int world_setup(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    struct address contract = {.bytes = {1, 2, 3}};
    world->client = world_key("client");
    world->hub = world_key("hub");
    world->other = world_key("other");
    world->options = (struct tower_options){.chain_id = 1337,
                                            .contract = contract,
                                            .hub = secret_key_address(&world->hub),
                                            .challenge_period_s = PERIOD,
                                            .confirmations = 3,
                                            .register_margin_s = MARGIN,
                                            .key = world_key("tower"),
                                            .quotas = {10, 4, 1 << 20, 1 << 24}};
    world->self = secret_key_address(&world->options.key);
    world->domain = domain_make(1337, &contract);
    world->key = (struct channel_key){.client = secret_key_address(&world->client), .salt = 5};
    world->channel = channel_id(&world->key);
    world->state = (struct channel_state){.total = amount_of(1000), .base = 1000, .status = CHANNEL_OPEN};
    world->head = (struct ledger_head){.number = 100, .time = START};
    world->now_ms = 1;
    world->tower = tower_new(&world->options, &world_effects, world);
    tower_tick(world->tower, world->now_ms);
    tower_begin(world->tower, 90);
    world_block(world, 10);
    *state = world;
    return 0;
}

UNUSED static int world_teardown(void **state)
{
    struct world *world = *state;
    tower_free(world->tower);
    for (size_t i = 0; i < WORLD_BATCHES_MAX; i++)
        buffer_free(&world->batches[i]);
    free(world);
    return 0;
}

#endif
