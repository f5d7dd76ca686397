#include "ledger/embedded/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

struct http {
    struct event_base *base;
    struct node *node;
    struct evhttp *server;
    struct evhttp_bound_socket *socket;
    unsigned connections, connections_max;
    bool closing;
};

/* libevent tells nobody when it drops a connection, but it frees the connection's filter: there we count. */
static void on_connection_freed(void *context)
{
    struct http *http = context;
    ensure(http->connections > 0);
    if (http->connections-- == http->connections_max && !http->closing)
        evconnlistener_enable(evhttp_bound_socket_get_listener(http->socket));
}

static struct bufferevent *on_connection(struct event_base *base, void *context)
{
    struct http *http = context;
    struct bufferevent *plain = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (plain == NULL)
        return NULL;
    struct bufferevent *counted =
        bufferevent_filter_new(plain, NULL, NULL, BEV_OPT_CLOSE_ON_FREE, on_connection_freed, http);
    if (counted == NULL) {
        bufferevent_free(plain);
        return NULL;
    }
    if (++http->connections == http->connections_max)
        evconnlistener_disable(evhttp_bound_socket_get_listener(http->socket));
    return counted;
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct http *http = context;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    struct buffer answer = {0};
    size_t length = evbuffer_get_length(input);
    const char *text = length == 0 ? "" : (const char *)evbuffer_pullup(input, -1);
    node_answer(http->node, text, length, &answer);
    struct evbuffer *output = evbuffer_new();
    ensure(output != NULL && evbuffer_add(output, answer.data, answer.length) == 0);
    buffer_free(&answer);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evhttp_send_reply(request, HTTP_OK, NULL, output);
    evbuffer_free(output);
}

struct http *http_open(struct event_base *base, struct node *node, uint16_t port, unsigned connections_max,
                       char *message, size_t message_size)
{
    struct http *http = xcalloc(1, sizeof(*http));
    http->base = base;
    http->node = node;
    http->connections_max = connections_max;
    http->server = evhttp_new(base);
    ensure(http->server != NULL && connections_max > 0);
    evhttp_set_allowed_methods(http->server, EVHTTP_REQ_POST);
    evhttp_set_max_body_size(http->server, NODE_REQUEST_BYTES_MAX);
    evhttp_set_max_headers_size(http->server, HTTP_HEADER_BYTES_MAX);
    evhttp_set_timeout(http->server, HTTP_IDLE_TIMEOUT_S);
    evhttp_set_bevcb(http->server, on_connection, http);
    evhttp_set_gencb(http->server, on_request, http);
    http->socket = evhttp_bind_socket_with_handle(http->server, "127.0.0.1", port);
    if (http->socket == NULL) {
        snprintf(message, message_size, "cannot listen on 127.0.0.1:%u: %s%s", port, strerror(errno),
                 errno == EADDRINUSE ? " (is another rill-ledgerd running? --port chooses another)" : "");
        evhttp_free(http->server);
        free(http);
        return NULL;
    }
    return http;
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    http->closing = true;
    evhttp_free(http->server);
    free(http);
}

uint16_t http_port(const struct http *http)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);
    ensure(getsockname(evhttp_bound_socket_get_fd(http->socket), (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}
