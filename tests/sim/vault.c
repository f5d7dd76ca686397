#include "tests/sim/vault.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/embedded/machine.h"
#include "ledger/embedded/tokens.h"

#define BOUNTY_BPS       1000
#define UNITS_EACH       1000000u
#define VAULT_PEOPLE_MAX 16

/* A call that changed the state, to be made again when a block after it is undone. */
struct executed {
    uint64_t block, time;
    struct address from;
    unsigned_wide value;
    struct buffer data;
};

struct vault {
    struct vault_options options;
    struct address people[VAULT_PEOPLE_MAX];
    struct executed *executed;
    size_t executed_count, executed_capacity;
    struct state *state;
    struct contract_config config;
    struct address token;
    struct state_past *past[VAULT_PAST_MAX]; /* block n's at n modulo the length */
    uint64_t sealed;
};

/* ---- execution ---- */

static enum message_result execute(struct vault *vault, const struct address *from, unsigned_wide value,
                                   uint64_t time, const uint8_t *data, size_t length, struct logs *logs,
                                   struct buffer *output)
{
    struct execution execution = {.state = vault->state,
                                  .config = &vault->config,
                                  .caller = *from,
                                  .value = value,
                                  .time = time,
                                  .logs = logs};
    return message_execute(&execution, &vault->config.domain.contract, data, length, output);
}

static enum contract_error revert_reason(enum message_result result, const struct buffer *output)
{
    uint8_t status;
    if (result == MESSAGE_OK)
        return CONTRACT_OK;
    return output->length == 0 ? CONTRACT_UNNAMED
                               : contract_decode_error(output->data, output->length, &status);
}

static void take_events(const struct vault *vault, const struct logs *logs, struct vault_result *result)
{
    for (size_t i = 0; i < logs->count; i++) {
        struct contract_log log = logs_at(logs, i);
        if (!address_equal(&log.address, &vault->config.domain.contract))
            continue;
        struct contract_event event = {0};
        ensure(contract_decode_event(&log, &event));
        result->events = xrealloc(result->events, (result->event_count + 1) * sizeof(event));
        result->events[result->event_count++] = event;
    }
}

static void remember(struct vault *vault, const struct address *from, unsigned_wide value, uint64_t time,
                     const uint8_t *data, size_t length)
{
    if (vault->executed_count == vault->executed_capacity) {
        vault->executed_capacity = vault->executed_capacity == 0 ? 64 : 2 * vault->executed_capacity;
        vault->executed = xrealloc(vault->executed, vault->executed_capacity * sizeof(*vault->executed));
    }
    struct executed *made = &vault->executed[vault->executed_count++];
    *made = (struct executed){.block = vault->sealed, .time = time, .from = *from, .value = value};
    buffer_append(&made->data, data, length);
}

struct vault_result vault_execute(struct vault *vault, const struct address *from, unsigned_wide value,
                                  uint64_t time, const uint8_t *data, size_t length)
{
    struct logs logs = {0};
    struct buffer output = {0};
    struct vault_result result = {0};
    enum message_result got = execute(vault, from, value, time, data, length, &logs, &output);
    result.success = got == MESSAGE_OK;
    result.reverted = revert_reason(got, &output);
    take_events(vault, &logs, &result);
    if (result.success)
        remember(vault, from, value, time, data, length);
    logs_free(&logs);
    buffer_free(&output);
    return result;
}

enum contract_error vault_view(struct vault *vault, uint64_t back, const struct address *from, uint64_t time,
                               const uint8_t *data, size_t length, struct buffer *output)
{
    struct logs logs = {0};
    size_t mark = state_mark(vault->state);
    ensure(back < VAULT_PAST_MAX && back < vault->sealed);
    for (uint64_t i = 0; i < back; i++)
        state_rewind(vault->state, vault->past[(vault->sealed - 1 - i) % VAULT_PAST_MAX]);
    enum message_result result = execute(vault, from, 0, time, data, length, &logs, output);
    state_revert(vault->state, mark);
    logs_free(&logs);
    return revert_reason(result, output);
}

/* ---- the first block ---- */

static void give(struct vault *vault, struct coins *coins, struct token *token, const struct address *who)
{
    struct account account = {.balance = uint256_of((unsigned_wide)VAULT_COIN_UNIT * UNITS_EACH)};
    account_save(vault->state, who, &account);
    ensure(uint256_add(coins->issued, account.balance, &coins->issued));
    token_balance_save(vault->state, &vault->token, who, uint256_of(UNITS_EACH));
    allowance_save(vault->state, &vault->token, who, &vault->config.domain.contract, uint256_max());
    ensure(uint256_add(token->supply, uint256_of(UNITS_EACH), &token->supply));
}

static void state_begin(struct vault *vault)
{
    struct coins coins = {uint256_of(0), uint256_of(0)};
    struct token token = {.name = "Test", .symbol = "TEST", .decimals = 6, .supply = uint256_of(0)};
    vault->state = state_new();
    vault->sealed = 0;
    for (size_t i = 0; i < vault->options.people_count; i++)
        give(vault, &coins, &token, &vault->people[i]);
    coins_save(vault->state, &coins);
    token_save(vault->state, &vault->token, &token);
    vault_seal(vault);
}

/* ---- blocks ---- */

void vault_seal(struct vault *vault)
{
    struct buffer batch = {0};
    struct state_past **place = &vault->past[vault->sealed++ % VAULT_PAST_MAX];
    state_past_free(*place);
    *place = state_commit(vault->state, &batch);
    buffer_free(&batch);
}

static void state_drop(struct vault *vault)
{
    for (size_t i = 0; i < VAULT_PAST_MAX; i++) {
        state_past_free(vault->past[i]);
        vault->past[i] = NULL;
    }
    state_free(vault->state);
}

/* The embedded ledger never takes a block back, so that there is no other way than to begin again. */
void vault_undo(struct vault *vault, uint64_t blocks)
{
    ensure(blocks < vault->sealed);
    uint64_t until = vault->sealed - blocks;
    state_drop(vault);
    state_begin(vault);
    size_t at = 0;
    for (uint64_t block = 1; block < until; block++) {
        for (; at < vault->executed_count && vault->executed[at].block == block; at++) {
            const struct executed *made = &vault->executed[at];
            struct logs logs = {0};
            struct buffer output = {0};
            ensure(execute(vault, &made->from, made->value, made->time, made->data.data, made->data.length,
                           &logs, &output) == MESSAGE_OK);
            logs_free(&logs);
            buffer_free(&output);
        }
        vault_seal(vault);
    }
    while (vault->executed_count > at)
        buffer_free(&vault->executed[--vault->executed_count].data);
}

/* ---- looking ---- */

struct channel_state vault_channel(const struct vault *vault, const struct hash *channel)
{
    return channel_load(vault->state, channel);
}

uint64_t vault_units(const struct vault *vault, const struct address *who, const struct address *asset)
{
    struct uint256 balance = address_is_zero(asset) ? account_load(vault->state, who).balance
                                                    : token_balance_load(vault->state, asset, who);
    unsigned_wide units;
    ensure(uint256_narrow(balance, &units));
    return (uint64_t)(address_is_zero(asset) ? units / VAULT_COIN_UNIT : units);
}

uint64_t vault_owed(const struct vault *vault, const struct address *who, const struct address *asset)
{
    return (uint64_t)owed_load(vault->state, who, asset);
}

uint64_t vault_pool(const struct vault *vault, const struct address *asset)
{
    return asset_load(vault->state, asset).pool.units;
}

uint64_t vault_held(const struct vault *vault, const struct hash *channel, bool of_client)
{
    struct held held = held_load(vault->state, channel);
    return of_client ? held.of_client.units : held.of_hub.units;
}

uint64_t vault_registered(const struct vault *vault, uint8_t kind, const struct hash *condition)
{
    return registered_load(vault->state, kind, condition);
}

struct closing vault_closing(const struct vault *vault, const struct hash *channel)
{
    return closing_load(vault->state, channel);
}

bool vault_is_tower(const struct vault *vault, const struct address *tower)
{
    return tower_load(vault->state, tower);
}

const char *vault_audit(const struct vault *vault)
{
    return records_audit(vault->state, &vault->config.domain.contract);
}

struct counting {
    const struct state *state;
    struct vault_left left;
};

static void count_channel(void *context, uint8_t type, const uint8_t *key, size_t key_length,
                          const uint8_t *value, size_t length)
{
    struct counting *counting = context;
    struct hash id;
    (void)value;
    (void)length;
    if ((type != RECORD_CHANNEL && type != RECORD_HELD) || key_length != sizeof(id))
        return;
    memcpy(id.bytes, key, sizeof(id));
    if (type == RECORD_HELD) {
        struct held held = held_load(counting->state, &id);
        counting->left.held += held.of_client.units + held.of_hub.units > 0;
        return;
    }
    uint8_t status = channel_load(counting->state, &id).status;
    counting->left.open += status == CHANNEL_OPEN;
    counting->left.closing += status == CHANNEL_CLOSING;
}

struct vault_left vault_left(const struct vault *vault)
{
    struct counting counting = {.state = vault->state};
    state_each(vault->state, count_channel, &counting);
    return counting.left;
}

/* ---- beginning and end ---- */

struct vault *vault_new(const struct vault_options *options)
{
    struct vault *vault = xcalloc(1, sizeof(*vault));
    ensure(options->people_count <= VAULT_PEOPLE_MAX);
    vault->options = *options;
    memcpy(vault->people, options->people, options->people_count * sizeof(vault->people[0]));
    vault->token = options->token;
    vault->config = (struct contract_config){.domain = options->domain,
                                             .factory = EMBEDDED_FACTORY,
                                             .hub = options->hub,
                                             .challenge_period = options->challenge_period,
                                             .bounty_bps = BOUNTY_BPS};
    state_begin(vault);
    return vault;
}

void vault_free(struct vault *vault)
{
    state_drop(vault);
    while (vault->executed_count > 0)
        buffer_free(&vault->executed[--vault->executed_count].data);
    free(vault->executed);
    free(vault);
}
