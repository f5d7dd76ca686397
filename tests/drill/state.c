#include "tests/drill/drill.h"
#include "tests/e2e/ledger_views.h"

#define BOUNTY_BPS 100

/* ---- what stands ---- */

struct closing closing_now(struct drill_run *run, const struct channel_key *key)
{
    return view_closing(run->stage->ledger, key);
}

struct channel_state channel_now(struct drill_run *run, const struct channel_key *key)
{
    return view_channel(run->stage->ledger, key);
}

bool is_challenged(struct drill_run *run, const struct channel_key *key)
{
    return closing_now(run, key).challenged;
}

bool is_voided(struct drill_run *run, const struct channel_key *key)
{
    return closing_now(run, key).min_nonce_of_hub > 0;
}

bool is_closed(struct drill_run *run, const struct channel_key *key)
{
    return channel_now(run, key).status == CHANNEL_CLOSED;
}

bool nothing_is_held(struct drill_run *run, const struct channel_key *key)
{
    unsigned_wide of_client = 0, of_hub = 0;
    struct buffer result = view_answer(run->stage->ledger, CONTRACT_HELD, key);
    assert_true(contract_decode_word(result.data, result.length, 0, &of_client) &&
                contract_decode_word(result.data, result.length, 1, &of_hub));
    buffer_free(&result);
    return of_client + of_hub == 0;
}

void is_registered_in_time(struct drill_run *run, const uint8_t secret[32], uint64_t expiry,
                           uint64_t seconds_before)
{
    struct contract_call call = {.function = CONTRACT_REGISTERED_AT, .hash = condition_of_secret(secret)};
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    unsigned_wide time = 0;
    struct buffer data = {0};
    contract_encode_call(&data, &call);
    ensure(block_time(run->stage) + seconds_before < expiry);
    advance(run->stage, expiry - seconds_before - run->stage->now);
    while (time == 0) {
        struct buffer result = {0};
        if (clock_monotonic_us() > end_us)
            fail_with_logs(run, "the registration of a secret");
        mine(run->stage);
        turn(run->stage);
        assert_int_equal(ledger_call_wait(run->stage->ledger, NULL, data.data, data.length, &result, NULL),
                         LEDGER_OK);
        assert_true(contract_decode_word(result.data, result.length, 0, &time));
        buffer_free(&result);
    }
    assert_true(time <= expiry);
    buffer_free(&data);
}

struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

uint64_t due_of(const struct channel *channel, enum side side, uint64_t known)
{
    wide due = channel_balance(channel, side) - (wide)channel->streams[side].proof.locked.units + (wide)known;
    assert_true(due >= 0);
    return (uint64_t)due;
}

/* ---- the cheat ---- */

static void on_cheat_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct cheat_call *sent = context;
    if (error != LEDGER_OK || receipt == NULL || !receipt->success)
        fail_msg("a cheat's transaction: %s %s", ledger_error_text(error),
                 receipt == NULL ? "" : contract_error_name(receipt->reverted));
    sent->run->outcome.gas += receipt->gas_used;
    (*sent->open)--;
}

void cheat_begins(struct cheat_call *sent, struct drill_run *run, const struct secret_key *key,
                  const struct contract_call *call, unsigned *open)
{
    struct buffer data = {0};
    *sent = (struct cheat_call){run, open};
    (*open)++;
    contract_encode_call(&data, call);
    ledger_send(run->stage->ledger, key, NULL, 0, data.data, data.length, on_cheat_sent, sent);
    buffer_free(&data);
}

void cheat_sends(struct drill_run *run, const struct secret_key *key, const struct contract_call *call)
{
    struct cheat_call sent;
    unsigned open = 0;
    cheat_begins(&sent, run, key, call, &open);
    while (open > 0) {
        if (run->blocks_by_hand)
            mine(run->stage);
        turn(run->stage);
    }
}

void cheat_closes(struct drill_run *run, const struct secret_key *key, const struct channel_key *channel,
                  const struct claim *own, const struct shown_proof *partner)
{
    struct contract_call call = {.function = CONTRACT_START_CLOSE, .key = *channel, .own = *own};
    if (partner->present) {
        call.proof = partner->proof;
        call.signature = partner->signature;
    }
    cheat_sends(run, key, &call);
}

/* ---- to the end ---- */

void carry_through(struct drill_run *run, const struct channel_key *key)
{
    advance(run->stage, WINDOW + 1);
    advance(run->stage, 61); /* the hub leaves the tower, and the tower the hub, a moment */
    mine_until(run, is_closed, key, "the finish");
    for (unsigned i = 0; i < 3 && !nothing_is_held(run, key); i++)
        advance(run->stage, 4000); /* locks expire; what is the other side's is left to it for a while */
    mine_until(run, nothing_is_held, key, "the unlocking of what is held");
}

struct reading {
    struct drill_run *run;
    struct account *accounts;
    size_t count;
    uint64_t last_block;
    bool done;
};

static struct account *account_of(const struct reading *reading, const struct hash *channel)
{
    for (size_t i = 0; i < reading->count; i++)
        if (hash_equal(&reading->accounts[i].channel, channel))
            return &reading->accounts[i];
    return NULL;
}

static void on_event(void *context, const struct contract_event *event)
{
    struct reading *reading = context;
    struct account *account = account_of(reading, &event->channel);
    if (!event->confirmed || account == NULL)
        return;
    switch ((int)event->type) {
    case EVENT_FINISHED:
        account->finished = true;
        account->to_client = event->to_client.units;
        account->to_hub = event->to_hub.units;
        account->held_client = event->held_client.units;
        account->held_hub = event->held_hub.units;
        account->penalty = event->penalty.units;
        account->bounty = event->bounty.units;
        return;
    case EVENT_UNLOCKED:
        *(event->of_client == event->to_receiver ? &account->unlocked_hub : &account->unlocked_client) +=
            event->amount.units;
        return;
    case EVENT_CHALLENGED:
        account->challenges++;
        account->challenge_block = event->block;
        return;
    case EVENT_SETTLE_SKIPPED:
        account->skipped++;
        return;
    case EVENT_SETTLED:
        account->settled++;
        return;
    }
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct reading *reading = context;
    reading->done = head->confirmed_number >= reading->last_block;
}

void read_accounts(struct drill_run *run, struct account *accounts, size_t count)
{
    static const struct ledger_follow follow = {.event = on_event, .head = on_head};
    struct ledger_request_wait head = ledger_ask(run->stage, "eth_blockNumber", "[]");
    struct reading reading = {run, accounts, count, strtoull(strchr(head.text, 'x') + 1, NULL, 16), false};
    struct ledger_options options = {.url = run->stage->url, .contract = run->stage->contract, .poll_ms = 20};
    struct ledger *ledger = ledger_new(run->stage->base, &options);
    ledger_follow(ledger, 0, &follow, &reading);
    while (!reading.done)
        turn(run->stage);
    ledger_free(ledger);
}

void expect_by_formula(const struct closing *closing, const struct channel_state *before,
                       const struct account *account, const struct address *victim)
{
    struct model model = model_of(closing, before, BOUNTY_BPS, victim);
    assert_true(account->finished);
    assert_int_equal(account->to_client, model.to_client);
    assert_int_equal(account->to_hub, model.to_hub);
    assert_int_equal(account->held_client, model.held_client);
    assert_int_equal(account->held_hub, model.held_hub);
    assert_int_equal(account->penalty, model.penalty);
    assert_int_equal(account->bounty, model.bounty);
}

void settle_accounts(struct drill_run *run, const struct channel_key *key, const struct channel_state *before,
                     enum side honest, uint64_t due)
{
    struct closing closing = closing_now(run, key);
    struct account account = {.channel = channel_id(key)};
    struct address hub = secret_key_address(&run->stage->hub);
    read_accounts(run, &account, 1);
    expect_by_formula(&closing, before, &account, honest == SIDE_HUB ? &hub : &key->client);
    assert_int_equal(account.to_client + account.to_hub + account.held_client + account.held_hub +
                         account.bounty,
                     before->total.units);
    assert_int_equal(account.unlocked_client + account.unlocked_hub, account.held_client + account.held_hub);
    uint64_t got = honest == SIDE_HUB ? account.to_hub + account.unlocked_hub
                                      : account.to_client + account.unlocked_client;
    run->outcome.channels++;
    run->outcome.due += due;
    run->outcome.got += got;
    run->outcome.penalty += account.penalty;
    if (got < due)
        fail_msg("the %s was due %llu units and got %llu", honest == SIDE_HUB ? "hub" : "client",
                 (unsigned long long)due, (unsigned long long)got);
}
