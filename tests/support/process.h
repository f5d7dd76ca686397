/* Real programs in tests: started, read from, ended. All of them are children of the test. */
#ifndef RILL_TESTS_SUPPORT_PROCESS_H
#define RILL_TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid;  /* 0: not running */
    int output; /* its stdout; -1 if closed */
};

/* The path of a program: folder RILL_BIN, or build/debug/bin. */
const char *process_path(const char *program, char *out, size_t size);
/* Starts argv[0] (a path) with arguments up to NULL. Its stderr goes to the file, "" for the test's own. The
 * child dies with the test. False: it could not be started. */
bool process_start(struct process *process, const char *const argv[], const char *error_file);
/* Reads its stdout, up to a line that begins with `prefix`, into line; at most timeout_ms. False: it ended,
 * or time ran out. */
bool process_line(struct process *process, const char *prefix, char *line, size_t size, int timeout_ms);
/* Sends the signal and waits until it has ended, at most 10 s, then SIGKILL. Returns the exit code, or minus
 * the signal that ended it. */
int process_end(struct process *process, int signal_number);

/* A new folder below /tmp; its path in out. */
void folder_make(char *out, size_t size);
/* Removes it and everything in it. */
void folder_remove(const char *path);

#endif
