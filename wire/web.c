#include "wire/web.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "base/ensure.h"
#include "wire/resolve.h"

struct web_trust {
    SSL_CTX *context;
};

struct web_stream {
    struct bufferevent *stream;
    struct resolve *resolve;
    struct event *soon;
    struct resolved addresses;
    bool tls;
    char text[200];
};

struct web_trust *web_trust_open(const char *ca_file, char *message, size_t message_size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    ensure(context != NULL && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    bool loaded = ca_file != NULL ? SSL_CTX_load_verify_locations(context, ca_file, NULL) == 1
                                  : SSL_CTX_set_default_verify_paths(context) == 1;
    ERR_clear_error();
    if (!loaded) {
        snprintf(message, message_size,
                 "the certificate authorities in %s cannot be read: a PEM file is wanted",
                 ca_file != NULL ? ca_file : "the system's folder");
        SSL_CTX_free(context);
        return NULL;
    }
    struct web_trust *trust = xcalloc(1, sizeof(*trust));
    trust->context = context;
    return trust;
}

void web_trust_free(struct web_trust *trust)
{
    if (trust == NULL)
        return;
    SSL_CTX_free(trust->context);
    free(trust);
}

static void fail(struct web_stream *stream, const char *why)
{
    snprintf(stream->text, sizeof(stream->text), "%s", why);
    bufferevent_trigger_event(stream->stream, BEV_EVENT_ERROR, 0);
}

/* The first address only: a web server behind several is no nearer by another. */
static void on_resolved(void *context, const struct resolved *resolved)
{
    struct web_stream *stream = context;
    stream->addresses = *resolved;
    resolve_free(stream->resolve);
    stream->resolve = NULL;
    if (resolved->error != 0 || resolved->count == 0) {
        fail(stream, resolved->error != 0 ? gai_strerror(resolved->error) : "the host has no address");
        return;
    }
    if (bufferevent_socket_connect(stream->stream, (struct sockaddr *)&stream->addresses.addresses[0].address,
                                   (int)stream->addresses.addresses[0].length) != 0) {
        fail(stream, strerror(errno));
        return;
    }
    int on = 1;
    (void)setsockopt(bufferevent_getfd(stream->stream), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void on_soon(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct web_stream *stream = context;
    struct resolved resolved = stream->addresses;
    on_resolved(stream, &resolved);
}

static void make_tls(struct web_stream *stream, struct event_base *base, struct web_trust *trust,
                     const char *host, bool numeric)
{
    SSL *ssl = SSL_new(trust->context);
    ensure(ssl != NULL);
    /* A name is asked for (SNI) and must be the certificate's; an address must be among its addresses. */
    if (numeric) {
        ensure(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1);
    } else {
        ensure(SSL_set_tlsext_host_name(ssl, host) == 1);
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ensure(SSL_set1_host(ssl, host) == 1);
    }
    stream->stream =
        bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    stream->tls = true;
}

struct web_stream *web_stream_open(struct event_base *base, struct web_trust *trust, const char *host,
                                   uint16_t port)
{
    struct web_stream *stream = xcalloc(1, sizeof(*stream));
    bool numeric = resolve_numeric(host, port, &stream->addresses);
    if (trust != NULL)
        make_tls(stream, base, trust, host, numeric);
    else
        stream->stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    ensure(stream->stream != NULL);
    if (!numeric)
        stream->resolve = resolve_start(base, host, port, on_resolved, stream);
    if (stream->resolve == NULL) {
        if (!numeric)
            stream->addresses.error = EAI_SYSTEM;
        stream->soon = evtimer_new(base, on_soon, stream);
        ensure(stream->soon != NULL);
        event_active(stream->soon, EV_TIMEOUT, 0);
    }
    return stream;
}

struct bufferevent *web_stream_bufferevent(struct web_stream *stream)
{
    return stream->stream;
}

const char *web_stream_trouble(const struct web_stream *stream)
{
    static _Thread_local char text[256];
    if (stream->text[0] != '\0')
        return stream->text;
    if (stream->tls) {
        long verified = SSL_get_verify_result(bufferevent_openssl_get_ssl(stream->stream));
        if (verified != X509_V_OK) {
            snprintf(text, sizeof(text), "its certificate is not to be believed: %s",
                     X509_verify_cert_error_string(verified));
            return text;
        }
        unsigned long error = bufferevent_get_openssl_error(stream->stream);
        if (error != 0) {
            ERR_error_string_n(error, text, sizeof(text));
            return text;
        }
    }
    int error = EVUTIL_SOCKET_ERROR();
    return error != 0 ? evutil_socket_error_to_string(error) : "the connection was closed";
}

void web_stream_free(struct web_stream *stream)
{
    if (stream == NULL)
        return;
    resolve_free(stream->resolve);
    if (stream->soon != NULL)
        event_free(stream->soon);
    bufferevent_free(stream->stream);
    free(stream);
}
