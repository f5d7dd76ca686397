/* The local journal over RocksDB: see docs/journal.md for the format.
 *
 * Column family "journal": key = sequence (8 bytes), value = the batch. One writer thread appends whatever
 * has been queued since its last turn as one RocksDB write with one fsync of its WAL. Column family
 * "checkpoint": the newest value of every key up to the checkpoint's sequence; the store folds old batches
 * into it by itself, beside the writer, and then lets those batches go. Column family "archive": the records
 * of the folded batches that are the archive's. Column family "default": the header (application, format
 * version, epoch).
 */
#ifndef RILL_STORE_STORE_H
#define RILL_STORE_STORE_H

#include "store/journal.h"

enum store_error {
    STORE_OK = 0,
    STORE_LOCKED,     /* another process has it open */
    STORE_UNWRITABLE, /* the folder cannot be made or written */
    STORE_FOREIGN,    /* a journal of another program */
    STORE_VERSION,    /* written by a version with another format */
    STORE_CORRUPT     /* damaged beyond the torn end that a crash may leave */
};

struct store_options {
    const char *path;          /* folder; made (mode 700) if missing */
    const char *application;   /* "hub", "wallet", "tower", "ledger": written in the header */
    uint32_t version;          /* of the application's records */
    uint64_t checkpoint_bytes; /* journal size at which folding starts; 0: 64 MiB */
    uint64_t queue_bytes_max;  /* appended but not yet durable; 0: 16 MiB */
    uint32_t archive_days; /* what the archive has is dropped once it is this much older than its newest, or
                                  than tomorrow by the wall clock if the newest is said to be later;
                                  0: there is no archive, its records are let go with their batches and not found */
};

/* Opens or creates. On an error *out is NULL and message (text_size bytes) says in one line what is wrong and
 * what to do. The epoch in the header is raised by one. */
enum store_error store_open(const struct store_options *options, struct journal **out, char *message,
                            size_t message_size) MUST_USE;

/* Exit code of a process whose journal could not be written any more (the log's last line says why). */
#define STORE_EXIT_FATAL 70

/* Figures for /metrics and the bench, since open; bytes: as they went to the disk. */
struct store_figures {
    uint64_t batches, bytes, syncs, checkpoints, sync_us_total, sync_us_max;
    uint64_t unfolded_bytes;                 /* of batches that are not in the checkpoint yet */
    uint64_t index_looks;                    /* for one record that went to the folded index on the disk */
    uint64_t archive_records, archive_bytes; /* on disk, folded; the records are RocksDB's estimate */
};
struct store_figures store_figures(const struct journal *journal);

#endif
