/* A client cheats: the payer or the payee of the pair closes with what is not so. Where the hub sleeps it was killed once
 * its tower had everything. */
#include "tests/drill/drill.h"

static const struct shown_proof no_proof = {.present = false};

/* The payer closes with this claim, and gets what it deserves. */
static void payer_closes(struct drill_run *run, const struct claim *own)
{
    struct wire_client *payer = run->pair.payer;
    uint64_t due = due_of(payer->channel, SIDE_HUB, 0);
    struct channel_state before = channel_now(run, &payer->channel_key);
    run->outcome.honest = "hub";
    cheat_closes(run, &payer->key, &payer->channel_key, own, &no_proof);
    mine_until(run, is_challenged, &payer->channel_key, "the tower's challenge");
    carry_through(run, &payer->channel_key);
    settle_accounts(run, &payer->channel_key, &before, SIDE_HUB, due);
}

static void expect_penalty(const struct drill_run *run, uint64_t penalty)
{
    assert_int_equal(run->outcome.penalty, penalty);
}

static uint64_t sent(const struct wire_client *client)
{
    return client->channel->streams[SIDE_CLIENT].proof.transferred.units;
}

static void old_claim(struct drill_run *run)
{
    struct old_state old = paid_and_asleep(run);
    payer_closes(run, &old.own);
    expect_penalty(run, sent(run->pair.payer) - old.own.transferred.units);
}

static void no_claim(struct drill_run *run)
{
    (void)paid_and_asleep(run);
    payer_closes(run, &(struct claim){0});
    expect_penalty(run, sent(run->pair.payer));
}

static void inflated_nonce(struct drill_run *run)
{
    struct old_state old = paid_and_asleep(run);
    old.own.nonce += 1000000;
    payer_closes(run, &old.own);
    expect_penalty(run, sent(run->pair.payer) - old.own.transferred.units);
}

/* Its nonce is above all that it signed, its sum is true, and its lock is not there. */
static void lock_behind_a_nonce(struct drill_run *run)
{
    uint8_t secret[32] = {1, 2, 3};
    struct payment_id id;
    run_open(run, 1);
    pay_direct(run, 1200);
    struct pending_lock lock = pay_locked(run, 1500, secret, &id);
    wire_reveal(run->pair.payee, &id, secret);
    (void)wire_operation(run->pair.payee, OPERATION_UNLOCK, NULL);
    (void)wire_expect(run->pair.payer, MESSAGE_REVEAL);
    tower_has_all(run, run->pair.payer);
    hub_kill(run->stage);
    struct wire_client *payer = run->pair.payer;
    struct channel_state before = channel_now(run, &payer->channel_key);
    uint64_t due = due_of(payer->channel, SIDE_HUB, lock.lock.amount.units);
    struct claim own = state_of(payer).own;
    own.nonce += 1000000;
    own.locked = amount_of(0);
    own.locks_root = HASH_ZERO;
    run->outcome.honest = "hub";
    cheat_closes(run, &payer->key, &payer->channel_key, &own, &no_proof);
    mine_until(run, is_challenged, &payer->channel_key, "the tower's challenge");
    is_registered_in_time(run, secret, lock.lock.expiry, 500);
    carry_through(run, &payer->channel_key);
    settle_accounts(run, &payer->channel_key, &before, SIDE_HUB, due);
    expect_penalty(run, 0); /* section 7: restored, not punished */
}

/* The payer's newest claim without its lock, whose secret is the hub's to show. No tower: the hub is awake, and does it all
 * itself. */
static void dropped_lock(struct drill_run *run)
{
    uint8_t secret[32] = {4, 5, 6};
    struct payment_id id;
    run_open(run, 0);
    pay_direct(run, 1200);
    struct pending_lock lock = pay_locked(run, 1500, secret, &id);
    wire_reveal(run->pair.payee, &id, secret);
    (void)wire_expect(run->pair.payer, MESSAGE_REVEAL);
    struct wire_client *payer = run->pair.payer;
    struct channel_state before = channel_now(run, &payer->channel_key);
    uint64_t due = due_of(payer->channel, SIDE_HUB, lock.lock.amount.units);
    struct claim own = state_of(payer).own;
    own.locked = amount_of(0);
    own.locks_root = HASH_ZERO;
    run->outcome.honest = "hub";
    cheat_closes(run, &payer->key, &payer->channel_key, &own, &no_proof);
    mine_until(run, is_challenged, &payer->channel_key, "the hub's challenge");
    is_registered_in_time(run, secret, lock.lock.expiry, 40);
    carry_through(run, &payer->channel_key);
    settle_accounts(run, &payer->channel_key, &before, SIDE_HUB, due);
    expect_penalty(run, lock.lock.amount.units);
}

/* The payee shows a lock that it gave up, and registers the secret. Its own claim is true. */
static void revived_lock(struct drill_run *run)
{
    uint8_t secret[32] = {7, 8, 9};
    struct payment_id id;
    struct wire_client *payee;
    run_open(run, 1);
    payee = run->pair.payee;
    pay_direct(run, 1000);
    (void)pay_locked(run, 1500, secret, &id);
    struct old_state old = state_of(payee);
    assert_true(old.partner.proof.locked.units == 1500);
    assert_true(channel_mark_failed(payee->channel, &id));
    wire_fail(payee, &id, CODE_INVOICE);
    (void)wire_operation(payee, OPERATION_CANCEL, NULL); /* and the payee answers with REVOKE */
    (void)wire_wait(run->pair.payer, false, MESSAGE_FAIL, NULL);
    tower_has_all(run, payee);
    hub_kill(run->stage);
    struct channel_state before = channel_now(run, &payee->channel_key);
    uint64_t due = due_of(payee->channel, SIDE_HUB, 0);
    struct claim own = state_of(payee).own;
    run->outcome.honest = "hub";
    cheat_closes(run, &payee->key, &payee->channel_key, &own, &old.partner);
    struct contract_call reveal = {.function = CONTRACT_REGISTER_SECRET};
    memcpy(reveal.hash.bytes, secret, sizeof secret);
    cheat_sends(run, &payee->key, &reveal);
    mine_until(run, is_voided, &payee->channel_key, "the voiding of the lock");
    carry_through(run, &payee->channel_key);
    settle_accounts(run, &payee->channel_key, &before, SIDE_HUB, due);
    expect_penalty(run, 0); /* what it showed the hub has signed, once */
}

static bool has_settlement(void *context)
{
    const struct wire_client *client = context;
    for (size_t i = 0; i < client->seen_count; i++)
        if (client->seen[i].message.type == MESSAGE_SETTLE_PROPOSE)
            return true;
    return client->closed;
}

static bool skips_it(struct drill_run *run, const struct channel_key *key)
{
    struct account account = {.channel = channel_id(key)};
    read_accounts(run, &account, 1);
    return account.skipped + account.settled > 0;
}

/* It signs a payout, and closes with an old claim before the batch that pays it can be mined. */
static void close_at_a_settlement(struct drill_run *run)
{
    run_open(run, 0);
    struct wire_client *payer = run->pair.payer;
    pay_direct(run, 1200);
    struct old_state old = state_of(payer);
    pay_direct(run, 900);
    wire_settle_down(payer);
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = payer->channel->id;
    request.settle_request.amount = amount_of(5000);
    link_send(payer->link, &request);
    pay_direct(run, 100); /* behind it on the same link: the hub has the request */
    free(http_ask(run->stage->http_port, "POST", "/settle"));
    assert_true(holds_in_time(run->stage, has_settlement, payer) && !payer->closed);
    const struct message *proposed = &wire_expect(payer, MESSAGE_SETTLE_PROPOSE)->message;
    struct settlement proposal = {.seq = proposed->settle_propose.seq,
                                  .client_out = proposed->settle_propose.client_out,
                                  .hub_out = proposed->settle_propose.hub_out,
                                  .deadline = proposed->settle_propose.deadline};
    struct hash digest = digest_settlement(&run->stage->domain, &payer->channel->id, proposal.seq,
                                           proposal.client_out, proposal.hub_out, proposal.deadline, false);
    struct channel_state before = channel_now(run, &payer->channel_key);
    uint64_t due = due_of(payer->channel, SIDE_HUB, 0);
    run->outcome.honest = "hub";
    /* The signature leaves only when the close is mined: the batch cannot be first. */
    cheat_closes(run, &payer->key, &payer->channel_key, &old.own, &no_proof);
    struct message sign = {.type = MESSAGE_SETTLE_SIGN};
    sign.settle_sign.channel = payer->channel->id;
    sign.settle_sign.seq = proposal.seq;
    sign.settle_sign.signature = key_sign(&payer->key, &digest);
    link_send(payer->link, &sign);
    /* What the hub may have sent before it knew: the same item, by its own hand. */
    struct settle_item item = {.key = payer->channel_key,
                               .client_out = proposal.client_out,
                               .hub_out = proposal.hub_out,
                               .deadline = proposal.deadline,
                               .signature = sign.settle_sign.signature};
    ledger_call_as(
        run->stage, &run->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .items = &item, .item_count = 1}, 0);
    mine_until(run, skips_it, &payer->channel_key, "the end of the item");
    mine_until(run, is_challenged, &payer->channel_key, "the hub's challenge");
    carry_through(run, &payer->channel_key);
    settle_accounts(run, &payer->channel_key, &before, SIDE_HUB, due);
    expect_penalty(run, sent(payer) - old.own.transferred.units);
    struct account account = {.channel = channel_id(&payer->channel_key)};
    read_accounts(run, &account, 1);
    assert_int_equal(account.settled, 0);
}

/* The tower dies when it has answered, and again when the window is over. */
static void tower_dies(struct drill_run *run)
{
    struct old_state old = paid_and_asleep(run);
    struct wire_client *payer = run->pair.payer;
    struct channel_state before = channel_now(run, &payer->channel_key);
    uint64_t due = due_of(payer->channel, SIDE_HUB, 0);
    run->outcome.honest = "hub";
    cheat_closes(run, &payer->key, &payer->channel_key, &old.own, &no_proof);
    tower_kill(run, 0); /* it may have answered, or not */
    advance(run->stage, PERIOD / 2);
    tower_begin(run, 0);
    mine_until(run, is_challenged, &payer->channel_key, "the challenge of a tower that was killed");
    tower_kill(run, 0);
    advance(run->stage, WINDOW + 1);
    tower_begin(run, 0);
    carry_through(run, &payer->channel_key);
    settle_accounts(run, &payer->channel_key, &before, SIDE_HUB, due);
    expect_penalty(run, sent(payer) - old.own.transferred.units);
}

const struct drill drills_client[] = {
    {"old claim", "the payer closes with an update of three ago, the hub asleep",
     "the tower challenges; penalty", old_claim, .evm_only = false},
    {"no claim", "the payer says that it never paid, the hub asleep", "the tower challenges; penalty",
     no_claim, .evm_only = false},
    {"inflated nonce", "an old sum under a nonce that it never signed", "the tower challenges; penalty",
     inflated_nonce, .evm_only = false},
    {"lock behind a nonce", "a true sum under such a nonce, its lock left out",
     "the lock is brought back and paid", lock_behind_a_nonce, .evm_only = false},
    {"dropped lock", "the newest claim, its lock left out, the hub awake",
     "the hub challenges, registers, unlocks; penalty", dropped_lock, .evm_only = false},
    {"revived lock", "the payee shows a lock that it has revoked", "the tower voids it", revived_lock,
     .evm_only = false},
    {"close at a settlement", "a payout is signed, then closed before it",
     "skipped; the hub challenges; penalty", close_at_a_settlement, .evm_only = false},
    {"tower killed twice", "an old claim; kill -9 after the close and after the window",
     "it goes on where the ledger stands; penalty", tower_dies, .evm_only = false},
    {.name = NULL},
};
