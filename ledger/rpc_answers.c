#include "ledger/rpc_answers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* JSON takes a multiple of its text's size in memory, the more the smaller its values are: up to 200 bytes for "{},".
 * What nodes send has a value in 30 bytes and more. So much denser text is not parsed at all. */
#define DENSE_FREE_VALUES 65536
#define DENSE_VALUE_BYTES 16

/* JSON-RPC's codes for a request that is not understood. */
#define CODE_PARSE   (-32700)
#define CODE_REQUEST (-32600)

struct rpc_part rpc_part_of(const char *method, const json_t *params)
{
    const json_t *last_param = json_array_get(params, json_array_size(params) - 1);
    const char *last = json_string_value(last_param);
    struct rpc_part part = {.of_logs = strcmp(method, "eth_getLogs") == 0};
    part.of_newest = strcmp(method, "eth_estimateGas") == 0 ||
                     (last != NULL && (strcmp(last, "latest") == 0 || strcmp(last, "pending") == 0));
    /* A block with its transactions, a receipt of a batch with its logs. */
    part.has_lists = part.of_logs || strcmp(method, "eth_getTransactionReceipt") == 0 ||
                     (strcmp(method, "eth_getBlockByNumber") == 0 && json_is_true(last_param));
    return part;
}

static bool is_dense(const uint8_t *data, size_t length)
{
    size_t values = 0;
    for (size_t i = 0; i < length; i++)
        values += data[i] == ',' || data[i] == '[' || data[i] == '{';
    return values > DENSE_FREE_VALUES + length / DENSE_VALUE_BYTES;
}

static bool has_answer(const json_t *answer)
{
    return json_object_get(answer, "result") != NULL || json_is_object(json_object_get(answer, "error"));
}

/* The place of an answer's id among `count` from `id` on. */
static bool place_of(const json_t *answer, uint64_t id, size_t count, size_t *place)
{
    const json_t *got = json_object_get(answer, "id");
    if (!json_is_integer(got) || (uint64_t)json_integer_value(got) - id >= count)
        return false;
    *place = (size_t)((uint64_t)json_integer_value(got) - id);
    return true;
}

static bool single_is_ours(const json_t *answer, uint64_t id)
{
    size_t place;
    /* What stands in front of a node refuses without having read the id. */
    return place_of(answer, id, 1, &place) ? has_answer(answer)
                                           : json_is_null(json_object_get(answer, "id")) &&
                                                 json_is_object(json_object_get(answer, "error"));
}

static bool batch_is_ours(const json_t *list, uint64_t id, struct rpc_part *parts, size_t count)
{
    size_t place;
    if (json_is_object(list))
        return has_answer(list); /* whatever its id */
    for (size_t i = 0; i < count; i++)
        parts[i].answer = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *answer = json_array_get(list, i);
        if (!place_of(answer, id, count, &place) || parts[place].answer != NULL || !has_answer(answer))
            return false;
        parts[place].answer = answer;
    }
    return json_array_size(list) == count;
}

json_t *rpc_answers_read(const uint8_t *data, size_t length, uint64_t id, bool is_batch,
                         struct rpc_part *parts, size_t count)
{
    if (is_dense(data, length))
        return NULL;
    /* Messages of some nodes hold the bytes of a revert, zeros among them. */
    json_t *answer = json_loadb((const char *)data, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (is_batch ? batch_is_ours(answer, id, parts, count) : single_is_ours(answer, id)) {
        if (!is_batch && parts != NULL)
            parts[0].answer = answer;
        return answer;
    }
    json_decref(answer);
    return NULL;
}

const json_t *rpc_answer_error(const json_t *answer, const struct rpc_part *part)
{
    const json_t *error = json_object_get(json_is_array(answer) ? part->answer : answer, "error");
    return json_is_object(error) ? error : NULL;
}

const char *rpc_error_message(const json_t *error_object)
{
    const char *message = json_string_value(json_object_get(error_object, "message"));
    return message != NULL ? message : "refused without a message";
}

static bool error_asks_patience(const json_t *error_object, struct rpc_part *part, char *text,
                                size_t text_size)
{
    const char *message = rpc_error_message(error_object);
    if (rpc_is_rate_limit(error_object, part->of_logs)) {
        snprintf(text, text_size, "limits the rate of requests, so they are fewer now (%s)", message);
        return true;
    }
    if (part->of_newest && rpc_is_missing_block(error_object) && !rpc_is_revert(error_object) &&
        ++part->absences <= RPC_ABSENCES_MAX) {
        snprintf(text, text_size, "does not have the newest block at hand, asking again (%s)", message);
        return true;
    }
    return false;
}

/* One error object in place of a batch's list may be about its logs. */
static struct rpc_part *part_meant(struct rpc_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (parts[i].of_logs)
            return &parts[i];
    return parts;
}

bool rpc_asks_patience(const json_t *answer, struct rpc_part *parts, size_t count, char *text,
                       size_t text_size, uint32_t *asked_s)
{
    if (!json_is_array(answer)) {
        parts = part_meant(parts, count);
        count = 1;
    }
    bool is_asked = false;
    *asked_s = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *error = rpc_answer_error(answer, &parts[i]);
        uint32_t wait_s = rpc_wait_asked_s(error);
        *asked_s = wait_s > *asked_s ? wait_s : *asked_s;
        if (error != NULL && !is_asked)
            is_asked = error_asks_patience(error, &parts[i], text, text_size);
    }
    return is_asked;
}

/* True if what came in place of a list says that the request is none that the node can read. */
static bool is_refusal(const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    json_int_t code = json_integer_value(json_object_get(error, "code"));
    return !json_is_object(error) || code == CODE_PARSE || code == CODE_REQUEST ||
           rpc_is_unknown_way(error) || strcasestr(rpc_error_message(error), "batch") != NULL;
}

void rpc_batches_note(struct rpc_batches *batches, const json_t *answer)
{
    if (json_is_array(answer))
        batches->failures = 0;
    else if (answer != NULL && is_refusal(answer))
        batches->failures = RPC_BATCH_FAILURES_MAX;
    else if (batches->failures < RPC_BATCH_FAILURES_MAX)
        batches->failures++;
}

bool rpc_batches_are_over(const struct rpc_batches *batches)
{
    return batches->failures >= RPC_BATCH_FAILURES_MAX;
}
