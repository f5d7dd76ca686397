/* A client's bytes to the server's end of a link, over a socket of its own, in pieces.
 *
 *     input: mode u8 (bit 0: does an honest handshake first; the rest: how large the pieces are), then the bytes
 *
 * Without a good AUTH nobody is ever let in. With one, the owner gets exactly the messages that a plain reading of the bytes
 * gives, whatever the pieces, up to the first that breaks a rule; all that the server says is whole frames; and in the end
 * the owner is told once that the link is closed.
 *
 * TLS is replaced by nothing: OpenSSL's calls for a connection pass bytes as they are (--wrap=SSL_…). The buffers around it,
 * the frames, the handshake of section 5, limits and turns are the real ones. */
#include "tests/fuzz/input.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "wire/link_internal.h"

#define MESSAGES_MAX 4096
#define TURNS_MAX    2000

/* ---- TLS that is none ---- */

struct plain {
    int socket, error;
    bool shut;
};

SSL *__wrap_SSL_new(SSL_CTX *context);
int __wrap_SSL_set_fd(SSL *ssl, int socket);
void __wrap_SSL_set_read_ahead(SSL *ssl, int yes);
void __wrap_SSL_set_accept_state(SSL *ssl);
void __wrap_SSL_free(SSL *ssl);
int __wrap_SSL_do_handshake(SSL *ssl);
int __wrap_SSL_is_init_finished(const SSL *ssl);
int __wrap_SSL_read(SSL *ssl, void *out, int size);
int __wrap_SSL_write(SSL *ssl, const void *data, int size);
int __wrap_SSL_has_pending(const SSL *ssl);
int __wrap_SSL_get_error(const SSL *ssl, int returned);
int __wrap_SSL_shutdown(SSL *ssl);
int __wrap_SSL_get_shutdown(const SSL *ssl);

static struct plain *plain_of(const SSL *ssl)
{
    return (struct plain *)(uintptr_t)ssl;
}

SSL *__wrap_SSL_new(SSL_CTX *context)
{
    (void)context;
    return (SSL *)xcalloc(1, sizeof(struct plain));
}

int __wrap_SSL_set_fd(SSL *ssl, int socket)
{
    plain_of(ssl)->socket = socket;
    return 1;
}

void __wrap_SSL_set_read_ahead(SSL *ssl, int yes)
{
    (void)ssl;
    (void)yes;
}

void __wrap_SSL_set_accept_state(SSL *ssl)
{
    (void)ssl;
}

void __wrap_SSL_free(SSL *ssl)
{
    free(plain_of(ssl));
}

int __wrap_SSL_do_handshake(SSL *ssl)
{
    (void)ssl;
    return 1;
}

int __wrap_SSL_is_init_finished(const SSL *ssl)
{
    (void)ssl;
    return 1;
}

static int result(struct plain *plain, ssize_t done, int again)
{
    if (done > 0)
        return (int)done;
    if (done < 0 && (errno == EAGAIN || errno == EINTR))
        plain->error = again;
    else
        plain->error = done == 0 ? SSL_ERROR_ZERO_RETURN : SSL_ERROR_SYSCALL;
    return -1;
}

int __wrap_SSL_read(SSL *ssl, void *out, int size)
{
    return result(plain_of(ssl), recv(plain_of(ssl)->socket, out, (size_t)size, MSG_DONTWAIT),
                  SSL_ERROR_WANT_READ);
}

int __wrap_SSL_write(SSL *ssl, const void *data, int size)
{
    return result(plain_of(ssl), send(plain_of(ssl)->socket, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL),
                  SSL_ERROR_WANT_WRITE);
}

int __wrap_SSL_has_pending(const SSL *ssl)
{
    (void)ssl;
    return 0;
}

int __wrap_SSL_get_error(const SSL *ssl, int returned)
{
    return returned > 0 ? SSL_ERROR_NONE : plain_of(ssl)->error;
}

int __wrap_SSL_shutdown(SSL *ssl)
{
    plain_of(ssl)->shut = true;
    return 1;
}

int __wrap_SSL_get_shutdown(const SSL *ssl)
{
    return plain_of(ssl)->shut ? SSL_SENT_SHUTDOWN : 0;
}

/* ---- the server, and who owns its links ---- */

struct list {
    struct hash hashes[MESSAGES_MAX]; /* of each message as the encoder spells it */
    size_t count;
};

static struct world {
    struct event_base *base;
    struct tls_identity *identity;
    struct link_server *server;
    struct domain domain;
    struct secret_key client_key;
    struct address client;
    struct decoder *decoder, *answers;
    struct list got, expected;
    bool may_enter;
    unsigned ready, closed;
    struct buffer said; /* by the server, not looked at yet */
} world;

static void list_add(struct list *list, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    ensure(list->count < MESSAGES_MAX);
    list->hashes[list->count++] = keccak256(frame.data, frame.length);
    buffer_free(&frame);
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    (void)context;
    (void)link;
    ensure(world.may_enter && welcome == NULL && address_equal(peer, &world.client));
    world.ready++;
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    (void)context;
    (void)link;
    ensure(world.ready == 1 && world.closed == 0);
    list_add(&world.got, message);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    (void)context;
    (void)link;
    (void)why;
    ensure(reason[0] != '\0' && strchr(reason, '\n') == NULL);
    world.closed++;
}

static void set_up(void)
{
    static const struct link_callbacks callbacks = {on_ready, on_message, on_closed, NULL};
    char folder[64], path[96], message[512];
    snprintf(folder, sizeof(folder), "/dev/shm/rill-fuzz-link-XXXXXX");
    ensure(mkdtemp(folder) != NULL);
    world.base = event_base_new();
    world.identity = tls_identity_open(folder, message, sizeof(message));
    ensure(world.identity != NULL);
    snprintf(path, sizeof(path), "%s/tls-cert.pem", folder);
    unlink(path);
    snprintf(path, sizeof(path), "%s/tls-key.pem", folder);
    unlink(path);
    rmdir(folder);
    world.domain = domain_make(31337, &(struct address){{7}});
    world.client_key = (struct secret_key){{1, [31] = 5}};
    world.client = secret_key_address(&world.client_key);
    world.decoder = decoder_new();
    world.answers = decoder_new();
    struct link_server_options options = {
        .host = "127.0.0.1", .identity = world.identity, .key = {{1, [31] = 99}}, .domain = world.domain};
    world.server = link_server_new(world.base, &options, &callbacks, NULL, message, sizeof(message));
    ensure(world.server != NULL);
}

static void turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        event_base_loop(world.base, EVLOOP_NONBLOCK);
}

/* The kernel takes its time when the machine is busy: from some turn on, it gets it. */
static void patiently(unsigned turn)
{
    turns(1);
    if (turn > TURNS_MAX / 20)
        poll(NULL, 0, 1);
}

/* ---- the client ---- */

static int connect_client(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(link_server_port(world.server))};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ensure(client >= 0 && connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
    for (unsigned i = 0; world.server->connections == 0 && i < TURNS_MAX; i++)
        patiently(i);
    ensure(world.server->connections == 1);
    return client;
}

/* What the server has said joins `said`. */
static void listen_to(int client)
{
    uint8_t part[16384];
    ssize_t got;
    while ((got = recv(client, part, sizeof(part), MSG_DONTWAIT)) > 0)
        buffer_append(&world.said, part, (size_t)got);
}

static void send_all(int client, const void *data, size_t length)
{
    for (size_t at = 0; at < length;) {
        ssize_t sent = send(client, (const uint8_t *)data + at, length - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return; /* the server has closed: it had its reasons */
        at += sent > 0 ? (size_t)sent : 0;
        turns(1);
        listen_to(client);
    }
}

static void say(int client, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    send_all(client, frame.data, frame.length);
    buffer_free(&frame);
}

static void shake_hands(int client)
{
    struct message hello = {.type = MESSAGE_HELLO}, auth = {.type = MESSAGE_AUTH}, challenge;
    const char *why;
    hello.hello.version = 1;
    hello.hello.client = world.client;
    hello.hello.agent = (struct text){"fuzz", 4};
    say(client, &hello);
    for (unsigned i = 0; world.said.length < 4 && i < TURNS_MAX; i++) {
        patiently(i);
        listen_to(client);
    }
    ensure(world.said.length > 4 && world.said.length == 4 + load_be32(world.said.data));
    ensure(message_decode(world.answers, world.said.data + 4, world.said.length - 4, &challenge, &why) ==
           CODE_OK);
    ensure(challenge.type == MESSAGE_CHALLENGE);
    struct hash certificate = tls_identity_hash(world.identity);
    struct hash digest =
        digest_session(&world.domain, &world.client, &challenge.challenge.challenge, &certificate);
    auth.auth.signature = key_sign(&world.client_key, &digest);
    world.may_enter = true;
    say(client, &auth);
    for (unsigned i = 0; world.ready == 0 && i < TURNS_MAX; i++)
        patiently(i);
    ensure(world.ready == 1);
}

/* ---- what the bytes mean, read plainly ---- */

static bool is_for_hubs(enum message_type type)
{
    static const enum message_type types[] = {MESSAGE_UPDATE,      MESSAGE_ACK,    MESSAGE_REVEAL,
                                              MESSAGE_FAIL,        MESSAGE_REVOKE, MESSAGE_SETTLE_REQUEST,
                                              MESSAGE_SETTLE_SIGN, MESSAGE_RESUME, MESSAGE_OPEN_REQUEST,
                                              MESSAGE_PING,        MESSAGE_PONG,   MESSAGE_ERROR};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        if (types[i] == type)
            return true;
    return false;
}

/* Returns true if the server has no reason to close. */
static bool read_plainly(const uint8_t *data, size_t size)
{
    struct message message;
    const char *why;
    while (size >= 4) {
        size_t length = load_be32(data);
        if (length > FRAME_BYTES_MAX)
            return false;
        if (size - 4 < length)
            return true;
        if (message_decode(world.answers, data + 4, length, &message, &why) != CODE_OK ||
            !is_for_hubs(message.type) || (message.type == MESSAGE_ERROR && message.error.fatal))
            return false;
        if (message.type != MESSAGE_PING && message.type != MESSAGE_PONG)
            list_add(&world.expected, &message);
        data += 4 + length;
        size -= 4 + length;
    }
    return true;
}

static void must_be_frames(const struct buffer *said)
{
    struct message message;
    const char *why;
    size_t at = 0;
    while (said->length - at >= 4) {
        size_t length = load_be32(said->data + at);
        ensure(length <= said->length - at - 4);
        ensure(message_decode(world.answers, said->data + at + 4, length, &message, &why) == CODE_OK);
        at += 4 + length;
    }
    ensure(at == said->length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 17, 64, 333, 1500, 20000, SIZE_MAX};
    if (world.base == NULL)
        set_up();
    struct input input = input_of(data, size);
    uint8_t mode = input_u8(&input);
    size_t piece = pieces[mode >> 1 & 7];
    world.got.count = world.expected.count = 0;
    world.ready = world.closed = 0;
    world.may_enter = false;
    buffer_clear(&world.said);
    int client = connect_client();
    if (mode & 1)
        shake_hands(client);
    bool may_go_on = (mode & 1) == 0 || read_plainly(input.at, input.left);
    for (size_t at = 0; at < input.left;) {
        size_t length = input.left - at < piece ? input.left - at : piece;
        send_all(client, input.at + at, length);
        at += length;
    }
    turns(8);
    listen_to(client);
    if ((mode & 1) != 0 && may_go_on)
        ensure(world.closed == 0);
    shutdown(client, SHUT_WR);
    for (unsigned i = 0; world.server->connections > 0 && i < TURNS_MAX; i++) {
        patiently(i);
        listen_to(client);
    }
    close(client);
    ensure(world.server->connections == 0 && world.closed <= 1 && world.ready == (mode & 1u));
    ensure(world.got.count == world.expected.count);
    ensure(memcmp(world.got.hashes, world.expected.hashes, world.got.count * sizeof(struct hash)) == 0);
    must_be_frames(&world.said);
    return 0;
}
