/* What becomes of keys and passphrases, looked at from outside: the real programs play a day, and nothing that they print,
 * log or write has any of it, in any spelling; nothing of them can be dumped; a passphrase does not outlive the opening
 * of its keystore; and valgrind sees no branch of ours that depends on a key. */
#include "tests/e2e/hub_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define WORDS_MAX   24
#define SECRETS_MAX 64
#define VALGRIND    "/usr/bin/valgrind"
#define LEAK_FOUND  99

/* Ones that stand nowhere by chance. */
#define HUB_WORDS    "quince marmalade on a Tuesday"
#define TOWER_WORDS  "seven lighthouses, one keeper"
#define WALLET_WORDS "the heron waits under the weir"

/* ---- what must be nowhere, in every spelling ---- */

struct secret {
    char name[48];
    uint8_t bytes[160];
    size_t length;
};

static struct secret secrets[SECRETS_MAX];
static size_t secret_count;

static void add_secret(const char *name, const char *spelling, const void *bytes, size_t length)
{
    struct secret *secret = &secrets[secret_count++];
    ensure(secret_count <= SECRETS_MAX && length <= sizeof(secret->bytes));
    snprintf(secret->name, sizeof(secret->name), "%s, %s", name, spelling);
    memcpy(secret->bytes, bytes, length);
    secret->length = length;
}

static void base64_of(const uint8_t *data, size_t length, char *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | data[i];
        for (have += 8; have >= 6; have -= 6)
            *out++ = letters[bits >> (have - 6) & 63];
    }
    *out = '\0';
}

/* Half of a key is as bad as all of it, and a line may be cut. */
#define KEY_PART 16

static void add_key(const char *name, const struct secret_key *key)
{
    char text[2 * KEY_PART + 1], upper[2 * KEY_PART + 1];
    for (size_t at = 0; at < sizeof(key->bytes); at += KEY_PART) {
        add_secret(name, "as it is", key->bytes + at, KEY_PART);
        hex_encode(key->bytes + at, KEY_PART, text);
        add_secret(name, "hexadecimal", text, strlen(text));
        for (size_t i = 0; i <= strlen(text); i++)
            upper[i] = (char)(text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 'A' : text[i]);
        add_secret(name, "upper case", upper, strlen(upper));
    }
    char whole[64];
    base64_of(key->bytes, sizeof(key->bytes), whole);
    add_secret(name, "base64", whole, 42);
}

static void add_words(const char *name, const char *words)
{
    add_secret(name, "as it is", words, strlen(words));
}

/* NULL, or whose secret the bytes have. */
static const char *secret_in(const void *bytes, size_t length)
{
    for (size_t i = 0; i < secret_count; i++)
        if (memmem(bytes, length, secrets[i].bytes, secrets[i].length) != NULL)
            return secrets[i].name;
    return NULL;
}

static char finding[512];
static unsigned files_seen;

static int look_into(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)place;
    const char *end = strrchr(path, '.');
    if (type != FTW_F || (end != NULL && strcmp(end, ".pass") == 0))
        return 0; /* the passphrase files themselves */
    uint8_t *bytes = xmalloc((size_t)status->st_size + 1);
    FILE *file = fopen(path, "rb");
    ensure(file != NULL);
    size_t length = fread(bytes, 1, (size_t)status->st_size, file);
    fclose(file);
    const char *whose = secret_in(bytes, length);
    if (whose != NULL)
        snprintf(finding, sizeof(finding), "%s has the %s", path, whose);
    files_seen++;
    free(bytes);
    return whose != NULL;
}

/* "", or which file below has what. */
static const char *look_below(const char *folder)
{
    finding[0] = '\0';
    files_seen = 0;
    (void)nftw(folder, look_into, 16, FTW_PHYS);
    return finding;
}

/* ---- a day ---- */

struct day {
    struct hub_stage *stage;
    struct process towerd, listener;
    char output[128]; /* all that was printed, as a file */
    char hub_pass[128], hub_key[128], tower_key[128], hub[32], tower[128];
    char payer[128], shop[128];
};

/* Runs `rill words…`; what it prints joins the day's output. Returns its exit code. */
static int rill(struct day *day, char *out, size_t size, const char *const *words)
{
    char path[256];
    const char *argv[WORDS_MAX + 2] = {process_path("rill", path, sizeof(path))};
    for (size_t i = 0; words[i] != NULL; i++) {
        ensure(i < WORDS_MAX);
        argv[i + 1] = words[i];
    }
    struct process process;
    setenv("RILL_PASSPHRASE", WALLET_WORDS, 1);
    ensure(process_start(&process, argv, day->output));
    size_t length = 0;
    ssize_t got;
    while ((got = read(process.output, out + length, size - 1 - length)) > 0)
        length += (size_t)got;
    out[length] = '\0';
    FILE *file = fopen(day->output, "a");
    ensure(file != NULL && fwrite(out, 1, length, file) == length && fclose(file) == 0);
    return process_end(&process, 0);
}

/* Runs it; it must end well. */
static void rill_must(struct day *day, char *out, size_t size, const char *const *words)
{
    int code = rill(day, out, size, words);
    if (code == 0)
        return;
    char *said = file_text(day->output);
    size_t length = strlen(said);
    print_error("rill %s: exit code %d\n%s\n", words[0], code, length > 2000 ? said + length - 2000 : said);
    free(said);
    fail();
}
#define MUST(day, out, ...) rill_must(day, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})
#define RILL(day, out, ...) rill(day, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})

static void start_tower(struct day *day)
{
    struct hub_stage *stage = day->stage;
    struct secret_key key = key_of("the secrets' tower");
    struct address address = secret_key_address(&key);
    char path[256], data[160], log[160], line[256], text[ADDRESS_TEXT_SIZE], listen[64], host[64];
    unsigned port;
    snprintf(data, sizeof(data), "%s/tower", stage->folder);
    snprintf(log, sizeof(log), "%s/tower.log", stage->folder);
    ensure(keystore_create(day->tower_key, TOWER_WORDS, &key, 2) == KEYSTORE_OK);
    add_key("tower's key", &key);
    send_coins(stage, &stage->hub, &address, 1000000000);
    const char *const argv[] = {process_path("rill-towerd", path, sizeof(path)),
                                "--contract",
                                stage->contract_text,
                                "--ledger",
                                stage->url,
                                "--key-file",
                                day->tower_key,
                                "--data",
                                data,
                                "--confirmations",
                                "1",
                                "--poll-ms",
                                "20",
                                "--log-level",
                                "debug",
                                "--log-format",
                                "json",
                                "--listen",
                                "127.0.0.1:0",
                                "--http",
                                "127.0.0.1:0",
                                NULL};
    setenv("RILL_TOWERD_PASSPHRASE", TOWER_WORDS, 1); /* and not by a file: from the environment it must go */
    assert_true(process_start(&day->towerd, argv, log));
    unsetenv("RILL_TOWERD_PASSPHRASE");
    assert_true(process_line(&day->towerd, "rill-towerd ready", line, sizeof(line), PATIENCE_MS));
    assert_int_equal(sscanf(line, "rill-towerd ready: address %63s listen %63[^:]:%u", listen, host, &port),
                     3);
    snprintf(day->tower, sizeof(day->tower), "%s@127.0.0.1:%u", address_text(&address, text), port);
}

static void start_hub(struct day *day)
{
    struct hub_stage *stage = day->stage;
    snprintf(day->hub_key, sizeof(day->hub_key), "%s/hub-of-the-day.json", stage->folder);
    snprintf(day->hub_pass, sizeof(day->hub_pass), "%s/hub-of-the-day.pass", stage->folder);
    write_file(day->hub_pass, HUB_WORDS "\n");
    ensure(keystore_create(day->hub_key, HUB_WORDS, &stage->hub, 2) == KEYSTORE_OK);
    hub_start(stage, (const char *const[]){"--settle-interval-s", "1", "--min-lock", "100", "--key-file",
                                           day->hub_key, "--passphrase-file", day->hub_pass, "--log-format",
                                           "json", NULL});
    snprintf(day->hub, sizeof(day->hub), "127.0.0.1:%u", stage->hub_port);
}

/* Its key joins the secrets. */
static void make_wallet(struct day *day, const char *name, const char *home)
{
    char out[4096], path[160];
    struct secret_key key;
    MUST(day, out, "init", "--home", home, "--light", "--json");
    snprintf(path, sizeof(path), "%s/key.json", home);
    ensure(keystore_load(path, WALLET_WORDS, &key) == KEYSTORE_OK);
    add_key(name, &key);
    struct address address = secret_key_address(&key);
    send_coins(day->stage, &day->stage->hub, &address, 1000000000);
}

static int day_open(void **state)
{
    struct day *day = xcalloc(1, sizeof(*day));
    umask(0); /* what is private is made so, whatever the user's habits */
    /* Sanitizers would turn core dumps off by themselves. */
    setenv("ASAN_OPTIONS", "disable_coredump=0", 1);
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    day->stage = stage_open((const char *const[]){"--idle-block-ms", "60", NULL});
    const char *folder = day->stage->folder;
    snprintf(day->output, sizeof(day->output), "%s/printed", folder);
    snprintf(day->tower_key, sizeof(day->tower_key), "%s/tower.json", folder);
    snprintf(day->payer, sizeof(day->payer), "%s/payer", folder);
    snprintf(day->shop, sizeof(day->shop), "%s/shop", folder);
    add_key("hub's key", &day->stage->hub);
    add_words("hub's passphrase", HUB_WORDS);
    add_words("tower's passphrase", TOWER_WORDS);
    add_words("wallets' passphrase", WALLET_WORDS);
    start_tower(day);
    start_hub(day);
    setenv("RILL_HUB", day->hub, 1);
    setenv("RILL_LEDGER", day->stage->url, 1);
    setenv("RILL_CONTRACT", day->stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_TOWERS", day->tower, 1);
    make_wallet(day, "payer's key", day->payer);
    make_wallet(day, "shop's key", day->shop);
    *state = day;
    return 0;
}

/* Of a test that failed. */
static int stop_listener(void **state)
{
    struct day *day = *state;
    process_end(&day->listener, SIGKILL);
    return 0;
}

static int day_close(void **state)
{
    struct day *day = *state;
    process_end(&day->listener, SIGKILL);
    process_end(&day->towerd, SIGKILL);
    stage_close(day->stage);
    free(day);
    return 0;
}

/* ---- while they run ---- */

static void test_the_search_finds(void **state)
{
    struct day *day = *state;
    char path[160], text[65];
    assert_string_equal(look_below(day->stage->folder), "");
    snprintf(path, sizeof(path), "%s/planted", day->stage->folder);
    hex_encode(day->stage->hub.bytes, sizeof(day->stage->hub.bytes), text);
    write_file(path, text);
    assert_non_null(strstr(look_below(day->stage->folder), "planted has the hub's key, hexadecimal"));
    write_file(path, "passphrase: " WALLET_WORDS);
    assert_non_null(strstr(look_below(day->stage->folder), "planted has the wallets' passphrase"));
    remove(path);
}

static char *proc_text(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    return file_text(path);
}

static bool has_no_core(pid_t pid)
{
    char *text = proc_text(pid, "limits");
    const char *line = strstr(text, "Max core file size");
    unsigned long soft = 1, hard = 1;
    bool none = line != NULL && sscanf(line, "Max core file size %lu %lu", &soft, &hard) == 2 && soft == 0 &&
                hard == 0;
    free(text);
    return none;
}

/* A merchant's terminal that runs until it is told to stop. */
static void start_listener(struct day *day)
{
    char path[256], log[200];
    const char *const argv[] = {process_path("rill", path, sizeof(path)), "listen", "--home", day->shop,
                                NULL};
    snprintf(log, sizeof(log), "%s/listen.err", day->stage->folder);
    remove(log);
    setenv("RILL_PASSPHRASE", WALLET_WORDS, 1);
    ensure(process_start(&day->listener, argv, log));
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!file_says(log, "listening") && clock_monotonic_us() < until)
        poll(NULL, 0, 20);
    assert_true(file_says(log, "listening"));
}

static void test_no_core_dumps(void **state)
{
    struct day *day = *state;
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    start_listener(day);
    /* The ledger has no keys, and keeps what it was given: so these would have, too. */
    if (limit.rlim_cur > 0)
        assert_false(has_no_core(day->stage->ledgerd.pid));
    assert_true(has_no_core(day->stage->hubd.pid));
    assert_true(has_no_core(day->towerd.pid));
    assert_true(has_no_core(day->listener.pid));
    assert_int_equal(process_end(&day->listener, SIGTERM), 0);
}

static bool environment_has(pid_t pid, const char *words)
{
    char path[64];
    static char bytes[1 << 18];
    snprintf(path, sizeof(path), "/proc/%ld/environ", (long)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false; /* not root: nobody else may look */
    size_t length = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    return memmem(bytes, length, words, strlen(words)) != NULL;
}

/* A sanitizer keeps a copy of its own of the environment. */
static bool keeps_environment(pid_t pid)
{
    char *maps = proc_text(pid, "maps");
    bool keeps = strstr(maps, "libasan") != NULL;
    free(maps);
    return keeps;
}

/* Whether the memory that a process may write to has the words. *looked: how much of it could be seen. */
static bool memory_has(pid_t pid, const char *words, size_t *looked)
{
    char path[64], *maps = proc_text(pid, "maps");
    snprintf(path, sizeof(path), "/proc/%ld/mem", (long)pid);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    const size_t part = 1 << 20;
    uint8_t *bytes = xmalloc(part);
    bool found = false;
    for (char *line = maps; memory >= 0 && !found && *line != '\0'; line += strcspn(line, "\n") + 1) {
        unsigned long from, to;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 || rights[0] != 'r' || rights[1] != 'w' ||
            to - from > (256ul << 20))
            continue; /* read-only, or a sanitizer's shadow */
        for (unsigned long at = from; at < to && !found; at += part - 64) {
            ssize_t got = pread(memory, bytes, to - at < part ? to - at : part, (off_t)at);
            if (got <= 0)
                break;
            *looked += (size_t)got;
            found = memmem(bytes, (size_t)got, words, strlen(words)) != NULL;
        }
    }
    if (memory >= 0)
        close(memory);
    free(bytes);
    free(maps);
    return found;
}

static void test_no_passphrase_stays(void **state)
{
    struct day *day = *state;
    size_t looked = 0;
    start_listener(day);
    const struct {
        const char *name;
        pid_t pid;
        const char *words;
        bool from_environment;
    } all[] = {{"rill-hubd", day->stage->hubd.pid, HUB_WORDS, false},
               {"rill-towerd", day->towerd.pid, TOWER_WORDS, true},
               {"rill listen", day->listener.pid, WALLET_WORDS, true}};
    /* The search itself finds what is there: in this very process. */
    char *here = xstrdup("any words at all, somewhere on the heap");
    assert_true(memory_has(getpid(), here, &looked) && looked > 0);
    free(here);
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
        looked = 0;
        /* The variable's name is there still, its value is not. */
        if (geteuid() == 0 && all[i].from_environment)
            assert_true(environment_has(all[i].pid, "PASSPHRASE="));
        assert_false(environment_has(all[i].pid, all[i].words));
        if (memory_has(all[i].pid, all[i].words, &looked) &&
            !(all[i].from_environment && keeps_environment(all[i].pid)))
            fail_msg("%s has its passphrase in memory", all[i].name);
        /* Only root may look at all: that the others may not is the rest of the promise. */
        assert_true(geteuid() == 0 ? looked > 0 : looked == 0);
    }
    assert_int_equal(process_end(&day->listener, SIGTERM), 0);
}

static void expect_mode(const char *folder, const char *name, mode_t mode)
{
    char path[256];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    if ((status.st_mode & 07777) != mode)
        fail_msg("%s has mode %o", path, (unsigned)status.st_mode & 07777);
}

/* With a umask of 0. */
static void test_key_files_are_private(void **state)
{
    struct day *day = *state;
    expect_mode(day->payer, "key.json", 0600);
    expect_mode(day->shop, "key.json", 0600);
    expect_mode(day->payer, ".", 0700);
    expect_mode(day->stage->folder, "hub-of-the-day.json", 0600);
    expect_mode(day->stage->hub_folder, "tls/tls-key.pem", 0600);
    char tower[160];
    snprintf(tower, sizeof(tower), "%s/tower", day->stage->folder);
    expect_mode(tower, "tls-key.pem", 0600);
}

/* Payments of both kinds, a payout, a close; also what goes wrong. */
static void test_nothing_is_told(void **state)
{
    struct day *day = *state;
    char out[65536], error[4096];
    MUST(day, out, "deposit", "0.00005", "--home", day->payer, "--json");
    MUST(day, out, "open", "0.00003", "--home", day->shop, "--json");
    for (unsigned i = 0; i < 2; i++) {
        MUST(day, out, "invoice", i == 0 ? "0.000004" : "0.000003", "--home", day->shop);
        char *invoice = strstr(out, "rill:");
        assert_non_null(invoice);
        invoice[strcspn(invoice, " \n")] = '\0';
        char *kept = xstrdup(invoice);
        start_listener(day);
        MUST(day, out, "pay", kept, "--home", day->payer, "--json", "--mode", i == 0 ? "direct" : "locked");
        assert_int_equal(process_end(&day->listener, SIGTERM), 0);
        free(kept);
    }
    MUST(day, out, "history", "--home", day->payer, "--json");
    MUST(day, out, "balance", "--home", day->shop);
    MUST(day, out, "tower", "list", "--home", day->payer, "--json");
    MUST(day, out, "withdraw", "0.000001", "--home", day->shop, "--json");
    MUST(day, out, "close", "--home", day->shop);
    assert_int_not_equal(RILL(day, out, "pay", "rill:NOTONE", "--home", day->payer), 0);
    assert_int_not_equal(RILL(day, error, "init", "--home", day->payer), 0);
    char *metrics = http_ask(day->stage->http_port, "GET", "/metrics");
    assert_null(secret_in(metrics, strlen(metrics)));
    free(metrics);
    hub_stop(day->stage);
    assert_int_equal(process_end(&day->towerd, SIGTERM), 0);
    assert_string_equal(look_below(day->stage->folder), "");
    assert_true(files_seen > 20);
    assert_true(file_says(day->stage->hub_log, "\"level\":\"debug\""));
}

/* ---- the way of a key through our code ---- */

static int under_valgrind(const char *deed, char *log)
{
    struct process process;
    const char *const argv[] = {VALGRIND,
                                "-q",
                                "--error-exitcode=99",
                                "--suppressions=tests/secrets/library.supp",
                                "build/release/tests/secrets/key_path",
                                deed,
                                NULL};
    remove(log);
    if (!process_start(&process, argv, log))
        fail_msg("%s is not there: scripts/setup installs it", VALGRIND);
    char line[256];
    (void)process_line(&process, "nothing is printed", line, sizeof(line), 120000);
    return process_end(&process, 0);
}

static void test_no_branch_on_a_key(void **state)
{
    static const char *const good[] = {"sign", "derive"}, *const bad[] = {"leak-branch", "leak-index",
                                                                          "leak-compare"};
    char log[64];
    (void)state;
    snprintf(log, sizeof(log), "/tmp/rill-valgrind-%ld", (long)getpid());
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        int code = under_valgrind(good[i], log);
        char *said = file_text(log);
        if (code != 0)
            fail_msg("key_path %s: exit code %d\n%s", good[i], code, said);
        free(said);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_int_equal(under_valgrind(bad[i], log), LEAK_FOUND);
        assert_true(file_says(log, "leak_"));
    }
    remove(log);
}

int main(void)
{
    const struct CMUnitTest day[] = {
        cmocka_unit_test(test_the_search_finds),
        cmocka_unit_test_teardown(test_no_core_dumps, stop_listener),
        cmocka_unit_test_teardown(test_no_passphrase_stays, stop_listener),
        cmocka_unit_test(test_key_files_are_private),
        cmocka_unit_test_teardown(test_nothing_is_told, stop_listener),
    };
    const struct CMUnitTest path[] = {cmocka_unit_test(test_no_branch_on_a_key)};
    int failed = cmocka_run_group_tests(day, day_open, day_close);
    return failed + cmocka_run_group_tests(path, NULL, NULL);
}
