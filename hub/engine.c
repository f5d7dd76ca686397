#include "hub/engine_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "crypto/hash.h"

#define REVEALS_MAX 128 /* of one message */

_Static_assert(sizeof(struct hub_channel) <= 184 && sizeof(struct client) <= 40, "an idle channel is small");

static uint64_t registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    struct registration *found = engine_registration(context, kind, condition);
    return found == NULL ? 0 : found->time;
}

struct engine *engine_new(const struct engine_settings *settings, const struct engine_effects *effects)
{
    struct engine *engine = xcalloc(1, sizeof(*engine));
    engine->settings = *settings;
    engine->effects = *effects;
    engine->hub = secret_key_address(&settings->key);
    engine->view = (struct channel_view){
        .domain = &engine->settings.domain,
        .reveal_margin_s = settings->terms.reveal_margin_s,
        .registered_at = registered_at,
        .context = engine,
    };
    engine->payments.seed = settings->seed;
    engine->client_slab.item_size = sizeof(struct client);
    engine->channel_slab.item_size = sizeof(struct hub_channel);
    if (engine->settings.shards == 0)
        engine->settings.shards = 1;
    ensure(engine->settings.shards <= SHARDS_MAX && engine->settings.shard < engine->settings.shards);
    ensure(engine->settings.shards == 1 || (effects->parcel != NULL && effects->settle_turn != NULL));
    engine->pairs = xcalloc(engine->settings.shards, sizeof(*engine->pairs));
    engine->decoder = decoder_new();
    engine->register_round = 1;
    engine->reveal.items = xcalloc(REVEALS_MAX, sizeof(*engine->reveal.items));
    engine->touched = xcalloc(OPERATIONS_MAX, sizeof(*engine->touched));
    engine->payee_ids = xcalloc(OPERATIONS_MAX, sizeof(*engine->payee_ids));
    engine->new_known = xcalloc(OPERATIONS_MAX, sizeof(*engine->new_known));
    for (int received = 0; received < 2; received++)
        engine->back_known[received] = xcalloc(OPERATIONS_MAX, sizeof(bool));
    engine->wishes = xcalloc(OPEN_WISHES_MAX, sizeof(*engine->wishes));
    return engine;
}

static void free_channel(struct engine *engine, struct hub_channel *channel)
{
    forward_forget_held(engine, channel);
    if (channel->dispute != NULL)
        remains_free(channel->dispute->remains);
    free(channel->dispute);
    promises_free(engine, channel);
    free(channel->watch);
    channel_free(channel->channel);
}

void engine_free(struct engine *engine)
{
    if (engine == NULL)
        return;
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next)
        free_channel(engine, channel);
    index_free(&engine->channels_by_id);
    index_free(&engine->clients_by_peer);
    index_free(&engine->clients);
    slab_free(&engine->channel_slab);
    slab_free(&engine->client_slab);
    struct registration *registration, *next_registration;
    HASH_ITER(hh, engine->registrations, registration, next_registration)
    {
        HASH_DELETE(hh, engine->registrations, registration);
        free(registration);
    }
    payments_free(&engine->payments);
    transfer_free(engine);
    buffer_free(&engine->batch);
    buffer_free(&engine->archive);
    buffer_free(&engine->leads.more);
    buffer_free(&engine->leaves.digest);
    buffer_free(&engine->statement);
    buffer_free(&engine->frames);
    buffer_free(&engine->calls);
    buffer_free(&engine->body);
    buffer_free(&engine->passing);
    free(engine->frame_marks);
    free(engine->call_marks);
    free(engine->dirty);
    free(engine->acks);
    free(engine->holders);
    decoder_free(engine->decoder);
    free(engine->touched);
    free(engine->reveal.items);
    free(engine->payee_ids);
    free(engine->new_known);
    free(engine->back_known[0]);
    free(engine->back_known[1]);
    free(engine->looked);
    free(engine->events);
    free(engine->wishes);
    free(engine->reports);
    free(engine->reports_gone);
    engine_count_free(engine->count.result);
    bytes_wipe(&engine->settings.key, sizeof(engine->settings.key));
    free(engine);
}

const struct asset_terms *engine_terms(const struct engine *engine, const struct address *asset)
{
    const struct terms *terms = &engine->settings.terms;
    for (size_t i = 0; i < terms->asset_count; i++)
        if (address_equal(&terms->assets[i].asset, asset))
            return &terms->assets[i];
    return NULL;
}

bool engine_add_asset(struct engine *engine, const struct address *asset)
{
    struct terms *terms = &engine->settings.terms;
    if (engine_terms(engine, asset) != NULL)
        return true;
    if (terms->asset_count == ASSETS_MAX)
        return false;
    terms->assets[terms->asset_count] = engine->settings.asset_terms;
    terms->assets[terms->asset_count++].asset = *asset;
    return true;
}

static uint64_t hash_of(const struct engine *engine, const void *key, size_t length)
{
    return index_hash(engine->settings.seed, key, length);
}

struct hub_channel *engine_channel(const struct engine *engine, const struct hash *id)
{
    struct index_walk walk = index_walk(&engine->channels_by_id, hash_of(engine, id, sizeof(*id)));
    struct hub_channel *channel;
    do
        channel = index_next(&engine->channels_by_id, &walk);
    while (channel != NULL && !hash_equal(&channel->channel->id, id));
    return channel;
}

struct registration *engine_registration(const struct engine *engine, uint8_t kind,
                                         const struct hash *condition)
{
    struct condition_key key = {kind, *condition};
    struct registration *registration;
    HASH_FIND(hh, engine->registrations, &key, sizeof(key), registration);
    return registration;
}

struct registration *engine_add_registration(struct engine *engine, uint8_t kind,
                                             const struct hash *condition)
{
    struct registration *registration = xcalloc(1, sizeof(*registration));
    registration->key = (struct condition_key){kind, *condition};
    HASH_ADD(hh, engine->registrations, key, sizeof(registration->key), registration);
    return registration;
}

struct channel_view engine_view(const struct engine *engine, const struct hub_channel *channel)
{
    struct channel_view view = engine->view;
    view.now = engine->head.confirmed_time;
    view.peer = channel->client->address;
    return view;
}

struct client *engine_find_client(const struct engine *engine, const struct address *address)
{
    struct index_walk walk = index_walk(&engine->clients, hash_of(engine, address, sizeof(*address)));
    struct client *client;
    do
        client = index_next(&engine->clients, &walk);
    while (client != NULL && !address_equal(&client->address, address));
    return client;
}

struct client *engine_client(struct engine *engine, const struct address *address)
{
    struct client *client = engine_find_client(engine, address);
    if (client == NULL) {
        client = slab_take(&engine->client_slab);
        client->address = *address;
        index_add(&engine->clients, hash_of(engine, address, sizeof(*address)), client);
        engine->figures.clients++;
    }
    return client;
}

void engine_forget_client(struct engine *engine, struct client *client)
{
    ensure(client->peer == 0 && client->channels == NULL);
    index_remove(&engine->clients, hash_of(engine, &client->address, sizeof(client->address)), client);
    slab_give(&engine->client_slab, client);
    engine->figures.clients--;
}

struct client *engine_client_online(const struct engine *engine, uint64_t peer)
{
    struct index_walk walk = index_walk(&engine->clients_by_peer, hash_of(engine, &peer, sizeof(peer)));
    struct client *client;
    do
        client = index_next(&engine->clients_by_peer, &walk);
    while (client != NULL && client->peer != peer);
    return client;
}

void engine_set_peer(struct engine *engine, struct client *client, uint64_t peer)
{
    if (client->peer != 0)
        index_remove(&engine->clients_by_peer, hash_of(engine, &client->peer, sizeof(client->peer)), client);
    client->peer = peer;
    if (peer != 0)
        index_add(&engine->clients_by_peer, hash_of(engine, &peer, sizeof(peer)), client);
}

struct hub_channel *engine_add_channel(struct engine *engine, struct channel *machine)
{
    ensure(engine_channel(engine, &machine->id) == NULL);
    struct hub_channel *channel = slab_take(&engine->channel_slab);
    channel->channel = machine;
    channel->counted = engine->count.phase; /* it was not there when a count began */
    channel->client = engine_client(engine, &machine->key.client);
    struct hub_channel **place = &channel->client->channels;
    while (*place != NULL && (*place)->used)
        place = &(*place)->next_of_client;
    channel->next_of_client = *place;
    *place = channel;
    index_add(&engine->channels_by_id, hash_of(engine, &machine->id, sizeof(machine->id)), channel);
    if (engine->channels_tail == NULL)
        engine->channels = channel;
    else
        engine->channels_tail->next = channel;
    engine->channels_tail = channel;
    engine->figures.channels++;
    return channel;
}

bool channel_is_usable(const struct hub_channel *channel)
{
    return channel->channel->funds.stage == STAGE_OPEN && !channel->channel->stopped &&
           channel->suspended_block == 0;
}

void engine_touch(struct engine *engine, struct hub_channel *channel)
{
    if (channel->dirty)
        return;
    channel->dirty = true;
    if (engine->dirty_count == engine->dirty_capacity) {
        engine->dirty_capacity = engine->dirty_capacity == 0 ? 256 : 2 * engine->dirty_capacity;
        engine->dirty = xrealloc(engine->dirty, engine->dirty_capacity * sizeof(struct hub_channel *));
    }
    engine->dirty[engine->dirty_count++] = channel;
}

static void put_frame(struct engine *engine, uint64_t peer, const struct message *message)
{
    if (engine->frame_count == engine->frame_capacity) {
        engine->frame_capacity = engine->frame_capacity == 0 ? 256 : 2 * engine->frame_capacity;
        engine->frame_marks =
            xrealloc(engine->frame_marks, engine->frame_capacity * sizeof(struct frame_mark));
    }
    size_t offset = engine->frames.length;
    message_encode(&engine->frames, message);
    engine->frame_marks[engine->frame_count++] =
        (struct frame_mark){peer, offset, engine->frames.length - offset};
}

static void end_reveal(struct engine *engine)
{
    if (engine->reveal.count == 0)
        return;
    struct message message = {.type = MESSAGE_REVEAL};
    message.reveal.channel = engine->reveal.channel;
    message.reveal.items = engine->reveal.items;
    message.reveal.count = engine->reveal.count;
    engine->reveal.count = 0;
    put_frame(engine, engine->reveal.peer, &message);
}

void engine_emit(struct engine *engine, uint64_t peer, const struct message *message)
{
    if (peer == 0)
        return;
    end_reveal(engine);
    put_frame(engine, peer, message);
}

void engine_emit_reveal(struct engine *engine, struct hub_channel *payer, const struct revealed *item)
{
    uint64_t peer = payer->client->peer;
    if (peer == 0)
        return;
    if (engine->reveal.count == REVEALS_MAX || engine->reveal.peer != peer ||
        !hash_equal(&engine->reveal.channel, &payer->channel->id))
        end_reveal(engine);
    engine->reveal.peer = peer;
    engine->reveal.channel = payer->channel->id;
    engine->reveal.items[engine->reveal.count++] = *item;
}

void engine_emit_error(struct engine *engine, uint64_t peer, enum code code, const char *text,
                       const struct error_reference *reference)
{
    struct message message = {.type = MESSAGE_ERROR};
    if (text == NULL)
        text = code_text(code);
    message.error.code = code;
    message.error.text = (struct text){text, strlen(text)};
    if (reference != NULL)
        message.error.reference = *reference;
    engine->errors_said++;
    engine_emit(engine, peer, &message);
}

uint64_t engine_errors_said(const struct engine *engine)
{
    return engine->errors_said;
}

void engine_emit_call(struct engine *engine, enum engine_call call, uint64_t reference,
                      const struct contract_call *arguments)
{
    if (engine->call_count == engine->call_capacity) {
        engine->call_capacity = engine->call_capacity == 0 ? 16 : 2 * engine->call_capacity;
        engine->call_marks = xrealloc(engine->call_marks, engine->call_capacity * sizeof(struct call_mark));
    }
    size_t offset = engine->calls.length;
    contract_encode_call(&engine->calls, arguments);
    engine->call_marks[engine->call_count++] =
        (struct call_mark){call, reference, offset, engine->calls.length - offset};
}

void engine_time(struct engine *engine, uint64_t now_ms)
{
    if (engine->now_ms == 0)
        appoint_time_begins(engine, now_ms);
    engine->now_ms = now_ms;
    settle_timeouts(engine);
    appoint_time(engine);
}

uint64_t engine_next_timeout(const struct engine *engine)
{
    uint64_t next = engine->settle_phase == SETTLE_COLLECTING ? engine->settle_deadline_ms : UINT64_MAX;
    if (engine->settle_next_ms != 0 && engine->settle_next_ms < next)
        next = engine->settle_next_ms;
    return next;
}

void engine_add_root(struct engine *engine, const struct hash *digest)
{
    struct leaves *leaves = &engine->leaves;
    if (engine->head.confirmed_time > leaves->time)
        leaves->time = engine->head.confirmed_time;
    if (engine->root.count == 0)
        leaves->first_time = leaves->time;
    if (engine->root_taken && engine->root_since.count == 0)
        leaves->since_time = leaves->time;
    journal_root_add(&engine->root, digest);
    if (engine->root_taken)
        journal_root_add(&engine->root_since, digest);
    buffer_append(&leaves->digest, digest->bytes, sizeof(digest->bytes));
    engine->root_dirty = true;
}

void engine_durable(struct engine *engine, uint64_t sequence)
{
    engine->durable = sequence;
    payments_left(&engine->payments, sequence);
}

uint64_t engine_flush(struct engine *engine)
{
    /* Draining one channel may make something due to another, seen or not: walk the growing list until none
     * moves. */
    for (size_t i = 0; i < engine->dirty_count; i++) {
        client_look(engine->dirty[i]);
        window_look(engine, engine->dirty[i]);
    }
    for (size_t i = 0; i < engine->dirty_count; i++)
        forward_held(engine, engine->dirty[i]);
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < engine->dirty_count; i++)
            moved = due_drain(engine, engine->dirty[i]) || moved;
    }
    finish_channels(engine);
    appoint_flush(engine);
    end_reveal(engine);
    engine_write(engine);
    if (engine->batch.length > 0) {
        uint64_t sequence =
            engine->effects.journal(engine->effects.context, engine->batch.data, engine->batch.length);
        ensure(sequence > engine->sequence);
        engine->sequence = sequence;
        buffer_clear(&engine->batch);
    }
    engine_written(engine);
    for (size_t i = 0; i < engine->frame_count; i++)
        engine->effects.send(engine->effects.context, PLANTED(ACKNOWLEDGE_EARLY) ? 0 : engine->sequence,
                             engine->frame_marks[i].peer, engine->frames.data + engine->frame_marks[i].offset,
                             engine->frame_marks[i].length);
    engine->frame_count = 0;
    buffer_clear(&engine->frames);
    transfer_post(engine);
    /* A call may be answered at once, and the answer may ask for another: take the turn's calls out first. */
    struct buffer calls = engine->calls;
    struct call_mark *marks = engine->call_marks;
    size_t count = engine->call_count;
    engine->calls = (struct buffer){0};
    engine->call_marks = NULL;
    engine->call_count = engine->call_capacity = 0;
    for (size_t i = 0; i < count; i++)
        engine->effects.call(engine->effects.context, engine->sequence, marks[i].call, marks[i].reference,
                             calls.data + marks[i].offset, marks[i].length);
    buffer_free(&calls);
    free(marks);
    return engine->sequence;
}

/* The reference of an ERROR about a message of a channel. */
static struct error_reference about(uint64_t type, const struct hash *channel)
{
    return (struct error_reference){.present = true, .type = type, .has_channel = true, .channel = *channel};
}

/* The channel of a client's message, if it is that client's; else ERROR CHANNEL and NULL. */
static struct hub_channel *own_channel(struct engine *engine, struct client *client,
                                       const struct message *message, const struct hash *id)
{
    /* Most clients have one channel, and it is at hand. */
    struct hub_channel *channel = client->channels;
    if (channel == NULL || !hash_equal(&channel->channel->id, id))
        channel = engine_channel(engine, id);
    if (channel != NULL && channel->client == client)
        return channel;
    struct error_reference reference = about(message->type, id);
    if (message->type == MESSAGE_UPDATE) {
        reference.has_nonce = true;
        reference.nonce = message->update.proof.nonce;
    }
    engine_emit_error(engine, client->peer, CODE_CHANNEL, NULL, &reference);
    return NULL;
}

static void message_ack(struct engine *engine, struct hub_channel *channel, uint64_t nonce)
{
    if (window_acknowledged(engine, channel, nonce) != CODE_OK) {
        struct error_reference reference = about(MESSAGE_ACK, &channel->channel->id);
        reference.has_nonce = true;
        reference.nonce = nonce;
        engine_emit_error(engine, channel->client->peer, CODE_NONCE, NULL, &reference);
        return;
    }
    if (channel->due_head != NULL || channel->held_head != NULL)
        engine_touch(engine, channel); /* the window may have opened for it */
}

static void message_error(struct engine *engine, struct client *client, const struct message *message)
{
    const struct error_reference *reference = &message->error.reference;
    if (message->error.code != CODE_SETTLE || !reference->present || !reference->has_channel)
        return; /* what a client says of us is for the log; the shell writes it */
    struct hub_channel *channel = engine_channel(engine, &reference->channel);
    if (channel != NULL && channel->client == client)
        settle_refused(engine, channel, reference->has_nonce ? reference->nonce : 0);
}

void engine_message(struct engine *engine, uint64_t peer, const struct message *message)
{
    engine->went_ahead = message->type == MESSAGE_REVEAL || message->type == MESSAGE_ACK;
    if (peer <= ENGINE_PEER_TOWER_LAST) {
        if (message->type == MESSAGE_RECEIPT)
            appoint_receipt(engine, peer - ENGINE_PEER_TOWER, message);
        else if (message->type == MESSAGE_ERROR)
            appoint_refused(engine, peer - ENGINE_PEER_TOWER, message);
        return;
    }
    struct client *client = engine_client_online(engine, peer);
    if (client == NULL)
        return; /* its link is gone already */
    if (message->type == MESSAGE_ERROR) {
        message_error(engine, client, message);
        return;
    }
    if (message->type == MESSAGE_OPEN_REQUEST) {
        settle_open_request(engine, client, &message->open_request.asset, message->open_request.inbound);
        return;
    }
    if (message->type == MESSAGE_RESUME) {
        client_message_resume(engine, client, message);
        return;
    }
    /* All others begin with the channel. */
    const struct hash *id = message->type == MESSAGE_UPDATE           ? &message->update.channel
                            : message->type == MESSAGE_ACK            ? &message->ack.channel
                            : message->type == MESSAGE_REVEAL         ? &message->reveal.channel
                            : message->type == MESSAGE_FAIL           ? &message->fail.channel
                            : message->type == MESSAGE_REVOKE         ? &message->revoke.channel
                            : message->type == MESSAGE_SETTLE_REQUEST ? &message->settle_request.channel
                            : message->type == MESSAGE_SETTLE_SIGN    ? &message->settle_sign.channel
                                                                      : NULL;
    if (id == NULL)
        return;
    struct hub_channel *channel = own_channel(engine, client, message, id);
    if (channel == NULL)
        return;
    if (message->type == MESSAGE_UPDATE)
        forward_update(engine, channel, &message->update);
    else if (message->type == MESSAGE_ACK)
        message_ack(engine, channel, message->ack.nonce);
    else if (message->type == MESSAGE_REVEAL)
        outcome_reveal(engine, channel, message);
    else if (message->type == MESSAGE_FAIL)
        outcome_fail(engine, channel, message);
    else if (message->type == MESSAGE_REVOKE)
        outcome_revoke(engine, channel, message);
    else if (message->type == MESSAGE_SETTLE_REQUEST)
        settle_request(engine, channel, message->settle_request.amount, message->settle_request.close);
    else
        settle_sign(engine, channel, message->settle_sign.seq, &message->settle_sign.signature);
}

bool engine_can_wait(const struct engine *engine)
{
    return engine->went_ahead && engine->dirty_count == 0 && engine->frame_count == 0 &&
           engine->reveal.count == 0 && engine->call_count == 0;
}

struct engine_figures engine_figures(const struct engine *engine)
{
    struct engine_figures figures = engine->figures;
    figures.clients_online = engine->clients_by_peer.count;
    figures.payments_kept = payments_under_way(&engine->payments);
    figures.block_confirmed = engine->head.confirmed_number;
    return figures;
}

/* The lock of a payment that stands is there, and that payment's, if its channel is one whose locks still change. */
static bool lock_stands(const struct engine *engine, const struct leg *leg, enum side side, uint64_t lock_id,
                        struct amount amount)
{
    const struct hub_channel *channel = engine_channel(engine, &leg->channel);
    if (channel == NULL)
        return false;
    if (channel->channel->funds.stage != STAGE_OPEN || lock_id == 0)
        return true;
    const struct lock_set *locks = channel->channel->streams[side].locks;
    const struct pending_lock *lock = locks == NULL ? NULL : lock_set_find(locks, lock_id);
    return lock != NULL && lock->lock.amount.units == amount.units &&
           payment_id_equal(&lock->payment, &leg->id);
}

static bool is_under_way(const struct payment *payment)
{
    return payment->state == PAYMENT_WAITING || payment->state == PAYMENT_SIGNED ||
           payment->state == PAYMENT_OFFERED || payment->state == PAYMENT_FORWARDED ||
           payment->state == PAYMENT_CANCELLING;
}

/* NULL, or what does not fit. */
static const char *payment_contradiction(const struct engine *engine, const struct payment *payment)
{
    struct amount both;
    if (!amount_add(payment->amount, payment->fee, &both))
        return "a payment's amount and fee are more than an amount can be";
    if (payment->queued != (payment->due != DUE_NOTHING))
        return "a payment is due and not queued, or the other way round";
    if ((payment->role == HALF_OF_PAYEE) != (engine_channel(engine, &payment->payer.channel) == NULL))
        return "a payment names a payer's channel that is not there, or is another shard's";
    bool needs_payee =
        payment->role == HALF_OF_PAYEE || (payment->role == PAYMENT_WHOLE && is_under_way(payment));
    if (needs_payee && engine_channel(engine, &payment->payee.channel) == NULL)
        return "a payment under way names a payee's channel that is not there";
    bool waits = payment->state == PAYMENT_WAITING || payment->state == PAYMENT_OFFERED;
    if ((waits && payment->role != HALF_OF_PAYER) != (payment->due == DUE_PAY))
        return "a payment that waits for its payee is not due to it, or the other way round";
    if (!payment->dirty && payment->unrevealed != (payment->leaving == 0 && forward_is_unrevealed(payment)))
        return "a payment without a secret is not counted as one, or the other way round";
    bool stands = payment->state == PAYMENT_FORWARDED || payment->state == PAYMENT_CANCELLING;
    if (stands && payment->role == PAYMENT_WHOLE &&
        !lock_stands(engine, &payment->payer, SIDE_CLIENT, payment->payer_lock, both))
        return "a payment that stands has no such lock of its payer's";
    bool changes_lock =
        payment->due == DUE_UNLOCK || payment->due == DUE_CANCEL || payment->due == DUE_EXPIRE;
    if ((payment->state == PAYMENT_FORWARDED || changes_lock) &&
        (payment->payee_lock == 0 ||
         !lock_stands(engine, &payment->payee, SIDE_HUB, payment->payee_lock, payment->amount)))
        return "a payment that was forwarded has no such lock to its payee";
    return NULL;
}

const char *engine_contradiction(const struct engine *engine)
{
    uint64_t unrevealed = 0;
    for (const struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        wide client = channel_balance(channel->channel, SIDE_CLIENT);
        wide hub = channel_balance(channel->channel, SIDE_HUB);
        if (client + hub != (wide)channel->channel->funds.total.units)
            return "a channel's balances are not its total";
        unrevealed += channel->unrevealed;
    }
    const char *why = NULL;
    size_t at = 0;
    for (const struct payment *payment;
         why == NULL && (payment = payments_each(&engine->payments, &at)) != NULL;) {
        why = payment_contradiction(engine, payment);
        unrevealed -= payment->unrevealed;
    }
    return why == NULL && unrevealed != 0
               ? "channels count more or fewer payments without a secret than there are"
               : why;
}

void engine_check(const struct engine *engine)
{
    const char *why = engine_contradiction(engine);
    if (why != NULL)
        ensure_failed(why, __FILE__, __LINE__);
}
