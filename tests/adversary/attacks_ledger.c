/* JSON-RPC to the embedded ledger that no node should be hurt by, and transactions that are not their sender's. */
#include "tests/adversary/arena.h"

#include "ledger/transaction.h"

/* One POST; the answer with its head; free it. */
static char *post(struct arena *arena, const void *body, size_t length)
{
    struct buffer request = {0};
    char *answer = xcalloc(1, 1);
    size_t used = 0, sent = 0;
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    int descriptor = tcp_connect((uint16_t)strtoul(arena->stage->ledger_port, NULL, 10));
    buffer_printf(&request, "POST / HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", length);
    buffer_append(&request, body, length);
    for (;;) {
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        if (sent < request.length)
            wait.events |= POLLOUT;
        if (clock_monotonic_us() > end_us || poll(&wait, 1, PATIENCE_MS) < 1)
            fail_msg("the ledger does not answer");
        if (wait.revents & POLLOUT) {
            ssize_t part = send(descriptor, request.data + sent, request.length - sent, MSG_NOSIGNAL);
            sent = part < 0 ? request.length : sent + (size_t)part; /* closed: what it said is read below */
        }
        if (!(wait.revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        char chunk[4096];
        ssize_t got = read(descriptor, chunk, sizeof chunk);
        if (got <= 0)
            break;
        answer = xrealloc(answer, used + (size_t)got + 1);
        memcpy(answer + used, chunk, (size_t)got);
        used += (size_t)got;
        answer[used] = '\0';
    }
    close(descriptor);
    buffer_free(&request);
    return answer;
}

static void answers(struct arena *arena, const void *body, size_t length, const char *words)
{
    char *answer = post(arena, body, length);
    if (strstr(answer, words) == NULL)
        fail_msg("not '%s' but: %.400s", words, answer);
    free(answer);
}

static void answers_text(struct arena *arena, const char *body, const char *words)
{
    answers(arena, body, strlen(body), words);
}

static void not_json(struct arena *arena)
{
    answers_text(arena, "{", "-32700");
    answers_text(arena, "\xff\xfe{}", "-32700");
    answers(arena, "{\"a\":\"\0\"}", 9, "-32700");
    answers_text(arena, "7", "-32700");
    answers_text(arena, "[]", "-32600");
}

static void nested_json(struct arena *arena)
{
    size_t length = 400000;
    char *body = xcalloc(1, length);
    memset(body, '[', length);
    answers(arena, body, length, "-32700");
    free(body);
}

static void large_body(struct arena *arena)
{
    size_t length = 1100000;
    char *body = xcalloc(1, length);
    memset(body, ' ', length);
    answers(arena, body, length, " 413 ");
    free(body);
}

static void batch_without_end(struct arena *arena)
{
    struct buffer body = {0};
    buffer_printf(&body, "[");
    for (int i = 0; i < 5000; i++)
        buffer_printf(&body, "%s{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"eth_chainId\"}", i ? "," : "", i);
    buffer_printf(&body, "]");
    answers(arena, body.data, body.length, "\"error\"");
    buffer_free(&body);
}

static void odd_parameters(struct arena *arena)
{
    static const char *const calls[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBalance\",\"params\":[]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBalance\",\"params\":[7,\"latest\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBalance\",\"params\":[\"0x12\",\"latest\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBlockByNumber\",\"params\":["
        "\"0xfffffffffffffffff\",false]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getLogs\",\"params\":[{\"fromBlock\":\"0x5\","
        "\"toBlock\":\"0x1\"}]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_call\",\"params\":[{\"to\":null,\"data\":\"0x1\"},"
        "\"latest\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_sendRawTransaction\",\"params\":[\"0x\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_sendRawTransaction\",\"params\":[\"0x02c0\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_sign\",\"params\":[]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":{}}"};
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++)
        answers_text(arena, calls[i], "\"error\"");
}

/* ---- transactions ---- */

static struct secret_key rich(struct arena *arena)
{
    struct secret_key key = key_of("a sender of raw transactions");
    struct address address = secret_key_address(&key);
    send_coins(arena->stage, &arena->stage->hub, &address, 100000000);
    return key;
}

static uint64_t next_nonce(struct arena *arena, const struct secret_key *key)
{
    char params[96], text[ADDRESS_TEXT_SIZE];
    struct address address = secret_key_address(key);
    snprintf(params, sizeof params, "[\"%s\",\"latest\"]", address_text(&address, text));
    struct ledger_request_wait request = ledger_ask(arena->stage, "eth_getTransactionCount", params);
    return strtoull(strchr(request.text, 'x') + 1, NULL, 16);
}

/* A transfer of one coin's unit to nobody. */
static struct buffer transfer(struct arena *arena, const struct secret_key *key, uint64_t nonce,
                              uint64_t chain_id)
{
    struct transaction transaction = {.chain_id = chain_id,
                                      .nonce = nonce,
                                      .max_fee_per_gas = 100000000000ull,
                                      .gas_limit = 100000,
                                      .to = {{0xaa}},
                                      .value = 1};
    struct buffer raw = {0};
    (void)arena;
    (void)transaction_sign(&transaction, key, &raw);
    return raw;
}

static void send_raw_is_refused(struct arena *arena, struct buffer *raw, const char *words)
{
    struct buffer body = {0};
    char *hex = xcalloc(1, 2 * raw->length + 1);
    hex_encode(raw->data, raw->length, hex);
    buffer_printf(
        &body, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_sendRawTransaction\",\"params\":[\"0x%s\"]}",
        hex);
    answers(arena, body.data, body.length, words);
    free(hex);
    buffer_free(&body);
    buffer_free(raw);
}

static void transaction_of_another_chain(struct arena *arena)
{
    struct secret_key key = rich(arena);
    uint64_t nonce = next_nonce(arena, &key);
    struct buffer raw = transfer(arena, &key, nonce, arena->stage->domain.chain_id + 1);
    send_raw_is_refused(arena, &raw, "\"error\"");
    assert_int_equal(next_nonce(arena, &key), nonce);
}

static void transaction_replayed(struct arena *arena)
{
    struct secret_key key = rich(arena);
    uint64_t nonce = next_nonce(arena, &key);
    struct buffer raw = transfer(arena, &key, nonce, arena->stage->domain.chain_id), again = {0};
    buffer_append(&again, raw.data, raw.length);
    send_raw_is_refused(arena, &raw, "\"result\""); /* the first is good */
    assert_int_equal(next_nonce(arena, &key), nonce + 1);
    send_raw_is_refused(arena, &again, "\"error\"");
    assert_int_equal(next_nonce(arena, &key), nonce + 1);
}

/* The signature's last 32 bytes are s: n - s is as good to ECDSA, and refused. */
static void transaction_high_s(struct arena *arena)
{
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48,
                                      0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
    struct secret_key key = rich(arena);
    uint64_t nonce = next_nonce(arena, &key);
    struct buffer raw = transfer(arena, &key, nonce, arena->stage->domain.chain_id);
    uint8_t *s = raw.data + raw.length - 32;
    assert_int_equal(s[-1], 0xa0); /* 32 bytes, none left out */
    uint8_t *parity = s - 1 - 33 - 1;
    *parity = *parity == 0x80 ? 0x01 : 0x80;
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int digit = order[i] - s[i] - borrow;
        borrow = digit < 0;
        s[i] = (uint8_t)(digit & 0xff);
    }
    send_raw_is_refused(arena, &raw, "\"error\"");
    assert_int_equal(next_nonce(arena, &key), nonce);
}

static void transaction_without_coins(struct arena *arena)
{
    struct secret_key key = key_of("a sender without coins");
    struct buffer raw = transfer(arena, &key, 0, arena->stage->domain.chain_id);
    send_raw_is_refused(arena, &raw, "\"error\"");
}

const struct attack attacks_ledger[] = {
    {"ledger", "requests that are not JSON, or not requests", "error -32700, -32600", not_json, false},
    {"ledger", "400,000 nested arrays", "error -32700", nested_json, false},
    {"ledger", "a request of 1.1 MB", "HTTP 413", large_body, false},
    {"ledger", "a batch of 5,000 calls", "error", batch_without_end, false},
    {"ledger", "parameters of wrong kinds and sizes", "error", odd_parameters, false},
    {"ledger", "a transaction for another chain", "error", transaction_of_another_chain, false},
    {"ledger", "a transaction sent twice", "error; counts once", transaction_replayed, false},
    {"ledger", "the high-s twin of a transaction", "error", transaction_high_s, false},
    {"ledger", "a transaction of one who has no coins", "error", transaction_without_coins, false},
    {0},
};
