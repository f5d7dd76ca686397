#include "hub/journals.h"

#include <stdio.h>
#include <sys/stat.h>

#include "store/store.h"

void journals_path(const char *data, uint32_t shard, char *out, size_t out_size)
{
    if (shard == 0)
        snprintf(out, out_size, "%s/journal", data);
    else
        snprintf(out, out_size, "%s/journal-%u", data, shard);
}

uint32_t journals_count(const char *data)
{
    char path[4096];
    struct stat status;
    uint32_t count = 0;
    for (; count < SHARDS_MAX; count++) {
        journals_path(data, count, path, sizeof(path));
        if (stat(path, &status) != 0)
            break;
    }
    return count;
}

/* Whatever the operator wants to look up: an id that comes again must be known until expiry + 24 h (section 4). */
static uint32_t archive_days(const struct hub_settings *settings)
{
    uint64_t needed = (settings->engine.terms.max_expiry_s + OUTCOME_KEPT_S) / 86400 + 2;
    return settings->history_days > needed ? settings->history_days : (uint32_t)needed;
}

struct journal *journals_open(const struct hub_settings *settings, uint32_t shard, char *message,
                              size_t message_size)
{
    char path[4096];
    struct journal *journal = NULL;
    journals_path(settings->data, shard, path, sizeof(path));
    const struct store_options options = {
        .path = path,
        .application = "hub",
        .version = HUB_JOURNAL_VERSION,
        .checkpoint_bytes = settings->checkpoint_bytes,
        .archive_days = archive_days(settings),
    };
    return store_open(&options, &journal, message, message_size) == STORE_OK ? journal : NULL;
}
