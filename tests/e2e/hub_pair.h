/* A hub, a payer with money and a payee with room to receive, all speaking by hand; and updates that no wallet would sign.
 */
#ifndef RILL_TESTS_E2E_HUB_PAIR_H
#define RILL_TESTS_E2E_HUB_PAIR_H

#include "crypto/lock.h"
#include "tests/e2e/wire_client.h"

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

static inline int world_open(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->stage = stage_open(NULL);
    hub_start(world->stage, hub_flags);
    *state = world;
    return 0;
}

static inline int world_close(void **state)
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

static inline bool payer_is_funded(void *context)
{
    const struct wire_client *client = context;
    return client->closed || (client->in_step && client->channel->funds.total.units == DEPOSIT);
}

static inline bool payee_is_funded(void *context)
{
    const struct wire_client *client = context;
    return client->closed || (client->in_step && client->channel->funds.total.units == PAYEE_OWN + ROOM);
}

/* A payer with money, and a payee that the hub gave room to receive, of these names. */
static inline void pair_begin(struct world *world)
{
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
}

/* Each test has a pair of its own. */
static inline int pair_open(void **state)
{
    struct world *world = *state;
    world->tests++;
    snprintf(world->names[0], sizeof world->names[0], "payer %u", world->tests);
    snprintf(world->names[1], sizeof world->names[1], "payee %u", world->tests);
    pair_begin(world);
    return 0;
}

static inline int pair_close(void **state)
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
static inline struct forged forge(struct wire_client *client, const struct operation *operations,
                                  size_t count, uint64_t moved, uint64_t locked)
{
    struct forged forged = {
        .channel = client->channel->id, .proof = channel_own(client->channel)->proof, .signer = &client->key};
    forged.proof.nonce++;
    forged.proof.transferred.units += moved;
    forged.proof.locked.units += locked;
    body_encode(&forged.body, operations, count);
    return forged;
}

static inline void forged_send(struct wire_client *client, struct forged *forged)
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

static inline void expect_error(struct wire_client *client, enum code code, const struct hash *channel,
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
static inline void refused(struct wire_client *client, struct forged forged, enum code code)
{
    struct hash channel = forged.channel;
    uint64_t nonce = forged.proof.nonce;
    forged_send(client, &forged);
    expect_error(client, code, &channel, nonce);
}

/* A good update is taken: whatever was refused before changed nothing. */
static inline void still_good(struct world *world, uint64_t units)
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
static inline void shown_as_known(struct wire_client *client)
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

#define PAIR_TEST(function) cmocka_unit_test_setup_teardown(function, pair_open, pair_close)

#endif
