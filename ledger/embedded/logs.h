/* The logs that an execution leaves, in order. */
#ifndef RILL_LEDGER_EMBEDDED_LOGS_H
#define RILL_LEDGER_EMBEDDED_LOGS_H

#include "ledger/contract.h"
#include "ledger/erc20.h"

/* Zero-initialised is empty. Data lies in one buffer; an entry says where. */
struct log_entry {
    struct address address;
    struct hash topics[4];
    uint8_t topic_count;
    uint32_t data_at, data_length;
};
struct logs {
    struct log_entry *entries;
    size_t count, capacity;
    struct buffer data;
};

void logs_free(struct logs *logs);
/* Drops all after the first `count`: what a revert does. */
void logs_truncate(struct logs *logs, size_t count);
void logs_add_contract(struct logs *logs, const struct address *emitter, const struct contract_event *event);
void logs_add_token(struct logs *logs, const struct address *token, const struct erc20_event *event);
/* An event in topics and data already. */
void logs_add(struct logs *logs, const struct address *emitter, const struct hash *topics, size_t topic_count,
              const uint8_t *data, size_t data_length);
/* Points into logs; valid until they change. */
struct contract_log logs_at(const struct logs *logs, size_t index);

#endif
