#include "hub/reshard_exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "hub/journals.h"
#include "hub/reshard.h"

static bool refuse(const struct exchange *exchange, const char *why)
{
    snprintf(exchange->message, exchange->message_size, "%s", why);
    return false;
}

void exchange_path(const char *data, uint32_t shard, const char *ending, char *out, size_t out_size)
{
    char path[4000];
    journals_path(data, shard, path, sizeof(path));
    snprintf(out, out_size, "%s%s", path, ending);
}

static void mark_path(const char *data, char *out, size_t size)
{
    snprintf(out, size, "%s/reshard", data);
}

static bool exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

bool reshard_is_half_done(const char *data)
{
    char path[4096];
    mark_path(data, path, sizeof(path));
    return exists(path);
}

static bool sync_folder(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    bool synced = fsync(descriptor) == 0;
    close(descriptor);
    return synced;
}

static bool write_mark(const struct exchange *exchange)
{
    char path[4096];
    mark_path(exchange->data, path, sizeof(path));
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    bool written = fprintf(file, "%u %u\n", exchange->old_count, exchange->new_count) > 0 &&
                   fflush(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && written && sync_folder(exchange->data);
}

bool exchange_mark(const struct exchange *exchange)
{
    return write_mark(exchange) ||
           refuse(exchange,
                  "the folder cannot be written: mend the disk, remove the *.new journals, call again");
}

static bool move(const struct exchange *exchange, uint32_t shard, const char *from_ending,
                 const char *to_ending)
{
    char from[4096], to[4096];
    exchange_path(exchange->data, shard, from_ending, from, sizeof(from));
    exchange_path(exchange->data, shard, to_ending, to, sizeof(to));
    if (exists(to) || !exists(from) || rename(from, to) == 0)
        return true;
    snprintf(exchange->message, exchange->message_size,
             "%s cannot be renamed to %s: %s; mend it, then call again", from, to, strerror(errno));
    return false;
}

bool exchange_run(const struct exchange *exchange)
{
    char mark[4096];
    mark_path(exchange->data, mark, sizeof(mark));
    for (uint32_t i = 0; i < exchange->old_count; i++)
        if (!move(exchange, i, "", ".old"))
            return false;
    for (uint32_t i = 0; i < exchange->new_count; i++)
        if (!move(exchange, i, ".new", ""))
            return false;
    if (!sync_folder(exchange->data) || unlink(mark) != 0 || !sync_folder(exchange->data))
        return refuse(exchange, "the folder cannot be written: mend the disk, then call again");
    log_info("now %u shards instead of %u. The old journals are kept as *.old: remove them once the new hub "
             "runs, and "
             "never start from them again",
             exchange->new_count, exchange->old_count);
    return true;
}

bool exchange_finish(struct exchange *exchange)
{
    char path[4096];
    mark_path(exchange->data, path, sizeof(path));
    FILE *file = fopen(path, "r");
    /* NOLINTNEXTLINE(cert-err34-c): more than SHARDS_MAX is refused below, and five digits cannot overflow */
    bool read = file != NULL && fscanf(file, "%5u %5u", &exchange->old_count, &exchange->new_count) == 2;
    if (file != NULL)
        fclose(file);
    if (!read || exchange->old_count > SHARDS_MAX || exchange->new_count > SHARDS_MAX)
        return refuse(exchange, "DATA/reshard cannot be read: restore the folder from a backup");
    log_info("finishing the change from %u to %u shards that was cut short", exchange->old_count,
             exchange->new_count);
    return exchange_run(exchange);
}

bool exchange_is_clear(const struct exchange *exchange)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        for (int old = 0; old < 2; old++) {
            char path[4096];
            exchange_path(exchange->data, i, old ? ".old" : ".new", path, sizeof(path));
            if (!exists(path))
                continue;
            snprintf(exchange->message, exchange->message_size, "%s is in the way: %s, then call again", path,
                     old ? "it is the journal from before an earlier change; remove it"
                         : "an earlier call was cut short; remove it");
            return false;
        }
    return true;
}
