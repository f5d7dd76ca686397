/* The hub as a process, spoken to by hand (wire_client.h): what survives a lost link and kill -9, payees that are away,
 * locks that nobody claims, channels that the hub opens, and netted settlement down to the coins on the ledger. */
#include "tests/e2e/wire_client.h"

#include "crypto/lock.h"

#define DEPOSIT     100000u
#define INBOUND_MAX 50000u

static const char *const hub_flags[] = {
    "--base-fee",    "2",     "--fee-ppm",           "1000",  "--min-lock", "100",
    "--inbound-max", "50000", "--settle-collect-ms", "20000", NULL};

static const struct hash no_condition = {{7}};
static const uint8_t secret[32] = {1, 2, 3, 4};

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
    *state = world;
    hub_start(world->stage, hub_flags);
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    hub_stop(world->stage);
    stage_close(world->stage);
    free(world);
    return 0;
}

/* ---- the hub's room for those who have no money ---- */

static void open_request(struct wire_client *client, const struct address *asset, uint64_t inbound)
{
    struct message message = {.type = MESSAGE_OPEN_REQUEST};
    message.open_request.asset = *asset;
    message.open_request.inbound = amount_of(inbound);
    link_send(client->link, &message);
}

/* Blocks go by until it holds. */
static void mine_until(struct hub_stage *stage, bool (*holds)(void *context), void *context, const char *what)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!holds(context)) {
        if (clock_monotonic_us() > end_us)
            fail_with_log(stage, what);
        mine(stage);
        turn(stage);
    }
}

static bool has_channel(void *context)
{
    const struct wire_client *client = context;
    return client->closed || (client->in_step && client->channel->funds.total.units > 0);
}

/* Each test has a payer with money of its own, and a payee whose channel the hub opened. */
static int pair_open(void **state)
{
    struct world *world = *state;
    world->tests++;
    snprintf(world->names[0], sizeof world->names[0], "payer %u", world->tests);
    snprintf(world->names[1], sizeof world->names[1], "payee %u", world->tests);
    world->payer = wire_new(world->stage, world->names[0]);
    world->payee = wire_new(world->stage, world->names[1]);
    wire_deposit(world->payer, DEPOSIT);
    wire_connect(world->payer);
    wire_connect(world->payee);
    open_request(world->payee, &ADDRESS_ZERO, 5000);
    mine_until(world->stage, has_channel, world->payee, "the channel that the hub opens");
    mine_until(world->stage, has_channel, world->payer, "the payer's channel");
    assert_int_equal(world->payee->channel->funds.total.units, 5000);
    assert_int_equal(world->payee->channel->funds.base, 0);
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

static struct operation pay(struct world *world, uint64_t units)
{
    struct operation operation = payment_of(world->payer, world->payee, OPERATION_PAY, units, &no_condition);
    wire_do(world->payer, &operation, NULL);
    return operation;
}

static void arrives(struct world *world, const struct operation *operation)
{
    struct payment_id id = payment_id_of_payee(&world->payer->channel->id, &operation->id);
    const struct seen *seen = wire_operation(world->payee, operation->type, &id);
    assert_int_equal(seen->operation.amount.units, operation->amount.units);
}

static bool payee_is_known_away(void *context)
{
    return hub_figure(context, "clients_online") == 1;
}

static void payee_leaves(struct world *world)
{
    wire_leave(world->payee);
    assert_true(holds_in_time(world->stage, payee_is_known_away, world->stage));
}

/* ---- a lost link ---- */

static bool three_came(void *context)
{
    const struct wire_client *client = context;
    size_t count = 0;
    for (size_t i = 0; i < client->seen_count; i++)
        count += !client->seen[i].is_operation && client->seen[i].message.type == MESSAGE_UPDATE;
    return count >= 3;
}

static void comes_again(struct world *world, const struct buffer *before)
{
    struct wire_client *payee = world->payee;
    buffer_clear(&payee->kept_updates);
    wire_connect(payee);
    assert_true(holds_in_time(world->stage, three_came, payee));
    assert_int_equal(payee->kept_updates.length, before->length);
    assert_memory_equal(payee->kept_updates.data, before->data, before->length);
}

static void test_unacknowledged_updates_come_again_byte_for_byte(void **state)
{
    struct world *world = *state;
    struct wire_client *payee = world->payee;
    payee->silent = true;
    struct operation sent[3];
    for (unsigned i = 0; i < 3; i++) {
        sent[i] = pay(world, 10 + i);
        wire_settle_down(world->payer);
    }
    assert_true(holds_in_time(world->stage, three_came, payee));
    struct buffer before = {0};
    buffer_append(&before, payee->kept_updates.data, payee->kept_updates.length);
    wire_leave(payee);
    comes_again(world, &before);
    wire_leave(payee);
    hub_kill(world->stage);
    hub_start(world->stage, hub_flags);
    comes_again(world, &before);
    buffer_free(&before);
    wire_leave(payee);
    payee->silent = false;
    wire_connect(payee);
    for (unsigned i = 0; i < 3; i++)
        arrives(world, &sent[i]);
    wire_leave(payee);
    wire_connect(payee); /* all acknowledged: nothing comes again */
    wire_connect(world->payer);
    struct operation last = pay(world, 40);
    arrives(world, &last);
    assert_int_equal(channel_peer(payee->channel)->proof.transferred.units, 10 + 11 + 12 + 40);
}

/* An update that never arrived: the next one is refused, and RESUME heals it. */
static void test_a_gap_is_refused_and_healed_by_resume(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct pending_lock touched;
    struct operation lost = payment_of(payer, world->payee, OPERATION_PAY, 21, &no_condition);
    (void)wire_seal(payer, &lost, 1, &touched); /* signed, never sent */
    struct operation next = pay(world, 22);
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_NONCE);
    wire_leave(payer);
    wire_connect(payer);
    wire_settle_down(payer);
    arrives(world, &lost);
    arrives(world, &next);
}

/* ---- kill -9 ---- */

/* Lets the loop run for so long; 0: only what is ready. */
static void run_for_us(struct hub_stage *stage, uint64_t time_us)
{
    uint64_t end_us = clock_monotonic_us() + time_us;
    do {
        event_base_loop(stage->base, EVLOOP_NONBLOCK);
    } while (clock_monotonic_us() < end_us);
}

static void test_what_was_acknowledged_survives_a_kill(void **state)
{
    static const uint64_t moments_us[] = {0, 300, 700, 1500, 3000, 6000, 12000, 60000};
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(moments_us); i++) {
        struct operation operation = pay(world, 50 + i);
        uint64_t nonce = channel_own(payer->channel)->proof.nonce;
        run_for_us(world->stage, moments_us[i]);
        hub_kill(world->stage);
        run_for_us(world->stage, 1000); /* what it had said before it died still arrives */
        uint64_t acknowledged = payer->channel->acknowledged;
        uint64_t received = channel_peer(payee->channel)->proof.nonce;
        wire_leave(payer);
        wire_leave(payee);
        hub_start(world->stage, hub_flags);
        wire_connect(payer);
        uint64_t shown = payer->shown.message.channel.streams[SIDE_CLIENT].newest.proof.nonce;
        assert_true(shown >= acknowledged && (shown == nonce || shown + 1 == nonce));
        wire_settle_down(payer);
        wire_connect(payee);
        assert_true(payee->shown.message.channel.streams[SIDE_HUB].newest.proof.nonce >= received);
        sum += 50 + i;
        uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
        while (channel_peer(payee->channel)->proof.transferred.units != sum && clock_monotonic_us() < end_us)
            turn(world->stage);
        assert_int_equal(channel_peer(payee->channel)->proof.transferred.units, sum);
        (void)operation;
    }
    struct operation last = pay(world, 9);
    arrives(world, &last);
    assert_int_equal(channel_own(payer->channel)->proof.nonce, ARRAY_LENGTH(moments_us) + 1);
}

/* A lock under way at the kill: it is whole afterwards, and is revealed and unlocked as if nothing had been. */
static void test_a_lock_survives_a_kill(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer, *payee = world->payee;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, payee, OPERATION_LOCK, 400, &condition);
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    arrives(world, &lock);
    wire_settle_down(payer);
    hub_kill(world->stage);
    wire_leave(payer);
    wire_leave(payee);
    hub_start(world->stage, hub_flags);
    wire_connect(payer);
    wire_connect(payee);
    assert_int_equal(payee->shown.message.channel.streams[SIDE_HUB].newest.proof.locked.units, 400);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    wire_reveal(payee, &id, secret);
    const struct seen *revealed = wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    struct operation unlock = {
        .type = OPERATION_UNLOCK, .lock_id = pending.lock.id, .witness = revealed->revealed.witness};
    (void)wire_operation(payee, OPERATION_UNLOCK, NULL);
    hub_kill(world->stage); /* before the payer has unlocked: the outcome is asked for again */
    wire_leave(payer);
    hub_start(world->stage, hub_flags);
    wire_connect(payer);
    struct message ask = {.type = MESSAGE_RESUME};
    ask.resume.channel = payer->channel->id;
    ask.resume.received = channel_peer(payer->channel)->proof.nonce;
    ask.resume.own = channel_own(payer->channel)->proof.nonce;
    ask.resume.ids = &lock.id;
    ask.resume.count = 1;
    link_send(payer->link, &ask);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    wire_do(payer, &unlock, NULL);
    wire_settle_down(payer);
    assert_int_equal(channel_own(payer->channel)->proof.locked.units, 0);
}

/* ---- payees that are away ---- */

static void test_a_payment_to_one_who_is_away_arrives_later(void **state)
{
    struct world *world = *state;
    payee_leaves(world);
    struct operation first = pay(world, 60), second = pay(world, 61);
    wire_settle_down(world->payer);
    hub_kill(world->stage);
    wire_leave(world->payer);
    hub_start(world->stage, hub_flags);
    wire_connect(world->payee);
    arrives(world, &first);
    arrives(world, &second);
    struct payment_id id = payment_id_of_payee(&world->payer->channel->id, &first.id);
    struct operation back = {.type = OPERATION_REFUND, .id = id, .amount = first.amount};
    wire_do(world->payee, &back, NULL);
    wire_settle_down(world->payee);
    wire_connect(world->payer);
    assert_int_equal(wire_operation(world->payer, OPERATION_REFUND, &first.id)->operation.amount.units,
                     60 + first.fee.units);
}

static void test_one_who_stays_away_is_not_paid(void **state)
{
    struct world *world = *state;
    payee_leaves(world);
    struct operation operation = pay(world, 60);
    wire_settle_down(world->payer);
    advance(world->stage, 3700);
    const struct seen *seen = wire_operation(world->payer, OPERATION_REFUND, &operation.id);
    assert_int_equal(seen->operation.code, CODE_EXPIRED);
    assert_int_equal(seen->operation.amount.units, 60 + operation.fee.units);
    wire_connect(world->payee);
    assert_int_equal(channel_peer(world->payee->channel)->proof.nonce, 0);
}

/* ---- locks that nobody claims, or nobody unlocks ---- */

static void test_a_lock_that_nobody_claims_expires(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct hash condition = condition_of_secret(secret);
    struct operation lock = payment_of(payer, world->payee, OPERATION_LOCK, 400, &condition);
    struct pending_lock pending;
    wire_do(payer, &lock, &pending);
    arrives(world, &lock);
    wire_settle_down(payer);
    advance(world->stage, 3700);
    (void)wire_operation(world->payee, OPERATION_EXPIRE, NULL);
    struct operation expire = {.type = OPERATION_EXPIRE, .lock_id = pending.lock.id};
    wire_do(payer, &expire, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
    assert_int_equal(stream_dropped(channel_own(payer->channel))->frozen.units, 0);
    assert_true(channel_balance(payer->channel, SIDE_CLIENT) == (wide)DEPOSIT);
}

static uint64_t registered_time(struct hub_stage *stage, const struct hash *condition)
{
    struct contract_call call = {.function = CONTRACT_REGISTERED_AT, .kind = LOCK_SECRET, .hash = *condition};
    struct buffer data = {0}, result = {0};
    unsigned_wide value = 0;
    contract_encode_call(&data, &call);
    assert_int_equal(ledger_call_wait(stage->ledger, NULL, data.data, data.length, &result, NULL), LEDGER_OK);
    assert_true(contract_decode_word(result.data, result.length, 0, &value));
    buffer_free(&data);
    buffer_free(&result);
    return (uint64_t)value;
}

struct registration_wait {
    struct hub_stage *stage;
    struct hash condition;
};

static bool is_registered(void *context)
{
    const struct registration_wait *wait = context;
    return registered_time(wait->stage, &wait->condition) != 0;
}

/* A payer that sits on the revealed secret: the hub takes it to the ledger before the lock runs out. */
static void test_the_hub_registers_what_a_payer_does_not_unlock(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    const uint8_t other_secret[32] = {8, 8};
    struct registration_wait wait = {world->stage, condition_of_secret(other_secret)};
    struct operation lock = payment_of(payer, world->payee, OPERATION_LOCK, 400, &wait.condition);
    wire_do(payer, &lock, NULL);
    arrives(world, &lock);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &lock.id);
    wire_reveal(world->payee, &id, other_secret);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &lock.id);
    (void)wire_operation(world->payee, OPERATION_UNLOCK, NULL);
    assert_int_equal(registered_time(world->stage, &wait.condition), 0);
    advance(world->stage, 3600 - 50); /* inside the margin of 60 s */
    mine_until(world->stage, is_registered, &wait, "the registration");
    assert_true(registered_time(world->stage, &wait.condition) <= lock.expiry);
}

/* ---- channels that the hub opens ---- */

static void test_what_the_hub_opens_and_what_not(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    struct address unlisted = {{3}};
    open_request(world->payee, &unlisted, 100);
    const struct seen *seen = wire_expect(world->payee, MESSAGE_ERROR);
    assert_int_equal(seen->message.error.code, CODE_CHANNEL);
    assert_int_equal(seen->message.error.reference.type, MESSAGE_OPEN_REQUEST);
    struct wire_client *greedy = wire_new(stage, "greedy");
    wire_connect(greedy);
    open_request(greedy, &ADDRESS_ZERO, INBOUND_MAX * 10);
    mine_until(stage, has_channel, greedy, "the channel that the hub opens");
    assert_int_equal(greedy->channel->funds.total.units, INBOUND_MAX);
    wire_free(greedy);
    hub_stop(stage);
    const char *const none[] = {"--inbound-max", "0", NULL};
    hub_start(stage, none);
    struct wire_client *late = wire_new(stage, "late");
    wire_connect(late);
    open_request(late, &ADDRESS_ZERO, 100);
    assert_int_equal(wire_expect(late, MESSAGE_ERROR)->message.error.code, CODE_LIMIT);
    wire_free(late);
    hub_stop(stage);
    hub_start(stage, hub_flags);
}

/* ---- settlement ---- */

static void settle_request(struct wire_client *client, uint64_t units, bool close)
{
    struct message message = {.type = MESSAGE_SETTLE_REQUEST};
    message.settle_request.channel = client->channel->id;
    message.settle_request.amount = amount_of(units);
    message.settle_request.close = close;
    link_send(client->link, &message);
}

/* The hub has read all that the client sent: it answers in order. */
static void round_trip(struct wire_client *client)
{
    struct message message = {.type = MESSAGE_RESUME}; /* of no channel */
    link_send(client->link, &message);
    assert_int_equal(wire_expect(client, MESSAGE_ERROR)->message.error.code, CODE_CHANNEL);
}

static void plan_batch(struct hub_stage *stage, struct wire_client *client)
{
    round_trip(client);
    char *answer = http_ask(stage->http_port, "POST", "/settle");
    assert_non_null(strstr(answer, " 200 "));
    assert_non_null(strstr(answer, "{\"planned\":true}"));
    free(answer);
}

static struct settlement proposal_of(const struct seen *seen)
{
    return (struct settlement){.close = seen->message.settle_propose.close,
                               .seq = seen->message.settle_propose.seq,
                               .client_out = seen->message.settle_propose.client_out,
                               .hub_out = seen->message.settle_propose.hub_out,
                               .deadline = seen->message.settle_propose.deadline};
}

static void send_sign(struct wire_client *client, uint32_t seq, const struct signature *signature)
{
    struct message message = {.type = MESSAGE_SETTLE_SIGN};
    message.settle_sign.channel = client->channel->id;
    message.settle_sign.seq = seq;
    message.settle_sign.signature = *signature;
    link_send(client->link, &message);
}

static void sign(struct wire_client *client, const struct settlement *proposal, uint64_t wanted, bool close)
{
    struct signature signature;
    (void)block_time(client->stage);
    struct channel_view view = view_of(client);
    assert_int_equal(channel_settle_sign(client->channel, &view, proposal, amount_of(wanted), close,
                                         client->terms.settle_window_s, &client->key, &signature),
                     CODE_OK);
    send_sign(client, proposal->seq, &signature);
}

struct settled_wait {
    struct wire_client *client;
    struct seen *found;
};

static bool settled_came(void *context)
{
    struct settled_wait *wait = context;
    for (size_t i = 0; i < wait->client->seen_count; i++)
        if (!wait->client->seen[i].is_operation && wait->client->seen[i].message.type == MESSAGE_SETTLED)
            wait->found = &wait->client->seen[i];
    return wait->found != NULL || wait->client->closed;
}

static void expect_settled(struct wire_client *client, uint32_t seq)
{
    struct settled_wait wait = {client, NULL};
    mine_until(client->stage, settled_came, &wait, "SETTLED");
    assert_non_null(wait.found);
    assert_int_equal(wait.found->message.settled.outcome, 0);
    assert_int_equal(wait.found->message.settled.seq, seq);
    assert_false(hash_is_zero(&wait.found->message.settled.transaction));
    wait.found->message.type = MESSAGE_PING; /* taken */
}

static bool is_counted(void *context)
{
    const struct wire_client *client = context;
    return client->closed || channel_settlement(client->channel)->phase == SETTLEMENT_NONE;
}

static void test_a_payout_is_proposed_signed_and_on_the_ledger(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct hub_stage *stage = world->stage;
    struct operation before = pay(world, 70);
    arrives(world, &before);
    settle_request(payer, DEPOSIT, false); /* the reserve stays: not available */
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_AVAILABLE);
    unsigned_wide coins = coins_of(stage, &payer->address);
    settle_request(payer, 5000, false);
    plan_batch(stage, payer);
    struct settlement proposal = proposal_of(wire_expect(payer, MESSAGE_SETTLE_PROPOSE));
    assert_int_equal(proposal.seq, 1);
    assert_int_equal(proposal.client_out.units, 5000);
    assert_false(proposal.close);
    struct signature wrong = {{1}};
    send_sign(payer, 1, &wrong);
    assert_int_equal(wire_expect(payer, MESSAGE_ERROR)->message.error.code, CODE_SETTLE);
    struct operation meanwhile = pay(world, 71); /* payments go on */
    arrives(world, &meanwhile);
    sign(payer, &proposal, 5000, false);
    expect_settled(payer, 1);
    mine_until(stage, is_counted, payer, "FUNDED after the settlement");
    assert_true(coins_of(stage, &payer->address) == coins + (unsigned_wide)5000 * UNIT);
    assert_int_equal(payer->channel->funds.total.units, DEPOSIT - 5000 - proposal.hub_out.units);
    assert_int_equal(payer->channel->funds.base, DEPOSIT - 5000);
    struct operation after = pay(world, 72);
    arrives(world, &after);
    char *report = http_ask(stage->http_port, "GET", "/settlements");
    assert_non_null(strstr(report, "\"paid_out\":5000"));
    free(report);
}

static void test_a_refused_proposal_is_freed(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    settle_request(payer, 3000, false);
    plan_batch(world->stage, payer);
    struct settlement proposal = proposal_of(wire_expect(payer, MESSAGE_SETTLE_PROPOSE));
    struct error_reference reference = {.present = true,
                                        .type = MESSAGE_SETTLE_PROPOSE,
                                        .has_channel = true,
                                        .channel = payer->channel->id,
                                        .has_nonce = true,
                                        .nonce = proposal.seq};
    link_send_error(payer->link, CODE_SETTLE, NULL, false, &reference);
    settle_request(payer, 2000, false);
    struct operation after = pay(world, 73);
    arrives(world, &after);
    plan_batch(world->stage, payer);
    proposal = proposal_of(wire_expect(payer, MESSAGE_SETTLE_PROPOSE));
    assert_int_equal(proposal.seq, 1);
    assert_int_equal(proposal.client_out.units, 2000);
    sign(payer, &proposal, 2000, false);
    expect_settled(payer, 1);
}

/* Signed, and the hub dies before the batch leaves: the signature is on its disk and settles later. */
static void test_a_signed_settlement_survives_a_kill(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    unsigned_wide coins = coins_of(world->stage, &payer->address);
    settle_request(payer, 4000, false);
    struct operation earned = pay(world, 80);
    arrives(world, &earned);
    wire_settle_down(world->payee);
    settle_request(world->payee, 50, false); /* this one never signs, which keeps the batch from leaving */
    round_trip(world->payee);
    plan_batch(world->stage, payer);
    struct settlement proposal = proposal_of(wire_expect(payer, MESSAGE_SETTLE_PROPOSE));
    (void)wire_expect(world->payee, MESSAGE_SETTLE_PROPOSE);
    sign(payer, &proposal, 4000, false);
    struct operation later = pay(world, 81); /* acknowledged: the signature before it is durable too */
    arrives(world, &later);
    wire_settle_down(payer);
    hub_kill(world->stage);
    wire_leave(payer);
    hub_start(world->stage, hub_flags);
    wire_connect(payer);
    if (payer->shown.message.channel.settlement.present) {
        assert_true(payer->shown.message.channel.settlement.has_signature);
        plan_batch(world->stage, payer);
        expect_settled(payer, 1);
    } else { /* it was in a batch, and that on the ledger, before the payer was back */
        assert_int_equal(payer->shown.message.channel.seq, 1);
    }
    assert_true(coins_of(world->stage, &payer->address) == coins + (unsigned_wide)4000 * UNIT);
}

static void test_a_close_together_pays_out_everything(void **state)
{
    struct world *world = *state;
    struct wire_client *payer = world->payer;
    struct hub_stage *stage = world->stage;
    struct operation before = pay(world, 90);
    arrives(world, &before);
    wire_settle_down(payer);
    uint64_t mine_units = DEPOSIT - 90 - before.fee.units;
    unsigned_wide coins = coins_of(stage, &payer->address);
    settle_request(payer, 0, true);
    plan_batch(stage, payer);
    struct seen *seen = wire_expect(payer, MESSAGE_SETTLE_PROPOSE);
    struct settlement proposal = proposal_of(seen);
    assert_true(proposal.close);
    assert_int_equal(proposal.client_out.units, mine_units);
    sign(payer, &proposal, 0, true);
    expect_settled(payer, 1);
    assert_true(coins_of(stage, &payer->address) == coins + (unsigned_wide)mine_units * UNIT);
    wire_leave(payer);
    channel_free(payer->channel);
    payer->channel = NULL;
    wire_connect(payer); /* a closed channel is not shown any more */
    assert_null(payer->channel);
    /* Its key is used up: the next channel has another salt. */
    open_request(payer, &ADDRESS_ZERO, 700);
    mine_until(stage, has_channel, payer, "a new channel");
    assert_int_equal(payer->channel_key.salt, 1);
}

#define PAIR_TEST(function) cmocka_unit_test_setup_teardown(function, pair_open, pair_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_unacknowledged_updates_come_again_byte_for_byte),
        PAIR_TEST(test_a_gap_is_refused_and_healed_by_resume),
        PAIR_TEST(test_what_was_acknowledged_survives_a_kill),
        PAIR_TEST(test_a_lock_survives_a_kill),
        PAIR_TEST(test_a_payment_to_one_who_is_away_arrives_later),
        PAIR_TEST(test_one_who_stays_away_is_not_paid),
        PAIR_TEST(test_a_lock_that_nobody_claims_expires),
        PAIR_TEST(test_the_hub_registers_what_a_payer_does_not_unlock),
        PAIR_TEST(test_what_the_hub_opens_and_what_not),
        PAIR_TEST(test_a_payout_is_proposed_signed_and_on_the_ledger),
        PAIR_TEST(test_a_refused_proposal_is_freed),
        PAIR_TEST(test_a_signed_settlement_survives_a_kill),
        PAIR_TEST(test_a_close_together_pays_out_everything),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
