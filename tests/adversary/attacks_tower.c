/* What a stranger, a client or its counterparty may try at a watchtower. */
#include "tests/adversary/arena.h"
#include "tests/e2e/tower_user.h"

static void user_open(struct user *user, struct arena *arena, const struct secret_key *key)
{
    struct address tower = secret_key_address(&arena->tower);
    if (!user_dial(user, arena->stage, arena->tower_port, &tower, key))
        fail_msg("the tower's handshake: %s", user->reason);
}

static void user_ask(struct user *user, const struct message *message)
{
    if (!user_tells(user, message))
        fail_msg("the tower does not answer: %s", user->reason);
}

static void user_refused(struct user *user, const struct message *message, enum code code)
{
    user_ask(user, message);
    if (user->answer.type != MESSAGE_ERROR || user->answer.error.code != code || user->answer.error.fatal)
        fail_msg("%s %s, not ERROR %s", message_name(user->answer.type),
                 user->answer.type == MESSAGE_ERROR ? code_name(user->answer.error.code) : "",
                 code_name(code));
}

static struct message appointment_of(struct arena *arena, struct wire_client *owner,
                                     const struct secret_key *signer)
{
    struct address tower = secret_key_address(&arena->tower);
    return appointment_by(owner, &tower, signer);
}

/* The attacking payee's channel, with a payment in it. */
static void payee_user(struct arena *arena, struct user *user)
{
    still_good(&arena->world, 40);
    user_open(user, arena, &arena->world.payee->key);
}

static void for_anothers_channel(struct arena *arena)
{
    struct user user;
    user_open(&user, arena, &arena->world.payer->key);
    struct message message = appointment_of(arena, arena->honest.payee, &arena->world.payer->key);
    user_refused(&user, &message, CODE_CHANNEL);
    user_close(&user);
}

static void for_no_channel(struct arena *arena)
{
    struct user user;
    struct secret_key nobody = key_of("nobody at the tower");
    user_open(&user, arena, &nobody);
    struct message message = {.type = MESSAGE_APPOINT};
    message.appoint.key.client = secret_key_address(&nobody);
    struct address tower = secret_key_address(&arena->tower);
    struct hash none = HASH_ZERO, choice = digest_choice(&arena->stage->domain, &none, &tower);
    message.appoint.has_choice = true;
    message.appoint.choice = key_sign(&nobody, &choice);
    user_refused(&user, &message, CODE_CHANNEL);
    user_close(&user);
}

static void choice_by_another(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct message message = appointment_of(arena, arena->world.payee, &arena->world.payer->key);
    user_refused(&user, &message, CODE_SIGNATURE);
    user_close(&user);
}

static void choice_of_another_tower(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct secret_key own = arena->tower;
    arena->tower = key_of("another tower");
    struct message message = appointment_of(arena, arena->world.payee, &arena->world.payee->key);
    arena->tower = own;
    user_refused(&user, &message, CODE_SIGNATURE);
    user_close(&user);
}

static void no_choice(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct message message = appointment_of(arena, arena->world.payee, &arena->world.payee->key);
    message.appoint.has_choice = false;
    user_refused(&user, &message, CODE_SIGNATURE);
    user_close(&user);
}

/* The client makes up what the hub would owe it. */
static void proof_made_up(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct wire_client *payee = arena->world.payee;
    struct message message = appointment_of(arena, payee, &payee->key);
    message.appoint.proof.proof.transferred.units = ROOM;
    struct hash digest =
        digest_balance_proof(&arena->stage->domain, &payee->channel->id, &message.appoint.proof.proof);
    message.appoint.proof.signature = key_sign(&payee->key, &digest);
    user_refused(&user, &message, CODE_SIGNATURE);
    user_close(&user);
}

static void locks_made_up(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct message message = appointment_of(arena, arena->world.payee, &arena->world.payee->key);
    struct shown_lock lock = {.lock = {.id = 1, .amount = amount_of(500), .expiry = UINT64_MAX}};
    message.appoint.locks = &lock;
    message.appoint.lock_count = 1;
    user_refused(&user, &message, CODE_LOCKED);
    lock.lock.amount.units = AMOUNT_LIMIT;
    user.answered = user.closed = false;
    link_send(user.link, &message);
    assert_true(holds_in_time(arena->stage, user_is_answered, &user));
    assert_true(user.closed || user.answer.type == MESSAGE_ERROR);
    user_close(&user);
}

static void revocation_made_up(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct wire_client *payee = arena->world.payee;
    struct message message = appointment_of(arena, payee, &payee->key);
    struct hash digest = digest_revocation(&arena->stage->domain, &payee->channel->id, UINT64_MAX);
    message.appoint.revocation = (struct shown_revocation){true, UINT64_MAX, key_sign(&payee->key, &digest)};
    user_refused(&user, &message, CODE_SIGNATURE);
    user_close(&user);
}

/* An older proof does not take the place of a newer one. */
static void older_proof(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct wire_client *payee = arena->world.payee;
    struct message older = appointment_of(arena, payee, &payee->key);
    wire_settle_down(arena->world.payer);
    still_good(&arena->world, 41);
    struct message newer = appointment_of(arena, payee, &payee->key);
    user_ask(&user, &newer);
    assert_int_equal(user.answer.type, MESSAGE_RECEIPT);
    uint64_t nonce = user.answer.receipt.nonce;
    assert_int_equal(nonce, channel_peer(payee->channel)->proof.nonce);
    user_ask(&user, &older);
    assert_int_equal(user.answer.type, MESSAGE_RECEIPT);
    assert_int_equal(user.answer.receipt.nonce, nonce);
    struct message fetch = {.type = MESSAGE_FETCH, .fetch = {payee->channel->id}};
    user_ask(&user, &fetch);
    assert_int_equal(user.answer.type, MESSAGE_KEPT);
    assert_int_equal(user.answer.appoint.proof.proof.nonce, nonce);
    user_close(&user);
}

static void over_the_quota(struct arena *arena)
{
    struct user user;
    payee_user(arena, &user);
    struct wire_client *payee = arena->world.payee;
    struct message message = appointment_of(arena, payee, &payee->key);
    user_ask(&user, &message);
    assert_int_equal(user.answer.type, MESSAGE_RECEIPT);
    struct channel_key key = payee->channel_key;
    key.salt = 1;
    ledger_call_as(arena->stage, &payee->key,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT, .key = key, .amount = amount_of(10)},
                   10);
    mine(arena->stage);
    message.appoint.key = key;
    message.appoint.proof.present = false;
    struct address tower = secret_key_address(&arena->tower);
    struct hash none = HASH_ZERO, choice = digest_choice(&arena->stage->domain, &none, &tower);
    message.appoint.choice = key_sign(&payee->key, &choice);
    user_refused(&user, &message, CODE_LIMIT);
    user_close(&user);
}

static void fetch_of_another(struct arena *arena)
{
    struct user owner, thief;
    payee_user(arena, &owner);
    struct message message = appointment_of(arena, arena->world.payee, &arena->world.payee->key);
    user_ask(&owner, &message);
    assert_int_equal(owner.answer.type, MESSAGE_RECEIPT);
    user_open(&thief, arena, &arena->world.payer->key);
    struct message fetch = {.type = MESSAGE_FETCH, .fetch = {arena->world.payee->channel->id}};
    user_refused(&thief, &fetch, CODE_CHANNEL);
    user_close(&owner);
    user_close(&thief);
}

static void hubs_messages(struct arena *arena)
{
    static const enum message_type types[] = {MESSAGE_SETTLE_REQUEST, MESSAGE_ACK,  MESSAGE_OPEN_REQUEST,
                                              MESSAGE_RECEIPT,        MESSAGE_KEPT, MESSAGE_AUTH};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        struct user user;
        user_open(&user, arena, &arena->world.payer->key);
        struct message message = {.type = types[i]};
        struct buffer frame = {0};
        message_encode(&frame, &message);
        link_send_frame(user.link, frame.data, frame.length);
        buffer_free(&frame);
        assert_true(holds_in_time(arena->stage, user_is_answered, &user));
        assert_true(user.closed && strstr(user.reason, "MALFORMED") != NULL);
    }
}

static void as_another_user(struct arena *arena)
{
    struct message challenge;
    struct raw *raw = raw_open(arena->stage, arena->tower_port);
    raw_hello(&raw, &arena->honest.payee->address, &challenge);
    struct hash certificate = raw_certificate(raw);
    raw_send_auth(raw, &arena->world.payer->key, &arena->stage->domain, &arena->honest.payee->address,
                  &challenge.challenge.challenge, &certificate);
    raw_expect_refusal(raw, CODE_AUTH);
    raw_close(raw);
}

/* An AUTH made for the hub does not open the tower: each proves itself for its own certificate. */
static void hubs_session(struct arena *arena)
{
    struct message challenge;
    struct raw *hub = raw_open(arena->stage, arena->stage->hub_port);
    struct hash certificate = raw_certificate(hub);
    raw_close(hub);
    struct raw *raw = raw_open(arena->stage, arena->tower_port);
    raw_hello(&raw, &arena->world.payer->address, &challenge);
    raw_send_auth(raw, &arena->world.payer->key, &arena->stage->domain, &arena->world.payer->address,
                  &challenge.challenge.challenge, &certificate);
    raw_expect_refusal(raw, CODE_AUTH);
    raw_close(raw);
}

static void tower_frames(struct arena *arena)
{
    static const uint8_t frames[][12] = {{0, 0, 0x10, 0x01},
                                         {0, 0, 0, 1, 0x07},
                                         {0, 0, 0, 0},
                                         {0, 0, 0, 2, 0x91, 0x63},
                                         {0xff, 0xff, 0xff, 0xff}};
    static const size_t lengths[] = {4, 5, 4, 6, 4};
    for (size_t i = 0; i < ARRAY_LENGTH(frames); i++) {
        struct raw *raw = raw_open(arena->stage, arena->tower_port);
        raw_send(raw, frames[i], lengths[i]);
        raw_expect_refusal(raw, CODE_MALFORMED);
        raw_close(raw);
    }
}

const struct attack attacks_tower[] = {
    {"tower", "APPOINT for another's channel", "ERROR CHANNEL", for_anothers_channel, false},
    {"tower", "APPOINT for a channel that does not exist", "ERROR CHANNEL", for_no_channel, false},
    {"tower", "a Choice that another has signed", "ERROR SIGNATURE", choice_by_another, false},
    {"tower", "a Choice of another tower", "ERROR SIGNATURE", choice_of_another_tower, false},
    {"tower", "no Choice", "ERROR SIGNATURE", no_choice, false},
    {"tower", "a proof of the hub's, made up by its client", "ERROR SIGNATURE", proof_made_up, false},
    {"tower", "locks that the proof does not hold, of 2^63", "ERROR LOCKED", locks_made_up, false},
    {"tower", "a revocation of the hub's, made up by its client", "ERROR SIGNATURE", revocation_made_up,
     false},
    {"tower", "an older proof after a newer", "RECEIPT for the newer, which stays", older_proof, false},
    {"tower", "more channels than a user may have there", "ERROR LIMIT", over_the_quota, false},
    {"tower", "FETCH of another's appointment", "ERROR CHANNEL", fetch_of_another, false},
    {"tower", "a hub's messages, and a tower's own", "ERROR MALFORMED, closed", hubs_messages, false},
    {"tower", "AUTH as another user", "ERROR AUTH, closed", as_another_user, false},
    {"tower", "AUTH made for the hub's certificate", "ERROR AUTH, closed", hubs_session, false},
    {"tower", "oversized, empty, unknown frames before AUTH", "ERROR MALFORMED, closed", tower_frames, false},
    {0},
};
