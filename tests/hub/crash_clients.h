/* The clients of the crash test: honest, forgetful of nothing, sometimes away, sometimes lazy. Whatever the
 * hub lets out must be good: an update that breaks a rule fails the test. */
#ifndef RILL_TESTS_HUB_CRASH_CLIENTS_H
#define RILL_TESTS_HUB_CRASH_CLIENTS_H

#include "crash_world.h"

static inline uint64_t client_registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct client *client = context;
    (void)kind;
    for (size_t i = 0; i < client->view_conditions; i++)
        if (hash_equal(&client->world->conditions[i].condition, condition))
            return client->world->conditions[i].time;
    return 0;
}

static inline struct channel_view client_view(struct client *client)
{
    return (struct channel_view){.domain = &client->world->domain,
                                 .now = client->view_now,
                                 .reveal_margin_s = MARGIN_S,
                                 .peer = client->world->hub,
                                 .registered_at = client_registered_at,
                                 .context = client};
}

static inline void client_sees(struct world *world, struct client *client)
{
    client->view_now = world->now;
    client->view_conditions = world->condition_count;
    client->view_funds = ledger_funds(world, client->index);
    if (client->channel == NULL)
        return;
    (void)channel_set_funds(client->channel, &client->view_funds);
    (void)channel_settle_expire(client->channel, client->view_now);
}

static inline void client_send(struct world *world, struct client *client, const struct message *message)
{
    struct buffer frame = {0};
    struct message decoded;
    const char *why;
    message_encode(&frame, message);
    ensure(message_decode(world->client_decoder, frame.data + 4, frame.length - 4, &decoded, &why) ==
           CODE_OK);
    if (client->peer != 0)
        engine_message(shard_of(world, client)->engine, client->peer, &decoded);
    buffer_free(&frame);
}

static inline void client_send_kept(struct world *world, struct client *client, uint64_t nonce)
{
    const struct kept_update *kept = channel_kept(client->channel, nonce);
    struct message message = {.type = MESSAGE_UPDATE};
    message.update =
        (struct update){client->channel->id, kept->proof, kept->signature, kept->body, kept->body_length};
    client_send(world, client, &message);
}

/* One update with these operations; false, and nothing happened, if it cannot be. */
static inline bool client_update(struct world *world, struct client *client,
                                 const struct operation *operations, size_t count)
{
    struct channel_view view = client_view(client);
    struct buffer body = {0};
    if (channel_own(client->channel)->proof.nonce - client->channel->acknowledged >= UNACKNOWLEDGED_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (channel_add(client->channel, &view, &operations[i], NULL) == CODE_OK)
            continue;
        channel_drop_draft(client->channel);
        return false;
    }
    size_t drafted;
    const struct operation *draft = channel_draft(client->channel, &drafted);
    body_encode(&body, draft, drafted);
    uint64_t nonce =
        channel_seal(client->channel, &world->domain, &client->key, body.data, body.length)->proof.nonce;
    buffer_free(&body);
    if (client->resumed)
        client_send_kept(world, client, nonce);
    return true;
}

/* ---- books ---- */

static inline struct book *book_of_payer(struct world *world, unsigned payer, const struct payment_id *id)
{
    for (size_t i = 0; i < world->book_count; i++)
        if (world->books[i].payer == payer && payment_id_equal(&world->books[i].id, id))
            return &world->books[i];
    fail_msg("a payment that nobody made");
    return NULL;
}

static inline struct book *book_of_payee(struct world *world, unsigned payee, const struct payment_id *id)
{
    for (size_t i = 0; i < world->book_count; i++)
        if (world->books[i].payee == payee && payment_id_equal(&world->books[i].payee_id, id))
            return &world->books[i];
    fail_msg("a payment that nobody made");
    return NULL;
}

static inline const struct pending_lock *payers_lock(struct world *world, const struct book *book)
{
    return channel_find_payment(world->clients[book->payer].channel, SIDE_CLIENT, &book->id);
}

/* ---- what the hub says ---- */

static inline void take_operation(struct world *world, struct client *client,
                                  const struct operation *operation, const struct pending_lock *touched)
{
    struct book *book;
    switch (operation->type) {
    case OPERATION_PAY:
    case OPERATION_LOCK:
        book = book_of_payee(world, client->index, &operation->id);
        assert_false(book->received);
        assert_int_equal(book->is_locked, operation->type == OPERATION_LOCK);
        assert_int_equal(operation->amount.units, book->amount);
        assert_int_equal(operation->expiry, book->expiry);
        assert_true(hash_equal(&operation->condition, &book->condition));
        book->received = true;
        book->got = !book->is_locked;
        break;
    case OPERATION_REFUND:
        book = book_of_payer(world, client->index, &operation->id);
        assert_false(book->is_locked || book->refunded);
        assert_int_equal(operation->amount.units, book->amount + book->fee);
        book->refunded = true;
        break;
    case OPERATION_UNLOCK:
        book = book_of_payee(world, client->index, &touched->payment);
        assert_false(book->got || book->lock_dropped);
        book->got = true;
        break;
    case OPERATION_EXPIRE:
    case OPERATION_CANCEL:
        book_of_payee(world, client->index, &touched->payment)->lock_dropped = true;
        break;
    }
}

static inline void client_revokes(struct world *world, struct client *client)
{
    uint64_t due = channel_revocation_due(client->channel);
    struct message message = {.type = MESSAGE_REVOKE};
    if (due != 0)
        (void)channel_revoke(client->channel, &world->domain, &client->key, due);
    const struct dropped *dropped = stream_dropped(channel_peer(client->channel));
    if (dropped->revoked_nonce == 0)
        return;
    message.revoke.channel = client->channel->id;
    message.revoke.min_nonce = dropped->revoked_nonce;
    message.revoke.signature = dropped->revocation;
    client_send(world, client, &message);
}

/* False: held. */
static inline bool judge_update(struct world *world, struct client *client, const struct update *update)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    const struct operation *operations;
    size_t count;
    ensure(body_decode(world->bodies, update->body, update->body_length, &operations, &count));
    struct channel_view view = client_view(client);
    struct judgement judgement =
        channel_receive(client->channel, &view, update, operations, count, true, touched);
    if (judgement.verdict == VERDICT_HELD)
        return false;
    if (judgement.verdict == VERDICT_REFUSED)
        fail_msg("the hub's update breaks a rule: %s", code_name(judgement.code));
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.channel = client->channel->id;
    ack.ack.nonce = update->proof.nonce;
    if (judgement.verdict == VERDICT_ACCEPTED) {
        for (size_t i = 0; i < count; i++)
            take_operation(world, client, &operations[i], &touched[i]);
        if (channel_revocation_due(client->channel) != 0)
            client_revokes(world, client);
    }
    client_send(world, client, &ack);
    return true;
}

static inline void hold_update(struct client *client, const uint8_t *frame, size_t length)
{
    ensure(client->held_count < UNACKNOWLEDGED_MAX);
    struct held_frame *held = &client->held[client->held_count++];
    held->bytes = xmalloc(length);
    held->length = length;
    memcpy(held->bytes, frame, length);
}

static inline void forget_held(struct client *client)
{
    while (client->held_count > 0)
        free(client->held[--client->held_count].bytes);
}

static inline void judge_held(struct world *world, struct client *client)
{
    while (client->held_count > 0) {
        struct message message;
        const char *why;
        struct held_frame first = client->held[0];
        ensure(message_decode(world->decoder, first.bytes, first.length, &message, &why) == CODE_OK);
        if (!judge_update(world, client, &message.update))
            return;
        client->held_count--;
        memmove(&client->held[0], &client->held[1], client->held_count * sizeof(client->held[0]));
        free(first.bytes);
    }
}

static inline void take_proposal(struct world *world, struct client *client,
                                 const struct settlement *proposal)
{
    struct channel_view view = client_view(client);
    struct message answer = {.type = MESSAGE_SETTLE_SIGN};
    struct signature signature;
    const struct settlement *current = channel_settlement(client->channel);
    if (current->phase == SETTLEMENT_SIGNED && !current->said_dead)
        assert_true(current->seq != proposal->seq || current->deadline == proposal->deadline);
    struct amount wanted = amount_of(proposal->client_out.units == 0 ? 0 : client->wish);
    if (channel_settle_sign(client->channel, &view, proposal, wanted, false, 3600, &client->key,
                            &signature) == CODE_OK) {
        answer.settle_sign.channel = client->channel->id;
        answer.settle_sign.seq = proposal->seq;
        answer.settle_sign.signature = signature;
    } else {
        answer.type = MESSAGE_ERROR;
        answer.error.code = CODE_SETTLE;
        answer.error.text = (struct text){"no", 2};
        answer.error.reference = (struct error_reference){.present = true,
                                                          .type = MESSAGE_SETTLE_PROPOSE,
                                                          .has_channel = true,
                                                          .channel = client->channel->id,
                                                          .has_nonce = true,
                                                          .nonce = proposal->seq};
    }
    client_send(world, client, &answer);
}

static inline void take_shown_settlement(struct world *world, struct client *client,
                                         const struct shown_settlement *shown)
{
    const struct settlement *current = channel_settlement(client->channel);
    if (!shown->present) {
        if (current->phase == SETTLEMENT_SIGNED)
            client->channel->settlement->said_dead = true;
        return;
    }
    if (shown->has_signature) {
        if (current->phase == SETTLEMENT_SIGNED)
            assert_true(signature_equal(&shown->signature, &current->signature));
        return;
    }
    struct settlement proposal = {.seq = shown->seq,
                                  .client_out = shown->client_out,
                                  .hub_out = shown->hub_out,
                                  .deadline = shown->deadline,
                                  .close = shown->close};
    take_proposal(world, client, &proposal);
}
#endif
