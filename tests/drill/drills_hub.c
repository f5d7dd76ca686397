/* The hub cheats: its key closes on a wallet that is not there, with a claim of long ago. The wallet is `rill`. */
#include <jansson.h>

#include "tests/drill/drill.h"
#include "wire/invoice.h"

#define WALLET_ROOM 20000u

static const struct shown_proof no_proof = {.present = false};

/* A text of the object that `rill --json` printed; free it. */
static char *member(const char *out, const char *name)
{
    json_t *object = json_loads(out, 0, NULL);
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL)
        fail_msg("rill said nothing of its %s: %s", name, out);
    char *copy = xcalloc(1, strlen(text) + 1);
    memcpy(copy, text, strlen(text));
    json_decref(object);
    return copy;
}

/* A wallet to whose channel the hub gave room to receive. */
static struct channel_key make_wallet(struct drill_run *run)
{
    char out[4096];
    struct channel_key key = {.salt = 0};
    if (WALLET(run, out, "init", "--light", "--json") != 0)
        fail_msg("rill init: %s%s", out, file_text(run->error_file));
    char *address = member(out, "address");
    assert_true(hex_decode(address, key.client.bytes, sizeof key.client.bytes));
    free(address);
    send_coins(run->stage, &run->stage->hub, &key.client, 10 * (uint64_t)GAS_COINS);
    struct fund fund = {key, amount_of(WALLET_ROOM)};
    ledger_call_as(
        run->stage, &run->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1}, 0);
    mine(run->stage);
    return key;
}

/* The payer of the pair pays an invoice of the wallet's, which waits for it. */
static void wallet_receives(struct drill_run *run, const struct channel_key *key, uint64_t units)
{
    struct process process;
    struct invoice invoice;
    char line[4096], amount[32];
    snprintf(amount, sizeof amount, "0.%09llu", (unsigned long long)units);
    wallet_begin(run, &process, line, sizeof line, (const char *const[]){"invoice", amount, "--wait", NULL});
    line[strcspn(line, " \r\n")] = '\0';
    if (invoice_decode(line, &invoice) != INVOICE_OK)
        fail_msg("not an invoice: '%s'", line);
    struct wire_client *payer = run->pair.payer;
    struct wire_client wallet = {.address = key->client};
    struct operation pay = payment_of(payer, &wallet, OPERATION_PAY, units, &invoice.secret_hash);
    wire_do(payer, &pay, NULL);
    (void)wire_wait(payer, false, MESSAGE_REVEAL, &pay.id);
    if (wallet_end(run, &process) != 0)
        fail_msg("rill invoice: %s", file_text(run->error_file));
}

/* Every tower has signed for the hub's update `nonce`. */
static void towers_have(struct drill_run *run, unsigned towers, const char *channel, uint64_t nonce)
{
    char out[4096];
    for (unsigned tries = 0; tries < 20; tries++) {
        (void)WALLET(run, out, "tower", "status", "--json");
        json_t *list = json_loads(out, 0, NULL);
        const json_t *all = json_object_get(list, "towers");
        unsigned have = 0;
        for (size_t i = 0; i < json_array_size(all); i++)
            have += json_integer_value(json_object_get(json_object_get(json_array_get(all, i), "receipts"),
                                                       channel)) == (json_int_t)nonce;
        json_decref(list);
        if (have == towers)
            return;
    }
    fail_msg("the towers have no receipt for update %llu: %s", (unsigned long long)nonce, out);
}

struct victim {
    struct channel_key key;
    struct channel_state before;
    struct claim old;
    uint64_t due;
};

/* Three payments to the wallet, which then goes; the hub's claim is of after the first. */
static struct victim three_payments(struct drill_run *run, unsigned towers)
{
    static const uint64_t amounts[] = {4000, 3000, 2000};
    char text[HASH_TEXT_SIZE];
    struct victim victim = {.key = {.salt = 0}};
    run_open(run, towers);
    victim.key = make_wallet(run);
    for (size_t i = 0; i < ARRAY_LENGTH(amounts); i++) {
        wallet_receives(run, &victim.key, amounts[i]);
        victim.due += amounts[i];
    }
    struct hash channel = channel_id(&victim.key);
    if (towers > 0)
        towers_have(run, towers, hash_text(&channel, text), ARRAY_LENGTH(amounts));
    victim.old = (struct claim){.nonce = 1, .transferred = amount_of(amounts[0])};
    victim.before = channel_now(run, &victim.key);
    run->outcome.honest = "wallet";
    hub_kill(run->stage);
    return victim;
}

/* The wallet's own history has what it got, the penalty included. */
static void history_has(struct drill_run *run, uint64_t paid_out, uint64_t penalty)
{
    char out[16384];
    assert_int_equal(WALLET(run, out, "history", "--json"), 0);
    json_t *history = json_loads(out, 0, NULL);
    const json_t *close = json_array_get(json_object_get(history, "closes"), 0);
    const json_t *paid = json_object_get(json_object_get(close, "paid_out"), "units");
    const json_t *lost = json_object_get(json_object_get(close, "penalty"), "units");
    if (close == NULL || !json_is_true(json_object_get(close, "done")) ||
        (uint64_t)json_integer_value(paid) != paid_out || (uint64_t)json_integer_value(lost) != penalty)
        fail_msg("rill history: %s", out);
    json_decref(history);
}

static void ends_well(struct drill_run *run, const struct victim *victim)
{
    char out[4096];
    carry_through(run, &victim->key);
    settle_accounts(run, &victim->key, &victim->before, SIDE_CLIENT, victim->due);
    assert_int_equal(run->outcome.penalty, victim->due - victim->old.transferred.units);
    /* It comes back when all is over, and finds out; one that has been there already has nothing left to close. */
    (void)WALLET(run, out, "dispute", "--timeout-s", "20");
    history_has(run, run->outcome.got, run->outcome.penalty);
}

static void offline_client(struct drill_run *run)
{
    struct victim victim = three_payments(run, 1);
    cheat_closes(run, &run->stage->hub, &victim.key, &victim.old, &no_proof);
    mine_until(run, is_challenged, &victim.key, "the tower's challenge");
    ends_well(run, &victim);
}

/* No tower at all; the wallet wakes up before the window is over. */
static void wallet_wakes_up(struct drill_run *run)
{
    char out[4096];
    struct victim victim = three_payments(run, 0);
    cheat_closes(run, &run->stage->hub, &victim.key, &victim.old, &no_proof);
    advance(run->stage, PERIOD / 2);
    (void)WALLET(run, out, "dispute", "--timeout-s", "2");
    assert_true(is_challenged(run, &victim.key));
    advance(run->stage, WINDOW);
    if (WALLET(run, out, "dispute", "--timeout-s", "20") != 0)
        fail_msg("rill dispute: %s%s", out, file_text(run->error_file));
    ends_well(run, &victim);
}

/* Both answer; and when one is dead, the other. */
static void two_towers(struct drill_run *run)
{
    struct victim victim = three_payments(run, 2);
    cheat_closes(run, &run->stage->hub, &victim.key, &victim.old, &no_proof);
    mine_until(run, is_challenged, &victim.key, "a tower's challenge");
    ends_well(run, &victim);
    struct account account = {.channel = channel_id(&victim.key)};
    read_accounts(run, &account, 1);
    assert_int_equal(account.challenges, 1); /* the second had nothing to say */
}

static void one_of_two_towers(struct drill_run *run)
{
    struct victim victim = three_payments(run, 2);
    tower_kill(run, 0);
    cheat_closes(run, &run->stage->hub, &victim.key, &victim.old, &no_proof);
    mine_until(run, is_challenged, &victim.key, "the second tower's challenge");
    ends_well(run, &victim);
}

const struct drill drills_hub[] = {
    {"hub, offline wallet", "the hub closes with an update of three ago on a wallet that is away",
     "its tower challenges; penalty to the wallet, its history has it", offline_client, .evm_only = false},
    {"hub, no tower", "the same, and the wallet has no tower",
     "`rill dispute`, run in time, challenges; penalty", wallet_wakes_up, .evm_only = false},
    {"two towers", "the same, and the wallet has two towers", "one challenge, no gas for a second; penalty",
     two_towers, .evm_only = false},
    {"one of two towers", "the same, and one of the two is dead", "the other challenges; penalty",
     one_of_two_towers, .evm_only = false},
    {.name = NULL},
};
