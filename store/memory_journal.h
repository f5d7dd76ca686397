/* A journal in memory, whose disk is the caller: for the simulator and for tests of pure engines.
 *
 *     append ──▶ queued ──memory_journal_sync──▶ durable ──memory_journal_crash──▶ to be recovered again
 *
 * Nothing happens by itself and there are no threads: a sequence is durable when memory_journal_sync has said
 * so, and journal_wait makes durable what it waits for. Every batch is kept until the journal is closed.
 */
#ifndef RILL_STORE_MEMORY_JOURNAL_H
#define RILL_STORE_MEMORY_JOURNAL_H

#include "store/journal.h"

/* An empty one; freed by journal_close. It has to be recovered before the first append, as any journal. */
struct journal *memory_journal_create(void);

/* Everything up to the sequence (appended before) is durable from now on. Lower than before: nothing happens.
 */
void memory_journal_sync(struct journal *journal, uint64_t sequence);
/* The highest sequence that was appended. */
uint64_t memory_journal_appended(const struct journal *journal);

/* The process dies: batches above `survives` are gone, the others are durable, and the journal waits for
 * journal_recover, as after an open. A crash may keep any point from the durable sequence to the last
 * appended one; a lower one is a disk that lost data, or a backup that was put back. */
void memory_journal_crash(struct journal *journal, uint64_t survives);

#endif
