/* The chain itself is in the way, while a tower has to answer: its fees rise, or it takes the answer back. */
#include "tests/drill/drill.h"

#define SPIKE_GWEI 200u /* under what a tower pays at most by its default settings */

static const struct shown_proof no_proof = {.present = false};

static uint64_t number_in(const char *json, const char *name)
{
    const char *at = strstr(json, name);
    if (at == NULL || (at = strchr(at, 'x')) == NULL)
        fail_msg("no %s in %s", name, json);
    return strtoull(at + 1, NULL, 16);
}

static bool something_waits(void *context)
{
    struct drill_run *run = context;
    struct ledger_request_wait pool = ledger_ask(run->stage, "txpool_status", "[]");
    return number_in(pool.text, "pending") > 0;
}

/* A block that takes nothing below the spike. */
static void mine_dear(struct drill_run *run)
{
    char fee[40];
    snprintf(fee, sizeof fee, "[\"0x%llx\"]", SPIKE_GWEI * 1000000000ull);
    (void)ledger_ask(run->stage, "anvil_setNextBlockBaseFeePerGas", fee);
    mine(run->stage);
}

static void fee_spike(struct drill_run *run)
{
    struct old_state old = paid_and_asleep(run);
    struct wire_client *payer = run->pair.payer;
    const struct channel_key *key = &payer->channel_key;
    struct channel_state before = channel_now(run, key);
    uint64_t due = due_of(payer->channel, SIDE_HUB, 0);
    run->outcome.honest = "hub";
    (void)ledger_ask(run->stage, "evm_setAutomine", "[false]");
    run->blocks_by_hand = true;
    cheat_closes(run, &payer->key, key, &old.own, &no_proof);
    if (!is_challenged(run, key)) {
        assert_true(holds_in_time(run->stage, something_waits, run)); /* the answer, at yesterday's price */
        mine_dear(run);
        assert_false(is_challenged(run, key));
    }
    for (unsigned blocks = 0; !is_challenged(run, key); blocks++) {
        if (blocks > 2000)
            fail_with_logs(run, "an answer that pays the new price");
        mine_dear(run);
        turn(run->stage);
    }
    (void)ledger_ask(run->stage, "evm_setAutomine", "[true]");
    run->blocks_by_hand = false;
    carry_through(run, key);
    settle_accounts(run, key, &before, SIDE_HUB, due);
}

static uint64_t head_of(struct drill_run *run)
{
    struct ledger_request_wait head = ledger_ask(run->stage, "eth_blockNumber", "[]");
    return strtoull(strchr(head.text, 'x') + 1, NULL, 16);
}

static void reorganised_challenge(struct drill_run *run)
{
    run->tower_confirmations = "8";
    struct old_state old = paid_and_asleep(run);
    struct wire_client *payer = run->pair.payer;
    const struct channel_key *key = &payer->channel_key;
    struct channel_state before = channel_now(run, key);
    uint64_t due = due_of(payer->channel, SIDE_HUB, 0);
    char params[40];
    run->outcome.honest = "hub";
    cheat_closes(run, &payer->key, key, &old.own, &no_proof);
    mine_until(run, is_challenged, key, "the tower's challenge");
    struct account account = {.channel = channel_id(key)};
    read_accounts(run, &account, 1);
    uint64_t depth = head_of(run) - account.challenge_block + 1;
    assert_true(depth < 8); /* nobody has counted it as confirmed */
    snprintf(params, sizeof params, "[%llu,[]]", (unsigned long long)depth);
    (void)ledger_ask(run->stage, "anvil_reorg", params);
    assert_false(is_challenged(run, key));
    mine_until(run, is_challenged, key, "the challenge once more");
    carry_through(run, key);
    settle_accounts(run, key, &before, SIDE_HUB, due);
}

const struct drill drills_chain[] = {
    {"fee spike", "an old claim, and the base fee rises 200-fold before the answer is mined",
     "the tower pays the new price; penalty", fee_spike, .evm_only = true},
    {"reorganisation", "an old claim, and the chain takes the challenge back", "it is sent again; penalty",
     reorganised_challenge, .evm_only = true},
    {.name = NULL},
};
