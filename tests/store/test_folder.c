/* A journal's folder survives a power cut from the moment that the journal is open: each name on its way is synced in the
 * folder that has it. fsync is looked over the shoulder here. */
#include "tests/store/journal_fixture.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>

static _Thread_local bool is_watched; /* RocksDB's threads are not */
static char synced[64][PATH_MAX];
static size_t synced_count;
static const char *fails_at; /* this folder cannot be synced */
static int fails_with;

int fsync(int descriptor)
{
    char link[64], path[PATH_MAX] = "";
    if (!is_watched)
        return (int)syscall(SYS_fsync, descriptor);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ensure(readlink(link, path, sizeof path - 1) > 0);
    if (fails_at != NULL && strcmp(path, fails_at) == 0) {
        errno = fails_with;
        return -1;
    }
    if (synced_count < ARRAY_LENGTH(synced))
        memcpy(synced[synced_count++], path, sizeof path);
    return (int)syscall(SYS_fsync, descriptor);
}

static bool is_synced(const char *path)
{
    for (size_t i = 0; i < synced_count; i++)
        if (strcmp(synced[i], path) == 0)
            return true;
    return false;
}

static int make_folder(void **state)
{
    is_watched = true;
    synced_count = 0;
    fails_at = NULL;
    *state = fixture_folder_make();
    return 0;
}

static int remove_folder(void **state)
{
    fixture_folder_remove(*state);
    return 0;
}

static enum store_error open_in(const char *folder, char *message, size_t message_size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/data/journal", folder);
    struct store_options options = fixture_options(path);
    struct journal *journal;
    enum store_error error = store_open(&options, &journal, message, message_size);
    if (error == STORE_OK)
        journal_close(journal);
    return error;
}

static void names_that_are_new_are_synced(void **state)
{
    char data[PATH_MAX], message[512];
    snprintf(data, sizeof data, "%s/data", (const char *)*state);
    assert_int_equal(open_in(*state, message, sizeof message), STORE_OK);
    assert_true(is_synced(*state) && is_synced(data));
}

/* As the daemons do: their own files are in it, too. */
static void names_that_the_program_made_are_synced(void **state)
{
    char data[PATH_MAX], message[512];
    snprintf(data, sizeof data, "%s/data", (const char *)*state);
    assert_int_equal(mkdir(data, 0700), 0);
    assert_int_equal(open_in(*state, message, sizeof message), STORE_OK);
    assert_true(is_synced(*state) && is_synced(data));

    /* And what a start that was killed has left. */
    synced_count = 0;
    assert_int_equal(open_in(*state, message, sizeof message), STORE_OK);
    assert_true(is_synced(*state) && is_synced(data));
}

static void a_disk_that_does_not_sync_is_said(void **state)
{
    char data[PATH_MAX], message[512];
    snprintf(data, sizeof data, "%s/data", (const char *)*state);
    assert_int_equal(mkdir(data, 0700), 0);
    fails_at = *state;
    fails_with = EIO;
    assert_int_equal(open_in(*state, message, sizeof message), STORE_UNWRITABLE);
    fails_with = EINVAL; /* it knows no sync of folders */
    assert_int_equal(open_in(*state, message, sizeof message), STORE_OK);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(names_that_are_new_are_synced),
        WITH_FOLDER(names_that_the_program_made_are_synced),
        WITH_FOLDER(a_disk_that_does_not_sync_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
