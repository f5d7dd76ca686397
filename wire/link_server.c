/* The server's end: listening, limits, and its side of the handshake. */
#include "wire/link_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/listener.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/endpoint.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "base/log.h"
#include "crypto/hash.h"

#define CONNECTIONS_DEFAULT 10000
#define HANDSHAKES_DEFAULT  256
#define LISTEN_BACKLOG      1024
#define ACCEPT_RETRY_MS     100
#define ACCEPTS_PER_TURN    64 /* then the links have theirs; they may be about to speak */
/* Connections that come to nothing. At this rate each of 256 handshakes has half a second before it gives way, enough
 * for its three round trips from anywhere, and a flood takes some hundredths of a processor. The burst is for clients
 * that come back all at once, of which some give way and try again. */
#define NEWCOMERS_PER_SECOND 500
#define NEWCOMERS_BURST      1000
#define NEWCOMERS_REST_MS    10

/* ---- listening ---- */

/* Room for one more handshake: whoever has taken the longest over it makes place, so that silent connections
 * keep nobody out. */
static void give_way(struct link_server *server)
{
    struct link *oldest = server->handshaking;
    ensure(oldest != NULL);
    link_enter(oldest);
    link_fail(oldest, LINK_CLOSED_LIMIT,
              "gave way to newer connections: %u may be in the handshake at a time", server->handshakes_max);
    link_leave(oldest);
}

/* Whoever comes next waits in the kernel's queue, which costs nothing here. */
static void stop_accepting_for(struct link_server *server, unsigned delay_ms)
{
    struct timeval delay = {.tv_usec = (suseconds_t)delay_ms * 1000};
    evconnlistener_disable(server->listener);
    event_add(server->listen_again, &delay);
}

/* Every connection counts until it has come to something (newcomer_is_in). */
static void count_newcomer(struct link_server *server)
{
    uint64_t now_us = clock_monotonic_us();
    throttle_take(&server->newcomers, now_us);
    server->accepted++;
    if (!throttle_allows(&server->newcomers, now_us))
        stop_accepting_for(server, NEWCOMERS_REST_MS);
    else if (server->accepted >= ACCEPTS_PER_TURN)
        stop_accepting_for(server, 0);
}

static void newcomer_is_in(struct link_server *server)
{
    throttle_give_back(&server->newcomers, clock_monotonic_us());
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t socket, struct sockaddr *address,
                      int length, void *argument)
{
    (void)listener;
    (void)address;
    (void)length;
    struct link_server *server = argument;
    count_newcomer(server);
    if (server->connections >= server->connections_max) {
        close(socket);
        return;
    }
    if (server->handshakes >= server->handshakes_max)
        give_way(server);
    int one = 1;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct link *link = link_new(server->loop->base, &server->callbacks, server->context);
    link->server = server;
    link->tower = server->tower;
    server->connections++;
    server->handshakes++;
    link->handshaking = true;
    DL_APPEND(server->links, link);
    DL_APPEND2(server->handshaking, link, handshaking_prev, handshaking_next);
    link_attach(link, socket, server->tls);
    link_set_times(link, &server->times);
}

static void on_listen_again(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct link_server *server = argument;
    server->accepted = 0;
    if (server->listener != NULL)
        evconnlistener_enable(server->listener);
}

/* Out of descriptors or memory: the connection stays in the kernel's queue; asking again at once would only
 * spin. */
static void on_accept_error(struct evconnlistener *listener, void *argument)
{
    (void)listener;
    log_warn("cannot accept a connection: %s", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    stop_accepting_for(argument, ACCEPT_RETRY_MS);
}

static bool start_listening(struct link_server *server, const char *host, uint16_t port, char *message,
                            size_t size)
{
    struct resolved resolved;
    if (!resolve_numeric(host, port, &resolved)) {
        snprintf(message, size, "cannot listen on %s: not a numeric address", host);
        return false;
    }
    server->listener = evconnlistener_new_bind(
        server->loop->base, on_accept, server,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, LISTEN_BACKLOG,
        (struct sockaddr *)&resolved.addresses[0].address, (int)resolved.addresses[0].length);
    if (server->listener == NULL) {
        int error = errno;
        if (error == EADDRINUSE)
            snprintf(message, size, "port %u is in use: choose another, or stop what listens on %s", port,
                     host);
        else
            snprintf(message, size, "cannot listen on %s port %u: %s", host, port, strerror(error));
        return false;
    }
    evconnlistener_set_error_cb(server->listener, on_accept_error);
    server->port = endpoint_bound_port(evconnlistener_get_fd(server->listener));
    return true;
}

struct link_server *link_server_new(struct event_base *base, const struct link_server_options *options,
                                    const struct link_callbacks *callbacks, void *context, char *message,
                                    size_t message_size)
{
    ensure(secret_key_is_valid(&options->key) && options->identity != NULL);
    struct link_server *server = xcalloc(1, sizeof *server);
    server->loop = link_loop_join(base);
    server->callbacks = *callbacks;
    server->context = context;
    server->key = options->key;
    server->address = secret_key_address(&options->key);
    server->domain = options->domain;
    server->tower = options->tower;
    server->elsewhere = options->elsewhere;
    server->connections_max = options->connections_max != 0 ? options->connections_max : CONNECTIONS_DEFAULT;
    server->handshakes_max = options->handshakes_max != 0 ? options->handshakes_max : HANDSHAKES_DEFAULT;
    server->tls = tls_server_context(options->identity);
    server->certificate_hash = tls_identity_hash(options->identity);
    server->listen_again = evtimer_new(base, on_listen_again, server);
    server->newcomers = (struct throttle){.per_second = NEWCOMERS_PER_SECOND, .burst = NEWCOMERS_BURST};
    server->times = link_times_default();
    ensure(server->listen_again != NULL);
    if (!start_listening(server, options->host, options->port, message, message_size)) {
        link_server_free(server);
        return NULL;
    }
    return server;
}

uint16_t link_server_port(const struct link_server *server)
{
    return server->port;
}

size_t link_server_connections(const struct link_server *server)
{
    return server->connections;
}

void link_server_stop(struct link_server *server)
{
    event_del(server->listen_again);
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    server->listener = NULL;
}

void link_server_free(struct link_server *server)
{
    if (server == NULL)
        return;
    link_server_stop(server);
    while (server->links != NULL)
        link_destroy(server->links);
    event_free(server->listen_again);
    SSL_CTX_free(server->tls);
    link_loop_leave(server->loop);
    bytes_wipe(&server->key, sizeof server->key);
    free(server);
}

void link_server_set_times(struct link_server *server, const struct link_times *times)
{
    server->times = *times;
}

void link_server_set_newcomers(struct link_server *server, uint32_t per_second, uint32_t burst)
{
    server->newcomers = (struct throttle){.per_second = per_second, .burst = burst};
}

void link_server_count_out(struct link *link)
{
    if (!link->handshaking)
        return;
    link->handshaking = false;
    ensure(link->server->handshakes > 0);
    link->server->handshakes--;
    DL_DELETE2(link->server->handshaking, link, handshaking_prev, handshaking_next);
}

void link_server_forget(struct link *link)
{
    link_server_count_out(link);
    ensure(link->server->connections > 0);
    link->server->connections--;
    DL_DELETE(link->server->links, link);
}

/* ---- the handshake ---- */

void link_server_secured(struct link *link)
{
    link->stage = LINK_WAIT_HELLO;
}

/* Another server serves this client: it is told which one. */
static bool is_redirected(struct link *link, const struct address *client)
{
    struct link_server *server = link->server;
    char host[HOST_BYTES_MAX + 1] = "";
    uint16_t port = 0;
    if (server->elsewhere == NULL || !server->elsewhere(server->context, client, host, &port))
        return false;
    newcomer_is_in(server);
    struct message redirect = {.type = MESSAGE_REDIRECT};
    redirect.redirect.host = (struct text){host, strlen(host)};
    redirect.redirect.port = port;
    link_queue(link, &redirect);
    char reason[REASON_SIZE];
    snprintf(reason, sizeof reason, "redirected to %s port %u", host, port);
    link_finish(link, LINK_CLOSED_SELF, reason);
    return true;
}

static void on_hello(struct link *link, const struct message *message)
{
    const struct link_server *server = link->server;
    if (message->hello.version != PROTOCOL_VERSION) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_VERSION,
                    "protocol version %llu is not spoken here, only %d",
                    (unsigned long long)message->hello.version, PROTOCOL_VERSION);
        return;
    }
    if (address_is_zero(&message->hello.client) || address_equal(&message->hello.client, &server->address)) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_AUTH,
                    "the client's address is zero or the server's own");
        return;
    }
    if (is_redirected(link, &message->hello.client))
        return;
    link->peer = message->hello.client;
    random_bytes(link->challenge.bytes, sizeof link->challenge.bytes);
    struct hash nonce_hash = keccak256(message->hello.nonce.bytes, sizeof message->hello.nonce.bytes);
    struct hash digest = digest_session(&server->domain, &link->peer, &nonce_hash, &server->certificate_hash);
    struct message challenge = {.type = MESSAGE_CHALLENGE};
    challenge.challenge.challenge = link->challenge;
    challenge.challenge.hub = server->address;
    challenge.challenge.chain_id = server->domain.chain_id;
    challenge.challenge.contract = server->domain.contract;
    challenge.challenge.signature = key_sign(&server->key, &digest);
    link->stage = LINK_WAIT_AUTH;
    link_queue(link, &challenge);
}

static void on_auth(struct link *link, const struct message *message)
{
    const struct link_server *server = link->server;
    struct hash digest =
        digest_session(&server->domain, &link->peer, &link->challenge, &server->certificate_hash);
    if (!signature_is_by(&message->auth.signature, &digest, &link->peer)) {
        char peer[ADDRESS_TEXT_SIZE];
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_AUTH, "the client did not prove that it is %s",
                    address_text(&link->peer, peer));
        return;
    }
    newcomer_is_in(link->server);
    link_become_ready(link, NULL);
}

void link_server_handshake(struct link *link, const struct message *message)
{
    if (link->stage == LINK_WAIT_HELLO && message->type == MESSAGE_HELLO)
        on_hello(link, message);
    else if (link->stage == LINK_WAIT_AUTH && message->type == MESSAGE_AUTH)
        on_auth(link, message);
    else
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED, "%s is out of order in the handshake",
                    message_name(message->type));
}
