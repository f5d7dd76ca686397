/* The header: whose journal this is, in which format, at which epoch, and how far the checkpoint goes.
 *
 *     "header"      magic 8 | format u16 | application version u32 | epoch u64 | application name
 *     "checkpoint"  sequence u64 | target u64 | burden u64, u64
 *                   target > sequence: a folding up to target is under way
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/local.h"

static const char magic[8] = {'R', 'I', 'L', 'L', 'J', 'R', 'N', 'L'};

#define HEADER_KEY     "header"
#define CHECKPOINT_KEY "checkpoint"
#define NAME_BYTES_MAX 32

struct header {
    uint16_t format;
    uint32_t version;
    uint64_t epoch;
    char application[NAME_BYTES_MAX + 1];
};

/* A value of the header into out (freed by the caller; NULL if there is none). */
static enum store_error value_read(struct local_journal *store, const char *key, char **out, size_t *length,
                                   const struct refusal *refusal)
{
    char *error = NULL;
    *out = rocksdb_get_cf(store->database, store->scan, store->families[FAMILY_HEADER], key, strlen(key),
                          length, &error);
    return error == NULL ? STORE_OK : store_database_refuse(store, error, refusal);
}

static enum store_error header_parse(const struct local_journal *store, const char *value, size_t length,
                                     struct header *out, const struct refusal *refusal)
{
    struct reader reader = reader_of(value, length);
    const uint8_t *seen = reader_take(&reader, sizeof magic);
    if (seen == NULL || memcmp(seen, magic, sizeof magic) != 0)
        return store_refuse(refusal, STORE_FOREIGN,
                            "%s: a RocksDB database of another program; name another folder", store->path);
    out->format = reader_u16(&reader);
    if (reader.ok && out->format != STORE_FORMAT)
        return store_refuse(
            refusal, STORE_VERSION,
            "%s: the journal has format %u, this program knows format %u; use the program that wrote it, or "
            "name an empty folder",
            store->path, (unsigned)out->format, (unsigned)STORE_FORMAT);
    out->version = reader_u32(&reader);
    out->epoch = reader_u64(&reader);
    size_t name_length = reader.left;
    if (!reader.ok || name_length == 0 || name_length > NAME_BYTES_MAX)
        return store_refuse(
            refusal, STORE_CORRUPT,
            "%s: damaged: the header is malformed; keep a copy and restore the folder from a backup",
            store->path);
    reader_copy(&reader, out->application, name_length);
    out->application[name_length] = '\0';
    return STORE_OK;
}

static enum store_error header_compare(const struct local_journal *store, const struct header *header,
                                       const struct store_options *options, const struct refusal *refusal)
{
    if (strcmp(header->application, options->application) != 0)
        return store_refuse(refusal, STORE_FOREIGN,
                            "%s: the journal of a \"%s\", not of a \"%s\"; name another folder", store->path,
                            header->application, options->application);
    if (header->version != options->version)
        return store_refuse(
            refusal, STORE_VERSION,
            "%s: the %s's records have version %u, this program knows version %u; use the program that "
            "wrote them, or name an empty folder",
            store->path, header->application, (unsigned)header->version, (unsigned)options->version);
    return STORE_OK;
}

/* Without a header the folder is new, or its first opening was cut short: then nothing else is in it either.
 */
static enum store_error check_new(struct local_journal *store, const struct refusal *refusal)
{
    for (enum family family = 0; family < FAMILY_COUNT; family++) {
        rocksdb_iterator_t *iterator = store_database_iterate(store, family);
        bool empty = !rocksdb_iter_valid(iterator);
        char *error = NULL;
        rocksdb_iter_get_error(iterator, &error);
        rocksdb_iter_destroy(iterator);
        if (error != NULL)
            return store_database_refuse(store, error, refusal);
        if (!empty)
            return store_refuse(refusal, STORE_FOREIGN,
                                "%s: a RocksDB database of another program; name another folder",
                                store->path);
    }
    return STORE_OK;
}

static enum store_error checkpoint_parse(struct local_journal *store, const struct refusal *refusal)
{
    char *value;
    size_t length = 0;
    enum store_error result = value_read(store, CHECKPOINT_KEY, &value, &length, refusal);
    if (result != STORE_OK)
        return result;
    struct reader reader = reader_of(value, length);
    store->checkpoint = reader_u64(&reader);
    store->checkpoint_target = reader_u64(&reader);
    store->burden.whole = reader_u64(&reader);
    store->burden.since = reader_u64(&reader);
    bool good = value != NULL && reader_done(&reader) && store->checkpoint_target >= store->checkpoint;
    rocksdb_free(value);
    if (!good)
        return store_refuse(
            refusal, STORE_CORRUPT,
            "%s: damaged: the checkpoint's mark is missing or malformed; keep a copy and restore the folder "
            "from a backup",
            store->path);
    return STORE_OK;
}

void store_header_mark_checkpoint(struct local_journal *store, rocksdb_writebatch_t *batch,
                                  uint64_t checkpoint, uint64_t target)
{
    uint8_t value[CHECKPOINT_MARK_BYTES];
    store_be64(value, checkpoint);
    store_be64(value + 8, target);
    store_be64(value + 16, store->burden.whole);
    store_be64(value + 24, store->burden.since);
    rocksdb_writebatch_put_cf(batch, store->families[FAMILY_HEADER], CHECKPOINT_KEY, strlen(CHECKPOINT_KEY),
                              (const char *)value, sizeof value);
}

static enum store_error header_write(struct local_journal *store, const struct store_options *options,
                                     bool is_new, const struct refusal *refusal)
{
    struct buffer value = {0};
    buffer_append(&value, magic, sizeof magic);
    buffer_u16(&value, STORE_FORMAT);
    buffer_u32(&value, options->version);
    buffer_u64(&value, store->epoch);
    buffer_append(&value, options->application, strlen(options->application));
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_put_cf(batch, store->families[FAMILY_HEADER], HEADER_KEY, strlen(HEADER_KEY),
                              (const char *)value.data, value.length);
    if (is_new)
        store_header_mark_checkpoint(store, batch, 0, 0);
    char *error = NULL;
    rocksdb_write(store->database, store->synced, batch, &error);
    rocksdb_writebatch_destroy(batch);
    buffer_free(&value);
    return error == NULL ? STORE_OK : store_database_refuse(store, error, refusal);
}

enum store_error store_header_open(struct local_journal *store, const struct store_options *options,
                                   const struct refusal *refusal)
{
    size_t name_length = strlen(options->application);
    ensure(name_length > 0 && name_length <= NAME_BYTES_MAX);
    char *value;
    size_t length = 0;
    enum store_error result = value_read(store, HEADER_KEY, &value, &length, refusal);
    if (result != STORE_OK)
        return result;
    bool is_new = value == NULL;
    if (is_new) {
        result = check_new(store, refusal);
    } else {
        struct header header = {0};
        result = header_parse(store, value, length, &header, refusal);
        rocksdb_free(value);
        if (result == STORE_OK)
            result = header_compare(store, &header, options, refusal);
        if (result == STORE_OK)
            result = checkpoint_parse(store, refusal);
        if (result == STORE_OK)
            store->epoch = header.epoch;
    }
    if (result != STORE_OK)
        return result;
    store->epoch++;
    return header_write(store, options, is_new, refusal);
}
