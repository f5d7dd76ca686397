/* The hub's pure engine, fed by a program of actions: honest clients, hostile ones, a tower, a ledger, crashes.
 *
 *     input: whether there is a tower u8, then actions: which u8, its decisions u8 each (0 where the input ends)
 *
 * A hostile message is signed properly where that makes it worse: updates with sums, roots, nonces and operations of
 * the input's choice; those of another channel; frames sent before, again or with bytes changed; promises, answers and
 * signatures out of place. After every action:
 *   - the engine's own books add up (engine_check), and add up to what the ledger holds (conservation);
 *   - the hub has no less than it began with, counting the locks it can still claim;
 *   - no two updates or revocations with one nonce have left it, and none before it was durable, crashes included;
 *   - every update that leaves is good by a real channel machine, as long as its client has been honest, and that
 *     client is never told that it broke a rule. */
#include "tests/fuzz/engine_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/lock_set.h"

#define ACTIONS_MAX    96
#define OPERATIONS_FEW 6

/* ---- honest deeds ---- */

static bool can_sign(const struct client_at *client)
{
    return !client->rogue && client->machine != NULL && channel_can_seal(client->machine);
}

/* Seals the draft and sends it, if there is a link that has resumed. */
static void sign(struct world *world, struct client_at *client)
{
    struct buffer body = {0};
    size_t count;
    if (!can_sign(client)) {
        channel_drop_draft(client->machine);
        return;
    }
    const struct operation *draft = channel_draft(client->machine, &count);
    body_encode(&body, draft, count);
    uint64_t nonce =
        channel_seal(client->machine, &world->domain, &client->key, body.data, body.length)->proof.nonce;
    buffer_free(&body);
    if (client->resumed)
        world_send_kept(world, client, nonce);
}

static struct operation payment_of(struct world *world, struct client_at *client)
{
    uint64_t number = ++world->payments;
    unsigned how = take_u8(world), odd = take_below(world, 32);
    struct operation operation = {.type = how % 2 ? OPERATION_LOCK : OPERATION_PAY,
                                  .peer = world->clients[how / 2 % CLIENTS].address,
                                  .amount = {10 + 40 * (uint64_t)take_u8(world)},
                                  .expiry = world->now + 310 + take_u8(world),
                                  .memo = {"tea", 3}};
    if (odd == 1) {
        number = 1 + take_below(world, (unsigned)number); /* an id, and a condition, used before */
        client->hostile = true;
    }
    if (odd == 2)
        operation.peer.bytes[0] ^= 1;
    if (odd == 3)
        operation.amount.units = take_u8(world);
    if (odd == 4)
        operation.expiry = world->now + input_number(world->input) % 100000;
    store_be64(operation.id.bytes, number);
    operation.condition = condition_of(number);
    ensure(amount_fee(operation.amount, amount_of(2), 1000, &operation.fee));
    if (odd == 5)
        operation.fee.units = take_u8(world);
    return operation;
}

static void pay(struct world *world, struct client_at *client)
{
    struct channel_view view = client_view(world);
    unsigned count = 1 + take_below(world, 8) % 3;
    if (!can_sign(client) && (client->rogue || client->machine == NULL || channel_has_draft(client->machine)))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct operation operation = payment_of(world, client);
        (void)!channel_add(client->machine, &view, &operation, NULL);
    }
    if (channel_has_draft(client->machine))
        sign(world, client);
}

/* The witness of one of its own locks that the client knows, or the end of a lock that failed or lapsed. */
static void follow(struct world *world, struct client_at *client)
{
    if (client->rogue || client->machine == NULL)
        return;
    struct channel_view view = client_view(world);
    uint64_t after = 0;
    unsigned what = take_u8(world);
    for (struct pending_lock *lock;
         channel_own(client->machine)->locks != NULL &&
         (lock = lock_set_next(channel_own(client->machine)->locks, after)) != NULL;
         after = lock->lock.id) {
        struct operation operation = {.type = what % 3 == 0   ? OPERATION_UNLOCK
                                              : what % 3 == 1 ? OPERATION_CANCEL
                                                              : OPERATION_EXPIRE,
                                      .lock_id = lock->lock.id};
        uint64_t number;
        if (secret_number(&lock->lock.condition, &number))
            operation.witness = secret_of(number);
        if (channel_add(client->machine, &view, &operation, NULL) == CODE_OK)
            break;
    }
    if (channel_has_draft(client->machine))
        sign(world, client);
}

static void reveal(struct world *world, struct client_at *client, const struct received *received, bool wrong)
{
    struct revealed item = {.id = received->id};
    struct message message = {.type = MESSAGE_REVEAL};
    uint64_t number;
    if (!secret_number(&received->condition, &number))
        return;
    item.witness = secret_of(number);
    if (wrong) {
        client->hostile = true;
        item.witness.bytes[take_below(world, 32)] ^= 1;
    }
    message.reveal.channel = client->id;
    message.reveal.items = &item;
    message.reveal.count = 1;
    world_send(world, client, &message);
}

static void say_fail(struct world *world, struct client_at *client, const struct received *received)
{
    struct failed item = {received->id, take_u8(world)};
    struct message message = {.type = MESSAGE_FAIL};
    if (!client->rogue && !channel_mark_failed(client->machine, &received->id))
        return;
    message.fail.channel = client->id;
    message.fail.items = &item;
    message.fail.count = 1;
    world_send(world, client, &message);
}

static void refund(struct world *world, struct client_at *client, const struct received *received)
{
    struct channel_view view = client_view(world);
    struct operation operation = {.type = OPERATION_REFUND,
                                  .id = received->id,
                                  .amount = {received->amount + (take_u8(world) == 1)},
                                  .code = CODE_INVOICE};
    if (received->is_locked || client->rogue || client->machine == NULL ||
        channel_add(client->machine, &view, &operation, NULL) != CODE_OK)
        return;
    sign(world, client);
}

static void answer(struct world *world, struct client_at *client)
{
    size_t known = client->received_count < RECEIVED_MAX ? client->received_count : RECEIVED_MAX;
    if (known == 0)
        return;
    const struct received *received = &client->received[take_u8(world) % known];
    switch (take_below(world, 8)) {
    case 0:
        say_fail(world, client, received);
        break;
    case 1:
        refund(world, client, received);
        break;
    case 2:
        world->to_register[load_be64(received->id.bytes) % SECRETS] = true; /* anybody's secret */
        break;
    case 3:
        reveal(world, client, received, true);
        break;
    default:
        reveal(world, client, received, false);
    }
}

static void ask_payout(struct world *world, struct client_at *client)
{
    struct message message = {.type = MESSAGE_SETTLE_REQUEST};
    if (client->rogue || client->machine == NULL || !client->resumed)
        return;
    client->wish = 1 + 4 * (uint64_t)take_u8(world);
    message.settle_request.channel = client->id;
    message.settle_request.amount = amount_of(client->wish);
    world_send(world, client, &message);
}

static void answer_proposal(struct world *world, struct client_at *client)
{
    struct message message = {.type = MESSAGE_SETTLE_SIGN};
    struct signature signature;
    if (!client->has_proposal || client->proposal.close)
        return;
    client->has_proposal = false;
    struct channel_view view = client_view(world);
    if (!client->rogue) {
        struct amount wanted = amount_of(client->proposal.client_out.units == 0 ? 0 : client->wish);
        if (channel_settle_sign(client->machine, &view, &client->proposal, wanted, false, 3600, &client->key,
                                &signature) != CODE_OK)
            return;
    } else {
        struct hash digest =
            digest_settlement(&world->domain, &client->id, client->proposal.seq, client->proposal.client_out,
                              client->proposal.hub_out, client->proposal.deadline, false);
        signature = key_sign(&client->key, &digest);
    }
    message.settle_sign.channel = client->id;
    message.settle_sign.seq = client->proposal.seq;
    message.settle_sign.signature = signature;
    world_send(world, client, &message);
}

/* ---- hostile deeds ---- */

static struct operation any_operation(struct world *world, struct client_at *client)
{
    struct operation operation = payment_of(world, client);
    unsigned how = take_u8(world);
    operation.type = (enum operation_type)(1 + how % 6);
    if (operation.type > OPERATION_LOCK)
        operation.memo = (struct text){"", 0};
    operation.kind = operation.type == OPERATION_LOCK && how >= 240;
    operation.lock_id = how / 6 % 8;
    operation.witness = (struct witness){0};
    if (operation.type == OPERATION_UNLOCK && how < 200)
        operation.witness = secret_of(operation.lock_id + take_below(world, 8));
    operation.code = operation.type == OPERATION_REFUND ? how : 0;
    if (how == 255)
        operation.amount.units = input_number(world->input);
    if (how == 254)
        operation.fee.units = input_number(world->input);
    return operation;
}

/* What the operations make of the stream as the hub has it, so that the update is as right as it can be. */
static void apply(struct lock_set *locks, uint64_t *last_id, struct operation *operations, size_t count,
                  struct balance_proof *proof)
{
    for (size_t i = 0; i < count; i++) {
        struct operation *at = &operations[i];
        if (at->type == OPERATION_PAY || at->type == OPERATION_REFUND)
            proof->transferred.units += at->amount.units + (at->type == OPERATION_PAY ? at->fee.units : 0);
        if (at->type == OPERATION_LOCK) {
            struct pending_lock added = {.lock = {lock_set_next_id(locks, *last_id),
                                                  {at->amount.units + at->fee.units},
                                                  at->expiry,
                                                  at->kind,
                                                  at->condition}};
            at->lock_id = *last_id = added.lock.id;
            proof->locked.units += added.lock.amount.units;
            (void)!lock_set_add(locks, &added);
        }
        const struct pending_lock *old = at->type >= OPERATION_UNLOCK && at->type <= OPERATION_CANCEL
                                             ? lock_set_find(locks, at->lock_id)
                                             : NULL;
        if (old == NULL)
            continue;
        proof->locked.units -= old->lock.amount.units;
        if (at->type == OPERATION_UNLOCK)
            proof->transferred.units += old->lock.amount.units;
        (void)!lock_set_remove(locks, at->lock_id);
    }
    proof->locks_root = lock_set_root(locks);
}

static struct lock_set *copy_locks(const struct stream *stream)
{
    struct lock_set *copy = lock_set_new();
    uint64_t after = 0;
    const struct pending_lock *lock;
    while (stream->locks != NULL && (lock = lock_set_next(stream->locks, after)) != NULL) {
        ensure(lock_set_add(copy, lock));
        after = lock->lock.id;
    }
    return copy;
}

/* One thing wrong with it, or nothing. */
static void tweak(struct world *world, struct balance_proof *proof)
{
    uint64_t by = input_number(world->input);
    switch (take_below(world, 12)) {
    case 0:
        proof->nonce += by;
        break;
    case 1:
        proof->transferred.units += by;
        break;
    case 2:
        proof->locked.units += by;
        break;
    case 3:
        proof->locks_root.bytes[by % 32] ^= 1;
        break;
    case 4:
        proof->transferred.units -= by;
        break;
    default:
        break;
    }
}

/* The signer: the client, another, the hub's own key; over the right domain or another. */
static struct signature sign_as(struct world *world, const struct client_at *client,
                                const struct hash *channel, const struct balance_proof *proof)
{
    struct domain other = domain_make(1, &(struct address){{7}});
    unsigned how = take_below(world, 16);
    struct hash digest = digest_balance_proof(how == 1 ? &other : &world->domain, channel, proof);
    const struct client_at *friend = &world->clients[(client - world->clients + 1) % CLIENTS];
    return key_sign(how == 2 ? &friend->key : &client->key, &digest);
}

static void hostile_update(struct world *world, struct client_at *client)
{
    struct operation operations[OPERATIONS_FEW];
    size_t count = 1 + take_below(world, OPERATIONS_FEW);
    unsigned where = take_below(world, 16);
    struct client_at *target = where == 1 ? &world->clients[(client - world->clients + 1) % CLIENTS] : client;
    struct channel *hub = hub_side(world, target);
    if (hub == NULL || client->peer == 0)
        return;
    for (size_t i = 0; i < count; i++)
        operations[i] = any_operation(world, client);
    const struct stream *stream = &hub->streams[SIDE_CLIENT];
    struct lock_set *locks = copy_locks(stream);
    struct message message = {.type = MESSAGE_UPDATE};
    struct buffer body = {0};
    uint64_t last_id = stream->last_lock_id;
    message.update.channel = target->id;
    message.update.proof = stream->proof;
    message.update.proof.nonce++;
    apply(locks, &last_id, operations, count, &message.update.proof);
    lock_set_free(locks);
    body_encode(&body, operations, count);
    message.update.proof.body_hash = keccak256(body.data, body.length);
    tweak(world, &message.update.proof);
    message.update.signature = sign_as(world, client, &target->id, &message.update.proof);
    message.update.body = body.data;
    message.update.body_length = body.length;
    client->hostile = true;
    world_send(world, client, &message);
    buffer_free(&body);
}

/* What an honest client's machine would have to know that it has said. (Of updates the world looks at what was
 * taken.) */
static bool says_what_counts(enum message_type type)
{
    return type != MESSAGE_UPDATE && type != MESSAGE_REVEAL && type != MESSAGE_SETTLE_REQUEST &&
           type != MESSAGE_OPEN_REQUEST;
}

/* A frame that was sent before: again, or with some bytes changed. */
static void send_old(struct world *world, struct client_at *client)
{
    size_t known = client->sent_count < SENT_MAX ? client->sent_count : SENT_MAX;
    struct message message;
    const char *why;
    if (known == 0 || client->peer == 0)
        return;
    const struct buffer *old = &client->sent[take_u8(world) % known];
    struct buffer frame = {0};
    buffer_append(&frame, old->data, old->length);
    client->hostile = true;
    unsigned changes = take_below(world, 4);
    for (unsigned i = 0; i < changes && frame.length > 4; i++)
        frame.data[4 + input_u16(world->input) % (frame.length - 4)] = take_u8(world);
    if (message_decode(world->answers, frame.data + 4, frame.length - 4, &message, &why) == CODE_OK) {
        /* An old RESUME says that it lacks what it has: the hub then rightly sends that again. */
        bool forgets = message.type == MESSAGE_RESUME && message.resume.received < client->seen_nonce;
        client->rogue = client->rogue || forgets || (changes > 0 && says_what_counts(message.type));
        engine_message(world->engine, client->peer, &message);
    }
    buffer_free(&frame);
}

static void hostile_promise(struct world *world, struct client_at *client, struct message *message)
{
    message->revoke.channel = client->id;
    message->revoke.min_nonce = client->seen_nonce + input_number(world->input);
    struct hash digest = digest_revocation(&world->domain, &client->id, message->revoke.min_nonce);
    message->revoke.signature =
        key_sign(take_below(world, 4) == 0 ? &world->clients[0].key : &client->key, &digest);
}

static void hostile_signature(struct world *world, struct client_at *client, struct message *message)
{
    struct settlement signed_one = client->proposal;
    signed_one.seq += take_below(world, 3);
    signed_one.client_out.units += take_u8(world);
    struct hash digest = digest_settlement(&world->domain, &client->id, signed_one.seq, signed_one.client_out,
                                           signed_one.hub_out, signed_one.deadline, signed_one.close);
    message->settle_sign.channel = client->id;
    message->settle_sign.seq = signed_one.seq;
    message->settle_sign.signature = key_sign(&client->key, &digest);
}

static void hostile_resume(struct world *world, struct client_at *client, struct message *message,
                           struct payment_id ids[4])
{
    message->resume.channel = client->id;
    message->resume.received = client->seen_nonce + input_number(world->input) - 2;
    message->resume.own = input_number(world->input);
    for (size_t i = 0; i < 4; i++)
        store_be64(ids[i].bytes, take_u8(world));
    message->resume.ids = ids;
    message->resume.count = 4;
}

static void hostile_message(struct world *world, struct client_at *client)
{
    static const enum message_type types[] = {MESSAGE_ACK,    MESSAGE_REVEAL,         MESSAGE_FAIL,
                                              MESSAGE_REVOKE, MESSAGE_SETTLE_REQUEST, MESSAGE_SETTLE_SIGN,
                                              MESSAGE_RESUME, MESSAGE_ERROR,          MESSAGE_OPEN_REQUEST};
    struct message message = {.type = types[take_below(world, ARRAY_LENGTH(types))]};
    struct payment_id ids[4] = {{{0}}};
    struct revealed revealed = {.witness = secret_of(take_u8(world))};
    struct failed failed = {.code = take_u8(world)};
    store_be64(revealed.id.bytes, take_u8(world));
    failed.id = revealed.id;
    if (message.type == MESSAGE_ACK) {
        message.ack.channel = client->id;
        message.ack.nonce = client->seen_nonce + input_number(world->input) - 2;
    } else if (message.type == MESSAGE_REVEAL) {
        message.reveal.channel = client->id;
        message.reveal.items = &revealed;
        message.reveal.count = 1;
    } else if (message.type == MESSAGE_FAIL) {
        message.fail.channel = client->id;
        message.fail.items = &failed;
        message.fail.count = 1;
    } else if (message.type == MESSAGE_REVOKE) {
        hostile_promise(world, client, &message);
    } else if (message.type == MESSAGE_SETTLE_REQUEST) {
        message.settle_request.channel = client->id;
        message.settle_request.amount = amount_of(input_number(world->input));
    } else if (message.type == MESSAGE_SETTLE_SIGN) {
        hostile_signature(world, client, &message);
    } else if (message.type == MESSAGE_RESUME) {
        hostile_resume(world, client, &message, ids);
    } else if (message.type == MESSAGE_ERROR) {
        message.error.code = take_u8(world);
        message.error.text = (struct text){"no", 2};
        message.error.reference = (struct error_reference){.present = true,
                                                           .type = MESSAGE_SETTLE_PROPOSE,
                                                           .has_channel = true,
                                                           .channel = client->id,
                                                           .has_nonce = true,
                                                           .nonce = client->proposal.seq};
    } else {
        message.open_request.asset.bytes[0] = (uint8_t)take_below(world, 2);
        message.open_request.inbound = amount_of(input_number(world->input));
    }
    client->hostile = true;
    client->rogue = client->rogue || says_what_counts(message.type);
    world_send(world, client, &message);
}

/* ---- the program ---- */

static void flush(struct world *world, bool all)
{
    uint64_t last = engine_flush(world->engine), durable = journal_durable(world->journal);
    uint64_t appended = memory_journal_appended(world->journal);
    ensure(last <= appended);
    memory_journal_sync(world->journal, all ? appended : durable + take_u8(world) % (appended - durable + 1));
    engine_durable(world->engine, journal_durable(world->journal));
}

static void settle_down(struct world *world, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        flush(world, true);
        world_release(world);
    }
}

/* Time passes in steps that leave the hub its margins. */
static void much_time(struct world *world, unsigned steps)
{
    for (unsigned i = 0; i < steps && world->event_count < EVENTS_FULL; i++) {
        settle_down(world, 3);
        world_block(world, 20);
    }
    settle_down(world, 3);
}

static void act(struct world *world)
{
    uint8_t what = take_u8(world);
    struct client_at *client = &world->clients[what / 20 % CLIENTS];
    switch (what % 20) {
    case 0:
    case 1:
    case 2:
    case 3:
        pay(world, client);
        break;
    case 4:
    case 5:
        answer(world, client);
        break;
    case 6:
        follow(world, client);
        break;
    case 7:
        settle_down(world, 2);
        break;
    case 8:
        flush(world, false);
        break;
    case 9:
        world_block(world, 1 + take_below(world, 20));
        break;
    case 10:
        much_time(world, 1 + take_below(world, 32));
        break;
    case 11:
        world_crash(world, take_u8(world));
        break;
    case 12:
        if (client->peer == 0 || take_below(world, 2) == 0)
            world_connect(world, client);
        else
            world_disconnect(world, client);
        break;
    case 13:
        client->mute = !client->mute;
        world->to_deposit[what / 20 % CLIENTS] = take_u8(world);
        break;
    case 14:
        ask_payout(world, client);
        engine_settle(world->engine);
        break;
    case 15:
        answer_proposal(world, client);
        break;
    case 16:
    case 17:
        hostile_update(world, client);
        break;
    case 18:
        hostile_message(world, client);
        break;
    default:
        send_old(world, client);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct input input = input_of(data, size);
    world_open(&world, &input);
    settle_down(&world, 3);
    for (unsigned i = 0; i < ACTIONS_MAX && input.left > 0 && world.event_count < EVENTS_FULL; i++) {
        act(&world);
        world_release(&world);
        world_check(&world);
    }
    much_time(&world, 2);
    world_check(&world);
    world_close(&world);
    return 0;
}
