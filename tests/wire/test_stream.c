/* Two streams over a pair of sockets, without an event loop: records, limits, memory, and every kind of end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "wire/stream.h"

struct ends {
    char folder[64];
    struct tls_identity *identity;
    SSL_CTX *context;
    struct stream server, client;
    struct buffer spare;
};

/* TCP, so that a peer can also be reset. */
static void connect_pair(int fds[2])
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&address, length), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
}

static int set_up(void **state)
{
    struct ends *ends = calloc(1, sizeof *ends);
    char message[512];
    snprintf(ends->folder, sizeof ends->folder, "/tmp/rill-stream-XXXXXX");
    assert_non_null(mkdtemp(ends->folder));
    ends->identity = tls_identity_open(ends->folder, message, sizeof message);
    assert_non_null(ends->identity);
    ends->context = tls_server_context(ends->identity);
    int fds[2];
    connect_pair(fds);
    stream_open(&ends->client, fds[0], tls_client_context(), false);
    stream_open(&ends->server, fds[1], ends->context, true);
    *state = ends;
    return 0;
}

static int tear_down(void **state)
{
    struct ends *ends = *state;
    char path[128];
    stream_close(&ends->server);
    stream_close(&ends->client);
    buffer_free(&ends->spare);
    SSL_CTX_free(ends->context);
    tls_identity_free(ends->identity);
    snprintf(path, sizeof path, "%s/tls-cert.pem", ends->folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/tls-key.pem", ends->folder);
    unlink(path);
    assert_int_equal(rmdir(ends->folder), 0);
    free(ends);
    return 0;
}

static void secure(struct ends *ends)
{
    enum stream_result server = STREAM_READ, client = STREAM_READ;
    for (int i = 0; i < 1000 && (server != STREAM_DONE || client != STREAM_DONE); i++) {
        if (client != STREAM_DONE)
            client = stream_handshake(&ends->client);
        if (server != STREAM_DONE)
            server = stream_handshake(&ends->server);
    }
    assert_int_equal(server, STREAM_DONE);
    assert_int_equal(client, STREAM_DONE);
}

/* Bytes that tell where in the sequence they stand. */
static void put_sequence(struct buffer *out, size_t from, size_t count)
{
    uint8_t *at = buffer_extend(out, count);
    for (size_t i = 0; i < count; i++)
        at[i] = (uint8_t)((from + i) * 2654435761u >> 24);
}

static void expect_sequence(struct stream *stream, size_t from, size_t *count)
{
    const uint8_t *at = stream_input(stream, count);
    struct buffer want = {0};
    put_sequence(&want, from, *count);
    assert_memory_equal(at, want.data, *count);
    buffer_free(&want);
    stream_consume(stream, *count);
}

/* Bytes may still be on their way through the kernel. */
static void wait_until_readable(int socket)
{
    struct pollfd entry = {.fd = socket, .events = POLLIN};
    assert_int_equal(poll(&entry, 1, 60000), 1);
}

static enum stream_result receive(struct ends *ends, struct stream *stream)
{
    enum stream_result result = STREAM_DONE;
    size_t length;
    do {
        if (!SSL_has_pending(stream->ssl))
            wait_until_readable(stream->socket);
        result = stream_receive(stream, &ends->spare);
        (void)stream_input(stream, &length);
    } while (result == STREAM_DONE && length == 0);
    return result;
}

/* ---- records ---- */

static size_t records_in(const uint8_t *at, size_t length)
{
    size_t records = 0;
    for (; length > 0; records++) {
        assert_true(length >= 5 && at[0] == 23); /* application data */
        size_t record = 5 + (size_t)load_be16(at + 3);
        assert_true(record <= length);
        at += record;
        length -= record;
    }
    return records;
}

static void what_is_flushed_at_once_shares_a_record(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    size_t sent = 0;
    for (size_t i = 0; i < 40; i++) {
        put_sequence(&ends->client.output, sent, 300);
        sent += 300;
    }
    assert_int_equal(stream_output_bytes(&ends->client), sent);
    assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
    assert_int_equal(stream_output_bytes(&ends->client), 0);
    uint8_t raw[20000];
    ssize_t got = 0;
    for (int i = 0; i < 1000000 && got < (ssize_t)sent; i++) {
        wait_until_readable(ends->server.socket);
        got = recv(ends->server.socket, raw, sizeof raw, MSG_PEEK);
    }
    assert_true(got > (ssize_t)sent);
    assert_int_equal(records_in(raw, (size_t)got), 1);
    size_t length;
    assert_int_equal(receive(ends, &ends->server), STREAM_DONE);
    expect_sequence(&ends->server, 0, &length);
    assert_int_equal(length, sent);
}

/* Whatever the sizes of what is queued and of what the kernel takes, the bytes arrive in order, and the
 * memory of what has left is used again. */
static void a_full_socket_loses_nothing(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    int small = 8192; /* less than what waits: the kernel never takes all of it */
    assert_int_equal(setsockopt(ends->client.socket, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    size_t put = 0, got = 0, length, blocked = 0;
    enum { TOTAL = 6 * 1024 * 1024, STEP = 40001, WAITING_MAX = 512 * 1024 };
    while (got < put || put < TOTAL) {
        for (; put < TOTAL && stream_output_bytes(&ends->client) < WAITING_MAX; put += STEP)
            put_sequence(&ends->client.output, put, STEP);
        blocked += stream_flush(&ends->client) == STREAM_WRITE;
        assert_true(ends->client.output.capacity <= 4 * WAITING_MAX);
        enum stream_result result = stream_receive(&ends->server, &ends->spare);
        assert_true(result == STREAM_DONE || result == STREAM_MORE);
        expect_sequence(&ends->server, got, &length);
        got += length;
        stream_settle(&ends->server, &ends->spare);
    }
    assert_true(blocked > 0);
}

static void a_receive_ends_at_its_limit(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    put_sequence(&ends->client.output, 0, 1024 * 1024);
    size_t got = 0, length;
    unsigned more = 0;
    while (got < 1024 * 1024) {
        (void)stream_flush(&ends->client);
        enum stream_result result = stream_receive(&ends->server, &ends->spare);
        expect_sequence(&ends->server, got, &length);
        assert_true(length < STREAM_RECEIVE_BYTES_MAX + 16384);
        assert_true(result == STREAM_DONE || (result == STREAM_MORE && length >= STREAM_RECEIVE_BYTES_MAX));
        more += result == STREAM_MORE;
        got += length;
    }
    assert_true(more > 0);
}

/* ---- memory ---- */

static void an_idle_stream_keeps_little(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    size_t length;
    put_sequence(&ends->client.output, 0, 60000);
    assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
    assert_true(ends->client.output.capacity <= 1024);
    for (size_t got = 0; got < 60000; got += length) {
        (void)receive(ends, &ends->server);
        expect_sequence(&ends->server, got, &length);
    }
    stream_settle(&ends->server, &ends->spare);
    assert_null(ends->server.input.data);
    assert_true(ends->spare.capacity >= 16384);
}

/* What is left of an input is kept in memory of its own size, again and again. */
static void a_partial_input_is_kept_small(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    put_sequence(&ends->client.output, 0, 3000);
    assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
    assert_int_equal(receive(ends, &ends->server), STREAM_DONE);
    size_t length, at = 2900;
    stream_consume(&ends->server, at);
    stream_settle(&ends->server, &ends->spare);
    assert_true(ends->server.input.capacity <= 1024);
    for (size_t sent = 3000; sent < 9000; sent += 100) {
        put_sequence(&ends->client.output, sent, 100);
        assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
        do {
            assert_int_equal(stream_receive(&ends->server, &ends->spare), STREAM_DONE);
            (void)stream_input(&ends->server, &length);
        } while (length < 200);
        struct buffer want = {0};
        put_sequence(&want, at, 200);
        assert_memory_equal(stream_input(&ends->server, &length), want.data, 200);
        buffer_free(&want);
        stream_consume(&ends->server, 100);
        at += 100;
        stream_settle(&ends->server, &ends->spare);
        assert_true(ends->server.input.capacity <= 1024);
    }
}

/* ---- TLS's own business ---- */

static void keys_may_be_renewed_at_any_time(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    size_t length, got = 0;
    for (size_t sent = 0; sent < 50000; sent += 500) {
        assert_int_equal(SSL_key_update(ends->client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        put_sequence(&ends->client.output, sent, 500);
        assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
        assert_int_equal(receive(ends, &ends->server), STREAM_DONE);
        expect_sequence(&ends->server, got, &length);
        got += length;
        /* The answer to the request is not the other side's data. */
        put_sequence(&ends->server.output, sent, 500);
        assert_int_equal(stream_flush(&ends->server), STREAM_DONE);
        assert_int_equal(receive(ends, &ends->client), STREAM_DONE);
        expect_sequence(&ends->client, sent, &length);
        assert_int_equal(length, 500);
    }
    assert_int_equal(got, 50000);
}

static void the_cheapest_cipher_is_chosen(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    assert_string_equal(SSL_get_cipher_name(ends->server.ssl), "TLS_AES_128_GCM_SHA256");
}

/* ---- ends ---- */

static void an_orderly_end_comes_after_the_data(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    put_sequence(&ends->client.output, 0, 1000);
    assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
    stream_end_output(&ends->client);
    size_t length;
    enum stream_result result = receive(ends, &ends->server);
    expect_sequence(&ends->server, 0, &length);
    assert_int_equal(length, 1000);
    if (result == STREAM_DONE)
        result = receive(ends, &ends->server);
    assert_int_equal(result, STREAM_ENDED);
    /* The other direction is still open. */
    put_sequence(&ends->server.output, 0, 10);
    assert_int_equal(stream_flush(&ends->server), STREAM_DONE);
    assert_int_equal(receive(ends, &ends->client), STREAM_DONE);
    expect_sequence(&ends->client, 0, &length);
    assert_int_equal(length, 10);
}

static void a_bare_end_is_an_end(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    assert_int_equal(shutdown(ends->client.socket, SHUT_WR), 0);
    assert_int_equal(receive(ends, &ends->server), STREAM_ENDED);
}

static void a_reset_is_told_by_its_errno(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    struct linger now = {1, 0};
    assert_int_equal(setsockopt(ends->client.socket, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    stream_close(&ends->client);
    assert_int_equal(receive(ends, &ends->server), STREAM_FAILED);
    assert_null(ends->server.tls_error);
    assert_int_equal(ends->server.system_error, ECONNRESET);
}

static void garbage_is_told_as_tls(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    uint8_t record[5 + 64] = {23, 3, 3, 0, 64};
    assert_int_equal(send(ends->client.socket, record, sizeof record, 0), sizeof record);
    assert_int_equal(receive(ends, &ends->server), STREAM_FAILED);
    assert_non_null(ends->server.tls_error);
}

static void what_is_discarded_is_not_kept(void **state)
{
    struct ends *ends = *state;
    secure(ends);
    put_sequence(&ends->client.output, 0, 50000);
    assert_int_equal(stream_flush(&ends->client), STREAM_DONE);
    stream_end_output(&ends->client);
    enum stream_result result = STREAM_DONE;
    while (result == STREAM_DONE) {
        wait_until_readable(ends->server.socket);
        result = stream_discard(&ends->server);
    }
    assert_int_equal(result, STREAM_ENDED);
    assert_int_equal(ends->server.input.length, 0);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(what_is_flushed_at_once_shares_a_record),
        STREAM_TEST(a_full_socket_loses_nothing),
        STREAM_TEST(a_receive_ends_at_its_limit),
        STREAM_TEST(an_idle_stream_keeps_little),
        STREAM_TEST(a_partial_input_is_kept_small),
        STREAM_TEST(keys_may_be_renewed_at_any_time),
        STREAM_TEST(the_cheapest_cipher_is_chosen),
        STREAM_TEST(an_orderly_end_comes_after_the_data),
        STREAM_TEST(a_bare_end_is_an_end),
        STREAM_TEST(a_reset_is_told_by_its_errno),
        STREAM_TEST(garbage_is_told_as_tls),
        STREAM_TEST(what_is_discarded_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
