/* rill-ledgerd as a process: HTTP by hand, limits, restarts, kill -9 at any moment, and every way a start can fail. Needs
 * build/debug/bin/rill-ledgerd, or another in the folder RILL_BIN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "ledger/contract.h"
#include "ledger/embedded/accounts.h"
#include "tests/support/process.h"

#define PATIENCE_MS   20000
#define ARGUMENTS_MAX 24
#define HUB_TEXT      "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
#define SINK_TEXT     "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

struct stage {
    char folder[64], ledger[96], errors[96], port_file[96];
    struct process ledgerd;
    uint16_t port;
    uint64_t nonce;
};

/* ---- the process ---- */

/* Starts with the stage's folder and a port of the system's choice, and more flags up to NULL. */
static void launch(struct stage *stage, const char *const more[])
{
    char path[512];
    const char *arguments[ARGUMENTS_MAX] = {process_path("rill-ledgerd", path, sizeof(path)),
                                            "--folder",
                                            stage->ledger,
                                            "--port-file",
                                            stage->port_file,
                                            "--log-level",
                                            "warn"};
    size_t count = 7;
    bool has_port = false;
    for (; *more != NULL; more++) {
        has_port = has_port || strcmp(*more, "--port") == 0;
        ensure(count < ARGUMENTS_MAX - 3);
        arguments[count++] = *more;
    }
    if (!has_port) {
        arguments[count++] = "--port";
        arguments[count++] = "0";
    }
    if (!process_start(&stage->ledgerd, arguments, stage->errors))
        fail_msg("%s cannot be started: make it first", path);
}

static void start_with(struct stage *stage, const char *const more[])
{
    char line[256];
    launch(stage, more);
    if (!process_line(&stage->ledgerd, "listening on", line, sizeof(line), PATIENCE_MS))
        fail_msg("rill-ledgerd never listened");
    stage->port = (uint16_t)strtoull(strrchr(line, ':') + 1, NULL, 10);
}
#define START(stage, ...) start_with(stage, (const char *const[]){__VA_ARGS__, NULL})

static const char *errors_of(const struct stage *stage)
{
    static char text[4096];
    FILE *file = fopen(stage->errors, "re");
    size_t length = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    if (file != NULL)
        fclose(file);
    return text;
}

/* Must end at once with one line on stderr that has the word. */
static void fails_with(struct stage *stage, int code, const char *word, const char *const more[])
{
    unlink(stage->errors);
    launch(stage, more);
    struct pollfd wait = {.fd = stage->ledgerd.output, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1); /* its stdout is closed: it has ended */
    assert_int_equal(process_end(&stage->ledgerd, 0), code);
    const char *errors = errors_of(stage);
    if (strstr(errors, word) == NULL || strncmp(errors, "rill-ledgerd: ", 14) != 0)
        fail_msg("it said: %s", errors);
    assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1);
}
#define FAILS(stage, code, word, ...) fails_with(stage, code, word, (const char *const[]){__VA_ARGS__, NULL})

static int setup(void **state)
{
    struct stage *stage = xcalloc(1, sizeof(*stage));
    folder_make(stage->folder, sizeof(stage->folder));
    snprintf(stage->ledger, sizeof(stage->ledger), "%s/ledger", stage->folder);
    snprintf(stage->errors, sizeof(stage->errors), "%s/errors", stage->folder);
    snprintf(stage->port_file, sizeof(stage->port_file), "%s/port", stage->folder);
    stage->ledgerd.output = -1;
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    int code = process_end(&stage->ledgerd, SIGTERM);
    const char *errors = errors_of(stage);
    bool clean = strstr(errors, "Sanitizer") == NULL && strstr(errors, "ensure") == NULL;
    if (!clean)
        fprintf(stderr, "%s\n", errors);
    folder_remove(stage->folder);
    free(stage);
    return clean && code == 0 ? 0 : -1;
}

/* ---- HTTP by hand ---- */

static int connect_to(const struct stage *stage)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(stage->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof(address)), 0);
    return descriptor;
}

static void write_all(int descriptor, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = send(descriptor, data, length, MSG_NOSIGNAL);
        if (written <= 0)
            return; /* the other side has had enough */
        data += written;
        length -= (size_t)written;
    }
}

/* Reads until the whole answer is there, the other side closes, or time is up. The status; 0: none. */
static int read_answer(int descriptor, struct buffer *body, int timeout_ms)
{
    struct buffer all = {0};
    int status = 0;
    size_t need = SIZE_MAX, head = 0;
    while (all.length < need) {
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        char piece[4096];
        ssize_t got = poll(&wait, 1, timeout_ms) == 1 ? recv(descriptor, piece, sizeof(piece), 0) : -1;
        if (got <= 0)
            break;
        buffer_append(&all, piece, (size_t)got);
        const char *end = memmem(all.data, all.length, "\r\n\r\n", 4);
        if (end != NULL && head == 0) {
            head = (size_t)(end - (const char *)all.data) + 4;
            const char *length = memmem(all.data, head, "Content-Length: ", 16);
            need = head + (length == NULL ? 0 : strtoul(length + 16, NULL, 10));
        }
    }
    if (head > 0) {
        status = (int)strtoull((const char *)all.data + 9, NULL, 10);
        buffer_append(body, all.data + head, all.length - head);
    }
    buffer_free(&all);
    return status;
}

static void write_post(int descriptor, const char *body, size_t length)
{
    char head[128];
    int size = snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: ledger\r\nContent-Length: %zu\r\n\r\n",
                        length);
    write_all(descriptor, head, (size_t)size);
    write_all(descriptor, body, length);
}

/* One call on a connection of its own; `result` as text, or NULL where there was an error or no answer. */
static json_t *call(const struct stage *stage, const char *method, const char *params)
{
    struct buffer request = {0}, body = {0};
    buffer_printf(&request, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
    int descriptor = connect_to(stage);
    write_post(descriptor, (const char *)request.data, request.length);
    int status = read_answer(descriptor, &body, PATIENCE_MS);
    close(descriptor);
    json_t *answer = status == 200 ? json_loadb((const char *)body.data, body.length, 0, NULL) : NULL;
    json_t *result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    buffer_free(&request);
    buffer_free(&body);
    return result;
}

static void assert_result(const struct stage *stage, const char *method, const char *params,
                          const char *expected)
{
    json_t *result = call(stage, method, params);
    assert_true(json_is_string(result));
    assert_string_equal(json_string_value(result), expected);
    json_decref(result);
}

static uint64_t number_of(const struct stage *stage, const char *method, const char *params)
{
    json_t *result = call(stage, method, params);
    assert_true(json_is_string(result));
    uint64_t number = strtoull(json_string_value(result), NULL, 16);
    json_decref(result);
    return number;
}

/* A transfer of one wei from the first development account, as params. */
static char *transfer_params(uint64_t nonce)
{
    struct secret_key key = development_key(0);
    struct transaction transaction = {
        .chain_id = 31337, .nonce = nonce, .max_fee_per_gas = 1000000000, .gas_limit = 21000, .value = 1};
    struct buffer raw = {0};
    memset(transaction.to.bytes, 0xee, sizeof(transaction.to.bytes));
    (void)transaction_sign(&transaction, &key, &raw);
    char *text = xmalloc(2 * raw.length + 16);
    memcpy(text, "[\"0x", 4);
    hex_encode(raw.data, raw.length, text + 4);
    strcat(text, "\"]");
    buffer_free(&raw);
    return text;
}

/* Returns whether it was answered with its hash. */
static bool transfer(struct stage *stage)
{
    char *params = transfer_params(stage->nonce);
    json_t *result = call(stage, "eth_sendRawTransaction", params);
    bool good = json_is_string(result);
    json_decref(result);
    free(params);
    stage->nonce += good ? 1 : 0;
    return good;
}

/* ---- tests ---- */

static void test_starts_and_says_where(void **state)
{
    struct stage *stage = *state;
    char port[16] = "";
    START(stage, "--hub", SINK_TEXT);
    FILE *file = fopen(stage->port_file, "re");
    assert_non_null(file);
    assert_non_null(fgets(port, sizeof(port), file));
    fclose(file);
    assert_int_equal(strtoull(port, NULL, 10), stage->port);
    assert_result(stage, "eth_chainId", "[]", "0x7a69");
    struct buffer data = {0}, params = {0};
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_HUB});
    char hex[9];
    hex_encode(data.data, 4, hex);
    buffer_printf(&params,
                  "[{\"to\":\"0x52696c6c00000000000000000000000000000001\",\"data\":\"0x%s\"},\"latest\"]",
                  hex);
    buffer_u8(&params, 0);
    assert_result(stage, "eth_call", (const char *)params.data,
                  "0x000000000000000000000000eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
    buffer_free(&data);
    buffer_free(&params);
    assert_int_equal(process_end(&stage->ledgerd, SIGTERM), 0);
}

static void test_http(void **state)
{
    struct stage *stage = *state;
    struct buffer body = {0};
    static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_blockNumber\"}";
    START(stage, "--dev");
    int descriptor = connect_to(stage);
    for (int i = 0; i < 3; i++) { /* the connection stays */
        buffer_clear(&body);
        write_post(descriptor, request, strlen(request));
        assert_int_equal(read_answer(descriptor, &body, PATIENCE_MS), 200);
        assert_non_null(memmem(body.data, body.length, "\"0x0\"", 5));
    }
    /* In pieces. */
    char head[128];
    int size = snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                        strlen(request));
    for (int i = 0; i < size; i++)
        write_all(descriptor, head + i, 1);
    for (size_t i = 0; i < strlen(request); i++)
        write_all(descriptor, request + i, 1);
    assert_int_equal(read_answer(descriptor, &body, PATIENCE_MS), 200);
    close(descriptor);

    descriptor = connect_to(stage); /* not a POST */
    write_all(descriptor, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    assert_int_equal(read_answer(descriptor, &body, PATIENCE_MS) / 100, 5);
    close(descriptor);
    descriptor = connect_to(stage); /* not HTTP */
    write_all(descriptor, "\x16\x03\x01 hello\r\n\r\n", 13);
    assert_true(read_answer(descriptor, &body, PATIENCE_MS) != 200);
    close(descriptor);
    descriptor = connect_to(stage); /* too large, said and real */
    write_all(descriptor, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 57);
    assert_true(read_answer(descriptor, &body, PATIENCE_MS) != 200);
    close(descriptor);
    char *large = xcalloc(1, 1100000);
    descriptor = connect_to(stage);
    write_post(descriptor, large, 1100000);
    assert_int_equal(read_answer(descriptor, &body, PATIENCE_MS), 413);
    close(descriptor);
    descriptor = connect_to(stage); /* headers without end */
    memset(large, 'x', 100000);
    write_all(descriptor, "POST / HTTP/1.1\r\nX: ", 20);
    write_all(descriptor, large, 100000);
    assert_true(read_answer(descriptor, &body, PATIENCE_MS) != 200);
    close(descriptor);
    free(large);
    buffer_clear(&body);
    descriptor = connect_to(stage); /* not JSON */
    write_post(descriptor, "{", 1);
    assert_int_equal(read_answer(descriptor, &body, PATIENCE_MS), 200);
    assert_non_null(memmem(body.data, body.length, "-32700", 6));
    close(descriptor);
    buffer_free(&body);
    assert_result(stage, "eth_blockNumber", "[]", "0x0");
}

/* Over the limit a connection waits until another is gone; nothing is lost. */
static void test_connection_limit(void **state)
{
    struct stage *stage = *state;
    static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_blockNumber\"}";
    enum { ALLOWED = 4, MORE = 3 };
    int descriptors[ALLOWED + MORE];
    START(stage, "--connections", "4");
    for (size_t i = 0; i < ALLOWED + MORE; i++) {
        struct buffer body = {0};
        descriptors[i] = connect_to(stage);
        write_post(descriptors[i], request, strlen(request));
        assert_int_equal(read_answer(descriptors[i], &body, i < ALLOWED ? PATIENCE_MS : 200),
                         i < ALLOWED ? 200 : 0);
        buffer_free(&body);
    }
    for (size_t i = 0; i < MORE; i++) {
        struct buffer body = {0};
        close(descriptors[i]);
        assert_int_equal(read_answer(descriptors[ALLOWED + i], &body, PATIENCE_MS), 200);
        buffer_free(&body);
    }
    for (size_t i = MORE; i < ALLOWED + MORE; i++)
        close(descriptors[i]);
    for (size_t i = 0; i < 40; i++) /* many, one after another */
        assert_result(stage, "eth_blockNumber", "[]", "0x0");
}

static void test_same_chain_after_a_restart(void **state)
{
    struct stage *stage = *state;
    START(stage, "--challenge-period", "600", "--bounty-bps", "0");
    for (int i = 0; i < 5; i++)
        assert_true(transfer(stage));
    json_t *before = call(stage, "eth_getBlockByNumber", "[\"0x3\",true]");
    json_t *increased = call(stage, "evm_increaseTime", "[5000]");
    assert_true(json_is_integer(increased));
    json_decref(increased);
    assert_int_equal(process_end(&stage->ledgerd, SIGTERM), 0);
    START(stage, "--dev");
    json_t *after = call(stage, "eth_getBlockByNumber", "[\"0x3\",true]");
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    assert_result(stage, "eth_blockNumber", "[]", "0x5");
    assert_result(stage, "eth_getBalance", "[\"" SINK_TEXT "\",\"latest\"]", "0x5");
    assert_result(stage, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"latest\"]", "0x5");
    assert_true(transfer(stage));
    json_t *block = call(stage, "eth_getBlockByNumber", "[\"latest\",false]");
    uint64_t time = strtoull(json_string_value(json_object_get(block, "timestamp")), NULL, 16);
    json_decref(block);
    assert_in_range(time, clock_unix_s() + 4900, clock_unix_s() + 5100);
}

/* What was answered is there after kill -9, whenever it comes; what was not may be there or not. */
static void test_kill_9(void **state)
{
    struct stage *stage = *state;
    for (int round = 0; round < 4; round++) {
        START(stage, "--dev");
        uint64_t answered = stage->nonce;
        uint64_t there = number_of(stage, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"latest\"]");
        assert_in_range(there, answered, answered + 1);
        stage->nonce = there;
        for (int i = 0; i < 5 + 3 * round; i++)
            assert_true(transfer(stage));
        /* One that is on its way when it happens. */
        char *params = transfer_params(stage->nonce);
        struct buffer request = {0};
        buffer_printf(&request,
                      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_sendRawTransaction\",\"params\":%s}",
                      params);
        int descriptor = connect_to(stage);
        write_post(descriptor, (const char *)request.data, request.length);
        poll(NULL, 0, round);
        assert_int_equal(process_end(&stage->ledgerd, SIGKILL), -SIGKILL);
        close(descriptor);
        buffer_free(&request);
        free(params);
    }
    START(stage, "--dev");
    uint64_t count = number_of(stage, "eth_getTransactionCount", "[\"" HUB_TEXT "\",\"latest\"]");
    assert_in_range(count, stage->nonce, stage->nonce + 1);
    assert_int_equal(number_of(stage, "eth_blockNumber", "[]"), count);
    assert_int_equal(number_of(stage, "eth_getBalance", "[\"" SINK_TEXT "\"]"), count);
}

static void wait_for_block(const struct stage *stage, uint64_t number)
{
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        if (number_of(stage, "eth_blockNumber", "[]") >= number)
            return;
        poll(NULL, 0, 10);
    }
    fail_msg("block %llu never came", (unsigned long long)number);
}

static void test_blocks_at_an_interval(void **state)
{
    struct stage *stage = *state;
    START(stage, "--block-interval-ms", "50");
    assert_true(transfer(stage));
    assert_true(transfer(stage));
    uint64_t head = number_of(stage, "eth_blockNumber", "[]");
    wait_for_block(stage, head + 3); /* empty ones too */
    assert_int_equal(number_of(stage, "eth_getBalance", "[\"" SINK_TEXT "\"]"), 2);
}

static void test_idle_blocks(void **state)
{
    struct stage *stage = *state;
    START(stage, "--idle-block-ms", "50");
    assert_true(transfer(stage));
    assert_int_equal(number_of(stage, "eth_getBalance", "[\"" SINK_TEXT "\"]"), 1); /* at once */
    wait_for_block(stage, 4);
}

static void test_coins_at_the_start(void **state)
{
    struct stage *stage = *state;
    START(stage, "--dev=false", "--hub", HUB_TEXT, "--fund", SINK_TEXT "=3");
    assert_result(stage, "eth_getBalance", "[\"" SINK_TEXT "\"]", "0x29a2241af62c0000");
    assert_result(stage, "eth_getBalance", "[\"" HUB_TEXT "\"]", "0x0");
    assert_null(call(stage, "evm_mine", "[]"));
}

static void test_starts_that_fail(void **state)
{
    struct stage *stage = *state;
    char port[16];
    FAILS(stage, 2, "--port", "--port", "70000");
    FAILS(stage, 2, "did you mean --port?", "--prot", "1");
    FAILS(stage, 1, "--hub: 'me' is not an address", "--hub", "me");
    FAILS(stage, 1, "--bounty-bps", "--bounty-bps", "5001");
    FAILS(stage, 1, "--bounty-bps", "--bounty-bps", "12x");
    FAILS(stage, 1, "--fund", "--fund", "someone=5");
    FAILS(stage, 1, "--hub 0x", "--dev=false");
    FAILS(stage, 1, "/dev/null/nowhere", "--folder", "/dev/null/nowhere");
    struct stage other = *stage;
    START(&other, "--challenge-period", "600");
    FAILS(stage, 1, stage->ledger, "--dev"); /* the folder is in use */
    snprintf(stage->ledger, sizeof(stage->ledger), "%s/second", stage->folder);
    snprintf(port, sizeof(port), "%u", other.port);
    FAILS(stage, 1, "--port chooses another", "--port", port);
    FAILS(stage, 1, "port file", "--port-file", "/dev/null/port");
    assert_int_equal(process_end(&other.ledgerd, SIGTERM), 0);
    memcpy(stage->ledger, other.ledger, sizeof(stage->ledger));
    FAILS(stage, 1, "challenge period of 600 s", "--challenge-period", "601");
    FAILS(stage, 1, "made for the hub", "--hub", SINK_TEXT);
    FAILS(stage, 1, "chain id 31337", "--chain-id", "1");
    FAILS(stage, 1, "1000 basis points", "--bounty-bps", "1");
}

#define stage_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(test_starts_and_says_where),
        stage_test(test_http),
        stage_test(test_connection_limit),
        stage_test(test_same_chain_after_a_restart),
        stage_test(test_kill_9),
        stage_test(test_blocks_at_an_interval),
        stage_test(test_idle_blocks),
        stage_test(test_coins_at_the_start),
        stage_test(test_starts_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
