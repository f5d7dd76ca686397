/* A wallet's core between a journal in memory, a ledger that says what it is told to, and a hub that is
 * nothing but a real hub-side channel machine: every proof, rule and signature of these tests is real.
 *
 *     world_linked ─▶ WELCOME, CHANNEL, LOCKS ─▶ RESUME …
 *     world_pay, world_lock: the hub's own updates
 *     world_run: runs the core, syncs the journal (unless `unsynced`), delivers what may leave
 */
#ifndef RILL_TESTS_WALLET_WORLD_H
#define RILL_TESTS_WALLET_WORLD_H

/* cmocka.h needs these four, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "store/memory_journal.h"
#include "wallet/core_state.h"
#include "wire/outbox.h"

#define MAYBE_UNUSED __attribute__((unused))

#define WORLD_NEWS_MAX     8192
#define WORLD_MESSAGES_MAX 512
#define WORLD_TIME         1800000000u
#define WORLD_NONCES_MAX   256

struct world_transaction {
    uint64_t id;
    struct contract_call call;
    struct hash merkle[LOCK_TREE_DEPTH];
};

struct world {
    struct wallet_core *core;
    struct wallet_core_options options;
    struct journal *journal;
    struct outbox *outbox;
    bool unsynced; /* the disk is slow: nothing becomes durable by itself */
    bool deaf;     /* the hub does not answer by itself */
    uint64_t now_ms, unix_s;
    struct domain domain;
    struct secret_key client_key, hub_key, payee_key, tower_key;
    struct address client, hub, payee, tower;
    struct terms terms;
    struct channel_key key;
    struct hash id;
    struct ledger_head head;
    uint32_t next_log;

    /* the hub */
    struct channel *machine;
    struct decoder *decoder, *frames;
    struct operation operations[OPERATIONS_MAX]; /* of the newest update taken */
    size_t operation_count;
    struct judgement judgement; /* of the newest update */
    uint64_t sent;              /* own updates sent on this connection */
    struct revealed reveals[64];
    size_t reveal_count;
    struct failed fails[64];
    size_t fail_count;
    unsigned counts[40]; /* messages by type, on this connection */
    struct message last_settle, last_error, last_appoint, last_resume;
    struct hash digests[WORLD_NONCES_MAX]; /* of each proof ever seen, by nonce */
    struct hash frames_seen[WORLD_NONCES_MAX];
    bool resumed;

    struct wallet_news news[WORLD_NEWS_MAX];
    size_t news_count;
    struct world_transaction transactions[32];
    size_t transaction_count;
    struct {
        uint64_t id;
        struct contract_call view;
    } asks[32];
    size_t ask_count;
    /* registeredAt is answered by itself, from what was registered, unless the node is down. */
    struct {
        uint64_t id;
        struct contract_call view;
    } condition_asks[64];
    size_t condition_ask_count;
    unsigned condition_answers;
    bool node_is_down;
    struct {
        uint8_t kind;
        struct hash condition;
        uint64_t time;
    } registered[16];
    size_t registered_count;
    unsigned disconnects;
    uint32_t next_payment;
};

/* ---- the wallet's surroundings ---- */

static uint64_t world_append(void *context, const uint8_t *batch, size_t length)
{
    struct world *world = context;
    return journal_append(world->journal, batch, length);
}

static void world_put(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct world *world = context;
    outbox_put(world->outbox, sequence, peer, message);
}

static void world_submit(void *context, uint64_t sequence, uint64_t submission,
                         const struct contract_call *call)
{
    struct world *world = context;
    assert_true(sequence <= memory_journal_appended(world->journal));
    assert_true(world->transaction_count < ARRAY_LENGTH(world->transactions));
    struct world_transaction *made = &world->transactions[world->transaction_count++];
    made->id = submission;
    made->call = *call;
    if (call->merkle_count > 0)
        memcpy(made->merkle, call->merkle, call->merkle_count * sizeof(struct hash));
}

static void world_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct world *world = context;
    if (view->function == CONTRACT_REGISTERED_AT) {
        assert_true(world->condition_ask_count < ARRAY_LENGTH(world->condition_asks));
        world->condition_asks[world->condition_ask_count].id = question;
        world->condition_asks[world->condition_ask_count++].view = *view;
        return;
    }
    assert_true(world->ask_count < ARRAY_LENGTH(world->asks));
    world->asks[world->ask_count].id = question;
    world->asks[world->ask_count++].view = *view;
}

static void world_tell(void *context, uint64_t sequence, const struct wallet_news *news)
{
    (void)sequence;
    struct world *world = context;
    assert_true(world->news_count < WORLD_NEWS_MAX);
    world->news[world->news_count++] = *news;
}

static void world_pause(void *context, bool pause)
{
    (void)context;
    (void)pause;
}

static void world_disconnect(void *context, const char *why)
{
    (void)why;
    ((struct world *)context)->disconnects++;
}

static const struct wallet_effects world_effects = {.append = world_append,
                                                    .send = world_put,
                                                    .submit = world_submit,
                                                    .ask = world_ask,
                                                    .tell = world_tell,
                                                    .pause = world_pause,
                                                    .disconnect = world_disconnect};

/* ---- the hub ---- */

static uint64_t world_registered(void *context, uint8_t kind, const struct hash *condition)
{
    const struct world *world = context;
    for (size_t i = 0; i < world->registered_count; i++)
        if (world->registered[i].kind == kind && hash_equal(&world->registered[i].condition, condition))
            return world->registered[i].time;
    return 0;
}

static void world_answer_conditions(struct world *world)
{
    while (world->condition_ask_count > 0 && !world->node_is_down) {
        const struct contract_call *view = &world->condition_asks[--world->condition_ask_count].view;
        uint64_t id = world->condition_asks[world->condition_ask_count].id;
        struct buffer data = {0};
        contract_encode_word(&data, world_registered(world, view->kind, &view->hash));
        world->condition_answers++;
        wallet_answer(world->core, id, true, data.data, data.length);
        buffer_free(&data);
    }
}

static MAYBE_UNUSED struct channel_view world_view(struct world *world)
{
    return (struct channel_view){.domain = &world->domain,
                                 .now = world->head.confirmed_time,
                                 .reveal_margin_s = world->terms.reveal_margin_s,
                                 .peer = world->client,
                                 .registered_at = world_registered,
                                 .context = world};
}

/* The wallet never signs two proofs with one nonce, and resends only identical bytes. */
static void world_witness_proof(struct world *world, const struct update *update)
{
    uint64_t nonce = update->proof.nonce;
    assert_true(nonce > 0 && nonce < WORLD_NONCES_MAX);
    struct hash digest = digest_balance_proof(&world->domain, &update->channel, &update->proof);
    struct hash bytes = keccak256_pair(update->body, update->body_length, update->signature.bytes, 64);
    assert_true(signature_is_by(&update->signature, &digest, &world->client));
    if (hash_is_zero(&world->digests[nonce])) {
        world->digests[nonce] = digest;
        world->frames_seen[nonce] = bytes;
    }
    assert_true(hash_equal(&digest, &world->digests[nonce]));
    assert_true(hash_equal(&bytes, &world->frames_seen[nonce]));
}

static void world_take_update(struct world *world, const struct update *update)
{
    const struct operation *operations = NULL;
    size_t count = 0;
    world_witness_proof(world, update);
    bool body_ok = body_decode(world->decoder, update->body, update->body_length, &operations, &count);
    struct pending_lock *touched = xcalloc(count + 1, sizeof(*touched));
    struct channel_view view = world_view(world);
    world->judgement = channel_receive(world->machine, &view, update, operations, count, body_ok, touched);
    free(touched);
    world->operation_count = count;
    memcpy(world->operations, operations, count * sizeof(*operations));
    bool taken = world->judgement.verdict == VERDICT_ACCEPTED || world->judgement.verdict == VERDICT_AGAIN;
    if (taken && !world->deaf)
        wallet_message(world->core,
                       &(struct message){.type = MESSAGE_ACK,
                                         .ack = {.channel = world->id, .nonce = update->proof.nonce}});
}

/* Something of the wallet reaches the hub. */
static void world_hub_takes(struct world *world, const struct message *message)
{
    struct channel_view view = world_view(world);
    world->counts[message->type]++;
    switch (message->type) {
    case MESSAGE_UPDATE:
        world_take_update(world, &message->update);
        return;
    case MESSAGE_ACK:
        assert_int_equal(channel_acknowledged(world->machine, message->ack.nonce), CODE_OK);
        return;
    case MESSAGE_RESUME:
        assert_int_equal(channel_acknowledged(world->machine, message->resume.received), CODE_OK);
        world->resumed = true;
        world->last_resume = *message;
        for (uint64_t nonce = world->machine->acknowledged + 1;
             nonce <= channel_own(world->machine)->proof.nonce; nonce++) {
            const struct kept_update *kept = channel_kept(world->machine, nonce);
            wallet_message(world->core, &(struct message){.type = MESSAGE_UPDATE,
                                                          .update = {world->id, kept->proof, kept->signature,
                                                                     kept->body, kept->body_length}});
        }
        return;
    case MESSAGE_REVEAL:
        for (size_t i = 0; i < message->reveal.count; i++)
            world->reveals[world->reveal_count++] = message->reveal.items[i];
        return;
    case MESSAGE_FAIL:
        for (size_t i = 0; i < message->fail.count; i++) {
            world->fails[world->fail_count++] = message->fail.items[i];
            (void)channel_fail_received(world->machine, &message->fail.items[i].id);
        }
        return;
    case MESSAGE_REVOKE:
        assert_int_equal(channel_revocation_received(world->machine, &view, message->revoke.min_nonce,
                                                     &message->revoke.signature, NULL),
                         CODE_OK);
        return;
    case MESSAGE_SETTLE_SIGN:
        world->last_settle = *message;
        assert_int_equal(channel_settle_signed(world->machine, &view, message->settle_sign.seq,
                                               &message->settle_sign.signature),
                         CODE_OK);
        return;
    case MESSAGE_SETTLE_REQUEST:
        world->last_settle = *message;
        return;
    case MESSAGE_ERROR:
        world->last_error = *message;
        return;
    case MESSAGE_APPOINT:
        world->last_appoint = *message;
        return;
    default:
        return;
    }
}

static void world_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    (void)peer;
    struct world *world = context;
    struct message message;
    const char *why;
    struct decoder *decoder = decoder_new();
    assert_int_equal(message_decode(decoder, frame + 4, length - 4, &message, &why), CODE_OK);
    world_hub_takes(world, &message);
    decoder_free(decoder);
}

/* ---- running ---- */

static MAYBE_UNUSED void world_sync(struct world *world)
{
    memory_journal_sync(world->journal, memory_journal_appended(world->journal));
    outbox_release(world->outbox, journal_durable(world->journal));
}

/* Runs until nothing new comes of it. */
static MAYBE_UNUSED void world_run(struct world *world)
{
    for (int i = 0; i < 4; i++) {
        world->now_ms += 20;
        wallet_run(world->core, world->now_ms, world->unix_s);
        if (!world->unsynced)
            world_sync(world);
        else
            outbox_release(world->outbox, journal_durable(world->journal));
        world_answer_conditions(world);
    }
}

static MAYBE_UNUSED void world_head(struct world *world, uint64_t seconds)
{
    world->head.number++;
    world->head.confirmed_number++;
    world->head.time += seconds;
    world->head.confirmed_time += seconds;
    world->unix_s += seconds;
    world->next_log = 0;
    wallet_head(world->core, &world->head);
    world_run(world);
}

static MAYBE_UNUSED void world_event(struct world *world, struct contract_event event)
{
    event.channel = hash_is_zero(&event.channel) ? world->id : event.channel;
    event.block = world->head.number;
    event.block_time = world->head.time;
    event.log_index = world->next_log++;
    event.confirmed = true;
    if (event.type == EVENT_CONDITION_MET) {
        assert_true(world->registered_count < ARRAY_LENGTH(world->registered));
        world->registered[world->registered_count].kind = event.kind;
        world->registered[world->registered_count].condition = event.condition;
        world->registered[world->registered_count++].time = event.block_time;
    }
    wallet_event(world->core, &event);
}

/* The ledger opens or funds the channel: both sides see it. */
static MAYBE_UNUSED void world_fund(struct world *world, uint64_t client, uint64_t hub)
{
    struct channel_funds funds = world->machine->funds;
    if (funds.stage == STAGE_NONE)
        world_event(world, (struct contract_event){
                               .type = EVENT_OPENED, .address = world->client, .other = world->key.asset});
    world_event(
        world, (struct contract_event){.type = EVENT_FUNDED, .client_amount = {client}, .hub_amount = {hub}});
    funds.stage = STAGE_OPEN;
    funds.total.units += client + hub;
    funds.base += (int64_t)client;
    (void)channel_set_funds(world->machine, &funds);
    world_head(world, 5);
}

static struct shown_stream world_shown(const struct stream *stream, struct shown_drop *drops)
{
    const struct dropped *dropped = stream_dropped(stream);
    for (size_t i = 0; i < dropped->drop_count; i++)
        drops[i] = (struct shown_drop){dropped->drops[i].nonce, dropped->drops[i].amount};
    return (struct shown_stream){
        .newest = {stream->proof.nonce > 0, stream->proof, stream->signature},
        .last_lock_id = stream->last_lock_id,
        .revocation = {dropped->revoked_nonce > 0, dropped->revoked_nonce, dropped->revocation},
        .drops = drops,
        .drop_count = dropped->drop_count};
}

static void world_show_locks(struct world *world, enum side side)
{
    struct shown_lock locks[LOCKS_PER_MESSAGE_MAX];
    size_t count = 0;
    const struct lock_set *set = world->machine->streams[side].locks;
    for (const struct pending_lock *lock = lock_set_next(set, 0); lock != NULL;
         lock = lock_set_next(set, lock->lock.id))
        locks[count++] = (struct shown_lock){lock->lock, lock->payment};
    if (count > 0)
        wallet_message(world->core,
                       &(struct message){.type = MESSAGE_LOCKS,
                                         .locks = {world->id, (uint8_t)side, locks, count, true}});
}

static MAYBE_UNUSED void world_show_channel(struct world *world)
{
    const struct channel *machine = world->machine;
    struct shown_drop drops[2][64];
    const struct settlement *settlement = channel_settlement(machine);
    struct message message = {
        .type = MESSAGE_CHANNEL,
        .channel = {.key = world->key,
                    .total = machine->funds.total,
                    .base = machine->funds.base,
                    .seq = machine->funds.seq,
                    .status = machine->funds.stage,
                    .settlement = {.present = settlement->phase != SETTLEMENT_NONE,
                                   .seq = settlement->seq,
                                   .client_out = settlement->client_out,
                                   .hub_out = settlement->hub_out,
                                   .deadline = settlement->deadline,
                                   .close = settlement->close,
                                   .has_signature = settlement->phase == SETTLEMENT_SIGNED,
                                   .signature = settlement->signature},
                    .streams = {world_shown(&machine->streams[0], drops[0]),
                                world_shown(&machine->streams[1], drops[1])}}};
    wallet_message(world->core, &message);
    world_show_locks(world, SIDE_CLIENT);
    world_show_locks(world, SIDE_HUB);
}

/* Connects: WELCOME, CHANNEL, RESUME. */
static MAYBE_UNUSED void world_linked(struct world *world)
{
    memset(world->counts, 0, sizeof(world->counts));
    world->resumed = false;
    bool shown = world->machine->funds.stage != STAGE_NONE;
    wallet_linked(world->core, &world->terms, shown);
    if (shown)
        world_show_channel(world);
    world_run(world);
}

static MAYBE_UNUSED void world_unlinked(struct world *world)
{
    wallet_unlinked(world->core);
    outbox_free(world->outbox);
    world->outbox = outbox_new(world_deliver, world);
    world_run(world);
}

/* The hub signs what is in its draft and sends it; the wallet does not run. */
static MAYBE_UNUSED void world_sign_draft(struct world *world)
{
    size_t count;
    const struct operation *operations = channel_draft(world->machine, &count);
    struct buffer body = {0};
    body_encode(&body, operations, count);
    const struct kept_update *kept =
        channel_seal(world->machine, &world->domain, &world->hub_key, body.data, body.length);
    buffer_free(&body);
    wallet_message(world->core, &(struct message){.type = MESSAGE_UPDATE,
                                                  .update = {world->id, kept->proof, kept->signature,
                                                             kept->body, kept->body_length}});
}

static MAYBE_UNUSED void world_send_draft(struct world *world)
{
    world_sign_draft(world);
    world_run(world);
}

static MAYBE_UNUSED void world_send(struct world *world, const struct operation *operation)
{
    struct channel_view view = world_view(world);
    assert_int_equal(channel_add(world->machine, &view, operation, NULL), CODE_OK);
    world_send_draft(world);
}

static MAYBE_UNUSED struct payment_id world_new_id(struct world *world)
{
    struct payment_id id = {{0}};
    store_be32(id.bytes, ++world->next_payment);
    return id;
}

/* ---- making one ---- */

static struct secret_key world_key(uint8_t seed)
{
    struct secret_key key;
    memset(key.bytes, seed, sizeof(key.bytes));
    return key;
}

static MAYBE_UNUSED struct address address_filled(uint8_t byte)
{
    struct address address;
    memset(address.bytes, byte, sizeof(address.bytes));
    return address;
}

static void world_make_core(struct world *world)
{
    world->core = wallet_new(&world->options, &world_effects, world);
    wallet_challenge_period(world->core, 3600);
}

static bool world_visit(void *context, const struct record *record)
{
    return wallet_read(((struct world *)context)->core, record);
}

static MAYBE_UNUSED struct world *world_new_with(size_t towers)
{
    struct world *world = xcalloc(1, sizeof(*world));
    world->client_key = world_key(1);
    world->hub_key = world_key(2);
    world->payee_key = world_key(3);
    world->tower_key = world_key(4);
    world->client = secret_key_address(&world->client_key);
    world->hub = secret_key_address(&world->hub_key);
    world->payee = secret_key_address(&world->payee_key);
    world->tower = secret_key_address(&world->tower_key);
    struct address contract = address_filled(0xcc);
    world->domain = domain_make(31337, &contract);
    world->key = (struct channel_key){world->client, address_filled(0xaa), 0};
    world->id = channel_id(&world->key);
    world->terms = (struct terms){.confirmations = 1,
                                  .reveal_margin_s = 60,
                                  .min_expiry_s = 600,
                                  .max_expiry_s = 86400,
                                  .settle_window_s = 3600,
                                  .asset_count = 1,
                                  .assets = {{.asset = world->key.asset,
                                              .base_fee = {1},
                                              .fee_ppm = 1000,
                                              .direct_limit = {10000},
                                              .reserve_bps = 100,
                                              .min_lock = {100},
                                              .max_lock = {1000000},
                                              .max_locks_per_payer = 100}}};
    world->options = (struct wallet_core_options){.key = world->client_key,
                                                  .domain = world->domain,
                                                  .hub = world->hub,
                                                  .challenge_period_s = 3600,
                                                  .tower_count = towers,
                                                  .history_max = 1000};
    snprintf(world->options.endpoint, sizeof(world->options.endpoint), "127.0.0.1:9735");
    if (towers > 0)
        world->options.towers[0] = world->tower;
    world->machine = channel_new(&world->key, SIDE_HUB, 100);
    world->decoder = decoder_new();
    world->journal = memory_journal_create();
    world->outbox = outbox_new(world_deliver, world);
    world->head = (struct ledger_head){10, WORLD_TIME, 10, WORLD_TIME};
    world->unix_s = WORLD_TIME;
    world->now_ms = 1000;
    world_make_core(world);
    assert_true(journal_recover(world->journal, world_visit, world));
    char message[200];
    assert_true(wallet_recovered(world->core, message, sizeof(message)));
    wallet_head(world->core, &world->head);
    world_run(world);
    return world;
}

/* Connected, with a channel of 100,000 units of each side. */
static MAYBE_UNUSED struct world *world_ready(size_t towers)
{
    struct world *world = world_new_with(towers);
    world_fund(world, 100000, 100000);
    world_linked(world);
    assert_true(wallet_is_ready(world->core));
    world->news_count = 0;
    return world;
}

static MAYBE_UNUSED void world_free(struct world *world)
{
    wallet_free(world->core);
    outbox_free(world->outbox);
    journal_close(world->journal);
    channel_free(world->machine);
    decoder_free(world->decoder);
    free(world);
}

/* The process dies; batches above `survives` are lost; a new one reads the journal. */
static MAYBE_UNUSED void world_crash(struct world *world, uint64_t survives)
{
    char message[200] = "";
    wallet_free(world->core);
    outbox_free(world->outbox);
    world->outbox = outbox_new(world_deliver, world);
    memory_journal_crash(world->journal, survives);
    world->transaction_count = world->ask_count = world->condition_ask_count = 0;
    world_make_core(world);
    assert_true(journal_recover(world->journal, world_visit, world));
    if (!wallet_recovered(world->core, message, sizeof(message)))
        fail_msg("%s", message);
    wallet_head(world->core, &world->head);
    world_run(world);
}

/* ---- what is looked at ---- */

static MAYBE_UNUSED const struct wallet_news *world_news(const struct world *world,
                                                         enum wallet_news_type type)
{
    for (size_t i = world->news_count; i > 0; i--)
        if (world->news[i - 1].type == type)
            return &world->news[i - 1];
    return NULL;
}

static MAYBE_UNUSED struct hash world_secret_hash(uint8_t seed, uint8_t secret[32])
{
    memset(secret, seed, 32);
    return condition_of_secret(secret);
}

static MAYBE_UNUSED enum code world_pay(struct world *world, uint64_t amount, uint8_t secret_seed,
                                        enum payment_mode mode, struct payment_id *id)
{
    uint8_t secret[32];
    struct payment_request request = {.id = world_new_id(world),
                                      .payee = world->payee,
                                      .asset = world->key.asset,
                                      .amount = {amount},
                                      .secret_hash = world_secret_hash(secret_seed, secret),
                                      .mode = mode,
                                      .memo = "tea"};
    enum code code = wallet_pay(world->core, &request);
    if (id != NULL)
        *id = request.id;
    world_run(world);
    return code;
}

static MAYBE_UNUSED void world_reveal(struct world *world, const struct payment_id *id, uint8_t secret_seed)
{
    struct revealed item = {.id = *id, .witness = {.length = 32}};
    memset(item.witness.bytes, secret_seed, 32);
    wallet_message(world->core, &(struct message){.type = MESSAGE_REVEAL, .reveal = {world->id, &item, 1}});
    world_run(world);
}

static MAYBE_UNUSED struct wallet_channel_view world_channel(const struct world *world)
{
    struct wallet_channel_view view;
    assert_true(wallet_channel_find(world->core, &world->id, &view));
    return view;
}

static MAYBE_UNUSED uint8_t world_state(const struct world *world, const struct payment_id *id)
{
    struct payment_view view;
    assert_true(wallet_payment_find(world->core, id, &view));
    return view.state;
}

#endif
