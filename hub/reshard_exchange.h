/* The last step of a change of shards: new journals take the old ones' places, whole or not at all. See reshard.h. */
#ifndef RILL_HUB_RESHARD_EXCHANGE_H
#define RILL_HUB_RESHARD_EXCHANGE_H

#include "base/bytes.h"

struct exchange {
    const char *data;
    uint32_t old_count, new_count;
    char *message; /* one line, when a function here returns false */
    size_t message_size;
};

/* The folder of a shard's journal with an ending: "", ".new", ".old". */
void exchange_path(const char *data, uint32_t shard, const char *ending, char *out, size_t out_size);
/* No journal of an earlier change is in the way. */
bool exchange_is_clear(const struct exchange *exchange) MUST_USE;
/* All new journals are whole: from here on the exchange is finished by whoever comes next. */
bool exchange_mark(const struct exchange *exchange) MUST_USE;
/* Behind the mark; again and again until it is whole. */
bool exchange_run(const struct exchange *exchange) MUST_USE;
/* One that was cut short: its counts are read from the mark. */
bool exchange_finish(struct exchange *exchange) MUST_USE;

#endif
