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

struct journal_operations {
    bool (*recover)(struct journal *journal, journal_visit *visit, void *context);
    uint64_t (*append)(struct journal *journal, const uint8_t *batch, size_t length);
    uint64_t (*durable)(const struct journal *journal);
    int (*wake_descriptor)(const struct journal *journal);
    void (*wait)(struct journal *journal, uint64_t sequence);
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
/* Queues a batch (copied) for the writer; returns its sequence: 1, 2, … without gaps. length > 0. Blocks only
 * when more than the queue's limit of bytes waits for the disk: that is the back-pressure. */
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
/* Makes everything durable, then closes and frees. NULL is allowed. */
static inline void journal_close(struct journal *journal)
{
    if (journal != NULL)
        journal->operations->close(journal);
}

#endif
