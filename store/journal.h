/* The journal: an append-only log of batches that is durable before anybody hears of it (architecture.md).
 *
 * A batch is records (base/record.h) one after another; it is appended whole and survives a crash whole or
 * not at all. The interface is a table of functions, so that the simulator's journal, or a replicated one,
 * can stand in its place.
 *
 *     open ──recover──▶ replaying ──▶ ready ──append──▶ queued ──fsync──▶ durable (≤ journal_durable)
 *                                                         └─ a failed write or fsync: the process logs
 *                                                            why and stops; never goes on
 *
 * Records of the archive (record_is_archive) come last in their batch. They are as durable as the rest, but no
 * part of the state: recovery does not show them, and journal_archive_read finds them.
 *
 * Every append carries the epoch of its writer; a journal that is at a later epoch refuses it, and that is
 * fatal too.
 */
#ifndef RILL_STORE_JOURNAL_H
#define RILL_STORE_JOURNAL_H

#include "base/record.h"

struct journal;

/* Called for each record, oldest first, so that the newest for a key comes last. Returns false to stop: the
 * record's meaning is not understood, and recovery fails. The bytes live until the call returns. */
typedef bool journal_visit(void *context, const struct record *record);

/* Which records of the archive: of one type and owner, since <= time < until, in the order of time, then the rest
 * of the key. */
struct archive_query {
    uint8_t type;
    uint8_t owner[RECORD_OWNER_BYTES];
    uint64_t since, until; /* seconds */
    const uint8_t *after;  /* a key: only what comes after it; NULL: from the start */
    size_t after_length;
};

struct journal_operations {
    bool (*recover)(struct journal *journal, journal_visit *visit, void *context);
    uint64_t (*append)(struct journal *journal, const uint8_t *batch, size_t length);
    uint64_t (*durable)(const struct journal *journal);
    int (*wake_descriptor)(const struct journal *journal);
    void (*wait)(struct journal *journal, uint64_t sequence);
    bool (*archive_read)(struct journal *journal, const struct archive_query *query, journal_visit *visit,
                         void *context);
    bool (*find)(struct journal *journal, uint8_t type, const uint8_t *rest, size_t rest_length,
                 journal_visit *visit, void *context);
    void (*have)(struct journal *journal, uint8_t type, const uint8_t *rests, size_t rest_length,
                 size_t count, bool *out);
    void (*close)(struct journal *journal);
};

/* First member of every implementation. */
struct journal {
    const struct journal_operations *operations;
};

/* Hands every record of the checkpoint, then of each later batch, to visit. Once, before the first append.
 * The checkpoint's come in the order of their type, then key; it is the state after some whole batch. Returns
 * false if visit did, or if the disk does not give back what was written (the log says so): then only
 * journal_close may follow. */
static inline bool MUST_USE journal_recover(struct journal *journal, journal_visit *visit, void *context)
{
    return journal->operations->recover(journal, visit, context);
}
/* Queues a batch (copied) for the writer; returns its sequence: 1, 2, … without gaps. At least one record, and
 * at least one that is not the archive's. Blocks only when more than the queue's limit of bytes waits for the disk: that is the back-pressure. */
static inline uint64_t journal_append(struct journal *journal, const uint8_t *batch, size_t length)
{
    return journal->operations->append(journal, batch, length);
}
/* The highest sequence that is on disk with all before it. */
static inline uint64_t journal_durable(const struct journal *journal)
{
    return journal->operations->durable(journal);
}
/* A descriptor (eventfd) that becomes readable whenever `durable` has risen; the reader empties it. */
static inline int journal_wake_descriptor(const struct journal *journal)
{
    return journal->operations->wake_descriptor(journal);
}
/* Blocks until the sequence is durable. */
static inline void journal_wait(struct journal *journal, uint64_t sequence)
{
    journal->operations->wait(journal, sequence);
}
/* Hands the records asked for to visit until it returns false: what was durable when this was called, and perhaps
 * more. From any thread, after recovery. Returns false if the disk does not give back what was written (the log
 * says so). */
static inline bool MUST_USE journal_archive_read(struct journal *journal, const struct archive_query *query,
                                                 journal_visit *visit, void *context)
{
    return journal->operations->archive_read(journal, query, visit, context);
}
/* Shows the newest findable record (RECORD_FINDABLE) of the archive with this type and rest of the key, of all
 * that was appended; returns whether there is one. From any thread, after recovery. Cheap where there is none. If its
 * batch is not durable yet it waits for that. The type shown is the one without RECORD_FINDABLE. */
static inline bool MUST_USE journal_find(struct journal *journal, uint8_t type, const void *rest,
                                         size_t rest_length, journal_visit *visit, void *context)
{
    return journal->operations->find(journal, type, rest, rest_length, visit, context);
}
/* Which of `count` rests, one after another, have a findable record of this type? Into out, one each. As many times
 * journal_find without looking at the records, and without waiting for any; for much less where there are none. */
static inline void journal_have(struct journal *journal, uint8_t type, const uint8_t *rests,
                                size_t rest_length, size_t count, bool *out)
{
    journal->operations->have(journal, type, rests, rest_length, count, out);
}
/* Makes everything durable, then closes and frees. NULL is allowed. */
static inline void journal_close(struct journal *journal)
{
    if (journal != NULL)
        journal->operations->close(journal);
}

#endif
