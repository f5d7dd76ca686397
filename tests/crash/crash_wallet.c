/* A wallet in a process of its own, over include/rill.h, for tests that kill it:
 *
 *     crash_wallet payee NAME FOLDER …   appends invoices to FOLDER/NAME.invoices, more as they are paid; has some of what
 *                                        it earns paid out
 *     crash_wallet payer NAME FOLDER …   pays what stands in *.invoices, each once, and appends each receipt to
 *                                        FOLDER/NAME.receipts, synced, before it goes on. When FOLDER/stop exists it
 *                                        pays no more, and ends once nothing is under way.
 *     crash_wallet audit NAME FOLDER …   prints its balance and its payments, once in step with the hub, and ends
 *
 * … = LEDGER-URL CONTRACT HUB-PORT TOWER-PORT TOWER-ADDRESS. Its key is the hash of its name; its journal is
 * FOLDER/NAME. */
#include <errno.h>
#include <event2/event.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "rill.h"

#define AHEAD          60 /* invoices that wait to be paid */
#define WINDOW         6  /* payments under way */
#define HASHES_MAX     200000
#define TICK_MS        20
#define LIFETIME_S     7200
#define LEDGER_MS      60000
#define AMOUNT_BASE    100
#define WITHDRAW_TICKS 40
#define WITHDRAWN      300
#define SAY_TICKS      500
#define RECOUNT_TICKS  5
#define EAGER_US       1500000

static const uint8_t coin[20];

struct driver {
    const char *role, *name, *folder;
    struct event_base *base;
    struct rill_wallet *wallet;
    uint8_t (*tried)[32]; /* secret hashes of payments begun, this life or before */
    size_t tried_count, under_way;
    size_t invoices, received; /* of a payee: lines in its file, and those paid */
    char files[8][256];        /* of a payer: the payees' files */
    long offsets[8];
    size_t file_count, turn;
    unsigned ticks, turns;
    struct rill_options options;
    char **arguments;
    char journal[256];
    uint64_t ready_us; /* when it was last ready, or opened */
};

static const char *path_of(const struct driver *driver, const char *suffix, char out[256])
{
    snprintf(out, 256, "%.120s/%.60s%s", driver->folder, driver->name, suffix);
    return out;
}

/* A line that survives whatever comes next. */
static void append_line(const struct driver *driver, const char *suffix, const char *line)
{
    char path[256];
    FILE *file = fopen(path_of(driver, suffix, path), "a");
    ensure(file != NULL && fputs(line, file) >= 0 && fflush(file) == 0 && fdatasync(fileno(file)) == 0);
    fclose(file);
}

/* ---- payee ---- */

static size_t lines_of(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t count = 0;
    int byte;
    while (file != NULL && (byte = getc(file)) != EOF)
        count += byte == '\n';
    if (file != NULL)
        fclose(file);
    return count;
}

/* Invoices that no payer will pay any more: a lock fails when its payee is away. */
static size_t failures_of_payers(const struct driver *driver)
{
    size_t count = 0;
    for (int i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%.200s/payer%d.failures", driver->folder, i);
        count += lines_of(path);
    }
    return count;
}

static void make_invoices(struct driver *driver)
{
    char text[RILL_INVOICE_TEXT_MAX], line[RILL_INVOICE_TEXT_MAX + 64];
    size_t over = driver->received + failures_of_payers(driver);
    while (driver->invoices < over + AHEAD) {
        uint64_t amount = AMOUNT_BASE + driver->invoices % 100;
        if (rill_invoice_create(driver->wallet, coin, amount, LIFETIME_S, "crash", text, NULL) != 0)
            return;
        snprintf(line, sizeof line, "%s\n", text);
        append_line(driver, ".invoices", line);
        driver->invoices++;
    }
}

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct driver *driver = context;
    (void)wallet;
    (void)payment;
    driver->received++;
}

/* ---- payer ---- */

/* The place of a hash among those tried, or the free one where it belongs. */
static size_t place_of(const struct driver *driver, const uint8_t hash[32])
{
    static const uint8_t none[32];
    size_t at = load_be32(hash) % HASHES_MAX;
    while (memcmp(driver->tried[at], none, 32) != 0 && memcmp(driver->tried[at], hash, 32) != 0)
        at = (at + 1) % HASHES_MAX;
    return at;
}

static bool was_tried(const struct driver *driver, const uint8_t hash[32])
{
    return memcmp(driver->tried[place_of(driver, hash)], hash, 32) == 0;
}

static void note_tried(struct driver *driver, const uint8_t hash[32])
{
    ensure(++driver->tried_count < HASHES_MAX / 2);
    memcpy(driver->tried[place_of(driver, hash)], hash, 32);
}

static void on_paid(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct driver *driver = context;
    char hash[65], secret[65], line[200];
    (void)wallet;
    hex_encode(payment->secret_hash, 32, hash);
    hex_encode(payment->secret, 32, secret);
    snprintf(line, sizeof line, "%s %s %" PRIu64 "\n", hash, secret, payment->amount);
    append_line(driver, ".receipts", line);
}

static void note_failure(struct driver *driver, int code)
{
    char line[96];
    snprintf(line, sizeof line, "%s\n", rill_code_name(code));
    append_line(driver, ".failures", line);
}

static void on_failed(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct driver *driver = context;
    (void)wallet;
    note_failure(driver, payment->code);
}

static bool count_pending(void *context, const struct rill_payment *payment)
{
    ((struct driver *)context)->under_way += payment->outgoing && !payment->is_final;
    return true;
}

static void recount(struct driver *driver)
{
    driver->under_way = 0;
    rill_history(driver->wallet, count_pending, driver);
}

static bool is_stopping(const struct driver *driver)
{
    char path[256];
    snprintf(path, sizeof path, "%.200s/stop", driver->folder);
    return access(path, F_OK) == 0;
}

/* The next whole line of the next payee's file. */
static bool next_invoice(struct driver *driver, char *line, size_t size)
{
    for (size_t i = 0; i < driver->file_count; i++) {
        size_t at = driver->turn++ % driver->file_count;
        FILE *file = fopen(driver->files[at], "r");
        if (file == NULL)
            continue;
        bool found = fseek(file, driver->offsets[at], SEEK_SET) == 0 &&
                     fgets(line, (int)size, file) != NULL && strchr(line, '\n') != NULL;
        if (found)
            driver->offsets[at] = ftell(file);
        fclose(file);
        if (found) {
            line[strcspn(line, "\n")] = '\0';
            return true;
        }
    }
    return false;
}

/* Of two payers each takes every other invoice. */
static bool is_mine(const struct driver *driver, const struct rill_invoice *invoice)
{
    size_t length = strlen(driver->name);
    return (invoice->secret_hash[31] & 1) == (driver->name[length - 1] & 1);
}

static void pay_more(struct driver *driver)
{
    char line[RILL_INVOICE_TEXT_MAX + 64], message[256];
    while (driver->under_way < WINDOW && next_invoice(driver, line, sizeof line)) {
        struct rill_invoice invoice;
        if (!rill_invoice_read(driver->wallet, line, &invoice, message, sizeof message) ||
            !is_mine(driver, &invoice) || was_tried(driver, invoice.secret_hash))
            continue;
        struct rill_request request = {.invoice = line,
                                       .mode = invoice.secret_hash[0] & 1 ? RILL_LOCKED : RILL_DIRECT};
        int code = rill_pay(driver->wallet, &request, NULL);
        if (code != 0) {
            note_failure(driver, code);
            continue;
        }
        note_tried(driver, invoice.secret_hash);
        driver->under_way++;
    }
}

static void find_files(struct driver *driver)
{
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%.200s/*.invoices", driver->folder);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = driver->file_count; i < found.gl_pathc && i < 8; i++)
        snprintf(driver->files[driver->file_count++], 256, "%s", found.gl_pathv[i]);
    globfree(&found);
}

static bool count_history(void *context, const struct rill_payment *payment)
{
    struct driver *driver = context;
    if (payment->outgoing) {
        note_tried(driver, payment->secret_hash);
    } else if (payment->has_secret || strcmp(payment->state, "received") == 0) {
        driver->received++;
    }
    return true;
}

/* ---- audit ---- */

static bool print_payment(void *context, const struct rill_payment *payment)
{
    char hash[65];
    (void)context;
    hex_encode(payment->secret_hash, 32, hash);
    printf("payment %s %s %d %d %" PRIu64 " %" PRIu64 " %s\n", payment->outgoing ? "out" : "in", hash,
           payment->is_final, payment->has_secret, payment->amount, payment->fee, payment->state);
    return true;
}

static void audit(struct driver *driver)
{
    struct rill_balance balance;
    if (!rill_is_ready(driver->wallet) || !rill_is_idle(driver->wallet) ||
        !rill_balance_of(driver->wallet, coin, &balance) || !balance.synced || balance.settling > 0)
        return;
    printf("balance %" PRIu64 " locked %" PRIu64 " incoming %" PRIu64 " frozen %" PRIu64 "\n",
           balance.balance, balance.locked, balance.incoming, balance.frozen);
    rill_history(driver->wallet, print_payment, NULL);
    printf("end\n");
    fflush(stdout);
    event_base_loopbreak(driver->base);
}

/* What an end that does not come waits for. */
static bool print_pending(void *context, const struct rill_payment *payment)
{
    char hash[65];
    const struct driver *driver = context;
    hex_encode(payment->secret_hash, 32, hash);
    if (!payment->is_final)
        fprintf(stderr, "%s: under way: %.16s %s %s\n", driver->name, hash,
                payment->locked ? "locked" : "direct", payment->state);
    return true;
}

static void say_why_not_done(struct driver *driver)
{
    if (++driver->ticks % SAY_TICKS != 0)
        return;
    fprintf(stderr, "%s: %zu under way, %s, %s\n", driver->name, driver->under_way,
            rill_is_ready(driver->wallet) ? "ready" : "not ready",
            rill_is_idle(driver->wallet) ? "idle" : "busy");
    rill_history(driver->wallet, print_pending, driver);
}

/* ---- all ---- */

static void on_trouble(void *context, struct rill_wallet *wallet, const char *text)
{
    const struct driver *driver = context;
    (void)wallet;
    fprintf(stderr, "%s: %s\n", driver->name, text);
}

static void payee_turn(struct driver *driver)
{
    make_invoices(driver);
    if (++driver->ticks % WITHDRAW_TICKS == 0 && !is_stopping(driver))
        (void)rill_withdraw(driver->wallet, coin, WITHDRAWN); /* refused while one is under way */
}

static void payer_turn(struct driver *driver)
{
    if (driver->turns++ % RECOUNT_TICKS == 0 || is_stopping(driver))
        recount(driver);
    if (!is_stopping(driver)) {
        find_files(driver);
        if (rill_is_ready(driver->wallet))
            pay_more(driver);
        say_why_not_done(driver);
    } else if (driver->under_way == 0 && rill_is_idle(driver->wallet)) {
        event_base_loopbreak(driver->base);
    } else {
        say_why_not_done(driver);
    }
}

static void open_wallet(struct driver *driver)
{
    static const struct rill_callbacks callbacks = {
        .paid = on_paid, .failed = on_failed, .received = on_received, .trouble = on_trouble};
    char message[512];
    driver->wallet = rill_open(driver->base, &driver->options, &callbacks, driver, message, sizeof message);
    if (driver->wallet == NULL) {
        fprintf(stderr, "%s: %s\n", driver->name, message);
        exit(1);
    }
    driver->ready_us = clock_monotonic_us();
    driver->tried_count = driver->received = 0;
    rill_history(driver->wallet, count_history, driver);
}

/* A wallet whose hub goes again and again tries it less and less often, up to half a minute. Here whoever uses it has no
 * such patience, and starts it anew. */
static void stay_eager(struct driver *driver)
{
    uint64_t now_us = clock_monotonic_us();
    if (rill_is_ready(driver->wallet))
        driver->ready_us = now_us;
    if (now_us - driver->ready_us < EAGER_US)
        return;
    rill_close_handle(driver->wallet);
    (void)execv(driver->arguments[0], driver->arguments);
    exit(1);
}

static void on_tick(evutil_socket_t descriptor, short events, void *context)
{
    struct driver *driver = context;
    (void)descriptor;
    (void)events;
    stay_eager(driver);
    if (strcmp(driver->role, "audit") == 0)
        audit(driver);
    else if (strcmp(driver->role, "payee") == 0)
        payee_turn(driver);
    else
        payer_turn(driver);
}

static struct rill_options options_of(char **arguments, const struct secret_key *key, const char *folder,
                                      struct rill_ledger *ledger)
{
    struct rill_options options = {.folder = folder,
                                   .ledger = ledger,
                                   .hub_host = "127.0.0.1",
                                   .hub_port = (uint16_t)strtoul(arguments[6], NULL, 10),
                                   .max_unsecured = RILL_UNLIMITED,
                                   .max_unsecured_per_payee = RILL_UNLIMITED,
                                   .tower_count = 1};
    memcpy(options.key, key->bytes, 32);
    options.towers[0] =
        (struct rill_tower){.host = "127.0.0.1", .port = (uint16_t)strtoul(arguments[7], NULL, 10)};
    ensure(hex_decode(arguments[8], options.towers[0].address, 20));
    return options;
}

int main(int count, char **arguments)
{
    struct driver driver = {0};
    struct secret_key key;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (count != 9) {
        fprintf(stderr, "usage: see the head of crash_wallet.c\n");
        return 2;
    }
    driver.arguments = arguments;
    driver.role = arguments[1];
    driver.name = arguments[2];
    driver.folder = arguments[3];
    driver.tried = xcalloc(HASHES_MAX, 32);
    driver.base = event_base_new();
    struct hash hash = sha256(driver.name, strlen(driver.name));
    memcpy(key.bytes, hash.bytes, 32);
    struct rill_ledger_options ledger_options = {.url = arguments[4], .confirmations = 1, .poll_ms = 50};
    ensure(hex_decode(arguments[5], ledger_options.contract, 20));
    struct rill_ledger *ledger = rill_ledger_new(driver.base, &ledger_options);
    if (!rill_ledger_wait(ledger, LEDGER_MS)) {
        fprintf(stderr, "%s: %s\n", driver.name, rill_ledger_trouble(ledger));
        return 3;
    }
    driver.options = options_of(arguments, &key, path_of(&driver, "", driver.journal), ledger);
    char path[256];
    driver.invoices = lines_of(path_of(&driver, ".invoices", path));
    open_wallet(&driver);
    printf("started\n");
    fflush(stdout);
    const struct timeval tick = {0, TICK_MS * 1000};
    struct event *timer = event_new(driver.base, -1, EV_PERSIST, on_tick, &driver);
    event_add(timer, &tick);
    event_base_dispatch(driver.base);
    event_free(timer);
    rill_close_handle(driver.wallet);
    rill_ledger_free(ledger);
    event_base_free(driver.base);
    free(driver.tried);
    return 0;
}
