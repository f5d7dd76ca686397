#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "ledger/client_parts.h"
#include "ledger/quantity.h"

/* Longest pause between looks at the head of a node that gives no usable ones. */
#define PULSE_SLOWEST_MS 5000

const char *ledger_error_text(enum ledger_error error)
{
    switch (error) {
    case LEDGER_OK:
        return "no error";
    case LEDGER_UNREACHABLE:
        return "the ledger node does not answer";
    case LEDGER_WRONG_CHAIN:
        return "the ledger node is on another chain";
    case LEDGER_MALFORMED:
        return "the ledger node's answer makes no sense";
    case LEDGER_REFUSED:
        return "the ledger node refused the request";
    case LEDGER_REVERTED:
        return "the contract refused";
    case LEDGER_NO_FUNDS:
        return "the sender cannot pay for value and gas";
    case LEDGER_STOPPED:
        return "the ledger client was stopped";
    }
    return "unknown error";
}

/* ---- blocks ---- */

bool block_of_json(const json_t *json, const uint64_t *number, struct block *out)
{
    struct block block = {0};
    if (!quantity_u64(json_object_get(json, "number"), &block.number) ||
        !quantity_u64(json_object_get(json, "timestamp"), &block.time) ||
        !hash_of_json(json_object_get(json, "hash"), &block.hash))
        return false;
    if (number != NULL && block.number != *number)
        return false;
    /* Not every node has these: fees and limits then come from elsewhere. */
    if (!quantity_u64(json_object_get(json, "gasLimit"), &block.gas_limit))
        block.gas_limit = 0;
    if (!quantity_u64(json_object_get(json, "baseFeePerGas"), &block.base_fee))
        block.base_fee = 0;
    const char *bloom = json_string_value(json_object_get(json, "logsBloom"));
    block.has_bloom = bloom != NULL && hex_decode(bloom, block.bloom, sizeof(block.bloom));
    *out = block;
    return true;
}

bool block_may_log(const struct block *block, const struct address *address)
{
    if (!block->has_bloom)
        return true;
    /* Yellow paper, section 4.3.1: three bits, each from two bytes of the hash. */
    struct hash hash = keccak256(address->bytes, sizeof(address->bytes));
    for (size_t i = 0; i < 6; i += 2) {
        unsigned bit = load_be16(hash.bytes + i) & 2047u;
        if ((block->bloom[sizeof(block->bloom) - 1 - bit / 8] >> (bit % 8) & 1) == 0)
            return false;
    }
    return true;
}

void ledger_get_block(struct ledger *ledger, uint64_t number, rpc_done *done, void *context)
{
    json_t *params = json_pack("[o, b]", quantity_of(number), 0);
    rpc_call(ledger->rpc, "eth_getBlockByNumber", params, RPC_TRIES_ENDLESS, done, context);
}

/* ---- the pulse ---- */

static void pulse_arm(struct ledger *ledger)
{
    uint64_t wait_ms = ledger->options.poll_ms;
    for (unsigned i = 0; i < ledger->pulse_failures && wait_ms < PULSE_SLOWEST_MS; i++)
        wait_ms *= 2;
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000) * 1000};
    evtimer_add(ledger->pulse, &wait);
}

static void on_latest(void *context, const struct rpc_answer *answer)
{
    struct ledger *ledger = context;
    ledger->pulse_asking = false;
    if (answer->error == LEDGER_STOPPED)
        return;
    struct block latest;
    if (answer->error != LEDGER_OK || !block_of_json(answer->result, NULL, &latest)) {
        ledger->pulse_failures++;
        snprintf(ledger->pulse_trouble, sizeof(ledger->pulse_trouble), "ledger node %s gives no head: %s",
                 ledger->url, answer->error != LEDGER_OK ? answer->text : "its answer is not a block");
    } else {
        ledger->pulse_failures = 0;
        ledger->pulse_trouble[0] = '\0';
        ledger->has_latest = true;
        ledger->latest = latest;
        if (latest.number > ledger->highest)
            ledger->highest = latest.number;
        if (ledger->follower != NULL)
            follower_head(ledger->follower, &latest);
        if (ledger->stopped)
            return; /* freed by the follower's owner */
        senders_head(ledger->senders, &latest);
    }
    ledger->pulse_on = ledger->follower != NULL || senders_are_busy(ledger->senders);
    if (ledger->pulse_on)
        pulse_arm(ledger);
}

static void pulse_ask(struct ledger *ledger)
{
    if (ledger->stopped || ledger->pulse_asking)
        return;
    ledger->pulse_asking = true;
    json_t *params = json_pack("[s, b]", "latest", 0);
    rpc_call(ledger->rpc, "eth_getBlockByNumber", params, RPC_TRIES_ENDLESS, on_latest, ledger);
}

static void on_pulse(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    pulse_ask(context);
}

void pulse_start(struct ledger *ledger)
{
    if (!ledger->pulse_on)
        pulse_now(ledger);
    ledger->pulse_on = true;
}

void pulse_now(struct ledger *ledger)
{
    evtimer_del(ledger->pulse);
    ledger->pulse_on = true;
    pulse_ask(ledger);
}

/* ---- life ---- */

static void destroy(struct ledger *ledger)
{
    rpc_free(ledger->rpc);
    if (ledger->follower != NULL)
        follower_free(ledger->follower);
    senders_free(ledger->senders);
    event_free(ledger->pulse);
    free(ledger->url);
    free(ledger);
}

static void on_idle(void *context)
{
    struct ledger *ledger = context;
    if (ledger->free_later)
        destroy(ledger);
}

struct ledger *ledger_new(struct event_base *base, const struct ledger_options *options)
{
    /* A node that hangs up must not end the process. */
    struct sigaction pipe_action;
    if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && pipe_action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
    struct ledger *ledger = xcalloc(1, sizeof(*ledger));
    ledger->base = base;
    ledger->url = xstrdup(options->url);
    ledger->options = *options;
    ledger->options.url = ledger->url;
    struct ledger_options *filled = &ledger->options;
    filled->poll_ms = filled->poll_ms != 0 ? filled->poll_ms : 500;
    filled->tries = filled->tries != 0 ? filled->tries : 8;
    filled->timeout_ms = filled->timeout_ms != 0 ? filled->timeout_ms : 10000;
    filled->logs_range_max = filled->logs_range_max != 0 ? filled->logs_range_max : 2000;
    filled->max_fee_per_gas = filled->max_fee_per_gas != 0 ? filled->max_fee_per_gas : 500000000000u;
    ledger->rpc = rpc_new(base, ledger->url, options->chain_id, filled->timeout_ms, on_idle, ledger);
    ledger->pulse = evtimer_new(base, on_pulse, ledger);
    ensure(ledger->pulse != NULL);
    ledger->senders = senders_new(ledger);
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    if (ledger == NULL)
        return;
    ensure(!ledger->stopped);
    ledger->stopped = true;
    evtimer_del(ledger->pulse);
    rpc_stop(ledger->rpc);
    senders_stop(ledger->senders);
    /* From inside an answer: what that answer's caller still uses goes when it has returned. */
    ledger->free_later = rpc_is_answering(ledger->rpc);
    if (!ledger->free_later)
        destroy(ledger);
}

uint64_t ledger_chain_id(const struct ledger *ledger)
{
    return rpc_chain_id(ledger->rpc);
}

const char *ledger_trouble(const struct ledger *ledger)
{
    if (*rpc_trouble(ledger->rpc) != '\0')
        return rpc_trouble(ledger->rpc);
    if (ledger->pulse_trouble[0] != '\0')
        return ledger->pulse_trouble;
    if (ledger->follower != NULL && *follower_trouble(ledger->follower) != '\0')
        return follower_trouble(ledger->follower);
    return senders_trouble(ledger->senders);
}

const char *ledger_last_error(const struct ledger *ledger)
{
    return rpc_last_error(ledger->rpc);
}

uint64_t ledger_block_gas(const struct ledger *ledger)
{
    return ledger->has_latest ? ledger->latest.gas_limit : 0;
}

struct hash ledger_confirmed_hash(const struct ledger *ledger)
{
    return ledger->confirmed_hash;
}

struct ledger_head ledger_head(const struct ledger *ledger)
{
    return ledger->head;
}

/* ---- calls ---- */

struct pending_call {
    ledger_answer *answer;
    void *context;
};

static void on_call(void *context, const struct rpc_answer *answer)
{
    struct pending_call *pending = context;
    struct buffer data = {0};
    enum ledger_error error = answer->error;
    enum contract_error reverted = CONTRACT_OK;
    if (error == LEDGER_OK && !bytes_of_json(answer->result, &data))
        error = LEDGER_MALFORMED;
    if (error == LEDGER_REFUSED && rpc_is_revert(answer->error_object)) {
        error = LEDGER_REVERTED;
        reverted = rpc_revert_data(answer->error_object, &data)
                       ? contract_decode_error(data.data, data.length, NULL)
                       : CONTRACT_UNNAMED;
    }
    pending->answer(pending->context, error, reverted, data.data, data.length);
    buffer_free(&data);
    free(pending);
}

void ledger_call(struct ledger *ledger, const struct address *to, const uint8_t *data, size_t length,
                 ledger_answer *answer, void *context)
{
    struct pending_call *pending = xmalloc(sizeof(*pending));
    *pending = (struct pending_call){answer, context};
    json_t *params =
        json_pack("[{s:o, s:o}, s]", "to", address_json(to != NULL ? to : &ledger->options.contract), "data",
                  hex_of(data, length), "latest");
    rpc_call(ledger->rpc, "eth_call", params, ledger->options.tries, on_call, pending);
}

struct pending_request {
    ledger_json_answer *answer;
    void *context;
};

static void on_request(void *context, const struct rpc_answer *answer)
{
    struct pending_request *pending = context;
    char *text =
        answer->error == LEDGER_OK ? json_dumps(answer->result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    pending->answer(pending->context, answer->error, text);
    free(text);
    free(pending);
}

void ledger_request(struct ledger *ledger, const char *method, const char *params, ledger_json_answer *answer,
                    void *context)
{
    struct pending_request *pending = xmalloc(sizeof(*pending));
    *pending = (struct pending_request){answer, context};
    json_t *array = json_loads(params, 0, NULL);
    if (!json_is_array(array)) {
        json_decref(array);
        rpc_answer_later(ledger->rpc, LEDGER_MALFORMED, "the request's parameters are not a JSON array",
                         on_request, pending);
        return;
    }
    rpc_call(ledger->rpc, method, array, ledger->options.tries, on_request, pending);
}

/* ---- waiting ---- */

struct waiting_call {
    bool done;
    enum ledger_error error;
    enum contract_error reverted;
    struct buffer *result;
};

static void on_waiting_call(void *context, enum ledger_error error, enum contract_error reverted,
                            const uint8_t *data, size_t length)
{
    struct waiting_call *waiting = context;
    waiting->done = true;
    waiting->error = error;
    waiting->reverted = reverted;
    if (error == LEDGER_OK && length > 0)
        buffer_append(waiting->result, data, length);
}

/* Runs the loop until *done. Only from outside the loop: libevent's loops do not nest. */
static void run_until(struct ledger *ledger, const bool *done)
{
    while (!*done)
        ensure(event_base_loop(ledger->base, EVLOOP_ONCE) == 0);
}

enum ledger_error ledger_call_wait(struct ledger *ledger, const struct address *to, const uint8_t *data,
                                   size_t length, struct buffer *result, enum contract_error *reverted)
{
    struct waiting_call waiting = {.result = result};
    ledger_call(ledger, to, data, length, on_waiting_call, &waiting);
    run_until(ledger, &waiting.done);
    if (reverted != NULL)
        *reverted = waiting.reverted;
    return waiting.error;
}

struct waiting_send {
    bool done;
    enum ledger_error error;
    struct ledger_receipt *receipt;
};

static void on_waiting_send(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct waiting_send *waiting = context;
    waiting->done = true;
    waiting->error = error;
    if (waiting->receipt != NULL && receipt != NULL)
        *waiting->receipt = *receipt;
}

enum ledger_error ledger_send_wait(struct ledger *ledger, const struct secret_key *key,
                                   const struct address *to, unsigned_wide value, const uint8_t *data,
                                   size_t length, struct ledger_receipt *receipt)
{
    struct waiting_send waiting = {.receipt = receipt};
    if (receipt != NULL)
        memset(receipt, 0, sizeof(*receipt));
    ledger_send(ledger, key, to, value, data, length, on_waiting_send, &waiting);
    run_until(ledger, &waiting.done);
    return waiting.error;
}
