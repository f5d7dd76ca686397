/* The client's end: name, address, TCP, and its side of the handshake. */
#include "wire/link_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "crypto/hash.h"

static void try_next_address(struct link *link, int error);

struct link *link_connect(struct event_base *base, const struct link_client_options *options,
                          const struct link_callbacks *callbacks, void *context)
{
    ensure(secret_key_is_valid(&options->key));
    struct link *link = link_new(base, callbacks, context);
    struct link_client *client = xcalloc(1, sizeof *client);
    link->client = client;
    link->tower = options->tower;
    client->socket = -1;
    client->port = options->port;
    client->key = options->key;
    client->address = secret_key_address(&options->key);
    client->domain = domain_make(options->chain_id, &options->contract);
    client->server = options->server;
    const char *agent = options->agent == NULL ? "" : options->agent;
    ensure(strlen(agent) <= AGENT_BYTES_MAX && utf8_is_valid((const uint8_t *)agent, strlen(agent)));
    memcpy(client->agent, agent, strlen(agent));
    link->peer = options->server;
    link_set_times(link, &link->times);
    if (strlen(options->host) > HOST_BYTES_MAX) {
        link_fail(link, LINK_CLOSED_CONNECT, "the host's name is too long");
        return link;
    }
    memcpy(client->host, options->host, strlen(options->host));
    link_wake(link);
    return link;
}

/* ---- name, address, connection ---- */

static void drop_socket(struct link_client *client)
{
    if (client->connected != NULL)
        event_free(client->connected);
    client->connected = NULL;
    if (client->socket >= 0)
        close(client->socket);
    client->socket = -1;
}

static void secure(struct link *link)
{
    struct link_client *client = link->client;
    int socket = client->socket, one = 1;
    client->socket = -1;
    drop_socket(client);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    link_attach(link, socket, tls_client_context());
}

static void on_connected(evutil_socket_t socket, short what, void *argument)
{
    (void)what;
    struct link *link = argument;
    link_enter(link);
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (link->stage == LINK_CONNECTING) {
        if (error == 0)
            secure(link);
        else
            try_next_address(link, error);
    }
    link_leave(link);
}

/* Begins to connect. Returns 0 or an errno. */
static int start_connecting(struct link *link, const struct resolved_address *to)
{
    struct link_client *client = link->client;
    client->socket = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->socket < 0)
        return errno;
    if (connect(client->socket, (const struct sockaddr *)&to->address, to->length) != 0 &&
        errno != EINPROGRESS)
        return errno;
    client->connected = event_new(link->loop->base, client->socket, EV_WRITE, on_connected, link);
    ensure(client->connected != NULL && event_add(client->connected, NULL) == 0);
    return 0;
}

/* `error` is what became of the address before. */
static void try_next_address(struct link *link, int error)
{
    struct link_client *client = link->client;
    link->stage = LINK_CONNECTING;
    while (client->next_address < client->resolved.count) {
        drop_socket(client);
        error = start_connecting(link, &client->resolved.addresses[client->next_address++]);
        if (error == 0)
            return;
    }
    drop_socket(client);
    link_fail(link, LINK_CLOSED_CONNECT, "cannot connect to %s port %u: %s", client->host, client->port,
              strerror(error));
}

static void on_resolved(void *context, const struct resolved *resolved)
{
    struct link *link = context;
    struct link_client *client = link->client;
    link_enter(link);
    if (link->stage == LINK_RESOLVING) {
        client->resolved = *resolved;
        client->next_address = 0;
        if (resolved->error == 0)
            try_next_address(link, 0);
        else
            link_fail(link, LINK_CLOSED_CONNECT, "cannot find host %s: %s", client->host,
                      gai_strerror(resolved->error));
    }
    link_leave(link);
}

void link_client_start(struct link *link)
{
    struct link_client *client = link->client;
    client->next_address = 0;
    if (resolve_numeric(client->host, client->port, &client->resolved)) {
        try_next_address(link, 0);
        return;
    }
    link->stage = LINK_RESOLVING;
    resolve_free(client->resolve);
    client->resolve = resolve_start(link->loop->base, client->host, client->port, on_resolved, link);
    if (client->resolve == NULL)
        link_fail(link, LINK_CLOSED_CONNECT, "cannot look up host %s: %s", client->host, strerror(errno));
}

void link_client_free(struct link_client *client)
{
    if (client == NULL)
        return;
    drop_socket(client);
    resolve_free(client->resolve);
    bytes_wipe(&client->key, sizeof client->key);
    free(client);
}

/* ---- the handshake ---- */

void link_client_secured(struct link *link)
{
    struct link_client *client = link->client;
    if (!tls_peer_certificate_hash(link->stream.ssl, &client->certificate_hash)) {
        link_fail(link, LINK_CLOSED_TLS, "the server showed no certificate");
        return;
    }
    link->stage = LINK_WAIT_CHALLENGE;
    random_bytes(client->nonce.bytes, sizeof client->nonce.bytes);
    struct message hello = {.type = MESSAGE_HELLO};
    hello.hello.version = PROTOCOL_VERSION;
    hello.hello.client = client->address;
    hello.hello.nonce = client->nonce;
    hello.hello.agent = (struct text){client->agent, strlen(client->agent)};
    link_queue(link, &hello);
}

static struct hash session_digest(const struct link_client *client, const struct hash *challenge)
{
    return digest_session(&client->domain, &client->address, challenge, &client->certificate_hash);
}

/* The server must serve our contract on our chain, and prove on this very connection that it holds the hub's
 * key. */
static bool server_is_proven(struct link *link, const struct message *message)
{
    const struct link_client *client = link->client;
    char theirs[ADDRESS_TEXT_SIZE], ours[ADDRESS_TEXT_SIZE];
    if (message->challenge.chain_id != client->domain.chain_id) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_AUTH, "the server is on chain %llu, not on %llu",
                    (unsigned long long)message->challenge.chain_id,
                    (unsigned long long)client->domain.chain_id);
        return false;
    }
    if (!address_equal(&message->challenge.contract, &client->domain.contract)) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_AUTH, "the server serves contract %s, not %s",
                    address_text(&message->challenge.contract, theirs),
                    address_text(&client->domain.contract, ours));
        return false;
    }
    if (!address_equal(&message->challenge.hub, &client->server)) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_AUTH, "the server says it is %s, not %s",
                    address_text(&message->challenge.hub, theirs), address_text(&client->server, ours));
        return false;
    }
    struct hash nonce_hash = keccak256(client->nonce.bytes, sizeof client->nonce.bytes);
    struct hash digest = session_digest(client, &nonce_hash);
    if (!signature_is_by(&message->challenge.signature, &digest, &client->server)) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_AUTH,
                    "the server did not prove that it is %s: someone may be listening in between",
                    address_text(&client->server, ours));
        return false;
    }
    return true;
}

static void on_challenge(struct link *link, const struct message *message)
{
    if (!server_is_proven(link, message))
        return;
    struct hash digest = session_digest(link->client, &message->challenge.challenge);
    struct message auth = {.type = MESSAGE_AUTH};
    auth.auth.signature = key_sign(&link->client->key, &digest);
    link->stage = LINK_WAIT_WELCOME;
    link_queue(link, &auth);
}

static void on_redirect(struct link *link, const struct message *message)
{
    struct link_client *client = link->client;
    if (client->redirects == REDIRECTS_MAX) {
        link_refuse(link, LINK_CLOSED_HANDSHAKE, CODE_LIMIT, "redirected more than %d times in a row",
                    REDIRECTS_MAX);
        return;
    }
    for (size_t i = 0; i < message->redirect.host.length; i++)
        if (message->redirect.host.data[i] <= ' ' || message->redirect.host.data[i] > '~') {
            link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED,
                        "redirected to what is not a host's name");
            return;
        }
    client->redirects++;
    memset(client->host, 0, sizeof client->host);
    memcpy(client->host, message->redirect.host.data, message->redirect.host.length);
    client->port = message->redirect.port;
    client->redirected = true;
}

/* Lets this connection go and turns to where the server sent us. */
void link_client_redirect(struct link *link)
{
    link->client->redirected = false;
    link_detach(link);
    link_client_start(link);
}

void link_client_handshake(struct link *link, const struct message *message)
{
    if (link->stage == LINK_WAIT_CHALLENGE && message->type == MESSAGE_CHALLENGE)
        on_challenge(link, message);
    else if (link->stage == LINK_WAIT_CHALLENGE && message->type == MESSAGE_REDIRECT)
        on_redirect(link, message);
    else if (link->stage == LINK_WAIT_WELCOME && message->type == MESSAGE_WELCOME)
        link_become_ready(link, message);
    else
        link_refuse(link, LINK_CLOSED_MALFORMED, CODE_MALFORMED, "%s is out of order in the handshake",
                    message_name(message->type));
}
