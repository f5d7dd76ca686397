/* The hub after a close: what is held for locks is unlocked, its own first, wherever a crash comes between; the channel's
 * remains go. And a close that the operator wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/engine_state.h"

#include "engine_world.c"

#define MET_AMOUNT     1000
#define EXPIRED_AMOUNT 2000
#define WINDOW_S       1100 /* the deadline, and three eighths of the period */

/* The contract's side of what is held. */
struct ledger {
    struct hash root; /* of the stream whose locks are held */
    bool of_client;
    uint64_t paid_to_hub, paid_to_client;
    uint64_t paid_ids[8];
    size_t paid_count, refused;
    unsigned step, crash_at; /* the hub dies after this step; 0: never */
};

static struct world *open_some(void)
{
    static struct world world;
    world_open(&world);
    world_fund(&world, 0, 10000, 0);
    world_fund(&world, 1, 0, 9000);
    for (unsigned i = 0; i < 2; i++)
        world_connect(&world, i);
    world_settle_down(&world);
    return &world;
}

static struct hub_channel *hub_side(const struct world *world, unsigned client)
{
    return engine_channel(world->engine, &world->clients[client].channel->id);
}

static void end_step(struct world *world, struct ledger *ledger)
{
    world_settle_down(world);
    if (++ledger->step != ledger->crash_at)
        return;
    world_crash(world);
    world_settle_down(world);
}

static void confirmed(struct world *world, struct contract_event event)
{
    event.confirmed = true;
    event.block = world->block + 1;
    event.block_time = world->now;
    engine_event(world->engine, &event);
    world_head(world, 1);
}

/* Every call that was asked for so far, and forgotten: how many of one kind. */
static size_t taken(struct world *world, enum engine_call call, struct contract_call *out)
{
    size_t count = 0;
    for (size_t i = 0; i < world->calls; i++) {
        if (world->log[i].call == call) {
            if (++count == 1 && out != NULL)
                assert_true(contract_decode_call(world->log[i].data.data, world->log[i].data.length, out));
        }
        buffer_free(&world->log[i].data);
    }
    world->calls = 0;
    return count;
}

static bool is_paid(const struct ledger *ledger, uint64_t lock_id)
{
    for (size_t i = 0; i < ledger->paid_count; i++)
        if (ledger->paid_ids[i] == lock_id)
            return true;
    return false;
}

/* Mines one unlock, as the contract would; the hub may die before it hears of it. */
static void mine_unlock(struct world *world, struct ledger *ledger, const struct contract_call *call,
                        uint64_t reference)
{
    struct hash leaf = lock_leaf(&call->lock);
    assert_int_equal(call->flag, ledger->of_client);
    assert_true(merkle_verify(&leaf, call->merkle, call->merkle_count, &ledger->root));
    if (is_paid(ledger, call->lock.id)) {
        struct ledger_receipt receipt = {.reverted = CONTRACT_ALREADY_UNLOCKED};
        ledger->refused++;
        engine_call_done(world->engine, ENGINE_CALL_UNLOCK, reference, LEDGER_REVERTED, &receipt);
        return;
    }
    bool is_met = hash_equal(&call->lock.condition, &world->registered_condition);
    assert_true(is_met || world->now > call->lock.expiry);
    ledger->paid_ids[ledger->paid_count++] = call->lock.id;
    *(is_met == ledger->of_client ? &ledger->paid_to_hub : &ledger->paid_to_client) +=
        call->lock.amount.units;
    struct contract_event unlocked = {.type = EVENT_UNLOCKED,
                                      .channel = channel_id(&call->key),
                                      .of_client = call->flag,
                                      .lock_id = call->lock.id,
                                      .amount = call->lock.amount,
                                      .to_receiver = is_met};
    end_step(world, ledger); /* mined, and not heard of */
    confirmed(world, unlocked);
    engine_call_done(world->engine, ENGINE_CALL_UNLOCK, reference, LEDGER_OK, NULL);
    end_step(world, ledger);
}

static void mine(struct world *world, struct ledger *ledger)
{
    struct world_call calls[16];
    size_t count = world->calls;
    memcpy(calls, world->log, sizeof(calls));
    memset(world->log, 0, sizeof(world->log));
    world->calls = 0;
    for (size_t i = 0; i < count; i++) {
        struct contract_call call;
        if (calls[i].call == ENGINE_CALL_UNLOCK) {
            assert_true(contract_decode_call(calls[i].data.data, calls[i].data.length, &call));
            mine_unlock(world, ledger, &call, calls[i].reference);
            contract_call_free(&call);
        }
        buffer_free(&calls[i].data);
    }
    world_settle_down(world);
}

static void pass(struct world *world, struct ledger *ledger, uint64_t seconds)
{
    world_head(world, seconds);
    end_step(world, ledger);
    mine(world, ledger);
}

static struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

static struct contract_event close_event(const struct world *world, unsigned client)
{
    struct channel *machine = hub_side(world, client)->channel;
    return (struct contract_event){.type = EVENT_CLOSE_STARTED,
                                   .channel = machine->id,
                                   .of_client_claim = claim_of(&channel_peer(machine)->proof),
                                   .of_hub_claim = claim_of(&channel_own(machine)->proof),
                                   .deadline = world->now + 800};
}

static void finish(struct world *world, struct ledger *ledger, unsigned client, uint64_t held_client,
                   uint64_t held_hub)
{
    struct contract_event finished = {.type = EVENT_FINISHED,
                                      .channel = world->clients[client].channel->id,
                                      .held_client = {held_client},
                                      .held_hub = {held_hub}};
    world_head(world, WINDOW_S);
    taken(world, ENGINE_CALL_FINISH, NULL);
    confirmed(world, finished);
    end_step(world, ledger);
}

static void register_met(struct world *world, struct ledger *ledger)
{
    struct witness secret = world_secret(1);
    struct contract_event met = {.type = EVENT_CONDITION_MET, .condition = condition_of_secret(secret.bytes)};
    memcpy(met.witness.bytes, secret.bytes, sizeof(met.witness.bytes));
    world->registered_condition = met.condition;
    world->registered_time = world->now;
    confirmed(world, met);
    end_step(world, ledger);
}

static void expect_let_go(const struct world *world, unsigned client)
{
    const struct hub_channel *channel = hub_side(world, client);
    assert_null(channel->dispute);
    assert_null(world->engine->disputes);
    assert_int_equal(channel->channel->funds.stage, STAGE_CLOSED);
    for (unsigned side = 0; side < 2; side++) {
        assert_null(channel->channel->streams[side].locks);
        assert_null(channel->channel->streams[side].dropped);
    }
    assert_null(channel->channel->kept);
}

static const struct payment *payment_of(const struct world *world, uint8_t id)
{
    struct payment_id payer = world_id(id);
    return payments_find(&world->engine->payments, &world->clients[0].channel->id, &payer);
}

static void two_locks(struct world *world)
{
    world_pay(world, 0, 1, MET_AMOUNT, 1, true);
    world_pay(world, 0, 1, EXPIRED_AMOUNT, 2, true);
    world_settle_down(world);
}

/* The payee closes. One of its locks is met on the ledger, the other expires: that one is the hub's again. Returns how
 * many steps there were. */
static unsigned payee_closes(unsigned crash_at)
{
    struct world *world = open_some();
    struct ledger ledger = {.crash_at = crash_at};
    two_locks(world);
    wide pool = settle_pool(world->engine, &world->clients[1].channel->key.asset)->own;
    struct contract_event close = close_event(world, 1);
    ledger.root = close.of_hub_claim.locks_root;
    confirmed(world, close);
    end_step(world, &ledger);
    register_met(world, &ledger);
    finish(world, &ledger, 1, 0, MET_AMOUNT + EXPIRED_AMOUNT);
    pass(world, &ledger, 61);
    assert_int_equal(ledger.paid_count, 0); /* the client may take its own itself */
    pass(world, &ledger, 600);
    assert_int_equal(ledger.paid_to_client, MET_AMOUNT);
    assert_int_equal(ledger.paid_to_hub, 0);
    pass(world, &ledger, 3600);
    pass(world, &ledger, 61);
    pass(world, &ledger, 1);
    assert_int_equal(ledger.paid_to_client, MET_AMOUNT);
    assert_int_equal(ledger.paid_to_hub, EXPIRED_AMOUNT);
    pool = settle_pool(world->engine, &world->clients[1].channel->key.asset)->own - pool;
    assert_int_equal(pool, EXPIRED_AMOUNT);
    expect_let_go(world, 1);
    /* The other legs: one is paid for, one is not. */
    assert_true(payment_of(world, 1) == NULL || payment_of(world, 1)->state == PAYMENT_REVEALED);
    assert_true(payment_of(world, 2) == NULL || payment_of(world, 2)->state == PAYMENT_LAPSED);
    world_crash(world);
    world_settle_down(world);
    expect_let_go(world, 1);
    assert_int_equal(taken(world, ENGINE_CALL_UNLOCK, NULL), 0);
    world_close(world);
    return ledger.step;
}

static void test_payee_closes_and_the_hub_dies_anywhere(void **state)
{
    (void)state;
    unsigned steps = payee_closes(0);
    assert_true(steps > 8);
    for (unsigned crash_at = 1; crash_at <= steps; crash_at++)
        payee_closes(crash_at);
}

/* The payer closes with both locks in its stream. The witness of one is known to the hub alone: it registers it, and is
 * paid. The other is left to the payer. */
static unsigned payer_closes(unsigned crash_at)
{
    struct world *world = open_some();
    struct ledger ledger = {.crash_at = crash_at, .of_client = true};
    two_locks(world);
    struct balance_proof locked = channel_peer(hub_side(world, 0)->channel)->proof;
    world->clients[0].mute = true;
    world_disconnect(world, 0);
    struct payment_id id = payment_id_of_payee(&world->clients[0].channel->id, &(struct payment_id){{0}});
    struct payment_id first = world_id(1);
    id = payment_id_of_payee(&world->clients[0].channel->id, &first);
    world_reveal(world, 1, 1, &id);
    world_settle_down(world);
    struct contract_event close = close_event(world, 0);
    ledger.root = close.of_client_claim.locks_root;
    assert_true(hash_equal(&ledger.root, &locked.locks_root));
    confirmed(world, close);
    end_step(world, &ledger);
    finish(world, &ledger, 0, locked.locked.units, 0);
    world_head(world, 1);
    world_settle_down(world);
    struct contract_call call;
    assert_true(taken(world, ENGINE_CALL_REGISTER, &call) > 0);
    contract_call_free(&call);
    register_met(world, &ledger);
    pass(world, &ledger, 61);
    pass(world, &ledger, 1);
    assert_int_equal(ledger.paid_count, 1);
    assert_true(ledger.paid_to_hub > MET_AMOUNT); /* with its fee */
    pass(world, &ledger, 3600);
    pass(world, &ledger, 61);
    assert_int_equal(ledger.paid_count, 1);
    expect_let_go(world, 0);
    world_close(world);
    return ledger.step;
}

static void test_payer_closes_and_the_hub_dies_anywhere(void **state)
{
    (void)state;
    unsigned steps = payer_closes(0);
    for (unsigned crash_at = 1; crash_at <= steps; crash_at++)
        payer_closes(crash_at);
}

/* The payer closes by an update that has not come here, so that its locks are not known: the hub answers only if its own
 * proof, with the locks that may be met after the answer, is worth more. */
static struct contract_event close_by_an_unknown_update(const struct world *world, uint64_t short_of_ours)
{
    struct contract_event close = close_event(world, 0);
    struct claim *claim = &close.of_client_claim;
    claim->nonce++;
    claim->transferred.units += claim->locked.units - short_of_ours;
    memset(claim->locks_root.bytes, 0x77, sizeof(claim->locks_root.bytes));
    return close;
}

static void test_a_claim_that_never_came_and_is_worth_as_much(void **state)
{
    (void)state;
    struct world *world = open_some();
    struct ledger ledger = {.of_client = true};
    two_locks(world);
    struct contract_event close = close_by_an_unknown_update(world, 0);
    confirmed(world, close);
    register_met(world, &ledger);
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_CHALLENGE, NULL), 0);
    finish(world, &ledger, 0, close.of_client_claim.locked.units, 0);
    pass(world, &ledger, 61);
    assert_int_equal(ledger.paid_count, 0);
    expect_let_go(world, 0);
    world_close(world);
}

static void test_a_claim_that_never_came_and_is_worth_less(void **state)
{
    (void)state;
    struct world *world = open_some();
    two_locks(world);
    confirmed(world, close_by_an_unknown_update(world, 1));
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_CHALLENGE, NULL), 1);
    world_close(world);
}

/* The client never acknowledged that its lock had expired, and shows the proof before that. The hub can prove the lock
 * all the same, also after a restart. */
static void test_an_expired_lock_that_is_shown_again(void **state)
{
    (void)state;
    struct world *world = open_some();
    struct ledger ledger = {.step = 0};
    two_locks(world);
    struct contract_event close = close_event(world, 1);
    ledger.root = close.of_hub_claim.locks_root;
    world_disconnect(world, 1);
    world_head(world, 3601);
    world_settle_down(world);
    assert_int_equal(channel_own(hub_side(world, 1)->channel)->proof.locked.units, 0);
    close.deadline = world->now + 800;
    confirmed(world, close);
    world_settle_down(world);
    world_crash(world);
    finish(world, &ledger, 1, 0, MET_AMOUNT + EXPIRED_AMOUNT);
    pass(world, &ledger, 61);
    pass(world, &ledger, 1);
    assert_int_equal(ledger.paid_to_hub, MET_AMOUNT + EXPIRED_AMOUNT);
    expect_let_go(world, 1);
    world_close(world);
}

static void smaller_stay(struct engine_settings *settings)
{
    settings->unlock_min = amount_of(EXPIRED_AMOUNT);
}

/* By a setting only: the smaller lock is not worth its gas. */
static void test_small_locks_may_stay(void **state)
{
    (void)state;
    struct world *world = open_some();
    world->change = smaller_stay;
    world_crash(world);
    world_connect(world, 0);
    world_connect(world, 1);
    world_settle_down(world);
    struct ledger ledger = {.step = 0};
    two_locks(world);
    struct contract_event close = close_event(world, 1);
    ledger.root = close.of_hub_claim.locks_root;
    confirmed(world, close);
    finish(world, &ledger, 1, 0, MET_AMOUNT + EXPIRED_AMOUNT);
    pass(world, &ledger, 3601);
    pass(world, &ledger, 61);
    pass(world, &ledger, 1);
    assert_int_equal(ledger.paid_to_hub, EXPIRED_AMOUNT);
    expect_let_go(world, 1);
    world_close(world);
}

/* A transaction that fails for another reason is tried again. */
static void test_an_unlock_that_fails_is_tried_again(void **state)
{
    (void)state;
    struct world *world = open_some();
    struct ledger ledger = {.step = 0};
    world_pay(world, 0, 1, EXPIRED_AMOUNT, 2, true);
    world_settle_down(world);
    struct contract_event close = close_event(world, 1);
    ledger.root = close.of_hub_claim.locks_root;
    confirmed(world, close);
    finish(world, &ledger, 1, 0, EXPIRED_AMOUNT);
    world_head(world, 3601);
    world_settle_down(world);
    assert_int_equal(world->last_call, ENGINE_CALL_UNLOCK);
    uint64_t reference = world->log[world->calls - 1].reference;
    assert_int_equal(taken(world, ENGINE_CALL_UNLOCK, NULL), 1);
    engine_call_done(world->engine, ENGINE_CALL_UNLOCK, reference, LEDGER_NO_FUNDS, NULL);
    world_head(world, 1);
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_UNLOCK, NULL), 0);
    pass(world, &ledger, 61);
    pass(world, &ledger, 1);
    assert_int_equal(ledger.paid_to_hub, EXPIRED_AMOUNT);
    expect_let_go(world, 1);
    world_close(world);
}

/* ---- the operator's own ---- */

static void test_the_operator_closes(void **state)
{
    (void)state;
    struct world *world = open_some();
    struct ledger ledger = {.step = 0};
    world_pay(world, 0, 1, 700, 3, false);
    world_settle_down(world);
    const struct hash id = world->clients[1].channel->id;
    struct engine_close_look look;
    assert_true(engine_close_look(world->engine, &id, &look));
    assert_int_equal(look.code, CODE_OK);
    assert_int_equal((int64_t)look.client_units, 700);
    struct hash other = HASH_ZERO;
    assert_false(engine_close_look(world->engine, &other, &look));
    assert_int_equal(engine_close(world->engine, &other), CODE_CHANNEL);
    assert_int_equal(engine_close(world->engine, &id), CODE_OK);
    assert_int_equal(engine_close(world->engine, &id), CODE_STATUS);
    world_settle_down(world);
    struct contract_call call;
    assert_int_equal(taken(world, ENGINE_CALL_START_CLOSE, &call), 1);
    assert_int_equal(call.function, CONTRACT_START_CLOSE);
    assert_int_equal(call.own.transferred.units, 700);
    contract_call_free(&call);
    /* Nothing more goes through it. */
    world_pay(world, 0, 1, 100, 4, false);
    world_settle_down(world);
    assert_int_equal(world->clients[0].refunded_count, 1);
    /* Died before anybody took the transaction: it is submitted again, until the ledger shows the close. */
    world_crash(world);
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_START_CLOSE, NULL), 1);
    struct contract_event young = close_event(world, 1);
    young.by_hub = true;
    young.block = world->block + 1;
    engine_event(world->engine, &young);
    world_head(world, 1);
    world_settle_down(world);
    engine_call_done(world->engine, ENGINE_CALL_START_CLOSE, load_be64(id.bytes), LEDGER_UNREACHABLE, NULL);
    world_head(world, 61); /* and the block has vanished */
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_START_CLOSE, NULL), 1);
    confirmed(world, young);
    world_settle_down(world);
    world_crash(world);
    world_head(world, 100);
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_START_CLOSE, NULL), 0);
    finish(world, &ledger, 1, 0, 0);
    world_head(world, 1);
    world_settle_down(world);
    expect_let_go(world, 1);
    world_close(world);
}

/* The client answers the hub's close with a proof whose lock it has revoked since. */
static void test_old_locks_in_an_answer_are_voided(void **state)
{
    (void)state;
    struct world *world = open_some();
    world_pay(world, 0, 1, 1000, 1, true);
    world_settle_down(world);
    struct balance_proof old = channel_own(hub_side(world, 1)->channel)->proof;
    world_head(world, 3601); /* it expires, and the client revokes it */
    world_settle_down(world);
    const struct hash id = world->clients[1].channel->id;
    assert_int_equal(engine_close(world->engine, &id), CODE_OK);
    struct contract_event close = close_event(world, 1);
    close.by_hub = true;
    confirmed(world, close);
    world_settle_down(world);
    taken(world, ENGINE_CALL_START_CLOSE, NULL);
    struct contract_event challenged = {
        .type = EVENT_CHALLENGED, .channel = id, .by_partner = true, .proof = claim_of(&old)};
    confirmed(world, challenged);
    world_settle_down(world);
    assert_int_equal(taken(world, ENGINE_CALL_CHALLENGE, NULL), 0);
    confirmed(world, challenged);
    world_crash(world);
    world_settle_down(world);
    struct contract_call call;
    assert_int_equal(taken(world, ENGINE_CALL_VOID_LOCKS, &call), 1);
    assert_false(call.flag);
    assert_true(call.min_nonce > old.nonce);
    contract_call_free(&call);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payee_closes_and_the_hub_dies_anywhere),
        cmocka_unit_test(test_payer_closes_and_the_hub_dies_anywhere),
        cmocka_unit_test(test_a_claim_that_never_came_and_is_worth_as_much),
        cmocka_unit_test(test_a_claim_that_never_came_and_is_worth_less),
        cmocka_unit_test(test_an_expired_lock_that_is_shown_again),
        cmocka_unit_test(test_small_locks_may_stay),
        cmocka_unit_test(test_an_unlock_that_fails_is_tried_again),
        cmocka_unit_test(test_the_operator_closes),
        cmocka_unit_test(test_old_locks_in_an_answer_are_voided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
