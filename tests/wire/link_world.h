/* What the tests of links share: a temporary identity, ends that note what happens to them, and raw TLS peers
 * that can say anything. All in one event loop, on loopback, ports chosen by the system. */
#ifndef RILL_TESTS_WIRE_LINK_WORLD_H
#define RILL_TESTS_WIRE_LINK_WORLD_H

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
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "crypto/hash.h"
#include "wire/link_internal.h"

#define LINKS_NOTED 600

/* An owner of links, which writes down what it is told. */
struct owner {
    struct link *links[LINKS_NOTED]; /* those that became ready; NULL again once closed */
    struct address peers[LINKS_NOTED];
    size_t ready, closed, messages, drained;
    struct message last;
    uint64_t last_nonce;
    bool in_order; /* ACKs come with nonces 1, 2, 3… */
    enum link_closed why;
    char reason[REASON_SIZE];
    uint64_t channels; /* WELCOME's number */
    bool welcomes;     /* a server: answers ready with WELCOME */
    /* What to do in a callback, if anything. */
    void (*on_ready)(struct owner *owner, struct link *link);
    void (*on_message)(struct owner *owner, struct link *link, const struct message *message);
    void (*on_closed)(struct owner *owner, struct link *link);
};

struct world {
    struct event_base *base;
    char folder[64], other_folder[64];
    struct tls_identity *identity, *other_identity;
    struct secret_key hub_key, client_key, other_key;
    struct address hub, client;
    struct domain domain;
    struct owner server_owner, client_owner;
    struct link_server *server;
};

/* ---- owners ---- */

static inline void owner_ready(void *context, struct link *link, const struct address *peer,
                               const struct message *welcome)
{
    struct owner *owner = context;
    owner->links[owner->ready % LINKS_NOTED] = link;
    owner->peers[owner->ready % LINKS_NOTED] = *peer;
    owner->ready++;
    if (welcome != NULL)
        owner->channels = welcome->welcome.channels;
    if (owner->welcomes) {
        struct terms terms = {.confirmations = 3};
        struct message message = {.type = MESSAGE_WELCOME};
        message.welcome.terms = &terms;
        message.welcome.channels = 7;
        link_send(link, &message);
    }
    if (owner->on_ready != NULL)
        owner->on_ready(owner, link);
}

static inline void owner_message(void *context, struct link *link, const struct message *message)
{
    struct owner *owner = context;
    owner->messages++;
    owner->last = *message;
    if (message->type == MESSAGE_ACK) {
        owner->in_order = owner->in_order && message->ack.nonce == owner->last_nonce + 1;
        owner->last_nonce = message->ack.nonce;
    }
    if (owner->on_message != NULL)
        owner->on_message(owner, link, message);
}

static inline void owner_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct owner *owner = context;
    owner->closed++;
    owner->why = why;
    snprintf(owner->reason, sizeof owner->reason, "%s", reason);
    assert_null(strchr(reason, '\n'));
    for (size_t i = 0; i < LINKS_NOTED; i++)
        if (owner->links[i] == link)
            owner->links[i] = NULL;
    if (owner->on_closed != NULL)
        owner->on_closed(owner, link);
}

static inline void owner_drained(void *context, struct link *link)
{
    (void)link;
    ((struct owner *)context)->drained++;
}

static const struct link_callbacks owner_callbacks = {owner_ready, owner_message, owner_closed,
                                                      owner_drained};

/* ---- the world ---- */

static inline int world_set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    char message[512];
    snprintf(world->folder, sizeof world->folder, "/tmp/rill-link-XXXXXX");
    snprintf(world->other_folder, sizeof world->other_folder, "/tmp/rill-link-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    assert_non_null(mkdtemp(world->other_folder));
    world->base = event_base_new();
    world->identity = tls_identity_open(world->folder, message, sizeof message);
    world->other_identity = tls_identity_open(world->other_folder, message, sizeof message);
    assert_true(world->identity != NULL && world->other_identity != NULL);
    world->hub_key = secret_key_random();
    world->client_key = secret_key_random();
    world->other_key = secret_key_random();
    world->hub = secret_key_address(&world->hub_key);
    world->client = secret_key_address(&world->client_key);
    struct address contract = {{1, 2, 3}};
    world->domain = domain_make(31337, &contract);
    world->server_owner.welcomes = true;
    world->server_owner.in_order = world->client_owner.in_order = true;
    *state = world;
    return 0;
}

static inline void remove_identity(const char *folder)
{
    char path[128];
    snprintf(path, sizeof path, "%s/tls-cert.pem", folder);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/tls-key.pem", folder);
    (void)unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static inline int world_tear_down(void **state)
{
    struct world *world = *state;
    link_server_free(world->server);
    /* Links that were closed with something queued end by themselves, within a second. */
    event_base_dispatch(world->base);
    tls_identity_free(world->identity);
    tls_identity_free(world->other_identity);
    event_base_free(world->base);
    remove_identity(world->folder);
    remove_identity(world->other_folder);
    free(world);
    return 0;
}

static inline struct link_server_options server_options(const struct world *world)
{
    return (struct link_server_options){
        .host = "127.0.0.1", .identity = world->identity, .key = world->hub_key, .domain = world->domain};
}

static inline void start_server_with(struct world *world, const struct link_server_options *options)
{
    char message[512] = "";
    world->server = link_server_new(world->base, options, &owner_callbacks, &world->server_owner, message,
                                    sizeof message);
    if (world->server == NULL)
        fail_msg("%s", message);
}

static inline void start_server(struct world *world)
{
    struct link_server_options options = server_options(world);
    start_server_with(world, &options);
}

static inline struct link_client_options client_options(const struct world *world, uint16_t port)
{
    return (struct link_client_options){.host = "127.0.0.1",
                                        .port = port,
                                        .key = world->client_key,
                                        .chain_id = world->domain.chain_id,
                                        .contract = world->domain.contract,
                                        .server = world->hub,
                                        .agent = "test/1"};
}

static inline struct link *connect_with(struct world *world, const struct link_client_options *options)
{
    return link_connect(world->base, options, &owner_callbacks, &world->client_owner);
}

static inline struct link *connect_client(struct world *world)
{
    struct link_client_options options = client_options(world, link_server_port(world->server));
    return connect_with(world, &options);
}

static inline void guard_fired(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    *(bool *)argument = true;
}

/* Turns the loop until the condition holds; fails the test after a minute, which only a busy machine comes near. */
#define RUN_UNTIL(world, condition)                                                                          \
    do {                                                                                                     \
        bool guard_late = false;                                                                             \
        struct timeval guard_delay = {60, 0};                                                                \
        struct event *guard = evtimer_new((world)->base, guard_fired, &guard_late);                          \
        event_add(guard, &guard_delay);                                                                      \
        while (!(condition) && !guard_late)                                                                  \
            event_base_loop((world)->base, EVLOOP_ONCE);                                                     \
        event_free(guard);                                                                                   \
        if (guard_late)                                                                                      \
            fail_msg("%s:%d: waited in vain for: %s (server: %s / client: %s)", __FILE__, __LINE__,          \
                     #condition, (world)->server_owner.reason, (world)->client_owner.reason);                \
    } while (0)

/* Turns the loop for a while, whatever happens. */
static inline void run_for(struct world *world, unsigned milliseconds)
{
    bool over = false;
    struct timeval delay = {milliseconds / 1000, (suseconds_t)(milliseconds % 1000) * 1000};
    struct event *timer = evtimer_new(world->base, guard_fired, &over);
    event_add(timer, &delay);
    while (!over)
        event_base_loop(world->base, EVLOOP_ONCE);
    event_free(timer);
}

static inline void send_ack(struct link *link, uint64_t nonce)
{
    struct message ack = {.type = MESSAGE_ACK};
    ack.ack.nonce = nonce;
    link_send(link, &ack);
}

/* ---- raw peers ---- */

struct raw {
    struct world *world;
    struct bufferevent *bev;
    SSL_CTX *context;
    struct decoder *decoder;
    const struct tls_identity *identity; /* of a server */
    bool secured, ended;
    size_t frames;         /* received */
    struct message last;   /* valid until the next frame */
    struct buffer payload; /* of the last frame */
    struct hash nonce;     /* a client's */
    /* What to do with a frame, if anything. */
    void (*on_frame)(struct raw *raw, const struct message *message);
    void *argument;
    uint16_t redirect_port; /* a server */
    struct evconnlistener *listener;
};

static inline void raw_on_readable(struct bufferevent *bev, void *argument)
{
    struct raw *raw = argument;
    struct evbuffer *input = bufferevent_get_input(bev);
    for (;;) {
        uint8_t head[4];
        if (evbuffer_copyout(input, head, 4) < 4)
            return;
        size_t length = load_be32(head);
        if (evbuffer_get_length(input) < 4 + length)
            return;
        buffer_clear(&raw->payload);
        evbuffer_drain(input, 4);
        evbuffer_remove(input, buffer_extend(&raw->payload, length), length);
        const char *why;
        if (message_decode(raw->decoder, raw->payload.data, length, &raw->last, &why) != CODE_OK)
            fail_msg("a link sent what does not decode: %s", why);
        raw->frames++;
        if (raw->on_frame != NULL)
            raw->on_frame(raw, &raw->last);
    }
}

static inline void raw_on_event(struct bufferevent *bev, short what, void *argument)
{
    (void)bev;
    struct raw *raw = argument;
    if (what & BEV_EVENT_CONNECTED)
        raw->secured = true;
    else
        raw->ended = true;
}

static inline void raw_begin(struct raw *raw, int socket, enum bufferevent_ssl_state state)
{
    raw->bev = bufferevent_openssl_socket_new(raw->world->base, socket, SSL_new(raw->context), state,
                                              BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    bufferevent_openssl_set_allow_dirty_shutdown(raw->bev, 1);
    bufferevent_setcb(raw->bev, raw_on_readable, NULL, raw_on_event, raw);
    bufferevent_enable(raw->bev, EV_READ | EV_WRITE);
}

static inline int tcp_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    evutil_make_socket_nonblocking(fd);
    return fd;
}

/* A raw client on a TLS connection to the port. receive_buffer 0: the system's. */
static inline struct raw *raw_connect(struct world *world, uint16_t port)
{
    struct raw *raw = calloc(1, sizeof *raw);
    raw->world = world;
    raw->decoder = decoder_new();
    raw->context = SSL_CTX_new(TLS_client_method());
    raw_begin(raw, tcp_connect(port), BUFFEREVENT_SSL_CONNECTING);
    return raw;
}

static inline void raw_accept(struct evconnlistener *listener, evutil_socket_t socket,
                              struct sockaddr *address, int length, void *argument)
{
    (void)listener;
    (void)address;
    (void)length;
    struct raw *raw = argument;
    if (raw->bev != NULL)
        bufferevent_free(raw->bev);
    raw_begin(raw, socket, BUFFEREVENT_SSL_ACCEPTING);
}

/* A raw server with this identity; it serves one connection, the newest. */
static inline struct raw *raw_listen(struct world *world, const struct tls_identity *identity, uint16_t *port)
{
    struct raw *raw = calloc(1, sizeof *raw);
    raw->world = world;
    raw->decoder = decoder_new();
    raw->identity = identity;
    raw->context = tls_server_context(identity);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raw->listener = evconnlistener_new_bind(world->base, raw_accept, raw, LEV_OPT_CLOSE_ON_FREE, 16,
                                            (struct sockaddr *)&address, sizeof address);
    assert_non_null(raw->listener);
    socklen_t length = sizeof address;
    getsockname(evconnlistener_get_fd(raw->listener), (struct sockaddr *)&address, &length);
    *port = ntohs(address.sin_port);
    return raw;
}

static inline void raw_free(struct raw *raw)
{
    if (raw->bev != NULL)
        bufferevent_free(raw->bev);
    if (raw->listener != NULL)
        evconnlistener_free(raw->listener);
    SSL_CTX_free(raw->context);
    decoder_free(raw->decoder);
    buffer_free(&raw->payload);
    free(raw);
}

static inline void raw_send_bytes(struct raw *raw, const void *bytes, size_t length)
{
    bufferevent_write(raw->bev, bytes, length);
}

static inline void raw_send(struct raw *raw, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    raw_send_bytes(raw, frame.data, frame.length);
    buffer_free(&frame);
}

static inline void raw_hello(struct raw *raw, uint64_t version, const struct address *client)
{
    struct message hello = {.type = MESSAGE_HELLO};
    random_bytes(raw->nonce.bytes, 32);
    hello.hello.version = version;
    hello.hello.client = *client;
    hello.hello.nonce = raw->nonce;
    hello.hello.agent = (struct text){"raw", 3};
    raw_send(raw, &hello);
}

/* AUTH for the CHALLENGE that came last. */
static inline void raw_auth(struct raw *raw, const struct secret_key *key)
{
    const struct world *world = raw->world;
    struct hash certificate = tls_identity_hash(world->identity);
    struct address client = secret_key_address(key);
    struct hash challenge = raw->last.challenge.challenge;
    struct hash digest = digest_session(&world->domain, &client, &challenge, &certificate);
    struct message auth = {.type = MESSAGE_AUTH};
    auth.auth.signature = key_sign(key, &digest);
    raw_send(raw, &auth);
}

/* A raw client that has been welcomed by the world's server. */
static inline struct raw *raw_client_ready(struct world *world)
{
    struct raw *raw = raw_connect(world, link_server_port(world->server));
    size_t ready = world->server_owner.ready;
    RUN_UNTIL(world, raw->secured);
    raw_hello(raw, 1, &world->client);
    RUN_UNTIL(world, raw->frames == 1 && raw->last.type == MESSAGE_CHALLENGE);
    raw_auth(raw, &world->client_key);
    RUN_UNTIL(world, raw->frames == 2 && raw->last.type == MESSAGE_WELCOME);
    assert_int_equal(world->server_owner.ready, ready + 1);
    return raw;
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

#endif
