/* A program's disk: batches are appended at once, durable when an fsync has come back, and of what is not durable a
 * crash leaves any part, in whole batches: a torn one is not shown (docs/journal.md). */
#include "tests/sim/sim.h"

void disk_start(struct sim_disk *disk)
{
    if (disk->journal == NULL)
        disk->journal = memory_journal_create();
    disk->syncing = 0;
    disk->stall_until = 0;
    disk->fails = false;
}

bool disk_has_work(const struct sim *sim, const struct sim_disk *disk)
{
    if (disk->syncing != 0)
        return sim->now_ms >= disk->stall_until;
    return memory_journal_appended(disk->journal) > journal_durable(disk->journal);
}

bool disk_work(struct sim *sim, struct sim_disk *disk)
{
    if (disk->syncing == 0) {
        disk->syncing = memory_journal_appended(disk->journal);
        if (sim_strikes(sim, FAULT_SLOW_SYNC, 40))
            disk->stall_until = sim->now_ms + 200 + sim_roll(sim, 5000);
        disk->fails = sim_strikes(sim, FAULT_FAILED_SYNC, 500);
        return true;
    }
    if (disk->fails)
        return false;
    memory_journal_sync(disk->journal, disk->syncing);
    disk->syncing = 0;
    return true;
}

void disk_crash(struct sim *sim, struct sim_disk *disk)
{
    uint64_t durable = journal_durable(disk->journal), appended = memory_journal_appended(disk->journal);
    uint64_t survives = durable + sim_roll(sim, appended - durable + 1);
    if (survives < appended) {
        sim_count(sim, FAULT_LOST_BATCHES);
        if (sim_roll(sim, 2) == 0)
            sim_count(sim, FAULT_TORN_BATCH);
    }
    sim_trace(sim, "the disk keeps %llu of %llu batches, %llu were durable", (unsigned long long)survives,
              (unsigned long long)appended, (unsigned long long)durable);
    memory_journal_crash(disk->journal, survives);
    disk->syncing = 0;
    disk->fails = false;
}

bool outbox_may_leave(const struct sim_disk *disk, const struct outbox *outbox,
                      const struct sim_released *released)
{
    return outbox_bytes(outbox) > 0 &&
           (outbox_bytes(outbox) != released->bytes || journal_durable(disk->journal) != released->durable);
}

void outbox_leave(const struct sim_disk *disk, struct outbox *outbox, struct sim_released *released)
{
    outbox_release(outbox, journal_durable(disk->journal));
    *released = (struct sim_released){journal_durable(disk->journal), outbox_bytes(outbox)};
}
