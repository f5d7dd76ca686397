/* Real processes that die: killed at any moment, and stopped by a full disk.
 *
 * The dying process is this program again: `test_crash append FOLDER` appends the fixture's history for as
 * long as it lives and writes each durable sequence (8 bytes) to standard output; `fill` does so under a
 * limit on file sizes.
 */
#include "tests/store/journal_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define SEED             33
#define KILLS            40
#define CHECKPOINT_BYTES 6000
#define FILE_LIMIT_BYTES (1 << 20)

/* ---- the process that dies ---- */

static int report(uint64_t durable)
{
    uint8_t bytes[8];
    store_be64(bytes, durable);
    return write(STDOUT_FILENO, bytes, sizeof bytes) == (ssize_t)sizeof bytes ? 0 : 1;
}

static int child_append(const char *path, uint64_t checkpoint_bytes)
{
    struct store_options options = fixture_options(path);
    options.checkpoint_bytes = checkpoint_bytes;
    options.queue_bytes_max = 64 << 10;
    struct journal *journal = NULL;
    char message[512];
    if (store_open(&options, &journal, message, sizeof message) != STORE_OK) {
        fprintf(stderr, "%s\n", message);
        return 3;
    }
    struct fixture_replay replay;
    if (!fixture_recover(journal, SEED, &replay))
        return 4;
    for (uint64_t reported = 0;;) {
        uint64_t sequence = fixture_append(journal, SEED, &replay.seen);
        if (sequence != replay.seen.last)
            return 5;
        uint64_t durable = journal_durable(journal);
        if (durable > reported && report(durable) != 0)
            return 6;
        reported = durable;
    }
}

static int child_fill(const char *path)
{
    struct rlimit limit = {FILE_LIMIT_BYTES, FILE_LIMIT_BYTES};
    signal(SIGXFSZ, SIG_IGN); /* so that the write fails as on a full disk */
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    return child_append(path, 0);
}

/* ---- the test ---- */

struct child {
    pid_t process;
    int reports;      /* its standard output */
    uint64_t durable; /* highest sequence it reported */
    uint8_t partial[8];
    size_t partial_length;
};

extern char **environ;

static void child_start(struct child *child, const char *mode, const char *path, const char *log)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char *arguments[] = {"test_crash", (char *)mode, (char *)path, NULL};
    *child = (struct child){.reports = ends[0]};
    assert_int_equal(posix_spawn(&child->process, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
}

/* Reads what the child has reported. Returns false at the end. */
static bool child_read(struct child *child)
{
    uint8_t bytes[4096];
    ssize_t length = read(child->reports, bytes, sizeof bytes);
    assert_true(length >= 0);
    for (ssize_t i = 0; i < length; i++) {
        child->partial[child->partial_length++] = bytes[i];
        if (child->partial_length < sizeof child->partial)
            continue;
        uint64_t durable = load_be64(child->partial);
        assert_true(durable > child->durable);
        child->durable = durable;
        child->partial_length = 0;
    }
    return length > 0;
}

/* Listens to the child for this long, from its start or from its first report. */
static void child_listen(struct child *child, uint64_t time_us, bool from_first_report)
{
    uint64_t end = clock_monotonic_us() + (from_first_report ? 30000000 : time_us);
    bool counting = !from_first_report;
    for (uint64_t now; (now = clock_monotonic_us()) < end;) {
        struct pollfd poll_on = {.fd = child->reports, .events = POLLIN};
        if (poll(&poll_on, 1, (int)((end - now) / 1000 + 1)) == 1 && !child_read(child))
            return;
        if (!counting && child->durable > 0) {
            counting = true;
            end = clock_monotonic_us() + time_us;
        }
    }
    assert_true(counting); /* it did start */
}

/* Its status, once all it reported has been read. */
static int child_end(struct child *child)
{
    while (child_read(child))
        continue;
    int status;
    assert_int_equal(waitpid(child->process, &status, 0), child->process);
    close(child->reports);
    return status;
}

/* Replays the journal: it must be a whole history, at least as long as `reported`. Returns its length. */
static uint64_t check_history(const char *path, uint64_t checkpoint_bytes, uint64_t reported)
{
    struct store_options options = fixture_options(path);
    options.checkpoint_bytes = checkpoint_bytes;
    struct journal *journal = fixture_open(&options);
    struct fixture_replay replay;
    assert_true(fixture_recover(journal, SEED, &replay));
    assert_int_equal(journal_durable(journal), replay.seen.last);
    assert_true(replay.seen.last >= reported);
    fixture_check_archive(journal, replay.seen.last);
    journal_close(journal);
    return replay.seen.last;
}

static void kills_lose_nothing_that_was_durable(void **state)
{
    (void)state;
    char *path = fixture_folder_make(), folder[128], log[128];
    snprintf(folder, sizeof folder, "%s/journal", path);
    snprintf(log, sizeof log, "%s/log", path);
    struct fixture_random random = {SEED};
    uint64_t length = 0, reports = 0;
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        struct child child;
        child_start(&child, "append", folder, log);
        /* Half of them while they open and replay, half in the middle of work. */
        child_listen(&child, fixture_random_below(&random, 60000), kill_number % 2 == 0);
        kill(child.process, SIGKILL);
        int status = child_end(&child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        reports += child.durable > 0;
        uint64_t least = child.durable > length ? child.durable : length;
        /* Some are reopened by the next child only: crash upon crash. */
        length = kill_number % 3 == 0 ? check_history(folder, CHECKPOINT_BYTES, least) : least;
    }
    assert_true(reports >= KILLS / 2);
    assert_true(check_history(folder, CHECKPOINT_BYTES, length) > 100);
    fixture_folder_remove(path);
}

/* The child must have stopped by itself, saying why, after making something durable. */
static void check_stopped(struct child *child, const char *log, const char *reason)
{
    int status = child_end(child);
    char text[4096] = "";
    int descriptor = open(log, O_RDONLY);
    assert_true(descriptor >= 0);
    ssize_t length = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    assert_true(length > 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != STORE_EXIT_FATAL ||
        strstr(text, "cannot write") == NULL || strstr(text, reason) == NULL ||
        strstr(text, "make the disk usable") == NULL)
        fail_msg("status %x, log: %s", (unsigned)status, text);
    assert_true(child->durable > 0);
}

static void a_file_that_cannot_grow_stops_the_process(void **state)
{
    (void)state;
    char *path = fixture_folder_make(), folder[128], log[128];
    snprintf(folder, sizeof folder, "%s/journal", path);
    snprintf(log, sizeof log, "%s/log", path);
    struct child child;
    child_start(&child, "fill", folder, log);
    check_stopped(&child, log, "File too large");
    uint64_t length = check_history(folder, 0, child.durable);
    assert_int_equal(check_history(folder, 0, length), length);
    fixture_folder_remove(path);
}

/* Takes what space is left. */
static void fill_disk(const char *file)
{
    static const uint8_t zeros[4096];
    int descriptor = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(descriptor >= 0);
    for (size_t size = sizeof zeros; size > 0; size /= 2)
        while (write(descriptor, zeros, size) > 0)
            continue;
    close(descriptor);
}

static bool mounts_work; /* set before any thread runs */

static void a_full_disk_stops_the_process(void **state)
{
    (void)state;
    char *path = fixture_folder_make(), disk[128], folder[160], filler[160], log[128];
    snprintf(disk, sizeof disk, "%s/disk", path);
    snprintf(folder, sizeof folder, "%s/journal", disk);
    snprintf(filler, sizeof filler, "%s/filler", disk);
    snprintf(log, sizeof log, "%s/log", path);
    assert_int_equal(mkdir(disk, 0700), 0);
    if (!mounts_work || mount("none", disk, "tmpfs", 0, "size=4m") != 0) {
        fixture_folder_remove(path);
        skip(); /* needs root; the test above covers the rest */
    }
    struct child child;
    child_start(&child, "append", folder, log);
    check_stopped(&child, log, "No space left on device");

    fill_disk(filler);
    struct store_options options = fixture_options(folder);
    fixture_refused(&options, STORE_UNWRITABLE, "No space left on device", "make the disk usable");
    assert_int_equal(mount("none", disk, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    uint64_t length = check_history(folder, CHECKPOINT_BYTES, child.durable);
    assert_int_equal(check_history(folder, CHECKPOINT_BYTES, length), length);
    assert_int_equal(umount(disk), 0);
    fixture_folder_remove(path);
}

int main(int argument_count, char **arguments)
{
    if (argument_count == 3 && strcmp(arguments[1], "append") == 0)
        return child_append(arguments[2], CHECKPOINT_BYTES);
    if (argument_count == 3 && strcmp(arguments[1], "fill") == 0)
        return child_fill(arguments[2]);
    /* Mounts of our own, gone with this process. */
    mounts_work = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_lose_nothing_that_was_durable),
        cmocka_unit_test(a_file_that_cannot_grow_stops_the_process),
        cmocka_unit_test(a_full_disk_stops_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
