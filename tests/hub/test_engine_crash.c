/* Crashes of the hub at any moment of a random life: payments of both kinds, reveals, failures, refunds,
 * settlement and rebalancing, links that break, secrets that are registered in the last minute, payments between
 * shards. Whatever the
 * disk kept of what was not yet durable, nothing ever leaves in two forms, every update the clients see is
 * good, and in the end each payment is either paid by its payer and got by its payee, or neither.
 *
 * RILL_SEED chooses the first world's seed; a failure names its own.
 */
#include "crash_clients.h"

#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define WORLDS_SECONDS 12
#define STEPS          400

static uint64_t seed_now; /* for whoever aborts */

/* ---- links ---- */

static void resume(struct world *world, struct client *client, uint64_t shown)
{
    struct payment_id ids[PAYMENTS_MAX];
    struct message message = {.type = MESSAGE_RESUME};
    message.resume.channel = client->channel->id;
    message.resume.received = channel_peer(client->channel)->proof.nonce;
    message.resume.own = channel_own(client->channel)->proof.nonce;
    for (size_t i = 0; i < world->book_count; i++) {
        const struct book *book = &world->books[i];
        if (book->payer == client->index && !book->receipt && !book->refunded && !book->failed)
            ids[message.resume.count++] = book->id;
    }
    message.resume.ids = ids;
    client->resumed = true;
    client_send(world, client, &message);
    for (uint64_t nonce = shown + 1; nonce <= message.resume.own; nonce++)
        client_send_kept(world, client, nonce);
    client_revokes(world, client);
}

static void say_revealed(struct world *world, const struct book *book)
{
    struct client *client = &world->clients[book->payee];
    struct revealed item = {book->payee_id, book->secret};
    struct message message = {.type = MESSAGE_REVEAL};
    message.reveal.channel = client->channel->id;
    message.reveal.items = &item;
    message.reveal.count = 1;
    client_send(world, client, &message);
}

static void say_failed(struct world *world, const struct book *book)
{
    struct client *client = &world->clients[book->payee];
    struct failed item = {book->payee_id, CODE_INVOICE};
    struct message message = {.type = MESSAGE_FAIL};
    message.fail.channel = client->channel->id;
    message.fail.items = &item;
    message.fail.count = 1;
    client_send(world, client, &message);
}

static void answer_again(struct world *world, struct client *client)
{
    for (size_t i = 0; i < world->book_count; i++) {
        const struct book *book = &world->books[i];
        if (book->payee != client->index)
            continue;
        if (book->revealed && (book->is_locked ? !book->got : world->now <= book->expiry))
            say_revealed(world, book);
        if (book->sent_back && book->is_locked && !book->lock_dropped)
            say_failed(world, book);
    }
}

static void take_channel(struct world *world, struct client *client, const struct message *message)
{
    struct channel_funds told = {message->channel.total, message->channel.base, message->channel.seq,
                                 message->channel.status};
    if (client->channel == NULL) {
        client->channel = channel_new(&message->channel.key, SIDE_CLIENT, 100);
        client_sees(world, client);
    }
    channel_set_told(client->channel, &told);
    const struct shown_stream *streams = message->channel.streams;
    uint64_t mine = streams[SIDE_CLIENT].newest.present ? streams[SIDE_CLIENT].newest.proof.nonce : 0;
    uint64_t hubs = streams[SIDE_HUB].newest.present ? streams[SIDE_HUB].newest.proof.nonce : 0;
    /* What was acknowledged or released is never forgotten. */
    assert_true(mine >= client->channel->acknowledged);
    assert_true(hubs >= channel_peer(client->channel)->proof.nonce);
    assert_int_equal(channel_acknowledged(client->channel, mine), CODE_OK);
    take_shown_settlement(world, client, &message->channel.settlement);
    resume(world, client, mine);
    answer_again(world, client);
}

static void connect_client(struct world *world, struct client *client)
{
    if (client->peer != 0)
        return;
    client->peer = world->next_peer++;
    engine_connected(shard_of(world, client)->engine, client->peer, &client->address);
}

static void lose_link(struct client *client)
{
    client->peer = 0;
    client->resumed = false;
    forget_held(client);
}

/* ---- what comes ---- */

static void take_reveal(struct world *world, struct client *client, const struct message *message)
{
    for (size_t i = 0; i < message->reveal.count; i++) {
        struct book *book = book_of_payer(world, client->index, &message->reveal.items[i].id);
        assert_true(
            witness_meets(&message->reveal.items[i].witness, LOCK_SECRET, &book->condition, &world->domain));
        assert_false(book->dropped);
        book->receipt = true;
    }
}

static void take_fail(struct world *world, struct client *client, const struct message *message)
{
    for (size_t i = 0; i < message->fail.count; i++) {
        struct book *book = book_of_payer(world, client->index, &message->fail.items[i].id);
        assert_false(book->receipt);
        if (channel_fail_received(client->channel, &book->id) != NULL)
            book->failed = true;
    }
}

static void take_settled(struct client *client, const struct message *message)
{
    struct settlement *current = client->channel->settlement;
    if (message->settled.outcome == 6 && current != NULL && current->seq == message->settled.seq)
        current->said_dead = true;
    if (message->settled.outcome == 0)
        client->wish = 0;
}

static void take_error(const struct message *message)
{
    const struct error_reference *about = &message->error.reference;
    bool settlement =
        about->present && (about->type == MESSAGE_SETTLE_REQUEST || about->type == MESSAGE_SETTLE_SIGN);
    if (!settlement)
        fail_msg("the hub refuses %s: %s", message_name(about->type), code_name(message->error.code));
}

static void take_funded(struct client *client, const struct message *message)
{
    struct channel_funds told = {message->funded.total, message->funded.base, message->funded.seq,
                                 STAGE_OPEN};
    channel_set_told(client->channel, &told);
}

static void take(struct world *world, struct client *client, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    ensure(message_decode(world->decoder, frame, length, &message, &why) == CODE_OK);
    struct channel_view view = client_view(client);
    if (message.type == MESSAGE_CHANNEL)
        take_channel(world, client, &message);
    else if (message.type == MESSAGE_UPDATE && client->held_count > 0)
        hold_update(client, frame, length);
    else if (message.type == MESSAGE_UPDATE && !judge_update(world, client, &message.update))
        hold_update(client, frame, length);
    else if (message.type == MESSAGE_ACK)
        assert_int_equal(channel_acknowledged(client->channel, message.ack.nonce), CODE_OK);
    else if (message.type == MESSAGE_REVEAL)
        take_reveal(world, client, &message);
    else if (message.type == MESSAGE_FAIL)
        take_fail(world, client, &message);
    else if (message.type == MESSAGE_REVOKE)
        assert_int_equal(channel_revocation_received(client->channel, &view, message.revoke.min_nonce,
                                                     &message.revoke.signature, NULL),
                         CODE_OK);
    else if (message.type == MESSAGE_SETTLE_PROPOSE)
        take_proposal(world, client,
                      &(struct settlement){.seq = message.settle_propose.seq,
                                           .client_out = message.settle_propose.client_out,
                                           .hub_out = message.settle_propose.hub_out,
                                           .deadline = message.settle_propose.deadline,
                                           .close = message.settle_propose.close});
    else if (message.type == MESSAGE_SETTLED)
        take_settled(client, &message);
    else if (message.type == MESSAGE_FUNDED)
        take_funded(client, &message);
    else if (message.type == MESSAGE_ERROR)
        take_error(&message);
}

/* ---- what leaves ---- */

/* No two different updates or revocations with one nonce, whoever gets them, whatever crashed in between. */
static void remember(struct world *world, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    struct frame_seen *seen, probe;
    memset(&probe, 0, sizeof(probe));
    ensure(message_decode(world->decoder, frame, length, &message, &why) == CODE_OK);
    if (message.type == MESSAGE_UPDATE) {
        probe.key.channel = message.update.channel;
        probe.key.nonce = message.update.proof.nonce;
    } else if (message.type == MESSAGE_REVOKE) {
        probe.key.channel = message.revoke.channel;
        probe.key.nonce = message.revoke.min_nonce;
    } else {
        return;
    }
    probe.key.type = message.type;
    probe.bytes = keccak256(frame, length);
    HASH_FIND(hh, world->seen, &probe.key, sizeof(probe.key), seen);
    if (seen != NULL) {
        assert_true(hash_equal(&seen->bytes, &probe.bytes));
        return;
    }
    seen = xcalloc(1, sizeof(*seen));
    *seen = probe;
    HASH_ADD(hh, world->seen, key, sizeof(seen->key), seen);
}

/* Everything durable leaves, in order, and is answered. */
static void release_frames(struct world *world, struct shard *shard)
{
    uint64_t durable = journal_durable(shard->journal);
    size_t at = 0;
    struct buffer waiting = shard->waiting;
    shard->waiting = (struct buffer){0};
    while (at < waiting.length) {
        struct waiting_head head;
        memcpy(&head, waiting.data + at, sizeof(head));
        if (head.sequence > durable)
            break;
        const uint8_t *frame = waiting.data + at + sizeof(head) + 4; /* its length first */
        remember(world, frame, head.length - 4);
        for (unsigned i = 0; i < CLIENTS; i++)
            if (world->clients[i].peer == head.peer && head.peer != 0)
                take(world, &world->clients[i], frame, head.length - 4);
        at += sizeof(head) + head.length;
    }
    /* What the answers made the engine say comes after what still waits. */
    struct buffer rest = {0};
    buffer_append(&rest, waiting.data + at, waiting.length - at);
    buffer_append(&rest, shard->waiting.data, shard->waiting.length);
    buffer_free(&waiting);
    buffer_free(&shard->waiting);
    shard->waiting = rest;
    for (size_t i = 0; i < world->call_count; i++)
        if (world->calls[i].shard == shard->index && world->calls[i].sequence <= durable)
            world->calls[i].is_sent = true;
}

/* Parcels arrive in the order in which they left, at their leisure. */
static void release_parcels(struct world *world, struct shard *from, bool all)
{
    uint64_t durable = journal_durable(from->journal);
    size_t at = 0;
    while (at < from->parcels.length && (all || roll(world, 3) > 0)) {
        struct parcel_head head;
        memcpy(&head, from->parcels.data + at, sizeof(head));
        if (head.sequence > durable)
            break;
        struct engine *to = world->shards[head.to].engine;
        const uint8_t *bytes = from->parcels.data + at + sizeof(head);
        if (head.is_word != 0)
            engine_parcel_acknowledged(to, from->index, head.number);
        else
            assert_true(engine_parcel(to, from->index, head.number, bytes, head.length));
        world->parcels_applied += head.is_word == 0;
        at += sizeof(head) + head.length;
    }
    if (at > 0)
        memmove(from->parcels.data, from->parcels.data + at, from->parcels.length - at);
    from->parcels.length -= at;
}

/* Beside the parcels, which may be faster. */
static void release_secrets(struct world *world, struct shard *from)
{
    struct secret_ahead ahead;
    for (size_t at = 0; at < from->secrets.length; at += sizeof(ahead)) {
        memcpy(&ahead, from->secrets.data + at, sizeof(ahead));
        if (roll(world, 8) > 0)
            engine_secret(world->shards[ahead.to].engine, &ahead.payer, &ahead.witness);
    }
    buffer_clear(&from->secrets);
}

static void give_turn(struct world *world)
{
    for (unsigned i = 0; i < world->shard_count && world->turn_of < 0; i++) {
        struct shard *shard = &world->shards[i];
        if (!shard->wants_turn)
            continue;
        shard->wants_turn = false;
        world->turn_of = (int)i;
        engine_settle_turn(shard->engine);
    }
}

static void release(struct world *world, bool all)
{
    for (unsigned i = 0; i < world->shard_count; i++) {
        release_frames(world, &world->shards[i]);
        release_secrets(world, &world->shards[i]);
        release_parcels(world, &world->shards[i], all);
    }
    give_turn(world);
}

static void sync_shard(struct shard *shard, uint64_t sequence)
{
    memory_journal_sync(shard->journal, sequence);
    engine_durable(shard->engine, journal_durable(shard->journal));
}

static void flush_all(struct world *world)
{
    for (unsigned i = 0; i < world->shard_count; i++)
        sync_shard(&world->shards[i], engine_flush(world->shards[i].engine));
}

/* ---- the ledger's time ---- */

static void mine(struct world *world, struct pending_call *pending)
{
    struct contract_call call;
    struct ledger_receipt receipt = {.success = true, .gas_used = 100000, .block = world->block};
    ensure(contract_decode_call(pending->data.data, pending->data.length, &call));
    receipt.transaction = keccak256(pending->data.data, pending->data.length);
    if (call.function == CONTRACT_SETTLE_BATCH)
        ledger_batch(world, &call);
    else if (call.function == CONTRACT_REGISTER_SECRET)
        ledger_register(world, &call.hash);
    else
        fail_msg("a transaction that nothing asked for");
    contract_call_free(&call);
    if (pending->is_ours)
        engine_call_done(world->shards[pending->shard].engine, pending->call, pending->reference, LEDGER_OK,
                         &receipt);
}

static void drop_call(struct world *world, size_t at)
{
    buffer_free(&world->calls[at].data);
    memmove(&world->calls[at], &world->calls[at + 1], (--world->call_count - at) * sizeof(world->calls[0]));
}

/* A payee that has shown its secret and was not unlocked tells the ledger, as section 3 asks of it. */
static void payees_register(struct world *world)
{
    for (size_t i = 0; i < world->book_count; i++) {
        const struct book *book = &world->books[i];
        struct hash secret;
        memcpy(secret.bytes, book->secret.bytes, sizeof(secret.bytes));
        if (book->is_locked && book->revealed && !book->got && !book->lock_dropped &&
            world->now + MARGIN_S >= book->expiry && world->now <= book->expiry)
            ledger_register(world, &secret);
    }
}

/* What each shard's channels did to the pool is known to all after each block, as the hub's shell sees to. */
static void tell_pools(struct world *world)
{
    wide own[SHARDS] = {0}, all = 0;
    for (unsigned i = 0; i < world->shard_count; i++) {
        struct engine_pool pools[ASSETS_MAX];
        if (engine_pools(world->shards[i].engine, pools) > 0)
            own[i] = pools[0].units;
        all += own[i];
    }
    for (unsigned i = 0; i < world->shard_count; i++)
        engine_pool_of_others(world->shards[i].engine, &ADDRESS_ZERO, all - own[i]);
}

static void give_events(struct world *world, struct shard *shard)
{
    while (shard->events_given < world->event_count)
        engine_event(shard->engine, &world->events[shard->events_given++]);
    struct ledger_head head = {world->block, world->now, world->block, world->now};
    engine_head(shard->engine, &head);
}

static void give_events_to_all(struct world *world, bool may_lag)
{
    for (unsigned i = 0; i < world->shard_count; i++)
        if (!may_lag || world->shard_count == 1 || roll(world, 5) > 0)
            give_events(world, &world->shards[i]);
    tell_pools(world);
}

static void next_block(struct world *world, uint64_t seconds, bool may_lag)
{
    world->block++;
    world->now += seconds;
    while (world->call_count > 0 && world->calls[0].is_sent) {
        mine(world, &world->calls[0]);
        drop_call(world, 0);
    }
    payees_register(world);
    give_events_to_all(world, may_lag);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->clients[i];
        if (roll(world, 4) == 0)
            continue; /* its node lags */
        client_sees(world, client);
        if (client->channel != NULL)
            judge_held(world, client);
    }
}

/* ---- crashes ---- */

static bool visit(void *context, const struct record *record)
{
    return engine_read(context, record);
}

static void shard_dies(struct world *world, struct shard *shard)
{
    uint64_t durable = journal_durable(shard->journal), appended = memory_journal_appended(shard->journal);
    engine_free(shard->engine);
    memory_journal_crash(shard->journal, durable + roll(world, appended - durable + 1));
    buffer_clear(&shard->waiting);
    buffer_clear(&shard->parcels);
    buffer_clear(&shard->secrets);
    shard->wants_turn = false;
}

static void shard_starts_again(struct world *world, struct shard *shard)
{
    char message[256];
    start_engine(world, shard);
    ensure(journal_recover(shard->journal, visit, shard->engine));
    if (!engine_recovered(shard->engine, message, sizeof(message)))
        fail_msg("%s", message);
    shard->events_given = 0;
    while (shard->events_given < world->event_count &&
           world->events[shard->events_given].block < engine_cursor(shard->engine))
        shard->events_given++;
}

static void crash(struct world *world)
{
    world->crashes++;
    world->turn_of = -1;
    for (unsigned i = 0; i < world->shard_count; i++)
        shard_dies(world, &world->shards[i]);
    for (unsigned i = 0; i < CLIENTS; i++)
        lose_link(&world->clients[i]);
    /* What was sent may be mined yet, or have been lost on its way; nobody of ours will hear of it. */
    for (size_t i = world->call_count; i-- > 0;) {
        world->calls[i].is_ours = false;
        if (!world->calls[i].is_sent || roll(world, 2) == 0)
            drop_call(world, i);
    }
    for (unsigned i = 0; i < world->shard_count; i++)
        shard_starts_again(world, &world->shards[i]);
    if (roll(world, 2) ==
        0) { /* what is owed to other shards leaves at once, before the ledger has answered */
        flush_all(world);
        release(world, true);
    }
    give_events_to_all(world, roll(world, 2) == 0);
}

/* ---- what clients do ---- */

static void pay(struct world *world, struct client *client)
{
    if (world->book_count == PAYMENTS_MAX || client->channel == NULL)
        return;
    struct book *book = &world->books[world->book_count];
    *book = (struct book){
        .payer = client->index, .amount = 1 + roll(world, 900), .is_locked = roll(world, 2) == 0};
    book->payee = (client->index + 1 + (unsigned)roll(world, CLIENTS - 1)) % CLIENTS;
    book->patience = roll(world, 20) == 0 ? 255 : (unsigned)roll(world, 12);
    book->expiry = client->view_now + 350 + roll(world, EXPIRY_S);
    book->is_lazy = roll(world, 6) == 0;
    book->is_late = book->is_locked && roll(world, 6) == 0;
    if (book->is_locked)
        book->amount += 10;
    store_be64(book->id.bytes, world->book_count + 1);
    store_be64(book->secret.bytes, world->seed);
    store_be64(book->secret.bytes + 8, world->book_count + 1);
    book->secret.length = WITNESS_SECRET_BYTES;
    book->condition = condition_of_secret(book->secret.bytes);
    book->payee_id = payment_id_of_payee(&client->channel->id, &book->id);
    struct amount fee;
    ensure(amount_fee(amount_of(book->amount), amount_of(2), 1000, &fee));
    book->fee = fee.units;
    struct operation operation = {.type = book->is_locked ? OPERATION_LOCK : OPERATION_PAY,
                                  .id = book->id,
                                  .peer = world->clients[book->payee].address,
                                  .amount = {book->amount},
                                  .fee = fee,
                                  .expiry = book->expiry,
                                  .condition = book->condition,
                                  .memo = {"tea", 3}};
    world->book_count++; /* the hub may answer at once */
    if (!client_update(world, client, &operation, 1))
        world->book_count--;
}

static void answer_as_payee(struct world *world, struct book *book)
{
    struct client *client = &world->clients[book->payee];
    if (book->is_late && client->view_now + 2 * MARGIN_S - 10 < book->expiry)
        return; /* then the hub need not take the secret any more: the ledger does */
    if (!book->received || book->revealed || book->sent_back || book->lock_dropped || book->patience == 255 ||
        book->patience-- > 0)
        return;
    bool late = client->view_now + (book->is_locked ? MARGIN_S : 0) >= book->expiry;
    if (late || roll(world, 6) == 0) {
        struct operation back = {
            .type = OPERATION_REFUND, .id = book->payee_id, .amount = {book->amount}, .code = CODE_INVOICE};
        book->patience = 0;
        if (book->is_locked)
            book->sent_back = channel_mark_failed(client->channel, &book->payee_id);
        else
            book->sent_back = client_update(world, client, &back, 1);
        if (book->is_locked && book->sent_back)
            say_failed(world, book);
        return;
    }
    book->revealed = true;
    say_revealed(world, book);
}

static void follow_as_payer(struct world *world, struct book *book)
{
    struct client *client = &world->clients[book->payer];
    const struct pending_lock *lock = book->is_locked ? payers_lock(world, book) : NULL;
    if (lock == NULL)
        return;
    uint64_t registered = client_registered_at(client, LOCK_SECRET, &book->condition);
    struct operation operation = {.lock_id = lock->lock.id};
    bool in_time = registered != 0 && registered <= book->expiry;
    if (in_time || (book->receipt && !book->is_lazy)) {
        operation.type = OPERATION_UNLOCK;
        if (book->receipt)
            operation.witness = book->secret;
        book->unlocked = client_update(world, client, &operation, 1);
    } else if (book->failed) {
        operation.type = OPERATION_CANCEL;
        book->dropped = client_update(world, client, &operation, 1);
    } else if (client->view_now > book->expiry) {
        operation.type = OPERATION_EXPIRE;
        book->dropped = client_update(world, client, &operation, 1);
    }
}

static void ask_payout(struct world *world, struct client *client)
{
    if (client->channel == NULL || client->wish != 0 || !client->resumed ||
        channel_available(client->channel, SIDE_CLIENT) < 200)
        return;
    client->wish = 100 + roll(world, 100);
    struct message message = {.type = MESSAGE_SETTLE_REQUEST};
    message.settle_request.channel = client->channel->id;
    message.settle_request.amount = amount_of(client->wish);
    client_send(world, client, &message);
}

static void life_goes_on(struct world *world, unsigned laziness)
{
    for (size_t i = 0; i < world->book_count; i++) {
        answer_as_payee(world, &world->books[i]);
        if (laziness == 0 || roll(world, laziness) == 0)
            follow_as_payer(world, &world->books[i]);
    }
}

static void tick(struct world *world)
{
    world->now_ms += 200;
    for (unsigned i = 0; i < world->shard_count; i++)
        engine_time(world->shards[i].engine, world->now_ms);
}

static void step(struct world *world)
{
    struct client *client = &world->clients[roll(world, CLIENTS)];
    switch (roll(world, 20)) {
    case 0:
        crash(world);
        break;
    case 1:
        if (client->peer != 0) {
            engine_disconnected(shard_of(world, client)->engine, client->peer);
            lose_link(client);
        }
        break;
    case 2:
    case 3:
    case 4:
        next_block(world, 1 + roll(world, 10), true);
        break;
    case 5:
        engine_settle(world->shards[roll(world, world->shard_count)].engine);
        break;
    case 6:
        ask_payout(world, client);
        break;
    case 7:
    case 8:
        life_goes_on(world, 3);
        break;
    default:
        pay(world, client);
    }
    if (roll(world, 3) == 0)
        for (unsigned i = 0; i < CLIENTS; i++)
            if (roll(world, 2) == 0)
                connect_client(world, &world->clients[i]);
    tick(world);
    for (unsigned i = 0; i < world->shard_count; i++) {
        struct journal *journal = world->shards[i].journal;
        if (roll(world, 3) > 0)
            engine_flush(world->shards[i].engine);
        uint64_t durable = journal_durable(journal), appended = memory_journal_appended(journal);
        sync_shard(&world->shards[i], durable + roll(world, appended - durable + 1));
    }
    release(world, false);
}

/* ---- a whole life ---- */

static void world_new(struct world *world, uint64_t seed)
{
    char message[256];
    memset(world, 0, sizeof(*world));
    world->shard_count = 1 + (unsigned)(seed % SHARDS);
    world->turn_of = -1;
    world->seed = seed_now = seed;
    world->random = seed * 0x9e3779b97f4a7c15u + 1;
    world->hub_key = (struct secret_key){{1, [31] = 99}};
    world->hub = secret_key_address(&world->hub_key);
    world->domain = domain_make(31337, &(struct address){.bytes = {7}});
    world->now = 1800000000;
    world->next_peer = ENGINE_PEER_TOWER_LAST + 1;
    world->decoder = decoder_new();
    world->client_decoder = decoder_new();
    world->bodies = decoder_new();
    for (unsigned i = 0; i < world->shard_count; i++) {
        struct shard *shard = &world->shards[i];
        *shard = (struct shard){.world = world, .index = i, .journal = memory_journal_create()};
        start_engine(world, shard);
        ensure(journal_recover(shard->journal, NULL, NULL));
        ensure(engine_recovered(shard->engine, message, sizeof(message)));
    }
    world->block = 1;
    ledger_event(world, EVENT_ASSET_LISTED);
    ledger_event(world, EVENT_POOL_DEPOSITED)->amount = amount_of(POOL);
    world->pool = POOL;
    for (unsigned i = 0; i < CLIENTS; i++) {
        world->clients[i] = (struct client){.index = i, .world = world};
        world->clients[i].key = (struct secret_key){{1, [31] = (uint8_t)(i + 1)}};
        world->clients[i].address = secret_key_address(&world->clients[i].key);
        ledger_open(world, i, DEPOSIT, ROOM);
    }
    give_events_to_all(world, false);
}

static void world_free(struct world *world)
{
    struct frame_seen *seen, *next;
    HASH_ITER(hh, world->seen, seen, next)
    {
        HASH_DELETE(hh, world->seen, seen);
        free(seen);
    }
    while (world->call_count > 0)
        drop_call(world, 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        lose_link(&world->clients[i]);
        channel_free(world->clients[i].channel);
    }
    for (unsigned i = 0; i < world->shard_count; i++) {
        engine_free(world->shards[i].engine);
        journal_close(world->shards[i].journal);
        buffer_free(&world->shards[i].waiting);
        buffer_free(&world->shards[i].parcels);
        buffer_free(&world->shards[i].secrets);
    }
    decoder_free(world->decoder);
    decoder_free(world->client_decoder);
    decoder_free(world->bodies);
}

static void settle_down(struct world *world)
{
    for (unsigned i = 0; i < 12; i++) {
        tick(world);
        flush_all(world);
        release(world, true);
        life_goes_on(world, 0);
    }
}

/* No more payments: everybody is there until all has ended. The hub still crashes, but for the last minutes. */
static void drain(struct world *world)
{
    uint64_t last = world->now;
    for (size_t i = 0; i < world->book_count; i++)
        last = world->books[i].expiry > last ? world->books[i].expiry : last;
    while (world->now <= last + 200) {
        if (world->now < last && roll(world, 20) == 0)
            crash(world);
        for (unsigned i = 0; i < CLIENTS; i++)
            connect_client(world, &world->clients[i]);
        settle_down(world);
        next_block(world, 10, false);
    }
    settle_down(world);
}

static void check_book(const struct book *book)
{
    bool paid = book->is_locked ? book->unlocked : !book->refunded;
    bool got = book->is_locked ? book->got : book->got && !book->sent_back;
    if (book->receipt)
        assert_true(paid); /* the lazy ones too: the hub had to see to it */
    if (book->revealed)
        assert_true(got);
    assert_int_equal(paid, got);
}

/* By its own books the hub has what the ledger and the clients say it has. */
static void check_hub(struct world *world, wide clients)
{
    int64_t pool = 0, of_clients = 0, of_hub = 0;
    wide total = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        total += world->ledger[i].total;
        assert_true(world->clients[i].channel->told.total.units == world->ledger[i].total);
        assert_true(world->clients[i].channel->told.base == world->ledger[i].base);
    }
    for (unsigned i = 0; i < world->shard_count; i++) {
        struct engine_balance balances[ASSETS_MAX];
        assert_int_equal(engine_balances(world->shards[i].engine, balances), 1);
        pool += (int64_t)balances[0].pool;
        of_clients += (int64_t)balances[0].clients;
        of_hub += (int64_t)balances[0].hub;
    }
    assert_int_equal(pool, world->pool);
    assert_true(of_clients == (int64_t)clients);
    assert_true(of_hub == (int64_t)(total - clients));
}

static void check_world(struct world *world)
{
    int64_t wealth[CLIENTS];
    uint64_t fees = 0;
    wide hub = (wide)world->pool, clients = 0;
    for (unsigned i = 0; i < world->shard_count; i++)
        engine_check(world->shards[i].engine);
    for (unsigned i = 0; i < CLIENTS; i++)
        wealth[i] = DEPOSIT;
    for (size_t i = 0; i < world->book_count; i++) {
        const struct book *book = &world->books[i];
        check_book(book);
        if (book->is_locked ? !book->unlocked : book->refunded)
            continue;
        wealth[book->payer] -= (int64_t)(book->amount + book->fee);
        wealth[book->payee] += (int64_t)book->amount;
        fees += book->fee;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->clients[i];
        client_sees(world, client);
        wide balance = channel_balance(client->channel, SIDE_CLIENT);
        assert_true(balance + (wide)client->paid_out == (wide)wealth[i]);
        clients += balance;
        hub += channel_balance(client->channel, SIDE_HUB);
    }
    check_hub(world, clients);
    assert_true(hub == (wide)(POOL + fees));
    for (unsigned i = 0; i < world->shard_count; i++)
        assert_int_equal(engine_figures(world->shards[i].engine).updates_refused, 0);
}

static void live(uint64_t seed)
{
    static struct world world;
    world_new(&world, seed);
    for (unsigned i = 0; i < STEPS; i++)
        step(&world);
    drain(&world);
    check_world(&world);
    /* A day later nothing is left of it but the channels. */
    next_block(&world, 200000, false);
    flush_all(&world);
    for (unsigned i = 0; i < world.shard_count; i++)
        assert_int_equal(engine_figures(world.shards[i].engine).payments_kept, 0);
    world_free(&world);
}

/* Locked, between two shards, and the payee has it and keeps its secret to itself. */
static struct book *lock_between_shards(struct world *world)
{
    for (;;) {
        struct client *payer = &world->clients[roll(world, CLIENTS)];
        size_t before = world->book_count;
        pay(world, payer);
        if (world->book_count == before)
            continue;
        struct book *book = &world->books[before];
        book->patience = 255;
        book->is_late = false;
        settle_down(world);
        if (book->is_locked && book->received &&
            shard_of(world, payer) != shard_of(world, &world->clients[book->payee]))
            return book;
    }
}

/* The payer's shard has seen the secret registered and the payee's has not when the payer, by the registration alone,
 * unlocks. */
static void test_an_unlock_is_faster_than_the_ledger(void **state)
{
    static struct world world;
    (void)state;
    world_new(&world, 1); /* two shards */
    for (unsigned i = 0; i < CLIENTS; i++)
        connect_client(&world, &world.clients[i]);
    settle_down(&world);
    struct book *book = lock_between_shards(&world);
    struct client *payer = &world.clients[book->payer];
    struct hash secret;
    memcpy(secret.bytes, book->secret.bytes, sizeof(secret.bytes));
    world.block++;
    world.now++;
    ledger_register(&world, &secret);
    client_sees(&world, payer);
    follow_as_payer(&world, book);
    assert_true(book->unlocked && !book->receipt);
    give_events(&world, shard_of(&world, payer));
    settle_down(&world);
    give_events_to_all(&world, false);
    client_sees(&world, &world.clients[book->payee]);
    settle_down(&world);
    assert_true(book->got);
    world_free(&world);
}

static void on_abort(int number)
{
    char line[64];
    (void)number;
    int length = snprintf(line, sizeof(line), "RILL_SEED=%llu\n", (unsigned long long)seed_now);
    if (length > 0)
        (void)!write(STDERR_FILENO, line, (size_t)length);
}

static int say_seed(void **state)
{
    (void)state;
    print_message("last RILL_SEED=%llu\n", (unsigned long long)seed_now);
    return 0;
}

static void test_nothing_is_lost_or_said_twice(void **state)
{
    const char *wanted = getenv("RILL_SEED");
    uint64_t seed = wanted == NULL ? 1 : strtoull(wanted, NULL, 10);
    uint64_t end_us = clock_monotonic_us() + WORLDS_SECONDS * 1000000u;
    (void)state;
    do
        live(seed++);
    while (clock_monotonic_us() < end_us);
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGABRT, &action, NULL);
    log_setup("test", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unlock_is_faster_than_the_ledger),
        cmocka_unit_test_teardown(test_nothing_is_lost_or_said_twice, say_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
