#include "tests/adversary/arena.h"

#include <jansson.h>

#include "tests/e2e/ledger_views.h"

/* ---- what must not change ---- */

static int64_t units_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value))
        fail_msg("no %s in GET /balances", name);
    return (int64_t)json_integer_value(value);
}

static struct balances balances_now(struct arena *arena)
{
    struct balances now = {0};
    char *answer = http_ask(arena->stage->http_port, "GET", "/balances");
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *list = body == NULL ? NULL : json_loads(body + 4, 0, NULL);
    const json_t *coin = json_array_get(list, 0);
    if (coin == NULL)
        fail_msg("GET /balances: %s", answer);
    now.pool = units_of(coin, "pool");
    now.clients = units_of(coin, "clients_units");
    now.hub = units_of(coin, "hub_units");
    json_decref(list);
    free(answer);
    now.contract = (int64_t)(coins_of(arena->stage, &arena->stage->contract) / UNIT);
    return now;
}

static int64_t unaccounted(const struct balances *balances)
{
    return balances->contract - balances->pool - balances->clients - balances->hub;
}

struct balance_wait {
    struct arena *arena;
    int64_t unaccounted;
    struct balances now;
};

static bool balances_add_up(void *context)
{
    struct balance_wait *wait = context;
    wait->now = balances_now(wait->arena);
    return unaccounted(&wait->now) == wait->unaccounted;
}

struct block_wait {
    struct arena *arena;
    uint64_t block;
};

static bool hub_has_block(void *context)
{
    const struct block_wait *wait = context;
    return hub_figure(wait->arena->stage, "block_confirmed") >= wait->block;
}

/* The hub has counted every block but the newest. */
static void hub_catches_up(struct arena *arena)
{
    struct ledger_request_wait head = ledger_ask(arena->stage, "eth_blockNumber", "[]");
    struct block_wait wait = {arena, strtoull(strchr(head.text, 'x') + 1, NULL, 16) - 1};
    if (!holds_in_time(arena->stage, hub_has_block, &wait))
        fail_with_log(arena->stage, "the hub's view of a new block");
}

/* With all that has happened on the ledger counted. */
static struct balances balances_caught_up(struct arena *arena)
{
    mine(arena->stage);
    mine(arena->stage);
    hub_catches_up(arena);
    return balances_now(arena);
}

static void come_back(struct wire_client *client)
{
    if (client->link == NULL)
        wire_connect(client);
}

void arena_prepare(struct arena *arena)
{
    if (arena->world.payer == NULL)
        (void)pair_open((void **)&(void *){&arena->world});
    come_back(arena->honest.payer);
    come_back(arena->honest.payee);
    struct balance_wait wait = {arena, unaccounted(&arena->before), {0}};
    if (!holds_in_time(arena->stage, balances_add_up, &wait))
        fail_with_log(arena->stage, "balances that add up before the attack");
    arena->before = wait.now;
}

void arena_verify(struct arena *arena, const struct attack *attack)
{
    come_back(arena->honest.payer);
    come_back(arena->honest.payee);
    mine(arena->stage);
    struct balance_wait wait = {arena, unaccounted(&arena->before), {0}};
    if (attack->disputes)
        wait.now = balances_caught_up(arena);
    else if (!holds_in_time(arena->stage, balances_add_up, &wait))
        fail_msg("%lld units of the contract's are nowhere", (long long)unaccounted(&wait.now));
    int64_t had = arena->before.pool + arena->before.hub, has = wait.now.pool + wait.now.hub;
    if (!attack->disputes && has + arena->owed < had)
        fail_msg("the hub had %lld units and has %lld", (long long)had, (long long)has);
    arena->before = wait.now;
    shown_as_known(arena->honest.payer);
    shown_as_known(arena->honest.payee);
    still_good(&arena->honest, 1);
}

/* Nothing has come of what this attacker tried: it is as it was when it came. */
static bool is_untouched(struct wire_client *client, uint64_t total)
{
    if (client == NULL || client->closed || client->link == NULL || client->channel == NULL ||
        channel_own(client->channel)->proof.nonce > 0 || channel_peer(client->channel)->proof.nonce > 0 ||
        client->channel->funds.total.units != total || client->channel->funds.stage != STAGE_OPEN)
        return false;
    for (size_t i = 0; i < client->seen_count; i++)
        if (client->seen[i].message.type == MESSAGE_SETTLE_PROPOSE)
            return false;
    client->seen_count = 0;
    return true;
}

void arena_clear(struct arena *arena, bool held)
{
    if (!held || !is_untouched(arena->world.payer, DEPOSIT) ||
        !is_untouched(arena->world.payee, PAYEE_OWN + ROOM))
        (void)pair_close((void **)&(void *){&arena->world});
    if (!held)
        arena->before = balances_caught_up(arena);
}

/* ---- the programs ---- */

static void tower_start(struct arena *arena)
{
    struct hub_stage *stage = arena->stage;
    char path[256], line[256], key_file[160], folder[160], log[160];
    snprintf(key_file, sizeof key_file, "%s/tower.json", stage->folder);
    snprintf(folder, sizeof folder, "%s/tower", stage->folder);
    snprintf(log, sizeof log, "%s/tower.log", stage->folder);
    ensure(keystore_create(key_file, PASSPHRASE, &arena->tower, 2) == KEYSTORE_OK);
    const char *const argv[] = {process_path("rill-towerd", path, sizeof path),
                                "--contract",
                                stage->contract_text,
                                "--ledger",
                                stage->url,
                                "--key-file",
                                key_file,
                                "--passphrase-file",
                                stage->passphrase_file,
                                "--data",
                                folder,
                                "--confirmations",
                                "1",
                                "--poll-ms",
                                "20",
                                "--quota-channels",
                                "1",
                                "--listen",
                                "127.0.0.1:0",
                                "--http",
                                "127.0.0.1:0",
                                NULL};
    unsigned port = 0, http_port = 0;
    if (!process_start(&arena->towerd, argv, log) ||
        !process_line(&arena->towerd, "rill-towerd ready", line, sizeof line, PATIENCE_MS) ||
        sscanf(line, "rill-towerd ready: address %*s listen %*[^:]:%u http %*[^:]:%u", &port, &http_port) !=
            2)
        fail_with_log(stage, "the tower's start");
    arena->tower_port = (uint16_t)port;
    arena->tower_http_port = (uint16_t)http_port;
}

struct arena *arena_open(void)
{
    struct arena *arena = xcalloc(1, sizeof *arena);
    arena->stage = stage_open(NULL);
    arena->world.stage = arena->honest.stage = arena->stage;
    arena->tower = key_of("the tower of the adversary tests");
    struct address tower = secret_key_address(&arena->tower);
    send_coins(arena->stage, &arena->stage->hub, &tower, 100000000);
    hub_start(arena->stage, hub_flags);
    tower_start(arena);
    snprintf(arena->honest.names[0], sizeof arena->honest.names[0], "honest payer");
    snprintf(arena->honest.names[1], sizeof arena->honest.names[1], "honest payee");
    pair_begin(&arena->honest);
    still_good(&arena->honest, 1);
    arena->before = balances_now(arena);
    struct balance_wait wait = {arena, 0, {0}};
    if (!holds_in_time(arena->stage, balances_add_up, &wait))
        fail_with_log(arena->stage, "balances that add up at the start");
    arena->before = wait.now;
    return arena;
}

void arena_close(struct arena *arena)
{
    if (arena == NULL)
        return;
    (void)pair_close((void **)&(void *){&arena->world});
    wire_free(arena->honest.payer);
    wire_free(arena->honest.payee);
    hub_stop(arena->stage);
    assert_int_equal(process_end(&arena->towerd, SIGTERM), 0);
    stage_close(arena->stage);
    free(arena);
}

/* ---- updates by hand ---- */

struct operation small_pay(struct arena *arena, uint64_t *moved)
{
    struct operation pay =
        payment_of(arena->world.payer, arena->world.payee, OPERATION_PAY, 20, &no_condition);
    *moved = pay.amount.units + pay.fee.units;
    return pay;
}

struct signature forged_sign(struct forged *forged, const struct domain *domain)
{
    forged->proof.body_hash = keccak256(forged->body.data, forged->body.length);
    struct hash digest = digest_balance_proof(domain, &forged->channel, &forged->proof);
    return key_sign(forged->signer, &digest);
}

void refused_with(struct wire_client *client, struct forged *forged, const struct signature *signature,
                  enum code code)
{
    struct message message = {.type = MESSAGE_UPDATE};
    message.update = (struct update){.channel = forged->channel,
                                     .proof = forged->proof,
                                     .signature = *signature,
                                     .body = forged->body.data,
                                     .body_length = forged->body.length};
    link_send(client->link, &message);
    buffer_free(&forged->body);
    expect_error(client, code, &forged->channel, forged->proof.nonce);
}

void expect_code(struct wire_client *client, enum code code)
{
    const struct seen *seen = wire_expect(client, MESSAGE_ERROR);
    if (seen->message.error.code != code)
        fail_msg("ERROR %s (%s), not %s", code_name(seen->message.error.code), seen->text, code_name(code));
    assert_false(seen->message.error.fatal);
}

static bool has_been_looked_at(void *context)
{
    struct wire_client *client = context;
    for (size_t i = 0; i < client->seen_count; i++) {
        const struct seen *seen = &client->seen[i];
        if (!seen->is_operation && !seen->taken && seen->message.type == MESSAGE_ERROR &&
            seen->message.error.reference.type == MESSAGE_ACK)
            return true;
    }
    return client->closed;
}

/* The link answers PING itself, so a question is asked that has a known answer: an ACK of what was never sent. */
void expect_silence(struct wire_client *client)
{
    struct message probe = {.type = MESSAGE_ACK, .ack = {client->channel->id, UINT64_MAX}};
    link_send(client->link, &probe);
    if (!holds_in_time(client->stage, has_been_looked_at, client) || client->closed)
        fail_msg("%s: no answer: %s", client->name, client->reason);
    for (size_t i = 0; i < client->seen_count; i++) {
        struct seen *seen = &client->seen[i];
        if (seen->is_operation || seen->taken || seen->message.type != MESSAGE_ERROR)
            continue;
        if (seen->message.error.reference.type != MESSAGE_ACK)
            fail_msg("%s was answered ERROR %s", client->name, code_name(seen->message.error.code));
        assert_int_equal(seen->message.error.code, CODE_NONCE);
        seen->taken = true;
    }
}

const struct seen *payee_has(struct arena *arena, enum operation_type type, const struct operation *operation)
{
    struct payment_id id = payment_id_of_payee(&arena->world.payer->channel->id, &operation->id);
    return wire_operation(arena->world.payee, type, &id);
}

struct witness secret_witness(const uint8_t secret[32])
{
    struct witness witness = {.length = WITNESS_SECRET_BYTES};
    memcpy(witness.bytes, secret, WITNESS_SECRET_BYTES);
    return witness;
}

void lock_fails(struct arena *arena, const struct operation *lock, enum code code)
{
    struct wire_client *payer = arena->world.payer;
    struct pending_lock pending;
    wire_do(payer, lock, &pending);
    const struct seen *seen = wire_wait(payer, false, MESSAGE_FAIL, &lock->id);
    if (seen->failed.code != code)
        fail_msg("failed with %s, not %s", code_name(seen->failed.code), code_name(code));
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = pending.lock.id};
    wire_do(payer, &cancel, NULL);
    (void)wire_expect(payer, MESSAGE_REVOKE);
}

void pay_comes_back(struct arena *arena, const struct operation *pay, enum code code)
{
    struct wire_client *payer = arena->world.payer;
    wire_do(payer, pay, NULL);
    const struct seen *seen = wire_operation(payer, OPERATION_REFUND, &pay->id);
    if (seen->operation.code != code)
        fail_msg("refunded with %s, not %s", code_name(seen->operation.code), code_name(code));
    assert_int_equal(seen->operation.amount.units, pay->amount.units + pay->fee.units);
}

/* ---- the ledger ---- */

void call_reverts(struct arena *arena, const struct secret_key *key, const struct contract_call *call,
                  enum contract_error error)
{
    struct hub_stage *stage = arena->stage;
    struct address sender = secret_key_address(key);
    if (coins_of(stage, &sender) < (unsigned_wide)1000000 * UNIT)
        send_coins(stage, &stage->hub, &sender, 100000000);
    struct buffer data = {0};
    struct ledger_receipt receipt = {0};
    contract_encode_call(&data, call);
    enum ledger_error sent = ledger_send_wait(stage->ledger, key, NULL, 0, data.data, data.length, &receipt);
    buffer_free(&data);
    if (sent != LEDGER_REVERTED || receipt.reverted != error)
        fail_msg("%s: %s %s, not %s", contract_function_signature(call->function), ledger_error_text(sent),
                 contract_error_name(receipt.reverted), contract_error_name(error));
}

struct channel_state ledger_channel(struct arena *arena, const struct channel_key *key)
{
    return view_channel(arena->stage->ledger, key);
}

struct closing ledger_closing(struct arena *arena, const struct channel_key *key)
{
    return view_closing(arena->stage->ledger, key);
}

void arena_time_passes(struct arena *arena, uint64_t seconds)
{
    advance(arena->stage, seconds);
    hub_catches_up(arena);
}

void mine_until(struct arena *arena, bool (*holds)(void *context), void *context, const char *what)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!holds(context)) {
        if (clock_monotonic_us() > end_us)
            fail_with_log(arena->stage, what);
        mine(arena->stage);
        turn(arena->stage);
    }
}
