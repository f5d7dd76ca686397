#include "tests/fuzz/engine_world.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"

#define START 1800000000u

struct waiting_head {
    uint64_t sequence, peer, length;
};

/* ---- secrets ---- */

static const struct hash *conditions(void)
{
    static struct hash all[SECRETS];
    for (uint64_t i = 0; i < SECRETS && hash_is_zero(&all[SECRETS - 1]); i++) {
        struct witness secret = secret_of(i);
        all[i] = condition_of_secret(secret.bytes);
    }
    return all;
}

struct hash condition_of(uint64_t number)
{
    return conditions()[number % SECRETS];
}

bool secret_number(const struct hash *condition, uint64_t *number)
{
    const struct hash *all = conditions();
    for (uint64_t i = 0; i < SECRETS; i++) {
        *number = i;
        if (hash_equal(&all[i], condition))
            return true;
    }
    return false;
}

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
    return journal_find(world->journal, type, rest, rest_length, visit, visit_context);
}

static void effect_have(void *context, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                        bool *out)
{
    struct world *world = context;
    journal_have(world->journal, type, rests, rest_length, count, out);
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct world *world = context;
    struct waiting_head head = {sequence, peer, length};
    ensure(sequence <= memory_journal_appended(world->journal));
    buffer_append(&world->waiting, &head, sizeof(head));
    buffer_append(&world->waiting, frame, length);
}

static void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                        const uint8_t *data, size_t length)
{
    struct world *world = context;
    ensure(sequence <= memory_journal_appended(world->journal) && world->call_count < CALLS_MAX);
    struct call_at *at = &world->calls[world->call_count++];
    *at = (struct call_at){.sequence = sequence, .reference = reference, .call = call, .is_ours = true};
    buffer_append(&at->data, data, length);
}

static void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    struct world *world = context;
    (void)code;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client_at *client = &world->clients[i];
        if (client->peer != peer)
            continue;
        ensure(client->hostile || code == CODE_REPLACED);
        client->peer = 0;
        client->resumed = false;
    }
}

/* ---- the ledger's events ---- */

static struct contract_event event_of(const struct world *world, enum contract_event_type type)
{
    return (struct contract_event){
        .type = type, .confirmed = true, .block = world->block, .block_time = world->now};
}

/* Kept, for an engine that has lost it. */
static void give(struct world *world, const struct contract_event *event)
{
    ensure(world->event_count < EVENTS_MAX);
    world->events[world->event_count++] = *event;
    engine_event(world->engine, event);
}

static void give_head(struct world *world)
{
    struct ledger_head head = {world->block, world->now, world->block, world->now};
    engine_time(world->engine, world->now_ms);
    engine_head(world->engine, &head);
}

/* ---- life ---- */

static void add_money(struct world *world, unsigned client, uint64_t deposit, uint64_t by_hub);

static void start_engine(struct world *world)
{
    const struct engine_effects effects = {.journal = effect_journal,
                                           .find = effect_find,
                                           .have = effect_have,
                                           .send = effect_send,
                                           .call = effect_call,
                                           .disconnect = effect_disconnect,
                                           .context = world};
    struct engine_settings settings = {
        .key = world->hub_key,
        .domain = world->domain,
        .terms = {.confirmations = 1,
                  .reveal_margin_s = MARGIN_S,
                  .min_expiry_s = 300,
                  .max_expiry_s = 86400,
                  .settle_window_s = 3600},
        .asset_terms = {.base_fee = {2},
                        .fee_ppm = 1000,
                        .direct_limit = {100000},
                        .reserve_bps = 100,
                        .min_lock = {10},
                        .max_lock = {1000000},
                        .max_locks_per_payer = 4},
        .waiting_max = 4,
        .unrevealed_max = 6,
        .inbound_max = {5000},
        .towers = {{.is_set = true}},
        .tower_silence_s = 600,
        .settle_collect_ms = 500,
        .idle_bps = 10000,
    };
    if (world->has_tower) {
        settings.tower_count = 1;
        settings.towers[0].address = secret_key_address(&(struct secret_key){{1, [31] = TOWER_KEY}});
    }
    world->engine = engine_new(&settings, &effects);
}

static bool visit(void *context, const struct record *record)
{
    return engine_read(context, record);
}

static void recover(struct world *world)
{
    char message[256];
    start_engine(world);
    ensure(journal_recover(world->journal, visit, world->engine));
    ensure(engine_recovered(world->engine, message, sizeof(message)));
    uint64_t from = engine_cursor(world->engine);
    for (size_t i = 0; i < world->event_count; i++)
        if (world->events[i].block >= from)
            engine_event(world->engine, &world->events[i]);
    if (world->event_count > 0)
        give_head(world);
}

void world_open(struct world *world, struct input *input)
{
    memset(world, 0, offsetof(struct world, events));
    world->input = input;
    world->hub_key = (struct secret_key){{1, [31] = 99}};
    world->hub = secret_key_address(&world->hub_key);
    world->domain = domain_make(31337, &(struct address){{7}});
    world->now = START;
    world->next_peer = ENGINE_PEER_TOWER_LAST + 1;
    world->decoder = decoder_new();
    world->answers = decoder_new();
    world->bodies = decoder_new();
    world->journal = memory_journal_create();
    world->has_tower = take_u8(world) % 4 == 1;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client_at *client = &world->clients[i];
        client->key = (struct secret_key){{1, [31] = (uint8_t)(i + 1)}};
        client->address = secret_key_address(&client->key);
        client->id = channel_id(&(struct channel_key){.client = client->address});
    }
    recover(world);
    world->block = 1;
    struct contract_event listed = event_of(world, EVENT_ASSET_LISTED),
                          pool = event_of(world, EVENT_POOL_DEPOSITED);
    pool.amount = amount_of(POOL);
    give(world, &listed);
    give(world, &pool);
    world->pool = POOL;
    if (world->has_tower)
        engine_tower(world->engine, 0, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        add_money(world, i, DEPOSIT, ROOM);
    give_head(world);
    for (unsigned i = 0; i < CLIENTS; i++)
        world_connect(world, &world->clients[i]);
}

void world_close(struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        channel_free(world->clients[i].machine);
        for (unsigned j = 0; j < SENT_MAX; j++)
            buffer_free(&world->clients[i].sent[j]);
    }
    for (size_t i = 0; i < world->call_count; i++)
        buffer_free(&world->calls[i].data);
    engine_free(world->engine);
    journal_close(world->journal);
    decoder_free(world->decoder);
    decoder_free(world->answers);
    decoder_free(world->bodies);
    buffer_free(&world->waiting);
}

static void drop_call(struct world *world, size_t at)
{
    buffer_free(&world->calls[at].data);
    memmove(&world->calls[at], &world->calls[at + 1], (--world->call_count - at) * sizeof(world->calls[0]));
}

void world_crash(struct world *world, uint64_t more)
{
    uint64_t durable = journal_durable(world->journal), appended = memory_journal_appended(world->journal);
    uint64_t survives = durable + more % (appended - durable + 1);
    engine_free(world->engine);
    memory_journal_crash(world->journal, survives);
    buffer_clear(&world->waiting);
    for (unsigned i = 0; i < CLIENTS; i++) {
        world->clients[i].peer = 0;
        world->clients[i].resumed = false;
    }
    /* What was durable has been sent, and will be mined; nobody of ours hears of it. */
    for (size_t i = world->call_count; i-- > 0;) {
        world->calls[i].is_ours = false;
        if (world->calls[i].sequence > durable)
            drop_call(world, i);
    }
    recover(world);
    if (world->has_tower)
        engine_tower(world->engine, 0, true);
}

void world_connect(struct world *world, struct client_at *client)
{
    client->peer = world->next_peer++;
    client->resumed = false;
    engine_connected(world->engine, client->peer, &client->address);
}

void world_disconnect(struct world *world, struct client_at *client)
{
    if (client->peer != 0)
        engine_disconnected(world->engine, client->peer);
    client->peer = 0;
    client->resumed = false;
}

/* ---- what a client says ---- */

void world_send(struct world *world, struct client_at *client, const struct message *message)
{
    struct message decoded;
    const char *why;
    struct buffer *kept = &client->sent[client->sent_count++ % SENT_MAX], frame = {0};
    message_encode(&frame, message);
    buffer_clear(kept);
    buffer_append(kept, frame.data, frame.length);
    if (client->peer != 0 && frame.length <= FRAME_BYTES_MAX &&
        message_decode(world->answers, frame.data + 4, frame.length - 4, &decoded, &why) == CODE_OK)
        engine_message(world->engine, client->peer, &decoded);
    buffer_free(&frame);
}

void world_send_kept(struct world *world, struct client_at *client, uint64_t nonce)
{
    const struct kept_update *kept = channel_kept(client->machine, nonce);
    struct message message = {.type = MESSAGE_UPDATE};
    if (kept == NULL)
        return;
    message.update = (struct update){client->id, kept->proof, kept->signature, kept->body, kept->body_length};
    world_send(world, client, &message);
}

static void client_sees(struct world *world, unsigned index)
{
    struct client_at *client = &world->clients[index];
    struct channel_funds funds = {amount_of(world->ledger[index].total), world->ledger[index].base,
                                  world->ledger[index].seq, STAGE_OPEN};
    if (client->machine == NULL)
        return;
    (void)channel_set_funds(client->machine, &funds);
    (void)channel_settle_expire(client->machine, world->now);
}

static void say_revoke(struct world *world, struct client_at *client)
{
    uint64_t due = channel_revocation_due(client->machine);
    if (due != 0)
        (void)channel_revoke(client->machine, &world->domain, &client->key, due);
    const struct dropped *dropped = stream_dropped(channel_peer(client->machine));
    struct message message = {.type = MESSAGE_REVOKE};
    if (dropped->revoked_nonce == 0)
        return;
    message.revoke.channel = client->id;
    message.revoke.min_nonce = dropped->revoked_nonce;
    message.revoke.signature = dropped->revocation;
    world_send(world, client, &message);
}

static void resume(struct world *world, struct client_at *client, uint64_t shown)
{
    struct message message = {.type = MESSAGE_RESUME};
    struct channel *hub = hub_side(world, client);
    message.resume.channel = client->id;
    message.resume.received = client->seen_nonce;
    message.resume.own = client->rogue && hub != NULL ? hub->streams[SIDE_CLIENT].proof.nonce
                                                      : channel_own(client->machine)->proof.nonce;
    client->resumed = true;
    world_send(world, client, &message);
    for (uint64_t nonce = shown + 1; !client->rogue && nonce <= message.resume.own; nonce++)
        world_send_kept(world, client, nonce);
    if (!client->rogue)
        say_revoke(world, client);
}

static void take_channel(struct world *world, unsigned index, const struct message *message)
{
    struct client_at *client = &world->clients[index];
    if (message->channel.key.salt != 0 || !address_is_zero(&message->channel.key.asset))
        return; /* one that a hostile wish had opened */
    struct channel_funds told = {message->channel.total, message->channel.base, message->channel.seq,
                                 message->channel.status};
    const struct shown_stream *streams = message->channel.streams;
    uint64_t mine = streams[SIDE_CLIENT].newest.present ? streams[SIDE_CLIENT].newest.proof.nonce : 0;
    uint64_t hubs = streams[SIDE_HUB].newest.present ? streams[SIDE_HUB].newest.proof.nonce : 0;
    if (client->machine == NULL)
        client->machine = channel_new(&message->channel.key, SIDE_CLIENT, 100);
    channel_set_told(client->machine, &told);
    client_sees(world, index);
    /* What was released is never forgotten. */
    ensure(hubs >= client->seen_nonce);
    if (!client->rogue) {
        ensure(mine >= client->machine->acknowledged);
        ensure(channel_acknowledged(client->machine, mine) == CODE_OK);
        struct settlement *settlement = client->machine->settlement;
        if (settlement != NULL)
            settlement->said_dead =
                !message->channel.settlement.present && settlement->phase == SETTLEMENT_SIGNED;
    }
    resume(world, client, mine);
}

/* ---- what comes ---- */

static void note_received(struct client_at *client, const struct operation *operation)
{
    if ((operation->type != OPERATION_PAY && operation->type != OPERATION_LOCK) ||
        operation->kind != LOCK_SECRET)
        return;
    client->received[client->received_count++ % RECEIVED_MAX] = (struct received){
        operation->id, operation->condition, operation->amount.units, operation->type == OPERATION_LOCK};
}

static void take_update(struct world *world, struct client_at *client, const struct update *update)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    const struct operation *operations;
    size_t count;
    struct hash digest = digest_balance_proof(&world->domain, &update->channel, &update->proof);
    ensure(signature_is_by(&update->signature, &digest, &world->hub));
    ensure(body_decode(world->bodies, update->body, update->body_length, &operations, &count));
    if (!hash_equal(&update->channel, &client->id))
        return;
    bool is_new = update->proof.nonce > client->seen_nonce;
    ensure(update->proof.nonce <= client->seen_nonce + 1);
    if (!client->rogue) {
        struct channel_view view = client_view(world);
        struct judgement judgement =
            channel_receive(client->machine, &view, update, operations, count, true, touched);
        ensure(judgement.verdict != VERDICT_REFUSED);
        if (judgement.verdict == VERDICT_HELD)
            return world_disconnect(world, client); /* it comes again when the client does */
    }
    client->seen_nonce = is_new ? update->proof.nonce : client->seen_nonce;
    for (size_t i = 0; is_new && i < count; i++)
        note_received(client, &operations[i]);
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.channel = client->id;
    ack.ack.nonce = update->proof.nonce;
    if (!client->mute)
        world_send(world, client, &ack);
    if (!client->mute && !client->rogue && channel_revocation_due(client->machine) != 0)
        say_revoke(world, client);
}

static void take_proposal(struct client_at *client, const struct message *message)
{
    client->has_proposal = true;
    client->proposal = (struct settlement){.seq = message->settle_propose.seq,
                                           .client_out = message->settle_propose.client_out,
                                           .hub_out = message->settle_propose.hub_out,
                                           .deadline = message->settle_propose.deadline,
                                           .close = message->settle_propose.close};
}

static void take_honestly(struct world *world, struct client_at *client, const struct message *message)
{
    struct channel_view view = client_view(world);
    if (message->type == MESSAGE_ACK)
        ensure(channel_acknowledged(client->machine, message->ack.nonce) == CODE_OK);
    else if (message->type == MESSAGE_FAIL)
        for (size_t i = 0; i < message->fail.count; i++)
            (void)channel_fail_received(client->machine, &message->fail.items[i].id);
    else if (message->type == MESSAGE_REVOKE)
        ensure(channel_revocation_received(client->machine, &view, message->revoke.min_nonce,
                                           &message->revoke.signature, NULL) == CODE_OK);
    else if (message->type == MESSAGE_SETTLED && message->settled.outcome == SETTLED_DEAD &&
             client->machine->settlement != NULL && message->settled.seq == client->machine->settlement->seq)
        client->machine->settlement->said_dead = true;
}

/* Settlement may be refused for what happened meanwhile; nothing else that an honest client says. */
static void take_error(const struct client_at *client, const struct message *message)
{
    const struct error_reference *about = &message->error.reference;
    bool may_be =
        about->present && (about->type == MESSAGE_SETTLE_REQUEST || about->type == MESSAGE_SETTLE_SIGN);
    if (client->hostile || may_be)
        return;
    fprintf(stderr, "to an honest client: ERROR %s, %.*s, about %s %llu\n", code_name(message->error.code),
            (int)message->error.text.length, message->error.text.data, message_name(about->type),
            (unsigned long long)about->nonce);
    ensure(may_be);
}

static void take(struct world *world, unsigned index, const struct message *message)
{
    struct client_at *client = &world->clients[index];
    if (message->type == MESSAGE_CHANNEL) {
        take_channel(world, index, message);
    } else if (message->type == MESSAGE_UPDATE) {
        take_update(world, client, &message->update);
    } else if (message->type == MESSAGE_SETTLE_PROPOSE) {
        take_proposal(client, message);
    } else if (message->type == MESSAGE_FUNDED) {
        struct channel_funds told = {message->funded.total, message->funded.base, message->funded.seq,
                                     STAGE_OPEN};
        if (hash_equal(&message->funded.channel, &client->id))
            channel_set_told(client->machine, &told);
    } else if (message->type == MESSAGE_ERROR) {
        take_error(client, message);
    } else if (!client->rogue) {
        take_honestly(world, client, message);
    }
}

/* ---- what leaves ---- */

/* No two different updates, revocations or proposals with one number, whatever crashed in between. */
static void remember(struct world *world, const struct message *message, const uint8_t *frame, size_t length)
{
    struct seen_frame seen = {.type = message->type, .bytes = keccak256(frame, length)};
    if (message->type == MESSAGE_UPDATE) {
        seen.channel = message->update.channel;
        seen.nonce = message->update.proof.nonce;
    } else if (message->type == MESSAGE_REVOKE) {
        seen.channel = message->revoke.channel;
        seen.nonce = message->revoke.min_nonce;
    } else {
        return;
    }
    for (size_t i = 0; i < world->seen_count; i++) {
        const struct seen_frame *old = &world->seen[i];
        if (old->type != seen.type || old->nonce != seen.nonce || !hash_equal(&old->channel, &seen.channel))
            continue;
        ensure(hash_equal(&old->bytes, &seen.bytes));
        return;
    }
    if (world->seen_count < SEEN_MAX)
        world->seen[world->seen_count++] = seen;
}

/* The tower signs, refuses or says nothing. */
static void take_appointment(struct world *world, const struct message *appointment)
{
    struct secret_key key = {{1, [31] = TOWER_KEY}};
    struct message message = {.type = MESSAGE_RECEIPT};
    unsigned how = take_below(world, 4);
    if (how == 3)
        return;
    message.receipt.channel = channel_id(&appointment->appoint.key);
    message.receipt.nonce = appointment->appoint.proof.proof.nonce;
    if (appointment->appoint.proof.present)
        message.receipt.proof_digest =
            digest_balance_proof(&world->domain, &message.receipt.channel, &appointment->appoint.proof.proof);
    struct hash digest = digest_receipt(&world->domain, &message.receipt.channel, message.receipt.nonce,
                                        &message.receipt.proof_digest);
    message.receipt.signature = key_sign(&key, &digest);
    if (how == 2)
        message.receipt.nonce += take_u8(world);
    engine_message(world->engine, ENGINE_PEER_TOWER, &message);
}

/* The hub has taken another update than the machine has signed. */
static bool was_overtaken(const struct world *world, const struct client_at *client)
{
    const struct channel *hub = hub_side(world, client);
    if (hub == NULL || client->machine == NULL)
        return false;
    const struct stream *taken = &hub->streams[SIDE_CLIENT], *own = channel_own(client->machine);
    const struct kept_update *kept = channel_kept(client->machine, taken->proof.nonce);
    if (taken->proof.nonce > own->proof.nonce)
        return true;
    return kept != NULL && !hash_equal(&kept->proof.body_hash, &taken->proof.body_hash);
}

static void find_rogues(struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        world->clients[i].rogue = world->clients[i].rogue || was_overtaken(world, &world->clients[i]);
}

void world_release(struct world *world)
{
    find_rogues(world);
    uint64_t durable = journal_durable(world->journal);
    struct buffer waiting = world->waiting, rest = {0};
    size_t at = 0;
    world->waiting = (struct buffer){0};
    while (at < waiting.length) {
        struct waiting_head head;
        struct message message;
        const char *why;
        memcpy(&head, waiting.data + at, sizeof(head));
        if (head.sequence > durable)
            break;
        const uint8_t *frame = waiting.data + at + sizeof(head) + 4; /* its length first */
        at += sizeof(head) + head.length;
        ensure(message_decode(world->decoder, frame, head.length - 4, &message, &why) == CODE_OK);
        remember(world, &message, frame, head.length - 4);
        if (head.peer == ENGINE_PEER_TOWER && message.type == MESSAGE_APPOINT)
            take_appointment(world, &message);
        for (unsigned i = 0; i < CLIENTS; i++)
            if (world->clients[i].peer == head.peer)
                take(world, i, &message);
    }
    /* What the answers made the engine say comes after what still waits. */
    if (at < waiting.length)
        buffer_append(&rest, waiting.data + at, waiting.length - at);
    buffer_append(&rest, world->waiting.data, world->waiting.length);
    buffer_free(&waiting);
    buffer_free(&world->waiting);
    world->waiting = rest;
}

/* ---- the ledger ---- */

static void add_money(struct world *world, unsigned client, uint64_t deposit, uint64_t by_hub)
{
    struct contract_event event = event_of(world, EVENT_OPENED);
    event.channel = world->clients[client].id;
    event.address = world->clients[client].address;
    if (world->ledger[client].total == 0 && world->ledger[client].base == 0)
        give(world, &event);
    event = event_of(world, EVENT_FUNDED);
    event.channel = world->clients[client].id;
    event.client_amount = amount_of(deposit);
    event.hub_amount = amount_of(by_hub);
    give(world, &event);
    world->ledger[client].total += deposit + by_hub;
    world->ledger[client].base += (int64_t)deposit;
    world->pool -= by_hub;
    client_sees(world, client);
}

static void add_registration(struct world *world, uint64_t secret)
{
    struct witness witness = secret_of(secret);
    struct contract_event event = event_of(world, EVENT_CONDITION_MET);
    if (world->registered[secret % SECRETS] != 0)
        return;
    world->registered[secret % SECRETS] = world->now;
    event.kind = LOCK_SECRET;
    event.condition = condition_of(secret);
    memcpy(event.witness.bytes, witness.bytes, sizeof(event.witness.bytes));
    give(world, &event);
}

static unsigned client_of(const struct world *world, const struct channel_key *key)
{
    unsigned i = 0;
    while (i < CLIENTS && !address_equal(&world->clients[i].address, &key->client))
        i++;
    return key->salt == 0 && address_is_zero(&key->asset) ? i : CLIENTS;
}

static void settle_item(struct world *world, const struct settle_item *item)
{
    unsigned client = client_of(world, &item->key);
    ensure(client < CLIENTS && !item->close);
    struct hash digest =
        digest_settlement(&world->domain, &world->clients[client].id, world->ledger[client].seq + 1,
                          item->client_out, item->hub_out, item->deadline, item->close);
    uint64_t out = item->client_out.units + item->hub_out.units;
    uint8_t reason = 0;
    if (!signature_is_by(&item->signature, &digest, &item->key.client))
        reason = 2;
    else if (world->now > item->deadline)
        reason = 3;
    else if (out > world->ledger[client].total)
        reason = 4;
    struct contract_event event = event_of(world, reason == 0 ? EVENT_SETTLED : EVENT_SETTLE_SKIPPED);
    event.channel = world->clients[client].id;
    event.reason = reason;
    if (reason == 0) {
        event.seq = ++world->ledger[client].seq;
        world->ledger[client].total -= out;
        world->ledger[client].base -= (int64_t)item->client_out.units;
        world->pool += item->hub_out.units;
        event.client_out = item->client_out;
        event.hub_out = item->hub_out;
        world->clients[client].wish = 0;
    }
    give(world, &event);
    client_sees(world, client);
}

static void settle_fund(struct world *world, const struct fund *fund)
{
    unsigned client = client_of(world, &fund->key);
    /* A channel beside the first, which only a hostile wish asks for, is not made here. */
    bool skipped = client == CLIENTS || fund->amount.units > world->pool;
    struct contract_event event = event_of(world, skipped ? EVENT_SETTLE_SKIPPED : EVENT_FUNDED);
    event.channel = channel_id(&fund->key);
    event.is_fund = skipped;
    event.reason = SKIP_POOL;
    event.hub_amount = skipped ? amount_of(0) : fund->amount;
    if (!skipped) {
        world->ledger[client].total += fund->amount.units;
        world->pool -= fund->amount.units;
    }
    give(world, &event);
    if (client < CLIENTS)
        client_sees(world, client);
}

static void mine(struct world *world, const struct call_at *at)
{
    struct contract_call call;
    struct ledger_receipt receipt = {.success = true, .gas_used = 100000, .block = world->block};
    ensure(contract_decode_call(at->data.data, at->data.length, &call));
    receipt.transaction = keccak256(at->data.data, at->data.length);
    if (call.function == CONTRACT_SETTLE_BATCH) {
        for (size_t i = 0; i < call.item_count; i++)
            settle_item(world, &call.items[i]);
        for (size_t i = 0; i < call.fund_count; i++)
            settle_fund(world, &call.funds[i]);
        struct contract_event event = event_of(world, EVENT_BATCH_SETTLED);
        event.batch = ++world->batches;
        event.root = call.hash;
        give(world, &event);
    } else if (call.function == CONTRACT_SET_TOWER) {
        struct contract_event event = event_of(world, EVENT_TOWER_SET);
        event.address = call.address;
        event.allowed = call.flag;
        give(world, &event);
    } else {
        ensure(call.function == CONTRACT_REGISTER_SECRET);
        for (uint64_t i = 0; i < SECRETS; i++) {
            struct witness secret = secret_of(i);
            if (memcmp(secret.bytes, call.hash.bytes, sizeof(call.hash.bytes)) == 0)
                add_registration(world, i);
        }
    }
    contract_call_free(&call);
    if (at->is_ours)
        engine_call_done(world->engine, at->call, at->reference, LEDGER_OK, &receipt);
}

void world_block(struct world *world, uint64_t seconds)
{
    world->block++;
    world->now += seconds;
    world->now_ms += seconds * 1000;
    while (world->call_count > 0 && world->calls[0].sequence <= journal_durable(world->journal)) {
        struct call_at first = world->calls[0];
        world->calls[0].data = (struct buffer){0};
        drop_call(world, 0);
        mine(world, &first);
        buffer_free(&first.data);
    }
    for (uint64_t i = 0; i < SECRETS; i++) {
        if (world->to_register[i])
            add_registration(world, i);
        world->to_register[i] = false;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (world->to_deposit[i] > 0)
            add_money(world, i, world->to_deposit[i], 0);
        world->to_deposit[i] = 0;
    }
    give_head(world);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_sees(world, i);
}

/* ---- what must hold, always ---- */

void world_check(struct world *world)
{
    struct engine_balance balances[ASSETS_MAX];
    wide total = 0, pending = 0;
    engine_check(world->engine);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct channel *channel = hub_side(world, &world->clients[i]);
        total += world->ledger[i].total;
        if (channel == NULL)
            continue;
        pending += channel->streams[SIDE_CLIENT].locked.units;
        /* Nobody spends what is not there. */
        ensure(channel_balance(channel, SIDE_CLIENT) >= 0 && channel_balance(channel, SIDE_HUB) >= 0);
    }
    ensure(engine_balances(world->engine, balances) == 1);
    ensure(balances[0].pool == (wide)world->pool);
    ensure(balances[0].clients + balances[0].hub == total);
    /* Whatever the clients did, the hub has what it began with, if it is paid for the locks it has in hand. */
    ensure(balances[0].pool + balances[0].hub + pending >= (wide)POOL);
}
