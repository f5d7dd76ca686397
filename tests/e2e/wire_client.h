/* A client of the hub that speaks protocol.md by hand: the link and the channel machine, nothing of the wallet. It
 * can therefore also say what no wallet would. */
#ifndef RILL_TESTS_E2E_WIRE_CLIENT_H
#define RILL_TESTS_E2E_WIRE_CLIENT_H

#include "channel/channel.h"
#include "tests/e2e/hub_fixture.h"
#include "wire/link.h"

#define SEEN_MAX 512

/* A message that came, or one operation of an update that came. */
struct seen {
    bool is_operation, taken;
    struct message message; /* without what its pointers point to */
    struct operation operation;
    struct revealed revealed; /* the first of a REVEAL */
    struct failed failed;     /* the first of a FAIL */
    char text[TEXT_BYTES_MAX + 1];
};

struct wire_client {
    struct hub_stage *stage;
    const char *name;
    struct secret_key key;
    struct address address;
    struct channel_key channel_key;
    struct channel *channel; /* survives reconnects, as a wallet's journal would */
    struct link *link;
    struct decoder *decoder;
    struct terms terms;
    bool welcomed, in_step; /* RESUME has been said */
    uint64_t channels_left, locks_left;
    bool silent; /* takes updates, but neither applies nor acknowledges them */
    bool closed;
    enum link_closed why;
    char reason[256];
    struct seen seen[SEEN_MAX];
    size_t seen_count;
    struct seen shown;          /* the newest CHANNEL */
    struct buffer last_update;  /* the newest UPDATE, as a frame */
    struct buffer kept_updates; /* all of them, while silent */
    uint64_t ids;
};

static inline uint64_t none_registered(void *context, uint8_t kind, const struct hash *condition)
{
    (void)context;
    (void)kind;
    (void)condition;
    return 0;
}

static inline struct channel_view view_of(const struct wire_client *client)
{
    return (struct channel_view){.domain = &client->stage->domain,
                                 .now = client->stage->now,
                                 .reveal_margin_s = client->terms.reveal_margin_s,
                                 .peer = secret_key_address(&client->stage->hub),
                                 .registered_at = none_registered};
}

static inline struct seen *note(struct wire_client *client, const struct message *message)
{
    ensure(client->seen_count < SEEN_MAX);
    struct seen *seen = &client->seen[client->seen_count++];
    *seen = (struct seen){.message = *message};
    return seen;
}

/* ---- what the hub says ---- */

static inline void send_ack(struct wire_client *client)
{
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.channel = client->channel->id;
    ack.ack.nonce = channel_peer(client->channel)->proof.nonce;
    link_send(client->link, &ack);
}

static inline void send_revoke(struct wire_client *client)
{
    uint64_t nonce = channel_revocation_due(client->channel);
    if (nonce == 0)
        return;
    struct message revoke = {.type = MESSAGE_REVOKE};
    revoke.revoke.channel = client->channel->id;
    revoke.revoke.min_nonce = nonce;
    revoke.revoke.signature = channel_revoke(client->channel, &client->stage->domain, &client->key, nonce);
    link_send(client->link, &revoke);
}

static inline void take_update(struct wire_client *client, const struct message *message)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    const struct operation *operations;
    size_t count;
    buffer_clear(&client->last_update);
    message_encode(&client->last_update, message);
    if (client->silent) {
        buffer_append(&client->kept_updates, client->last_update.data, client->last_update.length);
        return;
    }
    assert_true(
        body_decode(client->decoder, message->update.body, message->update.body_length, &operations, &count));
    struct channel_view view = view_of(client);
    struct judgement judgement =
        channel_receive(client->channel, &view, &message->update, operations, count, true, touched);
    if (judgement.verdict == VERDICT_REFUSED || judgement.verdict == VERDICT_HELD)
        fail_msg("%s: the hub's update %llu breaks a rule: %s", client->name,
                 (unsigned long long)message->update.proof.nonce, code_name(judgement.code));
    for (size_t i = 0; judgement.verdict == VERDICT_ACCEPTED && i < count; i++) {
        struct seen *seen = note(client, message);
        seen->is_operation = true;
        seen->operation = operations[i];
    }
    send_ack(client);
    send_revoke(client);
}

static inline void set_funds(struct wire_client *client, struct amount total, int64_t base, uint32_t seq,
                             uint8_t stage)
{
    struct channel_funds funds = {total, base, seq, stage};
    channel_set_told(client->channel, &funds);
    channel_set_funds(client->channel, &funds);
}

static inline void take_funded(struct wire_client *client, const struct message *message)
{
    const struct settlement *settlement = channel_settlement(client->channel);
    bool closed =
        settlement->phase == SETTLEMENT_SIGNED && settlement->close && message->funded.seq >= settlement->seq;
    set_funds(client, message->funded.total, message->funded.base, message->funded.seq,
              closed ? STAGE_CLOSED : STAGE_OPEN);
}

/* Everything was shown: say what we have, and send again what the hub does not have. */
static inline void resume_if_shown(struct wire_client *client)
{
    if (client->channels_left > 0 || client->locks_left > 0 || client->in_step || client->channel == NULL)
        return;
    client->in_step = true;
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = client->channel->id;
    resume.resume.received = channel_peer(client->channel)->proof.nonce;
    resume.resume.own = channel_own(client->channel)->proof.nonce;
    link_send(client->link, &resume);
    uint64_t known = client->shown.message.channel.streams[SIDE_CLIENT].newest.proof.nonce;
    assert_int_equal(channel_acknowledged(client->channel, known), CODE_OK);
    for (uint64_t nonce = known + 1; nonce <= resume.resume.own; nonce++) {
        const struct kept_update *kept = channel_kept(client->channel, nonce);
        struct message update = {.type = MESSAGE_UPDATE};
        update.update =
            (struct update){client->channel->id, kept->proof, kept->signature, kept->body, kept->body_length};
        link_send(client->link, &update);
    }
}

static inline void take_channel(struct wire_client *client, const struct message *message)
{
    client->shown = (struct seen){.message = *message};
    if (client->channel == NULL) {
        /* The terms' reserve is the hub's to judge by: this client may try to go below it. */
        client->channel_key = message->channel.key;
        client->channel = channel_new(&message->channel.key, SIDE_CLIENT, 0);
    }
    set_funds(client, message->channel.total, message->channel.base, message->channel.seq,
              message->channel.status);
    if (client->channels_left > 0)
        client->channels_left--;
    for (int side = 0; side < 2; side++)
        client->locks_left += message->channel.streams[side].newest.proof.locked.units > 0;
    resume_if_shown(client);
}

static inline void on_wire_message(void *context, struct link *link, const struct message *message)
{
    struct wire_client *client = context;
    (void)link;
    struct seen *seen = note(client, message);
    switch (message->type) {
    case MESSAGE_CHANNEL:
        take_channel(client, message);
        break;
    case MESSAGE_LOCKS:
        client->locks_left -= message->locks.last;
        resume_if_shown(client);
        break;
    case MESSAGE_FUNDED:
        take_funded(client, message);
        break;
    case MESSAGE_UPDATE:
        take_update(client, message);
        break;
    case MESSAGE_ACK:
        assert_int_equal(channel_acknowledged(client->channel, message->ack.nonce), CODE_OK);
        break;
    case MESSAGE_REVEAL:
        seen->revealed = message->reveal.items[0];
        break;
    case MESSAGE_FAIL:
        seen->failed = message->fail.items[0];
        (void)channel_fail_received(client->channel, &seen->failed.id);
        break;
    case MESSAGE_REVOKE: {
        struct channel_view view = view_of(client);
        assert_int_equal(channel_revocation_received(client->channel, &view, message->revoke.min_nonce,
                                                     &message->revoke.signature, NULL),
                         CODE_OK);
        break;
    }
    case MESSAGE_ERROR:
        snprintf(seen->text, sizeof seen->text, "%.*s", (int)message->error.text.length,
                 message->error.text.data);
        break;
    default:
        break;
    }
}

static inline void on_wire_ready(void *context, struct link *link, const struct address *peer,
                                 const struct message *welcome)
{
    struct wire_client *client = context;
    struct address hub = secret_key_address(&client->stage->hub);
    (void)link;
    assert_true(address_equal(peer, &hub));
    client->terms = *welcome->welcome.terms;
    client->channels_left = welcome->welcome.channels;
    client->welcomed = true;
}

static inline void on_wire_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct wire_client *client = context;
    (void)link;
    client->link = NULL;
    client->closed = true;
    client->why = why;
    snprintf(client->reason, sizeof client->reason, "%s", reason);
}

static const struct link_callbacks wire_callbacks = {
    .ready = on_wire_ready, .message = on_wire_message, .closed = on_wire_closed};

/* ---- coming and going ---- */

static inline struct wire_client *wire_new(struct hub_stage *stage, const char *name)
{
    struct wire_client *client = xcalloc(1, sizeof *client);
    client->stage = stage;
    client->name = name;
    client->key = key_of(name);
    client->address = secret_key_address(&client->key);
    client->channel_key.client = client->address;
    client->decoder = decoder_new();
    return client;
}

/* Starts connecting; what comes of it is for the test to wait for. */
static inline void wire_dial(struct wire_client *client)
{
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = client->stage->hub_port,
                                          .key = client->key,
                                          .chain_id = client->stage->domain.chain_id,
                                          .contract = client->stage->contract,
                                          .server = secret_key_address(&client->stage->hub),
                                          .agent = "test"};
    client->welcomed = client->in_step = client->closed = false;
    client->channels_left = client->locks_left = 0;
    client->seen_count = 0;
    client->link = link_connect(client->stage->base, &options, &wire_callbacks, client);
}

static inline bool wire_is_welcome(void *context)
{
    struct wire_client *client = context;
    return client->closed ||
           (client->welcomed && client->channels_left == 0 && (client->in_step || client->channel == NULL));
}

/* Connects and comes into step. */
static inline void wire_connect(struct wire_client *client)
{
    wire_dial(client);
    if (!holds_in_time(client->stage, wire_is_welcome, client) || client->closed) {
        print_error("%s: %s\n", client->name, client->reason);
        fail_with_log(client->stage, "the handshake");
    }
}

static inline void wire_leave(struct wire_client *client)
{
    if (client->link != NULL)
        link_close(client->link);
    client->link = NULL;
}

static inline void wire_free(struct wire_client *client)
{
    if (client == NULL)
        return;
    wire_leave(client);
    channel_free(client->channel);
    decoder_free(client->decoder);
    buffer_free(&client->last_update);
    buffer_free(&client->kept_updates);
    free(client);
}

/* Puts money of its own into the channel: opens it. */
static inline void wire_deposit(struct wire_client *client, uint64_t units)
{
    send_coins(client->stage, &client->stage->hub, &client->address, units + 100000000);
    ledger_call_as(client->stage, &client->key,
                   &(struct contract_call){
                       .function = CONTRACT_DEPOSIT, .key = client->channel_key, .amount = amount_of(units)},
                   units);
    mine(client->stage);
}

/* ---- waiting for what comes ---- */

struct wire_wish {
    struct wire_client *client;
    bool is_operation;
    unsigned type;
    const struct payment_id *id; /* NULL: any */
    struct seen *found;
};

static inline bool wish_is_met(void *context)
{
    struct wire_wish *wish = context;
    struct wire_client *client = wish->client;
    for (size_t i = 0; i < client->seen_count; i++) {
        struct seen *seen = &client->seen[i];
        unsigned type = seen->is_operation ? (unsigned)seen->operation.type : (unsigned)seen->message.type;
        const struct payment_id *id = seen->is_operation                     ? &seen->operation.id
                                      : seen->message.type == MESSAGE_FAIL   ? &seen->failed.id
                                      : seen->message.type == MESSAGE_REVEAL ? &seen->revealed.id
                                                                             : NULL;
        if (seen->taken || seen->is_operation != wish->is_operation || type != wish->type ||
            (wish->id != NULL && (id == NULL || !payment_id_equal(id, wish->id))))
            continue;
        wish->found = seen;
        return true;
    }
    return client->closed;
}

static inline struct seen *wire_wait(struct wire_client *client, bool is_operation, unsigned type,
                                     const struct payment_id *id)
{
    struct wire_wish wish = {client, is_operation, type, id, NULL};
    (void)holds_in_time(client->stage, wish_is_met, &wish);
    if (wish.found == NULL) {
        for (size_t i = 0; i < client->seen_count; i++)
            print_error("%s saw %s%s %s\n", client->name, client->seen[i].is_operation ? "operation of " : "",
                        message_name(client->seen[i].message.type), client->seen[i].text);
        print_error("%s waited for %s %u%s%s\n", client->name, is_operation ? "operation" : "message", type,
                    client->closed ? "; its link closed: " : "", client->reason);
        fail_with_log(client->stage, "what a client waits for");
    }
    wish.found->taken = true;
    return wish.found;
}

/* The next message of this type that has not been taken yet. */
static inline struct seen *wire_expect(struct wire_client *client, enum message_type type)
{
    return wire_wait(client, false, (unsigned)type, NULL);
}
/* The next operation of this type in the hub's updates; id NULL: any. */
static inline struct seen *wire_operation(struct wire_client *client, enum operation_type type,
                                          const struct payment_id *id)
{
    return wire_wait(client, true, (unsigned)type, id);
}

static inline bool everything_acknowledged(void *context)
{
    const struct wire_client *client = context;
    return client->closed ||
           client->channel->acknowledged == client->channel->streams[SIDE_CLIENT].proof.nonce;
}

/* The hub has acknowledged all that was sent. */
static inline void wire_settle_down(struct wire_client *client)
{
    if (!holds_in_time(client->stage, everything_acknowledged, client) || client->closed)
        fail_with_log(client->stage, "an acknowledgement");
}

static inline bool link_is_gone(void *context)
{
    return ((struct wire_client *)context)->closed;
}

static inline void wire_expect_closed(struct wire_client *client, enum link_closed why, const char *words)
{
    if (!holds_in_time(client->stage, link_is_gone, client))
        fail_with_log(client->stage, "the end of a link");
    if (client->why != why || strstr(client->reason, words) == NULL)
        fail_msg("closed (%d) with '%s', not (%d) '%s'", (int)client->why, client->reason, (int)why, words);
}

/* ---- sending ---- */

static inline struct payment_id wire_id(struct wire_client *client)
{
    struct payment_id id = {{0}};
    store_be64(id.bytes, ++client->ids);
    return id;
}

/* Signs the operations as the next update, without sending it. */
static inline const struct kept_update *wire_seal(struct wire_client *client,
                                                  const struct operation *operations, size_t count,
                                                  struct pending_lock *touched)
{
    (void)block_time(client->stage);
    struct channel_view view = view_of(client);
    struct buffer body = {0};
    for (size_t i = 0; i < count; i++) {
        enum code code = channel_add(client->channel, &view, &operations[i], touched);
        if (code != CODE_OK)
            fail_msg("%s cannot do operation %u: %s", client->name, (unsigned)operations[i].type,
                     code_name(code));
    }
    const struct operation *drafted = channel_draft(client->channel, &count);
    body_encode(&body, drafted, count);
    const struct kept_update *kept =
        channel_seal(client->channel, &client->stage->domain, &client->key, body.data, body.length);
    buffer_free(&body);
    return kept;
}

static inline void wire_send_kept(struct wire_client *client, const struct kept_update *kept)
{
    struct message message = {.type = MESSAGE_UPDATE};
    message.update =
        (struct update){client->channel->id, kept->proof, kept->signature, kept->body, kept->body_length};
    link_send(client->link, &message);
}

/* Signs and sends one operation; touched (may be NULL) gets its lock. */
static inline void wire_do(struct wire_client *client, const struct operation *operation,
                           struct pending_lock *touched)
{
    struct pending_lock lock;
    wire_send_kept(client, wire_seal(client, operation, 1, touched != NULL ? touched : &lock));
}

static inline struct amount fee_of(const struct wire_client *client, uint64_t units)
{
    const struct asset_terms *terms = &client->terms.assets[0];
    struct amount fee = {0};
    ensure(amount_fee(amount_of(units), terms->base_fee, terms->fee_ppm, &fee));
    return fee;
}

/* A payment by the hub's terms; what is to be wrong about it the test changes. */
static inline struct operation payment_of(struct wire_client *client, const struct wire_client *payee,
                                          enum operation_type type, uint64_t units,
                                          const struct hash *condition)
{
    return (struct operation){.type = type,
                              .id = wire_id(client),
                              .peer = payee->address,
                              .amount = amount_of(units),
                              .fee = fee_of(client, units),
                              .expiry = block_time(client->stage) + 3600,
                              .condition = *condition};
}

/* The payee answers with the secret. */
static inline void wire_reveal(struct wire_client *client, const struct payment_id *id,
                               const uint8_t secret[32])
{
    struct revealed item = {.id = *id, .witness = {.length = WITNESS_SECRET_BYTES}};
    memcpy(item.witness.bytes, secret, WITNESS_SECRET_BYTES);
    struct message message = {.type = MESSAGE_REVEAL};
    message.reveal.channel = client->channel->id;
    message.reveal.items = &item;
    message.reveal.count = 1;
    link_send(client->link, &message);
}

static inline void wire_fail(struct wire_client *client, const struct payment_id *id, enum code code)
{
    struct failed item = {*id, code};
    struct message message = {.type = MESSAGE_FAIL};
    message.fail.channel = client->channel->id;
    message.fail.items = &item;
    message.fail.count = 1;
    link_send(client->link, &message);
}

#endif
