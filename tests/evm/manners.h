/* The ledger client against a real node, anvil, with a proxy in between that can misbehave: what the tests of the
 * client's manners share. */
#ifndef RILL_TESTS_EVM_MANNERS_H
#define RILL_TESTS_EVM_MANNERS_H

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

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "ledger/client.h"
#include "ledger/quantity.h"
#include "tests/support/anvil_node.h"
#include "tests/support/anvil_proxy.h"

#define PATIENCE_S  60
#define EVENTS_MAX  256
#define UNIT        1000000000u /* base units of the coin in one unit of the channels */
#define CHALLENGE_S 600
#define GWEI        1000000000u

struct stage {
    char folder[64]; /* "": none */
    struct anvil node;
    struct event_base *base;
    struct event *guard;
    struct proxy *proxy;
    struct ledger_options options;
    struct ledger *ledger;
    struct address contract;
    struct secret_key hub, client;
    /* what the follower told */
    struct contract_event events[EVENTS_MAX]; /* confirmed */
    size_t event_count, young_count;
    struct ledger_head head;
    uint64_t cursor;
    unsigned too_deep;
    const char *awaited; /* by the test */
};

static inline void on_event(void *context, const struct contract_event *event)
{
    struct stage *stage = context;
    if (!event->confirmed) {
        stage->young_count++;
        return;
    }
    assert_true(stage->event_count < EVENTS_MAX);
    if (stage->event_count > 0 && stage->too_deep == 0) {
        const struct contract_event *before = &stage->events[stage->event_count - 1];
        assert_true(event->block > before->block ||
                    (event->block == before->block && event->log_index > before->log_index));
    }
    stage->events[stage->event_count++] = *event;
}

static inline void on_head(void *context, const struct ledger_head *head)
{
    struct stage *stage = context;
    stage->head = *head;
    stage->cursor = head->confirmed_number + 1;
}

static inline void on_too_deep(void *context, uint64_t block)
{
    (void)block;
    ((struct stage *)context)->too_deep++;
}

static inline void on_guard(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    const struct stage *stage = context;
    fail_msg("not within %d s: %s; the client's trouble: '%s'", PATIENCE_S, stage->awaited,
             stage->ledger != NULL ? ledger_trouble(stage->ledger) : "");
}

/* Runs the loop until the condition holds. */
#define run_until(stage, condition)                                                                          \
    do {                                                                                                     \
        struct timeval patience = {PATIENCE_S, 0}, step = {0, 5000};                                         \
        evtimer_add((stage)->guard, &patience);                                                              \
        (stage)->awaited = #condition;                                                                       \
        while (!(condition)) {                                                                               \
            event_base_loopexit((stage)->base, &step);                                                       \
            event_base_dispatch((stage)->base);                                                              \
        }                                                                                                    \
        evtimer_del((stage)->guard);                                                                         \
    } while (0)

/* Until the client has asked for the head so often: what it does about the last one is done or on its way. */
static inline void look_around(struct stage *stage, unsigned looks)
{
    unsigned before = proxy_looks(stage->proxy);
    run_until(stage, proxy_looks(stage->proxy) >= before + looks);
}

static inline bool troubled_by(const struct stage *stage, const char *words)
{
    return strstr(ledger_trouble(stage->ledger), words) != NULL;
}

/* ---- blocks ---- */

/* anvil may hang for good when it mines or reorganises while it answers others: it is left alone meanwhile. */
static inline void calm(struct stage *stage)
{
    run_until(stage, proxy_under_way(stage->proxy) == 0);
}

static inline void mine(struct stage *stage, unsigned blocks)
{
    calm(stage);
    anvil_mine(&stage->node, blocks);
}

static inline void reorganise(struct stage *stage, unsigned depth)
{
    calm(stage);
    anvil_reorganise(&stage->node, depth);
}

/* ---- life ---- */

/* A client that follows from the cursor on. */
static inline void client_make(struct stage *stage)
{
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    stage->options.url = proxy_url(stage->proxy);
    stage->options.contract = stage->contract;
    stage->options.poll_ms = stage->options.poll_ms != 0 ? stage->options.poll_ms : 20;
    stage->ledger = ledger_new(stage->base, &stage->options);
    ledger_follow(stage->ledger, stage->cursor, &callbacks, stage);
}

/* The contract on a node that makes blocks when the test says so. */
static inline struct stage *stage_new(const char *const *flags, uint32_t confirmations)
{
    struct stage *stage = xcalloc(1, sizeof *stage);
    const char *all[16] = {"--no-mining"};
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
        ensure(i + 2 < ARRAY_LENGTH(all));
        all[i + 1] = flags[i];
    }
    anvil_start(&stage->node, all);
    stage->base = event_base_new();
    stage->guard = evtimer_new(stage->base, on_guard, stage);
    stage->hub = anvil_key(0);
    stage->client = anvil_key(1);
    struct address hub = secret_key_address(&stage->hub);
    stage->contract = anvil_deploy(&stage->node, &hub, CHALLENGE_S);
    stage->proxy = proxy_new(stage->base, stage->node.port);
    stage->options.confirmations = confirmations;
    client_make(stage);
    return stage;
}

static inline void client_end(struct stage *stage)
{
    run_until(stage, stage->event_count == 0 || stage->cursor > stage->events[stage->event_count - 1].block);
    ledger_free(stage->ledger);
    stage->ledger = NULL;
}

/* A new client behind a new proxy, whose counts begin at zero; what was confirmed is behind the cursor. */
static inline void client_begin(struct stage *stage)
{
    client_end(stage);
    proxy_free(stage->proxy);
    stage->proxy = proxy_new(stage->base, stage->node.port);
    client_make(stage);
}

static inline void stage_free(struct stage *stage)
{
    client_end(stage);
    proxy_free(stage->proxy);
    event_free(stage->guard);
    event_base_free(stage->base);
    anvil_end(&stage->node, SIGKILL);
    if (stage->folder[0] != '\0')
        folder_remove(stage->folder);
    free(stage);
}

/* ---- a second node ---- */

/* A stage whose node can be forked. */
static inline struct stage *stage_dumped(uint32_t confirmations)
{
    char folder[64], path[96];
    folder_make(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/state.json", folder);
    const char *const dump[] = {"--dump-state", path, NULL};
    struct stage *stage = stage_new(dump, confirmations);
    memcpy(stage->folder, folder, sizeof folder);
    return stage;
}

/* From here on there are two nodes with the chain as it is now; what one of them mines the other does not see. */
static inline void stage_fork(struct stage *stage, struct anvil *other)
{
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", stage->folder);
    const char *const load[] = {"--no-mining", "--load-state", path, NULL};
    anvil_end(&stage->node, SIGINT);
    anvil_start(&stage->node, load);
    anvil_start(other, load);
    proxy_port_set(stage->proxy, stage->node.port);
}

/* ---- anvil's pool ---- */

static inline uint64_t pool_size(struct stage *stage)
{
    uint64_t pending, queued;
    json_t *status = anvil_ask(&stage->node, "txpool_status", "[]");
    assert_true(quantity_u64(json_object_get(status, "pending"), &pending));
    assert_true(quantity_u64(json_object_get(status, "queued"), &queued));
    json_decref(status);
    return pending + queued;
}

/* Nonces used so far. */
static inline uint64_t nonce_of(struct stage *stage, const struct secret_key *key)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address address = secret_key_address(key);
    uint64_t nonce;
    json_t *count = anvil_ask(&stage->node, "eth_getTransactionCount", "[\"%s\",\"latest\"]",
                              address_text(&address, text));
    assert_true(quantity_u64(count, &nonce));
    json_decref(count);
    return nonce;
}

/* ---- sending ---- */

struct outcome {
    unsigned told;
    enum ledger_error error;
    struct ledger_receipt receipt;
};

static inline void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct outcome *outcome = context;
    outcome->told++;
    outcome->error = error;
    if (receipt != NULL)
        outcome->receipt = *receipt;
}

static inline void send_call(struct stage *stage, const struct secret_key *key, uint64_t units,
                             const struct contract_call *call, struct outcome *outcome)
{
    struct buffer data = {0};
    memset(outcome, 0, sizeof *outcome);
    contract_encode_call(&data, call);
    ledger_send(stage->ledger, key, NULL, (unsigned_wide)units * UNIT, data.data, data.length, on_sent,
                outcome);
    buffer_free(&data);
}

static inline void assert_done(struct stage *stage, const struct outcome *outcome)
{
    run_until(stage, outcome->told);
    if (outcome->error != LEDGER_OK)
        fail_msg("%s: %s; %s", ledger_error_text(outcome->error),
                 contract_error_name(outcome->receipt.reverted), ledger_last_error(stage->ledger));
    assert_true(outcome->told == 1 && outcome->receipt.success);
}

static inline struct channel_key channel_of(const struct stage *stage, uint64_t salt)
{
    return (struct channel_key){secret_key_address(&stage->client), ADDRESS_ZERO, salt};
}

static inline void deposit(struct stage *stage, uint64_t salt, uint64_t units, struct outcome *outcome)
{
    const struct contract_call call = {
        .function = CONTRACT_DEPOSIT, .key = channel_of(stage, salt), .amount = amount_of(units)};
    send_call(stage, &stage->client, units, &call, outcome);
}

/* What was sent, and is not told yet, is mined and as deep as it must be; nothing else waits. */
static inline void bury(struct stage *stage, const struct outcome *outcome)
{
    run_until(stage, outcome->told || pool_size(stage) > 0);
    mine(stage, stage->options.confirmations + 1);
    assert_done(stage, outcome);
}

/* The coin as an asset, so that there can be deposits. */
static inline void list_coin(struct stage *stage)
{
    struct outcome outcome;
    send_call(stage, &stage->hub, 0, &(struct contract_call){.function = CONTRACT_LIST_ASSET, .unit = UNIT},
              &outcome);
    bury(stage, &outcome);
}

/* What the contract says itself, by the node and not by the client. */
static inline struct channel_state channel_now(struct stage *stage, uint64_t salt)
{
    struct buffer data = {0}, result = {0};
    struct channel_state channel;
    char to[ADDRESS_TEXT_SIZE];
    contract_encode_call(
        &data, &(struct contract_call){.function = CONTRACT_CHANNEL, .key = channel_of(stage, salt)});
    json_t *hex = hex_of(data.data, data.length);
    json_t *answer = anvil_ask(&stage->node, "eth_call", "[{\"to\":\"%s\",\"data\":\"%s\"},\"latest\"]",
                               address_text(&stage->contract, to), json_string_value(hex));
    assert_true(bytes_of_json(answer, &result));
    assert_true(contract_decode_channel(result.data, result.length, &channel));
    json_decref(hex);
    json_decref(answer);
    buffer_free(&data);
    buffer_free(&result);
    return channel;
}

static inline size_t count_events(const struct stage *stage, enum contract_event_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < stage->event_count; i++)
        count += stage->events[i].type == type;
    return count;
}

#endif
