/* A JSON-RPC node with a chain in memory that does what a test tells it: mine, reorganise, lie, stall, hang
 * up. It runs in the test's own event loop on a port of the system's choice. Header only: each test program
 * has its own. */
#ifndef RILL_TESTS_LEDGER_SCRIPTED_NODE_H
#define RILL_TESTS_LEDGER_SCRIPTED_NODE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>

#include "base/buffer.h"
#include "base/ensure.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "ledger/client.h"
#include "ledger/quantity.h"
#include "ledger/transaction.h"

#define NODE_BLOCKS_MAX 4096
#define NODE_POOL_MAX   256
#define NODE_CHAIN_ID   31337
#define NODE_TIME       1700000000
#define NODE_WAIT_S     20 /* a test that has not got there by then has failed */

enum fault {
    FAULT_NONE,
    FAULT_GARBAGE,    /* status 200, not JSON */
    FAULT_WRONG_ID,   /* an answer to something else */
    FAULT_STATUS_500, /* a server's error page */
    FAULT_CLOSE,      /* does it, then closes without an answer */
    FAULT_SILENCE,    /* never answers */
    FAULT_HUGE,       /* more than is ever read */
    FAULT_DEEP,       /* a tower of brackets */
    FAULT_ERROR       /* an error object: node->error_json */
};

struct node_block {
    struct hash hash;
    uint64_t time;
    json_t *logs;
};
struct node_transaction {
    struct hash hash;
    struct address sender;
    uint64_t nonce, block; /* block: once mined */
    unsigned_wide fee, tip, value;
    struct address to;
    size_t data_length;
    bool is_mined, fails, creates;
};

struct node {
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *guard;
    uint16_t port;
    char url[64];
    struct bufferevent *connections[64];
    struct bufferevent *silent; /* whose answer was withheld last */

    uint64_t chain_id;
    struct node_block blocks[NODE_BLOCKS_MAX];
    uint64_t height; /* number of the newest block */
    uint64_t salt;   /* in each hash: another fork */
    uint64_t base_fee, tip;
    struct address contract;

    struct node_transaction pool[NODE_POOL_MAX];
    size_t pool_count;
    bool mines_at_once; /* each transaction makes a block */
    bool next_fails;    /* the next transaction will be mined as reverted */
    json_t *created;    /* contractAddress in the receipts of those that create; NULL: none */

    /* the fault, for the next fault_count requests of fault_method (NULL: any) */
    enum fault fault;
    const char *fault_method;
    unsigned fault_count;
    const char *error_json;
    const char *estimate_error; /* NULL: estimates are good */
    const char *send_error;     /* NULL: transactions are taken */
    const char *call_error;     /* NULL: calls answer call_result */
    const char *call_result;
    json_t *(*answers_call)(const json_t *call); /* what is called and with what; NULL: the two above say */
    const char *known_words;                     /* NULL: geth's, for a transaction that it has */
    bool speaks_nethermind;                      /* as that did for long: the names of its results */
    uint64_t logs_range_max;                     /* 0: any */
    bool receipts_hidden;                        /* no receipt is shown */
    unsigned logs_hidden;                        /* so many eth_getLogs answers are empty */
    bool has_bloom;                              /* blocks with logs say so */
    bool gives_log_times;
    bool takes_no_hash;     /* eth_getLogs knows ranges only */
    const char *hash_error; /* NULL: logs are given by hash */
    const char *old_error;  /* NULL: block 0 is shown */
    enum batches {
        BATCHES_TAKEN,
        BATCHES_REVERSED,      /* answered, in the other order */
        BATCHES_REFUSED,       /* an error object in place of the list: batch_error */
        BATCHES_ONE_ANSWERED,  /* the first question's answer in place of the list */
        BATCHES_NOT_UNDERSTOOD /* a page of HTML */
    } batches;
    const char *batch_error;
    /* Another node behind the same address, which answers those requests that goes_astray says. It has the chain up to
     * its height; its newest block is astray_tip, if that has logs (which are NULL else). */
    bool (*goes_astray)(struct node *node, const json_t *request);
    uint64_t astray_height;
    struct node_block astray_tip;
    void (*hook)(struct node *node, const char *method); /* after a request was answered */

    unsigned requests, open, open_most, batch_count;
    unsigned hash_count;   /* questions for logs by a block's hash */
    unsigned astray_count; /* requests that the other node answered */
    struct {
        const char *name;
        unsigned count;
    } methods[32];
    struct hash log_ids; /* grows: transaction hashes of logs */
};

static inline unsigned node_count(const struct node *node, const char *method)
{
    for (size_t i = 0; i < ARRAY_LENGTH(node->methods) && node->methods[i].name != NULL; i++)
        if (strcmp(node->methods[i].name, method) == 0)
            return node->methods[i].count;
    return 0;
}

/* ---- the chain ---- */

static inline struct hash node_hash(struct node *node, uint64_t number)
{
    uint64_t words[2] = {number, node->salt};
    return keccak256(words, sizeof(words));
}

static inline void node_block_add(struct node *node)
{
    uint64_t number = ++node->height;
    assert_true(number < NODE_BLOCKS_MAX);
    node->blocks[number] =
        (struct node_block){node_hash(node, number), node->blocks[number - 1].time + 12, json_array()};
}

static inline void node_mine(struct node *node, unsigned count)
{
    while (count-- > 0)
        node_block_add(node);
}

/* Puts a transaction of the pool into a new block. */
static inline void node_mine_transaction(struct node *node, size_t index)
{
    node_block_add(node);
    node->pool[index].is_mined = true;
    node->pool[index].block = node->height;
}

/* Drops all blocks from `from` on and makes `count` others in their place. Transactions in them are
 * forgotten. */
static inline void node_reorganise(struct node *node, uint64_t from, unsigned count)
{
    for (uint64_t i = from; i <= node->height; i++)
        json_decref(node->blocks[i].logs);
    for (size_t i = 0; i < node->pool_count; i++)
        if (node->pool[i].is_mined && node->pool[i].block >= from) {
            node->pool[i] = node->pool[--node->pool_count];
            i--;
        }
    node->height = from - 1;
    node->salt++;
    node_mine(node, count);
}

/* Adds an event to the newest block. */
static inline void node_event_add(struct node *node, const struct contract_event *event)
{
    struct hash topics[4];
    size_t count;
    struct buffer data = {0};
    struct node_block *block = &node->blocks[node->height];
    contract_encode_event(event, topics, &count, &data);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, hash_json(&topics[i]));
    node->log_ids.bytes[0]++;
    json_t *log =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "address", address_json(&node->contract), "topics",
                  list, "data", hex_of(data.data, data.length), "blockNumber", quantity_of(node->height),
                  "blockHash", hash_json(&block->hash), "transactionHash", hash_json(&node->log_ids),
                  "logIndex", quantity_of(json_array_size(block->logs)), "removed", 0);
    if (node->gives_log_times)
        json_object_set_new(log, "blockTimestamp", quantity_of(block->time));
    json_array_append_new(block->logs, log);
    buffer_free(&data);
}

/* An event that carries a number: a Funded of `mark`. */
static inline void node_mark_add(struct node *node, uint64_t mark)
{
    struct contract_event event;
    memset(&event, 0, sizeof(event));
    event.type = EVENT_FUNDED;
    event.client_amount = amount_of(mark);
    node_event_add(node, &event);
}

/* ---- methods ---- */

static inline json_t *node_bloom(const struct node *node, const struct node_block *block)
{
    uint8_t bloom[256] = {0};
    if (node->has_bloom && json_array_size(block->logs) > 0) {
        struct hash hash = keccak256(node->contract.bytes, 20);
        for (size_t i = 0; i < 6; i += 2) {
            unsigned bit = load_be16(hash.bytes + i) & 2047u;
            bloom[255 - bit / 8] |= (uint8_t)(1 << bit % 8);
        }
    }
    return hex_of(bloom, sizeof(bloom));
}

static inline json_t *node_block_transactions(const struct node *node, uint64_t number)
{
    json_t *list = json_array();
    for (size_t i = 0; i < node->pool_count; i++) {
        const struct node_transaction *mined = &node->pool[i];
        if (mined->is_mined && mined->block == number)
            json_array_append_new(list, json_pack("{s:o,s:o,s:o}", "hash", hash_json(&mined->hash), "from",
                                                  address_json(&mined->sender), "nonce",
                                                  quantity_of(mined->nonce)));
    }
    return list;
}

static inline json_t *node_get_block(struct node *node, const json_t *params)
{
    uint64_t number = node->height;
    if (quantity_u64(json_array_get(params, 0), &number) && number > node->height)
        return json_null();
    if (number == 0 && node->old_error != NULL)
        return json_loads(node->old_error, 0, NULL);
    struct node_block *block = &node->blocks[number];
    json_t *json = json_pack("{s:o,s:o,s:o,s:o,s:o}", "number", quantity_of(number), "hash",
                             hash_json(&block->hash), "timestamp", quantity_of(block->time), "gasLimit",
                             quantity_of(30000000), "baseFeePerGas", quantity_of(node->base_fee));
    if (node->has_bloom)
        json_object_set_new(json, "logsBloom", node_bloom(node, block));
    if (json_is_true(json_array_get(params, 1)))
        json_object_set_new(json, "transactions", node_block_transactions(node, number));
    return json;
}

/* The block with this hash: its number. False: it is not in the chain. */
static inline bool node_find_block(const struct node *node, const json_t *hash_text, uint64_t *number)
{
    struct hash hash;
    ensure(hash_of_json(hash_text, &hash));
    for (*number = 0; *number <= node->height; ++*number)
        if (hash_equal(&node->blocks[*number].hash, &hash))
            return true;
    return false;
}

static inline json_t *node_get_logs(struct node *node, const json_t *params)
{
    const json_t *filter = json_array_get(params, 0), *hash = json_object_get(filter, "blockHash");
    uint64_t from = 0, to = 0;
    struct address address;
    node->hash_count += hash != NULL;
    if (hash != NULL && node->takes_no_hash)
        return json_pack("{s:i,s:s}", "code", -32602, "message", "invalid filter: blockHash");
    if (hash != NULL && node->hash_error != NULL)
        return json_loads(node->hash_error, 0, NULL);
    if (hash != NULL && !node_find_block(node, hash, &from))
        return json_pack("{s:i,s:s}", "code", -32000, "message", "unknown block");
    if (hash != NULL)
        to = from;
    ensure(hash != NULL || quantity_u64(json_object_get(filter, "fromBlock"), &from));
    const char *to_text = json_string_value(json_object_get(filter, "toBlock"));
    if (hash == NULL && to_text != NULL && strcmp(to_text, "latest") == 0)
        to = node->height;
    else
        ensure(hash != NULL || quantity_u64(json_object_get(filter, "toBlock"), &to));
    ensure(address_of_json(json_object_get(filter, "address"), &address));
    assert_true(address_equal(&address, &node->contract) && from <= to);
    if (node->logs_range_max != 0 && to - from + 1 > node->logs_range_max)
        return json_pack("{s:i,s:s}", "code", -32005, "message", "query returned more than 10000 results");
    json_t *logs = json_array();
    if (node->logs_hidden > 0) {
        node->logs_hidden--;
        return logs;
    }
    /* Newest first: the client is not promised an order. */
    for (uint64_t i = to < node->height ? to : node->height; i + 1 > from; i--) {
        json_array_extend(logs, node->blocks[i].logs);
        if (i == 0)
            break;
    }
    return logs;
}

static inline uint64_t node_account_count(const struct node *node, const struct address *address)
{
    uint64_t count = 0;
    for (size_t i = 0; i < node->pool_count; i++)
        if (node->pool[i].is_mined && address_equal(&node->pool[i].sender, address) &&
            node->pool[i].nonce >= count)
            count = node->pool[i].nonce + 1;
    return count;
}

static inline json_t *node_get_count(struct node *node, const json_t *params)
{
    struct address address;
    ensure(address_of_json(json_array_get(params, 0), &address));
    uint64_t count = node_account_count(node, &address);
    if (strcmp(json_string_value(json_array_get(params, 1)), "pending") == 0)
        for (size_t i = 0; i < node->pool_count; i++)
            if (address_equal(&node->pool[i].sender, &address) && node->pool[i].nonce >= count)
                count = node->pool[i].nonce + 1;
    return quantity_of(count);
}

static inline json_t *node_error(const char *message)
{
    return json_pack("{s:i,s:s}", "code", -32000, "message", message);
}

/* In the words of the node's kind. */
static inline json_t *node_refuse(const struct node *node, const char *geth, const char *nethermind)
{
    return node_error(node->speaks_nethermind ? nethermind : geth);
}

static inline json_t *node_send_raw(struct node *node, const json_t *params)
{
    struct buffer raw = {0};
    struct transaction transaction;
    struct node_transaction entry = {.fails = node->next_fails};
    ensure(bytes_of_json(json_array_get(params, 0), &raw));
    ensure(transaction_decode(raw.data, raw.length, &transaction, &entry.sender, &entry.hash) ==
           TRANSACTION_OK);
    assert_true(transaction.chain_id == node->chain_id);
    entry.nonce = transaction.nonce;
    entry.fee = transaction.max_fee_per_gas;
    entry.tip = transaction.max_priority_fee_per_gas;
    entry.creates = transaction.creates;
    entry.to = transaction.to;
    entry.value = transaction.value;
    entry.data_length = transaction.data_length;
    buffer_free(&raw);
    for (size_t i = 0; i < node->pool_count; i++)
        if (hash_equal(&node->pool[i].hash, &entry.hash))
            return node_refuse(node, node->known_words != NULL ? node->known_words : "already known",
                               "AlreadyKnown");
    if (entry.nonce < node_account_count(node, &entry.sender))
        return node_refuse(node, "nonce too low: next nonce 1, tx nonce 0",
                           "OldNonce, Current nonce: 1, nonce of rejected tx: 0");
    if (entry.fee < node->base_fee)
        return node_refuse(node, "max fee per gas less than block base fee",
                           "FeeTooLow, MaxFeePerGas too low");
    for (size_t i = 0; i < node->pool_count; i++) {
        struct node_transaction *old = &node->pool[i];
        if (old->is_mined || old->nonce != entry.nonce || !address_equal(&old->sender, &entry.sender))
            continue;
        if (entry.fee * 10 < old->fee * 11 || entry.tip * 10 < old->tip * 11)
            return node_refuse(node, "replacement transaction underpriced", "ReplacementNotAllowed");
    }
    node->next_fails = false;
    assert_true(node->pool_count < NODE_POOL_MAX);
    node->pool[node->pool_count++] = entry;
    if (node->mines_at_once)
        node_mine_transaction(node, node->pool_count - 1);
    return hash_json(&entry.hash);
}

static inline json_t *node_get_receipt(struct node *node, const json_t *params)
{
    struct hash hash;
    ensure(hash_of_json(json_array_get(params, 0), &hash));
    for (size_t i = 0; i < node->pool_count && !node->receipts_hidden; i++) {
        struct node_transaction *found = &node->pool[i];
        if (found->is_mined && found->block <= node->height && hash_equal(&found->hash, &hash))
            return json_pack(
                "{s:O?,s:o,s:o,s:o,s:o,s:o,s:O}", "contractAddress", found->creates ? node->created : NULL,
                "transactionHash", hash_json(&hash), "blockNumber", quantity_of(found->block), "status",
                quantity_of(found->fails ? 0 : 1), "gasUsed", quantity_of(21000), "effectiveGasPrice",
                quantity_of(node->base_fee + 1), "logs", node->blocks[found->block].logs);
    }
    return json_null();
}

static inline json_t *node_get_transaction(const struct node *node, const json_t *params)
{
    struct hash hash;
    ensure(hash_of_json(json_array_get(params, 0), &hash));
    for (size_t i = 0; i < node->pool_count; i++)
        if (hash_equal(&node->pool[i].hash, &hash))
            return json_pack("{s:o,s:o}", "hash", hash_json(&hash), "nonce",
                             quantity_of(node->pool[i].nonce));
    return json_null();
}

/* The result, or an error object (which has a "code"). */
static inline json_t *node_execute(struct node *node, const char *method, const json_t *params)
{
    if (strcmp(method, "eth_chainId") == 0)
        return quantity_of(node->chain_id);
    if (strcmp(method, "eth_getBlockByNumber") == 0)
        return node_get_block(node, params);
    if (strcmp(method, "eth_getLogs") == 0)
        return node_get_logs(node, params);
    if (strcmp(method, "eth_getTransactionCount") == 0)
        return node_get_count(node, params);
    if (strcmp(method, "eth_maxPriorityFeePerGas") == 0)
        return quantity_of(node->tip);
    if (strcmp(method, "eth_getTransactionReceipt") == 0)
        return node_get_receipt(node, params);
    if (strcmp(method, "eth_getTransactionByHash") == 0)
        return node_get_transaction(node, params);
    if (strcmp(method, "eth_estimateGas") == 0)
        return node->estimate_error != NULL ? json_loads(node->estimate_error, 0, NULL) : quantity_of(60000);
    if (strcmp(method, "eth_sendRawTransaction") == 0)
        return node->send_error != NULL ? json_loads(node->send_error, 0, NULL) : node_send_raw(node, params);
    if (strcmp(method, "eth_call") == 0 && node->answers_call != NULL)
        return node->answers_call(json_array_get(params, 0));
    if (strcmp(method, "eth_call") == 0)
        return node->call_error != NULL ? json_loads(node->call_error, 0, NULL)
                                        : json_string(node->call_result != NULL ? node->call_result : "0x");
    return json_pack("{s:i,s:s}", "code", -32601, "message", "the method does not exist");
}

/* ---- HTTP ---- */

static inline void node_write(struct bufferevent *connection, const char *status, const char *body,
                              size_t length)
{
    evbuffer_add_printf(bufferevent_get_output(connection),
                        "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        status, length);
    bufferevent_write(connection, body, length);
}

static inline void node_forget(struct node *node, struct bufferevent *connection)
{
    for (size_t i = 0; i < ARRAY_LENGTH(node->connections); i++)
        if (node->connections[i] == connection)
            node->connections[i] = NULL;
    if (node->silent == connection)
        node->silent = NULL;
    bufferevent_free(connection);
}

/* Takes over `result`: a result, or an error object. */
static inline json_t *node_envelope(json_int_t id, json_t *result)
{
    bool is_error = json_object_get(result, "code") != NULL;
    return json_pack("{s:s,s:I,s:o}", "jsonrpc", "2.0", "id", id, is_error ? "error" : "result", result);
}

static inline void node_answer(struct bufferevent *connection, const json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    node_write(connection, "200 OK", text, strlen(text));
    free(text);
}

/* What comes in place of the answer to a request. */
static inline void node_fault(struct node *node, struct bufferevent *connection, enum fault fault)
{
    static char *huge;
    switch (fault) {
    case FAULT_GARBAGE:
        node_write(connection, "200 OK", "<html>it works!</html>", 22);
        break;
    case FAULT_STATUS_500:
        node_write(connection, "500 Internal Server Error", "oops", 4);
        break;
    case FAULT_CLOSE:
        node_forget(node, connection);
        break;
    case FAULT_SILENCE:
        node->silent = connection;
        break;
    case FAULT_HUGE:
        huge = calloc(1, 17 << 20);
        memset(huge, ' ', 17 << 20);
        node_write(connection, "200 OK", huge, 17 << 20);
        free(huge);
        break;
    case FAULT_DEEP:
        huge = calloc(1, 1 << 20);
        memset(huge, '[', 1 << 20);
        node_write(connection, "200 OK", huge, 1 << 20);
        free(huge);
        break;
    case FAULT_NONE:
    case FAULT_WRONG_ID: /* these two are in the answer itself */
    case FAULT_ERROR:
        fail();
    }
}

static inline void node_note(struct node *node, const char *method)
{
    static const char *const names[] = {"eth_chainId",
                                        "eth_getBlockByNumber",
                                        "eth_getLogs",
                                        "eth_estimateGas",
                                        "eth_getTransactionCount",
                                        "eth_maxPriorityFeePerGas",
                                        "eth_call",
                                        "eth_getTransactionReceipt",
                                        "eth_sendRawTransaction",
                                        "eth_getTransactionByHash"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        node->methods[i].name = names[i];
        node->methods[i].count += strcmp(names[i], method) == 0;
    }
}

/* Answers one question; *fault: what happens to it, or to the whole request. */
static inline json_t *node_serve_one(struct node *node, const json_t *question, enum fault *fault)
{
    const char *method = json_string_value(json_object_get(question, "method"));
    json_int_t id = json_integer_value(json_object_get(question, "id"));
    node_note(node, method);
    enum fault own = FAULT_NONE;
    if (node->fault_count > 0 && (node->fault_method == NULL || strcmp(node->fault_method, method) == 0)) {
        node->fault_count--;
        own = node->fault;
    }
    if (own == FAULT_ERROR)
        return node_envelope(id, json_loads(node->error_json, 0, NULL));
    if (own == FAULT_WRONG_ID)
        return node_envelope(id + 1000, json_string("0x7a69"));
    if (own != FAULT_NONE)
        *fault = own;
    bool does_it = own == FAULT_NONE || own == FAULT_CLOSE;
    return node_envelope(id, does_it ? node_execute(node, method, json_object_get(question, "params"))
                                     : json_null());
}

static inline const char *node_method_of(const json_t *question)
{
    return json_string_value(json_object_get(question, "method"));
}

/* The answers to a batch, or what this node gives in place of them. */
static inline json_t *node_serve_batch(struct node *node, const json_t *questions, enum fault *fault)
{
    json_t *answers = json_array();
    node->batch_count++;
    if (node->batches == BATCHES_NOT_UNDERSTOOD)
        *fault = FAULT_GARBAGE;
    if (node->batches == BATCHES_REFUSED) {
        json_decref(answers);
        return json_pack("{s:s,s:n,s:o}", "jsonrpc", "2.0", "id", "error",
                         json_loads(node->batch_error, 0, NULL));
    }
    for (size_t i = 0; node->batches != BATCHES_NOT_UNDERSTOOD && i < json_array_size(questions); i++) {
        const json_t *question = json_array_get(questions, i);
        json_t *answer = node_serve_one(node, question, fault);
        if (node->batches == BATCHES_ONE_ANSWERED) {
            json_decref(answers);
            return answer;
        }
        json_array_insert_new(answers, node->batches == BATCHES_REVERSED ? 0 : i, answer);
        if (node->hook != NULL)
            node->hook(node, node_method_of(question));
    }
    return answers;
}

/* The other node's chain in place of this one's, and back. */
static inline void node_swap_astray(struct node *node)
{
    uint64_t height = node->height;
    node->height = node->astray_height;
    node->astray_height = height;
    uint64_t tip = node->height < height ? node->height : height;
    if (node->astray_tip.logs == NULL)
        return;
    struct node_block block = node->blocks[tip];
    node->blocks[tip] = node->astray_tip;
    node->astray_tip = block;
}

static inline void node_serve(struct node *node, struct bufferevent *connection, const char *body,
                              size_t length)
{
    json_t *request = json_loadb(body, length, 0, NULL);
    ensure(request != NULL);
    bool is_batch = json_is_array(request);
    node->requests++;
    enum fault fault = FAULT_NONE;
    bool is_astray = node->goes_astray != NULL && node->goes_astray(node, request);
    node->astray_count += is_astray;
    if (is_astray)
        node_swap_astray(node);
    json_t *answer =
        is_batch ? node_serve_batch(node, request, &fault) : node_serve_one(node, request, &fault);
    if (is_astray)
        node_swap_astray(node);
    if (fault == FAULT_NONE)
        node_answer(connection, answer);
    else
        node_fault(node, connection, fault);
    json_decref(answer);
    if (node->hook != NULL && !is_batch)
        node->hook(node, node_method_of(request));
    json_decref(request);
}

static inline void node_on_read(struct bufferevent *connection, void *context)
{
    struct node *node = context;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    if (end.pos < 0)
        return;
    size_t head = (size_t)end.pos + 4, total = evbuffer_get_length(input);
    char *text = calloc(1, total + 1);
    evbuffer_copyout(input, text, total);
    const char *length_at = strcasestr(text, "content-length:");
    ensure(length_at != NULL && strncmp(text, "POST / HTTP/1.1", 15) == 0);
    size_t length = (size_t)strtoul(length_at + 15, NULL, 10);
    if (total >= head + length) {
        evbuffer_drain(input, head + length);
        node_serve(node, connection, text + head, length);
    }
    free(text);
}

static inline void node_on_event(struct bufferevent *connection, short what, void *context)
{
    (void)what;
    node_forget(context, connection);
}

static inline void node_on_accept(struct evconnlistener *listener, evutil_socket_t fd,
                                  struct sockaddr *address, int length, void *context)
{
    (void)listener;
    (void)address;
    (void)length;
    struct node *node = context;
    struct bufferevent *connection = bufferevent_socket_new(node->base, fd, BEV_OPT_CLOSE_ON_FREE);
    size_t place = 0;
    while (place < ARRAY_LENGTH(node->connections) && node->connections[place] != NULL)
        place++;
    assert_true(place < ARRAY_LENGTH(node->connections));
    node->connections[place] = connection;
    unsigned open = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(node->connections); i++)
        open += node->connections[i] != NULL;
    node->open_most = open > node->open_most ? open : node->open_most;
    bufferevent_setcb(connection, node_on_read, NULL, node_on_event, node);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

/* ---- life ---- */

/* Listens; on the port it had before, after node_down. */
static inline void node_up(struct node *node)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(node->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    node->listener =
        evconnlistener_new_bind(node->base, node_on_accept, node, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
                                16, (struct sockaddr *)&address, sizeof(address));
    assert_non_null(node->listener);
    socklen_t length = sizeof(address);
    getsockname(evconnlistener_get_fd(node->listener), (struct sockaddr *)&address, &length);
    node->port = ntohs(address.sin_port);
    snprintf(node->url, sizeof(node->url), "http://127.0.0.1:%u", node->port);
}

static inline void node_down(struct node *node)
{
    evconnlistener_free(node->listener);
    node->listener = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(node->connections); i++)
        if (node->connections[i] != NULL)
            node_forget(node, node->connections[i]);
}

static inline void node_on_guard(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
    fail_msg("nothing came of it within %d s", NODE_WAIT_S);
}

static inline struct node *node_new(void)
{
    struct node *node = calloc(1, sizeof(*node));
    node->base = event_base_new();
    node->chain_id = NODE_CHAIN_ID;
    node->base_fee = 1000;
    node->tip = 100;
    node->contract = (struct address){{0xc0, 1}};
    node->blocks[0] = (struct node_block){node_hash(node, 0), NODE_TIME, json_array()};
    node->guard = evtimer_new(node->base, node_on_guard, node);
    node_up(node);
    return node;
}

static inline void node_free(struct node *node)
{
    if (node->listener != NULL)
        node_down(node);
    for (uint64_t i = 0; i <= node->height; i++)
        json_decref(node->blocks[i].logs);
    json_decref(node->astray_tip.logs);
    event_free(node->guard);
    event_base_free(node->base);
    free(node);
}

/* Runs the loop until the condition holds; fails the test after NODE_WAIT_S. */
#define node_run_until(node, condition)                                                                      \
    do {                                                                                                     \
        struct timeval node_wait = {NODE_WAIT_S, 0};                                                         \
        evtimer_add((node)->guard, &node_wait);                                                              \
        while (!(condition))                                                                                 \
            event_base_loop((node)->base, EVLOOP_ONCE);                                                      \
        evtimer_del((node)->guard);                                                                          \
    } while (0)

static inline struct ledger_options node_options(const struct node *node)
{
    return (struct ledger_options){.url = node->url,
                                   .chain_id = NODE_CHAIN_ID,
                                   .contract = node->contract,
                                   .poll_ms = 5,
                                   .timeout_ms = 5000};
}

#endif
