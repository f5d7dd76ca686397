/* What eth_getLogs answered, as events in order; and which young events were given already. */
#ifndef RILL_LEDGER_FOLLOW_LOGS_H
#define RILL_LEDGER_FOLLOW_LOGS_H

#include <jansson.h>

#include "ledger/contract.h"

/* Zero-initialised is empty. block_time is 0 where the node did not say. */
struct event_list {
    struct contract_event *events;
    size_t count, room;
    bool has_last; /* a log of any kind lies in the range's last block */
};

/* Reads the logs of `contract` in blocks from..to, sorted by block and place. Logs that are no events of the
 * interface are left out. Returns NULL, or what is wrong with the answer (*out is then empty). */
const char *event_list_read(const json_t *logs, const struct address *contract, uint64_t from, uint64_t to,
                            struct event_list *out);
void event_list_free(struct event_list *list);
/* One log object's place and content. log->data points into `data`. */
bool contract_log_of_json(const json_t *json, struct contract_log *log, struct buffer *data) MUST_USE;

/* Young events given before: by block hash and place in the block. Bounded: when full, all are forgotten, and
 * may be given again. */
#define SEEN_MAX 65536
struct seen_set {
    struct seen *map;
};
/* True if the event is new to the set. */
bool seen_add(struct seen_set *set, const struct contract_event *event);
/* A young event of blocks from..to that the list does not have: its block's number and hash. Returns false if
 * all are there. */
bool seen_missing(struct seen_set *set, const struct event_list *list, uint64_t from, uint64_t to,
                  uint64_t *block, struct hash *block_hash) MUST_USE;
/* Forgets events of a block that is no longer in the chain. */
void seen_orphan(struct seen_set *set, const struct hash *block_hash);
/* Forgets events of blocks up to this one. */
void seen_forget(struct seen_set *set, uint64_t block);
void seen_free(struct seen_set *set);

#endif
