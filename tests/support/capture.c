#include "tests/support/capture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"

struct capture capture_begin(int descriptor)
{
    char path[] = "/tmp/rill-capture-XXXXXX";
    fflush(NULL);
    struct capture capture = {descriptor, dup(descriptor), mkstemp(path)};
    ensure(capture.original >= 0 && capture.file >= 0);
    ensure(unlink(path) == 0);
    ensure(dup2(capture.file, descriptor) == descriptor);
    return capture;
}

char *capture_end(struct capture *capture)
{
    fflush(NULL);
    ensure(dup2(capture->original, capture->descriptor) == capture->descriptor);
    close(capture->original);
    off_t length = lseek(capture->file, 0, SEEK_END);
    ensure(length >= 0);
    char *text = xcalloc((size_t)length + 1, 1);
    ensure(pread(capture->file, text, (size_t)length, 0) == (ssize_t)length);
    close(capture->file);
    return text;
}

bool capture_aborts(void (*run)(void *argument), void *argument)
{
    fflush(NULL);
    pid_t child = fork();
    ensure(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        int null = open("/dev/null", O_WRONLY);
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(null, STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        run(argument);
        _exit(0);
    }
    int status = 0;
    ensure(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
