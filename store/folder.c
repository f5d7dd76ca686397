/* The journal's folder: made, held by one process, and never one that belongs to something else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "store/local.h"

#define LOCK_FILE "rill.lock"

/* Makes a folder's name in its parent survive a power cut. False with errno. */
static bool parent_sync(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *parent = length == 0 ? xstrdup(".") : strndup(path, length);
    ensure(parent != NULL);
    int descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(parent);
    if (descriptor < 0)
        return false;
    bool synced = fsync(descriptor) == 0;
    int error = errno;
    close(descriptor);
    errno = error;
    return synced;
}

/* One that is there may be a moment old: made by the program that opens the journal, or by a start that was killed before
 * it could sync. Parents that are not ours to read, or of a file system without sync, hold nothing of ours that is new. */
static bool level_make(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return parent_sync(path);
    if (errno != EEXIST)
        return false;
    return parent_sync(path) || errno == EACCES || errno == EINVAL || errno == EROFS;
}

enum store_error store_folder_make(const char *path, const struct refusal *refusal)
{
    char *part = xstrdup(path);
    bool made = true;
    for (char *at = part + 1; made && *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        made = level_make(part);
        *at = '/';
    }
    made = made && level_make(part);
    int error = errno;
    free(part);
    struct stat status;
    if (made && stat(path, &status) == 0 && !S_ISDIR(status.st_mode)) {
        made = false;
        error = ENOTDIR;
    }
    if (!made)
        return store_refuse(refusal, STORE_UNWRITABLE,
                            "%s: cannot make this folder: %s; name one that can be written", path,
                            strerror(error));
    return STORE_OK;
}

static bool name_starts(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

static bool name_ends(const char *name, const char *end)
{
    size_t length = strlen(name), end_length = strlen(end);
    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

/* RocksDB's files of data: where they are, there was a database. */
static bool name_is_data(const char *name)
{
    return name_ends(name, ".sst") || name_ends(name, ".log");
}

/* What a journal's folder may hold besides. "lost+found" is what a file system of its own brings along. */
static bool name_is_ours(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, LOCK_FILE) == 0 ||
           strcmp(name, "LOCK") == 0 || strcmp(name, "IDENTITY") == 0 || strcmp(name, "lost+found") == 0 ||
           name_starts(name, "LOG") || name_starts(name, "MANIFEST-") || name_starts(name, "OPTIONS-") ||
           name_starts(name, TABLE_FILE) || name_starts(name, FILTER_FILE) || name_ends(name, ".dbtmp");
}

enum store_error store_folder_judge(const char *path, bool *database_exists, const struct refusal *refusal)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return store_refuse(refusal, STORE_UNWRITABLE,
                            "%s: cannot read this folder: %s; allow it or name another", path,
                            strerror(errno));
    bool current = false, data = false;
    char stranger[NAME_MAX + 1] = "";
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, "CURRENT") == 0)
            current = true;
        else if (name_is_data(entry->d_name))
            data = true;
        else if (!name_is_ours(entry->d_name))
            snprintf(stranger, sizeof stranger, "%s", entry->d_name);
    }
    closedir(folder);
    *database_exists = current;
    if (current)
        return STORE_OK; /* strangers in a journal's folder do no harm */
    if (stranger[0] != '\0')
        return store_refuse(refusal, STORE_FOREIGN,
                            "%s: no journal, and not empty (\"%s\"); name an empty folder", path, stranger);
    /* RocksDB writes CURRENT before any data, and would now start anew over what is left of the old. */
    if (data)
        return store_refuse(
            refusal, STORE_CORRUPT,
            "%s: damaged: the file CURRENT is missing; keep a copy and restore the folder from a backup",
            path);
    return STORE_OK;
}

static enum store_error lock_taken(const char *path, int descriptor, const struct refusal *refusal)
{
    char holder[24] = "";
    ssize_t length = pread(descriptor, holder, sizeof holder - 1, 0);
    close(descriptor);
    long process = length > 0 ? strtol(holder, NULL, 10) : 0;
    if (process <= 0)
        return store_refuse(refusal, STORE_LOCKED,
                            "%s: already open in another process; stop that one, or name another folder",
                            path);
    return store_refuse(refusal, STORE_LOCKED,
                        "%s: already open in process %ld; stop that one, or name another folder", path,
                        process);
}

enum store_error store_folder_lock(const char *path, int *descriptor, const struct refusal *refusal)
{
    /* flock, not fcntl: it also holds against a second open in this process, and ends with the process. */
    size_t size = strlen(path) + sizeof "/" LOCK_FILE;
    char *name = xmalloc(size);
    snprintf(name, size, "%s/" LOCK_FILE, path);
    int lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(name);
    if (lock < 0)
        return store_refuse(refusal, STORE_UNWRITABLE,
                            "%s: cannot write to this folder: %s; allow it or name another", path,
                            strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return lock_taken(path, lock, refusal);
        int error = errno;
        close(lock);
        return store_refuse(refusal, STORE_UNWRITABLE, "%s: cannot lock this folder: %s; use a local disk",
                            path, strerror(error));
    }
    /* Only for the message above, so a disk too full for it is no reason to stop here. */
    if (ftruncate(lock, 0) == 0)
        dprintf(lock, "%ld\n", (long)getpid());
    *descriptor = lock;
    return STORE_OK;
}
