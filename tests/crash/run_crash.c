/* Real processes under load, killed: hub, tower, wallets and ledger, at random times and at every point of the commit path
 * that can be named from outside: before and after a write of the journal, its fsync, and what is sent.
 *
 * KILLS processes are killed (environment; 20 by default), CRASH_SEED chooses how. The wallets go on paying each other
 * throughout. An observer holds all that hub and wallets have ever sent against each other; in the end every receipt,
 * every payment, every balance and the ledger must agree. */
#include "tests/crash/observer.h"
#include "tests/e2e/hub_fixture.h"
#include "tests/faults/arm.h"
#include "wire/message.h"

#include <jansson.h>
#include <sys/stat.h>

#define WALLETS    4
#define DEPOSIT    200000000u
#define ROOM       200000000u
#define DEATH_MS   700
#define QUIET_MS   60000
#define LOOK_EVERY 10
#define WALLET     "build/crash/crash_wallet"

enum victim { HUB, TOWER, LEDGER, FIRST_WALLET, VICTIMS = FIRST_WALLET + WALLETS };
static const char *const names[VICTIMS] = {"hub", "tower", "ledger", "payee0", "payee1", "payer0", "payer1"};
static const char roles[VICTIMS] = {'h', 't', 'l', 'a', 'b', 'c', 'd'};
/* How often each is the one: the hub as often as all others. */
static const unsigned char draw[] = {HUB, HUB, HUB, HUB, HUB, HUB, TOWER, LEDGER, 3, 4, 5, 6};

enum point { AT_RANDOM, BEFORE_WRITE, AFTER_WRITE, BEFORE_SYNC, AFTER_SYNC, BEFORE_SEND, AFTER_SEND, POINTS };
static const char *const points[POINTS] = {"at random",   "before write", "after write", "before fsync",
                                           "after fsync", "before send",  "after send"};

struct run {
    struct hub_stage *stage;
    struct armed armed[VICTIMS];
    struct process towerd, wallets[WALLETS];
    struct secret_key tower;
    char wire_log[160], tower_key[160], tower_folder[160], tower_log[160], wallet_folder[128];
    uint16_t hub_port, tower_port;
    struct observer *observer;
    uint64_t kills[VICTIMS][POINTS], total, receipts, random;
    struct hash seed;
};

/* ---- chance ---- */

static uint64_t chance(struct run *run, uint64_t below)
{
    store_be64(run->seed.bytes, ++run->random);
    struct hash hash = sha256(run->seed.bytes, sizeof run->seed.bytes);
    return load_be64(hash.bytes) % below;
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

/* ---- ports that stay ---- */

static int port_bind(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        close(descriptor);
        return -1;
    }
    ensure(getsockname(descriptor, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(address.sin_port);
    return descriptor;
}

/* `count` ports in a row that nobody has. */
static uint16_t free_ports(int count)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        uint16_t first = 0;
        int held[4] = {port_bind(&first), -1, -1, -1}, got = 1;
        while (got < count) {
            uint16_t next = (uint16_t)(first + got);
            if ((held[got] = port_bind(&next)) < 0)
                break;
            got++;
        }
        for (int i = 0; i < 4; i++)
            if (held[i] >= 0)
                close(held[i]);
        if (got == count)
            return first;
    }
    fail_msg("no free ports");
    return 0;
}

/* ---- starting ---- */

static void tower_launch(struct run *run)
{
    char path[256], listen[32], line[256];
    snprintf(listen, sizeof listen, "127.0.0.1:%u", run->tower_port);
    const char *const argv[] = {process_path("rill-towerd", path, sizeof path),
                                "--contract",
                                run->stage->contract_text,
                                "--ledger",
                                run->stage->url,
                                "--key-file",
                                run->tower_key,
                                "--passphrase-file",
                                run->stage->passphrase_file,
                                "--data",
                                run->tower_folder,
                                "--confirmations",
                                "1",
                                "--poll-ms",
                                "50",
                                "--listen",
                                listen,
                                "--http",
                                "127.0.0.1:0",
                                NULL};
    ensure(process_start(&run->towerd, argv, run->tower_log));
    if (!process_line(&run->towerd, "rill-towerd ready", line, sizeof line, PATIENCE_MS))
        fail_msg("the tower does not start; %s has why: %s", run->tower_log, file_text(run->tower_log));
}

static void hub_relaunch(struct run *run)
{
    char listen[32], tower[32], address[ADDRESS_TEXT_SIZE];
    struct address tower_address = secret_key_address(&run->tower);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", run->hub_port);
    snprintf(tower, sizeof tower, "127.0.0.1:%u", run->tower_port);
    const char *const more[] = {"--listen",
                                listen,
                                "--shards",
                                "2",
                                "--tower",
                                tower,
                                "--tower-address",
                                address_text(&tower_address, address),
                                "--min-lock",
                                "100",
                                "--settle-interval-s",
                                "3",
                                "--settle-collect-ms",
                                "500",
                                "--checkpoint-mib",
                                "1",
                                "--log-level",
                                "info",
                                NULL};
    hub_start(run->stage, more);
}

static void wallet_launch(struct run *run, int index, const char *role, struct process *process)
{
    char hub[16], tower[16], address[ADDRESS_TEXT_SIZE], log[200];
    struct address tower_address = secret_key_address(&run->tower);
    snprintf(hub, sizeof hub, "%u", run->hub_port);
    snprintf(tower, sizeof tower, "%u", run->tower_port);
    snprintf(log, sizeof log, "%s/%s.log", run->stage->folder, names[FIRST_WALLET + index]);
    const char *const argv[] = {WALLET,
                                role,
                                names[FIRST_WALLET + index],
                                run->wallet_folder,
                                run->stage->url,
                                run->stage->contract_text,
                                hub,
                                tower,
                                address_text(&tower_address, address),
                                NULL};
    ensure(process_start(process, argv, log));
}

static void launch(struct run *run, enum victim victim)
{
    faults_environment(&run->armed[victim], run->wire_log, roles[victim]);
    if (victim == HUB)
        hub_relaunch(run);
    else if (victim == TOWER)
        tower_launch(run);
    else if (victim == LEDGER)
        ledger_start(run->stage);
    else
        wallet_launch(run, (int)victim - FIRST_WALLET, victim < FIRST_WALLET + 2 ? "payee" : "payer",
                      &run->wallets[victim - FIRST_WALLET]);
    faults_environment_end();
}

static struct process *process_of(struct run *run, enum victim victim)
{
    return victim == HUB      ? &run->stage->hubd
           : victim == TOWER  ? &run->towerd
           : victim == LEDGER ? &run->stage->ledgerd
                              : &run->wallets[victim - FIRST_WALLET];
}

/* ---- killing ---- */

static bool has_ended(const struct process *process)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

static bool ends_in_time(struct run *run, const struct process *process, int ms)
{
    uint64_t end_us = clock_monotonic_us() + (uint64_t)ms * 1000;
    while (!has_ended(process)) {
        if (clock_monotonic_us() > end_us)
            return false;
        turn(run->stage);
    }
    return true;
}

static void pass_time(struct run *run, uint64_t ms)
{
    uint64_t end_us = clock_monotonic_us() + ms * 1000;
    while (clock_monotonic_us() < end_us)
        turn(run->stage);
}

static void kill_one(struct run *run, enum victim victim)
{
    struct process *process = process_of(run, victim);
    enum point point = (enum point)chance(run, POINTS);
    bool ledger_sends = victim == LEDGER && point >= BEFORE_SEND; /* it has no TLS */
    if (point == AT_RANDOM || ledger_sends) {
        point = AT_RANDOM;
        pass_time(run, chance(run, 400));
    } else {
        enum fault_call call = point <= AFTER_WRITE  ? FAULT_WRITE
                               : point <= AFTER_SYNC ? FAULT_SYNC
                                                     : FAULT_SEND;
        enum fault_kind kind = (point - 1) % 2 == 0 ? FAULT_KILL_BEFORE : FAULT_KILL_AFTER;
        faults_arm(&run->armed[victim], call, kind, 1 + chance(run, 12), true);
        if (!ends_in_time(run, process, DEATH_MS))
            point = AT_RANDOM; /* it had nothing to do: killed all the same */
    }
    int code = process_end(process, SIGKILL);
    if (code != -SIGKILL)
        fail_msg("%s ended with %d before it was killed", names[victim], code);
    faults_disarm(&run->armed[victim]);
    run->kills[victim][point]++;
    run->total++;
}

static void others_live(struct run *run)
{
    for (int victim = 0; victim < VICTIMS; victim++)
        if (has_ended(process_of(run, (enum victim)victim))) {
            char log[200], *text;
            snprintf(log, sizeof log, "%s/%s.log", run->stage->folder, names[victim]);
            text = file_text(log);
            print_error("%s", text);
            free(text);
            fail_msg("%s has ended by itself with %d", names[victim],
                     process_end(process_of(run, (enum victim)victim), 0));
        }
}

static uint64_t count_lines(const char *folder, const char *name, const char *suffix)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    char *text = file_text(path);
    uint64_t count = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    free(text);
    return count;
}

static uint64_t receipts_now(const struct run *run)
{
    return count_lines(run->wallet_folder, "payer0", ".receipts") +
           count_lines(run->wallet_folder, "payer1", ".receipts");
}

static void look(struct run *run)
{
    char message[256];
    others_live(run);
    if (!observer_read(run->observer, message, sizeof message))
        fail_msg("the observer: %s", message);
}

static void not_done(const struct run *run, const char *what)
{
    for (int i = 0; i < WALLETS; i++) {
        char log[200];
        snprintf(log, sizeof log, "%s/%s.log", run->stage->folder, names[FIRST_WALLET + i]);
        char *text = file_text(log);
        size_t length = strlen(text);
        fprintf(stderr, "%s\n", length > 3000 ? text + length - 3000 : text);
        free(text);
    }
    fail_with_log(run->stage, what);
}

/* Payments go on: a receipt that was not there before. */
static void await_progress(struct run *run)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (receipts_now(run) == run->receipts) {
        if (clock_monotonic_us() > end_us)
            not_done(run, "a payment after the kills");
        pass_time(run, 50);
        others_live(run);
    }
    run->receipts = receipts_now(run);
}

/* ---- the set ---- */

static void make_channel(struct run *run, const char *name, uint64_t own, uint64_t room)
{
    struct secret_key key = key_of(name);
    struct channel_key channel = {.client = secret_key_address(&key)};
    send_coins(run->stage, &run->stage->hub, &channel.client, own + 1000000000);
    ledger_call_as(
        run->stage, &key,
        &(struct contract_call){.function = CONTRACT_DEPOSIT, .key = channel, .amount = amount_of(own)}, own);
    if (room == 0)
        return;
    struct fund fund = {channel, amount_of(room)};
    ledger_call_as(
        run->stage, &run->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1}, 0);
}

static int set_up(void **state)
{
    struct run *run = xcalloc(1, sizeof *run);
    run->stage = stage_open((const char *const[]){"--idle-block-ms", "200", NULL});
    struct hub_stage *stage = run->stage;
    run->tower = key_of("the tower of the crash tests");
    snprintf(run->wire_log, sizeof run->wire_log, "%s/wire", stage->folder);
    snprintf(run->tower_key, sizeof run->tower_key, "%s/tower.json", stage->folder);
    snprintf(run->tower_folder, sizeof run->tower_folder, "%s/tower", stage->folder);
    snprintf(run->tower_log, sizeof run->tower_log, "%s/tower.log", stage->folder);
    snprintf(run->wallet_folder, sizeof run->wallet_folder, "%s/wallets", stage->folder);
    ensure(mkdir(run->wallet_folder, 0700) == 0);
    ensure(keystore_create(run->tower_key, PASSPHRASE, &run->tower, 2) == KEYSTORE_OK);
    run->hub_port = free_ports(2);
    run->tower_port = free_ports(1);
    run->observer = observer_new(run->wire_log);
    store_be64(run->seed.bytes + 8, environment("CRASH_SEED", 1));
    for (int i = 0; i < VICTIMS; i++)
        armed_open(&run->armed[i], stage->folder, names[i]);
    struct address tower = secret_key_address(&run->tower);
    send_coins(stage, &stage->hub, &tower, 1000000000);
    ledger_call_as(stage, &stage->hub,
                   &(struct contract_call){.function = CONTRACT_SET_TOWER, .address = tower, .flag = true},
                   0);
    ledger_call_as(stage, &stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL, .amount = amount_of(2 * ROOM)},
                   2 * ROOM);
    for (int i = 0; i < WALLETS; i++)
        make_channel(run, names[FIRST_WALLET + i], i < 2 ? 1000 : DEPOSIT, i < 2 ? ROOM : 0);
    assert_int_equal(process_end(&stage->ledgerd, SIGTERM), 0);
    for (int i = 0; i < VICTIMS; i++) { /* the ledger first: others ask it */
        static const enum victim order[VICTIMS] = {LEDGER, TOWER, HUB, 3, 4, 5, 6};
        launch(run, order[i]);
    }
    *state = run;
    return 0;
}

static int tear_down(void **state)
{
    struct run *run = *state;
    if (run == NULL)
        return 0;
    for (int i = 0; i < WALLETS; i++)
        process_end(&run->wallets[i], SIGKILL);
    process_end(&run->towerd, SIGKILL);
    for (int i = 0; i < VICTIMS; i++)
        armed_close(&run->armed[i]);
    observer_free(run->observer);
    stage_close(run->stage);
    free(run);
    return 0;
}

/* ---- in the end ---- */

struct books {
    int64_t balance;
    uint64_t paid, fees, received, payments;
    json_t *receipts; /* payer: hash to amount; payee: hash to how often it was received */
};

/* Reads what crash_wallet audit prints. */
static struct books audit_of(struct run *run, int index)
{
    struct process process;
    struct books books = {.receipts = json_object()};
    char line[256], hash[80], way[8], what[32];
    unsigned long long balance, locked, incoming, frozen, amount, fee;
    int final, has_secret;
    wallet_launch(run, index, "audit", &process);
    if (!process_line(&process, "balance ", line, sizeof line, QUIET_MS))
        fail_with_log(run->stage, "a wallet in step at the end");
    ensure(sscanf(line, "balance %llu locked %llu incoming %llu frozen %llu", &balance, &locked, &incoming,
                  &frozen) == 4);
    assert_int_equal(locked + incoming + frozen, 0);
    books.balance = (int64_t)balance;
    while (process_line(&process, "", line, sizeof line, PATIENCE_MS) && strcmp(line, "end") != 0) {
        ensure(sscanf(line, "payment %7s %79s %d %d %llu %llu %31s", way, hash, &final, &has_secret, &amount,
                      &fee, what) == 7);
        bool counts = strcmp(way, "out") == 0 ? has_secret : strcmp(what, "received") == 0;
        if (strcmp(way, "out") == 0)
            assert_true(final);
        if (!counts)
            continue;
        if (json_object_get(books.receipts, hash) != NULL)
            fail_msg("%s: one secret hash counts twice: %s", names[FIRST_WALLET + index], hash);
        json_object_set_new(books.receipts, hash, json_integer((json_int_t)amount));
        books.payments++;
        books.paid += strcmp(way, "out") == 0 ? amount : 0;
        books.fees += strcmp(way, "out") == 0 ? fee : 0;
        books.received += strcmp(way, "in") == 0 ? amount : 0;
    }
    assert_int_equal(process_end(&process, 0), 0);
    return books;
}

/* What the ledger says that the wallet has put in, less what was paid out to it. */
static int64_t base_of(struct run *run, int index)
{
    struct secret_key key = key_of(names[FIRST_WALLET + index]);
    struct contract_call call = {.function = CONTRACT_CHANNEL, .key.client = secret_key_address(&key)};
    struct buffer data = {0}, result = {0};
    struct channel_state state;
    contract_encode_call(&data, &call);
    assert_int_equal(ledger_call_wait(run->stage->ledger, NULL, data.data, data.length, &result, NULL),
                     LEDGER_OK);
    assert_true(contract_decode_channel(result.data, result.length, &state));
    buffer_free(&data);
    buffer_free(&result);
    return state.base;
}

/* A receipt that a payer wrote down is in its wallet, and the payee was paid. */
static void receipts_hold(struct run *run, const char *name, const struct books *payer,
                          const struct books payees[2])
{
    char path[256], *rest = NULL;
    snprintf(path, sizeof path, "%s/%s.receipts", run->wallet_folder, name);
    char *text = file_text(path);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char hash[80], secret[80], hex[65];
        unsigned long long amount;
        uint8_t bytes[32];
        if (sscanf(line, "%79s %79s %llu", hash, secret, &amount) != 3 || strlen(secret) != 64)
            continue; /* the line that a kill has cut */
        ensure(hex_decode(secret, bytes, 32));
        struct hash condition = sha256(bytes, 32);
        hex_encode(condition.bytes, 32, hex);
        assert_string_equal(hex, hash);
        const json_t *own = json_object_get(payer->receipts, hash);
        const json_t *theirs = json_object_get(payees[0].receipts, hash);
        if (theirs == NULL)
            theirs = json_object_get(payees[1].receipts, hash);
        if (own == NULL || theirs == NULL)
            fail_msg("%s has the receipt of %s, but the %s does not know it", name, hash,
                     own == NULL ? "wallet" : "payee");
        assert_int_equal(json_integer_value(own), json_integer_value(theirs));
        assert_int_equal(json_integer_value(own), amount);
    }
    free(text);
}

static bool balances_agree(struct run *run, int64_t clients, char *said, size_t size)
{
    char *answer = http_ask(run->stage->http_port, "GET", "/balances");
    const char *at = strstr(answer, "\"pool\":");
    long long pool = 0, hub = 0, theirs = 0;
    unsigned long long channels;
    bool read =
        at != NULL && sscanf(at, "\"pool\":%lld,\"channels\":%llu,\"clients_units\":%lld,\"hub_units\":%lld",
                             &pool, &channels, &theirs, &hub) == 4;
    long long contract = (long long)(coins_of(run->stage, &run->stage->contract) / UNIT);
    snprintf(said, size, "wallets %lld, hub's books %lld; pool %lld + clients + hub %lld, contract %lld",
             (long long)clients, theirs, pool, hub, contract);
    free(answer);
    return read && theirs == clients && pool + theirs + hub == contract;
}

/* Nobody had to look, and no safeguard was given up: the tower was never away for long. */
static void logs_are_clean(const struct run *run)
{
    static const char *const never[] = {" error ", "silent for too long", "setTower(", "fatal"};
    const char *const logs[] = {run->stage->hub_log, run->tower_log, run->stage->ledger_log};
    for (size_t i = 0; i < ARRAY_LENGTH(logs); i++)
        for (size_t j = 0; j < ARRAY_LENGTH(never); j++) {
            char *text = file_text(logs[i]), *at = strstr(text, never[j]);
            if (at != NULL)
                fail_msg("a log says: %.*s", 300, at > text + 100 ? at - 100 : text);
            free(text);
        }
}

static void everything_agrees(struct run *run)
{
    struct books books[WALLETS];
    char said[256], message[256];
    int64_t clients = 0;
    uint64_t paid = 0, received = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(process_end(&run->wallets[i], SIGTERM), -SIGTERM);
    for (int i = 0; i < WALLETS; i++) {
        books[i] = audit_of(run, i);
        clients += books[i].balance;
        paid += books[i].paid;
        received += books[i].received;
        int64_t expected =
            base_of(run, i) + (int64_t)books[i].received - (int64_t)books[i].paid - (int64_t)books[i].fees;
        if (books[i].balance != expected)
            fail_msg("%s has %lld units, by its payments %lld", names[FIRST_WALLET + i],
                     (long long)books[i].balance, (long long)expected);
    }
    receipts_hold(run, "payer0", &books[2], books);
    receipts_hold(run, "payer1", &books[3], books);
    assert_int_equal(paid, received);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!balances_agree(run, clients, said, sizeof said)) {
        if (clock_monotonic_us() > end_us)
            fail_msg("the books do not agree: %s", said);
        pass_time(run, 100);
    }
    if (!observer_read(run->observer, message, sizeof message))
        fail_msg("the observer: %s", message);
    logs_are_clean(run);
    run->receipts = books[2].payments + books[3].payments;
    for (int i = 0; i < WALLETS; i++)
        json_decref(books[i].receipts);
}

static void report(const struct run *run)
{
    struct observed seen = observer_figures(run->observer);
    printf("%-10s", "killed");
    for (int point = 0; point < POINTS; point++)
        printf("%14s", points[point]);
    printf("\n");
    for (int victim = 0; victim < VICTIMS; victim++) {
        printf("%-10s", names[victim]);
        for (int point = 0; point < POINTS; point++)
            printf("%14llu", (unsigned long long)run->kills[victim][point]);
        printf("\n");
    }
    printf("%llu kills; %llu payments with receipt; the observer saw %llu frames on %llu connections of %llu "
           "processes, "
           "%llu updates signed, %llu sent again, %llu revocations, %llu settlements\n",
           (unsigned long long)run->total, (unsigned long long)run->receipts, (unsigned long long)seen.frames,
           (unsigned long long)seen.connections, (unsigned long long)seen.processes,
           (unsigned long long)seen.updates, (unsigned long long)seen.again,
           (unsigned long long)seen.revocations, (unsigned long long)seen.settlements);
    fflush(stdout);
}

static void test_kills(void **state)
{
    struct run *run = *state;
    uint64_t wanted = environment("KILLS", 20), next_us = 0;
    await_progress(run);
    for (uint64_t round = 1; run->total < wanted; round++) {
        enum victim victim = (enum victim)draw[chance(run, sizeof draw)];
        kill_one(run, victim);
        launch(run, victim);
        pass_time(run, chance(run, 500));
        if (round % LOOK_EVERY == 0) {
            await_progress(run);
            look(run);
        }
        if (clock_monotonic_us() > next_us) {
            fprintf(stderr, "%llu of %llu kills, %llu receipts\n", (unsigned long long)run->total,
                    (unsigned long long)wanted, (unsigned long long)receipts_now(run));
            next_us = clock_monotonic_us() + 5000000;
        }
    }
    await_progress(run);
    char stop[256];
    snprintf(stop, sizeof stop, "%s/stop", run->wallet_folder);
    write_file(stop, "");
    for (int i = 2; i < WALLETS; i++) {
        if (!ends_in_time(run, &run->wallets[i], QUIET_MS))
            not_done(run, "the end of all payments");
        assert_int_equal(process_end(&run->wallets[i], 0), 0);
    }
    everything_agrees(run);
    report(run);
}

/* ---- the observer itself ---- */

static void note(FILE *log, enum wire_record_kind kind, int64_t length, const void *bytes)
{
    struct wire_record record = {kind, 'h', 7, 1, length};
    ensure(fwrite(&record, sizeof record, 1, log) == 1);
    if (bytes != NULL)
        ensure(fwrite(bytes, (size_t)length, 1, log) == 1);
}

/* An update with this nonce and sum: as it was noted before it left, and that all of it did, or that nobody knows. */
static void note_update(FILE *log, uint64_t nonce, uint64_t units, bool known)
{
    struct message message = {.type = MESSAGE_UPDATE};
    struct operation operation = {.type = OPERATION_CANCEL, .lock_id = 1};
    struct buffer body = {0}, frame = {0};
    body_encode(&body, &operation, 1);
    message.update.proof = (struct balance_proof){.nonce = nonce, .transferred = amount_of(units)};
    message.update.body = body.data;
    message.update.body_length = body.length;
    message_encode(&frame, &message);
    note(log, WIRE_OFFERED, (int64_t)frame.length, frame.data);
    if (known)
        note(log, WIRE_TAKEN, (int64_t)frame.length, NULL);
    buffer_free(&body);
    buffer_free(&frame);
}

struct told {
    uint64_t nonce, units;
    bool known;   /* that it left */
    bool restart; /* before it */
};

static void expect_judgement(const struct run *run, const struct told *told, size_t count, const char *words)
{
    char path[200], message[256];
    snprintf(path, sizeof path, "%s/observed", run->stage->folder);
    FILE *log = fopen(path, "w");
    ensure(log != NULL);
    for (size_t i = 0; i < count; i++) {
        if (told[i].restart)
            note(log, WIRE_PROCESS, 0, NULL);
        note_update(log, told[i].nonce, told[i].units, told[i].known);
    }
    note(log, WIRE_PROCESS, 0, NULL);
    fclose(log);
    struct observer *observer = observer_new(path);
    bool good = observer_read(observer, message, sizeof message);
    observer_free(observer);
    remove(path);
    assert_int_equal(good, *words == '\0');
    assert_non_null(strstr(message, words));
}
#define JUDGED(run, words, ...)                                                                              \
    expect_judgement(run, (const struct told[]){__VA_ARGS__},                                                \
                     sizeof((const struct told[]){__VA_ARGS__}) / sizeof(struct told), words)

static void test_the_observer_sees_what_it_should(void **state)
{
    const struct run *run = *state;
    JUDGED(run, "", {1, 5, true, false}, {2, 7, true, false}, {2, 7, true, true}, {3, 8, true, false});
    JUDGED(run, "one number", {1, 5, true, false}, {1, 6, true, false});
    JUDGED(run, "one number", {1, 5, true, false}, {1, 6, true, true});
    JUDGED(run, "one number", {1, 5, false, false}, {1, 6, true, true}); /* it may have left */
    JUDGED(run, "one number", {1, 5, true, false}, {1, 6, false, true});
    JUDGED(run, "not the next", {1, 5, true, false}, {3, 6, true, false});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_observer_sees_what_it_should),
                                       cmocka_unit_test(test_kills)};
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    failed = failed < 0 ? (int)ARRAY_LENGTH(tests) : failed;
    printf("%d passed, %d failed\n", (int)ARRAY_LENGTH(tests) - failed, failed);
    return failed != 0;
}
