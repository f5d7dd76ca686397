/* What a ledger node answers, as the ledger client reads it: following, calls, transactions, all in one client.
 *
 *     input: what to ask u8, then per request a kind u8 and what that needs
 *
 * A small chain answers honestly; by the input's kind of each answer it is then bent: a field replaced, the result or
 * the error object written by the fuzzer, raw bytes in place of JSON, an HTTP status, a connection that breaks. Of a
 * batch each answer is bent by itself; they come in another order, doubled, without one, or one in place of all. Blocks
 * come, go and are replaced by others.
 *
 * Whatever the node says: each call is answered once; what is confirmed comes in order, each place once, inside
 * what the heads then cover; confirmed heads never go back. (Whether it is true is nobody's to know from one node.)
 *
 * The HTTP below is replaced: a link answers from the input at the next turn of the event loop, and timers end at once
 * (--wrap=event_add). The JSON-RPC, the follower and the senders are the real ones. */
#include "tests/fuzz/input.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "ledger/client.h"
#include "ledger/http_post.h"
#include "ledger/quantity.h"

#define TURNS_MAX   400
#define CHAIN_ID    31337
#define CONFIRM     2
#define HEIGHT_MAX  64
#define CALLS       4
#define RETRIES     2
#define TIME        1700000000u
#define JSON_LENGTH 512

struct node {
    struct input input;
    uint64_t height;
    uint8_t fork[HEIGHT_MAX + 1]; /* of each block: another hash */
    bool logs[HEIGHT_MAX + 1];
    uint64_t nonce;
};

struct http_link {
    http_done *done;
    void *context;
    struct event *answer;
    char *body;
    size_t length;
    int status;
    uint32_t retry_after;
};

static struct node node;
static const struct address contract = {{0xc0, 1}};

/* ---- no time passes ---- */

int __wrap_event_add(struct event *event, const struct timeval *timeout);
int __real_event_add(struct event *event, const struct timeval *timeout);

int __wrap_event_add(struct event *event, const struct timeval *timeout)
{
    static const struct timeval at_once = {0, 0};
    return __real_event_add(event, timeout == NULL ? NULL : &at_once);
}

/* ---- the chain ---- */

static struct hash block_hash(uint64_t number)
{
    uint64_t words[2] = {number, number <= HEIGHT_MAX ? node.fork[number] : 0};
    return keccak256(words, sizeof(words));
}

static json_t *log_json(uint64_t number)
{
    struct contract_event event = {.type = (enum contract_event_type)(number % EVENT_TYPE_COUNT),
                                   .channel = {{1}},
                                   .client_amount = {number},
                                   .symbol = "T"};
    struct hash topics[4], transaction = keccak256(&number, sizeof(number));
    size_t count;
    struct buffer data = {0};
    contract_encode_event(&event, topics, &count, &data);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, hash_json(&topics[i]));
    struct hash hash = block_hash(number);
    json_t *log =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "address", address_json(&contract), "topics", list, "data",
                  hex_of(data.data, data.length), "blockNumber", quantity_of(number), "blockHash",
                  hash_json(&hash), "transactionHash", hash_json(&transaction), "logIndex", quantity_of(0));
    buffer_free(&data);
    return log;
}

static json_t *block_json(uint64_t number)
{
    if (number > node.height)
        return json_null();
    struct hash hash = block_hash(number);
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "number", quantity_of(number), "timestamp",
                     quantity_of(TIME + number), "hash", hash_json(&hash), "gasLimit", quantity_of(30000000),
                     "baseFeePerGas", quantity_of(1000));
}

static void chain_moves(void)
{
    uint8_t how = input_u8(&node.input);
    if (how < 128 && node.height < HEIGHT_MAX) {
        node.height++;
        node.fork[node.height] = 0;
        node.logs[node.height] = how % 2 == 0;
    } else if (how < 144 && node.height > 0) {
        node.height -= 1 + how % 3u < node.height ? 1 + how % 3u : node.height;
    } else if (how < 160) {
        for (uint64_t i = node.height > how % 4u ? node.height - how % 4u : 0; i <= node.height; i++)
            node.fork[i]++;
    }
}

static json_t *logs_json(const json_t *filter)
{
    uint64_t from = 0, to = 0;
    struct hash hash;
    json_t *logs = json_array();
    bool by_hash = hash_of_json(json_object_get(filter, "blockHash"), &hash);
    ensure(by_hash || (quantity_u64(json_object_get(filter, "fromBlock"), &from) &&
                       quantity_u64(json_object_get(filter, "toBlock"), &to)));
    for (uint64_t i = 0; i <= node.height; i++) {
        struct hash own = block_hash(i);
        if (node.logs[i] && (by_hash ? hash_equal(&own, &hash) : from <= i && i <= to))
            json_array_append_new(logs, log_json(i));
    }
    return logs;
}

static json_t *receipt_json(const json_t *hash)
{
    if (node.height < 2)
        return json_null();
    return json_pack("{s:O,s:o,s:o,s:o,s:o,s:[o]}", "transactionHash", hash, "blockNumber",
                     quantity_of(node.height / 2), "status", quantity_of(node.height % 2), "gasUsed",
                     quantity_of(21000), "effectiveGasPrice", quantity_of(1001), "logs", log_json(17));
}

static json_t *honest(const char *method, const json_t *params)
{
    uint64_t number;
    const json_t *first = json_array_get(params, 0);
    if (strcmp(method, "eth_chainId") == 0)
        return quantity_of(CHAIN_ID);
    if (strcmp(method, "eth_getBlockByNumber") == 0) {
        chain_moves();
        return block_json(quantity_u64(first, &number) ? number : node.height);
    }
    if (strcmp(method, "eth_getLogs") == 0)
        return logs_json(first);
    if (strcmp(method, "eth_getTransactionReceipt") == 0)
        return receipt_json(first);
    if (strcmp(method, "eth_getTransactionCount") == 0)
        return quantity_of(node.nonce + input_below(&node.input, 2));
    if (strcmp(method, "eth_sendRawTransaction") == 0)
        return json_string("0x1111111111111111111111111111111111111111111111111111111111111111");
    if (strcmp(method, "eth_call") == 0)
        return json_string("0x0000000000000000000000000000000000000000000000000000000000000001");
    return quantity_of(50000);
}

/* ---- what the input makes of it ---- */

static json_t *odd_value(void)
{
    static const char *const texts[] = {
        "", "0x", "0x0", "0x00", "0xffffffffffffffff", "0x10000000000000000", "latest", "0X1", "1", "0xg"};
    switch (input_below(&node.input, 6)) {
    case 0:
        return json_null();
    case 1:
        return json_integer((json_int_t)input_number(&node.input));
    case 2:
        return json_array();
    case 3:
        return quantity_of(input_number(&node.input));
    case 4:
        return json_object();
    default:
        return json_string(texts[input_below(&node.input, ARRAY_LENGTH(texts))]);
    }
}

/* Replaces, drops or doubles one value somewhere in it. */
static json_t *bend(json_t *value)
{
    unsigned at = input_u8(&node.input), place = 0;
    const char *key;
    json_t *child;
    if (json_is_array(value) && json_array_size(value) > 0) {
        size_t index = at % json_array_size(value);
        if (at >= 200)
            json_array_append(value, json_array_get(value, index));
        else if (at >= 160)
            json_array_remove(value, index);
        else
            json_array_set_new(value, index, bend(json_incref(json_array_get(value, index))));
        return value;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return odd_value();
    }
    json_object_foreach(value, key, child)
    {
        if (place++ != at % json_object_size(value))
            continue;
        if (json_is_array(child))
            bend(child);
        else
            json_object_set_new(value, key, odd_value());
        break;
    }
    return value;
}

/* The fuzzer's own text. */
static void put_raw(struct buffer *out)
{
    size_t length;
    const uint8_t *bytes = input_bytes(&node.input, JSON_LENGTH, &length);
    buffer_append(out, bytes, length);
}

static void put_json(struct buffer *out, const char *member, json_int_t id, json_t *value)
{
    json_t *answer = json_pack("{s:s,s:I,s:o}", "jsonrpc", "2.0", "id", id, member, value);
    char *text = json_dumps(answer, JSON_COMPACT);
    ensure(text != NULL);
    buffer_append(out, text, strlen(text));
    free(text);
    json_decref(answer);
}

static json_t *error_json(void)
{
    static const char *const messages[] = {"execution reverted",
                                           "nonce too low",
                                           "insufficient funds for gas",
                                           "header not found",
                                           "rate limit exceeded",
                                           "already known",
                                           "limit exceeded",
                                           "replacement transaction underpriced"};
    static const int codes[] = {-32000, -32005, 3, -32601, 429, -32602};
    json_t *error = json_pack("{s:i,s:s}", "code", codes[input_below(&node.input, ARRAY_LENGTH(codes))],
                              "message", messages[input_below(&node.input, ARRAY_LENGTH(messages))]);
    unsigned data = input_below(&node.input, 4);
    if (data == 1)
        json_object_set_new(error, "data", json_string("0x13a1a1c5"));
    else if (data == 2)
        json_object_set_new(error, "data", json_pack("{s:s}", "data", "0x08c379a0"));
    return data == 3 ? bend(error) : error;
}

static enum http_outcome broken(struct http_link *link)
{
    static const enum http_outcome outcomes[] = {HTTP_STATUS, HTTP_NO_CONNECTION, HTTP_TIMEOUT,
                                                 HTTP_TOO_LONG};
    static const int statuses[] = {429, 503, 500, 404};
    enum http_outcome outcome = outcomes[input_below(&node.input, ARRAY_LENGTH(outcomes))];
    link->status = outcome == HTTP_STATUS ? statuses[input_below(&node.input, ARRAY_LENGTH(statuses))] : 0;
    link->retry_after = input_u8(&node.input);
    return outcome;
}

/* The answer to one question. */
static enum http_outcome answer_one(struct http_link *link, const json_t *question, struct buffer *out)
{
    json_int_t id = json_integer_value(json_object_get(question, "id"));
    const char *method = json_string_value(json_object_get(question, "method"));
    const json_t *params = json_object_get(question, "params");
    unsigned kind = input_u8(&node.input);
    if (kind < 160) {
        put_json(out, "result", id, honest(method, params));
    } else if (kind < 200) {
        put_json(out, "result", id, bend(honest(method, params)));
    } else if (kind < 220) {
        buffer_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"%s\":", (long long)id,
                      kind % 2 ? "result" : "error");
        put_raw(out);
        buffer_printf(out, "}");
    } else if (kind < 240) {
        put_json(out, "error", id, error_json());
    } else if (kind < 248) {
        put_raw(out);
    } else {
        put_raw(out);
        return broken(link);
    }
    return HTTP_ANSWERED;
}

static enum http_outcome answer_batch(struct http_link *link, const json_t *questions, struct buffer *out)
{
    enum http_outcome outcome = HTTP_ANSWERED;
    size_t count = json_array_size(questions), first = 0, last = count;
    unsigned how = input_u8(&node.input);
    bool backwards = how % 2 == 1;
    if (how >= 250)
        return answer_one(link, json_array_get(questions, 0), out); /* in place of a list */
    first += how >= 230 && how < 240;
    last += how >= 240; /* the first comes again */
    buffer_printf(out, "[");
    for (size_t i = first; i < last; i++) {
        size_t place = backwards ? last - 1 - (i - first) : i;
        enum http_outcome one = answer_one(link, json_array_get(questions, place % count), out);
        outcome = one != HTTP_ANSWERED ? one : outcome;
        buffer_printf(out, "%s", i + 1 < last ? "," : "");
    }
    buffer_printf(out, "]");
    return outcome;
}

static enum http_outcome answer(struct http_link *link, struct buffer *out)
{
    json_t *request = json_loadb(link->body, link->length, 0, NULL);
    ensure(request != NULL);
    link->status = 200;
    link->retry_after = 0;
    enum http_outcome outcome =
        json_is_array(request) ? answer_batch(link, request, out) : answer_one(link, request, out);
    json_decref(request);
    return outcome;
}

/* ---- the link, in place of HTTP ---- */

const char *http_target_parse(const char *url, struct http_target *out)
{
    (void)url;
    memset(out, 0, sizeof(*out));
    return NULL;
}

static void on_answer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct http_link *link = context;
    struct buffer text = {0};
    enum http_outcome outcome = answer(link, &text);
    free(link->body);
    link->body = NULL;
    uint8_t *exact = input_copy(text.data, text.length);
    link->done(link->context, outcome, exact, text.length,
               outcome == HTTP_ANSWERED ? NULL : "the node is not well");
    free(exact);
    buffer_free(&text);
}

struct http_link *http_link_new(struct event_base *base, struct evdns_base *names,
                                const struct http_target *target, uint32_t timeout_ms, size_t answer_max,
                                http_done *done, void *context)
{
    (void)names;
    (void)target;
    (void)timeout_ms;
    (void)answer_max;
    struct http_link *link = xcalloc(1, sizeof(*link));
    link->done = done;
    link->context = context;
    link->answer = event_new(base, -1, 0, on_answer, link);
    ensure(link->answer != NULL);
    return link;
}

void http_link_free(struct http_link *link)
{
    if (link == NULL)
        return;
    event_free(link->answer);
    free(link->body);
    free(link);
}

void http_link_answer_max(struct http_link *link, size_t answer_max)
{
    (void)link;
    ensure(answer_max > 0);
}

bool http_link_is_busy(const struct http_link *link)
{
    return link->body != NULL;
}

int http_link_status(const struct http_link *link)
{
    return link->status;
}

uint32_t http_link_retry_after_s(const struct http_link *link)
{
    return link->retry_after;
}

bool http_link_post(struct http_link *link, const char *body, size_t length)
{
    ensure(link->body == NULL);
    link->body = (char *)input_copy((const uint8_t *)body, length);
    link->length = length;
    event_active(link->answer, 0, 0);
    return true;
}

/* ---- who asks ---- */

struct owner {
    bool has_confirmed, too_deep, has_head;
    uint64_t block, head;
    uint32_t index;
    unsigned asked, answered, due[CALLS];
};

static void on_event(void *context, const struct contract_event *event)
{
    struct owner *owner = context;
    ensure(event->type < EVENT_TYPE_COUNT);
    if (!event->confirmed)
        return;
    ensure(!owner->has_confirmed || event->block > owner->block ||
           (event->block == owner->block && event->log_index > owner->index));
    ensure(!owner->has_head || event->block > owner->head);
    owner->has_confirmed = true;
    owner->block = event->block;
    owner->index = event->log_index;
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct owner *owner = context;
    ensure(head->confirmed_number <= head->number);
    ensure(!owner->has_head || head->confirmed_number >= owner->head);
    ensure(!owner->has_confirmed || owner->block <= head->confirmed_number);
    owner->has_head = true;
    owner->head = head->confirmed_number;
}

static void on_too_deep(void *context, uint64_t block)
{
    struct owner *owner = context;
    (void)block;
    owner->too_deep = true;
}

static void once(struct owner *owner, unsigned which)
{
    ensure(owner->due[which] == 1);
    owner->due[which] = 0;
}

static void on_call(void *context, enum ledger_error error, enum contract_error reverted, const uint8_t *data,
                    size_t length)
{
    ensure(error == LEDGER_OK || length == 0 || error == LEDGER_REVERTED);
    ensure(contract_error_name(reverted) != NULL && (length == 0 || data != NULL));
    once(context, 0);
}

static void on_json(void *context, enum ledger_error error, const char *text)
{
    ensure(ledger_error_text(error) != NULL && (error != LEDGER_OK || text != NULL));
    once(context, 1);
}

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    ensure(error != LEDGER_OK || receipt != NULL);
    once(context, 2);
}

static void on_created(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    ensure(error != LEDGER_OK || receipt != NULL);
    once(context, 3);
}

static void ask(struct ledger *ledger, struct owner *owner, uint8_t what)
{
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    static const struct secret_key key = {{1, [31] = 3}};
    static const uint8_t data[4] = {1, 2, 3, 4};
    if (what & 1)
        ledger_follow(ledger, what >> 6, &callbacks, owner);
    for (unsigned i = 0; i < CALLS; i++)
        owner->due[i] = what >> (1 + i) & 1;
    if (owner->due[0])
        ledger_call(ledger, NULL, data, sizeof(data), on_call, owner);
    if (owner->due[1])
        ledger_request(ledger, "eth_gasPrice", "[]", on_json, owner);
    if (owner->due[2])
        ledger_send(ledger, &key, NULL, 5, data, sizeof(data), on_sent, owner);
    if (owner->due[3])
        ledger_create(ledger, &key, data, sizeof(data), on_created, owner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner owner = {0};
    memset(&node, 0, sizeof(node));
    node.input = input_of(data, size);
    node.height = 5;
    node.logs[3] = true;
    uint8_t what = input_u8(&node.input);
    struct event_base *base = event_base_new();
    const struct ledger_options options = {.url = "http://127.0.0.1:1",
                                           .chain_id = what & 32 ? CHAIN_ID : 0,
                                           .contract = contract,
                                           .confirmations = CONFIRM,
                                           .poll_ms = 1,
                                           .tries = RETRIES,
                                           .fills_gaps = (what & 64) != 0};
    struct ledger *ledger = ledger_new(base, &options);
    ask(ledger, &owner, what);
    for (unsigned i = 0; i < TURNS_MAX && node.input.left > 0; i++)
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    ensure(ledger_trouble(ledger) != NULL && ledger_last_error(ledger) != NULL);
    ledger_free(ledger);
    for (unsigned i = 0; i < CALLS; i++)
        ensure(owner.due[i] == 0);
    event_base_free(base);
    return 0;
}
