/* The hub as its operator meets it: what cannot run says why in one line and ends with the right exit code; what can be
 * waited for is waited for; ledgers and disks that go away while it runs. */
#include "tests/e2e/wire_client.h"

#include <jansson.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store/store.h"

struct world {
    struct hub_stage *stage;
    char folder[160]; /* a fresh data folder and log for each test */
    unsigned tests;
};

static int world_open(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->stage = stage_open(NULL);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    stage_close(world->stage);
    free(world);
    return 0;
}

static int fresh_hub(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    world->tests++;
    snprintf(stage->hub_folder, sizeof stage->hub_folder, "%s/hub-%u", stage->folder, world->tests);
    snprintf(stage->hub_log, sizeof stage->hub_log, "%s/hub-%u.log", stage->folder, world->tests);
    return 0;
}

static int no_hub(void **state)
{
    struct world *world = *state;
    process_end(&world->stage->hubd, SIGKILL);
    return 0;
}

/* ---- what cannot run ---- */

static size_t count_of(const char *text, const char *words)
{
    size_t count = 0;
    for (const char *at = strstr(text, words); at != NULL; at = strstr(at + 1, words))
        count++;
    return count;
}

static bool hub_has_ended(void *context)
{
    return !hub_is_running(context);
}

/* Starts the hub with these flags over the usual ones; it must end by itself with this code, after one line that says
 * these words. Wrong usage is one line in all, anything later one line of level error. */
static void refuses(struct world *world, const char *const *flags, int code, const char *words)
{
    struct hub_stage *stage = world->stage;
    remove(stage->hub_log);
    hub_launch(stage, flags);
    if (!holds_in_time(stage, hub_has_ended, stage))
        fail_with_log(stage, words);
    int ended = process_end(&stage->hubd, 0);
    char *text = file_text(stage->hub_log);
    size_t errors = code == 2 && strstr(text, " error ") == NULL ? count_of(text, "\n") : count_of(text, " error ");
    if (ended != code || strstr(text, words) == NULL || errors != 1)
        fail_msg("exit %d, not %d with '%s' in one line:\n%s", ended, code, words, text);
    free(text);
}

#define REFUSES(world, code, words, ...)                                                                     \
    refuses(world, (const char *const[]){__VA_ARGS__, NULL}, code, words)

static void test_wrong_flags(void **state)
{
    struct world *world = *state;
    REFUSES(world, 2, "--listen", "--lissten", "127.0.0.1:0");
    REFUSES(world, 2, "--fee-ppm", "--fee-pm", "3");
    REFUSES(world, 2, "from 0 to 10000", "--confirmations", "10001");
    REFUSES(world, 2, "from 0 to 10000", "--confirmations", "three");
    REFUSES(world, 2, "from 0 to 10000", "--confirmations", "-1");
    REFUSES(world, 2, "--poll-ms", "--poll-ms");
    REFUSES(world, 2, "none of debug|info|warn|error", "--log-level", "loud");
    REFUSES(world, 2, "word", "word");
    REFUSES(world, 2, "--min-lock", "--min-lock", "10", "--max-lock", "9");
    REFUSES(world, 2, "--reveal-margin-s", "--reveal-margin-s", "300");
    REFUSES(world, 2, "--tower-address", "--tower", "127.0.0.1:1");
    REFUSES(world, 2, "--contract", "--contract", "0x1234");
    REFUSES(world, 2, "nowhere.conf", "--config", "/nowhere.conf");
    REFUSES(world, 1, "ADDRESS:PORT", "--http", "here");
}

static void test_help_and_version(void **state)
{
    struct world *world = *state;
    struct process process;
    char path[256], line[256];
    const char *const help[] = {process_path("rill-hubd", path, sizeof path), "--help", NULL};
    const char *const version[] = {path, "--version", NULL};
    (void)world;
    assert_true(process_start(&process, help, ""));
    assert_true(process_line(&process, "  --settle-window-s SECONDS", line, sizeof line, PATIENCE_MS));
    assert_true(process_line(&process, "A flag wins", line, sizeof line, PATIENCE_MS));
    assert_int_equal(process_end(&process, 0), 0);
    assert_true(process_start(&process, version, ""));
    assert_true(process_line(&process, "rill-hubd ", line, sizeof line, PATIENCE_MS));
    assert_int_equal(process_end(&process, 0), 0);
}

static void test_keys_and_passphrases(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    char wrong[160], stranger[160], broken[160];
    struct secret_key key = key_of("not the hub");
    snprintf(wrong, sizeof wrong, "%s/wrong.pass", stage->folder);
    snprintf(stranger, sizeof stranger, "%s/stranger.json", stage->folder);
    snprintf(broken, sizeof broken, "%s/broken.json", stage->folder);
    write_file(wrong, "not it\n");
    write_file(broken, "{\"version\":3");
    ensure(keystore_create(stranger, PASSPHRASE, &key, 2) == KEYSTORE_OK);
    REFUSES(world, 1, "/nowhere.json", "--key-file", "/nowhere.json");
    REFUSES(world, 1, "broken.json", "--key-file", broken);
    REFUSES(world, 1, "passphrase", "--passphrase-file", wrong);
    REFUSES(world, 1, "/nowhere.pass", "--passphrase-file", "/nowhere.pass");
    REFUSES(world, 1, "the contract belongs to hub", "--key-file", stranger);
}

static void test_ports_that_are_taken(void **state)
{
    struct world *world = *state;
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%s", world->stage->ledger_port);
    REFUSES(world, 1, world->stage->ledger_port, "--http", taken);
    REFUSES(world, 1, world->stage->ledger_port, "--listen", taken);
    REFUSES(world, 1, "192.0.2.1", "--listen", "192.0.2.1:0"); /* an address of no interface here */
}

static void test_folders_that_cannot_be_used(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    char inside_a_file[160], journal[200], taken[128];
    snprintf(inside_a_file, sizeof inside_a_file, "%s/data", stage->passphrase_file);
    REFUSES(world, 1, inside_a_file, "--data", inside_a_file);
    REFUSES(world, 1, "/proc/none", "--data", "/proc/none");
    snprintf(journal, sizeof journal, "%s/journal", stage->hub_folder);
    folder_remove(stage->hub_folder); /* an earlier attempt has made it */
    ensure(mkdir(stage->hub_folder, 0700) == 0);
    write_file(journal, "not a journal\n");
    REFUSES(world, 1, journal, "--log-level", "info");
    remove(journal);
    hub_start(stage, NULL);
    struct process first = stage->hubd;
    snprintf(taken, sizeof taken, "%s", stage->hub_folder);
    snprintf(stage->hub_log, sizeof stage->hub_log, "%s/second.log", stage->folder);
    REFUSES(world, 1, "in use", "--data", taken);
    stage->hubd = first;
    hub_stop(stage);
}
