/* The hub as a process, spoken to by hand (wire_client.h): the order in which an update is judged, what each
 * refusal says and leaves unchanged, what is malformed, and what is accepted but refunded or failed. */
#include "tests/e2e/wire_client.h"

#include "crypto/lock.h"

#define DEPOSIT         100000u
#define LOCKS_PER_PAYER 3
#define WAITING_MAX     2

static const char *const hub_flags[] = {
    "--base-fee",        "2", "--fee-ppm",     "1000", "--min-lock",    "100",   "--max-lock", "20000",
    "--locks-per-payer", "3", "--waiting-max", "2",    "--inbound-max", "50000", NULL};

struct world {
    struct hub_stage *stage;
    struct wire_client *payer, *payee; /* of the running test */
    unsigned tests;
    char names[2][32];
};

static int world_open(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->stage = stage_open(NULL);
    hub_start(world->stage, hub_flags);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    if (world == NULL)
        return 0;
    hub_stop(world->stage);
    stage_close(world->stage);
    free(world);
    return 0;
}

#define ROOM      5000u
#define PAYEE_OWN 1000u

static bool payer_is_funded(void *context)
{
    const struct wire_client *client = context;
    return client->closed || (client->in_step && client->channel->funds.total.units == DEPOSIT);
}

static bool payee_is_funded(void *context)
{
    const struct wire_client *client = context;
    return client->closed || (client->in_step && client->channel->funds.total.units == PAYEE_OWN + ROOM);
}

/* Each test has a payer with money, and a payee that the hub gave room to receive. */
static int pair_open(void **state)
{
    struct world *world = *state;
    world->tests++;
    snprintf(world->names[0], sizeof world->names[0], "payer %u", world->tests);
    snprintf(world->names[1], sizeof world->names[1], "payee %u", world->tests);
    world->payer = wire_new(world->stage, world->names[0]);
    world->payee = wire_new(world->stage, world->names[1]);
    wire_deposit(world->payer, DEPOSIT);
    wire_deposit(world->payee, PAYEE_OWN);
    struct fund fund = {world->payee->channel_key, amount_of(ROOM)};
    ledger_call_as(
        world->stage, &world->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1}, 0);
    mine(world->stage);
    wire_connect(world->payer);
    wire_connect(world->payee);
    assert_true(holds_in_time(world->stage, payer_is_funded, world->payer));
    assert_true(holds_in_time(world->stage, payee_is_funded, world->payee));
    (void)block_time(world->stage);
    return 0;
}

static int pair_close(void **state)
{
    struct world *world = *state;
    wire_free(world->payer);
    wire_free(world->payee);
    world->payer = world->payee = NULL;
    return 0;
}

static const struct hash no_condition = {{7}};

/* ---- updates made by hand ---- */

struct forged {
    struct hash channel;
    struct balance_proof proof;
    const struct secret_key *signer;
    struct buffer body;
};

/* What the client's next update would be with this operation, if nothing were wrong; `moved` and `locked` are what
 * the operation adds. A lock's root is not computed: no forged update gets so far. */
static struct forged forge(struct wire_client *client, const struct operation *operations, size_t count,
                           uint64_t moved, uint64_t locked)
{
    struct forged forged = {
        .channel = client->channel->id, .proof = channel_own(client->channel)->proof, .signer = &client->key};
    forged.proof.nonce++;
    forged.proof.transferred.units += moved;
    forged.proof.locked.units += locked;
    body_encode(&forged.body, operations, count);
    return forged;
}

static void forged_send(struct wire_client *client, struct forged *forged)
{
    struct message message = {.type = MESSAGE_UPDATE};
    forged->proof.body_hash = keccak256(forged->body.data, forged->body.length);
    struct hash digest = digest_balance_proof(&client->stage->domain, &forged->channel, &forged->proof);
    message.update = (struct update){.channel = forged->channel,
                                     .proof = forged->proof,
                                     .signature = key_sign(forged->signer, &digest),
                                     .body = forged->body.data,
                                     .body_length = forged->body.length};
    link_send(client->link, &message);
    buffer_free(&forged->body);
}

static void expect_error(struct wire_client *client, enum code code, const struct hash *channel,
                         uint64_t nonce)
{
    const struct seen *seen = wire_expect(client, MESSAGE_ERROR);
    const struct error_reference *reference = &seen->message.error.reference;
    if (seen->message.error.code != code)
        fail_msg("ERROR %s, not %s", code_name(seen->message.error.code), code_name(code));
    assert_false(seen->message.error.fatal);
    assert_true(strlen(seen->text) > 0);
    assert_true(reference->present && reference->has_channel && reference->has_nonce);
    assert_int_equal(reference->type, MESSAGE_UPDATE);
    assert_true(hash_equal(&reference->channel, channel));
    assert_int_equal(reference->nonce, nonce);
}

/* Sends it; it must be refused with this code, and the link lives on. */
static void refused(struct wire_client *client, struct forged forged, enum code code)
{
    struct hash channel = forged.channel;
    uint64_t nonce = forged.proof.nonce;
    forged_send(client, &forged);
    expect_error(client, code, &channel, nonce);
}

/* A good update is taken: whatever was refused before changed nothing. */
static void still_good(struct world *world, uint64_t units)
{
    struct operation pay = payment_of(world->payer, world->payee, OPERATION_PAY, units, &no_condition);
    wire_do(world->payer, &pay, NULL);
    wire_settle_down(world->payer);
    struct payment_id id = payment_id_of_payee(&world->payer->channel->id, &pay.id);
    const struct seen *seen = wire_operation(world->payee, OPERATION_PAY, &id);
    assert_int_equal(seen->operation.amount.units, units);
    assert_int_equal(seen->operation.fee.units, 0);
    assert_true(address_is_zero(&seen->operation.peer));
    assert_true(hash_equal(&seen->operation.condition, &no_condition));
}

/* After a reconnect the hub shows the streams as this side has them. */
static void shown_as_known(struct wire_client *client)
{
    wire_settle_down(client);
    wire_leave(client);
    wire_connect(client);
    for (int side = 0; side < 2; side++) {
        const struct balance_proof *ours = &client->channel->streams[side].proof;
        const struct shown_proof *shown = &client->shown.message.channel.streams[side].newest;
        assert_int_equal(shown->present, ours->nonce > 0);
        assert_int_equal(shown->proof.nonce, ours->nonce);
        assert_int_equal(shown->proof.transferred.units, ours->transferred.units);
        assert_int_equal(shown->proof.locked.units, ours->locked.units);
        assert_true(hash_equal(&shown->proof.locks_root, &ours->locks_root));
    }
}

/* ---- the order of judgement ---- */

/* Each update breaks one rule and all the later ones too: the code is the first's. */
static void test_the_first_broken_rule_gives_the_code(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct secret_key stranger = key_of("stranger");
    still_good(world, 10);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 20, &no_condition);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 9};
    struct operation old_lock = payment_of(payer, world->payee, OPERATION_LOCK, 200, &no_condition);
    struct operation wrong[2] = {unlock, old_lock}, other[2] = {old_lock, unlock};
    uint64_t cost = 20 + pay.fee.units, too_much = 2 * DEPOSIT;

    struct forged forged = forge(payer, &unlock, 1, 1, 1);
    forged.channel.bytes[0] ^= 1;
    forged.proof.nonce += 7;
    forged.signer = &stranger;
    refused(payer, forged, CODE_CHANNEL);

    forged = forge(payer, &unlock, 1, 1, 1);
    forged.proof.nonce++;
    forged.signer = &stranger;
    forged.body.data[0] = 0xc0;
    refused(payer, forged, CODE_NONCE);

    forged = forge(payer, &unlock, 1, 1, 1);
    forged.signer = &stranger;
    forged.body.data[0] = 0xc0;
    refused(payer, forged, CODE_BODY);

    forged = forge(payer, &unlock, 1, 1, 1);
    forged.signer = &stranger;
    refused(payer, forged, CODE_SIGNATURE);

    refused(payer, forge(payer, wrong, 2, 1, 1), CODE_NO_LOCK);
    refused(payer, forge(payer, other, 2, 1, 1), CODE_LOCK_ID);

    pay.amount = amount_of(too_much);
    forged = forge(payer, &pay, 1, too_much, 1);
    forged.proof.locks_root.bytes[3] = 1;
    refused(payer, forged, CODE_TRANSFERRED);

    forged = forge(payer, &pay, 1, too_much + pay.fee.units, 1);
    forged.proof.locks_root.bytes[3] = 1;
    refused(payer, forged, CODE_LOCKED);

    forged = forge(payer, &pay, 1, too_much + pay.fee.units, 0);
    forged.proof.locks_root.bytes[3] = 1;
    refused(payer, forged, CODE_ROOT);

    refused(payer, forge(payer, &pay, 1, too_much + pay.fee.units, 0), CODE_AVAILABLE);

    pay.amount = amount_of(20);
    refused(payer, forge(payer, &pay, 1, cost + 1, 0), CODE_TRANSFERRED);
    assert_int_equal(hub_figure(world->stage, "updates_refused_total") >= 10, true);
    still_good(world, 20);
    shown_as_known(payer);
    shown_as_known(world->payee);
}

static void test_the_reserve_stays_and_the_rest_may_go(void **state)
{
    struct world *world = *state;
    uint64_t reserve = DEPOSIT / 100;
    struct operation pay = payment_of(world->payer, world->payee, OPERATION_PAY, 3000, &no_condition);
    pay.fee = amount_of(DEPOSIT - reserve - 3000 + 1);
    refused(world->payer, forge(world->payer, &pay, 1, DEPOSIT - reserve + 1, 0), CODE_AVAILABLE);
    pay.fee.units--;
    wire_do(world->payer, &pay, NULL); /* a fee above the hub's is the payer's own choice */
    wire_settle_down(world->payer);
    struct payment_id id = payment_id_of_payee(&world->payer->channel->id, &pay.id);
    (void)wire_operation(world->payee, OPERATION_PAY, &id);
    shown_as_known(world->payer);
}

static void test_nonces(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    still_good(world, 10);
    still_good(world, 11);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 12, &no_condition);
    struct forged forged = forge(payer, &pay, 1, 12 + pay.fee.units, 0);
    forged.proof.nonce = 2; /* taken, with another content */
    refused(payer, forged, CODE_NONCE);
    forged = forge(payer, &pay, 1, 12 + pay.fee.units, 0);
    forged.proof.nonce = 0;
    refused(payer, forged, CODE_NONCE);
    forged = forge(payer, &pay, 1, 12 + pay.fee.units, 0);
    forged.proof.nonce = UINT64_MAX;
    refused(payer, forged, CODE_NONCE);
    still_good(world, 12);
}

/* The very bytes again: acknowledged again, booked once. */
static void test_an_identical_update_is_acknowledged_again(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct pending_lock touched;
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 30, &no_condition);
    const struct kept_update *kept = wire_seal(payer, &pay, 1, &touched);
    struct message again = {.type = MESSAGE_UPDATE};
    struct buffer body = {0};
    buffer_append(&body, kept->body, kept->body_length);
    again.update = (struct update){payer->channel->id, kept->proof, kept->signature, body.data, body.length};
    uint64_t nonce = kept->proof.nonce; /* kept until it is acknowledged */
    uint64_t taken = hub_figure(world->stage, "updates_received_total");
    for (unsigned i = 0; i < 3; i++) {
        link_send(payer->link, &again);
        assert_int_equal(wire_expect(payer, MESSAGE_ACK)->message.ack.nonce, nonce);
    }
    buffer_free(&body);
    assert_int_equal(hub_figure(world->stage, "updates_received_total"), taken + 1);
    still_good(world, 31);
    assert_int_equal(channel_peer(world->payee->channel)->proof.transferred.units, 30 + 31);
}

static void body_is_refused(struct wire_client *payer, const struct operation *operation, size_t at,
                            uint8_t byte)
{
    struct forged forged = forge(payer, operation, 1, 0, 0);
    forged.body.data[at] = byte;
    refused(payer, forged, CODE_BODY);
}

static void test_malformed_bodies(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = 9};
    body_is_refused(payer, &unlock, 2, 0);    /* [0, …]: no such operation */
    body_is_refused(payer, &unlock, 2, 7);    /* [7, …] */
    body_is_refused(payer, &unlock, 0, 0x92); /* says two, has one */
    body_is_refused(payer, &unlock, 0, 0x90); /* none, and bytes left over */
    body_is_refused(payer, &unlock, 0, 0xc0); /* nil */
    body_is_refused(payer, &unlock, 3, 0xc0); /* a lock id that is nil */
    body_is_refused(payer, &unlock, 3, 0xff); /* a negative one */
    struct operation kind = payment_of(payer, world->payee, OPERATION_LOCK, 200, &no_condition);
    kind.kind = 2;
    refused(payer, forge(payer, &kind, 1, 0, 0), CODE_BODY);
    struct forged forged = forge(payer, &unlock, 1, 0, 0);
    forged.body.length--;
    refused(payer, forged, CODE_BODY);
    forged = forge(payer, &unlock, 1, 0, 0);
    forged.body.length = 0;
    refused(payer, forged, CODE_BODY);
    struct operation many[OPERATIONS_MAX];
    for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
        many[i] = unlock;
    refused(payer, forge(payer, many, OPERATIONS_MAX, 0, 0), CODE_NO_LOCK);
    forged = forge(payer, many, OPERATIONS_MAX, 0, 0);
    struct buffer one = {0};
    body_encode(&one, &unlock, 1);
    buffer_append(&forged.body, one.data + 1, one.length - 1);
    store_be16(forged.body.data + 1, OPERATIONS_MAX + 1); /* array 16: its length follows the head */
    buffer_free(&one);
    refused(payer, forged, CODE_BODY);
    still_good(world, 10);
}

/* ---- locks ---- */

static const uint8_t secret[32] = {1, 2, 3, 4};

static void test_rules_about_locks(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 500, &condition);
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    wire_settle_down(payer);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    const struct seen *seen = wire_operation(payee, OPERATION_LOCK, &id);
    assert_int_equal(seen->operation.amount.units, 500);
    assert_int_equal(seen->operation.expiry, lock.expiry);
    uint64_t held = 500 + lock.fee.units, lock_id = pending.lock.id;

    struct operation again = payment_of(payer, payee, OPERATION_LOCK, 500, &condition);
    again.lock_id = lock_id; /* does not grow */
    refused(payer, forge(payer, &again, 1, 0, held), CODE_LOCK_ID);
    again.lock_id = lock_id + LOCKS_PER_STREAM_MAX; /* its place is taken */
    refused(payer, forge(payer, &again, 1, 0, held), CODE_LOCK_ID);
    struct operation change = {.type = OPERATION_UNLOCK, .lock_id = lock_id + 1};
    refused(payer, forge(payer, &change, 1, held, 0), CODE_NO_LOCK);
    change.type = OPERATION_EXPIRE;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NO_LOCK);
    change.type = OPERATION_CANCEL;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NO_LOCK);
    change.lock_id = lock_id;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NOT_FAILED);
    change.type = OPERATION_EXPIRE;
    refused(payer, forge(payer, &change, 1, 0, 0), CODE_NOT_EXPIRED);
    change.type = OPERATION_UNLOCK;
    change.witness = (struct witness){.length = WITNESS_SECRET_BYTES, .bytes = {9}};
    refused(payer, forge(payer, &change, 1, held, 0), CODE_WITNESS);

    struct operation largest = payment_of(payer, payee, OPERATION_LOCK, AMOUNT_LIMIT - 1, &condition);
    largest.lock_id = lock_id + 1;
    refused(payer, forge(payer, &largest, 1, 0, 0), CODE_LOCKED);

    /* The lock has come through all of that, and pays. */
    wire_reveal(payee, &id, secret);
    const struct seen *shown = wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    change.witness = shown->revealed.witness;
    assert_memory_equal(change.witness.bytes, secret, sizeof secret);
    wire_do(payer, &change, NULL);
    (void)wire_operation(payee, OPERATION_UNLOCK, NULL);
    shown_as_known(payer);
    shown_as_known(payee);
    assert_int_equal(channel_own(payer->channel)->proof.transferred.units, held);
    assert_int_equal(channel_peer(payee->channel)->proof.transferred.units, 500);
}

static void test_a_wrong_witness_is_an_error_and_the_right_one_counts(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation pay = payment_of(payer, payee, OPERATION_PAY, 70, &condition);
    const uint8_t wrong[32] = {5};
    wire_do(payer, &pay, NULL);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &pay.id);
    (void)wire_operation(payee, OPERATION_PAY, &id);
    wire_reveal(payee, &id, wrong);
    const struct seen *seen = wire_expect(payee, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_WITNESS);
    assert_false(seen->message.error.fatal);
    assert_int_equal(seen->message.error.reference.type, MESSAGE_REVEAL);
    assert_true(seen->message.error.reference.has_id &&
                payment_id_equal(&seen->message.error.reference.id, &id));
    wire_reveal(payee, &id, secret);
    assert_memory_equal(wire_wait(payer, false, MESSAGE_REVEAL, &pay.id)->revealed.witness.bytes, secret,
                        sizeof secret);
}

/* A lock that its payee fails: cancelled, revoked, and only then failed towards the payer, with the payee's code. */
static void test_a_payee_fails_a_lock(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 600, &condition);
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    (void)wire_operation(payee, OPERATION_LOCK, &id);
    assert_true(channel_mark_failed(payee->channel, &id));
    wire_fail(payee, &id, CODE_INVOICE);
    (void)wire_operation(payee, OPERATION_CANCEL, NULL);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_INVOICE);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = pending.lock.id};
    wire_do(payer, &cancel, NULL);
    const struct seen *revoke = wire_expect(payer, MESSAGE_REVOKE);
    assert_int_equal(revoke->message.revoke.min_nonce, channel_own(payer->channel)->proof.nonce);
    assert_int_equal(channel_own(payer->channel)->frozen.units, 0);
    still_good(world, 40);
    shown_as_known(payer);
    shown_as_known(payee);
}

/* The id of a lock that still stands comes a second time: the second lock fails, the first stays what it was. */
static void test_a_repeated_lock_fails_and_the_first_stands(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 500, &condition);
    struct pending_lock first, second;
    wire_do(payer, &lock, &first);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    (void)wire_operation(payee, OPERATION_LOCK, &id);
    wire_do(payer, &lock, &second);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_DUPLICATE);
    wire_settle_down(payer);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = first.lock.id};
    refused(payer, forge(payer, &cancel, 1, 0, 0), CODE_NOT_FAILED);
    wire_reveal(payee, &id, secret);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = first.lock.id};
    unlock.witness = (struct witness){.length = WITNESS_SECRET_BYTES};
    memcpy(unlock.witness.bytes, secret, sizeof secret);
    wire_do(payer, &unlock, NULL);
    wire_settle_down(payer);
    (void)wire_operation(payee, OPERATION_UNLOCK, NULL);
}

/* A payer that gives the hub a lock and unlocks it in the same update has made the hub a present, if the lock was one
 * that must fail. */
static void test_a_lock_unlocked_in_its_own_update(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct hash condition = condition_of_secret(secret);
    struct pending_lock touched;
    struct operation both[2] = {payment_of(payer, world->payee, OPERATION_LOCK, 99, &condition)};
    both[1] = (struct operation){.type = OPERATION_UNLOCK, .lock_id = 1};
    both[1].witness = (struct witness){.length = WITNESS_SECRET_BYTES};
    memcpy(both[1].witness.bytes, secret, sizeof secret);
    wire_send_kept(payer, wire_seal(payer, both, 2, &touched));
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &both[0].id)->failed.code, CODE_AMOUNT);
    wire_settle_down(payer);
    still_good(world, 10);
    shown_as_known(payer);
}

/* ---- accepted, and sent back ---- */

static void expect_refund(struct wire_client *payer, const struct operation *pay, enum code code)
{
    const struct seen *seen = wire_operation(payer, OPERATION_REFUND, &pay->id);
    if (seen->operation.code != code)
        fail_msg("refunded with %s, not %s", code_name(seen->operation.code), code_name(code));
    assert_int_equal(seen->operation.amount.units, pay->amount.units + pay->fee.units);
}

static void refunded(struct wire_client *payer, const struct operation *pay, enum code code)
{
    wire_do(payer, pay, NULL);
    expect_refund(payer, pay, code);
}

static void test_refunds(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct wire_client nobody = {.address = {{1}}};
    uint64_t now = block_time(world->stage);
    struct operation pay = payment_of(payer, payee, OPERATION_PAY, 0, &no_condition);
    refunded(payer, &pay, CODE_AMOUNT);
    pay = payment_of(payer, payee, OPERATION_PAY, 10, &no_condition);
    pay.expiry = now + 500; /* less than min_expiry_s */
    refunded(payer, &pay, CODE_EXPIRED);
    pay = payment_of(payer, payee, OPERATION_PAY, 10, &no_condition);
    pay.expiry = now + 90000; /* more than max_expiry_s */
    refunded(payer, &pay, CODE_EXPIRED);
    pay = payment_of(payer, &nobody, OPERATION_PAY, 10, &no_condition);
    refunded(payer, &pay, CODE_PAYEE);
    pay = payment_of(payer, payer, OPERATION_PAY, 10, &no_condition);
    refunded(payer, &pay, CODE_PAYEE);
    pay = payment_of(payer, payee, OPERATION_PAY, 1000, &no_condition);
    pay.fee.units--;
    refunded(payer, &pay, CODE_FEE);
    pay = payment_of(payer, payee, OPERATION_PAY, ROOM + 1, &no_condition);
    refunded(payer, &pay, CODE_ROOM);

    pay = payment_of(payer, payee, OPERATION_PAY, 50, &no_condition);
    wire_do(payer, &pay, NULL);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &pay.id);
    (void)wire_operation(payee, OPERATION_PAY, &id);
    refunded(payer, &pay, CODE_DUPLICATE);
    /* The payee sends it back: fee and all. */
    struct operation back = {.type = OPERATION_REFUND, .id = id, .amount = amount_of(50), .code = CODE_PAID};
    wire_do(payee, &back, NULL);
    expect_refund(payer, &pay, CODE_PAID);
    wire_settle_down(payer);
    wide balance = channel_balance(payer->channel, SIDE_CLIENT);
    assert_true(balance == (wide)DEPOSIT);
    shown_as_known(payer);
    shown_as_known(payee);
}

static void test_an_absent_payee_has_only_so_many_waiting(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct operation pays[WAITING_MAX + 1];
    struct payment_id id;
    wire_leave(payee);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (hub_figure(world->stage, "clients_online") != 1 && clock_monotonic_us() < end_us)
        turn(world->stage);
    for (size_t i = 0; i <= WAITING_MAX; i++) {
        pays[i] = payment_of(payer, payee, OPERATION_PAY, 20 + i, &no_condition);
        wire_do(payer, &pays[i], NULL);
    }
    expect_refund(payer, &pays[WAITING_MAX], CODE_LIMIT);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 500, &no_condition);
    wire_do(payer, &lock, NULL);
    assert_int_equal(wire_wait(payer, false, MESSAGE_FAIL, &lock.id)->failed.code, CODE_OFFLINE);
    wire_connect(payee);
    for (size_t i = 0; i < WAITING_MAX; i++) {
        id = payment_id_of_payee(&payer->channel->id, &pays[i].id);
        assert_int_equal(wire_operation(payee, OPERATION_PAY, &id)->operation.amount.units, 20 + i);
    }
}

/* Sends a lock that must fail with this code, and takes it back. */
static void failed(struct wire_client *payer, const struct operation *lock, enum code code)
{
    struct pending_lock pending;
    wire_do(payer, lock, &pending);
    const struct seen *seen = wire_wait(payer, false, MESSAGE_FAIL, &lock->id);
    if (seen->failed.code != code)
        fail_msg("failed with %s, not %s", code_name(seen->failed.code), code_name(code));
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = pending.lock.id};
    wire_do(payer, &cancel, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
}

static void test_locks_that_fail_at_once(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct wire_client nobody = {.address = {{1}}};
    uint64_t now = block_time(world->stage);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 99, &no_condition);
    failed(payer, &lock, CODE_AMOUNT);
    lock = payment_of(payer, payee, OPERATION_LOCK, 20001, &no_condition);
    failed(payer, &lock, CODE_AMOUNT);
    lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
    lock.expiry = now + 500;
    failed(payer, &lock, CODE_EXPIRED);
    lock = payment_of(payer, &nobody, OPERATION_LOCK, 200, &no_condition);
    failed(payer, &lock, CODE_PAYEE);
    lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
    lock.fee.units--;
    failed(payer, &lock, CODE_FEE);
    lock = payment_of(payer, payee, OPERATION_LOCK, ROOM + 1, &no_condition);
    failed(payer, &lock, CODE_ROOM);
    for (unsigned i = 0; i < LOCKS_PER_PAYER; i++) {
        lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
        wire_do(payer, &lock, NULL);
    }
    lock = payment_of(payer, payee, OPERATION_LOCK, 200, &no_condition);
    failed(payer, &lock, CODE_LIMIT);
    shown_as_known(payer);
}

/* ---- the link ---- */

static void send_raw(struct wire_client *client, const void *payload, size_t length)
{
    struct buffer frame = {0};
    buffer_u32(&frame, (uint32_t)length);
    buffer_append(&frame, payload, length);
    link_send_frame(client->link, frame.data, frame.length);
    buffer_free(&frame);
}

/* The frame ends the link, with ERROR MALFORMED; a new link is as good as ever. */
static void is_fatal(struct wire_client *client, const void *payload, size_t length)
{
    send_raw(client, payload, length);
    wire_expect_closed(client, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(client);
}

static void test_malformed_frames_end_the_link(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    const uint8_t not_an_array[] = {0x07}, unknown_type[] = {0x91, 0x63}, nil[] = {0x92, 0x07, 0xc0};
    const uint8_t short_ack[] = {0x92, 0x07, 0xc4},
                  two[] = {0x92, 0x0f, 0xc4, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x90};
    const uint8_t deep[] = {0x93, 0x13, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90};
    is_fatal(payer, not_an_array, sizeof not_an_array);
    is_fatal(payer, unknown_type, sizeof unknown_type);
    is_fatal(payer, nil, sizeof nil);
    is_fatal(payer, short_ack, sizeof short_ack);
    is_fatal(payer, two, sizeof two);
    is_fatal(payer, deep, sizeof deep);
    is_fatal(payer, "", 0);
    const uint8_t too_long[] = {0x00, 0x04, 0x00, 0x01};
    link_send_frame(payer->link, too_long, sizeof too_long);
    wire_expect_closed(payer, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(payer);
    still_good(world, 10);
}

static void is_out_of_place(struct wire_client *client, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    link_send_frame(client->link, frame.data, frame.length);
    buffer_free(&frame);
    wire_expect_closed(client, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(client);
}

static void test_messages_out_of_place_end_the_link(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct message message = {.type = MESSAGE_FUNDED};
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_SETTLE_PROPOSE};
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_FETCH}; /* a tower's */
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_AUTH}; /* the handshake is over */
    is_out_of_place(payer, &message);
    message = (struct message){.type = MESSAGE_HELLO, .hello.version = 1};
    is_out_of_place(payer, &message);
    still_good(world, 10);
}

static void test_messages_about_strange_channels(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct message message = {.type = MESSAGE_RESUME};
    message.resume.channel = world->payee->channel->id; /* another's */
    link_send(payer->link, &message);
    const struct seen *seen = wire_expect(payer, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_CHANNEL);
    assert_false(seen->message.error.fatal);
    message = (struct message){.type = MESSAGE_ACK, .ack = {payer->channel->id, 99}};
    link_send(payer->link, &message);
    seen = wire_expect(payer, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_NONCE);
    struct signature signature = {{0}};
    message = (struct message){.type = MESSAGE_REVOKE, .revoke = {payer->channel->id, 99, signature}};
    link_send(payer->link, &message);
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_NONCE);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 10, &no_condition);
    struct forged forged = forge(payer, &pay, 1, 10 + pay.fee.units, 0);
    forged.channel = world->payee->channel->id;
    refused(payer, forged, CODE_CHANNEL);
    still_good(world, 10);
}

static void test_who_may_connect(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    const struct asset_terms *terms = &payer->terms.assets[0];
    assert_int_equal(payer->terms.asset_count, 1);
    assert_int_equal(payer->terms.confirmations, 1);
    assert_int_equal(terms->base_fee.units, 2);
    assert_int_equal(terms->fee_ppm, 1000);
    assert_int_equal(terms->min_lock.units, 100);
    assert_int_equal(terms->max_lock.units, 20000);
    assert_int_equal(terms->max_locks_per_payer, LOCKS_PER_PAYER);
    struct wire_client *newer = wire_new(world->stage, payer->name), *hub = wire_new(world->stage, "hub");
    wire_connect(newer);
    wire_expect_closed(payer, LINK_CLOSED_ERROR, "REPLACED");
    hub->key = world->stage->hub;
    wire_dial(hub);
    wire_expect_closed(hub, LINK_CLOSED_ERROR, "AUTH");
    wire_free(newer);
    wire_free(hub);
    wire_connect(payer);
    still_good(world, 10);
}

/* A channel whose close was begun takes nothing more. */
static void test_a_closing_channel_takes_nothing(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    still_good(world, 10);
    const struct balance_proof *own = &channel_own(payer->channel)->proof;
    struct contract_call close = {
        .function = CONTRACT_START_CLOSE,
        .key = payer->channel_key,
        .own = {own->nonce, own->transferred, own->locked, own->locks_root},
    };
    ledger_call_as(world->stage, &payer->key, &close, 0);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    mine(world->stage);
    mine(world->stage);
    while (hub_figure(world->stage, "closes_seen_total") == 0 && clock_monotonic_us() < end_us)
        turn(world->stage);
    struct operation pay = payment_of(payer, world->payee, OPERATION_PAY, 10, &no_condition);
    struct forged forged = forge(payer, &pay, 1, 10 + pay.fee.units, 0);
    forged.proof.nonce += 3;
    refused(payer, forged, CODE_STATUS);
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = payer->channel->id;
    request.settle_request.amount = amount_of(10);
    link_send(payer->link, &request);
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_STATUS);
}

#define PAIR_TEST(function) cmocka_unit_test_setup_teardown(function, pair_open, pair_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_the_first_broken_rule_gives_the_code),
        PAIR_TEST(test_the_reserve_stays_and_the_rest_may_go),
        PAIR_TEST(test_nonces),
        PAIR_TEST(test_an_identical_update_is_acknowledged_again),
        PAIR_TEST(test_malformed_bodies),
        PAIR_TEST(test_rules_about_locks),
        PAIR_TEST(test_a_wrong_witness_is_an_error_and_the_right_one_counts),
        PAIR_TEST(test_a_payee_fails_a_lock),
        PAIR_TEST(test_a_repeated_lock_fails_and_the_first_stands),
        PAIR_TEST(test_a_lock_unlocked_in_its_own_update),
        PAIR_TEST(test_refunds),
        PAIR_TEST(test_an_absent_payee_has_only_so_many_waiting),
        PAIR_TEST(test_locks_that_fail_at_once),
        PAIR_TEST(test_malformed_frames_end_the_link),
        PAIR_TEST(test_messages_out_of_place_end_the_link),
        PAIR_TEST(test_messages_about_strange_channels),
        PAIR_TEST(test_who_may_connect),
        PAIR_TEST(test_a_closing_channel_takes_nothing),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
