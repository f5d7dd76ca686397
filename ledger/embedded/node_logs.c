/* eth_getLogs: events by block range, address and topics. */
#include "ledger/embedded/node_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/quantity.h"

#define FILTER_CHOICES_MAX 256 /* addresses, and alternatives of one topic */

/* Any of `count` values; anything at all if count is 0. An address stands left-aligned. */
struct choice {
    struct hash *values;
    size_t count;
};
struct filter {
    struct choice address;
    struct choice topics[4];
    size_t topic_count; /* positions asked about: a log must have as many */
    uint64_t from, to;
};

static void filter_free(struct filter *filter)
{
    free(filter->address.values);
    for (size_t i = 0; i < ARRAY_LENGTH(filter->topics); i++)
        free(filter->topics[i].values);
}

static bool choice_add(struct choice *choice, const json_t *json, bool is_address)
{
    struct hash *value = &choice->values[choice->count++];
    struct address address;
    if (!is_address)
        return hash_of_json(json, value);
    *value = HASH_ZERO;
    if (!address_of_json(json, &address))
        return false;
    memcpy(value->bytes, address.bytes, sizeof(address.bytes));
    return true;
}

/* null or missing: anything; one value; an array: any of them. */
static bool choice_read(const json_t *json, bool is_address, struct choice *out)
{
    size_t count = json_is_array(json) ? json_array_size(json) : 1;
    if (json == NULL || json_is_null(json) || count == 0)
        return true;
    if (count > FILTER_CHOICES_MAX)
        return false;
    out->values = xcalloc(count, sizeof(*out->values));
    for (size_t i = 0; i < count; i++)
        if (!choice_add(out, json_is_array(json) ? json_array_get(json, i) : json, is_address))
            return false;
    return true;
}

static bool choice_has(const struct choice *choice, const void *value, size_t length)
{
    for (size_t i = 0; i < choice->count; i++)
        if (memcmp(choice->values[i].bytes, value, length) == 0)
            return true;
    return choice->count == 0;
}

static bool filter_matches(const struct filter *filter, const struct log_entry *log)
{
    if (log->topic_count < filter->topic_count ||
        !choice_has(&filter->address, &log->address, sizeof(log->address)))
        return false;
    for (size_t i = 0; i < filter->topic_count; i++)
        if (!choice_has(&filter->topics[i], &log->topics[i], sizeof(log->topics[i])))
            return false;
    return true;
}

static bool filter_read_what(const json_t *json, struct filter *filter, struct failure *failure)
{
    const json_t *topics = json_object_get(json, "topics");
    filter->topic_count = json_array_size(topics);
    bool good = choice_read(json_object_get(json, "address"), true, &filter->address);
    if (topics != NULL && !json_is_null(topics) && !json_is_array(topics))
        good = false;
    if (filter->topic_count > ARRAY_LENGTH(filter->topics))
        good = false;
    for (size_t i = 0; good && i < filter->topic_count; i++)
        good = choice_read(json_array_get(topics, i), false, &filter->topics[i]);
    if (!good)
        fail(failure, FAILURE_PARAMS,
             "\"address\" is an address or up to %d of them, \"topics\" up to 4 of: null, a "
             "hash, or up to %d hashes",
             FILTER_CHOICES_MAX, FILTER_CHOICES_MAX);
    return good;
}

static bool filter_read_range(const struct node *node, const json_t *json, struct filter *filter,
                              struct failure *failure)
{
    const struct history *history = chain_history(node->chain);
    const json_t *block_hash = json_object_get(json, "blockHash");
    const json_t *from = json_object_get(json, "fromBlock"), *to = json_object_get(json, "toBlock");
    struct hash hash;
    if (block_hash != NULL && !json_is_null(block_hash)) {
        const struct block *block =
            hash_of_json(block_hash, &hash) ? history_block_by_hash(history, &hash) : NULL;
        if (from != NULL || to != NULL)
            fail(failure, FAILURE_PARAMS, "give either blockHash, or fromBlock and toBlock");
        else if (block == NULL)
            fail(failure, FAILURE_SERVER, "unknown block");
        else
            filter->from = filter->to = block->number;
        return from == NULL && to == NULL && block != NULL;
    }
    if (!block_number_of(node, json_is_null(from) ? NULL : from, &filter->from, failure) ||
        !block_number_of(node, json_is_null(to) ? NULL : to, &filter->to, failure))
        return false;
    uint64_t head = history_head(history)->number;
    if (filter->from > filter->to && from != NULL && to != NULL)
        fail(failure, FAILURE_PARAMS, "invalid block range: fromBlock is after toBlock");
    else if (filter->from < history_oldest(history))
        fail(failure, FAILURE_SERVER, "blocks before %llu are not kept (--history-blocks)",
             (unsigned long long)history_oldest(history));
    else if (filter->to > filter->from && filter->to - filter->from >= NODE_LOGS_RANGE_MAX)
        fail(failure, FAILURE_LIMIT, "block range too large: at most %d blocks in one query",
             NODE_LOGS_RANGE_MAX);
    else {
        filter->to = filter->to < head ? filter->to : head;
        return true;
    }
    return false;
}

/* Appends the block's logs that match. False: too many. */
static bool collect(const struct filter *filter, const struct block *block, json_t *out)
{
    for (size_t t = 0; t < block->count; t++) {
        const struct mined *mined = &block->transactions[t];
        for (size_t i = 0; i < mined->logs.count; i++) {
            if (!filter_matches(filter, &mined->logs.entries[i]))
                continue;
            if (json_array_size(out) == NODE_LOGS_MAX)
                return false;
            json_array_append_new(out, log_json(block, mined, i));
        }
    }
    return true;
}

json_t *eth_get_logs(struct node *node, const json_t *params, struct failure *failure)
{
    const json_t *json = parameter(params, 0);
    struct filter filter = {.from = 0};
    json_t *logs = NULL;
    if (!json_is_object(json))
        return fail(failure, FAILURE_PARAMS, "the first parameter must be a filter object");
    if (filter_read_what(json, &filter, failure) && filter_read_range(node, json, &filter, failure)) {
        logs = json_array();
        for (uint64_t number = filter.from; logs != NULL && number <= filter.to; number++) {
            if (collect(&filter, history_block(chain_history(node->chain), number), logs))
                continue;
            json_decref(logs);
            logs = fail(failure, FAILURE_LIMIT,
                        "query returned more than %d results: ask for a smaller block range", NODE_LOGS_MAX);
        }
    }
    filter_free(&filter);
    return logs;
}
