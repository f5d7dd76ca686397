/* Sees every frame that leaves anybody, in the order in which they leave, and remembers for ever what they bind their
 * signers to: a crash must not make anybody say something else. */
#include <uthash.h>

#include "tests/sim/observer.h"

/* What was said under a number that may be used once. */
struct sim_seen {
    struct {
        struct hash channel;
        uint64_t what, nonce; /* a message's type, and whose */
    } key;
    struct hash bytes;
    uint64_t deadline; /* SETTLE_SIGN */
    UT_hash_handle hh;
};

struct sim_stream *observer_stream(struct sim *sim, const struct hash *channel)
{
    struct sim_stream *stream;
    HASH_FIND(hh, sim->streams, channel, sizeof(*channel), stream);
    return stream;
}

static struct sim_stream *stream_make(struct sim *sim, const struct hash *channel, unsigned client)
{
    struct sim_stream *stream = observer_stream(sim, channel);
    if (stream != NULL)
        return stream;
    stream = xcalloc(1, sizeof(*stream));
    stream->channel = *channel;
    stream->client = client;
    HASH_ADD(hh, sim->streams, channel, sizeof(stream->channel), stream);
    return stream;
}

static struct sim_seen *seen_find(struct sim *sim, const struct hash *channel, uint64_t what, uint64_t nonce)
{
    struct sim_seen *seen, probe;
    memset(&probe.key, 0, sizeof(probe.key));
    probe.key.channel = *channel;
    probe.key.what = what;
    probe.key.nonce = nonce;
    HASH_FIND(hh, sim->seen, &probe.key, sizeof(probe.key), seen);
    return seen;
}

static struct sim_seen *seen_add(struct sim *sim, const struct hash *channel, uint64_t what, uint64_t nonce)
{
    struct sim_seen *seen = xcalloc(1, sizeof(*seen));
    seen->key.channel = *channel;
    seen->key.what = what;
    seen->key.nonce = nonce;
    HASH_ADD(hh, sim->seen, key, sizeof(seen->key), seen);
    return seen;
}

/* Never in two forms. */
static bool say_once(struct sim *sim, const struct hash *channel, enum message_type type, enum side side,
                     uint64_t nonce, const uint8_t *frame, size_t length)
{
    struct hash bytes = keccak256(frame, length);
    uint64_t what = (uint64_t)type << 1 | (uint64_t)side;
    struct sim_seen *seen = seen_find(sim, channel, what, nonce);
    if (seen == NULL) {
        seen_add(sim, channel, what, nonce)->bytes = bytes;
        return true;
    }
    if (!hash_equal(&seen->bytes, &bytes))
        sim_fail(sim, "the %s said two different %s with nonce %llu", side == SIDE_HUB ? "hub" : "client",
                 message_name(type), (unsigned long long)nonce);
    return false;
}

/* ---- updates ---- */

/* By what both have signed and let out, nobody has spent or locked more than it has. */
static void check_sums(struct sim *sim, const struct sim_stream *stream)
{
    struct channel_state state = vault_channel(sim->chain.vault, &stream->channel);
    if (state.status != CHANNEL_OPEN)
        return;
    const struct balance_proof *client = &stream->left[SIDE_CLIENT].proof,
                               *hub = &stream->left[SIDE_HUB].proof;
    wide has_client = (wide)state.base - (wide)client->transferred.units + (wide)hub->transferred.units;
    wide has_hub = (wide)state.total.units - has_client;
    uint64_t bound_client = client->locked.units + frozen_units(stream, SIDE_CLIENT);
    uint64_t bound_hub = hub->locked.units + frozen_units(stream, SIDE_HUB);
    if (has_client < (wide)bound_client)
        sim_fail(sim, "client %u has %lld units and has locked or frozen %llu", stream->client,
                 (long long)has_client, (unsigned long long)bound_client);
    if (has_hub < (wide)bound_hub)
        sim_fail(sim, "the hub has %lld units in client %u's channel and has locked or frozen %llu",
                 (long long)has_hub, stream->client, (unsigned long long)bound_hub);
}

static void update_leaves(struct sim *sim, struct sim_stream *stream, enum side side,
                          const struct update *update, const uint8_t *frame, size_t length)
{
    struct signed_proof *newest = &stream->left[side];
    if (!say_once(sim, &update->channel, MESSAGE_UPDATE, side, update->proof.nonce, frame, length))
        return;
    if (update->proof.nonce != newest->proof.nonce + 1)
        sim_fail(sim, "update %llu leaves the %s after %llu", (unsigned long long)update->proof.nonce,
                 side == SIDE_HUB ? "hub" : "client", (unsigned long long)newest->proof.nonce);
    if (update->proof.transferred.units < newest->proof.transferred.units)
        sim_fail(sim, "update %llu of the %s takes back what was transferred",
                 (unsigned long long)update->proof.nonce, side == SIDE_HUB ? "hub" : "client");
    newest->proof = update->proof;
    newest->signature = update->signature;
    frozen_update(sim, stream, side, update);
    check_sums(sim, stream);
}

/* ---- what somebody says that it has ---- */

static void acknowledges(struct sim *sim, struct sim_stream *stream, enum side sender, uint64_t nonce)
{
    bool cheats = sender == SIDE_HUB ? sim->hub_cheats : sim->wallets[stream->client].cheats;
    if (nonce > stream->left[sender].proof.nonce && cheats)
        return; /* of what was made up */
    if (nonce > stream->left[sender].proof.nonce)
        sim_fail(sim, "update %llu is acknowledged, and never left its signer", (unsigned long long)nonce);
    if (nonce > stream->acknowledged[sender])
        stream->acknowledged[sender] = nonce;
}

/* After a crash as before it: nobody has less than it has acknowledged, or signed and let out. */
static void remembers(struct sim *sim, const struct sim_stream *stream, enum side who, uint64_t own,
                      uint64_t peers)
{
    enum side other = side_other(who);
    if (own < stream->left[who].proof.nonce)
        sim_fail(sim, "the %s has forgotten its update %llu: it says %llu",
                 who == SIDE_HUB ? "hub" : "client", (unsigned long long)stream->left[who].proof.nonce,
                 (unsigned long long)own);
    if (peers < stream->acknowledged[other])
        sim_fail(sim, "the %s has forgotten update %llu, which it acknowledged: it says %llu",
                 who == SIDE_HUB ? "hub" : "client", (unsigned long long)stream->acknowledged[other],
                 (unsigned long long)peers);
}

static void settle_sign_leaves(struct sim *sim, const struct sim_stream *stream,
                               const struct message *message)
{
    const struct hash *channel = &message->settle_sign.channel;
    struct hash bytes =
        keccak256(message->settle_sign.signature.bytes, sizeof(message->settle_sign.signature));
    struct sim_seen *seen = seen_find(sim, channel, MESSAGE_SETTLE_SIGN << 1, message->settle_sign.seq);
    uint64_t time = chain_tip(sim)->time;
    if (seen == NULL)
        seen = seen_add(sim, channel, MESSAGE_SETTLE_SIGN << 1, message->settle_sign.seq);
    else if (!hash_equal(&seen->bytes, &bytes) && time <= seen->deadline)
        sim_fail(sim, "client %u signs a second settlement %u while the first is alive", stream->client,
                 message->settle_sign.seq);
    seen->bytes = bytes;
    seen->deadline = stream->settle_deadline;
}

static void client_says(struct sim *sim, struct sim_stream *stream, const struct message *message,
                        const uint8_t *frame, size_t length)
{
    switch ((int)message->type) {
    case MESSAGE_UPDATE:
        update_leaves(sim, stream, SIDE_CLIENT, &message->update, frame, length);
        return;
    case MESSAGE_ACK:
        acknowledges(sim, stream, SIDE_HUB, message->ack.nonce);
        return;
    case MESSAGE_REVOKE:
        (void)say_once(sim, &stream->channel, MESSAGE_REVOKE, SIDE_CLIENT, message->revoke.min_nonce, frame,
                       length);
        return;
    case MESSAGE_RESUME:
        remembers(sim, stream, SIDE_CLIENT, message->resume.own, message->resume.received);
        return;
    case MESSAGE_SETTLE_SIGN:
        settle_sign_leaves(sim, stream, message);
        return;
    }
}

static void hub_says(struct sim *sim, struct sim_stream *stream, const struct message *message,
                     const uint8_t *frame, size_t length)
{
    const struct shown_stream *shown = message->channel.streams;
    switch ((int)message->type) {
    case MESSAGE_UPDATE:
        update_leaves(sim, stream, SIDE_HUB, &message->update, frame, length);
        return;
    case MESSAGE_ACK:
        acknowledges(sim, stream, SIDE_CLIENT, message->ack.nonce);
        return;
    case MESSAGE_REVOKE:
        (void)say_once(sim, &stream->channel, MESSAGE_REVOKE, SIDE_HUB, message->revoke.min_nonce, frame,
                       length);
        return;
    case MESSAGE_CHANNEL:
        remembers(sim, stream, SIDE_HUB,
                  shown[SIDE_HUB].newest.present ? shown[SIDE_HUB].newest.proof.nonce : 0,
                  shown[SIDE_CLIENT].newest.present ? shown[SIDE_CLIENT].newest.proof.nonce : 0);
        return;
    }
}

/* The channel a message of these is about. */
static bool channel_of(const struct message *message, struct hash *out)
{
    switch ((int)message->type) {
    case MESSAGE_UPDATE:
        *out = message->update.channel;
        return true;
    case MESSAGE_ACK:
        *out = message->ack.channel;
        return true;
    case MESSAGE_REVOKE:
        *out = message->revoke.channel;
        return true;
    case MESSAGE_RESUME:
        *out = message->resume.channel;
        return true;
    case MESSAGE_CHANNEL:
        *out = channel_id(&message->channel.key);
        return true;
    case MESSAGE_SETTLE_SIGN:
        *out = message->settle_sign.channel;
        return true;
    case MESSAGE_SETTLE_PROPOSE:
        *out = message->settle_propose.channel;
        return true;
    default:
        return false;
    }
}

static bool read_frame(struct sim *sim, const struct sim_link *link, const uint8_t *frame, size_t length,
                       struct message *message, struct hash *channel)
{
    const char *why;
    if (link->kind != LINK_HUB)
        return false;
    ensure(message_decode(sim->observing, frame + 4, length - 4, message, &why) == CODE_OK);
    return channel_of(message, channel);
}

void observe_leaving(struct sim *sim, const struct sim_link *link, bool from_client, const uint8_t *frame,
                     size_t length)
{
    struct message message;
    struct hash channel;
    if (sim->options.trace && link->kind == LINK_HUB) {
        const char *why;
        ensure(message_decode(sim->observing, frame + 4, length - 4, &message, &why) == CODE_OK);
        sim_trace(sim, "%s %s on %llu: %zu bytes", from_client ? "client says" : "hub says",
                  message_name(message.type), (unsigned long long)link->number, length);
    }
    for (size_t i = 0; i < length; i++)
        sim->trace_hash = (sim->trace_hash ^ frame[i]) * 1099511628211u;
    if (link->kind != LINK_HUB && !from_client)
        receipt_leaves(sim, link, frame, length);
    if (!read_frame(sim, link, frame, length, &message, &channel))
        return;
    struct sim_stream *stream = stream_make(sim, &channel, link->client);
    if (from_client)
        client_says(sim, stream, &message, frame, length);
    else
        hub_says(sim, stream, &message, frame, length);
}

void observe_arriving(struct sim *sim, const struct sim_link *link, bool at_server, const uint8_t *frame,
                      size_t length)
{
    struct message message;
    struct hash channel;
    if (!read_frame(sim, link, frame, length, &message, &channel))
        return;
    struct sim_stream *stream = stream_make(sim, &channel, link->client);
    if (message.type == MESSAGE_SETTLE_PROPOSE)
        stream->settle_deadline = message.settle_propose.deadline;
    else if (message.type == MESSAGE_CHANNEL && message.channel.settlement.present)
        stream->settle_deadline = message.channel.settlement.deadline;
    if (message.type == MESSAGE_REVOKE)
        frozen_revoked(stream, at_server ? SIDE_HUB : SIDE_CLIENT, message.revoke.min_nonce);
    if (message.type == MESSAGE_CHANNEL && message.channel.streams[SIDE_CLIENT].revocation.present)
        frozen_revoked(stream, SIDE_CLIENT, message.channel.streams[SIDE_CLIENT].revocation.min_nonce);
    if (message.type != MESSAGE_UPDATE)
        return;
    enum side side = at_server ? SIDE_CLIENT : SIDE_HUB;
    struct signed_proof *arrived = &stream->arrived[side];
    if (message.update.proof.nonce <= arrived->proof.nonce) {
        sim_count(sim, FAULT_DUPLICATE);
        return;
    }
    arrived->proof = message.update.proof;
    arrived->signature = message.update.signature;
}

/* ---- the ledger ---- */

static void trace_event(struct sim *sim, const struct contract_event *event)
{
    const struct claim *client = &event->of_client_claim, *hub = &event->of_hub_claim, *proof = &event->proof;
    if (event->type == EVENT_CLOSE_STARTED)
        sim_trace(sim, "close started by the %s: client %llu %llu+%llu, hub %llu %llu+%llu",
                  event->by_hub ? "hub" : "client", (unsigned long long)client->nonce,
                  (unsigned long long)client->transferred.units, (unsigned long long)client->locked.units,
                  (unsigned long long)hub->nonce, (unsigned long long)hub->transferred.units,
                  (unsigned long long)hub->locked.units);
    else if (event->type == EVENT_CHALLENGED)
        sim_trace(sim, "challenged: %llu %llu+%llu%s", (unsigned long long)proof->nonce,
                  (unsigned long long)proof->transferred.units, (unsigned long long)proof->locked.units,
                  event->is_fraud ? ", fraud" : "");
    else if (event->type == EVENT_FINISHED)
        sim_trace(sim, "finished: client %llu and %llu held, hub %llu and %llu held, penalty %llu",
                  (unsigned long long)event->to_client.units, (unsigned long long)event->held_client.units,
                  (unsigned long long)event->to_hub.units, (unsigned long long)event->held_hub.units,
                  (unsigned long long)event->penalty.units);
    else
        sim_trace(sim, "event %s, %llu units", contract_event_name(event->type),
                  (unsigned long long)(event->amount.units + event->client_amount.units +
                                       event->hub_amount.units + event->client_out.units +
                                       event->hub_out.units));
}

void observe_event(struct sim *sim, const struct contract_event *event)
{
    trace_event(sim, event);
    switch ((int)event->type) {
    case EVENT_SETTLED:
        if (event->close)
            sim_did(sim, DEED_COOPERATIVE);
        else if (event->client_out.units > 0)
            sim_did(sim, DEED_PAYOUT);
        return;
    case EVENT_FUNDED:
        if (event->hub_amount.units > 0)
            sim_did(sim, DEED_FUNDING);
        return;
    case EVENT_CLOSE_STARTED:
        sim_did(sim, DEED_UNILATERAL);
        return;
    case EVENT_CHALLENGED:
        sim_did(sim, DEED_CHALLENGE);
        if (event->is_fraud)
            sim_did(sim, DEED_FRAUD);
        return;
    case EVENT_LOCKS_VOIDED:
        sim_did(sim, DEED_VOID);
        return;
    case EVENT_CONDITION_MET:
        sim_did(sim, DEED_REGISTER);
        return;
    case EVENT_UNLOCKED:
        sim_did(sim, DEED_UNLOCK);
        return;
    }
}

/* ---- every step ---- */

#define OUTBOX_LIMIT ((size_t)4 << 20)

static void check_limits(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->hub.shard_count && sim->hub.party.is_up; i++)
        if (outbox_bytes(sim->hub.shards[i].outbox) > OUTBOX_LIMIT)
            sim_fail(sim, "the outbox of shard %u grows: %zu bytes", i,
                     outbox_bytes(sim->hub.shards[i].outbox));
    for (unsigned i = 0; i < sim->tower_count; i++)
        if (sim->towers[i].party.is_up && tower_figures(sim->towers[i].core).bytes > 1 << 24)
            sim_fail(sim, "tower %u holds more than its quota", i);
}

/* What a wallet has at risk without a receipt stays within what its user allows. */
static void check_unsecured(const struct sim *sim, const struct sim_wallet *wallet)
{
    struct wallet_channel_view view;
    for (size_t i = 0; wallet_channel_at(wallet->core, i, &view); i++)
        if (wallet->limits.unsecured != 0 && view.unsecured.units > wallet->limits.unsecured)
            sim_fail(sim, "wallet %u has %llu units at risk, and allows %llu", wallet->party.index,
                     (unsigned long long)view.unsecured.units, (unsigned long long)wallet->limits.unsecured);
}

void observe_step(struct sim *sim)
{
    if (sim->step % 8 != 0)
        return;
    check_limits(sim);
    receipts_check(sim);
    for (unsigned i = 0; i < sim->hub.shard_count && sim->hub.party.is_up; i++)
        engine_check(sim->hub.shards[i].engine);
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->wallets[i].party.is_up)
            check_unsecured(sim, &sim->wallets[i]);
}

void observer_free(struct sim *sim)
{
    receipts_free(sim);
    struct sim_seen *seen, *next_seen;
    HASH_ITER(hh, sim->seen, seen, next_seen)
    {
        HASH_DELETE(hh, sim->seen, seen);
        free(seen);
    }
    struct sim_stream *stream, *next_stream;
    HASH_ITER(hh, sim->streams, stream, next_stream)
    {
        HASH_DELETE(hh, sim->streams, stream);
        free(stream->locks[SIDE_CLIENT].all);
        free(stream->locks[SIDE_HUB].all);
        free(stream);
    }
}
