/* The ledger client against the real rill-ledgerd: money in, views, named reverts, events young and deep, a
 * daemon that is killed and comes back. Needs build/debug/bin/rill-ledgerd, or another in the folder
 * RILL_BIN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>

#include "base/ensure.h"
#include "base/log.h"
#include "crypto/typed.h"
#include "ledger/client.h"
#include "ledger/erc20.h"
#include "tests/support/process.h"

#define PATIENCE_MS 20000
#define EVENTS_MAX  128
#define UNIT        1000000000u

struct stage {
    char folder[64], port[16], url[64];
    const char *interval;
    struct process ledgerd;
    struct event_base *base;
    struct event *guard;
    struct ledger *ledger;
    struct address contract, factory;
    struct secret_key hub, client;
    struct contract_event events[EVENTS_MAX];
    size_t event_count, young_count;
    struct ledger_head head;
    uint64_t cursor;
    unsigned too_deep;
};

/* ---- the daemon ---- */

/* The last word of the line that begins with prefix. */
static void line_word(struct stage *stage, const char *prefix, char *out, size_t size)
{
    char line[256];
    if (!process_line(&stage->ledgerd, prefix, line, sizeof(line), PATIENCE_MS))
        fail_msg("rill-ledgerd never said '%s'", prefix);
    line[strcspn(line, "\n")] = '\0';
    const char *word = strrchr(line, ' ');
    assert_non_null(word);
    snprintf(out, size, "%s", word + 1);
}

/* On the port it had before, if it ran before. */
static void ledgerd_start(struct stage *stage)
{
    char path[512], word[128];
    const char *const argv[] = {process_path("rill-ledgerd", path, sizeof(path)),
                                "--folder",
                                stage->folder,
                                "--port",
                                stage->port,
                                "--block-interval-ms",
                                stage->interval,
                                "--log-level",
                                "error",
                                NULL};
    if (!process_start(&stage->ledgerd, argv, ""))
        fail_msg("%s cannot be started: make it first", path);
    line_word(stage, "contract ", word, sizeof(word));
    assert_true(hex_decode(word, stage->contract.bytes, sizeof(stage->contract.bytes)));
    line_word(stage, "token factory ", word, sizeof(word));
    assert_true(hex_decode(word, stage->factory.bytes, sizeof(stage->factory.bytes)));
    line_word(stage, "dev account 0 ", word, sizeof(word));
    assert_true(hex_decode(word, stage->hub.bytes, sizeof(stage->hub.bytes)));
    line_word(stage, "dev account 1 ", word, sizeof(word));
    assert_true(hex_decode(word, stage->client.bytes, sizeof(stage->client.bytes)));
    line_word(stage, "listening on ", stage->url, sizeof(stage->url));
    snprintf(stage->port, sizeof(stage->port), "%s", strrchr(stage->url, ':') + 1);
}

/* ---- the client ---- */

static void on_event(void *context, const struct contract_event *event)
{
    struct stage *stage = context;
    if (!event->confirmed) {
        stage->young_count++;
        return;
    }
    assert_true(stage->event_count < EVENTS_MAX);
    if (stage->event_count > 0) {
        const struct contract_event *before = &stage->events[stage->event_count - 1];
        assert_true(event->block > before->block ||
                    (event->block == before->block && event->log_index > before->log_index));
    }
    assert_true(event->block_time > 1000000000);
    stage->events[stage->event_count++] = *event;
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct stage *stage = context;
    stage->head = *head;
    stage->cursor = head->confirmed_number + 1;
}

static void on_too_deep(void *context, uint64_t block)
{
    (void)block;
    ((struct stage *)context)->too_deep++;
}

static void client_start(struct stage *stage, uint32_t confirmations)
{
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    const struct ledger_options options = {
        .url = stage->url, .contract = stage->contract, .confirmations = confirmations, .poll_ms = 10};
    stage->ledger = ledger_new(stage->base, &options);
    ledger_follow(stage->ledger, stage->cursor, &callbacks, stage);
}

static void on_guard(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    const struct stage *stage = context;
    fail_msg("nothing came of it within %d ms; %s", PATIENCE_MS, ledger_trouble(stage->ledger));
}

#define run_until(stage, condition)                                                                          \
    do {                                                                                                     \
        struct timeval patience = {PATIENCE_MS / 1000, 0};                                                   \
        evtimer_add((stage)->guard, &patience);                                                              \
        while (!(condition))                                                                                 \
            event_base_loop((stage)->base, EVLOOP_ONCE);                                                     \
        evtimer_del((stage)->guard);                                                                         \
    } while (0)

static struct stage *stage_new(const char *interval, uint32_t confirmations)
{
    struct stage *stage = xcalloc(1, sizeof(*stage));
    folder_make(stage->folder, sizeof(stage->folder));
    strcpy(stage->port, "0");
    stage->interval = interval;
    ledgerd_start(stage);
    stage->base = event_base_new();
    stage->guard = evtimer_new(stage->base, on_guard, stage);
    client_start(stage, confirmations);
    return stage;
}

static void stage_free(struct stage *stage)
{
    ledger_free(stage->ledger);
    event_free(stage->guard);
    event_base_free(stage->base);
    assert_int_equal(process_end(&stage->ledgerd, SIGTERM), 0);
    folder_remove(stage->folder);
    free(stage);
}

static size_t count_events(const struct stage *stage, enum contract_event_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < stage->event_count; i++)
        count += stage->events[i].type == type;
    return count;
}

/* ---- sending ---- */

struct outcome {
    unsigned told;
    enum ledger_error error;
    struct ledger_receipt receipt;
};

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct outcome *outcome = context;
    outcome->told++;
    outcome->error = error;
    if (receipt != NULL)
        outcome->receipt = *receipt;
}

static void send_data(struct stage *stage, const struct secret_key *key, const struct address *to,
                      uint64_t units, struct buffer *data, struct outcome *outcome)
{
    memset(outcome, 0, sizeof(*outcome));
    ledger_send(stage->ledger, key, to, (unsigned_wide)units * UNIT, data->data, data->length, on_sent,
                outcome);
    buffer_free(data);
}

static void send_call(struct stage *stage, const struct secret_key *key, uint64_t units,
                      const struct contract_call *call, struct outcome *outcome)
{
    struct buffer data = {0};
    contract_encode_call(&data, call);
    send_data(stage, key, NULL, units, &data, outcome);
}

static void assert_done(struct stage *stage, const struct outcome *outcome)
{
    run_until(stage, outcome->told);
    if (outcome->error != LEDGER_OK)
        fail_msg("%s: %s; %s", ledger_error_text(outcome->error),
                 contract_error_name(outcome->receipt.reverted), ledger_last_error(stage->ledger));
    assert_true(outcome->told == 1 && outcome->receipt.success && outcome->receipt.gas_used >= 21000);
}

static void list_asset(struct stage *stage, const struct address *asset, unsigned_wide unit)
{
    struct outcome outcome;
    send_call(stage, &stage->hub, 0,
              &(struct contract_call){.function = CONTRACT_LIST_ASSET, .address = *asset, .unit = unit},
              &outcome);
    assert_done(stage, &outcome);
}

static struct channel_key key_of(const struct stage *stage, const struct address *asset, uint64_t salt)
{
    return (struct channel_key){secret_key_address(&stage->client), *asset, salt};
}

static struct channel_state channel_now(struct stage *stage, const struct channel_key *key)
{
    struct buffer data = {0}, result = {0};
    struct channel_state state;
    enum contract_error reverted;
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_CHANNEL, .key = *key});
    assert_int_equal(ledger_call_wait(stage->ledger, NULL, data.data, data.length, &result, &reverted),
                     LEDGER_OK);
    assert_true(contract_decode_channel(result.data, result.length, &state));
    buffer_free(&data);
    buffer_free(&result);
    return state;
}

/* A token of the hub's, its supply given to the client. */
static struct address token_issue(struct stage *stage, uint64_t supply)
{
    struct token_creation creation = {.name = "Coop Dollar", .symbol = "COOP", .decimals = 6};
    creation.supply = uint256_of(supply);
    struct address client = secret_key_address(&stage->client);
    struct buffer data = {0};
    struct outcome created, moved;
    token_create_encode(&data, &creation);
    send_data(stage, &stage->hub, &stage->factory, 0, &data, &created);
    assert_done(stage, &created);
    assert_false(address_is_zero(&created.receipt.created));
    erc20_encode_transfer(&data, &client, supply);
    send_data(stage, &stage->hub, &created.receipt.created, 0, &data, &moved);
    assert_done(stage, &moved);
    return created.receipt.created;
}

static void token_is_as_made(struct stage *stage, const struct address *token, uint64_t supply)
{
    struct address client = secret_key_address(&stage->client);
    struct buffer data = {0}, result = {0};
    char text[TOKEN_TEXT_MAX + 1];
    struct uint256 balance;
    erc20_encode_plain(&data, ERC20_SYMBOL);
    assert_int_equal(ledger_call_wait(stage->ledger, token, data.data, data.length, &result, NULL),
                     LEDGER_OK);
    assert_true(erc20_decode_text(result.data, result.length, text));
    assert_string_equal(text, "COOP");
    buffer_clear(&data);
    buffer_clear(&result);
    erc20_encode_balance_of(&data, &client);
    assert_int_equal(ledger_call_wait(stage->ledger, token, data.data, data.length, &result, NULL),
                     LEDGER_OK);
    assert_true(erc20_decode_number(result.data, result.length, &balance));
    assert_true(uint256_equal(balance, uint256_of(supply)));
    buffer_free(&data);
    buffer_free(&result);
}

/* Approval and deposit, sent together: the second cannot even be estimated before the first is mined. */
static void deposit_token(struct stage *stage, const struct address *token, uint64_t salt, uint64_t amount)
{
    struct buffer data = {0};
    struct outcome approved, deposited;
    erc20_encode_approve(&data, &stage->contract, amount);
    send_data(stage, &stage->client, token, 0, &data, &approved);
    send_call(stage, &stage->client, 0,
              &(struct contract_call){.function = CONTRACT_DEPOSIT,
                                      .key = key_of(stage, token, salt),
                                      .amount = amount_of(amount)},
              &deposited);
    assert_done(stage, &approved);
    assert_done(stage, &deposited);
}

/* ---- tests ---- */

static void blocks_on_demand(void **state)
{
    (void)state;
    struct stage *stage = stage_new("0", 0);
    run_until(stage, stage->head.time > 0); /* told once although the chain stands still */
    list_asset(stage, &ADDRESS_ZERO, UNIT);
    struct address token = token_issue(stage, 5000000);
    token_is_as_made(stage, &token, 5000000);
    list_asset(stage, &token, 1);

    struct channel_key coin_key = key_of(stage, &ADDRESS_ZERO, 1), token_key = key_of(stage, &token, 1);
    struct outcome outcome;
    send_call(
        stage, &stage->client, 1000,
        &(struct contract_call){.function = CONTRACT_DEPOSIT, .key = coin_key, .amount = amount_of(1000)},
        &outcome);
    assert_done(stage, &outcome);
    deposit_token(stage, &token, 1, 777);
    struct channel_state coins = channel_now(stage, &coin_key), tokens = channel_now(stage, &token_key);
    assert_true(coins.total.units == 1000 && coins.base == 1000 && coins.status == CHANNEL_OPEN);
    assert_true(tokens.total.units == 777 && tokens.status == CHANNEL_OPEN);

    run_until(stage, count_events(stage, EVENT_FUNDED) == 2);
    assert_int_equal(count_events(stage, EVENT_ASSET_LISTED), 2);
    assert_int_equal(count_events(stage, EVENT_OPENED), 2);
    assert_int_equal(stage->young_count, 0);
    struct hash id = channel_id(&token_key);
    const struct contract_event *last = &stage->events[stage->event_count - 1];
    assert_true(last->type == EVENT_FUNDED && hash_equal(&last->channel, &id) &&
                last->client_amount.units == 777);
    stage_free(stage);
}

static void reverts_have_names(void **state)
{
    (void)state;
    struct stage *stage = stage_new("0", 0);
    list_asset(stage, &ADDRESS_ZERO, UNIT);
    struct channel_key key = key_of(stage, &ADDRESS_ZERO, 1);
    const struct {
        struct contract_call call;
        enum contract_error expected;
    } cases[] = {
        {{.function = CONTRACT_FINISH, .key = key}, CONTRACT_BAD_STATUS},
        {{.function = CONTRACT_SET_TOWER, .address = key.client, .flag = true}, CONTRACT_NOT_HUB},
        {{.function = CONTRACT_WITHDRAW_OWED, .to = key.client}, CONTRACT_NOTHING_OWED},
        {{.function = CONTRACT_DEPOSIT, .key = key, .amount = {5}}, CONTRACT_WRONG_VALUE},
        {{.function = CONTRACT_DEPOSIT_POOL, .address = key.client, .amount = {5}}, CONTRACT_ASSET_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct outcome outcome;
        send_call(stage, &stage->client, 0, &cases[i].call, &outcome);
        run_until(stage, outcome.told);
        assert_int_equal(outcome.error, LEDGER_REVERTED);
        assert_int_equal(outcome.receipt.reverted, cases[i].expected);
        assert_int_equal(outcome.receipt.block, 0); /* nothing was sent */
    }
    /* Coins that nobody has. */
    struct secret_key poor = secret_key_random();
    struct outcome outcome;
    send_call(stage, &poor, 1,
              &(struct contract_call){.function = CONTRACT_DEPOSIT, .key = key, .amount = {1}}, &outcome);
    run_until(stage, outcome.told);
    assert_int_equal(outcome.error, LEDGER_NO_FUNDS);
    stage_free(stage);
}

static void blocks_at_an_interval(void **state)
{
    (void)state;
    struct stage *stage = stage_new("150", 2);
    list_asset(stage, &ADDRESS_ZERO, UNIT);
    struct address token = token_issue(stage, 1000);
    list_asset(stage, &token, 1);
    deposit_token(stage, &token, 3, 250);
    run_until(stage, count_events(stage, EVENT_FUNDED) == 1);
    assert_int_equal(stage->young_count, stage->event_count); /* each was shown young, and once */

    /* Both estimates are good, one can be: the other is mined as reverted, and says why. */
    struct address other = {{5}};
    struct outcome first, second;
    struct contract_call list = {.function = CONTRACT_LIST_ASSET, .address = other, .unit = 1};
    send_call(stage, &stage->hub, 0, &list, &first);
    send_call(stage, &stage->hub, 0, &list, &second);
    assert_done(stage, &first);
    run_until(stage, second.told);
    assert_int_equal(second.error, LEDGER_REVERTED);
    assert_int_equal(second.receipt.reverted, CONTRACT_ASSET_ALREADY_LISTED);
    stage_free(stage);
}

static void a_daemon_that_is_killed_and_comes_back(void **state)
{
    (void)state;
    struct stage *stage = stage_new("100", 1);
    list_asset(stage, &ADDRESS_ZERO, UNIT);
    run_until(stage, stage->event_count == 1);
    struct channel_key key = key_of(stage, &ADDRESS_ZERO, 9);
    struct contract_call deposit = {.function = CONTRACT_DEPOSIT, .key = key, .amount = {10}};
    struct outcome outcomes[4];
    for (size_t i = 0; i < ARRAY_LENGTH(outcomes); i++)
        send_call(stage, &stage->client, 10, &deposit, &outcomes[i]);
    uint64_t head = stage->head.number;
    run_until(stage, stage->head.number > head);
    (void)process_end(&stage->ledgerd, SIGKILL);
    run_until(stage, ledger_trouble(stage->ledger)[0] != '\0');
    ledgerd_start(stage);
    for (size_t i = 0; i < ARRAY_LENGTH(outcomes); i++)
        assert_done(stage, &outcomes[i]);
    assert_int_equal(channel_now(stage, &key).total.units, 40);
    run_until(stage, count_events(stage, EVENT_FUNDED) == 4);
    assert_int_equal(stage->too_deep, 0);

    /* A client that comes back with its cursor is told nothing twice. */
    run_until(stage, stage->cursor > stage->events[stage->event_count - 1].block);
    size_t before = stage->event_count;
    head = stage->head.number;
    ledger_free(stage->ledger);
    client_start(stage, 1);
    run_until(stage, stage->head.number > head + 1);
    assert_int_equal(stage->event_count, before);
    stage_free(stage);
}

int main(void)
{
    log_setup("test_ledger_client", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_on_demand),
        cmocka_unit_test(reverts_have_names),
        cmocka_unit_test(blocks_at_an_interval),
        cmocka_unit_test(a_daemon_that_is_killed_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
