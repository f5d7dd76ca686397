/* The workload about a watchtower alone: what one costs, and how fast it catches up. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/run.h"
#include "bench/tower_load.h"

#define WINDOW        512 /* a hub of two shards */
#define PASSES        4   /* payments go on: each is a newer proof of every channel */
#define MINES_AHEAD   64
#define CATCH_UP_MS   600000
#define CONFIRMATIONS 1

static void note(struct run *run, const char *name, double value)
{
    json_object_set_new(run->extra, name, json_real(value));
}

/* Of all files below. */
static uint64_t folder_bytes(const char *path)
{
    uint64_t sum = 0;
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char below[2 * WORLD_PATH];
        struct stat status;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.' || lstat(below, &status) != 0)
            continue;
        sum += S_ISDIR(status.st_mode) ? folder_bytes(below) : (uint64_t)status.st_size;
    }
    if (folder != NULL)
        closedir(folder);
    return sum;
}

/* ---- tower: storage, restart, catching up with appointments ---- */

struct sizes {
    double memory, disk; /* bytes for each channel, after a restart */
};

static bool restart_and_weigh(struct run *run, uint64_t empty_kib, double *seconds, struct sizes *out)
{
    struct world *world = &run->world;
    char folder[WORLD_PATH];
    if (!world_stop_tower(world) || !world_start_tower(world, seconds))
        return false;
    double channels = (double)run->flags.channels;
    out->memory = ((double)child_rss_kib(&world->towerd) - (double)empty_kib) * 1024 / channels;
    if (!world_stop_tower(world))
        return false;
    out->disk = (double)folder_bytes(world_path(world, "tower/journal", folder)) / channels;
    return world_start_tower(world, seconds);
}

static bool passes(struct run *run, struct tower_load *load, uint64_t empty_kib)
{
    struct tower_load_result first, plain = {0}, verified;
    struct sizes once, many;
    double seconds, channels = (double)run->flags.channels, best = 0;
    if (!tower_load_run(load, 1, WINDOW, true, &first) || !restart_and_weigh(run, empty_kib, &seconds, &once))
        return false;
    for (uint64_t nonce = 2; nonce < 2 + PASSES; nonce++) {
        if (!tower_load_run(load, nonce, WINDOW, false, &plain))
            return false;
        best = fmax(best, channels / plain.seconds);
    }
    if (!tower_load_run(load, 2 + PASSES, WINDOW, true, &verified) ||
        !restart_and_weigh(run, empty_kib, &seconds, &many))
        return false;
    note(run, "new_appointments_per_s", channels / first.seconds);
    note(run, "appointments_per_s", channels / plain.seconds);
    note(run, "appointments_per_s_best", best);
    note(run, "appointments_per_s_receipts_verified", channels / verified.seconds);
    note(run, "tower_cpu_us_per_appointment", (double)plain.tower_cpu_us / channels);
    note(run, "memory_bytes_per_channel", once.memory);
    note(run, "memory_bytes_per_channel_after_more", many.memory);
    note(run, "disk_bytes_per_channel", once.disk);
    note(run, "disk_bytes_per_channel_after_more", many.disk);
    note(run, "restart_s", seconds);
    return true;
}

/* ---- catching up with blocks ---- */

struct mining {
    struct world *world;
    uint64_t open, failed;
};

static void on_mined(void *context, enum ledger_error error, const char *text)
{
    struct mining *mining = context;
    (void)text;
    if (error == LEDGER_STOPPED)
        return;
    mining->open--;
    mining->failed += error != LEDGER_OK;
}

static bool has_room(void *context)
{
    return ((struct mining *)context)->open < MINES_AHEAD;
}

static bool all_mined(void *context)
{
    return ((struct mining *)context)->open == 0;
}

static bool mine(struct world *world, uint64_t blocks)
{
    struct mining mining = {.world = world};
    for (uint64_t i = 0; i < blocks; i++) {
        mining.open++;
        ledger_request(world->ledger, "evm_mine", "[]", on_mined, &mining);
        world_progress(world, "%llu of %llu blocks mined", (unsigned long long)i, (unsigned long long)blocks);
        if (mining.open >= MINES_AHEAD && !world_wait(world, has_room, &mining, CATCH_UP_MS, "a block"))
            return false;
    }
    return world_wait(world, all_mined, &mining, CATCH_UP_MS, "the last block") &&
           (mining.failed == 0 ||
            world_fail(world, "%llu blocks could not be mined", (unsigned long long)mining.failed));
}

static bool catch_up_with_blocks(struct run *run)
{
    struct world *world = &run->world;
    uint64_t from, target, confirmed = 0;
    double start_s;
    if (!world_stop_tower(world) || !world_block(world, &from) || !mine(world, run->flags.blocks) ||
        !world_block(world, &target) || !world_start_tower(world, &start_s))
        return false;
    uint64_t begun = clock_monotonic_us();
    while (confirmed + CONFIRMATIONS < target) {
        if (!world_pause(world, 2000) || !world_ask_tower(world, "ledger_confirmed", &confirmed))
            return false;
        if (clock_monotonic_us() - begun > CATCH_UP_MS * 1000ull)
            return world_fail(world, "the tower did not catch up with %llu blocks",
                              (unsigned long long)run->flags.blocks);
    }
    double seconds = (double)(clock_monotonic_us() - begun) / 1e6;
    note(run, "blocks", (double)(target - from));
    note(run, "blocks_catch_up_s", seconds);
    note(run, "blocks_per_minute", (double)(target - from) / seconds * 60);
    return true;
}

bool run_tower(struct run *run)
{
    struct world *world = &run->world;
    double seconds;
    if (!world_make_tower(world))
        return false;
    struct tower_load *load = tower_load_new(world, run->flags.channels);
    if (load == NULL)
        return false;
    note(run, "channels", (double)run->flags.channels);
    bool good = world_start_tower(world, &seconds) && passes(run, load, child_rss_kib(&world->towerd)) &&
                catch_up_with_blocks(run) && floor_measure(&run->floor);
    tower_load_free(load);
    if (!good)
        return false;
    double floor_us = run->floor.verify_us + run->floor.sign_us;
    note(run, "verify_us", run->floor.verify_us);
    note(run, "sign_us", run->floor.sign_us);
    note(run, "floor_appointments_per_s_and_core", 1e6 / floor_us);
    return world_stop_tower(world);
}
