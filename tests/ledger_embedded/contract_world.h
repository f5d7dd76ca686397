/* The contract on a state of its own, with people to call it, for tests.
 *
 * Every call goes through calldata, as in the daemon, and after every one the books are added up again; a
 * refused one must leave state and logs exactly as they were. */
#ifndef RILL_TESTS_CONTRACT_WORLD_H
#define RILL_TESTS_CONTRACT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "crypto/lock.h"
#include "ledger/embedded/contract_execute.h"
#include "ledger/embedded/machine.h"

#define WORLD_UNIT   1000000000u /* base units of the coin in one unit */
#define WORLD_PERIOD 800u        /* challenge period: an eighth is 100 */
#define WORLD_START  1800000000u
#define WORLD_CHAIN  31337u

enum person { HUB, ALICE, BOB, TOWER, OTHER_TOWER, STRANGER, PERSON_COUNT };

struct world {
    struct state *state;
    struct contract_config config;
    struct secret_key keys[PERSON_COUNT];
    struct address people[PERSON_COUNT];
    struct address token; /* listed, unit 1 */
    uint64_t time;
    struct logs logs;     /* of the last call */
    uint8_t status;       /* of the last BadStatus */
    struct buffer output; /* of the last call */
    uint64_t salt;
};

static const struct address COIN; /* zero */

/* ---- the books ---- */

static void add_digest(void *context, uint8_t type, const uint8_t *key, size_t key_length,
                       const uint8_t *value, size_t length)
{
    uint64_t hash = 1469598103934665603u + type;
    for (size_t i = 0; i < key_length; i++)
        hash = (hash ^ key[i]) * 1099511628211u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ value[i]) * 1099511628211u;
    *(uint64_t *)context += hash;
}

static uint64_t world_digest(const struct world *world)
{
    uint64_t digest = 0;
    state_each(world->state, add_digest, &digest);
    return digest;
}

static void world_audit(const struct world *world)
{
    const char *wrong = records_audit(world->state, &world->config.domain.contract);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* ---- calls ---- */

static enum contract_error world_call_value(struct world *world, enum person caller, unsigned_wide wei,
                                            const struct contract_call *call)
{
    struct buffer data = {0};
    uint64_t before = world_digest(world);
    contract_encode_call(&data, call);
    logs_truncate(&world->logs, 0);
    buffer_clear(&world->output);
    struct execution execution = {.state = world->state,
                                  .config = &world->config,
                                  .caller = world->people[caller],
                                  .value = wei,
                                  .time = world->time,
                                  .logs = &world->logs};
    enum message_result result =
        message_execute(&execution, &world->config.domain.contract, data.data, data.length, &world->output);
    buffer_free(&data);
    world_audit(world);
    if (result == MESSAGE_OK)
        return CONTRACT_OK;
    assert_int_equal(result, MESSAGE_REVERTED);
    assert_int_equal(world->logs.count, 0);
    assert_true(world_digest(world) == before);
    return world->output.length == 0
               ? CONTRACT_UNNAMED
               : contract_decode_error(world->output.data, world->output.length, &world->status);
}

static enum contract_error world_call(struct world *world, enum person caller,
                                      const struct contract_call *call)
{
    return world_call_value(world, caller, 0, call);
}

/* The call must be good. */
static void world_must(struct world *world, enum person caller, const struct contract_call *call)
{
    enum contract_error error = world_call(world, caller, call);
    if (error != CONTRACT_OK)
        fail_msg("%s: %s", contract_function_signature(call->function), contract_error_name(error));
}

/* ---- what the last call said ---- */

static struct contract_event world_event(const struct world *world, size_t index)
{
    struct contract_log log = logs_at(&world->logs, index);
    struct contract_event event = {.type = EVENT_TYPE_COUNT};
    if (!contract_decode_event(&log, &event))
        event.type = EVENT_TYPE_COUNT; /* a token's */
    return event;
}

/* The types of the last call's logs, in order; EVENT_TYPE_COUNT stands for a token's Transfer. */
static void assert_events(const struct world *world, size_t count, const enum contract_event_type *types)
{
    assert_int_equal(world->logs.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(world_event(world, i).type, types[i]);
}
#define EVENTS(world, ...)                                                                                   \
    assert_events(world,                                                                                     \
                  sizeof((enum contract_event_type[]){__VA_ARGS__}) / sizeof(enum contract_event_type),      \
                  (enum contract_event_type[]){__VA_ARGS__})
#define TRANSFER EVENT_TYPE_COUNT

/* ---- looking ---- */

static struct channel_state world_channel(const struct world *world, const struct channel_key *key)
{
    struct hash id = channel_id(key);
    return channel_load(world->state, &id);
}

static uint64_t world_pool(const struct world *world, const struct address *asset)
{
    return asset_load(world->state, asset).pool.units;
}

static uint64_t world_owed(const struct world *world, const struct address *to, const struct address *asset)
{
    return (uint64_t)owed_load(world->state, to, asset);
}

/* What a person has of an asset, in units. */
static uint64_t world_units(const struct world *world, const struct address *who, const struct address *asset)
{
    struct uint256 balance = address_is_zero(asset) ? account_load(world->state, who).balance
                                                    : token_balance_load(world->state, asset, who);
    unsigned_wide units;
    assert_true(uint256_narrow(balance, &units));
    return (uint64_t)(address_is_zero(asset) ? units / WORLD_UNIT : units);
}

static void assert_channel(const struct world *world, const struct channel_key *key, uint64_t total,
                           int64_t base, uint32_t seq, uint8_t status)
{
    struct channel_state channel = world_channel(world, key);
    assert_int_equal(channel.total.units, total);
    assert_true(channel.base == base);
    assert_int_equal(channel.seq, seq);
    assert_int_equal(channel.status, status);
}

static void assert_address(struct address got, const struct address *expected)
{
    assert_memory_equal(got.bytes, expected->bytes, sizeof(got.bytes));
}

/* ---- making ---- */

static void world_issue(struct world *world, const struct address *token, struct uint256 supply)
{
    struct token record = {.name = "Test", .symbol = "TEST", .decimals = 6, .supply = supply};
    token_save(world->state, token, &record);
    token_balance_save(world->state, token, &world->people[HUB], supply);
    allowance_save(world->state, token, &world->people[HUB], &world->config.domain.contract, uint256_max());
}

/* Coins and tokens for everybody, both assets listed, a pool of 10000 units of each. */
static struct world *world_new(void)
{
    struct world *world = xcalloc(1, sizeof(*world));
    struct coins coins = {uint256_of(0), uint256_of(0)};
    const unsigned_wide each = (unsigned_wide)WORLD_UNIT * 1000000000u;
    world->state = state_new();
    world->time = WORLD_START;
    for (size_t i = 0; i < PERSON_COUNT; i++) {
        memset(world->keys[i].bytes, (int)i + 1, sizeof(world->keys[i].bytes));
        world->people[i] = secret_key_address(&world->keys[i]);
        struct account account = {.balance = uint256_of(each)};
        account_save(world->state, &world->people[i], &account);
        assert_true(uint256_add(coins.issued, account.balance, &coins.issued));
    }
    coins_save(world->state, &coins);
    world->config = (struct contract_config){.domain = domain_make(WORLD_CHAIN, &EMBEDDED_CONTRACT),
                                             .factory = EMBEDDED_FACTORY,
                                             .hub = world->people[HUB],
                                             .challenge_period = WORLD_PERIOD,
                                             .bounty_bps = 1000};
    memset(world->token.bytes, 0x77, sizeof(world->token.bytes));
    world_issue(world, &world->token, uint256_of(1000000000));
    world_must(world, HUB,
               &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = COIN, .unit = WORLD_UNIT});
    world_must(world, HUB,
               &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = world->token, .unit = 1});
    struct contract_call pool = {.function = CONTRACT_DEPOSIT_POOL, .amount = {10000}};
    assert_int_equal(world_call_value(world, HUB, (unsigned_wide)WORLD_UNIT * 10000, &pool), CONTRACT_OK);
    pool.address = world->token;
    world_must(world, HUB, &pool);
    return world;
}

static void world_free(struct world *world)
{
    state_free(world->state);
    logs_free(&world->logs);
    buffer_free(&world->output);
    free(world);
}

/* An open channel of Alice's: base from her, the rest of total from the pool. The hub pays for deposits of
 * tokens. */
static struct channel_key world_open_with(struct world *world, const struct address *asset, uint64_t base,
                                          uint64_t total)
{
    struct channel_key key = {world->people[ALICE], *asset, ++world->salt};
    struct contract_call deposit = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {base}};
    struct fund fund = {key, {total - base}};
    struct contract_call batch = {.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1};
    unsigned_wide wei = address_is_zero(asset) ? (unsigned_wide)WORLD_UNIT * base : 0;
    if (base > 0)
        assert_int_equal(world_call_value(world, HUB, wei, &deposit), CONTRACT_OK);
    if (total > base)
        world_must(world, HUB, &batch);
    assert_channel(world, &key, total, (int64_t)base, 0, CHANNEL_OPEN);
    return key;
}

static struct channel_key world_open(struct world *world, uint64_t base, uint64_t total)
{
    return world_open_with(world, &COIN, base, total);
}

static struct balance_proof proof_of(uint64_t nonce, uint64_t transferred, uint64_t locked,
                                     const struct hash *root)
{
    struct balance_proof proof = {.nonce = nonce, .transferred = {transferred}, .locked = {locked}};
    if (root != NULL)
        proof.locks_root = *root;
    memset(proof.body_hash.bytes, (int)nonce, sizeof(proof.body_hash.bytes));
    return proof;
}

static struct claim claim_like(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

static struct signature sign_proof(const struct world *world, enum person signer,
                                   const struct channel_key *key, const struct balance_proof *proof)
{
    struct hash id = channel_id(key);
    struct hash digest = digest_balance_proof(&world->config.domain, &id, proof);
    return key_sign(&world->keys[signer], &digest);
}

static struct settle_item sign_item(const struct world *world, enum person signer,
                                    const struct channel_key *key, uint32_t seq, uint64_t client_out,
                                    uint64_t hub_out, uint64_t deadline, bool close)
{
    struct settle_item item = {*key, {client_out}, {hub_out}, deadline, close, {{0}}};
    struct hash id = channel_id(key);
    struct hash digest =
        digest_settlement(&world->config.domain, &id, seq, item.client_out, item.hub_out, deadline, close);
    item.signature = key_sign(&world->keys[signer], &digest);
    return item;
}

/* startClose by Alice or the hub; partner NULL: none. */
static struct contract_call start_close_call(const struct world *world, enum person closer,
                                             const struct channel_key *key,
                                             const struct balance_proof *partner, const struct claim *own)
{
    struct contract_call call = {.function = CONTRACT_START_CLOSE, .key = *key, .own = *own};
    if (partner != NULL) {
        call.proof = *partner;
        call.signature = sign_proof(world, closer == HUB ? ALICE : HUB, key, partner);
    }
    return call;
}

/* challenge of the closer's stream, without a Choice. */
static struct contract_call challenge_call(const struct world *world, enum person closer,
                                           const struct channel_key *key, const struct balance_proof *proof)
{
    return (struct contract_call){.function = CONTRACT_CHALLENGE,
                                  .key = *key,
                                  .proof = *proof,
                                  .signature = sign_proof(world, closer, key, proof)};
}

/* Adds the partner's choice of a tower. */
static void add_choice(const struct world *world, struct contract_call *challenge, enum person partner,
                       const struct address *tower)
{
    struct hash id = channel_id(&challenge->key);
    struct hash digest = digest_balance_proof(&world->config.domain, &id, &challenge->proof);
    struct hash choice = digest_choice(&world->config.domain, &digest, tower);
    challenge->to = *tower;
    challenge->choice = key_sign(&world->keys[partner], &choice);
}

static struct contract_call void_call(const struct world *world, const struct channel_key *key,
                                      bool of_client, uint64_t min_nonce, enum person signer)
{
    struct hash id = channel_id(key);
    struct hash digest = digest_revocation(&world->config.domain, &id, min_nonce);
    return (struct contract_call){.function = CONTRACT_VOID_LOCKS,
                                  .key = *key,
                                  .flag = of_client,
                                  .min_nonce = min_nonce,
                                  .signature = key_sign(&world->keys[signer], &digest)};
}

static struct contract_call finish_call(const struct channel_key *key)
{
    return (struct contract_call){.function = CONTRACT_FINISH, .key = *key};
}

/* One test with a world of its own; every function above is used somewhere. */
static int world_setup(void **state)
{
    *state = world_new();
    return 0;
}
static int world_teardown(void **state)
{
    world_free(*state);
    return 0;
}
#define world_test(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)

#endif
