/* The test's side of the faults: the file that is mapped, and a program started with the library in front. */
#ifndef RILL_TESTS_FAULTS_ARM_H
#define RILL_TESTS_FAULTS_ARM_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/ensure.h"
#include "tests/faults/faults.h"

#define FAULTS_LIBRARY "build/faults/libfaults.so"

struct armed {
    char path[192];
    struct faults *faults;
};

/* A file of its own for a program, in this folder. */
static inline void armed_open(struct armed *armed, const char *folder, const char *name)
{
    snprintf(armed->path, sizeof armed->path, "%s/%s.faults", folder, name);
    int descriptor = open(armed->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(descriptor >= 0 && ftruncate(descriptor, sizeof(struct faults)) == 0);
    armed->faults = mmap(NULL, sizeof(struct faults), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    ensure(armed->faults != MAP_FAILED);
    close(descriptor);
}

static inline void armed_close(struct armed *armed)
{
    if (armed->faults != NULL)
        munmap(armed->faults, sizeof(struct faults));
    armed->faults = NULL;
}

/* What is started until faults_environment_end has the library in front. log may be NULL. */
static inline void faults_environment(const struct armed *armed, const char *log, char role)
{
    char library[512], folder[400], letter[2] = {role, '\0'};
    ensure(getcwd(folder, sizeof folder) != NULL);
    snprintf(library, sizeof library, "%s/%s", folder, FAULTS_LIBRARY);
    ensure(access(library, R_OK) == 0);
    setenv("LD_PRELOAD", library, 1);
    setenv("RILL_FAULTS", armed->path, 1);
    if (log != NULL)
        setenv("RILL_WIRE_LOG", log, 1);
    setenv("RILL_WIRE_ROLE", letter, 1);
}

static inline void faults_environment_end(void)
{
    unsetenv("LD_PRELOAD");
    unsetenv("RILL_FAULTS");
    unsetenv("RILL_WIRE_LOG");
    unsetenv("RILL_WIRE_ROLE");
}

/* The n-th call of this kind from now on. */
static inline void faults_arm(struct armed *armed, enum fault_call call, enum fault_kind kind, uint64_t n,
                              bool from_on)
{
    struct faults *faults = armed->faults;
    atomic_store(&faults->at, 0);
    atomic_store(&faults->happened, 0);
    atomic_store(&faults->call, (uint32_t)call);
    atomic_store(&faults->kind, (uint32_t)kind);
    atomic_store(&faults->from_on, from_on);
    atomic_store(&faults->at, atomic_load(&faults->calls[call]) + n);
}

static inline void faults_disarm(struct armed *armed)
{
    atomic_store(&armed->faults->at, 0);
}

#endif
