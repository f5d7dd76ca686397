/* Child processes of the bench and the demo: started, waited for, ended by their own id and no other. */
#ifndef RILL_BENCH_SPAWN_H
#define RILL_BENCH_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid; /* 0: not running */
    char name[32];
    char log[512];
};

/* Starts a program (arguments[0] is its path, NULL ends them), its output appended to `log`. The child dies
 * with this process. Returns false, and one line in message, if it cannot be started. */
bool child_start(struct child *child, const char *name, const char *log, const char *const *arguments,
                 char *message, size_t message_size);
/* Waits until the file exists and has a line, or the child ends, or the time is up. The line goes to `out`.
 */
bool child_wait_file(struct child *child, const char *file, uint32_t timeout_ms, char *out, size_t out_size);
/* True while it runs; reaps it when it has ended. */
bool child_is_running(struct child *child);
/* SIGTERM, then SIGKILL after the time; reaps it. Returns its exit code, or 128 + the signal that ended it.
 */
int child_stop(struct child *child, uint32_t timeout_ms);
/* SIGKILL at once; reaps it. */
void child_kill(struct child *child);
/* User and system time so far, microseconds; 0 if it is gone. */
uint64_t child_cpu_us(const struct child *child);
void child_cpu_split(const struct child *child, uint64_t *user_us, uint64_t *system_us);
/* Resident memory, KiB. */
uint64_t child_rss_kib(const struct child *child);
/* Removes a folder and everything in it. */
void folder_remove(const char *path);
/* The folder of this very program, for finding the others beside it. */
void program_folder(char *out, size_t out_size);

#endif
