/* A hub's journals: one folder a shard, DATA/journal, DATA/journal-1, … */
#ifndef RILL_HUB_JOURNALS_H
#define RILL_HUB_JOURNALS_H

#include "hub/hub.h"
#include "store/journal.h"

#define HUB_JOURNAL_VERSION 7

/* How many shards the folder holds; 0: it holds no journal yet. */
uint32_t journals_count(const char *data);
/* "DATA/journal-N". */
void journals_path(const char *data, uint32_t shard, char *out, size_t out_size);
/* NULL, and one line in message. */
struct journal *journals_open(const struct hub_settings *settings, uint32_t shard, char *message,
                              size_t message_size);

#endif
