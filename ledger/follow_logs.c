#include "ledger/follow_logs.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/quantity.h"

bool contract_log_of_json(const json_t *json, struct contract_log *log, struct buffer *data)
{
    const json_t *topics = json_object_get(json, "topics");
    if (!address_of_json(json_object_get(json, "address"), &log->address) || !json_is_array(topics) ||
        json_array_size(topics) > ARRAY_LENGTH(log->topics))
        return false;
    log->topic_count = json_array_size(topics);
    for (size_t i = 0; i < log->topic_count; i++)
        if (!hash_of_json(json_array_get(topics, i), &log->topics[i]))
            return false;
    buffer_clear(data);
    if (!bytes_of_json(json_object_get(json, "data"), data))
        return false;
    log->data = data->data;
    log->data_length = data->length;
    return true;
}

/* Where the log stands. */
static bool place_read(const json_t *json, struct contract_event *event)
{
    uint64_t index;
    if (!quantity_u64(json_object_get(json, "blockNumber"), &event->block) ||
        !hash_of_json(json_object_get(json, "blockHash"), &event->block_hash) ||
        !hash_of_json(json_object_get(json, "transactionHash"), &event->transaction) ||
        !quantity_u64(json_object_get(json, "logIndex"), &index) || index > UINT32_MAX)
        return false;
    event->log_index = (uint32_t)index;
    if (!quantity_u64(json_object_get(json, "blockTimestamp"), &event->block_time))
        event->block_time = 0;
    return true;
}

static int place_compare(const void *left, const void *right)
{
    const struct contract_event *a = left, *b = right;
    if (a->block != b->block)
        return a->block < b->block ? -1 : 1;
    return (a->log_index > b->log_index) - (a->log_index < b->log_index);
}

/* One place holds one log, and one block has one hash. */
static bool places_are_possible(const struct event_list *list)
{
    for (size_t i = 1; i < list->count; i++) {
        const struct contract_event *before = &list->events[i - 1], *event = &list->events[i];
        if (before->block != event->block)
            continue;
        if (before->log_index == event->log_index || !hash_equal(&before->block_hash, &event->block_hash))
            return false;
    }
    return true;
}

/* The place behind the last event, zeroed. Of an answer no more is set aside than has been read of it. */
static struct contract_event *place_for_one(struct event_list *list)
{
    if (list->count == list->room) {
        list->room = list->room > 0 ? 2 * list->room : 8;
        list->events = xrealloc(list->events, list->room * sizeof(*list->events));
    }
    struct contract_event *event = &list->events[list->count];
    memset(event, 0, sizeof(*event));
    return event;
}

static const char *log_read(const json_t *json, const struct address *contract, uint64_t from, uint64_t to,
                            struct event_list *out, struct buffer *data)
{
    struct contract_log log;
    struct contract_event *event = place_for_one(out);
    if (json_is_true(json_object_get(json, "removed")))
        return NULL;
    if (!contract_log_of_json(json, &log, data) || !place_read(json, event))
        return "a log is malformed";
    if (!address_equal(&log.address, contract))
        return "a log is of another contract than asked for";
    if (event->block < from || event->block > to)
        return "a log is of a block outside the range asked for";
    out->has_last = out->has_last || event->block == to;
    if (contract_decode_event(&log, event))
        out->count++;
    else
        log_debug("ledger: block %llu, log %u is no event of the interface; left out",
                  (unsigned long long)event->block, event->log_index);
    return NULL;
}

const char *event_list_read(const json_t *logs, const struct address *contract, uint64_t from, uint64_t to,
                            struct event_list *out)
{
    *out = (struct event_list){0};
    if (!json_is_array(logs))
        return "its answer to eth_getLogs is not a list";
    struct buffer data = {0};
    const char *problem = NULL;
    for (size_t i = 0; i < json_array_size(logs) && problem == NULL; i++)
        problem = log_read(json_array_get(logs, i), contract, from, to, out, &data);
    buffer_free(&data);
    if (out->count > 1)
        qsort(out->events, out->count, sizeof(*out->events), place_compare);
    if (problem == NULL && !places_are_possible(out))
        problem = "two logs claim one place";
    if (problem != NULL)
        event_list_free(out);
    return problem;
}

void event_list_free(struct event_list *list)
{
    free(list->events);
    *list = (struct event_list){0};
}

struct seen_place {
    struct hash block_hash;
    uint32_t log_index;
};

struct seen {
    struct seen_place place;
    uint64_t block;
    bool is_listed;
    UT_hash_handle hh;
};

static void seen_drop(struct seen_set *set, struct seen *seen)
{
    HASH_DEL(set->map, seen);
    free(seen);
}

void seen_free(struct seen_set *set)
{
    struct seen *seen, *next;
    HASH_ITER(hh, set->map, seen, next)
    seen_drop(set, seen);
}

static struct seen_place place_of(const struct contract_event *event)
{
    struct seen_place place;
    memset(&place, 0, sizeof(place)); /* a key: padding counts */
    place.block_hash = event->block_hash;
    place.log_index = event->log_index;
    return place;
}

static struct seen *seen_find(const struct seen_set *set, const struct contract_event *event)
{
    struct seen_place place = place_of(event);
    struct seen *found;
    HASH_FIND(hh, set->map, &place, sizeof(place), found);
    return found;
}

bool seen_add(struct seen_set *set, const struct contract_event *event)
{
    if (seen_find(set, event) != NULL)
        return false;
    if (HASH_COUNT(set->map) >= SEEN_MAX)
        seen_free(set);
    struct seen *seen = xcalloc(1, sizeof(*seen));
    seen->place = place_of(event);
    seen->block = event->block;
    HASH_ADD(hh, set->map, place, sizeof(seen->place), seen);
    return true;
}

bool seen_missing(struct seen_set *set, const struct event_list *list, uint64_t from, uint64_t to,
                  uint64_t *block, struct hash *block_hash)
{
    struct seen *seen, *next;
    HASH_ITER(hh, set->map, seen, next)
    seen->is_listed = false;
    for (size_t i = 0; i < list->count; i++) {
        struct seen *found = seen_find(set, &list->events[i]);
        if (found != NULL)
            found->is_listed = true;
    }
    HASH_ITER(hh, set->map, seen, next)
    {
        if (seen->is_listed || seen->block < from || seen->block > to)
            continue;
        *block = seen->block;
        *block_hash = seen->place.block_hash;
        return true;
    }
    return false;
}

void seen_orphan(struct seen_set *set, const struct hash *block_hash)
{
    struct seen *seen, *next;
    HASH_ITER(hh, set->map, seen, next)
    if (hash_equal(&seen->place.block_hash, block_hash))
        seen_drop(set, seen);
}

void seen_forget(struct seen_set *set, uint64_t block)
{
    struct seen *seen, *next;
    HASH_ITER(hh, set->map, seen, next)
    if (seen->block <= block)
        seen_drop(set, seen);
}
