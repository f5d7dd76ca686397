#include "tests/drill/drill.h"

#include <errno.h>
#include <fcntl.h>

#define CHALLENGE_S  4000
#define FUNDED_COINS 10000000 /* the hub's, on anvil */

_Static_assert(CHALLENGE_S == PERIOD, "the fixture's ledger has it in a text");

/* ---- the ledger ---- */

static void ledger_by_anvil(struct drill_run *run)
{
    struct hub_stage *stage = run->stage;
    struct address hub = secret_key_address(&stage->hub);
    anvil_start(&run->anvil, NULL);
    anvil_fund(&run->anvil, &hub, FUNDED_COINS);
    stage->contract = anvil_deploy(&run->anvil, &hub, PERIOD);
    address_text(&stage->contract, stage->contract_text);
    run->proxy = proxy_new(stage->base, run->anvil.port);
    snprintf(stage->url, sizeof stage->url, "%s", proxy_url(run->proxy));
}

void run_open_ledger(struct drill_run *run)
{
    char interval[16];
    snprintf(interval, sizeof interval, "%u", run->block_interval_ms);
    run->stage =
        stage_new((const char *const[]){"--bounty-bps", "100", "--block-interval-ms", interval, NULL});
    snprintf(run->error_file, sizeof run->error_file, "%s/rill.err", run->stage->folder);
    snprintf(run->home, sizeof run->home, "%s/wallet", run->stage->folder);
    if (run->evm)
        ledger_by_anvil(run);
    else
        ledger_start(run->stage);
    stage_begin(run->stage);
}

void run_close(struct drill_run *run)
{
    if (run->stage == NULL)
        return;
    (void)pair_close((void **)&(void *){&run->pair});
    for (unsigned i = 0; i < TOWERS_MAX; i++)
        (void)process_end(&run->towers[i].process, SIGKILL);
    (void)process_end(&run->stage->hubd, SIGKILL);
    if (run->evm) {
        ledger_free(run->stage->ledger);
        run->stage->ledger = NULL;
        proxy_free(run->proxy);
        anvil_end(&run->anvil, SIGKILL);
    }
    stage_close(run->stage);
    run->stage = NULL;
}

void fail_with_logs(struct drill_run *run, const char *what)
{
    for (unsigned i = 0; i < TOWERS_MAX; i++) {
        char *text = file_text(run->towers[i].log);
        size_t length = strlen(text);
        if (length > 0)
            print_error("tower %u says:\n%s\n", i, length > 3000 ? text + length - 3000 : text);
        free(text);
    }
    fail_with_log(run->stage, what);
}

void mine_until(struct drill_run *run, bool (*holds)(struct drill_run *run, const struct channel_key *key),
                const struct channel_key *key, const char *what)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!holds(run, key)) {
        if (clock_monotonic_us() > end_us)
            fail_with_logs(run, what);
        mine(run->stage);
        turn(run->stage);
    }
}

/* ---- towers and hub ---- */

void tower_begin(struct drill_run *run, unsigned index)
{
    struct hub_stage *stage = run->stage;
    struct tower *tower = &run->towers[index];
    char path[256], listen[32];
    unsigned port = tower->port;
    snprintf(listen, sizeof listen, "127.0.0.1:%u", port);
    if (port == 0) {
        char name[32];
        snprintf(name, sizeof name, "tower %u of the drills", index);
        tower->key = key_of(name);
        snprintf(tower->key_file, sizeof tower->key_file, "%s/tower-%u.json", stage->folder, index);
        snprintf(tower->folder, sizeof tower->folder, "%s/tower-%u", stage->folder, index);
        snprintf(tower->log, sizeof tower->log, "%s/tower-%u.log", stage->folder, index);
        ensure(keystore_create(tower->key_file, PASSPHRASE, &tower->key, 2) == KEYSTORE_OK);
        struct address address = secret_key_address(&tower->key);
        send_coins(stage, &stage->hub, &address, 100 * (uint64_t)GAS_COINS);
    }
    const char *const argv[] = {process_path("rill-towerd", path, sizeof path),
                                "--contract",
                                stage->contract_text,
                                "--ledger",
                                stage->url,
                                "--key-file",
                                tower->key_file,
                                "--passphrase-file",
                                stage->passphrase_file,
                                "--data",
                                tower->folder,
                                "--confirmations",
                                run->tower_confirmations != NULL ? run->tower_confirmations : "1",
                                "--poll-ms",
                                "20",
                                "--listen",
                                listen,
                                "--http",
                                "127.0.0.1:0",
                                NULL};
    ensure(process_start(&tower->process, argv, tower->log));
    /* Its first questions to the ledger go through this process: they are served while its line is waited for. */
    char line[256] = "";
    size_t length = 0;
    ensure(fcntl(tower->process.output, F_SETFL, O_NONBLOCK) == 0);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (strchr(line, '\n') == NULL) {
        ssize_t got = read(tower->process.output, line + length, sizeof line - 1 - length);
        length += got > 0 ? (size_t)got : 0;
        if (got == 0 || clock_monotonic_us() > end_us)
            fail_with_logs(run, "a tower's start");
        turn(stage);
    }
    if (sscanf(line, "rill-towerd ready: address %*s listen %*[^:]:%u", &port) != 1)
        fail_with_logs(run, "a tower's start");
    tower->port = (uint16_t)port;
}

void tower_kill(struct drill_run *run, unsigned index)
{
    assert_int_equal(process_end(&run->towers[index].process, SIGKILL), -SIGKILL);
}

void hub_begin(struct drill_run *run)
{
    char endpoint[32], address[ADDRESS_TEXT_SIZE];
    const char *flags[ARRAY_LENGTH(hub_flags) + 5];
    size_t count = 0;
    for (; hub_flags[count] != NULL; count++)
        flags[count] = hub_flags[count];
    if (run->towers[0].port != 0) {
        struct address tower = secret_key_address(&run->towers[0].key);
        snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", run->towers[0].port);
        flags[count++] = "--tower";
        flags[count++] = endpoint;
        flags[count++] = "--tower-address";
        flags[count++] = address_text(&tower, address);
    }
    flags[count] = NULL;
    hub_start(run->stage, flags);
}

void run_open(struct drill_run *run, unsigned towers)
{
    run_open_ledger(run);
    for (unsigned i = 0; i < towers; i++)
        tower_begin(run, i);
    hub_begin(run);
    run->pair.stage = run->stage;
    snprintf(run->pair.names[0], sizeof run->pair.names[0], "drill payer");
    snprintf(run->pair.names[1], sizeof run->pair.names[1], "drill payee");
    pair_begin(&run->pair);
}

/* ---- wallets ---- */

#define WORDS_MAX      16
#define BLOCK_EVERY_US 100000

static void wallet_start(struct drill_run *run, struct process *process, const char *const *words)
{
    char path[256], hub[32], towers[TOWERS_MAX * 80] = "";
    const char *argv[WORDS_MAX + 2] = {process_path("rill", path, sizeof path)};
    for (size_t i = 0; words[i] != NULL; i++) {
        ensure(i < WORDS_MAX);
        argv[i + 1] = words[i];
    }
    for (unsigned i = 0; i < TOWERS_MAX && run->towers[i].port != 0; i++) {
        struct address address = secret_key_address(&run->towers[i].key);
        char text[ADDRESS_TEXT_SIZE];
        size_t length = strlen(towers);
        snprintf(towers + length, sizeof towers - length, "%s%s@127.0.0.1:%u", i > 0 ? "," : "",
                 address_text(&address, text), run->towers[i].port);
    }
    snprintf(hub, sizeof hub, "127.0.0.1:%u", run->stage->hub_port);
    setenv("RILL_HUB", hub, 1);
    setenv("RILL_LEDGER", run->stage->url, 1);
    setenv("RILL_CONTRACT", run->stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    setenv("RILL_HOME", run->home, 1);
    setenv("RILL_TOWERS", towers, 1);
    remove(run->error_file);
    ensure(process_start(process, argv, run->error_file));
    ensure(fcntl(process->output, F_SETFL, O_NONBLOCK) == 0);
}

static bool wallet_prints(struct drill_run *run, struct process *process, char *out, size_t size,
                          size_t *length)
{
    ssize_t got = read(process->output, out + *length, size - 1 - *length);
    bool ended = got == 0 || (got < 0 && errno != EAGAIN);
    *length += got > 0 ? (size_t)got : 0;
    out[*length] = '\0';
    if (ended)
        return false;
    /* Where blocks come on demand, what it waits for needs some; each takes a second of an EVM chain's time. */
    if (clock_monotonic_us() > run->mined_us + BLOCK_EVERY_US) {
        run->mined_us = clock_monotonic_us();
        mine(run->stage);
    }
    turn(run->stage);
    return true;
}

int wallet_end(struct drill_run *run, struct process *process)
{
    char rest[4096];
    size_t length = 0;
    while (wallet_prints(run, process, rest, sizeof rest, &length))
        length = 0;
    return process_end(process, 0);
}

void wallet_begin(struct drill_run *run, struct process *process, char *line, size_t size,
                  const char *const *words)
{
    size_t length = 0;
    line[0] = '\0';
    wallet_start(run, process, words);
    while (strchr(line, '\n') == NULL)
        if (!wallet_prints(run, process, line, size, &length))
            fail_msg("rill %s ended: %s%s", words[0], line, file_text(run->error_file));
}

int wallet_run(struct drill_run *run, char *out, size_t size, const char *const *words)
{
    struct process process;
    size_t length = 0;
    out[0] = '\0';
    wallet_start(run, &process, words);
    while (wallet_prints(run, &process, out, size, &length))
        continue;
    return process_end(&process, 0);
}
