#include "tests/support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *process_path(const char *program, char *out, size_t size)
{
    const char *folder = getenv("RILL_BIN");
    snprintf(out, size, "%s/%s", folder != NULL ? folder : "build/debug/bin", program);
    return out;
}

bool process_start(struct process *process, const char *const argv[], const char *error_file)
{
    int ends[2];
    *process = (struct process){.output = -1};
    if (access(argv[0], X_OK) != 0 || pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        dup2(ends[1], STDOUT_FILENO);
        int errors = *error_file == '\0' ? -1 : open(error_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (errors >= 0)
            dup2(errors, STDERR_FILENO);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    process->pid = pid;
    process->output = ends[0];
    return true;
}

static int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Reads one line without its newline; what does not fit is dropped. */
static bool read_line(struct process *process, char *line, size_t size, int64_t until_ms)
{
    size_t length = 0;
    for (;;) {
        struct pollfd wait = {.fd = process->output, .events = POLLIN};
        int64_t left = until_ms - now_ms();
        char byte;
        if (left <= 0 || poll(&wait, 1, (int)left) <= 0 || read(process->output, &byte, 1) != 1)
            return false;
        if (byte == '\n')
            break;
        if (length + 1 < size)
            line[length++] = byte;
    }
    line[length] = '\0';
    return true;
}

bool process_line(struct process *process, const char *prefix, char *line, size_t size, int timeout_ms)
{
    int64_t until_ms = now_ms() + timeout_ms;
    while (read_line(process, line, size, until_ms))
        if (strncmp(line, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

int process_end(struct process *process, int signal_number)
{
    int status = 0;
    if (process->pid == 0)
        return 0;
    kill(process->pid, signal_number);
    int64_t until_ms = now_ms() + 10000;
    pid_t ended;
    while ((ended = waitpid(process->pid, &status, WNOHANG)) == 0) {
        if (now_ms() > until_ms)
            kill(process->pid, SIGKILL);
        poll(NULL, 0, 10);
    }
    close(process->output);
    *process = (struct process){.output = -1};
    if (ended < 0)
        return -1;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void folder_make(char *out, size_t size)
{
    snprintf(out, size, "/tmp/rill-test-XXXXXX");
    if (mkdtemp(out) == NULL)
        abort();
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
