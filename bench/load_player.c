/* One client: what it is shown, what it signs, what it accepts. */
#include <string.h>

#include "base/ensure.h"
#include "bench/load_state.h"
#include "crypto/lock.h"

#define EXPIRY_SLACK_S 60 /* the hub's view of the time may be a little ahead of ours */

/* ---- coming online ---- */

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    struct player *player = context;
    struct load *load = player->load;
    (void)link;
    (void)peer;
    uint64_t expected = load->settings.channels ? 1 : 0;
    if (welcome->welcome.channels != expected) {
        load_fail(load, "the hub shows a client %llu channels, not %llu",
                  (unsigned long long)welcome->welcome.channels, (unsigned long long)expected);
        return;
    }
    if (load->asset == NULL && expected > 0) {
        load->terms = *welcome->welcome.terms;
        for (size_t i = 0; i < load->terms.asset_count; i++)
            if (address_equal(&load->terms.assets[i].asset, &player->who->channel.asset))
                load->asset = &load->terms.assets[i];
        if (load->asset == NULL) {
            load_fail(load, "the hub does not serve the asset");
            return;
        }
    }
    player->stage = PLAYER_SHOWN;
    if (expected == 0)
        load_player_online(player);
    else
        player->channel->reserve_bps = load->asset->reserve_bps;
}

static void shown(struct player *player, const struct message *message)
{
    struct load *load = player->load;
    struct hash id = channel_id(&message->channel.key);
    if (player->stage != PLAYER_SHOWN || !hash_equal(&id, &player->channel->id) ||
        message->channel.streams[SIDE_CLIENT].newest.present ||
        message->channel.streams[SIDE_HUB].newest.present) {
        load_fail(load, "the hub shows a client a channel that is not as it was opened");
        return;
    }
    channel_set_told(player->channel, &(struct channel_funds){.total = message->channel.total,
                                                              .base = message->channel.base,
                                                              .seq = message->channel.seq,
                                                              .stage = message->channel.status});
    struct message resume = {.type = MESSAGE_RESUME, .resume = {.channel = player->channel->id}};
    link_send(player->link, &resume);
    load_player_online(player);
}

/* ---- what the hub signs ---- */

static void paid_to(struct player *player, const struct operation *operation)
{
    struct load *load = player->load;
    struct flight *flight = flight_by_condition(load, &operation->condition, player);
    if (flight == NULL || flight->received || flight->locked ||
        amount_compare(flight->amount, operation->amount) != 0) {
        load_fail(load, "the hub paid a client what nobody owed it");
        return;
    }
    flight->received = true;
    flight->payee_id = operation->id;
    player->received += operation->amount.units;
    flight_append(load, &player->reveals, flight, true);
}

static void lock_offered(struct player *player, const struct operation *operation,
                         const struct pending_lock *lock)
{
    struct load *load = player->load;
    struct flight *flight = flight_by_condition(load, &operation->condition, player);
    if (flight == NULL || flight->received || !flight->locked || operation->kind != LOCK_SECRET ||
        amount_compare(flight->amount, lock->lock.amount) != 0 ||
        load->head.confirmed_time + 2 * load->terms.reveal_margin_s >= operation->expiry) {
        load_fail(load, "the hub offered a client a lock that nobody asked for");
        return;
    }
    flight->payee_id = operation->id;
    flight_append(load, &player->reveals, flight, true);
}

static void lock_unlocked(struct player *player, const struct pending_lock *lock)
{
    struct load *load = player->load;
    struct flight *flight = flight_by_condition(load, &lock->lock.condition, player);
    if (flight == NULL || flight->received) {
        load_fail(load, "the hub unlocked what was unlocked before");
        return;
    }
    flight->received = true;
    player->received += lock->lock.amount.units;
    flight_end(load, flight);
}

static void refunded(struct player *player, const struct operation *operation)
{
    struct load *load = player->load;
    struct flight *flight = flight_by_id(load, &operation->id, player);
    if (flight == NULL || flight->locked || flight->received || flight->state != FLIGHT_SENT ||
        operation->amount.units != flight->amount.units + flight->fee.units) {
        load_fail(load, "the hub refunded what it did not owe");
        return;
    }
    flight_failed(load, flight, operation->code);
    flight->state = FLIGHT_OVER;
    flight_end(load, flight);
    plan_next(player);
}

static void act(struct player *player, const struct operation *operation, const struct pending_lock *touched)
{
    switch (operation->type) {
    case OPERATION_PAY:
        paid_to(player, operation);
        return;
    case OPERATION_LOCK:
        lock_offered(player, operation, touched);
        return;
    case OPERATION_UNLOCK:
        lock_unlocked(player, touched);
        return;
    case OPERATION_REFUND:
        refunded(player, operation);
        return;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        load_fail(player->load, "the hub dropped a lock that its payee would have paid for");
        return;
    }
}

static void updated(struct player *player, const struct update *update)
{
    struct load *load = player->load;
    const struct operation *operations = NULL;
    size_t count = 0;
    bool body_ok = body_decode(load->decoder, update->body, update->body_length, &operations, &count);
    struct channel_view view = load_view(load);
    struct judgement judgement =
        channel_receive(player->channel, &view, update, operations, count, body_ok, load->pending);
    atomic_fetch_add_explicit(&load->share->signatures_checked, 1, memory_order_relaxed);
    if (judgement.verdict != VERDICT_ACCEPTED) {
        load_fail(load, "an update of the hub breaks a rule: %s",
                  judgement.verdict == VERDICT_AGAIN ? "it came twice" : code_text(judgement.code));
        return;
    }
    for (size_t i = 0; i < count && !load->failed; i++)
        act(player, &operations[i], &load->pending[i]);
    player->ack_due = true;
    load_touch(player);
}

/* ---- receipts ---- */

static bool is_secret_of(const struct witness *witness, const struct flight *flight)
{
    if (witness->length != WITNESS_SECRET_BYTES)
        return false;
    struct hash hash = condition_of_secret(witness->bytes);
    return hash_equal(&hash, &flight->condition);
}

static void revealed(struct player *player, const struct revealed *item)
{
    struct load *load = player->load;
    struct flight *flight = flight_by_id(load, &item->id, player);
    if (flight == NULL || flight->state != FLIGHT_SENT || !is_secret_of(&item->witness, flight)) {
        load_fail(load, "the hub showed a receipt that is none");
        return;
    }
    atomic_fetch_add_explicit(&load->share->receipts_checked, 1, memory_order_relaxed);
    flight_receipted(load, flight);
    if (flight->locked) {
        flight->state = FLIGHT_UNLOCK;
        flight_append(load, &player->waiting, flight, false);
        load_touch(player);
    } else {
        flight->state = FLIGHT_OVER;
        flight_end(load, flight);
    }
    plan_next(player);
}

static void lock_failed(struct player *player, const struct failed *item)
{
    struct load *load = player->load;
    struct flight *flight = flight_by_id(load, &item->id, player);
    if (flight == NULL || !flight->locked || flight->state != FLIGHT_SENT ||
        channel_fail_received(player->channel, &item->id) == NULL) {
        load_fail(load, "the hub failed a lock that it does not have");
        return;
    }
    flight->state = FLIGHT_CANCEL;
    flight_failed(load, flight, item->code);
    flight_append(load, &player->waiting, flight, false);
    load_touch(player);
    plan_next(player);
}

/* ---- messages ---- */

static void acknowledged(struct player *player, uint64_t nonce)
{
    if (channel_acknowledged(player->channel, nonce) != CODE_OK)
        load_fail(player->load, "the hub acknowledged what was never signed");
    else if (player->waiting.count > 0)
        load_touch(player); /* it may have waited for the window */
}

static void revoked(struct player *player, const struct message *message)
{
    struct channel_view view = load_view(player->load);
    if (channel_revocation_received(player->channel, &view, message->revoke.min_nonce,
                                    &message->revoke.signature, NULL) != CODE_OK)
        load_fail(player->load, "the hub's revocation is not good");
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct player *player = context;
    struct load *load = player->load;
    (void)link;
    if (load->failed || load->leaving)
        return;
    if (message->type == MESSAGE_ERROR) {
        load_fail(load, "the hub said %s: %.*s", code_name(message->error.code),
                  (int)message->error.text.length, message->error.text.data);
    } else if (player->channel == NULL) {
        load_fail(load, "%s came to a client without a channel", message_name(message->type));
    } else if (message->type == MESSAGE_UPDATE) {
        updated(player, &message->update);
    } else if (message->type == MESSAGE_REVEAL) {
        for (size_t i = 0; i < message->reveal.count && !load->failed; i++)
            revealed(player, &message->reveal.items[i]);
    } else if (message->type == MESSAGE_FAIL) {
        for (size_t i = 0; i < message->fail.count && !load->failed; i++)
            lock_failed(player, &message->fail.items[i]);
    } else if (message->type == MESSAGE_ACK) {
        acknowledged(player, message->ack.nonce);
    } else if (message->type == MESSAGE_CHANNEL) {
        shown(player, message);
    } else if (message->type == MESSAGE_REVOKE) {
        revoked(player, message);
    } else if (message->type != MESSAGE_FUNDED) {
        load_fail(load, "%s was not expected", message_name(message->type));
    }
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct player *player = context;
    (void)link;
    (void)why;
    player->link = NULL;
    load_fail(player->load, "a client lost its connection: %s", reason);
}

void player_connect(struct player *player)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    const struct load_settings *settings = &player->load->settings;
    const struct link_client_options options = {.host = settings->hub_host,
                                                .port = settings->hub_port,
                                                .key = player->who->key,
                                                .chain_id = player->load->domain.chain_id,
                                                .contract = settings->contract,
                                                .server = settings->hub,
                                                .agent = "rill-bench"};
    player->stage = PLAYER_CONNECTING;
    player->link = link_connect(player->load->base, &options, &callbacks, player);
}

/* ---- a turn ---- */

static struct operation operation_of(const struct load *load, const struct flight *flight)
{
    if (flight->state == FLIGHT_CANCEL)
        return (struct operation){.type = OPERATION_CANCEL, .lock_id = flight->lock_id};
    if (flight->state == FLIGHT_UNLOCK) {
        struct operation operation = {
            .type = OPERATION_UNLOCK, .lock_id = flight->lock_id, .witness.length = WITNESS_SECRET_BYTES};
        memcpy(operation.witness.bytes, flight->secret, WITNESS_SECRET_BYTES);
        return operation;
    }
    return (struct operation){.type = flight->locked ? OPERATION_LOCK : OPERATION_PAY,
                              .id = flight->id,
                              .peer = load->players[flight->payee].address,
                              .amount = flight->amount,
                              .fee = flight->fee,
                              .expiry = load->head.confirmed_time + load->terms.min_expiry_s + EXPIRY_SLACK_S,
                              .condition = flight->condition,
                              .kind = LOCK_SECRET};
}

/* Puts the first of what waits into the draft. False: it does not fit, or must not. */
static bool draft_first(struct player *player, const struct channel_view *view)
{
    struct load *load = player->load;
    struct flight *flight = &load->flights[player->waiting.first];
    struct operation operation = operation_of(load, flight);
    struct pending_lock touched;
    enum code code = channel_add(player->channel, view, &operation, &touched);
    if (code == CODE_LIMIT && channel_has_draft(player->channel))
        return false;
    if (code != CODE_OK) {
        load_fail(load, "a client cannot sign its payment: %s", code_text(code));
        return false;
    }
    (void)flight_take(load, &player->waiting, false);
    if (flight->state == FLIGHT_PAY && flight->locked)
        flight->lock_id = touched.lock.id;
    flight->state = flight->state == FLIGHT_PAY ? FLIGHT_SENT : FLIGHT_OVER;
    flight_end(load, flight); /* an unlock of what the payee has already */
    return true;
}

static void seal(struct player *player)
{
    struct load *load = player->load;
    size_t count;
    const struct operation *operations = channel_draft(player->channel, &count);
    buffer_clear(&load->body);
    body_encode(&load->body, operations, count);
    const struct kept_update *kept =
        channel_seal(player->channel, &load->domain, &player->who->key, load->body.data, load->body.length);
    struct message message = {.type = MESSAGE_UPDATE};
    message.update =
        (struct update){player->channel->id, kept->proof, kept->signature, kept->body, kept->body_length};
    link_send(player->link, &message);
    atomic_fetch_add_explicit(&load->share->signatures_made, 1, memory_order_relaxed);
}

static bool window_open(const struct channel *channel)
{
    return channel->streams[SIDE_CLIENT].proof.nonce - channel->acknowledged < UNACKNOWLEDGED_MAX;
}

static void sign_waiting(struct player *player)
{
    struct load *load = player->load;
    struct channel_view view = load_view(load);
    while (player->waiting.count > 0 && !load->failed && window_open(player->channel)) {
        bool more = draft_first(player, &view);
        while (more && load->plan.coalesce && player->waiting.count > 0)
            more = draft_first(player, &view);
        if (channel_has_draft(player->channel))
            seal(player);
    }
}

static void reveal(struct player *player)
{
    struct load *load = player->load;
    while (player->reveals.count > 0) {
        size_t count = 0;
        while (count < OUTCOMES_PER_MESSAGE_MAX && player->reveals.count > 0) {
            struct flight *flight = flight_take(load, &player->reveals, true);
            struct revealed *item = &load->revealed[count++];
            item->id = flight->payee_id;
            item->witness.length = WITNESS_SECRET_BYTES;
            memcpy(item->witness.bytes, flight->secret, WITNESS_SECRET_BYTES);
        }
        struct message message = {.type = MESSAGE_REVEAL};
        message.reveal.channel = player->channel->id;
        message.reveal.items = load->revealed;
        message.reveal.count = count;
        link_send(player->link, &message);
    }
}

void player_turn(struct player *player)
{
    if (player->link == NULL || player->stage != PLAYER_ONLINE)
        return;
    if (player->waiting.count > 0)
        sign_waiting(player);
    if (player->ack_due) {
        player->ack_due = false;
        struct message ack = {.type = MESSAGE_ACK};
        ack.ack.channel = player->channel->id;
        ack.ack.nonce = channel_peer(player->channel)->proof.nonce;
        link_send(player->link, &ack);
    }
    reveal(player);
}
