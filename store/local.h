/* What the files of the local journal share. Only store/ includes this.
 *
 *     store.c       open, close, the table of functions
 *     folder.c      the folder: making, locking, judging it
 *     header.c      the header: whose journal this is
 *     database.c    RocksDB: options, opening, its errors
 *     writer.c      append, the writer thread, durable
 *     batches.c     batches in memory
 *     checkpoint.c  folding old batches
 *     table.c       records gathered into one table
 *     recover.c     checking the journal at open, replay
 *     archive.c     the archive: its keys, reading, pruning
 *     find.c        the archive's index
 *     known.c       what the index may have, in memory
 *     filter.c      a filter of hashes (filter.h)
 *
 * Threads: the caller's, the writer, the folding one, and one that builds the filter of what the index has. The writer commits the batches; the folding thread
 * writes its mark and gives RocksDB finished tables. Whoever reads the archive does so on a thread of its own
 * choice. Everything below `mutex` in the struct is under it.
 */
#ifndef RILL_STORE_LOCAL_H
#define RILL_STORE_LOCAL_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "base/index.h"
#include "store/filter.h"
#include "store/store.h"

/* Column families, in the order in which they are opened. */
enum family { FAMILY_HEADER, FAMILY_JOURNAL, FAMILY_CHECKPOINT, FAMILY_ARCHIVE, FAMILY_INDEX, FAMILY_COUNT };

/* On disk: see docs/journal.md. The number of this layout; another one is refused. */
#define STORE_FORMAT          5
#define BATCH_VERSION         4
#define BATCH_PREFIX_BYTES    17 /* version u8, epoch u64, bytes before the archive's records u32, PACKED u32 */
#define BATCH_PACKED_MIN      4096 /* smaller ones repeat too little of themselves to be worth packing */
#define SEQUENCE_KEY_BYTES    8
#define BATCH_BYTES_MAX       ((size_t)1 << 30) /* RocksDB takes less than 4 GiB in one write */
#define CHECKPOINT_KEY_MAX    (1 + RECORD_KEY_MAX)
#define DAY_BYTES             4
#define DAY_SECONDS           86400u
#define FAMILY_KEY_MAX        (DAY_BYTES + 1 + RECORD_KEY_MAX)
#define CHECKPOINT_MARK_BYTES 32
#define TABLE_FILE            "rill.table"  /* in the folder, while folding; then the family's number */
#define FILTER_FILE           "rill.filter" /* in the folder, between a close and the next opening */

#define AHEAD 8 /* records, places of an index: whose memory is asked for before their turn */

#define CHECKPOINT_BYTES_DEFAULT ((uint64_t)64 << 20)
#define QUEUE_BYTES_DEFAULT      ((uint64_t)16 << 20)

struct arena; /* batches.c */

/* A batch that was appended. */
struct batch {
    struct batch *next;
    struct arena *arena;
    uint64_t sequence;
    size_t length, archive_at; /* bytes; of them before the archive's records */
    uint8_t bytes[];
};

struct batches {
    struct batch *first, *last;
    struct arena *arena; /* of those to come */
    struct arena *spare; /* to be used again */
    size_t spare_count;
};

/* What a start walks through in the checkpoint's family, in bytes and some for each row: the newest table that has all,
 * and those after it. And what the last folding changed, 0 if there was none since the journal was opened. */
struct burden {
    uint64_t whole, since, folding;
};

struct recent_index; /* find.c */

/* See known.c. */
struct known {
    pthread_mutex_t mutex;   /* held by who adds; taken before recent_mutex */
    struct filter *current;  /* changed under both; NULL: ask RocksDB */
    struct filter *building; /* NULL: none */
    FILE *file;              /* of the last close, until the thread has read it */
    uint64_t file_sum;
    pthread_t thread;
    bool ends;
};

struct local_journal {
    struct journal journal;
    char *path;
    int lock_descriptor;
    int wake_descriptor;
    uint64_t epoch;
    uint64_t checkpoint_bytes;
    uint64_t queue_bytes_max;
    uint32_t archive_days;

    rocksdb_t *database;
    rocksdb_column_family_handle_t *families[FAMILY_COUNT];
    rocksdb_options_t *options[FAMILY_COUNT];
    rocksdb_writeoptions_t *synced, *unsynced;
    rocksdb_readoptions_t *scan, *look;
    rocksdb_compactionfilter_t *index_filter;
    struct burden burden;          /* whoever folds: at open, while it runs, at close */
    _Atomic uint32_t archive_from; /* the first day that the archive keeps, as of the last pruning */

    pthread_t writer, folding;
    bool threads_run;
    _Atomic uint64_t durable;  /* written by the writer under the mutex, read anywhere */
    _Atomic bool folding_ends; /* written under the mutex; a folding under way looks at it between batches */

    pthread_mutex_t recent_mutex; /* never held while waiting for anything */
    struct recent_index *recent;  /* the first is the one that grows */
    uint64_t seed;                /* of their hashes and those of the filter */
    struct known known;
    _Atomic uint64_t index_looks; /* for the figures */

    pthread_mutex_t mutex;
    pthread_cond_t writer_wake;  /* something queued, or the end */
    pthread_cond_t writer_done;  /* durable rose */
    pthread_cond_t folding_wake; /* enough to fold, or the end */
    struct batches batches;      /* see batches.c */
    struct batch *unwritten;     /* the first that the writer has not taken; NULL: none */
    uint64_t appended;           /* highest sequence given out */
    uint64_t waiting_bytes;      /* appended, not yet durable */
    uint64_t journal_bytes;      /* durable, not yet in the checkpoint; not packed */
    uint64_t checkpoint;         /* all up to this sequence is in the checkpoint */
    uint64_t checkpoint_target;  /* > checkpoint: a folding up to here is under way */
    bool recovered;
    bool writer_ends;
    struct store_figures figures;
};

/* A failed write, or a disk that no longer gives back what was written: logs why and ends the process with
 * STORE_EXIT_FATAL. Nothing is flushed or closed: the disk is what the next start goes on from. */
_Noreturn void store_fatal(const struct local_journal *store, const char *what, const char *error);

/* Where store_open's one line goes. Returns `error`, for `return store_refuse(…)`. */
struct refusal {
    char *message;
    size_t size;
};
enum store_error store_refuse(const struct refusal *refusal, enum store_error error, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* A key as a family has it on disk. */
struct family_key {
    size_t length;
    uint8_t bytes[FAMILY_KEY_MAX]; /* what lies behind the length is not written: most keys are short */
};

static inline uint32_t store_day_of(uint64_t time)
{
    uint64_t day = time / DAY_SECONDS;
    return day > UINT32_MAX ? UINT32_MAX : (uint32_t)day;
}

/* An archive's record's; key: owner, time, rest. */
static inline void store_archive_key(uint8_t type, const uint8_t *key, size_t length, struct family_key *out)
{
    out->length = DAY_BYTES + 1 + length;
    store_be32(out->bytes, store_day_of(load_be64(key + RECORD_OWNER_BYTES)));
    out->bytes[DAY_BYTES] = (uint8_t)(type & ~RECORD_FINDABLE);
    memcpy(out->bytes + DAY_BYTES + 1, key, length);
}
/* A record's in one of the three families that folding fills. */
static inline void store_family_key(enum family family, const struct record *record, struct family_key *out)
{
    if (family == FAMILY_ARCHIVE) {
        store_archive_key(record->type, record->key, record->key_length, out);
        return;
    }
    size_t skipped = family == FAMILY_INDEX ? RECORD_ARCHIVE_KEY_MIN : 0;
    out->length = 1 + record->key_length - skipped;
    out->bytes[0] = family == FAMILY_INDEX ? (uint8_t)(record->type & ~RECORD_FINDABLE) : record->type;
    memcpy(out->bytes + 1, record->key + skipped, out->length - 1);
}

/* folder.c */
enum store_error store_folder_make(const char *path, const struct refusal *refusal) MUST_USE;
/* Is there nothing in it but what a journal leaves? Out: whether there is a RocksDB yet. */
enum store_error store_folder_judge(const char *path, bool *database_exists,
                                    const struct refusal *refusal) MUST_USE;
/* Holds the folder for this process until the descriptor is closed. */
enum store_error store_folder_lock(const char *path, int *descriptor, const struct refusal *refusal) MUST_USE;

/* database.c */
enum store_error store_database_open(struct local_journal *store, bool exists,
                                     const struct refusal *refusal) MUST_USE;
void store_database_close(struct local_journal *store);
/* Names what RocksDB reported while opening or checking; frees error. */
enum store_error store_database_refuse(const struct local_journal *store, char *error,
                                       const struct refusal *refusal);
rocksdb_iterator_t *store_database_iterate(const struct local_journal *store, enum family family);
rocksdb_iterator_t *store_database_iterate_from(const struct local_journal *store, uint64_t sequence);

/* header.c */
enum store_error store_header_open(struct local_journal *store, const struct store_options *options,
                                   const struct refusal *refusal) MUST_USE;
/* Adds "the checkpoint is at `checkpoint`, a folding goes on up to `target`" to a write, and the burden. */
void store_header_mark_checkpoint(struct local_journal *store, rocksdb_writebatch_t *batch,
                                  uint64_t checkpoint, uint64_t target);

/* batches.c */
/* Adds a copy at the end; under the mutex, once the threads run. */
struct batch *store_batches_add(struct local_journal *store, uint64_t sequence, const uint8_t *bytes,
                                size_t length, size_t archive_at);
/* Frees those up to here, which are durable. One thread at a time: the folding's if there is an archive, else the
 * writer's. */
void store_batches_let_go(struct local_journal *store, uint64_t sequence);
void store_batches_free(struct local_journal *store);
/* Are durable batches kept in memory until they are folded? */
static inline bool store_keeps_batches(const struct local_journal *store)
{
    return store->archive_days > 0;
}

/* writer.c */
uint64_t store_writer_append(struct journal *journal, const uint8_t *batch, size_t length);
uint64_t store_writer_durable(const struct journal *journal);
void store_writer_wait(struct journal *journal, uint64_t sequence);
void *store_writer_run(void *store);

/* checkpoint.c */
void *store_folding_run(void *store);
/* Folds (checkpoint, to], at open or close: not while the folding thread runs. */
void store_checkpoint_fold(struct local_journal *store, uint64_t to);

/* table.c */
struct table;
struct table *store_table_new(struct local_journal *store, enum family family);
/* Takes a record in, which must stay where it is, header and all. The newest comes first, and is the one that counts. */
void store_table_add(struct table *table, const struct record *record);
/* Writes all as one table, in the order of the keys, synced. Nothing if there are none. Whole: with all else that the
 * family has, in place of all tables that it has; not for the archive's. These three take NULL. */
void store_table_write(struct table *table, bool whole);
/* What the checkpoint's burden is with what was written. */
void store_table_weigh(const struct table *table, struct burden *burden);
/* RocksDB takes the table that was written into the family: whole or not at all, and durable. */
void store_table_ingest(struct table *table);
void store_table_free(struct table *table);

/* archive.c */
/* Drops what is older than archive_days. */
void store_archive_prune(struct local_journal *store);
void store_archive_figures(const struct local_journal *store, struct store_figures *out);
bool store_archive_read(struct journal *journal, const struct archive_query *query, journal_visit *visit,
                        void *context);

/* find.c */
/* A batch was appended, or was there at open: its findable records can be found from now on, where they lie. */
void store_recent_add(struct local_journal *store, const struct batch *batch);
/* All batches up to here are folded. Returns up to which of them none is found in memory any more. */
uint64_t store_recent_folded(struct local_journal *store, uint64_t sequence);
/* What is appended from now on goes into another index; so that the older ones can go once they are folded. */
void store_recent_turn(struct local_journal *store, uint64_t appended);
void store_recent_free(struct local_journal *store);
/* RocksDB asks it for each row of the index that it merges: drops those older than the archive goes back. */
rocksdb_compactionfilter_t *store_index_filter(struct local_journal *store);
bool store_find(struct journal *journal, uint8_t type, const uint8_t *rest, size_t rest_length,
                journal_visit *visit, void *context);
void store_have(struct journal *journal, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                bool *out);

/* What is in an index in memory, or in the filter: of type and rest. */
static inline uint64_t store_key_hash(const struct local_journal *store, const void *key, size_t length)
{
    return index_hash(store->seed, key, length);
}

/* known.c */
/* Before anything is hashed with the seed, and before the threads. */
void store_known_open(struct local_journal *store);
void *store_known_run(void *store);
/* The index has these now; before store_recent_folded says so. */
void store_known_add(struct local_journal *store, const uint64_t *hashes, size_t count);
/* Ends the thread, soon. */
void store_known_stop(struct local_journal *store);
/* Leaves the filter to the next opening, and frees it. Once the last folding is done. */
void store_known_close(struct local_journal *store);

/* recover.c */
/* Checks every batch after the checkpoint, and sets appended, durable and journal_bytes. */
enum store_error store_recover_check(struct local_journal *store, const struct refusal *refusal) MUST_USE;
bool store_recover_replay(struct journal *journal, journal_visit *visit, void *context);
/* True if the batch is records and nothing else, at least one that is not the archive's, and those last. Out:
 * how many bytes come before them. */
bool store_batch_is_well_formed(const uint8_t *batch, size_t length, size_t *archive_at) MUST_USE;
/* One batch as it lies on disk. */
struct stored {
    uint64_t sequence, epoch;
    size_t length; /* of prefix and batch, not packed */
    struct reader live, archive;
};
/* The readers point into the value or, if it is packed, into `room`. Returns false if that is no batch. The records
 * are not checked. */
bool store_stored_parse(const uint8_t *key, size_t key_length, const uint8_t *value, size_t value_length,
                        struct buffer *room, struct stored *out) MUST_USE;
/* The same, where the iterator stands. */
bool store_stored_at(const rocksdb_iterator_t *iterator, struct buffer *room, struct stored *out) MUST_USE;
/* Only its length. */
size_t store_stored_length(const uint8_t *value, size_t value_length);

#endif
