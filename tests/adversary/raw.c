#include "tests/adversary/raw.h"

#include <errno.h>
#include <fcntl.h>

#include "wire/stream.h"
#include "wire/tls.h"

struct raw {
    struct hub_stage *stage;
    struct stream stream;
    struct decoder *decoder;
    struct buffer spare;
    bool ended;
};

int tcp_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        fail_msg("cannot connect to port %u", port);
    ensure(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0);
    return descriptor;
}

void tcp_expect_end(struct hub_stage *stage, int descriptor)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    char part[512];
    for (;;) {
        ssize_t got = read(descriptor, part, sizeof part);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
        if (clock_monotonic_us() > end_us)
            fail_with_log(stage, "the end of a connection");
        turn(stage);
    }
    close(descriptor);
}

/* Waits until the socket can be read or written, while the event loop has its turns. */
static void raw_wait(struct raw *raw, enum stream_result result, uint64_t end_us)
{
    struct pollfd wait = {.fd = raw->stream.socket, .events = result == STREAM_WRITE ? POLLOUT : POLLIN};
    if (poll(&wait, 1, 0) == 1)
        return;
    if (clock_monotonic_us() > end_us)
        fail_with_log(raw->stage, "what a raw peer waits for");
    turn(raw->stage);
}

struct raw *raw_open(struct hub_stage *stage, uint16_t port)
{
    struct raw *raw = xcalloc(1, sizeof *raw);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    raw->stage = stage;
    raw->decoder = decoder_new();
    stream_open(&raw->stream, tcp_connect(port), tls_client_context(), false);
    enum stream_result result;
    while ((result = stream_handshake(&raw->stream)) == STREAM_READ || result == STREAM_WRITE)
        raw_wait(raw, result, end_us);
    assert_int_equal(result, STREAM_DONE);
    return raw;
}

void raw_close(struct raw *raw)
{
    if (raw == NULL)
        return;
    stream_end_output(&raw->stream);
    stream_close(&raw->stream);
    decoder_free(raw->decoder);
    buffer_free(&raw->spare);
    free(raw);
}

/* A server that has closed already takes no more: not the sender's concern. */
void raw_send(struct raw *raw, const void *bytes, size_t length)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    enum stream_result result;
    buffer_append(&raw->stream.output, bytes, length);
    while ((result = stream_flush(&raw->stream)) == STREAM_READ || result == STREAM_WRITE)
        raw_wait(raw, result, end_us);
}

void raw_send_message(struct raw *raw, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    raw_send(raw, frame.data, frame.length);
    buffer_free(&frame);
}

static bool take_frame(struct raw *raw, struct message *message)
{
    size_t length;
    const uint8_t *input = stream_input(&raw->stream, &length);
    if (length < 4 || length - 4 < load_be32(input))
        return false;
    const char *why;
    size_t size = load_be32(input);
    stream_consume(&raw->stream, 4 + size);
    assert_int_equal(message_decode(raw->decoder, input + 4, size, message, &why), CODE_OK);
    return true;
}

bool raw_receive(struct raw *raw, struct message *message)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!take_frame(raw, message)) {
        if (raw->ended)
            return false;
        size_t before, after;
        (void)stream_input(&raw->stream, &before);
        enum stream_result result = stream_receive(&raw->stream, &raw->spare);
        (void)stream_input(&raw->stream, &after);
        raw->ended = result == STREAM_ENDED || result == STREAM_FAILED;
        if (!raw->ended && after == before)
            raw_wait(raw, result, end_us);
    }
    return true;
}

void raw_expect_refusal(struct raw *raw, enum code code)
{
    struct message message;
    do {
        if (!raw_receive(raw, &message))
            fail_msg("closed without ERROR %s", code_name(code));
    } while (message.type != MESSAGE_ERROR);
    if (message.error.code != code || !message.error.fatal)
        fail_msg("ERROR %s (%.*s), not a fatal %s", code_name(message.error.code),
                 (int)message.error.text.length, message.error.text.data, code_name(code));
    while (raw_receive(raw, &message))
        ;
}

void raw_hello(struct raw **raw, const struct address *client, struct message *challenge)
{
    for (int hops = 0; hops < 4; hops++) {
        struct message hello = {.type = MESSAGE_HELLO};
        hello.hello.version = 1;
        hello.hello.client = *client;
        hello.hello.agent = (struct text){"attacker", 8};
        raw_send_message(*raw, &hello);
        if (!raw_receive(*raw, challenge))
            fail_msg("closed in answer to HELLO");
        if (challenge->type != MESSAGE_REDIRECT)
            break;
        struct raw *next = raw_open((*raw)->stage, challenge->redirect.port);
        raw_close(*raw);
        *raw = next;
    }
    assert_int_equal(challenge->type, MESSAGE_CHALLENGE);
}

struct hash raw_certificate(const struct raw *raw)
{
    struct hash hash;
    assert_true(tls_peer_certificate_hash(raw->stream.ssl, &hash));
    return hash;
}

void raw_send_auth(struct raw *raw, const struct secret_key *key, const struct domain *domain,
                   const struct address *client, const struct hash *challenge, const struct hash *certificate)
{
    struct hash digest = digest_session(domain, client, challenge, certificate);
    struct message auth = {.type = MESSAGE_AUTH};
    auth.auth.signature = key_sign(key, &digest);
    raw_send_message(raw, &auth);
}

void raw_expect_no_older_tls(struct hub_stage *stage, uint16_t port)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    ensure(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) == 1);
    struct stream stream;
    stream_open(&stream, tcp_connect(port), context, false);
    enum stream_result result;
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while ((result = stream_handshake(&stream)) == STREAM_READ || result == STREAM_WRITE) {
        if (clock_monotonic_us() > end_us)
            fail_with_log(stage, "an answer to TLS 1.2");
        turn(stage);
    }
    assert_int_equal(result, STREAM_FAILED);
    stream_close(&stream);
    SSL_CTX_free(context);
}

/* ---- in between ---- */

struct between {
    struct hub_stage *stage;
    int listener;
    uint16_t port;
    struct tls_identity *identity;
    SSL_CTX *context;
    struct stream wallet;
    struct buffer spare;
    struct raw *hub;
    bool relayed;
    unsigned answer;
};

struct between *between_open(struct hub_stage *stage, const char *folder)
{
    struct between *between = xcalloc(1, sizeof *between);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    char message[256];
    between->stage = stage;
    between->wallet.socket = -1;
    between->identity = tls_identity_open(folder, message, sizeof message);
    ensure(between->identity != NULL);
    between->context = tls_server_context(between->identity);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    between->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ensure(bind(between->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
           listen(between->listener, 4) == 0 &&
           getsockname(between->listener, (struct sockaddr *)&address, &size) == 0);
    between->port = ntohs(address.sin_port);
    return between;
}

uint16_t between_port(const struct between *between)
{
    return between->port;
}

unsigned between_answer(const struct between *between)
{
    return between->answer;
}

/* The hub's own CHALLENGE for the wallet's HELLO, from the shard that serves it. */
static void relay(struct between *between, const uint8_t *hello, size_t length)
{
    struct message answer;
    between->hub = raw_open(between->stage, between->stage->hub_port);
    raw_send(between->hub, hello, length);
    assert_true(raw_receive(between->hub, &answer));
    if (answer.type == MESSAGE_REDIRECT) {
        struct raw *next = raw_open(between->stage, answer.redirect.port);
        raw_close(between->hub);
        between->hub = next;
        raw_send(between->hub, hello, length);
        assert_true(raw_receive(between->hub, &answer));
    }
    assert_int_equal(answer.type, MESSAGE_CHALLENGE);
    message_encode(&between->wallet.output, &answer);
    (void)stream_flush(&between->wallet);
    between->relayed = true;
}

void between_turn(struct between *between)
{
    if (between->wallet.ssl == NULL) {
        int descriptor = accept4(between->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor < 0)
            return;
        stream_open(&between->wallet, descriptor, between->context, true);
    }
    if (!SSL_is_init_finished(between->wallet.ssl) && stream_handshake(&between->wallet) != STREAM_DONE)
        return;
    size_t length;
    (void)stream_receive(&between->wallet, &between->spare);
    const uint8_t *input = stream_input(&between->wallet, &length);
    if (length < 6 || length - 4 < load_be32(input))
        return;
    size_t size = 4 + load_be32(input);
    if (between->relayed)
        between->answer = input[5];
    else
        relay(between, input, size);
    stream_consume(&between->wallet, size);
}

void between_close(struct between *between)
{
    raw_close(between->hub);
    stream_close(&between->wallet);
    buffer_free(&between->spare);
    SSL_CTX_free(between->context);
    tls_identity_free(between->identity);
    close(between->listener);
    free(between);
}
