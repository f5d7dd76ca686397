/* A client's link: what it is shown when it comes (WELCOME, CHANNEL, LOCKS), and what is sent again after
 * RESUME. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"

#define RESUMED_IDS_MAX 16 /* outcomes that a further RESUME on the same link may ask for */

static void show_proof(const struct stream *stream, struct shown_stream *shown)
{
    shown->newest.present = stream->proof.nonce > 0;
    shown->newest.proof = stream->proof;
    shown->newest.signature = stream->signature;
    shown->last_lock_id = stream->last_lock_id;
    const struct dropped *dropped = stream_dropped(stream);
    shown->revocation.present = dropped->revoked_nonce > 0;
    shown->revocation.min_nonce = dropped->revoked_nonce;
    shown->revocation.signature = dropped->revocation;
}

static void emit_locks(struct engine *engine, struct hub_channel *channel, enum side side)
{
    const struct lock_set *locks = channel->channel->streams[side].locks;
    size_t left = lock_set_count(locks);
    if (left == 0)
        return;
    struct shown_lock shown[LOCKS_PER_MESSAGE_MAX];
    uint64_t after = 0;
    while (left > 0) {
        size_t count = 0;
        while (count < LOCKS_PER_MESSAGE_MAX && left > 0) {
            const struct pending_lock *pending = lock_set_next(locks, after);
            ensure(pending != NULL);
            after = pending->lock.id;
            shown[count++] = (struct shown_lock){pending->lock, pending->payment};
            left--;
        }
        struct message message = {.type = MESSAGE_LOCKS};
        message.locks.channel = channel->channel->id;
        message.locks.stream = (uint8_t)side;
        message.locks.locks = shown;
        message.locks.count = count;
        message.locks.last = left == 0;
        engine_emit(engine, channel->client->peer, &message);
    }
}

/* CHANNEL and its LOCKS. No draft may be open: what is shown is what is signed. */
void client_announce(struct engine *engine, struct hub_channel *channel)
{
    const struct channel *machine = channel->channel;
    ensure(!channel_has_draft(machine));
    struct message message = {.type = MESSAGE_CHANNEL};
    message.channel.key = machine->key;
    message.channel.total = machine->funds.total;
    message.channel.base = machine->funds.base;
    message.channel.seq = machine->funds.seq;
    message.channel.status = machine->funds.stage;
    const struct settlement *settlement = channel_settlement(machine);
    if (settlement->phase != SETTLEMENT_NONE) {
        message.channel.settlement = (struct shown_settlement){
            .present = true,
            .seq = settlement->seq,
            .client_out = settlement->client_out,
            .hub_out = settlement->hub_out,
            .deadline = settlement->deadline,
            .close = settlement->close,
            .has_signature = settlement->phase == SETTLEMENT_SIGNED,
            .signature = settlement->signature,
        };
    }
    struct shown_drop *drops[2];
    for (int side = 0; side < 2; side++) {
        const struct stream *stream = &machine->streams[side];
        struct shown_stream *shown = &message.channel.streams[side];
        show_proof(stream, shown);
        const struct dropped *dropped = stream_dropped(stream);
        drops[side] = xcalloc(dropped->drop_count, sizeof(struct shown_drop));
        for (size_t i = 0; i < dropped->drop_count; i++)
            drops[side][i] = (struct shown_drop){dropped->drops[i].nonce, dropped->drops[i].amount};
        shown->drops = drops[side];
        shown->drop_count = dropped->drop_count;
    }
    engine_emit(engine, channel->client->peer, &message);
    free(drops[0]);
    free(drops[1]);
    emit_locks(engine, channel, SIDE_CLIENT);
    emit_locks(engine, channel, SIDE_HUB);
    channel->announced = true;
    channel->unanswered = settlement->phase == SETTLEMENT_PROPOSED;
    channel->funds_changed = false;
}

static bool is_shown(const struct hub_channel *channel)
{
    return channel->channel->funds.stage == STAGE_OPEN || channel->channel->funds.stage == STAGE_CLOSING;
}

/* ---- a client's channels ----
 *
 * Anybody can open channels for anybody, with a deposit of one unit each. So those that were ever used stand in front: in
 * which somebody has signed, or the hub has had money, or that the ledger has seen closed. The others neither hide them nor
 * cost a walk. */

static bool has_been_used(const struct hub_channel *channel)
{
    const struct channel *machine = channel->channel;
    return machine->begun != 0 || machine->funds.stage != STAGE_OPEN ||
           (wide)machine->funds.total.units != machine->funds.base;
}

void client_look(struct hub_channel *channel)
{
    if (channel->used || !has_been_used(channel))
        return;
    struct hub_channel **at = &channel->client->channels;
    while (*at != channel)
        at = &(*at)->next_of_client;
    *at = channel->next_of_client;
    channel->next_of_client = channel->client->channels;
    channel->client->channels = channel;
    channel->used = true;
}

void client_sort(struct client *client)
{
    struct hub_channel *used = NULL, *others = NULL, **used_end = &used, **others_end = &others, *next;
    for (struct hub_channel *at = client->channels; at != NULL; at = next) {
        next = at->next_of_client;
        at->next_of_client = NULL;
        at->used = at->used || has_been_used(at);
        struct hub_channel ***end = at->used ? &used_end : &others_end;
        **end = at;
        *end = &at->next_of_client;
    }
    *used_end = others;
    client->channels = used;
}

/* The used ones first, those with more money in them before those with less. */
static int compare_importance(const void *left, const void *right)
{
    const struct hub_channel *a = *(struct hub_channel *const *)left,
                             *b = *(struct hub_channel *const *)right;
    if (a->used != b->used)
        return a->used ? -1 : 1;
    int totals = amount_compare(b->channel->funds.total, a->channel->funds.total);
    return totals != 0 ? totals : memcmp(&a->channel->id, &b->channel->id, sizeof(struct hash));
}

/* Rather too much. */
static size_t shown_bytes(const struct hub_channel *channel)
{
    static const size_t head = 256, proof = 192, promise = 80, drop = 20, lock = 96;
    size_t bytes = head;
    for (int side = 0; side < 2; side++) {
        const struct stream *stream = &channel->channel->streams[side];
        const struct dropped *dropped = stream_dropped(stream);
        bytes += (stream->proof.nonce > 0 ? proof : 0) + (dropped->revoked_nonce > 0 ? promise : 0) +
                 drop * dropped->drop_count + lock * lock_set_count(stream->locks);
    }
    return bytes;
}

/* The channels that the client is shown, the most important ones first; the caller frees them. */
static struct hub_channel **choose_shown(const struct client *client, size_t *count)
{
    struct hub_channel **shown = NULL;
    size_t capacity = 0, bytes = 0, chosen = 0;
    *count = 0;
    for (struct hub_channel *at = client->channels; at != NULL; at = at->next_of_client) {
        if (!is_shown(at))
            continue;
        if (*count == capacity) {
            capacity = capacity == 0 ? 8 : 2 * capacity;
            shown = xrealloc(shown, capacity * sizeof(struct hub_channel *));
        }
        shown[(*count)++] = at;
    }
    if (*count > 1)
        qsort(shown, *count, sizeof(struct hub_channel *), compare_importance);
    while (chosen < *count && chosen < CHANNELS_SHOWN_MAX) {
        bytes += shown_bytes(shown[chosen]);
        if (bytes > SHOWN_BYTES_MAX)
            break;
        chosen++;
    }
    if (chosen < *count)
        log_debug("a client has %zu channels and is shown %zu", *count, chosen);
    *count = chosen;
    return shown;
}

/* ---- coming and going ---- */

static void take_offline(struct engine *engine, struct client *client)
{
    engine_set_peer(engine, client, 0);
    window_end(client);
    for (struct hub_channel *channel = client->channels; channel != NULL; channel = channel->next_of_client) {
        channel->announced = channel->resumed = channel->unanswered = false;
        channel->ack_due = false;
        forward_forget_held(engine, channel);
    }
}

void engine_connected(struct engine *engine, uint64_t peer, const struct address *address)
{
    ensure(peer > ENGINE_PEER_TOWER_LAST);
    engine_flush(engine); /* what is shown below must be sealed and journaled */
    struct client *client = engine_client(engine, address);
    if (client->peer != 0) {
        uint64_t older = client->peer;
        take_offline(engine, client);
        engine->effects.disconnect(engine->effects.context, older, CODE_REPLACED);
    }
    engine_set_peer(engine, client, peer);

    struct message message = {.type = MESSAGE_WELCOME};
    message.welcome.terms = &engine->settings.terms;
    size_t count;
    struct hub_channel **shown = choose_shown(client, &count);
    message.welcome.channels = count;
    engine_emit(engine, peer, &message);
    for (size_t i = 0; i < count; i++)
        client_announce(engine, shown[i]);
    free(shown);
}

void client_forget_if_idle(struct engine *engine, struct client *client)
{
    if (client->peer == 0 && client->channels == NULL)
        engine_forget_client(engine, client);
}

void client_drop(struct engine *engine, struct client *client, enum code code)
{
    uint64_t peer = client->peer;
    if (peer == 0)
        return;
    take_offline(engine, client);
    engine->effects.disconnect(engine->effects.context, peer, code);
}

void engine_disconnected(struct engine *engine, uint64_t peer)
{
    struct client *client = engine_client_online(engine, peer);
    if (client == NULL)
        return; /* replaced by a newer link */
    take_offline(engine, client);
    client_forget_if_idle(engine, client);
}

static void resend_revocation(struct engine *engine, struct hub_channel *channel)
{
    const struct dropped *dropped = stream_dropped(channel_peer(channel->channel));
    if (dropped->revoked_nonce == 0)
        return;
    struct message message = {.type = MESSAGE_REVOKE};
    message.revoke.channel = channel->channel->id;
    message.revoke.min_nonce = dropped->revoked_nonce;
    message.revoke.signature = dropped->revocation;
    engine_emit(engine, channel->client->peer, &message);
}

void client_message_resume(struct engine *engine, struct client *client, const struct message *message)
{
    struct hub_channel *channel = engine_channel(engine, &message->resume.channel);
    struct error_reference reference = {
        .present = true, .type = MESSAGE_RESUME, .has_channel = true, .channel = message->resume.channel};
    if (channel == NULL || channel->client != client || !channel->announced) {
        engine_emit_error(engine, client->peer, CODE_CHANNEL, NULL, &reference);
        return;
    }
    if (window_acknowledged(engine, channel, message->resume.received) != CODE_OK) {
        reference.has_nonce = true;
        reference.nonce = message->resume.received;
        engine_emit_error(engine, client->peer, CODE_NONCE,
                          "you say you have an update that was never signed: your copy or ours is not whole",
                          &reference);
        return;
    }
    size_t asked = message->resume.count;
    if (channel->resumed) {
        /* Once on a link: nobody makes the hub send the same, or look for outcomes, over and over. */
        engine->errors_said++;
        asked = asked < RESUMED_IDS_MAX ? asked : RESUMED_IDS_MAX;
    } else {
        channel->resumed = true;
        window_begin(engine, channel);
        resend_revocation(engine, channel);
        outcome_revoke_due(engine, channel); /* it may have waited for a tower that is no longer there */
    }
    recall_outcomes(engine, channel, message->resume.ids, asked);
    engine_touch(engine, channel); /* direct payments may have waited for this client */
    due_wake(engine, client);
}
