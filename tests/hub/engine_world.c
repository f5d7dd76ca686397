#include "engine_world.h"

#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"

#include "waiting.h"

#define WORLD_START     1800000000u
#define REVEAL_MARGIN_S 60

/* ---- effects ---- */

static uint64_t effect_journal(void *context, const uint8_t *batch, size_t length)
{
    struct world *world = context;
    return journal_append(world->journal, batch, length);
}

static bool effect_find(void *context, uint8_t type, const void *rest, size_t rest_length,
                        journal_visit *visit, void *visit_context)
{
    struct world *world = context;
    world->finds++;
    return journal_find(world->journal, type, rest, rest_length, visit, visit_context);
}

static void effect_have(void *context, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                        bool *out)
{
    struct world *world = context;
    journal_have(world->journal, type, rests, rest_length, count, out);
}

static void take_appointment(struct world *world, size_t tower, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    ensure(message_decode(world->decoder, frame + 4, length - 4, &message, &why) == CODE_OK);
    ensure(message.type == MESSAGE_APPOINT && world->appointment_count < 64);
    struct world_appointment *appointment = &world->appointments[world->appointment_count++];
    appointment->channel = channel_id(&message.appoint.key);
    appointment->nonce = message.appoint.proof.proof.nonce;
    appointment->has_choice = message.appoint.has_choice;
    appointment->tower = tower;
    appointment->digest = HASH_ZERO;
    if (message.appoint.proof.present)
        appointment->digest =
            digest_balance_proof(&world->domain, &appointment->channel, &message.appoint.proof.proof);
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct world *world = context;
    ensure(sequence <= memory_journal_appended(world->journal));
    if (peer <= ENGINE_PEER_TOWER_LAST) {
        take_appointment(world, peer - ENGINE_PEER_TOWER, frame, length);
        return;
    }
    waiting_put(&world->waiting, sequence, peer, frame, length);
}

static void effect_pass(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct world *world = context;
    waiting_pass(&world->waiting, peer, frame, length);
}

static void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                        const uint8_t *data, size_t length)
{
    struct world *world = context;
    (void)sequence;
    buffer_clear(&world->call);
    buffer_append(&world->call, data, length);
    ensure(world->calls < WORLD_CALLS_MAX);
    world->log[world->calls].call = call;
    world->log[world->calls].reference = reference;
    buffer_append(&world->log[world->calls].data, data, length);
    world->last_call = call;
    world->calls++;
}

static void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    struct world *world = context;
    (void)code;
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++)
        if (world->clients[i].peer == peer)
            world->clients[i].disconnects++;
}

static struct secret_key key_of(uint8_t seed)
{
    struct secret_key key = {{0}};
    key.bytes[31] = seed;
    key.bytes[0] = 1;
    return key;
}

struct secret_key world_key(uint8_t seed)
{
    return key_of(seed);
}

static struct engine_settings settings_of(const struct world *world)
{
    return (struct engine_settings){
        .key = world->hub_key,
        .domain = world->domain,
        .terms = {.confirmations = 1,
                  .reveal_margin_s = REVEAL_MARGIN_S,
                  .min_expiry_s = 600,
                  .max_expiry_s = 86400,
                  .settle_window_s = 3600},
        .asset_terms = {.base_fee = {2},
                        .fee_ppm = 1000,
                        .direct_limit = {100000},
                        .reserve_bps = 100,
                        .min_lock = {100},
                        .max_lock = {1000000},
                        .max_locks_per_payer = 8},
        .waiting_max = 4,
        .inbound_max = {5000},
        .tower_silence_s = 600,
        .settle_collect_ms = 1000,
        .idle_bps = 10000,
    };
}

static void start_engine(struct world *world)
{
    const struct engine_effects effects = {.journal = effect_journal,
                                           .find = effect_find,
                                           .have = effect_have,
                                           .send = effect_send,
                                           .pass = effect_pass,
                                           .call = effect_call,
                                           .disconnect = effect_disconnect,
                                           .context = world};
    struct engine_settings settings = settings_of(world);
    if (world->change != NULL)
        world->change(&settings);
    world->engine = engine_new(&settings, &effects);
}

void world_open(struct world *world)
{
    world_open_with(world, NULL);
}

void world_open_with(struct world *world, void (*change)(struct engine_settings *settings))
{
    memset(world, 0, sizeof(*world));
    world->change = change;
    struct address contract = {.bytes = {7}};
    world->hub_key = key_of(99);
    world->hub = secret_key_address(&world->hub_key);
    world->domain = domain_make(31337, &contract);
    world->now = WORLD_START;
    world->next_peer = ENGINE_PEER_TOWER_LAST + 1;
    world->decoder = decoder_new();
    world->bodies = decoder_new();
    world->journal = memory_journal_create();
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++) {
        world->clients[i].key = key_of((uint8_t)(i + 1));
        world->clients[i].address = secret_key_address(&world->clients[i].key);
    }
    start_engine(world);
    ensure(journal_recover(world->journal, NULL, NULL));
    char message[256];
    ensure(engine_recovered(world->engine, message, sizeof(message)));
    struct contract_event listed = {.type = EVENT_ASSET_LISTED, .confirmed = true};
    engine_event(world->engine, &listed);
    struct contract_event pool = {.type = EVENT_POOL_DEPOSITED, .confirmed = true, .amount = {100000}};
    engine_event(world->engine, &pool);
    world_head(world, 1);
}

void world_close(struct world *world)
{
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++) {
        channel_free(world->clients[i].channel);
        for (size_t f = 0; f < WORLD_INBOX_MAX; f++)
            buffer_free(&world->clients[i].inbox[f]);
    }
    engine_free(world->engine);
    journal_close(world->journal);
    decoder_free(world->decoder);
    decoder_free(world->bodies);
    buffer_free(&world->waiting);
    buffer_free(&world->call);
    for (size_t i = 0; i < world->calls; i++)
        buffer_free(&world->log[i].data);
}

/* ---- the clients' side ---- */

static uint64_t registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct world *world = context;
    (void)kind;
    return hash_equal(condition, &world->registered_condition) ? world->registered_time : 0;
}

struct channel_view world_view(const struct world *world)
{
    return (struct channel_view){.domain = &world->domain,
                                 .now = world->now,
                                 .reveal_margin_s = REVEAL_MARGIN_S,
                                 .peer = world->hub,
                                 .registered_at = registered_at,
                                 .context = (void *)(uintptr_t)world};
}

void world_message(struct world *world, unsigned client, const struct message *message)
{
    struct buffer frame = {0};
    struct message decoded;
    const char *why;
    message_encode(&frame, message);
    ensure(message_decode(world->decoder, frame.data + 4, frame.length - 4, &decoded, &why) == CODE_OK);
    if (world->clients[client].peer != 0)
        engine_message(world->engine, world->clients[client].peer, &decoded);
    buffer_free(&frame);
}

static void send_kept(struct world *world, unsigned client, uint64_t nonce)
{
    struct world_client *at = &world->clients[client];
    const struct kept_update *kept = channel_kept(at->channel, nonce);
    ensure(kept != NULL);
    struct message message = {.type = MESSAGE_UPDATE};
    message.update =
        (struct update){at->channel->id, kept->proof, kept->signature, kept->body, kept->body_length};
    world_message(world, client, &message);
}

void world_send(struct world *world, unsigned client, const struct operation *operations, size_t count)
{
    struct world_client *at = &world->clients[client];
    struct channel_view view = world_view(world);
    struct buffer body = {0};
    for (size_t i = 0; i < count; i++)
        ensure(channel_add(at->channel, &view, &operations[i], NULL) == CODE_OK);
    const struct operation *draft = channel_draft(at->channel, &count);
    body_encode(&body, draft, count);
    const struct kept_update *kept =
        channel_seal(at->channel, &world->domain, &at->key, body.data, body.length);
    buffer_free(&body);
    send_kept(world, client, kept->proof.nonce);
}

struct witness world_secret(uint8_t id)
{
    struct witness witness = {.length = 32};
    memset(witness.bytes, id, 32);
    return witness;
}

struct payment_id world_id(uint8_t id)
{
    struct payment_id out;
    memset(out.bytes, id, sizeof(out.bytes));
    return out;
}

void world_pay(struct world *world, unsigned from, unsigned to, uint64_t amount, uint8_t id, bool locked)
{
    struct witness secret = world_secret(id);
    struct amount fee;
    ensure(amount_fee(amount_of(amount), amount_of(2), 1000, &fee));
    struct operation operation = {.type = locked ? OPERATION_LOCK : OPERATION_PAY,
                                  .id = world_id(id),
                                  .peer = world->clients[to].address,
                                  .amount = {amount},
                                  .fee = fee,
                                  .expiry = world->now + 3600,
                                  .condition = condition_of_secret(secret.bytes),
                                  .memo = {"tea", 3}};
    world_send(world, from, &operation, 1);
}

void world_reveal(struct world *world, unsigned client, uint8_t id, const struct payment_id *payment)
{
    struct revealed item = {*payment, world_secret(id)};
    struct message message = {.type = MESSAGE_REVEAL};
    message.reveal.channel = world->clients[client].channel->id;
    message.reveal.items = &item;
    message.reveal.count = 1;
    world_message(world, client, &message);
}

static void take_update(struct world *world, struct world_client *at, unsigned client,
                        const struct update *update)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    const struct operation *operations;
    size_t count;
    ensure(body_decode(world->bodies, update->body, update->body_length, &operations, &count));
    struct channel_view view = world_view(world);
    struct judgement judgement =
        channel_receive(at->channel, &view, update, operations, count, true, touched);
    ensure(judgement.verdict == VERDICT_ACCEPTED || judgement.verdict == VERDICT_AGAIN);
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.channel = at->channel->id;
    ack.ack.nonce = update->proof.nonce;
    if (!at->mute)
        world_message(world, client, &ack);
    if (judgement.verdict == VERDICT_AGAIN)
        return;
    for (size_t i = 0; i < count; i++) {
        if (operations[i].type == OPERATION_REFUND && at->refunded_count < WORLD_BOOK_MAX) {
            at->refunded[at->refunded_count] = operations[i].id;
            at->refund_code[at->refunded_count++] = operations[i].code;
        } else if ((operations[i].type == OPERATION_PAY || operations[i].type == OPERATION_LOCK) &&
                   at->received_count < WORLD_BOOK_MAX) {
            at->received[at->received_count] = operations[i].id;
            at->received_operation[at->received_count++] = operations[i];
        }
    }
    uint64_t due = channel_revocation_due(at->channel);
    if (due == 0)
        return;
    struct message revoke = {.type = MESSAGE_REVOKE};
    revoke.revoke.channel = at->channel->id;
    revoke.revoke.min_nonce = due;
    revoke.revoke.signature = channel_revoke(at->channel, &world->domain, &at->key, due);
    world_message(world, client, &revoke);
}

void world_refuse(struct world *world, unsigned client)
{
    const struct world_client *at = &world->clients[client];
    struct message error = {.type = MESSAGE_ERROR};
    error.error.code = CODE_SETTLE;
    error.error.text = (struct text){"no", 2};
    error.error.reference = (struct error_reference){.present = true,
                                                     .type = MESSAGE_SETTLE_PROPOSE,
                                                     .has_channel = true,
                                                     .channel = at->channel->id,
                                                     .has_nonce = true,
                                                     .nonce = at->proposal.seq};
    world_message(world, client, &error);
}

static void take_proposal(struct world *world, struct world_client *at, unsigned client,
                          const struct settlement *proposal)
{
    at->proposals++;
    at->proposal = *proposal;
    if (at->refuse_settlement) {
        world_refuse(world, client);
        return;
    }
    if (!at->mute_settlement)
        world_sign(world, client);
}

void world_sign(struct world *world, unsigned client)
{
    struct world_client *at = &world->clients[client];
    const struct settlement *current = channel_settlement(at->channel);
    struct signature signature = current->signature;
    struct channel_view view = world_view(world);
    if (current->phase != SETTLEMENT_SIGNED || current->seq != at->proposal.seq)
        ensure(channel_settle_sign(at->channel, &view, &at->proposal, at->proposal.client_out,
                                   at->proposal.close, 3600, &at->key, &signature) == CODE_OK);
    struct message sign = {.type = MESSAGE_SETTLE_SIGN};
    sign.settle_sign.channel = at->channel->id;
    sign.settle_sign.seq = at->proposal.seq;
    sign.settle_sign.signature = signature;
    world_message(world, client, &sign);
}

static void take_channel(struct world *world, struct world_client *at, unsigned client,
                         const struct message *message)
{
    at->channel_count++;
    if (at->channel == NULL)
        at->channel = channel_new(&message->channel.key, SIDE_CLIENT, 100);
    struct channel_funds funds = {message->channel.total, message->channel.base, message->channel.seq,
                                  message->channel.status};
    channel_set_told(at->channel, &funds);
    channel_set_funds(at->channel, &funds);
    const struct shown_settlement *shown_settlement = &message->channel.settlement;
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = at->channel->id;
    resume.resume.received = channel_peer(at->channel)->proof.nonce;
    resume.resume.own = channel_own(at->channel)->proof.nonce;
    world_message(world, client, &resume);
    uint64_t shown = message->channel.streams[SIDE_CLIENT].newest.present
                         ? message->channel.streams[SIDE_CLIENT].newest.proof.nonce
                         : 0;
    ensure(channel_acknowledged(at->channel, shown) == CODE_OK);
    for (uint64_t nonce = shown + 1; nonce <= channel_own(at->channel)->proof.nonce; nonce++)
        send_kept(world, client, nonce);
    if (shown_settlement->present && !shown_settlement->has_signature)
        take_proposal(world, at, client,
                      &(struct settlement){.seq = shown_settlement->seq,
                                           .client_out = shown_settlement->client_out,
                                           .hub_out = shown_settlement->hub_out,
                                           .deadline = shown_settlement->deadline,
                                           .close = shown_settlement->close});
}

static void take_funds(struct world_client *at, const struct message *message)
{
    struct channel_funds funds = {message->funded.total, message->funded.base, message->funded.seq,
                                  STAGE_OPEN};
    at->funded_count++;
    channel_set_told(at->channel, &funds);
    channel_set_funds(at->channel, &funds);
}

static void take(struct world *world, unsigned client, const struct message *message)
{
    struct world_client *at = &world->clients[client];
    struct channel_view view = world_view(world);
    if (message->type == MESSAGE_UPDATE) {
        take_update(world, at, client, &message->update);
    } else if (message->type == MESSAGE_CHANNEL) {
        take_channel(world, at, client, message);
    } else if (message->type == MESSAGE_FUNDED) {
        take_funds(at, message);
    } else if (message->type == MESSAGE_ACK) {
        ensure(channel_acknowledged(at->channel, message->ack.nonce) == CODE_OK);
    } else if (message->type == MESSAGE_REVEAL) {
        at->revealed[at->revealed_count] = message->reveal.items[0].id;
        at->witness[at->revealed_count++] = message->reveal.items[0].witness;
    } else if (message->type == MESSAGE_FAIL) {
        at->failed[at->failed_count] = message->fail.items[0].id;
        at->fail_code[at->failed_count++] = message->fail.items[0].code;
        ensure(channel_fail_received(at->channel, &message->fail.items[0].id) != NULL);
    } else if (message->type == MESSAGE_REVOKE) {
        ensure(channel_revocation_received(at->channel, &view, message->revoke.min_nonce,
                                           &message->revoke.signature, NULL) == CODE_OK);
    } else if (message->type == MESSAGE_SETTLE_PROPOSE) {
        take_proposal(world, at, client,
                      &(struct settlement){.seq = message->settle_propose.seq,
                                           .client_out = message->settle_propose.client_out,
                                           .hub_out = message->settle_propose.hub_out,
                                           .deadline = message->settle_propose.deadline,
                                           .close = message->settle_propose.close});
    } else if (message->type == MESSAGE_SETTLED) {
        at->settled_count++;
        at->settled_outcome = message->settled.outcome;
    } else if (message->type == MESSAGE_ERROR) {
        at->errors++;
        at->error_code = message->error.code;
    }
}

/* ---- the turn of things ---- */

static void deliver(struct world *world)
{
    struct buffer waiting = world->waiting;
    world->waiting = (struct buffer){0};
    struct decoder *decoder = decoder_new();
    for (size_t at = 0; at < waiting.length;) {
        struct waiting_head head;
        memcpy(&head, waiting.data + at, sizeof(head));
        at += sizeof(head);
        ensure(head.sequence <= journal_durable(world->journal));
        for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++) {
            struct message message;
            const char *why;
            if (world->clients[i].peer != head.peer)
                continue;
            ensure(message_decode(decoder, waiting.data + at + 4, head.length - 4, &message, &why) ==
                   CODE_OK);
            take(world, i, &message);
        }
        at += head.length;
    }
    decoder_free(decoder);
    buffer_free(&waiting);
}

void world_settle_down(struct world *world)
{
    for (unsigned turn = 0; turn < 64; turn++) {
        uint64_t sequence = engine_flush(world->engine);
        memory_journal_sync(world->journal, sequence);
        engine_durable(world->engine, sequence);
        if (world->waiting.length == 0)
            break;
        deliver(world);
    }
    ensure(world->waiting.length == 0);
    engine_check(world->engine);
}

size_t world_waiting(const struct world *world, unsigned client, enum message_type type)
{
    struct decoder *decoder = decoder_new();
    size_t count = 0;
    for (size_t at = 0; at < world->waiting.length;) {
        struct waiting_head head;
        struct message message;
        const char *why;
        memcpy(&head, world->waiting.data + at, sizeof(head));
        at += sizeof(head);
        ensure(message_decode(decoder, world->waiting.data + at + 4, head.length - 4, &message, &why) ==
               CODE_OK);
        count += head.peer == world->clients[client].peer && message.type == type;
        at += head.length;
    }
    decoder_free(decoder);
    return count;
}

void world_receipt(struct world *world, const struct world_appointment *appointment)
{
    struct message message = {.type = MESSAGE_RECEIPT};
    message.receipt.channel = appointment->channel;
    message.receipt.nonce = appointment->nonce;
    message.receipt.proof_digest = appointment->digest;
    struct hash digest =
        digest_receipt(&world->domain, &appointment->channel, appointment->nonce, &appointment->digest);
    struct secret_key tower = key_of((uint8_t)(WORLD_TOWER + appointment->tower));
    message.receipt.signature = key_sign(&tower, &digest);
    engine_message(world->engine, ENGINE_PEER_TOWER + appointment->tower, &message);
}

static bool visit(void *context, const struct record *record)
{
    return engine_read(context, record);
}

/* No node has answered yet. */
static void restart(struct world *world)
{
    char message[256];
    engine_free(world->engine);
    memory_journal_crash(world->journal, journal_durable(world->journal));
    buffer_clear(&world->waiting);
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++)
        world->clients[i].peer = 0;
    start_engine(world);
    ensure(journal_recover(world->journal, visit, world->engine));
    ensure(engine_recovered(world->engine, message, sizeof(message)));
}

void world_crash(struct world *world)
{
    restart(world);
    world_head(world, 1);
}

void world_head(struct world *world, uint64_t seconds)
{
    world->now += seconds;
    world->block++;
    struct ledger_head head = {world->block, world->now, world->block, world->now};
    engine_head(world->engine, &head);
}

void world_fund(struct world *world, unsigned client, uint64_t deposit, uint64_t by_hub)
{
    struct channel_key key = {.client = world->clients[client].address};
    struct contract_event event = {.type = EVENT_OPENED,
                                   .confirmed = true,
                                   .channel = channel_id(&key),
                                   .address = key.client,
                                   .block = world->block + 1};
    engine_event(world->engine, &event);
    event.type = EVENT_FUNDED;
    event.client_amount = amount_of(deposit);
    event.hub_amount = amount_of(0);
    if (deposit > 0)
        engine_event(world->engine, &event);
    event.client_amount = amount_of(0);
    event.hub_amount = amount_of(by_hub);
    if (by_hub > 0) {
        engine_event(world->engine, &event);
        struct contract_event batch = {
            .type = EVENT_BATCH_SETTLED, .confirmed = true, .batch = ++world->batches};
        engine_event(world->engine, &batch);
    }
    world_head(world, 1);
    world_settle_down(world);
}

static struct contract_event event_of(const struct world *world, unsigned client, uint64_t salt,
                                      enum contract_event_type type)
{
    struct channel_key key = {.client = world->clients[client].address, .salt = salt};
    return (struct contract_event){.type = type,
                                   .confirmed = true,
                                   .channel = channel_id(&key),
                                   .address = key.client,
                                   .salt = salt,
                                   .block = world->block + 1};
}

void world_fund_another(struct world *world, unsigned client, uint64_t salt, uint64_t deposit,
                        uint64_t by_hub)
{
    struct contract_event event = event_of(world, client, salt, EVENT_FUNDED);
    event.client_amount = amount_of(deposit);
    event.hub_amount = amount_of(by_hub);
    engine_event(world->engine, &event);
}

void world_open_another(struct world *world, unsigned client, uint64_t salt, uint64_t deposit,
                        uint64_t by_hub)
{
    struct contract_event event = event_of(world, client, salt, EVENT_OPENED);
    engine_event(world->engine, &event);
    world_fund_another(world, client, salt, deposit, by_hub);
}

void world_connect(struct world *world, unsigned client)
{
    world->clients[client].peer = world->next_peer++;
    engine_connected(world->engine, world->clients[client].peer, &world->clients[client].address);
    world_settle_down(world);
}

void world_disconnect(struct world *world, unsigned client)
{
    engine_disconnected(world->engine, world->clients[client].peer);
    world->clients[client].peer = 0;
    world_settle_down(world);
}
