/* A real ledger and a real hub for a test: started, stopped, killed and looked at. The ledger makes a block for
 * each transaction and whenever the test says so; the hub counts a block once another lies on it. Programs are
 * those in build/debug/bin, or in the folder RILL_BIN. */
#ifndef RILL_TESTS_E2E_HUB_FIXTURE_H
#define RILL_TESTS_E2E_HUB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/keystore.h"
#include "ledger/client.h"
#include "tests/support/process.h"

#define UNIT           1000000000u /* base units of the coin in one unit of the channels */
#define PASSPHRASE     "a passphrase"
#define PATIENCE_MS    40000
#define HUB_FLAGS_MAX  64
#define CHALLENGE_TIME "4000"

struct hub_stage {
    char folder[64];
    char contract_text[ADDRESS_TEXT_SIZE];
    char url[64], ledger_log[160], ledger_folder[128], ledger_port[16];
    char hub_folder[128], hub_log[160], key_file[128], passphrase_file[128], port_file[128];
    const char *ledger_flags[8]; /* more flags for it, NULL ends them */
    struct process ledgerd, hubd;
    uint16_t hub_port, http_port;
    struct event_base *base;
    struct ledger *ledger;
    struct secret_key hub;
    struct address contract;
    struct domain domain;
    uint64_t now; /* of the ledger, when it was last asked for */
};

static inline struct secret_key key_of(const char *name)
{
    struct secret_key key;
    struct hash hash = sha256(name, strlen(name));
    memcpy(key.bytes, hash.bytes, sizeof key.bytes);
    return key;
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ensure(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* The file's text, "" if there is none; free it. */
static inline char *file_text(const char *path)
{
    char *text = xcalloc(1, 1);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return text;
    size_t length = 0, got;
    char part[4096];
    while ((got = fread(part, 1, sizeof part, file)) > 0) {
        text = xrealloc(text, length + got + 1);
        memcpy(text + length, part, got);
        length += got;
        text[length] = '\0';
    }
    fclose(file);
    return text;
}

static inline bool file_says(const char *path, const char *words)
{
    char *text = file_text(path);
    bool says = strstr(text, words) != NULL;
    free(text);
    return says;
}

/* The folder goes when the test ends, so what the hub said is shown. */
static inline void fail_with_log(const struct hub_stage *stage, const char *what)
{
    char *text = file_text(stage->hub_log);
    size_t length = strlen(text);
    print_error("in vain: %s. The hub says:\n%s\n", what, length > 6000 ? text + length - 6000 : text);
    free(text);
    fail();
}

/* ---- time ---- */

static inline void on_nothing(evutil_socket_t descriptor, short events, void *context)
{
    (void)descriptor;
    (void)events;
    (void)context;
}

/* Lets the loop run for a moment. */
static inline void turn(struct hub_stage *stage)
{
    struct timeval wait = {0, 10000};
    event_base_once(stage->base, -1, EV_TIMEOUT, on_nothing, NULL, &wait);
    event_base_loop(stage->base, EVLOOP_ONCE);
}

/* Runs the loop until it holds; how long at most is PATIENCE_MS. */
static inline bool holds_in_time(struct hub_stage *stage, bool (*holds)(void *context), void *context)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!holds(context)) {
        if (clock_monotonic_us() > end_us)
            return false;
        turn(stage);
    }
    return true;
}

struct ledger_request_wait {
    bool done, good;
    char text[4096];
};

static inline void on_request(void *context, enum ledger_error error, const char *text)
{
    struct ledger_request_wait *request = context;
    request->done = true;
    request->good = error == LEDGER_OK;
    snprintf(request->text, sizeof request->text, "%s", text == NULL ? "" : text);
}

static inline struct ledger_request_wait ledger_ask(struct hub_stage *stage, const char *method,
                                                    const char *params)
{
    struct ledger_request_wait request = {.done = false};
    ledger_request(stage->ledger, method, params, on_request, &request);
    while (!request.done)
        event_base_loop(stage->base, EVLOOP_ONCE);
    if (!request.good)
        fail_msg("%s: %s", method, ledger_last_error(stage->ledger));
    return request;
}

static inline void mine(struct hub_stage *stage)
{
    (void)ledger_ask(stage, "evm_mine", "[]");
}

/* Time of the newest block, kept in stage->now. */
static inline uint64_t block_time(struct hub_stage *stage)
{
    struct ledger_request_wait request = ledger_ask(stage, "eth_getBlockByNumber", "[\"latest\",false]");
    const char *at = strstr(request.text, "\"timestamp\":");
    assert_non_null(at);
    at = strchr(at, 'x');
    assert_non_null(at);
    stage->now = strtoull(at + 1, NULL, 16);
    return stage->now;
}

/* A block, `seconds` after the last, and one on it: the hub counts with that time now. */
static inline void advance(struct hub_stage *stage, uint64_t seconds)
{
    char params[32];
    snprintf(params, sizeof params, "[%llu]", (unsigned long long)seconds);
    (void)ledger_ask(stage, "evm_increaseTime", params);
    stage->now += seconds; /* the hub may act on it before the blocks below have been answered for */
    mine(stage);
    mine(stage);
    (void)block_time(stage);
}

/* ---- the ledger ---- */

static inline void ledger_start(struct hub_stage *stage)
{
    char path[256], hub[ADDRESS_TEXT_SIZE], fund[160], line[256];
    struct address hub_address = secret_key_address(&stage->hub);
    address_text(&hub_address, hub);
    snprintf(fund, sizeof fund, "%s=100000", hub);
    const char *argv[32] = {process_path("rill-ledgerd", path, sizeof path),
                            "--folder",
                            stage->ledger_folder,
                            "--port",
                            stage->ledger_port,
                            "--hub",
                            hub,
                            "--fund",
                            fund,
                            "--challenge-period",
                            CHALLENGE_TIME};
    size_t count = 11;
    for (size_t i = 0; i < ARRAY_LENGTH(stage->ledger_flags) && stage->ledger_flags[i] != NULL; i++)
        argv[count++] = stage->ledger_flags[i];
    ensure(process_start(&stage->ledgerd, argv, stage->ledger_log));
    ensure(process_line(&stage->ledgerd, "contract ", line, sizeof line, PATIENCE_MS));
    ensure(sscanf(line, "contract %42s", stage->contract_text) == 1);
    ensure(hex_decode(stage->contract_text, stage->contract.bytes, 20));
    ensure(process_line(&stage->ledgerd, "listening on", line, sizeof line, PATIENCE_MS));
    ensure(sscanf(line, "listening on %63s", stage->url) == 1);
    /* A later start must be found at the same place. */
    snprintf(stage->ledger_port, sizeof stage->ledger_port, "%s", strrchr(stage->url, ':') + 1);
    stage->ledger_port[strspn(stage->ledger_port, "0123456789")] = '\0';
}

static inline void ledger_connect(struct hub_stage *stage)
{
    struct ledger_options options = {.url = stage->url, .contract = stage->contract, .poll_ms = 20};
    stage->ledger = ledger_new(stage->base, &options);
    (void)ledger_ask(stage, "eth_blockNumber", "[]");
    stage->domain = domain_make(ledger_chain_id(stage->ledger), &stage->contract);
}

static inline void ledger_call_as(struct hub_stage *stage, const struct secret_key *key,
                                  const struct contract_call *call, uint64_t units)
{
    struct buffer data = {0};
    struct ledger_receipt receipt = {0};
    contract_encode_call(&data, call);
    enum ledger_error error = ledger_send_wait(stage->ledger, key, NULL, (unsigned_wide)units * UNIT,
                                               data.data, data.length, &receipt);
    buffer_free(&data);
    if (error != LEDGER_OK || !receipt.success)
        fail_msg("%s: %s %s: %s", contract_function_signature(call->function), ledger_error_text(error),
                 contract_error_name(receipt.reverted), ledger_last_error(stage->ledger));
}

static inline void send_coins(struct hub_stage *stage, const struct secret_key *key, const struct address *to,
                              uint64_t units)
{
    struct ledger_receipt receipt = {0};
    ensure(ledger_send_wait(stage->ledger, key, to, (unsigned_wide)units * UNIT, NULL, 0, &receipt) ==
           LEDGER_OK);
    assert_true(receipt.success);
}

/* Coins of an address, in base units. */
static inline unsigned_wide coins_of(struct hub_stage *stage, const struct address *address)
{
    char params[96], text[ADDRESS_TEXT_SIZE];
    snprintf(params, sizeof params, "[\"%s\",\"latest\"]", address_text(address, text));
    struct ledger_request_wait request = ledger_ask(stage, "eth_getBalance", params);
    unsigned_wide value = 0;
    const char *digit = strchr(request.text, 'x');
    assert_non_null(digit);
    for (digit++; *digit != '"' && *digit != '\0'; digit++)
        value = value << 4 | (unsigned)(*digit <= '9' ? *digit - '0' : *digit - 'a' + 10);
    return value;
}

/* ---- the hub ---- */

/* Its flags: those that every test has, then `more`. */
static inline void hub_arguments(const struct hub_stage *stage, char path[256], const char *const *more,
                                 const char *out[HUB_FLAGS_MAX])
{
    const char *const common[] = {process_path("rill-hubd", path, 256),
                                  "--data",
                                  stage->hub_folder,
                                  "--listen",
                                  "127.0.0.1:0",
                                  "--http",
                                  "127.0.0.1:0",
                                  "--port-file",
                                  stage->port_file,
                                  "--key-file",
                                  stage->key_file,
                                  "--passphrase-file",
                                  stage->passphrase_file,
                                  "--ledger",
                                  stage->url,
                                  "--contract",
                                  stage->contract_text,
                                  "--confirmations",
                                  "1",
                                  "--poll-ms",
                                  "20",
                                  "--settle-interval-s",
                                  "0",
                                  "--log-level",
                                  "debug"};
    size_t count = 0;
    for (; count < ARRAY_LENGTH(common); count++)
        out[count] = common[count];
    /* A flag given twice counts as it was given last. */
    for (; more != NULL && *more != NULL; more++) {
        ensure(count + 1 < HUB_FLAGS_MAX);
        out[count++] = *more;
    }
    out[count] = NULL;
}

static inline bool hub_is_running(struct hub_stage *stage)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)stage->hubd.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

static inline void hub_launch(struct hub_stage *stage, const char *const *more)
{
    char path[256];
    const char *argv[HUB_FLAGS_MAX];
    hub_arguments(stage, path, more, argv);
    remove(stage->port_file);
    ensure(process_start(&stage->hubd, argv, stage->hub_log));
}

static inline bool hub_serves(void *context)
{
    struct hub_stage *stage = context;
    unsigned port, http_port;
    char *text = file_text(stage->port_file);
    bool serves = sscanf(text, "%u %u", &port, &http_port) == 2;
    free(text);
    if (serves) {
        stage->hub_port = (uint16_t)port;
        stage->http_port = (uint16_t)http_port;
    } else if (!hub_is_running(stage)) {
        fail_with_log(stage, "the hub ended at its start");
    }
    return serves;
}

static inline void hub_wait(struct hub_stage *stage)
{
    if (!holds_in_time(stage, hub_serves, stage))
        fail_with_log(stage, "the hub's start");
}

static inline void hub_start(struct hub_stage *stage, const char *const *more)
{
    hub_launch(stage, more);
    hub_wait(stage);
}

static inline void hub_kill(struct hub_stage *stage)
{
    assert_int_equal(process_end(&stage->hubd, SIGKILL), -SIGKILL);
}

static inline void hub_stop(struct hub_stage *stage)
{
    int code = process_end(&stage->hubd, SIGTERM);
    if (code != 0)
        fail_with_log(stage, "a clean stop");
    assert_int_equal(code, 0);
}

/* One request to 127.0.0.1; the whole answer, its head included; free it. "" if nothing answers. */
static inline char *http_ask(uint16_t port, const char *method, const char *path)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *answer = xcalloc(1, 1);
    struct buffer request = {0};
    buffer_printf(&request, "%s %s HTTP/1.0\r\nContent-Length: 0\r\n\r\n", method, path);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(descriptor, request.data, request.length) == (ssize_t)request.length) {
        size_t used = 0;
        char part[4096];
        ssize_t got;
        while ((got = read(descriptor, part, sizeof part)) > 0) {
            answer = xrealloc(answer, used + (size_t)got + 1);
            memcpy(answer + used, part, (size_t)got);
            used += (size_t)got;
            answer[used] = '\0';
        }
    }
    buffer_free(&request);
    close(descriptor);
    return answer;
}

/* A figure of the hub's /metrics; fails the test if it is not there. */
static inline uint64_t hub_figure(struct hub_stage *stage, const char *name)
{
    char line[96], *text = http_ask(stage->http_port, "GET", "/metrics");
    unsigned long long value = 0;
    snprintf(line, sizeof line, "\nrill_%s ", name);
    const char *at = strstr(text, line);
    if (at == NULL || sscanf(at + strlen(line), "%llu", &value) != 1)
        fail_msg("no figure %s in: %s", name, text);
    free(text);
    return value;
}

/* ---- the set ---- */

/* A folder and the hub's key; nothing runs. */
static inline struct hub_stage *stage_new(const char *const *ledger_flags)
{
    struct hub_stage *stage = xcalloc(1, sizeof *stage);
    folder_make(stage->folder, sizeof stage->folder);
    stage->base = event_base_new();
    stage->hub = key_of("end to end hub");
    snprintf(stage->ledger_folder, sizeof stage->ledger_folder, "%s/ledger", stage->folder);
    snprintf(stage->ledger_log, sizeof stage->ledger_log, "%s/ledger.log", stage->folder);
    snprintf(stage->ledger_port, sizeof stage->ledger_port, "0");
    snprintf(stage->hub_folder, sizeof stage->hub_folder, "%s/hub", stage->folder);
    snprintf(stage->hub_log, sizeof stage->hub_log, "%s/hub.log", stage->folder);
    snprintf(stage->key_file, sizeof stage->key_file, "%s/hub.json", stage->folder);
    snprintf(stage->passphrase_file, sizeof stage->passphrase_file, "%s/hub.pass", stage->folder);
    snprintf(stage->port_file, sizeof stage->port_file, "%s/hub.ports", stage->folder);
    for (size_t i = 0; ledger_flags != NULL && ledger_flags[i] != NULL; i++) {
        ensure(i + 1 < ARRAY_LENGTH(stage->ledger_flags));
        stage->ledger_flags[i] = ledger_flags[i];
    }
    write_file(stage->passphrase_file, PASSPHRASE "\n");
    ensure(keystore_create(stage->key_file, PASSPHRASE, &stage->hub, 2) == KEYSTORE_OK);
    return stage;
}

/* A ledger is there (url, contract): the coin is listed, and money put into the hub's pool. */
static inline void stage_begin(struct hub_stage *stage)
{
    ledger_connect(stage);
    ledger_call_as(stage, &stage->hub, &(struct contract_call){.function = CONTRACT_LIST_ASSET, .unit = UNIT},
                   0);
    ledger_call_as(stage, &stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL, .amount = amount_of(1000000)},
                   1000000);
}

/* Ledger running, the coin listed, money in the hub's pool; the hub not started. */
static inline struct hub_stage *stage_open(const char *const *ledger_flags)
{
    struct hub_stage *stage = stage_new(ledger_flags);
    ledger_start(stage);
    stage_begin(stage);
    return stage;
}

static inline void stage_close(struct hub_stage *stage)
{
    process_end(&stage->hubd, SIGKILL);
    ledger_free(stage->ledger);
    event_base_dispatch(stage->base); /* links that were closed go when their last bytes have */
    event_base_free(stage->base);
    process_end(&stage->ledgerd, SIGTERM);
    folder_remove(stage->folder);
    free(stage);
}

#endif
