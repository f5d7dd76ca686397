#include "bench/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static void pause_ms(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL); /* allowed: polls for a file or an exit, bounded by the caller */
}

/* Between fork and exec: only calls that are safe there. */
static _Noreturn void become(const char *log, const char *const *arguments)
{
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int input = open("/dev/null", O_RDONLY);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* Ctrl-C is for the parent, which ends its children in their order */
    if (output >= 0 && input >= 0 && dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(output, 2) >= 0)
        execv(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

bool child_start(struct child *child, const char *name, const char *log, const char *const *arguments,
                 char *message, size_t message_size)
{
    if (access(arguments[0], X_OK) != 0) {
        snprintf(message, message_size, "%s is not there: run make first", arguments[0]);
        return false;
    }
    snprintf(child->name, sizeof(child->name), "%s", name);
    snprintf(child->log, sizeof(child->log), "%s", log);
    child->pid = fork();
    if (child->pid == 0)
        become(log, arguments);
    if (child->pid < 0) {
        child->pid = 0;
        snprintf(message, message_size, "%s cannot be started: %s", name, strerror(errno));
        return false;
    }
    return true;
}

bool child_is_running(struct child *child)
{
    if (child->pid == 0)
        return false;
    if (waitpid(child->pid, NULL, WNOHANG) == 0)
        return true;
    child->pid = 0;
    return false;
}

bool child_wait_file(struct child *child, const char *file, uint32_t timeout_ms, char *out, size_t out_size)
{
    uint64_t until = clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
    do {
        FILE *handle = fopen(file, "r");
        bool got = handle != NULL && fgets(out, (int)out_size, handle) != NULL && strchr(out, '\n') != NULL;
        if (handle != NULL)
            fclose(handle);
        if (got) {
            out[strcspn(out, "\n")] = '\0';
            return true;
        }
        pause_ms(10);
    } while (child_is_running(child) && clock_monotonic_us() < until);
    return false;
}

static int reap(struct child *child)
{
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    child->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int child_stop(struct child *child, uint32_t timeout_ms)
{
    if (child->pid == 0)
        return 0;
    kill(child->pid, SIGTERM);
    uint64_t until = clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
    siginfo_t info = {0};
    while (clock_monotonic_us() < until) {
        if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == child->pid)
            return reap(child);
        pause_ms(10);
    }
    kill(child->pid, SIGKILL);
    return reap(child);
}

void child_kill(struct child *child)
{
    if (child->pid == 0)
        return;
    kill(child->pid, SIGKILL);
    reap(child);
}

void child_cpu_split(const struct child *child, uint64_t *user_us, uint64_t *system_us)
{
    char path[64], text[1024];
    *user_us = *system_us = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)child->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *at =
        strrchr(text, ')'); /* proc(5): the name may hold anything; utime and stime are fields 14, 15 */
    unsigned long long user = 0, system = 0;
    if (at == NULL ||
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return;
    uint64_t tick_us = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    *user_us = user * tick_us;
    *system_us = system * tick_us;
}

uint64_t child_cpu_us(const struct child *child)
{
    uint64_t user_us, system_us;
    child_cpu_split(child, &user_us, &system_us);
    return user_us + system_us;
}

uint64_t child_rss_kib(const struct child *child)
{
    char path[64];
    unsigned long long pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)child->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

void program_folder(char *out, size_t out_size)
{
    ssize_t length = readlink("/proc/self/exe", out, out_size - 1);
    out[length < 0 ? 0 : length] = '\0';
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        *slash = '\0';
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
