/* The real programs on a disk that fails: the n-th write or fsync of a journal fails with EIO or ENOSPC, is cut short, or
 * all do from the n-th on. Each program stops with exit code 70 and one line that says what to do, starts again, and has
 * everything that anybody was told.
 *
 * DISK_FAULTS (environment) is how many n are tried for each kind of fault; 3 by default. */
#include "tests/e2e/hub_pair.h"
#include "tests/e2e/tower_user.h"
#include "tests/faults/arm.h"

#include "store/store.h"

#define PAYMENTS_MAX 200 /* within which a fault that is due must have come */

struct fault_case {
    enum fault_call call;
    enum fault_kind kind;
    bool from_on;
    const char *name;
};
static const struct fault_case cases[] = {
    {FAULT_WRITE, FAULT_EIO, false, "a write fails with EIO"},
    {FAULT_WRITE, FAULT_ENOSPC, true, "the disk is full"},
    {FAULT_WRITE, FAULT_SHORT, true, "a write is cut short, then the disk is full"},
    {FAULT_SYNC, FAULT_EIO, false, "an fsync fails with EIO"},
    {FAULT_SYNC, FAULT_ENOSPC, true, "every fsync fails with ENOSPC"},
};

struct disk {
    struct world world;
    struct armed armed;
    unsigned paid; /* payments that the payer has signed */
    unsigned faults, starts;
};

static const char *const flags[] = {"--base-fee", "2", "--fee-ppm",     "1000",  "--min-lock", "100",
                                    "--shards",   "1", "--inbound-max", "50000", NULL};

static unsigned counts(void)
{
    const char *text = getenv("DISK_FAULTS");
    return text == NULL || *text == '\0' ? 3 : (unsigned)strtoul(text, NULL, 10);
}

/* ---- the hub ---- */

static void launch(struct disk *disk)
{
    struct hub_stage *stage = disk->world.stage;
    remove(stage->hub_log);
    faults_environment(&disk->armed, NULL, 'h');
    hub_launch(stage, flags);
    faults_environment_end();
    disk->starts++;
}

static bool has_ended(void *context)
{
    return !hub_is_running(context);
}

/* Exit code 70, and one line that says what to do. */
static void stopped_well(struct disk *disk)
{
    struct hub_stage *stage = disk->world.stage;
    if (!holds_in_time(stage, has_ended, stage))
        fail_with_log(stage, "the end of a hub whose disk fails");
    int code = process_end(&stage->hubd, 0);
    char *text = file_text(stage->hub_log), *at = strstr(text, " error ");
    if (code != STORE_EXIT_FATAL || at == NULL || strstr(at + 1, " error ") != NULL ||
        strstr(at, "make the disk usable, then start again") == NULL)
        fail_msg("exit code %d: %s", code, text);
    free(text);
    disk->faults++;
}

static void come_back(struct disk *disk)
{
    struct world *world = &disk->world;
    faults_disarm(&disk->armed);
    launch(disk);
    hub_wait(world->stage);
    wire_leave(world->payer);
    wire_leave(world->payee);
    uint64_t told = world->payer->channel->acknowledged;
    wire_connect(world->payer);
    wire_connect(world->payee);
    const struct shown_proof *shown = &world->payer->shown.message.channel.streams[SIDE_CLIENT].newest;
    if (told > 0 && (!shown->present || shown->proof.nonce < told))
        fail_msg("update %llu was acknowledged, the hub has %llu", (unsigned long long)told,
                 (unsigned long long)shown->proof.nonce);
}

static bool all_has_arrived(void *context)
{
    const struct disk *disk = context;
    const struct wire_client *payee = disk->world.payee;
    return payee->closed || channel_peer(payee->channel)->proof.transferred.units == disk->paid;
}

/* Every payment that was signed arrives, and once. */
static void nothing_is_lost(struct disk *disk)
{
    struct world *world = &disk->world;
    wire_settle_down(world->payer);
    if (!holds_in_time(world->stage, all_has_arrived, disk) || world->payee->closed)
        fail_with_log(world->stage, "all payments at the payee");
    shown_as_known(world->payer);
    shown_as_known(world->payee);
    assert_int_equal(channel_own(world->payer->channel)->proof.transferred.units,
                     3 * disk->paid + disk->paid);
}

static bool acknowledged_or_gone(void *context)
{
    const struct wire_client *client = context;
    return client->closed ||
           client->channel->acknowledged == client->channel->streams[SIDE_CLIENT].proof.nonce;
}

static void pay_one(struct disk *disk)
{
    struct wire_client *payer = disk->world.payer;
    struct operation pay = payment_of(payer, disk->world.payee, OPERATION_PAY, 1, &no_condition);
    payer->seen_count = disk->world.payee->seen_count = 0;
    const struct kept_update *kept = wire_seal(payer, &pay, 1, NULL);
    disk->paid++;
    if (payer->closed)
        return; /* signed, and kept: it leaves when the hub is back */
    wire_send_kept(payer, kept);
    if (!holds_in_time(disk->world.stage, acknowledged_or_gone, payer))
        fail_with_log(disk->world.stage, "an acknowledgement, or the hub's end");
}

static void while_it_serves(struct disk *disk, const struct fault_case *fault, unsigned n)
{
    faults_arm(&disk->armed, fault->call, fault->kind, n, fault->from_on);
    for (unsigned i = 0; i < PAYMENTS_MAX && !disk->world.payer->closed && !disk->world.payee->closed; i++)
        pay_one(disk);
    if (atomic_load(&disk->armed.faults->happened) == 0)
        fail_msg("%s at %u never happened", fault->name, n);
    stopped_well(disk);
    come_back(disk);
    nothing_is_lost(disk);
}

static void test_while_it_serves(void **state)
{
    struct disk *disk = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (unsigned n = 1; n <= counts(); n++)
            while_it_serves(disk, &cases[i], n);
}

struct start_wait {
    struct hub_stage *stage;
    bool serves;
};

static bool serves_or_ended(void *context)
{
    struct start_wait *wait = context;
    char *text = file_text(wait->stage->port_file);
    unsigned port, http_port;
    wait->serves = sscanf(text, "%u %u", &port, &http_port) == 2;
    free(text);
    return wait->serves || !hub_is_running(wait->stage);
}

/* While it starts: it ends with a line about the journal, or has got by without that call. */
static void while_it_starts(struct disk *disk, const struct fault_case *fault, unsigned n)
{
    struct hub_stage *stage = disk->world.stage;
    hub_stop(stage);
    faults_arm(&disk->armed, fault->call, fault->kind, n, fault->from_on);
    launch(disk);
    struct start_wait wait = {stage, false};
    if (!holds_in_time(stage, serves_or_ended, &wait))
        fail_with_log(stage, "a start on a disk that fails, or its end");
    if (wait.serves && atomic_load(&disk->armed.faults->happened) == 0) {
        faults_disarm(&disk->armed);
        hub_kill(stage);
    } else if (wait.serves) {
        process_end(&stage->hubd, SIGTERM);
    } else {
        int code = process_end(&stage->hubd, 0);
        char *text = file_text(stage->hub_log);
        if ((code != 1 && code != STORE_EXIT_FATAL) || strstr(text, "journal") == NULL)
            fail_msg("%s at %u: exit code %d: %s", fault->name, n, code, text);
        free(text);
        disk->faults++;
    }
    come_back(disk);
    nothing_is_lost(disk);
}

static void test_while_it_starts(void **state)
{
    struct disk *disk = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (unsigned n = 1; n <= counts(); n++)
            while_it_starts(disk, &cases[i], n);
}

/* ---- the ledger ---- */

/* One evm_mine; false: no good answer. */
static bool mine_by_hand(struct hub_stage *stage)
{
    static const char body[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"evm_mine\",\"params\":[]}";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(stage->ledger_port, NULL, 10))};
    char request[256], answer[1024] = "";
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), length, used = 0;
    length = snprintf(request, sizeof request, "POST / HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s",
                      strlen(body), body);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(descriptor, request, (size_t)length, MSG_NOSIGNAL) == length)
        for (ssize_t got; (got = read(descriptor, answer + used, sizeof answer - 1 - (size_t)used)) > 0;)
            used += (int)got;
    close(descriptor);
    return strstr(answer, "\"result\"") != NULL;
}

static uint64_t height(struct hub_stage *stage)
{
    struct ledger_request_wait request = ledger_ask(stage, "eth_blockNumber", "[]");
    return strtoull(strchr(request.text, 'x') + 1, NULL, 16);
}

static void ledger_restart(struct disk *disk, struct armed *armed)
{
    faults_environment(armed, NULL, 'l');
    ledger_start(disk->world.stage);
    faults_environment_end();
}

static void ledger_fails(struct disk *disk, struct armed *armed, const struct fault_case *fault, unsigned n)
{
    struct hub_stage *stage = disk->world.stage;
    uint64_t told = height(stage);
    faults_arm(armed, fault->call, fault->kind, n, fault->from_on);
    for (unsigned i = 0; i < PAYMENTS_MAX && mine_by_hand(stage); i++)
        told++;
    siginfo_t info = {0};
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (waitid(P_PID, (id_t)stage->ledgerd.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0 && clock_monotonic_us() < end_us)
        turn(stage);
    assert_int_equal(process_end(&stage->ledgerd, 0), STORE_EXIT_FATAL);
    assert_true(file_says(stage->ledger_log, "make the disk usable, then start again"));
    remove(stage->ledger_log);
    disk->faults++;
    faults_disarm(armed);
    ledger_restart(disk, armed);
    disk->starts++;
    if (height(stage) < told)
        fail_msg("the ledger said that it has block %llu, and has %llu", (unsigned long long)told,
                 (unsigned long long)height(stage));
}

static void test_the_ledger(void **state)
{
    struct disk *disk = *state;
    struct armed armed;
    armed_open(&armed, disk->world.stage->folder, "ledger");
    assert_int_equal(process_end(&disk->world.stage->ledgerd, SIGTERM), 0);
    ledger_restart(disk, &armed);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (unsigned n = 1; n <= counts(); n++)
            ledger_fails(disk, &armed, &cases[i], n);
    armed_close(&armed);
    nothing_is_lost(disk); /* the hub has lived through all of that */
}

/* ---- the wallet ---- */

static int run_once(struct disk *disk, struct armed *armed, const char *const *argv, const char *log)
{
    struct process process;
    (void)disk;
    remove(log);
    faults_environment(armed, NULL, 'w');
    ensure(process_start(&process, argv, log));
    faults_environment_end();
    char part[4096];
    while (read(process.output, part, sizeof part) > 0)
        ;
    return process_end(&process, 0);
}

/* `rill balance` makes its journal and writes into it: it succeeds, or says that the disk failed; then it succeeds. */
static void test_the_wallet(void **state)
{
    struct disk *disk = *state;
    struct hub_stage *stage = disk->world.stage;
    struct armed armed;
    char path[256], home[160], log[160], hub[32];
    armed_open(&armed, stage->folder, "wallet");
    snprintf(home, sizeof home, "%s/home", stage->folder);
    snprintf(log, sizeof log, "%s/home.log", stage->folder);
    snprintf(hub, sizeof hub, "127.0.0.1:%u", stage->hub_port);
    setenv("RILL_HUB", hub, 1);
    setenv("RILL_LEDGER", stage->url, 1);
    setenv("RILL_CONTRACT", stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    const char *const init[] = {
        process_path("rill", path, sizeof path), "init", "--home", home, "--light", NULL};
    const char *const balance[] = {path, "balance", "--home", home, NULL};
    assert_int_equal(run_once(disk, &armed, init, log), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (unsigned n = 1; n <= counts(); n++) {
            faults_arm(&armed, cases[i].call, cases[i].kind, n, cases[i].from_on);
            int code = run_once(disk, &armed, balance, log);
            bool happened = atomic_load(&armed.faults->happened) > 0;
            char *said = file_text(log);
            if (happened ? code == 0 || strstr(said, "journal") == NULL : code != 0)
                fail_msg("%s at %u: exit code %d: %s", cases[i].name, n, code, said);
            free(said);
            disk->faults += happened;
            faults_disarm(&armed);
            code = run_once(disk, &armed, balance, log);
            disk->starts++;
            if (code != 0)
                fail_msg("after '%s' at %u: exit code %d: %s", cases[i].name, n, code, file_text(log));
        }
    armed_close(&armed);
}

/* ---- the tower ---- */

struct tower {
    struct armed armed;
    struct process process;
    struct secret_key key;
    char key_file[160], folder[160], log[160], program[256];
    uint16_t port;
};

static bool tower_starts(struct disk *disk, struct tower *tower)
{
    struct hub_stage *stage = disk->world.stage;
    const char *const argv[] = {tower->program,
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
                                "1",
                                "--listen",
                                "127.0.0.1:0",
                                "--http",
                                "127.0.0.1:0",
                                NULL};
    char line[256], address[64];
    unsigned port = 0;
    remove(tower->log);
    faults_environment(&tower->armed, NULL, 't');
    ensure(process_start(&tower->process, argv, tower->log));
    faults_environment_end();
    disk->starts++;
    if (!process_line(&tower->process, "rill-towerd ready", line, sizeof line, PATIENCE_MS))
        return false;
    ensure(sscanf(line, "rill-towerd ready: address %63s listen %*[^:]:%u", address, &port) == 2);
    tower->port = (uint16_t)port;
    return true;
}

static void tower_open(struct disk *disk, struct tower *tower, const char *name)
{
    const char *folder = disk->world.stage->folder;
    *tower = (struct tower){.key = key_of(name)};
    armed_open(&tower->armed, folder, name);
    snprintf(tower->key_file, sizeof tower->key_file, "%s/%s.json", folder, name);
    snprintf(tower->folder, sizeof tower->folder, "%s/%s", folder, name);
    snprintf(tower->log, sizeof tower->log, "%s/%s.log", folder, name);
    (void)process_path("rill-towerd", tower->program, sizeof tower->program);
    ensure(keystore_create(tower->key_file, PASSPHRASE, &tower->key, 2) == KEYSTORE_OK);
}

static void tower_starts_on_a_bad_disk(struct disk *disk, struct tower *tower, const struct fault_case *fault,
                                       unsigned n)
{
    faults_arm(&tower->armed, fault->call, fault->kind, n, fault->from_on);
    bool ready = tower_starts(disk, tower);
    int code = process_end(&tower->process, ready ? SIGTERM : 0);
    bool happened = atomic_load(&tower->armed.faults->happened) > 0;
    if (happened ? (code != 1 && code != STORE_EXIT_FATAL) || !file_says(tower->log, "journal") : code != 0)
        fail_msg("%s at %u: exit code %d: %s", fault->name, n, code, file_text(tower->log));
    disk->faults += happened;
    faults_disarm(&tower->armed);
    if (!tower_starts(disk, tower))
        fail_msg("after '%s' at %u: %s", fault->name, n, file_text(tower->log));
    assert_int_equal(process_end(&tower->process, SIGTERM), 0);
}

static void test_the_tower_while_it_starts(void **state)
{
    struct disk *disk = *state;
    struct tower tower;
    tower_open(disk, &tower, "tower-starts");
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (unsigned n = 1; n <= counts(); n++)
            tower_starts_on_a_bad_disk(disk, &tower, &cases[i], n);
    armed_close(&tower.armed);
}

static void user_joins(struct disk *disk, struct tower *tower, struct user *user)
{
    struct address address = secret_key_address(&tower->key);
    if (!user_dial(user, disk->world.stage, tower->port, &address, &disk->world.payee->key))
        fail_msg("the tower's handshake: %s", user->reason);
}

/* A user leaves newer and newer proofs until the disk fails: the tower ends, and what it gave a receipt for it has. */
static void tower_fails(struct disk *disk, struct tower *tower, const struct fault_case *fault, unsigned n)
{
    struct wire_client *payee = disk->world.payee;
    struct address address = secret_key_address(&tower->key);
    struct user user;
    uint64_t receipt = 0;
    user_joins(disk, tower, &user);
    faults_arm(&tower->armed, fault->call, fault->kind, n, fault->from_on);
    for (unsigned i = 0; i < PAYMENTS_MAX; i++) {
        pay_one(disk);
        nothing_is_lost(disk);
        struct message message = appointment_by(payee, &address, &payee->key);
        if (!user_tells(&user, &message))
            break;
        if (user.answer.type != MESSAGE_RECEIPT)
            fail_msg("%s: %s", fault->name, message_name(user.answer.type));
        receipt = user.answer.receipt.nonce;
    }
    int code = process_end(&tower->process, 0);
    if (atomic_load(&tower->armed.faults->happened) == 0 || code != STORE_EXIT_FATAL ||
        !file_says(tower->log, "make the disk usable, then start again"))
        fail_msg("%s at %u: exit code %d: %s", fault->name, n, code, file_text(tower->log));
    disk->faults++;
    faults_disarm(&tower->armed);
    if (!tower_starts(disk, tower))
        fail_msg("after '%s' at %u: %s", fault->name, n, file_text(tower->log));
    user_joins(disk, tower, &user);
    struct message fetch = {.type = MESSAGE_FETCH};
    fetch.fetch.channel = payee->channel->id;
    if (receipt > 0 && (!user_tells(&user, &fetch) || user.answer.type != MESSAGE_KEPT ||
                        user.answer.appoint.proof.proof.nonce < receipt))
        fail_msg("%s at %u: a receipt for nonce %llu, and it is not kept", fault->name, n,
                 (unsigned long long)receipt);
    user_close(&user);
}

static void test_the_tower_while_it_serves(void **state)
{
    struct disk *disk = *state;
    struct tower tower;
    tower_open(disk, &tower, "tower-serves");
    assert_true(tower_starts(disk, &tower));
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        for (unsigned n = 1; n <= counts(); n++)
            tower_fails(disk, &tower, &cases[i], n);
    assert_int_equal(process_end(&tower.process, SIGTERM), 0);
    armed_close(&tower.armed);
}

/* ---- the set ---- */

static int set_up(void **state)
{
    struct disk *disk = xcalloc(1, sizeof *disk);
    struct world *world = &disk->world;
    world->stage = stage_open(NULL);
    armed_open(&disk->armed, world->stage->folder, "hub");
    launch(disk);
    hub_wait(world->stage);
    snprintf(world->names[0], sizeof world->names[0], "payer");
    snprintf(world->names[1], sizeof world->names[1], "payee");
    pair_begin(world);
    *state = disk;
    return 0;
}

static int tear_down(void **state)
{
    struct disk *disk = *state;
    if (disk == NULL)
        return 0;
    printf("%u faults, %u starts, %u payments\n", disk->faults, disk->starts, disk->paid);
    wire_free(disk->world.payer);
    wire_free(disk->world.payee);
    armed_close(&disk->armed);
    stage_close(disk->world.stage);
    free(disk);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_while_it_serves),
        cmocka_unit_test(test_while_it_starts),
        cmocka_unit_test(test_the_ledger),
        cmocka_unit_test(test_the_wallet),
        cmocka_unit_test(test_the_tower_while_it_starts),
        cmocka_unit_test(test_the_tower_while_it_serves),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    failed = failed < 0 ? (int)ARRAY_LENGTH(tests) : failed;
    printf("%d passed, %d failed\n", (int)ARRAY_LENGTH(tests) - failed, failed);
    return failed != 0;
}
