/* rill-journal-bench: the journal alone, under a load like a hub's: what a commit costs, how long it takes to be
 * durable, and how fast everything comes back.
 *
 *     fill (channels, payments) ─▶ load: batches at a rate, or as fast as durable ones come back ─▶ close
 *                                  ─▶ files dropped from the page cache ─▶ open ─▶ replay
 *
 * A batch is records as a hub's: a channel's, then a payment's, then, with --live, the end of an older payment.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/options.h"
#include "store/store.h"

#define CHANNEL_TYPE  1
#define CHANNEL_BYTES 360
#define PAYMENT_TYPE  16
#define PAYMENT_BYTES 210
#define ARCHIVE_TYPE  RECORD_ARCHIVE_FIRST
#define ARCHIVE_BYTES 112
#define YEAR_SECONDS  31536000u
#define FILL_BYTES    ((size_t)64 << 10)
#define FLIGHT_MAX    65536 /* batches that are not durable yet */
#define PROGRESS_US   2000000

struct flags {
    uint64_t batch_bytes, rate, ahead, seconds, channels, payments, history, live, checkpoint_mib;
    const char *folder;
    bool json, keep;
};

struct bench {
    struct flags flags;
    char path[512];
    struct journal *journal;
    struct buffer batch;
    uint64_t random, next_payment, first_payment;
    uint64_t generate_ns; /* CPU of making batches, which is none of the journal's */
    uint64_t first_sequence, sequence, seen;
    uint64_t intended_us[FLIGHT_MAX];
    uint32_t *latencies_us;
    size_t latency_count, latency_capacity;
};

static enum options_result read_flags(struct flags *flags, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"batch-bytes", OPTION_NUMBER, &flags->batch_bytes, "65536", 64, 16 << 20, "BYTES",
         "Size of a batch, at least; made of whole records."},
        {"rate", OPTION_NUMBER, &flags->rate, "0", 0, 1000000, "NUMBER",
         "Batches per second, latency from the intended time; 0: as fast as --ahead allows."},
        {"ahead", OPTION_NUMBER, &flags->ahead, "2", 1, FLIGHT_MAX / 2, "NUMBER",
         "With --rate 0: batches under way at once."},
        {"seconds", OPTION_NUMBER, &flags->seconds, "10", 0, 86400, "SECONDS", "How long; 0: no load."},
        {"channels", OPTION_NUMBER, &flags->channels, "10000", 1, 100000000, "NUMBER",
         "Channels, all written once before the load."},
        {"payments", OPTION_NUMBER, &flags->payments, "0", 0, 1000000000, "NUMBER",
         "Payments kept from before the load."},
        {"history", OPTION_NUMBER, &flags->history, "0", 0, 1000000000, "NUMBER",
         "Records in the archive from before the load, over a year."},
        {"live", OPTION_NUMBER, &flags->live, "0", 0, 1000000000, "NUMBER",
         "Payments kept at most: with each new one an old one ends; 0: none ends."},
        {"checkpoint-mib", OPTION_NUMBER, &flags->checkpoint_mib, "64", 1, 65536, "MIB",
         "Journal size at which old batches are folded together."},
        {"folder", OPTION_TEXT, &flags->folder, "/tmp", 0, 0, "FOLDER",
         "Where the journal is made: the disk that is measured."},
        {"json", OPTION_FLAG, &flags->json, "false", 0, 0, "true|false", "Print the figures as JSON."},
        {"keep", OPTION_FLAG, &flags->keep, "false", 0, 0, "true|false", "Keep the journal afterwards."},
    };
    const struct options options = {
        .program = "rill-journal-bench",
        .environment_prefix = "RILL_JOURNAL_BENCH",
        .usage = "[OPTIONS]",
        .about = "Measures the journal alone: CPU of a commit, time from append to durable, and the replay "
                 "after a restart.\n"
                 "Example: rill-journal-bench --batch-bytes 65536 --rate 300 --channels 100000\n"
                 "Exit codes: 0 done, 1 the journal cannot be used, 2 wrong usage, 70 the disk failed.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    size_t words;
    return options_read(&options, argc, argv, NULL, 0, &words);
}

/* ---- batches ---- */

static uint64_t next_random(struct bench *bench)
{
    uint64_t z = bench->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A key as a hash would be: the same number gives the same key. */
static void make_key(uint64_t number, uint8_t *key, size_t length)
{
    struct bench keys = {.random = number * 0x100000001b3u};
    for (size_t i = 0; i < length; i += 8)
        store_be64(key + i, next_random(&keys));
}

static void put_record(struct bench *bench, uint8_t type, uint64_t number, size_t key_length,
                       size_t value_length)
{
    uint8_t key[48];
    make_key(number, key, key_length);
    size_t mark = record_begin(&bench->batch, type, key, key_length);
    for (size_t i = 0; i < value_length; i += 8)
        buffer_u64(&bench->batch, next_random(bench));
    record_end(&bench->batch, mark);
}

static void put_channel(struct bench *bench, uint64_t number)
{
    put_record(bench, CHANNEL_TYPE, number, 32, CHANNEL_BYTES);
}

static void put_payment(struct bench *bench)
{
    put_record(bench, PAYMENT_TYPE, bench->next_payment++, 48, PAYMENT_BYTES);
    if (bench->flags.live == 0 || bench->next_payment - bench->first_payment <= bench->flags.live)
        return;
    uint8_t key[48];
    make_key(bench->first_payment++, key, sizeof key);
    record_gone(&bench->batch, PAYMENT_TYPE, key, sizeof key);
}

/* In batches of their own, each with one record of the state: they come in the order of time, whosever they are. */
static void put_past(struct bench *bench, uint64_t number)
{
    if (bench->batch.length == 0)
        put_channel(bench, number % bench->flags.channels);
    uint8_t key[RECORD_ARCHIVE_KEY_MIN + 16];
    make_key(next_random(bench) % bench->flags.channels, key, 24);
    store_be64(key + RECORD_OWNER_BYTES, 1700000000 + number * YEAR_SECONDS / bench->flags.history);
    make_key(number, key + RECORD_ARCHIVE_KEY_MIN, 16);
    size_t mark = record_begin(&bench->batch, ARCHIVE_TYPE, key, sizeof key);
    for (size_t i = 0; i < ARCHIVE_BYTES; i += 8)
        buffer_u64(&bench->batch, next_random(bench));
    record_end(&bench->batch, mark);
}

static uint64_t thread_ns(void)
{
    struct timespec now;
    ensure(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void make_batch(struct bench *bench)
{
    uint64_t before = thread_ns();
    bench->batch.length = 0;
    while (bench->batch.length < bench->flags.batch_bytes) {
        put_channel(bench, next_random(bench) % bench->flags.channels);
        if (bench->batch.length < bench->flags.batch_bytes)
            put_payment(bench);
    }
    bench->generate_ns += thread_ns() - before;
}

/* ---- the journal ---- */

static bool count_record(void *context, const struct record *record)
{
    (void)record;
    ++*(uint64_t *)context;
    return true;
}

static bool open_journal(struct bench *bench)
{
    char message[512];
    struct store_options options = {.path = bench->path,
                                    .application = "bench",
                                    .version = 1,
                                    .archive_days = 400,
                                    .checkpoint_bytes = bench->flags.checkpoint_mib << 20};
    if (store_open(&options, &bench->journal, message, sizeof message) == STORE_OK)
        return true;
    log_error("%s", message);
    return false;
}

static void fill_append(struct bench *bench, bool last)
{
    if (bench->batch.length >= FILL_BYTES || (last && bench->batch.length > 0)) {
        bench->sequence = journal_append(bench->journal, bench->batch.data, bench->batch.length);
        bench->batch.length = 0;
    }
}

static void fill_progress(uint64_t *shown_us, uint64_t done, uint64_t all)
{
    if (clock_monotonic_us() - *shown_us < PROGRESS_US)
        return;
    *shown_us = clock_monotonic_us();
    log_info("filling: %" PRIu64 " of %" PRIu64 " records", done, all);
}

static void fill(struct bench *bench)
{
    const struct flags *flags = &bench->flags;
    uint64_t shown = clock_monotonic_us(), state = flags->channels + flags->payments;
    bench->batch.length = 0;
    for (uint64_t i = 0; i < flags->history; i++) {
        put_past(bench, i);
        fill_append(bench, i + 1 == flags->history);
        fill_progress(&shown, i, state + flags->history);
    }
    for (uint64_t i = 0; i < state; i++) {
        if (i < flags->channels)
            put_channel(bench, i);
        else
            put_payment(bench);
        fill_append(bench, i + 1 == state);
        fill_progress(&shown, flags->history + i, state + flags->history);
    }
    journal_wait(bench->journal, bench->sequence);
    while (store_figures(bench->journal).unfolded_bytes >= flags->checkpoint_mib << 20) {
        usleep(10000); /* allowed: polls a figure; what the filling left to fold is not the load's */
        fill_progress(&shown, state + flags->history, state + flags->history);
    }
}

/* ---- load ---- */

static void note_durable(struct bench *bench)
{
    uint64_t durable = journal_durable(bench->journal), now = clock_monotonic_us();
    for (; bench->seen < durable; bench->seen++) {
        if (bench->latency_count == bench->latency_capacity) {
            bench->latency_capacity = bench->latency_capacity == 0 ? 65536 : 2 * bench->latency_capacity;
            bench->latencies_us =
                xrealloc(bench->latencies_us, bench->latency_capacity * sizeof *bench->latencies_us);
        }
        uint64_t took = now - bench->intended_us[(bench->seen + 1) % FLIGHT_MAX];
        bench->latencies_us[bench->latency_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
}

static void wait_wake(struct bench *bench, uint64_t until_us)
{
    uint64_t now = clock_monotonic_us(), left = until_us > now ? until_us - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000), (long)(left % 1000000 * 1000)};
    struct pollfd poll_on = {.fd = journal_wake_descriptor(bench->journal), .events = POLLIN};
    if (ppoll(&poll_on, 1, &timeout, NULL) == 1) {
        uint64_t count;
        ensure(read(poll_on.fd, &count, sizeof count) == (ssize_t)sizeof count);
    }
    note_durable(bench);
}

static void append(struct bench *bench, uint64_t intended_us)
{
    bench->sequence++;
    bench->intended_us[bench->sequence % FLIGHT_MAX] = intended_us;
    ensure(journal_append(bench->journal, bench->batch.data, bench->batch.length) == bench->sequence);
}

static void load(struct bench *bench)
{
    const struct flags *flags = &bench->flags;
    uint64_t start = clock_monotonic_us(), end = start + flags->seconds * 1000000, shown = start;
    make_batch(bench);
    for (uint64_t sent = 0;; sent++) {
        uint64_t intended = flags->rate > 0 ? start + sent * 1000000 / flags->rate : 0;
        uint64_t most = flags->rate > 0 ? FLIGHT_MAX / 2 : flags->ahead;
        while (bench->sequence - bench->seen >= most || clock_monotonic_us() < intended)
            wait_wake(bench, bench->sequence - bench->seen >= most ? end + 60000000 : intended);
        uint64_t now = clock_monotonic_us();
        if (now >= end)
            break;
        append(bench, flags->rate > 0 ? intended : now);
        make_batch(bench);
        if (now - shown >= PROGRESS_US) {
            shown = now;
            log_info("%" PRIu64 " batches durable", journal_durable(bench->journal) - bench->first_sequence);
        }
    }
    while (bench->seen < bench->sequence)
        wait_wake(bench, end + 60000000);
}

/* ---- figures ---- */

struct figures {
    double seconds, cpu_us_per_batch, cpu_us_per_kib, mib_per_s;
    uint64_t batches, syncs, checkpoints, p50, p99, p999, max;
    uint64_t open_ms, replay_ms, restart_cpu_ms, records, replay_kib;
};

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static uint64_t percentile(const struct bench *bench, uint64_t per_mille)
{
    return bench->latencies_us[(bench->latency_count - 1) * per_mille / 1000];
}

static uint64_t process_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t resident_kib(void)
{
    uint64_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ensure(file != NULL && fscanf(file, "%*u %" SCNu64, &pages) == 1);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void measure_load(struct bench *bench, struct figures *out)
{
    struct store_figures before = store_figures(bench->journal);
    bench->first_sequence = bench->seen = bench->sequence;
    bench->generate_ns = 0;
    uint64_t start = clock_monotonic_us(), cpu = process_us();
    load(bench);
    cpu = process_us() - cpu - bench->generate_ns / 1000;
    out->seconds = (double)(clock_monotonic_us() - start) / 1e6;
    struct store_figures after = store_figures(bench->journal);
    qsort(bench->latencies_us, bench->latency_count, sizeof *bench->latencies_us, compare);
    out->batches = after.batches - before.batches;
    out->syncs = after.syncs - before.syncs;
    out->checkpoints = after.checkpoints - before.checkpoints;
    uint64_t bytes = after.bytes - before.bytes;
    out->cpu_us_per_batch = (double)cpu / (double)out->batches;
    out->cpu_us_per_kib = (double)cpu * 1024 / (double)bytes;
    out->mib_per_s = (double)bytes / 1048576 / out->seconds;
    out->p50 = percentile(bench, 500);
    out->p99 = percentile(bench, 990);
    out->p999 = percentile(bench, 999);
    out->max = percentile(bench, 1000);
}

/* For each file of the journal; removes it with `remove_it`, else drops it from the page cache. */
static void each_file(const struct bench *bench, bool remove_it)
{
    DIR *folder = opendir(bench->path);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        int descriptor = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (descriptor >= 0) {
            ensure(fdatasync(descriptor) == 0);
            (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
            close(descriptor);
        }
        if (remove_it)
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
    if (remove_it)
        (void)rmdir(bench->path);
}

static bool measure_restart(struct bench *bench, struct figures *out)
{
    each_file(bench, false);
    uint64_t resident = resident_kib(), start = clock_monotonic_us(), cpu = process_us();
    if (!open_journal(bench))
        return false;
    uint64_t opened = clock_monotonic_us();
    if (!journal_recover(bench->journal, count_record, &out->records))
        return false;
    out->open_ms = (opened - start) / 1000;
    out->replay_ms = (clock_monotonic_us() - opened) / 1000;
    out->restart_cpu_ms = (process_us() - cpu) / 1000;
    uint64_t after = resident_kib();
    out->replay_kib = after > resident ? after - resident : 0;
    return true;
}

static void print_figures(const struct bench *bench, const struct figures *figures)
{
    double per_s = figures->replay_ms + figures->open_ms == 0
                       ? 0
                       : (double)figures->records * 1000 / (double)(figures->replay_ms + figures->open_ms);
    if (bench->flags.json) {
        printf("{\"batch_bytes\": %" PRIu64 ", \"rate\": %" PRIu64
               ", \"seconds\": %.2f, \"batches\": %" PRIu64
               ", \"mib_per_s\": %.2f, \"cpu_us_per_batch\": %.2f, \"cpu_us_per_kib\": %.3f, \"p50_us\": "
               "%" PRIu64 ", \"p99_us\": %" PRIu64 ", \"p999_us\": %" PRIu64 ", \"max_us\": %" PRIu64
               ", \"fsyncs\": %" PRIu64 ", \"checkpoints\": %" PRIu64 ", \"restart_cpu_ms\": %" PRIu64
               ", \"open_ms\": %" PRIu64 ", \"replay_ms\": %" PRIu64 ", \"records\": %" PRIu64
               ", \"records_per_s\": %.0f, \"replay_resident_kib\": %" PRIu64 "}\n",
               bench->flags.batch_bytes, bench->flags.rate, figures->seconds, figures->batches,
               figures->mib_per_s, figures->cpu_us_per_batch, figures->cpu_us_per_kib, figures->p50,
               figures->p99, figures->p999, figures->max, figures->syncs, figures->checkpoints,
               figures->restart_cpu_ms, figures->open_ms, figures->replay_ms, figures->records, per_s,
               figures->replay_kib);
        return;
    }
    if (figures->batches > 0)
        printf("load     %" PRIu64 " batches of %" PRIu64 " bytes in %.1f s, %.1f MiB/s, %" PRIu64
               " fsyncs, %" PRIu64 " checkpoints\n"
               "CPU      %.1f us per batch, %.2f us per KiB\n"
               "durable  p50 %" PRIu64 " us, p99 %" PRIu64 " us, p99.9 %" PRIu64 " us, max %" PRIu64 " us\n",
               figures->batches, bench->flags.batch_bytes, figures->seconds, figures->mib_per_s,
               figures->syncs, figures->checkpoints, figures->cpu_us_per_batch, figures->cpu_us_per_kib,
               figures->p50, figures->p99, figures->p999, figures->max);
    printf("restart  open %" PRIu64 " ms, replay %" PRIu64 " ms, CPU %" PRIu64 " ms, %" PRIu64
           " records, %.0f records/s, %" PRIu64 " KiB of memory\n",
           figures->open_ms, figures->replay_ms, figures->restart_cpu_ms, figures->records, per_s,
           figures->replay_kib);
}

static bool run(struct bench *bench, struct figures *figures)
{
    uint64_t none = 0;
    if (!open_journal(bench) || !journal_recover(bench->journal, count_record, &none))
        return false;
    fill(bench);
    if (bench->flags.seconds > 0)
        measure_load(bench, figures);
    journal_close(bench->journal);
    bench->journal = NULL;
    return measure_restart(bench, figures);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct figures figures = {0};
    enum options_result result = read_flags(&bench.flags, argc, argv);
    if (result != OPTIONS_RUN)
        return result == OPTIONS_DONE ? 0 : 2;
    log_setup("rill-journal-bench", LOG_INFO, false);
    (void)prctl(PR_SET_TIMERSLACK, 1000); /* nanoseconds: for the intended times */
    snprintf(bench.path, sizeof bench.path, "%s/rill-journal-bench-XXXXXX", bench.flags.folder);
    if (mkdtemp(bench.path) == NULL) {
        log_error("no folder can be made in %s: name another with --folder", bench.flags.folder);
        return 1;
    }
    bool good = run(&bench, &figures);
    if (good)
        print_figures(&bench, &figures);
    journal_close(bench.journal);
    buffer_free(&bench.batch);
    free(bench.latencies_us);
    if (bench.flags.keep)
        log_info("the journal is in %s", bench.path);
    else
        each_file(&bench, true);
    return good ? 0 : 1;
}
