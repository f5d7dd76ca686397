/* What the archive's index may have, in memory: most looks into it are for what is not there (is this id new?), and each
 * of RocksDB's tables would have to be asked.
 *
 *     open ──▶ building ──the file of the last close, else all rows of the index──▶ current
 *
 * Until there is a current filter RocksDB is asked. A folding adds its rows to the current one and to the one that is being
 * built once RocksDB has them, and before the batches are let go in which they could be found until then
 * (store_recent_folded). So whoever looks into these batches first, and then here, misses none; and a walk over the
 * index that begins after `building` is there misses none that is not added.
 *
 * The file is worth something once, to the next opening, if that is the one after its own and the checkpoint is where
 * it was: it is taken away when it has been read. Everything in it can be had from the index.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/log.h"
#include "store/local.h"

#define CHUNK      1024 /* hashes that are added together */
#define NEW_SUFFIX ".new"
#define MAGIC      0x31544c464c4c4952u /* "RILLFLT1" where the low byte comes first: others cannot read it */
/* Hashes that may be in no row any more, besides half of all. */
#define PRUNED_ROOM ((uint64_t)1 << 20)

struct file_head {
    uint64_t magic, epoch, checkpoint, seed;
};

static char *path_of(const struct local_journal *store, const char *suffix)
{
    size_t size = strlen(store->path) + sizeof "/" FILTER_FILE + strlen(suffix);
    char *path = xmalloc(size);
    snprintf(path, size, "%s/" FILTER_FILE "%s", store->path, suffix);
    return path;
}

static uint64_t hash_head(const struct file_head *head)
{
    return index_hash(0, head, sizeof *head);
}

/* ---- at open: the file's head, for the seed ---- */

static FILE *file_of_last_close(const struct local_journal *store, struct file_head *head)
{
    char *path = path_of(store, "");
    FILE *file = fopen(path, "rbe");
    free(path);
    if (file == NULL)
        return NULL;
    if (fread(head, sizeof *head, 1, file) == 1 && head->magic == MAGIC && head->epoch + 1 == store->epoch &&
        head->checkpoint == store->checkpoint && store->checkpoint == store->checkpoint_target)
        return file;
    fclose(file);
    return NULL;
}

void store_known_open(struct local_journal *store)
{
    struct known *known = &store->known;
    struct file_head head;
    known->file = file_of_last_close(store, &head);
    if (known->file != NULL) {
        store->seed = head.seed; /* before anything was hashed with another one */
        known->file_sum = hash_head(&head);
    }
    known->building = xcalloc(1, sizeof *known->building);
}

/* ---- adding ---- */

static void add(struct local_journal *store, struct filter *filter, const uint64_t *hashes, size_t count)
{
    while (filter != NULL && count > 0) {
        if (filter_room(filter) == 0) {
            struct filter_layer *layer = filter_layer_make(filter, 0);
            pthread_mutex_lock(&store->recent_mutex); /* whoever looks */
            filter_layer_add(filter, layer);
            pthread_mutex_unlock(&store->recent_mutex);
        }
        uint64_t room = filter_room(filter);
        size_t taken = count < room ? count : (size_t)room;
        for (size_t i = 0; i < taken; i++)
            filter_add(filter, hashes[i]);
        hashes += taken;
        count -= taken;
    }
}

void store_known_add(struct local_journal *store, const uint64_t *hashes, size_t count)
{
    struct known *known = &store->known;
    pthread_mutex_lock(&known->mutex);
    add(store, known->current, hashes, count);
    add(store, known->building, hashes, count);
    pthread_mutex_unlock(&known->mutex);
}

/* ---- building ---- */

/* What the index has, as RocksDB estimates. */
static uint64_t rows(const struct local_journal *store)
{
    uint64_t rows = 0;
    (void)rocksdb_property_int_cf(store->database, store->families[FAMILY_INDEX], "rocksdb.estimate-num-keys",
                                  &rows);
    return rows;
}

/* Most of it is pruned by now: it would only grow from start to start. */
static bool is_stale(const struct local_journal *store, const struct filter *filter)
{
    return filter->count / 2 > rows(store) + PRUNED_ROOM / 2;
}

static bool build_from_file(struct local_journal *store)
{
    struct known *known = &store->known;
    struct filter read = {0};
    struct stat status;
    if (known->file == NULL)
        return false;
    bool good = fstat(fileno(known->file), &status) == 0 &&
                filter_read(&read, known->file, known->file_sum, (uint64_t)status.st_size) &&
                !is_stale(store, &read);
    fclose(known->file);
    known->file = NULL;
    if (good) {
        pthread_mutex_lock(&known->mutex);
        filter_take(known->building, &read); /* nobody looks into it yet */
        pthread_mutex_unlock(&known->mutex);
    }
    filter_free(&read);
    return good;
}

/* Returns false if the journal closes meanwhile, or the disk does not give back what was written: whoever looks for
 * something hears of that. */
static bool build_from_index(struct local_journal *store)
{
    struct known *known = &store->known;
    uint64_t hashes[CHUNK];
    pthread_mutex_lock(&known->mutex);
    uint64_t expected = rows(store);
    if (expected > 0)
        filter_layer_add(known->building, filter_layer_make(known->building, expected + expected / 4));
    pthread_mutex_unlock(&known->mutex);
    rocksdb_iterator_t *iterator = store_database_iterate(store, FAMILY_INDEX);
    bool goes_on = true;
    while (goes_on && rocksdb_iter_valid(iterator)) {
        size_t count = 0;
        for (; count < CHUNK && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
            size_t length;
            const char *key = rocksdb_iter_key(iterator, &length);
            hashes[count++] = store_key_hash(store, key, length);
        }
        pthread_mutex_lock(&known->mutex);
        add(store, known->building, hashes, count);
        goes_on = !known->ends;
        pthread_mutex_unlock(&known->mutex);
    }
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    if (error != NULL)
        log_error("journal %s: damaged: %s; keep a copy and restore the folder from a backup", store->path,
                  error);
    goes_on = goes_on && error == NULL;
    rocksdb_free(error);
    rocksdb_iter_destroy(iterator);
    return goes_on;
}

static void file_remove(const struct local_journal *store)
{
    char *path = path_of(store, "");
    (void)unlink(path);
    free(path);
}

/* From here on it is the one that is asked. */
static void built(struct local_journal *store)
{
    struct known *known = &store->known;
    pthread_mutex_lock(&known->mutex);
    pthread_mutex_lock(&store->recent_mutex);
    known->current = known->building;
    pthread_mutex_unlock(&store->recent_mutex);
    known->building = NULL;
    pthread_mutex_unlock(&known->mutex);
}

void *store_known_run(void *argument)
{
    struct local_journal *store = argument;
    bool good =
        build_from_file(store); /* even if the journal closes: it is soon done, and good for another start */
    file_remove(store);
    if (good || build_from_index(store))
        built(store);
    return NULL;
}

void store_known_stop(struct local_journal *store)
{
    pthread_mutex_lock(&store->known.mutex);
    store->known.ends = true;
    pthread_mutex_unlock(&store->known.mutex);
}

/* ---- at close ---- */

static bool file_write(const struct local_journal *store, const char *path)
{
    struct file_head head = {MAGIC, store->epoch, store->checkpoint, store->seed};
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    if (file == NULL) {
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    bool good = fwrite(&head, sizeof head, 1, file) == 1 &&
                filter_write(store->known.current, file, hash_head(&head));
    return fclose(file) == 0 && good;
}

/* Not synced: what a power cut leaves of it does not match its checksum. */
static void file_make(const struct local_journal *store)
{
    char *path = path_of(store, ""), *new_path = path_of(store, NEW_SUFFIX);
    if (!file_write(store, new_path) || rename(new_path, path) != 0)
        (void)unlink(new_path);
    free(new_path);
    free(path);
}

void store_known_close(struct local_journal *store)
{
    struct known *known = &store->known;
    if (known->current != NULL && known->current->count > 0 && store->checkpoint == store->checkpoint_target)
        file_make(store);
    if (known->file != NULL)
        fclose(known->file);
    struct filter *const filters[] = {known->current, known->building};
    for (size_t i = 0; i < ARRAY_LENGTH(filters); i++) {
        if (filters[i] != NULL)
            filter_free(filters[i]);
        free(filters[i]);
    }
}
