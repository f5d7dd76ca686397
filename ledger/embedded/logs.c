#include "ledger/embedded/logs.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

void logs_free(struct logs *logs)
{
    free(logs->entries);
    buffer_free(&logs->data);
    *logs = (struct logs){0};
}

void logs_truncate(struct logs *logs, size_t count)
{
    ensure(count <= logs->count);
    if (count < logs->count)
        logs->data.length = logs->entries[count].data_at;
    logs->count = count;
}

static struct log_entry *logs_extend(struct logs *logs, const struct address *emitter)
{
    if (logs->count == logs->capacity) {
        logs->capacity = logs->capacity == 0 ? 4 : 2 * logs->capacity;
        logs->entries = xrealloc(logs->entries, logs->capacity * sizeof(*logs->entries));
    }
    struct log_entry *entry = &logs->entries[logs->count++];
    *entry = (struct log_entry){.address = *emitter, .data_at = (uint32_t)logs->data.length};
    return entry;
}

void logs_add(struct logs *logs, const struct address *emitter, const struct hash *topics, size_t topic_count,
              const uint8_t *data, size_t data_length)
{
    ensure(topic_count <= 4);
    struct log_entry *entry = logs_extend(logs, emitter);
    memcpy(entry->topics, topics, topic_count * sizeof(*topics));
    entry->topic_count = (uint8_t)topic_count;
    entry->data_length = (uint32_t)data_length;
    buffer_append(&logs->data, data, data_length);
}

void logs_add_contract(struct logs *logs, const struct address *emitter, const struct contract_event *event)
{
    struct log_entry *entry = logs_extend(logs, emitter);
    size_t topic_count;
    contract_encode_event(event, entry->topics, &topic_count, &logs->data);
    entry->topic_count = (uint8_t)topic_count;
    entry->data_length = (uint32_t)(logs->data.length - entry->data_at);
}

void logs_add_token(struct logs *logs, const struct address *token, const struct erc20_event *event)
{
    struct log_entry *entry = logs_extend(logs, token);
    size_t topic_count;
    erc20_encode_event(event, entry->topics, &topic_count, &logs->data);
    entry->topic_count = (uint8_t)topic_count;
    entry->data_length = (uint32_t)(logs->data.length - entry->data_at);
}

struct contract_log logs_at(const struct logs *logs, size_t index)
{
    ensure(index < logs->count);
    const struct log_entry *entry = &logs->entries[index];
    struct contract_log log = {.address = entry->address, .topic_count = entry->topic_count};
    memcpy(log.topics, entry->topics, sizeof(log.topics));
    log.data = logs->data.data == NULL ? NULL : logs->data.data + entry->data_at;
    log.data_length = entry->data_length;
    return log;
}
