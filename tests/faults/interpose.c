#include "tests/faults/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct faults *faults;
static int wire_log = -1;
static uint32_t wire_role;

static void record(enum wire_record_kind kind, const void *connection, int64_t length, const void *bytes)
{
    if (wire_log < 0)
        return;
    struct wire_record head = {(uint32_t)kind, wire_role, getpid(), (uint64_t)(uintptr_t)connection, length};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)bytes, (size_t)length}};
    (void)!syscall(SYS_writev, wire_log, parts, bytes != NULL ? 2 : 1);
}

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("RILL_FAULTS"), *log = getenv("RILL_WIRE_LOG"),
               *role = getenv("RILL_WIRE_ROLE");
    int descriptor = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (descriptor >= 0) {
        void *memory = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
        close(descriptor);
        faults = memory == MAP_FAILED ? NULL : memory;
    }
    if (log == NULL)
        return;
    wire_log = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    wire_role = role == NULL ? 0 : (uint32_t)role[0];
    record(WIRE_PROCESS, NULL, 0, NULL);
}

/* A file of a journal's database, but not what it writes about itself for people (LOG). */
static bool is_of_database(const char *name)
{
    const char *end = strrchr(name, '.');
    if (strncmp(name, "MANIFEST-", 9) == 0)
        return true;
    return end != NULL && ((strspn(name, "0123456789") == (size_t)(end - name) && strcmp(end, ".log") == 0) ||
                           strcmp(end, ".sst") == 0 || strcmp(end, ".dbtmp") == 0);
}

static bool is_journal(int descriptor)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = '\0';
    const char *name = strrchr(path, '/');
    return name != NULL && is_of_database(name + 1);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Counts the call. What is to become of it. */
static enum fault_kind look(enum fault_call call)
{
    uint64_t number = atomic_fetch_add(&faults->calls[call], 1) + 1, at = atomic_load(&faults->at);
    if (at == 0 || number < at || atomic_load(&faults->call) != (uint32_t)call)
        return FAULT_NONE;
    enum fault_kind kind = (enum fault_kind)atomic_load(&faults->kind);
    if (number > at && !atomic_load(&faults->from_on))
        return FAULT_NONE;
    atomic_fetch_add(&faults->happened, 1);
    if (kind == FAULT_KILL_BEFORE)
        die();
    return kind;
}

/* Returns true if the write fails, with errno set; *length may become less. */
static bool write_fails(int descriptor, size_t *length, enum fault_kind *kind)
{
    *kind = FAULT_NONE;
    if (faults == NULL || !is_journal(descriptor))
        return false;
    *kind = look(FAULT_WRITE);
    if (*kind == FAULT_SHORT && atomic_load(&faults->happened) == 1 && *length > 1) {
        *length /= 2;
        return false;
    }
    errno = *kind == FAULT_EIO ? EIO : ENOSPC;
    return *kind == FAULT_EIO || *kind == FAULT_ENOSPC || *kind == FAULT_SHORT;
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    enum fault_kind kind;
    if (write_fails(descriptor, &length, &kind))
        return -1;
    ssize_t result = syscall(SYS_write, descriptor, bytes, length);
    if (kind == FAULT_KILL_AFTER)
        die();
    return result;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset)
{
    enum fault_kind kind;
    if (write_fails(descriptor, &length, &kind))
        return -1;
    ssize_t result = syscall(SYS_pwrite64, descriptor, bytes, length, offset);
    if (kind == FAULT_KILL_AFTER)
        die();
    return result;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off_t offset)
{
    return pwrite(descriptor, bytes, length, offset);
}

static int sync_file(int descriptor, long call)
{
    enum fault_kind kind = faults != NULL && is_journal(descriptor) ? look(FAULT_SYNC) : FAULT_NONE;
    if (kind == FAULT_EIO || kind == FAULT_ENOSPC || kind == FAULT_SHORT) {
        errno = kind == FAULT_EIO ? EIO : ENOSPC;
        return -1;
    }
    int result = (int)syscall(call, descriptor);
    if (kind == FAULT_KILL_AFTER)
        die();
    return result;
}

int fsync(int descriptor)
{
    return sync_file(descriptor, SYS_fsync);
}

int fdatasync(int descriptor)
{
    return sync_file(descriptor, SYS_fdatasync);
}

/* ---- TLS ---- */

typedef struct ssl_st SSL;

int SSL_set_fd(SSL *ssl, int descriptor);
int SSL_write(SSL *ssl, const void *bytes, int length);

int SSL_set_fd(SSL *ssl, int descriptor)
{
    static int (*next)(SSL *, int);
    if (next == NULL)
        next = (int (*)(SSL *, int))dlsym(RTLD_NEXT, "SSL_set_fd");
    record(WIRE_CONNECTION, ssl, 0, NULL);
    return next(ssl, descriptor);
}

/* What is offered is noted before the call: should the process end inside, it may have left. */
int SSL_write(SSL *ssl, const void *bytes, int length)
{
    static int (*next)(SSL *, const void *, int);
    if (next == NULL)
        next = (int (*)(SSL *, const void *, int))dlsym(RTLD_NEXT, "SSL_write");
    enum fault_kind kind = faults != NULL ? look(FAULT_SEND) : FAULT_NONE;
    record(WIRE_OFFERED, ssl, length, bytes);
    int result = next(ssl, bytes, length);
    record(WIRE_TAKEN, ssl, result, NULL);
    if (kind == FAULT_KILL_AFTER)
        die();
    return result;
}
