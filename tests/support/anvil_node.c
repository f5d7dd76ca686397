#include "tests/support/anvil_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/ensure.h"
#include "tests/support/json_aid.h"

#define PROGRAM    "ledger/contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
#define ARTIFACT   "build/contracts/RillHub.json"
#define START_MS   60000
#define LOOK_MS    10
#define FLAGS_MAX  32
#define ANSWER_S   60
#define BOUNTY_BPS 100
#define DEPLOYER   9 /* of anvil's accounts */

static unsigned port_in(const char *log)
{
    char line[256];
    unsigned port = 0;
    FILE *file = fopen(log, "re");
    while (file != NULL && port == 0 && fgets(line, sizeof line, file) != NULL)
        if (strchr(line, '\n') != NULL && sscanf(line, "Listening on 127.0.0.1:%u", &port) != 1)
            port = 0;
    if (file != NULL)
        fclose(file);
    return port;
}

void anvil_start(struct anvil *anvil, const char *const *flags)
{
    char log[96];
    if (access(PROGRAM, X_OK) != 0 || access(ARTIFACT, R_OK) != 0)
        fail_msg("anvil (%s) or the contract (%s) is missing: run make contracts", PROGRAM, ARTIFACT);
    folder_make(anvil->folder, sizeof anvil->folder);
    snprintf(log, sizeof log, "%s/anvil.log", anvil->folder);
    /* It prints a line for each call: into a file, since a pipe that nobody reads stops it once it is full. */
    const char *argv[FLAGS_MAX] = {
        "/bin/sh", "-c", "log=$1; shift; exec \"$@\" >\"$log\"", "anvil", log, PROGRAM, "--port", "0"};
    size_t count = 8;
    for (; flags != NULL && *flags != NULL; flags++) {
        ensure(count + 1 < ARRAY_LENGTH(argv));
        argv[count++] = *flags;
    }
    if (!process_start(&anvil->process, argv, log))
        fail_msg("%s cannot be started", PROGRAM);
    unsigned port = 0;
    for (int waited_ms = 0; waited_ms < START_MS && port == 0; waited_ms += LOOK_MS) {
        if (waitpid(anvil->process.pid, NULL, WNOHANG) != 0)
            break;
        poll(NULL, 0, LOOK_MS);
        port = port_in(log);
    }
    if (port == 0)
        fail_msg("anvil never said where it listens: see %s", log);
    anvil->port = (uint16_t)port;
    snprintf(anvil->url, sizeof anvil->url, "http://127.0.0.1:%u", port);
}

void anvil_end(struct anvil *anvil, int signal_number)
{
    (void)process_end(&anvil->process, signal_number);
    folder_remove(anvil->folder);
}

/* ---- asking ---- */

static void write_all(int descriptor, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(descriptor, text, length);
        if (written <= 0)
            fail_msg("anvil closed the connection");
        text += written;
        length -= (size_t)written;
    }
}

static json_t *read_answer(int descriptor, const char *asked)
{
    struct buffer answer = {0};
    char part[16384];
    ssize_t got;
    while ((got = read(descriptor, part, sizeof part)) > 0)
        buffer_append(&answer, part, (size_t)got);
    buffer_append(&answer, "", 1);
    const char *body = strstr((const char *)answer.data, "\r\n\r\n");
    json_t *json = body != NULL ? json_loads(body + 4, 0, NULL) : NULL;
    if (json == NULL)
        fail_msg("anvil's answer is not JSON, or did not come within %d s: '%s' to %.300s", ANSWER_S,
                 (const char *)answer.data, asked);
    buffer_free(&answer);
    return json;
}

static json_t *exchange(const struct anvil *anvil, const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(anvil->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {ANSWER_S, 0};
    ensure(setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        fail_msg("anvil does not answer on port %u", anvil->port);
    char head[256];
    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n",
             strlen(body));
    write_all(descriptor, head, strlen(head));
    write_all(descriptor, body, strlen(body));
    json_t *json = read_answer(descriptor, body);
    close(descriptor);
    return json;
}

static json_t *ask(const struct anvil *anvil, const char *method, const char *params)
{
    size_t size = strlen(params) + strlen(method) + 64;
    char *body = xmalloc(size);
    snprintf(body, size, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
    json_t *answer = exchange(anvil, body);
    json_t *result = json_object_get(answer, "result");
    if (result == NULL)
        fail_msg("anvil refused %s: %s", method, json_dumps(answer, JSON_COMPACT));
    json_incref(result);
    json_decref(answer);
    free(body);
    return result;
}

static char *format_text(const char *format, va_list arguments)
{
    char *text;
    ensure(vasprintf(&text, format, arguments) >= 0);
    return text;
}

json_t *anvil_ask(const struct anvil *anvil, const char *method, const char *params, ...)
{
    va_list arguments;
    va_start(arguments, params);
    char *text = format_text(params, arguments);
    va_end(arguments);
    json_t *result = ask(anvil, method, text);
    free(text);
    return result;
}

void anvil_do(const struct anvil *anvil, const char *method, const char *params, ...)
{
    va_list arguments;
    va_start(arguments, params);
    char *text = format_text(params, arguments);
    va_end(arguments);
    json_decref(ask(anvil, method, text));
    free(text);
}

uint64_t anvil_height(const struct anvil *anvil)
{
    json_t *number = anvil_ask(anvil, "eth_blockNumber", "[]");
    uint64_t height = strtoull(json_string_value(number), NULL, 16);
    json_decref(number);
    return height;
}

void anvil_mine(const struct anvil *anvil, unsigned blocks)
{
    anvil_do(anvil, "anvil_mine", "[\"0x%x\"]", blocks);
}

void anvil_reorganise(const struct anvil *anvil, unsigned depth)
{
    anvil_do(anvil, "anvil_reorg", "[%u,[]]", depth);
}

/* ---- accounts and the contract ---- */

struct secret_key anvil_key(unsigned index)
{
    static const char *const keys[] = {"0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
                                       "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
                                       "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"};
    struct secret_key key;
    ensure(index < ARRAY_LENGTH(keys) && hex_decode(keys[index], key.bytes, sizeof key.bytes));
    return key;
}

void anvil_fund(const struct anvil *anvil, const struct address *address, uint64_t coins)
{
    char text[ADDRESS_TEXT_SIZE];
    unsigned_wide amount = (unsigned_wide)coins * 1000000000000000000u;
    anvil_do(anvil, "anvil_setBalance", "[\"%s\",\"0x%llx%016llx\"]", address_text(address, text),
             (unsigned long long)(amount >> 64), (unsigned long long)amount);
}

static json_t *receipt_of(const struct anvil *anvil, const char *transaction)
{
    for (unsigned look = 0; look < 10; look++) {
        json_t *receipt = anvil_ask(anvil, "eth_getTransactionReceipt", "[\"%s\"]", transaction);
        if (!json_is_null(receipt))
            return receipt;
        json_decref(receipt);
        anvil_mine(anvil, 1);
    }
    fail_msg("anvil does not mine what creates the contract");
    return NULL;
}

struct address anvil_deploy(const struct anvil *anvil, const struct address *hub, uint64_t challenge_period_s)
{
    struct address contract = ADDRESS_ZERO;
    char hub_text[ADDRESS_TEXT_SIZE];
    json_t *accounts = anvil_ask(anvil, "eth_accounts", "[]");
    json_t *artifact = json_aid_load(ARTIFACT);
    /* The constructor's three words: hub, challenge period, bounty. */
    json_t *transaction =
        anvil_ask(anvil, "eth_sendTransaction",
                  "[{\"from\":\"%s\",\"gas\":\"0x1000000\",\"data\":\"%s%024d%s%064llx%064x\"}]",
                  json_string_value(json_array_get(accounts, DEPLOYER)), json_aid_text(artifact, "bytecode"),
                  0, address_text(hub, hub_text) + 2, (unsigned long long)challenge_period_s, BOUNTY_BPS);
    json_t *receipt = receipt_of(anvil, json_string_value(transaction));
    const char *text = json_string_value(json_object_get(receipt, "contractAddress"));
    if (text == NULL || !hex_decode(text, contract.bytes, sizeof contract.bytes))
        fail_msg("the contract was not created");
    json_decref(receipt);
    json_decref(transaction);
    json_decref(artifact);
    json_decref(accounts);
    return contract;
}
