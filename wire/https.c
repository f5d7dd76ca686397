#include "wire/https.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "wire/resolve.h"

struct https_server {
    SSL_CTX *context;
};
struct https_client {
    SSL_CTX *context;
};

static SSL_CTX *context_new(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    ensure(context != NULL);
    ensure(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

static bool loaded(bool good, const char *what, const char *path, char *message, size_t size)
{
    char reason[200];
    if (good)
        return true;
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
    snprintf(message, size, "cannot use %s %s: %s", what, path, reason);
    ERR_clear_error();
    return false;
}

struct https_server *https_server_open(const char *certificate, const char *key, char *message, size_t size)
{
    struct https_server *server = xcalloc(1, sizeof(*server));
    server->context = context_new(TLS_server_method());
    if (!loaded(SSL_CTX_use_certificate_chain_file(server->context, certificate) == 1, "the certificate",
                certificate, message, size) ||
        !loaded(SSL_CTX_use_PrivateKey_file(server->context, key, SSL_FILETYPE_PEM) == 1, "the key", key,
                message, size) ||
        !loaded(SSL_CTX_check_private_key(server->context) == 1, "the key (it is not the certificate's)", key,
                message, size)) {
        https_server_free(server);
        return NULL;
    }
    return server;
}

void https_server_free(struct https_server *server)
{
    if (server == NULL)
        return;
    SSL_CTX_free(server->context);
    free(server);
}

static struct bufferevent *wrap(SSL_CTX *context, struct event_base *base, enum bufferevent_ssl_state state,
                                SSL **made)
{
    SSL *ssl = SSL_new(context);
    ensure(ssl != NULL);
    struct bufferevent *event = bufferevent_openssl_socket_new(base, -1, ssl, state, BEV_OPT_CLOSE_ON_FREE);
    ensure(event != NULL);
    bufferevent_openssl_set_allow_dirty_shutdown(event, 1);
    *made = ssl;
    return event;
}

struct bufferevent *https_server_accept(struct https_server *server, struct event_base *base)
{
    SSL *ssl;
    return wrap(server->context, base, BUFFEREVENT_SSL_ACCEPTING, &ssl);
}

struct https_client *https_client_open(const char *authority, char *message, size_t size)
{
    struct https_client *client = xcalloc(1, sizeof(*client));
    client->context = context_new(TLS_client_method());
    SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_default_verify_paths(client->context); /* without them nothing is trusted */
    if (authority != NULL && !loaded(SSL_CTX_load_verify_locations(client->context, authority, NULL) == 1,
                                     "the certificates in", authority, message, size)) {
        https_client_free(client);
        return NULL;
    }
    return client;
}

void https_client_free(struct https_client *client)
{
    if (client == NULL)
        return;
    SSL_CTX_free(client->context);
    free(client);
}

struct bufferevent *https_client_connect(struct https_client *client, struct event_base *base,
                                         const char *host)
{
    SSL *ssl;
    struct resolved numeric;
    struct bufferevent *event = wrap(client->context, base, BUFFEREVENT_SSL_CONNECTING, &ssl);
    if (resolve_numeric(host, 0, &numeric)) {
        ensure(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1);
    } else {
        ensure(SSL_set1_host(ssl, host) == 1);
        ensure(SSL_set_tlsext_host_name(ssl, host) == 1);
    }
    return event;
}
